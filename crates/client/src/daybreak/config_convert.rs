//! `daybreak config convert` and `daybreak config schema`: job files in other formats, and what editors know of them.

use std::path::PathBuf;

use clap::Args;

use crate::aurora::arguments::FileOptions;
use crate::console::Console;
use crate::evaluation::FileFormat;
use crate::exit::{Exit, Failure, Outcome};

/// Arguments of `daybreak config convert`.
#[derive(Args, Clone, Debug)]
pub struct ConvertArguments {
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// What to write it in
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub to: FileFormat,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
}

/// Runs `config convert`.
#[cfg(feature = "evaluator")]
pub fn convert(arguments: &ConvertArguments, console: &mut Console) -> Outcome {
    let output = arguments.output.as_deref();
    if output.is_some_and(|output| is_same_file(output, &arguments.path)) {
        return Err(Failure::new(Exit::InvalidParameter, "The file cannot be written over itself; name another one."));
    }
    let wrong =
        |error: config::ConfigError| Failure::new(Exit::InvalidConfiguration, crate::evaluation::text_of(error));
    let mut request = request(arguments);
    let meant = config::evaluate(&request).map_err(wrong)?;
    // Whoever submits the file is not whoever converts it.
    request.keep_user = true;
    let written = config::evaluate(&request).map_err(wrong)?;
    let conversion = config::convert(&written, arguments.to.into()).map_err(wrong)?;
    let differences = differences(&meant, &conversion.text, arguments.to)?;

    let is_program = request.format.or_else(|| config::Format::of_path(&arguments.path));
    if is_program == Some(config::Format::Python) && !arguments.file.read_json && arguments.to != FileFormat::Aurora {
        console.err(format!("What the code of {} worked out is written as plain values.", arguments.path.display()));
    }
    for note in conversion.notes.iter().chain(&unresolved(&meant)).chain(&differences) {
        console.warning(note);
    }
    match output {
        None => console.out_bytes(conversion.text.as_bytes()),
        Some(path) => std::fs::write(path, conversion.text)
            .map_err(|error| Failure::new(Exit::CommandFailure, format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(())
}

#[cfg(feature = "evaluator")]
fn request(arguments: &ConvertArguments) -> config::EvaluationRequest {
    let mut request = config::EvaluationRequest::new(arguments.path.to_string_lossy());
    request.read_json = arguments.file.read_json;
    request.format = arguments.file.format.map(config::Format::from);
    let bindings = arguments.file.bindings.iter();
    request.bindings = bindings.map(|binding| (binding.name.clone(), binding.value.clone())).collect();
    request
}

fn is_same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The references that neither the file nor the command line gave a value.
#[cfg(feature = "evaluator")]
fn unresolved(evaluation: &config::Evaluation) -> Vec<String> {
    let contents = evaluation.jobs.iter().filter_map(|job| job.content.as_ref());
    let mut left: Vec<String> = contents
        .flat_map(|content| &content.unbound)
        .filter(|unbound| !config::is_left_to_executor(&unbound.address))
        .map(|unbound| format!("{{{{{}}}}}", unbound.address))
        .collect();
    left.sort();
    left.dedup();
    if left.is_empty() { Vec::new() } else { vec![format!("references without a value are kept: {}", left.join(", "))] }
}

/// How the jobs differ that the written file comes to.
#[cfg(feature = "evaluator")]
fn differences(meant: &config::Evaluation, text: &str, format: FileFormat) -> Outcome<Vec<String>> {
    let failed = |error: std::io::Error| Failure::new(Exit::CommandFailure, format!("a temporary file: {error}"));
    let file = tempfile::NamedTempFile::new().map_err(failed)?;
    std::fs::write(file.path(), text).map_err(failed)?;
    let mut request = config::EvaluationRequest::new(file.path().to_string_lossy());
    request.format = Some(format.into());
    Ok(match config::evaluate(&request) {
        Ok(read) => meant.differences(&read),
        Err(error) => vec![format!("what was written cannot be read back: {}", error.reason)],
    })
}

/// Runs `config schema`.
#[cfg(feature = "evaluator")]
pub fn schema(console: &mut Console) -> Outcome {
    console.out(format!("{:#}", config::json_schema()));
    Ok(())
}

/// Runs `config convert`.
#[cfg(not(feature = "evaluator"))]
pub fn convert(arguments: &ConvertArguments, _console: &mut Console) -> Outcome {
    let _ = is_same_file(&arguments.path, &arguments.path);
    Err(Failure::new(Exit::CommandFailure, "this program was built without the evaluator of job files"))
}

/// Runs `config schema`.
#[cfg(not(feature = "evaluator"))]
pub fn schema(_console: &mut Console) -> Outcome {
    Err(Failure::new(Exit::CommandFailure, "this program was built without the evaluator of job files"))
}
