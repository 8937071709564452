//! A task as a row of a list: state, place, age, what it says, its history, and for a failed one the end of its output.

use std::collections::BTreeMap;

use engine::files::TaskFiles;
use model::{TaskId, TaskStatus};
use scheduler::{Task, View};

use crate::failure::{self, Failure};
use crate::link::{self, Source};
use crate::words::{self, Markup};

/// Failed rows of one page whose output is read; the others lead to theirs.
pub const FAILURES_PER_PAGE: usize = 12;

/// An entry of a history.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// When.
    pub at: Markup,
    /// State entered.
    pub badge: Markup,
    /// How long it lasted; empty for the last.
    pub lasted: String,
    /// Why.
    pub message: String,
}

/// A link with its text.
#[derive(Clone, Debug)]
pub struct NamedLink {
    /// Text.
    pub text: String,
    /// Address.
    pub href: String,
}

/// What a failed task left behind.
#[derive(Clone, Debug)]
pub struct FailureBox {
    /// Process.
    pub process: String,
    /// How it ended.
    pub how: String,
    /// `stderr` or `stdout`.
    pub stream: &'static str,
    /// Last lines.
    pub tail: Markup,
    /// The line that mostly says what went wrong.
    pub last_line: Markup,
    /// Whether there is more.
    pub is_cut: bool,
    /// Whether it is unfolded at first.
    pub is_open: bool,
    /// Page of the whole output.
    pub href: String,
}

/// A task as a row.
#[derive(Clone, Debug)]
pub struct TaskRow {
    /// Id of the row in the page.
    pub anchor: String,
    /// Instance.
    pub instance: u32,
    /// The task's page.
    pub href: String,
    /// State.
    pub badge: Markup,
    /// Host; empty when not placed.
    pub host: String,
    /// Since when it is in this state.
    pub since: Markup,
    /// How long it ran, for ended ones.
    pub ran: String,
    /// One line: why pending, what the last event said.
    pub note: String,
    /// Time left of a flapping penalty.
    pub flapping: Option<Markup>,
    /// History, latest first.
    pub events: Vec<EventRow>,
    /// Task id.
    pub id: String,
    /// Runs that failed before.
    pub failures: i32,
    /// Ports and links of the user's own.
    pub links: Vec<NamedLink>,
    /// For failed ones.
    pub failure: Option<FailureBox>,
}

/// History of a task, latest first.
pub fn history(task: &Task) -> Vec<EventRow> {
    let ends = task.events.iter().skip(1).map(|event| Some(event.timestamp_ms)).chain([None]);
    let mut rows: Vec<EventRow> = task
        .events
        .iter()
        .zip(ends)
        .map(|(event, end)| EventRow {
            at: words::moment(event.timestamp_ms),
            badge: words::task_look(event.status).badge(),
            lasted: end.map(|end| words::exact(end - event.timestamp_ms)).unwrap_or_default(),
            message: event.message.as_deref().unwrap_or_default().to_owned(),
        })
        .collect();
    rows.reverse();
    rows
}

/// How long a task was placed, from its first ASSIGNED to its end or now.
pub fn ran_ms(task: &Task, now_ms: i64) -> Option<i64> {
    let start = task.events.iter().find(|event| event.status == TaskStatus::Running)?.timestamp_ms;
    let end = if task.status.is_terminal() { task.last_event_ms() } else { now_ms };
    Some((end - start).max(0))
}

/// Links a task offers while it runs: the user's own, filled in, and its bare ports. Only web addresses become links.
pub fn links(task: &Task) -> Vec<NamedLink> {
    let Some(host) = task.host.as_deref() else { return Vec::new() };
    if !task.status.is_live() {
        return Vec::new();
    }
    let mut links: BTreeMap<String, String> =
        task.ports.iter().map(|(name, port)| (format!("{name}:{port}"), format!("http://{host}:{port}/"))).collect();
    for (name, template) in &task.config.task_links {
        let mut address = template.replace("%host%", host).replace("%shard_id%", &task.instance.to_string());
        for (port_name, port) in &task.ports {
            address = address.replace(&format!("%port:{port_name}%"), &port.to_string());
        }
        if address.starts_with("http://") || address.starts_with("https://") {
            if let Some(port) = task.ports.get(name) {
                links.remove(&format!("{name}:{port}"));
            }
            links.insert(name.clone(), address);
        }
    }
    links.into_iter().map(|(text, href)| NamedLink { text, href }).collect()
}

/// A task as a row, without what lies on its agent's disk.
pub fn row(view: &View, task: &Task, now_ms: i64) -> TaskRow {
    let flapping_until = view.throttled_until_ms.get(&task.id).filter(|_| task.status == TaskStatus::Throttled);
    let pending = view.pending_reasons.get(&task.id).filter(|_| task.status == TaskStatus::Pending);
    // Why a task was ended stands at the event that asked for it, not at the one that confirms.
    let recent = if task.status.is_terminal() { 2 } else { 1 };
    let message = task.events.iter().rev().take(recent).find_map(|event| event.message.as_deref()).unwrap_or_default();
    TaskRow {
        anchor: format!("task-{}", task.id),
        instance: task.instance,
        href: link::task(&task.config.job, &task.id),
        badge: words::task_look(task.status).badge(),
        host: task.host.as_deref().cloned().unwrap_or_default(),
        since: words::ago(task.last_event_ms(), now_ms),
        ran: if task.status.is_terminal() {
            ran_ms(task, now_ms).map(words::exact).unwrap_or_default()
        } else {
            String::new()
        },
        note: pending.map_or_else(|| message.to_owned(), |reason| reason.sentence.clone()),
        flapping: flapping_until.map(|until| words::left(*until, now_ms)),
        events: history(task),
        id: task.id.to_string(),
        failures: task.failure_count,
        links: links(task),
        failure: None,
    }
}

/// A failure as a box, with the page of the whole output.
pub fn failure_box(task: &Task, failure: Failure, is_open: bool) -> FailureBox {
    let source = Source::Log { process: failure.process.clone(), run: failure.run, stream: failure.stream };
    // Where something else ended the task, its processes were killed, and how says nothing.
    let verdict = task.events.last().and_then(|event| event.message.as_deref());
    let verdict = verdict.filter(|text| !text.is_empty() && !text.starts_with("Task failed"));
    FailureBox {
        process: failure.process,
        how: verdict.map_or(failure.how, str::to_owned),
        stream: failure.stream.name(),
        tail: failure.tail,
        last_line: failure.last_line,
        is_cut: failure.is_cut,
        is_open,
        href: source.page(&task.config.job, &task.id),
    }
}

/// Failures of the given tasks, as far as their files can be read. Blocks on disk.
pub fn find_failures(files: &dyn TaskFiles, ids: &[TaskId]) -> BTreeMap<TaskId, Failure> {
    ids.iter().filter_map(|id| Some((id.clone(), failure::find(files, id).ok()??))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{JobKey, TaskConfig};
    use scheduler::TaskEvent;

    use super::*;

    fn running() -> Task {
        let mut config = TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 1, "{}");
        config.task_links.insert("http".into(), "http://%host%:%port:http%/status".into());
        config.task_links.insert("bad".into(), "javascript:alert(1)".into());
        Task {
            id: TaskId("t".into()),
            instance: 3,
            config: Arc::new(config),
            status: TaskStatus::Running,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events: vec![TaskEvent { timestamp_ms: 5, status: TaskStatus::Running, message: None }],
            agent_id: Some("a".into()),
            host: Some(Arc::new("box".into())),
            ports: [("http".to_owned(), 31_000), ("aux".to_owned(), 31_001)].into(),
        }
    }

    #[test]
    fn links_are_filled_in_and_only_web_addresses() {
        let found: Vec<(String, String)> = links(&running()).into_iter().map(|link| (link.text, link.href)).collect();
        assert_eq!(
            found,
            [("aux:31001".into(), "http://box:31001/".into()), ("http".into(), "http://box:31000/status".to_owned()),]
        );
    }

    #[test]
    fn what_ended_a_task_is_said_before_how_its_processes_were_killed() {
        let how = |message: Option<&str>| {
            let mut task = running();
            task.events.push(TaskEvent {
                timestamp_ms: 5,
                status: TaskStatus::Failed,
                message: message.map(Into::into),
            });
            let failure = Failure {
                process: "p".into(),
                run: 0,
                how: "killed by SIGTERM (15)".into(),
                stream: engine::files::Stream::Stderr,
                tail: Markup::default(),
                last_line: Markup::default(),
                is_cut: false,
            };
            failure_box(&task, failure, false).how
        };
        assert_eq!(
            how(Some("Failed health check! Health check timed out.")),
            "Failed health check! Health check timed out."
        );
        assert_eq!(how(Some("Task failed: process p was ended by signal 15.")), "killed by SIGTERM (15)");
        assert_eq!(how(None), "killed by SIGTERM (15)");
    }

    #[test]
    fn an_ended_task_offers_no_links() {
        assert!(links(&Task { status: TaskStatus::Finished, ..running() }).is_empty());
    }
}
