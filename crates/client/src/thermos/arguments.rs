//! The grammar of `thermos` (spec executor 4.6). Declarations and help texts only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks after the tasks of this machine, without any scheduler.
#[derive(Clone, Debug, Parser)]
#[command(name = "thermos", version, infer_long_args = true, subcommand_required = true, max_term_width = 100)]
pub struct Thermos {
    /// Where to look.
    #[command(flatten)]
    pub roots: Roots,
    /// Command.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Where tasks are looked for.
#[derive(Args, Clone, Debug, Default)]
pub struct Roots {
    /// Checkpoint root of the original runner; may be repeated [default: /var/run/thermos]
    #[arg(long = "root", global = true, value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// Work directory of a Mesos agent; may be repeated [default: /var/lib/mesos]
    #[arg(long = "mesos-root", global = true, value_name = "DIR")]
    pub mesos_roots: Vec<PathBuf>,
    /// State directory of a daemon on this machine [default: as for `daybreak up`, if it is there]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Commands of `thermos`.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// List tasks: those that run, then those that ran
    Status(StatusArguments),
    /// Show what a process prints, and go on while its task runs
    Tail(TailArguments),
    /// End tasks that run on this machine
    Kill(KillArguments),
    /// Show what a checkpoint holds
    Read(ReadArguments),
}

/// Which tasks `thermos status` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Those that run
    Active,
    /// Those that ran
    Finished,
}

/// `thermos status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// Regular expressions; ids match from their start
    #[arg(value_name = "REGEX")]
    pub expressions: Vec<String>,
    /// 0: id and owner; 1: state and start; 2: user, ports and sandbox; 3: processes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub verbosity: u8,
    /// Only these
    #[arg(long, value_name = "TYPE")]
    pub only: Option<Only>,
}

/// `thermos tail`.
#[derive(Args, Clone, Debug)]
pub struct TailArguments {
    /// Id of the task
    #[arg(value_name = "TASK_ID")]
    pub task_id: String,
    /// Which process; needed when the task has several
    #[arg(value_name = "PROCESS")]
    pub process: Option<String>,
    /// Standard error instead of standard output
    #[arg(long)]
    pub stderr: bool,
}

/// `thermos kill`.
#[derive(Args, Clone, Debug)]
pub struct KillArguments {
    /// Ids or regular expressions; ids match from their start
    #[arg(value_name = "TASK_ID", required = true)]
    pub expressions: Vec<String>,
}

/// `thermos read`.
#[derive(Args, Clone, Debug)]
pub struct ReadArguments {
    /// The checkpoint file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// The records one by one instead of what they add up to
    #[arg(long)]
    pub simple: bool,
}
