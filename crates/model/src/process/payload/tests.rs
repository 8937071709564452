//! Reading payloads of every client the spec names, and of none.

use super::*;

fn read(text: &str) -> Late<Payload> {
    Late::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    Late::<Payload>::parse(text).expect_err(text).to_string()
}

fn values() -> LateValues {
    LateValues {
        instance: 3,
        hostname: "host".into(),
        task_id: "id".into(),
        user: "www".into(),
        ports: [("http".to_owned(), 8080)].into(),
    }
}

/// What the Go client sends: nothing but a task.
const MINIMAL: &str = r#"{"task": {"processes": [{"name": "hello", "cmdline": "echo hi"}],
    "constraints": [{"order": ["hello"]}], "resources": {"cpu": 0.1, "ram": 1026, "disk": 1026}}}"#;

#[test]
fn the_minimal_payload_gets_all_defaults() {
    let late = read(MINIMAL);
    let payload = late.shape();
    let mut process = Process::new("hello", "echo hi");
    process.min_duration_secs = 5;
    let mut task = Task::new("hello", vec![process]);
    task.constraints = vec![OrderConstraint::new(["hello"])];
    task.resources = Some(ProcessResources { cpu: 0.1, ram_bytes: 1026, disk_bytes: 1026, gpu: 0 });
    assert_eq!(payload.task, task);
    assert_eq!((&payload.role, &payload.environment, payload.instance), (&None, &None, None));
    assert_eq!(payload.health_check_config, HealthCheckConfig::default());
    assert_eq!(payload.lifecycle.http.as_ref().unwrap().port, "health");
    assert_eq!(payload.announce, None);
    assert_eq!(late.fill(&values()).unwrap(), *payload);
}

#[test]
fn a_whole_job_is_read_and_what_nobody_needs_is_passed_over() {
    let late = read(
        r#"{"name": "web", "role": "www", "environment": "prod", "cluster": "c", "instances": null, "service": true,
        "update_config": {}, "constraints": {"host": "limit:{{nonsense}}"}, "sla_policy": null, "executor_config": {"x": []},
        "announce": {"primary_port": "main", "zk_path": "/x"},
        "lifecycle": {},
        "health_check_config": {"initial_interval_secs": 5, "health_checker": {"shell": {"shell_command": "curl {{thermos.ports[http]}}"},
            "http": {"endpoint": "/h"}}},
        "task": {"name": "t", "unknown": 1, "max_failures": 0, "max_concurrency": 3, "finalization_wait": 12, "user": "u",
          "processes": [
            {"name": "a", "cmdline": "a", "unknown": {"deep": 1}, "daemon": true, "min_duration": 1,
             "logger": {"destination": "both", "mode": "rotate", "rotate": {"log_size": 7}, "else": 0}},
            {"name": "b", "cmdline": "b", "final": true, "ephemeral": true, "max_failures": 9}]}}"#,
    );
    let payload = late.shape();
    assert_eq!((payload.role.as_deref(), payload.environment.as_deref()), (Some("www"), Some("prod")));
    let announce = payload.announce.clone().unwrap();
    assert_eq!(announce.portmap, [("aurora".to_owned(), "main".to_owned())].into());
    assert_eq!(payload.lifecycle, Lifecycle { http: None });
    let shell = ShellHealthChecker { shell_command: "curl {{thermos.ports[http]}}".into() };
    assert_eq!(payload.health_check_config.health_checker, HealthChecker::Shell(shell));
    assert_eq!(payload.health_check_config.initial_interval_secs, 5.0);
    assert_eq!(payload.health_check_config.interval_secs, 10.0);
    let task = &payload.task;
    assert_eq!((task.name.as_str(), task.max_failures, task.max_concurrency), ("t", 0, 3));
    assert_eq!((task.finalization_wait_secs, task.user.as_deref()), (12, Some("u")));
    let (a, b) = (&task.processes[0], &task.processes[1]);
    assert_eq!((a.daemon, a.min_duration_secs, b.is_final, b.ephemeral, b.max_failures), (true, 1, true, true, 9));
    let rotate = RotatePolicy { log_size_bytes: 7, backups: 5 };
    assert_eq!(
        a.logger,
        Some(Logger { destination: LoggerDestination::Both, mode: LoggerMode::Rotate, rotate: Some(rotate) })
    );
    assert_eq!(late.port_names(), ["http".to_owned()].into());
}

#[test]
fn the_old_form_with_an_instance_is_the_same_task() {
    let late = read(
        r#"{"instance": "4", "role": "r", "environment": "e", "task": {"processes": [{"name": "a", "cmdline": "b"}]}}"#,
    );
    assert_eq!(late.shape().instance, Some(4));
    assert_eq!(late.shape().task.processes[0].name, "a");
}

#[test]
fn numbers_and_truth_values_may_come_as_texts_and_floats() {
    let late = read(
        r#"{"task": {"max_failures": "2", "max_concurrency": 1.9, "resources": {"cpu": "0.5", "ram": 1048576.0, "disk": " 7 "},
        "processes": [{"name": 7, "cmdline": "c", "daemon": "True", "ephemeral": 1, "final": "0", "min_duration": true}]}}"#,
    );
    let task = &late.shape().task;
    assert_eq!((task.max_failures, task.max_concurrency), (2, 1));
    assert_eq!(task.resources, Some(ProcessResources { cpu: 0.5, ram_bytes: 1_048_576, disk_bytes: 7, gpu: 0 }));
    let process = &task.processes[0];
    assert_eq!((process.name.as_str(), process.daemon, process.ephemeral, process.is_final), ("7", true, true, false));
    assert_eq!(process.min_duration_secs, 1);
}

#[test]
fn templates_anywhere_are_filled_in_for_each_task() {
    let late = read(
        r#"{"role": "r", "task": {"max_concurrency": "{{mesos.instance}}", "processes": [{"name": "p{{mesos.instance}}",
        "cmdline": "serve {{thermos.ports[http]}} {{&raw}} {{thermos.user}}", "daemon": "{{thermos.ports[flag]}}"}]}}"#,
    );
    assert_eq!(late.shape().task.max_concurrency, 0);
    assert_eq!(late.shape().task.processes[0].name, "p{{mesos.instance}}");
    assert_eq!(late.port_names(), ["flag".to_owned(), "http".to_owned()].into());
    let mut values = values();
    let unbound = late.fill(&values).unwrap_err().to_string();
    assert!(unbound.starts_with("task.processes[0].daemon: ") && unbound.contains("unbound port flag"), "{unbound}");
    values.ports.insert("flag".into(), 1);
    let task = late.fill(&values).unwrap().task;
    assert_eq!((task.name.as_str(), task.max_concurrency), ("p3", 3));
    assert_eq!(task.processes[0].cmdline, "serve 8080 {{raw}} www");
    assert!(task.processes[0].daemon);
    values.ports.insert("flag".into(), 2);
    let error = late.fill(&values).unwrap_err().to_string();
    assert_eq!(error, "task.processes[0].daemon should be true or false, not \"2\"");
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (text, message) in [
        ("[]", "the payload should be an object, not a list"),
        ("{}", "task is missing"),
        (r#"{"task": 1}"#, "task should be an object, not 1"),
        (r#"{"task": {"processes": {}}}"#, "task.processes should be a list, not an object"),
        (r#"{"task": {"processes": [3]}}"#, "task.processes[0] should be an object, not 3"),
        (r#"{"task": {"processes": [{"cmdline": "x"}]}}"#, "task.processes[0].name is missing"),
        (r#"{"task": {"processes": [{"name": "x", "cmdline": null}]}}"#, "task.processes[0].cmdline is missing"),
        (r#"{"task": {"max_failures": "many"}}"#, "task.max_failures should be a whole number, not \"many\""),
        (r#"{"task": {"constraints": [{"order": "ab"}]}}"#, "task.constraints[0].order should be a list, not \"ab\""),
        (
            r#"{"task": {"processes": [{"name": "x", "cmdline": "y", "logger": {"destination": "paper"}}]}}"#,
            "task.processes[0].logger.destination should be one of file, console, both, none, not \"paper\"",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
    assert!(error("{").starts_with("the executor data is not JSON: "));
    let unbound = error(r#"{"task": {"processes": [{"name": "x", "cmdline": "echo {{profile.x}}"}]}}"#);
    assert!(unbound.starts_with("task.processes[0].cmdline: {{profile.x}} is unbound"), "{unbound}");
}

#[test]
fn a_task_alone_and_what_it_is_written_as_read_the_same() {
    let late = read(MINIMAL);
    let alone = Late::<Task>::parse(&late.task_json()).unwrap();
    assert_eq!(*alone.shape(), late.shape().task);
    let written = serde_json::to_string(alone.shape()).unwrap();
    assert_eq!(Late::<Task>::parse(&written).unwrap().shape(), alone.shape());
    let whole = serde_json::to_string(late.shape()).unwrap();
    assert_eq!(read(&whole).shape(), late.shape());
}
