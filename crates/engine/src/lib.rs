//! The words between scheduler and engines: offers, launches, statuses, kills, and the [`files::TaskFiles`] port.
//!
//! The model is Mesos' (offers on agents, accepted in parts with tasks; statuses to be acknowledged; reconciliation), because it
//! is the most general of those we serve. No engine's details, no transport, no policy live here.

pub mod files;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{CpuMillis, Host, InstanceId, Ports, Resources, Role, TaskConfig, TaskId};

/// Name of an agent, unique within the engine.
pub type AgentId = String;
/// Name of an offer, unique within the engine's lifetime.
pub type OfferId = String;

/// Resources of one agent, offered whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Name of the offer.
    pub id: OfferId,
    /// The role it is made to, for engines that know several; offers of different roles are never accepted together.
    pub role: Option<Role>,
    /// Whose resources.
    pub agent_id: AgentId,
    /// The agent's host name.
    pub host: Host,
    /// What is free and not revocable; `ports` is the count of `port_ranges`.
    pub resources: Resources,
    /// The part of that which is set aside for no role: given back, it may be offered to another one. Nothing where roles do not matter.
    pub unreserved: Resources,
    /// Revocable CPU on top of that.
    pub revocable_cpu: CpuMillis,
    /// Free ports.
    pub port_ranges: Ports,
    /// Attributes of the agent: name to values, as text (spec scheduler 2.2).
    pub attributes: BTreeMap<String, Vec<String>>,
    /// When the agent goes away for maintenance, in ms since the epoch.
    pub unavailable_from_ms: Option<i64>,
}

/// One task to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Name of the run; an agent starts a given name once.
    pub task_id: TaskId,
    /// Number within the job.
    pub instance: InstanceId,
    /// What to run.
    pub config: Arc<TaskConfig>,
    /// Everything to take from the offer: the task's resources (`config.resources`) and, beyond those, its executor's.
    pub resources: Resources,
    /// Whether CPU is taken from the revocable part.
    pub revocable: bool,
    /// Port names and the numbers taken for them.
    pub ports: BTreeMap<String, u16>,
    /// Start of the run for stamps, in ms since the epoch.
    pub assigned_ms: i64,
}

/// State of a task as an engine reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Being prepared.
    Starting,
    /// Running.
    Running,
    /// Exited with success.
    Finished,
    /// Exited without success.
    Failed,
    /// Ended by a kill.
    Killed,
    /// Gone, state unknown or never started.
    Lost,
    /// Its agent cannot be reached.
    Unreachable,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Starting, Self::Running, Self::Finished, Self::Failed, Self::Killed, Self::Lost, Self::Unreachable];

    /// Whether no further status follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed | Self::Lost)
    }
}

/// Why an engine reports a status, where it knows more than the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The executor or the task itself said so.
    Executor,
    /// Answer to a reconciliation.
    Reconciliation,
    /// More memory used than asked for.
    MemoryLimit,
    /// More disk used than asked for.
    DiskLimit,
    /// The task could not be started (no processes, descriptors or memory left; bad configuration).
    LaunchFailed,
    /// The offer was gone before the launch arrived.
    InvalidOffer,
    /// The executor ended without a word.
    ExecutorTerminated,
    /// The executor never came up.
    ExecutorUnregistered,
    /// The agent restarted or went away.
    AgentRemoved,
}

impl Reason {
    /// Name in counters, upper case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Executor => "EXECUTOR",
            Self::Reconciliation => "RECONCILIATION",
            Self::MemoryLimit => "CONTAINER_LIMITATION_MEMORY",
            Self::DiskLimit => "CONTAINER_LIMITATION_DISK",
            Self::LaunchFailed => "CONTAINER_LAUNCH_FAILED",
            Self::InvalidOffer => "INVALID_OFFERS",
            Self::ExecutorTerminated => "EXECUTOR_TERMINATED",
            Self::ExecutorUnregistered => "EXECUTOR_UNREGISTERED",
            Self::AgentRemoved => "SLAVE_REMOVED",
        }
    }
}

/// Names one status update so that it can be acknowledged; opaque to the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusToken(pub Vec<u8>);

/// What an engine says about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Which task.
    pub task_id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// Why, if known.
    pub reason: Option<Reason>,
    /// For people.
    pub message: Option<String>,
    /// When it happened, in ms since the epoch, if the engine knows.
    pub timestamp_ms: Option<i64>,
    /// The agent.
    pub agent_id: Option<AgentId>,
    /// Present when the engine re-sends until [`Call::Acknowledge`].
    pub token: Option<StatusToken>,
}

/// What engines tell the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connected (again); all earlier offers are void. Carries the framework id for engines that give one.
    Registered {
        /// Id to present when connecting again.
        framework_id: Option<String>,
        /// Names the engine's present leader, anew after each election (a Mesos master's id); `None` where there is none. A
        /// new one may not know yet what runs on agents that have not come back to it.
        master: Option<String>,
    },
    /// Another scheduler took this one's place, or the engine ended it; no more calls are taken. Nothing follows.
    Deposed {
        /// For the operator: what the engine was told.
        reason: String,
    },
    /// The connection is gone; all offers are void.
    Disconnected,
    /// Resources became free.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescinded(OfferId),
    /// An agent, or a whole host, is asked back: it goes away for maintenance.
    InverseOffer {
        /// Answered by [`Call::AcceptInverseOffers`].
        id: OfferId,
        /// Which agent, if one alone.
        agent_id: Option<AgentId>,
        /// Its host, if known.
        host: Option<Host>,
        /// When it goes, in ms since the epoch.
        unavailable_from_ms: i64,
    },
    /// A task changed.
    Status(StatusUpdate),
    /// An agent is gone, for good or as far as the engine can see; its offers are void. What became of its tasks may have to
    /// be asked.
    AgentLost(AgentId),
    /// A task on disk that no one asked for: reported, never killed silently.
    Stray {
        /// Which.
        task_id: TaskId,
        /// Where and what is known of it.
        detail: String,
    },
}

/// What the scheduler asks of engines. Each call may be repeated after a crash and must be harmless then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Takes offers of one agent and starts tasks on them; what is left comes back in a later offer.
    Accept {
        /// Offers, all of one agent.
        offers: Vec<OfferId>,
        /// Tasks, any number.
        launches: Vec<Launch>,
    },
    /// Gives offers back for now.
    Decline {
        /// Offers.
        offers: Vec<OfferId>,
        /// Not to be offered again before this many ms have passed.
        refuse_ms: i64,
    },
    /// Agrees to give agents back.
    AcceptInverseOffers {
        /// Which.
        offers: Vec<OfferId>,
    },
    /// Ends a task; answered by a terminal status. An unknown task is answered with LOST.
    Kill {
        /// Which.
        task_id: TaskId,
        /// Where it was launched, if known.
        agent_id: Option<AgentId>,
    },
    /// The update is durable here and need not be sent again.
    Acknowledge {
        /// Which task.
        task_id: TaskId,
        /// Where.
        agent_id: Option<AgentId>,
        /// Which update.
        token: StatusToken,
    },
    /// Asks for the state of tasks; an empty list asks for every task the engine knows.
    Reconcile {
        /// Tasks and where they were launched.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// Offers are wanted (again), filters are dropped.
    Revive,
    /// No offers are wanted.
    Suppress,
}

/// An engine: takes calls, sends events through the sink it was given when it was made.
///
/// `call` never blocks on the network, the disk or a process; what fails later comes back as an [`Event`].
pub trait Engine {
    /// Hands over calls in order. `epoch` is the scheduler's term: an engine that has seen a higher one refuses them.
    fn call(&mut self, epoch: u64, calls: Vec<Call>);

    /// Whether many launches still wait to be sent or taken. More of them would only wait too: a scheduler that has the choice does
    /// something else meanwhile.
    fn is_congested(&self) -> bool {
        false
    }
}

/// Where an engine puts its events. Blocking is allowed: a full inbox must slow the engine, never lose an event.
pub trait EventSink: Send + Sync {
    /// Hands over one event; false when the receiver is gone for good.
    fn send(&self, event: Event) -> bool;

    /// Hands over several events in order, so that they can be looked at together.
    fn send_all(&self, events: Vec<Event>) -> bool {
        events.into_iter().all(|event| self.send(event))
    }
}
