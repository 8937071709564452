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

/// Slots and queues.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    known: BTreeMap<u64, (SlotKey, Option<TaskId>)>,
    idle: BTreeMap<SlotKey, Vec<u64>>,
    waiting: BTreeMap<SlotKey, VecDeque<TaskId>>,
    /// Slots asked for and not made yet.
    ordered: BTreeMap<u64, SlotKey>,
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
            }
        }
    }

    /// The task that has waited longest for a slot of `key`.
    pub(crate) fn next_waiting(&mut self, key: &SlotKey) -> Option<TaskId> {
        let queue = self.waiting.get_mut(key)?;
        let task = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(key);
        }
        task
    }

    /// Keys for which more tasks wait than slots are ordered, with the number missing.
    pub(crate) fn missing(&self) -> Vec<(SlotKey, usize)> {
        let counted = self.waiting.iter().map(|(key, queue)| {
            let ordered = self.ordered.values().filter(|ordered| *ordered == key).count();
            (key.clone(), queue.len().saturating_sub(ordered))
        });
        counted.filter(|(_, missing)| *missing > 0).collect()
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
        assert_eq!(slots.missing(), [(key("a"), 1)]);
        slots.order(7, key("a"));
        assert_eq!(slots.missing(), []);
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
        assert_eq!(slots.missing(), []);
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
}
