//! Job updates: keys, settings, requests, stored updates with their history.

use model::update::{
    InstanceConfig, InstanceRange, InstanceUpdateEvent, Update, UpdateEvent, UpdateRequest, UpdateSettings,
    UpdateStrategy,
};

use super::{ConversionError, Result, instance_from_wire, instance_to_wire, refuse, required};
use crate::schema::{
    BatchJobUpdateStrategy, InstanceTaskConfig, JobInstanceUpdateEvent, JobKey, JobUpdate, JobUpdateDetails,
    JobUpdateEvent, JobUpdateInstructions, JobUpdateKey, JobUpdateRequest, JobUpdateSettings, JobUpdateState,
    JobUpdateStrategy, JobUpdateSummary, Metadata, QueueJobUpdateStrategy, Range, TaskConfig,
    VariableBatchJobUpdateStrategy,
};
use crate::wire::Set;

/// The most instances the ranges of one request may name together; ranges are short on the wire and long once expanded.
const MAX_NAMED_INSTANCES: i64 = 1_000_000;

impl TryFrom<JobUpdateKey> for model::UpdateKey {
    type Error = ConversionError;

    fn try_from(key: JobUpdateKey) -> Result<Self> {
        Ok(model::UpdateKey { job: required(key.job, "The job of the update key")?.into(), id: key.id })
    }
}

impl From<&model::UpdateKey> for JobUpdateKey {
    fn from(key: &model::UpdateKey) -> Self {
        JobUpdateKey { job: Some(JobKey::from(&key.job)), id: key.id.clone() }
    }
}

impl From<&InstanceRange> for Range {
    fn from(range: &InstanceRange) -> Self {
        Range { first: instance_to_wire(range.first), last: instance_to_wire(range.last) }
    }
}

impl TryFrom<Range> for InstanceRange {
    type Error = ConversionError;

    fn try_from(range: Range) -> Result<Self> {
        if range.first > range.last {
            return refuse(format!("The instance range {} to {} runs backwards.", range.first, range.last));
        }
        Ok(InstanceRange { first: instance_from_wire(range.first)?, last: instance_from_wire(range.last)? })
    }
}

impl From<JobUpdateStrategy> for UpdateStrategy {
    fn from(strategy: JobUpdateStrategy) -> Self {
        match strategy {
            JobUpdateStrategy::Queue(queue) => UpdateStrategy::Queue { group_size: queue.group_size },
            JobUpdateStrategy::Batch(batch) => UpdateStrategy::Batch {
                group_size: batch.group_size,
                autopause_after_batch: batch.autopause_after_batch,
            },
            JobUpdateStrategy::VariableBatch(batches) => UpdateStrategy::VariableBatch {
                group_sizes: batches.group_sizes,
                autopause_after_batch: batches.autopause_after_batch,
            },
        }
    }
}

impl From<&UpdateStrategy> for JobUpdateStrategy {
    fn from(strategy: &UpdateStrategy) -> Self {
        match strategy {
            UpdateStrategy::Queue { group_size } => {
                JobUpdateStrategy::Queue(QueueJobUpdateStrategy { group_size: *group_size })
            }
            UpdateStrategy::Batch { group_size, autopause_after_batch } => {
                JobUpdateStrategy::Batch(BatchJobUpdateStrategy {
                    group_size: *group_size,
                    autopause_after_batch: *autopause_after_batch,
                })
            }
            UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch } => {
                JobUpdateStrategy::VariableBatch(VariableBatchJobUpdateStrategy {
                    group_sizes: group_sizes.clone(),
                    autopause_after_batch: *autopause_after_batch,
                })
            }
        }
    }
}

impl TryFrom<JobUpdateSettings> for UpdateSettings {
    type Error = ConversionError;

    /// Without a strategy the two deprecated fields say which one is meant (spec thrift-api 2.3).
    fn try_from(settings: JobUpdateSettings) -> Result<Self> {
        let group_size = settings.update_group_size;
        let legacy = if settings.wait_for_batch_completion {
            UpdateStrategy::Batch { group_size, autopause_after_batch: false }
        } else {
            UpdateStrategy::Queue { group_size }
        };
        let ranges: Vec<InstanceRange> =
            settings.update_only_these_instances.into_iter().map(InstanceRange::try_from).collect::<Result<_>>()?;
        let named: i64 = ranges.iter().map(|range| i64::from(range.last) - i64::from(range.first) + 1).sum();
        if named > MAX_NAMED_INSTANCES {
            return refuse(format!("The update names {named} instances; at most {MAX_NAMED_INSTANCES} are possible."));
        }
        Ok(UpdateSettings {
            strategy: settings.update_strategy.map_or(legacy, UpdateStrategy::from),
            max_per_instance_failures: settings.max_per_instance_failures,
            max_failed_instances: settings.max_failed_instances,
            min_wait_in_running_ms: settings.min_wait_in_instance_running_ms,
            rollback_on_failure: settings.rollback_on_failure,
            only_these_instances: ranges,
            block_if_no_pulses_after_ms: settings.block_if_no_pulses_after_ms,
            sla_aware: settings.sla_aware.unwrap_or(false),
        })
    }
}

impl From<&UpdateSettings> for JobUpdateSettings {
    /// The deprecated fields are filled too, for readers that know no strategies.
    fn from(settings: &UpdateSettings) -> Self {
        let (group_size, is_batch) = match &settings.strategy {
            UpdateStrategy::Queue { group_size } => (*group_size, false),
            UpdateStrategy::Batch { group_size, .. } => (*group_size, true),
            UpdateStrategy::VariableBatch { group_sizes, .. } => (group_sizes.first().copied().unwrap_or(0), true),
        };
        JobUpdateSettings {
            update_group_size: group_size,
            max_per_instance_failures: settings.max_per_instance_failures,
            max_failed_instances: settings.max_failed_instances,
            min_wait_in_instance_running_ms: settings.min_wait_in_running_ms,
            rollback_on_failure: settings.rollback_on_failure,
            update_only_these_instances: settings.only_these_instances.iter().map(Range::from).collect(),
            wait_for_batch_completion: is_batch,
            block_if_no_pulses_after_ms: settings.block_if_no_pulses_after_ms,
            sla_aware: Some(settings.sla_aware),
            update_strategy: Some(JobUpdateStrategy::from(&settings.strategy)),
        }
    }
}

impl TryFrom<JobUpdateRequest> for UpdateRequest {
    type Error = ConversionError;

    fn try_from(request: JobUpdateRequest) -> Result<Self> {
        Ok(UpdateRequest {
            task: required(request.task_config, "The task configuration")?.try_into()?,
            instance_count: request.instance_count,
            settings: required(request.settings, "The update settings")?.try_into()?,
            metadata: request.metadata.unwrap_or_default().into_iter().map(model::Metadata::from).collect(),
        })
    }
}

impl From<&UpdateRequest> for JobUpdateRequest {
    fn from(request: &UpdateRequest) -> Self {
        JobUpdateRequest {
            task_config: Some(TaskConfig::from(&request.task)),
            instance_count: request.instance_count,
            settings: Some(JobUpdateSettings::from(&request.settings)),
            metadata: Some(request.metadata.iter().map(Metadata::from).collect()),
        }
    }
}

impl From<&InstanceConfig> for InstanceTaskConfig {
    fn from(config: &InstanceConfig) -> Self {
        InstanceTaskConfig {
            task: Some(TaskConfig::from(&config.task)),
            instances: config.instances.iter().map(Range::from).collect(),
        }
    }
}

impl From<&UpdateEvent> for JobUpdateEvent {
    fn from(event: &UpdateEvent) -> Self {
        JobUpdateEvent {
            status: Some(event.status.into()),
            timestamp_ms: event.timestamp_ms,
            user: event.user.clone(),
            message: event.message.clone(),
        }
    }
}

impl From<&InstanceUpdateEvent> for JobInstanceUpdateEvent {
    fn from(event: &InstanceUpdateEvent) -> Self {
        JobInstanceUpdateEvent {
            instance_id: instance_to_wire(event.instance),
            timestamp_ms: event.timestamp_ms,
            action: Some(event.action.into()),
            message: event.message.clone(),
        }
    }
}

impl From<&Update> for JobUpdateSummary {
    fn from(update: &Update) -> Self {
        JobUpdateSummary {
            user: Some(update.user.clone()),
            state: Some(JobUpdateState {
                status: Some(update.status().into()),
                created_timestamp_ms: update.created_ms(),
                last_modified_timestamp_ms: update.last_modified_ms(),
            }),
            key: Some(JobUpdateKey::from(&update.key)),
            metadata: Some(update.metadata.iter().map(Metadata::from).collect()),
        }
    }
}

impl From<&Update> for JobUpdateDetails {
    fn from(update: &Update) -> Self {
        JobUpdateDetails {
            update: Some(JobUpdate {
                summary: Some(JobUpdateSummary::from(update)),
                instructions: Some(JobUpdateInstructions {
                    initial_state: Set(update.initial.iter().map(InstanceTaskConfig::from).collect()),
                    desired_state: update.desired.as_ref().map(InstanceTaskConfig::from),
                    settings: Some(JobUpdateSettings::from(&update.settings)),
                }),
            }),
            update_events: update.events.iter().map(JobUpdateEvent::from).collect(),
            instance_events: update.instance_events.iter().map(JobInstanceUpdateEvent::from).collect(),
        }
    }
}
