//! Evaluation of job files into the model. No network.
//!
//! A job file (`.aurora`) is a Python program that leaves a list of jobs behind. [`evaluate`] runs it with an embedded interpreter
//! in a process of its own and gives an [`Evaluation`]: the jobs with everything resolved that can be before they run.
//! [`Evaluation::select`] picks one by its key and [`Job::submission`] turns it into the words of the scheduler, or says what
//! is wrong with it. No scheduler and no Python on the machine is needed.
//!
//! What lives where:
//! - [`mod@object`]: values with templates, scopes and checks; `schema`: the built-in structs; neither knows Python.
//! - `interpreter`: the Python classes around them and running a file.
//! - `child`: the evaluating process and its limits. `evaluate`: what happens inside it.
//! - `hooks`: running a file's hooks around a client's calls.
//! - `data`: job files in YAML, JSON and TOML, for which nothing is run; their JSON Schema; writing jobs in another format.
//! - `job`, `convert`, `settings`: from an evaluated job to the scheduler's words; `payload`: those for the executor, to the byte.
//! - `task`: the tasks that a file exports, which run without a scheduler.
//! - `error`, `place`, `python2`: what the user is told when something is wrong.

mod child;
mod convert;
mod data;
mod error;
mod evaluate;
mod hooks;
mod interpreter;
mod job;
pub mod object;
mod payload;
mod place;
mod python2;
mod request;
mod schema;
mod settings;
mod suggest;
mod task;

pub use child::{CHILD_ARGUMENT, evaluate, evaluate_apart, evaluation_child_main};
pub use convert::{Submission, default_tiers};
pub use data::{Conversion, Format, convert, json_schema};
pub use error::{ConfigError, ErrorKind, Place};
pub use hooks::{HookCall, HookEvent, HookOutcome, HookSession, HookVerdict};
pub use job::{Content, Job, KeyPart, Unbound};
pub use request::{Evaluation, EvaluationRequest, JobSelector, Limits};
pub use schema::AURORA_EXECUTOR_NAME;
pub use task::{Task, is_left_to_executor};
