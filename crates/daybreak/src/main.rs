//! The multi-call binary: chooses by the name it was called by and by its first argument. No logic of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use client::{Hooks, JournalArguments, JournalVerb};

mod tuning;
mod up;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<String> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // The launcher must be the only thread of its process, so it comes before everything else.
    if let Some(code) = executor::launcher_main(&words) {
        return code;
    }
    if words.first().is_some_and(|word| word == fetcher::CHILD_ARGUMENT) {
        return fetcher::child_main();
    }
    if let Some(code) = compose::child_main(&words) {
        return code;
    }
    if words.first().is_some_and(|word| word == config::CHILD_ARGUMENT) {
        config::evaluation_child_main();
    }
    let called = arguments.first().map(PathBuf::from).unwrap_or_default();
    match called.file_name().and_then(|name| name.to_str()) {
        Some("aurora") => client::main_aurora(arguments),
        Some("aurora_admin" | "aurora-admin") => client::main_aurora_admin(arguments),
        Some("mesos-http-scheduler") => etl::main(arguments),
        Some("aurora-scheduler" | "aurora_scheduler") => {
            client::main_scheduler(arguments, &Hooks { up: up::up, journal })
        }
        Some("thermos") => client::main_thermos(arguments),
        Some("thermos_observer" | "thermos-observer") => client::main_observer(arguments),
        // Its flags have one dash, as in the program whose place it takes.
        _ if words.first().is_some_and(|word| word == "etl") => etl::main(arguments.into_iter().skip(1)),
        _ => client::main_daybreak(arguments, &Hooks { up: up::up, journal }),
    }
}

fn journal(arguments: JournalArguments) -> ExitCode {
    let directory = |named: Option<PathBuf>| named.unwrap_or_else(client::default_state_directory);
    match arguments.verb {
        JournalVerb::Inspect { state_dir, output } => {
            server::journal_tool::inspect(Path::new(&directory(state_dir)), output.json)
        }
        JournalVerb::Restore { backup, state_dir, kill_later_tasks } => {
            server::restore_tool::restore(&directory(state_dir), &backup, kill_later_tasks)
        }
        JournalVerb::Salvage { state_dir } => server::journal_tool::salvage(Path::new(&directory(state_dir))),
    }
}
