//! The OpenAPI document, made from the handlers themselves.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, RefOr, Required};

use super::NO_STORE;
use super::change::Nothing;
use super::problem::{Problem, ReadingRefused};
use super::reading::Parameters;
use crate::forecast;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Daybreak",
        description = "The REST API of a Daybreak scheduler. Times are in ms since the epoch, processors in cores, memory and disk in MB. \
Unknown parameters and fields are refused. A change that is sent with the header `Idempotency-Key` is made once, however often it is \
sent, and answered alike each time. Answers may get more fields; none changes its meaning.",
        version = "v1",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(forecast::plan, forecast::explain),
    components(schemas(Problem)),
    tags(
        (name = "about", description = "What answers here."),
        (name = "jobs", description = "Jobs: tasks of the same kind under one key."),
        (name = "tasks", description = "Tasks: runs of a job's instances."),
        (name = "cron", description = "Jobs that are started by a schedule."),
        (name = "updates", description = "Changes of running jobs, a few instances at a time."),
        (name = "quotas", description = "What the production jobs of a role may hold."),
        (name = "agents", description = "The machines, and their maintenance."),
        (name = "judgement", description = "What would be, and why something is as it is."),
    ),
)]
struct Head;

/// Name of the way in which callers say who they are.
const BASIC: &str = "basic";

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let (reading, changing) = super::handlers();
    let (_, reading) = reading.split_for_parts();
    let (_, mut changing) = changing.split_for_parts();
    for item in changing.paths.paths.values_mut() {
        for operation in [&mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            complete(operation);
        }
    }
    let mut document = Head::openapi();
    document.merge(reading);
    document.merge(changing);
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            operation.parameters.iter_mut().flatten().for_each(limit_to_identifiers);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(BASIC, SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    document
}

/// What every change takes: a key, and a name where callers have to say who they are.
fn complete(operation: &mut Operation) {
    operation.parameters.get_or_insert_with(Vec::new).push(idempotency_key().into());
    operation.security =
        Some(vec![SecurityRequirement::default(), SecurityRequirement::new::<_, [&str; 0], &str>(BASIC, [])]);
}

/// Parts of a job's key are identifiers.
fn limit_to_identifiers(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else { return };
    let is_part = ["role", "environment", "name"].contains(&parameter.name.as_str());
    if is_part && parameter.parameter_in == ParameterIn::Path {
        let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
        parameter.schema = Some(schema.pattern(Some("^[A-Za-z0-9_.-]+$")).build().into());
    }
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Your name for this change, such as a random UUID: however often it is sent, the change is made once.",
        ))
        .schema(Some(schema.pattern(Some("^[!-~]+$")).build()))
        .build()
}

static TEXT: LazyLock<String> =
    LazyLock::new(|| document().to_pretty_json().expect("the document has only plain values"));

/// This description
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "openapi",
    tag = "about",
    responses((status = 200, description = "The OpenAPI document.", body = Object), ReadingRefused)
)]
pub async fn openapi(Parameters(Nothing {}): Parameters<Nothing>) -> Response {
    ([(CONTENT_TYPE, "application/json")], [NO_STORE], TEXT.as_str()).into_response()
}
