//! What is derived from the tasks of a job: which are active, which have ended and when, and on which agents they are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{InstanceId, TaskId};

use crate::task::Task;
use crate::timers::TimerKey;

/// An active task and what hangs on it.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) id: TaskId,
    /// Timers of its present status.
    pub(crate) timers: Vec<TimerKey>,
    /// Its place in the queue of its group, while PENDING.
    pub(crate) queue_number: Option<u64>,
    /// The slot of its agent in the offer book, while it is placed.
    pub(crate) slot: Option<usize>,
    /// Number of the engine's leader that it was launched under; 0 for one of an earlier process.
    pub(crate) leader: u32,
    /// How long it is to be THROTTLED, from its creation until that begins; else 0.
    pub(crate) penalty_ms: u64,
}

impl Active {
    /// With nothing hanging on it yet.
    pub(crate) fn new(id: TaskId) -> Self {
        Self { id, timers: Vec::new(), queue_number: None, slot: None, leader: 0, penalty_ms: 0 }
    }
}

/// An ended task, ordered by when it ended. Ended tasks never change, so the copy is shared with the table.
#[derive(Clone, Debug)]
pub(crate) struct Ended(pub(crate) Arc<Task>);

impl Ended {
    fn key(&self) -> (i64, &TaskId) {
        (self.0.last_event_ms(), &self.0.id)
    }
}

impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Ended {}

impl PartialOrd for Ended {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ended {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The tasks of a job, by what is asked of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobIndex {
    /// At most one per instance.
    pub(crate) active: BTreeMap<InstanceId, Active>,
    /// Ended ones, oldest first.
    pub(crate) ended: BTreeSet<Ended>,
    /// How many placed tasks each agent has, by slot of the offer book.
    pub(crate) placed: BTreeMap<usize, u32>,
    /// Fires when the oldest ended one may be forgotten.
    pub(crate) prune: Option<TimerKey>,
}

impl JobIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.ended.is_empty()
    }

    pub(crate) fn add_placed(&mut self, slot: usize) {
        *self.placed.entry(slot).or_default() += 1;
    }

    pub(crate) fn remove_placed(&mut self, slot: usize) {
        if let Some(count) = self.placed.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.placed.remove(&slot);
            }
        }
    }
}
