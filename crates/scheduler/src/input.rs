//! What goes into a step and what comes out of it. Plain data.

use engine::{Call, Event};
use model::{InstanceId, JobKey, TaskId, TaskStatus};

use crate::command::{Command, Reply};
use crate::idempotency::Idempotency;
use crate::record::Record;
use crate::sla::coordinator::{CoordinatorAnswer, CoordinatorQuestion};

/// The time of a step, handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Ms since the epoch. May jump either way; used for stamps and cron only.
    pub wall_ms: i64,
    /// Ms on a clock that never goes back; used for delays. Its origin is arbitrary and new at each start.
    pub monotonic_ms: u64,
}

/// Pairs a reply with its command; unique per process, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Authenticated name, or `UNSECURE` when security is off.
    pub name: String,
}

impl Principal {
    /// The principal when security is off (spec scheduler 1.8).
    pub fn unsecure() -> Self {
        Self { name: "UNSECURE".into() }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// First input after all stored records were applied: timers are armed, interrupted work goes on.
    Start {
        /// Seed of the core's only generator.
        seed: [u8; 32],
        /// Term of this scheduler, above every earlier one.
        epoch: u64,
    },
    /// `next_wake` has come.
    Tick,
    /// A command from the gateway.
    Command {
        /// For the reply.
        request: RequestId,
        /// Who.
        principal: Principal,
        /// What.
        command: Command,
        /// By what a repetition is known, if the client gave it a key.
        idempotency: Option<Idempotency>,
    },
    /// Something from the engine.
    Engine(Event),
    /// What a coordinator said to the question of that number.
    CoordinatorAnswer {
        /// Which question.
        question: u64,
        /// The answer.
        answer: CoordinatorAnswer,
    },
    /// Whether the journal is short of room: while true, what grows state is refused.
    SpaceLow(bool),
    /// Work of an earlier step that was cut at its bound goes on.
    Resume,
}

impl Input {
    /// A command without a key.
    pub fn command(request: RequestId, principal: Principal, command: Command) -> Self {
        Self::Command { request, principal, command, idempotency: None }
    }

    /// How many tasks it touches, as far as that can be seen from it alone; at least 1.
    pub fn work(&self) -> usize {
        let Self::Command { command, .. } = self else { return 1 };
        let count = match command {
            Command::CreateJob(job) => usize::try_from(job.instance_count).unwrap_or(1),
            Command::AddInstances { count, .. } => usize::try_from(*count).unwrap_or(1),
            Command::KillTasks { instances, .. } | Command::RestartTasks { instances, .. } => instances.len(),
            Command::Admin(command) => command.work(),
            Command::Maintenance(command) => command.hosts().len(),
            Command::StartUpdate { .. }
            | Command::ControlUpdate { .. }
            | Command::PulseUpdate { .. }
            | Command::ScheduleCronJob(_)
            | Command::ReplaceCronTemplate(_)
            | Command::DescheduleCronJob { .. }
            | Command::StartCronJob { .. }
            | Command::SetQuota { .. } => 1,
        };
        count.clamp(1, MOST_WORK)
    }
}

/// A command that asks for more is refused, or as much work as one that asks for this: it must not wait for ever behind what is small.
const MOST_WORK: usize = 100_000;

/// A change of a task's status, for the log (one line each) and for followers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Job.
    pub job: JobKey,
    /// Instance.
    pub instance: InstanceId,
    /// Task.
    pub task_id: TaskId,
    /// Before; `None` for a new task.
    pub from: Option<TaskStatus>,
    /// After; `None` for a deleted task.
    pub to: Option<TaskStatus>,
    /// Message of the event.
    pub reason: Option<String>,
    /// When, in ms since the epoch.
    pub timestamp_ms: i64,
}

/// What is to be done once the records of the step are durable. In order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answers a command.
    Reply {
        /// Which.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Asks the engine.
    Engine(Call),
    /// Asks a coordinator; answered by [`Input::CoordinatorAnswer`].
    AskCoordinator(Box<CoordinatorQuestion>),
    /// Tells the log and followers.
    Transition(Transition),
    /// A plain sentence for the operator's log.
    Notice(String),
    /// Another scheduler took this one's place: the process must end. Nothing follows.
    Stop {
        /// For the operator.
        reason: String,
    },
}

/// What a step asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// To be made durable as one group, in order.
    pub records: Vec<Record>,
    /// To be released after that, in order.
    pub effects: Vec<Effect>,
    /// The step reached its bound of work: send [`Input::Resume`] soon.
    pub more: bool,
}
