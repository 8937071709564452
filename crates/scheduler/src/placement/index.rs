//! The index of offers: a tree over all agents whose nodes hold the largest amounts and all attributes below them. It finds
//! the next agent that may serve a demand without looking at those that cannot.

use model::{CpuMillis, Resources};

/// Bit of agents that take any task: those with no `dedicated` attribute.
pub(crate) const UNDEDICATED: u128 = 1 << 127;
/// Bit of agents that no maintenance is announced for.
pub(crate) const IN_USE: u128 = 1 << 126;
/// Bit of those among them that the engine has not asked back either: the first choice.
pub(crate) const STAYS: u128 = 1 << 125;
/// Bit of those among them that have no GPUs: the first choice of tasks that want none.
pub(crate) const PLAIN: u128 = 1 << 124;
const VALUE_BITS: u64 = 124;

/// The bit that stands for an attribute's value. Different values may share one; the exact check comes later.
pub(crate) fn value_bit(name: &str, value: &str) -> u128 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in name.bytes().chain([0]).chain(value.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    1 << ((hash ^ (hash >> 32)) % VALUE_BITS)
}

/// What an agent, or a whole subtree, can give at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    amounts: [i64; 6],
    values: u128,
}

impl Summary {
    /// Gives nothing, not even to a task that asks for nothing.
    pub(crate) const NONE: Self = Self { amounts: [-1; 6], values: 0 };

    /// Of an agent with that offer.
    pub(crate) fn of(free: &Resources, revocable_cpu: CpuMillis, values: u128) -> Self {
        let amounts = [free.cpu.0, free.ram_mb, free.disk_mb, free.ports, free.gpus, revocable_cpu.0];
        Self { amounts, values }
    }

    fn join(&self, other: &Self) -> Self {
        let mut amounts = self.amounts;
        amounts.iter_mut().zip(other.amounts).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
        Self { amounts, values: self.values | other.values }
    }
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    amounts: [i64; 6],
    /// Of each mask at least one bit must be there.
    pub(crate) masks: Vec<u128>,
}

impl Wanted {
    /// An agent with room for `demand`, its CPU taken from the revocable part if so wanted.
    pub(crate) fn new(demand: &Resources, revocable: bool, masks: Vec<u128>) -> Self {
        let (cpu, revocable_cpu) = if revocable { (0, demand.cpu.0) } else { (demand.cpu.0, 0) };
        Self { amounts: [cpu, demand.ram_mb, demand.disk_mb, demand.ports, demand.gpus, revocable_cpu], masks }
    }

    /// The same among agents that have at least one bit of the mask; all of them when it is empty.
    pub(crate) fn among(mut self, mask: u128) -> Self {
        if mask != 0 {
            self.masks.push(mask);
        }
        self
    }

    /// Whether an agent, or one below a node, may do.
    pub(crate) fn may_match(&self, summary: &Summary) -> bool {
        self.amounts.iter().zip(summary.amounts).all(|(need, have)| *need <= have)
            && self.masks.iter().all(|mask| summary.values & mask != 0)
    }
}

/// The tree; agents are numbered by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Node 1 is the root, the children of n are 2n and 2n+1; the leaves are the last `leaves` nodes.
    nodes: Vec<Summary>,
    leaves: usize,
}

impl Tree {
    /// How many slots there is room for; the slots in use are fewer.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.leaves
    }

    /// Sets what the agent of a slot can give.
    pub(crate) fn set(&mut self, slot: usize, summary: Summary) {
        if slot >= self.leaves {
            self.grow(slot + 1);
        }
        let mut node = self.leaves + slot;
        self.nodes[node] = summary;
        while node > 1 {
            node /= 2;
            let joined = self.nodes[2 * node].join(&self.nodes[2 * node + 1]);
            if self.nodes[node] == joined {
                break;
            }
            self.nodes[node] = joined;
        }
    }

    fn grow(&mut self, slots: usize) {
        let leaves = slots.next_power_of_two().max(16);
        let mut nodes = vec![Summary::NONE; 2 * leaves];
        nodes[leaves..leaves + self.leaves].copy_from_slice(&self.nodes[self.leaves..]);
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].join(&nodes[2 * node + 1]);
        }
        (self.nodes, self.leaves) = (nodes, leaves);
    }

    /// What the agent of a slot can give.
    pub(crate) fn leaf(&self, slot: usize) -> Summary {
        if slot < self.leaves { self.nodes[self.leaves + slot] } else { Summary::NONE }
    }

    /// The first slot in `from..to` that may match. `visited` counts the nodes looked at.
    pub(crate) fn find(&self, from: usize, to: usize, wanted: &Wanted, visited: &mut u64) -> Option<usize> {
        if self.leaves == 0 || from >= to {
            return None;
        }
        self.descend(1, 0, self.leaves, from, to, wanted, visited)
    }

    #[expect(clippy::too_many_arguments, reason = "a recursion over a range of a tree")]
    fn descend(
        &self,
        node: usize,
        first: usize,
        size: usize,
        from: usize,
        to: usize,
        wanted: &Wanted,
        visited: &mut u64,
    ) -> Option<usize> {
        if first + size <= from || first >= to {
            return None;
        }
        *visited += 1;
        if !wanted.may_match(&self.nodes[node]) {
            return None;
        }
        if size == 1 {
            return Some(first);
        }
        let half = size / 2;
        self.descend(2 * node, first, half, from, to, wanted, visited)
            .or_else(|| self.descend(2 * node + 1, first + half, half, from, to, wanted, visited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn room(cpu: i64, ram_mb: i64) -> Resources {
        Resources { cpu: CpuMillis(cpu), ram_mb, ..Resources::ZERO }
    }

    #[test]
    fn the_tree_finds_what_a_walk_over_all_slots_finds() {
        let mut random = Random::new([5; 32]);
        let mut tree = Tree::default();
        let mut plain: Vec<Summary> = Vec::new();
        for round in 0..2000 {
            let slot = random.below(100) as usize;
            let values = value_bit("rack", &random.below(5).to_string());
            let summary = match random.below(4) {
                0 => Summary::NONE,
                _ => Summary::of(&room(random.below(10) as i64, random.below(10) as i64), CpuMillis(0), values),
            };
            plain.resize(plain.len().max(slot + 1), Summary::NONE);
            plain[slot] = summary;
            tree.set(slot, summary);
            let masks = if round % 2 == 0 { vec![] } else { vec![value_bit("rack", "3") | value_bit("rack", "4")] };
            let wanted = Wanted::new(&room(random.below(10) as i64, random.below(10) as i64), false, masks);
            let from = random.below(100) as usize;
            let expected = (from..plain.len()).find(|slot| wanted.may_match(&plain[*slot]));
            assert_eq!(tree.find(from, plain.len(), &wanted, &mut 0), expected, "round {round}");
        }
        assert_eq!(tree.capacity(), 128);
    }

    #[test]
    fn an_agent_without_an_offer_serves_not_even_a_task_that_asks_for_nothing() {
        let wanted = Wanted::new(&Resources::ZERO, false, vec![]);
        assert!(!wanted.may_match(&Summary::NONE));
        assert!(wanted.may_match(&Summary::of(&Resources::ZERO, CpuMillis(0), 0)));
    }
}
