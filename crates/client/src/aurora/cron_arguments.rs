//! The grammar of `aurora cron` (spec client-cli 2.15).

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::arguments::{Common, FileOptions, HookFile};
use crate::command::JsonOutput;
use crate::syntax::ClusterJob;

/// Verbs of `cron`.
#[derive(Debug, Subcommand)]
pub enum CronVerb {
    /// Hand a job with a cron schedule to the scheduler, or replace the one it has
    Schedule(ScheduleArguments),
    /// Take a job off its schedule; its running tasks go on
    Deschedule(DescheduleArguments),
    /// Start a run now, as if its time had come
    Start(StartArguments),
    /// Show the schedule of a job
    Show(ShowArguments),
}

/// `cron schedule`.
#[derive(Args, Clone, Debug)]
pub struct ScheduleArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `cron deschedule`.
#[derive(Args, Clone, Debug)]
pub struct DescheduleArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `cron start`.
#[derive(Args, Clone, Debug)]
pub struct StartArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Open the job's page in the browser
    #[arg(long)]
    pub open_browser: bool,
    /// Hook file
    #[command(flatten)]
    pub hooks: HookFile,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `cron show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}
