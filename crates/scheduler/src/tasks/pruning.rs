//! Forgetting: ended tasks go after a time, or when a job has too many of them (spec scheduler 6.6).

use model::JobKey;

use super::index::Ended;
use crate::core::{Core, ms};
use crate::timers::Timer;

impl Core {
    /// Tasks of these jobs ended: what is too many goes at once, and a timer waits for the oldest.
    pub(crate) fn prune_after_end(&mut self) {
        for job in std::mem::take(&mut self.ended_jobs) {
            self.prune_surplus(&job);
            self.arm_prune(&job);
        }
    }

    fn prune_surplus(&mut self, job: &JobKey) {
        let keep = self.settings.history_max_per_job_threshold;
        let young_ms = ms(self.settings.history_min_retention_threshold);
        while let Some(index) = self.jobs.get(job).filter(|index| index.ended.len() > keep) {
            let Some(Ended(oldest)) = index.ended.first().cloned() else { return };
            if self.remaining_ms(oldest.last_event_ms(), young_ms) > 0 {
                return;
            }
            self.delete(&oldest.id, None);
            self.count("tasks_pruned", 1);
        }
    }

    /// The timer for the oldest ended task: its age limit, or the end of its youth when the job has too many.
    pub(crate) fn arm_prune(&mut self, job: &JobKey) {
        let keep = self.settings.history_max_per_job_threshold;
        let young_ms = ms(self.settings.history_min_retention_threshold);
        let old_ms = ms(self.settings.history_prune_threshold).max(young_ms);
        let Some(index) = self.jobs.get_mut(job) else { return };
        if let Some(timer) = index.prune.take() {
            self.timers.cancel(timer);
        }
        let Some(oldest_ms) = index.ended.first().map(|Ended(task)| task.last_event_ms()) else { return };
        let limit_ms = if index.ended.len() > keep { young_ms } else { old_ms };
        let delay_ms = self.remaining_ms(oldest_ms, limit_ms);
        let timer = self.arm_after(delay_ms, Timer::PruneJob(job.clone()));
        if let Some(index) = self.jobs.get_mut(job) {
            index.prune = Some(timer);
        }
    }

    /// The timer fired: what is too old or too many goes, as far as this step may work.
    pub(crate) fn prune_job(&mut self, job: &JobKey) {
        if let Some(index) = self.jobs.get_mut(job) {
            index.prune = None;
        }
        self.prune_surplus(job);
        let young_ms = ms(self.settings.history_min_retention_threshold);
        let old_ms = ms(self.settings.history_prune_threshold).max(young_ms);
        while let Some(Ended(oldest)) = self.jobs.get(job).and_then(|index| index.ended.first()).cloned() {
            if self.remaining_ms(oldest.last_event_ms(), old_ms) > 0 || !self.may_work() {
                break;
            }
            self.delete(&oldest.id, None);
            self.count("tasks_pruned", 1);
        }
        self.arm_prune(job);
    }
}
