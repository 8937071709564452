//! The agents this machine plays: what each has, what is used, what is offered. Pure.
//!
//! At any time `total = used + offered + the rest`. What comes back is offered again at the end of the turn; offers of one agent add up
//! and are never taken back by the engine, so an ACCEPT that is under way always finds what it was promised.

use std::collections::{BTreeMap, BTreeSet};

use engine::{AgentId, Launch, Offer, OfferId};
use model::{CpuMillis, Ports, Resources};

use crate::machine::Capacity;

/// What a task holds of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) resources: Resources,
    pub(crate) ports: BTreeSet<u16>,
}

impl Holding {
    /// What `launch` takes. The count of ports is that of the assigned ones.
    pub(crate) fn of(launch: &Launch) -> Self {
        let ports: BTreeSet<u16> = launch.ports.values().copied().collect();
        Self { resources: Resources { ports: ports.len() as i64, ..launch.resources }, ports }
    }
}

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) hostname: String,
    attributes: BTreeMap<String, Vec<String>>,
    /// Neither used nor offered.
    free: Capacity,
    offers: BTreeMap<OfferId, Capacity>,
    /// Not offered before this time, monotonic milliseconds.
    refused_until_ms: u64,
    /// Something came back that the last refusal did not know of.
    fresh: bool,
    next_offer: u64,
    offer_prefix: String,
}

impl Agent {
    /// An agent with everything free. `run` makes the names of its offers different from those of earlier runs.
    pub(crate) fn new(
        id: AgentId,
        hostname: String,
        attributes: BTreeMap<String, Vec<String>>,
        capacity: Capacity,
        run: u64,
    ) -> Self {
        let offer_prefix = format!("{id}-{run}-");
        Self {
            id,
            hostname,
            attributes,
            free: capacity,
            offers: BTreeMap::new(),
            refused_until_ms: 0,
            fresh: true,
            next_offer: 1,
            offer_prefix,
        }
    }

    /// Whether `offer` is held by the scheduler.
    pub(crate) fn has_offer(&self, offer: &str) -> bool {
        self.offers.contains_key(offer)
    }

    /// Takes an offer back, because it is accepted or declined; its content is free again. False when it is not known.
    pub(crate) fn take_offer(&mut self, offer: &str) -> bool {
        let Some(content) = self.offers.remove(offer) else { return false };
        self.free.resources += content.resources;
        let ranges: Vec<(u16, u16)> = self.free.ports.ranges().iter().chain(content.ports.ranges()).copied().collect();
        self.free.ports = Ports::from_ranges(ranges);
        true
    }

    /// Gives free resources to a task; false, and nothing changes, when they do not suffice.
    pub(crate) fn hold(&mut self, holding: &Holding) -> bool {
        let fits = self.free.resources.contains(&holding.resources)
            && holding.ports.iter().all(|port| self.free.ports.contains(*port));
        if fits {
            self.hold_anyway(holding);
        }
        fits
    }

    /// Gives resources to a task that runs already, whether or not they suffice.
    pub(crate) fn hold_anyway(&mut self, holding: &Holding) {
        self.free.resources -= holding.resources;
        for port in &holding.ports {
            self.free.ports.remove(*port);
        }
        self.fresh = true;
    }

    /// A task has ended.
    pub(crate) fn release(&mut self, holding: &Holding) {
        self.free.resources += holding.resources;
        for port in &holding.ports {
            self.free.ports.insert(*port);
        }
        self.fresh = true;
    }

    /// The scheduler wants no offer for a while.
    pub(crate) fn refuse_until(&mut self, until_ms: u64) {
        self.refused_until_ms = self.refused_until_ms.max(until_ms);
        self.fresh = false;
    }

    /// Refusals are forgotten.
    pub(crate) fn revive(&mut self) {
        self.refused_until_ms = 0;
        self.fresh = true;
    }

    /// When something is to be offered that is not now, monotonic milliseconds.
    pub(crate) fn next_offer_ms(&self, now_ms: u64) -> Option<u64> {
        (self.is_worth_offering() && !self.fresh).then(|| self.refused_until_ms.max(now_ms))
    }

    fn is_worth_offering(&self) -> bool {
        self.free.resources.cpu > CpuMillis(0) && self.free.resources.ram_mb > 0
    }

    /// An offer of all that is free, unless there is nothing or it was refused and nothing came since.
    pub(crate) fn make_offer(&mut self, now_ms: u64) -> Option<Offer> {
        if !self.is_worth_offering() || !(self.fresh || now_ms >= self.refused_until_ms) {
            return None;
        }
        let id = format!("{}{}", self.offer_prefix, self.next_offer);
        self.next_offer += 1;
        let left = Resources {
            // A disk that filled up leaves less than nothing; that is no offer.
            disk_mb: self.free.resources.disk_mb.min(0),
            ports: 0,
            gpus: self.free.resources.gpus.min(0),
            ..Resources::ZERO
        };
        let nothing = Capacity { resources: left, ports: Ports::default() };
        let mut content = std::mem::replace(&mut self.free, nothing);
        content.resources.disk_mb = content.resources.disk_mb.max(0);
        content.resources.gpus = content.resources.gpus.max(0);
        content.resources.ports = content.ports.count();
        self.offers.insert(id.clone(), content.clone());
        Some(Offer {
            id,
            agent_id: self.id.clone(),
            host: self.hostname.clone(),
            resources: content.resources,
            revocable_cpu: CpuMillis(0),
            port_ranges: content.ports,
            attributes: self.attributes.clone(),
            unreserved: Resources::ZERO,
            role: None,
            unavailable_from_ms: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Agent {
        let ports = Ports::from_ranges([(31_000, 31_003)]);
        let resources = Resources { cpu: CpuMillis(2000), ram_mb: 1000, disk_mb: 1000, ports: 4, gpus: 0 };
        Agent::new("a".into(), "h".into(), BTreeMap::new(), Capacity { resources, ports }, 1)
    }

    fn holding(cpu: i64, ports: &[u16]) -> Holding {
        Holding {
            resources: Resources { cpu: CpuMillis(cpu), ram_mb: 100, ports: ports.len() as i64, ..Resources::ZERO },
            ports: ports.iter().copied().collect(),
        }
    }

    #[test]
    fn what_is_accepted_and_what_is_left_add_up() {
        let mut agent = agent();
        let offer = agent.make_offer(0).unwrap();
        assert_eq!(offer.resources.cpu, CpuMillis(2000));
        assert!(agent.make_offer(0).is_none(), "nothing is offered twice");
        assert!(agent.take_offer(&offer.id) && !agent.take_offer(&offer.id));
        let task = holding(500, &[31_001]);
        assert!(agent.hold(&task));
        assert!(!agent.hold(&holding(500, &[31_001])), "a port is given once");
        assert!(!agent.hold(&holding(1501, &[])), "cores are given once");
        let rest = agent.make_offer(0).unwrap();
        assert_eq!((rest.resources.cpu, rest.resources.ports), (CpuMillis(1500), 3));
        agent.release(&task);
        let more = agent.make_offer(0).unwrap();
        assert_eq!((more.resources.cpu, more.resources.ports), (CpuMillis(500), 1));
        assert_ne!(more.id, rest.id);
        assert!(agent.has_offer(&rest.id), "an offer that is out stays good");
    }

    #[test]
    fn a_refusal_holds_until_its_time_or_until_something_comes_back() {
        let mut agent = agent();
        let offer = agent.make_offer(0).unwrap();
        agent.take_offer(&offer.id);
        agent.refuse_until(1000);
        assert!(agent.make_offer(999).is_none());
        assert_eq!(agent.next_offer_ms(10), Some(1000));
        let offer = agent.make_offer(1000).unwrap();
        agent.take_offer(&offer.id);
        agent.refuse_until(9000);
        agent.revive();
        assert!(agent.make_offer(1001).is_some());
    }

    #[test]
    fn an_agent_that_is_used_beyond_what_it_has_offers_nothing() {
        let mut agent = agent();
        agent.hold_anyway(&holding(5000, &[]));
        assert!(agent.make_offer(0).is_none());
        agent.release(&holding(5000, &[]));
        assert_eq!(agent.make_offer(0).unwrap().resources.cpu, CpuMillis(2000));
    }
}
