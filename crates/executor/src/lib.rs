//! Launcher, supervisor and the running of one task. Knows no other task and no job.
//!
//! - [`launcher`]: the tiny process that outlives the daemon and is the last parent of everything that tasks start.
//! - [`supervisor`]: a fork of the launcher that runs tasks, one at a time: processes, logs, limits, ending.
//! - [`mesos`]: the executor on a Mesos agent, which has one supervisor and no launcher.
//! - [`runner`]: one task without any engine, for the command line.
//! - [`aftermath`]: completing the checkpoint of a run whose supervisor is dead.
//! - [`system`]: the kernel calls underneath.
//!
//! Beside them: `checks`, whoever watches a task (health checks, the announcer), `announcer`, the helper process of the latter, `docker`,
//! the helper processes for containers, and `http`, the little HTTP they speak.
//!
//! Not here: offers, agents, acknowledgement (`engine-local`).

pub mod aftermath;
mod announcer;
mod checks;
mod child;
mod docker;
pub mod http;
pub mod launcher;
mod log;
pub mod mesos;
mod mirror;
pub mod runner;
pub mod supervisor;
pub mod system;

use std::path::PathBuf;
use std::process::ExitCode;

/// First argument with which a program is told to be a launcher; the engine directory follows.
pub const LAUNCHER_ARGUMENT: &str = "__launcher";

/// Runs the launcher, or a helper of a supervisor, if `arguments` (without the program's name) ask for it. A program that can be a
/// launcher calls this before it does anything else: the launcher must be the only thread.
pub fn launcher_main(arguments: &[String]) -> Option<ExitCode> {
    if arguments.first().is_some_and(|mode| mode == checkpoint::layout::RUNNER_ARGUMENT) {
        return Some(runner::main());
    }
    let [mode, directory] = arguments else { return None };
    if mode == announcer::ARGUMENT {
        return Some(announcer::main());
    }
    if mode == docker::ARGUMENT {
        return Some(docker::main(directory));
    }
    if mode != LAUNCHER_ARGUMENT {
        return None;
    }
    Some(match launcher::run(&PathBuf::from(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("launcher: {error}");
            ExitCode::FAILURE
        }
    })
}
