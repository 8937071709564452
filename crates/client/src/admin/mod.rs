//! `aurora_admin <command>`: from the command line to the command that does it. Every failure is one line on stderr and exit code 1, as
//! with the old framework (spec client-cli 4).

pub mod arguments;
mod call;
pub mod maintenance;
pub mod operations;

use std::ffi::OsString;

use crate::aurora::Context;
use crate::clusters::Clusters;
use crate::command;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use arguments::{AdminVerb, AuroraAdmin};

/// Runs `aurora_admin`; the first argument is the name it was called by.
pub fn run(arguments: Vec<OsString>, clusters: Clusters, console: Console, world: &dyn World) -> Exit {
    let mut context = Context { console, clusters, world };
    let outcome = dispatch(arguments, &mut context).map_err(|failure| fatal(failure, &context.console));
    command::finish(&mut context.console, outcome)
}

/// A failure as a fatal log line; whatever went wrong, the exit code is 1.
pub fn fatal(failure: Failure, console: &Console) -> Failure {
    if failure.exit == Exit::Ok {
        return failure;
    }
    let mark = if failure.text.is_empty() || console.is_json() { "" } else { "FATAL] " };
    Failure::new(Exit::Failed, format!("{mark}{}", failure.text))
}

fn dispatch(arguments: Vec<OsString>, context: &mut Context<'_>) -> Outcome {
    if arguments.len() <= 1 {
        command::help::<AuroraAdmin>(&mut context.console);
        return Ok(());
    }
    let parsed = command::parse::<AuroraAdmin>(arguments, &mut context.console)?;
    run_verb(parsed, context)
}

/// Runs a command.
pub fn run_verb(command: AuroraAdmin, context: &mut Context<'_>) -> Outcome {
    if command.common.quiet {
        context.console.be_quiet();
    }
    if command.common.bypass_leader_redirect {
        context.clusters.bypass_leader_redirect();
    }
    match command.verb {
        AdminVerb::Host(verb) => maintenance::run(verb, context),
        AdminVerb::Safety(verb) => maintenance::run_safety(verb, context),
        AdminVerb::Operation(verb) => operations::run(verb, context),
    }
}
