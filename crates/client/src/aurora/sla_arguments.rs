//! The grammar of `aurora sla` (spec client-cli 2.18).

use std::time::Duration;

use clap::{Args, Subcommand};

use super::arguments::Common;
use crate::admin::maintenance::arguments::duration;
use crate::command::JsonOutput;
use crate::syntax::ClusterJob;

/// Verbs of `sla`.
#[derive(Debug, Subcommand)]
pub enum SlaVerb {
    /// Show how many of a job's instances have been up for some times
    GetTaskUpCount(TaskUpCountArguments),
    /// Show for how long shares of a job's instances have been up
    GetJobUptime(JobUptimeArguments),
}

/// `sla get-task-up-count`.
#[derive(Args, Clone, Debug)]
pub struct TaskUpCountArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Times, e.g. 1m,10m,1h
    #[arg(long, value_name = "DURATION,DURATION", value_delimiter = ',', default_value = "1m,10m,1h,12h,7d", value_parser = duration)]
    pub durations: Vec<Duration>,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `sla get-job-uptime`.
#[derive(Args, Clone, Debug)]
pub struct JobUptimeArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Shares in percent, above 0 and below 100
    #[arg(long, value_name = "PERCENT,PERCENT", value_delimiter = ',', default_value = "99,95,90,85,75,60,50,30,10", value_parser = percentile)]
    pub percentiles: Vec<f64>,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

fn percentile(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 100.0 => Ok(value),
        _ => Err(format!("'{text}' is not a percentile: write a number above 0 and below 100")),
    }
}
