//! One task without any engine, as the command line runs it (spec executor 1.12, 4.6): a process that has a supervisor run the task below
//! a checkpoint root of Thermos and keeps the checkpoint there in a form that everybody can read. Whoever wants that is at the other end
//! of its standard input, a socket; unless the task is detached from them, it is killed when they are gone.
//!
//! Not here: what a task is and what is shown of it; that is the command line's.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checkpoint::channel::Channel;
use checkpoint::layout::{RunDirectory, below_thermos_root};
use checkpoint::protocol::{
    CompleteTask, FromSlot, FromSlotBody, Kill, Launch, LaunchRefused, RunTask, ToRunner, ToRunnerBody,
};
use checkpoint::record::TaskState;
use checkpoint::replay::RunState;
use model::process::{Late, Payload};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;

use crate::child::Child;
use crate::launcher::log;
use crate::mirror::Mirror;
use crate::system::signals::{SignalSource, restore_default_effects};
use crate::system::{fork, is_root, procfs, wait};
use crate::{aftermath, log as log_file};

/// Time for processes to end after the signal that kills the task, milliseconds (spec executor 1.11).
const GRACE_MS: u64 = 60_000;
/// Pause between looks for a checkpoint that can be followed.
const MIRROR_PAUSE: Duration = Duration::from_millis(200);
/// Where the socket is put, out of the way of the standard descriptors.
const CONTROL: i32 = 3;
/// What the runner and the supervisor of a task did, in words; in the folder of the task below the root.
const LOG: &str = "runner.log";

/// Runs a task, or completes what is left of one, as the other end of standard input says. The caller has no other thread yet.
pub fn main() -> ExitCode {
    match serve() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("runner: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<ExitCode> {
    restore_default_effects();
    let _ = rustix::process::setsid();
    fork::duplicate_to(io::stdin().as_fd(), CONTROL)?;
    let null = rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    fork::duplicate_to(null.as_fd(), 0)?;
    rustix::io::fcntl_setfd(io::stdin().as_fd(), rustix::io::FdFlags::empty())?;
    drop(null);
    let mut control = Channel::new(fork::adopt(CONTROL))?;
    match first_message(&mut control)? {
        Some(ToRunnerBody::Run(run)) => {
            let is_detached = run.is_detached;
            if is_detached {
                // It is to keep no directory busy but its own.
                std::env::set_current_dir("/")?;
            }
            match begin(run) {
                Ok(mut runner) => {
                    runner.serve(control, is_detached)?;
                    Ok(ExitCode::SUCCESS)
                }
                Err(refused) => {
                    control.send(&FromSlot { body: Some(FromSlotBody::LaunchRefused(refused)) }, None);
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        Some(ToRunnerBody::Complete(left)) => Ok(if complete(&left) { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Some(ToRunnerBody::Kill(_)) | None => Ok(ExitCode::FAILURE),
    }
}

fn first_message(control: &mut Channel) -> io::Result<Option<ToRunnerBody>> {
    loop {
        if let Some(message) = control.next_message::<ToRunner>().map_err(io::Error::other)? {
            return Ok(message.body);
        }
        if control.is_ended() {
            return Ok(None);
        }
        match poll(&mut [PollFd::new(control, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => control.receive(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the root ready and starts the supervisor.
fn begin(run: RunTask) -> Result<Runner, LaunchRefused> {
    let mut launch = run.launch.unwrap_or_default();
    let task_id = launch.task_id.clone();
    let refused =
        |already_started: bool, reason: String| LaunchRefused { task_id: task_id.clone(), already_started, reason };
    let root = PathBuf::from(&run.root);
    let run_directory = below_thermos_root(&root, &launch.task_id);
    let lists = ["active", "finished"].map(|list| root.join("tasks").join(list));
    let parent = run_directory.parent().unwrap_or(&root).to_owned();
    for folder in lists.iter().chain([&parent]) {
        let cannot = |error| refused(false, format!("{} cannot be made: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    let [active, finished] = lists.map(|list| list.join(&launch.task_id).exists());
    if finished {
        return Err(refused(true, "it is over".to_owned()));
    }
    launch.run_directory = run_directory.to_string_lossy().into_owned();
    let mut lock = None;
    if active {
        lock = Some(take_over(&run_directory, &launch).map_err(|why| refused(true, why))?);
        (launch.resumes, launch.run_directory_exists) = (true, true);
    }
    log_file::to_file(run_directory.join(LOG), true);
    let started = wait::become_subreaper().and_then(|()| SignalSource::open()).and_then(|signals| {
        let child = Child::start(is_root())?;
        Ok((signals, child))
    });
    let (signals, mut child) = started.map_err(|error| refused(false, error.to_string()))?;
    let mirror = Mirror::new(root, &run_directory, &launch.task_id);
    child.launch(Launch { only_processes: true, ..launch });
    Ok(Runner { task_id, run_directory, signals, child, mirror, is_killed: false, _lock: lock })
}

/// Makes a run whose runner and supervisor are dead ready to be gone on with: what is left of its processes is killed, and their ends are
/// recorded (spec executor 1.13). As long as what is returned is open nobody else does the same. The error says why it cannot be done.
fn take_over(run_directory: &Path, launch: &Launch) -> Result<OwnedFd, String> {
    let path = RunDirectory::new(run_directory).checkpoint();
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", path.display());
    let lock: OwnedFd = fs::File::open(&path).map_err(|error| unreadable(&error))?.into();
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "somebody else is about to resume it".to_owned())?;
    let state = RunState::load(&path).map_err(|error| unreadable(&error))?;
    let Some(header) = &state.header else { return Err("it has not begun".to_owned()) };
    if state.is_over() {
        return Err("it is over".to_owned());
    }
    let same_boot = procfs::boot_id().is_ok_and(|boot_id| boot_id == header.boot_id);
    if same_boot && procfs::is_alive(header.supervisor_pid, header.supervisor_start_ticks) {
        return Err(format!("it still runs, under process {}", header.supervisor_pid));
    }
    if state.task_state() != Some(TaskState::Active) {
        return Err(format!("it was about to end: `thermos kill {}` completes that", launch.task_id));
    }
    let text = String::from_utf8_lossy(&launch.payload);
    let task_json = Late::<Payload>::parse(&text).map(|payload| payload.task_json().into_bytes()).unwrap_or_default();
    if task_json != header.task_json {
        return Err("it was another task".to_owned());
    }
    if header.sandbox != launch.sandbox {
        return Err(format!("its sandbox is {}", header.sandbox));
    }
    aftermath::settle(&run_directory.to_string_lossy(), &state, same_boot)?;
    Ok(lock)
}

/// The one task.
struct Runner {
    task_id: String,
    run_directory: PathBuf,
    signals: SignalSource,
    child: Child,
    mirror: Mirror,
    is_killed: bool,
    /// Keeps others from resuming the task.
    _lock: Option<OwnedFd>,
}

impl Runner {
    /// Goes on until the supervisor has ended, and so everything of the task.
    fn serve(&mut self, control: Channel, is_detached: bool) -> io::Result<()> {
        let mut control = Some(control);
        while !self.child.on_children() {
            self.wait(control.as_ref())?;
            let mut told_to_end = false;
            self.signals.drain_each(|signal| told_to_end |= signal != libc::SIGCHLD);
            if told_to_end && !self.is_killed {
                log("told by a signal to kill the task");
                self.kill(GRACE_MS);
            }
            for told in self.child.receive() {
                if let FromSlotBody::LaunchRefused(refused) = &told {
                    let why = io::Error::other(refused.reason.clone());
                    if let Some(control) = &mut control {
                        control.send(&FromSlot { body: Some(told) }, None);
                    }
                    // There is nothing to look after; the supervisor ends with this process.
                    return Err(why);
                }
            }
            if let Some(open) = &mut control {
                self.hear(open);
                if open.is_ended() {
                    control = None;
                    if !is_detached {
                        log("whoever started the task is gone, so it is killed");
                        self.kill(GRACE_MS);
                    }
                }
            }
            self.mirror.follow();
        }
        let path = RunDirectory::new(&self.run_directory).checkpoint();
        if RunState::load(&path).is_ok_and(|state| !state.is_over()) {
            log("the supervisor ended unexpectedly");
            self.child.clean_up(&self.run_directory.to_string_lossy());
        }
        self.mirror.follow();
        Ok(())
    }

    fn hear(&mut self, control: &mut Channel) {
        control.flush();
        control.receive();
        while let Ok(Some(message)) = control.next_message::<ToRunner>() {
            if let Some(ToRunnerBody::Kill(kill)) = message.body {
                log("told to kill the task");
                self.kill(kill.grace_ms);
            }
        }
    }

    fn kill(&mut self, grace_ms: u64) {
        self.is_killed = true;
        self.child.kill(Kill { task_id: self.task_id.clone(), grace_ms, ..Kill::default() });
    }

    fn wait(&self, control: Option<&Channel>) -> io::Result<()> {
        let changes = self.mirror.changes();
        let sending = if self.child.wants_to_send() { PollFlags::OUT } else { PollFlags::empty() };
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.child.as_fd(), PollFlags::IN | sending),
        ];
        polled.extend(control.map(|control| PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)));
        let patience = if changes.is_none() { MIRROR_PAUSE } else { Duration::from_secs(60) };
        polled.extend(changes.map(|changes| PollFd::from_borrowed_fd(changes, PollFlags::IN)));
        let timeout = Timespec::try_from(patience).expect("at most a minute is a valid time-out");
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Kills what a dead runner has left of a task, and tells its end. False when a supervisor still has it, or its record cannot be read.
fn complete(left: &CompleteTask) -> bool {
    let root = Path::new(&left.root);
    let run_directory = below_thermos_root(root, &left.task_id);
    let path = RunDirectory::new(&run_directory).checkpoint();
    let state = match RunState::load(&path) {
        Ok(state) => state,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return false;
        }
    };
    let Some(header) = &state.header else { return false };
    let same_boot = procfs::boot_id().is_ok_and(|boot_id| boot_id == header.boot_id);
    if same_boot && procfs::is_alive(header.supervisor_pid, header.supervisor_start_ticks) {
        return false;
    }
    log_file::to_file(run_directory.join(LOG), true);
    if !state.is_over() {
        aftermath::complete_abandoned(&run_directory.to_string_lossy(), &state, same_boot);
    }
    Mirror::new(root.to_owned(), &run_directory, &left.task_id).follow();
    RunState::load(&path).is_ok_and(|state| state.is_over())
}
