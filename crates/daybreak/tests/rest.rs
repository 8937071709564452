//! The REST API of the real binary, as any HTTP client uses it: jobs from files in each format, once per idempotency key through crashes of
//! the daemon (reliability T4), and documents that are meant to harm.

mod support;

use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use support::{Daemon, http, login, open_directory, try_http, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon and what is asked of it.
struct Api {
    daemon: Daemon,
}

impl Api {
    fn new() -> Self {
        Self { daemon: Daemon::start(&["--allow-root-role"]) }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let (status, text) = http(method, &format!("{}/api/v1{path}", self.daemon.url), headers, body.as_bytes());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {body:#}");
        body
    }

    /// A change with a body in JSON, or without one.
    #[track_caller]
    fn change(&self, method: &str, path: &str, body: &Value, expected: u16) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.send(method, path, &[("Content-Type", "application/json")], &text);
        assert_eq!(status, expected, "{method} {path}: {answer:#}");
        answer
    }

    fn wait_for_tasks(&self, job: &str, status: &str, count: usize) {
        wait_for(&format!("{count} tasks of {job} to be {status}"), PATIENCE, || {
            let told = self.get(&format!("/jobs/{job}/tasks?status={status}"));
            (told["total"] == count).then_some(())
        });
    }
}

fn job(name: &str) -> String {
    format!("{}/devel/{name}", login())
}

/// A service as a job file.
fn service(name: &str, cmdline: &str, instances: u32) -> Value {
    json!({
        "cluster": "devcluster", "role": login(), "environment": "devel", "name": name, "instances": instances, "service": true,
        "task": {
            "processes": [{"name": "main", "cmdline": cmdline}],
            "resources": {"cpu": 0.1, "ram": "16 MB", "disk": "16 MB"},
        },
        "update_config": {"watch_secs": 1, "batch_size": 1},
        "health_check_config": {"initial_interval_secs": 1},
    })
}

fn example(name: &str) -> String {
    let path = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    // Over HTTP nobody is the user of the file.
    std::fs::read_to_string(path).unwrap().replace("{{daybreak.user}}", &login())
}

#[test]
fn the_examples_run_in_each_format() {
    let api = Api::new();
    let job = job("hello");
    let about = api.get("");
    assert_eq!(
        (&about["cluster"], &about["idempotencyKeys"]["header"]),
        (&json!("devcluster"), &json!("Idempotency-Key"))
    );
    assert_eq!(api.get("/openapi.json")["openapi"], "3.1.0");
    for (finished, (name, media_type)) in
        [("hello.json", "application/json"), ("hello.yaml", "application/yaml"), ("hello.toml", "application/toml")]
            .into_iter()
            .enumerate()
    {
        let (status, body) = api.send("POST", "/jobs", &[("Content-Type", media_type)], &example(name));
        assert_eq!((status, &body["job"], &body["tasks"]), (201, &json!(job), &json!(1)), "{name}: {body}");
        api.wait_for_tasks(&job, "FINISHED", finished + 1);
    }
    assert_eq!(api.get(&format!("/jobs/{job}"))["kind"], "BATCH");
    // Programs are not run, and a user that is not known is not made up.
    let (status, body) = api.send("POST", "/jobs", &[("Content-Type", "text/x-python")], "jobs = []");
    assert!(status == 415 && body["error"].as_str().unwrap().contains("daybreak config convert"), "{body}");
    let unknown = std::fs::read_to_string(format!("{}/../../examples/hello.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (status, body) = api.send("POST", "/jobs", &[("Content-Type", "application/yaml")], &unknown);
    assert!(status == 400 && body["error"].as_str().unwrap().contains("daybreak.user"), "{body}");
}

#[test]
fn a_job_lives_its_life_over_http() {
    let api = Api::new();
    let job = job("service");
    let path = format!("/jobs/{job}");
    api.change("POST", "/jobs", &service("service", "sleep 1000", 2), 201);
    api.wait_for_tasks(&job, "RUNNING", 2);
    assert_eq!(api.change("POST", "/jobs", &service("service", "sleep 1000", 2), 409)["code"], "CONFLICT");

    let second = service("service", "sleep 2000", 2);
    let id = api.change("POST", &format!("{path}/updates?message=second"), &second, 201)["id"].clone();
    let update = format!("{path}/updates/{}", id.as_str().unwrap());
    api.change("POST", &format!("{update}/pause"), &json!({"message": "wait"}), 200);
    assert_eq!(api.get(&update)["status"], "ROLL_FORWARD_PAUSED");
    assert_eq!(api.change("DELETE", &path, &Value::Null, 409)["updateId"], id);
    api.change("POST", &format!("{update}/resume"), &Value::Null, 200);
    wait_for("the update to end", PATIENCE, || (api.get(&update)["status"] == "ROLLED_FORWARD").then_some(()));
    let ended = api.get(&update);
    assert!(ended["instances"].as_array().unwrap().iter().all(|it| it["stage"] == "SUCCEEDED"), "{ended:#}");
    assert_eq!(api.change("POST", &format!("{path}/updates"), &second, 200)["id"], Value::Null);

    api.change("POST", &format!("{path}/instances"), &json!({"count": 1, "template": 0}), 200);
    api.wait_for_tasks(&job, "RUNNING", 3);
    assert_eq!(api.change("POST", &format!("{path}/restart"), &json!({"instances": "0-1"}), 200)["tasks"], 2);
    api.wait_for_tasks(&job, "RUNNING", 3);
    let told = api.get(&path);
    assert_eq!((&told["kind"], &told["activeTasks"]), (&json!("SERVICE"), &json!(3)));
    let task = told["tasks"][0]["id"].as_str().unwrap();
    let host = api.get(&format!("/tasks/{task}"))["host"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/agents/{host}"))["tasks"], 3);
    assert_eq!(
        api.change("POST", &format!("{path}/kill"), &json!({"instances": [2], "message": "enough"}), 200)["tasks"],
        1
    );
    api.wait_for_tasks(&job, "RUNNING", 2);
    assert_eq!(api.change("DELETE", &path, &Value::Null, 200)["tasks"], 2);
    wait_for("the job to end", PATIENCE, || (api.get(&path)["activeTasks"] == 0).then_some(()));
}

#[test]
fn cron_jobs_and_quotas_over_http() {
    let api = Api::new();
    let job = job("nightly");
    let path = format!("/cron-jobs/{job}");
    let mut file = service("nightly", "true", 1);
    (file["service"], file["cron_schedule"]) = (json!(false), json!("0 3 1 1 *"));
    assert_eq!(api.change("POST", "/jobs", &file, 201)["scheduled"], true);
    file["cron_schedule"] = json!("30 4 1 1 *");
    api.change("PUT", &path, &file, 200);
    assert_eq!(api.get(&path)["cronSchedule"], "30 4 1 1 *");
    assert_eq!(api.change("POST", &format!("{path}/runs"), &Value::Null, 200)["started"], true);
    api.wait_for_tasks(&job, "FINISHED", 1);
    assert_eq!(api.get(&format!("{path}/runs"))["runs"][0]["outcome"], "STARTED");
    api.change("DELETE", &path, &Value::Null, 200);
    api.change("DELETE", &path, &Value::Null, 404);

    let role = login();
    let quota = json!({"cpus": 1.0, "ramMb": 64, "diskMb": 64});
    api.change("PUT", &format!("/quotas/{role}"), &quota, 200);
    assert_eq!(api.get(&format!("/quotas/{role}"))["quota"], quota);
    let mut big = service("big", "sleep 1000", 20);
    big["tier"] = json!("preferred");
    let refused = api.change("POST", "/jobs", &big, 400);
    assert!(refused["error"].as_str().unwrap().contains("quota"), "{refused}");
}

/// A job with everything that job files can say and a single machine can run.
fn rich() -> Value {
    let mut file = service("rich", "echo {{greeting}} {{mesos.instance}} {{thermos.ports[http]}}", 2);
    file["bind"] = json!({"greeting": "hällo \"you\""});
    file["priority"] = json!(3);
    file["max_task_failures"] = json!(-1);
    file["contact"] = json!("ops@example.org");
    file["tier"] = json!("preferred");
    file["constraints"] = json!({"host": "limit:2"});
    file["metadata"] = json!([{"key": "b", "value": "2"}, {"key": "a", "value": "1"}]);
    file["announce"] = json!({"primary_port": "http", "portmap": {"health": "http"}});
    file["partition_policy"] = json!({"reschedule": true, "delay_secs": 30});
    file["health_check_config"] =
        json!({"health_checker": {"shell": {"shell_command": "true"}}, "interval_secs": 2.5, "timeout_secs": 1});
    file["task"]["processes"][0]["max_failures"] = json!(4);
    let processes = file["task"]["processes"].as_array_mut().unwrap();
    processes.push(json!({"name": "after", "cmdline": "true"}));
    processes.push(json!({"name": "last", "cmdline": "true", "final": true}));
    file["task"]["constraints"] = json!([{"order": ["main", "after"]}]);
    file
}

#[test]
fn what_is_created_over_http_is_to_the_byte_what_the_client_creates() {
    let api = Api::new();
    let directory = open_directory();
    let file = rich();
    let job = job("rich");
    let quota = json!({"cpus": 4.0, "ramMb": 1024, "diskMb": 1024});
    api.change("PUT", &format!("/quotas/{}", login()), &quota, 200);
    let configuration = || {
        let mut told = api.get(&format!("/jobs/{job}"))["configurations"][0]["configuration"].clone();
        let owner = told.as_object_mut().unwrap().remove("owner").unwrap();
        assert_eq!(owner, login());
        told
    };
    let gone = || {
        api.change("DELETE", &format!("/jobs/{job}"), &Value::Null, 200);
        wait_for("the job to end", PATIENCE, || (api.get(&format!("/jobs/{job}"))["activeTasks"] == 0).then_some(()));
    };
    let path = directory.path().join("rich.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let key = format!("devcluster/{job}");
    api.daemon.aurora(&["job", "create", &key, path.to_str().unwrap()]).expect_code(0);
    let by_client = configuration();
    assert!(by_client["executor"]["data"].as_str().unwrap().contains("h\\u00e4llo"), "{by_client:#}");
    gone();
    for format in ["json", "yaml", "toml"] {
        let (text, media_type) = if format == "json" {
            (file.to_string(), "application/json".to_owned())
        } else {
            let converted =
                api.daemon.verb(&["config", "convert", path.to_str().unwrap(), "--to", format]).expect_code(0);
            (converted.stdout, format!("application/{format}"))
        };
        let (status, body) = api.send("POST", "/jobs", &[("Content-Type", &media_type)], &text);
        assert_eq!(status, 201, "{format}: {body}\n{text}");
        assert_eq!(configuration(), by_client, "{format}");
        gone();
    }
}

/// Sends one request under one key before and after a crash; the answer, and how often it was asked.
fn twice(api: &mut Api, method: &str, path: &str, body: &Value, key: &str) -> Value {
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let first = api.send(method, path, &headers, &text);
    assert!(first.0 < 300, "{method} {path}: {first:?}");
    assert_eq!(api.send(method, path, &headers, &text), first, "{method} {path}");
    api.daemon.kill_nine();
    api.daemon.restart();
    assert_eq!(api.send(method, path, &headers, &text), first, "{method} {path} after the crash");
    let other = json!({"cpus": 1.0, "ramMb": 1, "diskMb": 1}).to_string();
    let (status, refused) = api.send("PUT", "/quotas/other", &headers, &other);
    assert_eq!((status, &refused["code"]), (422, &json!("IDEMPOTENCY_KEY_REUSED")), "{refused}");
    first.1
}

/// How often tasks of a job have entered a state.
fn times_entered(api: &Api, path: &str, status: &str) -> usize {
    let tasks = api.get(&format!("{path}/tasks"));
    let ids = tasks["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap());
    let events = ids.flat_map(|id| api.get(&format!("/tasks/{id}"))["events"].as_array().unwrap().clone());
    events.filter(|event| event["status"] == status).count()
}

#[test]
fn under_one_key_a_change_is_made_once_through_crashes() {
    let mut api = Api::new();
    let job = job("once");
    let path = format!("/jobs/{job}");
    let file = service("once", "sleep 1000", 2);
    twice(&mut api, "POST", "/jobs", &file, "create");
    api.wait_for_tasks(&job, "RUNNING", 2);
    twice(&mut api, "POST", &format!("{path}/instances"), &json!({"count": 2, "template": 0}), "grow");
    api.wait_for_tasks(&job, "RUNNING", 4);
    let active = api.get(&path);
    assert_eq!(active["activeTasks"], 4, "{active:#}");
    assert_eq!(active["configurations"][0]["instances"], json!([{"first": 0, "last": 3}]));
    twice(&mut api, "POST", &format!("{path}/restart"), &json!({"instances": [3]}), "restart");
    api.wait_for_tasks(&job, "RUNNING", 4);
    assert_eq!(times_entered(&api, &path, "RESTARTING"), 1, "one task was restarted, once");
    let second = service("once", "sleep 2000", 4);
    let started = twice(&mut api, "POST", &format!("{path}/updates"), &second, "update");
    assert_eq!(api.get(&format!("{path}/updates"))["updates"].as_array().unwrap().len(), 1);
    let update = format!("{path}/updates/{}", started["id"].as_str().unwrap());
    twice(&mut api, "POST", &format!("{update}/abort"), &Value::Null, "abort");
    assert_eq!(api.get(&update)["events"].as_array().unwrap().iter().filter(|it| it["status"] == "ABORTED").count(), 1);

    let mut nightly = service("once-nightly", "sleep 1000", 1);
    (nightly["service"], nightly["cron_schedule"]) = (json!(false), json!("0 3 1 1 *"));
    let cron = format!("/cron-jobs/{}", self::job("once-nightly"));
    twice(&mut api, "POST", "/jobs", &nightly, "schedule");
    twice(&mut api, "POST", &format!("{cron}/runs"), &Value::Null, "run");
    assert_eq!(api.get(&format!("{cron}/runs"))["runs"].as_array().unwrap().len(), 1);
    twice(&mut api, "DELETE", &cron, &Value::Null, "deschedule");
    twice(&mut api, "DELETE", &path, &Value::Null, "kill");
}

/// A request whose answer is lost: the daemon dies in the middle of a stream of them. Whoever asks again gets one job for each.
#[test]
fn answers_that_a_crash_took_are_given_to_whoever_asks_again() {
    let mut api = Api::new();
    let url = api.daemon.url.clone();
    let send = |number: usize| {
        let text = service(&format!("lost-{number}"), "sleep 1000", 1).to_string();
        let key = format!("key-{number}");
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
        try_http("POST", &format!("{url}/api/v1/jobs"), &headers, text.as_bytes())
    };
    const JOBS: usize = 12;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..JOBS).map(|number| scope.spawn(move || send(number))).collect();
        std::thread::sleep(Duration::from_millis(60));
        api.daemon.kill_nine();
        asking.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    });
    api.daemon.restart();
    for number in 0..JOBS {
        let (status, body) = send(number).unwrap();
        assert_eq!(status, 201, "{number}: {body}");
        assert_eq!(api.get(&format!("/jobs/{}", job(&format!("lost-{number}"))))["activeTasks"], 1);
    }
}

/// A number of /proc/PID/status, in kB.
fn memory_kb(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Documents that grow when they are read.
fn growing() -> Vec<(&'static str, String)> {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    let mut bind = json!({"b0": "lolololololololol"});
    for level in 1..40 {
        let before = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 9].join(", ")));
        bind[format!("b{level}")] = json!(format!("{{{{b{before}}}}}").repeat(9));
    }
    let mut mustache = service("laughs", "{{b39}}", 1);
    mustache["bind"] = bind;
    // Many references to many names: long to fill in, however small.
    let mut slow = service("slow", "true", 1);
    let names: serde_json::Map<String, Value> =
        (0..12_000).map(|at| (format!("n{at}"), json!(format!("{{{{m{at}}}}}")))).collect();
    slow["bind"] = names.into();
    slow["task"]["processes"][0]["cmdline"] = json!((0..12_000).map(|at| format!("{{{{n{at}}}}}")).collect::<String>());
    vec![
        ("application/yaml", laughs),
        ("application/json", mustache.to_string()),
        ("application/json", slow.to_string()),
        ("application/json", "[".repeat(1 << 20)),
        ("application/yaml", "[".repeat(1 << 20)),
        ("application/yaml", "- ".repeat(1 << 19)),
        ("application/toml", format!("a={}", "[".repeat(1 << 19))),
        ("application/json", format!("[{}1]", "1,".repeat(500_000))),
    ]
}

#[test]
fn documents_that_grow_do_not_take_the_daemon_down() {
    let api = Api::new();
    let pid = api.daemon.pid();
    let before_kb = memory_kb(pid, "VmHWM");
    let documents = growing();
    std::thread::scope(|scope| {
        for (media_type, text) in &documents {
            let api = &api;
            scope.spawn(move || {
                let started = Instant::now();
                let (status, body) = api.send("POST", "/jobs", &[("Content-Type", media_type)], text);
                let shown: String = text.chars().take(40).collect();
                assert!(matches!(status, 400 | 413 | 503), "{shown}: {status} {body}");
                assert!(body["error"].as_str().is_some_and(|error| error.len() < 5000), "{shown}: {body}");
                assert!(started.elapsed() < PATIENCE, "{shown} took {:?}", started.elapsed());
            });
        }
        // Meanwhile others are served.
        for _ in 0..20 {
            let started = Instant::now();
            api.get("/jobs");
            assert!(started.elapsed() < Duration::from_secs(5), "a question took {:?}", started.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let grown_kb = memory_kb(pid, "VmHWM") - before_kb;
    assert!(grown_kb < 200 << 10, "the daemon grew by {grown_kb} kB");
    assert_eq!(api.get("/jobs")["jobs"], json!([]));
    api.change("POST", "/jobs", &service("after", "sleep 1000", 1), 201);
    // Nor does a number.
    let started = Instant::now();
    let many = json!({"count": i32::MAX, "template": 0});
    api.change("POST", &format!("/jobs/{}/instances", job("after")), &many, 400);
    api.change("POST", "/jobs", &service("many", "sleep 1000", i32::MAX as u32), 400);
    assert!(started.elapsed() < Duration::from_secs(10), "to refuse that took {:?}", started.elapsed());
}

#[test]
fn pages_of_other_sites_and_unknown_callers_change_nothing() {
    let directory = open_directory();
    let ini = directory.path().join("users.ini");
    std::fs::write(&ini, "[users]\nroot = secret, admin\nbob = word\n[roles]\nadmin = *\n").unwrap();
    let flag = format!("-shiro_ini_path={}", ini.display());
    let options = ["-http_authentication_mechanism=BASIC", &flag, "--allow-root-role"];
    let api = Api { daemon: Daemon::start_in(directory, &options) };
    let file = service("mine", "sleep 1000", 1).to_string();
    let json = ("Content-Type", "application/json");
    let basic = |words: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words));
    let (root, bob, liar) = (basic("root:secret"), basic("bob:word"), basic("root:guess"));
    let (status, _) =
        api.send("POST", "/jobs", &[json, ("Origin", "http://evil.example"), ("Authorization", &root)], &file);
    assert_eq!(status, 403, "a page of another site");
    let (status, _) = api.send("POST", "/jobs", &[json, ("Host", "evil.example"), ("Authorization", &root)], &file);
    assert!((400..500).contains(&status), "a name of another site: {status}");
    let (status, body) = api.send("POST", "/jobs", &[json], &file);
    assert_eq!((status, &body["code"]), (401, &json!("LOGIN_REQUIRED")));
    assert_eq!(api.send("POST", "/jobs", &[json, ("Authorization", &liar)], &file).0, 401);
    let (status, body) = api.send("POST", "/jobs", &[json, ("Authorization", &bob)], &file);
    assert_eq!((status, &body["code"]), (403, &json!("AUTH_FAILED")));
    assert_eq!(api.get("/jobs")["jobs"], json!([]));
    assert_eq!(api.send("POST", "/jobs", &[json, ("Authorization", &root)], &file).0, 201);
    let told = api.get(&format!("/jobs/{}", job("mine")));
    assert_eq!(told["configurations"][0]["configuration"]["owner"], "root");
}
