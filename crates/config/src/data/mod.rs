//! Job files that are data: YAML, JSON and TOML, by the schema of the job files in Python (spec config-dsl 3).
//!
//! Reading one runs nothing and needs no interpreter. `node` is what such a file holds, with places; `yaml`, `json` and `toml` read
//! it; `build` makes objects of it and says what does not fit; `locate` finds the places of what comes to light later. From the
//! objects on, everything is as for other job files.
//!
//! A file is one job, a list of jobs, or a map with `jobs` (or, for running without a scheduler, a task or `tasks`). Beside them may
//! stand `bind`, a map of names and values for references in all jobs; `$schema`; and names that begin with `x-`, which mean nothing.

mod build;
mod describe;
mod json;
mod json_schema;
mod locate;
pub(crate) mod node;
mod scalar;
mod toml;
mod write;
mod yaml;

use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, ErrorKind};
use crate::job::{in_standard_scope, no_jobs};
use crate::object::{Binding, Environment, Object, Raw, within_bytes};
use crate::request::{Evaluation, EvaluationRequest};
use crate::schema::Schema;
use build::Builder;
pub use json_schema::json_schema;
use node::{Entry, FILE_BYTES_MAX, Node, Source, Value};
pub use write::{Conversion, convert};

/// How long all texts of a file may become by filling in references, bytes. Two thousand large jobs need a hundredth of it.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// What is advised when a reference without quotes was taken for a map.
const QUOTE_REFERENCES: &str = "put references in quotes, as in '{{name}}'";

/// What a job file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// A Python program, as Aurora's job files are.
    Python,
    /// YAML.
    Yaml,
    /// JSON with the fields of job files. (What Aurora's client calls JSON job files is [`EvaluationRequest::read_json`].)
    Json,
    /// TOML.
    Toml,
}

impl Format {
    /// The format that a file's name tells.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "aurora" | "mesos" | "thermos" | "py" => Some(Self::Python),
            _ => None,
        }
    }

    /// The format of a file by its name or, where that says nothing, by how it begins: `{` and `[` begin JSON, `---` and `%YAML` YAML,
    /// everything else Python.
    pub fn of(path: &Path, text: &str) -> Self {
        if let Some(format) = Self::of_path(path) {
            return format;
        }
        let begins = text.trim_start_matches('\u{feff}').trim_start();
        match begins.as_bytes().first() {
            Some(b'{') => Self::Json,
            Some(b'[') if serde_json::from_str::<serde::de::IgnoredAny>(begins).is_ok() => Self::Json,
            _ if begins.starts_with("---\n") || begins.starts_with("%YAML") => Self::Yaml,
            _ => Self::Python,
        }
    }
}

/// Evaluates a file of data within this process.
pub(crate) fn evaluate(request: &EvaluationRequest, format: Format, text: &str) -> Result<Evaluation, ConfigError> {
    if text.len() > FILE_BYTES_MAX {
        let reason = format!("{} is larger than {} MB", request.path, FILE_BYTES_MAX >> 20);
        return Err(ConfigError::new(ErrorKind::Invalid, reason).in_file(&request.path));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(&request.path, text);
    let documents = match format {
        Format::Yaml => yaml::read(&source),
        Format::Toml => toml::read(&source),
        Format::Json | Format::Python => json::read(&source),
    }?;
    let user = (!request.keep_user).then(login).flatten();
    within_bytes(TEXT_BYTES_MAX, || {
        let mut file = File { source: &source, user, jobs: Vec::new(), tasks: Vec::new() };
        for document in &documents {
            file.document(document, request.as_tasks)?;
        }
        file.evaluated(request)
    })
}

/// The objects of a file, each with what it was made of.
struct File<'a> {
    source: &'a Source<'a>,
    user: Option<String>,
    jobs: Vec<(Object, &'a Node)>,
    tasks: Vec<(Object, &'a Node)>,
}

/// Names that stand beside the jobs of a file, or beside the fields of its only one.
fn is_beside(name: &str) -> bool {
    matches!(name, "bind" | "$schema") || name.starts_with("x-")
}

impl<'a> File<'a> {
    fn document(&mut self, document: &'a Node, as_tasks: bool) -> Result<(), ConfigError> {
        let bind = document.entry("bind").map(|entry| self.bindings(&entry.node)).transpose()?;
        let is_task = |node: &Node| as_tasks && node.entry("task").is_none() && node.entry("processes").is_some();
        match &document.value {
            Value::Missing | Value::Null => Ok(()),
            Value::List(jobs) => jobs.iter().try_for_each(|job| self.add(job, is_task(job), None)),
            Value::Map(entries) if document.entry("jobs").is_some() || document.entry("tasks").is_some() => {
                let other =
                    entries.iter().find(|entry| !is_beside(&entry.name) && !["jobs", "tasks"].contains(&&*entry.name));
                if let Some(other) = other {
                    let told = self.source.invalid(format!("'{}' means nothing beside 'jobs'", other.name), &other.at);
                    return Err(told.help(
                        "beside 'jobs' stand 'bind', '$schema' and names that begin with 'x-'; fields of a job go into the list",
                    ));
                }
                let lists = entries.iter().filter(|entry| !is_beside(&entry.name));
                lists.into_iter().try_for_each(|entry| self.list(entry, bind.as_ref()))
            }
            Value::Map(_) => self.add(document, is_task(document), bind.as_ref()),
            _ => Err(self
                .source
                .invalid(format!("the file holds {}, not a job", document.shown()), &document.head())
                .help("a job is a map with cluster, role, environment, name and task")),
        }
    }

    /// What stands in `jobs` or `tasks`.
    fn list(&mut self, entry: &'a Entry, bind: Option<&Rc<Environment>>) -> Result<(), ConfigError> {
        let are_tasks = entry.name == "tasks";
        match &entry.node.value {
            Value::List(items) => items.iter().try_for_each(|item| self.add(item, are_tasks, bind)),
            Value::Map(_) => self.add(&entry.node, are_tasks, bind),
            Value::Missing | Value::Null => Ok(()),
            _ => {
                let reason = format!("'{}' takes a list of maps, not {}", entry.name, entry.node.shown());
                Err(self.source.invalid(reason, &entry.node.head()))
            }
        }
    }

    fn add(&mut self, node: &'a Node, is_task: bool, bind: Option<&Rc<Environment>>) -> Result<(), ConfigError> {
        let schema = Schema::get();
        let kind = if is_task { schema.named("Task") } else { schema.job() };
        let mut object = Builder::new(self.source).outermost(kind, node, &is_beside)?;
        if let Some(bind) = bind {
            object = object
                .bind(vec![Binding::Environment(bind.clone())])
                .map_err(|fault| ConfigError::new(ErrorKind::Internal, fault.to_string()))?;
        }
        if let Some(user) = &self.user {
            object = in_standard_scope(&object, &[(USER, user)])?;
        }
        if is_task {
            self.tasks.push((object, node))
        } else {
            self.jobs.push((object, node))
        }
        Ok(())
    }

    /// The names of `bind`.
    fn bindings(&self, node: &Node) -> Result<Rc<Environment>, ConfigError> {
        let mut environment = Environment::default();
        let Value::Map(entries) = &node.value else {
            return Err(self.source.invalid(format!("'bind' takes a map, not {}", node.shown()), &node.head()));
        };
        for entry in entries {
            let value = bound(&entry.node).ok_or_else(|| {
                let reason = format!("'{}' is bound to {}", entry.name, entry.node.shown());
                self.source.invalid(reason, &entry.node.head()).help("bind texts and numbers, or maps of them")
            })?;
            environment
                .bind_raw(&Raw::text(&entry.name), value)
                .map_err(|fault| self.source.invalid(fault.to_string(), &entry.at))?;
        }
        Ok(Rc::new(environment))
    }

    fn evaluated(self, request: &EvaluationRequest) -> Result<Evaluation, ConfigError> {
        let schema = Schema::get();
        let files = vec![request.path.clone()];
        if request.as_tasks && !self.tasks.is_empty() {
            let raws = self.tasks.iter().map(|(object, _)| Raw::Object(object.clone())).collect();
            let mut tasks = crate::task::exported(request, raws)?;
            for (task, (_, node)) in tasks.iter_mut().zip(&self.tasks) {
                locate::refine(&mut task.content, schema.named("Task"), node, self.source);
            }
            return Ok(crate::evaluate::with_tasks(request, tasks, files));
        }
        if self.jobs.is_empty() && self.tasks.is_empty() {
            return Err(no_jobs_help(no_jobs(&request.path)));
        }
        if self.jobs.is_empty() {
            let told = ConfigError::new(ErrorKind::NoJobs, format!("{} defines no jobs, only tasks", request.path));
            return Err(told.in_file(&request.path).help("run a task with thermos, or put it into a job's 'task'"));
        }
        let raws = self.jobs.iter().map(|(object, _)| Raw::Object(object.clone())).collect();
        let mut evaluation = crate::evaluate::finish(request, raws, files, Vec::new())?;
        for (job, (_, node)) in evaluation.jobs.iter_mut().zip(&self.jobs) {
            if let Some(content) = &mut job.content {
                let advice = locate::refine(content, schema.job(), node, self.source);
                content.advice.extend(advice);
            }
        }
        Ok(evaluation)
    }
}

fn no_jobs_help(mut error: ConfigError) -> ConfigError {
    error.help = vec!["the file is a job, or has its jobs in a list called 'jobs'".to_owned()];
    error
}

/// What a value is bound as: texts as they are written.
fn bound(node: &Node) -> Option<Raw> {
    if let Some(text) = node.text() {
        return Some(Raw::text(text));
    }
    let Value::Map(entries) = &node.value else { return None };
    let entries = entries.iter().map(|entry| Some((Raw::text(&entry.name), bound(&entry.node)?)));
    entries.collect::<Option<_>>().map(Raw::Map)
}

/// The reference that stands for the user who evaluates the file, in files of data only: others can ask for it themselves.
pub(crate) const USER: &str = "daybreak.user";

/// The name of the user, as Python's `getpass.getuser` finds it.
fn login() -> Option<String> {
    let named = ["LOGNAME", "USER", "LNAME", "USERNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    named.into_iter().find(|name| !name.is_empty()).or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok()??;
        Some(user.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Type;

    #[test]
    fn texts_that_grow_without_measure_are_refused() {
        let text = Object::construct(&Type::string(), Raw::text("{{a}}{{a}}")).unwrap();
        let mut names = Environment::default();
        names.bind_raw(&Raw::text("a"), Raw::text("x".repeat(400))).unwrap();
        let bound = text.bind(vec![Binding::Environment(Rc::new(names))]).unwrap();
        assert_eq!(within_bytes(10_000, || bound.text()).unwrap().len(), 800);
        let refused = within_bytes(1000, || bound.text()).unwrap_err();
        assert!(refused.to_string().contains("takes more memory than it may"), "{refused}");
        assert!(bound.text().is_ok(), "the bound ends with the work");
    }
}
