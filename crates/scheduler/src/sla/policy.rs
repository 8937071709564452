//! The check of an SLA policy: whether a task may be ended now (spec scheduler 5.3).
//!
//! How to use it: [`Core::sla_allows`] answers whether a task may be ended in this very step, and asks the coordinator where the policy
//! leaves it to one; the answer comes back in a later step and does what the purpose says. [`Core::sla_verdict`] is the bare check.

use std::sync::Arc;

use model::task::SlaPolicy;
use model::{JobKey, TaskConfig, TaskStatus};

use crate::core::Core;
use crate::sla::coordinator::Purpose;
use crate::task::Task;

/// Instances of a job that are looked at for one unit of work.
const INSTANCES_PER_WORK: usize = 32;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The task may be ended now.
    Allowed,
    /// It may not.
    Refused {
        /// After so many ms one instance more will have run for long enough, if nothing else happens; `None` when only a change can help.
        changes_after_ms: Option<u64>,
    },
    /// A coordinator decides.
    Ask,
}

/// What of a job counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    active: i64,
    /// Others that have been running for long enough.
    running: i64,
    /// When the next one will have, in ms from now.
    next_after_ms: Option<u64>,
}

impl Core {
    /// What `policy` says about ending `task` now. Pure: changes nothing and asks nobody.
    pub(crate) fn sla_verdict(&self, task: &Task, policy: &SlaPolicy) -> Verdict {
        let duration_secs = match policy {
            SlaPolicy::Coordinator { .. } => return Verdict::Ask,
            SlaPolicy::Percentage { duration_secs, .. } | SlaPolicy::Count { duration_secs, .. } => *duration_secs,
        };
        let active = self.jobs.get(&task.config.job).map_or(0, |index| index.active.len()) as i64;
        if !self.sla_applies(&task.config, active) {
            return Verdict::Allowed;
        }
        let standing = self.standing(&task.config.job, task, duration_secs);
        if suffices(policy, standing.active, standing.running) {
            Verdict::Allowed
        } else {
            Verdict::Refused { changes_after_ms: standing.next_after_ms }
        }
    }

    /// Asks on behalf of whoever wants to end a task: true when it may be ended now, in this step. Where a coordinator decides it is asked,
    /// and what its answer leads to is the `purpose`'s.
    pub(crate) fn sla_allows(&mut self, task: &Arc<Task>, policy: &SlaPolicy, purpose: Purpose) -> bool {
        self.work += self.sla_work(task);
        match self.sla_verdict(task, policy) {
            Verdict::Allowed => true,
            Verdict::Refused { .. } => false,
            Verdict::Ask => {
                self.ask_coordinator(task, policy, purpose);
                false
            }
        }
    }

    /// Work that a verdict takes, in the units of a step.
    pub(crate) fn sla_work(&self, task: &Task) -> usize {
        let active = self.jobs.get(&task.config.job).map_or(0, |index| index.active.len());
        1 + active / INSTANCES_PER_WORK
    }

    /// Count and percentage policies protect production jobs that are large enough; coordinators are always asked.
    fn sla_applies(&self, config: &TaskConfig, active: i64) -> bool {
        let rules = &self.settings.admission;
        let production = self.tier_of(config).is_some_and(model::Tier::is_production);
        (production || rules.sla_aware_kill_non_prod) && active >= i64::from(rules.min_required_instances_for_sla_check)
    }

    fn standing(&self, job: &JobKey, task: &Task, duration_secs: i64) -> Standing {
        let duration_ms = duration_secs.saturating_mul(1000);
        let mut standing = Standing { active: 0, running: 0, next_after_ms: None };
        let Some(index) = self.jobs.get(job) else { return standing };
        standing.active = index.active.len() as i64;
        let others = index.active.values().filter(|active| active.id != task.id);
        for other in others.filter_map(|active| self.store.view.tasks.get(&active.id)) {
            let Some(since_ms) = running_since_ms(other) else { continue };
            let age_ms = self.now.wall_ms.saturating_sub(since_ms);
            if age_ms > duration_ms {
                standing.running += 1;
                continue;
            }
            let left_ms = duration_ms.saturating_sub(age_ms).max(0) as u64 + 1;
            standing.next_after_ms = Some(standing.next_after_ms.map_or(left_ms, |next| next.min(left_ms)));
        }
        standing
    }
}

/// Since when a task is RUNNING, in ms since the epoch; `None` when it is not.
fn running_since_ms(task: &Arc<Task>) -> Option<i64> {
    if task.status != TaskStatus::Running {
        return None;
    }
    task.events.iter().rev().find(|event| event.status == TaskStatus::Running).map(|event| event.timestamp_ms)
}

/// Whether the job can do without one instance when `running` others have been up for long enough. A policy that would never allow
/// this means "all but one".
pub(crate) fn suffices(policy: &SlaPolicy, active: i64, running: i64) -> bool {
    match policy {
        SlaPolicy::Count { count, .. } => {
            let required = if active.saturating_sub(*count) < 1 { active - 1 } else { *count };
            running >= required
        }
        SlaPolicy::Percentage { percentage_bits, .. } => {
            let percentage = f64::from_bits(*percentage_bits);
            // Multiplied out, so that shares that are whole numbers compare exactly.
            let may_be_down = ((100.0 - percentage) * active as f64 / 100.0).trunc();
            // Not a number compares with nothing: as strict as can be.
            if may_be_down >= 1.0 {
                running as f64 * 100.0 >= percentage * active as f64
            } else {
                running >= active - 1
            }
        }
        SlaPolicy::Coordinator { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentage(percentage: f64) -> SlaPolicy {
        SlaPolicy::Percentage { percentage_bits: percentage.to_bits(), duration_secs: 0 }
    }

    /// The fewest others that must be up, found by trying.
    fn required(policy: &SlaPolicy, active: i64) -> i64 {
        (0..=active).find(|running| suffices(policy, active, *running)).unwrap_or(i64::MAX)
    }

    #[test]
    fn what_is_required_is_what_the_reference_says() {
        for (percent, active, expected) in [
            (95.0, 20, 19),
            (95.0, 100, 95),
            (95.0, 19, 18),
            (90.0, 10, 9),
            (66.0, 3, 2),
            (50.0, 4, 2),
            (99.9, 1000, 999),
            (0.0, 5, 0),
            (100.0, 7, 6),
            (f64::NAN, 7, 6),
            (33.3, 10, 4),
        ] {
            assert_eq!(required(&percentage(percent), active), expected, "{percent} % of {active}");
        }
        for (count, active, expected) in [(1, 2, 1), (19, 20, 19), (20, 20, 19), (50, 20, 19), (0, 20, 0), (-3, 4, 0)] {
            let policy = SlaPolicy::Count { count, duration_secs: 0 };
            assert_eq!(required(&policy, active), expected, "{count} of {active}");
        }
    }

    /// One more instance up never turns a yes into a no, and all others being up is always enough.
    #[test]
    fn more_is_never_less() {
        for active in 1..60 {
            for tenths in 0..=1000 {
                let policy = percentage(f64::from(tenths) / 10.0);
                let allowed: Vec<bool> = (0..active).map(|running| suffices(&policy, active, running)).collect();
                assert!(allowed.is_sorted(), "{tenths} tenths of {active}");
                assert!(suffices(&policy, active, active - 1));
            }
        }
    }
}
