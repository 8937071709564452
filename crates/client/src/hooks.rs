//! Hooks of job files around a verb's calls (spec client-cli 3.4): which run when, and what follows. Where they run is `config`'s.
//!
//! Before a call every `pre_` hook runs; unless all of them give a true value the call is not made and the verb fails with exit code 1.
//! After a call that was answered with OK the `post_` hooks run, after any other the `err_` hooks; what those give changes nothing.

use serde_json::{Value, json};
use thrift::ResponseCode;

use crate::aurora::Context;
use crate::exit::{Exit, Failure};
use crate::scheduler::{CallError, Reply};

/// Stands for the job's configuration among arguments.
const CONFIG: &str = "@config";
/// Stands for the job's key among arguments.
const JOB_KEY: &str = "@job_key";

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// Before the call.
    Pre,
    /// After success.
    Post,
    /// After failure.
    Err,
}

/// A call as the classic client's method of that name is called.
#[derive(Clone, Debug, PartialEq)]
pub struct HookedCall {
    /// Name of the method.
    pub method: &'static str,
    /// Positional arguments by name.
    pub arguments: Vec<(&'static str, Value)>,
    /// Keyword arguments.
    pub keywords: Vec<(&'static str, Value)>,
}

impl HookedCall {
    /// `create_job(config)`.
    pub fn create_job() -> Self {
        Self { method: "create_job", arguments: vec![("config", json!(CONFIG))], keywords: Vec::new() }
    }

    /// `kill_job(job_key, instances=, config=, message=)`; no instances are all.
    pub fn kill_job(instances: Option<Vec<i32>>, message: Option<&str>) -> Self {
        Self {
            method: "kill_job",
            arguments: vec![("job_key", json!(JOB_KEY))],
            keywords: vec![("instances", json!(instances)), ("config", json!(CONFIG)), ("message", json!(message))],
        }
    }

    /// `restart(job_key, instances, updater_config, health_check_interval_seconds, config=)`.
    pub fn restart(instances: Option<Vec<u32>>, updater: Value, interval_seconds: u64) -> Self {
        Self {
            method: "restart",
            arguments: vec![
                ("job_key", json!(JOB_KEY)),
                ("instances", json!(instances)),
                ("updater_config", updater),
                ("health_check_interval_seconds", json!(interval_seconds)),
            ],
            keywords: vec![("config", json!(CONFIG))],
        }
    }

    /// `add_instances(job_key, instance_id, count, config=)`.
    pub fn add_instances(instance: i32, count: i32) -> Self {
        Self {
            method: "add_instances",
            arguments: vec![("job_key", json!(JOB_KEY)), ("instance_id", json!(instance)), ("count", json!(count))],
            keywords: vec![("config", json!(CONFIG))],
        }
    }

    /// `start_cronjob(job_key, config=)`.
    pub fn start_cronjob() -> Self {
        Self {
            method: "start_cronjob",
            arguments: vec![("job_key", json!(JOB_KEY))],
            keywords: vec![("config", json!(CONFIG))],
        }
    }

    /// `start_job_update(config, message, instances=, metadata=)`; no instances are all.
    pub fn start_job_update(message: Option<&str>, instances: Option<Vec<u32>>, metadata: Value) -> Self {
        Self {
            method: "start_job_update",
            arguments: vec![("config", json!(CONFIG)), ("message", json!(message))],
            keywords: vec![("instances", json!(instances)), ("metadata", metadata)],
        }
    }
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub struct HookOutcome {
    /// The scheduler's answer; unset where there was none.
    pub code: Option<ResponseCode>,
    /// What it said, or why there is no answer.
    pub messages: Vec<String>,
    /// The result under the wire's names.
    pub result: Value,
}

/// What hooks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookVerdict {
    /// All gave a true value.
    pub passed: bool,
    /// One of them ended the program with this status.
    pub exit: Option<i32>,
}

/// Where hooks run.
pub trait HookRunner {
    /// Runs the hooks for a call; an error is a sentence for the user.
    fn run(
        &mut self,
        event: HookEvent,
        call: &HookedCall,
        outcome: Option<&HookOutcome>,
    ) -> Result<HookVerdict, String>;
}

/// The hooks of one job, possibly none.
#[derive(Default)]
pub struct Hooks {
    runner: Option<Box<dyn HookRunner>>,
}

impl Hooks {
    /// Hooks that run there.
    pub fn at(runner: Box<dyn HookRunner>) -> Self {
        Self { runner: Some(runner) }
    }

    /// Makes a call with the hooks around it.
    pub fn around(
        &mut self,
        call: &HookedCall,
        context: &mut Context<'_>,
        send: impl FnOnce(&mut Context<'_>) -> Result<Reply, CallError>,
    ) -> Result<Reply, CallError> {
        let Some(runner) = &mut self.runner else { return send(context) };
        // A hook may ask the user: no bar shall write over its question.
        context.console.end_progress();
        let failed = |why: String| CallError::Failed(Failure::new(Exit::Failed, why));
        let verdict = runner.run(HookEvent::Pre, call, None).map_err(failed)?;
        left(verdict)?;
        if !verdict.passed {
            let text = format!(
                "Pre hooks stopped call to {}: a hook of the job file did not allow it, and nothing was sent to the scheduler.",
                call.method
            );
            return Err(failed(text));
        }
        let answer = send(context);
        let (event, outcome) = outcome_of(&answer);
        context.console.end_progress();
        match runner.run(event, call, Some(&outcome)) {
            Ok(verdict) => left(verdict)?,
            // The call was made; what a hook after it does changes nothing about that.
            Err(why) => context.console.warning(why),
        }
        answer
    }
}

/// A hook that ends the program ends the verb, with its status.
fn left(verdict: HookVerdict) -> Result<(), CallError> {
    match verdict.exit {
        Some(status) => Err(CallError::Failed(Failure::silent(Exit::Child(u8::try_from(status).unwrap_or(1))))),
        None => Ok(()),
    }
}

fn outcome_of(answer: &Result<Reply, CallError>) -> (HookEvent, HookOutcome) {
    match answer {
        Ok(reply) => {
            let messages = reply.messages.clone();
            let result = reply.result.as_ref().map_or(Value::Null, result_json);
            (HookEvent::Post, HookOutcome { code: Some(ResponseCode::Ok), messages, result })
        }
        Err(CallError::Refused(refusal)) => {
            let messages = refusal.messages.clone();
            let result = refusal.result.as_deref().map_or(Value::Null, result_json);
            (HookEvent::Err, HookOutcome { code: Some(refusal.code), messages, result })
        }
        Err(CallError::Failed(failure)) => {
            let messages = vec![failure.text.clone()];
            (HookEvent::Err, HookOutcome { code: None, messages, result: Value::Null })
        }
    }
}

/// Of the calls with hooks only the start of an update has a result.
fn result_json(result: &thrift::ResponseResult) -> Value {
    match result {
        thrift::ResponseResult::StartJobUpdate(started) => {
            let document = serde_json::from_slice::<Value>(&thrift::encode_plain(started)).unwrap_or_default();
            json!({ "startJobUpdateResult": document })
        }
        _ => Value::Null,
    }
}

#[cfg(feature = "evaluator")]
pub use real::start;

#[cfg(feature = "evaluator")]
mod real {
    use super::{HookEvent, HookOutcome, HookRunner, HookVerdict, HookedCall, Value};
    use crate::evaluation::{EvaluationRequest, question_of, text_of};

    struct Session(config::HookSession);

    /// Starts the hooks of the job that the request wants; an error is a text for the user.
    pub fn start(request: &EvaluationRequest, job: &Value, verbose: bool) -> Result<Box<dyn HookRunner>, String> {
        let session = config::HookSession::start(&question_of(request), job, verbose).map_err(text_of)?;
        Ok(Box::new(Session(session)))
    }

    impl HookRunner for Session {
        fn run(
            &mut self,
            event: HookEvent,
            call: &HookedCall,
            outcome: Option<&HookOutcome>,
        ) -> Result<HookVerdict, String> {
            let owned = |pairs: &[(&'static str, Value)]| -> Vec<(String, Value)> {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
            };
            let call = config::HookCall {
                event: match event {
                    HookEvent::Pre => config::HookEvent::Pre,
                    HookEvent::Post => config::HookEvent::Post,
                    HookEvent::Err => config::HookEvent::Err,
                },
                method: call.method.to_owned(),
                arguments: owned(&call.arguments),
                keywords: owned(&call.keywords),
                outcome: outcome.map(|outcome| config::HookOutcome {
                    response_code: outcome.code.map(|code| (code as i32, code.name().to_owned())),
                    messages: outcome.messages.clone(),
                    result: outcome.result.clone(),
                }),
            };
            let verdict = self.0.run(&call).map_err(text_of)?;
            Ok(HookVerdict { passed: verdict.passed, exit: verdict.exit })
        }
    }
}

/// Starts the hooks of a job.
#[cfg(not(feature = "evaluator"))]
pub fn start(
    _request: &crate::evaluation::EvaluationRequest,
    _job: &Value,
    _verbose: bool,
) -> Result<Box<dyn HookRunner>, String> {
    Err("this program was built without the evaluator of job files".into())
}
