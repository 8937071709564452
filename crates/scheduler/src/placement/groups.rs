//! Groups of pending tasks: one per configuration, first in, first out, with the back-off of those that found no place (spec
//! scheduler 2.1).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use engine::Call;
use model::{Resources, TaskConfig, TaskId};

use crate::core::{Core, ms};
use crate::random::backoff_ms;
use crate::task::Task;
use crate::timers::{Timer, TimerKey};
use crate::view::{PendingReason, WaitingGroup};

/// Whether a group waits for its turn or for room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In the queue of those to be placed.
    Ready,
    /// Found no place; tried again when the timer fires, or when an agent offers room.
    Blocked {
        /// The end of the back-off.
        timer: TimerKey,
        /// Place among the blocked groups of the same demand.
        place: u64,
    },
}

/// Pending tasks of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) config: Arc<TaskConfig>,
    /// What each task takes.
    pub(crate) class: Class,
    /// By order of arrival.
    pub(crate) queue: BTreeMap<u64, TaskId>,
    /// Those that wait for one agent only, which is kept for them.
    pub(crate) homing: BTreeMap<u64, TaskId>,
    pub(crate) turn: Turn,
    /// Present back-off; 0 when the last attempt placed something.
    pub(crate) penalty_ms: u64,
    pub(crate) reason: Option<Arc<PendingReason>>,
    /// When that was worked out, on the monotonic clock.
    pub(crate) explained_ms: u64,
    /// The agent kept for this group, by slot, and the timer that ends that.
    pub(crate) reserved: Option<(usize, TimerKey)>,
    /// Bit per slot: the agent can never serve this group.
    bans: Vec<u64>,
}

impl Group {
    /// How many tasks are waiting.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.homing.len()
    }

    /// Whether the agent of a slot can never serve this group.
    pub(crate) fn is_banned(&self, slot: usize) -> bool {
        self.bans.get(slot / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// Remembers that the agent of a slot can never serve this group.
    pub(crate) fn ban(&mut self, slot: usize) {
        if self.bans.len() <= slot / 64 {
            self.bans.resize(slot / 64 + 1, 0);
        }
        self.bans[slot / 64] |= 1 << (slot % 64);
    }

    fn unban(&mut self, slot: usize) {
        if let Some(word) = self.bans.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }
}

/// Groups that ask for the same are tried together when room appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    /// Resources with executor overhead.
    pub(crate) demand: Resources,
    /// Whether CPU is taken from the revocable part.
    pub(crate) revocable: bool,
}

/// All groups, by the number of their configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) by_number: BTreeMap<u64, Group>,
    /// To be placed, in turn. May name groups that are gone or blocked by now.
    pub(crate) ready: VecDeque<u64>,
    /// Blocked groups by class, in order of who waits for a turn the longest.
    pub(crate) blocked: BTreeMap<Class, BTreeMap<u64, u64>>,
    /// Groups that preemption still has to look at in the present search.
    pub(crate) to_search: VecDeque<u64>,
    /// Whether the next search is arranged.
    pub(crate) search_armed: bool,
    /// The class that was served last.
    pub(crate) last_class: Option<Class>,
    next: u64,
}

impl Groups {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// An agent is new or has changed: what groups remember of its slot is void.
    pub(crate) fn forget_slot(&mut self, slot: usize) {
        self.by_number.values_mut().for_each(|group| group.unban(slot));
    }

    fn unlist(&mut self, number: u64, class: Class, place: u64) {
        if let Some(groups) = self.blocked.get_mut(&class) {
            debug_assert_eq!(groups.get(&place), Some(&number));
            groups.remove(&place);
            if groups.is_empty() {
                self.blocked.remove(&class);
            }
        }
    }

    /// Puts a blocked group that had its turn behind the others of its class.
    pub(crate) fn rotate(&mut self, number: u64) {
        let fresh = self.number();
        let Some(group) = self.by_number.get_mut(&number) else { return };
        let class = group.class;
        let Turn::Blocked { place, .. } = &mut group.turn else { return };
        let old = std::mem::replace(place, fresh);
        if let Some(groups) = self.blocked.get_mut(&class) {
            groups.remove(&old);
            groups.insert(fresh, number);
        }
    }
}

impl Core {
    /// A task became PENDING. Joining a group does not shorten its back-off.
    pub(crate) fn join_group(&mut self, task: &Arc<Task>) {
        let number = self.store.config_number(&task.config);
        let place = self.groups.number();
        if !self.groups.by_number.contains_key(&number) {
            let group = Group {
                config: task.config.clone(),
                class: Class {
                    demand: self.demand(&task.config),
                    revocable: self.tier_of(&task.config).is_some_and(|tier| tier.revocable),
                },
                queue: BTreeMap::new(),
                homing: BTreeMap::new(),
                turn: Turn::Ready,
                penalty_ms: 0,
                reason: None,
                explained_ms: 0,
                reserved: None,
                bans: Vec::new(),
            };
            self.groups.by_number.insert(number, group);
            self.wake_from_idleness();
            self.groups.ready.push_back(number);
            self.arm_slot_search();
        }
        let home = self.affinity.agent_for(&task.config.job, task.instance);
        let homing_reason = home.map(|agent_id| Arc::new(self.homing_reason(agent_id)));
        let group = self.groups.by_number.get_mut(&number).expect("inserted above");
        let waiting = if homing_reason.is_some() { &mut group.homing } else { &mut group.queue };
        waiting.insert(place, task.id.clone());
        if let Some(reason) = homing_reason.or_else(|| group.reason.clone()) {
            self.store.view.pending_reasons.insert(task.id.clone(), reason);
        }
        if let Some(active) = self.active_mut(task) {
            active.queue_number = Some(place);
        }
    }

    /// A task is PENDING no longer. An empty group is forgotten.
    pub(crate) fn leave_group(&mut self, task: &Task) {
        let number = self.store.config_number(&task.config);
        let place = self.active_mut(task).and_then(|active| active.queue_number.take());
        self.store.view.pending_reasons.remove(&task.id);
        let (Some(place), Some(group)) = (place, self.groups.by_number.get_mut(&number)) else { return };
        group.queue.remove(&place);
        group.homing.remove(&place);
        if group.len() == 0 {
            self.forget_group(number);
        }
    }

    fn forget_group(&mut self, number: u64) {
        self.end_reservation(number);
        let Some(group) = self.groups.by_number.remove(&number) else { return };
        if let Turn::Blocked { timer, place } = group.turn {
            self.timers.cancel(timer);
            self.groups.unlist(number, group.class, place);
            self.store.view.waiting_groups.remove(&number);
        }
        if self.groups.by_number.is_empty() {
            self.arm_idle();
        }
    }

    // ---- idleness ----

    /// Nothing is pending: if that lasts, no offers are wanted.
    fn arm_idle(&mut self) {
        if let Some(after) = self.settings.suppress_idle_after
            && self.idle.is_none()
            && !self.suppressed
        {
            self.idle = Some(self.arm_after(ms(after), Timer::Idle));
        }
    }

    /// Something is pending: offers are wanted, at once.
    fn wake_from_idleness(&mut self) {
        if let Some(timer) = self.idle.take() {
            self.timers.cancel(timer);
        }
        if std::mem::take(&mut self.suppressed) && self.store.view.registered {
            self.count("offers_revived", 1);
            self.book.gave_back = false;
            self.call(Call::Revive);
        }
    }

    /// Nothing has been pending for long enough: others may have what is free, and what is held goes back.
    pub(crate) fn fall_idle(&mut self) {
        self.idle = None;
        if self.groups.by_number.is_empty() && self.store.view.registered && !self.suppressed {
            self.suppressed = true;
            self.count("offers_suppressed", 1);
            // First, so that nothing that goes back is offered again at once.
            self.call(Call::Suppress);
            if !self.settings.hold_offers_forever {
                self.give_back_all_offers();
            }
        }
    }

    /// A new connection, which knows of no wishes. An idle scheduler stays silent; all others want offers.
    pub(crate) fn want_offers_again(&mut self) {
        if self.suppressed && self.groups.by_number.is_empty() {
            self.call(Call::Suppress);
            return;
        }
        self.suppressed = false;
        self.call(Call::Revive);
        if self.groups.by_number.is_empty() {
            self.arm_idle();
        }
    }

    // ---- turns ----

    /// A group found no place: it waits, longer each time (spec scheduler 2.1; the first wait really is the initial one).
    pub(crate) fn block_group(&mut self, number: u64) {
        let initial = ms(self.settings.initial_schedule_penalty);
        let max = ms(self.settings.max_schedule_penalty);
        let Some(last_ms) = self.groups.by_number.get(&number).map(|group| group.penalty_ms) else { return };
        let penalty_ms = backoff_ms(&mut self.random, last_ms, initial, max);
        let timer = self.arm_after(penalty_ms, Timer::Group(number));
        let place = self.groups.number();
        let group = self.groups.by_number.get_mut(&number).expect("looked up above");
        let next_try_ms = self.now.wall_ms.saturating_add(i64::try_from(penalty_ms).unwrap_or(i64::MAX));
        let waiting = WaitingGroup { config: group.config.clone(), next_try_ms, penalty_ms };
        self.store.view.waiting_groups.insert(number, Arc::new(waiting));
        group.penalty_ms = penalty_ms;
        group.turn = Turn::Blocked { timer, place };
        self.groups.blocked.entry(group.class).or_default().insert(place, number);
    }

    /// The back-off of a group is over, or much has changed: it queues for placement again.
    pub(crate) fn wake_group(&mut self, number: u64) {
        let Some(group) = self.groups.by_number.get_mut(&number) else { return };
        if let Turn::Blocked { timer, place } = std::mem::replace(&mut group.turn, Turn::Ready) {
            let class = group.class;
            self.timers.cancel(timer);
            self.groups.unlist(number, class, place);
            self.groups.ready.push_back(number);
            self.store.view.waiting_groups.remove(&number);
        }
    }

    /// The tier of a configuration, by its name.
    pub(crate) fn tier_of(&self, config: &TaskConfig) -> Option<model::Tier> {
        self.settings.tier_of(config)
    }
}
