//! Options of `daybreak up` about levels of service: tiers, SLA figures, drains. Declarations and help texts only; the defaults are Aurora's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::mesos_arguments::duration;

const HEADING: &str = "Levels of service and maintenance";

/// A kind of SLA figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlaFigure {
    /// How long instances have been up.
    JobUptimes,
    /// How much of the time the platform kept them up.
    PlatformUptime,
    /// How long tasks wait until they run.
    Medians,
}

impl ValueEnum for SlaFigure {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::JobUptimes, Self::PlatformUptime, Self::Medians]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let (name, help) = match self {
            Self::JobUptimes => ("JOB_UPTIMES", "How long the instances of each job have been up"),
            Self::PlatformUptime => {
                ("PLATFORM_UPTIME", "How much of the time nothing of the platform's kept them down")
            }
            Self::Medians => ("MEDIANS", "How long tasks wait until they are assigned, starting and running"),
        };
        Some(clap::builder::PossibleValue::new(name).help(help))
    }
}

/// Levels of service.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ServiceLevelArguments {
    /// JSON file with the tiers that jobs may name [default: preferred, preemptible and revocable]
    #[arg(long, value_name = "FILE")]
    pub tier_config: Option<PathBuf>,
    /// How often SLA figures are computed for /vars, and the time each computation looks back on
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub sla_stat_refresh_interval: Duration,
    /// SLA figures of production jobs
    #[arg(long, value_name = "FIGURE,FIGURE", value_delimiter = ',', value_enum, num_args = 0..,
        default_value = "JOB_UPTIMES,PLATFORM_UPTIME,MEDIANS")]
    pub sla_prod_metrics: Vec<SlaFigure>,
    /// SLA figures of all other jobs [default: none]
    #[arg(long, value_name = "FIGURE,FIGURE", value_delimiter = ',', value_enum, num_args = 0..)]
    pub sla_non_prod_metrics: Vec<SlaFigure>,
    /// How long the coordinator of an SLA policy may take to answer
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub sla_coordinator_timeout: Duration,
    /// Coordinators that are asked at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_parallel_coordinated_maintenance: u32,
    /// How often hosts that are being drained are looked at
    #[arg(long, value_name = "DURATION", default_value = "1mins", value_parser = duration)]
    pub host_maintenance_polling_interval: Duration,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        arguments: ServiceLevelArguments,
    }

    fn parse(words: &str) -> Result<ServiceLevelArguments, String> {
        let words = std::iter::once("up").chain(words.split_whitespace());
        Words::try_parse_from(words).map(|words| words.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_auroras() {
        let arguments = parse("").unwrap();
        assert_eq!(arguments.sla_prod_metrics, SlaFigure::value_variants());
        assert_eq!((arguments.sla_non_prod_metrics.len(), arguments.tier_config), (0, None));
        assert_eq!(arguments.sla_stat_refresh_interval, Duration::from_secs(60));
        assert_eq!(arguments.max_parallel_coordinated_maintenance, 10);
    }

    #[test]
    fn figures_are_named_as_in_aurora() {
        let arguments = parse("--sla-prod-metrics MEDIANS --sla-non-prod-metrics=JOB_UPTIMES,MEDIANS").unwrap();
        assert_eq!(arguments.sla_prod_metrics, [SlaFigure::Medians]);
        assert_eq!(arguments.sla_non_prod_metrics, [SlaFigure::JobUptimes, SlaFigure::Medians]);
        assert!(parse("--sla-prod-metrics UPTIME").unwrap_err().contains("PLATFORM_UPTIME"));
    }
}
