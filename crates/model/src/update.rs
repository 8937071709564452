//! Job updates: request, settings, strategies, states, events (spec scheduler 3, thrift-api 2). Not the controller.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::{InstanceId, UpdateKey};
use crate::task::TaskConfig;

/// State of an update; the number is its id on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum UpdateStatus {
    /// Working towards the new configuration.
    RollingForward = 0,
    /// Working back.
    RollingBack = 1,
    /// Paused while going forward.
    RollForwardPaused = 2,
    /// Paused while going back.
    RollBackPaused = 3,
    /// Success.
    RolledForward = 4,
    /// Rollback finished.
    RolledBack = 5,
    /// Stopped by a user.
    Aborted = 6,
    /// Internal error.
    Error = 7,
    /// Failure threshold passed without rollback, or the rollback failed.
    Failed = 8,
    /// Waits for a pulse while going forward.
    RollForwardAwaitingPulse = 9,
    /// Waits for a pulse while going back.
    RollBackAwaitingPulse = 10,
}

impl UpdateStatus {
    /// Every state, by id.
    pub const ALL: [Self; 11] = [
        Self::RollingForward,
        Self::RollingBack,
        Self::RollForwardPaused,
        Self::RollBackPaused,
        Self::RolledForward,
        Self::RolledBack,
        Self::Aborted,
        Self::Error,
        Self::Failed,
        Self::RollForwardAwaitingPulse,
        Self::RollBackAwaitingPulse,
    ];

    /// Not ended.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::RollingForward
                | Self::RollingBack
                | Self::RollForwardPaused
                | Self::RollBackPaused
                | Self::RollForwardAwaitingPulse
                | Self::RollBackAwaitingPulse
        )
    }

    /// Upper-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RollingForward => "ROLLING_FORWARD",
            Self::RollingBack => "ROLLING_BACK",
            Self::RollForwardPaused => "ROLL_FORWARD_PAUSED",
            Self::RollBackPaused => "ROLL_BACK_PAUSED",
            Self::RolledForward => "ROLLED_FORWARD",
            Self::RolledBack => "ROLLED_BACK",
            Self::Aborted => "ABORTED",
            Self::Error => "ERROR",
            Self::Failed => "FAILED",
            Self::RollForwardAwaitingPulse => "ROLL_FORWARD_AWAITING_PULSE",
            Self::RollBackAwaitingPulse => "ROLL_BACK_AWAITING_PULSE",
        }
    }

    /// From its id on the wire.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == id)
    }
}

impl fmt::Display for UpdateStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What happened to an instance in an update; the number is its id on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum UpdateAction {
    /// Updated successfully.
    InstanceUpdated = 1,
    /// Rolled back successfully.
    InstanceRolledBack = 2,
    /// Being updated.
    InstanceUpdating = 3,
    /// Being rolled back.
    InstanceRollingBack = 4,
    /// Update failed.
    InstanceUpdateFailed = 5,
    /// Rollback failed.
    InstanceRollbackFailed = 6,
}

impl UpdateAction {
    /// Every action, by id.
    pub const ALL: [Self; 6] = [
        Self::InstanceUpdated,
        Self::InstanceRolledBack,
        Self::InstanceUpdating,
        Self::InstanceRollingBack,
        Self::InstanceUpdateFailed,
        Self::InstanceRollbackFailed,
    ];

    /// Upper-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::InstanceUpdated => "INSTANCE_UPDATED",
            Self::InstanceRolledBack => "INSTANCE_ROLLED_BACK",
            Self::InstanceUpdating => "INSTANCE_UPDATING",
            Self::InstanceRollingBack => "INSTANCE_ROLLING_BACK",
            Self::InstanceUpdateFailed => "INSTANCE_UPDATE_FAILED",
            Self::InstanceRollbackFailed => "INSTANCE_ROLLBACK_FAILED",
        }
    }

    /// From its id on the wire.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|action| *action as i32 == id)
    }
}

/// An inclusive range of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceRange {
    /// First.
    pub first: InstanceId,
    /// Last, inclusive.
    pub last: InstanceId,
}

/// The fewest ranges that cover the ids.
pub fn to_ranges(ids: impl IntoIterator<Item = InstanceId>) -> Vec<InstanceRange> {
    let sorted: BTreeSet<InstanceId> = ids.into_iter().collect();
    let mut ranges: Vec<InstanceRange> = Vec::new();
    for id in sorted {
        match ranges.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(id) => range.last = id,
            _ => ranges.push(InstanceRange { first: id, last: id }),
        }
    }
    ranges
}

/// The ids in the ranges, each once.
pub fn from_ranges(ranges: &[InstanceRange]) -> BTreeSet<InstanceId> {
    ranges.iter().flat_map(|range| range.first..=range.last).collect()
}

/// In which groups instances are taken (spec scheduler 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateStrategy {
    /// Keeps `group_size` in flight.
    Queue {
        /// How many.
        group_size: i32,
    },
    /// The next group only when the previous one is done.
    Batch {
        /// How many.
        group_size: i32,
        /// Pause after each batch.
        autopause_after_batch: bool,
    },
    /// Batches of differing sizes; the last size repeats.
    VariableBatch {
        /// Sizes.
        group_sizes: Vec<i32>,
        /// Pause after each batch.
        autopause_after_batch: bool,
    },
}

/// Settings of an update.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UpdateSettings {
    /// Strategy.
    pub strategy: UpdateStrategy,
    /// Tolerated restarts per instance.
    pub max_per_instance_failures: i32,
    /// Tolerated failed instances.
    pub max_failed_instances: i32,
    /// How long an instance must stay RUNNING.
    pub min_wait_in_running_ms: i32,
    /// Roll back when it fails.
    pub rollback_on_failure: bool,
    /// Scope; empty means all.
    pub only_these_instances: Vec<InstanceRange>,
    /// Pulse-coordinated when positive.
    pub block_if_no_pulses_after_ms: Option<i32>,
    /// Check the SLA policy before killing.
    pub sla_aware: bool,
}

impl Default for UpdateSettings {
    /// One at a time, 45 s watch, no failures tolerated, rollback (spec config-dsl 3.2).
    fn default() -> Self {
        Self {
            strategy: UpdateStrategy::Queue { group_size: 1 },
            max_per_instance_failures: 0,
            max_failed_instances: 0,
            min_wait_in_running_ms: 45_000,
            rollback_on_failure: true,
            only_these_instances: Vec::new(),
            block_if_no_pulses_after_ms: None,
            sla_aware: false,
        }
    }
}

/// A request to update a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// The new configuration.
    pub task: TaskConfig,
    /// The new number of instances.
    pub instance_count: i32,
    /// Settings.
    pub settings: UpdateSettings,
    /// The client's own, kept with the update.
    pub metadata: BTreeSet<crate::task::Metadata>,
}

/// A configuration and the instances that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceConfig {
    /// Configuration.
    pub task: TaskConfig,
    /// Instances.
    pub instances: Vec<InstanceRange>,
}

/// A change of an update's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEvent {
    /// New state.
    pub status: UpdateStatus,
    /// When, in ms since the epoch.
    pub timestamp_ms: i64,
    /// By whom.
    pub user: Option<String>,
    /// Why.
    pub message: Option<String>,
}

/// Something that happened to an instance in an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceUpdateEvent {
    /// Instance.
    pub instance: InstanceId,
    /// When, in ms since the epoch.
    pub timestamp_ms: i64,
    /// What.
    pub action: UpdateAction,
    /// Why.
    pub message: Option<String>,
}

/// A stored update with its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Key.
    pub key: UpdateKey,
    /// Who started it.
    pub user: String,
    /// Settings.
    pub settings: UpdateSettings,
    /// The client's own.
    pub metadata: BTreeSet<crate::task::Metadata>,
    /// Configurations replaced, with their instances.
    pub initial: Vec<InstanceConfig>,
    /// The new configuration with its instances; unset when the update only removes.
    pub desired: Option<InstanceConfig>,
    /// In order of time; never empty.
    pub events: Vec<UpdateEvent>,
    /// In order of time.
    pub instance_events: Vec<InstanceUpdateEvent>,
}

impl Update {
    /// The latest state.
    pub fn status(&self) -> UpdateStatus {
        self.events.last().map_or(UpdateStatus::Error, |event| event.status)
    }

    /// Time of the first event, in ms since the epoch.
    pub fn created_ms(&self) -> i64 {
        self.events.first().map_or(0, |event| event.timestamp_ms)
    }

    /// Time of the latest event of either kind, in ms since the epoch.
    pub fn last_modified_ms(&self) -> i64 {
        let update = self.events.last().map_or(0, |event| event.timestamp_ms);
        let instance = self.instance_events.last().map_or(0, |event| event.timestamp_ms);
        update.max(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_compact_and_reversible() {
        let ranges = to_ranges([5, 0, 1, 2, 7, 6, 2]);
        assert_eq!(ranges, [InstanceRange { first: 0, last: 2 }, InstanceRange { first: 5, last: 7 }]);
        assert_eq!(from_ranges(&ranges).into_iter().collect::<Vec<_>>(), [0, 1, 2, 5, 6, 7]);
        assert_eq!(to_ranges([u32::MAX]), [InstanceRange { first: u32::MAX, last: u32::MAX }]);
    }

    #[test]
    fn ids_round_trip() {
        for status in UpdateStatus::ALL {
            assert_eq!(UpdateStatus::from_id(status as i32), Some(status));
        }
        for action in UpdateAction::ALL {
            assert_eq!(UpdateAction::from_id(action as i32), Some(action));
        }
        assert_eq!(UpdateStatus::ALL.into_iter().filter(|status| status.is_active()).count(), 6);
    }
}
