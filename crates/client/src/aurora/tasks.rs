//! Reading tasks as the wire has them: their ids, instances, states, and which of an instance's tasks is the newest.

use std::collections::BTreeMap;

use thrift::{ScheduleStatus, ScheduledTask};

/// The newest task of each instance, by the time of its first event.
pub fn newest_by_instance(tasks: &[ScheduledTask]) -> BTreeMap<i32, &ScheduledTask> {
    let mut newest: BTreeMap<i32, &ScheduledTask> = BTreeMap::new();
    for task in tasks {
        let known = newest.entry(instance_of(task)).or_insert(task);
        if first_event_ms(task) > first_event_ms(known) {
            *known = task;
        }
    }
    newest
}

fn first_event_ms(task: &ScheduledTask) -> i64 {
    task.task_events.iter().map(|event| event.timestamp).min().unwrap_or(0)
}

/// Status of a task; one without is as good as not started.
pub fn status_of(task: &ScheduledTask) -> ScheduleStatus {
    task.status.unwrap_or(ScheduleStatus::Init)
}

/// Instance number of a task.
pub fn instance_of(task: &ScheduledTask) -> i32 {
    task.assigned_task.as_ref().map_or(0, |assigned| assigned.instance_id)
}

/// Id of a task.
pub fn id_of(task: &ScheduledTask) -> &str {
    task.assigned_task.as_ref().map_or("", |assigned| &assigned.task_id)
}

/// Whether the task counts as an instance of its job.
pub fn is_active(task: &ScheduledTask) -> bool {
    thrift::ACTIVE_STATES.contains(&status_of(task))
}
