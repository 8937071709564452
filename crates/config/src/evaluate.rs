//! Evaluating one file within this process: running it, and working out its jobs. The process around it is [`crate::child`].

use std::fs;
use std::path::Path;

use crate::data;
use crate::error::{ConfigError, ErrorKind, Place};
use crate::interpreter::{self, Outcome, RawFailure};
use crate::job::{self, Job};
use crate::object::{Object, Raw};
use crate::place::{self, column_of_byte, word_position};
use crate::python2;
use crate::request::{Evaluation, EvaluationRequest};
use crate::schema::Schema;
use crate::suggest;
use crate::task::{self, Task};

/// Evaluates the request in this process, without limits.
pub(crate) fn evaluate_here(request: &EvaluationRequest) -> Result<Evaluation, ConfigError> {
    place::forget_files();
    let source = read(request)?;
    let format = request.format.unwrap_or_else(|| data::Format::of(Path::new(&request.path), &source));
    if !request.read_json && format != data::Format::Python {
        return data::evaluate(request, format, &source);
    }
    if request.read_json && request.as_tasks {
        let tasks = task::from_json(request, &json_document(request, &source)?)?;
        return Ok(with_tasks(request, tasks, vec![request.path.clone()]));
    }
    if request.read_json {
        let raws = json_jobs(request, &source)?;
        return finish(request, raws, vec![request.path.clone()], Vec::new());
    }
    if let Some(error) = python2::refusal(&request.path, &source) {
        return Err(error);
    }
    let mut outcome = interpreter::run(&request.path, &request.arguments);
    if let Some(mut error) = outcome.refusal.take() {
        error.trace = outcome.failure.map(|failure| failure.places).unwrap_or_default();
        return Err(error);
    }
    if let Some(failure) = outcome.failure.take() {
        return Err(from_failure(&request.path, failure));
    }
    if let Some(code) = outcome.exit.take() {
        return Err(from_exit(&request.path, &code));
    }
    let Outcome { jobs, tasks, files, hooks, warnings, .. } = outcome;
    let files: Vec<String> = files.iter().map(|file| file.to_string()).collect();
    let Some(jobs) = jobs else {
        return Err(
            ConfigError::new(ErrorKind::Internal, "the interpreter ended without a result").in_file(&request.path)
        );
    };
    if request.as_tasks && (jobs.is_empty() || !tasks.is_empty()) {
        return Ok(with_tasks(request, task::exported(request, tasks)?, files));
    }
    let mut evaluation = finish(request, jobs, files, hooks).map_err(|error| {
        let is_placed = error.place.as_ref().is_some_and(|place| place.line.is_some());
        match jobs_line(&request.path, &source) {
            Some(place) if error.kind == ErrorKind::NoJobs && !is_placed => error.at(place),
            _ => error,
        }
    })?;
    for job in evaluation.jobs.iter_mut().filter(|job| job.content.is_some()) {
        job.warnings.clone_from(&warnings);
    }
    Ok(evaluation)
}

pub(crate) fn with_tasks(request: &EvaluationRequest, tasks: Vec<Task>, loaded_files: Vec<String>) -> Evaluation {
    Evaluation { path: request.path.clone(), jobs: Vec::new(), tasks, loaded_files, hooks: Vec::new() }
}

fn read(request: &EvaluationRequest) -> Result<String, ConfigError> {
    if let Some(text) = &request.text {
        return Ok(text.clone());
    }
    let path = Path::new(&request.path);
    let not_found = |why: String| ConfigError::new(ErrorKind::NotFound, why);
    if path.is_dir() {
        return Err(not_found(format!("{} is a directory, not a job file", request.path)));
    }
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => not_found(format!("there is no file {}", request.path)),
        _ => not_found(format!("{} cannot be read: {error}", request.path)),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        let place = Place { file: request.path.clone(), line: Some(line), column: None, width: 0, source: None };
        ConfigError::new(ErrorKind::Syntax, "the file is not UTF-8 text").at(place).help("save it as UTF-8")
    })
}

fn json_document(request: &EvaluationRequest, source: &str) -> Result<serde_json::Value, ConfigError> {
    serde_json::from_str(source).map_err(|error| {
        let place = Place {
            file: request.path.clone(),
            line: Some(error.line()),
            column: Some(error.column().max(1)),
            width: 1,
            source: source.lines().nth(error.line().saturating_sub(1)).map(str::to_owned),
        };
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text);
        let mut error = ConfigError::new(ErrorKind::Syntax, format!("this is not JSON: {reason}")).at(place);
        if !request.path.ends_with(".json") {
            error = error.help("--read-json was given; without it the file is read as a job file in Python");
        }
        error
    })
}

fn json_jobs(request: &EvaluationRequest, source: &str) -> Result<Vec<Raw>, ConfigError> {
    let document = json_document(request, source)?;
    let schema = Schema::get();
    let jobs = job::from_json(&document).into_iter().enumerate().map(|(index, raw)| {
        Object::construct(schema.job(), raw).map(Raw::Object).map_err(|fault| {
            ConfigError::new(ErrorKind::Invalid, format!("job {} of the file: {fault}", index + 1))
                .in_file(&request.path)
        })
    });
    jobs.collect()
}

/// Works out the jobs.
pub(crate) fn finish(
    request: &EvaluationRequest,
    raws: Vec<Raw>,
    loaded_files: Vec<String>,
    hooks: Vec<String>,
) -> Result<Evaluation, ConfigError> {
    if raws.is_empty() {
        return Err(job::no_jobs(&request.path));
    }
    let schema = Schema::get();
    let mut jobs = Vec::with_capacity(raws.len());
    let mut tasks = Vec::new();
    for (index, raw) in raws.into_iter().enumerate() {
        let Raw::Object(object) = raw else {
            let reason = format!("element {index} of 'jobs' is no Job but {} ({})", raw.literal(), raw.class());
            return Err(ConfigError::new(ErrorKind::NoJobs, reason).in_file(&request.path));
        };
        // A class derived from Job has the job's fields under another name.
        if object.kind().fields().len() != schema.job().fields().len() || object.kind().field_index("task").is_none() {
            let reason = format!("element {index} of 'jobs' is a {}, not a Job", object.kind().name());
            let error = ConfigError::new(ErrorKind::NoJobs, reason);
            return Err(match object.origin() {
                Some(origin) => error.at(place::of_origin(origin)),
                None => error.in_file(&request.path),
            });
        }
        if request.as_tasks {
            tasks.extend(task::of_job(request, &object)?);
            continue;
        }
        let bound = job::with_bindings(&object, &request.bindings)?;
        jobs.push(Job::of(&request.path, &bound, request.wanted.as_ref()));
    }
    Ok(Evaluation { path: request.path.clone(), jobs, tasks, loaded_files, hooks })
}

/// The error for an exception of the file.
fn from_failure(path: &str, failure: RawFailure) -> ConfigError {
    let syntax = matches!(failure.class.as_str(), "SyntaxError" | "IndentationError" | "TabError");
    let mut error = if syntax {
        ConfigError::new(ErrorKind::Syntax, failure.message.clone())
    } else {
        // Our own exceptions speak for themselves; others are named.
        let reason = if failure.message.is_empty() {
            failure.class.clone()
        } else if OWN_EXCEPTIONS.contains(&failure.class.as_str()) {
            failure.message.clone()
        } else {
            format!("{}: {}", failure.class, failure.message)
        };
        ConfigError::new(ErrorKind::Exception, reason)
    };
    let Some(file) = &failure.file else {
        let source = fs::read_to_string(path).unwrap_or_default();
        return match jobs_line(path, &source) {
            Some(place) if failure.message.contains("'jobs'") => error.at(place),
            _ => error.in_file(path),
        };
    };
    let source = fs::read_to_string(file).unwrap_or_default();
    error = error.at(place_of(file, &source, &failure));
    error.trace = failure.places.iter().rev().skip(1).rev().cloned().collect();
    if failure.class == "UnknownFieldError" {
        error.help.extend(removed_field_help(&failure.message));
    }
    let help = match failure.line {
        Some(line) if syntax => python2::exception_help(&failure.class, &failure.message, &source)
            .or_else(|| python2::open_bracket_help(&source, line)),
        _ => python2::exception_help(&failure.class, &failure.message, &source),
    };
    error.help.extend(help);
    let known = failure.known.iter().map(String::as_str).filter(|known| !known.starts_with('_') && known.len() > 1);
    if let ("NameError", Some(name), true) = (failure.class.as_str(), &failure.name, error.help.is_empty())
        && let Some(nearest) = suggest::nearest(name, known)
    {
        error = error.help(format!("did you mean {nearest}?"));
    }
    error
}

/// The classes of exceptions that our own Python side raises; their messages are complete.
const OWN_EXCEPTIONS: [&str; 8] = [
    "_IncludeError",
    "_MissingIncludeError",
    "CoercionError",
    "InvalidCallError",
    "InvalidRefError",
    "InvalidValueError",
    "Uninterpolatable",
    "UnknownFieldError",
];

/// Fields that schemas before 0.12 had (spec config-dsl 3.5): struct, field, what to write today.
const REMOVED_FIELDS: [(&str, &str, &str); 9] = [
    ("MesosJob", "daemon", "write service = True instead"),
    ("MesosJob", "cron_policy", "the field is called cron_collision_policy"),
    ("MesosJob", "health_check_interval_secs", "set interval_secs in health_check_config"),
    ("MesosJob", "recipes", "recipes are gone; fetch packages in a process of the task"),
    ("UpdateConfig", "restart_threshold", "leave it out; watch_secs alone decides how long an instance is watched"),
    ("HealthCheckConfig", "endpoint", HEALTH_CHECKER),
    ("HealthCheckConfig", "expected_response", HEALTH_CHECKER),
    ("HealthCheckConfig", "expected_response_code", HEALTH_CHECKER),
    ("Announcer", "stats_port", "leave it out"),
];

const HEALTH_CHECKER: &str = "write health_checker = HealthCheckerConfig(http = HttpHealthChecker(...)) with it";

pub(crate) fn removed_field_help(message: &str) -> Option<String> {
    let (structure, rest) = message.split_once(" has no field '")?;
    let structure = structure.rsplit(' ').next()?;
    let field = rest.split('\'').next()?;
    let (.., advice) = REMOVED_FIELDS.iter().find(|(of, name, _)| *of == structure && *name == field)?;
    Some(format!("{field} was a field of older versions; {advice}"))
}

/// The place of a failure in the text of its file: the expression, or the word in it that the failure is about.
fn place_of(file: &str, source: &str, failure: &RawFailure) -> Place {
    let mut place = Place { file: file.to_owned(), line: failure.line, column: None, width: 0, source: None };
    let Some(index) = failure.line.and_then(|line| line.checked_sub(1)) else { return place };
    let line = source.lines().nth(index).unwrap_or_default();
    place.source = Some(line.to_owned());
    let word = match failure.class.as_str() {
        "UnknownFieldError" => failure.message.split('\'').nth(1),
        "InvalidValueError" => field_of_value(&failure.message),
        _ => failure.name.as_deref(),
    };
    if let Some(word) = word {
        // The expression begins on this line; the word may stand further down.
        let last = failure.end_line.unwrap_or(index + 1);
        for (further, line) in source.lines().enumerate().take(last).skip(index) {
            let from = failure.column.filter(|_| further == index).map_or(0, |column| column - 1);
            if let Some(column) = word_position(line, from, word) {
                place.line = Some(further + 1);
                place.column = Some(column);
                place.width = word.chars().count();
                place.source = Some(line.to_owned());
                return place;
            }
        }
    }
    if let Some(column) = failure.column.filter(|column| *column > 0) {
        let is_one_line = failure.end_line.is_none() || failure.end_line == failure.line;
        let end = failure.end_column.filter(|end| *end > column);
        place.column = Some(column_of_byte(line, column));
        place.width = match (is_one_line, end) {
            (true, Some(end)) => column_of_byte(line, end) - column_of_byte(line, column),
            (true, None) => 1,
            // To the end of the line, and on from there.
            (false, _) => line.trim_end().chars().count().saturating_sub(column - 1).max(1),
        };
    }
    place
}

/// The innermost field that a value was put into, of a message such as `Task.resources: Resources expected ...`.
fn field_of_value(message: &str) -> Option<&str> {
    let is_field =
        |part: &&str| part.contains('.') && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let fields = message.split(": ").take_while(|part| is_field(part) || part.starts_with("element ")).filter(is_field);
    fields.last()?.split_once('.').map(|(_, field)| field)
}

/// The last line that sets `jobs`.
fn jobs_line(file: &str, source: &str) -> Option<Place> {
    let sets = |line: &str| line.strip_prefix("jobs").is_some_and(|rest| rest.trim_start().starts_with(['=', '+']));
    let (index, line) = source.lines().enumerate().filter(|(_, line)| sets(line)).last()?;
    let source = Some(line.to_owned());
    Some(Place { file: file.to_owned(), line: Some(index + 1), column: None, width: 0, source })
}

fn from_exit(path: &str, code: &Raw) -> ConfigError {
    let (exit_code, told) = match code {
        Raw::None => (0, String::new()),
        Raw::Integer(number) => (num_traits::ToPrimitive::to_i32(number).unwrap_or(1), format!(" with {number}")),
        // As Python does: anything else is a message, and the exit code is 1.
        other => (1, format!(": {}", other.shown())),
    };
    let mut error = ConfigError::new(ErrorKind::Exit, format!("the file called sys.exit{told}")).in_file(path);
    error.exit_code = Some(exit_code);
    error
}
