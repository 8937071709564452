//! Flags of the simulated masters and agents. The defaults are Mesos' own (spec mesos 3 and 6); times are simulated ms.

/// Everything that a cluster can be told when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seed of the ids, of the order in which agents are visited, and of everything left to chance.
    pub seed: u64,
    /// Wall time at simulated time 0, in ms since the epoch.
    pub epoch_ms: i64,
    /// Masters of the cluster; the first is elected at the start.
    pub masters: usize,
    /// `--allocation_interval`.
    pub allocation_interval_ms: u64,
    /// Heartbeats of the scheduler's stream. A real master always says and does 15 s.
    pub heartbeat_interval_ms: u64,
    /// `--agent_ping_timeout` times `--max_agent_ping_timeouts`.
    pub agent_ping_timeout_ms: u64,
    /// `--agent_reregister_timeout`.
    pub agent_reregister_timeout_ms: u64,
    /// Agents that lost their master come back within this time, spread evenly by chance.
    pub agent_reregister_spread_ms: u64,
    /// `--offer_timeout`.
    pub offer_timeout_ms: Option<u64>,
    /// `--min_allocatable_resources`: this many thousandths of a core, or
    pub min_cpus_milli: i64,
    /// this many thousandths of a MB of memory.
    pub min_mem_milli: i64,
    /// `--filter_gpu_resources`: agents with GPUs are offered to frameworks that asked for them only.
    pub filter_gpus: bool,
    /// `--root_submissions`.
    pub root_submissions: bool,
    /// `--roles`: if given, no other role may be used.
    pub roles: Option<Vec<String>>,
    /// `--weights`: 1 for every other role.
    pub weights: Vec<(String, f64)>,
    /// `--authenticate_http_frameworks` with these principals and secrets.
    pub credentials: Option<Vec<(String, String)>>,
    /// `--max_completed_frameworks`.
    pub completed_frameworks: usize,
    /// `--max_unreachable_tasks_per_framework`.
    pub unreachable_tasks: usize,
    /// Between the death of a leader and the moment another is elected.
    pub election_ms: u64,
    /// Between election and the end of the registry's recovery.
    pub recovery_ms: u64,
    /// First wait of an agent for the acknowledgement of an update; doubles each time
    pub update_retry_ms: u64,
    /// up to this.
    pub update_retry_max_ms: u64,
    /// `--executor_registration_timeout`.
    pub executor_registration_timeout_ms: u64,
    /// `--executor_reregistration_timeout`: how long an agent that comes back waits for its executors.
    pub executor_reregistration_timeout_ms: u64,
    /// `--executor_shutdown_grace_period`.
    pub executor_shutdown_grace_ms: u64,
    /// `--recovery_timeout`: how long executors wait for their agent.
    pub agent_recovery_timeout_ms: u64,
    /// Time a message takes between a master and an agent.
    pub latency_ms: u64,
    /// An old fault of real masters (MESOS-6250): a master that does not have all of its agents back yet answers TASK_LOST or
    /// TASK_UNKNOWN about their tasks rather than nothing.
    pub answers_lost_while_recovering: bool,
    /// Steps of the history are kept for judges.
    pub history: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            epoch_ms: 1_700_000_000_000,
            masters: 1,
            allocation_interval_ms: 1_000,
            heartbeat_interval_ms: 15_000,
            agent_ping_timeout_ms: 75_000,
            agent_reregister_timeout_ms: 600_000,
            agent_reregister_spread_ms: 1_000,
            offer_timeout_ms: None,
            min_cpus_milli: 10,
            min_mem_milli: 32_000,
            filter_gpus: true,
            root_submissions: true,
            roles: None,
            weights: Vec::new(),
            credentials: None,
            completed_frameworks: 50,
            unreachable_tasks: 1000,
            election_ms: 1_000,
            recovery_ms: 500,
            update_retry_ms: 10_000,
            update_retry_max_ms: 600_000,
            executor_registration_timeout_ms: 60_000,
            executor_reregistration_timeout_ms: 2_000,
            executor_shutdown_grace_ms: 5_000,
            agent_recovery_timeout_ms: 900_000,
            latency_ms: 0,
            answers_lost_while_recovering: false,
            history: true,
        }
    }
}
