//! Tasks: the transition table and what carries it out, rescheduling, timers, and the forgetting of old runs. Only
//! `transition` changes a task's status.

pub(crate) mod index;
pub(crate) mod pruning;
pub(crate) mod reschedule;
pub mod table;
pub(crate) mod transition;
