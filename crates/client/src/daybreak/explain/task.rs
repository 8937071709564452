//! The story of a task.

use thrift::{ScheduleStatus, ScheduledTask, TaskEvent};

use super::Facts;
use super::cause::{Cause, cause_of};
use super::story::Story;
use crate::aurora::tasks::{id_of, instance_of, is_active, status_of};
use crate::daybreak::judgement::Waiting;
use crate::daybreak::plan::obstacle_lines;
use crate::daybreak::telling::{plain_reason, plural, span};

/// How long a task may be on its way before that is odd, in ms.
const SLOW_MS: i64 = 60_000;

/// The story of a task of the job.
pub(super) fn tell(task: &ScheduledTask, facts: &Facts) -> Story {
    let status = status_of(task);
    let mut story = Story {
        subject: id_of(task).to_owned(),
        state: status.name().to_owned(),
        evidence: evidence(task, facts),
        ..Story::default()
    };
    match status {
        ScheduleStatus::Init | ScheduleStatus::Pending => pending(task, facts, &mut story),
        ScheduleStatus::Throttled => throttled(task, facts, &mut story),
        ScheduleStatus::Assigned | ScheduleStatus::Starting => starting(task, facts, &mut story),
        ScheduleStatus::Running => running(task, facts, &mut story),
        ScheduleStatus::Partitioned => partitioned(task, facts, &mut story),
        ScheduleStatus::Killing
        | ScheduleStatus::Restarting
        | ScheduleStatus::Draining
        | ScheduleStatus::Preempting => leaving(task, facts, &mut story),
        ScheduleStatus::Finished | ScheduleStatus::Failed | ScheduleStatus::Killed | ScheduleStatus::Lost => {
            ended(task, facts, &mut story);
        }
    }
    story
}

/// When the task entered its present status.
pub(super) fn since_ms(task: &ScheduledTask) -> i64 {
    task.task_events.iter().map(|event| event.timestamp).max().unwrap_or(0)
}

fn name(task: &ScheduledTask, facts: &Facts) -> String {
    format!("Instance {} of {}", instance_of(task), facts.key)
}

fn host(task: &ScheduledTask) -> String {
    let host = task.assigned_task.as_ref().and_then(|assigned| assigned.slave_host.clone());
    host.unwrap_or_else(|| "its machine".to_owned())
}

fn evidence(task: &ScheduledTask, facts: &Facts) -> Vec<String> {
    let mut events: Vec<&TaskEvent> = task.task_events.iter().collect();
    events.sort_by_key(|event| event.timestamp);
    let line = |event: &TaskEvent| {
        let status = event.status.unwrap_or(ScheduleStatus::Init).name();
        let message = event.message.as_deref().unwrap_or_default().lines().collect::<Vec<_>>().join(" ");
        format!("{} {status:<11} {message}", facts.clock.date(event.timestamp)).trim_end().to_owned()
    };
    std::iter::once(format!("task {}", id_of(task))).chain(events.into_iter().map(line)).collect()
}

/// The run that a task replaces.
fn before<'a>(task: &ScheduledTask, facts: &'a Facts) -> Option<&'a ScheduledTask> {
    let ancestor = task.ancestor_id.as_deref()?;
    facts.tasks.iter().find(|other| id_of(other) == ancestor)
}

/// One sentence about how the run before ended.
fn tell_before(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let Some(before) = before(task, facts) else { return };
    let end = end_of(before, facts);
    story.say(format!("It replaces a run that {end} at {}.", facts.clock.at(since_ms(before))));
    tell_failure(before, facts, story);
}

fn pending(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let (since, ago) = (facts.clock.at(since_ms(task)), facts.clock.since(since_ms(task)));
    story.headline = format!("{} waits for a machine since {since} ({ago}).", name(task, facts));
    story.cause = "waiting".to_owned();
    let knowledge = facts.knowledge.as_ref();
    if knowledge.is_some_and(|knowledge| !knowledge.is_connected) {
        story.say("The scheduler has no connection to its machines: nothing can start.");
        story.advise("Ask an operator to look at the scheduler and the Mesos master, or at the daemon's log.");
    }
    let waiting =
        knowledge.and_then(|known| known.pending.iter().find(|group| group.tasks.iter().any(|id| id == id_of(task))));
    match waiting {
        Some(waiting) => tell_waiting(waiting, facts, story),
        None => tell_reason(facts.reasons.get(id_of(task)), story),
    }
    tell_before(task, facts, story);
}

/// Only what Aurora knows: the texts of the nearest fit.
fn tell_reason(reason: Option<&String>, story: &mut Story) {
    match reason {
        Some(reason) => {
            let texts: Vec<String> = reason.split(',').map(plain_reason).collect();
            story.say(format!("On the machine that is nearest to fitting: {}.", texts.join("; ")));
            for text in reason.split(',') {
                advise_for(text.trim(), story);
            }
        }
        None => story.say("The scheduler has not said why; it may not have tried yet. Ask again in a moment."),
    }
}

fn tell_waiting(waiting: &Waiting, facts: &Facts, story: &mut Story) {
    let obstacles = &waiting.obstacles;
    let home = waiting.sentence.as_deref().filter(|sentence| sentence.starts_with("goes back"));
    if let Some(sentence) = home {
        // Its agent is kept for it: what others say does not matter.
        story.say(format!("It {sentence}."));
    } else if waiting.fitting_hosts > 0 {
        let hosts = plural(waiting.fitting_hosts, "machine", "machines");
        story.say(format!("{hosts} would take it at this moment; it is about to be tried again."));
    } else {
        obstacle_lines(obstacles).into_iter().for_each(|line| story.say(line));
        for reason in obstacles.reasons.iter().flat_map(|reason| &reason.reasons) {
            advise_for(reason, story);
        }
    }
    if obstacles.agents == 0 {
        story.advise("Wait until machines are connected, or ask an operator why none is.");
    }
    if let Some(next_ms) = waiting.next_try_ms {
        story.say(format!(
            "It is tried whenever a machine offers room, and {} at the latest (it waits {} between two tries).",
            facts.clock.until(next_ms),
            span(waiting.penalty_ms)
        ));
    }
    if waiting.other_groups > 0 {
        let others = plural(waiting.other_groups, "other group of tasks waits", "other groups of tasks wait");
        story.say(format!("{others} for room as well."));
    }
}

/// What helps against a reason of the scheduler's.
fn advise_for(reason: &str, story: &mut Story) {
    let advice = if reason.starts_with("Insufficient: ") {
        "Ask for less (resources in the job file, then aurora update start), or add or empty machines."
    } else if reason.starts_with("Constraint not satisfied: ") {
        "Check the job's constraints against the attributes of the machines (pages /agents and /maintenance of the scheduler)."
    } else if reason.starts_with("Limit not satisfied: ") {
        "Raise the limit in the job's constraints, run fewer instances, or add machines in further places."
    } else if reason == "Host is dedicated" {
        "Machines that are dedicated take only jobs with the constraint 'dedicated': use it if they are meant for this job."
    } else if reason.contains("maintenance") {
        "Wait until the maintenance ends; an operator ends it with aurora_admin host_activate."
    } else if reason.starts_with("Executor not configured") {
        "Ask an operator to configure the executor, or name another one in the job file."
    } else {
        return;
    };
    story.advise(advice);
}

fn throttled(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let known = facts.knowledge.as_ref().and_then(|known| known.throttled.get(id_of(task)));
    // Aurora tells the penalty in the event's message only.
    let penalty = task.task_events.iter().filter_map(|event| event.message.as_deref()).find_map(|message| {
        message.strip_prefix("Rescheduled, penalized for ")?.split(' ').next()?.parse::<i64>().ok()
    });
    let until_ms = known.map(|known| known.until_ms).or_else(|| penalty.map(|ms| since_ms(task) + ms));
    let until = match until_ms {
        Some(ms) => format!("until {} ({})", facts.clock.at(ms), facts.clock.until(ms)),
        None => "for a while".to_owned(),
    };
    story.headline = format!("{} is held back {until}, because the runs before ended too soon.", name(task, facts));
    story.cause = "flapping".to_owned();
    if let Some(known) = known.filter(|known| known.flaps > 0) {
        let threshold = facts.knowledge.as_ref().map_or(0, |known| known.flapping_threshold_ms);
        let runs = plural(known.flaps, "run", "runs");
        story.say(format!(
            "{runs} in a row lasted less than {}; each such run makes the wait longer, one that lasts ends that.",
            span(threshold)
        ));
    }
    tell_before(task, facts, story);
    story.advise("Find out why it ends (see its output), correct it and start an update with the corrected file.");
}

fn starting(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let (since, ago) = (facts.clock.at(since_ms(task)), facts.clock.since(since_ms(task)));
    let is_slow = facts.clock.now_ms - since_ms(task) > SLOW_MS;
    let host = host(task);
    if status_of(task) == ScheduleStatus::Starting {
        story.headline = format!("{} starts on {host} since {since} ({ago}).", name(task, facts));
        story.say("A task with health checks becomes RUNNING when enough of them have succeeded.");
        if is_slow {
            story.advise(
                "Look at its output: aurora task run, or the task's page; perhaps its health check never succeeds.",
            );
        }
    } else {
        story.headline =
            format!("{} was given to {host} at {since} ({ago} ago) and is being launched.", name(task, facts));
        if is_slow {
            story.say("That takes long: perhaps files or an image are fetched, or the machine does not answer.");
            story.advise("Wait: if nothing is heard of it, it is given up as LOST and replaced.");
        }
    }
    tell_host(task, facts, story);
}

fn running(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let (since, ago) = (facts.clock.at(since_ms(task)), facts.clock.since(since_ms(task)));
    story.headline = format!("{} runs on {} since {since} ({ago}).", name(task, facts), host(task));
    tell_before(task, facts, story);
    tell_host(task, facts, story);
}

/// What is up with the host of a task.
fn tell_host(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let host = host(task);
    let Some(mode) = facts.knowledge.as_ref().and_then(|known| known.hosts.get(&host)) else { return };
    match mode.mode.as_str() {
        "DRAINING" => {
            let forced = mode.forced_from_ms.map_or_else(String::new, |ms| {
                format!(" At {} it is moved whatever the policy says.", facts.clock.at(ms))
            });
            story.say(format!(
                "{host} is being drained: the task is to be moved elsewhere, as soon as the job's SLA policy allows it.{forced}"
            ));
        }
        "DRAINED" => story.say(format!("{host} is drained for maintenance.")),
        _ => story.say(format!("Maintenance is announced for {host}: new tasks go there only when nothing else fits.")),
    }
}

fn partitioned(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let (since, ago) = (facts.clock.at(since_ms(task)), facts.clock.since(since_ms(task)));
    let host = host(task);
    story.headline = format!(
        "{} is out of reach since {since} ({ago}): {host} does not answer. It may still run.",
        name(task, facts)
    );
    story.cause = "partitioned".to_owned();
    let policy = task.assigned_task.as_ref().and_then(|assigned| assigned.task.as_ref()?.partition_policy.clone());
    story.say(match policy {
        Some(policy) if !policy.reschedule => {
            "Its partition policy says that it is not replaced: it is waited for.".to_owned()
        }
        Some(policy) if policy.delay_secs.unwrap_or(0) > 0 => {
            let at_ms = since_ms(task) + policy.delay_secs.unwrap_or(0) * 1000;
            format!("Its partition policy has it replaced at {} if it has not come back.", facts.clock.at(at_ms))
        }
        _ => "It is replaced unless it comes back.".to_owned(),
    });
    story.advise(format!("Ask an operator to look at {host} and its network."));
}

fn leaving(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let (since, ago) = (facts.clock.at(since_ms(task)), facts.clock.since(since_ms(task)));
    let cause = cause_of(task);
    story.headline = format!("{} is being ended on {} since {since} ({ago}).", name(task, facts), host(task));
    story.cause = cause.word().to_owned();
    story.say(format!("Why: it {}.", told_of(&cause, facts)));
    if facts.clock.now_ms - since_ms(task) > SLOW_MS {
        story.say(
            "That takes long: its processes have not ended yet, or its machine does not answer. The kill is repeated.",
        );
        story.advise("Look at what the task does when it is asked to end (SIGTERM); finalization_wait_secs bounds how long it may take.");
    }
}

/// What a cause is in words that follow "it".
fn told_of(cause: &Cause, facts: &Facts) -> String {
    match cause {
        Cause::Killed { user, note: Some(note) } => {
            format!("was killed by {user}, who says: {}", note.lines().collect::<Vec<_>>().join(" "))
        }
        Cause::Killed { user, note: None } => format!("was killed by {user}"),
        Cause::NextCronRun => "was killed because the next run of its cron job began".to_owned(),
        Cause::Restarted { user } => format!("was restarted by {user}"),
        Cause::Update { id } => format!("was replaced or removed by update {id}"),
        Cause::Preempted { by } => {
            let job = facts.tasks.iter().find(|task| id_of(task) == by).map_or("", |_| " of the same job");
            format!("was preempted: it had to make room for {by}{job}")
        }
        Cause::Drained => "had to leave its machine, which was drained for maintenance".to_owned(),
        Cause::Forced { user } => format!("was set to this state by {user}"),
        Cause::Unhealthy { why } => format!("was unhealthy: {why}"),
        Cause::Memory { why } => format!("used too much memory: {why}"),
        Cause::Disk { why } => format!("used too much disk: {why}"),
        Cause::Process { why } => format!("failed: {why}"),
        Cause::Finished => "finished".to_owned(),
        Cause::TimedOut => "did not get on within the time it had".to_owned(),
        Cause::Partitioned => "was out of reach for too long".to_owned(),
        Cause::Said { why } => format!("ended: {why}"),
        Cause::Unknown => "ended, and nothing was recorded why".to_owned(),
    }
}

/// How a task ended, in words that follow "it" or "a run that".
pub(super) fn end_of(task: &ScheduledTask, facts: &Facts) -> String {
    let told = told_of(&cause_of(task), facts);
    match status_of(task) {
        ScheduleStatus::Lost => format!("was lost ({told})"),
        _ => told,
    }
}

fn ended(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let at_ms = since_ms(task);
    let cause = cause_of(task);
    story.cause = cause.word().to_owned();
    let place = task.assigned_task.as_ref().and_then(|assigned| assigned.slave_host.as_deref());
    let place = place.map_or_else(String::new, |host| format!(" on {host}"));
    story.headline = format!(
        "{} {}. That was at {}{place} ({} ago).",
        name(task, facts),
        end_of(task, facts),
        facts.clock.at(at_ms),
        facts.clock.since(at_ms)
    );
    tell_failure(task, facts, story);
    advise_ended(&cause, facts, story);
    tell_after(task, facts, story);
}

/// Exit status and last words of the process to blame.
fn tell_failure(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let Some(failed) = facts.failures.get(id_of(task)) else { return };
    let by_itself = matches!(cause_of(task), Cause::Process { .. });
    let ending = if by_itself { failed.ending.as_str() } else { "was killed then" };
    if failed.stderr.is_empty() {
        story.say(format!("Process '{}' {ending}; it wrote nothing to stderr.", failed.process));
    } else {
        story.say(format!("Process '{}' {ending}. The end of its stderr:", failed.process));
        failed.stderr.iter().for_each(|line| story.say(format!("  | {line}")));
    }
}

fn advise_ended(cause: &Cause, facts: &Facts, story: &mut Story) {
    let key = &facts.key;
    match cause {
        Cause::Unhealthy { .. } => {
            story.advise("Look at what the health check asks and what the task answered; initial_interval_secs gives it more time to start.");
        }
        Cause::Memory { .. } => story.advise("Give the task more memory (ram in the job file), or make it use less."),
        Cause::Disk { .. } => story.advise("Give the task more disk (disk in the job file), or make it write less."),
        Cause::Process { .. } => {
            story.advise(
                "Correct what its output tells, then start an update with the corrected file, or create the job again.",
            );
        }
        Cause::Preempted { .. } => {
            story.advise("Give the job a tier that cannot be preempted (tier = 'preferred', which needs quota), or a higher priority.");
        }
        Cause::Update { id } => story.advise(format!("See what the update did: daybreak explain {key}/{id}")),
        Cause::TimedOut | Cause::Partitioned => {
            story.advise("Ask an operator to look at the machine it was on.");
        }
        _ => {}
    }
}

/// What came after a task that ended.
fn tell_after(task: &ScheduledTask, facts: &Facts, story: &mut Story) {
    let of_instance = |other: &&ScheduledTask| instance_of(other) == instance_of(task) && id_of(other) != id_of(task);
    let newer = facts.tasks.iter().filter(of_instance).filter(|other| since_first(other) >= since_first(task));
    let config = task.assigned_task.as_ref().and_then(|assigned| assigned.task.as_ref());
    match newer.max_by_key(|other| since_first(other)) {
        Some(next) if is_active(next) => {
            story.say(format!("Another task took its place: {} is {}.", id_of(next), status_of(next).name()));
        }
        Some(next) => {
            story.say(format!("Another task took its place and {}: {}.", end_of(next, facts), id_of(next)));
        }
        None if status_of(task) == ScheduleStatus::Failed && config.is_some_and(|config| !config.is_service) => {
            let max = config.map_or(1, |config| config.max_task_failures);
            story.say(format!("It is not run again: {} of {max} allowed failures.", task.failure_count.max(1)));
            story.advise(format!("To run it again: aurora job create {} FILE", facts.key));
        }
        None => story.say("Nothing took its place."),
    }
}

fn since_first(task: &ScheduledTask) -> i64 {
    task.task_events.iter().map(|event| event.timestamp).min().unwrap_or(0)
}
