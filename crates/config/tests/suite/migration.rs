//! Tasks that Aurora stored, and the same files evaluated here: the scheduler finds nothing to update (spec config-dsl 4.3).

use model::update::UpdateRequest;
use model::{CpuMillis, JobConfiguration, Resources};
use scheduler::command::Outcome;
use scheduler::{Command, Effect, Input, Now, Principal, Reply, ReplyCode, RequestId, Scheduler, Settings};

use crate::beside;

/// The scheduler with a clock.
struct World {
    scheduler: Scheduler,
    ms: u64,
}

impl World {
    fn new() -> Self {
        let mut settings = Settings::default();
        // What is asked for below: docker with parameters, volumes, graphics processors, large jobs of any tier.
        settings.admission.allow_docker_parameters = true;
        settings.admission.allow_gpu_resource = true;
        settings.admission.allow_container_volumes = true;
        settings.admission.allowed_container_types =
            [model::container::ContainerType::Docker, model::container::ContainerType::Mesos].into();
        let mut world = Self { scheduler: Scheduler::new(settings), ms: 0 };
        world.step(Input::Start { seed: [7; 32], epoch: 1 });
        world
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.ms += 10;
        let now = Now { wall_ms: 1_800_000_000_000 + self.ms as i64, monotonic_ms: self.ms };
        self.scheduler.step(now, input).effects
    }

    fn ask(&mut self, command: Command) -> Reply {
        let input = Input::command(RequestId(self.ms), Principal::unsecure(), command);
        let reply = self.step(input).into_iter().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        reply.expect("an answer")
    }
}

/// As it comes over the wire.
fn sent(job: &JobConfiguration) -> JobConfiguration {
    let wire = thrift::JobConfiguration::from(job);
    JobConfiguration::try_from(wire).expect("what is sent can be read")
}

#[test]
fn a_task_stored_by_aurora_and_the_same_file_here_make_no_update() {
    let (mut compared, mut updated) = (0, 0);
    let mut files: Vec<String> = beside::executor_data().into_iter().map(|(file, ..)| file).collect();
    files.dedup();
    for file in files {
        let evaluation = beside::evaluated(&file);
        for (_, number, data) in beside::executor_data().into_iter().filter(|(of, ..)| *of == file) {
            let job = &evaluation.jobs[number];
            let ours = job.submission("owner", &config::default_tiers()).expect("a whole job").job;
            let mut stored = ours.clone();
            stored.task.executor_config.as_mut().expect("an executor").data = data;
            compared += 1;
            let is_refused = ours.task.sla_policy.is_some() && ours.task.tier.as_deref() == Some("preemptible");
            if ours.cron_schedule.is_some() || !ours.task.is_service || is_refused {
                // Only services are updated, and this tier has no such policy; of others the configuration is the same.
                assert_eq!(sent(&stored), sent(&ours), "{file} {number}");
                continue;
            }
            updated += 1;
            let mut world = World::new();
            let quota = Resources { cpu: CpuMillis(1_000_000), ram_mb: 1 << 30, disk_mb: 1 << 30, ..Resources::ZERO };
            world.ask(Command::SetQuota { role: ours.key.role.clone(), quota });
            let created = world.ask(Command::CreateJob(Box::new(sent(&stored))));
            assert_eq!(created.code, ReplyCode::Ok, "{file} {number}: {:?}", created.messages);
            let update = |job: &JobConfiguration| {
                let job_of_wire = sent(job);
                Command::StartUpdate {
                    request: Box::new(UpdateRequest {
                        task: job_of_wire.task,
                        instance_count: job_of_wire.instance_count,
                        settings: evaluation.jobs[number].update_settings(&[]).unwrap_or_default(),
                        metadata: Default::default(),
                    }),
                    message: None,
                }
            };
            let same = world.ask(update(&ours));
            assert_eq!(
                (same.code, &same.outcome),
                (ReplyCode::Ok, &Outcome::None),
                "{file} {number}: {:?}",
                same.messages
            );
            assert!(same.messages[0].contains("nothing to do"), "{file} {number}: {:?}", same.messages);
            // Another text of the same meaning is another configuration: this test can fail.
            let mut other = ours.clone();
            other.task.executor_config.as_mut().expect("an executor").data.push(' ');
            let different = world.ask(update(&other));
            assert!(matches!(different.outcome, Outcome::Update(_)), "{file} {number}: {:?}", different.messages);
        }
    }
    assert!(compared > 40 && updated > 20, "only {compared} jobs were compared, {updated} of them services");
}
