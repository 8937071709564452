//! Running a command line in a container, as a shell on the machine would be: output, exit code, signals (spec executor 1.7, 3.2).

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkpoint::layout::{PROFILE, RunDirectory};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::api::{Docker, Failure, escaped};
use super::{Command, SANDBOX_INSIDE, container_name, stream};
use crate::http::Closer;
use crate::system::signals::{self, SignalSource};
use crate::system::{procfs, wait};

/// How long output that was written before a command's end may take to arrive.
const REST: Duration = Duration::from_millis(500);
/// How long the daemon may take to know the exit code after the output has ended.
const CODE_LIMIT: Duration = Duration::from_secs(30);
/// How long the daemon may take to hear that memory was the reason of an end by SIGKILL, seconds.
const OUT_OF_MEMORY_SECS: i64 = 1;
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the command; its exit code becomes this process'.
pub(super) fn exec(command: &Command) -> Result<ExitCode, String> {
    let signals = SignalSource::open().map_err(|error| error.to_string())?;
    let docker = Docker::new(&command.docker_host)?;
    let container = container_name(&command.task_id);
    let user = user_of(&docker, &container)?;
    let mut environment = vec![format!("HOME={SANDBOX_INSIDE}"), format!("LOGNAME={user}"), format!("USER={user}")];
    if command.has_profile {
        environment.push(format!("BASH_ENV={SANDBOX_INSIDE}/{PROFILE}"));
    }
    let body = json!({
        "AttachStdout": true,
        "AttachStderr": true,
        "Cmd": ["/bin/bash", "-c", command.line],
        "Env": environment,
        "WorkingDir": SANDBOX_INSIDE,
    });
    let made = docker.call("POST", &format!("/containers/{container}/exec"), Some(&body))?;
    let id = made["Id"].as_str().ok_or("Docker: it names no id of what was started")?.to_owned();
    let watched = Arc::new(Watched::new(&docker, &container, format!("/exec/{id}/json")));
    let watcher = Arc::clone(&watched);
    std::thread::spawn(move || watcher.watch(&signals));
    let start = format!("/exec/{id}/start");
    let begin = json!({ "Detach": false, "Tty": false });
    let passed = docker.read_closable(
        ("POST", &start, Some(&begin)),
        |closer| watched.set_closer(closer),
        |output| {
            watched.started.store(true, Ordering::Release);
            stream::pass_on(output, &mut io::stdout(), &mut io::stderr())
        },
    );
    if let Err(Failure::NotFound(text) | Failure::Refused(text)) = passed {
        return Err(format!("Docker: {text}"));
    }
    let code = exit_code(&docker, &watched.target)?;
    watched.kill_session();
    if code == 128 + i64::from(libc::SIGKILL) && was_out_of_memory(&docker, &container) {
        note_out_of_memory(&command.run_directory);
    }
    Ok(ended(code, watched.forwarded.load(Ordering::Relaxed)))
}

/// Leaves word for the supervisor.
pub(super) fn note_out_of_memory(run_directory: &str) {
    let path = RunDirectory::new(run_directory).root().join(checkpoint::layout::OUT_OF_MEMORY);
    if let Err(error) = std::fs::write(&path, "") {
        eprintln!("{}: {error}", path.display());
    }
}

/// Whether something in the container was killed for want of memory. The state tells it of a container's first process only; the daemon's
/// events tell it of all, a moment after the end.
pub(super) fn was_out_of_memory(docker: &Docker, container: &str) -> bool {
    let told = docker.call("GET", &format!("/containers/{container}/json"), None).unwrap_or_default();
    if told["State"]["OOMKilled"].as_bool().unwrap_or(false) {
        return true;
    }
    let filters = escaped(&json!({ "type": ["container"], "event": ["oom"], "container": [container] }).to_string());
    let until = crate::system::wall_ms() / 1000 + OUT_OF_MEMORY_SECS;
    let events = format!("/events?since=1&until={until}&filters={filters}");
    // One is enough; without any the answer is empty and ends at that time.
    docker
        .read("GET", &events, None, Some(Duration::from_secs(10)), |answer| answer.read(&mut [0; 1]))
        .is_ok_and(|count| count > 0)
}

/// How this process ends for a command that ended with `code`: a command that was ended by a signal which went through here ends it too.
pub(super) fn ended(code: i64, forwarded: bool) -> ExitCode {
    if forwarded && code == 128 + i64::from(libc::SIGTERM) {
        signals::end_by(libc::SIGTERM);
    }
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Name of the user that commands run as.
fn user_of(docker: &Docker, container: &str) -> Result<String, String> {
    let told = docker.call("GET", &format!("/containers/{container}/json"), None)?;
    if !told["State"]["Running"].as_bool().unwrap_or(false) {
        let memory = if told["State"]["OOMKilled"].as_bool().unwrap_or(false) { ", for want of memory" } else { "" };
        return Err(format!("the task's container does not run any more{memory}"));
    }
    let user = told["Config"]["User"].as_str().unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default();
    Ok(if user.is_empty() { "root".to_owned() } else { user.to_owned() })
}

fn exit_code(docker: &Docker, target: &str) -> Result<i64, String> {
    let deadline = Instant::now() + CODE_LIMIT;
    loop {
        let told = docker.call("GET", target, None)?;
        if !told["Running"].as_bool().unwrap_or(false)
            && let Some(code) = told["ExitCode"].as_i64()
        {
            return Ok(code);
        }
        if Instant::now() >= deadline {
            return Err("Docker: it does not tell the exit code".to_owned());
        }
        std::thread::sleep(PAUSE);
    }
}

/// The command as the watching thread sees it.
struct Watched {
    docker: Docker,
    container: String,
    target: String,
    closer: Mutex<Option<Closer>>,
    /// The command's pid on the machine and its pid namespace; that is `None` for one that this process has no power over.
    process: Mutex<Option<(i32, Option<PathBuf>)>>,
    started: AtomicBool,
    forwarded: AtomicBool,
}

impl Watched {
    fn new(docker: &Docker, container: &str, target: String) -> Self {
        Self {
            docker: docker.clone(),
            container: container.to_owned(),
            target,
            closer: Mutex::new(None),
            process: Mutex::new(None),
            started: AtomicBool::new(false),
            forwarded: AtomicBool::new(false),
        }
    }

    fn set_closer(&self, closer: Closer) {
        *self.closer.lock().unwrap_or_else(PoisonError::into_inner) = Some(closer);
    }

    /// Passes on SIGTERM, and ends the stream of a command that has ended.
    fn watch(&self, signals: &SignalSource) {
        let mut terminate = self.wait_for_begin(signals);
        // Its end is heard of without asking Docker again and again.
        let end = self
            .process()
            .and_then(|(pid, _)| Pid::from_raw(pid))
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        while let Some(end) = &end {
            if terminate && let Some((pid, namespace)) = self.process() {
                self.forwarded.store(true, Ordering::Relaxed);
                match namespace {
                    Some(_) => wait::signal(pid, libc::SIGTERM),
                    None => self.terminate_inside(pid),
                }
            }
            let mut polled = [PollFd::new(signals, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
            let _ = poll(&mut polled, None);
            if !polled[1].revents().is_empty() {
                break;
            }
            terminate = signals.drain();
        }
        // What is still on its way has a moment; something that was left may hold the output open for ever.
        std::thread::sleep(REST);
        if let Some(closer) = &*self.closer.lock().unwrap_or_else(PoisonError::into_inner) {
            closer.close();
        }
    }

    /// Waits until Docker tells of the command's process or its end; whether SIGTERM came meanwhile.
    fn wait_for_begin(&self, signals: &SignalSource) -> bool {
        let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut terminate = false;
        loop {
            let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&pause));
            terminate |= signals.drain();
            if self.started.load(Ordering::Acquire)
                && self.docker.call("GET", &self.target, None).is_ok_and(|told| self.learn(&told))
            {
                return terminate;
            }
        }
    }

    fn process(&self) -> Option<(i32, Option<PathBuf>)> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the command is known to have begun.
    fn learn(&self, told: &Value) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.is_none()
            && let Some(pid) = told["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)
        {
            *process = Some((pid, std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()));
        }
        process.is_some() || told["ExitCode"].is_i64()
    }

    /// SIGTERM by way of Docker, for who may use Docker but is not root. A container always has the shell that it waits with.
    fn terminate_inside(&self, pid: i32) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let Some(inner) = pid_inside(&status) else { return };
        let body = json!({ "User": "0", "Cmd": ["/bin/bash", "-c", format!("kill -TERM {inner}")] });
        let made = self.docker.call("POST", &format!("/containers/{}/exec", self.container), Some(&body));
        let started = made.and_then(|made| {
            let start = format!("/exec/{}/start", made["Id"].as_str().unwrap_or_default());
            self.docker.call("POST", &start, Some(&json!({ "Detach": true, "Tty": false })))
        });
        if let Err(error) = started {
            eprintln!("{error}");
        }
    }

    /// Kills what the command has left in its session, as on the machine (spec executor 1.4).
    fn kill_session(&self) {
        let Some((leader, Some(namespace))) = self.process() else { return };
        for (pid, stat) in &procfs::all() {
            let is_left = stat.session == leader
                && std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|other| other == namespace);
            if is_left {
                wait::signal(*pid, libc::SIGKILL);
            }
        }
    }
}

/// The innermost number of a process, from the text of `/proc/<pid>/status`.
fn pid_inside(status: &str) -> Option<i32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_another_number_inside() {
        assert_eq!(pid_inside("Name:\tbash\nNSpid:\t4711\t17\nTgid:\t4711\n"), Some(17));
        assert_eq!(pid_inside("Name:\tbash\n"), None);
    }
}
