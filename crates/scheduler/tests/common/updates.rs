//! What tests of updates share: a job `web`, its versions, and the commands of users.

use std::sync::Arc;

use engine::TaskState;
use model::update::{Update, UpdateAction, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy};
use model::{InstanceId, TaskConfig, TaskStatus, UpdateKey};
use scheduler::command::{Outcome, UpdateControl};
use scheduler::{Command, Reply, ReplyCode, Settings};

use super::{World, job, room, service, settings};

pub fn version(version: i32) -> TaskConfig {
    TaskConfig { priority: version, ..service("web") }
}

pub fn quick(group_size: i32) -> UpdateSettings {
    UpdateSettings {
        strategy: UpdateStrategy::Queue { group_size },
        min_wait_in_running_ms: 1000,
        ..UpdateSettings::default()
    }
}

/// A world with much room, whose job `web` runs that many instances of version 1.
pub fn running(instances: i32) -> World {
    let mut world = World::with(Settings { flapping_task_threshold: std::time::Duration::ZERO, ..settings() });
    world.create(version(1), instances);
    settle(&mut world);
    world
}

/// Brings every active task that can get there to RUNNING, and confirms every kill.
pub fn settle(world: &mut World) {
    for _ in 0..20 {
        for agent in ["a", "b"] {
            world.offer(agent, room(64.0));
        }
        for task in world.active(&job("web")) {
            match task.status {
                TaskStatus::Assigned | TaskStatus::Starting => world.status(&task.id, TaskState::Running),
                TaskStatus::Killing | TaskStatus::Restarting => world.status(&task.id, TaskState::Killed),
                _ => {}
            }
        }
    }
}

pub fn request(task: TaskConfig, count: i32, settings: UpdateSettings) -> UpdateRequest {
    UpdateRequest { task, instance_count: count, settings, metadata: Default::default() }
}

pub fn start(world: &mut World, request: UpdateRequest) -> Reply {
    world.command(Command::StartUpdate { request: Box::new(request), message: Some("go".into()) })
}

pub fn started(world: &mut World, request: UpdateRequest) -> UpdateKey {
    let reply = start(world, request);
    assert_eq!(reply.code, ReplyCode::Ok, "{:?}", reply.messages);
    let Outcome::Update(update) = reply.outcome else { panic!("no update started: {:?}", reply.messages) };
    update.key.clone()
}

pub fn control(world: &mut World, key: &UpdateKey, action: UpdateControl) -> Reply {
    world.command(Command::ControlUpdate { key: key.clone(), action, message: None })
}

pub fn update(world: &World, key: &UpdateKey) -> Arc<Update> {
    world.view().updates[key].clone()
}

pub fn status(world: &World, key: &UpdateKey) -> UpdateStatus {
    update(world, key).status()
}

pub fn statuses(world: &World, key: &UpdateKey) -> Vec<&'static str> {
    update(world, key).events.iter().map(|event| event.status.name()).collect()
}

pub fn actions(world: &World, key: &UpdateKey) -> Vec<(InstanceId, UpdateAction)> {
    update(world, key).instance_events.iter().map(|event| (event.instance, event.action)).collect()
}

pub fn versions(world: &World) -> Vec<(InstanceId, i32)> {
    world.active(&job("web")).iter().map(|task| (task.instance, task.config.priority)).collect()
}
