//! `/api/v1/plan` and `/api/v1/explain`: the scheduler's judgement about what would be and why something is as it is, as JSON. Reading
//! only: everything is judged on one frozen view, off the loop's thread, a few questions at a time.
//!
//! `POST /api/v1/plan` takes `{"method": "createJob", "arguments": {…}}`, the arguments as `/apibeta` takes them, for `createJob`,
//! `startJobUpdate`, `scheduleCronJob` and `replaceCronTemplate`. `GET /api/v1/explain` takes `?job=role/environment/name`,
//! `&instance=N`, or `?task=ID`. The shapes are documented in `docs/explain.md`; fields may be added, none changes its meaning.
//! CPU is in cores, memory and disk in MB, times in ms since the epoch.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gateway::Gateway;
use model::update::from_ranges;
use model::{ResourceType, Resources, TaskId};
use scheduler::forecast::{Forecast, Obstacles, PlacementForecast, QuotaForecast, Shortfall, UpdateForecast, forecast};
use scheduler::{Principal, Reply};
use serde::Deserialize;
use serde_json::{Value, json};
use thrift::{Limits, Method, decode_plain_arguments};
use tokio::sync::Semaphore;

use crate::answer::response_code;
use crate::change;
use crate::explanation::{self, Subject};
use crate::negotiation::is_json;
use crate::rest::judgement::{ExplainParameters, Explanation, Plan, PlanQuestion, PlanRefused};
use crate::rest::problem::{ErrorCode, LookingRefused};
use crate::rest::reading::{self, Parameters};

/// Forecasts under way at the same time: they are work, and nobody's service depends on them.
const AT_ONCE: usize = 2;

/// What the routes share. Cheap to clone.
#[derive(Clone)]
pub struct ForecastState {
    gateway: Arc<Gateway>,
    turns: Arc<Semaphore>,
}

/// The routes.
pub fn router(gateway: Arc<Gateway>, max_body_bytes: usize) -> Router {
    Router::new()
        .route("/api/v1/plan", post(plan))
        .route("/api/v1/explain", get(explain))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .with_state(ForecastState { gateway, turns: Arc::new(Semaphore::new(AT_ONCE)) })
}

fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

fn refuse(status: StatusCode, sentence: impl Into<String>) -> Response {
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        StatusCode::INTERNAL_SERVER_ERROR => ErrorCode::Error,
        _ => ErrorCode::InvalidRequest,
    };
    answer(status, &json!({"error": sentence.into(), "code": code}))
}

impl ForecastState {
    /// Works something out on a thread that may be busy for long.
    async fn work_out(&self, work: impl FnOnce(&scheduler::View) -> Option<Value> + Send + 'static) -> Option<Value> {
        let _turn = self.turns.acquire().await.ok()?;
        let view = self.gateway.view();
        tokio::task::spawn_blocking(move || work(&view)).await.ok()?
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The body of a question about a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    method: String,
    arguments: Value,
}

/// Tells what would come of a change
///
/// Nothing is changed. `docs/explain.md` tells every field of the answer.
#[utoipa::path(
    post,
    path = "/api/v1/plan",
    operation_id = "plan",
    tag = "judgement",
    request_body(content = PlanQuestion, description = "The change."),
    responses((status = 200, description = "What would come of it.", body = Plan), PlanRefused)
)]
pub(crate) async fn plan(
    State(state): State<ForecastState>,
    principal: Option<Extension<Principal>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), format!("{}.", rejection.body_text())),
    };
    if !is_json(&headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send an object with Content-Type application/json.");
    }
    let question: Question = match reading::json(&body) {
        Ok(question) => question,
        Err(problem) => return problem.into_response(),
    };
    let known = ["createJob", "startJobUpdate", "scheduleCronJob", "replaceCronTemplate"];
    let method = Method::from_name(&question.method).filter(|_| known.contains(&question.method.as_str()));
    let Some(method) = method else {
        let sentence = format!("Nothing is foretold of '{}': name one of {}.", question.method, known.join(", "));
        return refuse(StatusCode::BAD_REQUEST, sentence);
    };
    let arguments = question.arguments.to_string();
    let call = match decode_plain_arguments(method, arguments.as_bytes(), Limits::REQUEST) {
        Ok(call) => call,
        Err(error) => {
            let sentence = format!("The arguments of {} cannot be read: {error}.", method.name());
            return refuse(StatusCode::BAD_REQUEST, sentence);
        }
    };
    let command = match change::command(call) {
        Some(Ok(command)) => command,
        Some(Err(refusal)) => return refuse(StatusCode::BAD_REQUEST, refusal.message),
        None => return refuse(StatusCode::BAD_REQUEST, "Nothing is foretold of this."),
    };
    // Nobody has to say who he is to read; then only what is forbidden to all is told.
    let asker = principal.map(|Extension(principal)| principal);
    let forbidden = state.gateway.objection(asker.as_ref(), &command);
    let principal = asker.unwrap_or_else(Principal::unsecure);
    let forecast = state.work_out(move |view| {
        let mut forecast = forecast(view, now_ms(), &principal, &command)?;
        forecast.refusal = forbidden.or(forecast.refusal);
        Some(forecast_json(view.frozen_ms, &forecast))
    });
    match forecast.await {
        Some(value) => answer(StatusCode::OK, &value),
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "The question could not be answered."),
    }
}

/// What may follow `/api/v1/explain`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    job: Option<String>,
    instance: Option<u32>,
    task: Option<String>,
}

/// Tells why a job or a task is as it is
///
/// `docs/explain.md` tells every field of the answer.
#[utoipa::path(
    get,
    path = "/api/v1/explain",
    operation_id = "explain",
    tag = "judgement",
    params(ExplainParameters),
    responses((status = 200, description = "What is known.", body = Explanation), LookingRefused)
)]
pub(crate) async fn explain(State(state): State<ForecastState>, Parameters(wanted): Parameters<Wanted>) -> Response {
    let subject = match (wanted.job, wanted.task) {
        (Some(job), None) => match job.parse() {
            Ok(job) => Subject::Job { job, instance: wanted.instance },
            Err(_) => return refuse(StatusCode::BAD_REQUEST, format!("'{job}' is not a job: role/environment/name.")),
        },
        (None, Some(task)) => Subject::Task(TaskId::from(task)),
        _ => return refuse(StatusCode::BAD_REQUEST, "Give job=role/environment/name or task=ID."),
    };
    match state.work_out(move |view| explanation::explain(view, now_ms(), &subject)).await {
        Some(value) => answer(StatusCode::OK, &value),
        None => refuse(StatusCode::NOT_FOUND, "There is no such job or task."),
    }
}

// ---- shapes ----

pub(crate) fn resources_json(resources: &Resources) -> Value {
    json!({
        "cpus": resources.cpu.cores(),
        "ramMb": resources.ram_mb,
        "diskMb": resources.disk_mb,
    })
}

fn amount_json(kind: ResourceType, amount: i64) -> Value {
    if kind == ResourceType::Cpus { json!(amount as f64 / 1000.0) } else { json!(amount) }
}

fn kind_name(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Cpus => "cpus",
        ResourceType::RamMb => "ramMb",
        ResourceType::DiskMb => "diskMb",
        ResourceType::Ports => "ports",
        ResourceType::Gpus => "gpus",
    }
}

fn shortfall_json(shortfall: &Shortfall) -> Value {
    let kind = shortfall.kind;
    json!({
        "kind": kind_name(kind),
        "needed": amount_json(kind, shortfall.needed),
        "free": amount_json(kind, shortfall.free),
        "missing": amount_json(kind, shortfall.needed - shortfall.free),
    })
}

pub(crate) fn obstacles_json(obstacles: &Obstacles) -> Value {
    let reasons: Vec<Value> = obstacles
        .reasons
        .iter()
        .map(|reason| json!({"reasons": reason.texts, "agents": reason.agents, "hosts": reason.hosts}))
        .collect();
    let constraints: Vec<Value> = obstacles
        .constraints
        .iter()
        .map(|seen| json!({"name": seen.name, "wanted": seen.wanted, "seen": seen.seen, "without": seen.without}))
        .collect();
    let nearest = obstacles.nearest.as_ref().map(|nearest| {
        let lacks: Vec<Value> = nearest.lacks.iter().map(shortfall_json).collect();
        json!({"host": nearest.host, "lacks": lacks})
    });
    let help = &obstacles.preemption;
    json!({
        "agents": obstacles.agents,
        "sentence": obstacles.sentence,
        "nearestFit": obstacles.nearest_fit,
        "reasons": reasons,
        "nearest": nearest,
        "constraints": constraints,
        "preemption": {
            "enabled": help.is_enabled,
            "lookedAt": help.was_looked_at,
            "delayMs": help.delay_ms,
            "host": help.host,
            "victims": help.victims.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        },
    })
}

fn quota_json(quota: &QuotaForecast) -> Value {
    json!({
        "role": quota.role,
        "isNeeded": quota.is_needed,
        "quota": resources_json(&quota.quota),
        "held": resources_json(&quota.held),
        "needed": resources_json(&quota.needed),
    })
}

fn placement_json(placement: &PlacementForecast) -> Value {
    json!({
        "wanted": placement.wanted,
        "fitting": placement.fitting,
        "isComplete": placement.is_complete,
        "isConnected": placement.is_connected,
        "hosts": placement.hosts,
        "obstacles": placement.obstacles.as_ref().map(obstacles_json),
    })
}

fn refusal_json(refusal: &Reply) -> Value {
    json!({"code": response_code(refusal.code).name(), "messages": refusal.messages})
}

fn update_json(forecast: &UpdateForecast) -> Value {
    let update = &forecast.update;
    let initial: usize = update.initial.iter().map(|config| from_ranges(&config.instances).len()).sum();
    let desired = update.desired.as_ref().map_or(0, |config| from_ranges(&config.instances).len());
    json!({
        "replacedInstances": initial,
        "wantedInstances": desired,
        "groups": forecast.groups,
        "leastDurationMs": forecast.least_duration_ms,
    })
}

fn forecast_json(frozen_ms: i64, forecast: &Forecast) -> Value {
    json!({
        "frozenMs": frozen_ms,
        "refusal": forecast.refusal.as_ref().map(refusal_json),
        "quota": forecast.quota.as_ref().map(quota_json),
        "placement": forecast.placement.as_ref().map(placement_json),
        "update": forecast.update.as_ref().map(update_json),
    })
}
