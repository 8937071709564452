//! The launcher: a process with one thread that outlives the daemon. It forks supervisors, is the parent of last resort of everything
//! they start, and completes the checkpoint of a run whose supervisor died. It does not run tasks and is not on their path.
//!
//! Life: started by an engine, it locks the engine directory, completes runs that nobody looks after any more, and listens. One engine is
//! served at a time, the one with the highest epoch. It ends when asked to, or when there is neither an engine nor a slot for a while.

mod recovery;
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use checkpoint::layout::EngineDirectory;
use checkpoint::protocol::{
    Attached, Empty, FromLauncher, FromLauncherBody, Hello, Refused, SOCKET_PATH_BYTES_MAX, SlotFailed, SlotReady,
    ToLauncher, ToLauncherBody, Welcome,
};
use rustix::event::epoll;

use crate::system::cgroup::Cgroups;
use crate::system::signals::{SignalSource, restore_default_effects};
use crate::system::{fork, monotonic_ms, procfs, wait};
use checkpoint::channel::Channel;

use recovery::Awaited;
use slots::Slot;

/// How long the launcher stays without an engine and without slots, milliseconds.
const LONELY_MS_MAX: u64 = 10_000;
/// How long a supervisor may take to turn to a new engine before it is taken for stuck and killed, milliseconds.
const ATTACH_MS_MAX: u64 = 30_000;
/// Supervisors made in advance: a fresh one waits for the kernel when it enters its control groups.
const SPARES: usize = 2;

/// Variable with the limit of open files that tasks should have, set by an engine that has raised its own.
const OPEN_FILES_VARIABLE: &str = "DAYBREAK_OPEN_FILES";

const TOKEN_LISTENER: u64 = 0;
const TOKEN_SIGNALS: u64 = 1;
const TOKEN_FIRST_FREE: u64 = 2;

/// What a registered descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A connection to the launcher's socket.
    Connection,
    /// The control channel of a slot, by slot key.
    Control(u64),
    /// Becomes readable when a process ends that is no child: a slot of a former launcher.
    SlotEnd(u64),
    /// The same for the supervisor of a run that has not presented itself.
    AwaitedEnd,
}

struct Launcher {
    directory: EngineDirectory,
    cgroups: Cgroups,
    epoll: OwnedFd,
    listener: OwnedFd,
    signals: SignalSource,
    sources: BTreeMap<u64, Source>,
    next_token: u64,
    /// Connections by token; one of them may be the engine's.
    connections: BTreeMap<u64, Channel>,
    engine: Option<u64>,
    epoch: u64,
    /// Whether the engine has been told that its inventory is complete.
    inventory_sent: bool,
    /// Slots by a number of our own; the engine's number is in their specification.
    slots: BTreeMap<u64, Slot>,
    next_slot_key: u64,
    awaited: BTreeMap<u64, Awaited>,
    /// Helper processes that remove containers.
    sweepers: BTreeSet<i32>,
    lonely_since_ms: Option<u64>,
    shutting_down: bool,
    root: bool,
    /// After a spare died unused, none is made before this time.
    no_spares_before_ms: u64,
    /// The limit of open files that tasks get.
    open_files_soft: Option<u64>,
}

/// Runs the launcher of the engine directory until it has nothing more to do. Never returns to a caller that has other threads.
pub fn run(directory: &Path) -> io::Result<()> {
    let directory = EngineDirectory::new(fs::canonicalize(directory)?);
    fork::close_from(3);
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::env::set_current_dir("/")?;
    restore_default_effects();
    let signals = SignalSource::open()?;
    let Some(_lock) = lock(&directory)? else {
        // Another launcher serves this directory; that is what was wanted.
        return Ok(());
    };
    wait::become_subreaper()?;
    let open_files_soft = raise_open_files();
    let root = crate::system::is_root();
    procfs::set_oom_score(-900);
    let cgroups = Cgroups::open(&group_name(&directory));
    if let Err(error) = cgroups.enter_launcher_group() {
        log(&format!("no control group of its own: {error}"));
    }
    let mut launcher = Launcher {
        epoch: read_epoch(&directory),
        listener: listen(&directory)?,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        directory,
        cgroups,
        signals,
        sources: BTreeMap::new(),
        next_token: TOKEN_FIRST_FREE,
        connections: BTreeMap::new(),
        engine: None,
        inventory_sent: false,
        slots: BTreeMap::new(),
        next_slot_key: 1,
        awaited: BTreeMap::new(),
        sweepers: BTreeSet::new(),
        lonely_since_ms: None,
        shutting_down: false,
        root,
        no_spares_before_ms: 0,
        open_files_soft,
    };
    epoll::add(&launcher.epoll, &launcher.listener, epoll::EventData::new_u64(TOKEN_LISTENER), epoll::EventFlags::IN)?;
    epoll::add(&launcher.epoll, &launcher.signals, epoll::EventData::new_u64(TOKEN_SIGNALS), epoll::EventFlags::IN)?;
    launcher.recover();
    launcher.sweep_all();
    launcher.cgroups.sweep();
    prepare_supervisors();
    launcher.serve()
}

/// Does once what every supervisor would do at its first task: what this process has at hand, its forks have too.
fn prepare_supervisors() {
    crate::system::user::prepare_lookups();
    // The checksum's code is chosen by what the processor can do, and asking it takes long in a virtual machine.
    checkpoint::stream::encode_frame(&checkpoint::record::Record::default(), &mut Vec::new());
}

// The launcher's log is its standard error.
pub(crate) use crate::log::log;

/// There is a descriptor for each supervisor. Returns the limit that tasks are to have: what the engine says, or what was there before.
fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let told = std::env::var(OPEN_FILES_VARIABLE).ok().and_then(|text| text.parse().ok());
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let done = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).is_ok();
    told.or(limit.current.filter(|_| done))
}

/// Name of the control groups of this engine directory: two of them on one machine must not meet.
fn group_name(directory: &EngineDirectory) -> String {
    // FNV-1a, 64 bits: short and the same for ever.
    let hash = directory
        .root()
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("daybreak-{hash:016x}")
}

fn lock(directory: &EngineDirectory) -> io::Result<Option<File>> {
    let mut file = File::options().create(true).write(true).truncate(false).open(directory.launcher_lock())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    write!(file, "{}", rustix::process::getpid().as_raw_nonzero())?;
    Ok(Some(file))
}

fn read_epoch(directory: &EngineDirectory) -> u64 {
    fs::read_to_string(directory.epoch()).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn listen(directory: &EngineDirectory) -> io::Result<OwnedFd> {
    let path = directory.launcher_socket();
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let text = format!("{} is too long for a socket (at most {SOCKET_PATH_BYTES_MAX} bytes)", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

impl Launcher {
    fn serve(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            self.settle();
            if self.is_done() {
                self.destroy_spares();
                self.cgroups.close();
                let _ = fs::remove_file(self.directory.launcher_socket());
                return Ok(());
            }
            events.clear();
            let timeout = rustix::event::Timespec::try_from(Duration::from_millis(self.timeout_ms()))
                .expect("a few seconds are a valid time-out");
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.on_event(event.data.u64());
            }
        }
    }

    /// What follows from the events taken together: deadlines, inventory, spares.
    fn settle(&mut self) {
        let now_ms = monotonic_ms();
        for slot in self.slots.values() {
            if slot.attach_deadline_ms.is_some_and(|deadline| now_ms >= deadline) {
                log(&format!("supervisor {} does not turn to the new engine; killing it", slot.pid));
                wait::signal(slot.pid, libc::SIGKILL);
            }
        }
        self.finish_aftermaths();
        if self.engine.is_some() && !self.inventory_sent && self.slots.values().all(|slot| !slot.is_attaching()) {
            self.inventory_sent = true;
            self.tell_engine(FromLauncherBody::InventoryEnd(Empty {}), None);
        }
        self.replenish_spares();
        let lonely = self.engine.is_none() && self.slots.values().all(Slot::is_spare) && self.awaited.is_empty();
        self.lonely_since_ms = lonely.then(|| self.lonely_since_ms.unwrap_or(now_ms));
    }

    fn is_done(&self) -> bool {
        if self.shutting_down {
            return self.slots.values().all(Slot::is_spare);
        }
        self.lonely_since_ms.is_some_and(|since| monotonic_ms() >= since + LONELY_MS_MAX)
    }

    fn timeout_ms(&self) -> u64 {
        let busy = self.shutting_down || self.slots.values().any(|slot| slot.is_attaching() || slot.is_dead());
        if busy {
            20
        } else if self.wants_spare() {
            // Time to make one more spare, but only when nothing else is to be done.
            1
        } else {
            1000
        }
    }

    fn on_event(&mut self, token: u64) {
        match token {
            TOKEN_LISTENER => self.accept(),
            TOKEN_SIGNALS => {
                if self.signals.drain() {
                    log("a signal to end was ignored: tasks go on; ask the daemon to stop them");
                }
                self.on_children();
            }
            _ => match self.sources.get(&token) {
                Some(Source::Connection) => self.on_connection(token),
                Some(Source::Control(key)) => self.on_control(*key),
                Some(Source::SlotEnd(key)) => self.on_foreign_slot_end(*key, token),
                Some(Source::AwaitedEnd) => self.on_awaited_end(token),
                None => {}
            },
        }
    }

    fn register(&mut self, descriptor: impl AsFd, source: Source) -> io::Result<u64> {
        let token = self.next_token;
        self.next_token += 1;
        epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        self.sources.insert(token, source);
        Ok(token)
    }

    /// Asks for writability too as long as something waits to be sent.
    fn update_interest(&self, token: u64, channel: &Channel) {
        let flags = if channel.wants_to_send() {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        let _ = epoll::modify(&self.epoll, channel, epoll::EventData::new_u64(token), flags);
    }

    fn accept(&mut self) {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        while let Ok(connection) = rustix::net::accept_with(&self.listener, flags) {
            // The socket's mode keeps others out; this keeps them out on file systems without modes.
            let trusted = rustix::net::sockopt::socket_peercred(&connection)
                .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
            let Ok(channel) = Channel::new(connection) else { continue };
            if !trusted {
                continue;
            }
            if let Ok(token) = self.register(&channel, Source::Connection) {
                self.connections.insert(token, channel);
            }
        }
    }

    fn on_connection(&mut self, token: u64) {
        let Some(mut channel) = self.connections.remove(&token) else { return };
        channel.flush();
        channel.receive();
        let mut messages = Vec::new();
        loop {
            match channel.next_message::<ToLauncher>() {
                Ok(Some(message)) => messages.extend(message.body),
                Ok(None) => break,
                Err(error) => {
                    log(&format!("a connection is closed: {error}"));
                    break;
                }
            }
        }
        if let Some(ToLauncherBody::Rejoin(rejoin)) = messages.first() {
            self.sources.remove(&token);
            let _ = epoll::delete(&self.epoll, &channel);
            self.adopt_slot(rejoin.clone(), channel);
            return;
        }
        let ended = channel.is_ended();
        self.connections.insert(token, channel);
        for message in messages {
            match message {
                ToLauncherBody::Hello(hello) => self.on_hello(token, &hello),
                _ if self.engine != Some(token) => {}
                ToLauncherBody::CreateSlot(specification) => self.create_slot(specification),
                ToLauncherBody::DestroySlot(slot) => self.destroy_slot(slot.slot_id),
                ToLauncherBody::Shutdown(_) => self.shut_down(),
                ToLauncherBody::Attached(_) | ToLauncherBody::Rejoin(_) => {}
            }
        }
        if ended {
            self.drop_connection(token);
        } else if let Some(channel) = self.connections.get(&token) {
            self.update_interest(token, channel);
        }
    }

    fn drop_connection(&mut self, token: u64) {
        if let Some(channel) = self.connections.remove(&token) {
            let _ = epoll::delete(&self.epoll, &channel);
        }
        self.sources.remove(&token);
        if self.engine == Some(token) {
            self.engine = None;
        }
    }

    /// An engine presents itself. From here on no call of a lower epoch has an effect, neither here nor in any supervisor.
    fn on_hello(&mut self, token: u64, hello: &Hello) {
        if hello.epoch < self.epoch {
            let reason = format!("epoch {} is over: an engine of epoch {} has been here", hello.epoch, self.epoch);
            log(&format!("engine {} is refused: {reason}", hello.pid));
            let refused = FromLauncherBody::Refused(Refused { epoch: self.epoch, reason });
            if let Some(channel) = self.connections.get_mut(&token) {
                channel.send(&FromLauncher { body: Some(refused) }, None);
            }
            return;
        }
        if let Some(former) = self.engine.filter(|former| *former != token) {
            self.drop_connection(former);
        }
        self.epoch = hello.epoch;
        if let Err(error) = write_epoch(&self.directory, hello.epoch) {
            log(&format!("the epoch cannot be stored: {error}"));
        }
        self.engine = Some(token);
        self.inventory_sent = false;
        let welcome = Welcome {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            enforces_memory: self.cgroups.enforces_memory(),
            enforces_cpu: self.cgroups.enforces_cpu(),
            unenforced_reason: self.cgroups.unenforced_reason.clone(),
            knows_containers: true,
        };
        self.tell_engine(FromLauncherBody::Welcome(welcome), None);
        let keys: Vec<u64> = self.slots.iter().filter(|(_, slot)| slot.is_used()).map(|(key, _)| *key).collect();
        for key in keys {
            self.attach_slot(key);
        }
    }

    fn tell_engine(&mut self, body: FromLauncherBody, descriptor: Option<OwnedFd>) {
        let Some(token) = self.engine else { return };
        if let Some(channel) = self.connections.get_mut(&token) {
            channel.send(&FromLauncher { body: Some(body) }, descriptor);
        }
        if let Some(channel) = self.connections.get(&token) {
            self.update_interest(token, channel);
        }
    }

    fn tell_slot_failed(&mut self, slot_id: u64, reason: String) {
        log(&format!("slot {slot_id}: {reason}"));
        self.tell_engine(FromLauncherBody::SlotFailed(SlotFailed { slot_id, reason }), None);
    }

    /// A supervisor has turned to the engine: now the engine may have the other end of its task channel.
    fn on_attached(&mut self, key: u64, attached: &Attached) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if attached.epoch != self.epoch {
            return;
        }
        slot.attach_deadline_ms = None;
        let Some(descriptor) = slot.engine_end.take() else { return };
        let ready = SlotReady {
            specification: slot.specification.clone(),
            pid: slot.pid,
            run_directory: attached.run_directory.clone(),
        };
        self.tell_engine(FromLauncherBody::SlotReady(ready), Some(descriptor));
    }
}

fn write_epoch(directory: &EngineDirectory, epoch: u64) -> io::Result<()> {
    let new = directory.epoch().with_extension("new");
    fs::write(&new, epoch.to_string())?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, directory.epoch())
}
