//! The host of the loop: its thread, the way in, and where released effects go. What to do is decided in the core, not here.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Engine, Event, EventSink};
use gateway::{Door, Gateway};
use node::inbox::{Inbox, Lane, Limits, Sender};
use node::storage::{Epoch, Storage, StorageError};
use node::{Clock, Entropy, Node, Now, Outlet, Turn};
use scheduler::{Effect, Input, Scheduler, Transition, View};

use crate::coordinator::CoordinatorClient;
use crate::webhook::Webhook;

/// A bell that one thread waits for and all others ring.
#[derive(Clone, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    /// Wakes the loop.
    pub fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }

    /// Waits for the bell, at most this long.
    fn wait(&self, limit: Duration) {
        let mut rung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung {
            rung = self.0.1.wait_timeout(rung, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}

/// The way in for users' commands.
pub struct LoopDoor(pub Sender<Input>);

impl Door for LoopDoor {
    fn enter(&self, lane: gateway::Lane, input: Input) -> bool {
        let lane = match lane {
            gateway::Lane::Urgent => Lane::Urgent,
            gateway::Lane::Normal => Lane::Normal,
        };
        self.0.try_send(lane, input).is_ok()
    }
}

/// The way in for the engine's events.
pub struct LoopSink(pub Sender<Input>);

impl EventSink for LoopSink {
    fn send(&self, event: Event) -> bool {
        self.0.send(Lane::Engine, Input::Engine(event)).is_ok()
    }

    fn send_all(&self, events: Vec<Event>) -> bool {
        self.0.send_all(Lane::Engine, events.into_iter().map(Input::Engine))
    }
}

/// The system's clocks. Copies share one origin.
#[derive(Clone)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

/// The wall clock in ms since the epoch.
pub fn wall_clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

impl Clock for SystemClock {
    fn now(&mut self) -> Now {
        Now { wall_ms: wall_clock_ms(), monotonic_ms: self.started.elapsed().as_millis() as u64 }
    }
}

/// The system's generator of unforeseeable numbers.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        let mut filled = 0;
        while filled < seed.len() {
            match rustix::rand::getrandom(&mut seed[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the system gives no random numbers: {error}"),
            }
        }
        seed
    }
}

/// Where released effects go: answers and views to the gateway, calls to the engine, transitions to the log.
pub struct LoopOutlet {
    /// The door's other side.
    pub gateway: Arc<Gateway>,
    /// Asks the coordinators of SLA policies.
    pub coordinators: CoordinatorClient,
    /// Tells a program of the operator's of changes.
    pub webhook: Webhook,
    /// Runs tasks.
    pub engine: Box<dyn Engine + Send>,
    /// Set once another scheduler took this one's place, with what is known of it. The loop's host stops then.
    pub deposed: Arc<OnceLock<String>>,
}

impl Outlet<Scheduler> for LoopOutlet {
    fn publish(&mut self, view: Arc<View>) {
        self.gateway.publish(view);
    }

    fn release(&mut self, epoch: Epoch, effects: Vec<Effect>) {
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { request, reply } => self.gateway.deliver(request, reply),
                Effect::Engine(call) => calls.push(call),
                Effect::AskCoordinator(question) => self.coordinators.ask(*question),
                Effect::Transition(transition) => {
                    log(&transition);
                    self.webhook.tell(&transition, &self.gateway.view());
                    self.gateway.announce(Arc::new(transition));
                }
                Effect::Notice(sentence) => tracing::warn!("{sentence}"),
                // The first reason is the one that counts.
                Effect::Stop { reason } => drop(self.deposed.set(reason)),
            }
        }
        if !calls.is_empty() {
            self.engine.call(epoch.0, calls);
        }
    }

    fn is_congested(&self) -> bool {
        self.engine.is_congested()
    }
}

/// One line per transition: job key, task id, from, to, reason.
fn log(transition: &Transition) {
    let name = |status: Option<model::TaskStatus>, none: &'static str| status.map_or(none, model::TaskStatus::name);
    tracing::info!(
        job = %format_args!("{}/{}", transition.job, transition.instance),
        task = %transition.task_id,
        from = name(transition.from, "NEW"),
        to = name(transition.to, "DELETED"),
        reason = transition.reason.as_deref().unwrap_or(""),
        "transition"
    );
}

/// Where those wait who asked for a snapshot.
#[derive(Default)]
pub struct SnapshotDesk(Mutex<Waiting>);

/// Whom a snapshot's end is told to.
type Told = tokio::sync::oneshot::Sender<Result<(), String>>;

#[derive(Default)]
struct Waiting {
    /// Of the one that is to be begun.
    next: Vec<Told>,
    /// Of the one under way.
    present: Vec<Told>,
}

impl SnapshotDesk {
    /// Takes a place in the queue; the answer comes once a snapshot is durable that was begun after this. Ring the loop's bell.
    pub fn ask(&self) -> tokio::sync::oneshot::Receiver<Result<(), String>> {
        let (told, answer) = tokio::sync::oneshot::channel();
        self.waiting().next.push(told);
        answer
    }

    fn attend<S: Storage>(&self, node: &mut Node<Scheduler, S, SystemClock, LoopOutlet>) {
        let mut waiting = self.waiting();
        if let Some(outcome) = node.take_snapshot_outcome() {
            for told in waiting.present.drain(..) {
                // Whoever asked may have gone away.
                let _ = told.send(outcome.clone().map(|_| ()));
            }
        }
        if waiting.present.is_empty() && !waiting.next.is_empty() {
            waiting.present = std::mem::take(&mut waiting.next);
            node.ask_for_snapshot();
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An inbox whose bell is `waker`.
pub fn inbox(waker: &Waker) -> (Sender<Input>, Inbox<Input>) {
    let bell = waker.clone();
    let (sender, inbox) = node::inbox::inbox(Limits::default(), Arc::new(move || bell.ring()));
    (sender, inbox.weighing(Input::work))
}

/// Longest wait between two looks at the stop flag.
const IDLE: Duration = Duration::from_secs(1);

/// Turns the loop until `stop` says so or the storage fails.
pub fn run<S: Storage>(
    mut node: Node<Scheduler, S, SystemClock, LoopOutlet>,
    mut clock: SystemClock,
    waker: &Waker,
    stop: &dyn Fn() -> bool,
    snapshots: &SnapshotDesk,
) -> Result<S, StorageError> {
    while !stop() {
        snapshots.attend(&mut node);
        let limit = match node.turn()? {
            Turn::Again => continue,
            Turn::WaitUntil(None) => IDLE,
            Turn::WaitUntil(Some(wake_ms)) => {
                IDLE.min(Duration::from_millis(wake_ms.saturating_sub(clock.now().monotonic_ms)))
            }
        };
        waker.wait(limit);
    }
    Ok(node.into_storage())
}
