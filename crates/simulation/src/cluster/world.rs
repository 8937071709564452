//! The engine and its agents: machines with room, tasks that start, run, end or hang, and messages that are late or lost. It
//! keeps the engine's side of the contract in [`engine`], and it checks the scheduler's: no launch twice under one name, no agent
//! filled beyond its room, no call of an older epoch after one of a newer.

mod calls;
mod connection;
mod tasks;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::{OfferId, Reason, StatusToken, StatusUpdate, TaskState};
use model::{CpuMillis, Ports, Resources, TaskId};

use super::chance::Chance;
use super::coverage::{Coverage, Fault};
use super::schedule::Schedule;

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
    /// Tasks of which something was said that is not so: the truth may have been lost on its way.
    misreported: BTreeSet<TaskId>,
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
            misreported: BTreeSet::new(),
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
