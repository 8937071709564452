//! The one-word verbs, line for line.

use thrift::{
    Call, GetJobUpdateSummariesResult, JobUpdateKey, JobUpdateState, JobUpdateStatus, JobUpdateSummary, ResponseCode,
    ResponseResult, ScheduleStatus as S, StartJobUpdateResult,
};

use crate::clusters::{Cluster, Clusters};
use crate::exit::Exit;
use crate::testing::{FakeWorld, Ran, ok, refused, task, with_message, with_result, with_tasks};

fn run(world: &FakeWorld, words: &str) -> Ran {
    let mut clusters = Clusters::default();
    clusters.add(Cluster::at("c1", "http://precise64:8081"));
    world.aurora_with(words, clusters)
}

#[test]
fn create_logs_the_tutorial_s_lines() {
    let world = FakeWorld::new(|_| None);
    run(&world, "create c1/www-data/devel/hello_world /vagrant/hello_world.aurora").expect(
        Exit::Ok,
        "",
        " INFO] Creating job hello_world\n \
         INFO] Response from scheduler: OK (message: 1 new tasks pending for job www-data/devel/hello_world)\n \
         INFO] Job url: http://precise64:8081/scheduler/www-data/devel/hello_world\n",
    );
    assert_eq!(world.changes(), ["createJob"]);
}

#[test]
fn create_prefers_the_scheduler_s_own_words() {
    let world = FakeWorld::new(|call| match call {
        Call::CreateJob(_) => Some(with_message("7 new tasks pending for job x")),
        _ => None,
    });
    let ran = run(&world, "create c1/www-data/devel/hello_world f");
    assert!(ran.err.contains("OK (message: 7 new tasks pending for job x)"), "{}", ran.err);
}

#[test]
fn create_finds_a_bare_name_in_the_file() {
    let world = FakeWorld::new(|_| None);
    assert_eq!(run(&world, "create hello_world f --cluster c1 --env devel").exit, Exit::Ok);
    let ran = run(&world, "create other f");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("defines 0 jobs that fit 'other'"), "{}", ran.err);
}

#[test]
fn a_refused_create_logs_the_code_and_exits_with_1() {
    let world = FakeWorld::new(|call| match call {
        Call::CreateJob(_) => Some(refused(ResponseCode::InvalidRequest, "Job already exists: a/b/c")),
        _ => None,
    });
    run(&world, "create c1/www-data/devel/hello_world f").expect(
        Exit::Failed,
        "",
        " INFO] Creating job hello_world\n \
         INFO] Response from scheduler: INVALID_REQUEST (message: Job already exists: a/b/c)\n",
    );
}

#[test]
fn killall_logs_the_tutorial_s_lines() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(Vec::new())),
        _ => None,
    });
    run(&world, "killall c1/www-data/devel/hello_world").expect(
        Exit::Ok,
        "",
        " INFO] Killing tasks for job: c1/www-data/devel/hello_world\n \
         INFO] Response from scheduler: OK (message: Tasks killed.)\n \
         INFO] Job url: http://precise64:8081/scheduler/www-data/devel/hello_world\n",
    );
    assert_eq!(world.changes(), ["killTasks"]);
}

/// A scheduler whose update walks through the states, one per look.
fn updating(states: &'static [JobUpdateStatus]) -> FakeWorld {
    let mut look = 0;
    FakeWorld::new(move |call| match call {
        Call::StartJobUpdate(_) => Some(with_result(ResponseResult::StartJobUpdate(StartJobUpdateResult {
            key: Some(JobUpdateKey { job: None, id: "u-1".into() }),
            update_summary: None,
        }))),
        Call::GetJobUpdateSummaries(_) => {
            let status = states[look.min(states.len() - 1)];
            look += 1;
            let summary = JobUpdateSummary {
                key: Some(JobUpdateKey { job: None, id: "u-1".into() }),
                state: Some(JobUpdateState { status: Some(status), ..JobUpdateState::default() }),
                ..JobUpdateSummary::default()
            };
            Some(with_result(ResponseResult::GetJobUpdateSummaries(GetJobUpdateSummariesResult {
                update_summaries: vec![summary],
            })))
        }
        _ => Some(ok()),
    })
}

#[test]
fn update_blocks_until_the_end() {
    use JobUpdateStatus::{RolledForward, RollingForward};
    let world = updating(&[RollingForward, RollingForward, RolledForward]);
    run(&world, "update c1/www-data/devel/hello_world /vagrant/hello_world.aurora").expect(
        Exit::Ok,
        "",
        " INFO] Updating job: hello_world\n \
         INFO] Response from scheduler: OK (message: update u-1 started)\n \
         INFO] Current state ROLLING_FORWARD\n \
         INFO] Current state ROLLED_FORWARD\n \
         INFO] Job url: http://precise64:8081/scheduler/www-data/devel/hello_world\n \
         INFO] Update completed successfully.\n",
    );
}

#[test]
fn an_update_that_rolls_back_is_exit_1_and_says_where_to_look() {
    use JobUpdateStatus::{RolledBack, RollingBack, RollingForward};
    let ran = run(&updating(&[RollingForward, RollingBack, RolledBack]), "update c1/www-data/devel/hello_world f");
    assert_eq!(ran.exit, Exit::Failed);
    let expected =
        "The update ended as ROLLED_BACK. What happened: aurora update info c1/www-data/devel/hello_world u-1\n";
    assert!(ran.err.ends_with(expected), "{}", ran.err);
}

#[test]
fn old_spellings_reach_today_s_verbs() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t", &[(1, S::Running, None)])])),
        _ => None,
    });
    let ran = run(&world, "status c1/www-data/devel/hello_world");
    assert!(ran.exit == Exit::Ok && ran.out.contains("status: RUNNING on host-a"), "{ran:?}");
    assert_eq!(run(&world, "version").out, concat!(env!("CARGO_PKG_VERSION"), "\n"));
    for verb in ["get_quota r", "diff c1/r/e/n", "run c1/r/e/n", "ssh c1/r/e/n"] {
        let ran = run(&world, verb);
        assert!(ran.exit == Exit::Failed && ran.err.contains("required"), "{verb}: {ran:?}");
    }
    assert_eq!(run(&world, "create onlyone").exit, Exit::Failed, "old clients knew 0 and 1 only");
}
