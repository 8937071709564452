//! What a set of runs has met: cells of the state machine, kinds of fault, kinds of command.

use std::collections::BTreeMap;

use super::expected::Cell;

/// Faults that the simulation knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A status never arrived and was sent again later.
    StatusLost,
    /// A status arrived long after it was sent.
    StatusLate,
    /// A status arrived twice.
    StatusDoubled,
    /// A status overtook the one before it.
    StatusReordered,
    /// A status that does not agree with what the task does.
    StatusWrong,
    /// A task nobody asked for is reported running.
    StrayRunning,
    /// A task nobody knows is reported ended.
    StrayEnded,
    /// A task on an agent's disk that nobody asked for.
    StrayOnDisk,
    /// A launch never arrived.
    LaunchLost,
    /// A task could not be started.
    LaunchFailed,
    /// A launch was made on an offer that was void by then.
    OfferVoid,
    /// An offer was taken back.
    OfferRescinded,
    /// A task never says anything after its launch.
    TaskHangs,
    /// A task that nobody asked to end was killed.
    KilledUnasked,
    /// A kill was ignored.
    KillIgnored,
    /// The engine's connection broke.
    Disconnected,
    /// The engine has a new leader, which knows no agent yet.
    LeaderElected,
    /// A new leader gives up on a task that runs.
    LeaderGuesses,
    /// Another scheduler took this one's place.
    Deposed,
    /// An agent is asked back for maintenance.
    AgentAskedBack,
    /// An agent went away for good, with its tasks.
    AgentLost,
    /// An agent came back under another id.
    AgentReplaced,
    /// An agent could not be reached for a while.
    AgentUnreachable,
    /// An agent came back with its tasks.
    AgentReturned,
    /// The scheduler died with nothing waiting for the disk.
    CrashIdle,
    /// The scheduler died and lost groups that were not durable.
    CrashLosesGroups,
    /// The scheduler died after its last groups reached the disk, but before it knew.
    CrashKeepsGroups,
    /// The scheduler died before what it had released reached the engine.
    CrashLosesCalls,
    /// The scheduler died, and was started again minutes later.
    DownForLong,
    /// The scheduler died while a snapshot was being written.
    CrashInSnapshot,
    /// The scheduler came back from a snapshot.
    RecoveredFromSnapshot,
    /// The disk took long to sync.
    DiskSlow,
    /// The disk ran full.
    DiskFull,
    /// An append or sync failed.
    DiskFailed,
    /// Another scheduler took over.
    EpochEnded,
    /// The wall clock jumped ahead.
    ClockAhead,
    /// The wall clock jumped back.
    ClockBack,
    /// The journal was written by a version that knew more, and had tasks in every status.
    OldJournal,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 38] = [
        Self::StatusLost,
        Self::StatusLate,
        Self::StatusDoubled,
        Self::StatusReordered,
        Self::StatusWrong,
        Self::StrayRunning,
        Self::StrayEnded,
        Self::StrayOnDisk,
        Self::LaunchLost,
        Self::LaunchFailed,
        Self::OfferVoid,
        Self::OfferRescinded,
        Self::TaskHangs,
        Self::KilledUnasked,
        Self::KillIgnored,
        Self::Disconnected,
        Self::LeaderElected,
        Self::LeaderGuesses,
        Self::Deposed,
        Self::AgentAskedBack,
        Self::AgentLost,
        Self::AgentReplaced,
        Self::AgentUnreachable,
        Self::AgentReturned,
        Self::CrashIdle,
        Self::CrashLosesGroups,
        Self::CrashKeepsGroups,
        Self::CrashLosesCalls,
        Self::DownForLong,
        Self::CrashInSnapshot,
        Self::RecoveredFromSnapshot,
        Self::DiskSlow,
        Self::DiskFull,
        Self::DiskFailed,
        Self::EpochEnded,
        Self::ClockAhead,
        Self::ClockBack,
        Self::OldJournal,
    ];
}

/// Counts of what was met.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Cells whose outcome was seen and judged.
    pub cells: BTreeMap<Cell, u64>,
    /// Faults.
    pub faults: BTreeMap<Fault, u64>,
    /// Replies by command and code, as in `create Ok`.
    pub replies: BTreeMap<String, u64>,
    /// States that updates were in.
    pub updates: BTreeMap<&'static str, u64>,
    /// Inputs given to the scheduler.
    pub inputs: u64,
}

impl Coverage {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Counts a cell.
    pub fn cell(&mut self, cell: Cell) {
        *self.cells.entry(cell).or_default() += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.cells {
            *self.cells.entry(*cell).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (reply, count) in &other.replies {
            *self.replies.entry(reply.clone()).or_default() += count;
        }
        for (state, count) in &other.updates {
            *self.updates.entry(state).or_default() += count;
        }
        self.inputs += other.inputs;
    }
}
