//! `job create`, `list`, `add`, `open` (spec client-cli 2.1, 2.3, 2.8, 2.9).

use model::JobKey;
use thrift::{AddInstancesArguments, CreateJobArguments, GetJobsArguments, InstanceKey, ResponseResult};

use super::Context;
use super::arguments::{AddArguments, CreateArguments, ListArguments, OpenArguments};
use super::{load, wait};
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::HookedCall;
use crate::scheduler::{Scheduler, active_query_of, located, missing_result, model_key, query_of, wire_key};
use crate::syntax::{ClusterJob, WildcardKey};

/// `job create JOBKEY FILE`.
pub fn create(arguments: &CreateArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let job = load::load_job(key, &arguments.path, &arguments.file, &mut scheduler, context)?;
    refuse_cron(&job.configuration, "aurora cron schedule")?;
    context.console.info(format!("Creating job {}", key.job.name));
    let mut hooks = load::hooks_of(&job, &arguments.path, &arguments.file, arguments.common.verbose, context)?;
    let call = CreateJobArguments { description: Some((&job.configuration).into()) };
    hooks
        .around(&HookedCall::create_job(), context, |context| scheduler.call(call, &mut context.console))
        .map_err(|error| error.failure("Job creation failed due to error:", Exit::CommandFailure))?;
    let url = scheduler.job_url(&key.job);
    context.open_page(arguments.open_browser, &url);
    wait::wait_until(&mut scheduler, &key.job, None, arguments.wait_until, context)?;
    if scheduler.tasks(query_of(&key.job), &mut context.console)?.is_empty() {
        return Err(Failure::new(
            Exit::CommandFailure,
            format!("Error occurred while creating job {key}: it has no tasks."),
        ));
    }
    context.console.out(format!("Job create succeeded: job url={url}"));
    Ok(())
}

/// A job with a schedule goes another way.
pub fn refuse_cron(job: &model::JobConfiguration, verb: &str) -> Outcome {
    match &job.cron_schedule {
        Some(_) => Err(Failure::new(
            Exit::CommandFailure,
            format!("{} has a cron schedule; it goes to the scheduler with `{verb}`.", job.key),
        )),
        None => Ok(()),
    }
}

/// `job list KEY`.
pub fn list(arguments: &ListArguments, context: &mut Context<'_>) -> Outcome {
    let keys: Vec<String> = expand(&arguments.key, context)?.iter().map(ToString::to_string).collect();
    if context.console.is_json() {
        context.console.out_json(&keys.into());
    } else {
        keys.iter().for_each(|key| context.console.out(key));
    }
    Ok(())
}

/// The jobs that a wildcard key means, sorted within each cluster. A bound key is echoed without asking anybody.
pub fn expand(key: &WildcardKey, context: &mut Context<'_>) -> Outcome<Vec<ClusterJob>> {
    if !key.is_pattern() {
        let job = JobKey::new(&key.role, &key.environment, &key.name);
        return Ok(vec![ClusterJob { cluster: key.cluster.clone(), job }]);
    }
    let clusters: Vec<String> = match key.cluster.as_str() {
        "*" => context.clusters.names().into_iter().map(str::to_owned).collect(),
        name => vec![name.to_owned()],
    };
    let mut found = Vec::new();
    for cluster in clusters {
        let mut scheduler = context.scheduler(&cluster)?;
        let role = (!key.role.contains('*')).then(|| key.role.clone());
        let mut jobs: Vec<JobKey> =
            jobs_of(role, &mut scheduler, context)?.into_iter().filter(|job| key.matches(job)).collect();
        jobs.sort();
        found.extend(jobs.into_iter().map(|job| ClusterJob { cluster: cluster.clone(), job }));
    }
    Ok(found)
}

fn jobs_of(role: Option<String>, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) -> Outcome<Vec<JobKey>> {
    let reply = scheduler
        .call(GetJobsArguments { owner_role: role }, &mut context.console)
        .map_err(|error| error.failure("Could not read the cluster's jobs:", Exit::CommandFailure))?;
    match reply.result {
        Some(ResponseResult::GetJobs(result)) => {
            Ok(result.configs.iter().map(|job| model_key(job.key.as_ref())).collect())
        }
        _ => Err(missing_result("getJobs")),
    }
}

/// `job add JOB/INSTANCE COUNT`.
pub fn add(arguments: &AddArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.task.key;
    let instance = arguments.task.instance as i32;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let active = scheduler.tasks(active_query_of(&key.job), &mut context.console)?;
    if !active.iter().any(|task| wait::instance_of(task) == instance) {
        return Err(Failure::new(
            Exit::InvalidParameter,
            format!("Invalid instance {instance}: job {key} has no such active instance."),
        ));
    }
    let mut hooks = load::hooks_of_file(key, &arguments.hooks, arguments.common.verbose, &mut scheduler, context)?;
    let first_new = active.iter().map(wait::instance_of).max().unwrap_or(instance) + 1;
    let call = AddInstancesArguments {
        key: Some(InstanceKey { job_key: Some(wire_key(&key.job)), instance_id: instance }),
        count: arguments.count,
    };
    let hooked = HookedCall::add_instances(instance, arguments.count);
    hooks
        .around(&hooked, context, |context| scheduler.call(call, &mut context.console))
        .map_err(|error| error.failure(&format!("Error adding instances to job {key}:"), Exit::ApiError))?;
    let new = (first_new..first_new.saturating_add(arguments.count)).collect();
    wait::wait_until(&mut scheduler, &key.job, Some(&new), arguments.wait_until, context)?;
    let url = scheduler.job_url(&key.job);
    context.open_page(arguments.open_browser, &url);
    Ok(())
}

/// `job open KEY`.
pub fn open(arguments: &OpenArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut cluster = context.clusters.get(&key.cluster)?;
    if cluster.display_url == cluster.url {
        cluster = located(cluster, context.world)?;
    }
    let mut url = format!("{}/scheduler", cluster.display_url);
    for part in [&key.role, &key.environment, &key.name].into_iter().flatten() {
        url.push('/');
        url.push_str(part);
    }
    context.open_page(true, &url);
    Ok(())
}
