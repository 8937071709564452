//! Whole clusters from a seed: a scheduler in its loop, a disk, an engine with agents and tasks, users, and everything that goes wrong
//! between them. No thread, no clock, no file: a seed repeats its run bit for bit.
//!
//! - [`run`]: one run, from the first input until everything has come to rest.
//! - [`expected`]: what a task's state machine must do, typed from the reference.
//! - [`coverage`]: what a set of runs has met.
//! - [`mutation`]: bugs planted to show that they would be found.
//!
//! The judge looks at the core from outside, after each step: no instance is active twice, no ended task comes back, only allowed
//! changes happen and each with what must go with it, an answer and what was done agree, nothing leaves before it is durable, what a
//! crash leaves is what was known, and no deadline passes unseen. The engine checks that nothing is launched twice or beyond an agent's
//! room. At the end, when all is repaired, scheduler and engine must agree about every task.

mod affinity;
pub mod chance;
pub mod coverage;
mod cron;
mod disk;
pub mod expected;
mod maintenance;
pub mod mutation;
mod observed;
mod oracle;
mod repetition;
mod restore;
pub mod run;
mod schedule;
mod settings;
mod words;
mod workload;
mod world;
