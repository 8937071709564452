//! Cron through what breaks other schedulers: fail-overs around a run, outages of any length, edits, clocks that jump, drift and stop.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Journal, World, batch, job, room, settings};
use engine::TaskState;
use model::cron::Zone;
use model::{CronCollisionPolicy, JobConfiguration, TaskId, TaskStatus};
use scheduler::cron::{CronJob, CronRun};
use scheduler::{Command, Input, Principal, ReplyCode, RequestId, Settings};

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const POLICIES: [CronCollisionPolicy; 2] = [CronCollisionPolicy::KillExisting, CronCollisionPolicy::CancelNew];

fn cron(schedule: &str, policy: CronCollisionPolicy) -> JobConfiguration {
    JobConfiguration {
        key: job("tick"),
        owner: None,
        cron_schedule: Some(schedule.into()),
        cron_collision_policy: policy,
        task: batch("tick"),
        instance_count: 2,
    }
}

fn schedule(world: &mut World, config: JobConfiguration) {
    assert_eq!(world.command(Command::ScheduleCronJob(Box::new(config))).code, ReplyCode::Ok);
}

fn world() -> World {
    world_with(settings())
}

/// At the begin of an hour.
fn world_with(settings: Settings) -> World {
    let mut world = World::with(Settings { history_max_per_job_threshold: 10_000, ..settings });
    let into_hour = world.now.wall_ms.rem_euclid(HOUR_MS as i64) as u64;
    world.advance(HOUR_MS - into_hour);
    world
}

fn cron_job(world: &World) -> Arc<CronJob> {
    world.view().cron_jobs.get(&job("tick")).cloned().expect("the cron job")
}

fn runs(world: &World) -> Vec<CronRun> {
    cron_job(world).runs.clone()
}

fn outcomes(world: &World) -> Vec<&'static str> {
    runs(world).iter().map(|run| run.outcome.name()).collect()
}

fn minutes(world: &World, begin_ms: i64) -> Vec<i64> {
    runs(world).iter().filter_map(|run| run.nominal_ms).map(|at| (at - begin_ms) / MINUTE_MS as i64).collect()
}

fn ids(world: &World) -> BTreeSet<TaskId> {
    world.active(&job("tick")).iter().map(|task| task.id.clone()).collect()
}

/// What is active is of one run: two runs never are at once.
fn check_one_run(world: &World, what: &str) {
    let begun: BTreeSet<i64> = world.active(&job("tick")).iter().map(|task| task.events[0].timestamp_ms).collect();
    assert!(begun.len() <= 1, "{what}: two runs are active: {:?}", world.active(&job("tick")));
}

/// No time of the schedule is met before it comes, and none twice.
fn check_times(world: &World, what: &str) {
    let times: Vec<i64> = runs(world).iter().filter_map(|run| run.nominal_ms).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "{what}: a time was met twice: {times:?}");
    for run in runs(world) {
        assert!(run.nominal_ms.is_none_or(|at| at <= run.recorded_ms), "{what}: met before its time: {run:?}");
    }
}

/// The engine does what it was asked for: what was launched runs, and what was killed is dead.
fn obey(world: &mut World) {
    world.offer("home", room(64.0));
    for task in world.active(&job("tick")) {
        match task.status {
            TaskStatus::Assigned => world.status(&task.id, TaskState::Running),
            TaskStatus::Killing => world.status(&task.id, TaskState::Killed),
            _ => {}
        }
    }
}

/// The scheduler dies, with its last group of records or after it, and another one begins.
fn fail_over(world: &mut World, last_group: Option<&Journal>, down_ms: u64, epoch: u64) {
    if let Some(journal) = last_group {
        world.journal = journal.clone();
    }
    world.restart(down_ms as i64, epoch);
}

#[test]
fn collision_policies_hold_whenever_the_leader_changes_around_a_run() {
    for policy in POLICIES {
        // From 10 s before a time of the schedule until 10 s after it, with and without the last group of records.
        for moment in 0..40 {
            for (down_ms, loses) in [(0, false), (1500, false), (8000, false), (0, true), (1500, true), (45_000, false)]
            {
                let what = format!("{policy:?}, {moment}, down for {down_ms}, {loses}");
                let mut world = world();
                let begin_ms = world.now.wall_ms;
                schedule(&mut world, cron("* * * * *", policy));
                world.pass(MINUTE_MS);
                obey(&mut world);
                let old = ids(&world);
                assert_eq!(old.len(), 2, "{what}");
                world.pass(50 * SECOND_MS);
                for at in 0..40 {
                    let before = world.journal.clone();
                    world.advance(500);
                    world.step(Input::Tick);
                    check_one_run(&world, &what);
                    if at == moment {
                        fail_over(&mut world, loses.then_some(&before), down_ms, 2);
                        check_one_run(&world, &what);
                    }
                    if at % 4 == 3 {
                        obey(&mut world);
                        check_one_run(&world, &what);
                    }
                }
                // A further change of leaders in the midst of what the first one has left.
                fail_over(&mut world, None, 0, 3);
                world.pass(2 * SECOND_MS);
                obey(&mut world);
                obey(&mut world);
                check_one_run(&world, &what);
                check_times(&world, &what);
                assert_eq!(minutes(&world, begin_ms)[..2], [1, 2], "{what}: {:?}", outcomes(&world));
                let missed = runs(&world)[1].outcome.name() == "MISSED";
                match policy {
                    _ if missed => assert!(down_ms > 30_000 && ids(&world) == old, "{what}"),
                    CronCollisionPolicy::CancelNew => {
                        assert_eq!(outcomes(&world)[1], "CANCELLED", "{what}");
                        assert_eq!(ids(&world), old, "{what}: the old run goes on");
                    }
                    _ => {
                        assert_eq!(outcomes(&world)[1], "STARTED", "{what}");
                        assert!(ids(&world).is_disjoint(&old) && ids(&world).len() == 2, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_outage_of_any_length_is_one_entry_that_says_how_many_times_it_covers() {
    // Down for so long, from the begin of an hour on: the latest time that passed, how many there were, and whether that one is met.
    let day_ms = 24 * HOUR_MS;
    let cases = [
        ("* * * * *", 70 * SECOND_MS, MINUTE_MS, 1, true),
        ("* * * * *", MINUTE_MS + 45 * SECOND_MS, MINUTE_MS, 1, false),
        ("* * * * *", HOUR_MS + 45 * SECOND_MS, HOUR_MS, 60, false),
        ("* * * * *", 101 * MINUTE_MS + 45 * SECOND_MS, 101 * MINUTE_MS, 101, false),
        ("* * * * *", 101 * MINUTE_MS + SECOND_MS, 101 * MINUTE_MS, 101, true),
        ("*/15 * * * *", HOUR_MS + 45 * SECOND_MS, HOUR_MS, 4, false),
        ("* * * * *", 400 * day_ms + 45 * SECOND_MS, 400 * day_ms, 1001, false),
        ("0 * * * *", 400 * day_ms + 45 * SECOND_MS, 400 * day_ms, 1001, false),
        ("0 0 * * *", 400 * day_ms, 400 * day_ms - 6 * HOUR_MS, 400, false),
    ];
    for (text, down_ms, latest_ms, passed, is_met) in cases {
        let what = format!("{text}, down for {down_ms}");
        let mut world = world();
        // A day of these worlds has its midnight 18 hours after their begin.
        let into_day_ms = world.now.wall_ms.rem_euclid(day_ms as i64) as u64;
        world.advance((30 * HOUR_MS - into_day_ms) % day_ms);
        let begin_ms = world.now.wall_ms;
        schedule(&mut world, cron(text, CronCollisionPolicy::CancelNew));
        world.restart(down_ms as i64, 2);
        let [run] = runs(&world).try_into().unwrap_or_else(|runs| panic!("{what}: {runs:?}"));
        assert_eq!(run.nominal_ms, Some(begin_ms + latest_ms as i64), "{what}");
        assert_eq!(run.skipped + 1, passed, "{what}");
        assert_eq!(run.outcome.name(), if is_met { "STARTED" } else { "MISSED" }, "{what}");
        assert_eq!(ids(&world).len(), if is_met { 2 } else { 0 }, "{what}");
        // And then it goes on as if nothing had been.
        let next_ms = cron_job(&world).next_run_ms.expect("a next time");
        world.kill(&job("tick"), &[]);
        world.pass((next_ms - world.now.wall_ms) as u64);
        assert_eq!(outcomes(&world)[1..], ["STARTED"], "{what}");
        check_times(&world, &what);
    }
}

#[test]
fn a_hundred_jobs_that_missed_a_year_are_done_in_as_many_steps_as_any() {
    let mut world = world_with(Settings { cron_scheduling_max_batch_size: 10, ..settings() });
    for number in 0..100 {
        let key = job(&format!("job-{number}"));
        let mut config = cron("* * * * *", CronCollisionPolicy::CancelNew);
        (config.task.job, config.key) = (key.clone(), key);
        schedule(&mut world, config);
    }
    world.restart(400 * 24 * HOUR_MS as i64 + 45_000, 2);
    let view = world.view();
    assert!(view.cron_jobs.values().all(|job| job.runs.len() == 1 && job.runs[0].outcome.name() == "MISSED"));
    world.pass(MINUTE_MS);
    assert_eq!(world.view().tasks.len(), 200);
}

#[test]
fn a_schedule_that_is_given_anew_meets_no_time_of_either_that_has_passed() {
    let met = 2 * HOUR_MS + 5 * SECOND_MS;
    // Down for so long, whether the old schedule's time is met then, and how much later it is edited.
    for (down_ms, old_is_met, later_ms) in
        [(met + 40 * SECOND_MS, false, 0), (met, true, 0), (met, true, 150 * SECOND_MS)]
    {
        for new in ["* * * * *", "1 * * * *", "59 * * * *"] {
            let mut world = world();
            schedule(&mut world, cron("0 * * * *", CronCollisionPolicy::CancelNew));
            world.restart(down_ms as i64, 2);
            let then = ids(&world);
            assert_eq!(then.len(), if old_is_met { 2 } else { 0 });
            world.pass(later_ms);
            let edited_ms = world.now.wall_ms;
            let edit = Command::ReplaceCronTemplate(Box::new(cron(new, CronCollisionPolicy::CancelNew)));
            assert_eq!(world.command(edit).code, ReplyCode::Ok);
            world.restart(1000, 3);
            assert_eq!((ids(&world), runs(&world).len()), (then, 1), "{new}");
            let next_ms = cron_job(&world).next_run_ms.unwrap();
            assert!(next_ms > edited_ms, "{new}");
            world.kill(&job("tick"), &[]);
            world.pass((next_ms - world.now.wall_ms) as u64);
            assert_eq!(outcomes(&world).last(), Some(&"STARTED"), "{new}");
            check_times(&world, new);
        }
    }
}

#[test]
fn a_job_under_a_key_used_before_knows_nothing_of_the_old_runs() {
    for policy in POLICIES {
        for old_waits in [false, true] {
            for end in [TaskState::Finished, TaskState::Failed, TaskState::Killed, TaskState::Lost] {
                let what = format!("{policy:?}, {old_waits}, {end:?}");
                let mut world = world();
                let mut config = cron("* * * * *", policy);
                config.task.max_task_failures = 3;
                schedule(&mut world, config);
                world.pass(MINUTE_MS);
                obey(&mut world);
                if old_waits {
                    world.pass(MINUTE_MS);
                }
                world.command(Command::DescheduleCronJob { job: job("tick") });
                // Its tasks go their own way, retries included, until nothing is left of them.
                for _ in 0..6 {
                    for task in world.active(&job("tick")) {
                        world.status(&task.id, end);
                    }
                    world.pass(400 * SECOND_MS);
                    world.offer("home", room(64.0));
                }
                world.kill(&job("tick"), &[]);
                obey(&mut world);
                assert!(ids(&world).is_empty(), "{what}");
                let old: BTreeSet<TaskId> = world.view().tasks_of(&job("tick")).map(|task| task.id.clone()).collect();
                schedule(&mut world, cron("* * * * *", policy));
                assert!(runs(&world).is_empty(), "{what}");
                world.pass(MINUTE_MS);
                let new = ids(&world);
                assert!(new.len() == 2 && new.is_disjoint(&old), "{what}");
                obey(&mut world);
                world.take_kills();
                // Late words about the old tasks change nothing of the new ones.
                for id in &old {
                    world.status(id, TaskState::Failed);
                    world.status(id, TaskState::Running);
                    world.status(id, TaskState::Lost);
                }
                assert_eq!(ids(&world), new, "{what}");
                assert!(world.take_kills().iter().all(|id| old.contains(id)), "{what}");
                assert_eq!(outcomes(&world), ["STARTED"], "{what}");
                world.restart(1000, 2);
                assert_eq!((ids(&world), outcomes(&world)), (new, vec!["STARTED"]), "{what}");
            }
        }
    }
}

#[test]
fn a_clock_that_drifts_or_smears_a_second_neither_loses_nor_doubles_a_run() {
    // Parts in a million that the wall clock is fast; what is slewed is at most 500, a smeared second is 12.
    for per_million in [500, -500, 12, -12] {
        let mut world = world();
        let begin_ms = world.now.wall_ms;
        schedule(&mut world, cron("* * * * *", CronCollisionPolicy::KillExisting));
        let mut met = Vec::new();
        // Three hours, woken when it asked to be, to a tenth of a second, and every twenty seconds besides.
        for tick in 0..3 * 36_000_i64 {
            world.now.monotonic_ms += 100;
            world.now.wall_ms = begin_ms + (tick + 1) * 100 + (tick + 1) * 100 * per_million / 1_000_000;
            if tick % 200 == 0 || world.scheduler.next_wake().is_some_and(|wake| wake <= world.now.monotonic_ms) {
                let known = runs(&world).last().map(|run| run.number);
                world.step(Input::Tick);
                let run = runs(&world).last().cloned();
                if let Some(run) = run.filter(|run| Some(run.number) != known) {
                    assert!(run.nominal_ms.unwrap() <= world.now.wall_ms, "early");
                    assert!(world.now.wall_ms - run.nominal_ms.unwrap() <= 600, "late: {run:?}");
                    met.push((run.nominal_ms.unwrap() - begin_ms) / MINUTE_MS as i64);
                    obey(&mut world);
                }
            }
        }
        let last = (world.now.wall_ms - begin_ms) / MINUTE_MS as i64;
        assert_eq!(met, (1..=last).collect::<Vec<_>>(), "{per_million}");
    }
}

#[test]
fn a_machine_that_was_asleep_runs_what_it_slept_through_once() {
    // The monotonic clock of a machine that was suspended goes on or stands still.
    for monotonic_goes_on in [false, true] {
        let mut world = world();
        let begin_ms = world.now.wall_ms;
        schedule(&mut world, cron("* * * * *", CronCollisionPolicy::CancelNew));
        world.pass(90 * SECOND_MS);
        obey(&mut world);
        let old = ids(&world);
        for id in &old {
            world.status(id, TaskState::Finished);
        }
        world.now.wall_ms += 3 * HOUR_MS as i64;
        if monotonic_goes_on {
            world.now.monotonic_ms += 3 * HOUR_MS;
        }
        // Woken late, when its own timer fires at the latest.
        world.pass(16 * SECOND_MS);
        assert_eq!(minutes(&world, begin_ms), [1, 181]);
        assert_eq!((runs(&world)[1].skipped, outcomes(&world)[1]), (179, "STARTED"));
        assert_eq!(ids(&world).len(), 2);
        check_times(&world, "asleep");
    }
}

#[test]
fn a_leader_whose_clock_is_five_minutes_off_doubles_nothing_and_starts_nothing_early() {
    for off_ms in [-5 * MINUTE_MS as i64, 5 * MINUTE_MS as i64] {
        for seconds in (0..60).step_by(7) {
            let what = format!("{off_ms} at {seconds}");
            let mut world = world();
            let begin_ms = world.now.wall_ms;
            schedule(&mut world, cron("* * * * *", CronCollisionPolicy::KillExisting));
            let mut epoch = 1;
            // The leadership goes to and fro between two members.
            for turn in 0..6 {
                world.pass(2 * MINUTE_MS + seconds * SECOND_MS);
                obey(&mut world);
                epoch += 1;
                let by_ms = if turn % 2 == 0 { off_ms } else { -off_ms };
                world.restart(by_ms + 3000, epoch);
                check_one_run(&world, &what);
                check_times(&world, &what);
            }
            world.pass(7 * MINUTE_MS);
            check_times(&world, &what);
            let met = minutes(&world, begin_ms);
            let now = (world.now.wall_ms - begin_ms) / MINUTE_MS as i64;
            assert_eq!(met.last(), Some(&now), "{what}: {met:?}");
            // What is not there was missed or covered by the entry after it.
            let covered: i64 = runs(&world).iter().map(|run| i64::from(run.skipped) + 1).sum();
            let before = met[0] - i64::from(runs(&world)[0].skipped) - 1;
            assert_eq!(covered, now - before, "{what}: {met:?}");
        }
    }
}

/// The wall clock shows another time from now on, and the scheduler has seen it.
fn set_clock(world: &mut World, wall_ms: i64) {
    world.now.wall_ms = wall_ms;
    world.pass(16 * SECOND_MS);
    world.step(Input::Tick);
}

#[test]
fn a_clock_that_is_set_after_the_start_misses_what_passed_and_nothing_else() {
    for (down_minutes, missed) in [(0, None), (1, Some((2, 0))), (10, Some((11, 9)))] {
        let mut world = world();
        let begin_ms = world.now.wall_ms;
        schedule(&mut world, cron("* * * * *", CronCollisionPolicy::KillExisting));
        world.pass(MINUTE_MS);
        assert_eq!((minutes(&world, begin_ms), outcomes(&world)), (vec![1], vec!["STARTED"]));
        // The machine begins anew with a clock that nobody has set yet.
        let really_ms = world.now.wall_ms + down_minutes * MINUTE_MS as i64;
        world.now.wall_ms = 10_000;
        world.restart(0, 2);
        world.pass(5 * MINUTE_MS);
        assert_eq!(outcomes(&world), ["STARTED"], "{down_minutes}: it ran by a clock that was not set");
        set_clock(&mut world, really_ms);
        let met = runs(&world).get(1).map(|run| ((run.nominal_ms.unwrap() - begin_ms) / MINUTE_MS as i64, run.skipped));
        assert_eq!(met, missed, "{down_minutes}");
        assert!(runs(&world).iter().skip(1).all(|run| run.outcome.name() == "MISSED"), "{down_minutes}");
        world.pass(MINUTE_MS);
        assert_eq!(outcomes(&world).last(), Some(&"STARTED"), "{down_minutes}");
        check_times(&world, "set late");
    }
}

#[test]
fn a_clock_that_falls_back_to_its_beginning_holds_runs_until_it_is_set_again() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    schedule(&mut world, cron("* * * * *", CronCollisionPolicy::KillExisting));
    world.pass(MINUTE_MS);
    set_clock(&mut world, 10_000);
    world.pass(5 * MINUTE_MS);
    assert_eq!(outcomes(&world), ["STARTED"], "it ran by a clock that was not set");
    set_clock(&mut world, begin_ms + 10 * MINUTE_MS as i64);
    world.pass(MINUTE_MS);
    assert_eq!((minutes(&world, begin_ms), outcomes(&world)), (vec![1, 10, 11], vec!["STARTED", "MISSED", "STARTED"]));
    assert_eq!(runs(&world)[1].skipped, 8);
}

#[test]
fn a_leader_that_began_with_a_clock_an_hour_ahead_starts_runs_once_the_clock_is_right() {
    for was_set in [true, false] {
        let mut world = world();
        let begin_ms = world.now.wall_ms;
        // It is an hour ahead at once, or is set to that after a while without any time.
        let first_ms = if was_set { begin_ms + HOUR_MS as i64 } else { 10_000 };
        world.now.wall_ms = first_ms;
        world.restart(0, 2);
        set_clock(&mut world, begin_ms + HOUR_MS as i64);
        set_clock(&mut world, begin_ms);
        let now_ms = world.now.wall_ms;
        assert!(now_ms - begin_ms < MINUTE_MS as i64);
        schedule(&mut world, cron("* * * * *", CronCollisionPolicy::CancelNew));
        world.pass(MINUTE_MS);
        assert_eq!((minutes(&world, begin_ms), outcomes(&world)), (vec![1], vec!["STARTED"]), "{was_set}");
    }
}

#[test]
fn what_an_earlier_leader_saw_of_a_wrong_clock_counts_when_it_goes_back_further() {
    let mut world = world();
    let begin_ms = world.now.wall_ms;
    let minute = |minute: i64| begin_ms + minute * MINUTE_MS as i64;
    schedule(&mut world, cron("* * * * *", CronCollisionPolicy::KillExisting));
    set_clock(&mut world, minute(150));
    assert_eq!(minutes(&world, begin_ms), [150]);
    // Two and a half hours back: nothing is repeated. Another hour: it must have been wrong.
    world.restart(-150 * MINUTE_MS as i64, 2);
    world.pass(5 * MINUTE_MS);
    assert_eq!(minutes(&world, begin_ms), [150]);
    set_clock(&mut world, minute(-60));
    world.pass(MINUTE_MS);
    assert_eq!(minutes(&world, begin_ms), [150, -59]);
}

#[test]
fn a_run_that_a_user_starts_at_a_time_of_the_schedule_does_not_take_that_time_away() {
    // The job was given by a clock that was right, or hours ahead.
    for ahead_ms in [0, 3 * HOUR_MS as i64 + 90_000] {
        let mut world = world_with(Settings { cron_scheduling_max_batch_size: 1, ..settings() });
        let begin_ms = world.now.wall_ms;
        let mut other = cron("* * * * *", CronCollisionPolicy::CancelNew);
        (other.task.job, other.key) = (job("first"), job("first"));
        schedule(&mut world, other);
        world.now.wall_ms += ahead_ms;
        schedule(&mut world, cron("* * * * *", CronCollisionPolicy::CancelNew));
        world.now.wall_ms = begin_ms;
        world.step(Input::Tick);
        // The loop is held up. The user is first, another job has its turn in the same step, and then the process dies.
        world.advance(MINUTE_MS + 5 * SECOND_MS);
        let start = Command::StartCronJob { job: job("tick") };
        let input = Input::command(RequestId(9000), Principal { name: "jane".into() }, start);
        let output = world.scheduler.step(world.now, input);
        assert!(output.more, "the time of the schedule is still to be met");
        for record in output.records {
            match record.value {
                Some(value) => drop(world.journal.insert((record.table, record.key), value)),
                None => drop(world.journal.remove(&(record.table, record.key))),
            }
        }
        world.restart(3000, 2);
        assert_eq!(
            (minutes(&world, begin_ms), outcomes(&world)),
            (vec![1], vec!["STARTED", "CANCELLED"]),
            "{ahead_ms}"
        );
        assert_eq!(runs(&world)[0].nominal_ms, None, "{ahead_ms}");
        check_times(&world, "started by hand");
    }
}

#[test]
fn a_job_that_is_given_just_before_its_time_is_on_time_whatever_others_wait_for() {
    let mut world = world();
    // The loop sleeps for as long as it ever does: until 52 seconds past, and then until 67.
    world.pass(7 * SECOND_MS);
    let mut yearly = cron("0 0 1 1 *", CronCollisionPolicy::CancelNew);
    (yearly.task.job, yearly.key) = (job("yearly"), job("yearly"));
    schedule(&mut world, yearly);
    world.pass(48 * SECOND_MS);
    schedule(&mut world, cron("* * * * *", CronCollisionPolicy::CancelNew));
    world.pass(5 * SECOND_MS);
    assert_eq!(outcomes(&world), ["STARTED"]);
    assert_eq!(Some(runs(&world)[0].recorded_ms), runs(&world)[0].nominal_ms);
}

#[test]
fn both_shifts_of_a_zone_meet_each_local_time_once() {
    let berlin = || world_with(Settings { cron_timezone: Zone::named("Europe/Berlin").unwrap(), ..settings() });
    // 2026-03-28T12:00Z and 2026-10-24T12:00Z: in the night to come clocks go ahead, and back.
    for (begin_ms, daily) in [
        (1_774_699_200_000, ["2026-03-30 02:30:00 CEST"].as_slice()),
        (1_792_843_200_000, ["2026-10-25 02:30:00 CET", "2026-10-26 02:30:00 CET"].as_slice()),
    ] {
        for text in ["30 2 * * *", "30 * * * *"] {
            let mut world = berlin();
            world.now.wall_ms = begin_ms;
            world.step(Input::Tick);
            schedule(&mut world, cron(text, CronCollisionPolicy::KillExisting));
            let mut met = Vec::new();
            for _ in 0..40 * 4 {
                let known = runs(&world).last().map(|run| run.number);
                world.pass(15 * MINUTE_MS);
                obey(&mut world);
                let run = runs(&world).last().cloned().filter(|run| Some(run.number) != known);
                met.extend(run.and_then(|run| run.nominal_ms));
            }
            if text == "30 2 * * *" {
                let zone = Zone::named("Europe/Berlin").unwrap();
                assert_eq!(met.iter().map(|at| zone.show(*at)).collect::<Vec<_>>(), daily);
            } else {
                // Every hour that really passes, whatever it is called.
                assert_eq!(met.len(), 40);
                assert!(met.windows(2).all(|pair| pair[1] - pair[0] == HOUR_MS as i64), "{met:?}");
            }
        }
    }
}
