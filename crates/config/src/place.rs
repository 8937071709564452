//! Places in job files: where an object was made, and where in that expression a field is set.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::data::node::LINE_BYTES_MAX;
use crate::error::Place;
use crate::object::{Object, Origin};

thread_local! {
    /// The lines of the files that places were looked up in.
    static LINES: RefCell<HashMap<String, Rc<[String]>>> = RefCell::default();
}

/// Forgets the files read so far: an evaluation begins.
pub(crate) fn forget_files() {
    LINES.with_borrow_mut(HashMap::clear);
}

fn lines(file: &str) -> Rc<[String]> {
    LINES.with_borrow_mut(|known| match known.get(file) {
        Some(lines) => lines.clone(),
        None => {
            let lines: Rc<[String]> =
                std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect();
            known.insert(file.to_owned(), lines.clone());
            lines
        }
    })
}

/// Where the expression stands that made an object.
pub(crate) fn of_origin(origin: &Origin) -> Place {
    of_span(&origin.file, Span::of(origin))
}

/// An expression: the line and the column, from 1 and in bytes, of its first character and behind its last; no column where only the line
/// is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl Span {
    fn of(origin: &Origin) -> Self {
        let (column, end_line, end_column) = origin.columns.unwrap_or((0, origin.line, 0));
        Self { line: origin.line, column, end_line, end_column }
    }
}

fn of_span(file: &str, span: Span) -> Place {
    let lines = lines(file);
    let source = lines.get(span.line.saturating_sub(1)).filter(|line| line.len() <= LINE_BYTES_MAX).cloned();
    let mut place = Place { file: file.to_owned(), line: Some(span.line), column: None, width: 0, source };
    if let (1.., Some(source)) = (span.column, &place.source) {
        let from = column_of_byte(source, span.column);
        let to = if span.end_line == span.line { column_of_byte(source, span.end_column) } else { usize::MAX };
        place.column = Some(from);
        place.width = to.min(source.trim_end().chars().count() + 1).saturating_sub(from).max(1);
    }
    place
}

/// The column in characters of a column in bytes, both from 1.
pub(crate) fn column_of_byte(line: &str, column: usize) -> usize {
    let before = line.char_indices().take_while(|(at, _)| at + 1 < column).count();
    before + 1 + (column.saturating_sub(1)).saturating_sub(line.len())
}

/// The column, from 1, where `word` stands as a whole word, not before byte `from`.
pub(crate) fn word_position(line: &str, from: usize, word: &str) -> Option<usize> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .filter(|(at, _)| *at >= from)
        .find(|(at, _)| !is_word(line[..*at].chars().next_back()) && !is_word(line[at + word.len()..].chars().next()))
        .map(|(at, _)| line[..at].chars().count() + 1)
}

/// A struct within a job: how one comes to it, such as `task.resources`, and the expression that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    path: String,
    file: String,
    span: Span,
}

/// The structs within a job of which it is known where they were made; the job itself has an empty path.
pub(crate) fn parts(job: &Object) -> Vec<Part> {
    let mut parts = Vec::new();
    collect(job, String::new(), &mut parts);
    parts
}

fn collect(object: &Object, path: String, parts: &mut Vec<Part>) {
    if object.kind().fields().is_empty() {
        return;
    }
    if let Some(origin) = object.origin() {
        parts.push(Part { path: path.clone(), file: origin.file.to_string(), span: Span::of(origin) });
    }
    for field in object.kind().fields() {
        let Some(value) = object.raw_field(&field.name) else { continue };
        let below = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        for (index, item) in value.raw_items().iter().enumerate() {
            collect(item, format!("{below}[{index}]"), parts);
        }
        collect(value, below, parts);
    }
}

/// Where a field of a part of a job is set; where it is not set there, the expression that made the part, or one around it.
pub(crate) fn of_field(parts: &[Part], path: &str, field: &str) -> Option<Place> {
    let mut wanted = path;
    loop {
        if let Some(part) = parts.iter().find(|part| part.path == wanted) {
            // Of a part around the one that is meant, the way to it is what is meant.
            let name = if wanted == path { field } else { next_name(path, wanted) };
            return Some(field_in(&part.file, part.span, name).unwrap_or_else(|| of_span(&part.file, part.span)));
        }
        if wanted.is_empty() {
            return None;
        }
        wanted = wanted.rfind('.').map_or("", |dot| &wanted[..dot]);
    }
}

/// The name in `path` that follows `around`, a path on the way to it.
fn next_name<'a>(path: &'a str, around: &str) -> &'a str {
    let rest = path[around.len()..].trim_start_matches('.');
    rest.split(['.', '[']).next().unwrap_or_default()
}

/// Where a field is named in the expression `span`.
pub(crate) fn field_of(origin: &Origin, field: &str) -> Option<Place> {
    field_in(&origin.file, Span::of(origin), field)
}

/// Where a text stands: in the expression, or else anywhere in its file; the expression where it stands nowhere.
pub(crate) fn of_text(origin: &Origin, text: &str) -> Place {
    let (lines, span) = (lines(&origin.file), Span::of(origin));
    let within = lines.iter().enumerate().take(span.end_line).skip(span.line.saturating_sub(1));
    let anywhere = lines.iter().enumerate();
    let found = within.chain(anywhere).find_map(|(index, line)| Some((index, line, line.find(text)?)));
    let Some((index, line, at)) = found else { return of_origin(origin) };
    Place {
        file: origin.file.to_string(),
        line: Some(index + 1),
        column: Some(line[..at].chars().count() + 1),
        width: text.chars().count(),
        source: Some(line.clone()),
    }
}

fn field_in(file: &str, span: Span, field: &str) -> Option<Place> {
    if span.column == 0 || field.is_empty() {
        return None;
    }
    let lines = lines(file);
    for number in span.line..=span.end_line {
        let line = lines.get(number - 1)?;
        let mut from = if number == span.line { span.column - 1 } else { 0 };
        let to = if number == span.end_line { span.end_column.saturating_sub(1).min(line.len()) } else { line.len() };
        while let Some(column) = word_position(line, from, field) {
            let at = line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
            if at >= to {
                break;
            }
            let rest = line[at + field.len()..].trim_start_matches(['\'', '"']).trim_start();
            if rest.starts_with(':') || rest.starts_with('=') && !rest.starts_with("==") {
                let width = field.chars().count();
                let source = Some(line.clone());
                return Some(Place { file: file.to_owned(), line: Some(number), column: Some(column), width, source });
            }
            from = at + field.len();
        }
    }
    None
}
