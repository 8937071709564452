//! `job kill` and `job killall` (spec client-cli 2.6).

use std::collections::BTreeSet;

use model::JobKey;
use thrift::{KillTasksArguments, Set, SlaPolicy, TaskQuery};

use super::Context;
use super::arguments::{KillArguments, KillOptions, KillallArguments};
use super::load;
use super::wait::{self, KILL_LIMIT};
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::{HookedCall, Hooks};
use crate::scheduler::{Scheduler, active_query_of, wire_key};
use crate::syntax::{ClusterJob, Instances};

/// `job kill JOB/INSTANCES`.
pub fn kill(arguments: &KillArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.spec.key;
    if arguments.spec.instances == Instances::All {
        return Err(Failure::new(
            Exit::InvalidParameter,
            format!(
                "The instances are missing: write for example {key}/0-2, or kill all of them with `aurora job killall {key}`."
            ),
        ));
    }
    let mut scheduler = context.scheduler(&key.cluster)?;
    let active = scheduler.tasks(active_query_of(&key.job), &mut context.console)?;
    if arguments.strict {
        check_strict(&arguments.spec.instances, active.iter().map(wait::instance_of).collect())?;
    }
    let is_guarded = active
        .iter()
        .filter_map(|task| task.assigned_task.as_ref()?.task.as_ref())
        .any(|task| matches!(task.sla_policy, Some(SlaPolicy::Count(_) | SlaPolicy::Percentage(_))));
    if is_guarded {
        context.console.out(
            "WARNING: killing instances does not change the job's SLA policy, which counts them; \
             change the number of instances with `aurora update start` instead.",
        );
    }
    let ids: BTreeSet<i32> =
        active.iter().map(wait::instance_of).filter(|id| arguments.spec.instances.contains(*id as u32)).collect();
    let named = arguments.spec.instances.named().map(|ids| ids.iter().map(|id| *id as i32).collect());
    let targets = Targets { key, active: ids, named };
    kill_targets(&mut scheduler, targets, &arguments.options, context)?;
    context.console.out("Job kill succeeded");
    finish(&scheduler, key, &arguments.options, context);
    Ok(())
}

/// `job killall JOB`.
pub fn killall(arguments: &KillallArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let active = scheduler.tasks(active_query_of(&key.job), &mut context.console)?;
    let targets = Targets { key, active: active.iter().map(wait::instance_of).collect(), named: None };
    kill_targets(&mut scheduler, targets, &arguments.options, context)?;
    context.console.out("Job killall succeeded");
    finish(&scheduler, key, &arguments.options, context);
    Ok(())
}

fn finish(scheduler: &Scheduler<'_>, key: &ClusterJob, options: &KillOptions, context: &mut Context<'_>) {
    let url = scheduler.job_url(&key.job);
    context.open_page(options.open_browser, &url);
}

/// With `--strict`, every named instance must be active.
pub fn check_strict(instances: &Instances, active: BTreeSet<i32>) -> Outcome {
    let missing: Vec<i32> =
        instances.named().into_iter().flatten().map(|id| *id as i32).filter(|id| !active.contains(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::InvalidParameter,
        format!("Invalid instances: {} are not active.", wait::list_text(&missing)),
    ))
}

/// What is to be killed.
struct Targets<'a> {
    key: &'a ClusterJob,
    /// Those meant that are active now.
    active: BTreeSet<i32>,
    /// Those named on the command line; none means all.
    named: Option<BTreeSet<i32>>,
}

fn kill_targets(
    scheduler: &mut Scheduler<'_>,
    targets: Targets<'_>,
    options: &KillOptions,
    context: &mut Context<'_>,
) -> Outcome {
    if targets.active.is_empty() {
        context.console.err(format!("No tasks to kill found for job {}", targets.key));
        return Ok(());
    }
    let verbose = options.common.verbose;
    let mut hooks = load::hooks_of_file(targets.key, &options.hooks, verbose, scheduler, context)?;
    if options.no_batching {
        return kill_at_once(scheduler, &targets, &mut hooks, options, context);
    }
    let ids: Vec<i32> = targets.active.iter().copied().collect();
    let mut errors = 0;
    let mut done = 0;
    for batch in ids.chunks(options.batch_size as usize) {
        let batch: BTreeSet<i32> = batch.iter().copied().collect();
        send_kill(scheduler, targets.key, Some(&batch), &mut hooks, options.message.as_deref(), context)?;
        let is_dead = wait_for_death(scheduler, &targets.key.job, Some(&batch), (done, ids.len()), context)?;
        done += batch.len();
        if is_dead {
            context.console.out(format!("Successfully killed instances {}", wait::list_text(&batch)));
            continue;
        }
        errors += 1;
        context.console.err(format!("Instances {} were not killed in time", wait::list_text(&batch)));
        if errors > options.max_total_failures {
            let text = format!("Exceeded maximum number of errors while killing instances of {}.", targets.key);
            return Err(Failure::new(Exit::CommandFailure, text));
        }
    }
    context.console.end_progress();
    if errors > 0 {
        return Err(Failure::new(Exit::CommandFailure, "Errors occurred while killing instances."));
    }
    Ok(())
}

fn kill_at_once(
    scheduler: &mut Scheduler<'_>,
    targets: &Targets<'_>,
    hooks: &mut Hooks,
    options: &KillOptions,
    context: &mut Context<'_>,
) -> Outcome {
    send_kill(scheduler, targets.key, targets.named.as_ref(), hooks, options.message.as_deref(), context)?;
    let progress = (0, targets.active.len());
    if wait_for_death(scheduler, &targets.key.job, targets.named.as_ref(), progress, context)? {
        return Ok(());
    }
    let ids = wait::list_text(&targets.active);
    Err(Failure::new(Exit::Timeout, format!("Instances {ids} were not killed in time")))
}

fn send_kill(
    scheduler: &mut Scheduler<'_>,
    key: &ClusterJob,
    instances: Option<&BTreeSet<i32>>,
    hooks: &mut Hooks,
    message: Option<&str>,
    context: &mut Context<'_>,
) -> Outcome {
    let call = KillTasksArguments {
        job: Some(wire_key(&key.job)),
        instances: instances.map(|ids| ids.iter().copied().collect()),
        message: message.map(str::to_owned),
    };
    let hooked = HookedCall::kill_job(instances.map(|ids| ids.iter().copied().collect()), message);
    hooks
        .around(&hooked, context, |context| scheduler.call(call, &mut context.console))
        .map(|_| ())
        .map_err(|error| error.failure(&format!("Error killing job {key}:"), Exit::ApiError))
}

/// Waits until none of the instances is active; false when it took too long. Before, so many of so many were dead already.
pub fn wait_for_death(
    scheduler: &mut Scheduler<'_>,
    job: &JobKey,
    instances: Option<&BTreeSet<i32>>,
    (done, total): (usize, usize),
    context: &mut Context<'_>,
) -> Outcome<bool> {
    let meant = instances.map_or(total - done, BTreeSet::len);
    wait::poll(context, Some(KILL_LIMIT), |context| {
        let query = TaskQuery {
            instance_ids: instances.map(|ids| ids.iter().copied().collect::<Set<i32>>()),
            ..active_query_of(job)
        };
        let left = scheduler.tasks(query, &mut context.console)?.len();
        context.console.progress("killed", (done + meant.saturating_sub(left)) as u64, total as u64);
        Ok(left == 0)
    })
}
