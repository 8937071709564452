//! `/scheduler/<role>` and `/scheduler/<role>/<environment>`: jobs by environment with counts per state.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use model::JobKey;
use scheduler::View;
use serde::Deserialize;

use super::cron;
use super::quota::{self, QuotaBox};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::tally::{self, JobTally, Paging, Tally};
use crate::words::{self, Markup};

/// Jobs on one page.
const JOBS_PER_PAGE: usize = 150;

/// A job with its counts.
struct JobRow {
    name: String,
    href: String,
    kind: &'static str,
    cron: Option<(String, Option<Markup>)>,
    badges: Vec<Markup>,
    bar: Markup,
    changed: Markup,
    update: Option<(Markup, String)>,
}

/// Jobs that stand together under a heading.
struct Group {
    label: String,
    href: String,
    jobs: Vec<JobRow>,
}

#[derive(Template)]
#[template(path = "role.html")]
struct Page {
    heading: String,
    summary: String,
    badges: Vec<Markup>,
    quota: Option<QuotaBox>,
    groups: Vec<Group>,
    search: String,
    address: String,
    is_one_environment: bool,
    has_search: bool,
    paging: Paging,
}

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// From 1.
    #[serde(default)]
    pub page: usize,
    /// Part of a job's name.
    #[serde(default)]
    pub q: String,
}

/// `/scheduler/<role>`.
pub async fn show_role(
    State(state): State<WebState>,
    Path(role): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    show(&state, &headers, &role, None, &wanted)
}

/// `/scheduler/<role>/<environment>`.
pub async fn show_environment(
    State(state): State<WebState>,
    Path((role, environment)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    show(&state, &headers, &role, Some(&environment), &wanted)
}

fn show(state: &WebState, headers: &HeaderMap, role: &str, environment: Option<&str>, wanted: &Wanted) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let mut crumbs = vec![Crumb { text: role.into(), href: link::role(role) }];
    if let Some(environment) = environment {
        crumbs.push(Crumb { text: environment.into(), href: link::environment(role, environment) });
    }
    let live = Scope::role(role, environment).address(&view);
    let jobs: Vec<JobTally> = tally::jobs_of(&view, role, environment).map(|key| tally::of_job(&view, key)).collect();
    if jobs.is_empty() {
        return nothing_here(state, role, environment, Frame::here(crumbs), live).answer(
            StatusCode::NOT_FOUND,
            state,
            headers,
        );
    }
    let mut all = Tally::default();
    for job in &jobs {
        all.merge(&job.tally);
    }
    let total = jobs.len();
    let search = wanted.q.trim().to_lowercase();
    let found: Vec<&JobTally> =
        jobs.iter().filter(|job| search.is_empty() || job.key.name.to_lowercase().contains(&search)).collect();
    let address = environment.map_or_else(|| link::role(role), |environment| link::environment(role, environment));
    let paging = Paging::new(found.len(), JOBS_PER_PAGE, wanted.page, |page| {
        format!("{address}?page={page}&q={}", link::part(&wanted.q))
    });
    let mut groups: Vec<Group> = Vec::new();
    for job in &found[paging.first..paging.end] {
        add(&mut groups, &job.key.environment, job_row(&view, job, now_ms), &job.key);
    }
    let frame = Frame { title: role.into(), section: "jobs", crumbs: Frame::here(crumbs), live, wide: false };
    let page = Page {
        heading: environment.map_or_else(|| role.to_owned(), |environment| format!("{role}/{environment}")),
        summary: words::plural(total as u64, "job", "jobs"),
        badges: all.badges(),
        quota: if environment.is_none() { quota::of_role(state, &view, role) } else { None },
        groups,
        search: wanted.q.clone(),
        address,
        is_one_environment: environment.is_some(),
        has_search: total > 12 || !search.is_empty(),
        paging,
    };
    page::show(state, headers, &frame, &page)
}

fn job_row(view: &View, job: &JobTally, now_ms: i64) -> JobRow {
    let update = view.active_update(&job.key);
    JobRow {
        name: job.key.name.clone(),
        href: link::job(&job.key),
        kind: match (view.cron_jobs.contains_key(&job.key), job.is_service) {
            (true, _) => "cron",
            (false, true) => "service",
            (false, false) => "batch",
        },
        cron: cron::short(view, &job.key, now_ms),
        badges: job.tally.badges(),
        bar: job.tally.bar(),
        changed: words::ago(job.changed_ms, now_ms),
        update: update
            .map(|update| (words::update_look(update.status()).badge(), link::update(&job.key, &update.key.id))),
    }
}

/// Puts a row under the heading `label`, a new one if the last is another.
fn add(groups: &mut Vec<Group>, label: &str, row: JobRow, key: &JobKey) {
    match groups.last_mut() {
        Some(group) if group.label == label => group.jobs.push(row),
        _ => groups.push(Group {
            label: label.into(),
            href: link::environment(&key.role, &key.environment),
            jobs: vec![row],
        }),
    }
}

/// `/scheduler?q=…`: jobs of all roles with every word of `q` in their key; the only one found is shown at once.
pub fn search(state: &WebState, headers: &HeaderMap, wanted: &Wanted) -> Response {
    let view = (state.view)();
    let words_wanted: Vec<String> = wanted.q.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let is_found = |key: &&JobKey| {
        let text = key.to_string().to_lowercase();
        words_wanted.iter().all(|word| text.contains(word))
    };
    let found: Vec<&JobKey> = tally::all_jobs(&view).filter(is_found).collect();
    if let [only] = found.as_slice()
        && !headers.contains_key(page::FRAGMENT)
    {
        return Redirect::to(&link::job(only)).into_response();
    }
    let paging = Paging::new(found.len(), JOBS_PER_PAGE, wanted.page, |page| {
        format!("/scheduler?page={page}&q={}", link::part(&wanted.q))
    });
    let mut groups = Vec::new();
    for key in &found[paging.first..paging.end] {
        let row = job_row(&view, &tally::of_job(&view, key), state.now_ms());
        add(&mut groups, &format!("{}/{}", key.role, key.environment), row, key);
    }
    let frame = Frame {
        title: format!("Jobs with “{}”", wanted.q),
        section: "jobs",
        crumbs: Vec::new(),
        live: Scope::all().address(&view),
        wide: false,
    };
    let page = Page {
        heading: "Found".into(),
        summary: words::plural(found.len() as u64, "job", "jobs"),
        badges: Vec::new(),
        quota: None,
        groups,
        search: wanted.q.clone(),
        address: "/scheduler".into(),
        is_one_environment: false,
        has_search: true,
        paging,
    };
    page::show(state, headers, &frame, &page)
}

fn nothing_here(state: &WebState, role: &str, environment: Option<&str>, crumbs: Vec<Crumb>, live: String) -> Problem {
    let place = environment.map_or_else(|| role.to_owned(), |environment| format!("{role}/{environment}"));
    let mut suggestions = vec![Crumb { text: "All roles".into(), href: "/scheduler".into() }];
    if environment.is_some() {
        suggestions.insert(0, Crumb { text: format!("All jobs of {role}"), href: link::role(role) });
    }
    Problem {
        heading: format!("No jobs of {place}"),
        reason: "A role appears with its first job and stays as long as the history of its jobs is kept. This page fills as soon as one is created.".into(),
        suggestions,
        command: format!(
            "{} job create {}/{role}/{}/NAME FILE.aurora",
            super::aurora(state),
            state.cluster,
            environment.unwrap_or("devel")
        ),
        crumbs,
        live,
    }
}
