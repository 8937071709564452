//! One module per page: from the view to what the template prints. Templates decide nothing but layout.

pub mod agents;
pub mod configuration;
pub mod cron;
pub mod job;
pub mod log;
pub mod logs;
pub mod maintenance;
pub mod offers;
pub mod quota;
pub mod role;
pub mod sandbox;
pub mod scheduler;
pub mod task;
pub mod task_row;
pub mod update;
mod update_instances;
mod uptime;
pub mod waiting;

use model::JobKey;
use serde::Deserialize;

use crate::link;
use crate::page::{Crumb, Frame, Problem};
use crate::state::WebState;

/// Parts of a job's address.
#[derive(Clone, Debug, Deserialize)]
pub struct JobPath {
    role: String,
    environment: String,
    job: String,
}

impl JobPath {
    /// The job's key.
    pub fn key(self) -> JobKey {
        JobKey::new(self.role, self.environment, self.job)
    }
}

/// The page for a job no one knows, with those of the same role that may be meant.
pub fn no_such_job(state: &WebState, key: &JobKey) -> Problem {
    let view = (state.view)();
    let mut suggestions: Vec<Crumb> = crate::tally::jobs_of(&view, &key.role, None)
        .take(8)
        .map(|known| Crumb { text: known.to_string(), href: link::job(known) })
        .collect();
    if suggestions.is_empty() {
        suggestions.push(Crumb { text: "All roles".into(), href: "/scheduler".into() });
    }
    Problem {
        heading: "No such job".into(),
        reason: format!(
            "{} knows no job {key}: it was never created, or its history has been removed. This page shows it as soon as it exists.",
            state.cluster
        ),
        suggestions,
        command: format!("{} job create {}/{key} FILE.aurora", aurora(state), state.cluster),
        crumbs: Frame::here(Frame::of_job(key)),
        live: crate::live::Scope::job(key).address(&view),
    }
}

/// The client as a command to paste: this executable, called as `aurora`.
pub fn aurora(state: &WebState) -> String {
    format!("{} aurora", crate::words::shell(&state.executable.to_string_lossy()))
}
