//! The allocator: who is offered what, what is refused for a while, what is taken back (spec mesos 3.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use mesos::v1::framework_info::capability::Type as Capability;
use mesos::v1::resource::AllocationInfo;
use mesos::v1::scheduler::attribute_constraint::{Predicate, selector::PseudoattributeType};
use mesos::v1::scheduler::{AttributeConstraint, Event, OfferConstraints, event};
use mesos::v1::{self};
use mesos::v1::{Address, AgentId, Filters, FrameworkId, OfferId, Url, domain_info};

use super::super::messages::to_wire;
use super::super::protocol::AgentDescription;
use super::super::resources::{Name, Resources};
use super::{AgentRecord, Effect, Framework, Master, Timer};

/// An offer that is out.
#[derive(Clone, Debug)]
pub(in super::super) struct Offer {
    pub framework: Arc<str>,
    pub role: Arc<str>,
    pub agent: Arc<str>,
    pub resources: Resources,
}

/// An inverse offer that is out.
#[derive(Clone, Debug)]
pub(in super::super) struct InverseOffer {
    pub framework: Arc<str>,
    pub agent: Arc<str>,
}

/// Resources that were refused.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    resources: Resources,
    until_ms: u64,
}

/// Offer constraints of a framework, by role.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints(BTreeMap<String, Vec<Vec<AttributeConstraint>>>);

impl Constraints {
    pub fn read(constraints: Option<OfferConstraints>, roles: &[Arc<str>]) -> Result<Self, String> {
        let mut read = BTreeMap::new();
        for (role, constraints) in constraints.unwrap_or_default().role_constraints {
            if !roles.iter().any(|known| **known == *role) {
                return Err(format!("offer constraints for '{role}', which is not among the framework's roles"));
            }
            let groups: Vec<_> = constraints.groups.into_iter().map(|group| group.attribute_constraints).collect();
            if groups.is_empty() || groups.iter().any(Vec::is_empty) {
                return Err("offer constraints need a group, and each group a constraint".into());
            }
            let regex = |constraint: &AttributeConstraint| {
                constraint.predicate.text_matches.is_some() || constraint.predicate.text_not_matches.is_some()
            };
            if groups.iter().flatten().any(regex) {
                return Err("this simulated master takes no regular expressions in offer constraints".into());
            }
            read.insert(role, groups);
        }
        Ok(Self(read))
    }

    fn admit(&self, role: &str, agent: &AgentDescription) -> bool {
        let holds = |constraint: &AttributeConstraint| predicate_holds(constraint, agent);
        self.0.get(role).is_none_or(|groups| groups.iter().any(|group| group.iter().all(holds)))
    }
}

fn predicate_holds(constraint: &AttributeConstraint, agent: &AgentDescription) -> bool {
    // No text: the attribute is there and of another type, for which text predicates are true.
    let (exists, text) = match (&constraint.selector.pseudoattribute_type, &constraint.selector.attribute_name) {
        (Some(kind), _) => {
            let domain = agent.domain.as_ref();
            let text = match PseudoattributeType::try_from(*kind) {
                Ok(PseudoattributeType::Hostname) => Some(agent.hostname.as_str()),
                Ok(PseudoattributeType::Region) => domain.map(|(region, _)| region.as_str()),
                Ok(PseudoattributeType::Zone) => domain.map(|(_, zone)| zone.as_str()),
                _ => None,
            };
            (text.is_some(), text)
        }
        (None, Some(name)) => {
            let attribute = agent.attributes.iter().find(|attribute| attribute.name == *name);
            (attribute.is_some(), attribute.and_then(|found| found.text.as_ref()).map(|text| text.value.as_str()))
        }
        (None, None) => return false,
    };
    match &constraint.predicate {
        Predicate { exists: Some(_), .. } => exists,
        Predicate { not_exists: Some(_), .. } => !exists,
        Predicate { text_equals: Some(equals), .. } => exists && text.is_none_or(|text| text == equals.value),
        Predicate { text_not_equals: Some(equals), .. } => exists && text.is_none_or(|text| text != equals.value),
        _ => true,
    }
}

const SHARED_NAMES: [Name; 4] = [Name::Cpus, Name::Mem, Name::Disk, Name::Gpus];

fn totals(resources: &Resources) -> [i64; 4] {
    SHARED_NAMES.each_ref().map(|name| resources.total_milli(name))
}

/// Who may be offered something, and how much it has: one role of one framework.
struct Claimant {
    framework: Arc<str>,
    role: Arc<str>,
}

impl Master {
    /// A whole cycle.
    pub(super) fn allocate_all(&mut self) {
        self.pending = super::Pending::default();
        let agents: Vec<Arc<str>> = self.agents.keys().cloned().collect();
        self.allocate(agents);
        self.offer_inverse();
    }

    /// What happened since the last cycle that must not wait for the next.
    pub(super) fn allocate_pending(&mut self) {
        if self.pending.all {
            self.allocate_all();
        } else if !self.pending.agents.is_empty() {
            let agents = std::mem::take(&mut self.pending.agents);
            self.allocate(agents.into_iter().collect());
        }
    }

    /// Offers everything free on these agents, in random order, each to the first that qualifies.
    fn allocate(&mut self, mut agents: Vec<Arc<str>>) {
        let mut claimants = self.claimants();
        if claimants.is_empty() {
            return;
        }
        for at in (1..agents.len()).rev() {
            agents.swap(at, self.chance.below(at as u64 + 1) as usize);
        }
        let mut cluster = [0; 4];
        if claimants.len() > 1 {
            for agent in self.agents.values() {
                let of_agent = totals(&agent.description.resources);
                cluster.iter_mut().zip(of_agent).for_each(|(sum, one)| *sum += one);
            }
        }
        let mut batches: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
        for id in agents {
            let Some(agent) = self.agents.get(&id) else { continue };
            if !agent.connected || agent.deactivated || agent.free.is_empty() {
                continue;
            }
            if claimants.len() > 1 {
                self.order_by_share(&mut claimants, &cluster);
            }
            for claimant in &claimants {
                let Some(resources) = self.offerable(claimant, &id) else { continue };
                let number = self.put_offer(claimant, &id, resources);
                batches.entry(Arc::clone(&claimant.framework)).or_default().push(number);
            }
        }
        for (framework, offers) in batches {
            self.send_offers(&framework, offers);
        }
    }

    fn claimants(&self) -> Vec<Claimant> {
        let listening = self.frameworks.values().filter(|framework| framework.stream().is_some());
        let roles = listening.flat_map(|framework| {
            let wanted = framework.roles.iter().filter(|(_, state)| !state.suppressed);
            wanted.map(|(role, _)| Claimant { framework: Arc::clone(&framework.id), role: Arc::clone(role) })
        });
        roles.collect()
    }

    /// Weighted dominant resource fairness: roles by what all of their frameworks hold, then frameworks within a role.
    fn order_by_share(&self, claimants: &mut [Claimant], cluster: &[i64; 4]) {
        let share = |allocated: &[i64; 4]| -> f64 {
            let shares = allocated.iter().zip(cluster).filter(|(_, all)| **all > 0);
            shares.map(|(held, all)| *held as f64 / *all as f64).fold(0.0, f64::max)
        };
        let mut by_role: BTreeMap<Arc<str>, [i64; 4]> = BTreeMap::new();
        for framework in self.frameworks.values() {
            for (role, state) in &framework.roles {
                let sum = by_role.entry(Arc::clone(role)).or_default();
                sum.iter_mut().zip(state.allocated).for_each(|(sum, one)| *sum += one);
            }
        }
        let weight = |role: &str| -> f64 {
            self.settings.weights.iter().find(|(name, _)| name == role).map_or(1.0, |(_, weight)| *weight)
        };
        let key = |claimant: &Claimant| {
            let of_role = share(&by_role[&claimant.role]) / weight(&claimant.role);
            let framework = &self.frameworks[&claimant.framework];
            (of_role, share(&framework.roles[&claimant.role].allocated))
        };
        claimants.sort_by(|one, other| {
            let (first, second) = (key(one), key(other));
            let by_share = first.0.total_cmp(&second.0).then(first.1.total_cmp(&second.1));
            by_share.then_with(|| (&one.role, &one.framework).cmp(&(&other.role, &other.framework)))
        });
    }

    /// What a claimant is offered of an agent; `None` for nothing.
    fn offerable(&mut self, claimant: &Claimant, agent: &Arc<str>) -> Option<Resources> {
        let record = &self.agents[agent];
        let framework = self.frameworks.get_mut(&claimant.framework)?;
        if self.settings.filter_gpus
            && !framework.has(Capability::GpuResources)
            && record.description.resources.has(&Name::Gpus)
        {
            return None;
        }
        let own_region = self.info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        let remote = match (&record.description.domain, own_region) {
            (Some((region, _)), Some(own)) => *region != own.region.name,
            _ => false,
        };
        if remote && !framework.has(Capability::RegionAware) {
            return None;
        }
        if !framework.constraints.admit(&claimant.role, &record.description) {
            return None;
        }
        let revocable = framework.has(Capability::RevocableResources);
        let refined = framework.has(Capability::ReservationRefinement);
        let resources = record.free.filtered(|kind| {
            kind.is_offerable_to(&claimant.role)
                && (revocable || !kind.revocable)
                && (refined || kind.reservations.as_ref().is_none_or(|stack| stack.len() < 2))
        });
        if resources.is_empty() || !is_allocatable(framework, &claimant.role, &resources, &self.settings) {
            return None;
        }
        let now_ms = self.now_ms;
        let key = (Arc::clone(&claimant.role), Arc::clone(agent));
        if let Some(filters) = framework.filters.get_mut(&key) {
            filters.retain(|filter| filter.until_ms > now_ms);
            if filters.iter().any(|filter| filter.resources.contains(&resources)) {
                return None;
            }
            if filters.is_empty() {
                framework.filters.remove(&key);
            }
        }
        Some(resources)
    }

    fn put_offer(&mut self, claimant: &Claimant, agent: &Arc<str>, resources: Resources) -> u64 {
        let number = self.next_offer;
        self.next_offer += 1;
        let record = self.agents.get_mut(agent).expect("it was looked at");
        record.free.subtract(&resources);
        record.offers.insert(number);
        self.allocated(&claimant.framework, &claimant.role, &resources, 1);
        let (framework, role) = (Arc::clone(&claimant.framework), Arc::clone(&claimant.role));
        self.offers.insert(number, Offer { framework, role, agent: Arc::clone(agent), resources });
        number
    }

    /// Books what a role of a framework holds more, or less.
    pub(super) fn allocated(&mut self, framework: &str, role: &str, resources: &Resources, sign: i64) {
        if let Some(state) = self.frameworks.get_mut(framework).and_then(|framework| framework.roles.get_mut(role)) {
            state.allocated.iter_mut().zip(totals(resources)).for_each(|(sum, one)| *sum += sign * one);
        }
    }

    fn send_offers(&mut self, framework: &Arc<str>, numbers: Vec<u64>) {
        self.counters.offer_events += 1;
        self.counters.offers += numbers.len() as u64;
        let known = &self.frameworks[framework];
        let offers = numbers.iter().map(|number| self.offer_message(known, *number)).collect();
        let offers = Some(event::Offers { offers });
        self.tell(framework, Event { r#type: Some(event::Type::Offers as i32), offers, ..Event::default() });
        if let Some(timeout_ms) = self.settings.offer_timeout_ms {
            let timer = Timer::OfferTimeout { offers: numbers };
            self.out.push(Effect::Timer { at_ms: self.now_ms + timeout_ms, timer });
        }
    }

    fn offer_message(&self, framework: &Framework, number: u64) -> v1::Offer {
        let offer = &self.offers[&number];
        let agent = &self.agents[&offer.agent];
        let format = framework.format();
        let executors = agent.executors.keys().filter(|(owner, _)| *owner == framework.id);
        v1::Offer {
            id: self.offer_id(number),
            framework_id: FrameworkId::from(&*framework.id),
            agent_id: AgentId::from(&*offer.agent),
            hostname: agent.description.hostname.clone(),
            resources: to_wire(&offer.resources, format, Some(&offer.role)),
            executor_ids: executors.map(|(_, executor)| (&**executor).into()).collect(),
            attributes: agent.description.attributes.clone(),
            url: Some(agent.url()),
            unavailability: agent.unavailability,
            allocation_info: format.multi_role.then(|| AllocationInfo { role: Some(offer.role.to_string()) }),
            domain: agent.description.domain.as_ref().map(|(region, zone)| v1::DomainInfo {
                fault_domain: Some(domain_info::FaultDomain {
                    region: domain_info::fault_domain::RegionInfo { name: region.clone() },
                    zone: domain_info::fault_domain::ZoneInfo { name: zone.clone() },
                }),
            }),
        }
    }

    pub(super) fn offer_id(&self, number: u64) -> OfferId {
        OfferId { value: format!("{}-O{number}", self.id) }
    }

    /// The number of an offer or inverse offer of this master.
    pub(super) fn offer_number(&self, id: &OfferId) -> Option<u64> {
        id.value.strip_prefix(self.id.as_str())?.strip_prefix("-O")?.parse().ok()
    }

    /// The numbers of those that this master made.
    pub(super) fn offer_numbers(&self, ids: &[OfferId]) -> Vec<u64> {
        ids.iter().filter_map(|id| self.offer_number(id)).collect()
    }

    pub(super) fn offer(&self, number: u64) -> Option<&Offer> {
        self.offers.get(&number)
    }

    /// An offer leaves the books; what it held is the caller's to return or use.
    pub(super) fn take_offer(&mut self, number: u64) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.offers.remove(&number);
        }
        self.allocated(&offer.framework, &offer.role, &offer.resources, -1);
        Some(offer)
    }

    pub(super) fn give_back(&mut self, agent: &str, resources: &Resources) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.free.add(resources);
        }
    }

    /// Takes an offer back and says so.
    pub(super) fn rescind(&mut self, number: u64) {
        let Some(offer) = self.take_offer(number) else { return };
        self.give_back(&offer.agent, &offer.resources);
        let rescind = Some(event::Rescind { offer_id: self.offer_id(number) });
        let event = Event { r#type: Some(event::Type::Rescind as i32), rescind, ..Event::default() };
        self.tell(&offer.framework, event);
    }

    pub(super) fn rescind_offers_of_agent(&mut self, agent: &str) {
        let offers: Vec<u64> =
            self.agents.get(agent).map(|agent| agent.offers.iter().copied().collect()).unwrap_or_default();
        offers.into_iter().for_each(|offer| self.rescind(offer));
        self.rescind_inverse_offers(agent);
    }

    /// Takes every offer back, and says so.
    pub fn rescind_all(&mut self) {
        let mut offers: Vec<u64> = self.offers.keys().copied().collect();
        offers.sort_unstable();
        offers.into_iter().for_each(|offer| self.rescind(offer));
    }

    pub fn outstanding_offers(&self) -> usize {
        self.offers.len()
    }

    /// Takes all offers of a framework back without a word.
    pub(super) fn drop_offers_of(&mut self, framework: &Arc<str>) {
        let mut offers: Vec<u64> =
            self.offers.iter().filter(|(_, offer)| offer.framework == *framework).map(|(number, _)| *number).collect();
        offers.sort_unstable();
        for number in offers {
            if let Some(offer) = self.take_offer(number) {
                self.give_back(&offer.agent, &offer.resources);
            }
        }
        let inverse = self.inverse_offers.iter().filter(|(_, offer)| offer.framework == *framework);
        let inverse: Vec<u64> = inverse.map(|(number, _)| *number).collect();
        for number in inverse {
            if let Some(offer) = self.inverse_offers.remove(&number)
                && let Some(agent) = self.agents.get_mut(&offer.agent)
            {
                agent.inverse_offers.remove(&number);
            }
        }
    }

    /// Refuses resources for the time that the filters say.
    pub(super) fn refuse(&mut self, offer: &Offer, resources: Resources, filters: Option<&Filters>) {
        let Some(refuse_ms) = self.refuse_ms(filters) else { return };
        if resources.is_empty() {
            return;
        }
        let until_ms = self.now_ms + refuse_ms;
        if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
            let key = (Arc::clone(&offer.role), Arc::clone(&offer.agent));
            framework.filters.entry(key).or_default().push(Filter { resources, until_ms });
        }
    }

    /// `None` for no filter at all.
    pub(super) fn refuse_ms(&self, filters: Option<&Filters>) -> Option<u64> {
        let seconds = filters.and_then(|filters| filters.refuse_seconds).unwrap_or(5.0);
        let seconds = if seconds < 0.0 || seconds.is_nan() { 5.0 } else { seconds.min(31_536_000.0) };
        (seconds > 0.0).then(|| ((seconds * 1000.0) as u64).max(self.settings.allocation_interval_ms))
    }
}

fn is_allocatable(
    framework: &Framework,
    role: &str,
    resources: &Resources,
    settings: &super::super::settings::Settings,
) -> bool {
    let minimum = framework.info.offer_filters.get(role).and_then(|filters| filters.min_allocatable_resources.as_ref());
    match minimum {
        None => {
            resources.total_milli(&Name::Cpus) >= settings.min_cpus_milli
                || resources.total_milli(&Name::Mem) >= settings.min_mem_milli
        }
        Some(minimum) => {
            let met =
                |name: &str, value: f64| resources.total_milli(&Name::new(name)) >= (value * 1000.0).round() as i64;
            let sets = &minimum.quantities;
            sets.is_empty() || sets.iter().any(|set| set.quantities.iter().all(|(name, value)| met(name, value.value)))
        }
    }
}

impl AgentRecord {
    pub(super) fn url(&self) -> Url {
        let description = &self.description;
        let address = Address {
            hostname: Some(description.hostname.clone()),
            ip: Some(description.ip.clone()),
            port: i32::from(description.port),
        };
        Url { scheme: "http".into(), address, path: Some("/slave(1)".into()), ..Url::default() }
    }
}
