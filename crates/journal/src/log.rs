//! Reading the segments: where the log ends, and whether what is unreadable was lost or was never finished.
//!
//! Groups follow each other without gaps, and each names the checksum of the one before. Where that chain breaks, the
//! reader looks ahead. Groups carry the position that was durable before they were written, and after a sync with nothing
//! waiting a mark says so outright. If anything sound further on says that the missing groups were durable, they are lost:
//! that is corruption, and the reader refuses. If nothing does, the process ended in the middle of a write that was never
//! acknowledged: a torn tail, which is cut. Several groups are written before one sync and the device may store them in
//! any order, so a sound group after a hole alone proves nothing; its `durable_before` does.

use std::path::{Path, PathBuf};

use node::group::{self, GroupHeader};
use node::storage::{Epoch, Position};

use crate::disk::Disk;
use crate::error::{Corruption, JournalError};
use crate::format::{
    BadHeader, FileHeader, FileKind, Found, Frame, FrameKind, HEADER_BYTES, JournalId, NamedFile, Place, VERSION,
    frame_at, is_zero, next_frame, parse_name, read_mark, read_seal,
};

/// The files of a journal's directory, by name only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Segments, oldest first.
    pub(crate) segments: Vec<(u64, PathBuf)>,
    /// Snapshots, oldest first.
    pub(crate) snapshots: Vec<(Position, PathBuf)>,
    /// Leftovers of unfinished work.
    pub(crate) temporary: Vec<PathBuf>,
}

impl Listing {
    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Listing, JournalError> {
        let mut listing = Listing::default();
        for name in disk.list(directory).map_err(JournalError::io("list", directory))? {
            let path = directory.join(&name);
            match parse_name(&name) {
                NamedFile::Segment(number) => listing.segments.push((number, path)),
                NamedFile::Snapshot(position) => listing.snapshots.push((position, path)),
                NamedFile::Temporary => listing.temporary.push(path),
                NamedFile::Other => {}
            }
        }
        listing.segments.sort();
        listing.snapshots.sort();
        Ok(listing)
    }
}

/// A segment in memory.
pub(crate) struct Image {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Result<FileHeader, BadHeader>,
}

impl Image {
    pub(crate) fn read(disk: &dyn Disk, number: u64, path: &Path) -> Result<Image, JournalError> {
        let bytes = disk.open(path, false).and_then(|file| file.read_all()).map_err(JournalError::io("read", path))?;
        let header = match FileHeader::decode(FileKind::Segment, &bytes) {
            Ok(header) if header.number != number => Err(BadHeader::Damaged),
            Err(BadHeader::Newer(version)) => {
                return Err(JournalError::Newer { path: path.to_owned(), version, newest: VERSION });
            }
            other => other,
        };
        Ok(Image { number, path: path.to_owned(), bytes, header })
    }

    pub(crate) fn place(&self, journal: JournalId) -> Place {
        Place { journal, number: self.number }
    }

    /// The position of the first sound group.
    pub(crate) fn first_group(&self, journal: JournalId) -> Option<Position> {
        let mut at = HEADER_BYTES;
        while let Some(frame) = next_frame(self.place(journal), &self.bytes, at) {
            if let Some(header) = group_header(&frame) {
                return Some(header.position);
            }
            at = frame.end;
        }
        None
    }
}

/// The fields of a group frame.
pub(crate) fn group_header(frame: &Frame<'_>) -> Option<GroupHeader> {
    let header = (frame.kind == FrameKind::Group).then(|| group::decode_header(frame.body))?;
    header.ok().map(|(header, _)| header)
}

/// The newest group of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: Position,
    pub(crate) epoch: Epoch,
    pub(crate) checksum: u32,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Index of the image.
    pub(crate) image: usize,
    /// The byte after the last sound frame.
    pub(crate) offset: usize,
    /// The segment is sealed: the next frame goes into the next segment.
    pub(crate) sealed: bool,
}

/// A torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    /// Bytes after the log's end that are not zero, up to the last one.
    pub(crate) bytes: usize,
    /// Sound groups among them, which nobody was told about.
    pub(crate) groups: usize,
}

/// What reading the log to its end brought to light.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) head: Option<Head>,
    pub(crate) end: Option<LogEnd>,
    /// The highest position that something sound calls durable.
    pub(crate) claimed: Position,
    pub(crate) torn: Option<Torn>,
    /// Images whose header is unreadable but which were never used.
    pub(crate) unusable: Vec<usize>,
    pub(crate) notes: Vec<String>,
    /// For each image that groups were read from: the last position in it.
    pub(crate) last_in_image: Vec<(usize, Position)>,
}

/// A group as the walk meets it.
pub(crate) struct Met<'a> {
    pub(crate) path: &'a Path,
    pub(crate) frame: Frame<'a>,
    pub(crate) header: GroupHeader,
}

/// Consecutive segments in memory, and the state they build on.
pub(crate) struct Log<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) journal: JournalId,
    pub(crate) images: &'a [Image],
    /// The position and epoch of the snapshot in use; groups up to there are not needed.
    pub(crate) base: (Position, Epoch),
}

/// What lies beyond a break in the chain.
#[derive(Debug, Default)]
struct Ahead {
    first_group: Option<(usize, usize, Position)>,
    claimed: Position,
    groups: usize,
    bytes: usize,
}

impl Log<'_> {
    /// Reads to the end of the log and shows every group after the base to `visit`, in order.
    pub(crate) fn walk(
        &self,
        visit: &mut dyn FnMut(Met<'_>) -> Result<(), JournalError>,
    ) -> Result<Walk, JournalError> {
        let mut walk = Walk { claimed: self.base.0, ..Walk::default() };
        let mut at = Some((0, HEADER_BYTES));
        while let Some((index, offset)) = at {
            at = match self.images.get(index) {
                Some(image) if image.header.is_err() || self.is_foreign(image) => {
                    return Err(self.unusable(&walk, index));
                }
                Some(_) => self.step(&mut walk, index, offset, visit)?,
                None => None,
            };
        }
        Ok(walk)
    }

    fn is_foreign(&self, image: &Image) -> bool {
        image.header.is_ok_and(|header| header.journal != self.journal)
    }

    fn known(&self, walk: &Walk) -> Position {
        walk.head.map_or(self.base.0, |head| head.position.max(self.base.0))
    }

    /// Takes one frame, or handles what is there instead; where to go on.
    fn step(
        &self,
        walk: &mut Walk,
        index: usize,
        offset: usize,
        visit: &mut dyn FnMut(Met<'_>) -> Result<(), JournalError>,
    ) -> Result<Option<(usize, usize)>, JournalError> {
        let image = &self.images[index];
        let frame = match frame_at(image.place(self.journal), &image.bytes, offset) {
            Found::Frame(frame) => frame,
            Found::Nothing | Found::Damage => return self.broken(walk, index, offset),
        };
        match frame.kind {
            FrameKind::Group => {
                let Some(header) = group_header(&frame).filter(|header| self.follows(walk, header)) else {
                    return self.broken(walk, index, offset);
                };
                self.take_group(walk, index, frame, header, visit)?;
            }
            FrameKind::Mark => match read_mark(frame.body) {
                Some(durable) if durable <= self.known(walk) => walk.claimed = walk.claimed.max(durable),
                _ => return self.broken(walk, index, offset),
            },
            FrameKind::Seal => match read_seal(frame.body) {
                Some((last, next)) if last <= self.known(walk) => {
                    return self.follow_seal(walk, index, frame, next);
                }
                _ => return self.broken(walk, index, offset),
            },
            FrameKind::Block | FrameKind::End => return self.broken(walk, index, offset),
        }
        walk.end = Some(LogEnd { image: index, offset: frame.end, sealed: false });
        Ok(Some((index, frame.end)))
    }

    /// Whether a group is the one that comes next. Among groups that the base covers a gap does no harm.
    fn follows(&self, walk: &Walk, header: &GroupHeader) -> bool {
        let wanted = self.base.0.next();
        match walk.head {
            None => header.position <= wanted,
            Some(head) => {
                let next = header.position == head.position.next();
                let over_gap = header.position > head.position && header.position <= wanted;
                (next || over_gap) && header.link.previous == head.checksum && header.epoch >= head.epoch
            }
        }
    }

    fn take_group(
        &self,
        walk: &mut Walk,
        index: usize,
        frame: Frame<'_>,
        header: GroupHeader,
        visit: &mut dyn FnMut(Met<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        if header.position > self.base.0 {
            visit(Met { path: &self.images[index].path, frame, header })?;
        }
        let checksum = group::checksum(frame.body);
        walk.head = Some(Head { position: header.position, epoch: header.epoch, checksum });
        walk.claimed = walk.claimed.max(header.link.durable_before);
        match walk.last_in_image.last_mut() {
            Some((last, position)) if *last == index => *position = header.position,
            _ => walk.last_in_image.push((index, header.position)),
        }
        Ok(())
    }

    fn follow_seal(
        &self,
        walk: &mut Walk,
        index: usize,
        seal: Frame<'_>,
        next: u64,
    ) -> Result<Option<(usize, usize)>, JournalError> {
        walk.end = Some(LogEnd { image: index, offset: seal.end, sealed: true });
        match self.images.iter().position(|image| image.number == next) {
            Some(following) => Ok(Some((following, HEADER_BYTES))),
            None => {
                Err(self.corruption(walk, index, seal.offset, format!("segment {next}, which follows, is missing")))
            }
        }
    }

    /// The chain does not go on at this offset: decides between a resumption, the end of the log, and corruption.
    fn broken(&self, walk: &mut Walk, index: usize, offset: usize) -> Result<Option<(usize, usize)>, JournalError> {
        let ahead = self.look_ahead(index, offset);
        let known = self.known(walk);
        let behind_base = walk.head.is_none_or(|head| head.position < self.base.0);
        if let Some((image, resume, position)) = ahead.first_group
            && behind_base
            && position <= self.base.0.next()
            && walk.head.is_none_or(|head| position > head.position)
        {
            if walk.head.is_some() || (image, resume) != (index, offset) {
                walk.notes.push(format!(
                    "`{}` is damaged at byte {offset}, in groups that the snapshot at position {} holds as well; nothing is lost",
                    self.images[index].path.display(),
                    self.base.0
                ));
            }
            walk.head = None;
            return Ok(Some((image, resume)));
        }
        if ahead.claimed > known {
            let reason = format!(
                "group {} is unreadable or missing, and what follows says that groups up to {} were durable",
                known.next(),
                ahead.claimed
            );
            return Err(self.corruption(walk, index, offset, reason));
        }
        let image = &self.images[index];
        let reserved = image.header.map_or(0, |header| header.extra);
        if (image.bytes.len() as u64) < reserved {
            let reason =
                format!("the file ends here, and {reserved} bytes were reserved: groups may have been cut off");
            return Err(self.corruption(walk, index, image.bytes.len(), reason));
        }
        let started = offset > HEADER_BYTES || ahead.bytes > 0 || walk.end.is_none();
        if started {
            walk.end = Some(LogEnd { image: index, offset, sealed: false });
        }
        if ahead.bytes > 0 {
            walk.torn = Some(Torn { bytes: ahead.bytes, groups: ahead.groups });
            walk.notes.push(format!(
                "`{}` ended in an unfinished write: {} bytes from byte {offset} on, {} of them whole groups, were cut; nobody had been told that they were stored",
                self.images[index].path.display(),
                ahead.bytes,
                ahead.groups
            ));
        }
        for later in index + 1..self.images.len() {
            if self.images[later].header.is_err() {
                walk.unusable.push(later);
            }
        }
        Ok(None)
    }

    /// A segment that comes next in use cannot be read. Segments get their name after their header is on the device, so an
    /// interrupted start does not leave one like this.
    fn unusable(&self, walk: &Walk, index: usize) -> JournalError {
        let reason = if self.is_foreign(&self.images[index]) {
            "the segment belongs to another journal"
        } else {
            "the segment's header is unreadable, and its groups cannot be told from another journal's"
        };
        self.corruption(walk, index, 0, reason.to_owned())
    }

    fn look_ahead(&self, index: usize, offset: usize) -> Ahead {
        let mut ahead = Ahead::default();
        for (number, image) in self.images.iter().enumerate().skip(index) {
            let from = if number == index { offset } else { HEADER_BYTES };
            let rest = image.bytes.get(from..).unwrap_or_default();
            if is_zero(rest) {
                continue;
            }
            ahead.bytes += rest.len() - rest.iter().rev().take_while(|byte| **byte == 0).count();
            let mut at = from;
            while let Some(frame) = next_frame(image.place(self.journal), &image.bytes, at) {
                if let Some(header) = group_header(&frame) {
                    ahead.groups += 1;
                    ahead.claimed = ahead.claimed.max(header.link.durable_before);
                    ahead.first_group.get_or_insert((number, frame.offset, header.position));
                }
                if frame.kind == FrameKind::Mark {
                    ahead.claimed = ahead.claimed.max(read_mark(frame.body).unwrap_or_default());
                }
                at = frame.end;
            }
        }
        ahead
    }

    fn corruption(&self, walk: &Walk, index: usize, offset: usize, reason: String) -> JournalError {
        JournalError::Corrupt(Corruption {
            directory: self.directory.to_owned(),
            path: self.images[index].path.clone(),
            offset: offset as u64,
            position: self.known(walk).next(),
            reason,
        })
    }
}
