//! Starting a daemon by executing this program with `up`, and learning where it listens. The daemon's own code is elsewhere.
//!
//! Agreed with the daemon: once it serves, it writes `<state dir>/endpoint.json` atomically; see [`Endpoint`].

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::exit::{Exit, Failure, Outcome};
use crate::files::last_lines;

/// File in the state directory that says where the daemon listens.
pub const ENDPOINT_FILE: &str = "endpoint.json";
/// Marks every process of a private cluster; its value is the cluster's directory.
pub const RUN_DIRECTORY_VARIABLE: &str = "DAYBREAK_RUN_DIRECTORY";
/// How long a daemon may take until it serves; a journal with a million tasks takes seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How much of the log is shown when it does not.
const LOG_LINES: usize = 10;

/// What a serving daemon says about itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Endpoint {
    /// Base address, e.g. `http://127.0.0.1:43121`.
    pub url: String,
    /// The daemon's process.
    pub pid: u32,
    /// What a user should know about this machine, in sentences, e.g. that limits are not enforced.
    #[serde(default)]
    pub notice: Option<String>,
}

impl Endpoint {
    /// Reads the file of a state directory; none if no daemon ever served there.
    pub fn read(state_directory: &Path) -> Option<Self> {
        let text = std::fs::read(state_directory.join(ENDPOINT_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// How a daemon is started.
pub struct DaemonOptions<'a> {
    /// This program.
    pub program: &'a Path,
    /// Its state directory.
    pub state_directory: &'a Path,
    /// Where its log goes.
    pub log: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Whether the role root is allowed.
    pub allow_root_role: bool,
    /// It ends with us and leaves nothing behind; the value marks its processes. Otherwise it stays.
    pub ephemeral: Option<&'a Path>,
}

/// A daemon that serves.
pub struct Daemon {
    /// Its process; its standard input stays open as long as this lives.
    pub child: Child,
    /// What it said about itself.
    pub endpoint: Endpoint,
}

/// Starts a daemon and waits until it serves.
pub fn start(options: &DaemonOptions<'_>) -> Outcome<Daemon> {
    let mut child = spawn(options)?;
    let started = Instant::now();
    loop {
        // A file of an earlier daemon names another process.
        if let Some(endpoint) = Endpoint::read(options.state_directory).filter(|found| found.pid == child.id()) {
            return Ok(Daemon { child, endpoint });
        }
        match child.try_wait() {
            Ok(None) if started.elapsed() < START_LIMIT => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(not_started("it did not serve within a minute", &options.log));
            }
            Ok(Some(status)) => return Err(not_started(&format!("it ended with {status}"), &options.log)),
            Err(error) => return Err(not_started(&error.to_string(), &options.log)),
        }
    }
}

fn spawn(options: &DaemonOptions<'_>) -> Outcome<Child> {
    let cannot = |what: String| Failure::new(Exit::CommandFailure, format!("Cannot start a daemon: {what}"));
    let log = open_log(&options.log).map_err(|error| cannot(format!("{}: {error}", options.log.display())))?;
    let errors = log.try_clone().map_err(|error| cannot(error.to_string()))?;
    let mut command = Command::new(options.program);
    command
        .arg("up")
        .arg("--state-dir")
        .arg(options.state_directory)
        .args(["--listen", &options.listen.to_string(), "--cluster", options.cluster, "--detached"])
        // The log is a file; where its lines are shown, they are plain.
        .env("NO_COLOR", "1")
        .stdout(log)
        .stderr(errors);
    if options.allow_root_role {
        command.arg("--allow-root-role");
    }
    match options.ephemeral {
        Some(directory) => {
            command.arg("--ephemeral").env(RUN_DIRECTORY_VARIABLE, directory).stdin(Stdio::piped());
        }
        None => {
            command.stdin(Stdio::null());
        }
    }
    command.spawn().map_err(|error| cannot(format!("{}: {error}", options.program.display())))
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn not_started(why: &str, log: &Path) -> Failure {
    let lines = log_tail(log);
    let lines = if lines.is_empty() { "  (its log is empty)".to_owned() } else { lines };
    Failure::new(
        Exit::CommandFailure,
        format!("The daemon did not start: {why}. Last lines of {}:\n{lines}", log.display()),
    )
}

/// The last lines of a log, indented.
pub fn log_tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let lines: Vec<String> = last_lines(&bytes, LOG_LINES).into_iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that behaves as the script says; `$STATE` is the state directory.
    fn program(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("program");
        let text = format!("#!/bin/sh\nSTATE={}\n{script}\n", directory.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn start_in(directory: &Path, script: &str) -> Outcome<Daemon> {
        start(&DaemonOptions {
            program: &program(directory, script),
            state_directory: directory,
            log: directory.join("log"),
            listen: "127.0.0.1:0".parse().unwrap(),
            cluster: "devcluster",
            allow_root_role: false,
            ephemeral: None,
        })
    }

    #[test]
    fn the_endpoint_of_this_very_process_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(ENDPOINT_FILE), r#"{"url": "http://old", "pid": 1, "version": "0"}"#)
            .unwrap();
        let script = r#"echo "$@" > $STATE/arguments
            sleep 0.05; echo "{\"url\": \"http://new\", \"pid\": $$, \"version\": \"1\"}" > $STATE/t; mv $STATE/t $STATE/endpoint.json
            exec sleep 60"#;
        let mut daemon = start_in(directory.path(), script).unwrap();
        assert_eq!((daemon.endpoint.url.as_str(), daemon.endpoint.pid), ("http://new", daemon.child.id()));
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        let arguments = std::fs::read_to_string(directory.path().join("arguments")).unwrap();
        let state = directory.path().display();
        let expected = format!("up --state-dir {state} --listen 127.0.0.1:0 --cluster devcluster --detached\n");
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_daemon_that_ends_shows_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let failure = start_in(directory.path(), "echo 'port 8081 is in use' >&2; exit 3").err().unwrap();
        assert!(failure.text.contains("exit status: 3"), "{}", failure.text);
        assert!(failure.text.ends_with("\n  port 8081 is in use"), "{}", failure.text);
    }
}
