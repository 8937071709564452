//! Job files: what a command asks of the evaluator and what it gets, and the choice of the job it means. The evaluation itself is `config`'s.

use std::path::PathBuf;

use model::JobConfiguration;
use model::tier::Tiers;
use model::update::UpdateSettings;
use serde_json::Value;

use crate::syntax::{Binding, ClusterJob};

/// What to evaluate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluationRequest {
    /// The file.
    pub path: PathBuf,
    /// `--bind`, in the order given.
    pub bindings: Vec<Binding>,
    /// The file is JSON.
    pub is_json: bool,
    /// Convert only this job; without it only the keys of all jobs are wanted.
    pub job: Option<ClusterJob>,
    /// Tiers of the cluster; the built-in ones when only the file is looked at.
    pub tiers: Tiers,
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Keys of all jobs, in the file's order.
    pub keys: Vec<ClusterJob>,
    /// The job asked for.
    pub job: Option<LoadedJob>,
    /// For the user, on stderr.
    pub warnings: Vec<String>,
}

/// A job of a file, ready to be sent.
#[derive(Clone, Debug)]
pub struct LoadedJob {
    /// Cluster and key.
    pub key: ClusterJob,
    /// As the scheduler takes it.
    pub configuration: JobConfiguration,
    /// Its `update_config`.
    pub update: UpdateSettings,
    /// Every field of the schema after interpolation (the shape of `job inspect --write-json`).
    pub raw: Value,
}

/// Evaluates a job file in a child process.
#[cfg(not(feature = "evaluator"))]
pub fn evaluate(_request: &EvaluationRequest) -> Result<Evaluation, String> {
    Err("this program was built without the evaluator of job files".into())
}
