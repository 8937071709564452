//! Ways past the question who somebody is, tried on the real binary over raw connections: paths that are spelled otherwise, methods under
//! other names, headers of proxies that are not there, credentials that are nearly some. Whatever the answer, nothing changes; and no
//! page that everybody may read holds a secret of the configuration.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use support::{Daemon, http, login, open_directory};

const PASSWORD: &str = "pw-of-root-7f3a";
const HEADER: &str = "token-of-the-webhook-91c2";
// The word "secret", hashed by htpasswd.
const HASH: &str = "$2y$05$xeuHMzfdqI/1q5vD7QJ4v.K04ueqtFmtSJfKKd/u1cxrPU2O3KpUG";
const LONG_AGO: &str = "http://127.0.0.1:9/";

/// A daemon that asks who somebody is, and knows secrets.
fn guarded() -> Daemon {
    let directory = open_directory();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let users = file("users.ini", format!("[users]\nroot = {PASSWORD}, admin\nalice = {HASH}\n[roles]\nadmin = *\n"));
    let webhook =
        json!({"targetURL": LONG_AGO, "timeoutMsec": 50, "headers": {"X-Token": HEADER}, "statuses": ["LOST"]});
    let webhook = file("webhook.json", webhook.to_string());
    let arguments = [
        "--http-authentication-mechanism=BASIC".to_owned(),
        format!("--shiro-ini-path={users}"),
        format!("--webhook-config={webhook}"),
        "--allow-root-role".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Daemon::start_in(directory, &arguments)
}

/// Sends a request exactly as written; the status, and what follows.
fn raw(daemon: &Daemon, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let authority = daemon.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // One that refuses may close before it has read everything.
    let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..count]);
        // Streams to open pages never end; what a secret could stand in has come by then.
        if answer.len() > 1 << 20 {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer)
}

/// A change, as a program would ask for it.
struct Change {
    path: &'static str,
    media_type: &'static str,
    body: String,
}

fn job() -> Value {
    let key = json!({"role": login(), "environment": "prod", "name": "stranger"});
    json!({"description": {"key": key, "instanceCount": 1, "taskConfig": {
        "job": key, "isService": true, "executorConfig": {"name": "AuroraExecutor", "data": "{}"},
        "resources": [{"numCpus": 0.1}, {"ramMb": 16}, {"diskMb": 16}],
    }}})
}

fn changes() -> Vec<Change> {
    let quota =
        json!({"ownerRole": "stranger", "quota": {"resources": [{"numCpus": 1.0}, {"ramMb": 1}, {"diskMb": 1}]}});
    let wire = json!([1, "setQuota", 1, 1, {
        "1": {"str": "stranger"},
        "2": {"rec": {"4": {"set": ["rec", 3, {"1": {"dbl": 1}}, {"2": {"i64": 1}}, {"3": {"i64": 1}}]}}},
    }]);
    let json = "application/json";
    let change = |path, media_type, body: String| Change { path, media_type, body };
    vec![
        change("/apibeta/createJob", json, job().to_string()),
        change("/apibeta/setQuota", json, quota.to_string()),
        change("/api", "application/vnd.apache.thrift.json", wire.to_string()),
        change("/sample-job", "application/x-www-form-urlencoded", String::new()),
        change("/logconfig", "application/x-www-form-urlencoded", "level=error".into()),
        change("/quitquitquit", "text/plain", String::new()),
        change("/abortabortabort", "text/plain", String::new()),
    ]
}

/// Other spellings of a path, some of which other servers take for the same.
fn spellings(path: &str) -> Vec<String> {
    let rest = &path[1..];
    let (first, tail) = rest.split_at(1);
    let encoded = format!("/%{:02x}{tail}", first.as_bytes()[0]);
    let mut spellings = vec![
        format!("/{path}"),
        format!("//{path}"),
        format!("{path}/"),
        format!("{path}//"),
        format!("/.{path}"),
        format!("/./{rest}"),
        format!("/x/..{path}"),
        format!("/assets/..{path}"),
        format!("/scheduler/../..{path}"),
        format!("/%2e{path}"),
        format!("/health/%2e%2e{path}"),
        format!("/health/..%2f{rest}"),
        format!("/health%2f..{path}"),
        format!("%2f{rest}"),
        encoded,
        path.to_uppercase(),
        format!("{path}."),
        format!("{path}%20"),
        format!("{path}%00"),
        format!("{path};a=b"),
        format!("/;{path}"),
        format!("{path}?/health"),
        format!("{path}#/health"),
        format!("\\{rest}"),
        format!("/health\\..\\{rest}"),
        format!("http://localhost{path}"),
        format!("http://elsewhere.example{path}"),
        format!("{path}.json"),
        format!("{path}/..;/health"),
    ];
    if let Some((before, after)) = rest.split_once('/') {
        spellings.extend([
            format!("/{before}//{after}"),
            format!("/{before}/./{after}"),
            format!("/{before}/getJobs/../{after}"),
            format!("/{before}%2f{after}"),
            format!("/{before}/%{:02x}{}", after.as_bytes()[0], &after[1..]),
        ]);
    }
    spellings
}

fn basic(words: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words))
}

/// Headers that some server or proxy, somewhere, takes for a name or for another address.
fn disguises() -> Vec<Vec<(&'static str, String)>> {
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    let mut disguises = vec![
        one("X-Forwarded-User", "root"),
        one("X-Remote-User", "root"),
        one("Remote-User", "root"),
        one("X-Forwarded-For", "127.0.0.1"),
        one("X-Real-IP", "127.0.0.1"),
        one("Forwarded", "for=127.0.0.1;by=root"),
        one("X-Forwarded-Host", "localhost"),
        one("X-Original-URL", "/health"),
        one("X-Rewrite-URL", "/health"),
        one("X-HTTP-Method-Override", "GET"),
        one("X-Method-Override", "GET"),
        one("Bypass-Leader-Redirect", "true"),
        one("Cookie", "JSESSIONID=1; rememberMe=cm9vdA=="),
        one("Authorization", "Basic"),
        one("Authorization", "Basic ="),
        one("Authorization", "Bearer root"),
        one("Authorization", "Negotiate YII="),
        one("Proxy-Authorization", &basic(&format!("root:{PASSWORD}"))),
    ];
    for words in
        ["", ":", "root", "root:", "UNSECURE:", "UNSECURE:UNSECURE", "root:PW-OF-ROOT-7F3A", "alice:", "\0root:x"]
    {
        disguises.push(one("Authorization", &basic(words)));
    }
    disguises.push(one("Authorization", &basic(&format!("root :{PASSWORD}"))));
    // The hash itself is no password.
    disguises.push(one("Authorization", &basic(&format!("alice:{HASH}"))));
    // Of two the wrong one first, and the name of an honest user with the word of another.
    disguises.push(vec![("Authorization", basic("root:x")), ("Authorization", basic("alice:x"))]);
    disguises.push(one("Authorization", &basic(&format!("alice:{PASSWORD}"))));
    disguises
}

/// What a stranger could have changed.
fn state(daemon: &Daemon) -> (String, Value, String) {
    let get = |path: &str| daemon.get(path).1;
    let (status, jobs) =
        http("POST", &format!("{}/apibeta/getJobSummary", daemon.url), &[("Content-Type", "application/json")], b"{}");
    assert_eq!(status, 200, "reading is for everybody");
    let jobs: Value = serde_json::from_str(&jobs).unwrap();
    (get("/logconfig"), jobs["result"]["jobSummaryResult"]["summaries"].clone(), get("/quotas"))
}

#[test]
fn no_spelling_method_or_header_gets_a_stranger_past_the_question_who_he_is() {
    let daemon = guarded();
    let before = state(&daemon);
    assert_eq!(before.1, json!([]));
    let mut tried = 0;
    let mut attempt = |method: &str, target: &str, headers: &[(&str, &str)], change: &Change| {
        let media_type = [("Content-Type", change.media_type)];
        let headers: Vec<(&str, &str)> = media_type.iter().chain(headers).copied().collect();
        let (status, answer) = raw(&daemon, method, target, &headers, &change.body);
        let what = format!("{method} {target} {headers:?}");
        assert!(!answer.contains("\"OK\""), "{what}: {answer}");
        // Pages that only read may be reached by a spelling or a method; changes may not, and nothing may fall over.
        let refused = (400..500).contains(&status) || [301, 303, 307, 308].contains(&status);
        let harmless = method == "GET" || method == "HEAD" || method == "OPTIONS";
        // A connection may simply be closed on what is no HTTP.
        assert!(refused || harmless || status == 0, "{what}: {status} {answer}");
        assert!(!(500..600).contains(&status), "{what}: {answer}");
        tried += 1;
    };
    for change in changes() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "post", "TRACE", "CONNECT", "FOO"] {
            attempt(method, change.path, &[], &change);
        }
        for target in spellings(change.path) {
            attempt("POST", &target, &[], &change);
            attempt("GET", &target, &[("X-HTTP-Method-Override", "POST")], &change);
        }
        for disguise in disguises() {
            let headers: Vec<(&str, &str)> = disguise.iter().map(|(name, value)| (*name, value.as_str())).collect();
            attempt("POST", change.path, &headers, &change);
        }
        assert_eq!(state(&daemon), before, "{} was changed by a stranger", change.path);
    }
    assert!(tried > 600, "{tried}");
    // The same requests do change something for somebody who says who he is.
    let credentials = basic(&format!("root:{PASSWORD}"));
    for change in changes().iter().take(3) {
        let headers = [("Content-Type", change.media_type), ("Authorization", credentials.as_str())];
        let (status, answer) = raw(&daemon, "POST", change.path, &headers, &change.body);
        let said = answer.contains("\"OK\"") || answer.contains("\"1\":{\"i32\":1}");
        assert!(status == 200 && said, "{}: {status} {answer}", change.path);
    }
    let after = state(&daemon);
    assert!(after.1 != before.1 && after.2 != before.2, "{after:?}");
}

#[test]
fn nothing_that_everybody_may_read_holds_a_secret_of_the_configuration() {
    let daemon = guarded();
    let credentials = basic(&format!("root:{PASSWORD}"));
    let job = job().to_string();
    let headers = [("Content-Type", "application/json"), ("Authorization", credentials.as_str())];
    assert!(raw(&daemon, "POST", "/apibeta/createJob", &headers, &job).1.contains("\"OK\""));
    let task = daemon.get("/state").1;
    let users = daemon.state.parent().unwrap().join("users.ini").display().to_string();
    let mut targets: Vec<String> = [
        "/",
        "/scheduler",
        "/agents",
        "/updates",
        "/pending",
        "/cron-jobs",
        "/vars",
        "/vars.json",
        "/metrics",
        "/health",
        "/version",
        "/offers",
        "/offers?format=html",
        "/pendingtasks",
        "/quotas",
        "/maintenance",
        "/cron",
        "/tiers",
        "/state",
        "/structdump",
        "/logconfig",
        "/apihelp/index.html",
        "/leaderhealth",
        "/utilization",
        "/threads",
        "/contention",
        "/graphdata",
        "/configz",
        "/flags",
        "/state.json",
        "/files",
        "/.git/config",
        "/users.ini",
        "/server-status",
        "/metrics/",
        "/debug",
        "/env",
    ]
    .map(str::to_owned)
    .into();
    // Out of the folders of assets and sandboxes, to the file itself.
    for folder in ["/assets", "/files", "/files/x/p/0", "/scheduler/a/b/c/0", "/structdump/task"] {
        for up in ["..", "%2e%2e", "..%2f..", "....//", "..\\..", "%252e%252e", ".%00."] {
            targets.push(format!("{folder}/{}{users}", format!("{up}/").repeat(8)));
            targets.push(format!("{folder}/{}", users.replace('/', "%2f")));
        }
    }
    for target in &targets {
        let (status, answer) = raw(&daemon, "GET", target, &[], "");
        assert!(!(500..600).contains(&status), "{target}: {answer}");
        for secret in [PASSWORD, HEADER, HASH, credentials.trim_start_matches("Basic ")] {
            assert!(!answer.contains(secret), "{target} holds a secret");
        }
    }
    let log = daemon.log();
    for secret in [PASSWORD, HEADER, HASH] {
        assert!(!log.contains(secret) && !task.contains(secret), "the log holds a secret");
    }
    // What a refusal says does not repeat what was said.
    let (status, answer) =
        raw(&daemon, "POST", "/logconfig", &[("Authorization", &basic("root:a-guess-8d1"))], "level=debug");
    assert!(status == 401 && !answer.contains("a-guess-8d1") && !daemon.log().contains("a-guess-8d1"), "{answer}");
}
