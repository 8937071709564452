//! Resources that are not everybody's: reserved ones, such that may be taken back, and agents that are asked back for maintenance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cluster::{Cluster, Plan, ROLE};
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(60);

fn key(name: &str) -> String {
    format!("devcluster/{ROLE}/devel/{name}")
}

/// A service that sleeps.
fn service(name: &str, cpu: f64, more: &str) -> String {
    format!(
        "main = Process(name = 'main', cmdline = 'exec sleep 1000')\n\
         task = Task(processes = [main], resources = Resources(cpu = {cpu}, ram = 32*MB, disk = 8*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = '{name}', task = task, {more})]\n"
    )
}

/// The tasks that the master shows as running.
fn tasks(cluster: &Cluster) -> Vec<Value> {
    let state = cluster.state().unwrap();
    let tasks = state["frameworks"][0]["tasks"].as_array().cloned().unwrap_or_default();
    tasks.into_iter().filter(|task| task["state"] == "TASK_RUNNING").collect()
}

pub fn reserved() {
    let resources = "--resources=cpus(web):1;mem(web):512;disk(web):1000;cpus:2;mem:1024;disk:4000;ports:[31000-31999]";
    let cluster =
        Cluster::start(&Plan { daybreak: &["--mesos-role", "web,batch"], agent: &[resources], ..Plan::default() });
    // More than what is reserved and more than what is not, with its executor: it takes of both. Mesos offers what is nobody's to one
    // role at a time; if it was not the one with the reservation, it is given back for that one, though offers are held for minutes.
    let job = key("across");
    cluster.create(&job, &service("across", 2.2, "")).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 1);
    let state = cluster.state().unwrap();
    let agent = &state["slaves"][0];
    assert_eq!(agent["reserved_resources"]["web"]["cpus"], 1.0, "{agent}");
    assert!((agent["used_resources"]["cpus"].as_f64().unwrap() - 2.45).abs() < 0.001, "{agent}");
    assert_eq!(tasks(&cluster)[0]["role"], "web");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);

    // The operator sets a part aside for the other role while the scheduler runs.
    let id = agent["id"].as_str().unwrap();
    let amount = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "reservations": [{"type": "DYNAMIC", "role": "batch"}]});
    let body = json!({"type": "RESERVE_RESOURCES", "reserve_resources": {"agent_id": {"value": id},
        "resources": [amount("cpus", 1.0), amount("mem", 256.0), amount("disk", 500.0)]}});
    wait_for("the reservation", SOON, || cluster.ask(&cluster.masters[0], "/api/v1", Some(&body.to_string())));
    // Each takes 0.6 and its executor 0.25: one fits into each of the three parts, and no part has room for two.
    let job = key("three");
    cluster.create(&job, &service("three", 0.6, "instances = 3")).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 3);
    let mut roles: Vec<String> =
        tasks(&cluster).iter().map(|task| task["role"].as_str().unwrap_or_default().to_owned()).collect();
    roles.sort();
    assert!(roles.contains(&"web".into()) && roles.contains(&"batch".into()), "{roles:?}");
    let state = cluster.state().unwrap();
    let used = state["slaves"][0]["used_resources"]["cpus"].as_f64().unwrap();
    assert!((used - 2.55).abs() < 0.001, "{used}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn revocable() {
    let mesos = crate::cluster::find().unwrap();
    let name = "org_apache_mesos_FixedResourceEstimator";
    let module = json!({"libraries": [{"file": mesos.module("libfixed_resource_estimator.so").to_str().unwrap(),
        "modules": [{"name": name, "parameters": [{"key": "resources", "value": "cpus:6"}]}]}]});
    let modules = format!("--modules={module}");
    let estimator = format!("--resource_estimator={name}");
    let agent = [
        &*modules,
        &*estimator,
        "--oversubscribed_resources_interval=500ms",
        "--resources=cpus:1;mem:4096;disk:10000;ports:[31000-31999]",
    ];
    let daybreak = ["--receive-revocable-resources"];
    let cluster = Cluster::start(&Plan { daybreak: &daybreak, agent: &agent, ..Plan::default() });
    let job = key("spare");
    cluster.create(&job, &service("spare", 2.0, "instances = 2, tier = 'revocable'")).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 2);
    let state = cluster.state().unwrap();
    let used = &state["slaves"][0]["used_resources"];
    assert!((used["cpus_revocable"].as_f64().unwrap_or_default() - 4.5).abs() < 0.001, "{used}");
    assert_eq!(used["cpus"].as_f64().unwrap_or_default(), 0.0, "{used}");
    // Others get nothing of it.
    let other = key("firm");
    cluster.create(&other, &service("firm", 2.0, "")).expect_code(0);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.active(&other, "PENDING").len(), 1);
    let small = key("small");
    cluster.create(&small, &service("small", 0.5, "")).expect_code(0);
    cluster.wait_for_active(&small, "RUNNING", 1);
    for job in [&job, &other, &small] {
        cluster.daemon.aurora(&["job", "killall", job]).expect_code(0);
    }
}

pub fn maintenance() {
    let cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    let job = key("moved");
    cluster.create(&job, &service("moved", 0.1, "")).expect_code(0);
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let host = |cluster: &Cluster| {
        let (active, _) = cluster.daemon.tasks(&job);
        active[0]["assignedTask"]["slaveHost"].as_str().unwrap_or_default().to_owned()
    };
    let leaving = host(&cluster);
    let master = &cluster.masters[0];
    let schedule = |after: Duration| {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + after;
        let window = json!({"machine_ids": [{"hostname": leaving, "ip": "127.0.0.1"}],
            "unavailability": {"start": {"nanoseconds": start.as_nanos() as u64}, "duration": {"nanoseconds": 3_600_000_000_000_u64}}});
        let body = json!({"windows": [window]}).to_string();
        wait_for("the schedule to be taken", SOON, || cluster.ask(master, "/maintenance/schedule", Some(&body)));
    };
    // An hour ahead: agreed, and nothing moves.
    schedule(Duration::from_secs(3600));
    wait_for("the agreement", SOON, || {
        let status = cluster.ask(master, "/maintenance/status", None)?;
        let answer = &status["draining_machines"][0]["statuses"][0];
        (answer["status"] == "ACCEPT").then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(cluster.active(&job, "RUNNING"), before, "there is time");
    // New tasks already go elsewhere.
    // A minute ahead, which is within the threshold of six: the task moves.
    schedule(Duration::from_secs(60));
    wait_for("the task to be on the other agent", SOON, || {
        let now = cluster.active(&job, "RUNNING");
        (now.len() == 1 && now != before && host(&cluster) != leaving).then_some(())
    });
    let vars = cluster.daemon.get("/vars").1;
    assert!(vars.lines().any(|line| line.starts_with("scheduler_inverse_offers ")), "{vars}");
    let machine = json!([{"hostname": leaving, "ip": "127.0.0.1"}]).to_string();
    cluster.ask(master, "/machine/down", Some(&machine)).expect("the machine may go down");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(cluster.active(&job, "RUNNING").len(), 1);
    cluster.ask(master, "/machine/up", Some(&machine)).expect("and come back");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}

pub fn gpus() {
    // Without the isolator for them, which takes NVIDIA's library, Mesos offers GPUs and guards no devices.
    let agent = ["--resources=cpus:4;mem:4096;disk:10000;ports:[31000-31999];gpus:2"];
    let text = |name: &str, instances: u32, gpu: &str| {
        format!(
            "main = Process(name = 'main', cmdline = 'exec sleep 1000')\n\
             task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 32*MB, disk = 8*MB{gpu}))\n\
             jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = '{name}', task = task, instances = {instances})]\n"
        )
    };
    let cluster = Cluster::start(&Plan { daybreak: &["--allow-gpu-resource"], agent: &agent, ..Plan::default() });
    let job = key("training");
    cluster.create(&job, &text("training", 3, ", gpu = 1")).expect_code(0);
    cluster.wait_for_active(&job, "RUNNING", 2);
    let used = cluster.state().unwrap()["slaves"][0]["used_resources"].clone();
    assert_eq!(used["gpus"].as_f64(), Some(2.0), "{used}");
    assert_eq!(cluster.active(&job, "PENDING").len(), 1, "there are two");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    drop(cluster);
    // A framework that wants none is not offered such an agent at all, and a job that asks for one is refused.
    let cluster = Cluster::start(&Plan { agent: &agent, ..Plan::default() });
    let refused = cluster.create(&job, &text("training", 1, ", gpu = 1"));
    assert!(refused.code != 0 && format!("{refused:?}").contains("GPU resource support is disabled"), "{refused:?}");
    let plain = key("plain");
    cluster.create(&plain, &text("plain", 1, "")).expect_code(0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(cluster.active(&plain, "PENDING").len(), 1);
}
