//! Maintenance of hosts from the command line of `aurora_admin` to real processes: two agents of this machine, drained under the policies
//! of their jobs, with a crash in between; the order of events is that of Aurora's own end-to-end test.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::{DAYBREAK, Daemon, http, login, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that plays two agents, m1 and m2, and knows the tiers of a file.
struct House {
    daemon: Daemon,
    directory: tempfile::TempDir,
    admin: PathBuf,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tiers = directory.path().join("tiers.json");
        let text = json!({"default": "besteffort", "tiers": {
            "preferred": {"preemptible": false, "revocable": false},
            "besteffort": {"preemptible": true, "revocable": false},
        }});
        std::fs::write(&tiers, text.to_string()).unwrap();
        let admin = directory.path().join("aurora_admin");
        std::os::unix::fs::symlink(DAYBREAK, &admin).unwrap();
        let daemon = Daemon::start(&[
            "--allow-root-role",
            "--agent",
            "hostname=m1 attributes=host:m1",
            "--agent",
            "hostname=m2 attributes=host:m2",
            "--tier-config",
            tiers.to_str().unwrap(),
            "--min-required-instances-for-sla-check=1",
            "--host-maintenance-polling-interval=1secs",
            "--sla-stat-refresh-interval=1secs",
        ]);
        let quota = json!({"ownerRole": login(),
            "quota": {"resources": [{"numCpus": 8.0}, {"ramMb": 4096}, {"diskMb": 4096}]}});
        let house = Self { daemon, directory, admin };
        assert_eq!(house.api("setQuota", &quota)["responseCode"], "OK");
        house
    }

    fn api(&self, method: &str, arguments: &Value) -> Value {
        let url = format!("{}/apibeta/{method}", self.daemon.url);
        let headers = [("Content-Type", "application/json")];
        let (status, body) = http("POST", &url, &headers, arguments.to_string().as_bytes());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Runs `aurora_admin`; its exit code and both streams.
    fn admin(&self, words: &[&str]) -> (i32, String, String) {
        // The clusters file of the client's verbs is written by them.
        self.daemon.aurora(&["job", "list", "devcluster"]).expect_code(0);
        let config = self.daemon.state.join("client");
        let mut command = Command::new(&self.admin);
        command.args(words).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn admin_ok(&self, words: &[&str]) -> String {
        let (code, out, err) = self.admin(words);
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        out
    }

    /// The mode that scripts read: field 6 of the last line.
    fn mode(&self, host: &str) -> String {
        let (code, _, err) = self.admin(&["host_status", &format!("--hosts={host}"), "devcluster"]);
        assert_eq!(code, 0, "{err}");
        err.lines().last().unwrap_or_default().split_whitespace().nth(5).unwrap_or_default().to_owned()
    }

    /// Two instances, one on each agent, of that tier and with that policy.
    fn create(&self, name: &str, tier: &str, policy: &str) -> String {
        let role = login();
        let text = format!(
            "p = Process(name = 'p', cmdline = 'sleep 1000')\n\
             t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
             jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'prod', name = '{name}', task = t,\n\
               instances = 2, tier = '{tier}', constraints = {{'host': 'limit:1'}}{policy})]\n"
        );
        let path = self.directory.path().join(format!("{name}.aurora"));
        std::fs::write(&path, text).unwrap();
        let key = format!("devcluster/{role}/prod/{name}");
        self.daemon.aurora(&["job", "create", &key, path.to_str().unwrap(), "--wait-until", "RUNNING"]).expect_code(0);
        self.wait_counts(&key, 2, 0);
        key
    }

    /// Running and pending instances.
    fn counts(&self, key: &str) -> (usize, usize) {
        let (active, _) = self.daemon.tasks(key);
        let of = |status: &str| active.iter().filter(|task| task["status"] == status).count();
        (of("RUNNING"), of("PENDING"))
    }

    #[track_caller]
    fn wait_counts(&self, key: &str, running: usize, pending: usize) {
        wait_for(&format!("{running} running and {pending} pending"), PATIENCE, || {
            (self.counts(key) == (running, pending)).then_some(())
        });
    }

    /// That nothing changes any more, over several rounds.
    #[track_caller]
    fn stays(&self, key: &str, running: usize, pending: usize) {
        self.wait_counts(key, running, pending);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(self.counts(key), (running, pending));
    }

    /// As Aurora's own test goes about it: drained as far as the policy allows, a crash, by force, and back.
    fn maintain(&mut self, key: &str) {
        for host in ["m1", "m2"] {
            assert_eq!(self.mode(host), "NONE");
        }
        self.admin_ok(&["sla_host_drain", "--hosts=m1,m2", "devcluster"]);
        self.stays(key, 1, 1);
        self.daemon.kill_nine();
        self.daemon.restart();
        self.stays(key, 1, 1);
        let modes = [self.mode("m1"), self.mode("m2")];
        assert!(modes.contains(&"DRAINING".to_owned()) && modes.contains(&"DRAINED".to_owned()), "{modes:?}");
        self.admin_ok(&["sla_host_drain", "--hosts=m1,m2", "--force_drain_timeout=0s", "devcluster"]);
        self.wait_counts(key, 0, 2);
        wait_for("both hosts to be drained", PATIENCE, || {
            (self.mode("m1") == "DRAINED" && self.mode("m2") == "DRAINED").then_some(())
        });
        let reason = self.api("getPendingReason", &json!({"query": {}}));
        // What was true when a place was last looked for: the other host may still have been draining then.
        let said = ["Host drained for maintenance", "Host draining for maintenance"];
        assert!(said.iter().any(|said| reason.to_string().contains(said)), "{reason}");
        self.admin_ok(&["host_activate", "--hosts", "m1,m2", "devcluster"]);
        self.wait_counts(key, 2, 0);
        self.daemon.aurora(&["job", "killall", key]).expect_code(0);
    }
}

#[test]
fn drains_heed_counts_and_percentages_through_a_crash() {
    let mut house = House::new();
    let tiers = house.api("getTierConfigs", &json!({}));
    assert_eq!(tiers["result"]["getTierConfigResult"]["defaultTierName"], "besteffort", "{tiers}");
    let count = house.create("count", "preferred", ", sla_policy = CountSlaPolicy(count = 1, duration_secs = 1)");
    house.maintain(&count);
    let policy = ", sla_policy = PercentageSlaPolicy(percentage = 50, duration_secs = 1)";
    let percentage = house.create("percentage", "preferred", policy);
    let name = format!("sla_{}/prod/percentage_job_uptime_50.00_sec", login());
    wait_for("the figures of the job", PATIENCE, || house.daemon.get("/vars").1.contains(&name).then_some(()));
    assert!(house.daemon.get("/vars").1.contains("sla_cluster_platform_uptime_percent "));
    let uptime = house.daemon.aurora(&["sla", "get-job-uptime", &percentage, "--percentiles", "50"]).expect_code(0);
    assert!(uptime.stdout.starts_with("50.0 percentile\t- "), "{}", uptime.stdout);
    house.maintain(&percentage);
}

/// What a coordinator was asked: first lines of requests and their bodies.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A coordinator that lets go of instance 0 only, and what it was asked.
fn coordinator() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/drain", listener.local_addr().unwrap());
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            let _ = reader.read_line(&mut first);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                    break;
                }
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap_or(0);
                }
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let drain = body["task"].as_str().is_some_and(|task| task.ends_with("/0"));
            kept.lock().unwrap().push((first, body));
            let answer = json!({ "drain": drain }).to_string();
            let length = answer.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}");
        }
    });
    (url, asked)
}

#[test]
fn a_coordinator_decides_which_instances_may_go() {
    let mut house = House::new();
    let (url, asked) = coordinator();
    let policy = format!(", sla_policy = CoordinatorSlaPolicy(coordinator_url = '{url}')");
    let key = house.create("asked", "preferred", &policy);
    house.admin_ok(&["sla_host_drain", "--hosts=m1,m2", "devcluster"]);
    house.stays(&key, 1, 1);
    let (active, _) = house.daemon.tasks(&key);
    let pending = active.iter().find(|task| task["status"] == "PENDING").unwrap();
    assert_eq!(pending["assignedTask"]["instanceId"], 0);
    let questions = asked.lock().unwrap().clone();
    let role = login();
    let (line, body) = &questions[0];
    assert!(line.starts_with(&format!("POST /drain?task=devcluster%2F{role}%2Fprod%2Fasked%2F")), "{line}");
    assert_eq!(body["taskConfig"]["assignedTask"]["task"]["job"]["name"], "asked");
    assert!(body["forceMaintenanceCountdownMs"].as_str().unwrap().parse::<i64>().unwrap() > 600_000_000);
    house.admin_ok(&["host_activate", "--hosts=m1,m2", "devcluster"]);
    house.wait_counts(&key, 2, 0);
    house.maintain(&key);
}

#[test]
fn the_classic_drain_moves_one_host_after_another_and_runs_a_script() {
    let house = House::new();
    let key = house.create("plain", "besteffort", "");
    let script = house.directory.path().join("after.sh");
    let marks = house.directory.path().join("drained");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$1\" >> {}\n", marks.display())).unwrap();
    make_executable(&script);
    let words = ["host_drain", "--hosts=m1", "devcluster", "--post_drain_script", script.to_str().unwrap()];
    assert_eq!(house.admin_ok(&words), "None\n");
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "m1\n");
    assert_eq!((house.mode("m1"), house.counts(&key)), ("DRAINED".into(), (1, 1)));
    let page = house.daemon.get("/agents").1;
    assert!(page.contains("DRAINED") && page.contains("No task is left, and none comes here."), "{page}");
    house.admin_ok(&["host_activate", "--hosts=m1", "devcluster"]);
    house.wait_counts(&key, 2, 0);
    house.admin_ok(&["host_deactivate", "--hosts=m1", "devcluster"]);
    assert_eq!(house.mode("m1"), "SCHEDULED");
    let (code, _, err) = house.admin(&["host_status", "--hosts=nobody", "devcluster"]);
    assert!(code == 0 && err.contains("does not know host nobody"), "{err}");
    house.daemon.aurora(&["job", "killall", &key]).expect_code(0);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
