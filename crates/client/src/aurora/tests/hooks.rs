//! Hooks of job files around the calls of verbs.

use thrift::{Call, ResponseCode, ScheduleStatus as S};

use crate::exit::Exit;
use crate::hooks::HookVerdict;
use crate::testing::{FakeWorld, ok, refused, task, with_tasks};

const KEY: &str = "c1/www-data/devel/hello_world";
const YES: HookVerdict = HookVerdict { passed: true, exit: None };
const NO: HookVerdict = HookVerdict { passed: false, exit: None };

/// A scheduler with one running instance until something is killed.
fn world() -> FakeWorld {
    let killed = std::cell::Cell::new(false);
    FakeWorld::new(move |call| match call {
        Call::KillTasks(_) => {
            killed.set(true);
            Some(ok())
        }
        Call::GetTasksWithoutConfigs(_) if killed.get() => Some(with_tasks(Vec::new())),
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t0", &[(1, S::Running, None)])])),
        _ => None,
    })
}

#[test]
fn hooks_run_before_and_after_a_create() {
    let world = world().with_hooks([]);
    assert_eq!(world.aurora(&format!("job create {KEY} f")).exit, Exit::Ok);
    assert_eq!(
        world.hooked(),
        ["Pre create_job config=\"@config\"", "Post create_job config=\"@config\" -> Some(Ok) "]
    );
}

#[test]
fn a_false_pre_hook_stops_the_call_and_an_exit_ends_the_verb_with_its_status() {
    let stopped = world().with_hooks([Ok(NO)]);
    stopped.aurora(&format!("job create {KEY} f")).expect(
        Exit::Failed,
        "",
        " INFO] Creating job hello_world\nPre hooks stopped call to create_job: a hook of the job file did not allow it, and nothing was \
         sent to the scheduler.\n",
    );
    assert!(stopped.changes().is_empty());
    assert_eq!(stopped.hooked().len(), 1);
    let left = world().with_hooks([Ok(HookVerdict { passed: false, exit: Some(7) })]);
    assert_eq!(left.aurora(&format!("job create {KEY} f")).exit, Exit::Child(7));
    assert!(left.changes().is_empty());
    let dead = world().with_hooks([Err("the process that runs the file's hooks ended")]);
    let ran = dead.aurora(&format!("job create {KEY} f"));
    assert_eq!((ran.exit, dead.changes().len()), (Exit::Failed, 0), "{}", ran.err);
}

#[test]
fn after_the_call_hooks_change_nothing() {
    for verdict in [Ok(NO), Err("it is gone")] {
        let world = world().with_hooks([Ok(YES), verdict]);
        let ran = world.aurora(&format!("job create {KEY} f"));
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    }
}

#[test]
fn a_refusal_is_told_to_the_err_hooks() {
    let world = FakeWorld::new(|call| match call {
        Call::CreateJob(_) => Some(refused(ResponseCode::InvalidRequest, "too large")),
        _ => None,
    })
    .with_hooks([]);
    assert_eq!(world.aurora(&format!("job create {KEY} f")).exit, Exit::CommandFailure);
    assert_eq!(world.hooked()[1], "Err create_job config=\"@config\" -> Some(InvalidRequest) too large");
}

#[test]
fn verbs_without_a_job_file_take_one_for_its_hooks() {
    let kill = world().with_hooks([]);
    assert_eq!(kill.aurora(&format!("job killall {KEY} --config f -m bye")).exit, Exit::Ok);
    let told = "kill_job job_key=\"@job_key\" instances=[0] config=\"@config\" message=\"bye\"";
    assert_eq!(kill.hooked(), [format!("Pre {told}"), format!("Post {told} -> Some(Ok) ")]);
    let without = world().with_hooks([Ok(NO)]);
    assert_eq!(without.aurora(&format!("job killall {KEY}")).exit, Exit::Ok);
    assert!(without.hooked().is_empty());

    let restart = world().with_hooks([Ok(NO)]);
    assert_eq!(restart.aurora(&format!("job restart {KEY}/0 --config f --watch-secs 1")).exit, Exit::Failed);
    assert!(
        restart.changes().is_empty()
            && restart.hooked()[0].starts_with("Pre restart job_key=\"@job_key\" instances=[0]")
    );
    let add = world().with_hooks([Ok(NO)]);
    assert_eq!(add.aurora(&format!("job add {KEY}/0 2 --config f")).exit, Exit::Failed);
    assert_eq!(add.hooked(), ["Pre add_instances job_key=\"@job_key\" instance_id=0 count=2 config=\"@config\""]);
    let cron = world().with_hooks([Ok(NO)]);
    assert_eq!(cron.aurora(&format!("cron start {KEY} --config f")).exit, Exit::Failed);
    assert!(cron.changes().is_empty());
}

#[test]
fn an_update_tells_its_instances_and_its_message() {
    let world = world().with_hooks([Ok(NO)]);
    let ran = world.aurora(&format!("update start {KEY}/1-2 f -m why"));
    assert!(
        ran.err.contains("difference") || ran.err.contains("holds no result"),
        "the fake gives no difference: {}",
        ran.err
    );
    let old = self::world().with_hooks([Ok(NO)]);
    assert_eq!(old.aurora(&format!("update --shards 1-2 {KEY} f")).exit, Exit::Failed);
    assert!(
        old.hooked()[0].starts_with("Pre start_job_update config=\"@config\" message=null instances=[1,2] metadata={")
    );
}

#[test]
fn old_clients_turn_hooks_off_with_a_reason() {
    let world = world().with_hooks([Ok(NO)]);
    assert_eq!(world.aurora(&format!("create --disable_all_hooks_reason=fire {KEY} f")).exit, Exit::Ok);
    assert!(world.hooked().is_empty());
}
