//! What a single value means where a field of some type takes it.

use num_bigint::BigInt;

use super::node::{Node, Value};
use crate::object::{Raw, Shape, Type};

/// The fields whose values are numbers of bytes: struct and field. They take sizes such as `16 MB` too.
const SIZES: [(&str, &str); 3] = [("Resources", "ram"), ("Resources", "disk"), ("RotatePolicy", "log_size")];

/// Units of sizes and their powers of 1024; job files have always counted so.
const UNITS: [(&str, u32); 5] = [("B", 0), ("KB", 1), ("MB", 2), ("GB", 3), ("TB", 4)];

/// Is the field's value a number of bytes?
pub(super) fn is_size(structure: &str, field: &str) -> bool {
    SIZES.contains(&(structure, field))
}

/// A single value as a value of `kind`; `None` for lists, maps and what is missing. `Err` says what is doubtful about it.
pub(super) fn raw(node: &Node, kind: &Type, is_size: bool) -> Option<Result<Raw, String>> {
    let text = node.text()?;
    if is_size && let Some(bytes) = size(text) {
        return Some(Ok(bytes));
    }
    if matches!(node.value, Value::Text(_)) {
        return Some(Ok(Raw::text(text)));
    }
    Some(match kind.shape() {
        Shape::Integer | Shape::Float => number(text),
        Shape::Boolean => Ok(match text {
            "true" | "True" | "TRUE" => Raw::Boolean(true),
            "false" | "False" | "FALSE" => Raw::Boolean(false),
            _ => number(text).unwrap_or_else(|_| Raw::text(text)),
        }),
        // A text is what is written, whatever it looks like.
        _ => Ok(Raw::text(text)),
    })
}

/// A number as the three formats write it; a text where it is none.
fn number(text: &str) -> Result<Raw, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            let parsed = BigInt::parse_bytes(digits.replace('_', "").as_bytes(), radix);
            let signed = parsed.map(|number| if is_negative { -number } else { number });
            return Ok(signed.map_or_else(|| Raw::text(text), Raw::Integer));
        }
    }
    let is_digits = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if is_digits && unsigned.starts_with('0') && unsigned.len() > 1 {
        let decimal = unsigned.trim_start_matches(['0', '_']);
        let octal = BigInt::parse_bytes(decimal.as_bytes(), 8);
        let octal = octal.map_or_else(String::new, |_| format!(", or 0o{decimal} if octal is meant"));
        return Err(format!("write {}{octal}", if decimal.is_empty() { "0" } else { decimal }));
    }
    if is_digits && unsigned.starts_with(|first: char| first.is_ascii_digit()) && !unsigned.ends_with('_') {
        let digits = unsigned.replace('_', "");
        let parsed = BigInt::parse_bytes(digits.as_bytes(), 10);
        let signed = parsed.map(|number| if is_negative { -number } else { number });
        return Ok(signed.map_or_else(|| Raw::text(text), Raw::Integer));
    }
    let is_float = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-_".contains(&byte));
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if is_float => Ok(Raw::Float(value)),
        _ if [".nan", "nan"].contains(&unsigned.to_lowercase().as_str()) => Ok(Raw::Float(f64::NAN)),
        _ if [".inf", "inf"].contains(&unsigned.to_lowercase().as_str()) => {
            Ok(Raw::Float(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY }))
        }
        _ => Ok(Raw::text(text)),
    }
}

/// The bytes of a size with a unit.
fn size(text: &str) -> Option<Raw> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let unit = text[digits..].trim().to_uppercase();
    let short = unit.strip_suffix("IB").map(|prefix| format!("{prefix}B"));
    let power = UNITS.iter().find(|(name, _)| *name == short.as_deref().unwrap_or(&unit))?.1;
    let factor = 1024_i64.checked_pow(power)?;
    if let Ok(whole) = text[..digits].parse::<i64>() {
        return whole.checked_mul(factor).map(Raw::integer);
    }
    let bytes = text[..digits].parse::<f64>().ok()? * factor as f64;
    // Below 2^53 a float counts bytes exactly; parts of a byte are left off, as everywhere.
    (bytes < 9e15).then(|| Raw::integer(bytes as i64))
}

/// A number of bytes for people: with the largest unit of which it is a whole number.
pub(super) fn size_text(bytes: i64) -> Option<(i64, &'static str)> {
    let fits = |power: u32| bytes > 0 && bytes % 1024_i64.pow(power) == 0;
    let (unit, power) = UNITS.iter().rev().find(|(_, power)| *power > 0 && fits(*power))?;
    Some((bytes / 1024_i64.pow(*power), unit))
}

/// What is advised when a value does not fit a basic type.
pub(super) fn advice(node: &Node, kind: &Type, is_size: bool) -> Option<String> {
    let text = node.text()?;
    match kind.shape() {
        Shape::Boolean => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => Some("write true".to_owned()),
            "no" | "off" | "n" => Some("write false".to_owned()),
            _ => Some("write true or false".to_owned()),
        },
        Shape::Integer if is_size => {
            Some("write a number of bytes, or a size such as 128 MB (KB, MB, GB, TB; 1024 each)".to_owned())
        }
        Shape::Integer | Shape::Float if text.contains(':') => Some("write the number itself, in digits".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_three_formats() {
        let shown = |text: &str| number(text).map(|raw| format!("{} {}", raw.class(), raw.literal()));
        for (text, expected) in [
            ("7", "int 7"),
            ("-7", "int -7"),
            ("+7", "int 7"),
            ("0", "int 0"),
            ("1_000", "int 1000"),
            ("0x1f", "int 31"),
            ("0o755", "int 493"),
            ("0b11", "int 3"),
            ("1.5", "float 1.5"),
            ("1e3", "float 1000.0"),
            (".5", "float 0.5"),
            ("-.inf", "float -inf"),
            ("1:30", "str '1:30'"),
            ("2026-01-01", "str '2026-01-01'"),
            ("1.2.3", "str '1.2.3'"),
            ("yes", "str 'yes'"),
            ("0xyz", "str '0xyz'"),
            ("99999999999999999999999", "int 99999999999999999999999"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(number("0755").unwrap_err(), "write 755, or 0o755 if octal is meant");
        assert_eq!(number("-09").unwrap_err(), "write 9");
        assert_eq!(number("00").unwrap_err(), "write 0");
    }

    #[test]
    fn sizes_count_by_1024() {
        let bytes = |text: &str| size(text).map(|raw| raw.literal());
        for (text, expected) in [
            ("16MB", Some("16777216")),
            ("16 MB", Some("16777216")),
            ("1.5 GiB", Some("1610612736")),
            ("1kb", Some("1024")),
            ("3 TB", Some("3298534883328")),
            ("12 B", Some("12")),
            ("12", None),
            ("12 XB", None),
            ("MB", None),
            ("{{ram}} MB", None),
            ("9999999999 TB", None),
        ] {
            assert_eq!(bytes(text).as_deref(), expected, "{text}");
        }
        assert_eq!(size_text(16 << 20), Some((16, "MB")));
        assert_eq!(size_text(1025), None);
        assert_eq!(size_text(0), None);
        assert_eq!(size_text(3 << 30), Some((3, "GB")));
    }
}
