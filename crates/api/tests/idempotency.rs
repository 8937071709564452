//! The header `Idempotency-Key` before a real core: a call that is sent again under its key, in whichever protocol, has one effect and the
//! same answer (reliability case T4).

mod common;

use axum::http::StatusCode;
use common::{House, key};
use serde_json::{Value as Json, json};
use thrift::{Call, Limits, Protocol, decode_plain_arguments, encode_call};

const JSON: &str = "application/json";

fn cron(name: &str) -> Json {
    json!({
        "key": {"role": "www-data", "environment": "prod", "name": name}, "instanceCount": 1, "cronSchedule": "0 0 1 1 *",
        "taskConfig": {
            "job": {"role": "www-data", "environment": "prod", "name": name},
            "executorConfig": {"name": "AuroraExecutor", "data": "{}"},
            "resources": [{"numCpus": 0.5}, {"ramMb": 16}, {"diskMb": 32}],
        },
    })
}

fn service(name: &str) -> Json {
    let mut job = cron(name);
    job["cronSchedule"] = Json::Null;
    job["taskConfig"]["isService"] = json!(true);
    job
}

/// Calls that change something each time they come, and some that are refused the second time.
fn calls(update: &Json) -> Vec<(&'static str, Json)> {
    let cron_key = json!({"role": "www-data", "environment": "prod", "name": "tick"});
    let hosts = json!({"hosts": {"hostNames": ["nobody.example"]}});
    vec![
        ("pulseJobUpdate", json!({"key": update})),
        ("pauseJobUpdate", json!({"key": update, "message": "wait"})),
        ("abortJobUpdate", json!({"key": update})),
        ("createJob", json!({"description": service("fresh")})),
        ("addInstances", json!({"key": {"jobKey": key(), "instanceId": 0}, "count": 2})),
        ("restartShards", json!({"job": key(), "shardIds": [0, 1]})),
        ("killTasks", json!({"job": key(), "instances": [0]})),
        ("scheduleCronJob", json!({"description": cron("tick")})),
        ("replaceCronTemplate", json!({"config": cron("tick")})),
        ("startCronJob", json!({"job": cron_key})),
        ("descheduleCronJob", json!({"job": cron_key})),
        ("startMaintenance", hosts.clone()),
        ("endMaintenance", hosts),
        (
            "setQuota",
            json!({"ownerRole": "www-data", "quota": {"resources": [{"numCpus": 99.0}, {"ramMb": 999}, {"diskMb": 999}]}}),
        ),
    ]
}

async fn asked(house: &House, method: &str, arguments: &Json, key: Option<&str>) -> Json {
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("idempotency-key", *key)).collect();
    let body = arguments.to_string().into_bytes();
    let (status, body) = house.send_with(&format!("/apibeta/{method}"), JSON, &headers, body).await;
    let answer: Json = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(status, StatusCode::OK, "{method}: {answer}");
    answer
}

fn update_of(house: &House) -> Json {
    let view = house.gateway.view();
    let key = view.updates.keys().next().expect("an update");
    json!({"id": key.id, "job": common::key()})
}

#[tokio::test]
async fn a_call_that_is_sent_again_under_its_key_has_one_effect_and_the_same_answer() {
    let house = House::new().await;
    for (method, arguments) in calls(&update_of(&house)) {
        let first = asked(&house, method, &arguments, Some(method)).await;
        assert_eq!(first["responseCode"], "OK", "{method}: {first}");
        let done = house.stored();
        for _ in 0..2 {
            assert_eq!(asked(&house, method, &arguments, Some(method)).await, first, "{method}");
            assert_eq!(house.stored(), done, "{method}");
        }
    }
}

#[tokio::test]
async fn without_a_key_or_with_another_one_everything_is_as_aurora_has_it() {
    let house = House::new().await;
    let update = update_of(&house);
    asked(&house, "abortJobUpdate", &json!({"key": update}), None).await;
    let arguments = json!({"key": {"jobKey": key(), "instanceId": 0}, "count": 2});
    let count = || house.gateway.view().tasks.len();
    for (key, expected) in [(None, 5), (None, 7), (Some("a"), 9), (Some("b"), 11), (Some("a"), 11), (Some("\"b\""), 11)]
    {
        assert_eq!(asked(&house, "addInstances", &arguments, key).await["responseCode"], "OK");
        assert_eq!(count(), expected, "{key:?}");
    }
}

#[tokio::test]
async fn one_key_is_one_call_in_every_protocol() {
    let house = House::new().await;
    asked(&house, "abortJobUpdate", &json!({"key": update_of(&house)}), None).await;
    let arguments = json!({"key": {"jobKey": key(), "instanceId": 0}, "count": 2});
    let call = decode_plain_arguments(thrift::Method::AddInstances, arguments.to_string().as_bytes(), Limits::REQUEST);
    let call: Call = call.unwrap();
    for (number, protocol) in [Protocol::Json, Protocol::Binary, Protocol::Json].into_iter().enumerate() {
        let body = encode_call(protocol, number as i32, &call);
        let headers = [("idempotency-key", "k")];
        let (status, _) = house.send_with("/api", protocol.media_type(), &headers, body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(house.gateway.view().tasks.len(), 5, "{protocol:?}");
    }
    asked(&house, "addInstances", &arguments, Some("k")).await;
    assert_eq!(house.gateway.view().tasks.len(), 5);
}

#[tokio::test]
async fn a_key_of_another_call_is_refused_and_what_is_no_key_is_too() {
    let house = House::new().await;
    asked(&house, "abortJobUpdate", &json!({"key": update_of(&house)}), Some("k")).await;
    let before = house.stored();
    for (method, arguments) in calls(&update_of(&house)) {
        if method == "abortJobUpdate" {
            continue;
        }
        let refused = asked(&house, method, &arguments, Some("k")).await;
        assert_eq!(refused["responseCode"], "INVALID_REQUEST", "{method}: {refused}");
        assert!(refused["details"][0]["message"].as_str().unwrap().contains("used for another request"), "{refused}");
    }
    for path in ["/api", "/apibeta/startCronJob"] {
        for bad in ["", "a b"] {
            let call = Call::from(thrift::StartCronJobArguments::default());
            let (media_type, body) = match path {
                "/api" => (Protocol::Binary.media_type(), encode_call(Protocol::Binary, 1, &call)),
                _ => (JSON, b"{}".to_vec()),
            };
            let (status, text) = house.send_with(path, media_type, &[("idempotency-key", bad)], body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(String::from_utf8_lossy(&text).starts_with("The header Idempotency-Key"));
        }
    }
    assert_eq!(house.stored(), before);
    // Questions do not mind.
    assert_eq!(asked(&house, "getTierConfigs", &json!({}), Some("a b")).await["responseCode"], "OK");
}
