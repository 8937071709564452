//! Job updates (spec thrift-api 2.3 and 2.4).

use super::{JobKey, JobUpdateAction, JobUpdateStatus, Metadata, Range, TaskConfig};
use crate::wire::Set;

thrift_struct! {
    /// A job and the id of one of its updates.
    pub struct JobUpdateKey { 1 job: Option<JobKey>, 2 id: String }
    /// A fixed number of instances at a time, the next as soon as one is done.
    pub struct QueueJobUpdateStrategy { 1 group_size: i32 }
    /// A fixed number of instances at a time, the next when all are done.
    pub struct BatchJobUpdateStrategy { 1 group_size: i32, 2 autopause_after_batch: bool }
    /// A list of batch sizes.
    pub struct VariableBatchJobUpdateStrategy { 1 group_sizes: Vec<i32>, 2 autopause_after_batch: bool }
    /// How an update proceeds.
    pub struct JobUpdateSettings {
        1 update_group_size: i32,
        2 max_per_instance_failures: i32,
        3 max_failed_instances: i32,
        5 min_wait_in_instance_running_ms: i32,
        6 rollback_on_failure: bool,
        7 update_only_these_instances: Set<Range>,
        8 wait_for_batch_completion: bool,
        9 block_if_no_pulses_after_ms: Option<i32>,
        10 sla_aware: Option<bool>,
        11 update_strategy: Option<JobUpdateStrategy>,
    }
    /// A step of the update as a whole.
    pub struct JobUpdateEvent {
        1 status: Option<JobUpdateStatus>,
        2 timestamp_ms: i64,
        3 user: Option<String>,
        4 message: Option<String>,
    }
    /// A step of one instance in an update.
    pub struct JobInstanceUpdateEvent {
        1 instance_id: i32,
        2 timestamp_ms: i64,
        3 action: Option<JobUpdateAction>,
        4 message: Option<String>,
    }
    /// A configuration and the instances that have it.
    pub struct InstanceTaskConfig { 1 task: Option<TaskConfig>, 2 instances: Set<Range> }
    /// Where an update stands.
    pub struct JobUpdateState {
        1 status: Option<JobUpdateStatus>,
        2 created_timestamp_ms: i64,
        3 last_modified_timestamp_ms: i64,
    }
    /// An update in a list.
    pub struct JobUpdateSummary {
        3 user: Option<String>,
        4 state: Option<JobUpdateState>,
        5 key: Option<JobUpdateKey>,
        6 metadata: Option<Set<Metadata>>,
    }
    /// What an update is to do.
    pub struct JobUpdateInstructions {
        1 initial_state: Set<InstanceTaskConfig>,
        2 desired_state: Option<InstanceTaskConfig>,
        3 settings: Option<JobUpdateSettings>,
    }
    /// An update with its instructions.
    pub struct JobUpdate { 1 summary: Option<JobUpdateSummary>, 2 instructions: Option<JobUpdateInstructions> }
    /// An update with its history.
    pub struct JobUpdateDetails {
        1 update: Option<JobUpdate>,
        2 update_events: Vec<JobUpdateEvent>,
        3 instance_events: Vec<JobInstanceUpdateEvent>,
    }
    /// What a user asks an update to do.
    pub struct JobUpdateRequest {
        1 task_config: Option<TaskConfig>,
        2 instance_count: i32,
        3 settings: Option<JobUpdateSettings>,
        4 metadata: Option<Set<Metadata>>,
    }
    /// A selection of updates.
    pub struct JobUpdateQuery {
        2 role: Option<String>,
        3 job_key: Option<JobKey>,
        4 user: Option<String>,
        5 update_statuses: Option<Set<JobUpdateStatus>>,
        6 offset: Option<i32>,
        7 limit: Option<i32>,
        8 key: Option<JobUpdateKey>,
    }
}

thrift_union! {
    /// The three kinds of strategy.
    pub enum JobUpdateStrategy {
        1 queue_strategy Queue(QueueJobUpdateStrategy),
        2 batch_strategy Batch(BatchJobUpdateStrategy),
        3 var_batch_strategy VariableBatch(VariableBatchJobUpdateStrategy),
    }
}
