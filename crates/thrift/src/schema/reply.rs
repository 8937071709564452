//! What methods answer: the one response and the results inside it (spec thrift-api 2.3 and 2.4).

use std::collections::BTreeMap;

use super::{
    ConfigGroup, ConfigSummary, HostStatus, JobConfiguration, JobStats, JobUpdateDetails, JobUpdateKey,
    JobUpdatePulseStatus, JobUpdateSummary, PendingReason, ResourceAggregate, ResponseCode, ScheduledTask, TaskConfig,
};
use crate::wire::Set;

thrift_struct! {
    /// A sentence for people.
    pub struct ResponseDetail { 1 message: Option<String> }
    /// Which cluster answers.
    pub struct ServerInfo { 1 cluster_name: String, 3 stats_url_prefix: String }
    /// The answer to every method.
    pub struct Response {
        1 response_code: Option<ResponseCode>,
        3 result: Option<ResponseResult>,
        5 server_info: Option<ServerInfo>,
        6 details: Vec<ResponseDetail>,
    }
    pub struct PopulateJobResult { 2 task_config: Option<TaskConfig> }
    pub struct ScheduleStatusResult { 1 tasks: Vec<ScheduledTask> }
    pub struct GetJobsResult { 1 configs: Set<JobConfiguration> }
    /// A role's quota and what is used of it.
    pub struct GetQuotaResult {
        1 quota: Option<ResourceAggregate>,
        2 prod_shared_consumption: Option<ResourceAggregate>,
        3 non_prod_shared_consumption: Option<ResourceAggregate>,
        4 prod_dedicated_consumption: Option<ResourceAggregate>,
        5 non_prod_dedicated_consumption: Option<ResourceAggregate>,
    }
    pub struct ListBackupsResult { 1 backups: Set<String> }
    pub struct StartMaintenanceResult { 1 statuses: Set<HostStatus> }
    pub struct DrainHostsResult { 1 statuses: Set<HostStatus> }
    pub struct QueryRecoveryResult { 1 tasks: Set<ScheduledTask> }
    pub struct MaintenanceStatusResult { 1 statuses: Set<HostStatus> }
    pub struct EndMaintenanceResult { 1 statuses: Set<HostStatus> }
    /// How many jobs a role has.
    pub struct RoleSummary { 1 role: String, 2 job_count: i32, 3 cron_job_count: i32 }
    pub struct RoleSummaryResult { 1 summaries: Set<RoleSummary> }
    /// A job with the counts of its tasks.
    pub struct JobSummary {
        1 job: Option<JobConfiguration>,
        2 stats: Option<JobStats>,
        3 next_cron_run_ms: Option<i64>,
    }
    pub struct JobSummaryResult { 1 summaries: Set<JobSummary> }
    pub struct ConfigSummaryResult { 1 summary: Option<ConfigSummary> }
    pub struct GetPendingReasonResult { 1 reasons: Set<PendingReason> }
    pub struct StartJobUpdateResult { 1 key: Option<JobUpdateKey>, 2 update_summary: Option<JobUpdateSummary> }
    pub struct GetJobUpdateSummariesResult { 1 update_summaries: Vec<JobUpdateSummary> }
    /// One of the two, depending on how the question was put.
    pub struct GetJobUpdateDetailsResult {
        1 details: Option<JobUpdateDetails>,
        2 details_list: Option<Vec<JobUpdateDetails>>,
    }
    pub struct PulseJobUpdateResult { 1 status: Option<JobUpdatePulseStatus> }
    /// What an update would do, by configuration.
    pub struct GetJobUpdateDiffResult {
        1 add: Set<ConfigGroup>,
        2 remove: Set<ConfigGroup>,
        3 update: Set<ConfigGroup>,
        4 unchanged: Set<ConfigGroup>,
    }
    /// A tier and its settings, `true` or `false` in words.
    pub struct TierConfig { 1 name: String, 2 settings: BTreeMap<String, String> }
    pub struct GetTierConfigResult { 1 default_tier_name: String, 2 tiers: Set<TierConfig> }
}

thrift_union! {
    /// The result of a method that has one. Numbers 2, 12 to 16 and 19 are retired.
    // One of these exists per reply; a box would buy nothing.
    #[allow(clippy::large_enum_variant)]
    pub enum ResponseResult {
        1 populate_job_result PopulateJob(PopulateJobResult),
        3 schedule_status_result ScheduleStatus(ScheduleStatusResult),
        4 get_jobs_result GetJobs(GetJobsResult),
        5 get_quota_result GetQuota(GetQuotaResult),
        6 list_backups_result ListBackups(ListBackupsResult),
        7 start_maintenance_result StartMaintenance(StartMaintenanceResult),
        8 drain_hosts_result DrainHosts(DrainHostsResult),
        9 query_recovery_result QueryRecovery(QueryRecoveryResult),
        10 maintenance_status_result MaintenanceStatus(MaintenanceStatusResult),
        11 end_maintenance_result EndMaintenance(EndMaintenanceResult),
        17 role_summary_result RoleSummary(RoleSummaryResult),
        18 job_summary_result JobSummary(JobSummaryResult),
        20 config_summary_result ConfigSummary(ConfigSummaryResult),
        21 get_pending_reason_result GetPendingReason(GetPendingReasonResult),
        22 start_job_update_result StartJobUpdate(StartJobUpdateResult),
        23 get_job_update_summaries_result GetJobUpdateSummaries(GetJobUpdateSummariesResult),
        24 get_job_update_details_result GetJobUpdateDetails(GetJobUpdateDetailsResult),
        25 pulse_job_update_result PulseJobUpdate(PulseJobUpdateResult),
        26 get_job_update_diff_result GetJobUpdateDiff(GetJobUpdateDiffResult),
        27 get_tier_config_result GetTierConfig(GetTierConfigResult),
    }
}
