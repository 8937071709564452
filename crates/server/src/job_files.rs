//! Reads job files that were sent to the REST API. They are data and nothing of them is run; still each is read in a process of its own,
//! with limits on time, memory and the length of what comes of it, because strangers may have written it.

use std::path::PathBuf;
use std::time::Duration;

use api::rest::{JobFile, JobFileError, JobFileFormat, JobFiles, JobOfFile};
use config::{ConfigError, ErrorKind, Evaluation, EvaluationRequest, Format, Job, JobSelector, KeyPart, Limits};

/// How long reading a job file may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How much memory that may take, in bytes.
const MEMORY_LIMIT_BYTES: u64 = 256 << 20;
/// How long the jobs of a file may be when they are worked out, in bytes.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// How much is told of what is wrong, in characters: what a file calls things may be as long as the file.
const SENTENCE_CHARS_MAX: usize = 4000;
/// What messages call the file.
const NAME: &str = "the job file";
/// The name that stands for the user in job files.
const USER: &str = "daybreak.user";

/// The reader.
#[derive(Clone, Debug, Default)]
pub struct ConfigJobFiles {
    /// The program that reads; this program itself when unset.
    pub executable: Option<PathBuf>,
}

impl JobFiles for ConfigJobFiles {
    fn read(&self, file: &JobFile) -> Result<JobOfFile, JobFileError> {
        let format = match file.format {
            JobFileFormat::Json => Format::Json,
            JobFileFormat::Yaml => Format::Yaml,
            JobFileFormat::Toml => Format::Toml,
        };
        let mut request = EvaluationRequest::of_text(NAME, format, &file.text);
        request.arguments = Vec::new();
        // The user of the daemon is nobody's business.
        request.keep_user = true;
        if let Some(owner) = &file.owner {
            request = request.bind(USER, owner);
        }
        request.wanted = file.job.as_ref().map(|key| JobSelector {
            cluster: file.cluster.clone(),
            role: key.role.clone(),
            environment: key.environment.clone(),
            name: key.name.clone(),
        });
        request.limits = Limits { time: TIME_LIMIT, memory_bytes: MEMORY_LIMIT_BYTES };
        request.answer_bytes_max = Some(ANSWER_BYTES_MAX);
        request.executable.clone_from(&self.executable);
        let evaluation = config::evaluate_apart(&request).map_err(told)?;
        job_of(&evaluation, request.wanted.as_ref(), file).map_err(told)
    }
}

/// The job that is meant, in the scheduler's words.
fn job_of(evaluation: &Evaluation, wanted: Option<&JobSelector>, file: &JobFile) -> Result<JobOfFile, ConfigError> {
    let job: &Job = evaluation.select(wanted)?;
    let role = match &job.role {
        KeyPart::Text(role) => role.as_str(),
        KeyPart::Missing | KeyPart::Broken(_) => "",
    };
    let submission = job.submission(file.owner.as_deref().unwrap_or(role), &file.tiers)?;
    Ok(JobOfFile {
        cluster: submission.cluster,
        configuration: submission.job,
        update: job.update_settings(&[]).map_err(told),
        warnings: submission.warnings,
    })
}

/// The error as one sentence and a place.
fn told(error: ConfigError) -> JobFileError {
    let mut sentence = String::new();
    for line in error.reason.lines().map(str::trim) {
        match sentence.chars().next_back() {
            None => {}
            Some(':') => sentence.push(' '),
            Some(_) => sentence.push_str("; "),
        }
        sentence.push_str(line);
    }
    let is_about_user = sentence.contains("unbound references") && sentence.contains("{{daybreak.user}}");
    if is_about_user {
        sentence.push_str("; who sends this did not say who he is, so write the role instead");
    }
    for help in error.help.iter().filter(|_| !is_about_user) {
        // Command lines have flags that requests have not.
        let help = match error.kind {
            ErrorKind::SeveralJobs => "name one with ?job=role/environment/name",
            _ => help.split(", or with --bind").next().unwrap_or(help),
        };
        sentence.push_str("; ");
        sentence.push_str(help);
    }
    if sentence.chars().count() > SENTENCE_CHARS_MAX {
        sentence = sentence.chars().take(SENTENCE_CHARS_MAX).chain("…".chars()).collect();
    }
    let mut letters = sentence.chars();
    let mut sentence: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    JobFileError {
        sentence,
        line: error.place.as_ref().and_then(|place| place.line),
        column: error.place.as_ref().and_then(|place| place.column),
        is_internal: error.kind == ErrorKind::Internal,
    }
}
