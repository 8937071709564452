//! A job as submitted: a task configuration, how many, and when.

use serde::{Deserialize, Serialize};

use crate::key::JobKey;
use crate::task::TaskConfig;

/// What a cron run does when the previous one still runs (spec scheduler 4.3). The number is its id on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i32)]
pub enum CronCollisionPolicy {
    /// Kills the old run first.
    #[default]
    KillExisting = 0,
    /// Skips the new run.
    CancelNew = 1,
    /// No longer accepted.
    RunOverlap = 2,
}

/// A job as submitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobConfiguration {
    /// Key; must equal the key inside `task`.
    pub key: JobKey,
    /// User who owns it, if named.
    pub owner: Option<String>,
    /// Five cron fields; set (even empty) makes it a cron job.
    pub cron_schedule: Option<String>,
    /// On collision.
    pub cron_collision_policy: CronCollisionPolicy,
    /// What each instance runs.
    pub task: TaskConfig,
    /// How many instances.
    pub instance_count: i32,
}
