//! What a command demands of its giver, in Aurora's words (spec scheduler 7.5), and who decides whether he may. Users and roles themselves
//! are elsewhere.

use std::fmt;

use model::JobKey;
use scheduler::command::{MaintenanceCommand, UpdateControl};
use scheduler::{AdminCommand, Command, Principal};

/// Something that only some may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// A change of one job.
    Job {
        /// The method of the API that makes it.
        method: &'static str,
        /// Which job.
        job: JobKey,
    },
    /// What only operators do.
    Admin {
        /// The method of the API, or another word for what is done.
        method: &'static str,
    },
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job { method, job } => {
                let JobKey { role, environment, name } = job;
                write!(formatter, "thrift.AuroraSchedulerManager:{method}:{role}:{environment}:{name}")
            }
            Self::Admin { method } => write!(formatter, "thrift.AuroraAdmin:{method}"),
        }
    }
}

/// Decides who may do what. Asked for every command.
pub trait Authorizer: Send + Sync {
    /// Whether callers must say who they are before they change anything.
    fn requires_login(&self) -> bool;

    /// Whether `principal` may do this. A refusal is logged by whoever decides it.
    fn permits(&self, principal: &Principal, permission: &Permission) -> bool;
}

/// Security is off: everyone may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

impl Authorizer for Everyone {
    fn requires_login(&self) -> bool {
        false
    }

    fn permits(&self, _principal: &Principal, _permission: &Permission) -> bool {
        true
    }
}

/// What a command demands.
pub fn demanded(command: &Command) -> Permission {
    let of = |method, job: &JobKey| Permission::Job { method, job: job.clone() };
    match command {
        Command::CreateJob(job) => of("createJob", &job.key),
        Command::KillTasks { job, .. } => of("killTasks", job),
        Command::RestartTasks { job, .. } => of("restartShards", job),
        Command::AddInstances { job, .. } => of("addInstances", job),
        Command::StartUpdate { request, .. } => of("startJobUpdate", &request.task.job),
        Command::ControlUpdate { key, action, .. } => {
            let method = match action {
                UpdateControl::Pause => "pauseJobUpdate",
                UpdateControl::Resume => "resumeJobUpdate",
                UpdateControl::Abort => "abortJobUpdate",
                UpdateControl::Rollback => "rollbackJobUpdate",
            };
            of(method, &key.job)
        }
        Command::PulseUpdate { key } => of("pulseJobUpdate", &key.job),
        Command::ScheduleCronJob(job) => of("scheduleCronJob", &job.key),
        Command::ReplaceCronTemplate(job) => of("replaceCronTemplate", &job.key),
        Command::DescheduleCronJob { job } => of("descheduleCronJob", job),
        Command::StartCronJob { job } => of("startCronJob", job),
        Command::SetQuota { .. } => Permission::Admin { method: "setQuota" },
        Command::Maintenance(command) => Permission::Admin {
            method: match command {
                MaintenanceCommand::Start { .. } => "startMaintenance",
                MaintenanceCommand::Drain { .. } => "drainHosts",
                MaintenanceCommand::SlaDrain { .. } => "slaDrainHosts",
                MaintenanceCommand::End { .. } => "endMaintenance",
            },
        },
        Command::Admin(command) => Permission::Admin {
            method: match command {
                AdminCommand::ForceTaskState { .. } => "forceTaskState",
                AdminCommand::PruneTasks { .. } => "pruneTasks",
                AdminCommand::ReconcileExplicitly { .. } => "triggerExplicitTaskReconciliation",
                AdminCommand::ReconcileImplicitly => "triggerImplicitTaskReconciliation",
                AdminCommand::Restore { .. } => "commitRecovery",
            },
        },
    }
}
