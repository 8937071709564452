//! One agent: a plain record without threads or sockets. It starts executors, keeps their tasks' updates until they are acknowledged, and
//! comes back from restarts. Executors are played by scripts, or are processes that speak the executor API (see [`wire`]).

mod executor;
mod launch;
mod recovery;
mod script_player;
mod updates;
pub(super) mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mesos::v1::executor as executor_api;
use mesos::v1::{ExecutorInfo, FrameworkInfo, TaskInfo, TaskState, TaskStatus, task_status::Reason};

use super::protocol::{AgentDescription, Registration, ReportedExecutor, ReportedTask, ToAgent, ToMaster, Uuid};
use super::resources::Resources;
use super::script::Script;
use super::settings::Settings;
use crate::cluster::chance::Chance;

/// Framework and executor.
pub(super) type Key = (Arc<str>, Arc<str>);

/// What an agent wants done.
#[derive(Debug)]
pub(super) enum Effect {
    Master(ToMaster),
    Timer {
        at_ms: u64,
        timer: Timer,
    },
    /// A process is to be started for an executor.
    Spawn {
        key: Key,
    },
    /// The container of a process is to be destroyed.
    Destroy {
        key: Key,
    },
    /// The process of a command is to end: SIGTERM first.
    Terminate {
        key: Key,
    },
    /// An event for an executor that is a process.
    Event {
        stream: u64,
        event: Box<executor_api::Event>,
    },
    Close {
        stream: u64,
    },
    /// A task began to run on this agent; for judges.
    Began {
        task: Arc<str>,
    },
    /// A task ended on this agent; for judges.
    Ended {
        task: Arc<str>,
        state: TaskState,
    },
    /// It is gone for good.
    Gone,
}

/// What an agent is woken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Updates that are not acknowledged.
    Retry,
    /// The next step of a script; `life` tells this one from earlier lives of the same executor.
    Step { key: Key, task: Arc<str>, what: Step },
    /// The end of recovery.
    Recovered { generation: u64 },
    /// An executor had to subscribe by now.
    ExecutorRegistration { key: Key, container: Arc<str> },
    /// An executor had to be gone by now.
    ExecutorGrace { key: Key, container: Arc<str> },
    /// Registration was not confirmed.
    Register,
}

/// A step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Starting,
    Running,
    End,
    Killed,
    FinishedByKill,
}

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Runs.
    Up,
    /// Its process is not there.
    Down,
    /// Started again, and waits for its executors.
    Recovering,
    /// Gone for good.
    Gone,
}

/// Where an executor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExecutorState {
    Registering,
    Running,
    Terminating,
    Terminated,
}

/// An executor.
#[derive(Debug)]
pub(super) struct Executor {
    /// `None` for the built-in executor of a command.
    pub info: Option<Arc<ExecutorInfo>>,
    pub framework: Arc<FrameworkInfo>,
    pub state: ExecutorState,
    pub container: Arc<str>,
    /// Wait for its subscription.
    pub queued: Vec<(Arc<str>, Arc<TaskInfo>)>,
    /// Boxed: most executors have one task, and a node of the map has room for many.
    pub tasks: BTreeMap<Arc<str>, Box<AgentTask>>,
    /// Its subscription, if it is a process.
    pub stream: Option<u64>,
    /// It is a process rather than a script.
    pub is_process: bool,
    pub pid: Option<u32>,
    /// What a script said while its agent was away.
    pub held: Vec<(Arc<str>, TaskState, Option<String>)>,
    /// It does not come back when its agent does; a fault on demand.
    pub silent: bool,
    /// It has subscribed since the agent's last start.
    pub is_back: bool,
    /// Something was delivered to it, ever.
    pub delivered: bool,
    /// Bytes that came for a script.
    pub messages: Vec<bytes::Bytes>,
}

/// A task at its agent.
#[derive(Debug)]
pub(super) struct AgentTask {
    pub name: Arc<str>,
    pub resources: Arc<Resources>,
    pub role: Arc<str>,
    pub state: TaskState,
    pub healthy: Option<bool>,
    /// Kept until the executor's first update is stored.
    pub info: Option<Arc<TaskInfo>>,
    pub script: Option<Box<Script>>,
    /// Unacknowledged updates; the first is on its way.
    pub updates: VecDeque<Box<TaskStatus>>,
    pub retry_at_ms: u64,
    pub interval_ms: u64,
    pub killed: bool,
}

/// The agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub index: usize,
    pub description: Arc<AgentDescription>,
    pub id: Option<Arc<str>>,
    pub phase: Phase,
    pub registered: bool,
    pub frameworks: BTreeMap<Arc<str>, Arc<FrameworkInfo>>,
    pub executors: BTreeMap<Key, Box<Executor>>,
    /// Executor of each task that is not done with.
    pub tasks: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
    /// Tasks with updates on their way.
    unacknowledged: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Updates of tasks that have no executor here: dropped launches and answers about unknown tasks.
    orphans: BTreeMap<(Arc<str>, Arc<str>), AgentTask>,
    retry_wake_ms: Option<u64>,
    draining: Option<bool>,
    /// Its executors are processes.
    pub runs_processes: bool,
    generation: u64,
    down_since_ms: u64,
    settings: Arc<Settings>,
    chance: Chance,
    out: Vec<Effect>,
    now_ms: u64,
}

impl Agent {
    pub fn new(index: usize, description: AgentDescription, runs_processes: bool, settings: Arc<Settings>) -> Self {
        let chance = Chance::new(settings.seed ^ ((index as u64 + 1) << 20));
        Self {
            index,
            description: Arc::new(description),
            id: None,
            phase: Phase::Up,
            registered: false,
            frameworks: BTreeMap::new(),
            executors: BTreeMap::new(),
            tasks: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            orphans: BTreeMap::new(),
            retry_wake_ms: None,
            draining: None,
            runs_processes,
            generation: 0,
            down_since_ms: 0,
            settings,
            chance,
            out: Vec::new(),
            now_ms: 0,
        }
    }

    pub fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = self.now_ms.max(now_ms);
        self
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// What it tells a master.
    pub fn registration(&self) -> Registration {
        let executors = self.executors.iter().filter(|(_, executor)| executor.state != ExecutorState::Terminated);
        let custom = executors.filter_map(|((framework, _), executor)| {
            Some(ReportedExecutor { framework: Arc::clone(framework), info: Arc::clone(executor.info.as_ref()?) })
        });
        let tasks = self.executors.iter().flat_map(|((framework, id), executor)| {
            let executor_id = executor.info.is_some().then(|| Arc::clone(id));
            executor.tasks.iter().map(move |(task, known)| ReportedTask {
                framework: Arc::clone(framework),
                id: Arc::clone(task),
                name: Arc::clone(&known.name),
                executor: executor_id.clone(),
                resources: Arc::clone(&known.resources),
                role: Arc::clone(&known.role),
                state: known.state,
                healthy: known.healthy,
            })
        });
        Registration {
            agent_id: self.id.clone(),
            description: Arc::clone(&self.description),
            frameworks: self.frameworks.values().cloned().collect(),
            executors: custom.collect(),
            tasks: tasks.collect(),
        }
    }

    /// A message from its master. `scripts` says what a task does.
    pub fn receive(&mut self, message: ToAgent, scripts: &dyn Fn(&TaskInfo, usize) -> Script) {
        if self.phase != Phase::Up {
            return;
        }
        match message {
            ToAgent::Registered { agent_id } => {
                self.id = Some(agent_id);
                self.registered = true;
                self.resend_all();
            }
            ToAgent::Launch { framework, executor, tasks } => self.launch(&framework, executor, tasks, scripts),
            ToAgent::Kill { framework, task, policy } => self.kill(&framework, &task, policy, None),
            ToAgent::Acknowledge { framework, task, uuid } => self.acknowledged(&(framework, task), &uuid),
            ToAgent::ShutdownExecutor { framework, executor } => self.shutdown_executor(&(framework, executor)),
            ToAgent::ShutdownFramework { framework } => self.shutdown_framework(&framework),
            ToAgent::Message { framework, executor, data } => self.message(&(framework, executor), data),
            ToAgent::UpdateFramework { framework } => {
                let id = super::master::framework_id(&framework);
                if let Some(known) = self.frameworks.get_mut(id) {
                    *known = framework;
                }
            }
            ToAgent::Reconcile { framework, tasks } => self.answer_for_unknown(&framework, tasks),
            ToAgent::Drain { max_grace_ms, mark_gone } => self.drain(max_grace_ms, mark_gone),
            ToAgent::Shutdown => self.go(),
        }
    }

    /// A timer has come.
    pub fn wake(&mut self, timer: Timer) {
        match timer {
            Timer::Retry => self.retry_due(),
            Timer::Step { key, task, what } => self.step(&key, &task, what),
            Timer::Recovered { generation } => {
                if self.phase == Phase::Recovering && self.generation == generation {
                    self.recovered();
                }
            }
            Timer::ExecutorRegistration { key, container } => self.registration_timed_out(&key, &container),
            Timer::ExecutorGrace { key, container } => self.grace_over(&key, &container),
            Timer::Register => {}
        }
    }

    fn timer(&mut self, after_ms: u64, timer: Timer) {
        self.out.push(Effect::Timer { at_ms: self.now_ms.saturating_add(after_ms), timer });
    }

    /// Whether the framework knows UNREACHABLE, DROPPED and GONE.
    fn or_lost(&self, framework: &str, state: TaskState) -> TaskState {
        use mesos::v1::framework_info::capability::Type;
        let aware = self.frameworks.get(framework).is_some_and(|framework| {
            framework.capabilities.iter().any(|capability| capability.r#type == Some(Type::PartitionAware as i32))
        });
        if aware { state } else { TaskState::Lost }
    }

    /// A UUID of version 4 that no other update has.
    fn uuid(&mut self) -> Uuid {
        let seed = self.chance.seed();
        let mut uuid = Uuid::default();
        uuid.copy_from_slice(&seed[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }

    /// A text uuid.
    fn text_uuid(&mut self) -> String {
        text_uuid(&mut self.chance)
    }

    fn wall_s(&self) -> f64 {
        (self.settings.epoch_ms + self.now_ms as i64) as f64 / 1000.0
    }

    /// Gone for good: everything dies, nothing is told.
    pub fn go(&mut self) {
        self.phase = Phase::Gone;
        self.registered = false;
        self.destroy_everything();
        self.out.push(Effect::Gone);
    }

    /// Destroys every container without a word.
    fn destroy_everything(&mut self) {
        let executors = std::mem::take(&mut self.executors);
        for (key, executor) in executors {
            for (id, task) in &executor.tasks {
                if !task.state.is_terminal() {
                    self.out.push(Effect::Ended { task: Arc::clone(id), state: TaskState::Killed });
                }
            }
            if let Some(stream) = executor.stream {
                self.out.push(Effect::Close { stream });
            }
            if executor.is_process && executor.state != ExecutorState::Terminated {
                self.out.push(Effect::Destroy { key });
            }
        }
        self.tasks.clear();
        self.unacknowledged.clear();
        self.orphans.clear();
    }

    /// Its operator ends it gracefully: it says goodbye and takes everything with it.
    pub fn unregister(&mut self) {
        self.out.push(Effect::Master(ToMaster::Unregister));
        self.go();
    }

    fn drain(&mut self, max_grace_ms: Option<u64>, mark_gone: bool) {
        self.draining = Some(mark_gone);
        let policy = max_grace_ms.map(|grace_ms| mesos::v1::KillPolicy {
            grace_period: Some(mesos::v1::DurationInfo { nanoseconds: grace_ms as i64 * 1_000_000 }),
        });
        let tasks: Vec<_> = self.tasks.keys().cloned().collect();
        for (framework, task) in tasks {
            self.kill(&framework, &task, policy, Some(Reason::AgentDraining));
        }
    }
}

/// A random uuid in text form.
pub(super) fn text_uuid(chance: &mut Chance) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&chance.seed()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
