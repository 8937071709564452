//! `job status` (spec client-cli 2.2). Below the classic text of a failed task stand the last lines of its stderr, where the scheduler has them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::JobKey;
use serde_json::{Value, json};
use thrift::{Resource, ScheduleStatus, ScheduledTask, TaskConfig};

use super::arguments::StatusArguments;
use super::status_json::task_json;
use super::tasks::{id_of, instance_of, is_active, newest_by_instance, status_of};
use super::{Context, job, wait};
use crate::exit::{Exit, Failure, Outcome};
use crate::files;
use crate::scheduler::{Scheduler, model_key, query_of};

/// How many lines of a failed process's stderr are shown.
const STDERR_LINES: usize = 10;

/// `job status KEY`.
pub fn status(arguments: &StatusArguments, context: &mut Context<'_>) -> Outcome {
    let mut documents: Vec<Value> = Vec::new();
    let mut found = false;
    let wants_json = arguments.write_json || context.console.is_json();
    for key in job::expand(&arguments.key, context)? {
        let mut scheduler = context.scheduler(&key.cluster)?;
        let tasks = scheduler.tasks(query_of(&key.job), &mut context.console)?;
        if tasks.is_empty() {
            continue;
        }
        found = true;
        let (active, inactive) = split(&tasks);
        if wants_json {
            let list = |tasks: &[&ScheduledTask]| tasks.iter().map(|task| task_json(task)).collect::<Vec<_>>();
            documents.push(json!({ "job": key.to_string(), "active": list(&active), "inactive": list(&inactive) }));
        } else {
            print_text(&active, &inactive, &tasks, &mut scheduler, context);
        }
    }
    match (found, wants_json) {
        (true, true) => context.console.out(pretty(&Value::Array(documents))),
        (true, false) => {}
        (false, true) if !context.console.is_json() => {
            let none = json!({ "jobspec": arguments.key.to_string(), "error": "No matching jobs found" });
            context.console.out(none.to_string());
        }
        (false, _) => {
            let text = format!("Found no jobs matching {}", arguments.key);
            return Err(Failure::new(Exit::InvalidParameter, text));
        }
    }
    Ok(())
}

/// Indented by two blanks, as the classic client prints JSON.
pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Active and inactive tasks, each sorted by instance, the older of one instance first.
fn split(tasks: &[ScheduledTask]) -> (Vec<&ScheduledTask>, Vec<&ScheduledTask>) {
    let mut sorted: Vec<&ScheduledTask> = tasks.iter().collect();
    sorted.sort_by_key(|task| (instance_of(task), task.task_events.iter().map(|event| event.timestamp).min()));
    sorted.into_iter().partition(|task| is_active(task))
}

fn print_text(
    active: &[&ScheduledTask],
    inactive: &[&ScheduledTask],
    all: &[ScheduledTask],
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) {
    let latest_failed = latest_failed(all);
    let reasons = pending_reasons(active, scheduler, context);
    for (name, tasks) in [("Active", active), ("Inactive", inactive)] {
        context.console.out(format!("{name} tasks ({}):", tasks.len()));
        for task in tasks {
            for line in task_lines(task, &TimeZone::system()) {
                context.console.out(line);
            }
            if let Some(reason) = reasons.get(id_of(task)) {
                context.console.out(format!("\t  waits because: {reason}"));
            }
            if latest_failed.values().any(|id| *id == id_of(task)) {
                print_failure(task, scheduler, context);
            }
        }
    }
}

/// Why pending tasks wait, by task id; asks only when there is one.
fn pending_reasons(
    active: &[&ScheduledTask],
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<String, String> {
    let Some(pending) = active.iter().find(|task| status_of(task) == ScheduleStatus::Pending) else {
        return BTreeMap::new();
    };
    let config = pending.assigned_task.as_ref().and_then(|assigned| assigned.task.as_ref());
    wait::pending_reasons(&model_key(config.and_then(|config| config.job.as_ref())), scheduler, context)
}

/// How many instances of a failed update show the end of their stderr.
const FAILURES_SHOWN: usize = 3;

/// Tells on stderr why the newest tasks of a job failed.
pub fn explain_failures(job: &JobKey, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) {
    let Ok(tasks) = scheduler.tasks(query_of(job), &mut context.console) else { return };
    let failed: Vec<(i32, String)> =
        latest_failed(&tasks).into_iter().map(|(instance, id)| (instance, id.to_owned())).collect();
    for (instance, id) in failed.into_iter().take(FAILURES_SHOWN) {
        let Some(failed) = files::failed_process(scheduler, &id, STDERR_LINES) else { continue };
        let name = &job.name;
        let verdict = tasks.iter().find(|task| id_of(task) == id).and_then(files::verdict);
        context.console.err(match verdict {
            Some(verdict) => format!("{name}/{instance}: {}", verdict.lines().collect::<Vec<_>>().join(" ")),
            None => format!("{name}/{instance}: process '{}' {}", failed.process, failed.ending),
        });
        for line in &failed.stderr {
            context.console.err(format!("    {line}"));
        }
    }
}

/// The newest failed task of each instance: older ones failed alike, and their logs may be gone.
fn latest_failed(tasks: &[ScheduledTask]) -> BTreeMap<i32, &str> {
    let failed: Vec<ScheduledTask> =
        tasks.iter().filter(|task| status_of(task) == ScheduleStatus::Failed).cloned().collect();
    let newest: Vec<(i32, String)> =
        newest_by_instance(&failed).into_iter().map(|(id, task)| (id, id_of(task).to_owned())).collect();
    newest
        .into_iter()
        .filter_map(|(instance, id)| Some((instance, tasks.iter().map(id_of).find(|known| *known == id)?)))
        .collect()
}

fn print_failure(task: &ScheduledTask, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) {
    let Some(failed) = files::failed_process(scheduler, id_of(task), STDERR_LINES) else { return };
    let more = if failed.stderr.is_empty() { "; its stderr is empty" } else { "; last lines of its stderr:" };
    let ending = if files::verdict(task).is_some() { "was killed" } else { &failed.ending };
    context.console.out(format!("\t  process '{}' {ending}{more}", failed.process));
    for line in &failed.stderr {
        context.console.out(format!("\t    {line}"));
    }
}

/// The block of one task.
pub fn task_lines(task: &ScheduledTask, zone: &TimeZone) -> Vec<String> {
    let none = TaskConfig::default();
    let assigned = task.assigned_task.as_ref();
    let config = assigned.and_then(|assigned| assigned.task.as_ref()).unwrap_or(&none);
    let job = config.job.clone().unwrap_or_default();
    let place = assigned.and_then(|assigned| assigned.slave_host.as_deref());
    let place = place.map_or_else(String::new, |host| format!(" on {host}"));
    let mut lines = vec![format!(
        "\tTask role: {}, env: {}, name: {}, instance: {}, status: {}{place}",
        job.role,
        job.environment,
        job.name,
        instance_of(task),
        status_of(task)
    )];
    lines.push(format!("\t  {}", resources_text(config)));
    if let Some(ports) = assigned.map(|assigned| &assigned.assigned_ports).filter(|ports| !ports.is_empty()) {
        let ports: Vec<String> = ports.iter().map(|(name, port)| format!("'{name}': {port}")).collect();
        lines.push(format!("\t  assigned ports: {{{}}}", ports.join(", ")));
        lines.push(format!("\t  failure count: {} (max {})", task.failure_count, config.max_task_failures));
    }
    lines.push("\t  events:".into());
    let mut events: Vec<_> = task.task_events.iter().collect();
    events.sort_by_key(|event| event.timestamp);
    for event in events {
        let status = event.status.unwrap_or(ScheduleStatus::Init);
        let message = event.message.as_deref().unwrap_or("None");
        lines.push(format!("\t   {} {status}: {message}", local_time(event.timestamp, zone)));
    }
    let metadata = config.metadata.as_deref().unwrap_or_default();
    if !metadata.is_empty() {
        lines.push("\t  metadata:".into());
        lines.extend(metadata.iter().map(|pair| format!("\t\t  (key: '{}', value: '{}')", pair.key, pair.value)));
    }
    lines
}

/// `CPU: 0.5 core(s), RAM: 64 MB, Disk: 128 MB, Port: http`.
fn resources_text(config: &TaskConfig) -> String {
    let rank = |resource: &Resource| match resource {
        Resource::NumCpus(_) => 0,
        Resource::RamMb(_) => 1,
        Resource::DiskMb(_) => 2,
        Resource::NamedPort(_) => 3,
        Resource::NumGpus(_) => 4,
    };
    let mut resources: Vec<&Resource> = config.resources.iter().collect();
    resources.sort_by_key(|resource| rank(resource));
    let texts: Vec<String> = resources
        .into_iter()
        .map(|resource| match resource {
            Resource::NumCpus(cores) => format!("CPU: {cores:?} core(s)"),
            Resource::RamMb(megabytes) => format!("RAM: {megabytes} MB"),
            Resource::DiskMb(megabytes) => format!("Disk: {megabytes} MB"),
            Resource::NamedPort(name) => format!("Port: {name}"),
            Resource::NumGpus(count) => format!("GPU: {count} GPU(s)"),
        })
        .collect();
    texts.join(", ")
}

fn local_time(timestamp_ms: i64, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(timestamp_ms).map_or_else(
        |_| timestamp_ms.to_string(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// UTC, `YYYY-MM-DDTHH:MM:SS`, as the update verbs print times.
pub fn utc_time(timestamp_ms: i64) -> String {
    Timestamp::from_millisecond(timestamp_ms).map_or_else(
        |_| timestamp_ms.to_string(),
        |time| time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
    )
}
