//! Questions: what is told of jobs, tasks, cron jobs, updates, quotas and agents.

use serde_json::{Value, json};

use crate::house::{House, cron_file, job_file};

/// A house with a service of three instances on a machine, and a cron job.
async fn full() -> House {
    let house = House::new();
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    house.change("PUT", "/cron-jobs/www-data/prod/nightly", &cron_file("nightly")).await.expect(200);
    house.offer("m1");
    house
}

#[tokio::test]
async fn it_says_what_it_is() {
    let about = House::new().get("").await.expect(200);
    assert_eq!(about["cluster"], "devcluster");
    assert_eq!(about["openapi"], "/api/v1/openapi.json");
    assert_eq!(about["idempotencyKeys"], json!({"header": "Idempotency-Key", "keptSecs": 86_400, "keptMost": 100_000}));
    assert!(about["version"].as_str().is_some_and(|version| version.split('.').count() == 3));
}

#[tokio::test]
async fn jobs_are_listed_and_told() {
    let house = full().await;
    let jobs = house.get("/jobs").await.expect(200);
    let names: Vec<&Value> = jobs["jobs"].as_array().unwrap().iter().map(|job| &job["job"]).collect();
    assert_eq!(names, ["www-data/prod/hello", "www-data/prod/nightly"]);
    let service = &jobs["jobs"][0];
    assert_eq!((&service["kind"], &service["activeTasks"]), (&json!("SERVICE"), &json!(3)));
    assert_eq!(service["taskCounts"], json!({"ASSIGNED": 3}));
    let cron = &jobs["jobs"][1];
    assert_eq!((&cron["kind"], &cron["activeTasks"], &cron["taskCounts"]), (&json!("CRON"), &json!(0), &json!({})));
    assert!(cron["nextCronRunMs"].as_i64().is_some_and(|at_ms| at_ms > 1_800_000_000_000));
    for (filter, count) in [
        ("role=www-data", 2),
        ("role=other", 0),
        ("environment=prod&name=hello", 1),
        ("role=www-data&environment=prod&name=nightly", 1),
        ("role=www-data&environment=prod&name=none", 0),
    ] {
        let jobs = house.get(&format!("/jobs?{filter}")).await.expect(200);
        assert_eq!(jobs["jobs"].as_array().unwrap().len(), count, "{filter}");
    }
    let job = house.get("/jobs/www-data/prod/hello").await.expect(200);
    assert_eq!(job["configurations"].as_array().unwrap().len(), 1);
    assert_eq!(job["configurations"][0]["instances"], json!([{"first": 0, "last": 2}]));
    let configuration = &job["configurations"][0]["configuration"];
    assert_eq!(configuration["resources"], json!({"cpus": 0.25, "ramMb": 16, "diskMb": 32, "gpus": 0, "ports": 0}));
    assert!(configuration["executor"]["data"].as_str().unwrap().contains("echo hello"));
    assert_eq!((&job["tasksTotal"], &job["updates"], &job["cron"]), (&json!(3), &json!([]), &Value::Null));
    assert_eq!(house.get("/jobs/www-data/prod/nightly").await.expect(200)["cron"]["cronSchedule"], "0 3 * * *");
    house.get("/jobs/www-data/prod/none").await.expect(404);
}

#[tokio::test]
async fn tasks_are_told_a_part_at_a_time() {
    let house = full().await;
    let all = house.get("/tasks").await.expect(200);
    assert_eq!((&all["total"], &all["offset"]), (&json!(3), &json!(0)));
    let ids: Vec<&str> = all["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    let part = house.get("/tasks?limit=1&offset=1").await.expect(200);
    assert_eq!((&part["total"], &part["offset"], &part["tasks"][0]["id"]), (&json!(3), &json!(1), &json!(ids[1])));
    for (filter, total) in [
        ("status=ASSIGNED", 3),
        ("status=ASSIGNED,RUNNING&host=m1", 3),
        ("status=RUNNING", 0),
        ("host=m2", 0),
        ("role=www-data&environment=prod&name=hello", 3),
        ("role=www-data&name=nothing", 0),
        ("offset=99999999999", 3),
    ] {
        assert_eq!(house.get(&format!("/tasks?{filter}")).await.expect(200)["total"], total, "{filter}");
    }
    let of_job = house.get("/jobs/www-data/prod/hello/tasks?status=ASSIGNED&limit=2").await.expect(200);
    assert_eq!((&of_job["total"], of_job["tasks"].as_array().unwrap().len()), (&json!(3), 2));
    house.get("/jobs/www-data/prod/none/tasks").await.expect(404);
    for bad in [
        "limit=0",
        "limit=10001",
        "limit=-1",
        "offset=-1",
        "status=RUNING",
        "status=",
        "status=RUNNING,",
        "state=RUNNING",
        "limit=1&limit=2",
    ] {
        house.get(&format!("/tasks?{bad}")).await.expect(400);
    }
    let task = house.get(&format!("/tasks/{}", ids[0])).await.expect(200);
    assert_eq!((&task["instance"], &task["status"], &task["host"]), (&json!(0), &json!("ASSIGNED"), &json!("m1")));
    let states: Vec<&Value> = task["events"].as_array().unwrap().iter().map(|event| &event["status"]).collect();
    assert_eq!(states, ["PENDING", "ASSIGNED"]);
    assert_eq!(task["configuration"]["isService"], true);
    house.get("/tasks/no-such-task").await.expect(404);
}

#[tokio::test]
async fn why_a_task_waits_is_told() {
    let house = House::new();
    house.offer("m1");
    let mut big = job_file("big");
    big["task"]["resources"]["cpu"] = json!(64);
    house.change("POST", "/jobs", &big).await.expect(201);
    house.offer("m2");
    let tasks = house.get("/tasks?status=PENDING").await.expect(200);
    let reason = tasks["tasks"][0]["pendingReason"].as_str().unwrap_or_default();
    assert!(reason.contains("64 cpu"), "{tasks:#}");
}

#[tokio::test]
async fn cron_jobs_and_their_runs_are_told() {
    let house = full().await;
    let list = house.get("/cron-jobs?role=www-data").await.expect(200);
    assert_eq!(list["cronJobs"][0]["job"], "www-data/prod/nightly");
    assert_eq!(house.get("/cron-jobs?role=other").await.expect(200)["cronJobs"], json!([]));
    let one = house.get("/cron-jobs/www-data/prod/nightly").await.expect(200);
    assert_eq!((&one["collisionPolicy"], &one["instances"]), (&json!("KILL_EXISTING"), &json!(3)));
    assert_eq!(one["runs"], json!([]));
    house.bare("POST", "/cron-jobs/www-data/prod/nightly/runs").await.expect(200);
    let runs = house.get("/cron-jobs/www-data/prod/nightly/runs").await.expect(200);
    assert_eq!((&runs["runs"][0]["number"], &runs["runs"][0]["outcome"]), (&json!(1), &json!("STARTED")));
    for path in ["/cron-jobs/www-data/prod/hello", "/cron-jobs/www-data/prod/hello/runs"] {
        house.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn updates_are_told_with_their_progress() {
    let house = full().await;
    let mut file = job_file("hello");
    file["task"]["processes"][0]["cmdline"] = json!("echo two");
    let path = "/jobs/www-data/prod/hello/updates";
    let id = house.change("POST", &format!("{path}?message=why"), &file).await.expect(201)["id"].clone();
    let id = id.as_str().unwrap();
    let update = house.get(&format!("{path}/{id}")).await.expect(200);
    assert_eq!((&update["status"], &update["isActive"]), (&json!("ROLLING_FORWARD"), &json!(true)));
    assert_eq!(update["events"][0]["message"], "why");
    assert_eq!(update["settings"]["strategy"], "QUEUE");
    assert_eq!(update["settings"]["minWaitInRunningMs"], 5000);
    assert_eq!(update["initial"][0]["instances"], json!([{"first": 0, "last": 2}]));
    let stages: Vec<&Value> = update["instances"].as_array().unwrap().iter().map(|it| &it["stage"]).collect();
    assert_eq!(stages, ["WORKING", "IDLE", "IDLE"]);
    for (filter, total) in [
        ("", 1),
        ("role=www-data&status=ROLLING_FORWARD", 1),
        ("job=www-data/prod/hello&limit=1", 1),
        ("job=www-data/prod/other", 0),
        ("status=ABORTED", 0),
    ] {
        assert_eq!(house.get(&format!("/updates?{filter}")).await.expect(200)["total"], total, "{filter}");
    }
    assert_eq!(house.get(path).await.expect(200)["updates"][0]["id"], id);
    let job = house.get("/jobs/www-data/prod/hello").await.expect(200);
    assert_eq!(job["activeUpdate"], json!({"id": id, "status": "ROLLING_FORWARD"}));
    for missing in ["/jobs/www-data/prod/none/updates", "/jobs/www-data/prod/hello/updates/none"] {
        house.get(missing).await.expect(404);
    }
    for bad in ["/updates?job=hello", "/updates?status=RUNNING", "/updates?jobs=a"] {
        house.get(bad).await.expect(400);
    }
    house.change("POST", &format!("{path}/{id}/abort"), &json!({})).await.expect(200);
    let ended = house.get(&format!("{path}/{id}")).await.expect(200);
    assert_eq!((&ended["status"], &ended["isActive"]), (&json!("ABORTED"), &json!(false)));
}

#[tokio::test]
async fn quotas_are_told_with_what_is_held() {
    let house = full().await;
    let nothing = house.get("/quotas/www-data").await.expect(200);
    assert_eq!(nothing["quota"], json!({"cpus": 0.0, "ramMb": 0, "diskMb": 0}));
    let held = &nothing["consumption"]["nonProductionShared"];
    // Three tasks, and the cron job's three instances.
    assert_eq!((&held["cpus"], &held["ramMb"]), (&json!(1.5), &json!(96)));
    let quota = json!({"cpus": 2.5, "ramMb": 1024, "diskMb": 2048});
    house.change("PUT", "/quotas/www-data", &quota).await.expect(200);
    assert_eq!(house.get("/quotas/www-data").await.expect(200)["quota"], quota);
    assert_eq!(house.get("/quotas").await.expect(200)["quotas"], json!([{"role": "www-data", "quota": quota}]));
    house.get("/quotas/a%20b").await.expect(400);
}

#[tokio::test]
async fn agents_are_told_with_their_room_and_tasks() {
    let house = full().await;
    let agents = house.get("/agents").await.expect(200);
    let agent = &agents["agents"][0];
    assert_eq!((&agent["host"], &agent["mode"], &agent["tasks"]), (&json!("m1"), &json!("NONE"), &json!(3)));
    assert_eq!(agent["attributes"], json!({"rack": ["r1"]}));
    assert_eq!((&agent["isConnected"], &agent["total"]["ramMb"]), (&json!(true), &json!(4096)));
    let one = house.get("/agents/m1").await.expect(200);
    assert_eq!(one["running"].as_array().unwrap().len(), 3);
    house.get("/agents/m9").await.expect(404);
}

#[tokio::test]
async fn plan_and_explain_are_as_the_document_says() {
    let house = full().await;
    let key = json!({"role": "www-data", "environment": "prod", "name": "new"});
    let config = json!({
        "job": key, "executorConfig": {"name": "AuroraExecutor", "data": "{}"},
        "resources": [{"numCpus": 0.5}, {"ramMb": 16}, {"diskMb": 32}],
    });
    let description = json!({"key": key, "taskConfig": config, "instanceCount": 1});
    let question = json!({"method": "createJob", "arguments": {"description": description}});
    assert!(house.change("POST", "/plan", &question).await.expect(200)["refusal"].is_null());
    assert_eq!(
        house.change("POST", "/plan", &json!({"method": "killTasks", "arguments": {}})).await.expect(400)["code"],
        "INVALID_REQUEST"
    );
    house.send("POST", "/api/v1/plan", &[], "{}").await.expect(415);
    let told = house.get("/explain?job=www-data/prod/hello").await.expect(200);
    assert_eq!(told["job"], "www-data/prod/hello");
    assert_eq!(house.get("/explain?job=www-data/prod/none").await.expect(404)["code"], "NOT_FOUND");
    house.get("/explain").await.expect(400);
    assert_eq!(house.get("/plan").await.expect(405)["code"], "METHOD_NOT_ALLOWED");
}
