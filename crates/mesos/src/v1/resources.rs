//! Values, resources, offers, operations (spec mesos 2.4).

use super::identity::{
    AgentId, DomainInfo, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, Unavailability, Url,
};
use super::tasks::{ExecutorInfo, Labels, TaskGroupInfo, TaskInfo};
use bytes::Bytes;

messages! {
    /// An attribute of an agent. Text like `rack:2` arrives as a scalar.
    pub struct Attribute {
        1 name: [string, required] String,
        2 r#type: [enumeration(value::Type), required] i32,
        3 scalar: [message, optional] Option<value::Scalar>,
        4 ranges: [message, optional] Option<value::Ranges>,
        5 text: [message, optional] Option<value::Text>,
        6 set: [message, optional] Option<value::Set>,
    }

    /// A piece of an agent.
    pub struct Resource {
        1 name: [string, required] String,
        2 r#type: [enumeration(value::Type), required] i32,
        3 scalar: [message, optional] Option<value::Scalar>,
        4 ranges: [message, optional] Option<value::Ranges>,
        5 set: [message, optional] Option<value::Set>,
        6 role: [string, optional] Option<String>,
        // Seldom there, and big.
        7 disk: [message, optional, boxed] Option<Box<resource::DiskInfo>>,
        8 reservation: [message, optional] Option<resource::ReservationInfo>,
        9 revocable: [message, optional] Option<resource::RevocableInfo>,
        10 shared: [message, optional] Option<resource::SharedInfo>,
        11 allocation_info: [message, optional] Option<resource::AllocationInfo>,
        12 provider_id: [message, optional] Option<ResourceProviderId>,
        13 reservations: [message, repeated] Vec<resource::ReservationInfo>,
    }

    /// Resources of one agent for one role.
    pub struct Offer {
        1 id: [message, required] OfferId,
        2 framework_id: [message, required] FrameworkId,
        3 agent_id: [message, required] AgentId,
        4 hostname: [string, required] String,
        5 resources: [message, repeated] Vec<Resource>,
        6 executor_ids: [message, repeated] Vec<ExecutorId>,
        7 attributes: [message, repeated] Vec<Attribute>,
        8 url: [message, optional] Option<Url>,
        9 unavailability: [message, optional] Option<Unavailability>,
        10 allocation_info: [message, optional] Option<resource::AllocationInfo>,
        11 domain: [message, optional] Option<DomainInfo>,
    }

    /// A question to give something back by a time.
    pub struct InverseOffer {
        1 id: [message, required] OfferId,
        2 url: [message, optional] Option<Url>,
        3 framework_id: [message, required] FrameworkId,
        4 agent_id: [message, optional] Option<AgentId>,
        5 unavailability: [message, required] Unavailability,
        6 resources: [message, repeated] Vec<Resource>,
    }

    /// How long refused resources stay away.
    #[derive(Copy)]
    pub struct Filters { 1 refuse_seconds: [double, optional, default = "5.0"] Option<f64> }

    /// A wish for resources.
    pub struct Request {
        1 agent_id: [message, optional] Option<AgentId>,
        2 resources: [message, repeated] Vec<Resource>,
    }

    /// Where an operation stands.
    pub struct OperationStatus {
        1 operation_id: [message, optional] Option<OperationId>,
        2 state: [enumeration(OperationState), required] i32,
        3 message: [string, optional] Option<String>,
        4 converted_resources: [message, repeated] Vec<Resource>,
        5 uuid: [message, optional] Option<Uuid>,
        6 agent_id: [message, optional] Option<AgentId>,
        7 resource_provider_id: [message, optional] Option<ResourceProviderId>,
    }

    /// An operation and what became of it.
    pub struct Operation {
        1 framework_id: [message, optional] Option<FrameworkId>,
        2 agent_id: [message, optional] Option<AgentId>,
        3 info: [message, required] offer::Operation,
        4 latest_status: [message, required] OperationStatus,
        5 statuses: [message, repeated] Vec<OperationStatus>,
        6 uuid: [message, required] Uuid,
    }

    /// 16 bytes.
    pub struct Uuid { 1 value: [bytes = "bytes", required] Bytes }
}

enumerations! {
    /// States of an operation.
    pub enum OperationState {
        Unsupported = 0 "OPERATION_UNSUPPORTED",
        Pending = 1 "OPERATION_PENDING",
        Finished = 2 "OPERATION_FINISHED",
        Failed = 3 "OPERATION_FAILED",
        Error = 4 "OPERATION_ERROR",
        Dropped = 5 "OPERATION_DROPPED",
        Unreachable = 6 "OPERATION_UNREACHABLE",
        GoneByOperator = 7 "OPERATION_GONE_BY_OPERATOR",
        Recovering = 8 "OPERATION_RECOVERING",
        Unknown = 9 "OPERATION_UNKNOWN",
    }
}

/// Inside `Value`.
pub mod value {
    enumerations! {
        /// Kinds of values.
        pub enum Type {
            Scalar = 0 "SCALAR",
            Ranges = 1 "RANGES",
            Set = 2 "SET",
            Text = 3 "TEXT",
        }
    }

    messages! {
        /// A number; Mesos counts in thousandths.
        #[derive(Copy)]
        pub struct Scalar { 1 value: [double, required] f64 }

        /// Both ends belong to it.
        #[derive(Copy, Eq)]
        pub struct Range {
            1 begin: [uint64, required] u64,
            2 end: [uint64, required] u64,
        }

        /// Ranges.
        #[derive(Eq)]
        pub struct Ranges { 1 range: [message, repeated] Vec<Range> }

        /// Items without order.
        #[derive(Eq)]
        pub struct Set { 1 item: [string, repeated] Vec<String> }

        /// Text.
        #[derive(Eq)]
        pub struct Text { 1 value: [string, required] String }
    }
}

/// Inside [`Resource`].
pub mod resource {
    use super::Labels;

    messages! {
        /// For which role an offer gives it.
        #[derive(Eq)]
        pub struct AllocationInfo { 1 role: [string, optional] Option<String> }

        /// For whom it is set aside.
        pub struct ReservationInfo {
            1 principal: [string, optional] Option<String>,
            2 labels: [message, optional] Option<Labels>,
            3 role: [string, optional] Option<String>,
            4 r#type: [enumeration(reservation_info::Type), optional] Option<i32>,
        }

        /// Which disk it is.
        pub struct DiskInfo {
            1 persistence: [message, optional] Option<disk_info::Persistence>,
            2 volume: [message, optional] Option<super::super::containers::Volume>,
            3 source: [message, optional] Option<disk_info::Source>,
        }

        /// Present on what may be taken back at any time.
        #[derive(Copy, Eq)]
        pub struct RevocableInfo {}

        /// Present on what several tasks may use.
        #[derive(Copy, Eq)]
        pub struct SharedInfo {}
    }

    /// Inside [`ReservationInfo`].
    pub mod reservation_info {
        enumerations! {
            /// Who reserved it: the agent's flags, or somebody at run time.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                Static = 1 "STATIC",
                Dynamic = 2 "DYNAMIC",
            }
        }
    }

    /// Inside [`DiskInfo`].
    pub mod disk_info {
        use super::Labels;

        messages! {
            /// A persistent volume.
            pub struct Persistence {
                1 id: [string, required] String,
                2 principal: [string, optional] Option<String>,
            }

            /// A disk of its own.
            pub struct Source {
                1 r#type: [enumeration(source::Type), required] i32,
                2 path: [message, optional] Option<source::Path>,
                3 mount: [message, optional] Option<source::Mount>,
                4 id: [string, optional] Option<String>,
                5 metadata: [message, optional] Option<Labels>,
                6 profile: [string, optional] Option<String>,
                7 vendor: [string, optional] Option<String>,
            }
        }

        /// Inside [`Source`].
        pub mod source {
            enumerations! {
                /// Kinds of disks.
                pub enum Type {
                    Unknown = 0 "UNKNOWN",
                    Path = 1 "PATH",
                    Mount = 2 "MOUNT",
                    Block = 3 "BLOCK",
                    Raw = 4 "RAW",
                }
            }

            messages! {
                /// A directory.
                pub struct Path { 1 root: [string, optional] Option<String> }

                /// A mount, used whole.
                pub struct Mount { 1 root: [string, optional] Option<String> }
            }
        }
    }
}

/// Inside [`Offer`].
pub mod offer {
    use super::OperationId;

    messages! {
        /// What to do with an offer.
        pub struct Operation {
            1 r#type: [enumeration(operation::Type), optional] Option<i32>,
            2 launch: [message, optional] Option<operation::Launch>,
            3 reserve: [message, optional] Option<operation::Reserve>,
            4 unreserve: [message, optional] Option<operation::Unreserve>,
            5 create: [message, optional] Option<operation::Create>,
            6 destroy: [message, optional] Option<operation::Destroy>,
            7 launch_group: [message, optional] Option<operation::LaunchGroup>,
            12 id: [message, optional] Option<OperationId>,
            13 grow_volume: [message, optional] Option<operation::GrowVolume>,
            14 shrink_volume: [message, optional] Option<operation::ShrinkVolume>,
            15 create_disk: [message, optional] Option<operation::CreateDisk>,
            16 destroy_disk: [message, optional] Option<operation::DestroyDisk>,
        }
    }

    /// Inside [`Operation`].
    pub mod operation {
        use super::super::{ExecutorInfo, Resource, TaskGroupInfo, TaskInfo, resource, value};

        enumerations! {
            /// Kinds of operations.
            pub enum Type {
                Unknown = 0 "UNKNOWN",
                Launch = 1 "LAUNCH",
                Reserve = 2 "RESERVE",
                Unreserve = 3 "UNRESERVE",
                Create = 4 "CREATE",
                Destroy = 5 "DESTROY",
                LaunchGroup = 6 "LAUNCH_GROUP",
                GrowVolume = 11 "GROW_VOLUME",
                ShrinkVolume = 12 "SHRINK_VOLUME",
                CreateDisk = 13 "CREATE_DISK",
                DestroyDisk = 14 "DESTROY_DISK",
            }
        }

        messages! {
            /// Starts tasks, each on its own.
            pub struct Launch { 1 task_infos: [message, repeated] Vec<TaskInfo> }

            /// Starts tasks together or not at all.
            pub struct LaunchGroup {
                1 executor: [message, required] ExecutorInfo,
                2 task_group: [message, required] TaskGroupInfo,
            }

            /// Reserves.
            pub struct Reserve {
                1 resources: [message, repeated] Vec<Resource>,
                2 source: [message, repeated] Vec<Resource>,
            }

            /// Ends a reservation.
            pub struct Unreserve { 1 resources: [message, repeated] Vec<Resource> }

            /// Creates persistent volumes.
            pub struct Create { 1 volumes: [message, repeated] Vec<Resource> }

            /// Destroys persistent volumes.
            pub struct Destroy { 1 volumes: [message, repeated] Vec<Resource> }

            /// Makes a volume bigger.
            pub struct GrowVolume {
                1 volume: [message, required] Resource,
                2 addition: [message, required] Resource,
            }

            /// Makes a volume smaller.
            pub struct ShrinkVolume {
                1 volume: [message, required] Resource,
                2 subtract: [message, required] value::Scalar,
            }

            /// Makes a disk.
            pub struct CreateDisk {
                1 source: [message, required] Resource,
                2 target_type: [enumeration(resource::disk_info::source::Type), required] i32,
                3 target_profile: [string, optional] Option<String>,
            }

            /// Removes a disk.
            pub struct DestroyDisk { 1 source: [message, required] Resource }
        }
    }
}
