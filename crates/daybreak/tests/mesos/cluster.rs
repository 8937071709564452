//! Masters and agents of a real Mesos, and a Daybreak beside them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Daemon, Done, http, open_directory, try_http, wait_for};

/// Who runs the jobs of the suite: root's own name would need a flag, and this one is on every Debian.
pub const ROLE: &str = "www-data";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where Mesos is.
pub struct Installation {
    master: PathBuf,
    agent: PathBuf,
    launcher_dir: PathBuf,
}

/// Looks for Mesos; the reason why the suite cannot run.
pub fn find() -> Result<Installation, String> {
    if !crate::support::is_root() {
        return Err("tasks run as other users, which takes root".into());
    }
    let in_home = std::env::var_os("MESOS_HOME").map(PathBuf::from);
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let folders = in_home.iter().flat_map(|home| [home.join("bin"), home.join("sbin")]).chain(on_path);
    let folder = folders
        .into_iter()
        .find(|folder| folder.join("mesos-master").is_file() && folder.join("mesos-agent").is_file())
        .ok_or("there is no mesos-master and mesos-agent on PATH or below MESOS_HOME")?;
    let prefix = folder.parent().unwrap_or(Path::new("/usr"));
    Ok(Installation {
        master: folder.join("mesos-master"),
        agent: folder.join("mesos-agent"),
        launcher_dir: prefix.join("libexec/mesos"),
    })
}

/// A free port of loopback.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One program of Mesos, killed at the end.
pub struct Program {
    child: Option<Child>,
    binary: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    pub port: u16,
}

impl Program {
    fn start(binary: &Path, arguments: Vec<String>, port: u16, directory: PathBuf) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.with_extension("log");
        let mut program = Self { child: None, binary: binary.to_owned(), arguments, log, port };
        program.start_again();
        program
    }

    /// Starts it with the same arguments.
    pub fn start_again(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.binary);
        // Any MESOS_ variable would be a flag.
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.child = Some(command.spawn().unwrap());
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }

    pub fn kill_nine(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.log());
        }
        self.kill_nine();
    }
}

/// Masters, agents, and the Daybreak that uses them.
pub struct Cluster {
    pub daemon: Daemon,
    pub agents: Vec<Program>,
    pub masters: Vec<Program>,
    _zookeeper: Option<discovery::testing::Zookeeper>,
    pub directory: tempfile::TempDir,
}

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct Plan<'a> {
    pub agents: usize,
    /// Several masters need ZooKeeper.
    pub masters: usize,
    pub daybreak: &'a [&'a str],
    /// What executors find in their environment, as `DOCKER_HOST`.
    pub docker_host: Option<&'a str>,
}

impl Cluster {
    pub fn start(plan: &Plan<'_>) -> Self {
        let mesos = find().unwrap();
        let directory = open_directory();
        let zookeeper = (plan.masters > 1).then(discovery::testing::Zookeeper::start);
        let masters: Vec<Program> = (0..plan.masters.max(1))
            .map(|number| master(&mesos, directory.path(), number, zookeeper.as_ref()))
            .collect();
        let address = match &zookeeper {
            Some(zookeeper) => format!("zk://{}/mesos", zookeeper.address()),
            None => format!("127.0.0.1:{}", masters[0].port),
        };
        let agents: Vec<Program> =
            (0..plan.agents.max(1)).map(|number| agent(&mesos, directory.path(), number, &address, plan)).collect();
        let mut extra = vec!["--engine", "mesos", "--mesos-master", &address];
        extra.extend(plan.daybreak);
        let daemon = Daemon::start(&extra);
        let cluster = Self { daemon, agents, masters, _zookeeper: zookeeper, directory };
        wait_for("all agents to register", Duration::from_secs(60), || {
            (cluster.state()?["activated_slaves"].as_f64()? as usize == cluster.agents.len()).then_some(())
        });
        cluster
    }

    /// The state as the leading master tells it.
    pub fn state(&self) -> Option<Value> {
        self.masters.iter().find_map(|master| {
            let (status, body) = try_http("GET", &format!("http://127.0.0.1:{}/state", master.port), &[], b"").ok()?;
            let state: Value = serde_json::from_str(&body).ok()?;
            (status == 200 && state.get("slaves").is_some()).then_some(state)
        })
    }

    /// Writes a file into the cluster's directory; its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A file of this name in the work directories of agents.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let found = Command::new("find").arg(self.directory.path()).args(["-path", "*/runs/*", "-name", name]).output();
        let text = String::from_utf8_lossy(&found.ok()?.stdout).into_owned();
        text.lines().find(|line| !line.contains("/latest/")).map(PathBuf::from)
    }

    /// Waits until `job status` shows `text`.
    #[track_caller]
    pub fn wait_for_status(&self, job: &str, text: &str) -> Done {
        wait_for(&format!("job status of {job} to show {text:?}"), Duration::from_secs(90), || {
            let done = self.daemon.aurora(&["job", "status", job]);
            done.stdout.contains(text).then_some(done)
        })
    }

    /// Ids of the active tasks of a job that are in `status`, by instance.
    pub fn active(&self, job: &str, status: &str) -> Vec<String> {
        let (active, _) = self.daemon.tasks(job);
        let mut found: Vec<(u64, String)> = active
            .iter()
            .filter(|task| task["status"] == status)
            .map(|task| {
                let assigned = &task["assignedTask"];
                (assigned["instanceId"].as_u64().unwrap_or_default(), assigned["taskId"].as_str().unwrap().to_owned())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Waits for `count` active tasks in `status`; their ids.
    #[track_caller]
    pub fn wait_for_active(&self, job: &str, status: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} tasks of {job} to be {status}"), Duration::from_secs(90), || {
            Some(self.active(job, status)).filter(|ids| ids.len() == count)
        })
    }

    /// A log of a task, through Daybreak.
    pub fn log(&self, task: &str, process: &str, stream: &str) -> String {
        http("GET", &format!("{}/files/{task}/{process}/0/{stream}", self.daemon.url), &[], b"").1
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for agent in &self.agents {
            // What was stopped cannot be cleaned up after.
            if agent.child.is_some() {
                agent.signal(Signal::SIGCONT);
            }
        }
        for agent in &mut self.agents {
            agent.kill_nine();
        }
        // Executors and tasks of checkpointing frameworks outlive their agent by design.
        crate::support::kill_processes_of(self.directory.path());
    }
}

fn master(
    mesos: &Installation,
    directory: &Path,
    number: usize,
    zookeeper: Option<&discovery::testing::Zookeeper>,
) -> Program {
    let port = free_port();
    let work = directory.join(format!("master-{number}"));
    let mut arguments = vec![
        "--ip=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--hostname=127.0.0.1".into(),
        "--no-hostname_lookup".into(),
        format!("--work_dir={}", work.display()),
        "--registry=in_memory".into(),
        "--allocation_interval=100ms".into(),
        "--agent_ping_timeout=1secs".into(),
        "--max_agent_ping_timeouts=2".into(),
    ];
    if let Some(zookeeper) = zookeeper {
        arguments.push(format!("--zk=zk://{}/mesos", zookeeper.address()));
        arguments.push("--quorum=1".into());
        arguments.push("--zk_session_timeout=3secs".into());
    }
    Program::start(&mesos.master, arguments, port, work)
}

fn agent(mesos: &Installation, directory: &Path, number: usize, masters: &str, plan: &Plan<'_>) -> Program {
    let port = free_port();
    let work = directory.join(format!("agent-{number}"));
    let begin = 31_000 + 1_000 * number;
    let mut arguments = vec![
        format!("--master={masters}"),
        "--ip=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--hostname=agent-{number}"),
        "--no-hostname_lookup".into(),
        format!("--work_dir={}", work.join("work").display()),
        format!("--runtime_dir={}", work.join("runtime").display()),
        format!("--fetcher_cache_dir={}", work.join("cache").display()),
        format!("--resources=cpus:4;mem:4096;disk:10000;ports:[{begin}-{}]", begin + 999),
        format!("--attributes=rack:r{number};host:agent-{number}"),
        "--containerizers=mesos".into(),
        "--launcher=posix".into(),
        "--isolation=posix/cpu,posix/mem".into(),
        "--no-systemd_enable_support".into(),
        "--registration_backoff_factor=10ms".into(),
        "--executor_shutdown_grace_period=3secs".into(),
        "--executor_reregistration_timeout=3secs".into(),
        format!("--launcher_dir={}", mesos.launcher_dir.display()),
    ];
    if let Some(host) = plan.docker_host {
        let variables = serde_json::json!({"DOCKER_HOST": host, "PATH": PATH});
        arguments.push(format!("--executor_environment_variables={variables}"));
    }
    Program::start(&mesos.agent, arguments, port, work)
}
