//! What the operator sets. Defaults are Aurora's (spec scheduler 1.5 to 2.9, 6.6), except where unlimited is better.

use std::time::Duration;

use model::cron::Zone;
use model::validation::AdmissionRules;
use model::{Resources, TaskConfig, Tier};

/// What a second offer of an agent means whose first one is still held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondOffer {
    /// It holds all that is free on the agent; the first one is void.
    Supersedes,
    /// It holds something else, as with Mesos and the local engine; both are accepted together.
    #[default]
    Adds,
}

/// Settings of the core; fixed for the life of a process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Admission rules and tiers; also what each executor takes on top of its tasks.
    pub admission: AdmissionRules,
    /// A run shorter than this is a flap.
    pub flapping_task_threshold: Duration,
    /// First penalty.
    pub initial_flapping_task_delay: Duration,
    /// Cap of the penalty.
    pub max_flapping_task_delay: Duration,
    /// ASSIGNED, PREEMPTING, RESTARTING, KILLING, DRAINING become LOST after this.
    pub transient_task_state_timeout: Duration,
    /// A task of which nothing was heard for so long in such a status, or in STARTING, is asked about; after that one that was given
    /// up, too.
    pub silent_task_question_delay: Duration,
    /// First repetition of a kill.
    pub initial_task_kill_retry_interval: Duration,
    /// First wait of a group that found no place.
    pub initial_schedule_penalty: Duration,
    /// Cap of that wait.
    pub max_schedule_penalty: Duration,
    /// Unused offers are given back after this.
    pub min_offer_hold_time: Duration,
    /// Up to this much longer, drawn at random for each offer.
    pub offer_hold_jitter_window: Duration,
    /// Depends on the engine.
    pub second_offer: SecondOffer,
    /// The engine makes offers to several roles: it is remembered whose offer each task took.
    pub several_roles: bool,
    /// An agent that goes away for maintenance gets no new tasks from this long before.
    pub unavailability_threshold: Duration,
    /// How long refused offers stay away.
    pub offer_filter_duration: Duration,
    /// Whether preemption is on.
    pub enable_preemptor: bool,
    /// How long a task must be PENDING before it may preempt.
    pub preemption_delay: Duration,
    /// How often room is looked for.
    pub preemption_slot_search_interval: Duration,
    /// How long an agent is kept for the preempting group.
    pub offer_reservation_duration: Duration,
    /// Terminal tasks are deleted after this.
    pub history_prune_threshold: Duration,
    /// Terminal tasks kept per job.
    pub history_max_per_job_threshold: usize,
    /// Terminal tasks younger than this are never deleted.
    pub history_min_retention_threshold: Duration,
    /// Ended updates kept per job.
    pub job_update_history_per_job_threshold: usize,
    /// How often ended updates are looked through for those to delete.
    pub job_update_history_pruning_interval: Duration,
    /// Ended updates are deleted after this.
    pub job_update_history_pruning_threshold: Duration,
    /// First wait between two looks whether an SLA-aware update may kill a task.
    pub sla_aware_kill_retry_min_delay: Duration,
    /// Cap of that wait.
    pub sla_aware_kill_retry_max_delay: Duration,
    /// Whether an instance that an update replaces goes back to the agent where it ran, if it needs no more than before.
    pub enable_update_affinity: bool,
    /// How long that agent is kept for it, from the kill on.
    pub update_affinity_reservation_hold_time: Duration,
    /// The zone that cron schedules are meant in.
    pub cron_timezone: Zone,
    /// Cron runs triggered in one step; what else is due follows in the next.
    pub cron_scheduling_max_batch_size: usize,
    /// A time of a cron schedule that passed while no scheduler was there is still met when one begins within this; later it is
    /// missed.
    pub cron_restart_grace: Duration,
    /// maxPerInstanceFailures times instances of an update may not exceed this.
    pub max_update_instance_failures: i64,
    /// When this is the id by which the engine knows this scheduler, it is forgotten at the start, and every placed task is given
    /// up: an operator knows that the engine has ended them all. Any other id changes nothing, so that it happens once.
    pub forget_framework: Option<String>,
    /// Unused offers are never given back.
    pub hold_offers_forever: bool,
    /// When nothing has been pending for this long, the engine is told that no offers are wanted until something is. `None`:
    /// offers are always welcome.
    pub suppress_idle_after: Option<Duration>,
    /// The first reconciliation on schedule comes this long after the start; those at a new connection come at once.
    pub reconciliation_initial_delay: Duration,
    /// When set, every placed task is asked about this often.
    pub reconciliation_explicit_interval: Option<Duration>,
    /// When set, the engine is asked for every task it knows this often, and at each connection.
    pub reconciliation_implicit_interval: Option<Duration>,
    /// How long after the first explicit one the first implicit reconciliation comes.
    pub reconciliation_schedule_spread: Duration,
    /// Tasks named in one question.
    pub reconciliation_explicit_batch_size: usize,
    /// Pause between two such questions.
    pub reconciliation_explicit_batch_interval: Duration,
    /// For this long after the engine has a new leader, its answer that a task placed before is lost or out of reach is not
    /// believed. The default is the shortest time that a Mesos master gives its agents to come back (its
    /// `--agent_reregister_timeout`); operators who raised that raise this.
    pub master_failover_grace: Duration,
    /// How often hosts that are being drained are looked at.
    pub host_maintenance_polling_interval: Duration,
    /// Coordinators that are asked at the same time, at most; each has one question at a time.
    pub max_parallel_coordinated_maintenance: usize,
    /// How long a coordinator may take to answer.
    pub sla_coordinator_timeout: Duration,
    /// The answer of a change that was asked for under a key is kept this long, and given again to a repetition.
    pub idempotency_key_retention: Duration,
    /// Answers kept at most; then the oldest goes first.
    pub max_idempotency_keys: usize,
    /// Bound of work of one step, in tasks touched; the rest follows after [`crate::Input::Resume`].
    pub max_step_work: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            admission: AdmissionRules::default(),
            flapping_task_threshold: secs(300),
            initial_flapping_task_delay: secs(30),
            max_flapping_task_delay: secs(300),
            transient_task_state_timeout: secs(300),
            silent_task_question_delay: secs(60),
            initial_task_kill_retry_interval: secs(15),
            initial_schedule_penalty: secs(1),
            max_schedule_penalty: secs(60),
            min_offer_hold_time: secs(300),
            offer_hold_jitter_window: secs(60),
            second_offer: SecondOffer::Adds,
            several_roles: false,
            unavailability_threshold: secs(360),
            offer_filter_duration: secs(5),
            enable_preemptor: true,
            preemption_delay: secs(180),
            preemption_slot_search_interval: secs(60),
            offer_reservation_duration: secs(180),
            history_prune_threshold: secs(2 * 86_400),
            history_max_per_job_threshold: 100,
            history_min_retention_threshold: secs(3600),
            job_update_history_per_job_threshold: 10,
            job_update_history_pruning_interval: secs(15 * 60),
            job_update_history_pruning_threshold: secs(30 * 86_400),
            sla_aware_kill_retry_min_delay: secs(60),
            sla_aware_kill_retry_max_delay: secs(300),
            enable_update_affinity: false,
            update_affinity_reservation_hold_time: secs(180),
            cron_timezone: Zone::default(),
            cron_scheduling_max_batch_size: 10,
            cron_restart_grace: secs(30),
            max_update_instance_failures: 20_000,
            forget_framework: None,
            hold_offers_forever: false,
            suppress_idle_after: None,
            reconciliation_initial_delay: secs(60),
            reconciliation_explicit_interval: Some(secs(3600)),
            reconciliation_implicit_interval: Some(secs(3600)),
            reconciliation_schedule_spread: secs(1800),
            reconciliation_explicit_batch_size: 1000,
            reconciliation_explicit_batch_interval: secs(5),
            master_failover_grace: secs(600),
            host_maintenance_polling_interval: secs(60),
            max_parallel_coordinated_maintenance: 10,
            sla_coordinator_timeout: secs(60),
            idempotency_key_retention: secs(86_400),
            max_idempotency_keys: 100_000,
            max_step_work: 4096,
        }
    }
}

impl Settings {
    /// What a task of that configuration takes from an agent: its own resources and its executor's (spec scheduler 2.6). An
    /// executor that is not configured any more counts as nothing.
    pub(crate) fn demand(&self, config: &TaskConfig) -> Resources {
        let executor = config.executor_config.as_ref();
        let overhead = executor.and_then(|executor| self.admission.executors.get(&executor.name)).copied();
        config.resources + overhead.unwrap_or_default()
    }

    /// The executor a configuration names and the operator has not configured: nothing can start such a task.
    pub(crate) fn missing_executor<'a>(&self, config: &'a TaskConfig) -> Option<&'a str> {
        let name = config.executor_config.as_ref().map(|executor| executor.name.as_str())?;
        (!self.admission.executors.contains_key(name)).then_some(name)
    }

    /// The tier of a configuration, by its name.
    pub(crate) fn tier_of(&self, config: &TaskConfig) -> Option<Tier> {
        let tiers = &self.admission.tiers;
        tiers.get(config.tier.as_deref().unwrap_or(&tiers.default))
    }
}
