//! Enums: the same constants with the same numbers on both sides.

use model::update::{UpdateAction, UpdateStatus};
use model::{CronCollisionPolicy as ModelCollisionPolicy, MaintenanceMode as ModelMaintenanceMode, TaskStatus};

use crate::schema::{CronCollisionPolicy, JobUpdateAction, JobUpdateStatus, MaintenanceMode, ScheduleStatus};

macro_rules! same_constants {
    ($Model:ident, $Wire:ident: $($Constant:ident)*) => {
        impl From<$Model> for $Wire {
            fn from(value: $Model) -> $Wire {
                match value { $($Model::$Constant => $Wire::$Constant),* }
            }
        }

        impl From<$Wire> for $Model {
            fn from(value: $Wire) -> $Model {
                match value { $($Wire::$Constant => $Model::$Constant),* }
            }
        }
    };
}

same_constants!(TaskStatus, ScheduleStatus:
    Init Throttled Pending Assigned Starting Running Finished Preempting Restarting Draining Failed Killed Killing Lost Partitioned);
same_constants!(UpdateStatus, JobUpdateStatus:
    RollingForward RollingBack RollForwardPaused RollBackPaused RolledForward RolledBack Aborted Error Failed
    RollForwardAwaitingPulse RollBackAwaitingPulse);
same_constants!(UpdateAction, JobUpdateAction:
    InstanceUpdated InstanceRolledBack InstanceUpdating InstanceRollingBack InstanceUpdateFailed InstanceRollbackFailed);
same_constants!(ModelMaintenanceMode, MaintenanceMode: None Scheduled Draining Drained);
same_constants!(ModelCollisionPolicy, CronCollisionPolicy: KillExisting CancelNew RunOverlap);
