//! What is said about a task (spec mesos 2.7).

use bytes::Bytes;

use super::containers::ContainerStatus;
use super::identity::{AgentId, ExecutorId, TaskId, TimeInfo};
use super::resources::Resource;
use super::tasks::{CheckStatusInfo, Labels};

messages! {
    /// A status of a task. Only one with a `uuid` (16 bytes) is sent again until it is acknowledged, and only such a one may be.
    pub struct TaskStatus {
        1 task_id: [message, required] TaskId,
        2 state: [enumeration(TaskState), required] i32,
        3 data: [bytes = "bytes", optional] Option<Bytes>,
        4 message: [string, optional] Option<String>,
        5 agent_id: [message, optional] Option<AgentId>,
        6 timestamp: [double, optional] Option<f64>,
        7 executor_id: [message, optional] Option<ExecutorId>,
        8 healthy: [bool, optional] Option<bool>,
        9 source: [enumeration(task_status::Source), optional] Option<i32>,
        10 reason: [enumeration(task_status::Reason), optional] Option<i32>,
        11 uuid: [bytes = "bytes", optional] Option<Bytes>,
        12 labels: [message, optional] Option<Labels>,
        13 container_status: [message, optional] Option<ContainerStatus>,
        14 unreachable_time: [message, optional] Option<TimeInfo>,
        15 check_status: [message, optional] Option<CheckStatusInfo>,
        16 limitation: [message, optional] Option<TaskResourceLimitation>,
    }

    /// What a task used too much of.
    pub struct TaskResourceLimitation { 1 resources: [message, repeated] Vec<Resource> }
}

enumerations! {
    /// States of a task. 0 is a real state.
    pub enum TaskState {
        Staging = 6 "TASK_STAGING",
        Starting = 0 "TASK_STARTING",
        Running = 1 "TASK_RUNNING",
        Killing = 8 "TASK_KILLING",
        Finished = 2 "TASK_FINISHED",
        Failed = 3 "TASK_FAILED",
        Killed = 4 "TASK_KILLED",
        Error = 7 "TASK_ERROR",
        Lost = 5 "TASK_LOST",
        Dropped = 9 "TASK_DROPPED",
        Unreachable = 10 "TASK_UNREACHABLE",
        Gone = 11 "TASK_GONE",
        GoneByOperator = 12 "TASK_GONE_BY_OPERATOR",
        Unknown = 13 "TASK_UNKNOWN",
    }
}

impl TaskState {
    /// Whether Mesos expects nothing more of the task. `Lost` and `GoneByOperator` may still come back.
    pub fn is_terminal(self) -> bool {
        use TaskState as S;
        matches!(
            self,
            S::Finished | S::Failed | S::Killed | S::Error | S::Lost | S::Dropped | S::Gone | S::GoneByOperator
        )
    }
}

/// Inside [`TaskStatus`].
pub mod task_status {
    enumerations! {
        /// Who said it.
        pub enum Source {
            Master = 0 "SOURCE_MASTER",
            Agent = 1 "SOURCE_AGENT",
            Executor = 2 "SOURCE_EXECUTOR",
        }

        /// Why. 0 is a real reason.
        pub enum Reason {
            CommandExecutorFailed = 0 "REASON_COMMAND_EXECUTOR_FAILED",
            ExecutorTerminated = 1 "REASON_EXECUTOR_TERMINATED",
            ExecutorUnregistered = 2 "REASON_EXECUTOR_UNREGISTERED",
            FrameworkRemoved = 3 "REASON_FRAMEWORK_REMOVED",
            GcError = 4 "REASON_GC_ERROR",
            InvalidFrameworkId = 5 "REASON_INVALID_FRAMEWORKID",
            InvalidOffers = 6 "REASON_INVALID_OFFERS",
            MasterDisconnected = 7 "REASON_MASTER_DISCONNECTED",
            ContainerLimitationMemory = 8 "REASON_CONTAINER_LIMITATION_MEMORY",
            Reconciliation = 9 "REASON_RECONCILIATION",
            AgentDisconnected = 10 "REASON_AGENT_DISCONNECTED",
            AgentRemoved = 11 "REASON_AGENT_REMOVED",
            AgentRestarted = 12 "REASON_AGENT_RESTARTED",
            AgentUnknown = 13 "REASON_AGENT_UNKNOWN",
            TaskInvalid = 14 "REASON_TASK_INVALID",
            TaskUnauthorized = 15 "REASON_TASK_UNAUTHORIZED",
            TaskUnknown = 16 "REASON_TASK_UNKNOWN",
            ContainerPreempted = 17 "REASON_CONTAINER_PREEMPTED",
            ResourcesUnknown = 18 "REASON_RESOURCES_UNKNOWN",
            ContainerLimitation = 19 "REASON_CONTAINER_LIMITATION",
            ContainerLimitationDisk = 20 "REASON_CONTAINER_LIMITATION_DISK",
            ContainerLaunchFailed = 21 "REASON_CONTAINER_LAUNCH_FAILED",
            ContainerUpdateFailed = 22 "REASON_CONTAINER_UPDATE_FAILED",
            ExecutorRegistrationTimeout = 23 "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
            ExecutorReregistrationTimeout = 24 "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
            TaskGroupInvalid = 25 "REASON_TASK_GROUP_INVALID",
            TaskGroupUnauthorized = 26 "REASON_TASK_GROUP_UNAUTHORIZED",
            IoSwitchboardExited = 27 "REASON_IO_SWITCHBOARD_EXITED",
            TaskCheckStatusUpdated = 28 "REASON_TASK_CHECK_STATUS_UPDATED",
            TaskHealthCheckStatusUpdated = 29 "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
            TaskKilledDuringLaunch = 30 "REASON_TASK_KILLED_DURING_LAUNCH",
            AgentRemovedByOperator = 31 "REASON_AGENT_REMOVED_BY_OPERATOR",
            AgentReregistered = 32 "REASON_AGENT_REREGISTERED",
            MaxCompletionTimeReached = 33 "REASON_MAX_COMPLETION_TIME_REACHED",
            AgentDraining = 34 "REASON_AGENT_DRAINING",
        }
    }
}
