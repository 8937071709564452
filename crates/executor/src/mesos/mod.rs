//! The executor on a Mesos agent (spec executor 2, mesos 3.10): one process per task that speaks the v1 executor API to its agent and has
//! a supervisor run the task.
//!
//! - [`options`]: command line and environment.
//! - [`agent`]: the two connections to the agent, in threads of their own.
//! - [`book`]: tasks and updates that the agent has not stored yet.
//! - [`assignment`]: from what the agent delivers to what a supervisor runs.
//! - [`image`]: making the root file system of an image fit for the task.
//!
//! Beside them: `child`, the supervisor, a fork of this process made while it has one thread, and `mirror`, the checkpoint again, where and as
//! tools for Thermos read it.
//!
//! The supervisor records what happens and tells this process, which tells the agent. If the supervisor dies, this process kills what is
//! left, completes the record and reports; if this process dies, the supervisor kills the task, because nobody could report it any more.

mod agent;
mod assignment;
mod book;
mod image;
mod options;
mod run;

use std::process::ExitCode;

pub use options::{HELP, Options, VERSION};

/// Runs the executor with these arguments, without the program's name. The caller has no other thread yet.
pub fn main(arguments: &[String]) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let environment = match options::Environment::read(|name| std::env::var(name).ok()) {
        Ok(environment) => environment,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // Better now than with the first task that is to be announced.
    if let Some(path) = &options.announcer.auth_file
        && let Err(error) = discovery::AuthFile::load(path)
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::from(2);
    }
    match run::run(options, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("executor: {error}");
            ExitCode::FAILURE
        }
    }
}
