//! Real processes on simulated agents: the product's own executor, started by an agent, speaking the executor API to it; and tasks that are
//! commands. The scheduler, its journal and the Mesos engine are the real ones.

#[path = "../../executor/tests/built/mod.rs"]
mod built;
#[path = "mesos/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "mesos/daybreak.rs"]
#[allow(dead_code)]
mod daybreak;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use daybreak::{Daybreak, LoopClock, options};
use mesos::v1::{CommandInfo, TaskState, command_info::Uri, task_status::Reason};
use model::executor::{ThermosSettings, thermos};
use model::{CpuMillis, JobKey, Resources, TaskConfig, TaskStatus};
use serde_json::Value;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Cluster, Settings};

struct World {
    // Ends before the simulation, so that nothing is told to a master that is gone.
    daybreak: Daybreak,
    simulation: Simulation,
    agent: usize,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("daybreak-mesos").tempdir().unwrap();
        let settings = Settings { executor_reregistration_timeout_ms: 3_000, ..Settings::default() };
        let simulation = Simulation::start(settings, 1.0, Some(directory.path().join("agents"))).unwrap();
        let spec = AgentSpec::new("a0", "cpus:8;mem:8192;disk:8192;ports:[31000-31999]");
        let (agent, address) = simulation.add_process_agent(&spec).unwrap();
        let mut options = options(&simulation.master_list());
        let settings = ThermosSettings {
            path: built::executor().display().to_string(),
            flags: Some("--nosetuid".into()),
            overhead: Resources { cpu: CpuMillis(10), ram_mb: 128, ..Resources::ZERO },
            ..ThermosSettings::default()
        };
        options.executors = vec![thermos(&settings).unwrap()];
        let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let daybreak = Daybreak::start(&state, options, scheduler::Settings::default(), clock, true);
        Self { daybreak, simulation, agent, address, _directory: directory }
    }

    #[track_caller]
    fn reaches(&self, status: TaskStatus) {
        let met = self.daybreak.reaches(Duration::from_secs(30), |view| {
            view.tasks.values().all(|task| task.status == status) && !view.tasks.is_empty()
        });
        let history: Vec<_> = self.daybreak.view().tasks.values().map(|task| format!("{:?}", task.events)).collect();
        assert!(met, "not {status}: {history:?}\n{}", self.log());
    }

    fn only_task(&self) -> String {
        self.daybreak.view().tasks.keys().next().unwrap().to_string()
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.address);
        let text = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The directory of the only executor, as `/state` of the agent shows it.
    fn sandbox(&self) -> String {
        let state = self.get("/state");
        state["frameworks"][0]["executors"][0]["directory"].as_str().unwrap_or_default().to_owned()
    }

    fn log(&self) -> String {
        let sandbox = self.sandbox();
        if sandbox.is_empty() {
            return "no executor is left".into();
        }
        std::fs::read_to_string(Path::new(&sandbox).join("stderr")).unwrap_or_default()
    }
}

fn job(name: &str, cmdline: &str) -> TaskConfig {
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let payload = serde_json::json!({"task": {"name": "t", "processes": [{"name": "p", "cmdline": cmdline}]}});
    TaskConfig::new(JobKey::new(user.trim(), "test", name), 0.5, 16, 16, payload.to_string())
}

#[test]
fn the_executor_runs_a_task_and_its_files_can_be_read() {
    let world = World::new();
    world.daybreak.create(job("hello", "echo hello from $PWD; sleep 5"), 1);
    world.reaches(TaskStatus::Running);
    let sandbox = world.sandbox();
    let files = world.get(&format!("/files/browse?path={sandbox}"));
    let names: Vec<&str> = files.as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(names.contains(&&*format!("{sandbox}/stdout")), "{names:?}");
    let containers = world.get("/containers");
    assert_eq!(containers.as_array().unwrap().len(), 1);
    let size = world.get(&format!("/files/read?path={sandbox}/stderr&offset=-1"));
    assert!(size["offset"].is_u64());
    let outside = ureq::get(&format!("http://{}/files/read?path=/etc/passwd&offset=0", world.address)).call();
    assert!(matches!(outside, Err(ureq::Error::StatusCode(404))));
    world.reaches(TaskStatus::Finished);
    assert!(world.simulation.wait_until(Duration::from_secs(10), |cluster| cluster.known_tasks().is_empty()));
}

#[test]
fn a_running_task_is_killed_and_its_executor_goes() {
    let world = World::new();
    let config = job("sleeper", "sleep 1000");
    world.daybreak.create(config.clone(), 1);
    world.reaches(TaskStatus::Running);
    world.daybreak.kill_job(&config.job);
    world.reaches(TaskStatus::Killed);
    assert!(world.simulation.wait_until(Duration::from_secs(20), Cluster::is_idle), "{}", world.log());
}

#[test]
fn a_failing_task_is_failed() {
    let world = World::new();
    world.daybreak.create(job("broken", "exit 3"), 1);
    world.reaches(TaskStatus::Failed);
}

#[test]
fn a_task_outlives_its_agents_restart_and_its_end_is_not_lost() {
    let world = World::new();
    world.daybreak.create(job("patient", "sleep 4"), 1);
    world.reaches(TaskStatus::Running);
    world.simulation.crash_agent(world.agent);
    // It ends while nobody listens to its executor.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(world.daybreak.count(TaskStatus::Running), 1);
    world.simulation.with(|cluster| cluster.restart_agent(world.agent));
    world.reaches(TaskStatus::Finished);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 1);
    assert!(!world.only_task().is_empty());
}

#[test]
fn an_executor_that_is_killed_fails_its_task() {
    let world = World::new();
    world.daybreak.create(job("victim", "sleep 1000"), 1);
    world.reaches(TaskStatus::Running);
    let pid = world.get("/containers")[0]["status"]["executor_pid"].as_u64().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    let failed =
        |view: &scheduler::View| view.count_by_status().get(&TaskStatus::Failed).is_some_and(|count| *count == 1);
    assert!(world.daybreak.reaches(Duration::from_secs(20), failed), "{:?}", world.daybreak.view().count_by_status());
}

/// One command task by hand, and the statuses it has until it ends.
fn run_command(command: CommandInfo) -> Vec<mesos::v1::TaskStatus> {
    let directory = tempfile::tempdir().unwrap();
    let simulation = Simulation::start(Settings::default(), 1.0, Some(directory.path().to_owned())).unwrap();
    simulation.add_process_agent(&AgentSpec::new("a0", "cpus:8;mem:8192")).unwrap();
    let mut core = None;
    let registered = simulation.wait_until(Duration::from_secs(5), |cluster| {
        core = cluster.agent_id(0);
        core.is_some()
    });
    assert!(registered);
    let agent = core.unwrap();
    let body = |call: &mesos::v1::scheduler::Call| prost::Message::encode_to_vec(call);
    let framework_info = client::framework("hand", "web");
    let subscribe = mesos::v1::scheduler::call::Subscribe { framework_info, ..Default::default() };
    let call = mesos::v1::scheduler::Call {
        r#type: Some(mesos::v1::scheduler::call::Type::Subscribe as i32),
        subscribe: Some(subscribe),
        ..Default::default()
    };
    let address = simulation.masters()[0];
    let post = |call: &mesos::v1::scheduler::Call, stream: Option<&str>| {
        let mut request = ureq::post(&format!("http://{address}/api/v1/scheduler"))
            .header("content-type", mesos::PROTOBUF)
            .header("accept", mesos::PROTOBUF);
        if let Some(stream) = stream {
            request = request.header("mesos-stream-id", stream);
        }
        request.send(&body(call)[..]).unwrap()
    };
    let response = post(&call, None);
    let stream = response.headers()["mesos-stream-id"].to_str().unwrap().to_owned();
    let mut reader = response.into_body().into_reader();
    let mut decoder = mesos::recordio::Decoder::new(1 << 20);
    let mut framework = None;
    let mut statuses = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Some(record) = decoder.next_record().unwrap() else {
            let read = std::io::Read::read(&mut reader, &mut piece).unwrap();
            assert!(read > 0, "the stream ended");
            decoder.extend(&piece[..read]);
            continue;
        };
        let event: mesos::v1::scheduler::Event = prost::Message::decode(record).unwrap();
        let mut next = mesos::v1::scheduler::Call { framework_id: framework.clone(), ..Default::default() };
        if let Some(subscribed) = event.subscribed {
            framework = Some(subscribed.framework_id);
        }
        if let Some(offers) = event.offers {
            let mut task = client::task("t1", &agent, 1.0);
            task.executor = None;
            task.command = Some(command.clone());
            next.r#type = Some(mesos::v1::scheduler::call::Type::Accept as i32);
            next.accept = Some(mesos::v1::scheduler::call::Accept {
                offer_ids: offers.offers.into_iter().map(|offer| offer.id).collect(),
                operations: vec![client::launch(vec![task])],
                filters: Some(mesos::v1::Filters { refuse_seconds: Some(3600.0) }),
            });
            post(&next, Some(&stream));
        } else if let Some(update) = event.update {
            let status = update.status;
            if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) {
                next.r#type = Some(mesos::v1::scheduler::call::Type::Acknowledge as i32);
                let task_id = status.task_id.clone();
                next.acknowledge = Some(mesos::v1::scheduler::call::Acknowledge { agent_id, task_id, uuid });
                post(&next, Some(&stream));
            }
            let ended = client::state(&status).is_terminal();
            statuses.push(status);
            if ended {
                return statuses;
            }
        }
    }
}

#[test]
fn commands_run_without_an_executor_and_their_exit_decides() {
    let shell = |line: &str| CommandInfo { value: Some(line.into()), ..CommandInfo::default() };
    let states = |statuses: &[mesos::v1::TaskStatus]| statuses.iter().map(client::state).collect::<Vec<_>>();
    let good = run_command(shell("echo hello"));
    assert_eq!(states(&good), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    let bad = run_command(shell("exit 3"));
    assert_eq!(states(&bad).last(), Some(&TaskState::Failed));
    assert!(bad.last().unwrap().message.as_deref().unwrap().contains("status 3"));
    let uris = vec![Uri { value: "/nowhere/at/all".into(), ..Uri::default() }];
    let unfetched = run_command(CommandInfo { uris, ..shell("true") });
    assert_eq!(states(&unfetched), [TaskState::Failed]);
    assert_eq!(client::reason(&unfetched[0]), Some(Reason::ContainerLaunchFailed));
}
