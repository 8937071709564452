//! Snapshots: the records of one frozen view in a file of their own.
//!
//! A snapshot is written under a temporary name, synced, renamed, and the directory synced; only then does it count, and
//! only then may what it replaces be removed. It is read twice at recovery: once to see that every block and the end are
//! sound, once to hand the records over, so that a damaged snapshot is passed over before it has left a trace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::group;
use node::storage::{Epoch, Position, Record, Restore};

use crate::disk::{Disk, DiskFile};
use crate::error::JournalError;
use crate::format::{
    BadHeader, FRAME_BYTES, FileHeader, FileKind, Found, Frame, FrameKind, HEADER_BYTES, JournalId, Place, VERSION,
    frame_bytes, frame_in_piece, put_frame, read_u64, snapshot_epoch, snapshot_name,
};

/// Records are packed into blocks of about this size.
const BLOCK_BYTES: usize = 256 << 10;
/// A sync after this many bytes keeps the device's queue short for the groups that are synced meanwhile.
const SYNC_EVERY_BYTES: usize = 1 << 20;

/// A finished snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The state it holds.
    pub position: Position,
    /// The epoch of the group at that position.
    pub epoch: Epoch,
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// How many records it holds.
    pub records: u64,
}

/// What makes the writing of a snapshot stop early.
pub(crate) enum Unfinished {
    /// The journal is being closed.
    Closing,
    /// The system refused; nothing of the snapshot remains.
    Failed(JournalError),
}

/// Writes a snapshot and makes it count. `go_on` is asked between blocks.
pub(crate) fn write_snapshot(
    disk: &dyn Disk,
    directory: &Path,
    header: (JournalId, Position, Epoch),
    records: &mut dyn Iterator<Item = Record>,
    go_on: &dyn Fn() -> bool,
) -> Result<SnapshotInfo, Unfinished> {
    let (journal, position, epoch) = header;
    let path = directory.join(snapshot_name(position));
    let temporary = path.with_extension("tmp");
    let written =
        write_file(disk, &temporary, (journal, position, epoch), records, go_on).and_then(|(bytes, count)| {
            let failed = |action| {
                let path = path.clone();
                move |error| Unfinished::Failed(JournalError::io(action, &path)(error))
            };
            disk.rename(&temporary, &path).map_err(failed("name the snapshot"))?;
            disk.sync_dir(directory).map_err(failed("sync the directory of"))?;
            Ok(SnapshotInfo { position, epoch, path: path.clone(), bytes, records: count })
        });
    if written.is_err() {
        // Best effort: what stays is removed at the next start.
        let _ = disk.remove(&temporary);
    }
    written
}

pub(crate) fn write_file(
    disk: &dyn Disk,
    path: &Path,
    (journal, position, epoch): (JournalId, Position, Epoch),
    records: &mut dyn Iterator<Item = Record>,
    go_on: &dyn Fn() -> bool,
) -> Result<(u64, u64), Unfinished> {
    let failed = |action| move |error| Unfinished::Failed(JournalError::io(action, path)(error));
    let file = disk.create(path).map_err(failed("create the snapshot"))?;
    let place = Place { journal, number: position.0 };
    let header = FileHeader { kind: FileKind::Snapshot, journal, number: position.0, extra: epoch.0 };
    let mut buffer = header.encode().to_vec();
    let (mut offset, mut unsynced, mut count) = (0u64, 0usize, 0u64);
    let mut block = Vec::with_capacity(BLOCK_BYTES + 4096);
    let mut more = true;
    while more {
        if !go_on() {
            return Err(Unfinished::Closing);
        }
        block.clear();
        more = fill_block(records, &mut block, &mut count);
        let at = offset + buffer.len() as u64;
        if !block.is_empty() {
            put_frame(place, at, FrameKind::Block, &mut buffer, |body| body.extend_from_slice(&block));
        }
        let at = offset + buffer.len() as u64;
        if !more {
            put_frame(place, at, FrameKind::End, &mut buffer, |body| body.extend_from_slice(&count.to_le_bytes()));
        }
        file.write_all_at(&buffer, offset).map_err(failed("write the snapshot"))?;
        offset += buffer.len() as u64;
        unsynced += buffer.len();
        buffer.clear();
        if unsynced >= SYNC_EVERY_BYTES || !more {
            file.sync_data().map_err(failed("sync the snapshot"))?;
            unsynced = 0;
        }
    }
    Ok((offset, count))
}

/// Whether there may be more records.
fn fill_block(records: &mut dyn Iterator<Item = Record>, block: &mut Vec<u8>, count: &mut u64) -> bool {
    while block.len() < BLOCK_BYTES {
        let Some(record) = records.next() else { return false };
        group::encode_record(&record, block);
        *count += 1;
    }
    true
}

/// What is wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotDamage {
    /// Where the unreadable header or frame begins, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub reason: &'static str,
}

/// A snapshot opened for reading.
pub(crate) struct SnapshotFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    pub(crate) header: FileHeader,
}

/// What the next frame of a snapshot is.
pub(crate) enum Next {
    /// Records.
    Block { body: Vec<u8>, offset: u64, end: u64 },
    /// The end; how many records were written.
    End { count: u64 },
    /// Unreadable.
    Damage(SnapshotDamage),
}

impl SnapshotFile {
    /// Opens a snapshot; the inner error says that its header is damaged.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        position: Position,
    ) -> Result<Result<SnapshotFile, SnapshotDamage>, JournalError> {
        let named_otherwise = SnapshotDamage { offset: 0, reason: "the header names another position" };
        Ok(SnapshotFile::open_any(disk, path)?.and_then(|file| match file.header.number == position.0 {
            true => Ok(file),
            false => Err(named_otherwise),
        }))
    }

    /// The same whatever its position.
    pub(crate) fn open_any(disk: &dyn Disk, path: &Path) -> Result<Result<SnapshotFile, SnapshotDamage>, JournalError> {
        let read = || -> std::io::Result<_> {
            let file = disk.open(path, false)?;
            let mut head = [0; HEADER_BYTES];
            let read = file.read_at(&mut head, 0)?;
            Ok((file.length_bytes()?, FileHeader::decode(FileKind::Snapshot, &head[..read]), file))
        };
        let (length, header, file) = read().map_err(JournalError::io("read", path))?;
        match header {
            Ok(header) => Ok(Ok(SnapshotFile { file, path: path.to_owned(), length, header })),
            Err(BadHeader::Newer(version)) => {
                Err(JournalError::Newer { path: path.to_owned(), version, newest: VERSION })
            }
            Err(BadHeader::Empty | BadHeader::Damaged) => {
                Ok(Err(SnapshotDamage { offset: 0, reason: "the header is unreadable" }))
            }
        }
    }

    fn place(&self) -> Place {
        Place { journal: self.header.journal, number: self.header.number }
    }

    /// Reads the frame at `offset`.
    pub(crate) fn next(&self, offset: u64) -> Result<Next, JournalError> {
        let damage = |reason| Ok(Next::Damage(SnapshotDamage { offset, reason }));
        let mut head = [0; FRAME_BYTES];
        let read = self.file.read_at(&mut head, offset).map_err(JournalError::io("read", &self.path))?;
        if read < FRAME_BYTES {
            return damage("the file ends before the snapshot does");
        }
        let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
        let whole = frame_bytes(length);
        if offset + whole as u64 > self.length {
            return damage("the block is unreadable");
        }
        // The frame's checksum knows its offset in the file, so it is judged there, not at the front of a buffer.
        let mut bytes = vec![0; whole];
        self.file.read_at(&mut bytes, offset).map_err(JournalError::io("read", &self.path))?;
        match read_frame(self.place(), &bytes, offset) {
            Some((FrameKind::Block, length)) => {
                bytes.drain(..FRAME_BYTES);
                bytes.truncate(length);
                Ok(Next::Block { body: bytes, offset, end: offset + whole as u64 })
            }
            Some((FrameKind::End, 8)) => Ok(Next::End { count: read_u64(&bytes, FRAME_BYTES) }),
            _ => damage("the block is unreadable"),
        }
    }

    /// Reads everything once and says what is wrong, if anything. The number of records comes back.
    pub(crate) fn check(&self) -> Result<Result<u64, SnapshotDamage>, JournalError> {
        let mut offset = HEADER_BYTES as u64;
        loop {
            match self.next(offset)? {
                Next::Block { end, .. } => offset = end,
                Next::End { count } => return Ok(Ok(count)),
                Next::Damage(damage) => return Ok(Err(damage)),
            }
        }
    }

    /// Hands every record over; the snapshot was checked before.
    pub(crate) fn restore(&self, restore: &mut dyn Restore) -> Result<u64, JournalError> {
        let (mut offset, mut restored) = (HEADER_BYTES as u64, 0);
        while let Next::Block { body, offset: block, end } = self.next(offset)? {
            let mut rest = &body[..];
            while !rest.is_empty() {
                let record = group::decode_record(&mut rest).map_err(|source| {
                    JournalError::io("decode a record of", &self.path)(std::io::Error::other(source))
                })?;
                restore.restore(record).map_err(|source| JournalError::Refused {
                    path: self.path.clone(),
                    offset: block,
                    position: Position(self.header.number),
                    source,
                })?;
                restored += 1;
            }
            offset = end;
        }
        Ok(restored)
    }

    /// What a directory listing says of it.
    pub(crate) fn info(&self, records: u64) -> SnapshotInfo {
        SnapshotInfo {
            position: Position(self.header.number),
            epoch: snapshot_epoch(&self.header),
            path: self.path.clone(),
            bytes: self.length,
            records,
        }
    }

    /// The records of the blocks that are sound, in a damaged snapshot.
    pub(crate) fn sound_records(&self) -> Result<Vec<Record>, JournalError> {
        let bytes = self.file.read_all().map_err(JournalError::io("read", &self.path))?;
        let mut records = Vec::new();
        let mut at = HEADER_BYTES;
        while let Some(frame) = crate::format::next_frame(self.place(), &bytes, at) {
            let mut rest = if frame.kind == FrameKind::Block { frame.body } else { &[] };
            while let Ok(record) = group::decode_record(&mut rest) {
                records.push(record);
            }
            at = frame.end;
        }
        Ok(records)
    }
}

/// The kind and body length of the frame in `bytes`, which begin at `offset` of the file.
fn read_frame(place: Place, bytes: &[u8], offset: u64) -> Option<(FrameKind, usize)> {
    match frame_in_piece(place, bytes, offset) {
        Found::Frame(Frame { kind, body, .. }) => Some((kind, body.len())),
        Found::Nothing | Found::Damage => None,
    }
}
