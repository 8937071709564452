//! Rules of updates that show only now and then: what a restart keeps and a pause forgets, when missing pulses are noticed, kills
//! that wait for an SLA policy, and what is left of updates long ended.

mod common;

use std::time::Duration;

use common::updates::*;
use common::*;
use engine::TaskState;
use model::task::SlaPolicy;
use model::update::{InstanceUpdateEvent, UpdateAction, UpdateSettings, UpdateStatus, UpdateStrategy};
use model::{TaskConfig, TaskStatus, UpdateKey};
use scheduler::command::UpdateControl;
use scheduler::{Command, CoordinatorAnswer, Input, ReplyCode, Settings};

use UpdateAction::*;

const NONE: [u32; 0] = [];

fn fail(world: &mut World, instance: u32) {
    let id = world.active_one(&job("web"), instance).id.clone();
    world.status(&id, TaskState::Failed);
}

#[test]
fn failures_are_counted_over_a_restart_and_forgotten_over_a_pause() {
    let settings = UpdateSettings { max_per_instance_failures: 2, ..quick(1) };
    for (restarts, failures) in [(true, 3), (false, 5)] {
        let mut world = running(1);
        let key = started(&mut world, request(version(2), 1, settings.clone()));
        for number in 1..=failures {
            assert_eq!(status(&world, &key), UpdateStatus::RollingForward, "before failure {number}");
            settle(&mut world);
            fail(&mut world, 0);
            if restarts {
                world.restart(10, 1 + number);
            } else if number == 2 {
                control(&mut world, &key, UpdateControl::Pause);
                control(&mut world, &key, UpdateControl::Resume);
            }
        }
        assert_eq!(status(&world, &key), UpdateStatus::RollingBack, "restarts: {restarts}");
    }
}

/// Nothing follows a batch task that failed but what the update adds, and that waits for room: the failure must not wait with it.
#[test]
fn a_failure_whose_next_try_waits_for_room_in_the_journal_is_counted_over_a_restart() {
    for restarts in [false, true] {
        let mut world = World::with(Settings { flapping_task_threshold: Duration::ZERO, ..settings() });
        world.create(TaskConfig { is_service: false, ..version(1) }, 1);
        settle(&mut world);
        let settings = UpdateSettings { max_per_instance_failures: 1, ..quick(1) };
        let key = started(&mut world, request(version(2), 1, settings));
        settle(&mut world);
        control(&mut world, &key, UpdateControl::Rollback);
        settle(&mut world);
        assert_eq!((versions(&world), status(&world, &key)), (vec![(0, 1)], UpdateStatus::RollingBack));

        world.step(Input::SpaceLow(true));
        fail(&mut world, 0);
        assert_eq!(versions(&world), [], "the next try waits");
        assert_eq!(world.view().update_progress[&key][&0].failures, 1);
        if restarts {
            world.restart(10, 2);
        }
        world.step(Input::SpaceLow(false));
        settle(&mut world);
        assert_eq!((versions(&world), status(&world, &key)), (vec![(0, 1)], UpdateStatus::RollingBack));
        fail(&mut world, 0);
        assert_eq!(status(&world, &key), UpdateStatus::Failed, "restarts: {restarts}");
    }
}

#[test]
fn instances_that_failed_for_good_stay_failed_over_a_restart() {
    let mut world = running(3);
    let settings = UpdateSettings { max_failed_instances: 1, ..quick(1) };
    let key = started(&mut world, request(version(2), 3, settings));
    settle(&mut world);
    fail(&mut world, 0);
    assert_eq!(actions(&world, &key), [(0, InstanceUpdating), (0, InstanceUpdateFailed), (1, InstanceUpdating)]);
    world.restart(10, 2);
    settle(&mut world);
    // Instance 0 runs and fails again: it is not looked at any more.
    fail(&mut world, 0);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    fail(&mut world, 1);
    assert_eq!(status(&world, &key), UpdateStatus::RollingBack);
    let event = update(&world, &key).events.last().unwrap().message.clone();
    assert_eq!(event.as_deref(), Some("Latest failure: instance 1 exited."));
}

#[test]
fn the_latest_failure_is_named_not_the_highest_instance() {
    let mut world = running(3);
    let settings = UpdateSettings { max_failed_instances: 1, ..quick(3) };
    let key = started(&mut world, request(version(2), 3, settings));
    settle(&mut world);
    fail(&mut world, 2);
    fail(&mut world, 0);
    let event = update(&world, &key).events.last().unwrap().message.clone();
    assert_eq!(event.as_deref(), Some("Latest failure: instance 0 exited."));
}

#[test]
fn a_watch_goes_on_where_it_was_after_a_restart() {
    let mut world = running(1);
    let key = started(&mut world, request(version(2), 1, quick(1)));
    settle(&mut world);
    world.pass(600);
    world.restart(100, 2);
    world.pass(299);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    world.pass(1);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
}

#[test]
fn an_update_that_pauses_before_each_batch_pauses_once_for_each_however_often_the_scheduler_restarts() {
    let mut world = running(3);
    let strategy = UpdateStrategy::Batch { group_size: 1, autopause_after_batch: true };
    let key = started(&mut world, request(version(2), 3, UpdateSettings { strategy, ..quick(1) }));
    for epoch in 2..12 {
        settle(&mut world);
        world.restart(10, epoch);
        world.pass(1000);
        world.restart(10, epoch + 100);
        if status(&world, &key) == UpdateStatus::RollForwardPaused {
            control(&mut world, &key, UpdateControl::Resume);
        }
    }
    let pauses = statuses(&world, &key).into_iter().filter(|status| *status == "ROLL_FORWARD_PAUSED").count();
    assert_eq!((pauses, status(&world, &key)), (2, UpdateStatus::RolledForward));
}

#[test]
fn an_instance_that_needs_nothing_any_more_is_told_in_full_if_anything_was_told_before() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(2)));
    // Back before the old tasks were gone: they come again, and are right at once when that is looked at.
    control(&mut world, &key, UpdateControl::Pause);
    settle(&mut world);
    control(&mut world, &key, UpdateControl::Rollback);
    settle(&mut world);
    world.pass(2000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledBack);
    let expected = [
        (0, InstanceUpdating),
        (1, InstanceUpdating),
        (1, InstanceRollingBack),
        (0, InstanceRollingBack),
        (1, InstanceRolledBack),
        (0, InstanceRolledBack),
    ];
    let mut told = actions(&world, &key);
    told[4..].sort_by_key(|(instance, _)| std::cmp::Reverse(*instance));
    assert_eq!(told, expected);
    // And at once: forward is done for instance 0, which a rollback finds as it was before only after its kill; instance 1 was told
    // nothing of and stays untold.
    let key = started(&mut world, request(version(3), 2, quick(1)));
    control(&mut world, &key, UpdateControl::Rollback);
    settle(&mut world);
    world.pass(2000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledBack);
    assert_eq!(actions(&world, &key), [(0, InstanceUpdating), (0, InstanceRollingBack), (0, InstanceRolledBack)]);
}

#[test]
fn missing_pulses_are_noticed_at_whatever_happens_to_an_instance_of_the_update() {
    let mut world = running(3);
    let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), ..quick(1) };
    let key = started(&mut world, request(version(2), 3, settings));
    world.command(Command::PulseUpdate { key: key.clone() });
    world.pass(60_000);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward, "no timer looks for pulses");
    // Instance 2 was not taken yet.
    fail(&mut world, 2);
    assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
}

#[test]
fn a_coordinated_update_keeps_its_pulse_and_its_counts_over_a_restart() {
    let mut world = running(1);
    let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), max_per_instance_failures: 1, ..quick(1) };
    let key = started(&mut world, request(version(2), 1, settings));
    let pulse = |world: &mut World| world.command(Command::PulseUpdate { key: key.clone() });
    pulse(&mut world);
    settle(&mut world);
    // Long after its latest change of state, but not after its latest pulse.
    for _ in 0..5 {
        world.pass(900);
        pulse(&mut world);
        if status(&world, &key) == UpdateStatus::RollingForward && update(&world, &key).instance_events.len() == 1 {
            fail(&mut world, 0);
            break;
        }
    }
    world.restart(4000, 2);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    settle(&mut world);
    fail(&mut world, 0);
    assert_eq!(status(&world, &key), UpdateStatus::RollingBack, "the failure before the restart counts");
}

// ---- kills within a policy ----

fn strict() -> Settings {
    let mut settings = Settings {
        flapping_task_threshold: Duration::ZERO,
        sla_aware_kill_retry_min_delay: Duration::from_secs(10),
        sla_aware_kill_retry_max_delay: Duration::from_secs(10),
        ..settings()
    };
    settings.admission.sla_aware_kill_non_prod = true;
    settings.admission.min_required_instances_for_sla_check = 2;
    settings
}

fn with_policy(number: i32, policy: SlaPolicy) -> TaskConfig {
    TaskConfig { sla_policy: Some(policy), ..version(number) }
}

fn strict_world(policy: SlaPolicy, instances: i32) -> World {
    let mut world = World::with(strict());
    assert_eq!(world.create(with_policy(1, policy), instances).code, ReplyCode::Ok);
    settle(&mut world);
    world
}

fn sla_aware(group_size: i32) -> UpdateSettings {
    UpdateSettings { sla_aware: true, ..quick(group_size) }
}

fn killing(world: &World) -> Vec<u32> {
    let active = world.active(&job("web"));
    active.iter().filter(|task| task.status == TaskStatus::Killing).map(|task| task.instance).collect()
}

fn told(world: &World, key: &UpdateKey) -> Vec<(u32, UpdateAction, Option<String>)> {
    let told = |event: &InstanceUpdateEvent| (event.instance, event.action, event.message.clone());
    update(world, key).instance_events.iter().map(told).collect()
}

#[test]
fn an_sla_aware_update_kills_only_what_the_policy_allows_and_asks_again() {
    let policy = SlaPolicy::Count { count: 2, duration_secs: 30 };
    let mut world = strict_world(policy.clone(), 3);
    let key = started(&mut world, request(with_policy(2, policy), 3, sla_aware(3)));
    let says = |what: &str| Some(what.to_owned());
    assert_eq!(
        told(&world, &key),
        [0, 1, 2].map(|instance| (instance, InstanceUpdating, says("checking SLA"))),
        "nobody has been up for 30 s"
    );
    assert_eq!(killing(&world), NONE);
    world.pass(40_000);
    assert_eq!(killing(&world).len(), 1, "two others must be up");
    let first = killing(&world)[0];
    assert_eq!(told(&world, &key)[3..], [(first, InstanceUpdating, says("SLA check passed"))]);
    settle(&mut world);
    world.pass(29_000);
    assert_eq!(killing(&world), NONE, "the new one has not been up for 30 s");
    for _ in 0..20 {
        world.pass(10_000);
        settle(&mut world);
        assert!(killing(&world).len() <= 1);
    }
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(versions(&world), [(0, 2), (1, 2), (2, 2)]);
    let counters = world.view().counters;
    assert_eq!(counters[format!("updates_sla_kill_success_{}", job("web")).as_str()], 3);
    assert!(counters[format!("updates_sla_kill_attempt_{}", job("web")).as_str()] > 3);
}

#[test]
fn tasks_that_run_nowhere_are_killed_unasked_and_removals_ask_nobody() {
    let policy = SlaPolicy::Count { count: 5, duration_secs: 0 };
    let mut world = World::with(strict());
    world.create(with_policy(1, policy.clone()), 6);
    let key = started(&mut world, request(with_policy(2, policy.clone()), 6, sla_aware(6)));
    assert_eq!(versions(&world).len(), 6);
    assert!(versions(&world).iter().all(|(_, version)| *version == 2), "pending ones were replaced at once");
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    // Nobody has been up for an hour: what is changed waits, what is removed does not.
    let policy = SlaPolicy::Count { count: 1, duration_secs: 3600 };
    started(&mut world, request(with_policy(2, policy), 2, sla_aware(9)));
    assert_eq!(killing(&world), [2, 3, 4, 5]);
}

#[test]
fn a_pause_drops_kills_that_wait_and_a_restart_asks_anew() {
    let policy = SlaPolicy::Count { count: 1, duration_secs: 30 };
    let mut world = strict_world(policy.clone(), 2);
    let key = started(&mut world, request(with_policy(2, policy), 2, sla_aware(1)));
    assert_eq!(killing(&world), NONE);
    control(&mut world, &key, UpdateControl::Pause);
    world.pass(60_000);
    assert_eq!(killing(&world), NONE);
    control(&mut world, &key, UpdateControl::Resume);
    assert_eq!(killing(&world), [0], "by now it is allowed");
    let mut world = strict_world(SlaPolicy::Count { count: 1, duration_secs: 30 }, 2);
    let policy = SlaPolicy::Count { count: 1, duration_secs: 30 };
    started(&mut world, request(with_policy(2, policy), 2, sla_aware(1)));
    world.restart(40_000, 2);
    assert_eq!(killing(&world), [0]);
}

#[test]
fn a_coordinator_decides_when_the_policy_names_one() {
    let policy = SlaPolicy::Coordinator { coordinator_url: "http://c.example".into(), status_key: "drain".into() };
    let mut world = strict_world(policy.clone(), 2);
    let key = started(&mut world, request(with_policy(2, policy), 2, sla_aware(1)));
    let answer = |world: &mut World, answer: CoordinatorAnswer| {
        let question = world.questions.remove(0);
        assert_eq!(question.task.instance, 0);
        world.step(Input::CoordinatorAnswer { question: question.id, answer });
    };
    assert_eq!((world.questions.len(), killing(&world)), (1, vec![]));
    answer(&mut world, CoordinatorAnswer::Refused);
    assert_eq!(killing(&world), NONE);
    world.pass(10_000);
    answer(&mut world, CoordinatorAnswer::Error("no route".into()));
    world.pass(10_000);
    answer(&mut world, CoordinatorAnswer::Allowed);
    assert_eq!(killing(&world), [0]);
    assert_eq!(told(&world, &key).last().unwrap().2.as_deref(), Some("SLA check passed"));
    // An answer that comes after a pause does nothing.
    settle(&mut world);
    world.pass(1000);
    assert_eq!(world.questions.len(), 1, "instance 1 is next");
    control(&mut world, &key, UpdateControl::Pause);
    let question = world.questions.remove(0);
    world.step(Input::CoordinatorAnswer { question: question.id, answer: CoordinatorAnswer::Allowed });
    assert_eq!(killing(&world), NONE);
}

#[test]
fn a_yes_that_comes_after_the_update_has_turned_round_ends_nothing_that_is_right() {
    let policy = SlaPolicy::Coordinator { coordinator_url: "http://c.example".into(), status_key: "drain".into() };
    let mut world = strict_world(policy.clone(), 2);
    let key = started(&mut world, request(with_policy(2, policy), 2, sla_aware(2)));
    let answer = |world: &mut World| {
        let question = world.questions.remove(0);
        world.step(Input::CoordinatorAnswer { question: question.id, answer: CoordinatorAnswer::Allowed });
        question.task.instance
    };
    assert_eq!(answer(&mut world), 0);
    settle(&mut world);
    assert_eq!((versions(&world), world.questions.len()), (vec![(0, 2), (1, 1)], 1), "instance 1 is next");
    control(&mut world, &key, UpdateControl::Rollback);
    assert_eq!(status(&world, &key), UpdateStatus::RollingBack);
    // Instance 1 was asked about on the way forward, and on the way back it is as it should be.
    assert_eq!(answer(&mut world), 1);
    assert_eq!(killing(&world), NONE);
    world.pass(10_000);
    assert_eq!(answer(&mut world), 0);
    settle(&mut world);
    assert_eq!(versions(&world), [(0, 1), (1, 1)]);
}

#[test]
fn an_update_that_waits_for_a_pulse_waits_on_whatever_the_clock_shows_after_a_restart() {
    for back_ms in [0, 3_600_000] {
        let mut world = running(2);
        let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), ..quick(1) };
        let key = started(&mut world, request(version(2), 2, settings));
        world.command(Command::PulseUpdate { key: key.clone() });
        world.pass(10_000);
        settle(&mut world);
        assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
        world.restart(-back_ms, 2);
        control(&mut world, &key, UpdateControl::Pause);
        control(&mut world, &key, UpdateControl::Resume);
        assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse, "{back_ms}");
        world.command(Command::PulseUpdate { key: key.clone() });
        assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    }
}

#[test]
fn what_is_left_in_the_journal_of_an_update_that_is_gone_is_forgotten_at_the_start() {
    let mut world = running(2);
    let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), ..quick(1) };
    let key = started(&mut world, request(version(2), 2, settings));
    world.command(Command::PulseUpdate { key });
    settle(&mut world);
    let view = world.view();
    assert!(!view.update_progress.is_empty() && !view.update_pulses.is_empty());
    world.journal.retain(|(table, _), _| *table != scheduler::record::TABLE_UPDATES);
    world.journal.retain(|(table, _), _| *table != scheduler::record::TABLE_UPDATE_EVENTS);
    world.journal.retain(|(table, _), _| *table != scheduler::record::TABLE_INSTANCE_EVENTS);
    world.restart(1000, 2);
    let view = world.view();
    assert!(view.updates.is_empty() && view.update_progress.is_empty() && view.update_pulses.is_empty());
}

// ---- history ----

#[test]
fn ended_updates_are_forgotten_by_age_and_active_ones_never() {
    let interval = Duration::from_secs(60);
    let mut world = World::with(Settings {
        job_update_history_pruning_interval: interval,
        job_update_history_pruning_threshold: Duration::from_secs(3600),
        ..settings()
    });
    world.create(version(1), 1);
    settle(&mut world);
    let old = started(&mut world, request(version(2), 1, quick(1)));
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &old), UpdateStatus::RolledForward);
    let paused = started(&mut world, request(version(3), 1, quick(1)));
    control(&mut world, &paused, UpdateControl::Pause);
    world.pass(3_500_000);
    assert!(world.view().updates.contains_key(&old));
    world.pass(200_000);
    assert!(!world.view().updates.contains_key(&old));
    world.pass(100_000_000);
    assert!(world.view().updates.contains_key(&paused));
    assert_eq!(world.view().counters["job_updates_pruned"], 1);
    assert!(world.view().update_progress.is_empty() && world.view().update_pulses.is_empty());
}

#[test]
fn settings_of_no_time_at_all_do_not_keep_the_scheduler_busy() {
    let policy = SlaPolicy::Count { count: 1, duration_secs: 3600 };
    let mut world = World::with(Settings {
        job_update_history_pruning_interval: Duration::ZERO,
        sla_aware_kill_retry_min_delay: Duration::ZERO,
        sla_aware_kill_retry_max_delay: Duration::ZERO,
        ..strict()
    });
    world.create(with_policy(1, policy.clone()), 2);
    settle(&mut world);
    let key = started(&mut world, request(with_policy(2, policy), 2, sla_aware(2)));
    world.pass(10_000);
    let attempts = world.view().counters[format!("updates_sla_kill_attempt_{}", job("web")).as_str()];
    assert_eq!((attempts, status(&world, &key)), (22, UpdateStatus::RollingForward), "one a second for each instance");
}
