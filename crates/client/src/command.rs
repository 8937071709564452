//! What every command does alike: reads its command line, tells its help and its failure, ends with its exit code.

use std::ffi::OsString;

use clap::{ArgMatches, Args, Command, Parser};

use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

/// How a result is printed; a verb that shows something flattens it into its arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct JsonOutput {
    /// Print the result as JSON, and on stderr what goes wrong
    #[arg(id = JSON, long = "json")]
    pub json: bool,
}

/// Identity of that option among a command's arguments.
const JSON: &str = "json_output";
/// Identity of the options that ask for more in the log.
const VERBOSE: &str = "verbose";

/// Prints the help of a command that was called without any word.
pub fn help<P: Parser>(console: &mut Console) {
    console.out(P::command().render_long_help().to_string().trim_end());
}

/// Parses a command line; help and usage errors are printed here and end the command with their code.
pub fn parse<P: Parser>(arguments: Vec<OsString>, console: &mut Console) -> Outcome<P> {
    let command = P::command();
    if wants_json(&command, &arguments) {
        console.be_json();
    }
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| {
        heed(&matches, console);
        P::from_arg_matches(&matches).map_err(|error| error.format(&mut P::command()))
    });
    parsed.map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() {
            console.failure(text.trim_end(), Exit::Usage.code());
            Failure::silent(Exit::Usage)
        } else {
            console.out(text.trim_end());
            Failure::silent(Exit::Ok)
        }
    })
}

/// Whether the words ask a verb that has the option for JSON; they may be wrong otherwise, and then that is told as JSON too.
fn wants_json(command: &Command, arguments: &[OsString]) -> bool {
    let mut verb = command;
    for word in arguments.iter().skip(1) {
        verb = verb.find_subcommand(word).unwrap_or(verb);
    }
    let has_option = verb.get_arguments().any(|argument| argument.get_id() == JSON);
    has_option && arguments.iter().any(|word| word == "--json")
}

/// Sets the console as the options of the verb, and of the commands above it, say.
fn heed(matches: &ArgMatches, console: &mut Console) {
    let mut matches = Some(matches);
    while let Some(level) = matches {
        let is_set = |id: &str| level.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false);
        if is_set(JSON) {
            console.be_json();
        }
        if is_set(VERBOSE) {
            console.be_verbose();
        }
        matches = level.subcommand().map(|(_, below)| below);
    }
}

/// Prints a failure and gives its exit code.
pub fn finish(console: &mut Console, outcome: Outcome) -> Exit {
    console.end_progress();
    match outcome {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            if !failure.text.is_empty() {
                console.failure(&failure.text, failure.exit.code());
            }
            failure.exit
        }
    }
}
