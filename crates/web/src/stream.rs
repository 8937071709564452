//! Output and files of tasks as streams: what is appended, as ready markup (following), and the bytes themselves (download).

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use engine::files::Stream;
use futures::{StreamExt, stream};
use model::{JobKey, TaskId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::link::Source;
use crate::page::Problem;
use crate::state::WebState;
use crate::tail::{Lines, News, Tail, read};

/// Bytes read at a time for a download.
const RAW_BYTES: usize = 256 * 1024;
/// Said where a followed file was replaced.
const ROTATED: &str = "the file was rotated; what follows is from its successor";

/// Parts of the address of a stream of a process.
#[derive(Clone, Debug, Deserialize)]
pub struct LogPath {
    role: String,
    environment: String,
    job: String,
    task: String,
    process: String,
    run: u32,
    stream: String,
}

impl LogPath {
    /// Job, task and stream; an unknown stream is `None`.
    pub fn split(self) -> Option<(JobKey, TaskId, Source)> {
        let stream = [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| stream.name() == self.stream)?;
        let key = JobKey::new(self.role, self.environment, self.job);
        Some((key, TaskId(self.task.into()), Source::Log { process: self.process, run: self.run, stream }))
    }
}

/// Parts of the address of a file of a sandbox.
#[derive(Clone, Debug, Deserialize)]
pub struct FilePath {
    role: String,
    environment: String,
    job: String,
    task: String,
    #[serde(default)]
    path: String,
}

impl FilePath {
    /// Job, task and path.
    pub fn split(self) -> (JobKey, TaskId, String) {
        (JobKey::new(self.role, self.environment, self.job), TaskId(self.task.into()), self.path)
    }
}

/// Whether a view knows a task under that job; files of other tasks are not shown.
pub fn is_known(state: &WebState, key: &JobKey, id: &TaskId) -> bool {
    (state.view)().task(id).is_some_and(|task| task.config.job == *key)
}

/// Where a follower begins.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct From {
    #[serde(default)]
    from: u64,
    /// Number of the line there, if known.
    line: Option<u64>,
    /// Identity of the file there.
    identity: Option<u64>,
}

/// An event whose id is the query with which a reader goes on after it.
pub fn event(name: &str, query: &str, data: &str) -> Event {
    Event::default().event(name).id(query).data(data)
}

/// Where a reader goes on who lost the connection after an event made by [`event`].
pub fn resumed<T: DeserializeOwned>(headers: &HeaderMap) -> Option<T> {
    let query = headers.get("last-event-id")?.to_str().ok()?;
    let uri = format!("/?{query}").parse().ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(from)| from)
}

/// A stream of events that is open from the start and stays open.
pub fn answer(events: impl futures::Stream<Item = Event> + Send + 'static) -> Response {
    let opened = stream::once(async { Event::default().comment("open") });
    let events = opened.chain(events).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

fn follow(state: WebState, id: TaskId, source: Source, from: From, headers: &HeaderMap) -> Response {
    let from = resumed(headers).unwrap_or(from);
    let tail = Tail::new(state, id, source, Lines::new(from.from, from.line), from.identity);
    answer(stream::unfold(tail, |mut tail| async move {
        if tail.has_ended() {
            return None;
        }
        let news = loop {
            match tail.look().await {
                Some(news) => break news,
                None => tokio::time::sleep(tail.pause()).await,
            }
        };
        let mut query = format!("from={}", tail.lines.offset);
        for (name, value) in [("line", tail.lines.number), ("identity", tail.identity)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={value}"));
            }
        }
        let event = match news {
            News::Lines(html) => event("lines", &query, &html),
            News::Part(html) => event("part", &query, &html),
            News::Rotated => event("rotated", &query, ROTATED),
            News::End(html) => event("end", &query, &html),
        };
        Some((event, tail))
    }))
}

/// The short answer to a program that asks for what is not there.
pub fn not_there() -> Response {
    (StatusCode::NOT_FOUND, "There is no such task, process or file.\n").into_response()
}

/// What is appended to a stream of a process.
pub async fn follow_log(
    State(state): State<WebState>,
    Path(path): Path<LogPath>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Response {
    match path.split() {
        Some((key, id, source)) if is_known(&state, &key, &id) => follow(state, id, source, from, &headers),
        _ => not_there(),
    }
}

/// What is appended to a file of a sandbox.
pub async fn follow_file(
    State(state): State<WebState>,
    Path(path): Path<FilePath>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Response {
    let (key, id, path) = path.split();
    if !is_known(&state, &key, &id) {
        return not_there();
    }
    follow(state, id, Source::File { path }, from, &headers)
}

/// How bytes are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// Present: as a file to keep.
    download: Option<String>,
}

fn file_name(id: &TaskId, source: &Source) -> String {
    let name = match source {
        Source::Log { process, run, stream } => format!("{id}-{process}-{run}.{}", stream.name()),
        Source::File { path } => path.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    name.chars().map(safe).collect()
}

async fn raw(state: WebState, id: TaskId, source: Source, wanted: Wanted, headers: &HeaderMap) -> Response {
    let name = file_name(&id, &source);
    let first = {
        let (id, source) = (id.clone(), source.clone());
        state.read_files(move |files| read(files, &id, &source, 0, RAW_BYTES)).await
    };
    let first = match first {
        Ok(range) => range,
        Err(failure) => {
            let (status, problem) = Problem::of_files(&failure, Vec::new(), Vec::new());
            return problem.answer(status, &state, headers);
        }
    };
    // Sent up to the size it had at the start: a file that grows as fast as it is read would never end.
    let (end, identity) = (first.size_bytes, first.identity);
    let start = Some((first, state, id, source));
    let body = stream::unfold(start, move |step| async move {
        let (range, state, id, source) = step?;
        let next = range.offset + range.data.len() as u64;
        let is_last = range.data.is_empty() || next >= end;
        let following = if is_last {
            None
        } else {
            let (task, from) = (id.clone(), source.clone());
            let read = state.read_files(move |files| read(files, &task, &from, next as i64, RAW_BYTES)).await;
            match read {
                Ok(range) if range.identity == identity => Some((range, state, id, source)),
                _ => None,
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(range.data)), following))
    });
    let mut response = Response::new(Body::from_stream(body));
    let (media_type, disposition) = match wanted.download {
        Some(_) => ("application/octet-stream", format!("attachment; filename=\"{name}\"")),
        None => ("text/plain; charset=utf-8", format!("inline; filename=\"{name}\"")),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The bytes of a stream of a process.
pub async fn raw_log(
    State(state): State<WebState>,
    Path(path): Path<LogPath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    match path.split() {
        Some((key, id, source)) if is_known(&state, &key, &id) => raw(state, id, source, wanted, &headers).await,
        _ => not_there(),
    }
}

/// The bytes of a file of a sandbox.
pub async fn raw_file(
    State(state): State<WebState>,
    Path(path): Path<FilePath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let (key, id, path) = path.split();
    if !is_known(&state, &key, &id) {
        return not_there();
    }
    raw(state, id, Source::File { path }, wanted, &headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_downloads_are_tame() {
        let id = TaskId("t-1".into());
        let source = Source::Log { process: "a\"b/c\n".into(), run: 0, stream: Stream::Stderr };
        assert_eq!(file_name(&id, &source), "t-1-a_b_c_-0.stderr");
        assert_eq!(file_name(&id, &Source::File { path: "../x/ü.txt".into() }), "_.txt");
    }
}
