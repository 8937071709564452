//! Job updates from the command line to the tasks, with the real binary: every verb, its exit codes and its output, a kill of the
//! daemon in between, pulses, and pauses before each batch.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{Daemon, Done, login, wait_for};

/// A service whose version is its priority. `update` goes into its `UpdateConfig`.
fn job_file(directory: &Path, version: u32, update: &str) -> String {
    let role = login();
    let text = format!(
        "p = Process(name = 'p', cmdline = 'sleep 1000')\n\
         t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'web', task = t,\n\
           instances = 3, priority = {version}, update_config = UpdateConfig({update}))]\n"
    );
    let path = directory.join(format!("web-{version}.aurora"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

struct House {
    daemon: Daemon,
    directory: tempfile::TempDir,
    key: String,
}

impl House {
    fn new() -> Self {
        let daemon = Daemon::start(&["--allow-root-role"]);
        Self { daemon, directory: tempfile::tempdir().unwrap(), key: format!("devcluster/{}/devel/web", login()) }
    }

    fn file(&self, version: u32, update: &str) -> String {
        job_file(self.directory.path(), version, update)
    }

    fn update(&self, words: &[&str]) -> Done {
        let mut all = vec!["update", words[0], &self.key];
        all.extend(&words[1..]);
        self.daemon.aurora(&all)
    }

    /// Rows of the list as scripts cut them: id and state.
    fn active(&self) -> Vec<(String, String)> {
        let done = self.update(&["list", "--status", "active"]).expect_code(0);
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[1].to_owned(), words[2].to_owned())
        };
        done.stdout.lines().skip(1).map(row).collect()
    }

    fn state_of(&self, id: &str) -> String {
        let done = self.update(&["info", id]).expect_code(0);
        let line = done.stdout.lines().find(|line| line.contains("Current status")).expect("a line with the state");
        line.split_whitespace().next_back().unwrap().to_owned()
    }

    fn wait_for_state(&self, id: &str, state: &str) {
        wait_for(state, Duration::from_secs(60), || (self.state_of(id) == state).then_some(()));
    }

    /// Starts an update and returns its id.
    fn start(&self, file: &str) -> String {
        let done = self.update(&["start", file, "--message", "a new version"]).expect_code(0);
        assert!(done.stdout.contains("Job update has started. View your update progress at http"), "{}", done.stdout);
        done.stdout.trim().rsplit('/').next().unwrap().to_owned()
    }

    fn versions(&self) -> Vec<u64> {
        let (active, _) = self.daemon.tasks(&self.key);
        active.iter().map(|task| task["assignedTask"]["task"]["priority"].as_u64().unwrap()).collect()
    }
}

const QUICK: &str = "batch_size = 3, watch_secs = 1";
/// Long enough to be caught on its way. A daemon that dies between the record of a launch and the launch loses that task, which
/// counts as its failure.
const SLOW: &str = "batch_size = 1, watch_secs = 4, max_per_shard_failures = 1";

#[test]
fn every_verb_does_what_it_says() {
    let mut house = House::new();
    let first = house.file(1, QUICK);
    house.update(&["start", &first, "--wait"]).expect_code(0);
    assert_eq!(house.versions(), [1, 1, 1]);
    let same = house.update(&["start", &first]).expect_code(0);
    assert!(!same.stdout.contains("has started"), "{}", same.stdout);
    for verb in ["pause", "resume", "abort", "rollback"] {
        let done = house.update(&[verb]).expect_code(6);
        assert_eq!(done.stderr.trim(), "No active update found for this job.");
    }

    // Forward, with a pause, a refusal to everybody else, and a daemon that dies.
    let second = house.file(2, SLOW);
    let id = house.start(&second);
    assert_eq!(house.active(), [(id.clone(), "ROLLING_FORWARD".to_owned())]);
    house.update(&["start", &second]).expect_code(10);
    let refused = house.daemon.aurora(&["job", "killall", &house.key]);
    assert!(refused.code != 0 && refused.stderr.contains("update abort"), "{} {}", refused.code, refused.stderr);
    let done = house.update(&["pause", "--message", "hold on"]).expect_code(0);
    assert_eq!(done.stdout, "Update has been paused.\n");
    assert_eq!(house.state_of(&id), "ROLL_FORWARD_PAUSED");
    assert!(house.update(&["info"]).expect_code(0).stdout.contains("      message: hold on\n"));
    house.daemon.kill_nine();
    house.daemon.restart();
    assert_eq!(house.state_of(&id), "ROLL_FORWARD_PAUSED");
    assert_eq!(house.update(&["resume"]).expect_code(0).stdout, "Update has been resumed.\n");
    wait_for("an updated instance", Duration::from_secs(60), || {
        house.update(&["info", &id]).stdout.contains("INSTANCE_UPDATED").then_some(())
    });
    house.daemon.kill_nine();
    house.daemon.restart();
    let waited = house.update(&["wait", &id]).expect_code(0);
    assert!(waited.stdout.ends_with("Current state ROLLED_FORWARD\n"), "{}", waited.stdout);
    assert_eq!(house.versions(), [2, 2, 2]);
    // What happened to an instance is told once, however often the daemon began anew.
    let info: Value = serde_json::from_str(&house.update(&["info", &id, "--write-json"]).stdout).unwrap();
    let events = info["instance_update_events"].as_array().unwrap();
    assert_eq!(events.len(), 6, "{events:?}");

    // Back by a user's wish, and a stop on the way.
    let third = house.file(3, SLOW);
    let id = house.start(&third);
    let done = house.update(&["rollback", "--wait"]).expect_code(0);
    assert!(done.stdout.starts_with("Update rollback has started.\n"), "{}", done.stdout);
    assert_eq!((house.state_of(&id).as_str(), house.versions()), ("ROLLED_BACK", vec![2, 2, 2]));
    house.update(&["wait", &id]).expect_code(4);
    let id = house.start(&third);
    assert_eq!(house.update(&["abort"]).expect_code(0).stdout, "Update has been aborted.\n");
    house.update(&["wait", &id]).expect_code(20);

    let list: Value = serde_json::from_str(&house.update(&["list", "--write-json"]).stdout).unwrap();
    let states: Vec<&str> = list.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["ABORTED", "ROLLED_BACK", "ROLLED_FORWARD", "ROLLED_FORWARD"], "newest first");
    house.daemon.aurora(&["job", "killall", &house.key]).expect_code(0);
}

#[test]
fn a_coordinated_update_waits_for_its_pulse() {
    let house = House::new();
    let file = house.file(1, "batch_size = 3, watch_secs = 1, pulse_interval_secs = 60");
    let id = house.start(&file);
    assert_eq!(house.active(), [(id.clone(), "ROLL_FORWARD_AWAITING_PULSE".to_owned())]);
    let (_, page) = house.daemon.get(&format!("/scheduler/{}/devel/web/update/{id}", login()));
    assert!(page.contains("none has come yet"), "{page}");
    let pulse = |id: &str| {
        let job = serde_json::json!({"role": login(), "environment": "devel", "name": "web"});
        let body = serde_json::json!({"key": {"job": job, "id": id}}).to_string();
        let url = format!("{}/apibeta/pulseJobUpdate", house.daemon.url);
        let (status, text) = support::http("POST", &url, &[("Content-Type", "application/json")], body.as_bytes());
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["result"]["pulseJobUpdateResult"]["status"].clone()
    };
    assert_eq!(pulse(&id), "OK");
    house.update(&["wait", &id]).expect_code(0);
    assert_eq!(pulse(&id), "FINISHED");
    assert_eq!(pulse("unknown"), "FINISHED");
    house.daemon.aurora(&["job", "killall", &house.key]).expect_code(0);
}

#[test]
fn an_update_that_pauses_before_each_batch_is_resumed_batch_by_batch() {
    let house = House::new();
    house.update(&["start", &house.file(1, QUICK), "--wait"]).expect_code(0);
    let strategy = "watch_secs = 1, update_strategy = \
                    VariableBatchUpdateStrategy(batch_sizes = [1, 2], autopause_after_batch = True)";
    let id = house.start(&house.file(2, strategy));
    house.wait_for_state(&id, "ROLL_FORWARD_PAUSED");
    let versions = house.versions();
    assert_eq!(versions.iter().filter(|version| **version == 2).count(), 1, "{versions:?}");
    assert!(house.update(&["info"]).stdout.contains("message: Update auto paused"));
    house.update(&["resume"]).expect_code(0);
    house.update(&["wait", &id]).expect_code(0);
    assert_eq!(house.versions(), [2, 2, 2]);
    house.daemon.aurora(&["job", "killall", &house.key]).expect_code(0);
}
