//! `thermos`: what one sees and does on the machine where tasks run, without any scheduler (spec executor 4.6). Finding and reading tasks is
//! the crate `observer`'s.

pub mod arguments;
mod file;
mod follow;
mod kill;
mod launch;
mod read;
mod runner;
mod status;
mod tail;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory as _;
use observer::detect::Root;
use observer::store::{Store, Task, Which};
use regex::Regex;

use crate::command;
use crate::console::Console;
use crate::daybreak::arguments::default_state_directory;
use crate::exit::{Exit, Failure, Outcome};
use arguments::{Roots, Thermos, Verb};

/// Runs `thermos`; the first argument is the name it was called by.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut console = Console::standard();
    if let Some(candidates) = crate::completion::requested(&arguments, Thermos::command) {
        console.out_bytes(&candidates);
        return ExitCode::SUCCESS;
    }
    if arguments.len() <= 1 {
        command::help::<Thermos>(&mut console);
        return ExitCode::SUCCESS;
    }
    let parsed = match command::parse::<Thermos>(arguments, &mut console) {
        Ok(parsed) => parsed,
        Err(failure) => return ExitCode::from(failure.exit.code()),
    };
    let outcome = run_verb(&parsed.verb, &parsed.roots, &mut console);
    ExitCode::from(command::finish(&mut console, outcome).code())
}

/// Runs a verb.
pub fn run_verb(verb: &Verb, roots: &Roots, console: &mut Console) -> Outcome {
    match verb {
        Verb::Run(arguments) => launch::run(arguments, &own_root(roots), console),
        Verb::Simplerun(arguments) => launch::simplerun(arguments, &own_root(roots), console),
        Verb::Inspect(arguments) => file::inspect(arguments, console),
        Verb::Status(arguments) => status::run(arguments, &store(roots), console),
        Verb::Tail(arguments) => tail::run(arguments, &store(roots), console),
        Verb::Kill(arguments) => kill::run(arguments, &store(roots), console),
        Verb::Read(arguments) => read::run(arguments, console),
    }
}

/// The engine's directory below a state directory: the named one, or the default one when it is there.
pub fn own_engine(state_dir: Option<PathBuf>) -> Option<Root> {
    let is_named = state_dir.is_some();
    let engine = state_dir.unwrap_or_else(default_state_directory).join("local");
    (is_named || engine.is_dir()).then_some(Root::Engine(engine))
}

/// Where the original keeps its tasks.
const SYSTEM_ROOT: &str = "/var/run/thermos";

/// The named roots of Thermos, or those of the original and of this user that are there.
pub fn thermos_roots(named: &[PathBuf]) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let mut roots = vec![PathBuf::from(SYSTEM_ROOT), own_root(&Roots::default())];
    roots.dedup();
    roots.retain(|root| root.is_dir());
    roots
}

/// The root below which tasks are run: the one that was named last, or the user's own. That of the original takes root.
fn own_root(roots: &Roots) -> PathBuf {
    let default = || {
        if nix::unistd::Uid::effective().is_root() { PathBuf::from(SYSTEM_ROOT) } else { own_state_directory() }
    };
    let root = roots.roots.last().cloned().unwrap_or_else(default);
    std::path::absolute(&root).unwrap_or(root)
}

/// Where tasks of users other than root are kept.
fn own_state_directory() -> PathBuf {
    default_state_directory().join("thermos")
}

fn store(roots: &Roots) -> Store {
    let thermos = thermos_roots(&roots.roots);
    let mesos =
        if roots.mesos_roots.is_empty() { vec![observer::default_mesos_root()] } else { roots.mesos_roots.clone() };
    let all = thermos.into_iter().map(Root::Thermos).chain(mesos.into_iter().map(Root::Mesos));
    let store = Store::new(all.chain(own_engine(roots.state_dir.clone())).collect());
    store.refresh();
    store
}

/// Tasks whose id one of the expressions matches from its start; all of them when there is none.
fn matching(store: &Store, which: Which, expressions: &[String]) -> Outcome<Vec<Arc<Task>>> {
    let compiled: Vec<Regex> = expressions
        .iter()
        .map(|expression| {
            Regex::new(&format!("^(?:{expression})")).map_err(|error| {
                Failure::new(Exit::InvalidParameter, format!("'{expression}' is no regular expression: {error}"))
            })
        })
        .collect::<Outcome<_>>()?;
    let mut tasks = store.tasks(which);
    tasks.retain(|task| compiled.is_empty() || compiled.iter().any(|expression| expression.is_match(&task.id)));
    Ok(tasks)
}

#[cfg(test)]
mod tests;
