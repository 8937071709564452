//! What a user asks to be run: jobs, tasks, constraints, containers, resources and policies (spec thrift-api 2.3 and 2.4).

use std::collections::BTreeMap;

use super::{CronCollisionPolicy, Mode};
use crate::wire::Set;

thrift_struct! {
    /// Role, environment and name of a job.
    pub struct JobKey { 1 role: String, 2 environment: String, 3 name: String }
    /// One instance of a job.
    pub struct InstanceKey { 1 job_key: Option<JobKey>, 2 instance_id: i32 }
    /// Who owns a job.
    pub struct Identity { 2 user: String }
    /// One attribute of a host with its values.
    pub struct Attribute { 1 name: String, 2 values: Set<String> }
    /// What is known about a host.
    pub struct HostAttributes {
        1 host: String,
        2 attributes: Set<Attribute>,
        3 mode: Option<super::MaintenanceMode>,
        4 slave_id: Option<String>,
    }
    /// An attribute must (or, negated, must not) have one of these values.
    pub struct ValueConstraint { 1 negated: bool, 2 values: Set<String> }
    /// At most so many instances per value of the attribute.
    pub struct LimitConstraint { 1 limit: i32 }
    /// A constraint on an attribute.
    pub struct Constraint { 1 name: String, 2 constraint: Option<TaskConstraint> }
    /// A package; in no method's signature.
    pub struct Package { 1 role: String, 2 name: String, 3 version: i32 }
    /// A label.
    pub struct Metadata { 1 key: String, 2 value: String }
    /// A parameter for Docker.
    pub struct DockerParameter { 1 name: String, 2 value: String }
    /// A lock; in no method's signature.
    pub struct Lock {
        1 key: Option<LockKey>,
        2 token: String,
        3 user: String,
        4 timestamp_ms: i64,
        5 message: Option<String>,
    }
    /// A file fetched into the sandbox before the task starts.
    pub struct MesosFetcherUri {
        1 value: String,
        2 extract: Option<bool>,
        3 cache: Option<bool>,
        4 output_file: Option<String>,
    }
    /// The executor and its document, which is never interpreted on the way. `getTasksWithoutConfigs` leaves the document out.
    pub struct ExecutorConfig { 1 name: String, 2 data: Option<String> }
    /// A path of the host mounted into a container.
    pub struct Volume { 1 container_path: String, 2 host_path: String, 3 mode: Option<Mode> }
    /// An image of a Docker registry.
    pub struct DockerImage { 1 name: String, 2 tag: String }
    /// An AppC image.
    pub struct AppcImage { 1 name: String, 2 image_id: String }
    /// The Mesos containerizer.
    pub struct MesosContainer { 1 image: Option<Image>, 2 volumes: Option<Vec<Volume>> }
    /// The Docker containerizer.
    pub struct DockerContainer { 1 image: String, 2 parameters: Option<Vec<DockerParameter>> }
    /// What happens to a task whose agent is partitioned away.
    pub struct PartitionPolicy { 1 reschedule: bool, 2 delay_secs: Option<i64> }
    /// So many per cent must have been up for so long.
    pub struct PercentageSlaPolicy { 1 percentage: f64, 2 duration_secs: i64 }
    /// So many instances must have been up for so long.
    pub struct CountSlaPolicy { 1 count: i64, 2 duration_secs: i64 }
    /// Another service is asked.
    pub struct CoordinatorSlaPolicy { 1 coordinator_url: String, 2 status_key: String }
    /// What one instance is.
    pub struct TaskConfig {
        7 is_service: bool,
        11 priority: i32,
        13 max_task_failures: i32,
        17 owner: Option<Identity>,
        18 production: Option<bool>,
        20 constraints: Set<Constraint>,
        22 task_links: Option<BTreeMap<String, String>>,
        23 contact_email: Option<String>,
        25 executor_config: Option<ExecutorConfig>,
        27 metadata: Option<Set<Metadata>>,
        28 job: Option<JobKey>,
        29 container: Option<Container>,
        30 tier: Option<String>,
        32 resources: Set<Resource>,
        33 mesos_fetcher_uris: Option<Set<MesosFetcherUri>>,
        34 partition_policy: Option<PartitionPolicy>,
        35 sla_policy: Option<SlaPolicy>,
    }
    /// What a job is.
    pub struct JobConfiguration {
        4 cron_schedule: Option<String>,
        5 cron_collision_policy: Option<CronCollisionPolicy>,
        6 task_config: Option<TaskConfig>,
        7 owner: Option<Identity>,
        8 instance_count: i32,
        9 key: Option<JobKey>,
    }
    /// A sum of resources.
    pub struct ResourceAggregate { 4 resources: Set<Resource> }
}

thrift_union! {
    /// The two forms of a constraint.
    pub enum TaskConstraint { 1 value Value(ValueConstraint), 2 limit Limit(LimitConstraint) }
    /// What a lock protects.
    pub enum LockKey { 1 job Job(JobKey) }
    /// The two kinds of image.
    pub enum Image { 1 docker Docker(DockerImage), 2 appc Appc(AppcImage) }
    /// The two kinds of container.
    pub enum Container { 1 mesos Mesos(MesosContainer), 2 docker Docker(DockerContainer) }
    /// An amount of one resource.
    pub enum Resource {
        1 num_cpus NumCpus(f64),
        2 ram_mb RamMb(i64),
        3 disk_mb DiskMb(i64),
        4 named_port NamedPort(String),
        5 num_gpus NumGpus(i64),
    }
    /// The three kinds of service level agreement.
    pub enum SlaPolicy {
        1 percentage_sla_policy Percentage(PercentageSlaPolicy),
        2 count_sla_policy Count(CountSlaPolicy),
        3 coordinator_sla_policy Coordinator(CoordinatorSlaPolicy),
    }
}
