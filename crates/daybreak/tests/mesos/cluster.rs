//! Masters and agents of a real Mesos, and a Daybreak beside them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::docker::Docker;
use crate::support::{DAYBREAK, Daemon, Done, http, open_directory, wait_for};

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

impl Installation {
    /// What enters images.
    pub fn containerizer(&self) -> PathBuf {
        self.launcher_dir.join("mesos-containerizer")
    }

    /// A module of Mesos.
    pub fn module(&self, name: &str) -> PathBuf {
        let prefix = self.launcher_dir.ancestors().nth(2).unwrap_or(Path::new("/usr"));
        let folders = ["lib", "lib/mesos/modules", "lib/mesos"].map(|folder| prefix.join(folder).join(name));
        folders.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is not below {prefix:?}"))
    }
}

/// Why the case that runs did not try what it is for.
static NOT_RUN: Mutex<Option<String>> = Mutex::new(None);

/// Says that this Mesos cannot show what the case is for.
pub fn not_run(why: &str) {
    *NOT_RUN.lock().unwrap() = Some(why.to_owned());
}

/// What the last case said of itself.
pub fn take_not_run() -> Option<String> {
    NOT_RUN.lock().unwrap().take()
}

/// Whether a master alone answers so many connections, one after the other, each closed when it is answered.
pub fn takes_connections(plan: &Plan<'_>, count: usize) -> bool {
    let directory = open_directory();
    let master = master(&find().unwrap(), directory.path(), 0, None, plan);
    let asks = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "5", "--output", "/dev/null"]).args(plan.curl);
        curl.arg(format!("https://127.0.0.1:{}/health", master.port)).status().unwrap().success()
    };
    wait_for("the first answer", Duration::from_secs(60), || asks().then_some(()));
    (0..count).all(|_| asks())
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
    environment: Vec<(String, String)>,
    log: PathBuf,
    pub port: u16,
}

impl Program {
    fn start(
        binary: &Path,
        arguments: Vec<String>,
        environment: &[(&str, &str)],
        port: u16,
        directory: PathBuf,
    ) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.with_extension("log");
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = environment.iter().map(own).collect();
        let mut program = Self { child: None, binary: binary.to_owned(), arguments, environment, log, port };
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
            .env("PATH", PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
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
            // The whole of it, where it is asked for.
            if let (Some(folder), Some(name)) = (std::env::var_os("DAYBREAK_MESOS_LOGS"), self.log.file_name()) {
                let _ = std::fs::create_dir_all(&folder);
                let _ = std::fs::copy(&self.log, Path::new(&folder).join(name));
            }
        }
        self.kill_nine();
    }
}

/// Daybreak as it is given to users: the program, and beside it the static executor that its agents fetch. Made once; the executor is built
/// anew if its sources have changed, because what `cargo test` builds is linked with this machine's libraries.
pub fn release() -> &'static Path {
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .arg("static-executor")
            .env("CARGO_TERM_QUIET", "true")
            .current_dir(&workspace)
            .status()
            .unwrap();
        assert!(built.success(), "cargo static-executor");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mesos");
        std::fs::create_dir_all(&folder).unwrap();
        let executor = target.join("executor/daybreak-executor");
        for (from, name) in [(Path::new(DAYBREAK), "daybreak"), (&executor, "daybreak-executor")] {
            let to = folder.join(name);
            let _ = std::fs::remove_file(&to);
            std::fs::copy(from, to).unwrap();
        }
        folder
    })
}

/// Masters, agents, and the Daybreak that uses them.
pub struct Cluster {
    pub daemon: Daemon,
    pub agents: Vec<Program>,
    pub masters: Vec<Program>,
    pub zookeeper: Option<discovery::testing::Zookeeper>,
    /// Options of curl with which masters and agents answer.
    curl: Vec<String>,
    scheme: &'static str,
    /// What tasks leave there at the end.
    docker_host: Option<String>,
    pub directory: tempfile::TempDir,
}

/// How a cluster is made.
#[derive(Clone, Default)]
pub struct Plan<'a> {
    pub agents: usize,
    /// Several masters need ZooKeeper.
    pub masters: usize,
    pub daybreak: &'a [&'a str],
    /// What executors find in their environment, as `DOCKER_HOST`.
    pub docker_host: Option<&'a str>,
    /// ZooKeeper for one master too.
    pub zookeeper: bool,
    /// Flags of masters, `--name=value`, added to ours or in the place of those of the same name.
    pub master: &'a [&'a str],
    /// The same for agents.
    pub agent: &'a [&'a str],
    /// Variables of masters and agents.
    pub environment: &'a [(&'a str, &'a str)],
    /// Options of curl with which masters and agents answer.
    pub curl: &'a [&'a str],
    /// Where tasks may leave containers.
    pub containers: Option<&'a Docker>,
}

/// Adds flags, each in the place of one of the same name.
fn with_flags(mut arguments: Vec<String>, more: &[&str]) -> Vec<String> {
    let name = |flag: &str| flag.split('=').next().unwrap_or(flag).to_owned();
    for flag in more {
        arguments.retain(|known| name(known) != name(flag));
        arguments.push((*flag).to_owned());
    }
    arguments
}

impl Cluster {
    pub fn start(plan: &Plan<'_>) -> Self {
        let mesos = find().unwrap();
        let directory = open_directory();
        let zookeeper = (plan.masters > 1 || plan.zookeeper).then(discovery::testing::Zookeeper::start);
        let masters: Vec<Program> = (0..plan.masters.max(1))
            .map(|number| master(&mesos, directory.path(), number, zookeeper.as_ref(), plan))
            .collect();
        // With TLS, an agent that comes before its master may go on in plain text, and both wait for each other.
        let tls = plan.environment.iter().any(|(name, _)| *name == "LIBPROCESS_SSL_ENABLED");
        let scheme = if tls { "https" } else { "http" };
        for master in &masters {
            wait_for("the master to answer", Duration::from_secs(60), || {
                let url = format!("{scheme}://127.0.0.1:{}/health", master.port);
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--max-time", "5", "--output", "/dev/null"]).args(plan.curl).arg(url);
                curl.status().unwrap().success().then_some(())
            });
        }
        let address = match &zookeeper {
            Some(zookeeper) => format!("zk://{}/mesos", zookeeper.address()),
            None => format!("127.0.0.1:{}", masters[0].port),
        };
        let agents: Vec<Program> =
            (0..plan.agents.max(1)).map(|number| agent(&mesos, directory.path(), number, &address, plan)).collect();
        let mut extra = vec!["--engine", "mesos", "--mesos-master", &address];
        extra.extend(plan.daybreak);
        let announcing = zookeeper.as_ref().map(discovery::testing::Zookeeper::address);
        if let Some(ensemble) = announcing.as_deref().filter(|_| plan.zookeeper) {
            extra.extend(["--announcer-ensemble", ensemble]);
        }
        let daemon = Daemon::start_program(&release().join("daybreak"), open_directory(), &extra);
        let curl = plan.curl.iter().map(|word| (*word).to_owned()).collect();
        let docker_host = plan.containers.map(Docker::host);
        let cluster = Self { daemon, agents, masters, zookeeper, curl, scheme, docker_host, directory };
        cluster.wait_for_agents();
        cluster
    }

    /// Waits until the master knows all agents.
    pub fn wait_for_agents(&self) {
        wait_for("all agents to register", Duration::from_secs(60), || {
            (self.state()?["activated_slaves"].as_f64()? as usize == self.agents.len()).then_some(())
        });
    }

    /// The state as the leading master tells it.
    pub fn state(&self) -> Option<Value> {
        self.masters.iter().find_map(|master| {
            let state = self.ask(master, "/state", None)?;
            state.get("slaves").is_some().then_some(state)
        })
    }

    /// What a master or an agent answers; with a body it is posted. `Null` for an answer without a body.
    pub fn ask(&self, program: &Program, path: &str, body: Option<&str>) -> Option<Value> {
        let (status, text) = self.ask_text(program, path, body)?;
        if text.is_empty() && matches!(status, 200 | 202) {
            return Some(Value::Null);
        }
        (status == 200).then(|| serde_json::from_str(&text).ok())?
    }

    /// Status and text of an answer.
    pub fn ask_text(&self, program: &Program, path: &str, body: Option<&str>) -> Option<(u16, String)> {
        let url = format!("{}://127.0.0.1:{}{path}", self.scheme, program.port);
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}"]).args(&self.curl).arg(url);
        if let Some(body) = body {
            let kind =
                if body.starts_with(['{', '[']) { "application/json" } else { "application/x-www-form-urlencoded" };
            command.args(["--header", &format!("Content-Type: {kind}"), "--data", body]);
        }
        let answer = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        let (text, status) = answer.rsplit_once('\n')?;
        let status = status.parse().ok().filter(|status| *status != 0)?;
        Some((status, text.to_owned()))
    }

    /// The sandbox of a task on this machine.
    #[track_caller]
    pub fn sandbox(&self, task: &str) -> PathBuf {
        wait_for(&format!("the sandbox of {task}"), Duration::from_secs(20), || {
            let pattern = format!("*/executors/*{task}/runs/*/sandbox");
            let found = Command::new("find").arg(self.directory.path()).args(["-path", &pattern]).output().ok()?;
            String::from_utf8_lossy(&found.stdout).lines().find(|line| !line.contains("/latest/")).map(PathBuf::from)
        })
    }

    /// Writes a job file and creates its job.
    pub fn create(&self, job: &str, text: &str) -> Done {
        let name = job.rsplit('/').next().unwrap_or(job);
        let file = self.write(&format!("{name}.aurora"), text);
        self.daemon.aurora(&["job", "create", job, &file])
    }

    /// Waits for a task of the job to be over; the task.
    #[track_caller]
    pub fn wait_for_end(&self, job: &str) -> Value {
        wait_for(&format!("the end of a task of {job}"), Duration::from_secs(90), || {
            self.daemon.tasks(job).1.first().cloned()
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
        if let Some(host) = &self.docker_host {
            let remove = "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force";
            let _ = Command::new("sh").args(["-c", remove]).env("DOCKER_HOST", host).stdout(Stdio::null()).status();
        }
        kill_control_groups();
        unmount_below(self.directory.path());
    }
}

/// Control groups of an agent of this process are below this one, in every hierarchy.
pub fn cgroups_root() -> String {
    format!("daybreak-test-{}", std::process::id())
}

/// Ends what is left in the control groups of agents, and removes them: Mesos cleans up when it starts, and here it does not start again.
fn kill_control_groups() {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    for root in hierarchies.map(|entry| entry.path().join(cgroups_root())).filter(|root| root.is_dir()) {
        let script = "for i in 1 2 3; do find \"$0\" -name cgroup.procs -exec cat {} + | xargs --no-run-if-empty kill -9; sleep 0.1; done
            find \"$0\" -depth -type d -exec rmdir {} +";
        let _ = Command::new("sh").args(["-c", script]).arg(&root).stderr(Stdio::null()).status();
    }
}

/// Mounts of killed containers would keep the directory, and what is mounted there must not be removed with it.
fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for path in paths.filter(|path| Path::new(path).starts_with(directory)).collect::<Vec<_>>().into_iter().rev() {
        let _ = Command::new("umount").args(["--lazy", path]).stderr(Stdio::null()).status();
    }
}

fn master(
    mesos: &Installation,
    directory: &Path,
    number: usize,
    zookeeper: Option<&discovery::testing::Zookeeper>,
    plan: &Plan<'_>,
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
    Program::start(&mesos.master, with_flags(arguments, plan.master), plan.environment, port, work)
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
    let more: Vec<String> = plan.agent.iter().map(|flag| flag.replace("{work}", &work.display().to_string())).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    Program::start(&mesos.agent, with_flags(arguments, &more), plan.environment, port, work)
}
