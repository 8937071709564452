//! The daemon's own promises: tasks outlive it, exit codes of its absence are recovered, a replaced binary adopts them.

mod support;

use std::time::Duration;

use support::{Daemon, login, open_directory, wait_for, wire};

fn start() -> Daemon {
    Daemon::start(&["--allow-root-role"])
}

fn create(daemon: &Daemon, name: &str, instances: i64, service: bool, cmdline: &str) {
    let answer = wire::create(&daemon.url, wire::job(&login(), name, instances, service, cmdline)).unwrap();
    assert_eq!(answer.0, wire::OK, "{}", answer.1);
}

fn wait_for_status(daemon: &Daemon, name: &str, status: i64) -> wire::WireTask {
    let what = format!("{name} to reach status {status}");
    wait_for(&what, Duration::from_secs(40), || {
        let tasks = wire::tasks(&daemon.url).unwrap();
        tasks.into_iter().find(|task| task.job == name && task.status == status)
    })
}

#[test]
fn stopping_leaves_tasks_alone_and_recovers_their_exits() {
    let mut daemon = start();
    let directory = open_directory();
    let flag = directory.path().join("go");
    let cmdline = |code: u8| format!("until [ -e {} ]; do sleep 0.05; done; exit {code}", flag.display());
    create(&daemon, "good", 1, false, &cmdline(0));
    create(&daemon, "bad", 1, false, &cmdline(9));
    create(&daemon, "stays", 1, true, "exec sleep 100000");
    let stays = wait_for_status(&daemon, "stays", 2);
    wait_for_status(&daemon, "good", 2);
    wait_for_status(&daemon, "bad", 2);
    assert_eq!(daemon.stop(), 0, "SIGTERM ends the daemon in good order");
    assert!(!daemon.state.join("endpoint.json").exists());
    std::fs::write(&flag, "").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    daemon.restart();
    wait_for_status(&daemon, "good", 3);
    let bad = wait_for_status(&daemon, "bad", 4);
    assert!(bad.events.iter().any(|(_, message)| message.contains('9')), "names the exit code: {bad:?}");
    let again = wait_for_status(&daemon, "stays", 2);
    assert_eq!(again.id, stays.id, "the running task was adopted, not replaced");
}

#[test]
fn a_program_replaced_under_a_running_daemon_adopts_its_tasks() {
    let directory = open_directory();
    let program = directory.path().join("daybreak");
    std::fs::copy(support::DAYBREAK, &program).unwrap();
    let mut daemon = Daemon::start_program(&program, open_directory(), &["--allow-root-role"]);
    create(&daemon, "before", 1, true, "exec sleep 100000");
    let before = wait_for_status(&daemon, "before", 2);
    // As a package manager does it: a new file takes the name, the old one lives on in those who run it.
    let fresh = directory.path().join("daybreak.new");
    std::fs::copy(support::DAYBREAK, &fresh).unwrap();
    std::fs::rename(&fresh, &program).unwrap();
    create(&daemon, "between", 1, true, "exec sleep 100000");
    let between = wait_for_status(&daemon, "between", 2);
    assert_eq!(daemon.stop(), 0);
    daemon.restart();
    assert_eq!(wait_for_status(&daemon, "before", 2).id, before.id);
    assert_eq!(wait_for_status(&daemon, "between", 2).id, between.id);
    create(&daemon, "after", 1, false, "true");
    wait_for_status(&daemon, "after", 3);
}

#[test]
fn no_process_of_a_task_outlives_it() {
    let daemon = start();
    // A daemonised grandchild in a session of its own, and one that ignores SIGTERM.
    let cmdline = "setsid -f sleep 54321; (trap '' TERM; sleep 54322) & exit 0";
    create(&daemon, "leaves-strays", 1, false, cmdline);
    wait_for_status(&daemon, "leaves-strays", 3);
    let stray = || {
        let found = std::process::Command::new("pgrep").args(["-f", "sleep 5432[12]"]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).trim().to_owned()
    };
    wait_for("strays to be gone", Duration::from_secs(10), || stray().is_empty().then_some(()));
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_in_bounded_time() {
    let daemon = start();
    create(&daemon, "stubborn", 1, true, "trap '' TERM; while :; do sleep 1; done");
    wait_for_status(&daemon, "stubborn", 2);
    let answer = wire::kill(&daemon.url, &login(), "stubborn").unwrap();
    assert_eq!(answer.0, wire::OK, "{}", answer.1);
    let what = "the task to be killed";
    wait_for(what, Duration::from_secs(90), || {
        wire::tasks(&daemon.url).unwrap().iter().all(|task| task.status == 5).then_some(())
    });
}

#[test]
fn a_job_that_always_fails_is_throttled_and_its_history_bounded() {
    let daemon = start();
    create(&daemon, "poison", 1, true, "exit 1");
    wait_for("throttling", Duration::from_secs(60), || {
        wire::tasks(&daemon.url).unwrap().iter().any(|task| task.status == 16).then_some(())
    });
    let tasks = wire::tasks(&daemon.url).unwrap();
    assert!(tasks.len() <= 4, "a flapping task waits instead of filling the history: {} tasks", tasks.len());
    let (status, page) = daemon.get(&format!("/scheduler/{}/devel/poison", login()));
    assert_eq!(status, 200);
    assert!(page.contains("flapping"), "the page says why it waits");
}

#[test]
fn a_role_that_is_no_user_fails_with_that_reason() {
    if !support::is_root() {
        println!("not root: tasks run as the caller whatever their role, nothing to see");
        return;
    }
    let daemon = start();
    let answer = wire::create(&daemon.url, wire::job("no-such-user", "ghost", 1, false, "true")).unwrap();
    assert_eq!(answer.0, wire::OK, "{}", answer.1);
    let ghost = wait_for_status(&daemon, "ghost", 4);
    assert!(ghost.events.iter().any(|(_, message)| message.contains("no-such-user")), "{ghost:?}");
}

#[test]
fn operators_can_look_and_change_the_log() {
    let daemon = start();
    assert_eq!(daemon.get("/health"), (200, "OK\n".to_owned()));
    let (status, vars) = daemon.get("/vars");
    assert_eq!(status, 200);
    assert!(vars.lines().any(|line| line.starts_with("task_store_")), "{vars}");
    assert_eq!(daemon.get("/metrics").0, 200);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let (status, _) = support::http("POST", &format!("{}/logconfig", daemon.url), &form, b"level=debug");
    assert!(status < 400, "{status}");
    assert_eq!(daemon.get("/logconfig").1.trim(), "debug");
    let (status, answer) = support::http("POST", &format!("{}/logconfig", daemon.url), &form, b"level=loud");
    assert_eq!(status, 400, "{answer}");
    create(&daemon, "seen", 1, false, "true");
    wait_for_status(&daemon, "seen", 3);
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("devel/seen") && line.contains("FINISHED"))
        .expect("a line per transition");
    assert!(line.contains("RUNNING"), "from and to: {line}");
}

#[test]
fn memory_beyond_the_limit_fails_the_task_in_auroras_words() {
    if !support::is_root() {
        println!("not root: limits are not enforced, nothing to see");
        return;
    }
    let daemon = start();
    // 1 MB asked for, 128 MB of overhead: a quarter of a GB is too much.
    let hog = "exec tail -c 268435456 /dev/zero | tail -c 268435456 > /dev/null";
    create(&daemon, "hog", 1, false, hog);
    let hog = wait_for_status(&daemon, "hog", 4);
    let said = hog.events.iter().any(|(_, message)| message.contains("Memory limit exceeded: Requested"));
    assert!(said, "{hog:?}");
    assert_eq!(daemon.get("/health").0, 200);
}

#[test]
fn a_cpu_quota_holds_tasks_back_though_cpus_are_idle() {
    if !support::is_root() {
        println!("not root: limits are not enforced, nothing to see");
        return;
    }
    let throttled = |pid: &str| -> u64 {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let roots = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            match controllers {
                "" => Some([format!("/sys/fs/cgroup/{path}"), format!("/sys/fs/cgroup/unified/{path}")]),
                _ if controllers.split(',').any(|name| name == "cpu") => {
                    Some([format!("/sys/fs/cgroup/cpu/{path}"), format!("/sys/fs/cgroup/{controllers}/{path}")])
                }
                _ => None,
            }
        });
        // The limit may be that of a group further up; the root's own files count nobody's.
        let groups: Vec<std::path::PathBuf> = roots.flatten().map(Into::into).collect();
        let within = groups.iter().flat_map(|group| group.ancestors().take_while(|group| !group.ends_with("cgroup")));
        let counts =
            within.filter_map(|group| std::fs::read_to_string(group.join("cpu.stat")).ok()).filter_map(|text| {
                text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.trim().parse::<u64>().ok())
            });
        counts.max().unwrap_or(0)
    };
    let spinning = |daemon: &Daemon| -> String {
        create(daemon, "spin", 1, true, "while :; do :; done");
        let task = wait_for_status(daemon, "spin", 2);
        let (_, body) = daemon.get(&format!("/files/{}", task.id));
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        json["processes"][0]["runs"][0]["pid"].to_string()
    };
    let strict = Daemon::start(&["--allow-root-role", "--cpu-quota"]);
    let pid = spinning(&strict);
    wait_for("the task to be held back", Duration::from_secs(20), || (throttled(&pid) > 0).then_some(()));
    let lenient = start();
    let pid = spinning(&lenient);
    let used = |pid: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after = text.rsplit(')').next().unwrap();
        after.split_whitespace().nth(11).unwrap().parse().unwrap()
    };
    // A second of the processor in ticks of a hundredth: many periods of a quota.
    wait_for("the other one to have run for a second", Duration::from_secs(60), || (used(&pid) > 100).then_some(()));
    assert_eq!(throttled(&pid), 0);
}

#[test]
fn when_memory_runs_out_tasks_go_before_what_looks_after_them() {
    let daemon = start();
    create(&daemon, "victim", 1, true, "exec sleep 100000");
    let task = wait_for_status(&daemon, "victim", 2);
    let score = |pid: &str| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    let launcher = std::fs::read_to_string(daemon.state.join("local/launcher.lock")).unwrap();
    let (_, body) = daemon.get(&format!("/files/{}", task.id));
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let pid = json["processes"][0]["runs"][0]["pid"].to_string();
    let scores = [daemon.pid().to_string(), launcher.trim().to_owned(), pid].map(|pid| score(&pid));
    let [of_daemon, of_launcher, of_task] = scores;
    assert!(of_daemon < of_task && of_launcher < of_task, "{scores:?}");
    // Not everybody, and not root of every container, may ask to be spared; others can only offer something else first.
    let may_ask = std::fs::write("/proc/self/oom_score_adj", "-1").is_ok();
    assert!(!may_ask || (of_daemon <= -900 && of_launcher == -1000 && of_task == 0), "{scores:?}");
}

#[test]
fn disk_beyond_the_limit_fails_the_task_in_auroras_words() {
    let daemon = start();
    create(&daemon, "filler", 1, false, "head -c 8000000 /dev/zero > filler; sleep 600");
    let filler = wait_for_status(&daemon, "filler", 4);
    let said = filler
        .events
        .iter()
        .any(|(_, message)| message.contains("Disk limit exceeded.  Reserved 1048576 bytes vs used"));
    assert!(said, "{filler:?}");
}
