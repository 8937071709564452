//! Task files for programs: processes as JSON, streams as raw byte ranges. Reading only; pages for people are elsewhere.
//!
//! - `GET /files/{task}`: processes and runs.
//! - `GET /files/{task}/{process}/{run}/{stdout|stderr}?offset=N&limit=M`: bytes from `offset` (negative counts from the end), at
//!   most `limit`. `X-Offset` is where they begin, `X-Size-Bytes` the size of the file, `X-Identity` changes when the file is
//!   another one (rotation): then a follower begins again at 0.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::files::{FilesError, ProcessInfo, Stream, TaskFiles, TaskInfo};
use model::TaskId;
use serde_json::{Value, json};

/// Most bytes one answer carries.
const MAX_LIMIT_BYTES: usize = 4 << 20;
/// Bytes of an answer when no limit is asked for.
const DEFAULT_LIMIT_BYTES: usize = 256 << 10;

/// The routes under `/files`.
pub fn router(files: Arc<dyn TaskFiles>) -> Router {
    Router::new()
        .route("/files/{task}", get(task))
        .route("/files/{task}/{process}/{run}/{stream}", get(log))
        .with_state(files)
}

/// Runs a reading that may block on the disk where blocking is allowed.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|failure| Err(FilesError::Io("files".into(), std::io::Error::other(failure.to_string()))))
}

fn refuse(error: FilesError) -> Response {
    let status = match error {
        FilesError::NotFound(_) => StatusCode::NOT_FOUND,
        FilesError::Refused(..) => StatusCode::FORBIDDEN,
        FilesError::Io(..) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n")).into_response()
}

async fn task(State(files): State<Arc<dyn TaskFiles>>, Path(id): Path<String>) -> Response {
    match blocking(move || files.task(&TaskId(id.into()))).await {
        Ok(info) => Json(task_json(&info)).into_response(),
        Err(error) => refuse(error),
    }
}

fn task_json(info: &TaskInfo) -> Value {
    json!({
        "taskId": info.task_id.as_str(),
        "user": info.user,
        "sandbox": info.sandbox,
        "processes": info.processes.iter().map(process_json).collect::<Vec<_>>(),
        "usage": {
            "cpuCores": info.usage.cpu_cores,
            "ramBytes": info.usage.ram_bytes,
            "ramPeakBytes": info.usage.ram_peak_bytes,
            "diskBytes": info.usage.disk_bytes,
        },
    })
}

fn process_json(process: &ProcessInfo) -> Value {
    let runs = process.runs.iter().map(|run| {
        json!({
            "run": run.run,
            "state": run.state.name(),
            "pid": run.pid,
            "startedMs": run.started_ms,
            "stoppedMs": run.stopped_ms,
            "returnCode": run.return_code,
        })
    });
    json!({
        "name": process.name,
        "cmdline": process.cmdline,
        "flags": process.flags,
        "runs": runs.collect::<Vec<_>>(),
    })
}

/// What part of a file is wanted.
#[derive(Debug, Default)]
struct Window {
    offset: i64,
    limit_bytes: usize,
}

fn window(query: Option<String>) -> Result<Window, String> {
    let mut window = Window { offset: 0, limit_bytes: DEFAULT_LIMIT_BYTES };
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "offset" => window.offset = value.parse().map_err(|_| format!("offset '{value}' is no number"))?,
            "limit" => {
                let limit: usize = value.parse().map_err(|_| format!("limit '{value}' is no number"))?;
                window.limit_bytes = limit.min(MAX_LIMIT_BYTES);
            }
            other => return Err(format!("unknown parameter '{other}'; there are offset and limit")),
        }
    }
    Ok(window)
}

async fn log(
    State(files): State<Arc<dyn TaskFiles>>,
    Path((task, process, run, stream)): Path<(String, String, u32, String)>,
    query: axum::extract::RawQuery,
) -> Response {
    let stream = match stream.as_str() {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        other => return (StatusCode::NOT_FOUND, format!("{other}: there are stdout and stderr\n")).into_response(),
    };
    let window = match window(query.0) {
        Ok(window) => window,
        Err(reason) => return (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
    };
    let read = move || files.log(&TaskId(task.into()), &process, run, stream, window.offset, window.limit_bytes);
    match blocking(read).await {
        Ok(range) => {
            let (offset, size, identity) = (range.offset, range.size_bytes, range.identity);
            let mut response = range.data.into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            for (name, number) in [("x-offset", offset), ("x-size-bytes", size), ("x-identity", identity)] {
                headers.insert(name, HeaderValue::from(number));
            }
            response
        }
        Err(error) => refuse(error),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use engine::files::{FileEntry, FileRange, ProcessRun, ProcessState, Usage};
    use tower::ServiceExt;

    use super::*;

    /// One task `t` with one process `p`, whose stdout is `0123456789`.
    struct OneTask;

    impl TaskFiles for OneTask {
        fn task(&self, task: &TaskId) -> Result<TaskInfo, FilesError> {
            if task.as_str() != "t" {
                return Err(FilesError::NotFound(task.to_string()));
            }
            let run = ProcessRun {
                run: 0,
                state: ProcessState::Failed,
                pid: Some(7),
                started_ms: Some(1),
                stopped_ms: Some(2),
                return_code: Some(1),
            };
            let process =
                ProcessInfo { name: "p".into(), cmdline: "false".into(), flags: vec!["daemon"], runs: vec![run] };
            Ok(TaskInfo {
                task_id: task.clone(),
                user: None,
                sandbox: "/s".into(),
                processes: vec![process],
                usage: Usage::default(),
            })
        }

        fn log(
            &self,
            _: &TaskId,
            _: &str,
            _: u32,
            stream: Stream,
            offset: i64,
            limit_bytes: usize,
        ) -> Result<FileRange, FilesError> {
            let all: &[u8] = if stream == Stream::Stdout { b"0123456789" } else { b"" };
            let start =
                if offset < 0 { all.len().saturating_sub(offset.unsigned_abs() as usize) } else { offset as usize };
            let data = all[start.min(all.len())..].iter().copied().take(limit_bytes).collect();
            Ok(FileRange { offset: start as u64, data, size_bytes: all.len() as u64, identity: 5 })
        }

        fn list(&self, _: &TaskId, directory: &str) -> Result<Vec<FileEntry>, FilesError> {
            Err(FilesError::NotFound(directory.into()))
        }

        fn read(&self, _: &TaskId, path: &str, _: i64, _: usize) -> Result<FileRange, FilesError> {
            Err(FilesError::NotFound(path.into()))
        }
    }

    async fn ask(uri: &str) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
        let request = axum::http::Request::builder().uri(uri).body(Body::empty()).unwrap();
        let response = router(Arc::new(OneTask)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, 1 << 20).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn processes_and_ranges_are_served() {
        let (status, _, body) = ask("/files/t").await;
        assert_eq!(status, StatusCode::OK);
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["processes"][0]["runs"][0]["returnCode"], 1);
        let (_, headers, body) = ask("/files/t/p/0/stdout?offset=-4&limit=2").await;
        assert_eq!(body, b"67");
        assert_eq!((&headers["x-offset"], &headers["x-size-bytes"]), (&"6".parse().unwrap(), &"10".parse().unwrap()));
    }

    #[tokio::test]
    async fn wrong_questions_are_answered_plainly() {
        assert_eq!(ask("/files/u").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask("/files/t/p/0/stdin").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask("/files/t/p/x/stdout").await.0, StatusCode::BAD_REQUEST);
        let (status, _, body) = ask("/files/t/p/0/stdout?offset=x").await;
        assert_eq!((status, body.as_slice()), (StatusCode::BAD_REQUEST, &b"offset 'x' is no number\n"[..]));
        assert_eq!(ask("/files/t/p/0/stdout?speed=1").await.0, StatusCode::BAD_REQUEST);
    }
}
