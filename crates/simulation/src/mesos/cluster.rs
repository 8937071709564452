//! Masters, agents and what lies between them, in one place and without threads: requests go in with the time, answers and stream events
//! come out. The shell in [`super::server`] carries them over HTTP; a simulated run may call it directly.

mod breakdowns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use mesos::v1::scheduler::{Call, Event, call};
use mesos::v1::{Address, MasterInfo, TaskInfo, TaskState, executor as executor_api, master_info};

use super::agent::{self, Agent, Phase};
use super::faults::{Fate, Faults};
use super::history::{History, Moment};
use super::master::{self, Counters, Master, Refusal, Registry};
use super::protocol::{AgentDescription, ToAgent, ToMaster};
use super::script::Script;
use super::settings::Settings;
use crate::cluster::chance::Chance;

/// Chooses what a task does: from its description, and the index of its agent.
pub type Scripts = Box<dyn Fn(&TaskInfo, usize) -> Script + Send>;

/// Something that is due.
#[derive(Debug)]
enum Due {
    Master {
        term: u64,
        timer: master::Timer,
    },
    Agent {
        index: usize,
        timer: agent::Timer,
    },
    /// An agent tries to register; only the try that was planned last counts.
    Register {
        index: usize,
        at_ms: u64,
    },
    ToAgent {
        term: u64,
        index: usize,
        message: ToAgent,
    },
    ToMaster {
        term: u64,
        index: usize,
        message: ToMaster,
    },
    /// An agent that is cut off has not answered pings for too long.
    PingTimeout {
        index: usize,
        cut: u64,
    },
    /// A master is elected.
    Elected {
        index: usize,
        term: u64,
    },
    /// It has read the registry.
    Recovered {
        term: u64,
    },
}

struct Planned {
    at_ms: u64,
    number: u64,
    due: Due,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

/// What comes out of a cluster.
#[derive(Debug)]
pub enum Output {
    /// An event of a scheduler's subscription.
    Event {
        /// The subscription.
        stream: u64,
        /// The event.
        event: Box<Event>,
    },
    /// An event for an executor.
    ExecutorEvent {
        /// Its subscription.
        stream: u64,
        /// The event.
        event: Box<executor_api::Event>,
    },
    /// A subscription ends in good order.
    Close {
        /// Which.
        stream: u64,
    },
    /// Every connection of this master breaks: its process is dead.
    MasterDied {
        /// Which.
        master: usize,
    },
    /// An executor's process is to be started.
    Spawn {
        /// The agent.
        agent: usize,
        /// Framework and executor.
        key: (Arc<str>, Arc<str>),
    },
    /// The process of a task that is a command is to be asked to end.
    Terminate {
        /// The agent.
        agent: usize,
        /// Framework and task.
        key: (Arc<str>, Arc<str>),
    },
    /// An executor's process and everything below it is to be killed.
    Destroy {
        /// The agent.
        agent: usize,
        /// Framework and executor.
        key: (Arc<str>, Arc<str>),
    },
}

/// The process of a master.
#[derive(Clone, Debug)]
struct MasterSlot {
    alive: bool,
    /// Address that it advertises.
    ip: String,
    port: u16,
    hostname: String,
}

/// Where the leader stands.
#[derive(Debug)]
enum Leadership {
    /// Nobody is elected.
    None,
    /// Elected, and reads the registry.
    Recovering(usize),
    /// Serves.
    Leading(usize, Box<Master>),
}

/// How a request of a scheduler is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status and its text.
    Status(u16, String),
    /// 307 to this `host:port`.
    Redirect(String),
    /// 200 and a stream of events.
    Stream {
        /// Its number.
        stream: u64,
        /// Its `Mesos-Stream-Id`.
        id: String,
    },
}

/// The cluster.
pub struct Cluster {
    settings: Arc<Settings>,
    now_ms: u64,
    chance: Chance,
    /// Rules for messages between masters and agents.
    pub faults: Faults,
    masters: Vec<MasterSlot>,
    leadership: Leadership,
    /// Counts elections, so that messages and timers of a dead master are told from those of the next.
    term: u64,
    registry: Registry,
    agents: Vec<Agent>,
    index_of: BTreeMap<Arc<str>, usize>,
    /// Agents that nothing reaches, and which cut it is.
    cut: BTreeMap<usize, u64>,
    cuts: u64,
    /// What waits in the buffers of a connection that nothing gets through: it comes late, or never if the connection is given up.
    held: BTreeMap<usize, Vec<Due>>,
    /// When agents that are not registered try next.
    registering: BTreeMap<usize, u64>,
    scripts: Scripts,
    soon: VecDeque<Due>,
    later: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    streams: u64,
    /// Agents of the subscriptions of executors.
    executor_streams: BTreeMap<u64, usize>,
    out: Vec<Output>,
    /// Requests to be refused with this status before anything else is looked at.
    refuse: Option<(u16, u64)>,
    /// So many ACCEPTs are taken and forgotten.
    accepts_to_lose: u64,
    counters_before: Counters,
    /// What judges look at.
    pub history: History,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("now_ms", &self.now_ms).field("agents", &self.agents.len()).finish()
    }
}

impl Cluster {
    /// A cluster at time 0 whose first master leads.
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let slot = |index: usize| MasterSlot {
            alive: true,
            ip: "127.0.0.1".into(),
            port: 5050 + index as u16,
            hostname: "127.0.0.1".into(),
        };
        let mut cluster = Self {
            now_ms: 0,
            chance: Chance::new(settings.seed),
            faults: Faults::default(),
            masters: (0..settings.masters.max(1)).map(slot).collect(),
            leadership: Leadership::None,
            term: 0,
            registry: Registry::default(),
            agents: Vec::new(),
            index_of: BTreeMap::new(),
            cut: BTreeMap::new(),
            cuts: 0,
            held: BTreeMap::new(),
            registering: BTreeMap::new(),
            scripts: Box::new(|_, _| Script::default()),
            soon: VecDeque::new(),
            later: BinaryHeap::new(),
            planned: 0,
            streams: 0,
            executor_streams: BTreeMap::new(),
            out: Vec::new(),
            refuse: None,
            accepts_to_lose: 0,
            counters_before: Counters::default(),
            history: History::new(settings.history),
            settings,
        };
        cluster.leadership = Leadership::Recovering(0);
        cluster.term = 1;
        cluster.lead();
        cluster
    }

    /// Flags.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Simulated time.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What tasks do from now on.
    pub fn set_scripts(&mut self, scripts: impl Fn(&TaskInfo, usize) -> Script + Send + 'static) {
        self.scripts = Box::new(scripts);
    }

    /// A master's advertised address, once it is known.
    pub fn set_master_address(&mut self, master: usize, ip: &str, port: u16) {
        let slot = &mut self.masters[master];
        (slot.ip, slot.hostname, slot.port) = (ip.to_owned(), ip.to_owned(), port);
        if let Leadership::Leading(leader, _) = self.leadership
            && leader == master
        {
            let info = self.master_info(master);
            if let Leadership::Leading(_, master) = &mut self.leadership {
                master.info = MasterInfo { id: master.id.clone(), ..info };
            }
        }
    }

    /// Adds an agent, which registers at once. The answer is its index.
    pub fn add_agent(&mut self, description: AgentDescription) -> usize {
        self.add(description, false)
    }

    /// Adds an agent whose executors are processes; `description.port` must be where its HTTP endpoints are.
    pub fn add_process_agent(&mut self, description: AgentDescription) -> usize {
        self.add(description, true)
    }

    fn add(&mut self, description: AgentDescription, processes: bool) -> usize {
        let index = self.agents.len();
        self.agents.push(Agent::new(index, description, processes, Arc::clone(&self.settings)));
        self.plan_register(index, self.now_ms);
        index
    }

    pub(super) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    pub(super) fn agent_mut(&mut self, index: usize) -> &mut Agent {
        let now_ms = self.now_ms;
        self.agents[index].at(now_ms)
    }

    /// The present leader, if it serves.
    pub fn leader(&self) -> Option<usize> {
        match &self.leadership {
            Leadership::Leading(index, _) => Some(*index),
            _ => None,
        }
    }

    pub(super) fn master(&mut self) -> Option<&mut Master> {
        let now_ms = self.now_ms;
        match &mut self.leadership {
            Leadership::Leading(_, master) => Some(master.at(now_ms)),
            _ => None,
        }
    }

    /// What the masters counted, all terms together.
    pub fn counters(&self) -> Counters {
        let mut sum = self.counters_before;
        if let Leadership::Leading(_, master) = &self.leadership {
            sum.add(&master.counters);
        }
        sum
    }

    /// When something is due next.
    pub fn next_wake(&self) -> Option<u64> {
        if !self.soon.is_empty() {
            return Some(self.now_ms);
        }
        self.later.peek().map(|Reverse(planned)| planned.at_ms)
    }

    /// Lets time pass and does what is due; then what came out can be taken.
    pub fn advance(&mut self, now_ms: u64) {
        loop {
            self.work();
            let due = self.later.peek().is_some_and(|Reverse(planned)| planned.at_ms <= now_ms);
            if !due {
                break;
            }
            let Some(Reverse(planned)) = self.later.pop() else { break };
            self.now_ms = self.now_ms.max(planned.at_ms);
            self.soon.push_back(planned.due);
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Everything that is due at this moment.
    fn work(&mut self) {
        loop {
            self.drain_effects();
            let Some(due) = self.soon.pop_front() else {
                if let Some(master) = self.master() {
                    master.settle();
                }
                self.drain_effects();
                if self.soon.is_empty() {
                    return;
                }
                continue;
            };
            self.handle(due);
        }
    }

    /// What came out since the last time.
    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn plan(&mut self, at_ms: u64, due: Due) {
        if at_ms <= self.now_ms {
            return self.soon.push_back(due);
        }
        self.planned += 1;
        self.later.push(Reverse(Planned { at_ms, number: self.planned, due }));
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Master { term, timer } => {
                if term == self.term
                    && let Some(master) = self.master()
                {
                    master.wake(timer);
                }
            }
            Due::Register { index, at_ms } => {
                if self.registering.get(&index) == Some(&at_ms) {
                    self.register(index);
                }
            }
            Due::Agent { index, timer } => {
                self.agent_mut(index).wake(timer);
                self.drain_agent(index);
            }
            Due::ToAgent { term, index, message } => self.reach_agent(term, index, message),
            Due::ToMaster { term, index, message } => self.reach_master(term, index, message),
            Due::PingTimeout { index, cut } => {
                if self.cut.get(&index) == Some(&cut) {
                    self.held.remove(&index);
                }
                if self.cut.get(&index) == Some(&cut)
                    && let Some(id) = self.agents[index].id.clone()
                    && let Some(master) = self.master()
                {
                    master.mark_unreachable(&id);
                }
            }
            Due::Elected { index, term } => {
                if term == self.term {
                    self.leadership = Leadership::Recovering(index);
                    let at_ms = self.now_ms + self.settings.recovery_ms;
                    self.plan(at_ms, Due::Recovered { term });
                }
            }
            Due::Recovered { term } => {
                if term == self.term {
                    self.lead();
                }
            }
        }
    }

    fn plan_register(&mut self, index: usize, at_ms: u64) {
        self.registering.insert(index, at_ms);
        self.plan(at_ms, Due::Register { index, at_ms });
    }

    /// A registration sets out, and again until it is confirmed.
    fn register(&mut self, index: usize) {
        let agent = &self.agents[index];
        if agent.phase != Phase::Up || agent.registered {
            self.registering.remove(&index);
            return;
        }
        if self.leader().is_some() && !self.cut.contains_key(&index) {
            let registration = Box::new(agent.registration());
            self.carry_to_master(index, ToMaster::Register(registration));
        }
        let again_ms = self.now_ms + 1_000 + self.chance.below(1_000);
        self.plan_register(index, again_ms);
    }

    fn reach_agent(&mut self, term: u64, index: usize, message: ToAgent) {
        if term != self.term {
            return;
        }
        if self.cut.contains_key(&index) {
            return self.hold(index, Due::ToAgent { term, index, message });
        }
        if let ToAgent::Registered { agent_id } = &message {
            self.registering.remove(&index);
            self.index_of.insert(Arc::clone(agent_id), index);
        }
        if self.history.is_kept() {
            if let ToAgent::Launch { tasks, .. } = &message {
                for task in tasks {
                    self.history.add(self.now_ms, Moment::Launched { task: Arc::clone(&task.id), agent: index });
                }
            }
            if let ToAgent::Acknowledge { task, uuid, .. } = &message {
                self.history.add(self.now_ms, Moment::Acknowledged { task: Arc::clone(task), uuid: *uuid });
            }
            if let ToAgent::Kill { task, .. } = &message {
                self.history.add(self.now_ms, Moment::KillArrived { task: Arc::clone(task), agent: index });
            }
        }
        let now_ms = self.now_ms;
        self.agents[index].at(now_ms).receive(message, &*self.scripts);
        self.drain_agent(index);
    }

    fn reach_master(&mut self, term: u64, index: usize, message: ToMaster) {
        if term != self.term {
            return;
        }
        if self.cut.contains_key(&index) {
            return self.hold(index, Due::ToMaster { term, index, message });
        }
        if let ToMaster::Register(registration) = message {
            if let Some(master) = self.master() {
                master.register(index, *registration);
            }
            return;
        }
        let Some(id) = self.agents[index].id.clone() else { return };
        let registered = self.agents[index].registered || matches!(message, ToMaster::Unregister);
        let Some(master) = self.master().filter(|_| registered) else { return };
        match message {
            ToMaster::Update { framework, status, latest } => master.update(&id, &framework, *status, latest),
            ToMaster::ExecutorExited { framework, executor, status } => {
                master.executor_exited(&id, &framework, &executor, status);
            }
            ToMaster::Message { framework, executor, data } => {
                master.message_from_executor(&id, &framework, &executor, data);
            }
            ToMaster::Unregister => master.unregister(&id),
            ToMaster::Register(_) => {}
        }
    }

    /// A message on a connection that nothing gets through, or to a process that is not there.
    fn hold(&mut self, index: usize, due: Due) {
        if self.agents[index].phase == Phase::Up {
            self.held.entry(index).or_default().push(due);
        }
    }

    fn carry(&mut self, fate: Option<Fate>, due: impl Fn() -> Due) {
        let at_ms = self.now_ms + self.settings.latency_ms;
        match fate {
            None => self.plan(at_ms, due()),
            Some(Fate::Lost) => {}
            Some(Fate::Late(by_ms)) => self.plan(at_ms + by_ms, due()),
            Some(Fate::Twice(after_ms)) => {
                self.plan(at_ms, due());
                self.plan(at_ms + after_ms, due());
            }
        }
    }

    fn carry_to_agent(&mut self, index: usize, message: ToAgent) {
        let term = self.term;
        match self.faults.fate(message.topic(), index, &mut self.chance) {
            None if self.settings.latency_ms == 0 => self.soon.push_back(Due::ToAgent { term, index, message }),
            fate => self.carry(fate, || Due::ToAgent { term, index, message: message.clone() }),
        }
    }

    fn carry_to_master(&mut self, index: usize, message: ToMaster) {
        let term = self.term;
        match self.faults.fate(message.topic(), index, &mut self.chance) {
            None if self.settings.latency_ms == 0 => self.soon.push_back(Due::ToMaster { term, index, message }),
            fate => self.carry(fate, || Due::ToMaster { term, index, message: message.clone() }),
        }
    }

    fn drain_effects(&mut self) {
        let term = self.term;
        let Some(master) = self.master() else { return };
        for effect in master.take_effects() {
            match effect {
                master::Effect::Event { stream, event } => self.out.push(Output::Event { stream, event }),
                master::Effect::Close { stream } => self.out.push(Output::Close { stream }),
                master::Effect::Agent { index, message } => self.carry_to_agent(index, message),
                master::Effect::Timer { at_ms, timer } => self.plan(at_ms, Due::Master { term, timer }),
            }
        }
    }

    pub(super) fn drain_agent(&mut self, index: usize) {
        for effect in self.agents[index].take_effects() {
            match effect {
                agent::Effect::Master(message) => self.carry_to_master(index, message),
                agent::Effect::Timer { at_ms, timer: agent::Timer::Register } => self.plan_register(index, at_ms),
                agent::Effect::Timer { at_ms, timer } => self.plan(at_ms, Due::Agent { index, timer }),
                agent::Effect::Spawn { key } => self.out.push(Output::Spawn { agent: index, key }),
                agent::Effect::Destroy { key } => self.out.push(Output::Destroy { agent: index, key }),
                agent::Effect::Terminate { key } => self.out.push(Output::Terminate { agent: index, key }),
                agent::Effect::Event { stream, event } => self.out.push(Output::ExecutorEvent { stream, event }),
                agent::Effect::Close { stream } => self.out.push(Output::Close { stream }),
                agent::Effect::Began { task } => self.history.add(self.now_ms, Moment::Began { task, agent: index }),
                agent::Effect::Ended { task, state } => {
                    self.history.add(self.now_ms, Moment::Ended { task, agent: index, state });
                }
                agent::Effect::Gone => {
                    if let Some(id) = &self.agents[index].id {
                        self.index_of.remove(id);
                    }
                }
            }
        }
    }

    fn master_info(&self, index: usize) -> MasterInfo {
        use master_info::capability::Type;
        let slot = &self.masters[index];
        let octets: [u8; 4] = slot.ip.parse().map_or([127, 0, 0, 1], |ip: std::net::Ipv4Addr| ip.octets());
        let capability = |kind: Type| master_info::Capability { r#type: Some(kind as i32) };
        MasterInfo {
            ip: u32::from_le_bytes(octets),
            port: u32::from(slot.port),
            pid: Some(format!("master@{}:{}", slot.ip, slot.port)),
            hostname: Some(slot.hostname.clone()),
            version: Some("1.11.0".into()),
            address: Some(Address {
                hostname: Some(slot.hostname.clone()),
                ip: Some(slot.ip.clone()),
                port: i32::from(slot.port),
            }),
            capabilities: [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2].map(capability).to_vec(),
            ..MasterInfo::default()
        }
    }

    /// The elected master begins to serve, with an empty memory but for the registry.
    fn lead(&mut self) {
        let Leadership::Recovering(index) = self.leadership else { return };
        let id = agent::text_uuid(&mut self.chance);
        let info = MasterInfo { id, ..self.master_info(index) };
        let chance = Chance::new(self.chance.bits());
        let registry = std::mem::take(&mut self.registry);
        let master = Master::new(Arc::clone(&self.settings), info, registry, chance, self.now_ms);
        self.leadership = Leadership::Leading(index, Box::new(master));
        let spread_ms = self.settings.agent_reregister_spread_ms;
        for index in 0..self.agents.len() {
            if self.agents[index].phase == Phase::Up && !self.agents[index].registered {
                let at_ms = self.now_ms + self.chance.below(spread_ms + 1);
                self.plan_register(index, at_ms);
            }
        }
    }

    // ----- what schedulers ask -----

    /// A scheduler's call at the leader, whose form is good; `principal` is set when it was authenticated.
    pub fn call(&mut self, call: Call, stream_id: Option<&str>, principal: Option<&str>) -> Answer {
        self.work();
        if call.r#type == Some(call::Type::Subscribe as i32) {
            self.streams += 1;
            let (stream, id) = (self.streams, agent::text_uuid(&mut self.chance));
            let subscribe = call.subscribe.unwrap_or_default();
            if let Some(leader) = self.master() {
                leader.subscribe(stream, id.clone(), subscribe, principal);
            }
            self.work();
            return Answer::Stream { stream, id };
        }
        if call.r#type == Some(call::Type::Accept as i32) && self.accepts_to_lose > 0 && self.master().is_some() {
            self.accepts_to_lose -= 1;
            return Answer::Status(202, String::new());
        }
        let Some(leader) = self.master() else { return Answer::Status(503, String::new()) };
        let outcome = leader.call(call, stream_id, principal);
        self.work();
        match outcome {
            Ok(status) => Answer::Status(status, String::new()),
            Err(Refusal { status, text }) => Answer::Status(status, text),
        }
    }

    /// Whether this master serves, and what it says otherwise (spec mesos 1.4 #2 to #4).
    pub fn serving(&mut self, master: usize) -> Result<(), Answer> {
        if let Some((status, times)) = &mut self.refuse
            && *times > 0
        {
            *times -= 1;
            return Err(Answer::Status(*status, "Service unavailable".into()));
        }
        match &self.leadership {
            Leadership::None => Err(Answer::Status(503, "No leader elected".into())),
            Leadership::Recovering(leader) | Leadership::Leading(leader, _) if *leader != master => {
                let slot = &self.masters[*leader];
                Err(Answer::Redirect(format!("{}:{}", slot.hostname, slot.port)))
            }
            Leadership::Recovering(_) => Err(Answer::Status(503, "Master has not finished recovery".into())),
            Leadership::Leading(..) => Ok(()),
        }
    }

    /// Where the leader is, as `/redirect` says it.
    pub fn leader_address(&self) -> Option<String> {
        match &self.leadership {
            Leadership::None => None,
            Leadership::Recovering(leader) | Leadership::Leading(leader, _) => {
                let slot = &self.masters[*leader];
                Some(format!("{}:{}", slot.hostname, slot.port))
            }
        }
    }

    /// What the leader says of itself; what it writes into ZooKeeper.
    pub fn leader_info(&self) -> Option<MasterInfo> {
        match &self.leadership {
            Leadership::Leading(_, master) => Some(master.info.clone()),
            Leadership::Recovering(index) => Some(self.master_info(*index)),
            Leadership::None => None,
        }
    }

    /// A scheduler's or an executor's connection broke.
    pub fn stream_broke(&mut self, stream: u64) {
        if let Some(agent) = self.executor_streams.remove(&stream) {
            self.agents[agent].executor_stream_broke(stream);
        } else if let Some(master) = self.master() {
            master.stream_broke(stream);
        }
        self.work();
    }

    /// An executor's call at its agent, whose form is good: the number of its stream, if it subscribes, and the status.
    pub(super) fn executor_call(
        &mut self,
        agent: usize,
        kind: executor_api::call::Type,
        call: executor_api::Call,
    ) -> Result<(u64, u16), agent::wire::Refused> {
        self.work();
        self.streams += 1;
        let stream = self.streams;
        if matches!(self.agents[agent].phase, Phase::Down | Phase::Gone) {
            return Err((503, "Agent is not there".into()));
        }
        let outcome = self.agent_mut(agent).executor_call(kind, call, stream);
        if kind == executor_api::call::Type::Subscribe && outcome.is_ok() {
            self.executor_streams.insert(stream, agent);
        }
        self.drain_agent(agent);
        self.work();
        outcome.map(|status| (stream, status))
    }

    // ----- what judges ask -----

    /// Id of an agent, once it registered.
    pub fn agent_id(&self, index: usize) -> Option<String> {
        self.agents[index].id.as_deref().map(str::to_owned)
    }

    /// Where an agent stands.
    pub fn agent_phase(&self, index: usize) -> Phase {
        self.agents[index].phase
    }

    /// Index of the agent with this id.
    pub fn agent_index(&self, id: &str) -> Option<usize> {
        self.index_of.get(id).copied()
    }

    /// Tasks that live at agents, reachable or not: task, agent, state.
    pub fn live_tasks(&self) -> Vec<(Arc<str>, usize, TaskState)> {
        let mut live = Vec::new();
        for agent in self.agents.iter().filter(|agent| agent.phase != Phase::Gone) {
            for executor in agent.executors.values() {
                let tasks = executor.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
                live.extend(tasks.map(|(id, task)| (Arc::clone(id), agent.index, task.state)));
            }
        }
        live
    }

    /// Whether no agent has an executor.
    pub fn is_idle(&mut self) -> bool {
        self.agents.iter().all(|agent| agent.executors.is_empty())
    }

    /// Messages that an executor that is a script was sent.
    pub fn executor_messages(&self, index: usize, executor: &str) -> Vec<bytes::Bytes> {
        let executors = self.agents[index].executors.iter().filter(|((_, id), _)| **id == *executor);
        executors.flat_map(|(_, executor)| executor.messages.clone()).collect()
    }

    /// Offers that are out.
    pub fn outstanding_offers(&self) -> usize {
        match &self.leadership {
            Leadership::Leading(_, master) => master.outstanding_offers(),
            _ => 0,
        }
    }
}
