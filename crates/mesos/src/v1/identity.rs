//! Identities, frameworks, agents, masters, machines (spec mesos 2.3).

use std::collections::BTreeMap;

use super::resources::{Attribute, Resource, value};
use super::tasks::{Labels, Parameter};

macro_rules! ids {
    ($($Name:ident $what:literal),* $(,)?) => {$(
        messages! {
            #[doc = $what]
            #[derive(Eq, PartialOrd, Ord, Hash)]
            pub struct $Name { 1 value: [string, required] String }
        }

        impl From<&str> for $Name {
            fn from(value: &str) -> Self {
                Self { value: value.to_owned() }
            }
        }

        impl From<String> for $Name {
            fn from(value: String) -> Self {
                Self { value }
            }
        }
    )*};
}

ids! {
    FrameworkId "Names a framework: `<master id>-NNNN`.",
    OfferId "Names an offer: `<master id>-O<n>`.",
    AgentId "Names an agent: `<master id>-S<n>`.",
    TaskId "Names a task; unique within its framework for good.",
    ExecutorId "Names an executor of a framework on an agent.",
    ResourceProviderId "Names a resource provider.",
    OperationId "Names an operation on an offer.",
}

messages! {
    /// Names a container; nested ones name their parent.
    pub struct ContainerId {
        1 value: [string, required] String,
        2 parent: [message, optional, boxed] Option<Box<ContainerId>>,
    }

    /// A moment, in nanoseconds since the epoch.
    #[derive(Copy)]
    pub struct TimeInfo { 1 nanoseconds: [int64, required] i64 }

    /// A length of time.
    #[derive(Copy)]
    pub struct DurationInfo { 1 nanoseconds: [int64, required] i64 }

    /// What a framework says of itself when it subscribes.
    pub struct FrameworkInfo {
        1 user: [string, required] String,
        2 name: [string, required] String,
        3 id: [message, optional] Option<FrameworkId>,
        4 failover_timeout: [double, optional, default = "0.0"] Option<f64>,
        5 checkpoint: [bool, optional, default = "false"] Option<bool>,
        6 role: [string, optional] Option<String>,
        7 hostname: [string, optional] Option<String>,
        8 principal: [string, optional] Option<String>,
        9 webui_url: [string, optional] Option<String>,
        10 capabilities: [message, repeated] Vec<framework_info::Capability>,
        11 labels: [message, optional] Option<Labels>,
        12 roles: [string, repeated] Vec<String>,
        13 offer_filters: [btree_map = "string, message"] BTreeMap<String, OfferFilters>,
    }

    /// What offers of a role must hold at least.
    pub struct OfferFilters {
        1 min_allocatable_resources: [message, optional] Option<offer_filters::MinAllocatableResources>,
    }

    /// What a master tells executors about their agent.
    pub struct AgentInfo {
        1 hostname: [string, required] String,
        3 resources: [message, repeated] Vec<Resource>,
        5 attributes: [message, repeated] Vec<Attribute>,
        6 id: [message, optional] Option<AgentId>,
        8 port: [int32, optional, default = "5051"] Option<i32>,
        10 domain: [message, optional] Option<DomainInfo>,
    }

    /// A master, as its ZooKeeper node and SUBSCRIBED describe it. Use `address`; `ip` and `port` are legacy.
    pub struct MasterInfo {
        1 id: [string, required] String,
        2 ip: [uint32, required] u32,
        3 port: [uint32, required] u32,
        4 pid: [string, optional] Option<String>,
        5 hostname: [string, optional] Option<String>,
        6 version: [string, optional] Option<String>,
        7 address: [message, optional] Option<Address>,
        8 domain: [message, optional] Option<DomainInfo>,
        9 capabilities: [message, repeated] Vec<master_info::Capability>,
    }

    /// Where something stands.
    pub struct DomainInfo { 1 fault_domain: [message, optional] Option<domain_info::FaultDomain> }

    /// A host and port.
    pub struct Address {
        1 hostname: [string, optional] Option<String>,
        2 ip: [string, optional] Option<String>,
        3 port: [int32, required] i32,
    }

    /// A URL in parts.
    pub struct Url {
        1 scheme: [string, required] String,
        2 address: [message, required] Address,
        3 path: [string, optional] Option<String>,
        4 query: [message, repeated] Vec<Parameter>,
        5 fragment: [string, optional] Option<String>,
    }

    /// A machine in the operator's sense: agents with this host name and address.
    pub struct MachineId {
        1 hostname: [string, optional] Option<String>,
        2 ip: [string, optional] Option<String>,
    }

    /// A planned absence; without a duration it never ends.
    #[derive(Copy)]
    pub struct Unavailability {
        1 start: [message, required] TimeInfo,
        2 duration: [message, optional] Option<DurationInfo>,
    }

    /// A name and its secret.
    pub struct Credential {
        1 principal: [string, required] String,
        2 secret: [string, optional] Option<String>,
    }

    /// A file of credentials.
    pub struct Credentials { 1 credentials: [message, repeated] Vec<Credential> }
}

/// Inside [`FrameworkInfo`].
pub mod framework_info {
    messages! {
        /// Something the framework understands.
        #[derive(Copy)]
        pub struct Capability { 1 r#type: [enumeration(capability::Type), optional] Option<i32> }
    }

    /// Inside [`Capability`].
    pub mod capability {
        enumerations! {
            /// What frameworks may understand.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                RevocableResources = 1 "REVOCABLE_RESOURCES",
                TaskKillingState = 2 "TASK_KILLING_STATE",
                GpuResources = 3 "GPU_RESOURCES",
                SharedResources = 4 "SHARED_RESOURCES",
                PartitionAware = 5 "PARTITION_AWARE",
                MultiRole = 6 "MULTI_ROLE",
                ReservationRefinement = 7 "RESERVATION_REFINEMENT",
                RegionAware = 8 "REGION_AWARE",
            }
        }
    }
}

/// Inside [`OfferFilters`].
pub mod offer_filters {
    use super::{BTreeMap, value};

    messages! {
        /// One of these must be met.
        pub struct MinAllocatableResources { 1 quantities: [message, repeated] Vec<ResourceQuantities> }

        /// All of these must be met.
        pub struct ResourceQuantities { 1 quantities: [btree_map = "string, message"] BTreeMap<String, value::Scalar> }
    }
}

/// Inside [`MasterInfo`].
pub mod master_info {
    messages! {
        /// Something the master understands.
        #[derive(Copy)]
        pub struct Capability { 1 r#type: [enumeration(capability::Type), optional] Option<i32> }
    }

    /// Inside [`Capability`].
    pub mod capability {
        enumerations! {
            /// What masters may understand.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                AgentUpdate = 1 "AGENT_UPDATE",
                AgentDraining = 2 "AGENT_DRAINING",
                QuotaV2 = 3 "QUOTA_V2",
            }
        }
    }
}

/// Inside [`DomainInfo`].
pub mod domain_info {
    messages! {
        /// Region and zone.
        pub struct FaultDomain {
            1 region: [message, required] fault_domain::RegionInfo,
            2 zone: [message, required] fault_domain::ZoneInfo,
        }
    }

    /// Inside [`FaultDomain`].
    pub mod fault_domain {
        messages! {
            /// A region.
            pub struct RegionInfo { 1 name: [string, required] String }

            /// A zone.
            pub struct ZoneInfo { 1 name: [string, required] String }
        }
    }
}
