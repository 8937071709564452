//! Processes, logs and sandboxes of tasks on a cluster, read through the files endpoints of their agents (spec mesos 5).
//!
//! What lies in a run directory is our executor's checkpoint, the original's, or nothing of the kind; then the output of the executor
//! itself is shown as that of one process. Reading only; a question takes as long as the agent does, so no caller may hold anything.

mod agent;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use checkpoint::layout::{CHECKPOINT, LOGS, SANDBOX, is_safe_segment};
use checkpoint::record::Header;
use checkpoint::replay::RunState;
use checkpoint::{files, stream, thermos};
use engine::AgentId;
use engine::files::{FileEntry, FileRange, FilesError, ProcessInfo, Stream, TaskFiles, TaskInfo, Usage};
use model::{TaskConfig, TaskId};

use crate::credentials::Credentials;
use crate::directory::Directory;
use crate::options::Tls;
use crate::tls::{self, TlsError};
use agent::{Agent, AgentError, Wire};

/// Port of agents that have made no offer since this scheduler started (spec mesos 6).
const AGENT_PORT: u16 = 5051;
/// Largest checkpoint that is fetched.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 20;
/// Tasks whose last sample is kept.
const SAMPLES_MAX: usize = 10_000;

/// Where a task was placed, as the scheduler knows it.
#[derive(Clone, Debug)]
pub struct Placed {
    /// On which agent.
    pub agent_id: AgentId,
    /// The agent's host.
    pub host: String,
    /// What was placed.
    pub config: Arc<TaskConfig>,
}

/// Finds where a task was placed; `None` for one that is not known or was never placed.
pub type Locate = Arc<dyn Fn(&TaskId) -> Option<Placed> + Send + Sync>;

/// Reads through agents.
pub struct MesosFiles {
    directory: Arc<Directory>,
    locate: Locate,
    wire: Wire,
    /// Whether all agents speak TLS: masters write `http` into offers either way (spec mesos 4.4).
    tls: bool,
    /// Processor seconds of executors at the last question, for the average since then.
    samples: Mutex<BTreeMap<TaskId, (Instant, f64)>>,
}

/// A task's run directory on its agent.
struct Run {
    agent: Agent,
    path: String,
    executor_id: String,
    /// Whether processes have logs of their own below the sandbox; else the executor's own output is all there is.
    has_processes: bool,
    /// The executor's name for people.
    executor: String,
}

impl MesosFiles {
    /// Asks agents over TLS where `tls` says so or their offers do, by the trust and the certificate of `tls`, with `credentials` where they want
    /// some. Fails when what `tls` names cannot be read.
    pub fn new(
        directory: Arc<Directory>,
        locate: Locate,
        tls: &Tls,
        credentials: Option<&Credentials>,
    ) -> Result<Self, TlsError> {
        let wire = Wire::new(tls::agent_config(tls)?, credentials.map(Credentials::basic));
        Ok(Self { directory, locate, wire, tls: tls.enabled, samples: Mutex::default() })
    }

    fn run(&self, task: &TaskId) -> Result<Run, FilesError> {
        let missing = || FilesError::NotFound(format!("task {task}"));
        let placed = (self.locate)(task).ok_or_else(missing)?;
        let path = self.directory.sandbox_path(&placed.config, task).ok_or_else(missing)?;
        let executor_id = self.directory.executor_id(&placed.config, task).ok_or_else(missing)?;
        let (host, port, tls) = match self.directory.agent(&placed.agent_id) {
            // Certificates are made out to names.
            Some(address) if address.tls || self.tls => (address.hostname, address.port, true),
            Some(address) => (address.ip.unwrap_or(address.hostname), address.port, false),
            None => (placed.host, AGENT_PORT, self.tls),
        };
        let executor = placed.config.executor_config.as_ref().map(|executor| executor.name.clone());
        Ok(Run {
            agent: Agent { wire: self.wire.clone(), host, port, tls },
            path,
            executor_id,
            has_processes: executor.as_deref() == Some(model::task::AURORA_EXECUTOR_NAME),
            executor: executor.unwrap_or_else(|| "docker".into()),
        })
    }

    fn usage(&self, task: &TaskId, run: &Run) -> Usage {
        let Ok(statistics) = run.agent.statistics(&run.executor_id) else { return Usage::default() };
        let now = Instant::now();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let before = samples.get(task).copied();
        if samples.len() >= SAMPLES_MAX && before.is_none() {
            samples.clear();
        }
        samples.insert(task.clone(), (now, statistics.cpu_seconds));
        let cpu_cores = before.and_then(|(at, seconds)| {
            let elapsed = (now - at).as_secs_f64();
            (elapsed > 0.5 && statistics.cpu_seconds >= seconds).then(|| (statistics.cpu_seconds - seconds) / elapsed)
        });
        Usage { cpu_cores, ram_bytes: statistics.memory_bytes, ram_peak_bytes: None, disk_bytes: statistics.disk_bytes }
    }
}

impl Run {
    /// What the run's records tell; `None` where there are none.
    fn state(&self, task: &TaskId) -> Result<Option<RunState>, AgentError> {
        match self.agent.download(&format!("{}/{CHECKPOINT}", self.path), CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => return Ok(Some(replay(&bytes).map_err(AgentError::other)?)),
            Err(AgentError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let root = format!("{}/checkpoints", self.path);
        let bytes = match self.agent.download(&format!("{root}/checkpoints/{task}/runner"), CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(AgentError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let described = ["active", "finished"].into_iter().find_map(|folder| {
            self.agent.download(&format!("{root}/tasks/{folder}/{task}"), CHECKPOINT_BYTES_MAX).ok()
        });
        let records = thermos::records(&bytes).map_err(AgentError::other)?;
        Ok(Some(thermos::replay(records, &described.unwrap_or_default()).state))
    }

    /// The executor's own output, as that of one process.
    fn own_process(&self, is_active: bool) -> ProcessInfo {
        use engine::files::{ProcessRun, ProcessState};
        let state = if is_active { ProcessState::Running } else { ProcessState::Success };
        let run = ProcessRun { run: 0, state, pid: None, started_ms: None, stopped_ms: None, return_code: None };
        ProcessInfo { name: self.executor.clone(), cmdline: String::new(), flags: Vec::new(), runs: vec![run] }
    }

    /// Where the files of the task itself lie.
    fn sandbox(&self) -> String {
        if self.has_processes { format!("{}/{SANDBOX}", self.path) } else { self.path.clone() }
    }
}

fn replay(bytes: &[u8]) -> Result<RunState, stream::ReadError> {
    let mut state = RunState::default();
    let mut reader = stream::Reader::new(bytes);
    while let Some(record) = reader.next_record()? {
        state.apply(record);
    }
    Ok(state)
}

/// A path that stays below where it begins.
fn below(base: &str, path: &str) -> Result<String, FilesError> {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    if steps.contains(&"..") || path.contains('\0') {
        return Err(FilesError::Refused(path.to_owned(), "it leads out of the sandbox"));
    }
    Ok(if steps.is_empty() { base.to_owned() } else { format!("{base}/{}", steps.join("/")) })
}

impl TaskFiles for MesosFiles {
    fn task(&self, task: &TaskId) -> Result<TaskInfo, FilesError> {
        let run = self.run(task)?;
        let state = run.state(task).map_err(|error| error.named(&format!("the checkpoint of task {task}")))?;
        let usage = self.usage(task, &run);
        let Some(state) = state else {
            if run.has_processes {
                // Its executor has not begun, or its sandbox was collected.
                run.agent.browse(&run.path).map_err(|error| error.named(&format!("the sandbox of task {task}")))?;
            }
            let processes =
                if run.has_processes { Vec::new() } else { vec![run.own_process(usage.ram_bytes.is_some())] };
            return Ok(TaskInfo { task_id: task.clone(), user: None, sandbox: run.sandbox(), processes, usage });
        };
        let user = |header: &Header| (!header.user.is_empty()).then(|| header.user.clone());
        let sandbox = state.header.as_ref().map(|header| header.sandbox.clone()).filter(|path| !path.is_empty());
        Ok(TaskInfo {
            task_id: task.clone(),
            user: state.header.as_ref().and_then(user),
            sandbox: sandbox.unwrap_or_else(|| run.sandbox()),
            processes: files::processes(&state),
            usage,
        })
    }

    fn log(
        &self,
        task: &TaskId,
        process: &str,
        run: u32,
        stream: Stream,
        offset: i64,
        limit_bytes: usize,
    ) -> Result<FileRange, FilesError> {
        let place = self.run(task)?;
        let shown = format!("{} of run {run} of process '{process}' of task {task}", stream.name());
        if !is_safe_segment(process) {
            return Err(FilesError::NotFound(shown));
        }
        let of_process = format!("{}/{SANDBOX}/{LOGS}/{process}/{run}/{}", place.path, stream.name());
        let read = match place.agent.read(&of_process, offset, limit_bytes) {
            // An executor of another kind has no logs of processes, only its own.
            Err(AgentError::NotFound) if !place.has_processes && process == place.executor => {
                place.agent.read(&format!("{}/{}", place.path, stream.name()), offset, limit_bytes)
            }
            read => read,
        };
        read.map_err(|error| error.named(&shown))
    }

    fn list(&self, task: &TaskId, directory: &str) -> Result<Vec<FileEntry>, FilesError> {
        let run = self.run(task)?;
        let path = below(&run.sandbox(), directory)?;
        let shown = if directory.is_empty() { "the sandbox" } else { directory };
        run.agent.browse(&path).map_err(|error| error.named(shown))
    }

    fn read(&self, task: &TaskId, path: &str, offset: i64, limit_bytes: usize) -> Result<FileRange, FilesError> {
        let run = self.run(task)?;
        let whole = below(&run.sandbox(), path)?;
        run.agent.read(&whole, offset, limit_bytes).map_err(|error| error.named(path))
    }
}

#[cfg(test)]
mod tests;
