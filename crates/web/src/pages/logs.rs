//! `…/<job>/logs`: the output of several instances together, followed live.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use engine::files::{ProcessState, Stream, TaskFiles};
use model::JobKey;
use scheduler::Task;
use serde::Deserialize;

use super::log::{Page, Tab};
use super::{JobPath, no_such_job};
use crate::link::{self, Source};
use crate::merged::{self, Mark};
use crate::page::{self, Crumb, Frame};
use crate::state::WebState;
use crate::tail::Lines;
use crate::words::{self, Markup};

/// Lines shown of each instance at first, and bytes read for them.
const FIRST_LINES: usize = 15;
const FIRST_BYTES: usize = 8 * 1024;
/// Processes to choose from.
const PROCESSES_SHOWN: usize = 8;

/// What is shown: a stream of the process of that name; by default stdout of the one that runs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    process: String,
    #[serde(default)]
    stream: String,
}

/// The first part of the page, read from disk.
struct First {
    processes: Vec<String>,
    process: String,
    html: String,
    marks: Vec<Mark>,
    is_running: bool,
}

/// Processes of the tasks by name, and the one to show when none is wanted: one that runs, else the last that ran.
fn processes(files: &dyn TaskFiles, tasks: &[Arc<Task>], wanted: &str) -> (Vec<String>, String) {
    let mut names: Vec<String> = Vec::new();
    let (mut running, mut last) = (None, None);
    for info in tasks.iter().filter_map(|task| files.task(&task.id).ok()) {
        for process in info.processes {
            if let Some(run) = process.runs.last() {
                if run.state == ProcessState::Running {
                    running.get_or_insert_with(|| process.name.clone());
                }
                last = Some(process.name.clone());
            }
            if !names.contains(&process.name) {
                names.push(process.name);
            }
        }
    }
    let shown = if wanted.is_empty() { running.or(last).unwrap_or_default() } else { wanted.to_owned() };
    names.truncate(PROCESSES_SHOWN);
    (names, shown)
}

/// Draws the last lines of each instance. Blocks on disk.
fn first(files: &dyn TaskFiles, key: &JobKey, tasks: &[Arc<Task>], wanted: &str, stream: Stream) -> First {
    let (processes, process) = processes(files, tasks, wanted);
    let mut first = First { processes, process, html: String::new(), marks: Vec::new(), is_running: false };
    for task in tasks {
        first.is_running |= !task.status.is_terminal();
        let Some(run) = merged::latest_run(files, &task.id, &first.process) else {
            first.marks.push(Mark { instance: task.instance, run: 0, offset: 0 });
            continue;
        };
        let limit = -(FIRST_BYTES as i64);
        let range = files.log(&task.id, &first.process, run, stream, limit, FIRST_BYTES);
        let (offset, data) = range.map_or((0, Vec::new()), |range| (range.offset, range.data));
        let mut data = data.as_slice();
        let mut start = offset;
        let ends: Vec<usize> =
            data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        // The first line is whole only at the beginning of the file.
        let skip = match ends.len() {
            0 => 0,
            count if count > FIRST_LINES => ends[count - FIRST_LINES - 1],
            _ if offset > 0 => ends[0],
            _ => 0,
        };
        start += skip as u64;
        data = &data[skip..];
        let source = Source::Log { process: first.process.clone(), run, stream };
        let owner = Some(merged::owner(key, &task.id, task.instance, &source));
        let mut lines = Lines { owner, ..Lines::new(start, None) };
        let rest = lines.draw_complete(&mut first.html, data);
        if task.status.is_terminal() && !rest.is_empty() {
            lines.draw(&mut first.html, rest, rest.len());
        }
        first.marks.push(Mark { instance: task.instance, run, offset: lines.offset });
    }
    first
}

/// `…/<job>/logs`.
pub async fn show(
    State(state): State<WebState>,
    Path(path): Path<JobPath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let key = path.key();
    let view = (state.view)();
    let tasks = merged::tasks(&view, &key);
    if tasks.is_empty() && view.tasks_of(&key).next().is_none() {
        return no_such_job(&state, &key).answer(StatusCode::NOT_FOUND, &state, &headers);
    }
    let stream = merged::stream_named(&wanted.stream).unwrap_or(Stream::Stdout);
    let read = {
        let (key, tasks, process) = (key.clone(), tasks.clone(), wanted.process.clone());
        state.read_files(move |files| Ok(first(files, &key, &tasks, &process, stream)))
    };
    let first = match read.await {
        Ok(first) => first,
        Err(failure) => {
            let (status, problem) = page::Problem::of_files(&failure, Frame::of_job(&key), Vec::new());
            return problem.answer(status, &state, &headers);
        }
    };
    let address = format!("{}/logs", link::job(&key));
    let tab = |process: &str, stream: Stream, text: &str, is_on: bool| Tab {
        text: text.to_owned(),
        href: format!("{address}?process={}&stream={}", link::part(process), stream.name()),
        is_on,
    };
    let streams = [Stream::Stdout, Stream::Stderr];
    let count = words::plural(tasks.len() as u64, "instance", "instances");
    let all = words::ranges(tasks.iter().map(|task| task.instance));
    let mut crumbs = Frame::of_job(&key);
    crumbs.push(Crumb { text: "logs".into(), href: String::new() });
    let frame =
        Frame { title: format!("Logs of {}", key.name), section: "jobs", crumbs, live: String::new(), wide: true };
    let follow = format!("{}/follow-logs?{}", link::job(&key), merged::query(&first.process, stream, &first.marks));
    let page = Page {
        title: format!("{} {}", first.process, stream.name()),
        state: Markup::default(),
        streams: streams.map(|other| tab(&first.process, other, other.name(), other == stream)).into(),
        runs: if first.processes.len() > 1 {
            first.processes.iter().map(|name| tab(name, stream, name, *name == first.process)).collect()
        } else {
            Vec::new()
        },
        size: String::new(),
        raw: String::new(),
        earlier: String::new(),
        later: String::new(),
        is_empty: first.html.is_empty(),
        lines: Markup(first.html),
        part: Markup::default(),
        is_binary: false,
        follow: if first.is_running { follow } else { String::new() },
        ended: if first.is_running { String::new() } else { "All instances have ended.".into() },
        cmdline: format!("{count}: {all}"),
    };
    page::show(&state, &headers, &frame, &page)
}
