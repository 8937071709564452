//! What operators exchange with masters and agents, as far as frameworks and simulations use it (spec mesos 2.8): maintenance, draining,
//! quota, weights, files.

use std::collections::BTreeMap;

use super::identity::{DurationInfo, FrameworkId, MachineId, TimeInfo, Unavailability};
use super::resources::value;

messages! {
    /// Machines that go away together.
    pub struct Window {
        1 machine_ids: [message, repeated] Vec<MachineId>,
        2 unavailability: [message, required] Unavailability,
    }

    /// A maintenance schedule; an empty one cancels.
    pub struct Schedule { 1 windows: [message, repeated] Vec<Window> }

    /// Machines in maintenance.
    pub struct ClusterStatus {
        1 draining_machines: [message, repeated] Vec<DrainingMachine>,
        2 down_machines: [message, repeated] Vec<MachineId>,
    }

    /// A machine that is to go, and what frameworks said to that.
    pub struct DrainingMachine {
        1 id: [message, required] MachineId,
        2 statuses: [message, repeated] Vec<InverseOfferStatus>,
    }

    /// What a framework said to an inverse offer.
    pub struct InverseOfferStatus {
        1 status: [enumeration(InverseOfferAnswer), required] i32,
        2 framework_id: [message, required] FrameworkId,
        3 timestamp: [message, required] TimeInfo,
    }

    /// Guarantees and limits of a role.
    pub struct QuotaConfig {
        1 role: [string, required] String,
        2 guarantees: [btree_map = "string, message"] BTreeMap<String, value::Scalar>,
        3 limits: [btree_map = "string, message"] BTreeMap<String, value::Scalar>,
    }

    /// How to drain an agent.
    #[derive(Copy)]
    pub struct DrainConfig {
        1 max_grace_period: [message, optional] Option<DurationInfo>,
        2 mark_gone: [bool, optional, default = "false"] Option<bool>,
    }

    /// How far a drain is.
    #[derive(Copy)]
    pub struct DrainInfo {
        1 state: [enumeration(DrainState), required] i32,
        2 config: [message, required] DrainConfig,
    }

    /// Weight of a role.
    pub struct WeightInfo {
        1 weight: [double, required] f64,
        2 role: [string, optional] Option<String>,
    }

    /// A file of an agent.
    pub struct FileInfo {
        1 path: [string, required] String,
        2 nlink: [int32, optional] Option<i32>,
        3 size: [uint64, optional] Option<u64>,
        4 mtime: [message, optional] Option<TimeInfo>,
        5 mode: [uint32, optional] Option<u32>,
        6 uid: [string, optional] Option<String>,
        7 gid: [string, optional] Option<String>,
    }
}

enumerations! {
    /// Answers to inverse offers.
    pub enum InverseOfferAnswer {
        Unknown = 1 "UNKNOWN",
        Accept = 2 "ACCEPT",
        Decline = 3 "DECLINE",
    }

    /// States of a drain.
    pub enum DrainState {
        Unknown = 0 "UNKNOWN",
        Draining = 1 "DRAINING",
        Drained = 2 "DRAINED",
    }
}
