//! Why a task ended, or is about to: read from its history. The sentences are those that the scheduler and the executor record (spec
//! scheduler 1.8, executor 3); Aurora's own are the same where it has them.

use thrift::{ScheduleStatus, ScheduledTask, TaskEvent};

use crate::aurora::tasks::status_of;

/// Who or what ended a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A user killed it, perhaps with a note.
    Killed {
        /// Who.
        user: String,
        /// Why, in his words.
        note: Option<String>,
    },
    /// The next run of its cron job began.
    NextCronRun,
    /// A user restarted it.
    Restarted {
        /// Who.
        user: String,
    },
    /// An update replaced or removed it.
    Update {
        /// Which.
        id: String,
    },
    /// It had to make room.
    Preempted {
        /// For which task.
        by: String,
    },
    /// Its host goes into maintenance.
    Drained,
    /// An operator set its state.
    Forced {
        /// Who.
        user: String,
    },
    /// Its health checks failed.
    Unhealthy {
        /// What they said.
        why: String,
    },
    /// It used more memory than it may.
    Memory {
        /// The record.
        why: String,
    },
    /// It used more disk than it may.
    Disk {
        /// The record.
        why: String,
    },
    /// A process of it failed.
    Process {
        /// The record, e.g. `process web exited with status 1`.
        why: String,
    },
    /// It ended by itself, as it should.
    Finished,
    /// It did not get on within the time it had.
    TimedOut,
    /// Its agent was out of reach for too long.
    Partitioned,
    /// Something else that was recorded.
    Said {
        /// The record.
        why: String,
    },
    /// Nothing was recorded.
    Unknown,
}

impl Cause {
    /// A word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Killed { .. } => "killed",
            Self::NextCronRun => "next-cron-run",
            Self::Restarted { .. } => "restarted",
            Self::Update { .. } => "update",
            Self::Preempted { .. } => "preempted",
            Self::Drained => "drained",
            Self::Forced { .. } => "forced",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Memory { .. } => "memory-limit",
            Self::Disk { .. } => "disk-limit",
            Self::Process { .. } => "process-failed",
            Self::Finished => "finished",
            Self::TimedOut => "timed-out",
            Self::Partitioned => "partitioned",
            Self::Said { .. } => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// Message of an event, if it says anything.
fn message(event: &TaskEvent) -> Option<&str> {
    event.message.as_deref().map(str::trim).filter(|message| !message.is_empty())
}

/// Why a task ended or is about to end. Whoever asked for its end is to blame before what then happened.
pub fn cause_of(task: &ScheduledTask) -> Cause {
    use ScheduleStatus::{Draining, Killing, Preempting, Restarting};
    let asked = task
        .task_events
        .iter()
        .rev()
        .find(|event| matches!(event.status, Some(Killing | Restarting | Preempting | Draining)));
    if let Some(event) = asked {
        return asked_for(event);
    }
    let last = task.task_events.last();
    let said = last.and_then(message);
    match (status_of(task), said) {
        (ScheduleStatus::Finished, _) => Cause::Finished,
        (_, Some(said)) => said_by(said),
        (_, None) => Cause::Unknown,
    }
}

/// Why the end of a task was asked for.
fn asked_for(event: &TaskEvent) -> Cause {
    let said = message(event);
    match event.status {
        Some(ScheduleStatus::Draining) => return Cause::Drained,
        Some(ScheduleStatus::Preempting) => {
            let by = said.and_then(|said| said.strip_prefix("Preempting in favor of ")).unwrap_or("another task");
            return Cause::Preempted { by: by.to_owned() };
        }
        _ => {}
    }
    let Some(said) = said else { return Cause::Unknown };
    if said == "Killed by cronScheduler" {
        Cause::NextCronRun
    } else if let Some(id) = said.strip_prefix("Killed for job update ") {
        Cause::Update { id: id.to_owned() }
    } else if let Some(rest) = said.strip_prefix("Killed by ") {
        let (user, note) = rest.split_once(".\n").map_or((rest, None), |(user, note)| (user, Some(note.trim())));
        Cause::Killed { user: user.to_owned(), note: note.filter(|note| !note.is_empty()).map(str::to_owned) }
    } else if let Some(user) = said.strip_prefix("Restarted by ") {
        Cause::Restarted { user: user.to_owned() }
    } else {
        said_by(said)
    }
}

fn said_by(said: &str) -> Cause {
    let why = said.trim_end_matches('.').to_owned();
    if let Some(user) = said.strip_prefix("Transition forced by ") {
        return Cause::Forced { user: user.to_owned() };
    }
    let lower = said.to_ascii_lowercase();
    if lower.starts_with("failed health check") || lower.starts_with("health check timed out") {
        Cause::Unhealthy { why }
    } else if lower.starts_with("memory limit exceeded") || lower.contains("more memory than requested") {
        Cause::Memory { why }
    } else if lower.starts_with("disk limit exceeded") || lower.contains("more disk than requested") {
        Cause::Disk { why }
    } else if let Some(process) = why.strip_prefix("Task failed: ") {
        Cause::Process { why: process.to_owned() }
    } else if why == "Task failed" {
        Cause::Process { why: "a process failed".to_owned() }
    } else if why == "Task timed out" {
        Cause::TimedOut
    } else if lower.starts_with("task partitioned for too long") {
        Cause::Partitioned
    } else {
        Cause::Said { why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(events: &[(ScheduleStatus, &str)]) -> ScheduledTask {
        let event = |(at, (status, message)): (usize, &(ScheduleStatus, &str))| TaskEvent {
            timestamp: at as i64,
            status: Some(*status),
            message: (!message.is_empty()).then(|| (*message).to_owned()),
            scheduler: None,
        };
        ScheduledTask {
            status: events.last().map(|(status, _)| *status),
            task_events: events.iter().enumerate().map(event).collect(),
            ..ScheduledTask::default()
        }
    }

    #[test]
    fn every_recorded_sentence_has_its_cause() {
        use ScheduleStatus as S;
        let text = |text: &str| text.to_owned();
        let cases: Vec<(Vec<(S, &str)>, Cause)> = vec![
            (
                vec![
                    (S::Running, ""),
                    (S::Killing, "Killed by jane.\nwrong rack"),
                    (S::Killed, "Instructed to kill task."),
                ],
                Cause::Killed { user: text("jane"), note: Some(text("wrong rack")) },
            ),
            (vec![(S::Killing, "Killed by jane"), (S::Killed, "")], Cause::Killed { user: text("jane"), note: None }),
            (vec![(S::Killing, "Killed by cronScheduler"), (S::Killed, "")], Cause::NextCronRun),
            (vec![(S::Restarting, "Restarted by bob"), (S::Killed, "")], Cause::Restarted { user: text("bob") }),
            (vec![(S::Killing, "Killed for job update 12-34")], Cause::Update { id: text("12-34") }),
            (
                vec![(S::Preempting, "Preempting in favor of t-1"), (S::Killed, "")],
                Cause::Preempted { by: text("t-1") },
            ),
            (vec![(S::Draining, "Draining machine for maintenance."), (S::Killed, "")], Cause::Drained),
            (vec![(S::Running, ""), (S::Lost, "Transition forced by op")], Cause::Forced { user: text("op") }),
            (
                vec![(S::Failed, "Failed health check! Expected \"ok\"")],
                Cause::Unhealthy { why: text("Failed health check! Expected \"ok\"") },
            ),
            (
                vec![(S::Failed, "Memory limit exceeded: Requested 16 MB, Used 17 MB.")],
                Cause::Memory { why: text("Memory limit exceeded: Requested 16 MB, Used 17 MB") },
            ),
            (
                vec![(S::Failed, "Task used more disk than requested.")],
                Cause::Disk { why: text("Task used more disk than requested") },
            ),
            (
                vec![(S::Failed, "Task failed: process web exited with status 3.")],
                Cause::Process { why: text("process web exited with status 3") },
            ),
            (vec![(S::Finished, "Task finished.")], Cause::Finished),
            (vec![(S::Lost, "Task timed out")], Cause::TimedOut),
            (vec![(S::Lost, "Task partitioned for too long.")], Cause::Partitioned),
            (vec![(S::Lost, "The agent was removed.")], Cause::Said { why: text("The agent was removed") }),
            (vec![(S::Lost, "")], Cause::Unknown),
        ];
        let mut words = std::collections::BTreeSet::new();
        for (events, expected) in cases {
            words.insert(expected.word());
            assert_eq!(cause_of(&task(&events)), expected, "{events:?}");
        }
        assert_eq!(words.len(), 16, "every cause has a case and a word of its own");
    }
}
