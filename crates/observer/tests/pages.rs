//! The observer over the disk of an agent: one task of ours, one of the original's, asked for by their addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use checkpoint::layout::{OutputStream, RunDirectory};
use checkpoint::record::{Header, ProcessRecord, ProcessState, StatusRecord, StatusState, TaskRecord, TaskState};
use checkpoint::stream::Writer;
use observer::detect::Root;
use observer::store::{Store, Which};
use serde_json::{Value, json};
use tower::ServiceExt;

const TASK: &str = r#"{"name": "web", "processes": [
    {"name": "serve it", "cmdline": "echo <b>"}, {"name": "later", "cmdline": "true"}]}"#;

struct Agent {
    folder: tempfile::TempDir,
    store: Arc<Store>,
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(vec![Root::Mesos(folder.path().to_owned())]));
        Self { folder, store }
    }

    fn run(&self, container: &str) -> PathBuf {
        self.folder.path().join("slaves/S0/frameworks/F/executors/e/runs").join(container)
    }

    /// A running task whose process failed once and runs now: this very test process.
    fn add_ours(&self) -> RunDirectory {
        let run = RunDirectory::new(self.run("c1"));
        fs::create_dir_all(run.process_logs("serve it", 1)).unwrap();
        fs::create_dir_all(run.process_logs("serve it", 0)).unwrap();
        fs::write(run.log("serve it", 1, OutputStream::Stdout), "one\n<two>\n").unwrap();
        fs::write(run.log("serve it", 0, OutputStream::Stderr), "NameError\n").unwrap();
        fs::write(run.sandbox().join("data file"), "hello").unwrap();
        let mut writer = Writer::create(&run.checkpoint()).unwrap();
        writer.push(Header {
            task_id: "www-prod-web-0".into(),
            launch_time_ms: 1_000,
            user: "www-data".into(),
            hostname: "agent.example".into(),
            ports: [("http".to_owned(), 31000), ("debug".to_owned(), 31001)].into(),
            task_json: TASK.into(),
            ..Header::default()
        });
        writer.push(TaskRecord { state: TaskState::Active.into(), timestamp_ms: 2_000, decider_pid: 1 });
        let own = i32::try_from(std::process::id()).unwrap();
        let process = |sequence, run, state: ProcessState| ProcessRecord {
            sequence,
            process: "serve it".into(),
            run,
            state: state.into(),
            start_time_ms: Some(3_000),
            ..ProcessRecord::default()
        };
        writer.push(ProcessRecord {
            stop_time_ms: Some(4_500),
            return_code: Some(1),
            ..process(0, 0, ProcessState::Failed)
        });
        writer.push(ProcessRecord { pid: Some(own), ..process(1, 1, ProcessState::Running) });
        writer.commit().unwrap();
        self.store.refresh();
        run
    }

    /// A finished task of the original.
    fn add_theirs(&self) {
        let root = self.run("c2").join("checkpoints");
        fs::create_dir_all(root.join("tasks/finished")).unwrap();
        fs::write(root.join("tasks/finished/old-1"), r#"{"name": "old", "processes": [{"name": "p"}]}"#).unwrap();
        fs::create_dir_all(root.join("checkpoints/old-1")).unwrap();
        let record = |record: thrift::thermos::RunnerCheckpoint| {
            let payload = thrift::encode_value(thrift::Protocol::Binary, &record);
            [u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec(), payload].concat()
        };
        let task = |state, timestamp_ms| {
            record(thrift::thermos::RunnerCheckpoint {
                task_status: Some(thrift::thermos::RunnerTaskStatus {
                    state,
                    timestamp_ms,
                    ..thrift::thermos::RunnerTaskStatus::default()
                }),
                ..thrift::thermos::RunnerCheckpoint::default()
            })
        };
        fs::write(root.join("checkpoints/old-1/runner"), [task(0, 1_000), task(1, 9_000)].concat()).unwrap();
        self.store.refresh();
    }

    async fn ask(&self, uri: &str) -> (StatusCode, String) {
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let response = observer::http::router(Arc::clone(&self.store)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn json(&self, uri: &str) -> Value {
        let (status, body) = self.ask(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{uri}: {error}: {body}"))
    }
}

#[tokio::test]
async fn lists_and_counts_know_both_kinds_of_task() {
    let agent = Agent::new();
    agent.add_ours();
    agent.add_theirs();
    assert_eq!(agent.json("/j/task_id_count").await, json!({"active": 1, "finished": 1, "all": 2}));
    let list = agent.json("/j/task_ids/active").await;
    assert_eq!(
        (&list["type"], &list["offset"], &list["num"], &list["task_count"]),
        (&json!("active"), &json!(0), &json!(1), &json!(1))
    );
    let row = &list["tasks"][0];
    assert_eq!(
        (&row["task_id"], &row["name"], &row["role"]),
        (&json!("www-prod-web-0"), &json!("web"), &json!("www-data"))
    );
    assert_eq!(
        (&row["launch_timestamp"], &row["state"], &row["state_timestamp"]),
        (&json!(1), &json!("ACTIVE"), &json!(2))
    );
    for field in ["cpu", "ram", "user", "system", "rss", "vms", "nice", "status", "threads", "disk", "ports"] {
        assert!(row.get(field).is_some(), "{field}");
    }
    let finished = agent.json("/j/task_ids/finished/0/5").await;
    assert_eq!(
        (&finished["tasks"][0]["task_id"], &finished["tasks"][0]["state"]),
        (&json!("old-1"), &json!("SUCCESS"))
    );
    assert_eq!(agent.json("/j/task_ids/all/-1").await["num"], json!(1));
    assert_eq!(agent.ask("/j/task_ids/odd").await.0, StatusCode::NOT_FOUND);
    assert_eq!(agent.ask("/main/active/x").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tasks_and_processes_have_the_shapes_of_the_original() {
    let agent = Agent::new();
    agent.add_ours();
    let answer = agent.json("/j/task/www-prod-web-0").await;
    let task = &answer["www-prod-web-0"];
    assert_eq!(
        task["processes"],
        json!({"waiting": ["later"], "running": ["serve it"], "success": [], "failed": [], "killed": []})
    );
    assert_eq!(task["task"]["processes"][1]["name"], json!("later"));
    assert!(task["resource_consumption"]["disk"].is_number());
    assert_eq!(agent.json("/j/task/unknown").await, json!({}));
    assert_eq!(agent.json("/j/task?task_id=www-prod-web-0,unknown").await, answer);

    let running = agent.json("/j/process/www-prod-web-0/serve%20it").await;
    assert_eq!((&running["process_run"], &running["state"]), (&json!(1), &json!("RUNNING")));
    assert!(running["used"]["rss"].as_u64().unwrap() > 0, "this process uses memory: {running}");
    assert!(running["used"].get("disk").is_none());
    let failed = agent.json("/j/process/www-prod-web-0/serve%20it/0").await;
    assert_eq!(
        failed,
        json!({"process_name": "serve it", "process_run": 0, "state": "FAILED", "start_time": 3.0, "stop_time": 4.5, "return_code": 1})
    );
    assert_eq!(agent.json("/j/process/www-prod-web-0/serve%20it/-2").await, failed);
    for unknown in
        ["/j/process/www-prod-web-0/nobody", "/j/process/www-prod-web-0", "/j/process/www-prod-web-0/later/7"]
    {
        assert_eq!(agent.json(unknown).await, json!({}), "{unknown}");
    }
    let all = agent.json("/j/processes?task_id=www-prod-web-0").await;
    assert_eq!(all["www-prod-web-0"]["serve it"]["state"], json!("RUNNING"));
}

#[tokio::test]
async fn logs_and_files_are_read_in_pieces_and_only_within_the_sandbox() {
    let agent = Agent::new();
    let run = agent.add_ours();
    let log = "/logdata/www-prod-web-0/serve%20it/1/stdout";
    assert_eq!(agent.json(log).await, json!({"offset": 10, "length": 0}));
    assert_eq!(
        agent.json(&format!("{log}?offset=4&length=5")).await,
        json!({"offset": 4, "length": 5, "data": "&lt;two&gt;"})
    );
    assert_eq!(agent.json(&format!("{log}?offset=x")).await, json!({}));
    assert_eq!(agent.json("/logdata/www-prod-web-0/serve%20it/9/stdout?offset=0").await, json!({}));
    assert_eq!(agent.ask("/logdata/www-prod-web-0/serve%20it/1/stdin").await.0, StatusCode::NOT_FOUND);
    assert_eq!(agent.ask("/logdata/unknown/serve%20it/1/stdout").await.0, StatusCode::NOT_FOUND);

    let file = agent.json("/filedata/www-prod-web-0/data%20file?offset=0").await;
    assert_eq!(file, json!({"offset": 0, "length": 5, "data": "hello"}));
    assert_eq!(agent.ask("/download/www-prod-web-0/data%20file").await, (StatusCode::OK, "hello".into()));
    let beside = run.root().join("sandbox2");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("secret"), "x").unwrap();
    std::os::unix::fs::symlink("../sandbox2/secret", run.sandbox().join("out")).unwrap();
    for bad in ["out", "../sandbox2/secret", "..%2f..%2fcheckpoint", "missing"] {
        for kind in ["filedata", "download", "file"] {
            let uri = format!("/{kind}/www-prod-web-0/{bad}");
            assert_eq!(agent.ask(&uri).await.0, StatusCode::NOT_FOUND, "{uri}");
        }
    }
}

#[tokio::test]
async fn pages_lead_from_the_index_to_the_traceback() {
    let agent = Agent::new();
    agent.add_ours();
    let (_, index) = agent.ask("/").await;
    assert!(index.contains("active tasks 1...1 of 1") && index.contains("finished tasks 0...0 of 0"), "{index}");
    assert!(
        index.contains(r#"href="/task/www-prod-web-0""#) && index.contains("http://agent.example:31000"),
        "{index}"
    );
    assert!(!index.contains("&lt;table"), "the tables are drawn, not shown as text");
    let (_, task) = agent.ask("/task/www-prod-web-0").await;
    for part in ["www-data", "agent.example", "31001", "serve it", "/process/www-prod-web-0/serve%20it", "RUNNING"] {
        assert!(task.contains(part), "{part}: {task}");
    }
    let (_, process) = agent.ask("/process/www-prod-web-0/serve%20it").await;
    for part in ["echo &#60;b&#62;", "/logs/www-prod-web-0/serve%20it/0/stderr", "FAILED", "RUNNING"] {
        assert!(process.contains(part), "{part}: {process}");
    }
    let (_, viewer) = agent.ask("/logs/www-prod-web-0/serve%20it/0/stderr").await;
    assert!(viewer.contains(r#"data-from="/logdata/www-prod-web-0/serve%20it/0/stderr""#), "{viewer}");
    let (_, browser) = agent.ask("/browse/www-prod-web-0").await;
    assert!(browser.contains(".logs") && browser.contains("/file/www-prod-web-0/data%20file"), "{browser}");
    let (_, inner) = agent.ask("/browse/www-prod-web-0/.logs/serve%20it").await;
    assert!(inner.contains("/browse/www-prod-web-0/.logs\""), "the way up: {inner}");
    let (_, raw) = agent.ask("/rawtask/www-prod-web-0").await;
    assert!(raw.contains("    &#34;name&#34;: &#34;web&#34;"), "{raw}");
    for missing in
        ["/task/x", "/process/www-prod-web-0/x", "/logs/www-prod-web-0/serve%20it/1/odd", "/browse/www-prod-web-0/x"]
    {
        assert_eq!(agent.ask(missing).await.0, StatusCode::NOT_FOUND, "{missing}");
    }
    assert_eq!(agent.ask("/health").await, (StatusCode::OK, "OK".into()));
    assert_eq!(agent.json("/vars.json").await["observer.tasks_active"], json!(1));
    assert_eq!(agent.ask("/vars/observer.tasks_finished").await.1, "0");
}

#[tokio::test]
async fn what_happens_on_disk_is_seen_without_a_look_at_everything() {
    let agent = Agent::new();
    let run = agent.add_ours();
    let mut writer = Writer::open(&run.checkpoint()).unwrap();
    writer.push(TaskRecord { state: TaskState::Success.into(), timestamp_ms: 5_000, decider_pid: 1 });
    writer.push(StatusRecord { sequence: 0, state: StatusState::Finished.into(), ..StatusRecord::default() });
    writer.commit().unwrap();
    let task = agent.json("/j/task/www-prod-web-0").await;
    assert_eq!(task["www-prod-web-0"]["state"], json!("SUCCESS"));
    fs::remove_dir_all(run.root()).unwrap();
    assert_eq!(agent.json("/j/task/www-prod-web-0").await, json!({}));
    // One of the original is listed elsewhere when it is over.
    agent.add_theirs();
    let tasks = agent.run("c2").join("checkpoints/tasks");
    fs::create_dir_all(tasks.join("active")).unwrap();
    fs::rename(tasks.join("finished/old-1"), tasks.join("active/old-1")).unwrap();
    agent.store.refresh();
    assert!(agent.store.task("old-1").unwrap().is_active());
    fs::rename(tasks.join("active/old-1"), tasks.join("finished/old-1")).unwrap();
    assert!(!agent.store.task("old-1").unwrap().is_active());
    let all = agent.store.tasks(Which::All);
    assert_eq!(all.iter().filter(|task| task.id == "old-1").count(), 1);
}

#[test]
fn an_observer_without_a_directory_says_so() {
    let options = observer::Options::new(vec![Root::Mesos(Path::new("/nonexistent/mesos").to_owned())]);
    let error = observer::run(options, |_| ()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/mesos") && error.contains("--mesos-root"), "{error}");
}
