//! A small engine for tests and measurements: starts a launcher, asks for slots, launches tasks and collects statuses.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use checkpoint::channel::Channel;
use checkpoint::layout::{EngineDirectory, RunDirectory};
use checkpoint::protocol::{
    Empty, FromLauncher, FromLauncherBody, FromSlot, FromSlotBody, Hello, Kill, Launch, SlotReady, SlotSpecification,
    ToLauncher, ToLauncherBody, ToSlot, ToSlotBody, Welcome,
};
use checkpoint::record::{StatusRecord, StatusState};
use checkpoint::replay::RunState;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub const AGENT: &str = "agent-0";

/// An engine directory with its launcher.
pub struct Engine {
    pub directory: EngineDirectory,
    pub launcher: Option<Child>,
    pub connection: Channel,
    pub welcome: Option<Welcome>,
    pub slots: BTreeMap<u64, Slot>,
    pub inventory_complete: bool,
    pub refused: Option<String>,
    pub ended: Vec<u64>,
    pub slots_failed: Vec<String>,
    pub epoch: u64,
    next_slot_id: u64,
}

pub struct Slot {
    pub channel: Channel,
    pub ready: SlotReady,
    pub statuses: VecDeque<(String, StatusRecord)>,
    pub idle: bool,
    pub refusals: Vec<checkpoint::protocol::LaunchRefused>,
}

pub fn executable() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_daybreak-executor"))
}

/// Uids to run launchers as: this process' own and, when that is root, a plain user's.
pub fn users() -> Vec<Option<u32>> {
    if rustix::process::geteuid().is_root() { vec![None, Some(65_534)] } else { vec![None] }
}

pub fn start_launcher(directory: &Path, user: Option<u32>) -> Child {
    start_launcher_after(directory, user, "true")
}

/// Starts a launcher after a shell has done `before`, such as lowering a limit.
pub fn start_launcher_after(directory: &Path, user: Option<u32>, before: &str) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("launcher.log")).unwrap();
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(executable());
    if let Some(uid) = user {
        command.uid(uid).gid(uid);
    }
    command
        .arg(executor::LAUNCHER_ARGUMENT)
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A folder that any user can enter.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("daybreak-executor").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn is_alive(pid: i32) -> bool {
    executor::system::procfs::stat(pid).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

/// Waits until the condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The pid that a task has written into a file of its sandbox.
pub fn pid_in(run: &RunDirectory, file: &str) -> i32 {
    let path = run.sandbox().join(file);
    let mut pid = None;
    eventually(&format!("a pid in {}", path.display()), || {
        pid = std::fs::read_to_string(&path)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .and_then(|text| text.trim().parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// Kills exactly this process.
pub fn kill_9(pid: i32) {
    executor::system::wait::signal(pid, libc::SIGKILL);
}

pub fn connect(directory: &EngineDirectory) -> Channel {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(directory.launcher_socket()) {
            Ok(stream) => return Channel::new(stream.into()).unwrap(),
            Err(error) if Instant::now() > deadline => panic!("the launcher does not answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A payload with one process.
pub fn payload(cmdline: &str) -> Vec<u8> {
    payload_of(&serde_json::json!([{"name": "p", "cmdline": cmdline}]))
}

pub fn payload_of(processes: &serde_json::Value) -> Vec<u8> {
    serde_json::json!({"task": {"name": "t", "processes": processes}, "lifecycle": {}}).to_string().into_bytes()
}

impl Engine {
    pub fn start(root: &Path, epoch: u64) -> Self {
        Self::start_as(root, epoch, None)
    }

    /// Starts the launcher as another user.
    pub fn start_as(root: &Path, epoch: u64, user: Option<u32>) -> Self {
        Self::start_after(root, epoch, user, "true")
    }

    /// Starts the launcher as another user after a shell has done something.
    pub fn start_after(root: &Path, epoch: u64, user: Option<u32>, before: &str) -> Self {
        let tasks = root.join("agents").join(AGENT).join("tasks");
        std::fs::create_dir_all(&tasks).unwrap();
        // As an engine does it: each run directory in a part of the file system of its own.
        if let Ok(folder) = std::fs::File::open(&tasks)
            && let Ok(flags) = rustix::fs::ioctl_getflags(&folder)
        {
            let _ = rustix::fs::ioctl_setflags(&folder, flags | rustix::fs::IFlags::TOPDIR);
        }
        for folder in tasks.ancestors().take_while(|folder| folder.starts_with(root)) {
            std::os::unix::fs::chown(folder, user, user).unwrap();
        }
        let launcher = start_launcher_after(root, user, before);
        let mut engine = Self::attach(root, epoch);
        engine.launcher = Some(launcher);
        engine
    }

    pub fn launcher_pid(&self) -> i32 {
        self.welcome.as_ref().unwrap().pid
    }

    /// Connects to the launcher that serves `root`.
    pub fn attach(root: &Path, epoch: u64) -> Self {
        let directory = EngineDirectory::new(root);
        let mut engine = Self {
            connection: connect(&directory),
            directory,
            launcher: None,
            welcome: None,
            slots: BTreeMap::new(),
            inventory_complete: false,
            refused: None,
            ended: Vec::new(),
            slots_failed: Vec::new(),
            epoch,
            next_slot_id: epoch << 32,
        };
        engine.tell(ToLauncherBody::Hello(Hello { epoch, pid: std::process::id() as i32 }));
        engine.until("an answer to hello", |engine| engine.inventory_complete || engine.refused.is_some());
        engine
    }

    pub fn tell(&mut self, body: ToLauncherBody) {
        self.connection.send(&ToLauncher { body: Some(body) }, None);
    }

    pub fn slot(&mut self, specification: SlotSpecification) -> u64 {
        self.next_slot_id += 1;
        let slot_id = self.next_slot_id;
        self.tell(ToLauncherBody::CreateSlot(SlotSpecification { slot_id, ..specification }));
        self.until("a slot", |engine| engine.slots.contains_key(&slot_id) || !engine.slots_failed.is_empty());
        slot_id
    }

    pub fn run(&self, task_id: &str) -> RunDirectory {
        self.directory.run(AGENT, task_id)
    }

    pub fn launch_of(&self, task_id: &str, payload: Vec<u8>) -> Launch {
        Launch {
            task_id: task_id.to_owned(),
            agent_id: AGENT.to_owned(),
            run_directory: self.run(task_id).root().to_str().unwrap().to_owned(),
            hostname: "host".to_owned(),
            payload,
            ..Launch::default()
        }
    }

    pub fn launch(&mut self, slot_id: u64, launch: Launch) {
        let slot = self.slots.get_mut(&slot_id).unwrap();
        slot.idle = false;
        slot.channel.send(&ToSlot { body: Some(ToSlotBody::Launch(launch)) }, None);
    }

    pub fn kill(&mut self, slot_id: u64, task_id: &str, grace_ms: u64) {
        let slot = self.slots.get_mut(&slot_id).unwrap();
        let kill = Kill { task_id: task_id.to_owned(), grace_ms, ..Kill::default() };
        slot.channel.send(&ToSlot { body: Some(ToSlotBody::Kill(kill)) }, None);
    }

    /// Launches a task in a new slot.
    pub fn start_task(&mut self, task_id: &str, payload: Vec<u8>) -> u64 {
        let slot = self.slot(SlotSpecification::default());
        let launch = self.launch_of(task_id, payload);
        self.launch(slot, launch);
        slot
    }

    /// All statuses of the task in the slot, up to the terminal one.
    pub fn statuses(&mut self, slot_id: u64) -> Vec<StatusRecord> {
        let mut found = Vec::new();
        self.until("a terminal status", |engine| {
            let slot = engine.slots.get_mut(&slot_id).unwrap();
            found.extend(slot.statuses.drain(..).map(|(_, status)| status));
            found.last().is_some_and(|status| status.state().is_terminal())
        });
        found
    }

    pub fn until_running(&mut self, slot_id: u64) {
        self.until("RUNNING", |engine| {
            engine.slots[&slot_id].statuses.iter().any(|(_, status)| status.state() == StatusState::Running)
        });
    }

    pub fn state(&self, task_id: &str) -> RunState {
        RunState::load(&self.run(task_id).checkpoint()).unwrap()
    }

    pub fn until_over(&mut self, task_id: &str) -> RunState {
        let path = self.run(task_id).checkpoint();
        self.until("the end of the run", |_| RunState::load(&path).is_ok_and(|state| state.is_over()));
        self.state(task_id)
    }

    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if done(self) {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; log:\n{}", self.log());
            self.turn(50);
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.launcher_log()).unwrap_or_default()
    }

    /// Handles what has arrived, waiting for at most `wait_ms`.
    pub fn turn(&mut self, wait_ms: u64) {
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(self.slots.len() + 1);
        if !self.connection.is_ended() {
            polled.push(PollFd::from_borrowed_fd(self.connection.as_fd(), PollFlags::IN));
        }
        polled.extend(
            self.slots
                .values()
                .filter(|slot| !slot.channel.is_ended())
                .map(|slot| PollFd::from_borrowed_fd(slot.channel.as_fd(), PollFlags::IN)),
        );
        let timeout = Timespec::try_from(Duration::from_millis(wait_ms)).unwrap();
        let _ = poll(&mut polled, Some(&timeout));
        drop(polled);
        self.connection.flush();
        self.connection.receive();
        while let Ok(Some(message)) = self.connection.next_message::<FromLauncher>() {
            match message.body {
                Some(FromLauncherBody::Welcome(welcome)) => self.welcome = Some(welcome),
                Some(FromLauncherBody::Refused(refused)) => self.refused = Some(refused.reason),
                Some(FromLauncherBody::SlotReady(ready)) => {
                    let channel = Channel::new(self.connection.next_descriptor().unwrap()).unwrap();
                    let slot_id = ready.specification.as_ref().unwrap().slot_id;
                    let idle = ready.run_directory.is_empty();
                    let (statuses, refusals) = (VecDeque::new(), Vec::new());
                    self.slots.insert(slot_id, Slot { channel, ready, statuses, idle, refusals });
                }
                Some(FromLauncherBody::SlotFailed(failed)) => self.slots_failed.push(failed.reason),
                Some(FromLauncherBody::SlotEnded(ended)) => self.ended.push(ended.slot_id),
                Some(FromLauncherBody::InventoryEnd(_)) => self.inventory_complete = true,
                None => {}
            }
        }
        for slot in self.slots.values_mut().filter(|slot| !slot.channel.is_ended()) {
            slot.channel.flush();
            slot.channel.receive();
            while let Ok(Some(message)) = slot.channel.next_message::<FromSlot>() {
                match message.body {
                    Some(FromSlotBody::Status(status)) => {
                        slot.idle |= status.idle;
                        for record in status.statuses {
                            slot.statuses.push_back((status.task_id.clone(), record));
                        }
                    }
                    Some(FromSlotBody::LaunchRefused(refused)) => slot.refusals.push(refused),
                    _ => {}
                }
            }
        }
    }
}

impl Drop for Engine {
    /// A launcher of our own is asked to end, with everything it runs.
    fn drop(&mut self) {
        let Some(mut launcher) = self.launcher.take() else { return };
        if !self.connection.is_ended() {
            self.tell(ToLauncherBody::Shutdown(Empty {}));
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline {
                if matches!(launcher.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = launcher.kill();
        let _ = launcher.wait();
    }
}
