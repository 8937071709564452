//! Bad input: each a clear error that says what to do, the right exit code, and nothing changed.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use support::{Daemon, daybreak, http, login, open_directory, wait_for, wire};

/// A job file with one batch process; `change` replaces parts of it.
fn job_file(directory: &std::path::Path, change: impl FnOnce(String) -> String) -> PathBuf {
    let role = login();
    let text = format!(
        "main = Process(name = 'main', cmdline = 'echo hello; sleep 600')\n\
         task = Task(processes = [main], resources = Resources(cpu = 0.01, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Job(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'job', task = task)]\n"
    );
    let path = directory.join("job.aurora");
    std::fs::write(&path, change(text)).unwrap();
    path
}

fn key() -> String {
    format!("devcluster/{}/devel/job", login())
}

#[test]
fn wrong_job_files_are_named_with_line_and_reason() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let create = |change: &dyn Fn(String) -> String, code: i32| {
        let file = job_file(directory.path(), change);
        let done = daemon.aurora(&["job", "create", &key(), file.to_str().unwrap()]).expect_code(code);
        done.stderr
    };
    let syntax = create(&|text| text.replace("task = Task(", "task = = Task("), 3);
    assert!(syntax.contains("job.aurora") && syntax.contains('2') && syntax.contains("syntax"), "{syntax}");
    let unknown = create(&|text| text.replace("cmdline =", "cmdlin ="), 3);
    assert!(unknown.contains("cmdlin") && unknown.contains("Process"), "{unknown}");
    let missing = create(&|text| text.replace("cpu = 0.01, ", ""), 3);
    assert!(missing.contains("cpu") && missing.contains("required"), "{missing}");
    let other = create(&|text| text.replace("name = 'job'", "name = 'another'"), 3);
    assert!(other.contains("another"), "names what the file has: {other}");
    let zero = create(&|text| text.replace("cpu = 0.01", "cpu = 0"), 3);
    assert!(zero.contains("cpu must be at least"), "{zero}");
    assert!(wire::tasks(&daemon.url).unwrap().is_empty(), "nothing may have been created");
    let absent = daemon.aurora(&["job", "create", &key(), "/nowhere/job.aurora"]).expect_code(3);
    assert!(absent.stderr.contains("/nowhere/job.aurora"), "{}", absent.stderr);
}

#[test]
fn absurd_resources_stay_pending_with_the_reason() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let file = job_file(directory.path(), |text| text.replace("cpu = 0.01", "cpu = 1000"));
    daemon.aurora(&["job", "create", &key(), file.to_str().unwrap()]).expect_code(0);
    let page = format!("/scheduler/{}/devel/job", login());
    wait_for("the reason on the page", Duration::from_secs(20), || {
        let (status, body) = daemon.get(&page);
        assert_eq!(status, 200);
        (body.contains("PENDING") && body.contains("needs 1000 cpu")).then_some(())
    });
}

#[test]
fn a_second_create_and_an_unknown_job_are_refused() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let file = job_file(directory.path(), |text| text);
    let arguments = ["job", "create", &key(), file.to_str().unwrap()];
    daemon.aurora(&arguments).expect_code(0);
    let again = daemon.aurora(&arguments).expect_code(4);
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
    assert_eq!(wire::tasks(&daemon.url).unwrap().len(), 1);
    let unknown = daemon.aurora(&["job", "status", "devcluster/nobody/devel/nothing"]).expect_code(6);
    assert!(unknown.stderr.contains("Found no jobs matching devcluster/nobody/devel/nothing"), "{}", unknown.stderr);
    let cluster = daemon.aurora(&["job", "status", "elsewhere/a/devel/b"]).expect_code(3);
    assert!(cluster.stderr.contains("elsewhere"), "{}", cluster.stderr);
    let malformed = daemon.aurora(&["job", "status", "a/b/c/d/e/f"]).expect_code(2);
    assert!(malformed.stderr.contains("a/b/c/d/e/f"), "{}", malformed.stderr);
}

#[test]
fn hostile_requests_change_nothing() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let api = format!("{}/api", daemon.url);
    let json = ("Content-Type", "application/json");
    for body in [&b"not thrift"[..], b"", b"[1,\"createJob\",1,0,{\"1\":{\"rec\":{\"9\":", b"[2,\"x\",1,0,{}]"] {
        let (status, answer) = http("POST", &api, &[json], body);
        assert!(status >= 400 || answer.contains("[1,"), "{status} {answer}");
    }
    let (status, _) = http("POST", &api, &[("Content-Type", "text/html")], b"x");
    assert_eq!(status, 415);
    let huge = vec![b'['; 65 << 20];
    let (status, _) = http("POST", &api, &[json], &huge);
    assert!(status == 413 || status == 0, "an oversized body is refused, not read: {status}");
    let deep = format!("[1,\"createJob\",1,0,{}", "{\"1\":{\"rec\":".repeat(100_000));
    let (status, answer) = http("POST", &api, &[json], deep.as_bytes());
    // Refused as a request, or by an exception of the protocol (message type 3).
    assert!(status >= 400 || answer.starts_with("[1,\"createJob\",3,"), "{status} {answer}");
    let create =
        serde_json::json!([1, "createJob", 1, 0, {"1": {"rec": wire::job(&login(), "evil", 1, false, "true")}}]);
    for header in [("Origin", "http://evil.example"), ("Host", "evil.example"), ("Origin", "null")] {
        let (status, answer) = http("POST", &api, &[json, header], create.to_string().as_bytes());
        assert_eq!(status, 403, "{header:?}: {answer}");
    }
    assert!(wire::tasks(&daemon.url).unwrap().is_empty(), "nothing may have been created");
    assert_eq!(daemon.get("/health"), (200, "OK\n".to_owned()));
}

#[test]
fn a_port_or_state_directory_in_use_is_named() {
    let daemon = Daemon::start(&[]);
    let directory = open_directory();
    let authority = daemon.url.trim_start_matches("http://");
    let other = directory.path().join("other");
    let port = daybreak(&["up", "--listen", authority, "--state-dir", other.to_str().unwrap()]);
    assert_ne!(port.code, 0);
    assert!(port.stderr.contains(authority) && port.stderr.contains("--listen"), "{}", port.stderr);
    let state = daybreak(&["up", "--listen", "127.0.0.1:0", "--state-dir", daemon.state.to_str().unwrap()]);
    assert_ne!(state.code, 0);
    assert!(state.stderr.contains(daemon.state.to_str().unwrap()), "{}", state.stderr);
    assert!(state.stderr.contains(&daemon.pid().to_string()), "names the holder: {}", state.stderr);
    let exposed = daybreak(&["up", "--listen", "0.0.0.0:0", "--state-dir", other.to_str().unwrap()]);
    assert_ne!(exposed.code, 0);
    assert!(exposed.stderr.contains("--allow-unauthenticated"), "{}", exposed.stderr);
}

#[test]
fn an_endpoint_that_is_not_ours_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Answers whatever is asked with a page of its own; ends with the test's process.
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65536]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    let directory = open_directory();
    let clusters = serde_json::json!([{"name": "devcluster", "scheduler_uri": format!("http://{address}")}]);
    std::fs::write(directory.path().join("clusters.json"), clusters.to_string()).unwrap();
    let output = std::process::Command::new(support::DAYBREAK)
        .args(["aurora", "job", "status", "devcluster/a/devel/b"])
        .env("AURORA_CONFIG_ROOT", directory.path())
        .env("HOME", directory.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains(&address.to_string()) && stderr.contains("not"), "{stderr}");
}

#[test]
fn executors_that_only_agents_could_start_are_refused_on_one_machine() {
    let directory = open_directory();
    let config = directory.path().join("executors.json");
    let entry = serde_json::json!({"executor": {"name": "mine", "command": {"value": "x"}, "resources": []}, "task_prefix": "m-"});
    std::fs::write(&config, serde_json::json!([entry]).to_string()).unwrap();
    let state = directory.path().join("state");
    let up = ["up", "--state-dir", state.to_str().unwrap(), "--custom-executor-config", config.to_str().unwrap()];
    let refused = daybreak(&up).expect_code(1);
    assert!(
        refused.stderr.contains("describes mine,") && refused.stderr.contains("Add --mesos-master"),
        "{}",
        refused.stderr
    );
    assert!(!state.exists());
    // What is built in may be named, and is what it was.
    let entry = serde_json::json!({"executor": {"name": "docker-compose-executor", "command": {"value": "x"}, "resources": []}, "task_prefix": "m-"});
    std::fs::write(&config, serde_json::json!([entry]).to_string()).unwrap();
    Daemon::start(&["--allow-root-role", "--custom-executor-config", config.to_str().unwrap()]);
}
