//! `update list` (spec client-cli 2.13). Scripts cut its columns: field 2 is the id, field 3 the status.

use serde_json::{Value, json};
use thrift::{ACTIVE_JOB_UPDATE_STATES, JobUpdateQuery, JobUpdateStatus, JobUpdateSummary, Set};

use super::Context;
use super::arguments::UpdateListArguments;
use super::status::{pretty, utc_time};
use super::update::{key_of, status_of};
use crate::exit::Outcome;
use crate::scheduler::{model_key, wire_key};

/// What `--status` takes: groups, then states.
pub const STATUS_NAMES: [&str; 18] = [
    "active",
    "all",
    "blocked",
    "failed",
    "inactive",
    "paused",
    "succeeded",
    "ROLLING_FORWARD",
    "ROLLING_BACK",
    "ROLL_FORWARD_PAUSED",
    "ROLL_BACK_PAUSED",
    "ROLLED_FORWARD",
    "ROLLED_BACK",
    "ABORTED",
    "ERROR",
    "FAILED",
    "ROLL_FORWARD_AWAITING_PULSE",
    "ROLL_BACK_AWAITING_PULSE",
];

/// The states that a name of `--status` stands for.
pub fn states_of(name: &str) -> Vec<JobUpdateStatus> {
    use JobUpdateStatus as S;
    let is_active = |status: &S| ACTIVE_JOB_UPDATE_STATES.contains(status);
    let all = S::ALL.iter().copied();
    match name {
        "active" => all.filter(is_active).collect(),
        "all" => all.collect(),
        "inactive" => all.filter(|status| !is_active(status)).collect(),
        "blocked" => vec![S::RollForwardAwaitingPulse, S::RollBackAwaitingPulse],
        "failed" => vec![S::Error, S::Failed, S::RolledBack],
        "paused" => vec![S::RollForwardPaused, S::RollBackPaused],
        "succeeded" => vec![S::RolledForward],
        state => S::from_name(state).into_iter().collect(),
    }
}

/// `update list FILTER`.
pub fn list(arguments: &UpdateListArguments, context: &mut Context<'_>) -> Outcome {
    let filter = &arguments.filter;
    let mut scheduler = context.scheduler(&filter.cluster)?;
    let mut states: Vec<JobUpdateStatus> = arguments.status.iter().flat_map(|name| states_of(name)).collect();
    states.sort_unstable();
    states.dedup();
    let job = match (&filter.role, &filter.environment, &filter.name) {
        (Some(role), Some(environment), Some(name)) => Some(model::JobKey::new(role, environment, name)),
        _ => None,
    };
    let query = JobUpdateQuery {
        role: filter.role.clone().filter(|_| job.is_none()),
        job_key: job.as_ref().map(wire_key),
        user: arguments.user.clone(),
        update_statuses: (!states.is_empty()).then_some(Set(states)),
        ..JobUpdateQuery::default()
    };
    let mut updates = scheduler.updates(query, &mut context.console)?;
    // The query knows no environment.
    if let Some(environment) = &filter.environment {
        updates.retain(|update| model_key(key_of(update).job.as_ref()).environment == *environment);
    }
    if arguments.write_json || context.console.is_json() {
        let rows: Vec<Value> = updates.iter().map(|update| Row::of(update, &filter.cluster).json()).collect();
        context.console.out(pretty(&Value::Array(rows)));
    } else if !updates.is_empty() {
        context.console.out(line(["JOB", "UPDATE ID", "STATUS", "CREATED BY", "STARTED", "LAST MODIFIED"]));
        for update in &updates {
            context.console.out(Row::of(update, &filter.cluster).text());
        }
    }
    Ok(())
}

/// Widths 47, 36, 15, 11, 19, 19, joined by one blank; longer values overflow.
fn line(cells: [&str; 6]) -> String {
    let [job, id, status, user, started, modified] = cells;
    format!("{job:<47} {id:<36} {status:<15} {user:<11} {started:<19} {modified:<19}")
}

struct Row {
    job: String,
    id: String,
    status: &'static str,
    user: String,
    started: String,
    modified: String,
}

impl Row {
    fn of(update: &JobUpdateSummary, cluster: &str) -> Self {
        let key = key_of(update);
        let state = update.state.clone().unwrap_or_default();
        Self {
            job: format!("{cluster}/{}", model_key(key.job.as_ref())),
            id: key.id,
            status: status_of(update).name(),
            user: update.user.clone().unwrap_or_default(),
            started: utc_time(state.created_timestamp_ms),
            modified: utc_time(state.last_modified_timestamp_ms),
        }
    }

    fn text(&self) -> String {
        line([&self.job, &self.id, self.status, &self.user, &self.started, &self.modified])
    }

    fn json(&self) -> Value {
        json!({
            "job": self.job,
            "id": self.id,
            "user": self.user,
            "started": self.started,
            "last_modified": self.modified,
            "status": self.status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_states() {
        let names = |group: &str| states_of(group).into_iter().map(JobUpdateStatus::name).collect::<Vec<_>>();
        assert_eq!(names("active").len(), 6);
        assert_eq!(names("inactive"), ["ROLLED_FORWARD", "ROLLED_BACK", "ABORTED", "ERROR", "FAILED"]);
        assert_eq!(names("failed"), ["ERROR", "FAILED", "ROLLED_BACK"]);
        assert_eq!(names("succeeded"), ["ROLLED_FORWARD"]);
        assert_eq!(names("all").len(), 11);
        assert!(STATUS_NAMES.iter().all(|name| !states_of(name).is_empty()), "every name stands for something");
    }
}
