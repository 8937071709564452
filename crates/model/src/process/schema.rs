//! What an executor's payload may contain, with its defaults (spec executor 1.2, 2.6, 2.8, 2.10). Plain data; reading it is
//! [`super::payload`].
//!
//! Serialised, a value has the names and units of the wire.

use std::collections::BTreeMap;

use serde::Serialize;

/// The part of a job that the executor uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Payload {
    /// What to run.
    pub task: Task,
    /// The job's role; absent in minimal payloads, where the task configuration has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The job's environment; absent in minimal payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Instance number; only in the old form of a payload that describes one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<i64>,
    /// How the task announces itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<Announcer>,
    /// How its health is checked.
    pub health_check_config: HealthCheckConfig,
    /// How it is asked to end.
    pub lifecycle: Lifecycle,
}

/// A task: processes, their order, and when it counts as ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Name; that of the first process unless given.
    pub name: String,
    /// Processes in the order of their declaration.
    pub processes: Vec<Process>,
    /// Which process waits for which.
    pub constraints: Vec<OrderConstraint>,
    /// What the task needs; absent in payloads for other executors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ProcessResources>,
    /// Processes that may fail for good before the task fails; 0 for any number.
    pub max_failures: i64,
    /// Processes that may run at once; 0 for any number.
    pub max_concurrency: i64,
    /// Time for ending and for the final processes together, seconds.
    #[serde(rename = "finalization_wait")]
    pub finalization_wait_secs: i64,
    /// For people only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A process: one command line, run by `/bin/bash -c`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    /// Name, unique within the task.
    pub name: String,
    /// What bash runs.
    pub cmdline: String,
    /// Runs that may fail; 0 for any number.
    pub max_failures: i64,
    /// Runs again after a success too.
    pub daemon: bool,
    /// Does not count when it is asked whether the task is complete.
    pub ephemeral: bool,
    /// Least time between the end of a run and the start of the next, seconds.
    #[serde(rename = "min_duration")]
    pub min_duration_secs: i64,
    /// Runs after the regular processes ended.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Where its output goes; unset leaves that to the executor's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<Logger>,
    /// Accepted and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ProcessResources>,
}

impl Process {
    /// A process with default settings.
    pub fn new(name: impl Into<String>, cmdline: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cmdline: cmdline.into(),
            max_failures: 1,
            daemon: false,
            ephemeral: false,
            min_duration_secs: 5,
            is_final: false,
            logger: None,
            resources: None,
        }
    }
}

impl Task {
    /// A task of these processes with default settings and no order among them.
    pub fn new(name: impl Into<String>, processes: Vec<Process>) -> Self {
        Self {
            name: name.into(),
            processes,
            constraints: Vec::new(),
            resources: None,
            max_failures: 1,
            max_concurrency: 0,
            finalization_wait_secs: 30,
            user: None,
        }
    }
}

/// Each process named starts after the one before it has finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderConstraint {
    /// Names of processes.
    pub order: Vec<String>,
}

impl OrderConstraint {
    /// The order of these names.
    pub fn new<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self { order: names.into_iter().map(Into::into).collect() }
    }
}

/// Resources as a payload states them. Placement uses those of the task configuration instead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProcessResources {
    /// Cores.
    pub cpu: f64,
    /// Memory, bytes.
    #[serde(rename = "ram")]
    pub ram_bytes: i64,
    /// Disk, bytes.
    #[serde(rename = "disk")]
    pub disk_bytes: i64,
    /// Whole graphics processors.
    pub gpu: i64,
}

/// Where the output of a process goes (spec executor 1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Logger {
    /// Which sinks.
    pub destination: LoggerDestination,
    /// How files grow.
    pub mode: LoggerMode,
    /// When files are rotated; the default policy where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<RotatePolicy>,
}

impl Default for Logger {
    fn default() -> Self {
        Self { destination: LoggerDestination::File, mode: LoggerMode::Standard, rotate: None }
    }
}

/// Sinks of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggerDestination {
    /// Two files below the sandbox.
    File,
    /// The executor's own output.
    Console,
    /// Both.
    Both,
    /// Nowhere.
    None,
}

impl LoggerDestination {
    /// Every destination with its name on the wire.
    pub const NAMES: [(&'static str, Self); 4] =
        [("file", Self::File), ("console", Self::Console), ("both", Self::Both), ("none", Self::None)];
}

/// How log files grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggerMode {
    /// Without bound.
    Standard,
    /// Renamed and begun anew at a size.
    Rotate,
}

impl LoggerMode {
    /// Every mode with its name on the wire.
    pub const NAMES: [(&'static str, Self); 2] = [("standard", Self::Standard), ("rotate", Self::Rotate)];
}

/// When log files are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RotatePolicy {
    /// Size at which a file is rotated, bytes.
    #[serde(rename = "log_size")]
    pub log_size_bytes: i64,
    /// Rotated files that are kept.
    pub backups: i64,
}

impl Default for RotatePolicy {
    fn default() -> Self {
        Self { log_size_bytes: 100 << 20, backups: 5 }
    }
}

/// How a task announces itself (spec executor 2.9, 2.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Announcer {
    /// Name of the main port.
    pub primary_port: String,
    /// Further names: each maps to the name of another port or to a number.
    pub portmap: BTreeMap<String, String>,
    /// A path of the user's own instead of the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zk_path: Option<String>,
}

impl Default for Announcer {
    fn default() -> Self {
        Self { primary_port: "http".into(), portmap: [("aurora".to_owned(), "http".to_owned())].into(), zk_path: None }
    }
}

/// How the health of a task is checked (spec executor 2.6).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthCheckConfig {
    /// The probe.
    pub health_checker: HealthChecker,
    /// Grace period, seconds.
    pub initial_interval_secs: f64,
    /// Pause after a probe, seconds.
    pub interval_secs: f64,
    /// Time a probe may take, seconds.
    pub timeout_secs: f64,
    /// Failures in a row that are tolerated.
    pub max_consecutive_failures: i64,
    /// Successes in a row after which the task counts as running.
    pub min_consecutive_successes: i64,
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self {
            health_checker: HealthChecker::Http(HttpHealthChecker::default()),
            initial_interval_secs: 15.0,
            interval_secs: 10.0,
            timeout_secs: 1.0,
            max_consecutive_failures: 0,
            min_consecutive_successes: 1,
        }
    }
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthChecker {
    /// A request to the port named `health`; nothing is probed when the task has none.
    Http(HttpHealthChecker),
    /// A command.
    Shell(ShellHealthChecker),
}

/// A probe by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpHealthChecker {
    /// Path of the request.
    pub endpoint: String,
    /// Expected body, without regard to case; empty for any.
    pub expected_response: String,
    /// Expected status code; 0 for any.
    pub expected_response_code: i64,
}

impl Default for HttpHealthChecker {
    fn default() -> Self {
        Self { endpoint: "/health".into(), expected_response: "ok".into(), expected_response_code: 0 }
    }
}

/// A probe by a command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShellHealthChecker {
    /// What bash runs; exit status 0 is healthy.
    pub shell_command: String,
}

/// How a task is asked to end before it is killed (spec executor 2.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lifecycle {
    /// By HTTP; `None` when it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpLifecycle>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { http: Some(HttpLifecycle::default()) }
    }
}

/// Requests that ask a task to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpLifecycle {
    /// Name of the port.
    pub port: String,
    /// Path of the first, gentle request.
    pub graceful_shutdown_endpoint: String,
    /// Path of the second request.
    pub shutdown_endpoint: String,
    /// Wait after the first, seconds.
    pub graceful_shutdown_wait_secs: i64,
    /// Wait after the second, seconds.
    pub shutdown_wait_secs: i64,
}

impl Default for HttpLifecycle {
    fn default() -> Self {
        Self {
            port: "health".into(),
            graceful_shutdown_endpoint: "/quitquitquit".into(),
            shutdown_endpoint: "/abortabortabort".into(),
            graceful_shutdown_wait_secs: 5,
            shutdown_wait_secs: 5,
        }
    }
}
