//! The journal: `node`'s port `Storage` on disk.
//!
//! A directory of segment files holds the groups in order; a snapshot now and then holds the whole state, so that old
//! segments can go. A thread of its own writes and syncs, several groups at once; the loop never waits for the disk. What a
//! record means is nobody's business here.
//!
//! Rules kept in this crate:
//!
//! - A group counts once it is written and synced. After a failed write or sync nothing more is written.
//! - Room for the next segment is reserved before it is needed, and one more is kept in reserve. When the system gives no
//!   more, [`node::storage::Space::Low`] says so while there is still room for kills and statuses.
//! - What was durable and is unreadable is corruption: recovery refuses, with file and byte, and changes nothing.
//! - What was never acknowledged and is unfinished is cut and reported ([`log`](mod@log) says how the two are told apart).

pub mod backup;
pub mod disk;
mod error;
pub mod format;
mod inspect;
mod keeper;
mod log;
mod recover;
mod salvage;
mod segment;
mod shared;
mod snapshot;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use node::storage::{Epoch, Group, Position, Progress, Recovered, Restore, SnapshotRecords, Storage, StorageError};

use disk::{Disk, Lock, RealDisk};
pub use error::{Corruption, JournalError};
pub use inspect::{Finding, Inspection, SegmentReport, SnapshotReport, inspect};
pub use salvage::{Compacted, Salvaged, compact, salvage};
pub use snapshot::{SnapshotDamage, SnapshotInfo};

use format::JournalId;
use recover::Recovery;
use shared::Shared;
use writer::Writer;

/// The smallest segment that makes sense.
pub const MIN_SEGMENT_BYTES: u64 = 4096;

/// How a journal behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Room reserved for a segment, in bytes; the first few are shorter. Three segments are on disk at least: the one in use,
    /// the next, and the reserve.
    pub segment_bytes: u64,
    /// How long nothing must happen before the last mark is synced.
    pub settle_after: Duration,
    /// How long to wait before asking again for room that was refused.
    pub retry_space_after: Duration,
    /// The id of a new journal; `None` draws one. Fixed only by tests that compare bytes.
    pub new_journal_id: Option<JournalId>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 16 << 20,
            settle_after: Duration::from_secs(1),
            retry_space_after: Duration::from_secs(1),
            new_journal_id: None,
        }
    }
}

/// Called from the journal's threads whenever [`Storage::progress`] has something new to say.
pub type OnProgress = Arc<dyn Fn() + Send + Sync>;

/// What every thread of a journal knows.
struct Setup {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: Options,
    on_progress: OnProgress,
    journal: JournalId,
}

/// A directory that is ours.
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: Options,
    on_progress: OnProgress,
    running: Option<Running>,
    /// Keeps other processes out for as long as the journal lives; dropped last.
    _lock: Box<dyn Send + Sync>,
}

struct Running {
    setup: Arc<Setup>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    snapshot: Option<JoinHandle<()>>,
    appended: Position,
}

impl Journal {
    /// Takes a directory, which is made if it does not exist. Nothing is read yet. Fails if another process has it.
    pub fn open(directory: &Path, options: Options, on_progress: OnProgress) -> Result<Journal, JournalError> {
        Journal::open_on(Arc::new(RealDisk), directory, options, on_progress)
    }

    /// The same on a disk of one's own.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: Options,
        on_progress: OnProgress,
    ) -> Result<Journal, JournalError> {
        disk.create_dir(directory).map_err(JournalError::io("create", directory))?;
        let path = directory.join("lock");
        let lock = match disk.lock(&path).map_err(JournalError::io("lock", &path))? {
            Lock::Held(lock) => lock,
            Lock::Busy(pid) => return Err(JournalError::InUse { directory: directory.to_owned(), pid }),
        };
        let options = Options { segment_bytes: options.segment_bytes.max(MIN_SEGMENT_BYTES), ..options };
        Ok(Journal { disk, directory: directory.to_owned(), options, on_progress, running: None, _lock: lock })
    }

    fn start(&mut self, recovery: Recovery) -> Result<Recovered, JournalError> {
        let journal = recovery.journal.or(self.options.new_journal_id).unwrap_or_else(draw_id);
        let setup = Arc::new(Setup {
            disk: Arc::clone(&self.disk),
            directory: self.directory.clone(),
            options: self.options.clone(),
            on_progress: Arc::clone(&self.on_progress),
            journal,
        });
        let shared = Arc::new(Shared::default());
        let position = recovery.recovered.position;
        {
            let mut state = shared.lock();
            state.durable = position;
            state.spares = recovery.spares.into();
            state.last_number = recovery.last_number;
            state.sealed = recovery.sealed;
            state.written_bytes = recovery.tail_bytes;
            state.snapshots = recovery.snapshots;
        }
        let writer = Writer {
            setup: Arc::clone(&setup),
            shared: Arc::clone(&shared),
            active: recovery.active,
            previous: recovery.previous,
            last: position,
            durable: position,
            buffer: Vec::new(),
            body: Vec::new(),
            mark_unsynced: false,
        };
        let mut running = Running { setup, shared, threads: Vec::new(), snapshot: None, appended: position };
        let (setup, shared) = (&running.setup, &running.shared);
        running.threads.push(keeper::spawn("journal-writer", setup, shared, |_, _| writer.run())?);
        running.threads.push(keeper::spawn("journal-spares", setup, shared, |setup, shared| {
            keeper::prepare_segments(setup, shared);
        })?);
        self.running = Some(running);
        Ok(recovery.recovered)
    }

    fn running(&mut self) -> Result<&mut Running, JournalError> {
        self.running.as_mut().ok_or(JournalError::Misused("recover must come first"))
    }

    /// How many times the device was asked to sync groups since the start.
    pub fn sync_count(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.shared.lock().syncs)
    }

    /// Finished snapshots, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.running.as_ref().map_or_else(Vec::new, |running| running.shared.lock().snapshots.clone())
    }

    /// Makes what was appended durable and ends. Dropping the journal does the same without telling how it went.
    pub fn close(mut self) -> Result<(), JournalError> {
        match self.running.take() {
            Some(running) => running.end(),
            None => Ok(()),
        }
    }
}

impl Storage for Journal {
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError> {
        if self.running.is_some() {
            return Err(JournalError::Misused("it was recovered already").into());
        }
        let recovery = recover::recover(&*self.disk, &self.directory, restore)?;
        Ok(self.start(recovery)?)
    }

    fn append(&mut self, group: Group) -> Result<(), StorageError> {
        let running = self.running()?;
        if group.position != running.appended.next() {
            return Err(JournalError::Misused("positions must be consecutive").into());
        }
        let mut state = running.shared.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone().into());
        }
        running.appended = group.position;
        state.queue.push_back(group);
        drop(state);
        running.shared.to_writer.notify_all();
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, StorageError> {
        Ok(self.running()?.shared.lock().progress()?)
    }

    fn start_snapshot(
        &mut self,
        position: Position,
        epoch: Epoch,
        records: SnapshotRecords,
    ) -> Result<(), StorageError> {
        let running = self.running()?;
        {
            let mut state = running.shared.lock();
            if state.snapshot_running {
                return Ok(());
            }
            if position > state.durable {
                return Err(JournalError::Misused("a snapshot holds durable groups only").into());
            }
            state.snapshot_running = true;
        }
        if let Some(ended) = running.snapshot.take() {
            // The thread before this one has already said that it is done.
            let _ = ended.join();
        }
        let work = move |setup: &Arc<Setup>, shared: &Arc<Shared>| {
            keeper::snapshot(setup, shared, position, epoch, records);
        };
        match keeper::spawn("journal-snapshot", &running.setup, &running.shared, work) {
            Ok(thread) => running.snapshot = Some(thread),
            Err(error) => {
                let mut state = running.shared.lock();
                state.snapshot_running = false;
                state.snapshot_failure = Some(error.to_string());
            }
        }
        Ok(())
    }
}

impl Running {
    fn end(mut self) -> Result<(), JournalError> {
        self.shared.lock().closing = true;
        self.shared.to_writer.notify_all();
        self.shared.to_preparer.notify_all();
        for thread in self.threads.drain(..).chain(self.snapshot.take()) {
            // A panic was printed by the thread; what it means for the log is in `failure`.
            let _ = thread.join();
        }
        let state = self.shared.lock();
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(error) = running.end()
        {
            tracing::error!(%error, "the journal ended with a failure");
        }
    }
}

/// A number that no other journal has. The standard library seeds its hashers from the system's entropy; nothing here has
/// to be secret, only different.
fn draw_id() -> JournalId {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::process::id()).to_le_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half());
    id[8..].copy_from_slice(&half());
    id
}
