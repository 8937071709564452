//! Tasks, executors, commands (spec mesos 2.5).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::containers::{ContainerInfo, network_info};
use super::identity::{AgentId, DurationInfo, ExecutorId, FrameworkId, TaskId};
use super::resources::{Resource, value};
use super::status::{TaskState, TaskStatus};

messages! {
    /// A task to start; with an executor or a command, never both.
    pub struct TaskInfo {
        1 name: [string, required] String,
        2 task_id: [message, required] TaskId,
        3 agent_id: [message, required] AgentId,
        4 resources: [message, repeated] Vec<Resource>,
        5 executor: [message, optional] Option<ExecutorInfo>,
        6 data: [bytes = "bytes", optional] Option<Bytes>,
        7 command: [message, optional] Option<CommandInfo>,
        8 health_check: [message, optional, boxed] Option<Box<HealthCheck>>,
        9 container: [message, optional] Option<ContainerInfo>,
        10 labels: [message, optional] Option<Labels>,
        11 discovery: [message, optional] Option<DiscoveryInfo>,
        12 kill_policy: [message, optional] Option<KillPolicy>,
        13 check: [message, optional, boxed] Option<Box<CheckInfo>>,
        14 max_completion_time: [message, optional] Option<DurationInfo>,
        15 limits: [btree_map = "string, message"] BTreeMap<String, value::Scalar>,
    }

    /// Tasks that start together.
    pub struct TaskGroupInfo { 1 tasks: [message, repeated] Vec<TaskInfo> }

    /// An executor to start, or the one that runs.
    pub struct ExecutorInfo {
        1 executor_id: [message, required] ExecutorId,
        4 data: [bytes = "bytes", optional] Option<Bytes>,
        5 resources: [message, repeated] Vec<Resource>,
        7 command: [message, optional] Option<CommandInfo>,
        8 framework_id: [message, optional] Option<FrameworkId>,
        9 name: [string, optional] Option<String>,
        10 source: [string, optional] Option<String>,
        11 container: [message, optional] Option<ContainerInfo>,
        12 discovery: [message, optional] Option<DiscoveryInfo>,
        13 shutdown_grace_period: [message, optional] Option<DurationInfo>,
        14 labels: [message, optional] Option<Labels>,
        15 r#type: [enumeration(executor_info::Type), optional] Option<i32>,
    }

    /// What to run. With `shell` it is `/bin/sh -c value`, otherwise `value` with `arguments` as its whole argv.
    pub struct CommandInfo {
        1 uris: [message, repeated] Vec<command_info::Uri>,
        2 environment: [message, optional] Option<Environment>,
        3 value: [string, optional] Option<String>,
        5 user: [string, optional] Option<String>,
        6 shell: [bool, optional, default = "true"] Option<bool>,
        7 arguments: [string, repeated] Vec<String>,
    }

    /// Environment variables.
    pub struct Environment { 1 variables: [message, repeated] Vec<environment::Variable> }

    /// A secret, or where it is.
    pub struct Secret {
        1 r#type: [enumeration(secret::Type), optional] Option<i32>,
        2 reference: [message, optional] Option<secret::Reference>,
        3 value: [message, optional] Option<secret::Value>,
    }

    /// How to end a task; binds built-in executors only.
    #[derive(Copy)]
    pub struct KillPolicy { 1 grace_period: [message, optional] Option<DurationInfo> }

    /// A health check; binds built-in executors only.
    pub struct HealthCheck {
        1 http: [message, optional] Option<health_check::HttpCheckInfo>,
        2 delay_seconds: [double, optional, default = "15.0"] Option<f64>,
        3 interval_seconds: [double, optional, default = "10.0"] Option<f64>,
        4 timeout_seconds: [double, optional, default = "20.0"] Option<f64>,
        5 consecutive_failures: [uint32, optional, default = "3"] Option<u32>,
        6 grace_period_seconds: [double, optional, default = "10.0"] Option<f64>,
        7 command: [message, optional] Option<CommandInfo>,
        8 r#type: [enumeration(health_check::Type), optional] Option<i32>,
        9 tcp: [message, optional] Option<health_check::TcpCheckInfo>,
    }

    /// A check whose result is only told.
    pub struct CheckInfo {
        1 r#type: [enumeration(check_info::Type), optional] Option<i32>,
        2 command: [message, optional] Option<check_info::Command>,
        3 http: [message, optional] Option<check_info::Http>,
        4 delay_seconds: [double, optional, default = "15.0"] Option<f64>,
        5 interval_seconds: [double, optional, default = "10.0"] Option<f64>,
        6 timeout_seconds: [double, optional, default = "20.0"] Option<f64>,
        7 tcp: [message, optional] Option<check_info::Tcp>,
    }

    /// The last result of a check.
    pub struct CheckStatusInfo {
        1 r#type: [enumeration(check_info::Type), optional] Option<i32>,
        2 command: [message, optional] Option<check_status_info::Command>,
        3 http: [message, optional] Option<check_status_info::Http>,
        4 tcp: [message, optional] Option<check_status_info::Tcp>,
    }

    /// How others may find a task.
    pub struct DiscoveryInfo {
        1 visibility: [enumeration(discovery_info::Visibility), required] i32,
        2 name: [string, optional] Option<String>,
        3 environment: [string, optional] Option<String>,
        4 location: [string, optional] Option<String>,
        5 version: [string, optional] Option<String>,
        6 ports: [message, optional] Option<Ports>,
        7 labels: [message, optional] Option<Labels>,
    }

    /// Named ports.
    pub struct Ports { 1 ports: [message, repeated] Vec<Port> }

    /// A named port.
    pub struct Port {
        1 number: [uint32, required] u32,
        2 name: [string, optional] Option<String>,
        3 protocol: [string, optional] Option<String>,
        4 visibility: [enumeration(discovery_info::Visibility), optional] Option<i32>,
        5 labels: [message, optional] Option<Labels>,
    }

    /// Labels.
    #[derive(Eq)]
    pub struct Labels { 1 labels: [message, repeated] Vec<Label> }

    /// A key and perhaps a value.
    #[derive(Eq)]
    pub struct Label {
        1 key: [string, required] String,
        2 value: [string, optional] Option<String>,
    }

    /// A key and a value.
    #[derive(Eq)]
    pub struct Parameter {
        1 key: [string, required] String,
        2 value: [string, required] String,
    }

    /// Parameters.
    #[derive(Eq)]
    pub struct Parameters { 1 parameter: [message, repeated] Vec<Parameter> }

    /// A task as the master keeps it.
    pub struct Task {
        1 name: [string, required] String,
        2 task_id: [message, required] TaskId,
        3 framework_id: [message, required] FrameworkId,
        4 executor_id: [message, optional] Option<ExecutorId>,
        5 agent_id: [message, required] AgentId,
        6 state: [enumeration(TaskState), required] i32,
        7 resources: [message, repeated] Vec<Resource>,
        8 statuses: [message, repeated] Vec<TaskStatus>,
        9 status_update_state: [enumeration(TaskState), optional] Option<i32>,
        10 status_update_uuid: [bytes = "bytes", optional] Option<Bytes>,
        11 labels: [message, optional] Option<Labels>,
        12 discovery: [message, optional] Option<DiscoveryInfo>,
        13 container: [message, optional] Option<ContainerInfo>,
        14 user: [string, optional] Option<String>,
        15 health_check: [message, optional, boxed] Option<Box<HealthCheck>>,
        16 kill_policy: [message, optional] Option<KillPolicy>,
        17 limits: [btree_map = "string, message"] BTreeMap<String, value::Scalar>,
    }
}

/// Inside [`ExecutorInfo`].
pub mod executor_info {
    enumerations! {
        /// Whose program the executor is.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Default = 1 "DEFAULT",
            Custom = 2 "CUSTOM",
        }
    }
}

/// Inside [`CommandInfo`].
pub mod command_info {
    messages! {
        /// Something the agent fetches into the sandbox.
        pub struct Uri {
            1 value: [string, required] String,
            2 executable: [bool, optional] Option<bool>,
            3 extract: [bool, optional, default = "true"] Option<bool>,
            4 cache: [bool, optional] Option<bool>,
            5 output_file: [string, optional] Option<String>,
        }
    }
}

/// Inside [`Environment`].
pub mod environment {
    use super::Secret;

    messages! {
        /// A variable.
        pub struct Variable {
            1 name: [string, required] String,
            2 value: [string, optional] Option<String>,
            3 r#type: [enumeration(variable::Type), optional, default = "Value"] Option<i32>,
            4 secret: [message, optional] Option<Secret>,
        }
    }

    /// Inside [`Variable`].
    pub mod variable {
        enumerations! {
            /// Where its content is.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                Value = 1 "VALUE",
                Secret = 2 "SECRET",
            }
        }
    }
}

/// Inside [`Secret`].
pub mod secret {
    use bytes::Bytes;

    enumerations! {
        /// Where its content is.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Reference = 1 "REFERENCE",
            Value = 2 "VALUE",
        }
    }

    messages! {
        /// A name in some store.
        pub struct Reference {
            1 name: [string, required] String,
            2 key: [string, optional] Option<String>,
        }

        /// The content itself.
        pub struct Value { 1 data: [bytes = "bytes", required] Bytes }
    }
}

/// Inside [`HealthCheck`].
pub mod health_check {
    use super::network_info;

    enumerations! {
        /// Kinds of health checks.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Command = 1 "COMMAND",
            Http = 2 "HTTP",
            Tcp = 3 "TCP",
        }
    }

    messages! {
        /// By HTTP.
        pub struct HttpCheckInfo {
            1 port: [uint32, required] u32,
            2 path: [string, optional] Option<String>,
            3 scheme: [string, optional] Option<String>,
            4 statuses: [uint32, repeated, packed = "false"] Vec<u32>,
            5 protocol: [enumeration(network_info::Protocol), optional, default = "IPv4"] Option<i32>,
        }

        /// By connecting.
        #[derive(Copy)]
        pub struct TcpCheckInfo {
            1 port: [uint32, required] u32,
            2 protocol: [enumeration(network_info::Protocol), optional, default = "IPv4"] Option<i32>,
        }
    }
}

/// Inside [`CheckInfo`].
pub mod check_info {
    use super::CommandInfo;

    enumerations! {
        /// Kinds of checks.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Command = 1 "COMMAND",
            Http = 2 "HTTP",
            Tcp = 3 "TCP",
        }
    }

    messages! {
        /// By a command.
        pub struct Command { 1 command: [message, required] CommandInfo }

        /// By HTTP.
        pub struct Http {
            1 port: [uint32, required] u32,
            2 path: [string, optional] Option<String>,
        }

        /// By connecting.
        #[derive(Copy)]
        pub struct Tcp { 1 port: [uint32, required] u32 }
    }
}

/// Inside [`CheckStatusInfo`].
pub mod check_status_info {
    messages! {
        /// Of a command.
        #[derive(Copy)]
        pub struct Command { 1 exit_code: [int32, optional] Option<i32> }

        /// Of an HTTP request.
        #[derive(Copy)]
        pub struct Http { 1 status_code: [uint32, optional] Option<u32> }

        /// Of a connection.
        #[derive(Copy)]
        pub struct Tcp { 1 succeeded: [bool, optional] Option<bool> }
    }
}

/// Inside [`DiscoveryInfo`].
pub mod discovery_info {
    enumerations! {
        /// Who may see it.
        pub enum Visibility {
            Framework = 0 "FRAMEWORK",
            Cluster = 1 "CLUSTER",
            External = 2 "EXTERNAL",
        }
    }
}
