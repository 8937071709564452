//! What executors and agents say to each other (package `mesos.v1.executor`, spec mesos 2.2). Field numbers and type numbers differ.

use super::identity::{ExecutorId, FrameworkId};

messages! {
    /// From an executor to its agent; the member is the one `type` names.
    pub struct Call {
        1 executor_id: [message, required] ExecutorId,
        2 framework_id: [message, required] FrameworkId,
        3 r#type: [enumeration(call::Type), optional] Option<i32>,
        4 subscribe: [message, optional] Option<call::Subscribe>,
        5 update: [message, optional] Option<call::Update>,
        6 message: [message, optional] Option<call::Message>,
    }

    /// From an agent to an executor; SHUTDOWN and HEARTBEAT have no member.
    pub struct Event {
        1 r#type: [enumeration(event::Type), optional] Option<i32>,
        2 subscribed: [message, optional] Option<event::Subscribed>,
        3 acknowledged: [message, optional] Option<event::Acknowledged>,
        4 launch: [message, optional] Option<event::Launch>,
        5 kill: [message, optional] Option<event::Kill>,
        6 message: [message, optional] Option<event::Message>,
        7 error: [message, optional] Option<event::Error>,
        8 launch_group: [message, optional] Option<event::LaunchGroup>,
    }
}

/// Inside [`Call`].
pub mod call {
    use bytes::Bytes;

    use crate::v1::{TaskInfo, TaskStatus};

    enumerations! {
        /// Kinds of calls.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Subscribe = 1 "SUBSCRIBE",
            Update = 2 "UPDATE",
            Message = 3 "MESSAGE",
            Heartbeat = 4 "HEARTBEAT",
        }
    }

    messages! {
        /// Opens the event stream; says what the agent may not know.
        pub struct Subscribe {
            1 unacknowledged_tasks: [message, repeated] Vec<TaskInfo>,
            2 unacknowledged_updates: [message, repeated] Vec<Update>,
        }

        /// A task's status; `uuid` is 16 bytes, `source` is the executor.
        pub struct Update { 1 status: [message, required] TaskStatus }

        /// Bytes for the scheduler, at most once.
        pub struct Message { 2 data: [bytes = "bytes", required] Bytes }
    }
}

/// Inside [`Event`].
pub mod event {
    use bytes::Bytes;

    use crate::v1::{AgentInfo, ContainerId, ExecutorInfo, FrameworkInfo, KillPolicy, TaskGroupInfo, TaskId, TaskInfo};

    enumerations! {
        /// Kinds of events.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Subscribed = 1 "SUBSCRIBED",
            Launch = 2 "LAUNCH",
            Kill = 3 "KILL",
            Acknowledged = 4 "ACKNOWLEDGED",
            Message = 5 "MESSAGE",
            Error = 6 "ERROR",
            Shutdown = 7 "SHUTDOWN",
            LaunchGroup = 8 "LAUNCH_GROUP",
            Heartbeat = 9 "HEARTBEAT",
        }
    }

    messages! {
        /// The stream is open.
        pub struct Subscribed {
            1 executor_info: [message, required] ExecutorInfo,
            2 framework_info: [message, required] FrameworkInfo,
            3 agent_info: [message, required] AgentInfo,
            4 container_id: [message, optional] Option<ContainerId>,
        }

        /// Starts a task.
        pub struct Launch { 1 task: [message, required] TaskInfo }

        /// Starts tasks together.
        pub struct LaunchGroup { 1 task_group: [message, required] TaskGroupInfo }

        /// Ends a task.
        pub struct Kill {
            1 task_id: [message, required] TaskId,
            2 kill_policy: [message, optional] Option<KillPolicy>,
        }

        /// The agent stored an update; not yet that the scheduler saw it.
        pub struct Acknowledged {
            1 task_id: [message, required] TaskId,
            2 uuid: [bytes = "bytes", required] Bytes,
        }

        /// Bytes from the scheduler, at most once.
        pub struct Message { 1 data: [bytes = "bytes", required] Bytes }

        /// Ends the executor.
        pub struct Error { 1 message: [string, required] String }
    }
}
