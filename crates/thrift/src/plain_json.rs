//! The plain JSON of `/apibeta` (spec thrift-api 1.9): fields by name, enums by name, no type tags. The body is the bare struct, without an
//! envelope.

use base64::Engine as _;

use crate::error::Result;
use crate::json_text::{BASE64, HTML_SAFE_ESCAPES, Text, json_reader_methods, json_writer_methods};
use crate::wire::{EnumValue, FieldSpec, Kind, Limits, MessageKind, Reader, Remaining, Writer};

/// Writes plain JSON.
#[derive(Debug, Default)]
pub struct PlainWriter {
    buffer: Vec<u8>,
}

impl PlainWriter {
    /// A comma unless the value is the first of its object or array.
    fn separate(&mut self) {
        if !matches!(self.buffer.last(), Some(b'{' | b'[')) {
            self.buffer.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

impl Writer for PlainWriter {
    json_writer_methods!(&HTML_SAFE_ESCAPES);

    fn message_begin(&mut self, _method: &str, _kind: MessageKind, _sequence_id: i32) {}

    fn message_end(&mut self) {}

    fn field_begin(&mut self, field: &FieldSpec) {
        self.name(field.name);
    }

    fn field_end(&mut self) {}

    fn field_absent(&mut self, field: &FieldSpec) {
        if field.kind.is_primitive() {
            self.name(field.name);
            match field.kind {
                Kind::Bool => self.boolean(false),
                Kind::Double => self.double(0.0),
                _ => self.i32(0),
            }
        }
    }

    fn list_begin(&mut self, _element: Kind, _count: usize) {
        self.buffer.push(b'[');
    }

    fn element(&mut self) {
        self.separate();
    }

    fn list_end(&mut self) {
        self.buffer.push(b']');
    }

    fn map_begin(&mut self, _value: Kind, _count: usize) {
        self.buffer.push(b'{');
    }

    fn map_end(&mut self) {
        self.buffer.push(b'}');
    }

    fn boolean(&mut self, value: bool) {
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn binary(&mut self, value: &[u8]) {
        self.string(&BASE64.encode(value));
    }

    fn enumeration(&mut self, _value: i32, name: &str) {
        self.string(name);
    }
}

/// Reads plain JSON from a complete body.
#[derive(Debug)]
pub struct PlainReader<'a> {
    text: Text<'a>,
}

impl<'a> PlainReader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Self {
        PlainReader { text: Text::new(input, limits) }
    }

    /// Checks that nothing follows the value.
    pub fn end(&mut self) -> Result<()> {
        self.text.end()
    }
}

impl Reader for PlainReader<'_> {
    json_reader_methods!();

    fn field_begin(&mut self, fields: &'static [FieldSpec]) -> Result<Option<i16>> {
        while self.text.more(b'}')? {
            let name = self.text.string()?;
            self.text.expect(b':')?;
            match fields.iter().find(|field| field.name == name) {
                // A null member is an absent one.
                Some(_) if self.text.literal("null") => {}
                Some(field) => return Ok(Some(field.id)),
                None => self.text.skip()?,
            }
        }
        Ok(None)
    }

    fn field_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn list_begin(&mut self, _element: Kind) -> Result<Remaining> {
        self.text.open(b'[')?;
        Ok(Remaining(None))
    }

    fn list_next(&mut self, _remaining: &mut Remaining) -> Result<bool> {
        self.text.more(b']')
    }

    fn map_begin(&mut self, _value: Kind) -> Result<Remaining> {
        self.text.open(b'{')?;
        Ok(Remaining(None))
    }

    fn map_next(&mut self, _remaining: &mut Remaining) -> Result<Option<String>> {
        if !self.text.more(b'}')? {
            return Ok(None);
        }
        let key = self.text.string()?;
        self.text.expect(b':')?;
        Ok(Some(key))
    }

    fn boolean(&mut self) -> Result<bool> {
        if self.text.literal("true") {
            Ok(true)
        } else if self.text.literal("false") {
            Ok(false)
        } else {
            self.text.error("expected true or false")
        }
    }

    fn enumeration(&mut self) -> Result<EnumValue> {
        self.text.string().map(EnumValue::Name)
    }
}
