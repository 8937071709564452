//! Changes of updates: started, paused, resumed, aborted, rolled back, pulsed.

use axum::extract::State;
use model::UpdateKey;
use model::update::{UpdateRequest, to_ranges};
use scheduler::command::{Outcome as Effect, UpdateControl};
use scheduler::{Command, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::{Change, message_of};
use super::job_changes::JobFileDocument;
use super::problem::{ChangeRefused, Outcome, Problem};
use super::reading::{JobAddress, JobPath, UpdateAddress, UpdatePath};
use super::shapes::job_location;
use super::updates::no_such_update;
use super::{Rest, created, found, instances};

/// The longest message that may accompany a change of an update, in characters, as in the Thrift API.
const MAX_MESSAGE_CHARS: usize = 1024;

/// Which instances, and why.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UpdateParameters {
    /// Only these instances, as in `0-3,5`; all where it is left out.
    #[serde(default)]
    #[param(example = "0-3", pattern = r"^[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*$")]
    instances: Option<String>,
    /// Why; told in the history of the update.
    #[serde(default)]
    #[param(example = "version 2", max_length = 1024)]
    message: Option<String>,
}

/// What came of starting an update.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartedUpdate {
    /// Key of the job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Id of the update; null where there was nothing to change, and none was started.
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: Option<String>,
    /// What the scheduler says about it, if anything.
    message: Option<String>,
    /// What you should know although it stopped nothing, each a sentence.
    warnings: Vec<String>,
}

fn short_message(message: Option<String>) -> Outcome<Option<String>> {
    match message {
        Some(message) if message.chars().count() > MAX_MESSAGE_CHARS => {
            Err(Problem::invalid(format!("The message is longer than {MAX_MESSAGE_CHARS} characters.")))
        }
        message => Ok(message),
    }
}

/// Starts an update of a job
///
/// To what the job file in the body says, as its `update_config` says. A job that is not there yet is made by the update. Where the job is
/// as the file says already, nothing is started.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates",
    operation_id = "startUpdate",
    tag = "updates",
    params(
        JobAddress,
        UpdateParameters,
    ),
    request_body(content(
        (JobFileDocument = "application/json"),
        (String = "application/yaml"),
        (String = "application/toml"),
    ), description = "A job file, 1 MiB at most."),
    responses(
        (status = 200, description = "There is nothing to change; no update was started.", body = StartedUpdate),
        (status = 201, description = "The update was started.", body = StartedUpdate,
            headers(("Location" = String, description = "Where the update is."))),
        ChangeRefused,
    )
)]
pub async fn start_update(State(rest): State<Rest>, JobPath(job): JobPath, change: Change) -> Outcome {
    let parameters: UpdateParameters = change.parameters()?;
    let only = parameters.instances.as_deref().map(instances::of_text).transpose()?;
    let message = short_message(parameters.message)?;
    let read = rest.job_of_body(&change, Some(job.clone())).await?;
    if read.configuration.cron_schedule.is_some() {
        let sentence = format!("{job} has a cron_schedule in the file: replace it with PUT /api/v1/cron-jobs/{job}.");
        return Err(Problem::invalid(sentence));
    }
    let mut settings = read.update?;
    if let Some(only) = only {
        settings.only_these_instances = to_ranges(only);
    }
    let request = UpdateRequest {
        task: read.configuration.task,
        instance_count: read.configuration.instance_count,
        settings,
        metadata: Default::default(),
    };
    let command = Command::StartUpdate { request: Box::new(request), message };
    let reply = change.submit(&rest, command, |_| None).await?;
    let id = match &reply.outcome {
        Effect::Update(update) => Some(update.key.id.clone()),
        _ => None,
    };
    let location = id.as_ref().map(|id| format!("{}/updates/{id}", job_location("jobs", &job)));
    let message = message_of(&reply);
    let document = StartedUpdate { job: job.to_string(), id, message, warnings: read.warnings };
    match location {
        Some(location) => created(&location, &document),
        None => found(&document),
    }
}

/// Why something is done with an update.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMessage {
    /// Why; told in the history of the update.
    #[serde(default)]
    #[schema(example = "looks bad", max_length = 1024)]
    message: Option<String>,
}

/// What was done with an update.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedUpdate {
    /// Key of the job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Id of the update.
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: String,
    /// What the scheduler says about it, if anything.
    message: Option<String>,
}

fn unless_known(key: &UpdateKey) -> impl Fn(&View) -> Option<Box<Problem>> + use<> {
    let key = key.clone();
    move |view| (!view.updates.contains_key(&key)).then(|| no_such_update(&key))
}

async fn control(rest: &Rest, key: UpdateKey, change: Change, action: UpdateControl) -> Outcome {
    let UpdateMessage { message } = change.json_or_nothing()?;
    let message = short_message(message)?;
    let command = Command::ControlUpdate { key: key.clone(), action, message };
    let reply = change.submit(rest, command, unless_known(&key)).await?;
    found(&ChangedUpdate { job: key.job.to_string(), id: key.id, message: message_of(&reply) })
}

/// Pauses an update
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}/pause",
    operation_id = "pauseUpdate",
    tag = "updates",
    params(UpdateAddress),
    request_body(content = Option<UpdateMessage>, description = "Why; may be left out."),
    responses((status = 200, description = "The update stands still.", body = ChangedUpdate), ChangeRefused)
)]
pub async fn pause_update(State(rest): State<Rest>, UpdatePath(key): UpdatePath, change: Change) -> Outcome {
    control(&rest, key, change, UpdateControl::Pause).await
}

/// Resumes an update
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}/resume",
    operation_id = "resumeUpdate",
    tag = "updates",
    params(UpdateAddress),
    request_body(content = Option<UpdateMessage>, description = "Why; may be left out."),
    responses((status = 200, description = "The update goes on.", body = ChangedUpdate), ChangeRefused)
)]
pub async fn resume_update(State(rest): State<Rest>, UpdatePath(key): UpdatePath, change: Change) -> Outcome {
    control(&rest, key, change, UpdateControl::Resume).await
}

/// Aborts an update
///
/// Instances stay as they are.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}/abort",
    operation_id = "abortUpdate",
    tag = "updates",
    params(UpdateAddress),
    request_body(content = Option<UpdateMessage>, description = "Why; may be left out."),
    responses((status = 200, description = "The update has ended.", body = ChangedUpdate), ChangeRefused)
)]
pub async fn abort_update(State(rest): State<Rest>, UpdatePath(key): UpdatePath, change: Change) -> Outcome {
    control(&rest, key, change, UpdateControl::Abort).await
}

/// Rolls an update back
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}/rollback",
    operation_id = "rollBackUpdate",
    tag = "updates",
    params(UpdateAddress),
    request_body(content = Option<UpdateMessage>, description = "Why; may be left out."),
    responses((status = 200, description = "The update goes back.", body = ChangedUpdate), ChangeRefused)
)]
pub async fn roll_back_update(State(rest): State<Rest>, UpdatePath(key): UpdatePath, change: Change) -> Outcome {
    control(&rest, key, change, UpdateControl::Rollback).await
}

/// What came of a pulse.
#[derive(Debug, Serialize, ToSchema)]
pub struct PulsedUpdate {
    /// Key of the job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Id of the update.
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: String,
    /// The update is active and waits for more pulses; otherwise it has ended.
    active: bool,
}

/// Pulses an update
///
/// Tells it that all is well: an update that was asked to wait for pulses goes on.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}/pulse",
    operation_id = "pulseUpdate",
    tag = "updates",
    params(UpdateAddress),
    responses((status = 200, description = "The pulse was taken.", body = PulsedUpdate), ChangeRefused)
)]
pub async fn pulse_update(State(rest): State<Rest>, UpdatePath(key): UpdatePath, change: Change) -> Outcome {
    change.nothing()?;
    let reply = change.submit_to(&rest, Command::PulseUpdate { key: key.clone() }, unless_known(&key)).await?;
    let active = matches!(reply.outcome, Effect::Pulse { active: true });
    found(&PulsedUpdate { job: key.job.to_string(), id: key.id, active })
}
