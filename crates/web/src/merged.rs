//! The output of several instances of a job as one stream, each line with its instance. Lines come in the order of arrival.
//!
//! An instance that starts again (a new run of the process, or a new task) is followed into its successor.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use engine::files::{Stream, TaskFiles};
use futures::stream;
use model::{InstanceId, JobKey, TaskId};
use scheduler::{Task, View};
use serde::Deserialize;

use crate::link::{self, Source};
use crate::pages::JobPath;
use crate::state::WebState;
use crate::stream::{answer, event, not_there, resumed};
use crate::tail::{Lines, News, Owner, Tail};

/// Most instances followed at once.
pub const INSTANCES_MAX: usize = 24;
/// Wait between two looks at all of them.
const ROUND: Duration = Duration::from_millis(400);
/// After so many rounds successors are looked for.
const ROUNDS_PER_SEARCH: u32 = 4;

/// Where a reader stands in the output of an instance; written `instance:run:offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which instance.
    pub instance: InstanceId,
    /// Run of the process.
    pub run: u32,
    /// Offset in its stream.
    pub offset: u64,
}

/// What is followed: a stream of the process of that name of every instance, and where the reader stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Wanted {
    process: String,
    stream: String,
    #[serde(default)]
    at: String,
}

/// Marks as text.
pub fn write_marks(marks: &[Mark]) -> String {
    let mut text = String::new();
    for Mark { instance, run, offset } in marks {
        let gap = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{gap}{instance}:{run}:{offset}");
    }
    text
}

/// Marks from text; what is none is left out.
pub fn read_marks(text: &str) -> Vec<Mark> {
    let mark = |text: &str| {
        let mut parts = text.split(':');
        Some(Mark {
            instance: parts.next()?.parse().ok()?,
            run: parts.next()?.parse().ok()?,
            offset: parts.next()?.parse().ok()?,
        })
    };
    text.split(',').filter_map(mark).take(INSTANCES_MAX).collect()
}

/// Query of a follower.
pub fn query(process: &str, stream: Stream, marks: &[Mark]) -> String {
    format!("process={}&stream={}&at={}", link::part(process), stream.name(), write_marks(marks))
}

/// A stream by its name.
pub fn stream_named(name: &str) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| stream.name() == name)
}

/// The task of each instance whose output is of interest: the placed ones; when none is, the last ones that were.
pub fn tasks(view: &View, key: &JobKey) -> Vec<Arc<Task>> {
    let placed = |task: &&Arc<Task>| task.status.is_assigned();
    let mut found: Vec<Arc<Task>> = view.tasks_of(key).filter(placed).cloned().collect();
    if found.is_empty() {
        found = view.tasks_of(key).filter(|task| task.agent_id.is_some()).cloned().collect();
    }
    found.sort_by_key(|task| (task.instance, std::cmp::Reverse(task.last_event_ms())));
    found.dedup_by_key(|task| task.instance);
    found.truncate(INSTANCES_MAX);
    found
}

/// The latest task of an instance that was placed.
fn latest(view: &View, key: &JobKey, instance: InstanceId) -> Option<TaskId> {
    view.tasks_of(key)
        .filter(|task| task.instance == instance && task.agent_id.is_some())
        .max_by_key(|task| (task.status.is_active(), task.last_event_ms()))
        .map(|task| task.id.clone())
}

/// The latest run of a process of a task. Blocks on disk.
pub fn latest_run(files: &dyn TaskFiles, id: &TaskId, process: &str) -> Option<u32> {
    let info = files.task(id).ok()?;
    let found = info.processes.iter().find(|info| info.name == process)?;
    found.runs.last().map(|run| run.run)
}

/// Who owns the lines of a source.
pub fn owner(key: &JobKey, id: &TaskId, instance: InstanceId, source: &Source) -> Owner {
    Owner { instance, page: source.page(key, id) }
}

struct Merged {
    state: WebState,
    key: JobKey,
    process: String,
    stream: Stream,
    tails: Vec<(InstanceId, Tail)>,
    rounds: u32,
    has_ended: bool,
}

impl Merged {
    fn tail(&self, id: TaskId, instance: InstanceId, run: u32, offset: u64) -> Tail {
        let source = Source::Log { process: self.process.clone(), run, stream: self.stream };
        let owner = owner(&self.key, &id, instance, &source);
        let lines = Lines { owner: Some(owner), ..Lines::new(offset, None) };
        Tail::new(self.state.clone(), id, source, lines, None)
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |(instance, tail): &(InstanceId, Tail)| {
            let Source::Log { run, .. } = tail.source() else { return None };
            Some(Mark { instance: *instance, run: *run, offset: tail.lines.offset })
        };
        self.tails.iter().filter_map(mark).collect()
    }

    /// Goes on with the next run, or the next task, of instances whose output has ended.
    async fn follow_successors(&mut self) {
        let view = (self.state.view)();
        for index in 0..self.tails.len() {
            let (instance, tail) = &self.tails[index];
            if !tail.has_ended() {
                continue;
            }
            let instance = *instance;
            let Some(id) = latest(&view, &self.key, instance) else { continue };
            let (task, process) = (id.clone(), self.process.clone());
            let run = self.state.read_files(move |files| Ok(latest_run(files, &task, &process))).await;
            let Ok(Some(run)) = run else { continue };
            let is_same =
                *tail.task() == id && matches!(tail.source(), Source::Log { run: known, .. } if *known == run);
            if !is_same {
                self.tails[index].1 = self.tail(id, instance, run, 0);
            }
        }
    }

    async fn next_event(&mut self) -> Option<axum::response::sse::Event> {
        if self.has_ended {
            return None;
        }
        loop {
            let mut html = String::new();
            for (_, tail) in self.tails.iter_mut().filter(|(_, tail)| !tail.has_ended()) {
                if let Some(News::Lines(lines) | News::End(lines)) = tail.look().await {
                    html.push_str(&lines);
                }
            }
            self.rounds += 1;
            if self.rounds.is_multiple_of(ROUNDS_PER_SEARCH) {
                self.follow_successors().await;
            }
            let query = query(&self.process, self.stream, &self.marks());
            if !html.is_empty() {
                return Some(event("lines", &query, &html));
            }
            let is_over = (self.state.view)().tasks_of(&self.key).all(|task| task.status.is_terminal());
            if is_over && self.tails.iter().all(|(_, tail)| tail.has_ended()) {
                self.has_ended = true;
                return Some(event("end", &query, ""));
            }
            tokio::time::sleep(ROUND).await;
        }
    }
}

/// `…/follow-logs`: what is appended to a stream of a process of several instances.
pub async fn follow(
    State(state): State<WebState>,
    Path(path): Path<JobPath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let wanted: Wanted = resumed(&headers).unwrap_or(wanted);
    let Some(stream) = stream_named(&wanted.stream) else { return not_there() };
    let view = (state.view)();
    let key = path.key();
    let mut merged = Merged {
        state,
        process: wanted.process,
        stream,
        tails: Vec::new(),
        rounds: 0,
        has_ended: false,
        key: key.clone(),
    };
    for Mark { instance, run, offset } in read_marks(&wanted.at) {
        if let Some(id) = latest(&view, &key, instance) {
            let tail = merged.tail(id, instance, run, offset);
            merged.tails.push((instance, tail));
        }
    }
    answer(stream::unfold(merged, |mut merged| async move {
        let event = merged.next_event().await?;
        Some((event, merged))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        let marks = [Mark { instance: 0, run: 2, offset: 17 }, Mark { instance: 12, run: 0, offset: 0 }];
        assert_eq!(write_marks(&marks), "0:2:17,12:0:0");
        assert_eq!(read_marks("0:2:17,12:0:0"), marks);
        assert_eq!(read_marks("x,1:2,,3:4:5:6"), [Mark { instance: 3, run: 4, offset: 5 }]);
        assert_eq!(read_marks(&"1:1:1,".repeat(100)).len(), INSTANCES_MAX);
    }
}
