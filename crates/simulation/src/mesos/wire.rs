//! Requests as they come over HTTP and what they are answered, in the order in which Mesos checks them (spec mesos 1.4, 3.10). No sockets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mesos::json::Json;
use mesos::v1::executor as executor_api;
use mesos::v1::scheduler::{Call, call};
use prost::Message;

use super::agent::wire::is_uuid;
use super::cluster::{Answer, Cluster};

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method, upper case.
    pub method: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Accept`.
    pub accept: Option<String>,
    /// `Mesos-Stream-Id`.
    pub stream_id: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// Body.
    pub body: Bytes,
}

/// Form of bodies and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => mesos::PROTOBUF,
            Self::Json => mesos::JSON,
        }
    }

    /// Writes a message.
    pub fn write<M: Message + Json>(self, message: &M) -> Vec<u8> {
        match self {
            Self::Protobuf => message.encode_to_vec(),
            Self::Json => message.to_json_text().into_bytes(),
        }
    }

    fn read<M: Message + Json + Default>(self, body: &Bytes) -> Result<M, String> {
        match self {
            Self::Protobuf => {
                M::decode(body.clone()).map_err(|error| format!("Failed to parse body into Call protobuf: {error}"))
            }
            Self::Json => {
                let text =
                    std::str::from_utf8(body).map_err(|error| format!("Failed to parse body into JSON: {error}"))?;
                M::from_json_text(text).map_err(|error| format!("Failed to parse body into JSON: {error}"))
            }
        }
    }
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status with a text, and perhaps a header.
    Plain {
        /// The status.
        status: u16,
        /// The body.
        text: String,
        /// A name and a value.
        header: Option<(&'static str, String)>,
    },
    /// 200, and events from now on.
    Stream {
        /// Its number in the cluster.
        stream: u64,
        /// Its `Mesos-Stream-Id`; executors get none.
        id: Option<String>,
        /// How its events are written.
        encoding: Encoding,
    },
}

impl Reply {
    fn plain(status: u16, text: impl Into<String>) -> Self {
        Self::Plain { status, text: text.into(), header: None }
    }
}

/// Which encoding the events get: JSON wherever it is acceptable; `None` if neither is.
fn accepted(accept: Option<&str>) -> Option<Encoding> {
    let Some(accept) = accept else { return Some(Encoding::Json) };
    let types: Vec<&str> = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim()).collect();
    let any = |names: &[&str]| types.iter().any(|given| names.contains(given));
    if any(&["*/*", "application/*", mesos::JSON]) {
        return Some(Encoding::Json);
    }
    any(&[mesos::PROTOBUF]).then_some(Encoding::Protobuf)
}

/// Method, Content-Type and body (spec mesos 1.4 #5 to #8).
fn read_body<M: Message + Json + Default>(request: &Request) -> Result<M, Reply> {
    if request.method != "POST" {
        let header = Some(("allow", "POST".to_owned()));
        return Err(Reply::Plain { status: 405, text: "Expecting one of { 'POST' }".into(), header });
    }
    let encoding = match request.content_type.as_deref() {
        None => return Err(Reply::plain(400, "Expecting 'Content-Type' to be present")),
        Some(mesos::PROTOBUF) => Encoding::Protobuf,
        Some(mesos::JSON) => Encoding::Json,
        Some(_) => {
            let text = format!("Expecting 'Content-Type' of {} or {}", mesos::JSON, mesos::PROTOBUF);
            return Err(Reply::plain(415, text));
        }
    };
    encoding.read(&request.body).map_err(|text| Reply::plain(400, text))
}

impl Cluster {
    /// A request to `/api/v1/scheduler` of a master.
    pub fn scheduler_request(&mut self, master: usize, request: &Request) -> Reply {
        self.try_scheduler_request(master, request).unwrap_or_else(|reply| reply)
    }

    fn try_scheduler_request(&mut self, master: usize, request: &Request) -> Result<Reply, Reply> {
        let principal = self.authenticate(request)?;
        self.serving(master).map_err(|answer| match answer {
            Answer::Redirect(leader) => {
                let header = Some(("location", format!("//{leader}{}", mesos::SCHEDULER_PATH)));
                Reply::Plain { status: 307, text: String::new(), header }
            }
            Answer::Status(status, text) => Reply::plain(status, text),
            Answer::Stream { .. } => Reply::plain(503, ""),
        })?;
        let call: Call = read_body(request)?;
        let kind =
            validate(&call).map_err(|text| Reply::plain(400, format!("Failed to validate scheduler::Call: {text}")))?;
        let accept = accepted(request.accept.as_deref());
        if matches!(kind, call::Type::Subscribe | call::Type::ReconcileOperations) && accept.is_none() {
            return Err(Reply::plain(
                406,
                format!("Expecting 'Accept' to allow {} or {}", mesos::PROTOBUF, mesos::JSON),
            ));
        }
        if kind == call::Type::Subscribe && request.stream_id.is_some() {
            return Err(Reply::plain(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header"));
        }
        Ok(match self.call(call, request.stream_id.as_deref(), principal.as_deref()) {
            Answer::Status(status, text) => Reply::plain(status, text),
            Answer::Redirect(_) => Reply::plain(503, ""),
            Answer::Stream { stream, id } => {
                Reply::Stream { stream, id: Some(id), encoding: accept.unwrap_or(Encoding::Json) }
            }
        })
    }

    /// Basic authentication, if it is on.
    fn authenticate(&self, request: &Request) -> Result<Option<String>, Reply> {
        let Some(credentials) = &self.settings().credentials else { return Ok(None) };
        let given = request.authorization.as_deref().and_then(|header| header.strip_prefix("Basic "));
        let given = given.and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
        let known = given.as_deref().and_then(|given| given.split_once(':')).and_then(|(principal, secret)| {
            credentials.iter().find(|(name, word)| name == principal && word == secret)
        });
        known.map(|(principal, _)| Some(principal.clone())).ok_or_else(|| Reply::Plain {
            status: 401,
            text: String::new(),
            header: Some(("www-authenticate", "Basic realm=\"mesos-master-scheduler\"".into())),
        })
    }

    /// A request to `/api/v1/executor` of an agent.
    pub fn executor_request(&mut self, agent: usize, request: &Request) -> Reply {
        self.try_executor_request(agent, request).unwrap_or_else(|reply| reply)
    }

    fn try_executor_request(&mut self, agent: usize, request: &Request) -> Result<Reply, Reply> {
        let call: executor_api::Call = read_body(request)?;
        let kind = super::agent::wire::validate(&call).map_err(|(status, text)| Reply::plain(status, text))?;
        let encoding = accepted(request.accept.as_deref());
        if kind == executor_api::call::Type::Subscribe && encoding.is_none() {
            return Err(Reply::plain(406, "Expecting 'Accept' to allow a supported type"));
        }
        let (stream, status) =
            self.executor_call(agent, kind, call).map_err(|(status, text)| Reply::plain(status, text))?;
        Ok(match kind {
            executor_api::call::Type::Subscribe => {
                Reply::Stream { stream, id: None, encoding: encoding.unwrap_or(Encoding::Json) }
            }
            _ => Reply::plain(status, ""),
        })
    }
}

/// The form of a call (spec mesos 1.6).
fn validate(call: &Call) -> Result<call::Type, String> {
    use call::Type;
    let kind = match call.r#type {
        None => return Err("Expecting 'type' to be present".into()),
        Some(number) => Type::try_from(number).unwrap_or(Type::Unknown),
    };
    if kind == Type::Unknown {
        return Ok(kind);
    }
    if kind == Type::Subscribe {
        let Some(subscribe) = &call.subscribe else { return Err("Expecting 'subscribe' to be present".into()) };
        let inner = subscribe.framework_info.id.as_ref().map_or("", |id| id.value.as_str());
        let outer = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        if inner != outer {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".into());
        }
        return Ok(kind);
    }
    let Some(id) = &call.framework_id else { return Err("Expecting 'framework_id' to be present".into()) };
    let sixteen = |uuid: &Bytes| if is_uuid(uuid) { Ok(()) } else { Err("Not a valid UUID".to_owned()) };
    let present = match kind {
        Type::Accept => call.accept.is_some(),
        Type::Decline => call.decline.is_some(),
        Type::Kill => call.kill.is_some(),
        Type::Shutdown => call.shutdown.is_some(),
        Type::Acknowledge => call.acknowledge.as_ref().map(|ack| sixteen(&ack.uuid)).transpose()?.is_some(),
        Type::Reconcile => call.reconcile.is_some(),
        Type::Message => call.message.is_some(),
        Type::Request => call.request.is_some(),
        Type::AcceptInverseOffers => call.accept_inverse_offers.is_some(),
        Type::DeclineInverseOffers => call.decline_inverse_offers.is_some(),
        Type::AcknowledgeOperationStatus => {
            let acknowledge = call.acknowledge_operation_status.as_ref();
            if acknowledge.is_some_and(|acknowledge| acknowledge.agent_id.is_none()) {
                return Err("Expecting 'agent_id' to be present".into());
            }
            acknowledge.map(|acknowledge| sixteen(&acknowledge.uuid)).transpose()?.is_some()
        }
        Type::ReconcileOperations => call.reconcile_operations.is_some(),
        Type::UpdateFramework => {
            let update = call.update_framework.as_ref();
            let inner = update.and_then(|update| update.framework_info.id.as_ref());
            if update.is_some() && inner != Some(id) {
                return Err("'framework_id' differs from 'update_framework.framework_info.id'".into());
            }
            update.is_some()
        }
        Type::Teardown | Type::Revive | Type::Suppress | Type::Subscribe | Type::Unknown => true,
    };
    if present { Ok(kind) } else { Err(format!("Expecting '{}' to be present", kind.name().to_lowercase())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_wins_wherever_it_is_acceptable() {
        assert_eq!(accepted(None), Some(Encoding::Json));
        assert_eq!(accepted(Some("*/*")), Some(Encoding::Json));
        assert_eq!(accepted(Some("application/x-protobuf, application/json;q=0.1")), Some(Encoding::Json));
        assert_eq!(accepted(Some("application/x-protobuf")), Some(Encoding::Protobuf));
        assert_eq!(accepted(Some("text/html")), None);
    }
}
