//! What is promised while things go wrong: commands that are sent again, kills and retries, and updates that are cut off anywhere.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::updates::*;
use common::*;
use engine::{Event, Reason, TaskState};
use model::task::SlaPolicy;
use model::update::{UpdateAction, UpdateSettings, UpdateStatus};
use model::{CpuMillis, CronCollisionPolicy, InstanceId, JobConfiguration, Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::command::{Outcome, UpdateControl};
use scheduler::{Command, CoordinatorAnswer, Input, MaintenanceCommand, ReplyCode, Settings, View};

// ---- commands that are sent again ----

/// What users see: tasks by instance, updates and what became of them, cron jobs and their runs, quotas and hosts.
fn essence(view: &View) -> impl PartialEq + std::fmt::Debug + use<> {
    let active = view.tasks.values().filter(|task| task.status.is_active());
    let tasks: Vec<(TaskId, TaskStatus)> = active.map(|task| (task.id.clone(), task.status)).collect();
    let updates: Vec<_> = view.updates.values().map(|update| (update.key.clone(), update.status())).collect();
    let cron: Vec<_> = view.cron_jobs.values().map(|job| (job.config.clone(), job.runs.len())).collect();
    let hosts: Vec<_> = view.hosts.iter().map(|(host, record)| (host.clone(), record.mode)).collect();
    (tasks, updates, cron, view.quotas.clone(), hosts)
}

fn cron(policy: CronCollisionPolicy) -> JobConfiguration {
    let (key, task) = (job("tick"), batch("tick"));
    let (owner, cron_schedule) = (None, Some("0 0 1 1 *".to_owned()));
    JobConfiguration { key, owner, cron_schedule, cron_collision_policy: policy, task, instance_count: 1 }
}

#[test]
fn a_command_that_is_sent_again_because_its_answer_was_lost_does_nothing_twice() {
    let create = |name: &str| {
        let mut config = cron(CronCollisionPolicy::CancelNew);
        (config.key, config.task, config.cron_schedule) = (job(name), service(name), None);
        Command::CreateJob(Box::new(config))
    };
    let update = || {
        let request = request(version(2), 2, quick(1));
        Command::StartUpdate { request: Box::new(request), message: None }
    };
    let of_cron = |policy| Box::new(cron(policy));
    let hosts = || vec!["a.example".to_owned()];
    let quota = Resources { cpu: CpuMillis(5000), ram_mb: 5000, disk_mb: 5000, ..Resources::ZERO };
    let kill = |instances: &[InstanceId]| {
        let instances = instances.iter().copied().collect();
        Command::KillTasks { job: job("web"), instances, message: None }
    };
    use CronCollisionPolicy::{CancelNew, KillExisting};
    use ReplyCode::{InvalidRequest, Ok};
    // What is there before, the command, and what it is answered the second time.
    let cases: Vec<(Vec<Command>, Command, ReplyCode)> = vec![
        (vec![], create("fresh"), InvalidRequest),
        (vec![], kill(&[0]), Ok),
        (vec![], kill(&[]), Ok),
        (vec![], update(), InvalidRequest),
        (vec![], Command::ScheduleCronJob(of_cron(CancelNew)), Ok),
        (vec![Command::ScheduleCronJob(of_cron(CancelNew))], Command::ReplaceCronTemplate(of_cron(KillExisting)), Ok),
        (vec![Command::ScheduleCronJob(of_cron(CancelNew))], Command::DescheduleCronJob { job: job("tick") }, Ok),
        (vec![], Command::SetQuota { role: "www-data".into(), quota }, Ok),
        (vec![], Command::Maintenance(MaintenanceCommand::Start { hosts: hosts() }), Ok),
        (vec![], Command::Maintenance(MaintenanceCommand::Drain { hosts: hosts() }), Ok),
        (vec![], Command::Maintenance(MaintenanceCommand::End { hosts: hosts() }), Ok),
    ];
    for (before, command, second) in cases {
        for dies in [false, true] {
            let what = format!("{command:?}, {dies}");
            let mut world = running(2);
            before.iter().for_each(|command| assert_eq!(world.command(command.clone()).code, Ok));
            assert_eq!(world.command(command.clone()).code, Ok, "{what}");
            if dies {
                world.restart(0, 2);
            }
            let done = essence(&world.view());
            let reply = world.command(command.clone());
            assert_eq!(reply.code, second, "{what}: {reply:?}");
            assert_eq!(essence(&world.view()), done, "{what}");
        }
    }
    for action in [UpdateControl::Pause, UpdateControl::Abort, UpdateControl::Rollback] {
        let mut world = running(2);
        let key = started(&mut world, request(version(2), 2, quick(1)));
        assert_eq!(control(&mut world, &key, action).code, Ok);
        world.restart(0, 2);
        let done = statuses(&world, &key);
        // As in Aurora an update that has ended says so, whatever ended it.
        control(&mut world, &key, action);
        assert_eq!(statuses(&world, &key), done, "{action:?}");
    }
}

#[test]
fn the_second_start_of_an_update_names_the_first_and_what_aurora_does_twice_is_done_twice() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    let again = start(&mut world, request(version(2), 2, quick(1)));
    let Outcome::Update(known) = &again.outcome else { panic!("{again:?}") };
    assert_eq!((again.code, &known.key), (ReplyCode::InvalidRequest, &key));
    // These have no name by which a repetition would be known, and Aurora's clients do not repeat them.
    let mut world = running(2);
    let add = || Command::AddInstances { job: job("web"), template: 0, count: 1 };
    assert_eq!((world.command(add()).code, world.command(add()).code), (ReplyCode::Ok, ReplyCode::Ok));
    assert_eq!(world.active(&job("web")).len(), 4);
    for (policy, runs) in [(CronCollisionPolicy::CancelNew, 1), (CronCollisionPolicy::KillExisting, 2)] {
        let mut world = World::new();
        world.command(Command::ScheduleCronJob(Box::new(cron(policy))));
        for _ in 0..2 {
            assert_eq!(world.command(Command::StartCronJob { job: job("tick") }).code, ReplyCode::Ok);
        }
        let started = world.transitions.iter().filter(|transition| transition.from.is_none()).count();
        assert_eq!((started, world.active(&job("tick")).len()), (runs, 1), "{policy:?}");
    }
}

// ---- retries ----

#[test]
fn what_a_user_killed_is_never_tried_again_however_it_ends() {
    let ends = [TaskState::Finished, TaskState::Failed, TaskState::Killed, TaskState::Lost, TaskState::Unreachable];
    let service = TaskConfig { max_task_failures: -1, ..service("web") };
    let batch = TaskConfig { max_task_failures: -1, ..batch("web") };
    for config in [service, batch] {
        for was in ["pending", "throttled", "assigned", "starting", "running", "restarting", "partitioned"] {
            // The last two: nobody ever says anything, and the agent is lost.
            for end in 0..ends.len() + 2 {
                for dies in [false, true] {
                    let what = format!("{was}, {end}, {dies}, service: {}", config.is_service);
                    let mut world = World::new();
                    world.create(config.clone(), 1);
                    if was != "pending" {
                        world.offer("home", room(1.0));
                    }
                    let id = world.active_one(&job("web"), 0).id.clone();
                    let states: &[TaskState] = match was {
                        "starting" => &[TaskState::Starting],
                        "running" | "restarting" => &[TaskState::Running],
                        "partitioned" => &[TaskState::Running, TaskState::Unreachable],
                        // The second time it waits.
                        "throttled" => &[TaskState::Running, TaskState::Failed],
                        _ => &[],
                    };
                    states.iter().for_each(|state| world.status(&id, *state));
                    if was == "throttled" {
                        world.offer("home", room(1.0));
                        let again = world.active_one(&job("web"), 0).id.clone();
                        world.status(&again, TaskState::Running);
                        world.status(&again, TaskState::Failed);
                    }
                    if was == "restarting" {
                        let instances = [0].into();
                        world.command(Command::RestartTasks { job: job("web"), instances });
                    }
                    let Some(task) = world.active(&job("web")).first().cloned() else { continue };
                    let (id, ever) = (task.id.clone(), world.view().tasks.len());
                    assert_eq!(world.kill(&job("web"), &[]).code, ReplyCode::Ok, "{what}");
                    if dies {
                        world.restart(1000, 2);
                    }
                    match ends.get(end) {
                        Some(state) => world.status(&id, *state),
                        None if end == ends.len() => {}
                        None => {
                            world.engine(Event::AgentLost("home".into()));
                            world.status_because(&id, TaskState::Lost, Some(Reason::AgentRemoved), None);
                        }
                    }
                    world.pass(3 * 3_600_000);
                    world.offer("home", room(9.0));
                    assert!(world.active(&job("web")).is_empty(), "{what}: {:?}", world.active(&job("web")));
                    assert!(world.view().tasks.len() <= ever, "{what}");
                }
            }
        }
    }
}

#[test]
fn lost_hosts_cost_no_failures_and_failures_do_whatever_comes_between() {
    for (max, lost_between) in [(1, 0), (1, 30), (3, 0), (3, 7), (3, 30)] {
        let mut world = World::with(Settings { flapping_task_threshold: Duration::ZERO, ..settings() });
        world.create(TaskConfig { max_task_failures: max, ..batch("work") }, 1);
        let mut failures = 0;
        while let Some(task) = world.active(&job("work")).first().cloned() {
            for number in 0..lost_between {
                let id = world.active_one(&job("work"), 0).id.clone();
                let agent = format!("agent-{failures}-{number}");
                world.offer(&agent, room(1.0));
                // Before it runs, and while it does.
                if number % 2 == 0 {
                    world.status(&id, TaskState::Running);
                }
                world.engine(Event::AgentLost(agent));
                world.status_because(&id, TaskState::Lost, Some(Reason::AgentRemoved), None);
            }
            assert!(lost_between == 0 || world.active_one(&job("work"), 0).id != task.id);
            assert_eq!(world.active_one(&job("work"), 0).failure_count, failures);
            world.offer("home", room(1.0));
            let id = world.active_one(&job("work"), 0).id.clone();
            world.status(&id, TaskState::Running);
            world.status(&id, TaskState::Failed);
            failures += 1;
            assert!(failures <= max, "{max} failures are allowed, and it goes on");
        }
        assert_eq!(failures, max);
    }
}

// ---- updates that are cut off ----

/// How the coordinator of an update answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinator {
    /// Nobody is asked.
    None,
    /// Yes, at once.
    Obliging,
    /// HTTP 500 twice, no connection twice, then yes.
    Failing,
    /// It never answers the first three times.
    Hanging,
    /// It answers questions that nobody asked, and each of its own twice, the second time with the contrary.
    Lying,
}

/// An update of three instances from version 1 to 2, cut off after its step `cut`, with its last group of records if not `loses`.
struct CutOff {
    coordinator: Coordinator,
    coordinated: bool,
    fails: bool,
    cut: usize,
    loses: bool,
}

struct Driver {
    world: World,
    plan: CutOff,
    steps: usize,
    asked: BTreeMap<u64, TaskId>,
    questions: usize,
    allowed: BTreeSet<TaskId>,
}

impl Driver {
    fn input(&mut self, input: Input) {
        let before = self.world.journal.clone();
        self.world.step(input);
        self.check();
        self.steps += 1;
        if self.steps == self.plan.cut {
            if self.plan.loses {
                self.world.journal = before;
            }
            self.world.restart(700, 2);
            // What was asked by the one before, nobody waits for any more.
            self.asked.clear();
            self.world.questions.clear();
            self.check();
        }
    }

    /// Never more than one instance at a time, and none without its coordinator's yes.
    fn check(&self) {
        let active = self.world.active(&job("web"));
        let away = active.iter().filter(|task| !matches!(task.status, TaskStatus::Running));
        assert!(3 - active.len() + away.count() <= 1, "{} {active:?}", self.plan.cut);
        for task in active.iter().filter(|task| task.status == TaskStatus::Killing) {
            let asks = self.plan.coordinator != Coordinator::None && task.config.priority == 1;
            assert!(!asks || self.allowed.contains(&task.id), "{} was killed unasked", task.id);
        }
    }

    fn status(&mut self, id: &TaskId, state: TaskState) {
        self.input(Input::Engine(Event::Status(engine::StatusUpdate {
            task_id: id.clone(),
            state,
            reason: None,
            message: None,
            timestamp_ms: None,
            agent_id: None,
            token: None,
        })));
    }

    fn answer(&mut self, question: u64, task: &TaskId, answer: CoordinatorAnswer) {
        if answer == CoordinatorAnswer::Allowed && self.asked.contains_key(&question) {
            self.allowed.insert(task.clone());
        }
        self.asked.remove(&question);
        self.input(Input::CoordinatorAnswer { question, answer });
    }

    fn coordinate(&mut self) {
        for question in std::mem::take(&mut self.world.questions) {
            let (id, task) = (question.id, question.task.id.clone());
            self.asked.insert(id, task.clone());
            self.questions += 1;
            let yes = CoordinatorAnswer::Allowed;
            match (self.plan.coordinator, self.questions) {
                (Coordinator::Failing, 1 | 2) => {
                    self.answer(id, &task, CoordinatorAnswer::UserError("HTTP 500".into()))
                }
                (Coordinator::Failing, 3 | 4) => self.answer(id, &task, CoordinatorAnswer::Error("refused".into())),
                (Coordinator::Hanging, 1..=3) => {}
                (Coordinator::Lying, number) => {
                    self.input(Input::CoordinatorAnswer { question: id + 1000, answer: yes.clone() });
                    let (first, second) = if number % 2 == 0 {
                        (yes, CoordinatorAnswer::Refused)
                    } else {
                        (CoordinatorAnswer::Refused, yes)
                    };
                    self.answer(id, &task, first);
                    self.answer(id, &task, second);
                }
                _ => self.answer(id, &task, yes),
            }
        }
    }

    /// The engine and everybody else do their part, until the update has ended. How it went.
    fn drive(mut self) -> (Vec<&'static str>, Vec<(InstanceId, i32)>, usize) {
        let key = self.world.view().updates.keys().next().unwrap().clone();
        for round in 0..400 {
            if self.plan.coordinated {
                self.world.command(Command::PulseUpdate { key: key.clone() });
            }
            let offer = self.world.make_offer("a", room(64.0));
            self.input(Input::Engine(Event::Offers(vec![offer])));
            for task in self.world.active(&job("web")) {
                match task.status {
                    TaskStatus::Assigned => {
                        self.status(&task.id, TaskState::Running);
                        let fails = self.plan.fails && task.config.priority == 2 && task.instance == 1;
                        // What a crash has lost is told again at once.
                        while fails && self.world.task(&task.id).status == TaskStatus::Running {
                            self.status(&task.id, TaskState::Failed);
                        }
                    }
                    TaskStatus::Killing => self.status(&task.id, TaskState::Killed),
                    _ => {}
                }
            }
            self.coordinate();
            let end = self.world.now.monotonic_ms + 500;
            while let Some(wake) = self.world.scheduler.next_wake().filter(|wake| *wake <= end) {
                let forward = wake.saturating_sub(self.world.now.monotonic_ms);
                self.world.advance(forward);
                self.input(Input::Tick);
            }
            self.world.advance(500);
            if !status(&self.world, &key).is_active() && round > 2 {
                break;
            }
        }
        let told = update(&self.world, &key);
        let mut statuses: Vec<&str> = told.events.iter().map(|event| event.status.name()).collect();
        statuses.dedup();
        let once: BTreeSet<(InstanceId, UpdateAction)> = told
            .instance_events
            .iter()
            .filter(|event| event.message.is_none())
            .map(|event| (event.instance, event.action))
            .collect();
        let plain = told.instance_events.iter().filter(|event| event.message.is_none()).count();
        assert_eq!(once.len(), plain, "an action was told twice: {:?}", told.instance_events);
        (statuses, versions(&self.world), self.steps)
    }
}

fn cut_off(plan: CutOff) -> (Vec<&'static str>, Vec<(InstanceId, i32)>, usize) {
    let mut core = Settings {
        flapping_task_threshold: Duration::ZERO,
        sla_aware_kill_retry_min_delay: Duration::from_secs(2),
        sla_aware_kill_retry_max_delay: Duration::from_secs(2),
        sla_coordinator_timeout: Duration::from_secs(3),
        ..settings()
    };
    core.admission.sla_aware_kill_non_prod = true;
    let policy = SlaPolicy::Coordinator { coordinator_url: "http://c.example".into(), status_key: String::new() };
    let asks = plan.coordinator != Coordinator::None;
    let versioned = |number| TaskConfig { sla_policy: asks.then(|| policy.clone()), ..version(number) };
    let mut world = World::with(core);
    world.create(versioned(1), 3);
    settle(&mut world);
    let settings = UpdateSettings {
        sla_aware: asks,
        rollback_on_failure: true,
        block_if_no_pulses_after_ms: plan.coordinated.then_some(60_000),
        ..quick(1)
    };
    started(&mut world, request(versioned(2), 3, settings));
    let allowed = BTreeSet::new();
    Driver { world, plan, steps: 0, asked: BTreeMap::new(), questions: 0, allowed }.drive()
}

#[test]
fn an_update_that_is_cut_off_after_any_of_its_steps_comes_to_the_end_it_would_have_come_to() {
    use Coordinator::{Failing, Hanging, Lying, None, Obliging};
    let kinds = [
        (None, false, false),
        (None, false, true),
        (None, true, false),
        (Obliging, false, false),
        (Failing, false, false),
        (Hanging, false, false),
        (Lying, false, false),
    ];
    for (coordinator, coordinated, fails) in kinds {
        let plan = |cut, loses| CutOff { coordinator, coordinated, fails, cut, loses };
        let (statuses, versions, steps) = cut_off(plan(usize::MAX, false));
        let expected = if fails {
            (vec![(0, 1), (1, 1), (2, 1)], "ROLLED_BACK")
        } else {
            (vec![(0, 2), (1, 2), (2, 2)], "ROLLED_FORWARD")
        };
        assert_eq!((versions.clone(), *statuses.last().unwrap()), expected, "{coordinator:?}");
        assert!(steps > 8, "{steps}");
        for cut in 1..=steps {
            for loses in [false, true] {
                let (now, tasks, _) = cut_off(plan(cut, loses));
                assert_eq!(
                    (&now, &tasks),
                    (&statuses, &versions),
                    "{coordinator:?}, {coordinated}, {fails}, cut at {cut}, {loses}"
                );
            }
        }
    }
}

#[test]
fn an_update_without_its_pulse_is_blocked_and_never_rolled_back() {
    for dies in [false, true] {
        let mut world = running(3);
        let settings =
            UpdateSettings { block_if_no_pulses_after_ms: Some(5000), rollback_on_failure: true, ..quick(1) };
        let key = started(&mut world, request(version(2), 3, settings));
        world.command(Command::PulseUpdate { key: key.clone() });
        settle(&mut world);
        // Nobody pulses for a day, while instances come and go.
        for hour in 0..24 {
            world.pass(3_600_000);
            if dies {
                world.restart(1000, 2 + hour);
            }
            let id = world.active_one(&job("web"), 0).id.clone();
            world.status(&id, TaskState::Failed);
            settle(&mut world);
        }
        assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
        assert!(!statuses(&world, &key).contains(&"ROLLING_BACK"));
        assert!(versions(&world).contains(&(2, 1)), "nothing was taken since");
        for _ in 0..20 {
            world.command(Command::PulseUpdate { key: key.clone() });
            settle(&mut world);
            world.pass(1000);
        }
        assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    }
}
