//! How tasks get on, what is said of them again, and what room they leave to be offered.

use engine::{Event, Offer, Reason, StatusToken, StatusUpdate, TaskState};
use model::{CpuMillis, Ports, Resources, TaskId};

use super::{Offered, Reach, Step, World};
use crate::cluster::coverage::Fault;

impl World {
    pub(in super::super) fn step(&mut self, id: &TaskId, step: Step) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let state = match step {
            Step::Starting => TaskState::Starting,
            Step::Running => TaskState::Running,
            Step::End(state) => state,
        };
        if !task.alive || self.agents[task.agent].reach == Reach::Gone {
            return;
        }
        if task.state == TaskState::Running && step == Step::Starting {
            return;
        }
        task.state = state;
        task.alive = !state.is_terminal();
        if state.is_terminal() {
            self.agents[task.agent].freed_ms = self.schedule.now_ms;
        }
        let token = self.name();
        let wall_ms = self.wall_ms();
        let task = self.tasks.get_mut(id).expect("looked up above");
        let status = StatusUpdate {
            task_id: id.clone(),
            state,
            reason: Some(Reason::Executor),
            message: None,
            timestamp_ms: Some(wall_ms),
            agent_id: Some(self.agents[task.agent].id.clone()),
            token: Some(StatusToken(token.to_be_bytes().to_vec())),
        };
        task.unacknowledged.push_back(status.clone());
        let (first, agent) = (task.unacknowledged.len() == 1, task.agent);
        if !self.is_heard(agent) {
            return;
        }
        if first || self.happens(self.rates.reordered, Fault::StatusReordered) {
            self.send_status(status);
        }
    }

    /// Says again what was not acknowledged, and offers what is free.
    pub(in super::super) fn round(&mut self) {
        if !self.connected {
            return;
        }
        let again: Vec<StatusUpdate> = self
            .tasks
            .values()
            .filter(|task| self.is_heard(task.agent))
            .filter_map(|task| task.unacknowledged.front().cloned())
            .collect();
        again.into_iter().for_each(|status| self.send_status(status));
        self.offer();
    }

    /// Forgets tasks that are over and whose end is acknowledged: no more than a real engine remembers.
    pub(in super::super) fn forget_ended(&mut self) {
        self.tasks.retain(|_, task| task.alive || !task.unacknowledged.is_empty());
    }

    pub(super) fn offer(&mut self) {
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for at in 0..self.agents.len() {
            let agent = &self.agents[at];
            if agent.reach != Reach::Up || !agent.known || agent.refused_until_ms > self.schedule.now_ms {
                continue;
            }
            let (mut free, mut ports) = self.free(at);
            for offered in self.offers.values().filter(|offered| offered.agent == at) {
                free -= offered.resources;
                offered.ports.ranges().iter().flat_map(|(first, last)| *first..=*last).for_each(|port| {
                    ports.remove(port);
                });
            }
            free.ports = ports.count();
            if free.cpu.0 <= 0 || free.ram_mb <= 0 {
                continue;
            }
            let id = format!("offer-{}", self.name());
            let agent = &self.agents[at];
            self.offers.insert(id.clone(), Offered { agent: at, resources: free, ports: ports.clone() });
            offers.push(Offer {
                id,
                agent_id: agent.id.clone(),
                host: agent.host.clone(),
                resources: free,
                revocable_cpu: CpuMillis(0),
                port_ranges: ports,
                attributes: [
                    ("rack".to_owned(), vec![agent.rack.clone()]),
                    ("host".to_owned(), vec![agent.host.clone()]),
                ]
                .into(),
                unreserved: Resources::ZERO,
                role: None,
                unavailable_from_ms: None,
            });
        }
        if !offers.is_empty() {
            let delay = self.chance.between(1, 5);
            self.deliver(delay, Event::Offers(offers));
        }
    }

    /// What no task has taken; part of it may be offered.
    pub(super) fn free(&self, agent: usize) -> (Resources, Ports) {
        let mut free = self.agents[agent].capacity;
        let mut ports = self.agents[agent].ports.clone();
        for task in self.tasks.values().filter(|task| task.alive && task.agent == agent) {
            free -= task.resources;
            for port in &task.ports {
                ports.remove(*port);
            }
        }
        (free, ports)
    }
}
