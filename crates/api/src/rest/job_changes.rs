//! Changes of jobs: created, killed, restarted, grown.

use std::collections::BTreeSet;

use axum::extract::State;
use model::JobKey;
use scheduler::{Command, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::{Change, message_of, tasks_of};
use super::instances::Instances;
use super::job_files::job_named;
use super::jobs::{is_there, unless_there};
use super::problem::{ChangeRefused, ErrorCode, Outcome, Problem};
use super::reading::{JobAddress, JobPath};
use super::shapes::job_location;
use super::{Rest, created, found};

/// Which job of the file.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobOfFileParameters {
    /// Which job of the file, where it has several: `role/environment/name`, perhaps with the cluster in front.
    #[serde(default)]
    #[param(example = "www-data/prod/hello", pattern = r"^[A-Za-z0-9_.-]{1,255}(/[A-Za-z0-9_.-]{1,255}){2,3}$")]
    job: Option<String>,
}

/// What came of creating a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedJob {
    /// Its key.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// It has a schedule: nothing runs until its time comes.
    scheduled: bool,
    /// Its schedule, where it has one.
    #[schema(example = "0 3 * * *")]
    cron_schedule: Option<String>,
    /// Tasks that were made.
    #[schema(example = 2)]
    tasks: u32,
    /// What you should know although it stopped nothing, each a sentence.
    warnings: Vec<String>,
}

/// What was done to tasks of a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedTasks {
    /// Key of the job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// How many.
    #[schema(example = 2)]
    tasks: u32,
    /// What the scheduler says about it, if anything.
    message: Option<String>,
}

/// Which tasks are killed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    /// Which; all active ones where it is left out.
    #[serde(default)]
    instances: Option<Instances>,
    /// Why; told in the history of each task.
    #[serde(default)]
    #[schema(example = "no longer needed")]
    message: Option<String>,
}

/// Which tasks are restarted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// Which; each must be active.
    instances: Instances,
}

/// How many instances are added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddInstancesRequest {
    /// How many.
    #[schema(example = 2, minimum = 1)]
    count: i32,
    /// The active instance whose configuration they get.
    #[schema(example = 0)]
    template: u32,
}

/// A job file as a body: the same fields in each format.
#[derive(ToSchema)]
#[schema(
    value_type = Object,
    description = "A job file: one job, or a list of jobs, as data. See docs/job-files.md; its JSON Schema is docs/job-file.schema.json.",
    example = json!({
        "cluster": "devcluster", "role": "www-data", "environment": "prod", "name": "hello", "instances": 2, "service": true,
        "task": {
            "processes": [{"name": "hello", "cmdline": "while true; do echo hello; sleep 10; done"}],
            "resources": {"cpu": 0.1, "ram": "16 MB", "disk": "16 MB"}
        }
    })
)]
#[allow(dead_code, reason = "tells the document what is read")]
pub struct JobFileDocument(serde_json::Value);

/// Creates a job
///
/// The body is a job file. A job with a cron schedule is scheduled instead, and nothing runs yet. Who sends it needs no file on the
/// scheduler's machine, and nothing of the file is run to read it.
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    operation_id = "createJob",
    tag = "jobs",
    params(JobOfFileParameters),
    request_body(content(
        (JobFileDocument = "application/json"),
        (String = "application/yaml"),
        (String = "application/toml"),
    ), description = "A job file, 1 MiB at most."),
    responses(
        (status = 201, description = "The job was created.", body = CreatedJob,
            headers(("Location" = String, description = "Where the job is."))),
        ChangeRefused,
    )
)]
pub async fn create_job(State(rest): State<Rest>, change: Change) -> Outcome {
    let parameters: JobOfFileParameters = change.parameters()?;
    let named = parameters.job.as_deref().map(job_named).transpose()?;
    if let Some((Some(cluster), _)) = &named {
        rest.check_cluster(cluster)?;
    }
    let read = rest.job_of_body(&change, named.map(|(_, key)| key)).await?;
    let (key, cron_schedule) = (read.configuration.key.clone(), read.configuration.cron_schedule.clone());
    let there = {
        let key = key.clone();
        move |view: &View| is_there(view, &key).then(|| already_there(&key))
    };
    let configuration = Box::new(read.configuration);
    let (reply, collection) = match cron_schedule {
        Some(_) => (change.submit_to(&rest, Command::ScheduleCronJob(configuration), there).await?, "cron-jobs"),
        None => (change.submit(&rest, Command::CreateJob(configuration), there).await?, "jobs"),
    };
    let document = CreatedJob {
        job: key.to_string(),
        scheduled: cron_schedule.is_some(),
        cron_schedule,
        tasks: tasks_of(&reply),
        warnings: read.warnings,
    };
    created(&job_location(collection, &key), &document)
}

fn already_there(key: &JobKey) -> Box<Problem> {
    let sentence = format!(
        "There is a job {key} already: update it (POST /api/v1/jobs/{key}/updates), replace its schedule (PUT /api/v1/cron-jobs/{key}), \
         or delete it first."
    );
    Problem::new(ErrorCode::Conflict, sentence)
}

fn killed(job: &JobKey, reply: &scheduler::Reply) -> Outcome {
    found(&ChangedTasks { job: job.to_string(), tasks: tasks_of(reply), message: message_of(reply) })
}

/// Kills a job
///
/// All its active tasks. A schedule stays: that is deleted at `/cron-jobs`.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{role}/{environment}/{name}",
    operation_id = "deleteJob",
    tag = "jobs",
    params(JobAddress),
    responses((status = 200, description = "So many tasks are being killed.", body = ChangedTasks), ChangeRefused)
)]
pub async fn delete_job(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    change.nothing()?;
    let command = Command::KillTasks { job: job.clone(), instances: BTreeSet::new(), message: None };
    killed(&job, &change.submit_to(&rest, command, unless_there(&job)).await?)
}

/// Kills tasks of a job
///
/// Those of the named instances, or all active ones.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/kill",
    operation_id = "killTasks",
    tag = "jobs",
    params(JobAddress),
    request_body(content = Option<KillRequest>, description = "Which, and why; may be left out."),
    responses((status = 200, description = "So many tasks are being killed.", body = ChangedTasks), ChangeRefused)
)]
pub async fn kill_tasks(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    let request: KillRequest = change.json_or_nothing()?;
    let instances = request.instances.as_ref().map(Instances::set).transpose()?.unwrap_or_default();
    let command = Command::KillTasks { job: job.clone(), instances, message: request.message };
    killed(&job, &change.submit_to(&rest, command, unless_there(&job)).await?)
}

/// Restarts tasks of a job
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/restart",
    operation_id = "restartTasks",
    tag = "jobs",
    params(JobAddress),
    request_body(content = RestartRequest, description = "Which."),
    responses((status = 200, description = "So many tasks are being restarted.", body = ChangedTasks), ChangeRefused)
)]
pub async fn restart_tasks(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    let request: RestartRequest = change.json()?;
    let command = Command::RestartTasks { job: job.clone(), instances: request.instances.set()? };
    killed(&job, &change.submit(&rest, command, unless_there(&job)).await?)
}

/// Adds instances to a job
///
/// With the numbers above its highest.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/instances",
    operation_id = "addInstances",
    tag = "jobs",
    params(JobAddress),
    request_body(content = AddInstancesRequest, description = "How many, and like which."),
    responses((status = 200, description = "So many tasks were made.", body = ChangedTasks), ChangeRefused)
)]
pub async fn add_instances(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    let request: AddInstancesRequest = change.json()?;
    let command = Command::AddInstances { job: job.clone(), template: request.template, count: request.count };
    killed(&job, &change.submit(&rest, command, unless_there(&job)).await?)
}
