//! Mesos' own JSON form of messages (spec mesos 2.10): field names as in the schema, enumerations by name, bytes in base64, 64-bit
//! numbers as numbers. Used for `MasterInfo` in ZooKeeper, the agents' HTTP endpoints, the file of custom executors, and debugging.
//!
//! Writing puts unset fields that have a default with that default and leaves out everything else that is unset or empty. Reading is as
//! lenient as Mesos: unknown names are ignored, `null` means absent, numbers and booleans may be text, a bare value may stand for a list
//! of one; a number where an enumeration's name belongs is an error.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

/// Why JSON does not fit a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is no JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// A value has the wrong kind or content.
    #[error("{}: expected {expected}, found {found}", if .path.is_empty() { "the message" } else { .path })]
    Value {
        /// Fields from the top to the value, joined by dots.
        path: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// Required fields are not there.
    #[error("missing {}", .0.join(", "))]
    Missing(Vec<String>),
}

impl JsonError {
    /// The same error seen from one level above.
    fn under(self, field: &str) -> Self {
        match self {
            Self::Syntax(_) => self,
            Self::Value { path, expected, found } => {
                let path = if path.is_empty() { field.to_owned() } else { format!("{field}.{path}") };
                Self::Value { path, expected, found }
            }
            Self::Missing(names) => Self::Missing(names.iter().map(|name| format!("{field}.{name}")).collect()),
        }
    }

    fn value(expected: &'static str, found: &Value) -> Self {
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(60) {
            found.truncate(end);
            found.push('…');
        }
        Self::Value { path: String::new(), expected, found }
    }
}

/// A value with a JSON form.
pub trait Json: Sized {
    /// The value; `Null` means that it is left out.
    fn to_json(&self) -> Value;
    /// Reads it. Errors name the fields on the way.
    fn read_json(value: &Value) -> Result<Self, JsonError>;

    /// Compact text.
    fn to_json_text(&self) -> String {
        self.to_json().to_string()
    }

    /// Reads text.
    fn from_json_text(text: &str) -> Result<Self, JsonError> {
        let value = serde_json::from_str(text).map_err(|error| JsonError::Syntax(error.to_string()))?;
        Self::read_json(&value)
    }
}

/// The names of an enumeration's numbers.
pub trait Names {
    /// The name of a number, if it is known.
    fn name_of(number: i32) -> Option<&'static str>;
    /// The number of a name, if it is known.
    fn number_of(name: &str) -> Option<i32>;
}

fn field_name(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

pub(crate) fn put<T: Json>(object: &mut Map<String, Value>, name: &'static str, value: &T) {
    let value = value.to_json();
    if !value.is_null() {
        object.insert(field_name(name).to_owned(), value);
    }
}

pub(crate) fn put_enum<E: Names>(object: &mut Map<String, Value>, name: &'static str, number: Option<i32>) {
    // A number without a name cannot be written so that Mesos reads it again.
    if let Some(text) = number.and_then(E::name_of) {
        object.insert(field_name(name).to_owned(), Value::from(text));
    }
}

pub(crate) fn put_enums<E: Names>(object: &mut Map<String, Value>, name: &'static str, numbers: &[i32]) {
    let names: Vec<Value> = numbers.iter().filter_map(|number| E::name_of(*number)).map(Value::from).collect();
    if !names.is_empty() {
        object.insert(field_name(name).to_owned(), Value::Array(names));
    }
}

/// The fields of a JSON object on their way into a message; gathers what is missing so that one error names all.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    missing: Vec<String>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Self, JsonError> {
        let object = value.as_object().ok_or_else(|| JsonError::value("an object", value))?;
        Ok(Self { object, missing: Vec::new() })
    }

    pub(crate) fn finish(self) -> Result<(), JsonError> {
        if self.missing.is_empty() { Ok(()) } else { Err(JsonError::Missing(self.missing)) }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A nested message that lacks something counts into this one's list.
    fn read<T: Json>(&mut self, name: &str, value: &Value) -> Result<Option<T>, JsonError> {
        match T::read_json(value).map_err(|error| error.under(name)) {
            Ok(value) => Ok(Some(value)),
            Err(JsonError::Missing(names)) => {
                self.missing.extend(names);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn required<T: Json + Default>(&mut self, name: &'static str) -> Result<T, JsonError> {
        let name = field_name(name);
        match self.get(name) {
            Some(value) => Ok(self.read(name, value)?.unwrap_or_default()),
            None => {
                self.missing.push(name.to_owned());
                Ok(T::default())
            }
        }
    }

    pub(crate) fn optional<T: Json>(&mut self, name: &'static str) -> Result<Option<T>, JsonError> {
        let name = field_name(name);
        match self.get(name) {
            Some(value) => self.read(name, value),
            None => Ok(None),
        }
    }

    pub(crate) fn repeated<T: Json>(&mut self, name: &'static str) -> Result<Vec<T>, JsonError> {
        let name = field_name(name);
        let items: &[Value] = match self.get(name) {
            Some(Value::Array(items)) => items,
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.extend(self.read(name, item)?);
        }
        Ok(values)
    }

    pub(crate) fn map<T: Json>(&mut self, name: &'static str) -> Result<BTreeMap<String, T>, JsonError> {
        let name = field_name(name);
        let mut entries = BTreeMap::new();
        if let Some(value) = self.get(name) {
            let object = value.as_object().ok_or_else(|| JsonError::value("an object", value).under(name))?;
            for (key, value) in object {
                if let Some(value) = self.read(&format!("{name}.{key}"), value)? {
                    entries.insert(key.clone(), value);
                }
            }
        }
        Ok(entries)
    }

    fn enumeration<E: Names>(name: &str, value: &Value) -> Result<Option<i32>, JsonError> {
        let text = value.as_str().ok_or_else(|| JsonError::value("the name of a constant", value).under(name))?;
        Ok(E::number_of(text))
    }

    pub(crate) fn required_enum<E: Names>(&mut self, name: &'static str) -> Result<i32, JsonError> {
        let name = field_name(name);
        let Some(value) = self.get(name) else {
            self.missing.push(name.to_owned());
            return Ok(0);
        };
        Self::enumeration::<E>(name, value)?.ok_or_else(|| JsonError::value("a known constant", value).under(name))
    }

    pub(crate) fn optional_enum<E: Names>(&mut self, name: &'static str) -> Result<Option<i32>, JsonError> {
        let name = field_name(name);
        self.get(name).map_or(Ok(None), |value| Self::enumeration::<E>(name, value))
    }

    pub(crate) fn repeated_enum<E: Names>(&mut self, name: &'static str) -> Result<Vec<i32>, JsonError> {
        let name = field_name(name);
        let items: &[Value] = match self.get(name) {
            Some(Value::Array(items)) => items,
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        let mut numbers = Vec::with_capacity(items.len());
        for item in items {
            numbers.extend(Self::enumeration::<E>(name, item)?);
        }
        Ok(numbers)
    }
}

impl<T: Json> Json for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        if value.is_null() { Ok(None) } else { T::read_json(value).map(Some) }
    }
}

impl<T: Json> Json for Box<T> {
    fn to_json(&self) -> Value {
        (**self).to_json()
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        T::read_json(value).map(Box::new)
    }
}

impl<T: Json> Json for Vec<T> {
    fn to_json(&self) -> Value {
        if self.is_empty() { Value::Null } else { Value::Array(self.iter().map(T::to_json).collect()) }
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        let items = value.as_array().ok_or_else(|| JsonError::value("a list", value))?;
        items.iter().map(T::read_json).collect()
    }
}

impl<T: Json> Json for BTreeMap<String, T> {
    fn to_json(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        Value::Object(self.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        let object = value.as_object().ok_or_else(|| JsonError::value("an object", value))?;
        object.iter().map(|(key, value)| Ok((key.clone(), T::read_json(value)?))).collect()
    }
}

impl Json for String {
    fn to_json(&self) -> Value {
        Value::from(self.as_str())
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        value.as_str().map(str::to_owned).ok_or_else(|| JsonError::value("text", value))
    }
}

/// The default of an unset text field.
impl Json for &str {
    fn to_json(&self) -> Value {
        Value::from(*self)
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        Err(JsonError::value("text that is owned", value))
    }
}

impl Json for bool {
    fn to_json(&self) -> Value {
        Value::from(*self)
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => Err(JsonError::value("true or false", value)),
        }
    }
}

impl Json for f64 {
    fn to_json(&self) -> Value {
        if self.is_infinite() {
            return Value::from(if *self > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::from(*self)
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.as_str() {
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                text => text.parse().ok().filter(|number: &f64| number.is_finite()),
            },
            _ => None,
        };
        number.ok_or_else(|| JsonError::value("a number", value))
    }
}

/// A whole number of any width; out of range values are cut as a cast does, fractions are dropped.
fn integer(value: &Value) -> Result<i128, JsonError> {
    let whole = |number: &serde_json::Number| {
        let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        exact.or_else(|| number.as_f64().filter(|number| number.is_finite()).map(|number| number as i128))
    };
    let number = match value {
        Value::Number(number) => whole(number),
        Value::String(text) => serde_json::from_str::<serde_json::Number>(text).ok().as_ref().and_then(whole),
        _ => None,
    };
    number.ok_or_else(|| JsonError::value("a number", value))
}

macro_rules! integers {
    ($($Type:ty),*) => {$(
        impl Json for $Type {
            fn to_json(&self) -> Value {
                Value::from(*self)
            }

            fn read_json(value: &Value) -> Result<Self, JsonError> {
                integer(value).map(|number| number as $Type)
            }
        }
    )*};
}

integers!(i32, i64, u32, u64);

impl Json for Bytes {
    fn to_json(&self) -> Value {
        Value::from(STANDARD.encode(self))
    }

    fn read_json(value: &Value) -> Result<Self, JsonError> {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        decoded.map(Bytes::from).ok_or_else(|| JsonError::value("base64 text", value))
    }
}
