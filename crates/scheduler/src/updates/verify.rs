//! The invariants of the update controller against the stored tables. For tests and simulations.

use model::TaskStatus;

use super::progress::InstanceProgress;
use super::{Active, status};
use crate::scheduler::Scheduler;

type Checked = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Scheduler {
    /// Holds after every step of a scheduler that was started.
    pub(crate) fn verify_updates(&self) -> Checked {
        let view = &self.core.store.view;
        let mut active_updates = 0;
        for update in view.updates.values() {
            let (key, update_status) = (&update.key, update.status());
            let known = self.updates.active.get(&key.job).filter(|active| active.key == *key);
            ensure(known.is_some() == update_status.is_active(), || {
                format!("{update_status} update {} of {} is in memory: {}", key.id, key.job, known.is_some())
            })?;
            let Some(active) = known else {
                let left = view.update_progress.contains_key(key) || view.update_pulses.contains_key(key);
                ensure(!left, || format!("the ended update {} of {} has left something", key.id, key.job))?;
                continue;
            };
            active_updates += 1;
            ensure(self.core.followed.contains(&key.job), || format!("nobody looks at {}", key.job))?;
            ensure(active.updater.is_some() == status::is_rolling(update_status), || {
                format!("{update_status} update {} is worked on: {}", key.id, active.updater.is_some())
            })?;
            self.verify_progress(active)?;
        }
        let known = (self.updates.active.len(), self.core.followed.len());
        ensure(known == (active_updates, active_updates), || {
            format!("{active_updates} updates are active, in memory and followed {known:?}")
        })?;
        let strays =
            view.update_progress.keys().chain(view.update_pulses.keys()).find(|key| !view.updates.contains_key(*key));
        ensure(strays.is_none(), || format!("progress of {strays:?}, which is not there"))
    }

    fn verify_progress(&self, active: &Active) -> Checked {
        let key = &active.key;
        let stored = self.core.store.view.update_progress.get(key).cloned().unwrap_or_default();
        let Some(updater) = &active.updater else {
            let forgotten =
                |known: &InstanceProgress| *known == InstanceProgress { begun: known.begun, ..Default::default() };
            return ensure(stored.values().all(forgotten), || {
                format!("resting update {} remembers {stored:?}", key.id)
            });
        };
        for (instance, (stage, failures)) in updater.all_progress() {
            let begun = active.begun.as_ref().is_some_and(|begun| begun.contains(&instance));
            let known = stored.get(&instance).copied().unwrap_or_default();
            ensure(known == InstanceProgress { stage, failures, begun }, || {
                format!("instance {instance} of update {} is {stage:?} {failures} {begun}, stored {known:?}", key.id)
            })?;
        }
        for instance in updater.working() {
            let task = self.core.active_task(&key.job, *instance);
            ensure(task.is_some() || updater.held.contains(instance), || {
                format!("instance {instance} of update {} has no task and waits for none", key.id)
            })?;
            let watched = task.is_some_and(|task| {
                task.status == TaskStatus::Running
                    && updater.target(*instance).is_some_and(|config| *config == task.config)
            });
            ensure(!watched || updater.timers.contains_key(instance), || {
                format!("instance {instance} of update {} runs and is not watched", key.id)
            })?;
        }
        Ok(())
    }
}
