//! The engine and its agents: machines with room, tasks that start, run, end or hang, and messages that are late or lost. It
//! keeps the engine's side of the contract in [`engine`], and it checks the scheduler's: no launch twice under one name, no agent
//! filled beyond its room, no call of an older epoch after one of a newer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::{Call, Event, Launch, Offer, OfferId, Reason, StatusToken, StatusUpdate, TaskState};
use model::{CpuMillis, Ports, Resources, TaskId};

use super::chance::Chance;
use super::coverage::{Coverage, Fault};
use super::schedule::{Happening, Schedule};

/// What a task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Starting,
    Running,
    End(TaskState),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Up,
    Unreachable,
    Gone,
}

#[derive(Debug)]
struct Agent {
    id: String,
    host: String,
    capacity: Resources,
    ports: Ports,
    rack: String,
    reach: Reach,
    /// Whether the engine's present leader has heard of it.
    known: bool,
    refused_until_ms: u64,
    /// When room last became free on it.
    freed_ms: u64,
    /// How often another agent took its place.
    generation: u32,
}

/// What an offer holds out.
#[derive(Debug)]
struct Offered {
    agent: usize,
    resources: Resources,
    ports: Ports,
}

#[derive(Debug)]
struct WorldTask {
    agent: usize,
    resources: Resources,
    ports: Vec<u16>,
    alive: bool,
    state: TaskState,
    unacknowledged: VecDeque<StatusUpdate>,
    kills_to_ignore: u32,
}

/// How often things go wrong, in thousandths; chosen anew for each seed, so that there are quiet and wild ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub lost: u64,
    pub late: u64,
    pub doubled: u64,
    pub reordered: u64,
    pub launch_lost: u64,
    pub hangs: u64,
    pub kill_ignored: u64,
    pub short_runs: u64,
    /// Not 0 when the engine reports what is not so.
    pub wrong: u64,
}

/// The engine and everything behind it.
#[derive(Debug)]
pub(super) struct World {
    pub schedule: Schedule,
    pub chance: Chance,
    pub coverage: Coverage,
    pub violations: Vec<String>,
    pub rates: Rates,
    pub connected: bool,
    /// How long a new leader may not be believed; agents come back to it in time.
    pub grace_ms: u64,
    /// Tasks were placed when a leader was elected, of which nobody was told yet.
    elected: bool,
    /// Number of the engine's leader; 0 for an engine that has none.
    master: u32,
    /// The scheduler wants no offers.
    suppressed: bool,
    /// No more faults are added.
    pub calm: bool,
    /// Wall clock minus time of the run.
    pub wall_offset_ms: i64,
    connection: u64,
    highest_epoch: u64,
    next_name: u64,
    calls_until_ms: u64,
    agents: Vec<Agent>,
    tasks: BTreeMap<TaskId, WorldTask>,
    /// Every name that was ever launched.
    launched: BTreeSet<TaskId>,
    offers: BTreeMap<OfferId, Offered>,
}

impl World {
    pub fn new(mut chance: Chance, agent_count: usize) -> Self {
        let agents = (0..agent_count)
            .map(|number| Agent {
                id: format!("agent-{number}"),
                host: format!("host-{number}"),
                capacity: Resources {
                    cpu: CpuMillis(1000 * chance.between(2, 6) as i64),
                    ram_mb: 1024 * chance.between(2, 6) as i64,
                    disk_mb: 100_000,
                    ports: 20,
                    gpus: 0,
                },
                ports: Ports::from_ranges([(31_000, 31_019)]),
                rack: format!("rack-{}", number % 2),
                reach: Reach::Up,
                known: true,
                refused_until_ms: 0,
                freed_ms: 0,
                generation: 0,
            })
            .collect();
        let master = u32::from(chance.per_mille(700));
        Self {
            schedule: Schedule::default(),
            chance,
            coverage: Coverage::default(),
            violations: Vec::new(),
            rates: Rates::default(),
            connected: false,
            grace_ms: 0,
            elected: false,
            master,
            suppressed: false,
            calm: false,
            wall_offset_ms: 1_700_000_000_000,
            connection: 0,
            highest_epoch: 0,
            next_name: 0,
            calls_until_ms: 0,
            agents,
            tasks: BTreeMap::new(),
            launched: BTreeSet::new(),
            offers: BTreeMap::new(),
        }
    }

    pub fn wall_ms(&self) -> i64 {
        self.wall_offset_ms + self.schedule.now_ms as i64
    }

    pub fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    fn happens(&mut self, per_mille: u64, fault: Fault) -> bool {
        let happens = !self.calm && self.chance.per_mille(per_mille);
        if happens {
            self.coverage.fault(fault);
        }
        happens
    }

    fn name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    // ---- the connection ----

    /// What the scheduler released goes on its way; calls never overtake each other.
    pub fn send_calls(&mut self, epoch: u64, calls: Vec<Call>) {
        let earliest = self.schedule.now_ms + self.chance.between(0, 15);
        self.calls_until_ms = self.calls_until_ms.max(earliest);
        let delay = self.calls_until_ms - self.schedule.now_ms;
        self.schedule.after(delay, Happening::Calls { epoch, calls });
    }

    /// The scheduler died: what it had sent may not have left its machine. Gives the number of messages lost.
    pub fn scheduler_died(&mut self) -> usize {
        let keep_calls = self.chance.per_mille(500);
        let lost = self.schedule.retain(|happening| match happening {
            Happening::Calls { .. } => keep_calls,
            Happening::Reconnected => false,
            _ => true,
        });
        self.break_connection();
        self.suppressed = false;
        lost
    }

    fn break_connection(&mut self) {
        self.connected = false;
        self.connection += 1;
        self.offers.clear();
    }

    /// The connection breaks; the scheduler notices.
    pub fn disconnect(&mut self) {
        if !self.connected {
            return;
        }
        self.coverage.fault(Fault::Disconnected);
        self.break_connection();
        if !self.calm && self.chance.per_mille(400) {
            self.elect();
        }
        self.schedule.retain(|happening| !matches!(happening, Happening::Calls { .. }));
        self.schedule.after(1, Happening::Event { connection: self.connection, event: Event::Disconnected });
        let delay = self.chance.between(10, 20_000);
        self.schedule.after(delay, Happening::Reconnected);
    }

    /// The engine has a new leader, which knows no agent: they come back to it one by one.
    fn elect(&mut self) {
        if self.master == 0 || self.grace_ms < 2000 {
            return;
        }
        self.coverage.fault(Fault::LeaderElected);
        self.master += 1;
        self.elected = true;
        for at in 0..self.agents.len() {
            self.agents[at].known = false;
            let delay = self.chance.between(100, self.grace_ms * 9 / 10);
            self.schedule.after(delay, Happening::AgentKnown { agent: at, master: self.master });
        }
    }

    /// Whether a leader was elected since this was asked last.
    pub fn take_election(&mut self) -> bool {
        std::mem::take(&mut self.elected)
    }

    /// An agent has come back to the leader of that number.
    pub fn agent_known(&mut self, at: usize, master: u32) {
        if master == self.master {
            self.agents[at].known = true;
            self.agents[at].freed_ms = self.schedule.now_ms;
        }
    }

    /// Whether an agent can be heard of.
    fn is_heard(&self, agent: usize) -> bool {
        self.agents[agent].reach == Reach::Up && self.agents[agent].known
    }

    /// An agent is asked back, sooner or later.
    pub fn ask_back(&mut self) {
        let up: Vec<usize> = (0..self.agents.len()).filter(|at| self.is_heard(*at)).collect();
        let Some(agent) = self.chance.pick(&up).copied().filter(|_| self.connected) else { return };
        self.coverage.fault(Fault::AgentAskedBack);
        let id = format!("inverse-{}", self.name());
        let unavailable_from_ms = self.wall_ms() + self.chance.between(0, 900_000) as i64;
        let (agent_id, host) = match self.chance.below(2) {
            0 => (Some(self.agents[agent].id.clone()), None),
            _ => (None, Some(self.agents[agent].host.clone())),
        };
        self.deliver(1, Event::InverseOffer { id, agent_id, host, unavailable_from_ms });
    }

    /// Another scheduler subscribed in this one's place.
    pub fn depose(&mut self) {
        if self.connected {
            self.coverage.fault(Fault::Deposed);
            self.deliver(1, Event::Deposed { reason: "Framework failed over".into() });
        }
    }

    /// The connection stands: the scheduler is registered, and hears everything that it has not acknowledged.
    pub fn reconnected(&mut self) {
        self.connected = true;
        self.connection += 1;
        // An engine may remember that nobody wanted offers, or not.
        self.suppressed &= self.calm || self.chance.per_mille(500);
        let master = (self.master > 0).then(|| format!("master-{}", self.master));
        self.deliver(1, Event::Registered { framework_id: Some("framework-1".into()), master });
        self.round();
    }

    fn deliver(&mut self, delay_ms: u64, event: Event) {
        self.schedule.after(delay_ms, Happening::Event { connection: self.connection, event });
    }

    /// An event arrives; `None` when its connection is gone.
    pub fn arrives(&mut self, connection: u64, event: Event) -> Option<Event> {
        if connection == self.connection {
            return Some(event);
        }
        if matches!(event, Event::Status(_)) {
            self.coverage.fault(Fault::StatusLost);
        }
        None
    }

    fn send_status(&mut self, status: StatusUpdate) {
        if !self.connected {
            return;
        }
        if self.happens(self.rates.lost, Fault::StatusLost) {
            return;
        }
        if self.happens(self.rates.doubled, Fault::StatusDoubled) {
            let delay = self.chance.between(1, 3000);
            self.deliver(delay, Event::Status(status.clone()));
        }
        let late = self.happens(self.rates.late, Fault::StatusLate);
        let delay = if late { self.chance.between(1000, 60_000) } else { self.chance.between(1, 5) };
        self.deliver(delay, Event::Status(status));
    }

    // ---- calls ----

    pub fn calls(&mut self, epoch: u64, calls: Vec<Call>) {
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

    fn accept(&mut self, offers: &[OfferId], launches: Vec<Launch>) {
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

    fn launch(&mut self, agent: usize, launch: Launch) {
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
    fn plan_life(&mut self, id: &TaskId, service: bool) {
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

    fn kill(&mut self, id: &TaskId) {
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

    fn acknowledge(&mut self, id: &TaskId, token: &StatusToken) {
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
    pub fn tell_truth(&mut self, id: &TaskId) {
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
    fn tell_guess(&mut self, id: &TaskId) {
        let state = match self.chance.below(3) {
            0 => return,
            1 => TaskState::Lost,
            _ => TaskState::Unreachable,
        };
        self.coverage.fault(Fault::LeaderGuesses);
        self.send_status(plain_status(id.clone(), state, Reason::Reconciliation));
    }

    // ---- tasks ----

    pub fn step(&mut self, id: &TaskId, step: Step) {
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
    pub fn round(&mut self) {
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
    pub fn forget_ended(&mut self) {
        self.tasks.retain(|_, task| task.alive || !task.unacknowledged.is_empty());
    }

    fn offer(&mut self) {
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
    fn free(&self, agent: usize) -> (Resources, Ports) {
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

    // ---- trouble ----

    /// Takes an offer back.
    pub fn rescind(&mut self) {
        let offers: Vec<OfferId> = self.offers.keys().cloned().collect();
        let Some(offer) = self.chance.pick(&offers).cloned() else { return };
        self.offers.remove(&offer);
        self.coverage.fault(Fault::OfferRescinded);
        let delay = self.chance.between(1, 50);
        self.deliver(delay, Event::Rescinded(offer));
    }

    /// An agent cannot be reached, or goes away for good.
    pub fn agent_trouble(&mut self) {
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
    pub fn agent_back(&mut self, at: usize) {
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
    pub fn stray(&mut self) {
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

    /// Reports something that is not so. The truth follows.
    pub fn wrong_status(&mut self, id: TaskId) {
        if !self.connected {
            return;
        }
        self.coverage.fault(Fault::StatusWrong);
        let state = *self.chance.pick(&TaskState::ALL).expect("there are some");
        self.deliver(1, Event::Status(plain_status(id.clone(), state, Reason::Executor)));
        let delay = self.chance.between(1000, 60_000);
        self.schedule.after(delay, Happening::Truth { task: id });
    }

    /// A task of an old journal runs on, or still starts; it may end by itself.
    pub fn adopt(&mut self, id: TaskId, agent: usize) {
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
    pub fn heal(&mut self) {
        self.calm = true;
        self.agents.iter_mut().for_each(|agent| agent.known = true);
        for at in 0..self.agents.len() {
            if self.agents[at].reach == Reach::Unreachable {
                self.agent_back(at);
            }
        }
    }

    // ---- looking ----

    /// Tasks that run, or may.
    pub fn alive(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.iter().filter(|(_, task)| task.alive).map(|(id, _)| id)
    }

    /// State of a task that is alive.
    pub fn state_of(&self, id: &TaskId) -> Option<TaskState> {
        self.tasks.get(id).filter(|task| task.alive).map(|task| task.state)
    }

    /// A host that can be reached and has had room for this for so long.
    pub fn host_with_room(&self, need: &Resources, for_ms: u64) -> Option<&str> {
        let before_ms = self.schedule.now_ms.saturating_sub(for_ms);
        let roomy = |agent: &Agent| agent.reach == Reach::Up && agent.freed_ms < before_ms;
        let up = (0..self.agents.len()).filter(|at| roomy(&self.agents[*at]));
        let mut roomy = up.filter(|at| {
            let (free, ports) = self.free(*at);
            Resources { ports: ports.count(), ..free }.contains(need)
        });
        roomy.next().map(|at| self.agents[at].host.as_str())
    }

    /// Whether a status of the task is on its way.
    pub fn is_telling(&self, id: &TaskId) -> bool {
        self.tasks.get(id).is_some_and(|task| !task.unacknowledged.is_empty())
    }

    /// The state that a status with this token reports, while it is not acknowledged.
    pub fn state_of_token(&self, id: &TaskId, token: &StatusToken) -> Option<TaskState> {
        let statuses = &self.tasks.get(id)?.unacknowledged;
        statuses.iter().find(|status| status.token.as_ref() == Some(token)).map(|status| status.state)
    }

    /// Tasks with a status that was not acknowledged for so long.
    pub fn unacknowledged(&self, for_ms: i64) -> impl Iterator<Item = &TaskId> {
        let before_ms = self.wall_ms() - for_ms;
        let old = move |status: &StatusUpdate| status.timestamp_ms.is_some_and(|timestamp| timestamp < before_ms);
        self.tasks.iter().filter(move |(_, task)| task.unacknowledged.iter().any(old)).map(|(id, _)| id)
    }

    /// Id and host of the agent of that number.
    pub fn agent(&self, at: usize) -> (&str, &str) {
        let agent = &self.agents[at % self.agents.len()];
        (&agent.id, &agent.host)
    }

    /// Number of agents, present and gone.
    pub fn agent_count(&self) -> usize {
        self.agents.len()
    }
}

fn plain_status(task_id: TaskId, state: TaskState, reason: Reason) -> StatusUpdate {
    StatusUpdate {
        task_id,
        state,
        reason: Some(reason),
        message: None,
        timestamp_ms: None,
        agent_id: None,
        token: None,
    }
}
