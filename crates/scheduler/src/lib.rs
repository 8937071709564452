//! The deterministic core: inputs in, records and effects out.
//!
//! [`Scheduler::step`] is a function of its state and its arguments: the same inputs give the same records and effects, bit for
//! bit. It does no IO, has no clock, thread or randomness of its own, and no map whose order could leak into an effect. Records
//! ([`record`]) are the durable schema; effects are held back by the caller until the records of their step are durable.
//!
//! Inside, downwards only: commands and engine events → cron → updates → tasks → placement. [`Scheduler`] holds cron, the updates and
//! a core of tables ([`View`]) and what is derived from them; changes of tasks reach the controller through a queue. Only
//! `tasks::transition` changes a task's status, by the one table in [`tasks::table`]. A step's work is bounded
//! ([`Settings::max_step_work`]); what is left goes on with [`Input::Resume`].
//!
//! Not here: workflows.

pub mod admin;
mod admission;
pub mod command;
mod commands;
mod core;
pub mod cron;
mod engine_events;
pub mod forecast;
pub mod idempotency;
pub mod input;
pub mod maintenance;
mod placement;
mod quota;
mod random;
mod reconciliation;
pub mod record;
mod recovery;
pub mod restore;
mod scheduler;
pub mod settings;
mod silence;
pub mod sla;
mod store;
pub mod task;
pub mod tasks;
mod timers;
mod updates;
mod verify;
pub mod view;

pub use admin::AdminCommand;
pub use command::{Command, MaintenanceCommand, Reply, ReplyCode};
pub use idempotency::{Idempotency, IdempotencyKey};
pub use input::{Effect, Input, Now, Output, Principal, RequestId, Transition};
pub use record::{Record, RecordError};
pub use scheduler::{PlacementWork, Scheduler};
pub use settings::Settings;
pub use sla::coordinator::{CoordinatorAnswer, CoordinatorQuestion};
pub use task::{SharedText, Task, TaskEvent};
pub use updates::progress::{InstanceProgress, InstanceStage};
pub use view::View;
