//! The daemon as a process on a simulated Mesos: the executor fetched from it over HTTP, real tasks, its own death, its successor, and
//! what it refuses. Masters, agents and their wire are simulated; daemon, journal, engine and executor are the real ones.

#[path = "../../executor/tests/built/mod.rs"]
mod built;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{EngineOptions, MesosOptions, Options};
use simulation::mesos::Settings;
use simulation::mesos::server::{AgentSpec, Simulation};

/// State directory, masters and program of the daemon that this process is to be.
const STATE: &str = "DAYBREAK_TEST_DAEMON_STATE";
const MASTERS: &str = "DAYBREAK_TEST_DAEMON_MASTERS";
const PROGRAM: &str = "DAYBREAK_TEST_DAEMON_PROGRAM";
/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Not a test: the daemon that the others start.
#[test]
#[ignore = "the other tests run this as a process of its own"]
fn daemon() {
    let Some(state_dir) = std::env::var_os(STATE).map(PathBuf::from) else { return };
    let master = std::env::var(MASTERS).unwrap();
    let code = server::daemon::main(&Options {
        state_dir,
        listen: "127.0.0.1:0".parse().unwrap(),
        engine: EngineOptions::Mesos(Box::new(MesosOptions { master, ..MesosOptions::default() })),
        executable: std::env::var_os(PROGRAM).map(PathBuf::from).unwrap(),
        ..Options::default()
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// The folder with the executor, built with the profile of this test.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built::build(&["-p", "executor", "--bin", "daybreak-executor"]))
}

/// A daemon that runs.
struct Daemon {
    child: Child,
    state: PathBuf,
}

impl Daemon {
    fn start(state: &Path, masters: &str, programs: &Path) -> Self {
        std::fs::create_dir_all(state).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(state.join("log")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["daemon", "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
            .envs([(STATE, state.as_os_str()), (PROGRAM, programs.join("daybreak").as_os_str())])
            .env(MASTERS, masters)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, state: state.to_owned() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.state.join("log")).unwrap_or_default()
    }

    /// Its address, once it serves.
    fn url(&mut self) -> String {
        let pid = u64::from(self.child.id());
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.state.join("endpoint.json")).unwrap_or_default();
            let endpoint: Value = serde_json::from_str(&text).unwrap_or_default();
            if endpoint["pid"].as_u64() == Some(pid) {
                return endpoint["url"].as_str().unwrap().to_owned();
            }
            assert!(started.elapsed() < LIMIT && self.child.try_wait().unwrap().is_none(), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a statistic has a value.
    fn reaches(&mut self, name: &str, value: i64) {
        let url = self.url();
        let started = Instant::now();
        loop {
            let text = ureq::get(&format!("{url}/vars.json")).call().unwrap().body_mut().read_to_string().unwrap();
            let variables: Value = serde_json::from_str(&text).unwrap();
            if variables[name].as_i64() == Some(value) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "{name} is {}, not {value}\n{}", variables[name], self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn run_sample_job(&mut self) {
        let url = self.url();
        let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
        let answer = agent.post(&format!("{url}/sample-job")).send_empty().unwrap();
        assert_eq!(answer.status(), 303);
    }

    /// Waits for its end; its exit code.
    fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < LIMIT, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master and an agent that starts real processes.
struct World {
    simulation: Simulation,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        // Not below a private directory: tasks run as other users.
        let directory = tempfile::Builder::new().prefix("daybreak-server").tempdir().unwrap();
        open_to_all(directory.path());
        let agents = directory.path().join("agents");
        let simulation = Simulation::start(Settings::default(), 1.0, Some(agents)).unwrap();
        let spec = AgentSpec::new("a0", "cpus:8;mem:8192;disk:8192;ports:[31000-31999]");
        simulation.add_process_agent(&spec).unwrap();
        Self { simulation, directory }
    }

    fn daemon(&self, state: &str) -> Daemon {
        Daemon::start(&self.directory.path().join(state), &self.simulation.master_list(), programs())
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_job_runs_with_the_executor_that_the_daemon_serves_and_its_log_is_read_through_the_agent() {
    let world = World::new();
    let mut daemon = world.daemon("state");
    daemon.reaches("mesos_registered", 1);
    daemon.run_sample_job();
    daemon.reaches("task_store_FINISHED", 1);
    let log = daemon.log();
    assert!(log.contains("agents fetch the executor") && log.contains("/executor/"), "{log}");
    let page = format!("{}/scheduler/nobody/devel/sample/0", daemon.url());
    let html = ureq::get(&page).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(html.contains("Task finished") || html.contains("FINISHED"), "{html}");
}

#[test]
fn a_daemon_that_was_killed_comes_back_as_the_same_framework_and_nothing_runs_twice() {
    let world = World::new();
    let mut daemon = world.daemon("state");
    daemon.run_sample_job();
    daemon.reaches("task_store_RUNNING", 1);
    daemon.kill();
    let mut next = world.daemon("state");
    next.reaches("task_store_FINISHED", 1);
    let counters = world.simulation.with(|cluster| cluster.counters());
    assert_eq!(counters.launched, 1, "{}", next.log());
}

#[test]
fn a_daemon_whose_place_was_taken_ends_and_says_why() {
    let world = World::new();
    let mut first = world.daemon("first");
    first.reaches("mesos_registered", 1);
    first.run_sample_job();
    first.reaches("task_store_FINISHED", 1);
    let (from, to) = (world.directory.path().join("first"), world.directory.path().join("second"));
    let copied = Command::new("cp").arg("-r").args([&from, &to]).status().unwrap();
    assert!(copied.success());
    let mut second = world.daemon("second");
    second.reaches("mesos_registered", 1);
    assert_eq!(first.end(), Some(1), "{}", first.log());
    let log = first.log();
    assert!(log.contains("error: this scheduler is not in charge any more"), "{log}");
    assert!(log.contains("another scheduler subscribed"), "{log}");
}

#[test]
fn without_an_executor_to_serve_a_daemon_does_not_start() {
    let world = World::new();
    let empty = world.directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut daemon = Daemon::start(&world.directory.path().join("state"), &world.simulation.master_list(), &empty);
    // One on the PATH would do as well.
    if daemon.end() == Some(1) {
        let log = daemon.log();
        assert!(log.contains("daybreak-executor") && log.contains("--executor-path"), "{log}");
    } else {
        panic!("{}", daemon.log());
    }
}
