//! What masters and agents say to each other. Real ones speak a protocol of their own that no framework sees, so here it is plain data.

use std::sync::Arc;

use bytes::Bytes;
use mesos::v1::{Attribute, ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo, TaskState, TaskStatus};

use super::faults::Topic;
use super::resources::Resources;

/// The raw form of the uuids of updates.
pub(super) type Uuid = [u8; 16];

/// Master to agent.
#[derive(Clone, Debug)]
pub(super) enum ToAgent {
    /// It is admitted under this id.
    Registered { agent_id: Arc<str> },
    /// One task, or several of a group, on one executor; none for tasks that are a command.
    Launch { framework: Arc<FrameworkInfo>, executor: Option<Arc<ExecutorInfo>>, tasks: Vec<LaunchedTask> },
    /// Ends a task.
    Kill { framework: Arc<str>, task: Arc<str>, policy: Option<KillPolicy> },
    /// The scheduler has the update.
    Acknowledge { framework: Arc<str>, task: Arc<str>, uuid: Uuid },
    /// Ends one executor.
    ShutdownExecutor { framework: Arc<str>, executor: Arc<str> },
    /// Ends everything of a framework.
    ShutdownFramework { framework: Arc<str> },
    /// Bytes for an executor.
    Message { framework: Arc<str>, executor: Arc<str>, data: Bytes },
    /// What a framework says of itself now.
    UpdateFramework { framework: Arc<FrameworkInfo> },
    /// The master has these tasks on this agent, which did not name them.
    Reconcile { framework: Arc<str>, tasks: Vec<Arc<str>> },
    /// Ends every task; marks them gone by the operator if asked to.
    Drain { max_grace_ms: Option<u64>, mark_gone: bool },
    /// It is not wanted any more.
    Shutdown,
}

/// A task on its way to its agent.
#[derive(Clone, Debug)]
pub(super) struct LaunchedTask {
    pub info: Arc<TaskInfo>,
    pub id: Arc<str>,
    pub resources: Arc<Resources>,
}

impl ToAgent {
    pub fn topic(&self) -> Topic {
        match self {
            Self::Launch { .. } => Topic::Launch,
            Self::Kill { .. } => Topic::Kill,
            Self::Acknowledge { .. } => Topic::Acknowledgement,
            Self::Message { .. } => Topic::Message,
            _ => Topic::Control,
        }
    }
}

/// Agent to master.
#[derive(Clone, Debug)]
pub(super) enum ToMaster {
    /// It is there, perhaps again, with what it runs.
    Register(Box<Registration>),
    /// A task changed; `latest` is the newest state the agent knows of, which may be ahead of the update.
    Update { framework: Arc<str>, status: Box<TaskStatus>, latest: TaskState },
    /// An executor ended with this raw wait status.
    ExecutorExited { framework: Arc<str>, executor: Arc<str>, status: i32 },
    /// Bytes from an executor.
    Message { framework: Arc<str>, executor: Arc<str>, data: Bytes },
    /// It goes for good.
    Unregister,
}

impl ToMaster {
    pub fn topic(&self) -> Topic {
        match self {
            Self::Update { .. } => Topic::Update,
            Self::ExecutorExited { .. } => Topic::ExecutorExited,
            Self::Message { .. } => Topic::Message,
            Self::Register(_) | Self::Unregister => Topic::Control,
        }
    }
}

/// What an agent is, as long as its flags do not change.
#[derive(Clone, Debug)]
pub struct AgentDescription {
    /// Host name it advertises.
    pub hostname: String,
    /// Address it advertises.
    pub ip: String,
    /// Port of its HTTP endpoints.
    pub port: u16,
    /// Everything it has.
    pub resources: Resources,
    /// Attributes.
    pub attributes: Vec<Attribute>,
    /// Region and zone, if it says them.
    pub domain: Option<(String, String)>,
}

/// An agent that comes, or comes back.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    /// The id it had.
    pub agent_id: Option<Arc<str>>,
    pub description: Arc<AgentDescription>,
    pub frameworks: Vec<Arc<FrameworkInfo>>,
    pub executors: Vec<ReportedExecutor>,
    pub tasks: Vec<ReportedTask>,
}

/// An executor that runs.
#[derive(Clone, Debug)]
pub(super) struct ReportedExecutor {
    pub framework: Arc<str>,
    pub info: Arc<ExecutorInfo>,
}

/// A task that is not done with.
#[derive(Clone, Debug)]
pub(super) struct ReportedTask {
    pub framework: Arc<str>,
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub executor: Option<Arc<str>>,
    pub resources: Arc<Resources>,
    pub role: Arc<str>,
    pub state: TaskState,
    pub healthy: Option<bool>,
}
