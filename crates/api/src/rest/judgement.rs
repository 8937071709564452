//! Shapes of plan and explain for the OpenAPI document. They are answered in [`crate::forecast`]; `docs/explain.md` tells every field.

#![allow(dead_code, reason = "tells the document what is answered")]

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::problem::Problem;

/// The methods whose effect can be foretold.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = "createJob")]
pub enum PlannedMethod {
    /// A job.
    CreateJob,
    /// An update.
    StartJobUpdate,
    /// A schedule.
    ScheduleCronJob,
    /// Another schedule.
    ReplaceCronTemplate,
}

/// A change whose effect is to be foretold, in the words of the Thrift API.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanQuestion {
    /// Which method.
    method: PlannedMethod,
    /// Its arguments, by name, as `/apibeta` takes them.
    #[schema(value_type = Object)]
    arguments: Value,
}

/// What would come of a change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Of which moment this is told, in ms since the epoch.
    frozen_ms: i64,
    /// Why it would be refused; null where it would not.
    #[schema(value_type = Option<Object>)]
    refusal: Value,
    /// What it would take of the quota of its role.
    #[schema(value_type = Option<Object>)]
    quota: Value,
    /// Where its tasks would run now, or what stands in their way.
    #[schema(value_type = Option<Object>)]
    placement: Value,
    /// What an update would replace.
    #[schema(value_type = Option<Object>)]
    update: Value,
}

/// Why a job or a task is as it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Of which moment this is told, in ms since the epoch.
    frozen_ms: i64,
    /// Key of the job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Machines are known of.
    is_connected: bool,
    /// Since when they are not, in ms since the epoch.
    disconnected_since_ms: Option<i64>,
    /// The scheduler's disk is short of room: nothing new is accepted.
    journal_space_low: bool,
    /// What pending tasks wait for, by configuration.
    #[schema(value_type = Vec<Object>)]
    pending: Value,
    /// Until when tasks are held back, by their ids.
    #[schema(value_type = Object)]
    throttled: Value,
    /// A run shorter than this counts against its task, in ms.
    flapping_threshold_ms: u64,
    /// Hosts of its tasks that are in maintenance.
    #[schema(value_type = Object)]
    hosts: Value,
    /// Its schedule and runs.
    #[schema(value_type = Option<Object>)]
    cron: Value,
    /// How far its active update is.
    #[schema(value_type = Option<Object>)]
    update: Value,
}

/// About what.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainParameters {
    /// A job, `role/environment/name`. This or `task`.
    #[param(example = "www-data/prod/hello")]
    job: Option<String>,
    /// With `job`: one of its instances only.
    #[param(example = 0)]
    instance: Option<u32>,
    /// A task, by its id.
    task: Option<String>,
}

/// What a question about a change may be answered with.
#[derive(IntoResponses)]
pub enum PlanRefused {
    /// The question cannot be read.
    #[response(status = 400)]
    Invalid(Problem),
    /// The body is too long.
    #[response(status = 413)]
    BodyTooLarge(Problem),
    /// The body is not JSON.
    #[response(status = 415)]
    UnsupportedMediaType(Problem),
    /// Failed inside.
    #[response(status = 500)]
    Failed(Problem),
}
