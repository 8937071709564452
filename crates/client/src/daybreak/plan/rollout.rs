//! How an update would go: the groups of its strategy, the shortest time it takes, what stops it and what turns it round.

use model::update::{UpdateSettings, UpdateStrategy};
use serde::Serialize;

use crate::daybreak::telling::{plural, ranges, span};

/// The steps of an update, as far as can be told before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `queue`, `batch` or `variable batch`.
    pub strategy: &'static str,
    /// Instances of each group, in order: those added first, then those changed, then those removed. With a queue the next instance
    /// begins as soon as one is done, so that groups overlap.
    pub groups: Vec<Vec<u32>>,
    /// How long each new task must stay RUNNING, in ms.
    pub watch_ms: i64,
    /// It cannot take less, in ms: new tasks are watched group by group. Starting and stopping come on top.
    pub least_duration_ms: i64,
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
    /// Of instances to add, to change and to remove.
    pub fn new(settings: &UpdateSettings, add: &[u32], change: &[u32], remove: &[u32]) -> Self {
        let order: Vec<u32> = add.iter().chain(change).chain(remove).copied().collect();
        let watched = add.len() + change.len();
        let mut groups = Vec::new();
        let mut left = order.as_slice();
        while !left.is_empty() {
            let (group, rest) = left.split_at(group_size(&settings.strategy, groups.len()).min(left.len()));
            groups.push(group.to_vec());
            left = rest;
        }
        let mut begun = 0;
        let watches = groups.iter().filter(|group| {
            let has_new = begun < watched;
            begun += group.len();
            has_new
        });
        let watch_ms = i64::from(settings.min_wait_in_running_ms);
        let least_duration_ms = watch_ms * watches.count() as i64;
        let (strategy, pauses) = match &settings.strategy {
            UpdateStrategy::Queue { .. } => ("queue", false),
            UpdateStrategy::Batch { autopause_after_batch, .. } => ("batch", *autopause_after_batch),
            UpdateStrategy::VariableBatch { autopause_after_batch, .. } => ("variable batch", *autopause_after_batch),
        };
        Self {
            strategy,
            groups,
            watch_ms,
            least_duration_ms,
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
        const MOST_GROUPS: usize = 6;
        let mut lines = Vec::new();
        let largest = self.groups.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let shown = |group: &Vec<u32>| ranges(group.iter().copied());
        let groups: Vec<String> = self.groups.iter().take(MOST_GROUPS).map(shown).collect();
        let more = self.groups.len().saturating_sub(MOST_GROUPS);
        let more = if more > 0 { format!(" | … {more} more") } else { String::new() };
        let count = self.groups.len() as u64;
        lines.push(match (self.strategy, count) {
            (_, 1) => format!("All {} at once: {}", plural(largest, "instance", "instances"), groups.join(" | ")),
            ("queue", _) => format!(
                "{} at a time, the next as soon as one is done, in this order: {}{more}",
                plural(largest, "instance", "instances"),
                groups.join(" | ")
            ),
            _ => format!("{count} batches, one after the other: {}{more}", groups.join(" | ")),
        });
        if self.watch_ms > 0 && self.least_duration_ms > 0 {
            lines.push(format!(
                "Each new task is watched for {} once it runs; the whole takes {} at least, and what starting and stopping takes.",
                span(self.watch_ms),
                span(self.least_duration_ms)
            ));
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
}

fn times(count: i32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Size of a group by its number, from 0, when those before it are done. At least 1, so that what would be refused has an end, too.
fn group_size(strategy: &UpdateStrategy, number: usize) -> usize {
    let size = match strategy {
        UpdateStrategy::Queue { group_size } | UpdateStrategy::Batch { group_size, .. } => *group_size,
        UpdateStrategy::VariableBatch { group_sizes, .. } => {
            group_sizes.get(number).or(group_sizes.last()).copied().unwrap_or(1)
        }
    };
    usize::try_from(size).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(strategy: UpdateStrategy) -> UpdateSettings {
        UpdateSettings { strategy, ..UpdateSettings::default() }
    }

    #[test]
    fn groups_are_those_of_the_strategy_and_new_instances_come_first() {
        let queue = settings(UpdateStrategy::Queue { group_size: 2 });
        let rollout = Rollout::new(&queue, &[5, 6], &[0, 1, 2], &[7]);
        assert_eq!(rollout.groups, [vec![5, 6], vec![0, 1], vec![2, 7]]);
        assert_eq!(rollout.least_duration_ms, 3 * 45_000);
        assert_eq!(Rollout::new(&queue, &[], &[], &[0, 1, 2]).least_duration_ms, 0, "what only goes is not watched");
        let sizes = UpdateStrategy::VariableBatch { group_sizes: vec![1, 3], autopause_after_batch: true };
        let rollout = Rollout::new(&settings(sizes), &[], &[0, 1, 2, 3, 4, 5, 6, 7], &[]);
        assert_eq!(rollout.groups, [vec![0], vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
        assert!(rollout.sentences().iter().any(|line| line.contains("Pauses after each batch")));
        let none = settings(UpdateStrategy::VariableBatch { group_sizes: vec![], autopause_after_batch: false });
        assert_eq!(Rollout::new(&none, &[0, 1], &[], &[]).groups.len(), 2);
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
            let lines = Rollout::new(&settings, &[0], &[], &[]).sentences();
            assert!(lines.iter().any(|line| line == expected), "{lines:?}");
        }
        let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(60_000), sla_aware: true, ..base };
        let lines = Rollout::new(&settings, &[], &[0, 1], &[]).sentences();
        assert!(lines[0].starts_with("1 instance at a time, the next as soon as one is done"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("none came for 60 s")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("SLA policy")), "{lines:?}");
    }
}
