//! The stored messages, field by field. A number, once given, keeps its meaning for ever; new fields get new numbers.
//! Unset optional fields and empty lists take no room.

#![allow(missing_docs)] // The fields say what the fields of `model` of the same names say.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct JobKeyMessage {
    #[prost(string, tag = "1")]
    pub role: String,
    #[prost(string, tag = "2")]
    pub environment: String,
    #[prost(string, tag = "3")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourcesMessage {
    #[prost(sint64, tag = "1")]
    pub cpu_millis: i64,
    #[prost(sint64, tag = "2")]
    pub ram_mb: i64,
    #[prost(sint64, tag = "3")]
    pub disk_mb: i64,
    #[prost(sint64, tag = "4")]
    pub ports: i64,
    #[prost(sint64, tag = "5")]
    pub gpus: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PairMessage {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConstraintMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Present for a limit; absent for a value constraint.
    #[prost(sint32, optional, tag = "2")]
    pub limit: Option<i32>,
    #[prost(bool, tag = "3")]
    pub negated: bool,
    #[prost(string, repeated, tag = "4")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VolumeMessage {
    #[prost(string, tag = "1")]
    pub container_path: String,
    #[prost(string, tag = "2")]
    pub host_path: String,
    #[prost(bool, tag = "3")]
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerMessage {
    /// Present for a Docker container; the fields up to 9 belong to it.
    #[prost(string, optional, tag = "1")]
    pub docker_image: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub docker_parameters: Vec<PairMessage>,
    /// Image of the engine's own isolation: a Docker image's name and tag, or an AppC image's name and id.
    #[prost(message, optional, tag = "10")]
    pub image_docker: Option<PairMessage>,
    #[prost(message, optional, tag = "11")]
    pub image_appc: Option<PairMessage>,
    #[prost(message, repeated, tag = "12")]
    pub volumes: Vec<VolumeMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FetcherUriMessage {
    #[prost(string, tag = "1")]
    pub value: String,
    #[prost(bool, optional, tag = "2")]
    pub extract: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub cache: Option<bool>,
    #[prost(string, optional, tag = "4")]
    pub output_file: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionPolicyMessage {
    #[prost(bool, tag = "1")]
    pub reschedule: bool,
    #[prost(sint64, optional, tag = "2")]
    pub delay_secs: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SlaPolicyMessage {
    /// Exactly one of fields 1, 2 and 3 is present; it says which policy this is.
    #[prost(fixed64, optional, tag = "1")]
    pub percentage_bits: Option<u64>,
    #[prost(sint64, optional, tag = "2")]
    pub count: Option<i64>,
    #[prost(message, optional, tag = "3")]
    pub coordinator: Option<PairMessage>,
    #[prost(sint64, tag = "4")]
    pub duration_secs: i64,
}

/// Value of the table of configurations; its key is the id, eight bytes, high byte first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigMessage {
    #[prost(message, optional, tag = "1")]
    pub job: Option<JobKeyMessage>,
    #[prost(string, tag = "2")]
    pub owner: String,
    #[prost(bool, tag = "3")]
    pub is_service: bool,
    #[prost(sint32, tag = "4")]
    pub priority: i32,
    #[prost(sint32, tag = "5")]
    pub max_task_failures: i32,
    #[prost(bool, optional, tag = "6")]
    pub production: Option<bool>,
    #[prost(string, optional, tag = "7")]
    pub tier: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub resources: Option<ResourcesMessage>,
    #[prost(string, repeated, tag = "9")]
    pub requested_ports: Vec<String>,
    #[prost(message, repeated, tag = "10")]
    pub constraints: Vec<ConstraintMessage>,
    #[prost(message, repeated, tag = "11")]
    pub task_links: Vec<PairMessage>,
    #[prost(string, optional, tag = "12")]
    pub contact_email: Option<String>,
    /// Name and data.
    #[prost(message, optional, tag = "13")]
    pub executor: Option<PairMessage>,
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<PairMessage>,
    #[prost(message, optional, tag = "15")]
    pub container: Option<ContainerMessage>,
    #[prost(message, repeated, tag = "16")]
    pub fetcher_uris: Vec<FetcherUriMessage>,
    #[prost(message, optional, tag = "17")]
    pub partition_policy: Option<PartitionPolicyMessage>,
    #[prost(message, optional, tag = "18")]
    pub sla_policy: Option<SlaPolicyMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EventMessage {
    #[prost(sint64, tag = "1")]
    pub timestamp_ms: i64,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(string, optional, tag = "3")]
    pub message: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PortMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// Value of the table of tasks; its key is the task id.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskMessage {
    #[prost(uint64, tag = "1")]
    pub config: u64,
    #[prost(uint32, tag = "2")]
    pub instance: u32,
    #[prost(int32, tag = "3")]
    pub status: i32,
    #[prost(sint32, tag = "4")]
    pub failure_count: i32,
    #[prost(sint32, tag = "5")]
    pub times_partitioned: i32,
    #[prost(string, optional, tag = "6")]
    pub ancestor: Option<String>,
    #[prost(message, repeated, tag = "7")]
    pub events: Vec<EventMessage>,
    #[prost(string, optional, tag = "8")]
    pub agent_id: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub host: Option<String>,
    #[prost(message, repeated, tag = "10")]
    pub ports: Vec<PortMessage>,
    /// The role whose offer it took, where an engine knows several.
    #[prost(string, optional, tag = "11")]
    pub offer_role: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RangeMessage {
    #[prost(uint32, tag = "1")]
    pub first: u32,
    #[prost(uint32, tag = "2")]
    pub last: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpdateSettingsMessage {
    /// 0 queue, 1 batch, 2 variable batch.
    #[prost(uint32, tag = "1")]
    pub strategy: u32,
    #[prost(sint32, repeated, tag = "2")]
    pub group_sizes: Vec<i32>,
    #[prost(bool, tag = "3")]
    pub autopause_after_batch: bool,
    #[prost(sint32, tag = "4")]
    pub max_per_instance_failures: i32,
    #[prost(sint32, tag = "5")]
    pub max_failed_instances: i32,
    #[prost(sint32, tag = "6")]
    pub min_wait_in_running_ms: i32,
    #[prost(bool, tag = "7")]
    pub rollback_on_failure: bool,
    #[prost(message, repeated, tag = "8")]
    pub only_these_instances: Vec<RangeMessage>,
    #[prost(sint32, optional, tag = "9")]
    pub block_if_no_pulses_after_ms: Option<i32>,
    #[prost(bool, tag = "10")]
    pub sla_aware: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstanceConfigMessage {
    #[prost(message, optional, tag = "1")]
    pub task: Option<ConfigMessage>,
    #[prost(message, repeated, tag = "2")]
    pub instances: Vec<RangeMessage>,
}

/// Value of the table of updates; its key is role, environment, name and update id, each ended by a zero byte. What happens
/// later is in the tables of events.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpdateMessage {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(message, optional, tag = "2")]
    pub settings: Option<UpdateSettingsMessage>,
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<PairMessage>,
    #[prost(message, repeated, tag = "4")]
    pub initial: Vec<InstanceConfigMessage>,
    #[prost(message, optional, tag = "5")]
    pub desired: Option<InstanceConfigMessage>,
}

/// Value of the table of update events; its key is the update's, then the event's number in four bytes, high byte first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpdateEventMessage {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(sint64, tag = "2")]
    pub timestamp_ms: i64,
    #[prost(string, optional, tag = "3")]
    pub user: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub message: Option<String>,
}

/// Value of the table of instance events; its key is formed like that of an update event.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstanceEventMessage {
    #[prost(uint32, tag = "1")]
    pub instance: u32,
    #[prost(int32, tag = "2")]
    pub action: i32,
    #[prost(sint64, tag = "3")]
    pub timestamp_ms: i64,
    #[prost(string, optional, tag = "4")]
    pub message: Option<String>,
}

/// Value of the table of how far instances of active updates are; its key is the update's, then the instance in four bytes, high
/// byte first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProgressMessage {
    #[prost(int32, tag = "1")]
    pub stage: i32,
    #[prost(sint32, tag = "2")]
    pub failures: i32,
    #[prost(bool, tag = "3")]
    pub begun: bool,
}

/// Value of the table of the latest pulses of active updates; its key is the update's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PulseMessage {
    #[prost(sint64, tag = "1")]
    pub timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeMessage {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub values: Vec<String>,
}

/// Value of the table of hosts; its key is the host name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HostMessage {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<AttributeMessage>,
    /// Id of the maintenance mode; 0, as in records of versions that knew none, is NONE.
    #[prost(int32, tag = "3")]
    pub mode: i32,
}

/// Value of the table of wishes to drain hosts; its key is the host name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MaintenanceMessage {
    #[prost(message, optional, tag = "1")]
    pub default_policy: Option<SlaPolicyMessage>,
    #[prost(sint64, tag = "2")]
    pub timeout_secs: i64,
    #[prost(sint64, tag = "3")]
    pub created_ms: i64,
}

/// Value of the table of the scheduler's own identity; its key is empty.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IdentityMessage {
    #[prost(string, optional, tag = "1")]
    pub framework_id: Option<String>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(string, optional, tag = "3")]
    pub master: Option<String>,
    #[prost(sint64, tag = "4")]
    pub master_since_ms: i64,
}
