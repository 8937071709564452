//! `update info` (spec client-cli 2.14). Scripts take the last word of the line "Current status".

use serde_json::{Map, Value, json};
use thrift::{
    GetJobUpdateDetailsArguments, JobUpdateAction, JobUpdateDetails, JobUpdateKey, JobUpdateQuery, JobUpdateStatus,
    JobUpdateSummary, ResponseResult,
};

use super::Context;
use super::arguments::UpdateInfoArguments;
use super::status::{pretty, utc_time};
use super::update::{active_states, find_one, key_of, status_of};
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::{missing_result, wire_key};
use crate::syntax::ClusterJob;

/// `update info JOB [ID]`.
pub fn info(arguments: &UpdateInfoArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => match find_one(&key.job, active_states(), &mut scheduler, context)? {
            Some(summary) => key_of(&summary).id,
            None => {
                let text = "There is no active update for this job.";
                return Err(Failure::new(Exit::InvalidParameter, text));
            }
        },
    };
    let update = JobUpdateKey { job: Some(wire_key(&key.job)), id: id.clone() };
    let query = JobUpdateQuery { key: Some(update.clone()), ..JobUpdateQuery::default() };
    let call = GetJobUpdateDetailsArguments { key: Some(update), query: Some(query) };
    let reply = scheduler
        .call_quietly(call, &mut context.console)
        .map_err(|error| error.failure("Could not read the update:", Exit::ApiError))?;
    let Some(ResponseResult::GetJobUpdateDetails(result)) = reply.result else {
        return Err(missing_result("getJobUpdateDetails"));
    };
    let Some(details) = result.details_list.into_iter().flatten().next().or(result.details) else {
        return Err(Failure::new(Exit::InvalidParameter, format!("Job {key} has no update {id}.")));
    };
    if arguments.write_json || context.console.is_json() {
        context.console.out(pretty(&json_form(&details, key)));
    } else {
        context.console.out(text_form(&details, key));
    }
    Ok(())
}

fn summary_of(details: &JobUpdateDetails) -> JobUpdateSummary {
    details.update.as_ref().and_then(|update| update.summary.clone()).unwrap_or_default()
}

fn name(status: Option<JobUpdateStatus>) -> &'static str {
    status.unwrap_or(JobUpdateStatus::Error).name()
}

fn action_name(action: Option<JobUpdateAction>) -> &'static str {
    action.map_or("UNKNOWN", JobUpdateAction::name)
}

/// Key and value of the update's metadata, sorted.
fn metadata(summary: &JobUpdateSummary) -> Vec<(String, String)> {
    let pairs = summary.metadata.as_deref().unwrap_or_default();
    let mut pairs: Vec<(String, String)> = pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    pairs.sort();
    pairs
}

fn text_form(details: &JobUpdateDetails, key: &ClusterJob) -> String {
    let summary = summary_of(details);
    let state = summary.state.clone().unwrap_or_default();
    let mut lines = vec![
        format!("Job: {key}, UpdateID: {}", key_of(&summary).id),
        format!(
            "Started {}, last activity: {}",
            utc_time(state.created_timestamp_ms),
            utc_time(state.last_modified_timestamp_ms)
        ),
        format!("Current status: {}", status_of(&summary)),
    ];
    if !details.update_events.is_empty() {
        lines.push("Update events:".into());
        for event in &details.update_events {
            lines.push(format!("  Status: {} at {}", name(event.status), utc_time(event.timestamp_ms)));
            if let Some(message) = event.message.as_deref().filter(|message| !message.is_empty()) {
                lines.push(format!("      message: {message}"));
            }
        }
    }
    if !details.instance_events.is_empty() {
        lines.push("Instance events:".into());
        for event in &details.instance_events {
            let (instance, time) = (event.instance_id, utc_time(event.timestamp_ms));
            lines.push(format!("  Instance {instance} at {time}: {}", action_name(event.action)));
            // Kills that wait for an SLA policy say so.
            if let Some(message) = event.message.as_deref().filter(|message| !message.is_empty()) {
                lines.push(format!("      message: {message}"));
            }
        }
    }
    let pairs = metadata(&summary);
    if !pairs.is_empty() {
        lines.push("Metadata:".into());
        lines.extend(pairs.iter().map(|(key, value)| format!("  {key}: {value}")));
    }
    lines.join("\n")
}

fn json_form(details: &JobUpdateDetails, key: &ClusterJob) -> Value {
    let summary = summary_of(details);
    let state = summary.state.clone().unwrap_or_default();
    let update_events: Vec<Value> = details
        .update_events
        .iter()
        .map(|event| {
            let mut fields = Map::new();
            fields.insert("status".into(), name(event.status).into());
            fields.insert("timestampMs".into(), event.timestamp_ms.into());
            if let Some(message) = &event.message {
                fields.insert("message".into(), message.as_str().into());
            }
            Value::Object(fields)
        })
        .collect();
    let instance_events: Vec<Value> = details
        .instance_events
        .iter()
        .map(|event| {
            json!({
                "instance": event.instance_id,
                "timestamp": event.timestamp_ms,
                "action": action_name(event.action),
            })
        })
        .collect();
    let mut document = json!({
        "updateId": key_of(&summary).id,
        "job": key.to_string(),
        "started": state.created_timestamp_ms,
        "last_modified": utc_time(state.last_modified_timestamp_ms),
        "status": status_of(&summary).name(),
        "update_events": update_events,
        "instance_update_events": instance_events,
    });
    let pairs = metadata(&summary);
    if !pairs.is_empty() {
        let pairs: Vec<Value> = pairs.into_iter().map(|(key, value)| json!({ key: value })).collect();
        document["metadata"] = Value::Array(pairs);
    }
    document
}
