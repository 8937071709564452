//! Cron jobs: their schedules, scheduling them, and their runs.

use axum::extract::State;
use model::{CronCollisionPolicy, JobKey};
use scheduler::cron::{CronJob, CronOutcome, CronRun};
use scheduler::{Command, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::{Change, Nothing, message_of};
use super::job_changes::JobFileDocument;
use super::problem::{ChangeRefused, LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{JobAddress, JobPath, Parameters};
use super::shapes::TaskConfiguration;
use super::{Rest, found};

/// What becomes of a run while the one before is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "KILL_EXISTING")]
pub enum CollisionPolicy {
    /// It begins when the one before has been killed.
    KillExisting,
    /// It does not begin.
    CancelNew,
    /// Both run; deprecated and treated as `CANCEL_NEW`.
    RunOverlap,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "STARTED")]
pub enum RunOutcome {
    /// Its tasks were made.
    Started,
    /// It waits until the run before has been killed.
    Waiting,
    /// Not started: the run before was still active.
    Cancelled,
    /// Not started: another run was waiting already.
    Ignored,
    /// Nobody was there when its time came.
    Missed,
}

impl From<&CronOutcome> for RunOutcome {
    fn from(outcome: &CronOutcome) -> Self {
        match outcome {
            CronOutcome::Started => Self::Started,
            CronOutcome::Waiting(_) => Self::Waiting,
            CronOutcome::Cancelled => Self::Cancelled,
            CronOutcome::Ignored => Self::Ignored,
            CronOutcome::Missed => Self::Missed,
        }
    }
}

/// A cron job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobSummary {
    /// Its key, `role/environment/name`.
    #[schema(example = "www-data/prod/nightly")]
    job: String,
    /// When it runs, as in its job file.
    #[schema(example = "0 3 * * *")]
    cron_schedule: String,
    /// The zone that the schedule is meant in.
    #[schema(example = "UTC")]
    timezone: String,
    /// What becomes of a run while the one before is active.
    collision_policy: CollisionPolicy,
    /// Instances of a run.
    #[schema(example = 1)]
    instances: u32,
    /// When the schedule was given, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    scheduled_ms: i64,
    /// When it is due next, in ms since the epoch; null where it never is.
    #[schema(example = 1_800_000_000_000_i64)]
    next_run_ms: Option<i64>,
    /// Tasks of it that have not ended.
    #[schema(example = 0)]
    active_tasks: usize,
}

impl CronJobSummary {
    /// A cron job as it is.
    pub fn new(view: &View, cron: &CronJob) -> Self {
        Self {
            job: cron.key().to_string(),
            cron_schedule: cron.schedule_text().to_owned(),
            timezone: view.cron_timezone.name().to_owned(),
            collision_policy: match cron.config.cron_collision_policy {
                CronCollisionPolicy::KillExisting => CollisionPolicy::KillExisting,
                CronCollisionPolicy::CancelNew => CollisionPolicy::CancelNew,
                CronCollisionPolicy::RunOverlap => CollisionPolicy::RunOverlap,
            },
            instances: cron.instances(),
            scheduled_ms: cron.scheduled_ms,
            next_run_ms: cron.next_run_ms,
            active_tasks: view.tasks_of(cron.key()).filter(|task| task.status.is_active()).count(),
        }
    }
}

/// Cron jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobs {
    /// In order of their keys.
    cron_jobs: Vec<CronJobSummary>,
}

/// A run of a cron job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Counts the runs of the job, from 1.
    #[schema(example = 7)]
    number: u64,
    /// The time of the schedule, in ms since the epoch; null where a user asked for the run.
    #[schema(example = 1_800_000_000_000_i64)]
    nominal_ms: Option<i64>,
    /// When it was recorded, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    recorded_ms: i64,
    /// When its tasks were made, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    started_ms: Option<i64>,
    /// Who asked for it.
    #[schema(example = "alice")]
    user: Option<String>,
    /// What became of it.
    outcome: RunOutcome,
    /// The same in words.
    #[schema(example = "tasks were created")]
    sentence: &'static str,
    /// Instances that it asks for.
    #[schema(example = 1)]
    instances: u32,
    /// Earlier times of the schedule that had passed as well and that it stands for.
    #[schema(example = 0)]
    skipped: u32,
}

impl From<&CronRun> for Run {
    fn from(run: &CronRun) -> Self {
        Self {
            number: run.number,
            nominal_ms: run.nominal_ms,
            recorded_ms: run.recorded_ms,
            started_ms: run.started_ms,
            user: run.user.clone(),
            outcome: (&run.outcome).into(),
            sentence: run.outcome.sentence(),
            instances: run.instances,
            skipped: run.skipped,
        }
    }
}

/// Runs of a cron job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Runs {
    /// The latest, newest first; older ones are forgotten.
    runs: Vec<Run>,
}

/// A cron job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobDetail {
    /// As in a list.
    #[serde(flatten)]
    summary: CronJobSummary,
    /// What each of its tasks is started with.
    configuration: TaskConfiguration,
    /// The latest runs, newest first.
    runs: Vec<Run>,
}

/// Which cron jobs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CronFilter {
    /// Of this role only.
    #[serde(default)]
    #[param(example = "www-data")]
    role: Option<String>,
}

fn no_such_cron_job(job: &JobKey) -> Box<Problem> {
    Problem::not_found(format!("{job} is not scheduled with cron: GET /api/v1/cron-jobs lists what is."))
}

fn unless_scheduled(job: &JobKey) -> impl Fn(&View) -> Option<Box<Problem>> + use<> {
    let job = job.clone();
    move |view| (!view.cron_jobs.contains_key(&job)).then(|| no_such_cron_job(&job))
}

fn runs(cron: &CronJob) -> Vec<Run> {
    cron.runs.iter().rev().map(Run::from).collect()
}

/// Lists cron jobs
#[utoipa::path(
    get,
    path = "/api/v1/cron-jobs",
    operation_id = "listCronJobs",
    tag = "cron",
    params(CronFilter),
    responses((status = 200, description = "The cron jobs.", body = CronJobs), ReadingRefused)
)]
pub async fn list_cron_jobs(State(rest): State<Rest>, Parameters(filter): Parameters<CronFilter>) -> Outcome {
    let list = move |view: &View| {
        let fits = |job: &JobKey| filter.role.as_ref().is_none_or(|role| *role == job.role);
        let jobs = view.cron_jobs.iter().filter(|(key, _)| fits(key));
        found(&CronJobs { cron_jobs: jobs.map(|(_, cron)| CronJobSummary::new(view, cron)).collect() })
    };
    rest.read(list).await
}

/// Tells of a cron job
#[utoipa::path(
    get,
    path = "/api/v1/cron-jobs/{role}/{environment}/{name}",
    operation_id = "getCronJob",
    tag = "cron",
    params(JobAddress),
    responses((status = 200, description = "The cron job.", body = CronJobDetail), LookingRefused)
)]
pub async fn get_cron_job(
    State(rest): State<Rest>,
    JobPath(job): JobPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let view = rest.gateway.view();
    let cron = view.cron_jobs.get(&job).ok_or_else(|| no_such_cron_job(&job))?;
    found(&CronJobDetail {
        summary: CronJobSummary::new(&view, cron),
        configuration: (&cron.config.task).into(),
        runs: runs(cron),
    })
}

/// Lists the runs of a cron job
///
/// The latest ones, and the one that waits.
#[utoipa::path(
    get,
    path = "/api/v1/cron-jobs/{role}/{environment}/{name}/runs",
    operation_id = "listCronRuns",
    tag = "cron",
    params(JobAddress),
    responses((status = 200, description = "The runs.", body = Runs), LookingRefused)
)]
pub async fn list_cron_runs(
    State(rest): State<Rest>,
    JobPath(job): JobPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let view = rest.gateway.view();
    let cron = view.cron_jobs.get(&job).ok_or_else(|| no_such_cron_job(&job))?;
    found(&Runs { runs: runs(cron) })
}

/// What came of scheduling a cron job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledCronJob {
    /// Its key.
    #[schema(example = "www-data/prod/nightly")]
    job: String,
    /// When it runs, as in its job file.
    #[schema(example = "0 3 * * *")]
    cron_schedule: String,
    /// What you should know although it stopped nothing, each a sentence.
    warnings: Vec<String>,
}

/// Schedules a cron job
///
/// Or replaces the one that is there. The body is a job file with a cron schedule, and with a job of this key.
#[utoipa::path(
    put,
    path = "/api/v1/cron-jobs/{role}/{environment}/{name}",
    operation_id = "scheduleCronJob",
    tag = "cron",
    params(JobAddress),
    request_body(content(
        (JobFileDocument = "application/json"),
        (String = "application/yaml"),
        (String = "application/toml"),
    ), description = "A job file, 1 MiB at most."),
    responses((status = 200, description = "It is scheduled.", body = ScheduledCronJob), ChangeRefused)
)]
pub async fn schedule_cron_job(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    let Nothing {} = change.parameters()?;
    let read = rest.job_of_body(&change, Some(job.clone())).await?;
    let Some(cron_schedule) = read.configuration.cron_schedule.clone() else {
        let sentence = format!("{job} has no cron_schedule in the file: create it with POST /api/v1/jobs.");
        return Err(Problem::invalid(sentence));
    };
    change.submit(&rest, Command::ScheduleCronJob(Box::new(read.configuration)), |_| None).await?;
    found(&ScheduledCronJob { job: job.to_string(), cron_schedule, warnings: read.warnings })
}

/// What was done to a cron job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescheduledCronJob {
    /// Its key.
    #[schema(example = "www-data/prod/nightly")]
    job: String,
    /// What the scheduler says about it, if anything.
    message: Option<String>,
}

/// Deletes the schedule of a cron job
///
/// Tasks that run go on; those are killed at `/jobs`.
#[utoipa::path(
    delete,
    path = "/api/v1/cron-jobs/{role}/{environment}/{name}",
    operation_id = "descheduleCronJob",
    tag = "cron",
    params(JobAddress),
    responses((status = 200, description = "It is not scheduled any more.", body = DescheduledCronJob), ChangeRefused)
)]
pub async fn deschedule_cron_job(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    change.nothing()?;
    let command = Command::DescheduleCronJob { job: job.clone() };
    let reply = change.submit_to(&rest, command, unless_scheduled(&job)).await?;
    found(&DescheduledCronJob { job: job.to_string(), message: message_of(&reply) })
}

/// What came of starting a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartedRun {
    /// Key of the job.
    #[schema(example = "www-data/prod/nightly")]
    job: String,
    /// Its tasks were made. If not, `message` says whether it waits or is not started.
    started: bool,
    /// What the scheduler says about it, if anything.
    message: Option<String>,
}

/// Starts a run of a cron job now
///
/// As if its time had come; its collision policy holds.
#[utoipa::path(
    post,
    path = "/api/v1/cron-jobs/{role}/{environment}/{name}/runs",
    operation_id = "startCronRun",
    tag = "cron",
    params(JobAddress),
    responses((status = 200, description = "What came of it.", body = StartedRun), ChangeRefused)
)]
pub async fn start_cron_run(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    change.nothing()?;
    let reply = change.submit(&rest, Command::StartCronJob { job: job.clone() }, unless_scheduled(&job)).await?;
    let message = message_of(&reply);
    found(&StartedRun { job: job.to_string(), started: message.is_none(), message })
}
