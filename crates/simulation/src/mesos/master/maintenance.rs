//! Planned absences: inverse offers, machines that go down and come up, agents that an operator drains or marks gone (spec mesos 3.8).

use std::sync::Arc;

use mesos::v1::scheduler::{Event, event};
use mesos::v1::{self, AgentId, Filters, FrameworkId, OfferId, TaskState, Unavailability, task_status::Reason};

use super::super::protocol::ToAgent;
use super::{InverseOffer, Master};

impl Master {
    fn machine(&self, agent: &str) -> Option<(String, String)> {
        let description = &self.agents.get(agent)?.description;
        Some((description.hostname.to_lowercase(), description.ip.clone()))
    }

    /// The schedule of a machine changes; `None` takes it off.
    pub fn schedule_maintenance(&mut self, hostname: &str, ip: &str, unavailability: Option<Unavailability>) {
        let machine = (hostname.to_lowercase(), ip.to_owned());
        match unavailability {
            Some(unavailability) => {
                self.registry.machines.insert(machine.clone(), (unavailability, false));
            }
            None => {
                self.registry.machines.remove(&machine);
            }
        }
        let agents: Vec<Arc<str>> =
            self.agents.keys().filter(|id| self.machine(id).as_ref() == Some(&machine)).cloned().collect();
        for id in agents {
            self.rescind_offers_of_agent(&id);
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.unavailability = unavailability;
            }
            for framework in self.frameworks.values_mut() {
                framework.inverse_filters.remove(&id);
            }
        }
        self.pending.all = true;
    }

    /// Every framework with something on a draining agent is asked, unless it is asked already or refused lately.
    pub(super) fn offer_inverse(&mut self) {
        let mut asked: Vec<(Arc<str>, u64)> = Vec::new();
        let now_ms = self.now_ms;
        for agent in self.agents.values_mut().filter(|agent| agent.connected && agent.unavailability.is_some()) {
            let mut owners: Vec<Arc<str>> = agent.tasks.iter().map(|(owner, _)| Arc::clone(owner)).collect();
            owners.dedup();
            for owner in owners {
                let Some(framework) = self.frameworks.get_mut(&owner) else { continue };
                let out = |number: &u64| self.inverse_offers.get(number).is_some_and(|offer| offer.framework == owner);
                let refused = framework.inverse_filters.get(&agent.id).is_some_and(|until_ms| *until_ms > now_ms);
                if framework.stream().is_none() || refused || agent.inverse_offers.iter().any(out) {
                    continue;
                }
                let number = self.next_offer;
                self.next_offer += 1;
                agent.inverse_offers.insert(number);
                let offer = InverseOffer { framework: Arc::clone(&owner), agent: Arc::clone(&agent.id) };
                self.inverse_offers.insert(number, offer);
                asked.push((owner, number));
            }
        }
        asked.sort();
        for batch in asked.chunk_by(|one, other| one.0 == other.0) {
            let offers = batch.iter().filter_map(|(owner, number)| self.inverse_message(owner, *number)).collect();
            let inverse_offers = Some(event::InverseOffers { inverse_offers: offers });
            let kind = Some(event::Type::InverseOffers as i32);
            self.tell(&batch[0].0, Event { r#type: kind, inverse_offers, ..Event::default() });
        }
    }

    fn inverse_message(&self, framework: &str, number: u64) -> Option<v1::InverseOffer> {
        let agent = self.agents.get(&self.inverse_offers.get(&number)?.agent)?;
        Some(v1::InverseOffer {
            id: self.offer_id(number),
            url: Some(agent.url()),
            framework_id: FrameworkId::from(framework),
            agent_id: Some(AgentId::from(&*agent.id)),
            unavailability: agent.unavailability?,
            resources: Vec::new(),
        })
    }

    /// A framework answers; it is asked again once its filter ends.
    pub(super) fn answer_inverse(&mut self, framework: &str, ids: &[OfferId], filters: Option<&Filters>) {
        let until_ms = self.now_ms + self.refuse_ms(filters).unwrap_or_default();
        for number in self.offer_numbers(ids) {
            if self.inverse_offers.get(&number).is_none_or(|offer| *offer.framework != *framework) {
                continue;
            }
            let Some(offer) = self.inverse_offers.remove(&number) else { continue };
            if let Some(agent) = self.agents.get_mut(&offer.agent) {
                agent.inverse_offers.remove(&number);
            }
            if let Some(framework) = self.frameworks.get_mut(framework) {
                framework.inverse_filters.insert(offer.agent, until_ms);
            }
        }
    }

    pub(super) fn rescind_inverse_offers(&mut self, agent: &str) {
        let Some(record) = self.agents.get_mut(agent) else { return };
        for number in std::mem::take(&mut record.inverse_offers) {
            let Some(offer) = self.inverse_offers.remove(&number) else { continue };
            let rescind_inverse_offer = Some(event::RescindInverseOffer { inverse_offer_id: self.offer_id(number) });
            let kind = Some(event::Type::RescindInverseOffer as i32);
            self.tell(&offer.framework, Event { r#type: kind, rescind_inverse_offer, ..Event::default() });
        }
    }

    /// A scheduled machine goes down: its agents are removed, even partition-aware frameworks are told LOST.
    pub fn machine_down(&mut self, hostname: &str, ip: &str) {
        let machine = (hostname.to_lowercase(), ip.to_owned());
        let Some((_, down)) = self.registry.machines.get_mut(&machine) else { return };
        *down = true;
        let agents: Vec<Arc<str>> =
            self.agents.keys().filter(|id| self.machine(id).as_ref() == Some(&machine)).cloned().collect();
        for agent in agents {
            self.send_agent(&agent, ToAgent::Shutdown);
            self.remove_agent(&agent, None, Reason::AgentRemoved, "Agent machine was taken down by an operator");
        }
    }

    /// It comes up; its schedule is done.
    pub fn machine_up(&mut self, hostname: &str, ip: &str) {
        self.registry.machines.remove(&(hostname.to_lowercase(), ip.to_owned()));
    }

    pub(super) fn is_down(&self, hostname: &str, ip: &str) -> bool {
        self.registry.machines.get(&(hostname.to_lowercase(), ip.to_owned())).is_some_and(|(_, down)| *down)
    }

    /// An operator marks an agent gone: it must die and its id never comes back.
    pub fn mark_gone(&mut self, agent: &Arc<str>) {
        self.send_agent(agent, ToAgent::Shutdown);
        self.registry.gone.insert(Arc::clone(agent));
        self.registry.unreachable.remove(agent);
        let state = Some(TaskState::GoneByOperator);
        self.remove_agent(agent, state, Reason::AgentRemovedByOperator, "Agent has been marked gone");
        self.recovered.remove(agent);
        self.registry.admitted.remove(agent);
    }

    /// An operator drains an agent: no offers, and every task is killed.
    pub fn drain(&mut self, agent: &Arc<str>, max_grace_ms: Option<u64>, mark_gone: bool) {
        self.rescind_offers_of_agent(agent);
        if let Some(record) = self.agents.get_mut(agent) {
            record.deactivated = true;
        }
        self.send_agent(agent, ToAgent::Drain { max_grace_ms, mark_gone });
    }

    /// Offers of a drained or deactivated agent begin again.
    pub fn reactivate(&mut self, agent: &Arc<str>) {
        if let Some(record) = self.agents.get_mut(agent) {
            record.deactivated = false;
            self.pending.agents.insert(Arc::clone(agent));
        }
    }
}
