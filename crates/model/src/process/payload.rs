//! Reading an executor's payload (spec executor 1.2): the JSON of a job, of one instance (old form), or just of a task.
//!
//! The text is parsed once for all instances of a configuration ([`Late`]); filling in what differs between them is cheap.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reading::{Fields, Place, Reading};
use super::schema::{
    Announcer, HealthCheckConfig, HealthChecker, HttpHealthChecker, HttpLifecycle, Lifecycle, Logger,
    LoggerDestination, LoggerMode, OrderConstraint, Payload, Process, ProcessResources, RotatePolicy,
    ShellHealthChecker, Task,
};
use super::template::{LateReference, LateValues, TemplateError};

/// Why a payload cannot be read; the message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON.
    #[error("the executor data is not JSON: {0}")]
    Json(String),
    /// A value of the wrong kind.
    #[error("{place} should be {expected}, not {found}")]
    Shape {
        /// Where, as in `task.processes[0].name`.
        place: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// None of the names a setting may have.
    #[error("{place} should be one of {known}, not {found}")]
    Name {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// The names.
        known: String,
    },
    /// A value that has no default is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A text in double braces.
    #[error("{place}: {error}")]
    Template {
        /// Where.
        place: String,
        /// What is wrong.
        error: TemplateError,
    },
}

/// Something read from JSON whose late templates are not filled in yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Late<T> {
    raw: Value,
    shape: T,
    references: BTreeSet<LateReference>,
}

/// What can be read from a payload.
pub trait FromPayload: Sized {
    #[doc(hidden)]
    fn read(top: &Value, reading: ReadingOf<'_>) -> Result<Self, PayloadError>;
}

/// How [`FromPayload`] reads; opaque.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct ReadingOf<'a>(&'a Reading<'a>);

impl FromPayload for Payload {
    fn read(top: &Value, reading: ReadingOf<'_>) -> Result<Self, PayloadError> {
        payload(&Fields::of(top, Place::Top, reading.0)?)
    }
}

impl FromPayload for Task {
    fn read(top: &Value, reading: ReadingOf<'_>) -> Result<Self, PayloadError> {
        task(&Fields::of(top, Place::Top, reading.0)?)
    }
}

impl<T: FromPayload> Late<T> {
    /// Reads JSON text. Fails on what is no JSON, of the wrong kind, or has references that nothing will fill in.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        Self::from_value(serde_json::from_str(text).map_err(|error| PayloadError::Json(error.to_string()))?)
    }

    /// Reads JSON that is parsed already.
    pub fn from_value(raw: Value) -> Result<Self, PayloadError> {
        let reading = Reading::default();
        let shape = T::read(&raw, ReadingOf(&reading))?;
        Ok(Self { raw, shape, references: reading.references.into_inner() })
    }

    /// What was read, with templates left in texts, and defaults in the place of numbers and truth values made of them.
    pub fn shape(&self) -> &T {
        &self.shape
    }

    /// The references that are to be filled in.
    pub fn references(&self) -> &BTreeSet<LateReference> {
        &self.references
    }

    /// Names of the ports that are referred to.
    pub fn port_names(&self) -> BTreeSet<String> {
        let ports = self.references.iter().filter_map(|reference| match reference {
            LateReference::Port(name) => Some(name.clone()),
            _ => None,
        });
        ports.collect()
    }

    /// What was read, for one task. Fails when it refers to a port that the task does not have, or when a number does not come out
    /// as one.
    pub fn fill(&self, values: &LateValues) -> Result<T, PayloadError> {
        let reading = Reading { values: Some(values), ..Reading::default() };
        T::read(&self.raw, ReadingOf(&reading))
    }

    /// The JSON that was read, whole.
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

impl Late<Payload> {
    /// JSON of the `task` of the payload, templates not filled in: [`Late<Task>`] reads it.
    pub fn task_json(&self) -> String {
        self.raw["task"].to_string()
    }
}

fn payload(fields: &Fields<'_>) -> Result<Payload, PayloadError> {
    let task = fields.object("task", task)?.ok_or_else(|| PayloadError::Missing("task".into()))?;
    let instance = if fields.has("instance") { Some(fields.integer("instance", 0)?) } else { None };
    Ok(Payload {
        task,
        role: fields.text("role")?,
        environment: fields.text("environment")?,
        instance,
        announce: fields.object("announce", announcer)?,
        health_check_config: fields.object("health_check_config", health_check)?.unwrap_or_default(),
        lifecycle: fields.object("lifecycle", lifecycle)?.unwrap_or_default(),
    })
}

fn task(fields: &Fields<'_>) -> Result<Task, PayloadError> {
    let processes = fields.objects("processes", process)?;
    let first = |processes: &[Process]| processes.first().map(|process| process.name.clone()).unwrap_or_default();
    Ok(Task {
        name: fields.text("name")?.unwrap_or_else(|| first(&processes)),
        constraints: fields.objects("constraints", |fields| Ok(OrderConstraint { order: fields.texts("order")? }))?,
        resources: fields.object("resources", resources)?,
        max_failures: fields.integer("max_failures", 1)?,
        max_concurrency: fields.integer("max_concurrency", 0)?,
        finalization_wait_secs: fields.integer("finalization_wait", 30)?,
        user: fields.text("user")?,
        processes,
    })
}

fn process(fields: &Fields<'_>) -> Result<Process, PayloadError> {
    Ok(Process {
        name: fields.required_text("name")?,
        cmdline: fields.required_text("cmdline")?,
        max_failures: fields.integer("max_failures", 1)?,
        daemon: fields.boolean("daemon", false)?,
        ephemeral: fields.boolean("ephemeral", false)?,
        min_duration_secs: fields.integer("min_duration", 5)?,
        is_final: fields.boolean("final", false)?,
        logger: fields.object("logger", logger)?,
        resources: fields.object("resources", resources)?,
    })
}

/// Clients that describe no resources of a kind leave it out; 0 stands for it.
fn resources(fields: &Fields<'_>) -> Result<ProcessResources, PayloadError> {
    Ok(ProcessResources {
        cpu: fields.float("cpu", 0.0)?,
        ram_bytes: fields.integer("ram", 0)?,
        disk_bytes: fields.integer("disk", 0)?,
        gpu: fields.integer("gpu", 0)?,
    })
}

fn logger(fields: &Fields<'_>) -> Result<Logger, PayloadError> {
    let defaults = Logger::default();
    Ok(Logger {
        destination: fields.one_of("destination", &LoggerDestination::NAMES, defaults.destination)?,
        mode: fields.one_of("mode", &LoggerMode::NAMES, defaults.mode)?,
        rotate: fields.object("rotate", |fields| {
            let defaults = RotatePolicy::default();
            Ok(RotatePolicy {
                log_size_bytes: fields.integer("log_size", defaults.log_size_bytes)?,
                backups: fields.integer("backups", defaults.backups)?,
            })
        })?,
    })
}

fn announcer(fields: &Fields<'_>) -> Result<Announcer, PayloadError> {
    let primary_port = fields.text("primary_port")?.unwrap_or_else(|| "http".into());
    let portmap = match fields.pairs("portmap")? {
        Some(pairs) => pairs.into_iter().collect(),
        None => [("aurora".to_owned(), primary_port.clone())].into(),
    };
    Ok(Announcer { primary_port, portmap, zk_path: fields.text("zk_path")? })
}

fn health_check(fields: &Fields<'_>) -> Result<HealthCheckConfig, PayloadError> {
    let defaults = HealthCheckConfig::default();
    Ok(HealthCheckConfig {
        health_checker: fields.object("health_checker", health_checker)?.unwrap_or(defaults.health_checker),
        initial_interval_secs: fields.float("initial_interval_secs", defaults.initial_interval_secs)?,
        interval_secs: fields.float("interval_secs", defaults.interval_secs)?,
        timeout_secs: fields.float("timeout_secs", defaults.timeout_secs)?,
        max_consecutive_failures: fields.integer("max_consecutive_failures", defaults.max_consecutive_failures)?,
        min_consecutive_successes: fields.integer("min_consecutive_successes", defaults.min_consecutive_successes)?,
    })
}

/// A shell probe wins over one by HTTP (spec executor 2.6).
fn health_checker(fields: &Fields<'_>) -> Result<HealthChecker, PayloadError> {
    let shell = fields
        .object("shell", |fields| Ok(ShellHealthChecker { shell_command: fields.required_text("shell_command")? }))?;
    if let Some(shell) = shell {
        return Ok(HealthChecker::Shell(shell));
    }
    let http = fields.object("http", |fields| {
        let defaults = HttpHealthChecker::default();
        Ok(HttpHealthChecker {
            endpoint: fields.text("endpoint")?.unwrap_or(defaults.endpoint),
            expected_response: fields.text("expected_response")?.unwrap_or(defaults.expected_response),
            expected_response_code: fields.integer("expected_response_code", defaults.expected_response_code)?,
        })
    })?;
    Ok(HealthChecker::Http(http.unwrap_or_default()))
}

/// Present without `http` it means that the task is not asked.
fn lifecycle(fields: &Fields<'_>) -> Result<Lifecycle, PayloadError> {
    let http = fields.object("http", |fields| {
        let defaults = HttpLifecycle::default();
        let text = |key: &str, default: String| Ok::<_, PayloadError>(fields.text(key)?.unwrap_or(default));
        Ok(HttpLifecycle {
            port: text("port", defaults.port)?,
            graceful_shutdown_endpoint: text("graceful_shutdown_endpoint", defaults.graceful_shutdown_endpoint)?,
            shutdown_endpoint: text("shutdown_endpoint", defaults.shutdown_endpoint)?,
            graceful_shutdown_wait_secs: fields
                .integer("graceful_shutdown_wait_secs", defaults.graceful_shutdown_wait_secs)?,
            shutdown_wait_secs: fields.integer("shutdown_wait_secs", defaults.shutdown_wait_secs)?,
        })
    })?;
    Ok(Lifecycle { http })
}

#[cfg(test)]
mod tests;
