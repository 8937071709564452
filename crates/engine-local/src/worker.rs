//! The engine's thread: takes calls, talks with launcher and supervisors, tells events. What it decides is in `calls` and `runs`.

mod adopt;
mod calls;
mod containers;
mod runs;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use checkpoint::channel::Channel;
use checkpoint::layout::EngineDirectory;
use checkpoint::protocol::{Empty, FromLauncher, FromLauncherBody, FromSlot, FromSlotBody, ToLauncherBody, Welcome};
use engine::{Call, Event, EventSink};
use rustix::event::{EventfdFlags, epoll};

use crate::agents::Agent;
use crate::collector::Collector;
use crate::connection::Connection;
use crate::slots::Slots;
use crate::tasks::Tasks;
use crate::{CallQueue, Options, lock};

const TOKEN_BELL: u64 = 0;
const TOKEN_LAUNCHER: u64 = 1;
/// How long tasks wait for a launcher that cannot be started before they fail, milliseconds.
const LAUNCHER_MS_MAX: u64 = 30_000;
/// Bytes after which the file of acknowledged tasks is written anew, without those whose sandboxes are gone.
const ACKNOWLEDGED_BYTES_MAX: usize = 4 << 20;
/// How often unacknowledged statuses are looked at and what can wait is done, milliseconds.
const RESEND_LOOK_MS: u64 = 1_000;
/// While tasks wait for supervisors, events are told this far apart, milliseconds: many tasks end meanwhile, and one group of records,
/// one sync and one answer serve them all. When no task waits, events are told at once.
const TELL_INTERVAL_MS: u64 = 4;
/// So many events are told in any case.
const UNTOLD_MAX: usize = 256;

/// How other threads reach the engine's.
#[derive(Debug)]
pub(crate) struct Bell {
    counter: OwnedFd,
    calls: CallQueue,
    state: Mutex<BellState>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    stop: bool,
    shut_down: bool,
    ended: bool,
    /// What the launcher said it cannot enforce, once it has said anything.
    notice: Option<Option<String>>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            counter: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            calls: Mutex::new(VecDeque::new()),
            state: Mutex::new(BellState::default()),
            ended: Condvar::new(),
        })
    }

    pub(crate) fn put(&self, epoch: u64, calls: Vec<Call>) {
        lock(&self.calls).push_back((epoch, calls));
        self.ring();
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.ring();
    }

    pub(crate) fn shut_down(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        state.shut_down = true;
        self.ring();
        while !state.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }

    /// What is not enforced on this machine, in a sentence; waits until the launcher has said so, at most this long.
    pub(crate) fn notice(&self, limit: Duration) -> Option<String> {
        let state = lock(&self.state);
        let unknown = |state: &mut BellState| state.notice.is_none() && !state.ended;
        let waited = self.ended.wait_timeout_while(state, limit, unknown);
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0.notice.clone().flatten()
    }

    fn set_notice(&self, notice: Option<String>) {
        lock(&self.state).notice = Some(notice);
        self.ended.notify_all();
    }

    fn ring(&self) {
        // The counter can only be full when the engine has many rings to hear already.
        let _ = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.counter, &mut [0_u8; 8]);
    }
}

/// The engine's state and the descriptors it waits for.
pub(crate) struct Worker {
    options: Options,
    directory: EngineDirectory,
    agents: Vec<Agent>,
    /// Of this engine towards the launcher.
    epoch: u64,
    /// The highest one the scheduler has used.
    scheduler_epoch: u64,
    bell: Arc<Bell>,
    sink: Arc<dyn EventSink>,
    epoll: OwnedFd,
    connection: Connection,
    channels: BTreeMap<u64, Channel>,
    slots: Slots,
    next_slot_id: u64,
    tasks: Tasks,
    /// Whether what earlier engines left is adopted; before that no call is taken.
    adopted: bool,
    suppressed: bool,
    /// Whether the launcher's supervisors know files and containers.
    knows_containers: bool,
    /// Whether what the launcher cannot enforce has been said.
    said_unenforced: bool,
    collector: Option<Collector>,
    /// Run directories for the collector.
    ended: Vec<PathBuf>,
    /// Lines for the file of acknowledged tasks.
    acknowledged: Vec<u8>,
    /// Bytes appended to that file since it was written anew.
    acknowledged_bytes: usize,
    next_resend_ms: u64,
    /// Events that are to be told, oldest first.
    untold: Vec<Event>,
    told_ms: u64,
    root: bool,
    shutting_down: bool,
    /// Nobody listens any more.
    sink_gone: bool,
}

impl Worker {
    pub(crate) fn new(
        options: Options,
        directory: EngineDirectory,
        agents: Vec<Agent>,
        epoch: u64,
        bell: Arc<Bell>,
        sink: Arc<dyn EventSink>,
        open_files_soft: Option<u64>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell.counter, epoll::EventData::new_u64(TOKEN_BELL), epoll::EventFlags::IN)?;
        Ok(Self {
            options,
            directory,
            agents,
            epoch,
            scheduler_epoch: 0,
            bell,
            sink,
            epoll,
            connection: Connection::new(open_files_soft, monotonic_ms()),
            channels: BTreeMap::new(),
            slots: Slots::default(),
            // Numbers of slots are never used twice, not even by another engine of this directory.
            next_slot_id: epoch << 32,
            tasks: Tasks::default(),
            adopted: false,
            suppressed: false,
            knows_containers: true,
            said_unenforced: false,
            collector: None,
            ended: Vec::new(),
            acknowledged: Vec::new(),
            acknowledged_bytes: 0,
            next_resend_ms: 0,
            untold: Vec::new(),
            told_ms: 0,
            root: rustix::process::geteuid().is_root(),
            shutting_down: false,
            sink_gone: false,
        })
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            let (stop, shut_down) = {
                let state = lock(&self.bell.state);
                (state.stop, state.shut_down)
            };
            if stop || self.sink_gone || (shut_down && self.shut_down()) {
                break;
            }
            let now_ms = monotonic_ms();
            self.connect(now_ms);
            self.finish_turn(now_ms);
            events.clear();
            let timeout = rustix::event::Timespec::try_from(Duration::from_millis(self.timeout_ms(now_ms)))
                .expect("a few seconds are a valid time-out");
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!("the engine cannot wait for events: {error}");
                    break;
                }
            }
            for event in &events {
                match event.data.u64() {
                    TOKEN_BELL => self.bell.silence(),
                    TOKEN_LAUNCHER => self.on_launcher(),
                    slot_id => self.on_slot(slot_id),
                }
            }
            if self.adopted {
                self.take_calls();
            }
        }
        self.tell_all(monotonic_ms());
        self.write_acknowledged();
        lock(&self.bell.state).ended = true;
        self.bell.ended.notify_all();
    }

    /// Ends everything; true when the launcher is gone.
    fn shut_down(&mut self) -> bool {
        if !self.shutting_down && self.connection.channel.is_some() {
            self.shutting_down = true;
            self.connection.send(ToLauncherBody::Shutdown(Empty {}));
        }
        self.shutting_down && self.connection.channel.is_none()
    }

    fn timeout_ms(&self, now_ms: u64) -> u64 {
        let mut until_ms = now_ms + 5_000;
        if self.connection.channel.is_none() {
            until_ms = until_ms.min(self.connection.next_attempt_ms);
        }
        if !(self.tasks.by_id.is_empty() && self.acknowledged.is_empty() && self.ended.is_empty()) {
            until_ms = until_ms.min(self.next_resend_ms);
        }
        let mut events_ms = if self.untold.is_empty() { u64::MAX } else { now_ms };
        for agent in self.agents.iter().filter(|_| self.adopted && !self.suppressed) {
            events_ms = events_ms.min(agent.next_offer_ms(now_ms).unwrap_or(u64::MAX));
        }
        until_ms = until_ms.min(events_ms.max(self.next_tell_ms()));
        until_ms = until_ms.min(self.slots.reconsider_ms().map_or(u64::MAX, |pause_ms| now_ms + pause_ms));
        until_ms.saturating_sub(now_ms)
    }

    fn connect(&mut self, now_ms: u64) {
        if self.connection.channel.is_some() {
            return;
        }
        self.connection.reap();
        if self.shutting_down || now_ms < self.connection.next_attempt_ms {
            return;
        }
        if self.connection.attempt(&self.options.executable, &self.directory, self.epoch, now_ms) {
            if let Some(channel) = &self.connection.channel
                && let Err(error) = add_to_epoll(&self.epoll, channel, TOKEN_LAUNCHER)
            {
                tracing::error!("the launcher's connection cannot be waited for: {error}");
                self.connection.lost(now_ms);
            }
        } else if now_ms.saturating_sub(self.connection.down_since_ms) > LAUNCHER_MS_MAX {
            self.fail_waiting();
        }
    }

    fn on_launcher(&mut self) {
        let Some(channel) = &mut self.connection.channel else { return };
        channel.flush();
        channel.receive();
        let mut messages = Vec::new();
        loop {
            match channel.next_message::<FromLauncher>() {
                Ok(Some(FromLauncher { body: Some(FromLauncherBody::SlotReady(ready)) })) => {
                    let descriptor = channel.next_descriptor();
                    messages.push((FromLauncherBody::SlotReady(ready), descriptor));
                }
                Ok(Some(message)) => messages.extend(message.body.map(|body| (body, None))),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!("the launcher cannot be understood: {error}");
                    break;
                }
            }
        }
        let ended = channel.is_ended();
        for (message, descriptor) in messages {
            match message {
                FromLauncherBody::Welcome(welcome) => self.on_welcome(&welcome),
                FromLauncherBody::Refused(refused) => {
                    tracing::error!("another engine serves this directory: {}", refused.reason);
                    self.sink_gone = true;
                }
                FromLauncherBody::SlotReady(ready) => self.on_slot_ready(&ready, descriptor),
                FromLauncherBody::SlotFailed(failed) => self.on_slot_failed(failed.slot_id, &failed.reason),
                FromLauncherBody::SlotEnded(ended) => self.on_slot_ended(ended.slot_id, &ended.run_directory),
                FromLauncherBody::InventoryEnd(_) => self.on_inventory_end(),
            }
        }
        if ended {
            if !self.shutting_down {
                tracing::warn!("the launcher of tasks has ended; starting it anew");
            }
            // What it was asked for is asked of the next one.
            self.slots.forget_orders();
            self.connection.lost(monotonic_ms());
        } else if let Some(channel) = &self.connection.channel {
            update_interest(&self.epoll, channel, TOKEN_LAUNCHER);
        }
    }

    fn on_welcome(&mut self, welcome: &Welcome) {
        if !self.adopted && self.connection.end_launcher_of_other_program(&self.options.executable, welcome.pid) {
            tracing::info!(
                "the launcher of tasks was of another program; its tasks go on, and another one takes its place"
            );
        } else if welcome.program_version != env!("CARGO_PKG_VERSION") {
            tracing::info!("the launcher is of version {}; it goes on with its tasks", welcome.program_version);
        }
        self.knows_containers = welcome.knows_containers;
        if self.said_unenforced {
            return;
        }
        self.said_unenforced = true;
        let missing = match (welcome.enforces_memory, welcome.enforces_cpu) {
            (true, true) => None,
            (false, false) => Some("cpu and memory limits are"),
            (false, true) => Some("memory limits are"),
            (true, false) => Some("cpu limits are"),
        };
        let notice = missing.map(|missing| format!("No cgroup rights: {missing} not enforced."));
        if let Some(notice) = &notice {
            tracing::warn!("{notice} ({})", welcome.unenforced_reason);
        }
        self.bell.set_notice(notice);
    }

    fn on_slot(&mut self, slot_id: u64) {
        let Some(channel) = self.channels.get_mut(&slot_id) else { return };
        channel.flush();
        channel.receive();
        let mut messages = Vec::new();
        while let Ok(Some(message)) = channel.next_message::<FromSlot>() {
            messages.extend(message.body);
        }
        let ended = channel.is_ended();
        if !ended {
            update_interest(&self.epoll, channel, slot_id);
        }
        for message in messages {
            match message {
                FromSlotBody::Status(status) => self.on_status(slot_id, status),
                FromSlotBody::Idle(_) => drop(self.on_idle(slot_id)),
                FromSlotBody::Retiring(_) => self.slots.retire(slot_id),
                FromSlotBody::LaunchRefused(refused) => self.on_refused(slot_id, refused),
            }
        }
        if ended {
            // The launcher tells of its end once its run is completed.
            self.channels.remove(&slot_id);
            self.slots.retire(slot_id);
        }
    }

    /// What follows from all that happened in a turn: slots to be asked for, offers, repetitions.
    fn finish_turn(&mut self, now_ms: u64) {
        self.order_slots(now_ms);
        if self.adopted && now_ms >= self.next_resend_ms {
            self.next_resend_ms = now_ms + RESEND_LOOK_MS;
            self.resend(now_ms);
            self.write_acknowledged();
            self.connection.reap();
        }
        if now_ms < self.next_tell_ms() {
            return;
        }
        if self.adopted && !self.suppressed && !self.shutting_down {
            let offers: Vec<_> = self.agents.iter_mut().filter_map(|agent| agent.make_offer(now_ms)).collect();
            if !offers.is_empty() {
                self.tell(Event::Offers(offers));
            }
        }
        self.tell_all(now_ms);
    }

    /// Has an event told at the end of the turn, or a moment later.
    fn tell(&mut self, event: Event) {
        self.untold.push(event);
    }

    /// When events may be told, monotonic milliseconds.
    fn next_tell_ms(&self) -> u64 {
        if self.slots.has_waiting() && self.untold.len() < UNTOLD_MAX { self.told_ms + TELL_INTERVAL_MS } else { 0 }
    }

    fn tell_all(&mut self, now_ms: u64) {
        if self.untold.is_empty() {
            return;
        }
        self.told_ms = now_ms;
        let events = std::mem::take(&mut self.untold);
        self.sink_gone = self.sink_gone || !self.sink.send_all(events);
    }

    /// Appends to the file of acknowledged tasks. It spares the next engine work and repetitions; losing its end is harmless.
    fn write_acknowledged(&mut self) {
        if let Some(collector) = &self.collector
            && !self.ended.is_empty()
        {
            collector.add(std::mem::take(&mut self.ended));
        }
        if self.acknowledged.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.acknowledged);
        let written = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.acknowledged())
            .and_then(|mut file| io::Write::write_all(&mut file, &lines));
        if let Err(error) = written {
            tracing::warn!("{}: {error}", self.directory.acknowledged().display());
        }
        self.acknowledged_bytes += lines.len();
        if self.acknowledged_bytes > ACKNOWLEDGED_BYTES_MAX {
            self.rewrite_acknowledged();
        }
    }
}

fn add_to_epoll(epoll: &OwnedFd, channel: &Channel, token: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, channel.as_fd(), epoll::EventData::new_u64(token), interest(channel))?)
}

fn update_interest(epoll: &OwnedFd, channel: &Channel, token: u64) {
    if channel.wants_to_send() {
        let _ = epoll::modify(epoll, channel.as_fd(), epoll::EventData::new_u64(token), interest(channel));
    }
}

fn interest(channel: &Channel) -> epoll::EventFlags {
    if channel.wants_to_send() { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

/// Time since boot in milliseconds.
fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Wall time in milliseconds since the epoch.
fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
