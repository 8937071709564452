//! The start: everything that is derived is built anew from the tables, timers are armed with what is left of their delays,
//! and interrupted work goes on (spec scheduler 6.3).

use std::sync::Arc;

use model::{TaskId, TaskStatus};

use crate::core::Core;
use crate::input::Effect;
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::tasks::index::{Active, Ended};
use crate::tasks::table::State;

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
        core.resume_maintenance();
        core.resume_forgetting();
        core.arm_reconciliation();
        core.resume_grace();
        core.store.view.disconnected_since_ms = Some(core.now.wall_ms);
        self.arm_update_pruning();
        self.resume_updates();
        self.start_cron();
        let core = &mut self.core;
        if core.settings.forget_framework.is_some() {
            if core.store.view.framework_id.as_deref() == core.settings.forget_framework.as_deref() {
                core.forget_framework();
            } else {
                core.notice("The framework to be forgotten is not the one of this state: nothing is forgotten.");
            }
        }
    }
}

impl Core {
    /// What the engine ran under the id it knew us by is gone: nothing of it is waited for.
    fn forget_framework(&mut self) {
        self.store.forget_framework();
        let placed = self.store.view.tasks.values().filter(|task| task.status.is_assigned());
        let placed: Vec<TaskId> = placed.map(|task| task.id.clone()).collect();
        let message: Arc<str> = "The framework that ran this task is no more.".into();
        self.notice(format!("The framework id is forgotten, and {} tasks with it: they are lost.", placed.len()));
        for id in placed {
            self.transition(&id, None, State::Stored(TaskStatus::Lost), Some(message.clone()));
        }
        // They run nowhere; and a new framework may not ask for those of an old one.
        self.effects.retain(|effect| !matches!(effect, Effect::Engine(_)));
    }

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
                if task.status == TaskStatus::Lost {
                    self.give_up(task);
                }
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
}
