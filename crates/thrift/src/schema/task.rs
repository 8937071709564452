//! Tasks as they are stored and asked for (spec thrift-api 2.3 and 2.4).

use std::collections::BTreeMap;

use super::{JobKey, MaintenanceMode, ScheduleStatus, SlaPolicy, TaskConfig};
use crate::wire::Set;

thrift_struct! {
    /// A selection of tasks: terms are joined by "and", members of a set by "or", an empty set restricts nothing.
    pub struct TaskQuery {
        2 job_name: Option<String>,
        4 task_ids: Option<Set<String>>,
        5 statuses: Option<Set<ScheduleStatus>>,
        7 instance_ids: Option<Set<i32>>,
        9 environment: Option<String>,
        10 slave_hosts: Option<Set<String>>,
        11 job_keys: Option<Set<JobKey>>,
        12 offset: Option<i32>,
        13 limit: Option<i32>,
        14 role: Option<String>,
    }
    /// A task and the place it was given.
    pub struct AssignedTask {
        1 task_id: String,
        2 slave_id: Option<String>,
        3 slave_host: Option<String>,
        4 task: Option<TaskConfig>,
        5 assigned_ports: BTreeMap<String, i32>,
        6 instance_id: i32,
    }
    /// One step of a task's history; the time in ms since 1970.
    pub struct TaskEvent {
        1 timestamp: i64,
        2 status: Option<ScheduleStatus>,
        3 message: Option<String>,
        4 scheduler: Option<String>,
    }
    /// A task with its state and history.
    pub struct ScheduledTask {
        1 assigned_task: Option<AssignedTask>,
        2 status: Option<ScheduleStatus>,
        3 failure_count: i32,
        4 task_events: Vec<TaskEvent>,
        5 ancestor_id: Option<String>,
        6 times_partitioned: i32,
    }
    /// Counts of a job's tasks.
    pub struct JobStats {
        1 active_task_count: i32,
        2 finished_task_count: i32,
        3 failed_task_count: i32,
        4 pending_task_count: i32,
    }
    /// A run of instance numbers, both ends included.
    pub struct Range { 1 first: i32, 2 last: i32 }
    /// Instances that share a configuration.
    pub struct ConfigGroup { 1 config: Option<TaskConfig>, 3 instances: Set<Range> }
    /// The configurations of a job.
    pub struct ConfigSummary { 1 key: Option<JobKey>, 2 groups: Set<ConfigGroup> }
    /// Why a task is still pending.
    pub struct PendingReason { 1 task_id: String, 2 reason: String }
    /// A host and its mode.
    pub struct HostStatus { 1 host: String, 2 mode: Option<MaintenanceMode> }
    /// Names of hosts.
    pub struct Hosts { 1 host_names: Set<String> }
    /// A request to drain a host; in no method's signature.
    pub struct HostMaintenanceRequest {
        1 host: String,
        2 default_sla_policy: Option<SlaPolicy>,
        3 timeout_secs: i64,
        4 created_timestamp_ms: i64,
    }
    /// How reconciliation is paced.
    pub struct ExplicitReconciliationSettings { 1 batch_size: Option<i32> }
}
