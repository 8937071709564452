//! How an update would go: the groups that the scheduler foretells, and what the job file says of watching, pausing, failing and going
//! back. Nothing is worked out here: where the scheduler does not tell the groups, nothing is said of them.

use model::update::{UpdateSettings, UpdateStrategy};
use serde::Serialize;

use crate::daybreak::judgement::Course;
use crate::daybreak::telling::{plural, ranges, span};

/// The steps of an update, as far as can be told before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `queue`, `batch` or `variable batch`.
    pub strategy: &'static str,
    /// Instances of each group, in order. With a queue the next instance begins as soon as one is done, so that groups overlap.
    pub groups: Option<Vec<Vec<u32>>>,
    /// How long each new task must stay RUNNING, in ms.
    pub watch_ms: i64,
    /// It cannot take less, in ms: new tasks are watched group by group. Starting and stopping come on top.
    pub least_duration_ms: Option<i64>,
    /// It waits for somebody to resume it after each group.
    pub pauses_after_each_group: bool,
    /// Failed instances it tolerates.
    pub max_failed_instances: i32,
    /// How often an instance may fail before it counts as failed.
    pub max_failures_per_instance: i32,
    /// It goes back when it fails.
    pub rolls_back: bool,
    /// It stops unless a pulse comes this often, in ms.
    pub pulse_ms: Option<i64>,
    /// Kills wait for the job's SLA policy.
    pub sla_aware: bool,
}

impl Rollout {
    /// With the settings of the job file, and the course that the scheduler foretells.
    pub fn new(settings: &UpdateSettings, course: Option<&Course>) -> Self {
        let (strategy, pauses) = match &settings.strategy {
            UpdateStrategy::Queue { .. } => ("queue", false),
            UpdateStrategy::Batch { autopause_after_batch, .. } => ("batch", *autopause_after_batch),
            UpdateStrategy::VariableBatch { autopause_after_batch, .. } => ("variable batch", *autopause_after_batch),
        };
        Self {
            strategy,
            groups: course.and_then(|course| course.groups.clone()),
            watch_ms: i64::from(settings.min_wait_in_running_ms),
            least_duration_ms: course.and_then(|course| course.least_duration_ms),
            pauses_after_each_group: pauses,
            max_failed_instances: settings.max_failed_instances,
            max_failures_per_instance: settings.max_per_instance_failures,
            rolls_back: settings.rollback_on_failure,
            pulse_ms: settings.block_if_no_pulses_after_ms.filter(|ms| *ms > 0).map(i64::from),
            sla_aware: settings.sla_aware,
        }
    }

    /// The same for people, a sentence a line.
    pub fn sentences(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.groups.iter().map(|groups| self.groups_sentence(groups)).collect();
        match self.least_duration_ms {
            Some(least_ms) if self.watch_ms > 0 && least_ms > 0 => lines.push(format!(
                "Each new task is watched for {} once it runs; the whole takes {} at least, and what starting and stopping takes.",
                span(self.watch_ms),
                span(least_ms)
            )),
            None if self.watch_ms > 0 => {
                lines.push(format!("Each new task is watched for {} once it runs.", span(self.watch_ms)));
            }
            _ => {}
        }
        if self.pauses_after_each_group {
            lines.push("Pauses after each batch until somebody resumes it (aurora update resume).".to_owned());
        }
        let tolerated = match (self.max_failures_per_instance, self.max_failed_instances) {
            (0, 0) => "the first failure of a new task".to_owned(),
            (failures, 0) => format!("an instance that fails more than {}", times(failures)),
            (failures, failed) => format!(
                "more than {} that {}",
                plural(failed as u64, "instance", "instances"),
                if failures == 0 { "fail".to_owned() } else { format!("fail more than {}", times(failures)) }
            ),
        };
        lines.push(match self.rolls_back {
            true => format!("Rolls back to what runs now upon {tolerated}."),
            false => format!("Stops where it is upon {tolerated}; nothing is rolled back."),
        });
        if let Some(pulse_ms) = self.pulse_ms {
            lines.push(format!(
                "Begins with the first pulse of its coordinator, and waits whenever none came for {}.",
                span(pulse_ms)
            ));
        }
        if self.sla_aware {
            lines.push("Kills a task only when the job's SLA policy allows it; until then it waits.".to_owned());
        }
        lines
    }

    fn groups_sentence(&self, groups: &[Vec<u32>]) -> String {
        const MOST_GROUPS: usize = 6;
        let largest = groups.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let shown: Vec<String> = groups.iter().take(MOST_GROUPS).map(|group| ranges(group.iter().copied())).collect();
        let shown = shown.join(" | ");
        let more = groups.len().saturating_sub(MOST_GROUPS);
        let more = if more > 0 { format!(" | … {more} more") } else { String::new() };
        match (self.strategy, groups.len()) {
            (_, 1) => format!("All {} at once: {shown}", plural(largest, "instance", "instances")),
            ("queue", _) => format!(
                "{} at a time, the next as soon as one is done, in this order: {shown}{more}",
                plural(largest, "instance", "instances")
            ),
            (_, count) => format!("{count} batches, one after the other: {shown}{more}"),
        }
    }
}

fn times(count: i32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(groups: &[&[u32]], least_duration_ms: i64) -> Course {
        let groups = groups.iter().map(|group| group.to_vec()).collect();
        Course { groups: Some(groups), least_duration_ms: Some(least_duration_ms) }
    }

    fn told(strategy: UpdateStrategy, course: Option<&Course>) -> Vec<String> {
        Rollout::new(&UpdateSettings { strategy, ..UpdateSettings::default() }, course).sentences()
    }

    #[test]
    fn groups_are_told_in_the_words_of_the_strategy() {
        let queue = UpdateStrategy::Queue { group_size: 2 };
        let batches = UpdateStrategy::VariableBatch { group_sizes: vec![1, 3], autopause_after_batch: true };
        let some = course(&[&[5, 6], &[0, 1], &[2, 7]], 135_000);
        let lines = told(queue.clone(), Some(&some));
        assert_eq!(lines[0], "2 instances at a time, the next as soon as one is done, in this order: 5-6 | 0-1 | 2,7");
        assert!(lines[1].contains("watched for 45 s") && lines[1].contains("takes 2 min 15 s at least"), "{lines:?}");
        let lines = told(batches.clone(), Some(&some));
        assert_eq!(lines[0], "3 batches, one after the other: 5-6 | 0-1 | 2,7");
        assert!(lines[2].contains("Pauses after each batch"), "{lines:?}");
        assert_eq!(told(batches, Some(&course(&[&[3]], 45_000)))[0], "All 1 instance at once: 3");
        let many: Vec<[u32; 1]> = (0..9).map(|instance| [instance]).collect();
        let many: Vec<&[u32]> = many.iter().map(|group| group.as_slice()).collect();
        let lines = told(queue, Some(&course(&many, 0)));
        assert!(lines[0].ends_with("in this order: 0 | 1 | 2 | 3 | 4 | 5 | … 3 more"), "{lines:?}");
        assert!(!lines[1].contains("watched"), "what only goes is not watched: {lines:?}");
    }

    #[test]
    fn without_the_scheduler_s_word_nothing_is_said_of_groups() {
        let queue = UpdateStrategy::Queue { group_size: 2 };
        for unknown in [None, Some(Course::default())] {
            let lines = told(queue.clone(), unknown.as_ref());
            assert_eq!(lines[0], "Each new task is watched for 45 s once it runs.");
            assert_eq!(lines[1], "Rolls back to what runs now upon the first failure of a new task.");
        }
    }

    #[test]
    fn what_turns_it_round_is_said() {
        let base = UpdateSettings::default();
        for (failures, failed, rolls_back, expected) in [
            (0, 0, true, "Rolls back to what runs now upon the first failure of a new task."),
            (1, 0, true, "Rolls back to what runs now upon an instance that fails more than once."),
            (2, 3, true, "Rolls back to what runs now upon more than 3 instances that fail more than 2 times."),
            (0, 1, false, "Stops where it is upon more than 1 instance that fail; nothing is rolled back."),
        ] {
            let settings = UpdateSettings {
                max_per_instance_failures: failures,
                max_failed_instances: failed,
                rollback_on_failure: rolls_back,
                ..base.clone()
            };
            let lines = Rollout::new(&settings, None).sentences();
            assert!(lines.iter().any(|line| line == expected), "{lines:?}");
        }
        let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(60_000), sla_aware: true, ..base };
        let lines = Rollout::new(&settings, None).sentences();
        assert!(lines.iter().any(|line| line.contains("none came for 60 s")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("SLA policy")), "{lines:?}");
    }
}
