//! What users ask of updates under way, pulses, and the forgetting of ended ones (spec scheduler 3.1, 3.7, 3.11).

use model::{JobKey, UpdateKey};

use super::pulse_timeout_ms;
use super::start::check_message;
use super::status::{Cause, Cell, cell};
use crate::command::{Outcome, Reply, ReplyCode, UpdateControl};
use crate::commands::{Checked, invalid, refuse};
use crate::core::ms;
use crate::input::Principal;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// What repeats itself waits at least this long, whatever the settings say.
pub(super) const SHORTEST_WAIT_MS: u64 = 1000;

fn check_update_key(key: &UpdateKey) -> Checked<()> {
    if key.job.is_valid() && !key.id.trim().is_empty() {
        return Ok(());
    }
    refuse(ReplyCode::Error, format!("Update '{}' of job {} cannot be: name a job and an update.", key.id, key.job))
}

impl Scheduler {
    /// Pause, resume, abort or rollback.
    pub(crate) fn control_update(
        &mut self,
        principal: &Principal,
        key: &UpdateKey,
        action: UpdateControl,
        message: Option<String>,
    ) -> Checked<Reply> {
        check_update_key(key)?;
        check_message(message.as_ref())?;
        let Some(update) = self.core.store.view.updates.get(key).cloned() else {
            return invalid(format!("Job {} has no update {}.", key.job, key.id));
        };
        let from = update.status();
        let cause = Cause::from((action, self.is_blocked(&update)));
        // A copy held while events are added would make each addition copy the whole history.
        drop(update);
        if cell(from, cause) == Cell::Illegal {
            let wish = match action {
                UpdateControl::Pause => "paused",
                UpdateControl::Resume => "resumed",
                UpdateControl::Abort => "aborted",
                UpdateControl::Rollback => "rolled back",
            };
            return invalid(format!("Update {} is {from} and cannot be {wish}.", key.id));
        }
        self.change_update(key, cause, Some(principal.name.clone()), message);
        Ok(Reply::ok())
    }

    /// A sign of life from the coordinator of an update.
    pub(crate) fn pulse_update(&mut self, key: &UpdateKey) -> Checked<Reply> {
        check_update_key(key)?;
        let answer = |active| Ok(Reply { outcome: Outcome::Pulse { active }, ..Reply::ok() });
        let update = self.core.store.view.updates.get(key).cloned();
        let Some(update) = update.filter(|update| update.status().is_active() && pulse_timeout_ms(update).is_some())
        else {
            return answer(false);
        };
        if let Some(active) = self.updates.active.get_mut(&key.job) {
            active.last_pulse_ms = Some(self.core.now.monotonic_ms as i64);
        }
        self.core.store.put_pulse(key, self.core.now.wall_ms);
        drop(update);
        self.change_update(key, Cause::Pulse, None, None);
        answer(true)
    }

    /// Looks again after the interval of the settings, but not without end at once.
    pub(crate) fn arm_update_pruning(&mut self) {
        let interval_ms = ms(self.core.settings.job_update_history_pruning_interval).max(SHORTEST_WAIT_MS);
        self.core.arm_after(interval_ms, Timer::PruneUpdates);
    }

    /// Forgets ended updates that are too old, too many, or of jobs that are forgotten themselves.
    pub(crate) fn prune_updates(&mut self) {
        self.arm_update_pruning();
        let keep = self.core.settings.job_update_history_per_job_threshold;
        let age_ms = ms(self.core.settings.job_update_history_pruning_threshold);
        let view = &self.core.store.view;
        let mut ended: Vec<(&JobKey, std::cmp::Reverse<i64>, &UpdateKey)> = view
            .updates
            .values()
            .filter(|update| !update.status().is_active())
            .map(|update| (&update.key.job, std::cmp::Reverse(update.created_ms()), &update.key))
            .collect();
        ended.sort();
        let mut forgotten: Vec<UpdateKey> = Vec::new();
        for of_job in ended.chunk_by(|one, other| one.0 == other.0) {
            let no_tasks = !view.tasks_by_job.contains_key(of_job[0].0);
            for (newer, (_, created_ms, key)) in of_job.iter().enumerate() {
                let old = self.core.remaining_ms(created_ms.0, age_ms) == 0;
                if no_tasks || newer >= keep || old {
                    forgotten.push((*key).clone());
                }
            }
        }
        for key in forgotten {
            self.core.store.remove_update(&key);
            self.core.count("job_updates_pruned", 1);
        }
    }
}
