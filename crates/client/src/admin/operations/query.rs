//! `query`: tasks, one line each, in a form that the user writes.

use std::collections::BTreeMap;

use model::TaskStatus;
use thrift::{Resource, ScheduledTask, Set, TaskQuery};

use super::arguments::QueryArguments;
use super::statuses;
use crate::aurora::{Context, task_json};
use crate::exit::{Exit, Failure, Outcome};

/// `query CLUSTER [ROLE [JOB]]`.
pub fn query(arguments: &QueryArguments, context: &mut Context<'_>) -> Outcome {
    let states = statuses(&arguments.states)?;
    let ended = states.iter().any(|state| !TaskStatus::from(*state).is_active());
    if !arguments.force && (arguments.role.is_none() || arguments.job.is_none() || ended) {
        let why = "This may list very much. Name a role and a job and only active states, or say --force.";
        return Err(Failure::new(Exit::Failed, why));
    }
    // A wrong word is told before anybody is asked.
    format_line(&arguments.listformat, &fields(&ScheduledTask::default()))?;
    let query = TaskQuery {
        role: arguments.role.clone(),
        job_name: arguments.job.clone(),
        instance_ids: arguments.shards.clone().map(Set),
        statuses: Some(states),
        ..TaskQuery::default()
    };
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let mut tasks = scheduler.tasks(query, &mut context.console)?;
    tasks.sort_by_cached_key(|task| {
        let assigned = task.assigned_task.clone().unwrap_or_default();
        let job = assigned.task.and_then(|config| config.job).unwrap_or_default();
        (job.role, job.environment, job.name, assigned.instance_id, assigned.task_id)
    });
    if context.console.is_json() {
        context.console.out_json(&tasks.iter().map(task_json).collect());
        return Ok(());
    }
    for task in &tasks {
        context.console.out(format_line(&arguments.listformat, &fields(task))?);
    }
    Ok(())
}

/// What a line may say of a task. Every name is there for every task; what a task does not have is empty.
fn fields(task: &ScheduledTask) -> BTreeMap<&'static str, String> {
    let assigned = task.assigned_task.clone().unwrap_or_default();
    let config = assigned.task.unwrap_or_default();
    let job = config.job.clone().unwrap_or_default();
    let resource =
        |pick: &dyn Fn(&Resource) -> Option<String>| config.resources.iter().find_map(pick).unwrap_or_default();
    BTreeMap::from([
        ("taskId", assigned.task_id),
        ("slaveId", assigned.slave_id.unwrap_or_default()),
        ("slaveHost", assigned.slave_host.unwrap_or_default()),
        ("instanceId", assigned.instance_id.to_string()),
        ("role", job.role),
        ("environment", job.environment),
        ("name", job.name),
        ("jobName", config.job.map(|job| job.name).unwrap_or_default()),
        ("user", config.owner.map(|owner| owner.user).unwrap_or_default()),
        ("status", task.status.map_or("", |status| status.name()).to_owned()),
        ("failureCount", task.failure_count.to_string()),
        ("ancestorId", task.ancestor_id.clone().unwrap_or_default()),
        ("timesPartitioned", task.times_partitioned.to_string()),
        ("priority", config.priority.to_string()),
        ("production", config.production.unwrap_or_default().to_string()),
        ("tier", config.tier.unwrap_or_default()),
        ("isService", config.is_service.to_string()),
        ("maxTaskFailures", config.max_task_failures.to_string()),
        ("contactEmail", config.contact_email.unwrap_or_default()),
        (
            "numCpus",
            resource(&|resource| match resource {
                Resource::NumCpus(cores) => Some(cores.to_string()),
                _ => None,
            }),
        ),
        (
            "ramMb",
            resource(&|resource| match resource {
                Resource::RamMb(mb) => Some(mb.to_string()),
                _ => None,
            }),
        ),
        (
            "diskMb",
            resource(&|resource| match resource {
                Resource::DiskMb(mb) => Some(mb.to_string()),
                _ => None,
            }),
        ),
    ])
}

/// Replaces the words between percent signs; `%%` is one percent sign.
fn format_line(format: &str, fields: &BTreeMap<&'static str, String>) -> Outcome<String> {
    let mut line = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        line.push_str(before);
        let Some((word, after)) = after.split_once('%') else {
            line.push('%');
            rest = after;
            continue;
        };
        match (word, fields.get(word)) {
            ("", _) => line.push('%'),
            (_, Some(value)) => line.push_str(value),
            (_, None) => {
                let known: Vec<&str> = fields.keys().copied().collect();
                let why = format!("Unknown word %{word}% in the list format. Known: {}", known.join(", "));
                return Err(Failure::new(Exit::Failed, why));
            }
        }
        rest = after;
    }
    line.push_str(rest);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_unknown_ones_list_the_known() {
        let fields = fields(&ScheduledTask { failure_count: 3, ..ScheduledTask::default() });
        assert_eq!(format_line("%failureCount% of 100%%, 5%", &fields).unwrap(), "3 of 100%, 5%");
        assert_eq!(format_line("", &fields).unwrap(), "");
        let failure = format_line("%nonsense%", &fields).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(
            failure.text.contains("%nonsense%") && failure.text.contains("slaveHost, slaveId, status, taskId"),
            "{failure}"
        );
    }
}
