//! Idempotency keys: a change that is sent twice under one key is made once and answered alike (reliability case T4).

use serde_json::{Value, json};

use crate::house::{Answered, House, cron_file, job_file};

/// A change to be sent twice: its name, what is done before, and the request itself.
struct Case {
    name: &'static str,
    before: &'static [(&'static str, &'static str, &'static str)],
    method: &'static str,
    path: &'static str,
    body: Option<Value>,
}

fn changed_file() -> Value {
    let mut file = job_file("hello");
    file["task"]["processes"][0]["cmdline"] = json!("echo two");
    file
}

fn cases() -> Vec<Case> {
    let case = |name, before, method, path, body| Case { name, before, method, path, body };
    const JOB: (&str, &str, &str) = ("POST", "/jobs", "job");
    const CRON: (&str, &str, &str) = ("POST", "/jobs", "cron");
    const UPDATE: (&str, &str, &str) = ("POST", "/jobs/www-data/prod/hello/updates", "changed");
    const PULSED: (&str, &str, &str) = ("POST", "/jobs/www-data/prod/hello/updates", "pulsed");
    const PAUSE: (&str, &str, &str) = ("POST", "/jobs/www-data/prod/hello/updates/ID/pause", "");
    let drain = json!({"action": "drain", "hosts": ["m1"]});
    vec![
        case("create", &[], "POST", "/jobs", Some(job_file("hello"))),
        case("create a cron job", &[], "POST", "/jobs", Some(cron_file("nightly"))),
        case("delete", &[JOB], "DELETE", "/jobs/www-data/prod/hello", None),
        case("kill", &[JOB], "POST", "/jobs/www-data/prod/hello/kill", Some(json!({"instances": "0-1"}))),
        case("restart", &[JOB], "POST", "/jobs/www-data/prod/hello/restart", Some(json!({"instances": [2]}))),
        case("add", &[JOB], "POST", "/jobs/www-data/prod/hello/instances", Some(json!({"count": 2, "template": 0}))),
        case("schedule", &[], "PUT", "/cron-jobs/www-data/prod/nightly", Some(cron_file("nightly"))),
        case("deschedule", &[CRON], "DELETE", "/cron-jobs/www-data/prod/nightly", None),
        case("run", &[CRON], "POST", "/cron-jobs/www-data/prod/nightly/runs", None),
        case("update", &[JOB], "POST", "/jobs/www-data/prod/hello/updates", Some(changed_file())),
        case("update nothing", &[JOB], "POST", "/jobs/www-data/prod/hello/updates", Some(job_file("hello"))),
        case("pause", &[JOB, UPDATE], "POST", "/jobs/www-data/prod/hello/updates/ID/pause", None),
        case("resume", &[JOB, UPDATE, PAUSE], "POST", "/jobs/www-data/prod/hello/updates/ID/resume", None),
        case(
            "abort",
            &[JOB, UPDATE],
            "POST",
            "/jobs/www-data/prod/hello/updates/ID/abort",
            Some(json!({"message": "m"})),
        ),
        case("rollback", &[JOB, UPDATE], "POST", "/jobs/www-data/prod/hello/updates/ID/rollback", None),
        case("pulse", &[JOB, PULSED], "POST", "/jobs/www-data/prod/hello/updates/ID/pulse", None),
        case("quota", &[], "PUT", "/quotas/www-data", Some(json!({"cpus": 1.0, "ramMb": 1, "diskMb": 1}))),
        case("maintenance", &[], "POST", "/agents/maintenance", Some(drain)),
    ]
}

async fn send(house: &House, method: &str, path: &str, body: Option<&Value>, key: Option<&str>) -> Answered {
    let mut headers: Vec<(&str, &str)> = Vec::new();
    headers.extend(body.map(|_| ("content-type", "application/json")));
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let text = body.map(Value::to_string).unwrap_or_default();
    house.send(method, &format!("/api/v1{path}"), &headers, text).await
}

/// A house where everything was done that comes before; and the path with the id of the update.
async fn prepared(case: &Case) -> (House, String) {
    let house = House::new();
    house.offer("m1");
    let with_id = |path: &str| {
        let id = house.gateway.view().updates.keys().next().map(|key| key.id.clone()).unwrap_or_default();
        path.replace("ID", &id)
    };
    for (method, path, what) in case.before {
        let body = match *what {
            "job" => Some(job_file("hello")),
            "cron" => Some(cron_file("nightly")),
            "changed" => Some(changed_file()),
            "pulsed" => {
                let mut file = changed_file();
                file["update_config"] = json!({"pulse_interval_secs": 60});
                Some(file)
            }
            _ => None,
        };
        let answered = send(&house, method, &with_id(path), body.as_ref(), None).await;
        assert!(answered.status.is_success(), "{}: {answered:?}", case.name);
    }
    let path = with_id(case.path);
    (house, path)
}

#[tokio::test]
async fn under_one_key_each_change_is_made_once_and_answered_alike() {
    for case in cases() {
        let (house, path) = prepared(&case).await;
        let first = send(&house, case.method, &path, case.body.as_ref(), Some("key-1")).await;
        assert!(first.status.is_success(), "{}: {first:?}", case.name);
        let after = house.stored();
        // In quotes it is the same key.
        for key in ["key-1", "key-1", "\"key-1\""] {
            let again = send(&house, case.method, &path, case.body.as_ref(), Some(key)).await;
            assert_eq!(again, first, "{}", case.name);
            assert_eq!(house.stored(), after, "{} had a second effect", case.name);
        }
    }
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    for case in cases() {
        let (house, path) = prepared(&case).await;
        send(&house, case.method, &path, case.body.as_ref(), Some("key-1")).await;
        let after = house.stored();
        let quota = json!({"cpus": 3.0, "ramMb": 3, "diskMb": 3});
        let other = send(&house, "PUT", "/quotas/other", Some(&quota), Some("key-1")).await.expect(422);
        assert_eq!(other["code"], "IDEMPOTENCY_KEY_REUSED", "{}", case.name);
        assert_eq!(house.stored(), after, "{}", case.name);
    }
    let house = House::new();
    send(&house, "POST", "/jobs", Some(&job_file("hello")), Some("key-1")).await.expect(201);
    for (path, body) in [("/jobs", job_file("other")), ("/jobs?job=www-data/prod/hello", job_file("hello"))] {
        send(&house, "POST", path, Some(&body), Some("key-1")).await.expect(422);
    }
}

#[tokio::test]
async fn without_a_key_each_request_is_a_new_one() {
    let house = House::new();
    send(&house, "POST", "/jobs", Some(&job_file("hello")), None).await.expect(201);
    let add = json!({"count": 1, "template": 0});
    for total in [4, 5] {
        send(&house, "POST", "/jobs/www-data/prod/hello/instances", Some(&add), None).await.expect(200);
        assert_eq!(house.get("/tasks").await.expect(200)["total"], total);
    }
    for (key, total) in [("a", 6), ("b", 7), ("a", 7)] {
        send(&house, "POST", "/jobs/www-data/prod/hello/instances", Some(&add), Some(key)).await.expect(200);
        assert_eq!(house.get("/tasks").await.expect(200)["total"], total, "{key}");
    }
}

#[tokio::test]
async fn a_refusal_is_judged_anew() {
    let house = House::new();
    let path = "/jobs/www-data/prod/hello/kill";
    send(&house, "POST", path, None, Some("k")).await.expect(404);
    send(&house, "POST", "/jobs", Some(&job_file("hello")), None).await.expect(201);
    assert_eq!(send(&house, "POST", path, None, Some("k")).await.expect(200)["tasks"], 3);
    // The job is gone without a trace, and the answer is told all the same.
    assert_eq!(send(&house, "POST", path, None, Some("k")).await.expect(200)["tasks"], 3);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let house = House::new();
    let long = "x".repeat(256);
    for bad in ["", "a b", "\"\"", &long] {
        let refused = send(&house, "POST", "/jobs", Some(&job_file("hello")), Some(bad)).await.expect(400);
        assert!(refused["error"].as_str().unwrap().contains("Idempotency-Key"), "{refused}");
    }
    assert_eq!(house.get("/jobs").await.expect(200)["jobs"], json!([]));
}
