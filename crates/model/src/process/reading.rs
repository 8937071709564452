//! Reading JSON leniently (spec executor 1.2): unknown keys are passed over, missing or null ones absent, numbers may be texts, and
//! any scalar may be a text with late templates.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::payload::PayloadError;
use super::template::{self, LateReference, LateValues};

/// One reading of a payload.
#[derive(Debug, Default)]
pub(super) struct Reading<'v> {
    /// Fills templates in; without it texts keep them and numbers made of them are absent.
    pub values: Option<&'v LateValues>,
    /// References met, filled in or not.
    pub references: RefCell<BTreeSet<LateReference>>,
}

/// Where a value stands in the payload, for errors.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Top,
    Key(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Top => Ok(()),
            Place::Key(Place::Top, key) => out.write_str(key),
            Place::Key(parent, key) => write!(out, "{parent}.{key}"),
            Place::Element(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// The keys of one object.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    pub place: Place<'a>,
    reading: &'a Reading<'a>,
}

impl<'a> Fields<'a> {
    /// `value` as an object.
    pub fn of(value: &'a Value, place: Place<'a>, reading: &'a Reading<'a>) -> Result<Self, PayloadError> {
        match value {
            Value::Object(map) => Ok(Self { map, place, reading }),
            other => Err(shape(&place, "an object", other)),
        }
    }

    /// Whether the key is there, even with null.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A text. Numbers are written out.
    pub fn text(&self, key: &str) -> Result<Option<String>, PayloadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        text_of(value, &Place::Key(&self.place, key), self.reading).map(Some)
    }

    /// A text that must be there.
    pub fn required_text(&self, key: &str) -> Result<String, PayloadError> {
        self.text(key)?.ok_or_else(|| PayloadError::Missing(Place::Key(&self.place, key).to_string()))
    }

    /// A whole number; a fraction is cut off.
    pub fn integer(&self, key: &str, default: i64) -> Result<i64, PayloadError> {
        self.scalar(key, "a whole number", default, |value| match value {
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A number.
    pub fn float(&self, key: &str, default: f64) -> Result<f64, PayloadError> {
        self.scalar(key, "a number", default, |value| match value {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
        .and_then(|number| {
            if number.is_finite() {
                Ok(number)
            } else {
                Err(PayloadError::Shape {
                    place: Place::Key(&self.place, key).to_string(),
                    expected: "a finite number",
                    found: number.to_string(),
                })
            }
        })
    }

    /// A truth value: true, false, a number, or one of the texts `true`, `false`, `1`, `0`.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, PayloadError> {
        self.scalar(key, "true or false", default, |value| match value {
            Value::Bool(value) => Some(*value),
            Value::Number(number) => number.as_f64().map(|number| number != 0.0),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// One of a few names.
    pub fn one_of<T: Copy>(&self, key: &str, names: &[(&'static str, T)], default: T) -> Result<T, PayloadError> {
        self.scalar(key, "one of the names of this setting", default, |value| {
            let text = value.as_str()?;
            names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
        })
        .map_err(|error| match error {
            PayloadError::Shape { place, found, .. } => PayloadError::Name {
                place,
                found,
                known: names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            },
            other => other,
        })
    }

    /// The object below `key`, read by `read`.
    pub fn object<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Fields<'_>) -> Result<T, PayloadError>,
    ) -> Result<Option<T>, PayloadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(&Fields::of(value, Place::Key(&self.place, key), self.reading)?).map(Some)
    }

    /// The list below `key`, each element an object read by `read`.
    pub fn objects<T>(
        &self,
        key: &str,
        mut read: impl FnMut(&Fields<'_>) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, PayloadError> {
        self.elements(key, |value, place| read(&Fields::of(value, place, self.reading)?))
    }

    /// The list of texts below `key`.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, PayloadError> {
        self.elements(key, |value, place| text_of(value, &place, self.reading))
    }

    /// The object below `key` as pairs of texts.
    pub fn pairs(&self, key: &str) -> Result<Option<Vec<(String, String)>>, PayloadError> {
        self.object(key, |fields| {
            let pairs = fields.map.iter().filter(|(_, value)| !value.is_null());
            pairs
                .map(|(name, value)| {
                    Ok((name.clone(), text_of(value, &Place::Key(&fields.place, name), self.reading)?))
                })
                .collect()
        })
    }

    fn elements<T>(
        &self,
        key: &str,
        mut read: impl FnMut(&Value, Place<'_>) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, PayloadError> {
        let place = Place::Key(&self.place, key);
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(elements)) => {
                let places = elements.iter().enumerate();
                places.map(|(index, value)| read(value, Place::Element(&place, index))).collect()
            }
            Some(other) => Err(shape(&place, "a list", other)),
        }
    }

    /// A scalar, after templates. While those are not filled in the default stands for it.
    fn scalar<T>(
        &self,
        key: &str,
        expected: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, PayloadError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let place = Place::Key(&self.place, key);
        let filled = match value {
            Value::String(text) if template::has_braces(text) => {
                let text = text_of(value, &place, self.reading)?;
                if self.reading.values.is_none() {
                    return Ok(default);
                }
                Some(Value::String(text))
            }
            _ => None,
        };
        let value = filled.as_ref().unwrap_or(value);
        read(value).ok_or_else(|| shape(&place, expected, value))
    }
}

fn text_of(value: &Value, place: &Place<'_>, reading: &Reading<'_>) -> Result<String, PayloadError> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => return Ok(number.to_string()),
        Value::Bool(true) => return Ok("True".into()),
        Value::Bool(false) => return Ok("False".into()),
        other => return Err(shape(place, "a text", other)),
    };
    if !template::has_braces(text) {
        return Ok(text.clone());
    }
    let at = |error| PayloadError::Template { place: place.to_string(), error };
    reading.references.borrow_mut().extend(template::references(text).map_err(at)?);
    match reading.values {
        Some(values) => Ok(template::fill(text, values).map_err(at)?.into_owned()),
        None => Ok(text.clone()),
    }
}

fn shape(place: &Place<'_>, expected: &'static str, found: &Value) -> PayloadError {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => {
            let mut text = scalar.to_string();
            if let Some((cut, _)) = text.char_indices().nth(60) {
                text.truncate(cut);
                text.push_str("...");
            }
            text
        }
    };
    let place = match place {
        Place::Top => "the payload".to_owned(),
        place => place.to_string(),
    };
    PayloadError::Shape { place, expected, found }
}
