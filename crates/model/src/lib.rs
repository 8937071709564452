//! The words of the domain: job keys, configurations, resources, constraints, statuses, updates, the process schema.
//!
//! What it is: plain data with the rules that need nothing else (identifiers, admission checks, cron schedules, the process planner).
//! What it is not: a place for IO, clocks, threads, wire formats or scheduling decisions.

pub mod constraint;
pub mod container;
pub mod cron;
pub mod environment;
pub mod executor;
pub mod job;
pub mod key;
pub mod maintenance;
pub mod process;
pub mod resource;
pub mod status;
pub mod task;
pub mod tier;
pub mod update;
pub mod validation;

pub use constraint::{Constraint, TaskConstraint};
pub use job::{CronCollisionPolicy, JobConfiguration};
pub use key::{Host, InstanceId, JobKey, Role, TaskId, UpdateKey};
pub use maintenance::MaintenanceMode;
pub use resource::{CpuMillis, Ports, ResourceType, Resources};
pub use status::TaskStatus;
pub use task::{ExecutorConfig, Metadata, TaskConfig};
pub use tier::{Tier, Tiers};
