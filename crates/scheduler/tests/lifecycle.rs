//! The life of a task, rule by rule: creation, placement, statuses, kills, failures, flapping, partitions, timers.

mod common;

use common::*;
use engine::{Call, Event, Reason, StatusUpdate, TaskState};
use model::task::PartitionPolicy;
use model::{TaskConfig, TaskId, TaskStatus};
use scheduler::{Command, ReplyCode, Settings};
use std::time::Duration;

fn statuses(task: &scheduler::Task) -> Vec<&'static str> {
    task.events.iter().map(|event| event.status.name()).collect()
}

fn messages(task: &scheduler::Task) -> Vec<Option<&str>> {
    task.events.iter().map(|event| event.message.as_deref()).collect()
}

#[test]
fn a_created_job_is_placed_launched_and_run_to_its_end() {
    let mut world = World::new();
    world.offer("a", room(8.0));
    world.take_calls();
    assert_eq!(world.create(batch("hello"), 3).code, ReplyCode::Ok);
    let tasks = world.active(&job("hello"));
    assert_eq!(tasks.iter().map(|task| task.instance).collect::<Vec<_>>(), [0, 1, 2]);
    let calls = world.take_calls();
    let [Call::Accept { offers, launches }] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((offers.as_slice(), launches.len()), (&["offer-1".to_owned()][..], 3));
    for task in &tasks {
        assert_eq!(task.status, TaskStatus::Assigned);
        assert_eq!(task.agent_id.as_deref(), Some("a"));
        assert_eq!(task.host.as_deref().map(String::as_str), Some("a.example"));
        world.status(&task.id, TaskState::Starting);
        world.status(&task.id, TaskState::Running);
        world.status(&task.id, TaskState::Finished);
        let done = world.task(&task.id);
        assert_eq!(statuses(&done), ["PENDING", "ASSIGNED", "STARTING", "RUNNING", "FINISHED"]);
        assert_eq!(messages(&done), [None; 5]);
    }
    assert!(world.active(&job("hello")).is_empty());
    let acknowledged = world.take_calls().into_iter().filter(|call| matches!(call, Call::Acknowledge { .. })).count();
    assert_eq!(acknowledged, 9);
}

#[test]
fn a_kill_of_a_running_task_is_asked_for_repeated_and_confirmed() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    world.take_calls();
    let reply = world.command(Command::KillTasks {
        job: job("web"),
        instances: [].into(),
        message: Some("spring cleaning".into()),
    });
    assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 0));
    assert_eq!(world.take_kills(), vec![id.clone()]);
    assert_eq!(messages(&world.task(&id)).last().unwrap().unwrap(), "Killed by jane.\nspring cleaning");
    world.pass(31_000);
    assert_eq!(world.take_kills(), vec![id.clone()], "the kill is repeated after 15 to 30 seconds");
    assert!(world.kill(&job("web"), &[]).messages[0].contains("No tasks to kill"));
    world.status(&id, TaskState::Killed);
    assert_eq!(world.task(&id).status, TaskStatus::Killed);
    assert!(world.active(&job("web")).is_empty(), "a killed service has no replacement");
    world.pass(600_000);
    assert_eq!(world.take_kills(), []);
}

#[test]
fn a_kill_that_is_never_confirmed_ends_in_lost_without_replacement() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    world.kill(&job("web"), &[0]);
    world.pass(300_000);
    let task = world.task(&id);
    assert_eq!(messages(&task).last().unwrap().unwrap(), "Task timed out");
    assert_eq!(task.status, TaskStatus::Lost);
    assert!(world.active(&job("web")).is_empty());
    assert_eq!(world.view().counters["timed_out_tasks"], 1);
}

#[test]
fn killing_a_pending_or_throttled_task_deletes_it_at_once() {
    let mut world = World::new();
    world.create(batch("wait"), 2);
    assert_eq!(world.kill(&job("wait"), &[1]).code, ReplyCode::Ok);
    assert_eq!(world.active(&job("wait")).len(), 1);
    assert_eq!(world.view().tasks.len(), 1);
    assert_eq!(world.take_kills(), []);
    let last = world.transitions.last().unwrap();
    assert_eq!((last.from, last.to), (Some(TaskStatus::Pending), None));
    assert_eq!(last.reason.as_deref(), Some("Killed by jane"));
}

#[test]
fn a_batch_task_fails_as_often_as_it_may_and_lost_runs_do_not_count() {
    let mut world = World::with(Settings { flapping_task_threshold: Duration::ZERO, ..settings() });
    world.create(TaskConfig { max_task_failures: 3, ..batch("retry") }, 1);
    let mut failures = Vec::new();
    for state in [TaskState::Failed, TaskState::Lost, TaskState::Failed, TaskState::Killed, TaskState::Failed] {
        world.offer("a", room(4.0));
        let id = world.active_one(&job("retry"), 0).id.clone();
        world.status(&id, TaskState::Running);
        world.status(&id, state);
        failures.push(world.task(&id).failure_count);
    }
    assert_eq!(failures, [1, 1, 2, 2, 3]);
    assert!(world.active(&job("retry")).is_empty());
    assert_eq!(world.view().tasks.len(), 5);
}

#[test]
fn max_task_failures_of_minus_one_retries_for_ever_and_zero_never() {
    for (max, replaced) in [(-1, true), (0, false), (1, false), (2, true)] {
        let mut world = World::new();
        let id = world.run_one(TaskConfig { max_task_failures: max, ..batch("b") });
        world.status(&id, TaskState::Failed);
        assert_eq!(!world.active(&job("b")).is_empty(), replaced, "max_task_failures {max}");
    }
}

#[test]
fn the_first_flap_is_free_the_second_waits_and_a_long_run_clears_the_record() {
    let mut world = World::new();
    let first = world.run_one(service("flap"));
    world.status(&first, TaskState::Failed);
    let second = world.active_one(&job("flap"), 0);
    assert_eq!(second.status, TaskStatus::Pending);
    assert_eq!(messages(&second), [Some("Rescheduled")]);
    assert_eq!(second.ancestor.as_ref(), Some(&first));
    world.offer("a", room(4.0));
    world.status(&second.id, TaskState::Running);
    world.status(&second.id, TaskState::Failed);
    let third = world.active_one(&job("flap"), 0);
    assert_eq!(third.status, TaskStatus::Throttled);
    assert_eq!(third.failure_count, 2);
    let until_ms = world.view().throttled_until_ms[&third.id];
    let wait_ms = until_ms - third.last_event_ms();
    assert!((30_000..=120_000).contains(&wait_ms));
    assert_eq!(messages(&third), [Some(format!("Rescheduled, penalized for {wait_ms} ms for flapping").as_str())]);
    world.pass((until_ms - world.now.wall_ms) as u64);
    assert_eq!(statuses(&world.task(&third.id)), ["THROTTLED", "PENDING"]);
    world.offer("a", room(4.0));
    world.status(&third.id, TaskState::Running);
    world.pass(300_000);
    world.status(&third.id, TaskState::Failed);
    let fourth = world.active_one(&job("flap"), 0);
    assert_eq!(fourth.status, TaskStatus::Throttled, "what counts is the run before the one that ended");
    world.pass(700_000);
    world.offer("a", room(4.0));
    world.status(&fourth.id, TaskState::Running);
    world.status(&fourth.id, TaskState::Failed);
    assert_eq!(world.active_one(&job("flap"), 0).status, TaskStatus::Pending, "the long run cleared the record");
}

/// Longer histories on request.
fn poison_days() -> u64 {
    std::env::var("SCHEDULER_POISON_DAYS").map_or(1, |text| text.parse().expect("SCHEDULER_POISON_DAYS is a number"))
}

#[test]
fn a_job_that_fails_at_once_for_ever_is_tried_ever_more_slowly_and_its_history_stays_short() {
    for task in [service("poison"), TaskConfig { max_task_failures: -1, ..batch("poison") }] {
        let mut world = World::new();
        world.create(task, 1);
        let mut in_first_hour = 0;
        for hour in 0..poison_days() * 24 {
            let (end_ms, mut runs) = (world.now.monotonic_ms + 3_600_000, 0);
            while world.now.monotonic_ms < end_ms {
                let id = world.active_one(&job("poison"), 0).id.clone();
                if world.task(&id).status == TaskStatus::Pending {
                    world.offer("a", room(4.0));
                }
                if world.task(&id).status == TaskStatus::Assigned {
                    world.status(&id, TaskState::Running);
                    world.status(&id, TaskState::Failed);
                    runs += 1;
                }
                world.pass(10_000);
            }
            // The delay doubles from half a minute to five minutes, with a random part of its own size.
            if hour == 0 {
                in_first_hour = runs;
            }
            assert!((1..=20).contains(&runs), "{runs} runs in hour {hour}");
            assert!(runs <= in_first_hour, "{runs} runs in hour {hour}, {in_first_hour} in the first");
            let events = world.transitions.drain(..).count();
            assert!(events <= runs * 6 + 6, "{events} events for {runs} runs");
            let stored = world.view().tasks_of(&job("poison")).count();
            assert!(stored <= world.settings.history_max_per_job_threshold + 1 + in_first_hour, "{stored} runs kept");
        }
        let records = world.journal.values().map(Vec::len).sum::<usize>();
        assert!(records < 100_000, "a snapshot of {records} bytes");
        world.launched.clear();
    }
}

#[test]
fn a_restarted_short_run_is_no_flap() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    world.command(Command::RestartTasks { job: job("web"), instances: [0].into() });
    assert_eq!(world.take_kills(), vec![id.clone()]);
    assert_eq!(messages(&world.task(&id)).last().unwrap().unwrap(), "Restarted by jane");
    world.status(&id, TaskState::Killed);
    let second = world.active_one(&job("web"), 0);
    assert_eq!(second.status, TaskStatus::Pending);
    world.offer("a", room(4.0));
    world.status(&second.id, TaskState::Running);
    world.status(&second.id, TaskState::Failed);
    assert_eq!(world.active_one(&job("web"), 0).status, TaskStatus::Pending);
}

#[test]
fn a_task_that_never_starts_is_lost_killed_and_replaced() {
    let mut world = World::new();
    world.create(batch("b"), 1);
    world.offer("a", room(4.0));
    let id = world.active_one(&job("b"), 0).id.clone();
    world.take_calls();
    world.pass(299_999);
    assert_eq!(world.task(&id).status, TaskStatus::Assigned);
    world.pass(1);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    assert_eq!(world.take_kills(), vec![id.clone()]);
    assert_eq!(world.active_one(&job("b"), 0).ancestor.as_ref(), Some(&id));
}

#[test]
fn an_unknown_task_that_runs_is_killed_and_one_that_ended_is_ignored() {
    let mut world = World::new();
    let stranger = TaskId::from("stranger");
    world.engine(Event::Status(StatusUpdate {
        task_id: stranger.clone(),
        state: TaskState::Running,
        reason: None,
        message: None,
        timestamp_ms: None,
        agent_id: Some("there".into()),
        token: None,
    }));
    let kill = Call::Kill { task_id: stranger.clone(), agent_id: Some("there".into()) };
    assert_eq!(world.take_calls(), [kill]);
    for state in [TaskState::Lost, TaskState::Finished, TaskState::Unreachable] {
        world.status(&stranger, state);
    }
    assert_eq!(world.take_kills(), []);
    assert!(world.view().tasks.is_empty());
}

#[test]
fn an_ended_task_that_runs_again_is_killed_and_stays_ended() {
    let mut world = World::new();
    let id = world.run_one(batch("b"));
    world.status(&id, TaskState::Lost);
    world.take_calls();
    world.status(&id, TaskState::Running);
    assert_eq!(world.take_kills(), vec![id.clone()]);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
    world.status(&id, TaskState::Finished);
    assert_eq!(world.task(&id).status, TaskStatus::Lost);
}

#[test]
fn a_partitioned_task_is_replaced_as_its_policy_says() {
    let policy = |reschedule, delay_secs| Some(PartitionPolicy { reschedule, delay_secs });
    let cases = [
        (None, Some(0)),
        (policy(true, None), Some(0)),
        (policy(true, Some(60)), Some(60)),
        (policy(false, Some(5)), None),
    ];
    for (partition_policy, lost_after_secs) in cases {
        let mut world = World::new();
        let id = world.run_one(TaskConfig { partition_policy, ..service("web") });
        world.status(&id, TaskState::Unreachable);
        match lost_after_secs {
            Some(secs) => {
                if secs > 0 {
                    world.pass(secs * 1000 - 1);
                    assert_eq!(world.task(&id).status, TaskStatus::Partitioned);
                }
                world.pass(1);
                let task = world.task(&id);
                assert_eq!(task.status, TaskStatus::Lost);
                assert_eq!(messages(&task).last().unwrap().unwrap(), "Task partitioned for too long.");
                assert_eq!(world.active(&job("web")).len(), 1);
                world.take_calls();
                world.status(&id, TaskState::Running);
                assert_eq!(world.take_kills(), vec![id.clone()], "the surplus is killed when it comes back");
            }
            None => {
                world.pass(86_000_000);
                assert_eq!(world.task(&id).status, TaskStatus::Partitioned);
                world.status(&id, TaskState::Running);
                assert_eq!(world.task(&id).status, TaskStatus::Running);
            }
        }
    }
}

#[test]
fn a_partition_that_heals_in_time_costs_nothing_and_does_not_grow_the_record() {
    let mut world = World::new();
    let policy = Some(PartitionPolicy { reschedule: true, delay_secs: Some(60) });
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    for _ in 0..20 {
        world.status(&id, TaskState::Unreachable);
        world.pass(30_000);
        world.status(&id, TaskState::Running);
        world.pass(40_000);
    }
    let task = world.task(&id);
    assert_eq!(statuses(&task), ["PENDING", "ASSIGNED", "STARTING", "RUNNING", "PARTITIONED", "RUNNING"]);
    assert_eq!(task.times_partitioned, 20);
}

#[test]
fn a_user_kill_of_a_partitioned_task_gives_it_up_without_replacement() {
    let mut world = World::new();
    let policy = Some(PartitionPolicy { reschedule: false, delay_secs: None });
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    world.status(&id, TaskState::Unreachable);
    world.kill(&job("web"), &[]);
    let task = world.task(&id);
    assert_eq!(statuses(&task)[4..], ["PARTITIONED", "KILLING", "LOST"]);
    assert!(messages(&task).last().unwrap().unwrap().contains("marking as LOST"));
    assert!(world.active(&job("web")).is_empty());
}

#[test]
fn a_task_being_killed_whose_agent_goes_away_is_lost_and_killed_but_not_replaced() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    world.kill(&job("web"), &[]);
    world.take_calls();
    world.status(&id, TaskState::Unreachable);
    assert_eq!(statuses(&world.task(&id))[4..], ["KILLING", "PARTITIONED", "LOST"]);
    assert_eq!(world.take_kills(), [id]);
    assert!(world.active(&job("web")).is_empty());
}

#[test]
fn a_service_that_finishes_out_of_reach_is_replaced() {
    let mut world = World::new();
    let policy = Some(PartitionPolicy { reschedule: false, delay_secs: None });
    let id = world.run_one(TaskConfig { partition_policy: policy, ..service("web") });
    world.status(&id, TaskState::Unreachable);
    world.status(&id, TaskState::Finished);
    assert_eq!(world.active(&job("web")).len(), 1);
}

#[test]
fn stamps_of_a_task_never_go_backwards_when_the_clock_does() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    let before = world.task(&id).last_event_ms();
    world.now.wall_ms -= 3_600_000;
    world.status(&id, TaskState::Failed);
    assert_eq!(world.task(&id).last_event_ms(), before);
}

#[test]
fn the_reason_speaks_where_the_engine_is_silent() {
    let mut world = World::new();
    let id = world.run_one(batch("b"));
    world.status_because(&id, TaskState::Failed, Some(Reason::MemoryLimit), None);
    assert!(messages(&world.task(&id)).last().unwrap().unwrap().contains("memory"));
    let mut world = World::new();
    let id = world.run_one(batch("b"));
    world.status_because(&id, TaskState::Failed, Some(Reason::MemoryLimit), Some("Requested 1, Used 2."));
    assert_eq!(messages(&world.task(&id)).last().unwrap().unwrap(), "Requested 1, Used 2.");
}

#[test]
fn a_stray_is_reported_and_left_alone() {
    let mut world = World::new();
    world.engine(Event::Stray { task_id: "stray".into(), detail: "in /x".into() });
    assert!(world.notices[0].contains("stray"));
    assert_eq!(world.take_calls(), []);
}

#[test]
fn ended_tasks_are_forgotten_by_age_and_by_number() {
    let mut world = World::with(Settings { history_max_per_job_threshold: 2, ..settings() });
    for _ in 0..4 {
        let id = world.run_one(batch("b"));
        world.status(&id, TaskState::Finished);
        world.pass(1000);
    }
    assert_eq!(world.view().tasks.len(), 4, "young ones are kept however many they are");
    world.pass(3_600_000);
    assert_eq!(world.view().tasks.len(), 2);
    world.pass(2 * 86_400_000);
    assert_eq!(world.view().tasks.len(), 0);
    assert!(world.view().configs.is_empty(), "unused configurations go too");
    assert_eq!(world.view().counters["tasks_pruned"], 4);
}

#[test]
fn counters_of_a_job_last_as_long_as_the_job() {
    let mut world = World::new();
    let id = world.run_one(batch("b"));
    world.status(&id, TaskState::Failed);
    let name = "tasks_FAILED_www-data/devel/b";
    assert_eq!(world.view().counters[name], 1);
    assert_eq!(world.view().counters["task_store_FAILED"], 1);
    world.pass(2 * 86_400_000);
    assert!(!world.view().counters.contains_key(name));
    assert_eq!(world.view().counters["task_store_FAILED"], 0);
}

#[test]
fn a_job_that_keeps_no_history_is_still_replaced() {
    let none =
        Settings { history_max_per_job_threshold: 0, history_min_retention_threshold: Duration::ZERO, ..settings() };
    let mut world = World::with(none);
    let id = world.run_one(service("web"));
    world.status(&id, TaskState::Failed);
    assert_eq!(world.active(&job("web")).len(), 1);
    assert!(world.view().task(&id).is_none());
}
