//! Executors as processes: sandbox, fetched files, environment, exit (spec mesos 3.10, 3.12). They run as the user of the simulation.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesos::v1::CommandInfo;
use mesos::v1::command_info::Uri;
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::agent::Key;
use super::super::agent::wire::ProcessPlan;
use super::super::settings::Settings;
use super::{Inner, Shared};

/// How long a command has between SIGTERM and SIGKILL, in real time.
const COMMAND_GRACE: Duration = Duration::from_secs(3);

/// One process.
#[derive(Clone, Debug)]
struct Running {
    pid: u32,
    container: Arc<str>,
}

/// Processes that run, and sandboxes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    work_dir: Option<PathBuf>,
    running: Mutex<HashMap<(usize, Key), Running>>,
    sandboxes: Mutex<HashMap<(usize, Key), PathBuf>>,
}

impl Processes {
    pub fn new(work_dir: Option<PathBuf>) -> Self {
        Self { work_dir, ..Self::default() }
    }

    pub fn sandbox(&self, agent: usize, key: &Key) -> Option<PathBuf> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).get(&(agent, key.clone())).cloned()
    }

    /// Sandboxes of an agent, by executor.
    pub fn sandboxes_of(&self, agent: usize) -> Vec<(Key, PathBuf)> {
        let sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_agent: Vec<_> = sandboxes
            .iter()
            .filter(|((index, _), _)| *index == agent)
            .map(|((_, key), path)| (key.clone(), path.clone()))
            .collect();
        of_agent.sort();
        of_agent
    }

    fn find(&self, agent: usize, key: &Key) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&(agent, key.clone())).cloned()
    }

    /// SIGKILL to the whole group.
    pub fn destroy(&self, agent: usize, key: &Key) {
        if let Some(running) = self.find(agent, key) {
            signal(running.pid, Signal::KILL);
        }
    }

    pub fn destroy_all(&self) {
        for running in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            signal(running.pid, Signal::KILL);
        }
    }

    /// SIGTERM, and SIGKILL to what is left after a while.
    pub fn terminate(shared: &Arc<Shared>, agent: usize, key: &Key) {
        let Some(running) = shared.processes.find(agent, key) else { return };
        signal(running.pid, Signal::TERM);
        let (shared, key) = (Arc::clone(shared), key.clone());
        std::thread::spawn(move || {
            std::thread::sleep(COMMAND_GRACE);
            if shared.processes.find(agent, &key).is_some_and(|now| now.container == running.container) {
                shared.processes.destroy(agent, &key);
            }
        });
    }
}

fn signal(group: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(group as i32) {
        let _ = kill_process_group(pid, signal);
    }
}

impl Shared {
    /// Starts an executor on a thread of its own, which fetches, waits for the end, and tells of it.
    pub(super) fn spawn(self: &Arc<Self>, inner: &Inner, agent: usize, key: &Key) {
        let Some(plan) = inner.cluster.process_plan(agent, key) else { return };
        let settings = inner.cluster.settings().clone();
        let (shared, key) = (Arc::clone(self), key.clone());
        std::thread::spawn(move || shared.run_process(agent, &key, &plan, &settings));
    }

    fn run_process(self: &Arc<Self>, agent: usize, key: &Key, plan: &ProcessPlan, settings: &Settings) {
        let container = Arc::clone(&plan.container);
        let mut child = match self.start_process(agent, key, plan, settings) {
            Ok(child) => child,
            Err(error) => {
                let message = format!("Failed to launch container: {error}");
                return self.with(|inner| inner.cluster.process_failed(agent, key, &container, &message));
            }
        };
        let running = Running { pid: child.id(), container: Arc::clone(&container) };
        let place = (agent, key.clone());
        self.processes.running.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone(), running);
        self.with(|inner| inner.cluster.process_started(agent, key, &container, child.id()));
        let status = child.wait().map_or(-1, |status| status.into_raw());
        // What the executor left behind in its group goes with it.
        signal(child.id(), Signal::KILL);
        let mut processes = self.processes.running.lock().unwrap_or_else(PoisonError::into_inner);
        if processes.get(&place).is_some_and(|now| now.container == container) {
            processes.remove(&place);
        }
        drop(processes);
        self.with(|inner| inner.cluster.process_exited(agent, key, &container, status));
    }

    fn start_process(
        &self,
        agent: usize,
        key: &Key,
        plan: &ProcessPlan,
        settings: &Settings,
    ) -> io::Result<std::process::Child> {
        let work_dir = self.processes.work_dir.as_deref();
        let work_dir = work_dir.ok_or_else(|| io::Error::other("the simulation was given no work directory"))?;
        let runs = work_dir.join(format!("slaves/{}/frameworks/{}/executors/{}/runs", plan.agent_id, key.0, key.1));
        let sandbox = runs.join(&*plan.container);
        fs::create_dir_all(&sandbox)?;
        let latest = runs.join("latest");
        let _ = fs::remove_file(&latest);
        symlink(&*plan.container, &latest)?;
        let sandboxes = &mut *self.processes.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        sandboxes.insert((agent, key.clone()), sandbox.clone());
        let command = plan.executor.as_ref().and_then(|info| info.command.as_ref());
        let command = command.or_else(|| plan.task.as_ref().and_then(|task| task.command.as_ref()));
        let command = command.ok_or_else(|| io::Error::other("there is no command"))?;
        for uri in &command.uris {
            fetch(uri, &sandbox)?;
        }
        let mut process = program(command)?;
        process
            .current_dir(&sandbox)
            .env_clear()
            .envs(environment(key, plan, settings, &sandbox))
            .stdin(Stdio::null())
            .stdout(File::create(sandbox.join("stdout"))?)
            .stderr(File::create(sandbox.join("stderr"))?)
            .process_group(0);
        for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
            process.env(&variable.name, variable.value.as_deref().unwrap_or_default());
        }
        process.spawn()
    }
}

fn program(command: &CommandInfo) -> io::Result<Command> {
    let value = command.value.as_deref().ok_or_else(|| io::Error::other("the command has no value"))?;
    if command.shell() {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(value);
        return Ok(shell);
    }
    let mut process = Command::new(value);
    if let Some((first, rest)) = command.arguments.split_first() {
        process.arg0(first).args(rest);
    }
    Ok(process)
}

/// Durations as Mesos writes them.
fn duration(ms: u64) -> String {
    match ms {
        ms if ms % 60_000 == 0 && ms > 0 => format!("{}mins", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}secs", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

fn environment(key: &Key, plan: &ProcessPlan, settings: &Settings, sandbox: &Path) -> Vec<(String, String)> {
    let grace = plan.executor.as_ref().and_then(|info| info.shutdown_grace_period.as_ref());
    let grace_ms = grace.map_or(settings.executor_shutdown_grace_ms, |grace| (grace.nanoseconds / 1_000_000) as u64);
    let sandbox = sandbox.display().to_string();
    let mut variables = vec![
        ("MESOS_FRAMEWORK_ID", key.0.to_string()),
        ("MESOS_EXECUTOR_ID", key.1.to_string()),
        ("MESOS_AGENT_ENDPOINT", format!("{}:{}", plan.ip, plan.port)),
        ("MESOS_SLAVE_ID", plan.agent_id.to_string()),
        ("MESOS_SLAVE_PID", format!("slave(1)@{}:{}", plan.ip, plan.port)),
        ("MESOS_DIRECTORY", sandbox.clone()),
        ("MESOS_SANDBOX", sandbox),
        ("MESOS_CHECKPOINT", if plan.checkpoint { "1" } else { "0" }.to_owned()),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration(grace_ms)),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
        ("LIBPROCESS_PORT", "0".to_owned()),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
    ];
    if plan.checkpoint {
        variables.push(("MESOS_RECOVERY_TIMEOUT", duration(settings.agent_recovery_timeout_ms)));
        variables.push(("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration(settings.executor_reregistration_timeout_ms)));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Copies or downloads one file into the sandbox.
fn fetch(uri: &Uri, sandbox: &Path) -> io::Result<()> {
    let value = uri.value.as_str();
    if value.contains(['\\', '\'', '\0']) {
        return Err(io::Error::other(format!("the URI {value} has a forbidden character")));
    }
    let base = value.rsplit('/').next().unwrap_or(value);
    let name = uri.output_file.clone().unwrap_or_else(|| base.to_owned());
    let target = sandbox.join(&name);
    if Path::new(&name).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(io::Error::other(format!("the output file {name} leaves the sandbox")));
    }
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)?;
    }
    if value.starts_with("http://") {
        let mut response = ureq::get(value).call().map_err(io::Error::other)?;
        io::copy(&mut response.body_mut().as_reader(), &mut File::create(&target)?)?;
    } else if value.contains("://") && !value.starts_with("file://") {
        return Err(io::Error::other(format!("this simulated fetcher does not know the scheme of {value}")));
    } else {
        fs::copy(value.strip_prefix("file://").unwrap_or(value), &target)?;
    }
    if uri.executable() {
        // A file that anybody holds open for writing cannot be executed, and any thread here may have forked while this one wrote:
        // another process makes the file that is executed, as the fetcher of an agent does.
        let fetched = target.with_extension("fetched");
        fs::rename(&target, &fetched)?;
        let status = Command::new("cp").arg(&fetched).arg(&target).status()?;
        fs::remove_file(&fetched)?;
        if !status.success() {
            return Err(io::Error::other(format!("{name} could not be copied")));
        }
        return fs::set_permissions(&target, fs::Permissions::from_mode(0o755));
    }
    let archive = [".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"];
    if uri.extract() && archive.iter().any(|suffix| name.ends_with(suffix)) {
        let status = Command::new("tar").arg("-xf").arg(&target).current_dir(sandbox).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{name} could not be extracted")));
        }
    }
    Ok(())
}
