//! Objects and values as text and as JSON.

use serde_json::{Map, Number, Value};

use super::fault::Fault;
use super::raw::Raw;
use super::types::Shape;
use super::value::{Data, Object};

impl Object {
    /// As it is, unresolved, the way `str` shows it: basic values bare, others like [`Object::literal`].
    pub(crate) fn shown(&self) -> String {
        match &self.data {
            Data::Plain(raw) => match &**raw {
                // A choice that holds an object shows itself as that object does.
                Raw::Object(object) => object.shown(),
                raw => raw.shown(),
            },
            _ => self.literal(),
        }
    }

    /// As it is, unresolved, the way `repr` shows it: the fields of a struct stand one per line.
    pub(crate) fn literal(&self) -> String {
        let name = self.kind.name();
        match &self.data {
            Data::Plain(raw) if matches!(self.kind.shape(), Shape::Choice(_)) => format!("{name}({})", raw.literal()),
            Data::Plain(raw) => format!("{name}({})", raw.shown()),
            Data::Struct(fields) => {
                let set = self.kind.fields().iter().zip(fields.iter());
                let lines: Vec<_> = set
                    .filter_map(|(field, value)| Some(format!("{}={}", field.name, value.as_ref()?.shown())))
                    .collect();
                format!("{name}({})", lines.join(&format!(",\n{}", " ".repeat(name.chars().count() + 1))))
            }
            Data::List(items) => {
                format!("{name}({})", items.iter().map(Object::shown).collect::<Vec<_>>().join(", "))
            }
            Data::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{} => {}", key.shown(), value.shown())).collect();
                format!("{name}({})", entries.join(", "))
            }
        }
    }

    /// The values in it without resolving anything (only choices are resolved, to know what they hold). Unset fields
    /// are left out.
    pub fn raw(&self) -> Result<Raw, Fault> {
        Ok(match &self.data {
            Data::Plain(_) if matches!(self.kind.shape(), Shape::Choice(_)) => self.interpolate()?.0.raw()?,
            Data::Plain(raw) => Raw::clone(raw),
            Data::Struct(fields) => {
                let mut entries = Vec::new();
                for (field, value) in self.kind.fields().iter().zip(fields.iter()) {
                    if let Some(value) = value {
                        entries.push((Raw::text(&field.name), value.raw()?));
                    }
                }
                Raw::Map(entries)
            }
            Data::List(items) => Raw::List(items.iter().map(Object::raw).collect::<Result<_, _>>()?),
            Data::Map(entries) => Raw::Map(
                entries.iter().map(|(key, value)| Ok((key.raw()?, value.raw()?))).collect::<Result<_, Fault>>()?,
            ),
        })
    }

    /// The values in it as a text for comparing types; never fails.
    pub(super) fn raw_literal(&self) -> String {
        self.raw().map_or_else(|_| self.literal(), |raw| raw.literal())
    }

    /// The values in it as JSON, every object's keys in alphabetical order so that equal values give equal text.
    pub fn json(&self) -> Result<Value, Fault> {
        json(&self.raw()?)
    }
}

fn json(raw: &Raw) -> Result<Value, Fault> {
    Ok(match raw {
        Raw::None => Value::Null,
        Raw::Boolean(value) => Value::Bool(*value),
        Raw::Integer(value) => {
            let text = value.to_string();
            let number = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
            Value::Number(number.map_err(|_| Fault::Value(format!("the number {text} is too large for JSON")))?)
        }
        Raw::Float(value) => Value::Number(
            Number::from_f64(*value).ok_or_else(|| Fault::Value(format!("{} is no number", float_text(*value))))?,
        ),
        Raw::Text(text) => Value::String(text.clone()),
        Raw::List(items) => Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        Raw::Map(entries) => {
            let mut sorted = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                sorted.push((key.shown(), json(value)?));
            }
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(sorted.into_iter().collect::<Map<_, _>>())
        }
        Raw::Object(object) => object.interpolate()?.0.json()?,
        Raw::Foreign { class, shown } => {
            return Err(Fault::Value(format!("{shown} ({class}) cannot be written as JSON")));
        }
    })
}

/// A float as Python shows it: the shortest digits that read back the same, a point always, an exponent below 1e-4 and
/// from 1e16 on.
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// A text as Python writes it in a program: in single quotes, or in double ones when that saves escapes.
pub fn text_literal(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push(quote);
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if c == quote => {
                literal.push('\\');
                literal.push(c);
            }
            c if (c as u32) < 0x20 || (c as u32) == 0x7f => literal.push_str(&format!("\\x{:02x}", c as u32)),
            c => literal.push(c),
        }
    }
    literal.push(quote);
    literal
}
