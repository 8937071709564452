//! Questions: answered from one frozen view, so that an answer never mixes two moments. Nothing here changes anything.

pub mod diff;
pub mod jobs;
pub mod query;
pub mod quota;
pub mod updates;

use std::collections::BTreeMap;

use model::validation::{AdmissionRules, admit_job};
use scheduler::View;
use thrift::{
    Call, GetPendingReasonArguments, GetPendingReasonResult, GetTierConfigResult, PendingReason, PopulateJobResult,
    ResponseResult, Set, TaskConfig, TaskQuery, TierConfig,
};

use crate::answer::{Answer, MethodResult, Refusal, given};

/// Answers a question; `None` when the call is no question this version knows.
pub fn answer(view: &View, rules: &AdmissionRules, call: Call) -> Option<MethodResult<Answer>> {
    let answer = match call {
        Call::GetRoleSummary(_) => Ok(jobs::role_summary(view)),
        Call::GetJobSummary(arguments) => Ok(jobs::job_summary(view, arguments.role.as_deref())),
        Call::GetJobs(arguments) => Ok(jobs::jobs(view, arguments.owner_role.as_deref())),
        Call::GetConfigSummary(arguments) => jobs::config_summary(view, arguments.job),
        Call::GetTasksStatus(arguments) => tasks(view, arguments.query, true),
        Call::GetTasksWithoutConfigs(arguments) => tasks(view, arguments.query, false),
        Call::GetPendingReason(arguments) => pending_reason(view, arguments),
        Call::GetQuota(arguments) => quota::quota(view, arguments.owner_role),
        Call::GetTierConfigs(_) => Ok(tier_configs(rules)),
        Call::PopulateJobConfig(arguments) => populate_job_config(rules, arguments.description),
        Call::GetJobUpdateSummaries(arguments) => updates::summaries(view, arguments.job_update_query),
        Call::GetJobUpdateDetails(arguments) => updates::details(view, arguments.key, arguments.query),
        Call::GetJobUpdateDiff(arguments) => diff::diff(view, rules, arguments.request),
        _ => return None,
    };
    Some(answer)
}

fn tasks(view: &View, query: Option<TaskQuery>, with_executor_data: bool) -> MethodResult<Answer> {
    let query = given(query, "query")?;
    Ok(Answer::Tasks { tasks: query::page(&query, query::select(view, &query)), with_executor_data })
}

fn pending_reason(view: &View, arguments: GetPendingReasonArguments) -> MethodResult<Answer> {
    let query = given(arguments.query, "query")?;
    let restricts = query.slave_hosts.as_ref().is_some_and(|hosts| !hosts.is_empty())
        || query.statuses.as_ref().is_some_and(|statuses| !statuses.is_empty());
    if restricts {
        return Err(Refusal::invalid(
            "Pending tasks have no host and one status: leave slaveHosts and statuses empty.",
        ));
    }
    let pending =
        query::select(view, &query).into_iter().filter(|task| task.status == model::TaskStatus::Pending).collect();
    let reasons = query::page(&query, pending)
        .into_iter()
        .map(|task| PendingReason {
            task_id: task.id.to_string(),
            reason: view.pending_reasons.get(&task.id).map(|reason| reason.nearest_fit.clone()).unwrap_or_default(),
        })
        .collect();
    Ok(Answer::ok(ResponseResult::GetPendingReason(GetPendingReasonResult { reasons })))
}

fn tier_configs(rules: &AdmissionRules) -> Answer {
    let tiers = rules.tiers.tiers.iter().map(|(name, tier)| TierConfig {
        name: name.clone(),
        settings: BTreeMap::from([
            ("preemptible".to_owned(), tier.preemptible.to_string()),
            ("revocable".to_owned(), tier.revocable.to_string()),
        ]),
    });
    Answer::ok(ResponseResult::GetTierConfig(GetTierConfigResult {
        default_tier_name: rules.tiers.default.clone(),
        tiers: Set(tiers.collect()),
    }))
}

fn populate_job_config(rules: &AdmissionRules, description: Option<thrift::JobConfiguration>) -> MethodResult<Answer> {
    let invalid = |reason: String| Refusal::invalid(format!("Invalid configuration: {reason}"));
    let job = model::JobConfiguration::try_from(given(description, "description")?).map_err(|e| invalid(e.0))?;
    let admitted = admit_job(job, rules).map_err(|refused| invalid(refused.0))?;
    let task_config = Some(TaskConfig::from(&admitted.task));
    Ok(Answer::ok(ResponseResult::PopulateJob(PopulateJobResult { task_config })))
}
