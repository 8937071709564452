//! Cron jobs: when they run, what happens on a collision, what a restart and a wrong clock do to them, and what is refused.

#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{World, batch, job, room, settings};
use engine::TaskState;
use model::cron::Zone;
use model::update::{UpdateRequest, UpdateSettings};
use model::{CpuMillis, CronCollisionPolicy, JobConfiguration, Resources, TaskConfig, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::Command;
use scheduler::cron::{CronJob, CronOutcome, RUNS_REMEMBERED};
use scheduler::restore::{LaterTasks, Staging};
use scheduler::{Input, Reply, ReplyCode, Scheduler, Settings};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn cron(name: &str, schedule: &str, policy: CronCollisionPolicy) -> JobConfiguration {
    JobConfiguration {
        key: job(name),
        owner: None,
        cron_schedule: Some(schedule.into()),
        cron_collision_policy: policy,
        task: batch(name),
        instance_count: 2,
    }
}

fn each_minute(policy: CronCollisionPolicy) -> JobConfiguration {
    cron("tick", "* * * * *", policy)
}

fn schedule(world: &mut World, config: JobConfiguration) -> Reply {
    world.command(Command::ScheduleCronJob(Box::new(config)))
}

fn start_now(world: &mut World) -> Reply {
    world.command(Command::StartCronJob { job: job("tick") })
}

/// A world at the begin of a minute (20 s after a full hour's 26th minute is where others begin).
fn world() -> World {
    let mut world = World::with(Settings { history_max_per_job_threshold: 10_000, ..settings() });
    world.advance(20_000);
    assert_eq!(world.now.wall_ms % MINUTE_MS as i64, 0);
    world
}

fn cron_job(world: &World, name: &str) -> Arc<CronJob> {
    world.view().cron_jobs.get(&job(name)).cloned().expect("a cron job")
}

fn outcomes(world: &World) -> Vec<&'static str> {
    cron_job(world, "tick").runs.iter().map(|run| run.outcome.name()).collect()
}

/// The times of the runs, in ms after `begin_ms`; none for runs that users asked for.
fn nominals(world: &World, begin_ms: i64) -> Vec<Option<i64>> {
    cron_job(world, "tick").runs.iter().map(|run| run.nominal_ms.map(|at| at - begin_ms)).collect()
}

fn finish_all(world: &mut World) {
    for task in world.active(&job("tick")) {
        world.status(&task.id, TaskState::Running);
        world.status(&task.id, TaskState::Finished);
    }
}

fn counter(world: &World, name: &str) -> i64 {
    world.view().counters.get(name).copied().unwrap_or(0)
}

fn tasks_ever(world: &World) -> usize {
    world.view().tasks_of(&job("tick")).count()
}

// ---- the clock ----

#[test]
fn a_job_runs_at_each_time_of_its_schedule_and_never_before_it() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    assert_eq!(schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew)).code, ReplyCode::Ok);
    assert_eq!(tasks_ever(&world), 0, "scheduling starts nothing");
    assert_eq!(cron_job(&world, "tick").next_run_ms, Some(begin_ms + MINUTE_MS as i64));
    world.pass(MINUTE_MS - 1);
    assert_eq!(tasks_ever(&world), 0);
    world.pass(1);
    let tasks = world.active(&job("tick"));
    assert_eq!(
        tasks.iter().map(|task| (task.instance, task.status)).collect::<Vec<_>>(),
        [(0, TaskStatus::Pending), (1, TaskStatus::Pending)]
    );
    assert!(tasks.iter().all(|task| task.events[0].timestamp_ms == begin_ms + MINUTE_MS as i64));
    world.offer("home", room(64.0));
    finish_all(&mut world);
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
    assert_eq!(nominals(&world, begin_ms), [Some(60_000), Some(120_000)]);
    let run = cron_job(&world, "tick").runs[1].clone();
    assert_eq!((run.number, run.instances, run.skipped, run.user.clone()), (2, 2, 0, None));
    assert_eq!(run.started_ms, run.nominal_ms);
    assert_eq!((counter(&world, "cron_job_triggers"), counter(&world, "cron_jobs_loaded")), (2, 1));
}

#[test]
fn schedules_are_meant_in_the_configured_zone() {
    let zone = Zone::named("Asia/Kathmandu").unwrap();
    let mut world = World::with(Settings { cron_timezone: zone.clone(), ..settings() });
    schedule(&mut world, cron("tick", "0 6 * * *", CronCollisionPolicy::CancelNew));
    let next_ms = cron_job(&world, "tick").next_run_ms.unwrap();
    assert!(zone.show(next_ms).ends_with("06:00:00 +0545"), "{}", zone.show(next_ms));
    assert_eq!(world.view().cron_timezone.name(), "Asia/Kathmandu");
}

#[test]
fn many_jobs_of_one_minute_run_in_batches_and_all_of_them() {
    let mut world = World::with(Settings { cron_scheduling_max_batch_size: 3, ..settings() });
    for number in 0..20 {
        schedule(&mut world, cron(&format!("job-{number:02}"), "0 * * * *", CronCollisionPolicy::CancelNew));
    }
    world.advance(HOUR_MS);
    let first = world.scheduler.step(world.now, Input::Tick);
    assert!(first.more, "seventeen are left");
    let created = first.effects.iter().filter(|effect| matches!(effect, scheduler::Effect::Transition(_))).count();
    assert_eq!(created, 3 * 2);
    let mut more = first.more;
    while more {
        more = world.scheduler.step(world.now, Input::Resume).more;
    }
    assert_eq!(world.view().tasks.len(), 20 * 2);
}

#[test]
fn a_schedule_that_never_fires_waits_for_nothing_and_can_be_started() {
    let mut world = world();
    schedule(&mut world, cron("tick", "0 0 30 2 *", CronCollisionPolicy::CancelNew));
    assert_eq!(cron_job(&world, "tick").next_run_ms, None);
    start_now(&mut world);
    assert_eq!(world.active(&job("tick")).len(), 2);
}

#[test]
fn times_that_pass_while_the_loop_is_held_up_come_to_one_run_at_once() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.advance(5 * HOUR_MS + 30_000);
    world.step(Input::Tick);
    assert_eq!(nominals(&world, begin_ms), [Some(5 * HOUR_MS as i64)]);
    let run = cron_job(&world, "tick").runs[0].clone();
    assert_eq!((run.outcome.name(), run.skipped), ("STARTED", 299));
    assert_eq!(cron_job(&world, "tick").next_run_ms, Some(begin_ms + 5 * HOUR_MS as i64 + MINUTE_MS as i64));
}

#[test]
fn a_clock_that_is_set_ahead_is_noticed_and_one_that_is_set_back_repeats_nothing() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, cron("tick", "0 * * * *", CronCollisionPolicy::CancelNew));
    world.now.wall_ms += HOUR_MS as i64;
    world.pass(20_000);
    assert_eq!(outcomes(&world), ["STARTED"], "within 15 seconds, although the timer was set for another time");
    world.offer("home", room(64.0));
    finish_all(&mut world);
    world.now.wall_ms -= HOUR_MS as i64;
    world.pass(HOUR_MS);
    assert_eq!(outcomes(&world), ["STARTED"], "its time came again");
    world.pass(HOUR_MS);
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
    let times = nominals(&world, begin_ms);
    assert_eq!(times[1].unwrap() - times[0].unwrap(), HOUR_MS as i64);
}

#[test]
fn a_clock_that_was_wrong_by_years_does_not_stop_a_job_for_years() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.now.wall_ms += 1_000 * 24 * HOUR_MS as i64;
    world.step(Input::Tick);
    assert_eq!(outcomes(&world), ["STARTED"]);
    world.offer("home", room(64.0));
    finish_all(&mut world);
    world.now.wall_ms = begin_ms;
    world.pass(2 * MINUTE_MS);
    let times = nominals(&world, begin_ms);
    assert_eq!(times[1..], [Some(60_000), Some(120_000)]);
    world.restart(0, 2);
    world.pass(MINUTE_MS);
    assert_eq!(nominals(&world, begin_ms).last(), Some(&Some(180_000)));
}

#[test]
fn a_job_scheduled_by_a_clock_that_was_hours_ahead_runs_on_once_it_has_run() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    let ahead_ms = 3 * HOUR_MS as i64 + 90_000;
    world.now.wall_ms += ahead_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.now.wall_ms = begin_ms;
    world.pass(5 * MINUTE_MS);
    start_now(&mut world);
    world.pass(MINUTE_MS);
    world.restart(1000, 2);
    world.pass(MINUTE_MS);
    let minutes: Vec<_> = nominals(&world, begin_ms).into_iter().map(|at| at.map(|at| at / 60_000)).collect();
    assert_eq!(minutes, [Some(1), Some(2), Some(3), Some(4), Some(5), None, Some(6), Some(7)]);
}

#[test]
fn nothing_runs_before_the_clock_is_set_and_then_nothing_of_the_past() {
    let mut world = world();
    let real_ms = world.now.wall_ms;
    world.now.wall_ms = 10_000;
    world.restart(0, 2);
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.pass(10 * MINUTE_MS);
    assert_eq!(outcomes(&world), Vec::<&str>::new());
    world.now.wall_ms = real_ms;
    world.pass(30_000);
    assert_eq!(outcomes(&world), ["MISSED"]);
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["MISSED", "STARTED"]);
}

// ---- collisions ----

#[test]
fn kill_existing_kills_all_and_starts_when_the_last_has_ended() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    let old: Vec<_> = world.active(&job("tick")).iter().map(|task| task.id.clone()).collect();
    world.status(&old[0], TaskState::Running);
    world.take_kills();
    world.pass(MINUTE_MS);
    assert_eq!(world.take_kills(), old);
    let killed = world.task(&old[0]);
    assert_eq!(killed.status, TaskStatus::Killing);
    assert_eq!(killed.events.last().unwrap().message.as_deref(), Some("Killed by cronScheduler"));
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    world.status(&old[0], TaskState::Killed);
    assert_eq!(world.active(&job("tick")).len(), 1, "one is still there");
    world.status(&old[1], TaskState::Killed);
    let new = world.active(&job("tick"));
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|task| !old.contains(&task.id) && task.ancestor.is_none()));
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
    let run = cron_job(&world, "tick").runs[1].clone();
    assert_eq!(run.started_ms, Some(world.now.wall_ms));
    assert_eq!(counter(&world, "cron_job_collisions"), 1);
}

#[test]
fn kill_existing_starts_at_once_when_nothing_was_placed() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    let old: BTreeSet<_> = world.active(&job("tick")).iter().map(|task| task.id.clone()).collect();
    world.pass(MINUTE_MS);
    let new: BTreeSet<_> = world.active(&job("tick")).iter().map(|task| task.id.clone()).collect();
    assert_eq!((new.len(), new.intersection(&old).count()), (2, 0));
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
}

#[test]
fn a_wait_survives_a_restart_takes_no_further_run_and_uses_the_configuration_of_its_time() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    let old = world.active(&job("tick"));
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    let mut bigger = each_minute(CronCollisionPolicy::KillExisting);
    bigger.instance_count = 5;
    assert_eq!(world.command(Command::ReplaceCronTemplate(Box::new(bigger))).code, ReplyCode::Ok);
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING", "IGNORED"]);
    let reply = start_now(&mut world);
    assert_eq!(reply.code, ReplyCode::Ok);
    assert!(reply.messages[0].contains("waiting for its turn"), "{reply:?}");
    assert_eq!(counter(&world, "cron_job_concurrent_runs"), 2);
    world.restart(5_000, 2);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING", "IGNORED", "IGNORED"]);
    for task in &old {
        world.status(&task.id, TaskState::Killed);
    }
    assert_eq!(world.active(&job("tick")).len(), 2);
    assert_eq!(outcomes(&world), ["STARTED", "STARTED", "IGNORED", "IGNORED"]);
}

#[test]
fn a_wait_whose_tasks_have_ended_when_the_scheduler_died_goes_on() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    // The end is reported while the journal is full, so that the run cannot begin; then the process ends.
    world.step(Input::SpaceLow(true));
    for task in world.active(&job("tick")) {
        world.status(&task.id, TaskState::Killed);
    }
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    world.restart(1000, 2);
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
    assert_eq!(world.active(&job("tick")).len(), 2);
}

#[test]
fn cancel_new_leaves_the_old_run_alone() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    let old = world.active(&job("tick"));
    world.take_kills();
    world.pass(MINUTE_MS);
    assert_eq!(world.active(&job("tick")), old);
    assert!(world.take_kills().is_empty());
    assert_eq!(outcomes(&world), ["STARTED", "CANCELLED"]);
    let reply = start_now(&mut world);
    assert!(reply.code == ReplyCode::Ok && reply.messages[0].contains("still active"), "{reply:?}");
}

#[test]
fn a_retried_task_of_the_run_before_is_a_collision_too() {
    let mut world = world();
    let mut config = each_minute(CronCollisionPolicy::CancelNew);
    config.task.max_task_failures = -1;
    config.instance_count = 1;
    schedule(&mut world, config);
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    let id = world.active_one(&job("tick"), 0).id.clone();
    world.status(&id, TaskState::Running);
    world.status(&id, TaskState::Failed);
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "CANCELLED"]);
}

// ---- restarts ----

#[test]
fn times_that_passed_while_no_scheduler_was_there_are_missed_and_recorded() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, cron("tick", "0,10,20,30,40,50 * * * *", CronCollisionPolicy::CancelNew));
    let first_ms = cron_job(&world, "tick").next_run_ms.unwrap() - begin_ms;
    world.restart(HOUR_MS as i64 + 100_000, 2);
    assert_eq!(tasks_ever(&world), 0);
    let run = cron_job(&world, "tick").runs[0].clone();
    assert_eq!((run.outcome.clone(), run.skipped + 1), (CronOutcome::Missed, 6));
    assert_eq!(run.nominal_ms.map(|at| at - begin_ms), Some(first_ms + 5 * 600_000));
    assert_eq!(counter(&world, "cron_job_missed_runs"), 6);
    // And nobody records them again.
    world.restart(1000, 3);
    assert_eq!(outcomes(&world), ["MISSED"]);
    world.pass(10 * MINUTE_MS);
    assert_eq!(outcomes(&world), ["MISSED", "STARTED"]);
}

#[test]
fn an_outage_of_400_days_wedges_nothing() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.restart(400 * 24 * HOUR_MS as i64 + 45_000, 2);
    let run = cron_job(&world, "tick").runs[0].clone();
    assert_eq!((run.outcome, run.skipped), (CronOutcome::Missed, 1000), "counting ends somewhere");
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["MISSED", "STARTED"]);
}

#[test]
fn a_restart_across_a_time_neither_loses_nor_doubles_the_run() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.pass(MINUTE_MS - 2000);
    world.restart(12_000, 2);
    assert_eq!(nominals(&world, begin_ms), [Some(60_000)]);
    assert_eq!(outcomes(&world), ["STARTED"]);
    let tasks = world.active(&job("tick"));
    world.restart(3000, 3);
    assert_eq!(world.active(&job("tick")), tasks);
    assert_eq!(outcomes(&world), ["STARTED"]);
}

#[test]
fn without_grace_a_restart_across_a_time_misses_it_as_in_aurora() {
    let mut world = World::with(Settings { cron_restart_grace: Duration::ZERO, ..settings() });
    world.advance(20_000);
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.pass(MINUTE_MS - 2000);
    world.restart(12_000, 2);
    assert_eq!(outcomes(&world), ["MISSED"]);
}

#[test]
fn the_records_of_a_run_are_those_of_its_tasks() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.advance(MINUTE_MS);
    let output = world.scheduler.step(world.now, Input::Tick);
    let tables: BTreeSet<u32> = output.records.iter().map(|record| record.table).collect();
    assert!(tables.contains(&scheduler::record::TABLE_CRON_RUNS), "{tables:?}");
    assert!(tables.contains(&scheduler::record::TABLE_TASKS), "a crash leaves both or none");
}

#[test]
fn a_full_journal_holds_runs_back_until_there_is_room() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.step(Input::SpaceLow(true));
    assert_eq!(start_now(&mut world).code, ReplyCode::ErrorTransient);
    world.pass(3 * MINUTE_MS + 1000);
    assert_eq!(tasks_ever(&world), 0);
    world.step(Input::SpaceLow(false));
    let runs = cron_job(&world, "tick").runs.clone();
    assert_eq!((runs.len(), runs[0].outcome.name(), runs[0].skipped), (1, "STARTED", 2));
}

// ---- commands ----

#[test]
fn a_new_schedule_does_not_meet_times_of_the_past_and_what_was_due_belongs_to_the_old_one() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.advance(MINUTE_MS);
    let mut other = cron("tick", "30 * * * *", CronCollisionPolicy::CancelNew);
    other.instance_count = 7;
    schedule(&mut world, other);
    assert_eq!((outcomes(&world), world.active(&job("tick")).len()), (vec!["STARTED"], 2));
    let next_ms = cron_job(&world, "tick").next_run_ms.unwrap();
    assert!(next_ms > begin_ms + MINUTE_MS as i64 && next_ms % HOUR_MS as i64 == 30 * MINUTE_MS as i64);
    assert_eq!(cron_job(&world, "tick").schedule_text(), "30 * * * *");
    world.restart(1000, 2);
    assert_eq!(cron_job(&world, "tick").schedule_text(), "30 * * * *");
    assert_eq!(cron_job(&world, "tick").next_run_ms, Some(next_ms));
    assert_eq!(outcomes(&world), ["STARTED"]);
}

#[test]
fn a_user_may_start_a_run_that_is_no_time_of_the_schedule() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    assert_eq!(start_now(&mut world), Reply::ok());
    assert_eq!(world.active(&job("tick")).len(), 2);
    let run = cron_job(&world, "tick").runs[0].clone();
    assert_eq!((run.nominal_ms, run.user.as_deref()), (None, Some("jane")));
    world.pass(MINUTE_MS);
    assert_eq!(nominals(&world, begin_ms), [None, Some(60_000)]);
}

#[test]
fn descheduling_keeps_tasks_and_ends_everything_else() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    assert_eq!(world.command(Command::DescheduleCronJob { job: job("tick") }), Reply::ok());
    assert!(world.view().cron_jobs.is_empty());
    assert_eq!(counter(&world, "cron_jobs_loaded"), 0);
    for task in world.active(&job("tick")) {
        world.status(&task.id, TaskState::Killed);
    }
    world.pass(10 * MINUTE_MS);
    assert!(world.active(&job("tick")).is_empty());
    let again = world.command(Command::DescheduleCronJob { job: job("tick") });
    assert!(again.code == ReplyCode::Ok && again.messages[0].contains("not scheduled"), "{again:?}");
    world.restart(1000, 2);
    assert!(world.view().cron_jobs.is_empty());
}

#[test]
fn a_job_descheduled_and_scheduled_again_beside_its_old_run_meets_the_collision_policy() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    let old = world.active(&job("tick"));
    world.command(Command::DescheduleCronJob { job: job("tick") });
    let refused = schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    assert_eq!(refused.code, ReplyCode::InvalidRequest, "a job with active tasks exists");
    for task in &old {
        world.status(&task.id, TaskState::Finished);
    }
    assert_eq!(schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting)).code, ReplyCode::Ok);
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED"]);
    assert_eq!(world.active(&job("tick")).len(), 2);
}

#[test]
fn killing_the_tasks_of_a_cron_job_leaves_the_job() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    world.pass(MINUTE_MS);
    assert_eq!(world.kill(&job("tick"), &[]).code, ReplyCode::Ok);
    assert!(world.active(&job("tick")).is_empty());
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "STARTED"]);
}

#[test]
fn each_refusal_has_its_code_and_changes_nothing() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    start_now(&mut world);
    let before = (world.journal.clone(), cron_job(&world, "tick"));
    let mut expect = |command: Command, code: ReplyCode, said: &str| {
        let reply = world.command(command);
        assert_eq!(reply.code, code, "{reply:?}");
        assert!(reply.messages[0].contains(said), "{reply:?}");
    };
    let template = |change: &dyn Fn(&mut JobConfiguration)| {
        let mut config = each_minute(CronCollisionPolicy::CancelNew);
        change(&mut config);
        Box::new(config)
    };
    use ReplyCode::{Error, InvalidRequest};
    let schedule = |change: &dyn Fn(&mut JobConfiguration)| Command::ScheduleCronJob(template(change));
    expect(schedule(&|job| job.key.name = "a b".into()), Error, "invalid");
    expect(schedule(&|job| job.task.resources.ram_mb = 0), InvalidRequest, "ram_mb");
    expect(schedule(&|job| job.cron_schedule = None), InvalidRequest, "no cron schedule");
    expect(schedule(&|job| job.cron_schedule = Some(String::new())), InvalidRequest, "needs five");
    expect(schedule(&|job| job.cron_schedule = Some("* * * * 7".into())), InvalidRequest, "Sunday is 0");
    expect(schedule(&|job| job.cron_collision_policy = CronCollisionPolicy::RunOverlap), InvalidRequest, "RUN_OVERLAP");
    expect(schedule(&|job| job.task.is_service = true), InvalidRequest, "service");
    expect(schedule(&|job| job.instance_count = 4001), InvalidRequest, "4000");
    expect(schedule(&|job| job.task.tier = Some("preferred".into())), InvalidRequest, "quota");
    let unknown = |job: &mut JobConfiguration| {
        job.key.name = "other".into();
        job.task.job.name = "other".into();
    };
    expect(Command::ReplaceCronTemplate(template(&unknown)), InvalidRequest, "No cron job found");
    expect(Command::StartCronJob { job: job("other") }, InvalidRequest, "Failed to start cron job");
    expect(Command::StartCronJob { job: job("a b") }, Error, "invalid");
    expect(Command::DescheduleCronJob { job: job("a b") }, Error, "invalid");
    let create = |config: JobConfiguration| Command::CreateJob(Box::new(config));
    expect(create(each_minute(CronCollisionPolicy::CancelNew)), InvalidRequest, "cron schedule");
    expect(create(*template(&|job| job.cron_schedule = None)), InvalidRequest, "is a cron job");
    expect(Command::AddInstances { job: job("tick"), template: 0, count: 1 }, InvalidRequest, "is a cron job");
    let request = UpdateRequest {
        task: TaskConfig { is_service: true, ..batch("tick") },
        instance_count: 1,
        settings: UpdateSettings::default(),
        metadata: BTreeSet::new(),
    };
    let update = Command::StartUpdate { request: Box::new(request), message: None };
    expect(update, InvalidRequest, "cron");
    assert_eq!((&world.journal, cron_job(&world, "tick")), (&before.0, before.1));
}

#[test]
fn a_job_that_is_being_updated_is_not_scheduled() {
    let mut world = world();
    let request = UpdateRequest {
        task: TaskConfig { is_service: true, ..batch("tick") },
        instance_count: 1,
        settings: UpdateSettings::default(),
        metadata: BTreeSet::new(),
    };
    world.command(Command::StartUpdate { request: Box::new(request), message: None });
    for command in [
        Command::ScheduleCronJob(Box::new(each_minute(CronCollisionPolicy::CancelNew))),
        Command::ReplaceCronTemplate(Box::new(each_minute(CronCollisionPolicy::CancelNew))),
        Command::DescheduleCronJob { job: job("tick") },
    ] {
        assert_eq!(world.command(command).code, ReplyCode::JobUpdatingError);
    }
}

#[test]
fn quota_counts_a_cron_job_by_its_configuration_or_its_tasks_whichever_is_more() {
    let mut world = world();
    let quota = |cores: f64| Resources {
        cpu: CpuMillis::from_cores(cores),
        ram_mb: 100_000,
        disk_mb: 100_000,
        ports: 0,
        gpus: 0,
    };
    let set = |world: &mut World, cores: f64| {
        world.command(Command::SetQuota { role: "www-data".into(), quota: quota(cores) }).code
    };
    let sized = |cores: f64, instances: i32| {
        let mut config = each_minute(CronCollisionPolicy::CancelNew);
        config.task.tier = Some("preferred".into());
        config.task.resources.cpu = CpuMillis::from_cores(cores);
        config.instance_count = instances;
        config
    };
    assert_eq!(set(&mut world, 4.0), ReplyCode::Ok);
    assert_eq!(schedule(&mut world, sized(1.0, 5)).code, ReplyCode::InvalidRequest);
    assert_eq!(schedule(&mut world, sized(1.0, 4)).code, ReplyCode::Ok);
    assert_eq!(set(&mut world, 3.0), ReplyCode::InvalidRequest, "it counts before it runs");
    assert_eq!(schedule(&mut world, sized(2.0, 2)).code, ReplyCode::Ok, "one takes the other's place");
    let mut other = TaskConfig { tier: Some("preferred".into()), ..batch("other") };
    other.resources.cpu = CpuMillis::from_cores(1.0);
    assert_eq!(world.create(other.clone(), 1).code, ReplyCode::InvalidRequest);
    start_now(&mut world);
    assert_eq!(set(&mut world, 4.0), ReplyCode::Ok, "its tasks do not count twice");
    assert_eq!(schedule(&mut world, sized(1.0, 1)).code, ReplyCode::Ok);
    assert_eq!(world.create(other.clone(), 1).code, ReplyCode::InvalidRequest, "four cores are still held");
    world.kill(&job("tick"), &[]);
    assert_eq!(world.create(other, 3).code, ReplyCode::Ok);
}

#[test]
fn only_the_latest_runs_are_remembered_but_never_forgotten_is_one_that_waits() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    world.pass(MINUTE_MS);
    let old = world.active(&job("tick"));
    for _ in 0..2 * RUNS_REMEMBERED {
        start_now(&mut world);
    }
    let runs = cron_job(&world, "tick").runs.clone();
    assert_eq!(runs.len(), RUNS_REMEMBERED + 1);
    assert_eq!((runs[0].number, runs[0].outcome.name()), (2, "WAITING"));
    for task in &old {
        world.status(&task.id, TaskState::Killed);
    }
    assert_eq!(cron_job(&world, "tick").runs[0].outcome, CronOutcome::Started);
    assert_eq!(world.active(&job("tick")).len(), 2);
}

// ---- records ----

#[test]
fn records_may_come_in_any_order_and_twice() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    world.pass(MINUTE_MS);
    start_now(&mut world);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING", "IGNORED"]);
    let records: Vec<_> = Scheduler::records(&world.view()).collect();
    let mut replayed = Scheduler::new(settings());
    for record in records.iter().rev().chain(&records).chain(records.iter().rev()) {
        replayed.apply(record).unwrap();
    }
    let durable = |view: scheduler::View| -> Vec<CronJob> {
        view.cron_jobs.values().map(|job| CronJob { next_run_ms: None, ..CronJob::clone(job) }).collect()
    };
    assert_eq!(durable(replayed.freeze()), durable(world.view()));
}

#[test]
fn runs_that_are_replayed_over_a_later_snapshot_are_those_of_the_snapshot() {
    let mut world = world();
    let mut journal: Vec<scheduler::Record> = Vec::new();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    start_now(&mut world);
    journal.extend(Scheduler::records(&world.view()));
    let gone = |record: &scheduler::Record| scheduler::Record { value: None, ..record.clone() };
    let deleted: Vec<_> = journal.iter().filter(|record| matches!(record.table, 9 | 10)).map(gone).collect();
    journal.extend(deleted.into_iter().rev());
    world.command(Command::DescheduleCronJob { job: job("tick") });
    world.kill(&job("tick"), &[]);
    schedule(&mut world, cron("tick", "0 0 * * *", CronCollisionPolicy::KillExisting));
    let snapshot: Vec<_> = Scheduler::records(&world.view()).collect();
    let mut replayed = Scheduler::new(settings());
    for record in snapshot.iter().chain(&journal).chain(&snapshot) {
        replayed.apply(record).unwrap();
    }
    let jobs = replayed.freeze().cron_jobs;
    assert_eq!((jobs.len(), jobs[&job("tick")].runs.len()), (1, 0));
    assert_eq!(jobs[&job("tick")].schedule_text(), "0 0 * * *");
}

#[test]
fn a_log_that_is_replayed_entry_by_entry_forgets_what_was_descheduled() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    start_now(&mut world);
    let mut log: Vec<scheduler::Record> = Scheduler::records(&world.view()).collect();
    let before = world.journal.clone();
    world.command(Command::DescheduleCronJob { job: job("tick") });
    world.kill(&job("tick"), &[]);
    let gone = before.into_keys().filter(|key| !world.journal.contains_key(key));
    log.extend(gone.map(|(table, key)| scheduler::Record { table, key, value: None }));
    for order in [log.clone(), log.iter().chain(&log).cloned().collect()] {
        let mut replayed = Scheduler::new(settings());
        order.iter().for_each(|record| replayed.apply(record).unwrap());
        assert!(replayed.freeze().cron_jobs.is_empty());
        // What comes under the key later has nothing of what was before.
        let anew = schedule(&mut world, cron("tick", "0 0 * * *", CronCollisionPolicy::KillExisting));
        assert_eq!(anew.code, ReplyCode::Ok);
        Scheduler::records(&world.view()).for_each(|record| replayed.apply(&record).unwrap());
        assert_eq!(replayed.freeze().cron_jobs[&job("tick")].runs, []);
        world.command(Command::DescheduleCronJob { job: job("tick") });
    }
}

#[test]
fn a_damaged_record_is_refused_by_the_name_of_its_table() {
    let mut world = world();
    schedule(&mut world, each_minute(CronCollisionPolicy::CancelNew));
    start_now(&mut world);
    let records: Vec<_> = Scheduler::records(&world.view()).collect();
    let of_table = |table: u32| records.iter().find(|record| record.table == table).unwrap().clone();
    let refused =
        |record: scheduler::Record| Scheduler::new(settings()).apply(&record).expect_err("damaged").to_string();
    for (table, name) in
        [(scheduler::record::TABLE_CRON_JOBS, "cron_jobs"), (scheduler::record::TABLE_CRON_RUNS, "cron_runs")]
    {
        let short = scheduler::Record { key: b"www".to_vec(), ..of_table(table) };
        assert!(refused(short).contains(name));
        let cut = scheduler::Record { value: Some(vec![0xff, 0xff]), ..of_table(table) };
        assert!(refused(cut).contains(name));
    }
    let mut other = of_table(scheduler::record::TABLE_CRON_JOBS);
    other.key = b"www-data\0devel\0other\0".to_vec();
    assert!(refused(other).contains("holds the configuration of"));
}

#[test]
fn a_backup_brings_the_schedule_back_and_no_run_of_the_past() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, each_minute(CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    world.offer("home", room(64.0));
    world.pass(MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED", "WAITING"]);
    let mut staging = Staging::default();
    Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    let staged = staging.finish().unwrap();
    for task in world.active(&job("tick")) {
        world.status(&task.id, TaskState::Killed);
    }
    world.pass(2 * MINUTE_MS + 5000);
    world.command(Command::DescheduleCronJob { job: job("tick") });
    world.kill(&job("tick"), &[]);
    let ever = tasks_ever(&world);
    let restore = AdminCommand::Restore { staged, later: LaterTasks::Keep };
    assert_eq!(world.command(Command::Admin(restore)).code, ReplyCode::Ok);
    // What waited then has begun since, and what was due since has been met.
    assert_eq!(outcomes(&world), ["STARTED", "MISSED", "MISSED"]);
    assert_eq!(tasks_ever(&world), ever, "nothing runs again");
    world.pass(MINUTE_MS);
    assert_eq!(nominals(&world, begin_ms).last(), Some(&Some(5 * MINUTE_MS as i64)));
    assert_eq!(outcomes(&world).last(), Some(&"STARTED"));
}
