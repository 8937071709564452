//! What users ask of cron jobs: schedule, replace, deschedule, start now (spec scheduler 4.4, 9.4).

use std::sync::Arc;

use model::{JobConfiguration, JobKey};

use super::run::Cause;
use super::{CronJob, CronOutcome};
use crate::admission;
use crate::command::Reply;
use crate::commands::{Checked, invalid};
use crate::input::Principal;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// scheduleCronJob, and replaceCronTemplate, for which the job must be there already.
    pub(crate) fn schedule_cron_job(&mut self, job: JobConfiguration, must_exist: bool) -> Checked<Reply> {
        let (job, schedule) = admission::check_cron(&self.core, job, must_exist)?;
        let known = self.core.store.view.cron_jobs.get(&job.key);
        // A time that has come belongs to the configuration that was there then.
        if known.and_then(|known| known.next_run_ms).is_some_and(|due_ms| due_ms <= self.core.now.wall_ms) {
            self.run_due(&job.key);
        }
        let key = job.key.clone();
        let last =
            self.core.store.view.cron_jobs.get(&key).and_then(|known| known.runs.last()).map_or(0, |run| run.number);
        let new = CronJob::new(Arc::new(job), self.core.now.wall_ms);
        let cron_job = CronJob { schedule: Some(schedule), scheduled_after: last, ..new };
        self.core.store.put_cron_job(cron_job);
        self.schedule_next(&key);
        self.publish_loaded();
        Ok(Reply::ok())
    }

    /// descheduleCronJob. Tasks go on; a run that waits for them does not begin any more.
    pub(crate) fn deschedule_cron_job(&mut self, key: &JobKey) -> Checked<Reply> {
        self.check_key(key)?;
        self.check_not_updating(key)?;
        let mut reply = Reply::ok();
        match self.core.store.remove_cron_job(key) {
            None => reply.messages.push(format!("Job {key} is not scheduled with cron.")),
            Some(job) => {
                if let Some(next_ms) = job.next_run_ms {
                    self.cron.queue.remove(&(next_ms, key.clone()));
                }
                self.core.awaited.remove(key);
                self.core.emptied.remove(key);
                self.publish_loaded();
            }
        }
        Ok(reply)
    }

    /// startCronJob: a run as if its time had come.
    pub(crate) fn start_cron_job(&mut self, principal: &Principal, key: &JobKey) -> Checked<Reply> {
        self.check_key(key)?;
        let Some(outcome) = self.trigger(key, Cause::User(principal.name.clone())) else {
            return invalid(format!("Failed to start cron job {key}: it is not scheduled with cron."));
        };
        let mut reply = Reply::ok();
        if outcome != CronOutcome::Started {
            reply.messages.push(format!("The run of {key}: {}.", outcome.sentence()));
        }
        Ok(reply)
    }

    fn publish_loaded(&mut self) {
        let loaded = self.core.store.view.cron_jobs.len() as i64;
        self.core.gauge("cron_jobs_loaded", loaded);
    }
}
