//! Turning resolved values into basic types (spec config-dsl 1.2).

use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use super::fault::Fault;
use super::raw::Raw;
use super::types::{Shape, Type};

/// The value as one of the basic type `kind`.
pub(super) fn coerce(kind: &Type, raw: &Raw) -> Result<Raw, Fault> {
    let refused = || Fault::Coercion(format!("Cannot coerce '{}' to {}", raw.shown(), kind.name()));
    match kind.shape() {
        Shape::String => match raw {
            Raw::Text(_) | Raw::Integer(_) | Raw::Float(_) | Raw::Boolean(_) => Ok(Raw::Text(raw.shown())),
            _ => Err(refused()),
        },
        Shape::Integer => match raw {
            Raw::Integer(value) => Ok(Raw::Integer(value.clone())),
            Raw::Boolean(value) => Ok(Raw::integer(i64::from(*value))),
            Raw::Float(value) => BigInt::from_f64(value.trunc()).map(Raw::Integer).ok_or_else(refused),
            Raw::Text(text) => whole_from_text(text).map(Raw::Integer).ok_or_else(refused),
            _ => Err(refused()),
        },
        Shape::Float => match raw {
            Raw::Float(value) => Ok(Raw::Float(*value)),
            Raw::Integer(value) => value.to_f64().filter(|value| value.is_finite()).map(Raw::Float).ok_or_else(refused),
            Raw::Boolean(value) => Ok(Raw::Float(f64::from(u8::from(*value)))),
            Raw::Text(text) => float_from_text(text).map(Raw::Float).ok_or_else(refused),
            _ => Err(refused()),
        },
        Shape::Boolean => match raw {
            Raw::Boolean(value) => Ok(Raw::Boolean(*value)),
            Raw::Integer(value) => Ok(Raw::Boolean(*value != BigInt::ZERO)),
            Raw::Float(value) => Ok(Raw::Boolean(*value != 0.0)),
            Raw::Text(text) => match text.to_lowercase().as_str() {
                "true" | "1" => Ok(Raw::Boolean(true)),
                "false" | "0" => Ok(Raw::Boolean(false)),
                _ => Err(refused()),
            },
            _ => Err(refused()),
        },
        Shape::Enum(values) => match raw {
            Raw::Text(text) if values.contains(text) => Ok(raw.clone()),
            _ => Err(Fault::Coercion(format!("{}: it must be one of {}", refused(), values.join(", ")))),
        },
        Shape::List(_) | Shape::Map(..) | Shape::Choice(_) | Shape::Struct(_) => {
            unreachable!("only basic types are coerced")
        }
    }
}

/// A whole number as Python's `int` reads it: blanks around, a sign, digits with single underscores between them.
fn whole_from_text(text: &str) -> Option<BigInt> {
    let digits = without_underscores(text.trim())?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    BigInt::parse_bytes(digits.as_bytes(), 10)
}

fn float_from_text(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok()
}

/// The text without underscores, if each stands between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |index: Option<usize>| index.and_then(|index| bytes.get(index)).is_some_and(u8::is_ascii_digit);
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == b'_' && !(digit(index.checked_sub(1)) && digit(Some(index + 1))) {
            return None;
        }
    }
    Some(text.replace('_', ""))
}
