//! Job files: what a command asks of the evaluator and what it gets, and the choice of the job it means. The evaluation itself is `config`'s.

use std::path::PathBuf;

use model::JobConfiguration;
use model::tier::Tiers;
use model::update::UpdateSettings;
use serde_json::Value;

#[cfg(feature = "evaluator")]
use crate::docker_registry;
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
    /// What it is written in; unset where its name tells.
    pub format: Option<FileFormat>,
    /// Which job is to be converted.
    pub wanted: Wanted,
    /// Registry in which images are looked for that the job names by their tags; unset for the usual one.
    pub docker_registry: Option<String>,
    /// Tiers of the cluster; the built-in ones when only the file is looked at.
    pub tiers: Tiers,
}

/// What a job file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// Python, as Aurora's job files are
    Aurora,
    /// YAML
    Yaml,
    /// JSON with the fields of job files
    Json,
    /// TOML
    Toml,
}

#[cfg(feature = "evaluator")]
impl From<FileFormat> for config::Format {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Aurora => Self::Python,
            FileFormat::Yaml => Self::Yaml,
            FileFormat::Json => Self::Json,
            FileFormat::Toml => Self::Toml,
        }
    }
}

/// Which job of a file is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// None: only the keys matter.
    #[default]
    Keys,
    /// The only one there is.
    Only,
    /// The one of that key.
    Job(ClusterJob),
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Keys of all jobs, `CLUSTER/ROLE/ENV/NAME`, in the file's order; parts that cannot be worked out are marked in braces.
    pub keys: Vec<String>,
    /// The job asked for; set whenever one was wanted.
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
    /// Its `update_config`; an error matters only to those who update.
    pub update: Result<UpdateSettings, String>,
    /// Every field of the schema after interpolation (the shape of `job inspect --write-json`).
    pub raw: Value,
    /// Whether hooks of the file are to run around calls that are about this job.
    pub has_hooks: bool,
}

/// A job file that was evaluated: its jobs are worked out from that, without another evaluation.
pub trait EvaluatedFile {
    /// What the request wants of the file; what else it says of the file is what the file was evaluated with. An error is the text for
    /// the user.
    fn load(&self, request: &EvaluationRequest) -> Result<Evaluation, String>;
}

/// Evaluates a job file in a child process of this program.
#[cfg(feature = "evaluator")]
pub fn evaluate_file(request: &EvaluationRequest) -> Result<Box<dyn EvaluatedFile>, String> {
    Ok(Box::new(Evaluated(config::evaluate(&question_of(request)).map_err(text_of)?)))
}

/// Evaluates a job file and checks the job that is wanted.
pub fn evaluate(request: &EvaluationRequest) -> Result<Evaluation, String> {
    evaluate_file(request)?.load(request)
}

#[cfg(feature = "evaluator")]
struct Evaluated(config::Evaluation);

/// An error of the evaluator as the commands tell it.
#[cfg(feature = "evaluator")]
pub(crate) fn text_of(error: config::ConfigError) -> String {
    error.render().trim_start_matches("error: ").trim_end().to_owned()
}

#[cfg(feature = "evaluator")]
impl EvaluatedFile for Evaluated {
    fn load(&self, request: &EvaluationRequest) -> Result<Evaluation, String> {
        let keys = self.0.jobs.iter().map(config::Job::key).collect();
        if request.wanted == Wanted::Keys {
            return Ok(Evaluation { keys, ..Evaluation::default() });
        }
        let mut question = question_of(request);
        let wanted = question.wanted.clone();
        let found = image_bindings(self.0.select(wanted.as_ref()).map_err(text_of)?, request)?;
        let rebound;
        let evaluation = if found.is_empty() {
            &self.0
        } else {
            // What an image's tag stands for is known only now, and the file may use it anywhere.
            question.bindings.extend(found);
            rebound = config::evaluate(&question).map_err(text_of)?;
            &rebound
        };
        let job = evaluation.select(wanted.as_ref()).map_err(text_of)?;
        let submission = job.submission(&crate::world::login(), &request.tiers).map_err(text_of)?;
        let loaded = LoadedJob {
            key: ClusterJob { cluster: submission.cluster, job: submission.job.key.clone() },
            configuration: submission.job,
            update: job.update_settings(&[]).map_err(text_of),
            raw: submission.raw,
            has_hooks: submission.enable_hooks && !evaluation.hooks.is_empty(),
        };
        Ok(Evaluation { keys, job: Some(loaded), warnings: submission.warnings })
    }
}

/// The request in the evaluator's words.
#[cfg(feature = "evaluator")]
pub(crate) fn question_of(request: &EvaluationRequest) -> config::EvaluationRequest {
    let mut question = config::EvaluationRequest::new(request.path.to_string_lossy());
    question.read_json = request.is_json;
    question.format = request.format.map(config::Format::from);
    question.bindings = request.bindings.iter().map(|binding| (binding.name.clone(), binding.value.clone())).collect();
    question.wanted = match &request.wanted {
        Wanted::Job(key) => Some(config::JobSelector {
            cluster: key.cluster.clone(),
            role: key.job.role.clone(),
            environment: key.job.environment.clone(),
            name: key.job.name.clone(),
        }),
        Wanted::Keys | Wanted::Only => None,
    };
    question
}

/// The images that a job names by their tags, each bound to its digest (spec config-dsl 2.7).
#[cfg(feature = "evaluator")]
fn image_bindings(job: &config::Job, request: &EvaluationRequest) -> Result<Vec<(String, String)>, String> {
    let registry = request.docker_registry.as_deref().unwrap_or(docker_registry::DEFAULT_REGISTRY);
    let unbound = job.content.iter().flat_map(|content| &content.unbound);
    let images = unbound.filter_map(|unbound| Some((&unbound.address, docker_registry::image_of(&unbound.address)?)));
    images.map(|(address, (name, tag))| Ok((address.clone(), docker_registry::resolve(registry, name, tag)?))).collect()
}

/// A task of a file, for whoever runs it without a scheduler.
#[derive(Clone, Debug)]
pub struct LoadedTask {
    /// Its name.
    pub name: String,
    /// As JSON, with references that are left to whoever runs it.
    pub raw: Value,
    /// Names of the ports it refers to, sorted.
    pub ports: Vec<String>,
}

/// Evaluates a file in a child process of this program, and checks the task that is wanted: the one of that name, or the only one.
#[cfg(feature = "evaluator")]
pub fn evaluate_task(
    path: &std::path::Path,
    is_json: bool,
    bindings: &[Binding],
    wanted: Option<&str>,
) -> Result<LoadedTask, String> {
    let mut question = config::EvaluationRequest::new(path.to_string_lossy());
    question.as_tasks = true;
    question.read_json = is_json;
    question.bindings = bindings.iter().map(|binding| (binding.name.clone(), binding.value.clone())).collect();
    let evaluation = config::evaluate(&question).map_err(text_of)?;
    let task = evaluation.select_task(wanted).map_err(text_of)?;
    let raw = task.checked(&evaluation.path).map_err(text_of)?.clone();
    let port = |address: &str| address.strip_prefix("thermos.ports[")?.strip_suffix(']').map(str::to_owned);
    let ports = task.content.unbound.iter().filter_map(|unbound| port(&unbound.address)).collect();
    Ok(LoadedTask { name: task.name.shown().to_owned(), raw, ports })
}

/// Evaluates a file in a child process.
#[cfg(not(feature = "evaluator"))]
pub fn evaluate_task(
    _path: &std::path::Path,
    _is_json: bool,
    _bindings: &[Binding],
    _wanted: Option<&str>,
) -> Result<LoadedTask, String> {
    Err("this program was built without the evaluator of job files".into())
}

/// Evaluates a job file in a child process.
#[cfg(not(feature = "evaluator"))]
pub fn evaluate_file(_request: &EvaluationRequest) -> Result<Box<dyn EvaluatedFile>, String> {
    Err("this program was built without the evaluator of job files".into())
}
