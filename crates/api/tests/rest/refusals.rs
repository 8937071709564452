//! Every way in which a request is refused, and that it changes nothing.

use serde_json::json;

use crate::house::{House, document, job_file};

#[tokio::test]
async fn unknown_parameters_and_fields_are_told_with_the_nearest() {
    let house = House::new();
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    let before = house.stored();
    for (method, path, body, part) in [
        ("GET", "/jobs?rle=x", None, "did you mean 'role'?"),
        ("GET", "/tasks?statu=RUNNING", None, "did you mean 'status'?"),
        ("GET", "/tasks?status=RUNING", None, "did you mean 'RUNNING'?"),
        ("GET", "/updates?status=ROLLING_FORWAR", None, "did you mean 'ROLLING_FORWARD'?"),
        ("GET", "/jobs/www-data/prod/hello?x=1", None, "none is taken here"),
        ("GET", "?x=1", None, "none is taken here"),
        ("POST", "/jobs?jb=x", Some(job_file("new")), "did you mean 'job'?"),
        ("POST", "/jobs/www-data/prod/hello/kill", Some(json!({"instance": [0]})), "did you mean 'instances'?"),
        ("POST", "/jobs/www-data/prod/hello/kill?instances=0", None, "none is taken here"),
        ("POST", "/jobs/www-data/prod/hello/restart", Some(json!({"shards": [0]})), "it is one of instances"),
        ("DELETE", "/jobs/www-data/prod/hello?message=x", None, "none is taken here"),
        ("DELETE", "/jobs/www-data/prod/hello", Some(json!({"message": "x"})), "none is taken here"),
        ("GET", "/explain?jb=x", None, "did you mean 'job'?"),
        ("POST", "/plan", Some(json!({"metod": "createJob", "arguments": {}})), "did you mean 'method'?"),
        ("PUT", "/quotas/a", Some(json!({"cpus": 1, "ram_mb": 1, "diskMb": 1})), "did you mean 'ramMb'?"),
    ] {
        let answered = match body {
            Some(body) => house.change(method, path, &body).await,
            None => house.bare(method, path).await,
        };
        let refused = answered.expect(400);
        assert!(refused["error"].as_str().unwrap().contains(part), "{method} {path}: {refused}");
        assert_eq!(refused["code"], "INVALID_REQUEST");
    }
    assert_eq!(house.stored(), before);
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let house = House::new();
    for path in ["/jbs", "/jobs/a", "/jobs/a/b/c/d", "/jobs/a/b/c/updates/id/x/y", "/x/y/z", "/cron-jobs/a/b"] {
        let refused = house.get(path).await.expect(404);
        assert!(refused["error"].as_str().unwrap().contains("openapi.json"), "{refused}");
    }
    for path in ["/jobs/a/b/c", "/tasks/x", "/cron-jobs/a/b/c", "/agents/x"] {
        house.get(path).await.expect(404);
    }
    for (method, path) in [
        ("DELETE", "/jobs/a/b/c"),
        ("POST", "/jobs/a/b/c/kill"),
        ("DELETE", "/cron-jobs/a/b/c"),
        ("POST", "/cron-jobs/a/b/c/runs"),
        ("POST", "/jobs/a/b/c/updates/x/pause"),
    ] {
        house.bare(method, path).await.expect(404);
    }
    house.change("POST", "/jobs/a/b/c/restart", &json!({"instances": [0]})).await.expect(404);
    house.change("POST", "/jobs/a/b/c/instances", &json!({"count": 1, "template": 0})).await.expect(404);
    for path in ["/jobs/a%2Fb/c/d", "/jobs/a/b/%20", "/jobs/a/b/%FF", "/tasks/%FF"] {
        house.get(path).await.expect(400);
    }
}

#[tokio::test]
async fn slashes_heads_and_options_are_sensible() {
    let house = House::new();
    for (from, to) in [
        ("/api/v1/", "/api/v1"),
        ("/api/v1/jobs/", "/api/v1/jobs"),
        ("/api/v1/jobs//?role=a", "/api/v1/jobs?role=a"),
        ("/api/v1/tasks/x/", "/api/v1/tasks/x"),
    ] {
        let answered = house.send("GET", from, &[], "").await;
        assert_eq!((answered.status.as_u16(), answered.header("location")), (308, Some(to)), "{from}");
    }
    let head = house.send("HEAD", "/api/v1/jobs", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.is_null()), (200, true));
    let options = house.send("OPTIONS", "/api/v1/jobs", &[], "").await;
    assert_eq!(options.status.as_u16(), 204);
    let allow = options.header("allow").unwrap_or_default().to_owned();
    assert!(["GET", "HEAD", "POST"].iter().all(|method| allow.contains(method)), "{allow}");
    let options = house.send("OPTIONS", "/api/v1/quotas/a", &[], "").await;
    assert!(options.header("allow").is_some_and(|allow| allow.contains("PUT")), "{options:?}");
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_told() {
    let house = House::new();
    for (path, item) in document().0["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if item[method.to_lowercase()].is_null() {
                let answered = house.send(method, &path, &[], "").await;
                let allow = answered.header("allow").unwrap_or_default().to_owned();
                let refused = answered.expect(405);
                assert_eq!(refused["code"], "METHOD_NOT_ALLOWED");
                assert!(!allow.is_empty() && !allow.contains(method), "{method} {path}: {allow}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_of_other_kinds_are_refused() {
    let house = House::new();
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    let before = house.stored();
    let file = job_file("new").to_string();
    for media_type in
        ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/octet-stream", "x"]
    {
        let headers = [("content-type", media_type)];
        let refused = house.send("POST", "/api/v1/jobs", &headers, file.clone()).await.expect(415);
        assert_eq!(refused["code"], "UNSUPPORTED_MEDIA_TYPE");
        house.send("POST", "/api/v1/jobs/www-data/prod/hello/kill", &headers, "{}").await.expect(415);
    }
    house.send("POST", "/api/v1/jobs", &[], file.clone()).await.expect(415);
    for program in ["text/x-python", "application/x-aurora"] {
        let refused = house.send("POST", "/api/v1/jobs", &[("content-type", program)], "jobs = []").await.expect(415);
        assert!(refused["error"].as_str().unwrap().contains("daybreak config convert"), "{refused}");
    }
    let json = [("content-type", "application/json")];
    for body in ["", "{", "[]", "null", "3", "\"x\"", "{\"count\": 1}", "{\"count\": 1, \"template\": 0, \"count\": 2}"]
    {
        house.send("POST", "/api/v1/jobs/www-data/prod/hello/instances", &json, body).await.expect(400);
    }
    for body in ["", "   ", "{", "[]", "null", "3", "{}", "{\"jobs\": []}"] {
        house.send("POST", "/api/v1/jobs", &json, body).await.expect(400);
    }
    house.send("POST", "/api/v1/jobs", &json, vec![0xff, 0xfe]).await.expect(400);
    assert_eq!(house.stored(), before);
}

#[tokio::test]
async fn what_is_wrong_in_a_job_file_is_told_with_its_place() {
    let house = House::new();
    let yaml = "cluster: devcluster\nrole: www-data\nenvironment: prod\nname: hello\ntask:\n  proceses: []\n";
    let headers = [("content-type", "application/yaml")];
    let refused = house.send("POST", "/api/v1/jobs", &headers, yaml).await.expect(400);
    assert_eq!((&refused["line"], &refused["column"]), (&json!(6), &json!(3)), "{refused}");
    let mut file = job_file("hello");
    file["tier"] = json!("gold");
    let refused = house.change("POST", "/jobs", &file).await.expect(400);
    assert!(refused["error"].as_str().unwrap().contains("gold"), "{refused}");
    assert_eq!(house.get("/jobs").await.expect(200)["jobs"], json!([]));
}

#[tokio::test]
async fn where_login_is_required_changes_need_a_name_and_the_right() {
    let mut house = House::with_login();
    let before = house.stored();
    let quota = json!({"cpus": 1.0, "ramMb": 1, "diskMb": 1});
    for (method, item) in document().0["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.replace(['{', '}'], "")))
    }) {
        let is_change = method != "GET" && item != "/api/v1/plan";
        let answered = house.send(&method, &item, &[], "").await;
        assert_eq!(answered.status.as_u16() == 401, is_change, "{method} {item}: {answered:?}");
        if is_change {
            assert_eq!(answered.body["code"], "LOGIN_REQUIRED");
        }
    }
    house.caller = Some("bob");
    assert_eq!(house.change("PUT", "/quotas/a", &quota).await.expect(403)["code"], "AUTH_FAILED");
    house.change("POST", "/jobs", &job_file("hello")).await.expect(403);
    house.bare("DELETE", "/jobs/a/b/c").await.expect(403);
    assert_eq!(house.stored(), before);
    house.caller = Some("alice");
    house.change("PUT", "/quotas/a", &quota).await.expect(200);
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    let job = house.get("/jobs/www-data/prod/hello").await.expect(200);
    assert_eq!(job["configurations"][0]["configuration"]["owner"], "alice");
}

#[tokio::test]
async fn a_busy_scheduler_asks_to_come_back() {
    let house = House::new();
    house.fill(true);
    let answered = house.change("POST", "/jobs", &job_file("hello")).await;
    assert_eq!(answered.header("retry-after"), Some("1"));
    assert_eq!(answered.expect(503)["code"], "ERROR_TRANSIENT");
    house.fill(false);
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
}
