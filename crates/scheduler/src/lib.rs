//! The deterministic core: inputs in, records and effects out.
//!
//! [`Scheduler::step`] is a function of its state and its arguments: the same inputs give the same records and effects, bit for
//! bit. It does no IO, has no clock, thread or randomness of its own, and no map whose order could leak into an effect. Records
//! ([`record`]) are the durable schema; effects are held back by the caller until the records of their step are durable.
//!
//! Inside, downwards only: updates → tasks → placement; only `tasks::transition` changes a task's status.

pub mod command;
mod commands;
mod core;
mod engine_events;
pub mod input;
mod placement;
mod quota;
mod random;
pub mod record;
mod recovery;
mod scheduler;
pub mod settings;
mod store;
pub mod task;
pub mod tasks;
mod timers;
mod updates;
mod verify;
pub mod view;

pub use command::{Command, Reply, ReplyCode};
pub use input::{Effect, Input, Now, Output, Principal, RequestId, Transition};
pub use record::{Record, RecordError};
pub use scheduler::{PlacementWork, Scheduler};
pub use settings::Settings;
pub use task::{Task, TaskEvent};
pub use view::View;
