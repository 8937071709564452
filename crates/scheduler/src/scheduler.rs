//! The front: [`Scheduler`] takes inputs and hands out records and effects. What they mean is decided below.

use crate::core::Core;
use crate::cron::{self, Cron};
use crate::input::{Effect, Input, Now, Output};
use crate::record::{Record, RecordError};
use crate::settings::Settings;
use crate::store;
use crate::timers::Timer;
use crate::updates::Updates;
use crate::view::View;

/// The deterministic core of Daybreak. Fed with [`Self::step`]; does nothing by itself.
///
/// A life: [`Self::apply`] for every stored record, then [`Input::Start`], then whatever happens.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) core: Core,
    pub(crate) updates: Updates,
    pub(crate) cron: Cron,
    /// The step before was cut: what it left goes on with [`Input::Resume`], and with nothing else.
    cut: bool,
}

/// How far a step goes beyond its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Everything that is due or waits.
    All,
    /// Timers, and what follows from the input.
    Timers,
    /// Only what follows from the input.
    Input,
}

impl Scheduler {
    /// An empty scheduler.
    pub fn new(settings: Settings) -> Self {
        Self { core: Core::new(settings), updates: Updates::default(), cron: Cron::default(), cut: false }
    }

    /// Takes a stored record into the state. Idempotent; nothing is answered, launched or timed before [`Input::Start`].
    pub fn apply(&mut self, record: &Record) -> Result<(), RecordError> {
        self.core.store.apply(record)
    }

    /// One input, one answer. The same state, time and input give the same output, bit for bit.
    pub fn step(&mut self, now: Now, input: Input) -> Output {
        // A clock that is said to be monotonic is held to it.
        let monotonic_ms =
            if self.core.started { now.monotonic_ms.max(self.core.now.monotonic_ms) } else { now.monotonic_ms };
        self.core.now = Now { monotonic_ms, ..now };
        self.core.work = 0;
        let extent = self.extent(&input);
        if self.core.started {
            self.look_at_clock();
        }
        self.take_in(input);
        // One that was replaced decides nothing any more.
        let done = self.core.deposed || self.core.started && self.go_on(extent);
        self.cut = self.core.started && !done;
        if self.core.started && !self.core.deposed {
            self.arm_cron();
        }
        self.core.prune_after_end();
        self.core.publish_gauges();
        self.core.store.view.frozen_ms = now.wall_ms;
        Output {
            records: self.core.store.take_records(),
            effects: std::mem::take(&mut self.core.effects),
            more: self.cut,
        }
    }

    /// Whoever hosts the scheduler says when long work goes on. If every input took a share of it, a thousand statuses would wait for
    /// a million placements that bring statuses of their own.
    fn extent(&self, input: &Input) -> Extent {
        match input {
            Input::Resume | Input::Start { .. } => Extent::All,
            _ if !self.cut => Extent::All,
            Input::Tick => Extent::Timers,
            _ => Extent::Input,
        }
    }

    fn take_in(&mut self, input: Input) {
        match input {
            // Whatever happens is the other scheduler's affair; only who asks is told so.
            Input::Engine(_) | Input::SpaceLow(_) | Input::CoordinatorAnswer { .. } if self.core.deposed => {}
            Input::Start { seed, epoch } => self.start(seed, epoch),
            Input::Tick | Input::Resume => {}
            Input::Command { request, principal, command, idempotency } => {
                let reply = self.answer(&principal, command, idempotency);
                self.core.effects.push(Effect::Reply { request, reply });
            }
            Input::Engine(event) => self.engine_event(event),
            Input::CoordinatorAnswer { question, answer } => self.coordinator_answered(question, answer),
            Input::SpaceLow(low) => self.space_low(low),
        }
    }

    /// While the journal is short of room nothing is accepted and no update goes further; once there is room, updates go on.
    fn space_low(&mut self, low: bool) {
        let was_low = std::mem::replace(&mut self.core.space_low, low);
        self.core.store.view.space_low = low;
        self.core.gauge("journal_space_low", low.into());
        if was_low && !low && self.core.started {
            self.updates_go_on();
        }
    }

    /// Timers that are due, what follows from changes, and placement, until nothing is left or the step's work is used up.
    /// True when nothing is left.
    fn go_on(&mut self, extent: Extent) -> bool {
        loop {
            self.follow_changes();
            if !self.core.may_work() || extent == Extent::Input {
                return false;
            }
            if let Some(timer) = self.core.timers.pop_due(self.core.now.monotonic_ms) {
                self.fire(timer);
                continue;
            }
            if extent == Extent::Timers {
                return false;
            }
            match self.cron_turn() {
                cron::Turn::Worked => continue,
                cron::Turn::Enough => {
                    self.follow_changes();
                    return false;
                }
                cron::Turn::Idle => {}
            }
            if !self.core.reconcile_some()
                || !self.core.drain_some()
                || !self.core.search_slots()
                || !self.core.place_groups()
            {
                self.follow_changes();
                return false;
            }
            if self.core.changes.is_empty() {
                return true;
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        let core = &mut self.core;
        match timer {
            Timer::Transient(id, status) => core.transient_timed_out(&id, status),
            Timer::Silent(id, status) => core.silent_for_long(&id, status),
            Timer::AskGivenUp => core.ask_given_up_on_schedule(),
            Timer::KillRetry(id, last_ms) => core.retry_kill(&id, last_ms),
            Timer::Throttle(id) => core.end_throttle(&id),
            Timer::Partition(id) => core.end_partition(&id),
            Timer::Group(number) => core.wake_group(number),
            Timer::Offer(offer) => core.give_back_offer(&offer),
            Timer::SlotSearch => core.begin_slot_search(),
            Timer::Reservation(number) => core.end_reservation(number),
            Timer::Affinity(job, instance) => core.affinity_expired(&job, instance),
            Timer::PruneJob(job) => core.prune_job(&job),
            Timer::PruneUpdates => self.prune_updates(),
            Timer::Watch(key, instance) => self.watch_ended(&key, instance),
            Timer::SlaKill(key, instance) => self.retry_sla_kill(&key, instance),
            Timer::Cron => self.cron_woke(),
            Timer::Reconcile => core.reconcile_on_schedule(),
            Timer::ReconcileImplicit => core.reconcile_implicitly_on_schedule(),
            Timer::ReconcileNext => core.end_reconciliation_pause(),
            Timer::MasterGrace => core.end_grace(),
            Timer::MaintenancePoll => core.poll_maintenance(),
            Timer::DrainDeadline(host) => core.drain_deadline(&host),
            Timer::DrainRecheck(job) => core.recheck_job(&job),
            Timer::CoordinatorSilence(question) => self.coordinator_silent(question),
            Timer::ForgetAnswers => core.forget_answers(),
            Timer::Idle => core.fall_idle(),
        }
    }

    /// When the next [`Input::Tick`] is wanted, on the monotonic clock of the steps; `None` when nothing is waited for.
    pub fn next_wake(&self) -> Option<u64> {
        if self.core.deposed {
            return None;
        }
        self.core.timers.next_deadline_ms()
    }

    /// The state as it is now, for readers. Takes constant time; `position` is the caller's to fill in.
    pub fn freeze(&self) -> View {
        self.core.store.view.clone()
    }

    /// Everything durable of a frozen view, in an order that can be replayed. Needs no scheduler and works in any thread.
    pub fn records(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
        store::records(view)
    }

    /// Agents examined and index nodes visited by placement so far, for measurements.
    pub fn placement_work(&self) -> PlacementWork {
        PlacementWork { agents_examined: self.core.book.examined, nodes_visited: self.core.book.visited }
    }
}

/// How much placement has looked at since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlacementWork {
    /// Agents to which the whole filter was applied.
    pub agents_examined: u64,
    /// Nodes of the index of offers.
    pub nodes_visited: u64,
}
