//! What follows a run that ended: a replacement, at once or after the flapping penalty (spec scheduler 1.4, 1.5).

use std::sync::Arc;

use model::{TaskId, TaskStatus};

use crate::core::{Core, ms};
use crate::random::backoff_ms;
use crate::task::Task;

/// Why a task is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A new instance, or one with a new configuration.
    New,
    /// It follows a run that ended.
    Replaces {
        /// That run.
        ancestor: TaskId,
        /// Carried over.
        failure_count: i32,
        /// How long it waits THROTTLED first; 0 for not at all.
        penalty_ms: u64,
    },
}

impl Origin {
    /// Message of the first event (spec scheduler 1.8).
    pub(crate) fn message(&self) -> Option<Arc<str>> {
        match self {
            Self::New => None,
            Self::Replaces { penalty_ms: 0, .. } => Some("Rescheduled".into()),
            Self::Replaces { penalty_ms, .. } => {
                Some(format!("Rescheduled, penalized for {penalty_ms} ms for flapping").into())
            }
        }
    }
}

impl Core {
    /// Creates the replacement of a task that just ended.
    pub(crate) fn reschedule(&mut self, id: &TaskId) {
        let Some(task) = self.store.view.tasks.get(id).cloned() else { return };
        // The run that just ended does not decide whether there is a penalty, but counts in how long it is.
        let penalized = self.penalty_ms(task.ancestor.clone()) > 0;
        let penalty_ms = if penalized { self.penalty_ms(Some(task.id.clone())).max(1) } else { 0 };
        let origin = Origin::Replaces { ancestor: task.id.clone(), failure_count: task.failure_count, penalty_ms };
        if penalized {
            self.count("task_throttle_events", 1);
            self.count("task_throttle_ms_total", penalty_ms as i64);
        }
        if let Err(collision) = self.create_task(&task.config, task.instance, origin) {
            self.notice(format!("Task {id} is not replaced: {collision}."));
        }
    }

    /// The flapping penalty of what follows a run: each in the chain of runs that flapped makes it grow, the first that did
    /// not, or is forgotten, ends the chain.
    pub(crate) fn penalty_ms(&mut self, last_run: Option<TaskId>) -> u64 {
        let initial = ms(self.settings.initial_flapping_task_delay);
        let max = ms(self.settings.max_flapping_task_delay);
        let threshold = ms(self.settings.flapping_task_threshold);
        let mut penalty_ms = 0;
        let mut next = last_run;
        while let Some(ancestor) = next.and_then(|id| self.store.view.tasks.get(&id).cloned()) {
            if !flapped(&ancestor, threshold) {
                break;
            }
            let grown = backoff_ms(&mut self.random, penalty_ms, initial, max);
            if grown == penalty_ms {
                break;
            }
            penalty_ms = grown;
            next = ancestor.ancestor.clone();
        }
        penalty_ms
    }
}

/// Whether an ended run was so short that it counts as a flap. One that a user or the operator ended does not.
pub(crate) fn flapped(task: &Task, threshold_ms: u64) -> bool {
    use TaskStatus::{Draining, Killing, Restarting};
    let Some(last) = task.events.last().filter(|event| event.status.is_terminal()) else { return false };
    if task.events.iter().any(|event| matches!(event.status, Restarting | Killing | Draining)) {
        return false;
    }
    let Some(active) = task.events.iter().rev().find(|event| event.status.is_active()) else { return false };
    ((last.timestamp_ms - active.timestamp_ms).max(0) as u64) < threshold_ms
}
