//! What a person at a terminal sees, with the real binary in a real pseudo-terminal, and what a program sees in a pipe: colours and bars here,
//! the classic lines there.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::{DAYBREAK, Daemon, login};

/// A service of three instances whose version is its priority.
fn job_file(directory: &Path, version: u32) -> String {
    let role = login();
    let text = format!(
        "p = Process(name = 'p', cmdline = 'echo {version}\\nsleep 1000')\n\
         t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'web', task = t,\n\
           instances = 3, priority = {version}, update_config = UpdateConfig(watch_secs = 1))]\n"
    );
    let path = directory.join(format!("web-{version}.aurora"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Everything that appears on a terminal in which `aurora` runs with these words.
fn at_a_terminal(daemon: &Daemon, words: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    // Writes the clusters where the next command looks for them.
    daemon.aurora(&["config", "list", "/dev/null"]);
    let config = daemon.state.join("client");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols 120 rows 40; exec '{DAYBREAK}' aurora {}", quoted.join(" "));
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("script is needed");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
}

#[test]
fn a_person_sees_colours_and_bars_and_a_program_the_classic_lines() {
    let directory = support::open_directory();
    let daemon = Daemon::start(&["--allow-root-role"]);
    let key = format!("devcluster/{}/devel/web", login());
    let (old, new) = (job_file(directory.path(), 1), job_file(directory.path(), 2));

    let (code, shown) = at_a_terminal(&daemon, &["job", "create", &key, &old, "--wait-until", "RUNNING"], &[]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("running [") && shown.contains("/3"), "a bar: {shown:?}");

    let (_, inspected) = at_a_terminal(&daemon, &["job", "inspect", &key, &new], &[]);
    assert!(inspected.contains("\u{1b}[1mProcess 'p':"), "{inspected:?}");
    let (_, plain) = at_a_terminal(&daemon, &["job", "inspect", &key, &new], &[("NO_COLOR", "1")]);
    let piped = daemon.aurora(&["job", "inspect", &key, &new]).expect_code(0).stdout;
    assert_eq!(plain, piped);
    let forced = daemon.aurora(&["job", "inspect", &key, &new, "--color=always"]).expect_code(0).stdout;
    assert_eq!(forced, inspected);

    let (_, difference) = at_a_terminal(&daemon, &["job", "diff", &key, &new, "--color=never"], &[]);
    assert!(difference.contains("  priority\n    - 1\n    + 2\n"), "{difference}");
    assert!(!difference.contains("isService"), "only what differs: {difference}");
    assert!(difference.contains("    - echo 1\n    + echo 2\n      sleep 1000\n"), "{difference}");
    let (_, coloured) = at_a_terminal(&daemon, &["job", "diff", &key, &new], &[]);
    assert!(coloured.contains("\u{1b}[31m- 1\u{1b}[0m") && coloured.contains("\u{1b}[32m+ 2\u{1b}[0m"), "{coloured:?}");
    let piped = daemon.aurora(&["job", "diff", &key, &new]).expect_code(0).stdout;
    assert!(
        piped.contains("with diff:\n") && piped.contains("<   \"priority\": 1,") && !piped.contains('\u{1b}'),
        "{piped}"
    );

    let (code, updated) = at_a_terminal(&daemon, &["update", "start", &key, &new, "--wait"], &[]);
    assert_eq!(code, 0, "{updated}");
    assert!(updated.contains("ROLLING_FORWARD [") && updated.contains("Current state ROLLED_FORWARD"), "{updated:?}");

    let (code, killed) = at_a_terminal(&daemon, &["job", "killall", &key], &[]);
    assert_eq!(code, 0, "{killed}");
    assert!(killed.contains("killed [") && killed.contains("Job killall succeeded"), "{killed:?}");
    let piped = daemon.aurora(&["job", "create", &key, &old, "--wait-until", "RUNNING"]).expect_code(0);
    assert!(!format!("{}{}", piped.stdout, piped.stderr).contains('\u{1b}'), "{piped:?}");
}
