//! `job create`, `kill`, `killall`, `restart`, `add`, `open`.

use std::cell::Cell;

use thrift::{Call, GetPendingReasonResult, PendingReason, ResponseCode, ResponseResult, ScheduleStatus as S};

use crate::clusters::Clusters;
use crate::evaluation::Evaluation;
use crate::exit::Exit;
use crate::scheduler::{Page, TransportError};
use crate::testing::{FakeWorld, hello_file, hello_file_as, ok, refused, task, with_result, with_tasks};

const KEY: &str = "c1/www-data/devel/hello_world";

#[test]
fn create_prints_the_job_s_page() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t0", &[(1, S::Pending, None)])])),
        _ => None,
    });
    world.aurora(&format!("job create {KEY} hello.aurora")).expect(
        Exit::Ok,
        "Job create succeeded: job url=http://scheduler.example:8081/scheduler/www-data/devel/hello_world\n",
        " INFO] Creating job hello_world\n",
    );
    assert_eq!(world.changes(), ["createJob"]);
    let sent = world.calls().into_iter().find_map(|call| match call {
        Call::CreateJob(arguments) => arguments.description,
        _ => None,
    });
    let sent = sent.unwrap();
    assert_eq!((sent.instance_count, sent.owner.unwrap().user.as_str()), (1, "ana"));
    assert_eq!(sent.task_config.unwrap().executor_config.unwrap().data.as_deref(), Some("{}"));
}

#[test]
fn options_may_stand_anywhere_and_be_shortened() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t0", &[(1, S::Finished, None)])])),
        _ => None,
    });
    let ran =
        world.aurora(&format!("job create --wait-until=FINISHED {KEY} --open-b --bind a.b=1 hello.aurora --bind c=2"));
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(world.opened(), ["http://scheduler.example:8081/scheduler/www-data/devel/hello_world"]);
}

#[test]
fn create_waits_for_running_and_only_the_newest_task_of_an_instance_counts() {
    let looks = Cell::new(0);
    let world = FakeWorld::new(move |call| match call {
        Call::GetTasksWithoutConfigs(_) => {
            looks.set(looks.get() + 1);
            let newest = if looks.get() < 4 { S::Starting } else { S::Running };
            Some(with_tasks(vec![task(0, "old", &[(1, S::Failed, None)]), task(0, "new", &[(5, newest, None)])]))
        }
        _ => None,
    });
    assert_eq!(world.aurora(&format!("job create {KEY} f --wait-until RUNNING")).exit, Exit::Ok);
    let reads = world.calls().iter().filter(|call| matches!(call, Call::GetTasksWithoutConfigs(_))).count();
    assert_eq!(reads, 5, "four looks until it runs, and the last check that the job has tasks");
}

#[test]
fn a_long_wait_for_a_machine_is_explained_once() {
    let looks = Cell::new(0);
    let world = FakeWorld::new(move |call| match call {
        Call::GetTasksWithoutConfigs(_) => {
            looks.set(looks.get() + 1);
            let status = if looks.get() < 12 { S::Pending } else { S::Running };
            Some(with_tasks(vec![task(0, "t", &[(1, status, None)])]))
        }
        Call::GetPendingReason(_) => {
            let reason = PendingReason { task_id: "t".into(), reason: "Insufficient: CPU".into() };
            let reasons = [reason].into_iter().collect();
            Some(with_result(ResponseResult::GetPendingReason(GetPendingReasonResult { reasons })))
        }
        _ => None,
    });
    let ran = world.aurora(&format!("job create {KEY} f --wait-until RUNNING"));
    assert_eq!(ran.exit, Exit::Ok);
    let expected = " INFO] Creating job hello_world\n INFO] Instance 0 waits for a machine: Insufficient: CPU\n";
    assert_eq!(ran.err, expected);
}

#[test]
fn a_refused_create_is_exit_4_with_the_scheduler_s_reason() {
    let world = FakeWorld::new(|call| match call {
        Call::CreateJob(_) => {
            Some(refused(ResponseCode::InvalidRequest, "Job already exists: www-data/devel/hello_world"))
        }
        _ => None,
    });
    world.aurora(&format!("job create {KEY} f")).expect(
        Exit::CommandFailure,
        "",
        " INFO] Creating job hello_world\n\
         Job creation failed due to error:\n\tJob already exists: www-data/devel/hello_world\n",
    );
}

#[test]
fn a_cron_job_is_not_created() {
    let world =
        FakeWorld::new(|_| None).with_file(Ok(hello_file_as(|job| job.cron_schedule = Some("* * * * *".into()))));
    let ran = world.aurora(&format!("job create {KEY} f"));
    assert_eq!((ran.exit, world.changes().len()), (Exit::CommandFailure, 0));
    assert!(ran.err.contains("cron schedule"), "{}", ran.err);
}

#[test]
fn a_bad_file_is_exit_3_and_nothing_is_sent() {
    let world = FakeWorld::new(|_| None).with_file(Err("error: invalid syntax\n --> f:3\n".into()));
    world.aurora(&format!("job create {KEY} f")).expect(
        Exit::InvalidConfiguration,
        "",
        "Error loading configuration: error: invalid syntax\n --> f:3\n",
    );
    assert!(world.changes().is_empty());
}

#[test]
fn a_bad_file_is_told_even_when_no_scheduler_answers() {
    let world = FakeWorld::failing(|_| Err(TransportError::Connect("connection refused".into())))
        .with_file(Err("no such file".into()));
    let ran = world.aurora_with("job create devcluster/www-data/devel/hello_world f", Clusters::default());
    ran.expect(Exit::InvalidConfiguration, "", "Error loading configuration: no such file\n");
}

#[test]
fn a_key_that_the_file_does_not_define_is_exit_3() {
    let world = FakeWorld::new(|_| None);
    let ran = world.aurora("job create c1/www-data/devel/other hello.aurora");
    ran.expect(
        Exit::InvalidConfiguration,
        "",
        "Error loading configuration: hello.aurora defines no job c1/www-data/devel/other\n",
    );
}

#[test]
fn nobody_at_the_local_address_says_how_to_start_a_daemon() {
    let world = FakeWorld::failing(|_| Err(TransportError::Connect("connection refused".into())))
        .with_file(Ok(Evaluation { job: None, ..hello_file() }));
    let ran = world.aurora_with("job killall devcluster/www-data/devel/hello", Clusters::default());
    ran.expect(Exit::Timeout, "", "No scheduler answers at http://127.0.0.1:8081. Start one with: /opt/daybreak up\n");
}

#[test]
fn a_far_scheduler_is_retried_for_ten_minutes() {
    let world = FakeWorld::failing(|_| Err(TransportError::Connect("connection refused".into())));
    let ran = world.aurora(&format!("job killall {KEY}"));
    assert_eq!(ran.exit, Exit::Timeout);
    assert_eq!(world.calls().len(), 121, "every 5 s for 600 s");
    assert!(ran.err.contains("Trying again every 5 s for up to 10 minutes."), "{}", ran.err);
}

#[test]
fn only_what_can_be_repeated_is_repeated_after_a_broken_connection() {
    let broken = || Err(TransportError::Broken("reset".into()));
    let tries = Cell::new(0);
    let world = FakeWorld::failing(move |call| match call {
        Call::KillTasks(_) => broken(),
        Call::GetTasksWithoutConfigs(_) if tries.replace(tries.get() + 1) == 0 => broken(),
        _ => Ok(with_tasks(vec![task(0, "t", &[(1, S::Running, None)])])),
    });
    let ran = world.aurora(&format!("job killall {KEY}"));
    assert_eq!(ran.exit, Exit::NetworkError);
    assert!(ran.err.contains("whether the scheduler did it is unknown"), "{}", ran.err);
    assert_eq!(world.changes(), ["killTasks"], "sent once");
}

#[test]
fn a_change_is_sent_again_under_its_key_where_keys_are_known() {
    let about = |body: &str| Page { status: 200, body: body.as_bytes().to_vec(), ..Page::default() };
    let knows = about(r#"{"idempotencyKeys": {"header": "Idempotency-Key", "keptMost": 9}}"#);
    for (page, sent) in [
        (knows, 3),
        (about(r#"{"idempotencyKeys": {"keptMost": 0}}"#), 1),
        (about(r#"{"version": "0.1.0"}"#), 1),
        (about("<html>"), 1),
        (Page { status: 404, ..Page::default() }, 1),
    ] {
        let tries = Cell::new(0);
        let world = FakeWorld::failing(move |call| match call {
            Call::KillTasks(_) if tries.replace(tries.get() + 1) < 2 => Err(TransportError::Broken("reset".into())),
            // Until they are killed at the third try.
            _ if tries.get() < 3 => Ok(with_tasks(vec![task(0, "t", &[(1, S::Running, None)])])),
            _ => Ok(with_tasks(vec![])),
        });
        let shown = page.clone();
        let world = world.with_pages(move |path| {
            assert_eq!(path, "/api/v1");
            shown.clone()
        });
        let ran = world.aurora(&format!("job killall {KEY}"));
        assert_eq!(ran.exit, if sent == 3 { Exit::Ok } else { Exit::NetworkError }, "{page:?}: {}", ran.err);
        assert_eq!(ran.err.contains("whether the scheduler did it is unknown"), sent == 1, "{}", ran.err);
        assert_eq!(world.changes().len(), sent, "{page:?}");
        assert_eq!(world.keys().into_iter().flatten().count(), sent, "a key with each change and none with a question");
    }
}

#[test]
fn a_change_waits_for_a_scheduler_that_went_away_to_come_back() {
    for comes_back in [true, false] {
        let (tries, looks) = (Cell::new(0), Cell::new(0));
        let world = FakeWorld::failing(move |call| match call {
            Call::KillTasks(_) if tries.replace(tries.get() + 1) == 0 => Err(TransportError::Broken("HTTP 502".into())),
            _ if tries.get() < 2 => Ok(with_tasks(vec![task(0, "t", &[(1, S::Running, None)])])),
            _ => Ok(with_tasks(vec![])),
        });
        let world = world.with_pages(move |_| match looks.replace(looks.get() + 1) {
            5.. if comes_back => {
                Page { status: 200, body: br#"{"idempotencyKeys":{"keptMost":1}}"#.to_vec(), ..Page::default() }
            }
            _ => Page { status: 502, ..Page::default() },
        });
        let ran = world.aurora(&format!("job killall {KEY}"));
        assert_eq!(ran.exit, if comes_back { Exit::Ok } else { Exit::NetworkError }, "{}", ran.err);
        assert_eq!(world.changes().len(), if comes_back { 2 } else { 1 });
        assert!(ran.err.contains("Trying again every 5 s for up to 10 minutes."), "{}", ran.err);
        assert_eq!(ran.err.contains("whether the scheduler did it is unknown"), !comes_back, "{}", ran.err);
    }
}

#[test]
fn a_busy_scheduler_is_asked_again() {
    let tries = Cell::new(0);
    let world = FakeWorld::new(move |call| match call {
        Call::CreateJob(_) if tries.replace(tries.get() + 1) < 2 => {
            Some(refused(ResponseCode::ErrorTransient, "Storage is not ready"))
        }
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t", &[(1, S::Pending, None)])])),
        _ => None,
    });
    assert_eq!(world.aurora(&format!("job create {KEY} f")).exit, Exit::Ok);
    assert_eq!(world.changes(), ["createJob"; 3]);
}

#[test]
fn authentication_and_foreign_servers_have_their_own_codes() {
    let world = FakeWorld::failing(|call| match call {
        Call::CreateJob(_) => Err(TransportError::Denied("HTTP 401".into())),
        _ => Ok(ok()),
    });
    assert_eq!(world.aurora(&format!("job create {KEY} f")).exit, Exit::AuthError);

    let world = FakeWorld::failing(|_| Err(TransportError::Foreign("it answers HTTP 404 to POST /api".into())));
    let ran = world.aurora(&format!("job killall {KEY}"));
    assert_eq!(ran.exit, Exit::NetworkError);
    assert!(ran.err.contains("is not Daybreak or Aurora: it answers HTTP 404"), "{}", ran.err);
}

/// A job whose instances run until they are killed.
fn killable(instances: i32) -> FakeWorld {
    let mut alive: Vec<i32> = (0..instances).collect();
    FakeWorld::new(move |call| match call {
        Call::GetTasksWithoutConfigs(arguments) => {
            let query = arguments.query.clone().unwrap();
            let wanted = |id: &i32| query.instance_ids.as_ref().is_none_or(|ids| ids.contains(id));
            let tasks = alive.iter().filter(|id| wanted(id)).map(|id| task(*id, "t", &[(1, S::Running, None)]));
            Some(with_tasks(tasks.collect()))
        }
        Call::KillTasks(arguments) => {
            alive.retain(|id| arguments.instances.as_ref().is_some_and(|ids| !ids.contains(id)));
            Some(ok())
        }
        _ => None,
    })
}

#[test]
fn killall_goes_in_batches() {
    let world = killable(3);
    world.aurora(&format!("job killall {KEY} --batch-size 2 -m maintenance")).expect(
        Exit::Ok,
        "Successfully killed instances [0, 1]\nSuccessfully killed instances [2]\nJob killall succeeded\n",
        "",
    );
    assert_eq!(world.changes(), ["killTasks", "killTasks"]);
    let message = world.calls().into_iter().find_map(|call| match call {
        Call::KillTasks(arguments) => arguments.message,
        _ => None,
    });
    assert_eq!(message.as_deref(), Some("maintenance"));
}

#[test]
fn killall_at_once_names_no_instances() {
    let world = killable(3);
    world.aurora(&format!("job killall {KEY} --no-batching")).expect(Exit::Ok, "Job killall succeeded\n", "");
    let sent: Vec<_> = world.calls().into_iter().filter(|call| matches!(call, Call::KillTasks(_))).collect();
    assert!(matches!(&sent[..], [Call::KillTasks(arguments)] if arguments.instances.is_none()), "{sent:?}");
}

#[test]
fn killing_what_is_not_there_succeeds_and_says_so() {
    killable(0).aurora(&format!("job killall {KEY}")).expect(
        Exit::Ok,
        "Job killall succeeded\n",
        "No tasks to kill found for job c1/www-data/devel/hello_world\n",
    );
}

#[test]
fn kill_needs_instances_and_strict_needs_them_active() {
    let ran = killable(2).aurora(&format!("job kill {KEY}"));
    assert_eq!(ran.exit, Exit::InvalidParameter);
    assert!(ran.err.contains("aurora job killall c1/www-data/devel/hello_world"), "{}", ran.err);

    let world = killable(2);
    let ran = world.aurora(&format!("job kill {KEY}/1-3 --strict"));
    ran.expect(Exit::InvalidParameter, "", "Invalid instances: [2, 3] are not active.\n");
    assert!(world.changes().is_empty());

    killable(2).aurora(&format!("job kill {KEY}/1-3")).expect(
        Exit::Ok,
        "Successfully killed instances [1]\nJob kill succeeded\n",
        "",
    );
}

#[test]
fn what_does_not_die_is_reported_after_four_minutes() {
    let immortal = || {
        FakeWorld::new(|call| match call {
            Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t", &[(1, S::Killing, None)])])),
            _ => None,
        })
    };
    let ran = immortal().aurora(&format!("job killall {KEY} --no-batching"));
    ran.expect(Exit::Timeout, "", "Instances [0] were not killed in time\n");
    let ran = immortal().aurora(&format!("job killall {KEY} --max-total-failures 3"));
    assert_eq!(ran.exit, Exit::CommandFailure, "any error at the end is exit 4");
}

#[test]
fn a_kill_during_an_update_is_refused_and_says_what_to_do() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t", &[(1, S::Running, None)])])),
        Call::KillTasks(_) => Some(refused(ResponseCode::JobUpdatingError, "Job is currently updating")),
        _ => None,
    });
    world.aurora(&format!("job killall {KEY}")).expect(
        Exit::ApiError,
        "",
        "Error killing job c1/www-data/devel/hello_world:\n\tJob is currently updating\n\
         The job is locked by an active update. Wait for it with `aurora update wait`, or stop it with `aurora update abort`.\n",
    );
}

/// Instances that come back under another id after a restart; instance 1 keeps failing when asked to.
fn restartable(instances: i32, unstable: bool) -> FakeWorld {
    let mut generation = 0;
    FakeWorld::new(move |call| match call {
        Call::GetTasksWithoutConfigs(arguments) => {
            let query = arguments.query.clone().unwrap();
            let wanted = |id: &i32| query.instance_ids.as_ref().is_none_or(|ids| ids.contains(id));
            if unstable {
                generation += 1;
            }
            let tasks = (0..instances).filter(wanted).map(|id| {
                let name = if unstable && id == 1 { format!("t{id}-{generation}") } else { format!("t{id}") };
                task(id, &name, &[(1, S::Running, None)])
            });
            Some(with_tasks(tasks.collect()))
        }
        _ => None,
    })
}

#[test]
fn restart_rolls_batch_by_batch() {
    let world = restartable(3, false);
    let ran = world.aurora(&format!("job restart {KEY} --batch-size 2 --watch-secs 10"));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "Job c1/www-data/devel/hello_world restarted successfully\n"));
    assert!(
        ran.err.contains("Restarting instances: [0, 1]") && ran.err.contains("All instances were restarted"),
        "{}",
        ran.err
    );
    assert_eq!(world.changes(), ["restartShards", "restartShards"]);
}

#[test]
fn restart_stops_when_too_many_fail_and_still_exits_with_0() {
    let world = restartable(3, true);
    let ran = world.aurora(&format!("job restart {KEY} --watch-secs 10"));
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.err.contains("Instance 1 failed to restart"), "{}", ran.err);
    assert_eq!(world.changes(), ["restartShards", "restartShards"], "instance 2 was left alone");
    let ran = world.aurora(&format!("job restart {KEY} --max-total-failures -1"));
    assert_eq!(ran.exit, Exit::InvalidParameter);
}

#[test]
fn add_copies_an_active_instance_and_prints_nothing() {
    let world = killable(2);
    world.aurora(&format!("job add {KEY}/1 3")).expect(Exit::Ok, "", "");
    assert_eq!(world.changes(), ["addInstances"]);
    let ran = killable(2).aurora(&format!("job add {KEY}/7 1"));
    assert_eq!(ran.exit, Exit::InvalidParameter);
}

#[test]
fn open_opens_what_the_key_names() {
    let world = FakeWorld::new(|_| None);
    for (key, path) in [("c1", ""), ("c1/www-data", "/www-data"), (KEY, "/www-data/devel/hello_world")] {
        assert_eq!(world.aurora(&format!("job open {key}")).exit, Exit::Ok);
        assert_eq!(world.opened().pop().unwrap(), format!("http://scheduler.example:8081/scheduler{path}"));
    }
}
