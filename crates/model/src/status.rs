//! Task statuses and the named sets of them (spec scheduler 1.1). Not the transitions: those are the scheduler's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Status of a task; the number is its id on Aurora's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(i32)]
pub enum TaskStatus {
    /// Just created, before its first transition.
    Init = 11,
    /// Rescheduled, held back by the flapping penalty.
    Throttled = 16,
    /// Waiting for a machine.
    Pending = 0,
    /// Matched to an offer; nothing heard yet.
    Assigned = 9,
    /// The executor is preparing it.
    Starting = 1,
    /// Running, and healthy where health is checked.
    Running = 2,
    /// Being killed for a more important task.
    Preempting = 13,
    /// Being killed by a user restart.
    Restarting = 12,
    /// Being killed because its host goes into maintenance.
    Draining = 17,
    /// Being killed for good.
    Killing = 6,
    /// Its agent is unreachable.
    Partitioned = 18,
    /// Exited successfully.
    Finished = 3,
    /// Exited unsuccessfully.
    Failed = 4,
    /// Ended by a kill.
    Killed = 5,
    /// Given up on.
    Lost = 7,
}

impl TaskStatus {
    /// Every status, in life-cycle order.
    pub const ALL: [Self; 15] = [
        Self::Init,
        Self::Throttled,
        Self::Pending,
        Self::Assigned,
        Self::Starting,
        Self::Running,
        Self::Preempting,
        Self::Restarting,
        Self::Draining,
        Self::Killing,
        Self::Partitioned,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
    ];

    /// Ended for good.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed | Self::Lost)
    }

    /// Not ended and past creation.
    pub fn is_active(self) -> bool {
        !self.is_terminal() && self != Self::Init
    }

    /// Holds room on an agent.
    pub fn is_assigned(self) -> bool {
        self.is_active() && !matches!(self, Self::Throttled | Self::Pending)
    }

    /// May have processes running.
    pub fn is_live(self) -> bool {
        self.is_assigned() && !matches!(self, Self::Assigned | Self::Starting)
    }

    /// Times out into LOST when it lasts too long (spec scheduler 1.1; STARTING is not among them).
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Assigned | Self::Preempting | Self::Restarting | Self::Draining | Self::Killing)
    }

    /// Upper-case name as shown to people and used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Throttled => "THROTTLED",
            Self::Pending => "PENDING",
            Self::Assigned => "ASSIGNED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Preempting => "PREEMPTING",
            Self::Restarting => "RESTARTING",
            Self::Draining => "DRAINING",
            Self::Killing => "KILLING",
            Self::Partitioned => "PARTITIONED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
            Self::Lost => "LOST",
        }
    }

    /// From its id on the wire.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == id)
    }

    /// From its upper-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_those_of_the_reference() {
        let of = |test: fn(TaskStatus) -> bool| -> Vec<&str> {
            TaskStatus::ALL.into_iter().filter(|status| test(*status)).map(TaskStatus::name).collect()
        };
        assert_eq!(of(TaskStatus::is_terminal), ["FINISHED", "FAILED", "KILLED", "LOST"]);
        assert_eq!(of(TaskStatus::is_active).len(), 10);
        assert_eq!(
            of(TaskStatus::is_assigned),
            ["ASSIGNED", "STARTING", "RUNNING", "PREEMPTING", "RESTARTING", "DRAINING", "KILLING", "PARTITIONED"]
        );
        assert_eq!(
            of(TaskStatus::is_live),
            ["RUNNING", "PREEMPTING", "RESTARTING", "DRAINING", "KILLING", "PARTITIONED"]
        );
        assert_eq!(of(TaskStatus::is_transient), ["ASSIGNED", "PREEMPTING", "RESTARTING", "DRAINING", "KILLING"]);
    }

    #[test]
    fn ids_and_names_round_trip() {
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_id(status as i32), Some(status));
            assert_eq!(TaskStatus::from_name(status.name()), Some(status));
        }
        assert_eq!(TaskStatus::from_id(8), None);
    }
}
