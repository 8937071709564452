//! `update start`, `wait`, `pause`, `resume`, `abort`, `rollback` (spec client-cli 2.10 to 2.12).

use std::time::Duration;

use model::JobKey;
use model::update::{UpdateRequest, to_ranges};
use thrift::{
    ACTIVE_JOB_UPDATE_STATES, AbortJobUpdateArguments, Call, ConfigGroup, GetJobUpdateDiffArguments, JobUpdateKey,
    JobUpdateQuery, JobUpdateStatus, JobUpdateSummary, PauseJobUpdateArguments, ResponseResult,
    ResumeJobUpdateArguments, RollbackJobUpdateArguments, StartJobUpdateArguments, StartJobUpdateResult,
    TERMINAL_JOB_UPDATE_STATES,
};

use super::arguments::{UpdateActionArguments, UpdateRollbackArguments, UpdateStartArguments, UpdateWaitArguments};
use super::kill::check_strict;
use super::{Context, job, load, status, update_progress, wait};
use crate::evaluation::LoadedJob;
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::{HookedCall, Hooks};
use crate::scheduler::{CallError, Scheduler, active_query_of, missing_result, wire_key};
use crate::syntax::{ClusterJob, Instances};

/// Under this name the client marks its updates, so that a repeated start is recognised as its own (spec client-cli 2.10).
pub const UPDATE_ID_KEY: &str = "org.apache.aurora.client.update_id";
/// Between two looks at an update that is waited for.
const WAIT_INTERVAL: Duration = Duration::from_secs(5);
/// A watcher on the same machine sees the end sooner.
const SHORT_WAIT_INTERVAL: Duration = Duration::from_millis(500);

/// `update start JOB[/INSTANCES] FILE`.
pub fn start(arguments: &UpdateStartArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.spec.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let (request, loaded) = build_request(arguments, &mut scheduler, context)?;
    print_diff(&request, &mut scheduler, context)?;
    let mut hooks = load::hooks_of(&loaded, &arguments.path, &arguments.file, arguments.common.verbose, context)?;
    match send_start(&request, arguments.message.as_deref(), &mut hooks, &mut scheduler, context)? {
        Started::NothingToDo(messages) => {
            context.console.out(messages.join(", "));
            Ok(())
        }
        Started::Update(id) => {
            let url = format!("{}/update/{id}", scheduler.job_url(&key.job));
            context.console.out(format!("Job update has started. View your update progress at {url}"));
            context.open_page(arguments.open_browser, &url);
            if arguments.wait { wait_for(key, Some(&id), Wanted::Forward, &mut scheduler, context) } else { Ok(()) }
        }
    }
}

/// The request that the file and the command line describe, and the job it is made from.
pub fn build_request(
    arguments: &UpdateStartArguments,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<(UpdateRequest, LoadedJob)> {
    let key = &arguments.spec.key;
    let loaded = load::load_job(key, &arguments.path, &arguments.file, scheduler, context)?;
    job::refuse_cron(&loaded.configuration, "aurora cron schedule")?;
    if arguments.strict && arguments.spec.instances != Instances::All {
        let active = scheduler.tasks(active_query_of(&key.job), &mut context.console)?;
        check_strict(&arguments.spec.instances, active.iter().map(wait::instance_of).collect())?;
    }
    let mut settings = loaded.update.clone().map_err(|why| {
        Failure::new(Exit::InvalidConfiguration, format!("Error loading configuration: {}", why.trim_end()))
    })?;
    if let Some(ids) = arguments.spec.instances.named() {
        settings.only_these_instances = to_ranges(ids.iter().copied());
    }
    let id = model::Metadata { key: UPDATE_ID_KEY.into(), value: context.world.fresh_uuid() };
    let request = UpdateRequest {
        task: loaded.configuration.task.clone(),
        instance_count: loaded.configuration.instance_count,
        settings,
        metadata: [id].into(),
    };
    Ok((request, loaded))
}

fn print_diff(request: &UpdateRequest, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) -> Outcome {
    let call = GetJobUpdateDiffArguments { request: Some(request.into()) };
    let reply = scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure("Error getting the update's difference:", Exit::CommandFailure))?;
    let Some(ResponseResult::GetJobUpdateDiff(diff)) = reply.result else {
        return Err(missing_result("getJobUpdateDiff"));
    };
    context.console.out("This job update will:");
    let groups =
        [("add", &diff.add), ("remove", &diff.remove), ("update", &diff.update), ("not change", &diff.unchanged)];
    for (what, groups) in groups {
        let ranges = ranges_text(groups);
        if !ranges.is_empty() {
            context.console.out(format!("{what} instances: {ranges}"));
        }
    }
    Ok(())
}

/// `[0-2], [5]`.
fn ranges_text(groups: &[ConfigGroup]) -> String {
    let ids = groups.iter().flat_map(|group| group.instances.iter()).flat_map(|range| range.first..=range.last);
    let ranges = to_ranges(ids.map(|id| id as u32));
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|range| {
            if range.first == range.last {
                format!("[{}]", range.first)
            } else {
                format!("[{}-{}]", range.first, range.last)
            }
        })
        .collect();
    texts.join(", ")
}

/// What a start came to.
pub enum Started {
    /// An update with this id.
    Update(String),
    /// Nothing to change, with the scheduler's words.
    NothingToDo(Vec<String>),
}

/// Sends the request. "Already in progress" with our own id means that an earlier attempt of this very call succeeded.
pub fn send_start(
    request: &UpdateRequest,
    message: Option<&str>,
    hooks: &mut Hooks,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Started> {
    let call = StartJobUpdateArguments { request: Some(request.into()), message: message.map(str::to_owned) };
    let own_id = request.metadata.iter().find(|pair| pair.key == UPDATE_ID_KEY).map(|pair| pair.value.as_str());
    let only_these = &request.settings.only_these_instances;
    let instances = only_these.iter().flat_map(|range| range.first..=range.last).collect::<Vec<u32>>();
    let metadata = request.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone().into())).collect();
    let hooked = HookedCall::start_job_update(
        message,
        (!instances.is_empty()).then_some(instances),
        serde_json::Value::Object(metadata),
    );
    let answer = hooks.around(&hooked, context, |context| scheduler.call_quietly(call, &mut context.console));
    match answer {
        Ok(reply) => match reply.result {
            Some(ResponseResult::StartJobUpdate(result)) => Ok(Started::Update(id_of(&result))),
            _ if reply.messages.is_empty() => Ok(Started::NothingToDo(vec!["No changes to update.".into()])),
            _ => Ok(Started::NothingToDo(reply.messages)),
        },
        Err(CallError::Refused(refusal)) => match refusal.result.as_deref() {
            Some(ResponseResult::StartJobUpdate(result)) if is_ours(result, own_id) => {
                Ok(Started::Update(id_of(result)))
            }
            _ => Err(refusal.failure("Failed to start update due to error:", Exit::ApiError)),
        },
        Err(CallError::Failed(failure)) => Err(failure),
    }
}

fn id_of(result: &StartJobUpdateResult) -> String {
    result.key.as_ref().map_or_else(String::new, |key| key.id.clone())
}

fn is_ours(result: &StartJobUpdateResult, own_id: Option<&str>) -> bool {
    let pairs = result.update_summary.as_ref().and_then(|summary| summary.metadata.as_deref()).unwrap_or_default();
    pairs.iter().any(|pair| pair.key == UPDATE_ID_KEY && Some(pair.value.as_str()) == own_id)
}

/// Which end of an update is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// ROLLED_FORWARD.
    Forward,
    /// ROLLED_BACK.
    Back,
}

/// `update wait JOB [ID]`.
pub fn wait(arguments: &UpdateWaitArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.key.cluster)?;
    wait_for(&arguments.key, arguments.id.as_deref(), Wanted::Forward, &mut scheduler, context)
}

/// Waits until an update has ended, printing each state; without an id, for the job's active update.
pub fn wait_for(
    key: &ClusterJob,
    id: Option<&str>,
    wanted: Wanted,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome {
    let id = match id {
        Some(id) => id.to_owned(),
        None => match find_one(&key.job, active_states(), scheduler, context)? {
            Some(summary) => key_of(&summary).id,
            None => return Err(Failure::new(Exit::InvalidParameter, "Job update not found.")),
        },
    };
    let status = follow(&key.job, &id, scheduler, context, |console, status| {
        console.out(format!("Current state {status}"));
    })?;
    if wanted == Wanted::Forward && matches!(status, JobUpdateStatus::RolledBack | JobUpdateStatus::Failed) {
        status::explain_failures(&key.job, scheduler, context);
    }
    match (wanted, status) {
        (Wanted::Forward, JobUpdateStatus::RolledForward) | (Wanted::Back, JobUpdateStatus::RolledBack) => Ok(()),
        (Wanted::Forward, JobUpdateStatus::RolledBack) | (Wanted::Back, JobUpdateStatus::RolledForward) => {
            Err(Failure::silent(Exit::CommandFailure))
        }
        _ => Err(Failure::silent(Exit::UnknownError)),
    }
}

/// Calls `tell` on each change of an update's state and returns the last one.
pub fn follow(
    job: &JobKey,
    id: &str,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
    mut tell: impl FnMut(&mut crate::console::Console, JobUpdateStatus),
) -> Outcome<JobUpdateStatus> {
    let update = JobUpdateKey { job: Some(wire_key(job)), id: id.to_owned() };
    let interval = if scheduler.cluster.is_local_default { SHORT_WAIT_INTERVAL } else { WAIT_INTERVAL };
    let mut known = None;
    loop {
        let query = JobUpdateQuery { key: Some(update.clone()), ..JobUpdateQuery::default() };
        let summaries = scheduler.updates(query, &mut context.console)?;
        let status = match summaries.as_slice() {
            [] => return Err(Failure::new(Exit::InvalidParameter, "Job update not found.")),
            [summary] => status_of(summary),
            _ => return Err(Failure::new(Exit::ApiError, "The scheduler returned several updates for one id.")),
        };
        if known != Some(status) {
            known = Some(status);
            tell(&mut context.console, status);
        }
        if TERMINAL_JOB_UPDATE_STATES.contains(&status) {
            context.console.end_progress();
            return Ok(status);
        }
        if context.console.shows_progress() {
            update_progress::show(&update, status, scheduler, context);
        }
        context.world.pause(interval);
    }
}

/// Status of an update.
pub fn status_of(summary: &JobUpdateSummary) -> JobUpdateStatus {
    summary.state.as_ref().and_then(|state| state.status).unwrap_or(JobUpdateStatus::Error)
}

/// Key of an update.
pub fn key_of(summary: &JobUpdateSummary) -> JobUpdateKey {
    summary.key.clone().unwrap_or_default()
}

/// The states of updates that have not ended.
pub fn active_states() -> Vec<JobUpdateStatus> {
    ACTIVE_JOB_UPDATE_STATES.to_vec()
}

/// The update of a job in one of the states; several are an error of the scheduler.
pub fn find_one(
    job: &JobKey,
    states: Vec<JobUpdateStatus>,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Option<JobUpdateSummary>> {
    let query = JobUpdateQuery {
        job_key: Some(wire_key(job)),
        update_statuses: Some(thrift::Set(states)),
        ..JobUpdateQuery::default()
    };
    let mut found = scheduler.updates(query, &mut context.console)?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(Failure::new(Exit::ApiError, format!("The scheduler returned several active updates for job {job}."))),
    }
}

/// What can be done to an active update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stops it for now.
    Pause,
    /// Lets it go on.
    Resume,
    /// Ends it where it is.
    Abort,
    /// Turns it round.
    Rollback,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
        }
    }

    fn success(self) -> &'static str {
        match self {
            Self::Pause => "Update has been paused.",
            Self::Resume => "Update has been resumed.",
            Self::Abort => "Update has been aborted.",
            Self::Rollback => "Update rollback has started.",
        }
    }

    fn call(self, key: JobUpdateKey, message: Option<String>) -> Call {
        let key = Some(key);
        match self {
            Self::Pause => PauseJobUpdateArguments { key, message }.into(),
            Self::Resume => ResumeJobUpdateArguments { key, message }.into(),
            Self::Abort => AbortJobUpdateArguments { key, message }.into(),
            Self::Rollback => RollbackJobUpdateArguments { key, message }.into(),
        }
    }
}

/// `update pause`, `resume`, `abort`.
pub fn act(action: Action, arguments: &UpdateActionArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.key.cluster)?;
    act_on_active(action, arguments, &mut scheduler, context).map(|_| ())
}

fn act_on_active(
    action: Action,
    arguments: &UpdateActionArguments,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<String> {
    let Some(summary) = find_one(&arguments.key.job, active_states(), scheduler, context)? else {
        return Err(Failure::new(Exit::InvalidParameter, "No active update found for this job."));
    };
    let key = key_of(&summary);
    let call = action.call(key.clone(), arguments.message.clone());
    scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure(&format!("Failed to {} update due to error:", action.name()), Exit::ApiError))?;
    context.console.out(action.success());
    Ok(key.id)
}

/// `update rollback`.
pub fn rollback(arguments: &UpdateRollbackArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.action.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let id = act_on_active(Action::Rollback, &arguments.action, &mut scheduler, context)?;
    if arguments.wait { wait_for(key, Some(&id), Wanted::Back, &mut scheduler, context) } else { Ok(()) }
}
