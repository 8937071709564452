//! Options of `daybreak up` that Aurora has too: security, the network, and numbers of the scheduler that few need to change. Declarations
//! and help texts only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::mesos_arguments::duration;

const NETWORK: &str = "Who may use the scheduler";
const TASKS: &str = "Scheduling and history";

/// How callers say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthenticationMechanism {
    /// They do not.
    #[default]
    None,
    /// HTTP Basic.
    Basic,
}

impl ValueEnum for AuthenticationMechanism {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::None, Self::Basic]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::None => clap::builder::PossibleValue::new("NONE").help("Nobody has to say who he is"),
            Self::Basic => {
                clap::builder::PossibleValue::new("BASIC").help("A name and a password of the file of --shiro-ini-path")
            }
        })
    }
}

/// Who may use the scheduler, and from where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = NETWORK)]
pub struct SecurityArguments {
    /// How callers say who they are
    #[arg(long, value_enum, default_value_t)]
    pub http_authentication_mechanism: AuthenticationMechanism,
    /// File with users, roles and what these may do; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub shiro_ini_path: Option<PathBuf>,
    /// Origin whose web pages may use /api, e.g. https://dashboard.example.org
    #[arg(long, value_name = "ORIGIN")]
    pub enable_cors_for: Option<String>,
    /// Address before a job's key where its statistics are shown, for clients that link to them
    #[arg(long, value_name = "URL", default_value = "")]
    pub viz_job_url_prefix: String,
    /// JSON file that says who is told of every change of a task, by POST
    #[arg(long, value_name = "FILE")]
    pub webhook_config: Option<PathBuf>,
    /// Certificates of authorities, as PEM, that are trusted beside the system's when coordinators of SLA policies and the program of
    /// --webhook-config are called over HTTPS
    #[arg(long, value_name = "FILE")]
    pub https_ca_file: Option<PathBuf>,
}

/// Numbers of the scheduler; the defaults are Aurora's.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = TASKS)]
pub struct TuningArguments {
    /// Most instances of a job
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(i32).range(1..))]
    pub max_tasks_per_job: i32,
    /// Regular expression that the environment of a job must match
    #[arg(long, value_name = "REGEX", default_value = r"^(prod|devel|test|staging\d*)$", value_parser = environments)]
    pub allowed_job_environments: model::validation::EnvironmentPattern,
    /// Fewest instances of jobs with an SLA policy of a count or percentage
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(0..))]
    pub min_required_instances_for_sla_check: i32,
    /// Longest time that an SLA policy may demand
    #[arg(long, value_name = "DURATION", default_value = "2hrs", value_parser = duration)]
    pub max_sla_duration: Duration,
    /// SLA policies for tiers that are not production too
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub sla_aware_kill_non_prod: bool,
    /// A task that runs for less than this and is run again waits before that
    #[arg(long, value_name = "DURATION", default_value = "5mins", value_parser = duration)]
    pub flapping_task_threshold: Duration,
    /// How long it waits the first time; every time twice as long
    #[arg(long, value_name = "DURATION", default_value = "30secs", value_parser = duration)]
    pub initial_flapping_task_delay: Duration,
    /// How long at most
    #[arg(long, value_name = "DURATION", default_value = "5mins", value_parser = duration)]
    pub max_flapping_task_delay: Duration,
    /// How long tasks that found no place wait before they are tried again; every time twice as long
    #[arg(long, value_name = "DURATION", default_value = "1secs", value_parser = duration)]
    pub initial_schedule_penalty: Duration,
    /// How long at most
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub max_schedule_penalty: Duration,
    /// A task that is on its way from one state to another for longer than this is lost
    #[arg(long, value_name = "DURATION", default_value = "5mins", value_parser = duration)]
    pub transient_task_state_timeout: Duration,
    /// A kill that shows no effect is repeated after this; every time after twice as long
    #[arg(long, value_name = "DURATION", default_value = "15secs", value_parser = duration)]
    pub initial_task_kill_retry_interval: Duration,
    /// Tasks of a better tier or priority may take the place of others
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    pub enable_preemptor: bool,
    /// How long they wait before they do
    #[arg(long, value_name = "DURATION", default_value = "3mins", value_parser = duration)]
    pub preemption_delay: Duration,
    /// How often such places are looked for
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub preemption_slot_search_interval: Duration,
    /// How long the place that was made is kept for them
    #[arg(long, value_name = "DURATION", default_value = "3mins", value_parser = duration)]
    pub offer_reservation_duration: Duration,
    /// Updates that respect SLA policies ask again after this whether a task may be killed; every time after twice as long
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub sla_aware_kill_retry_min_delay: Duration,
    /// How long at most
    #[arg(long, value_name = "DURATION", default_value = "5mins", value_parser = duration)]
    pub sla_aware_kill_retry_max_delay: Duration,
    /// An instance that an update replaces goes back to the agent where it ran, if it needs no more than before
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub enable_update_affinity: bool,
    /// How long that agent is kept for it
    #[arg(long, value_name = "DURATION", default_value = "3mins", value_parser = duration)]
    pub update_affinity_reservation_hold_time: Duration,
    /// Time zone of cron schedules, e.g. Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "GMT", value_parser = zone)]
    pub cron_timezone: model::cron::Zone,
    /// Cron jobs that are started at once, at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub cron_scheduling_max_batch_size: u32,
    /// Ended tasks are forgotten after this
    #[arg(long, value_name = "DURATION", default_value = "2days", value_parser = duration)]
    pub history_prune_threshold: Duration,
    /// Ended tasks that are kept of a job
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub history_max_per_job_threshold: u32,
    /// Ended tasks are kept for this long in any case
    #[arg(long, value_name = "DURATION", default_value = "1hrs", value_parser = duration)]
    pub history_min_retention_threshold: Duration,
    /// Ended updates that are kept of a job
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub job_update_history_per_job_threshold: u32,
    /// How often ended updates are looked through
    #[arg(long, value_name = "DURATION", default_value = "15mins", value_parser = duration)]
    pub job_update_history_pruning_interval: Duration,
    /// Ended updates are forgotten after this
    #[arg(long, value_name = "DURATION", default_value = "30days", value_parser = duration)]
    pub job_update_history_pruning_threshold: Duration,
    /// Most failures that an update may allow, counted as failures per instance times instances
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub max_update_instance_failures: u32,
}

fn zone(text: &str) -> Result<model::cron::Zone, String> {
    model::cron::Zone::named(text).map_err(|error| error.to_string())
}

fn environments(text: &str) -> Result<model::validation::EnvironmentPattern, String> {
    text.parse()
}
