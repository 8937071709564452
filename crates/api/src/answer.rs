//! What a method answers, before it is encoded: the response code, sentences for people, a result (spec thrift-api 3.1).

use std::sync::Arc;

use model::JobKey;
use scheduler::{Reply, ReplyCode, Task};
use thrift::{Response, ResponseCode, ResponseDetail, ResponseResult, ServerInfo};

use crate::streamed::jobs::Job;

/// The answer of a method.
#[derive(Debug)]
pub enum Answer {
    /// A response held as a whole.
    Whole(Box<Response>),
    /// Tasks that are encoded one by one while the reply leaves.
    Tasks {
        /// Which, in the order of the reply.
        tasks: Vec<Arc<Task>>,
        /// Whether the executor's document goes along.
        with_executor_data: bool,
    },
    /// Jobs with the counts of their tasks, encoded one by one likewise.
    JobSummaries(Vec<Job>),
    /// Configurations of jobs, encoded one by one likewise.
    Jobs(Vec<Job>),
}

/// Why a method is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which code.
    pub code: ResponseCode,
    /// One sentence.
    pub message: String,
}

/// The result of a method.
pub type MethodResult<T> = Result<T, Refusal>;

impl Refusal {
    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Refusal { code: ResponseCode::InvalidRequest, message: message.into() }
    }

    /// An argument is missing or malformed; Aurora's answer to a failed assertion on arguments.
    pub fn error(message: impl Into<String>) -> Self {
        Refusal { code: ResponseCode::Error, message: message.into() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Answer::of(refusal.code, None, vec![refusal.message])
    }
}

impl Answer {
    /// An answer with all its parts. The server's own particulars are added when it is encoded.
    pub fn of(code: ResponseCode, result: Option<ResponseResult>, messages: Vec<String>) -> Self {
        Answer::Whole(Box::new(Response {
            response_code: Some(code),
            result,
            server_info: None,
            details: messages.into_iter().map(|message| ResponseDetail { message: Some(message) }).collect(),
        }))
    }

    /// Success with a result.
    pub fn ok(result: ResponseResult) -> Self {
        Answer::of(ResponseCode::Ok, Some(result), Vec::new())
    }

    /// The answer to a command, with the result that the adapter made of its outcome.
    pub fn of_reply(reply: Reply, result: Option<ResponseResult>) -> Self {
        Answer::of(response_code(reply.code), result, reply.messages)
    }

    /// Its response code.
    pub fn code(&self) -> ResponseCode {
        match self {
            Answer::Whole(response) => response.response_code.unwrap_or(ResponseCode::Error),
            Answer::Tasks { .. } | Answer::JobSummaries(_) | Answer::Jobs(_) => ResponseCode::Ok,
        }
    }

    /// Fills in who answers.
    pub fn signed(mut self, server_info: &ServerInfo) -> Self {
        if let Answer::Whole(response) = &mut self {
            response.server_info = Some(server_info.clone());
        }
        self
    }
}

/// The same code on the wire.
pub(crate) fn response_code(code: ReplyCode) -> ResponseCode {
    match code {
        ReplyCode::InvalidRequest => ResponseCode::InvalidRequest,
        ReplyCode::Ok => ResponseCode::Ok,
        ReplyCode::Error => ResponseCode::Error,
        ReplyCode::AuthFailed => ResponseCode::AuthFailed,
        ReplyCode::JobUpdatingError => ResponseCode::JobUpdatingError,
        ReplyCode::ErrorTransient => ResponseCode::ErrorTransient,
    }
}

/// A required argument.
pub fn given<T>(argument: Option<T>, name: &str) -> MethodResult<T> {
    argument.ok_or_else(|| Refusal::error(format!("The argument {name} is missing.")))
}

/// A required job key whose parts are identifiers.
pub fn given_job(argument: Option<thrift::JobKey>, name: &str) -> MethodResult<JobKey> {
    let key = JobKey::from(given(argument, name)?);
    if key.is_valid() {
        Ok(key)
    } else {
        Err(Refusal::error(format!("'{key}' is not a job key: write role/environment/name.")))
    }
}

/// A required update key: a valid job and an id that is not blank.
pub fn given_update(argument: Option<thrift::JobUpdateKey>, name: &str) -> MethodResult<model::UpdateKey> {
    let key = given(argument, name)?;
    let job = given_job(key.job, "job of the update key")?;
    if key.id.trim().is_empty() {
        return Err(Refusal::error("The update key has no id."));
    }
    Ok(model::UpdateKey { job, id: key.id })
}
