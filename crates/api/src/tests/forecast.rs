//! `/api/v1/plan` and `/api/v1/explain`: what is asked, by whom, and the shape of the answers. Nothing ever reaches the scheduler.

use model::{CpuMillis, JobConfiguration, JobKey, Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::view::{AgentShare, AgentView, HostRecord};
use serde_json::{Value, json};

use super::*;
use crate::samples::{sample_task, view_of};

/// Two agents, two running tasks, one pending, one held back.
fn view() -> View {
    let held = sample_task("vagrant/prod/x", 3, TaskStatus::Throttled, None);
    let mut view = view_of([
        sample_task("vagrant/prod/x", 0, TaskStatus::Running, Some("h1")),
        sample_task("vagrant/prod/x", 1, TaskStatus::Running, Some("h2")),
        sample_task("vagrant/prod/x", 2, TaskStatus::Pending, None),
        held.clone(),
    ]);
    view.throttled_until_ms.insert(held.id.clone(), 77);
    for (host, cores) in [("h1", 1.0), ("h2", 0.25)] {
        let free = Resources { cpu: CpuMillis::from_cores(cores), ram_mb: 4096, disk_mb: 4096, ports: 5, gpus: 0 };
        let share = AgentShare { is_offered: true, free, total: free, ..AgentShare::default() };
        let agent = AgentView { host: host.into(), free, total: free, shares: vec![share] };
        view.agents.insert(format!("agent-{host}"), Arc::new(agent));
        let record = HostRecord { agent_id: format!("agent-{host}"), ..HostRecord::default() };
        view.hosts.insert(host.into(), Arc::new(record));
    }
    view
}

fn job(name: &str, count: i32) -> Value {
    let key = JobKey::new("vagrant", "prod", name);
    let job = JobConfiguration {
        key: key.clone(),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: Default::default(),
        task: TaskConfig::new(key, 0.25, 16, 32, "{}"),
        instance_count: count,
    };
    serde_json::from_slice(&thrift::encode_plain(&thrift::JobConfiguration::from(&job))).unwrap()
}

fn question(body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1/plan").header("content-type", "application/json").body(body.into()).unwrap()
}

fn creation(name: &str, count: i32) -> Request<Body> {
    question(json!({"method": "createJob", "arguments": {"description": job(name, count)}}).to_string())
}

#[tokio::test]
async fn a_creation_is_foretold_and_nothing_is_submitted() {
    let house = House::new(view(), Reply::ok());
    let seen = house.send(creation("new", 3)).await;
    assert_eq!((seen.status, seen.header("cache-control")), (StatusCode::OK, "no-store"));
    let said = seen.json();
    assert_eq!((&said["refusal"], &said["quota"]["isNeeded"]), (&Value::Null, &json!(false)));
    // A quarter of a core, and another for the executor: two on h1, none on h2.
    let placement = &said["placement"];
    assert_eq!((&placement["wanted"], &placement["fitting"]), (&json!(3), &json!(2)));
    assert_eq!(placement["hosts"], json!({"h1": 2}));
    let nearest = json!({"host": "h2", "lacks": [{"kind": "cpus", "needed": 0.5, "free": 0.25, "missing": 0.25}]});
    assert_eq!(placement["obstacles"]["nearest"], nearest);
    assert_eq!(placement["obstacles"]["reasons"][0]["reasons"], json!(["Insufficient: CPU"]));
    let said = house.send(creation("x", 3)).await.json();
    assert_eq!(said["refusal"]["code"], "INVALID_REQUEST");
    assert!(said["refusal"]["messages"][0].as_str().unwrap().contains("already exists"), "{said}");
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn the_groups_of_an_update_are_told() {
    let mut view = view();
    for (id, task) in view.tasks.clone() {
        let mut task = Arc::unwrap_or_clone(task);
        Arc::make_mut(&mut task.config).is_service = true;
        view.tasks.insert(id, Arc::new(task));
    }
    let house = House::new(view, Reply::ok());
    let mut task = TaskConfig::new(JobKey::new("vagrant", "prod", "x"), 0.25, 16, 32, "{}");
    task.is_service = true;
    let settings = model::update::UpdateSettings {
        strategy: model::update::UpdateStrategy::Batch { group_size: 2, autopause_after_batch: false },
        min_wait_in_running_ms: 1000,
        ..Default::default()
    };
    let request = model::update::UpdateRequest { task, instance_count: 5, settings, metadata: Default::default() };
    let request: Value =
        serde_json::from_slice(&thrift::encode_plain(&thrift::JobUpdateRequest::from(&request))).unwrap();
    let body = json!({"method": "startJobUpdate", "arguments": {"request": request}});
    let said = house.send(question(body.to_string())).await.json();
    assert_eq!(said["refusal"], Value::Null);
    let told = json!({
        "replacedInstances": 4,
        "wantedInstances": 5,
        "groups": [[4, 0], [1, 2], [3]],
        "leastDurationMs": 3000,
    });
    assert_eq!(said["update"], told);
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn what_is_no_question_is_refused_in_a_sentence() {
    let settings = ApiSettings { max_body_bytes: 4096, ..ApiSettings::default() };
    let house = House::with_settings(view(), Reply::ok(), settings);
    for (body, status, part) in [
        ("nonsense".to_owned(), StatusCode::BAD_REQUEST, "cannot be read"),
        (json!({"method": "killTasks", "arguments": {}}).to_string(), StatusCode::BAD_REQUEST, "createJob"),
        (json!({"method": "nothing", "arguments": {}}).to_string(), StatusCode::BAD_REQUEST, "createJob"),
        (json!({"method": "createJob", "arguments": {}}).to_string(), StatusCode::BAD_REQUEST, "description"),
        (json!({"method": "createJob", "arguments": {"description": 7}}).to_string(), StatusCode::BAD_REQUEST, "read"),
        ("x".repeat(5000), StatusCode::PAYLOAD_TOO_LARGE, "limit"),
    ] {
        let seen = house.send(question(body.clone())).await;
        assert_eq!(seen.status, status, "{body:.60}: {}", seen.text());
        let error = seen.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains(part), "{error}");
    }
    let plain = Request::post("/api/v1/plan").header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    assert_eq!(house.send(plain).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let get = Request::get("/api/v1/plan").body(Body::empty()).unwrap();
    assert_eq!(house.send(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    for query in ["", "?job=x", "?job=a/b/c&task=t", "?instance=1", "?job=a/b/c&instance=x"] {
        let request = Request::get(format!("/api/v1/explain{query}")).body(Body::empty()).unwrap();
        let seen = house.send(request).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(seen.json()["error"].is_string(), "{}", seen.text());
    }
    for query in ["?job=a/b/c", "?task=nobody", "?job=vagrant/prod/x&instance=99"] {
        let request = Request::get(format!("/api/v1/explain{query}")).body(Body::empty()).unwrap();
        let seen = house.send(request).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{query}");
        assert!(seen.json()["error"].is_string());
    }
}

/// Only somebody may change things here.
struct Nobody;

impl Authorizer for Nobody {
    fn requires_login(&self) -> bool {
        true
    }

    fn permits(&self, principal: &Principal, _: &gateway::Permission) -> bool {
        principal.name == "somebody"
    }
}

#[tokio::test]
async fn who_may_not_do_it_hears_so_and_who_is_unknown_may_ask() {
    let house = House::guarded(view(), Reply::ok(), ApiSettings::default(), Arc::new(Nobody));
    let refusal = async |name: Option<&str>, role: &str| {
        let mut request = creation("new", 1);
        if role != "vagrant" {
            let mut of_role = job("new", 1);
            of_role["key"]["role"] = json!(role);
            of_role["taskConfig"]["job"]["role"] = json!(role);
            request = question(json!({"method": "createJob", "arguments": {"description": of_role}}).to_string());
        }
        if let Some(name) = name {
            request.extensions_mut().insert(Principal { name: name.into() });
        }
        let seen = house.send(request).await;
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.text());
        seen.json()["refusal"].clone()
    };
    assert_eq!(refusal(None, "vagrant").await, Value::Null);
    assert_eq!(refusal(Some("somebody"), "vagrant").await, Value::Null);
    let denied = refusal(Some("mallory"), "vagrant").await;
    assert_eq!(denied["code"], "AUTH_FAILED");
    assert!(denied["messages"][0].as_str().unwrap().starts_with("mallory may not do this"), "{denied}");
    assert!(refusal(None, "root").await["messages"][0].as_str().unwrap().contains("--allow-root-role"));
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn a_job_and_a_task_are_explained() {
    let house = House::new(view(), Reply::ok());
    let ask = async |query: &str| {
        let request = Request::get(format!("/api/v1/explain?{query}")).body(Body::empty()).unwrap();
        let seen = house.send(request).await;
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.text());
        seen.json()
    };
    let said = ask("job=vagrant/prod/x").await;
    assert_eq!((&said["job"], &said["isConnected"]), (&json!("vagrant/prod/x"), &json!(true)));
    assert_eq!(said["throttled"], json!({"vagrant-prod-x-3": {"untilMs": 77, "flaps": 0}}));
    let pending = &said["pending"][0];
    assert_eq!(pending["tasks"], json!(["vagrant-prod-x-2"]));
    assert_eq!((&pending["fittingHosts"], &pending["alike"]), (&json!(1), &json!(1)), "h1 would take it");
    assert_eq!((&said["cron"], &said["update"]), (&Value::Null, &Value::Null));
    let of_task = ask("task=vagrant-prod-x-2").await;
    assert_eq!(of_task["pending"], said["pending"]);
    assert_eq!(of_task["throttled"], json!({}));
    assert_eq!(ask("job=vagrant/prod/x&instance=0").await["pending"], json!([]));
    assert!(view().task(&TaskId::from("vagrant-prod-x-2".to_owned())).is_some());
}
