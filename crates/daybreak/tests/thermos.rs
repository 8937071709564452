//! `thermos run`, `simplerun` and what else `thermos` and the observer see of such a task, with the real binary and no scheduler.

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DAYBREAK, Done, is_root, kill_processes_of, login, open_directory, public_binary, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// A checkpoint root and a sandbox in a folder of their own.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: open_directory() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Writes a file; its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program under the name `thermos`.
    fn command(&self, arguments: &[&str]) -> Command {
        let link = self.folder.path().join("thermos");
        if !link.exists() {
            std::os::unix::fs::symlink(DAYBREAK, &link).unwrap();
        }
        let mut command = Command::new(link);
        command.args(["--root", self.root().to_str().unwrap(), "--mesos-root", "/nonexistent"]);
        command.args(["--state-dir", "/nonexistent"]).args(arguments).stdin(Stdio::null());
        command.env("TMPDIR", self.folder.path());
        command
    }

    fn thermos(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the task of a file in this machine's sandbox.
    fn run(&self, file: &str, more: &[&str]) -> Done {
        let sandbox = self.path("sandbox");
        self.thermos(&[&["run", file, "--sandbox", &sandbox, "--task_id", "t"], more].concat())
    }

    /// The same in the background of this test.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn status(&self) -> String {
        self.thermos(&["status", "--verbosity", "3"]).stdout
    }

    /// Waits until `thermos status` says something.
    fn wait_for_status(&self, what: &str) -> String {
        wait_for(&format!("{what:?} in thermos status"), LIMIT, || {
            Some(self.status()).filter(|text| text.contains(what))
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        kill_processes_of(self.folder.path());
    }
}

/// How a child ended, and all it printed.
fn finish(mut child: Child) -> (i32, String) {
    let status = wait_for("the end of thermos run", LIMIT, || child.try_wait().unwrap());
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code().unwrap_or(-1), text)
}

const SEVERAL: &str = "
first = Process(name = 'first', cmdline = 'echo one {{greeting}} > made; echo first is done')
flaky = Process(name = 'flaky', max_failures = 3, min_duration = 0, cmdline = 'test -e again || { touch again; exit 7; }')
last = Process(name = 'last', cmdline = 'cat made; echo {{thermos.task_id}} {{thermos.user}} >&2')
tidy = Process(name = 'tidy', final = True, cmdline = 'touch tidied')
helper = Process(name = 'helper', ephemeral = True, cmdline = 'sleep 1000')
export(Task(name = 'several', processes = [first, flaky, last, tidy, helper], constraints = order(first, flaky, last),
            max_failures = 1))
";

#[test]
fn a_file_with_several_processes_runs_in_their_order() {
    let machine = Machine::new();
    let file = machine.write("several.thermos", SEVERAL);
    let done = machine.run(&file, &["-E", "greeting=hello"]).expect_code(0);
    assert_eq!(done.stdout, "first | first is done\nlast | one hello\n");
    let user = login();
    for part in [&format!("last | t {user}\n"), "flaky: failed with exit status 7", "run 1", "Task t: SUCCESS"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert!(Path::new(&machine.path("sandbox/tidied")).exists());
    let status = machine.status();
    for part in ["Finished tasks:\n  t ", "state: SUCCESS", "first", "exit: 0", &machine.path("sandbox")] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let tail = machine.thermos(&["tail", "t", "last", "--stderr"]).expect_code(0);
    assert_eq!(tail.stdout, format!("t {user}\n"));
    let checkpoint = machine.root().join("checkpoints/t/runner");
    let read = machine.thermos(&["read", checkpoint.to_str().unwrap()]).expect_code(0);
    for part in ["id:       t", "flaky   runs: 2", "FAILED   exit: 7", "helper   runs: 1", "KILLED"] {
        assert!(read.stdout.contains(part), "{part}: {}", read.stdout);
    }
    let log = std::fs::read_to_string(machine.root().join("checkpoints/t/runner.log")).unwrap();
    for part in ["process flaky, run 0: exited with status 7", "process flaky, run 1: runs", "the task is SUCCESS"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let again = machine.run(&file, &["-E", "greeting=x"]).expect_code(6);
    assert!(again.stderr.contains("A task t was run here before"), "{}", again.stderr);
}

#[test]
fn a_task_that_fails_says_which_process_and_how() {
    let machine = Machine::new();
    let file = machine.write(
        "f.thermos",
        "export(SequentialTask(name = 'f', processes = [Process(name = 'a', cmdline = 'echo why >&2; exit 3'),\n\
         Process(name = 'b', cmdline = 'touch never')]))\n",
    );
    let done = machine.run(&file, &[]).expect_code(1);
    assert!(
        done.stderr.contains("a | why\n") && done.stderr.contains("a: failed with exit status 3"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.ends_with("Task t: FAILED. Task failed: process a exited with status 3.\n"), "{}", done.stderr);
    assert!(!Path::new(&machine.path("sandbox/never")).exists());
    assert!(machine.status().contains("state: FAILED"));
}

#[test]
fn a_task_is_killed_from_another_terminal() {
    let machine = Machine::new();
    let text = "
p = Process(name = 'p', cmdline = 'trap \"echo asked; exit 0\" TERM; echo ready; while :; do sleep 0.05; done')
export(Task(name = 'k', processes = [p, Process(name = 'tidy', final = True, cmdline = 'touch tidied')]))
";
    let file = machine.write("k.thermos", text);
    let sandbox = machine.path("sandbox");
    let run = machine.start(&["run", &file, "--sandbox", &sandbox, "--task_id", "kill-me"]);
    machine.wait_for_status("state: RUNNING");
    let log = machine.folder.path().join("sandbox/.logs/p/0/stdout");
    wait_for("the process' word", LIMIT, || std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready")));
    let none = machine.thermos(&["kill", "other"]).expect_code(0);
    assert_eq!(none.stdout, "No active tasks matched.\n");
    let killed = machine.thermos(&["kill", "kill-.*"]).expect_code(0);
    assert_eq!(killed.stdout, "Killing kill-me...done.\n");
    let (code, text) = finish(run);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("p | asked\n") && text.contains("Task kill-me: KILLED."), "{text}");
    assert!(Path::new(&sandbox).join("tidied").exists(), "final processes run");
    assert!(machine.status().contains("state: KILLED"));
}

#[test]
fn ctrl_c_kills_the_task_in_order_and_a_second_one_at_once() {
    let machine = Machine::new();
    let text = "
p = Process(name = 'p', cmdline = 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done')
export(Task(name = 'c', processes = [p]))
";
    let file = machine.write("c.thermos", text);
    let run = machine.start(&["run", &file, "--sandbox", &machine.path("sandbox"), "--task_id", "t"]);
    let log = machine.folder.path().join("sandbox/.logs/p/0/stdout");
    wait_for("the process' word", LIMIT, || std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready")));
    let begun = Instant::now();
    let pid = Pid::from_raw(run.id().cast_signed());
    kill(pid, Signal::SIGINT).unwrap();
    // It is asked first, and has a minute that this test does not have.
    machine.wait_for_status("state: CLEANING");
    kill(pid, Signal::SIGINT).unwrap();
    let (code, text) = finish(run);
    assert!(begun.elapsed() < Duration::from_secs(20), "at once");
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("Killing task t; once more kills it at once.") && text.contains("p: was killed"), "{text}");
    assert!(machine.status().contains("state: KILLED"));
    assert_eq!(support::processes_of(&machine.folder.path().join("sandbox")), [0; 0], "nothing is left");
}

#[test]
fn a_port_is_bound_and_a_missing_one_refused() {
    let machine = Machine::new();
    let text =
        "export(Task(name = 'p', processes = [Process(name = 'p', cmdline = 'echo port {{thermos.ports[http]}}')]))\n";
    let file = machine.write("p.thermos", text);
    let done = machine.run(&file, &[]).expect_code(6);
    assert!(done.stderr.starts_with("ERROR!  Unbound ports: http\n"), "{}", done.stderr);
    assert!(!machine.root().exists(), "nothing was begun");
    let done = machine.run(&file, &["-P", "http:31234"]).expect_code(0);
    assert_eq!(done.stdout, "port 31234\n");
    assert!(machine.status().contains("http => 31234"));
    let inspect = machine.thermos(&["inspect", &file, "-P", "http:31234"]).expect_code(0);
    assert!(inspect.stdout.contains("\"cmdline\": \"echo port 31234\""), "{}", inspect.stdout);
    // What is shown can be run.
    let shown = machine.write("shown.json", &inspect.stdout);
    let sandbox = machine.path("sandbox");
    let done = machine.thermos(&["run", &shown, "--sandbox", &sandbox, "--task_id", "u"]).expect_code(0);
    assert_eq!(done.stdout, "port 31234\n", "and the log of the task before is not shown again");
}

#[test]
fn a_command_line_is_a_task_and_its_output_is_its_own() {
    let machine = Machine::new();
    let done = machine.thermos(&["simplerun", "--", "printf", "'%s\\n'", "$HOME; pwd; echo oops >&2"]).expect_code(0);
    let mut lines = done.stdout.lines();
    assert_eq!(lines.next(), Some("Running command: 'printf '%s\\n' $HOME; pwd; echo oops >&2'"));
    let (home, folder) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(home == folder && home.starts_with(machine.folder.path().to_str().unwrap()), "{}", done.stdout);
    assert_eq!(done.stderr, "oops\n");
    let status = machine.status();
    assert!(status.contains("Finished tasks:\n  simple-"), "{status}");
    let done = machine.thermos(&["simplerun", "--name", "bad", "exit", "9"]).expect_code(1);
    assert!(done.stderr.contains("process bad exited with status 9"), "{}", done.stderr);
}

#[test]
fn in_the_background_a_task_goes_on_alone_and_the_observer_shows_it() {
    let machine = Machine::new();
    let file = machine.write(
        "d.aurora",
        "t = Task(name = 'd', processes = [Process(name = 'p', cmdline = 'echo here; sleep 1000')],\n\
         resources = Resources(cpu = 1, ram = 1*MB, disk = 1*MB))\n\
         jobs = [Service(cluster = 'c', role = 'r', environment = 'devel', name = 'j', task = t)]\n",
    );
    let done = machine.thermos(&["run", "--daemon", &file, "--sandbox", &machine.path("sandbox")]).expect_code(0);
    let id = done.stdout.trim().to_owned();
    assert!(id.starts_with("d-") && !id.contains(' '), "{id}");
    let status = machine.status();
    assert!(status.contains(&id) && status.contains("state: RUNNING"), "{status}");
    let mut observer = Command::new(DAYBREAK)
        .args(["observer", "--port", "0", "--ip", "127.0.0.1", "--root", machine.root().to_str().unwrap()])
        .args(["--mesos-root", "/nonexistent", "--polling_interval_secs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let url = observer_url(&mut observer);
    let page = wait_for("the task in the observer", LIMIT, || {
        let (code, body) = support::http("GET", &format!("{url}/j/task/{id}"), &[], b"");
        Some(body).filter(|body| code == 200 && body.contains("running"))
    });
    assert!(page.contains(r#""running":["p"]"#) || page.contains(r#""running": ["p"]"#), "{page}");
    let (code, log) = support::http("GET", &format!("{url}/logdata/{id}/p/0/stdout?offset=0&length=99"), &[], b"");
    assert!(code == 200 && log.contains("here"), "{code} {log}");
    let _ = observer.kill();
    let _ = observer.wait();
    assert_eq!(machine.thermos(&["kill", "d-"]).expect_code(0).stdout, format!("Killing {id}...done.\n"));
    assert!(machine.status().contains("state: KILLED"));
}

fn observer_url(observer: &mut Child) -> String {
    use std::io::BufRead;
    let (out, err) = (observer.stdout.take().unwrap(), observer.stderr.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    for stream in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    loop {
        let line = lines.recv_timeout(LIMIT).expect("the observer says where it listens");
        if let Some(at) = line.find("http://") {
            return line[at..].split_whitespace().next().unwrap().trim_end_matches('/').to_owned();
        }
    }
}

#[test]
fn whoever_dies_the_task_comes_to_an_end_that_is_known() {
    let machine = Machine::new();
    let file = machine
        .write("s.thermos", "export(Task(name = 's', processes = [Process(name = 'p', cmdline = 'sleep 1000')]))\n");
    let sandbox = machine.path("sandbox");
    // The terminal's process is gone: the task is killed.
    let mut run = machine.start(&["run", &file, "--sandbox", &sandbox, "--task_id", "one"]);
    machine.wait_for_status("state: RUNNING");
    run.kill().unwrap();
    run.wait().unwrap();
    machine.wait_for_status("state: KILLED");
    // The supervisor is gone: the runner cleans up.
    machine.thermos(&["run", "--daemon", &file, "--sandbox", &sandbox, "--task_id", "two"]).expect_code(0);
    let (runner, supervisor) = processes_of_task(&machine);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    machine.wait_for_status("state: LOST");
    wait_for("the end of the runner", LIMIT, || (!is_alive(runner)).then_some(()));
    // Both are gone: the task is what `thermos kill` has to end.
    machine.thermos(&["run", "--daemon", &file, "--sandbox", &sandbox, "--task_id", "three"]).expect_code(0);
    let process = process_pid(&machine);
    let (runner, supervisor) = processes_of_task(&machine);
    for pid in [runner, supervisor] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    wait_for("the end of the supervisor", LIMIT, || (!is_alive(supervisor)).then_some(()));
    assert!(is_alive(process) && machine.status().contains("Active tasks:\n  three"), "{}", machine.status());
    assert_eq!(machine.thermos(&["kill", "three"]).expect_code(0).stdout, "Killing three...done.\n");
    wait_for("the end of the process", LIMIT, || (!is_alive(process)).then_some(()));
    let status = machine.status();
    assert!(!status.contains("Active tasks:") && status.contains("three"), "{status}");
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| !text.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
}

/// Runner and supervisor of the one task that runs.
fn processes_of_task(machine: &Machine) -> (i32, i32) {
    let shell = process_pid(machine);
    let parent = |pid: i32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        text.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let supervisor = parent(shell);
    (parent(supervisor), supervisor)
}

fn process_pid(machine: &Machine) -> i32 {
    let status = machine.thermos(&["status", "--only", "active", "--verbosity", "3"]).stdout;
    let line = status.lines().find(|line| line.contains("state: RUNNING")).unwrap_or_else(|| panic!("{status}"));
    line.split("pid: ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn root_runs_tasks_as_other_users_and_others_only_their_own() {
    let machine = Machine::new();
    if !is_root() {
        let done = machine.thermos(&["simplerun", "--user", "root", "--", "true"]).expect_code(6);
        assert!(done.stderr.starts_with("Only root can run a task as another user"), "{}", done.stderr);
        return;
    }
    let done =
        machine.thermos(&["simplerun", "--user", "nobody", "--", "id -un; touch mine; stat -c %U mine"]).expect_code(0);
    assert!(done.stdout.ends_with("\nnobody\nnobody\n"), "{}", done.stdout);
    // A plain user needs no directories of the system.
    let home = machine.folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let link = machine.folder.path().join("plain").join("thermos");
    std::fs::create_dir(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(public_binary(), &link).unwrap();
    let file = machine.write("f.thermos", "export(SimpleTask('mine', 'id -un; pwd'))\n");
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&link).args(arguments);
        let output = command.env("HOME", &home).env_remove("XDG_STATE_HOME").current_dir(&home).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = as_nobody(&["run", &file]);
    assert!(
        code == Some(0) && text.contains("nobody\n") && text.contains("/home/.local/state/daybreak/thermos/sandbox\n"),
        "{text}"
    );
    let (code, text) = as_nobody(&["status", "mine"]);
    assert!(code == Some(0) && text.contains("Finished tasks:\n  mine-"), "{text}");
    let (code, text) = as_nobody(&["run", &file, "--enable_chroot"]);
    assert!(code == Some(6) && text.contains("Only root"), "{text}");
}

#[test]
fn the_sandbox_can_be_the_root_directory() {
    if !is_root() {
        eprintln!("only root can change the root directory; the refusal is shown elsewhere");
        return;
    }
    let machine = Machine::new();
    let sandbox = machine.folder.path().join("sandbox");
    // Enough of a system for bash: itself, with its libraries.
    let libraries = Command::new("ldd").arg("/bin/bash").output().unwrap();
    let text = String::from_utf8(libraries.stdout).unwrap();
    let needed = text.split_whitespace().filter(|word| word.starts_with('/')).chain(["/bin/bash"]);
    for path in needed {
        let target = sandbox.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, &target).unwrap();
    }
    let file = machine.write("c.thermos", "export(SimpleTask('c', 'pwd; echo *; echo $HOME'))\n");
    let done = machine.run(&file, &["--enable_chroot"]).expect_code(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(
        lines[0] == "/" && lines[1].contains("bin") && !lines[1].contains("etc") && lines[2] == "/root",
        "{}",
        done.stdout
    );
}

#[test]
fn a_task_that_lost_runner_and_supervisor_is_resumed_by_its_id() {
    let machine = Machine::new();
    let text = "first = Process(name = 'first', cmdline = 'echo >> n')\n\
        second = Process(name = 'second', cmdline = 'test -e begun || { touch begun; exec sleep 1000; }; wc -l < n')\n\
        export(SequentialTask(name = 's', processes = [first, second]))\n";
    let file = machine.write("s.thermos", text);
    let sandbox = machine.path("sandbox");
    machine.thermos(&["run", "--daemon", &file, "--sandbox", &sandbox, "--task_id", "t"]).expect_code(0);
    wait_for("the second process", LIMIT, || std::path::Path::new(&sandbox).join("begun").exists().then_some(()));
    let (runner, supervisor) = processes_of_task(&machine);
    let still = machine.run(&file, &[]).expect_code(6);
    assert!(still.stderr.contains("cannot be resumed: it still runs"), "{}", still.stderr);
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        [runner, supervisor].iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
    }
    wait_for("the end of the supervisor", LIMIT, || (!is_alive(supervisor)).then_some(()));
    let done = machine.run(&file, &[]).expect_code(0);
    assert!(done.stdout.ends_with("1\n") && done.stderr.contains("SUCCESS"), "{} {}", done.stdout, done.stderr);
    let status = machine.status();
    assert!(!status.contains("Active tasks:") && status.contains("state: SUCCESS"), "{status}");
}
