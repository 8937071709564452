//! Finding or starting the launcher, and the connection to it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use checkpoint::channel::Channel;
use checkpoint::layout::EngineDirectory;
use checkpoint::protocol::{Hello, ToLauncher, ToLauncherBody};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// First argument with which a program is told to be a launcher; the engine directory follows. The executor knows it by the same name.
const LAUNCHER_ARGUMENT: &str = "__launcher";
/// Variable that tells the launcher the limit of open files that tasks should have; this process has raised its own.
const OPEN_FILES_VARIABLE: &str = "DAYBREAK_OPEN_FILES";
/// Pauses between attempts to connect, milliseconds; the last one stays.
const PAUSES_MS: [u64; 8] = [2, 2, 4, 8, 15, 30, 60, 100];
/// Pause after the program could not be started, milliseconds.
const START_PAUSE_MS: u64 = 1000;

/// The way to the launcher.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) channel: Option<Channel>,
    /// A launcher that this process started: a child, to be waited for once it ends.
    started: Option<Child>,
    open_files_soft: Option<u64>,
    attempts: usize,
    pub(crate) next_attempt_ms: u64,
    /// Since when there is none, monotonic milliseconds.
    pub(crate) down_since_ms: u64,
    pub(crate) last_error: String,
    /// A launcher of another program was ended.
    ended_other: bool,
}

impl Connection {
    pub(crate) fn new(open_files_soft: Option<u64>, now_ms: u64) -> Self {
        Self {
            channel: None,
            started: None,
            open_files_soft,
            attempts: 0,
            next_attempt_ms: now_ms,
            down_since_ms: now_ms,
            last_error: String::new(),
            ended_other: false,
        }
    }

    /// Sends a message; without a connection it is lost, and what it was about is asked again with the next one.
    pub(crate) fn send(&mut self, body: ToLauncherBody) {
        if let Some(channel) = &mut self.channel {
            channel.send(&ToLauncher { body: Some(body) }, None);
        }
    }

    /// The connection has ended.
    pub(crate) fn lost(&mut self, now_ms: u64) {
        self.channel = None;
        self.attempts = 0;
        self.next_attempt_ms = now_ms;
        self.down_since_ms = now_ms;
    }

    /// One attempt to connect, starting a launcher where none answers. True once there is a connection.
    pub(crate) fn attempt(&mut self, executable: &Path, directory: &EngineDirectory, epoch: u64, now_ms: u64) -> bool {
        match UnixStream::connect(directory.launcher_socket()).and_then(|stream| Channel::new(stream.into())) {
            Ok(channel) => {
                self.channel = Some(channel);
                self.send(ToLauncherBody::Hello(Hello { epoch, pid: std::process::id() as i32 }));
                return true;
            }
            Err(error) => self.last_error = format!("the launcher does not answer: {error}"),
        }
        let running = self.started.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        let mut pause_ms = PAUSES_MS[self.attempts.min(PAUSES_MS.len() - 1)];
        if !running {
            match start(executable, directory, self.open_files_soft) {
                Ok(child) => self.started = Some(child),
                Err(error) => {
                    self.last_error = format!("cannot start {}: {error}", executable.display());
                    tracing::warn!("the launcher of tasks: {}", self.last_error);
                    pause_ms = START_PAUSE_MS;
                }
            }
            if self.attempts > PAUSES_MS.len() {
                // It ends as soon as it begins; its log says why.
                pause_ms = START_PAUSE_MS;
            }
        }
        self.attempts += 1;
        self.next_attempt_ms = now_ms + pause_ms;
        false
    }

    /// Supervisors are made by the launcher out of itself, so one of another program would start new tasks in the way of that program.
    /// It is ended, once: supervisors that run a task present themselves to the launcher after it. True when that was done.
    pub(crate) fn end_launcher_of_other_program(&mut self, executable: &Path, pid: i32) -> bool {
        if self.ended_other || self.started.as_ref().is_some_and(|child| i64::from(child.id()) == i64::from(pid)) {
            return false;
        }
        let Some(process) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return false;
        };
        // Of the very process that is held: a number may be used again.
        let [Ok(ours), Ok(other)] = [fs::metadata(executable), fs::metadata(format!("/proc/{pid}/exe"))] else {
            return false;
        };
        if (ours.dev(), ours.ino()) == (other.dev(), other.ino()) {
            return false;
        }
        self.ended_other = true;
        pidfd_send_signal(&process, Signal::KILL).is_ok()
    }

    /// Lets go of a launcher that this process started and that has ended.
    pub(crate) fn reap(&mut self) {
        if self.started.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
            self.started = None;
        }
    }
}

fn start(executable: &Path, directory: &EngineDirectory, open_files_soft: Option<u64>) -> io::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(directory.launcher_log())?;
    let mut command = Command::new(executable);
    if let Some(limit) = open_files_soft {
        command.env(OPEN_FILES_VARIABLE, limit.to_string());
    }
    command
        .arg0("daybreak-launcher")
        .arg(LAUNCHER_ARGUMENT)
        .arg(directory.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
