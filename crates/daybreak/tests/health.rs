//! Health checks from the job file to the end of an update, with the real binary.

mod support;

use std::path::Path;

use support::{Daemon, login};

/// A job file whose tasks are healthy once the command succeeds; updates do not watch, so the checks alone decide.
fn job_file(directory: &Path, name: &str, shell_command: &str) -> String {
    let role = login();
    let text = format!(
        "p = Process(name = 'p', cmdline = 'sleep 1000')\n\
         t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         checks = HealthCheckConfig(\n\
           health_checker = HealthCheckerConfig(shell = ShellHealthChecker(shell_command = '{shell_command}')),\n\
           initial_interval_secs = 1, interval_secs = 0.2, max_consecutive_failures = 2)\n\
         jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'checked', task = t,\n\
           instances = 2, health_check_config = checks,\n\
           update_config = UpdateConfig(watch_secs = 0, max_per_shard_failures = 0, max_total_failures = 0))]\n"
    );
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_update_whose_new_version_is_never_healthy_is_rolled_back() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = tempfile::tempdir().unwrap();
    let key = format!("devcluster/{}/devel/checked", login());
    let good = job_file(directory.path(), "good.aurora", "test -d sandbox");
    let better = job_file(directory.path(), "better.aurora", "test -d sandbox/.logs");
    let bad = job_file(directory.path(), "bad.aurora", "echo as ill as can be; exit 5");
    let update = |file: &str| daemon.aurora(&["update", "start", "--wait", &key, file]);
    let ids = || {
        let (active, _) = daemon.tasks(&key);
        let mut ids: Vec<String> =
            active.iter().map(|task| task["assignedTask"]["taskId"].as_str().unwrap_or_default().to_owned()).collect();
        ids.sort();
        ids
    };

    let done = update(&good).expect_code(0);
    assert!(done.stdout.contains("ROLLED_FORWARD"), "{}", done.stdout);
    let first = ids();
    assert_eq!(first.len(), 2);

    let done = update(&better).expect_code(0);
    assert!(done.stdout.contains("ROLLED_FORWARD"), "{}", done.stdout);
    let second = ids();
    assert!(second.iter().all(|id| !first.contains(id)));

    let done = update(&bad);
    assert_ne!(done.code, 0, "{}", done.stdout);
    assert!(done.stdout.contains("ROLLED_BACK"), "{}{}", done.stdout, done.stderr);
    let (active, inactive) = daemon.tasks(&key);
    assert!(active.len() == 2 && active.iter().all(|task| task["status"] == "RUNNING"), "{active:?}");
    // One instance at a time is replaced, so the other one was never touched.
    assert!(ids().iter().any(|id| second.contains(id)));
    let text = serde_json::to_string(&inactive).unwrap();
    let why =
        "Failed health check! Command 'echo as ill as can be; exit 5' returned non-zero exit status 5 with output";
    assert!(text.contains(why), "{text}");
    daemon.aurora(&["job", "killall", &key]).expect_code(0);
}
