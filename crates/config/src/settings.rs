//! The settings of an update from a job's `update_config` (spec config-dsl 4.8, 5.6).

use model::key::InstanceId;
use model::update::{UpdateSettings, UpdateStrategy, to_ranges};
use serde::Deserialize;

use crate::error::ConfigError;
use crate::job::Job;

/// The shortest pulse interval, seconds.
const PULSE_INTERVAL_SECS_MIN: i64 = 60;

/// `update_config` as JSON.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UpdateShape {
    pub batch_size: i64,
    pub watch_secs: i64,
    pub max_per_shard_failures: i64,
    pub max_total_failures: i64,
    pub rollback_on_failure: bool,
    pub wait_for_batch_completion: bool,
    pub pulse_interval_secs: Option<i64>,
    pub sla_aware: bool,
    pub update_strategy: Option<StrategyShape>,
}

/// The alternatives are told apart by their fields, the richest first.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StrategyShape {
    VariableBatch { batch_sizes: Vec<i64>, autopause_after_batch: bool },
    Batch { batch_size: i64, autopause_after_batch: bool },
    Queue { batch_size: i64 },
}

impl Job {
    /// The settings of an update to this job; of the given instances only, or of all when `instances` is empty.
    pub fn update_settings(&self, instances: &[InstanceId]) -> Result<UpdateSettings, ConfigError> {
        let shape = self.update_shape()?;
        settings(&shape, instances).map_err(|why| {
            // Each reason begins with the field that it is about, or names the strategy.
            let field = why.split([' ', '\'']).next().unwrap_or_default();
            self.invalid_field("update_config", field, format!("in update_config: {why}"))
        })
    }
}

fn settings(shape: &UpdateShape, instances: &[InstanceId]) -> Result<UpdateSettings, String> {
    if shape.batch_size <= 0 {
        return Err(format!("batch_size must be greater than 0, not {}", shape.batch_size));
    }
    if let Some(interval) = shape.pulse_interval_secs
        && interval < PULSE_INTERVAL_SECS_MIN
    {
        return Err(format!("pulse_interval_secs must be at least {PULSE_INTERVAL_SECS_MIN}, not {interval}"));
    }
    if shape.update_strategy.is_some() && shape.wait_for_batch_completion {
        return Err(
            "wait_for_batch_completion and update_strategy exclude each other; use a BatchUpdateStrategy".to_owned()
        );
    }
    if shape.update_strategy.is_some() && shape.batch_size > 1 {
        return Err("batch_size and update_strategy exclude each other; set the size in the strategy".to_owned());
    }
    let milliseconds = |what: &str, secs: i64| {
        secs.checked_mul(1000)
            .and_then(|ms| i32::try_from(ms).ok())
            .ok_or_else(|| format!("{what} is too large: {secs}"))
    };
    Ok(UpdateSettings {
        strategy: strategy(shape)?,
        max_per_instance_failures: whole("max_per_shard_failures", shape.max_per_shard_failures)?,
        max_failed_instances: whole("max_total_failures", shape.max_total_failures)?,
        min_wait_in_running_ms: milliseconds("watch_secs", shape.watch_secs)?,
        rollback_on_failure: shape.rollback_on_failure,
        only_these_instances: to_ranges(instances.iter().copied()),
        block_if_no_pulses_after_ms: shape
            .pulse_interval_secs
            .map(|secs| milliseconds("pulse_interval_secs", secs))
            .transpose()?,
        sla_aware: shape.sla_aware,
    })
}

fn strategy(shape: &UpdateShape) -> Result<UpdateStrategy, String> {
    let size = |size: i64| match whole("batch_size", size)? {
        size if size > 0 => Ok(size),
        size => Err(format!("the size of a batch must be greater than 0, not {size}")),
    };
    Ok(match &shape.update_strategy {
        None if shape.wait_for_batch_completion => {
            UpdateStrategy::Batch { group_size: size(shape.batch_size)?, autopause_after_batch: false }
        }
        None => UpdateStrategy::Queue { group_size: size(shape.batch_size)? },
        Some(StrategyShape::Queue { batch_size }) => UpdateStrategy::Queue { group_size: size(*batch_size)? },
        Some(StrategyShape::Batch { batch_size, autopause_after_batch }) => {
            UpdateStrategy::Batch { group_size: size(*batch_size)?, autopause_after_batch: *autopause_after_batch }
        }
        Some(StrategyShape::VariableBatch { batch_sizes, .. }) if batch_sizes.is_empty() => {
            return Err("batch_sizes of a VariableBatchUpdateStrategy must not be empty".to_owned());
        }
        Some(StrategyShape::VariableBatch { batch_sizes, autopause_after_batch }) => UpdateStrategy::VariableBatch {
            group_sizes: batch_sizes.iter().map(|batch| size(*batch)).collect::<Result<_, _>>()?,
            autopause_after_batch: *autopause_after_batch,
        },
    })
}

fn whole(what: &str, value: i64) -> Result<i32, String> {
    i32::try_from(value).map_err(|_| format!("{what} is {value}, which is beyond {}", i32::MAX))
}
