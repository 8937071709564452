//! What a file of data holds, before it is known what is meant: texts, lists and maps, each with its place in the file.

use std::cell::OnceCell;
use std::ops::Range;

use crate::error::{ConfigError, ErrorKind, Place};

/// How large a file may be, bytes. Files that people write are a thousandth of it.
pub(crate) const FILE_BYTES_MAX: usize = 8 << 20;

/// How deep values may lie within each other; a job needs ten.
pub(crate) const DEPTH_MAX: usize = 50;

/// Lines that are longer are not shown: whole files that a program wrote on one line, one copy for each place, would be gigabytes.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;

/// How many values a file may hold, those that aliases repeat included.
pub(crate) const NODES_MAX: usize = 500_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands, bytes of the file.
    pub span: Range<usize>,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing at all is written where a value belongs.
    Missing,
    /// `null`.
    Null,
    /// A number, a truth value, a date or a text without quotes, as it is written.
    Bare(String),
    /// A text in quotes, or in a block of its own.
    Text(String),
    /// Values.
    List(Vec<Node>),
    /// Names and values in their order; no name twice.
    Map(Vec<Entry>),
}

/// A name with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    /// Where the name stands.
    pub at: Range<usize>,
    pub node: Node,
}

impl Node {
    pub fn new(span: Range<usize>, value: Value) -> Self {
        Self { span, value }
    }

    /// The value of a name, where this is a map.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The entries of a map; nothing for other values.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; nothing for other values.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// A bare or quoted text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bare(text) | Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// In the words of messages.
    pub fn shown(&self) -> String {
        const CHARACTERS_MAX: usize = 40;
        match &self.value {
            Value::Missing => "nothing".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Bare(text) | Value::Text(text) => {
                let first = text.lines().next().unwrap_or_default();
                let cut: String = first.chars().take(CHARACTERS_MAX).collect();
                let more = if cut.len() < text.trim_end().len() { "..." } else { "" };
                match &self.value {
                    Value::Bare(_) => format!("{cut}{more}"),
                    _ => format!("the text '{cut}{more}'"),
                }
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// Where it begins to be told: a map by its first name, everything else as a whole.
    pub fn head(&self) -> Range<usize> {
        match &self.value {
            Value::Map(entries) => entries.first().map_or(self.span.clone(), |entry| entry.at.clone()),
            _ => self.span.clone(),
        }
    }
}

/// The file.
pub(crate) struct Source<'a> {
    pub path: &'a str,
    pub text: &'a str,
    /// Where its lines end, found when the first place is asked for: every object has one, and files have thousands of objects.
    line_ends: OnceCell<Vec<usize>>,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text, line_ends: OnceCell::new() }
    }
    /// The place of some bytes; of several lines the first.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(span.start), floor(span.end));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let meant = &self.text[start..end.clamp(start, line_end)];
        Place {
            file: self.path.to_owned(),
            line: Some(self.line(start)),
            column: Some(self.text[line_start..start].chars().count() + 1),
            width: meant.trim_end().chars().count().max(1),
            source: (line.len() <= LINE_BYTES_MAX).then(|| line.to_owned()),
        }
    }

    /// The line, from 1, of a byte.
    pub fn line(&self, at: usize) -> usize {
        let line_ends = self.line_ends.get_or_init(|| self.text.match_indices('\n').map(|(at, _)| at).collect());
        line_ends.partition_point(|end| *end < at) + 1
    }

    /// The file is not of its format.
    pub fn malformed(&self, reason: impl Into<String>, span: &Range<usize>) -> ConfigError {
        ConfigError::new(ErrorKind::Syntax, reason).at(self.place(span))
    }

    /// The file is well-formed, and what it says is wrong.
    pub fn invalid(&self, reason: impl Into<String>, span: &Range<usize>) -> ConfigError {
        ConfigError::new(ErrorKind::Invalid, reason).at(self.place(span))
    }

    /// A name that stands twice in a map.
    pub fn duplicate(&self, name: &str, again: &Range<usize>, first: &Range<usize>) -> ConfigError {
        self.malformed(format!("'{name}' is given twice"), again)
            .help(format!("it stands on line {} already; remove one of them", self.line(first.start)))
    }

    /// Values too deep within each other.
    pub fn too_deep(&self, span: &Range<usize>) -> ConfigError {
        self.malformed(format!("values lie more than {DEPTH_MAX} levels within each other"), span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_line_and_column_and_long_lines_are_not_shown() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("one\n\nthrée: 3\r\n{long}\nend");
        let source = Source::new("file", &text);
        let lines: Vec<usize> =
            [0, 3, 4, 5, 14, 16, text.len() - 4, text.len(), text.len() + 9].map(|at| source.line(at)).to_vec();
        assert_eq!(lines, [1, 1, 2, 3, 3, 4, 4, 5, 5]);
        let place = source.place(&(12..13));
        assert_eq!(
            (place.line, place.column, place.width, place.source.as_deref()),
            (Some(3), Some(7), 1, Some("thrée: 3"))
        );
        let place = source.place(&(20..21));
        assert_eq!((place.line, place.column, place.width, place.source), (Some(4), Some(5), 1, None));
    }
}
