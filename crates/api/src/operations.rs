//! What the daemon does for operators beside the scheduler: backups and snapshots. A port; files belong to whoever implements it.

use model::TaskId;
use scheduler::restore::Staged;

/// Why an operation failed, in one sentence for the operator.
pub type Failure = String;

/// Backups, the staged one, and snapshots. Every call may wait for the disk.
pub trait Operations: Send + Sync {
    /// Writes a backup of what is durable now. Its name comes back once it is durable too.
    fn back_up(&self) -> Result<String, Failure>;

    /// Names of the backups, oldest first.
    fn backups(&self) -> Result<Vec<String>, Failure>;

    /// Reads a backup and stages it. Fails when another one is staged.
    fn stage(&self, name: &str) -> Result<(), Failure>;

    /// What is staged. Fails when nothing is.
    fn staged(&self) -> Result<Staged, Failure>;

    /// Takes tasks out of what is staged. Fails when nothing is.
    fn remove_staged(&self, tasks: &[TaskId]) -> Result<(), Failure>;

    /// Forgets what is staged, if anything is.
    fn unload(&self);

    /// Makes the journal write a snapshot, and waits until it is durable.
    fn snapshot(&self) -> Result<(), Failure>;
}

/// Where nothing is stored on a disk.
pub struct NoOperations;

const NO_DISK: &str = "This scheduler keeps nothing on a disk, so there are no backups and no snapshots.";

impl Operations for NoOperations {
    fn back_up(&self) -> Result<String, Failure> {
        Err(NO_DISK.into())
    }

    fn backups(&self) -> Result<Vec<String>, Failure> {
        Err(NO_DISK.into())
    }

    fn stage(&self, _: &str) -> Result<(), Failure> {
        Err(NO_DISK.into())
    }

    fn staged(&self) -> Result<Staged, Failure> {
        Err(NO_DISK.into())
    }

    fn remove_staged(&self, _: &[TaskId]) -> Result<(), Failure> {
        Err(NO_DISK.into())
    }

    fn unload(&self) {}

    fn snapshot(&self) -> Result<(), Failure> {
        Err(NO_DISK.into())
    }
}
