//! Verbs that only look: `job status`, `job list`, `job inspect`, `config list`.

use serde_json::{Value, json};
use thrift::{
    Call, GetJobsResult, GetPendingReasonResult, JobConfiguration, Metadata, PendingReason, ResponseResult,
    ScheduleStatus as S, Set,
};

use crate::evaluation::{Evaluation, LoadedJob};
use crate::exit::Exit;
use crate::scheduler::{Page, wire_key};
use crate::testing::{FakeWorld, hello_file, hello_key, task, with_result, with_tasks};

const KEY: &str = "c1/www-data/devel/hello_world";

/// A scheduler that knows two jobs; tasks belong to the first.
fn two_jobs(tasks: Vec<thrift::ScheduledTask>) -> FakeWorld {
    FakeWorld::new(move |call| match call {
        Call::GetJobs(_) => {
            let jobs = ["www-data/devel/other", "www-data/devel/hello_world", "www-data/test/third"];
            let configs: Set<JobConfiguration> = jobs
                .iter()
                .map(|key| JobConfiguration {
                    key: Some(wire_key(&key.parse().unwrap())),
                    ..JobConfiguration::default()
                })
                .collect();
            Some(with_result(ResponseResult::GetJobs(GetJobsResult { configs })))
        }
        Call::GetTasksWithoutConfigs(arguments) => {
            let keys = arguments.query.clone().unwrap().job_keys.unwrap();
            let is_first = keys[0] == wire_key(&hello_key().job);
            Some(with_tasks(if is_first { tasks.clone() } else { Vec::new() }))
        }
        _ => None,
    })
}

/// 2024-05-01 10:00:00 UTC.
const MORNING_MS: i64 = 1_714_557_600_000;

fn running() -> thrift::ScheduledTask {
    let mut running = task(
        0,
        "t-0",
        &[
            (MORNING_MS, S::Pending, None),
            (MORNING_MS + 4_000, S::Running, Some("No health-check defined, task is assumed healthy.")),
        ],
    );
    let assigned = running.assigned_task.as_mut().unwrap();
    assigned.assigned_ports = [("http".to_owned(), 31002)].into();
    let config = assigned.task.as_mut().unwrap();
    config.resources.0.push(thrift::Resource::NamedPort("http".into()));
    config.metadata = Some([Metadata { key: "team".into(), value: "infra".into() }].into_iter().collect());
    running
}

#[test]
fn a_task_s_block_is_the_classic_one() {
    let lines = super::super::status::task_lines(&running(), &jiff::tz::TimeZone::UTC);
    let expected = "\tTask role: www-data, env: devel, name: hello_world, instance: 0, status: RUNNING on host-a
\t  CPU: 0.5 core(s), RAM: 64 MB, Disk: 128 MB, Port: http
\t  assigned ports: {'http': 31002}
\t  failure count: 0 (max 1)
\t  events:
\t   2024-05-01 10:00:00 PENDING: None
\t   2024-05-01 10:00:04 RUNNING: No health-check defined, task is assumed healthy.
\t  metadata:
\t\t  (key: 'team', value: 'infra')";
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn status_shows_active_then_inactive_tasks() {
    let tasks = vec![running(), task(0, "t-old", &[(1, S::Pending, None), (2, S::Finished, None)])];
    let ran = two_jobs(tasks).aurora(&format!("job status {KEY}"));
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    let heads: Vec<&str> =
        ran.out.lines().filter(|line| line.contains("tasks (") || line.contains("status: ")).collect();
    assert_eq!(
        heads,
        [
            "Active tasks (1):",
            "\tTask role: www-data, env: devel, name: hello_world, instance: 0, status: RUNNING on host-a",
            "Inactive tasks (1):",
            "\tTask role: www-data, env: devel, name: hello_world, instance: 0, status: FINISHED on host-a",
        ]
    );
}

#[test]
fn status_of_a_failed_task_ends_with_its_stderr() {
    let tasks = vec![
        task(0, "t-1", &[(1, S::Failed, None)]),
        task(0, "t-2", &[(9, S::Failed, None)]),
        task(0, "t-3", &[(20, S::Throttled, None)]),
    ];
    let world = two_jobs(tasks).with_pages(|path| match path {
        "/files/t-2" => Page {
            status: 200,
            body: json!({ "processes": [
                { "name": "fetch_package", "runs": [{ "run": 0, "state": "SUCCESS", "return_code": 0 }] },
                { "name": "hello_world", "runs": [{ "run": 0, "state": "FAILED", "return_code": 1 }] },
            ] })
            .to_string()
            .into_bytes(),
            ..Page::default()
        },
        "/files/t-2/hello_world/0/stderr?offset=-16384&limit=16384" => Page {
            status: 200,
            body: b"Traceback (most recent call last):\nNameError: name 'xrang' is not defined\n".to_vec(),
            ..Page::default()
        },
        path => panic!("only the newest failed task is looked at, not {path}"),
    });
    let ran = world.aurora(&format!("job status {KEY}"));
    assert!(
        ran.out.ends_with(
            "\t  process 'hello_world' exited with 1; last lines of its stderr:\n\
         \t    Traceback (most recent call last):\n\
         \t    NameError: name 'xrang' is not defined\n"
        ),
        "{}",
        ran.out
    );
}

#[test]
fn a_failed_health_check_is_no_signal() {
    let tasks = vec![task(0, "t", &[(9, S::Failed, Some("Failed health check! Health check timed out."))])];
    let world = two_jobs(tasks).with_pages(|_| Page {
        status: 200,
        body: json!({ "processes": [{ "name": "p", "runs": [{ "run": 0, "state": "KILLED", "return_code": -15 }] }] })
            .to_string()
            .into_bytes(),
        ..Page::default()
    });
    let ran = world.aurora(&format!("job status {KEY}"));
    assert!(
        ran.out.contains("FAILED: Failed health check! Health check timed out.\n\t  process 'p' was killed; "),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("signal"), "{}", ran.out);
}

#[test]
fn status_of_a_pending_task_says_why_it_waits() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(vec![task(0, "t-0", &[(1, S::Pending, None)])])),
        Call::GetPendingReason(arguments) => {
            assert_eq!(arguments.query.clone().unwrap().job_keys.unwrap()[0], wire_key(&hello_key().job));
            let reason = PendingReason { task_id: "t-0".into(), reason: "Insufficient: CPU".into() };
            let reasons = [reason].into_iter().collect();
            Some(with_result(ResponseResult::GetPendingReason(GetPendingReasonResult { reasons })))
        }
        _ => None,
    });
    let ran = world.aurora(&format!("job status {KEY}"));
    assert!(ran.out.contains("PENDING: None\n\t  waits because: Insufficient: CPU\n"), "{}", ran.out);
}

#[test]
fn status_as_json() {
    let mut other = task(1, "t-1", &[(MORNING_MS, S::Lost, None)]);
    other.ancestor_id = Some("t-0".into());
    let ran = two_jobs(vec![other, running()]).aurora(&format!("job status {KEY} --write-json"));
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.out.starts_with("[\n  {\n    \"job\": \"c1/www-data/devel/hello_world\","), "{}", ran.out);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let job = &document[0];
    assert_eq!(job["inactive"][0]["ancestorId"], "t-0");
    assert_eq!(
        job["active"][0],
        json!({
            "assignedTask": {
                "taskId": "t-0", "slaveId": "agent-1", "slaveHost": "host-a",
                "task": {
                    "job": { "role": "www-data", "environment": "devel", "name": "hello_world" },
                    "owner": { "user": "www-data" },
                    "isService": false, "priority": 0, "maxTaskFailures": 1,
                    "resources": [{ "numCpus": 0.5 }, { "ramMb": 64 }, { "diskMb": 128 }, { "namedPort": "http" }],
                    "constraints": [], "container": { "mesos": {} },
                    "metadata": [{ "key": "team", "value": "infra" }], "taskLinks": {},
                },
                "assignedPorts": { "http": 31002 }, "instanceId": 0,
            },
            "status": "RUNNING", "failureCount": 0,
            "taskEvents": [
                { "timestamp": MORNING_MS, "status": "PENDING" },
                { "timestamp": MORNING_MS + 4000, "status": "RUNNING",
                  "message": "No health-check defined, task is assumed healthy." },
            ],
            "timesPartitioned": 0,
        })
    );
}

#[test]
fn no_job_is_exit_6_in_text_and_0_in_json() {
    let world = two_jobs(Vec::new());
    let ran = world.aurora("job status c1/www-data/devel/nothing");
    ran.expect(Exit::InvalidParameter, "", "Found no jobs matching c1/www-data/devel/nothing\n");
    let ran = world.aurora("job status c1/www-data/devel/nothing --write-json");
    ran.expect(Exit::Ok, "{\"jobspec\":\"c1/www-data/devel/nothing\",\"error\":\"No matching jobs found\"}\n", "");
}

#[test]
fn list_prints_keys_and_echoes_a_bound_one() {
    let world = two_jobs(Vec::new());
    world.aurora("job list c1/www-data/devel").expect(
        Exit::Ok,
        "c1/www-data/devel/hello_world\nc1/www-data/devel/other\n",
        "",
    );
    world.aurora("job list c1/*/*/th*").expect(Exit::Ok, "c1/www-data/test/third\n", "");
    world.aurora("job list c1/nobody/*/*").expect(Exit::Ok, "", "");
    let silent = FakeWorld::new(|call| panic!("a bound key is not asked for: {call:?}"));
    silent.aurora("job list c1/a/b/c").expect(Exit::Ok, "c1/a/b/c\n", "");
}

fn inspected() -> FakeWorld {
    let raw = json!({
        "name": "web", "role": "ops", "contact": "ops@example.org", "cluster": "c1", "environment": "prod",
        "instances": "2", "cron_schedule": "*/5 * * * *", "cron_collision_policy": "KILL_EXISTING",
        "constraints": { "rack": "limit:1" }, "service": true, "production": false,
        "partition_policy": { "reschedule": true, "delay_secs": 0 },
        "task": {
            "name": "web",
            "constraints": [{ "order": ["fetch", "run"] }],
            "processes": [
                { "name": "fetch", "cmdline": "cp a b\necho done", "daemon": false },
                { "name": "run", "cmdline": "./b", "daemon": true, "final": true },
            ],
        },
    });
    let file = hello_file();
    let job = LoadedJob { raw, ..file.job.unwrap() };
    FakeWorld::new(|call| panic!("inspect asks nobody, but asked {call:?}")).with_file(Ok(Evaluation {
        keys: file.keys,
        job: Some(job),
        warnings: vec!["a warning".into()],
    }))
}

#[test]
fn inspect_shows_the_job_and_its_processes() {
    inspected().aurora(&format!("job inspect {KEY} f")).expect(
        Exit::Ok,
        "Job level information
  name:       'web'
  role:       'ops'
  contact:    'ops@example.org'
  cluster:    'c1'
  instances:  '2'
  cron:
    schedule: '*/5 * * * *'
    policy:   'KILL_EXISTING'
  constraints:
    'rack': 'limit:1'
  partition_policy:
    reschedule: True
    delay_secs: '0'
  service:    True
  production: False

Task level information
  name: 'web'
  constraints:
    fetch < run

Process 'fetch':
  cmdline:
    cp a b
    echo done

Process 'run':
  daemon
  final
  cmdline:
    ./b

",
        " WARN] a warning\n",
    );
}

#[test]
fn inspect_as_json_and_raw() {
    let ran = inspected().aurora(&format!("job inspect {KEY} f --write-json"));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["task"]["processes"][1]["name"], "run");
    let ran = inspected().aurora(&format!("job inspect {KEY} f --write-json --raw"));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["taskConfig"]["executorConfig"]["name"], "AuroraExecutor", "raw wins");
    assert_eq!(document["instanceCount"], 1);
}

#[test]
fn config_list_prints_the_keys() {
    let world = FakeWorld::new(|call| panic!("config list asks nobody, but asked {call:?}"));
    world.aurora("config list f").expect(Exit::Ok, "jobs=[c1/www-data/devel/hello_world]\n", "");
    let empty = Evaluation { keys: Vec::new(), ..Evaluation::default() };
    world.clone().with_file(Ok(empty)).aurora("config list f").expect(Exit::Ok, "jobs=[]\n", "");
    let ran = world.with_file(Err("cannot read f".into())).aurora("config list f");
    ran.expect(Exit::CommandFailure, "", "Error loading configuration file: cannot read f\n");
}
