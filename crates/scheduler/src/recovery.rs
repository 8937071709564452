//! The start: everything that is derived is built anew from the tables, timers are armed with what is left of their delays,
//! and interrupted work goes on. Also reconciliation with the engine (spec scheduler 6.3, 6.5).

use std::sync::Arc;

use engine::Call;
use model::{TaskId, TaskStatus};

use crate::core::{Core, ms};
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::tasks::index::{Active, Ended};
use crate::timers::Timer;

/// Tasks per question to the engine (spec scheduler 6.5).
const RECONCILE_BATCH: usize = 1000;
/// Between two looks for ended updates to forget (spec scheduler 3.11).
pub(crate) const PRUNE_UPDATES_INTERVAL_MS: u64 = 15 * 60 * 1000;

impl Scheduler {
    /// The input `Start`.
    pub(crate) fn start(&mut self, seed: [u8; 32], epoch: u64) {
        let core = &mut self.core;
        if core.started {
            core.notice("A second Start is ignored: a scheduler starts once.");
            return;
        }
        core.started = true;
        core.random = Random::new(seed);
        for sentence in core.store.dangling() {
            core.notice(sentence);
        }
        core.store.begin_epoch(epoch);
        core.rebuild();
        core.arm_after(PRUNE_UPDATES_INTERVAL_MS, Timer::PruneUpdates);
        if let Some(interval) = core.settings.reconciliation_explicit_interval {
            core.arm_after(ms(interval).max(1), Timer::Reconcile);
        }
        self.resume_updates();
    }
}

impl Core {
    /// Builds indexes, groups and timers from the stored tasks, in order of their latest events.
    fn rebuild(&mut self) {
        let mut tasks: Vec<Arc<Task>> = self.store.view.tasks.values().cloned().collect();
        // Stable: those of the same moment stay in order of id.
        tasks.sort_by_key(|task| task.last_event_ms());
        for task in &tasks {
            self.count_status(task.status, 1);
            let index = self.job_index(&task.config.job);
            if task.status.is_terminal() {
                index.ended.insert(Ended(task.clone()));
                continue;
            }
            let active = Active::new(task.id.clone());
            if let Some(other) = index.active.insert(task.instance, active) {
                let (job, instance) = (&task.config.job, task.instance);
                self.notice(format!("Instance {instance} of {job} is active twice: {} and {}.", other.id, task.id));
            }
            if task.status.is_assigned()
                && let Some(slot) = self.slot_of_placed(task)
            {
                self.occupy(task, slot);
            }
        }
        // Penalties look at ancestors, so all tasks must be listed before the first timer is armed.
        for task in tasks.iter().filter(|task| task.status.is_active()) {
            self.enter(task, task.status);
        }
        let jobs: Vec<_> = self.jobs.keys().cloned().collect();
        jobs.iter().for_each(|job| self.arm_prune(job));
        self.work = 0;
    }

    /// Everything placed is asked about at once: after every new connection.
    pub(crate) fn begin_reconciliation(&mut self) {
        self.count("reconciliation_explicit_runs", 1);
        self.reconcile_after = Some(None);
    }

    /// The same on schedule, if there is anybody to ask.
    pub(crate) fn begin_periodic_reconciliation(&mut self) {
        if let Some(interval) = self.settings.reconciliation_explicit_interval {
            self.arm_after(ms(interval).max(1), Timer::Reconcile);
        }
        if self.store.view.registered {
            self.begin_reconciliation();
        }
    }

    /// Goes on asking, a batch at a time. False when the step's work is used up before.
    pub(crate) fn reconcile_some(&mut self) -> bool {
        while let Some(after) = self.reconcile_after.take() {
            if !self.may_work() {
                self.reconcile_after = Some(after);
                return false;
            }
            self.reconcile_after = self.reconcile_batch(after);
        }
        true
    }

    /// Asks about the next tasks. Those being killed are killed again: the order may have been lost with the connection.
    fn reconcile_batch(&mut self, after: Option<TaskId>) -> Option<Option<TaskId>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let tasks = &self.store.view.tasks;
        let from = after.map_or(Unbounded, Excluded);
        let mut asked = Vec::new();
        let mut killed = Vec::new();
        let mut last = None;
        let mut seen = 0;
        for (id, task) in tasks.range((from, Unbounded)).take(RECONCILE_BATCH) {
            seen += 1;
            last = Some(id.clone());
            if task.status.is_assigned() {
                asked.push((id.clone(), task.agent_id.as_deref().map(str::to_owned)));
            }
            if task.status == TaskStatus::Killing {
                killed.push(id.clone());
            }
        }
        self.work += 1 + asked.len() + seen / 16;
        killed.iter().for_each(|id| self.kill(id));
        if !asked.is_empty() {
            self.call(Call::Reconcile { tasks: asked });
        }
        (seen == RECONCILE_BATCH).then_some(last)
    }
}
