//! A cron job as it is stored, and what became of its latest runs.

use std::sync::Arc;

use model::cron::{Schedule, Zone};
use model::{InstanceId, JobConfiguration, JobKey};

/// How many runs of a job are remembered; older ones are forgotten.
pub const RUNS_REMEMBERED: usize = 20;

/// A cron job: what is run when, and its latest runs.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    /// As admitted; its schedule is set.
    pub config: Arc<JobConfiguration>,
    /// The schedule taken apart; `None` when this version cannot read it, and then the job runs only when somebody asks.
    pub schedule: Option<Schedule>,
    /// When this configuration was given, in ms since the epoch. Times before are none of its business.
    pub scheduled_ms: i64,
    /// Number of the latest run when it was given; 0 for none.
    pub scheduled_after: u64,
    /// Latest runs, oldest first, at most [`RUNS_REMEMBERED`] and one that waits.
    pub runs: Vec<CronRun>,
    /// When it runs next, in ms since the epoch; `None` when the schedule never fires. Not durable.
    pub next_run_ms: Option<i64>,
}

/// One run, or what came instead of it. A time of the schedule is never in two of them.
#[derive(Clone, Debug, PartialEq)]
pub struct CronRun {
    /// Counts the runs of the job, from 1.
    pub number: u64,
    /// The time of the schedule, in ms since the epoch; `None` when a user asked for the run.
    pub nominal_ms: Option<i64>,
    /// When it was recorded, in ms since the epoch.
    pub recorded_ms: i64,
    /// Who asked for it.
    pub user: Option<String>,
    /// What became of it.
    pub outcome: CronOutcome,
    /// Instances that the configuration asks for.
    pub instances: u32,
    /// Earlier times of the schedule that had passed as well and are covered by this entry.
    pub skipped: u32,
    /// Up to this time the schedule has been dealt with, in ms since the epoch.
    pub considered_ms: i64,
    /// When its tasks were created, in ms since the epoch.
    pub started_ms: Option<i64>,
}

/// What became of a run (spec scheduler 4.3).
#[derive(Clone, Debug, PartialEq)]
pub enum CronOutcome {
    /// Its tasks were created.
    Started,
    /// The run before is being killed; its tasks are created, by this configuration, when that has ended.
    Waiting(Arc<JobConfiguration>),
    /// The run before was still active, and the collision policy lets no other begin.
    Cancelled,
    /// An earlier run was still waiting for the one before it to end.
    Ignored,
    /// No scheduler was there at the time.
    Missed,
}

impl CronOutcome {
    /// One upper-case word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Waiting(_) => "WAITING",
            Self::Cancelled => "CANCELLED",
            Self::Ignored => "IGNORED",
            Self::Missed => "MISSED",
        }
    }

    /// What it means, in a sentence without its end.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Started => "tasks were created",
            Self::Waiting(_) => "waits until the tasks of the run before have been killed",
            Self::Cancelled => "not started, because the run before was still active",
            Self::Ignored => "not started, because an earlier run was still waiting for its turn",
            Self::Missed => "missed, because no scheduler was there",
        }
    }
}

/// A wall clock that goes back by more than this was wrong before; by less, it repeats nothing.
pub(crate) const CORRECTION_MS: i64 = 3 * 3_600_000;

impl CronJob {
    /// A job that was just given.
    pub(crate) fn new(config: Arc<JobConfiguration>, scheduled_ms: i64) -> Self {
        let schedule = config.cron_schedule.as_deref().and_then(|text| text.parse().ok());
        Self { config, schedule, scheduled_ms, scheduled_after: 0, runs: Vec::new(), next_run_ms: None }
    }

    /// Its key.
    pub fn key(&self) -> &JobKey {
        &self.config.key
    }

    /// The schedule as users wrote it.
    pub fn schedule_text(&self) -> &str {
        self.config.cron_schedule.as_deref().unwrap_or_default()
    }

    /// The run that waits for the one before it to end.
    pub fn waiting(&self) -> Option<&CronRun> {
        self.runs.iter().find(|run| matches!(run.outcome, CronOutcome::Waiting(_)))
    }

    /// Instances that it asks for.
    pub fn instances(&self) -> InstanceId {
        InstanceId::try_from(self.config.instance_count).unwrap_or(0)
    }

    /// Up to which time the schedule has been dealt with, seen at `now_ms`. A time far ahead of now was taken from a wrong clock.
    pub(crate) fn considered_ms(&self, now_ms: i64) -> i64 {
        let last_ms = match self.runs.last() {
            // Whatever the clock was when the job was scheduled: there has been a run since.
            Some(run) if run.number > self.scheduled_after => run.considered_ms,
            Some(run) => run.considered_ms.max(self.scheduled_ms),
            None => self.scheduled_ms,
        };
        if last_ms > now_ms.saturating_add(CORRECTION_MS) { now_ms } else { last_ms }
    }

    /// The same, where the next time is known: the clock may have shown something else when that was found.
    pub(crate) fn settled_ms(&self, now_ms: i64) -> i64 {
        let considered_ms = self.considered_ms(now_ms);
        self.next_run_ms.map_or(considered_ms, |next_ms| considered_ms.min(next_ms - 1))
    }

    /// The first time of the schedule that has not been dealt with.
    pub(crate) fn next_ms(&self, now_ms: i64, zone: &Zone) -> Option<i64> {
        self.schedule.as_ref()?.next_after(self.considered_ms(now_ms), zone)
    }
}
