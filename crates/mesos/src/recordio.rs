//! RecordIO, the framing of event streams (spec mesos 1.3): a length in decimal digits, a line feed, that many bytes, and the next length
//! at once. HTTP chunks say nothing about records.

use bytes::{Buf, Bytes, BytesMut};

/// The digits of the longest length that is read, leading zeros included.
const MAX_DIGITS: usize = 20;

/// Why a stream is no RecordIO. Nothing after it can be trusted: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A length holds something else than digits.
    #[error("a record's length holds the byte 0x{0:02x}")]
    Length(u8),
    /// A length has too many digits.
    #[error("a record's length has more than {MAX_DIGITS} digits")]
    TooManyDigits,
    /// A record is longer than allowed.
    #[error("a record of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// Its length.
        length: u64,
        /// The decoder's limit.
        limit: u64,
    },
    /// A record is empty, which no message is.
    #[error("a record is empty")]
    Empty,
}

/// Takes a stream in pieces of any size and gives its records.
///
/// Holds at most one record that is not whole plus the piece given last; a record longer than the limit is an error as soon as its length
/// is known. An empty line before a length is let pass.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: u64,
    /// Length of the record that is being gathered, when its length line is read.
    awaited: Option<usize>,
    failed: Option<RecordError>,
}

impl Decoder {
    /// A decoder that refuses records longer than `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self { buffer: BytesMut::new(), limit: limit_bytes, awaited: None, failed: None }
    }

    /// Adds what arrived.
    pub fn extend(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// The next whole record, or `None` until more arrives. After an error it is the same error for ever.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = BytesMut::new();
        })
    }

    /// Whether the stream may end here: no record has begun.
    pub fn is_between_records(&self) -> bool {
        self.awaited.is_none() && self.buffer.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
    }

    fn advance(&mut self) -> Result<Option<Bytes>, RecordError> {
        let length = match self.awaited {
            Some(length) => length,
            None => match self.length()? {
                Some(length) => *self.awaited.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.awaited = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Reads a length line, if it is whole.
    fn length(&mut self) -> Result<Option<usize>, RecordError> {
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        self.buffer.advance(blank);
        let mut length: u64 = 0;
        for (at, &byte) in self.buffer.iter().enumerate() {
            match byte {
                b'0'..=b'9' if at < MAX_DIGITS => {
                    length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                }
                b'0'..=b'9' => return Err(RecordError::TooManyDigits),
                b'\n' => {
                    self.buffer.advance(at + 1);
                    return self.checked(length).map(Some);
                }
                other => return Err(RecordError::Length(other)),
            }
        }
        Ok(None)
    }

    fn checked(&mut self, length: u64) -> Result<usize, RecordError> {
        match usize::try_from(length) {
            Ok(0) => Err(RecordError::Empty),
            Ok(fits) if length <= self.limit => Ok(fits),
            _ => Err(RecordError::TooLong { length, limit: self.limit }),
        }
    }
}

/// Appends one record.
pub fn encode(record: &[u8], into: &mut Vec<u8>) {
    let mut length = [0; MAX_DIGITS];
    let mut at = length.len();
    let mut rest = record.len();
    loop {
        at -= 1;
        length[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    into.reserve(MAX_DIGITS - at + 1 + record.len());
    into.extend_from_slice(&length[at..]);
    into.push(b'\n');
    into.extend_from_slice(record);
}
