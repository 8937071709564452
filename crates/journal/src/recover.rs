//! Recovery: the newest sound snapshot, the groups after it, and the repairs that make the log's end fit to be written on.
//!
//! Nothing is written before the whole log has been read and found sound. The groups at the end that nothing proves to be
//! durable are then written once more and synced: if the process before this one ended because a sync failed, the system
//! may hold them in memory only and believe them clean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::group;
use node::storage::{Epoch, Position, Recovered, Restore};

use crate::disk::{Disk, DiskFile};
use crate::error::{Corruption, JournalError};
use crate::format::{FileHeader, FileKind, HEADER_BYTES, JournalId, is_zero};
use crate::log::{Head, Image, Listing, Log, LogEnd, Met, Walk};
use crate::segment::{Segment, prepare};
use crate::snapshot::{SnapshotDamage, SnapshotFile, SnapshotInfo};

/// What the running journal continues from.
pub(crate) struct Recovery {
    pub(crate) recovered: Recovered,
    pub(crate) journal: Option<JournalId>,
    /// The segment to go on writing in.
    pub(crate) active: Option<Segment>,
    /// Prepared segments after it.
    pub(crate) spares: Vec<Segment>,
    /// Older segments and the last position in each.
    pub(crate) sealed: Vec<(PathBuf, Position)>,
    /// Checksum of the newest group; 0 without one.
    pub(crate) previous: u32,
    /// Sound snapshots, oldest first.
    pub(crate) snapshots: Vec<SnapshotInfo>,
    /// The highest segment number in use.
    pub(crate) last_number: u64,
    /// Bytes of groups after the newest snapshot.
    pub(crate) tail_bytes: u64,
}

/// The snapshots of a directory, judged.
#[derive(Default)]
pub(crate) struct Snapshots {
    pub(crate) newest: Option<SnapshotFile>,
    pub(crate) sound: Vec<SnapshotInfo>,
    pub(crate) damaged: Vec<(Position, PathBuf, SnapshotDamage)>,
}

impl Snapshots {
    /// Finds the newest sound snapshot. Those before it are taken as they are: they are only a fallback, and are checked
    /// when they are needed.
    pub(crate) fn choose(disk: &dyn Disk, listing: &Listing) -> Result<Snapshots, JournalError> {
        let mut chosen = Snapshots::default();
        for (position, path) in listing.snapshots.iter().rev() {
            let file = match SnapshotFile::open(disk, path, *position)? {
                Ok(file) => file,
                Err(damage) => {
                    chosen.damaged.push((*position, path.clone(), damage));
                    continue;
                }
            };
            if chosen.newest.is_some() {
                chosen.sound.insert(0, file.info(0));
                continue;
            }
            match file.check()? {
                Ok(records) => {
                    chosen.sound.insert(0, file.info(records));
                    chosen.newest = Some(file);
                }
                Err(damage) => chosen.damaged.push((*position, path.clone(), damage)),
            }
        }
        Ok(chosen)
    }

    pub(crate) fn base(&self) -> (Position, Epoch) {
        self.newest.as_ref().map_or((Position::NONE, Epoch(0)), |file| {
            (Position(file.header.number), crate::format::snapshot_epoch(&file.header))
        })
    }
}

/// The journal's id, from the first file that tells it.
pub(crate) fn journal_id(snapshots: &Snapshots, images: &[Image]) -> Option<JournalId> {
    let from_snapshot = snapshots.newest.as_ref().map(|file| file.header.journal);
    from_snapshot.or_else(|| images.iter().find_map(|image| image.header.ok()).map(|header| header.journal))
}

/// Reads the segments from the one that holds the group after `base`, oldest first.
pub(crate) fn needed_images(
    disk: &dyn Disk,
    listing: &Listing,
    base: Position,
    snapshots: &Snapshots,
) -> Result<Vec<Image>, JournalError> {
    let mut images: Vec<Image> = Vec::new();
    for (number, path) in listing.segments.iter().rev() {
        let image = Image::read(disk, *number, path)?;
        let journal = snapshots.newest.as_ref().map(|file| file.header.journal);
        let journal = journal.or_else(|| image.header.ok().map(|header| header.journal));
        let first = journal.and_then(|journal| image.first_group(journal));
        images.insert(0, image);
        if first.is_some_and(|first| first <= base.next()) {
            break;
        }
    }
    Ok(images)
}

/// Recovers a directory and makes it ready to be written on.
pub(crate) fn recover(disk: &dyn Disk, directory: &Path, restore: &mut dyn Restore) -> Result<Recovery, JournalError> {
    let listing = Listing::read(disk, directory)?;
    let snapshots = Snapshots::choose(disk, &listing)?;
    let base = snapshots.base();
    let images = needed_images(disk, &listing, base.0, &snapshots)?;
    let journal = journal_id(&snapshots, &images);
    let mut records = match &snapshots.newest {
        Some(file) => file.restore(restore)?,
        None => 0,
    };
    let mut tail_bytes = 0;
    let log = Log { directory, journal: journal.unwrap_or_default(), images: &images, base };
    let walked = log.walk(&mut |met| {
        tail_bytes += met.frame.body.len() as u64;
        records += u64::from(met.header.record_count);
        restore_group(&met, restore)
    });
    let walk = judge(directory, &snapshots, base, walked)?;
    let head = walk.head.filter(|head| head.position > base.0);
    let recovered = Recovered {
        position: head.map_or(base.0, |head| head.position),
        epoch: head.map_or(base.1, |head| head.epoch),
        records,
        notes: notes(&snapshots, base.0, &walk),
    };
    for path in &listing.temporary {
        disk.remove(path).map_err(JournalError::io("remove", path))?;
    }
    let skipped = &listing.segments[..listing.segments.len() - images.len()];
    let sealed = skipped.iter().map(|(_, path)| (path.clone(), base.0)).collect();
    let mut recovery = Recovery {
        recovered,
        journal,
        active: None,
        spares: Vec::new(),
        sealed,
        previous: walk.head.map_or(0, |head| head.checksum),
        snapshots: snapshots.sound,
        last_number: listing.segments.last().map_or(0, |(number, _)| *number),
        tail_bytes,
    };
    if let Some(journal) = journal {
        repair(disk, directory, journal, &images, &walk, &mut recovery)?;
    }
    Ok(recovery)
}

fn restore_group(met: &Met<'_>, restore: &mut dyn Restore) -> Result<(), JournalError> {
    let refused = |source| JournalError::Refused {
        path: met.path.to_owned(),
        offset: met.frame.offset as u64,
        position: met.header.position,
        source,
    };
    let (_, mut rest) = group::decode_header(met.frame.body).map_err(|error| malformed(met.path, error))?;
    for _ in 0..met.header.record_count {
        let record = group::decode_record(&mut rest).map_err(|error| malformed(met.path, error))?;
        restore.restore(record).map_err(refused)?;
    }
    Ok(())
}

fn malformed(path: &Path, error: group::MalformedGroup) -> JournalError {
    JournalError::io("decode a group of", path)(std::io::Error::other(error))
}

/// A damaged snapshot is no loss if the log reaches at least as far from an older one; otherwise it is the corruption
/// to report, whatever the log itself looks like without it.
pub(crate) fn judge(
    directory: &Path,
    snapshots: &Snapshots,
    base: (Position, Epoch),
    walked: Result<Walk, JournalError>,
) -> Result<Walk, JournalError> {
    let reached = match &walked {
        Ok(walk) => walk.head.map_or(base.0, |head: Head| head.position.max(base.0)),
        Err(JournalError::Corrupt(corruption)) => Position(corruption.position.0 - 1),
        Err(_) => return walked,
    };
    match snapshots.damaged.iter().find(|(position, ..)| *position > reached) {
        Some((_, path, damage)) => Err(JournalError::Corrupt(Corruption {
            directory: directory.to_owned(),
            path: path.clone(),
            offset: damage.offset,
            position: reached.next(),
            reason: format!("{}, and no older snapshot reaches it with the groups that are left", damage.reason),
        })),
        None => walked,
    }
}

pub(crate) fn notes(snapshots: &Snapshots, base: Position, walk: &Walk) -> Vec<String> {
    let damaged = snapshots.damaged.iter().map(|(_, path, damage)| {
        format!(
            "snapshot `{}` is damaged at byte {}: {}; an older state and the groups since were used, and nothing is lost",
            path.display(),
            damage.offset,
            damage.reason
        )
    });
    let behind = walk.head.filter(|head| head.position < base).map(|head| {
        format!("the log ends at position {}, before the snapshot at {base}: the disk lost synced data", head.position)
    });
    damaged.chain(behind).chain(walk.notes.iter().cloned()).collect()
}

/// Cuts the torn tail, makes unusable spares anew, and proves the last groups.
fn repair(
    disk: &dyn Disk,
    directory: &Path,
    journal: JournalId,
    images: &[Image],
    walk: &Walk,
    recovery: &mut Recovery,
) -> Result<(), JournalError> {
    let end = walk.end;
    for (index, last) in &walk.last_in_image {
        if end.is_none_or(|end| *index < end.image) {
            recovery.sealed.push((images[*index].path.clone(), *last));
        }
    }
    let mut spare_from = 0;
    if let Some(end) = end {
        let image = &images[end.image];
        spare_from = end.image + 1;
        let file = disk.open(&image.path, true).map_err(JournalError::io("open", &image.path))?;
        let proven = walk.head.is_none_or(|head| head.position <= walk.claimed);
        mend(&*file, image, end, proven)?;
        if end.sealed {
            let last = walk.head.map_or(recovery.recovered.position, |head| head.position);
            recovery.sealed.push((image.path.clone(), last));
        } else {
            recovery.active = Some(segment_of(image, file, end.offset as u64));
        }
    }
    for (index, image) in images.iter().enumerate().skip(spare_from) {
        let used = image.bytes.get(HEADER_BYTES..).is_some_and(|rest| !is_zero(rest));
        if used || walk.unusable.contains(&index) {
            let capacity = image.header.map_or(image.bytes.len() as u64, |header| header.extra);
            let capacity = capacity.max(crate::MIN_SEGMENT_BYTES);
            let header = FileHeader { kind: FileKind::Segment, journal, number: image.number, extra: capacity };
            recovery.spares.push(prepare(disk, directory, header)?);
        } else {
            let file = disk.open(&image.path, true).map_err(JournalError::io("open", &image.path))?;
            recovery.spares.push(segment_of(image, file, HEADER_BYTES as u64));
        }
    }
    Ok(())
}

fn segment_of(image: &Image, file: Arc<dyn DiskFile>, offset: u64) -> Segment {
    let capacity = image.header.map_or(0, |header| header.extra).max(image.bytes.len() as u64);
    Segment { number: image.number, path: image.path.clone(), file, offset, capacity }
}

/// Writes zeros over a torn tail, and the unproven groups once more.
fn mend(file: &dyn DiskFile, image: &Image, end: LogEnd, proven: bool) -> Result<(), JournalError> {
    let rest = &image.bytes[end.offset.min(image.bytes.len())..];
    let torn = !end.sealed && !is_zero(rest);
    let write = |bytes: &[u8], offset: usize| {
        file.write_all_at(bytes, offset as u64).map_err(JournalError::io("repair", &image.path))
    };
    if !proven {
        write(&image.bytes[HEADER_BYTES..end.offset], HEADER_BYTES)?;
    }
    if torn {
        write(&vec![0; rest.len()], end.offset)?;
    }
    if torn || !proven {
        file.sync_data().map_err(JournalError::io("sync", &image.path))?;
    }
    Ok(())
}
