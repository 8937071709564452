//! The release queue: what was decided and waits until the disk has it.

use std::collections::VecDeque;

use crate::storage::Position;

/// The effects of one turn and the view after it.
pub(crate) struct Held<V, E> {
    /// The group that must be durable first.
    pub(crate) position: Position,
    pub(crate) view: V,
    pub(crate) effects: Vec<E>,
    /// Size of the group's records, for the bound on what is in flight.
    pub(crate) bytes: usize,
}

/// Held effects in the order of their positions.
pub(crate) struct ReleaseQueue<V, E> {
    held: VecDeque<Held<V, E>>,
    bytes: usize,
}

impl<V, E> ReleaseQueue<V, E> {
    pub(crate) fn new() -> Self {
        ReleaseQueue { held: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn hold(&mut self, held: Held<V, E>) {
        debug_assert!(self.held.back().is_none_or(|last| last.position <= held.position));
        self.bytes += held.bytes;
        self.held.push_back(held);
    }

    /// The oldest held turn, if its group is durable.
    pub(crate) fn next_durable(&mut self, durable: Position) -> Option<Held<V, E>> {
        if self.held.front()?.position > durable {
            return None;
        }
        let held = self.held.pop_front()?;
        self.bytes -= held.bytes;
        Some(held)
    }

    /// How many turns are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many bytes of records they wait for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything: none of it may ever be released.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}
