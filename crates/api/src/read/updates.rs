//! Updates as lists and in full (spec thrift-api 2.3, JobUpdateQuery, and 3.3).

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use model::JobKey;
use model::update::{Update, UpdateStatus};
use scheduler::View;
use thrift::{
    GetJobUpdateDetailsResult, GetJobUpdateSummariesResult, JobUpdateDetails, JobUpdateKey, JobUpdateQuery,
    JobUpdateSummary, ResponseCode, ResponseResult,
};

use crate::answer::{Answer, MethodResult, Refusal, given, given_update};

/// Matching updates, the latest changed first; `offset` skips, `limit` counts when positive.
fn select<'a>(view: &'a View, query: &JobUpdateQuery) -> Vec<&'a Arc<Update>> {
    let statuses: Option<BTreeSet<UpdateStatus>> = query
        .update_statuses
        .as_ref()
        .filter(|statuses| !statuses.is_empty())
        .map(|statuses| statuses.iter().map(|status| UpdateStatus::from(*status)).collect());
    let job = query.job_key.clone().map(JobKey::from);
    let key = query.key.clone().and_then(|key| Some((JobKey::from(key.job?), key.id)));
    // An update key without a job names no update.
    let names_nothing = query.key.is_some() && key.is_none();
    let matches = |update: &&Arc<Update>| {
        query.role.as_ref().is_none_or(|role| update.key.job.role == *role)
            && query.user.as_ref().is_none_or(|user| update.user == *user)
            && job.as_ref().is_none_or(|job| update.key.job == *job)
            && key.as_ref().is_none_or(|(job, id)| update.key.job == *job && update.key.id == *id)
            && statuses.as_ref().is_none_or(|statuses| statuses.contains(&update.status()))
    };
    let mut updates: Vec<&Arc<Update>> = match (names_nothing, &key, &job) {
        (true, ..) => Vec::new(),
        (_, Some((job, _)), _) | (_, None, Some(job)) => view.updates_of(job).into_iter().filter(matches).collect(),
        (_, None, None) => view.updates.values().filter(matches).collect(),
    };
    updates.sort_by_key(|update| Reverse(update.last_modified_ms()));
    let positive = |number: Option<i32>| number.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let offset = positive(query.offset).unwrap_or(0);
    updates.into_iter().skip(offset).take(positive(query.limit).unwrap_or(usize::MAX)).collect()
}

/// getJobUpdateSummaries.
pub fn summaries(view: &View, query: Option<JobUpdateQuery>) -> MethodResult<Answer> {
    let query = given(query, "jobUpdateQuery")?;
    let update_summaries = select(view, &query).into_iter().map(|update| JobUpdateSummary::from(&**update)).collect();
    Ok(Answer::ok(ResponseResult::GetJobUpdateSummaries(GetJobUpdateSummariesResult { update_summaries })))
}

/// getJobUpdateDetails: a query gives a list and wins over a key; a key alone gives one update and a word about its age.
pub fn details(view: &View, key: Option<JobUpdateKey>, query: Option<JobUpdateQuery>) -> MethodResult<Answer> {
    if let Some(query) = query {
        let list = select(view, &query).into_iter().map(|update| JobUpdateDetails::from(&**update)).collect();
        let result = GetJobUpdateDetailsResult { details: None, details_list: Some(list) };
        return Ok(Answer::ok(ResponseResult::GetJobUpdateDetails(result)));
    }
    let key = given_update(key, "query")?;
    let update = view
        .updates
        .get(&key)
        .ok_or_else(|| Refusal::invalid(format!("There is no update {} of job {}.", key.id, key.job)))?;
    let result = GetJobUpdateDetailsResult { details: Some(JobUpdateDetails::from(&**update)), details_list: None };
    let notice = "Asking by key alone is deprecated; ask by query.".to_owned();
    Ok(Answer::of(ResponseCode::Ok, Some(ResponseResult::GetJobUpdateDetails(result)), vec![notice]))
}
