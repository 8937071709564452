//! startJobUpdate: the checks in Aurora's order, the difference between what runs and what is wanted, and the first step (spec
//! scheduler 3.2, 3.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::key::format_uuid;
use model::update::{
    InstanceConfig, InstanceRange, Update, UpdateEvent, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy,
    to_ranges,
};
use model::validation::admit_task;
use model::{InstanceId, TaskConfig, UpdateKey};

use super::{Active, pulse_timeout_ms};
use crate::command::{Outcome, Reply, ReplyCode};
use crate::commands::{Checked, invalid, refuse};
use crate::input::Principal;
use crate::scheduler::Scheduler;

/// Longest message of an update event, in characters (spec thrift-api 3.5).
const MAX_MESSAGE_CHARS: usize = 1024;

pub(super) fn check_message(message: Option<&String>) -> Checked<()> {
    match message {
        Some(message) if message.chars().count() > MAX_MESSAGE_CHARS => {
            refuse(ReplyCode::Error, format!("The message is longer than {MAX_MESSAGE_CHARS} characters: shorten it."))
        }
        _ => Ok(()),
    }
}

/// The ids in ranges, each looked at once however often the ranges overlap.
fn spread(ranges: &[InstanceRange]) -> BTreeSet<InstanceId> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut next = 0;
    let mut ids = BTreeSet::new();
    for range in sorted {
        ids.extend(range.first.max(next)..=range.last);
        next = next.max(range.last.saturating_add(1));
    }
    ids
}

/// What an update replaces, and by what.
struct Difference {
    initial: Vec<InstanceConfig>,
    desired: BTreeSet<InstanceId>,
}

impl Scheduler {
    /// Starts an update.
    pub(crate) fn start_update(
        &mut self,
        principal: &Principal,
        request: UpdateRequest,
        message: Option<String>,
    ) -> Checked<Reply> {
        check_message(message.as_ref())?;
        if !request.task.is_service {
            return invalid("Only service tasks can be updated: a batch job is killed and created again.");
        }
        self.check_settings(&request)?;
        let task = admit_task(request.task.clone(), request.instance_count, &self.core.settings.admission)
            .or_else(|refused| invalid(format!("Invalid configuration: {refused}")))?;
        let job = task.job.clone();
        let max = self.core.settings.admission.max_tasks_per_job;
        if request.instance_count > max {
            self.check_instance_count(&job, i64::from(request.instance_count))?;
        }
        let Ok(count) = InstanceId::try_from(request.instance_count) else {
            return refuse(ReplyCode::Error, "The number of instances must not be negative.");
        };
        self.check_not_cron(&job, "schedule it anew instead of updating it")?;
        let difference = self.difference(&task, count, &request.settings)?;
        if difference.initial.is_empty() && difference.desired.is_empty() {
            let message = format!("Job {job} is as the update wants it already: nothing to do.");
            return Ok(Reply { messages: vec![message], ..Reply::ok() });
        }
        let update = self.new_update(principal, request, task, difference, message);
        self.check_instance_count(&job, i64::from(count))?;
        self.core.check_update_quota(&update).or_else(invalid)?;
        if let Some(running) = self.core.store.view.active_update(&job) {
            return Err(Reply {
                code: ReplyCode::InvalidRequest,
                messages: vec![format!("Job {job} is being updated already (update {}).", running.key.id)],
                outcome: Outcome::Update(Box::new(running.as_ref().clone())),
            });
        }
        let key = update.key.clone();
        self.core.count(&format!("update_transition_{}", update.status()), 1);
        let answer = update.clone();
        self.updates.active.insert(job, Active::new(&update));
        self.core.store.put_update(update);
        self.take_up(&key);
        Ok(Reply { outcome: Outcome::Update(Box::new(answer)), ..Reply::ok() })
    }

    fn check_settings(&self, request: &UpdateRequest) -> Checked<()> {
        let settings = &request.settings;
        let sizes: &[i32] = match &settings.strategy {
            UpdateStrategy::Queue { group_size } | UpdateStrategy::Batch { group_size, .. } => &[*group_size],
            UpdateStrategy::VariableBatch { group_sizes, .. } => group_sizes,
        };
        if sizes.is_empty() || sizes.iter().any(|size| *size <= 0) {
            return invalid("The update would modify no instance: every group size must be positive.");
        }
        if settings.max_per_instance_failures < 0 {
            return invalid("maxPerInstanceFailures must not be negative.");
        }
        if settings.max_failed_instances < 0 {
            return invalid("maxFailedInstances must not be negative.");
        }
        let failures = i64::from(settings.max_per_instance_failures) * i64::from(request.instance_count);
        let max = self.core.settings.max_update_instance_failures;
        if failures > max {
            return invalid(format!("Your update allows {failures} failures of instances; this cluster allows {max}."));
        }
        if settings.min_wait_in_running_ms < 0 {
            return invalid("minWaitInInstanceRunningMs must not be negative.");
        }
        if settings.block_if_no_pulses_after_ms.is_some_and(|ms| ms < 0) {
            return invalid("blockIfNoPulsesAfterMs must not be negative.");
        }
        if settings.sla_aware && request.task.sla_policy.is_none() {
            return invalid("An SLA-aware update needs an slaPolicy in its configuration.");
        }
        Ok(())
    }

    fn difference(&self, task: &TaskConfig, count: InstanceId, settings: &UpdateSettings) -> Checked<Difference> {
        let active = self.core.jobs.get(&task.job).map(|index| &index.active);
        let current: BTreeMap<InstanceId, &Arc<TaskConfig>> = active
            .into_iter()
            .flatten()
            .filter_map(|(instance, active)| Some((*instance, &self.core.store.view.tasks.get(&active.id)?.config)))
            .collect();
        let beyond = current.keys().next_back().map_or(0, |last| last + 1).max(count);
        // Looked at before the ranges are spread out: they may name billions of instances.
        let scope = if settings.only_these_instances.is_empty() {
            None
        } else if settings.only_these_instances.iter().any(|range| range.last >= beyond) {
            return invalid("The update names instances that are neither running nor wanted.");
        } else {
            Some(spread(&settings.only_these_instances))
        };
        let in_scope = |instance: &InstanceId| scope.as_ref().is_none_or(|scope| scope.contains(instance));
        let differs = |instance: &InstanceId| current.get(instance).is_none_or(|config| ***config != *task);
        let mut replaced: BTreeMap<&TaskConfig, BTreeSet<InstanceId>> = BTreeMap::new();
        for (instance, config) in &current {
            if in_scope(instance) && (*instance >= count || differs(instance)) {
                replaced.entry(config).or_default().insert(*instance);
            }
        }
        let desired = (0..count).filter(|instance| in_scope(instance) && differs(instance)).collect();
        let unknown: Vec<InstanceId> = scope
            .iter()
            .flatten()
            .copied()
            .filter(|instance| *instance >= count && !current.contains_key(instance))
            .collect();
        if !unknown.is_empty() {
            return invalid(format!("The update names instances that are neither running nor wanted: {unknown:?}."));
        }
        let initial = replaced
            .into_iter()
            .map(|(config, instances)| InstanceConfig { task: config.clone(), instances: to_ranges(instances) })
            .collect();
        Ok(Difference { initial, desired })
    }

    fn new_update(
        &mut self,
        principal: &Principal,
        request: UpdateRequest,
        task: TaskConfig,
        difference: Difference,
        message: Option<String>,
    ) -> Update {
        let key = UpdateKey { job: task.job.clone(), id: format_uuid(self.core.random.next_u128()) };
        let desired =
            (!difference.desired.is_empty()).then(|| InstanceConfig { task, instances: to_ranges(difference.desired) });
        let mut update = Update {
            key,
            user: principal.name.clone(),
            settings: request.settings,
            metadata: request.metadata,
            initial: difference.initial,
            desired,
            events: Vec::new(),
            instance_events: Vec::new(),
        };
        let coordinated = pulse_timeout_ms(&update).is_some();
        let status = if coordinated { UpdateStatus::RollForwardAwaitingPulse } else { UpdateStatus::RollingForward };
        let timestamp_ms = self.core.now.wall_ms;
        update.events.push(UpdateEvent { status, timestamp_ms, user: Some(principal.name.clone()), message });
        update
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_empty_ranges_spread_into_each_id_once() {
        let range = |first, last| InstanceRange { first, last };
        let ids: Vec<_> =
            spread(&[range(5, 7), range(0, 2), range(1, 6), range(9, 8), range(10, 10)]).into_iter().collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7, 10]);
        let many = vec![range(0, 3999); 100_000];
        assert_eq!(spread(&many).len(), 4000);
    }
}
