//! Who may do what, who is told of it, and the options of Aurora's scheduler, with the real binary.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use discovery::testing::Zookeeper;
use serde_json::{Value, json};
use support::{DAYBREAK, Daemon, http, login, open_directory, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn basic(words: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words))
}

/// A method over plain JSON; status and answer.
fn call(daemon: &Daemon, method: &str, caller: Option<&str>, arguments: &Value) -> (u16, Value) {
    let credentials = caller.map(basic);
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(credentials.as_deref().map(|text| ("Authorization", text)));
    let url = format!("{}/apibeta/{method}", daemon.url);
    let (status, body) = http("POST", &url, &headers, arguments.to_string().as_bytes());
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn job(role: &str, name: &str) -> Value {
    let key = json!({"role": role, "environment": "prod", "name": name});
    let data = json!({"task": {"processes": [{"name": "p", "cmdline": "sleep 1000"}], "resources": {"cpu": 0.1, "ram": 16_777_216, "disk": 16_777_216}}});
    json!({"description": {
        "key": key, "instanceCount": 1,
        "taskConfig": {"job": key, "isService": true, "executorConfig": {"name": "AuroraExecutor", "data": data.to_string()},
            "resources": [{"numCpus": 0.1}, {"ramMb": 16}, {"diskMb": 16}]},
    }})
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn users_do_what_their_roles_permit_and_refusals_are_logged_with_their_names() {
    let directory = open_directory();
    let (ini, role) = (directory.path().join("users.ini"), login());
    // The word "secret", hashed by htpasswd.
    let hashed = "$2y$05$xeuHMzfdqI/1q5vD7QJ4v.K04ueqtFmtSJfKKd/u1cxrPU2O3KpUG";
    write(
        &ini,
        &format!(
            "[users]\nalice = {hashed}, mine\nbob = plain, other\nroot = secret, admin\n\
             [roles]\nmine = thrift.AuroraSchedulerManager:*:{role}\nother = thrift.AuroraSchedulerManager:*:other\nadmin = *\n"
        ),
    );
    let flag = format!("-shiro_ini_path={}", ini.display());
    let daemon = Daemon::start_in(directory, &["-http_authentication_mechanism=BASIC", &flag, "--allow-root-role"]);
    assert!(daemon.log().contains("bob, root are not hashed"), "{}", daemon.log());
    let create = job(&role, "hello");
    let key = &create["description"]["key"];

    let (status, answer) = call(&daemon, "createJob", None, &create);
    assert_eq!(status, 401, "{answer}");
    for liar in ["alice:wrong", "eve:secret"] {
        for method in ["createJob", "getRoleSummary"] {
            assert_eq!(call(&daemon, method, Some(liar), &create).0, 401, "{liar} {method}");
        }
    }
    assert_eq!(
        call(&daemon, "getRoleSummary", None, &json!({})).1["result"]["roleSummaryResult"]["summaries"],
        json!([])
    );
    let (status, refused) = call(&daemon, "createJob", Some("bob:plain"), &create);
    assert_eq!((status, &refused["responseCode"]), (200, &json!("AUTH_FAILED")), "{refused}");
    let log = daemon.log();
    assert!(log.contains("refused") && log.contains("principal=bob") && log.contains(":createJob:"), "{log}");
    assert!(!log.contains("plain,") && !log.contains("secret"), "{log}");
    assert_eq!(call(&daemon, "createJob", Some("alice:secret"), &create).1["responseCode"], "OK");
    assert_eq!(call(&daemon, "snapshot", Some("alice:secret"), &json!({})).1["responseCode"], "AUTH_FAILED");
    assert_eq!(call(&daemon, "snapshot", Some("root:secret"), &json!({})).1["responseCode"], "OK");
    let (status, _) = http("POST", &format!("{}/logconfig", daemon.url), &[], b"level=debug");
    assert_eq!(status, 401);
    assert!(daemon.get("/vars").1.contains("shiro_authorization_failures 2\n"), "{}", daemon.get("/vars").1);

    // Our own client takes name and password from where others do.
    let client = daemon.state.join("client");
    std::fs::create_dir_all(&client).unwrap();
    let key_text = format!("devcluster/{role}/prod/hello");
    let denied = daemon.aurora(&["job", "killall", &key_text]);
    assert!(denied.code != 0 && denied.stderr.contains(".netrc"), "{denied:?}");
    write(&client.join(".netrc"), "machine 127.0.0.1 login alice password secret\n");
    daemon.aurora(&["job", "killall", &key_text]).expect_code(0);
    assert_eq!(call(&daemon, "createJob", Some("alice:secret"), &create).1["responseCode"], "OK");

    // A role taken away is gone with the next look at the file.
    write(&ini, &format!("[users]\nalice = {hashed}\n[roles]\nadmin = *\n"));
    let kill = json!({"job": key});
    wait_for("the new file", SOON, || {
        std::thread::sleep(Duration::from_millis(200));
        (call(&daemon, "killTasks", Some("alice:secret"), &kill).1["responseCode"] == "AUTH_FAILED").then_some(())
    });
    assert_eq!(call(&daemon, "killTasks", Some("root:secret"), &kill).0, 401);
}

#[test]
fn a_program_is_told_of_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = open_directory();
    let file = directory.path().join("webhook.json");
    let target = format!("http://{}/hook", listener.local_addr().unwrap());
    write(&file, &json!({"targetURL": target, "timeoutMsec": 5000, "headers": {"X-From": "daybreak"}}).to_string());
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_ok() {
                let _ =
                    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = sender.send((lower, serde_json::from_slice::<Value>(&body).unwrap()));
            }
        }
    });
    let flag = format!("-webhook_config={}", file.display());
    let daemon = Daemon::start_in(directory, &[&flag, "--allow-root-role"]);
    let create = job(&login(), "hook");
    assert_eq!(call(&daemon, "createJob", None, &create).1["responseCode"], "OK");
    let mut seen = Vec::new();
    while !seen.contains(&"RUNNING".to_owned()) {
        let (head, body) = told.recv_timeout(SOON).unwrap();
        assert!(head.contains("x-from: daybreak") && head.contains("timestamp: "), "{head}");
        assert_eq!(body["task"]["assignedTask"]["task"]["job"], create["description"]["key"]);
        seen.push(body["task"]["status"].as_str().unwrap().to_owned());
    }
    assert!(seen.contains(&"PENDING".to_owned()) && seen.contains(&"ASSIGNED".to_owned()), "{seen:?}");
    wait_for("the statistics", SOON, || {
        let vars = daemon.get("/vars").1;
        (vars.contains("webhooks_success ") && vars.contains("webhooks_errors 0\n")).then_some(())
    });
}

#[test]
fn the_name_of_auroras_scheduler_starts_with_its_options() {
    let directory = open_directory();
    let program = directory.path().join("aurora-scheduler");
    std::os::unix::fs::symlink(DAYBREAK, &program).unwrap();
    let log = directory.path().join("log");
    let state = directory.path().join("state");
    let start = |more: &[&str]| {
        let out = std::fs::File::create(&log).unwrap();
        let mut command = std::process::Command::new(&program);
        command.args(more).arg("--state-dir").arg(&state).stdin(std::process::Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap()
    };
    let read = || std::fs::read_to_string(&log).unwrap();
    let mut child = start(&[
        "-cluster_name=example",
        "-http_port=0",
        "-hostname=127.0.0.1",
        "-zk_endpoints=127.0.0.1:1",
        "-serverset_path=/aurora/scheduler",
        "-mesos_master_address=127.0.0.1:1",
        "-backup_dir=backups",
        "-native_log_quorum_size=1",
        "-native_log_file_path=/nowhere",
        "-flapping_task_threshold=1mins",
        "-thermos_executor_path=/usr/bin/thermos_executor",
    ]);
    let served = std::panic::catch_unwind(|| {
        wait_for("the daemon to serve", SOON, || read().contains("serving http://127.0.0.1:").then_some(()));
    });
    let said = read();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(served.is_ok(), "{said}");
    for flag in ["-native_log_quorum_size", "-native_log_file_path"] {
        assert_eq!(said.matches(&format!("ignored: {flag}:")).count(), 1, "{said}");
    }
    assert!(said.contains("nothing authenticates callers"), "{said}");
    // What is wrong is refused before anything starts.
    for (flags, why) in [
        (&["-cluster_name=x"][..], "-zk_endpoints"),
        (&["-flapping_task_threshold=5"], "-flapping_task_threshold: '5'"),
        (&["-no_such_flag=1"], "-no_such_flag is not an option"),
        (&["-zk_in_proc=true"], "no ZooKeeper is part"),
    ] {
        let status = start(flags).wait().unwrap();
        assert!(!status.success() && read().contains(why), "{flags:?}: {}", read());
    }
}

#[test]
fn with_two_schedulers_announced_nobody_leads_until_one_is_gone() {
    let zookeeper = Zookeeper::start();
    let flag = format!("-zk_endpoints={}", zookeeper.address());
    let daemon = Daemon::start(&[&flag, "--zk-session-timeout", "2secs"]);
    let other = zookeeper.client();
    wait_for("the announcement", SOON, || (other.children("/aurora/scheduler").len() == 1).then_some(()));
    let status = |path: &str, headers: &[(&str, &str)]| http("GET", &format!("{}{path}", daemon.url), headers, b"").0;
    wait_for("the leadership", SOON, || (status("/leaderhealth", &[]) == 200).then_some(()));
    assert_eq!(status("/scheduler", &[]), 200);
    let member =
        r#"{"serviceEndpoint":{"host":"elsewhere.example","port":8081},"additionalEndpoints":{},"status":"ALIVE"}"#;
    other.register("/aurora/scheduler/member_", member.as_bytes());
    wait_for("the other one to be seen", SOON, || (status("/leaderhealth", &[]) == 502).then_some(()));
    assert_eq!((status("/scheduler", &[]), status("/vars", &[])), (503, 200));
    assert_eq!(status("/scheduler", &[("Bypass-Leader-Redirect", "true")]), 200);
    drop(other);
    wait_for("the leadership", SOON, || (status("/scheduler", &[]) == 200).then_some(()));
}
