//! The data an executor gets about its task, as text: the job as JSON, written as Aurora's client wrote it, to the byte.
//!
//! Schedulers tell by comparing this text whether a job changed. A task that was made by Aurora's client and is described anew by the
//! same file must not look changed, so keys stand in the order in which that client's Python gave them (see
//! [`crate::object::dictionary`]), and numbers, letters and blanks are written as its JSON library wrote them. What the text says is
//! decided elsewhere.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{Object, Raw, Shape, TypeRef, dictionary, float_text};
use crate::schema::Schema;

/// Of the objects of a job, by JSON pointer, the keys in the order in which they were put in, where neither their type nor the
/// alphabet tells it: of dictionaries, and of structs that were made from dictionaries.
pub(crate) type Insertions = BTreeMap<String, Vec<String>>;

/// What [`text`] has to know about a resolved object beyond its JSON.
pub(crate) fn insertions(object: &Object) -> Insertions {
    let mut found = Insertions::new();
    collect(object, &mut String::new(), &mut found);
    found
}

fn collect(object: &Object, pointer: &mut String, found: &mut Insertions) {
    let length = pointer.len();
    let mut below = |part: &Object, name: &str, found: &mut Insertions| {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        collect(part, pointer, found);
        pointer.truncate(length);
    };
    match object.kind().shape() {
        Shape::Struct(fields) => {
            for field in fields {
                if let Some(value) = object.raw_field(&field.name) {
                    below(value, &field.name, found);
                }
            }
            if object.is_from_dictionary() {
                let (made, declared) = (from_dictionary(object.kind()), declared(object.kind()));
                if made != declared {
                    found.insert(pointer.clone(), made.into_iter().map(str::to_owned).collect());
                }
            }
        }
        Shape::List(_) => {
            for (number, item) in object.raw_items().iter().enumerate() {
                below(item, &number.to_string(), found);
            }
        }
        Shape::Map(..) => {
            let keys: Vec<String> = object.raw_entries().iter().map(|(key, _)| key_text(key)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            // The file's own dictionary, and the copy that the map takes of it.
            let taken = dictionary::copied(&dictionary::filled(&keys));
            if !taken.is_sorted() {
                found.insert(pointer.clone(), taken.into_iter().map(str::to_owned).collect());
            }
        }
        _ => {
            if let Some(Raw::Object(inner)) = object.plain_value() {
                collect(inner, pointer, found);
            }
        }
    }
}

fn key_text(key: &Object) -> String {
    key.plain_value().map(Raw::shown).unwrap_or_default()
}

/// The fields of a struct's objects in the order in which their values are put in: the class body is a dictionary, what is taken from
/// it another, and each object's values a third.
fn declared(kind: &TypeRef) -> Vec<&str> {
    // What every class body begins with.
    const MODULE: &str = "__module__";
    let body: Vec<&str> =
        std::iter::once(MODULE).chain(kind.fields().iter().map(|field| field.name.as_str())).collect();
    let fields: Vec<&str> = dictionary::filled(&body).into_iter().filter(|name| *name != MODULE).collect();
    dictionary::filled(&dictionary::filled(&fields))
}

/// The same for objects that were made where a struct was wanted and a dictionary given. Types are written down with their fields in
/// alphabetical order, and those objects are of the types that were read back.
fn from_dictionary(kind: &TypeRef) -> Vec<&str> {
    let mut fields: Vec<&str> = kind.fields().iter().map(|field| field.name.as_str()).collect();
    fields.sort_unstable();
    dictionary::filled(&dictionary::filled(&fields))
}

/// The text for the job of this JSON.
pub(crate) fn text(job: &Value, insertions: &Insertions) -> String {
    text_as(Schema::get().job(), job, insertions)
}

/// The text for an object of that type.
pub(crate) fn text_as(kind: &TypeRef, value: &Value, insertions: &Insertions) -> String {
    let mut writer = Writer { insertions, pointer: String::new(), out: String::new() };
    writer.value(value, Some(kind));
    writer.out
}

struct Writer<'a> {
    insertions: &'a Insertions,
    pointer: String,
    out: String,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, kind: Option<&TypeRef>) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.out.push_str(&float_text(float)),
                None => self.out.push_str(&number.to_string()),
            },
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                let item_kind = kind.and_then(|kind| match kind.shape() {
                    Shape::List(item) => Some(item.clone()),
                    _ => None,
                });
                self.out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.out.push_str(", ");
                    }
                    self.below(&number.to_string(), item, item_kind.as_ref());
                }
                self.out.push(']');
            }
            Value::Object(fields) => {
                let kind = kind.and_then(|kind| alternative(kind, value));
                let insertion: Vec<&str> = match (self.insertions.get(&self.pointer), &kind) {
                    (Some(keys), _) => keys.iter().map(String::as_str).collect(),
                    (None, Some(kind)) if matches!(kind.shape(), Shape::Struct(_)) => declared(kind),
                    _ => fields.keys().map(String::as_str).collect(),
                };
                let set: Vec<&str> = insertion.into_iter().filter(|name| fields.contains_key(*name)).collect();
                self.out.push('{');
                for (number, name) in dictionary::filled(&set).into_iter().enumerate() {
                    if number > 0 {
                        self.out.push_str(", ");
                    }
                    self.string(name);
                    self.out.push_str(": ");
                    let field = kind.as_ref().and_then(|kind| kind.fields().iter().find(|field| field.name == name));
                    self.below(name, &fields[name], field.map(|field| &field.kind));
                }
                self.out.push('}');
            }
        }
    }

    fn below(&mut self, name: &str, value: &Value, kind: Option<&TypeRef>) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        self.value(value, kind);
        self.pointer.truncate(length);
    }

    /// A text with everything but printable ASCII escaped.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                ' '..='~' => self.out.push(letter),
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        self.out.push('"');
    }
}

/// The type of a value where a choice was declared: the first alternative that has all its fields.
fn alternative(kind: &TypeRef, value: &Value) -> Option<TypeRef> {
    let Shape::Choice(alternatives) = kind.shape() else { return Some(kind.clone()) };
    let fields = value.as_object()?;
    let fits = |kind: &&TypeRef| {
        fields.keys().all(|name| kind.field_index(name).is_some())
            && kind.fields().iter().all(|field| !field.required || fields.contains_key(&field.name))
    };
    alternatives.iter().find(fits).cloned()
}
