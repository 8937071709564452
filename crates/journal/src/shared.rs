//! What the loop's side, the writer, the preparer and the snapshot thread tell each other.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use node::storage::{Group, Position, Progress, Space};

use crate::error::JournalError;
use crate::segment::Segment;
use crate::snapshot::SnapshotInfo;

/// State under the one lock. The lock is never held across a file operation.
#[derive(Default)]
pub(crate) struct State {
    /// Groups not yet taken by the writer.
    pub(crate) queue: VecDeque<Group>,
    pub(crate) closing: bool,
    /// The writer has ended; nothing more becomes durable.
    pub(crate) writer_ended: bool,
    pub(crate) durable: Position,
    pub(crate) failure: Option<JournalError>,
    /// Prepared segments in the order of their numbers; the last of two is the reserve.
    pub(crate) spares: VecDeque<Segment>,
    /// Why the preparer could not make the next one.
    pub(crate) spare_failure: Option<JournalError>,
    pub(crate) last_number: u64,
    /// Full segments and the last position in each, oldest first.
    pub(crate) sealed: Vec<(PathBuf, Position)>,
    /// Bytes of groups written since the recovery, and before it since the newest snapshot.
    pub(crate) written_bytes: u64,
    /// `written_bytes` when the newest finished snapshot was begun.
    pub(crate) snapshot_began_at_bytes: u64,
    /// Sound snapshots, oldest first.
    pub(crate) snapshots: Vec<SnapshotInfo>,
    pub(crate) snapshot_running: bool,
    pub(crate) snapshot_failure: Option<String>,
    /// How many syncs the writer made.
    pub(crate) syncs: u64,
}

/// How many segments are kept prepared: the next one, and the reserve.
pub(crate) const SPARES: usize = 2;

impl State {
    pub(crate) fn progress(&self) -> Result<Progress, JournalError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let space = match &self.spare_failure {
            Some(reason) if self.spares.len() < SPARES => Space::Low { reason: reason.to_string() },
            _ => Space::Enough,
        };
        Ok(Progress {
            durable: self.durable,
            space,
            bytes_since_snapshot: self.written_bytes - self.snapshot_began_at_bytes,
            snapshot_bytes: self.snapshots.last().map_or(0, |snapshot| snapshot.bytes),
            snapshot_running: self.snapshot_running,
            snapshot_failure: self.snapshot_failure.clone(),
        })
    }
}

/// The state and the bells.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Rung for the writer: groups, spares, closing.
    pub(crate) to_writer: Condvar,
    /// Rung for the preparer: a spare was taken, space may have returned, closing.
    pub(crate) to_preparer: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left a consistent state: every change is a single assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
