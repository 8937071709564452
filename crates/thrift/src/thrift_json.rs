//! Thrift's JSON protocol, TJSON (spec thrift-api 1.8): field numbers as keys, a type tag beside every value.

use base64::Engine as _;

use crate::error::{ProtocolError, Result};
use crate::json_text::{BASE64, THRIFT_ESCAPES, Text, json_reader_methods, json_writer_methods, write_integer};
use crate::wire::{EnumValue, FieldSpec, Kind, Limits, MessageKind, Reader, Remaining, Writer};

/// Writes TJSON.
#[derive(Debug, Default)]
pub struct JsonWriter {
    buffer: Vec<u8>,
}

impl JsonWriter {
    /// A comma unless the value opens an object.
    fn separate(&mut self) {
        if !matches!(self.buffer.last(), Some(b'{')) {
            self.buffer.push(b',');
        }
    }

    fn tag(&mut self, kind: Kind) {
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(kind.json_tag().as_bytes());
        self.buffer.push(b'"');
    }
}

impl Writer for JsonWriter {
    json_writer_methods!(&THRIFT_ESCAPES);

    fn message_begin(&mut self, method: &str, kind: MessageKind, sequence_id: i32) {
        self.buffer.extend_from_slice(b"[1,");
        self.string(method);
        self.buffer.push(b',');
        self.i32(kind as i32);
        self.buffer.push(b',');
        self.i32(sequence_id);
        self.buffer.push(b',');
    }

    fn message_end(&mut self) {
        self.buffer.push(b']');
    }

    fn field_begin(&mut self, field: &FieldSpec) {
        self.separate();
        self.buffer.push(b'"');
        write_integer(&mut self.buffer, field.id);
        self.buffer.extend_from_slice(b"\":{");
        self.tag(field.kind);
        self.buffer.push(b':');
    }

    fn field_end(&mut self) {
        self.buffer.push(b'}');
    }

    fn field_absent(&mut self, _field: &FieldSpec) {}

    fn list_begin(&mut self, element: Kind, count: usize) {
        self.buffer.push(b'[');
        self.tag(element);
        self.buffer.push(b',');
        write_integer(&mut self.buffer, count);
    }

    fn element(&mut self) {
        self.buffer.push(b',');
    }

    fn list_end(&mut self) {
        self.buffer.push(b']');
    }

    fn map_begin(&mut self, value: Kind, count: usize) {
        self.buffer.extend_from_slice(b"[\"str\",");
        self.tag(value);
        self.buffer.push(b',');
        write_integer(&mut self.buffer, count);
        self.buffer.extend_from_slice(b",{");
    }

    fn map_end(&mut self) {
        self.buffer.extend_from_slice(b"}]");
    }

    fn boolean(&mut self, value: bool) {
        self.buffer.push(if value { b'1' } else { b'0' });
    }

    fn binary(&mut self, value: &[u8]) {
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(BASE64.encode(value).as_bytes());
        self.buffer.push(b'"');
    }

    fn enumeration(&mut self, value: i32, _name: &str) {
        self.i32(value);
    }
}

/// Reads TJSON from a complete message. More lenient than Java in one point: white space is allowed, so that a call can be typed by hand.
#[derive(Debug)]
pub struct JsonReader<'a> {
    text: Text<'a>,
}

impl<'a> JsonReader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Self {
        JsonReader { text: Text::new(input, limits) }
    }

    /// The envelope: method name, kind, sequence id.
    pub fn message_begin(&mut self) -> Result<(String, MessageKind, i32)> {
        self.text.open(b'[')?;
        self.text.separator()?;
        if self.text.integer()? != 1 {
            return Err(ProtocolError::syntax("an unknown protocol version", 1));
        }
        self.text.expect(b',')?;
        let name = self.text.string()?;
        self.text.expect(b',')?;
        let kind = MessageKind::from_code(self.text.integer()?)
            .ok_or_else(|| ProtocolError::syntax("an unknown message type", self.text.at))?;
        self.text.expect(b',')?;
        let sequence_id = self.text.integer_32()?;
        self.text.expect(b',')?;
        Ok((name, kind, sequence_id))
    }

    /// Checks that nothing follows the message.
    pub fn message_end(&mut self) -> Result<()> {
        self.text.close(b']')?;
        self.end()
    }

    /// Checks that nothing follows a bare value.
    pub fn end(&mut self) -> Result<()> {
        self.text.end()
    }

    /// The element count of a container, refused when the rest of the message cannot hold as many (two bytes each: comma and value).
    fn count(&mut self) -> Result<usize> {
        let at = self.text.at;
        let count =
            usize::try_from(self.text.integer()?).map_err(|_| ProtocolError::syntax("a negative length", at))?;
        if count > (self.text.input.len() - self.text.at) / 2 {
            return Err(ProtocolError::Truncated { at: self.text.input.len() });
        }
        Ok(count)
    }

    /// A tag that must be `expected`; checked once the count is known to be above zero.
    fn tag(&mut self) -> Result<String> {
        let tag = self.text.string()?;
        self.text.expect(b',')?;
        Ok(tag)
    }

    fn check_tag(&self, tag: &str, expected: Kind, count: usize) -> Result<()> {
        if count == 0 || tag == expected.json_tag() {
            return Ok(());
        }
        Err(ProtocolError::syntax(
            format!("elements tagged '{}' where {expected} belongs", tag.escape_debug()),
            self.text.at,
        ))
    }
}

impl Reader for JsonReader<'_> {
    json_reader_methods!();

    fn field_begin(&mut self, fields: &'static [FieldSpec]) -> Result<Option<i16>> {
        while self.text.more(b'}')? {
            let at = self.text.at;
            let id: i16 =
                self.text.string()?.parse().map_err(|_| ProtocolError::syntax("expected a field number", at))?;
            self.text.expect(b':')?;
            let Some(field) = fields.iter().find(|field| field.id == id) else {
                self.text.skip()?;
                continue;
            };
            self.text.open(b'{')?;
            self.text.separator()?;
            let tag = self.text.string()?;
            if tag != field.kind.json_tag() {
                return Err(ProtocolError::WrongKind {
                    field: field.name,
                    expected: field.kind,
                    found: known_tag(&tag),
                });
            }
            self.text.expect(b':')?;
            return Ok(Some(id));
        }
        Ok(None)
    }

    fn field_end(&mut self) -> Result<()> {
        self.text.close(b'}')
    }

    fn list_begin(&mut self, element: Kind) -> Result<Remaining> {
        self.text.open(b'[')?;
        let tag = self.tag()?;
        let count = self.count()?;
        self.check_tag(&tag, element, count)?;
        Ok(Remaining(Some(count)))
    }

    fn list_next(&mut self, remaining: &mut Remaining) -> Result<bool> {
        if remaining.step() == Some(true) {
            self.text.expect(b',')?;
            return Ok(true);
        }
        self.text.close(b']')?;
        Ok(false)
    }

    fn map_begin(&mut self, value: Kind) -> Result<Remaining> {
        self.text.open(b'[')?;
        let key_tag = self.tag()?;
        let value_tag = self.tag()?;
        let count = self.count()?;
        self.check_tag(&key_tag, Kind::String, count)?;
        self.check_tag(&value_tag, value, count)?;
        self.text.expect(b',')?;
        self.text.open(b'{')?;
        Ok(Remaining(Some(count)))
    }

    fn map_next(&mut self, remaining: &mut Remaining) -> Result<Option<String>> {
        if remaining.step() == Some(true) {
            self.text.separator()?;
            let key = self.text.string()?;
            self.text.expect(b':')?;
            return Ok(Some(key));
        }
        self.text.close(b'}')?;
        self.text.close(b']')?;
        Ok(None)
    }

    fn boolean(&mut self) -> Result<bool> {
        Ok(self.text.integer()? != 0)
    }

    fn enumeration(&mut self) -> Result<EnumValue> {
        self.text.integer_32().map(EnumValue::Number)
    }
}

/// The tag as a word that lives forever, for messages.
fn known_tag(tag: &str) -> &'static str {
    const TAGS: [&str; 11] = ["tf", "i8", "i16", "i32", "i64", "dbl", "str", "rec", "map", "set", "lst"];
    TAGS.into_iter().find(|known| *known == tag).unwrap_or("an unknown tag")
}
