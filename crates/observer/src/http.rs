//! The addresses of the observer (spec executor 4.4 and 4.5), each answered by [`crate::json`] or [`crate::pages`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::files::{FilesError, Stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::store::{Store, Task, Which};
use crate::{json, logs, pages};

type Shared = State<Arc<Store>>;

/// Every address.
pub fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/main", get(main))
        .route("/main/{which}", get(main))
        .route("/main/{which}/{offset}", get(main))
        .route("/main/{which}/{offset}/{count}", get(main))
        .route("/task/{task}", get(pages::task))
        .route("/rawtask/{task}", get(pages::raw_task))
        .route("/process/{task}/{process}", get(pages::process))
        .route("/logs/{task}/{process}/{run}/{stream}", get(pages::log))
        .route("/browse/{task}", get(pages::browse))
        .route("/browse/{task}/{*path}", get(pages::browse))
        .route("/file/{task}/{*path}", get(pages::file))
        .route("/logdata/{task}/{process}/{run}/{stream}", get(log_data))
        .route("/filedata/{task}/{*path}", get(file_data))
        .route("/download/{task}/{*path}", get(download))
        .route("/j/task_ids", get(task_ids))
        .route("/j/task_ids/{which}", get(task_ids))
        .route("/j/task_ids/{which}/{offset}", get(task_ids))
        .route("/j/task_ids/{which}/{offset}/{count}", get(task_ids))
        .route("/j/task_id_count", get(task_id_count))
        .route("/j/task", get(tasks))
        .route("/j/task/{task}", get(task))
        .route("/j/process/{task}", get(process))
        .route("/j/process/{task}/{process}", get(process))
        .route("/j/process/{task}/{process}/{run}", get(process))
        .route("/j/processes", get(processes))
        .route("/health", get(|| async { "OK" }))
        .route("/vars", get(vars))
        .route("/vars/{name}", get(var))
        .route("/vars.json", get(vars_json))
        .with_state(store)
}

/// An answer that says what is not there.
pub fn missing(what: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("{what}\n")).into_response()
}

/// A task, or the answer that there is none.
pub fn find(store: &Store, id: &str) -> Result<Arc<Task>, Box<Response>> {
    store.task(id).ok_or_else(|| Box::new(missing(&format!("Failed to find task {id}. Try again shortly."))))
}

/// An answer to a failed reading.
pub fn refuse(error: &FilesError) -> Response {
    let status = match error {
        FilesError::NotFound(_) | FilesError::Refused(..) => StatusCode::NOT_FOUND,
        FilesError::Io(..) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n")).into_response()
}

/// `stdout` or `stderr`.
pub fn stream(name: &str) -> Option<Stream> {
    match name {
        "stdout" => Some(Stream::Stdout),
        "stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

/// Kind, offset and number of rows from an address.
pub struct Listed {
    pub(crate) which: Which,
    pub(crate) offset: i64,
    pub(crate) count: usize,
}

impl Listed {
    fn of(segments: &BTreeMap<String, String>) -> Option<Self> {
        let number = |name: &str, default: i64| segments.get(name).map_or(Some(default), |text| text.parse().ok());
        Some(Self {
            which: segments.get("which").map_or(Some(Which::All), |name| Which::parse(name))?,
            offset: number("offset", 0)?,
            count: usize::try_from(number("count", json::ROWS_DEFAULT as i64)?).ok()?,
        })
    }
}

const BAD_LIST: &str = "There are all, active and finished, then an offset and a number of rows";

async fn main(State(store): Shared, Path(segments): Path<BTreeMap<String, String>>) -> Response {
    match Listed::of(&segments) {
        Some(listed) => pages::table(&store, &listed),
        None => missing(BAD_LIST),
    }
}

async fn task_ids(State(store): Shared, Path(segments): Path<BTreeMap<String, String>>) -> Response {
    match Listed::of(&segments) {
        Some(listed) => Json(json::list(&store, listed.which, listed.offset, listed.count)).into_response(),
        None => missing(BAD_LIST),
    }
}

async fn task_id_count(State(store): Shared) -> Json<Value> {
    Json(json::counts(&store))
}

async fn task(State(store): Shared, Path(id): Path<String>) -> Json<Value> {
    Json(json::tasks(&store, [id.as_str()]))
}

fn ids(query: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    query.get("task_id").into_iter().flat_map(|ids| ids.split(',')).filter(|id| !id.is_empty())
}

async fn tasks(State(store): Shared, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    Json(json::tasks(&store, ids(&query)))
}

async fn processes(State(store): Shared, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    Json(json::processes(&store, ids(&query)))
}

async fn process(State(store): Shared, Path(segments): Path<BTreeMap<String, String>>) -> Json<Value> {
    let run = segments.get("run").map_or(Some(-1), |run| run.parse().ok());
    let found = segments.get("task").and_then(|id| store.task(id));
    Json(match (found, segments.get("process"), run) {
        (Some(task), Some(process), Some(run)) => json::process(&store, &task, process, run),
        _ => json!({}),
    })
}

/// Offset and length from the query; `None` when one of them is no number.
fn window(query: &BTreeMap<String, String>) -> Option<(i64, i64)> {
    let number = |name: &str| query.get(name).map_or(Some(-1), |text| text.parse().ok());
    Some((number("offset")?, number("length")?))
}

async fn log_data(
    State(store): Shared,
    Path((id, process, run, name)): Path<(String, String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(stream) = stream(&name) else { return missing(&format!("No such log type: {name}")) };
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    let (Some((offset, length)), Ok(run)) = (window(&query), run.parse()) else {
        return Json(json!({})).into_response();
    };
    blocking(move || Json(logs::piece(logs::open_log(&task, &process, run, stream), offset, length)).into_response())
        .await
}

async fn file_data(
    State(store): Shared,
    Path((id, path)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    let Some((offset, length)) = window(&query) else { return Json(json!({})).into_response() };
    blocking(move || match logs::open_file(&task, &path) {
        Err(error @ (FilesError::NotFound(_) | FilesError::Refused(..))) => refuse(&error),
        opened => Json(logs::piece(opened, offset, length)).into_response(),
    })
    .await
}

async fn download(State(store): Shared, Path((id, path)): Path<(String, String)>) -> Response {
    let task = match find(&store, &id) {
        Ok(task) => task,
        Err(answer) => return *answer,
    };
    blocking(move || match logs::open_file(&task, &path) {
        Ok(file) => attachment(file, path.rsplit('/').next().unwrap_or_default()),
        Err(error) => refuse(&error),
    })
    .await
}

/// The file as it is, piece by piece however large it is.
fn attachment(file: std::fs::File, name: &str) -> Response {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let reader = tokio::fs::File::from_std(file);
    let pieces = tokio_util::io::ReaderStream::new(tokio::io::AsyncReadExt::take(reader, length));
    let quoted: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' }).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{quoted}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// Runs a reading that may block on the disk where blocking is allowed.
pub async fn blocking(read: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the reading failed\n").into_response())
}

/// The observer's own statistics.
fn statistics(store: &Store) -> BTreeMap<&'static str, u64> {
    let (active, all) = (store.tasks(Which::Active).len() as u64, store.tasks(Which::All).len() as u64);
    [
        ("observer.tasks_active", active),
        ("observer.tasks_finished", all - active),
        ("observer.uptime_secs", store.started.elapsed().as_secs()),
    ]
    .into()
}

async fn vars(State(store): Shared) -> String {
    statistics(&store).iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

async fn vars_json(State(store): Shared) -> Json<Value> {
    Json(json!(statistics(&store)))
}

async fn var(State(store): Shared, Path(name): Path<String>) -> Response {
    match statistics(&store).get(name.as_str()) {
        Some(value) => value.to_string().into_response(),
        None => missing(&format!("There is no variable {name}")),
    }
}
