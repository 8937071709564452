//! Tasks run by real supervisors: what happens, what is recorded and what is told. As this user and, when that is root, as a plain one.

mod harness;

use std::time::{Duration, Instant};

use checkpoint::layout::{OutputStream, RunDirectory};
use checkpoint::protocol::SlotSpecification;
use checkpoint::record::{ProcessState, StatusReason, StatusState, TaskState};
use checkpoint::replay::{RunState, is_legal_transition};
use checkpoint::stream::read_all;
use harness::{Engine, eventually, folder, is_alive, payload, payload_of, pid_in, users};
use serde_json::json;

fn states(statuses: &[checkpoint::record::StatusRecord]) -> Vec<StatusState> {
    statuses.iter().map(|status| status.state()).collect()
}

fn log_of(engine: &Engine, task: &str, process: &str, run: u32) -> String {
    std::fs::read_to_string(engine.run(task).log(process, run, OutputStream::Stdout)).unwrap()
}

/// Runs one task to its end.
fn run_to_end(payload: Vec<u8>) -> (Engine, Vec<checkpoint::record::StatusRecord>, RunState, tempfile::TempDir) {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.start_task("t", payload);
    let statuses = engine.statuses(slot);
    let state = engine.state("t");
    (engine, statuses, state, folder)
}

#[test]
fn a_task_starts_runs_and_finishes() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let slot = engine.start_task("t", payload("echo out; echo err >&2"));
        let statuses = engine.statuses(slot);
        assert_eq!(states(&statuses), [StatusState::Starting, StatusState::Running, StatusState::Finished]);
        assert_eq!(statuses[1].message, "No health-check defined, task is assumed healthy.");
        assert_eq!((statuses[2].message.as_str(), statuses[2].return_code), ("Task finished.", Some(0)));
        assert_eq!(log_of(&engine, "t", "p", 0), "out\n");
        let stderr = engine.run("t").log("p", 0, OutputStream::Stderr);
        assert_eq!(std::fs::read_to_string(stderr).unwrap(), "err\n");
        let state = engine.state("t");
        assert_eq!(state.task_state(), Some(TaskState::Success));
        assert!(state.header.is_some());
        assert_eq!(state.statuses, statuses, "what is told is what is recorded");
    }
}

#[test]
fn a_signal_to_its_supervisor_kills_a_task_and_no_other_signal_does() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.start_task("t", payload("echo $$ > pid; exec sleep 1000"));
    let process = pid_in(&engine.run("t"), "pid");
    let supervisor = engine.state("t").header.unwrap().supervisor_pid;
    executor::system::wait::signal(supervisor, libc::SIGTERM);
    executor::system::wait::signal(supervisor, libc::SIGUSR2);
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_alive(process), "it goes on");
    executor::system::wait::signal(supervisor, libc::SIGUSR1);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.message.as_str()), (StatusState::Killed, "Instructed to kill task."));
}

#[test]
fn the_records_of_a_run_follow_the_tables() {
    let processes = json!([
        {"name": "a", "cmdline": "test -e again || { touch again; exit 1; }", "max_failures": 3, "min_duration": 0},
        {"name": "z", "cmdline": "true", "final": true},
    ]);
    let (engine, _, _, _folder) = run_to_end(payload_of(&processes));
    let mut last: std::collections::BTreeMap<String, ProcessState> = Default::default();
    let mut stage = None;
    for record in read_all(&engine.run("t").checkpoint()).unwrap() {
        match record.entry.unwrap() {
            checkpoint::record::Entry::Process(process) => {
                let before = last.insert(process.process.clone(), process.state());
                assert!(is_legal_transition(before, process.state()), "{before:?} -> {process:?}");
            }
            checkpoint::record::Entry::Task(task) => {
                let next = model::process::TaskState::from_number(task.state).unwrap();
                assert!(model::process::TaskState::may_follow(stage, next), "{stage:?} -> {next:?}");
                stage = Some(next);
            }
            _ => {}
        }
    }
    assert_eq!(stage, Some(model::process::TaskState::Success));
    assert_eq!(last.len(), 2);
}

#[test]
fn a_failure_names_the_process_and_its_status() {
    let (_, statuses, state, _folder) = run_to_end(payload("exit 7"));
    assert_eq!(states(&statuses), [StatusState::Starting, StatusState::Running, StatusState::Failed]);
    assert_eq!(statuses[2].message, "Task failed: process p exited with status 7.");
    assert_eq!(statuses[2].return_code, Some(7));
    assert_eq!(state.task_state(), Some(TaskState::Failed));
    assert_eq!(state.processes["p"][0].return_code, Some(7));
}

#[test]
fn the_environment_is_exactly_that_of_the_specification() {
    let (engine, statuses, state, _folder) =
        run_to_end(payload("/usr/bin/env -0 | tr '\\0' '\\n' | cut -d= -f1 | sort; pwd; echo $HOME"));
    assert_eq!(statuses[2].state(), StatusState::Finished);
    let output = log_of(&engine, "t", "p", 0);
    let lines: Vec<&str> = output.lines().collect();
    // PWD, SHLVL and _ are bash's own.
    assert_eq!(lines[..lines.len() - 2], ["HOME", "LOGNAME", "PATH", "PWD", "SHLVL", "USER", "_"]);
    let sandbox = state.header.unwrap().sandbox;
    assert_eq!(lines[lines.len() - 2..], [sandbox.as_str(), sandbox.as_str()]);
}

#[test]
fn a_profile_written_by_one_process_is_read_by_the_next() {
    let processes = json!([
        {"name": "first", "cmdline": "echo 'export FOO=1 BAR=2' > .thermos_profile"},
        {"name": "second", "cmdline": "echo $FOO $BAR"},
    ]);
    let body = json!({"task": {"processes": processes, "constraints": [{"order": ["first", "second"]}]}});
    let (engine, _, _, _folder) = run_to_end(body.to_string().into_bytes());
    assert_eq!(log_of(&engine, "t", "second", 0), "1 2\n");
}

#[test]
fn late_templates_are_filled_in() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    let cmdline = "echo {{mesos.instance}} {{mesos.hostname}} {{thermos.task_id}} {{thermos.ports[http]}}";
    let mut launch = engine.launch_of("t", payload(cmdline));
    launch.instance = 4;
    launch.ports.insert("http".into(), 31_415);
    engine.launch(slot, launch);
    engine.statuses(slot);
    assert_eq!(log_of(&engine, "t", "p", 0), "4 host t 31415\n");
}

#[test]
fn what_cannot_be_understood_fails_with_its_reason_and_leaves_the_slot_usable() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    for (number, (bytes, reason)) in [
        (b"{".to_vec(), "not JSON"),
        (payload("echo {{thermos.ports[x]}}"), "unbound port x"),
        (payload_of(&json!([])), "no processes"),
        (payload_of(&json!([{"name": "../x", "cmdline": "true"}])), "../x"),
    ]
    .into_iter()
    .enumerate()
    {
        let launch = engine.launch_of(&format!("t{number}"), bytes);
        engine.launch(slot, launch);
        let statuses = engine.statuses(slot);
        assert_eq!(states(&statuses), [StatusState::Starting, StatusState::Failed]);
        assert!(statuses[1].message.contains(reason), "{}", statuses[1].message);
        assert_eq!(statuses[1].reason(), StatusReason::LaunchFailed);
    }
    let launch = engine.launch_of("good", payload("true"));
    engine.launch(slot, launch);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
}

#[test]
fn processes_keep_their_order_and_retry_and_run_final_ones_last() {
    let append = |name: &str| format!("echo {name} >> trace");
    let processes = json!([
        {"name": "b", "cmdline": append("b")},
        {"name": "a", "cmdline": format!("{}; test $(grep -c a trace) = 3", append("a")), "max_failures": 5, "min_duration": 0},
        {"name": "end", "cmdline": append("end"), "final": true},
    ]);
    let body = json!({"task": {"processes": processes, "constraints": [{"order": ["a", "b"]}]}});
    let (engine, statuses, state, _folder) = run_to_end(body.to_string().into_bytes());
    assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
    assert_eq!(std::fs::read_to_string(engine.run("t").sandbox().join("trace")).unwrap(), "a\na\na\nb\nend\n");
    let codes: Vec<_> = state.processes["a"].iter().map(|run| run.return_code).collect();
    assert_eq!(codes, [Some(1), Some(1), Some(0)]);
}

#[test]
fn a_failed_predecessor_ends_the_task_and_its_follower_never_runs() {
    let processes = json!([
        {"name": "a", "cmdline": "true"},
        {"name": "b", "cmdline": "exit 3", "max_failures": 2, "min_duration": 0},
        {"name": "c", "cmdline": "true"},
        {"name": "final", "cmdline": "exit 9", "final": true},
    ]);
    let body =
        json!({"task": {"processes": processes, "max_failures": 2, "constraints": [{"order": ["a", "b", "c"]}]}});
    let (_, statuses, state, _folder) = run_to_end(body.to_string().into_bytes());
    assert_eq!(statuses.last().unwrap().message, "Task failed: process b exited with status 3.");
    assert_eq!(state.processes["b"].len(), 2);
    assert!(!state.processes.contains_key("c"));
    assert_eq!(state.processes["final"][0].state(), ProcessState::Failed);
}

#[test]
fn an_ephemeral_process_is_ended_with_the_task_and_a_killed_one_runs_again() {
    let processes = json!([
        {"name": "main", "cmdline": "test -e once || { touch once; kill -9 $$; }; sleep 0.2", "min_duration": 0},
        {"name": "helper", "cmdline": "exec sleep 1000", "ephemeral": true},
    ]);
    let (_, statuses, state, _folder) = run_to_end(payload_of(&processes));
    assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
    let mains: Vec<_> = state.processes["main"].iter().map(|run| (run.state(), run.return_code)).collect();
    assert_eq!(mains, [(ProcessState::Killed, Some(-9)), (ProcessState::Success, Some(0))]);
    assert_eq!(state.processes["helper"].len(), 1);
    assert_eq!(state.processes["helper"][0].return_code, Some(-15));
}

#[test]
fn concurrency_is_bounded() {
    let one = |name: &str| json!({"name": name, "cmdline": "mkdir lock && sleep 0.1 && rmdir lock"});
    let processes = json!([one("a"), one("b"), one("c")]);
    let body = json!({"task": {"processes": processes, "max_concurrency": 1}});
    let (_, statuses, ..) = run_to_end(body.to_string().into_bytes());
    assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
}

#[test]
fn a_kill_asks_first_and_final_processes_still_run() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let processes = json!([
            {"name": "p", "cmdline": "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.05; done"},
            {"name": "z", "cmdline": "echo last > last", "final": true},
        ]);
        let slot = engine.start_task("t", payload_of(&processes));
        let pid = pid_in(&engine.run("t"), "pid");
        engine.kill(slot, "t", 20_000);
        let statuses = engine.statuses(slot);
        let last = statuses.last().unwrap();
        assert_eq!((last.state(), last.message.as_str()), (StatusState::Killed, "Instructed to kill task."));
        assert!(!is_alive(pid));
        for file in ["asked", "last"] {
            assert!(engine.run("t").sandbox().join(file).exists(), "{file}");
        }
    }
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_in_bounded_time_with_all_it_started() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        // A daemon as daemons are made: two forks and a session of its own. It ignores SIGTERM too.
        let cmdline = "trap '' TERM; (setsid bash -c 'trap \"\" TERM HUP; echo $$ > daemon; while :; do sleep 0.05; done' &) ; \
                       echo $$ > pid; while :; do sleep 0.05; done";
        let slot = engine.start_task("t", payload(cmdline));
        let (pid, daemon) = (pid_in(&engine.run("t"), "pid"), pid_in(&engine.run("t"), "daemon"));
        let began = Instant::now();
        engine.kill(slot, "t", 300);
        // Asking again changes nothing for the worse.
        engine.kill(slot, "t", 60_000);
        let statuses = engine.statuses(slot);
        assert!(
            (Duration::from_millis(300)..Duration::from_secs(5)).contains(&began.elapsed()),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(statuses.last().unwrap().state(), StatusState::Killed);
        assert_eq!(statuses.iter().filter(|status| status.state().is_terminal()).count(), 1);
        assert!(!is_alive(pid) && !is_alive(daemon));
    }
}

#[test]
fn a_daemonised_process_does_not_outlive_a_task_that_finishes() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        let processes = json!([
            {"name": "p", "cmdline": "(setsid bash -c 'trap \"touch asked; exit\" TERM; echo $$ > daemon; while :; do sleep 0.05; done' &); \
                                      while ! test -s daemon; do sleep 0.02; done"},
        ]);
        let slot = engine.start_task("t", payload_of(&processes));
        let statuses = engine.statuses(slot);
        let daemon = pid_in(&engine.run("t"), "daemon");
        assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
        assert!(!is_alive(daemon));
        assert!(engine.run("t").sandbox().join("asked").exists(), "it is asked before it is killed");
    }
}

#[test]
fn one_slot_runs_many_tasks_and_a_name_is_started_once() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification { tasks_max: 3, ..SlotSpecification::default() });
    for number in 0..3 {
        let launch = engine.launch_of(&format!("t{number}"), payload("echo x >> count"));
        engine.launch(slot, launch.clone());
        assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
        if number == 0 {
            engine.launch(slot, launch);
            engine.until("a refusal", |engine| !engine.slots[&slot].refusals.is_empty());
            assert!(engine.slots[&slot].refusals[0].already_started);
            assert_eq!(std::fs::read_to_string(engine.run("t0").sandbox().join("count")).unwrap(), "x\n");
        }
    }
    engine.until("the slot to retire", |engine| engine.ended == [slot]);
}

#[test]
fn as_root_processes_run_as_the_role_and_an_unknown_role_fails() {
    if !rustix::process::geteuid().is_root() {
        // There is nothing to choose for a plain user; the other tests show that its tasks run as itself.
        return;
    }
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    let mut launch = engine
        .launch_of("t", payload("id -un; id -G; stat -c %U . .logs/p/0/stdout; cat ../checkpoint || echo kept out"));
    launch.role = "nobody".to_owned();
    engine.launch(slot, launch);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
    let expected = std::process::Command::new("id").args(["-G", "nobody"]).output().unwrap();
    let groups = String::from_utf8(expected.stdout).unwrap();
    assert_eq!(log_of(&engine, "t", "p", 0), format!("nobody\n{groups}nobody\nnobody\nkept out\n"));
    let mut launch = engine.launch_of("unknown", payload("true"));
    launch.role = "no-such-user".to_owned();
    engine.launch(slot, launch);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), StatusState::Failed);
    assert!(last.message.contains("role no-such-user is no user of this machine"), "{}", last.message);
}

#[test]
fn a_sandbox_over_its_limit_fails_the_task() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    let mut launch = engine.launch_of("t", payload("head -c 3000000 /dev/zero > big; sleep 1000"));
    launch.disk_bytes = 1 << 20;
    launch.disk_interval_ms = 50;
    engine.launch(slot, launch);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.reason()), (StatusState::Failed, StatusReason::DiskLimit));
    let used = last.message.strip_prefix("Disk limit exceeded.  Reserved 1048576 bytes vs used ").expect("the wording");
    let used: u64 = used.strip_suffix(" bytes.").unwrap().parse().unwrap();
    assert!((3_000_000..4_000_000).contains(&used), "{used}");
}

#[test]
fn the_measured_size_of_a_sandbox_is_left_for_readers() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    let mut launch = engine.launch_of("t", payload("head -c 3000000 /dev/zero > big; sleep 1000"));
    launch.disk_bytes = 1 << 30;
    launch.disk_interval_ms = 50;
    let run = RunDirectory::new(&launch.run_directory);
    engine.launch(slot, launch);
    eventually("the size is known", || {
        checkpoint::disk::handed_over(&run).is_some_and(|bytes| (3_000_000..4_000_000).contains(&bytes))
    });
}

#[test]
fn memory_over_the_limit_fails_the_whole_task_and_names_limit_and_peak() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    if !engine.welcome.as_ref().unwrap().enforces_memory {
        assert!(!engine.welcome.as_ref().unwrap().unenforced_reason.is_empty(), "what is not enforced is said");
        return;
    }
    let slot = engine.slot(SlotSpecification { memory_limit_bytes: 64 << 20, ..SlotSpecification::default() });
    // The hog is a grandchild; its parent would carry on.
    let cmdline = "bash -c 'x=$(head -c 200000000 /dev/zero | tr \"\\0\" x); echo ${#x}'; sleep 1000";
    let mut launch = engine.launch_of("t", payload(cmdline));
    launch.memory_bytes = 32 << 20;
    engine.launch(slot, launch);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!((last.state(), last.reason()), (StatusState::Failed, StatusReason::MemoryLimit));
    assert_eq!(
        last.message,
        "Memory limit exceeded: Requested 32 MB (64 MB with the executor's overhead), Used 64 MB."
    );
    // The slot is as good as new.
    let launch = engine.launch_of("next", payload("true"));
    engine.launch(slot, launch);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
}

#[test]
fn rotated_logs_are_written_by_the_supervisor() {
    let logger = json!({"mode": "rotate", "rotate": {"log_size": 1000, "backups": 2}});
    // What is written faster than it is read may end up in one file, so each is waited for.
    let cmdline = "for n in 1 2 2; do seq 2000; until test -e .logs/p/0/stdout.$n; do sleep 0.01; done; done";
    let processes = json!([{"name": "p", "cmdline": cmdline, "logger": logger}]);
    let (engine, statuses, _, _folder) = run_to_end(payload_of(&processes));
    assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
    let logs = engine.run("t").process_logs("p", 0);
    let names: std::collections::BTreeSet<String> =
        std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["stderr", "stdout", "stdout.1", "stdout.2"]);
}

#[test]
fn an_idle_slot_retires_and_a_lonely_launcher_ends() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification { idle_ms_max: 100, ..SlotSpecification::default() });
    engine.until("the slot to retire", |engine| engine.ended == [slot]);
    let pid = engine.launcher_pid();
    let kept = engine.slot(SlotSpecification::default());
    let launch = engine.launch_of("t", payload("true"));
    engine.launch(kept, launch);
    engine.statuses(kept);
    let groups = engine.state("t").header.unwrap().cgroups;
    engine
        .tell(checkpoint::protocol::ToLauncherBody::DestroySlot(checkpoint::protocol::SlotReference { slot_id: kept }));
    engine.until("the slot's end", |engine| engine.ended.contains(&kept));
    let mut launcher = engine.launcher.take().unwrap();
    drop(engine);
    eventually("the launcher to end", || launcher.try_wait().unwrap().is_some());
    assert!(!is_alive(pid));
    for group in groups {
        let base = std::path::Path::new(&group).parent().unwrap().to_owned();
        assert!(!base.exists(), "{} is left behind", base.display());
    }
}

#[test]
fn a_daemon_runs_again_after_success_until_it_fails() {
    let cmdline = "echo x >> runs; test $(wc -l < runs) -lt 3";
    let processes = json!([{"name": "d", "cmdline": cmdline, "daemon": true, "min_duration": 0}]);
    let (_, statuses, state, _folder) = run_to_end(payload_of(&processes));
    assert_eq!(statuses.last().unwrap().message, "Task failed: process d exited with status 1.");
    let codes: Vec<_> = state.processes["d"].iter().map(|run| run.return_code).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(1)]);
}

#[test]
fn the_time_for_ending_is_bounded_after_a_natural_end_too() {
    let processes = json!([
        {"name": "main", "cmdline": "while ! test -e ready; do sleep 0.01; done"},
        {"name": "deaf", "cmdline": "trap '' TERM; touch ready; while :; do sleep 0.05; done", "ephemeral": true},
    ]);
    let body = json!({"task": {"processes": processes, "finalization_wait": 1}});
    let began = Instant::now();
    let (_, statuses, state, _folder) = run_to_end(body.to_string().into_bytes());
    assert_eq!(statuses.last().unwrap().state(), StatusState::Finished);
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(state.processes["deaf"][0].return_code, Some(-9));
}

#[test]
fn want_of_descriptors_is_a_named_failure_and_passes() {
    let folder = folder();
    let mut engine = Engine::start(folder.path(), 1);
    let slot = engine.slot(SlotSpecification::default());
    let supervisor = engine.slots[&slot].ready.pid;
    eventually("the supervisor to be at rest", || {
        std::fs::read_dir(format!("/proc/{supervisor}/fd")).is_ok_and(|list| list.count() >= 8)
    });
    let used = std::fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().count() as u64;
    // Enough for the checkpoint and the sandbox, too few for the logs.
    let pid = rustix::process::Pid::from_raw(supervisor);
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let tight = rustix::process::Rlimit { current: Some(used + 3), maximum: hard };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, tight).unwrap();
    let launch = engine.launch_of("tight", payload("true"));
    engine.launch(slot, launch);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), StatusState::Failed);
    assert!(last.message.contains("Too many open files"), "{}", last.message);
    let roomy = rustix::process::Rlimit { current: hard, maximum: hard };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, roomy).unwrap();
    let launch = engine.launch_of("roomy", payload("true"));
    engine.launch(slot, launch);
    assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Finished);
}

#[test]
fn want_of_processes_is_a_named_failure() {
    if !rustix::process::geteuid().is_root() {
        // A plain user has processes of its own, which count; root can borrow a uid that has none.
        return;
    }
    let folder = folder();
    // The launcher, the supervisor and two in advance: there is no room for a fifth.
    let mut engine = Engine::start_after(folder.path(), 1, Some(61_234), "ulimit -u 4");
    let slot = engine.slot(SlotSpecification::default());
    let launcher = engine.launcher_pid();
    eventually("the supervisors in advance", || {
        executor::system::procfs::all().iter().filter(|(_, stat)| stat.parent == launcher).count() == 3
    });
    let launch = engine.launch_of("t", payload("true"));
    engine.launch(slot, launch);
    let statuses = engine.statuses(slot);
    let last = statuses.last().unwrap();
    assert_eq!(last.state(), StatusState::Failed);
    assert!(
        last.message.contains("could not be started: starting a process: Resource temporarily"),
        "{}",
        last.message
    );
    assert!(engine.state("t").processes["p"][0].reason.is_some());
}

#[test]
fn tasks_get_the_limit_of_open_files_that_the_launcher_was_started_with() {
    let expected = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    let (engine, _, _, _folder) = run_to_end(payload("ulimit -Sn"));
    assert_eq!(log_of(&engine, "t", "p", 0).trim(), expected.to_string());
}

#[test]
fn processes_have_no_descriptors_but_their_three_and_no_blocked_signals() {
    let (engine, _, _, _folder) =
        run_to_end(payload("ls /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn' /proc/self/status; true"));
    // The fourth is the folder that ls itself reads. Ignored real-time signals would be those that this test was started with.
    let output = log_of(&engine, "t", "p", 0);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "4");
    assert_eq!(lines[1], "SigBlk:\t0000000000000000");
    let ignored = u64::from_str_radix(lines[2].rsplit('\t').next().unwrap(), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "{}", lines[2]);
}

#[test]
fn a_task_that_keeps_forking_is_killed_for_good() {
    for user in users() {
        let folder = folder();
        let mut engine = Engine::start_as(folder.path(), 1, user);
        // Each one starts the next in a session of its own and ends: whoever kills one by one comes too late.
        std::fs::write(folder.path().join("runner"), "#!/bin/bash\nsleep 0.02\nsetsid \"$0\" &\n").unwrap();
        let script = folder.path().join("runner");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cmdline = format!("for i in 1 2 3 4; do setsid {} & done; touch ready; sleep 1000", script.display());
        let slot = engine.start_task("t", payload(&cmdline));
        let ready = engine.run("t").sandbox().join("ready");
        eventually("the task to be at it", || ready.exists());
        engine.kill(slot, "t", 200);
        assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Killed);
        let left = || {
            executor::system::procfs::all().into_iter().any(|(pid, _)| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(script.to_str().unwrap()))
            })
        };
        assert!(!left());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!left(), "none is born again");
    }
}
