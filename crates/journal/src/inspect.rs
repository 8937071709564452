//! `daybreak journal inspect`: what lies in a directory, for people. Changes nothing and takes no lock.

use std::fmt;
use std::path::{Path, PathBuf};

use node::storage::{Epoch, Position, Record, Recovered, RestoreError};

use crate::disk::Disk;
use crate::error::JournalError;
use crate::format::{BadHeader, FrameKind, HEADER_BYTES, is_zero, next_frame};
use crate::log::{Image, Listing, Log, group_header};
use crate::recover::{Snapshots, journal_id, judge, needed_images, notes};
use crate::snapshot::{SnapshotDamage, SnapshotFile, SnapshotInfo};

/// Everything a look at a directory brings to light.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The directory.
    pub directory: PathBuf,
    /// The process that works on it now.
    pub in_use_by: Option<u32>,
    /// Snapshots, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// What a start would find.
    pub start: Finding,
}

/// What a start on the directory would do.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It would go on from here.
    Sound(Recovered),
    /// It would refuse, for this reason.
    Refused(String),
}

/// One snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotReport {
    /// Its file.
    pub path: PathBuf,
    /// The state it holds.
    pub position: Position,
    /// What is in it, or where it is damaged.
    pub state: Result<SnapshotInfo, SnapshotDamage>,
}

/// One segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// First and last position in it.
    pub positions: Option<(Position, Position)>,
    /// Lowest and highest epoch in it.
    pub epochs: Option<(Epoch, Epoch)>,
    /// Sound groups.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// The byte after the last sound frame.
    pub used_bytes: u64,
    /// It is full and another follows.
    pub sealed: bool,
    /// Stretches that are neither sound frames nor unused, from byte to byte.
    pub damage: Vec<(u64, u64)>,
}

/// Looks at a directory on this machine.
pub fn inspect(disk: &dyn Disk, directory: &Path) -> Result<Inspection, JournalError> {
    let listing = Listing::read(disk, directory)?;
    if listing.segments.is_empty() && listing.snapshots.is_empty() {
        return Err(JournalError::NoJournal(directory.to_owned()));
    }
    let chosen = Snapshots::choose(disk, &listing)?;
    let mut snapshots = Vec::new();
    for (position, path) in &listing.snapshots {
        let state = match SnapshotFile::open(disk, path, *position)? {
            Ok(file) => file.check()?.map(|records| file.info(records)),
            Err(damage) => Err(damage),
        };
        snapshots.push(SnapshotReport { path: path.clone(), position: *position, state });
    }
    let mut images = Vec::new();
    for (number, path) in &listing.segments {
        images.push(Image::read(disk, *number, path)?);
    }
    let segments = match journal_id(&chosen, &images) {
        Some(journal) => images.iter().map(|image| report(image, journal)).collect(),
        None => images.iter().map(|image| report(image, [0; 16])).collect(),
    };
    drop(images);
    Ok(Inspection {
        directory: directory.to_owned(),
        in_use_by: disk.lock_holder(&directory.join("lock")),
        snapshots,
        segments,
        start: rehearse(disk, directory, &listing, &chosen)?,
    })
}

/// What a recovery would say, without its repairs.
fn rehearse(
    disk: &dyn Disk,
    directory: &Path,
    listing: &Listing,
    snapshots: &Snapshots,
) -> Result<Finding, JournalError> {
    let base = snapshots.base();
    let images = needed_images(disk, listing, base.0, snapshots)?;
    let journal = journal_id(snapshots, &images).unwrap_or_default();
    let mut records = snapshots.sound.last().map_or(0, |snapshot| snapshot.records);
    let walked = Log { directory, journal, images: &images, base }.walk(&mut |met| {
        records += u64::from(met.header.record_count);
        Ok(())
    });
    Ok(match judge(directory, snapshots, base, walked) {
        Ok(walk) => {
            let head = walk.head.filter(|head| head.position > base.0);
            Finding::Sound(Recovered {
                position: head.map_or(base.0, |head| head.position),
                epoch: head.map_or(base.1, |head| head.epoch),
                records,
                notes: notes(snapshots, base.0, &walk),
            })
        }
        Err(error) => Finding::Refused(error.to_string()),
    })
}

pub(crate) fn report(image: &Image, journal: crate::format::JournalId) -> SegmentReport {
    let mut report =
        SegmentReport { path: image.path.clone(), bytes: image.bytes.len() as u64, ..SegmentReport::default() };
    if matches!(image.header, Err(BadHeader::Damaged)) {
        report.damage.push((0, HEADER_BYTES as u64));
    }
    let mut at = HEADER_BYTES;
    report.used_bytes = at as u64;
    while let Some(frame) = next_frame(image.place(journal), &image.bytes, at) {
        if !is_zero(&image.bytes[at..frame.offset]) {
            report.damage.push((at as u64, frame.offset as u64));
        }
        if let Some(header) = group_header(&frame) {
            let (first, _) = report.positions.unwrap_or((header.position, header.position));
            let (low, high) = report.epochs.unwrap_or((header.epoch, header.epoch));
            report.positions = Some((first, header.position));
            report.epochs = Some((low.min(header.epoch), high.max(header.epoch)));
            report.groups += 1;
            report.records += u64::from(header.record_count);
        }
        report.sealed |= frame.kind == FrameKind::Seal;
        at = frame.end;
        report.used_bytes = at as u64;
    }
    if let Some(rest) = image.bytes.get(at..)
        && !is_zero(rest)
        && !report.sealed
    {
        let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
        report.damage.push((at as u64, (image.bytes.len() - zeros) as u64));
    }
    report
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "journal {}", self.directory.display())?;
        if let Some(pid) = self.in_use_by {
            writeln!(f, "in use by process {pid}; what it has not synced yet may look unfinished here")?;
        }
        for snapshot in &self.snapshots {
            let name = snapshot.path.file_name().unwrap_or_default().to_string_lossy();
            match &snapshot.state {
                Ok(info) => {
                    writeln!(f, "{name}  {} records, {} bytes, epoch {}", info.records, info.bytes, info.epoch)?
                }
                Err(damage) => writeln!(f, "{name}  DAMAGED at byte {}: {}", damage.offset, damage.reason)?,
            }
        }
        for segment in &self.segments {
            segment.fmt(f)?;
        }
        match &self.start {
            Finding::Sound(recovered) => {
                writeln!(f, "a start goes on from position {}, epoch {}", recovered.position, recovered.epoch)?;
                recovered.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
            }
            Finding::Refused(reason) => writeln!(f, "a start refuses: {reason}"),
        }
    }
}

impl fmt::Display for SegmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        match (self.positions, self.epochs) {
            (Some((first, last)), Some((low, high))) => write!(
                f,
                "{name}  positions {first} to {last}, epochs {low} to {high}, {} groups, {} records, {} of {} bytes used{}",
                self.groups,
                self.records,
                self.used_bytes,
                self.bytes,
                if self.sealed { ", sealed" } else { "" }
            )?,
            _ => write!(f, "{name}  prepared, no groups")?,
        }
        for (from, to) in &self.damage {
            write!(f, "; UNREADABLE from byte {from} to {to}")?;
        }
        writeln!(f)
    }
}

/// Takes every record and keeps none.
pub(crate) fn discard(_: Record) -> Result<(), RestoreError> {
    Ok(())
}
