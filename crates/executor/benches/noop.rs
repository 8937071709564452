//! No-op tasks through launcher and slots, checkpoints and logs on a real disk, beside `xargs -P2 -n1 bash -c true` in the same run.
//!
//! `cargo bench -p executor --bench noop -- [TASKS] [SLOTS]`; the directory is `$DAYBREAK_BENCH_DIR` or the target directory.

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use checkpoint::protocol::SlotSpecification;
use harness::{Engine, payload};

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let tasks = numbers.first().copied().unwrap_or(2_000);
    let slots = numbers.get(1).copied().unwrap_or(2);
    let parent = std::env::var_os("DAYBREAK_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::Builder::new().prefix("noop").tempdir_in(parent).expect("a folder for the measurement");
    for round in 1..=3 {
        let reference = xargs(tasks);
        let root = folder.path().join(round.to_string());
        std::fs::create_dir_all(&root).expect("a folder for the round");
        let (elapsed, first) = launcher_and_slots(&root, tasks, slots);
        let rate = |elapsed: Duration| f64::from(tasks) / elapsed.as_secs_f64();
        println!(
            "round {round}: xargs -P2 {:.0}/s; {slots} slots {:.0}/s = {:.2} of xargs; first task started after {:.1} ms",
            rate(reference),
            rate(elapsed),
            rate(elapsed) / rate(reference),
            first.as_secs_f64() * 1e3,
        );
    }
}

fn xargs(tasks: u32) -> Duration {
    let began = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-P2", "-n1", "bash", "-c", "true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("xargs is installed");
    let mut input = child.stdin.take().expect("a pipe");
    for number in 0..tasks {
        writeln!(input, "{number}").expect("xargs reads");
    }
    drop(input);
    child.wait().expect("xargs ends");
    began.elapsed()
}

fn launcher_and_slots(root: &std::path::Path, tasks: u32, slots: u32) -> (Duration, Duration) {
    let mut engine = Engine::start(root, 1);
    let began = Instant::now();
    let ids: Vec<u64> = (0..slots).map(|_| engine.slot(SlotSpecification::default())).collect();
    let payload = payload("true");
    let (mut launched, mut over) = (0, 0);
    let mut first = None;
    while over < tasks {
        for id in &ids {
            let slot = engine.slots.get_mut(id).expect("a slot stays");
            for (_, status) in slot.statuses.drain(..) {
                first.get_or_insert_with(|| began.elapsed());
                over += u32::from(status.state().is_terminal());
            }
            if slot.idle && launched < tasks {
                let launch = engine.launch_of(&format!("task-{launched}"), payload.clone());
                engine.launch(*id, launch);
                launched += 1;
            }
        }
        if over < tasks {
            engine.turn(1000);
        }
    }
    (began.elapsed(), first.unwrap_or_default())
}
