//! Evaluates a job file and prints what it came to: `evaluate-job-file FILE [cluster/role/environment/name] [NAME=VALUE]...`.
//!
//! It is its own evaluating process, as the product's binary is.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == config::CHILD_ARGUMENT) {
        config::evaluation_child_main();
    }
    let Some(path) = arguments.next() else {
        eprintln!("usage: evaluate-job-file FILE [cluster/role/environment/name] [NAME=VALUE]...");
        return ExitCode::from(2);
    };
    let mut request = config::EvaluationRequest::new(&path);
    request.read_json = path.ends_with(".json");
    for argument in arguments {
        match argument.split_once('=') {
            Some((name, value)) => request = request.bind(name, value),
            None => match argument.parse() {
                Ok(wanted) => request.wanted = Some(wanted),
                Err(why) => {
                    eprintln!("error: {why}");
                    return ExitCode::from(2);
                }
            },
        }
    }
    match show(&request) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::from(3)
        }
    }
}

fn show(request: &config::EvaluationRequest) -> Result<String, config::ConfigError> {
    let evaluation = config::evaluate(request)?;
    if request.wanted.is_none() {
        let keys: Vec<String> = evaluation.jobs.iter().map(config::Job::key).collect();
        return Ok(keys.join("\n"));
    }
    let job = evaluation.select(request.wanted.as_ref())?;
    let submission = job.submission("nobody", &config::default_tiers())?;
    for warning in &submission.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(format!("{:#}\n{:#?}\n{:#?}", submission.raw, submission.job, job.update_settings(&[])?))
}
