//! What is asked of an evaluation and what it gives back. Both cross the border between two processes as JSON.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::Format;
use crate::job::Job;
use crate::task::Task;

/// A job file to evaluate, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluationRequest {
    /// The file; a relative path is taken from the working directory.
    pub path: String,
    /// Names bound on the command line and their values, in their order; later ones win. A name is an address such as
    /// `profile.instances` (spec config-dsl 2.9).
    pub bindings: Vec<(String, String)>,
    /// Its text, where it is at hand; then `path` only names it, and [`Self::format`] must be given.
    #[serde(default)]
    pub text: Option<String>,
    /// The file is JSON, not Python.
    pub read_json: bool,
    /// What the file is written in; unset where its name and how it begins tell ([`Format::of`]).
    #[serde(default)]
    pub format: Option<Format>,
    /// In files of data, `{{daybreak.user}}` is left as it stands instead of being filled in.
    #[serde(default)]
    pub keep_user: bool,
    /// The working directory of the evaluation; that of the caller when unset.
    pub working_directory: Option<PathBuf>,
    /// What the file sees as `sys.argv`.
    pub arguments: Vec<String>,
    /// Only this job is wanted; of others just the key is worked out.
    pub wanted: Option<JobSelector>,
    /// Not jobs are wanted but tasks that run without a scheduler: those the file exports or, where it exports none, those of its jobs.
    pub as_tasks: bool,
    /// What the evaluation may use.
    pub limits: Limits,
    /// How long the answer of another process may be, bytes; without a bound when unset.
    #[serde(skip)]
    pub answer_bytes_max: Option<u64>,
    /// The program that evaluates; this program itself when unset. It must call [`crate::evaluation_child_main`] when its first
    /// argument is [`crate::CHILD_ARGUMENT`].
    #[serde(skip)]
    pub executable: Option<PathBuf>,
}

impl EvaluationRequest {
    /// The file at `path` with nothing bound, by this program, within the default limits.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            bindings: Vec::new(),
            text: None,
            read_json: false,
            format: None,
            keep_user: false,
            working_directory: None,
            arguments: std::env::args().collect(),
            wanted: None,
            as_tasks: false,
            limits: Limits::default(),
            answer_bytes_max: None,
            executable: None,
        }
    }

    /// A file of data whose text is at hand; messages call it `name`.
    pub fn of_text(name: impl Into<String>, format: Format, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), format: Some(format), ..Self::new(name) }
    }

    /// The same with one more name bound.
    #[must_use]
    pub fn bind(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.bindings.push((name.into(), value.into()));
        self
    }
}

/// What an evaluation may use before it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time on the wall.
    pub time: Duration,
    /// Address space, bytes.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// A minute and a gibibyte: far more than files that people write need.
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory_bytes: 1 << 30 }
    }
}

/// Which job of a file is meant: `cluster/role/environment/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSelector {
    /// Cluster.
    pub cluster: String,
    /// Role.
    pub role: String,
    /// Environment.
    pub environment: String,
    /// Name.
    pub name: String,
}

impl std::str::FromStr for JobSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [cluster, role, environment, name] if parts.iter().all(|part| !part.is_empty()) => Ok(Self {
                cluster: (*cluster).to_owned(),
                role: (*role).to_owned(),
                environment: (*environment).to_owned(),
                name: (*name).to_owned(),
            }),
            _ => Err(format!("'{text}' is not a job key: write cluster/role/environment/name")),
        }
    }
}

impl std::fmt::Display for JobSelector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}/{}/{}", self.cluster, self.role, self.environment, self.name)
    }
}

/// What a job file came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// The file, as it was named.
    pub path: String,
    /// Its jobs in their order; none where tasks were wanted.
    pub jobs: Vec<Job>,
    /// Its tasks in their order, where they were wanted.
    pub tasks: Vec<Task>,
    /// The files that were run: the job file and those it included.
    pub loaded_files: Vec<String>,
    /// The classes of the file's hooks, in their order; [`crate::HookSession`] runs them.
    pub hooks: Vec<String>,
}
