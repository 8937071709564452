//! A run: its time has come, or somebody asked; the collision policy decides (spec scheduler 4.3).

use std::sync::Arc;

use model::{CronCollisionPolicy, JobConfiguration, JobKey, TaskId, TaskStatus};

use super::{CronJob, CronOutcome, CronRun, RUNS_REMEMBERED};
use crate::core::ms;
use crate::scheduler::Scheduler;
use crate::tasks::reschedule::Origin;
use crate::tasks::table::State;

/// Message of the kills.
const KILLED: &str = "Killed by cronScheduler";
/// Missed times are counted up to this.
const COUNTED: u32 = 1000;

/// Why there is a run.
pub(super) enum Cause {
    /// The schedule: its time, and how many earlier ones it covers.
    Schedule { nominal_ms: i64, skipped: u32 },
    /// A user.
    User(String),
}

impl Scheduler {
    /// A time of the job's schedule has come, or several have.
    pub(super) fn run_due(&mut self, key: &JobKey) {
        let now_ms = self.core.now.wall_ms;
        let grace_ms = i64::try_from(ms(self.core.settings.cron_restart_grace)).unwrap_or(i64::MAX);
        let Some(job) = self.core.store.view.cron_jobs.get(key) else { return };
        let zone = &self.core.settings.cron_timezone;
        let considered_ms = job.settled_ms(now_ms);
        let due = job.schedule.as_ref().and_then(|schedule| {
            let last_ms = schedule.last_between(considered_ms, now_ms, zone)?;
            Some((last_ms, schedule.count_between(considered_ms, last_ms - 1, zone, COUNTED)))
        });
        if let Some((nominal_ms, skipped)) = due {
            let is_old = nominal_ms.saturating_add(grace_ms) < self.cron.since_ms;
            if is_old || self.cron.settled_ms.is_some_and(|settled_ms| nominal_ms <= settled_ms) {
                self.miss(key, nominal_ms, skipped);
            } else {
                self.trigger(key, Cause::Schedule { nominal_ms, skipped });
            }
        }
        self.schedule_next(key);
    }

    /// Records that times passed while no scheduler was there.
    fn miss(&mut self, key: &JobKey, nominal_ms: i64, skipped: u32) {
        self.core.count("cron_job_missed_runs", i64::from(skipped) + 1);
        self.core.work += 1;
        self.record_run(key, &Cause::Schedule { nominal_ms, skipped }, CronOutcome::Missed);
    }

    /// A run is wanted now: what becomes of it.
    pub(super) fn trigger(&mut self, key: &JobKey, cause: Cause) -> Option<CronOutcome> {
        let job = self.core.store.view.cron_jobs.get(key)?.clone();
        self.core.work += 1;
        if job.waiting().is_some() {
            self.core.count("cron_job_concurrent_runs", 1);
            return Some(self.record_run(key, &cause, CronOutcome::Ignored));
        }
        self.core.count("cron_job_triggers", 1);
        let mut active = self.active_of(key);
        if !active.is_empty() {
            self.core.count("cron_job_collisions", 1);
            match job.config.cron_collision_policy {
                CronCollisionPolicy::KillExisting => {}
                CronCollisionPolicy::CancelNew => return Some(self.record_run(key, &cause, CronOutcome::Cancelled)),
                CronCollisionPolicy::RunOverlap => {
                    self.core.notice(format!("{key} has the collision policy RUN_OVERLAP, which is no more: not run."));
                    return Some(self.record_run(key, &cause, CronOutcome::Cancelled));
                }
            }
            let message: Arc<str> = KILLED.into();
            for id in active {
                self.core.transition(&id, None, State::Stored(TaskStatus::Killing), Some(message.clone()));
            }
            active = self.active_of(key);
        }
        if active.is_empty() {
            self.create_run(&job.config);
            return Some(self.record_run(key, &cause, CronOutcome::Started));
        }
        let outcome = self.record_run(key, &cause, CronOutcome::Waiting(job.config.clone()));
        self.wait_for_end(key);
        Some(outcome)
    }

    /// The last task of the run before has ended.
    pub(super) fn begin_waiting(&mut self, key: &JobKey) {
        let Some(job) = self.core.store.view.cron_jobs.get(key).cloned() else { return };
        let Some(run) = job.waiting() else { return };
        let CronOutcome::Waiting(config) = &run.outcome else { return };
        if !self.active_of(key).is_empty() {
            return;
        }
        self.core.awaited.remove(key);
        self.create_run(config);
        let started_ms = Some(self.core.now.wall_ms);
        self.core.store.put_cron_run(key, CronRun { outcome: CronOutcome::Started, started_ms, ..run.clone() });
    }

    fn active_of(&self, key: &JobKey) -> Vec<TaskId> {
        let index = self.core.jobs.get(key);
        index.into_iter().flat_map(|index| index.active.values()).map(|active| active.id.clone()).collect()
    }

    fn create_run(&mut self, config: &JobConfiguration) {
        let task = self.core.store.intern(config.task.clone());
        for instance in 0..u32::try_from(config.instance_count).unwrap_or(0) {
            if let Err(collision) = self.core.create_task(&task, instance, Origin::New) {
                self.core.notice(format!("A run of {} is not complete: {collision}.", config.key));
            }
        }
    }

    /// Records a run, and forgets the oldest beyond those that are remembered.
    fn record_run(&mut self, key: &JobKey, cause: &Cause, outcome: CronOutcome) -> CronOutcome {
        let now_ms = self.core.now.wall_ms;
        let Some(job) = self.core.store.view.cron_jobs.get(key) else { return outcome };
        let considered_ms = job.settled_ms(now_ms);
        let (nominal_ms, skipped, user) = match cause {
            Cause::Schedule { nominal_ms, skipped } => (Some(*nominal_ms), *skipped, None),
            Cause::User(user) => (None, 0, Some(user.clone())),
        };
        let run = CronRun {
            number: job.runs.last().map_or(1, |run| run.number + 1),
            nominal_ms,
            recorded_ms: now_ms,
            user,
            instances: job.instances(),
            skipped,
            considered_ms: nominal_ms.unwrap_or(considered_ms),
            started_ms: (outcome == CronOutcome::Started).then_some(now_ms),
            outcome: outcome.clone(),
        };
        let forgotten = forgotten(job);
        self.core.store.put_cron_run(key, run);
        forgotten.into_iter().for_each(|number| self.core.store.remove_cron_run(key, number));
        outcome
    }
}

/// Runs that go when another one comes; one that waits never does.
fn forgotten(job: &CronJob) -> Vec<u64> {
    let ended = job.runs.iter().filter(|run| !matches!(run.outcome, CronOutcome::Waiting(_)));
    let count = ended.clone().count();
    ended.take((count + 1).saturating_sub(RUNS_REMEMBERED)).map(|run| run.number).collect()
}
