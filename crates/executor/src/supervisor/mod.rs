//! The supervisor of a slot: a process with one loop (and a thread for what may block, only while a task has such a thing), forked by the launcher, that runs tasks one after another.
//!
//! It owns the checkpoint of the task it runs. Whatever happens is recorded there first; messages to the engine only wake it up. It
//! survives the daemon and the launcher: without a launcher it finishes its task and looks for the next launcher meanwhile.

mod ending;
mod helper;
pub(crate) mod image;
mod logs;
mod shell;
mod start;
mod stopping;
mod task;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use checkpoint::layout::EngineDirectory;
use checkpoint::protocol::{
    Attached, FromLauncherToSlot, FromLauncherToSlotBody, FromSlot, FromSlotBody, Kill, Launch, Rejoin, Retiring,
    SlotSpecification, SlotStatus, ToLauncher, ToLauncherBody, ToSlot, ToSlotBody,
};
use checkpoint::record::StatusRecord;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::launcher::log;
use crate::system::cgroup::{OomWatch, SlotCgroup};
use crate::system::shared::SharedNote;
use crate::system::signals::SignalSource;
use crate::system::{fork, monotonic_ms, procfs, wait};
use checkpoint::channel::Channel;

pub(crate) use start::CONTAINER_USER;
use start::PayloadCache;
use task::RunningTask;

/// How often a supervisor without launcher looks for a new one, milliseconds.
const REJOIN_INTERVAL_MS: u64 = 500;

/// Who made a supervisor.
#[derive(Clone, Debug)]
pub enum Parent {
    /// A launcher of this engine directory. When it dies the task goes on and the next launcher is looked for.
    Launcher(EngineDirectory),
    /// An executor on an agent. When it dies nobody can report any more, so the task is killed.
    Executor,
}

/// What a supervisor is born with.
pub struct Birth<'a> {
    /// Channel to the launcher.
    pub control: OwnedFd,
    /// Its control groups, already entered.
    pub group: SlotCgroup,
    /// Where it notes what it does.
    pub note: &'a SharedNote,
    /// Who made it, and what is done without them.
    pub parent: Parent,
    /// Whether it is root.
    pub root: bool,
    /// Limit of open files that tasks get; unset leaves it.
    pub open_files_soft: Option<u64>,
}

/// What does not change while a supervisor lives, and what all its tasks use.
pub(crate) struct Surroundings {
    pub(crate) group: SlotCgroup,
    pub(crate) task_group: Option<OwnedFd>,
    pub(crate) null: OwnedFd,
    pub(crate) boot_id: String,
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
    pub(crate) path: std::ffi::CString,
    /// What runs command lines.
    shell: shell::Shell,
    pub(crate) root: bool,
    pub(crate) oom_protected: bool,
    pub(crate) open_files_soft: Option<u64>,
    pub(crate) slot_id: u64,
    pub(crate) memory_limit_bytes: u64,
}

struct Supervisor<'a> {
    surroundings: Surroundings,
    note: &'a SharedNote,
    parent: Parent,
    control: Option<Channel>,
    engine: Option<Channel>,
    epoch: u64,
    specification: Option<SlotSpecification>,
    signals: SignalSource,
    oom: Option<OomWatch>,
    oom_kills_seen: u64,
    payloads: PayloadCache,
    task: Option<RunningTask>,
    tasks_done: u32,
    idle_since_ms: u64,
    next_rejoin_ms: u64,
    retiring: bool,
}

/// The life of a forked process as a supervisor; its exit code. It keeps its end of the control channel, the log and the shared page;
/// everything else of its parent is closed before `birth` says what it is born with.
pub fn become_supervisor<'a>(far: &OwnedFd, birth: impl FnOnce(OwnedFd) -> io::Result<Birth<'a>>) -> i32 {
    const CONTROL: i32 = 3;
    let live = || {
        if far.as_raw_fd() != CONTROL {
            fork::duplicate_to(far.as_fd(), CONTROL)?;
        }
        fork::close_from(CONTROL as u32 + 1);
        run(birth(fork::adopt(CONTROL))?)
    };
    live().map_or_else(
        |error| {
            log(&format!("supervisor: {error}"));
            1
        },
        |()| 0,
    )
}

/// Runs the supervisor until it retires.
fn run(birth: Birth<'_>) -> io::Result<()> {
    wait::become_subreaper()?;
    let _ = rustix::process::setsid();
    let signals = SignalSource::open()?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let search = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let surroundings = Surroundings {
        task_group: birth.group.task_directory(),
        null: rustix::fs::open(
            c"/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?,
        boot_id: procfs::boot_id()?,
        pid,
        start_ticks: procfs::own_start_ticks(),
        path: std::ffi::CString::new(format!("PATH={search}")).map_err(io::Error::other)?,
        shell: shell::Shell::find(),
        root: birth.root,
        oom_protected: procfs::set_oom_score(-1000),
        open_files_soft: birth.open_files_soft,
        slot_id: 0,
        memory_limit_bytes: 0,
        group: birth.group,
    };
    let mut supervisor = Supervisor {
        oom: surroundings.group.watch_oom(),
        oom_kills_seen: 0,
        surroundings,
        note: birth.note,
        parent: birth.parent,
        control: Some(Channel::new(birth.control)?),
        engine: None,
        epoch: 0,
        specification: None,
        signals,
        payloads: PayloadCache::default(),
        task: None,
        tasks_done: 0,
        idle_since_ms: monotonic_ms(),
        next_rejoin_ms: 0,
        retiring: false,
    };
    supervisor.serve()
}

/// How long processes may take to end after the signal that kills a task, milliseconds (spec executor 1.11).
const SIGNAL_GRACE_MS: u64 = 60_000;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What became ready.
#[derive(Debug, Default)]
struct Ready {
    control: bool,
    engine: bool,
    signals: bool,
    oom: bool,
    pumps: bool,
}

impl Supervisor<'_> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.task.is_none() && self.should_end() {
                return Ok(());
            }
            let ready = self.wait()?;
            if ready.signals {
                let mut told_to_kill = false;
                self.signals.drain_each(|signal| told_to_kill |= signal == libc::SIGUSR1);
                if told_to_kill {
                    self.kill_by_signal();
                }
            }
            if ready.control {
                self.on_control();
            }
            if ready.engine {
                self.on_engine();
            }
            let now_ms = monotonic_ms();
            if self.control.is_none() && self.task.is_some() {
                self.without_parent(now_ms);
            }
            if self.task.is_some() {
                self.run_task(&ready, now_ms);
            } else if ready.signals {
                while let wait::Look::Ended(exit) = wait::peek_any() {
                    wait::reap(exit.pid);
                }
            }
        }
    }

    /// Whether an idle supervisor has no future.
    fn should_end(&self) -> bool {
        let idle_ms_max = self.specification.as_ref().map_or(0, |specification| specification.idle_ms_max);
        let idle_too_long = idle_ms_max > 0 && monotonic_ms() >= self.idle_since_ms + idle_ms_max;
        self.control.is_none() || self.retiring || idle_too_long
    }

    fn wait(&mut self) -> io::Result<Ready> {
        let now_ms = monotonic_ms();
        let mut until_ms = now_ms + 60_000;
        match &self.task {
            Some(task) => until_ms = until_ms.min(task.next_wake_ms(now_ms)),
            None => {
                let idle_ms_max = self.specification.as_ref().map_or(0, |specification| specification.idle_ms_max);
                if idle_ms_max > 0 {
                    until_ms = until_ms.min(self.idle_since_ms + idle_ms_max);
                }
            }
        }
        if self.control.is_none() && matches!(self.parent, Parent::Launcher(_)) {
            until_ms = until_ms.min(self.next_rejoin_ms);
        }
        let interest = |channel: &Channel| {
            if channel.wants_to_send() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
        };
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let control_at = self.control.as_ref().map(|channel| {
            polled.push(PollFd::new(channel, interest(channel)));
            polled.len() - 1
        });
        let engine_at = self.engine.as_ref().map(|channel| {
            polled.push(PollFd::new(channel, interest(channel)));
            polled.len() - 1
        });
        let oom_at = self.oom.as_ref().filter(|_| self.task.is_some()).map(|watch| {
            polled.push(PollFd::new(watch, watch.flags()));
            polled.len() - 1
        });
        let pumps_from = polled.len();
        if let Some(task) = &self.task {
            polled.extend(task.pumps().map(|pump| PollFd::from_borrowed_fd(pump.as_fd(), PollFlags::IN)));
            polled.extend(task.watched().map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)));
        }
        let timeout = Timespec::try_from(Duration::from_millis(until_ms.saturating_sub(now_ms)))
            .expect("at most a minute is a valid time-out");
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !polled[at].revents().is_empty());
        Ok(Ready {
            signals: is_ready(Some(0)),
            control: is_ready(control_at),
            engine: is_ready(engine_at),
            oom: is_ready(oom_at),
            pumps: polled[pumps_from..].iter().any(|entry| !entry.revents().is_empty()),
        })
    }

    fn on_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        control.flush();
        control.receive();
        while let Ok(Some(message)) = control.next_message::<FromLauncherToSlot>() {
            let Some(FromLauncherToSlotBody::Attach(attach)) = message.body else { continue };
            let Some(channel) = control.next_descriptor().and_then(|end| Channel::new(end).ok()) else { continue };
            if attach.epoch < self.epoch {
                continue;
            }
            let keeps = attach.epoch == self.epoch && self.engine.as_ref().is_some_and(|engine| !engine.is_ended());
            if !keeps {
                // What an engine of a lower epoch has sent and was not read yet dies with its channel.
                self.engine = Some(channel);
            }
            self.epoch = attach.epoch;
            if self.specification.is_none()
                && let Some(specification) = attach.specification
            {
                self.surroundings.slot_id = specification.slot_id;
                self.surroundings.memory_limit_bytes = specification.memory_limit_bytes;
                self.specification = Some(specification);
                self.idle_since_ms = monotonic_ms();
            }
            let run_directory = self.task.as_ref().map_or_else(String::new, RunningTask::run_directory);
            let attached = Attached { epoch: attach.epoch, run_directory };
            control.send(&ToLauncher { body: Some(ToLauncherBody::Attached(attached)) }, None);
        }
        if control.is_ended() {
            self.control = None;
            self.next_rejoin_ms = monotonic_ms();
        }
    }

    /// Whoever made this supervisor is gone.
    fn without_parent(&mut self, now_ms: u64) {
        match &self.parent {
            Parent::Launcher(directory) if now_ms >= self.next_rejoin_ms => {
                let socket = directory.launcher_socket();
                self.rejoin(&socket, now_ms);
            }
            Parent::Launcher(_) => {}
            Parent::Executor => {
                if let Some(task) = &mut self.task {
                    task.kill(0, "", now_ms);
                }
            }
        }
    }

    /// The launcher is gone: the next one must learn of this supervisor. Only worth while as a task runs.
    fn rejoin(&mut self, socket: &std::path::Path, now_ms: u64) {
        self.next_rejoin_ms = now_ms + REJOIN_INTERVAL_MS;
        let Ok(stream) = std::os::unix::net::UnixStream::connect(socket) else { return };
        let Ok(mut channel) = Channel::new(stream.into()) else { return };
        let rejoin = Rejoin {
            specification: self.specification.clone(),
            pid: self.surroundings.pid,
            start_ticks: self.surroundings.start_ticks,
            cgroups: self.surroundings.group.paths(),
            run_directory: self.task.as_ref().map_or_else(String::new, RunningTask::run_directory),
        };
        channel.send(&ToLauncher { body: Some(ToLauncherBody::Rejoin(rejoin)) }, None);
        log("found a new launcher");
        // This process may run an older version than the new launcher's: after this task it makes room.
        self.retiring = true;
        self.control = Some(channel);
    }

    fn on_engine(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        engine.flush();
        engine.receive();
        let mut messages = Vec::new();
        while let Ok(Some(message)) = engine.next_message::<ToSlot>() {
            messages.extend(message.body);
        }
        if engine.is_ended() {
            self.engine = None;
        }
        for message in messages {
            match message {
                ToSlotBody::Launch(launch) => self.launch(launch),
                ToSlotBody::Kill(kill) => self.kill(&kill),
                ToSlotBody::Retire(_) => self.retiring = true,
            }
        }
    }

    fn launch(&mut self, launch: Launch) {
        if self.task.is_some() || self.retiring {
            let refused = checkpoint::protocol::LaunchRefused {
                task_id: launch.task_id,
                already_started: false,
                reason: "the supervisor is busy".to_owned(),
            };
            return self.tell(FromSlotBody::LaunchRefused(refused));
        }
        // Noted before anything is made, so that the launcher can complete the run from whichever point this process dies at.
        self.note.set(launch.run_directory.as_bytes());
        match RunningTask::start(launch, &self.surroundings, &mut self.payloads) {
            Ok(task) => self.task = Some(task),
            Err(refused) => {
                self.note.clear();
                self.tell(FromSlotBody::LaunchRefused(refused));
            }
        }
    }

    fn kill(&mut self, kill: &Kill) {
        if let Some(task) = &mut self.task
            && task.task_id() == kill.task_id
        {
            task.bound_stop(kill.stop_ms_max);
            task.kill(kill.grace_ms, &kill.message, monotonic_ms());
        }
    }

    /// Someone on this machine wants the task ended (spec executor 1.11); no scheduler has to agree.
    fn kill_by_signal(&mut self) {
        if let Some(task) = &mut self.task {
            log(&format!("{}: killed by a signal", task.task_id()));
            task.kill(SIGNAL_GRACE_MS, "", monotonic_ms());
        }
    }

    fn run_task(&mut self, ready: &Ready, now_ms: u64) {
        let Some(task) = &mut self.task else { return };
        if ready.pumps {
            task.pump();
        }
        let mut killed = task.on_children(now_ms);
        if ready.oom {
            if let Some(watch) = &self.oom {
                watch.drain();
            }
            killed = true;
        }
        if killed {
            let oom_kills = self.surroundings.group.oom_kills();
            if oom_kills > self.oom_kills_seen {
                self.oom_kills_seen = oom_kills;
                task.on_memory_exceeded(&self.surroundings, now_ms);
            }
        }
        let over = task.advance(&self.surroundings, now_ms);
        let statuses = if over || now_ms >= task.tell_from_ms() { task.take_unsent() } else { Vec::new() };
        let task_id = if statuses.is_empty() { String::new() } else { task.task_id().to_owned() };
        if over {
            self.finish(task_id, statuses);
        } else if !statuses.is_empty() {
            self.tell(FromSlotBody::Status(SlotStatus { task_id, statuses, idle: false }));
        }
    }

    /// The task is over and its checkpoint complete.
    fn finish(&mut self, task_id: String, statuses: Vec<StatusRecord>) {
        let task = self.task.take();
        let mut clean = task.as_ref().is_some_and(RunningTask::left_nothing);
        if clean && task.is_some_and(|task| task.killed_group()) {
            match self.surroundings.group.renew_task_group() {
                Ok(group) => self.surroundings.task_group = group,
                Err(_) => clean = false,
            }
        }
        self.note.clear();
        self.tasks_done += 1;
        self.idle_since_ms = monotonic_ms();
        let tasks_max = self.specification.as_ref().map_or(0, |specification| specification.tasks_max);
        let reason = if !clean
            || self.surroundings.group.has_strays(self.surroundings.task_group.as_ref().map(AsFd::as_fd)) == Some(true)
        {
            "a process could not be removed"
        } else if tasks_max > 0 && self.tasks_done >= tasks_max {
            "it has run enough tasks"
        } else if self.control.is_none() {
            "its launcher is gone"
        } else {
            ""
        };
        self.retiring |= !reason.is_empty();
        let idle = !self.retiring;
        self.tell(FromSlotBody::Status(SlotStatus { task_id, statuses, idle }));
        if self.retiring {
            self.tell(FromSlotBody::Retiring(Retiring { reason: reason.to_owned() }));
        }
    }

    fn tell(&mut self, body: FromSlotBody) {
        if let Some(engine) = &mut self.engine {
            engine.send(&FromSlot { body: Some(body) }, None);
        }
    }
}
