//! The story of an update: what it does, what it waits for, or why it ended.

use std::collections::BTreeMap;

use thrift::{
    JobInstanceUpdateEvent, JobUpdateAction, JobUpdateDetails, JobUpdateEvent, JobUpdateSettings, JobUpdateStatus,
};

use super::Facts;
use super::story::Story;
use super::task;
use crate::aurora::tasks::{instance_of, newest_by_instance};
use crate::daybreak::judgement::UpdateProgress;
use crate::daybreak::telling::{plural, ranges, span};

/// Instances whose own stories are told.
const MOST_PARTS: usize = 3;

/// Where an update stands, and who said what when it came there.
struct Standing<'a> {
    /// `Update ID of JOB`.
    name: String,
    status: JobUpdateStatus,
    /// When it came there.
    at: String,
    /// How long that is ago.
    ago: String,
    /// The note or message of that.
    said: Option<&'a str>,
    /// ` by USER`, or nothing.
    by_whom: String,
}

/// The story of an update of the job.
pub(super) fn tell(details: &JobUpdateDetails, facts: &Facts) -> Story {
    let update = details.update.clone().unwrap_or_default();
    let summary = update.summary.unwrap_or_default();
    let id = summary.key.as_ref().map_or("", |key| &key.id).to_owned();
    let state = summary.state.unwrap_or_default();
    let status = state.status.unwrap_or(JobUpdateStatus::Error);
    let settings = update.instructions.and_then(|instructions| instructions.settings).unwrap_or_default();
    let last = details.update_events.last();
    let since_ms = last.map_or(state.last_modified_timestamp_ms, |event| event.timestamp_ms);
    let by = last.and_then(|event| event.user.as_deref()).filter(|user| !user.is_empty());
    let standing = Standing {
        name: format!("Update {id} of {}", facts.key),
        status,
        at: facts.clock.at(since_ms),
        ago: facts.clock.since(since_ms),
        said: last.and_then(|event| event.message.as_deref()).filter(|message| !message.is_empty()),
        by_whom: by.map_or_else(String::new, |user| format!(" by {user}")),
    };
    let mut story =
        Story { subject: id, state: status.name().to_owned(), evidence: evidence(details, facts), ..Story::default() };
    match status {
        JobUpdateStatus::RollingForward | JobUpdateStatus::RollingBack => {
            let direction = if status == JobUpdateStatus::RollingForward { "goes forward" } else { "goes back" };
            story.headline = format!("{} {direction} since {} ({}).", standing.name, standing.at, standing.ago);
            rolling(details, &settings, facts, &mut story);
            if status == JobUpdateStatus::RollingBack {
                failed_instances(details, facts, &mut story);
            }
        }
        JobUpdateStatus::RollForwardPaused | JobUpdateStatus::RollBackPaused => paused(&standing, facts, &mut story),
        JobUpdateStatus::RollForwardAwaitingPulse | JobUpdateStatus::RollBackAwaitingPulse => {
            awaiting_pulse(&standing, &settings, facts, &mut story);
        }
        _ => ended(&standing, details, facts, &mut story),
    }
    story
}

fn paused(standing: &Standing<'_>, facts: &Facts, story: &mut Story) {
    const BY_ITSELF: &str = "Update auto paused";
    let (Standing { name, at, ago, by_whom, said, .. }, key) = (standing, &facts.key);
    story.cause = "paused".to_owned();
    story.headline = match said {
        Some(BY_ITSELF) => {
            format!("{name} paused by itself at {at} ({ago} ago), as its strategy says after each batch.")
        }
        _ => format!("{name} was paused{by_whom} at {at} ({ago} ago)."),
    };
    if let Some(said) = said.filter(|said| *said != BY_ITSELF) {
        story.say(format!("The note: {said}"));
    }
    story.say("As long as it is paused nothing is changed; tasks that end are still replaced.");
    story.advise(format!("Go on: aurora update resume {key}"));
    story.advise(format!("Give it up: aurora update abort {key}, or go back: aurora update rollback {key}"));
}

fn awaiting_pulse(standing: &Standing<'_>, settings: &JobUpdateSettings, facts: &Facts, story: &mut Story) {
    let Standing { name, at, ago, .. } = standing;
    story.cause = "awaiting-pulse".to_owned();
    story.headline = format!("{name} waits for a pulse of its coordinator since {at} ({ago}).");
    let every = span(i64::from(settings.block_if_no_pulses_after_ms.unwrap_or(0)));
    let last_ms = progress(facts, &story.subject).and_then(|progress| progress.last_pulse_ms);
    story.say(match last_ms {
        Some(ms) => format!(
            "The last one came at {} ({} ago); it needs one every {every}.",
            facts.clock.at(ms),
            facts.clock.since(ms)
        ),
        None => format!("It needs one every {every}, and none keeps it going now."),
    });
    story.advise(
        "Look at the coordinator that should call pulseJobUpdate: it has stopped, or it found the job unhealthy.",
    );
    story.advise(format!("Give it up: aurora update abort {}", facts.key));
}

fn ended(standing: &Standing<'_>, details: &JobUpdateDetails, facts: &Facts, story: &mut Story) {
    let Standing { name, at, ago, by_whom, said, .. } = standing;
    story.headline = match standing.status {
        JobUpdateStatus::RolledForward => format!("{name} succeeded at {at} ({ago} ago)."),
        JobUpdateStatus::Aborted => {
            format!("{name} was aborted{by_whom} at {at} ({ago} ago); instances stay as they were then.")
        }
        JobUpdateStatus::RolledBack => format!("{name} was rolled back; that was done at {at} ({ago} ago)."),
        JobUpdateStatus::Failed => format!("{name} failed at {at} ({ago} ago)."),
        _ => format!("{name} ended with an error of the scheduler at {at} ({ago} ago)."),
    };
    match standing.status {
        JobUpdateStatus::RolledForward => {}
        JobUpdateStatus::Aborted => {
            story.cause = "aborted".to_owned();
            said.iter().for_each(|said| story.say(format!("The note: {said}")));
            story.advise("Instances may differ now: start another update to bring them into line.");
        }
        _ => {
            story.cause = "failed".to_owned();
            said.iter().for_each(|said| story.say(format!("The scheduler says: {said}")));
            asked_back(details, facts, story);
            failed_instances(details, facts, story);
        }
    }
}

fn progress<'a>(facts: &'a Facts, id: &str) -> Option<&'a UpdateProgress> {
    facts.knowledge.as_ref()?.update.as_ref().filter(|progress| progress.id == id)
}

fn evidence(details: &JobUpdateDetails, facts: &Facts) -> Vec<String> {
    const MOST: usize = 30;
    let message = |text: Option<&str>| {
        text.map_or_else(String::new, |text| format!("  {}", text.lines().collect::<Vec<_>>().join(" ")))
    };
    let mut lines: Vec<(i64, String)> = Vec::new();
    for JobUpdateEvent { status, timestamp_ms, user, message: said } in &details.update_events {
        let by = user.as_deref().map_or_else(String::new, |user| format!(" by {user}"));
        let status = status.unwrap_or(JobUpdateStatus::Error).name();
        lines.push((*timestamp_ms, format!("{status}{by}{}", message(said.as_deref()))));
    }
    for JobInstanceUpdateEvent { instance_id, timestamp_ms, action, message: said } in &details.instance_events {
        let action = action.map_or("UNKNOWN", JobUpdateAction::name);
        lines.push((*timestamp_ms, format!("instance {instance_id}: {action}{}", message(said.as_deref()))));
    }
    lines.sort_by_key(|(at_ms, _)| *at_ms);
    let left_out = lines.len().saturating_sub(MOST);
    let shown = lines.drain(left_out..).map(|(at_ms, line)| format!("{} {line}", facts.clock.date(at_ms)));
    let head = (left_out > 0).then(|| format!("… {left_out} earlier events"));
    head.into_iter().chain(shown).collect()
}

/// The latest event of each instance.
fn latest(details: &JobUpdateDetails) -> BTreeMap<i32, &JobInstanceUpdateEvent> {
    let mut latest: BTreeMap<i32, &JobInstanceUpdateEvent> = BTreeMap::new();
    for event in &details.instance_events {
        let known = latest.entry(event.instance_id).or_insert(event);
        if event.timestamp_ms >= known.timestamp_ms {
            *known = event;
        }
    }
    latest
}

/// What an update that rolls waits for.
fn rolling(details: &JobUpdateDetails, settings: &JobUpdateSettings, facts: &Facts, story: &mut Story) {
    let latest = latest(details);
    let of = |actions: &[JobUpdateAction]| -> Vec<u32> {
        let matching = latest.iter().filter(|(_, event)| event.action.is_some_and(|action| actions.contains(&action)));
        matching.filter_map(|(instance, _)| u32::try_from(*instance).ok()).collect()
    };
    let done = of(&[JobUpdateAction::InstanceUpdated, JobUpdateAction::InstanceRolledBack]);
    let working = of(&[JobUpdateAction::InstanceUpdating, JobUpdateAction::InstanceRollingBack]);
    if !done.is_empty() {
        story.say(format!("Done: instances {}.", ranges(done.iter().copied())));
    }
    if working.is_empty() {
        story.say("No instance is being changed at this moment.");
    } else {
        story.say(format!("Being changed: instances {}.", ranges(working.iter().copied())));
    }
    let newest = newest_by_instance(&facts.tasks);
    for instance in working.iter().take(MOST_PARTS) {
        let event = latest[&(*instance as i32)];
        if event.message.as_deref() == Some("checking SLA") {
            story.cause = "sla".to_owned();
            story.say(format!(
                "The kill of instance {instance} waits for the job's SLA policy since {} ({}): too few other instances have been up for long enough, or the coordinator has not agreed.",
                facts.clock.at(event.timestamp_ms),
                facts.clock.since(event.timestamp_ms)
            ));
            story.advise("Wait until enough instances are up for long enough, or loosen the job's sla_policy.");
            continue;
        }
        let Some(new) = newest.get(&(*instance as i32)) else { continue };
        let mut part = task::tell(new, facts);
        part.evidence.clear();
        if part.state == "RUNNING" && settings.min_wait_in_instance_running_ms > 0 {
            let until_ms = task::since_ms(new) + i64::from(settings.min_wait_in_instance_running_ms);
            part.say(format!("It is watched until {} ({}).", facts.clock.at(until_ms), facts.clock.until(until_ms)));
        }
        story.parts.push(part);
    }
    if let Some(knowledge) = &facts.knowledge
        && knowledge.journal_space_low
    {
        story.say("The scheduler's journal is short of room: updates wait until there is space on its disk.");
    }
}

/// Who asked for the way back, if somebody did.
fn asked_back(details: &JobUpdateDetails, facts: &Facts, story: &mut Story) {
    let back = details.update_events.iter().find(|event| event.status == Some(JobUpdateStatus::RollingBack));
    if let Some(user) = back.and_then(|event| event.user.as_deref()) {
        let at = facts.clock.at(back.map_or(0, |event| event.timestamp_ms));
        story.say(format!("{user} asked for the way back at {at}."));
    }
}

/// The instances that made an update fail, each with what became of its latest run that ended.
fn failed_instances(details: &JobUpdateDetails, facts: &Facts, story: &mut Story) {
    let failing = |event: &&JobInstanceUpdateEvent| {
        matches!(event.action, Some(JobUpdateAction::InstanceUpdateFailed | JobUpdateAction::InstanceRollbackFailed))
    };
    let mut instances: Vec<u32> = details
        .instance_events
        .iter()
        .filter(failing)
        .filter_map(|event| u32::try_from(event.instance_id).ok())
        .collect();
    instances.sort_unstable();
    instances.dedup();
    if instances.is_empty() {
        return;
    }
    story.say(format!(
        "{} failed: {}.",
        plural(instances.len() as u64, "instance", "instances"),
        ranges(instances.iter().copied())
    ));
    for instance in instances.iter().take(MOST_PARTS) {
        let ended = facts.tasks.iter().filter(|it| instance_of(it) == *instance as i32 && super::has_failed(it));
        if let Some(failed) = ended.max_by_key(|it| task::since_ms(it)) {
            let mut part = task::tell(failed, facts);
            part.evidence.clear();
            story.parts.push(part);
        }
    }
    story.advise(format!(
        "Correct the job file, look at what it would do (daybreak plan FILE {}), then start the update again.",
        facts.key
    ));
}
