//! Comparisons and names that the judge needs: what of a history was kept, what differs between two states, what a command is called.

use engine::Event;
use imbl::ordmap::DiffItem;
use model::{JobKey, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::Command;
use scheduler::{Input, Task, View};

use super::cron;

/// The number of events of `old` that `new` begins with; `None` when history was changed in another way than by the compaction of
/// X, PARTITIONED, X (spec scheduler 1.6).
pub(super) fn kept_events(old: &Task, new: &Task) -> Option<usize> {
    if new.events.starts_with(&old.events) {
        return Some(old.events.len());
    }
    let (kept, last) = old.events.split_at_checked(old.events.len().checked_sub(2)?)?;
    let compacted = new.events.starts_with(kept)
        && last[0].status == TaskStatus::Partitioned
        && kept.last()?.status == last[1].status
        && new.events.get(kept.len())?.status == TaskStatus::Partitioned;
    compacted.then_some(kept.len())
}

/// What differs in the durable part of two states.
pub(super) fn describe_difference(known: &View, recovered: &View) -> Option<String> {
    if known.tasks != recovered.tasks {
        let item = known.tasks.diff(&recovered.tasks).next();
        return Some(match item {
            Some(DiffItem::Add(id, task)) => format!("{id} ({}) appeared", task.status),
            Some(DiffItem::Remove(id, task)) => format!("{id} ({}) is missing", task.status),
            Some(DiffItem::Update { old: (id, old), new: (_, new) }) => {
                format!("{id} was {} and is {}: {old:?} and {new:?}", old.status, new.status)
            }
            None => "tasks".into(),
        });
    }
    if known.tasks_by_job != recovered.tasks_by_job {
        return Some("tasks by job".into());
    }
    if known.updates != recovered.updates {
        return Some("updates".into());
    }
    if (&known.update_progress, &known.update_pulses) != (&recovered.update_progress, &recovered.update_pulses) {
        return Some("how far updates are".into());
    }
    if known.hosts != recovered.hosts {
        return Some("hosts".into());
    }
    if known.maintenance != recovered.maintenance {
        return Some("what is to be drained".into());
    }
    if known.answers != recovered.answers {
        return Some("kept answers".into());
    }
    if known.quotas != recovered.quotas {
        return Some("quotas".into());
    }
    if (&known.master, known.master_since_ms) != (&recovered.master, recovered.master_since_ms) {
        return Some("the engine's leader".into());
    }
    if known.framework_id != recovered.framework_id {
        return Some("the framework id".into());
    }
    cron::difference(known, recovered)
}

/// The job a command is about.
pub(super) fn job_of(command: &Command) -> Option<&JobKey> {
    match command {
        Command::CreateJob(job) | Command::ScheduleCronJob(job) | Command::ReplaceCronTemplate(job) => Some(&job.key),
        Command::DescheduleCronJob { job } | Command::StartCronJob { job } => Some(job),
        Command::KillTasks { job, .. } | Command::RestartTasks { job, .. } | Command::AddInstances { job, .. } => {
            Some(job)
        }
        Command::StartUpdate { request, .. } => Some(&request.task.job),
        Command::ControlUpdate { key, .. } | Command::PulseUpdate { key } => Some(&key.job),
        Command::SetQuota { .. } | Command::Admin(_) | Command::Maintenance(_) => None,
    }
}

/// A command's name, for people.
pub(super) fn name_of(command: &Command) -> &'static str {
    match command {
        Command::CreateJob(_) => "create",
        Command::KillTasks { .. } => "kill",
        Command::RestartTasks { .. } => "restart",
        Command::AddInstances { .. } => "add",
        Command::StartUpdate { .. } => "update",
        Command::ControlUpdate { .. } => "control",
        Command::PulseUpdate { .. } => "pulse",
        Command::ScheduleCronJob(_) => "schedule",
        Command::ReplaceCronTemplate(_) => "replace",
        Command::DescheduleCronJob { .. } => "deschedule",
        Command::StartCronJob { .. } => "start",
        Command::SetQuota { .. } => "quota",
        Command::Admin(AdminCommand::Restore { .. }) => "recover",
        Command::Admin(_) => "admin",
        Command::Maintenance(_) => "maintenance",
    }
}

pub(super) fn short(input: &Input) -> String {
    match input {
        Input::Command { command, .. } => name_of(command).into(),
        Input::Engine(Event::Status(status)) => format!("status {:?} of {}", status.state, status.task_id),
        Input::Engine(Event::Offers(offers)) => format!("{} offers", offers.len()),
        other => format!("{other:?}"),
    }
}
