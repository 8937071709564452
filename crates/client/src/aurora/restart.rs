//! `job restart`: a rolling restart driven by the client (spec client-cli 2.7).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use thrift::{RestartShardsArguments, ScheduleStatus, Set, TaskQuery};

use super::Context;
use super::arguments::RestartArguments;
use super::kill::check_strict;
use super::{load, tasks, wait};
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::HookedCall;
use crate::scheduler::{CallError, Reply, Scheduler, active_query_of, query_of, wire_key};

/// `job restart JOB[/INSTANCES]`.
pub fn restart(arguments: &RestartArguments, context: &mut Context<'_>) -> Outcome {
    if arguments.max_total_failures < 0 {
        let text = format!("--max-total-failures must not be negative, but is {}.", arguments.max_total_failures);
        return Err(Failure::new(Exit::InvalidParameter, text));
    }
    let key = &arguments.spec.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let active = scheduler.tasks(active_query_of(&key.job), &mut context.console)?;
    if arguments.strict {
        check_strict(&arguments.spec.instances, active.iter().map(wait::instance_of).collect())?;
    }
    let mut ids: Vec<i32> =
        active.iter().map(wait::instance_of).filter(|id| arguments.spec.instances.contains(*id as u32)).collect();
    ids.sort_unstable();
    let mut hooks = load::hooks_of_file(key, &arguments.hooks, arguments.common.verbose, &mut scheduler, context)?;
    // Hooks are around the restart as a whole, not around each of its calls.
    let rolled = hooks.around(&hooked(arguments), context, |context| {
        if ids.is_empty() {
            context.console.info("No instances specified, nothing to do.");
            return Ok(Reply::default());
        }
        roll(ids.into(), &mut scheduler, arguments, context).map(|()| Reply::default()).map_err(CallError::Failed)
    });
    rolled.map_err(|error| error.failure(&format!("Error restarting job {key}:"), Exit::ApiError))?;
    context.console.out(format!("Job {key} restarted successfully"));
    let url = scheduler.job_url(&key.job);
    context.open_page(arguments.open_browser, &url);
    Ok(())
}

fn hooked(arguments: &RestartArguments) -> HookedCall {
    let updater = serde_json::json!({
        "batch_size": arguments.batch_size,
        "watch_secs": arguments.watch_secs,
        "max_per_shard_failures": arguments.max_per_instance_failures,
        "max_total_failures": arguments.max_total_failures,
    });
    let instances = arguments.spec.instances.named().map(|ids| ids.iter().copied().collect());
    HookedCall::restart(instances, updater, arguments.healthcheck_interval_seconds)
}

fn roll(
    mut waiting: VecDeque<i32>,
    scheduler: &mut Scheduler<'_>,
    arguments: &RestartArguments,
    context: &mut Context<'_>,
) -> Outcome {
    let mut failures: BTreeMap<i32, u32> = BTreeMap::new();
    let mut total = 0;
    let all = waiting.len() as u64;
    while !waiting.is_empty() {
        context.console.progress("restarted", all - waiting.len() as u64, all);
        let count = waiting.len().min(arguments.batch_size as usize);
        let batch: Vec<i32> = waiting.drain(..count).collect();
        context.console.info(format!("Restarting instances: {}", wait::list_text(&batch)));
        send_restart(&batch, scheduler, arguments, context)?;
        for failed in watch(&batch, scheduler, arguments, context)? {
            let count = failures.entry(failed).or_default();
            *count += 1;
            if *count > arguments.max_per_instance_failures {
                total += 1;
                context.console.info(format!("Instance {failed} failed to restart"));
            } else {
                waiting.push_back(failed);
            }
        }
        if total > arguments.max_total_failures {
            context.console.info(format!("{total} instances failed, more than allowed; the others were left alone"));
            return Ok(());
        }
    }
    context.console.end_progress();
    context.console.info("All instances were restarted");
    Ok(())
}

fn send_restart(
    batch: &[i32],
    scheduler: &mut Scheduler<'_>,
    arguments: &RestartArguments,
    context: &mut Context<'_>,
) -> Outcome {
    let key = &arguments.spec.key;
    let call = RestartShardsArguments {
        job: Some(wire_key(&key.job)),
        shard_ids: Some(batch.iter().copied().collect::<Set<i32>>()),
    };
    scheduler
        .call(call, &mut context.console)
        .map(|_| ())
        .map_err(|error| error.failure(&format!("Error restarting job {key}:"), Exit::ApiError))
}

/// What is known of an instance while it is watched.
struct Watched {
    task_id: String,
    since: Duration,
}

/// Watches a batch until each instance stayed RUNNING long enough under one task id, or changed it; gives the failed ones.
fn watch(
    batch: &[i32],
    scheduler: &mut Scheduler<'_>,
    arguments: &RestartArguments,
    context: &mut Context<'_>,
) -> Outcome<Vec<i32>> {
    let interval = Duration::from_secs(arguments.healthcheck_interval_seconds);
    let watch_for = Duration::from_secs(arguments.watch_secs);
    let mut left: Vec<i32> = batch.to_vec();
    let mut seen: BTreeMap<i32, Watched> = BTreeMap::new();
    let mut failed = Vec::new();
    while !left.is_empty() {
        context.world.pause(interval);
        let query = TaskQuery {
            statuses: Some([ScheduleStatus::Running].into_iter().collect()),
            instance_ids: Some(left.iter().copied().collect()),
            ..query_of(&arguments.spec.key.job)
        };
        let running = scheduler.tasks(query, &mut context.console)?;
        let now = context.world.elapsed();
        left.retain(|id| {
            let task = running.iter().find(|task| wait::instance_of(task) == *id).map(tasks::id_of);
            match (task, seen.get(id)) {
                (Some(task), None) => {
                    seen.insert(*id, Watched { task_id: task.to_owned(), since: now });
                    true
                }
                (Some(task), Some(watched)) if watched.task_id == task => now - watched.since <= watch_for,
                // Gone after it ran, or replaced: it did not hold.
                (_, Some(_)) => {
                    failed.push(*id);
                    false
                }
                (None, None) => true,
            }
        });
    }
    Ok(failed)
}
