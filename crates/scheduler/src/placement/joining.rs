//! Parts of one agent that are offered to several roles, and only together have room for a task.
//!
//! An engine offers what is set aside for nobody to one role at a time, and offers of two roles are never accepted together. So what
//! one role was offered beside another's reservation is given back, for as long as refused offers stay away from that role: the engine
//! offers it to the other. Whether it does is its affair (quota, other frameworks), so an offer to a role is given up for this once in
//! a while only, and only for a task that waits and would fit.

use std::collections::BTreeSet;

use engine::Call;
use model::{CpuMillis, Resources};

use super::filter::{LimitCounts, Query};
use super::offers::Agent;
use crate::core::{Core, ms};

/// What a role was offered on an agent is given up for another role once in so many ms.
const PAUSE_MS: u64 = 60_000;
/// Groups that are looked at when a blocked class meets fresh room.
const TRIES_PER_CLASS: usize = 8;
/// Agents looked at that count as one piece of work.
const AGENTS_PER_WORK: usize = 16;

impl Core {
    /// Gives offers back so that the room of one role and what another holds of nobody's come together, for the waiting tasks of a
    /// group: on these agents, or on all of them.
    pub(crate) fn join_roles_for(&mut self, number: u64, among: Option<&BTreeSet<String>>) {
        if self.book.shared_agents().is_empty() {
            return;
        }
        let Some(group) = self.groups.by_number.get(&number) else { return };
        let (config, class, mut waiting) = (group.config.clone(), group.class, group.queue.len());
        if waiting == 0 || self.missing_executor(&config).is_some() {
            return;
        }
        let counts = self.limit_counts(&config);
        let query = self.query(&config, class);
        let agents = among.unwrap_or(self.book.shared_agents());
        self.work += 1 + agents.len() / AGENTS_PER_WORK;
        let mut given_up = Vec::new();
        for agent in agents {
            if waiting == 0 {
                break;
            }
            if let Some(slots) = self.to_give_up(agent, number, (&query, &counts)) {
                given_up.extend(slots);
                waiting -= 1;
            }
        }
        if given_up.is_empty() {
            return;
        }
        let again_ms = self.now.monotonic_ms.saturating_add(PAUSE_MS);
        let mut offers = Vec::new();
        for slot in given_up {
            offers.extend(self.drop_offers(slot));
            if let Some(agent) = self.book.agent_mut(slot) {
                agent.given_up_until_ms = again_ms;
            }
            self.publish_agent(slot);
        }
        self.count("offers_given_up_for_another_role", offers.len() as i64);
        let refuse_ms = ms(self.settings.offer_filter_duration) as i64;
        self.call(Call::Decline { offers, refuse_ms });
    }

    /// Blocked groups that find no room in what has just been offered look at it together with what other roles hold there.
    pub(crate) fn join_roles_on(&mut self, fresh: &[usize]) {
        let shared = self.book.shared_agents();
        if shared.is_empty() {
            return;
        }
        let ids = fresh.iter().filter_map(|slot| Some(self.book.agent(*slot)?.id.clone()));
        let agents: BTreeSet<String> = ids.filter(|id| shared.contains(id)).collect();
        if agents.is_empty() {
            return;
        }
        let first = |groups: &std::collections::BTreeMap<u64, u64>| {
            groups.values().take(TRIES_PER_CLASS).copied().collect::<Vec<_>>()
        };
        let numbers: Vec<u64> = self.groups.blocked.values().flat_map(first).collect();
        for number in numbers {
            if !self.may_work() {
                return;
            }
            self.join_roles_for(number, Some(&agents));
        }
    }

    /// The slots of an agent whose offers go back so that one task of the group fits beside what the best placed role keeps.
    fn to_give_up(&self, agent: &str, number: u64, (query, counts): (&Query<'_>, &LimitCounts)) -> Option<Vec<usize>> {
        let all = self.book.slots_of(agent).iter().filter_map(|slot| self.book.agent(*slot));
        let most = all.fold(Resources::ZERO, |sum, agent| sum + agent.usable(query.revocable));
        if !most.contains(&query.demand) || self.affinity.keeps(agent) {
            return None;
        }
        let group = self.groups.by_number.get(&number)?;
        let slots = self.book.slots_of(agent).iter().filter_map(|slot| Some((*slot, self.book.agent(*slot)?)));
        let mut offered: Vec<(usize, &Agent)> = slots.filter(|(_, agent)| agent.is_offered()).collect();
        // The larger the part that stays, the less has to be given up.
        offered.sort_by_key(|(slot, agent)| (std::cmp::Reverse(agent.usable(query.revocable).cpu), *slot));
        let is_free = |slot: usize, agent: &Agent| {
            !group.is_banned(slot) && agent.reserved_for.is_none_or(|holder| holder == number)
        };
        for (keeper, keeping) in offered.iter().filter(|(slot, agent)| is_free(*slot, agent)) {
            let mut room = keeping.usable(query.revocable);
            let mut given_up = Vec::new();
            for (slot, agent) in &offered {
                if room.contains(&query.demand) {
                    break;
                }
                let may_go =
                    slot != keeper && agent.reserved_for.is_none() && agent.given_up_until_ms <= self.now.monotonic_ms;
                let unreserved = agent.unreserved(query.revocable);
                if may_go && unreserved != Resources::ZERO {
                    room += unreserved;
                    given_up.push(*slot);
                }
            }
            if !given_up.is_empty() && query.veto(keeping, &room, counts).is_none() {
                return Some(given_up);
            }
        }
        None
    }
}

impl Agent {
    /// What of the held offers another role may be offered instead.
    fn unreserved(&self, revocable: bool) -> Resources {
        let unreserved = self.offers.iter().fold(Resources::ZERO, |sum, offer| sum + offer.unreserved);
        // Nobody reserves what may be taken back.
        if revocable { Resources { cpu: CpuMillis(self.revocable_cpu.0), ..unreserved } } else { unreserved }
    }
}
