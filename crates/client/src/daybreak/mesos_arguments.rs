//! The options of `daybreak up` about Mesos and about what jobs may ask for. Declarations, and the forms in which amounts are written.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use model::CpuMillis;
use model::container::{ContainerType, Volume};

const JOBS: &str = "What jobs may ask for";
const MESOS: &str = "Mesos";
const EXECUTORS: &str = "Executors on Mesos";
const OFFERS: &str = "Offers and reconciliation on Mesos";

/// What jobs may ask for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = JOBS)]
pub struct JobArguments {
    /// Jobs may list files to be fetched into their sandboxes
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub enable_mesos_fetcher: bool,
    /// Kinds of container, separated by commas: MESOS, DOCKER
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "MESOS", value_parser = container_type)]
    pub allowed_container_types: Vec<ContainerType>,
    /// Jobs may pass parameters to Docker
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub allow_docker_parameters: bool,
    /// Parameters for Docker where a job gives none, as name=value separated by commas
    #[arg(long, value_name = "PARAMETERS", default_value = "", value_parser = docker_parameters)]
    pub default_docker_parameters: Parameters,
    /// Docker containers need an executor
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    pub require_docker_use_executor: bool,
    /// Jobs may mount volumes of their agents
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub allow_container_volumes: bool,
    /// Jobs may ask for GPUs
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub allow_gpu_resource: bool,
}

/// A Mesos cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = MESOS)]
pub struct MesosArguments {
    /// Masters as host:port separated by commas, or where they are found: zk://host:port,host:port/mesos
    #[arg(long, value_name = "MASTERS")]
    pub mesos_master: Option<String>,
    /// Name of this scheduler in Mesos
    #[arg(long, value_name = "NAME", default_value = "Daybreak", requires = "mesos_master")]
    pub framework_name: String,
    /// Roles to take offers for, separated by commas
    #[arg(long, value_name = "ROLES", value_delimiter = ',', requires = "mesos_master")]
    pub mesos_role: Vec<String>,
    /// Name by which the masters know this scheduler
    #[arg(long, value_name = "NAME", requires = "mesos_master")]
    pub principal: Option<String>,
    /// File with the secret of the principal, and nothing else
    #[arg(long, value_name = "FILE", requires = "mesos_master")]
    pub secret_file: Option<PathBuf>,
    /// File with both, as Aurora has it
    #[arg(long, value_name = "FILE", requires = "mesos_master")]
    pub framework_authentication_file: Option<PathBuf>,
    /// Tell other frameworks the principal, as reservations need it
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set, requires = "mesos_master")]
    pub framework_announce_principal: bool,
    /// How long Mesos keeps tasks while no scheduler is there
    #[arg(long, value_name = "DURATION", default_value = "7days", value_parser = duration, requires = "mesos_master")]
    pub failover_timeout: Duration,
    /// Begin anew after Mesos has removed the framework of this id, with all its tasks: they count as lost
    #[arg(long, value_name = "ID", requires = "mesos_master")]
    pub forget_framework: Option<String>,
    /// Tell agents that cannot be reached apart from lost tasks
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set, requires = "mesos_master")]
    pub partition_aware: bool,
    /// Take resources that Mesos may take back
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, requires = "mesos_master")]
    pub receive_revocable_resources: bool,
    /// Describe tasks for service discovery by Mesos
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, requires = "mesos_master")]
    pub populate_discovery_info: bool,
    /// Speak TLS to the masters
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, requires = "mesos_master")]
    pub mesos_tls: bool,
    /// Certificates to trust, in PEM form [default: the system's]
    #[arg(long, value_name = "FILE", requires = "mesos_master")]
    pub mesos_ca_file: Option<PathBuf>,
    /// Our own certificate, in PEM form
    #[arg(long, value_name = "FILE", requires = "mesos_key_file")]
    pub mesos_certificate_file: Option<PathBuf>,
    /// The key of our own certificate, in PEM form
    #[arg(long, value_name = "FILE", requires = "mesos_certificate_file")]
    pub mesos_key_file: Option<PathBuf>,

    /// User that agents run executors as; one other than root runs all tasks as itself
    #[arg(long, value_name = "USER", default_value = "root", requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_user: String,
    /// Where agents fetch the executor from [default: from this daemon, which serves daybreak-executor]
    #[arg(long, value_name = "PATH", requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_path: Option<String>,
    /// More files that the executor needs, separated by commas
    #[arg(long, value_name = "PATHS", value_delimiter = ',', requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_resources: Vec<String>,
    /// Appended to the executor's command line
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true, requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_flags: Option<String>,
    /// Processors that each executor takes on top of its task
    #[arg(long, value_name = "CPUS", default_value = "0.25", value_parser = cores, requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_cpu: CpuMillis,
    /// Memory that each executor takes on top of its task
    #[arg(long, value_name = "AMOUNT", default_value = "128MB", value_parser = megabytes, requires = "mesos_master", help_heading = EXECUTORS)]
    pub executor_ram: i64,
    /// HOME of executors is their sandbox
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, requires = "mesos_master", help_heading = EXECUTORS)]
    pub home_in_sandbox: bool,
    /// Mounts of every container with an image, as host:container:ro or host:container:rw, separated by commas
    #[arg(long, value_name = "MOUNTS", default_value = "", value_parser = mounts, requires = "mesos_master", help_heading = EXECUTORS)]
    pub global_container_mounts: Mounts,
    /// JSON file that describes further executors, for jobs to choose by name
    #[arg(long, value_name = "FILE", help_heading = EXECUTORS)]
    pub custom_executor_config: Option<PathBuf>,
    /// Offers and reconciliation
    #[command(flatten)]
    pub offers: OfferArguments,
}

/// Offers and reconciliation.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = OFFERS)]
pub struct OfferArguments {
    /// Unused offers are held for this long
    #[arg(long, value_name = "DURATION", default_value = "5mins", value_parser = duration, requires = "mesos_master")]
    pub min_offer_hold_time: Duration,
    /// And for up to this much longer, at random
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration, requires = "mesos_master")]
    pub offer_hold_jitter_window: Duration,
    /// Unused offers are never given back
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, requires = "mesos_master")]
    pub hold_offers_forever: bool,
    /// What was given back is not offered again for this long
    #[arg(long, value_name = "DURATION", default_value = "5secs", value_parser = duration, requires = "mesos_master")]
    pub offer_filter_duration: Duration,
    /// Agents get no new tasks from this long before their maintenance
    #[arg(long, value_name = "DURATION", default_value = "6mins", value_parser = duration, requires = "mesos_master")]
    pub unavailability_threshold: Duration,
    /// No offers are asked for once nothing has been pending for this long
    #[arg(long, value_name = "DURATION", default_value = "30secs", value_parser = duration, requires = "mesos_master")]
    pub suppress_idle_after: Duration,
    /// Mesos is asked about all tasks at every connection, and on schedule from this long after the start
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration, requires = "mesos_master")]
    pub reconciliation_initial_delay: Duration,
    /// How often it is asked about every task that is known here
    #[arg(long, value_name = "DURATION", default_value = "60mins", value_parser = interval, requires = "mesos_master")]
    pub reconciliation_explicit_interval: Duration,
    /// How often it is asked for every task that is known there
    #[arg(long, value_name = "DURATION", default_value = "60mins", value_parser = interval, requires = "mesos_master")]
    pub reconciliation_implicit_interval: Duration,
    /// How long after the former the latter is asked
    #[arg(long, value_name = "DURATION", default_value = "30mins", value_parser = duration, requires = "mesos_master")]
    pub reconciliation_schedule_spread: Duration,
    /// Tasks named in one question
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..), requires = "mesos_master")]
    pub reconciliation_explicit_batch_size: u32,
    /// Pause between questions
    #[arg(long, value_name = "DURATION", default_value = "5secs", value_parser = duration, requires = "mesos_master")]
    pub reconciliation_explicit_batch_interval: Duration,
    /// How long a new master is not believed that a task is gone: as long as it gives agents to come back
    #[arg(long, value_name = "DURATION", default_value = "10mins", value_parser = duration, requires = "mesos_master")]
    pub master_failover_grace: Duration,
}

/// Docker parameters as name and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(String, String)>);

/// Mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(pub Vec<Volume>);

fn container_type(text: &str) -> Result<ContainerType, String> {
    ContainerType::from_name(text.trim())
        .ok_or_else(|| format!("'{text}' is no kind of container: use MESOS or DOCKER"))
}

fn docker_parameters(text: &str) -> Result<Parameters, String> {
    model::executor::parse_docker_parameters(text).map(Parameters).map_err(|error| error.to_string())
}

fn mounts(text: &str) -> Result<Mounts, String> {
    model::executor::parse_mounts(text).map(Mounts).map_err(|error| error.to_string())
}

fn cores(text: &str) -> Result<CpuMillis, String> {
    let cores: f64 =
        text.parse().map_err(|_| format!("'{text}' is no number of processors: write for example 0.25"))?;
    if (0.0..=1024.0).contains(&cores) {
        Ok(CpuMillis::from_cores(cores))
    } else {
        Err(format!("'{text}' is out of range: use 0 to 1024"))
    }
}

/// `5mins` and the like, as Aurora writes durations, or `5m`; never below nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is no duration: write a number and ns, us, ms, secs, mins, hrs or days, e.g. 5mins");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let nanos_per_unit: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "secs" | "s" => 1_000_000_000,
        "mins" | "m" => 60_000_000_000,
        "hrs" | "h" => 3_600_000_000_000,
        "days" | "d" => 86_400_000_000_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(nanos_per_unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("'{text}' is longer than 584 years"))
}

/// A duration that is more than nothing.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_secs(1) {
        Err(format!("'{text}' is too short: use 1secs or more"))
    } else {
        Ok(interval)
    }
}

/// `128MB` and the like, in whole MB.
fn megabytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is no amount of memory: write a number and MB, GB or TB, e.g. 128MB");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "MB" => 1,
        "GB" => 1 << 10,
        "TB" => 1 << 20,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_amounts_are_written_as_in_aurora() {
        let secs = Duration::from_secs;
        for (text, expected) in [
            ("5mins", secs(300)),
            ("21days", secs(21 * 86_400)),
            ("1hrs", secs(3600)),
            ("30s", secs(30)),
            ("0secs", secs(0)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for bad in ["5", "mins", "5 mins", "5min", "-5mins", "5MINS", "", "99999999999days"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(interval("0secs").is_err());
        assert_eq!((megabytes("128MB"), megabytes("2GB")), (Ok(128), Ok(2048)));
        assert!(megabytes("128").is_err() && megabytes("1KB").is_err());
        assert!(cores("-1").is_err() && cores("NaN").is_err() && cores("0.5") == Ok(CpuMillis(500)));
    }
}
