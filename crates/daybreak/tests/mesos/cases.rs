//! What users do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::cluster::{Cluster, Plan, ROLE, free_port};
use crate::support::{DAYBREAK, wait_for, wire};

/// A job file like the tutorial's: the text of the script is part of the job, so that another one is another version.
fn tutorial_file(cluster: &Cluster, script: &str) -> String {
    let path = cluster.write("hello_world.py", script);
    cluster.write(
        "hello_world.aurora",
        &format!(
            r#"
import hashlib
path = '{path}'
with open(path, 'rb') as source:
    version = hashlib.md5(source.read()).hexdigest()
fetch = Process(name = 'fetch', cmdline = 'cp %s . && echo %s && chmod +x hello_world.py' % (path, version))
hello = Process(name = 'hello_world', cmdline = 'python3 -u hello_world.py')
task = SequentialTask(processes = [fetch, hello], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB))
jobs = [Service(cluster = 'devcluster', environment = 'devel', role = '{ROLE}', name = 'hello_world', task = task,
                update_config = UpdateConfig(watch_secs = 3))]
"#
        ),
    )
}

fn script(range: &str) -> String {
    format!(
        "import time\nprint('begun', flush=True)\nfor i in {range}(1000):\n    print('Hello world!', i, flush=True)\n    time.sleep(0.2)\n"
    )
}

pub fn tutorial() {
    let cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    let job = format!("devcluster/{ROLE}/devel/hello_world");
    let file = tutorial_file(&cluster, &script("xrang"));
    cluster.daemon.aurora(&["job", "create", &job, &file]).expect_code(0);
    let failed = wait_for("a failed run", Duration::from_secs(90), || {
        let (_, inactive) = cluster.daemon.tasks(&job);
        inactive.iter().find(|task| task["status"] == "FAILED").cloned()
    });
    let task = failed["assignedTask"]["taskId"].as_str().unwrap().to_owned();
    let stderr = cluster.log(&task, "hello_world", "stderr");
    assert!(stderr.contains("NameError") && stderr.contains("xrang"), "{stderr}");

    let file = tutorial_file(&cluster, &script("range"));
    let done = cluster.daemon.aurora(&["update", "start", &job, &file, "--wait"]).expect_code(0);
    assert!(done.stdout.contains("ROLLED_FORWARD") || done.stderr.contains("ROLLED_FORWARD"), "{done:?}");
    let running = cluster.wait_for_active(&job, "RUNNING", 1);
    wait_for("its output", Duration::from_secs(20), || {
        cluster.log(&running[0], "hello_world", "stdout").contains("Hello world!").then_some(())
    });
    let (status, page) = cluster.daemon.get(&format!("/scheduler/{ROLE}/devel/hello_world"));
    assert!(status == 200 && page.contains("agent-"), "the page names the agent: {page}");

    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
    assert!(crate::support::processes_of(cluster.directory.path()).iter().all(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        !String::from_utf8_lossy(&line).contains("hello_world.py")
    }));
}

pub fn rollback() {
    let cluster = Cluster::start(&Plan::default());
    let job = format!("devcluster/{ROLE}/devel/versions");
    let file = |name: &str, cmdline: &str| {
        cluster.write(
            name,
            &format!(
                "main = Process(name = 'main', cmdline = '{cmdline}')\n\
                 jobs = [Service(cluster = 'devcluster', environment = 'devel', role = '{ROLE}', name = 'versions', instances = 2,\n\
                 task = SequentialTask(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB)),\n\
                 update_config = UpdateConfig(watch_secs = 2, batch_size = 1))]\n"
            ),
        )
    };
    let good = file("good.aurora", "echo one; exec sleep 1000");
    cluster.daemon.aurora(&["job", "create", &job, &good]).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 2);
    let bad = file("bad.aurora", "echo two; exit 3");
    let done = cluster.daemon.aurora(&["update", "start", &job, &bad, "--wait"]);
    assert_ne!(done.code, 0, "{done:?}");
    assert!(format!("{}{}", done.stdout, done.stderr).contains("ROLLED_BACK"), "{done:?}");
    let ids = cluster.wait_for_active(&job, "RUNNING", 2);
    assert!(cluster.log(&ids[0], "main", "stdout").contains("one"));
}

/// Serves one file to whoever asks, until the process ends.
fn serve(body: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
        }
    });
    port
}

pub fn uris() {
    let cluster = Cluster::start(&Plan { daybreak: &["--enable-mesos-fetcher"], ..Plan::default() });
    let source = cluster.directory.path().join("app");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("greeting"), "fetched and unpacked\n").unwrap();
    let archive = Command::new("tar").args(["-cz", "-C"]).arg(cluster.directory.path()).arg("app").output().unwrap();
    let port = serve(archive.stdout);
    let mut job = wire::job(ROLE, "uris", 1, false, "cat ../app/greeting");
    let uri = json!({"1": {"str": format!("http://127.0.0.1:{port}/app.tar.gz")}, "2": {"tf": 1}, "3": {"tf": 0}});
    job["6"]["rec"]["33"] = json!({"set": ["rec", 1, uri]});
    let (code, message) = wire::create(&cluster.daemon.url, job).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    let task = wait_for("the task to finish", Duration::from_secs(60), || {
        let tasks = wire::tasks(&cluster.daemon.url).unwrap();
        let task = tasks.into_iter().find(|task| !task.is_active())?;
        assert_eq!(task.status, 3, "{task:?}");
        Some(task)
    });
    assert_eq!(cluster.log(&task.id, "main", "stdout"), "fetched and unpacked\n");
}

/// An executor that knows nothing of us: Mesos' v1 API in JSON, from Python's standard library.
const FOREIGN_EXECUTOR: &str = r#"
import base64, http.client, json, os, sys, threading, time, uuid

endpoint = os.environ["MESOS_AGENT_ENDPOINT"]
ids = {"executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]}, "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]}}

def call(body):
    connection = http.client.HTTPConnection(endpoint)
    connection.request("POST", "/api/v1/executor", json.dumps({**ids, **body}), {"Content-Type": "application/json", "Accept": "application/json"})
    return connection.getresponse()

def update(task, state):
    status = {"task_id": task, "state": state, "source": "SOURCE_EXECUTOR", "uuid": base64.b64encode(uuid.uuid4().bytes).decode(), "timestamp": time.time()}
    print("update", state, call({"type": "UPDATE", "update": {"status": status}}).status, flush=True)

stream = call({"type": "SUBSCRIBE", "subscribe": {}})
current = None
while True:
    head = stream.readline()
    if not head:
        sys.exit(1)
    event = json.loads(stream.read(int(head)))
    print("event", event["type"], flush=True)
    if event["type"] == "LAUNCH":
        current = event["launch"]["task"]["task_id"]
        data = base64.b64decode(event["launch"]["task"]["data"])
        print("told to be polite" if b"be polite" in data else "no word for me", flush=True)
        update(current, "TASK_RUNNING")
    elif event["type"] in ("KILL", "SHUTDOWN"):
        update(current, "TASK_KILLED")
    elif event["type"] == "ACKNOWLEDGED" and False:
        pass
"#;

pub fn custom_executor() {
    let directory = crate::support::open_directory();
    let program = directory.path().join("foreign.py");
    std::fs::write(&program, FOREIGN_EXECUTOR).unwrap();
    let config = directory.path().join("executors.json");
    let entry = json!([{
        "executor": {
            "name": "foreign",
            "command": {"value": "python3 foreign.py", "shell": "true",
                        "uris": [{"value": program.to_str().unwrap(), "executable": false, "extract": false, "cache": false}]},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}, {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}]
        },
        "task_prefix": "foreign-"
    }]);
    std::fs::write(&config, entry.to_string()).unwrap();
    let cluster =
        Cluster::start(&Plan { daybreak: &["--custom-executor-config", config.to_str().unwrap()], ..Plan::default() });
    let job = format!("devcluster/{ROLE}/devel/foreign");
    let file = |executor: &str| {
        cluster.write(
            "foreign.aurora",
            &format!(
                "main = Process(name = 'main', cmdline = 'listen {{{{thermos.ports[http]}}}}')\n\
                 jobs = [Service(cluster = 'devcluster', environment = 'devel', role = '{ROLE}', name = 'foreign',\n\
                 executor_config = ExecutorConfig(name = '{executor}', data = 'be polite'),\n\
                 task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB)))]\n"
            ),
        )
    };
    let refused = cluster.daemon.aurora(&["job", "create", &job, &file("unknown")]);
    assert_ne!(refused.code, 0);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("Configuration for executor 'unknown' doesn't exist."), "{said}");
    cluster.daemon.aurora(&["job", "create", &job, &file("foreign")]).expect_code(0);
    let ids = cluster.wait_for_active(&job, "RUNNING", 1);
    wait_for("the executor's own output", Duration::from_secs(20), || {
        cluster.log(&ids[0], "foreign", "stdout").contains("told to be polite").then_some(())
    });
    // Its port and what lies in its sandbox are on the pages.
    let port = cluster.daemon.tasks(&job).0[0]["assignedTask"]["assignedPorts"]["http"].as_u64().unwrap();
    let page = cluster.daemon.get(&format!("/scheduler/{ROLE}/devel/foreign/task/{}", ids[0])).1;
    assert!(page.contains("http") && page.contains(&port.to_string()), "{port}: {page}");
    let page = cluster.daemon.get(&format!("/scheduler/{ROLE}/devel/foreign/task/{}/files", ids[0])).1;
    assert!(page.contains("foreign.py") && page.contains("stdout"), "{page}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
    // The other client speaks Thrift.
    cluster.daemon.aurora(&["job", "create", &job, &file("foreign")]).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 1);
    assert_eq!(wire::kill(&cluster.daemon.url, ROLE, "foreign").unwrap().0, wire::OK);
    wait_for("its end", Duration::from_secs(40), || cluster.daemon.tasks(&job).0.is_empty().then_some(()));
}

pub fn compose() {
    let docker = crate::containers::docker();
    let host = docker.host();
    let cluster = Cluster::start(&Plan {
        daybreak: &["--enable-mesos-fetcher"],
        docker_host: Some(&host),
        containers: Some(docker),
        ..Plan::default()
    });
    let source = cluster.directory.path().join("sample-app");
    std::fs::create_dir(&source).unwrap();
    let service = |name: &str, more: &str| {
        let image = crate::docker::IMAGE;
        format!(
            "  {name}:\n    image: {image}\n    command: ['/bin/sh', '-c', 'echo {name} is up; sleep 1000']\n{more}"
        )
    };
    let text =
        format!("version: '2'\nservices:\n{}{}", service("web", "    ports: ['80:5000']\n"), service("redis", ""));
    std::fs::write(source.join("docker-compose.yml"), text).unwrap();
    let archive =
        Command::new("tar").args(["-cz", "-C"]).arg(cluster.directory.path()).arg("sample-app").output().unwrap();
    let port = serve(archive.stdout);
    let mut job = wire::job(ROLE, "project", 1, false, "");
    let config = &mut job["6"]["rec"];
    config["25"] = json!({"rec": {"1": {"str": "docker-compose-executor"}, "2": {"str": "{}"}}});
    config["27"] =
        json!({"set": ["rec", 1, {"1": {"str": "fileName"}, "2": {"str": "sample-app/docker-compose.yml"}}]});
    config["32"] = json!({"set": ["rec", 4, {"1": {"dbl": 0.1}}, {"2": {"i64": 64}}, {"3": {"i64": 100}},
        {"4": {"str": "org.apache.aurora.port.0"}}]});
    config["33"] = json!({"set": ["rec", 1, {"1": {"str": format!("http://127.0.0.1:{port}/sample-app.tar.gz")},
        "2": {"tf": 1}, "3": {"tf": 0}}]});
    let (code, message) = wire::create(&cluster.daemon.url, job).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    let job = format!("devcluster/{ROLE}/devel/project");
    let ids = wait_for("the project to run", Duration::from_secs(120), || {
        let (active, inactive) = cluster.daemon.tasks(&job);
        assert!(inactive.is_empty(), "{inactive:?}");
        (active.first()?["status"] == "RUNNING").then(|| cluster.active(&job, "RUNNING"))
    });
    wait_for("the services' own output", Duration::from_secs(20), || {
        let text = cluster.log(&ids[0], "docker-compose", "stdout");
        (text.contains("web is up") && text.contains("redis is up")).then_some(())
    });
    let generated =
        cluster.find("docker-compose.yml-generated.yml").expect("the generated file lies beside the given one");
    let text = std::fs::read_to_string(&generated).unwrap();
    assert!(text.contains("31") && text.contains(":5000") && !text.contains("80:5000"), "{text}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
    assert!(docker.containers_of(&ids[0]).is_empty());
}

pub fn etl() {
    // Otherwise the daemon holds for half a minute what nobody needs.
    let cluster = Cluster::start(&Plan { daybreak: &["--suppress-idle-after", "1secs"], ..Plan::default() });
    let master = format!("127.0.0.1:{}", cluster.masters[0].port);
    let mut child = Command::new(DAYBREAK)
        .args(["etl", "-master", &master, "-cmd", "sleep 1", "-maxtasks", "2", "-user", ROLE, "-wait", "4"])
        .args(["-health", &format!("127.0.0.1:{}", free_port())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    // Two rounds of two copies.
    while seen.iter().filter(|line: &&String| line.contains("Finished task:  ")).count() < 4 {
        seen.push(lines.next().expect("the program goes on"));
    }
    assert!(seen[0].contains("Subscribed: FrameworkID:  "), "{seen:?}");
    assert_eq!(seen.iter().filter(|line| line.ends_with("in state RUNNING")).count(), 4, "{seen:?}");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(out.contains(&format!("Current Master is  {master}")), "{out}");
    let state = cluster.state().unwrap();
    let names = |key: &str| -> Vec<String> {
        let frameworks = state[key].as_array().cloned().unwrap_or_default();
        frameworks.iter().map(|framework| framework["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert!(names("completed_frameworks").contains(&"mesos-http-scheduler".into()), "torn down: {state}");
    assert!(!names("frameworks").contains(&"mesos-http-scheduler".into()));
}
