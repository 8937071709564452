//! What goes wrong with whole processes and machines: masters, agents, the network to one of them.

use std::cmp::Reverse;

use super::super::agent::Phase;
use super::{Cluster, Due, Leadership, Output};

impl Cluster {
    /// The next requests of schedulers are refused with this status.
    pub fn refuse_requests(&mut self, status: u16, times: u64) {
        self.refuse = Some((status, times));
    }

    /// The next ACCEPTs are taken and forgotten: nothing is started, and nobody is told.
    pub fn lose_accepts(&mut self, times: u64) {
        self.accepts_to_lose = times;
    }

    /// The leader's process dies. Another living master is elected after a while and reads the registry; agents come to it one by one.
    pub fn kill_leader(&mut self) {
        let (Leadership::Leading(index, _) | Leadership::Recovering(index)) = self.leadership else { return };
        if let Leadership::Leading(_, master) = std::mem::replace(&mut self.leadership, Leadership::None) {
            self.counters_before.add(&master.counters);
            self.registry = master.registry;
        }
        self.masters[index].alive = false;
        self.term += 1;
        self.out.push(Output::MasterDied { master: index });
        for agent in &mut self.agents {
            agent.registered = false;
        }
        self.registering.clear();
        let count = self.masters.len();
        let next = (1..count).map(|step| (index + step) % count).find(|next| self.masters[*next].alive);
        if let Some(next) = next {
            self.elect(next);
        }
    }

    fn elect(&mut self, index: usize) {
        let at_ms = self.now_ms + self.settings.election_ms;
        let term = self.term;
        self.plan(at_ms, Due::Elected { index, term });
    }

    /// A dead master is started again; it leads if nobody else does.
    pub fn start_master(&mut self, index: usize) {
        self.masters[index].alive = true;
        let pending = self
            .later
            .iter()
            .any(|Reverse(planned)| matches!(planned.due, Due::Elected { term, .. } if term == self.term));
        if matches!(self.leadership, Leadership::None) && !pending {
            self.elect(index);
        }
    }

    /// Whether a master's process runs.
    pub fn is_alive(&self, master: usize) -> bool {
        self.masters[master].alive
    }

    /// Nothing reaches an agent or comes from it; connections stay open. Its master notices by its pings; what was sent in a shorter time
    /// arrives when it is over.
    pub fn partition(&mut self, index: usize) {
        self.cuts += 1;
        self.cut.insert(index, self.cuts);
        let at_ms = self.now_ms + self.settings.agent_ping_timeout_ms;
        self.plan(at_ms, Due::PingTimeout { index, cut: self.cuts });
    }

    /// The agent can be reached again. If it was away for too long it registers again, with everything it still runs.
    pub fn heal(&mut self, index: usize) {
        if self.cut.remove(&index).is_none() {
            return;
        }
        self.soon.extend(self.held.remove(&index).unwrap_or_default());
        let id = self.agents[index].id.clone();
        let known = match (id, &self.leadership) {
            (Some(id), Leadership::Leading(_, master)) => master.agents.contains_key(&id),
            _ => false,
        };
        if !known {
            self.agents[index].registered = false;
        }
        self.plan_register(index, self.now_ms);
        self.work();
    }

    /// The leader forgets which agents were out of reach, as it does after two weeks or too many of them: of the tasks of one that comes
    /// back it says nothing by itself.
    pub fn forget_unreachable(&mut self) {
        if let Some(master) = self.master() {
            master.registry.unreachable.clear();
        }
    }

    /// An agent's process dies; its socket breaks, which its master sees unless it is cut off.
    pub fn crash_agent(&mut self, index: usize) {
        self.held.remove(&index);
        self.agent_mut(index).crash();
        self.drain_agent(index);
        if let Some(id) = self.agents[index].id.clone().filter(|_| !self.cut.contains_key(&index))
            && let Some(master) = self.master()
        {
            master.agent_disconnected(&id);
        }
        // Its pings stop too.
        self.cuts += 1;
        let cut = self.cuts;
        let at_ms = self.now_ms + self.settings.agent_ping_timeout_ms;
        self.cut.insert(index, cut);
        self.plan(at_ms, Due::PingTimeout { index, cut });
        self.work();
    }

    /// It is started again.
    pub fn restart_agent(&mut self, index: usize) {
        self.cut.remove(&index);
        self.registering.remove(&index);
        self.agent_mut(index).restart();
        self.drain_agent(index);
        self.work();
    }

    /// It is started again if its process is not there.
    pub fn restart_agent_if_down(&mut self, index: usize) {
        if self.agents[index].phase == Phase::Down {
            self.restart_agent(index);
        }
    }

    /// Its machine is replaced by an empty one that takes its place under a new id.
    pub fn replace_agent(&mut self, index: usize) {
        self.held.remove(&index);
        self.cut.remove(&index);
        self.registering.remove(&index);
        self.agent_mut(index).replace();
        self.drain_agent(index);
        self.work();
    }

    /// Executors of an agent do not come back at its next restart.
    pub fn silence_executors(&mut self, index: usize) {
        self.agents[index].silence_executors();
    }

    /// An agent says goodbye and ends everything it runs.
    pub fn unregister_agent(&mut self, index: usize) {
        self.agent_mut(index).unregister();
        self.drain_agent(index);
        self.work();
    }
}
