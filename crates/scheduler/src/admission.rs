//! What is refused before anything is changed, with its code and its sentence (spec scheduler 9.4): for the scheduler that is about
//! to do it, and for whoever asks what would be ([`crate::forecast`]). The order of the checks is part of the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::cron::Schedule;
use model::update::{InstanceConfig, InstanceRange, Update, UpdateRequest, UpdateStrategy, to_ranges};
use model::validation::{admit_job, admit_task};
use model::{CronCollisionPolicy, InstanceId, JobConfiguration, JobKey, TaskConfig, UpdateKey};

use crate::command::{Outcome, Reply, ReplyCode};
use crate::commands::{Checked, invalid, refuse};
use crate::core::Core;
use crate::input::Principal;
use crate::quota;
use crate::settings::Settings;
use crate::task::Task;
use crate::view::View;

/// What checks look at: the scheduler's own tables, or a frozen view. They differ in how fast active tasks are found.
pub(crate) trait Tables {
    /// The tables.
    fn view(&self) -> &View;
    /// What the operator set.
    fn settings(&self) -> &Settings;
    /// Jobs of a role with a stored task, in order.
    fn jobs_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a JobKey>;
    /// Active tasks of a job, one for each instance.
    fn active(&self, job: &JobKey) -> impl Iterator<Item = &Arc<Task>>;
}

impl Tables for Core {
    fn view(&self) -> &View {
        &self.store.view
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn jobs_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a JobKey> {
        let jobs = self.jobs.range(JobKey::new(role, "", "")..).map(|(job, _)| job);
        jobs.take_while(move |job| job.role == role)
    }

    fn active(&self, job: &JobKey) -> impl Iterator<Item = &Arc<Task>> {
        let active = self.jobs.get(job).into_iter().flat_map(|index| index.active.values());
        active.filter_map(|active| self.store.view.tasks.get(&active.id))
    }
}

impl Tables for View {
    fn view(&self) -> &View {
        self
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn jobs_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a JobKey> {
        let jobs = self.tasks_by_job.range(JobKey::new(role, "", "")..).map(|(job, _)| job);
        jobs.take_while(move |job| job.role == role)
    }

    fn active(&self, job: &JobKey) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks_of(job).filter(|task| task.status.is_active())
    }
}

/// Nothing about a job that is being updated changes.
pub(crate) fn check_not_updating(view: &View, job: &JobKey) -> Checked<()> {
    match view.active_update(job) {
        None => Ok(()),
        Some(update) => refuse(
            ReplyCode::JobUpdatingError,
            format!("Job {job} is being updated (update {}): wait for it, or abort it first.", update.key.id),
        ),
    }
}

/// Refuses what is not for cron jobs.
pub(crate) fn check_not_cron(view: &View, job: &JobKey, instead: &str) -> Checked<()> {
    if view.cron_jobs.contains_key(job) {
        return invalid(format!("Job {job} is a cron job: {instead}."));
    }
    Ok(())
}

/// A job has instances, and not too many.
pub(crate) fn check_instance_count(settings: &Settings, job: &JobKey, count: i64) -> Checked<()> {
    let max = i64::from(settings.admission.max_tasks_per_job);
    if count <= 0 {
        return invalid(format!("Job {job} would have {count} instances; it needs at least one."));
    }
    if count > max {
        return invalid(format!("Job {job} would have {count} instances; this cluster allows {max} per job."));
    }
    Ok(())
}

/// A key that can be one.
pub(crate) fn check_key(job: &JobKey) -> Checked<()> {
    if job.is_valid() {
        return Ok(());
    }
    let message = format!("Job key {job} is invalid: each part is letters, digits, '_', '-' and '.'.");
    refuse(ReplyCode::Error, message)
}

/// Whether a job may be created; as it would be stored.
pub(crate) fn check_create(state: &impl Tables, job: JobConfiguration) -> Checked<JobConfiguration> {
    let job = admit_job(job, &state.settings().admission)
        .or_else(|refused| invalid(format!("Invalid configuration: {refused}")))?;
    if job.cron_schedule.is_some() {
        return invalid("Cron jobs cannot be created by createJob: use cron schedule.");
    }
    check_not_updating(state.view(), &job.key)?;
    check_not_cron(state.view(), &job.key, "it already exists, schedule it anew or start it")?;
    if state.active(&job.key).next().is_some() {
        return invalid(format!("Job {} already exists: kill it first, or update it.", job.key));
    }
    let count = i64::from(job.instance_count);
    check_instance_count(state.settings(), &job.key, count)?;
    let needed = quota::needed_for_tasks(state, &job.task, count);
    quota::within_quota(state, &job.key.role, needed).or_else(invalid)?;
    Ok(job)
}

/// Whether a cron job may be scheduled; as it would be stored, and when it runs.
pub(crate) fn check_cron(
    state: &impl Tables,
    job: JobConfiguration,
    must_exist: bool,
) -> Checked<(JobConfiguration, Schedule)> {
    check_key(&job.key)?;
    let job = admit_job(job, &state.settings().admission)
        .or_else(|refused| invalid(format!("Invalid configuration: {refused}")))?;
    let Some(text) = job.cron_schedule.as_deref() else {
        return invalid(format!("Job {} has no cron schedule: create it with job create.", job.key));
    };
    let schedule: Schedule = text.parse().or_else(|error| invalid(format!("{error}")))?;
    if job.cron_collision_policy == CronCollisionPolicy::RunOverlap {
        return invalid("The collision policy RUN_OVERLAP is no more: use KILL_EXISTING or CANCEL_NEW.");
    }
    check_not_updating(state.view(), &job.key)?;
    if !state.view().cron_jobs.contains_key(&job.key) {
        if must_exist {
            return invalid(format!("No cron job found for {}: schedule it first.", job.key));
        }
        if state.active(&job.key).next().is_some() {
            let key = &job.key;
            return invalid(format!("Job {key} already exists and is no cron job: kill it first, then schedule it."));
        }
    }
    check_instance_count(state.settings(), &job.key, i64::from(job.instance_count))?;
    let needed = quota::needed_for_cron(state, &job);
    quota::within_quota(state, &job.key.role, needed).or_else(invalid)?;
    Ok((job, schedule))
}

/// What an update replaces, and by what.
struct Difference {
    initial: Vec<InstanceConfig>,
    desired: BTreeSet<InstanceId>,
}

/// What an update would do (spec scheduler 3.2, 3.3), without id and events; nothing where nothing is to do. Whether it may start
/// is for [`check_update`] to say.
pub(crate) fn propose_update(
    state: &impl Tables,
    principal: &Principal,
    request: UpdateRequest,
) -> Checked<Option<Update>> {
    if !request.task.is_service {
        return invalid("Only service tasks can be updated: a batch job is killed and created again.");
    }
    let settings = state.settings();
    check_update_settings(settings, &request)?;
    let task = admit_task(request.task.clone(), request.instance_count, &settings.admission)
        .or_else(|refused| invalid(format!("Invalid configuration: {refused}")))?;
    let job = task.job.clone();
    if request.instance_count > settings.admission.max_tasks_per_job {
        check_instance_count(settings, &job, i64::from(request.instance_count))?;
    }
    let Ok(count) = InstanceId::try_from(request.instance_count) else {
        return refuse(ReplyCode::Error, "The number of instances must not be negative.");
    };
    check_not_cron(state.view(), &job, "schedule it anew instead of updating it")?;
    let difference = difference(state, &task, count, &request.settings.only_these_instances)?;
    if difference.initial.is_empty() && difference.desired.is_empty() {
        return Ok(None);
    }
    let desired =
        (!difference.desired.is_empty()).then(|| InstanceConfig { task, instances: to_ranges(difference.desired) });
    let update = Update {
        key: UpdateKey { job: job.clone(), id: String::new() },
        user: principal.name.clone(),
        settings: request.settings,
        metadata: request.metadata,
        initial: difference.initial,
        desired,
        events: Vec::new(),
        instance_events: Vec::new(),
    };
    Ok(Some(update))
}

/// Whether an update that was proposed may start, for a job of that many instances.
pub(crate) fn check_update(state: &impl Tables, update: &Update, instance_count: i32) -> Checked<()> {
    let job = &update.key.job;
    check_instance_count(state.settings(), job, i64::from(instance_count))?;
    let needed = quota::needed_for_update(state, update);
    quota::within_quota(state, &job.role, needed).or_else(invalid)?;
    if let Some(running) = state.view().active_update(job) {
        return Err(Reply {
            code: ReplyCode::InvalidRequest,
            messages: vec![format!("Job {job} is being updated already (update {}).", running.key.id)],
            outcome: Outcome::Update(Box::new(running.as_ref().clone())),
        });
    }
    Ok(())
}

fn check_update_settings(rules: &Settings, request: &UpdateRequest) -> Checked<()> {
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
    let max = rules.max_update_instance_failures;
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

fn difference(
    state: &impl Tables,
    task: &TaskConfig,
    count: InstanceId,
    only: &[InstanceRange],
) -> Checked<Difference> {
    let current: BTreeMap<InstanceId, &Arc<TaskConfig>> =
        state.active(&task.job).map(|task| (task.instance, &task.config)).collect();
    let beyond = current.keys().next_back().map_or(0, |last| last + 1).max(count);
    // Looked at before the ranges are spread out: they may name billions of instances.
    let scope = if only.is_empty() {
        None
    } else if only.iter().any(|range| range.last >= beyond) {
        return invalid("The update names instances that are neither running nor wanted.");
    } else {
        Some(spread(only))
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
