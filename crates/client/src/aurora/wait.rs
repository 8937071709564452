//! Waiting for tasks (spec client-cli 2.1, 2.6). Aurora looks first after 2 s and then doubles; we look sooner, and give up at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::JobKey;
use thrift::{GetPendingReasonArguments, LIVE_STATES, ResponseResult, ScheduleStatus, TERMINAL_STATES};

use super::Context;
use super::arguments::WaitUntil;
pub use super::tasks::instance_of;
use super::tasks::{id_of, newest_by_instance, status_of};
use crate::exit::Outcome;
use crate::scheduler::{Scheduler, query_of};

/// The first look comes after this long, then twice as long, up to the longest.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);
/// After this long in PENDING the reason is told, once.
const PENDING_PATIENCE: Duration = Duration::from_secs(5);
/// The doubling intervals of the classic client add up to this before it gives up on a kill: 2 + 4 + ... + 128 s.
pub const KILL_LIMIT: Duration = Duration::from_secs(254);

/// Calls `done` until it says so; false when the limit passed first.
pub fn poll(
    context: &mut Context<'_>,
    limit: Option<Duration>,
    mut done: impl FnMut(&mut Context<'_>) -> Outcome<bool>,
) -> Outcome<bool> {
    let started = context.world.elapsed();
    let mut interval = FIRST_INTERVAL;
    loop {
        if done(context)? {
            return Ok(true);
        }
        if limit.is_some_and(|limit| context.world.elapsed().saturating_sub(started) + interval > limit) {
            return Ok(false);
        }
        context.world.pause(interval);
        interval = (interval * 2).min(LONGEST_INTERVAL);
    }
}

/// Waits until every instance (or each of those named) has come as far as asked; without a time limit.
pub fn wait_until(
    scheduler: &mut Scheduler<'_>,
    job: &JobKey,
    instances: Option<&BTreeSet<i32>>,
    until: WaitUntil,
    context: &mut Context<'_>,
) -> Outcome {
    let far_enough = |status: ScheduleStatus| match until {
        WaitUntil::Pending => true,
        WaitUntil::Running => LIVE_STATES.contains(&status) || TERMINAL_STATES.contains(&status),
        WaitUntil::Finished => TERMINAL_STATES.contains(&status),
    };
    if until == WaitUntil::Pending {
        return Ok(());
    }
    let patience_ends = context.world.elapsed() + PENDING_PATIENCE;
    let mut explained = false;
    poll(context, None, |context| {
        let tasks = scheduler.tasks(query_of(job), &mut context.console)?;
        let newest = newest_by_instance(&tasks);
        let meant = |id: &i32| instances.is_none_or(|ids| ids.contains(id));
        let meant: Vec<_> = newest.into_iter().filter(|(id, _)| meant(id)).collect();
        let pending = meant.iter().find(|(_, task)| status_of(task) == ScheduleStatus::Pending);
        if let (Some((instance, task)), false) = (pending, explained)
            && context.world.elapsed() >= patience_ends
        {
            explained = true;
            let reason = pending_reasons(job, scheduler, context).remove(id_of(task));
            let reason = reason.unwrap_or_else(|| "no machine has offered room yet".into());
            context.console.info(format!("Instance {instance} waits for a machine: {reason}"));
        }
        let (done, total) = (meant.iter().filter(|(_, task)| far_enough(status_of(task))).count(), meant.len());
        let what = if until == WaitUntil::Running { "running" } else { "ended" };
        context.console.progress(what, done as u64, total as u64);
        Ok(done == total)
    })?;
    context.console.end_progress();
    Ok(())
}

/// Why pending tasks of a job wait, by task id, as far as the scheduler knows; the reasons are an extra, so a failure gives none.
pub fn pending_reasons(
    job: &JobKey,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<String, String> {
    let call = GetPendingReasonArguments { query: Some(query_of(job)) };
    match scheduler.call_quietly(call, &mut context.console).map(|reply| reply.result) {
        Ok(Some(ResponseResult::GetPendingReason(result))) => result
            .reasons
            .iter()
            .filter(|reason| !reason.reason.trim().is_empty())
            .map(|reason| (reason.task_id.clone(), reason.reason.clone()))
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// `[0, 1, 5]`, as the classic client prints instances.
pub fn list_text<'a>(ids: impl IntoIterator<Item = &'a i32>) -> String {
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    format!("[{}]", ids.join(", "))
}
