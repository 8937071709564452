//! The configuration of a task: everything that makes two instances equal or different (spec thrift-api 2.3). Not its state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::constraint::Constraint;
use crate::container::{Container, FetcherUri};
use crate::key::JobKey;
use crate::resource::{CpuMillis, Resources};

/// Name of the executor that runs Thermos-style processes.
pub const AURORA_EXECUTOR_NAME: &str = "AuroraExecutor";

/// Which executor runs a task, and the text handed to it, kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutorConfig {
    /// Name, e.g. [`AURORA_EXECUTOR_NAME`].
    pub name: String,
    /// Opaque to the scheduler.
    pub data: String,
}

/// A key and value of a user's own; the same key may occur with several values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// What happens to a task whose agent is unreachable (spec scheduler 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionPolicy {
    /// Whether a replacement is wanted.
    pub reschedule: bool,
    /// Seconds before that; unset means 0.
    pub delay_secs: Option<i64>,
}

/// How many instances must stay up while others are killed (spec scheduler 5.2). Percentages in thousandths of a percent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlaPolicy {
    /// A share of the instances.
    Percentage {
        /// The bits of the percentage as an IEEE double, so that equality is exact.
        percentage_bits: u64,
        /// For at least this long.
        duration_secs: i64,
    },
    /// A number of instances.
    Count {
        /// How many.
        count: i64,
        /// For at least this long.
        duration_secs: i64,
    },
    /// A foreign coordinator is asked.
    Coordinator {
        /// Where.
        coordinator_url: String,
        /// Which key of its answer decides.
        status_key: String,
    },
}

/// Configuration of a task. Equality of all fields decides whether an update changes anything (spec scheduler 3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskConfig {
    /// The job.
    pub job: JobKey,
    /// User who owns it; may be empty.
    pub owner: String,
    /// Rescheduled whenever it ends.
    pub is_service: bool,
    /// Matters in preemption only.
    pub priority: i32,
    /// Runs that may fail; -1 for ever (spec scheduler 1.4).
    pub max_task_failures: i32,
    /// Derived from the tier on admission.
    pub production: Option<bool>,
    /// Name of the tier; filled with the default on admission.
    pub tier: Option<String>,
    /// CPU, memory, disk, GPU asked for, without executor overhead. `ports` is the number of `requested_ports`.
    pub resources: Resources,
    /// Names of the ports asked for.
    pub requested_ports: BTreeSet<String>,
    /// Placement constraints.
    pub constraints: BTreeSet<Constraint>,
    /// Links shown on pages.
    pub task_links: BTreeMap<String, String>,
    /// Whom to tell.
    pub contact_email: Option<String>,
    /// Executor and its data.
    pub executor_config: Option<ExecutorConfig>,
    /// The user's own.
    pub metadata: BTreeSet<Metadata>,
    /// Container.
    pub container: Container,
    /// Files for the fetcher.
    pub mesos_fetcher_uris: BTreeSet<FetcherUri>,
    /// On partition.
    pub partition_policy: Option<PartitionPolicy>,
    /// While killing.
    pub sla_policy: Option<SlaPolicy>,
}

impl TaskConfig {
    /// A batch task of `job` with the given resources, run by the Thermos-style executor with `data`.
    pub fn new(job: JobKey, cpu_cores: f64, ram_mb: i64, disk_mb: i64, data: impl Into<String>) -> Self {
        let owner = job.role.clone();
        Self {
            job,
            owner,
            is_service: false,
            priority: 0,
            max_task_failures: 1,
            production: None,
            tier: None,
            resources: Resources { cpu: CpuMillis::from_cores(cpu_cores), ram_mb, disk_mb, ports: 0, gpus: 0 },
            requested_ports: BTreeSet::new(),
            constraints: BTreeSet::new(),
            task_links: BTreeMap::new(),
            contact_email: None,
            executor_config: Some(ExecutorConfig { name: AURORA_EXECUTOR_NAME.into(), data: data.into() }),
            metadata: BTreeSet::new(),
            container: Container::default(),
            mesos_fetcher_uris: BTreeSet::new(),
            partition_policy: None,
            sla_policy: None,
        }
    }

    /// The constraint of that name, if any.
    pub fn constraint(&self, name: &str) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| constraint.name == name)
    }
}
