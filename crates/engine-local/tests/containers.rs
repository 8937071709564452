//! Tasks in containers, docker-compose projects and files to be fetched, with a real Docker daemon, a real launcher and the words between
//! scheduler and engines.

#[path = "../../executor/tests/built/mod.rs"]
mod built;
mod docker;
mod recorder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use docker::{Docker, GREETER, IMAGE, SLEEPER, serve};
use engine::{Call, Engine, Event, EventSink, Launch, Reason, StatusUpdate, TaskState};
use engine_local::{LocalEngine, Options};
use model::container::{Container, FetcherUri};
use model::task::{ExecutorConfig, Metadata};
use model::{JobKey, Resources, TaskConfig, TaskId};
use recorder::{Recorder, statuses_of};

/// The example of this crate that has all programs of an agent, built with the profile of this test.
fn executable() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || built::build(&["-p", "engine-local", "--example", "agent"]).join("examples/agent");
    BUILT.get_or_init(build).clone()
}

struct Machine {
    engine: Option<LocalEngine>,
    sink: Arc<Recorder>,
    options: Options,
    root: tempfile::TempDir,
    docker: &'static Docker,
}

impl Machine {
    /// An engine on the tests' Docker daemon, where there is one.
    fn start() -> Option<Self> {
        use std::os::unix::fs::PermissionsExt;
        let docker = docker::docker()?;
        let root = tempfile::Builder::new().prefix("daybreak-containers").tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            state_dir: root.path().to_owned(),
            executable: executable(),
            hostname: "machine".into(),
            resources: Some("cpus:8;mem:8192;disk:10000;gpus:1;ports:[31000-31099]".into()),
            kill_grace: Duration::from_secs(20),
            docker_host: docker.host(),
            ..Options::default()
        };
        let mut machine = Self { engine: None, sink: Arc::default(), options, root, docker };
        machine.restart();
        Some(machine)
    }

    /// Another daemon on the same state.
    fn restart(&mut self) {
        self.engine = None;
        self.sink = Arc::default();
        let sink: Arc<dyn EventSink> = self.sink.clone();
        self.engine = Some(LocalEngine::start(self.options.clone(), sink).unwrap());
        self.wait("registration", |events| {
            events.iter().any(|event| matches!(event, Event::Registered { .. })).then_some(())
        });
    }

    fn wait<T>(&self, what: &str, found: impl FnMut(&[Event]) -> Option<T>) -> T {
        self.sink.wait(Duration::from_secs(60), self.root.path(), what, found)
    }

    fn until(&self, task_id: &str, state: TaskState) -> StatusUpdate {
        self.wait(&format!("{state:?} of {task_id}"), |events| {
            let statuses = statuses_of(events, task_id);
            let found = statuses.iter().find(|status| status.state == state).cloned();
            let ended = statuses.into_iter().find(|status| status.state.is_terminal() && status.state != state);
            assert!(found.is_some() || ended.is_none(), "{ended:?}");
            found
        })
    }

    fn states(&self, task_id: &str) -> Vec<TaskState> {
        statuses_of(&self.sink.events.lock().unwrap(), task_id).iter().map(|status| status.state).collect()
    }

    fn launch(&mut self, name: &str, ports: &[(&str, u16)], change: impl FnOnce(&mut TaskConfig)) {
        let mut config = TaskConfig::new(JobKey::new("root", "test", "job"), 0.5, 64, 100, "");
        change(&mut config);
        let launch = Launch {
            task_id: TaskId(name.into()),
            instance: 3,
            resources: Resources { ram_mb: config.resources.ram_mb + 128, ..config.resources },
            config: Arc::new(config),
            revocable: false,
            ports: ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect::<BTreeMap<_, _>>(),
            assigned_ms: 0,
        };
        // All that was offered since: what earlier tasks have given back comes as offers of its own.
        let offers: Vec<_> = self.wait("an offer", |events| {
            let offers = events.iter().filter_map(|event| match event {
                Event::Offers(offers) => Some(offers.iter().map(|offer| offer.id.clone())),
                _ => None,
            });
            Some(offers.flatten().collect::<Vec<_>>()).filter(|offers| !offers.is_empty())
        });
        self.sink.events.lock().unwrap().retain(|event| !matches!(event, Event::Offers(_)));
        self.call(Call::Accept { offers, launches: vec![launch] });
    }

    fn call(&mut self, call: Call) {
        self.engine.as_mut().unwrap().call(1, vec![call]);
    }

    fn kill(&mut self, task_id: &str) {
        self.call(Call::Kill { task_id: TaskId(task_id.into()), agent_id: None });
    }

    fn run_directory(&self, task_id: &str) -> PathBuf {
        self.root.path().join("local/agents/agent-0/tasks").join(task_id)
    }

    fn log(&self, task_id: &str, process: &str, stream: &str) -> String {
        let path = self.run_directory(task_id).join("sandbox/.logs").join(process).join("0").join(stream);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Pid of the task's supervisor.
    fn supervisor(&self, task_id: &str) -> i32 {
        let path = self.run_directory(task_id).join("checkpoint");
        checkpoint::replay::RunState::load(&path).unwrap().header.unwrap().supervisor_pid
    }

    fn until_gone(&self, task_id: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.docker.containers_of(task_id).is_empty() {
            assert!(Instant::now() < deadline, "containers of {task_id} stay");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(engine) = &self.engine {
            let ended = engine.control().shut_down(Duration::from_secs(20));
            assert!(ended || std::thread::panicking());
        }
    }
}

fn data(cmdline: &str) -> String {
    serde_json::json!({"task": {"name": "t", "processes": [{"name": "p", "cmdline": cmdline}]}}).to_string()
}

fn docker_task(config: &mut TaskConfig, image: &str, parameters: &[(&str, &str)], cmdline: Option<&str>) {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config.container = Container::Docker { image: image.into(), parameters };
    config.executor_config =
        cmdline.map(|cmdline| ExecutorConfig { name: "AuroraExecutor".into(), data: data(cmdline) });
}

fn kill_9(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn processes_run_inside_a_container_and_leave_their_output_in_the_sandbox() {
    let Some(mut machine) = Machine::start() else { return };
    let parameters = [("env", "COLOR=green"), ("volume", "/etc:/host-etc:ro")];
    let line = "echo out $COLOR $PWD $HOME $USER {{mesos.instance}} {{thermos.ports[http]}}; echo err >&2; \
                ls /host-etc/hostname; [ -e /usr/bin/apt-get ] || echo inside; echo kept > result";
    machine.launch("a", &[("http", 31_005)], |config| docker_task(config, IMAGE, &parameters, Some(line)));
    machine.until("a", TaskState::Finished);
    assert_eq!(machine.states("a"), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert_eq!(
        machine.log("a", "p", "stdout"),
        "out green /mnt/mesos/sandbox /mnt/mesos/sandbox root 3 31005\n/host-etc/hostname\ninside\n"
    );
    assert_eq!(machine.log("a", "p", "stderr"), "err\n");
    assert_eq!(std::fs::read_to_string(machine.run_directory("a").join("sandbox/result")).unwrap(), "kept\n");
    assert!(machine.docker.containers_of("a").is_empty());
    // Another user than root may write into the sandbox too; a profile of an earlier process is read.
    machine.launch("u", &[], |config| {
        let user = [("user", "guest")];
        let line = "echo export GREETING=hello > .thermos_profile; echo $USER $UID";
        docker_task(config, IMAGE, &user, None);
        let payload = serde_json::json!({"task": {"name": "t", "constraints": [{"order": ["p", "q"]}], "processes":
            [{"name": "p", "cmdline": line}, {"name": "q", "cmdline": "echo $GREETING"}]}});
        config.executor_config = Some(ExecutorConfig { name: "AuroraExecutor".into(), data: payload.to_string() });
    });
    machine.until("u", TaskState::Finished);
    assert_eq!(
        (machine.log("u", "p", "stdout"), machine.log("u", "q", "stdout")),
        ("guest 1234\n".into(), "hello\n".into())
    );
    // What is left in the background holds nothing up, although it holds the output open.
    machine.launch("left", &[], |config| docker_task(config, IMAGE, &[], Some("sleep 1000 & echo done")));
    machine.until("left", TaskState::Finished);
    assert_eq!(machine.log("left", "p", "stdout"), "done\n");
    // An exit code is what it was, and a process may be tried again.
    machine.launch("b", &[], |config| {
        docker_task(config, IMAGE, &[], None);
        let payload = serde_json::json!({"task": {"name": "t", "processes":
            [{"name": "p", "max_failures": 2, "min_duration": 0, "cmdline": "[ -e once ] && exit 7; echo 1 > once; exit 1"}]}});
        config.executor_config = Some(ExecutorConfig { name: "AuroraExecutor".into(), data: payload.to_string() });
    });
    let failed = machine.until("b", TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process p exited with status 7."));
    assert!(machine.docker.containers_of("b").is_empty());
}

#[test]
fn a_container_that_cannot_be_is_a_failed_task_with_the_reason() {
    let Some(mut machine) = Machine::start() else { return };
    machine.launch("missing", &[], |config| docker_task(config, "127.0.0.1:1/none:1", &[], Some("true")));
    let failed = machine.until("missing", TaskState::Failed);
    let message = failed.message.unwrap();
    assert!(message.contains("image 127.0.0.1:1/none:1 is not on this machine and cannot be pulled"), "{message}");
    machine.launch("wrong", &[], |config| docker_task(config, IMAGE, &[("restart", "always")], None));
    let message = machine.until("wrong", TaskState::Failed).message.unwrap();
    assert!(message.starts_with("The container cannot be started: Docker parameter restart=always"), "{message}");
    machine.launch("gpu", &[], |config| {
        docker_task(config, IMAGE, &[], Some("true"));
        config.resources.gpus = 1;
    });
    // No machine that runs this has the runtime for it; one that has would need another test.
    let message = machine.until("gpu", TaskState::Failed).message.unwrap();
    assert!(message.starts_with("The container cannot be started: Docker: ") && message.contains("gpu"), "{message}");
}

#[test]
fn a_killed_container_task_gets_sigterm_and_nothing_is_left() {
    let Some(mut machine) = Machine::start() else { return };
    let line = "trap 'echo asked; exit 0' TERM; sleep 1000 & echo ready > ready; wait";
    machine.launch("k", &[], |config| docker_task(config, IMAGE, &[], Some(line)));
    machine.until("k", TaskState::Running);
    wait_for_file(&machine.run_directory("k").join("sandbox/ready"));
    machine.kill("k");
    machine.until("k", TaskState::Killed);
    assert_eq!(machine.log("k", "p", "stdout"), "asked\n");
    assert!(machine.docker.containers_of("k").is_empty(), "terminal means gone");
}

#[test]
fn more_memory_than_asked_for_fails_the_task_and_says_so() {
    let Some(mut machine) = Machine::start() else { return };
    machine.launch("m", &[], |config| {
        docker_task(config, IMAGE, &[], Some("dd if=/dev/zero of=/dev/null bs=200M count=1; exit $?"));
        config.resources.ram_mb = 32;
    });
    let failed = machine.until("m", TaskState::Failed);
    assert_eq!(failed.reason, Some(Reason::MemoryLimit), "{failed:?}");
    assert!(failed.message.unwrap().contains("32 MB"));
}

#[test]
fn a_container_alone_does_what_its_image_says() {
    let Some(mut machine) = Machine::start() else { return };
    machine.launch("alone", &[], |config| docker_task(config, GREETER, &[], None));
    machine.until("alone", TaskState::Finished);
    assert_eq!(machine.log("alone", "job", "stdout"), "hello from alone\n");
    let failing = [("entrypoint", "/bin/false")];
    machine.launch("failing", &[], |config| docker_task(config, GREETER, &failing, None));
    let failed = machine.until("failing", TaskState::Failed);
    assert_eq!(failed.message.as_deref(), Some("Task failed: process job exited with status 1."));
    machine.launch("nobody", &[], |config| docker_task(config, "127.0.0.1:1/none:1", &[], None));
    let message = machine.until("nobody", TaskState::Failed).message.unwrap();
    assert!(message.starts_with("The container cannot be started: image 127.0.0.1:1/none:1"), "{message}");
    for task in ["alone", "failing", "nobody"] {
        assert!(machine.docker.containers_of(task).is_empty(), "{task}");
    }
}

#[test]
fn kill_9_of_the_supervisor_leaves_no_container() {
    let Some(mut machine) = Machine::start() else { return };
    machine.launch("inside", &[], |config| docker_task(config, IMAGE, &[], Some("echo 1 > ready; sleep 1000")));
    wait_for_file(&machine.run_directory("inside").join("sandbox/ready"));
    kill_9(machine.supervisor("inside"));
    machine.until("inside", TaskState::Lost);
    assert!(machine.docker.containers_of("inside").is_empty());
    machine.launch("alone", &[], sleeping);
    machine.until("alone", TaskState::Running);
    kill_9(machine.supervisor("alone"));
    machine.until("alone", TaskState::Lost);
    assert!(machine.docker.containers_of("alone").is_empty());
}

/// A container alone that goes on for long.
fn sleeping(config: &mut TaskConfig) {
    docker_task(config, SLEEPER, &[], None);
}

#[test]
fn containers_go_on_without_daemon_and_are_removed_after_both_supervisor_and_launcher_died() {
    let Some(mut machine) = Machine::start() else { return };
    machine.launch("stays", &[], sleeping);
    machine.launch("goes", &[], |config| docker_task(config, IMAGE, &[], Some("echo 1 > ready; sleep 1000")));
    machine.until("stays", TaskState::Running);
    wait_for_file(&machine.run_directory("goes").join("sandbox/ready"));
    machine.restart();
    let lock = machine.root.path().join("local/launcher.lock");
    let launcher = || std::fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let first = launcher().unwrap();
    kill_9(first);
    eventually("another launcher", || launcher().is_some_and(|pid| pid != first));
    // Its first work is to remove what nobody looks after; these are looked after.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((machine.docker.containers_of("stays").len(), machine.docker.containers_of("goes").len()), (1, 1));
    machine.kill("stays");
    machine.until("stays", TaskState::Killed);
    let supervisor = machine.supervisor("goes");
    kill_9(launcher().unwrap());
    kill_9(supervisor);
    machine.until("goes", TaskState::Lost);
    machine.until_gone("goes");
}

#[test]
fn files_are_fetched_into_the_sandbox_before_anything_runs() {
    let Some(mut machine) = Machine::start() else { return };
    let address = serve(archive(&[("sample/hello.txt", "hello\n")]));
    let uri = |name: &str, extract| FetcherUri {
        value: format!("{address}/{name}"),
        extract: Some(extract),
        cache: None,
        output_file: None,
    };
    machine.launch("f", &[], |config| {
        config.mesos_fetcher_uris = [uri("sample.tar.gz", true), uri("plain.bin", false)].into();
        config.executor_config =
            Some(ExecutorConfig { name: "AuroraExecutor".into(), data: data("cat sample/hello.txt; ls *.*") });
    });
    machine.until("f", TaskState::Finished);
    assert_eq!(machine.log("f", "p", "stdout"), "hello\nplain.bin\nsample.tar.gz\n");
    machine.launch("g", &[], |config| {
        config.mesos_fetcher_uris =
            [FetcherUri { value: "/nonexistent/x".into(), extract: None, cache: None, output_file: None }].into();
        config.executor_config = Some(ExecutorConfig { name: "AuroraExecutor".into(), data: data("true") });
    });
    let failed = machine.until("g", TaskState::Failed);
    assert_eq!(machine.states("g"), [TaskState::Starting, TaskState::Failed]);
    let message = failed.message.unwrap();
    assert!(
        message.starts_with("Failed to fetch the task's files: ") && message.contains("/nonexistent/x"),
        "{message}"
    );
}

/// Goes on for long, but ends when it is asked to.
const LONG: &str = "trap exit TERM; sleep 1000 & wait";

/// The two services of the sample; the second one needs the first.
fn sample(web: &str) -> String {
    format!(
        "version: '2'\nservices:\n  web:\n    image: {IMAGE}\n    command: ['/bin/sh', '-c', '{web}']\n    ports: ['8080:80']\n    \
         depends_on: [store]\n  store:\n    image: {IMAGE}\n    command: ['/bin/sh', '-c', '{LONG}']\n"
    )
}

fn compose_task(config: &mut TaskConfig, address: &str) {
    config.executor_config = Some(ExecutorConfig { name: "docker-compose-executor".into(), data: "{}".into() });
    config.metadata.insert(Metadata { key: "fileName".into(), value: "sample-app/docker-compose.yml".into() });
    config.mesos_fetcher_uris.insert(FetcherUri {
        value: format!("{address}/sample-app.tar.gz"),
        extract: Some(true),
        cache: Some(true),
        output_file: None,
    });
}

#[test]
fn a_project_of_two_services_runs_and_goes() {
    let Some(mut machine) = Machine::start() else { return };
    let address = serve(archive(&[("sample-app/docker-compose.yml", &sample(LONG))]));
    machine.launch("compose", &[("org.apache.aurora.port.0", 31_042)], |config| compose_task(config, &address));
    machine.until("compose", TaskState::Running);
    let generated = machine.run_directory("compose").join("sandbox/sample-app/docker-compose.yml-generated.yml");
    let generated = std::fs::read_to_string(generated).unwrap();
    assert!(generated.contains("31042:80"), "{generated}");
    assert!(generated.contains("org.apache.aurora.metadata.fileName"), "{generated}");
    assert_eq!(machine.docker.containers_of("compose").len(), 2);
    machine.kill("compose");
    machine.until("compose", TaskState::Killed);
    assert!(machine.docker.containers_of("compose").is_empty());
    // After kill -9 of what runs the project, supervisor and all, nothing of it stays either.
    machine.launch("again", &[("org.apache.aurora.port.0", 31_043)], |config| compose_task(config, &address));
    machine.until("again", TaskState::Running);
    kill_9(machine.supervisor("again"));
    machine.until("again", TaskState::Lost);
    assert!(machine.docker.containers_of("again").is_empty());
    // Other tests have projects of their own meanwhile.
    assert_eq!(["compose", "again"].map(|task| machine.docker.networks_of(&compose::project_name(task))), ["", ""]);
}

#[test]
fn a_service_that_fails_fails_the_project() {
    let Some(mut machine) = Machine::start() else { return };
    let address = serve(archive(&[("sample-app/docker-compose.yml", &sample("sleep 1; exit 3"))]));
    machine.launch("failing", &[("org.apache.aurora.port.0", 31_044)], |config| compose_task(config, &address));
    let failed = machine.until("failing", TaskState::Failed);
    let message = failed.message.unwrap();
    assert!(message.contains("web") && message.ends_with("ended with 3"), "{message}");
    assert!(machine.docker.containers_of("failing").is_empty());
}

#[test]
fn a_user_that_docker_refuses_is_told_so_and_a_missing_file_is_named() {
    let Some(mut machine) = Machine::start() else { return };
    let address = serve(archive(&[("sample-app/docker-compose.yml", &sample(LONG))]));
    machine.launch("refused", &[("a", 31_045)], |config| {
        compose_task(config, &address);
        config.job = JobKey::new("nobody", "test", "job");
    });
    let message = machine.until("refused", TaskState::Failed).message.unwrap();
    assert!(message.starts_with("Task failed: user nobody may not use Docker"), "{message}");
    machine.launch("lost", &[("a", 31_046)], |config| {
        compose_task(config, &address);
        config.metadata = [Metadata { key: "fileName".into(), value: "other.yml".into() }].into();
    });
    let message = machine.until("lost", TaskState::Failed).message.unwrap();
    assert!(message.contains("other.yml"), "{message}");
}

#[test]
fn a_task_is_killed_while_its_files_are_fetched() {
    let Some(mut machine) = Machine::start() else { return };
    // It takes the connection and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let value = format!("http://{}/never", silent.local_addr().unwrap());
    machine.launch("f", &[], |config| {
        config.mesos_fetcher_uris.insert(FetcherUri { value, extract: None, cache: None, output_file: None });
        config.executor_config = Some(ExecutorConfig { name: "AuroraExecutor".into(), data: data("true") });
    });
    machine.until("f", TaskState::Starting);
    let _fetching = silent.accept().unwrap();
    machine.kill("f");
    machine.until("f", TaskState::Killed);
    assert_eq!(machine.states("f"), [TaskState::Starting, TaskState::Killed]);
}

fn wait_for_file(path: &std::path::Path) {
    eventually(&path.display().to_string(), || path.exists());
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A compressed archive of files with these contents.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let output = std::process::Command::new("tar").arg("-C").arg(folder.path()).args(["-cz", "."]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
