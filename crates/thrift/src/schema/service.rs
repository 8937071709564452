//! The methods of the three services and their arguments (spec thrift-api 2.5). Every method answers with a `Response`.

use super::{
    ExplicitReconciliationSettings, Hosts, InstanceKey, JobConfiguration, JobKey, JobUpdateKey, JobUpdateQuery,
    JobUpdateRequest, ResourceAggregate, ScheduleStatus, SlaPolicy, TaskQuery,
};
use crate::wire::Set;

/// The service that declares a method; each inherits from the one before, one address serves all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Questions anybody may ask.
    ReadOnlyScheduler,
    /// What changes a job.
    AuroraSchedulerManager,
    /// What changes the cluster.
    AuroraAdmin,
}

thrift_service! {
    ReadOnlyScheduler get_role_summary GetRoleSummary(GetRoleSummaryArguments) {}
    ReadOnlyScheduler get_tier_configs GetTierConfigs(GetTierConfigsArguments) {}
    ReadOnlyScheduler get_job_summary GetJobSummary(GetJobSummaryArguments) { 1 role: Option<String> }
    ReadOnlyScheduler get_tasks_status GetTasksStatus(GetTasksStatusArguments) { 1 query: Option<TaskQuery> }
    ReadOnlyScheduler get_tasks_without_configs GetTasksWithoutConfigs(GetTasksWithoutConfigsArguments) {
        1 query: Option<TaskQuery>,
    }
    ReadOnlyScheduler get_pending_reason GetPendingReason(GetPendingReasonArguments) { 1 query: Option<TaskQuery> }
    ReadOnlyScheduler get_config_summary GetConfigSummary(GetConfigSummaryArguments) { 1 job: Option<JobKey> }
    ReadOnlyScheduler get_jobs GetJobs(GetJobsArguments) { 1 owner_role: Option<String> }
    ReadOnlyScheduler get_quota GetQuota(GetQuotaArguments) { 1 owner_role: Option<String> }
    ReadOnlyScheduler populate_job_config PopulateJobConfig(PopulateJobConfigArguments) {
        1 description: Option<JobConfiguration>,
    }
    ReadOnlyScheduler get_job_update_summaries GetJobUpdateSummaries(GetJobUpdateSummariesArguments) {
        1 job_update_query: Option<JobUpdateQuery>,
    }
    ReadOnlyScheduler get_job_update_details GetJobUpdateDetails(GetJobUpdateDetailsArguments) {
        1 key: Option<JobUpdateKey>,
        2 query: Option<JobUpdateQuery>,
    }
    ReadOnlyScheduler get_job_update_diff GetJobUpdateDiff(GetJobUpdateDiffArguments) {
        1 request: Option<JobUpdateRequest>,
    }
    AuroraSchedulerManager create_job CreateJob(CreateJobArguments) { 1 description: Option<JobConfiguration> }
    AuroraSchedulerManager schedule_cron_job ScheduleCronJob(ScheduleCronJobArguments) {
        1 description: Option<JobConfiguration>,
    }
    AuroraSchedulerManager deschedule_cron_job DescheduleCronJob(DescheduleCronJobArguments) { 4 job: Option<JobKey> }
    AuroraSchedulerManager start_cron_job StartCronJob(StartCronJobArguments) { 4 job: Option<JobKey> }
    AuroraSchedulerManager restart_shards RestartShards(RestartShardsArguments) {
        5 job: Option<JobKey>,
        3 shard_ids: Option<Set<i32>>,
    }
    AuroraSchedulerManager kill_tasks KillTasks(KillTasksArguments) {
        4 job: Option<JobKey>,
        5 instances: Option<Set<i32>>,
        6 message: Option<String>,
    }
    AuroraSchedulerManager add_instances AddInstances(AddInstancesArguments) {
        3 key: Option<InstanceKey>,
        4 count: i32,
    }
    AuroraSchedulerManager replace_cron_template ReplaceCronTemplate(ReplaceCronTemplateArguments) {
        1 config: Option<JobConfiguration>,
    }
    AuroraSchedulerManager start_job_update StartJobUpdate(StartJobUpdateArguments) {
        1 request: Option<JobUpdateRequest>,
        3 message: Option<String>,
    }
    AuroraSchedulerManager pause_job_update PauseJobUpdate(PauseJobUpdateArguments) {
        1 key: Option<JobUpdateKey>,
        3 message: Option<String>,
    }
    AuroraSchedulerManager resume_job_update ResumeJobUpdate(ResumeJobUpdateArguments) {
        1 key: Option<JobUpdateKey>,
        3 message: Option<String>,
    }
    AuroraSchedulerManager abort_job_update AbortJobUpdate(AbortJobUpdateArguments) {
        1 key: Option<JobUpdateKey>,
        3 message: Option<String>,
    }
    AuroraSchedulerManager rollback_job_update RollbackJobUpdate(RollbackJobUpdateArguments) {
        1 key: Option<JobUpdateKey>,
        2 message: Option<String>,
    }
    AuroraSchedulerManager pulse_job_update PulseJobUpdate(PulseJobUpdateArguments) { 1 key: Option<JobUpdateKey> }
    AuroraAdmin set_quota SetQuota(SetQuotaArguments) {
        1 owner_role: Option<String>,
        2 quota: Option<ResourceAggregate>,
    }
    AuroraAdmin force_task_state ForceTaskState(ForceTaskStateArguments) {
        1 task_id: Option<String>,
        2 status: Option<ScheduleStatus>,
    }
    AuroraAdmin perform_backup PerformBackup(PerformBackupArguments) {}
    AuroraAdmin list_backups ListBackups(ListBackupsArguments) {}
    // The argument is ours; who does not send it keeps the tasks that were created after the backup.
    AuroraAdmin commit_recovery CommitRecovery(CommitRecoveryArguments) { 1 kill_later_tasks: Option<bool> }
    AuroraAdmin unload_recovery UnloadRecovery(UnloadRecoveryArguments) {}
    AuroraAdmin snapshot Snapshot(SnapshotArguments) {}
    AuroraAdmin trigger_implicit_task_reconciliation TriggerImplicitTaskReconciliation(TriggerImplicitTaskReconciliationArguments) {}
    AuroraAdmin stage_recovery StageRecovery(StageRecoveryArguments) { 1 backup_id: Option<String> }
    AuroraAdmin query_recovery QueryRecovery(QueryRecoveryArguments) { 1 query: Option<TaskQuery> }
    AuroraAdmin delete_recovery_tasks DeleteRecoveryTasks(DeleteRecoveryTasksArguments) { 1 query: Option<TaskQuery> }
    AuroraAdmin prune_tasks PruneTasks(PruneTasksArguments) { 1 query: Option<TaskQuery> }
    AuroraAdmin start_maintenance StartMaintenance(StartMaintenanceArguments) { 1 hosts: Option<Hosts> }
    AuroraAdmin drain_hosts DrainHosts(DrainHostsArguments) { 1 hosts: Option<Hosts> }
    AuroraAdmin maintenance_status MaintenanceStatus(MaintenanceStatusArguments) { 1 hosts: Option<Hosts> }
    AuroraAdmin end_maintenance EndMaintenance(EndMaintenanceArguments) { 1 hosts: Option<Hosts> }
    AuroraAdmin sla_drain_hosts SlaDrainHosts(SlaDrainHostsArguments) {
        1 hosts: Option<Hosts>,
        2 default_sla_policy: Option<SlaPolicy>,
        3 timeout_secs: i64,
    }
    AuroraAdmin trigger_explicit_task_reconciliation TriggerExplicitTaskReconciliation(TriggerExplicitTaskReconciliationArguments) {
        1 settings: Option<ExplicitReconciliationSettings>,
    }
}
