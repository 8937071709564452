//! Living with others on one master: reconciliation, new leaders, idleness, roles, maintenance, and being deposed.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::*;
use engine::{Call, Event, Reason, StatusUpdate, TaskState};
use model::task::PartitionPolicy;
use model::{CpuMillis, Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::settings::SecondOffer;
use scheduler::{ReplyCode, Settings};

const MINUTE_MS: u64 = 60_000;

/// Settings as on a Mesos cluster.
fn shared() -> Settings {
    Settings {
        second_offer: SecondOffer::Adds,
        reconciliation_implicit_interval: Some(Duration::from_secs(3600)),
        reconciliation_explicit_batch_interval: Duration::from_secs(5),
        suppress_idle_after: Some(Duration::from_secs(30)),
        ..settings()
    }
}

fn registered(world: &mut World, master: &str) {
    world.engine(Event::Registered { framework_id: Some("f-1".into()), master: Some(master.into()) });
}

/// What was asked since the last look: the number of tasks named in each question.
fn questions(world: &mut World) -> Vec<usize> {
    let calls = world.take_calls().into_iter();
    calls.filter_map(|call| if let Call::Reconcile { tasks } = call { Some(tasks.len()) } else { None }).collect()
}

fn answer(world: &mut World, id: &TaskId, state: TaskState) {
    world.engine(Event::Status(StatusUpdate {
        task_id: id.clone(),
        state,
        reason: Some(Reason::Reconciliation),
        message: None,
        timestamp_ms: None,
        agent_id: Some("home".into()),
        token: None,
    }));
}

fn count(world: &World, name: &str) -> i64 {
    world.view().counters.get(name).copied().unwrap_or(0)
}

// ---- reconciliation ----

#[test]
fn a_connection_asks_from_both_sides_at_once_and_the_schedule_asks_again() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    world.run_one(service("web"));
    world.take_calls();
    registered(&mut world, "m-1");
    assert_eq!(questions(&mut world), [0, 1], "for all that is known there, and for each that is known here");
    // The world began at 0: explicit after 1 minute and each hour, implicit half an hour later.
    let mut asked = Vec::new();
    for minute in 1..=100 {
        world.pass(MINUTE_MS);
        asked.extend(questions(&mut world).into_iter().map(|size| (minute, size)));
    }
    assert_eq!(asked, [(1, 1), (31, 0), (61, 1), (91, 0)]);
    assert_eq!(count(&world, "reconciliation_implicit_runs"), 3 + 2);
}

#[test]
fn explicit_questions_pause_between_batches_and_a_lost_connection_ends_them() {
    let patient = Duration::from_secs(86_400);
    let mut world = World::with(Settings {
        reconciliation_explicit_batch_size: 10,
        reconciliation_initial_delay: patient,
        transient_task_state_timeout: patient,
        silent_task_question_delay: patient,
        ..shared()
    });
    world.create(batch("many"), 25);
    world.offer("a", room(64.0));
    world.take_calls();
    registered(&mut world, "m-1");
    assert_eq!(questions(&mut world), [0, 10]);
    world.pass(4_999);
    assert!(questions(&mut world).is_empty());
    world.pass(1);
    assert_eq!(questions(&mut world), [10]);
    world.pass(5_000);
    assert_eq!(questions(&mut world), [5]);
    world.pass(MINUTE_MS);
    assert!(questions(&mut world).is_empty(), "everything was asked");
    registered(&mut world, "m-1");
    world.engine(Event::Disconnected);
    world.take_calls();
    world.pass(MINUTE_MS);
    assert!(questions(&mut world).is_empty(), "nobody is there to be asked");
}

#[test]
fn an_unknown_task_that_runs_is_killed_where_it_runs_and_the_operator_hears_of_it() {
    let mut world = World::with(shared());
    answer(&mut world, &"stray".into(), TaskState::Running);
    let kill = Call::Kill { task_id: "stray".into(), agent_id: Some("home".into()) };
    assert!(world.take_calls().contains(&kill));
    assert!(world.notices.iter().any(|notice| notice.contains("stray") && notice.contains("home")));
    for state in [TaskState::Unreachable, TaskState::Lost, TaskState::Finished] {
        answer(&mut world, &"other".into(), state);
    }
    assert!(world.take_kills().is_empty(), "what ended, or cannot be reached, cannot be killed");
}

#[test]
fn tasks_of_a_lost_agent_are_asked_about() {
    let mut world = World::with(shared());
    let id = world.run_one(service("web"));
    world.take_calls();
    world.engine(Event::AgentLost("home".into()));
    assert_eq!(world.take_calls(), [Call::Reconcile { tasks: vec![(id, Some("home".into()))] }]);
}

// ---- the word of a new leader ----

#[test]
fn what_a_new_leader_does_not_know_yet_is_not_replaced() {
    for state in [TaskState::Lost, TaskState::Unreachable] {
        let mut world = World::with(shared());
        registered(&mut world, "m-1");
        let id = world.run_one(service("web"));
        world.pass(15 * MINUTE_MS);
        world.engine(Event::Disconnected);
        registered(&mut world, "m-2");
        answer(&mut world, &id, state);
        assert_eq!(world.task(&id).status, TaskStatus::Running, "{state:?}");
        assert!(world.notices.iter().any(|notice| notice.contains("600 s")));
        // The agent comes back in time.
        answer(&mut world, &id, TaskState::Running);
        world.take_calls();
        world.pass(10 * MINUTE_MS);
        assert!(questions(&mut world).contains(&1), "asked again when the time is over");
        answer(&mut world, &id, TaskState::Running);
        assert_eq!(world.active(&job("web")).len(), 1);
        assert_eq!(count(&world, "reconciliation_answers_doubted"), 1);
        // From now on the leader is believed.
        answer(&mut world, &id, state);
        assert_eq!(world.task(&id).status, TaskStatus::Lost, "{state:?}");
        assert_eq!(world.active(&job("web")).len(), 1);
    }
}

#[test]
fn doubt_outlives_a_restart_and_a_leader_that_is_known_is_believed_at_once() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    let id = world.run_one(service("web"));
    world.pass(15 * MINUTE_MS);
    registered(&mut world, "m-2");
    world.restart(3 * MINUTE_MS as i64, 2);
    registered(&mut world, "m-2");
    answer(&mut world, &id, TaskState::Lost);
    assert_eq!(world.task(&id).status, TaskStatus::Running, "three minutes of ten are over");
    world.restart(8 * MINUTE_MS as i64, 3);
    registered(&mut world, "m-2");
    answer(&mut world, &id, TaskState::Lost);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
}

#[test]
fn a_wall_clock_that_is_set_back_does_not_prolong_doubt() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    let id = world.run_one(service("web"));
    world.pass(15 * MINUTE_MS);
    registered(&mut world, "m-2");
    world.now.wall_ms -= 24 * 3_600_000;
    world.pass(10 * MINUTE_MS);
    answer(&mut world, &id, TaskState::Lost);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
}

#[test]
fn a_task_that_the_new_leader_launched_itself_and_every_other_word_count_at_once() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    let old = world.run_one(service("old"));
    world.pass(15 * MINUTE_MS);
    registered(&mut world, "m-2");
    world.pass(1000);
    let new = world.run_one(service("new"));
    answer(&mut world, &new, TaskState::Lost);
    assert_eq!(world.task(&new).status, TaskStatus::Lost);
    // The agent was removed: that is no guess.
    world.status_because(&old, TaskState::Lost, Some(Reason::AgentRemoved), None);
    assert_eq!(world.task(&old).status, TaskStatus::Lost);
}

#[test]
fn a_task_under_way_when_the_leader_changes_is_not_given_up_before_its_time() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    world.create(service("web"), 1);
    world.offer("home", room(4.0));
    let id = world.active_one(&job("web"), 0).id.clone();
    world.pass(MINUTE_MS);
    registered(&mut world, "m-2");
    world.pass(9 * MINUTE_MS);
    assert_eq!(world.task(&id).status, TaskStatus::Assigned, "longer than the five minutes of passing states");
    world.pass(2 * MINUTE_MS);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
}

#[test]
fn an_operator_may_begin_anew_when_mesos_has_removed_the_framework() {
    let mut world = World::with(shared());
    registered(&mut world, "m-1");
    let old = world.run_one(service("web"));
    world.settings.forget_framework = Some("f-1".into());
    world.restart(1000, 2);
    assert_eq!(world.view().framework_id, None, "and the next one is told by the engine");
    assert_eq!(world.task(&old).status, TaskStatus::Lost);
    assert_eq!(world.active_one(&job("web"), 0).status, TaskStatus::Pending);
    assert!(world.take_kills().is_empty(), "what is no more cannot be killed");
    // An option that stays on the command line does it once.
    world.engine(Event::Registered { framework_id: Some("f-2".into()), master: None });
    world.offer("home", room(4.0));
    world.restart(1000, 3);
    assert_eq!(world.view().framework_id.as_deref(), Some("f-2"));
    assert_eq!(world.active_one(&job("web"), 0).status, TaskStatus::Assigned);
}

// ---- partitions ----

#[test]
fn a_partition_is_waited_for_and_a_returning_surplus_is_killed_at_once() {
    let policy = Some(PartitionPolicy { reschedule: true, delay_secs: Some(60) });
    let mut world = World::with(shared());
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    world.status_because(&id, TaskState::Unreachable, Some(Reason::AgentRemoved), None);
    world.pass(59_999);
    assert_eq!(world.active(&job("web")).len(), 1);
    assert_eq!(world.task(&id).status, TaskStatus::Partitioned);
    // Back within the delay: nothing was done.
    world.status(&id, TaskState::Running);
    world.pass(60_000);
    assert_eq!(world.task(&id).status, TaskStatus::Running);
    // Away for longer: one replacement.
    world.status(&id, TaskState::Unreachable);
    world.pass(60_000);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    let replacement = world.active_one(&job("web"), 0);
    assert_ne!(replacement.id, id);
    world.take_calls();
    // The original returns: it goes, and is never counted as an instance again.
    answer(&mut world, &id, TaskState::Running);
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert_eq!(world.active_one(&job("web"), 0).id, replacement.id);
}

#[test]
fn the_delay_of_a_partition_goes_on_over_a_restart() {
    let policy = Some(PartitionPolicy { reschedule: true, delay_secs: Some(600) });
    let mut world = World::with(shared());
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    world.status(&id, TaskState::Unreachable);
    world.restart(400_000, 2);
    world.pass(199_000);
    assert_eq!(world.task(&id).status, TaskStatus::Partitioned);
    world.pass(1_000);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
}

#[test]
fn without_a_policy_a_partition_is_a_loss_and_without_rescheduling_none_at_all() {
    let mut world = World::with(shared());
    let plain = world.run_one(service("plain"));
    let never = Some(PartitionPolicy { reschedule: false, delay_secs: None });
    let kept = world.run_one(TaskConfig { partition_policy: never, ..service("kept") });
    world.status(&plain, TaskState::Unreachable);
    world.status(&kept, TaskState::Unreachable);
    world.pass(86_400_000);
    assert_eq!(world.task(&plain).status, TaskStatus::Lost);
    assert_eq!(world.task(&kept).status, TaskStatus::Partitioned);
}

// ---- offers ----

#[test]
fn an_idle_scheduler_wants_no_offers_gives_back_what_it_has_and_asks_at_once_when_there_is_work() {
    let mut world = World::with(shared());
    let id = world.run_one(service("web"));
    world.offer("spare", room(1.0));
    world.take_calls();
    world.pass(29_999);
    assert_eq!(world.take_calls(), []);
    world.pass(1);
    let calls = world.take_calls();
    assert!(matches!(&calls[..], [Call::Suppress, Call::Decline { offers, .. }] if offers.len() == 1), "{calls:?}");
    assert_eq!(count(&world, "outstanding_offers"), 0);
    world.pass(24 * 60 * MINUTE_MS);
    let calls = world.take_calls();
    assert!(calls.iter().all(|call| matches!(call, Call::Reconcile { .. })), "silence but for the schedule: {calls:?}");
    world.status(&id, TaskState::Failed);
    assert!(world.take_calls().contains(&Call::Revive), "a replacement is work");
    world.offer("spare", room(4.0));
    assert_eq!(world.active_one(&job("web"), 0).status, TaskStatus::Assigned);
}

#[test]
fn an_idle_scheduler_stays_silent_over_a_new_connection_and_a_busy_one_asks() {
    let mut world = World::with(shared());
    world.pass(MINUTE_MS);
    assert!(world.take_calls().contains(&Call::Suppress));
    registered(&mut world, "m-1");
    let calls = world.take_calls();
    assert!(calls.contains(&Call::Suppress) && !calls.contains(&Call::Revive), "{calls:?}");
    world.engine(Event::Disconnected);
    world.create(batch("b"), 1);
    assert_eq!(world.take_calls(), [], "nobody is there to be asked");
    registered(&mut world, "m-1");
    let calls = world.take_calls();
    assert!(calls.contains(&Call::Revive) && !calls.contains(&Call::Suppress), "{calls:?}");
}

#[test]
fn while_something_is_pending_offers_are_wanted_and_short_breaks_do_not_count() {
    let mut world = World::with(shared());
    world.create(TaskConfig::new(job("huge"), 999.0, 1, 1, "{}"), 1);
    world.take_calls();
    world.pass(30 * MINUTE_MS);
    assert!(!world.take_calls().contains(&Call::Suppress));
    world.kill(&job("huge"), &[]);
    for round in 0..5 {
        world.pass(20_000);
        world.create(TaskConfig::new(job(&format!("huge-{round}")), 999.0, 1, 1, "{}"), 1);
        world.kill(&job(&format!("huge-{round}")), &[]);
    }
    let calls = world.take_calls();
    assert!(!calls.contains(&Call::Suppress) && !calls.contains(&Call::Revive), "{calls:?}");
    world.pass(30_000);
    assert!(world.take_calls().contains(&Call::Suppress));
}

#[test]
fn offers_may_be_held_for_ever() {
    let mut world = World::with(Settings { hold_offers_forever: true, ..shared() });
    world.offer("a", room(4.0));
    world.pass(7 * 24 * 60 * MINUTE_MS);
    assert_eq!(count(&world, "outstanding_offers"), 1);
    world.create(batch("b"), 1);
    assert_eq!(world.active_one(&job("b"), 0).status, TaskStatus::Assigned);
}

#[test]
fn offers_of_different_roles_are_never_accepted_together() {
    let mut world = World::with(shared());
    for role in ["web", "batch"] {
        let mut offer = world.make_offer("a", room(4.0));
        offer.role = Some(role.into());
        world.engine(Event::Offers(vec![offer]));
    }
    assert_eq!(world.view().agents["a"].free.cpu, CpuMillis(8000), "to people it is one agent");
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    assert_eq!(world.active_one(&job("big"), 0).status, TaskStatus::Pending);
    world.take_calls();
    world.create(TaskConfig::new(job("small"), 3.0, 1, 1, "{}"), 2);
    let calls = world.take_calls();
    let accepted: Vec<usize> = calls
        .iter()
        .filter_map(|call| if let Call::Accept { offers, .. } = call { Some(offers.len()) } else { None })
        .collect();
    assert_eq!(accepted, [1, 1]);
    world.engine(Event::AgentLost("a".into()));
    assert!(!world.view().agents.contains_key("a"));
}

/// An offer to a role, of which so many cores are set aside for nobody.
fn offered_to(world: &mut World, role: &str, cores: f64, unreserved: f64) -> String {
    let mut offer = world.make_offer("a", room(cores));
    (offer.role, offer.unreserved) = (Some(role.into()), Resources { ports: 100, ..room(unreserved) });
    let id = offer.id.clone();
    world.engine(Event::Offers(vec![offer]));
    id
}

fn declined(world: &mut World) -> Vec<Vec<String>> {
    let declined = |call| if let Call::Decline { offers, .. } = call { Some(offers) } else { None };
    world.take_calls().into_iter().filter_map(declined).collect()
}

#[test]
fn what_nobody_reserved_is_given_back_to_join_what_another_role_has() {
    let mut world = World::with(Settings { several_roles: true, ..shared() });
    let kept = offered_to(&mut world, "web", 4.0, 0.0);
    let other = offered_to(&mut world, "batch", 4.0, 4.0);
    assert!(declined(&mut world).is_empty(), "nobody waits");
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    world.pass(1000);
    assert_eq!(declined(&mut world), [[other]]);
    // The engine offers it to the other role, and both are accepted together.
    let joined = offered_to(&mut world, "web", 4.0, 4.0);
    let calls = world.take_calls();
    let accepted =
        calls.iter().find_map(|call| if let Call::Accept { offers, .. } = call { Some(offers) } else { None });
    assert_eq!(accepted.unwrap().iter().collect::<BTreeSet<_>>(), BTreeSet::from([&kept, &joined]));
    assert_eq!(world.active_one(&job("big"), 0).status, TaskStatus::Assigned);
}

#[test]
fn room_that_comes_to_one_role_while_a_task_waits_is_joined_at_once() {
    let mut world = World::with(Settings { several_roles: true, ..shared() });
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    let first = offered_to(&mut world, "batch", 4.0, 4.0);
    assert!(declined(&mut world).is_empty());
    offered_to(&mut world, "web", 4.0, 0.0);
    assert_eq!(declined(&mut world), [[first]]);
}

#[test]
fn offers_are_not_given_up_in_vain_nor_again_and_again() {
    let mut world = World::with(Settings { several_roles: true, ..shared() });
    // Reserved on both sides: they never come together.
    let reserved = offered_to(&mut world, "web", 4.0, 0.0);
    offered_to(&mut world, "batch", 4.0, 1.0);
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    let mut elsewhere = TaskConfig::new(job("elsewhere"), 5.0, 1, 1, "{}");
    elsewhere.constraints = BTreeSet::from([model::Constraint {
        name: "host".into(),
        constraint: model::TaskConstraint::Value { negated: false, values: BTreeSet::from(["b".into()]) },
    }]);
    world.create(elsewhere, 1);
    world.pass(30_000);
    assert!(declined(&mut world).is_empty(), "six cores are not there, and five are wanted on another host");
    // The engine is asked once, and offers it to the same role all the same: it may be used as it is.
    world.create(TaskConfig::new(job("middle"), 5.0, 1, 1, "{}"), 1);
    world.pass(1000);
    assert_eq!(declined(&mut world).len(), 1);
    offered_to(&mut world, "batch", 4.0, 1.0);
    world.pass(30_000);
    assert!(declined(&mut world).is_empty(), "asked a moment ago");
    world.pass(150_000);
    assert_eq!(declined(&mut world).len(), 1, "things may have changed");
    assert!(world.outstanding.contains_key(&reserved));
}

#[test]
fn tasks_of_an_earlier_process_and_offers_with_a_role_meet_on_one_agent() {
    let mut world = World::with(shared());
    let low = world.run_one(TaskConfig { priority: 0, ..service("low") });
    world.restart(1000, 2);
    let mut offer = world.make_offer("home", Resources { cpu: CpuMillis(500), ..room(0.0) });
    offer.role = Some("web".into());
    world.engine(Event::Offers(vec![offer]));
    // Half a core is offered and one is held: together they make room for the greater one.
    let greater = TaskConfig { priority: 9, ..TaskConfig::new(job("greater"), 1.5, 1, 1, "{}") };
    world.create(greater, 1);
    world.pass(10 * MINUTE_MS);
    assert_ne!(world.task(&low).status, TaskStatus::Running);
}

#[test]
fn tasks_keep_the_role_whose_offer_they_took_over_a_restart() {
    let mut world = World::with(Settings { several_roles: true, ..shared() });
    let offered = |world: &mut World, role: &str, cores: f64| {
        let mut offer = world.make_offer("home", room(cores));
        offer.role = Some(role.into());
        world.engine(Event::Offers(vec![offer]));
    };
    offered(&mut world, "batch", 2.0);
    let low = TaskConfig { priority: 0, ..TaskConfig::new(job("low"), 2.0, 1, 1, "{}") };
    world.create(TaskConfig { is_service: true, ..low }, 1);
    let low = world.active_one(&job("low"), 0).id.clone();
    world.status(&low, TaskState::Running);
    world.restart(1000, 2);
    assert_eq!(world.view().offer_roles.get(&low).map(String::as_str), Some("batch"));
    // What it holds and what another role offers would make room together, and can never be accepted together.
    offered(&mut world, "web", 2.0);
    world.create(TaskConfig { priority: 9, ..TaskConfig::new(job("greater"), 4.0, 1, 1, "{}") }, 1);
    world.pass(10 * MINUTE_MS);
    assert_eq!(world.task(&low).status, TaskStatus::Running, "nobody is preempted in vain");
    // In its own role they do.
    offered(&mut world, "batch", 2.0);
    world.pass(10 * MINUTE_MS);
    assert_ne!(world.task(&low).status, TaskStatus::Running);
    world.kill(&job("low"), &[]);
    world.status(&low, TaskState::Killed);
    world.pass(3 * 86_400_000);
    assert!(world.view().offer_roles.is_empty(), "forgotten with the task");
}

// ---- maintenance, and the end ----

#[test]
fn agents_asked_back_are_given_and_their_tasks_move_when_the_time_is_near() {
    let mut world = World::with(shared());
    let id = world.run_one(service("web"));
    world.take_calls();
    let ask = |world: &mut World, number: u32, in_ms: i64| {
        let unavailable_from_ms = world.now.wall_ms + in_ms;
        let host = Some("home.example".to_owned());
        world.engine(Event::InverseOffer { id: format!("i-{number}"), agent_id: None, host, unavailable_from_ms });
    };
    ask(&mut world, 1, 3_600_000);
    assert_eq!(world.take_calls(), [Call::AcceptInverseOffers { offers: vec!["i-1".into()] }]);
    assert_eq!(world.task(&id).status, TaskStatus::Running);
    ask(&mut world, 2, 5 * MINUTE_MS as i64);
    assert_eq!(world.take_kills(), std::slice::from_ref(&id));
    assert_eq!(world.task(&id).status, TaskStatus::Draining);
    ask(&mut world, 3, 5 * MINUTE_MS as i64);
    assert!(world.take_kills().is_empty(), "asked once more, killed once");
    world.status(&id, TaskState::Killed);
    assert_eq!(world.active_one(&job("web"), 0).status, TaskStatus::Pending);
}

#[test]
fn a_deposed_scheduler_says_why_and_does_nothing_more() {
    let mut world = World::with(shared());
    let id = world.run_one(service("web"));
    world.offer("spare", room(4.0));
    world.take_calls();
    world.engine(Event::Deposed { reason: "Framework failed over".into() });
    assert_eq!(world.stopped.as_deref(), Some("Framework failed over"));
    let refused = world.create(batch("late"), 1);
    assert_eq!(refused.code, ReplyCode::ErrorTransient);
    world.status(&id, TaskState::Failed);
    world.pass(24 * 60 * MINUTE_MS);
    registered(&mut world, "m-9");
    for low in [true, false] {
        world.step(scheduler::Input::SpaceLow(low));
    }
    assert_eq!(world.take_calls(), []);
    assert_eq!(world.task(&id).status, TaskStatus::Running, "what happens now is the other scheduler's affair");
}

#[test]
fn readers_see_since_when_the_engine_is_away() {
    let mut world = World::with(shared());
    assert_eq!(world.view().disconnected_since_ms, None);
    let since_ms = world.now.wall_ms;
    world.engine(Event::Disconnected);
    world.pass(1000);
    world.engine(Event::Disconnected);
    assert_eq!(world.view().disconnected_since_ms, Some(since_ms));
    registered(&mut world, "m-1");
    assert_eq!(world.view().disconnected_since_ms, None);
}
