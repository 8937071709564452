//! The stored messages of cron jobs and their runs, and how they are read and written.

#![allow(missing_docs)] // The fields say what the fields of the types of the same names say.

use std::sync::Arc;

use model::{CronCollisionPolicy, JobConfiguration, JobKey};
use prost::Message;

use super::convert::{Reason, config_message, config_of};
use super::schema::ConfigMessage;
use crate::cron::{CronOutcome, CronRun};

/// Value of the table of cron jobs; its key is role, environment and name, each ended by a zero byte.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CronJobMessage {
    #[prost(message, optional, tag = "1")]
    pub task: Option<ConfigMessage>,
    #[prost(string, optional, tag = "2")]
    pub owner: Option<String>,
    #[prost(string, tag = "3")]
    pub schedule: String,
    #[prost(int32, tag = "4")]
    pub collision_policy: i32,
    #[prost(sint32, tag = "5")]
    pub instance_count: i32,
    #[prost(sint64, tag = "6")]
    pub scheduled_ms: i64,
    #[prost(uint64, tag = "7")]
    pub scheduled_after: u64,
}

/// Value of the table of runs; its key is the job's, then the run's number in eight bytes, high byte first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CronRunMessage {
    #[prost(sint64, optional, tag = "1")]
    pub nominal_ms: Option<i64>,
    #[prost(sint64, tag = "2")]
    pub recorded_ms: i64,
    #[prost(string, optional, tag = "3")]
    pub user: Option<String>,
    /// 0 started, 1 waiting, 2 cancelled, 3 ignored, 4 missed.
    #[prost(int32, tag = "4")]
    pub outcome: i32,
    #[prost(uint32, tag = "5")]
    pub instances: u32,
    #[prost(uint32, tag = "6")]
    pub skipped: u32,
    #[prost(sint64, tag = "7")]
    pub considered_ms: i64,
    #[prost(sint64, optional, tag = "8")]
    pub started_ms: Option<i64>,
    /// The configuration of a run that waits.
    #[prost(message, optional, tag = "9")]
    pub waiting: Option<CronJobMessage>,
}

pub(crate) fn cron_job_message(config: &JobConfiguration) -> CronJobMessage {
    CronJobMessage {
        task: Some(config_message(&config.task)),
        owner: config.owner.clone(),
        schedule: config.cron_schedule.clone().unwrap_or_default(),
        collision_policy: config.cron_collision_policy as i32,
        instance_count: config.instance_count,
        scheduled_ms: 0,
        scheduled_after: 0,
    }
}

/// The configuration. When it was given, the message says.
pub(crate) fn cron_job_of(message: CronJobMessage) -> Result<JobConfiguration, Reason> {
    let task = config_of(message.task.ok_or("the configuration of a cron job is missing")?)?;
    let cron_collision_policy = match message.collision_policy {
        0 => CronCollisionPolicy::KillExisting,
        1 => CronCollisionPolicy::CancelNew,
        2 => CronCollisionPolicy::RunOverlap,
        other => return Err(format!("collision policy {other} is unknown")),
    };
    Ok(JobConfiguration {
        key: task.job.clone(),
        owner: message.owner,
        cron_schedule: Some(message.schedule),
        cron_collision_policy,
        task,
        instance_count: message.instance_count,
    })
}

pub(crate) fn cron_run_message(run: &CronRun) -> CronRunMessage {
    let (outcome, waiting) = match &run.outcome {
        CronOutcome::Started => (0, None),
        CronOutcome::Waiting(config) => (1, Some(cron_job_message(config))),
        CronOutcome::Cancelled => (2, None),
        CronOutcome::Ignored => (3, None),
        CronOutcome::Missed => (4, None),
    };
    CronRunMessage {
        nominal_ms: run.nominal_ms,
        recorded_ms: run.recorded_ms,
        user: run.user.clone(),
        outcome,
        instances: run.instances,
        skipped: run.skipped,
        considered_ms: run.considered_ms,
        started_ms: run.started_ms,
        waiting,
    }
}

pub(crate) fn cron_run_of(number: u64, message: CronRunMessage) -> Result<CronRun, Reason> {
    let outcome = match (message.outcome, message.waiting) {
        (0, _) => CronOutcome::Started,
        (1, Some(waiting)) => CronOutcome::Waiting(Arc::new(cron_job_of(waiting)?)),
        (1, None) => return Err("the configuration of a run that waits is missing".into()),
        (2, _) => CronOutcome::Cancelled,
        (3, _) => CronOutcome::Ignored,
        (4, _) => CronOutcome::Missed,
        (other, _) => return Err(format!("outcome {other} of a cron run is unknown")),
    };
    Ok(CronRun {
        number,
        nominal_ms: message.nominal_ms,
        recorded_ms: message.recorded_ms,
        user: message.user,
        outcome,
        instances: message.instances,
        skipped: message.skipped,
        considered_ms: message.considered_ms,
        started_ms: message.started_ms,
    })
}

/// Key of a cron job's record; identifiers hold no zero byte.
pub(crate) fn job_key_bytes(key: &JobKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [&key.role, &key.environment, &key.name] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Reads the key of a cron job's record.
pub(crate) fn job_key_of(bytes: &[u8]) -> Option<JobKey> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
    let mut parts = text.split('\0').map(str::to_owned);
    let (role, environment, name) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(JobKey { role, environment, name })
}

/// Key of a run's record.
pub(crate) fn run_key_bytes(key: &JobKey, number: u64) -> Vec<u8> {
    let mut bytes = job_key_bytes(key);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

/// Reads the key of a run's record.
pub(crate) fn run_key_of(bytes: &[u8]) -> Option<(JobKey, u64)> {
    let (key, number) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    Some((job_key_of(key)?, u64::from_be_bytes(number.try_into().ok()?)))
}
