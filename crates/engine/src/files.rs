//! The [`TaskFiles`] port: processes, logs and sandbox files of a task, from whichever engine ran it. Reading only.

use std::io;

use model::TaskId;
pub use model::process::ProcessState;

/// One run of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessRun {
    /// Number of the run, from 0.
    pub run: u32,
    /// State.
    pub state: ProcessState,
    /// Pid while it runs, and afterwards for reference.
    pub pid: Option<i32>,
    /// Start, in ms since the epoch.
    pub started_ms: Option<i64>,
    /// End, in ms since the epoch.
    pub stopped_ms: Option<i64>,
    /// Exit status; -n for signal n.
    pub return_code: Option<i32>,
}

/// A process of a task and its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessInfo {
    /// Name.
    pub name: String,
    /// Command line after templates, for people.
    pub cmdline: String,
    /// `daemon`, `ephemeral` and `final` flags that are on.
    pub flags: Vec<&'static str>,
    /// Runs, oldest first; empty when it has not started.
    pub runs: Vec<ProcessRun>,
}

/// What a task uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Cores, averaged over the last sampling interval.
    pub cpu_cores: Option<f64>,
    /// Resident memory.
    pub ram_bytes: Option<u64>,
    /// Highest memory seen.
    pub ram_peak_bytes: Option<u64>,
    /// Sandbox size.
    pub disk_bytes: Option<u64>,
}

/// A task as its agent's disk shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInfo {
    /// Which.
    pub task_id: TaskId,
    /// User its processes run as.
    pub user: Option<String>,
    /// Sandbox path on the agent, for people.
    pub sandbox: String,
    /// Processes in declaration order.
    pub processes: Vec<ProcessInfo>,
    /// Use at the moment, where measured.
    pub usage: Usage,
}

/// An entry of a sandbox directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Name within its directory.
    pub name: String,
    /// `d` directory, `f` file, `l` link, `o` other.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Size.
    pub size_bytes: u64,
    /// Last change, in ms since the epoch.
    pub modified_ms: i64,
    /// Owner's name or number.
    pub owner: String,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// Where `data` begins.
    pub offset: u64,
    /// The bytes; fewer than asked for at the end of the file.
    pub data: Vec<u8>,
    /// Size of the file when it was read.
    pub size_bytes: u64,
    /// Changes when the name starts to mean another file (rotation), so that a follower starts again from 0.
    pub identity: u64,
}

/// Which stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// File name of the stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The task, process, run or file is not there (any more).
    #[error("{0} is not there; it may have been collected")]
    NotFound(String),
    /// The path leaves the sandbox, or is no regular file.
    #[error("{0} cannot be shown: {1}")]
    Refused(String, &'static str),
    /// The disk or agent failed.
    #[error("reading {0}: {1}")]
    Io(String, #[source] io::Error),
}

/// Reads what tasks leave on their agents. Following is reading from an offset again; callers wait in between.
pub trait TaskFiles: Send + Sync {
    /// Processes, runs and use of a task.
    fn task(&self, task: &TaskId) -> Result<TaskInfo, FilesError>;
    /// At most `limit_bytes` of a stream from `offset`; a negative offset counts from the end.
    fn log(
        &self,
        task: &TaskId,
        process: &str,
        run: u32,
        stream: Stream,
        offset: i64,
        limit_bytes: usize,
    ) -> Result<FileRange, FilesError>;
    /// Entries of a directory of the sandbox (`""` is the sandbox itself), sorted by name.
    fn list(&self, task: &TaskId, directory: &str) -> Result<Vec<FileEntry>, FilesError>;
    /// At most `limit_bytes` of a file of the sandbox from `offset`; a negative offset counts from the end.
    fn read(&self, task: &TaskId, path: &str, offset: i64, limit_bytes: usize) -> Result<FileRange, FilesError>;
}
