//! Cron in a run: what users ask of cron jobs, and a judge of what becomes of them. The judge knows the schedules of its users by
//! their period alone, and counts minutes.

use std::collections::BTreeMap;

use imbl::ordmap::DiffItem;
use model::update::{UpdateRequest, UpdateSettings};
use model::{CronCollisionPolicy, InstanceId, JobConfiguration, JobKey, TaskConfig, TaskStatus};
use scheduler::command::Command;
use scheduler::cron::{CronJob, CronOutcome, CronRun};
use scheduler::{Input, View};

use super::chance::Chance;
use super::oracle::Seen;
use super::workload::{some_of, task_config};

/// A clock that goes back by more than this was wrong before.
const CORRECTION_MS: i64 = 3 * 3_600_000;
/// A clock that was set is noticed within this; a time that comes of itself is met as soon as it does, give or take a second.
const NOTICED_MS: u64 = 16_000;
const AT_ONCE_MS: i64 = 1000;
/// Skipped times are counted up to this.
const COUNTED: i64 = 1000;

/// Schedules of the users, and how many minutes there are between two of their times.
const SCHEDULES: [(&str, i64); 3] = [("* * * * *", 1), ("*/2 * * * *", 2), ("0,3,6-57/3 * * * *", 3)];

fn cron_key(number: u64) -> JobKey {
    JobKey::new("www", "prod", format!("cron-{number}"))
}

fn period_ms(job: &CronJob) -> i64 {
    let known = SCHEDULES.iter().find(|(text, _)| *text == job.schedule_text());
    known.expect("a schedule of these users").1 * 60_000
}

// ---- users ----

fn configuration(key: JobKey, chance: &mut Chance) -> Box<JobConfiguration> {
    let mut task = task_config(key.clone(), chance);
    task.is_service = false;
    task.resources.cpu.0 = 100;
    Box::new(JobConfiguration {
        key,
        owner: None,
        cron_schedule: Some(chance.pick(&SCHEDULES).expect("there are some").0.into()),
        cron_collision_policy: if chance.per_mille(600) {
            CronCollisionPolicy::KillExisting
        } else {
            CronCollisionPolicy::CancelNew
        },
        task,
        instance_count: chance.between(1, 3) as i32,
    })
}

/// The next thing that users ask about cron jobs, seeing this.
pub(super) fn next_command(view: &View, chance: &mut Chance) -> Command {
    let key = cron_key(chance.below(3));
    let active: Vec<InstanceId> =
        view.tasks_of(&key).filter(|task| task.status.is_active()).map(|task| task.instance).collect();
    let active: std::collections::BTreeSet<InstanceId> = active.into_iter().collect();
    if !view.cron_jobs.contains_key(&key) && chance.per_mille(800) {
        return Command::ScheduleCronJob(configuration(key, chance));
    }
    match chance.below(100) {
        0..=9 => Command::ScheduleCronJob(configuration(key, chance)),
        10..=19 => Command::ReplaceCronTemplate(configuration(key, chance)),
        20..=54 => Command::StartCronJob { job: key },
        55..=62 => Command::DescheduleCronJob { job: key },
        63..=72 => Command::KillTasks { job: key, instances: Default::default(), message: None },
        73..=82 if !active.is_empty() => Command::RestartTasks { job: key, instances: some_of(&active, chance) },
        _ => wrong_command(key, chance),
    }
}

/// Something that a cron job must refuse.
fn wrong_command(key: JobKey, chance: &mut Chance) -> Command {
    let mut job = configuration(key.clone(), chance);
    match chance.below(5) {
        0 => Command::AddInstances { job: key, template: 0, count: 1 },
        1 => {
            job.cron_schedule = None;
            job.task.is_service = true;
            Command::CreateJob(job)
        }
        2 => {
            job.cron_schedule = Some("60 * * * *".into());
            Command::ScheduleCronJob(job)
        }
        3 => {
            job.cron_collision_policy = CronCollisionPolicy::RunOverlap;
            Command::ReplaceCronTemplate(job)
        }
        _ => Command::StartUpdate {
            request: Box::new(UpdateRequest {
                task: TaskConfig { is_service: true, ..job.task },
                instance_count: 1,
                settings: UpdateSettings::default(),
                metadata: Default::default(),
            }),
            message: None,
        },
    }
}

// ---- the judge ----

/// Up to which times a job has been dealt with.
#[derive(Clone, Copy)]
struct Settled {
    /// When it was scheduled; nothing once it has run since.
    scheduled_ms: Option<i64>,
    /// The latest time of a schedule that it ran for.
    ran_ms: Option<i64>,
}

impl Settled {
    fn at(self, wall_ms: i64) -> i64 {
        self.scheduled_ms.max(self.ran_ms).unwrap_or(wall_ms)
    }
}

/// Knows up to which time each cron job has been dealt with.
#[derive(Default)]
pub(super) struct CronJudge {
    settled: BTreeMap<JobKey, Settled>,
    started: bool,
    /// The next time of a schedule, and whose it is; nothing while none may run.
    next: Option<(i64, JobKey)>,
    /// When the wall clock was set last, in time of the run.
    clock_set_ms: Option<u64>,
    /// When the present scheduler began, by the wall clock; the earliest it showed since, if that was set back.
    since_ms: i64,
    /// What was met.
    pub met: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

/// The last time of a period that is not after `until_ms`.
fn last_time(period_ms: i64, until_ms: i64) -> i64 {
    until_ms.div_euclid(period_ms) * period_ms
}

impl CronJudge {
    /// The next scheduler has read its journal: what was lost with the last one is not settled any more.
    pub fn recovered(&mut self, view: &View) {
        self.started = false;
        self.next = None;
        self.learn(view);
    }

    /// Somebody set the wall clock.
    pub fn clock_was_set(&mut self, now_ms: u64) {
        self.clock_set_ms = Some(now_ms);
    }

    /// Judges a scheduler that waits: nothing that it has to see to is over without somebody waking it.
    pub fn judge_sleep(&mut self, now_ms: u64, wall_ms: i64) {
        let was_set = self.clock_set_ms.is_some_and(|set_ms| now_ms <= set_ms + NOTICED_MS);
        let late = |next_ms: i64| !was_set && wall_ms > next_ms + AT_ONCE_MS;
        if let Some((next_ms, key)) = self.next.take_if(|(next_ms, _)| late(*next_ms)) {
            self.violations.push(format!("it is {wall_ms}, and nobody was woken for {key} at {next_ms}"));
        }
    }

    fn learn(&mut self, view: &View) {
        self.settled.clear();
        for (key, job) in &view.cron_jobs {
            let scheduled = job.runs.last().is_none_or(|run| run.number <= job.scheduled_after);
            let ran_ms = job.runs.last().map(|run| run.considered_ms);
            let scheduled_ms = scheduled.then_some(job.scheduled_ms);
            self.settled.insert(key.clone(), Settled { scheduled_ms, ran_ms });
        }
    }

    /// Judges one step. `may_run` is false while the disk is full.
    pub fn judge(&mut self, seen: &Seen<'_>, may_run: bool) {
        let wall_ms = seen.wall_ms;
        self.next = None;
        if matches!(seen.input, Input::Start { .. }) {
            self.since_ms = wall_ms;
            self.started = true;
        }
        self.since_ms = self.since_ms.min(wall_ms);
        for settled in self.settled.values_mut().filter(|settled| settled.at(wall_ms) > wall_ms + CORRECTION_MS) {
            *settled = Settled { scheduled_ms: Some(wall_ms), ran_ms: None };
        }
        // What a backup brings is no run of now, and what was due until now may have been met by the state before it.
        if super::restore::restored(seen).is_some() {
            self.since_ms = wall_ms;
            return self.learn(seen.after);
        }
        for item in seen.before.cron_jobs.diff(&seen.after.cron_jobs) {
            match item {
                DiffItem::Add(key, job) => {
                    self.settled.insert(key.clone(), Settled { scheduled_ms: Some(wall_ms), ran_ms: None });
                    self.judge_changes(seen, None, job);
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => self.judge_changes(seen, Some(old), new),
                DiffItem::Remove(key, _) => drop(self.settled.remove(key)),
            }
        }
        if self.started && !seen.more && may_run {
            for (key, job) in &seen.after.cron_jobs {
                let next_ms = self.judge_due(key, job, wall_ms);
                if self.next.as_ref().is_none_or(|(other_ms, _)| next_ms < *other_ms) {
                    self.next = Some((next_ms, key.clone()));
                }
                self.judge_wait(seen.after, key, job);
            }
        }
    }

    fn judge_changes(&mut self, seen: &Seen<'_>, old: Option<&CronJob>, new: &CronJob) {
        let last = old.and_then(|old| old.runs.last()).map_or(0, |run| run.number);
        for run in &new.runs {
            let before = old.and_then(|old| old.runs.iter().find(|other| other.number == run.number));
            if run.number > last {
                *self.met.entry(run.outcome.name()).or_default() += 1;
                self.judge_time(seen, old.unwrap_or(new), run);
                let none_waits = !old.into_iter().chain([new]).any(|job| job.runs.iter().any(is_waiting));
                if run.outcome == CronOutcome::Ignored && none_waits {
                    self.violations.push(format!("a run of {} was ignored, and none waits", new.key()));
                }
                self.judge_outcome(seen, old.unwrap_or(new), run);
            } else if let Some(before) = before
                && before != run
            {
                let begins = matches!(before.outcome, CronOutcome::Waiting(_)) && run.outcome == CronOutcome::Started;
                if !begins {
                    self.violations.push(format!("a run of {} was rewritten: {before:?} to {run:?}", new.key()));
                }
                self.judge_outcome(seen, old.unwrap_or(new), run);
            }
        }
        if old.is_some_and(|old| old.config != new.config || old.scheduled_after != new.scheduled_after) {
            let ran_ms = self.settled.get(new.key()).and_then(|settled| settled.ran_ms);
            self.settled.insert(new.key().clone(), Settled { scheduled_ms: Some(seen.wall_ms), ran_ms });
        }
    }

    /// A time of the schedule is met once, not before it comes, and by the latest that has come.
    fn judge_time(&mut self, seen: &Seen<'_>, job: &CronJob, run: &CronRun) {
        let (key, period_ms) = (job.key(), period_ms(job));
        let Some(nominal_ms) = run.nominal_ms else {
            // It is no time of the schedule, and settles none. How far it says to have looked may be later than here, where a clock
            // that went far back is looked at once and there with each run: what counts is that no time lies between.
            let settled_ms = self.settled.get(key).map_or(seen.wall_ms, |settled| settled.at(seen.wall_ms));
            if last_time(period_ms, run.considered_ms) > settled_ms {
                self.violations.push(format!("{key} is settled up to {settled_ms} and not further: {run:?}"));
            }
            let ran = Settled { scheduled_ms: None, ran_ms: Some(run.considered_ms) };
            self.settled.insert(key.clone(), ran);
            return;
        };
        let ran = Settled { scheduled_ms: None, ran_ms: Some(nominal_ms) };
        let settled_ms = self.settled.insert(key.clone(), ran).map_or(seen.wall_ms, |settled| settled.at(seen.wall_ms));
        let mut wrong = |what: String| self.violations.push(format!("{key} ran for {nominal_ms}, {what}: {run:?}"));
        if nominal_ms > seen.wall_ms {
            wrong(format!("and it is only {}", seen.wall_ms));
        } else if nominal_ms <= settled_ms {
            wrong(format!("and was settled up to {settled_ms}"));
        } else if nominal_ms != last_time(period_ms, seen.wall_ms) {
            wrong(format!("which is not the latest of {}", job.schedule_text()));
        } else if i64::from(run.skipped)
            != ((nominal_ms - last_time(period_ms, settled_ms)) / period_ms - 1).min(COUNTED)
        {
            wrong(format!("settled up to {settled_ms}, and counted other times between"));
        }
        if run.outcome == CronOutcome::Missed && nominal_ms > self.since_ms {
            self.violations
                .push(format!("{key} missed {nominal_ms}, and the scheduler is there since {}", self.since_ms));
        }
    }

    /// No run begins beside another, and what began is complete.
    fn judge_outcome(&mut self, seen: &Seen<'_>, job: &CronJob, run: &CronRun) {
        let key = job.key();
        let active = || seen.after.tasks_of(key).filter(|task| task.status.is_active());
        match run.outcome {
            CronOutcome::Started => {
                if let Some(old) = active().find(|task| seen.before.tasks.contains_key(&task.id)) {
                    let text = format!("a run of {key} began beside {}, which is {}", old.id, old.status);
                    self.violations.push(text);
                }
                let count = active().count();
                if count != run.instances as usize {
                    self.violations.push(format!("a run of {key} has {count} tasks and not {}", run.instances));
                }
            }
            CronOutcome::Cancelled if job.config.cron_collision_policy != CronCollisionPolicy::CancelNew => {
                self.violations.push(format!("a run of {key} was cancelled, and its policy is to kill"));
            }
            CronOutcome::Cancelled if active().next().is_none() => {
                self.violations.push(format!("a run of {key} was cancelled, and no other is active"));
            }
            CronOutcome::Waiting(_) if job.config.cron_collision_policy != CronCollisionPolicy::KillExisting => {
                self.violations.push(format!("a run of {key} waits, and its policy is not to run"));
            }
            _ => {}
        }
    }

    /// While a scheduler is there no time passes unnoticed. Gives the next one.
    fn judge_due(&mut self, key: &JobKey, job: &CronJob, wall_ms: i64) -> i64 {
        let settled_ms = self.settled.get(key).map_or(wall_ms, |settled| settled.at(wall_ms));
        let next_ms = last_time(period_ms(job), settled_ms) + period_ms(job);
        if next_ms <= wall_ms {
            self.violations.push(format!("it is {wall_ms}, and nothing is recorded of {key} for {next_ms}"));
        }
        if job.next_run_ms != Some(next_ms) {
            self.violations.push(format!("{key} runs next at {next_ms}, and it is shown as {:?}", job.next_run_ms));
        }
        next_ms
    }

    /// A run waits only for tasks that are being killed.
    fn judge_wait(&mut self, view: &View, key: &JobKey, job: &CronJob) {
        if !job.runs.iter().any(is_waiting) {
            return;
        }
        let mut active = view.tasks_of(key).filter(|task| task.status.is_active()).peekable();
        if active.peek().is_none() {
            self.violations.push(format!("a run of {key} waits for nothing"));
        }
        if let Some(other) = active.find(|task| task.status != TaskStatus::Killing) {
            self.violations.push(format!("a run of {key} waits for {}, which is {}", other.id, other.status));
        }
    }
}

fn is_waiting(run: &CronRun) -> bool {
    matches!(run.outcome, CronOutcome::Waiting(_))
}

/// Whether what happens to the tasks of this job may be cron's doing.
pub(super) fn is_cron(seen: &Seen<'_>, job: &JobKey) -> bool {
    seen.before.cron_jobs.contains_key(job) || seen.after.cron_jobs.contains_key(job)
}

/// What is durable of cron jobs in two states, and differs.
pub(super) fn difference(known: &View, recovered: &View) -> Option<String> {
    let durable = |view: &View| -> Vec<CronJob> {
        view.cron_jobs.values().map(|job| CronJob { next_run_ms: None, ..CronJob::clone(job) }).collect()
    };
    let (known, recovered) = (durable(known), durable(recovered));
    (known != recovered).then(|| format!("cron jobs: {known:?} and {recovered:?}"))
}
