//! Files in TOML. Its dates are texts here, written as they stand.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::node::{Entry, Node, Source, Value};
use crate::error::ConfigError;

/// The table that the file is.
pub(super) fn read(source: &Source<'_>) -> Result<Vec<Node>, ConfigError> {
    let table = DeTable::parse(source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..1);
        let reason = error.message().lines().next().unwrap_or_default().to_owned();
        if reason == "duplicate key" {
            let name = source.text.get(span.clone()).unwrap_or_default().trim();
            return source.malformed(format!("'{name}' is given twice"), &span).help("remove one of them");
        }
        let told = source.malformed(format!("this is not TOML: {reason}"), &span);
        let place = told.place.as_ref().and_then(|place| place.source.clone()).unwrap_or_default();
        if place.replace(' ', "").contains("={{") { told.help(super::QUOTE_REFERENCES) } else { told }
    })?;
    let span = table.span();
    Ok(vec![Node::new(span, Value::Map(entries(source, table.into_inner(), 0)?))])
}

fn entries(source: &Source<'_>, table: DeTable<'_>, depth: usize) -> Result<Vec<Entry>, ConfigError> {
    let entries = table.into_iter().map(|(name, value)| {
        let at = name.span();
        Ok(Entry { name: name.into_inner().into_owned(), at, node: node(source, value, depth + 1)? })
    });
    entries.collect()
}

fn node(source: &Source<'_>, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, ConfigError> {
    let span = value.span();
    if depth > super::node::DEPTH_MAX {
        return Err(source.too_deep(&span));
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Table(table) => Value::Map(entries(source, table, depth)?),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| node(source, item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Value::Bare(source.text.get(span.clone()).unwrap_or_default().trim().to_owned())
        }
    };
    Ok(Node::new(span, value))
}
