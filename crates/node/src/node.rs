//! [`Node`]: recovery, then one call per turn of the loop.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::inbox::Inbox;
use crate::ports::{Clock, Core, Entropy, Now, Outlet};
use crate::release::{Held, ReleaseQueue};
use crate::storage::{Epoch, Group, Position, Progress, Record, Recovered, Space, Storage, StorageError};

/// How often is looked whether what was released has been sent on, in ms.
const CONGESTION_LOOK_MS: u64 = 2;

/// Bounds and rhythms of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Inputs in one turn at most.
    pub inputs_per_turn: usize,
    /// While inputs wait, a step that was cut goes on only after this many of them: what it does brings inputs of its own, and they
    /// must not pile up.
    pub inputs_per_resume: usize,
    /// A turn ends early when its records reach this size, in bytes.
    pub group_bytes: usize,
    /// Turns that may wait for the disk; beyond, no input is taken.
    pub held_turns: usize,
    /// Bytes of records that may wait for the disk; beyond, no input is taken.
    pub held_bytes: usize,
    /// A snapshot is due when the log since the last one is longer than this and than the last snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// However large the last snapshot was, the next is due at this length of the log, in bytes: it bounds what a recovery
    /// has to replay.
    pub snapshot_bytes_max: u64,
    /// A snapshot is due after this time if anything was logged since the last one, in ms.
    pub snapshot_interval_ms: u64,
    /// After a snapshot failed, or while space is low, the next is tried after this time, in ms.
    pub snapshot_retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            inputs_per_turn: 512,
            inputs_per_resume: 8192,
            group_bytes: 1 << 20,
            held_turns: 1024,
            held_bytes: 32 << 20,
            snapshot_bytes: 64 << 20,
            snapshot_bytes_max: 256 << 20,
            snapshot_interval_ms: 60 * 60 * 1000,
            snapshot_retry_ms: 60 * 1000,
        }
    }
}

/// When the next turn is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once: there is more to do.
    Again,
    /// When the bell rings (an input, or progress of the storage), at the latest at this monotonic time in ms.
    WaitUntil(Option<u64>),
}

/// What a node is made of.
pub struct Parts<C: Core, S, K, O> {
    /// The state machine, empty.
    pub core: C,
    /// Where its records are.
    pub storage: S,
    /// The time.
    pub clock: K,
    /// Where released effects go.
    pub outlet: O,
    /// Where inputs come from.
    pub inbox: Inbox<C::Input>,
    /// Bounds and rhythms.
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The empty group that begins the reign is not durable yet: nothing may be stepped.
    Opening,
    Running,
}

/// The loop.
///
/// One thread calls [`Node::turn`] whenever the bell rang or the time it named has come. No call waits for anything.
pub struct Node<C: Core, S: Storage, K: Clock, O: Outlet<C>> {
    core: C,
    storage: S,
    clock: K,
    outlet: O,
    inbox: Inbox<C::Input>,
    settings: Settings,
    phase: Phase,
    epoch: Epoch,
    /// The newest group handed to the storage.
    appended: Position,
    /// Inputs taken from the inbox and not yet stepped.
    taken: VecDeque<C::Input>,
    /// Inputs of the loop itself; they go first.
    own: VecDeque<C::Input>,
    wants_resume: bool,
    /// Inputs stepped since a step that was cut went on, or was cut.
    since_resume: usize,
    /// The inbox held more than a turn takes.
    more_waits: bool,
    space_low: bool,
    queue: ReleaseQueue<Arc<C::View>, C::Effect>,
    /// The newest published view: durable, so fit for a snapshot.
    published: (Position, Epoch, Arc<C::View>),
    snapshots: SnapshotRhythm,
    asked: AskedSnapshot,
    failure: Option<StorageError>,
}

/// When snapshots were begun.
#[derive(Clone, Copy, Debug, Default)]
struct SnapshotRhythm {
    /// When the last one was begun, or the node recovered; monotonic.
    begun_ms: u64,
    /// The position of the last one, or the recovered one.
    position: Position,
}

/// A snapshot that somebody waits for.
#[derive(Clone, Debug, Default)]
struct AskedSnapshot {
    /// One is to be begun as soon as none is under way.
    wanted: bool,
    /// The one that was begun for those who asked.
    begun: Option<Position>,
    /// How it went, until that is taken.
    outcome: Option<Result<Position, String>>,
}

impl<C: Core, S: Storage, K: Clock, O: Outlet<C>> Node<C, S, K, O> {
    /// Recovers the state from the storage, publishes it, and begins a new reign.
    pub fn recover(parts: Parts<C, S, K, O>, entropy: &mut dyn Entropy) -> Result<(Self, Recovered), StorageError> {
        let Parts { mut core, mut storage, mut clock, mut outlet, inbox, settings } = parts;
        let recovered = storage.recover(&mut |record: Record| core.apply(record))?;
        let now = clock.now();
        let view = Arc::new(core.freeze(recovered.position, now));
        outlet.publish(Arc::clone(&view));
        let epoch = recovered.epoch.next();
        let appended = recovered.position.next();
        storage.append(Group { epoch, position: appended, records: Vec::new() })?;
        let node = Node {
            core,
            storage,
            clock,
            outlet,
            inbox,
            settings,
            phase: Phase::Opening,
            epoch,
            appended,
            taken: VecDeque::new(),
            own: VecDeque::from([C::start(entropy.seed(), epoch)]),
            wants_resume: false,
            since_resume: 0,
            more_waits: false,
            space_low: false,
            queue: ReleaseQueue::new(),
            published: (recovered.position, recovered.epoch, view),
            snapshots: SnapshotRhythm { begun_ms: now.monotonic_ms, position: recovered.position },
            asked: AskedSnapshot::default(),
            failure: None,
        };
        Ok((node, recovered))
    }

    /// The present reign.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The core, for those who look at it between turns.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// The storage, for statistics.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Asks for a snapshot of what is durable when it is begun: now, or when the one under way has ended.
    pub fn ask_for_snapshot(&mut self) {
        self.asked.wanted = true;
    }

    /// How the snapshot went that was asked for, once: the position it holds, or why it failed.
    pub fn take_snapshot_outcome(&mut self) -> Option<Result<Position, String>> {
        self.asked.outcome.take()
    }

    /// How many turns wait for the disk.
    pub fn held_turns(&self) -> usize {
        self.queue.len()
    }

    /// Ends the node and gives the parts back that outlive it. What was not released never will be.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Takes what waits, decides, hands the records to the storage, and releases what has become durable.
    ///
    /// An error ends the node: nothing of the failed group or a later one was or will be released, and every later call
    /// gives the same error. The process should end; the next start replays what is durable.
    pub fn turn(&mut self) -> Result<Turn, StorageError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.try_turn().inspect_err(|error| {
            self.queue.clear();
            self.failure = Some(error.clone());
        })
    }

    fn try_turn(&mut self) -> Result<Turn, StorageError> {
        let progress = self.storage.progress()?;
        self.release(progress.durable);
        self.note_space(&progress.space);
        if self.phase == Phase::Opening {
            if progress.durable < self.appended {
                return Ok(Turn::WaitUntil(None));
            }
            self.phase = Phase::Running;
        }
        if self.is_choked() {
            // The storage rings when it has caught up.
            return Ok(Turn::WaitUntil(None));
        }
        let now = self.clock.now();
        self.collect_inputs(now);
        if self.step_all(now)? {
            let progress = self.storage.progress()?;
            self.release(progress.durable);
        }
        self.maybe_snapshot(now, &progress)?;
        Ok(self.next_turn(now))
    }

    fn is_choked(&self) -> bool {
        self.queue.len() >= self.settings.held_turns || self.queue.bytes() >= self.settings.held_bytes
    }

    fn note_space(&mut self, space: &Space) {
        let low = matches!(space, Space::Low { .. });
        if low != self.space_low {
            self.space_low = low;
            match self.phase {
                // Before the start, which would go on with whatever it finds to do; what was said last goes last.
                Phase::Opening => self.own.insert(self.own.len().saturating_sub(1), C::space_low(low)),
                Phase::Running => self.own.push_back(C::space_low(low)),
            }
        }
    }

    /// The loop's own inputs first, then the lanes by weight, and at the end the continuation of a step that was cut, so
    /// that long work alternates with everything else.
    fn collect_inputs(&mut self, now: Now) {
        if self.core.next_wake().is_some_and(|wake| wake <= now.monotonic_ms) {
            self.own.push_back(C::tick());
        }
        let most = self.settings.inputs_per_turn.saturating_sub(self.taken.len());
        if most > 0 {
            self.more_waits = self.inbox.take(most, &mut self.taken);
        }
    }

    /// Steps what was collected and hands its records over as one group. Whether anything was stepped.
    fn step_all(&mut self, now: Now) -> Result<bool, StorageError> {
        let (mut records, mut effects) = (Vec::new(), Vec::new());
        let (mut bytes, mut stepped) = (0, 0);
        let wanted_resume = std::mem::take(&mut self.wants_resume);
        while stepped < self.settings.inputs_per_turn && bytes < self.settings.group_bytes {
            let Some(input) = self.own.pop_front().or_else(|| self.taken.pop_front()) else { break };
            bytes += self.step(now, input, &mut records, &mut effects);
            stepped += 1;
        }
        self.since_resume = if wanted_resume { self.since_resume + stepped } else { 0 };
        if wanted_resume && self.may_resume() {
            (self.wants_resume, self.since_resume) = (false, 0);
            bytes += self.step(now, C::resume(), &mut records, &mut effects);
            stepped += 1;
        } else {
            self.wants_resume |= wanted_resume;
        }
        if stepped == 0 {
            return Ok(false);
        }
        if !records.is_empty() {
            self.appended = self.appended.next();
            self.storage.append(Group { epoch: self.epoch, position: self.appended, records })?;
        }
        let view = Arc::new(self.core.freeze(self.appended, now));
        self.queue.hold(Held { position: self.appended, view, effects, bytes });
        Ok(true)
    }

    /// Whether a step that was cut may go on: not while its calls would only wait, nor much faster than inputs are taken.
    fn may_resume(&self) -> bool {
        let inputs_wait = self.more_waits || !self.taken.is_empty();
        !self.outlet.is_congested() && (!inputs_wait || self.since_resume >= self.settings.inputs_per_resume)
    }

    fn step(&mut self, now: Now, input: C::Input, records: &mut Vec<Record>, effects: &mut Vec<C::Effect>) -> usize {
        let step = self.core.step(now, input);
        let bytes = step.records.iter().map(Record::size_bytes).sum();
        records.extend(step.records);
        effects.extend(step.effects);
        self.wants_resume |= step.more;
        bytes
    }

    fn release(&mut self, durable: Position) {
        while let Some(held) = self.queue.next_durable(durable) {
            self.published = (held.position, self.epoch, Arc::clone(&held.view));
            self.outlet.publish(held.view);
            if !held.effects.is_empty() {
                self.outlet.release(self.epoch, held.effects);
            }
        }
    }

    fn maybe_snapshot(&mut self, now: Now, progress: &Progress) -> Result<(), StorageError> {
        if let Some(position) = self.asked.begun.take_if(|_| !progress.snapshot_running) {
            self.asked.outcome = Some(progress.snapshot_failure.clone().map_or(Ok(position), Err));
        }
        let asked = self.asked.wanted && !progress.snapshot_running;
        if !asked && !self.is_snapshot_due(now, progress) {
            return Ok(());
        }
        let (position, epoch, view) = &self.published;
        if asked {
            (self.asked.wanted, self.asked.begun) = (false, Some(*position));
        }
        self.snapshots = SnapshotRhythm { begun_ms: now.monotonic_ms, position: *position };
        self.storage.start_snapshot(*position, *epoch, C::records_of(view))
    }

    fn is_snapshot_due(&self, now: Now, progress: &Progress) -> bool {
        let since_ms = now.monotonic_ms.saturating_sub(self.snapshots.begun_ms);
        let logged = progress.bytes_since_snapshot;
        if progress.snapshot_running || logged == 0 || self.published.0 <= self.snapshots.position {
            return false;
        }
        if progress.snapshot_failure.is_some() || self.space_low {
            return since_ms >= self.settings.snapshot_retry_ms;
        }
        let Settings { snapshot_bytes, snapshot_bytes_max, .. } = self.settings;
        let enough = progress.snapshot_bytes.min(snapshot_bytes_max).max(snapshot_bytes);
        logged >= enough || since_ms >= self.settings.snapshot_interval_ms
    }

    fn next_turn(&self, now: Now) -> Turn {
        if !self.own.is_empty() || !self.taken.is_empty() || self.more_waits {
            return Turn::Again;
        }
        let look = match self.wants_resume {
            true if !self.outlet.is_congested() => return Turn::Again,
            true => Some(now.monotonic_ms + CONGESTION_LOOK_MS),
            false => None,
        };
        match self.core.next_wake() {
            Some(wake) if wake <= now.monotonic_ms => Turn::Again,
            wake => Turn::WaitUntil([wake, look].into_iter().flatten().min()),
        }
    }
}
