//! One elected master: frameworks, agents, offers, tasks. Deterministic: calls of schedulers and messages of agents go in with the time,
//! [`Effect`]s come out. What other masters there are, and how anything is carried, is not its matter.

mod accept;
mod agents;
mod calls;
mod framework;
mod maintenance;
mod offers;
mod tasks;
mod validate;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use mesos::v1::scheduler::{Event, event};
use mesos::v1::{
    AgentId, FrameworkId, FrameworkInfo, MasterInfo, TaskId, TaskState, TaskStatus, Unavailability, task_status,
};

use super::protocol::{AgentDescription, ToAgent};
use super::resources::Resources;
use super::settings::Settings;
use crate::cluster::chance::Chance;
pub(super) use framework::Framework;
pub(super) use offers::{InverseOffer, Offer};

/// What a master wants done.
#[derive(Debug)]
pub(super) enum Effect {
    /// An event for a subscription.
    Event { stream: u64, event: Box<Event> },
    /// The end of a subscription.
    Close { stream: u64 },
    /// A message to an agent.
    Agent { index: usize, message: ToAgent },
    /// To be woken.
    Timer { at_ms: u64, timer: Timer },
}

/// What a master is woken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Heartbeat {
        stream: u64,
    },
    Allocate,
    OfferTimeout {
        offers: Vec<u64>,
    },
    /// The framework did not come back; `since` tells this absence from later ones.
    FrameworkFailover {
        framework: Arc<str>,
        since: u64,
    },
    /// Agents that were known before this master was elected and did not come back.
    RecoveredAgents,
    /// An agent whose connection broke did not come back.
    AgentReregister {
        agent: Arc<str>,
        since: u64,
    },
}

/// Why a call was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub text: String,
}

impl Refusal {
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

/// What outlives a master: the replicated log of its kind. Agents only, no tasks and no frameworks (spec mesos 7).
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub admitted: BTreeMap<Arc<str>, (usize, Arc<AgentDescription>)>,
    /// When each became unreachable, in ms since the epoch.
    pub unreachable: BTreeMap<Arc<str>, i64>,
    pub gone: BTreeSet<Arc<str>>,
    /// Planned absences by host name in lower case and address; down if true.
    pub machines: BTreeMap<(String, String), (Unavailability, bool)>,
}

/// What was counted; for judges and benches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls by schedulers that were accepted, whatever became of them.
    pub calls: u64,
    /// OFFERS events.
    pub offer_events: u64,
    /// Offers in them.
    pub offers: u64,
    /// ACCEPT calls.
    pub accepts: u64,
    /// Tasks handed to agents.
    pub launched: u64,
    /// Tasks refused or dropped at ACCEPT.
    pub refused: u64,
    /// DECLINE calls.
    pub declines: u64,
    /// Offers they gave back.
    pub declined: u64,
    /// REVIVE calls.
    pub revives: u64,
    /// SUPPRESS calls.
    pub suppresses: u64,
    /// KILL calls.
    pub kills: u64,
    /// UPDATE events.
    pub updates: u64,
    /// Those with a uuid, which are to be acknowledged, each as often as it comes.
    pub updates_with_uuid: u64,
    /// ACKNOWLEDGE calls handed on to agents.
    pub acknowledged: u64,
    /// ACKNOWLEDGE calls dropped: no such update, or no such agent.
    pub acknowledgements_dropped: u64,
    /// RECONCILE calls that named tasks.
    pub explicit_reconciles: u64,
    /// RECONCILE calls that did not.
    pub implicit_reconciles: u64,
    /// Tasks asked for in RECONCILE that were not answered.
    pub reconcile_silences: u64,
    /// Subscriptions.
    pub subscriptions: u64,
}

impl Counters {
    /// Adds what another master counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, one) in [
            (&mut self.calls, other.calls),
            (&mut self.offer_events, other.offer_events),
            (&mut self.offers, other.offers),
            (&mut self.accepts, other.accepts),
            (&mut self.launched, other.launched),
            (&mut self.refused, other.refused),
            (&mut self.declines, other.declines),
            (&mut self.declined, other.declined),
            (&mut self.revives, other.revives),
            (&mut self.suppresses, other.suppresses),
            (&mut self.kills, other.kills),
            (&mut self.updates, other.updates),
            (&mut self.updates_with_uuid, other.updates_with_uuid),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.acknowledgements_dropped, other.acknowledgements_dropped),
            (&mut self.explicit_reconciles, other.explicit_reconciles),
            (&mut self.implicit_reconciles, other.implicit_reconciles),
            (&mut self.reconcile_silences, other.reconcile_silences),
            (&mut self.subscriptions, other.subscriptions),
        ] {
            *sum += one;
        }
    }
}

/// An agent as its master knows it.
#[derive(Debug)]
pub(super) struct AgentRecord {
    pub index: usize,
    pub id: Arc<str>,
    pub description: Arc<AgentDescription>,
    /// Neither offered nor used.
    pub free: Resources,
    pub offers: BTreeSet<u64>,
    pub inverse_offers: BTreeSet<u64>,
    pub tasks: BTreeSet<(Arc<str>, Arc<str>)>,
    pub executors: BTreeMap<(Arc<str>, Arc<str>), ExecutorRecord>,
    pub connected: bool,
    /// When its connection broke last.
    pub disconnected_ms: u64,
    /// Turned off by an operator: no offers.
    pub deactivated: bool,
    pub unavailability: Option<Unavailability>,
}

/// An executor as the master knows it.
#[derive(Clone, Debug)]
pub(super) struct ExecutorRecord {
    pub info: Arc<mesos::v1::ExecutorInfo>,
    pub resources: Resources,
    pub role: Arc<str>,
}

/// The master.
#[derive(Debug)]
pub(super) struct Master {
    pub id: String,
    pub info: MasterInfo,
    settings: Arc<Settings>,
    chance: Chance,
    pub registry: Registry,
    pub frameworks: BTreeMap<Arc<str>, Framework>,
    /// Which framework a subscription belongs to.
    streams: HashMap<u64, Arc<str>>,
    completed: VecDeque<Arc<str>>,
    pub agents: BTreeMap<Arc<str>, AgentRecord>,
    /// Known to the registry at the election and not yet back.
    pub recovered: BTreeSet<Arc<str>>,
    offers: HashMap<u64, Offer>,
    inverse_offers: HashMap<u64, InverseOffer>,
    next_framework: u64,
    next_agent: u64,
    next_offer: u64,
    /// What the next allocation looks at before its regular time.
    pending: Pending,
    out: Vec<Effect>,
    pub counters: Counters,
    now_ms: u64,
}

/// Agents to be looked at out of turn.
#[derive(Debug, Default)]
struct Pending {
    all: bool,
    agents: BTreeSet<Arc<str>>,
}

impl Master {
    /// A master that was just elected, with what the registry holds.
    pub fn new(settings: Arc<Settings>, info: MasterInfo, registry: Registry, chance: Chance, now_ms: u64) -> Self {
        let recovered: BTreeSet<Arc<str>> = registry.admitted.keys().cloned().collect();
        let mut out = vec![Effect::Timer { at_ms: now_ms + settings.allocation_interval_ms, timer: Timer::Allocate }];
        if !recovered.is_empty() {
            let at_ms = now_ms + settings.agent_reregister_timeout_ms;
            out.push(Effect::Timer { at_ms, timer: Timer::RecoveredAgents });
        }
        Self {
            id: info.id.clone(),
            info,
            settings,
            chance,
            registry,
            frameworks: BTreeMap::new(),
            streams: HashMap::new(),
            completed: VecDeque::new(),
            agents: BTreeMap::new(),
            recovered,
            offers: HashMap::new(),
            inverse_offers: HashMap::new(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            pending: Pending::default(),
            out,
            counters: Counters::default(),
            now_ms,
        }
    }

    /// Time goes on to this; no call lets it go back.
    pub fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = self.now_ms.max(now_ms);
        self
    }

    /// What is to be done since the last time this was asked.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// Nothing more happens at this moment: what must not wait for the next cycle is allocated.
    pub fn settle(&mut self) {
        self.allocate_pending();
    }

    /// A timer has come.
    pub fn wake(&mut self, timer: Timer) {
        match timer {
            Timer::Heartbeat { stream } => {
                if self.streams.contains_key(&stream) {
                    self.heartbeat(stream);
                }
            }
            Timer::Allocate => {
                self.allocate_all();
                let at_ms = self.now_ms + self.settings.allocation_interval_ms;
                self.out.push(Effect::Timer { at_ms, timer: Timer::Allocate });
            }
            Timer::OfferTimeout { offers } => offers.into_iter().for_each(|offer| self.rescind(offer)),
            Timer::FrameworkFailover { framework, since } => {
                let late = self.frameworks.get(&framework).is_some_and(|known| known.absent_since == Some(since));
                if late {
                    self.remove_framework(&framework);
                }
            }
            Timer::RecoveredAgents => self.give_up_recovered_agents(),
            Timer::AgentReregister { agent, since } => {
                let late =
                    self.agents.get(&agent).is_some_and(|known| !known.connected && known.disconnected_ms == since);
                if late {
                    self.mark_unreachable(&agent);
                }
            }
        }
    }

    fn heartbeat(&mut self, stream: u64) {
        let event = Event { r#type: Some(event::Type::Heartbeat as i32), ..Event::default() };
        self.out.push(Effect::Event { stream, event: Box::new(event) });
        let at_ms = self.now_ms + self.settings.heartbeat_interval_ms;
        self.out.push(Effect::Timer { at_ms, timer: Timer::Heartbeat { stream } });
    }

    /// Sends an event if the framework listens; what it misses is lost.
    fn tell(&mut self, framework: &str, event: Event) {
        if let Some(stream) = self.frameworks.get(framework).and_then(|framework| framework.stream()) {
            self.out.push(Effect::Event { stream, event: Box::new(event) });
        }
    }

    fn tell_update(&mut self, framework: &str, status: TaskStatus) {
        if self.frameworks.get(framework).is_some_and(|framework| framework.stream().is_some()) {
            self.counters.updates += 1;
            self.counters.updates_with_uuid += u64::from(status.uuid.is_some());
        }
        let update = Some(event::Update { status });
        self.tell(framework, Event { r#type: Some(event::Type::Update as i32), update, ..Event::default() });
    }

    fn tell_failure(&mut self, framework: &str, agent: &str, executor: Option<(&str, i32)>) {
        let failure = Some(event::Failure {
            agent_id: Some(AgentId::from(agent)),
            executor_id: executor.map(|(id, _)| id.into()),
            status: executor.map(|(_, status)| status),
        });
        self.tell(framework, Event { r#type: Some(event::Type::Failure as i32), failure, ..Event::default() });
    }

    /// A status that the master itself makes: without uuid, never repeated (spec mesos 3.5).
    fn own_status(
        &self,
        task: &str,
        agent: Option<&str>,
        state: TaskState,
        reason: task_status::Reason,
        message: impl Into<String>,
    ) -> TaskStatus {
        TaskStatus {
            task_id: TaskId::from(task),
            state: state as i32,
            message: Some(message.into()),
            agent_id: agent.map(AgentId::from),
            timestamp: Some((self.settings.epoch_ms + self.now_ms as i64) as f64 / 1000.0),
            source: Some(task_status::Source::Master as i32),
            reason: Some(reason as i32),
            ..TaskStatus::default()
        }
    }

    fn wall_ms(&self) -> i64 {
        self.settings.epoch_ms + self.now_ms as i64
    }

    fn send_agent(&mut self, agent: &str, message: ToAgent) {
        if let Some(record) = self.agents.get(agent)
            && record.connected
        {
            self.out.push(Effect::Agent { index: record.index, message });
        }
    }

    fn send_every_agent(&mut self, message: &ToAgent) {
        for record in self.agents.values().filter(|record| record.connected) {
            self.out.push(Effect::Agent { index: record.index, message: message.clone() });
        }
    }

    fn send_agents_of(&mut self, framework: &str, message: &ToAgent) {
        for record in self.agents.values().filter(|record| record.connected) {
            let runs = record.tasks.iter().any(|(owner, _)| **owner == *framework)
                || record.executors.keys().any(|(owner, _)| **owner == *framework);
            if runs {
                self.out.push(Effect::Agent { index: record.index, message: message.clone() });
            }
        }
    }
}

/// The id in a framework's own description.
pub(super) fn framework_id(info: &FrameworkInfo) -> &str {
    info.id.as_ref().map_or("", |FrameworkId { value }| value)
}
