//! Files of ten years ago were written for Python 2. What they have and Python 3 has not is told with its line and what to write instead.
//!
//! [`old_forms`] finds what is written differently today before a file runs; that holds too for what is legal today and means
//! something else. [`exception_help`] knows what is behind an exception. What means the same as ever and can be given when a file runs
//! is given there (`jobfile_python2.py`). Nothing is rewritten.

mod advice;
mod forms;
mod tokens;

pub(crate) use advice::{exception_help, open_bracket_help};
use forms::{OldForm, old_forms};

use crate::error::{ConfigError, ErrorKind, Place};

/// How many further lines are named.
const FURTHER_LINES_MAX: usize = 12;

/// The failure of a file with forms of Python 2: the first one in full, the others by their lines.
pub(crate) fn refusal(file: &str, source: &str) -> Option<ConfigError> {
    let forms = old_forms(source);
    let first = forms.first()?;
    let mut error = ConfigError::new(ErrorKind::Syntax, first.reason.clone())
        .at(place(file, source, first))
        .help(format!("{}; this is the form of Python 2", first.advice));
    let mut lines: Vec<usize> = forms.iter().map(|form| form.line).filter(|line| *line != first.line).collect();
    lines.dedup();
    let more = lines.len().saturating_sub(FURTHER_LINES_MAX);
    let named: Vec<String> = lines.iter().take(FURTHER_LINES_MAX).map(usize::to_string).collect();
    if !named.is_empty() {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let lines = if named.len() == 1 { "line" } else { "lines" };
        error = error.help(format!("there are forms of Python 2 in {lines} {}{more}, too", named.join(", ")));
    }
    Some(error)
}

fn place(file: &str, source: &str, form: &OldForm) -> Place {
    let source = source.lines().nth(form.line - 1).map(str::to_owned);
    Place { file: file.to_owned(), line: Some(form.line), column: Some(form.column), width: form.width, source }
}

/// Does a source say that its divisions are those of Python 3?
pub(crate) fn divides_as_python_3(source: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim();
        line.starts_with("from __future__ import") && line.contains("division")
    })
}
