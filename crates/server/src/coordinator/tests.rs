//! Coordinators that answer well, badly, falsely and not at all.

use std::collections::BTreeMap;
use std::net::TcpListener;

use model::{JobKey, TaskConfig, TaskStatus};
use node::inbox::{Inbox, Limits};
use scheduler::{Task, TaskEvent};

use super::*;
use crate::test_support::{Authority, Program, answer};

const PATIENCE: Duration = Duration::from_secs(20);
const YES: &str = r#"{"drain": true}"#;

fn question(url: String, status_key: &str) -> CoordinatorQuestion {
    let mut config = TaskConfig::new(JobKey::new("www-data", "prod", "web"), 1.0, 1, 1, "{}");
    config.is_service = true;
    let task = Task {
        id: "task-7".into(),
        instance: 7,
        config: Arc::new(config),
        status: TaskStatus::Running,
        failure_count: 0,
        times_partitioned: 0,
        ancestor: None,
        events: vec![TaskEvent { timestamp_ms: 5, status: TaskStatus::Running, message: None }],
        agent_id: Some("agent".into()),
        host: Some(Arc::new("host".into())),
        ports: BTreeMap::new(),
    };
    let parameters = [("forceMaintenanceCountdownMs".to_owned(), "60000".to_owned())].into();
    CoordinatorQuestion { id: 3, url, status_key: status_key.into(), task: Arc::new(task), parameters }
}

fn client(timeout: Duration, trust: Trust) -> (CoordinatorClient, Inbox<Input>) {
    let (sender, inbox) = node::inbox::inbox(Limits::default(), Arc::new(|| {}));
    (CoordinatorClient::new("devcluster", "scheduler.example", timeout, trust, sender), inbox)
}

fn ask(url: String, status_key: &str, trust: Trust) -> CoordinatorAnswer {
    let (client, _inbox) = client(PATIENCE, trust);
    client.answer_of(&question(url, status_key))
}

fn said(answer: impl Into<String>, status_key: &str) -> CoordinatorAnswer {
    let program = Program::start(answer);
    ask(format!("http://{}/may-i", program.address), status_key, Trust::default())
}

fn error(answer: CoordinatorAnswer) -> String {
    match answer {
        CoordinatorAnswer::Error(why) => why,
        other => panic!("{other:?}"),
    }
}

fn user_error(answer: CoordinatorAnswer) -> String {
    match answer {
        CoordinatorAnswer::UserError(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Believes the authority, beside those of the system.
fn trust_in(authority: &Authority) -> Trust {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    Trust::load(Some(&path)).unwrap()
}

#[test]
fn the_question_names_the_task_and_the_answer_reaches_the_loop() {
    let program = Program::start(answer("200 OK", YES));
    let (client, mut inbox) = client(PATIENCE, Trust::default());
    client.ask(question(format!("http://{}/may-i", program.address), "drain"));
    let heard = program.heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard.line, "POST /may-i?task=devcluster%2Fwww-data%2Fprod%2Fweb%2F7 HTTP/1.1");
    let body = heard.json();
    assert_eq!(body["task"], "devcluster/www-data/prod/web/7");
    assert_eq!(body["forceMaintenanceCountdownMs"], "60000");
    assert_eq!(body["taskConfig"]["assignedTask"]["taskId"], "task-7");
    let deadline = std::time::Instant::now() + PATIENCE;
    let told = loop {
        let mut taken = std::collections::VecDeque::new();
        inbox.take(1, &mut taken);
        if let Some(input) = taken.pop_front() {
            break input;
        }
        assert!(std::time::Instant::now() < deadline, "no answer came");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(told, Input::CoordinatorAnswer { question: 3, answer: CoordinatorAnswer::Allowed });
}

#[test]
fn an_answer_decides_by_the_key_of_the_policy() {
    let both = answer("200 OK", r#"{"drain": false, "replace": true } "#);
    assert_eq!(said(both.clone(), "drain"), CoordinatorAnswer::Refused);
    assert_eq!(said(both.clone(), "replace"), CoordinatorAnswer::Allowed);
    assert!(error(said(both, "other")).contains("no 'other'"));
    assert!(error(said(answer("200 OK", r#"{"drain":1}"#), "drain")).contains("neither"));
    assert!(error(said(answer("200 OK", "True"), "drain")).contains("no JSON object"));
    assert!(error(said("nonsense\r\n\r\n", "drain")).len() > 3);
}

#[test]
fn other_statuses_are_errors_of_the_user_and_silence_ends() {
    assert!(user_error(said(answer("500 Oops", "boom"), "drain")).contains("HTTP 500 boom"));
    let (client, _inbox) = client(Duration::from_millis(200), Trust::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{}/", silent.local_addr().unwrap());
        assert!(error(client.answer_of(&question(url, "drain"))).contains("timeout"), "{scheme}");
    }
    drop(silent);
    for unusable in ["not an address", "ftp://x/", "http://127.0.0.1:1/", "https://127.0.0.1:1/"] {
        error(client.answer_of(&question(unusable.into(), "drain")));
    }
}

#[test]
fn over_https_a_coordinator_of_a_trusted_authority_is_asked_and_believed() {
    let authority = Authority::new();
    let program = Program::start_tls(authority.server("localhost", false), answer("200 OK", YES));
    let url = format!("https://localhost:{}/may-i", program.address.port());
    assert_eq!(ask(url, "drain", trust_in(&authority)), CoordinatorAnswer::Allowed);
    let heard = program.heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard.json()["task"], "devcluster/www-data/prod/web/7");
    let refusing = Program::start_tls(authority.server("127.0.0.1", false), answer("200 OK", r#"{"drain": false}"#));
    let url = format!("https://{}/", refusing.address);
    assert_eq!(ask(url, "drain", trust_in(&authority)), CoordinatorAnswer::Refused);
    let failing = Program::start_tls(authority.server("localhost", false), answer("500 Oops", "boom"));
    let url = format!("https://localhost:{}/", failing.address.port());
    assert!(user_error(ask(url, "drain", trust_in(&authority))).contains("HTTP 500 boom"));
}

#[test]
fn over_https_nobody_else_hears_the_question() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases = [
        (other.server("localhost", false), "--https-ca-file"),
        (authority.server("another.example", false), "not valid for name"),
        (authority.server("localhost", true), "expired"),
    ];
    for (config, expected) in cases {
        let program = Program::start_tls(config, answer("200 OK", YES));
        let url = format!("https://localhost:{}/", program.address.port());
        let why = error(ask(url, "drain", trust_in(&authority)));
        assert!(why.contains(expected), "{why}");
        assert!(program.heard.try_recv().is_err(), "it was asked although it is a stranger");
    }
    // The authorities of the system do not vouch for it either.
    let program = Program::start_tls(authority.server("localhost", false), answer("200 OK", YES));
    let url = format!("https://localhost:{}/", program.address.port());
    assert!(error(ask(url, "drain", Trust::default())).contains("--https-ca-file"));
    // Who speaks no TLS at all is no coordinator over HTTPS.
    let plain = Program::start(answer("200 OK", YES));
    error(ask(format!("https://{}/", plain.address), "drain", trust_in(&authority)));
}

#[test]
fn nobody_is_sent_elsewhere_neither_to_another_scheme_nor_back() {
    let authority = Authority::new();
    let elsewhere = Program::start(answer("200 OK", YES));
    let moved = |to: &str| format!("HTTP/1.1 307 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let down = moved(&format!("http://{}/", elsewhere.address));
    let secure = Program::start_tls(authority.server("localhost", false), down.clone());
    let url = format!("https://localhost:{}/", secure.address.port());
    assert!(user_error(ask(url, "drain", trust_in(&authority))).contains("HTTP 307"));
    assert!(user_error(said(down, "drain")).contains("HTTP 307"));
    assert!(user_error(said(moved("/else"), "drain")).contains("HTTP 307"));
    assert!(elsewhere.heard.try_recv().is_err(), "a redirect was followed");
}

#[test]
fn an_answer_is_bounded_and_a_cut_one_decides_nothing() {
    let authority = Authority::new();
    let long = format!(r#"{{"drain": true, "why": "{}"}}"#, "x".repeat(ANSWER_LIMIT_BYTES as usize));
    let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}{}", "x".repeat(4 << 20));
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{YES}");
    for text in [answer("200 OK", &long), endless, cut] {
        let why = error(said(text.clone(), "drain"));
        let secure = Program::start_tls(authority.server("localhost", false), text);
        let url = format!("https://localhost:{}/", secure.address.port());
        let over_tls = error(ask(url, "drain", trust_in(&authority)));
        assert!(!why.is_empty() && !over_tls.is_empty(), "{why} {over_tls}");
        assert!(why.len() < 1000 && over_tls.len() < 1000, "an error is one line");
    }
    // A long word about a refusal is shown in part.
    assert!(user_error(said(answer("503 Busy", &"x".repeat(100_000)), "drain")).len() < 1000);
}
