//! `daybreak config`: looks at job files without any daemon.

use super::arguments::{ConfigArguments, ConfigVerb};
use crate::aurora::inspect_text;
use crate::console::Console;
use crate::evaluation::{Evaluation, EvaluationRequest, Wanted, evaluate};
use crate::exit::{Exit, Failure, Outcome};

/// Runs a verb.
pub fn run(verb: &ConfigVerb, console: &mut Console) -> Outcome {
    match verb {
        ConfigVerb::List(arguments) => {
            for key in load(arguments, Wanted::Keys, console)?.keys {
                console.out(key);
            }
        }
        ConfigVerb::Inspect(arguments) => {
            let wanted = arguments.key.clone().map_or(Wanted::Only, Wanted::Job);
            if let Some(job) = load(arguments, wanted, console)?.job {
                console.out(inspect_text(&job.raw));
            }
        }
    }
    Ok(())
}

fn load(arguments: &ConfigArguments, wanted: Wanted, console: &mut Console) -> Outcome<Evaluation> {
    let request = EvaluationRequest {
        path: arguments.path.clone(),
        bindings: arguments.file.bindings.clone(),
        is_json: arguments.file.read_json,
        format: arguments.file.format,
        wanted,
        ..EvaluationRequest::default()
    };
    let evaluation =
        evaluate(&request).map_err(|why| Failure::new(Exit::InvalidConfiguration, why.trim_end().to_owned()))?;
    for warning in &evaluation.warnings {
        console.warning(warning);
    }
    Ok(evaluation)
}
