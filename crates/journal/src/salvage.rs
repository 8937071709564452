//! `daybreak journal salvage`: copies what is sound of a damaged journal into a new directory; and compaction by key.
//!
//! Both end in a snapshot of the latest value of every key. Records are absolute, so groups after a hole still mean what
//! they say; what the lost groups said about other keys is gone, and the report names the positions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use node::group;
use node::storage::{Epoch, Position, Record, RestoreError};

use crate::backup::EPOCHS_SKIPPED;
use crate::disk::{Disk, Lock};
use crate::error::JournalError;
use crate::format::{JournalId, next_frame};
use crate::inspect::{discard, report};
use crate::log::{Image, Listing};
use crate::recover::{Snapshots, journal_id, recover};
use crate::snapshot::{SnapshotFile, SnapshotInfo, Unfinished, write_snapshot};

/// What a salvage could and could not copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The new journal's only file.
    pub snapshot: SnapshotInfo,
    /// Ranges of positions, first to last, whose groups are lost.
    pub lost: Vec<(Position, Position)>,
    /// Other losses, one sentence each.
    pub notes: Vec<String>,
}

/// What a compaction left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The snapshot that replaced everything before it.
    pub snapshot: SnapshotInfo,
    /// How many files were removed.
    pub removed: usize,
}

type Tables = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

fn put(tables: &mut Tables, record: Record) {
    let key = (record.table, record.key);
    match record.value {
        Some(value) => tables.insert(key, value),
        None => tables.remove(&key),
    };
}

fn records(tables: Tables) -> impl Iterator<Item = Record> {
    tables.into_iter().map(|((table, key), value)| Record { table, key, value: Some(value) })
}

/// Copies what is sound of the journal in `from` into the empty or missing directory `to`. `from` is not changed and must
/// not be in use.
pub fn salvage(disk: &dyn Disk, from: &Path, to: &Path) -> Result<Salvaged, JournalError> {
    let listing = Listing::read(disk, from)?;
    if listing.segments.is_empty() && listing.snapshots.is_empty() {
        return Err(JournalError::NoJournal(from.to_owned()));
    }
    if let Some(pid) = disk.lock_holder(&from.join("lock")) {
        return Err(JournalError::InUse { directory: from.to_owned(), pid: Some(pid) });
    }
    disk.create_dir(to).map_err(JournalError::io("create", to))?;
    if !disk.list(to).map_err(JournalError::io("list", to))?.is_empty() {
        return Err(JournalError::NotEmpty(to.to_owned()));
    }
    let snapshots = Snapshots::choose(disk, &listing)?;
    let mut gathered = Gathered { position: snapshots.base().0, epoch: snapshots.base().1, ..Gathered::default() };
    gathered.take_snapshots(disk, &snapshots)?;
    let mut images = Vec::new();
    for (number, path) in &listing.segments {
        images.push(Image::read(disk, *number, path)?);
    }
    let journal = journal_id(&snapshots, &images).or(gathered.journal);
    let journal = journal.ok_or_else(|| JournalError::NoJournal(from.to_owned()))?;
    for image in &images {
        gathered.take_groups(image, journal);
    }
    let Gathered { tables, position, mut epoch, lost, notes, .. } = gathered;
    if !lost.is_empty() || !notes.is_empty() {
        // Reigns whose groups are lost may have shown higher epochs to engines, which would refuse a lower one.
        epoch.0 += EPOCHS_SKIPPED;
    }
    let snapshot = finish(disk, to, (journal, position, epoch), tables)?;
    Ok(Salvaged { snapshot, lost, notes })
}

#[derive(Default)]
struct Gathered {
    tables: Tables,
    position: Position,
    epoch: Epoch,
    journal: Option<JournalId>,
    lost: Vec<(Position, Position)>,
    notes: Vec<String>,
}

impl Gathered {
    /// Takes the newest sound snapshot; without one, what is sound of the newest damaged one, older ones first.
    fn take_snapshots(&mut self, disk: &dyn Disk, snapshots: &Snapshots) -> Result<(), JournalError> {
        if let Some(file) = &snapshots.newest {
            let tables = &mut self.tables;
            let mut take = |record: Record| -> Result<(), RestoreError> {
                put(tables, record);
                Ok(())
            };
            file.restore(&mut take)?;
        }
        for (position, path, damage) in snapshots.damaged.iter().rev().filter(|(at, ..)| *at > snapshots.base().0) {
            self.notes.push(format!(
                "snapshot `{}` is damaged at byte {}: {}; its readable blocks were used",
                path.display(),
                damage.offset,
                damage.reason
            ));
            let Ok(file) = SnapshotFile::open(disk, path, *position)? else { continue };
            self.journal.get_or_insert(file.header.journal);
            for record in file.sound_records()? {
                // What an older state knows is kept where the damaged blocks are silent.
                put(&mut self.tables, record);
            }
        }
        Ok(())
    }

    fn take_groups(&mut self, image: &Image, journal: JournalId) {
        for (from, to) in report(image, journal).damage {
            self.notes.push(format!("`{}` is unreadable from byte {from} to {to}", image.path.display()));
        }
        let mut at = 0;
        while let Some(frame) = next_frame(image.place(journal), &image.bytes, at) {
            at = frame.end;
            let Ok((group, _)) = group::decode(frame.body) else { continue };
            if frame.kind != crate::format::FrameKind::Group || group.position <= self.position {
                continue;
            }
            if group.position > self.position.next() {
                self.lost.push((self.position.next(), Position(group.position.0 - 1)));
            }
            (self.position, self.epoch) = (group.position, group.epoch.max(self.epoch));
            group.records.into_iter().for_each(|record| put(&mut self.tables, record));
        }
    }
}

fn finish(
    disk: &dyn Disk,
    directory: &Path,
    header: (JournalId, Position, Epoch),
    tables: Tables,
) -> Result<SnapshotInfo, JournalError> {
    match write_snapshot(disk, directory, header, &mut records(tables), &|| true) {
        Ok(info) => Ok(info),
        Err(Unfinished::Failed(error)) => Err(error),
        Err(Unfinished::Closing) => unreachable!("nothing asks a salvage to stop"),
    }
}

/// Replaces a stopped journal's files by one snapshot with the latest value of every key. Refuses a damaged journal, and
/// one that is in use.
pub fn compact(disk: &dyn Disk, directory: &Path) -> Result<Compacted, JournalError> {
    let path = directory.join("lock");
    let _lock = match disk.lock(&path).map_err(JournalError::io("lock", &path))? {
        Lock::Held(lock) => lock,
        Lock::Busy(pid) => return Err(JournalError::InUse { directory: directory.to_owned(), pid }),
    };
    let mut tables = Tables::new();
    let recovery = recover(disk, directory, &mut |record: Record| {
        put(&mut tables, record);
        Ok(())
    })?;
    let journal = recovery.journal.ok_or_else(|| JournalError::NoJournal(directory.to_owned()))?;
    let header = (journal, recovery.recovered.position, recovery.recovered.epoch);
    let snapshot = finish(disk, directory, header, tables)?;
    // Only a snapshot that reads back soundly may replace what it was made from.
    let reread = Snapshots::choose(disk, &Listing::read(disk, directory)?)?;
    if reread.base().0 != snapshot.position {
        let path: PathBuf = snapshot.path;
        return Err(JournalError::io("read back", &path)(std::io::Error::other("the new snapshot is not sound")));
    }
    let listing = Listing::read(disk, directory)?;
    let old_snapshots = listing.snapshots.iter().filter(|(position, _)| *position != snapshot.position);
    let files = listing.segments.iter().map(|(_, path)| path).chain(old_snapshots.map(|(_, path)| path));
    let mut removed = 0;
    for path in files {
        disk.remove(path).map_err(JournalError::io("remove", path))?;
        removed += 1;
    }
    disk.sync_dir(directory).map_err(JournalError::io("sync the directory", directory))?;
    recover(disk, directory, &mut discard)?;
    Ok(Compacted { snapshot, removed })
}
