//! What the engine knows of each task, and the statuses that wait for their acknowledgement. No sockets and no files here.

use std::collections::{BTreeMap, VecDeque};

use checkpoint::protocol;
use checkpoint::record::{StatusReason, StatusRecord, StatusState};
use engine::{AgentId, Reason, StatusToken, StatusUpdate, TaskState};
use model::TaskId;

use crate::agents::Holding;
use crate::slots::SlotKey;

/// Number of a status that the engine made up itself because there is no run that could have recorded it.
const OWN_SEQUENCE: u32 = u32::MAX;

/// What is stored with a run so that the next engine finds it again.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EngineData {
    #[prost(int64, tag = "1")]
    pub(crate) cpu_milli: i64,
    #[prost(int64, tag = "2")]
    pub(crate) ram_mb: i64,
    #[prost(int64, tag = "3")]
    pub(crate) disk_mb: i64,
    #[prost(int64, tag = "4")]
    pub(crate) gpus: i64,
    #[prost(uint32, repeated, tag = "5")]
    pub(crate) ports: Vec<u32>,
}

impl From<&Holding> for EngineData {
    fn from(holding: &Holding) -> Self {
        Self {
            cpu_milli: holding.resources.cpu.0,
            ram_mb: holding.resources.ram_mb,
            disk_mb: holding.resources.disk_mb,
            gpus: holding.resources.gpus,
            ports: holding.ports.iter().map(|port| u32::from(*port)).collect(),
        }
    }
}

impl From<&EngineData> for Holding {
    fn from(data: &EngineData) -> Self {
        let ports = data.ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect();
        Self {
            resources: model::Resources {
                cpu: model::CpuMillis(data.cpu_milli),
                ram_mb: data.ram_mb,
                disk_mb: data.disk_mb,
                ports: data.ports.len() as i64,
                gpus: data.gpus,
            },
            ports,
        }
    }
}

/// How far a task has come, as far as the engine has something to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Waits for a supervisor.
    Waiting(Box<Waiting>),
    /// Given to the supervisor of this slot; it may or may not have begun. Kept until it has, to be given to another one.
    Given(u64, Box<Waiting>),
    /// Begun under the supervisor of this slot.
    Begun(u64),
    /// Begun by an earlier engine; its supervisor has not presented itself.
    Awaited,
    /// Over.
    Over,
}

/// A launch that has not begun.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) launch: protocol::Launch,
    pub(crate) key: SlotKey,
    /// How often a supervisor ended before it began.
    pub(crate) attempts: u32,
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) agent: usize,
    pub(crate) phase: Phase,
    /// Given back to the agent with the terminal status.
    pub(crate) holding: Option<Holding>,
    /// A kill that no supervisor has been told of yet: how long the processes may take.
    pub(crate) kill_wanted: bool,
    last: Option<StatusRecord>,
    /// Told and not acknowledged, oldest first, with the time of the last telling in monotonic milliseconds.
    unacknowledged: VecDeque<(StatusRecord, u64)>,
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) by_id: BTreeMap<TaskId, Task>,
}

impl Task {
    pub(crate) fn new(agent: usize, phase: Phase, holding: Option<Holding>) -> Self {
        Self { agent, phase, holding, kill_wanted: false, last: None, unacknowledged: VecDeque::new() }
    }

    /// Takes in a status; false when it was known or comes after the end.
    pub(crate) fn learn(&mut self, status: StatusRecord, now_ms: u64) -> bool {
        let is_new =
            self.last.as_ref().is_none_or(|last| last.sequence < status.sequence && !last.state().is_terminal());
        if is_new {
            self.last = Some(status.clone());
            self.unacknowledged.push_back((status, now_ms));
        }
        is_new
    }

    /// A status for which there is no record on disk.
    pub(crate) fn own_status(
        state: StatusState,
        reason: StatusReason,
        message: String,
        timestamp_ms: i64,
    ) -> StatusRecord {
        StatusRecord {
            sequence: OWN_SEQUENCE,
            state: state.into(),
            message,
            timestamp_ms,
            reason: reason.into(),
            return_code: None,
        }
    }

    pub(crate) fn last(&self) -> Option<&StatusRecord> {
        self.last.as_ref()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.state().is_terminal())
    }

    /// The status is stored elsewhere. True when it was the terminal one: nothing is left to be told.
    pub(crate) fn acknowledge(&mut self, token: &StatusToken) -> bool {
        let known = self.unacknowledged.iter().position(|(status, _)| token_of(status) == *token);
        let Some(at) = known else { return false };
        let is_last = self.unacknowledged[at].0.state().is_terminal();
        // They are told in order, so what came before has arrived as well.
        self.unacknowledged.drain(..=at);
        is_last
    }

    /// Statuses that have waited for their acknowledgement since before `told_before_ms`; from now on they wait anew.
    pub(crate) fn overdue(&mut self, told_before_ms: u64, now_ms: u64) -> Vec<StatusRecord> {
        // In order: an overdue one is told again with all that came after it.
        let Some((_, told_ms)) = self.unacknowledged.front() else { return Vec::new() };
        if *told_ms > told_before_ms {
            return Vec::new();
        }
        self.unacknowledged.iter_mut().for_each(|(_, told)| *told = now_ms);
        self.unacknowledged.iter().map(|(status, _)| status.clone()).collect()
    }

    pub(crate) fn waits_for_acknowledgement(&self) -> bool {
        !self.unacknowledged.is_empty()
    }
}

pub(crate) fn token_of(status: &StatusRecord) -> StatusToken {
    StatusToken(status.sequence.to_le_bytes().to_vec())
}

/// The words of the scheduler for a status that is to be acknowledged.
pub(crate) fn update(task_id: &TaskId, agent_id: &AgentId, status: &StatusRecord) -> StatusUpdate {
    StatusUpdate {
        task_id: task_id.clone(),
        state: state_of(status.state()),
        reason: Some(reason_of(status.reason())),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        timestamp_ms: (status.timestamp_ms > 0).then_some(status.timestamp_ms),
        agent_id: Some(agent_id.clone()),
        token: Some(token_of(status)),
    }
}

pub(crate) fn state_of(state: StatusState) -> TaskState {
    match state {
        StatusState::Starting => TaskState::Starting,
        StatusState::Running => TaskState::Running,
        StatusState::Finished => TaskState::Finished,
        StatusState::Failed => TaskState::Failed,
        StatusState::Killed => TaskState::Killed,
        StatusState::Lost => TaskState::Lost,
    }
}

fn reason_of(reason: StatusReason) -> Reason {
    match reason {
        StatusReason::Unspecified => Reason::Executor,
        StatusReason::MemoryLimit => Reason::MemoryLimit,
        StatusReason::DiskLimit => Reason::DiskLimit,
        StatusReason::LaunchFailed | StatusReason::InvalidTask => Reason::LaunchFailed,
        StatusReason::SupervisorTerminated => Reason::ExecutorTerminated,
        StatusReason::AgentRestarted => Reason::AgentRemoved,
        StatusReason::Unknown => Reason::Reconciliation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(sequence: u32, state: StatusState) -> StatusRecord {
        StatusRecord { sequence, state: state.into(), ..StatusRecord::default() }
    }

    #[test]
    fn a_status_is_learnt_once_and_nothing_after_the_end() {
        let mut task = Task::new(0, Phase::Awaited, None);
        assert!(task.learn(status(0, StatusState::Starting), 0));
        assert!(!task.learn(status(0, StatusState::Starting), 0));
        assert!(task.learn(status(2, StatusState::Failed), 0));
        assert!(!task.learn(status(1, StatusState::Running), 0));
        assert!(!task.learn(status(3, StatusState::Lost), 0));
        assert!(task.is_over());
    }

    #[test]
    fn what_is_not_acknowledged_is_told_again_in_order() {
        let mut task = Task::new(0, Phase::Awaited, None);
        let (first, second) = (status(0, StatusState::Starting), status(1, StatusState::Finished));
        task.learn(first.clone(), 100);
        task.learn(second.clone(), 200);
        assert!(task.overdue(50, 300).is_empty());
        assert_eq!(task.overdue(100, 300), [first.clone(), second.clone()]);
        assert!(task.overdue(250, 400).is_empty(), "told anew, it waits anew");
        assert!(!task.acknowledge(&token_of(&first)));
        assert!(task.acknowledge(&token_of(&second)), "the terminal one");
        assert!(!task.acknowledge(&token_of(&second)), "a second acknowledgement is nothing");
        assert!(!task.waits_for_acknowledgement());
    }

    #[test]
    fn holdings_survive_being_stored() {
        let holding = Holding {
            resources: model::Resources { cpu: model::CpuMillis(1), ram_mb: 2, disk_mb: 3, ports: 2, gpus: 4 },
            ports: [80, 443].into(),
        };
        let data: EngineData =
            prost::Message::decode(prost::Message::encode_to_vec(&EngineData::from(&holding)).as_slice()).unwrap();
        assert_eq!(Holding::from(&data), holding);
    }
}
