//! A probe by a command line: a child in the task's control group, as the task's user, with a bounded time (spec executor 2.6).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use checkpoint::protocol::ImageRoot;
use model::process::health::ProbeResult;

use super::Tools;
use crate::supervisor::image;
use crate::system::spawn::{Spawn, spawn};
use crate::system::user;
use crate::system::wait::{self, Exit};

/// Most bytes of the command's output that are kept for the message.
const OUTPUT_BYTES_MAX: usize = 4 << 10;
const SHELL: &CStr = c"/bin/bash";

/// The command and where it runs.
#[derive(Debug)]
pub(super) struct ShellCommand {
    pub(super) text: String,
    pub(super) environment: Vec<CString>,
    pub(super) directory: CString,
    /// Whether it runs as the user of the task.
    pub(super) as_owner: bool,
    /// The image that it runs in.
    pub(super) image: Option<ImageRoot>,
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct ShellProbe {
    pid: i32,
    output: OwnedFd,
    kept: Vec<u8>,
    drained: bool,
}

impl ShellProbe {
    /// Starts the command.
    pub(super) fn start(command: &ShellCommand, tools: &Tools<'_>) -> Result<Self, String> {
        let text = CString::new(command.text.as_str()).map_err(|_| "Invalid commmand.".to_owned())?;
        let (output, child_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .and_then(|(near, far)| rustix::io::ioctl_fionbio(&near, true).map(|()| (near, far)))
            .map_err(|error| format!("OSError: {error}"))?;
        let surroundings = tools.surroundings;
        let entering = match &command.image {
            Some(image) => {
                let own = if command.as_owner { image.user.clone() } else { user::current().name };
                image::command(image, &own, &command.text).map_err(|_| "Invalid commmand.".to_owned())?
            }
            None => Vec::new(),
        };
        let entering: Vec<&CStr> = entering.iter().map(CString::as_c_str).collect();
        let plain = [SHELL, c"-c", text.as_c_str()];
        let arguments = if entering.is_empty() { &plain[..] } else { &entering[..] };
        let request = Spawn {
            program: arguments[0],
            arguments,
            environment: &command.environment,
            root: None,
            directory: &command.directory,
            stdin: surroundings.null.as_fd(),
            stdout: child_end.as_fd(),
            stderr: child_end.as_fd(),
            identity: tools.owner.filter(|_| command.as_owner && entering.is_empty()),
            cgroup: surroundings.task_group.as_ref().map(AsFd::as_fd),
            oom_score: b"0",
            open_files_soft: surroundings.open_files_soft,
        };
        let pid = spawn(&request).map_err(|error| format!("OSError: {error}"))?;
        Ok(Self { pid, output, kept: Vec::new(), drained: false })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Whether nothing more will be written.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Takes what the command has written, so that it never waits for a reader.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0_u8; 4096];
        // A bounded number of rounds: a command that never stops writing must not keep the supervisor from its other work.
        for _ in 0..64 {
            match rustix::io::read(&self.output, &mut buffer) {
                Ok(0) => {
                    self.drained = true;
                    return;
                }
                Ok(count) => {
                    let room = OUTPUT_BYTES_MAX - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    self.drained = true;
                    return;
                }
            }
        }
    }

    /// The command has ended; what it left in its group goes too.
    pub(super) fn ended(mut self, exit: &Exit, text: &str) -> ProbeResult {
        self.drain();
        wait::signal_group(exit.pid, libc::SIGKILL);
        wait::reap(exit.pid);
        if exit.return_code == 0 {
            return Ok(());
        }
        Err(format!(
            "Command '{text}' returned non-zero exit status {} with output '{}'",
            exit.return_code,
            String::from_utf8_lossy(&self.kept)
        ))
    }

    /// Kills the command and its group. Its end is heard of like that of any child.
    pub(super) fn kill(self) {
        wait::signal_group(self.pid, libc::SIGKILL);
    }
}
