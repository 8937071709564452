//! The grammar of `thermos` (spec executor 4.6). Declarations and help texts only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command::JsonOutput;
use crate::syntax::Binding;

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
    /// Checkpoint root: where `run` and `simplerun` put what they know of a task, and where tasks are looked for; may be repeated
    /// [default: /var/run/thermos; for others than root their own state directory too]
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
    /// Run the task of a file on this machine, without any scheduler
    Run(RunArguments),
    /// Run a command line as a task of one process
    Simplerun(SimplerunArguments),
    /// Show the task of a file with everything resolved that can be before it runs, as JSON
    Inspect(TaskFile),
    /// List tasks: those that run, then those that ran
    Status(StatusArguments),
    /// Show what a process prints, and go on while its task runs
    Tail(TailArguments),
    /// End tasks that run on this machine
    Kill(KillArguments),
    /// Show what a checkpoint holds
    Read(ReadArguments),
}

/// A file with a task, and what is said about it on the command line.
#[derive(Args, Clone, Debug)]
pub struct TaskFile {
    /// The file: one that exports tasks, a job file, or a task as JSON
    #[arg(value_name = "FILE")]
    pub paths: Vec<PathBuf>,
    /// Which task of the file, by its name or that of its job
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// The file is JSON; one whose name ends in .json is anyway
    #[arg(long)]
    pub json: bool,
    /// What is bound.
    #[command(flatten)]
    pub bound: Bound,
}

/// What is bound in a task.
#[derive(Args, Clone, Debug, Default)]
pub struct Bound {
    /// A port that the task uses as {{thermos.ports[NAME]}}; may be repeated
    #[arg(short = 'P', long = "port", visible_alias = "prebound-ports", value_name = "NAME:PORT")]
    pub ports: Vec<NamedPort>,
    /// A value for {{NAME}}; may be repeated
    #[arg(short = 'E', long = "environment", value_name = "NAME=VALUE")]
    pub environment: Vec<Binding>,
}

/// `NAME:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    /// Name.
    pub name: String,
    /// Number.
    pub number: u16,
}

impl std::str::FromStr for NamedPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("'{text}' is not a port with its name: write NAME:PORT, as in http:8080"))?;
        let number = number.parse().map_err(|_| format!("'{number}' is not a port: write a number up to 65535"))?;
        Ok(Self { name: name.to_owned(), number })
    }
}

/// How a task is run.
#[derive(Args, Clone, Debug, Default)]
pub struct RunOptions {
    /// User to run as; another one than you takes root [default: you]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Id of the task [default: its name and the time]
    #[arg(long = "task_id", visible_alias = "task-id", value_name = "ID")]
    pub task_id: Option<String>,
    /// Do not wait for the end: the task runs on in the background, and its id is printed
    #[arg(long)]
    pub daemon: bool,
}

/// `thermos run`.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// The task.
    #[command(flatten)]
    pub file: TaskFile,
    /// How it is run.
    #[command(flatten)]
    pub options: RunOptions,
    /// Make the sandbox the root directory of the processes; takes root, and a bash in the sandbox
    #[arg(long = "enable_chroot", visible_alias = "enable-chroot")]
    pub enable_chroot: bool,
    /// Where the processes run [default: /var/lib/thermos/sandbox; for others than root one in their own state directory]
    #[arg(long, value_name = "DIR")]
    pub sandbox: Option<PathBuf>,
}

/// `thermos simplerun`.
#[derive(Args, Clone, Debug)]
pub struct SimplerunArguments {
    /// The command line, which bash gets as it is
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub command: Vec<String>,
    /// Name of the task
    #[arg(long, value_name = "NAME", default_value = "simple")]
    pub name: String,
    /// How it is run.
    #[command(flatten)]
    pub options: RunOptions,
    /// What is bound.
    #[command(flatten)]
    pub bound: Bound,
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
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
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
    #[arg(long, conflicts_with = "json_output")]
    pub simple: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}
