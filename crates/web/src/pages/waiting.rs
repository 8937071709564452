//! `/pending`: every job with pending instances, with what keeps them waiting; those that wait longest come first.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{JobKey, TaskStatus};
use scheduler::Task;
use serde::Deserialize;

use super::job::{PendingBox, pending_boxes};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Frame};
use crate::state::WebState;
use crate::tally::Paging;
use crate::words;

/// Jobs on one page.
const JOBS_PER_PAGE: usize = 30;

struct WaitingJob {
    name: String,
    href: String,
    count: String,
    pending: Vec<PendingBox>,
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct Page {
    summary: String,
    jobs: Vec<WaitingJob>,
    paging: Paging,
}

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// From 1.
    #[serde(default)]
    pub page: usize,
}

/// `/pending`.
pub async fn list(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let mut by_job: BTreeMap<&JobKey, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.status == TaskStatus::Pending) {
        by_job.entry(&task.config.job).or_default().push(task);
    }
    let tasks: usize = by_job.values().map(Vec::len).sum();
    let mut jobs: Vec<(&JobKey, Vec<&Arc<Task>>)> = by_job.into_iter().collect();
    jobs.sort_by_key(|(_, tasks)| tasks.iter().map(|task| task.last_event_ms()).min());
    let paging = Paging::new(jobs.len(), JOBS_PER_PAGE, wanted.page, |page| format!("/pending?page={page}"));
    let shown = jobs[paging.first..paging.end].iter().map(|(key, tasks)| WaitingJob {
        name: key.to_string(),
        href: link::job(key),
        count: words::plural(tasks.len() as u64, "instance waits", "instances wait"),
        pending: pending_boxes(&view, tasks, now_ms),
    });
    let page = Page {
        summary: format!(
            "{} of {}",
            words::plural(tasks as u64, "task", "tasks"),
            words::plural(jobs.len() as u64, "job", "jobs")
        ),
        jobs: shown.collect(),
        paging,
    };
    let frame = Frame {
        title: "Pending".into(),
        section: "pending",
        crumbs: Vec::new(),
        live: Scope::all().address(&view),
        wide: false,
    };
    page::show(&state, &headers, &frame, &page)
}
