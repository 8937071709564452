//! Commands: everything that users may ask to be changed, and the answers. Reading needs no command, see [`crate::view`].

use std::collections::BTreeSet;

use model::task::SlaPolicy;
use model::update::{Update, UpdateRequest};
use model::{Host, InstanceId, JobConfiguration, JobKey, MaintenanceMode, Resources, Role, UpdateKey};

use crate::admin::AdminCommand;

/// A change a user asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// createJob.
    CreateJob(Box<JobConfiguration>),
    /// killTasks; no instances means all active ones.
    KillTasks {
        /// Job.
        job: JobKey,
        /// Which; empty means all.
        instances: BTreeSet<InstanceId>,
        /// Goes into the event.
        message: Option<String>,
    },
    /// restartShards.
    RestartTasks {
        /// Job.
        job: JobKey,
        /// Which; every one must be active.
        instances: BTreeSet<InstanceId>,
    },
    /// addInstances.
    AddInstances {
        /// Job.
        job: JobKey,
        /// Active instance whose configuration is copied.
        template: InstanceId,
        /// How many more.
        count: i32,
    },
    /// startJobUpdate.
    StartUpdate {
        /// What.
        request: Box<UpdateRequest>,
        /// Goes into the first event.
        message: Option<String>,
    },
    /// pauseJobUpdate, resumeJobUpdate, abortJobUpdate, rollbackJobUpdate.
    ControlUpdate {
        /// Which.
        key: UpdateKey,
        /// What.
        action: UpdateControl,
        /// Goes into the event.
        message: Option<String>,
    },
    /// pulseJobUpdate.
    PulseUpdate {
        /// Which.
        key: UpdateKey,
    },
    /// scheduleCronJob.
    ScheduleCronJob(Box<JobConfiguration>),
    /// replaceCronTemplate.
    ReplaceCronTemplate(Box<JobConfiguration>),
    /// descheduleCronJob.
    DescheduleCronJob {
        /// Job.
        job: JobKey,
    },
    /// startCronJob.
    StartCronJob {
        /// Job.
        job: JobKey,
    },
    /// setQuota.
    SetQuota {
        /// Whose.
        role: Role,
        /// CPU, memory and disk; the other kinds are not looked at.
        quota: Resources,
    },
    /// startMaintenance, drainHosts, slaDrainHosts, endMaintenance. Hosts that are not known are passed over.
    Maintenance(MaintenanceCommand),
    /// What only operators ask for.
    Admin(AdminCommand),
}

/// What may be asked of hosts.
#[derive(Clone, Debug, PartialEq)]
pub enum MaintenanceCommand {
    /// Announces maintenance.
    Start {
        /// Which.
        hosts: Vec<Host>,
    },
    /// Moves all tasks away; only policies of the tasks' own are asked, and only once.
    Drain {
        /// Which.
        hosts: Vec<Host>,
    },
    /// Moves all tasks away as policies allow.
    SlaDrain {
        /// Which.
        hosts: Vec<Host>,
        /// For tasks without a policy of their own.
        default_policy: SlaPolicy,
        /// After so many seconds the rest goes, whatever the policies say.
        timeout_secs: i64,
    },
    /// Ends maintenance: hosts take tasks again.
    End {
        /// Which.
        hosts: Vec<Host>,
    },
}

impl MaintenanceCommand {
    /// Which hosts are meant.
    pub fn hosts(&self) -> &[Host] {
        match self {
            Self::Start { hosts } | Self::Drain { hosts } | Self::SlaDrain { hosts, .. } | Self::End { hosts } => hosts,
        }
    }
}

/// What may be asked of a running update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateControl {
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
    /// Stop for good, leaving tasks as they are.
    Abort,
    /// Go back to what was before.
    Rollback,
}

/// Code of an answer; the number is Aurora's response code (spec scheduler 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ReplyCode {
    /// The request is wrong; nothing changed.
    InvalidRequest = 0,
    /// Done.
    Ok = 1,
    /// Failed inside; nothing changed.
    Error = 2,
    /// The principal may not do this.
    AuthFailed = 4,
    /// The job has an active update.
    JobUpdatingError = 5,
    /// Not now, or outcome unknown: ask again.
    ErrorTransient = 6,
}

/// What an answer carries besides its code.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing.
    None,
    /// Tasks created, killed or restarted.
    Tasks(u32),
    /// Maintenance modes of those of the named hosts that are known, in order.
    Hosts(Vec<(Host, MaintenanceMode)>),
    /// The update started, or the one already in progress.
    Update(Box<Update>),
    /// The idempotency key of the request is that of another one: nothing was looked at.
    KeyOfAnother,
    /// Whether a pulsed update is still active and coordinated.
    Pulse {
        /// True: OK, false: FINISHED.
        active: bool,
    },
}

/// An answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// How it went.
    pub code: ReplyCode,
    /// For people; one sentence each.
    pub messages: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Reply {
    /// Done, nothing to add.
    pub fn ok() -> Self {
        Self { code: ReplyCode::Ok, messages: Vec::new(), outcome: Outcome::None }
    }

    /// Refused or failed, with the reason.
    pub fn refused(code: ReplyCode, message: impl Into<String>) -> Self {
        Self { code, messages: vec![message.into()], outcome: Outcome::None }
    }
}
