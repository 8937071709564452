//! Kills within a policy (spec scheduler 3.8, 5.3).

use super::*;

impl Model {
    pub(super) fn waits_for_policy(&self, at: usize, wanted: Option<i32>) -> bool {
        let has_policy = wanted.is_some_and(|version| version >= FIRST_WITH_POLICY);
        self.updates[at].settings.sla_aware && has_policy && self.planted != Planted::SlaIgnored
    }

    pub(super) fn try_sla_kill(&mut self, instance: Instance) {
        let at = self.active_update().expect("only of an active update");
        let forward = self.updates[at].is_forward();
        let Some(rolling) = &mut self.updates[at].rolling else { return };
        let Some(task) = rolling.tries.get(&instance).copied() else { return };
        let state = self.tasks[task].state;
        if matches!(state, TaskState::Killing | TaskState::Ended | TaskState::Deleted) {
            rolling.tries.remove(&instance);
            return;
        }
        if state == TaskState::Pending {
            self.kill(task);
        } else if self.policy_allows(task) {
            use UpdateAction::{InstanceRollingBack, InstanceUpdating};
            let action = if forward { InstanceUpdating } else { InstanceRollingBack };
            self.updates[at].instance_events.push((instance, action, self.now));
            self.kill(task);
        }
        if self.planted != Planted::SlaRetriesStopAfterOne {
            self.arm(at, self.now + SLA_RETRY_MS, instance, true);
        }
    }

    fn policy_allows(&self, task: usize) -> bool {
        let active = self.active().len();
        if active < POLICY_MIN_INSTANCES {
            return true;
        }
        let is_up = |at: usize| {
            let other = &self.tasks[at];
            (at != task || self.planted == Planted::SlaCountsThePresentTask)
                && other.state == TaskState::Running
                && self.now - other.since > POLICY_DURATION_MS
        };
        let up = (0..self.tasks.len()).filter(|at| is_up(*at)).count() as i64;
        let active = active as i64;
        let required = if active - POLICY_COUNT < 1 { active - 1 } else { POLICY_COUNT };
        up >= required
    }
}
