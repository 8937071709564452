//! Frozen state for readers: taken in O(1), never changing, read without locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::cron::Zone;
use model::task::SlaPolicy;
use model::update::Update;
use model::{
    CpuMillis, Host, InstanceId, JobKey, MaintenanceMode, Ports, Resources, Role, TaskConfig, TaskId, TaskStatus,
    UpdateKey,
};

use crate::cron::CronJob;
use crate::idempotency::{AnswerKey, KeptAnswer};
use crate::settings::Settings;
use crate::task::Task;
use crate::updates::progress::InstanceProgress;

/// What is known of a host, kept for as long as the state directory lives (spec scheduler 5.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRecord {
    /// Agent id of the latest offer.
    pub agent_id: String,
    /// Attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Maintenance mode.
    pub mode: MaintenanceMode,
}

/// The wish to drain a host, kept until it is drained or in use again (spec scheduler 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceRequest {
    /// For tasks that have no policy of their own.
    pub default_policy: SlaPolicy,
    /// After so many seconds the rest is drained whatever the policies say.
    pub timeout_secs: i64,
    /// When it was made, in ms since the epoch.
    pub created_ms: i64,
}

impl MaintenanceRequest {
    /// When the rest is drained whatever the policies say, in ms since the epoch.
    pub fn forced_from_ms(&self) -> i64 {
        self.created_ms.saturating_add(self.timeout_secs.saturating_mul(1000))
    }
}

/// Capacity and free room of an agent, from its latest offer and the tasks placed there. Not durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentView {
    /// Host name.
    pub host: Host,
    /// Offered now.
    pub free: Resources,
    /// Offered now plus what placed tasks hold.
    pub total: Resources,
    /// The same apart, one for each role that its offers are made to; a single one where roles do not matter.
    pub shares: Vec<AgentShare>,
}

/// What of an agent is offered to one role: tasks never take from two of them. Not durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentShare {
    /// That role.
    pub role: Option<Role>,
    /// Whether anything is offered at the moment; between an acceptance and the next offer nothing is.
    pub is_offered: bool,
    /// Offered now, or left of the latest offer.
    pub free: Resources,
    /// CPU for tasks of revocable tiers.
    pub revocable_cpu: CpuMillis,
    /// Size: the latest offer and what was placed then.
    pub total: Resources,
    /// What placed tasks hold.
    pub placed: Resources,
    /// When the agent goes away for maintenance, in ms since the epoch.
    pub unavailable_from_ms: Option<i64>,
    /// Kept for a group that preempted tasks there.
    pub is_reserved: bool,
    /// The offers that are held, as they came; none between an acceptance and the next one.
    pub offers: Vec<Arc<OfferView>>,
}

/// An offer that is held. Not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferView {
    /// The engine's name for it.
    pub id: String,
    /// When it came, in ms since the epoch.
    pub held_since_ms: i64,
    /// What is offered; `ports` is the count of `port_ranges`.
    pub resources: Resources,
    /// CPU for tasks of revocable tiers, on top of that.
    pub revocable_cpu: CpuMillis,
    /// Free ports.
    pub port_ranges: Ports,
}

/// A group of pending tasks that found no place and waits for its next turn. Not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingGroup {
    /// What its tasks have in common.
    pub config: Arc<TaskConfig>,
    /// When it is tried again if no agent offers room before, in ms since the epoch.
    pub next_try_ms: i64,
    /// How long this wait is, in ms.
    pub penalty_ms: u64,
}

/// Why a group of pending tasks is not placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingReason {
    /// The texts of the nearest fit, joined by `,` as Aurora does (spec scheduler 2.4); empty when no agent was seen.
    pub nearest_fit: String,
    /// One plain sentence, e.g. `needs 1000 cpu, the largest machine has 8`.
    pub sentence: String,
    /// Reason text to number of agents refused for it.
    pub vetoes: BTreeMap<String, u32>,
}

/// Frozen state. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Number of the group after which the state was frozen.
    pub position: u64,
    /// When it was frozen, in ms since the epoch.
    pub frozen_ms: i64,
    /// Whether the engine is connected.
    pub registered: bool,
    /// Since when it is not, or never was in this process, in ms since the epoch. Not durable.
    pub disconnected_since_ms: Option<i64>,
    /// The journal is short of room: nothing new is accepted, and updates wait.
    pub space_low: bool,
    /// All stored tasks.
    pub tasks: OrdMap<TaskId, Arc<Task>>,
    /// The roles whose offers tasks took, where the engine makes offers to several: two of them never share an acceptance.
    pub offer_roles: OrdMap<TaskId, Role>,
    /// Ids of the tasks of each job.
    pub tasks_by_job: OrdMap<JobKey, OrdSet<TaskId>>,
    /// All stored updates.
    pub updates: OrdMap<UpdateKey, Arc<Update>>,
    /// How far the instances of active updates are; what is not listed was not taken yet.
    pub update_progress: OrdMap<UpdateKey, OrdMap<InstanceId, InstanceProgress>>,
    /// When the latest pulse of an active update came, in ms since the epoch.
    pub update_pulses: OrdMap<UpdateKey, i64>,
    /// Cron jobs.
    pub cron_jobs: OrdMap<JobKey, Arc<CronJob>>,
    /// The zone that their schedules are meant in. Not durable.
    pub cron_timezone: Arc<Zone>,
    /// Known hosts.
    pub hosts: OrdMap<Host, Arc<HostRecord>>,
    /// Hosts that are to be drained.
    pub maintenance: OrdMap<Host, Arc<MaintenanceRequest>>,
    /// Agents connected now, by agent id.
    pub agents: OrdMap<String, Arc<AgentView>>,
    /// Reasons of pending tasks; absent when nothing is known yet.
    pub pending_reasons: OrdMap<TaskId, Arc<PendingReason>>,
    /// Groups of pending tasks that wait for their next turn, by the number of their configuration. Not durable.
    pub waiting_groups: OrdMap<u64, Arc<WaitingGroup>>,
    /// What the operator set. Not durable.
    pub settings: Arc<Settings>,
    /// When a THROTTLED task becomes PENDING, in ms since the epoch.
    pub throttled_until_ms: OrdMap<TaskId, i64>,
    /// Counters under Aurora's names (spec scheduler 7.6).
    pub counters: OrdMap<Arc<str>, i64>,
    /// Configurations in use by stored tasks, each once, by the number their records have.
    pub configs: OrdMap<u64, Arc<TaskConfig>>,
    /// Quota by role: CPU, memory and disk. A role without one has none.
    pub quotas: OrdMap<Role, Resources>,
    /// Answers of changes that were asked for under a client's key.
    pub answers: OrdMap<AnswerKey, Arc<KeptAnswer>>,
    /// Id the engine knows this scheduler by, for engines that give one.
    pub framework_id: Option<Arc<str>>,
    /// The engine's leader that was seen last, for engines that have one.
    pub master: Option<Arc<str>>,
    /// When it was first seen, in ms since the epoch.
    pub master_since_ms: i64,
    /// Term of the scheduler that wrote last.
    pub epoch: u64,
}

impl View {
    /// The task of that id.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(id)
    }

    /// All stored tasks of a job, in order of id.
    pub fn tasks_of<'a>(&'a self, job: &JobKey) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
        self.tasks_by_job.get(job).into_iter().flatten().filter_map(|id| self.tasks.get(id))
    }

    /// Keys of all jobs with a stored task, in order.
    pub fn jobs(&self) -> impl Iterator<Item = &JobKey> {
        self.tasks_by_job.keys()
    }

    /// Updates of a job, newest first.
    pub fn updates_of(&self, job: &JobKey) -> Vec<&Arc<Update>> {
        let first = UpdateKey { job: job.clone(), id: String::new() };
        let mut updates: Vec<&Arc<Update>> =
            self.updates.range(first..).take_while(|(key, _)| key.job == *job).map(|(_, update)| update).collect();
        updates.sort_by_key(|update| std::cmp::Reverse(update.last_modified_ms()));
        updates
    }

    /// The active update of a job.
    pub fn active_update(&self, job: &JobKey) -> Option<&Arc<Update>> {
        self.updates_of(job).into_iter().find(|update| update.status().is_active())
    }

    /// Number of stored tasks per status.
    pub fn count_by_status(&self) -> BTreeMap<TaskStatus, u64> {
        let mut counts = BTreeMap::new();
        for task in self.tasks.values() {
            *counts.entry(task.status).or_default() += 1;
        }
        counts
    }
}
