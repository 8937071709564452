//! What operators ask for: forced transitions, pruning, reconciliation at once, and the restoration of backups. After every
//! step the journal's content is compared with the state, so that a restoration is one group that says everything.

mod common;

use std::collections::BTreeSet;

use common::*;
use engine::{Call, TaskState};
use model::{Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::Outcome;
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::{Command, Input, Principal, Reply, ReplyCode, RequestId, Scheduler};

fn admin(world: &mut World, command: AdminCommand) -> Reply {
    world.command(Command::Admin(command))
}

fn force(world: &mut World, id: &TaskId, status: TaskStatus) -> Reply {
    admin(world, AdminCommand::ForceTaskState { task: id.clone(), status })
}

/// A backup of what the world's journal holds now.
fn backup(world: &World) -> Staged {
    let mut staging = Staging::default();
    Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    staging.finish().unwrap()
}

fn restore(world: &mut World, staged: &Staged, later: LaterTasks) -> Reply {
    admin(world, AdminCommand::Restore { staged: staged.clone(), later })
}

#[test]
fn a_forced_transition_goes_by_the_table_and_names_the_operator() {
    let mut world = World::new();
    let id = world.run_one(service("s"));
    let reply = force(&mut world, &id, TaskStatus::Lost);
    assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 0));
    let task = world.task(&id);
    let event = task.events.last().unwrap();
    assert_eq!((event.status, event.message.as_deref()), (TaskStatus::Lost, Some("Transition forced by jane")));
    assert_eq!(world.active_one(&job("s"), 0).ancestor.as_ref(), Some(&id));
}

#[test]
fn a_forced_transition_that_may_not_be_is_answered_ok_and_changes_nothing() {
    let mut world = World::new();
    world.create(batch("b"), 1);
    let pending = world.active_one(&job("b"), 0).id.clone();
    let before = world.journal.clone();
    for status in [TaskStatus::Assigned, TaskStatus::Running, TaskStatus::Lost, TaskStatus::Pending, TaskStatus::Init] {
        let reply = force(&mut world, &pending, status);
        assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 1), "{status}");
    }
    for status in TaskStatus::ALL {
        let reply = force(&mut world, &TaskId("nobody".into()), status);
        assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 1), "{status}");
    }
    assert_eq!(world.journal, before);
    assert_eq!(world.take_kills(), []);
}

#[test]
fn pruning_forgets_ended_tasks_and_refuses_others_as_a_whole() {
    let mut world = World::new();
    let ended = world.run_one(batch("a"));
    world.status(&ended, TaskState::Finished);
    let running = world.run_one(batch("b"));
    let before = world.journal.clone();
    let reply = admin(&mut world, AdminCommand::PruneTasks { tasks: vec![ended.clone(), running.clone()] });
    assert_eq!(reply.code, ReplyCode::Error);
    assert_eq!(world.journal, before);
    let unknown = TaskId("nobody".into());
    let reply = admin(&mut world, AdminCommand::PruneTasks { tasks: vec![unknown, ended.clone(), ended.clone()] });
    assert_eq!((reply.code, reply.outcome), (ReplyCode::Ok, Outcome::Tasks(1)));
    assert_eq!(world.view().tasks.keys().collect::<Vec<_>>(), [&running]);
    assert_eq!(world.view().counters["tasks_pruned"], 1);
}

#[test]
fn reconciliation_begins_at_once_in_batches_of_the_asked_size() {
    let mut world = World::new();
    world.create(service("s"), 5);
    world.offer("home", room(64.0));
    world.take_calls();
    for wrong in [0, -1, i32::MIN] {
        let reply = admin(&mut world, AdminCommand::ReconcileExplicitly { batch_size: Some(wrong) });
        assert_eq!(reply.code, ReplyCode::InvalidRequest);
    }
    assert_eq!(world.take_calls(), []);
    assert_eq!(admin(&mut world, AdminCommand::ReconcileExplicitly { batch_size: Some(2) }).code, ReplyCode::Ok);
    let sizes = |calls: Vec<Call>| -> Vec<usize> {
        let asked = calls.into_iter().filter_map(|call| match call {
            Call::Reconcile { tasks } => Some(tasks.len()),
            _ => None,
        });
        asked.collect()
    };
    assert_eq!(sizes(world.take_calls()), [2, 2, 1]);
    assert_eq!(admin(&mut world, AdminCommand::ReconcileExplicitly { batch_size: None }).code, ReplyCode::Ok);
    assert_eq!(sizes(world.take_calls()), [5]);
    assert_eq!(admin(&mut world, AdminCommand::ReconcileImplicitly).code, ReplyCode::Ok);
    assert_eq!(sizes(world.take_calls()), [0]);
    world.engine(engine::Event::Disconnected);
    let reply = admin(&mut world, AdminCommand::ReconcileImplicitly);
    assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 1));
    assert!(sizes(world.take_calls()).is_empty());
}

#[test]
fn a_restored_task_that_still_runs_is_adopted_as_it_is_now() {
    let mut world = World::new();
    world.create(service("s"), 1);
    world.offer("home", room(64.0));
    let id = world.active_one(&job("s"), 0).id.clone();
    let staged = backup(&world);
    world.status(&id, TaskState::Starting);
    world.status(&id, TaskState::Running);
    world.take_calls();
    let reply = restore(&mut world, &staged, LaterTasks::Kill);
    assert_eq!(reply.code, ReplyCode::Ok, "{:?}", reply.messages);
    assert!(reply.messages[0].contains("1 tasks still run and were adopted"), "{:?}", reply.messages);
    assert_eq!(world.task(&id).status, TaskStatus::Running);
    let calls = world.take_calls();
    assert!(!calls.iter().any(|call| matches!(call, Call::Kill { .. } | Call::Accept { .. })), "{calls:?}");
    assert!(calls.iter().any(|call| matches!(call, Call::Reconcile { tasks } if tasks.len() == 1)), "{calls:?}");
}

#[test]
fn a_job_that_was_killed_by_mistake_comes_back() {
    let mut world = World::new();
    let id = world.run_one(service("s"));
    let staged = backup(&world);
    world.kill(&job("s"), &[]);
    world.take_kills();
    // One that is being killed counts as ended.
    let being_killed = restore(&mut world, &staged, LaterTasks::Keep);
    assert!(being_killed.messages[0].contains("new ones take their place"), "{:?}", being_killed.messages);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert!(world.take_kills().contains(&id));
    let anew = world.active_one(&job("s"), 0);
    assert_eq!((anew.status, anew.ancestor.as_ref()), (TaskStatus::Pending, Some(&id)));
    // What the engine says of the old one changes nothing.
    world.status(&id, TaskState::Killed);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    world.offer("home", room(64.0));
    assert_eq!(world.active_one(&job("s"), 0).status, TaskStatus::Assigned);
}

#[test]
fn a_batch_task_that_finished_since_is_not_run_again_and_a_killed_one_is() {
    let mut world = World::new();
    let done = world.run_one(batch("done"));
    let killed = world.run_one(batch("killed"));
    let staged = backup(&world);
    world.status(&done, TaskState::Finished);
    world.kill(&job("killed"), &[]);
    world.status(&killed, TaskState::Killed);
    restore(&mut world, &staged, LaterTasks::Keep);
    assert_eq!(world.task(&done).status, TaskStatus::Finished);
    assert_eq!(world.active(&job("done")), []);
    assert_eq!(world.task(&killed).status, TaskStatus::Killed);
    assert_eq!(world.active_one(&job("killed"), 0).ancestor.as_ref(), Some(&killed));
}

#[test]
fn a_task_that_was_not_placed_yet_never_runs_under_its_old_id() {
    let mut world = World::new();
    world.create(batch("b"), 1);
    let id = world.active_one(&job("b"), 0).id.clone();
    let staged = backup(&world);
    world.offer("home", room(64.0));
    world.status(&id, TaskState::Failed);
    admin(&mut world, AdminCommand::PruneTasks { tasks: vec![id.clone()] });
    restore(&mut world, &staged, LaterTasks::Kill);
    let anew = world.active_one(&job("b"), 0);
    assert_ne!(anew.id, id);
    assert!(!world.view().tasks.contains_key(&id));
    // The world itself fails when an id is launched twice.
    world.offer("home", room(64.0));
    assert_eq!(world.active_one(&job("b"), 0).status, TaskStatus::Assigned);
}

#[test]
fn a_task_nobody_knows_now_is_asked_about_and_replaced_when_it_is_gone() {
    let mut world = World::new();
    let id = world.run_one(service("s"));
    let staged = backup(&world);
    world.status(&id, TaskState::Finished);
    admin(&mut world, AdminCommand::PruneTasks { tasks: vec![id.clone()] });
    world.kill(&job("s"), &[]);
    assert_eq!(world.view().tasks.len(), 0);
    world.take_calls();
    restore(&mut world, &staged, LaterTasks::Keep);
    assert_eq!(world.task(&id).status, TaskStatus::Running);
    let asked = |call: &Call| matches!(call, Call::Reconcile { tasks } if tasks.iter().any(|(task, _)| *task == id));
    assert!(world.take_calls().iter().any(asked));
    world.status(&id, TaskState::Lost);
    assert_eq!(world.active_one(&job("s"), 0).ancestor.as_ref(), Some(&id));
}

#[test]
fn later_tasks_are_kept_and_keep_their_instances_or_are_killed_as_asked() {
    let mut world = World::new();
    let old = world.run_one(service("s"));
    let staged = backup(&world);
    world.status(&old, TaskState::Failed);
    world.pass(120_000);
    world.offer("home", room(64.0));
    let successor = world.active_one(&job("s"), 0).id.clone();
    let other = world.run_one(service("other"));

    let reply = restore(&mut world, &staged, LaterTasks::Keep);
    assert!(
        reply.messages.iter().any(|message| message.contains("2 tasks were created after the backup and are kept"))
    );
    assert_eq!(world.active_one(&job("s"), 0).id, successor);
    assert_eq!(world.task(&other).status, TaskStatus::Running);
    assert_eq!(world.take_kills(), []);

    let reply = restore(&mut world, &staged, LaterTasks::Kill);
    assert!(reply.messages.iter().any(|message| message.contains("are killed") && message.contains(other.as_str())));
    assert_eq!(world.take_kills().into_iter().collect::<BTreeSet<_>>(), [successor, other.clone()].into());
    assert_eq!(world.active(&job("other")), []);
    assert_eq!(world.active_one(&job("s"), 0).ancestor.as_ref(), Some(&old));
    // The order to end it was lost: as soon as it is heard of, it is ordered again.
    world.status(&other, TaskState::Running);
    assert_eq!(world.take_kills(), [other]);
}

#[test]
fn what_is_known_of_runs_goes_on_failures_and_what_ended_later() {
    let mut world = World::new();
    let config = TaskConfig { max_task_failures: 5, ..batch("tries") };
    let first = world.run_one(config);
    world.status(&first, TaskState::Failed);
    let second = world.active_one(&job("tries"), 0).id.clone();
    assert_eq!(world.task(&second).failure_count, 1);
    world.offer("home", room(64.0));
    world.status(&second, TaskState::Running);
    let staged = backup(&world);
    world.kill(&job("tries"), &[]);
    world.status(&second, TaskState::Killed);
    let later = world.run_one(batch("later"));
    world.status(&later, TaskState::Finished);
    restore(&mut world, &staged, LaterTasks::Keep);
    assert_eq!(world.task(&later).status, TaskStatus::Finished, "what ended since stays in the history");
    let anew = world.active_one(&job("tries"), 0);
    assert_ne!(anew.id, second);
    assert_eq!(anew.failure_count, 1, "it is no first try");
}

#[test]
fn everything_else_becomes_what_it_was() {
    let mut world = World::new();
    let quota = Resources { ports: 0, ..room(10.0) };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    world.offer("first", room(1.0));
    let staged = backup(&world);
    world.command(Command::SetQuota { role: "www-data".into(), quota: Resources { disk_mb: 1, ..quota } });
    world.command(Command::SetQuota { role: "later".into(), quota });
    world.offer("second", room(1.0));
    restore(&mut world, &staged, LaterTasks::Kill);
    let view = world.view();
    assert_eq!(view.quotas.iter().collect::<Vec<_>>(), [(&"www-data".to_owned(), &quota)]);
    assert_eq!(view.hosts.keys().collect::<Vec<_>>(), ["first.example"]);
    assert!(world.outstanding.is_empty(), "offers that are not known any more go back");
}

#[test]
fn configurations_of_a_backup_get_numbers_that_were_never_given() {
    // The world fails when a number is given to two configurations.
    let mut world = World::new();
    let first = world.run_one(service("s"));
    let staged = backup(&world);
    world.kill(&job("s"), &[]);
    world.status(&first, TaskState::Killed);
    admin(&mut world, AdminCommand::PruneTasks { tasks: vec![first] });
    for number in 0..5 {
        world.create(TaskConfig { priority: number, ..service(&format!("later{number}")) }, 2);
    }
    restore(&mut world, &staged, LaterTasks::Kill);
    world.create(service("afterwards"), 1);
    assert_eq!(world.view().configs.len(), 2);
}

#[test]
fn a_restored_state_is_what_a_restart_finds() {
    let mut world = World::new();
    let kept = world.run_one(service("kept"));
    let killed = world.run_one(service("killed"));
    let staged = backup(&world);
    world.kill(&job("killed"), &[]);
    world.status(&killed, TaskState::Killed);
    world.run_one(service("later"));
    restore(&mut world, &staged, LaterTasks::Kill);
    let before = world.view();
    world.restart(1000, 2);
    let after = world.view();
    assert_eq!(before.tasks, after.tasks);
    assert_eq!(world.task(&kept).status, TaskStatus::Running);
    world.offer("home", room(64.0));
    assert_eq!(world.active_one(&job("killed"), 0).status, TaskStatus::Assigned);
}

#[test]
fn tasks_deleted_from_a_staged_backup_are_not_restored() {
    let mut world = World::new();
    let one = world.run_one(service("one"));
    let two = world.run_one(service("two"));
    let staged = backup(&world).without(&[one.clone(), TaskId("nobody".into())]);
    assert_eq!(staged.view().tasks.keys().collect::<Vec<_>>(), [&two]);
    assert_eq!(staged.view().jobs().collect::<Vec<_>>(), [&job("two")]);
    restore(&mut world, &staged, LaterTasks::Kill);
    assert_eq!(world.view().tasks.keys().collect::<Vec<_>>(), [&two]);
    assert_eq!(world.take_kills(), [one]);
}

#[test]
fn a_backup_of_another_framework_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let registered = |id: &str| engine::Event::Registered { framework_id: Some(id.into()), master: None };
    world.engine(registered("theirs"));
    world.run_one(service("s"));
    let staged = backup(&world);
    let mut other = World::new();
    other.engine(registered("ours"));
    other.run_one(service("mine"));
    let before = other.journal.clone();
    let reply = restore(&mut other, &staged, LaterTasks::Kill);
    assert_eq!(reply.code, ReplyCode::Error);
    assert!(reply.messages[0].contains("journal restore"), "{:?}", reply.messages);
    assert_eq!(other.journal, before);
}

#[test]
fn a_backup_that_refers_to_what_it_lacks_is_refused() {
    let mut world = World::new();
    world.run_one(service("s"));
    let mut staging = Staging::default();
    let records = Scheduler::records(&world.view());
    let tasks = records.filter(|record| record.table != scheduler::record::TABLE_CONFIGS);
    tasks.for_each(|record| staging.apply(&record).unwrap());
    assert!(staging.finish().unwrap_err().contains("refers to configuration"));
}

#[test]
fn an_update_that_ran_at_the_backup_goes_on_after_the_restoration() {
    let mut world = World::new();
    let id = world.run_one(service("s"));
    let request = model::update::UpdateRequest {
        task: TaskConfig { priority: 7, ..service("s") },
        instance_count: 1,
        settings: Default::default(),
        metadata: Default::default(),
    };
    let started = world.command(Command::StartUpdate { request: Box::new(request), message: None });
    assert_eq!(started.code, ReplyCode::Ok, "{:?}", started.messages);
    let staged = backup(&world);
    let key = world.view().updates.keys().next().unwrap().clone();
    let events = world.view().updates[&key].clone();
    world.status(&id, TaskState::Killed);
    world.pass(60_000);
    restore(&mut world, &staged, LaterTasks::Kill);
    let update = world.view().updates[&key].clone();
    assert!(update.status().is_active());
    assert!(update.events.starts_with(&events.events));
    world.pass(60_000);
    world.offer("home", room(64.0));
    assert_eq!(world.active_one(&job("s"), 0).config.priority, 7, "the update went on");
}

#[test]
fn a_restoration_is_refused_while_the_journal_is_short_of_room() {
    let mut world = World::new();
    world.run_one(service("s"));
    let staged = backup(&world);
    world.step(Input::SpaceLow(true));
    assert_eq!(restore(&mut world, &staged, LaterTasks::Keep).code, ReplyCode::ErrorTransient);
    world.step(Input::SpaceLow(false));
    assert_eq!(restore(&mut world, &staged, LaterTasks::Keep).code, ReplyCode::Ok);
}

#[test]
fn the_same_restoration_gives_the_same_records_and_effects() {
    let run = || {
        let mut world = World::new();
        let ids: Vec<TaskId> = ["a", "b", "c"].into_iter().map(|name| world.run_one(service(name))).collect();
        let staged = backup(&world);
        ids.iter().for_each(|id| world.status(id, TaskState::Failed));
        world.create(batch("later"), 3);
        let command = AdminCommand::Restore { staged, later: LaterTasks::Kill };
        let principal = Principal { name: "jane".into() };
        let input = Input::command(RequestId(9), principal, Command::Admin(command));
        let output = world.scheduler.step(world.now, input);
        (output.records, output.effects)
    };
    assert_eq!(run(), run());
}
