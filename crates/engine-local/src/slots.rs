//! The slots: which supervisors there are, which is idle, and which tasks wait for one. Bookkeeping only; the channels belong to the worker.

use std::collections::{BTreeMap, VecDeque};

use checkpoint::protocol::SlotSpecification;
use model::TaskId;

/// Tasks with the same key may run in the same slot, one after another: same user, same limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    pub(crate) user: String,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) cpu_milli: u64,
}

impl From<&SlotSpecification> for SlotKey {
    fn from(specification: &SlotSpecification) -> Self {
        Self {
            user: specification.user.clone(),
            memory_limit_bytes: specification.memory_limit_bytes,
            cpu_milli: specification.cpu_milli,
        }
    }
}

/// Slots that may be asked for and not made yet. The launcher makes one after another, so more would only be made although a slot that
/// came free meanwhile could have done.
const ORDERS_MAX: usize = 2;
/// Successions that are remembered for a key.
const SUCCESSIONS: usize = 8;
/// As long as slots of a key come free and the last task in the queue has to wait no longer than this, no slot is made, milliseconds. A
/// process that ends within moments is over before a supervisor of its own would be there.
const DRAIN_MS_MAX: u64 = 250;
/// When no slot has come free for this long, the tasks of the key are not that short, milliseconds.
const SUCCESSION_MS_MAX: u64 = 100;
/// The same two when no processor is idle: more slots would then only take time from the tasks that run.
const DRAIN_BUSY_MS_MAX: u64 = 2_000;
const SUCCESSION_BUSY_MS_MAX: u64 = 1_000;

/// Slots and queues.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    known: BTreeMap<u64, (SlotKey, Option<TaskId>)>,
    idle: BTreeMap<SlotKey, Vec<u64>>,
    waiting: BTreeMap<SlotKey, VecDeque<TaskId>>,
    /// Slots asked for and not made yet.
    ordered: BTreeMap<u64, SlotKey>,
    /// When slots went from one task to the next, monotonic milliseconds, newest last; for keys with waiting tasks only.
    successions: BTreeMap<SlotKey, VecDeque<u64>>,
}

impl Slots {
    /// An idle slot for `key`, which is busy with `task` from now on.
    pub(crate) fn occupy(&mut self, key: &SlotKey, task: &TaskId) -> Option<u64> {
        let idle = self.idle.get_mut(key)?;
        // The one used last: its memory is warm, and the others can retire.
        let slot_id = idle.pop()?;
        if idle.is_empty() {
            self.idle.remove(key);
        }
        if let Some((_, running)) = self.known.get_mut(&slot_id) {
            *running = Some(task.clone());
        }
        Some(slot_id)
    }

    /// `task` waits for a slot.
    pub(crate) fn enqueue(&mut self, key: &SlotKey, task: &TaskId) {
        self.waiting.entry(key.clone()).or_default().push_back(task.clone());
    }

    /// `task` waits no longer.
    pub(crate) fn forget_waiting(&mut self, key: &SlotKey, task: &TaskId) {
        if let Some(queue) = self.waiting.get_mut(key) {
            queue.retain(|waiting| waiting != task);
            if queue.is_empty() {
                self.waiting.remove(key);
                self.successions.remove(key);
            }
        }
    }

    /// The task that has waited longest for a slot of `key`.
    pub(crate) fn next_waiting(&mut self, key: &SlotKey) -> Option<TaskId> {
        let queue = self.waiting.get_mut(key)?;
        let task = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(key);
            self.successions.remove(key);
        }
        task
    }

    /// Whether any task waits for a slot.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A slot of `key` has gone from one task to the next.
    pub(crate) fn succeeded(&mut self, key: &SlotKey, now_ms: u64) {
        if !self.waiting.contains_key(key) {
            return;
        }
        if !self.successions.contains_key(key) {
            self.successions.insert(key.clone(), VecDeque::with_capacity(SUCCESSIONS));
        }
        if let Some(times) = self.successions.get_mut(key) {
            if times.len() == SUCCESSIONS {
                times.pop_front();
            }
            times.push_back(now_ms);
        }
    }

    /// Whether the slots there are will have served the queue of `key` in a moment.
    fn drains_soon(&self, key: &SlotKey, waiting: usize, now_ms: u64, is_busy: &mut dyn FnMut() -> bool) -> bool {
        let Some(times) = self.successions.get(key).filter(|times| times.len() > SUCCESSIONS / 2) else { return false };
        let (Some(oldest), Some(newest)) = (times.front(), times.back()) else { return false };
        let rested_ms = now_ms.saturating_sub(*newest);
        let drain_ms = (newest - oldest) * waiting as u64 / (times.len() as u64 - 1);
        (rested_ms <= SUCCESSION_MS_MAX && drain_ms <= DRAIN_MS_MAX)
            || (rested_ms <= SUCCESSION_BUSY_MS_MAX && drain_ms <= DRAIN_BUSY_MS_MAX && is_busy())
    }

    /// Keys for which slots are to be ordered now, with how many; what is still missing then is asked for when some are there. `is_busy`
    /// tells, where it matters, whether more processes want to run than there are processors.
    pub(crate) fn missing(&self, now_ms: u64, mut is_busy: impl FnMut() -> bool) -> Vec<(SlotKey, usize)> {
        let mut allowed = ORDERS_MAX.saturating_sub(self.ordered.len());
        let mut missing = Vec::new();
        for (key, queue) in &self.waiting {
            let ordered = self.ordered.values().filter(|ordered| *ordered == key).count();
            let count = queue.len().saturating_sub(ordered).min(allowed);
            if count > 0 && !self.drains_soon(key, queue.len(), now_ms, &mut is_busy) {
                allowed -= count;
                missing.push((key.clone(), count));
            }
        }
        missing
    }

    /// When slots that were not ordered for a queue that drains soon are to be thought of again, milliseconds from now.
    pub(crate) fn reconsider_ms(&self) -> Option<u64> {
        (self.has_waiting() && self.ordered.is_empty()).then_some(SUCCESSION_MS_MAX)
    }

    /// A slot was asked for.
    pub(crate) fn order(&mut self, slot_id: u64, key: SlotKey) {
        self.ordered.insert(slot_id, key);
    }

    /// The launcher is another one: what was asked for will not come.
    pub(crate) fn forget_orders(&mut self) {
        self.ordered.clear();
    }

    /// An order failed; its key.
    pub(crate) fn order_failed(&mut self, slot_id: u64) -> Option<SlotKey> {
        self.ordered.remove(&slot_id)
    }

    /// A slot exists; `task` is what it runs.
    pub(crate) fn add(&mut self, slot_id: u64, key: SlotKey, task: Option<TaskId>) {
        self.ordered.remove(&slot_id);
        self.known.insert(slot_id, (key, task));
    }

    /// A slot's key; `None` when it is not known.
    pub(crate) fn key(&self, slot_id: u64) -> Option<&SlotKey> {
        self.known.get(&slot_id).map(|(key, _)| key)
    }

    /// A slot is ready for a task.
    pub(crate) fn set_idle(&mut self, slot_id: u64) {
        if let Some((key, task)) = self.known.get_mut(&slot_id) {
            *task = None;
            let idle = self.idle.entry(key.clone()).or_default();
            if !idle.contains(&slot_id) {
                idle.push(slot_id);
            }
        }
    }

    /// A slot takes no more tasks; the one it runs, if any, goes on.
    pub(crate) fn retire(&mut self, slot_id: u64) {
        if let Some((key, _)) = self.known.get(&slot_id)
            && let Some(idle) = self.idle.get_mut(key)
        {
            idle.retain(|other| *other != slot_id);
            if idle.is_empty() {
                self.idle.remove(&key.clone());
            }
        }
    }

    /// A slot is gone; the task it ran.
    pub(crate) fn remove(&mut self, slot_id: u64) -> Option<TaskId> {
        self.retire(slot_id);
        self.ordered.remove(&slot_id);
        self.known.remove(&slot_id).and_then(|(_, task)| task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> SlotKey {
        SlotKey { user: user.to_owned(), memory_limit_bytes: 0, cpu_milli: 0 }
    }

    #[test]
    fn an_idle_slot_of_the_same_key_is_used_again() {
        let mut slots = Slots::default();
        let (first, second) = (TaskId("1".into()), TaskId("2".into()));
        assert_eq!(slots.occupy(&key("a"), &first), None);
        slots.enqueue(&key("a"), &first);
        assert_eq!(slots.missing(0, || true), [(key("a"), 1)]);
        slots.order(7, key("a"));
        assert_eq!(slots.missing(0, || true), []);
        slots.add(7, key("a"), None);
        slots.set_idle(7);
        slots.set_idle(7);
        assert_eq!(slots.next_waiting(&key("a")), Some(first.clone()));
        assert_eq!(slots.occupy(&key("b"), &first), None, "another user's");
        assert_eq!(slots.occupy(&key("a"), &first), Some(7));
        assert_eq!(slots.occupy(&key("a"), &second), None, "busy");
        assert_eq!(slots.remove(7), Some(first));
    }

    #[test]
    fn a_task_that_no_longer_waits_orders_nothing() {
        let mut slots = Slots::default();
        let task = TaskId("1".into());
        slots.enqueue(&key("a"), &task);
        slots.forget_waiting(&key("a"), &task);
        assert_eq!(slots.missing(0, || true), []);
        assert_eq!(slots.next_waiting(&key("a")), None);
    }

    #[test]
    fn a_retired_slot_is_not_given_out() {
        let mut slots = Slots::default();
        slots.add(1, key("a"), None);
        slots.set_idle(1);
        slots.retire(1);
        assert_eq!(slots.occupy(&key("a"), &TaskId("1".into())), None);
    }

    fn waiting(count: usize) -> Slots {
        let mut slots = Slots::default();
        for number in 0..count {
            slots.enqueue(&key("a"), &TaskId(number.to_string().into()));
        }
        slots
    }

    #[test]
    fn few_slots_are_ordered_at_a_time_and_in_the_end_one_for_each_task() {
        let mut slots = waiting(10);
        let mut made = 0;
        while slots.has_waiting() {
            let missing: usize = slots.missing(0, || true).iter().map(|(_, count)| count).sum();
            assert!((1..=ORDERS_MAX).contains(&missing), "{missing}");
            for _ in 0..missing {
                made += 1;
                slots.order(made, key("a"));
            }
            assert_eq!(slots.missing(0, || true), []);
            for slot in made + 1 - missing as u64..=made {
                slots.add(slot, key("a"), None);
                slots.next_waiting(&key("a"));
            }
        }
        assert_eq!(made, 10);
    }

    #[test]
    fn slots_that_come_free_quickly_serve_the_queue_and_no_more_are_made() {
        let mut slots = waiting(100);
        for now_ms in [0, 2, 4, 6, 8] {
            slots.succeeded(&key("a"), now_ms);
        }
        assert_eq!(slots.missing(8, || false), [], "a hundred tasks, 2 ms each");
        assert!(slots.reconsider_ms().is_some_and(|pause_ms| pause_ms <= SUCCESSION_MS_MAX));
        let rested_ms = 8 + SUCCESSION_MS_MAX + 1;
        assert_eq!(slots.missing(rested_ms, || false).len(), 1, "but not when they come free no longer");
        assert_eq!(slots.missing(rested_ms, || true), [], "unless the machine has no time for them");
        assert_eq!(slots.missing(8 + SUCCESSION_BUSY_MS_MAX + 1, || true).len(), 1, "which is no reason for ever");
        let mut slots = waiting(100);
        for now_ms in [0, 20, 40, 60, 80] {
            slots.succeeded(&key("a"), now_ms);
        }
        assert_eq!(
            slots.missing(80, || true),
            [],
            "the last of a hundred waits for two seconds, since the machine is busy"
        );
        assert_eq!(slots.missing(80, || false).len(), 1, "but not when it has time");
        slots.succeeded(&key("a"), 120);
        assert_eq!(slots.missing(120, || true).len(), 1, "nor for longer in any case");
    }
}
