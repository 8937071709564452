//! `daybreak explain` against a running daemon and real tasks: each trouble is told with its reason and what can be done.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, http, login, open_directory, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon with two small machines, and a place for job files.
struct House {
    daemon: Daemon,
    directory: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let daemon = Daemon::start(&[
            "--allow-root-role",
            "--agent",
            "hostname=m1 attributes=host:m1;rack:r1 resources=cpus:2;mem:2048;disk:4096;ports:[31000-31100]",
            "--agent",
            "hostname=m2 attributes=host:m2;rack:r2 resources=cpus:2;mem:2048;disk:4096;ports:[31200-31300]",
        ]);
        let house = Self { daemon, directory: open_directory() };
        wait_for("both machines", PATIENCE, || house.daemon.get("/offers").1.contains("\"m2\"").then_some(()));
        house
    }

    fn file(&self, name: &str, constructor: &str, command: &str, cpu: f64, more: &str) -> String {
        let role = login();
        let text = format!(
            "p = Process(name = 'p', cmdline = '''{command}''')\n\
             t = Task(processes = [p], resources = Resources(cpu = {cpu}, ram = 16*MB, disk = 16*MB))\n\
             jobs = [{constructor}(cluster = 'devcluster', role = '{role}', environment = 'devel', name = '{name}', task = t{more})]\n"
        );
        let path: &Path = self.directory.path();
        let path = path.join(format!("{name}-{}.aurora", more.len()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn create(&self, name: &str, constructor: &str, command: &str, cpu: f64, more: &str) -> String {
        let file = self.file(name, constructor, command, cpu, more);
        let key = key(name);
        self.daemon.aurora(&["job", "create", &key, &file]).expect_code(0);
        key
    }

    /// What is told, once it holds all of the parts; the last text when that never comes.
    #[track_caller]
    fn told(&self, target: &str, parts: &[&str]) -> String {
        let mut text = String::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            let done = self.daemon.verb(&["explain", target]);
            text = format!("{}{}", done.stdout, done.stderr);
            if done.code == 0 && parts.iter().all(|part| text.contains(part)) {
                return text;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let missing: Vec<&&str> = parts.iter().filter(|part| !text.contains(**part)).collect();
        panic!("{missing:?} never came; the last text was:\n{text}");
    }

    fn ids(&self, key: &str, status: &str) -> Vec<String> {
        let (active, inactive) = self.daemon.tasks(key);
        let of_status = active.iter().chain(&inactive).filter(|task| task["status"] == status);
        of_status.map(|task| task["assignedTask"]["taskId"].as_str().unwrap().to_owned()).collect()
    }

    fn wait_running(&self, key: &str, count: usize) {
        wait_for("the job to run", PATIENCE, || (self.ids(key, "RUNNING").len() == count).then_some(()));
    }
}

fn key(name: &str) -> String {
    format!("devcluster/{}/devel/{name}", login())
}

#[test]
fn why_tasks_wait() {
    let house = House::new();
    let big = house.create("big", "Service", "sleep 1000", 64.0, "");
    let text = house.told(
        &big,
        &[
            "0 of 1 instances run (1 PENDING)",
            "waits for a machine since",
            "Why: needs 64 cpu, the largest machine has 2 cpu.",
            "2 machines (m1, m2): not enough cpu free",
            "lacks 62 cpu (needs 64, has 2 free)",
            "It is tried whenever a machine offers room",
            "What you can do",
            "Ask for less",
        ],
    );
    assert!(!text.contains("\u{1b}"), "no colours in a pipe: {text}");
    let choosy = house.create("choosy", "Service", "sleep 1000", 0.1, ", constraints = {'rack': 'r9'}");
    house.told(
        &format!("{choosy}/0"),
        &[
            "no machine satisfies the constraint rack",
            "Constraint rack asks for r9; machines have: r1 (1), r2 (1)",
            "Check the job's constraints",
            "History",
            "PENDING",
        ],
    );
    // A task by its id, as a document.
    let id = house.ids(&big, "PENDING").remove(0);
    let document = house.daemon.verb(&["explain", &id, "--json"]).expect_code(0).stdout;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["job"], json!(big));
    assert_eq!(document["isSchedulersKnowledge"], json!(true));
    assert_eq!((&document["story"]["subject"], &document["story"]["state"]), (&json!(id), &json!("PENDING")));
    assert_eq!(document["story"]["cause"], json!("waiting"));
    for target in ["devcluster/nobody/devel/nothing", "no-such-task", "devcluster/nobody/devel/nothing/0"] {
        let done = house.daemon.verb(&["explain", target]).expect_code(6);
        assert!(!done.stderr.is_empty());
    }
    house.daemon.verb(&["explain", "devcluster/r"]).expect_code(2);
}

#[test]
fn why_tasks_ended_or_are_held_back() {
    let house = House::new();
    let flapping = house.create("flapping", "Service", "echo no database >&2; exit 3", 0.1, "");
    house.told(
        &flapping,
        &[
            "is held back until",
            "because the runs before ended too soon",
            "in a row lasted less than 5 min",
            "It replaces a run that failed: process p exited with status 3",
            "Process 'p' exited with 3. The end of its stderr:",
            "  | no database",
        ],
    );
    let failing = house.create("failing", "Job", "echo bad news >&2; exit 5", 0.1, "");
    house.told(
        &format!("{failing}/0"),
        &[
            "failed: process p exited with status 5. That was at",
            "  | bad news",
            "It is not run again: 1 of 1 allowed failures.",
            "aurora job create",
            "FAILED",
        ],
    );
    let killed = house.create("killed", "Service", "sleep 1000", 0.1, "");
    house.wait_running(&killed, 1);
    house.daemon.aurora(&["job", "killall", &killed, "--message", "not needed any more"]).expect_code(0);
    house.told(
        &killed,
        &[
            "has no active instance; its last: 1 KILLED",
            "was killed by",
            "who says: not needed any more",
            "Nothing took its place.",
        ],
    );
    let checks = ", health_check_config = HealthCheckConfig(initial_interval_secs = 1, interval_secs = 0.2, \
         health_checker = HealthCheckerConfig(shell = ShellHealthChecker(shell_command = 'echo sick; exit 9')))";
    let sick = house.create("sick", "Job", "sleep 1000", 0.1, checks);
    house.told(
        &format!("{sick}/0"),
        &[
            "was unhealthy: Failed health check!",
            "returned non-zero exit status 9",
            "initial_interval_secs gives it more time",
        ],
    );
}

#[test]
fn a_drained_machine_and_an_update_that_stands_still() {
    let house = House::new();
    let spread = ", instances = 2, constraints = {'host': 'limit:1'}";
    let web = house.create("web", "Service", "sleep 1000", 0.1, spread);
    house.wait_running(&web, 2);
    house.told(&web, &["is well: 2 RUNNING"]);
    let arguments = json!({"hosts": {"hostNames": ["m1"]}}).to_string();
    let headers = [("Content-Type", "application/json")];
    let url = format!("{}/apibeta/drainHosts", house.daemon.url);
    assert_eq!(http("POST", &url, &headers, arguments.as_bytes()).0, 200);
    let drained = house.told(
        &web,
        &[
            "1 of 2 instances run",
            "waits for a machine since",
            "m1): is drained for maintenance",
            "the limit on host allows",
        ],
    );
    assert!(
        drained.contains("It replaces a run that had to leave its machine, which was drained for maintenance"),
        "{drained}"
    );
    let gone = house.ids(&web, "KILLED").remove(0);
    house.told(&gone, &["had to leave its machine, which was drained for maintenance", "Another task took its place"]);

    let slow = ", instances = 2, priority = 3, update_config = UpdateConfig(watch_secs = 60)";
    let paused = house.create("paused", "Service", "sleep 1000", 0.1, ", instances = 2");
    house.wait_running(&paused, 2);
    let file = house.file("paused", "Service", "sleep 1000", 0.1, slow);
    house.daemon.aurora(&["update", "start", &paused, &file]).expect_code(0);
    house.told(&paused, &["goes forward since", "Being changed: instances 0.", "It is watched until"]);
    house.daemon.aurora(&["update", "pause", &paused, "--message", "lunch"]).expect_code(0);
    house.told(
        &paused,
        &[
            "was paused by",
            "The note: lunch",
            "As long as it is paused nothing is changed",
            &format!("aurora update resume {paused}"),
        ],
    );
    let list = house.daemon.aurora(&["update", "list", &paused]).expect_code(0).stdout;
    let id = list.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    house.told(&id, &["was paused by", "The note: lunch", "History", "instance 0: INSTANCE_UPDATING"]);
    house.told(&format!("{paused}/{id}"), &["was paused by"]);
    house.daemon.aurora(&["update", "abort", &paused]).expect_code(0);
    house.told(&id, &["was aborted by", "start another update"]);
}

#[test]
fn a_task_that_had_to_make_room_says_for_which() {
    let daemon = Daemon::start(&[
        "--allow-root-role",
        "--preemption-delay=3secs",
        "--preemption-slot-search-interval=1secs",
        "--agent",
        "hostname=m1 attributes=host:m1 resources=cpus:2;mem:2048;disk:4096;ports:[31000-31100]",
    ]);
    let house = House { daemon, directory: open_directory() };
    let quota =
        json!({"ownerRole": login(), "quota": {"resources": [{"numCpus": 8.0}, {"ramMb": 4096}, {"diskMb": 4096}]}});
    let url = format!("{}/apibeta/setQuota", house.daemon.url);
    let headers = [("Content-Type", "application/json")];
    assert_eq!(http("POST", &url, &headers, quota.to_string().as_bytes()).0, 200);
    let cheap = house.create("cheap", "Service", "sleep 1000", 1.5, "");
    house.wait_running(&cheap, 1);
    let victim = house.ids(&cheap, "RUNNING").remove(0);
    let file = house.file("dear", "Service", "sleep 1000", 1.5, ", tier = 'preferred'");
    let plan = house.daemon.verb(&["plan", &file]).expect_code(0).stdout;
    for part in [
        "Role ",
        "1.5 cpu of 8 (0 now)",
        "1 new task: it would find no room and stay pending.",
        "Preemption could help: after 3 s of waiting it may end 1 task on m1 to make room",
    ] {
        assert!(plan.contains(part), "'{part}' is missing in:\n{plan}");
    }
    let dear = key("dear");
    house.daemon.aurora(&["job", "create", &dear, &file]).expect_code(0);
    house.told(
        &dear,
        &["waits for a machine since", "Preemption could help: after 3 s of waiting it may end 1 task on m1"],
    );
    house.wait_running(&dear, 1);
    let by = house.ids(&dear, "RUNNING").remove(0);
    house.told(
        &victim,
        &[&format!("was preempted: it had to make room for {by}"), "tier = 'preferred'", "Another task took its place"],
    );
    house.told(&cheap, &["waits for a machine since", "It replaces a run that was preempted"]);
}

#[test]
fn a_cron_job_tells_its_runs_and_collisions() {
    let house = House::new();
    let more = ", cron_schedule = '0 0 29 2 *', cron_collision_policy = 'CANCEL_NEW'";
    let file = house.file("report", "Job", "sleep 1000", 0.1, more);
    let report = key("report");
    house.daemon.aurora(&["cron", "schedule", &report, &file]).expect_code(0);
    house.told(
        &report,
        &[
            "runs by '0 0 29 2 *' (GMT); the next run is at",
            "-02-29 00:00:00",
            "It has not run since",
            "No task of it is active.",
        ],
    );
    house.daemon.aurora(&["cron", "start", &report]).expect_code(0);
    house.wait_running(&report, 1);
    house.daemon.aurora(&["cron", "start", &report]).expect_code(0);
    house.told(
        &report,
        &[
            "Active now: 1 RUNNING.",
            "The last 1 run did not start:",
            "not started, because the run before was still active",
            "a new run is not started (CANCEL_NEW)",
            "Runs take longer than the time between them",
        ],
    );
    house.daemon.aurora(&["job", "killall", "--no-batching", &report]).expect_code(0);
}
