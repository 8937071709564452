//! Options of `daybreak up` about levels of service: tiers, SLA figures, drains. Declarations and help texts only; the defaults are Aurora's.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

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

/// Kinds of figures, none allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaFigures(pub Vec<SlaFigure>);

impl FromStr for SlaFigures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let figure = |name: &str| match name {
            "JOB_UPTIMES" => Ok(SlaFigure::JobUptimes),
            "PLATFORM_UPTIME" => Ok(SlaFigure::PlatformUptime),
            "MEDIANS" => Ok(SlaFigure::Medians),
            _ => Err(format!("'{name}' is no kind of figure: use JOB_UPTIMES, PLATFORM_UPTIME and MEDIANS")),
        };
        names.map(figure).collect::<Result<_, _>>().map(Self)
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
    #[arg(long, value_name = "FIGURE,FIGURE", default_value = "JOB_UPTIMES,PLATFORM_UPTIME,MEDIANS")]
    pub sla_prod_metrics: SlaFigures,
    /// SLA figures of all other jobs [default: none]
    #[arg(long, value_name = "FIGURE,FIGURE", default_value = "", hide_default_value = true)]
    pub sla_non_prod_metrics: SlaFigures,
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
        let all = [SlaFigure::JobUptimes, SlaFigure::PlatformUptime, SlaFigure::Medians];
        assert_eq!(arguments.sla_prod_metrics.0, all);
        assert_eq!((arguments.sla_non_prod_metrics.0.len(), arguments.tier_config), (0, None));
        assert_eq!(arguments.sla_stat_refresh_interval, Duration::from_secs(60));
        assert_eq!(arguments.max_parallel_coordinated_maintenance, 10);
    }

    #[test]
    fn figures_are_named_as_in_aurora() {
        let arguments = parse("--sla-prod-metrics MEDIANS --sla-non-prod-metrics=JOB_UPTIMES,MEDIANS").unwrap();
        assert_eq!(arguments.sla_prod_metrics.0, [SlaFigure::Medians]);
        assert_eq!(arguments.sla_non_prod_metrics.0, [SlaFigure::JobUptimes, SlaFigure::Medians]);
        assert_eq!(parse("--sla-prod-metrics=").unwrap().sla_prod_metrics.0, []);
        assert!(parse("--sla-prod-metrics UPTIME").unwrap_err().contains("PLATFORM_UPTIME"));
    }
}
