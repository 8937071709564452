//! `daybreak`: the commands for people who start here. The daemon and the journal's tools are not part of this crate: they come in through
//! [`Hooks`].

pub mod arguments;
pub mod backup_arguments;
mod completion;
pub mod config_convert;
mod configuration;
pub mod daemon;
pub mod explain;
mod flags;
pub mod judgement;
pub mod mesos_arguments;
pub mod observer;
pub mod plan;
pub mod scheduler_flags;
pub mod service_level_arguments;
pub mod telling;
pub mod tuning_arguments;
pub mod zookeeper_arguments;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::admin::arguments::AuroraAdmin;
use crate::aurora;
use crate::aurora::arguments::Aurora;
use crate::clusters::Clusters;
use crate::command;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::{RealWorld, World};
use arguments::{Daybreak, JournalArguments, UpArguments, Verb};

/// What the binary adds: commands whose code lives in crates that this one must not link.
pub struct Hooks {
    /// `daybreak up`: runs the daemon until it is told to stop.
    pub up: fn(UpArguments) -> ExitCode,
    /// `daybreak journal`: looks at a state directory's journal, or salvages it.
    pub journal: fn(JournalArguments) -> ExitCode,
}

/// Runs `daybreak`; the first argument is the name it was called by.
pub fn run(arguments: Vec<OsString>, hooks: &Hooks) -> ExitCode {
    if let Some(candidates) = crate::completion::requested(&arguments, Daybreak::command) {
        return answer_shell(&candidates);
    }
    if arguments.get(1).is_some_and(|word| word == "aurora") {
        return run_aurora(arguments[1..].to_vec());
    }
    if arguments.get(1).is_some_and(|word| word == "admin") {
        let mut arguments = arguments[1..].to_vec();
        arguments[0] = "daybreak admin".into();
        return run_aurora_admin(arguments);
    }
    let mut console = Console::standard();
    if arguments.len() <= 1 {
        command::help::<Daybreak>(&mut console);
        return ExitCode::SUCCESS;
    }
    run_translated(flags::translated(arguments), hooks, console)
}

/// Runs `aurora-scheduler`: the daemon by the options of Aurora's own program; the first argument is the name it was called by.
pub fn run_scheduler(arguments: Vec<OsString>, hooks: &Hooks) -> ExitCode {
    run_translated(flags::translated_scheduler(arguments), hooks, Console::standard())
}

fn run_translated(arguments: Result<Vec<OsString>, Failure>, hooks: &Hooks, mut console: Console) -> ExitCode {
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(failure) => return ExitCode::from(command::finish(&mut console, Err(failure)).code()),
    };
    let verb = match command::parse::<Daybreak>(arguments, &mut console) {
        Ok(parsed) => parsed.verb,
        Err(failure) => return ExitCode::from(failure.exit.code()),
    };
    match verb {
        Verb::Up(arguments) if arguments.engine().is_err() => {
            let failure = Failure::new(Exit::Usage, arguments.engine().err().unwrap_or_default());
            ExitCode::from(command::finish(&mut console, Err(failure)).code())
        }
        Verb::Up(arguments) if arguments.ephemeral => run_ephemeral(arguments, hooks),
        Verb::Up(arguments) => (hooks.up)(arguments),
        Verb::Journal(arguments) => (hooks.journal)(arguments),
        Verb::Plan(arguments) => run_with_context(|context| plan::plan(&arguments, context)),
        Verb::Explain(arguments) => run_with_context(|context| explain::explain(&arguments, context)),
        verb => {
            let outcome = run_verb(verb, &mut console);
            ExitCode::from(command::finish(&mut console, outcome).code())
        }
    }
}

/// Runs the daemon of a private cluster. It ends when its standard input does, which the kernel closes however its starter ends; then
/// whatever is left of the cluster goes with it.
fn run_ephemeral(arguments: UpArguments, hooks: &Hooks) -> ExitCode {
    let Some(directory) = std::env::var_os(daemon::RUN_DIRECTORY_VARIABLE).map(std::path::PathBuf::from) else {
        return (hooks.up)(arguments);
    };
    let groups = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let (noted, of_watcher) = (groups.clone(), directory.clone());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // The daemon is about to end the processes by which the groups are found.
        let found = crate::run::groups::of_cluster(&of_watcher);
        if let Ok(mut noted) = noted.lock() {
            noted.extend(found);
        }
    });
    let code = (hooks.up)(arguments);
    let groups = groups.lock().map(|groups| groups.clone()).unwrap_or_default();
    crate::run::remove_cluster(&directory, groups);
    code
}

fn answer_shell(candidates: &[u8]) -> ExitCode {
    Console::standard().out_bytes(candidates);
    ExitCode::SUCCESS
}

fn run_verb(verb: Verb, console: &mut Console) -> Outcome {
    match verb {
        Verb::Run(arguments) => crate::run::run(&arguments, console),
        Verb::Tutorial(arguments) => crate::tutorial::tutorial(&arguments, console, &RealWorld::new().program()),
        Verb::Config(verb) => configuration::run(&verb, console),
        Verb::Observer(arguments) => observer::run(&arguments, console),
        Verb::Thermos(command) => crate::thermos::run_verb(&command.verb, &command.roots, console),
        Verb::Completion(arguments) => {
            completion::print(&arguments, console);
            Ok(())
        }
        Verb::Version(_) if console.is_json() => {
            console.out_json(&serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));
            Ok(())
        }
        Verb::Version(_) => {
            console.out(concat!("daybreak ", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        // Handled before: they are not this crate's, or need their own command line.
        Verb::Up(_) | Verb::Journal(_) | Verb::Aurora(_) | Verb::Admin(_) | Verb::Plan(_) | Verb::Explain(_) => Ok(()),
    }
}

/// Runs `thermos_observer`; the first argument is the name it was called by.
pub fn run_observer(arguments: Vec<OsString>) -> ExitCode {
    let mut console = Console::standard();
    let outcome = command::parse::<observer::ThermosObserver>(arguments, &mut console)
        .and_then(|parsed| observer::run(&parsed.arguments, &mut console));
    ExitCode::from(command::finish(&mut console, outcome).code())
}

/// Runs `aurora`; the first argument is the name it was called by.
pub fn run_aurora(arguments: Vec<OsString>) -> ExitCode {
    if let Some(candidates) = crate::completion::requested(&arguments, Aurora::command) {
        return answer_shell(&candidates);
    }
    with_clusters(|clusters, console| aurora::run(arguments, clusters, console, &RealWorld::new()))
}

/// Runs `aurora_admin`; the first argument is the name it was called by.
pub fn run_aurora_admin(arguments: Vec<OsString>) -> ExitCode {
    if let Some(candidates) = crate::completion::requested(&arguments, AuroraAdmin::command) {
        return answer_shell(&candidates);
    }
    with_clusters(|clusters, console| crate::admin::run(arguments, clusters, console, &RealWorld::new()))
}

/// Runs a verb of ours that talks to schedulers.
fn run_with_context(verb: impl FnOnce(&mut aurora::Context<'_>) -> Outcome) -> ExitCode {
    with_clusters(|clusters, console| {
        let world = RealWorld::new();
        let mut context = aurora::Context { console, clusters, world: &world };
        let outcome = verb(&mut context);
        command::finish(&mut context.console, outcome)
    })
}

fn with_clusters(run: impl FnOnce(Clusters, Console) -> Exit) -> ExitCode {
    // A wait that is broken off ends with the code scripts expect, and nothing is left behind: the scheduler does the work.
    let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let code = i32::from(Exit::Interrupted.code());
    let _ = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, code, always);
    let mut console = Console::standard();
    let clusters = match Clusters::load() {
        Ok(clusters) => clusters,
        Err(failure) => {
            // The command line has not been read yet; who asks for JSON gets this as JSON too.
            if std::env::args_os().any(|word| word == "--json") {
                console.be_json();
            }
            return ExitCode::from(command::finish(&mut console, Err(failure)).code());
        }
    };
    ExitCode::from(run(clusters, console).code())
}
