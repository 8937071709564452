//! The routes before a real core, without engine, journal or socket: everything is durable at once.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod door;

use std::sync::Arc;

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use gateway::Gateway;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

/// The routes before a real core that holds a job, an update and a quota.
pub struct House {
    pub router: Router,
    pub gateway: Arc<Gateway>,
}

impl House {
    pub async fn new() -> Self {
        let (_, gateway) = door::CoreDoor::open();
        let house = House { router: router(ApiState::new(gateway.clone(), ApiSettings::default())), gateway };
        let config = |instances: i32| {
            json!({
                "job": key(), "isService": true, "executorConfig": {"name": "AuroraExecutor", "data": "{}"},
                "resources": [{"numCpus": 0.5}, {"ramMb": 16 + instances}, {"diskMb": 32}],
            })
        };
        let description = json!({"key": key(), "taskConfig": config(0), "instanceCount": 3});
        for (method, arguments) in [
            (
                "setQuota",
                json!({"ownerRole": "www-data", "quota": {"resources": [{"numCpus": 9.0}, {"ramMb": 999}, {"diskMb": 999}]}}),
            ),
            ("createJob", json!({"description": description})),
            (
                "startJobUpdate",
                json!({"request": {"taskConfig": config(1), "instanceCount": 3, "settings": {"updateGroupSize": 1}}}),
            ),
        ] {
            let (status, body) =
                house.send(&format!("/apibeta/{method}"), "application/json", arguments.to_string().into()).await;
            assert!(
                status == StatusCode::OK && String::from_utf8_lossy(&body).contains("\"OK\""),
                "{method}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        house
    }

    pub async fn send(&self, path: &str, media_type: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        self.send_with(path, media_type, &[], body).await
    }

    /// The same with more headers.
    pub async fn send_with(
        &self,
        path: &str,
        media_type: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, Vec<u8>) {
        let request = Request::post(path).header("content-type", media_type).header("accept", media_type);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status();
        (status, to_bytes(answer.into_body(), usize::MAX).await.expect("a whole body").to_vec())
    }

    /// All that is stored and that a call could change.
    pub fn stored(&self) -> String {
        let view = self.gateway.view();
        format!(
            "{:?}",
            (
                (&view.tasks, &view.updates, &view.update_progress, &view.update_pulses, &view.cron_jobs),
                (&view.hosts, &view.maintenance, &view.quotas, &view.configs),
            )
        )
    }
}

pub fn key() -> Json {
    json!({"role": "www-data", "environment": "prod", "name": "hello"})
}
