//! `update start`, `wait`, `pause` and its kin, `list`, `info`.

use serde_json::{Value, json};
use thrift::{
    Call, ConfigGroup, GetJobUpdateDetailsResult, GetJobUpdateDiffResult, GetJobUpdateSummariesResult,
    JobInstanceUpdateEvent, JobUpdate, JobUpdateAction, JobUpdateDetails, JobUpdateEvent, JobUpdateKey, JobUpdateState,
    JobUpdateStatus, JobUpdateSummary, Metadata, Range, Response, ResponseCode, ResponseResult, Set,
    StartJobUpdateResult,
};

use crate::exit::Exit;
use crate::scheduler::{TransportError, wire_key};
use crate::testing::{FakeWorld, hello_key, ok, refused, with_message, with_result};

const KEY: &str = "c1/www-data/devel/hello_world";
const ID: &str = "4f6c0000-0000-4000-8000-000000000001";
/// 2024-05-01 10:00:00 UTC.
const MORNING_MS: i64 = 1_714_557_600_000;

fn summary(status: JobUpdateStatus) -> JobUpdateSummary {
    JobUpdateSummary {
        user: Some("ana".into()),
        key: Some(JobUpdateKey { job: Some(wire_key(&hello_key().job)), id: ID.into() }),
        state: Some(JobUpdateState {
            status: Some(status),
            created_timestamp_ms: MORNING_MS,
            last_modified_timestamp_ms: MORNING_MS + 60_000,
        }),
        metadata: Some(
            [Metadata { key: "org.apache.aurora.client.update_id".into(), value: "1b2e".into() }].into_iter().collect(),
        ),
    }
}

fn summaries(update_summaries: Vec<JobUpdateSummary>) -> Response {
    with_result(ResponseResult::GetJobUpdateSummaries(GetJobUpdateSummariesResult { update_summaries }))
}

fn diff() -> Response {
    let group = |ranges: &[(i32, i32)]| {
        let instances = ranges.iter().map(|(first, last)| Range { first: *first, last: *last }).collect();
        [ConfigGroup { config: None, instances }].into_iter().collect::<Set<_>>()
    };
    with_result(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
        add: group(&[(6, 6)]),
        update: group(&[(5, 5), (0, 2)]),
        unchanged: group(&[(3, 4)]),
        remove: Set::default(),
    }))
}

fn started() -> Response {
    with_result(ResponseResult::StartJobUpdate(StartJobUpdateResult {
        key: Some(JobUpdateKey { job: Some(wire_key(&hello_key().job)), id: ID.into() }),
        update_summary: None,
    }))
}

/// A scheduler whose update walks through the states, one per look.
fn walking(states: Vec<JobUpdateStatus>) -> FakeWorld {
    let mut look = 0;
    FakeWorld::new(move |call| match call {
        Call::GetJobUpdateDiff(_) => Some(diff()),
        Call::StartJobUpdate(_) => Some(started()),
        Call::GetJobUpdateSummaries(_) => {
            let status = states[look.min(states.len() - 1)];
            look += 1;
            Some(summaries(vec![summary(status)]))
        }
        _ => None,
    })
}

const DIFF: &str =
    "This job update will:\nadd instances: [6]\nupdate instances: [0-2], [5]\nnot change instances: [3-4]\n";

#[test]
fn start_says_what_will_change_and_where_to_look() {
    let world = walking(vec![JobUpdateStatus::RollingForward]);
    world.aurora(&format!("update start {KEY}/0-2,5 f -m hello")).expect(
        Exit::Ok,
        &format!(
            "{DIFF}Job update has started. View your update progress at \
             http://scheduler.example:8081/scheduler/www-data/devel/hello_world/update/{ID}\n"
        ),
        "",
    );
    let request = world.calls().into_iter().find_map(|call| match call {
        Call::StartJobUpdate(arguments) => {
            assert_eq!(arguments.message.as_deref(), Some("hello"));
            arguments.request
        }
        _ => None,
    });
    let request = request.unwrap();
    let settings = request.settings.unwrap();
    assert_eq!(settings.update_only_these_instances.len(), 2);
    assert_eq!(settings.min_wait_in_instance_running_ms, 45_000);
    let metadata = request.metadata.unwrap();
    assert_eq!(metadata[0].value, "11111111-2222-4333-8444-555555555555");
}

#[test]
fn start_with_wait_exits_by_the_end() {
    use JobUpdateStatus::{Aborted, RolledBack, RolledForward, RollingBack, RollingForward};
    let cases = [
        (
            vec![RollingForward, RollingForward, RolledForward],
            Exit::Ok,
            "Current state ROLLING_FORWARD\nCurrent state ROLLED_FORWARD\n",
        ),
        (
            vec![RollingForward, RollingBack, RolledBack],
            Exit::CommandFailure,
            "Current state ROLLING_FORWARD\nCurrent state ROLLING_BACK\nCurrent state ROLLED_BACK\n",
        ),
        (vec![Aborted], Exit::UnknownError, "Current state ABORTED\n"),
    ];
    for (states, exit, tail) in cases {
        let ran = walking(states).aurora(&format!("update start {KEY} f --wait"));
        assert_eq!(ran.exit, exit);
        assert!(ran.out.ends_with(&format!("{ID}\n{tail}")), "{}", ran.out);
    }
}

#[test]
fn nothing_to_change_is_success_with_the_scheduler_s_words() {
    let world = FakeWorld::new(|call| match call {
        Call::GetJobUpdateDiff(_) => Some(diff()),
        Call::StartJobUpdate(_) => Some(with_message("Job is unchanged by proposed update.")),
        _ => None,
    });
    let ran = world.aurora(&format!("update start {KEY} f --wait"));
    ran.expect(Exit::Ok, &format!("{DIFF}Job is unchanged by proposed update.\n"), "");
}

#[test]
fn another_update_in_progress_is_exit_10_but_our_own_repeated_start_is_success() {
    fn in_progress(id: &str) -> Response {
        let mut running = summary(JobUpdateStatus::RollingForward);
        running.metadata = Some(
            [Metadata { key: "org.apache.aurora.client.update_id".into(), value: id.into() }].into_iter().collect(),
        );
        let result = StartJobUpdateResult { key: running.key.clone(), update_summary: Some(running) };
        Response {
            result: Some(ResponseResult::StartJobUpdate(result)),
            ..refused(ResponseCode::InvalidRequest, "An active update already exists")
        }
    }
    let foreign = FakeWorld::new(|call| match call {
        Call::GetJobUpdateDiff(_) => Some(diff()),
        Call::StartJobUpdate(_) => Some(in_progress("somebody else's")),
        _ => None,
    });
    let ran = foreign.aurora(&format!("update start {KEY} f"));
    let err = "Failed to start update due to error:\n\tAn active update already exists\n";
    ran.expect(Exit::ApiError, DIFF, err);

    let mut attempts = 0;
    let own = FakeWorld::failing(move |call| match call {
        Call::GetJobUpdateDiff(_) => Ok(diff()),
        Call::StartJobUpdate(_) => {
            attempts += 1;
            if attempts == 1 {
                return Err(TransportError::Broken("reset".into()));
            }
            Ok(in_progress("11111111-2222-4333-8444-555555555555"))
        }
        _ => Ok(ok()),
    });
    let ran = own.aurora(&format!("update start {KEY} f"));
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(own.changes(), ["startJobUpdate", "startJobUpdate"]);
}

#[test]
fn wait_without_an_active_update_is_exit_6() {
    let world = FakeWorld::new(|call| match call {
        Call::GetJobUpdateSummaries(_) => Some(summaries(Vec::new())),
        _ => None,
    });
    world.aurora(&format!("update wait {KEY}")).expect(Exit::InvalidParameter, "", "Job update not found.\n");
    world.aurora(&format!("update wait {KEY} {ID}")).expect(Exit::InvalidParameter, "", "Job update not found.\n");
    let err = "There is no active update for this job.\n";
    world.aurora(&format!("update info {KEY}")).expect(Exit::InvalidParameter, "", err);
    for verb in ["pause", "resume", "abort", "rollback"] {
        let err = "No active update found for this job.\n";
        world.aurora(&format!("update {verb} {KEY}")).expect(Exit::InvalidParameter, "", err);
    }
}

#[test]
fn actions_on_the_active_update() {
    for (verb, method, said) in [
        ("pause", "pauseJobUpdate", "Update has been paused.\n"),
        ("resume", "resumeJobUpdate", "Update has been resumed.\n"),
        ("abort", "abortJobUpdate", "Update has been aborted.\n"),
        ("rollback", "rollbackJobUpdate", "Update rollback has started.\n"),
    ] {
        let world = walking(vec![JobUpdateStatus::RollingForward]);
        world.aurora(&format!("update {verb} {KEY} --message=hello")).expect(Exit::Ok, said, "");
        assert_eq!(world.changes(), [method]);
    }
    let world =
        walking(vec![JobUpdateStatus::RollingForward, JobUpdateStatus::RollingBack, JobUpdateStatus::RolledBack]);
    assert_eq!(world.aurora(&format!("update rollback {KEY} --wait")).exit, Exit::Ok, "rolled back is what was wanted");
    let refusing = FakeWorld::new(|call| match call {
        Call::GetJobUpdateSummaries(_) => Some(summaries(vec![summary(JobUpdateStatus::RollingForward)])),
        Call::PauseJobUpdate(_) => Some(refused(ResponseCode::InvalidRequest, "no")),
        _ => None,
    });
    refusing.aurora(&format!("update pause {KEY}")).expect(
        Exit::ApiError,
        "",
        "Failed to pause update due to error:\n\tno\n",
    );
}

#[test]
fn list_has_columns_that_scripts_can_cut() {
    let world = walking(vec![JobUpdateStatus::RollingForward]);
    let ran = world.aurora("update list c1/www-data --status active --status FAILED --user ana");
    assert_eq!(ran.exit, Exit::Ok);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[0].trim_end(),
        "JOB                                             UPDATE ID                            STATUS          CREATED BY  STARTED             LAST MODIFIED"
    );
    assert_eq!(
        lines[1],
        "c1/www-data/devel/hello_world                   4f6c0000-0000-4000-8000-000000000001 ROLLING_FORWARD ana         2024-05-01T10:00:00 2024-05-01T10:01:00"
    );
    let query = world.calls().into_iter().find_map(|call| match call {
        Call::GetJobUpdateSummaries(arguments) => arguments.job_update_query,
        _ => None,
    });
    let query = query.unwrap();
    assert_eq!((query.role.as_deref(), query.user.as_deref()), (Some("www-data"), Some("ana")));
    assert_eq!(query.update_statuses.unwrap().len(), 7);
    let elsewhere = world.aurora("update list c1/www-data/prod");
    elsewhere.expect(Exit::Ok, "", "");
}

#[test]
fn list_as_json() {
    let ran = walking(vec![JobUpdateStatus::RolledForward]).aurora("update list c1 --write-json");
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        document,
        json!([{ "job": KEY, "id": ID, "user": "ana", "started": "2024-05-01T10:00:00",
                 "last_modified": "2024-05-01T10:01:00", "status": "ROLLED_FORWARD" }])
    );
}

fn detailed() -> FakeWorld {
    FakeWorld::new(|call| match call {
        Call::GetJobUpdateSummaries(_) => Some(summaries(vec![summary(JobUpdateStatus::RollingForward)])),
        Call::GetJobUpdateDetails(arguments) => {
            assert!(arguments.key.is_some() && arguments.query.is_some(), "both are passed");
            let known = arguments.key.as_ref().unwrap().id == ID;
            let details = JobUpdateDetails {
                update: Some(JobUpdate { summary: Some(summary(JobUpdateStatus::RolledForward)), instructions: None }),
                update_events: vec![JobUpdateEvent {
                    status: Some(JobUpdateStatus::RollingForward),
                    timestamp_ms: MORNING_MS,
                    user: Some("ana".into()),
                    message: Some("hello".into()),
                }],
                instance_events: vec![JobInstanceUpdateEvent {
                    instance_id: 0,
                    timestamp_ms: MORNING_MS + 1_000,
                    action: Some(JobUpdateAction::InstanceUpdating),
                    message: Some("checking SLA".into()),
                }],
            };
            let details_list = Some(if known { vec![details] } else { Vec::new() });
            let result = GetJobUpdateDetailsResult { details: None, details_list };
            Some(with_result(ResponseResult::GetJobUpdateDetails(result)))
        }
        _ => None,
    })
}

#[test]
fn info_shows_the_history() {
    detailed().aurora(&format!("update info {KEY}")).expect(
        Exit::Ok,
        &format!(
            "Job: {KEY}, UpdateID: {ID}
Started 2024-05-01T10:00:00, last activity: 2024-05-01T10:01:00
Current status: ROLLED_FORWARD
Update events:
  Status: ROLLING_FORWARD at 2024-05-01T10:00:00
      message: hello
Instance events:
  Instance 0 at 2024-05-01T10:00:01: INSTANCE_UPDATING
      message: checking SLA
Metadata:
  org.apache.aurora.client.update_id: 1b2e
"
        ),
        "",
    );
}

#[test]
fn info_as_json_and_of_an_unknown_update() {
    let ran = detailed().aurora(&format!("update info {KEY} {ID} --write-json"));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        document,
        json!({
            "updateId": ID, "job": KEY, "started": MORNING_MS, "last_modified": "2024-05-01T10:01:00",
            "status": "ROLLED_FORWARD",
            "update_events": [{ "status": "ROLLING_FORWARD", "timestampMs": MORNING_MS, "message": "hello" }],
            "instance_update_events": [{ "instance": 0, "timestamp": MORNING_MS + 1000, "action": "INSTANCE_UPDATING" }],
            "metadata": [{ "org.apache.aurora.client.update_id": "1b2e" }],
        })
    );
    let ran = detailed().aurora(&format!("update info {KEY} nope"));
    ran.expect(Exit::InvalidParameter, "", &format!("Job {KEY} has no update nope.\n"));
}
