//! Asking the engine how tasks are (spec scheduler 6.5), and what to make of its answers while a new leader is still learning
//! (spec mesos 3.6, 3.7).
//!
//! Explicit: every placed task is named, in batches with a pause between them. Implicit: the engine tells of every task it knows,
//! so that those nobody knows here come to light. Both begin at once with every new connection, and come again on schedule.
//!
//! **The word of a new leader.** A master that was just elected knows only the tasks of agents that have come back to it. Asked
//! about another, it may say that the task is lost or out of reach, though it runs. So for [`Settings::master_failover_grace`]
//! after a leader was first seen, such an answer about a task that was placed before is not believed; when the time is over,
//! everything is asked about again and answers count.
//!
//! [`Settings::master_failover_grace`]: crate::Settings::master_failover_grace

use std::ops::Bound::{Excluded, Unbounded};

use engine::{AgentId, Call, Reason, StatusUpdate, TaskState};
use model::{TaskId, TaskStatus};

use crate::core::{Core, ms};
use crate::silence::Silence;
use crate::timers::{Timer, TimerKey};

/// Stored tasks looked at before the walk checks whether the step may go on.
const LOOK: usize = 4096;

/// What is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconciliation {
    /// The walk over all placed tasks; none when everything was asked.
    walk: Option<Walk>,
    /// Ends the wait between two batches.
    pause: Option<TimerKey>,
    /// How many leaders this process has met: the number of the present one, from 1 on.
    leaders_met: u32,
    /// Until then a new leader is not believed; on the monotonic clock, because a wall clock that is set back must not prolong it.
    grace_until_ms: u64,
    /// Ends that time.
    grace: Option<TimerKey>,
    /// Whether it was said in this time that answers are doubted.
    doubt_told: bool,
    /// Tasks that are asked about on other grounds than the schedule.
    pub(crate) silence: Silence,
}

impl Reconciliation {
    /// Whether not all tasks were asked about yet.
    pub(crate) fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// Number of the present leader; never 0.
    pub(crate) fn leader(&self) -> u32 {
        self.leaders_met + 1
    }
}

/// How far a walk has come.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// The last task looked at.
    after: Option<TaskId>,
    /// To be asked about in the next batch.
    asked: Vec<(TaskId, Option<AgentId>)>,
    /// Tasks per batch, where that is not the operator's setting.
    batch_size: Option<usize>,
}

impl Core {
    /// Arranges the first run of each kind on Aurora's schedule; those at the connection come on top.
    pub(crate) fn arm_reconciliation(&mut self) {
        let first_ms = ms(self.settings.reconciliation_initial_delay);
        if self.settings.reconciliation_explicit_interval.is_some() {
            self.arm_after(first_ms.max(1), Timer::Reconcile);
        }
        if self.settings.reconciliation_implicit_interval.is_some() {
            let spread_ms = ms(self.settings.reconciliation_schedule_spread);
            self.arm_after(first_ms.saturating_add(spread_ms).max(1), Timer::ReconcileImplicit);
        }
    }

    /// A new connection: everything is asked about at once, from both sides.
    pub(crate) fn reconcile_at_connection(&mut self) {
        self.stop_reconciliation();
        self.begin_reconciliation();
        if self.settings.reconciliation_implicit_interval.is_some() {
            self.reconcile_implicitly();
        }
        self.arm_grace();
    }

    /// The connection is gone, and with it whatever was asked.
    pub(crate) fn stop_reconciliation(&mut self) {
        let silence = std::mem::take(&mut self.reconciliation.silence);
        let Reconciliation { leaders_met, grace_until_ms, .. } = self.reconciliation;
        let fresh = Reconciliation { leaders_met, grace_until_ms, silence, ..Reconciliation::default() };
        let Reconciliation { pause, grace, .. } = std::mem::replace(&mut self.reconciliation, fresh);
        [pause, grace].into_iter().flatten().for_each(|timer| self.timers.cancel(timer));
        self.silence_at_connection();
    }

    /// Every placed task is asked about, from the first on.
    pub(crate) fn begin_reconciliation(&mut self) {
        self.count("reconciliation_explicit_runs", 1);
        if let Some(timer) = self.reconciliation.pause.take() {
            self.timers.cancel(timer);
        }
        self.reconciliation.walk = Some(Walk::default());
        self.ask_about_given_up();
    }

    /// The same in batches of that many.
    pub(crate) fn begin_reconciliation_in_batches(&mut self, batch_size: Option<usize>) {
        self.begin_reconciliation();
        self.reconciliation.walk = Some(Walk { batch_size, ..Walk::default() });
    }

    /// The engine tells of every task it knows.
    pub(crate) fn reconcile_implicitly(&mut self) {
        self.count("reconciliation_implicit_runs", 1);
        self.call(Call::Reconcile { tasks: Vec::new() });
    }

    /// The schedule says so: explicitly, unless that is under way, if there is anybody to ask.
    pub(crate) fn reconcile_on_schedule(&mut self) {
        if let Some(interval) = self.settings.reconciliation_explicit_interval {
            self.arm_after(ms(interval).max(1), Timer::Reconcile);
        }
        if self.store.view.registered && self.reconciliation.walk.is_none() {
            self.begin_reconciliation();
        }
    }

    /// The schedule says so: implicitly.
    pub(crate) fn reconcile_implicitly_on_schedule(&mut self) {
        if let Some(interval) = self.settings.reconciliation_implicit_interval {
            self.arm_after(ms(interval).max(1), Timer::ReconcileImplicit);
        }
        if self.store.view.registered {
            self.reconcile_implicitly();
        }
    }

    /// The pause between two batches is over.
    pub(crate) fn end_reconciliation_pause(&mut self) {
        self.reconciliation.pause = None;
    }

    /// Goes on asking. False when the step's work is used up before.
    pub(crate) fn reconcile_some(&mut self) -> bool {
        let size = self.settings.reconciliation_explicit_batch_size.max(1);
        while self.reconciliation.pause.is_none() {
            if !self.reconciliation.is_walking() && self.reconciliation.silence.is_empty() {
                return true;
            }
            if !self.may_work() {
                return false;
            }
            if let Some(full) = self.ask_soon(size) {
                self.pause_after(full);
                continue;
            }
            self.reconciliation.silence.had_turn = false;
            if let Some(walk) = self.reconciliation.walk.take() {
                self.walk_on(walk);
            }
        }
        true
    }

    /// Looks at the next tasks; a full batch is sent off. Those being killed are killed again: the order may have been lost
    /// with the connection.
    fn walk_on(&mut self, mut walk: Walk) {
        let size = walk.batch_size.unwrap_or(self.settings.reconciliation_explicit_batch_size).max(1);
        let from = walk.after.take().map_or(Unbounded, Excluded);
        let (mut killed, mut seen) = (Vec::new(), 0);
        for (id, task) in self.store.view.tasks.range((from, Unbounded)).take(LOOK) {
            seen += 1;
            walk.after = Some(id.clone());
            if task.status.is_assigned() {
                walk.asked.push((id.clone(), task.agent_id.as_deref().map(str::to_owned)));
            }
            if task.status == TaskStatus::Killing {
                killed.push(id.clone());
            }
            if walk.asked.len() == size {
                break;
            }
        }
        self.work += 1 + seen / 4;
        killed.iter().for_each(|id| self.kill(id));
        let full = walk.asked.len() == size;
        let ended = seen < LOOK && !full;
        if (full || ended) && !walk.asked.is_empty() {
            let tasks = std::mem::take(&mut walk.asked);
            self.call(Call::Reconcile { tasks });
        }
        if ended {
            return;
        }
        self.reconciliation.walk = Some(walk);
        self.pause_after(full);
    }

    fn pause_after(&mut self, full: bool) {
        let pause_ms = ms(self.settings.reconciliation_explicit_batch_interval);
        if full && pause_ms > 0 {
            self.reconciliation.pause = Some(self.arm_after(pause_ms, Timer::ReconcileNext));
        }
    }

    /// The tasks placed on an agent are asked about: nobody tells what became of them.
    pub(crate) fn ask_about_agent(&mut self, slot: usize) {
        let Some(agent) = self.book.agent(slot) else { return };
        let agent_id = agent.id.clone();
        let tasks: Vec<_> = agent.placed.iter().map(|id| (id.clone(), Some(agent_id.clone()))).collect();
        let size = self.settings.reconciliation_explicit_batch_size.max(1);
        for batch in tasks.chunks(size) {
            self.call(Call::Reconcile { tasks: batch.to_vec() });
        }
    }

    // ---- the word of a new leader ----

    /// Remembers the engine's leader. One never seen before has to learn first, if there is anything to learn.
    pub(crate) fn meet_leader(&mut self, master: Option<String>) {
        let Some(master) = master else { return };
        let known = self.store.view.master.clone();
        if known.as_deref() == Some(master.as_str()) {
            return;
        }
        if known.is_some() {
            self.count("scheduler_master_failovers", 1);
        }
        // The first one ever has nothing to learn that it was not told by this scheduler.
        let since_ms = if known.is_some() || self.any_placed() { self.now.wall_ms } else { 0 };
        self.store.set_master(master, since_ms);
        self.reconciliation.leaders_met += 1;
        self.resume_grace();
    }

    /// How much is left of the present leader's time to learn, from what is stored of it.
    pub(crate) fn resume_grace(&mut self) {
        let view = &self.store.view;
        let whole_ms = ms(self.settings.master_failover_grace);
        let left_ms = view.master.as_ref().map_or(0, |_| self.remaining_ms(view.master_since_ms, whole_ms));
        self.reconciliation.grace_until_ms = self.now.monotonic_ms.saturating_add(left_ms);
    }

    /// How long the present leader is not yet believed, in ms.
    fn grace_ms(&self) -> u64 {
        self.reconciliation.grace_until_ms.saturating_sub(self.now.monotonic_ms)
    }

    fn any_placed(&self) -> bool {
        self.book.agents().any(|(_, agent)| !agent.placed.is_empty())
    }

    fn arm_grace(&mut self) {
        let grace_ms = self.grace_ms();
        if grace_ms > 0 && self.any_placed() {
            self.reconciliation.grace = Some(self.arm_after(grace_ms, Timer::MasterGrace));
        }
    }

    /// From now on the leader is believed: everything is asked about again.
    pub(crate) fn end_grace(&mut self) {
        (self.reconciliation.grace, self.reconciliation.doubt_told) = (None, false);
        if self.store.view.registered {
            self.begin_reconciliation();
            // Agents that came back after the connection was made may run what nobody here knows.
            if self.settings.reconciliation_implicit_interval.is_some() {
                self.reconcile_implicitly();
            }
        }
    }

    /// Whether the present leader may not know yet what runs.
    pub(crate) fn is_leader_new(&self) -> bool {
        self.grace_ms() > 0
    }

    /// How long nothing is concluded about a task that was placed before the leader's time, in ms; `None` when conclusions may
    /// be drawn.
    pub(crate) fn doubt_ms(&self, id: &TaskId) -> Option<u64> {
        let grace_ms = self.grace_ms();
        if grace_ms == 0 {
            return None;
        }
        let task = self.store.view.tasks.get(id).filter(|task| task.status.is_assigned())?;
        let index = self.jobs.get(&task.config.job)?;
        // Stamps would not do: the wall clock may have been set back since.
        let launched_under = index.active.get(&task.instance).filter(|active| active.id == *id)?.leader;
        (launched_under != self.reconciliation.leader()).then_some(grace_ms)
    }

    /// Whether an answer is not believed: a new leader gives up on a task that was placed before its time.
    pub(crate) fn is_doubtful(&mut self, update: &StatusUpdate) -> bool {
        // An agent's own word, which waits to be acknowledged, is no guess.
        if update.reason != Some(Reason::Reconciliation)
            || update.token.is_some()
            || !matches!(update.state, TaskState::Lost | TaskState::Unreachable)
        {
            return false;
        }
        let doubtful = self.doubt_ms(&update.task_id).is_some();
        if doubtful && !std::mem::replace(&mut self.reconciliation.doubt_told, true) {
            let seconds = self.grace_ms() / 1000;
            self.notice(format!(
                "The engine's leader is new and does not know task {} (and perhaps others) yet. Tasks that it misses are \
                 replaced only if they are still missing in {seconds} s, when agents have had the time to come back to it.",
                update.task_id
            ));
        }
        doubtful
    }
}
