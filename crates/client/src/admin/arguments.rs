//! The grammar of `aurora_admin <command>` (spec client-cli 4). Names have underscores, options may stand before or after. Declarations and
//! help texts only; a family of commands is an enum of its own, listed in [`AdminVerb`].

use clap::{Args, Parser, Subcommand};

use super::maintenance::arguments::{HostVerb, SafetyVerb};
use super::operations::arguments::OperationVerb;

/// Looks after a cluster: maintenance of hosts, quotas, backups.
#[derive(Debug, Parser)]
#[command(
    name = "aurora_admin",
    infer_long_args = true,
    disable_version_flag = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct AuroraAdmin {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub verb: AdminVerb,
}

/// Options of every command; they may stand anywhere.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Log more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Log only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Ask the scheduler that is named, even if it does not lead
    #[arg(long = "bypass-leader-redirect", global = true)]
    pub bypass_leader_redirect: bool,
}

/// All commands, by family.
#[derive(Debug, Subcommand)]
pub enum AdminVerb {
    /// Maintenance of hosts.
    #[command(flatten)]
    Host(HostVerb),
    /// What a drain would do to jobs.
    #[command(flatten)]
    Safety(SafetyVerb),
    /// Quotas, tasks, backups, the cluster itself.
    #[command(flatten)]
    Operation(OperationVerb),
}
