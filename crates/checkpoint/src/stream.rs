//! Appending records to a checkpoint and reading them back, whole or as the file grows. What the records mean is [`crate::replay`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use prost::Message;

use crate::record::{FRAME_BYTES_MAX, MAGIC, Record};

const FRAME_HEAD_BYTES: usize = 8;

/// Why a checkpoint cannot be read. A file that ends within a frame is no error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not begin as a checkpoint does.
    #[error("not a checkpoint: the file does not begin with {MAGIC:02x?}")]
    Magic,
    /// A frame in the middle of the file is damaged.
    #[error("damaged record at byte {offset}: {what}")]
    Damaged {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Adds the frame of `record` to `buffer`.
pub fn encode_frame(record: &Record, buffer: &mut Vec<u8>) {
    let begin = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    record.encode_raw(buffer);
    let length = buffer.len() - begin - FRAME_HEAD_BYTES;
    let checksum = crc32fast::hash(&buffer[begin + FRAME_HEAD_BYTES..]);
    let length = u32::try_from(length).expect("a record is far smaller than 4 GiB");
    buffer[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    buffer[begin + 4..begin + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends records to a checkpoint. Each [`Writer::commit`] is one write; whoever else reads sees whole frames or a torn tail.
///
/// There is no sync: the file must survive the death of processes, not of the machine (a run of another boot is lost anyway).
#[derive(Debug)]
pub struct Writer {
    file: File,
    buffer: Vec<u8>,
}

impl Writer {
    /// Creates the checkpoint at `path`, which must not exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, buffer: MAGIC.to_vec() })
    }

    /// Opens an existing checkpoint to add to it. A torn tail is cut off first, so that what is added can be read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut reader = Reader::open(path)?;
        while reader.next_record()?.is_some() {}
        let good = reader.offset();
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() > good {
            file.set_len(good)?;
        }
        let buffer = if good == 0 { MAGIC.to_vec() } else { Vec::new() };
        Ok(Self { file, buffer })
    }

    /// Adds a record to the next commit.
    pub fn push(&mut self, record: impl Into<Record>) {
        encode_frame(&record.into(), &mut self.buffer);
    }

    /// Writes what was pushed. After an error the records stay and the next commit tries again; a part that did get written is not repeated.
    pub fn commit(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            match self.file.write(&self.buffer) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.buffer.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads a checkpoint record by record; at the end it can be asked again later, when the file may have grown.
#[derive(Debug)]
pub struct Reader<R = File> {
    source: R,
    /// Bytes read but not yet returned, beginning at `offset`.
    pending: Vec<u8>,
    consumed: usize,
    offset: u64,
}

impl Reader {
    /// Opens the checkpoint at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Reads from `source`, which must be at its beginning.
    pub fn new(source: R) -> Self {
        Self { source, pending: Vec::new(), consumed: 0, offset: 0 }
    }

    /// Number of bytes, from the beginning of the file, that were understood so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; `None` when there is no further whole frame for now.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        if self.offset == 0 {
            if !self.fill(MAGIC.len())? {
                return Ok(None);
            }
            // The last byte is a version: a newer one only adds, so it is read all the same.
            if self.available()[..MAGIC.len() - 1] != MAGIC[..MAGIC.len() - 1] {
                return Err(ReadError::Magic);
            }
            self.advance(MAGIC.len());
        }
        if !self.fill(FRAME_HEAD_BYTES)? {
            return Ok(None);
        }
        let head = self.available();
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged("the length is absurd"));
        }
        if !self.fill(FRAME_HEAD_BYTES + length)? {
            return Ok(None);
        }
        let payload = &self.available()[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length];
        if crc32fast::hash(payload) != checksum {
            return Err(self.damaged("the checksum does not match"));
        }
        let record = Record::decode(payload).map_err(|_| self.damaged("the payload is not a record"))?;
        self.advance(FRAME_HEAD_BYTES + length);
        Ok(Some(record))
    }

    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Damaged { offset: self.offset, what }
    }

    fn available(&self) -> &[u8] {
        &self.pending[self.consumed..]
    }

    fn advance(&mut self, bytes: usize) {
        self.consumed += bytes;
        self.offset += bytes as u64;
    }

    /// Makes `wanted` bytes available; false when the file ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.available().len() >= wanted {
            return Ok(true);
        }
        self.pending.drain(..self.consumed);
        self.consumed = 0;
        while self.pending.len() < wanted {
            let missing = (wanted - self.pending.len()).max(8 << 10) as u64;
            if (&mut self.source).take(missing).read_to_end(&mut self.pending)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// All whole records of the checkpoint at `path`, in order. A torn tail is left out.
pub fn read_all(path: &Path) -> Result<Vec<Record>, ReadError> {
    let mut reader = Reader::open(path)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, StatusRecord, TaskRecord, TaskState};

    fn status(sequence: u32, message: &str) -> Record {
        StatusRecord { sequence, message: message.to_owned(), ..StatusRecord::default() }.into()
    }

    #[test]
    fn what_is_written_is_read_back_in_order_while_the_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut writer = Writer::create(&path).unwrap();
        writer.push(status(0, "first"));
        writer.commit().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.next_record().unwrap(), Some(status(0, "first")));
        assert_eq!(reader.next_record().unwrap(), None);
        let long = "x".repeat(100_000);
        writer.push(status(1, &long));
        writer.push(TaskRecord { state: TaskState::Success.into(), timestamp_ms: 7, decider_pid: 1 });
        writer.commit().unwrap();
        assert_eq!(reader.next_record().unwrap(), Some(status(1, &long)));
        assert!(matches!(reader.next_record().unwrap().unwrap().entry, Some(Entry::Task(_))));
        assert_eq!(reader.next_record().unwrap(), None);
    }

    #[test]
    fn a_checkpoint_is_created_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        Writer::create(&path).unwrap();
        assert_eq!(Writer::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_torn_tail_of_any_length_is_ignored_and_cut_before_more_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut writer = Writer::create(&path).unwrap();
        writer.push(status(0, "kept"));
        writer.commit().unwrap();
        let kept = std::fs::metadata(&path).unwrap().len();
        writer.push(status(1, "torn"));
        writer.commit().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in kept as usize..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read_all(&path).unwrap(), [status(0, "kept")], "cut at {length}");
            let mut writer = Writer::open(&path).unwrap();
            writer.push(status(1, "again"));
            writer.commit().unwrap();
            assert_eq!(read_all(&path).unwrap(), [status(0, "kept"), status(1, "again")], "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_reported_with_its_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut writer = Writer::create(&path).unwrap();
        writer.push(status(0, "first"));
        writer.push(status(1, "second"));
        writer.commit().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[MAGIC.len() + FRAME_HEAD_BYTES + 3] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(read_all(&path), Err(ReadError::Damaged { offset: 8, .. })));
        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(read_all(&path), Err(ReadError::Magic)));
    }

    #[test]
    fn an_entry_of_a_newer_version_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        // Field 99, a varint: no kind of entry that is known here.
        let payload = [0x98, 0x06, 0x01];
        let mut bytes = MAGIC.to_vec();
        bytes[7] = 9;
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        encode_frame(&status(0, "known"), &mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_all(&path).unwrap(), [Record { entry: None }, status(0, "known")]);
    }
}
