//! Protocols, content types, bodies and status codes.

use thrift::{GetRoleSummaryArguments, KillTasksArguments, ResponseCode, ResponseResult};

use super::*;

fn kill_call() -> Call {
    Call::from(KillTasksArguments { job: Some(job_key()), ..Default::default() })
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}

const BINARY: &str = "application/vnd.apache.thrift.binary";

#[tokio::test]
async fn request_and_response_choose_their_protocols_apart() {
    let house = House::new(View::default(), Reply::ok());
    let call = kill_call();
    for (request_protocol, content_type) in [
        (Protocol::Json, "application/x-thrift"),
        (Protocol::Json, "application/vnd.apache.thrift.json; charset=utf-8"),
        (Protocol::Binary, BINARY),
    ] {
        for (response_protocol, accept) in [(Protocol::Json, "*/*"), (Protocol::Binary, BINARY)] {
            let mut request = post("/api", content_type, encode_call(request_protocol, 9, &call));
            request.headers_mut().insert("accept", accept.parse().unwrap());
            let seen = house.send(request).await;
            assert_eq!(seen.status, StatusCode::OK);
            assert_eq!(seen.header("content-type"), response_protocol.media_type());
            let response = decode_reply(response_protocol, call.method(), 9, &seen.body, Limits::REPLY).unwrap();
            assert_eq!(response.response_code, Some(ResponseCode::Ok));
            assert_eq!(response.server_info.unwrap().cluster_name, "devcluster");
        }
    }
    assert_eq!(house.commands().len(), 6);
}

#[tokio::test]
async fn golden_bytes_in_and_out() {
    let house = House::new(View::default(), Reply::ok());
    let line = r#"[1,"killTasks",1,7,{"4":{"rec":{"1":{"str":"vagrant"},"2":{"str":"prod"},"3":{"str":"x"}}},"5":{"set":["i32",0]},"6":{"str":""}}]"#;
    let seen = house.send(Request::post("/api").body(Body::from(line)).unwrap()).await;
    assert_eq!(
        seen.text(),
        r#"[1,"killTasks",2,7,{"0":{"rec":{"1":{"i32":1},"5":{"rec":{"1":{"str":"devcluster"},"3":{"str":""}}},"6":{"lst":["rec",0]}}}}]"#
    );
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
}

#[tokio::test]
async fn get_is_handled_like_post_and_nothing_else_is() {
    let house = House::new(View::default(), Reply::ok());
    let body = encode_call(Protocol::Json, 1, &Call::from(GetRoleSummaryArguments {}));
    let seen = house.send(Request::get("/api").body(Body::from(body.clone())).unwrap()).await;
    assert_eq!(seen.status, StatusCode::OK);
    let seen = house.send(Request::put("/api").body(Body::from(body)).unwrap()).await;
    assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
    let seen = house.send(Request::post("/api/x").body(Body::empty()).unwrap()).await;
    assert_eq!(seen.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_content_types_are_refused_and_change_nothing() {
    let house = House::new(View::default(), Reply::ok());
    let body = encode_call(Protocol::Json, 1, &kill_call());
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let seen = house.send(post("/api", content_type, body.clone())).await;
        assert_eq!(seen.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(seen.text().contains(content_type), "{}", seen.text());
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn unreadable_calls_get_a_clear_answer_and_change_nothing() {
    let house = House::new(View::default(), Reply::ok());
    for body in ["", "nonsense", "[1,\"killTasks\"", "[9,\"killTasks\",1,1,{}]", "[1,\"killTasks\",1,1,{}]x"] {
        let seen = house.send(Request::post("/api").body(Body::from(body)).unwrap()).await;
        assert_eq!(seen.status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        assert!(seen.text().starts_with("The request cannot be read: "), "{}", seen.text());
    }
    for (body, kind) in [
        (r#"[1,"noSuch",1,4,{}]"#, thrift::exception_kind::UNKNOWN_METHOD),
        (r#"[1,"killTasks",1,4,{"4":{"str":"x"}}]"#, thrift::exception_kind::PROTOCOL_ERROR),
    ] {
        let seen = house.send(Request::post("/api").body(Body::from(body)).unwrap()).await;
        assert_eq!(seen.status, StatusCode::OK);
        let exception = seen.json();
        assert_eq!((&exception[2], &exception[3]), (&3.into(), &4.into()), "{exception}");
        assert_eq!(exception[4]["2"]["i32"], kind, "{exception}");
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn oversized_bodies_are_refused() {
    let settings = ApiSettings { max_body_bytes: 1000, ..ApiSettings::default() };
    let house = House::with_settings(View::default(), Reply::ok(), settings);
    for path in ["/api", "/apibeta/killTasks"] {
        let seen = house.send(post(path, "application/json", vec![b' '; 1001])).await;
        assert_eq!(seen.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(seen.text().contains("1000 bytes"), "{}", seen.text());
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn the_authenticated_caller_is_passed_on() {
    let house = House::new(View::default(), Reply::ok());
    let mut request = Request::post("/api").body(Body::from(encode_call(Protocol::Json, 1, &kill_call()))).unwrap();
    request.extensions_mut().insert(Principal { name: "alice".to_owned() });
    house.send(request).await;
    house.call(kill_call()).await;
    let names: Vec<String> = house.asked.lock().unwrap().iter().map(|(principal, _)| principal.name.clone()).collect();
    assert_eq!(names, ["alice", "UNSECURE"]);
}

#[tokio::test]
async fn plain_json_calls_work_by_argument_name() {
    let house = House::new(View::default(), Reply::ok());
    let body =
        r#"{"job": {"role": "vagrant", "environment": "prod", "name": "x"}, "instances": [1], "message": "<b>"}"#;
    let seen = house.send(post("/apibeta/killTasks", "application/json; charset=utf-8", body)).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(
        seen.text(),
        r#"{"responseCode":"OK","serverInfo":{"clusterName":"devcluster","statsUrlPrefix":""},"details":[]}"#
    );
    let expected = Command::KillTasks {
        job: model::JobKey::new("vagrant", "prod", "x"),
        instances: [1].into(),
        message: Some("<b>".to_owned()),
    };
    assert_eq!(house.commands(), [expected]);
    let seen = house.send(Request::post("/apibeta/getRoleSummary").body(Body::empty()).unwrap()).await;
    assert_eq!(seen.json()["result"]["roleSummaryResult"]["summaries"], serde_json::json!([]));
    let seen = house.send(post("/apibeta/getTasksStatus", "application/json", r#"{"query": {}}"#)).await;
    assert_eq!(seen.json()["result"]["scheduleStatusResult"]["tasks"], serde_json::json!([]));
}

#[tokio::test]
async fn wrong_plain_json_calls_are_answered_in_plain_json() {
    let house = House::new(View::default(), Reply::ok());
    for (path, content_type, body, status) in [
        ("/apibeta/noSuch", "application/json", "{}", StatusCode::NOT_FOUND),
        ("/apibeta/killTasks", "application/json", "[]", StatusCode::BAD_REQUEST),
        ("/apibeta/killTasks", "application/json", "{", StatusCode::BAD_REQUEST),
        ("/apibeta/killTasks", "application/json", r#"{"job": "vagrant/prod/x"}"#, StatusCode::BAD_REQUEST),
        ("/apibeta/killTasks", "text/plain", "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let seen = house.send(post(path, content_type, body)).await;
        assert_eq!(seen.status, status, "{path} {body}");
        assert_eq!(seen.json()["responseCode"], "ERROR");
        assert!(seen.json()["details"][0]["message"].as_str().unwrap().len() > 20);
    }
    assert_eq!(house.commands(), []);
    let seen = house.send(Request::get("/apibeta/killTasks").body(Body::empty()).unwrap()).await;
    assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
    let seen = house.send(Request::get("/apibeta").body(Body::empty()).unwrap()).await;
    assert_eq!((seen.status, seen.header("location")), (StatusCode::SEE_OTHER, "/apihelp/index.html"));
    let seen = house.send(Request::get("/apihelp/index.html").body(Body::empty()).unwrap()).await;
    assert!(seen.text().contains("restartShards(5: struct job, 3: set shardIds)"));
}

#[tokio::test]
async fn pages_of_another_origin_are_named_only_when_configured() {
    let body = encode_call(Protocol::Json, 1, &Call::from(GetRoleSummaryArguments {}));
    let ask = || Request::post("/api").body(Body::from(body.clone())).unwrap();
    let house = House::new(View::default(), Reply::ok());
    assert_eq!(house.send(ask()).await.header("access-control-allow-origin"), "");
    let settings = ApiSettings { enable_cors_for: Some("https://ui.example".to_owned()), ..ApiSettings::default() };
    let house = House::with_settings(View::default(), Reply::ok(), settings);
    let seen = house.send(ask()).await;
    assert_eq!(seen.header("access-control-allow-origin"), "https://ui.example");
    assert_eq!(
        seen.header("access-control-allow-headers"),
        "Accept,Content-Type,Idempotency-Key,Origin,X-Requested-With"
    );
    let preflight = Request::builder().method("OPTIONS").uri("/api").body(Body::empty()).unwrap();
    let seen = house.send(preflight).await;
    assert_eq!(seen.header("access-control-allow-methods"), "DELETE,GET,HEAD,OPTIONS,POST,PUT");
    let seen = house.send(Request::get("/vars").body(Body::empty()).unwrap()).await;
    assert_eq!(seen.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn health_and_statistics_are_served() {
    let house = House::new(View { registered: true, ..View::default() }, Reply::ok());
    let response = house.call(GetRoleSummaryArguments {}).await;
    assert!(matches!(response.result, Some(ResponseResult::RoleSummary(_))));
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(house.send(get("/health")).await.text(), "OK\n");
    assert!(house.send(get("/vars")).await.text().contains("scheduler_thrift_getRoleSummary_events 1\n"));
    assert_eq!(house.send(get("/vars.json?pretty=true")).await.json()["framework_registered"], 1);
    let metrics = house.send(get("/metrics")).await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(metrics.text().contains("daybreak_thrift_responses_total{code=\"OK\"} 1\n"));
}
