//! Every example, run by the real binary on a private cluster, as this user and, when that is root, as a plain user too.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DAYBREAK, Done, daybreak, daybreak_as_nobody, is_root, open_directory, wait_for};

/// A copy of the examples where every user can read them.
fn examples(directory: &Path) -> PathBuf {
    let copy = directory.join("examples");
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    let done = Command::new("cp").arg("-r").arg(source).arg(&copy).status().unwrap();
    assert!(done.success());
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(&copy).status().unwrap();
    assert!(opened.success());
    copy
}

/// Runs `daybreak run` on an example as each kind of user there is.
fn run_as_each(example: &str, check: impl Fn(&str, &Done)) {
    let directory = open_directory();
    let file = examples(directory.path()).join(example);
    let arguments = ["run", file.to_str().unwrap()];
    check("caller", &daybreak(&arguments));
    if is_root() {
        let home = directory.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let owned = Command::new("chown").arg("nobody").arg(&home).status().unwrap();
        assert!(owned.success());
        check("nobody", &daybreak_as_nobody(&arguments, &home));
    } else {
        println!("not root: ran as the caller only");
    }
}

#[test]
fn hello_prints_its_line_and_succeeds() {
    run_as_each("hello.aurora", |user, done| {
        assert_eq!(done.code, 0, "{user}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.stdout.trim_end(), "hello/0 | Hello from Daybreak, instance 0", "{user}");
        for part in [
            "No cluster named; starting one for this run",
            "Tasks run as",
            "Page: http://127.0.0.1:",
            "1 of 1 finished",
        ] {
            assert!(done.stderr.contains(part), "{user}: {part:?} in:\n{}", done.stderr);
        }
    });
}

#[test]
fn parallel_runs_a_hundred_instances() {
    run_as_each("parallel.aurora", |user, done| {
        assert_eq!(done.code, 0, "{user}: {}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains("100 of 100 finished"), "{user}: {}", done.stderr);
        for instance in 0..100 {
            assert!(done.stdout.contains(&format!("/{instance} |")), "{user}: instance {instance} printed nothing");
        }
    });
}

#[test]
fn retry_fails_twice_and_then_succeeds() {
    run_as_each("retry.aurora", |user, done| {
        assert_eq!(done.code, 0, "{user}: {}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains("1 of 1 finished"), "{user}: {}", done.stderr);
    });
}

#[test]
fn ports_are_given_to_the_task() {
    run_as_each("ports.aurora", |user, done| {
        assert_eq!(done.code, 0, "{user}: {}{}", done.stdout, done.stderr);
        let port = done.stdout.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
        assert!(port.into_iter().any(|port| port > 1023), "{user}: names a port: {}", done.stdout);
    });
}

/// A started `daybreak run`, its streams piped, with a directory of its own for what is temporary.
struct Running {
    child: std::process::Child,
    temporary: PathBuf,
}

impl Running {
    /// As nobody if asked for (the caller is root), else as the caller; in the directory that holds the examples.
    fn start(directory: &Path, example: &str, as_nobody: bool) -> Self {
        let temporary = directory.join(if as_nobody { "tmp-nobody" } else { "tmp" });
        std::fs::create_dir(&temporary).unwrap();
        let mut command = if as_nobody {
            let owned = Command::new("chown").arg("nobody").arg(&temporary).status().unwrap();
            assert!(owned.success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(support::public_binary());
            command.env("HOME", &temporary).env("USER", "nobody").env("LOGNAME", "nobody");
            command
        } else {
            Command::new(DAYBREAK)
        };
        command.arg("run").arg(Path::new("examples").join(example)).env("TMPDIR", &temporary).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Self { child: command.spawn().unwrap(), temporary }
    }

    /// Presses Ctrl-C; it must end with 130 and leave neither a process nor a file.
    fn interrupt(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        let status = wait_for("run to end after Ctrl-C", Duration::from_secs(60), || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(130));
        wait_for("everything it started to be gone", Duration::from_secs(20), || {
            support::processes_of(&self.temporary).is_empty().then_some(())
        });
        let left: Vec<_> = std::fs::read_dir(&self.temporary).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "the private cluster's directory is removed: {left:?}");
    }
}

/// Each kind of user there is: the caller, and nobody when the caller is root.
fn users() -> &'static [bool] {
    if is_root() { &[false, true] } else { &[false] }
}

#[test]
fn a_service_runs_until_interrupted_and_leaves_nothing() {
    let directory = open_directory();
    examples(directory.path());
    for as_nobody in users() {
        let mut running = Running::start(directory.path(), "service.aurora", *as_nobody);
        let mut line = String::new();
        BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("service/") && line.contains(" | "), "the service's first output: {line}");
        running.interrupt();
    }
}

#[test]
fn the_tutorials_example_fails_with_its_mistake_until_interrupted() {
    let directory = open_directory();
    examples(directory.path());
    for as_nobody in users() {
        let mut running = Running::start(directory.path(), "tutorial/hello_world.aurora", *as_nobody);
        let lines = BufReader::new(running.child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = Vec::new();
        let found = lines.inspect(|line| seen.push(line.clone())).any(|line| line.contains("NameError"));
        assert!(found, "{}", seen.join("\n"));
        running.interrupt();
    }
}

#[test]
fn a_run_that_was_killed_is_cleaned_up_by_the_next() {
    let directory = open_directory();
    let files = examples(directory.path());
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let run = |file: &str| {
        let mut command = Command::new(DAYBREAK);
        command.args(["run", files.join(file).to_str().unwrap()]).env("TMPDIR", &temporary).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.spawn().unwrap()
    };
    let mut first = run("service.aurora");
    let mut line = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    let second = run("hello.aurora").wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(0), "{}", String::from_utf8_lossy(&second.stderr));
    wait_for("what the killed run left to be gone", Duration::from_secs(20), || {
        support::processes_of(&temporary).is_empty().then_some(())
    });
}

#[test]
fn failure_bad_files_and_wrong_keys_have_their_exit_codes() {
    let directory = open_directory();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let role = support::login();
    let failing = write(
        "fail.aurora",
        &format!(
            "p = Process(name = 'p', cmdline = 'echo going wrong >&2; exit 7')\n\
             t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
             jobs = [Job(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'fail', task = t)]\n"
        ),
    );
    let done = daybreak(&["run", &failing]).expect_code(1);
    assert!(done.stderr.contains("FAILED") && done.stderr.contains('7'), "{}", done.stderr);
    assert!(done.stderr.contains("going wrong") || done.stdout.contains("going wrong"), "{done:?}");
    let broken = write("broken.aurora", "jobs = [Job(]\n");
    let done = daybreak(&["run", &broken]).expect_code(3);
    assert!(done.stderr.contains("broken.aurora"), "{}", done.stderr);
    let done = daybreak(&["run", &failing, &format!("devcluster/{role}/devel/other")]).expect_code(3);
    assert!(done.stderr.contains(&format!("devcluster/{role}/devel/fail")), "names what there is: {}", done.stderr);
}

#[test]
fn a_job_that_fits_nowhere_says_why() {
    let directory = open_directory();
    let path = directory.path().join("big.aurora");
    let role = support::login();
    let text = format!(
        "p = Process(name = 'p', cmdline = 'true')\n\
         t = Task(processes = [p], resources = Resources(cpu = 1000, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Job(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'big', task = t)]\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut child = Command::new(DAYBREAK)
        .args(["run", path.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let reason = lines.inspect(|line| seen.push(line.clone())).find(|line| line.contains("needs 1000 cpu"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let status = wait_for("run to end", Duration::from_secs(60), || child.try_wait().unwrap());
    assert!(reason.is_some(), "{}", seen.join("\n"));
    assert_eq!(status.code(), Some(130));
}
