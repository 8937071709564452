//! How long the instances of a job have been up, as clients compute it from what runs (spec client-cli 2.18): from the first time that a
//! task was RUNNING until now.

use std::collections::BTreeMap;
use std::time::Duration;

use thrift::{ScheduleStatus, ScheduledTask, TaskConfig};

use super::tasks::instance_of;

/// Whole seconds of uptime, longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uptimes(Vec<u64>);

impl Uptimes {
    /// Of these tasks; those that never ran do not count.
    pub fn of<'a>(tasks: impl Iterator<Item = &'a ScheduledTask>, now_ms: i64) -> Self {
        let mut by_instance = BTreeMap::new();
        for task in tasks {
            let running = task.task_events.iter().find(|event| event.status == Some(ScheduleStatus::Running));
            if let Some(event) = running {
                let uptime_ms = u64::try_from(now_ms.saturating_sub(event.timestamp)).unwrap_or(0);
                by_instance.insert(instance_of(task), uptime_ms / 1000);
            }
        }
        let mut seconds: Vec<u64> = by_instance.into_values().collect();
        seconds.sort_unstable_by(|a, b| b.cmp(a));
        Self(seconds)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Share of `total` instances that have been up for so long, in percent.
    pub fn up_percent(&self, duration: Duration, total: usize) -> f64 {
        let up = self.0.iter().filter(|seconds| **seconds >= duration.as_secs()).count();
        if total == 0 { 0.0 } else { 100.0 * up as f64 / total as f64 }
    }

    /// The uptime in seconds that so many percent of the instances have at least; 0 where there are none.
    pub fn at_percentile(&self, percentile: f64) -> u64 {
        self.needed(percentile, self.count())
            .and_then(|needed| self.0.get(needed.saturating_sub(1)).copied())
            .unwrap_or(0)
    }

    /// How long until so many percent of `total` instances have been up for so long, if nothing else happens; `None` when there are too
    /// few of them.
    pub fn wait(&self, percentage: f64, duration: Duration, total: usize) -> Option<Duration> {
        let youngest = match self.needed(percentage, total)? {
            0 => return Some(Duration::ZERO),
            needed => self.0[needed - 1],
        };
        Some(duration.saturating_sub(Duration::from_secs(youngest)))
    }

    /// How many of `total` instances are so many percent; `None` when there are not that many.
    fn needed(&self, percentage: f64, total: usize) -> Option<usize> {
        let needed = (percentage * total as f64 / 100.0).ceil() as usize;
        (needed <= self.0.len()).then_some(needed)
    }
}

/// Configuration of a task.
pub fn config_of(task: &ScheduledTask) -> Option<&TaskConfig> {
    task.assigned_task.as_ref()?.task.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uptimes(seconds: &[u64]) -> Uptimes {
        let mut seconds = seconds.to_vec();
        seconds.sort_unstable_by(|a, b| b.cmp(a));
        Uptimes(seconds)
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn shares_and_percentiles_are_of_what_has_been_up() {
        let ten = uptimes(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(ten.up_percent(secs(60), 10), 50.0);
        assert_eq!(ten.up_percent(secs(60), 20), 25.0);
        assert_eq!(ten.up_percent(secs(101), 10), 0.0);
        let percentiles = [99.0, 95.0, 90.0, 50.0, 10.0].map(|percentile| ten.at_percentile(percentile));
        assert_eq!(percentiles, [10, 10, 20, 60, 100]);
        assert_eq!((uptimes(&[]).at_percentile(50.0), uptimes(&[]).up_percent(secs(0), 0)), (0, 0.0));
    }

    #[test]
    fn waiting_helps_when_there_are_enough() {
        let four = uptimes(&[100, 100, 40, 10]);
        assert_eq!(four.wait(50.0, secs(60), 4), Some(secs(0)));
        assert_eq!(four.wait(75.0, secs(60), 4), Some(secs(20)));
        assert_eq!(four.wait(100.0, secs(60), 4), Some(secs(50)));
        assert_eq!(four.wait(95.0, secs(60), 5), None, "one is missing");
        assert_eq!(four.wait(80.0, secs(60), 5), Some(secs(50)));
    }
}
