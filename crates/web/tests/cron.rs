//! Cron jobs on the pages: their list, their role, their own page.

#[path = "fixture/mod.rs"]
mod fixture;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fixture::{HOSTILE, NOW_MS};
use tower::ServiceExt;

async fn html(path: &str) -> String {
    let (view, files, _) = fixture::cluster(NOW_MS);
    let router = web::router(fixture::harness(view, files, || NOW_MS).state.clone());
    let request = Request::get(path).header("host", "localhost:8081").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let bytes = axum::body::to_bytes(response.into_body(), 32 << 20).await.unwrap();
    let html = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!html.contains(HOSTILE), "{path} prints markup of others");
    html
}

/// What a reader sees: without tags, spaces joined.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_list_has_every_cron_job_what_runs_next_first() {
    let html = html("/cron-jobs").await;
    let seen = text(&html);
    assert!(seen.contains("3 scheduled, 2 running \u{b7} times are in Europe/Berlin"), "{seen}");
    let at = |what: &str| seen.find(what).unwrap_or_else(|| panic!("no {what} in {seen}"));
    let order = [at("reports/prod/hourly-sums"), at("reports/prod/nightly"), at("reports/prod/leap-day")];
    assert!(order.is_sorted(), "{seen}");
    assert!(seen.contains("02:15:00 CET") && seen.contains("00:00:00 CET"), "{seen}");
    assert!(seen.contains("WAITING") && seen.contains("waits until the tasks of the run before have been killed"));
    assert!(seen[at("leap-day")..].contains("none yet"));
    assert!(html.contains("href=\"/scheduler/reports/prod/nightly\""));
}

#[tokio::test]
async fn a_search_finds_cron_jobs_by_their_keys() {
    let seen = text(&html("/cron-jobs?q=night").await);
    assert!(seen.contains("nightly") && !seen.contains("hourly-sums"), "{seen}");
    let seen = text(&html("/cron-jobs?q=nothing").await);
    assert!(seen.contains("No cron job has"), "{seen}");
}

#[tokio::test]
async fn a_role_shows_the_schedule_of_a_job_that_has_never_run() {
    let seen = text(&html("/scheduler/reports").await);
    assert!(seen.contains("3 jobs"), "{seen}");
    assert!(seen.contains("leap-day cron 0 0 29 2 * \u{b7} next run in"), "{seen}");
    assert!(text(&html("/scheduler").await).contains("reports"));
}

#[tokio::test]
async fn a_cron_job_has_its_schedule_its_runs_and_how_to_start_one() {
    let seen = text(&html("/scheduler/reports/prod/hourly-sums").await);
    for part in [
        "hourly-sums cron",
        "Cron schedule */10 * * * *",
        "Each run has 2 instances.",
        "goes on, and the new run is left out (CANCEL_NEW)",
        "not started, because the run before was still active",
        "missed, because no scheduler was there; 5 earlier times passed unmet before it",
        "cron start devcluster/reports/prod/hourly-sums",
        "cron deschedule devcluster/reports/prod/hourly-sums",
    ] {
        assert!(seen.contains(part), "no {part} in {seen}");
    }
    let runs = &seen[seen.find("Run for").unwrap()..];
    let at = |what: &str| runs.find(what).unwrap_or_else(|| panic!("no {what} in {runs}"));
    assert!(at("CANCELLED") < at("2 RUNNING") && at("2 RUNNING") < at("2 FINISHED"), "newest first: {runs}");
}

#[tokio::test]
async fn a_job_that_has_never_run_has_a_page_with_its_configuration() {
    let seen = text(&html("/scheduler/reports/prod/leap-day").await);
    assert!(seen.contains("It has not run yet.") && seen.contains("./make-report"), "{seen}");
    assert!(seen.contains("No active instances."), "{seen}");
}
