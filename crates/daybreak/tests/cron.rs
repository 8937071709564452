//! Cron jobs end to end: the real daemon, real tasks, the `aurora cron` verbs.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use support::{Daemon, login, open_directory, wait_for, wire};

/// A job file with a schedule that no test lives to see, so that every run is one that was asked for.
fn job_file(directory: &std::path::Path, schedule: &str, policy: &str, cmdline: &str) -> PathBuf {
    let path = directory.join("report.aurora");
    let text = format!(
        "report = Process(name = 'report', cmdline = '{cmdline}')\n\
         task = SequentialTask(processes = [report], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Job(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'report', task = task,\n\
         \x20           cron_schedule = '{schedule}', cron_collision_policy = '{policy}')]\n",
        role = login()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn key() -> String {
    format!("devcluster/{}/devel/report", login())
}

/// Ids of the active tasks, and how many tasks have finished.
fn tasks(daemon: &Daemon) -> (Vec<String>, usize) {
    let tasks = wire::tasks(&daemon.url).unwrap();
    let of_job = || tasks.iter().filter(|task| task.job == "report");
    let active = of_job().filter(|task| task.is_active()).map(|task| task.id.clone());
    (active.collect(), of_job().filter(|task| task.status == 3).count())
}

#[test]
fn a_cron_job_is_scheduled_started_replaced_by_a_new_run_and_descheduled() {
    let daemon = Daemon::start(&["--allow-root-role", "--cron-timezone", "Europe/Berlin"]);
    let directory = open_directory();
    let file = job_file(directory.path(), "0 0 29 2 *", "KILL_EXISTING", "sleep 1000");
    let file = file.to_str().unwrap();
    let key = key();
    daemon.aurora(&["job", "create", &key, file]).expect_code(4);
    daemon.aurora(&["cron", "show", &key]).expect_code(6);
    daemon.aurora(&["cron", "start", &key]).expect_code(10);

    let done = daemon.aurora(&["cron", "schedule", &key, file]).expect_code(0);
    assert!(done.stdout.contains("Cron job scheduled, status can be viewed at http://"), "{}", done.stdout);
    let done = daemon.aurora(&["cron", "show", &key]).expect_code(0);
    assert_eq!(done.stdout, format!("{key}\t 0 0 29 2 *\n"));
    assert!(daemon.aurora(&["job", "list", &key[..key.rfind('/').unwrap()]]).expect_code(0).stdout.contains(&key));
    assert_eq!(tasks(&daemon).0.len(), 0, "scheduling starts nothing");
    let (status, page) = daemon.get("/cron-jobs");
    assert!(status == 200 && page.contains("0 0 29 2 *") && page.contains("Europe/Berlin"), "{page}");
    let (_, cron) = daemon.get("/cron");
    assert!(cron.contains("0 0 29 2 *"), "{cron}");

    assert_eq!(daemon.aurora(&["cron", "start", &key]).expect_code(0).stdout, "");
    let first = wait_for("the first run", Duration::from_secs(30), || {
        let running =
            wire::tasks(&daemon.url).unwrap().into_iter().any(|task| task.job == "report" && task.status == 2);
        running.then(|| tasks(&daemon).0)
    });
    assert_eq!(first.len(), 1);

    // A second run: the first is killed, and only when it has ended the second begins.
    let done = daemon.aurora(&["cron", "start", &key]).expect_code(0);
    assert!(done.stderr.contains("waits until"), "{}", done.stderr);
    let second = wait_for("the second run", Duration::from_secs(60), || {
        let (active, _) = tasks(&daemon);
        (active.len() == 1 && active != first).then_some(active)
    });
    assert_ne!(first, second);
    let (_, page) = daemon.get(&format!("/scheduler/{}/devel/report", login()));
    assert!(page.contains("Killed by cronScheduler") && page.contains("STARTED"), "{page}");

    let done = daemon.aurora(&["cron", "deschedule", &key]).expect_code(0);
    assert_eq!(done.stdout, "Cron descheduling succeeded.\n");
    daemon.aurora(&["cron", "show", &key]).expect_code(6);
    assert_eq!(tasks(&daemon).0, second, "its tasks go on");
    daemon.aurora(&["job", "killall", "--no-batching", &key]).expect_code(0);
}

#[test]
fn cancel_new_and_a_schedule_outlive_a_killed_daemon() {
    let mut daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let file = job_file(directory.path(), "0 0 29 2 *", "CANCEL_NEW", "sleep 1000");
    let key = key();
    daemon.aurora(&["cron", "schedule", &key, file.to_str().unwrap()]).expect_code(0);
    daemon.aurora(&["cron", "start", &key]).expect_code(0);
    // One that is still on its way to its launch is lost with the daemon, and replaced.
    wait_for("the run to be under way", Duration::from_secs(30), || {
        (daemon.tasks(&key).0.first()?["status"] == "RUNNING").then_some(())
    });
    let first = tasks(&daemon).0;
    assert_eq!(first.len(), 1);
    daemon.kill_nine();
    daemon.restart();
    let done = daemon.aurora(&["cron", "show", &key]).expect_code(0);
    assert_eq!(done.stdout, format!("{key}\t 0 0 29 2 *\n"));
    let done = daemon.aurora(&["cron", "start", &key]).expect_code(0);
    assert!(done.stderr.contains("still active"), "{}", done.stderr);
    assert_eq!(tasks(&daemon).0, first);
    daemon.aurora(&["cron", "deschedule", &key]).expect_code(0);
    daemon.aurora(&["job", "killall", "--no-batching", &key]).expect_code(0);
}

#[test]
fn a_job_of_every_minute_runs_within_the_minute() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let file = job_file(directory.path(), "* * * * *", "KILL_EXISTING", "echo done");
    let key = key();
    daemon.aurora(&["cron", "schedule", &key, file.to_str().unwrap()]).expect_code(0);
    wait_for("a run by the clock that has finished", Duration::from_secs(90), || (tasks(&daemon).1 > 0).then_some(()));
    let (_, page) = daemon.get(&format!("/scheduler/{}/devel/report", login()));
    assert!(page.contains("STARTED"), "{page}");
    daemon.aurora(&["cron", "deschedule", &key]).expect_code(0);
}

#[test]
fn bad_schedules_and_zones_are_refused_with_a_reason() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = open_directory();
    let key = key();
    for (schedule, said) in
        [("* * * * 7", "Sunday is 0"), ("@daily", "nicknames"), ("0 0 1 * MON", "cannot both be restricted")]
    {
        let file = job_file(directory.path(), schedule, "KILL_EXISTING", "true");
        let done = daemon.aurora(&["cron", "schedule", &key, file.to_str().unwrap()]).expect_code(10);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
    daemon.aurora(&["cron", "show", &key]).expect_code(6);
    let done = support::daybreak(&["up", "--cron-timezone", "Mars/Olympus"]);
    assert!(done.code != 0 && done.stderr.contains("'Mars/Olympus' is not known"), "{}", done.stderr);
}
