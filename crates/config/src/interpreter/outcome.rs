//! What the Python side delivers when a job file has run, kept until the interpreter has returned.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine};

use super::native::raw_of;
use crate::error::ConfigError;
use crate::object::Raw;
use crate::python2;

/// What running a job file came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The jobs it defined, in order; elements that are no configuration objects stand as they are.
    pub jobs: Option<Vec<Raw>>,
    /// The tasks it exported, in order.
    pub tasks: Vec<Raw>,
    /// The files that were run, the first being the job file.
    pub files: Vec<Rc<str>>,
    /// The names of the classes of its hooks.
    pub hooks: Vec<String>,
    /// The exception that ended it.
    pub failure: Option<RawFailure>,
    /// The value it left with through `sys.exit`.
    pub exit: Option<Raw>,
    /// Why one of its files was not run at all.
    pub refusal: Option<ConfigError>,
    /// What its author should know although it stops nothing, each a sentence.
    pub warnings: Vec<String>,
    /// The places of `warnings`.
    warned: BTreeSet<(String, usize)>,
    /// Those of `files` that say that they divide as Python 3 does.
    dividing: Vec<String>,
}

/// An exception as plain values.
#[derive(Debug, Default)]
pub(crate) struct RawFailure {
    pub class: String,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub end_line: Option<usize>,
    pub end_column: Option<usize>,
    /// The name that a `NameError` or `AttributeError` is about.
    pub name: Option<String>,
    /// The names that were known where a name was not.
    pub known: Vec<String>,
    /// Files, lines and function names, outermost first.
    pub places: Vec<(String, usize, String)>,
}

thread_local! {
    static OUTCOME: RefCell<Outcome> = RefCell::default();
}

/// Takes the outcome of the run on this thread and leaves an empty one.
pub(crate) fn take() -> Outcome {
    OUTCOME.with(RefCell::take)
}

/// Notes that a job file is about to run; false when it may not.
pub(crate) fn begin_file(path: String, text: &str) -> bool {
    OUTCOME.with(|outcome| {
        let mut outcome = outcome.borrow_mut();
        if let Some(refusal) = python2::refusal(&path, text) {
            outcome.refusal = Some(refusal);
        } else if python2::divides_as_python_3(text) {
            outcome.dividing.push(path.clone());
        }
        outcome.files.push(path.into());
        outcome.refusal.is_none()
    })
}

/// How many warnings are kept.
const WARNINGS_MAX: usize = 10;

/// Warns of a division of whole numbers in a job file, once for each line.
pub(crate) fn note_division(path: &str, line: usize, told: impl FnOnce() -> String) {
    OUTCOME.with(|outcome| {
        let mut outcome = outcome.borrow_mut();
        let is_meant =
            outcome.dividing.iter().any(|file| file == path) || !outcome.files.iter().any(|file| **file == *path);
        if !is_meant && outcome.warnings.len() < WARNINGS_MAX && outcome.warned.insert((path.to_owned(), line)) {
            outcome.warnings.push(format!("{path}:{line}: {}", told()));
        }
    });
}

/// The job file of that path that was run; `None` for a module.
pub(crate) fn job_file(path: &str) -> Option<Rc<str>> {
    OUTCOME.with(|outcome| outcome.borrow().files.iter().find(|file| ***file == *path).cloned())
}

/// Stores one part of the outcome.
pub(crate) fn deliver(kind: &str, parts: &PyObjectRef, vm: &VirtualMachine) -> PyResult<()> {
    let raw = raw_of(parts, vm)?;
    OUTCOME.with(|outcome| {
        let mut outcome = outcome.borrow_mut();
        match (kind, raw) {
            ("jobs", Raw::List(jobs)) => outcome.jobs = Some(jobs),
            ("tasks", Raw::List(tasks)) => outcome.tasks = tasks,
            ("hooks", Raw::List(hooks)) => outcome.hooks = hooks.iter().map(Raw::shown).collect(),
            ("exit", Raw::List(code)) => outcome.exit = code.into_iter().next(),
            ("failure", Raw::Map(entries)) => outcome.failure = Some(failure(&entries)),
            (other, raw) => return Err(vm.new_value_error(format!("cannot take {other}: {}", raw.literal()))),
        }
        Ok(())
    })
}

fn failure(entries: &[(Raw, Raw)]) -> RawFailure {
    let get = |wanted: &str| entries.iter().find(|(key, _)| key.shown() == wanted).map(|(_, value)| value);
    let text = |wanted: &str| match get(wanted) {
        Some(Raw::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |wanted: &str| get(wanted).and_then(whole);
    let places = match get("places") {
        Some(Raw::List(places)) => places.iter().filter_map(place).collect(),
        _ => Vec::new(),
    };
    RawFailure {
        class: text("class").unwrap_or_default(),
        message: text("message").unwrap_or_default(),
        file: text("file"),
        line: number("line"),
        column: number("column"),
        end_line: number("end_line"),
        end_column: number("end_column"),
        name: text("name"),
        known: match get("known") {
            Some(Raw::List(names)) => names.iter().map(Raw::shown).collect(),
            _ => Vec::new(),
        },
        places,
    }
}

fn whole(raw: &Raw) -> Option<usize> {
    match raw {
        Raw::Integer(number) => num_traits::ToPrimitive::to_usize(number),
        _ => None,
    }
}

fn place(raw: &Raw) -> Option<(String, usize, String)> {
    match raw {
        Raw::List(parts) => match parts.as_slice() {
            [file, line, function] => Some((file.shown(), whole(line)?, function.shown())),
            _ => None,
        },
        _ => None,
    }
}
