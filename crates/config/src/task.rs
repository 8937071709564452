//! Tasks that are run without a scheduler: those that a file exports (spec config-dsl 2.11, executor 4.6), those of its jobs, and tasks
//! written as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ConfigError, ErrorKind};
use crate::job::{Content, KeyPart, in_standard_scope, with_own_bindings};
use crate::object::{Object, Raw};
use crate::request::{Evaluation, EvaluationRequest};
use crate::schema::Schema;
use crate::suggest::listed;

/// A task as its file describes it, everything resolved that can be before it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: KeyPart,
    /// Name of the job it is of; unset for one that was exported.
    pub job: Option<String>,
    /// What it holds.
    pub content: Content,
}

/// May the reference be left to whoever runs the task (spec executor 1.2)?
pub fn is_left_to_executor(address: &str) -> bool {
    matches!(address, "mesos.instance" | "mesos.hostname" | "thermos.task_id" | "thermos.user")
        || address.starts_with("thermos.ports[")
}

impl Task {
    fn of(object: &Object, job: Option<String>) -> Self {
        let name = match object.field("name") {
            Ok(Some(value)) => value.text().map_or_else(|fault| KeyPart::Broken(fault.to_string()), KeyPart::Text),
            Ok(None) => KeyPart::Missing,
            Err(fault) => KeyPart::Broken(fault.to_string()),
        };
        Self { name, job, content: Content::of(object) }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == KeyPart::Text(name.to_owned())
    }

    /// The task as JSON, or why it cannot be run: its own check failed, or it refers to what nothing will resolve.
    pub fn checked(&self, path: &str) -> Result<&Value, ConfigError> {
        let content = &self.content;
        let invalid = |reason: String, place: Option<crate::Place>| {
            let error = ConfigError::new(ErrorKind::Invalid, reason);
            match place.or_else(|| content.place.clone()) {
                Some(place) => error.at(place),
                None => error.in_file(path),
            }
        };
        if let Some(why) = &content.broken {
            return Err(invalid(format!("the task {} cannot be worked out: {why}", self.name.shown()), None));
        }
        if let Some((why, place)) = &content.failed_check {
            return Err(invalid(format!("the task {} is not whole: {why}", self.name.shown()), place.clone()));
        }
        let mut unexpected = content.unbound.iter().filter(|unbound| !is_left_to_executor(&unbound.address)).peekable();
        let Some(first) = unexpected.peek() else { return Ok(&content.raw) };
        let place = first.place.clone();
        let addresses: Vec<&str> = unexpected.map(|unbound| unbound.address.as_str()).collect();
        Err(invalid(format!("unexpected unbound references: {}", listed(&addresses)), place)
            .help("bind them with -E NAME=VALUE"))
    }
}

/// The tasks that a file exported.
pub(crate) fn exported(request: &EvaluationRequest, raws: Vec<Raw>) -> Result<Vec<Task>, ConfigError> {
    let objects = raws.into_iter().filter_map(|raw| match raw {
        Raw::Object(object) => Some(object),
        _ => None,
    });
    objects.map(|object| Ok(Task::of(&with_own_bindings(&object, &request.bindings)?, None))).collect()
}

/// The task of a job, with what the job says about it; the user it runs as is left open.
pub(crate) fn of_job(request: &EvaluationRequest, job: &Object) -> Result<Option<Task>, ConfigError> {
    let bound = with_own_bindings(job, &request.bindings)?;
    let bound = in_standard_scope(&bound, &[("mesos.role", "{{role}}"), ("mesos.cluster", "{{cluster}}")])?;
    let broken = |fault: crate::object::Fault| {
        ConfigError::new(ErrorKind::Invalid, format!("the task of a job cannot be worked out: {fault}"))
            .in_file(&request.path)
    };
    let name = bound.field("name").ok().flatten().and_then(|name| name.text().ok());
    Ok(bound.field("task").map_err(broken)?.map(|task| Task::of(&task, name)))
}

/// Tasks of a JSON document: one task, one job, or `{"jobs": [...]}`.
pub(crate) fn from_json(request: &EvaluationRequest, document: &Value) -> Result<Vec<Task>, ConfigError> {
    let schema = Schema::get();
    let invalid = |what: &str, fault: crate::object::Fault| {
        ConfigError::new(ErrorKind::Invalid, format!("{what} of the file: {fault}")).in_file(&request.path)
    };
    if document.get("jobs").is_none() && document.get("task").is_none() {
        let task = Object::construct(schema.named("Task"), Raw::from_json(document));
        let task = task.map_err(|fault| invalid("the task", fault))?;
        return exported(request, vec![Raw::Object(task)]);
    }
    let jobs = crate::job::from_json(document).into_iter().map(|raw| {
        let job = Object::construct(schema.job(), raw).map_err(|fault| invalid("a job", fault))?;
        of_job(request, &job)
    });
    Ok(jobs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

impl Evaluation {
    /// The task of that name, or of the job of that name; without a name the only one there is (messages: spec executor 4.6).
    pub fn select_task(&self, wanted: Option<&str>) -> Result<&Task, ConfigError> {
        let failed = |kind: ErrorKind, reason: String| ConfigError::new(kind, reason).in_file(&self.path);
        let candidates = || {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.name.shown()).collect();
            format!("the file has {}", names.join(", "))
        };
        let Some(wanted) = wanted else {
            return match self.tasks.as_slice() {
                [only] => Ok(only),
                [] => Err(failed(ErrorKind::NoJobs, "No tasks specified!".to_owned())
                    .help("a file for thermos ends with export(TASK), a job file with jobs = [...]")),
                _ => Err(failed(
                    ErrorKind::SeveralJobs,
                    "Multiple tasks in config but no task name specified!".to_owned(),
                )
                .help(format!("name one with --task; {}", candidates()))),
            };
        };
        let called: Vec<&Task> = self.tasks.iter().filter(|task| task.is_called(wanted)).collect();
        let of_job = || self.tasks.iter().filter(|task| task.job.as_deref() == Some(wanted)).collect();
        let fitting: Vec<&Task> = if called.is_empty() { of_job() } else { called };
        match fitting.as_slice() {
            [only] => Ok(only),
            [] => Err(failed(ErrorKind::NoSuchJob, format!("Could not find task {wanted}!")).help(candidates())),
            several => {
                Err(failed(ErrorKind::SeveralJobs, format!("{} tasks of the file are called {wanted}", several.len()))
                    .help("name the job of one of them with --task"))
            }
        }
    }
}
