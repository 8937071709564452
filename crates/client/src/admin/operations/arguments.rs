//! The grammar of the commands about quotas, tasks, backups and the cluster itself (spec client-cli 4).

use clap::{Args, Subcommand, ValueEnum};

use super::amount::{cores, megabytes};
use crate::command::JsonOutput;

/// Commands about the whole cluster: quotas, tasks, backups.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum OperationVerb {
    /// List tasks, one line each
    Query(QueryArguments),
    /// Set what the production tasks of a role may ask for in all
    SetQuota(QuotaArguments),
    /// Raise what the production tasks of a role may ask for in all
    IncreaseQuota(QuotaArguments),
    /// Forget ended tasks
    PruneTasks(PruneArguments),
    /// Compare what the scheduler knows of tasks with what the cluster knows, now
    ReconcileTasks(ReconcileArguments),
    /// Show where the leading scheduler is
    GetScheduler(ShownClusterArguments),
    /// Show what the configuration says of a cluster
    GetClusterConfig(ClusterConfigArguments),
    /// Write a snapshot of the scheduler's journal; returns when it is durable
    SchedulerSnapshot(ClusterArguments),
    /// Make a backup of the scheduler's state; returns when it is durable
    SchedulerBackupNow(ClusterArguments),
    /// List the backups
    SchedulerListBackups(ShownClusterArguments),
    /// Read a backup, to look at it and to restore it
    SchedulerStageRecovery(StageArguments),
    /// Show the tasks of the staged backup
    SchedulerPrintRecoveryTasks(ShownClusterArguments),
    /// Take tasks out of the staged backup
    SchedulerDeleteRecoveryTasks(DeleteRecoveryArguments),
    /// Make the staged backup the state of the scheduler. Tasks that still run are adopted
    SchedulerCommitRecovery(CommitArguments),
    /// Forget the staged backup
    SchedulerUnloadRecovery(ClusterArguments),
}

/// A cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterArguments {
    /// Name of the cluster
    pub cluster: String,
}

/// A cluster, of which something is shown.
#[derive(Args, Clone, Debug)]
pub struct ShownClusterArguments {
    /// Name of the cluster
    pub cluster: String,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `query`.
#[derive(Args, Clone, Debug)]
pub struct QueryArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Whose tasks
    pub role: Option<String>,
    /// Which job
    pub job: Option<String>,
    /// Ask although much may be listed: without a role, without a job, or tasks that have ended
    #[arg(long)]
    pub force: bool,
    /// Only these instances
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub shards: Option<Vec<i32>>,
    /// Only tasks in these states
    #[arg(long, value_name = "STATE,STATE", value_delimiter = ',', default_value = "RUNNING")]
    pub states: Vec<String>,
    /// What each line says; words between percent signs are replaced
    #[arg(short, long, value_name = "FORMAT", default_value = "%role%/%name%/%instanceId% %status%")]
    pub listformat: String,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `set_quota` and `increase_quota`.
#[derive(Args, Clone, Debug)]
pub struct QuotaArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Whose quota
    pub role: String,
    /// Cores, e.g. 2.5
    #[arg(value_parser = cores)]
    pub cpu: f64,
    /// Memory, e.g. 512MB or 16g
    #[arg(value_parser = megabytes)]
    pub ram: i64,
    /// Disk, e.g. 2048MB or 1t
    #[arg(value_parser = megabytes)]
    pub disk: i64,
}

/// `prune_tasks`.
#[derive(Args, Clone, Debug)]
pub struct PruneArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Only tasks in these states [default: every state in which tasks have ended]
    #[arg(long, value_name = "STATE,STATE", value_delimiter = ',')]
    pub states: Option<Vec<String>>,
    /// Only tasks of this role
    #[arg(long)]
    pub role: Option<String>,
    /// Only tasks of this environment
    #[arg(long = "env")]
    pub environment: Option<String>,
    /// At most so many
    #[arg(long)]
    pub limit: Option<i32>,
}

/// Who tells of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReconciliationType {
    /// The scheduler asks about every task it knows
    #[default]
    Explicit,
    /// The cluster tells of every task it knows
    Implicit,
}

/// `reconcile_tasks`.
#[derive(Args, Clone, Debug)]
pub struct ReconcileArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Who tells
    #[arg(short = 't', long = "type", value_enum, default_value_t)]
    pub kind: ReconciliationType,
    /// Tasks per question (explicit only) [default: the scheduler's setting]
    #[arg(
        short = 'b',
        long = "batch_size",
        visible_alias = "batch-size",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub batch_size: Option<i32>,
}

/// `get_cluster_config`.
#[derive(Args, Clone, Debug)]
pub struct ClusterConfigArguments {
    /// Name of the cluster
    pub cluster: String,
    /// As variables for a shell, AURORA_CLUSTER_<KEY>=value
    #[arg(long)]
    pub sh: bool,
    /// With the word export before each variable; means --sh
    #[arg(long)]
    pub export: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `scheduler_stage_recovery`.
#[derive(Args, Clone, Debug)]
pub struct StageArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Name of the backup, as scheduler_list_backups shows it
    pub backup_id: String,
}

/// `scheduler_delete_recovery_tasks`.
#[derive(Args, Clone, Debug)]
pub struct DeleteRecoveryArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Ids of the tasks, separated by commas
    #[arg(value_name = "TASK,TASK", value_delimiter = ',', required = true, num_args = 1)]
    pub task_ids: Vec<String>,
}

/// `scheduler_commit_recovery`.
#[derive(Args, Clone, Debug)]
pub struct CommitArguments {
    /// Name of the cluster
    pub cluster: String,
    /// Kill the tasks that were created after the backup was made; without this they are kept
    #[arg(long)]
    pub kill_later_tasks: bool,
}
