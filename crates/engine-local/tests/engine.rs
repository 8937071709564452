//! The engine with a real launcher and real tasks, through the words between scheduler and engines.

#[path = "../../executor/tests/built/mod.rs"]
mod built;
mod recorder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Call, Engine, Event, EventSink, Launch, Offer, Reason, StatusUpdate, TaskState};
use engine_local::{LocalEngine, Options, StartError};
use model::{CpuMillis, JobKey, Resources, TaskConfig, TaskId};
use recorder::{Recorder, statuses_of};

struct Cluster {
    engine: Option<LocalEngine>,
    sink: Arc<Recorder>,
    options: Options,
    root: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::Builder::new().prefix("daybreak-engine").tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut options = Options {
            state_dir: root.path().to_owned(),
            executable: built::executor().to_owned(),
            hostname: "machine".into(),
            resources: Some("cpus:4;mem:4096;disk:10000;ports:[31000-31009]".into()),
            kill_grace: Duration::from_millis(500),
            resend_interval: Duration::from_millis(200),
            ..Options::default()
        };
        change(&mut options);
        let mut cluster = Self { engine: None, sink: Arc::default(), options, root };
        cluster.restart();
        cluster
    }

    /// Another daemon on the same state.
    fn restart(&mut self) {
        self.stop();
        self.sink = Arc::default();
        let sink: Arc<dyn EventSink> = self.sink.clone();
        self.engine = Some(LocalEngine::start(self.options.clone(), sink).unwrap());
        self.wait("registration", |events| {
            events.iter().any(|event| matches!(event, Event::Registered { .. })).then_some(())
        });
    }

    fn stop(&mut self) {
        self.engine = None;
    }

    fn call(&mut self, calls: Vec<Call>) {
        self.engine.as_mut().unwrap().call(1, calls);
    }

    fn wait<T>(&self, what: &str, found: impl FnMut(&[Event]) -> Option<T>) -> T {
        self.sink.wait(Duration::from_secs(30), self.root.path(), what, found)
    }

    fn offers(&self) -> Vec<Offer> {
        self.wait("an offer", |events| {
            let offers: Vec<Offer> = events
                .iter()
                .filter_map(|event| if let Event::Offers(offers) = event { Some(offers.clone()) } else { None })
                .flatten()
                .collect();
            (!offers.is_empty()).then_some(offers)
        })
    }

    fn statuses(&self, task_id: &TaskId) -> Vec<StatusUpdate> {
        let events = self.sink.events.lock().unwrap();
        statuses_of(&events, task_id.as_str())
    }

    fn until(&self, task_id: &TaskId, state: TaskState) -> StatusUpdate {
        self.wait(&format!("{state:?} of {}", task_id.as_str()), |events| {
            statuses_of(events, task_id.as_str()).into_iter().find(|status| status.state == state)
        })
    }

    fn acknowledge(&mut self, status: &StatusUpdate) {
        let token = status.token.clone().unwrap();
        self.call(vec![Call::Acknowledge { task_id: status.task_id.clone(), agent_id: None, token }]);
    }

    /// Starts tasks on the newest offer.
    fn launch(&mut self, launches: Vec<Launch>) {
        let offer = self.offers().pop().unwrap();
        self.call(vec![Call::Accept { offers: vec![offer.id], launches }]);
    }

    /// The line that a task writes into a file of its sandbox.
    fn written(&self, task_id: &TaskId, file: &str) -> String {
        let path = self.sandbox(task_id).join(file);
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn sandbox(&self, task_id: &TaskId) -> PathBuf {
        self.root.path().join("local/agents/agent-0/tasks").join(task_id.as_str()).join("sandbox")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.engine.is_none() {
            let sink: Arc<dyn EventSink> = Arc::new(Recorder::default());
            self.engine = LocalEngine::start(self.options.clone(), sink).ok();
        }
        if let Some(engine) = &self.engine {
            let ended = engine.control().shut_down(Duration::from_secs(20));
            assert!(ended || std::thread::panicking());
        }
    }
}

/// The user that tasks of these tests run as.
fn role() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn launch(name: &str, cmdline: &str) -> Launch {
    let job = JobKey::new(role(), "test", "job");
    let payload = serde_json::json!({"task": {"name": "t", "processes": [{"name": "p", "cmdline": cmdline}]}});
    let config = TaskConfig::new(job, 0.5, 1, 10, payload.to_string());
    let resources = Resources { ram_mb: config.resources.ram_mb + 128, ..config.resources };
    Launch {
        task_id: TaskId(name.into()),
        instance: 0,
        config: Arc::new(config),
        resources,
        revocable: false,
        ports: BTreeMap::new(),
        assigned_ms: 0,
    }
}

fn task(name: &str) -> TaskId {
    TaskId(name.into())
}

#[test]
fn tasks_run_on_what_is_offered_and_give_it_back() {
    let mut cluster = Cluster::start();
    let offer = cluster.offers().remove(0);
    assert_eq!((offer.host.as_str(), offer.resources.cpu, offer.resources.ports), ("machine", CpuMillis(4000), 10));
    assert_eq!(offer.attributes["host"], ["machine"]);
    let mut with_port = launch("b", "echo {{thermos.ports[http]}} > port");
    with_port.ports.insert("http".into(), 31_004);
    cluster.call(vec![Call::Accept { offers: vec![offer.id], launches: vec![launch("a", "true"), with_port] }]);
    for name in ["a", "b"] {
        let finished = cluster.until(&task(name), TaskState::Finished);
        let states: Vec<TaskState> = cluster.statuses(&task(name)).iter().map(|status| status.state).collect();
        assert_eq!(states[..3], [TaskState::Starting, TaskState::Running, TaskState::Finished]);
        assert_eq!(finished.message.as_deref(), Some("Task finished."));
        assert_eq!(finished.reason, Some(Reason::Executor));
    }
    assert_eq!(std::fs::read_to_string(cluster.sandbox(&task("b")).join("port")).unwrap(), "31004\n");
    // All that was ever offered and not accepted adds up to the machine again.
    cluster.wait("everything to be offered again", |events| {
        let offers =
            events.iter().filter_map(|event| if let Event::Offers(offers) = event { Some(offers) } else { None });
        let sum = offers.flatten().skip(1).fold(Resources::ZERO, |sum, offer| sum + offer.resources);
        (sum == Resources { cpu: CpuMillis(4000), ram_mb: 4096, disk_mb: 10_000, ports: 10, gpus: 0 }).then_some(())
    });
}

#[test]
fn one_megabyte_of_memory_is_enough_for_python() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("py", "exec /usr/bin/env python3 -c 'print(sum(range(1000)))' || exit 0")]);
    let last = cluster
        .wait("the end", |events| statuses_of(events, "py").into_iter().find(|status| status.state.is_terminal()));
    assert_eq!(last.state, TaskState::Finished, "{last:?}");
}

#[test]
fn a_status_is_repeated_until_it_is_acknowledged() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("a", "exit 3")]);
    let failed = cluster.until(&task("a"), TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process p exited with status 3."));
    cluster.wait("repetitions", |events| {
        let count = statuses_of(events, "a").iter().filter(|status| status.state == TaskState::Failed).count();
        (count >= 3).then_some(())
    });
    cluster.acknowledge(&failed);
    // What was acknowledged stays so in the next engine, and is still known when asked for.
    cluster.restart();
    cluster.call(vec![Call::Reconcile { tasks: vec![(task("a"), None), (task("never"), None)] }]);
    let answer = cluster.until(&task("a"), TaskState::Failed);
    assert_eq!((answer.reason, answer.token.clone()), (Some(Reason::Reconciliation), None));
    let unknown = cluster.until(&task("never"), TaskState::Lost);
    assert_eq!(unknown.token, None);
    assert_eq!(cluster.statuses(&task("a")).len(), 1, "it is not told again by itself");
}

#[test]
fn a_running_task_survives_the_engine_and_is_adopted_with_what_it_holds() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("a", "echo $$ > pid; while ! test -e go; do sleep 0.02; done; exit 9")]);
    cluster.until(&task("a"), TaskState::Running);
    let pid = cluster.written(&task("a"), "pid");
    cluster.restart();
    cluster.until(&task("a"), TaskState::Running);
    assert_eq!(cluster.offers()[0].resources.cpu, CpuMillis(3500), "what it holds is not offered");
    assert!(Path::new("/proc").join(pid.trim()).exists(), "the same process");
    std::fs::write(cluster.sandbox(&task("a")).join("go"), "").unwrap();
    let failed = cluster.until(&task("a"), TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process p exited with status 9."));
}

#[test]
fn what_ended_while_no_engine_was_there_is_told_by_the_next() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("a", "while ! test -e go; do sleep 0.02; done; touch went; exit 7")]);
    cluster.until(&task("a"), TaskState::Running);
    let sandbox = cluster.sandbox(&task("a"));
    cluster.stop();
    std::fs::write(sandbox.join("go"), "").unwrap();
    while !sandbox.join("went").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    cluster.restart();
    let failed = cluster.until(&task("a"), TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process p exited with status 7."));
}

#[test]
fn kills_are_answered_whatever_the_task_does() {
    let mut cluster = Cluster::start();
    cluster
        .launch(vec![launch("deaf", "trap '' TERM; while :; do sleep 0.05; done"), launch("meek", "exec sleep 1000")]);
    for name in ["deaf", "meek"] {
        cluster.until(&task(name), TaskState::Running);
        let kill = Call::Kill { task_id: task(name), agent_id: None };
        cluster.call(vec![kill.clone(), kill]);
    }
    cluster.call(vec![Call::Kill { task_id: task("never"), agent_id: None }]);
    for name in ["deaf", "meek"] {
        let killed = cluster.until(&task(name), TaskState::Killed);
        assert_eq!(killed.message.as_deref(), Some("Instructed to kill task."));
    }
    cluster.until(&task("never"), TaskState::Lost);
}

#[test]
fn a_kill_right_behind_the_launch_is_not_lost() {
    let mut cluster = Cluster::start();
    let offer = cluster.offers().remove(0);
    let launches = (0..6).map(|number| launch(&format!("t{number}"), "exec sleep 1000")).collect();
    let mut calls = vec![Call::Accept { offers: vec![offer.id], launches }];
    calls.extend((0..6).map(|number| Call::Kill { task_id: task(&format!("t{number}")), agent_id: None }));
    cluster.call(calls);
    for number in 0..6 {
        cluster.until(&task(&format!("t{number}")), TaskState::Killed);
    }
}

#[test]
fn a_name_is_started_once_however_often_it_is_asked_for() {
    let mut cluster = Cluster::start();
    for _ in 0..2 {
        cluster.launch(vec![launch("a", "echo x >> $HOME/../../count-a; true")]);
        cluster.until(&task("a"), TaskState::Finished);
    }
    let finished = cluster.until(&task("a"), TaskState::Finished);
    cluster.acknowledge(&finished);
    cluster.restart();
    cluster.launch(vec![launch("a", "echo x >> $HOME/../../count-a; true")]);
    let again = cluster.until(&task("a"), TaskState::Finished);
    assert_eq!(again.message.as_deref(), Some("Task finished."));
    let count = std::fs::read_to_string(cluster.root.path().join("local/agents/agent-0/tasks/count-a")).unwrap();
    assert_eq!(count, "x\n");
}

#[test]
fn an_offer_is_good_once_and_not_for_more_than_it_holds() {
    let mut cluster = Cluster::start();
    let offer = cluster.offers().remove(0);
    let mut greedy = launch("greedy", "true");
    greedy.resources.cpu = CpuMillis(4001);
    cluster.call(vec![Call::Accept { offers: vec![offer.id.clone()], launches: vec![greedy] }]);
    assert_eq!(cluster.until(&task("greedy"), TaskState::Lost).reason, Some(Reason::InvalidOffer));
    cluster.call(vec![Call::Accept { offers: vec![offer.id], launches: vec![launch("late", "true")] }]);
    assert_eq!(cluster.until(&task("late"), TaskState::Lost).reason, Some(Reason::InvalidOffer));
}

#[test]
fn what_this_engine_cannot_run_fails_with_the_reason() {
    let mut cluster = Cluster::start();
    let with = |name: &str, change: fn(&mut TaskConfig)| {
        let mut launch = launch(name, "true");
        let mut config = (*launch.config).clone();
        change(&mut config);
        launch.config = Arc::new(config);
        launch
    };
    cluster.launch(vec![
        with("executor", |config| config.executor_config.as_mut().unwrap().name = "other".into()),
        with("none", |config| config.executor_config = None),
        with("garbage", |config| config.executor_config.as_mut().unwrap().data = "{".into()),
    ]);
    for (name, part) in [
        ("executor", "Executor other is not available"),
        ("none", "no executor configuration"),
        ("garbage", "not JSON"),
    ] {
        let failed = cluster.until(&task(name), TaskState::Failed);
        assert_eq!(failed.reason, Some(Reason::LaunchFailed));
        assert!(failed.message.as_ref().unwrap().contains(part), "{failed:?}");
    }
}

#[test]
fn the_launcher_is_replaced_under_running_tasks_and_new_ones_start() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("old", "while ! test -e go; do sleep 0.02; done")]);
    cluster.until(&task("old"), TaskState::Running);
    let lock = cluster.root.path().join("local/launcher.lock");
    let pid: i32 = std::fs::read_to_string(&lock).unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    cluster.launch(vec![launch("new", "true")]);
    cluster.until(&task("new"), TaskState::Finished);
    std::fs::write(cluster.sandbox(&task("old")).join("go"), "").unwrap();
    cluster.until(&task("old"), TaskState::Finished);
}

#[test]
fn a_launcher_of_another_program_makes_room_and_its_tasks_go_on() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("old", "echo $PPID > parent; while ! test -e go; do sleep 0.02; done; exit 3")]);
    cluster.until(&task("old"), TaskState::Running);
    let supervisor = cluster.written(&task("old"), "parent");
    let lock = cluster.root.path().join("local/launcher.lock");
    let launcher = || std::fs::read_to_string(&lock).unwrap().trim().to_owned();
    let before = launcher();
    cluster.restart();
    assert_eq!(launcher(), before, "the same program: nothing happens");
    let fresh = cluster.root.path().join("daybreak-executor.new");
    std::fs::copy(built::executor(), &fresh).unwrap();
    cluster.options.executable = fresh.clone();
    cluster.restart();
    cluster.launch(vec![launch("new", "true")]);
    cluster.until(&task("new"), TaskState::Finished);
    let after = launcher();
    assert_ne!(after, before);
    assert_eq!(std::fs::read_link(format!("/proc/{after}/exe")).unwrap(), fresh, "the new program");
    assert_eq!(cluster.written(&task("old"), "parent"), supervisor);
    let running = rustix::process::Pid::from_raw(supervisor.trim().parse().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(running).is_ok(), "its supervisor goes on");
    std::fs::write(cluster.sandbox(&task("old")).join("go"), "").unwrap();
    let failed = cluster.until(&task("old"), TaskState::Failed);
    assert!(failed.message.as_deref().is_some_and(|message| message.contains("exited with status 3")), "{failed:?}");
    cluster.restart();
    assert_eq!(launcher(), after);
}

#[test]
fn a_dead_supervisor_is_a_lost_task_and_its_room_is_offered_again() {
    let mut cluster = Cluster::start();
    cluster.launch(vec![launch("a", "echo $PPID > parent; exec sleep 1000")]);
    cluster.until(&task("a"), TaskState::Running);
    let parent = cluster.written(&task("a"), "parent").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(parent).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let lost = cluster.until(&task("a"), TaskState::Lost);
    assert_eq!(lost.reason, Some(Reason::ExecutorTerminated));
    assert!(lost.message.unwrap().ends_with("exit code unknown."));
    cluster.wait("its room", |events| {
        let last =
            events.iter().rev().find_map(|event| if let Event::Offers(offers) = event { offers.last() } else { None });
        last.filter(|offer| offer.resources.cpu >= CpuMillis(500)).map(|_| ())
    });
}

#[test]
fn calls_of_a_deposed_scheduler_are_refused() {
    let mut cluster = Cluster::start();
    let offer = cluster.offers().remove(0);
    let engine = cluster.engine.as_mut().unwrap();
    engine.call(5, vec![Call::Revive]);
    engine.call(4, vec![Call::Accept { offers: vec![offer.id.clone()], launches: vec![launch("deposed", "true")] }]);
    engine.call(5, vec![Call::Accept { offers: vec![offer.id], launches: vec![launch("rightful", "true")] }]);
    cluster.until(&task("rightful"), TaskState::Finished);
    assert_eq!(cluster.statuses(&task("deposed")), []);
}

#[test]
fn declined_offers_come_back_after_their_time() {
    let mut cluster = Cluster::start();
    let offer = cluster.offers().remove(0);
    let began = Instant::now();
    cluster.call(vec![Call::Decline { offers: vec![offer.id.clone()], refuse_ms: 300 }]);
    cluster.wait("another offer", |events| {
        events.iter().any(|event| matches!(event, Event::Offers(offers) if offers[0].id != offer.id)).then_some(())
    });
    assert!(began.elapsed() >= Duration::from_millis(290));
}

#[test]
fn several_agents_share_the_machine_under_names_of_their_own() {
    let mut cluster = Cluster::start_with(|options| {
        options.agents = 3;
        options.attributes = Some("rack:a".into());
    });
    let offers = cluster.wait("three offers", |events| {
        events.iter().find_map(|event| if let Event::Offers(offers) = event { Some(offers.clone()) } else { None })
    });
    let hosts: Vec<&str> = offers.iter().map(|offer| offer.host.as_str()).collect();
    assert_eq!(hosts, ["machine-1", "machine-2", "machine-3"]);
    assert!(offers.iter().all(|offer| offer.resources.ram_mb == 4096 / 3 && offer.attributes["rack"] == ["a"]));
    for (number, offer) in offers.into_iter().enumerate() {
        let launches = vec![launch(&format!("t{number}"), "echo {{mesos.hostname}}")];
        cluster.call(vec![Call::Accept { offers: vec![offer.id], launches }]);
    }
    let files = cluster.engine.as_ref().unwrap().files();
    for number in 0..3 {
        let id = task(&format!("t{number}"));
        let finished = cluster.until(&id, TaskState::Finished);
        assert_eq!(finished.agent_id, Some(format!("agent-{number}")));
        let log = files.log(&id, "p", 0, engine::files::Stream::Stdout, 0, 100).unwrap();
        assert_eq!(String::from_utf8(log.data).unwrap(), format!("machine-{}\n", number + 1));
    }
}

#[test]
fn a_hundred_tasks_at_once_all_end_and_nothing_is_left_over() {
    let mut cluster = Cluster::start_with(|options| options.resources = Some("cpus:100;mem:100000;disk:100000".into()));
    let launches: Vec<Launch> = (0..100).map(|number| launch(&format!("t{number}"), "true")).collect();
    cluster.launch(launches);
    for number in 0..100 {
        cluster.until(&task(&format!("t{number}")), TaskState::Finished);
    }
}

#[test]
fn a_job_that_fails_at_once_for_ever_leaves_a_bounded_amount_on_the_disk() {
    const KEPT: usize = 5;
    // While tasks keep ending, several times as many may lie there.
    const KEPT_BUSY: usize = 4 * KEPT + 2;
    const LOG_BYTES: u64 = 100_000;
    // More on request.
    let runs: usize = std::env::var("DAYBREAK_POISON_RUNS")
        .map_or(60, |text| text.parse().expect("DAYBREAK_POISON_RUNS is a number"));
    let mut cluster = Cluster::start_with(|options| options.retention_count = KEPT);
    let tasks = cluster.root.path().join("local/agents/agent-0/tasks");
    let on_disk = || std::fs::read_dir(&tasks).unwrap().count();
    for number in 0..runs {
        let name = format!("poison-{number}");
        let poison = launch(&name, &format!("head -c {LOG_BYTES} /dev/zero; exit 1"));
        let ended = cluster.wait("an offer that nobody has taken", |events| {
            let rooms =
                events.iter().filter_map(|event| if let Event::Offers(offers) = event { Some(offers) } else { None });
            rooms.flatten().nth(number).cloned()
        });
        cluster.call(vec![Call::Accept { offers: vec![ended.id], launches: vec![poison] }]);
        let failed = cluster.until(&task(&name), TaskState::Failed);
        for status in cluster.statuses(&failed.task_id) {
            cluster.acknowledge(&status);
        }
        if number % 20 == 19 {
            let deadline = Instant::now() + Duration::from_secs(20);
            while on_disk() > KEPT_BUSY && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(on_disk() <= KEPT_BUSY, "{} runs on the disk after {number}", on_disk());
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while on_disk() > KEPT && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(on_disk() <= KEPT, "{} runs on the disk when all is quiet", on_disk());
    let used = std::process::Command::new("du").args(["-sk"]).arg(cluster.root.path().join("local")).output().unwrap();
    let text = String::from_utf8_lossy(&used.stdout).into_owned();
    let used_bytes = text.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024;
    assert!(used_bytes < (KEPT as u64 + 1) * (LOG_BYTES + 50_000) + 300_000, "{used_bytes} bytes in all");
}

#[test]
fn a_directory_that_users_cannot_enter_is_refused_with_its_name() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        // Tasks run as whoever runs the engine, who can enter.
        return;
    }
    let root = tempfile::Builder::new().prefix("daybreak-closed").tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let options = Options {
        state_dir: root.path().join("state"),
        executable: built::executor().to_owned(),
        hostname: "machine".into(),
        ..Options::default()
    };
    let sink: Arc<dyn EventSink> = Arc::new(Recorder::default());
    let error = LocalEngine::start(options, sink).err().expect("refused");
    assert!(
        matches!(&error, StartError::NotEnterable { folder, mode: 0o700, .. } if Path::new(folder) == root.path()),
        "{error}"
    );
}

#[test]
fn a_launcher_that_cannot_be_started_does_not_stop_the_engine_and_is_tried_again() {
    let folder = tempfile::Builder::new().prefix("daybreak-exe").tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let missing = folder.path().join("not-there-yet");
    let target = missing.clone();
    let appears = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        std::fs::copy(built::executor(), target).unwrap();
    });
    let mut cluster = Cluster::start_with(|options| options.executable = missing);
    appears.join().unwrap();
    cluster.launch(vec![launch("a", "true")]);
    cluster.until(&task("a"), TaskState::Finished);
}

#[test]
fn a_task_outlives_the_thread_that_started_the_engine() {
    // Signals on the death of a parent follow threads: a helper thread that ends must not take tasks with it, whichever way the
    // supervisor was made: in advance, on demand, or used before.
    let mut cluster = Cluster::start_with(|options| options.resources = Some("cpus:8;mem:8000;disk:8000".into()));
    cluster.stop();
    let (options, sink) = (cluster.options.clone(), Arc::new(Recorder::default()));
    let given: Arc<dyn EventSink> = sink.clone();
    cluster.engine = Some(std::thread::spawn(move || LocalEngine::start(options, given).unwrap()).join().unwrap());
    cluster.sink = sink;
    cluster.launch(vec![launch("first", "true")]);
    cluster.until(&task("first"), TaskState::Finished);
    let names: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    let launches = names.iter().map(|name| launch(name, "sleep 1.5")).collect();
    // What the first task left of the machine.
    let offer = cluster.offers().remove(1);
    cluster.call(vec![Call::Accept { offers: vec![offer.id], launches }]);
    for name in &names {
        cluster.until(&task(name), TaskState::Running);
    }
    cluster.restart();
    for name in &names {
        cluster.until(&task(name), TaskState::Finished);
    }
}

#[test]
fn what_version_0_1_0_left_is_told_by_this_one() {
    const WEB: &str = "www-data-prod-web-0-0ed56dab-8b69-4765-8ddd-cbe76bbe5812";
    const FAIL: &str = "www-data-prod-fail-0-e50c7076-5718-458f-b446-88152da89eef";
    let mut cluster = Cluster::start();
    assert!(cluster.engine.as_ref().unwrap().control().shut_down(Duration::from_secs(20)));
    cluster.stop();
    let local = cluster.root.path().join("local");
    let put = |task: &str, checkpoint: &[u8]| {
        let run = local.join("agents/agent-0/tasks").join(task);
        std::fs::create_dir_all(run.join("sandbox")).unwrap();
        std::fs::write(run.join("checkpoint"), checkpoint).unwrap();
    };
    put(WEB, include_bytes!("../../checkpoint/tests/golden/0.1.0/web-running.checkpoint"));
    put(FAIL, include_bytes!("../../checkpoint/tests/golden/0.1.0/fail.checkpoint"));
    cluster.restart();
    // Neither its supervisor nor its launcher is there any more.
    let lost = cluster.until(&task(WEB), TaskState::Lost);
    assert!(matches!(lost.reason, Some(Reason::AgentRemoved | Reason::ExecutorTerminated)), "{lost:?}");
    let failed = cluster.until(&task(FAIL), TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process p exited with status 3."));
    // Ends that the scheduler has stored are not told again.
    cluster.stop();
    let acknowledged = include_bytes!("../../checkpoint/tests/golden/0.1.0/acknowledged");
    std::fs::write(local.join("acknowledged"), acknowledged).unwrap();
    cluster.restart();
    std::thread::sleep(cluster.options.resend_interval * 3);
    assert!(cluster.statuses(&task(WEB)).is_empty() && cluster.statuses(&task(FAIL)).is_empty());
}

#[test]
fn all_of_this_holds_for_a_plain_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("daybreak-user").tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The build's folders need not be open to others.
    let (tests, program) = (folder.path().join("tests"), folder.path().join("daybreak-executor"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(built::executor(), &program).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&tests)
        .args(["--test-threads", "4"])
        .env(built::EXECUTOR_VARIABLE, &program)
        .env("TMPDIR", folder.path())
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
