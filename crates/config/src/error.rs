//! Why a job file cannot be used, told so that the user can mend it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many of the calls on the way to a failure are shown.
const TRACE_LINES_MAX: usize = 6;

/// The kinds of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// There is no such file, or it cannot be read.
    NotFound,
    /// The file is no Python, or no JSON.
    Syntax,
    /// Running the file raised an exception.
    Exception,
    /// The file called `sys.exit`.
    Exit,
    /// The file defines no jobs, or `jobs` is not what it should be.
    NoJobs,
    /// No job of the file has the wanted key.
    NoSuchJob,
    /// Several jobs fit and one must be named.
    SeveralJobs,
    /// A job is incomplete or contradicts itself.
    Invalid,
    /// A binding of the command line is malformed.
    Binding,
    /// The evaluation took too long.
    TimeLimit,
    /// The evaluation needed too much memory.
    MemoryLimit,
    /// The evaluation itself broke.
    Internal,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; unset when only the file is known.
    pub line: Option<usize>,
    /// The column of the first character meant, from 1, counted in characters.
    pub column: Option<usize>,
    /// How many characters are meant.
    pub width: usize,
    /// The line's text.
    pub source: Option<String>,
}

/// Why a job file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What is wrong, without the place. May have several lines.
    pub reason: String,
    /// Where. Boxed, so that passing a failure on stays cheap.
    pub place: Option<Box<Place>>,
    /// What to do about it, each a sentence.
    pub help: Vec<String>,
    /// Other places on the way there, outermost first: file, line, function.
    pub trace: Vec<(String, usize, String)>,
    /// The exit code the file asked for, when it called `sys.exit`.
    pub exit_code: Option<i32>,
}

impl ConfigError {
    /// A failure without a place.
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), place: None, help: Vec::new(), trace: Vec::new(), exit_code: None }
    }

    /// The same in a file.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.place = Some(Box::new(Place { file: file.to_owned(), line: None, column: None, width: 0, source: None }));
        self
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The failure with its place, the line of the file underlined, and advice; several lines, the last one ended.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.reason);
        let number_width = self.place.as_ref().and_then(|place| place.line).map_or(1, |line| line.to_string().len());
        let margin = " ".repeat(number_width);
        if let Some(place) = &self.place {
            text.push_str(&format!("{margin}--> {}", place.file));
            if let Some(line) = place.line {
                text.push_str(&format!(":{line}"));
                if let Some(column) = place.column {
                    text.push_str(&format!(":{column}"));
                }
            }
            text.push('\n');
            if let (Some(line), Some(source)) = (place.line, &place.source) {
                let (shown, marks) = window(source, &underline(place, source));
                text.push_str(&format!("{margin} |\n{line} | {shown}\n{margin} | {marks}\n"));
            }
        }
        for (file, line, function) in self.trace.iter().take(TRACE_LINES_MAX) {
            text.push_str(&format!("{margin} = called from {function} at {file}:{line}\n"));
        }
        if let Some(more @ 1..) = self.trace.len().checked_sub(TRACE_LINES_MAX) {
            text.push_str(&format!("{margin} = and from {more} more places\n"));
        }
        for help in &self.help {
            text.push_str(&format!("{margin} = help: {help}\n"));
        }
        text
    }
}

/// How many characters of a line are shown.
const LINE_CHARS_MAX: usize = 160;

/// The part of a long line that holds the beginning of the marks, and the marks below it.
fn window(source: &str, marks: &str) -> (String, String) {
    let source = source.trim_end();
    let length = source.chars().count();
    if length <= LINE_CHARS_MAX {
        return (source.to_owned(), marks.to_owned());
    }
    let first_mark = marks.chars().position(|c| c == '^').unwrap_or_default();
    let from = first_mark.saturating_sub(LINE_CHARS_MAX / 2).min(length - LINE_CHARS_MAX);
    let cut = |text: &str| text.chars().skip(from).take(LINE_CHARS_MAX).collect::<String>();
    let (before, after) = (if from > 0 { "..." } else { "" }, if from + LINE_CHARS_MAX < length { "..." } else { "" });
    (format!("{before}{}{after}", cut(source)), format!("{}{}", " ".repeat(before.len()), cut(marks)))
}

/// The marks below a line: under the columns meant, or under the whole text of the line. Tabs are kept so that they line up.
fn underline(place: &Place, source: &str) -> String {
    let indent = source.chars().take_while(|c| c.is_whitespace()).count();
    let length = source.trim_end().chars().count();
    let (from, width) = match place.column {
        Some(column) => (column.saturating_sub(1), place.width.max(1)),
        None => (indent, length.saturating_sub(indent).max(1)),
    };
    let mut marks: String =
        source.chars().chain(std::iter::repeat(' ')).take(from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    marks.push_str(&"^".repeat(width.min(length.saturating_sub(from).max(1))));
    marks
}

impl fmt::Display for ConfigError {
    /// One line where the reason has one: `reason (file:line)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.reason)?;
        match self.place.as_deref() {
            Some(Place { file, line: Some(line), .. }) => write!(out, " ({file}:{line})"),
            Some(Place { file, line: None, .. }) if !self.reason.contains(file.as_str()) => write!(out, " ({file})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str, column: Option<usize>, width: usize) -> String {
        let source = Some(source.to_owned());
        let place = Place { file: "f.aurora".to_owned(), line: Some(12), column, width, source };
        ConfigError::new(ErrorKind::Exception, "no").at(place).help("do").render()
    }

    #[test]
    fn marks_stand_below_what_is_meant() {
        assert_eq!(
            rendered("  a = b", Some(7), 1),
            "error: no\n  --> f.aurora:12:7\n   |\n12 |   a = b\n   |       ^\n   = help: do\n"
        );
        assert!(rendered("\ta = b", None, 0).contains("\n12 | \ta = b\n   | \t^^^^^\n"), "tabs stay tabs");
        assert!(
            rendered("ab", Some(9), 5).contains("   |         ^\n"),
            "a column beyond the line is marked all the same"
        );
        assert!(rendered("", None, 0).contains("   | ^\n"));
    }

    #[test]
    fn of_a_long_line_the_part_that_is_meant_is_shown() {
        let line = format!("{}HERE{}", "a".repeat(300), "b".repeat(300));
        let shown = rendered(&line, Some(301), 4);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[3].chars().count() < 180, "{shown}");
        assert_eq!(lines[3].find("HERE"), lines[4].find("^^^^"), "{shown}");
        assert!(lines[3].contains("...a") && lines[3].ends_with("b..."), "{shown}");
    }
}
