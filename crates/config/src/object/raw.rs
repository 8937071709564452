//! Values as they were written, before any type is put on them.

use num_bigint::BigInt;

use super::render::{float_text, text_literal};
use super::value::Object;

/// A value as a job file gave it. Python values and JSON values both become this.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Nothing: `None` or `null`.
    None,
    /// True or false.
    Boolean(bool),
    /// An integer of any size.
    Integer(BigInt),
    /// A floating point number.
    Float(f64),
    /// Text, possibly with references in it.
    Text(String),
    /// A list or tuple.
    List(Vec<Raw>),
    /// A dictionary in the order written.
    Map(Vec<(Raw, Raw)>),
    /// An object of ours.
    Object(Object),
    /// Anything else; it can be shown but not used.
    Foreign {
        /// The name of its class.
        class: String,
        /// How it shows itself.
        shown: String,
    },
}

impl Raw {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An integer.
    pub fn integer(value: i64) -> Self {
        Self::Integer(BigInt::from(value))
    }

    /// The name of the kind of value, as a user of Python knows it.
    pub fn class(&self) -> &str {
        match self {
            Self::None => "None",
            Self::Boolean(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Map(_) => "dict",
            Self::Object(object) => object.kind().name(),
            Self::Foreign { class, .. } => class,
        }
    }

    /// As Python's `str` shows it.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.literal(),
        }
    }

    /// As Python's `repr` shows it.
    pub fn literal(&self) -> String {
        match self {
            Self::None => "None".to_owned(),
            Self::Boolean(true) => "True".to_owned(),
            Self::Boolean(false) => "False".to_owned(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => float_text(*value),
            Self::Text(text) => text_literal(text),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Raw::literal).collect::<Vec<_>>().join(", "))
            }
            Self::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{}: {}", key.literal(), value.literal())).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Self::Object(object) => object.literal(),
            Self::Foreign { shown, .. } => shown.clone(),
        }
    }

    /// Equality as Python has it: numbers compare by value whatever their kind.
    pub fn same(&self, other: &Raw) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.iter().any(|(k, v)| k.same(key) && v.same(value)))
            }
            (Self::Object(a), Self::Object(b)) => a.same(b).unwrap_or(false),
            (Self::Foreign { shown: a, .. }, Self::Foreign { shown: b, .. }) => a == b,
            _ => match (self.whole(), other.whole()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((self.number(), other.number()), (Some(a), Some(b)) if a == b),
            },
        }
    }

    fn whole(&self) -> Option<BigInt> {
        match self {
            Self::Boolean(value) => Some(BigInt::from(u8::from(*value))),
            Self::Integer(value) => Some(value.clone()),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            other => other.whole().and_then(|value| num_traits::ToPrimitive::to_f64(&value)),
        }
    }

    /// The value of a JSON document.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::None,
            Value::Bool(value) => Self::Boolean(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Self::integer(whole),
                (None, Some(whole)) => Self::Integer(BigInt::from(whole)),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Value::Object(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (Self::text(key), Self::from_json(value))).collect())
            }
        }
    }
}

impl From<Object> for Raw {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}
