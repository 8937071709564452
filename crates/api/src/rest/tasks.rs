//! Tasks: runs of instances, ended ones included for as long as they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use model::{JobKey, TaskId, TaskStatus};
use scheduler::{Task, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::Nothing;
use super::problem::{LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{Named, Parameters, words};
use super::shapes::{TaskConfiguration, TaskState};
use super::{Rest, found};

/// Tasks of one answer, where nothing else is asked for.
const DEFAULT_LIMIT: usize = 1000;
/// Tasks of one answer, at most.
const MAX_LIMIT: usize = 10_000;

/// A task in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    /// Its id.
    #[schema(example = "www-data-prod-hello-0-6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: String,
    /// Key of its job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Number of the instance that it is a run of.
    #[schema(example = 0)]
    instance: u32,
    /// Present state.
    status: TaskState,
    /// Since when, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    status_since_ms: i64,
    /// Where it was placed.
    #[schema(example = "agent-1.example")]
    host: Option<String>,
    /// Id of that agent.
    agent_id: Option<String>,
    /// Ports that it was given, by name.
    #[schema(example = json!({"http": 31000}))]
    ports: BTreeMap<String, u16>,
    /// How often runs of its instance have failed in a row.
    #[schema(example = 0)]
    failures: i32,
    /// The run that it takes the place of.
    ancestor_id: Option<String>,
    /// Why it waits for a machine; null where it does not, or where nothing is known yet.
    #[schema(example = "needs 64 cpu, the largest machine has 8 cpu")]
    pending_reason: Option<String>,
}

impl TaskSummary {
    /// A task as it is.
    pub fn new(view: &View, task: &Task) -> Self {
        Self {
            id: task.id.to_string(),
            job: task.config.job.to_string(),
            instance: task.instance,
            status: task.status.into(),
            status_since_ms: task.last_event_ms(),
            host: task.host.as_deref().cloned(),
            agent_id: task.agent_id.as_deref().map(str::to_owned),
            ports: task.ports.clone(),
            failures: task.failure_count,
            ancestor_id: task.ancestor.as_ref().map(ToString::to_string),
            pending_reason: view.pending_reasons.get(&task.id).map(|reason| reason.sentence.clone()),
        }
    }
}

/// Tasks, and how many there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageOfTasks {
    /// In order of their ids.
    tasks: Vec<TaskSummary>,
    /// How many tasks fit, told or not.
    #[schema(example = 3)]
    total: usize,
    /// So many of them come before.
    #[schema(example = 0)]
    offset: usize,
}

/// An entry of a task's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    /// When, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    timestamp_ms: i64,
    /// The state that it entered.
    status: TaskState,
    /// Why.
    message: Option<String>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskDetail {
    /// As in a list.
    #[serde(flatten)]
    summary: TaskSummary,
    /// What happened to it, oldest first.
    events: Vec<TaskEvent>,
    /// What it was started with.
    configuration: TaskConfiguration,
}

/// Which tasks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskFilter {
    /// Of jobs of this role only.
    #[serde(default)]
    #[param(example = "www-data")]
    role: Option<String>,
    /// Of jobs of this environment only.
    #[serde(default)]
    #[param(example = "prod")]
    environment: Option<String>,
    /// Of jobs of this name only.
    #[serde(default)]
    #[param(example = "hello")]
    name: Option<String>,
    /// In these states only, with commas between.
    #[serde(default)]
    #[param(value_type = Option<Vec<TaskState>>, style = Form, explode = false)]
    status: Option<String>,
    /// On this host only.
    #[serde(default)]
    #[param(example = "agent-1.example")]
    host: Option<String>,
    /// So many at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 10_000, default = 1000)]
    limit: Option<usize>,
    /// After so many others.
    #[serde(default)]
    #[param(default = 0)]
    offset: Option<usize>,
}

/// States by their names, with commas between.
pub fn statuses(text: Option<&str>) -> Outcome<Vec<TaskStatus>> {
    let names = TaskStatus::ALL.map(TaskStatus::name);
    words(text, "state of tasks", &names, TaskStatus::from_name)
}

/// How many may be told at once.
pub fn limit_of(limit: Option<usize>) -> Outcome<usize> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        limit => Err(Problem::invalid(format!("limit is {limit}: give 1 to {MAX_LIMIT}."))),
    }
}

/// A part of the tasks.
pub fn page_of<'a>(
    view: &View,
    tasks: impl Iterator<Item = &'a Arc<Task>>,
    limit: Option<usize>,
    offset: Option<usize>,
) -> Outcome<PageOfTasks> {
    let (limit, offset) = (limit_of(limit)?, offset.unwrap_or(0));
    let mut page = PageOfTasks { tasks: Vec::new(), total: 0, offset };
    for task in tasks {
        if page.total >= offset && page.tasks.len() < limit {
            page.tasks.push(TaskSummary::new(view, task));
        }
        page.total += 1;
    }
    Ok(page)
}

/// Lists tasks
///
/// A part of them at a time: `limit` and `offset` say which, `total` how many there are.
#[utoipa::path(
    get,
    path = "/api/v1/tasks",
    operation_id = "listTasks",
    tag = "tasks",
    params(TaskFilter),
    responses((status = 200, description = "The tasks, in order of their ids.", body = PageOfTasks), ReadingRefused)
)]
pub async fn list_tasks(State(rest): State<Rest>, Parameters(filter): Parameters<TaskFilter>) -> Outcome {
    let statuses = statuses(filter.status.as_deref())?;
    limit_of(filter.limit)?;
    let list = move |view: &View| {
        let is = |wanted: &Option<String>, part: &str| wanted.as_ref().is_none_or(|wanted| wanted == part);
        let fits = |task: &&Arc<Task>| {
            let job = &task.config.job;
            is(&filter.role, &job.role)
                && is(&filter.environment, &job.environment)
                && is(&filter.name, &job.name)
                && (statuses.is_empty() || statuses.contains(&task.status))
                && filter.host.as_ref().is_none_or(|host| task.host.as_deref() == Some(host))
        };
        match (&filter.role, &filter.environment, &filter.name) {
            (Some(role), Some(environment), Some(name)) => {
                let tasks = view.tasks_of(&JobKey::new(role, environment, name)).filter(fits);
                found(&page_of(view, tasks, filter.limit, filter.offset)?)
            }
            _ => found(&page_of(view, view.tasks.values().filter(fits), filter.limit, filter.offset)?),
        }
    };
    rest.read(list).await
}

/// Tells of a task
///
/// With its history and its configuration.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}",
    operation_id = "getTask",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the task.")),
    responses((status = 200, description = "The task.", body = TaskDetail), LookingRefused)
)]
pub async fn get_task(
    State(rest): State<Rest>,
    Named(id): Named,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let view = rest.gateway.view();
    let Some(task) = view.task(&TaskId::from(id.as_str())) else {
        let shown: String = id.chars().take(300).collect();
        return Err(Problem::not_found(format!(
            "There is no task {shown}, or not any more: GET /api/v1/tasks lists them."
        )));
    };
    let events = task.events.iter().map(|event| TaskEvent {
        timestamp_ms: event.timestamp_ms,
        status: event.status.into(),
        message: event.message.as_deref().map(str::to_owned),
    });
    found(&TaskDetail {
        summary: TaskSummary::new(&view, task),
        events: events.collect(),
        configuration: (&*task.config).into(),
    })
}
