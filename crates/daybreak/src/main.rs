//! The multi-call binary: chooses by the name it was called by and by its first argument. No logic of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use client::{Hooks, JournalArguments, JournalVerb, LogFormat, UpArguments};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<String> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // The launcher must be the only thread of its process, so it comes before everything else.
    if let Some(code) = executor::launcher_main(&words) {
        return code;
    }
    if words.first().is_some_and(|word| word == config::CHILD_ARGUMENT) {
        config::evaluation_child_main();
    }
    let called = arguments.first().map(PathBuf::from).unwrap_or_default();
    match called.file_name().and_then(|name| name.to_str()) {
        Some("aurora") => client::main_aurora(arguments),
        Some("thermos") => client::main_thermos(arguments),
        Some("thermos_observer" | "thermos-observer") => client::main_observer(arguments),
        _ => client::main_daybreak(arguments, &Hooks { up, journal }),
    }
}

fn up(arguments: UpArguments) -> ExitCode {
    let state_dir = arguments.state_directory();
    // The file may be replaced while the daemon runs; the path stays right, the file descriptor behind /proc/self/exe would not.
    let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    server::daemon::main(&server::Options {
        state_dir: std::path::absolute(&state_dir).unwrap_or(state_dir),
        listen: arguments.listen,
        hostname: arguments.hostname,
        cluster: arguments.cluster,
        resources: arguments.resources,
        attributes: arguments.attributes,
        agents: arguments.agents,
        log_format: match arguments.log_format {
            LogFormat::Text => server::LogFormat::Text,
            LogFormat::Json => server::LogFormat::Json,
        },
        log_level: arguments.log_level,
        allow_root_role: arguments.allow_root_role,
        allow_unauthenticated: arguments.allow_unauthenticated,
        ephemeral: arguments.ephemeral,
        detached: arguments.detached,
        executable,
    })
}

fn journal(arguments: JournalArguments) -> ExitCode {
    let directory = |named: Option<PathBuf>| named.unwrap_or_else(client::default_state_directory);
    match arguments.verb {
        JournalVerb::Inspect { state_dir } => server::journal_tool::inspect(Path::new(&directory(state_dir))),
        JournalVerb::Salvage { state_dir } => server::journal_tool::salvage(Path::new(&directory(state_dir))),
    }
}
