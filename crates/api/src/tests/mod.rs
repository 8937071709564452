//! The routes against a scheduler that is played: what is asked of it is kept, what it answers is given.

mod access;
mod admin;
mod calls;
mod forecast;
mod http;
mod questions;

use std::sync::{Arc, Mutex, OnceLock, Weak};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use gateway::{Authorizer, Door, Everyone, Gateway, Lane, Policy};
use scheduler::{Command, Input, Principal, Reply, View};
use thrift::{Call, Limits, Protocol, Response, decode_reply, encode_call};
use tower::ServiceExt;

use crate::{ApiSettings, ApiState, router};

type Asked = Arc<Mutex<Vec<(Principal, Command)>>>;

/// Answers every command at once with the same reply.
struct PlayedScheduler {
    gateway: Arc<OnceLock<Weak<Gateway>>>,
    asked: Asked,
    reply: Reply,
}

impl Door for PlayedScheduler {
    fn enter(&self, _: Lane, input: Input) -> bool {
        let Input::Command { request, principal, command, .. } = input else { return false };
        self.asked.lock().unwrap().push((principal, command));
        let gateway = self.gateway.get().and_then(Weak::upgrade).expect("the gateway lives");
        gateway.deliver(request, self.reply.clone());
        true
    }
}

/// The routes, and what was asked of the scheduler behind them.
pub(crate) struct House {
    router: Router,
    asked: Asked,
}

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl House {
    pub(crate) fn new(view: View, reply: Reply) -> Self {
        Self::with_settings(view, reply, ApiSettings::default())
    }

    fn with_operations(view: View, reply: Reply, operations: Arc<dyn crate::Operations>) -> Self {
        Self::furnished(view, reply, Arc::new(Everyone), |gateway| {
            ApiState::new(gateway, ApiSettings::default()).with_operations(operations)
        })
    }

    fn with_settings(view: View, reply: Reply, settings: ApiSettings) -> Self {
        Self::guarded(view, reply, settings, Arc::new(Everyone))
    }

    fn guarded(view: View, reply: Reply, settings: ApiSettings, authorizer: Arc<dyn Authorizer>) -> Self {
        Self::furnished(view, reply, authorizer, |gateway| ApiState::new(gateway, settings))
    }

    fn furnished(
        view: View,
        reply: Reply,
        authorizer: Arc<dyn Authorizer>,
        state: impl FnOnce(Arc<Gateway>) -> ApiState,
    ) -> Self {
        let asked = Asked::default();
        let own = Arc::new(OnceLock::new());
        let door = PlayedScheduler { gateway: own.clone(), asked: asked.clone(), reply };
        let gateway = Arc::new(Gateway::new(Box::new(door), Policy::default()).with_authorizer(authorizer));
        own.set(Arc::downgrade(&gateway)).expect("set once");
        gateway.publish(Arc::new(view));
        House { router: router(state(gateway)), asked }
    }

    async fn send(&self, request: Request<Body>) -> Seen {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        Seen { status: parts.status, headers: parts.headers, body }
    }

    /// A call over Thrift JSON, answered in it.
    pub(crate) async fn call(&self, call: impl Into<Call>) -> Response {
        let call = call.into();
        let body = encode_call(Protocol::Json, 3, &call);
        let seen = self.send(Request::post("/api").body(Body::from(body)).unwrap()).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert_eq!(seen.header("content-type"), "application/vnd.apache.thrift.json");
        decode_reply(Protocol::Json, call.method(), 3, &seen.body, Limits::REPLY).expect("a reply")
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        self.asked.lock().unwrap().iter().map(|(_, command)| command.clone()).collect()
    }
}

fn messages(response: &Response) -> Vec<&str> {
    response.details.iter().map(|detail| detail.message.as_deref().unwrap_or_default()).collect()
}

fn job_key() -> thrift::JobKey {
    thrift::JobKey::from(&model::JobKey::new("vagrant", "prod", "x"))
}
