//! One task without any engine: the runner that the command line starts, with real processes.

mod harness;

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use checkpoint::channel::Channel;
use checkpoint::layout::{RUNNER_ARGUMENT, RunDirectory, below_thermos_root};
use checkpoint::protocol::{FromSlot, FromSlotBody, Kill, Launch, LaunchRefused, RunTask, ToRunner, ToRunnerBody};
use checkpoint::record::{ProcessState, TaskState};
use checkpoint::replay::RunState;
use checkpoint::thermos;
use harness::{eventually, executable, folder, is_alive, kill_9, payload, payload_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde_json::json;

/// A checkpoint root and a sandbox.
struct Place {
    folder: tempfile::TempDir,
}

struct Runner {
    process: Child,
    control: Option<Channel>,
    run: RunDirectory,
}

impl Place {
    fn new() -> Self {
        Self { folder: folder() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn sandbox(&self) -> PathBuf {
        self.folder.path().join("made/sandbox")
    }

    fn launch(&self, task_id: &str, payload: Vec<u8>) -> Launch {
        let sandbox = self.sandbox().to_str().unwrap().to_owned();
        Launch { task_id: task_id.into(), sandbox, payload, ..Launch::default() }
    }

    fn start(&self, launch: Launch, is_detached: bool) -> Runner {
        let (mut control, far) = Channel::pair().unwrap();
        let mut command = Command::new(executable());
        command.arg(RUNNER_ARGUMENT).stdin(far).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        let run = RunDirectory::new(below_thermos_root(&self.root(), &launch.task_id));
        let root = self.root().to_str().unwrap().to_owned();
        let body = ToRunnerBody::Run(RunTask { root, is_detached, launch: Some(launch) });
        control.send(&ToRunner { body: Some(body) }, None);
        assert!(!control.wants_to_send());
        Runner { process, control: Some(control), run }
    }

    /// What tools for Thermos know of a task.
    fn mirrored(&self, task_id: &str, list: &str) -> thermos::ThermosTask {
        let file = self.root().join("tasks").join(list).join(task_id);
        thermos::load(&self.root(), task_id, &file).unwrap()
    }
}

impl Runner {
    fn state(&self) -> RunState {
        RunState::load(&self.run.checkpoint()).unwrap_or_default()
    }

    fn refusal(&mut self) -> LaunchRefused {
        let control = self.control.as_mut().unwrap();
        loop {
            if let Some(FromSlot { body: Some(FromSlotBody::LaunchRefused(refused)) }) = control.next_message().unwrap()
            {
                return refused;
            }
            let timeout = Timespec::try_from(Duration::from_secs(20)).unwrap();
            let ready = poll(&mut [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap();
            assert!(ready == 1 && !control.is_ended(), "the runner says nothing");
            control.receive();
        }
    }

    fn kill(&mut self, grace_ms: u64) {
        let body = ToRunnerBody::Kill(Kill { grace_ms, ..Kill::default() });
        self.control.as_mut().unwrap().send(&ToRunner { body: Some(body) }, None);
    }

    fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    fn pid_of_p(&self) -> i32 {
        let mut pid = None;
        eventually("the process to run", || {
            pid = self.state().processes.get("p").and_then(|runs| runs.last()?.pid);
            pid.is_some()
        });
        pid.unwrap()
    }
}

#[test]
fn a_task_runs_in_the_named_sandbox_and_is_told_in_the_form_of_thermos() {
    let place = Place::new();
    let mut launch = place.launch("t", payload("echo $PWD $HOME {{thermos.ports[http]}} > out; echo said"));
    launch.ports.insert("http".into(), 81);
    let mut runner = place.start(launch, false);
    assert_eq!(runner.wait(), Some(0));
    let sandbox = place.sandbox();
    let shown = sandbox.display();
    assert_eq!(fs::read_to_string(sandbox.join("out")).unwrap(), format!("{shown} {shown} 81\n"));
    assert_eq!(fs::read_to_string(sandbox.join(".logs/p/0/stdout")).unwrap(), "said\n");
    assert_eq!(runner.state().task_state(), Some(TaskState::Success));
    let task = place.mirrored("t", "finished");
    assert_eq!(task.state.task_state(), Some(TaskState::Success));
    assert_eq!(task.logs, sandbox.join(".logs"));
    assert_eq!(task.state.processes["p"][0].return_code, Some(0));
    assert!(String::from_utf8_lossy(&task.task_json).contains(" 81 "), "with what was filled in");
    assert!(!place.root().join("tasks/active/t").exists());
    // The id is taken for good.
    let mut again = place.start(place.launch("t", payload("true")), false);
    let refused = again.refusal();
    assert!(refused.already_started, "{refused:?}");
    assert_ne!(again.wait(), Some(0));
}

#[test]
fn nobody_watches_its_health_and_its_runs_have_no_limit() {
    let place = Place::new();
    let processes = json!([{"name": "p", "max_failures": 0, "min_duration": 0,
        "cmdline": "echo >> n; test $(wc -l < n) -gt 120"}]);
    let mut launch = place.launch("t", payload_of(&processes));
    // A port of that name is probed where an executor runs the task.
    launch.ports.insert("health".into(), 1);
    let mut runner = place.start(launch, false);
    assert_eq!(runner.wait(), Some(0));
    assert_eq!(runner.state().task_state(), Some(TaskState::Success));
    assert_eq!(runner.state().processes["p"].len(), 121);
}

#[test]
fn it_is_killed_on_request_and_when_whoever_started_it_is_gone() {
    let place = Place::new();
    let sleeper = "trap 'echo asked > asked; exit 0' TERM; touch ready; while :; do sleep 0.05; done";
    for how in ["asked", "gone", "signal"] {
        let mut runner = place.start(place.launch(how, payload(sleeper)), false);
        let pid = runner.pid_of_p();
        eventually("the trap", || place.sandbox().join("ready").exists());
        match how {
            "asked" => runner.kill(60_000),
            "gone" => runner.control = None,
            _ => executor::system::wait::signal(runner.process.id().cast_signed(), libc::SIGINT),
        }
        assert_eq!(runner.wait(), Some(0), "{how}");
        assert_eq!(runner.state().task_state(), Some(TaskState::Killed), "{how}");
        assert!(!is_alive(pid), "{how}");
        for made in ["asked", "ready"] {
            fs::remove_file(place.sandbox().join(made)).unwrap();
        }
    }
}

#[test]
fn a_detached_one_goes_on_and_knows_the_end_of_its_supervisor() {
    let place = Place::new();
    let mut runner = place.start(place.launch("t", payload("sleep 1000")), true);
    let pid = runner.pid_of_p();
    runner.control = None;
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(pid), "nobody has to be there");
    kill_9(runner.state().header.unwrap().supervisor_pid);
    assert_eq!(runner.wait(), Some(0));
    assert!(!is_alive(pid));
    assert_eq!(runner.state().task_state(), Some(TaskState::Lost));
    assert_eq!(place.mirrored("t", "finished").state.task_state(), Some(TaskState::Lost));
    let log = fs::read_to_string(runner.run.root().join("runner.log")).unwrap();
    assert!(log.contains("the supervisor ended unexpectedly"), "{log}");
}

#[test]
fn a_sandbox_that_cannot_be_made_is_the_tasks_failure() {
    let place = Place::new();
    let mut launch = place.launch("t", payload("true"));
    launch.sandbox = "/proc/none/here".into();
    let mut runner = place.start(launch, false);
    assert_eq!(runner.wait(), Some(0));
    let state = runner.state();
    let message = &state.last_status().unwrap().message;
    assert!(message.starts_with("Failed to initialize sandbox: /proc/none/here: "), "{message}");
}

/// Ends runner and supervisor so that neither sees the end of the other.
fn end_both(runner: &mut Runner) {
    let supervisor = runner.state().header.unwrap().supervisor_pid;
    let both = [runner.process.id() as i32, supervisor];
    let pids = both.map(|pid| rustix::process::Pid::from_raw(pid).unwrap());
    for signal in [Signal::STOP, Signal::KILL] {
        pids.iter().for_each(|pid| rustix::process::kill_process(*pid, signal).unwrap());
    }
    runner.process.wait().unwrap();
    eventually("the supervisor's end", || !is_alive(supervisor));
}

#[test]
fn a_task_whose_runner_and_supervisor_died_is_resumed_where_it_was() {
    let place = Place::new();
    let processes = json!([
        {"name": "first", "cmdline": "echo >> first"},
        {"name": "p", "max_failures": 2, "cmdline": "echo >> second; test $(wc -l < second) -gt 1 || exec sleep 1000"},
        {"name": "last", "cmdline": "echo >> last"},
    ]);
    let mut task: serde_json::Value = serde_json::from_slice(&payload_of(&processes)).unwrap();
    task["task"]["constraints"] = json!([{"order": ["first", "p", "last"]}]);
    let order = || serde_json::to_vec(&task).unwrap();
    let mut runner = place.start(place.launch("t", order()), false);
    let pid = runner.pid_of_p();
    // As long as it runs, and as another task or elsewhere, it is not taken over.
    let refused = |launch: Launch| {
        let mut other = place.start(launch, false);
        let refused = other.refusal();
        assert_ne!(other.wait(), Some(0));
        assert!(refused.already_started);
        refused.reason
    };
    assert!(refused(place.launch("t", order())).contains("it still runs"));
    end_both(&mut runner);
    assert!(is_alive(pid), "nobody was there to end it");
    assert!(refused(place.launch("t", payload("true"))).contains("another task"));
    let elsewhere = Launch { sandbox: "/elsewhere".into(), ..place.launch("t", order()) };
    assert!(refused(elsewhere).contains("its sandbox is"));
    assert!(is_alive(pid), "a refusal changes nothing");

    let mut again = place.start(place.launch("t", order()), false);
    assert_eq!(again.wait(), Some(0));
    assert!(!is_alive(pid), "what was left of it is gone");
    let lines = |name: &str| fs::read_to_string(place.sandbox().join(name)).unwrap().lines().count();
    assert_eq!((lines("first"), lines("second"), lines("last")), (1, 2, 1));
    let state = again.state();
    assert_eq!(state.task_state(), Some(TaskState::Success));
    let ends = |state: &RunState| state.processes["p"].iter().map(|run| run.state()).collect::<Vec<_>>();
    assert_eq!(ends(&state), [ProcessState::Lost, ProcessState::Success]);
    assert_eq!(state.processes["first"].len(), 1);
    let told = place.mirrored("t", "finished");
    assert_eq!((ends(&told.state), told.state.task_state()), (ends(&state), state.task_state()));
    assert!(refused(place.launch("t", order())).contains("it is over"));
}
