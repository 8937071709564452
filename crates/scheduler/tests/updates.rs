//! Updates: what they replace and in which order, when they succeed, fail and roll back, what users may ask of them, and what
//! a restart leaves of them.

mod common;

use common::updates::*;
use common::*;
use engine::TaskState;
use model::update::{InstanceRange, UpdateAction, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy};
use model::{TaskConfig, TaskStatus, UpdateKey};
use scheduler::command::{Outcome, UpdateControl};
use scheduler::{Command, Input, ReplyCode};

#[test]
fn an_update_replaces_one_instance_after_the_other_and_watches_each() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    assert_eq!(
        actions(&world, &key),
        [(0, UpdateAction::InstanceUpdating)],
        "the first step is done before the answer"
    );
    let first = world.active_one(&job("web"), 0);
    assert_eq!(first.status, TaskStatus::Killing);
    assert_eq!(
        first.events.last().unwrap().message.as_deref(),
        Some(format!("Killed for job update {}", key.id).as_str())
    );
    settle(&mut world);
    assert_eq!(versions(&world), [(0, 2), (1, 1)]);
    world.pass(999);
    assert_eq!(actions(&world, &key).len(), 1);
    world.pass(1);
    use UpdateAction::*;
    assert_eq!(actions(&world, &key)[1..], [(0, InstanceUpdated), (1, InstanceUpdating)]);
    settle(&mut world);
    world.pass(1000);
    assert_eq!(statuses(&world, &key), ["ROLLING_FORWARD", "ROLLED_FORWARD"]);
    assert_eq!(versions(&world), [(0, 2), (1, 2)]);
    let first_event = &update(&world, &key).events[0];
    assert_eq!((first_event.user.as_deref(), first_event.message.as_deref()), (Some("jane"), Some("go")));
}

#[test]
fn while_the_journal_is_short_of_room_an_update_goes_no_further_and_then_goes_on() {
    let mut world = running(4);
    let key = started(&mut world, request(version(2), 5, quick(2)));
    settle(&mut world);
    // Instance 4 is new and runs, instance 0 was replaced and runs.
    assert_eq!(versions(&world), [(0, 2), (1, 1), (2, 1), (3, 1), (4, 2)]);
    world.step(Input::SpaceLow(true));
    world.pass(1000);
    use UpdateAction::*;
    let done = [(4, InstanceUpdating), (0, InstanceUpdating), (4, InstanceUpdated), (0, InstanceUpdated)];
    assert_eq!(actions(&world, &key), done, "what runs is done, and nothing is taken");
    settle(&mut world);
    world.pass(600_000);
    assert_eq!(versions(&world), [(0, 2), (1, 1), (2, 1), (3, 1), (4, 2)]);
    assert!(world.view().space_low);
    world.step(Input::SpaceLow(false));
    for _ in 0..3 {
        settle(&mut world);
        world.pass(1000);
    }
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(versions(&world), [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2)]);
}

#[test]
fn an_instance_whose_old_task_is_gone_gets_its_new_one_when_the_journal_has_room() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    let old = world.active_one(&job("web"), 0);
    world.step(Input::SpaceLow(true));
    world.status(&old.id, TaskState::Killed);
    assert_eq!(versions(&world), [(1, 1)], "its end is told, and nothing is created");
    world.step(Input::SpaceLow(true));
    world.step(Input::SpaceLow(false));
    assert_eq!(versions(&world), [(0, 2), (1, 1)]);
    settle(&mut world);
    world.pass(1000);
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
}

#[test]
fn instances_that_are_to_go_are_killed_however_short_of_room_the_journal_is() {
    let mut world = running(2);
    let key = started(&mut world, request(version(1), 1, quick(1)));
    let last = world.active_one(&job("web"), 1);
    assert_eq!(last.status, TaskStatus::Killing);
    world.step(Input::SpaceLow(true));
    world.status(&last.id, TaskState::Killed);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
}

#[test]
fn an_update_that_pauses_after_each_batch_does_not_pause_for_want_of_room() {
    let mut world = running(2);
    let strategy = UpdateStrategy::Batch { group_size: 1, autopause_after_batch: true };
    let settings = UpdateSettings { strategy, block_if_no_pulses_after_ms: Some(60_000), ..quick(1) };
    let key = started(&mut world, request(version(2), 2, settings));
    world.step(Input::SpaceLow(true));
    assert_eq!(world.command(Command::PulseUpdate { key: key.clone() }).code, ReplyCode::Ok);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    world.step(Input::SpaceLow(false));
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RollForwardPaused);
    assert_eq!(versions(&world), [(0, 2), (1, 1)], "only its first batch was done");
}

#[test]
fn a_run_that_was_out_of_reach_is_watched_from_its_return() {
    let policy = model::task::PartitionPolicy { reschedule: false, delay_secs: None };
    let mut world = running(1);
    let task = TaskConfig { partition_policy: Some(policy), ..version(2) };
    let key = started(&mut world, request(task, 1, quick(1)));
    settle(&mut world);
    let id = world.active_one(&job("web"), 0).id.clone();
    world.pass(600);
    world.status(&id, TaskState::Unreachable);
    world.pass(600);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    world.status(&id, TaskState::Running);
    world.pass(999);
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    world.pass(1);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
}

#[test]
fn an_update_grows_and_shrinks_jobs_and_can_make_one() {
    let mut world = World::new();
    let key = started(&mut world, request(version(1), 3, quick(3)));
    assert_eq!(versions(&world).len(), 3);
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    let key = started(&mut world, request(version(1), 1, quick(1)));
    assert!(update(&world, &key).desired.is_none(), "it only removes");
    settle(&mut world);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(versions(&world), [(0, 1)]);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    assert_eq!(actions(&world, &key)[0].0, 1, "what is to be created comes first");
}

#[test]
fn a_failing_update_rolls_back_and_leaves_what_it_found() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    settle(&mut world);
    world.pass(1000);
    settle(&mut world);
    let second = world.active_one(&job("web"), 1);
    assert_eq!(second.config.priority, 2);
    world.status(&second.id, TaskState::Failed);
    assert_eq!(status(&world, &key), UpdateStatus::RollingBack);
    assert_eq!(
        update(&world, &key).events.last().unwrap().message.as_deref(),
        Some("Latest failure: instance 1 exited.")
    );
    for _ in 0..4 {
        settle(&mut world);
        world.pass(1000);
    }
    assert_eq!(statuses(&world, &key), ["ROLLING_FORWARD", "ROLLING_BACK", "ROLLED_BACK"]);
    assert_eq!(versions(&world), [(0, 1), (1, 1)]);
    use UpdateAction::*;
    assert_eq!(
        actions(&world, &key)[3..],
        [
            (1, InstanceUpdateFailed),
            (1, InstanceRollingBack),
            (1, InstanceRolledBack),
            (0, InstanceRollingBack),
            (0, InstanceRolledBack)
        ],
        "a rollback takes the reverse order"
    );
}

#[test]
fn a_rollback_passes_over_what_was_never_touched() {
    let mut world = running(2);
    world.pass(60_000);
    let untouched = world.active_one(&job("web"), 1).id.clone();
    let key = started(&mut world, request(version(2), 2, quick(1)));
    settle(&mut world);
    let failing = world.active_one(&job("web"), 0).id.clone();
    world.status(&failing, TaskState::Failed);
    for _ in 0..3 {
        settle(&mut world);
        world.pass(1000);
    }
    assert_eq!(status(&world, &key), UpdateStatus::RolledBack);
    assert!(actions(&world, &key).iter().all(|(instance, _)| *instance == 0), "{:?}", actions(&world, &key));
    assert_eq!(world.active_one(&job("web"), 1).id, untouched);
}

#[test]
fn without_rollback_a_failing_update_fails_and_leaves_things_as_they_are() {
    let mut world = running(2);
    let settings = UpdateSettings { rollback_on_failure: false, ..quick(1) };
    let key = started(&mut world, request(version(2), 2, settings));
    settle(&mut world);
    let id = world.active_one(&job("web"), 0).id.clone();
    world.status(&id, TaskState::Failed);
    assert_eq!(status(&world, &key), UpdateStatus::Failed);
    assert_eq!(versions(&world), [(0, 2), (1, 1)]);
}

#[test]
fn an_instance_may_fail_as_often_as_allowed_and_some_instances_may_fail_for_good() {
    let mut world = running(2);
    let settings = UpdateSettings { max_per_instance_failures: 1, max_failed_instances: 1, ..quick(1) };
    let key = started(&mut world, request(version(2), 2, settings));
    for expected in [UpdateAction::InstanceUpdating, UpdateAction::InstanceUpdateFailed] {
        settle(&mut world);
        let id = world.active_one(&job("web"), 0).id.clone();
        world.status(&id, TaskState::Failed);
        assert_eq!(actions(&world, &key).iter().rfind(|(instance, _)| *instance == 0), Some(&(0, expected)));
    }
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward, "one instance may fail");
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert!(actions(&world, &key).contains(&(1, UpdateAction::InstanceUpdated)));
}

#[test]
fn what_is_right_already_is_left_alone() {
    let mut world = running(3);
    let ids: Vec<_> = world.active(&job("web")).iter().map(|task| task.id.clone()).collect();
    let reply = start(&mut world, request(version(1), 3, quick(1)));
    assert_eq!((reply.code, reply.outcome), (ReplyCode::Ok, Outcome::None));
    assert!(reply.messages[0].contains("nothing to do"));
    let scope = vec![InstanceRange { first: 1, last: 1 }];
    let key = started(&mut world, request(version(2), 3, UpdateSettings { only_these_instances: scope, ..quick(1) }));
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(versions(&world), [(0, 1), (1, 2), (2, 1)]);
    assert_eq!(world.active_one(&job("web"), 0).id, ids[0]);
}

#[test]
fn refused_updates_say_why_and_change_nothing() {
    let mut world = running(2);
    let before = world.journal.clone();
    let refusal = |world: &mut World, request: UpdateRequest| {
        let reply = start(world, request);
        (reply.code, reply.messages.join(" "))
    };
    let good = request(version(2), 2, quick(1));
    let with = |settings: UpdateSettings| request(version(2), 2, settings);
    let batch = UpdateRequest { task: batch("web"), ..good.clone() };
    let scope =
        |first, last| with(UpdateSettings { only_these_instances: vec![InstanceRange { first, last }], ..quick(1) });
    let sizes = |group_sizes| UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch: false };
    let cases = [
        (batch, ReplyCode::InvalidRequest, "service"),
        (with(quick(0)), ReplyCode::InvalidRequest, "group size"),
        (with(UpdateSettings { strategy: sizes(vec![1, -1]), ..quick(1) }), ReplyCode::InvalidRequest, "group size"),
        (with(UpdateSettings { strategy: sizes(vec![]), ..quick(1) }), ReplyCode::InvalidRequest, "group size"),
        (
            with(UpdateSettings { max_per_instance_failures: -1, ..quick(1) }),
            ReplyCode::InvalidRequest,
            "maxPerInstance",
        ),
        (with(UpdateSettings { max_failed_instances: -1, ..quick(1) }), ReplyCode::InvalidRequest, "maxFailed"),
        (with(UpdateSettings { max_per_instance_failures: 20_000, ..quick(1) }), ReplyCode::InvalidRequest, "40000"),
        (with(UpdateSettings { min_wait_in_running_ms: -1, ..quick(1) }), ReplyCode::InvalidRequest, "minWait"),
        (
            with(UpdateSettings { block_if_no_pulses_after_ms: Some(-1), ..quick(1) }),
            ReplyCode::InvalidRequest,
            "blockIf",
        ),
        (with(UpdateSettings { sla_aware: true, ..quick(1) }), ReplyCode::InvalidRequest, "slaPolicy"),
        (scope(0, u32::MAX), ReplyCode::InvalidRequest, "neither running nor wanted"),
        (scope(2, 2), ReplyCode::InvalidRequest, "neither running nor wanted"),
        (request(version(2), 4001, quick(1)), ReplyCode::InvalidRequest, "4000"),
        (request(version(2), 0, quick(1)), ReplyCode::InvalidRequest, "at least one"),
        (request(version(2), -1, quick(1)), ReplyCode::Error, "negative"),
    ];
    for (request, code, word) in cases {
        let (refused, text) = refusal(&mut world, request.clone());
        assert_eq!(refused, code, "{request:?}");
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(world.journal, before);
    let message = Some("x".repeat(1025));
    let reply = world.command(Command::StartUpdate { request: Box::new(good.clone()), message });
    assert_eq!(reply.code, ReplyCode::Error);
    let key = started(&mut world, good.clone());
    let reply = start(&mut world, good);
    assert_eq!(reply.code, ReplyCode::InvalidRequest);
    assert!(matches!(reply.outcome, Outcome::Update(running) if running.key == key));
}

#[test]
fn while_a_job_is_updated_other_commands_are_refused() {
    let mut world = running(1);
    let key = started(&mut world, request(version(2), 1, quick(1)));
    for paused in [false, true] {
        if paused {
            assert_eq!(control(&mut world, &key, UpdateControl::Pause).code, ReplyCode::Ok);
        }
        assert_eq!(world.kill(&job("web"), &[]).code, ReplyCode::JobUpdatingError);
        assert_eq!(world.create(version(1), 1).code, ReplyCode::JobUpdatingError);
        let restart = Command::RestartTasks { job: job("web"), instances: [0].into() };
        assert_eq!(world.command(restart).code, ReplyCode::JobUpdatingError);
        let add = Command::AddInstances { job: job("web"), template: 0, count: 1 };
        assert_eq!(world.command(add).code, ReplyCode::JobUpdatingError);
    }
    assert_eq!(control(&mut world, &key, UpdateControl::Abort).code, ReplyCode::Ok);
    assert_eq!(world.kill(&job("web"), &[]).code, ReplyCode::Ok);
}

#[test]
fn a_paused_update_rests_and_a_resumed_one_goes_on() {
    let mut world = running(2);
    let key = started(&mut world, request(version(2), 2, quick(1)));
    control(&mut world, &key, UpdateControl::Pause);
    settle(&mut world);
    world.pass(100_000);
    assert_eq!(versions(&world), [(1, 1)], "the old task is gone, the new one not yet made");
    assert_eq!(control(&mut world, &key, UpdateControl::Pause).code, ReplyCode::Ok);
    assert_eq!(control(&mut world, &key, UpdateControl::Resume).code, ReplyCode::Ok);
    for _ in 0..3 {
        settle(&mut world);
        world.pass(1000);
    }
    assert_eq!(statuses(&world, &key), ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ROLLING_FORWARD", "ROLLED_FORWARD"]);
    let reply = control(&mut world, &key, UpdateControl::Resume);
    assert_eq!(reply.code, ReplyCode::InvalidRequest);
    assert!(reply.messages[0].contains("ROLLED_FORWARD"));
    let unknown = UpdateKey { id: "other".into(), ..key };
    assert_eq!(control(&mut world, &unknown, UpdateControl::Pause).code, ReplyCode::InvalidRequest);
}

#[test]
fn a_user_may_roll_back_and_abort() {
    let mut world = running(1);
    let key = started(&mut world, request(version(2), 1, quick(1)));
    settle(&mut world);
    assert_eq!(versions(&world), [(0, 2)]);
    assert_eq!(control(&mut world, &key, UpdateControl::Rollback).code, ReplyCode::Ok);
    settle(&mut world);
    assert_eq!(versions(&world), [(0, 1)]);
    control(&mut world, &key, UpdateControl::Abort);
    assert_eq!(statuses(&world, &key), ["ROLLING_FORWARD", "ROLLING_BACK", "ABORTED"]);
    assert_eq!(control(&mut world, &key, UpdateControl::Abort).code, ReplyCode::Ok, "aborted already");
    world.pass(100_000);
    assert_eq!(versions(&world), [(0, 1)]);
}

#[test]
fn an_update_survives_a_restart_of_the_scheduler_at_any_moment() {
    for moment in 0..6 {
        let mut world = running(2);
        let key = started(&mut world, request(version(2), 2, quick(1)));
        for step in 0..10 {
            if step == moment {
                world.restart(50, 2);
            }
            settle(&mut world);
            world.pass(600);
        }
        assert_eq!(statuses(&world, &key), ["ROLLING_FORWARD", "ROLLED_FORWARD"], "moment {moment}");
        assert_eq!(versions(&world), [(0, 2), (1, 2)]);
    }
}

#[test]
fn batches_wait_for_one_another_and_pause_in_between_but_not_at_the_end() {
    let mut world = running(4);
    let strategy = UpdateStrategy::VariableBatch { group_sizes: vec![1, 2], autopause_after_batch: true };
    let key = started(&mut world, request(version(2), 4, UpdateSettings { strategy, ..quick(1) }));
    let mut updated = Vec::new();
    for _ in 0..3 {
        settle(&mut world);
        world.pass(1000);
        settle(&mut world);
        world.pass(1000);
        updated.push(versions(&world).iter().filter(|(_, version)| *version == 2).count());
        if status(&world, &key) == UpdateStatus::RollForwardPaused {
            let last = update(&world, &key).events.last().unwrap().message.clone();
            assert_eq!(last.as_deref(), Some("Update auto paused"));
            control(&mut world, &key, UpdateControl::Resume);
        }
    }
    assert_eq!(updated, [1, 3, 4]);
    assert_eq!(statuses(&world, &key).iter().filter(|status| **status == "ROLL_FORWARD_PAUSED").count(), 2);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
}

#[test]
fn a_coordinated_update_waits_for_pulses() {
    let mut world = running(2);
    let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), ..quick(1) };
    let key = started(&mut world, request(version(2), 2, settings));
    assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
    assert!(actions(&world, &key).is_empty());
    // Resuming finds nothing to do: it waits already.
    assert_eq!(control(&mut world, &key, UpdateControl::Resume).code, ReplyCode::Ok);
    assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
    let pulse = |world: &mut World, key: &UpdateKey| world.command(Command::PulseUpdate { key: key.clone() }).outcome;
    assert_eq!(pulse(&mut world, &key), Outcome::Pulse { active: true });
    assert_eq!(status(&world, &key), UpdateStatus::RollingForward);
    world.pass(6000);
    settle(&mut world);
    assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse);
    for _ in 0..8 {
        pulse(&mut world, &key);
        settle(&mut world);
        world.pass(1000);
    }
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(pulse(&mut world, &key), Outcome::Pulse { active: false });
}

#[test]
fn after_a_restart_the_latest_pulse_of_a_coordinated_update_still_counts() {
    for (down_ms, expected) in [(4000, UpdateStatus::RollingForward), (6000, UpdateStatus::RollForwardAwaitingPulse)] {
        let mut world = running(1);
        let settings = UpdateSettings { block_if_no_pulses_after_ms: Some(5000), ..quick(1) };
        let key = started(&mut world, request(version(2), 1, settings));
        world.restart(1000, 2);
        assert_eq!(status(&world, &key), UpdateStatus::RollForwardAwaitingPulse, "no pulse came yet");
        world.command(Command::PulseUpdate { key: key.clone() });
        world.restart(down_ms, 3);
        assert_eq!(status(&world, &key), expected, "down for {down_ms} ms");
    }
}

#[test]
fn a_crashing_job_does_not_confuse_the_update_that_mends_it() {
    let mut world = running(1);
    let old = world.active_one(&job("web"), 0).id.clone();
    let key = started(&mut world, request(version(2), 1, quick(1)));
    // The old task fails by itself while it is being killed, and its kill is never confirmed as such.
    world.status(&old, TaskState::Failed);
    settle(&mut world);
    world.pass(1000);
    assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    assert_eq!(versions(&world), [(0, 2)]);
}

#[test]
fn ended_updates_are_forgotten_by_number_and_with_their_job() {
    let mut world = running(1);
    for number in 2..14 {
        let key = started(&mut world, request(version(number), 1, quick(1)));
        settle(&mut world);
        world.pass(1000);
        settle(&mut world);
        assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    }
    world.pass(15 * 60_000);
    assert_eq!(world.view().updates.len(), 10);
    world.kill(&job("web"), &[]);
    settle(&mut world);
    world.pass(3 * 86_400_000);
    assert_eq!(world.view().updates.len(), 0);
    assert!(world.view().tasks.is_empty() && world.view().configs.is_empty());
}
