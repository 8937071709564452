//! From a request that changes something to a command, and from the scheduler's reply to an answer. Every change passes here: who asks,
//! how long a body may be, that it is carried out to its end, and once per idempotency key.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gateway::Permission;
use gateway::permission::demanded;
use model::JobKey;
use scheduler::command::Outcome as Effect;
use scheduler::idempotency::AnswerKey;
use scheduler::{Command, Idempotency, Principal, Reply, ReplyCode, View};
use serde::de::DeserializeOwned;

use super::problem::{ErrorCode, Outcome, Problem};
use super::{Rest, reading};
use crate::idempotency;

/// The longest body of a change, in bytes.
const MAX_BODY_BYTES: usize = super::MAX_JOB_FILE_BYTES;

/// Middleware: refuses unknown callers where changes are not for everybody, reads the body, and carries the change out to its end even when
/// the caller hangs up meanwhile, as the other interfaces do.
pub async fn to_its_end(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    if request.extensions().get::<Principal>().is_none() && rest.gateway.requires_login() {
        let sentence = "This is not for everybody: say who you are, with HTTP Basic (curl --user NAME).";
        return Problem::new(ErrorCode::LoginRequired, sentence).into_response();
    }
    let (parts, body) = request.into_parts();
    let body = match whole_body(body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let performing = tokio::spawn(next.run(Request::from_parts(parts, Body::from(body))));
    performing.await.unwrap_or_else(|failure| {
        let sentence = format!("The change could not be carried out: {failure}.");
        Problem::new(ErrorCode::Error, sentence).into_response()
    })
}

async fn whole_body(body: Body) -> Outcome<Bytes> {
    let limited = http_body_util::Limited::new(body, MAX_BODY_BYTES);
    match http_body_util::BodyExt::collect(limited).await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let sentence = format!("The body is longer than the {MAX_BODY_BYTES} bytes that are read here.");
            Err(Problem::new(ErrorCode::BodyTooLarge, sentence))
        }
        Err(_) => Err(Problem::invalid("The request ended early: send it again.")),
    }
}

/// A request that changes something.
pub struct Change {
    /// Who asks, if he said it and was believed.
    pub caller: Option<Principal>,
    /// Its body.
    pub body: Bytes,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = Box<Problem>;

    async fn from_request(request: Request, _: &S) -> Result<Self, Box<Problem>> {
        let (parts, body) = request.into_parts();
        let body = whole_body(body).await?;
        let caller = parts.extensions.get::<Principal>().cloned();
        Ok(Self { caller, body, method: parts.method, uri: parts.uri, headers: parts.headers })
    }
}

/// A change without any parameter, or with a body without any field.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Change {
    /// Its parameters.
    pub fn parameters<T: DeserializeOwned>(&self) -> Outcome<T> {
        reading::parameters(&self.uri)
    }

    /// The type of its body, lower-case and without parameters; nothing where it says none.
    pub fn media_type(&self) -> Option<String> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// Its body in JSON. It takes no parameters.
    pub fn json<T: DeserializeOwned>(&self) -> Outcome<T> {
        let Nothing {} = self.parameters()?;
        match self.media_type().as_deref() {
            Some("application/json") => reading::json(&self.body),
            _ if self.body.is_empty() => {
                Err(Problem::invalid("The body is missing: send an object with Content-Type application/json."))
            }
            other => Err(not_json(other)),
        }
    }

    /// The same where the body may be left out.
    pub fn json_or_nothing<T: DeserializeOwned + Default>(&self) -> Outcome<T> {
        let Nothing {} = self.parameters()?;
        match self.media_type().as_deref() {
            _ if self.body.is_empty() => Ok(T::default()),
            Some("application/json") => Ok(reading::json::<Option<T>>(&self.body)?.unwrap_or_default()),
            other => Err(not_json(other)),
        }
    }

    /// That it says nothing but its path.
    pub fn nothing(&self) -> Outcome<()> {
        self.json_or_nothing().map(|Nothing {}| ())
    }

    fn principal(&self) -> Principal {
        self.caller.clone().unwrap_or_else(Principal::unsecure)
    }

    fn idempotency(&self) -> Outcome<Option<Idempotency>> {
        let (path, query) = (self.uri.path(), self.uri.query().unwrap_or_default());
        let parts = [self.method.as_str().as_bytes(), path.as_bytes(), query.as_bytes(), &self.body];
        idempotency::of_request(&self.headers, &parts).map_err(Problem::invalid)
    }

    /// Makes the change and gives the reply of one that was made; a refusal is a problem, with the status that `refusal` finds for it.
    pub async fn submit(
        &self,
        rest: &Rest,
        command: Command,
        refusal: impl FnOnce(&View) -> Option<Box<Problem>>,
    ) -> Outcome<Reply> {
        let once = self.idempotency()?;
        let job = job_of(&command);
        let reply = rest.gateway.submit_once(self.principal(), command, once).await;
        match reply.code {
            ReplyCode::Ok => Ok(reply),
            _ => Err(refused(reply, job, refusal, &rest.gateway.view())),
        }
    }

    /// The same for a change that is made, though to no effect, where there is nothing to change: then it is a problem, unless it is
    /// the repetition of one that was made.
    pub async fn submit_to(
        &self,
        rest: &Rest,
        command: Command,
        missing: impl Fn(&View) -> Option<Box<Problem>>,
    ) -> Outcome<Reply> {
        if let Some(reply) = rest.gateway.objection(Some(&self.principal()), &command) {
            return Err(refused(reply, None, |_| None, &rest.gateway.view()));
        }
        let view = rest.gateway.view();
        if let Some(problem) = missing(&view) {
            let key_of = |once: Idempotency| AnswerKey { principal: self.principal().name.into(), key: once.key };
            if !self.idempotency()?.is_some_and(|once| view.answers.contains_key(&key_of(once))) {
                return Err(problem);
            }
        }
        self.submit(rest, command, missing).await
    }
}

fn not_json(said: Option<&str>) -> Box<Problem> {
    let sentence = match said {
        Some(said) => format!("The body is read as application/json, not as '{said}'."),
        None => "Say what the body is: Content-Type application/json.".to_owned(),
    };
    Problem::new(ErrorCode::UnsupportedMediaType, sentence)
}

/// A refusal of the scheduler. Its codes are few; what is wrong with a request is told more exactly where the view shows it.
fn refused(
    reply: Reply,
    job: Option<JobKey>,
    exactly: impl FnOnce(&View) -> Option<Box<Problem>>,
    view: &View,
) -> Box<Problem> {
    let sentence = match reply.messages.as_slice() {
        [] => "Refused.".to_owned(),
        messages => messages.join(" "),
    };
    let code = match reply.code {
        ReplyCode::InvalidRequest if reply.outcome == Effect::KeyOfAnother => ErrorCode::IdempotencyKeyReused,
        ReplyCode::InvalidRequest => match exactly(view) {
            Some(problem) => return Box::new(Problem { error: sentence, ..*problem }),
            None => ErrorCode::InvalidRequest,
        },
        ReplyCode::AuthFailed => ErrorCode::AuthFailed,
        ReplyCode::JobUpdatingError => ErrorCode::JobUpdatingError,
        ReplyCode::ErrorTransient => ErrorCode::ErrorTransient,
        ReplyCode::Ok | ReplyCode::Error => ErrorCode::Error,
    };
    let mut problem = Problem::new(code, sentence);
    if let Effect::Update(update) = &reply.outcome {
        problem.code = ErrorCode::JobUpdatingError;
        problem.update_id = Some(update.key.id.clone());
    } else if let (ErrorCode::JobUpdatingError, Some(job)) = (code, job) {
        problem.update_id = view.active_update(&job).map(|update| update.key.id.clone());
    }
    problem
}

/// The job that a command is about.
fn job_of(command: &Command) -> Option<JobKey> {
    match demanded(command) {
        Permission::Job { job, .. } => Some(job),
        Permission::Admin { .. } => None,
    }
}

/// What people should know of a change that was made.
pub fn message_of(reply: &Reply) -> Option<String> {
    (!reply.messages.is_empty()).then(|| reply.messages.join(" "))
}

/// How many tasks a change was about.
pub fn tasks_of(reply: &Reply) -> u32 {
    match reply.outcome {
        Effect::Tasks(count) => count,
        _ => 0,
    }
}
