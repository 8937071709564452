//! The command lines: `aurora` with its verbs, and `daybreak` for people who start here. Tables, progress, exit codes; no scheduling rules.
//! A daemon is started by executing this program again, never by linking it.

pub mod aurora;
pub mod clusters;
pub mod console;
pub mod evaluation;
pub mod exit;
pub mod files;
pub mod http;
pub mod scheduler;
pub mod syntax;
pub mod world;

#[cfg(test)]
mod testing;
