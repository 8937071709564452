//! No-op tasks through the whole engine (offers, launches, statuses, acknowledgements; no scheduler and no journal), beside
//! `xargs -P2 -n1 bash -c true` in the same run.
//!
//! `cargo bench -p engine-local --bench noop -- [TASKS] [CORES]`; the directory is `$DAYBREAK_BENCH_DIR` or the target directory.

#[path = "../../executor/tests/built/mod.rs"]
mod built;
#[path = "../../executor/benches/reference/mod.rs"]
mod reference;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use engine::{Call, Engine, Event, EventSink, Launch};
use engine_local::{LocalEngine, Options};
use model::{CpuMillis, JobKey, TaskConfig, TaskId};

struct Sink(Sender<Event>);

impl EventSink for Sink {
    fn send(&self, event: Event) -> bool {
        self.0.send(event).is_ok()
    }
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let tasks = numbers.first().copied().unwrap_or(2_000);
    let cores = numbers.get(1).copied().unwrap_or(2);
    let folder = tempfile::Builder::new().prefix("engine").tempdir_in(reference::directory()).expect("a folder");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    for round in 1..=3 {
        let xargs = reference::xargs(tasks);
        let elapsed = through_the_engine(&folder.path().join(round.to_string()), built::executor(), tasks, cores);
        let rate = |elapsed: Duration| tasks as f64 / elapsed.as_secs_f64();
        println!(
            "round {round}: xargs -P2 {:.0}/s; engine with {cores} cores {:.0}/s = {:.2} of xargs",
            rate(xargs),
            rate(elapsed),
            rate(elapsed) / rate(xargs)
        );
    }
}

fn login() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn through_the_engine(root: &Path, executable: &Path, tasks: usize, cores: usize) -> Duration {
    let options = Options {
        state_dir: root.to_owned(),
        executable: executable.to_owned(),
        resources: Some(format!("cpus:{cores};mem:100000;disk:100000")),
        ..Options::default()
    };
    let (sender, events) = channel();
    let mut engine = LocalEngine::start(options, Arc::new(Sink(sender))).expect("the engine starts");
    let payload = r#"{"task": {"name": "t", "processes": [{"name": "p", "cmdline": "true"}]}}"#;
    let config = Arc::new(TaskConfig::new(JobKey::new(login(), "bench", "noop"), 1.0, 16, 16, payload));
    let began = Instant::now();
    run(&mut engine, &events, &config, tasks);
    let elapsed = began.elapsed();
    engine.control().shut_down(Duration::from_secs(20));
    elapsed
}

/// A scheduler that knows no queue but a number: fills every offer.
fn run(engine: &mut LocalEngine, events: &Receiver<Event>, config: &Arc<TaskConfig>, tasks: usize) {
    let (mut launched, mut over) = (0, 0);
    while over < tasks {
        let mut calls = Vec::new();
        let first = events.recv().expect("the engine lives");
        for event in std::iter::once(first).chain(std::iter::from_fn(|| events.try_recv().ok())) {
            match event {
                Event::Offers(offers) => {
                    for offer in offers {
                        let room = (offer.resources.cpu.0 / config.resources.cpu.0) as usize;
                        let launches: Vec<Launch> =
                            (0..room.min(tasks - launched)).map(|more| launch(launched + more, config)).collect();
                        launched += launches.len();
                        calls.push(Call::Accept { offers: vec![offer.id], launches });
                    }
                }
                Event::Status(status) => {
                    over += usize::from(status.state.is_terminal());
                    if let Some(token) = status.token {
                        calls.push(Call::Acknowledge { task_id: status.task_id, agent_id: None, token });
                    }
                }
                _ => {}
            }
        }
        engine.call(1, calls);
    }
}

fn launch(number: usize, config: &Arc<TaskConfig>) -> Launch {
    Launch {
        task_id: TaskId(format!("task-{number}").into()),
        instance: 0,
        config: Arc::clone(config),
        resources: model::Resources { cpu: CpuMillis(1000), ram_mb: 16 + 128, ..config.resources },
        revocable: false,
        ports: BTreeMap::new(),
        assigned_ms: 0,
    }
}
