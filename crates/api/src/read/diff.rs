//! getJobUpdateDiff: what an update would do, without doing it (spec scheduler 3.3). The sets are those an update started from this view would
//! compute.

use std::collections::{BTreeMap, BTreeSet};

use model::TaskConfig;
use model::update::{UpdateRequest, from_ranges};
use model::validation::{AdmissionRules, admit_task};
use scheduler::View;
use thrift::{ConfigGroup, GetJobUpdateDiffResult, JobUpdateRequest, ResponseResult, Set};

use super::jobs::config_group;
use crate::answer::{Answer, MethodResult, Refusal, given};

/// Instances by what would happen to them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Diff {
    add: BTreeSet<u32>,
    remove: BTreeSet<u32>,
    update: BTreeSet<u32>,
    unchanged: BTreeSet<u32>,
}

/// Compares the active configurations with the wanted one; an empty scope means every instance.
fn compare(current: &BTreeMap<u32, &TaskConfig>, wanted: &TaskConfig, count: u32, scope: &BTreeSet<u32>) -> Diff {
    let mut diff = Diff::default();
    for (instance, config) in current {
        let in_scope = scope.is_empty() || scope.contains(instance);
        let set = match (*instance < count, *config == wanted) {
            (true, true) => &mut diff.unchanged,
            _ if !in_scope => &mut diff.unchanged,
            (true, false) => &mut diff.update,
            (false, _) => &mut diff.remove,
        };
        set.insert(*instance);
    }
    let added = (0..count).filter(|instance| !current.contains_key(instance));
    diff.add = added.filter(|instance| scope.is_empty() || scope.contains(instance)).collect();
    diff
}

fn groups(current: &BTreeMap<u32, &TaskConfig>, instances: &BTreeSet<u32>) -> Set<ConfigGroup> {
    let mut by_config: BTreeMap<&TaskConfig, Vec<u32>> = BTreeMap::new();
    for instance in instances {
        by_config.entry(current[instance]).or_default().push(*instance);
    }
    by_config.into_iter().map(|(config, instances)| config_group(config, instances)).collect()
}

/// getJobUpdateDiff.
pub fn diff(view: &View, rules: &AdmissionRules, request: Option<JobUpdateRequest>) -> MethodResult<Answer> {
    let request = given(request, "request")?;
    given(request.settings.as_ref(), "settings of the request")?;
    let request = UpdateRequest::try_from(request).map_err(|error| Refusal::invalid(error.0))?;
    let wanted =
        admit_task(request.task, request.instance_count, rules).map_err(|refused| Refusal::invalid(refused.0))?;
    let count = u32::try_from(request.instance_count)
        .map_err(|_| Refusal::error(format!("{} instances cannot be wanted.", request.instance_count)))?;
    if request.instance_count > rules.max_tasks_per_job {
        return Err(Refusal::invalid(format!(
            "{count} instances are wanted; this cluster allows {} per job.",
            rules.max_tasks_per_job
        )));
    }
    if view.cron_jobs.contains_key(&wanted.job) {
        return Err(Refusal::invalid(format!(
            "{} is a cron job: it is not updated, it is scheduled anew (aurora cron schedule).",
            wanted.job
        )));
    }
    let current: BTreeMap<u32, &TaskConfig> = view
        .tasks_of(&wanted.job)
        .filter(|task| task.status.is_active())
        .map(|task| (task.instance, &*task.config))
        .collect();
    let scope = from_ranges(&request.settings.only_these_instances);
    let diff = compare(&current, &wanted, count, &scope);
    let add = if diff.add.is_empty() { Set::default() } else { Set(vec![config_group(&wanted, diff.add)]) };
    Ok(Answer::ok(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
        add,
        remove: groups(&current, &diff.remove),
        update: groups(&current, &diff.update),
        unchanged: groups(&current, &diff.unchanged),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_added_removed_updated_or_left() {
        let job = model::JobKey::new("r", "prod", "j");
        let old = TaskConfig::new(job.clone(), 1.0, 1, 1, "old");
        let new = TaskConfig::new(job, 1.0, 1, 1, "new");
        let current = BTreeMap::from([(0, &old), (1, &new), (5, &new)]);
        let set = |instances: &[u32]| -> BTreeSet<u32> { instances.iter().copied().collect() };
        let all = compare(&current, &new, 4, &BTreeSet::new());
        assert_eq!(all, Diff { add: set(&[2, 3]), remove: set(&[5]), update: set(&[0]), unchanged: set(&[1]) });
        let scoped = compare(&current, &new, 4, &set(&[3, 5]));
        assert_eq!(scoped, Diff { add: set(&[3]), remove: set(&[5]), update: set(&[]), unchanged: set(&[0, 1]) });
    }

    #[test]
    fn a_cron_job_has_no_difference() {
        let job = model::JobKey::new("r", "prod", "j");
        let task = TaskConfig { is_service: true, ..TaskConfig::new(job.clone(), 1.0, 1, 1, "{}") };
        let config = model::JobConfiguration {
            key: job.clone(),
            owner: None,
            cron_schedule: Some("* * * * *".into()),
            cron_collision_policy: Default::default(),
            task: task.clone(),
            instance_count: 1,
        };
        let cron = scheduler::cron::CronJob {
            config: std::sync::Arc::new(config),
            schedule: None,
            scheduled_ms: 0,
            scheduled_after: 0,
            next_run_ms: None,
            runs: Vec::new(),
        };
        let settings = model::update::UpdateSettings::default();
        let request = UpdateRequest { task, instance_count: 1, settings, metadata: Default::default() };
        let ask = |view: &View| diff(view, &AdmissionRules::default(), Some((&request).into()));
        let mut view = View::default();
        assert!(ask(&view).is_ok());
        view.cron_jobs.insert(job, std::sync::Arc::new(cron));
        let Err(refusal) = ask(&view) else { panic!("a cron job is not updated") };
        assert_eq!(refusal.code, thrift::ResponseCode::InvalidRequest);
    }
}
