//! The process that runs a task, or completes what a dead one has left: started from this program's own file, and spoken to through a
//! socket that is its standard input. What it does is the executor's.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use checkpoint::channel::Channel;
use checkpoint::layout::{RUNNER_ARGUMENT, RunDirectory, below_thermos_root};
use checkpoint::protocol::{
    CompleteTask, FromSlot, FromSlotBody, Kill, Launch, LaunchRefused, RunTask, ToRunner, ToRunnerBody,
};
use checkpoint::record::Header;
use checkpoint::replay::RunState;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A runner that was started.
pub struct Runner {
    process: Child,
    control: Channel,
    checkpoint: PathBuf,
}

impl Runner {
    /// Starts one that runs a task below `root`, which must be absolute.
    pub fn start(root: &Path, launch: Launch, is_detached: bool) -> io::Result<Self> {
        let checkpoint = RunDirectory::new(below_thermos_root(root, &launch.task_id)).checkpoint();
        let run = RunTask { root: root.to_string_lossy().into_owned(), is_detached, launch: Some(launch) };
        let (process, control) = start(ToRunnerBody::Run(run), is_detached)?;
        Ok(Self { process, control, checkpoint })
    }

    /// The record of the task; it appears when the task is started.
    pub fn checkpoint(&self) -> &Path {
        &self.checkpoint
    }

    /// Waits for something to happen, but not longer than this; why the task is not run, if that is so.
    pub fn wait(&mut self, patience: Duration) -> Option<LaunchRefused> {
        if !self.control.is_ended() {
            let timeout = Timespec::try_from(patience).ok();
            let flags = if self.control.wants_to_send() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let _ = poll(&mut [PollFd::from_borrowed_fd(self.control.as_fd(), flags)], timeout.as_ref());
        } else {
            std::thread::sleep(patience);
        }
        self.control.flush();
        self.control.receive();
        match self.control.next_message::<FromSlot>() {
            Ok(Some(FromSlot { body: Some(FromSlotBody::LaunchRefused(refused)) })) => Some(refused),
            _ => None,
        }
    }

    /// Wants the task killed; its processes have this long to end.
    pub fn kill(&mut self, grace_ms: u64) {
        let kill = Kill { grace_ms, ..Kill::default() };
        self.control.send(&ToRunner { body: Some(ToRunnerBody::Kill(kill)) }, None);
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }
}

fn start(message: ToRunnerBody, is_detached: bool) -> io::Result<(Child, Channel)> {
    let (mut control, far) = Channel::pair()?;
    let mut command = Command::new("/proc/self/exe");
    // Whoever looks for runners looks for this name.
    command.arg0("thermos").arg(RUNNER_ARGUMENT).stdin(far);
    if is_detached {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let process = command.spawn()?;
    control.send(&ToRunner { body: Some(message) }, None);
    while control.wants_to_send() && !control.is_ended() {
        let _ = poll(&mut [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::OUT)], None);
        control.flush();
    }
    Ok((process, control))
}

/// The header of a task of this root that one of our runners runs, or ran.
pub fn own_header(root: &Path, task_id: &str) -> Option<Header> {
    RunState::load(&RunDirectory::new(below_thermos_root(root, task_id)).checkpoint()).ok()?.header
}

/// Completes what a dead runner of ours has left of a task: its processes are killed and its end is recorded. Whether that was done.
pub fn complete(root: &Path, task_id: &str) -> io::Result<bool> {
    let left = CompleteTask { root: root.to_string_lossy().into_owned(), task_id: task_id.to_owned() };
    let (mut process, _control) = start(ToRunnerBody::Complete(left), false)?;
    Ok(process.wait()?.success())
}
