//! `aurora_admin <command>`: from the command line to the command that does it. Every failure is one line on stderr and exit code 1, as
//! with the old framework (spec client-cli 4).

pub mod arguments;
mod call;
pub mod maintenance;
pub mod operations;

use std::ffi::OsString;

use clap::CommandFactory;

use crate::aurora::{self, Context};
use crate::clusters::Clusters;
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::world::World;
use arguments::{AdminVerb, AuroraAdmin};

/// Runs `aurora_admin`; the first argument is the name it was called by.
pub fn run(arguments: Vec<OsString>, clusters: Clusters, console: Console, world: &dyn World) -> Exit {
    let mut context = Context { console, clusters, world };
    let outcome = dispatch(arguments, &mut context);
    finish(&mut context.console, outcome)
}

/// Prints a failure as a fatal log line; whatever went wrong, the exit code is 1.
pub fn finish(console: &mut Console, outcome: Outcome) -> Exit {
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) if failure.exit == Exit::Ok => Exit::Ok,
        Err(failure) => {
            if !failure.text.is_empty() {
                console.err(format!("FATAL] {}", failure.text));
            }
            Exit::Failed
        }
    }
}

fn dispatch(arguments: Vec<OsString>, context: &mut Context<'_>) -> Outcome {
    if arguments.len() <= 1 {
        context.console.out(AuroraAdmin::command().render_long_help().to_string().trim_end());
        return Ok(());
    }
    let parsed = aurora::parse::<AuroraAdmin>(arguments, &mut context.console)?;
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
