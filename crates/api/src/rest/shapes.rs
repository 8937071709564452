//! What several answers hold: amounts, instances, configurations of tasks, keys. Only shapes; what is told where is in the other files.

use std::collections::BTreeMap;

use model::constraint::TaskConstraint;
use model::container::{Container, Image, VolumeMode};
use model::task::SlaPolicy;
use model::update::to_ranges;
use model::{JobKey, MaintenanceMode, TaskConfig, TaskStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Amounts of what machines have.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Processors, in cores; exact to a thousandth.
    #[schema(example = 0.5)]
    pub cpus: f64,
    /// Memory, in MB.
    #[schema(example = 128)]
    pub ram_mb: i64,
    /// Disk, in MB.
    #[schema(example = 1024)]
    pub disk_mb: i64,
    /// Graphics processors, whole ones.
    #[schema(example = 0)]
    pub gpus: i64,
    /// Number of ports.
    #[schema(example = 1)]
    pub ports: i64,
}

impl From<&model::Resources> for Resources {
    fn from(amounts: &model::Resources) -> Self {
        Self {
            cpus: amounts.cpu.cores(),
            ram_mb: amounts.ram_mb,
            disk_mb: amounts.disk_mb,
            gpus: amounts.gpus,
            ports: amounts.ports,
        }
    }
}

/// Instances that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstanceRange {
    /// The first.
    #[schema(example = 0)]
    pub first: u32,
    /// The last; the same as the first where it is only one.
    #[schema(example = 2)]
    pub last: u32,
}

/// Instances as few ranges.
pub fn ranges(instances: impl IntoIterator<Item = u32>) -> Vec<InstanceRange> {
    of_ranges(&to_ranges(instances))
}

/// The same from the ranges of the model.
pub fn of_ranges(ranges: &[model::update::InstanceRange]) -> Vec<InstanceRange> {
    ranges.iter().map(|range| InstanceRange { first: range.first, last: range.last }).collect()
}

/// What tasks may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "RUNNING")]
pub enum TaskState {
    /// Just created.
    Init,
    /// Ended too soon too often, and waits before it is started again.
    Throttled,
    /// Waits for a machine.
    Pending,
    /// Placed; nothing was heard of it yet.
    Assigned,
    /// Being prepared.
    Starting,
    /// Runs, and is healthy where health is checked.
    Running,
    /// Makes room for a more important task.
    Preempting,
    /// Ends to be started again.
    Restarting,
    /// Moves away from its host.
    Draining,
    /// Being killed.
    Killing,
    /// Its agent is out of reach.
    Partitioned,
    /// Ended well.
    Finished,
    /// Ended badly.
    Failed,
    /// Ended because it was killed.
    Killed,
    /// Given up.
    Lost,
}

impl From<TaskStatus> for TaskState {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Init => Self::Init,
            TaskStatus::Throttled => Self::Throttled,
            TaskStatus::Pending => Self::Pending,
            TaskStatus::Assigned => Self::Assigned,
            TaskStatus::Starting => Self::Starting,
            TaskStatus::Running => Self::Running,
            TaskStatus::Preempting => Self::Preempting,
            TaskStatus::Restarting => Self::Restarting,
            TaskStatus::Draining => Self::Draining,
            TaskStatus::Killing => Self::Killing,
            TaskStatus::Partitioned => Self::Partitioned,
            TaskStatus::Finished => Self::Finished,
            TaskStatus::Failed => Self::Failed,
            TaskStatus::Killed => Self::Killed,
            TaskStatus::Lost => Self::Lost,
        }
    }
}

/// Whether a host takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "NONE")]
pub enum HostMode {
    /// It does.
    None,
    /// Maintenance is announced: it does where no other can.
    Scheduled,
    /// Its tasks are being moved away; it does not.
    Draining,
    /// No task is left there; it does not.
    Drained,
}

impl From<MaintenanceMode> for HostMode {
    fn from(mode: MaintenanceMode) -> Self {
        match mode {
            MaintenanceMode::None => Self::None,
            MaintenanceMode::Scheduled => Self::Scheduled,
            MaintenanceMode::Draining => Self::Draining,
            MaintenanceMode::Drained => Self::Drained,
        }
    }
}

/// What a host must have for a task, or how many of the job may be on what has the same value. `values` or `limit` is set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Constraint {
    /// An attribute of hosts.
    #[schema(example = "rack")]
    pub name: String,
    /// Values of which the attribute has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// The attribute has none of the values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
    /// Tasks of the job on all hosts with the same value, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub limit: Option<i32>,
}

impl From<&model::constraint::Constraint> for Constraint {
    fn from(constraint: &model::constraint::Constraint) -> Self {
        let (values, negated, limit) = match &constraint.constraint {
            TaskConstraint::Value { negated, values } => (Some(values.iter().cloned().collect()), *negated, None),
            TaskConstraint::Limit { limit } => (None, false, Some(*limit)),
        };
        Self { name: constraint.name.clone(), values, negated, limit }
    }
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Metadata {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
}

impl From<&model::task::Metadata> for Metadata {
    fn from(pair: &model::task::Metadata) -> Self {
        Self { key: pair.key.clone(), value: pair.value.clone() }
    }
}

/// What runs a task, and what it is told.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Executor {
    /// Name.
    #[schema(example = "AuroraExecutor")]
    pub name: String,
    /// Its own data, to the byte. For `AuroraExecutor` a document in JSON: processes, health checks, and what else a job file says.
    pub data: String,
}

/// What becomes of a task whose agent is out of reach.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionPolicy {
    /// It is started elsewhere.
    pub reschedule: bool,
    /// After so many seconds.
    pub delay_secs: Option<i64>,
}

/// How many instances must be up while hosts are drained or the job is updated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SlaRule {
    /// A share of them.
    #[serde(rename_all = "camelCase")]
    Percentage {
        /// So many percent.
        #[schema(example = 95.0)]
        percentage: f64,
        /// Up for so many seconds.
        #[schema(example = 1800)]
        duration_secs: i64,
    },
    /// A number of them.
    #[serde(rename_all = "camelCase")]
    Count {
        /// So many.
        #[schema(example = 2)]
        count: i64,
        /// Up for so many seconds.
        #[schema(example = 1800)]
        duration_secs: i64,
    },
    /// Somebody else knows.
    #[serde(rename_all = "camelCase")]
    Coordinator {
        /// Who is asked.
        #[schema(example = "http://coordinator.example/allow")]
        url: String,
        /// Field of the answer that says whether a task may go.
        #[schema(example = "drain")]
        status_key: String,
    },
}

impl From<&SlaPolicy> for SlaRule {
    fn from(policy: &SlaPolicy) -> Self {
        match policy {
            SlaPolicy::Percentage { percentage_bits, duration_secs } => {
                Self::Percentage { percentage: f64::from_bits(*percentage_bits), duration_secs: *duration_secs }
            }
            SlaPolicy::Count { count, duration_secs } => Self::Count { count: *count, duration_secs: *duration_secs },
            SlaPolicy::Coordinator { coordinator_url, status_key } => {
                Self::Coordinator { url: coordinator_url.clone(), status_key: status_key.clone() }
            }
        }
    }
}

impl From<SlaRule> for SlaPolicy {
    fn from(rule: SlaRule) -> Self {
        match rule {
            SlaRule::Percentage { percentage, duration_secs } => {
                Self::Percentage { percentage_bits: percentage.to_bits(), duration_secs }
            }
            SlaRule::Count { count, duration_secs } => Self::Count { count, duration_secs },
            SlaRule::Coordinator { url, status_key } => Self::Coordinator { coordinator_url: url, status_key },
        }
    }
}

/// What a task is put into.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskContainer {
    /// Whose: `MESOS`, the one that agents make themselves, with or without an image; or `DOCKER`.
    #[schema(example = "MESOS")]
    pub kind: &'static str,
    /// An image, `name:tag` or `name@id`.
    #[schema(example = "debian:12")]
    pub image: Option<String>,
    /// Directories of the host that are seen within.
    pub volumes: Vec<Volume>,
    /// Parameters of Docker.
    pub parameters: Vec<Metadata>,
}

/// A directory of the host that a task sees.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Where the task sees it.
    #[schema(example = "/data")]
    pub container_path: String,
    /// Where it is.
    #[schema(example = "/srv/data")]
    pub host_path: String,
    /// Whether the task may write there.
    pub writable: bool,
}

impl From<&Container> for TaskContainer {
    fn from(container: &Container) -> Self {
        let kind = container.kind().name();
        match container {
            Container::Mesos { image, volumes } => {
                let image = image.as_ref().map(|image| match image {
                    Image::Docker { name, tag } => format!("{name}:{tag}"),
                    Image::Appc { name, image_id } => format!("{name}@{image_id}"),
                });
                let volumes = volumes.iter().map(|volume| Volume {
                    container_path: volume.container_path.clone(),
                    host_path: volume.host_path.clone(),
                    writable: volume.mode == VolumeMode::Rw,
                });
                Self { kind, image, volumes: volumes.collect(), parameters: Vec::new() }
            }
            Container::Docker { image, parameters } => {
                let pair = |(key, value): &(String, String)| Metadata { key: key.clone(), value: value.clone() };
                let parameters = parameters.iter().map(pair).collect();
                Self { kind, image: Some(image.clone()), volumes: Vec::new(), parameters }
            }
        }
    }
}

/// Everything that makes two instances of a job equal or different.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskConfiguration {
    /// Who submitted it.
    #[schema(example = "alice")]
    pub owner: String,
    /// It is started again whenever it ends.
    pub is_service: bool,
    /// Among tasks of the same role, the higher may take the place of the lower.
    #[schema(example = 0)]
    pub priority: i32,
    /// So often it may end badly before it is given up; -1 is without end.
    #[schema(example = 1)]
    pub max_task_failures: i32,
    /// It counts against the quota of its role, and is not preempted.
    pub production: Option<bool>,
    /// Its tier, by name.
    #[schema(example = "preferred")]
    pub tier: Option<String>,
    /// What one instance takes.
    pub resources: Resources,
    /// Names of the ports that it is given.
    #[schema(example = json!(["http"]))]
    pub requested_ports: Vec<String>,
    /// Where it may run.
    pub constraints: Vec<Constraint>,
    /// Whom to ask about it.
    pub contact_email: Option<String>,
    /// What its file says about it, for people and programs.
    pub metadata: Vec<Metadata>,
    /// What it is put into.
    pub container: TaskContainer,
    /// What becomes of it when its agent is out of reach.
    pub partition_policy: Option<PartitionPolicy>,
    /// How many of its job must be up.
    pub sla_policy: Option<SlaRule>,
    /// What runs it.
    pub executor: Option<Executor>,
}

impl From<&TaskConfig> for TaskConfiguration {
    fn from(config: &TaskConfig) -> Self {
        Self {
            owner: config.owner.clone(),
            is_service: config.is_service,
            priority: config.priority,
            max_task_failures: config.max_task_failures,
            production: config.production,
            tier: config.tier.clone(),
            resources: (&config.resources).into(),
            requested_ports: config.requested_ports.iter().cloned().collect(),
            constraints: config.constraints.iter().map(Constraint::from).collect(),
            contact_email: config.contact_email.clone(),
            metadata: config.metadata.iter().map(Metadata::from).collect(),
            container: (&config.container).into(),
            partition_policy: config
                .partition_policy
                .map(|policy| PartitionPolicy { reschedule: policy.reschedule, delay_secs: policy.delay_secs }),
            sla_policy: config.sla_policy.as_ref().map(SlaRule::from),
            executor: config
                .executor_config
                .as_ref()
                .map(|executor| Executor { name: executor.name.clone(), data: executor.data.clone() }),
        }
    }
}

/// Instances that have the same configuration.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConfigurationGroup {
    /// Which.
    pub instances: Vec<InstanceRange>,
    /// What they have.
    pub configuration: TaskConfiguration,
}

/// How many tasks there are in each state; states without any are left out.
pub type TaskCounts = BTreeMap<&'static str, u64>;

/// Where a job is found below the API.
pub fn job_location(collection: &str, key: &JobKey) -> String {
    format!("/api/v1/{collection}/{}/{}/{}", key.role, key.environment, key.name)
}
