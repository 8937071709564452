//! What operators of a cluster do to a framework, and what they see on an agent.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Plan, ROLE, cgroups_root, free_port, release};
use crate::support::{Done, daybreak, try_http, wait_for, wire};

const SOON: Duration = Duration::from_secs(60);

fn key(name: &str) -> String {
    format!("devcluster/{ROLE}/devel/{name}")
}

fn create(cluster: &Cluster, name: &str, cmdline: &str) -> String {
    let (code, message) = wire::create(&cluster.daemon.url, wire::job(ROLE, name, 1, true, cmdline)).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    key(name)
}

fn framework_id(cluster: &Cluster) -> String {
    cluster.state().unwrap()["frameworks"][0]["id"].as_str().unwrap().to_owned()
}

pub fn drained() {
    let cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    let job = create(&cluster, "drained", "exec sleep 34590");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let host = || cluster.daemon.tasks(&job).0[0]["assignedTask"]["slaveHost"].as_str().unwrap_or_default().to_owned();
    let leaving = host();
    let state = cluster.state().unwrap();
    let agents = state["slaves"].as_array().unwrap();
    let agent = agents.iter().find(|agent| agent["hostname"] == leaving.as_str()).unwrap()["id"].clone();
    let body = json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": agent},
        "max_grace_period": {"nanoseconds": 5_000_000_000_u64}}});
    cluster.ask(&cluster.masters[0], "/api/v1", Some(&body.to_string())).expect("the drain is taken");
    wait_for("the task to be on the other agent", SOON, || {
        let now = cluster.active(&job, "RUNNING");
        (now.len() == 1 && now != before && host() != leaving).then_some(())
    });
    let ended = cluster.wait_for_end(&job);
    assert_eq!(ended["status"], "KILLED", "{ended}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn torn_down() {
    let mut cluster = Cluster::start(&Plan::default());
    let job = create(&cluster, "removed", "exec sleep 34591");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let id = framework_id(&cluster);
    cluster.ask_text(&cluster.masters[0], "/teardown", Some(&format!("frameworkId={id}"))).unwrap();
    wait_for("the daemon to say what it needs", SOON, || {
        cluster.daemon.log().contains(&format!("--forget-framework {id}")).then_some(())
    });
    assert_ne!(cluster.daemon.stop(), 0, "it does not go on as if nothing had been");
    cluster.daemon.restart_with(&["--forget-framework", &id]);
    let after = cluster.wait_for_active(&job, "RUNNING", 1);
    assert_ne!(after, before);
    assert_ne!(framework_id(&cluster), id);
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn deposed() {
    let mut cluster = Cluster::start(&Plan::default());
    let job = create(&cluster, "taken", "exec sleep 34592");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let id = framework_id(&cluster);
    let usurper = json!({"type": "SUBSCRIBE", "framework_id": {"value": id}, "subscribe": {"framework_info":
        {"user": "root", "name": "Usurper", "id": {"value": id}, "checkpoint": true, "failover_timeout": 600}}});
    let mut other = Command::new("curl")
        .args(["--silent", "--no-buffer", "--header", "Content-Type: application/json", "--data", &usurper.to_string()])
        .arg(format!("http://127.0.0.1:{}/api/v1/scheduler", cluster.masters[0].port))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the daemon to say why it stops", SOON, || {
        let log = cluster.daemon.log();
        (log.contains("another") && log.contains("start this one again")).then_some(())
    });
    assert_ne!(cluster.daemon.stop(), 0);
    other.kill().unwrap();
    other.wait().unwrap();
    // Started again it takes its place back, and the task was never touched.
    cluster.daemon.restart();
    assert_eq!(cluster.wait_for_active(&job, "RUNNING", 1), before);
    assert_eq!(framework_id(&cluster), id);
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn memory() {
    let root = format!("--cgroups_root={}", cgroups_root());
    let agent = ["--launcher=linux", "--isolation=cgroups/cpu,cgroups/mem,filesystem/linux", &*root];
    let cluster = Cluster::start(&Plan { agent: &agent, ..Plan::default() });
    let job = key("greedy");
    let text = format!(
        "main = Process(name = 'main', cmdline = '''python3 -c \"x = bytearray(400 << 20); print(len(x)); import time; time.sleep(1000)\"''')\n\
         task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 32*MB, disk = 8*MB))\n\
         jobs = [Job(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'greedy', task = task)]\n"
    );
    cluster.create(&job, &text).expect_code(0);
    let task = cluster.wait_for_end(&job);
    assert_eq!(task["status"], "FAILED", "{task}");
    let events = task["taskEvents"].to_string();
    assert!(events.to_lowercase().contains("memory"), "{events}");
}

pub fn on_the_agent() {
    let cluster = Cluster::start(&Plan::default());
    let job = create(&cluster, "observed", "echo to be seen; exec sleep 34593");
    let id = cluster.wait_for_active(&job, "RUNNING", 1).remove(0);
    let work = cluster.directory.path().join("agent-0/work");
    let work = work.to_str().unwrap();
    let nothing = cluster.directory.path().join("nothing");
    let thermos = |words: &[&str]| -> Done {
        let mut all = vec!["thermos", "--mesos-root", work, "--state-dir", nothing.to_str().unwrap()];
        all.extend(words);
        daybreak(&all)
    };
    let port = free_port();
    let mut observer = Command::new(release().join("daybreak"))
        .args(["observer", "--mesos-root", work, "--ip", "127.0.0.1", "--port", &port.to_string()])
        .args(["--polling_interval_secs", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let get = |path: &str| try_http("GET", &format!("http://127.0.0.1:{port}{path}"), &[], b"").ok();
    wait_for("the observer's page of the task", SOON, || {
        let (status, page) = get(&format!("/task/{id}"))?;
        (status == 200 && page.contains("observed") && page.contains("main")).then_some(())
    });
    wait_for("the observer's word of its process", SOON, || {
        let (status, text) = get(&format!("/j/task/{id}"))?;
        let told: Value = serde_json::from_str(&text).ok()?;
        (status == 200 && told[&id]["processes"].to_string().contains("main")).then_some(())
    });
    let _ = observer.kill();
    let _ = observer.wait();

    let listed = thermos(&["status"]).expect_code(0);
    assert!(listed.stdout.contains(&id), "{listed:?}");
    thermos(&["kill", &id]).expect_code(0);
    let ended = cluster.wait_for_end(&job);
    assert_eq!(ended["assignedTask"]["taskId"], id);
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn etl_failover() {
    let daybreak = ["--suppress-idle-after", "1secs"];
    let mut cluster = Cluster::start(&Plan { masters: 2, daybreak: &daybreak, ..Plan::default() });
    let zookeeper = format!("zk://{}/mesos", cluster.zookeeper.as_ref().unwrap().address());
    let mut child = Command::new(release().join("daybreak"))
        .args(["etl", "-master", &zookeeper, "-cmd", "sleep 1", "-maxtasks", "2", "-user", ROLE, "-wait", "2"])
        .args(["-health", &format!("127.0.0.1:{}", free_port())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut finished = |count: usize| {
        let mut seen = Vec::new();
        while seen.iter().filter(|line: &&String| line.contains("Finished task:  ")).count() < count {
            seen.push(lines.next().unwrap_or_else(|| panic!("the program goes on: {seen:#?}")));
        }
    };
    finished(2);
    let leader = cluster.state().unwrap()["leader_info"]["port"].as_u64().unwrap();
    let leading = cluster.masters.iter().position(|master| u64::from(master.port) == leader).unwrap();
    cluster.masters[leading].kill_nine();
    wait_for("another leader", Duration::from_secs(90), || {
        (cluster.state()?["leader_info"]["port"].as_u64()? != leader).then_some(())
    });
    // More than what may have been finished before and was not read yet.
    finished(8);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
