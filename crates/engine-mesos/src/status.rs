//! What Mesos says of a task in the scheduler's words (spec executor 5.7, mesos 2.7), and the tokens by which updates are acknowledged.

use bytes::Bytes;
use engine::{Reason, StatusToken, StatusUpdate, TaskState};
use mesos::v1::{self, task_status};

/// Length of an update's id.
const UUID_BYTES: usize = 16;

/// What Docker's containerizer says where a container's user may not execute what it was started with.
const NOT_EXECUTABLE: &str = "Container exited with status 126";
/// What helps.
const NOT_EXECUTABLE_HINT: &str = "if the image has a user of its own: it may not execute what the agent fetched. Name a user with the \
     Docker parameter user, and the task's processes run as that one";

/// What follows from a status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// The scheduler is to know.
    Update(StatusUpdate),
    /// Nothing to know, or nothing that is understood; only its acknowledgement, where there is one, keeps later ones coming.
    Nothing {
        /// What it was, where it is not known to this program.
        unknown_state: Option<i32>,
        token: Option<StatusToken>,
    },
}

/// Translates a status. Only one with an id of sixteen bytes and an agent can be acknowledged.
pub(crate) fn tell(status: v1::TaskStatus) -> Told {
    let agent_id = status.agent_id.map(|agent| agent.value);
    let token = status.uuid.and_then(|uuid| token(&uuid, agent_id.as_deref()?));
    let state = match v1::TaskState::try_from(status.state) {
        Ok(state) => state,
        Err(_) => return Told::Nothing { unknown_state: Some(status.state), token },
    };
    let Some(state) = task_state(state) else { return Told::Nothing { unknown_state: None, token } };
    let message = status.message.filter(|message| !message.is_empty()).map(explained);
    Told::Update(StatusUpdate {
        task_id: model::TaskId(status.task_id.value.into()),
        state,
        reason: status.reason.and_then(|number| reason(number, status.source)),
        message,
        timestamp_ms: status.timestamp.filter(|seconds| *seconds > 0.0).map(|seconds| (seconds * 1000.0) as i64),
        agent_id,
        token,
    })
}

/// Adds what to do where Mesos' own words do not say it.
fn explained(message: String) -> String {
    if message.contains(NOT_EXECUTABLE) { format!("{message} ({NOT_EXECUTABLE_HINT})") } else { message }
}

/// `None` where a state says nothing that the scheduler could use.
fn task_state(state: v1::TaskState) -> Option<TaskState> {
    use v1::TaskState as M;
    Some(match state {
        M::Starting => TaskState::Starting,
        M::Running => TaskState::Running,
        // An answer of the master: it has passed the launch on, and nothing was heard. Taken for a sign of life, it would end the time
        // that a launch has to bring one.
        M::Staging => return None,
        // It goes on running until a state that ends it follows.
        M::Killing => return None,
        M::Finished => TaskState::Finished,
        M::Failed => TaskState::Failed,
        M::Killed => TaskState::Killed,
        M::Error | M::Lost | M::Dropped | M::Gone | M::GoneByOperator => TaskState::Lost,
        M::Unreachable | M::Unknown => TaskState::Unreachable,
    })
}

fn reason(number: i32, source: Option<i32>) -> Option<Reason> {
    use task_status::Reason as M;
    Some(match M::try_from(number).ok()? {
        // The number of an unset reason; only an executor that set it on purpose means something by it.
        M::CommandExecutorFailed => return None,
        M::Reconciliation => Reason::Reconciliation,
        M::ContainerLimitationMemory => Reason::MemoryLimit,
        M::ContainerLimitationDisk => Reason::DiskLimit,
        M::ContainerLaunchFailed
        | M::GcError
        | M::ExecutorRegistrationTimeout
        | M::IoSwitchboardExited
        | M::TaskInvalid
        | M::TaskUnauthorized
        | M::TaskGroupInvalid
        | M::TaskGroupUnauthorized => Reason::LaunchFailed,
        M::InvalidOffers | M::ResourcesUnknown => Reason::InvalidOffer,
        M::ExecutorUnregistered => Reason::ExecutorUnregistered,
        M::ExecutorTerminated
        | M::ExecutorReregistrationTimeout
        | M::ContainerPreempted
        | M::ContainerLimitation
        | M::ContainerUpdateFailed => Reason::ExecutorTerminated,
        M::AgentDisconnected
        | M::AgentRemoved
        | M::AgentRestarted
        | M::AgentUnknown
        | M::AgentRemovedByOperator
        | M::AgentDraining => Reason::AgentRemoved,
        M::TaskCheckStatusUpdated
        | M::TaskHealthCheckStatusUpdated
        | M::TaskKilledDuringLaunch
        | M::MaxCompletionTimeReached => Reason::Executor,
        M::FrameworkRemoved | M::InvalidFrameworkId | M::MasterDisconnected | M::TaskUnknown | M::AgentReregistered => {
            return (source == Some(task_status::Source::Executor as i32)).then_some(Reason::Executor);
        }
    })
}

fn token(uuid: &Bytes, agent_id: &str) -> Option<StatusToken> {
    (uuid.len() == UUID_BYTES).then(|| StatusToken([uuid, agent_id.as_bytes()].concat()))
}

/// The id of the update and the agent that a token names.
pub(crate) fn read_token(token: &StatusToken) -> Option<(Bytes, &str)> {
    let (uuid, agent_id) = token.0.split_at_checked(UUID_BYTES)?;
    let agent_id = std::str::from_utf8(agent_id).ok()?;
    Some((Bytes::copy_from_slice(uuid), agent_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: v1::TaskState) -> v1::TaskStatus {
        v1::TaskStatus { task_id: "t".into(), state: state as i32, ..Default::default() }
    }

    fn update(status: v1::TaskStatus) -> StatusUpdate {
        match tell(status) {
            Told::Update(update) => update,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_state_has_its_place() {
        use v1::TaskState as M;
        for (mesos, ours) in [
            (M::Staging, None),
            (M::Starting, Some(TaskState::Starting)),
            (M::Running, Some(TaskState::Running)),
            (M::Killing, None),
            (M::Finished, Some(TaskState::Finished)),
            (M::Failed, Some(TaskState::Failed)),
            (M::Killed, Some(TaskState::Killed)),
            (M::Error, Some(TaskState::Lost)),
            (M::Lost, Some(TaskState::Lost)),
            (M::Dropped, Some(TaskState::Lost)),
            (M::Unreachable, Some(TaskState::Unreachable)),
            (M::Gone, Some(TaskState::Lost)),
            (M::GoneByOperator, Some(TaskState::Lost)),
            (M::Unknown, Some(TaskState::Unreachable)),
        ] {
            assert_eq!(task_state(mesos), ours, "{}", mesos.name());
        }
    }

    #[test]
    fn states_of_the_future_are_acknowledged_and_passed_over() {
        let unknown = v1::TaskStatus {
            state: 42,
            uuid: Some(Bytes::from_static(&[7; 16])),
            agent_id: Some("S1".into()),
            ..status(v1::TaskState::Running)
        };
        let Told::Nothing { unknown_state, token } = tell(unknown) else { panic!("it is not understood") };
        assert_eq!(unknown_state, Some(42));
        assert_eq!(read_token(&token.unwrap()), Some((Bytes::from_static(&[7; 16]), "S1")));
    }

    #[test]
    fn only_updates_with_an_id_can_be_acknowledged() {
        let with = |uuid: Option<&'static [u8]>, agent: Option<&str>| {
            let status = v1::TaskStatus {
                uuid: uuid.map(Bytes::from_static),
                agent_id: agent.map(Into::into),
                ..status(v1::TaskState::Error)
            };
            update(status).token
        };
        assert!(with(Some(&[1; 16]), Some("S1")).is_some());
        assert_eq!(with(None, Some("S1")), None);
        assert_eq!(with(Some(&[1; 36]), Some("S1")), None, "text is no id");
        assert_eq!(with(Some(&[1; 16]), None), None);
        assert_eq!(read_token(&StatusToken(vec![1; 15])), None);
    }

    #[test]
    fn zero_is_no_reason_and_other_numbers_are() {
        let reason = |reason: Option<i32>| update(v1::TaskStatus { reason, ..status(v1::TaskState::Failed) }).reason;
        assert_eq!(reason(None), None);
        assert_eq!(reason(Some(0)), None);
        assert_eq!(reason(Some(999)), None);
        assert_eq!(reason(Some(8)), Some(Reason::MemoryLimit));
        assert_eq!(reason(Some(20)), Some(Reason::DiskLimit));
        assert_eq!(reason(Some(6)), Some(Reason::InvalidOffer));
        assert_eq!(reason(Some(9)), Some(Reason::Reconciliation));
        assert_eq!(reason(Some(11)), Some(Reason::AgentRemoved));
    }

    #[test]
    fn times_are_milliseconds() {
        let at = |timestamp| update(v1::TaskStatus { timestamp, ..status(v1::TaskState::Running) }).timestamp_ms;
        assert_eq!(at(Some(1_500_000_000.25)), Some(1_500_000_000_250));
        assert_eq!(at(Some(f64::NAN)), None);
        assert_eq!(at(None), None);
    }
}
