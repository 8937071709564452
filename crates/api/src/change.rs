//! Changes: a call becomes a command, the command's outcome a result. Whether a change is allowed is decided behind the gateway; refused
//! here is only what cannot be put into a command at all.

use std::collections::BTreeSet;

use gateway::Gateway;
use model::update::{Update, UpdateRequest};
use scheduler::command::{Outcome, UpdateControl};
use scheduler::{Command, Idempotency, Principal, Reply, ReplyCode};
use thrift::convert::{ConversionError, instance_from_wire};
use thrift::{
    AddInstancesArguments, Call, JobUpdateKey, JobUpdatePulseStatus, JobUpdateSummary, KillTasksArguments,
    PulseJobUpdateResult, ResponseResult, RestartShardsArguments, Set, SetQuotaArguments, StartJobUpdateArguments,
    StartJobUpdateResult,
};

use crate::answer::{Answer, MethodResult, Refusal, given, given_job, given_update};

/// Who asks for a change, and by what a repetition of it is known.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who.
    pub principal: Principal,
    /// If a key came along.
    pub idempotency: Option<Idempotency>,
}

impl Asker {
    /// Asks for a change and waits for the answer.
    pub async fn submit(&self, gateway: &Gateway, command: Command) -> Reply {
        gateway.submit_once(self.principal.clone(), command, self.idempotency.clone()).await
    }
}

/// The longest message that may accompany a change of an update, in characters (spec thrift-api 3.5).
const MAX_MESSAGE_CHARS: usize = 1024;

/// The command of a call; `None` when the call is no change this version knows.
pub fn command(call: Call) -> Option<MethodResult<Command>> {
    let control = |key, action, message| control_update(key, action, message);
    Some(match call {
        Call::CreateJob(arguments) => create_job(arguments.description),
        Call::KillTasks(arguments) => kill_tasks(arguments),
        Call::RestartShards(arguments) => restart_tasks(arguments),
        Call::AddInstances(arguments) => add_instances(arguments),
        Call::StartJobUpdate(arguments) => start_update(arguments),
        Call::PauseJobUpdate(arguments) => control(arguments.key, UpdateControl::Pause, arguments.message),
        Call::ResumeJobUpdate(arguments) => control(arguments.key, UpdateControl::Resume, arguments.message),
        Call::AbortJobUpdate(arguments) => control(arguments.key, UpdateControl::Abort, arguments.message),
        Call::RollbackJobUpdate(arguments) => control(arguments.key, UpdateControl::Rollback, arguments.message),
        Call::PulseJobUpdate(arguments) => given_update(arguments.key, "key").map(|key| Command::PulseUpdate { key }),
        Call::ScheduleCronJob(arguments) => {
            cron_job(arguments.description, "description").map(Command::ScheduleCronJob)
        }
        Call::ReplaceCronTemplate(arguments) => cron_job(arguments.config, "config").map(Command::ReplaceCronTemplate),
        Call::DescheduleCronJob(arguments) => {
            given_job(arguments.job, "job").map(|job| Command::DescheduleCronJob { job })
        }
        Call::StartCronJob(arguments) => given_job(arguments.job, "job").map(|job| Command::StartCronJob { job }),
        Call::SetQuota(arguments) => set_quota(arguments),
        _ => return None,
    })
}

fn invalid(error: ConversionError) -> Refusal {
    Refusal::invalid(error.0)
}

/// The instances of a set of the wire.
fn instances(set: Option<Set<i32>>) -> MethodResult<BTreeSet<u32>> {
    set.unwrap_or_default().into_iter().map(|number| instance_from_wire(number).map_err(invalid)).collect()
}

fn short_message(message: Option<String>) -> MethodResult<Option<String>> {
    match message {
        Some(message) if message.chars().count() > MAX_MESSAGE_CHARS => {
            Err(Refusal::error(format!("The message is longer than {MAX_MESSAGE_CHARS} characters.")))
        }
        message => Ok(message),
    }
}

fn create_job(description: Option<thrift::JobConfiguration>) -> MethodResult<Command> {
    let job = given(description, "description")?.try_into().map_err(invalid)?;
    Ok(Command::CreateJob(Box::new(job)))
}

/// The key of a cron job is looked at before everything else, and a bad one is an error (spec scheduler 9.1).
fn cron_job(job: Option<thrift::JobConfiguration>, what: &str) -> MethodResult<Box<model::JobConfiguration>> {
    let job = given(job, what)?;
    given_job(job.key.clone(), "key of the job")?;
    Ok(Box::new(job.try_into().map_err(invalid)?))
}

/// The first argument of killTasks. Clients of Aurora 0.7 and before send another one, which is passed over like all that is unknown.
const KILLED_JOB: &str = "job (a job key; clients of Aurora 0.7 and older send a query instead: use a newer one)";

fn kill_tasks(arguments: KillTasksArguments) -> MethodResult<Command> {
    Ok(Command::KillTasks {
        job: given_job(arguments.job, KILLED_JOB)?,
        instances: instances(arguments.instances)?,
        message: arguments.message,
    })
}

fn restart_tasks(arguments: RestartShardsArguments) -> MethodResult<Command> {
    let job = given_job(arguments.job, "job")?;
    let instances = instances(arguments.shard_ids)?;
    if instances.is_empty() {
        return Err(Refusal::error("Name at least one instance to restart."));
    }
    Ok(Command::RestartTasks { job, instances })
}

fn add_instances(arguments: AddInstancesArguments) -> MethodResult<Command> {
    let key = given(arguments.key, "key")?;
    Ok(Command::AddInstances {
        job: given_job(key.job_key, "job of the instance key")?,
        template: instance_from_wire(key.instance_id).map_err(invalid)?,
        count: arguments.count,
    })
}

fn start_update(arguments: StartJobUpdateArguments) -> MethodResult<Command> {
    let request = given(arguments.request, "request")?;
    given(request.settings.as_ref(), "settings of the request")?;
    let message = short_message(arguments.message)?;
    let request = UpdateRequest::try_from(request).map_err(invalid)?;
    Ok(Command::StartUpdate { request: Box::new(request), message })
}

fn control_update(key: Option<JobUpdateKey>, action: UpdateControl, message: Option<String>) -> MethodResult<Command> {
    let key = given_update(key, "key")?;
    Ok(Command::ControlUpdate { key, action, message: short_message(message)? })
}

fn set_quota(arguments: SetQuotaArguments) -> MethodResult<Command> {
    let role = arguments.owner_role.filter(|role| !role.trim().is_empty());
    let role = role.ok_or_else(|| Refusal::error("The role is missing."))?;
    let quota =
        given(arguments.quota, "quota")?.try_into().map_err(|error: ConversionError| Refusal::error(error.0))?;
    Ok(Command::SetQuota { role, quota })
}

/// The answer that a command's reply makes.
pub fn answer(reply: Reply) -> Answer {
    let result = match &reply.outcome {
        Outcome::None | Outcome::Tasks(_) | Outcome::Hosts(_) | Outcome::KeyOfAnother => None,
        Outcome::Update(update) => Some(started_update(update, reply.code == ReplyCode::Ok)),
        Outcome::Pulse { active } => {
            let status = if *active { JobUpdatePulseStatus::Ok } else { JobUpdatePulseStatus::Finished };
            Some(ResponseResult::PulseJobUpdate(PulseJobUpdateResult { status: Some(status) }))
        }
    };
    Answer::of_reply(reply, result)
}

/// A fresh update is answered without its state, the one that stands in its way with it (spec thrift-api 3.5).
fn started_update(update: &Update, fresh: bool) -> ResponseResult {
    let mut summary = JobUpdateSummary::from(update);
    if fresh {
        summary.state = None;
    }
    ResponseResult::StartJobUpdate(StartJobUpdateResult {
        key: Some(JobUpdateKey::from(&update.key)),
        update_summary: Some(summary),
    })
}
