//! Options of `daybreak up` about backups of the state. Declarations and help texts only.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::mesos_arguments::duration;

/// Backups.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backups")]
pub struct BackupArguments {
    /// Where backups of the state go [default: backups in the state directory]
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// How often one is made
    #[arg(long, value_name = "DURATION", default_value = "1hrs", value_parser = duration)]
    pub backup_interval: Duration,
    /// How many are kept
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_saved_backups: u32,
}
