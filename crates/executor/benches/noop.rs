//! No-op tasks through launcher and slots, checkpoints and logs on a real disk, beside `xargs -P2 -n1 bash -c true` in the same run.
//!
//! `cargo bench -p executor --bench noop -- [TASKS] [SLOTS]`; the directory is `$DAYBREAK_BENCH_DIR` or the target directory.

#[path = "../tests/harness/mod.rs"]
mod harness;
mod reference;

use std::time::{Duration, Instant};

use checkpoint::protocol::SlotSpecification;
use harness::{Engine, payload};

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let tasks = numbers.first().copied().unwrap_or(2_000);
    let slots = numbers.get(1).copied().unwrap_or(2);
    let folder = tempfile::Builder::new()
        .prefix("noop")
        .tempdir_in(reference::directory())
        .expect("a folder for the measurement");
    for round in 1..=3 {
        let xargs = reference::xargs(tasks as usize);
        let root = folder.path().join(round.to_string());
        std::fs::create_dir_all(&root).expect("a folder for the round");
        let (elapsed, first) = launcher_and_slots(&root, tasks, slots);
        let rate = |elapsed: Duration| f64::from(tasks) / elapsed.as_secs_f64();
        println!(
            "round {round}: xargs -P2 {:.0}/s; {slots} slots {:.0}/s = {:.2} of xargs; first task started after {:.1} ms",
            rate(xargs),
            rate(elapsed),
            rate(elapsed) / rate(xargs),
            first.as_secs_f64() * 1e3,
        );
    }
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
