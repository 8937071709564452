//! The story of a cron job: when it runs, what its last runs came to, and what collides.

use super::Facts;
use super::story::Story;
use crate::daybreak::judgement::{Cron, CronRun};
use crate::daybreak::telling::plural;

/// Runs told.
const MOST_RUNS: usize = 5;

/// The story of the cron job.
pub(super) fn tell(cron: &Cron, facts: &Facts) -> Story {
    let clock = &facts.clock;
    let mut story = Story { subject: facts.key.to_string(), state: "SCHEDULED".to_owned(), ..Story::default() };
    let schedule = format!("'{}' ({})", cron.schedule, cron.timezone);
    story.headline = match cron.next_run_ms {
        Some(next_ms) => {
            format!(
                "{} runs by {schedule}; the next run is at {} ({}).",
                facts.key,
                clock.at(next_ms),
                clock.until(next_ms)
            )
        }
        None if !cron.is_readable => format!("{} never runs: its schedule {schedule} cannot be read.", facts.key),
        None => format!("{} has no next run: no time matches {schedule}.", facts.key),
    };
    if cron.next_run_ms.is_none() {
        story.state = "NEVER".to_owned();
        story.cause = "schedule".to_owned();
        story.advise(format!("Correct cron_schedule in the job file: aurora cron schedule {} FILE", facts.key));
    }
    let policy = match cron.collision_policy.as_str() {
        "CANCEL_NEW" => "when the run before is still active, a new run is not started",
        _ => "when the run before is still active, it is killed and the new one begins",
    };
    story.say(format!(
        "Each run has {}; {policy} ({}).",
        plural(cron.instances, "task", "tasks"),
        cron.collision_policy
    ));
    if cron.runs.is_empty() {
        story.say(format!("It has not run since it was scheduled at {}.", clock.at(cron.scheduled_ms)));
    } else {
        let skipped = cron.runs.iter().take_while(|run| run.outcome != "STARTED").count() as u64;
        if skipped > 0 {
            story.cause = "collision".to_owned();
            story.say(format!("The last {} did not start:", plural(skipped, "run", "runs")));
        } else {
            story.say("Its last runs:");
        }
        cron.runs.iter().take(MOST_RUNS).for_each(|run| story.say(format!("  {}", run_line(run, facts))));
    }
    let has = |outcome: &str| cron.runs.iter().take(MOST_RUNS).any(|run| run.outcome == outcome);
    if has("CANCELLED") || has("IGNORED") {
        story.advise("Runs take longer than the time between them: make them shorter or rarer, or choose the other cron_collision_policy.");
    }
    if has("MISSED") {
        story.advise(format!("A run that was missed is not caught up by itself: aurora cron start {}", facts.key));
    }
    story
}

fn run_line(run: &CronRun, facts: &Facts) -> String {
    let what = match &run.user {
        Some(user) => format!("{} asked for by {user}", facts.clock.date(run.recorded_ms)),
        None => facts.clock.date(run.nominal_ms.unwrap_or(run.recorded_ms)),
    };
    format!("{what}: {}", run.sentence)
}
