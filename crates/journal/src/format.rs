//! The bytes on disk, format version 1.
//!
//! A directory holds `segment-N.log` files, `snapshot-P.snap` files, a `lock`, and `*.tmp` files that are unfinished and
//! removed at the next start. Segments and snapshots begin with a header of 64 bytes:
//!
//! ```text
//! 8 bytes magic   u32 version   u32 zero   16 bytes journal id   u64 number   u64 extra   12 bytes zero   u32 crc
//! ```
//!
//! `number` is the segment's number or the snapshot's position, `extra` the segment's capacity in bytes or the
//! snapshot's epoch; `crc` covers the 60 bytes before it. Then frames follow, each beginning at a multiple of 8:
//!
//! ```text
//! 3 bytes 0xDB 'J' 'F'   u8 kind   u32 body length   u32 crc   body   zeros up to a multiple of 8
//! ```
//!
//! The crc (CRC-32, IEEE) also covers the journal id, the file's number and the frame's own offset, none of which is
//! stored in it: a frame that was written to the wrong place, or that an older file left there, does not pass.
//! A segment's unused rest is zeros.

use node::storage::{Epoch, Position};

/// The version this program writes; it reads every version up to this one.
pub const VERSION: u32 = 1;
/// Length of a file's header.
pub const HEADER_BYTES: usize = 64;
/// Length of a frame without its body.
pub const FRAME_BYTES: usize = 12;
/// What a mark or a seal takes at most: the room kept free at a segment's end.
pub const TRAILER_BYTES: usize = 32;
const ALIGNMENT: usize = 8;
const FRAME_MAGIC: [u8; 3] = [0xdb, b'J', b'F'];

/// Distinguishes one journal from every other, so that files of two directories cannot be mixed.
pub type JournalId = [u8; 16];

/// Which of the two files a header opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A segment of groups.
    Segment,
    /// A snapshot.
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Segment => *b"DAYBRKJL",
            FileKind::Snapshot => *b"DAYBRKSN",
        }
    }
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Segment or snapshot.
    pub kind: FileKind,
    /// The journal the file belongs to.
    pub journal: JournalId,
    /// The segment's number, or the snapshot's position.
    pub number: u64,
    /// The segment's capacity in bytes, or the snapshot's epoch.
    pub extra: u64,
}

/// Why the first 64 bytes are not a header we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// All zeros, or the file is shorter than a header: nothing was ever written here.
    Empty,
    /// The checksum does not match.
    Damaged,
    /// Written by a newer program.
    Newer(u32),
}

impl FileHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.kind.magic());
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.extra.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of this kind.
    pub fn decode(kind: FileKind, bytes: &[u8]) -> Result<FileHeader, BadHeader> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err(if is_zero(bytes) { BadHeader::Empty } else { BadHeader::Damaged });
        };
        if is_zero(bytes) {
            return Err(BadHeader::Empty);
        }
        if crc32fast::hash(&bytes[..60]) != read_u32(bytes, 60) || bytes[..8] != kind.magic() {
            return Err(BadHeader::Damaged);
        }
        let version = read_u32(bytes, 8);
        if version > VERSION {
            return Err(BadHeader::Newer(version));
        }
        let journal = bytes[16..32].try_into().expect("sixteen bytes");
        Ok(FileHeader { kind, journal, number: read_u64(bytes, 32), extra: read_u64(bytes, 40) })
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A group of records.
    Group = 1,
    /// "Everything up to this position is durable": written after a sync when nothing else is waiting.
    Mark = 2,
    /// The last frame of a segment: its last position and the number of the segment that follows.
    Seal = 3,
    /// Records of a snapshot.
    Block = 4,
    /// The last frame of a snapshot: how many records it holds.
    End = 5,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        [FrameKind::Group, FrameKind::Mark, FrameKind::Seal, FrameKind::Block, FrameKind::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The file that frames lie in: part of every frame's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The journal.
    pub journal: JournalId,
    /// The file's number.
    pub number: u64,
}

/// A frame as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: FrameKind,
    /// Its content, without padding.
    pub body: &'a [u8],
    /// Where it begins in the file.
    pub offset: usize,
    /// Where the next frame may begin.
    pub end: usize,
}

/// What lies at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// Zeros, or the end of the file: no frame begins here.
    Nothing,
    /// Something else.
    Damage,
}

/// How many bytes a frame with a body of this length takes.
pub fn frame_bytes(body: usize) -> usize {
    (FRAME_BYTES + body).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`, which will be written so that the frame begins at `offset` of the file. `write_body`
/// appends the body.
pub fn put_frame(place: Place, offset: u64, kind: FrameKind, out: &mut Vec<u8>, write_body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.push(kind as u8);
    out.extend_from_slice(&[0; 8]);
    write_body(out);
    let body = out.len() - start - FRAME_BYTES;
    out.resize(start + frame_bytes(body), 0);
    let length = u32::try_from(body).expect("a frame is shorter than 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let crc = frame_crc(place, offset, &out[start..start + 8], &out[start + FRAME_BYTES..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a mark.
pub fn put_mark(place: Place, offset: u64, durable: Position, out: &mut Vec<u8>) {
    put_frame(place, offset, FrameKind::Mark, out, |body| body.extend_from_slice(&durable.0.to_le_bytes()));
}

/// Appends a seal.
pub fn put_seal(place: Place, offset: u64, last: Position, next_segment: u64, out: &mut Vec<u8>) {
    put_frame(place, offset, FrameKind::Seal, out, |body| {
        body.extend_from_slice(&last.0.to_le_bytes());
        body.extend_from_slice(&next_segment.to_le_bytes());
    });
}

/// Looks at an offset of a file's content.
pub fn frame_at(place: Place, bytes: &[u8], offset: usize) -> Found<'_> {
    frame_in(place, bytes, offset, offset as u64)
}

/// Looks at the front of a piece of a file that begins at `file_offset`.
pub fn frame_in_piece(place: Place, piece: &[u8], file_offset: u64) -> Found<'_> {
    frame_in(place, piece, 0, file_offset)
}

fn frame_in(place: Place, bytes: &[u8], offset: usize, file_offset: u64) -> Found<'_> {
    let Some(head) = bytes.get(offset..offset + FRAME_BYTES) else {
        return if is_zero(bytes.get(offset..).unwrap_or_default()) { Found::Nothing } else { Found::Damage };
    };
    if is_zero(head) {
        return Found::Nothing;
    }
    let (Some(kind), true) = (FrameKind::from_byte(head[3]), head[..3] == FRAME_MAGIC) else {
        return Found::Damage;
    };
    let length = read_u32(head, 4) as usize;
    let end = offset + frame_bytes(length);
    let Some(padded) = bytes.get(offset + FRAME_BYTES..end) else {
        return Found::Damage;
    };
    if frame_crc(place, file_offset, &head[..8], padded) != read_u32(head, 8) {
        return Found::Damage;
    }
    Found::Frame(Frame { kind, body: &padded[..length], offset, end })
}

/// The first sound frame that begins at or after `offset`.
pub fn next_frame(place: Place, bytes: &[u8], offset: usize) -> Option<Frame<'_>> {
    let mut at = offset.next_multiple_of(ALIGNMENT);
    while at + FRAME_BYTES <= bytes.len() {
        if bytes[at..at + 3] == FRAME_MAGIC
            && let Found::Frame(frame) = frame_at(place, bytes, at)
        {
            return Some(frame);
        }
        at += ALIGNMENT;
    }
    None
}

fn frame_crc(place: Place, offset: u64, head: &[u8], padded_body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&place.journal);
    crc.update(&place.number.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(head);
    crc.update(padded_body);
    crc.finalize()
}

/// The position in a mark, if the body is one.
pub fn read_mark(body: &[u8]) -> Option<Position> {
    (body.len() == 8).then(|| Position(read_u64(body, 0)))
}

/// The last position and next segment in a seal, if the body is one.
pub fn read_seal(body: &[u8]) -> Option<(Position, u64)> {
    (body.len() == 16).then(|| (Position(read_u64(body, 0)), read_u64(body, 8)))
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    chunks.iter().all(|chunk| *chunk == [0; 32]) && rest.iter().all(|byte| *byte == 0)
}

/// The file name of a segment.
pub fn segment_name(number: u64) -> String {
    format!("segment-{number:012}.log")
}

/// The file name of a snapshot.
pub fn snapshot_name(position: Position) -> String {
    format!("snapshot-{:020}.snap", position.0)
}

/// What a file name in the directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFile {
    /// A segment and its number.
    Segment(u64),
    /// A snapshot and its position.
    Snapshot(Position),
    /// Unfinished when a process ended.
    Temporary,
    /// Not ours.
    Other,
}

/// Reads a file name.
pub fn parse_name(name: &str) -> NamedFile {
    let number = |prefix: &str, suffix: &str| {
        let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        digits.parse::<u64>().ok()
    };
    if let Some(number) = number("segment-", ".log") {
        NamedFile::Segment(number)
    } else if let Some(position) = number("snapshot-", ".snap") {
        NamedFile::Snapshot(Position(position))
    } else if name.ends_with(".tmp") {
        NamedFile::Temporary
    } else {
        NamedFile::Other
    }
}

/// The epoch in a snapshot's header.
pub fn snapshot_epoch(header: &FileHeader) -> Epoch {
    Epoch(header.extra)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Reads eight bytes at `at` as a little-endian number.
pub fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { journal: [7; 16], number: 3 };

    fn frame(offset: u64, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0; offset as usize];
        put_frame(PLACE, offset, FrameKind::Group, &mut out, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn a_frame_is_found_where_it_was_put_and_nowhere_else() {
        let bytes = frame(64, b"hello");
        let Found::Frame(found) = frame_at(PLACE, &bytes, 64) else { panic!("no frame") };
        assert_eq!((found.body, found.end), (&b"hello"[..], 64 + 24));
        let mut moved = vec![0; 8];
        moved.extend_from_slice(&bytes);
        assert_eq!(frame_at(PLACE, &moved, 72), Found::Damage);
        assert_eq!(frame_at(Place { number: 4, ..PLACE }, &bytes, 64), Found::Damage);
        assert_eq!(frame_at(Place { journal: [8; 16], ..PLACE }, &bytes, 64), Found::Damage);
    }

    #[test]
    fn every_single_bit_of_a_frame_and_of_a_header_is_covered() {
        let bytes = frame(0, b"some body");
        let header = FileHeader { kind: FileKind::Segment, journal: [1; 16], number: 9, extra: 4096 }.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(frame_at(PLACE, &flipped, 0), Found::Damage, "bit {bit} of the frame");
        }
        for bit in 0..header.len() * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = FileHeader::decode(FileKind::Segment, &flipped);
            assert_eq!(read, Err(BadHeader::Damaged), "bit {bit} of the header");
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut header = FileHeader { kind: FileKind::Segment, journal: [1; 16], number: 1, extra: 0 }.encode();
        header[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let crc = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(FileKind::Segment, &header), Err(BadHeader::Newer(VERSION + 1)));
    }

    #[test]
    fn names_come_back() {
        assert_eq!(parse_name(&segment_name(12)), NamedFile::Segment(12));
        assert_eq!(parse_name(&snapshot_name(Position(12))), NamedFile::Snapshot(Position(12)));
        assert_eq!(parse_name("segment-1.tmp"), NamedFile::Temporary);
        assert_eq!(parse_name("lock"), NamedFile::Other);
    }
}
