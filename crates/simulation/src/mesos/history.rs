//! What happened, for judges.

use std::sync::Arc;

use mesos::v1::TaskState;

/// Something that happened in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A launch reached an agent.
    Launched {
        /// The task.
        task: Arc<str>,
        /// Its agent.
        agent: usize,
    },
    /// A task said that it runs.
    Began {
        /// The task.
        task: Arc<str>,
        /// Its agent.
        agent: usize,
    },
    /// A task ended.
    Ended {
        /// The task.
        task: Arc<str>,
        /// Its agent.
        agent: usize,
        /// How.
        state: TaskState,
    },
    /// A scheduler's acknowledgement reached an agent.
    Acknowledged {
        /// The task.
        task: Arc<str>,
        /// The update.
        uuid: [u8; 16],
    },
    /// A kill reached an agent.
    KillArrived {
        /// The task.
        task: Arc<str>,
        /// Its agent.
        agent: usize,
    },
}

/// Moments with their times, in order; kept only if it was asked for.
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: Option<Vec<(u64, Moment)>>,
}

impl History {
    pub(super) fn new(kept: bool) -> Self {
        Self { moments: kept.then(Vec::new) }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.moments.is_some()
    }

    pub(super) fn add(&mut self, now_ms: u64, moment: Moment) {
        if let Some(moments) = &mut self.moments {
            moments.push((now_ms, moment));
        }
    }

    /// All of them, with simulated times in ms.
    pub fn moments(&self) -> &[(u64, Moment)] {
        self.moments.as_deref().unwrap_or_default()
    }

    /// How often a task was launched at an agent.
    pub fn launches_of(&self, task: &str) -> usize {
        let launched =
            |moment: &Moment| matches!(moment, Moment::Launched { task: launched, .. } if **launched == *task);
        self.moments().iter().filter(|(_, moment)| launched(moment)).count()
    }
}
