//! What the daemon calls over HTTPS, with the real binary: the webhook and the coordinator of a drain are called where an authority that
//! `--https-ca-file` names vouches for them; without it neither hears a word, and the log says what to do.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use support::{Daemon, daybreak, http, login, open_directory, wait_for, wire};

const SOON: Duration = Duration::from_secs(30);

/// A program of the operator behind https, and what it was told: path and body of each request.
struct Program {
    port: u16,
    heard: Mutex<Receiver<(String, Value)>>,
}

impl Program {
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The first request whose path begins so and whose body is as wanted.
    fn wait_for(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let heard = self.heard.lock().unwrap();
        wait_for(path, SOON, || heard.try_iter().find(|(at, body)| at.starts_with(path) && wanted(body))).1
    }

    fn has_heard_nothing(&self) -> bool {
        self.heard.lock().unwrap().try_recv().is_err()
    }
}

/// One that says yes to everything. The certificate of its authority is left in the file.
fn program(authority: &Path) -> Program {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority of this test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(authority, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, sender) = (Arc::clone(&config), sender.clone());
            std::thread::spawn(move || {
                let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let mut reader = BufReader::new(stream);
                while let Some(request) = read(&mut reader) {
                    let answer = r#"{"drain": true}"#;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                    if sender.send(request).is_err() || write!(reader.get_mut(), "{head}{answer}").is_err() {
                        return;
                    }
                }
            });
        }
    });
    Program { port, heard: Mutex::new(heard) }
}

/// One request; nothing where the other side has gone, or does not believe the certificate.
fn read(from: &mut impl BufRead) -> Option<(String, Value)> {
    let mut first = String::new();
    from.read_line(&mut first).ok().filter(|length| *length > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}

/// A daemon with one agent that tells the program of every change, and one running task; its key.
fn daemon(directory: &Path, program: &Program, more: &[&str]) -> (Daemon, String) {
    let webhook = directory.join("webhook.json");
    std::fs::write(&webhook, json!({"targetURL": program.url("/told"), "timeoutMsec": 10_000}).to_string()).unwrap();
    let mut words = vec!["--allow-root-role", "--agent", "hostname=m1", "--host-maintenance-polling-interval=1secs"];
    words.extend(["--webhook-config", webhook.to_str().unwrap()]);
    words.extend(more);
    let daemon = Daemon::start(&words);
    let role = login();
    let created = wire::create(&daemon.url, wire::job(&role, "told", 1, true, "sleep 1000")).unwrap();
    assert_eq!(created.0, wire::OK, "{created:?}");
    let key = format!("devcluster/{role}/devel/told");
    wait_for("a running task", SOON, || is_running(&daemon, &key).then_some(()));
    (daemon, key)
}

fn is_running(daemon: &Daemon, key: &str) -> bool {
    daemon.tasks(key).0.iter().any(|task| task["status"] == "RUNNING")
}

/// Drains the one host; whether its tasks may go is for the program to say.
fn drain(daemon: &Daemon, program: &Program) {
    let policy = json!({"coordinatorSlaPolicy": {"coordinatorUrl": program.url("/may-i"), "statusKey": "drain"}});
    let arguments = json!({"hosts": {"hostNames": ["m1"]}, "defaultSlaPolicy": policy, "timeoutSecs": 100_000});
    let url = format!("{}/apibeta/slaDrainHosts", daemon.url);
    let headers = [("Content-Type", "application/json")];
    let (status, body) = http("POST", &url, &headers, arguments.to_string().as_bytes());
    assert!(status == 200 && body.contains("OK"), "{status} {body}");
}

#[test]
fn programs_of_an_authority_that_is_named_are_called_over_https() {
    let directory = open_directory();
    let authority = directory.path().join("ca.pem");
    let program = program(&authority);
    let (daemon, key) = daemon(directory.path(), &program, &["--https-ca-file", authority.to_str().unwrap()]);
    let told = program.wait_for("/told", |body| body["task"]["status"] == "RUNNING");
    assert_eq!(told["task"]["assignedTask"]["task"]["job"]["name"], "told");
    drain(&daemon, &program);
    let asked = program.wait_for("/may-i?task=devcluster%2F", |_| true);
    assert_eq!(asked["task"], format!("{key}/0"));
    // The yes was heard: the task goes, and has nowhere to go to.
    program.wait_for("/told", |body| body["oldState"]["value"] == "DRAINING");
    wait_for("the host to be drained", SOON, || (!is_running(&daemon, &key)).then_some(()));
}

#[test]
fn without_the_file_neither_is_told_anything_and_the_log_says_what_to_do() {
    let directory = open_directory();
    let program = program(&directory.path().join("ca.pem"));
    let (daemon, key) = daemon(directory.path(), &program, &[]);
    let said = |what: &str| {
        wait_for(what, SOON, || {
            let log = daemon.log();
            log.lines().find(|line| line.contains(what)).map(str::to_owned)
        })
    };
    let advice = "name the authority's own certificate with --https-ca-file";
    let webhook = said("the webhook's program cannot be told");
    assert!(webhook.contains(advice), "{webhook}");
    drain(&daemon, &program);
    let coordinator = said("did not say whether");
    assert!(coordinator.contains(advice) && coordinator.contains("It is asked again later."), "{coordinator}");
    assert!(is_running(&daemon, &key), "nobody allowed its end");
    assert!(program.has_heard_nothing());
}

#[test]
fn a_file_that_is_missing_or_holds_no_certificate_is_told_at_the_start() {
    let directory = open_directory();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("empty.pem"), "").unwrap();
    for (name, why) in [("missing.pem", "No such file"), ("empty.pem", "there is no certificate in it")] {
        let file = path(name);
        let words = ["up", "--listen", "127.0.0.1:0", "--state-dir", &path("state"), "--https-ca-file", &file];
        let done = daybreak(&words);
        assert_ne!(done.code, 0, "{}", done.stdout);
        let told = format!("{}{}", done.stdout, done.stderr);
        assert!(told.contains(&format!("--https-ca-file {file}: ")) && told.contains(why), "{told}");
        assert!(!Path::new(&path("state")).join("endpoint.json").exists());
    }
}
