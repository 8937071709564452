//! Everything a command needs from outside itself: schedulers, job files, time, the browser, the user's name. A trait, so that tests
//! give a command a world of their own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clusters::Cluster;
use crate::evaluation::{EvaluatedFile, Evaluation, EvaluationRequest};
use crate::hooks::HookRunner;
use crate::http::HttpTransport;
use crate::leader::Announced;
use crate::scheduler::Transport;

/// What lies outside a command.
pub trait World {
    /// A way to call the scheduler of a cluster; does not connect yet.
    fn connect(&self, cluster: &Cluster) -> Box<dyn Transport>;
    /// Base address of the leading scheduler that is announced there; an error is a sentence for the user.
    fn locate(&self, announced: &Announced) -> Result<String, String>;
    /// Evaluates a job file; an error is the text for the user.
    fn evaluate_file(&self, request: &EvaluationRequest) -> Result<Box<dyn EvaluatedFile>, String>;
    /// Evaluates a job file for one question.
    fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, String> {
        self.evaluate_file(request)?.load(request)
    }
    /// Starts the hooks of the job that the request wants; `job` is that job under the wire's names. An error is the text for the user.
    fn start_hooks(
        &self,
        request: &EvaluationRequest,
        job: &serde_json::Value,
        verbose: bool,
    ) -> Result<Box<dyn HookRunner>, String>;
    /// Waits.
    fn pause(&self, duration: Duration);
    /// Time since the command started, never going back.
    fn elapsed(&self) -> Duration;
    /// Time since the epoch, in ms.
    fn wall_clock_ms(&self) -> i64;
    /// Runs a program with arguments and waits for its end; an error is a sentence for the user.
    fn run_program(&self, program: &Path, arguments: &[&str]) -> Result<(), String>;
    /// Runs a program with this process's streams and waits for its end; `started` hears its pid. The exit code comes back, as a shell
    /// has it; an error is a sentence for the user.
    fn attend(
        &self,
        program: &str,
        arguments: &[String],
        started: &mut dyn FnMut(u32) -> Result<(), String>,
    ) -> Result<i32, String>;
    /// Runs commands without input, so many at a time. Each line of their output, errors among it, is handed over with the number of the
    /// command. The exit codes come back in the commands' order.
    fn run_all(&self, commands: &[Vec<String>], at_once: usize, line: &mut dyn FnMut(usize, &str)) -> Vec<i32>;
    /// Opens a page in the user's browser; false when there is none.
    fn open_browser(&self, url: &str) -> bool;
    /// A fresh random UUID.
    fn fresh_uuid(&self) -> String;
    /// How the user can call this program again: its full path.
    fn program(&self) -> String;
}

/// The real one.
pub struct RealWorld {
    started: Instant,
}

impl RealWorld {
    /// A world whose clock starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for RealWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl World for RealWorld {
    fn connect(&self, cluster: &Cluster) -> Box<dyn Transport> {
        let transport = HttpTransport::trusting(&cluster.url, cluster.ca_file.as_deref());
        Box::new(transport.bypassing_leader_redirect(cluster.bypass_leader_redirect))
    }

    fn locate(&self, announced: &Announced) -> Result<String, String> {
        crate::leader::find(announced)
    }

    fn evaluate_file(&self, request: &EvaluationRequest) -> Result<Box<dyn EvaluatedFile>, String> {
        crate::evaluation::evaluate_file(request)
    }

    fn start_hooks(
        &self,
        request: &EvaluationRequest,
        job: &serde_json::Value,
        verbose: bool,
    ) -> Result<Box<dyn HookRunner>, String> {
        crate::hooks::start(request, job, verbose)
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall_clock_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
    }

    fn run_program(&self, program: &Path, arguments: &[&str]) -> Result<(), String> {
        let shown = program.display();
        match Command::new(program).args(arguments).stdin(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{shown} {}: {status}", arguments.join(" "))),
            Err(error) => Err(format!("{shown} cannot be run: {error}")),
        }
    }

    fn attend(
        &self,
        program: &str,
        arguments: &[String],
        started: &mut dyn FnMut(u32) -> Result<(), String>,
    ) -> Result<i32, String> {
        crate::programs::attend(program, arguments, started)
    }

    fn run_all(&self, commands: &[Vec<String>], at_once: usize, line: &mut dyn FnMut(usize, &str)) -> Vec<i32> {
        crate::programs::run_all(commands, at_once, line)
    }

    fn open_browser(&self, url: &str) -> bool {
        let chosen = std::env::var("BROWSER").ok().filter(|browser| !browser.is_empty());
        let candidates = chosen.iter().map(String::as_str).chain(["xdg-open", "x-www-browser", "open"]);
        for browser in candidates {
            let started =
                Command::new(browser).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            if started.is_ok() {
                return true;
            }
        }
        false
    }

    fn fresh_uuid(&self) -> String {
        model::key::format_uuid(random_u128())
    }

    fn program(&self) -> String {
        program_path().display().to_string()
    }
}

/// The executable of this process.
pub fn program_path() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("daybreak"));
    // After a rebuild the kernel marks the old file; the new one under the same name is the one to call.
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => PathBuf::from(text),
        None => path,
    }
}

/// 128 random bits from the kernel; where its device cannot be read, time and pid still make a name nobody else has.
pub fn random_u128() -> u128 {
    let mut bytes = [0_u8; 16];
    match File::open("/dev/urandom").and_then(|mut device| device.read_exact(&mut bytes)) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() ^ (u128::from(std::process::id()) << 96)
        }
    }
}

/// Login name of the user, or the number when the account has no name.
pub fn login() -> String {
    let uid = nix::unistd::Uid::effective();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
