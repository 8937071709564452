//! `daybreak config`: looks at job files without any daemon.

use super::arguments::{ConfigArguments, ConfigVerb};
use super::config_convert;
use crate::aurora::inspect_text;
use crate::console::Console;
use crate::evaluation::{Evaluation, EvaluationRequest, Wanted, evaluate};
use crate::exit::{Exit, Failure, Outcome};
use crate::paint::Paint;

/// Runs a verb.
pub fn run(verb: &ConfigVerb, console: &mut Console) -> Outcome {
    match verb {
        ConfigVerb::List(arguments) => {
            let keys = load(arguments, Wanted::Keys, console)?.keys;
            if console.is_json() {
                console.out_json(&keys.into());
            } else {
                keys.iter().for_each(|key| console.out(key));
            }
        }
        ConfigVerb::Inspect(arguments) => {
            let wanted = arguments.key.clone().map_or(Wanted::Only, Wanted::Job);
            match load(arguments, wanted, console)?.job {
                Some(job) if console.is_json() => console.out_json(&job.raw),
                Some(job) => {
                    let paint = Paint::new(console.has_colour(clap::ColorChoice::Auto));
                    console.out(paint.inspection(&inspect_text(&job.raw)));
                }
                None => {}
            }
        }
        ConfigVerb::Convert(arguments) => config_convert::convert(arguments, console)?,
        ConfigVerb::Schema => config_convert::schema(console)?,
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
