//! The planner's behaviours, after the list of spec executor 7 (1 to 15, 33, 34).

use super::*;
use crate::process::schema::{OrderConstraint, Process};

/// A task of processes by name; `configure` sets more.
fn task(names: &[&str], configure: impl FnOnce(&mut Task)) -> Task {
    let mut task = Task::new("t", names.iter().map(|name| Process::new(*name, "true")).collect());
    for process in &mut task.processes {
        process.min_duration_secs = 0;
    }
    configure(&mut task);
    task
}

fn order(names: &[&str]) -> OrderConstraint {
    OrderConstraint::new(names.iter().copied())
}

fn plan(task: &Task) -> TaskPlan {
    TaskPlan::new(task).unwrap()
}

/// Starts and ends a run.
fn run(plan: &mut Plan, index: usize, end: End, now_ms: i64) {
    assert!(plan.runnable(now_ms).contains(&index), "{index} is not runnable at {now_ms}");
    plan.started(index);
    assert!(!plan.runnable(now_ms).contains(&index));
    plan.ended(index, end, now_ms);
}

#[test]
fn an_empty_task_is_complete_at_once() {
    let plan = plan(&task(&[], |_| ()));
    assert!(plan.regular.is_complete() && plan.is_healthy());
    assert_eq!(plan.regular.runnable(0), [0; 0]);
    assert_eq!(plan.regular.wait_ms(0), None);
}

#[test]
fn ordered_processes_run_one_after_the_other_and_free_ones_at_once() {
    let task = task(&["a", "b", "c", "free"], |task| task.constraints = vec![order(&["a", "b", "c"])]);
    let mut plan = plan(&task).regular;
    assert_eq!(plan.runnable(0), [0, 3]);
    run(&mut plan, 0, End::Success, 0);
    assert_eq!(plan.runnable(0), [1, 3]);
    run(&mut plan, 1, End::Success, 0);
    run(&mut plan, 2, End::Success, 0);
    assert!(!plan.is_complete());
    run(&mut plan, 3, End::Success, 0);
    assert!(plan.is_complete() && !plan.is_deadlocked());
}

#[test]
fn overlapping_orders_accumulate() {
    let task = task(&["a", "b", "c"], |task| {
        task.constraints = vec![order(&["a", "c"]), order(&["b", "c"]), order(&["a", "c"])];
    });
    let mut plan = plan(&task).regular;
    assert_eq!(plan.runnable(0), [0, 1]);
    run(&mut plan, 0, End::Success, 0);
    assert_eq!(plan.runnable(0), [1]);
    run(&mut plan, 1, End::Success, 0);
    assert_eq!(plan.runnable(0), [2]);
}

#[test]
fn cycles_are_rejected_and_named() {
    let of = |orders: &[&[&str]]| {
        let task = task(&["a", "b", "c", "d"], |task| {
            task.constraints = orders.iter().map(|names| order(names)).collect();
        });
        TaskPlan::new(&task).unwrap_err()
    };
    assert_eq!(of(&[&["a", "a"]]), PlanError::Cycle(vec!["a".into(), "a".into()]));
    let PlanError::Cycle(names) = of(&[&["a", "b", "c"], &["c", "d"], &["d", "b"]]) else { panic!("no cycle") };
    assert_eq!(names.len(), 4);
    assert_eq!(names.first(), names.last());
    assert!(!names.contains(&"a".to_owned()), "{names:?}");
    for pair in names.windows(2) {
        assert!([("b", "c"), ("c", "d"), ("d", "b")].contains(&(&*pair[0], &*pair[1])), "{names:?}");
    }
}

#[test]
fn orders_that_make_no_sense_are_rejected() {
    let of = |names: &[&str], configure: fn(&mut Task)| {
        let task = task(&["a", "b", "end"], |task| {
            task.constraints = vec![order(names)];
            task.processes[2].is_final = true;
            configure(task);
        });
        TaskPlan::new(&task)
    };
    assert_eq!(of(&[], |_| ()), Err(PlanError::EmptyOrder));
    assert_eq!(of(&["a", "end"], |_| ()), Err(PlanError::MixedPlans("a".into(), "end".into())));
    let unknown = PlanError::UnknownName { known: "a".into(), unknown: "x".into() };
    assert_eq!(of(&["x", "a"], |_| ()), Err(unknown));
    let daemon = of(&["a", "b"], |task| task.processes[0].daemon = true);
    assert_eq!(daemon, Err(PlanError::DependsOnDaemon("b".into(), "a".into())));
    let ephemeral = of(&["a", "b"], |task| task.processes[0].ephemeral = true);
    assert_eq!(ephemeral, Err(PlanError::DependsOnEphemeral("b".into(), "a".into())));
    assert!(
        of(&["a", "b"], |task| {
            task.processes[0].ephemeral = true;
            task.processes[1].ephemeral = true;
        })
        .is_ok()
    );
    assert!(of(&["a", "b"], |task| task.processes[1].daemon = true).is_ok());
    assert!(of(&["x", "y"], |_| ()).is_ok(), "an order of nothing but strangers is ignored");
    let twice = task(&["a", "b", "a"], |_| ());
    assert_eq!(TaskPlan::new(&twice), Err(PlanError::DuplicateName("a".into())));
}

#[test]
fn an_order_of_final_processes_is_no_concern_of_the_regular_plan() {
    let task = task(&["a", "f1", "f2"], |task| {
        task.processes[1].is_final = true;
        task.processes[2].is_final = true;
        task.constraints = vec![order(&["f1", "f2"])];
    });
    let mut plan = plan(&task);
    assert_eq!(plan.regular.members().collect::<Vec<_>>(), [0]);
    assert_eq!(plan.finalizing.runnable(0), [1]);
    run(&mut plan.finalizing, 1, End::Failed, 0);
    assert!(plan.finalizing.is_deadlocked(), "a failing first finalizer leaves the second absent");
    run(&mut plan.regular, 0, End::Success, 0);
    assert!(plan.regular.is_complete() && plan.is_healthy(), "finalizers never change the outcome");
    assert_eq!(plan.of(2).members().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_task_of_ephemerals_is_always_complete_and_their_failure_counts_as_finished() {
    let task = task(&["e"], |task| task.processes[0].ephemeral = true);
    let mut plan = plan(&task).regular;
    assert!(plan.is_complete());
    plan.started(0);
    assert!(plan.is_complete());
    plan.ended(0, End::Failed, 0);
    assert!(plan.is_complete());
    assert_eq!((plan.finished().collect::<Vec<_>>(), plan.failed_count()), (vec![0], 0));
}

#[test]
fn a_normal_process_that_fails_for_good_completes_a_task_beside_an_ephemeral_one() {
    let task = task(&["n", "e"], |task| task.processes[1].ephemeral = true);
    let mut plan = plan(&task);
    plan.regular.started(1);
    run(&mut plan.regular, 0, End::Failed, 0);
    assert!(plan.regular.is_complete() && !plan.is_healthy());
    assert_eq!(plan.regular.running().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_daemon_runs_again_after_success_and_its_failures_add_up() {
    let daemon = |max_failures| {
        plan(&task(&["d"], |task| {
            task.processes[0].daemon = true;
            task.processes[0].max_failures = max_failures;
        }))
        .regular
    };
    let mut once = daemon(1);
    run(&mut once, 0, End::Success, 0);
    assert!(!once.is_complete());
    run(&mut once, 0, End::Failed, 0);
    assert!(once.is_complete());
    let mut twice = daemon(2);
    for end in [End::Failed, End::Success, End::Success] {
        run(&mut twice, 0, end, 0);
        assert!(!twice.is_complete());
    }
    run(&mut twice, 0, End::Failed, 0);
    assert_eq!(twice.failed().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_successor_starts_after_success_and_never_after_failure() {
    let ordered = task(&["a", "b"], |task| task.constraints = vec![order(&["a", "b"])]);
    let mut plan = plan(&ordered);
    run(&mut plan.regular, 0, End::Failed, 0);
    assert_eq!(plan.regular.runnable(i64::MAX), [0; 0]);
    assert!(plan.regular.is_deadlocked() && !plan.regular.is_complete() && !plan.is_healthy());
}

#[test]
fn min_duration_counts_from_the_end_of_the_run_before() {
    let task = task(&["d"], |task| {
        task.processes[0].daemon = true;
        task.processes[0].min_duration_secs = 10;
    });
    let mut plan = plan(&task).regular;
    assert_eq!(plan.wait_ms(0), Some(0));
    run(&mut plan, 0, End::Success, 5_000);
    assert_eq!(plan.runnable(5_000), [0; 0]);
    assert_eq!(plan.wait_ms(5_000), Some(10_000));
    assert_eq!(plan.runnable(14_999), [0; 0]);
    assert!(!plan.is_deadlocked(), "waiting is no deadlock");
    assert_eq!(plan.runnable(15_000), [0]);
    assert_eq!(plan.wait_ms(20_000), Some(0));
    run(&mut plan, 0, End::Failed, 15_000);
    assert_eq!(plan.wait_ms(i64::MAX), None);
}

#[test]
fn the_wait_is_the_smallest_one() {
    let task = task(&["a", "b"], |task| {
        task.processes[0].min_duration_secs = 30;
        task.processes[1].min_duration_secs = 20;
    });
    let mut plan = plan(&task).regular;
    run(&mut plan, 0, End::Lost, 0);
    assert_eq!(plan.wait_ms(0), Some(0), "b is runnable");
    run(&mut plan, 1, End::Killed, 0);
    assert_eq!(plan.wait_ms(1_000), Some(19_000));
    plan.started(0);
    plan.started(1);
    assert_eq!(plan.wait_ms(0), None);
}

#[test]
fn lost_and_killed_runs_are_no_failures_but_wait() {
    for end in [End::Lost, End::Killed] {
        let task = task(&["a"], |task| task.processes[0].min_duration_secs = 5);
        let mut plan = plan(&task).regular;
        run(&mut plan, 0, end, 0);
        assert_eq!((plan.failed_count(), plan.runnable(4_999).len(), plan.runnable(5_000).len()), (0, 0, 1));
    }
}

#[test]
fn with_no_failure_limit_only_success_or_the_run_limit_ends_it() {
    let endless = |daemon| {
        let task = task(&["a"], |task| {
            task.processes[0].max_failures = 0;
            task.processes[0].daemon = daemon;
        });
        TaskPlan::with_run_limit(&task, u32::MAX).unwrap().regular
    };
    let mut daemon = endless(true);
    for _ in 0..500 {
        run(&mut daemon, 0, End::Failed, 0);
        run(&mut daemon, 0, End::Success, 0);
    }
    assert_eq!((daemon.failed_count(), daemon.finished().count()), (0, 0));
    let mut once = endless(false);
    run(&mut once, 0, End::Failed, 0);
    run(&mut once, 0, End::Success, 0);
    assert!(once.is_complete());
}

#[test]
fn the_run_limit_counts_every_kind_of_run() {
    for ends in [[End::Failed, End::Lost, End::Failed], [End::Failed, End::Success, End::Lost]] {
        let task = task(&["a"], |task| {
            task.processes[0].max_failures = 0;
            task.processes[0].daemon = true;
        });
        let mut plan = TaskPlan::with_run_limit(&task, 3).unwrap().regular;
        for end in ends {
            run(&mut plan, 0, end, 0);
        }
        assert_eq!(plan.runnable(i64::MAX), [0; 0]);
        assert_eq!(plan.failed().collect::<Vec<_>>(), [0]);
    }
    let task = task(&["a"], |task| task.processes[0].max_failures = 0);
    let mut plan = plan(&task);
    for _ in 0..RUN_LIMIT {
        assert!(!plan.regular.is_complete());
        run(&mut plan.regular, 0, End::Killed, 0);
    }
    assert!(plan.regular.is_complete() && !plan.is_healthy());
}

#[test]
fn max_concurrency_limits_both_plans_and_is_stable() {
    let task = task(&["a", "b", "c", "f1", "f2"], |task| {
        task.max_concurrency = 2;
        task.processes[3].is_final = true;
        task.processes[4].is_final = true;
    });
    let mut plan = plan(&task);
    assert_eq!(plan.regular.runnable(0), [0, 1]);
    plan.regular.started(1);
    assert_eq!(plan.regular.runnable(0), [0]);
    plan.regular.started(0);
    assert_eq!(plan.regular.runnable(0), [0; 0]);
    assert_eq!(plan.regular.wait_ms(0), None, "only an end makes room");
    plan.regular.ended(1, End::Success, 0);
    assert_eq!(plan.regular.runnable(0), [2]);
    assert_eq!(plan.finalizing.runnable(0), [3, 4]);
}

#[test]
fn a_task_tolerates_failures_below_its_limit_and_any_number_with_zero() {
    let of = |max_failures| {
        let mut plan = plan(&task(&["a", "b", "c"], |task| task.max_failures = max_failures));
        run(&mut plan.regular, 0, End::Failed, 0);
        let after_one = plan.is_healthy();
        run(&mut plan.regular, 1, End::Failed, 0);
        (after_one, plan.is_healthy())
    };
    assert_eq!(of(1), (false, false));
    assert_eq!(of(2), (true, false));
    assert_eq!(of(0), (true, true));
    // A deadlock is unhealthy even so.
    let deadlocked = task(&["a", "b"], |task| {
        task.max_failures = 0;
        task.constraints = vec![order(&["a", "b"])];
    });
    let mut plan = plan(&deadlocked);
    run(&mut plan.regular, 0, End::Failed, 0);
    assert!(!plan.is_healthy());
}

#[test]
fn a_task_limit_of_two_with_a_broken_chain_fails_by_deadlock() {
    let task = task(&["a", "b", "c"], |task| {
        task.max_failures = 2;
        task.constraints = vec![order(&["a", "b", "c"])];
    });
    let mut plan = plan(&task);
    run(&mut plan.regular, 0, End::Success, 0);
    run(&mut plan.regular, 1, End::Failed, 0);
    assert!(plan.regular.is_deadlocked() && !plan.is_healthy());
}

#[test]
fn a_run_that_ends_after_its_process_is_over_changes_nothing() {
    let mut plan = plan(&task(&["a"], |_| ())).regular;
    run(&mut plan, 0, End::Success, 0);
    let before = plan.clone();
    plan.ended(0, End::Failed, 9);
    plan.started(0);
    plan.started(17);
    assert_eq!(plan, before);
}
