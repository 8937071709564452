//! `…/task/<id>`: one run of an instance: its processes and their runs, what it uses, its output, its history.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use engine::files::{FilesError, ProcessInfo, ProcessRun, Stream, TaskInfo};
use model::{JobKey, TaskId, TaskStatus};
use scheduler::{Task, View};
use serde::Deserialize;

use super::job::{PendingBox, pending_boxes};
use super::no_such_job;
use super::task_row::{self, TaskRow};
use crate::failure;
use crate::link::{self, Source};
use crate::live::Scope;
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::words::{self, Markup};

/// Earlier and later runs of the instance that are listed.
const RUNS_SHOWN: usize = 10;

/// How long the first look at a task waits for a second sample of the processor: use is a difference over time.
const SECOND_SAMPLE: Duration = Duration::from_millis(120);

/// A run of a process.
struct RunRow {
    number: u32,
    badge: Markup,
    exit: String,
    started: Option<Markup>,
    lasted: String,
    pid: String,
    stdout: String,
    stderr: String,
}

/// A process with its latest run, and the runs before.
struct ProcessRow {
    name: String,
    cmdline: String,
    flags: Vec<&'static str>,
    latest: Option<RunRow>,
    earlier: Vec<RunRow>,
    waiting: Markup,
}

/// Something used, with its bar where there is a limit.
struct UsageRow {
    name: &'static str,
    words: String,
    bar: Option<Markup>,
    note: String,
}

/// What the agent's disk says.
struct OnDisk {
    processes: Vec<ProcessRow>,
    usage: Vec<UsageRow>,
    user: String,
    sandbox: String,
}

#[derive(Template)]
#[template(path = "task.html")]
struct Page {
    key: JobKey,
    row: TaskRow,
    job: String,
    host: String,
    host_href: String,
    asked: String,
    on_disk: Option<OnDisk>,
    unreadable: String,
    files: String,
    pending: Vec<PendingBox>,
    others: Vec<TaskRow>,
    more_others: String,
}

fn run_row(key: &JobKey, id: &TaskId, process: &str, run: &ProcessRun, now_ms: i64) -> RunRow {
    let page = |stream| Source::Log { process: process.into(), run: run.run, stream }.page(key, id);
    let end = run.stopped_ms.or((!run.state.is_terminal()).then_some(now_ms));
    RunRow {
        number: run.run,
        badge: words::process_look(run.state).badge(),
        exit: run.return_code.map(words::exit).unwrap_or_default(),
        started: run.started_ms.map(|ms| words::ago(ms, now_ms)),
        lasted: run.started_ms.zip(end).map(|(start, end)| words::exact(end - start)).unwrap_or_default(),
        pid: run.pid.filter(|_| !run.state.is_terminal()).map(|pid| pid.to_string()).unwrap_or_default(),
        stdout: page(Stream::Stdout),
        stderr: page(Stream::Stderr),
    }
}

fn process_row(key: &JobKey, id: &TaskId, process: &ProcessInfo, now_ms: i64) -> ProcessRow {
    let mut runs: Vec<RunRow> =
        process.runs.iter().rev().map(|run| run_row(key, id, &process.name, run, now_ms)).collect();
    let latest = (!runs.is_empty()).then(|| runs.remove(0));
    ProcessRow {
        name: process.name.clone(),
        cmdline: process.cmdline.trim().to_owned(),
        flags: process.flags.clone(),
        latest,
        earlier: runs,
        waiting: words::process_look(engine::files::ProcessState::Waiting).badge(),
    }
}

fn usage_rows(task: &Task, info: &TaskInfo) -> Vec<UsageRow> {
    let asked = &task.config.resources;
    let usage = &info.usage;
    let mut rows = Vec::new();
    if let Some(cores) = usage.cpu_cores {
        rows.push(UsageRow {
            name: "cpu",
            words: format!("{cores:.2} of {}", asked.cpu),
            bar: Some(words::meter(cores, asked.cpu.cores())),
            note: String::new(),
        });
    }
    let mut of_limit = |name, used: u64, limit_mb: i64, note: String| {
        rows.push(UsageRow {
            name,
            words: match used >> 20 {
                0 => format!("{} of {}", words::bytes(used), words::megabytes(limit_mb)),
                used_mb => words::part_of_megabytes(used_mb as i64, limit_mb),
            },
            bar: Some(words::meter(used as f64, limit_mb as f64 * 1_048_576.0)),
            note,
        });
    };
    if let Some(used) = usage.ram_bytes {
        let peak = usage.ram_peak_bytes.map(|peak| format!("peak {}", words::megabytes((peak >> 20) as i64)));
        // The limit holds what was asked for and the executor's room, so more than was asked for may be used.
        let beyond = (used >> 20) as i64 > asked.ram_mb;
        let room = beyond.then(|| "the executor's room is added to what was asked for".to_owned());
        let note: Vec<String> = peak.into_iter().chain(room).collect();
        of_limit("memory", used, asked.ram_mb, note.join("; "));
    }
    if let Some(used) = usage.disk_bytes {
        of_limit("disk", used, asked.disk_mb, String::new());
    }
    rows
}

fn on_disk(task: &Task, info: &TaskInfo, now_ms: i64) -> OnDisk {
    OnDisk {
        processes: info
            .processes
            .iter()
            .map(|process| process_row(&task.config.job, &task.id, process, now_ms))
            .collect(),
        usage: if task.status.is_assigned() { usage_rows(task, info) } else { Vec::new() },
        user: info.user.clone().unwrap_or_default(),
        sandbox: info.sandbox.clone(),
    }
}

/// Parts of a task's address.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskPath {
    role: String,
    environment: String,
    job: String,
    task: String,
}

impl TaskPath {
    /// Job and task.
    pub fn split(self) -> (JobKey, TaskId) {
        (JobKey::new(self.role, self.environment, self.job), TaskId(self.task.into()))
    }
}

/// The way to a task, ending with its instance.
pub fn crumbs(task: &Task) -> Vec<Crumb> {
    let mut crumbs = Frame::of_job(&task.config.job);
    crumbs.push(Crumb { text: format!("instance {}", task.instance), href: link::task(&task.config.job, &task.id) });
    crumbs
}

/// The page for a task no one knows.
pub fn no_such_task(state: &WebState, headers: &HeaderMap, key: &JobKey, id: &TaskId) -> Response {
    Problem {
        heading: "No such task".into(),
        reason: format!(
            "{key} has no task {id}. The history of ended tasks is removed after a while; the job's page lists those that are kept."
        ),
        suggestions: vec![Crumb { text: key.to_string(), href: link::job(key) }],
        crumbs: Frame::of_job(key),
        ..Problem::default()
    }
    .answer(StatusCode::NOT_FOUND, state, headers)
}

/// `…/task/<id>`.
pub async fn show(State(state): State<WebState>, Path(path): Path<TaskPath>, headers: HeaderMap) -> Response {
    let (key, id) = path.split();
    let view = (state.view)();
    let Some(task) = view.task(&id).filter(|task| task.config.job == key).cloned() else {
        return no_such_task(&state, &headers, &key, &id);
    };
    let now_ms = state.now_ms();
    let was_placed = task.agent_id.is_some();
    let is_failed = task.status == TaskStatus::Failed;
    let (info, failure) = if was_placed {
        let wanted = id.clone();
        let read = state.read_files(move |files| {
            let failure = if is_failed { failure::find(files, &wanted).ok().flatten() } else { None };
            Ok((files.task(&wanted)?, failure))
        });
        match read.await {
            Ok((info, failure)) => (Ok(with_processor(&state, info).await), failure),
            Err(failure) => (Err(unreadable(&task, &failure)), None),
        }
    } else {
        (Err(String::new()), None)
    };
    let mut row = task_row::row(&view, &task, now_ms);
    row.failure = failure.map(|failure| task_row::failure_box(&task, failure, true));
    let (others, more_others) = other_runs(&view, &task, now_ms);
    let frame = Frame {
        title: format!("{}/{}", key.name, task.instance),
        section: "jobs",
        crumbs: Frame::here(crumbs(&task)),
        live: Scope::task(&key, &id, info.as_ref().ok()).address(&view),
        wide: false,
    };
    let page = Page {
        job: link::job(&key),
        host: task.host.as_deref().cloned().unwrap_or_default(),
        host_href: task.host.as_deref().map(|host| format!("/agents?host={}", link::part(host))).unwrap_or_default(),
        asked: words::resources(&task.config.resources),
        on_disk: info.as_ref().ok().map(|info| on_disk(&task, info, now_ms)),
        unreadable: info.err().unwrap_or_default(),
        files: format!("{}/files", link::task(&key, &id)),
        pending: pending_boxes(&view, &[&task], now_ms),
        others,
        more_others,
        row,
        key,
    };
    page::show(&state, &headers, &frame, &page)
}

/// The first sample says nothing of the processor; then another one is taken after a moment, which keeps no thread waiting.
async fn with_processor(state: &WebState, info: TaskInfo) -> TaskInfo {
    if info.usage.cpu_cores.is_some() || info.usage.ram_bytes.is_none() {
        return info;
    }
    tokio::time::sleep(SECOND_SAMPLE).await;
    let id = info.task_id.clone();
    state.read_files(move |files| files.task(&id)).await.unwrap_or(info)
}

/// Why the files of a placed task cannot be read, for people.
fn unreadable(task: &Task, failure: &FilesError) -> String {
    match failure {
        FilesError::NotFound(_) if task.status.is_terminal() => {
            "Its files are gone: sandboxes are removed some time after their tasks have ended.".into()
        }
        FilesError::NotFound(_) => "It is being started; its processes appear here in a moment.".into(),
        other => format!("Its files cannot be read: {other}."),
    }
}

fn other_runs(view: &View, task: &Task, now_ms: i64) -> (Vec<TaskRow>, String) {
    let mut others: Vec<_> = view
        .tasks_of(&task.config.job)
        .filter(|other| other.instance == task.instance && other.id != task.id)
        .collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.last_event_ms()));
    let more = others.len().saturating_sub(RUNS_SHOWN);
    let more = if more > 0 { format!("and {} more", words::grouped(more as u64)) } else { String::new() };
    (others.into_iter().take(RUNS_SHOWN).map(|other| task_row::row(view, other, now_ms)).collect(), more)
}

/// `/scheduler/<role>/<environment>/<job>/<instance>`: leads to the newest task of that instance.
pub async fn newest_of_instance(
    State(state): State<WebState>,
    Path((role, environment, job, instance)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let key = JobKey::new(role, environment, job);
    let view = (state.view)();
    let newest = instance.parse::<u32>().ok().and_then(|instance| {
        view.tasks_of(&key)
            .filter(|task| task.instance == instance)
            .max_by_key(|task| (task.status.is_active(), task.last_event_ms()))
    });
    if let Some(task) = newest {
        return Redirect::temporary(&link::task(&key, &task.id)).into_response();
    }
    if view.tasks_of(&key).next().is_none() {
        return no_such_job(&state, &key).answer(StatusCode::NOT_FOUND, &state, &headers);
    }
    Problem {
        heading: "No such instance".into(),
        reason: format!(
            "{key} has no instance '{instance}'. Instances are numbered from 0; the job's page lists them."
        ),
        suggestions: vec![Crumb { text: key.to_string(), href: link::job(&key) }],
        crumbs: Frame::of_job(&key),
        live: Scope::job(&key).address(&view),
        ..Problem::default()
    }
    .answer(StatusCode::NOT_FOUND, &state, &headers)
}
