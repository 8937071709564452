//! The executor on an agent that is played by the test: real processes, real sockets, the real executable. As this user, and where that
//! is root with a role that is another user.

mod agent;
mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent::{Agent, Executor, task, task_of};
use checkpoint::layout::OutputStream;
use checkpoint::replay::RunState;
use harness::{eventually, executable, folder, is_alive, kill_9, payload, pid_in};
use mesos::v1::executor::event::Type;
use mesos::v1::task_status::Source;
use mesos::v1::{DurationInfo, KillPolicy, TaskId, TaskInfo, TaskState};
use serde_json::json;

fn sentence(state: TaskState, message: &str) -> (TaskState, String) {
    (state, message.to_owned())
}

#[test]
fn a_task_is_run_reported_and_left_where_tools_look_for_it() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("echo {{mesos.instance}} {{mesos.hostname}}; id -un; env | sort")));
    let status = executor.end();
    assert!(status.success(), "{status}: {}", executor.log());
    assert_eq!(
        agent.told("t"),
        [
            sentence(TaskState::Starting, ""),
            sentence(TaskState::Running, "No health-check defined, task is assumed healthy."),
            sentence(TaskState::Finished, "Task finished."),
        ]
    );
    for update in agent.updates() {
        let uuid = update.uuid.unwrap();
        assert_eq!((uuid.len(), uuid[6] >> 4, uuid[8] >> 6), (16, 4, 0b10), "version 4, as agents want it: {uuid:?}");
        assert_eq!(update.source, Some(Source::Executor as i32));
        assert_eq!(update.executor_id.unwrap().value, "e");
        assert_eq!(update.agent_id, Some(agent::agent_id()));
        assert!(update.timestamp.unwrap() > 1e9 && update.reason.is_none());
    }
    let output = std::fs::read_to_string(executor.run.log("p", 0, OutputStream::Stdout)).unwrap();
    assert!(output.starts_with("5 host\n") && !output.contains("MESOS_"), "{output}");
    if rustix::process::geteuid().is_root() {
        assert_eq!(output.lines().nth(1), Some("nobody"));
    }
    let thermos = executor.run.root().join("checkpoints");
    assert!(thermos.join("tasks/finished/t").is_file() && !thermos.join("tasks/active/t").exists());
    assert!(std::fs::metadata(thermos.join("checkpoints/t/runner")).unwrap().len() > 100);
    assert!(RunState::load(&executor.run.checkpoint()).unwrap().is_over());
}

#[test]
fn a_second_task_is_refused_and_the_first_goes_on() {
    let agent = Agent::start();
    let executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("sleep 1000")));
    agent.until_state("t", TaskState::Running);
    agent.launch(task("t", payload("true")));
    agent.launch(task("u", payload("true")));
    agent.until_state("u", TaskState::Lost);
    assert_eq!(agent.told("u"), [sentence(TaskState::Lost, "Task already running on this executor: t")]);
    assert_eq!(agent.states("t").last(), Some(&TaskState::Running));
    drop(executor);
}

#[test]
fn what_cannot_be_run_fails_with_its_reason_and_ends_the_executor() {
    let garbage = TaskInfo {
        task_id: TaskId { value: "t".into() },
        data: Some(b"\x0cgarbage"[..].into()),
        ..TaskInfo::default()
    };
    for (info, states, why) in [
        (garbage, vec![TaskState::Failed], "Could not deserialize task."),
        (task("t", b"{".to_vec()), vec![TaskState::Starting, TaskState::Failed], "the executor data is not JSON"),
        (
            task("t", payload("echo {{thermos.ports[x]}}")),
            vec![TaskState::Starting, TaskState::Failed],
            "unbound port x",
        ),
    ] {
        let agent = Agent::start();
        let mut executor = Executor::start(&agent);
        agent.until_subscribed(1);
        agent.launch(info);
        assert!(executor.end().success());
        let told = agent.told("t");
        assert_eq!(told.iter().map(|(state, _)| *state).collect::<Vec<_>>(), states);
        let last = &told.last().unwrap().1;
        assert!(last.contains(why), "{last}");
    }
}

#[test]
fn an_unknown_user_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (flags, role) in [(vec![], "no-such-user"), (vec!["--execute-as-user", "no-such-user"], "root")] {
        let agent = Agent::start();
        let mut executor = Executor::start_with(&agent, &flags, &[]);
        agent.until_subscribed(1);
        agent.launch(task_of("t", payload("true"), role, None));
        executor.end();
        let last = agent.told("t").pop().unwrap();
        assert_eq!(last.0, TaskState::Failed);
        assert!(last.1.starts_with("Failed to initialize sandbox: ") && last.1.contains("no-such-user"), "{}", last.1);
    }
    let agent = Agent::start();
    let mut executor = Executor::start_with(&agent, &["--nosetuid"], &[]);
    agent.until_subscribed(1);
    agent.launch(task_of("t", payload("id -un"), "no-such-user", None));
    executor.end();
    assert_eq!(agent.states("t").last(), Some(&TaskState::Finished));
    let output = std::fs::read_to_string(executor.run.log("p", 0, OutputStream::Stdout)).unwrap();
    assert_eq!(output, "root\n");
}

#[test]
fn a_kill_is_done_within_its_grace_and_told_once() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")));
    agent.until_state("t", TaskState::Running);
    let pid = pid_in(&executor.run, "pid");
    agent.kill("other", None);
    let began = Instant::now();
    let policy = |ms: i64| Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: ms * 1_000_000 }) });
    agent.kill("t", policy(60_000));
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(pid));
    // A later kill shortens the time.
    agent.kill("t", policy(500));
    assert!(executor.end().success());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(!is_alive(pid));
    assert_eq!(agent.told("t")[2..], [sentence(TaskState::Killed, "Instructed to kill task.")]);
}

#[test]
fn shutdown_ends_the_task_within_the_agents_grace() {
    for signalled in [false, true] {
        let agent = Agent::start();
        let mut executor = Executor::start_with(&agent, &[], &[("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "2secs")]);
        agent.until_subscribed(1);
        agent.launch(task("t", payload("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")));
        agent.until_state("t", TaskState::Running);
        let pid = pid_in(&executor.run, "pid");
        let began = Instant::now();
        if signalled {
            executor::system::wait::signal(executor.process.id() as i32, libc::SIGTERM);
        } else {
            agent.plain(Type::Shutdown);
        }
        assert!(executor.end().success());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(agent.told("t")[2..], [sentence(TaskState::Killed, "Told to shut down executor.")]);
        assert!(!is_alive(pid));
    }
    let agent = Agent::start();
    let mut idle = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.plain(Type::Shutdown);
    assert!(idle.end().success());
}

#[test]
fn an_agent_that_comes_back_is_told_what_it_has_not_stored() {
    let agent = Agent::start();
    agent.be_silent(true);
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    assert_eq!(agent.subscriptions()[0], Default::default());
    agent.launch(task("t", payload("until test -e go; do sleep 0.05; done")));
    agent.until_state("t", TaskState::Running);
    agent.refuse(Some(503));
    agent.disconnect();
    // The task ends while there is no agent.
    std::fs::write(executor.run.sandbox().join("go"), "").unwrap();
    let checkpoint = executor.run.checkpoint();
    eventually("the end of the task", || RunState::load(&checkpoint).is_ok_and(|state| state.is_over()));
    std::thread::sleep(Duration::from_millis(300));
    assert!(executor.is_alive(), "it waits for an agent that stores the end");
    agent.be_silent(false);
    agent.refuse(None);
    agent.until_subscribed(2);
    let told = agent.subscriptions().pop().unwrap();
    assert_eq!(told.unacknowledged_tasks.len(), 1);
    assert_eq!(told.unacknowledged_tasks[0].task_id.value, "t");
    let states: Vec<TaskState> = told.unacknowledged_updates.iter().map(|update| update.status.state()).collect();
    assert_eq!(states, [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert!(executor.end().success());
}

#[test]
fn a_stored_update_is_not_told_again() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("until test -e go; do sleep 0.05; done")));
    agent.until_state("t", TaskState::Running);
    std::thread::sleep(Duration::from_millis(200));
    agent.disconnect();
    agent.until_subscribed(2);
    assert_eq!(agent.subscriptions()[1], Default::default());
    std::fs::write(executor.run.sandbox().join("go"), "").unwrap();
    assert!(executor.end().success());
    assert_eq!(agent.states("t"), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert_eq!(agent.updates().len(), 3, "each was sent once");
}

#[test]
fn the_executor_ends_only_when_the_end_is_stored() {
    let agent = Agent::start();
    agent.be_silent(true);
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("true")));
    agent.until_state("t", TaskState::Finished);
    std::thread::sleep(Duration::from_millis(500));
    assert!(executor.is_alive());
    agent.be_silent(false);
    agent.disconnect();
    assert!(executor.end().success());
}

#[test]
fn without_checkpointing_the_end_of_the_agent_is_the_end() {
    let agent = Agent::start();
    let mut executor = Executor::start_with(&agent, &[], &[("MESOS_CHECKPOINT", "0")]);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("echo $$ > pid; exec sleep 1000")));
    agent.until_state("t", TaskState::Running);
    let pid = pid_in(&executor.run, "pid");
    agent.disconnect();
    executor.end();
    assert!(!is_alive(pid));
    assert_eq!(agent.subscriptions().len(), 1);
}

#[test]
fn an_agent_away_for_too_long_is_given_up() {
    let agent = Agent::start();
    let mut executor = Executor::start_with(&agent, &[], &[("MESOS_RECOVERY_TIMEOUT", "1secs")]);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("echo $$ > pid; exec sleep 1000")));
    agent.until_state("t", TaskState::Running);
    let pid = pid_in(&executor.run, "pid");
    agent.refuse(Some(503));
    agent.disconnect();
    executor.end();
    assert!(!is_alive(pid));
}

#[test]
fn the_death_of_the_supervisor_is_reported() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    let stray = "setsid bash -c 'echo $$ > stray; exec sleep 1000' & echo $$ > pid; wait";
    agent.launch(task("t", payload(stray)));
    agent.until_state("t", TaskState::Running);
    let pids = [pid_in(&executor.run, "pid"), pid_in(&executor.run, "stray")];
    kill_9(executor.supervisor());
    assert!(executor.end().success());
    let last = agent.told("t").pop().unwrap();
    assert_eq!(last.0, TaskState::Lost);
    assert!(last.1.contains("supervisor ended unexpectedly"), "{}", last.1);
    assert!(pids.into_iter().all(|pid| !is_alive(pid)));
    assert!(executor.run.root().join("checkpoints/tasks/finished/t").exists());
}

#[test]
fn the_death_of_the_executor_is_the_end_of_its_task() {
    let agent = Agent::start();
    let executor = Executor::start(&agent);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")));
    agent.until_state("t", TaskState::Running);
    let (pid, supervisor) = (pid_in(&executor.run, "pid"), executor.supervisor());
    kill_9(executor.process.id() as i32);
    eventually("the end of both", || !is_alive(pid) && !is_alive(supervisor));
}

#[test]
fn health_gates_running_here_too() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    let body = json!({
        "task": {"name": "t", "processes": [{"name": "p", "cmdline": "sleep 1000"}]},
        "health_check_config": {
            "health_checker": {"shell": {"shell_command": "test -e sandbox/ready"}},
            "initial_interval_secs": 0, "interval_secs": 0.1, "max_consecutive_failures": 1000,
        },
        "lifecycle": {},
    });
    agent.launch(task("t", body.to_string().into_bytes()));
    agent.until_state("t", TaskState::Starting);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(agent.states("t"), [TaskState::Starting]);
    std::fs::write(executor.run.sandbox().join("ready"), "").unwrap();
    agent.until_state("t", TaskState::Running);
    assert_eq!(agent.told("t")[1].1, "Task is healthy.");
    agent.kill("t", None);
    assert!(executor.end().success());
}

#[test]
fn a_failed_health_check_is_the_reason_and_the_executors_own_log_says_what_was_done() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    let body = json!({
        "task": {"name": "t", "processes": [{"name": "p", "cmdline": "trap 'exit 0' TERM; while :; do sleep 0.05; done"}]},
        "health_check_config": {
            "health_checker": {"shell": {"shell_command": "test ! -e sandbox/ill || { echo so ill; exit 4; }"}},
            "initial_interval_secs": 0, "interval_secs": 0.1, "max_consecutive_failures": 1,
        },
        "lifecycle": {},
    });
    agent.launch(task("t", body.to_string().into_bytes()));
    agent.until_state("t", TaskState::Running);
    std::fs::write(executor.run.sandbox().join("ill"), "").unwrap();
    assert!(executor.end().success());
    let reason = "Command 'test ! -e sandbox/ill || { echo so ill; exit 4; }' returned non-zero exit status 4 with output 'so ill\n'";
    assert_eq!(agent.told("t")[2], sentence(TaskState::Failed, &format!("Failed health check! {reason}")));
    let log = std::fs::read_to_string(executor.run.root().join("__main__.log")).unwrap();
    let mut from = 0;
    for part in [
        "daybreak-executor",
        "subscribed",
        "t is started in",
        "process p, run 0: runs, pid ",
        "health check 1 succeeded",
        "status Running: Task is healthy.",
        " failed: Command 'test",
        "t: Failed health check! ",
        "SIGTERM to ",
        "process p, run 0: exited with status 0",
        "update for the agent: Failed Failed health check! ",
        "the last update is stored; the end",
    ] {
        let at = log[from..].find(part).unwrap_or_else(|| panic!("{part:?} after byte {from} of\n{log}"));
        from += at;
    }
    assert!(log.lines().all(|line| line.starts_with("20") && line.contains("Z [")), "{log}");
}

#[test]
fn the_token_is_used_and_kept_from_the_task() {
    let agent = Agent::start();
    let token = [("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "secret-token"), ("LANG", "C.UTF-8")];
    let mut executor = Executor::start_with(&agent, &["--preserve_env"], &token);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("env; cat /proc/$PPID/environ | tr '\\0' '\\n'; true")));
    assert!(executor.end().success());
    assert!(agent.heads().iter().all(|head| head.contains("Authorization: Bearer secret-token\r\n")));
    assert!(agent.heads().iter().all(|head| head.starts_with("POST /api/v1/executor HTTP/1.1\r\n")));
    let output = std::fs::read_to_string(executor.run.log("p", 0, OutputStream::Stdout)).unwrap();
    assert!(output.contains("MESOS_EXECUTOR_ID=e") && output.contains("LANG=C.UTF-8"), "{output}");
    assert!(!output.contains("secret-token"), "{output}");
}

#[test]
fn a_socket_of_the_machine_is_preferred() {
    let folder = folder();
    let path: PathBuf = folder.path().join("agent.sock");
    let agent = Agent::start_unix(&path);
    let mut executor = Executor::start_with(&agent, &[], &[("MESOS_DOMAIN_SOCKET", path.to_str().unwrap())]);
    agent.until_subscribed(1);
    agent.launch(task("t", payload("true")));
    assert!(executor.end().success());
    assert_eq!(agent.states("t"), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
}

#[test]
fn an_executor_without_a_task_ends() {
    let agent = Agent::start();
    let mut executor = Executor::start(&agent);
    agent.until_subscribed(1);
    let began = Instant::now();
    assert!(executor.end().success());
    assert!((9..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(executor.log().contains("no task came"), "{}", executor.log());
}

#[test]
fn started_by_hand_it_says_what_it_is_for() {
    let run = |arguments: &[&str]| Command::new(executable()).args(arguments).env_clear().output().unwrap();
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by an Apache Mesos agent"));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version, format!("daybreak-executor {}\n", env!("CARGO_PKG_VERSION")));
    assert!(String::from_utf8(run(&["--help"]).stdout).unwrap().contains("--announcer-ensemble"));
    assert!(Path::new(&executable()).exists());
}
