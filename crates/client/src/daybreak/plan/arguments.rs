//! The grammar of `daybreak plan`.

use std::path::PathBuf;

use clap::Args;

use crate::aurora::arguments::FileOptions;
use crate::command::JsonOutput;
use crate::syntax::{ClusterJob, Instances};

/// `daybreak plan`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 the plan could be carried out (or there is nothing to do); 4 the scheduler would refuse it; 3 the file \
                  cannot be loaded; 9 no scheduler answers. With --detailed-exitcode, 1 says that something would change and 0 that \
                  nothing would.\n\nA scheduler of Aurora's own is asked for the difference only: room and quota are unknown then."
)]
pub struct PlanArguments {
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Key of the job [default: every job of the file]
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: Option<ClusterJob>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// Only these instances, for example 0-3,5, as `aurora update start JOB/0-3,5` would
    #[arg(long, value_name = "INSTANCES")]
    pub instances: Option<Instances>,
    /// End with 1 when something would change, 0 when nothing would
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Colours: on a terminal, always, or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    pub color: clap::ColorChoice,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}
