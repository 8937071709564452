//! A stored task: one run of an instance, with its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Host, InstanceId, TaskConfig, TaskId, TaskStatus};

/// A text that many events share. One word wide, because there are several events to each of a million tasks.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedText(Arc<Box<str>>);

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        Self(Arc::new(text.into()))
    }
}

impl std::ops::Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SharedText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&**self, formatter)
    }
}

/// An entry of a task's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// When, in ms since the epoch; never earlier than the entry before.
    pub timestamp_ms: i64,
    /// The status entered.
    pub status: TaskStatus,
    /// Why.
    pub message: Option<SharedText>,
}

/// A stored task. The scheduler's host name, which Aurora keeps per event, is the same for all and lives in the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    /// Name of this run.
    pub id: TaskId,
    /// Number within the job.
    pub instance: InstanceId,
    /// Shared by all tasks of the same configuration.
    pub config: Arc<TaskConfig>,
    /// Present status; equals the last event's.
    pub status: TaskStatus,
    /// Failed runs of this instance's chain of ancestors.
    pub failure_count: i32,
    /// Moves to PARTITIONED.
    pub times_partitioned: i32,
    /// The run this one replaces.
    pub ancestor: Option<TaskId>,
    /// History, oldest first; never empty.
    pub events: Vec<TaskEvent>,
    /// Where it was placed.
    pub agent_id: Option<Arc<str>>,
    /// Host name of that agent.
    pub host: Option<Arc<Host>>,
    /// Ports by name.
    pub ports: BTreeMap<String, u16>,
}

impl Task {
    /// Time of the latest event, in ms since the epoch.
    pub fn last_event_ms(&self) -> i64 {
        self.events.last().map_or(0, |event| event.timestamp_ms)
    }
}

impl Clone for Task {
    /// With room for one event more: whoever copies a task does so to change it, and nearly every change adds an event.
    fn clone(&self) -> Self {
        let mut events = Vec::with_capacity((self.events.len() + 1).max(4));
        events.extend_from_slice(&self.events);
        Self {
            id: self.id.clone(),
            instance: self.instance,
            config: Arc::clone(&self.config),
            status: self.status,
            failure_count: self.failure_count,
            times_partitioned: self.times_partitioned,
            ancestor: self.ancestor.clone(),
            events,
            agent_id: self.agent_id.clone(),
            host: self.host.clone(),
            ports: self.ports.clone(),
        }
    }
}
