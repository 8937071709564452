//! Enums and the sets of states clients know by name (spec thrift-api 2.1 and 2.2).

thrift_enum! {
    /// How a call ended.
    pub enum ResponseCode {
        InvalidRequest = 0, Ok = 1, Error = 2, Warning = 3, AuthFailed = 4, JobUpdatingError = 5, ErrorTransient = 6,
    }
    /// Whether a host takes part in scheduling.
    pub enum MaintenanceMode { None = 1, Scheduled = 2, Draining = 3, Drained = 4 }
    /// How a volume is mounted.
    pub enum Mode { Rw = 1, Ro = 2 }
    /// What happens when a cron run is due while the last one still runs.
    pub enum CronCollisionPolicy { KillExisting = 0, CancelNew = 1, RunOverlap = 2 }
    /// The state of a task.
    pub enum ScheduleStatus {
        Init = 11, Throttled = 16, Pending = 0, Assigned = 9, Starting = 1, Running = 2, Finished = 3, Preempting = 13,
        Restarting = 12, Draining = 17, Failed = 4, Killed = 5, Killing = 6, Lost = 7, Partitioned = 18,
    }
    /// The state of a job update.
    pub enum JobUpdateStatus {
        RollingForward = 0, RollingBack = 1, RollForwardPaused = 2, RollBackPaused = 3, RolledForward = 4, RolledBack = 5,
        Aborted = 6, Error = 7, Failed = 8, RollForwardAwaitingPulse = 9, RollBackAwaitingPulse = 10,
    }
    /// What an update did to one instance.
    pub enum JobUpdateAction {
        InstanceUpdated = 1, InstanceRolledBack = 2, InstanceUpdating = 3, InstanceRollingBack = 4,
        InstanceUpdateFailed = 5, InstanceRollbackFailed = 6,
    }
    /// The answer to a pulse.
    pub enum JobUpdatePulseStatus { Ok = 1, Finished = 2 }
}

/// States of tasks that still count as instances of their job.
pub const ACTIVE_STATES: &[ScheduleStatus] = &[
    ScheduleStatus::Assigned,
    ScheduleStatus::Draining,
    ScheduleStatus::Killing,
    ScheduleStatus::Pending,
    ScheduleStatus::Preempting,
    ScheduleStatus::Restarting,
    ScheduleStatus::Running,
    ScheduleStatus::Starting,
    ScheduleStatus::Partitioned,
    ScheduleStatus::Throttled,
];

/// States of tasks that hold resources of an agent.
pub const SLAVE_ASSIGNED_STATES: &[ScheduleStatus] = &[
    ScheduleStatus::Assigned,
    ScheduleStatus::Draining,
    ScheduleStatus::Killing,
    ScheduleStatus::Preempting,
    ScheduleStatus::Restarting,
    ScheduleStatus::Running,
    ScheduleStatus::Partitioned,
    ScheduleStatus::Starting,
];

/// States of tasks whose processes run; killing ones included.
pub const LIVE_STATES: &[ScheduleStatus] = &[
    ScheduleStatus::Killing,
    ScheduleStatus::Preempting,
    ScheduleStatus::Restarting,
    ScheduleStatus::Draining,
    ScheduleStatus::Partitioned,
    ScheduleStatus::Running,
];

/// States that are final.
pub const TERMINAL_STATES: &[ScheduleStatus] =
    &[ScheduleStatus::Failed, ScheduleStatus::Finished, ScheduleStatus::Killed, ScheduleStatus::Lost];

/// States of updates that are not over.
pub const ACTIVE_JOB_UPDATE_STATES: &[JobUpdateStatus] = &[
    JobUpdateStatus::RollingForward,
    JobUpdateStatus::RollingBack,
    JobUpdateStatus::RollForwardPaused,
    JobUpdateStatus::RollBackPaused,
    JobUpdateStatus::RollForwardAwaitingPulse,
    JobUpdateStatus::RollBackAwaitingPulse,
];

/// States of updates that wait for a pulse.
pub const AWAITING_PULSE_JOB_UPDATE_STATES: &[JobUpdateStatus] =
    &[JobUpdateStatus::RollForwardAwaitingPulse, JobUpdateStatus::RollBackAwaitingPulse];

/// States of updates that are over.
pub const TERMINAL_JOB_UPDATE_STATES: &[JobUpdateStatus] = &[
    JobUpdateStatus::RolledForward,
    JobUpdateStatus::RolledBack,
    JobUpdateStatus::Aborted,
    JobUpdateStatus::Error,
    JobUpdateStatus::Failed,
];
