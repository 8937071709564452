//! What can be wrong with bytes that claim to be a message. Not the failures of a call: those travel in a `Response`.

use crate::wire::Kind;

/// Why a message could not be read. The text names the place and is fit to be shown to the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The input stopped before the value was complete.
    #[error("the message ends early, at byte {at}")]
    Truncated {
        /// Offset in the message, in bytes.
        at: usize,
    },
    /// The bytes break the grammar of the protocol.
    #[error("{what} at byte {at}")]
    Syntax {
        /// What was expected or found.
        what: String,
        /// Offset in the message, in bytes.
        at: usize,
    },
    /// A known field carries a value of another type than the schema says.
    #[error("field {field} must be of type {expected}, not {found}")]
    WrongKind {
        /// The field's name in the interface.
        field: &'static str,
        /// What the schema says.
        expected: Kind,
        /// What the message holds.
        found: &'static str,
    },
    /// A value cannot be represented (an unknown enum value, a union with no member).
    #[error("{0}")]
    Value(String),
    /// A limit on depth, length or memory would be exceeded.
    #[error("{0}")]
    Limit(String),
}

impl ProtocolError {
    /// A grammar error at an offset.
    pub(crate) fn syntax(what: impl Into<String>, at: usize) -> Self {
        ProtocolError::Syntax { what: what.into(), at }
    }
}

/// The result of reading.
pub type Result<T> = std::result::Result<T, ProtocolError>;
