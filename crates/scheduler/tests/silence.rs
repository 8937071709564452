//! Tasks of which nothing is heard, and tasks that were given up and may run all the same.

mod common;

use std::time::Duration;

use common::*;
use engine::{Call, Event, Reason, StatusToken, StatusUpdate, TaskState};
use model::task::PartitionPolicy;
use model::{TaskConfig, TaskId, TaskStatus};
use scheduler::Settings;

const MINUTE_MS: u64 = 60_000;

/// Without questions on schedule.
fn quiet() -> World {
    let far = Duration::from_secs(366 * 86_400);
    World::with(Settings {
        reconciliation_initial_delay: far,
        reconciliation_explicit_interval: Some(far),
        reconciliation_implicit_interval: Some(far),
        ..settings()
    })
}

fn registered(world: &mut World, master: &str) {
    world.engine(Event::Registered { framework_id: Some("f-1".into()), master: Some(master.into()) });
}

/// Every task that was asked about by name since the last look.
fn asked(world: &mut World) -> Vec<TaskId> {
    let calls = world.take_calls().into_iter();
    let tasks = calls.filter_map(|call| if let Call::Reconcile { tasks } = call { Some(tasks) } else { None });
    tasks.flatten().map(|(id, _)| id).collect()
}

fn say(world: &mut World, id: &TaskId, state: TaskState, reason: Reason, token: Option<StatusToken>) {
    world.engine(Event::Status(StatusUpdate {
        task_id: id.clone(),
        state,
        reason: Some(reason),
        message: None,
        timestamp_ms: None,
        agent_id: Some("home".into()),
        token,
    }));
}

fn answer(world: &mut World, id: &TaskId, state: TaskState) {
    say(world, id, state, Reason::Reconciliation, None);
}

/// A task that was placed, and nothing else.
fn placed(world: &mut World) -> TaskId {
    world.create(service("web"), 1);
    world.offer("home", room(64.0));
    world.take_calls();
    world.active_one(&job("web"), 0).id.clone()
}

/// A running task whose agent went out of reach for too long: LOST, and replaced elsewhere.
fn replaced(world: &mut World) -> TaskId {
    let policy = Some(PartitionPolicy { reschedule: true, delay_secs: Some(60) });
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    world.status_because(&id, TaskState::Unreachable, Some(Reason::AgentRemoved), None);
    world.engine(Event::AgentLost("home".into()));
    world.pass(MINUTE_MS);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    world.offer("other", room(4.0));
    let replacement = world.active_one(&job("web"), 0).id.clone();
    world.status(&replacement, TaskState::Running);
    world.take_calls();
    id
}

// ---- silence ----

#[test]
fn a_launch_of_which_nothing_is_heard_is_asked_about_and_replaced_when_the_engine_never_got_it() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = placed(&mut world);
    world.pass(MINUTE_MS - 1);
    assert_eq!(asked(&mut world), []);
    world.pass(1);
    assert_eq!(asked(&mut world), std::slice::from_ref(&id));
    answer(&mut world, &id, TaskState::Lost);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert_eq!(
        world.active(&job("web")).len(),
        1,
        "the replacement, four minutes before the time of its state is over"
    );
}

#[test]
fn a_launch_that_nobody_says_anything_about_is_replaced_when_its_time_is_over() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = placed(&mut world);
    world.pass(5 * MINUTE_MS - 1);
    assert_eq!(world.task(&id).status, TaskStatus::Assigned);
    world.pass(1);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert!(world.take_kills().contains(&id), "should it run after all");
    assert_ne!(world.active_one(&job("web"), 0).id, id);
}

#[test]
fn a_task_that_starts_may_take_its_time_and_is_asked_about_now_and_then() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = placed(&mut world);
    world.status(&id, TaskState::Starting);
    world.take_calls();
    world.pass(MINUTE_MS);
    assert_eq!(asked(&mut world), std::slice::from_ref(&id));
    answer(&mut world, &id, TaskState::Starting);
    world.pass(10 * MINUTE_MS);
    assert_eq!(asked(&mut world), [id.clone(), id.clone()]);
    assert_eq!(world.task(&id).status, TaskStatus::Starting);
    world.status(&id, TaskState::Running);
    world.pass(20 * MINUTE_MS);
    assert_eq!(asked(&mut world), [], "a running task is left to the schedule");
}

#[test]
fn a_kill_that_was_lost_is_repeated_once_the_task_is_found_running() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = world.run_one(service("web"));
    let restart = scheduler::Command::RestartTasks { job: job("web"), instances: [0].into() };
    world.command(restart);
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
    world.pass(MINUTE_MS);
    assert_eq!(asked(&mut world), std::slice::from_ref(&id));
    answer(&mut world, &id, TaskState::Running);
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
}

#[test]
fn without_a_connection_nobody_is_asked() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = placed(&mut world);
    world.engine(Event::Disconnected);
    world.pass(2 * MINUTE_MS);
    assert_eq!(asked(&mut world), []);
    registered(&mut world, "m-1");
    assert_eq!(asked(&mut world), [id], "but at the next connection");
}

// ---- given up ----

#[test]
fn what_is_being_killed_is_killed_again_when_its_agent_is_heard_of_again() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = world.run_one(service("web"));
    world.kill(&job("web"), &[]);
    world.take_calls();
    world.offer("home", room(1.0));
    assert!(world.take_kills().is_empty(), "its agent was there all the time");
    world.pass(2 * MINUTE_MS);
    world.take_calls();
    world.offer("home", room(2.0));
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
    world.status(&id, TaskState::Killed);
    world.pass(2 * MINUTE_MS);
    world.offer("home", room(3.0));
    assert!(world.take_kills().is_empty());
}

#[test]
fn what_an_agent_that_is_heard_of_again_may_still_run_is_asked_about_at_once_and_killed() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = replaced(&mut world);
    world.offer("home", room(1.0));
    assert_eq!(asked(&mut world), std::slice::from_ref(&id));
    answer(&mut world, &id, TaskState::Running);
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
    // Another offer comes before the kill has arrived: no flood of questions.
    world.offer("home", room(2.0));
    assert_eq!(asked(&mut world), []);
    world.status(&id, TaskState::Killed);
    world.pass(MINUTE_MS);
    world.offer("home", room(3.0));
    assert_eq!(asked(&mut world), [], "it is known to have ended");
    assert_eq!(world.active(&job("web")).len(), 1);
}

#[test]
fn tasks_given_up_are_asked_about_ever_more_seldom_until_the_last_word() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = replaced(&mut world);
    let mut minutes = Vec::new();
    for minute in 1..=47 {
        world.pass(MINUTE_MS);
        if asked(&mut world).contains(&id) {
            minutes.push(minute);
        }
        answer(&mut world, &id, TaskState::Unreachable);
    }
    assert_eq!(minutes, [1, 3, 7, 15, 31, 47], "out of reach is no last word");
    assert_eq!(world.view().counters.get("scheduler_illegal_task_state_transitions"), None);
    answer(&mut world, &id, TaskState::Lost);
    world.pass(20 * MINUTE_MS);
    assert_eq!(asked(&mut world), []);
}

#[test]
fn a_restart_and_a_new_connection_forget_nothing_that_was_given_up() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = replaced(&mut world);
    world.restart(1000, 2);
    registered(&mut world, "m-1");
    assert!(asked(&mut world).contains(&id));
    world.engine(Event::Disconnected);
    registered(&mut world, "m-1");
    assert!(asked(&mut world).contains(&id));
    answer(&mut world, &id, TaskState::Running);
    assert!(world.take_kills().contains(&id));
}

#[test]
fn what_a_new_leader_guesses_is_no_last_word_and_it_is_asked_again_when_its_time_is_over() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = replaced(&mut world);
    world.engine(Event::Disconnected);
    registered(&mut world, "m-2");
    answer(&mut world, &id, TaskState::Lost);
    world.take_calls();
    // The agent comes back to the new leader, with room to offer: found within a round trip.
    world.offer("home", room(1.0));
    assert_eq!(asked(&mut world), std::slice::from_ref(&id));
    answer(&mut world, &id, TaskState::Lost);
    world.pass(9 * MINUTE_MS);
    world.take_calls();
    world.pass(MINUTE_MS);
    let calls = world.take_calls();
    let named = |call: &Call| matches!(call, Call::Reconcile { tasks } if tasks.iter().any(|(task, _)| *task == id));
    assert!(calls.iter().any(named), "{calls:?}");
    assert!(calls.contains(&Call::Reconcile { tasks: Vec::new() }), "and for all that nobody here knows");
}

#[test]
fn an_agents_own_word_is_believed_and_acknowledged_under_a_new_leader() {
    let mut world = quiet();
    registered(&mut world, "m-1");
    let id = world.run_one(service("web"));
    world.engine(Event::Disconnected);
    registered(&mut world, "m-2");
    world.take_calls();
    say(&mut world, &id, TaskState::Lost, Reason::Reconciliation, Some(StatusToken(vec![7])));
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert!(world.take_calls().iter().any(|call| matches!(call, Call::Acknowledge { task_id, .. } if *task_id == id)));
}

#[test]
fn many_that_were_given_up_do_not_hold_up_the_questions_about_the_others() {
    let mut world = World::with(Settings {
        reconciliation_explicit_batch_size: 10,
        reconciliation_explicit_batch_interval: Duration::from_secs(5),
        ..settings()
    });
    registered(&mut world, "m-1");
    world.create(TaskConfig { max_task_failures: 1, ..batch("lost") }, 40);
    world.offer("home", room(64.0));
    let lost: Vec<TaskId> = world.active(&job("lost")).iter().map(|task| task.id.clone()).collect();
    lost.iter().for_each(|id| world.status_because(id, TaskState::Lost, Some(Reason::AgentRemoved), None));
    world.kill(&job("lost"), &[]);
    world.create(service("web"), 20);
    world.offer("other", room(64.0));
    world.engine(Event::Disconnected);
    world.take_calls();
    registered(&mut world, "m-1");
    world.pass(15_000);
    let asked = asked(&mut world);
    let (given_up, others): (Vec<TaskId>, Vec<TaskId>) = asked.into_iter().partition(|id| lost.contains(id));
    assert_eq!((given_up.len(), others.len()), (20, 20), "by turns");
}
