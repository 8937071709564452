//! The messages between engine, launcher and supervisors, and their frames on the wire. No sockets here.
//!
//! ```text
//! engine ── launcher.sock ── launcher ── control channel ── supervisor (slot)
//!    └───────────────── task channel ──────────────────────────┘
//! ```
//!
//! The engine opens the launcher's socket and says [`Hello`]. The launcher hands it one end of a task channel for each slot
//! (as a descriptor beside [`SlotReady`]); launches, kills and statuses go over that channel, past the launcher. All of it is
//! only a wake-up: what happened is in the checkpoint.
//!
//! Frame: length of the payload (u32 little endian), protocol version (one byte), payload (protobuf). Fields and kinds are only ever
//! added; a kind that is not known decodes to an absent body and is passed over, so neighbours of different versions work.

use std::collections::BTreeMap;

use prost::Message;

use crate::record::StatusRecord;

/// Version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u8 = 1;
/// Oldest version it understands.
pub const PROTOCOL_VERSION_OLDEST: u8 = 1;
/// Largest payload of one message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Longest path a Unix socket can have, in bytes.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

const HEAD_BYTES: usize = 5;

/// Whoever connects to the launcher speaks these.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToLauncher {
    /// The message.
    #[prost(oneof = "ToLauncherBody", tags = "1, 2, 3, 4, 5, 6")]
    pub body: Option<ToLauncherBody>,
}

/// Kinds of message to the launcher.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ToLauncherBody {
    /// An engine presents itself; always its first message.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// An engine wants a slot.
    #[prost(message, tag = "2")]
    CreateSlot(SlotSpecification),
    /// An engine wants a slot and all it runs to end at once (SIGKILL).
    #[prost(message, tag = "3")]
    DestroySlot(SlotReference),
    /// An engine wants everything to end, the launcher too.
    #[prost(message, tag = "4")]
    Shutdown(Empty),
    /// A supervisor says that it serves the engine of this epoch now.
    #[prost(message, tag = "5")]
    Attached(Attached),
    /// A supervisor whose launcher died presents itself to the next one.
    #[prost(message, tag = "6")]
    Rejoin(Rejoin),
}

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// An engine presents itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Must be higher than that of every engine before it (or equal, when the same engine reconnects); others are refused.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Its pid, for the log.
    #[prost(int32, tag = "2")]
    pub pid: i32,
}

/// A slot to be made: a supervisor in its control groups.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SlotSpecification {
    /// Chosen by the engine; never used twice in one engine directory.
    #[prost(uint64, tag = "1")]
    pub slot_id: u64,
    /// Name of the user the processes run as; the launcher's own user when empty.
    #[prost(string, tag = "2")]
    pub user: String,
    /// Memory limit of the control group, bytes, the executor's overhead included; 0 for none.
    #[prost(uint64, tag = "3")]
    pub memory_limit_bytes: u64,
    /// Processor weight, in thousandths of a core; 0 for none.
    #[prost(uint64, tag = "4")]
    pub cpu_milli: u64,
    /// Most tasks it runs one after another; 0 for no limit.
    #[prost(uint32, tag = "5")]
    pub tasks_max: u32,
    /// How long it waits for a next task before it retires, milliseconds; 0 for ever.
    #[prost(uint64, tag = "6")]
    pub idle_ms_max: u64,
    /// Hard processor quota as well as weight.
    #[prost(bool, tag = "7")]
    pub cpu_quota: bool,
}

/// Names a slot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SlotReference {
    /// The slot.
    #[prost(uint64, tag = "1")]
    pub slot_id: u64,
}

/// A supervisor serves the engine of an epoch; calls of lower epochs do not reach it any more.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attached {
    /// The epoch.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Run directory of the task it runs; empty when idle.
    #[prost(string, tag = "2")]
    pub run_directory: String,
}

/// A supervisor presents itself to a launcher that did not fork it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rejoin {
    /// What it was made for.
    #[prost(message, optional, tag = "1")]
    pub specification: Option<SlotSpecification>,
    /// Its pid.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Its start time in clock ticks since boot.
    #[prost(uint64, tag = "3")]
    pub start_ticks: u64,
    /// Its control groups, as in [`crate::record::Header::cgroups`].
    #[prost(string, repeated, tag = "4")]
    pub cgroups: Vec<String>,
    /// Run directory of the task it runs; empty when idle.
    #[prost(string, tag = "5")]
    pub run_directory: String,
}

/// What the launcher says to an engine.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromLauncher {
    /// The message.
    #[prost(oneof = "FromLauncherBody", tags = "1, 2, 3, 4, 5, 6")]
    pub body: Option<FromLauncherBody>,
}

/// Kinds of message from the launcher to an engine.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromLauncherBody {
    /// The engine is accepted; its inventory follows.
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    /// The engine is refused: another one with a higher epoch was here.
    #[prost(message, tag = "2")]
    Refused(Refused),
    /// A slot and, as a descriptor beside the message, its task channel.
    #[prost(message, tag = "3")]
    SlotReady(SlotReady),
    /// A slot could not be made.
    #[prost(message, tag = "4")]
    SlotFailed(SlotFailed),
    /// A supervisor has ended; if it ran a task, the task's checkpoint is complete.
    #[prost(message, tag = "5")]
    SlotEnded(SlotEnded),
    /// Every slot that exists has been named.
    #[prost(message, tag = "6")]
    InventoryEnd(Empty),
}

/// The engine is accepted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// The launcher's pid.
    #[prost(int32, tag = "1")]
    pub pid: i32,
    /// Version of the program the launcher runs.
    #[prost(string, tag = "2")]
    pub program_version: String,
    /// Whether memory limits are enforced.
    #[prost(bool, tag = "3")]
    pub enforces_memory: bool,
    /// Whether processor weights are enforced.
    #[prost(bool, tag = "4")]
    pub enforces_cpu: bool,
    /// Why something is not enforced, for people; empty when all is.
    #[prost(string, tag = "5")]
    pub unenforced_reason: String,
    /// Whether its supervisors know [`Launch::files`] and [`Launch::containers`].
    #[prost(bool, tag = "6")]
    pub knows_containers: bool,
}

/// The engine is refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    /// The highest epoch seen.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// A slot that exists.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SlotReady {
    /// What it was made for.
    #[prost(message, optional, tag = "1")]
    pub specification: Option<SlotSpecification>,
    /// Pid of its supervisor.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Run directory of the task it runs; empty when idle.
    #[prost(string, tag = "3")]
    pub run_directory: String,
}

/// A slot could not be made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SlotFailed {
    /// The slot.
    #[prost(uint64, tag = "1")]
    pub slot_id: u64,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// A slot is gone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SlotEnded {
    /// The slot.
    #[prost(uint64, tag = "1")]
    pub slot_id: u64,
    /// Run directory of the task it ran when it ended; empty when it was idle.
    #[prost(string, tag = "2")]
    pub run_directory: String,
}

/// What the launcher says to a supervisor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromLauncherToSlot {
    /// The message.
    #[prost(oneof = "FromLauncherToSlotBody", tags = "1")]
    pub body: Option<FromLauncherToSlotBody>,
}

/// Kinds of message from the launcher to a supervisor.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromLauncherToSlotBody {
    /// Serve the engine of this epoch over the task channel beside the message, and no other.
    #[prost(message, tag = "1")]
    Attach(Attach),
}

/// Serve another engine. A supervisor whose task channel to the engine of this very epoch still works keeps that one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attach {
    /// The engine's epoch.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// What the slot is for; supervisors are made in advance and learn it with the first message.
    #[prost(message, optional, tag = "2")]
    pub specification: Option<SlotSpecification>,
}

/// What an engine says to a supervisor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToSlot {
    /// The message.
    #[prost(oneof = "ToSlotBody", tags = "1, 2, 3")]
    pub body: Option<ToSlotBody>,
}

/// Kinds of message from an engine to a supervisor.
// There is one message at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ToSlotBody {
    /// Run a task.
    #[prost(message, tag = "1")]
    Launch(Launch),
    /// End a task.
    #[prost(message, tag = "2")]
    Kill(Kill),
    /// End when idle.
    #[prost(message, tag = "3")]
    Retire(Empty),
}

/// Run a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {
    /// The task's id.
    #[prost(string, tag = "1")]
    pub task_id: String,
    /// The agent it runs on.
    #[prost(string, tag = "2")]
    pub agent_id: String,
    /// The run directory, absolute. Its parent exists; the directory itself must not: creating it is the start token.
    #[prost(string, tag = "3")]
    pub run_directory: String,
    /// Host name for templates.
    #[prost(string, tag = "4")]
    pub hostname: String,
    /// Instance number for templates.
    #[prost(uint32, tag = "5")]
    pub instance: u32,
    /// Ports by name for templates.
    #[prost(btree_map = "string, uint32", tag = "6")]
    pub ports: BTreeMap<String, u32>,
    /// The executor's payload: JSON, spec executor 1.2.
    #[prost(bytes = "vec", tag = "7")]
    pub payload: Vec<u8>,
    /// What the engine wants to find again after a restart; opaque.
    #[prost(bytes = "vec", tag = "8")]
    pub engine_data: Vec<u8>,
    /// Memory requested for the task, bytes; 0 when none was stated.
    #[prost(uint64, tag = "9")]
    pub memory_bytes: u64,
    /// Disk requested for the task, bytes; 0 when none was stated.
    #[prost(uint64, tag = "10")]
    pub disk_bytes: u64,
    /// The role: name of the user the processes run as when the supervisor is root.
    #[prost(string, tag = "11")]
    pub role: String,
    /// How often the sandbox is measured, milliseconds; 0 for never.
    #[prost(uint64, tag = "12")]
    pub disk_interval_ms: u64,
    /// Whether health checks by a command run as the supervisor's user and not as the task's.
    #[prost(bool, tag = "13")]
    pub health_checks_keep_user: bool,
    /// Bound on everything that is done to end the task, from the wish to the last SIGKILL, milliseconds; 0 for two minutes.
    #[prost(uint64, tag = "14")]
    pub stop_timeout_ms: u64,
    /// Whether somebody else has made the run directory, as a Mesos agent does. Creating the checkpoint in it is the start token then.
    #[prost(bool, tag = "15")]
    pub run_directory_exists: bool,
    /// Variables (`NAME=value`) that the processes get besides those that every process has.
    #[prost(string, repeated, tag = "16")]
    pub environment: Vec<String>,
    /// Where the output of processes goes that say nothing about it; absent for files.
    #[prost(message, optional, tag = "17")]
    pub logger: Option<LoggerDefaults>,
    /// How tasks that want to be announced are; absent where none is.
    #[prost(message, optional, tag = "18")]
    pub announcing: Option<Announcing>,
    /// Files that are fetched into the sandbox before anything runs: the request of the crate `fetcher`, JSON; empty for none.
    #[prost(string, tag = "19")]
    pub files: String,
    /// Containers that the task is or has; absent where its processes run on the machine itself.
    #[prost(message, optional, tag = "20")]
    pub containers: Option<Containers>,
    /// Root file system that the processes run in, as the Mesos containerizer provides it; absent for the machine's own.
    #[prost(message, optional, tag = "21")]
    pub image: Option<ImageRoot>,
    /// How long statuses may wait to be told together with later ones, milliseconds from the launch; the last one never waits.
    #[prost(uint64, tag = "22")]
    pub status_delay_ms: u64,
    /// Directory that is the sandbox, absolute; it may exist. Empty for the one inside the run directory.
    #[prost(string, tag = "23")]
    pub sandbox: String,
    /// Whether only the task's processes are run, as a bare runner does: no health checks, no lifecycle, nothing announced, and runs
    /// without a limit (spec executor 1.6).
    #[prost(bool, tag = "24")]
    pub only_processes: bool,
    /// Whether the sandbox is the root directory of the processes.
    #[prost(bool, tag = "25")]
    pub changes_root: bool,
    /// Whether the run was begun by a supervisor that is dead, and its checkpoint is gone on with (spec executor 1.13).
    #[prost(bool, tag = "26")]
    pub resumes: bool,
}

/// What the command line says to a runner that it has started for one task, without any engine (spec executor 4.6). The runner answers
/// with [`FromSlot`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToRunner {
    /// The message.
    #[prost(oneof = "ToRunnerBody", tags = "1, 2, 3")]
    pub body: Option<ToRunnerBody>,
}

/// Kinds of message to a runner.
// There is one message at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ToRunnerBody {
    /// Run a task; the first message, unless the next but one is.
    #[prost(message, tag = "1")]
    Run(RunTask),
    /// End the task.
    #[prost(message, tag = "2")]
    Kill(Kill),
    /// Complete what a dead runner has left of a task.
    #[prost(message, tag = "3")]
    Complete(CompleteTask),
}

/// Run a task under a checkpoint root.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunTask {
    /// The task. Its run directory is that of its id below `checkpoints` of the root.
    #[prost(message, optional, tag = "1")]
    pub launch: Option<Launch>,
    /// The checkpoint root, absolute (spec executor 1.9).
    #[prost(string, tag = "2")]
    pub root: String,
    /// Whether the task goes on when whoever started the runner is gone.
    #[prost(bool, tag = "3")]
    pub is_detached: bool,
}

/// Complete what is left of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompleteTask {
    /// The checkpoint root, absolute.
    #[prost(string, tag = "1")]
    pub root: String,
    /// The task.
    #[prost(string, tag = "2")]
    pub task_id: String,
}

/// A root file system and how to enter it (spec executor 3.3).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageRoot {
    /// Its folder.
    #[prost(string, tag = "1")]
    pub root: String,
    /// Where the sandbox is in it.
    #[prost(string, tag = "2")]
    pub sandbox: String,
    /// The program that enters it, `mesos-containerizer`.
    #[prost(string, tag = "3")]
    pub containerizer: String,
    /// Whether that program takes all it is told as one piece of JSON.
    #[prost(bool, tag = "4")]
    pub takes_launch_info: bool,
    /// User to become in it.
    #[prost(string, tag = "5")]
    pub user: String,
}

/// What a task has to do with Docker (spec executor 3.2, 5.8, part 6).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Containers {
    /// How it is run.
    #[prost(enumeration = "ContainerKind", tag = "1")]
    pub kind: i32,
    /// Value of `DOCKER_HOST` for all that is done; empty for the usual socket.
    #[prost(string, tag = "2")]
    pub docker_host: String,
    /// The image, for the kinds with one container.
    #[prost(string, tag = "3")]
    pub image: String,
    /// Options of Docker's command line, as name and value.
    #[prost(message, repeated, tag = "4")]
    pub parameters: Vec<Parameter>,
    /// Memory limit of the container, bytes; 0 for none.
    #[prost(uint64, tag = "5")]
    pub memory_bytes: u64,
    /// Processor weight of the container, in thousandths of a core; 0 for none.
    #[prost(uint64, tag = "6")]
    pub cpu_milli: u64,
    /// Hard processor quota as well as weight.
    #[prost(bool, tag = "7")]
    pub cpu_quota: bool,
    /// How many GPUs the container gets.
    #[prost(uint32, tag = "8")]
    pub gpus: u32,
    /// Labels of the container.
    #[prost(btree_map = "string, string", tag = "9")]
    pub labels: BTreeMap<String, String>,
    /// For [`ContainerKind::Compose`]: the request of the crate `compose`, JSON.
    #[prost(string, tag = "10")]
    pub compose_request: String,
    /// For [`ContainerKind::Compose`]: the project, whose networks and volumes go with the task.
    #[prost(string, tag = "11")]
    pub project: String,
}

/// How a task is run that has to do with Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerKind {
    /// Not at all; nobody says so.
    Unspecified = 0,
    /// Its processes run inside one container.
    Processes = 1,
    /// It is one container, which does what its image says.
    Alone = 2,
    /// It is a project of docker-compose.
    Compose = 3,
}

/// An option of Docker's command line.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Parameter {
    /// Name, without dashes.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Where a task is announced that wants to be (spec executor 2.1, 2.10).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Announcing {
    /// Servers of the ZooKeeper, `host:port,host:port`.
    #[prost(string, tag = "1")]
    pub ensemble: String,
    /// Path of the server set of the task's job, unless the payload names another.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Whether the payload may name another path.
    #[prost(bool, tag = "3")]
    pub allow_custom_path: bool,
    /// Host name in what is announced; empty for the launch's.
    #[prost(string, tag = "4")]
    pub hostname: String,
    /// File with identities and access rules; empty for none.
    #[prost(string, tag = "5")]
    pub auth_file: String,
    /// How long ZooKeeper keeps the announcement of a machine that is gone, milliseconds; 0 for ten seconds.
    #[prost(uint64, tag = "6")]
    pub session_timeout_ms: u64,
}

/// Where output goes (spec executor 1.8); what is empty or 0 has the usual default.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LoggerDefaults {
    /// `file`, `console`, `both` or `none`.
    #[prost(string, tag = "1")]
    pub destination: String,
    /// `standard` or `rotate`.
    #[prost(string, tag = "2")]
    pub mode: String,
    /// Size at which a log is rotated, bytes.
    #[prost(uint64, tag = "3")]
    pub rotate_bytes: u64,
    /// Rotated logs that are kept.
    #[prost(uint64, tag = "4")]
    pub rotate_backups: u64,
}

/// End a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Kill {
    /// The task's id.
    #[prost(string, tag = "1")]
    pub task_id: String,
    /// How long the processes may take to end by themselves, milliseconds.
    #[prost(uint64, tag = "2")]
    pub grace_ms: u64,
    /// What is told about the end; empty for the usual sentence.
    #[prost(string, tag = "3")]
    pub message: String,
    /// Bound on everything that is done to end the task, milliseconds; 0 for the launch's.
    #[prost(uint64, tag = "4")]
    pub stop_ms_max: u64,
}

/// What a supervisor says to an engine.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromSlot {
    /// The message.
    #[prost(oneof = "FromSlotBody", tags = "1, 2, 3, 4")]
    pub body: Option<FromSlotBody>,
}

/// Kinds of message from a supervisor to an engine.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromSlotBody {
    /// A status was recorded.
    #[prost(message, tag = "1")]
    Status(SlotStatus),
    /// The task is over and another one may come.
    #[prost(message, tag = "2")]
    Idle(Empty),
    /// No other task will be run; the supervisor ends.
    #[prost(message, tag = "3")]
    Retiring(Retiring),
    /// A launch was not done and left no trace that is its own.
    #[prost(message, tag = "4")]
    LaunchRefused(LaunchRefused),
}

/// A status was recorded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SlotStatus {
    /// The task.
    #[prost(string, tag = "1")]
    pub task_id: String,
    /// The statuses recorded since the last message, oldest first.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<StatusRecord>,
    /// The task is over and another one may come: spares the message [`FromSlotBody::Idle`].
    #[prost(bool, tag = "3")]
    pub idle: bool,
}

/// A supervisor ends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Retiring {
    /// For the log.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// A launch was not done.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaunchRefused {
    /// The task.
    #[prost(string, tag = "1")]
    pub task_id: String,
    /// Whether its run directory existed: the task was started before, and that run is the one that counts.
    #[prost(bool, tag = "2")]
    pub already_started: bool,
    /// For people.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// Why a peer cannot be understood; the connection is of no further use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length is absurd.
    #[error("a message of {0} bytes is longer than any that is sent")]
    Length(usize),
    /// The version is too old.
    #[error("protocol version {0} is older than {PROTOCOL_VERSION_OLDEST}, the oldest one understood")]
    Version(u8),
    /// The payload is not a message.
    #[error("the payload is not a message")]
    Payload,
}

/// Adds the frame of `message` to `buffer`.
pub fn encode(message: &impl Message, buffer: &mut Vec<u8>) {
    let begin = buffer.len();
    buffer.extend_from_slice(&[0, 0, 0, 0, PROTOCOL_VERSION]);
    message.encode_raw(buffer);
    let length = u32::try_from(buffer.len() - begin - HEAD_BYTES).expect("a message is far smaller than 4 GiB");
    buffer[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Bytes that arrived, cut into messages.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Incoming {
    /// Adds what was read from the peer.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.consumed == self.bytes.len() {
            self.bytes.clear();
            self.consumed = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more bytes are needed.
    pub fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, WireError> {
        let rest = &self.bytes[self.consumed..];
        let Some(head) = rest.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(WireError::Length(length));
        }
        if head[4] < PROTOCOL_VERSION_OLDEST {
            return Err(WireError::Version(head[4]));
        }
        let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
        let message = M::decode(payload).map_err(|_| WireError::Payload)?;
        self.consumed += HEAD_BYTES + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(task_id: &str) -> ToSlot {
        ToSlot { body: Some(ToSlotBody::Kill(Kill { task_id: task_id.into(), grace_ms: 5, ..Kill::default() })) }
    }

    #[test]
    fn messages_survive_any_splitting_of_the_stream() {
        let sent = [kill("a"), kill(&"b".repeat(1000)), ToSlot { body: Some(ToSlotBody::Retire(Empty {})) }];
        let mut bytes = Vec::new();
        sent.iter().for_each(|message| encode(message, &mut bytes));
        for size in [1, 2, 3, 7, 64, bytes.len()] {
            let mut incoming = Incoming::default();
            let mut received = Vec::new();
            for chunk in bytes.chunks(size) {
                incoming.extend(chunk);
                while let Some(message) = incoming.next_message::<ToSlot>().unwrap() {
                    received.push(message);
                }
            }
            assert_eq!(received, sent, "chunks of {size}");
        }
    }

    #[test]
    fn an_unknown_kind_of_a_newer_version_is_a_message_without_body() {
        let mut bytes = vec![3, 0, 0, 0, PROTOCOL_VERSION + 5];
        bytes.extend_from_slice(&[0x98, 0x06, 0x01]);
        encode(&kill("a"), &mut bytes);
        let mut incoming = Incoming::default();
        incoming.extend(&bytes);
        assert_eq!(incoming.next_message::<ToSlot>(), Ok(Some(ToSlot { body: None })));
        assert_eq!(incoming.next_message::<ToSlot>(), Ok(Some(kill("a"))));
    }

    #[test]
    fn nonsense_is_refused_and_not_allocated() {
        let mut incoming = Incoming::default();
        incoming.extend(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(incoming.next_message::<ToSlot>(), Err(WireError::Length(u32::MAX as usize)));
        let mut incoming = Incoming::default();
        incoming.extend(&[1, 0, 0, 0, 0, 0]);
        assert_eq!(incoming.next_message::<ToSlot>(), Err(WireError::Version(0)));
        let mut incoming = Incoming::default();
        incoming.extend(&[1, 0, 0, 0, 1, 0xff]);
        assert_eq!(incoming.next_message::<ToSlot>(), Err(WireError::Payload));
    }
}
