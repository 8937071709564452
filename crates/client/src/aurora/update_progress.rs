//! How far an update has come, for those who watch it at a terminal. An extra: what cannot be read is not shown.

use std::collections::{BTreeMap, BTreeSet};

use thrift::{
    GetJobUpdateDetailsArguments, JobUpdateAction, JobUpdateDetails, JobUpdateKey, JobUpdateQuery, JobUpdateStatus,
    ResponseResult,
};

use super::Context;
use crate::scheduler::Scheduler;

/// Shows how many instances are as they shall be.
pub fn show(update: &JobUpdateKey, status: JobUpdateStatus, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) {
    let query = JobUpdateQuery { key: Some(update.clone()), ..JobUpdateQuery::default() };
    let call = GetJobUpdateDetailsArguments { key: Some(update.clone()), query: Some(query) };
    let Ok(reply) = scheduler.call_quietly(call, &mut context.console) else { return };
    let Some(ResponseResult::GetJobUpdateDetails(result)) = reply.result else { return };
    if let Some(details) = result.details_list.into_iter().flatten().next().or(result.details) {
        let (done, total) = count(&details, status);
        context.console.progress(status.name(), done, total);
    }
}

/// How many instances are done with, in the direction the update goes, and how many it is about.
fn count(details: &JobUpdateDetails, status: JobUpdateStatus) -> (u64, u64) {
    use JobUpdateAction as Action;
    let instructions = details.update.as_ref().and_then(|update| update.instructions.as_ref());
    let groups = instructions.into_iter().flat_map(|known| known.initial_state.iter().chain(&known.desired_state));
    let all: BTreeSet<i32> =
        groups.flat_map(|group| group.instances.iter()).flat_map(|range| range.first..=range.last).collect();
    let mut latest: BTreeMap<i32, (i64, Option<Action>)> = BTreeMap::new();
    for event in &details.instance_events {
        let known = latest.entry(event.instance_id).or_insert((i64::MIN, None));
        if event.timestamp_ms >= known.0 {
            *known = (event.timestamp_ms, event.action);
        }
    }
    let is_done = |action: Option<Action>| match status {
        JobUpdateStatus::RollingBack | JobUpdateStatus::RollBackPaused | JobUpdateStatus::RollBackAwaitingPulse => {
            matches!(action, Some(Action::InstanceRolledBack | Action::InstanceRollbackFailed))
        }
        _ => matches!(action, Some(Action::InstanceUpdated | Action::InstanceUpdateFailed)),
    };
    let done = latest.values().filter(|(_, action)| is_done(*action)).count() as u64;
    (done, (all.len() as u64).max(done))
}
