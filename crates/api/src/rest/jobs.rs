//! Jobs as they are: a list of them, and one with its configurations, tasks, updates and schedule. A job is there while a task of it is
//! stored, ended ones included, or while it has a schedule.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use model::JobKey;
use scheduler::{Task, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::Nothing;
use super::cron::CronJobSummary;
use super::problem::{LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{JobAddress, JobPath, Parameters};
use super::shapes::{ConfigurationGroup, TaskCounts, TaskState, ranges};
use super::tasks::{PageOfTasks, TaskSummary, page_of, statuses};
use super::updates::{ActiveUpdate, UpdateSummary};
use super::{Rest, found};
use crate::read::jobs::config_groups;

/// Tasks that are told with a job; the rest is at its `/tasks`.
const MAX_TASKS_TOLD: usize = 1000;

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "SERVICE")]
pub enum JobKind {
    /// Its tasks are started again whenever they end.
    Service,
    /// Its tasks run until they are done.
    Batch,
    /// Its tasks are started by a schedule.
    Cron,
}

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobSummary {
    /// Its key, `role/environment/name`.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// What it is.
    kind: JobKind,
    /// Tasks that have not ended.
    #[schema(example = 2)]
    active_tasks: u64,
    /// How many tasks there are in each state, ended ones included; states without any are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({"RUNNING": 2, "KILLED": 1}))]
    task_counts: TaskCounts,
    /// The update that is active.
    active_update: Option<ActiveUpdate>,
    /// When its schedule is due next, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    next_cron_run_ms: Option<i64>,
}

/// Jobs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jobs {
    /// In order of their keys.
    jobs: Vec<JobSummary>,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// As in a list.
    #[serde(flatten)]
    summary: JobSummary,
    /// The distinct configurations of its active tasks.
    configurations: Vec<ConfigurationGroup>,
    /// Its tasks, active ones first, in order of instance; a thousand at most.
    tasks: Vec<TaskSummary>,
    /// How many tasks there are in all.
    #[schema(example = 3)]
    tasks_total: usize,
    /// Its updates, the latest changed first.
    updates: Vec<UpdateSummary>,
    /// Its schedule, where it has one.
    cron: Option<CronJobSummary>,
}

/// Which jobs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobFilter {
    /// Of this role only.
    #[serde(default)]
    #[param(example = "www-data")]
    role: Option<String>,
    /// Of this environment only.
    #[serde(default)]
    #[param(example = "prod")]
    environment: Option<String>,
    /// Of this name only.
    #[serde(default)]
    #[param(example = "hello")]
    name: Option<String>,
}

impl JobFilter {
    fn wants(&self, job: &JobKey) -> bool {
        let is = |wanted: &Option<String>, part: &str| wanted.as_ref().is_none_or(|wanted| wanted == part);
        is(&self.role, &job.role) && is(&self.environment, &job.environment) && is(&self.name, &job.name)
    }
}

/// Whether there is a job of that key.
pub fn is_there(view: &View, job: &JobKey) -> bool {
    view.tasks_by_job.contains_key(job) || view.cron_jobs.contains_key(job)
}

/// That there is no such job.
pub fn no_such_job(job: &JobKey) -> Box<Problem> {
    Problem::not_found(format!("There is no job {job}: GET /api/v1/jobs lists those there are."))
}

/// That there is no such job, where there is none.
pub fn unless_there(job: &JobKey) -> impl Fn(&View) -> Option<Box<Problem>> + use<> {
    let job = job.clone();
    move |view| (!is_there(view, &job)).then(|| no_such_job(&job))
}

fn summary(view: &View, job: &JobKey) -> JobSummary {
    let mut task_counts = TaskCounts::new();
    let mut active_tasks = 0;
    let mut speaks: Option<&Arc<Task>> = None;
    for task in view.tasks_of(job) {
        *task_counts.entry(task.status.name()).or_default() += 1;
        active_tasks += u64::from(task.status.is_active());
        let rank = |task: &Task| (task.status.is_active(), task.last_event_ms());
        if speaks.is_none_or(|known| rank(known) < rank(task)) {
            speaks = Some(task);
        }
    }
    let cron = view.cron_jobs.get(job);
    let kind = match (cron, speaks) {
        (Some(_), _) => JobKind::Cron,
        (None, Some(task)) if task.config.is_service => JobKind::Service,
        _ => JobKind::Batch,
    };
    JobSummary {
        job: job.to_string(),
        kind,
        active_tasks,
        task_counts,
        active_update: view.active_update(job).map(|update| ActiveUpdate::from(&**update)),
        next_cron_run_ms: cron.and_then(|cron| cron.next_run_ms),
    }
}

/// Lists jobs
///
/// Every job that has a task, ended ones included, or a schedule.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    operation_id = "listJobs",
    tag = "jobs",
    params(JobFilter),
    responses((status = 200, description = "The jobs.", body = Jobs), ReadingRefused)
)]
pub async fn list_jobs(State(rest): State<Rest>, Parameters(filter): Parameters<JobFilter>) -> Outcome {
    let list = move |view: &View| {
        let keys: BTreeSet<&JobKey> = match (&filter.role, &filter.environment, &filter.name) {
            (Some(role), Some(environment), Some(name)) => {
                let key = JobKey::new(role, environment, name);
                let tasks = view.tasks_by_job.get_key_value(&key).map(|(key, _)| key);
                tasks.into_iter().chain(view.cron_jobs.get_key_value(&key).map(|(key, _)| key)).collect()
            }
            _ => view.jobs().chain(view.cron_jobs.keys()).filter(|job| filter.wants(job)).collect(),
        };
        found(&Jobs { jobs: keys.into_iter().map(|job| summary(view, job)).collect() })
    };
    rest.read(list).await
}

fn groups(view: &View, job: &JobKey) -> Vec<ConfigurationGroup> {
    let active = view.tasks_of(job).filter(|task| task.status.is_active());
    let mut groups: Vec<ConfigurationGroup> = config_groups(active)
        .into_iter()
        .map(|(config, instances)| ConfigurationGroup { instances: ranges(instances), configuration: config.into() })
        .collect();
    groups.sort_by_key(|group| group.instances.first().map(|range| range.first));
    groups
}

/// Tells of a job
///
/// Its configurations, tasks, updates and schedule.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{role}/{environment}/{name}",
    operation_id = "getJob",
    tag = "jobs",
    params(JobAddress),
    responses((status = 200, description = "The job.", body = Job), LookingRefused)
)]
pub async fn get_job(
    State(rest): State<Rest>,
    JobPath(job): JobPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let look = move |view: &View| {
        if !is_there(view, &job) {
            return Err(no_such_job(&job));
        }
        let mut tasks: Vec<&Arc<Task>> = view.tasks_of(&job).collect();
        tasks.sort_by_key(|task| (!task.status.is_active(), task.instance));
        found(&Job {
            summary: summary(view, &job),
            configurations: groups(view, &job),
            tasks_total: tasks.len(),
            tasks: tasks.into_iter().take(MAX_TASKS_TOLD).map(|task| TaskSummary::new(view, task)).collect(),
            updates: view.updates_of(&job).into_iter().map(|update| UpdateSummary::from(&**update)).collect(),
            cron: view.cron_jobs.get(&job).map(|cron| CronJobSummary::new(view, cron)),
        })
    };
    rest.read(look).await
}

/// Which tasks of a job.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TasksOfJob {
    /// In these states only, with commas between.
    #[serde(default)]
    #[param(value_type = Option<Vec<TaskState>>, style = Form, explode = false)]
    status: Option<String>,
    /// So many at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 10_000, default = 1000)]
    limit: Option<usize>,
    /// After so many others.
    #[serde(default)]
    #[param(default = 0)]
    offset: Option<usize>,
}

/// Lists the tasks of a job
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{role}/{environment}/{name}/tasks",
    operation_id = "listTasksOfJob",
    tag = "jobs",
    params(
        JobAddress,
        TasksOfJob,
    ),
    responses((status = 200, description = "The tasks, in order of their ids.", body = PageOfTasks), LookingRefused)
)]
pub async fn list_tasks_of_job(
    State(rest): State<Rest>,
    JobPath(job): JobPath,
    Parameters(wanted): Parameters<TasksOfJob>,
) -> Outcome {
    let statuses = statuses(wanted.status.as_deref())?;
    let list = move |view: &View| {
        if !is_there(view, &job) {
            return Err(no_such_job(&job));
        }
        let fitting = view.tasks_of(&job).filter(|task| statuses.is_empty() || statuses.contains(&task.status));
        found(&page_of(view, fitting, wanted.limit, wanted.offset)?)
    };
    rest.read(list).await
}
