//! Backups: the state of one moment in a file of its own, outside the journal's directory and independent of it.
//!
//! A backup has the form of a snapshot, with the id of no journal. It is written under a temporary name, synced, renamed, and the
//! directory synced; a file with a backup's name is whole, or was damaged later, which its checksums tell. A name is never
//! given twice: an older backup of the same minute stays.

use std::path::{Path, PathBuf};

use node::storage::{Epoch, Position, Record, Restore};

use crate::disk::{Disk, Lock};
use crate::error::JournalError;
use crate::log::Listing;
use crate::recover::recover;
use crate::snapshot::{SnapshotFile, SnapshotInfo, Unfinished, write_file, write_snapshot};

/// What names of backups begin with, as in Aurora (spec scheduler 6.3); date and time follow, to the minute.
pub const BACKUP_PREFIX: &str = "scheduler-backup-";
/// What names of unfinished ones begin with.
const TEMPORARY_PREFIX: &str = "temp_";

/// How far an epoch is moved past what an older state shows, so that engines take the new one for newer; more reigns than a
/// directory sees in its life.
pub(crate) const EPOCHS_SKIPPED: u64 = 1 << 20;

/// Which moment a state is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The last group in it.
    pub position: Position,
    /// The epoch of that group.
    pub epoch: Epoch,
}

impl Moment {
    /// The moment after this one in which a restored state begins.
    pub fn restored(self) -> Moment {
        Moment { position: self.position.next(), epoch: Epoch(self.epoch.0.saturating_add(EPOCHS_SKIPPED)) }
    }

    /// The later of both, each part for itself.
    pub fn latest(self, other: Moment) -> Moment {
        Moment { position: self.position.max(other.position), epoch: self.epoch.max(other.epoch) }
    }
}

/// A written backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// File name.
    pub name: String,
    /// Length of the file.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
}

/// Whether a name can be that of a backup, and of nothing outside the directory.
pub fn is_backup_name(name: &str) -> bool {
    name.starts_with(BACKUP_PREFIX) && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

/// Bytes of `yyyy-MM-dd-HH-mm`.
const STAMP_BYTES: usize = 16;

/// Date and time in a name, and which one of that minute it is, from 1 on.
fn order(name: &str) -> (&str, u64) {
    let stamp = name.strip_prefix(BACKUP_PREFIX).unwrap_or(name);
    match stamp.split_at_checked(STAMP_BYTES) {
        Some((stamp, number)) => (stamp, number.strip_prefix('-').and_then(|number| number.parse().ok()).unwrap_or(1)),
        None => (stamp, 1),
    }
}

/// Names of the backups in a directory, oldest first. A missing directory has none.
pub fn list_backups(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>, JournalError> {
    let names = match disk.list(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("list", directory)(error)),
    };
    let mut backups: Vec<String> = names.into_iter().filter(|name| is_backup_name(name)).collect();
    backups.sort_by(|one, other| order(one).cmp(&order(other)));
    Ok(backups)
}

/// Writes a backup named after `stamp` (`yyyy-MM-dd-HH-mm`), or after it and a number when there is one of that minute.
pub fn write_backup(
    disk: &dyn Disk,
    directory: &Path,
    stamp: &str,
    moment: Moment,
    records: &mut dyn Iterator<Item = Record>,
) -> Result<Backup, JournalError> {
    disk.create_dir(directory).map_err(JournalError::io("create", directory))?;
    // Above every number that is there, not just one that is free: the name of a removed one would make this the oldest.
    let taken = list_backups(disk, directory)?;
    let of_minute = taken.iter().map(|name| order(name)).filter(|(known, _)| *known == stamp);
    let name = match of_minute.map(|(_, number)| number).max() {
        None => format!("{BACKUP_PREFIX}{stamp}"),
        Some(number) => format!("{BACKUP_PREFIX}{stamp}-{:02}", number.saturating_add(1)),
    };
    let (path, temporary) = (directory.join(&name), directory.join(format!("{TEMPORARY_PREFIX}{name}")));
    let header = (crate::draw_id(), moment.position, moment.epoch);
    let written = match write_file(disk, &temporary, header, records, &|| true) {
        Ok(written) => {
            disk.rename(&temporary, &path).map_err(JournalError::io("name the backup", &path)).map(|()| written)
        }
        Err(Unfinished::Failed(error)) => Err(error),
        Err(Unfinished::Closing) => unreachable!("nothing asks a backup to stop"),
    };
    if written.is_err() {
        // Best effort: the next one of that name overwrites it, and cleaning removes it.
        let _ = disk.remove(&temporary);
    }
    let (bytes, records) = written?;
    disk.sync_dir(directory).map_err(JournalError::io("sync the directory", directory))?;
    Ok(Backup { name, bytes, records })
}

/// Removes the oldest backups beyond `keep`, and what interrupted ones left. The names of those removed come back.
pub fn prune_backups(disk: &dyn Disk, directory: &Path, keep: usize) -> Result<Vec<String>, JournalError> {
    let mut backups = list_backups(disk, directory)?;
    let surplus = backups.len().saturating_sub(keep.max(1));
    backups.truncate(surplus);
    let names = disk.list(directory).map_err(JournalError::io("list", directory))?;
    let unfinished = |name: &String| name.strip_prefix(TEMPORARY_PREFIX).is_some_and(is_backup_name);
    for name in backups.iter().chain(names.iter().filter(|name| unfinished(name))) {
        let path = directory.join(name);
        disk.remove(&path).map_err(JournalError::io("remove", &path))?;
    }
    Ok(backups)
}

/// Reads a backup: first all of it to see that it is sound, then once more to hand the records over.
pub fn read_backup(disk: &dyn Disk, path: &Path, restore: &mut dyn Restore) -> Result<Moment, JournalError> {
    let damaged = |damage: crate::snapshot::SnapshotDamage| JournalError::DamagedBackup {
        path: path.to_owned(),
        offset: damage.offset,
        reason: damage.reason,
    };
    let file = SnapshotFile::open_any(disk, path)?.map_err(damaged)?;
    let written = file.check()?.map_err(damaged)?;
    let read = file.restore(restore)?;
    if read != written {
        let reason = "it holds another number of records than it says";
        return Err(damaged(crate::snapshot::SnapshotDamage { offset: 0, reason }));
    }
    let info = file.info(read);
    Ok(Moment { position: info.position, epoch: info.epoch })
}

/// Hands the state of a stopped journal over. Refuses one that is damaged or in use; changes nothing.
pub fn read_journal(disk: &dyn Disk, directory: &Path, restore: &mut dyn Restore) -> Result<Moment, JournalError> {
    let listing = Listing::read(disk, directory)?;
    if listing.segments.is_empty() && listing.snapshots.is_empty() {
        return Err(JournalError::NoJournal(directory.to_owned()));
    }
    let _lock = take(disk, directory)?;
    let recovered = recover(disk, directory, restore)?.recovered;
    Ok(Moment { position: recovered.position, epoch: recovered.epoch })
}

/// Makes a new journal of these records in an empty or missing directory.
pub fn create_journal(
    disk: &dyn Disk,
    directory: &Path,
    moment: Moment,
    records: &mut dyn Iterator<Item = Record>,
) -> Result<SnapshotInfo, JournalError> {
    disk.create_dir(directory).map_err(JournalError::io("create", directory))?;
    if !disk.list(directory).map_err(JournalError::io("list", directory))?.is_empty() {
        return Err(JournalError::NotEmpty(directory.to_owned()));
    }
    let header = (crate::draw_id(), moment.position, moment.epoch);
    match write_snapshot(disk, directory, header, records, &|| true) {
        Ok(info) => Ok(info),
        Err(Unfinished::Failed(error)) => Err(error),
        Err(Unfinished::Closing) => unreachable!("nothing asks it to stop"),
    }
}

/// Keeps every daemon out of a directory for as long as the result lives.
pub fn take(disk: &dyn Disk, directory: &Path) -> Result<Box<dyn Send + Sync>, JournalError> {
    let path: PathBuf = directory.join("lock");
    match disk.lock(&path).map_err(JournalError::io("lock", &path))? {
        Lock::Held(lock) => Ok(lock),
        Lock::Busy(pid) => Err(JournalError::InUse { directory: directory.to_owned(), pid }),
    }
}
