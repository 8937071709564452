//! Job files as bodies of requests, and the port to whoever reads them. Files are data: nothing is run to read one, and what they may cost
//! is bounded: so many bytes, so many at once, and whatever the reader bounds beside.

use std::sync::Arc;
use std::time::Duration;

use model::tier::Tiers;
use model::update::UpdateSettings;
use model::{JobConfiguration, JobKey};
use tokio::sync::Semaphore;

use super::Rest;
use super::change::Change;
use super::problem::{ErrorCode, Outcome, Problem};

/// The longest job file that is read, in bytes.
pub const MAX_JOB_FILE_BYTES: usize = 1 << 20;

/// Job files that are read at the same time.
const AT_ONCE: usize = 2;

/// How long a job file waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// What a job file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFileFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// TOML.
    Toml,
}

/// A job file, and which of its jobs is meant.
#[derive(Clone, Debug)]
pub struct JobFile {
    /// Its text.
    pub text: String,
    /// What it is written in.
    pub format: JobFileFormat,
    /// The job; where it is not named, the only one.
    pub job: Option<JobKey>,
    /// The cluster that the job is for.
    pub cluster: String,
    /// Who submits it, if that is known; the owner of its tasks. Else their role is.
    pub owner: Option<String>,
    /// Tiers of the cluster.
    pub tiers: Arc<Tiers>,
}

/// A job of a file.
#[derive(Clone, Debug)]
pub struct JobOfFile {
    /// The cluster that the file says.
    pub cluster: String,
    /// The job.
    pub configuration: JobConfiguration,
    /// Settings of an update to it, all instances; what is wrong with them matters only to an update.
    pub update: Result<UpdateSettings, JobFileError>,
    /// What whoever wrote it should know although it stops nothing, each a sentence.
    pub warnings: Vec<String>,
}

/// Why a job file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFileError {
    /// What is wrong and what to do about it.
    pub sentence: String,
    /// In which line, from 1.
    pub line: Option<usize>,
    /// At which character of it, from 1.
    pub column: Option<usize>,
    /// Reading failed through no fault of the file.
    pub is_internal: bool,
}

/// Reads job files. May take a while; is called on a thread that may be busy.
pub trait JobFiles: Send + Sync {
    /// The job that is meant.
    fn read(&self, file: &JobFile) -> Result<JobOfFile, JobFileError>;
}

/// Nobody reads job files here.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJobFiles;

impl JobFiles for NoJobFiles {
    fn read(&self, _: &JobFile) -> Result<JobOfFile, JobFileError> {
        let sentence = "This scheduler was put together without a reader of job files.".to_owned();
        Err(JobFileError { sentence, line: None, column: None, is_internal: true })
    }
}

impl From<JobFileError> for Box<Problem> {
    fn from(error: JobFileError) -> Self {
        let code = if error.is_internal { ErrorCode::Error } else { ErrorCode::InvalidRequest };
        let mut problem = Problem::new(code, error.sentence);
        (problem.line, problem.column) = (error.line, error.column);
        problem
    }
}

/// Reads job files a few at a time.
pub struct Reader {
    files: Arc<dyn JobFiles>,
    turns: Arc<Semaphore>,
}

impl Reader {
    /// A reader in front of another.
    pub fn new(files: Arc<dyn JobFiles>) -> Self {
        Self { files, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn read(&self, file: JobFile) -> Outcome<JobOfFile> {
        let turn = tokio::time::timeout(TURN_LIMIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let sentence = "Too many job files are being read; nothing was changed. Try again.";
            return Err(Problem::new(ErrorCode::ErrorTransient, sentence));
        };
        let files = Arc::clone(&self.files);
        let reading = tokio::task::spawn_blocking(move || {
            // Held until it is read, whoever still waits for it.
            let _turn = turn;
            files.read(&file)
        });
        match reading.await {
            Ok(read) => Ok(read?),
            Err(failure) => Err(Problem::new(ErrorCode::Error, format!("The job file could not be read: {failure}."))),
        }
    }
}

/// Types of what is a program, and is not run here.
const PROGRAMS: [&str; 5] =
    ["text/x-python", "application/x-python", "text/x-aurora", "application/x-aurora", "application/x-python-code"];

/// What a body is written in.
fn format_of(change: &Change) -> Outcome<JobFileFormat> {
    let formats = "a job file is application/json, application/yaml or application/toml";
    let sentence = match change.media_type().as_deref() {
        Some("application/json") => return Ok(JobFileFormat::Json),
        Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml") => {
            return Ok(JobFileFormat::Yaml);
        }
        Some("application/toml" | "text/x-toml") => return Ok(JobFileFormat::Toml),
        Some(said) if PROGRAMS.contains(&said) => format!(
            "Job files in Python are programs and are not run here; {formats}: make one with `daybreak config convert FILE --to yaml`."
        ),
        Some(said) => format!(
            "'{said}' is not read here: {formats}. One in Python (.aurora) becomes one of these with `daybreak config convert`."
        ),
        None => format!("Say what the body is with Content-Type: {formats}."),
    };
    Err(Problem::new(ErrorCode::UnsupportedMediaType, sentence))
}

/// A key of a job, perhaps with its cluster in front.
pub fn job_named(text: &str) -> Outcome<(Option<String>, JobKey)> {
    let (cluster, key) = match text.split('/').count() {
        4 => text.split_once('/').map_or((None, text), |(cluster, key)| (Some(cluster.to_owned()), key)),
        _ => (None, text),
    };
    let shown: String = text.chars().take(160).collect();
    let key =
        key.parse().map_err(|_| Problem::invalid(format!("'{shown}' is no job: write role/environment/name.")))?;
    Ok((cluster, key))
}

impl Rest {
    /// The job of a request's body: the one that is named, or the only one.
    pub(super) async fn job_of_body(&self, change: &Change, job: Option<JobKey>) -> Outcome<JobOfFile> {
        let format = format_of(change)?;
        let text = std::str::from_utf8(&change.body);
        let text = text.map_err(|_| Problem::invalid("The job file is not UTF-8 text: save it as UTF-8."))?.to_owned();
        if text.trim().is_empty() {
            return Err(Problem::invalid("The body is empty: send a job file."));
        }
        let file = JobFile {
            text,
            format,
            job,
            cluster: self.cluster.to_string(),
            owner: change.caller.as_ref().map(|caller| caller.name.clone()),
            tiers: Arc::clone(&self.tiers),
        };
        let read = self.reader.read(file).await?;
        self.check_cluster(&read.cluster)?;
        Ok(read)
    }

    /// Refuses what is meant for another cluster.
    pub(super) fn check_cluster(&self, cluster: &str) -> Outcome<()> {
        if *cluster == *self.cluster {
            return Ok(());
        }
        let shown: String = cluster.chars().take(80).collect();
        Err(Problem::invalid(format!("The job is for the cluster '{shown}'; this one is '{}'.", self.cluster)))
    }
}
