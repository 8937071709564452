//! The JSON Schema (draft 2020-12) of job files that are data, for editors: made of the same tables as the types themselves.

use serde_json::{Map, Value, json};

use super::build::shown_name;
use super::{describe, scalar};
use crate::object::{Field, Shape, Type, TypeRef};
use crate::schema::Schema;

/// A text with a reference in it: whatever type it is to become, it is a text in the file.
const REFERENCE: &str = r"\{\{[^{}]+\}\}";

/// The schema of a file, as JSON.
pub fn json_schema() -> Value {
    let schema = Schema::get();
    let mut definitions = Map::new();
    let of_job = reachable(schema.job());
    for kind in schema.types().iter().filter(|kind| of_job.contains(&kind.name())) {
        definitions.insert(shown_name(kind).to_owned(), structure(kind));
    }
    let reference = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    definitions.insert("File".to_owned(), file(&reference));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Daybreak job file",
        "description": "A job file in YAML, JSON or TOML: one job, a list of jobs, or a map with 'jobs'.",
        "if": { "type": "array" },
        "then": { "items": reference("Job"), "minItems": 1 },
        "else": { "if": { "required": ["jobs"] }, "then": reference("File"), "else": reference("Job") },
        "$defs": definitions,
    })
}

/// The names of the structs that a type is made of, itself included.
fn reachable(kind: &TypeRef) -> Vec<&str> {
    fn collect<'a>(kind: &'a TypeRef, found: &mut Vec<&'a str>) {
        match kind.shape() {
            Shape::Struct(fields) if !found.contains(&kind.name()) => {
                found.push(kind.name());
                fields.iter().for_each(|field| collect(&field.kind, found));
            }
            Shape::List(item) => collect(item, found),
            Shape::Map(_, value) => collect(value, found),
            Shape::Choice(kinds) => kinds.iter().for_each(|kind| collect(kind, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(kind, &mut found);
    found
}

/// What stands beside the jobs.
fn beside() -> Map<String, Value> {
    let Value::Object(beside) = json!({
        "$schema": { "type": "string", "description": "This schema, for editors." },
        "bind": {
            "type": "object",
            "description": "Names and values for references in all jobs; maps within it bind dotted names. --bind wins over it.",
        },
    }) else {
        return Map::new();
    };
    beside
}

fn file(reference: &dyn Fn(&str) -> Value) -> Value {
    let mut properties = beside();
    properties.insert(
        "jobs".to_owned(),
        json!({
            "description": "The jobs.",
            "anyOf": [{ "type": "array", "items": reference("Job"), "minItems": 1 }, reference("Job")],
        }),
    );
    json!({
        "type": "object",
        "description": "A file of several jobs.",
        "properties": properties,
        "patternProperties": { "^x-": { "description": "Means nothing; a place for anchors." } },
        "required": ["jobs"],
        "additionalProperties": false,
    })
}

fn structure(kind: &Type) -> Value {
    let mut properties = Map::new();
    let is_job = kind.name() == "MesosJob";
    for field in kind.fields() {
        properties.insert(field.name.clone(), property(kind, field));
    }
    if is_job {
        properties.extend(beside());
    }
    let required: Vec<&str> =
        kind.fields().iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
    let mut definition = Map::new();
    definition.insert("type".to_owned(), json!("object"));
    if let Some(text) = describe::structure(kind.name()) {
        definition.insert("description".to_owned(), json!(text));
    }
    definition.insert("properties".to_owned(), Value::Object(properties));
    if is_job {
        definition.insert("patternProperties".to_owned(), json!({ "^x-": {} }));
    }
    if !required.is_empty() {
        definition.insert("required".to_owned(), json!(required));
    }
    definition.insert("additionalProperties".to_owned(), json!(false));
    Value::Object(definition)
}

fn property(owner: &Type, field: &Field) -> Value {
    let mut property = value(&field.kind, scalar::is_size(owner.name(), &field.name));
    if !field.required {
        property = with_null(property);
    }
    let Value::Object(fields) = &mut property else { return property };
    let mut told = Map::new();
    if let Some(text) = describe::field(owner.name(), &field.name) {
        told.insert("description".to_owned(), json!(text));
    }
    if let Some(default) = field.default.as_ref().and_then(|default| default.json().ok()) {
        told.insert("default".to_owned(), default);
    }
    told.append(fields);
    Value::Object(told)
}

/// The same, or null, which unsets a field.
fn with_null(schema: Value) -> Value {
    let Value::Object(mut fields) = schema else { return schema };
    if let Some(Value::Array(alternatives)) = fields.get_mut("anyOf") {
        alternatives.push(json!({ "type": "null" }));
        return Value::Object(fields);
    }
    match fields.get_mut("type") {
        Some(Value::Array(several)) => several.push(json!("null")),
        Some(only) => *only = json!([only.take(), "null"]),
        None => return json!({ "anyOf": [Value::Object(fields), { "type": "null" }] }),
    }
    Value::Object(fields)
}

fn value(kind: &TypeRef, is_size: bool) -> Value {
    let reference = json!({ "type": "string", "pattern": REFERENCE });
    match kind.shape() {
        // Numbers, truth values and dates are texts as they are written where a text is due.
        Shape::String => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Integer if is_size => {
            let size = json!({ "type": "string", "pattern": r"^\s*[0-9.]+\s*([KkMmGgTt][Ii]?)?[Bb]?\s*$" });
            json!({ "anyOf": [{ "type": "integer" }, size, reference] })
        }
        Shape::Integer => {
            let digits = json!({ "type": "string", "pattern": r"^\s*[+-]?[0-9][0-9_]*\s*$" });
            json!({ "anyOf": [{ "type": "number" }, digits, reference] })
        }
        Shape::Float => {
            let digits = json!({ "type": "string", "pattern": r"^\s*[+-]?[0-9_]*\.?[0-9]+([eE][+-]?[0-9]+)?\s*$" });
            json!({ "anyOf": [{ "type": "number" }, digits, reference] })
        }
        Shape::Boolean => {
            let words = json!({ "type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[01])$" });
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "number" }, words, reference] })
        }
        Shape::Enum(values) => json!({ "anyOf": [{ "enum": values }, reference] }),
        Shape::List(item) => json!({ "type": "array", "items": value(item, false) }),
        Shape::Map(_, inner) => json!({ "type": "object", "additionalProperties": value(inner, false) }),
        Shape::Choice(kinds) => json!({ "anyOf": kinds.iter().map(|kind| value(kind, false)).collect::<Vec<_>>() }),
        Shape::Struct(_) => json!({ "$ref": format!("#/$defs/{}", shown_name(kind)) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_job_is_described() {
        let schema = Schema::get();
        for name in reachable(schema.job()) {
            let kind = schema.named(name);
            assert!(describe::structure(name).is_some(), "{name}");
            for field in kind.fields() {
                assert!(describe::field(name, &field.name).is_some(), "{name}.{}", field.name);
            }
        }
    }

    #[test]
    fn only_fields_that_there_are_are_described() {
        let schema = Schema::get();
        for (structure, field) in describe::all_fields() {
            assert!(schema.named(structure).field_index(field).is_some(), "{structure}.{field}");
        }
    }
}
