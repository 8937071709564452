//! What shows only with time. The short forms run always; with `DAYBREAK_LONG=1` they take as long as the cases say
//! (`docs/reliability.md`).

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{DAYBREAK, Daemon, login, open_directory, wait_for, wire};

/// Whether the long forms were asked for.
fn is_long() -> bool {
    std::env::var_os("DAYBREAK_LONG").is_some_and(|value| value == "1")
}

/// How long the tasks run, and for how long nothing happened before.
fn lengths() -> (Duration, Duration) {
    // Helper threads of the daemon that have nothing to do end after ten seconds.
    let [task, idle] = if is_long() { [60, 15] } else { [4, 1] };
    (Duration::from_secs(task), Duration::from_secs(idle))
}

/// A job file whose process runs for `seconds`; `before` is what the shell does first.
fn job_file(directory: &Path, name: &str, before: &str, process: &str, job: &str, seconds: u64) -> String {
    let path = directory.join(format!("{name}.aurora"));
    let text = format!(
        "main = Process(name = 'main', cmdline = r\"\"\"{before}exec sleep {seconds}\"\"\"{process})\n\
         jobs = [Job(cluster = 'devcluster', role = '{role}', environment = 'devel', name = '{name}', {job}\n\
         task = Task(name = '{name}', processes = [main], finalization_wait = 300,\n\
         resources = Resources(cpu = 0.1, ram = 1*MB, disk = 8*MB)))]\n",
        role = login(),
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn create(daemon: &Daemon, name: &str, file: &str) {
    let key = format!("devcluster/{}/devel/{name}", login());
    daemon.aurora(&["job", "create", &key, file]).expect_code(0);
}

/// Ids of the daemon's threads.
fn threads(daemon: &Daemon) -> BTreeSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_task_started_from_an_idle_scheduler_runs_to_its_end_whichever_way_it_was_started() {
    let (length, idle) = lengths();
    let seconds = length.as_secs();
    let directory = open_directory();
    let mut daemon = Daemon::start(&["--allow-root-role"]);
    std::thread::sleep(idle);
    let mut names = vec!["first"];
    // The first supervisor of a launcher.
    create(&daemon, "first", &job_file(directory.path(), "first", "", "", "", seconds));
    std::thread::sleep(idle);
    // Several at once: supervisors made in advance and on demand.
    names.push("several");
    create(&daemon, "several", &job_file(directory.path(), "several", "", "", "instances = 6,", seconds));
    // A process started by the supervisor after the first attempt, and one in the supervisor's last stage.
    names.extend(["again", "last"]);
    let once = "if [ ! -e tried ]; then touch tried; exit 1; fi; ";
    let again = job_file(directory.path(), "again", once, ", max_failures = 2, min_duration = 1", "", seconds);
    create(&daemon, "again", &again);
    create(&daemon, "last", &job_file(directory.path(), "last", "", ", final = True", "", seconds));
    // A supervisor that has run another task before: the next run of the same instance.
    names.push("used");
    let flag = directory.path().join("used-before");
    let once = format!("if [ ! -e {0} ]; then touch {0}; exit 1; fi; ", flag.display());
    let used = job_file(directory.path(), "used", &once, "", "max_task_failures = 2,", seconds);
    create(&daemon, "used", &used);
    // Files are read by helper threads: some are there now, and gone before the tasks end.
    for task in wire::tasks(&daemon.url).unwrap() {
        daemon.get(&format!("/files/{}", task.id));
    }
    let at_start = threads(&daemon);
    // Under another daemon, which did not start the launcher.
    wait_for("the tasks of the first daemon to run", Duration::from_secs(30), || {
        let tasks = wire::tasks(&daemon.url).unwrap();
        // A task without regular processes is never told to be running.
        let has_run = |task: &&wire::WireTask| task.events.iter().any(|(status, _)| *status == 2);
        (tasks.iter().filter(has_run).count() >= 10).then_some(())
    });
    if is_long() {
        std::thread::sleep(Duration::from_secs(20));
        assert!(!at_start.is_subset(&threads(&daemon)), "a helper thread has ended meanwhile");
    }
    daemon.kill_nine();
    daemon.restart();
    std::thread::sleep(idle);
    names.push("adopted-launcher");
    let file = job_file(directory.path(), "adopted-launcher", "", "", "", seconds);
    create(&daemon, "adopted-launcher", &file);
    wait_for("the task of the second daemon to run", Duration::from_secs(30), || {
        let tasks = wire::tasks(&daemon.url).unwrap();
        tasks.iter().any(|task| task.job == "adopted-launcher" && task.is_running()).then_some(())
    });
    assert_eq!(daemon.stop(), 0);
    daemon.restart();

    wait_for("every task to end", length + Duration::from_secs(60), || {
        let tasks = wire::tasks(&daemon.url).unwrap();
        names.iter().all(|name| tasks.iter().filter(|it| it.job == *name).all(|it| !it.is_active())).then_some(())
    });
    let tasks = wire::tasks(&daemon.url).unwrap();
    for name in names {
        let of_job: Vec<_> = tasks.iter().filter(|task| task.job == name).collect();
        let finished = of_job.iter().filter(|task| task.status == 3).count();
        let (wanted, failed) = (if name == "several" { 6 } else { 1 }, usize::from(name == "used"));
        assert_eq!((finished, of_job.len()), (wanted, wanted + failed), "{name}: {of_job:?}");
    }
}

#[test]
fn a_private_cluster_whose_starter_has_ended_runs_its_task_to_the_end() {
    let (length, _) = lengths();
    let directory = open_directory();
    let file = job_file(directory.path(), "private", "", "", "", length.as_secs());
    let started = Instant::now();
    // The shell that starts it is gone at once.
    let out = directory.path().join("out");
    let script = format!("(setsid {DAYBREAK} run {file} > {0} 2>&1; echo code $? >> {0}) & ", out.display());
    let shell =
        std::process::Command::new("bash").args(["-c", &script]).env("HOME", directory.path()).status().unwrap();
    assert!(shell.success());
    let said = wait_for("the run to end", length + Duration::from_secs(60), || {
        std::fs::read_to_string(&out).ok().filter(|text| text.contains("\ncode "))
    });
    assert!(said.ends_with("code 0\n") && said.contains("1 of 1 finished"), "{said}");
    assert!(started.elapsed() >= length);
}

/// Sum of the sizes of all files below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-sk", "--"]).arg(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[test]
fn a_job_that_fails_at_once_for_ever_keeps_everything_bounded() {
    let length = Duration::from_secs(if is_long() { 3600 } else { 20 });
    let daemon = Daemon::start(&["--allow-root-role"]);
    let job = wire::job(&login(), "poison", 3, true, "head -c 100000 /dev/zero; exit 1");
    assert_eq!(wire::create(&daemon.url, job).unwrap().0, wire::OK);
    let started = Instant::now();
    let minutes = || started.elapsed().as_secs() / 60;
    while started.elapsed() < length {
        std::thread::sleep(Duration::from_secs(5));
        let tasks = wire::tasks(&daemon.url).unwrap();
        // Of each instance: two runs at once, then one per half minute, then ever fewer; a hundred are kept of the job.
        let most = (3 * (3 + 2 * minutes()) as usize).min(103);
        assert!(tasks.len() <= most, "{} runs after {} minutes", tasks.len(), minutes());
        let lines = daemon.log().lines().filter(|line| line.contains("devel/poison")).count();
        assert!(lines as u64 <= 3 * (3 + 2 * minutes()) * 7, "{lines} lines of log after {} minutes", minutes());
        let bytes = bytes_below(&daemon.state.join("local"));
        assert!(bytes < most as u64 * 200_000 + 1_000_000, "{bytes} bytes of logs after {} minutes", minutes());
    }
    assert_eq!(daemon.get("/health").0, 200);
}
