//! The records of a run's checkpoint and how they are framed in the file. Reading and writing files is [`crate::stream`].
//!
//! File: the eight bytes of [`MAGIC`], the last of which is the format version, then frames. Frame: length of the payload (u32 little
//! endian), CRC-32 of the payload (u32 little endian), payload (a protobuf [`Record`]). Fields are only ever added; a reader
//! skips entries it does not know, so a file of a newer version stays readable. A frame that is cut short is the torn tail of a
//! writer that died: the records before it hold.

use std::collections::BTreeMap;

/// First bytes of a checkpoint file; the last one is the version of the framing.
pub const MAGIC: [u8; 8] = *b"DAYBRCK\x01";

/// Largest payload of one frame in bytes (spec executor 1.10).
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// One record. `entry` is absent when a newer version wrote a kind this one does not know.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// What is recorded.
    #[prost(oneof = "Entry", tags = "1, 2, 3, 4")]
    pub entry: Option<Entry>,
}

/// The kinds of record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Entry {
    /// What the run is; the first record, once.
    #[prost(message, tag = "1")]
    Header(Header),
    /// A change of one run of one process.
    #[prost(message, tag = "2")]
    Process(ProcessRecord),
    /// A change of the task as a whole.
    #[prost(message, tag = "3")]
    Task(TaskRecord),
    /// A status for the scheduler, in the order in which they are to be told.
    #[prost(message, tag = "4")]
    Status(StatusRecord),
}

/// What the run is. Written once, before anything is started.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// The task's id.
    #[prost(string, tag = "1")]
    pub task_id: String,
    /// The agent it runs on.
    #[prost(string, tag = "2")]
    pub agent_id: String,
    /// When the run began, milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub launch_time_ms: i64,
    /// The kernel's boot id; a run of another boot cannot be alive.
    #[prost(string, tag = "4")]
    pub boot_id: String,
    /// Absolute path of the sandbox.
    #[prost(string, tag = "5")]
    pub sandbox: String,
    /// Host name the task was given.
    #[prost(string, tag = "6")]
    pub hostname: String,
    /// Name of the user the processes run as.
    #[prost(string, tag = "7")]
    pub user: String,
    /// Uid the processes run as.
    #[prost(uint32, optional, tag = "8")]
    pub uid: Option<u32>,
    /// Ports by name.
    #[prost(btree_map = "string, uint32", tag = "9")]
    pub ports: BTreeMap<String, u32>,
    /// Instance number.
    #[prost(uint32, tag = "10")]
    pub instance: u32,
    /// Pid of the supervisor.
    #[prost(int32, tag = "11")]
    pub supervisor_pid: i32,
    /// Start time of the supervisor in clock ticks since boot; with the pid it names the process for good.
    #[prost(uint64, tag = "12")]
    pub supervisor_start_ticks: u64,
    /// Absolute directories of the control groups of this run (all hierarchies); the first is the one to kill through. Empty without rights.
    #[prost(string, repeated, tag = "13")]
    pub cgroups: Vec<String>,
    /// What the engine wants to find again after a restart; opaque here.
    #[prost(bytes = "vec", tag = "14")]
    pub engine_data: Vec<u8>,
    /// The task to run: JSON of the `task` object of the executor's payload (spec executor 1.2), late templates not yet filled in.
    #[prost(bytes = "vec", tag = "15")]
    pub task_json: Vec<u8>,
    /// Memory that was requested for the task, bytes; 0 when none was stated.
    #[prost(uint64, tag = "16")]
    pub memory_bytes: u64,
    /// Disk that was requested for the task, bytes; 0 when none was stated.
    #[prost(uint64, tag = "17")]
    pub disk_bytes: u64,
    /// The slot that runs it, unique within one engine directory and boot.
    #[prost(uint64, tag = "18")]
    pub slot_id: u64,
    /// Present when the run may have containers: the value of `DOCKER_HOST` under which they are found, empty for the usual socket.
    #[prost(string, optional, tag = "19")]
    pub docker_host: Option<String>,
    /// Whether the sandbox may be somebody else's too, so that a home in it does not make a process the task's.
    #[prost(bool, tag = "20")]
    pub shares_sandbox: bool,
}

/// State of one run of one process (spec executor 1.4; the numbers are those of Thermos).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ProcessState {
    /// Chosen to run.
    Waiting = 0,
    /// About to be started.
    Forked = 1,
    /// Started; its pid is known.
    Running = 2,
    /// Ended with exit status 0.
    Success = 3,
    /// Ended by a signal.
    Killed = 4,
    /// Ended with another exit status, or could not be started.
    Failed = 5,
    /// Its end was not seen.
    Lost = 6,
}

impl ProcessState {
    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Killed | Self::Failed | Self::Lost)
    }
}

/// A change of one run of one process. Fields not known yet at the time of the record are absent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessRecord {
    /// Number of the record among those of this process, over all its runs, from 0 (spec executor 1.4).
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Name of the process.
    #[prost(string, tag = "2")]
    pub process: String,
    /// Number of the run, from 0.
    #[prost(uint32, tag = "3")]
    pub run: u32,
    /// The state it is in now.
    #[prost(enumeration = "ProcessState", tag = "4")]
    pub state: i32,
    /// When it was about to be started, milliseconds since the epoch.
    #[prost(int64, optional, tag = "5")]
    pub fork_time_ms: Option<i64>,
    /// When it was started, milliseconds since the epoch.
    #[prost(int64, optional, tag = "6")]
    pub start_time_ms: Option<i64>,
    /// When it ended, milliseconds since the epoch.
    #[prost(int64, optional, tag = "7")]
    pub stop_time_ms: Option<i64>,
    /// Pid of the shell, which leads a session of its own.
    #[prost(int32, optional, tag = "8")]
    pub pid: Option<i32>,
    /// Start time of the shell in clock ticks since boot, as in `/proc/<pid>/stat`.
    #[prost(uint64, optional, tag = "9")]
    pub start_ticks: Option<u64>,
    /// Exit status, or minus the number of the signal that ended it.
    #[prost(sint32, optional, tag = "10")]
    pub return_code: Option<i32>,
    /// Why it could not be started or was lost.
    #[prost(string, optional, tag = "11")]
    pub reason: Option<String>,
    /// Processor time of the process and the children it waited for, user mode, microseconds.
    #[prost(uint64, optional, tag = "12")]
    pub user_time_us: Option<u64>,
    /// The same in kernel mode, microseconds.
    #[prost(uint64, optional, tag = "13")]
    pub system_time_us: Option<u64>,
    /// Largest resident size of the process or a child it waited for, bytes.
    #[prost(uint64, optional, tag = "14")]
    pub resident_bytes_max: Option<u64>,
}

/// State of the task as a whole (spec executor 1.5; the numbers are those of Thermos).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TaskState {
    /// Regular processes run.
    Active = 0,
    /// Ended well.
    Success = 1,
    /// Ended badly.
    Failed = 2,
    /// Ended on request.
    Killed = 3,
    /// Its end was not seen.
    Lost = 4,
    /// What is left of the regular processes is asked to end.
    Cleaning = 5,
    /// Final processes run.
    Finalizing = 6,
}

impl TaskState {
    /// Whether the task is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Killed | Self::Lost)
    }
}

/// A change of the task as a whole.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskRecord {
    /// The state it is in now.
    #[prost(enumeration = "TaskState", tag = "1")]
    pub state: i32,
    /// When, milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp_ms: i64,
    /// Pid of the process that decided: the supervisor, or the launcher after its death.
    #[prost(int32, tag = "3")]
    pub decider_pid: i32,
}

/// State that is told to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum StatusState {
    /// Being prepared.
    Starting = 0,
    /// Healthy.
    Running = 1,
    /// Ended well.
    Finished = 2,
    /// Ended badly.
    Failed = 3,
    /// Ended on request.
    Killed = 4,
    /// Its end was not seen.
    Lost = 5,
}

impl StatusState {
    /// Whether no further status follows.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Starting | Self::Running)
    }
}

/// Why a task ended, when a program should be able to tell; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum StatusReason {
    /// Nothing special.
    Unspecified = 0,
    /// The memory limit was exceeded.
    MemoryLimit = 1,
    /// The disk limit was exceeded.
    DiskLimit = 2,
    /// The machine could not start it: no processes, descriptors or memory left, or no such user.
    LaunchFailed = 3,
    /// The supervisor ended before the task did.
    SupervisorTerminated = 4,
    /// The machine was booted anew while it ran.
    AgentRestarted = 5,
    /// The task is not known here.
    Unknown = 6,
    /// What was to be run cannot be understood.
    InvalidTask = 7,
}

/// A status for the scheduler.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusRecord {
    /// Number of the status within the run, from 0.
    #[prost(uint32, tag = "1")]
    pub sequence: u32,
    /// The state.
    #[prost(enumeration = "StatusState", tag = "2")]
    pub state: i32,
    /// For people; may be empty.
    #[prost(string, tag = "3")]
    pub message: String,
    /// When, milliseconds since the epoch.
    #[prost(int64, tag = "4")]
    pub timestamp_ms: i64,
    /// For programs.
    #[prost(enumeration = "StatusReason", tag = "5")]
    pub reason: i32,
    /// Exit status (or minus the signal) of the process that decided the end, when one did.
    #[prost(sint32, optional, tag = "6")]
    pub return_code: Option<i32>,
}

impl From<Header> for Record {
    fn from(header: Header) -> Self {
        Self { entry: Some(Entry::Header(header)) }
    }
}

impl From<ProcessRecord> for Record {
    fn from(process: ProcessRecord) -> Self {
        Self { entry: Some(Entry::Process(process)) }
    }
}

impl From<TaskRecord> for Record {
    fn from(task: TaskRecord) -> Self {
        Self { entry: Some(Entry::Task(task)) }
    }
}

impl From<StatusRecord> for Record {
    fn from(status: StatusRecord) -> Self {
        Self { entry: Some(Entry::Status(status)) }
    }
}
