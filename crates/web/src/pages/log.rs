//! The viewer of output and text files: a part of it drawn here, the rest followed by script.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use engine::files::{FileRange, FilesError, ProcessRun, Stream, TaskFiles};
use model::TaskId;
use scheduler::Task;
use serde::Deserialize;

use super::task::{crumbs, no_such_task};
use crate::link::{self, Source};
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::stream::LogPath;
use crate::tail::{self, Lines};
use crate::words::{self, Markup};

/// Bytes of a page.
const WINDOW_BYTES: usize = 256 * 1024;
/// Lines of a page.
const WINDOW_LINES: usize = 2_000;
/// A file with a zero byte in here is not text.
const PROBE_BYTES: usize = 8_000;

/// Which part is wanted; the end when nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// From this offset on.
    from: Option<u64>,
    /// Around this offset.
    at: Option<u64>,
}

/// Another thing to look at from here.
pub struct Tab {
    /// Text.
    pub text: String,
    /// Address.
    pub href: String,
    /// Whether it is shown now.
    pub is_on: bool,
}

/// The viewer.
#[derive(Template)]
#[template(path = "log.html")]
pub struct Page {
    /// What is shown.
    pub title: String,
    /// State of the run; may be empty.
    pub state: Markup,
    /// Streams to choose from.
    pub streams: Vec<Tab>,
    /// Runs, or processes, to choose from.
    pub runs: Vec<Tab>,
    /// Size of the file.
    pub size: String,
    /// Its bytes; empty when there is no one file.
    pub raw: String,
    /// The part before; empty at the beginning.
    pub earlier: String,
    /// The part after; empty at the end.
    pub later: String,
    /// Lines, drawn.
    pub lines: Markup,
    /// The unfinished last line, drawn.
    pub part: Markup,
    /// Nothing was written.
    pub is_empty: bool,
    /// It is no text.
    pub is_binary: bool,
    /// Stream of what is appended; empty when nothing will be.
    pub follow: String,
    /// How the writer ended.
    pub ended: String,
    /// What writes it.
    pub cmdline: String,
}

/// A drawn part of a file.
struct Window {
    html: String,
    part: String,
    start: u64,
    end: u64,
    next_line: Option<u64>,
    is_at_end: bool,
    is_binary: bool,
    size: u64,
    identity: u64,
}

/// Reads and draws the wanted part. Blocks on disk.
fn window(
    files: &dyn TaskFiles,
    id: &TaskId,
    source: &Source,
    wanted: &Wanted,
    is_ended: bool,
) -> Result<Window, FilesError> {
    let half = WINDOW_BYTES as u64 / 2;
    let start = wanted.from.or(wanted.at.map(|at| at.saturating_sub(half)));
    // One byte before shows whether the part begins with a line.
    let offset = start.map_or(-(WINDOW_BYTES as i64), |start| start.saturating_sub(1) as i64);
    let range = tail::read(files, id, source, offset, WINDOW_BYTES)?;
    Ok(draw_window(&range, start.is_none(), is_ended))
}

fn draw_window(range: &FileRange, from_end: bool, is_ended: bool) -> Window {
    let is_binary = range.data.iter().take(PROBE_BYTES).any(|byte| *byte == 0);
    let mut data = range.data.as_slice();
    let mut start = range.offset;
    if start > 0 {
        // The first line is not whole, except when nothing but it is there.
        if let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            start += end as u64 + 1;
            data = &data[end + 1..];
        }
    }
    let is_at_end = range.offset + range.data.len() as u64 >= range.size_bytes;
    let ends: Vec<usize> = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let mut is_cut = false;
    if from_end && ends.len() > WINDOW_LINES {
        let skip = ends[ends.len() - WINDOW_LINES - 1];
        start += skip as u64;
        data = &data[skip..];
    } else if !from_end && ends.len() > WINDOW_LINES {
        data = &data[..ends[WINDOW_LINES - 1]];
        is_cut = true;
    }
    let mut lines = Lines::new(start, (start == 0).then_some(1));
    let mut html = String::new();
    let mut part = String::new();
    if !is_binary {
        let rest = lines.draw_complete(&mut html, data);
        let is_whole = is_at_end && !is_cut && is_ended;
        if !rest.is_empty() && (is_whole || html.is_empty() && !is_at_end) {
            lines.draw(&mut html, rest, rest.len());
        } else if !rest.is_empty() && is_at_end {
            part = crate::ansi::line(rest, &mut lines.style.clone());
        }
    }
    Window {
        html,
        part,
        start,
        end: lines.offset,
        next_line: lines.number,
        is_at_end: is_at_end && !is_cut,
        is_binary,
        size: range.size_bytes,
        identity: range.identity,
    }
}

/// Of a process: what it is and how its run went.
struct Writer {
    cmdline: String,
    runs: Vec<ProcessRun>,
}

/// The page of a stream of a process.
pub async fn show_log(
    State(state): State<WebState>,
    Path(path): Path<LogPath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let Some((key, id, source)) = path.split() else {
        return Problem {
            heading: "No such stream".into(),
            reason: "A process has two streams, stdout and stderr.".into(),
            ..Problem::default()
        }
        .answer(StatusCode::NOT_FOUND, &state, &headers);
    };
    let Some(task) = (state.view)().task(&id).filter(|task| task.config.job == key).cloned() else {
        return no_such_task(&state, &headers, &key, &id);
    };
    show(&state, &headers, &task, source, wanted).await
}

/// The page of a stream or of a file.
pub async fn show(state: &WebState, headers: &HeaderMap, task: &Task, source: Source, wanted: Wanted) -> Response {
    let over = task.status.is_terminal();
    let read = {
        let (id, source, wanted) = (task.id.clone(), source.clone(), wanted.clone());
        state.read_files(move |files| {
            let is_ended = tail::is_ended(files, &id, &source, over);
            let writer = match &source {
                Source::Log { process, .. } => files.task(&id).ok().and_then(|info| {
                    let found = info.processes.into_iter().find(|info| info.name == *process)?;
                    Some(Writer { cmdline: found.cmdline, runs: found.runs })
                }),
                Source::File { .. } => None,
            };
            Ok((window(files, &id, &source, &wanted, is_ended), writer, is_ended))
        })
    };
    let (key, id) = (&task.config.job, &task.id);
    let mut way = crumbs(task);
    way.push(Crumb { text: title(&source), href: String::new() });
    let (window, writer, is_ended) = match read.await {
        Ok(read) => read,
        Err(failure) => {
            let (status, problem) = Problem::of_files(&failure, way, Vec::new());
            return problem.answer(status, state, headers);
        }
    };
    let window = match window {
        Ok(window) => window,
        Err(failure) => {
            let suggestion = Crumb { text: format!("Task of instance {}", task.instance), href: link::task(key, id) };
            let (status, problem) = Problem::of_files(&failure, way, vec![suggestion]);
            return problem.answer(status, state, headers);
        }
    };
    let address = source.page(key, id);
    let follow = if window.is_at_end && !is_ended && !window.is_binary {
        let line = window.next_line.map(|line| format!("&line={line}")).unwrap_or_default();
        format!("{}?from={}&identity={}{line}", source.follow(key, id), window.end, window.identity)
    } else {
        String::new()
    };
    let frame = Frame { title: title(&source), section: "jobs", crumbs: way, live: String::new(), wide: true };
    let (badge, ended) = run_state(&source, writer.as_ref(), is_ended);
    let page = Page {
        title: title(&source),
        state: badge,
        streams: streams(task, &source),
        runs: runs(task, &source, writer.as_ref()),
        size: words::bytes(window.size),
        raw: source.raw(key, id),
        earlier: if window.start > 0 {
            format!("{address}?from={}", window.start.saturating_sub(WINDOW_BYTES as u64))
        } else {
            String::new()
        },
        later: if window.is_at_end { String::new() } else { format!("{address}?from={}", window.end) },
        is_empty: window.size == 0,
        is_binary: window.is_binary,
        lines: Markup(window.html),
        part: Markup(window.part),
        follow,
        ended,
        cmdline: writer.map(|writer| writer.cmdline.trim().to_owned()).unwrap_or_default(),
    };
    page::show(state, headers, &frame, &page)
}

fn title(source: &Source) -> String {
    match source {
        Source::Log { process, stream, .. } => format!("{process} {}", stream.name()),
        Source::File { path } => path.clone(),
    }
}

fn run_state(source: &Source, writer: Option<&Writer>, is_ended: bool) -> (Markup, String) {
    let Source::Log { run: number, .. } = source else {
        return (Markup::default(), if is_ended { "The task has ended.".into() } else { String::new() });
    };
    let Some(run) = writer.and_then(|writer| writer.runs.iter().find(|run| run.run == *number)) else {
        return (Markup::default(), if is_ended { "The task has ended.".into() } else { String::new() });
    };
    let badge = words::process_look(run.state).badge();
    if !is_ended {
        return (badge, String::new());
    }
    let how = run.return_code.map(words::exit).unwrap_or_else(|| "exit code unknown".into());
    (badge, format!("The process has ended: {how}."))
}

fn streams(task: &Task, source: &Source) -> Vec<Tab> {
    let Source::Log { process, run, stream: shown } = source else { return Vec::new() };
    let tab = |stream: Stream| Tab {
        text: stream.name().into(),
        href: Source::Log { process: process.clone(), run: *run, stream }.page(&task.config.job, &task.id),
        is_on: stream == *shown,
    };
    vec![tab(Stream::Stdout), tab(Stream::Stderr)]
}

/// The latest runs, when there are several.
fn runs(task: &Task, source: &Source, writer: Option<&Writer>) -> Vec<Tab> {
    let (Source::Log { process, run: shown, stream }, Some(writer)) = (source, writer) else { return Vec::new() };
    if writer.runs.len() < 2 {
        return Vec::new();
    }
    let latest = &writer.runs[writer.runs.len().saturating_sub(8)..];
    let tab = |run: &ProcessRun| Tab {
        text: format!("run {}", run.run),
        href: Source::Log { process: process.clone(), run: run.run, stream: *stream }.page(&task.config.job, &task.id),
        is_on: run.run == *shown,
    };
    latest.iter().map(tab).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(data: &[u8], offset: u64, size: u64, from_end: bool, is_ended: bool) -> Window {
        let range = FileRange { offset, data: data.to_vec(), size_bytes: size, identity: 1 };
        draw_window(&range, from_end, is_ended)
    }

    #[test]
    fn a_short_file_is_drawn_whole_with_numbers() {
        let window = drawn(b"a\nb\n", 0, 4, true, false);
        assert!(window.html.contains("data-n=\"2\"") && window.is_at_end);
        assert_eq!((window.start, window.end, window.next_line), (0, 4, Some(3)));
    }

    #[test]
    fn an_unfinished_line_is_a_part_while_the_writer_lives_and_a_line_after() {
        let alive = drawn(b"a\nhal", 0, 5, true, false);
        assert_eq!((alive.part.as_str(), alive.end), ("hal", 2));
        let ended = drawn(b"a\nhal", 0, 5, true, true);
        assert_eq!((ended.part.as_str(), ended.end), ("", 5));
        assert!(ended.html.contains("hal"));
    }

    #[test]
    fn a_part_from_the_middle_begins_with_a_whole_line_and_knows_no_numbers() {
        let window = drawn(b"end of one\ntwo\nthr", 100, 500, false, false);
        assert_eq!((window.start, window.end, window.next_line), (111, 115, None));
        assert!(!window.html.contains("end of one") && !window.is_at_end);
    }

    #[test]
    fn many_lines_are_cut_at_the_side_that_is_not_wanted() {
        let data: Vec<u8> = b"x\n".repeat(WINDOW_LINES + 10);
        let size = data.len() as u64;
        let tail = drawn(&data, 0, size, true, false);
        assert_eq!((tail.start, tail.end, tail.is_at_end), (20, size, true));
        let head = drawn(&data, 0, size, false, false);
        assert_eq!((head.start, head.end, head.is_at_end), (0, 2 * WINDOW_LINES as u64, false));
    }

    #[test]
    fn binary_data_is_not_drawn() {
        let window = drawn(b"\x7fELF\0\0\n", 0, 7, true, true);
        assert!(window.is_binary && window.html.is_empty());
    }
}
