//! Writing evaluated jobs as a job file for people: in the order of the schema, without what goes without saying.

mod json;
mod python;
mod toml;
mod yaml;

use serde_json::{Map, Value};

use super::build::shown_name;
use super::{Format, scalar};
use crate::error::{ConfigError, ErrorKind};
use crate::job::{Job, PASSES};
use crate::object::{Object, Piece, Raw, Shape, Type, TypeRef, dictionary, split};
use crate::payload::{self, Insertions};
use crate::request::Evaluation;
use crate::schema::Schema;

/// A job file that was written.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// Its text.
    pub text: String,
    /// What was lost on the way, each a sentence.
    pub notes: Vec<String>,
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    /// A field that is unset although it has a default.
    Unset,
    Text(String),
    Number(String),
    Boolean(bool),
    /// A number of bytes as a number of a unit.
    Size(i64, &'static str),
    List(Vec<Item>),
    /// Names and values.
    Map(Vec<(String, Item)>),
    /// Fields of the struct of that name.
    Struct(String, Vec<(String, Item)>),
}

impl Item {
    /// Names and values, of a map or a struct.
    fn entries(&self) -> Option<&[(String, Item)]> {
        match self {
            Self::Map(entries) | Self::Struct(_, entries) => Some(entries),
            _ => None,
        }
    }

    /// A text as it is written for people where it is no text.
    fn bare(&self) -> Option<String> {
        match self {
            Self::Number(number) => Some(number.clone()),
            Self::Boolean(value) => Some(value.to_string()),
            Self::Size(amount, unit) => Some(format!("{amount} {unit}")),
            _ => None,
        }
    }
}

/// A text in double quotes, as YAML and TOML both have them. `escape` writes letters that the format does not take as they are, other than
/// quotes, backslashes, tabs and ends of lines.
fn in_double_quotes(text: &str, escape: impl Fn(char) -> Option<String>) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            letter => match escape(letter) {
                Some(escaped) => quoted.push_str(&escaped),
                None => quoted.push(letter),
            },
        }
    }
    quoted.push('"');
    quoted
}

/// Writes the jobs of an evaluated file in another format. References that nothing resolves stay; everything else is plain values.
pub fn convert(evaluation: &Evaluation, to: Format) -> Result<Conversion, ConfigError> {
    let jobs = evaluation.jobs.iter().map(item_of).collect::<Result<Vec<_>, _>>()?;
    let name = evaluation.path.rsplit('/').next().unwrap_or_default();
    let title = format!("Converted from {name} by daybreak config convert.");
    let text = match to {
        Format::Yaml => yaml::file(&jobs, &title),
        Format::Json => json::file(&jobs),
        Format::Toml => toml::file(&jobs, &title).map_err(|field| {
            let reason = format!("'{field}' is unset although it has a default, and TOML cannot say so");
            ConfigError::new(ErrorKind::Invalid, reason).in_file(&evaluation.path).help("convert to YAML or JSON")
        })?,
        Format::Python => python::file(&jobs, &title),
    };
    let mut notes = Vec::new();
    if !evaluation.hooks.is_empty() {
        notes.push(format!("hooks are code, and lost: {}", evaluation.hooks.join(", ")));
    }
    Ok(Conversion { text, notes })
}

fn item_of(job: &Job) -> Result<Item, ConfigError> {
    let whole = job.content.as_ref().filter(|content| content.raw.is_object());
    let Some(content) = whole else {
        let why = job.content.as_ref().and_then(|content| {
            content.broken.clone().or_else(|| content.failed_check.as_ref().map(|(why, _)| why.clone()))
        });
        return Err(job.invalid(why.unwrap_or_else(|| "it cannot be worked out".to_owned())));
    };
    // What only a binding of the command line will make whole may be written; what is wrong as it stands may not.
    if let Some((why, place)) = &content.failed_check
        && !why.contains("{{")
    {
        let error = job.invalid(why);
        return Err(place.clone().map_or(error.clone(), |place| error.at(place)));
    }
    Ok(Reader {
        insertions: &content.insertions,
        // A job that is not whole is resolved once to be shown.
        passes: if content.failed_check.is_some() { 1 } else { PASSES },
        knows_order: content.failed_check.is_none(),
    }
    .item(Schema::get().job(), &content.raw, false, ""))
}

/// Reads a job's JSON by its types.
struct Reader<'a> {
    insertions: &'a Insertions,
    /// How often its texts were resolved.
    passes: usize,
    /// Whether the orders of keys are known: those of a job that is not whole are not.
    knows_order: bool,
}

impl Reader<'_> {
    /// The value at a JSON pointer.
    fn item(&self, kind: &TypeRef, value: &Value, is_size: bool, pointer: &str) -> Item {
        let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (kind.shape(), value) {
            (Shape::Struct(_), Value::Object(fields)) => {
                Item::Struct(shown_name(kind).to_owned(), self.set_fields(kind, fields, pointer))
            }
            (Shape::List(inner), Value::Array(items)) => {
                let items = items.iter().enumerate();
                Item::List(items.map(|(at, value)| self.item(inner, value, false, &below(&at.to_string()))).collect())
            }
            (Shape::Map(_, inner), Value::Object(entries)) => {
                let taken: Vec<&str> = match self.insertions.get(pointer) {
                    Some(keys) => keys.iter().map(String::as_str).collect(),
                    None => entries.keys().map(String::as_str).collect(),
                };
                let order = order_of_insertion(&taken).into_iter().filter(|name| entries.contains_key(*name));
                Item::Map(
                    order
                        .map(|name| (name.to_owned(), self.item(inner, &entries[name], false, &below(name))))
                        .collect(),
                )
            }
            (Shape::Choice(kinds), Value::Object(fields)) => {
                // To know what a choice holds, it is resolved once more.
                let reader = Self { passes: self.passes + 1, ..*self };
                reader.chosen(kinds, fields, pointer)
            }
            (_, Value::Number(number)) => match number.as_i64().filter(|_| is_size).and_then(scalar::size_text) {
                Some((amount, unit)) => Item::Size(amount, unit),
                None => Item::Number(match number.as_f64().filter(|_| number.is_f64()) {
                    Some(float) => crate::object::float_text(float),
                    None => number.to_string(),
                }),
            },
            (_, Value::Bool(value)) => Item::Boolean(*value),
            (_, Value::String(text)) => Item::Text(escaped(text, self.passes)),
            (_, Value::Null) => Item::Unset,
            (_, other) => Item::Text(other.to_string()),
        }
    }

    /// The fields that must be written, in the order of the schema.
    fn set_fields(&self, kind: &TypeRef, fields: &Map<String, Value>, pointer: &str) -> Vec<(String, Item)> {
        let mut set = Vec::new();
        for field in kind.fields() {
            let is_size = scalar::is_size(kind.name(), &field.name);
            let item = match (fields.get(&field.name), &field.default) {
                (None, None) => continue,
                (None, Some(_)) => Item::Unset,
                (Some(value), Some(_)) if self.goes_without_saying(kind, fields, &field.name, value, pointer) => {
                    continue;
                }
                (Some(value), _) => self.item(&field.kind, value, is_size, &format!("{pointer}/{}", field.name)),
            };
            set.push((field.name.clone(), item));
        }
        // People look for the key of a job first.
        if kind.name() == "MesosJob" {
            let rank = |name: &str| ["cluster", "role", "environment", "name"].iter().position(|first| *first == name);
            set.sort_by_key(|(name, _)| rank(name).unwrap_or(usize::MAX));
        }
        if kind.name() == "Process" {
            set.sort_by_key(|(name, _)| name != "name");
        }
        set
    }

    /// Is the value what the field comes to when nothing is written?
    fn goes_without_saying(
        &self,
        kind: &TypeRef,
        fields: &Map<String, Value>,
        name: &str,
        value: &Value,
        pointer: &str,
    ) -> bool {
        if kind.name() == "MesosJob" && name == "name" {
            return false;
        }
        let others = fields.iter().filter(|(other, _)| *other != name);
        let others = others.map(|(name, value)| (Raw::text(name), Raw::from_json(value))).collect();
        let alone = Object::construct_struct(kind, vec![Raw::Map(others)], Vec::new());
        let Ok(Some(default)) = alone.and_then(|object| object.field(name)) else { return false };
        default.json().is_ok_and(|default| default == *value)
            && (!self.knows_order
                || self.insertions_below(&format!("{pointer}/{name}")) == payload::insertions(&default))
    }

    /// The orders of keys within a value. A default and the same value written out may have them in different ones.
    fn insertions_below(&self, pointer: &str) -> Insertions {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        let below = self.insertions.iter().filter_map(|(at, keys)| {
            let rest = at.strip_prefix(pointer).filter(|rest| is_below(rest))?;
            Some((rest.to_owned(), keys.clone()))
        });
        below.collect()
    }

    /// The struct that a choice holds. What tells it from the other alternatives is written even where it is a default.
    fn chosen(&self, kinds: &[TypeRef], fields: &Map<String, Value>, pointer: &str) -> Item {
        let has_all = |kind: &&TypeRef| {
            fields.keys().all(|name| kind.field_index(name).is_some())
                && kind.fields().iter().all(|field| !field.required || fields.contains_key(&field.name))
                && kind
                    .fields()
                    .iter()
                    .all(|field| fields.get(&field.name).is_none_or(|value| could_be(&field.kind, value)))
        };
        let Some(kind) = kinds.iter().find(has_all) else {
            return Item::Map(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.item(&kinds[0], value, false, pointer)))
                    .collect(),
            );
        };
        let set = self.set_fields(kind, fields, pointer);
        let shown: Map<String, Value> = fields
            .iter()
            .filter(|(name, _)| set.iter().any(|(set, _)| set == *name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let is_told = kinds.iter().find(|kind| {
            shown.iter().all(|(name, value)| {
                kind.field_index(name).is_some_and(|index| could_be(&kind.fields()[index].kind, value))
            }) && kind.fields().iter().all(|field| !field.required || shown.contains_key(&field.name))
        });
        if is_told.is_some_and(|told| told == kind) {
            return Item::Struct(shown_name(kind).to_owned(), set);
        }
        let all = kind.fields().iter().filter_map(|field| {
            let value = fields.get(&field.name)?;
            Some((
                field.name.clone(),
                self.item(
                    &field.kind,
                    value,
                    scalar::is_size(kind.name(), &field.name),
                    &format!("{pointer}/{}", field.name),
                ),
            ))
        });
        Item::Struct(shown_name(kind).to_owned(), all.collect())
    }
}

/// The keys in the order in which they must be written for the file's dictionary to give them in this order (see [`crate::payload`]).
/// Only where hashes collide does it matter.
fn order_of_insertion<'a>(taken: &[&'a str]) -> Vec<&'a str> {
    /// Of more keys not every order is tried; then the first one is as good as any.
    const TRIED_MAX: usize = 7;
    let comes_to = |keys: &[&str]| dictionary::copied(&dictionary::filled(keys)) == taken;
    let mut sorted = taken.to_vec();
    sorted.sort_unstable();
    let reversed: Vec<&str> = taken.iter().rev().copied().collect();
    if let Some(simple) = [sorted.as_slice(), taken, reversed.as_slice()].into_iter().find(|keys| comes_to(keys)) {
        return simple.to_vec();
    }
    if taken.len() <= TRIED_MAX && permuted(&mut sorted, 0, &comes_to) { sorted } else { taken.to_vec() }
}

/// Puts the keys from `from` on into an order that passes, if there is one.
fn permuted(keys: &mut [&str], from: usize, passes: &impl Fn(&[&str]) -> bool) -> bool {
    if from + 1 >= keys.len() {
        return passes(keys);
    }
    for other in from..keys.len() {
        keys.swap(from, other);
        if permuted(keys, from + 1, passes) {
            return true;
        }
        keys.swap(from, other);
    }
    false
}

/// A text that comes to `text` when a file with it is evaluated: each time a text is resolved takes one `&` off an escape.
fn escaped(text: &str, passes: usize) -> String {
    let Ok(pieces) = split(text) else { return text.to_owned() };
    if !pieces.iter().any(|piece| matches!(piece, Piece::Escaped(_))) {
        return text.to_owned();
    }
    let marks = "&".repeat(passes + 1);
    let written = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Reference(reference) => reference.to_string(),
        Piece::Escaped(inside) => format!("{{{{{marks}{inside}}}}}"),
    });
    written.collect()
}

fn could_be(kind: &Type, value: &Value) -> bool {
    match kind.shape() {
        Shape::Struct(_) | Shape::Map(..) | Shape::Choice(_) => value.is_object(),
        Shape::List(_) => value.is_array(),
        _ => !value.is_object() && !value.is_array(),
    }
}

impl Evaluation {
    /// How the jobs of another file differ from this one's; nothing where they come to the same.
    pub fn differences(&self, other: &Evaluation) -> Vec<String> {
        if self.jobs.len() != other.jobs.len() {
            return vec![format!("{} jobs became {}", self.jobs.len(), other.jobs.len())];
        }
        self.jobs.iter().zip(&other.jobs).filter_map(|(a, b)| difference(a, b)).collect()
    }
}

fn difference(a: &Job, b: &Job) -> Option<String> {
    let raw = |job: &Job| job.content.as_ref().map(|content| content.raw.clone());
    if raw(a) != raw(b) {
        return Some(format!("the job {} comes to something else", a.key()));
    }
    let tiers = crate::convert::default_tiers();
    let (Ok(a_sent), Ok(b_sent)) = (a.submission("", &tiers), b.submission("", &tiers)) else { return None };
    if a_sent.job == b_sent.job {
        return None;
    }
    Some(format!(
        "the data for the executor of {} has its keys in another order: an update to it restarts all instances",
        a.key()
    ))
}
