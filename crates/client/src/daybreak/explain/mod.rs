//! `daybreak explain`: why something is as it is, as a short story with what can be done about it.
//!
//! The facts come from the Thrift API, as far as it has them, and from the scheduler's own knowledge ([`super::judgement`]), where it has
//! such. Gathering is here; each kind of thing has its teller, which is a pure function of the facts.

pub mod arguments;
mod cause;
mod cron;
mod job;
mod story;
mod task;
mod update;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::json;
use thrift::{
    GetJobUpdateDetailsArguments, JobUpdateDetails, JobUpdateQuery, JobUpdateSummary, ResponseResult, ScheduleStatus,
    ScheduledTask, Set, TaskQuery,
};

use super::judgement::{self, Knowledge};
use super::telling::Clock;
use crate::aurora::tasks::{id_of, instance_of, newest_by_instance, status_of};
use crate::aurora::{Context, wait};
use crate::exit::{Exit, Failure, Outcome};
use crate::files::{self, FailedProcess};
use crate::paint::Paint;
use crate::scheduler::{Scheduler, missing_result, model_key, query_of, wire_key};
use crate::syntax::ClusterJob;
use arguments::{ExplainArguments, Target, is_uuid};
use story::Story;

/// Lines of stderr that are told.
const STDERR_LINES: usize = 10;
/// Failed runs whose output is looked at.
const MOST_FAILURES: usize = 5;

/// Everything the tellers look at.
pub(super) struct Facts {
    key: ClusterJob,
    tasks: Vec<ScheduledTask>,
    /// What only Daybreak tells.
    knowledge: Option<Knowledge>,
    /// Reasons of pending tasks, as every Aurora tells them.
    reasons: BTreeMap<String, String>,
    /// Processes to blame, by task.
    failures: BTreeMap<String, FailedProcess>,
    updates: Vec<JobUpdateDetails>,
    clock: Clock,
}

/// What of the job is asked about.
enum Focus {
    Job,
    Task(String),
    Update(String),
}

/// `daybreak explain TARGET`.
pub fn explain(arguments: &ExplainArguments, context: &mut Context<'_>) -> Outcome {
    if arguments.output.json {
        context.console.be_json();
    }
    let (mut scheduler, key, focus) = find(arguments, context)?;
    let facts = gather(key, &focus, &mut scheduler, context)?;
    let story = match &focus {
        Focus::Job => job::tell(&facts),
        Focus::Task(id) => {
            let task = facts.tasks.iter().find(|task| id_of(task) == id);
            task::tell(task.ok_or_else(|| absent(format!("Task {id} is gone.")))?, &facts)
        }
        Focus::Update(id) => {
            let details = facts.updates.iter().find(|details| update_id(details) == id);
            update::tell(details.ok_or_else(|| absent(format!("Job {} has no update {id}.", facts.key)))?, &facts)
        }
    };
    if arguments.output.json {
        context.console.out_json(&document(&story, &facts));
    } else {
        let paint = Paint::new(context.console.has_colour(arguments.color));
        story.lines(paint).iter().for_each(|line| context.console.out(line));
    }
    Ok(())
}

/// The documented shape (docs/explain.md).
fn document(story: &Story, facts: &Facts) -> serde_json::Value {
    json!({
        "job": facts.key.to_string(),
        "nowMs": facts.clock.now_ms,
        "isSchedulersKnowledge": facts.knowledge.is_some(),
        "story": story,
    })
}

fn absent(text: String) -> Failure {
    Failure::new(Exit::InvalidParameter, text)
}

/// The cluster of what is given by its id only.
fn default_cluster(arguments: &ExplainArguments, context: &Context<'_>) -> String {
    let names = context.clusters.names();
    let own: Vec<&&str> = names.iter().filter(|name| **name != "devcluster").collect();
    match (&arguments.cluster, own.as_slice()) {
        (Some(cluster), _) => cluster.clone(),
        (None, [only]) => (**only).to_owned(),
        _ => "devcluster".to_owned(),
    }
}

/// The scheduler, the job, and what of it is meant.
fn find<'a>(arguments: &ExplainArguments, context: &mut Context<'a>) -> Outcome<(Scheduler<'a>, ClusterJob, Focus)> {
    match &arguments.target {
        Target::Job(key) => Ok((context.scheduler(&key.cluster)?, key.clone(), Focus::Job)),
        Target::Update(key, id) => Ok((context.scheduler(&key.cluster)?, key.clone(), Focus::Update(id.clone()))),
        Target::Instance(key, instance) => {
            let mut scheduler = context.scheduler(&key.cluster)?;
            let tasks = scheduler.tasks(query_of(&key.job), &mut context.console)?;
            let newest = newest_by_instance(&tasks).get(&(*instance as i32)).map(|task| id_of(task).to_owned());
            let id =
                newest.ok_or_else(|| absent(format!("Job {key} has no instance {instance}, and had none of late.")))?;
            Ok((scheduler, key.clone(), Focus::Task(id)))
        }
        Target::Id(id) => {
            let cluster = default_cluster(arguments, context);
            let mut scheduler = context.scheduler(&cluster)?;
            let (job, focus) = if is_uuid(id) {
                let updates = scheduler.updates(JobUpdateQuery::default(), &mut context.console)?;
                let is_it = |summary: &&JobUpdateSummary| summary.key.as_ref().is_some_and(|key| key.id == *id);
                let found = updates.iter().find(is_it).and_then(|summary| summary.key.clone());
                let found = found.ok_or_else(|| absent(format!("Cluster {cluster} has no update {id}.")))?;
                (model_key(found.job.as_ref()), Focus::Update(id.clone()))
            } else {
                let query = TaskQuery { task_ids: Some(Set(vec![id.clone()])), ..TaskQuery::default() };
                let tasks = scheduler.tasks(query, &mut context.console)?;
                let found = tasks.iter().find_map(|task| task.assigned_task.as_ref()?.task.as_ref()?.job.clone());
                let found = found.ok_or_else(|| {
                    absent(format!("Cluster {cluster} has no task {id}; ended tasks are forgotten after a while."))
                })?;
                (model_key(Some(&found)), Focus::Task(id.clone()))
            };
            Ok((scheduler, ClusterJob { cluster, job }, focus))
        }
    }
}

fn gather(key: ClusterJob, focus: &Focus, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) -> Outcome<Facts> {
    let tasks = scheduler.tasks(query_of(&key.job), &mut context.console)?;
    let knowledge = judgement::knowledge(scheduler, &arguments::query_of(&key.job))?.map(|(knowledge, _)| knowledge);
    let is_pending = |task: &ScheduledTask| status_of(task) == ScheduleStatus::Pending;
    let reasons = match &knowledge {
        None if tasks.iter().any(is_pending) => wait::pending_reasons(&key.job, scheduler, context),
        _ => BTreeMap::new(),
    };
    let updates = match focus {
        Focus::Task(_) => Vec::new(),
        _ => updates_of(&key, focus, scheduler, context)?,
    };
    let is_cron = knowledge.as_ref().is_some_and(|knowledge| knowledge.cron.is_some());
    if tasks.is_empty() && updates.is_empty() && !is_cron {
        return Err(absent(format!("Job {key} is not known: nothing of it runs, and nothing is remembered.")));
    }
    let failures = failures_of(&tasks, focus, scheduler);
    let clock = Clock { now_ms: context.world.wall_clock_ms(), zone: TimeZone::system() };
    Ok(Facts { key, tasks, knowledge, reasons, failures, updates, clock })
}

/// The update that is meant, or the active one.
fn updates_of(
    key: &ClusterJob,
    focus: &Focus,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Vec<JobUpdateDetails>> {
    let mut query = JobUpdateQuery { job_key: Some(wire_key(&key.job)), ..JobUpdateQuery::default() };
    match focus {
        Focus::Update(id) => {
            query.key = Some(thrift::JobUpdateKey { job: Some(wire_key(&key.job)), id: id.clone() });
        }
        _ => query.limit = Some(1),
    }
    let call = GetJobUpdateDetailsArguments { key: None, query: Some(query) };
    let reply = scheduler
        .call_quietly(call, &mut context.console)
        .map_err(|error| error.failure("Could not read the update:", Exit::ApiError))?;
    match reply.result {
        Some(ResponseResult::GetJobUpdateDetails(result)) => {
            Ok(result.details_list.into_iter().flatten().chain(result.details).collect())
        }
        _ => Err(missing_result("getJobUpdateDetails")),
    }
}

fn update_id(details: &JobUpdateDetails) -> &str {
    let summary = details.update.as_ref().and_then(|update| update.summary.as_ref());
    summary.and_then(|summary| summary.key.as_ref()).map_or("", |key| &key.id)
}

/// Whether an update has not ended.
fn is_update_active(details: &JobUpdateDetails) -> bool {
    let summary = details.update.as_ref().and_then(|update| update.summary.as_ref());
    let status = summary.and_then(|summary| summary.state.as_ref()).and_then(|state| state.status);
    status.is_some_and(|status| thrift::ACTIVE_JOB_UPDATE_STATES.contains(&status))
}

/// Whether a run ended badly.
fn has_failed(task: &ScheduledTask) -> bool {
    matches!(status_of(task), ScheduleStatus::Failed | ScheduleStatus::Lost)
}

/// The processes to blame of the runs that may be told: the task itself and those it replaces, or the latest that failed.
fn failures_of(
    tasks: &[ScheduledTask],
    focus: &Focus,
    scheduler: &mut Scheduler<'_>,
) -> BTreeMap<String, FailedProcess> {
    let mut failed: Vec<&ScheduledTask> =
        tasks.iter().filter(|task| status_of(task) == ScheduleStatus::Failed).collect();
    if let Focus::Task(id) = focus {
        let meant = tasks.iter().find(|task| id_of(task) == id);
        let before = meant.and_then(|task| task.ancestor_id.as_deref());
        failed.retain(|task| id_of(task) == id || Some(id_of(task)) == before);
    }
    failed.sort_by_key(|task| (std::cmp::Reverse(task::since_ms(task)), instance_of(task)));
    let ids = failed.into_iter().take(MOST_FAILURES).map(|task| id_of(task).to_owned());
    ids.filter_map(|id| {
        let process = files::failed_process(scheduler, &id, STDERR_LINES)?;
        Some((id, process))
    })
    .collect()
}

#[cfg(test)]
mod tests;
