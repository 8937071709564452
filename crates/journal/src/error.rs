//! What can go wrong, in words that say what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::storage::{Position, RestoreError, StorageError};

/// Why the journal cannot be used. Cloned freely: one failure is reported to everyone who asks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// What was durable is no longer readable. Nothing was changed.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A later version of this program wrote the file.
    #[error(
        "`{}` has format {version}, and this program reads formats up to {newest}: it was written by a newer Daybreak; start that one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The newest format this program reads.
        newest: u32,
    },
    /// Another process works on the directory.
    #[error(
        "`{}` is in use{}: stop that daemon first, or give this one another --state-dir",
        directory.display(),
        pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The pid of its user, if known.
        pid: Option<u32>,
    },
    /// A sound record that the state does not accept.
    #[error("group {position} in `{}` at byte {offset} cannot be restored: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where the group or block begins in the file.
        offset: u64,
        /// The group, or the snapshot's position.
        position: Position,
        /// Why.
        source: RestoreError,
    },
    /// A call out of order; a fault in the caller.
    #[error("the journal was used out of order: {0}")]
    Misused(&'static str),
    /// A thread of the journal ended by a fault of this program.
    #[error("the thread `{0}` ended by a fault of its own; see above. The next start goes on from what is stored")]
    Fault(String),
    /// The target of a salvage holds files.
    #[error("`{}` is not empty: move it away, or name a new directory to salvage into", .0.display())]
    NotEmpty(PathBuf),
    /// A backup is not what was written.
    #[error("the backup `{}` is damaged at byte {offset}: {reason}. Nothing was changed; use another backup", path.display())]
    DamagedBackup {
        /// The file.
        path: PathBuf,
        /// Where the unreadable part begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is nothing to work on.
    #[error("`{}` holds no journal", .0.display())]
    NoJournal(PathBuf),
}

/// Damage to something that was durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal is damaged: `{}` at byte {offset}: {reason}. Nothing was changed. `daybreak journal inspect {}` shows what there is; `daybreak journal salvage {}` keeps what is sound",
    path.display(), named(directory).display(), named(directory).display()
)]
pub struct Corruption {
    /// The journal's directory.
    pub directory: PathBuf,
    /// The damaged file.
    pub path: PathBuf,
    /// Where the unreadable frame or header begins in the file, in bytes.
    pub offset: u64,
    /// The first position that is lost.
    pub position: Position,
    /// What is wrong, and how that is known.
    pub reason: String,
}

/// What the operator calls the place: a daemon keeps its journal in `journal` below its state directory, and the commands
/// take the state directory.
fn named(directory: &Path) -> &Path {
    match directory.parent() {
        Some(state_directory) if directory.ends_with("journal") && state_directory != Path::new("") => state_directory,
        _ => directory,
    }
}

impl JournalError {
    /// Wraps a system error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = path.to_owned();
        move |source| JournalError::Io { action, path, source: Arc::new(source) }
    }

    /// Whether the cause is a lack of space.
    pub fn is_out_of_space(&self) -> bool {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, JournalError::Io { source, .. } if kinds.contains(&source.kind()))
    }
}

impl From<JournalError> for StorageError {
    fn from(error: JournalError) -> StorageError {
        StorageError::failed(error)
    }
}
