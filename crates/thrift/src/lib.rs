//! Aurora's API on the wire: the schema, its three protocols (Thrift JSON, Thrift binary, plain JSON), the message envelope for servers and
//! clients, and the conversion to and from the model. No behaviour: what a method does is decided elsewhere.
//!
//! ```
//! use thrift::{Call, KillTasksArguments, JobKey, Limits, Protocol, decode_call, encode_call};
//!
//! let call = Call::from(KillTasksArguments {
//!     job: Some(JobKey { role: "vagrant".into(), environment: "prod".into(), name: "x".into() }),
//!     ..KillTasksArguments::default()
//! });
//! let bytes = encode_call(Protocol::Json, 7, &call);
//! let message = decode_call(Protocol::Json, &bytes, Limits::REQUEST).unwrap();
//! assert_eq!((message.sequence_id, message.call), (7, call));
//! ```

#[macro_use]
mod declare;
mod binary;
pub mod convert;
mod error;
mod json_text;
mod message;
mod plain_json;
mod schema;
mod thrift_json;
mod wire;

pub use binary::{BinaryReader, BinaryWriter};
pub use error::ProtocolError;
pub use message::{
    ApplicationException, CallError, CallMessage, Protocol, ReplyError, begin_reply, decode_call, decode_plain,
    decode_plain_arguments, decode_reply, decode_value, encode_call, encode_exception, encode_plain, encode_reply,
    encode_value, end_reply, exception_kind,
};
pub use plain_json::{PlainReader, PlainWriter};
pub use schema::*;
pub use thrift_json::{JsonReader, JsonWriter};
pub use wire::{
    Binary, EnumValue, Field, FieldSpec, Kind, Limits, MessageKind, Read, Reader, Remaining, Set, Write, Writer,
};

#[cfg(test)]
mod tests;
