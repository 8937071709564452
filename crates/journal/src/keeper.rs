//! Work beside the writer: preparing segments, writing snapshots, and removing what a snapshot replaced.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use node::storage::{Epoch, Position, SnapshotRecords};

use crate::Setup;
use crate::error::JournalError;
use crate::format::{FileHeader, FileKind};
use crate::segment::prepare;
use crate::shared::{SPARES, Shared, State};
use crate::snapshot::{SnapshotInfo, Unfinished, write_snapshot};

/// How many snapshots are kept. The older one is the fallback when the newer is found damaged, so the groups since the
/// older one are kept too.
const SNAPSHOTS_KEPT: usize = 2;

/// Keeps two segments prepared until the writer ends. A failure means that space is low; it is tried again after a
/// while, and at once when something was removed.
pub(crate) fn prepare_segments(setup: &Setup, shared: &Shared) {
    let mut state = shared.lock();
    while !state.writer_ended && state.failure.is_none() {
        let enough = if state.closing { 1 } else { SPARES };
        if state.spares.len() >= enough {
            state = shared.to_preparer.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let number = state.last_number + 1;
        drop(state);
        let extra = capacity(setup.options.segment_bytes, number);
        let header = FileHeader { kind: FileKind::Segment, journal: setup.journal, number, extra };
        let made = prepare(&*setup.disk, &setup.directory, header);
        state = shared.lock();
        let retry = made.is_err();
        let changed = retry != state.spare_failure.is_some();
        match made {
            Ok(segment) => {
                state.last_number = number;
                state.spare_failure = None;
                state.spares.push_back(segment);
                shared.to_writer.notify_all();
            }
            Err(error) => {
                if changed {
                    tracing::warn!(%error, "no room for the journal's next segment; only its reserve is left");
                }
                state.spare_failure = Some(error);
                shared.to_writer.notify_all();
            }
        }
        if changed {
            drop(state);
            (setup.on_progress)();
            state = shared.lock();
        }
        if retry && !state.writer_ended {
            let wait = shared.to_preparer.wait_timeout(state, setup.options.retry_space_after);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The first segments of a journal are short and each is twice as long as the one before, so that a new journal is ready
/// at once and one that lives for a minute takes little room.
fn capacity(segment_bytes: u64, number: u64) -> u64 {
    const FIRST_BYTES: u64 = 1 << 20;
    let doublings = u32::try_from(number - 1).unwrap_or(u32::MAX).min(20);
    segment_bytes.min(FIRST_BYTES << doublings)
}

/// Writes one snapshot and removes what it replaces. A failure is reported and leaves everything as it was.
pub(crate) fn snapshot(setup: &Setup, shared: &Shared, position: Position, epoch: Epoch, mut records: SnapshotRecords) {
    let began_at = shared.lock().written_bytes;
    let header = (setup.journal, position, epoch);
    let go_on = || !shared.lock().closing;
    let written = write_snapshot(&*setup.disk, &setup.directory, header, &mut records, &go_on);
    drop(records);
    let outcome = match written {
        Ok(info) => {
            let mut state = shared.lock();
            state.snapshot_began_at_bytes = began_at;
            let replaced = replace(&mut state, info);
            drop(state);
            remove(setup, replaced);
            None
        }
        Err(Unfinished::Closing) => return,
        Err(Unfinished::Failed(error)) => {
            tracing::warn!(%error, "a snapshot could not be written; the journal keeps growing until one can");
            Some(error.to_string())
        }
    };
    let mut state = shared.lock();
    state.snapshot_failure = outcome;
    state.snapshot_running = false;
    drop(state);
    shared.to_preparer.notify_all();
    (setup.on_progress)();
}

/// Takes a new snapshot into the books; the files that are no longer needed come back.
fn replace(state: &mut State, info: SnapshotInfo) -> Vec<std::path::PathBuf> {
    state.snapshots.retain(|snapshot| snapshot.position != info.position);
    state.snapshots.push(info);
    let surplus = state.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
    let mut replaced: Vec<_> = state.snapshots.drain(..surplus).map(|snapshot| snapshot.path).collect();
    if state.snapshots.len() == SNAPSHOTS_KEPT {
        let oldest_kept = state.snapshots[0].position;
        let needless = state.sealed.iter().take_while(|(_, last)| *last <= oldest_kept).count();
        replaced.extend(state.sealed.drain(..needless).map(|(path, _)| path));
    }
    replaced
}

/// Removes files. One that stays does no harm: it is passed over by the next recovery.
fn remove(setup: &Setup, files: Vec<std::path::PathBuf>) {
    for path in &files {
        if let Err(source) = setup.disk.remove(path) {
            let error = JournalError::io("remove", path)(source);
            tracing::warn!(%error, "a file that is no longer needed stays");
        }
    }
}

/// Starts a named thread that works on the journal. If it panics, the journal has failed: nobody waits for it in vain.
pub(crate) fn spawn(
    name: &str,
    setup: &Arc<Setup>,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Setup>, &Arc<Shared>) + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, JournalError> {
    let (setup, shared) = (Arc::clone(setup), Arc::clone(shared));
    let (thread, directory) = (name.to_owned(), setup.directory.clone());
    let builder = std::thread::Builder::new().name(name.to_owned());
    let run = move || {
        if std::panic::catch_unwind(AssertUnwindSafe(|| work(&setup, &shared))).is_ok() {
            return;
        }
        let mut state = shared.lock();
        state.failure.get_or_insert(JournalError::Fault(thread));
        state.snapshot_running = false;
        drop(state);
        shared.to_writer.notify_all();
        shared.to_preparer.notify_all();
        (setup.on_progress)();
    };
    builder.spawn(run).map_err(JournalError::io("start a thread for", &directory))
}
