//! What the scheduler knows of a job or a task beyond what the Thrift API tells: why tasks are pending now, until when they are
//! throttled, runs of cron jobs, how far an update is. Read from one frozen view. The story is told by the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::Update;
use model::{InstanceId, JobKey, MaintenanceMode, TaskConfig, TaskId, TaskStatus};
use scheduler::cron::CronJob;
use scheduler::forecast::{Waiting, flaps, waiting};
use scheduler::{InstanceStage, Task, View};
use serde_json::{Value, json};

use crate::forecast::obstacles_json;

/// Groups of pending tasks looked at for one question; a job has few.
const MOST_GROUPS: usize = 4;

/// What is asked about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A job, or one of its instances.
    Job {
        /// Which.
        job: JobKey,
        /// One instance only.
        instance: Option<InstanceId>,
    },
    /// A task.
    Task(TaskId),
}

/// What is known; `None` when there is no such job or task.
pub fn explain(view: &View, now_ms: i64, subject: &Subject) -> Option<Value> {
    let (job, tasks) = match subject {
        Subject::Task(id) => {
            let task = view.task(id)?;
            (task.config.job.clone(), vec![task])
        }
        Subject::Job { job, instance } => {
            let wanted = |task: &&Arc<Task>| instance.is_none_or(|instance| task.instance == instance);
            (job.clone(), view.tasks_of(job).filter(wanted).collect())
        }
    };
    let cron = view.cron_jobs.get(&job);
    let updates = view.updates_of(&job);
    if tasks.is_empty() && cron.is_none() && updates.is_empty() {
        return None;
    }
    let throttled: BTreeMap<&str, Value> = tasks
        .iter()
        .filter_map(|task| {
            let until_ms = view.throttled_until_ms.get(&task.id)?;
            Some((task.id.as_str(), json!({"untilMs": until_ms, "flaps": flaps(view, task)})))
        })
        .collect();
    Some(json!({
        "frozenMs": view.frozen_ms,
        "job": job.to_string(),
        "isConnected": view.registered,
        "disconnectedSinceMs": view.disconnected_since_ms,
        "journalSpaceLow": view.space_low,
        "pending": pending(view, now_ms, &tasks),
        "throttled": throttled,
        "flappingThresholdMs": view.settings.flapping_task_threshold.as_millis() as u64,
        "hosts": hosts(view, &tasks),
        "cron": cron.map(|cron| cron_json(view, cron)),
        "update": updates.iter().find(|update| update.status().is_active()).map(|update| update_json(view, update)),
    }))
}

/// The pending tasks by configuration, each group with what stands in its way.
fn pending(view: &View, now_ms: i64, tasks: &[&Arc<Task>]) -> Vec<Value> {
    let mut groups: BTreeMap<&TaskConfig, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.status == TaskStatus::Pending) {
        groups.entry(&task.config).or_default().push(task);
    }
    let groups = groups.into_values().take(MOST_GROUPS);
    groups.filter_map(|tasks| Some(waiting_json(&waiting(view, now_ms, tasks.first()?)?, &tasks))).collect()
}

fn waiting_json(waiting: &Waiting, tasks: &[&Arc<Task>]) -> Value {
    json!({
        "tasks": tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(),
        "alike": waiting.alike,
        "nearestFit": waiting.reason.as_ref().map(|reason| &reason.nearest_fit),
        "sentence": waiting.reason.as_ref().map(|reason| &reason.sentence),
        "nextTryMs": waiting.next_try_ms,
        "penaltyMs": waiting.penalty_ms,
        "otherGroups": waiting.other_groups,
        "fittingHosts": waiting.fitting_hosts,
        "isConnected": waiting.is_connected,
        "obstacles": obstacles_json(&waiting.obstacles),
    })
}

/// Hosts of the tasks that are not in ordinary use.
fn hosts(view: &View, tasks: &[&Arc<Task>]) -> BTreeMap<String, Value> {
    let names: BTreeSet<&str> = tasks.iter().filter_map(|task| task.host.as_deref()).map(String::as_str).collect();
    let known = names.into_iter().filter_map(|name| Some((name, view.hosts.get(name)?)));
    let unusual = known.filter(|(_, host)| host.mode != MaintenanceMode::None);
    unusual
        .map(|(name, host)| {
            let forced_ms = view.maintenance.get(name).map(|request| request.forced_from_ms());
            (name.to_owned(), json!({"mode": host.mode.name(), "forcedFromMs": forced_ms}))
        })
        .collect()
}

fn cron_json(view: &View, cron: &CronJob) -> Value {
    let runs: Vec<Value> = cron
        .runs
        .iter()
        .rev()
        .map(|run| {
            json!({
                "number": run.number,
                "nominalMs": run.nominal_ms,
                "recordedMs": run.recorded_ms,
                "startedMs": run.started_ms,
                "user": run.user,
                "outcome": run.outcome.name(),
                "sentence": run.outcome.sentence(),
                "skipped": run.skipped,
            })
        })
        .collect();
    json!({
        "schedule": cron.schedule_text(),
        "isReadable": cron.schedule.is_some(),
        "timezone": view.cron_timezone.name(),
        "collisionPolicy": collision_name(cron),
        "scheduledMs": cron.scheduled_ms,
        "nextRunMs": cron.next_run_ms,
        "instances": cron.instances(),
        "runs": runs,
    })
}

fn collision_name(cron: &CronJob) -> &'static str {
    match cron.config.cron_collision_policy {
        model::CronCollisionPolicy::KillExisting => "KILL_EXISTING",
        model::CronCollisionPolicy::CancelNew => "CANCEL_NEW",
        model::CronCollisionPolicy::RunOverlap => "RUN_OVERLAP",
    }
}

fn update_json(view: &View, update: &Update) -> Value {
    let mut by_stage: BTreeMap<&str, Vec<InstanceId>> = BTreeMap::new();
    let mut failures: BTreeMap<String, i32> = BTreeMap::new();
    for (instance, progress) in view.update_progress.get(&update.key).into_iter().flatten() {
        let stage = match progress.stage {
            InstanceStage::Idle => "idle",
            InstanceStage::Working => "working",
            InstanceStage::Succeeded => "succeeded",
            InstanceStage::Failed => "failed",
        };
        by_stage.entry(stage).or_default().push(*instance);
        if progress.failures > 0 {
            failures.insert(instance.to_string(), progress.failures);
        }
    }
    json!({
        "id": update.key.id,
        "status": update.status().name(),
        "stages": by_stage,
        "failures": failures,
        "lastPulseMs": view.update_pulses.get(&update.key),
    })
}
