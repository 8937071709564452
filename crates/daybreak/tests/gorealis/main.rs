//! The guide to custom executors (docs/custom-executors.md) as users of Go follow it, against a daemon on this machine: jobs made by
//! gorealis, the client library of Aurora's users, and killed by either client.
//!
//! Go fetches the libraries from its module proxy. Where there is no usable Go or the proxy does not answer, these tests say loudly that they
//! did not run; `api` and `thrift` test the same wire with bytes typed by hand.

#[path = "../../../engine-local/tests/docker/mod.rs"]
mod docker;
mod go;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use go::{Client, TRANSPORTS};
use serde_json::{Value, json};
use support::{Daemon, login, open_directory, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
/// The two generations of the library, each with a program of its own.
const LIBRARIES: [&str; 2] = ["v1", "v2"];
/// The port that gorealis names where a job asks for one.
const PORT: &str = "org.apache.aurora.port.0";

/// What the Thermos executor is told, as clients other than Aurora's own write it: far from every key that exists.
fn thermos_payload() -> String {
    let cmdline = "while true; do echo told by a payload; sleep 1; done";
    json!({
        "environment": "prod", "role": "vagrant", "name": "payload", "cluster": "devcluster", "service": false, "priority": 0,
        "max_task_failures": 1, "enable_hooks": false, "production": false, "cron_collision_policy": "KILL_EXISTING",
        "health_check_config": {"health_checker": {"http": {"endpoint": "/health", "expected_response": "ok",
            "expected_response_code": 0}}, "initial_interval_secs": 15.0, "interval_secs": 10.0, "timeout_secs": 1.0,
            "max_consecutive_failures": 0},
        "lifecycle": {"http": {"port": "health", "graceful_shutdown_endpoint": "/quitquitquit",
            "shutdown_endpoint": "/abortabortabort"}},
        "task": {"name": "hello", "max_failures": 1, "max_concurrency": 0, "finalization_wait": 1,
            "processes": [{"name": "hello", "cmdline": cmdline, "daemon": false, "ephemeral": false, "final": false,
                "max_failures": 1, "min_duration": 1}],
            "resources": {"cpu": 1.0, "ram": 134_217_728, "disk": 134_217_728, "gpu": 0},
            "constraints": [{"order": ["hello"]}]},
    })
    .to_string()
}

fn key(job: &str) -> String {
    format!("devcluster/{}/prod/{job}", login())
}

fn wait_for_status(client: &Client, daemon: &Daemon, transport: &str, job: &str, status: &str) -> Value {
    wait_for(&format!("{job} to be {status}"), LIMIT, || {
        let mut tasks = client.tasks(daemon, transport, &login(), job);
        assert!(tasks.iter().all(|task| task["status"] != "FAILED" && task["status"] != "LOST"), "{tasks:?}");
        tasks.retain(|task| task["status"] == status);
        tasks.pop()
    })
}

/// The job of the Aurora client: a service from a file, which the foreign client then kills.
fn a_job_of_the_aurora_client_is_killed(client: &Client, daemon: &Daemon, transport: &str) {
    let (job, file) = (format!("hello-{transport}"), daemon.state.join("hello.aurora"));
    let text = format!(
        "main = Process(name = 'main', cmdline = 'while true; do echo here; sleep 1; done')\n\
         jobs = [Service(cluster = 'devcluster', role = '{}', environment = 'prod', name = '{job}',\n\
         task = SequentialTask(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB)))]\n",
        login()
    );
    std::fs::write(&file, text).unwrap();
    daemon.aurora(&["job", "create", &key(&job), file.to_str().unwrap()]).expect_code(0);
    wait_for_status(client, daemon, transport, &job, "RUNNING");
    client.call(daemon, transport, &login(), &job, &["kill"]).unwrap();
    wait_for_status(client, daemon, transport, &job, "KILLED");
}

/// A job with a payload for the built-in executor, made by the foreign client and killed by Aurora's.
fn a_thermos_job_runs_and_is_killed(client: &Client, daemon: &Daemon, transport: &str) {
    let (job, payload) = (format!("thermos-{transport}"), thermos_payload());
    let call = |rest: &[&str]| client.call(daemon, transport, &login(), &job, rest);
    call(&["-data", &payload, "create"]).unwrap();
    let task = wait_for_status(client, daemon, transport, &job, "RUNNING");
    assert_eq!(
        (&task["executor"], &task["data"], &task["ram_mb"]),
        (&json!("AuroraExecutor"), &json!(payload), &json!(64))
    );
    assert!(task["ports"][PORT].as_u64().is_some_and(|port| port > 0), "{task}");
    let log = format!("/files/{}/hello/0/stdout", task["id"].as_str().unwrap());
    wait_for("its output", LIMIT, || daemon.get(&log).1.starts_with("told by a payload\n").then_some(()));
    let again = call(&["-data", &payload, "create"]).unwrap_err();
    assert!(again.contains("already"), "{again}");
    daemon.aurora(&["job", "killall", &key(&job)]).expect_code(0);
    wait_for_status(client, daemon, transport, &job, "KILLED");
}

fn what_the_operator_does_not_have_is_refused(client: &Client, daemon: &Daemon, transport: &str) {
    let call = |rest: &[&str]| client.call(daemon, transport, &login(), "refused", rest).unwrap_err();
    let unknown = call(&["-executor", "idontexist", "create"]);
    assert!(unknown.contains("Configuration for executor 'idontexist' doesn't exist."), "{unknown}");
    let closed = Daemon::start(&["--allow-root-role"]);
    let refused =
        client.call(&closed, transport, &login(), "refused", &["-uri", "http://127.0.0.1:1/a.tar.gz", "create"]);
    let refused = refused.unwrap_err();
    assert!(refused.contains("Mesos Fetcher for individual jobs is disabled in this cluster."), "{refused}");
    assert!(client.tasks(daemon, transport, &login(), "refused").is_empty());
}

fn follow_the_guide(client: &Client, daemon: &Daemon) {
    for transport in TRANSPORTS {
        a_job_of_the_aurora_client_is_killed(client, daemon, transport);
        a_thermos_job_runs_and_is_killed(client, daemon, transport);
        what_the_operator_does_not_have_is_refused(client, daemon, transport);
    }
}

fn daemon() -> Daemon {
    Daemon::start(&["--allow-root-role", "-enable_mesos_fetcher=true"])
}

/// What users of the library do beside the guide, with its own monitors.
fn a_job_is_restarted_grown_and_updated(client: &Client, daemon: &Daemon, transport: &str) {
    let (job, payload) = (format!("grows-{transport}"), thermos_payload());
    let call = |rest: &[&str]| client.call(daemon, transport, &login(), &job, rest).unwrap();
    call(&["-data", &payload, "create"]);
    call(&["await"]);
    let first = wait_for_status(client, daemon, transport, &job, "RUNNING");
    call(&["restart"]);
    call(&["await"]);
    assert_ne!(wait_for_status(client, daemon, transport, &job, "RUNNING")["id"], first["id"]);
    // The second generation asks for instances of another role than the job's.
    if client.name == "v1" {
        call(&["-instances", "1", "add"]);
        call(&["-instances", "2", "await"]);
    }
    call(&["-instances", "3", "update"]);
    let mut tasks = client.tasks(daemon, transport, &login(), &job);
    tasks.retain(|task| task["status"] == "RUNNING");
    assert_eq!(tasks.len(), 3, "{tasks:?}");
    assert!(tasks.iter().all(|task| task["ram_mb"] == 96), "{tasks:?}");
    call(&["kill"]);
    call(&["-instances", "0", "await"]);
}

/// The second generation writes the payload itself: processes, their order and resources, and nothing else.
fn a_payload_of_the_library_runs(client: &Client, daemon: &Daemon, transport: &str) {
    let job = format!("built-{transport}");
    let call = |rest: &[&str]| client.call(daemon, transport, &login(), &job, rest).unwrap();
    call(&["-command", "echo told by the library; sleep 1000", "create"]);
    let task = wait_for_status(client, daemon, transport, &job, "RUNNING");
    let log = format!("/files/{}/hello/0/stdout", task["id"].as_str().unwrap());
    wait_for("its output", LIMIT, || (daemon.get(&log).1 == "told by the library\n").then_some(()));
    call(&["kill"]);
    wait_for_status(client, daemon, transport, &job, "KILLED");
}

#[test]
fn gorealis_follows_the_guide() {
    for library in LIBRARIES {
        let Some(client) = Client::build(library) else { return };
        let daemon = daemon();
        follow_the_guide(&client, &daemon);
        for transport in TRANSPORTS {
            a_job_is_restarted_grown_and_updated(&client, &daemon, transport);
            if library == "v2" {
                a_payload_of_the_library_runs(&client, &daemon, transport);
            }
        }
    }
}

#[test]
fn a_docker_compose_job_of_gorealis_runs_and_is_killed_by_either_client() {
    let Some(client) = Client::build(LIBRARIES[0]) else { return };
    let Some(docker) = docker::docker() else { return };
    let directory = open_directory();
    let program = program_with_docker(directory.path(), &docker.host());
    let daemon = Daemon::start_program(&program, directory, &["--allow-root-role", "-enable_mesos_fetcher=true"]);
    let archive = docker::serve(project());
    for transport in TRANSPORTS {
        let job = format!("compose-{transport}");
        let call = |rest: &[&str]| client.call(&daemon, transport, &login(), &job, rest);
        let address = format!("{archive}/sample-app.tar.gz");
        let more = ["-executor", "docker-compose-executor", "-label", "fileName=sample-app/docker-compose.yml"];
        call(&[&more[..], &["-service=false", "-uri", &address, "create"]].concat()).unwrap();
        let task = wait_for_status(&client, &daemon, transport, &job, "RUNNING");
        assert_eq!(task["labels"]["fileName"], "sample-app/docker-compose.yml");
        assert_eq!(task["uris"], json!([address]));
        let id = task["id"].as_str().unwrap();
        assert_eq!(docker.containers_of(id).len(), 1);
        // The user finds the port where the guide says.
        let sandbox = daemon.state.join("local/agents/agent-0/tasks").join(id).join("sandbox");
        let generated = std::fs::read_to_string(sandbox.join("sample-app/docker-compose.yml-generated.yml")).unwrap();
        assert!(generated.contains(&format!("{}:5000", task["ports"][PORT])), "{generated}");
        if transport == "json" {
            daemon.aurora(&["job", "killall", &key(&job)]).expect_code(0);
        } else {
            call(&["kill"]).unwrap();
        }
        wait_for_status(&client, &daemon, transport, &job, "KILLED");
        wait_for("its containers to be gone", LIMIT, || docker.containers_of(id).is_empty().then_some(()));
    }
}

/// A stand-in for the binary whose tasks use the tests' Docker.
fn program_with_docker(directory: &Path, host: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = directory.join("daybreak");
    let script = format!("#!/bin/sh\nexport DOCKER_HOST='{host}'\nexec '{}' \"$@\"\n", support::DAYBREAK);
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// An archive with a project of one service.
fn project() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sample-app")).unwrap();
    let text = format!(
        "version: '2'\nservices:\n  web:\n    image: {}\n    command: ['/bin/sh', '-c', 'trap exit TERM; sleep 1000 & wait']\n    \
         ports: ['80:5000']\n",
        docker::IMAGE
    );
    std::fs::write(folder.path().join("sample-app/docker-compose.yml"), text).unwrap();
    let tar = std::process::Command::new("tar").arg("-C").arg(folder.path()).args(["-cz", "."]).output().unwrap();
    assert!(tar.status.success());
    tar.stdout
}
