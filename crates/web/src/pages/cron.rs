//! `/cron-jobs`: every cron job with its schedule, its next and its last run; and the box about them on a job's own page.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::cron::Zone;
use model::{CronCollisionPolicy, JobKey, TaskStatus};
use scheduler::View;
use scheduler::cron::{CronJob, CronRun};
use serde::Deserialize;

use crate::link;
use crate::live::Scope;
use crate::page::{self, Frame};
use crate::state::WebState;
use crate::tally::{Paging, Tally};
use crate::words::{self, Markup};

/// Jobs on one page.
const JOBS_PER_PAGE: usize = 150;

/// When a job runs next.
pub struct NextRun {
    /// Time left.
    pub left: Markup,
    /// The time in the zone of the schedules.
    pub at: String,
}

/// A run in a list.
pub struct RunRow {
    /// What became of it.
    pub badge: Markup,
    /// The time of the schedule it is for, in its zone; or who asked for it.
    pub nominal: String,
    /// When that was decided.
    pub recorded: Markup,
    /// More about it, if there is anything to be said.
    pub note: String,
    /// Its tasks, as far as they are still known.
    pub tasks: Vec<Markup>,
}

/// A cron job in a list.
pub struct CronRow {
    /// Key without what the heading says.
    pub name: String,
    /// Its page.
    pub href: String,
    /// As its user wrote it.
    pub schedule: String,
    /// When it runs next; none when the schedule never fires.
    pub next: Option<NextRun>,
    /// The latest run.
    pub last: Option<RunRow>,
}

/// The box about a cron job on its page.
pub struct CronBox {
    /// As its user wrote it.
    pub schedule: String,
    /// The zone it is meant in.
    pub zone: String,
    /// When it runs next.
    pub next: Option<NextRun>,
    /// What happens when the run before is still active.
    pub policy: &'static str,
    /// How many instances a run has.
    pub instances: String,
    /// Latest runs, newest first.
    pub runs: Vec<RunRow>,
    /// How to start a run.
    pub start: String,
    /// How to take the job off its schedule.
    pub deschedule: String,
}

/// The time left: counted down when it is near, in days when it is far.
fn until(next_ms: i64, now_ms: i64) -> Markup {
    const FAR_MS: i64 = 2 * 86_400_000;
    if next_ms - now_ms >= FAR_MS { Markup(words::rough(next_ms - now_ms)) } else { words::left(next_ms, now_ms) }
}

fn next_run(job: &CronJob, zone: &Zone, now_ms: i64) -> Option<NextRun> {
    let next_ms = job.next_run_ms?;
    Some(NextRun { left: until(next_ms, now_ms), at: zone.show(next_ms) })
}

/// Tasks of a run: created when it began, and what took their places.
fn tasks_of(view: &View, key: &JobKey, runs: &[CronRun], run: &CronRun) -> Vec<Markup> {
    let Some(started_ms) = run.started_ms else { return Vec::new() };
    let later = runs.iter().filter_map(|other| other.started_ms).filter(|other_ms| *other_ms > started_ms).min();
    let mut tally = Tally::default();
    for task in view.tasks_of(key) {
        let created_ms = task.events.first().map_or(0, |event| event.timestamp_ms);
        if created_ms >= started_ms && later.is_none_or(|later_ms| created_ms < later_ms) {
            tally.add(task.status);
        }
    }
    tally.badges()
}

fn run_row(view: &View, job: &CronJob, run: &CronRun, now_ms: i64) -> RunRow {
    let nominal = match (run.nominal_ms, &run.user) {
        (Some(nominal_ms), _) => view.cron_timezone.show(nominal_ms),
        (None, Some(user)) => format!("started by {user}"),
        (None, None) => "started by a user".into(),
    };
    let mut notes = Vec::new();
    if run.started_ms.is_none() {
        notes.push(run.outcome.sentence().to_owned());
    }
    if let (Some(nominal_ms), Some(started_ms)) = (run.nominal_ms, run.started_ms)
        && started_ms - nominal_ms >= 2000
    {
        notes.push(format!("began {} late", words::exact(started_ms - nominal_ms)));
    }
    if run.skipped > 0 {
        let times = words::plural(run.skipped.into(), "earlier time", "earlier times");
        notes.push(format!("{times} passed unmet before it"));
    }
    RunRow {
        badge: words::cron_look(&run.outcome).badge(),
        nominal,
        recorded: words::ago(run.recorded_ms, now_ms),
        note: notes.join("; "),
        tasks: tasks_of(view, job.key(), &job.runs, run),
    }
}

/// The box of a job; `None` when it is no cron job.
pub fn of_job(state: &WebState, view: &View, key: &JobKey, now_ms: i64) -> Option<CronBox> {
    let job = view.cron_jobs.get(key)?;
    let command = |verb: &str| format!("{} cron {verb} {}/{key}", super::aurora(state), state.cluster);
    Some(CronBox {
        schedule: job.schedule_text().to_owned(),
        zone: view.cron_timezone.name().to_owned(),
        next: next_run(job, &view.cron_timezone, now_ms),
        policy: match job.config.cron_collision_policy {
            CronCollisionPolicy::KillExisting => "is killed first (KILL_EXISTING)",
            CronCollisionPolicy::CancelNew => "goes on, and the new run is left out (CANCEL_NEW)",
            CronCollisionPolicy::RunOverlap => "goes on, and nothing is started (RUN_OVERLAP, which is no more)",
        },
        instances: words::plural(job.instances().into(), "instance", "instances"),
        runs: job.runs.iter().rev().map(|run| run_row(view, job, run, now_ms)).collect(),
        start: command("start"),
        deschedule: command("deschedule"),
    })
}

/// When a job of a list runs next, or a word why it does not.
pub fn short(view: &View, key: &JobKey, now_ms: i64) -> Option<(String, Option<Markup>)> {
    let job = view.cron_jobs.get(key)?;
    Some((job.schedule_text().to_owned(), job.next_run_ms.map(|next_ms| until(next_ms, now_ms))))
}

#[derive(Template)]
#[template(path = "cron_jobs.html")]
struct Page {
    zone: String,
    count: usize,
    active: String,
    rows: Vec<CronRow>,
    search: String,
    has_search: bool,
    paging: Paging,
    command: String,
}

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// From 1.
    #[serde(default)]
    pub page: usize,
    /// Part of a job's key.
    #[serde(default)]
    pub q: String,
}

/// `/cron-jobs`: what runs next comes first.
pub async fn list(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let search = wanted.q.trim().to_lowercase();
    let mut jobs: Vec<&CronJob> = view
        .cron_jobs
        .values()
        .map(AsRef::as_ref)
        .filter(|job| search.is_empty() || job.key().to_string().to_lowercase().contains(&search))
        .collect();
    jobs.sort_by_key(|job| job.next_run_ms.unwrap_or(i64::MAX));
    let paging = Paging::new(jobs.len(), JOBS_PER_PAGE, wanted.page, |page| {
        format!("/cron-jobs?page={page}&q={}", link::part(&wanted.q))
    });
    let is_active = |job: &&&CronJob| view.tasks_of(job.key()).any(|task| TaskStatus::is_active(task.status));
    let active = jobs.iter().filter(is_active).count() as u64;
    let row = |job: &&CronJob| CronRow {
        name: job.key().to_string(),
        href: link::job(job.key()),
        schedule: job.schedule_text().to_owned(),
        next: next_run(job, &view.cron_timezone, now_ms),
        last: job.runs.last().map(|run| run_row(&view, job, run, now_ms)),
    };
    let page = Page {
        zone: view.cron_timezone.name().to_owned(),
        count: view.cron_jobs.len(),
        active: format!("{} running", words::grouped(active)),
        rows: jobs[paging.first..paging.end].iter().map(row).collect(),
        search: wanted.q.clone(),
        has_search: view.cron_jobs.len() > 12 || !search.is_empty(),
        paging,
        command: format!("{} cron schedule {}/ROLE/ENV/NAME FILE.aurora", super::aurora(&state), state.cluster),
    };
    let frame = Frame {
        title: "Cron jobs".into(),
        section: "cron",
        crumbs: Vec::new(),
        live: Scope::all().address(&view),
        wide: false,
    };
    page::show(&state, &headers, &frame, &page)
}
