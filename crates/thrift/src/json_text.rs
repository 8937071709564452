//! The JSON grammar both JSON protocols stand on: strings with their escapes, numbers, and skipping of any value. Not here: what the
//! objects and arrays mean.

use base64::Engine as _;

use crate::error::{ProtocolError, Result};
use crate::wire::{Budget, Limits};

/// What both JSON protocols have alike of a [`crate::wire::Writer`] that has a `buffer`: the buffer itself, structs, numbers and strings,
/// which are escaped as told.
macro_rules! json_writer_methods {
    ($escapes:expr) => {
        fn with_buffer(buffer: Vec<u8>) -> Self {
            Self { buffer }
        }

        fn buffer(&self) -> &[u8] {
            &self.buffer
        }

        fn into_buffer(self) -> Vec<u8> {
            self.buffer
        }

        fn take_buffer(&mut self, mut next: Vec<u8>) -> Vec<u8> {
            // The last byte stays: it decides about the next comma.
            next.clear();
            next.extend(self.buffer.pop());
            std::mem::replace(&mut self.buffer, next)
        }

        fn struct_begin(&mut self) {
            self.buffer.push(b'{');
        }

        fn struct_end(&mut self) {
            self.buffer.push(b'}');
        }

        fn map_key(&mut self, key: &str) {
            self.separate();
            self.string(key);
            self.buffer.push(b':');
        }

        fn i32(&mut self, value: i32) {
            $crate::json_text::write_integer(&mut self.buffer, value);
        }

        fn i64(&mut self, value: i64) {
            $crate::json_text::write_integer(&mut self.buffer, value);
        }

        fn double(&mut self, value: f64) {
            $crate::json_text::write_double(&mut self.buffer, value);
        }

        fn string(&mut self, value: &str) {
            $crate::json_text::write_string(&mut self.buffer, value, $escapes);
        }

        fn encoded(&mut self, value: &[u8]) {
            self.buffer.extend_from_slice(value);
        }
    };
}
pub(crate) use json_writer_methods;

/// What both have alike of a [`crate::wire::Reader`] that has a `text`.
macro_rules! json_reader_methods {
    () => {
        fn charge(&mut self, bytes: usize) -> $crate::error::Result<()> {
            self.text.budget.charge(bytes)
        }

        fn struct_begin(&mut self) -> $crate::error::Result<()> {
            self.text.open(b'{')
        }

        fn i32(&mut self) -> $crate::error::Result<i32> {
            self.text.integer_32()
        }

        fn i64(&mut self) -> $crate::error::Result<i64> {
            self.text.integer()
        }

        fn double(&mut self) -> $crate::error::Result<f64> {
            self.text.double()
        }

        fn string(&mut self) -> $crate::error::Result<String> {
            self.text.string()
        }

        fn binary(&mut self) -> $crate::error::Result<Vec<u8>> {
            self.text.base64()
        }
    };
}
pub(crate) use json_reader_methods;

/// Written without padding, as Java does; read with or without.
pub(crate) const BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// How a byte of a string is written.
const RAW: u8 = 0;
const UNICODE: u8 = 1;

/// For every byte: `RAW`, `UNICODE` (as `\u00xx`), or the letter after the backslash.
const fn escape_table(html_safe: bool) -> [u8; 256] {
    let mut table = [RAW; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = UNICODE;
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    if html_safe {
        table[b'<' as usize] = UNICODE;
        table[b'>' as usize] = UNICODE;
        table[b'&' as usize] = UNICODE;
        table[b'=' as usize] = UNICODE;
        table[b'\'' as usize] = UNICODE;
    }
    table
}

/// The escapes of Thrift JSON (spec thrift-api 1.8).
pub(crate) static THRIFT_ESCAPES: [u8; 256] = escape_table(false);
/// The escapes of plain JSON, safe inside a page (spec thrift-api 1.9).
pub(crate) static HTML_SAFE_ESCAPES: [u8; 256] = escape_table(true);

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes looked at together; the comparison of a whole block is one vector instruction or two.
const BLOCK_BYTES: usize = 16;

/// Whether no byte of the block could need an escape. May say no for a block without one: the HTML-safe bytes count always.
fn is_clean(block: &[u8]) -> bool {
    let suspicious = |byte: u8| {
        (byte < 0x20)
            | (byte == b'"')
            | (byte == b'\\')
            | (byte == b'<')
            | (byte == b'>')
            | (byte == b'&')
            | (byte == b'=')
            | (byte == b'\'')
    };
    !block.iter().fold(false, |found, &byte| found | suspicious(byte))
}

/// Appends `value` as a JSON string.
pub(crate) fn write_string(buffer: &mut Vec<u8>, value: &str, escapes: &[u8; 256]) {
    let bytes = value.as_bytes();
    buffer.reserve(bytes.len() + 2);
    buffer.push(b'"');
    let mut written = 0;
    for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if is_clean(block) {
            continue;
        }
        for (offset, &byte) in block.iter().enumerate() {
            let escape = escapes[usize::from(byte)];
            if escape == RAW {
                continue;
            }
            let at = number * BLOCK_BYTES + offset;
            buffer.extend_from_slice(&bytes[written..at]);
            written = at + 1;
            if escape == UNICODE {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                buffer.extend_from_slice(b"\\u00");
                buffer.extend_from_slice(&digits);
            } else {
                buffer.extend_from_slice(&[b'\\', escape]);
            }
        }
    }
    buffer.extend_from_slice(&bytes[written..]);
    buffer.push(b'"');
}

/// Appends an integer.
pub(crate) fn write_integer(buffer: &mut Vec<u8>, value: impl itoa::Integer) {
    buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a double: `1.0`, `1e16`; the values JSON has no number for become quoted words.
pub(crate) fn write_double(buffer: &mut Vec<u8>, value: f64) {
    use std::io::Write;
    let word = if value.is_nan() {
        "\"NaN\""
    } else if value == f64::INFINITY {
        "\"Infinity\""
    } else if value == f64::NEG_INFINITY {
        "\"-Infinity\""
    } else {
        write!(buffer, "{value:?}").expect("a vector takes every byte");
        return;
    };
    buffer.extend_from_slice(word.as_bytes());
}

/// A cursor over JSON text.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) at: usize,
    pub(crate) budget: Budget,
    /// Whether the last thing read opened an object or array, so that no comma precedes what follows.
    fresh: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn new(input: &'a [u8], limits: Limits) -> Self {
        Text { input, at: 0, budget: Budget::new(limits), fresh: true }
    }

    pub(crate) fn error<T>(&self, what: impl Into<String>) -> Result<T> {
        if self.at >= self.input.len() {
            return Err(ProtocolError::Truncated { at: self.input.len() });
        }
        Err(ProtocolError::syntax(what, self.at))
    }

    /// The next byte that is not white space, without consuming it; 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.input.get(self.at) {
            self.at += 1;
        }
        self.input.get(self.at).copied().unwrap_or(0)
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != byte {
            return self.error(format!("expected '{}'", byte as char));
        }
        self.at += 1;
        Ok(())
    }

    /// Opens an object or array.
    pub(crate) fn open(&mut self, byte: u8) -> Result<()> {
        self.expect(byte)?;
        self.budget.descend()?;
        self.fresh = true;
        Ok(())
    }

    /// Closes an object or array.
    pub(crate) fn close(&mut self, byte: u8) -> Result<()> {
        self.expect(byte)?;
        self.budget.ascend();
        self.fresh = false;
        Ok(())
    }

    /// Whether another member follows before the closing `byte`; consumes the comma or the closing byte.
    pub(crate) fn more(&mut self, closing: u8) -> Result<bool> {
        if self.peek() == closing {
            self.close(closing)?;
            return Ok(false);
        }
        self.separator()?;
        if self.peek() == closing {
            return self.error("a value was expected");
        }
        Ok(true)
    }

    /// The comma between two members, none before the first.
    pub(crate) fn separator(&mut self) -> Result<()> {
        if self.fresh {
            self.fresh = false;
            return Ok(());
        }
        self.expect(b',')
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.peek() != 0 || self.at < self.input.len() {
            return Err(ProtocolError::syntax("bytes after the end of the message", self.at));
        }
        Ok(())
    }

    /// The digits of a number as they stand.
    fn number_text(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        while let Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') = self.input.get(self.at) {
            self.at += 1;
        }
        let digits = &self.input[start..self.at];
        if digits.is_empty() {
            return self.error("expected a number");
        }
        Ok(std::str::from_utf8(digits).expect("digits are ASCII"))
    }

    pub(crate) fn integer(&mut self) -> Result<i64> {
        let digits = self.number_text()?;
        if digits.starts_with('+') {
            return Err(ProtocolError::syntax("expected an integer", self.at - digits.len()));
        }
        digits.parse().map_err(|_| ProtocolError::syntax("expected an integer", self.at - digits.len()))
    }

    pub(crate) fn integer_32(&mut self) -> Result<i32> {
        let value = self.integer()?;
        i32::try_from(value).map_err(|_| ProtocolError::syntax(format!("{value} does not fit 32 bits"), self.at))
    }

    pub(crate) fn double(&mut self) -> Result<f64> {
        if self.peek() == b'"' {
            let start = self.at;
            return match self.string()?.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => Err(ProtocolError::syntax("expected a number", start)),
            };
        }
        let digits = self.number_text()?;
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(ProtocolError::syntax("expected a number", self.at - digits.len())),
        }
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        self.expect(b'"')?;
        let start = self.at;
        let plain = self.plain_run();
        // Most strings have no escape and are copied in one piece.
        if self.input.get(self.at) == Some(&b'"') {
            let text = self.utf8(start, plain)?;
            self.budget.charge(text.len())?;
            self.at += 1;
            return Ok(text.to_owned());
        }
        // An escape is never shorter than what it stands for: as written is room enough, in one allocation.
        let room = self.length_as_written(start)?;
        self.budget.charge(room)?;
        let mut text = String::with_capacity(room);
        let mut piece_start = start;
        let mut piece = plain;
        loop {
            let fragment = self.utf8(piece_start, piece)?;
            text.push_str(fragment);
            match self.input.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return self.error("the end of a string was expected"),
            }
            piece_start = self.at;
            piece = self.plain_run();
        }
    }

    /// Bytes, written as a string.
    pub(crate) fn base64(&mut self) -> Result<Vec<u8>> {
        let at = self.at;
        let text = self.string()?;
        BASE64.decode(text).map_err(|error| ProtocolError::syntax(format!("bad base64: {error}"), at))
    }

    /// How long the string that begins at `start` is as it is written, without its quotes.
    fn length_as_written(&self, start: usize) -> Result<usize> {
        let mut at = start;
        loop {
            let rest = self.input.get(at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(found) if rest[found] == b'"' => return Ok(at + found - start),
                Some(found) => at += found + 2,
                None => return Err(ProtocolError::syntax("the end of a string was expected", self.input.len())),
            }
        }
    }

    /// Advances to the next quote or backslash. Control characters pass: Python's implementation writes some of them as they are.
    fn plain_run(&mut self) -> &'a [u8] {
        let start = self.at;
        let rest = &self.input[start..];
        let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn utf8(&self, start: usize, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes)
            .map_err(|error| ProtocolError::syntax("text that is not UTF-8", start + error.valid_up_to()))
    }

    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        let letter = self.input.get(start + 1).copied();
        self.at += 2;
        Ok(match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.code_unit()?;
                let code = match high {
                    0xd800..=0xdbff => {
                        let follows = self.input.get(self.at..self.at + 2) == Some(b"\\u");
                        self.at += 2;
                        let low = if follows { self.code_unit()? } else { 0 };
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(ProtocolError::syntax("half a surrogate pair", start));
                        }
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(|| ProtocolError::syntax("half a surrogate pair", start))?
            }
            Some(_) => return Err(ProtocolError::syntax("an unknown escape", start)),
            None => return Err(ProtocolError::Truncated { at: self.input.len() }),
        })
    }

    fn code_unit(&mut self) -> Result<u32> {
        let Some(digits) = self.input.get(self.at..self.at + 4) else {
            return Err(ProtocolError::Truncated { at: self.input.len() });
        };
        let mut unit = 0;
        for &digit in digits {
            let value = (digit as char)
                .to_digit(16)
                .ok_or_else(|| ProtocolError::syntax("expected four hexadecimal digits", self.at))?;
            unit = unit << 4 | value;
        }
        self.at += 4;
        Ok(unit)
    }

    /// Whether the literal stands here; consumes it if so.
    pub(crate) fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.input[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Steps over any value without keeping it.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'{' => {
                self.open(b'{')?;
                while self.more(b'}')? {
                    self.skip_string()?;
                    self.expect(b':')?;
                    self.skip()?;
                }
                Ok(())
            }
            b'[' => {
                self.open(b'[')?;
                while self.more(b']')? {
                    self.skip()?;
                }
                Ok(())
            }
            b't' if self.literal("true") => Ok(()),
            b'f' if self.literal("false") => Ok(()),
            b'n' if self.literal("null") => Ok(()),
            _ => self.double().map(drop),
        }
    }

    fn skip_string(&mut self) -> Result<()> {
        self.expect(b'"')?;
        loop {
            let start = self.at;
            let run = self.plain_run();
            self.utf8(start, run)?;
            match self.input.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => drop(self.escape()?),
                _ => return self.error("the end of a string was expected"),
            }
        }
    }
}
