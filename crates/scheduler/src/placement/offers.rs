//! The offer book: every agent seen since the engine connected, what of it is offered now, and what placed tasks hold there.
//!
//! Where an engine makes offers to several roles, each (agent, role) is an entry of its own: their offers are never accepted
//! together. Tasks that were placed before this process began belong to whichever role offers first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::Offer;
use model::constraint::DEDICATED;
use model::{CpuMillis, Host, MaintenanceMode, Ports, Resources, Role, TaskId};

use super::index::{IN_USE, PLAIN, STAYS, Summary, Tree, UNDEDICATED, Wanted, value_bit};
use crate::timers::TimerKey;
use crate::view::{AgentShare, AgentView, OfferView};

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, Vec<String>>;

/// An offer as it is held.
#[derive(Clone, Debug)]
pub(crate) struct HeldOffer {
    pub(crate) id: String,
    /// Gives it back when it was held for long enough.
    pub(crate) timer: TimerKey,
    resources: Resources,
    /// What of it is set aside for no role.
    pub(crate) unreserved: Resources,
    revocable_cpu: CpuMillis,
    ports: Ports,
    /// The same for readers.
    shown: Arc<OfferView>,
}

/// An agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    pub(crate) id: String,
    /// Role it is offered to; `None` as long as nothing was offered, and where roles do not matter.
    pub(crate) role: Option<Role>,
    pub(crate) host: Host,
    pub(crate) attributes: Attributes,
    values: u128,
    /// Offers held. Several are accepted together.
    pub(crate) offers: Vec<HeldOffer>,
    /// Sum of the held offers; what is left of it while none is held is for people only.
    pub(crate) free: Resources,
    pub(crate) revocable_cpu: CpuMillis,
    pub(crate) ports: Ports,
    pub(crate) unavailable_from_ms: Option<i64>,
    /// Maintenance mode of its host.
    pub(crate) mode: MaintenanceMode,
    /// Tasks placed here and what they hold together.
    pub(crate) placed: BTreeSet<TaskId>,
    pub(crate) placed_resources: Resources,
    /// What those of them hold that are of a preemptible tier.
    pub(crate) preemptible: Resources,
    /// The agent's size: its latest offer and what was placed then.
    pub(crate) total: Resources,
    /// It went away for good; only its tasks keep it known.
    pub(crate) gone: bool,
    /// The group that preempted tasks here and may use the room first.
    pub(crate) reserved_for: Option<u64>,
    /// Until then, in ms on the monotonic clock, its offers are not given up again for the sake of another role.
    pub(crate) given_up_until_ms: u64,
}

impl Agent {
    /// Whether something of it is offered.
    pub(crate) fn is_offered(&self) -> bool {
        !self.offers.is_empty()
    }

    /// What a task may use: with revocable CPU, that takes the place of the other.
    pub(crate) fn usable(&self, revocable: bool) -> Resources {
        if self.is_offered() { self.left(revocable) } else { Resources::ZERO }
    }

    /// The same without asking whether it is offered at the moment.
    pub(crate) fn left(&self, revocable: bool) -> Resources {
        if revocable { Resources { cpu: self.revocable_cpu, ..self.free } } else { self.free }
    }
}

/// All agents.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfferBook {
    slots: Vec<Option<Agent>>,
    vacant: Vec<usize>,
    /// Slots of each agent, one for each role.
    by_id: BTreeMap<String, Vec<usize>>,
    /// Agents that several roles were offered parts of.
    shared: BTreeSet<String>,
    by_offer: BTreeMap<String, usize>,
    by_host: BTreeMap<Host, Vec<usize>>,
    /// Agents that are not the first choice: maintenance is announced for them, or the engine asks them back.
    second_choices: BTreeSet<usize>,
    /// Agents that have GPUs.
    with_gpus: BTreeSet<usize>,
    /// Attribute name to value to slots.
    by_value: BTreeMap<String, BTreeMap<String, BTreeSet<usize>>>,
    tree: Tree,
    /// Agents with an offer that waiting groups have not seen.
    pub(crate) fresh: Vec<usize>,
    /// Offers went back since the engine was last asked for all of them.
    pub(crate) gave_back: bool,
    /// Agents and tree nodes looked at, ever.
    pub(crate) examined: u64,
    pub(crate) visited: u64,
}

impl OfferBook {
    /// Number of held offers.
    pub(crate) fn held_offers(&self) -> usize {
        self.by_offer.len()
    }

    /// Whether an offer is held.
    pub(crate) fn is_held(&self, offer: &str) -> bool {
        self.by_offer.contains_key(offer)
    }

    /// How many slots there are, vacant ones included.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The agent of a slot.
    pub(crate) fn agent(&self, slot: usize) -> Option<&Agent> {
        self.slots.get(slot)?.as_ref()
    }

    /// The agent of a slot, to be changed; [`Self::refresh`] must follow when what it offers changes.
    pub(crate) fn agent_mut(&mut self, slot: usize) -> Option<&mut Agent> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// An agent for readers, all its roles together.
    pub(crate) fn view_of(&self, id: &str) -> AgentView {
        let mut view = AgentView::default();
        for agent in self.slots_of(id).iter().filter_map(|slot| self.agent(*slot)) {
            view.host.clone_from(&agent.host);
            view.free += agent.free;
            view.total += agent.total;
            view.shares.push(AgentShare {
                role: agent.role.clone(),
                is_offered: agent.is_offered(),
                free: agent.free,
                revocable_cpu: agent.revocable_cpu,
                total: agent.total,
                placed: agent.placed_resources,
                unavailable_from_ms: agent.unavailable_from_ms,
                is_reserved: agent.reserved_for.is_some(),
                offers: agent.offers.iter().map(|offer| Arc::clone(&offer.shown)).collect(),
            });
        }
        view
    }

    /// The slots of an agent: one for each role.
    pub(crate) fn slots_of(&self, id: &str) -> &[usize] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// Agents that several roles were offered parts of.
    pub(crate) fn shared_agents(&self) -> &BTreeSet<String> {
        &self.shared
    }

    /// The slots of the agents of a host.
    pub(crate) fn slots_on(&self, host: &str) -> &[usize] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    /// The maintenance mode of an agent's host has changed, or the agent is new.
    pub(crate) fn set_mode(&mut self, slot: usize, mode: MaintenanceMode) {
        if let Some(agent) = self.agent_mut(slot)
            && agent.mode != mode
        {
            agent.mode = mode;
            self.refresh(slot);
        }
    }

    /// Which agents are to be tried one after another, as masks for [`Wanted::among`] (spec scheduler 2.2): those that stay, those
    /// in use, all. Before them, for a task that wants no GPUs, those that have none: there are few of the others.
    pub(crate) fn choices(&self, wants_gpus: bool) -> &'static [u128] {
        match (self.second_choices.is_empty(), self.with_gpus.is_empty() || wants_gpus) {
            (true, true) => &[0],
            (false, true) => &[STAYS, IN_USE, 0],
            (true, false) => &[PLAIN, 0],
            (false, false) => &[PLAIN, STAYS, IN_USE, 0],
        }
    }

    /// All agents with their slots, in order of slot.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (usize, &Agent)> {
        self.slots.iter().enumerate().filter_map(|(slot, agent)| Some((slot, agent.as_ref()?)))
    }

    /// The slot of an agent and role, made if it is new. True when the slot was another's, or the agent moved or its attributes
    /// changed: what groups remember of the slot is void then.
    pub(crate) fn ensure(
        &mut self,
        id: &str,
        role: Option<&Role>,
        host: &str,
        attributes: Option<&Attributes>,
    ) -> (usize, bool) {
        let slot = match self.known_slot(id, role) {
            Some(slot) => slot,
            None => {
                let slot = self.vacant.pop().unwrap_or(self.slots.len());
                let reused = slot < self.slots.len();
                if !reused {
                    self.slots.push(None);
                }
                let slots = self.by_id.entry(id.into()).or_default();
                slots.push(slot);
                if slots.len() > 1 {
                    self.shared.insert(id.into());
                }
                self.by_host.entry(host.into()).or_default().push(slot);
                let (id, role, host) = (id.into(), role.cloned(), host.into());
                self.slots[slot] = Some(Agent { id, role, host, values: UNDEDICATED, ..Agent::default() });
                self.set_attributes(slot, attributes.cloned().unwrap_or_default());
                return (slot, reused);
            }
        };
        let agent = self.slots[slot].as_mut().expect("listed by id");
        let mut changed = false;
        if agent.host != host {
            let old = std::mem::replace(&mut agent.host, host.into());
            unlist(&mut self.by_host, &old, slot);
            self.by_host.entry(host.into()).or_default().push(slot);
            changed = true;
        }
        let agent = self.slots[slot].as_mut().expect("listed by id");
        if let Some(attributes) = attributes.filter(|attributes| **attributes != agent.attributes) {
            self.set_attributes(slot, attributes.clone());
            changed = true;
        }
        (slot, changed)
    }

    /// The slot of an agent and role. One that was made for placed tasks, before its role was known, is taken over.
    fn known_slot(&mut self, id: &str, role: Option<&Role>) -> Option<usize> {
        let of_role = |role: Option<&Role>| {
            let mut slots = self.slots_of(id).iter().copied();
            slots.find(|slot| self.agent(*slot).is_some_and(|agent| agent.role.as_ref() == role))
        };
        if let Some(slot) = of_role(role) {
            return Some(slot);
        }
        let slot = of_role(None).filter(|slot| !self.agent(*slot).is_some_and(Agent::is_offered))?;
        if let Some(agent) = self.agent_mut(slot) {
            agent.role = role.cloned();
        }
        Some(slot)
    }

    fn set_attributes(&mut self, slot: usize, attributes: Attributes) {
        self.unlist_values(slot);
        let mut values = if attributes.contains_key(DEDICATED) { 0 } else { UNDEDICATED };
        for (name, value) in pairs(&attributes) {
            values |= value_bit(name, value);
            let slots = self.by_value.entry(name.into()).or_default().entry(value.into()).or_default();
            slots.insert(slot);
        }
        if let Some(agent) = self.slots[slot].as_mut() {
            (agent.attributes, agent.values) = (attributes, values);
        }
    }

    fn unlist_values(&mut self, slot: usize) {
        let Some(agent) = self.slots[slot].as_ref() else { return };
        for (name, value) in pairs(&agent.attributes) {
            let Some(by_value) = self.by_value.get_mut(name) else { continue };
            if let Some(slots) = by_value.get_mut(value) {
                slots.remove(&slot);
                if slots.is_empty() {
                    by_value.remove(value);
                }
            }
            if by_value.is_empty() {
                self.by_value.remove(name);
            }
        }
    }

    /// Slots of the agents that have a value, none when no agent has.
    pub(crate) fn with_value(&self, name: &str, value: &str) -> Option<&BTreeSet<usize>> {
        self.by_value.get(name)?.get(value)
    }

    /// The values of an attribute that some agent has.
    pub(crate) fn values_of(&self, name: &str) -> impl Iterator<Item = &str> + use<'_> {
        self.by_value.get(name).into_iter().flat_map(|values| values.keys().map(String::as_str))
    }

    /// Holds an offer. With `supersedes` it takes the place of what is held of its agent, otherwise it is added to that.
    /// Returns the offers that it took the place of.
    pub(crate) fn hold(
        &mut self,
        slot: usize,
        offer: &Offer,
        since_ms: i64,
        timer: TimerKey,
        supersedes: bool,
    ) -> Vec<HeldOffer> {
        let dropped = if supersedes { self.consume(slot) } else { Vec::new() };
        let Some(agent) = self.agent_mut(slot) else { return dropped };
        agent.gone = false;
        agent.unavailable_from_ms = offer.unavailable_from_ms;
        let resources = Resources { ports: offer.port_ranges.count(), ..offer.resources };
        let shown = OfferView {
            id: offer.id.clone(),
            held_since_ms: since_ms,
            resources,
            revocable_cpu: offer.revocable_cpu,
            port_ranges: offer.port_ranges.clone(),
        };
        agent.offers.push(HeldOffer {
            id: offer.id.clone(),
            timer,
            shown: Arc::new(shown),
            resources,
            unreserved: offer.unreserved,
            revocable_cpu: offer.revocable_cpu,
            ports: offer.port_ranges.clone(),
        });
        self.by_offer.insert(offer.id.clone(), slot);
        self.fresh.push(slot);
        self.add_up(slot);
        dropped
    }

    /// What is free on an agent: the sum of the offers held.
    fn add_up(&mut self, slot: usize) {
        if let Some(agent) = self.agent_mut(slot) {
            agent.free = agent.offers.iter().fold(Resources::ZERO, |sum, offer| sum + offer.resources);
            agent.revocable_cpu = CpuMillis(agent.offers.iter().map(|offer| offer.revocable_cpu.0).sum());
            let ranges = agent.offers.iter().flat_map(|offer| offer.ports.ranges().iter().copied());
            agent.ports = Ports::from_ranges(ranges.collect::<Vec<_>>());
            // Between an acceptance and the offer of what it left, the sum is less than the whole.
            agent.total = agent.total.max_each(&(agent.free + agent.placed_resources));
        }
        self.refresh(slot);
    }

    /// Brings the index in line with what an agent offers.
    pub(crate) fn refresh(&mut self, slot: usize) {
        let second = |agent: &Agent| agent.mode == MaintenanceMode::Scheduled || agent.unavailable_from_ms.is_some();
        if self.agent(slot).is_some_and(second) {
            self.second_choices.insert(slot);
        } else {
            self.second_choices.remove(&slot);
        }
        if self.agent(slot).is_some_and(|agent| agent.total.gpus > 0) {
            self.with_gpus.insert(slot);
        } else {
            self.with_gpus.remove(&slot);
        }
        let summary = match self.agent(slot) {
            // An offer without CPU or memory serves nobody (spec scheduler 2.2).
            Some(agent)
                if agent.is_offered()
                    && agent.mode.takes_tasks()
                    && agent.free.ram_mb > 0
                    && (agent.free.cpu.0 > 0 || agent.revocable_cpu.0 > 0) =>
            {
                let mut values = agent.values;
                if agent.mode == MaintenanceMode::None {
                    values |= if agent.unavailable_from_ms.is_none() { IN_USE | STAYS } else { IN_USE };
                }
                if values & STAYS != 0 && agent.total.gpus == 0 {
                    values |= PLAIN;
                }
                Summary::of(&agent.free, agent.revocable_cpu, values)
            }
            _ => Summary::NONE,
        };
        self.tree.set(slot, summary);
    }

    /// Takes one offer out of the book: it is void or goes back. The slot of its agent, when it was held.
    pub(crate) fn withdraw(&mut self, offer: &str) -> Option<(usize, HeldOffer)> {
        let slot = self.by_offer.remove(offer)?;
        let agent = self.agent_mut(slot)?;
        let at = agent.offers.iter().position(|held| held.id == offer)?;
        let held = agent.offers.remove(at);
        self.add_up(slot);
        Some((slot, held))
    }

    /// Takes all offers of an agent out of the book: they are accepted, given back or void.
    pub(crate) fn consume(&mut self, slot: usize) -> Vec<HeldOffer> {
        let Some(agent) = self.slots[slot].as_mut() else { return Vec::new() };
        let offers = std::mem::take(&mut agent.offers);
        for offer in &offers {
            self.by_offer.remove(&offer.id);
        }
        self.refresh(slot);
        offers
    }

    /// All offers are void.
    pub(crate) fn clear_offers(&mut self) -> Vec<TimerKey> {
        self.fresh.clear();
        self.gave_back = false;
        for agent in self.slots.iter_mut().flatten() {
            agent.total = agent.placed_resources;
        }
        let slots: BTreeSet<usize> = std::mem::take(&mut self.by_offer).into_values().collect();
        slots.into_iter().flat_map(|slot| self.consume(slot)).map(|offer| offer.timer).collect()
    }

    /// An agent is gone. One on which tasks are still placed stays known, without offers, until they end.
    pub(crate) fn remove(&mut self, slot: usize) -> bool {
        if self.agent(slot).is_none_or(|agent| !agent.placed.is_empty() || agent.is_offered()) {
            return false;
        }
        self.unlist_values(slot);
        if let Some(agent) = self.slots[slot].take() {
            unlist(&mut self.by_id, &agent.id, slot);
            if self.slots_of(&agent.id).len() < 2 {
                self.shared.remove(&agent.id);
            }
            unlist(&mut self.by_host, &agent.host, slot);
            self.vacant.push(slot);
        }
        self.refresh(slot);
        true
    }

    /// A task holds room on an agent from now on.
    pub(crate) fn place(&mut self, slot: usize, task: &TaskId, resources: Resources, preemptible: bool) {
        if let Some(agent) = self.agent_mut(slot)
            && agent.placed.insert(task.clone())
        {
            agent.placed_resources += resources;
            agent.preemptible += if preemptible { resources } else { Resources::ZERO };
            agent.total = agent.total.max_each(&agent.placed_resources);
        }
    }

    /// A task holds room no longer.
    pub(crate) fn unplace(&mut self, slot: usize, task: &TaskId, resources: Resources, preemptible: bool) {
        if let Some(agent) = self.agent_mut(slot)
            && agent.placed.remove(task)
        {
            agent.placed_resources -= resources;
            agent.preemptible -= if preemptible { resources } else { Resources::ZERO };
        }
    }

    /// The next slot from `from` up to `to` that may serve.
    pub(crate) fn find(&mut self, from: usize, to: usize, wanted: &Wanted) -> Option<usize> {
        self.tree.find(from, to, wanted, &mut self.visited)
    }

    /// Whether the agent of a slot may serve, by the index alone.
    pub(crate) fn may_serve(&self, slot: usize, wanted: &Wanted) -> bool {
        wanted.may_match(&self.tree.leaf(slot))
    }
}

/// Takes a slot off the list under a name.
fn unlist(lists: &mut BTreeMap<String, Vec<usize>>, name: &str, slot: usize) {
    if let Some(slots) = lists.get_mut(name) {
        slots.retain(|other| *other != slot);
        if slots.is_empty() {
            lists.remove(name);
        }
    }
}

fn pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())))
}

/// The larger amount of each kind.
pub(crate) trait MaxEach {
    /// The larger of two amounts, kind by kind.
    fn max_each(&self, other: &Self) -> Self;
}

impl MaxEach for Resources {
    fn max_each(&self, other: &Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            ram_mb: self.ram_mb.max(other.ram_mb),
            disk_mb: self.disk_mb.max(other.disk_mb),
            ports: self.ports.max(other.ports),
            gpus: self.gpus.max(other.gpus),
        }
    }
}
