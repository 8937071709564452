//! Refusals: a status, a code for programs, one sentence for people. Which refusal it is is decided by whoever refuses.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What went wrong, for programs. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// 400: the request cannot be read, or asks for what may not be.
    InvalidRequest,
    /// 401: changes are not for everybody here; send a user and a password (HTTP Basic).
    LoginRequired,
    /// 403: the user may not do this.
    AuthFailed,
    /// 404: there is no such job, task, update, role or agent, or no such path.
    NotFound,
    /// 405: the path does not take this method; the header `Allow` names those it takes.
    MethodNotAllowed,
    /// 409: what is to be created is there already, or what is asked does not fit the present state.
    Conflict,
    /// 409: an update of the job is active; `updateId` names it where it is known.
    JobUpdatingError,
    /// 413: the body is too long.
    BodyTooLarge,
    /// 415: the body is written in something that is not read here.
    UnsupportedMediaType,
    /// 422: the idempotency key was used for another request.
    IdempotencyKeyReused,
    /// 500: failed inside; nothing was changed.
    Error,
    /// 503: not now, or the outcome is unknown; ask again after the seconds that `Retry-After` names, best with the same
    /// idempotency key.
    ErrorTransient,
}

impl ErrorCode {
    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::LoginRequired => StatusCode::UNAUTHORIZED,
            Self::AuthFailed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::JobUpdatingError => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Error => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ErrorTransient => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why a request is refused. A refused request changed nothing, unless `code` is `ERROR_TRANSIENT` and the sentence says that the outcome
/// is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// One sentence that says what is wrong and what to do.
    #[schema(example = "There is no job www-data/prod/hello.")]
    pub error: String,
    /// The same for programs.
    pub code: ErrorCode,
    /// The update that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    pub update_id: Option<String>,
    /// Where in the body it is wrong: the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    pub line: Option<usize>,
    /// Where in that line: the character, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    pub column: Option<usize>,
}

/// Most answers are either what was asked for or a problem. Boxed, so that passing one on stays cheap.
pub type Outcome<T = Response> = Result<T, Box<Problem>>;

impl Problem {
    /// A refusal with a sentence.
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Box<Self> {
        Box::new(Self { error: error.into(), code, update_id: None, line: None, column: None })
    }

    /// 400.
    pub fn invalid(error: impl Into<String>) -> Box<Self> {
        Self::new(ErrorCode::InvalidRequest, error)
    }

    /// 404.
    pub fn not_found(error: impl Into<String>) -> Box<Self> {
        Self::new(ErrorCode::NotFound, error)
    }
}

/// Seconds until a caller should ask again.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("1");

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), [(CACHE_CONTROL, "no-store")], Json(&*self)).into_response();
        if self.code == ErrorCode::ErrorTransient {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }
}

/// What any question may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "tells the document what may come")]
pub enum ReadingRefused {
    /// The request cannot be read: an unknown or malformed parameter.
    #[response(status = 400)]
    Invalid(Problem),
    /// Failed inside.
    #[response(status = 500)]
    Failed(Problem),
}

/// What a question about one thing may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "tells the document what may come")]
pub enum LookingRefused {
    /// The request cannot be read: an unknown or malformed parameter.
    #[response(status = 400)]
    Invalid(Problem),
    /// There is no such thing.
    #[response(status = 404)]
    NotFound(Problem),
    /// Failed inside.
    #[response(status = 500)]
    Failed(Problem),
}

/// What any change may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "tells the document what may come")]
pub enum ChangeRefused {
    /// The request cannot be read, or asks for what may not be; nothing changed.
    #[response(status = 400)]
    Invalid(Problem),
    /// Changes are not for everybody here: say who you are (HTTP Basic).
    #[response(status = 401)]
    LoginRequired(Problem),
    /// You may not do this.
    #[response(status = 403)]
    AuthFailed(Problem),
    /// There is no such thing.
    #[response(status = 404)]
    NotFound(Problem),
    /// It does not fit the present state: there already, or an update is active.
    #[response(status = 409)]
    Conflict(Problem),
    /// The body is too long.
    #[response(status = 413)]
    BodyTooLarge(Problem),
    /// The body is written in something that is not read here.
    #[response(status = 415)]
    UnsupportedMediaType(Problem),
    /// The idempotency key was used for another request.
    #[response(status = 422)]
    IdempotencyKeyReused(Problem),
    /// Failed inside; nothing was changed.
    #[response(status = 500)]
    Failed(Problem),
    /// Not now, or the outcome is unknown: ask again, best with the same idempotency key. Has the header `Retry-After`.
    #[response(status = 503)]
    Transient(Problem),
}
