//! The command lines: `aurora` with its verbs, and `daybreak` for people who start here. Tables, progress, exit codes; no scheduling rules.
//! A daemon is started by executing this program again, never by linking it.

pub mod admin;
pub mod aurora;
pub mod clusters;
pub mod command;
pub mod completion;
pub mod console;
pub mod daybreak;
#[cfg(feature = "evaluator")]
mod docker_registry;
pub mod evaluation;
pub mod exit;
pub mod files;
pub mod hooks;
pub mod http;
pub mod leader;
mod netrc;
mod paint;
mod programs;
mod run;
pub mod scheduler;
pub mod syntax;
pub mod thermos;
mod tls;
mod tutorial;
pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;

pub use daybreak::Hooks;
pub use daybreak::arguments::{
    EngineName, JournalArguments, JournalVerb, LogFormat, UpArguments, default_state_directory,
};
pub use daybreak::backup_arguments::BackupArguments;
pub use daybreak::mesos_arguments::{JobArguments, MesosArguments, OfferArguments};
pub use daybreak::service_level_arguments::{ServiceLevelArguments, SlaFigure, SlaFigures};
pub use daybreak::tuning_arguments::{AuthenticationMechanism, SecurityArguments, TuningArguments};
pub use daybreak::zookeeper_arguments::ZookeeperArguments;

/// Runs `aurora`. The first argument is the name the program was called by.
pub fn main_aurora(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    daybreak::run_aurora(arguments.into_iter().collect())
}

/// Runs `aurora_admin`. The first argument is the name the program was called by.
pub fn main_aurora_admin(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    daybreak::run_aurora_admin(arguments.into_iter().collect())
}

/// Runs `aurora-scheduler`. The first argument is the name the program was called by.
pub fn main_scheduler(arguments: impl IntoIterator<Item = OsString>, hooks: &Hooks) -> ExitCode {
    daybreak::run_scheduler(arguments.into_iter().collect(), hooks)
}

/// Runs `thermos`. The first argument is the name the program was called by.
pub fn main_thermos(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    thermos::run(arguments.into_iter().collect())
}

/// Runs `thermos_observer`. The first argument is the name the program was called by.
pub fn main_observer(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    daybreak::run_observer(arguments.into_iter().collect())
}

/// Runs `daybreak`. The first argument is the name the program was called by.
pub fn main_daybreak(arguments: impl IntoIterator<Item = OsString>, hooks: &Hooks) -> ExitCode {
    daybreak::run(arguments.into_iter().collect(), hooks)
}

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod testing;
