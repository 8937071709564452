//! What schedulers and masters say to each other (package `mesos.v1.scheduler`, spec mesos 2.1).

use std::collections::BTreeMap;

use super::identity::FrameworkId;

messages! {
    /// From a scheduler to the master; the member is the one `type` names.
    pub struct Call {
        1 framework_id: [message, optional] Option<FrameworkId>,
        2 r#type: [enumeration(call::Type), optional] Option<i32>,
        3 subscribe: [message, optional] Option<call::Subscribe>,
        4 accept: [message, optional] Option<call::Accept>,
        5 decline: [message, optional] Option<call::Decline>,
        6 kill: [message, optional] Option<call::Kill>,
        7 shutdown: [message, optional] Option<call::Shutdown>,
        8 acknowledge: [message, optional] Option<call::Acknowledge>,
        9 reconcile: [message, optional] Option<call::Reconcile>,
        10 message: [message, optional] Option<call::Message>,
        11 request: [message, optional] Option<call::Request>,
        13 accept_inverse_offers: [message, optional] Option<call::AcceptInverseOffers>,
        14 decline_inverse_offers: [message, optional] Option<call::DeclineInverseOffers>,
        15 revive: [message, optional] Option<call::Revive>,
        16 suppress: [message, optional] Option<call::Suppress>,
        17 acknowledge_operation_status: [message, optional] Option<call::AcknowledgeOperationStatus>,
        18 reconcile_operations: [message, optional] Option<call::ReconcileOperations>,
        19 update_framework: [message, optional] Option<call::UpdateFramework>,
    }

    /// From the master to a scheduler; unknown types are to be ignored.
    pub struct Event {
        1 r#type: [enumeration(event::Type), optional] Option<i32>,
        2 subscribed: [message, optional] Option<event::Subscribed>,
        3 offers: [message, optional] Option<event::Offers>,
        4 rescind: [message, optional] Option<event::Rescind>,
        5 update: [message, optional] Option<event::Update>,
        6 message: [message, optional] Option<event::Message>,
        7 failure: [message, optional] Option<event::Failure>,
        8 error: [message, optional] Option<event::Error>,
        9 inverse_offers: [message, optional] Option<event::InverseOffers>,
        10 rescind_inverse_offer: [message, optional] Option<event::RescindInverseOffer>,
        11 update_operation_status: [message, optional] Option<event::UpdateOperationStatus>,
    }

    /// Which agents to offer at all, by role.
    pub struct OfferConstraints {
        1 role_constraints: [btree_map = "string, message"] BTreeMap<String, offer_constraints::RoleConstraints>,
    }

    /// A condition on an agent's attribute.
    pub struct AttributeConstraint {
        1 selector: [message, required] attribute_constraint::Selector,
        2 predicate: [message, required] attribute_constraint::Predicate,
    }
}

/// Inside [`Call`].
pub mod call {
    use bytes::Bytes;

    use super::OfferConstraints;
    use crate::v1::{self, AgentId, ExecutorId, Filters, FrameworkInfo, KillPolicy, OfferId, TaskId};
    use crate::v1::{OperationId, ResourceProviderId};

    enumerations! {
        /// Kinds of calls.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Subscribe = 1 "SUBSCRIBE",
            Teardown = 2 "TEARDOWN",
            Accept = 3 "ACCEPT",
            Decline = 4 "DECLINE",
            Revive = 5 "REVIVE",
            Kill = 6 "KILL",
            Shutdown = 7 "SHUTDOWN",
            Acknowledge = 8 "ACKNOWLEDGE",
            Reconcile = 9 "RECONCILE",
            Message = 10 "MESSAGE",
            Request = 11 "REQUEST",
            Suppress = 12 "SUPPRESS",
            AcceptInverseOffers = 13 "ACCEPT_INVERSE_OFFERS",
            DeclineInverseOffers = 14 "DECLINE_INVERSE_OFFERS",
            AcknowledgeOperationStatus = 15 "ACKNOWLEDGE_OPERATION_STATUS",
            ReconcileOperations = 16 "RECONCILE_OPERATIONS",
            UpdateFramework = 17 "UPDATE_FRAMEWORK",
        }
    }

    messages! {
        /// Opens the event stream.
        pub struct Subscribe {
            1 framework_info: [message, required] FrameworkInfo,
            2 suppressed_roles: [string, repeated] Vec<String>,
            3 offer_constraints: [message, optional] Option<OfferConstraints>,
        }

        /// Uses offers of one agent and one role.
        pub struct Accept {
            1 offer_ids: [message, repeated] Vec<OfferId>,
            2 operations: [message, repeated] Vec<v1::offer::Operation>,
            3 filters: [message, optional] Option<Filters>,
        }

        /// Gives offers back.
        pub struct Decline {
            1 offer_ids: [message, repeated] Vec<OfferId>,
            2 filters: [message, optional] Option<Filters>,
        }

        /// "Will be free by then."
        pub struct AcceptInverseOffers {
            1 inverse_offer_ids: [message, repeated] Vec<OfferId>,
            2 filters: [message, optional] Option<Filters>,
        }

        /// "Will probably not."
        pub struct DeclineInverseOffers {
            1 inverse_offer_ids: [message, repeated] Vec<OfferId>,
            2 filters: [message, optional] Option<Filters>,
        }

        /// Wants offers again; no roles means all.
        pub struct Revive { 1 roles: [string, repeated] Vec<String> }

        /// Wants no offers; no roles means all.
        pub struct Suppress { 1 roles: [string, repeated] Vec<String> }

        /// Ends a task.
        pub struct Kill {
            1 task_id: [message, required] TaskId,
            2 agent_id: [message, optional] Option<AgentId>,
            3 kill_policy: [message, optional] Option<KillPolicy>,
        }

        /// Stops a custom executor.
        pub struct Shutdown {
            1 executor_id: [message, required] ExecutorId,
            2 agent_id: [message, required] AgentId,
        }

        /// A status update is stored here. `uuid` is 16 bytes.
        pub struct Acknowledge {
            1 agent_id: [message, required] AgentId,
            2 task_id: [message, required] TaskId,
            3 uuid: [bytes = "bytes", required] Bytes,
        }

        /// An operation's status is stored here. `uuid` is 16 bytes.
        pub struct AcknowledgeOperationStatus {
            1 agent_id: [message, optional] Option<AgentId>,
            2 resource_provider_id: [message, optional] Option<ResourceProviderId>,
            3 uuid: [bytes = "bytes", required] Bytes,
            4 operation_id: [message, required] OperationId,
        }

        /// Asks for the state of tasks; none means every task the master knows.
        pub struct Reconcile { 1 tasks: [message, repeated] Vec<reconcile::Task> }

        /// Asks for the state of operations.
        pub struct ReconcileOperations { 1 operations: [message, repeated] Vec<reconcile_operations::Operation> }

        /// Bytes for an executor, at most once.
        pub struct Message {
            1 agent_id: [message, required] AgentId,
            2 executor_id: [message, required] ExecutorId,
            3 data: [bytes = "bytes", required] Bytes,
        }

        /// Wishes.
        pub struct Request { 1 requests: [message, repeated] Vec<v1::Request> }

        /// Changes the framework's description.
        pub struct UpdateFramework {
            1 framework_info: [message, required] FrameworkInfo,
            2 suppressed_roles: [string, repeated] Vec<String>,
            3 offer_constraints: [message, optional] Option<OfferConstraints>,
        }
    }

    /// Inside [`Reconcile`].
    pub mod reconcile {
        use crate::v1::{AgentId, TaskId};

        messages! {
            /// A task and where it was launched.
            pub struct Task {
                1 task_id: [message, required] TaskId,
                2 agent_id: [message, optional] Option<AgentId>,
            }
        }
    }

    /// Inside [`ReconcileOperations`].
    pub mod reconcile_operations {
        use crate::v1::{AgentId, OperationId, ResourceProviderId};

        messages! {
            /// An operation and where it was asked for.
            pub struct Operation {
                1 operation_id: [message, required] OperationId,
                2 agent_id: [message, optional] Option<AgentId>,
                3 resource_provider_id: [message, optional] Option<ResourceProviderId>,
            }
        }
    }
}

/// Inside [`Event`].
pub mod event {
    use bytes::Bytes;

    use crate::v1::{self, AgentId, ExecutorId, FrameworkId, MasterInfo, OfferId, OperationStatus, TaskStatus};

    enumerations! {
        /// Kinds of events.
        pub enum Type {
            Unknown = 0 "UNKNOWN",
            Subscribed = 1 "SUBSCRIBED",
            Offers = 2 "OFFERS",
            Rescind = 3 "RESCIND",
            Update = 4 "UPDATE",
            Message = 5 "MESSAGE",
            Failure = 6 "FAILURE",
            Error = 7 "ERROR",
            Heartbeat = 8 "HEARTBEAT",
            InverseOffers = 9 "INVERSE_OFFERS",
            RescindInverseOffer = 10 "RESCIND_INVERSE_OFFER",
            UpdateOperationStatus = 11 "UPDATE_OPERATION_STATUS",
        }
    }

    messages! {
        /// The stream is open.
        pub struct Subscribed {
            1 framework_id: [message, required] FrameworkId,
            2 heartbeat_interval_seconds: [double, optional] Option<f64>,
            3 master_info: [message, optional] Option<MasterInfo>,
        }

        /// Resources.
        pub struct Offers { 1 offers: [message, repeated] Vec<v1::Offer> }

        /// Questions to give resources back.
        pub struct InverseOffers { 1 inverse_offers: [message, repeated] Vec<v1::InverseOffer> }

        /// An offer is void.
        pub struct Rescind { 1 offer_id: [message, required] OfferId }

        /// An inverse offer is void.
        pub struct RescindInverseOffer { 1 inverse_offer_id: [message, required] OfferId }

        /// A task's status.
        pub struct Update { 1 status: [message, required] TaskStatus }

        /// An operation's status.
        pub struct UpdateOperationStatus { 1 status: [message, required] OperationStatus }

        /// Bytes from an executor, at most once.
        pub struct Message {
            1 agent_id: [message, required] AgentId,
            2 executor_id: [message, required] ExecutorId,
            3 data: [bytes = "bytes", required] Bytes,
        }

        /// An agent is gone, or with an executor id, an executor ended with this raw wait status.
        pub struct Failure {
            1 agent_id: [message, optional] Option<AgentId>,
            2 executor_id: [message, optional] Option<ExecutorId>,
            3 status: [int32, optional] Option<i32>,
        }

        /// The subscription is over.
        pub struct Error { 1 message: [string, required] String }
    }
}

/// Inside [`OfferConstraints`].
pub mod offer_constraints {
    messages! {
        /// One of the groups must hold.
        pub struct RoleConstraints { 1 groups: [message, repeated] Vec<role_constraints::Group> }
    }

    /// Inside [`RoleConstraints`].
    pub mod role_constraints {
        messages! {
            /// All of these must hold.
            pub struct Group {
                1 attribute_constraints: [message, repeated] Vec<super::super::AttributeConstraint>,
            }
        }
    }
}

/// Inside [`AttributeConstraint`].
pub mod attribute_constraint {
    messages! {
        /// Which attribute: exactly one is set.
        pub struct Selector {
            1 pseudoattribute_type: [enumeration(selector::PseudoattributeType), optional] Option<i32>,
            2 attribute_name: [string, optional] Option<String>,
        }

        /// What must hold: exactly one is set.
        pub struct Predicate {
            1 exists: [message, optional] Option<predicate::Exists>,
            2 not_exists: [message, optional] Option<predicate::NotExists>,
            3 text_equals: [message, optional] Option<predicate::TextEquals>,
            4 text_not_equals: [message, optional] Option<predicate::TextNotEquals>,
            5 text_matches: [message, optional] Option<predicate::TextMatches>,
            6 text_not_matches: [message, optional] Option<predicate::TextNotMatches>,
        }
    }

    /// Inside [`Selector`].
    pub mod selector {
        enumerations! {
            /// What agents have besides attributes.
            pub enum PseudoattributeType {
                Unknown = 0 "UNKNOWN",
                Hostname = 1 "HOSTNAME",
                Region = 2 "REGION",
                Zone = 3 "ZONE",
            }
        }
    }

    /// Inside [`Predicate`].
    pub mod predicate {
        messages! {
            /// It is there.
            #[derive(Copy)]
            pub struct Exists {}

            /// It is not there.
            #[derive(Copy)]
            pub struct NotExists {}

            /// It is this text, or no text.
            pub struct TextEquals { 1 value: [string, required] String }

            /// It is not this text.
            pub struct TextNotEquals { 1 value: [string, required] String }

            /// It matches, or is no text.
            pub struct TextMatches { 1 regex: [string, required] String }

            /// It does not match.
            pub struct TextNotMatches { 1 regex: [string, required] String }
        }
    }
}
