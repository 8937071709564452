//! The grammar of the maintenance commands (spec client-cli 4).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::command::JsonOutput;

/// Which hosts: exactly one of the two.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = false)]
pub struct HostOptions {
    /// Host names, separated by commas
    #[arg(long, value_name = "HOST,HOST", value_delimiter = ',')]
    pub hosts: Option<Vec<String>>,
    /// File with one host name per line
    #[arg(long, value_name = "FILE")]
    pub filename: Option<PathBuf>,
}

/// What is drained together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Grouping {
    /// One host after another
    #[default]
    ByHost,
    /// All hosts at once
    None,
}

/// Commands about the mode of hosts.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum HostVerb {
    /// Announce maintenance: new tasks go to other hosts where possible
    HostDeactivate(HostArguments),
    /// End maintenance: hosts take tasks again
    HostActivate(HostArguments),
    /// Move all tasks away, a host after another, if enough instances of each job stay up (deprecated: use sla_host_drain)
    HostDrain(HostDrainArguments),
    /// Move all tasks away as the SLA policies of their jobs allow; the scheduler does it, this command does not wait
    SlaHostDrain(SlaHostDrainArguments),
    /// Show the maintenance mode of hosts
    HostStatus(HostStatusArguments),
}

/// Commands that say what a drain would do to jobs.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum SafetyVerb {
    /// List hosts that can be drained without bringing any job below a level of service
    SlaListSafeDomain(ListSafeDomainArguments),
    /// Show what draining hosts would do to the level of service of each job there
    SlaProbeHosts(ProbeHostsArguments),
}

/// A cluster and hosts.
#[derive(Args, Clone, Debug)]
pub struct HostArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Hosts
    #[command(flatten)]
    pub hosts: HostOptions,
}

/// `host_status`.
#[derive(Args, Clone, Debug)]
pub struct HostStatusArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Hosts
    #[command(flatten)]
    pub hosts: HostOptions,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `host_drain`.
#[derive(Args, Clone, Debug)]
pub struct HostDrainArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Hosts
    #[command(flatten)]
    pub hosts: HostOptions,
    /// Program to run for each host that is drained, with the host's name as its argument
    #[arg(long = "post_drain_script", value_name = "PROGRAM")]
    pub post_drain_script: Option<PathBuf>,
    /// What is drained together
    #[arg(long, value_enum, default_value_t)]
    pub grouping: Grouping,
    /// Drain if this share of each job stays up, instead of 95; needs the other two override options
    #[arg(long = "override_percentage", value_name = "PERCENT", value_parser = percentage,
        requires_all = ["override_duration", "override_reason"])]
    pub override_percentage: Option<f64>,
    /// Uptime that is asked for, instead of 30m
    #[arg(long = "override_duration", value_name = "DURATION", value_parser = duration,
        requires_all = ["override_percentage", "override_reason"])]
    pub override_duration: Option<Duration>,
    /// Why, for the log
    #[arg(long = "override_reason", value_name = "TEXT",
        requires_all = ["override_percentage", "override_duration"])]
    pub override_reason: Option<String>,
    /// Where to write the names of the hosts that could not be drained
    #[arg(long = "unsafe_hosts_file", value_name = "FILE")]
    pub unsafe_hosts_file: Option<PathBuf>,
}

/// `sla_host_drain`.
#[derive(Args, Clone, Debug)]
pub struct SlaHostDrainArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Hosts
    #[command(flatten)]
    pub hosts: HostOptions,
    /// Share of each job that must stay up, for jobs without an SLA policy of their own
    #[arg(long = "default_percentage", value_name = "PERCENT", default_value = "95", value_parser = percentage)]
    pub default_percentage: f64,
    /// How long an instance must have been up to count, for the same jobs
    #[arg(long = "default_duration", value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub default_duration: Duration,
    /// After this the rest is drained whatever the policies say
    #[arg(long = "force_drain_timeout", value_name = "DURATION", default_value = "7d", value_parser = duration)]
    pub force_drain_timeout: Duration,
}

/// `sla_list_safe_domain`.
#[derive(Args, Clone, Debug)]
pub struct ListSafeDomainArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Share of each job that must stay up, more than 0 and at most 100
    #[arg(value_parser = percentage)]
    pub percentage: f64,
    /// How long an instance must have been up to count, e.g. 5m
    #[arg(value_parser = duration)]
    pub duration: Duration,
    /// File with hosts to leave out, one per line
    #[arg(short = 'X', long = "exclude_file", value_name = "FILE", conflicts_with = "exclude_hosts")]
    pub exclude_file: Option<PathBuf>,
    /// Hosts to leave out
    #[arg(short = 'x', long = "exclude_hosts", value_name = "HOST,HOST", value_delimiter = ',')]
    pub exclude_hosts: Option<Vec<String>>,
    /// What would be drained together
    #[arg(long, value_enum, default_value_t)]
    pub grouping: Grouping,
    /// File with the only hosts to look at, one per line
    #[arg(short = 'I', long = "include_file", value_name = "FILE", conflicts_with = "include_hosts")]
    pub include_file: Option<PathBuf>,
    /// The only hosts to look at
    #[arg(short = 'i', long = "include_hosts", value_name = "HOST,HOST", value_delimiter = ',')]
    pub include_hosts: Option<Vec<String>>,
    /// Show the jobs on each host with what would be left of them
    #[arg(short = 'l', long = "list_jobs")]
    pub list_jobs: bool,
    /// Jobs with fewer instances are not looked at
    #[arg(long = "min_job_instance_count", value_name = "N", default_value_t = 10)]
    pub min_job_instance_count: u32,
    /// File with other percentages and durations for jobs: CLUSTER/ROLE/ENV/NAME PERCENTAGE DURATION per line
    #[arg(short = 'o', long = "override_file", value_name = "FILE")]
    pub override_file: Option<PathBuf>,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `sla_probe_hosts`.
#[derive(Args, Clone, Debug)]
pub struct ProbeHostsArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Share of each job that must stay up, more than 0 and at most 100
    #[arg(value_parser = percentage)]
    pub percentage: f64,
    /// How long an instance must have been up to count, e.g. 5m
    #[arg(value_parser = duration)]
    pub duration: Duration,
    /// Hosts
    #[command(flatten)]
    pub hosts: HostOptions,
    /// What would be drained together
    #[arg(long, value_enum, default_value_t)]
    pub grouping: Grouping,
    /// Jobs with fewer instances are not looked at
    #[arg(long = "min_job_instance_count", value_name = "N", default_value_t = 10)]
    pub min_job_instance_count: u32,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// A percentage, more than 0 and at most 100.
pub fn percentage(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 100.0 => Ok(value),
        _ => Err(format!("'{text}' is not a percentage: write a number above 0 and up to 100")),
    }
}

/// A duration such as `30m`, `1h30m`, `7d` or `0s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let help = || format!("'{text}' is not a duration: write for example 90s, 30m, 1h30m or 7d");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(help)?;
        let amount: u64 = rest[..digits].parse().map_err(|_| help())?;
        let unit = rest[digits..].chars().next().unwrap_or_default();
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(help()),
        };
        let part = amount.checked_mul(unit_seconds).ok_or_else(help)?;
        seconds = seconds.checked_add(part).ok_or_else(help)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    if text.is_empty() { Err(help()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_amounts_with_units() {
        for (text, seconds) in [("0s", 0), ("30m", 1800), ("1h30m", 5400), ("7d", 604_800), ("90s", 90)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "5", "m", "5x", "5m3", "99999999999999999999s", "999999999999999999d", "-1s", "5µ"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages_lie_above_nothing_and_up_to_all() {
        assert_eq!((percentage("95"), percentage("0.5"), percentage("100")), (Ok(95.0), Ok(0.5), Ok(100.0)));
        for bad in ["0", "-1", "100.1", "NaN", "inf", "x", ""] {
            assert!(percentage(bad).is_err(), "{bad}");
        }
    }
}
