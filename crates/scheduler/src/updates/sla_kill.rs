//! Kills of SLA-aware updates: each waits until the job's SLA policy allows it (spec scheduler 3.8). Whether it does is decided in
//! [`crate::sla`]; here is who asks, when, and what is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{InstanceId, TaskId, TaskStatus, UpdateKey};

use super::control::SHORTEST_WAIT_MS;
use crate::core::ms;
use crate::random::backoff_ms;
use crate::scheduler::Scheduler;
use crate::sla::coordinator::Purpose;
use crate::task::Task;
use crate::timers::{Timer, TimerKey};

/// Message of an instance's event when its kill is first asked for.
pub(super) const CHECKING: &str = "checking SLA";
/// Message when the policy allowed it.
const PASSED: &str = "SLA check passed";

/// A kill that waits for its policy.
#[derive(Debug)]
pub(crate) struct SlaTry {
    /// The task to be killed.
    task: TaskId,
    /// Looks again.
    pub(super) timer: Option<TimerKey>,
    /// The wait before this look.
    last_wait_ms: u64,
}

impl Scheduler {
    /// Asks in this step, and again and again until the task is not to be killed any more. Instances that run nowhere go at once and are
    /// there again before anybody is asked about: an instance that is about to be replaced is no instance less.
    pub(super) fn begin_sla_kill(&mut self, key: &UpdateKey, instance: InstanceId, task: TaskId) {
        let runs = self.core.store.view.tasks.get(&task).is_some_and(|task| task.status.is_assigned());
        let Some(tries) = self.sla_tries(key) else { return };
        if tries.get(&instance).is_some_and(|known| known.task == task) {
            return;
        }
        let old = tries.insert(instance, SlaTry { task, timer: None, last_wait_ms: 0 });
        if let Some(timer) = old.and_then(|old| old.timer) {
            self.core.timers.cancel(timer);
        }
        if !runs {
            return self.try_sla_kill(key, instance);
        }
        let timer = self.core.arm_after(0, Timer::SlaKill(key.clone(), instance));
        if let Some(known) = self.sla_tries(key).and_then(|tries| tries.get_mut(&instance)) {
            known.timer = Some(timer);
        }
    }

    /// The wait is over.
    pub(crate) fn retry_sla_kill(&mut self, key: &UpdateKey, instance: InstanceId) {
        if let Some(known) = self.sla_tries(key).and_then(|tries| tries.get_mut(&instance)) {
            known.timer = None;
            self.try_sla_kill(key, instance);
        }
    }

    fn sla_tries(&mut self, key: &UpdateKey) -> Option<&mut BTreeMap<InstanceId, SlaTry>> {
        let active = self.updates.active.get_mut(&key.job).filter(|active| active.key == *key)?;
        Some(&mut active.updater.as_mut()?.sla_tries)
    }

    fn try_sla_kill(&mut self, key: &UpdateKey, instance: InstanceId) {
        let Some(updater) = self.updates.active.get(&key.job).and_then(|active| active.updater.as_ref()) else {
            return;
        };
        let Some(known) = updater.sla_tries.get(&instance) else { return };
        let policy = updater.target(instance).and_then(|config| config.sla_policy.clone());
        let last_wait_ms = known.last_wait_ms;
        let Some(task) = self.core.store.view.tasks.get(&known.task).filter(|task| is_killable(task)).cloned() else {
            self.sla_tries(key).and_then(|tries| tries.remove(&instance));
            return;
        };
        if self.core.space_low {
            // A kill that is followed by a new task waits for room, as in every update.
        } else if !task.status.is_assigned() {
            self.kill_for_update(key, instance, &task.id);
        } else {
            self.core.count(&format!("updates_sla_kill_attempt_{}", key.job), 1);
            let purpose = Purpose::Update(key.clone(), instance);
            if policy.is_none_or(|policy| self.core.sla_allows(&task, &policy, purpose)) {
                self.sla_kill_allowed(key, instance, &task.id);
            }
        }
        let (min_ms, max_ms) = (
            ms(self.core.settings.sla_aware_kill_retry_min_delay),
            ms(self.core.settings.sla_aware_kill_retry_max_delay),
        );
        let wait_ms = backoff_ms(&mut self.core.random, last_wait_ms, min_ms, max_ms).max(SHORTEST_WAIT_MS);
        let timer = self.core.arm_after(wait_ms, Timer::SlaKill(key.clone(), instance));
        if let Some(known) = self.sla_tries(key).and_then(|tries| tries.get_mut(&instance)) {
            (known.timer, known.last_wait_ms) = (Some(timer), wait_ms);
        }
    }

    /// The policy, or the coordinator it names, allows the kill of a task now. Nothing happens if the update has changed its state
    /// since it asked, or does not want the kill any more.
    pub(crate) fn sla_kill_allowed(&mut self, key: &UpdateKey, instance: InstanceId, id: &TaskId) {
        let is_wanted =
            self.sla_tries(key).and_then(|tries| tries.get(&instance)).is_some_and(|known| known.task == *id);
        let is_killable = self.core.store.view.tasks.get(id).is_some_and(is_killable);
        if !is_wanted || !is_killable || self.core.space_low {
            return;
        }
        let active = self.updates.active.get(&key.job);
        let Some(action) = active.and_then(|active| active.updater.as_ref()).map(|updater| updater.working_action())
        else {
            return;
        };
        self.core.count(&format!("updates_sla_kill_success_{}", key.job), 1);
        self.record(key, instance, action, Some(PASSED));
        self.kill_for_update(key, instance, id);
    }
}

/// Active, and not being killed already.
fn is_killable(task: &Arc<Task>) -> bool {
    task.status.is_active() && task.status != TaskStatus::Killing
}
