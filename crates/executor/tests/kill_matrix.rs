//! kill -9 of engine, supervisor and launcher, alone and in pairs, as this user and, when that is root, as a plain one. After each: no
//! process of a task is left that nobody looks after, every run is over with what is known of its end, and nothing is started twice.

mod harness;

use checkpoint::protocol::SlotSpecification;
use checkpoint::record::{ProcessState, StatusReason, StatusState};
use harness::{Engine, eventually, folder, is_alive, kill_9, payload, pid_in, start_launcher, users};

/// A task that runs until it is killed, with a daemon that has left its session; both note their pids.
const LONG: &str = "(setsid bash -c 'echo $$ > daemon; while :; do sleep 0.05; done' &); \
                    while ! test -s daemon; do sleep 0.01; done; echo $$ > pid; while :; do sleep 0.05; done";

struct Running {
    engine: Engine,
    slot: u64,
    supervisor: i32,
    pids: [i32; 2],
    root: tempfile::TempDir,
    user: Option<u32>,
}

fn running(user: Option<u32>) -> Running {
    let root = folder();
    let mut engine = Engine::start_as(root.path(), 1, user);
    let slot = engine.start_task("t", payload(LONG));
    engine.until_running(slot);
    let pids = [pid_in(&engine.run("t"), "pid"), pid_in(&engine.run("t"), "daemon")];
    let supervisor = engine.slots[&slot].ready.pid;
    Running { engine, slot, supervisor, pids, root, user }
}

/// Kills the task, which must still be under control, and checks that nothing of it is left.
fn kill_and_check(engine: &mut Engine, slot: u64, pids: [i32; 2]) {
    engine.kill(slot, "t", 100);
    let state = engine.until_over("t");
    assert_eq!(state.last_status().unwrap().state(), StatusState::Killed);
    assert!(pids.into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn the_engine_dies_and_the_next_one_finds_the_task_as_it_was() {
    for user in users() {
        let Running { mut engine, slot, pids, root, .. } = running(user);
        let launcher = engine.launcher.take();
        // The death of an engine is the end of its connections.
        drop(engine);
        let mut next = Engine::attach(root.path(), 2);
        next.launcher = launcher;
        assert_eq!(next.slots[&slot].ready.run_directory, next.run("t").root().to_str().unwrap());
        assert!(pids.into_iter().all(is_alive), "the same processes go on");
        kill_and_check(&mut next, slot, pids);
    }
}

#[test]
fn what_ended_while_there_was_no_engine_is_recorded_exactly() {
    for user in users() {
        let root = folder();
        let mut engine = Engine::start_as(root.path(), 1, user);
        let slot = engine.start_task("t", payload("while ! test -e go; do sleep 0.02; done; exit 42"));
        engine.until_running(slot);
        let launcher = engine.launcher.take();
        let run = engine.run("t");
        drop(engine);
        std::fs::write(run.sandbox().join("go"), "").unwrap();
        let mut next = Engine::attach(root.path(), 2);
        next.launcher = launcher;
        let state = next.until_over("t");
        assert_eq!(state.last_status().unwrap().message, "Task failed: process p exited with status 42.");
    }
}

#[test]
fn the_supervisor_dies_and_all_it_started_with_it() {
    for user in users() {
        let Running { mut engine, slot, supervisor, pids, root: _root, .. } = running(user);
        kill_9(supervisor);
        let state = engine.until_over("t");
        let last = state.last_status().unwrap();
        assert_eq!((last.state(), last.reason()), (StatusState::Lost, StatusReason::SupervisorTerminated));
        assert_eq!(last.message, "Task lost: the task's supervisor ended unexpectedly; exit code unknown.");
        assert_eq!(last.return_code, None, "no code is invented");
        assert_eq!(state.processes["p"][0].state(), ProcessState::Lost);
        assert!(pids.into_iter().all(|pid| !is_alive(pid)));
        engine.until("word of the slot's end", |engine| engine.ended == [slot]);
    }
}

#[test]
fn a_process_that_ended_before_its_dead_supervisor_saw_it_keeps_its_code() {
    for (user, code, expected) in
        users().into_iter().flat_map(|user| [(user, 0, StatusState::Finished), (user, 5, StatusState::Failed)])
    {
        let root = folder();
        let mut engine = Engine::start_as(root.path(), 1, user);
        let cmdline = format!("echo $$ > pid; while ! test -e go; do sleep 0.02; done; exit {code}");
        let slot = engine.start_task("t", payload(&cmdline));
        let pid = pid_in(&engine.run("t"), "pid");
        engine.until_running(slot);
        let supervisor = engine.slots[&slot].ready.pid;
        // A stopped supervisor sees nothing; its child becomes a zombie.
        executor::system::wait::signal(supervisor, libc::SIGSTOP);
        std::fs::write(engine.run("t").sandbox().join("go"), "").unwrap();
        eventually("the process to end", || !is_alive(pid));
        kill_9(supervisor);
        let state = engine.until_over("t");
        assert_eq!(state.processes["p"][0].return_code, Some(code));
        let last = state.last_status().unwrap();
        assert_eq!((last.state(), last.return_code), (expected, Some(code)));
    }
}

#[test]
fn the_launcher_dies_and_the_task_goes_on_under_the_next_one() {
    for user in users() {
        let Running { mut engine, slot, supervisor, pids, root, user } = running(user);
        kill_9(engine.launcher_pid());
        engine.launcher.take().unwrap().wait().unwrap();
        // The task channel does not go through the launcher: statuses still arrive, and so do kills.
        let launcher = start_launcher(root.path(), user);
        drop(engine);
        let mut next = Engine::attach(root.path(), 2);
        next.launcher = Some(launcher);
        next.until("the supervisor to present itself", |next| next.slots.contains_key(&slot));
        assert_eq!(next.slots[&slot].ready.pid, supervisor);
        assert!(pids.into_iter().all(is_alive), "the same processes go on");
        kill_and_check(&mut next, slot, pids);
        eventually("the supervisor to retire", || !is_alive(supervisor));
    }
}

#[test]
fn without_a_launcher_a_task_still_ends_and_is_recorded() {
    for user in users() {
        let Running { mut engine, slot, pids, supervisor, root: _root, .. } = running(user);
        kill_9(engine.launcher_pid());
        engine.launcher.take().unwrap().wait().unwrap();
        engine.kill(slot, "t", 100);
        assert_eq!(engine.statuses(slot).last().unwrap().state(), StatusState::Killed);
        assert!(pids.into_iter().all(|pid| !is_alive(pid)));
        eventually("the supervisor to end", || !is_alive(supervisor));
    }
}

#[test]
fn launcher_and_supervisor_die_and_the_next_launcher_cleans_up() {
    for user in users() {
        let Running { mut engine, supervisor, pids, root, user, .. } = running(user);
        kill_9(engine.launcher_pid());
        kill_9(supervisor);
        engine.launcher.take().unwrap().wait().unwrap();
        eventually("the supervisor to end", || !is_alive(supervisor));
        drop(engine);
        let launcher = start_launcher(root.path(), user);
        let mut next = Engine::attach(root.path(), 2);
        next.launcher = Some(launcher);
        let state = next.until_over("t");
        let last = state.last_status().unwrap();
        assert_eq!(last.state(), StatusState::Lost);
        assert!(last.message.ends_with("exit code unknown."), "{}", last.message);
        assert_eq!(last.return_code, None);
        // Nobody is left who could wait for them; their sandbox names them.
        eventually("the process to be killed", || !is_alive(pids[0]));
        eventually("the daemon to be killed", || !is_alive(pids[1]));
    }
}

#[test]
fn engine_and_supervisor_die_together() {
    for user in users() {
        let Running { mut engine, supervisor, pids, root, .. } = running(user);
        let launcher = engine.launcher.take();
        kill_9(supervisor);
        drop(engine);
        let mut next = Engine::attach(root.path(), 2);
        next.launcher = launcher;
        let state = next.until_over("t");
        assert_eq!(state.last_status().unwrap().state(), StatusState::Lost);
        assert!(pids.into_iter().all(|pid| !is_alive(pid)));
    }
}

#[test]
fn a_deposed_engine_is_refused_and_its_channels_are_dead() {
    let Running { mut engine, slot, pids, root, .. } = running(None);
    let mut next = Engine::attach(root.path(), 2);
    next.launcher = engine.launcher.take();
    // The old engine wakes up and goes on as if nothing had happened.
    engine.kill(slot, "t", 0);
    let idle = next.slot(SlotSpecification::default());
    let launch = next.launch_of("other", payload("true"));
    next.launch(idle, launch);
    next.statuses(idle);
    assert!(pids.into_iter().all(is_alive), "a kill of a lower epoch has no effect");
    let late = Engine::attach(root.path(), 1);
    assert!(late.refused.as_ref().is_some_and(|reason| reason.contains("epoch 1 is over")), "{:?}", late.refused);
    kill_and_check(&mut next, slot, pids);
}

#[test]
fn a_run_of_an_earlier_boot_is_lost_and_its_pids_are_left_alone() {
    let root = folder();
    let engine = Engine::start(root.path(), 1);
    // A bystander that happens to have the pid that was recorded before the machine was booted anew.
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let run = engine.run("old");
    std::fs::create_dir_all(run.sandbox()).unwrap();
    let mut writer = checkpoint::stream::Writer::create(&run.checkpoint()).unwrap();
    let pid = bystander.id() as i32;
    let start_ticks = executor::system::procfs::stat(pid).unwrap().start_ticks;
    writer.push(checkpoint::record::Header {
        task_id: "old".into(),
        boot_id: "another boot".into(),
        supervisor_pid: pid,
        supervisor_start_ticks: start_ticks,
        ..Default::default()
    });
    writer.push(checkpoint::record::ProcessRecord {
        process: "p".into(),
        state: ProcessState::Running.into(),
        pid: Some(pid),
        start_ticks: Some(start_ticks),
        ..Default::default()
    });
    writer.commit().unwrap();
    drop(engine);
    let mut next = Engine::start(root.path(), 2);
    let state = next.until_over("old");
    assert_eq!(state.last_status().unwrap().reason(), StatusReason::AgentRestarted);
    assert!(is_alive(pid));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn a_recycled_pid_is_not_killed() {
    let root = folder();
    let engine = Engine::start(root.path(), 1);
    let mut bystander = std::process::Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    let pid = bystander.id() as i32;
    let run = engine.run("old");
    std::fs::create_dir_all(run.sandbox()).unwrap();
    let mut writer = checkpoint::stream::Writer::create(&run.checkpoint()).unwrap();
    let start_ticks = executor::system::procfs::stat(pid).unwrap().start_ticks;
    writer.push(checkpoint::record::Header {
        task_id: "old".into(),
        boot_id: executor::system::procfs::boot_id().unwrap(),
        supervisor_pid: pid,
        // The numbers are the bystander's, but what was recorded had started long before.
        supervisor_start_ticks: start_ticks - 500,
        ..Default::default()
    });
    writer.push(checkpoint::record::ProcessRecord {
        process: "p".into(),
        state: ProcessState::Running.into(),
        pid: Some(pid),
        start_ticks: Some(start_ticks - 500),
        ..Default::default()
    });
    writer.commit().unwrap();
    drop(engine);
    let mut next = Engine::start(root.path(), 2);
    assert_eq!(next.until_over("old").last_status().unwrap().state(), StatusState::Lost);
    assert!(is_alive(pid));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}
