//! `cron schedule`, `deschedule`, `start`, `show` (spec client-cli 2.15).

use model::JobKey;
use thrift::{
    DescheduleCronJobArguments, GetJobsArguments, ResponseResult, ScheduleCronJobArguments, StartCronJobArguments,
};

use super::arguments::HookFile;
use super::cron_arguments::{CronVerb, DescheduleArguments, ScheduleArguments, ShowArguments, StartArguments};
use super::{Context, load};
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::HookedCall;
use crate::scheduler::{Scheduler, missing_result, model_key, wire_key};
use crate::syntax::ClusterJob;

/// Runs a verb.
pub fn run(verb: &CronVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        CronVerb::Schedule(arguments) => schedule(arguments, context),
        CronVerb::Deschedule(arguments) => deschedule(arguments, context),
        CronVerb::Start(arguments) => start(arguments, context),
        CronVerb::Show(arguments) => show(arguments, context),
    }
}

fn schedule(arguments: &ScheduleArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let job = load::load_job(key, &arguments.path, &arguments.file, &mut scheduler, context)?;
    if job.configuration.cron_schedule.is_none() {
        return Err(Failure::new(
            Exit::CommandFailure,
            format!("{} has no cron_schedule; it goes to the scheduler with `aurora job create`.", key.job),
        ));
    }
    let call = ScheduleCronJobArguments { description: Some((&job.configuration).into()) };
    scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure(&format!("Error scheduling cron job {key}:"), Exit::ApiError))?;
    let url = scheduler.job_url(&key.job);
    context.console.out(format!("Cron job scheduled, status can be viewed at {url}"));
    Ok(())
}

fn deschedule(arguments: &DescheduleArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let call = DescheduleCronJobArguments { job: Some(wire_key(&key.job)) };
    // That it was not scheduled at all is logged by the call.
    scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure(&format!("Error descheduling cron job {key}:"), Exit::ApiError))?;
    context.console.out("Cron descheduling succeeded.");
    Ok(())
}

fn start(arguments: &StartArguments, context: &mut Context<'_>) -> Outcome {
    start_now(&arguments.key, &arguments.hooks, arguments.open_browser, arguments.common.verbose, context)
}

/// Starts a run of a cron job now. That it waits, or is not started because of the run before, is logged and no error.
pub fn start_now(
    key: &ClusterJob,
    hook_file: &HookFile,
    open_browser: bool,
    verbose: bool,
    context: &mut Context<'_>,
) -> Outcome {
    let mut scheduler = context.scheduler(&key.cluster)?;
    let mut hooks = load::hooks_of_file(key, hook_file, verbose, &mut scheduler, context)?;
    let call = StartCronJobArguments { job: Some(wire_key(&key.job)) };
    hooks
        .around(&HookedCall::start_cronjob(), context, |context| scheduler.call(call, &mut context.console))
        .map_err(|error| error.failure(&format!("Error starting cron job {key}:"), Exit::ApiError))?;
    let url = scheduler.job_url(&key.job);
    context.open_page(open_browser, &url);
    Ok(())
}

fn show(arguments: &ShowArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let schedules = schedules_of(&key.job.role, &mut scheduler, context)?;
    match schedules.iter().find(|(job, _)| *job == key.job) {
        Some((_, schedule)) if context.console.is_json() => {
            context.console.out_json(&serde_json::json!({ "job": key.to_string(), "schedule": schedule }));
            Ok(())
        }
        Some((_, schedule)) => {
            context.console.out(line(&key.to_string(), schedule));
            Ok(())
        }
        None => Err(Failure::new(Exit::InvalidParameter, format!("No cron entry found for job {key}"))),
    }
}

/// A job and its schedule as the classic client writes them.
pub fn line(key: &str, schedule: &str) -> String {
    format!("{key}\t {schedule}")
}

/// The schedules of a role's cron jobs.
pub fn schedules_of(
    role: &str,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Vec<(JobKey, String)>> {
    let reply = scheduler
        .call(GetJobsArguments { owner_role: Some(role.to_owned()) }, &mut context.console)
        .map_err(|error| error.failure("Could not read the cluster's jobs:", Exit::CommandFailure))?;
    let Some(ResponseResult::GetJobs(result)) = reply.result else { return Err(missing_result("getJobs")) };
    let schedules = result.configs.iter().filter_map(|job| {
        let schedule = job.cron_schedule.clone().filter(|schedule| !schedule.is_empty())?;
        Some((model_key(job.key.as_ref()), schedule))
    });
    Ok(schedules.collect())
}
