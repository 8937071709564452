//! Jobs as lists, counts and configurations (spec thrift-api 3.3). A cron job is one whether it has tasks or not, and its own
//! configuration speaks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::to_ranges;
use model::{JobKey, TaskStatus};
use scheduler::{Task, View};
use thrift::{
    ConfigGroup, ConfigSummary, ConfigSummaryResult, JobStats, Range, ResponseResult, RoleSummary, RoleSummaryResult,
    Set, TaskConfig,
};

use crate::answer::{Answer, MethodResult, given_job};
use crate::streamed::jobs::{Job, Voice};

/// getRoleSummary: every role with a stored task, ended ones included, or a cron job.
pub fn role_summary(view: &View) -> Answer {
    let mut jobs_of_role: BTreeMap<&str, (i32, i32)> = BTreeMap::new();
    for job in view.jobs() {
        jobs_of_role.entry(&job.role).or_default().0 += 1;
    }
    for job in view.cron_jobs.keys() {
        jobs_of_role.entry(&job.role).or_default().1 += 1;
    }
    let summaries = jobs_of_role
        .into_iter()
        .map(|(role, (job_count, cron_job_count))| RoleSummary { role: role.to_owned(), job_count, cron_job_count })
        .collect();
    Answer::ok(ResponseResult::RoleSummary(RoleSummaryResult { summaries }))
}

/// Jobs of a role, or of all, with a stored task or a schedule.
fn jobs_of<'a>(view: &'a View, role: Option<&'a str>) -> BTreeSet<&'a JobKey> {
    let first = JobKey::new(role.unwrap_or_default(), "", "");
    let is_of_role = move |job: &&JobKey| role.is_none_or(|role| job.role == role);
    let with_tasks = view.tasks_by_job.range(first.clone()..).map(|(job, _)| job).take_while(is_of_role);
    with_tasks.chain(view.cron_jobs.range(first..).map(|(job, _)| job).take_while(is_of_role)).collect()
}

/// The task whose configuration speaks for the job: an active one before ended ones, then the latest.
fn spokesman<'a>(tasks: &[&'a Arc<Task>]) -> Option<&'a Arc<Task>> {
    tasks.iter().copied().max_by_key(|task| (task.status.is_active(), task.last_event_ms()))
}

/// A job with these tasks of its; `None` where nothing speaks for it.
fn job_of(view: &View, job: &JobKey, tasks: &[&Arc<Task>]) -> Option<Job> {
    let cron = view.cron_jobs.get(job);
    let voice = match cron {
        Some(cron) => Voice::Cron(cron.clone()),
        None => Voice::Task(spokesman(tasks)?.clone(), tasks.len()),
    };
    Some(Job { voice, stats: stats(tasks), next_cron_run_ms: cron.and_then(|cron| cron.next_run_ms) })
}

fn stats(tasks: &[&Arc<Task>]) -> JobStats {
    let mut stats = JobStats::default();
    for task in tasks {
        match task.status {
            TaskStatus::Init | TaskStatus::Pending | TaskStatus::Throttled => stats.pending_task_count += 1,
            TaskStatus::Killed | TaskStatus::Finished => stats.finished_task_count += 1,
            TaskStatus::Lost | TaskStatus::Failed => stats.failed_task_count += 1,
            _ => stats.active_task_count += 1,
        }
    }
    stats
}

/// getJobSummary: every job with a stored task, ended ones included, and every cron job.
pub fn job_summary(view: &View, role: Option<&str>) -> Answer {
    let of = |job| job_of(view, job, &view.tasks_of(job).collect::<Vec<_>>());
    Answer::JobSummaries(jobs_of(view, role).into_iter().filter_map(of).collect())
}

/// getJobs: every job with an active task, and every cron job.
pub fn jobs(view: &View, role: Option<&str>) -> Answer {
    let of = |job| job_of(view, job, &view.tasks_of(job).filter(|task| task.status.is_active()).collect::<Vec<_>>());
    Answer::Jobs(jobs_of(view, role).into_iter().filter_map(of).collect())
}

/// Active instances by configuration, equal configurations together.
pub fn config_groups<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> BTreeMap<&'a model::TaskConfig, BTreeSet<u32>> {
    // Nearly all tasks share a few interned configurations: by address first, by value last.
    let mut by_address: BTreeMap<usize, (&model::TaskConfig, BTreeSet<u32>)> = BTreeMap::new();
    for task in tasks {
        let address = Arc::as_ptr(&task.config) as usize;
        by_address.entry(address).or_insert_with(|| (&task.config, BTreeSet::new())).1.insert(task.instance);
    }
    let mut groups: BTreeMap<&model::TaskConfig, BTreeSet<u32>> = BTreeMap::new();
    for (config, instances) in by_address.into_values() {
        groups.entry(config).or_default().extend(instances);
    }
    groups
}

/// One group for the wire.
pub fn config_group(config: &model::TaskConfig, instances: impl IntoIterator<Item = u32>) -> ConfigGroup {
    ConfigGroup {
        config: Some(TaskConfig::from(config)),
        instances: to_ranges(instances).iter().map(Range::from).collect(),
    }
}

/// getConfigSummary: the distinct configurations of the active tasks; an unknown job has none.
pub fn config_summary(view: &View, job: Option<thrift::JobKey>) -> MethodResult<Answer> {
    let job = given_job(job, "job")?;
    let active = view.tasks_of(&job).filter(|task| task.status.is_active());
    let groups: Vec<ConfigGroup> =
        config_groups(active).into_iter().map(|(config, instances)| config_group(config, instances)).collect();
    let summary = ConfigSummary { key: Some(thrift::JobKey::from(&job)), groups: Set(groups) };
    Ok(Answer::ok(ResponseResult::ConfigSummary(ConfigSummaryResult { summary: Some(summary) })))
}
