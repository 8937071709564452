//! Rounds of one command on a Mesos cluster, as mesos-http-scheduler ran them: on a fixed tick up to N copies are going, in between nothing
//! is held, and a leader change interrupts nothing.
//!
//! A thin use of `engine-mesos`, not a second scheduler: [`rounds`] decides without IO when copies are started, [`arguments`] reads the
//! command line, [`run`] puts both on the engine. No job, no journal, no page of jobs: what it started is gone with it.

pub mod arguments;
mod health;
pub mod rounds;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;

pub use arguments::{Arguments, USAGE};

/// Runs the program. The first argument is the name it was called by.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words.first().map_or("mesos-http-scheduler", String::as_str).to_owned();
    match Arguments::parse(&words[words.len().min(1)..]) {
        Ok(arguments) => run::run(&arguments),
        Err(arguments::Refused::Help) => {
            eprintln!("Usage of {name}:\n{USAGE}");
            ExitCode::SUCCESS
        }
        Err(arguments::Refused::Wrong(why)) => {
            eprintln!("{why}\nUsage of {name}:\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
