//! Thrift's binary protocol (spec thrift-api 1.7): strict on writing, strict and old envelopes on reading, no framing.

use crate::error::{ProtocolError, Result};
use crate::wire::{Budget, EnumValue, FieldSpec, Kind, Limits, MessageKind, Reader, Remaining, Writer};

const VERSION_1: u32 = 0x8001_0000;
const VERSION_MASK: u32 = 0xffff_0000;
const STOP: u8 = 0;

/// Writes the binary protocol.
#[derive(Debug, Default)]
pub struct BinaryWriter {
    buffer: Vec<u8>,
}

impl BinaryWriter {
    fn length(&mut self, length: usize) {
        // A longer value cannot exist: bodies are bounded far below.
        let length = i32::try_from(length).expect("a value of the interface is shorter than 2 GiB");
        self.i32(length);
    }
}

impl Writer for BinaryWriter {
    fn with_buffer(buffer: Vec<u8>) -> Self {
        BinaryWriter { buffer }
    }

    fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn take_buffer(&mut self, next: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.buffer, next)
    }

    fn message_begin(&mut self, method: &str, kind: MessageKind, sequence_id: i32) {
        self.buffer.extend_from_slice(&(VERSION_1 | kind as u32).to_be_bytes());
        self.string(method);
        self.i32(sequence_id);
    }

    fn message_end(&mut self) {}

    fn struct_begin(&mut self) {}

    fn struct_end(&mut self) {
        self.buffer.push(STOP);
    }

    fn field_begin(&mut self, field: &FieldSpec) {
        self.buffer.push(field.kind.binary_code());
        self.buffer.extend_from_slice(&field.id.to_be_bytes());
    }

    fn field_end(&mut self) {}

    fn field_absent(&mut self, _field: &FieldSpec) {}

    fn list_begin(&mut self, element: Kind, count: usize) {
        self.buffer.push(element.binary_code());
        self.length(count);
    }

    fn element(&mut self) {}

    fn list_end(&mut self) {}

    fn map_begin(&mut self, value: Kind, count: usize) {
        self.buffer.push(Kind::String.binary_code());
        self.buffer.push(value.binary_code());
        self.length(count);
    }

    fn map_key(&mut self, key: &str) {
        self.string(key);
    }

    fn map_end(&mut self) {}

    fn boolean(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    fn i32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    fn double(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.binary(value.as_bytes());
    }

    fn binary(&mut self, value: &[u8]) {
        self.length(value.len());
        self.buffer.extend_from_slice(value);
    }

    fn enumeration(&mut self, value: i32, _name: &str) {
        self.i32(value);
    }

    fn encoded(&mut self, value: &[u8]) {
        self.buffer.extend_from_slice(value);
    }
}

/// Reads the binary protocol from a complete message.
#[derive(Debug)]
pub struct BinaryReader<'a> {
    input: &'a [u8],
    at: usize,
    budget: Budget,
}

impl<'a> BinaryReader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Self {
        BinaryReader { input, at: 0, budget: Budget::new(limits) }
    }

    /// The envelope: method name, kind, sequence id.
    pub fn message_begin(&mut self) -> Result<(String, MessageKind, i32)> {
        let first = self.word()?;
        let (name, kind) = if first & 0x8000_0000 != 0 {
            if first & VERSION_MASK != VERSION_1 {
                return Err(ProtocolError::syntax("an unknown protocol version", 0));
            }
            (self.string()?, i64::from(first & 0xff))
        } else {
            // The old form starts with the name itself, whose length is never negative.
            self.at = 0;
            (self.string()?, i64::from(self.byte()?))
        };
        let kind =
            MessageKind::from_code(kind).ok_or_else(|| ProtocolError::syntax("an unknown message type", self.at))?;
        Ok((name, kind, self.i32()?))
    }

    /// Checks that nothing follows the message.
    pub fn message_end(&mut self) -> Result<()> {
        if self.at == self.input.len() {
            Ok(())
        } else {
            Err(ProtocolError::syntax("bytes after the end of the message", self.at))
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.input[self.at..];
        if rest.len() < count {
            return Err(ProtocolError::Truncated { at: self.input.len() });
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returns what was asked for"))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A length that claims no more than what is left to read.
    fn count(&mut self, least_bytes_each: usize) -> Result<usize> {
        let at = self.at;
        let count = usize::try_from(self.i32()?).map_err(|_| ProtocolError::syntax("a negative length", at))?;
        if count.saturating_mul(least_bytes_each) > self.input.len() - self.at {
            return Err(ProtocolError::Truncated { at: self.input.len() });
        }
        Ok(count)
    }

    fn kind(&mut self) -> Result<Kind> {
        let at = self.at;
        Kind::from_binary_code(self.byte()?).ok_or_else(|| ProtocolError::syntax("an unknown value type", at))
    }

    fn element_kind(&mut self, expected: Kind) -> Result<(Kind, usize)> {
        let at = self.at;
        let code = self.byte()?;
        let found = Kind::from_binary_code(code);
        let count = self.count(found.map_or(0, Kind::least_binary_bytes))?;
        match found {
            Some(kind) if kind.same_wire(expected) => Ok((kind, count)),
            // Some peers announce no element type for an empty container.
            _ if count == 0 => Ok((expected, 0)),
            Some(kind) => Err(ProtocolError::syntax(format!("elements of type {kind} where {expected} belongs"), at)),
            None => Err(ProtocolError::syntax("an unknown value type", at)),
        }
    }

    fn skip(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Bool | Kind::Byte => self.take(1).map(drop),
            Kind::I16 => self.take(2).map(drop),
            Kind::I32 | Kind::Enum => self.take(4).map(drop),
            Kind::Double | Kind::I64 => self.take(8).map(drop),
            Kind::String | Kind::Binary => {
                let length = self.count(1)?;
                self.take(length).map(drop)
            }
            Kind::Struct => {
                self.budget.descend()?;
                loop {
                    let code = self.byte()?;
                    if code == STOP {
                        break;
                    }
                    self.at -= 1;
                    let kind = self.kind()?;
                    self.take(2)?;
                    self.skip(kind)?;
                }
                self.budget.ascend();
                Ok(())
            }
            Kind::List | Kind::Set => self.skip_elements(1),
            Kind::Map => self.skip_elements(2),
        }
    }

    /// Skips a container whose elements consist of `width` values each.
    fn skip_elements(&mut self, width: usize) -> Result<()> {
        self.budget.descend()?;
        let mut codes = [0; 2];
        for code in &mut codes[..width] {
            *code = self.byte()?;
        }
        let kinds = codes.map(Kind::from_binary_code);
        let least = kinds[..width].iter().flatten().map(|kind| kind.least_binary_bytes()).sum();
        let count = self.count(least)?;
        for _ in 0..count {
            for kind in &kinds[..width] {
                self.skip(kind.ok_or_else(|| ProtocolError::syntax("an unknown value type", self.at))?)?;
            }
        }
        self.budget.ascend();
        Ok(())
    }
}

impl Reader for BinaryReader<'_> {
    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.budget.charge(bytes)
    }

    fn struct_begin(&mut self) -> Result<()> {
        self.budget.descend()
    }

    fn field_begin(&mut self, fields: &'static [FieldSpec]) -> Result<Option<i16>> {
        loop {
            if self.byte()? == STOP {
                self.budget.ascend();
                return Ok(None);
            }
            self.at -= 1;
            let kind = self.kind()?;
            let id = i16::from_be_bytes(self.array()?);
            match fields.iter().find(|field| field.id == id) {
                Some(field) if field.kind.same_wire(kind) => return Ok(Some(id)),
                Some(field) => {
                    return Err(ProtocolError::WrongKind {
                        field: field.name,
                        expected: field.kind,
                        found: kind.json_tag(),
                    });
                }
                None => self.skip(kind)?,
            }
        }
    }

    fn field_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn list_begin(&mut self, element: Kind) -> Result<Remaining> {
        self.budget.descend()?;
        let (_, count) = self.element_kind(element)?;
        Ok(Remaining(Some(count)))
    }

    fn list_next(&mut self, remaining: &mut Remaining) -> Result<bool> {
        let more = remaining.step().unwrap_or(false);
        if !more {
            self.budget.ascend();
        }
        Ok(more)
    }

    fn map_begin(&mut self, value: Kind) -> Result<Remaining> {
        self.budget.descend()?;
        let at = self.at;
        let key_code = self.byte()?;
        let (_, count) = self.element_kind(value)?;
        if count > 0 && key_code != Kind::String.binary_code() {
            return Err(ProtocolError::syntax("a map whose keys are not text", at));
        }
        Ok(Remaining(Some(count)))
    }

    fn map_next(&mut self, remaining: &mut Remaining) -> Result<Option<String>> {
        if self.list_next(remaining)? { self.string().map(Some) } else { Ok(None) }
    }

    fn boolean(&mut self) -> Result<bool> {
        Ok(self.byte()? != 0)
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn double(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String> {
        let length = self.count(1)?;
        let at = self.at;
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ProtocolError::syntax("text that is not UTF-8", at + error.valid_up_to()))?;
        self.budget.charge(length)?;
        Ok(text.to_owned())
    }

    fn binary(&mut self) -> Result<Vec<u8>> {
        let length = self.count(1)?;
        let bytes = self.take(length)?;
        self.budget.charge(length)?;
        Ok(bytes.to_vec())
    }

    fn enumeration(&mut self) -> Result<EnumValue> {
        self.i32().map(EnumValue::Number)
    }
}
