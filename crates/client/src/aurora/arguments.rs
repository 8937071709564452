//! The grammar of `aurora <noun> <verb>` (spec client-cli 1 and 2). Declarations and help texts only; the verbs live beside it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::remote_arguments::{DiffArguments, QuotaVerb, TaskVerb};
use crate::command::JsonOutput;
use crate::syntax::{Binding, ClusterJob, InstanceSpec, TaskInstance, UpdateFilter, WildcardKey};

/// Talks to a scheduler: creates, watches, updates and kills jobs.
///
/// A job is named by its key CLUSTER/ROLE/ENV/NAME, for example devcluster/www-data/devel/hello. Without a clusters.json, devcluster is
/// the Daybreak daemon on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "aurora",
    infer_long_args = true,
    disable_version_flag = true,
    subcommand_required = true,
    max_term_width = 100,
    after_help = "Clusters are read from $AURORA_CONFIG_ROOT/clusters.json (default /etc/aurora) and ~/.aurora/clusters.json.\n\
                  The one-word verbs of old clients (create, update, killall, kill, status, restart, inspect, open) work as well."
)]
pub struct Aurora {
    /// What the command is about.
    #[command(subcommand)]
    pub noun: Noun,
}

/// Nouns.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Jobs: create, look at, change and kill them
    #[command(subcommand)]
    Job(JobVerb),
    /// Rolling updates of services
    #[command(subcommand)]
    Update(UpdateVerb),
    /// Job files
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Cron jobs: schedule, start and show them
    #[command(subcommand)]
    Cron(super::cron_arguments::CronVerb),
    /// Quotas of roles
    #[command(subcommand)]
    Quota(QuotaVerb),
    /// How long the instances of jobs have been up
    #[command(subcommand)]
    Sla(super::sla_arguments::SlaVerb),
    /// Commands and files in the sandboxes of running tasks
    #[command(subcommand)]
    Task(TaskVerb),
}

/// What every verb takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Log more
    #[arg(short, long)]
    pub verbose: bool,
    /// Command hooks not to run (none are built in; accepted for scripts)
    #[arg(long, value_name = "HOOK,HOOK")]
    pub skip_hooks: Option<String>,
}

/// How a job file is read.
#[derive(Args, Clone, Debug, Default)]
pub struct FileOptions {
    /// Give a template variable a value; may be repeated
    #[arg(long = "bind", value_name = "NAME=VALUE")]
    pub bindings: Vec<Binding>,
    /// The file is JSON as Aurora's client reads it
    #[arg(long)]
    pub read_json: bool,
    /// What the file is written in [default: told by its name]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "read_json")]
    pub format: Option<crate::evaluation::FileFormat>,
}

/// Options of verbs that once loaded a file for its hooks only.
#[derive(Args, Clone, Debug, Default)]
pub struct HookFile {
    /// Job file whose hooks run around the calls, where the job has enable_hooks
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
}

/// What to wait for after creating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPERCASE")]
pub enum WaitUntil {
    /// Accepted by the scheduler
    #[default]
    Pending,
    /// Every instance runs, or has ended
    Running,
    /// Every instance has ended
    Finished,
}

/// Verbs of `job`.
#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// Create a job from a job file
    Create(CreateArguments),
    /// Kill instances of a job, in batches
    Kill(KillArguments),
    /// Kill all instances of a job, in batches
    Killall(KillallArguments),
    /// Show the tasks of jobs, with their history
    Status(StatusArguments),
    /// List the keys of jobs
    List(ListArguments),
    /// Show what a job file says about a job; needs no scheduler
    Inspect(InspectArguments),
    /// Restart a job's instances, a batch at a time, watching each
    Restart(RestartArguments),
    /// Add instances that are copies of a running one
    Add(AddArguments),
    /// Open a job's page in the browser
    Open(OpenArguments),
    /// Compare a job file with what runs
    Diff(DiffArguments),
}

/// `job create`.
#[derive(Args, Clone, Debug)]
pub struct CreateArguments {
    /// Key of the job, CLUSTER/ROLE/ENV/NAME
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// Return when the job has come this far
    #[arg(long, value_enum, default_value_t)]
    pub wait_until: WaitUntil,
    /// Open the job's page in the browser
    #[arg(long)]
    pub open_browser: bool,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// How instances are killed.
#[derive(Args, Clone, Debug)]
pub struct KillOptions {
    /// How many instances to kill at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// Stop after this many batches that did not die in time
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_total_failures: u32,
    /// Kill all at once
    #[arg(long)]
    pub no_batching: bool,
    /// Note kept with the tasks' history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
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

/// `job kill`.
#[derive(Args, Clone, Debug)]
pub struct KillArguments {
    /// Job and instances, for example devcluster/www-data/devel/hello/0-3,5
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME/INSTANCES")]
    pub spec: InstanceSpec,
    /// Fail if a named instance is not active
    #[arg(long)]
    pub strict: bool,
    /// Kill options
    #[command(flatten)]
    pub options: KillOptions,
}

/// `job killall`.
#[derive(Args, Clone, Debug)]
pub struct KillallArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Kill options
    #[command(flatten)]
    pub options: KillOptions,
}

/// `job status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// Key of a job, or a pattern such as devcluster/www-data/*
    #[arg(value_name = "CLUSTER[/ROLE[/ENV[/NAME]]]")]
    pub key: WildcardKey,
    /// Print JSON
    #[arg(long)]
    pub write_json: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `job list`.
#[derive(Args, Clone, Debug)]
pub struct ListArguments {
    /// Key of a job, or a pattern such as devcluster/www-data/*
    #[arg(value_name = "CLUSTER[/ROLE[/ENV[/NAME]]]")]
    pub key: WildcardKey,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `job inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// Print every field of the job as JSON
    #[arg(long)]
    pub write_json: bool,
    /// Print what would be sent to the scheduler; wins over --write-json
    #[arg(long)]
    pub raw: bool,
    /// Colours: on a terminal, always, or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    pub color: clap::ColorChoice,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `job restart`.
#[derive(Args, Clone, Debug)]
pub struct RestartArguments {
    /// Job and, if not all, its instances
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCES]")]
    pub spec: InstanceSpec,
    /// How many instances to restart at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// Stop when more instances than this failed
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub max_total_failures: i64,
    /// How often one instance may fail before it counts as failed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_per_instance_failures: u32,
    /// How long an instance must stay running, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub watch_secs: u64,
    /// How often to look, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub healthcheck_interval_seconds: u64,
    /// Fail if a named instance is not active
    #[arg(long)]
    pub strict: bool,
    /// Accepted; has no effect
    #[arg(long)]
    pub force: bool,
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

/// `job add`.
#[derive(Args, Clone, Debug)]
pub struct AddArguments {
    /// The instance to copy
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME/INSTANCE")]
    pub task: TaskInstance,
    /// How many to add
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    pub count: i32,
    /// Return when the new instances have come this far
    #[arg(long, value_enum, default_value_t)]
    pub wait_until: WaitUntil,
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

/// `job open`.
#[derive(Args, Clone, Debug)]
pub struct OpenArguments {
    /// What to show
    #[arg(value_name = "CLUSTER[/ROLE[/ENV[/NAME]]]")]
    pub key: UpdateFilter,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// List the jobs that a file defines; needs no scheduler
    List(ConfigListArguments),
}

/// `config list`.
#[derive(Args, Clone, Debug)]
pub struct ConfigListArguments {
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// Verbs of `update`.
#[derive(Debug, Subcommand)]
pub enum UpdateVerb {
    /// Start a rolling update of a service to what a job file says
    Start(UpdateStartArguments),
    /// Pause the active update
    Pause(UpdateActionArguments),
    /// Resume the paused update
    Resume(UpdateActionArguments),
    /// Stop the active update where it is
    Abort(UpdateActionArguments),
    /// Roll the active update back
    Rollback(UpdateRollbackArguments),
    /// List updates
    List(UpdateListArguments),
    /// Show an update with its history
    Info(UpdateInfoArguments),
    /// Wait until an update has ended
    Wait(UpdateWaitArguments),
}

/// `update start`.
#[derive(Args, Clone, Debug)]
pub struct UpdateStartArguments {
    /// Job and, if not all, its instances
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCES]")]
    pub spec: InstanceSpec,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// Note kept with the update's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Return when the update has ended
    #[arg(long)]
    pub wait: bool,
    /// Accepted; has no effect
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub healthcheck_interval_seconds: u64,
    /// Fail if a named instance is not active
    #[arg(long)]
    pub strict: bool,
    /// Open the update's page in the browser
    #[arg(long)]
    pub open_browser: bool,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `update pause`, `resume`, `abort`.
#[derive(Args, Clone, Debug)]
pub struct UpdateActionArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Note kept with the update's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `update rollback`.
#[derive(Args, Clone, Debug)]
pub struct UpdateRollbackArguments {
    /// Key and message
    #[command(flatten)]
    pub action: UpdateActionArguments,
    /// Return when the rollback has ended
    #[arg(long)]
    pub wait: bool,
}

/// `update list`.
#[derive(Args, Clone, Debug)]
pub struct UpdateListArguments {
    /// Which jobs
    #[arg(value_name = "CLUSTER[/ROLE[/ENV[/JOB]]]")]
    pub filter: UpdateFilter,
    /// Only updates in this state or group of states; may be repeated
    #[arg(long, value_name = "STATUS", value_parser = clap::builder::PossibleValuesParser::new(super::update_list::STATUS_NAMES))]
    pub status: Vec<String>,
    /// Only updates started by this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub write_json: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `update info`.
#[derive(Args, Clone, Debug)]
pub struct UpdateInfoArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Id of the update; the active one when left out
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub write_json: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `update wait`.
#[derive(Args, Clone, Debug)]
pub struct UpdateWaitArguments {
    /// Key of the job
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: ClusterJob,
    /// Id of the update; the active one when left out
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}
