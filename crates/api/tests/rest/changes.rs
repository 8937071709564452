//! Changes: each does what it says, and says what it did.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{House, cron_file, job_file};

const HELLO: &str = "/jobs/www-data/prod/hello";

async fn with_job() -> House {
    let house = House::new();
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    house
}

#[tokio::test]
async fn a_job_is_created_from_each_format() {
    let yaml = "cluster: devcluster\nrole: www-data\nenvironment: prod\nname: hello\ninstances: 3\nservice: true\ntask:\n  processes:\n  \
                - {name: hello, cmdline: 'echo hello; sleep 10'}\n  resources: {cpu: 0.25, ram: 16 MB, disk: 32 MB}\nupdate_config: \
                {watch_secs: 5}\n";
    let toml = "cluster = 'devcluster'\nrole = 'www-data'\nenvironment = 'prod'\nname = 'hello'\ninstances = 3\nservice = true\n\
                update_config = {watch_secs = 5}\n[task]\nresources = {cpu = 0.25, ram = '16 MB', disk = '32 MB'}\n[[task.processes]]\n\
                name = 'hello'\ncmdline = 'echo hello; sleep 10'\n";
    let mut configurations = Vec::new();
    for (media_type, text) in [
        ("application/json", job_file("hello").to_string()),
        ("application/json; charset=utf-8", job_file("hello").to_string()),
        ("application/yaml", yaml.to_owned()),
        ("text/x-yaml", yaml.to_owned()),
        ("application/toml", toml.to_owned()),
    ] {
        let house = House::new();
        let answered = house.send("POST", "/api/v1/jobs", &[("content-type", media_type)], text).await;
        assert_eq!(answered.header("location"), Some("/api/v1/jobs/www-data/prod/hello"), "{media_type}: {answered:?}");
        let expected =
            json!({"job": "www-data/prod/hello", "scheduled": false, "cronSchedule": null, "tasks": 3, "warnings": []});
        assert_eq!(answered.expect(201), expected, "{media_type}");
        configurations.push(house.get(HELLO).await.expect(200)["configurations"].clone());
    }
    assert!(configurations.iter().all(|other| *other == configurations[0]), "{configurations:#?}");
}

#[tokio::test]
async fn one_job_of_several_is_chosen() {
    let house = House::new();
    let file = json!({"jobs": [job_file("hello"), job_file("other")]});
    let refused = house.change("POST", "/jobs", &file).await.expect(400);
    assert!(refused["error"].as_str().unwrap().contains("none was named"), "{refused}");
    for (named, name) in [("www-data/prod/other", "other"), ("devcluster/www-data/prod/hello", "hello")] {
        let created = house.change("POST", &format!("/jobs?job={named}"), &file).await.expect(201);
        assert_eq!(created["job"], format!("www-data/prod/{name}"));
    }
    for bad in ["www-data/prod/third", "other/www-data/prod/hello", "hello", "a/b/c/d/e", ""] {
        house.change("POST", &format!("/jobs?job={bad}"), &file).await.expect(400);
    }
    let mut foreign = job_file("hello");
    foreign["cluster"] = json!("elsewhere");
    let refused = house.change("POST", "/jobs", &foreign).await.expect(400);
    assert_eq!(refused["error"], "The job is for the cluster 'elsewhere'; this one is 'devcluster'.");
}

#[tokio::test]
async fn a_job_that_is_there_is_not_created_again() {
    let house = with_job().await;
    let before = house.stored();
    let refused = house.change("POST", "/jobs", &job_file("hello")).await.expect(409);
    assert_eq!(refused["code"], "CONFLICT");
    assert_eq!(house.stored(), before);
}

#[tokio::test]
async fn who_hangs_up_is_served_all_the_same() {
    let house = House::new();
    let file = job_file("hello");
    let mut asking = Box::pin(house.change("POST", "/jobs", &file));
    let first = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_ready())).await;
    assert!(!first && house.gateway.view().tasks.is_empty(), "the answer came before the caller could hang up");
    drop(asking);
    for _ in 0..500 {
        if house.gateway.view().tasks.len() == 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the job was never created");
}

#[tokio::test]
async fn a_job_with_a_schedule_is_scheduled() {
    let house = House::new();
    let answered = house.change("POST", "/jobs", &cron_file("nightly")).await;
    assert_eq!(answered.header("location"), Some("/api/v1/cron-jobs/www-data/prod/nightly"));
    let body = answered.expect(201);
    assert_eq!(
        (&body["scheduled"], &body["cronSchedule"], &body["tasks"]),
        (&json!(true), &json!("0 3 * * *"), &json!(0))
    );
    assert_eq!(house.change("POST", "/jobs", &cron_file("nightly")).await.expect(409)["code"], "CONFLICT");
    house.get("/cron-jobs/www-data/prod/nightly").await.expect(200);
}

#[tokio::test]
async fn tasks_are_killed_restarted_and_added() {
    let house = with_job().await;
    // What waits for a machine is not restarted, and needs not be.
    let waiting = house.change("POST", &format!("{HELLO}/restart"), &json!({"instances": [0]})).await.expect(200);
    assert_eq!(waiting["tasks"], 0);
    assert_eq!(house.bare("DELETE", HELLO).await.expect(200)["tasks"], 3);
    // Tasks that were never placed leave nothing behind.
    house.bare("DELETE", HELLO).await.expect(404);
    house.bare("POST", &format!("{HELLO}/kill")).await.expect(404);
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    house.offer("m1");
    let added =
        house.change("POST", &format!("{HELLO}/instances"), &json!({"count": 2, "template": 0})).await.expect(200);
    assert_eq!(added["tasks"], 2);
    for (body, tasks) in [(json!([0]), 1), (json!("1-2"), 2)] {
        let restarted =
            house.change("POST", &format!("{HELLO}/restart"), &json!({"instances": body})).await.expect(200);
        assert_eq!(restarted["tasks"], tasks);
    }
    let killed =
        house.change("POST", &format!("{HELLO}/kill"), &json!({"instances": "3-4", "message": "enough"})).await;
    assert_eq!(killed.expect(200), json!({"job": "www-data/prod/hello", "tasks": 2, "message": null}));
    let none = house.change("POST", &format!("{HELLO}/kill"), &json!({"instances": [77]})).await.expect(200);
    assert_eq!(none["tasks"], 0);
    assert!(none["message"].as_str().unwrap().contains("No tasks to kill"), "{none}");
    assert_eq!(house.bare("DELETE", HELLO).await.expect(200)["tasks"], 3);
    let states = house.get("/tasks").await.expect(200);
    assert!(states["tasks"].as_array().unwrap().iter().all(|task| task["status"] == "KILLING"), "{states:#}");
}

#[tokio::test]
async fn a_cron_job_is_scheduled_replaced_started_and_deleted() {
    let house = House::new();
    let path = "/cron-jobs/www-data/prod/nightly";
    house.change("PUT", path, &cron_file("nightly")).await.expect(200);
    let mut later = cron_file("nightly");
    later["cron_schedule"] = json!("30 4 * * *");
    assert_eq!(house.change("PUT", path, &later).await.expect(200)["cronSchedule"], "30 4 * * *");
    assert_eq!(house.get(path).await.expect(200)["cronSchedule"], "30 4 * * *");
    assert_eq!(house.bare("POST", &format!("{path}/runs")).await.expect(200)["started"], true);
    let again = house.bare("POST", &format!("{path}/runs")).await.expect(200);
    assert_eq!(again["started"], true, "pending tasks go at once: {again}");
    house.offer("m1");
    let waits = house.bare("POST", &format!("{path}/runs")).await.expect(200);
    assert_eq!(waits["started"], false);
    assert!(waits["message"].as_str().unwrap().contains("waits until"), "{waits}");
    house.bare("DELETE", path).await.expect(200);
    for method in ["DELETE", "GET"] {
        house.bare(method, path).await.expect(404);
    }
    house.bare("POST", &format!("{path}/runs")).await.expect(404);
    // A file without a schedule, of another job, or with a schedule that is none.
    house.change("PUT", path, &job_file("nightly")).await.expect(400);
    house.change("PUT", path, &cron_file("other")).await.expect(400);
    later["cron_schedule"] = json!("every day");
    house.change("PUT", path, &later).await.expect(400);
}

#[tokio::test]
async fn an_update_is_started_controlled_and_stands_in_the_way_of_others() {
    let house = with_job().await;
    let path = format!("{HELLO}/updates");
    let same = house.change("POST", &path, &job_file("hello")).await.expect(200);
    assert_eq!(same["id"], Value::Null);
    assert!(same["message"].as_str().is_some_and(|text| text.len() > 5), "{same}");
    let mut file = job_file("hello");
    file["task"]["processes"][0]["cmdline"] = json!("echo two");
    let started = house.change("POST", &format!("{path}?instances=0-1"), &file).await;
    let location = started.header("location").unwrap().to_owned();
    let id = started.expect(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1{path}/{id}"));
    let update = house.get(&format!("{path}/{id}")).await.expect(200);
    assert_eq!(update["settings"]["onlyTheseInstances"], json!([{"first": 0, "last": 1}]));
    let second = house.change("POST", &path, &file).await.expect(409);
    assert_eq!((&second["code"], &second["updateId"]), (&json!("JOB_UPDATING_ERROR"), &json!(id)));
    let killed = house.bare("DELETE", HELLO).await.expect(409);
    assert_eq!((&killed["code"], &killed["updateId"]), (&json!("JOB_UPDATING_ERROR"), &json!(id)));
    for (action, body, status) in [
        ("pause", json!({"message": "lunch"}), "ROLL_FORWARD_PAUSED"),
        ("resume", json!({}), "ROLLING_FORWARD"),
        ("rollback", json!({"message": null}), "ROLLING_BACK"),
        ("abort", json!({"message": "enough"}), "ABORTED"),
    ] {
        let done = house.change("POST", &format!("{path}/{id}/{action}"), &body).await.expect(200);
        assert_eq!(done, json!({"job": "www-data/prod/hello", "id": id, "message": null}), "{action}");
        assert_eq!(house.get(&format!("{path}/{id}")).await.expect(200)["status"], status, "{action}");
    }
    assert_eq!(house.bare("POST", &format!("{path}/{id}/pause")).await.expect(400)["code"], "INVALID_REQUEST");
    for action in ["pause", "resume", "abort", "rollback", "pulse"] {
        house.bare("POST", &format!("{path}/none/{action}")).await.expect(404);
    }
    let long = json!({"message": "x".repeat(1025)});
    house.change("POST", &format!("{path}/{id}/pause"), &long).await.expect(400);
}

#[tokio::test]
async fn an_update_that_waits_for_pulses_gets_them() {
    let house = with_job().await;
    let path = format!("{HELLO}/updates");
    let mut file = job_file("hello");
    file["task"]["processes"][0]["cmdline"] = json!("echo two");
    file["update_config"] = json!({"pulse_interval_secs": 60});
    let id = house.change("POST", &path, &file).await.expect(201)["id"].as_str().unwrap().to_owned();
    let status = || async { house.get(&format!("{path}/{id}")).await.expect(200)["status"].clone() };
    assert_eq!(status().await, "ROLL_FORWARD_AWAITING_PULSE");
    assert_eq!(house.bare("POST", &format!("{path}/{id}/pulse")).await.expect(200)["active"], true);
    assert_eq!(status().await, "ROLLING_FORWARD");
    assert!(house.get(&format!("{path}/{id}")).await.expect(200)["lastPulseMs"].is_i64());
    house.bare("POST", &format!("{path}/{id}/abort")).await.expect(200);
    assert_eq!(house.bare("POST", &format!("{path}/{id}/pulse")).await.expect(200)["active"], false);
}

#[tokio::test]
async fn an_update_makes_a_job_that_is_not_there_and_leaves_schedules_alone() {
    let house = House::new();
    house.change("POST", &format!("{HELLO}/updates"), &job_file("hello")).await.expect(201);
    house.change("POST", "/jobs/www-data/prod/nightly/updates", &cron_file("nightly")).await.expect(400);
}

#[tokio::test]
async fn quotas_are_set_within_reason() {
    let house = House::new();
    let quota = json!({"cpus": 1.5, "ramMb": 64, "diskMb": 128});
    let set = house.change("PUT", "/quotas/www-data", &quota).await.expect(200);
    assert_eq!(set, json!({"role": "www-data", "quota": quota}));
    for bad in [
        json!({"cpus": -1, "ramMb": 64, "diskMb": 128}),
        json!({"cpus": 1e300, "ramMb": 64, "diskMb": 128}),
        json!({"cpus": 1, "ramMb": 64}),
        json!({"cpus": 1, "ramMb": 1.5, "diskMb": 1}),
        json!({"cpus": 1, "ramMb": 64, "diskMb": 128, "gpus": 1}),
    ] {
        house.change("PUT", "/quotas/www-data", &bad).await.expect(400);
    }
    assert_eq!(house.get("/quotas/www-data").await.expect(200)["quota"], quota);
}

#[tokio::test]
async fn maintenance_begins_and_ends() {
    let house = House::new();
    house.offer("m1");
    for (body, mode) in [
        (json!({"action": "start", "hosts": ["m1", "m9"]}), "SCHEDULED"),
        (json!({"action": "drain", "hosts": ["m1", "m9"]}), "DRAINED"),
        (json!({"action": "end", "hosts": ["m1", "m9"]}), "NONE"),
        (
            json!({"action": "slaDrain", "hosts": ["m1", "m9"], "timeoutSecs": 60,
                   "policy": {"percentage": {"percentage": 95.0, "durationSecs": 1800}}}),
            "DRAINED",
        ),
    ] {
        let done = house.change("POST", "/agents/maintenance", &body).await.expect(200);
        assert_eq!(done["unknownHosts"], json!(["m9"]), "{body}");
        assert_eq!(done["hosts"][0]["host"], "m1");
        assert_eq!(house.get("/agents/m1").await.expect(200)["mode"], mode, "{body} {done}");
    }
    for bad in [
        json!({"action": "stop", "hosts": ["m1"]}),
        json!({"action": "drain", "hosts": []}),
        json!({"action": "drain", "hosts": ["m1"], "timeoutSecs": 1}),
        json!({"action": "slaDrain", "hosts": ["m1"], "timeoutSecs": 1}),
        json!({"action": "slaDrain", "hosts": ["m1"], "timeoutSecs": -1, "policy": {"count": {"count": 1, "durationSecs": 1}}}),
        json!({"action": "slaDrain", "hosts": ["m1"], "timeoutSecs": 1, "policy": {"percentage": {"percentage": 101, "durationSecs": 1}}}),
    ] {
        house.change("POST", "/agents/maintenance", &bad).await.expect(400);
    }
}
