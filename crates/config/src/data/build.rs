//! From what a file of data holds to the objects of job files, by the same schema; what does not fit it is told with its place.

use std::ops::Range;
use std::rc::Rc;

use super::node::{Entry, Node, Source, Value};
use super::scalar;
use crate::error::ConfigError;
use crate::object::{Object, Origin, Raw, Shape, Type, TypeRef};
use crate::schema::Schema;

/// What kinds of failure a helper may come to.
type Outcome<T> = Result<T, ConfigError>;

/// Makes objects of values.
pub(super) struct Builder<'a> {
    source: &'a Source<'a>,
    file: Rc<str>,
}

/// The field that takes a value, for messages: its struct and its name.
#[derive(Clone, Copy)]
struct Field<'a> {
    structure: &'a str,
    name: &'a str,
    /// An element of the field's list, or a value of its map.
    is_part: bool,
}

impl Field<'_> {
    fn shown(&self) -> String {
        if self.is_part { format!("an element of '{}'", self.name) } else { format!("'{}'", self.name) }
    }
}

/// Where fields of old health checks have gone, in the words for job files in Python and in those for data.
const IN_PYTHON: &str = "write health_checker = HealthCheckerConfig(http = HttpHealthChecker(...)) with it";
const IN_DATA: &str = "it stands under health_checker, there under http";

/// What a struct is called in files.
pub(super) fn shown_name(kind: &Type) -> &str {
    match kind.name() {
        "MesosJob" => "Job",
        other => other,
    }
}

impl<'a> Builder<'a> {
    pub fn new(source: &'a Source<'a>) -> Self {
        Self { source, file: source.path.into() }
    }

    /// An object of a type that a file is made of. Names in `besides` are passed over.
    pub fn outermost(&self, kind: &TypeRef, node: &Node, besides: &dyn Fn(&str) -> bool) -> Outcome<Object> {
        self.structure(kind, &format!("a {}", shown_name(kind)), node, besides)
    }

    fn structure(&self, kind: &TypeRef, what: &str, node: &Node, besides: &dyn Fn(&str) -> bool) -> Outcome<Object> {
        let Value::Map(entries) = &node.value else {
            return Err(self.wrong_shape(what, "a map", node).help(fields_help(kind)));
        };
        let mut keywords = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| !besides(&entry.name)) {
            let Some(index) = kind.field_index(&entry.name) else { return Err(self.unknown_field(kind, entry)) };
            let field = Field { structure: kind.name(), name: &entry.name, is_part: false };
            let value = self.field(&kind.fields()[index].kind, field, entry)?;
            keywords.push((entry.name.clone(), value));
        }
        let object = Object::construct_struct(kind, Vec::new(), keywords)
            .map_err(|fault| self.source.invalid(fault.to_string(), &node.head()))?;
        Ok(self.made(object, &node.head()))
    }

    fn made(&self, object: Object, span: &Range<usize>) -> Object {
        object.made_at(Some(Origin { file: self.file.clone(), line: self.source.line(span.start), columns: None }))
    }

    fn field(&self, kind: &TypeRef, field: Field<'_>, entry: &Entry) -> Outcome<Raw> {
        match entry.node.value {
            Value::Null => Ok(Raw::empty()),
            Value::Missing => Err(self
                .source
                .invalid(format!("'{}' has no value", entry.name), &entry.at)
                .help("give it one, remove the line, or write null to unset it")),
            _ => self.value(kind, field, &entry.node),
        }
    }

    /// A value that is one of `kind`.
    fn value(&self, kind: &TypeRef, field: Field<'_>, node: &Node) -> Outcome<Raw> {
        match kind.shape() {
            Shape::Struct(_) => self.structure(kind, &field.shown(), node, &|_| false).map(Raw::Object),
            Shape::List(item) => {
                let Value::List(items) = &node.value else {
                    let help = "write its elements as a list, each with a '-' in YAML, or all in [brackets]";
                    return Err(self.wrong_shape(&field.shown(), "a list", node).help(help));
                };
                let field = Field { is_part: true, ..field };
                let items = items.iter().map(|element| self.present(item, field, element));
                let raw = Raw::List(items.collect::<Outcome<_>>()?);
                self.construct(kind, raw, node)
            }
            Shape::Map(_, value_kind) => {
                let Value::Map(entries) = &node.value else {
                    return Err(self.wrong_shape(&field.shown(), "a map", node));
                };
                let field = Field { is_part: true, ..field };
                let entries = entries.iter().map(|entry| {
                    let value = match entry.node.value {
                        Value::Missing | Value::Null => {
                            let told = self.source.invalid(format!("'{}' has no value", entry.name), &entry.at);
                            return Err(told.help("an empty text is written ''"));
                        }
                        _ => self.value(value_kind, field, &entry.node)?,
                    };
                    Ok((Raw::text(&entry.name), value))
                });
                let raw = Raw::Map(entries.collect::<Outcome<_>>()?);
                self.construct(kind, raw, node)
            }
            Shape::Choice(alternatives) => {
                let alternative = self.alternative(alternatives, field, node)?;
                self.structure(alternative, &field.shown(), node, &|_| false).map(Raw::Object)
            }
            _ => self.single(kind, field, node),
        }
    }

    fn present(&self, kind: &TypeRef, field: Field<'_>, element: &Node) -> Outcome<Raw> {
        match element.value {
            Value::Null | Value::Missing => {
                Err(self.source.invalid(format!("{} has no value", field.shown()), &element.span))
            }
            _ => self.value(kind, field, element),
        }
    }

    fn construct(&self, kind: &TypeRef, raw: Raw, node: &Node) -> Outcome<Raw> {
        let object =
            Object::construct(kind, raw).map_err(|fault| self.source.invalid(fault.to_string(), &node.head()))?;
        Ok(Raw::Object(self.made(object, &node.head())))
    }

    /// A value of a basic type or an enumeration.
    fn single(&self, kind: &TypeRef, field: Field<'_>, node: &Node) -> Outcome<Raw> {
        let is_size = scalar::is_size(field.structure, field.name);
        let raw = match scalar::raw(node, kind, is_size) {
            None => {
                let told = self.wrong_shape(&field.shown(), expected(kind), node);
                // YAML takes the braces of a bare reference for maps within maps.
                return Err(if is_bare_reference(node) { told.help(super::QUOTE_REFERENCES) } else { told });
            }
            Some(Err(advice)) => {
                let reason = format!("{} is decimal to some programs and octal to others", node.shown());
                return Err(self.source.invalid(reason, &node.span).help(advice));
            }
            Some(Ok(raw)) => raw,
        };
        let Shape::Enum(values) = kind.shape() else { return Ok(raw) };
        let text = node.text().unwrap_or_default();
        Object::construct(kind, raw.clone()).map_err(|_| {
            let reason = format!("'{}' is one of {}, not {}", field.name, values.join(", "), node.shown());
            let told = self.source.invalid(reason, &node.span);
            match crate::suggest::nearest(text, values.iter().map(String::as_str)) {
                Some(near) => told.help(format!("did you mean {near}?")),
                None => told,
            }
        })?;
        Ok(raw)
    }

    fn wrong_shape(&self, what: &str, expected: &str, node: &Node) -> ConfigError {
        self.source.invalid(format!("{what} takes {expected}, not {}", node.shown()), &node.head())
    }

    fn unknown_field(&self, kind: &TypeRef, entry: &Entry) -> ConfigError {
        let name = shown_name(kind);
        let told = self.source.invalid(format!("{name} has no field '{}'", entry.name), &entry.at);
        let fields = kind.fields().iter().map(|field| field.name.as_str());
        let removed = crate::evaluate::removed_field_help(&format!("{} has no field '{}'", kind.name(), entry.name));
        if let Some(removed) = removed {
            return told.help(removed.replace(" = True", ": true").replace(IN_PYTHON, IN_DATA));
        }
        if let Some(near) = crate::suggest::nearest(&entry.name, fields) {
            return told.help(format!("did you mean '{near}'?"));
        }
        let schema = Schema::get();
        let others = ["MesosJob", "Task", "Process", "Resources", "UpdateConfig", "HealthCheckConfig", "Announcer"];
        let owner = others.iter().map(|name| schema.named(name)).find(|kind| kind.field_index(&entry.name).is_some());
        match owner {
            Some(owner) => told.help(format!("'{}' is a field of {}", entry.name, shown_name(owner))),
            None => told.help(fields_help(kind)),
        }
    }

    /// The alternative of a choice that a map is meant to be.
    fn alternative<'t>(&self, kinds: &'t [TypeRef], field: Field<'_>, node: &Node) -> Outcome<&'t TypeRef> {
        let Value::Map(entries) = &node.value else {
            let told = self.wrong_shape(&field.shown(), "a map", node);
            return Err(told.help(alternatives_help(kinds)));
        };
        if let Some(kind) = alternative(kinds, node) {
            return Ok(kind);
        }
        let in_none = |entry: &&Entry| kinds.iter().all(|kind| kind.field_index(&entry.name).is_none());
        if let Some(entry) = entries.iter().find(in_none) {
            let told = self.source.invalid(format!("'{}' has no field '{}'", field.name, entry.name), &entry.at);
            let fields = kinds.iter().flat_map(|kind| kind.fields()).map(|field| field.name.as_str());
            return Err(match crate::suggest::nearest(&entry.name, fields) {
                Some(near) => told.help(format!("did you mean '{near}'?")),
                None => told.help(alternatives_help(kinds)),
            });
        }
        let known = |kind: &TypeRef| entries.iter().filter(|entry| kind.field_index(&entry.name).is_some()).count();
        let most = kinds.iter().map(known).max().unwrap_or(0);
        let nearest = kinds.iter().filter(|kind| known(kind) == most).collect::<Vec<_>>();
        if let [only] = nearest.as_slice() {
            if let Some(entry) = entries.iter().find(|entry| only.field_index(&entry.name).is_none()) {
                return Err(self.unknown_field(only, entry).help(alternatives_help(kinds)));
            }
            let missing = only.fields().iter().find(|field| field.required && node.entry(&field.name).is_none());
            if let Some(missing) = missing {
                let reason = format!("{}[{}] is required.", only.name(), missing.name);
                return Err(self.source.invalid(reason, &node.head()).help(alternatives_help(kinds)));
            }
            return Ok(only);
        }
        let names: Vec<&str> = kinds.iter().map(|kind| shown_name(kind)).collect();
        let reason = format!("the fields of '{}' fit none of {}", field.name, names.join(", "));
        Err(self.source.invalid(reason, &node.head()).help(alternatives_help(kinds)))
    }
}

/// The first alternative of a choice that has all the names of a map, and misses none that it needs.
pub(super) fn alternative<'t>(kinds: &'t [TypeRef], node: &Node) -> Option<&'t TypeRef> {
    let fits = |kind: &&TypeRef| {
        let known = node.entries().iter().all(|entry| {
            let field = kind.fields().iter().find(|field| field.name == entry.name);
            field.is_some_and(|field| {
                matches!(entry.node.value, Value::Null | Value::Missing) || has_shape(&field.kind, &entry.node)
            })
        });
        known && kind.fields().iter().all(|field| !field.required || node.entry(&field.name).is_some())
    };
    kinds.iter().find(fits)
}

fn has_shape(kind: &TypeRef, node: &Node) -> bool {
    match kind.shape() {
        Shape::Struct(_) | Shape::Map(..) | Shape::Choice(_) => matches!(node.value, Value::Map(_)),
        Shape::List(_) => matches!(node.value, Value::List(_)),
        _ => node.text().is_some(),
    }
}

fn is_bare_reference(node: &Node) -> bool {
    matches!(node.entries(), [entry] if matches!(entry.node.value, Value::Missing))
}

fn expected(kind: &Type) -> &'static str {
    match kind.shape() {
        Shape::Integer => "a whole number",
        Shape::Float => "a number",
        Shape::Boolean => "true or false",
        _ => "a text",
    }
}

fn fields_help(kind: &Type) -> String {
    let names: Vec<&str> = kind.fields().iter().map(|field| field.name.as_str()).collect();
    format!("{} has the fields {}", shown_name(kind), names.join(", "))
}

fn alternatives_help(kinds: &[TypeRef]) -> String {
    let shown = kinds.iter().map(|kind| {
        let names: Vec<&str> = kind.fields().iter().map(|field| field.name.as_str()).collect();
        format!("{} ({})", shown_name(kind), names.join(", "))
    });
    format!("it is one of {}", shown.collect::<Vec<_>>().join("; "))
}
