//! `/api` and `/apibeta` as a whole, before a real core that holds a job, an update, a quota and a cron job.

#[path = "../../crates/api/tests/common/door.rs"]
mod door;

use std::sync::Arc;

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use door::CoreDoor;
use gateway::Gateway;
use http_body_util::BodyExt;
use scheduler::Input;
use thrift::{Method, Protocol};
use tower::ServiceExt;

struct World {
    routes: Router,
    door: Arc<CoreDoor>,
    _gateway: Arc<Gateway>,
    runtime: tokio::runtime::Runtime,
}

const KEY: &str = r#"{"role": "www-data", "environment": "prod", "name": "hello"}"#;

impl World {
    fn new() -> Self {
        let (door, gateway) = CoreDoor::open();
        let routes = router(ApiState::new(gateway.clone(), ApiSettings::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let world = Self { routes, door, _gateway: gateway, runtime };
        let resources = r#"[{"numCpus": 0.5}, {"ramMb": 16}, {"diskMb": 32}]"#;
        let config = format!(
            r#"{{"job": {KEY}, "isService": true, "resources": {resources}, "executorConfig": {{"name": "AuroraExecutor", "data": "{{}}"}}}}"#
        );
        for (method, arguments) in [
            ("setQuota", format!(r#"{{"ownerRole": "www-data", "quota": {{"resources": {resources}}}}}"#)),
            (
                "createJob",
                format!(r#"{{"description": {{"key": {KEY}, "taskConfig": {config}, "instanceCount": 3}}}}"#),
            ),
            (
                "startJobUpdate",
                format!(
                    r#"{{"request": {{"taskConfig": {config}, "instanceCount": 5, "settings": {{"updateGroupSize": 1}}}}}}"#
                ),
            ),
        ] {
            let (status, body) = world.send(&format!("/apibeta/{method}"), "application/json", arguments.as_bytes());
            assert!(status == StatusCode::OK && body.contains("\"OK\""), "{method}: {body}");
        }
        world
    }

    fn send(&self, path: &str, media_type: &str, body: &[u8]) -> (StatusCode, String) {
        let request = Request::post(path).header("content-type", media_type).header("accept", media_type);
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        self.runtime.block_on(async {
            let answer = self.routes.clone().oneshot(request).await.expect("routes never fail");
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }
}

/// The first byte chooses how the rest is sent. Each request gets an answer, and the core goes on after it.
pub fn call(data: &[u8]) {
    let Some((&way, body)) = data.split_first() else { return };
    let world = World::new();
    let (path, media_type) = match usize::from(way) {
        0 => ("/api".to_owned(), Protocol::Json.media_type()),
        1 => ("/api".to_owned(), Protocol::Binary.media_type()),
        other => {
            let method = Method::ALL[other % Method::ALL.len()];
            (format!("/apibeta/{}", method.name()), "application/json")
        }
    };
    let (status, answer) = world.send(&path, media_type, body);
    // A message of which not even the method can be read is answered with 500, as Aurora does.
    let unreadable = status == StatusCode::INTERNAL_SERVER_ERROR && answer.starts_with("The request cannot be read");
    assert!(unreadable || [StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{path}: {status} {answer}");
    assert!(!answer.contains("could not be"), "{path}: {answer}");
    for _ in 0..3 {
        world.door.step(Input::Tick);
    }
}
