//! The port through which the loop makes its decisions durable, and the words used there.
//!
//! A storage keeps groups of opaque records in order. It does not know what a record means: a record is a keyed put or
//! delete with an absolute value, never a change relative to an older value. Three things follow from that. A snapshot
//! may be taken at any moment, replaying a group twice does no harm, and a storage can compact by key on its own.
//!
//! Nothing here reads a clock or touches a file; `journal` implements the port on disk.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use scheduler::record::Record;

/// The number of a group in the order in which groups were appended. The first group has position 1; 0 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first group.
    pub const NONE: Position = Position(0);

    /// The position that follows this one.
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One reign of one scheduler over the storage. Every start of a daemon and every change of leadership begins a higher
/// one; engines refuse what carries a lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The records of one or several steps that become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The reign in which the group was decided.
    pub epoch: Epoch,
    /// Exactly one more than the position of the group before it.
    pub position: Position,
    /// The records, to be applied in this order. May be empty: a reign begins with an empty group.
    pub records: Vec<Record>,
}

/// Receives the state during recovery.
pub trait Restore {
    /// Takes one record. Records come in an order in which applying them all gives the state at the recovered position.
    /// An error stops the recovery: the record belongs to a newer schema, or is nonsense.
    fn restore(&mut self, record: Record) -> Result<(), RestoreError>;
}

impl<F: FnMut(Record) -> Result<(), RestoreError>> Restore for F {
    fn restore(&mut self, record: Record) -> Result<(), RestoreError> {
        self(record)
    }
}

/// Why a stored record could not be taken into the state.
#[derive(Clone, Debug, thiserror::Error)]
#[error("table {table}: {reason}")]
pub struct RestoreError {
    /// The table of the refused record.
    pub table: u32,
    /// What was wrong with it.
    pub reason: String,
}

/// What a recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The position of the newest group in the recovered state.
    pub position: Position,
    /// The epoch of that group; the next reign takes a higher one.
    pub epoch: Epoch,
    /// How many records were restored, from the snapshot and from groups together.
    pub records: u64,
    /// Things the operator should know: a torn tail that was cut, a damaged snapshot that was passed over. One
    /// sentence each; empty after a clean stop.
    pub notes: Vec<String>,
}

/// Whether the storage can still grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// There is room for what comes next, and a reserve.
    #[default]
    Enough,
    /// Only the reserve is left: what grows the state must be refused, kills and statuses go on.
    Low {
        /// Why no more room could be had, in the words of the system.
        reason: String,
    },
}

/// What the loop asks a storage after every turn; cheap, never waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every group up to this position, of those that were recovered and those that this node appended, is durable. Where
    /// several nodes share a log, another's group at the same position does not count: two who begin at the same moment
    /// choose the same position and epoch.
    pub durable: Position,
    /// Whether the storage can still grow.
    pub space: Space,
    /// Bytes of groups appended since the newest finished snapshot: what a recovery would have to replay.
    pub bytes_since_snapshot: u64,
    /// Size of the newest finished snapshot; 0 without one.
    pub snapshot_bytes: u64,
    /// A snapshot is being written.
    pub snapshot_running: bool,
    /// How many snapshots failed in a row, and why the last one did. A failed snapshot loses nothing.
    pub snapshot_failure: Option<String>,
}

/// The records of a frozen view, produced while the snapshot is written, on another thread than the loop's.
pub type SnapshotRecords = Box<dyn Iterator<Item = Record> + Send>;

/// Where the groups of a node go.
///
/// The contract: [`Storage::recover`] is called once, before all else. Groups are then appended with consecutive
/// positions. An error from any call ends the use of the storage: it is never retried as if nothing had happened,
/// because after a failed sync nobody knows what the disk holds.
pub trait Storage {
    /// Hands everything that is durable to `restore` and says where it ends.
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError>;

    /// Takes a group over, in order, without waiting for the device.
    fn append(&mut self, group: Group) -> Result<(), StorageError>;

    /// Says how far groups are durable, without waiting. An append or sync that failed since is reported here.
    fn progress(&mut self) -> Result<Progress, StorageError>;

    /// Begins to write a snapshot of the state at `position`, which must be durable, beside the running work. `epoch`
    /// is the epoch of the group at `position`. Ignored while another snapshot is being written.
    fn start_snapshot(
        &mut self,
        position: Position,
        epoch: Epoch,
        records: SnapshotRecords,
    ) -> Result<(), StorageError>;
}

/// Why a storage can no longer be used by this node.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// Another node has taken over. Groups after `committed` were not applied on any replica.
    #[error("epoch {epoch} has ended: another scheduler leads, and groups after position {committed} were not stored")]
    EpochEnded {
        /// The reign that ended.
        epoch: Epoch,
        /// The last position of that reign which is durable.
        committed: Position,
    },
    /// The storage failed; what was appended but not yet durable has an unknown outcome.
    #[error(transparent)]
    Failed(Arc<dyn Error + Send + Sync>),
}

impl StorageError {
    /// Wraps the error of a particular storage.
    pub fn failed(error: impl Error + Send + Sync + 'static) -> StorageError {
        StorageError::Failed(Arc::new(error))
    }
}
