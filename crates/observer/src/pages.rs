//! The observer's pages for people (spec executor 4.4): index, task, process, log viewer, sandbox browser. Drawn on the server; a short
//! script follows logs and keeps the index fresh.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use checkpoint::record::{ProcessRecord, ProcessState};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::http::{Listed, blocking, find, missing, refuse, stream};
use crate::logs;
use crate::sample::Sample;
use crate::store::{Store, Task, Which, page, process_state_name, task_state_name};

type Shared = State<Arc<Store>>;

/// What a path segment may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What a path of several segments may hold as it is.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn draw(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("This page could not be drawn: {error}\n")).into_response()
        }
    }
}

/// A moment as `MM/DD HH:MM:SS` UTC; empty for none.
fn moment(ms: i64) -> String {
    if ms <= 0 {
        return String::new();
    }
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| String::new(), |time| time.strftime("%m/%d %H:%M:%S").to_string())
}

/// A number that is left out when it is 0.
fn unless_zero(value: f64, shown: impl Display) -> String {
    if value == 0.0 { String::new() } else { shown.to_string() }
}

fn mib(bytes: u64) -> String {
    unless_zero(bytes as f64, format_args!("{:.1} MB", bytes as f64 / f64::from(1 << 20)))
}

fn gib(bytes: u64) -> String {
    unless_zero(bytes as f64, format_args!("{:.0} GB", bytes as f64 / f64::from(1 << 30)))
}

struct Port {
    name: String,
    number: u32,
    href: String,
}

fn ports(task: &Task) -> Vec<Port> {
    let host = task.hostname();
    let ports = task.ports().into_iter();
    ports.map(|(name, number)| Port { href: format!("http://{host}:{number}"), name, number }).collect()
}

struct Row {
    id: String,
    href: String,
    browse: String,
    name: String,
    role: String,
    launched: String,
    state: &'static str,
    state_at: String,
    cpu: String,
    ram: String,
    disk: String,
    /// `http` and `admin`, which have links of their own while the task is active.
    ports: Vec<Port>,
    more_ports: bool,
}

fn row(store: &Store, task: &Task) -> Row {
    let sample = store.samples.task(task);
    let all = if task.is_active() { ports(task) } else { Vec::new() };
    let count = all.len();
    let shown: Vec<Port> = all.into_iter().filter(|port| matches!(port.name.as_str(), "http" | "admin")).collect();
    Row {
        id: task.id.clone(),
        href: format!("/task/{}", segment(&task.id)),
        browse: format!("/browse/{}", segment(&task.id)),
        name: task.name().to_owned(),
        role: task.user().to_owned(),
        launched: moment(task.launched_ms()),
        state: task.state_name(),
        state_at: moment(task.state_ms()),
        cpu: unless_zero(sample.cpu, format_args!("{:.3}", sample.cpu)),
        ram: mib(sample.rss),
        disk: gib(store.samples.disk_bytes(task)),
        more_ports: count > shown.len(),
        ports: shown,
    }
}

#[derive(Template)]
#[template(path = "table.html")]
struct Table {
    which: &'static str,
    first: usize,
    last: usize,
    total: usize,
    rows: Vec<Row>,
    newer: Option<String>,
    older: Option<String>,
}

impl Table {
    fn of(store: &Store, listed: &Listed) -> Self {
        let tasks = store.tasks(listed.which);
        let (begin, shown) = page(&tasks, listed.offset, listed.count);
        let (which, step) = (listed.which.name(), listed.count.max(1));
        let at = |offset: usize| format!("/main/{which}/{offset}/{step}");
        Self {
            which,
            first: if shown.is_empty() { 0 } else { begin + 1 },
            last: begin + shown.len(),
            total: tasks.len(),
            newer: (begin > 0).then(|| at(begin.saturating_sub(step))),
            older: (begin + shown.len() < tasks.len()).then(|| at(begin + step)),
            rows: shown.iter().map(|task| row(store, task)).collect(),
        }
    }
}

/// A list of tasks, to be put into the index.
pub fn table(store: &Store, listed: &Listed) -> Response {
    draw(&Table::of(store, listed))
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    title: String,
    tables: Vec<Table>,
}

/// `/`: what runs and what ran.
pub async fn index(State(store): Shared) -> Response {
    let kinds = [Which::Active, Which::Finished].into_iter();
    let listed = kinds.map(|which| Listed { which, offset: 0, count: crate::json::ROWS_DEFAULT });
    draw(&Index { title: "Tasks".into(), tables: listed.map(|listed| Table::of(&store, &listed)).collect() })
}

struct ProcessRow {
    name: String,
    href: String,
    run: String,
    state: &'static str,
    return_code: String,
    started: String,
    finished: String,
    cpu: String,
    ram: String,
    stdout: Option<String>,
    stderr: Option<String>,
}

fn log_href(task: &Task, process: &str, run: u32, stream: &str) -> String {
    format!("/logs/{}/{}/{run}/{stream}", segment(&task.id), segment(process))
}

fn process_row(store: &Store, task: &Task, name: String, record: Option<&ProcessRecord>) -> ProcessRow {
    let sample = record
        .filter(|record| record.state() == ProcessState::Running)
        .and_then(|_| store.samples.process(task, &name))
        .unwrap_or_default();
    let log = |stream| record.map(|record| log_href(task, &name, record.run, stream));
    ProcessRow {
        href: format!("/process/{}/{}", segment(&task.id), segment(&name)),
        run: record.map(|record| record.run.to_string()).unwrap_or_default(),
        state: record.map_or("WAITING", |record| process_state_name(record.state())),
        return_code: record.and_then(|record| record.return_code).map(|code| code.to_string()).unwrap_or_default(),
        started: moment(record.and_then(|record| record.start_time_ms).unwrap_or_default()),
        finished: moment(record.and_then(|record| record.stop_time_ms).unwrap_or_default()),
        cpu: unless_zero(sample.cpu, format_args!("{:.3}", sample.cpu)),
        ram: mib(sample.rss),
        stdout: log("stdout"),
        stderr: log("stderr"),
        name,
    }
}

struct Step {
    state: &'static str,
    at: String,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    title: String,
    status: &'static str,
    user: String,
    hostname: String,
    launched: String,
    browse: String,
    raw: String,
    ports: Vec<Port>,
    steps: Vec<Step>,
    cpu: String,
    ram: String,
    disk: String,
    processes: Vec<ProcessRow>,
}

/// `/task/{id}`: one task with its processes.
pub async fn task(State(store): Shared, Path(id): Path<String>) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    let sample = store.samples.task(&task);
    let mut names = task.process_names();
    // By their start; those that have not begun come last, in the order of the configuration.
    names.sort_by_key(|name| task.runs(name).last().and_then(|run| run.start_time_ms).unwrap_or(i64::MAX));
    draw(&TaskPage {
        title: task.id.clone(),
        status: task.state_name(),
        user: task.user().to_owned(),
        hostname: task.hostname().to_owned(),
        launched: moment(task.launched_ms()),
        browse: format!("/browse/{}", segment(&task.id)),
        raw: format!("/rawtask/{}", segment(&task.id)),
        ports: ports(&task),
        steps: task
            .state
            .task
            .iter()
            .map(|record| Step { state: task_state_name(record.state()), at: moment(record.timestamp_ms) })
            .collect(),
        cpu: format!("{:.3}", sample.cpu),
        ram: format!("{:.1} MB", sample.rss as f64 / f64::from(1 << 20)),
        disk: format!("{:.1} MB", store.samples.disk_bytes(&task) as f64 / f64::from(1 << 20)),
        processes: names
            .into_iter()
            .map(|name| {
                let record = task.runs(&name).last();
                process_row(&store, &task, name, record)
            })
            .collect(),
    })
}

#[derive(Template)]
#[template(path = "raw.html")]
struct Raw {
    title: String,
    task: String,
    text: String,
}

/// `/rawtask/{id}`: the task as it is configured.
pub async fn raw_task(State(store): Shared, Path(id): Path<String>) -> Response {
    match find(&store, &id) {
        Ok(task) => draw(&Raw {
            title: format!("Configuration of {}", task.id),
            task: format!("/task/{}", segment(&task.id)),
            text: indented(&task.configured),
        }),
        Err(answer) => *answer,
    }
}

/// JSON with an indentation of four.
fn indented(value: &serde_json::Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    }
}

#[derive(Template)]
#[template(path = "process.html")]
struct ProcessPage {
    title: String,
    task_id: String,
    task: String,
    name: String,
    status: &'static str,
    cmdline: String,
    used: Option<Used>,
    runs: Vec<ProcessRow>,
}

struct Used {
    cpu: String,
    ram: String,
    user: String,
    system: String,
    threads: u64,
}

impl From<Sample> for Used {
    fn from(sample: Sample) -> Self {
        Self {
            cpu: format!("{:.3}", sample.cpu),
            ram: format!("{:.1} MB", sample.rss as f64 / f64::from(1 << 20)),
            user: format!("{:.2} s", sample.user),
            system: format!("{:.2} s", sample.system),
            threads: sample.threads,
        }
    }
}

/// `/process/{id}/{process}`: one process with all its runs.
pub async fn process(State(store): Shared, Path((id, name)): Path<(String, String)>) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    if !task.process_names().contains(&name) {
        return missing(&format!("Task {id} has no process {name}"));
    }
    let last = task.runs(&name).last();
    draw(&ProcessPage {
        title: format!("{name} of {id}"),
        task: format!("/task/{}", segment(&task.id)),
        task_id: id,
        status: last.map_or("WAITING", |record| process_state_name(record.state())),
        cmdline: task.cmdline(&name).to_owned(),
        used: store.samples.process(&task, &name).map(Used::from),
        runs: task
            .runs(&name)
            .iter()
            .rev()
            .map(|record| process_row(&store, &task, name.clone(), Some(record)))
            .collect(),
        name,
    })
}

#[derive(Template)]
#[template(path = "view.html")]
struct View {
    title: String,
    back: String,
    back_text: String,
    data: String,
    download: Option<String>,
}

/// `/logs/{id}/{process}/{run}/{stream}`: a viewer that follows a log.
pub async fn log(
    State(store): Shared,
    Path((id, process, run, name)): Path<(String, String, String, String)>,
) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    if stream(&name).is_none() {
        return missing(&format!("No such log type: {name}"));
    }
    let Ok(number) = run.parse::<u32>() else { return missing(&format!("{run} is no number of a run")) };
    if !task.runs(&process).iter().any(|record| record.run == number) {
        return missing(&format!("Process {process} of task {id} has no run {number}"));
    }
    draw(&View {
        title: format!("{name} of {process}, run {number}"),
        back: format!("/process/{}/{}", segment(&id), segment(&process)),
        back_text: format!("{process} of {id}"),
        data: format!("/logdata/{}/{}/{number}/{name}", segment(&id), segment(&process)),
        download: None,
    })
}

/// `/file/{id}/{path}`: the same viewer for a file of the sandbox.
pub async fn file(State(store): Shared, Path((id, path)): Path<(String, String)>) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    blocking(move || {
        if let Err(error) = logs::open_file(&task, &path) {
            return refuse(&error);
        }
        let encoded = utf8_percent_encode(&path, PATH).to_string();
        let parent = encoded.rsplit_once('/').map_or("", |(parent, _)| parent);
        draw(&View {
            title: path.clone(),
            back: format!("/browse/{}/{parent}", segment(&task.id)).trim_end_matches('/').to_owned(),
            back_text: format!("sandbox of {}", task.id),
            data: format!("/filedata/{}/{encoded}", segment(&task.id)),
            download: Some(format!("/download/{}/{encoded}", segment(&task.id))),
        })
    })
    .await
}

struct Entry {
    mode: String,
    owner: String,
    size_bytes: u64,
    changed: String,
    name: String,
    href: Option<String>,
    download: Option<String>,
}

#[derive(Template)]
#[template(path = "browse.html")]
struct Browse {
    title: String,
    task: String,
    path: String,
    up: Option<String>,
    entries: Vec<Entry>,
}

/// `/browse/{id}/{path}`: a directory of the sandbox.
pub async fn browse(State(store): Shared, Path(segments): Path<BTreeMap<String, String>>) -> Response {
    let task = match find(&store, segments.get("task").map_or("", String::as_str)) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    let path = segments.get("path").map(|path| path.trim_matches('/').to_owned()).unwrap_or_default();
    blocking(move || browse_blocking(&task, path)).await
}

fn browse_blocking(task: &Task, path: String) -> Response {
    let opened = logs::sandbox(task)
        .and_then(|root| root.open_directory(&path).map_err(|error| error.named(&path)))
        .and_then(|directory| checkpoint::files::list(directory, &path));
    let entries = match opened {
        Ok(entries) => entries,
        Err(error) => return refuse(&error),
    };
    let id = segment(&task.id);
    let below = |name: &str| {
        let whole = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        utf8_percent_encode(&whole, PATH).to_string()
    };
    let entries = entries.into_iter().map(|entry| Entry {
        mode: mode_text(entry.kind, entry.mode),
        owner: entry.owner,
        size_bytes: entry.size_bytes,
        changed: moment(entry.modified_ms),
        href: match entry.kind {
            'd' => Some(format!("/browse/{id}/{}", below(&entry.name))),
            'f' | 'l' => Some(format!("/file/{id}/{}", below(&entry.name))),
            _ => None,
        },
        download: matches!(entry.kind, 'f' | 'l').then(|| format!("/download/{id}/{}", below(&entry.name))),
        name: entry.name,
    });
    let up = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    draw(&Browse {
        title: format!("Sandbox of {}", task.id),
        task: format!("/task/{id}"),
        up: (!path.is_empty())
            .then(|| format!("/browse/{id}/{}", utf8_percent_encode(up, PATH)).trim_end_matches('/').to_owned()),
        entries: entries.collect(),
        path,
    })
}

/// `drwxr-xr-x` and the like.
fn mode_text(kind: char, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        'f' => '-',
        'o' => '?',
        other => other,
    });
    for shift in [6, 3, 0] {
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if mode >> shift & bit == 0 { '-' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_moments_look_as_they_do_elsewhere() {
        assert_eq!(mode_text('d', 0o755), "drwxr-xr-x");
        assert_eq!(mode_text('f', 0o640), "-rw-r-----");
        assert_eq!(moment(1_000), "01/01 00:00:01");
        assert_eq!(moment(0), "");
        assert_eq!((mib(0), mib(1 << 20), gib(3 << 30)), (String::new(), "1.0 MB".into(), "3 GB".into()));
    }
}
