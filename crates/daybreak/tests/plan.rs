//! `daybreak plan` against a running daemon: what it says of new jobs, updates and cron jobs is what then happens, and it changes nothing.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, http, login, open_directory, wait_for};

const AGENTS: [&str; 5] = [
    "--allow-root-role",
    "--agent",
    "hostname=m1 attributes=rack:r1 resources=cpus:4;mem:2048;disk:4096;ports:[31000-31100]",
    "--agent",
    "hostname=m2 attributes=rack:r2 resources=cpus:2;mem:2048;disk:4096;ports:[31200-31300]",
];

/// A job file: the constructor, the command, what else the job says.
fn file(directory: &Path, name: &str, constructor: &str, command: &str, more: &str) -> String {
    let role = login();
    let text = format!(
        "p = Process(name = 'p', cmdline = '''{command}''')\n\
         t = Task(processes = [p], resources = Resources(cpu = '{{{{cores}}}}', ram = 16*MB, disk = 16*MB))\n\
         jobs = [{constructor}(cluster = 'devcluster', role = '{role}', environment = 'devel', name = '{name}', task = t,\n\
           {more})]\n"
    );
    let path = directory.join(format!("{name}-{}.aurora", command.len() + more.len()));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn key(name: &str) -> String {
    format!("devcluster/{}/devel/{name}", login())
}

fn api(daemon: &Daemon, method: &str, arguments: &Value) -> Value {
    let url = format!("{}/apibeta/{method}", daemon.url);
    let headers = [("Content-Type", "application/json")];
    let (status, body) = http("POST", &url, &headers, arguments.to_string().as_bytes());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// Everything the daemon remembers of jobs, tasks, updates, cron jobs, quotas and hosts.
fn state(daemon: &Daemon) -> Value {
    let read = |path: &str| serde_json::from_str::<Value>(&daemon.get(path).1).unwrap();
    json!({
        "tasks": api(daemon, "getTasksStatus", &json!({"query": {}}))["result"],
        "jobs": api(daemon, "getJobs", &json!({}))["result"],
        "updates": api(daemon, "getJobUpdateDetails", &json!({"query": {}}))["result"],
        "quotas": read("/quotas"),
        "maintenance": read("/maintenance"),
        "cron": read("/cron"),
        "placed": read("/state"),
        "pending": read("/pendingtasks"),
    })
}

/// The text of a plan, with the promise that it changed nothing.
#[track_caller]
fn plan(daemon: &Daemon, words: &[&str], code: i32) -> String {
    let before = state(daemon);
    let all: Vec<&str> = ["plan"].into_iter().chain(words.iter().copied()).collect();
    let done = daemon.verb(&all).expect_code(code);
    assert_eq!(before, state(daemon), "a plan changed something");
    done.stdout
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing in:\n{text}");
    }
}

fn running(daemon: &Daemon, name: &str) -> usize {
    daemon.tasks(&key(name)).0.iter().filter(|task| task["status"] == "RUNNING").count()
}

#[test]
fn a_new_job_is_planned_with_room_quota_and_what_stands_in_the_way() {
    let daemon = Daemon::start(&AGENTS);
    let directory = open_directory();
    let small = file(directory.path(), "small", "Service", "sleep 1000", "instances = 3");
    // Agents are known once they have offered.
    wait_for("both machines", Duration::from_secs(30), || daemon.get("/offers").1.contains("\"m2\"").then_some(()));
    let text = plan(&daemon, &[&small, "--bind", "cores=1"], 0);
    let create = format!("aurora job create {} {small} --bind cores=1", key("small"));
    has(
        &text,
        &["would create it (3 added)", "+ add     0-2", "Needs none", "3 new tasks: all would find room", &create],
    );
    let text = plan(&daemon, &[&small, &key("small"), "--bind", "cores=3", "--detailed-exitcode"], 1);
    has(
        &text,
        &[
            "3 new tasks: 1 would find room, 2 would stay pending.",
            "m1 takes 1",
            "2 machines (m1, m2): not enough cpu free",
            "Nearest fit: m2 lacks 1 cpu (needs 3, has 2 free)",
            "Preemption cannot help",
        ],
    );
    let text = plan(&daemon, &[&small, "--bind", "cores=1000"], 0);
    has(&text, &["none would find room", "needs 1000 cpu, the largest machine has 4 cpu"]);

    let choosy = "constraints = {'rack': 'r9'}, instances = 1";
    let nowhere = file(directory.path(), "nowhere", "Job", "true", choosy);
    let text = plan(&daemon, &[&nowhere, "--bind", "cores=0.1"], 0);
    has(
        &text,
        &[
            "1 new task: it would find no room and stay pending.",
            "no machine satisfies the constraint rack",
            "2 machines (m1, m2): does not satisfy the constraint rack",
            "Constraint rack asks for r9; machines have: r1 (1), r2 (1)",
        ],
    );

    let production = file(directory.path(), "production", "Service", "sleep 1", "tier = 'preferred', instances = 2");
    let text = plan(&daemon, &[&production, "--bind", "cores=1"], 4);
    has(
        &text,
        &["2 cpu of 0 (0 now): 2 too much", "The scheduler would refuse this: Insufficient resource quota of role"],
    );
    let refused =
        daemon.aurora(&["job", "create", &key("production"), &production, "--bind", "cores=1"]).expect_code(4);
    let sentence = refused.stderr.trim().lines().last().unwrap().trim();
    has(&text, &[sentence]);

    // What was foretold comes to pass.
    daemon.aurora(&["job", "create", &key("small"), &small, "--bind", "cores=3"]).expect_code(0);
    wait_for("the one that fits", Duration::from_secs(30), || (running(&daemon, "small") == 1).then_some(()));
    let (active, _) = daemon.tasks(&key("small"));
    assert_eq!(active.iter().filter(|task| task["status"] == "PENDING").count(), 2);
}

#[test]
fn an_update_is_planned_instance_by_instance() {
    let daemon = Daemon::start(&AGENTS);
    let directory = open_directory();
    let update = "update_config = UpdateConfig(batch_size = 2, watch_secs = 1, max_per_shard_failures = 1)";
    let first = file(directory.path(), "web", "Service", "sleep 1000", &format!("instances = 3, {update}"));
    let second =
        file(directory.path(), "web", "Service", "sleep 2000; true", &format!("instances = 5, priority = 7, {update}"));
    let web = key("web");
    daemon.aurora(&["job", "create", &web, &first, "--bind", "cores=0.5", "--wait-until", "RUNNING"]).expect_code(0);
    let same = plan(&daemon, &[&first, "--bind", "cores=0.5", "--detailed-exitcode"], 0);
    assert_eq!(same.trim(), format!("{web}: nothing to do, what runs is what {first} says."));

    let text = plan(&daemon, &[&second, "--bind", "cores=0.75"], 0);
    has(
        &text,
        &[
            "would update it (2 added, 3 changed)",
            "+ add     3-4",
            "~ change  0-2",
            "cpu: 0.5 -> 0.75",
            "priority: 0 -> 7",
            "processes[p].cmdline: sleep 1000 -> sleep 2000; true",
            "2 instances at a time, the next as soon as one is done, in this order: 3-4 | 0-1 | 2",
            "the whole takes 3 s at least",
            "Rolls back to what runs now upon an instance that fails more than once.",
            "5 new tasks, each in place of the one before where there is one: all would find room",
            &format!("aurora update start {web} {second} --bind cores=0.75"),
        ],
    );
    let text = plan(&daemon, &[&second, &web, "--bind", "cores=0.75", "--instances", "1,4"], 0);
    has(&text, &["+ add     4", "~ change  1 ", "= keep    0,2", &format!("update start {web}/1,4")]);

    let document = daemon.verb(&["plan", &second, "--bind", "cores=0.75", "--json"]).expect_code(0).stdout;
    let document: Value = serde_json::from_str(&document).unwrap();
    let job = &document["jobs"][0];
    assert_eq!((&job["job"], &job["action"], &job["refusal"]), (&json!(web), &json!("update"), &Value::Null));
    assert_eq!(job["instances"]["add"], "3-4");
    assert_eq!(job["instances"]["change"][0]["instances"], "0-2");
    assert_eq!(job["instances"]["change"][0]["fields"][0], json!({"name": "cpu", "from": "0.5", "to": "0.75"}));
    assert_eq!(job["rollout"]["groups"], json!([[3, 4], [0, 1], [2]]));
    assert_eq!((&job["placement"]["wanted"], &job["placement"]["fitting"]), (&json!(5), &json!(5)));

    daemon.aurora(&["update", "start", &web, &second, "--bind", "cores=0.75", "--wait"]).expect_code(0);
    plan(&daemon, &[&second, "--bind", "cores=0.75", "--detailed-exitcode"], 0);
    // Fewer instances: those beyond go.
    let text = plan(&daemon, &[&first, "--bind", "cores=0.75"], 0);
    has(&text, &["3 changed, 2 removed", "- remove  3-4"]);
}

#[test]
fn batch_and_cron_jobs_are_planned_in_their_own_way() {
    let daemon = Daemon::start(&AGENTS);
    let directory = open_directory();
    let batch = file(directory.path(), "batch", "Job", "sleep 1000", "instances = 1");
    daemon
        .aurora(&["job", "create", &key("batch"), &batch, "--bind", "cores=0.1", "--wait-until", "RUNNING"])
        .expect_code(0);
    let text = plan(&daemon, &[&batch, "--bind", "cores=0.2"], 4);
    has(&text, &["The scheduler would refuse this: Job", "already exists: kill it first"]);

    let nightly =
        |schedule: &str| file(directory.path(), "nightly", "Job", "true", &format!("cron_schedule = '{schedule}'"));
    let cron = nightly("0 3 * * *");
    let text = plan(&daemon, &[&cron, "--bind", "cores=0.1"], 0);
    has(
        &text,
        &["would schedule it as a new cron job", "cron_schedule: 0 3 * * *", "A run has 1 task: it would find room."],
    );
    let text = plan(&daemon, &[&nightly("every night"), "--bind", "cores=0.1"], 4);
    has(&text, &["The scheduler would refuse this:"]);
    daemon.aurora(&["cron", "schedule", &key("nightly"), &cron, "--bind", "cores=0.1"]).expect_code(0);
    plan(&daemon, &[&cron, "--bind", "cores=0.1", "--detailed-exitcode"], 0);
    let text = plan(&daemon, &[&nightly("30 4 * * *"), "--bind", "cores=0.2"], 0);
    has(&text, &["would replace the cron job", "cron_schedule: 0 3 * * * -> 30 4 * * *", "cpu: 0.1 -> 0.2"]);

    let absent = daemon.verb(&["plan", &cron, &key("other"), "--bind", "cores=1"]).expect_code(3);
    has(&absent.stderr, &["other"]);
    let missing = daemon.verb(&["plan", "/no/such/file.aurora"]).expect_code(3);
    has(&missing.stderr, &["/no/such/file.aurora"]);
    let help = daemon.verb(&["plan", "--help"]).expect_code(0).stdout;
    has(&help, &["Changes nothing", "--detailed-exitcode", "Exit codes"]);
}
