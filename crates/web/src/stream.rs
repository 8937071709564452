//! Output and files of tasks as streams: what is appended, as ready markup (following), and the bytes themselves (download).

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use engine::files::{FileRange, FilesError, Stream, TaskFiles};
use futures::stream;
use model::{JobKey, TaskId};
use serde::Deserialize;

use crate::ansi::{self, Style};
use crate::link::Source;
use crate::page::Problem;
use crate::state::WebState;

/// Bytes read at a time while following.
const FOLLOW_BYTES: usize = 64 * 1024;
/// Bytes read at a time for a download.
const RAW_BYTES: usize = 256 * 1024;
/// Wait after something was read, and the longest wait.
const SOON: Duration = Duration::from_millis(150);
const LATE: Duration = Duration::from_millis(1000);
/// After so many fruitless reads it is asked whether the writer has ended.
const READS_PER_CHECK: u32 = 3;

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

/// At most `limit` bytes of a source; a negative offset counts from the end. Blocks on disk.
pub fn read(
    files: &dyn TaskFiles,
    id: &TaskId,
    source: &Source,
    offset: i64,
    limit: usize,
) -> Result<FileRange, FilesError> {
    match source {
        Source::Log { process, run, stream } => files.log(id, process, *run, *stream, offset, limit),
        Source::File { path } => files.read(id, path, offset, limit),
    }
}

/// Whether nothing will be appended to a source any more. Blocks on disk.
pub fn is_ended(files: &dyn TaskFiles, id: &TaskId, source: &Source, task_is_over: bool) -> bool {
    if task_is_over {
        return true;
    }
    let Source::Log { process, run, .. } = source else { return false };
    files.task(id).ok().is_some_and(|info| {
        let found = info.processes.iter().find(|info| info.name == *process);
        found.and_then(|info| info.runs.iter().find(|info| info.run == *run)).is_some_and(|run| run.state.is_terminal())
    })
}

/// Lines as markup: each with its offset as anchor, and its number where the beginning of the file is known.
pub struct Lines {
    /// Offset of the next byte.
    pub offset: u64,
    /// Number of the next line, from 1, if known.
    pub number: Option<u64>,
    /// Colours in force.
    pub style: Style,
}

impl Lines {
    /// Draws one line, given without its line feed; `length` is what it takes in the file.
    pub fn draw(&mut self, html: &mut String, line: &[u8], length: usize) {
        let offset = self.offset;
        let _ = write!(
            html,
            r##"<span class="l" id="o{offset}"><a class="n" tabindex="-1" href="?at={offset}#o{offset}""##
        );
        if let Some(number) = &mut self.number {
            let _ = write!(html, r#" data-n="{number}""#);
            *number += 1;
        }
        let _ = writeln!(html, r#"></a><span class="t">{}"#, ansi::line(line, &mut self.style));
        html.push_str("</span></span>");
        self.offset += length as u64;
    }

    /// Draws the complete lines of `data` and returns what follows the last of them.
    pub fn draw_complete<'a>(&mut self, html: &mut String, data: &'a [u8]) -> &'a [u8] {
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.draw(html, &rest[..end], end + 1);
            rest = &rest[end + 1..];
        }
        rest
    }
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

struct Tail {
    state: WebState,
    id: TaskId,
    source: Source,
    lines: Lines,
    identity: Option<u64>,
    /// Length of the unfinished line already shown.
    shown_part: usize,
    fruitless: u32,
    has_ended: bool,
}

impl Tail {
    fn event(&self, name: &str, data: &str) -> Event {
        let number = self.lines.number.unwrap_or(0);
        let id = format!("{}-{}-{}", self.lines.offset, number, self.identity.unwrap_or(0));
        Event::default().event(name).id(id).data(data)
    }

    /// Reads once; an event if there is something to say.
    async fn look(&mut self) -> Option<Event> {
        let (id, source, offset) = (self.id.clone(), self.source.clone(), self.lines.offset);
        let read = self.state.read_files(move |files| read(files, &id, &source, offset as i64, FOLLOW_BYTES)).await;
        let range = match read {
            Ok(range) => range,
            // Not written yet, or collected: both are found out by the check for the end.
            Err(FilesError::NotFound(_)) => return self.check_end(&[]).await,
            Err(failure) => {
                self.has_ended = true;
                return Some(self.event(
                    "end",
                    &format!("{}\n", ansi::line(failure.to_string().as_bytes(), &mut Style::default())),
                ));
            }
        };
        if self.identity.is_some_and(|identity| identity != range.identity) || range.size_bytes < self.lines.offset {
            self.identity = Some(range.identity);
            self.lines = Lines { offset: 0, number: Some(1), style: Style::default() };
            self.shown_part = 0;
            return Some(self.event("rotated", "the file was rotated; what follows is from its successor"));
        }
        self.identity = Some(range.identity);
        let mut html = String::new();
        let rest = self.lines.draw_complete(&mut html, &range.data);
        if html.is_empty() && rest.len() >= FOLLOW_BYTES {
            self.lines.draw(&mut html, rest, rest.len());
        }
        if !html.is_empty() {
            self.shown_part = 0;
            self.fruitless = 0;
            return Some(self.event("lines", &html));
        }
        if rest.len() > self.shown_part {
            self.shown_part = rest.len();
            self.fruitless = 0;
            let mut style = self.lines.style.clone();
            return Some(self.event("part", &ansi::line(rest, &mut style)));
        }
        let rest = rest.to_vec();
        self.check_end(&rest).await
    }

    /// Now and then asks whether the writer has ended; if so the unfinished line is its last.
    async fn check_end(&mut self, rest: &[u8]) -> Option<Event> {
        self.fruitless += 1;
        if !self.fruitless.is_multiple_of(READS_PER_CHECK) {
            return None;
        }
        let over = (self.state.view)().task(&self.id).is_none_or(|task| task.status.is_terminal());
        let (id, source) = (self.id.clone(), self.source.clone());
        let ended = self.state.read_files(move |files| Ok(is_ended(files, &id, &source, over))).await.unwrap_or(over);
        // What was written between the last read and the end must still be read: the end counts when seen twice.
        if !ended || self.fruitless < 2 * READS_PER_CHECK {
            return None;
        }
        self.has_ended = true;
        let mut html = String::new();
        if !rest.is_empty() {
            self.lines.draw(&mut html, rest, rest.len());
        }
        Some(self.event("end", &html))
    }

    async fn next_event(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Some(event) = self.look().await {
                return Some(event);
            }
            tokio::time::sleep((SOON * (self.fruitless + 1)).min(LATE)).await;
        }
    }
}

fn follow(state: WebState, id: TaskId, source: Source, from: From, headers: &HeaderMap) -> Response {
    // A browser that lost the connection names the last event it saw: offset, line number, identity.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let again = last.and_then(|last| {
        let mut parts = last.split('-').map(|part| part.parse::<u64>().ok());
        Some(From { from: parts.next()??, line: parts.next()?.filter(|line| *line > 0), identity: parts.next()? })
    });
    let from = again.unwrap_or(from);
    let lines = Lines { offset: from.from, number: from.line, style: Style::default() };
    let tail =
        Tail { state, id, source, lines, identity: from.identity, shown_part: 0, fruitless: 0, has_ended: false };
    let events = stream::unfold(tail, |mut tail| async move {
        let event = tail.next_event().await?;
        Some((Ok::<_, Infallible>(event), tail))
    });
    let opened = stream::once(async { Ok(Event::default().comment("open")) });
    Sse::new(futures::StreamExt::chain(opened, events)).keep_alive(KeepAlive::default()).into_response()
}

fn not_there() -> Response {
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
    fn lines_carry_offset_and_number() {
        let mut lines = Lines { offset: 10, number: Some(4), style: Style::default() };
        let mut html = String::new();
        let rest = lines.draw_complete(&mut html, b"a\n<b>\npart");
        assert_eq!(rest, b"part");
        assert_eq!((lines.offset, lines.number), (16, Some(6)));
        assert!(html.contains(r#"id="o10""#) && html.contains(r#"id="o12""#) && html.contains(r#"data-n="5""#));
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"));
    }

    #[test]
    fn names_of_downloads_are_tame() {
        let id = TaskId("t-1".into());
        let source = Source::Log { process: "a\"b/c\n".into(), run: 0, stream: Stream::Stderr };
        assert_eq!(file_name(&id, &source), "t-1-a_b_c_-0.stderr");
        assert_eq!(file_name(&id, &Source::File { path: "../x/ü.txt".into() }), "_.txt");
    }
}
