//! How an update is foretold to go is how it goes: the same groups in the same order, whatever it adds, changes and removes, with
//! each strategy, and for some instances only.

mod common;

use std::collections::BTreeSet;

use common::dice::Dice;
use common::updates::*;
use common::*;
use engine::TaskState;
use model::update::{UpdateAction, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy, to_ranges};
use model::{InstanceId, TaskStatus, UpdateKey};
use scheduler::command::UpdateControl;
use scheduler::forecast::{UpdateForecast, forecast};
use scheduler::{Command, Principal, ReplyCode};

/// Instances that jobs of these tests have at most.
const MOST_INSTANCES: u64 = 12;
const WATCH_MS: u64 = 1000;

fn foretold(world: &World, request: &UpdateRequest) -> Option<UpdateForecast> {
    let command = Command::StartUpdate { request: Box::new(request.clone()), message: None };
    let principal = Principal { name: "jane".into() };
    let forecast = forecast(&world.view(), world.now.wall_ms, &principal, &command).expect("updates are foretold");
    assert_eq!(forecast.refusal, None);
    forecast.update
}

/// Some of the instances of a job, seldom none.
fn some(dice: &mut Dice) -> Vec<InstanceId> {
    let sides = 2 + dice.roll(3);
    (0..MOST_INSTANCES as InstanceId).filter(|_| dice.roll(sides) == 0).collect()
}

fn random_strategy(dice: &mut Dice) -> UpdateStrategy {
    let group_size = 1 + dice.roll(5) as i32;
    let autopause_after_batch = dice.roll(2) == 0;
    match dice.roll(3) {
        0 => UpdateStrategy::Queue { group_size },
        1 => UpdateStrategy::Batch { group_size, autopause_after_batch },
        _ => {
            let group_sizes = (0..1 + dice.roll(4)).map(|_| 1 + dice.roll(4) as i32).collect();
            UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch }
        }
    }
}

/// A job with instances of two versions, and with gaps.
fn random_job(dice: &mut Dice) -> World {
    let mut world = running(1 + dice.roll(MOST_INSTANCES) as i32);
    let present = world.active(&job("web")).len() as InstanceId;
    let newer: Vec<InstanceId> = some(dice).into_iter().filter(|instance| *instance < present).collect();
    if !newer.is_empty() {
        let settings = UpdateSettings { only_these_instances: to_ranges(newer), ..quick(MOST_INSTANCES as i32) };
        let key = started(&mut world, request(version(2), present as i32, settings));
        settle(&mut world);
        world.pass(WATCH_MS);
        assert_eq!(status(&world, &key), UpdateStatus::RolledForward);
    }
    let gaps = some(dice);
    if !gaps.is_empty() && dice.roll(2) == 0 {
        world.kill(&job("web"), &gaps);
        settle(&mut world);
    }
    world
}

/// Instances that were taken and are not done.
fn in_flight(world: &World, key: &UpdateKey) -> BTreeSet<InstanceId> {
    let mut open = BTreeSet::new();
    for (instance, action) in actions(world, key) {
        match action {
            UpdateAction::InstanceUpdating => assert!(open.insert(instance), "{instance} was taken twice"),
            UpdateAction::InstanceUpdated => assert!(open.remove(&instance), "{instance} was done and never taken"),
            other => panic!("{other:?} of instance {instance}"),
        }
    }
    open
}

/// Carries a group to its end: all its instances are done at the same moment. Starting and stopping take no time, and a group
/// without new tasks takes 1 ms.
fn finish_group(world: &mut World, key: &UpdateKey) {
    let group = in_flight(world, key);
    assert!(!group.is_empty(), "the update stands still");
    let desired: BTreeSet<InstanceId> =
        update(world, key).desired.iter().flat_map(|desired| model::update::from_ranges(&desired.instances)).collect();
    let has_new = group.iter().any(|instance| desired.contains(instance));
    for task in world.active(&job("web")) {
        if desired.contains(&task.instance) && task.status == TaskStatus::Killing {
            world.status(&task.id, TaskState::Killed);
        }
    }
    for agent in ["a", "b"] {
        world.offer(agent, room(64.0));
    }
    for task in world.active(&job("web")) {
        if task.status == TaskStatus::Assigned {
            world.status(&task.id, TaskState::Running);
        }
    }
    world.pass(if has_new { WATCH_MS } else { 1 });
    for task in world.active(&job("web")) {
        if group.contains(&task.instance) && task.status == TaskStatus::Killing {
            world.status(&task.id, TaskState::Killed);
        }
    }
}

/// Carries an update to its end; the groups in which its instances were taken, and how long it took, in ms.
fn carried_out(world: &mut World, key: &UpdateKey) -> (Vec<Vec<InstanceId>>, i64) {
    while status(world, key).is_active() {
        match status(world, key) {
            UpdateStatus::RollForwardPaused => drop(control(world, key, UpdateControl::Resume)),
            _ => finish_group(world, key),
        }
    }
    assert_eq!(status(world, key), UpdateStatus::RolledForward);
    let update = update(world, key);
    let taken = update.instance_events.iter().filter(|event| event.action == UpdateAction::InstanceUpdating);
    let taken: Vec<(i64, InstanceId)> = taken.map(|event| (event.timestamp_ms, event.instance)).collect();
    let groups = taken.chunk_by(|one, other| one.0 == other.0);
    let groups = groups.map(|group| group.iter().map(|(_, instance)| *instance).collect()).collect();
    (groups, update.last_modified_ms() - update.created_ms())
}

#[test]
fn an_update_goes_in_the_groups_that_were_foretold() {
    // Of each strategy: updates of several groups, with instances added, changed and removed, of some instances only.
    let mut seen = [[0; 5]; 3];
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let mut world = random_job(&mut dice);
        let strategy = random_strategy(&mut dice);
        let before: BTreeSet<InstanceId> = world.active(&job("web")).iter().map(|task| task.instance).collect();
        let count = 1 + dice.roll(MOST_INSTANCES) as u32;
        let mut only = if dice.roll(3) == 0 { some(&mut dice) } else { Vec::new() };
        only.retain(|instance| *instance < count || before.contains(instance));
        let is_scoped = !only.is_empty();
        let settings = UpdateSettings { strategy, only_these_instances: to_ranges(only), ..quick(1) };
        let wanted = request(version(2), count as i32, settings);
        let Some(foretold) = foretold(&world, &wanted) else {
            let reply = start(&mut world, wanted);
            assert_eq!(reply.code, ReplyCode::Ok);
            assert!(reply.messages[0].contains("nothing to do"), "seed {seed}: {reply:?}");
            continue;
        };
        let strategy = wanted.settings.strategy.clone();
        let key = started(&mut world, wanted);
        let (groups, duration_ms) = carried_out(&mut world, &key);
        assert_eq!(foretold.groups, groups, "seed {seed}, {strategy:?}");
        let update = update(&world, &key);
        assert_eq!((&foretold.update.initial, &foretold.update.desired), (&update.initial, &update.desired));
        let after: BTreeSet<InstanceId> = world.active(&job("web")).iter().map(|task| task.instance).collect();
        let is_new = |instance: &InstanceId| after.contains(instance);
        let of_removed_only = groups.iter().filter(|group| !group.iter().any(is_new)).count() as i64;
        assert_eq!(foretold.least_duration_ms, duration_ms - of_removed_only, "seed {seed}, {strategy:?}");
        let of_strategy = &mut seen[match strategy {
            UpdateStrategy::Queue { .. } => 0,
            UpdateStrategy::Batch { .. } => 1,
            UpdateStrategy::VariableBatch { .. } => 2,
        }];
        let instances: Vec<InstanceId> = groups.iter().flatten().copied().collect();
        let changes = instances.iter().any(|instance| before.contains(instance) && after.contains(instance));
        let happened =
            [groups.len() > 2, after.difference(&before).count() > 0, changes, before.difference(&after).count() > 0];
        for (count, happened) in of_strategy.iter_mut().zip(happened.into_iter().chain([is_scoped])) {
            *count += u32::from(happened);
        }
    }
    assert!(seen.iter().flatten().all(|count| *count >= 5), "too little was tried: {seen:?}");
}
