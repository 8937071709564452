//! What users ask of cron jobs: schedule, replace, deschedule, start now (spec scheduler 4.4, 9.4).

use std::sync::Arc;

use model::cron::Schedule;
use model::validation::admit_job;
use model::{CronCollisionPolicy, JobConfiguration, JobKey};

use super::run::Cause;
use super::{CronJob, CronOutcome};
use crate::command::{Reply, ReplyCode};
use crate::commands::{Checked, invalid};
use crate::input::Principal;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// scheduleCronJob, and replaceCronTemplate, for which the job must be there already.
    pub(crate) fn schedule_cron_job(&mut self, job: JobConfiguration, must_exist: bool) -> Checked<Reply> {
        self.check_key(&job.key)?;
        let job = admit_job(job, &self.core.settings.admission)
            .or_else(|refused| invalid(format!("Invalid configuration: {refused}")))?;
        let Some(text) = job.cron_schedule.as_deref() else {
            return invalid(format!("Job {} has no cron schedule: create it with job create.", job.key));
        };
        let schedule: Schedule = text.parse().or_else(|error| invalid(format!("{error}")))?;
        if job.cron_collision_policy == CronCollisionPolicy::RunOverlap {
            return invalid("The collision policy RUN_OVERLAP is no more: use KILL_EXISTING or CANCEL_NEW.");
        }
        self.check_not_updating(&job.key)?;
        let known = self.core.store.view.cron_jobs.get(&job.key).cloned();
        let has_active = self.core.jobs.get(&job.key).is_some_and(|index| !index.active.is_empty());
        match &known {
            None if must_exist => return invalid(format!("No cron job found for {}: schedule it first.", job.key)),
            None if has_active => {
                return invalid(format!(
                    "Job {} already exists and is no cron job: kill it first, then schedule it.",
                    job.key
                ));
            }
            _ => {}
        }
        let count = i64::from(job.instance_count);
        self.check_instance_count(&job.key, count)?;
        self.core.check_cron_quota(&job).or_else(invalid)?;
        // A time that has come belongs to the configuration that was there then.
        if known.as_ref().and_then(|known| known.next_run_ms).is_some_and(|due_ms| due_ms <= self.core.now.wall_ms) {
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

    /// Refuses what is not for cron jobs.
    pub(crate) fn check_not_cron(&self, key: &JobKey, instead: &str) -> Checked<()> {
        if self.core.store.view.cron_jobs.contains_key(key) {
            return Err(Reply::refused(ReplyCode::InvalidRequest, format!("Job {key} is a cron job: {instead}.")));
        }
        Ok(())
    }

    fn publish_loaded(&mut self) {
        let loaded = self.core.store.view.cron_jobs.len() as i64;
        self.core.gauge("cron_jobs_loaded", loaded);
    }
}
