//! The REST API below `/api/v1`: jobs, tasks, cron jobs, updates, quotas and agents as documents in JSON, described by OpenAPI at
//! `/api/v1/openapi.json`. `docs/rest.md` shows how to use it.
//!
//! A thin adapter: questions are answered from the frozen view, changes become commands that are decided behind the gateway. What lives
//! where:
//! - `about`, `jobs`, `job_changes`, `tasks`, `cron`, `updates`, `update_changes`, `quotas`, `agents`: the resources.
//! - `shapes`: what several documents hold. `problem`: refusals. `reading`: what a request says, read strictly; `instances`: which
//!   instances it means.
//! - `change`: from a request to a command and back, once per idempotency key. `job_files`: job files and the port to whoever reads them.
//! - `document`: the OpenAPI document; `judgement`: what it says of plan and explain, which are answered in [`crate::forecast`].
//!
//! The answer of a change is made of the request and the scheduler's reply alone, not of the view: so it is the same when it is given
//! again under an idempotency key.

mod about;
mod agents;
mod change;
mod cron;
mod document;
mod instances;
mod job_changes;
mod job_files;
mod jobs;
pub(crate) mod judgement;
pub(crate) mod problem;
mod quotas;
pub(crate) mod reading;
mod shapes;
mod tasks;
mod update_changes;
mod updates;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use gateway::Gateway;
use model::tier::Tiers;
use scheduler::View;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use document::document;
pub use job_files::{JobFile, JobFileError, JobFileFormat, JobFiles, JobOfFile, MAX_JOB_FILE_BYTES, NoJobFiles};
pub use problem::{ErrorCode, Problem};

use problem::Outcome;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    gateway: Arc<Gateway>,
    cluster: Arc<str>,
    tiers: Arc<Tiers>,
    reader: Arc<job_files::Reader>,
}

impl Rest {
    /// The state behind the handlers.
    pub fn new(gateway: Arc<Gateway>, cluster: &str, tiers: Tiers, files: Arc<dyn JobFiles>) -> Self {
        let reader = Arc::new(job_files::Reader::new(files));
        Self { gateway, cluster: cluster.into(), tiers: Arc::new(tiers), reader }
    }

    /// Answers from the latest durable view; where that is large, on a thread that may be busy for long.
    async fn read(&self, read: impl FnOnce(&View) -> Outcome + Send + 'static) -> Outcome {
        let view = self.gateway.view();
        if view.tasks.len() <= crate::endpoint::MANY_TASKS {
            return read(&view);
        }
        tokio::task::spawn_blocking(move || read(&view)).await.unwrap_or_else(|failure| {
            Err(Problem::new(ErrorCode::Error, format!("The question could not be answered: {failure}.")))
        })
    }
}

/// Answers are of the moment.
const NO_STORE: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "no-store");

/// A document.
fn found(document: &impl Serialize) -> Outcome {
    answered(StatusCode::OK, document)
}

/// A document with a status of its own.
fn answered(status: StatusCode, document: &impl Serialize) -> Outcome {
    Ok((status, [NO_STORE], axum::Json(document)).into_response())
}

/// The document of something new, and where it is found.
fn created(location: &str, document: &impl Serialize) -> Outcome {
    let mut response = answered(StatusCode::CREATED, document)?;
    // Locations are made of identifiers and of ids that the scheduler made.
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The handlers that only read, and those that change something.
fn handlers() -> (OpenApiRouter<Rest>, OpenApiRouter<Rest>) {
    let reading = OpenApiRouter::new()
        .routes(routes!(about::about))
        .routes(routes!(document::openapi))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::list_tasks_of_job))
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::get_task))
        .routes(routes!(cron::list_cron_jobs))
        .routes(routes!(cron::get_cron_job))
        .routes(routes!(cron::list_cron_runs))
        .routes(routes!(updates::list_updates))
        .routes(routes!(updates::list_updates_of_job))
        .routes(routes!(updates::get_update))
        .routes(routes!(quotas::list_quotas))
        .routes(routes!(quotas::get_quota))
        .routes(routes!(agents::list_agents))
        .routes(routes!(agents::get_agent));
    let changing = OpenApiRouter::new()
        .routes(routes!(job_changes::create_job))
        .routes(routes!(job_changes::delete_job))
        .routes(routes!(job_changes::kill_tasks))
        .routes(routes!(job_changes::restart_tasks))
        .routes(routes!(job_changes::add_instances))
        .routes(routes!(cron::schedule_cron_job))
        .routes(routes!(cron::deschedule_cron_job))
        .routes(routes!(cron::start_cron_run))
        .routes(routes!(update_changes::start_update))
        .routes(routes!(update_changes::pause_update))
        .routes(routes!(update_changes::resume_update))
        .routes(routes!(update_changes::abort_update))
        .routes(routes!(update_changes::roll_back_update))
        .routes(routes!(update_changes::pulse_update))
        .routes(routes!(quotas::set_quota))
        .routes(routes!(agents::change_maintenance));
    (reading, changing)
}

/// The routes. `judging` are those of plan and explain, which answer below the same path.
pub fn router(rest: Rest, judging: Router) -> Router {
    let (reading, changing) = handlers();
    let changing = Router::from(changing).layer(middleware::from_fn_with_state(rest.clone(), change::to_its_end));
    Router::from(reading)
        .merge(changing)
        .route("/api/v1/", any(elsewhere))
        .route("/api/v1/{*path}", any(elsewhere))
        .with_state(rest)
        .merge(judging)
        .layer(middleware::from_fn(told_as_document))
}

/// Where nothing is: what ends with a slash is sent to the same without it.
async fn elsewhere(uri: Uri) -> Response {
    let path = uri.path();
    let bare = path.trim_end_matches('/');
    if bare.len() < path.len() && bare.starts_with("/api/v1") {
        let location = uri.query().map_or_else(|| bare.to_owned(), |query| format!("{bare}?{query}"));
        return (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response();
    }
    let shown: String = path.chars().take(80).collect();
    Problem::not_found(format!("There is nothing at {shown}: /api/v1/openapi.json tells what there is."))
        .into_response()
}

/// Refusals of the router itself as documents, too; and what a path takes, when that is asked. The router adds the header `Allow`.
async fn told_as_document(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    if method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [NO_STORE]).into_response();
    }
    let sentence = format!("{path} does not take {method}: the header Allow names what it takes.");
    Problem::new(ErrorCode::MethodNotAllowed, sentence).into_response()
}
