//! The scheduler's calls, and what the engine makes of them.

use std::collections::{BTreeSet, VecDeque};

use engine::{Call, Launch, OfferId, Reason, StatusToken, TaskState};
use model::{Resources, TaskId};

use super::{Offered, Reach, Step, World, WorldTask, plain_status};
use crate::cluster::coverage::Fault;
use crate::cluster::schedule::Happening;

impl World {
    pub(in super::super) fn calls(&mut self, epoch: u64, calls: Vec<Call>) {
        if epoch < self.highest_epoch {
            self.violation(format!("calls of epoch {epoch} came after calls of epoch {}", self.highest_epoch));
            return;
        }
        self.highest_epoch = epoch;
        if !self.connected {
            return;
        }
        for call in calls {
            match call {
                Call::Accept { offers, launches } => self.accept(&offers, launches),
                Call::Decline { offers, refuse_ms } => {
                    let until = self.schedule.now_ms + refuse_ms.clamp(0, 5000) as u64;
                    for offer in offers {
                        if let Some(offered) = self.offers.remove(&offer) {
                            self.agents[offered.agent].refused_until_ms = until;
                        }
                    }
                }
                Call::Kill { task_id, .. } => self.kill(&task_id),
                Call::Acknowledge { task_id, token, .. } => self.acknowledge(&task_id, &token),
                Call::Reconcile { tasks } if tasks.is_empty() => {
                    let alive: Vec<TaskId> = self.alive().cloned().collect();
                    alive.iter().for_each(|task| self.tell_truth(task));
                }
                Call::Reconcile { tasks } => tasks.iter().for_each(|(task, _)| self.tell_truth(task)),
                Call::Revive => {
                    self.suppressed = false;
                    self.agents.iter_mut().for_each(|agent| agent.refused_until_ms = 0);
                }
                Call::Suppress => self.suppressed = true,
                Call::AcceptInverseOffers { .. } => {}
            }
        }
    }

    pub(super) fn accept(&mut self, offers: &[OfferId], launches: Vec<Launch>) {
        for launch in &launches {
            if !self.launched.insert(launch.task_id.clone()) {
                self.violation(format!("task {} was launched twice", launch.task_id));
            }
        }
        let taken: Vec<Option<Offered>> = offers.iter().map(|offer| self.offers.remove(offer)).collect();
        let agents: Option<Vec<usize>> = taken.iter().map(|offered| Some(offered.as_ref()?.agent)).collect();
        let agent = match agents.as_deref() {
            Some([first, rest @ ..]) if rest.iter().all(|agent| agent == first) => Some(*first),
            _ => None,
        };
        let Some(agent) = agent else {
            self.coverage.fault(Fault::OfferVoid);
            for launch in launches {
                let status = plain_status(launch.task_id, TaskState::Lost, Reason::InvalidOffer);
                self.send_status(status);
            }
            return;
        };
        self.agents[agent].refused_until_ms = self.schedule.now_ms + 100;
        let offered: Vec<Offered> = taken.into_iter().flatten().collect();
        let mut room = offered.iter().fold(Resources::ZERO, |sum, offered| sum + offered.resources);
        let mut ports: Vec<u16> = Vec::new();
        for launch in &launches {
            ports.extend(launch.ports.values());
            room -= launch.resources;
        }
        let distinct: BTreeSet<u16> = ports.iter().copied().collect();
        let owned = distinct.iter().all(|port| offered.iter().any(|offered| offered.ports.contains(*port)));
        if !room.contains(&Resources::ZERO) || distinct.len() != ports.len() || !owned {
            let host = &self.agents[agent].host;
            self.violation(format!("{host} is filled beyond what it offered: {room:?} left, ports {ports:?}"));
            return;
        }
        for launch in launches {
            self.launch(agent, launch);
        }
    }

    pub(super) fn launch(&mut self, agent: usize, launch: Launch) {
        let id = launch.task_id.clone();
        let ports: Vec<u16> = launch.ports.values().copied().collect();
        if self.happens(self.rates.launch_lost, Fault::LaunchLost) {
            return;
        }
        let ignored = self.happens(self.rates.kill_ignored, Fault::KillIgnored);
        let kills_to_ignore = if ignored { self.chance.between(1, 3) as u32 } else { 0 };
        let task = WorldTask {
            agent,
            resources: launch.resources,
            ports,
            alive: true,
            state: TaskState::Starting,
            unacknowledged: VecDeque::new(),
            kills_to_ignore,
        };
        self.tasks.insert(id.clone(), task);
        self.plan_life(&id, launch.config.is_service);
    }

    /// Decides what a task will do.
    pub(super) fn plan_life(&mut self, id: &TaskId, service: bool) {
        let plan =
            |world: &mut Self, delay, step| world.schedule.after(delay, Happening::Task { task: id.clone(), step });
        if self.happens(self.rates.hangs, Fault::TaskHangs) {
            return;
        }
        if self.happens(10, Fault::LaunchFailed) {
            plan(self, 5, Step::End(TaskState::Failed));
            return;
        }
        let mut at = self.chance.between(5, 200);
        if self.chance.per_mille(900) {
            plan(self, at, Step::Starting);
        }
        at += self.chance.between(20, 2000);
        if self.chance.per_mille(960) {
            plan(self, at, Step::Running);
        }
        let lasts = service && !self.chance.per_mille(self.rates.short_runs);
        if lasts {
            return;
        }
        at += match self.chance.below(3) {
            0 => self.chance.between(1, 3000),
            1 => self.chance.between(1000, 60_000),
            _ => self.chance.between(60_000, 900_000),
        };
        let end = match self.chance.below(20) {
            0..=8 => TaskState::Finished,
            9..=16 => TaskState::Failed,
            17 => TaskState::Killed,
            _ => TaskState::Lost,
        };
        if end == TaskState::Killed && !self.calm {
            self.coverage.fault(Fault::KilledUnasked);
        }
        plan(self, at, Step::End(end));
    }

    pub(super) fn kill(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            let status = plain_status(id.clone(), TaskState::Lost, Reason::Reconciliation);
            self.send_status(status);
            return;
        };
        match self.agents[task.agent].reach {
            // The master knows no better than the scheduler.
            Reach::Unreachable => return,
            Reach::Gone => {
                self.tell_truth(id);
                return;
            }
            Reach::Up if !self.agents[task.agent].known => {
                self.tell_truth(id);
                return;
            }
            Reach::Up => {}
        }
        if !task.alive {
            match task.unacknowledged.front().cloned() {
                Some(status) => self.send_status(status),
                None => self.tell_truth(id),
            }
            return;
        }
        if task.kills_to_ignore > 0 && !self.calm {
            task.kills_to_ignore -= 1;
            return;
        }
        let delay = self.chance.between(5, 3000);
        self.schedule.after(delay, Happening::Task { task: id.clone(), step: Step::End(TaskState::Killed) });
    }

    pub(super) fn acknowledge(&mut self, id: &TaskId, token: &StatusToken) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(at) = task.unacknowledged.iter().position(|status| status.token.as_ref() == Some(token)) else {
            return;
        };
        task.unacknowledged.remove(at);
        let (next, agent) = (task.unacknowledged.front().cloned(), task.agent);
        if let Some(next) = next.filter(|_| self.is_heard(agent)) {
            self.send_status(next);
        }
    }

    /// Says how a task is, without a token: the answer to a reconciliation.
    pub(in super::super) fn tell_truth(&mut self, id: &TaskId) {
        let agent = self.tasks.get(id).map(|task| &self.agents[task.agent]);
        if agent.is_some_and(|agent| agent.reach == Reach::Up && !agent.known) {
            return self.tell_guess(id);
        }
        let state = match self.tasks.get(id) {
            Some(task) if task.alive => match self.agents[task.agent].reach {
                Reach::Up => task.state,
                Reach::Unreachable => TaskState::Unreachable,
                Reach::Gone => TaskState::Lost,
            },
            // An end that was not heard of yet is told with its token.
            Some(WorldTask { unacknowledged, agent, .. }) if !unacknowledged.is_empty() => {
                if self.is_heard(*agent) {
                    let status = unacknowledged[0].clone();
                    self.send_status(status);
                }
                return;
            }
            _ => TaskState::Lost,
        };
        let status = plain_status(id.clone(), state, Reason::Reconciliation);
        self.send_status(status);
    }

    /// The leader does not know the task yet: it says nothing, or what is not so.
    pub(super) fn tell_guess(&mut self, id: &TaskId) {
        let state = match self.chance.below(3) {
            0 => return,
            1 => TaskState::Lost,
            _ => TaskState::Unreachable,
        };
        self.coverage.fault(Fault::LeaderGuesses);
        self.send_status(plain_status(id.clone(), state, Reason::Reconciliation));
    }
}
