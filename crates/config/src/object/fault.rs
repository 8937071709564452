//! What can go wrong with an object, in the kinds that a job file can tell apart (each is an exception class there).

use std::fmt;

/// A failure of constructing, resolving or converting an object. The text says what is wrong in the user's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value cannot be turned into the wanted type, found out when resolving.
    Coercion(String),
    /// A value of a wrong kind, found out when constructing.
    Value(String),
    /// A call of a wrong form.
    Type(String),
    /// A struct has no such field.
    UnknownField(String),
    /// The text between two pairs of braces is no reference.
    InvalidReference(String),
    /// Resolving does not come to an end.
    Endless(String),
    /// A map has no such key.
    Key(String),
    /// A list has no such index.
    Index(String),
}

impl Fault {
    /// The words for the user.
    pub fn message(&self) -> &str {
        match self {
            Self::Coercion(text)
            | Self::Value(text)
            | Self::Type(text)
            | Self::UnknownField(text)
            | Self::InvalidReference(text)
            | Self::Endless(text)
            | Self::Key(text)
            | Self::Index(text) => text,
        }
    }

    /// The same failure, told to have happened in `place`.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        let wrap = |text: String| format!("{place}: {text}");
        match self {
            Self::Coercion(text) => Self::Coercion(wrap(text)),
            Self::Value(text) => Self::Value(wrap(text)),
            Self::Type(text) => Self::Type(wrap(text)),
            Self::UnknownField(text) => Self::UnknownField(wrap(text)),
            Self::InvalidReference(text) => Self::InvalidReference(wrap(text)),
            Self::Endless(text) => Self::Endless(wrap(text)),
            Self::Key(text) => Self::Key(wrap(text)),
            Self::Index(text) => Self::Index(wrap(text)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.message())
    }
}

impl std::error::Error for Fault {}
