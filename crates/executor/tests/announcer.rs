//! Tasks that announce themselves, with real processes and a real ZooKeeper. As this user and, when that is root, as a plain one.

mod harness;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use checkpoint::protocol::Announcing;
use checkpoint::record::{StatusRecord, StatusState};
use discovery::Member;
use discovery::testing::{Client, Wire, Zookeeper};
use harness::{Engine, eventually, folder, is_alive, kill_9, users};
use serde_json::{Value, json};

fn zookeeper() -> &'static Zookeeper {
    static SERVER: OnceLock<Zookeeper> = OnceLock::new();
    SERVER.get_or_init(Zookeeper::start)
}

/// A payload of one process that announces itself like this; its first connection has a second and a half.
fn announced(cmdline: &str, announce: Value) -> Vec<u8> {
    json!({
        "task": {"name": "t", "processes": [{"name": "p", "cmdline": cmdline}], "finalization_wait": 10},
        "health_check_config": {"initial_interval_secs": 1.0, "interval_secs": 0.25, "max_consecutive_failures": 2},
        "announce": announce,
        "lifecycle": {},
    })
    .to_string()
    .into_bytes()
}

fn announcing(ensemble: &str, path: &str) -> Announcing {
    Announcing { ensemble: ensemble.into(), path: path.into(), session_timeout_ms: 2_000, ..Announcing::default() }
}

/// Launches instance 4 with a port named `http`.
fn start(engine: &mut Engine, payload: Vec<u8>, announcing: Announcing) -> u64 {
    let slot = engine.slot(Default::default());
    let mut launch = engine.launch_of("t", payload);
    launch.ports = [("http".to_owned(), 31_005)].into();
    launch.instance = 4;
    launch.announcing = Some(announcing);
    engine.launch(slot, launch);
    slot
}

fn told(statuses: &[StatusRecord]) -> Vec<(StatusState, &str)> {
    statuses.iter().map(|status| (status.state(), status.message.as_str())).collect()
}

fn only_member(client: &Client, path: &str) -> Option<String> {
    match client.children(path).as_slice() {
        [one] => Some(format!("{path}/{one}")),
        _ => None,
    }
}

/// Pids of the announcers that this supervisor has started.
fn helpers_of(supervisor: i32) -> Vec<i32> {
    executor::system::procfs::descendants(&[supervisor])
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"daybreak\0__announcer\0"))
        })
        .collect()
}

fn supervisor(engine: &Engine) -> i32 {
    engine.state("t").header.unwrap().supervisor_pid
}

#[test]
fn a_task_is_announced_with_its_ports_and_leaves_before_its_processes_are_asked_to_end() {
    let client = zookeeper().client();
    for (number, user) in users().into_iter().enumerate() {
        let path = format!("/aurora/www/prod/whole{number}");
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let announce = json!({"primary_port": "http", "portmap": {"aurora": "http", "admin": "9000"}});
        let cmdline = "trap 'touch asked; sleep 1; exit 0' TERM; touch up; while true; do sleep 0.1; done";
        let slot = start(&mut engine, announced(cmdline, announce), announcing(&zookeeper().address(), &path));
        engine.until_running(slot);
        eventually("the announcement", || only_member(&client, &path).is_some());
        let node = only_member(&client, &path).unwrap();
        assert!(node.ends_with("/member_0000000000"), "{node}");
        let text = String::from_utf8(client.data(&node).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"serviceEndpoint":{"host":"host","port":31005},"additionalEndpoints":{"admin":{"host":"host","port":9000},"aurora":{"host":"host","port":31005},"http":{"host":"host","port":31005}},"status":"ALIVE","shard":4}"#
        );
        let supervisor = supervisor(&engine);
        assert_eq!(helpers_of(supervisor).len(), 1);
        let sandbox = engine.run("t").sandbox();
        eventually("the process", || sandbox.join("up").exists());
        engine.kill(slot, "t", 10_000);
        eventually("the signal", || sandbox.join("asked").exists());
        assert_eq!(client.children(&path), [""; 0], "it left before the signal");
        let statuses = engine.statuses(slot);
        assert_eq!(statuses.last().unwrap().state(), StatusState::Killed);
        assert_eq!(helpers_of(supervisor), [0; 0]);
        let log = engine.log();
        assert!(log.contains(&format!("t: announced as {node}")) && log.contains("announcer: joins 1,"), "{log}");
    }
}

#[test]
fn a_task_that_ends_by_itself_leaves_and_one_that_does_not_announce_has_no_helper() {
    let client = zookeeper().client();
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let payload = announced("while ! test -e go; do sleep 0.05; done", json!({}));
    let slot = start(&mut engine, payload, announcing(&zookeeper().address(), "/aurora/www/prod/ends"));
    eventually("the announcement", || only_member(&client, "/aurora/www/prod/ends").is_some());
    std::fs::write(engine.run("t").sandbox().join("go"), "").unwrap();
    let statuses = engine.statuses(slot);
    assert_eq!(told(&statuses).last(), Some(&(StatusState::Finished, "Task finished.")));
    assert_eq!(client.children("/aurora/www/prod/ends"), [""; 0], "gone by the time the end is told");

    let slot = engine.slot(Default::default());
    let mut launch = engine.launch_of("plain", harness::payload("sleep 1000"));
    launch.announcing = Some(announcing(&zookeeper().address(), "/aurora/www/prod/plain"));
    engine.launch(slot, launch);
    engine.until_running(slot);
    assert_eq!(helpers_of(engine.state("plain").header.unwrap().supervisor_pid), [0; 0]);
    engine.kill(slot, "plain", 0);
    engine.statuses(slot);
    assert_eq!(client.children("/aurora/www/prod/plain"), [""; 0]);
}

#[test]
fn without_a_zookeeper_the_task_fails_in_time() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let began = Instant::now();
    let slot = start(&mut engine, announced("sleep 1000", json!({})), announcing("127.0.0.1:1", "/aurora/a/b/c"));
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.message.as_str()), (StatusState::Failed, "Creating Announcer Serverset timed out."));
    let took = began.elapsed();
    assert!((1_500..15_000).contains(&took.as_millis()), "{took:?}");
    assert!(engine.log().contains("no ZooKeeper server answers at 127.0.0.1:1"), "{}", engine.log());
}

#[test]
fn losing_zookeeper_later_or_the_node_or_the_helper_never_ends_the_task() {
    let client = zookeeper().client();
    let path = "/aurora/www/prod/tough";
    let wire = Wire::to(&zookeeper().address());
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = start(&mut engine, announced("sleep 1000", json!({})), announcing(&wire.address(), path));
    engine.until_running(slot);
    eventually("the announcement", || only_member(&client, path).is_some());
    // Somebody deletes the node.
    let node = only_member(&client, path).unwrap();
    assert!(client.delete(&node));
    eventually("another node", || only_member(&client, path).is_some_and(|new| new != node));
    // ZooKeeper is away until the session is gone, and then some.
    wire.cut();
    eventually("the session's end", || client.children(path).is_empty());
    std::thread::sleep(Duration::from_secs(2));
    wire.mend();
    eventually("the announcement after the cut", || only_member(&client, path).is_some());
    // The helper is killed: its node goes with its session, and another helper announces.
    let node = only_member(&client, path).unwrap();
    let supervisor = supervisor(&engine);
    let helper = helpers_of(supervisor)[0];
    kill_9(helper);
    eventually("another helper", || helpers_of(supervisor).first().is_some_and(|pid| *pid != helper));
    eventually("another node", || only_member(&client, path).is_some_and(|new| new != node));
    engine.turn(0);
    let states: Vec<StatusState> = engine.state("t").statuses.iter().map(StatusRecord::state).collect();
    assert_eq!(states, [StatusState::Starting, StatusState::Running]);
    engine.kill(slot, "t", 0);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Killed);
    eventually("nothing", || client.children(path).is_empty());
}

#[test]
fn a_supervisor_that_is_killed_takes_its_announcement_along() {
    let client = zookeeper().client();
    let path = "/aurora/www/prod/orphan";
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    start(&mut engine, announced("sleep 1000", json!({})), announcing(&zookeeper().address(), path));
    eventually("the announcement", || only_member(&client, path).is_some());
    let supervisor = supervisor(&engine);
    let helper = helpers_of(supervisor)[0];
    kill_9(supervisor);
    eventually("its leave", || client.children(path).is_empty());
    eventually("its end", || !is_alive(helper));
    engine.until_over("t");
}

#[test]
fn another_path_only_where_it_is_allowed() {
    let client = zookeeper().client();
    let custom = json!({"zk_path": "/elsewhere/mine"});
    let allowed = |allow_custom_path| Announcing {
        allow_custom_path,
        hostname: "public.example".into(),
        ..announcing(&zookeeper().address(), "/aurora/www/prod/custom")
    };
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = start(&mut engine, announced("sleep 1000", custom.clone()), allowed(false));
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), StatusState::Failed);
    assert!(last.message.contains("--announcer-allow-custom-serverset-path"), "{}", last.message);

    let folder = harness::folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = start(&mut engine, announced("sleep 1000", custom), allowed(true));
    eventually("the announcement", || only_member(&client, "/elsewhere/mine").is_some());
    let node = only_member(&client, "/elsewhere/mine").unwrap();
    let member = Member::parse(&node, &client.data(&node).unwrap()).unwrap();
    assert_eq!(member.service_endpoint.host, "public.example");
    engine.kill(slot, "t", 0);
    engine.statuses(slot);
}

#[test]
fn an_authentication_file_is_used_and_a_wrong_one_fails_the_task() {
    let stranger = zookeeper().client();
    let folder = folder();
    let file = folder.path().join("auth.json");
    let told = |auth_file: &std::path::Path| Announcing {
        auth_file: auth_file.to_str().unwrap().into(),
        ..announcing(&zookeeper().address(), "/secured/www/prod/job")
    };
    std::fs::write(
        &file,
        r#"{"auth": [{"scheme": "digest", "credential": "executor:pw"}],
            "acl": [{"scheme": "digest", "credential": "executor:pw",
                     "permissions": {"read": true, "write": true, "create": true, "delete": true, "admin": true}}]}"#,
    )
    .unwrap();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = start(&mut engine, announced("sleep 1000", json!({})), told(&file));
    let friend = Client::connect(&zookeeper().address(), &[discovery::Credential::digest("executor", "pw")]);
    eventually("the announcement", || only_member(&friend, "/secured/www/prod/job").is_some());
    assert_eq!(stranger.children("/secured/www/prod/job"), [""; 0], "others may not look");
    engine.kill(slot, "t", 0);
    engine.statuses(slot);

    for (text, says) in [(Some("{\"auth\": 1}"), "is wrong"), (None, "cannot be read")] {
        let folder = harness::folder();
        let bad = folder.path().join("bad.json");
        if let Some(text) = text {
            std::fs::write(&bad, text).unwrap();
        }
        let mut engine = Engine::start(folder.path(), 1);
        let slot = start(&mut engine, announced("sleep 1000", json!({})), told(&bad));
        let statuses = engine.statuses(slot);
        let last = statuses.last().unwrap();
        assert_eq!(last.state(), StatusState::Failed);
        assert!(last.message.contains(says) && last.message.contains("bad.json"), "{}", last.message);
    }
}
