//! Where in a file of data something stands that came to light only when its objects were checked.

use std::ops::Range;

use super::build::{alternative, shown_name};
use super::node::{Node, Source, Value};
use super::scalar;
use crate::job::Content;
use crate::object::{Object, Shape, TypeRef};

/// A failed check of a value that stands in the file as it is.
struct Found {
    why: String,
    at: Range<usize>,
    advice: Option<String>,
}

/// Puts the places of a job's or task's troubles as exactly as the file tells them. Gives advice about its failed check.
pub(super) fn refine(content: &mut Content, kind: &TypeRef, node: &Node, source: &Source<'_>) -> Option<String> {
    content.is_data = true;
    for unbound in &mut content.unbound {
        let shown = format!("{{{{{}}}}}", unbound.address);
        if let Some(span) = holding(node, &shown, source) {
            unbound.place = Some(source.place(&span));
        }
    }
    let (why, place) = content.failed_check.as_mut()?;
    let found = failed(kind, node, &node.head(), false).filter(|found| found.why == *why);
    if let Some(found) = found {
        *place = Some(source.place(&found.at));
        return found.advice;
    }
    // A reference was filled in with what does not fit: the field that holds it is the place.
    let line = place.as_ref().and_then(|place| place.line)?;
    let field = why.rsplit_once("] failed")?.0.rsplit_once('[')?.1.to_owned();
    let span = field_near(node, line, &field, source)?;
    *place = Some(source.place(&span));
    None
}

/// The first check that fails without any reference being filled in, in the order in which checks are made.
fn failed(kind: &TypeRef, node: &Node, at: &Range<usize>, is_size: bool) -> Option<Found> {
    let within = |found: Found, place: String| Found { why: format!("{place}: {}", found.why), ..found };
    match kind.shape() {
        Shape::Struct(fields) => fields.iter().find_map(|field| {
            let place = format!("{}[{}]", kind.name(), field.name);
            match node.entry(&field.name) {
                Some(entry) if !matches!(entry.node.value, Value::Null) => {
                    let is_size = scalar::is_size(kind.name(), &field.name);
                    let found = failed(&field.kind, &entry.node, &entry.at, is_size)?;
                    Some(within(found, format!("{place} failed")))
                }
                entry if field.required => {
                    let at = entry.map_or_else(|| at.clone(), |entry| entry.at.clone());
                    let advice = format!("{} needs '{}'", shown_name(kind), field.name);
                    Some(Found { why: format!("{place} is required."), at, advice: Some(advice) })
                }
                _ => None,
            }
        }),
        Shape::List(item) => node.items().iter().find_map(|element| {
            let found = failed(item, element, &element.head(), false)?;
            Some(within(found, format!("Element in {} failed check", kind.name())))
        }),
        Shape::Map(..) => None,
        Shape::Choice(kinds) => {
            // Which alternative it was is not told; what is wrong with the one that was taken is.
            let found = failed(alternative(kinds, node)?, node, at, false)?;
            Some(found)
        }
        _ => {
            let raw = scalar::raw(node, kind, is_size)?.ok()?;
            if node.text().is_some_and(|text| text.contains("{{")) {
                return None;
            }
            let failed = Object::construct(kind, raw).ok()?.check().ok()??;
            Some(Found { why: failed.why, at: node.span.clone(), advice: scalar::advice(node, kind, is_size) })
        }
    }
}

/// The first place of a text within the values of a node.
fn holding(node: &Node, wanted: &str, source: &Source<'_>) -> Option<Range<usize>> {
    match &node.value {
        Value::Bare(text) | Value::Text(text) if text.contains(wanted) => {
            let written = source.text.get(node.span.clone())?;
            // Folded or escaped, the text stands otherwise in the file.
            Some(written.find(wanted).map_or(node.span.clone(), |at| {
                let start = node.span.start + at;
                start..start + wanted.len()
            }))
        }
        Value::List(items) => items.iter().find_map(|item| holding(item, wanted, source)),
        Value::Map(entries) => entries.iter().find_map(|entry| holding(&entry.node, wanted, source)),
        _ => None,
    }
}

/// The value of a field in the map that begins on a line.
fn field_near(node: &Node, line: usize, field: &str, source: &Source<'_>) -> Option<Range<usize>> {
    if !node.entries().is_empty()
        && source.line(node.head().start) == line
        && let Some(entry) = node.entry(field)
    {
        return Some(entry.node.head());
    }
    let below = |node: &Node| field_near(node, line, field, source);
    node.entries().iter().find_map(|entry| below(&entry.node)).or_else(|| node.items().iter().find_map(below))
}
