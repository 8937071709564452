//! The story of a job: how many instances are as they should be, and what is up with the others.

use std::collections::BTreeMap;

use thrift::{ScheduleStatus, ScheduledTask};

use super::Facts;
use super::story::Story;
use super::task;
use super::update;
use super::{cron, is_update_active};
use crate::aurora::tasks::{id_of, instance_of, is_active, newest_by_instance, status_of};
use crate::daybreak::telling::ranges;

/// Stories of instances that are told.
const MOST_PARTS: usize = 5;

/// The story of the job.
pub(super) fn tell(facts: &Facts) -> Story {
    let cron = facts.knowledge.as_ref().and_then(|knowledge| knowledge.cron.as_ref());
    let mut story = match cron {
        Some(cron) => cron::tell(cron, facts),
        None => Story { subject: facts.key.to_string(), ..Story::default() },
    };
    let newest = newest_by_instance(&facts.tasks);
    let active: Vec<&ScheduledTask> = facts.tasks.iter().filter(|task| is_active(task)).collect();
    if cron.is_none() {
        headline(&newest, &active, facts, &mut story);
    } else if active.is_empty() {
        story.say("No task of it is active.");
    } else {
        story.say(format!("Active now: {}.", counts(&active)));
    }
    for group in odd(&newest, cron.is_some()) {
        let Some(first) = group.first() else { continue };
        let mut part = task::tell(first, facts);
        part.evidence.clear();
        if group.len() > 1 {
            let others = ranges(group[1..].iter().filter_map(|task| u32::try_from(instance_of(task)).ok()));
            part.say(format!("The same goes for instances {others}."));
        }
        story.parts.push(part);
    }
    for details in facts.updates.iter().filter(|details| is_update_active(details)) {
        let mut part = update::tell(details, facts);
        part.evidence.clear();
        let parts = std::mem::take(&mut part.parts);
        story.parts.push(part);
        let known: Vec<String> = story.parts.iter().map(|part| part.subject.clone()).collect();
        story.parts.extend(parts.into_iter().filter(|part| !known.contains(&part.subject)));
    }
    story
}

/// `3 RUNNING, 1 PENDING`.
fn counts(tasks: &[&ScheduledTask]) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for task in tasks {
        *counts.entry(status_of(task).name()).or_default() += 1;
    }
    counts.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", ")
}

fn headline(newest: &BTreeMap<i32, &ScheduledTask>, active: &[&ScheduledTask], facts: &Facts, story: &mut Story) {
    let key = &facts.key;
    let running = active.iter().filter(|task| status_of(task) == ScheduleStatus::Running).count();
    let all: Vec<&ScheduledTask> = newest.values().copied().collect();
    (story.state, story.headline) = if active.is_empty() {
        let ended =
            if all.is_empty() { "no task of it is known".to_owned() } else { format!("its last: {}", counts(&all)) };
        ("INACTIVE".to_owned(), format!("{key} has no active instance; {ended}."))
    } else if running == active.len() && running == newest.len() {
        ("RUNNING".to_owned(), format!("{key} is well: {}.", counts(active)))
    } else {
        ("MIXED".to_owned(), format!("{key}: {running} of {} instances run ({}).", newest.len(), counts(&all)))
    };
}

/// The instances that are not as they should be, those alike together, the worst first.
fn odd<'a>(newest: &BTreeMap<i32, &'a ScheduledTask>, is_cron: bool) -> Vec<Vec<&'a ScheduledTask>> {
    let mut groups: BTreeMap<(u8, String), Vec<&ScheduledTask>> = BTreeMap::new();
    for task in newest.values() {
        let status = status_of(task);
        let rank = match status {
            ScheduleStatus::Failed | ScheduleStatus::Lost => 0,
            ScheduleStatus::Throttled => 1,
            ScheduleStatus::Pending | ScheduleStatus::Init => 2,
            ScheduleStatus::Partitioned => 3,
            ScheduleStatus::Killed if !is_cron => 5,
            ScheduleStatus::Running | ScheduleStatus::Finished | ScheduleStatus::Killed => continue,
            _ => 4,
        };
        let message = if is_active(task) { "" } else { last_message(task) };
        groups.entry((rank, format!("{} {message}", status.name()))).or_default().push(task);
    }
    let mut groups: Vec<Vec<&ScheduledTask>> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort_by_key(|task| (instance_of(task), id_of(task).to_owned())));
    groups.truncate(MOST_PARTS);
    groups
}

fn last_message(task: &ScheduledTask) -> &str {
    task.task_events.iter().rev().find_map(|event| event.message.as_deref()).unwrap_or_default()
}
