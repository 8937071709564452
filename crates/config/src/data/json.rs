//! Files in JSON (RFC 8259): no comments, no trailing commas, no name twice in an object.

use std::collections::BTreeMap;
use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

use super::node::{Entry, Node, Source, Value};
use crate::error::ConfigError;

/// The value of the file.
pub(super) fn read(source: &Source<'_>) -> Result<Vec<Node>, ConfigError> {
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
    let parsed = parse_to_ast(source.text, &collect, &STRICT).map_err(|error| {
        let range = error.range();
        let reason = error.kind().to_string();
        let mut told =
            source.malformed(format!("this is not JSON: {}", lowercase_first(&reason)), &(range.start..range.end));
        if source.text[range.start.min(source.text.len())..].starts_with(['#', '/']) || reason.contains("omments") {
            told = told.help("JSON has no comments; YAML and TOML files may have them");
        }
        let from_before = source.text.get(range.start.saturating_sub(1)..).unwrap_or_default();
        if from_before.starts_with("{{") {
            told = told.help(super::QUOTE_REFERENCES);
        }
        told
    })?;
    match parsed.value {
        Some(value) => Ok(vec![node(source, value, 0)?]),
        None => Ok(Vec::new()),
    }
}

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn lowercase_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn node(source: &Source<'_>, value: ast::Value<'_>, depth: usize) -> Result<Node, ConfigError> {
    let range = value.range();
    let span = range.start..range.end;
    if depth > super::node::DEPTH_MAX {
        return Err(source.too_deep(&span));
    }
    let value = match value {
        ast::Value::StringLit(text) => Value::Text(text.value.into_owned()),
        ast::Value::NumberLit(number) => Value::Bare(number.value.to_owned()),
        ast::Value::BooleanLit(truth) => Value::Bare(truth.value.to_string()),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(array) => {
            let items = array.elements.into_iter().map(|item| node(source, item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(object.properties.len());
            let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
            for property in object.properties {
                let range = property.name.range();
                let at = range.start..range.end;
                let name = property.name.into_string();
                if let Some(first) = seen.insert(name.clone(), at.clone()) {
                    return Err(source.duplicate(&name, &at, &first));
                }
                entries.push(Entry { name, at, node: node(source, property.value, depth + 1)? });
            }
            Value::Map(entries)
        }
    };
    Ok(Node::new(span, value))
}
