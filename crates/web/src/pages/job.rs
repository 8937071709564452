//! `/scheduler/<role>/<environment>/<job>`: why it is not running, its instances, its updates, its configuration.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{JobKey, TaskStatus};
use scheduler::view::PendingReason;
use scheduler::{Task, View};
use serde::Deserialize;

use super::configuration::{self, ConfigurationBox};
use super::cron::{self, CronBox};
use super::task_row::{self, TaskRow};
use super::update::{self, UpdateRow};
use super::uptime::{self, UptimeBox};
use super::{JobPath, no_such_job};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Frame};
use crate::state::WebState;
use crate::tally::{self, Paging, Tally};
use crate::words::{self, Markup};

/// Active instances on one page.
const ACTIVE_PER_PAGE: usize = 100;
/// Ended tasks on one page.
const COMPLETED_PER_PAGE: usize = 50;
/// Updates shown here; the rest is at `/updates`.
const UPDATES_SHOWN: usize = 10;
/// Different reasons of pending instances shown.
const PENDING_SHOWN: usize = 8;
/// Different configurations shown.
const CONFIGURATIONS_SHOWN: usize = 5;

/// Instances that are pending for the same reason.
pub struct PendingBox {
    /// `Instance 3`, `Instances 0–4`.
    pub instances: String,
    /// Why, in one sentence.
    pub sentence: String,
    /// How near the nearest machine comes.
    pub nearest_fit: String,
    /// Reason and on how many agents.
    pub vetoes: Vec<(String, String, Markup)>,
    /// Since when the longest of them waits.
    pub since: Option<Markup>,
}

/// A choice of statuses above the instances.
pub struct Choice {
    /// Badge with count.
    pub badge: Markup,
    /// Shows only these, or all again.
    pub href: String,
    /// Whether it is in force.
    pub is_on: bool,
}

/// A list of tasks with its paging.
pub struct TaskList {
    /// Rows.
    pub rows: Vec<TaskRow>,
    /// Where we are.
    pub paging: Paging,
}

#[derive(Template)]
#[template(path = "job.html")]
struct Page {
    key: JobKey,
    kind: &'static str,
    cron: Option<CronBox>,
    tier: String,
    choices: Vec<Choice>,
    shown: Option<&'static str>,
    logs: Option<String>,
    address: String,
    updating: Option<UpdateRow>,
    uptime: Option<UptimeBox>,
    pending: Vec<PendingBox>,
    flapping: Option<String>,
    active: TaskList,
    completed: TaskList,
    updates: Vec<UpdateRow>,
    more_updates: bool,
    configurations: Vec<ConfigurationBox>,
    more_configurations: usize,
    kill: String,
}

/// Which part of the lists.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    page: usize,
    #[serde(default)]
    completed: usize,
    /// Name of a status; only tasks in it are listed.
    #[serde(default)]
    status: String,
}

/// Groups pending tasks by what keeps them waiting.
pub fn pending_boxes(view: &View, tasks: &[&Arc<Task>], now_ms: i64) -> Vec<PendingBox> {
    #[derive(Default)]
    struct Group {
        instances: Vec<u32>,
        since_ms: Option<i64>,
    }
    // Tasks of a group share their reason, so that few have to be compared.
    let none = Arc::new(PendingReason::default());
    let mut groups: Vec<(&Arc<PendingReason>, Group)> = Vec::new();
    for task in tasks.iter().filter(|task| task.status == TaskStatus::Pending) {
        let reason = view.pending_reasons.get(&task.id).unwrap_or(&none);
        let known = groups.iter().rposition(|(known, _)| Arc::ptr_eq(known, reason));
        let known = known.or_else(|| groups.iter().position(|(known, _)| *known == reason)).unwrap_or_else(|| {
            groups.push((reason, Group::default()));
            groups.len() - 1
        });
        let group = &mut groups[known].1;
        group.instances.push(task.instance);
        group.since_ms = Some(group.since_ms.unwrap_or(i64::MAX).min(task.last_event_ms()));
    }
    let more = groups.len().saturating_sub(PENDING_SHOWN);
    groups.truncate(PENDING_SHOWN);
    let agents = view.agents.len() as u64;
    let unknown = match (view.registered, agents) {
        (false, _) => "The engine that runs tasks is not connected. They start as soon as it is.",
        (true, 0) => "No machine offers room yet. They start as soon as one does.",
        (true, _) => "Waiting for the next look at the machines.",
    };
    let describe = |(reason, group): (&Arc<PendingReason>, Group)| PendingBox {
        instances: format!(
            "{} {}",
            if group.instances.len() == 1 { "Instance" } else { "Instances" },
            words::ranges(group.instances)
        ),
        sentence: match (reason.sentence.as_str(), reason.nearest_fit.as_str()) {
            ("", "") => unknown.into(),
            ("", nearest_fit) => nearest_fit.replace(',', ", "),
            (sentence, _) => sentence.into(),
        },
        nearest_fit: reason.nearest_fit.replace(',', ", "),
        vetoes: reason
            .vetoes
            .iter()
            .map(|(reason, count)| {
                let share = words::meter(f64::from(*count), agents.max(1) as f64);
                let machines = words::plural(agents, "machine", "machines");
                (reason.clone(), format!("{} of {machines}", words::grouped((*count).into())), share)
            })
            .collect(),
        since: group.since_ms.map(|since| words::ago(since, now_ms)),
    };
    let mut boxes: Vec<PendingBox> = groups.into_iter().map(describe).collect();
    if more > 0 {
        boxes.push(PendingBox {
            instances: "Other instances".into(),
            sentence: format!("wait for {}.", words::plural(more as u64, "further reason", "further reasons")),
            nearest_fit: String::new(),
            vetoes: Vec::new(),
            since: None,
        });
    }
    boxes
}

fn address_with(key: &JobKey, status: &str, page: usize, completed: usize) -> String {
    let mut query = Vec::new();
    if !status.is_empty() {
        query.push(format!("status={}", link::part(status)));
    }
    if page > 1 {
        query.push(format!("page={page}"));
    }
    if completed > 1 {
        query.push(format!("completed={completed}"));
    }
    let job = link::job(key);
    if query.is_empty() { job } else { format!("{job}?{}", query.join("&")) }
}

fn list(view: &View, tasks: &[&Arc<Task>], paging: Paging, now_ms: i64) -> TaskList {
    let rows = tasks[paging.first..paging.end].iter().map(|task| task_row::row(view, task, now_ms)).collect();
    TaskList { rows, paging }
}

/// Reads what the failed tasks among the shown ones left behind and puts it into their rows.
async fn fill_failures(state: &WebState, shown: &[&Arc<Task>], rows: &mut [TaskRow]) {
    let failed: Vec<_> = shown
        .iter()
        .filter(|task| task.status == TaskStatus::Failed)
        .take(task_row::FAILURES_PER_PAGE)
        .map(|task| task.id.clone())
        .collect();
    if failed.is_empty() {
        return;
    }
    let found = state.read_files(move |files| Ok(task_row::find_failures(files, &failed))).await;
    let mut found = found.unwrap_or_default();
    let mut is_open = true;
    for (task, row) in shown.iter().zip(rows) {
        // Only the latest is unfolded: those of a flapping job are mostly alike.
        let failure = found.remove(&task.id);
        row.failure = failure.map(|failure| task_row::failure_box(task, failure, std::mem::take(&mut is_open)));
    }
}

/// The tasks in the status that is shown, or all: those that are active, and those that ended.
async fn lists(
    state: &WebState,
    view: &View,
    key: &JobKey,
    all: &[&Arc<Task>],
    wanted: &Wanted,
    shown: Option<TaskStatus>,
) -> (TaskList, TaskList) {
    let now_ms = state.now_ms();
    let (mut active, mut completed): (Vec<_>, Vec<_>) = all
        .iter()
        .copied()
        .filter(|task| shown.is_none_or(|status| task.status == status))
        .partition(|task| !task.status.is_terminal());
    active.sort_by_key(|task| (task.instance, std::cmp::Reverse(task.last_event_ms())));
    completed.sort_by_key(|task| (std::cmp::Reverse(task.last_event_ms()), task.instance));
    let status = shown.map_or("", TaskStatus::name);
    let active_paging = Paging::new(active.len(), ACTIVE_PER_PAGE, wanted.page, |page| {
        format!("{}#active", address_with(key, status, page, wanted.completed))
    });
    let completed_paging = Paging::new(completed.len(), COMPLETED_PER_PAGE, wanted.completed, |completed| {
        format!("{}#completed", address_with(key, status, wanted.page, completed))
    });
    let active_list = list(view, &active, active_paging, now_ms);
    let mut completed_list = list(view, &completed, completed_paging, now_ms);
    let range = completed_list.paging.first..completed_list.paging.end;
    fill_failures(state, &completed[range], &mut completed_list.rows).await;
    (active_list, completed_list)
}

/// `/scheduler/<role>/<environment>/<job>`.
pub async fn show(
    State(state): State<WebState>,
    Path(path): Path<JobPath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let key = path.key();
    let view = (state.view)();
    let now_ms = state.now_ms();
    let all: Vec<&Arc<Task>> = view.tasks_of(&key).collect();
    let stored_updates = view.updates_of(&key);
    let cron = cron::of_job(&state, &view, &key, now_ms);
    if all.is_empty() && stored_updates.is_empty() && cron.is_none() {
        return no_such_job(&state, &key).answer(StatusCode::NOT_FOUND, &state, &headers);
    }
    let shown = TaskStatus::from_name(&wanted.status);
    let (active, completed) = lists(&state, &view, &key, &all, &wanted, shown).await;
    let tally = tally::of_job(&view, &key).tally;
    // What a cron job runs next says its schedule, not its last run.
    let scheduled = view.cron_jobs.get(&key).map(|job| Arc::new(job.config.task.clone()));
    let newest = all.iter().max_by_key(|task| task.last_event_ms()).map(|task| task.config.clone());
    let newest = scheduled.or(newest);
    let flapping = tally.of(TaskStatus::Throttled);
    let (configurations, more_configurations) = configurations(&key, &all, newest.as_ref());
    let frame = Frame {
        title: key.to_string(),
        section: "jobs",
        crumbs: Frame::here(Frame::of_job(&key)),
        live: Scope::job(&key).address(&view),
        wide: false,
    };
    let page = Page {
        kind: if cron.is_some() { "cron" } else { newest.as_ref().map_or("", |config| words::kind(config)) },
        cron,
        tier: newest.as_ref().and_then(|config| config.tier.clone()).unwrap_or_default(),
        choices: choices(&key, &tally, shown),
        shown: shown.map(TaskStatus::name),
        logs: all.iter().any(|task| task.agent_id.is_some()).then(|| format!("{}/logs", link::job(&key))),
        address: link::job(&key),
        updating: stored_updates
            .iter()
            .find(|update| update.status().is_active())
            .map(|found| update::row(&view, found, now_ms)),
        uptime: uptime::of_job(&view, &key, &all, now_ms),
        pending: pending_boxes(&view, &all, now_ms),
        flapping: (flapping > 0).then(|| words::plural(flapping, "instance is", "instances are")),
        active,
        completed,
        updates: stored_updates.iter().take(UPDATES_SHOWN).map(|found| update::row(&view, found, now_ms)).collect(),
        more_updates: stored_updates.len() > UPDATES_SHOWN,
        configurations,
        more_configurations,
        kill: format!("{} job killall {}/{key}", super::aurora(&state), state.cluster),
        key,
    };
    page::show(&state, &headers, &frame, &page)
}

/// One choice per status that occurs; the one in force leads back to all.
fn choices(key: &JobKey, tally: &Tally, shown: Option<TaskStatus>) -> Vec<Choice> {
    let choice = |(status, count): (TaskStatus, u64)| Choice {
        badge: words::task_look(status).count(count),
        href: if shown == Some(status) { link::job(key) } else { address_with(key, status.name(), 1, 1) },
        is_on: shown == Some(status),
    };
    tally.entries().map(choice).collect()
}

/// Configurations of the active instances; of the newest task when none is active.
fn configurations(
    key: &JobKey,
    all: &[&Arc<Task>],
    newest: Option<&Arc<model::TaskConfig>>,
) -> (Vec<ConfigurationBox>, usize) {
    let active = all.iter().filter(|task| task.status.is_active()).map(|task| (task.instance, &task.config));
    let mut distinct = configuration::distinct(active);
    if distinct.is_empty() {
        distinct.extend(newest.map(|config| (config.clone(), Vec::new())));
    }
    let only_one = distinct.len() == 1;
    let more = distinct.len().saturating_sub(CONFIGURATIONS_SHOWN);
    let boxes = distinct.into_iter().take(CONFIGURATIONS_SHOWN).map(|(config, instances)| {
        let query = instances.first().map(|instance| format!("?instance={instance}")).unwrap_or_default();
        let label = match (only_one, instances.len()) {
            (true, _) | (_, 0) => String::new(),
            (_, 1) => format!("Instance {}", instances[0]),
            _ => format!("Instances {}", words::ranges(instances)),
        };
        let file = configuration::job_file(&config, 1).map(|_| format!("{}/configuration.json{query}", link::job(key)));
        ConfigurationBox { file: file.unwrap_or_default(), ..configuration::describe(&config, label) }
    });
    (boxes.collect(), more)
}

/// Which configuration of a job.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WantedFile {
    /// That of this instance; of the newest task when absent.
    instance: Option<u32>,
}

/// `…/configuration.json`: a configuration as a job file.
pub async fn configuration_file(
    State(state): State<WebState>,
    Path(path): Path<JobPath>,
    Query(wanted): Query<WantedFile>,
    headers: HeaderMap,
) -> Response {
    let key = path.key();
    let view = (state.view)();
    let active = view.tasks_of(&key).filter(|task| task.status.is_active()).count();
    let newest = view
        .tasks_of(&key)
        .filter(|task| wanted.instance.is_none_or(|instance| task.instance == instance))
        .max_by_key(|task| (task.status.is_active(), task.last_event_ms()));
    match newest.and_then(|task| configuration::job_file(&task.config, active.max(1))) {
        Some(file) => {
            let name: String = key.name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
            let disposition = format!("attachment; filename=\"{name}.json\"");
            ([(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, disposition)], file).into_response()
        }
        None => no_such_job(&state, &key).answer(StatusCode::NOT_FOUND, &state, &headers),
    }
}
