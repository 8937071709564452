//! Cron: jobs whose tasks are created by the clock (spec scheduler 4).
//!
//! A run is recorded under its time of the schedule in the same group of records as the tasks it creates, or as the kills of the
//! run before it, so that a crash can neither lose nor double it. A run that waits for the one before is a record too, and goes
//! on waiting after a restart.
//!
//! Cron runs on the wall clock. Whether a time has come is looked at in every step; the timer only wakes the loop, early enough to
//! notice a clock that was set. The rules of time:
//!
//! - Times that pass while no scheduler is there are missed, never caught up, and recorded as such. A scheduler that begins within
//!   [`crate::Settings::cron_restart_grace`] of such a time still starts that run: a restart is no outage.
//! - Times that pass while this one is held up (a slow disk, a machine asleep, a full journal) come to one run, at once.
//! - A clock that goes back repeats nothing, unless it goes back so far that it must have been wrong.
//! - Before the clock is set at all, nothing runs.

mod commands;
mod job;
mod run;

use std::collections::BTreeSet;
use std::sync::Arc;

use model::JobKey;

use crate::scheduler::Scheduler;
use crate::timers::{Timer, TimerKey};

pub(crate) use job::CORRECTION_MS;
pub use job::{CronJob, CronOutcome, CronRun, RUNS_REMEMBERED};

/// The longest sleep while there are cron jobs, so that a wall clock that was set is noticed.
const MAX_SLEEP_MS: u64 = 15_000;
/// The first moment of 2020: a clock before that has not been set.
const CLOCK_SET_MS: i64 = 1_577_836_800_000;

/// What cron remembers beyond its tables. Nothing of it is durable.
#[derive(Debug, Default)]
pub(crate) struct Cron {
    /// Jobs by the time they are due at.
    queue: BTreeSet<(i64, JobKey)>,
    /// Wakes the loop; with its deadline.
    timer: Option<(u64, TimerKey)>,
    /// When this scheduler began, or its clock was set, in ms since the epoch.
    since_ms: i64,
    /// Times up to this one are not met any more: they were of a clock that was not set, or of a state that a backup replaced and that
    /// may have met them.
    settled_ms: Option<i64>,
    /// The latest the wall clock has shown.
    latest_ms: i64,
    /// The wall clock has been set.
    clock_is_set: bool,
    /// Runs triggered in this step.
    triggered: usize,
}

/// What is left of cron's work in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Idle,
    /// Perhaps more.
    Worked,
    /// More, but not in this step.
    Enough,
}

impl Scheduler {
    /// After all records were applied: jobs wait for their times, and runs for those before them.
    pub(crate) fn start_cron(&mut self) {
        self.core.gauge("quartz_scheduler_running", 1);
        self.core.store.view.cron_timezone = Arc::new(self.core.settings.cron_timezone.clone());
        let now_ms = self.core.now.wall_ms;
        self.cron.since_ms = now_ms;
        // What an earlier scheduler saw of the clock counts too.
        let settled = self.core.store.view.cron_jobs.values().map(|job| job.considered_ms(now_ms));
        self.cron.latest_ms = settled.max().map_or(now_ms, |latest_ms| latest_ms.max(now_ms));
        self.cron.clock_is_set = now_ms >= CLOCK_SET_MS;
        self.schedule_all();
        let waiting: Vec<JobKey> = self
            .core
            .store
            .view
            .cron_jobs
            .iter()
            .filter(|(_, job)| job.waiting().is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in waiting {
            self.wait_for_end(&key);
        }
        let unreadable: Vec<String> = self
            .core
            .store
            .view
            .cron_jobs
            .iter()
            .filter(|(_, job)| job.schedule.is_none())
            .map(|(key, job)| format!("Cron schedule '{}' of {key} cannot be read: give it anew.", job.schedule_text()))
            .collect();
        for sentence in unreadable {
            self.core.count("cron_job_launch_failures", 1);
            self.core.notice(sentence);
        }
    }

    /// A backup became the state: what was due since, and what waited then, may have run already, and is not run again.
    pub(crate) fn cron_restored(&mut self) {
        self.cron.settled_ms = Some(self.core.now.wall_ms);
        self.core.emptied.clear();
        for key in std::mem::take(&mut self.core.awaited) {
            let waiting = self.core.store.view.cron_jobs.get(&key).and_then(|job| job.waiting()).cloned();
            if let Some(run) = waiting {
                self.core.store.put_cron_run(&key, CronRun { outcome: CronOutcome::Missed, ..run });
            }
        }
    }

    /// At the begin of a step: a clock that was set changes what is waited for.
    pub(crate) fn look_at_clock(&mut self) {
        self.cron.triggered = 0;
        let now_ms = self.core.now.wall_ms;
        if !self.cron.clock_is_set && now_ms >= CLOCK_SET_MS {
            self.cron.clock_is_set = true;
            self.cron.since_ms = now_ms;
            self.cron.settled_ms = Some(now_ms);
            self.cron.latest_ms = now_ms;
            self.schedule_all();
        } else if now_ms < self.cron.latest_ms.saturating_sub(CORRECTION_MS) {
            self.core
                .notice("The clock went back by hours: cron jobs are scheduled afresh from the time it shows now.");
            self.cron.latest_ms = now_ms;
            self.cron.clock_is_set = now_ms >= CLOCK_SET_MS;
            self.schedule_all();
        }
        // A clock that went back shows times once more, and nothing was missed that is still to come.
        self.cron.since_ms = self.cron.since_ms.min(now_ms);
        self.cron.settled_ms = self.cron.settled_ms.map(|settled_ms| settled_ms.min(now_ms));
        self.cron.latest_ms = self.cron.latest_ms.max(now_ms);
    }

    /// Every job waits for its next time.
    fn schedule_all(&mut self) {
        let keys: Vec<JobKey> = self.core.store.view.cron_jobs.keys().cloned().collect();
        keys.iter().for_each(|key| self.schedule_next(key));
        let loaded = self.core.store.view.cron_jobs.len() as i64;
        self.core.gauge("cron_jobs_loaded", loaded);
    }

    /// A job waits for its next time; one that is no cron job any more waits for nothing.
    fn schedule_next(&mut self, key: &JobKey) {
        let now_ms = self.core.now.wall_ms;
        let Some(job) = self.core.store.view.cron_jobs.get(key) else { return };
        let next_ms = job.next_ms(now_ms, &self.core.settings.cron_timezone);
        let known_ms = job.next_run_ms;
        if let Some(known_ms) = known_ms {
            self.cron.queue.remove(&(known_ms, key.clone()));
        }
        if let Some(next_ms) = next_ms {
            self.cron.queue.insert((next_ms, key.clone()));
        }
        if known_ms != next_ms {
            self.core.store.set_cron_next(key, next_ms);
        }
    }

    /// A run of the job begins when its last active task has ended.
    fn wait_for_end(&mut self, key: &JobKey) {
        self.core.awaited.insert(key.clone());
        if self.core.jobs.get(key).is_none_or(|index| index.active.is_empty()) {
            self.core.emptied.insert(key.clone());
        }
    }

    /// Whether runs may begin now: they make the state grow, and mean nothing before the clock is set.
    fn is_held(&self) -> bool {
        self.core.space_low || !self.cron.clock_is_set
    }

    /// The next piece of cron's work.
    pub(crate) fn cron_turn(&mut self) -> Turn {
        if self.core.space_low {
            return Turn::Idle;
        }
        if let Some(key) = self.core.emptied.pop_first() {
            self.begin_waiting(&key);
            return Turn::Worked;
        }
        let due = |(at_ms, _): &&(i64, JobKey)| *at_ms <= self.core.now.wall_ms;
        let Some((_, key)) = self.cron.queue.first().filter(due).filter(|_| !self.is_held()) else { return Turn::Idle };
        if self.cron.triggered >= self.core.settings.cron_scheduling_max_batch_size.max(1) {
            return Turn::Enough;
        }
        let key = key.clone();
        self.cron.triggered += 1;
        self.run_due(&key);
        Turn::Worked
    }

    /// At the end of a step: the loop is woken for what comes next.
    pub(crate) fn arm_cron(&mut self) {
        let Some((next_ms, _)) = self.cron.queue.first() else { return };
        let left_ms = u64::try_from(next_ms.saturating_sub(self.core.now.wall_ms)).unwrap_or(0);
        // What is due and was not met in this step goes on with the next, which comes by itself.
        let sleep_ms = if self.is_held() || left_ms == 0 { MAX_SLEEP_MS } else { left_ms.min(MAX_SLEEP_MS) };
        let deadline_ms = self.core.now.monotonic_ms.saturating_add(sleep_ms);
        match self.cron.timer {
            // Waking too early does no harm.
            Some((armed_ms, _)) if armed_ms <= deadline_ms => {}
            armed => {
                if let Some((_, timer)) = armed {
                    self.core.timers.cancel(timer);
                }
                self.cron.timer = Some((deadline_ms, self.core.timers.arm(deadline_ms, Timer::Cron)));
            }
        }
    }

    /// Every job waits for the time it shows, and every run that waits is awaited. For tests and simulations.
    pub(crate) fn verify_cron(&self) -> Result<(), String> {
        let jobs = &self.core.store.view.cron_jobs;
        let due = jobs.iter().filter_map(|(key, job)| Some((job.next_run_ms?, key.clone())));
        if due.collect::<BTreeSet<_>>() != self.cron.queue {
            return Err(format!("cron jobs wait for other times than they show: {:?}", self.cron.queue));
        }
        let waiting = jobs.iter().filter(|(_, job)| job.waiting().is_some()).map(|(key, _)| key);
        if !waiting.eq(&self.core.awaited) {
            return Err(format!("other runs wait than are awaited: {:?}", self.core.awaited));
        }
        if !self.cron.queue.is_empty() && self.cron.timer.is_none() && !self.core.deposed {
            return Err("cron jobs wait and nothing wakes the loop".to_owned());
        }
        Ok(())
    }

    /// The timer of [`Self::arm_cron`] fired; what is due is seen in the same step.
    pub(crate) fn cron_woke(&mut self) {
        self.cron.timer = None;
    }
}
