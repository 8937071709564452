//! Backups end to end, with the real binary and real processes: what runs is adopted, what was killed by mistake comes back, what was
//! started later is kept or killed as asked, on-line and off-line, even when the journal is gone (reliability T24).

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::wire::{self, WireTask};
use support::{DAYBREAK, Daemon, Done, daybreak, http, login, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command of `aurora_admin` against the daemon.
fn admin(daemon: &Daemon, arguments: &[&str]) -> Done {
    let config = daemon.state.join("client");
    std::fs::create_dir_all(&config).unwrap();
    let clusters = serde_json::json!([{"name": "devcluster", "scheduler_uri": daemon.url}]);
    std::fs::write(config.join("clusters.json"), clusters.to_string()).unwrap();
    let mut command = Command::new(DAYBREAK);
    command.arg("admin").args(arguments).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
    let output = command.stdin(Stdio::null()).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn create(daemon: &Daemon, name: &str) -> WireTask {
    let (code, message) = wire::create(&daemon.url, wire::job(&login(), name, 1, true, "exec sleep 100000")).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    running(daemon, name)
}

/// The job's one active task, once it runs.
fn running(daemon: &Daemon, name: &str) -> WireTask {
    wait_for(&format!("{name} to run"), LIMIT, || {
        let mut tasks = wire::tasks(&daemon.url).ok()?;
        tasks.retain(|task| task.job == name && task.is_active());
        assert!(tasks.len() <= 1, "{tasks:?}");
        tasks.pop().filter(WireTask::is_running)
    })
}

fn kill(daemon: &Daemon, name: &str) {
    assert_eq!(wire::kill(&daemon.url, &login(), name).unwrap().0, wire::OK);
    wait_for(&format!("{name} to end"), LIMIT, || {
        let tasks = wire::tasks(&daemon.url).unwrap();
        tasks.iter().all(|task| task.job != name || !task.is_active()).then_some(())
    });
}

/// Pids of the sleeps of this daemon's tasks.
fn sleeps(daemon: &Daemon) -> BTreeSet<i32> {
    let is_sleep =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
    support::processes_of(&daemon.state).into_iter().filter(is_sleep).collect()
}

fn wait_for_sleeps(daemon: &Daemon, count: usize) -> BTreeSet<i32> {
    wait_for(&format!("{count} processes"), LIMIT, || Some(sleeps(daemon)).filter(|pids| pids.len() == count))
}

/// Makes a backup and gives its name.
fn back_up(daemon: &Daemon) -> String {
    admin(daemon, &["scheduler_backup_now", "devcluster"]).expect_code(0);
    let listed = admin(daemon, &["scheduler_list_backups", "devcluster"]).expect_code(0).stdout;
    listed.lines().last().unwrap().to_owned()
}

fn stage(daemon: &Daemon, backup: &str) {
    admin(daemon, &["scheduler_stage_recovery", "devcluster", backup]).expect_code(0);
}

#[test]
fn a_backup_is_restored_while_the_daemon_runs_and_what_runs_goes_on() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let kept = create(&daemon, "kept");
    let mistaken = create(&daemon, "mistaken");
    let kept_pids = wait_for_sleeps(&daemon, 2);
    let backup = back_up(&daemon);
    assert!(backup.starts_with("scheduler-backup-2"), "{backup}");
    kill(&daemon, "mistaken");
    let kept_pids: BTreeSet<i32> = kept_pids.intersection(&sleeps(&daemon)).copied().collect();
    let later = create(&daemon, "later");

    stage(&daemon, &backup);
    let again = admin(&daemon, &["scheduler_stage_recovery", "devcluster", &backup]).expect_code(1);
    assert!(again.stderr.contains("staged already"), "{}", again.stderr);
    let shown = admin(&daemon, &["scheduler_print_recovery_tasks", "devcluster"]).expect_code(0).stderr;
    assert!(shown.contains(&kept.id) && shown.contains(&mistaken.id) && !shown.contains(&later.id), "{shown}");
    let report = admin(&daemon, &["scheduler_commit_recovery", "devcluster"]).expect_code(0).stdout;
    assert!(report.contains(&format!("1 tasks still run and were adopted: {}", kept.id)), "{report}");
    assert!(report.contains(&format!("created after the backup and are kept: {}", later.id)), "{report}");

    assert_eq!(running(&daemon, "kept").id, kept.id);
    assert_eq!(running(&daemon, "later").id, later.id);
    assert_ne!(running(&daemon, "mistaken").id, mistaken.id, "what was killed runs anew");
    let pids = wait_for_sleeps(&daemon, 3);
    assert!(kept_pids.is_subset(&pids), "an adopted process was replaced");
    admin(&daemon, &["scheduler_commit_recovery", "devcluster"]).expect_code(1);

    stage(&daemon, &backup);
    let report =
        admin(&daemon, &["scheduler_commit_recovery", "devcluster", "--kill-later-tasks"]).expect_code(0).stdout;
    assert!(report.contains("are killed") && report.contains(&later.id), "{report}");
    let pids = wait_for_sleeps(&daemon, 2);
    assert!(kept_pids.is_subset(&pids), "an adopted process was replaced");
    assert_eq!(running(&daemon, "kept").id, kept.id);
    assert!(wire::tasks(&daemon.url).unwrap().iter().all(|task| task.job != "later"));
}

#[test]
fn a_backup_takes_the_place_of_a_stopped_daemons_journal_and_of_a_lost_one() {
    let mut daemon = Daemon::start(&["--allow-root-role"]);
    let state = daemon.state.display().to_string();
    let kept = create(&daemon, "kept");
    let backup = back_up(&daemon);
    let in_use = daybreak(&["journal", "restore", &backup, &state]).expect_code(1);
    assert!(in_use.stderr.contains("in use"), "{}", in_use.stderr);
    let later = create(&daemon, "later");
    let both = wait_for_sleeps(&daemon, 2);
    daemon.stop();

    // Over the journal that is there: both are known.
    let done = daybreak(&["journal", "restore", &backup, &state]).expect_code(0);
    assert!(done.stdout.contains("are kept") && done.stdout.contains(&later.id), "{}", done.stdout);
    assert!(Path::new(&state).join("journal.replaced-1").is_dir());
    daemon.restart();
    assert_eq!((running(&daemon, "kept").id, running(&daemon, "later").id), (kept.id.clone(), later.id.clone()));
    assert_eq!(sleeps(&daemon), both);
    daemon.stop();

    let done = daybreak(&["journal", "restore", &backup, &state, "--kill-later-tasks"]).expect_code(0);
    assert!(done.stdout.contains("are killed"), "{}", done.stdout);
    daemon.restart();
    assert_eq!(running(&daemon, "kept").id, kept.id);
    let left = wait_for_sleeps(&daemon, 1);
    assert!(left.is_subset(&both));
    daemon.stop();

    // The journal is gone altogether, and the tasks still run.
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("journal") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    daybreak(&["journal", "restore", &backup, &state]).expect_code(0);
    daemon.restart();
    assert_eq!(running(&daemon, "kept").id, kept.id);
    assert_eq!(sleeps(&daemon), left, "the process that survived everything");
    let refused = daybreak(&["journal", "restore", "scheduler-backup-nothing", &state]).expect_code(1);
    assert!(refused.stderr.contains("there is no backup"), "{}", refused.stderr);
    kill(&daemon, "kept");
    wait_for_sleeps(&daemon, 0);
}

#[test]
fn backups_are_made_by_themselves_and_the_daemon_ends_when_asked_over_http() {
    let mut daemon = Daemon::start(&["--backup-interval", "100ms", "--max-saved-backups", "2"]);
    let backups = daemon.state.join("backups");
    let names = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(&backups).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let first = wait_for("the first backup", LIMIT, || names().into_iter().find(|name| name.starts_with("scheduler-")));
    wait_for("the first backup to be replaced by later ones", LIMIT, || (!names().contains(&first)).then_some(()));
    wait_for("two backups", LIMIT, || (names().len() <= 3).then_some(()));
    let vars = daemon.get("/vars").1;
    let made: i64 = vars.lines().find_map(|line| line.strip_prefix("scheduler_backup_success ")?.parse().ok()).unwrap();
    assert!(made >= 3, "{vars}");

    let snapshots = || {
        let entries = std::fs::read_dir(daemon.state.join("journal")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".snap")).count()
    };
    assert_eq!(snapshots(), 0);
    admin(&daemon, &["scheduler_snapshot", "devcluster"]).expect_code(0);
    assert_eq!(snapshots(), 1);

    assert_eq!(http("GET", &format!("{}/quitquitquit", daemon.url), &[], b"").0, 405);
    let foreign = [("Origin", "http://evil.example")];
    assert_eq!(http("POST", &format!("{}/quitquitquit", daemon.url), &foreign, b"").0, 403);
    let (status, text) = http("POST", &format!("{}/quitquitquit", daemon.url), &[], b"");
    assert_eq!((status, text.trim_end()), (200, "Stopping; tasks go on running."));
    assert_eq!(daemon.wait_for_end(), 0);
    daemon.restart();
    // No answer: the process is gone before it could give one.
    let _ = support::try_http("POST", &format!("{}/abortabortabort", daemon.url), &[], b"");
    assert_eq!(daemon.wait_for_end(), 0);
}
