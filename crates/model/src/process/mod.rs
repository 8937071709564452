//! The process schema of a task, the planner that says which process may run next, and late templates. No processes are started here.
//!
//! - [`schema`]: what an executor's payload may contain, with its defaults.
//! - [`payload`]: reading it leniently, once for all instances, and filling in what differs between them.
//! - [`health`]: what the results of health probes mean for a task.
//! - [`template`]: the references that are filled in when a task starts.
//! - [`check`]: what a task must satisfy before it may run.
//! - [`ports`]: names and numbers of ports, and which of them must be asked for.
//! - [`plan`]: which process may run now.
//! - [`state`]: the states of a run and of a task, and which may follow which.

pub mod check;
pub mod health;
pub mod payload;
pub mod plan;
pub mod ports;
mod reading;
pub mod schema;
pub mod state;
pub mod template;

pub use check::{Invalid, check_payload, check_task};
pub use payload::{Late, PayloadError};
pub use plan::{End, Plan, PlanError, RUN_LIMIT, TaskPlan};
pub use schema::{Payload, Process, Task};
pub use state::{Forced, ProcessState, StageFacts, TaskState};
pub use template::{LateReference, LateValues, TemplateError};
