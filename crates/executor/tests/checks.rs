//! Health checks and the requests that ask a task to end, with real processes and real servers. As this user and, when that is root, as
//! a plain one.

mod harness;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkpoint::record::{StatusRecord, StatusState};
use harness::{Engine, eventually, folder, is_alive, pid_in, users};
use serde_json::{Value, json};

/// A server on this machine: answers each request with what the function says, and remembers what was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(usize, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let text = String::from_utf8(head).unwrap();
                let mut words = text.split(' ');
                let line = format!("{} {}", words.next().unwrap(), words.next().unwrap_or_default());
                let number = {
                    let mut asked = noted.lock().unwrap();
                    asked.push(line.clone());
                    asked.len() - 1
                };
                let _ = socket.write_all(answer(number, &line).as_bytes());
            }
        });
        Self { port, asked }
    }

    /// The requests so far, probes left out.
    fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with("POST")).cloned().collect()
    }

    fn probes(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with("GET")).count()
    }
}

fn answer(code: u16, body: &str) -> String {
    format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A payload of one process whose checks are quick.
fn checked(cmdline: &str, checker: Value, more: Value) -> Vec<u8> {
    let mut config = json!({
        "health_checker": checker, "initial_interval_secs": 0, "interval_secs": 0.1, "timeout_secs": 1.0,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "task": {"name": "t", "processes": [{"name": "p", "cmdline": cmdline}], "finalization_wait": 5},
        "health_check_config": config,
        "lifecycle": {},
    })
    .to_string()
    .into_bytes()
}

fn shell(command: &str) -> Value {
    json!({"shell": {"shell_command": command}})
}

/// Launches with a port named `health`.
fn start(engine: &mut Engine, payload: Vec<u8>, port: Option<u16>) -> u64 {
    let slot = engine.slot(Default::default());
    let mut launch = engine.launch_of("t", payload);
    launch.ports.extend(port.map(|port| ("health".to_owned(), u32::from(port))));
    launch.stop_timeout_ms = 10_000;
    engine.launch(slot, launch);
    slot
}

fn told(statuses: &[StatusRecord]) -> Vec<(StatusState, &str)> {
    statuses.iter().map(|status| (status.state(), status.message.as_str())).collect()
}

#[test]
fn a_task_runs_once_its_probes_succeed() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let server = Server::start(|number, _| answer(200, if number < 3 { "not yet" } else { " OK\n" }));
        let config = json!({"max_consecutive_failures": 5, "min_consecutive_successes": 2});
        let slot = start(&mut engine, checked("sleep 1000", json!({"http": {}}), config), Some(server.port));
        engine.until_running(slot);
        assert!(server.probes() >= 5, "three that fail and two in a row that succeed");
        assert_eq!(server.asked.lock().unwrap()[0], "GET /health");
        let recorded = engine.state("t").statuses;
        assert_eq!(told(&recorded), [(StatusState::Starting, ""), (StatusState::Running, "Task is healthy.")]);
        engine.kill(slot, "t", 5_000);
        let statuses = engine.statuses(slot);
        assert_eq!(told(&statuses[2..]), [(StatusState::Killed, "Instructed to kill task.")]);
        assert_eq!(engine.state("t").statuses, statuses, "what is told is what is recorded");
    }
}

#[test]
fn a_task_that_never_becomes_healthy_fails_without_running() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|_, _| answer(200, "sorry, I am ill"));
    let config = json!({"max_consecutive_failures": 2});
    let slot = start(&mut engine, checked("sleep 1000", json!({"http": {}}), config), Some(server.port));
    let statuses = engine.statuses(slot);
    let why = "Failed health check! Response differs from expected response (expected \"ok\", got \"sorry, ...\")";
    assert_eq!(told(&statuses), [(StatusState::Starting, ""), (StatusState::Failed, why)]);
    assert_eq!(statuses[1].return_code, None, "no process decided it");
    assert_eq!(server.probes(), 3, "the third failure in a row is one too many");
    let took_ms = statuses[1].timestamp_ms - statuses[0].timestamp_ms;
    assert!(took_ms < 5_000, "it ends as soon as its processes do: {took_ms} ms");
    let log = engine.log();
    assert!(log.contains("health_checker: checks 3, snoozed 0, consecutive_failures 3"), "{log}");
}

#[test]
fn a_running_task_that_falls_ill_fails() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|number, _| answer(if number < 2 { 200 } else { 503 }, "ok"));
    let checker = json!({"http": {"endpoint": "alive", "expected_response": "", "expected_response_code": 200}});
    let slot = start(&mut engine, checked("sleep 1000", checker, json!({})), Some(server.port));
    let statuses = engine.statuses(slot);
    let why = "Failed health check! Response code differs from expected response (expected 200, got 503)";
    let states: Vec<_> = statuses.iter().map(StatusRecord::state).collect();
    assert_eq!(states, [StatusState::Starting, StatusState::Running, StatusState::Failed]);
    assert_eq!(statuses[2].message, why);
    assert_eq!(server.asked.lock().unwrap()[0], "GET /alive");
}

#[test]
fn nobody_who_answers_and_redirections_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (port, why) in [(closed, "refused"), (silent_port, "timed out")] {
        let folder = folder();
        let mut engine = Engine::start(folder.path(), 1);
        let config = json!({"timeout_secs": 0.2});
        let slot = start(&mut engine, checked("sleep 1000", json!({"http": {}}), config), Some(port));
        let statuses = engine.statuses(slot);
        let message = statuses.last().unwrap().message.to_lowercase();
        let begin = format!("failed health check! failed to signal http://localhost:{port}/health: ");
        assert!(message.starts_with(&begin) && message.contains(why), "{message}");
    }
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|_, line| match line {
        "GET /health" => "HTTP/1.1 302 X\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => answer(200, "ok"),
    });
    let slot = start(&mut engine, checked("sleep 1000", json!({"http": {}}), json!({})), Some(server.port));
    engine.until_running(slot);
    assert!(server.asked.lock().unwrap().contains(&"GET /there".to_owned()));
}

#[test]
fn a_command_decides_and_wins_over_the_port() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let server = Server::start(|_, _| answer(200, "ok"));
        // It runs in the run directory, with templates filled in, as the user of the task.
        let command =
            "test -e sandbox/ready && echo {{thermos.task_id}} {{thermos.ports[health]}} $(id -u) > sandbox/probed";
        let config = json!({"max_consecutive_failures": 100});
        let payload = checked("sleep 0.5; id -u > uid; touch ready; sleep 1000", shell(command), config);
        let slot = start(&mut engine, payload, Some(server.port));
        engine.until_running(slot);
        let sandbox = engine.run("t").sandbox();
        let uid = std::fs::read_to_string(sandbox.join("uid")).unwrap();
        let probed = std::fs::read_to_string(sandbox.join("probed")).unwrap();
        assert_eq!(probed, format!("t {} {uid}", server.port));
        assert_eq!(server.probes(), 0);
    }
}

#[test]
fn commands_that_fail_hang_or_cannot_run_give_their_reasons() {
    for (command, timeout, why) in [
        (
            "echo out; echo err >&2; exit 3",
            1.0,
            "Command 'echo out; echo err >&2; exit 3' returned non-zero exit status 3 with output 'out\nerr\n'",
        ),
        ("kill -9 $$", 1.0, "Command 'kill -9 $$' returned non-zero exit status -9 with output ''"),
        ("echo $$ > sandbox/probe; sleep 1000 & sleep 1000", 0.3, "Health check timed out."),
        ("a\0b", 1.0, "Invalid commmand."),
    ] {
        let folder = folder();
        let mut engine = Engine::start(folder.path(), 1);
        let config = json!({"timeout_secs": timeout});
        let slot = start(&mut engine, checked("sleep 1000", shell(command), config), None);
        let statuses = engine.statuses(slot);
        assert_eq!(statuses.last().unwrap().message, format!("Failed health check! {why}"));
        if timeout < 1.0 {
            let pid = pid_in(&engine.run("t"), "probe");
            eventually("the end of the command", || !is_alive(pid));
        }
    }
}

#[test]
fn a_command_that_writes_without_end_is_bounded() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let config = json!({"timeout_secs": 20});
    let slot = start(&mut engine, checked("sleep 1000", shell("yes | head -c 3000000; exit 1"), config), None);
    let statuses = engine.statuses(slot);
    let message = &statuses.last().unwrap().message;
    assert!(message.contains("exit status 1 with output 'y\ny\n") && message.len() < 5_000, "{}", message.len());
}

#[test]
fn a_snoozed_task_is_not_probed() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let payload = checked(
        "touch .healthchecksnooze; sleep 1; rm .healthchecksnooze; sleep 1000",
        shell("exit 9"),
        json!({"initial_interval_secs": 0.3}),
    );
    let slot = start(&mut engine, payload, None);
    engine.until_running(slot);
    let statuses = engine.statuses(slot);
    assert_eq!(statuses[1].message, "Task is healthy.");
    assert!(statuses[2].message.contains("exit status 9"), "{}", statuses[2].message);
    assert!(statuses[2].timestamp_ms - statuses[1].timestamp_ms >= 500, "it was left alone while it was snoozed");
}

#[test]
fn a_task_that_ends_before_it_is_healthy_is_finished() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = start(&mut engine, checked("sleep 0.4", shell("exit 1"), json!({"initial_interval_secs": 60})), None);
    let statuses = engine.statuses(slot);
    assert_eq!(told(&statuses), [(StatusState::Starting, ""), (StatusState::Finished, "Task finished.")]);
    // The slot is as good as new.
    let launch = engine.launch_of("next", harness::payload("true"));
    engine.launch(slot, launch);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
}

#[test]
fn the_death_of_the_supervisor_ends_task_and_probe() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let command = "echo $$ > sandbox/probe; exec sleep 1000";
    let config = json!({"timeout_secs": 100, "initial_interval_secs": 60});
    let slot = start(&mut engine, checked("echo $$ > pid; exec sleep 1000", shell(command), config), None);
    let run = engine.run("t");
    let (task, probe) = (pid_in(&run, "pid"), pid_in(&run, "probe"));
    harness::kill_9(engine.slots[&slot].ready.pid);
    let state = engine.until_over("t");
    assert_eq!(state.last_status().unwrap().state(), StatusState::Lost);
    assert!(!state.was_running());
    eventually("the end of both", || !is_alive(task) && !is_alive(probe));
}

#[test]
fn the_health_of_a_task_outlives_its_engine() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let config = json!({"initial_interval_secs": 60});
    let slot = start(&mut engine, checked("sleep 1000", shell("test -e sandbox/ready"), config), None);
    let run = engine.run("t");
    eventually("the sandbox", || run.sandbox().exists());
    let launcher = engine.launcher.take();
    drop(engine);
    // It becomes healthy while no engine is there to be told.
    std::fs::write(run.sandbox().join("ready"), "").unwrap();
    eventually("RUNNING in the checkpoint", || {
        checkpoint::replay::RunState::load(&run.checkpoint()).is_ok_and(|state| state.was_running())
    });
    let mut next = Engine::attach(folder.path(), 2);
    next.launcher = launcher;
    assert_eq!(next.state("t").statuses[1].message, "Task is healthy.");
    next.kill(slot, "t", 5_000);
    let state = next.until_over("t");
    assert_eq!(state.last_status().unwrap().state(), StatusState::Killed);
}

/// Waits of the lifecycle in whole seconds.
fn lifecycle(cmdline: &str, waits: (u64, u64), more: Value) -> Vec<u8> {
    let mut payload: Value = serde_json::from_slice(&checked(cmdline, json!({"http": {}}), json!({}))).unwrap();
    let mut http = json!({"graceful_shutdown_wait_secs": waits.0, "shutdown_wait_secs": waits.1});
    http.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload["lifecycle"] = json!({"http": http});
    payload.to_string().into_bytes()
}

#[test]
fn a_task_that_is_killed_is_asked_first() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    // What the server is asked is passed on as a file that the task waits for.
    let quit = engine.run("t").sandbox().join("quit");
    let server = Server::start(move |_, line| {
        if line == "POST /quitquitquit" {
            std::fs::write(&quit, "").unwrap();
        }
        answer(500, "ok")
    });
    let payload = lifecycle("trap 'touch term' TERM; until test -e quit; do sleep 0.05; done", (20, 20), json!({}));
    let mut value: Value = serde_json::from_slice(&payload).unwrap();
    value["health_check_config"]["health_checker"] = json!({"http": {"expected_response": ""}});
    let slot = start(&mut engine, value.to_string().into_bytes(), Some(server.port));
    engine.until_running(slot);
    let began = Instant::now();
    engine.kill(slot, "t", 5_000);
    let statuses = engine.statuses(slot);
    assert_eq!(told(&statuses[2..]), [(StatusState::Killed, "Instructed to kill task.")]);
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for a task that has ended");
    assert_eq!(server.requests(), ["POST /quitquitquit"]);
    assert!(!engine.run("t").sandbox().join("term").exists(), "it ended without a signal");
    assert_eq!(engine.state("t").processes["p"][0].return_code, Some(0));
}

#[test]
fn a_task_that_does_not_listen_is_asked_twice_and_signalled() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|_, _| answer(200, "ok"));
    let more = json!({"graceful_shutdown_endpoint": "/a", "shutdown_endpoint": "b"});
    let slot = start(
        &mut engine,
        lifecycle("trap 'touch term; exit' TERM; sleep 1000 & wait", (1, 1), more),
        Some(server.port),
    );
    engine.until_running(slot);
    let began = Instant::now();
    engine.kill(slot, "t", 5_000);
    engine.statuses(slot);
    assert!((2_000..6_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(server.requests(), ["POST /a", "POST /b"]);
    assert!(engine.run("t").sandbox().join("term").exists());
}

#[test]
fn requests_that_nobody_takes_cost_no_wait() {
    for port in [None, Some(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())] {
        let folder = folder();
        let mut engine = Engine::start(folder.path(), 1);
        let mut value: Value = serde_json::from_slice(&lifecycle("sleep 1000", (20, 20), json!({}))).unwrap();
        value["health_check_config"]["health_checker"] = shell("true");
        let slot = start(&mut engine, value.to_string().into_bytes(), port);
        engine.until_running(slot);
        let began = Instant::now();
        engine.kill(slot, "t", 5_000);
        engine.statuses(slot);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[test]
fn everything_together_is_bounded_and_a_kill_without_grace_is_at_once() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|_, _| answer(200, "ok"));
    let slot = engine.slot(Default::default());
    let stubborn = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done";
    let mut launch = engine.launch_of("t", lifecycle(stubborn, (1000, 1000), json!({})));
    launch.ports.insert("health".into(), u32::from(server.port));
    launch.stop_timeout_ms = 1_500;
    engine.launch(slot, launch);
    engine.until_running(slot);
    let began = Instant::now();
    engine.kill(slot, "t", 60_000);
    engine.statuses(slot);
    assert!((1_400..6_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    let mut launch = engine.launch_of("u", lifecycle(stubborn, (1000, 1000), json!({})));
    launch.ports.insert("health".into(), u32::from(server.port));
    let slot = engine.slot(Default::default());
    engine.launch(slot, launch);
    engine.until_running(slot);
    let began = Instant::now();
    engine.kill(slot, "u", 60_000);
    engine.kill(slot, "u", 0);
    engine.statuses(slot);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn an_unhealthy_task_is_asked_to_end_too_and_stays_failed() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let probes = AtomicUsize::new(0);
    let quit = engine.run("t").sandbox().join("quit");
    let server = Server::start(move |_, line| {
        if line.starts_with("POST") {
            std::fs::write(&quit, "").unwrap();
        }
        answer(200, if probes.fetch_add(1, Ordering::Relaxed) < 1 { "ok" } else { "ill" })
    });
    let slot =
        start(&mut engine, lifecycle("until test -e quit; do sleep 0.05; done", (5, 5), json!({})), Some(server.port));
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), StatusState::Failed);
    assert!(last.message.ends_with("(expected \"ok\", got \"ill\")"), "{}", last.message);
    assert_eq!(server.requests(), ["POST /quitquitquit"]);
}

#[test]
fn a_health_port_may_be_an_alias() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let server = Server::start(|_, _| answer(200, "ok"));
    let mut value: Value = serde_json::from_slice(&checked("sleep 1000", json!({"http": {}}), json!({}))).unwrap();
    value["announce"] = json!({"primary_port": "http", "portmap": {"health": "admin", "admin": "http", "x": "y"}});
    let slot = engine.slot(Default::default());
    let mut launch = engine.launch_of("t", value.to_string().into_bytes());
    launch.ports.insert("http".into(), u32::from(server.port));
    engine.launch(slot, launch);
    engine.until_running(slot);
    assert!(server.probes() > 0);
    assert_eq!(engine.state("t").statuses[1].message, "Task is healthy.");
}
