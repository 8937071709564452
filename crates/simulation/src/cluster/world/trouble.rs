//! What goes wrong with agents and offers, what the engine tells that nobody asked for, and how all is repaired.

use std::collections::VecDeque;

use engine::{Event, OfferId, Reason, TaskState};
use model::{Ports, Resources, TaskId};

use super::{Agent, Reach, Step, World, WorldTask, plain_status};
use crate::cluster::coverage::Fault;
use crate::cluster::schedule::Happening;

impl World {
    /// Takes an offer back.
    pub(in super::super) fn rescind(&mut self) {
        let offers: Vec<OfferId> = self.offers.keys().cloned().collect();
        let Some(offer) = self.chance.pick(&offers).cloned() else { return };
        self.offers.remove(&offer);
        self.coverage.fault(Fault::OfferRescinded);
        let delay = self.chance.between(1, 50);
        self.deliver(delay, Event::Rescinded(offer));
    }

    /// An agent cannot be reached, or goes away for good.
    pub(in super::super) fn agent_trouble(&mut self) {
        let up: Vec<usize> = (0..self.agents.len()).filter(|at| self.agents[*at].reach == Reach::Up).collect();
        let Some(agent) = self.chance.pick(&up).copied() else { return };
        let gone = self.chance.per_mille(400);
        self.agents[agent].reach = if gone { Reach::Gone } else { Reach::Unreachable };
        self.coverage.fault(if gone { Fault::AgentLost } else { Fault::AgentUnreachable });
        let offers = self.offers.iter().filter(|(_, offered)| offered.agent == agent);
        let offers: Vec<OfferId> = offers.map(|(offer, _)| offer.clone()).collect();
        for offer in offers {
            self.offers.remove(&offer);
            self.deliver(2, Event::Rescinded(offer));
        }
        let tasks: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.alive && task.agent == agent).map(|(id, _)| id.clone()).collect();
        if gone {
            // What it had not told yet, nobody will ever hear.
            self.tasks.values_mut().filter(|task| task.agent == agent).for_each(|task| task.unacknowledged.clear());
        }
        for id in tasks {
            if gone {
                let task = self.tasks.get_mut(&id).expect("just listed");
                (task.alive, task.state) = (false, TaskState::Lost);
                let status = plain_status(id, TaskState::Lost, Reason::AgentRemoved);
                self.send_status(status);
            } else {
                self.tell_truth(&id);
            }
        }
        if gone {
            let event = Event::AgentLost(self.agents[agent].id.clone());
            let delay = self.chance.between(1, 100);
            self.deliver(delay, event);
        }
        let delay = self.chance.between(500, 120_000);
        self.schedule.after(delay, Happening::AgentBack { agent });
    }

    /// An agent is back, with its tasks, or as another one in its place.
    pub(in super::super) fn agent_back(&mut self, at: usize) {
        match self.agents[at].reach {
            Reach::Up => {}
            Reach::Gone => {
                self.coverage.fault(Fault::AgentReplaced);
                // What ran there stays the old agent's, which is gone: the new one starts empty.
                let replacement = self.agents.len();
                let old = &self.agents[at];
                let generation = old.generation + 1;
                let new = Agent {
                    id: format!("{}-again-{generation}", old.host),
                    host: old.host.clone(),
                    capacity: old.capacity,
                    ports: Ports::from_ranges([(31_000, 31_019)]),
                    rack: old.rack.clone(),
                    reach: Reach::Up,
                    known: true,
                    refused_until_ms: 0,
                    freed_ms: self.schedule.now_ms,
                    generation,
                };
                debug_assert_eq!(replacement, self.agents.len());
                self.agents.push(new);
            }
            Reach::Unreachable => {
                self.coverage.fault(Fault::AgentReturned);
                self.agents[at].reach = Reach::Up;
                self.agents[at].known = true;
                self.agents[at].freed_ms = self.schedule.now_ms;
                let tasks: Vec<TaskId> =
                    self.tasks.iter().filter(|(_, task)| task.agent == at).map(|(id, _)| id.clone()).collect();
                tasks.iter().for_each(|id| self.tell_truth(id));
            }
        }
    }

    /// A task that nobody asked for is reported.
    pub(in super::super) fn stray(&mut self) {
        let id = TaskId::from(format!("stray-{}", self.name()));
        match self.chance.below(8) {
            0..=2 => {
                let up: Vec<usize> = (0..self.agents.len()).filter(|at| self.agents[*at].reach == Reach::Up).collect();
                let Some(agent) = self.chance.pick(&up).copied() else { return };
                self.coverage.fault(Fault::StrayRunning);
                let state = if self.chance.per_mille(500) { TaskState::Running } else { TaskState::Starting };
                let task = WorldTask {
                    agent,
                    resources: Resources::ZERO,
                    ports: Vec::new(),
                    alive: true,
                    state,
                    unacknowledged: VecDeque::new(),
                    kills_to_ignore: 0,
                };
                self.tasks.insert(id.clone(), task);
                self.tell_truth(&id);
            }
            3 => {
                self.coverage.fault(Fault::StrayOnDisk);
                self.deliver(1, Event::Stray { task_id: id, detail: "found on disk".into() });
            }
            _ => {
                self.coverage.fault(Fault::StrayEnded);
                let ends = [
                    TaskState::Finished,
                    TaskState::Failed,
                    TaskState::Killed,
                    TaskState::Lost,
                    TaskState::Unreachable,
                ];
                let state = *self.chance.pick(&ends).expect("there are some");
                self.send_status(plain_status(id, state, Reason::Reconciliation));
            }
        }
    }

    /// Reports something that is not so. The truth follows, unless it is lost on its way; then it follows when everything is repaired.
    pub(in super::super) fn wrong_status(&mut self, id: TaskId) {
        if !self.connected {
            return;
        }
        self.coverage.fault(Fault::StatusWrong);
        self.misreported.insert(id.clone());
        let state = *self.chance.pick(&TaskState::ALL).expect("there are some");
        self.deliver(1, Event::Status(plain_status(id.clone(), state, Reason::Executor)));
        let delay = self.chance.between(1000, 60_000);
        self.schedule.after(delay, Happening::Truth { task: id });
    }

    /// A task of an old journal runs on, or still starts; it may end by itself.
    pub(in super::super) fn adopt(&mut self, id: TaskId, agent: usize) {
        let running = self.chance.per_mille(600);
        let kills_to_ignore = self.chance.below(3) as u32;
        let task = WorldTask {
            agent,
            resources: Resources::ZERO,
            ports: Vec::new(),
            alive: true,
            state: if running { TaskState::Running } else { TaskState::Starting },
            unacknowledged: VecDeque::new(),
            kills_to_ignore,
        };
        self.tasks.insert(id.clone(), task);
        if !running {
            // It may be stored as RUNNING, from which nothing leads back: in the end it does run.
            let delay = self.chance.between(100, 12_000);
            self.schedule.after(delay, Happening::Task { task: id.clone(), step: Step::Running });
        }
        if self.chance.per_mille(600) {
            let end = [TaskState::Finished, TaskState::Failed, TaskState::Killed, TaskState::Lost];
            let step = Step::End(*self.chance.pick(&end).expect("there are some"));
            let delay = self.chance.between(100, 12_000);
            self.schedule.after(delay, Happening::Task { task: id, step });
        }
    }

    /// Everything is repaired: agents can be reached, nothing more goes wrong.
    pub(in super::super) fn heal(&mut self) {
        self.calm = true;
        self.agents.iter_mut().for_each(|agent| agent.known = true);
        for at in 0..self.agents.len() {
            if self.agents[at].reach == Reach::Unreachable {
                self.agent_back(at);
            }
        }
        // An engine that goes back on its last word says so sooner or later.
        for task in std::mem::take(&mut self.misreported) {
            self.schedule.after(1, Happening::Truth { task });
        }
    }
}
