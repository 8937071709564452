//! The envelope around calls and answers (spec thrift-api 1.7 and 1.8): encoding and decoding for servers and for clients. Plain JSON has no
//! envelope; its two functions are here as well, so that an adapter finds everything in one place.

use crate::binary::{BinaryReader, BinaryWriter};
use crate::error::{ProtocolError, Result};
use crate::plain_json::{PlainReader, PlainWriter};
use crate::schema::{Call, Method, Response};
use crate::thrift_json::{JsonReader, JsonWriter};
use crate::wire::{FieldSpec, Kind, Limits, MessageKind, Read, Reader, Write, Writer};

/// The two protocols with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TJSON.
    Json,
    /// TBinary.
    Binary,
}

impl Protocol {
    /// The media type of this protocol, without parameters (spec thrift-api 1.2).
    pub const fn media_type(self) -> &'static str {
        match self {
            Protocol::Json => "application/vnd.apache.thrift.json",
            Protocol::Binary => "application/vnd.apache.thrift.binary",
        }
    }
}

/// Where a method's answer stands in its result struct.
const SUCCESS: FieldSpec = FieldSpec { id: 0, name: "success", kind: Kind::Struct };

/// Numbers of the exceptions a server can answer with (spec thrift-api 1.8).
pub mod exception_kind {
    /// There is no such method.
    pub const UNKNOWN_METHOD: i32 = 1;
    /// The method answered nothing.
    pub const MISSING_RESULT: i32 = 5;
    /// The server failed inside.
    pub const INTERNAL_ERROR: i32 = 6;
    /// The arguments could not be read.
    pub const PROTOCOL_ERROR: i32 = 7;
}

thrift_struct! {
    /// The struct inside an exception message.
    pub struct ApplicationException { 1 message: Option<String>, 2 kind: i32 }
    /// The result struct of every method, as a client reads it.
    pub struct MethodResult { 0 success: Option<Response> }
}

/// A call as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct CallMessage {
    /// Chosen by the client, to be echoed.
    pub sequence_id: i32,
    /// The method with its arguments.
    pub call: Call,
}

/// Why a call cannot be handled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// Not even the envelope is readable: there is nobody to answer to, in Aurora an HTTP 500.
    #[error("this is no Thrift call: {0}")]
    Envelope(ProtocolError),
    /// The method does not exist.
    #[error("there is no method \"{name}\"{}", retired(name))]
    UnknownMethod {
        /// As the client wrote it.
        name: String,
        /// To be echoed.
        sequence_id: i32,
    },
    /// The arguments do not fit the schema.
    #[error("the arguments of {} cannot be read: {error}", method.name())]
    Arguments {
        /// What was called.
        method: Method,
        /// To be echoed.
        sequence_id: i32,
        /// What is wrong.
        error: ProtocolError,
    },
}

/// What became of methods that clients of long ago still call.
fn retired(name: &str) -> &'static str {
    match name {
        "acquireLock" | "releaseLock" | "getLocks" => {
            ": locks are no part of the API any more, the scheduler itself keeps changes of a job apart. Use a newer client"
        }
        "getVersion" | "rewriteConfigs" | "getStagedUpdates" | "startUpdate" | "finishUpdate" | "updateShards"
        | "rollbackShards" => ": it is no part of the API any more. Use a newer client, and startJobUpdate for updates",
        _ => "",
    }
}

impl CallError {
    /// The exception message to answer with; `None` when the envelope was unreadable.
    pub fn encode_exception(&self, protocol: Protocol) -> Option<Vec<u8>> {
        let (name, sequence_id, kind) = match self {
            CallError::Envelope(_) => return None,
            CallError::UnknownMethod { name, sequence_id } => {
                (name.as_str(), *sequence_id, exception_kind::UNKNOWN_METHOD)
            }
            CallError::Arguments { method, sequence_id, .. } => {
                (method.name(), *sequence_id, exception_kind::PROTOCOL_ERROR)
            }
        };
        Some(encode_exception(protocol, name, sequence_id, kind, &self.to_string()))
    }
}

/// Why a reply is of no use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// The bytes are no reply.
    #[error("the answer is no Thrift reply: {0}")]
    Protocol(#[from] ProtocolError),
    /// The server answered with an exception.
    #[error("the scheduler refused the call: {message} (exception {kind})")]
    Exception {
        /// The server's words.
        message: String,
        /// One of [`exception_kind`], or another server's own number.
        kind: i32,
    },
    /// The reply belongs to another call.
    #[error("the answer belongs to another call ({name}, number {sequence_id})")]
    Mismatch {
        /// The method the reply names.
        name: String,
        /// The number it echoes.
        sequence_id: i32,
    },
    /// The reply holds no response.
    #[error("the answer to {0} is missing its result")]
    MissingResult(&'static str),
}

/// A reader that knows an envelope.
trait Envelope: Reader {
    fn open(&mut self) -> Result<(String, MessageKind, i32)>;
    fn close(&mut self) -> Result<()>;
}

impl Envelope for BinaryReader<'_> {
    fn open(&mut self) -> Result<(String, MessageKind, i32)> {
        self.message_begin()
    }
    fn close(&mut self) -> Result<()> {
        self.message_end()
    }
}

impl Envelope for JsonReader<'_> {
    fn open(&mut self) -> Result<(String, MessageKind, i32)> {
        self.message_begin()
    }
    fn close(&mut self) -> Result<()> {
        self.message_end()
    }
}

/// Decodes a call, on the server's side.
pub fn decode_call(protocol: Protocol, message: &[u8], limits: Limits) -> std::result::Result<CallMessage, CallError> {
    match protocol {
        Protocol::Json => call_from(JsonReader::new(message, limits)),
        Protocol::Binary => call_from(BinaryReader::new(message, limits)),
    }
}

fn call_from(mut reader: impl Envelope) -> std::result::Result<CallMessage, CallError> {
    let (name, kind, sequence_id) = reader.open().map_err(CallError::Envelope)?;
    if !matches!(kind, MessageKind::Call | MessageKind::Oneway) {
        let error = ProtocolError::Value("the message is not a call".to_owned());
        return Err(CallError::Envelope(error));
    }
    let Some(method) = Method::from_name(&name) else {
        return Err(CallError::UnknownMethod { name, sequence_id });
    };
    let call = Call::read_arguments(method, &mut reader).map_err(|error| CallError::Arguments {
        method,
        sequence_id,
        error,
    })?;
    // Arguments that are whole but followed by something else: the envelope is at fault, as in Aurora.
    reader.close().map_err(CallError::Envelope)?;
    Ok(CallMessage { sequence_id, call })
}

/// Encodes a call, on the client's side.
pub fn encode_call(protocol: Protocol, sequence_id: i32, call: &Call) -> Vec<u8> {
    fn with<W: Writer>(sequence_id: i32, call: &Call) -> Vec<u8> {
        let mut writer = W::new();
        writer.message_begin(call.method().name(), MessageKind::Call, sequence_id);
        call.write_arguments(&mut writer);
        writer.message_end();
        writer.into_buffer()
    }
    match protocol {
        Protocol::Json => with::<JsonWriter>(sequence_id, call),
        Protocol::Binary => with::<BinaryWriter>(sequence_id, call),
    }
}

/// Opens a reply; the response struct must follow, then [`end_reply`].
pub fn begin_reply<W: Writer>(writer: &mut W, method: Method, sequence_id: i32) {
    writer.message_begin(method.name(), MessageKind::Reply, sequence_id);
    writer.struct_begin();
    writer.field_begin(&SUCCESS);
}

/// Closes a reply.
pub fn end_reply<W: Writer>(writer: &mut W) {
    writer.field_end();
    writer.struct_end();
    writer.message_end();
}

/// Encodes a whole reply; `response` is a [`Response`] or anything that writes itself as one.
pub fn encode_reply(protocol: Protocol, method: Method, sequence_id: i32, response: &impl Write) -> Vec<u8> {
    fn with<W: Writer>(method: Method, sequence_id: i32, response: &impl Write) -> Vec<u8> {
        let mut writer = W::new();
        begin_reply(&mut writer, method, sequence_id);
        response.write(&mut writer);
        end_reply(&mut writer);
        writer.into_buffer()
    }
    match protocol {
        Protocol::Json => with::<JsonWriter>(method, sequence_id, response),
        Protocol::Binary => with::<BinaryWriter>(method, sequence_id, response),
    }
}

/// Encodes an exception. `name` is what the client called, known or not.
pub fn encode_exception(protocol: Protocol, name: &str, sequence_id: i32, kind: i32, message: &str) -> Vec<u8> {
    fn with<W: Writer>(name: &str, sequence_id: i32, exception: &ApplicationException) -> Vec<u8> {
        let mut writer = W::new();
        writer.message_begin(name, MessageKind::Exception, sequence_id);
        exception.write(&mut writer);
        writer.message_end();
        writer.into_buffer()
    }
    let exception = ApplicationException { message: Some(message.to_owned()), kind };
    match protocol {
        Protocol::Json => with::<JsonWriter>(name, sequence_id, &exception),
        Protocol::Binary => with::<BinaryWriter>(name, sequence_id, &exception),
    }
}

/// Decodes the reply to a call, on the client's side; method and sequence id must be those of the call.
pub fn decode_reply(
    protocol: Protocol,
    method: Method,
    sequence_id: i32,
    message: &[u8],
    limits: Limits,
) -> std::result::Result<Response, ReplyError> {
    match protocol {
        Protocol::Json => reply_from(JsonReader::new(message, limits), method, sequence_id),
        Protocol::Binary => reply_from(BinaryReader::new(message, limits), method, sequence_id),
    }
}

fn reply_from(
    mut reader: impl Envelope,
    method: Method,
    sequence_id: i32,
) -> std::result::Result<Response, ReplyError> {
    let (name, kind, echoed) = reader.open()?;
    if name != method.name() || echoed != sequence_id {
        return Err(ReplyError::Mismatch { name, sequence_id: echoed });
    }
    match kind {
        MessageKind::Reply => {
            let result = MethodResult::read(&mut reader)?;
            reader.close()?;
            result.success.ok_or(ReplyError::MissingResult(method.name()))
        }
        MessageKind::Exception => {
            let exception = ApplicationException::read(&mut reader)?;
            reader.close()?;
            Err(ReplyError::Exception { message: exception.message.unwrap_or_default(), kind: exception.kind })
        }
        MessageKind::Call | MessageKind::Oneway => {
            Err(ProtocolError::Value("the message is a call, not a reply".to_owned()).into())
        }
    }
}

/// Reads the body of a plain JSON call: an object of arguments by name, or nothing at all.
pub fn decode_plain_arguments(method: Method, body: &[u8], limits: Limits) -> Result<Call> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Call::without_arguments(method));
    }
    let mut reader = PlainReader::new(body, limits);
    let call = Call::read_arguments(method, &mut reader)?;
    reader.end()?;
    Ok(call)
}

/// Writes any struct of the schema as plain JSON.
pub fn encode_plain(value: &impl Write) -> Vec<u8> {
    let mut writer = PlainWriter::new();
    value.write(&mut writer);
    writer.into_buffer()
}

/// Reads any struct of the schema from plain JSON.
pub fn decode_plain<T: Read>(body: &[u8], limits: Limits) -> Result<T> {
    let mut reader = PlainReader::new(body, limits);
    let value = T::read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Writes a bare value in one of the two protocols, without an envelope: for values that are encoded once and used in many replies.
pub fn encode_value(protocol: Protocol, value: &impl Write) -> Vec<u8> {
    fn with<W: Writer>(value: &impl Write) -> Vec<u8> {
        let mut writer = W::new();
        value.write(&mut writer);
        writer.into_buffer()
    }
    match protocol {
        Protocol::Json => with::<JsonWriter>(value),
        Protocol::Binary => with::<BinaryWriter>(value),
    }
}

/// Reads a bare value in one of the two protocols.
pub fn decode_value<T: Read>(protocol: Protocol, bytes: &[u8], limits: Limits) -> Result<T> {
    match protocol {
        Protocol::Json => {
            let mut reader = JsonReader::new(bytes, limits);
            let value = T::read(&mut reader)?;
            reader.end()?;
            Ok(value)
        }
        Protocol::Binary => {
            let mut reader = BinaryReader::new(bytes, limits);
            let value = T::read(&mut reader)?;
            reader.message_end()?;
            Ok(value)
        }
    }
}
