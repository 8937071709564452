//! The grammar of `aurora quota`, `aurora task` and `aurora job diff` (spec client-cli 2.5, 2.17, 2.19).

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use model::key::is_identifier;

use super::arguments::{Common, FileOptions};
use crate::command::JsonOutput;
use crate::syntax::{ClusterJob, InstanceSpec};

/// A role in a cluster, written `CLUSTER/ROLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRole {
    /// Cluster; any text.
    pub cluster: String,
    /// The role.
    pub role: String,
}

impl FromStr for ClusterRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((cluster, role)) if !cluster.is_empty() && is_identifier(role) => {
                Ok(Self { cluster: cluster.into(), role: role.into() })
            }
            _ => {
                Err(format!("'{text}' is not a role in a cluster: write CLUSTER/ROLE, for example devcluster/www-data"))
            }
        }
    }
}

/// Verbs of `quota`.
#[derive(Debug, Subcommand)]
pub enum QuotaVerb {
    /// Show what the production tasks of a role may ask for, and what all its tasks hold
    Get(QuotaGetArguments),
}

/// `quota get`.
#[derive(Args, Clone, Debug)]
pub struct QuotaGetArguments {
    /// Whose quota
    #[arg(value_name = "CLUSTER/ROLE")]
    pub role: ClusterRole,
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

/// `job diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArguments {
    /// Job and, if not all, its instances
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCES]")]
    pub spec: InstanceSpec,
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Compare with the tasks of this job instead
    #[arg(long, value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub from: Option<ClusterJob>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
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

/// Verbs of `task`.
#[derive(Debug, Subcommand)]
pub enum TaskVerb {
    /// Run a command in the sandbox of each running instance, by ssh
    Run(TaskRunArguments),
    /// Open a shell in the sandbox of a running instance, by ssh
    Ssh(TaskSshArguments),
    /// Copy files from or to the sandboxes of running instances, by scp
    Scp(TaskScpArguments),
}

/// How ssh is called.
#[derive(Args, Clone, Debug, Default)]
pub struct SshOptions {
    /// Who to be on the other machine [default: the role]
    #[arg(short = 'l', long, value_name = "USER")]
    pub ssh_user: Option<String>,
    /// More options for ssh, in one word
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub ssh_options: Option<String>,
    /// Begin in the executor's directory instead of the task's sandbox within it
    #[arg(long)]
    pub executor_sandbox: bool,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}

/// `task run`.
#[derive(Args, Clone, Debug)]
pub struct TaskRunArguments {
    /// Job and, if not all, its instances
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCES]")]
    pub spec: InstanceSpec,
    /// What to run; {{mesos.instance}}, {{thermos.task_id}} and {{thermos.ports[NAME]}} are replaced
    #[arg(value_name = "COMMAND")]
    pub command: String,
    /// How many at a time
    #[arg(short = 't', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// How ssh is called
    #[command(flatten)]
    pub ssh: SshOptions,
}

/// `task ssh`.
#[derive(Args, Clone, Debug)]
pub struct TaskSshArguments {
    /// Job and, if not the first, its instance
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCES]")]
    pub spec: InstanceSpec,
    /// Let a port of this machine lead to a named port of the task; may be repeated
    #[arg(short = 'L', long = "tunnels", value_name = "PORT:NAME")]
    pub tunnels: Vec<String>,
    /// Run this instead of a shell
    #[arg(short = 'c', long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write the process id of ssh here
    #[arg(short = 'p', long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// How ssh is called
    #[command(flatten)]
    pub ssh: SshOptions,
}

/// `task scp`.
#[derive(Args, Clone, Debug)]
pub struct TaskScpArguments {
    /// Files, the last one the target; in a sandbox CLUSTER/ROLE/ENV/NAME/INSTANCE:PATH
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub files: Vec<String>,
    /// More options for scp, in one word
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub scp_options: Option<String>,
    /// Paths begin in the executor's directory instead of the task's sandbox within it
    #[arg(long)]
    pub executor_sandbox: bool,
    /// Common options
    #[command(flatten)]
    pub common: Common,
}
