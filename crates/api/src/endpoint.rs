//! The HTTP side: routes, body limits, content types, status codes. What a method means is in [`crate::read`] and [`crate::change`].

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use gateway::Gateway;
use model::validation::AdmissionRules;
use scheduler::Principal;
use thrift::{
    BinaryWriter, Call, CallError, CallMessage, JsonWriter, Limits, Method, PlainWriter, Protocol, ServerInfo, Service,
    decode_call, decode_plain_arguments, encode_plain, encode_reply,
};

use crate::admin::{self, Desk};
use crate::answer::{Answer, Refusal};
use crate::change::{self, Asker};
use crate::inspection::{self, Inspection};
use crate::negotiation::{is_json, request_protocol, response_protocol};
use crate::operations::{NoOperations, Operations};
use crate::rest::{self, JobFiles, NoJobFiles, Rest};
use crate::statistics::{self, CallStatistics, Gauges};
use crate::streamed::{self, Frame, Listing};
use crate::{access, forecast, idempotency, maintenance, read};

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Reported in every response.
    pub cluster_name: String,
    /// Prefix of links to statistics, shown by pages.
    pub stats_url_prefix: String,
    /// The scheduler's advertised host name, part of every task event.
    pub scheduler_host: String,
    /// For questions that are answered without the scheduler: tiers and the population of configurations.
    pub admission: AdmissionRules,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The origin whose pages may use `/api`, sent as is; none by default.
    pub enable_cors_for: Option<String>,
    /// Numbers of other parts of the daemon, shown among the statistics.
    pub gauges: Gauges,
}

impl Default for ApiSettings {
    fn default() -> Self {
        ApiSettings {
            cluster_name: "devcluster".to_owned(),
            stats_url_prefix: String::new(),
            scheduler_host: "localhost".to_owned(),
            admission: AdmissionRules::default(),
            max_body_bytes: 16 << 20,
            enable_cors_for: None,
            gauges: Gauges::default(),
        }
    }
}

/// What the routes share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    gateway: Arc<Gateway>,
    settings: Arc<ApiSettings>,
    server_info: ServerInfo,
    scheduler_host: Arc<str>,
    calls: Arc<CallStatistics>,
    operations: Arc<dyn Operations>,
    job_files: Arc<dyn JobFiles>,
}

impl ApiState {
    /// The state behind the routes.
    pub fn new(gateway: Arc<Gateway>, settings: ApiSettings) -> Self {
        ApiState {
            gateway,
            server_info: ServerInfo {
                cluster_name: settings.cluster_name.clone(),
                stats_url_prefix: settings.stats_url_prefix.clone(),
            },
            scheduler_host: settings.scheduler_host.as_str().into(),
            calls: Arc::new(CallStatistics::with_gauges(settings.gauges.clone())),
            settings: Arc::new(settings),
            operations: Arc::new(NoOperations),
            job_files: Arc::new(NoJobFiles),
        }
    }

    /// The same with backups and snapshots.
    pub fn with_operations(self, operations: Arc<dyn Operations>) -> Self {
        ApiState { operations, ..self }
    }

    /// The same with a reader of job files, for the REST API.
    pub fn with_job_files(self, job_files: Arc<dyn JobFiles>) -> Self {
        ApiState { job_files, ..self }
    }
}

/// Views with more tasks than this are read on a thread that may be busy for long.
pub(crate) const MANY_TASKS: usize = 10_000;

/// The routes for programs, task files excepted.
pub fn router(state: ApiState) -> Router {
    let api = Router::new()
        .route("/api", any(thrift_call))
        .layer(middleware::from_fn_with_state(state.clone(), cross_origin));
    let forecast = forecast::router(Arc::clone(&state.gateway), state.settings.max_body_bytes);
    let rest = Rest::new(
        Arc::clone(&state.gateway),
        &state.settings.cluster_name,
        state.settings.admission.tiers.clone(),
        Arc::clone(&state.job_files),
    );
    let inspection = inspection::router(Inspection {
        gateway: Arc::clone(&state.gateway),
        admission: Arc::new(state.settings.admission.clone()),
        scheduler_host: Arc::clone(&state.scheduler_host),
    });
    Router::new()
        .route("/apibeta", get(|| async { (StatusCode::SEE_OTHER, [("location", "/apihelp/index.html")]) }))
        .route("/apibeta/{method}", axum::routing::post(plain_call))
        .route("/apihelp/index.html", get(help))
        .route("/health", get(|| async { "OK\n" }))
        .route("/vars", get(vars))
        .route("/vars.json", get(vars_json))
        .route("/metrics", get(metrics))
        .merge(api)
        .with_state(state)
        .merge(rest::router(rest, forecast))
        .merge(inspection)
}

/// The headers that let pages of one other origin use `/api`, when the operator named one (spec thrift-api 1.3).
async fn cross_origin(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let allowed = state.settings.enable_cors_for.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(origin)) = allowed {
        let headers = response.headers_mut();
        headers.insert("access-control-allow-origin", origin);
        let methods = HeaderValue::from_static("DELETE,GET,HEAD,OPTIONS,POST,PUT");
        headers.insert("access-control-allow-methods", methods);
        let names = HeaderValue::from_static("Accept,Content-Type,Idempotency-Key,Origin,X-Requested-With");
        headers.insert("access-control-allow-headers", names);
    }
    response
}

/// A refusal outside the protocol: one sentence.
fn plainly(status: StatusCode, sentence: impl std::fmt::Display) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{sentence}\n")).into_response()
}

/// The whole body, or why not.
async fn whole_body(body: Body, max_bytes: usize) -> Result<Bytes, Response> {
    let limited = http_body_util::Limited::new(body, max_bytes);
    match http_body_util::BodyExt::collect(limited).await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(plainly(
            StatusCode::PAYLOAD_TOO_LARGE,
            format_args!("The request is longer than the {max_bytes} bytes this scheduler reads."),
        )),
        Err(_) => Err(plainly(StatusCode::BAD_REQUEST, "The request ended early.")),
    }
}

/// Who asks, and what came along besides the call.
struct Caller {
    /// If he said who he is and was believed.
    principal: Option<Principal>,
    /// The headers of a request with an idempotency key; none without.
    headers: HeaderMap,
}

impl Caller {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let has_key = headers.contains_key(&idempotency::HEADER);
        Caller {
            principal: request.extensions().get::<Principal>().cloned(),
            headers: if has_key { headers.clone() } else { HeaderMap::new() },
        }
    }
}

/// Carries out a call, a change to its end even when the caller hangs up meanwhile (spec thrift-api 3.1). Refuses one that is not for
/// unknown callers, and one with an idempotency key that is none.
async fn carry_out(state: &ApiState, caller: Caller, call: Call) -> Result<Answer, Response> {
    let principal = caller.principal;
    if access::wants_login(&state.gateway, principal.as_ref(), call.method().service()) {
        let sentence = format!("{} is not for everybody: say who you are.", call.method().name());
        return Err(plainly(StatusCode::UNAUTHORIZED, sentence));
    }
    let idempotency = idempotency::of_call(&caller.headers, &call);
    let idempotency = idempotency.map_err(|refusal| plainly(StatusCode::BAD_REQUEST, refusal))?;
    let asker = Asker { principal: principal.unwrap_or_else(Principal::unsecure), idempotency };
    let shared = state.clone();
    if call.method().service() == Service::ReadOnlyScheduler {
        return Ok(perform(state, &asker, call).await);
    }
    let performing = tokio::spawn(async move { perform(&shared, &asker, call).await });
    performing.await.map_err(|failure| {
        plainly(StatusCode::INTERNAL_SERVER_ERROR, format_args!("The call could not be carried out: {failure}."))
    })
}

/// Carries out a call.
async fn perform(state: &ApiState, asker: &Asker, call: Call) -> Answer {
    let started = Instant::now();
    let method = call.method();
    let answer = if let Some(refusal) = access::refusal(&state.gateway, &asker.principal, &call) {
        refusal
    } else if method.service() == Service::ReadOnlyScheduler {
        ask(state, call).await
    } else if let Some(answer) = operate(state, asker, &call).await {
        answer
    } else {
        match change::command(call) {
            Some(Ok(command)) => change::answer(asker.submit(&state.gateway, command).await),
            Some(Err(refusal)) => refusal.into(),
            None => unavailable(method),
        }
    };
    state.calls.answered(method, answer.code(), started.elapsed());
    answer.signed(&state.server_info)
}

/// Answers what operators ask for, if it is that.
async fn operate(state: &ApiState, asker: &Asker, call: &Call) -> Option<Answer> {
    let desk =
        Desk { gateway: &state.gateway, operations: &state.operations, scheduler_host: &state.settings.scheduler_host };
    match admin::answer(desk, asker, call).await {
        None => maintenance::answer(&state.gateway, asker, call).await,
        answer => answer,
    }
}

/// Answers a question from the latest durable view.
async fn ask(state: &ApiState, call: Call) -> Answer {
    let method = call.method();
    let view = state.gateway.view();
    let settings = state.settings.clone();
    let many = view.tasks.len() > MANY_TASKS;
    let read = move || read::answer(&view, &settings.admission, call);
    let answer = if many {
        match tokio::task::spawn_blocking(read).await {
            Ok(answer) => answer,
            Err(failure) => Some(Err(Refusal::error(format!("The question could not be answered: {failure}.")))),
        }
    } else {
        read()
    };
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(refusal)) => refusal.into(),
        None => unavailable(method),
    }
}

fn unavailable(method: Method) -> Answer {
    Refusal::error(format!("{} is not available in this version of Daybreak yet.", method.name())).into()
}

/// `/api`.
async fn thrift_call(State(state): State<ApiState>, request: Request) -> Response {
    if request.method() == HttpMethod::OPTIONS {
        return StatusCode::OK.into_response();
    }
    if !matches!(*request.method(), HttpMethod::POST | HttpMethod::GET) {
        return plainly(StatusCode::METHOD_NOT_ALLOWED, "/api takes POST.");
    }
    let request_protocol = match request_protocol(request.headers()) {
        Ok(protocol) => protocol,
        Err(media_type) => {
            let sentence = format!("/api reads Thrift JSON and Thrift binary, not '{media_type}'.");
            return plainly(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
        }
    };
    let response_protocol = response_protocol(request.headers());
    let caller = Caller::of(&request);
    let body = match whole_body(request.into_body(), state.settings.max_body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    match decode_call(request_protocol, &body, Limits::REQUEST) {
        Ok(CallMessage { sequence_id, call }) => {
            let method = call.method();
            drop(body);
            match carry_out(&state, caller, call).await {
                Ok(answer) => {
                    let body = encoded(&state, Some((response_protocol, method, sequence_id)), answer);
                    thrift_response(response_protocol, body)
                }
                Err(refusal) => refusal,
            }
        }
        Err(error) => undecodable(&state, response_protocol, &error),
    }
}

fn undecodable(state: &ApiState, protocol: Protocol, error: &CallError) -> Response {
    match error.encode_exception(protocol) {
        Some(exception) => thrift_response(protocol, Body::from(exception)),
        None => {
            state.calls.unreadable();
            // Aurora's own answer to a message nobody can be named for.
            let sentence = format!("The request cannot be read: {error}. /apihelp/index.html lists the calls.");
            plainly(StatusCode::INTERNAL_SERVER_ERROR, sentence)
        }
    }
}

fn thrift_response(protocol: Protocol, body: Body) -> Response {
    ([(CONTENT_TYPE, protocol.media_type())], body).into_response()
}

/// How a reply is wrapped: `None` for plain JSON.
type Envelope = Option<(Protocol, Method, i32)>;

fn encoded(state: &ApiState, envelope: Envelope, answer: Answer) -> Body {
    match answer {
        Answer::Whole(response) => Body::from(match envelope {
            Some((protocol, method, sequence_id)) => encode_reply(protocol, method, sequence_id, &*response),
            None => encode_plain(&*response),
        }),
        Answer::Tasks { tasks, with_executor_data } => {
            let listing = streamed::tasks::Tasks::new(state.scheduler_host.clone(), with_executor_data);
            streamed_body(state, envelope, tasks, listing)
        }
        Answer::JobSummaries(jobs) => streamed_body(state, envelope, jobs, streamed::jobs::Summaries),
        Answer::Jobs(jobs) => streamed_body(state, envelope, jobs, streamed::jobs::Configurations),
    }
}

fn streamed_body<L: Listing>(state: &ApiState, envelope: Envelope, elements: Vec<L::Element>, listing: L) -> Body {
    let frame = Frame {
        envelope: envelope.map(|(_, method, sequence_id)| (method, sequence_id)),
        server_info: state.server_info.clone(),
    };
    match envelope.map(|(protocol, ..)| protocol) {
        Some(Protocol::Json) => streamed::body::<JsonWriter, L>(elements, listing, frame),
        Some(Protocol::Binary) => streamed::body::<BinaryWriter, L>(elements, listing, frame),
        None => streamed::body::<PlainWriter, L>(elements, listing, frame),
    }
}

/// `/apibeta/{method}`.
async fn plain_call(State(state): State<ApiState>, Path(name): Path<String>, request: Request) -> Response {
    let Some(method) = Method::from_name(&name) else {
        let refusal = Refusal::error(format!("There is no method '{name}'; /apihelp/index.html lists them."));
        return plain_response(&state, StatusCode::NOT_FOUND, refusal.into());
    };
    let says_json = is_json(request.headers());
    let caller = Caller::of(&request);
    let body = match whole_body(request.into_body(), state.settings.max_body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if !says_json && !body.is_empty() {
        let refusal = Refusal::error("Send the arguments as an object with Content-Type application/json.");
        return plain_response(&state, StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal.into());
    }
    match decode_plain_arguments(method, &body, Limits::REQUEST) {
        Ok(call) => match carry_out(&state, caller, call).await {
            Ok(answer) => plain_response(&state, StatusCode::OK, answer),
            Err(refusal) => refusal,
        },
        Err(error) => {
            let refusal = Refusal::error(format!("The arguments of {name} cannot be read: {error}."));
            plain_response(&state, StatusCode::BAD_REQUEST, refusal.into())
        }
    }
}

fn plain_response(state: &ApiState, status: StatusCode, answer: Answer) -> Response {
    let body = encoded(state, None, answer.signed(&state.server_info));
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// `/apihelp/index.html`: every method with its arguments, from the schema itself.
async fn help() -> Response {
    let mut text = String::from(
        "Methods of /api (Thrift, service AuroraAdmin) and of /apibeta/{method} (POST, plain JSON, arguments by name):\n\n",
    );
    for method in Method::ALL {
        let arguments: Vec<String> = method
            .arguments()
            .iter()
            .map(|argument| format!("{}: {} {}", argument.id, argument.kind, argument.name))
            .collect();
        text.push_str(&format!("{}({})\n", method.name(), arguments.join(", ")));
    }
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Statistics are of the moment.
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

async fn vars(State(state): State<ApiState>) -> Response {
    let text = statistics::vars_text(&state.gateway.view(), &state.calls);
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), NO_STORE], text).into_response()
}

/// What may follow `/vars.json`.
#[derive(Debug, Default, serde::Deserialize)]
struct Pretty {
    #[serde(default)]
    pretty: bool,
}

async fn vars_json(State(state): State<ApiState>, Query(query): Query<Pretty>) -> Response {
    let text = statistics::vars_json(&state.gateway.view(), &state.calls, query.pretty);
    ([(CONTENT_TYPE, "application/json"), NO_STORE], text).into_response()
}

async fn metrics(State(state): State<ApiState>) -> Response {
    let text = statistics::metrics(&state.gateway.view(), &state.calls);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), NO_STORE], text).into_response()
}
