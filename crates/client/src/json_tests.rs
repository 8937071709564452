//! `--json`: every verb that shows something has it, each with its one shape, and what goes wrong is JSON too.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};
use serde_json::{Value, json};
use thrift::{
    Call, GetJobUpdateDiffResult, GetJobsResult, HostStatus, ListBackupsResult, MaintenanceMode,
    MaintenanceStatusResult, PopulateJobResult, QueryRecoveryResult, ResponseCode, ResponseResult, ScheduleStatus as S,
};

use crate::exit::Exit;
use crate::testing::{FakeWorld, Ran, hello_file_as, refused, task, with_result, with_tasks};

const KEY: &str = "c1/www-data/devel/hello_world";

/// Verbs whose work is a change, a wait, or something of the user's own on the screen; and those whose result is JSON or a file anyway. A verb
/// that is neither here nor has `--json` fails the test below.
const WITHOUT: [&str; 46] = [
    "aurora job create",
    "aurora job kill",
    "aurora job killall",
    "aurora job restart",
    "aurora job add",
    "aurora job open",
    "aurora update start",
    "aurora update pause",
    "aurora update resume",
    "aurora update abort",
    "aurora update rollback",
    "aurora update wait",
    "aurora cron schedule",
    "aurora cron deschedule",
    "aurora cron start",
    "aurora task run",
    "aurora task ssh",
    "aurora task scp",
    "aurora_admin host_deactivate",
    "aurora_admin host_activate",
    "aurora_admin host_drain",
    "aurora_admin sla_host_drain",
    "aurora_admin set_quota",
    "aurora_admin increase_quota",
    "aurora_admin prune_tasks",
    "aurora_admin reconcile_tasks",
    "aurora_admin scheduler_snapshot",
    "aurora_admin scheduler_backup_now",
    "aurora_admin scheduler_stage_recovery",
    "aurora_admin scheduler_delete_recovery_tasks",
    "aurora_admin scheduler_commit_recovery",
    "aurora_admin scheduler_unload_recovery",
    "daybreak up",
    "daybreak run",
    "daybreak tutorial",
    "daybreak observer",
    "daybreak completion",
    "daybreak config convert",
    "daybreak config schema",
    "daybreak journal salvage",
    "daybreak journal restore",
    "daybreak thermos run",
    "daybreak thermos simplerun",
    "daybreak thermos inspect",
    "daybreak thermos tail",
    "daybreak thermos kill",
];

fn leaves(command: &Command, path: &str, found: &mut Vec<(String, bool)>) {
    let verbs: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if verbs.is_empty() {
        let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
        found.push((path.to_owned(), has_json));
    }
    for verb in verbs {
        let below = format!("{path} {}", verb.get_name());
        // They are looked at under their own names.
        if !matches!(below.as_str(), "daybreak aurora" | "daybreak admin") {
            leaves(verb, &below, found);
        }
    }
}

fn all_verbs() -> Vec<(String, bool)> {
    let mut found = Vec::new();
    leaves(&crate::aurora::arguments::Aurora::command(), "aurora", &mut found);
    leaves(&crate::admin::arguments::AuroraAdmin::command(), "aurora_admin", &mut found);
    leaves(&crate::daybreak::arguments::Daybreak::command(), "daybreak", &mut found);
    found
}

#[test]
fn every_verb_that_shows_something_has_it() {
    let verbs = all_verbs();
    let lacking: Vec<&String> =
        verbs.iter().filter(|(verb, has)| !has && !WITHOUT.contains(&verb.as_str())).map(|(verb, _)| verb).collect();
    assert!(lacking.is_empty(), "these need --json, or a line in the list above: {lacking:?}");
    let with: BTreeSet<&str> = verbs.iter().filter(|(_, has)| *has).map(|(verb, _)| verb.as_str()).collect();
    assert!(with.len() >= 22, "{with:?}");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md")).unwrap();
    for verb in with {
        // Its own --json says how the file is written that it reads; what it prints is JSON anyway.
        assert!(
            verb == "daybreak thermos inspect" || verb == "daybreak thermos run" || text.contains(&format!("`{verb}`")),
            "docs/json.md lacks {verb}"
        );
    }
}

fn document(ran: &Ran) -> Value {
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(ran.err, "", "nothing but the result is said");
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// A scheduler with one running task, one cron job, two hosts, two backups.
fn world() -> FakeWorld {
    FakeWorld::new(|call| {
        let running = || task(0, "t0", &[(1_599_999_000_000, S::Running, None)]);
        Some(match call {
            Call::GetTasksWithoutConfigs(_) | Call::GetTasksStatus(_) => with_tasks(vec![running()]),
            Call::GetJobs(_) => {
                let job = hello_file_as(|job| job.cron_schedule = Some("* * * * *".into())).job.unwrap().configuration;
                with_result(ResponseResult::GetJobs(GetJobsResult { configs: [(&job).into()].into_iter().collect() }))
            }
            Call::MaintenanceStatus(_) => {
                let status = HostStatus { host: "h1".into(), mode: Some(MaintenanceMode::None) };
                let statuses = [status].into_iter().collect();
                with_result(ResponseResult::MaintenanceStatus(MaintenanceStatusResult { statuses }))
            }
            Call::ListBackups(_) => {
                let backups = ["b2".to_owned(), "b1".to_owned()].into_iter().collect();
                with_result(ResponseResult::ListBackups(ListBackupsResult { backups }))
            }
            Call::QueryRecovery(_) => {
                let tasks = [running()].into_iter().collect();
                with_result(ResponseResult::QueryRecovery(QueryRecoveryResult { tasks }))
            }
            _ => return None,
        })
    })
}

#[test]
fn verbs_of_aurora() {
    let world = world();
    assert_eq!(document(&world.aurora("job list c1/www-data --json")), json!([KEY]));
    assert_eq!(document(&world.aurora(&format!("job status {KEY} --json")))[0]["job"], KEY);
    assert_eq!(document(&world.aurora(&format!("job inspect {KEY} f --json"))), json!({ "name": "hello_world" }));
    assert_eq!(document(&world.aurora("config list f --json")), json!([KEY]));
    assert_eq!(
        document(&world.aurora(&format!("cron show {KEY} --json"))),
        json!({ "job": KEY, "schedule": "* * * * *" })
    );
    let up = document(&world.aurora(&format!("sla get-task-up-count {KEY} --durations 1m --json")));
    assert_eq!(up, json!([{ "duration_seconds": 60, "percentage": 100.0 }]));
    let uptime = document(&world.aurora(&format!("sla get-job-uptime {KEY} --percentiles 50 --json")));
    assert_eq!(uptime, json!([{ "percentile": 50.0, "uptime_seconds": 1000 }]));
}

#[test]
fn verbs_of_aurora_admin() {
    let world = world();
    assert_eq!(document(&world.admin("host_status c1 --hosts h1 --json")), json!([{ "host": "h1", "mode": "NONE" }]));
    assert_eq!(document(&world.admin("scheduler_list_backups c1 --json")), json!(["b1", "b2"]));
    assert_eq!(document(&world.admin("scheduler_print_recovery_tasks c1 --json"))[0]["assignedTask"]["taskId"], "t0");
    assert_eq!(document(&world.admin("query c1 www-data hello_world --json"))[0]["status"], "RUNNING");
    let found = document(&world.admin("get_scheduler c1 --json"));
    assert_eq!(found, json!({ "cluster": "c1", "url": "http://scheduler.example:8081" }));
    assert_eq!(document(&world.admin("get_cluster_config c1 --json"))["name"], "c1");
    assert_eq!(document(&world.admin("sla_probe_hosts c1 95 1m --hosts h1 --json")), json!([]));
    assert_eq!(document(&world.admin("sla_list_safe_domain c1 95 1m --json")), json!([]));
}

#[test]
fn a_difference_is_told_field_by_field() {
    let world = FakeWorld::new(|call| {
        let config = |priority: i32| {
            let mut config: thrift::TaskConfig = (&hello_file_as(|_| {}).job.unwrap().configuration.task).into();
            config.priority = priority;
            config
        };
        match call {
            Call::PopulateJobConfig(_) => {
                Some(with_result(ResponseResult::PopulateJob(PopulateJobResult { task_config: Some(config(7)) })))
            }
            Call::GetJobUpdateDiff(_) => {
                let group = |config, first, last| thrift::ConfigGroup {
                    config,
                    instances: [thrift::Range { first, last }].into_iter().collect(),
                };
                Some(with_result(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
                    add: [group(None, 3, 3)].into_iter().collect(),
                    update: [group(Some(config(1)), 0, 2)].into_iter().collect(),
                    ..GetJobUpdateDiffResult::default()
                })))
            }
            _ => None,
        }
    });
    let found = document(&world.aurora(&format!("job diff {KEY} f --json")));
    let expected = json!({
        "job": KEY,
        "add": [{ "first": 3, "last": 3 }],
        "remove": [],
        "update": [{
            "instances": [{ "first": 0, "last": 2 }],
            "changes": [{ "path": "priority", "before": 1, "after": 7 }],
        }],
        "unchanged": [],
    });
    assert_eq!(found, expected);
    let coloured = world.aurora(&format!("job diff {KEY} f --color=always"));
    let expected = "This job update will:\nadd instances: [3]\nupdate instances: [0-2]\nwith diff:\n  \u{1b}[36mpriority\u{1b}[0m\n    \
                    \u{1b}[31m- 1\u{1b}[0m\n    \u{1b}[32m+ 7\u{1b}[0m\n";
    coloured.expect(Exit::Ok, expected, "");
}

#[test]
fn what_goes_wrong_is_json_with_the_same_exit_code() {
    let refusing = FakeWorld::new(|call| match call {
        Call::GetTierConfigs(_) => None,
        _ => Some(refused(ResponseCode::Error, "out of order")),
    });
    for (words, exit) in [
        (format!("job status {KEY} --json"), Exit::CommandFailure),
        ("quota get c1/www-data --json".to_owned(), Exit::ApiError),
        ("job list nowhere/* --json".to_owned(), Exit::InvalidConfiguration),
        ("job status --json".to_owned(), Exit::Usage),
        (format!("job status {KEY} --json --nonsense"), Exit::Usage),
    ] {
        let ran = refusing.aurora(&words);
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{words}: {}", ran.err);
        let error: Value =
            serde_json::from_str(&ran.err).unwrap_or_else(|error| panic!("{words}: {error}: {}", ran.err));
        assert_eq!(error["exit_code"], exit.code(), "{words}");
        assert!(!error["error"].as_str().unwrap().is_empty(), "{words}");
        assert_eq!(refusing.aurora(&words.replace("--json", "")).exit, exit, "{words}: the code is the same without");
    }
    let none = FakeWorld::new(|_| Some(with_tasks(Vec::new()))).aurora(&format!("job status {KEY} --json"));
    assert_eq!(none.exit, Exit::InvalidParameter, "only --write-json of old scripts gives no matching job as a result");
    let admin = refusing.admin("scheduler_list_backups c1 --json");
    let error: Value = serde_json::from_str(&admin.err).unwrap();
    assert_eq!((admin.exit, &error["exit_code"]), (Exit::Failed, &json!(1)));
}

#[test]
fn those_who_want_to_see_the_calls_see_them() {
    let world = world();
    let ran = world.aurora(&format!("job status {KEY} -v"));
    assert!(
        ran.err.contains("DEBUG] getTasksWithoutConfigs at http://scheduler.example:8081/api: OK in 0 ms"),
        "{}",
        ran.err
    );
    let ran = world.admin("-v scheduler_list_backups c1");
    assert!(ran.err.contains("DEBUG] listBackups at http://scheduler.example:8081/api: OK in 0 ms"), "{}", ran.err);
    assert!(!world.admin("scheduler_list_backups c1").err.contains("DEBUG"));
    let ran = FakeWorld::failing(|_| Err(crate::scheduler::TransportError::Denied("HTTP 401".into())))
        .aurora(&format!("job status {KEY} --verbose"));
    assert!(
        ran.err.contains("getTasksWithoutConfigs at http://scheduler.example:8081/api: refused (HTTP 401) in"),
        "{}",
        ran.err
    );
    let ran = world.aurora(&format!("job status {KEY} -v --json"));
    assert!(ran.err.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", ran.err);
}
