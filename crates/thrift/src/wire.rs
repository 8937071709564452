//! The words every protocol shares: kinds of values, the push-style [`Writer`], the pull-style [`Reader`] and the traits that
//! schema types implement on top of them. Not here: how any protocol spells a value.
//!
//! Writing never builds a tree: a value pushes itself, field by field, into the writer's buffer. Reading is bounded by [`Limits`]:
//! depth, and the memory that decoded values may take, both checked before anything is allocated.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ProtocolError, Result};

/// The type of a value on the wire (spec thrift-api 1.7 and 1.8). `Enum` travels as an `i32` in both Thrift protocols but by name in plain
/// JSON, hence a kind of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// One signed byte. No field of the interface uses it; it can occur in unknown fields.
    Byte,
    /// IEEE 754 double.
    Double,
    /// 16-bit integer; only in unknown fields.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// UTF-8 text.
    String,
    /// Bytes; shares the wire type of `String`, base64 in the JSON forms.
    Binary,
    /// A struct or union.
    Struct,
    /// A map.
    Map,
    /// A set.
    Set,
    /// A list.
    List,
    /// An enum constant.
    Enum,
}

impl Kind {
    /// The type code of the binary protocol.
    pub const fn binary_code(self) -> u8 {
        match self {
            Kind::Bool => 2,
            Kind::Byte => 3,
            Kind::Double => 4,
            Kind::I16 => 6,
            Kind::I32 | Kind::Enum => 8,
            Kind::I64 => 10,
            Kind::String | Kind::Binary => 11,
            Kind::Struct => 12,
            Kind::Map => 13,
            Kind::Set => 14,
            Kind::List => 15,
        }
    }

    /// The type tag of Thrift JSON.
    pub const fn json_tag(self) -> &'static str {
        match self {
            Kind::Bool => "tf",
            Kind::Byte => "i8",
            Kind::Double => "dbl",
            Kind::I16 => "i16",
            Kind::I32 | Kind::Enum => "i32",
            Kind::I64 => "i64",
            Kind::String | Kind::Binary => "str",
            Kind::Struct => "rec",
            Kind::Map => "map",
            Kind::Set => "set",
            Kind::List => "lst",
        }
    }

    /// The kind behind a binary type code; `None` for codes that do not exist.
    pub const fn from_binary_code(code: u8) -> Option<Kind> {
        Some(match code {
            2 => Kind::Bool,
            3 => Kind::Byte,
            4 => Kind::Double,
            6 => Kind::I16,
            8 => Kind::I32,
            10 => Kind::I64,
            11 => Kind::String,
            12 => Kind::Struct,
            13 => Kind::Map,
            14 => Kind::Set,
            15 => Kind::List,
            _ => return None,
        })
    }

    /// The fewest bytes one value of this kind takes in the binary protocol; bounds element counts before allocation.
    pub(crate) const fn least_binary_bytes(self) -> usize {
        match self {
            Kind::Bool | Kind::Byte | Kind::Struct => 1,
            Kind::I16 => 2,
            Kind::I32 | Kind::Enum | Kind::String | Kind::Binary => 4,
            Kind::Double | Kind::I64 => 8,
            Kind::Set | Kind::List => 5,
            Kind::Map => 6,
        }
    }

    /// Whether the other implementations hold it as a primitive, which plain JSON prints even when unset (spec thrift-api 1.9).
    pub(crate) const fn is_primitive(self) -> bool {
        matches!(self, Kind::Bool | Kind::Byte | Kind::Double | Kind::I16 | Kind::I32 | Kind::I64)
    }

    /// Whether two kinds look the same on a Thrift wire.
    pub(crate) const fn same_wire(self, other: Kind) -> bool {
        self.binary_code() == other.binary_code()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Bool => "bool",
            Kind::Byte => "byte",
            Kind::Double => "double",
            Kind::I16 => "i16",
            Kind::I32 => "i32",
            Kind::I64 => "i64",
            Kind::String => "string",
            Kind::Binary => "binary",
            Kind::Struct => "struct",
            Kind::Map => "map",
            Kind::Set => "set",
            Kind::List => "list",
            Kind::Enum => "enum",
        })
    }
}

/// One field of a struct, one member of a union or one argument of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// The number on the Thrift wires.
    pub id: i16,
    /// The name in the interface, as plain JSON spells it.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
}

impl FieldSpec {
    /// The field of that number, for writers that push a struct without building it first. Meant for constants: an unknown number does not
    /// compile.
    pub const fn of(fields: &'static [FieldSpec], id: i16) -> &'static FieldSpec {
        let mut at = 0;
        while at < fields.len() {
            if fields[at].id == id {
                return &fields[at];
            }
            at += 1;
        }
        panic!("the struct has no field of this number")
    }
}

/// What a message is (spec thrift-api 1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A request that expects an answer.
    Call = 1,
    /// The answer.
    Reply = 2,
    /// The peer could not handle the call at all.
    Exception = 3,
    /// A request without an answer; the interface has none.
    Oneway = 4,
}

impl MessageKind {
    /// The kind behind its number.
    pub const fn from_code(code: i64) -> Option<MessageKind> {
        Some(match code {
            1 => MessageKind::Call,
            2 => MessageKind::Reply,
            3 => MessageKind::Exception,
            4 => MessageKind::Oneway,
            _ => return None,
        })
    }
}

/// The bounds of one decoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep structs and containers may nest.
    pub depth: u32,
    /// How much memory the decoded values may take, in bytes (counted by element size and string length, so approximate).
    pub memory_bytes: usize,
}

impl Limits {
    /// For requests from anybody: 64 levels, 32 MiB, twice the longest body that is read. Nothing in a request takes a larger allocation
    /// than such a body.
    pub const REQUEST: Limits = Limits { depth: 64, memory_bytes: 32 << 20 };
    /// For replies of a scheduler the user chose: 64 levels, 4 GiB.
    pub const REPLY: Limits = Limits { depth: 64, memory_bytes: 4 << 30 };
}

/// What is left of the [`Limits`] while reading.
#[derive(Debug)]
pub(crate) struct Budget {
    depth_left: u32,
    memory_left_bytes: usize,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Budget { depth_left: limits.depth, memory_left_bytes: limits.memory_bytes }
    }

    pub(crate) fn descend(&mut self) -> Result<()> {
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| ProtocolError::Limit("the message is nested too deeply".to_owned()))?;
        Ok(())
    }

    pub(crate) fn ascend(&mut self) {
        self.depth_left += 1;
    }

    pub(crate) fn charge(&mut self, bytes: usize) -> Result<()> {
        self.memory_left_bytes = self
            .memory_left_bytes
            .checked_sub(bytes)
            .ok_or_else(|| ProtocolError::Limit("the message holds too much data to be decoded".to_owned()))?;
        Ok(())
    }
}

/// Where a value pushes itself. The buffer belongs to the writer and can be taken in pieces, so that a reply larger than memory allows
/// can leave while it is being written.
///
/// The order of calls is the shape of the value; the writer does not check it.
pub trait Writer: Sized {
    /// A writer that appends to `buffer`.
    fn with_buffer(buffer: Vec<u8>) -> Self;
    /// A writer with an empty buffer.
    fn new() -> Self {
        Self::with_buffer(Vec::new())
    }
    /// The bytes written and not yet taken.
    fn buffer(&self) -> &[u8];
    /// The whole buffer, at the end.
    fn into_buffer(self) -> Vec<u8>;
    /// Takes what may leave already, leaving `next` (an empty buffer to be reused) in its place. The writer may keep the last byte back.
    fn take_buffer(&mut self, next: Vec<u8>) -> Vec<u8>;

    /// Opens the envelope.
    fn message_begin(&mut self, method: &str, kind: MessageKind, sequence_id: i32);
    /// Closes the envelope.
    fn message_end(&mut self);
    /// Opens a struct or union.
    fn struct_begin(&mut self);
    /// Closes it.
    fn struct_end(&mut self);
    /// Starts a field; its value must follow, then `field_end`.
    fn field_begin(&mut self, field: &FieldSpec);
    /// Ends the field.
    fn field_end(&mut self);
    /// A field that has no value. Only plain JSON writes something, and only for primitives.
    fn field_absent(&mut self, field: &FieldSpec);
    /// Opens a list or set of `count` elements; each must be announced by `element`.
    fn list_begin(&mut self, element: Kind, count: usize);
    /// Announces the next element.
    fn element(&mut self);
    /// Closes the list or set.
    fn list_end(&mut self);
    /// Opens a map with text keys.
    fn map_begin(&mut self, value: Kind, count: usize);
    /// The next key; its value must follow.
    fn map_key(&mut self, key: &str);
    /// Closes the map.
    fn map_end(&mut self);
    /// A boolean.
    fn boolean(&mut self, value: bool);
    /// A 32-bit integer.
    fn i32(&mut self, value: i32);
    /// A 64-bit integer.
    fn i64(&mut self, value: i64);
    /// A double.
    fn double(&mut self, value: f64);
    /// Text.
    fn string(&mut self, value: &str);
    /// Bytes.
    fn binary(&mut self, value: &[u8]);
    /// An enum constant.
    fn enumeration(&mut self, value: i32, name: &str);
    /// A value that was written before by a writer of the same protocol: configurations shared by many tasks are encoded once.
    fn encoded(&mut self, value: &[u8]);
}

/// A decoder of one message. It checks, skips and bounds; the schema types ask it for what they expect.
pub trait Reader {
    /// The budget that element and string sizes are charged to.
    #[doc(hidden)]
    fn charge(&mut self, bytes: usize) -> Result<()>;
    /// Enters a struct or union.
    fn struct_begin(&mut self) -> Result<()>;
    /// The number of the next known field, with unknown ones skipped; `None` when the struct ended. A known field of another kind is an
    /// error and not skipped: skipping a mistyped set of instances would turn "these" into "all".
    fn field_begin(&mut self, fields: &'static [FieldSpec]) -> Result<Option<i16>>;
    /// Ends the field.
    fn field_end(&mut self) -> Result<()>;
    /// Enters a list or set.
    fn list_begin(&mut self, element: Kind) -> Result<Remaining>;
    /// Moves to the next element; false when the list ended (and was left).
    fn list_next(&mut self, remaining: &mut Remaining) -> Result<bool>;
    /// Enters a map with text keys.
    fn map_begin(&mut self, value: Kind) -> Result<Remaining>;
    /// The next key, its value follows; `None` when the map ended (and was left).
    fn map_next(&mut self, remaining: &mut Remaining) -> Result<Option<String>>;
    /// A boolean.
    fn boolean(&mut self) -> Result<bool>;
    /// A 32-bit integer.
    fn i32(&mut self) -> Result<i32>;
    /// A 64-bit integer.
    fn i64(&mut self) -> Result<i64>;
    /// A double.
    fn double(&mut self) -> Result<f64>;
    /// Text.
    fn string(&mut self) -> Result<String>;
    /// Bytes.
    fn binary(&mut self) -> Result<Vec<u8>>;
    /// An enum constant, by number or by name as the protocol has it.
    fn enumeration(&mut self) -> Result<EnumValue>;
}

/// How many elements a container announced; plain JSON announces nothing.
#[derive(Clone, Copy, Debug)]
pub struct Remaining(pub(crate) Option<usize>);

impl Remaining {
    /// Counts one element; false when none is left. `None` for containers without a count.
    pub(crate) fn step(&mut self) -> Option<bool> {
        let left = self.0.as_mut()?;
        if *left == 0 {
            return Some(false);
        }
        *left -= 1;
        Some(true)
    }
}

/// An enum constant as it stood in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnumValue {
    /// Its number (both Thrift protocols).
    Number(i32),
    /// Its name (plain JSON).
    Name(String),
}

/// A value that can write itself.
pub trait Write {
    /// Its type on the wire.
    const KIND: Kind;
    /// Pushes the value.
    fn write<W: Writer>(&self, writer: &mut W);
}

/// A value that can be read.
pub trait Read: Write + Sized {
    /// Pulls the value.
    fn read<R: Reader>(reader: &mut R) -> Result<Self>;
}

/// Something that can stand behind a field number: a value, or an optional one.
pub trait Field {
    /// The type of the value on the wire.
    const KIND: Kind;
    /// Writes the field, or says that it is absent.
    fn write_field<W: Writer>(&self, writer: &mut W, field: &FieldSpec);
    /// Reads the value that follows a field header.
    fn read_field<R: Reader>(&mut self, reader: &mut R) -> Result<()>;
}

impl<T: Read> Field for T {
    const KIND: Kind = T::KIND;

    fn write_field<W: Writer>(&self, writer: &mut W, field: &FieldSpec) {
        writer.field_begin(field);
        self.write(writer);
        writer.field_end();
    }

    fn read_field<R: Reader>(&mut self, reader: &mut R) -> Result<()> {
        *self = T::read(reader)?;
        Ok(())
    }
}

impl<T: Read> Field for Option<T> {
    const KIND: Kind = T::KIND;

    fn write_field<W: Writer>(&self, writer: &mut W, field: &FieldSpec) {
        match self {
            Some(value) => value.write_field(writer, field),
            None => writer.field_absent(field),
        }
    }

    fn read_field<R: Reader>(&mut self, reader: &mut R) -> Result<()> {
        *self = Some(T::read(reader)?);
        Ok(())
    }
}

macro_rules! scalar {
    ($($rust:ty, $kind:ident, $method:ident;)*) => {$(
        impl Write for $rust {
            const KIND: Kind = Kind::$kind;
            fn write<W: Writer>(&self, writer: &mut W) {
                writer.$method(*self);
            }
        }
        impl Read for $rust {
            fn read<R: Reader>(reader: &mut R) -> Result<Self> {
                reader.$method()
            }
        }
    )*};
}

scalar! {
    bool, Bool, boolean;
    i32, I32, i32;
    i64, I64, i64;
    f64, Double, double;
}

impl Write for String {
    const KIND: Kind = Kind::String;
    fn write<W: Writer>(&self, writer: &mut W) {
        writer.string(self);
    }
}

impl Read for String {
    fn read<R: Reader>(reader: &mut R) -> Result<Self> {
        reader.string()
    }
}

/// Bytes that are not text. No field of the interface has this type; the codecs know it because the protocols do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

impl Write for Binary {
    const KIND: Kind = Kind::Binary;
    fn write<W: Writer>(&self, writer: &mut W) {
        writer.binary(&self.0);
    }
}

impl Read for Binary {
    fn read<R: Reader>(reader: &mut R) -> Result<Self> {
        reader.binary().map(Binary)
    }
}

fn write_elements<T: Write, W: Writer>(elements: &[T], writer: &mut W) {
    writer.list_begin(T::KIND, elements.len());
    for element in elements {
        writer.element();
        element.write(writer);
    }
    writer.list_end();
}

fn read_elements<T: Read, R: Reader>(reader: &mut R) -> Result<Vec<T>> {
    let mut remaining = reader.list_begin(T::KIND)?;
    let mut elements = Vec::new();
    while reader.list_next(&mut remaining)? {
        // What is charged is what is allocated: the list's whole room each time it grows, the old one included until it is given back.
        if elements.len() == elements.capacity() {
            let room = (2 * elements.capacity()).max(4);
            reader.charge(room * size_of::<T>())?;
            elements.reserve_exact(room - elements.len());
        }
        elements.push(T::read(reader)?);
    }
    Ok(elements)
}

impl<T: Write> Write for Vec<T> {
    const KIND: Kind = Kind::List;
    fn write<W: Writer>(&self, writer: &mut W) {
        write_elements(self, writer);
    }
}

impl<T: Read> Read for Vec<T> {
    fn read<R: Reader>(reader: &mut R) -> Result<Self> {
        read_elements(reader)
    }
}

/// A set on the wire, in the order it was written. Uniqueness is the writer's duty: Go's generated code refuses duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T>(pub Vec<T>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Set(Vec::new())
    }
}

impl<T> std::ops::Deref for Set<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Set(elements.into_iter().collect())
    }
}

impl<T> IntoIterator for Set<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Write> Write for Set<T> {
    const KIND: Kind = Kind::Set;
    fn write<W: Writer>(&self, writer: &mut W) {
        write_elements(&self.0, writer);
    }
}

impl<T: Read> Read for Set<T> {
    fn read<R: Reader>(reader: &mut R) -> Result<Self> {
        read_elements(reader).map(Set)
    }
}

impl<V: Write> Write for BTreeMap<String, V> {
    const KIND: Kind = Kind::Map;
    fn write<W: Writer>(&self, writer: &mut W) {
        writer.map_begin(V::KIND, self.len());
        for (key, value) in self {
            writer.map_key(key);
            value.write(writer);
        }
        writer.map_end();
    }
}

impl<V: Read> Read for BTreeMap<String, V> {
    fn read<R: Reader>(reader: &mut R) -> Result<Self> {
        let mut remaining = reader.map_begin(V::KIND)?;
        let mut entries = BTreeMap::new();
        while let Some(key) = reader.map_next(&mut remaining)? {
            reader.charge(size_of::<(String, V)>() * 2)?;
            entries.insert(key, V::read(reader)?);
        }
        Ok(entries)
    }
}
