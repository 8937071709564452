//! What version 0.1.0 wrote and said, recorded from its processes, must be understood by every later version: a daemon may be
//! replaced under running tasks, and then finds the launcher, the supervisors and the checkpoints of the version before.
//!
//! The recording: a daemon starts, runs a service and a task that fails, is killed with SIGKILL; the next one adopts the service and
//! kills it. Never change the files; later formats get files of their own beside them.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use checkpoint::protocol::{
    FromLauncher, FromLauncherBody, FromLauncherToSlot, FromLauncherToSlotBody, FromSlot, FromSlotBody, Incoming,
    ToLauncher, ToLauncherBody, ToSlot, ToSlotBody, encode,
};
use checkpoint::record::{ProcessState, StatusReason, StatusState, TaskState};
use checkpoint::replay::RunState;

const WEB: &str = "www-data-prod-web-0-0ed56dab-8b69-4765-8ddd-cbe76bbe5812";
const FAIL: &str = "www-data-prod-fail-0-e50c7076-5718-458f-b446-88152da89eef";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/0.1.0").join(name)
}

/// The message in a frame. What is sent today for the same thing must be what was sent then: an old neighbour reads it.
fn read<M: prost::Message + Default + PartialEq + Debug>(frame: &[u8]) -> M {
    let mut incoming = Incoming::default();
    incoming.extend(frame);
    let message: M = incoming.next_message().unwrap().expect("a whole message");
    let mut again = Vec::new();
    encode(&message, &mut again);
    assert_eq!(again, frame, "{message:?}");
    message
}

fn to_launcher(frame: &[u8]) -> String {
    match read::<ToLauncher>(frame).body.expect("a known kind") {
        ToLauncherBody::Hello(hello) => format!("Hello epoch {} pid {}", hello.epoch, hello.pid),
        ToLauncherBody::CreateSlot(slot) => format!(
            "CreateSlot {} for {} memory {} cpu {} tasks {} idle {}",
            slot.slot_id, slot.user, slot.memory_limit_bytes, slot.cpu_milli, slot.tasks_max, slot.idle_ms_max
        ),
        ToLauncherBody::Attached(attached) => {
            format!("Attached epoch {} running {:?}", attached.epoch, task_of(&attached.run_directory))
        }
        other => panic!("{other:?}"),
    }
}

fn from_launcher(frame: &[u8]) -> String {
    match read::<FromLauncher>(frame).body.expect("a known kind") {
        FromLauncherBody::Welcome(welcome) => format!(
            "Welcome pid {} version {} memory {} cpu {} because {:?}",
            welcome.pid,
            welcome.program_version,
            welcome.enforces_memory,
            welcome.enforces_cpu,
            welcome.unenforced_reason
        ),
        FromLauncherBody::SlotReady(ready) => {
            let slot = ready.specification.expect("what the slot is for");
            format!("SlotReady {} pid {} running {:?}", slot.slot_id, ready.pid, task_of(&ready.run_directory))
        }
        FromLauncherBody::SlotEnded(ended) => format!("SlotEnded {} {:?}", ended.slot_id, ended.run_directory),
        FromLauncherBody::InventoryEnd(_) => "InventoryEnd".to_owned(),
        other => panic!("{other:?}"),
    }
}

fn launcher_to_slot(frame: &[u8]) -> String {
    let Some(FromLauncherToSlotBody::Attach(attach)) = read::<FromLauncherToSlot>(frame).body else { panic!() };
    format!("Attach epoch {} slot {}", attach.epoch, attach.specification.expect("what the slot is for").slot_id)
}

fn to_slot(frame: &[u8]) -> String {
    match read::<ToSlot>(frame).body.expect("a known kind") {
        ToSlotBody::Launch(launch) => {
            assert!(launch.payload.starts_with(b"{") && !launch.engine_data.is_empty());
            format!(
                "Launch {} on {} of {} as {} ports {:?} memory {} disk {} every {}",
                launch.task_id,
                launch.agent_id,
                launch.hostname,
                launch.role,
                launch.ports,
                launch.memory_bytes,
                launch.disk_bytes,
                launch.disk_interval_ms
            )
        }
        ToSlotBody::Kill(kill) => format!("Kill {} within {}", kill.task_id, kill.grace_ms),
        ToSlotBody::Retire(_) => "Retire".to_owned(),
    }
}

fn from_slot(frame: &[u8]) -> String {
    let Some(FromSlotBody::Status(status)) = read::<FromSlot>(frame).body else { panic!() };
    let states: Vec<StatusState> = status.statuses.iter().map(|status| status.state()).collect();
    format!("Status {} {states:?} idle {}", status.task_id, status.idle)
}

fn task_of(run_directory: &str) -> &str {
    run_directory.rsplit('/').next().unwrap_or_default()
}

#[test]
fn the_recorded_conversation_is_understood_and_would_be_said_again_word_for_word() {
    let text = std::fs::read_to_string(golden("messages")).unwrap();
    let said: Vec<String> = text
        .lines()
        .map(|line| {
            let (direction, hex) = line.split_once(' ').unwrap();
            let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let frame: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
            match direction {
                "engine-to-launcher" | "slot-to-launcher" => to_launcher(&frame),
                "launcher-to-engine" => from_launcher(&frame),
                "launcher-to-slot" => launcher_to_slot(&frame),
                "engine-to-slot" => to_slot(&frame),
                "slot-to-engine" => from_slot(&frame),
                other => panic!("{other}"),
            }
        })
        .collect();
    let welcome = "Welcome pid 32628 version 0.1.0 memory true cpu true because \"\"";
    let slot = "for www-data memory 150994944 cpu 500 tasks 1000 idle 10000";
    let expected = [
        "Hello epoch 1 pid 32623".to_owned(),
        welcome.to_owned(),
        "InventoryEnd".to_owned(),
        format!("CreateSlot 4294967297 {slot}"),
        "Attach epoch 1 slot 4294967297".to_owned(),
        "Attached epoch 1 running \"\"".to_owned(),
        "SlotReady 4294967297 pid 32631 running \"\"".to_owned(),
        format!(
            "Launch {WEB} on agent-0 of agent-1.example as www-data ports {{\"http\": 31521}} memory 16777216 disk 33554432 \
             every 15000"
        ),
        format!("CreateSlot 4294967298 {slot}"),
        "Attach epoch 1 slot 4294967298".to_owned(),
        "SlotReady 4294967298 pid 32633 running \"\"".to_owned(),
        format!(
            "Launch {FAIL} on agent-0 of agent-1.example as www-data ports {{}} memory 16777216 disk 33554432 every 15000"
        ),
        "Attached epoch 1 running \"\"".to_owned(),
        format!("Status {WEB} [Starting, Running] idle false"),
        format!("Status {FAIL} [Starting, Running] idle false"),
        format!("Status {FAIL} [Failed] idle true"),
        "SlotEnded 4294967298 \"\"".to_owned(),
        // Another daemon.
        welcome.to_owned(),
        "Attach epoch 2 slot 4294967297".to_owned(),
        format!("Attached epoch 2 running \"{WEB}\""),
        format!("SlotReady 4294967297 pid 32631 running \"{WEB}\""),
        "InventoryEnd".to_owned(),
        format!("Status {WEB} [Killed] idle true"),
        "Hello epoch 2 pid 1206".to_owned(),
        format!("Kill {WEB} within 60000"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_recorded_checkpoint_of_a_running_task_tells_what_an_adopting_engine_needs() {
    let state = RunState::load(&golden("web-running.checkpoint")).unwrap();
    let header = state.header.as_ref().unwrap();
    assert_eq!((header.task_id.as_str(), header.agent_id.as_str()), (WEB, "agent-0"));
    assert_eq!((header.user.as_str(), header.uid, header.hostname.as_str()), ("www-data", Some(33), "agent-1.example"));
    assert_eq!(header.ports, [("http".to_owned(), 31521)].into());
    assert_eq!((header.memory_bytes, header.disk_bytes, header.slot_id), (16 << 20, 32 << 20, 4_294_967_297));
    assert_eq!(header.boot_id.len(), 36);
    assert_eq!(header.sandbox, format!("/var/lib/daybreak/local/agents/agent-0/tasks/{WEB}/sandbox"));
    assert!(!header.cgroups.is_empty() && !header.engine_data.is_empty() && header.supervisor_start_ticks > 0);
    assert!(!state.is_over() && state.was_running());
    let live: Vec<_> = state.live_runs().collect();
    let [run] = live.as_slice() else { panic!("{live:?}") };
    assert_eq!((run.process.as_str(), run.run, run.state()), ("web", 0, ProcessState::Running));
    assert!(run.pid.is_some() && run.start_ticks.is_some() && run.start_time_ms.is_some());
}

#[test]
fn recorded_checkpoints_of_ended_tasks_tell_how_they_ended() {
    let killed = RunState::load(&golden("web-killed.checkpoint")).unwrap();
    assert!(killed.is_over());
    assert_eq!(killed.task_state(), Some(TaskState::Killed));
    let status = killed.last_status().unwrap();
    assert_eq!((status.state(), status.message.as_str()), (StatusState::Killed, "Instructed to kill task."));
    assert_eq!(killed.processes["last"].last().unwrap().state(), ProcessState::Success, "the final process ran");

    let failed = RunState::load(&golden("fail.checkpoint")).unwrap();
    assert_eq!(failed.task_state(), Some(TaskState::Failed));
    let status = failed.last_status().unwrap();
    let told = (status.state(), status.reason(), status.return_code, status.message.as_str());
    let message = "Task failed: process p exited with status 3.";
    assert_eq!(told, (StatusState::Failed, StatusReason::Unspecified, Some(3), message));
    let states: Vec<StatusState> = failed.statuses.iter().map(|status| status.state()).collect();
    assert_eq!(states, [StatusState::Starting, StatusState::Running, StatusState::Failed]);
    assert_eq!(failed.processes["p"].last().unwrap().return_code, Some(3));
}
