//! The daemon killed with SIGKILL fifty times under a stream of creates and kills: every answered job is there once afterwards,
//! every running task is still the same process, and no process is left when all is killed (reliability T25).

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::wire::{self, WireTask};
use support::{Daemon, login, wait_for};

/// How often the daemon is killed.
const KILLS: u32 = 50;
/// Between two requests of the stream: enough to keep the history small, short enough to be in the middle of one when killed.
const PAUSE: Duration = Duration::from_millis(2);
/// Live jobs the stream keeps at most.
const MAX_LIVE_JOBS: usize = 24;

/// What was asked for, and what was answered.
#[derive(Default)]
struct Ledger {
    /// Creates answered OK and not asked to be killed since.
    alive: BTreeSet<String>,
    /// Kills answered OK.
    killed: BTreeSet<String>,
    /// Creates or kills that got no answer: either way is right.
    unknown: BTreeSet<String>,
}

/// A small generator, so that a failing run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// Creates and kills jobs until told to stop or the daemon is gone.
fn stream(url: &str, role: &str, ledger: &mut Ledger, random: &mut Random, next: &mut u32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        let create = ledger.alive.len() < 4 || (ledger.alive.len() < MAX_LIVE_JOBS && random.below(3) > 0);
        if create {
            let name = format!("job-{next}");
            *next += 1;
            match wire::create(url, wire::job(role, &name, 1, true, "exec sleep 100000")) {
                Ok((code, message)) => {
                    assert_eq!(code, wire::OK, "create of {name}: {message}");
                    ledger.alive.insert(name);
                }
                Err(_) => {
                    ledger.unknown.insert(name);
                    return;
                }
            }
        } else {
            let chosen = random.below(ledger.alive.len() as u64) as usize;
            let name = ledger.alive.iter().nth(chosen).expect("one is alive").clone();
            ledger.alive.remove(&name);
            match wire::kill(url, role, &name) {
                Ok((code, message)) => {
                    assert_eq!(code, wire::OK, "kill of {name}: {message}");
                    ledger.killed.insert(name);
                }
                Err(_) => {
                    ledger.unknown.insert(name);
                    return;
                }
            }
        }
    }
}

/// Pid of the process of a running task, and the start time that tells it from a later owner of the number.
fn process_of(daemon: &Daemon, task: &WireTask) -> Option<(i64, String)> {
    let (status, body) = daemon.get(&format!("/files/{}", task.id));
    let json: serde_json::Value = (status == 200).then(|| serde_json::from_str(&body).ok()).flatten()?;
    let pid = json["processes"][0]["runs"].as_array()?.last()?["pid"].as_i64()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22 counts from behind the command's name, which may hold blanks.
    let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
    Some((pid, start))
}

fn check(daemon: &Daemon, ledger: &Ledger, before: &BTreeMap<String, (i64, String)>, round: u32) {
    let settled = wait_for("every answered job to be settled", Duration::from_secs(60), || {
        let tasks = wire::tasks(&daemon.url).ok()?;
        let active = |name: &str| tasks.iter().filter(|task| task.job == name && task.is_active()).count();
        for name in &ledger.alive {
            assert_eq!(active(name), 1, "round {round}: {name} was answered and must be there once: {tasks:?}");
        }
        let running = |name: &String| tasks.iter().any(|task| task.job == **name && task.is_running());
        let settled = ledger.alive.iter().all(running) && ledger.killed.iter().all(|name| active(name) == 0);
        settled.then_some(tasks)
    });
    for task in settled.iter().filter(|task| task.is_running()) {
        if let Some(old) = before.get(&task.id) {
            let now = process_of(daemon, task);
            assert_eq!(now.as_ref(), Some(old), "round {round}: {} is another process now", task.id);
        }
    }
    // A task that ran when the daemon died and was not killed must not have been replaced.
    for id in before.keys() {
        let task = settled.iter().find(|task| task.id == *id);
        let wanted = task.is_some_and(|task| ledger.alive.contains(&task.job));
        assert!(!wanted || task.is_some_and(WireTask::is_running), "round {round}: {id} was lost: {task:?}");
    }
}

#[test]
fn fifty_kills_lose_nothing_and_double_nothing() {
    let seed = std::env::var("DAYBREAK_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("repeat with DAYBREAK_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let role = login();
    let mut daemon = Daemon::start(&["--allow-root-role"]);
    let mut ledger = Ledger::default();
    let mut next = 0;
    for round in 0..KILLS {
        let stop = AtomicBool::new(false);
        let pause = Duration::from_millis(20 + random.below(300));
        let url = daemon.url.clone();
        let mut before = BTreeMap::new();
        std::thread::scope(|scope| {
            let (ledger, random, next, stop, role) = (&mut ledger, &mut random, &mut next, &stop, &role);
            let streaming = scope.spawn(move || stream(&url, role, ledger, random, next, stop));
            std::thread::sleep(pause);
            let listed = wire::tasks(&daemon.url);
            for task in listed.iter().flatten().filter(|task| task.is_running()) {
                if let Some(process) = process_of(&daemon, task) {
                    before.insert(task.id.clone(), process);
                }
            }
            daemon.kill_nine();
            stop.store(true, Ordering::Relaxed);
            streaming.join().unwrap();
            listed.unwrap();
        });
        daemon.restart();
        check(&daemon, &ledger, &before, round);
    }
    for name in ledger.alive.iter().chain(&ledger.unknown) {
        let (code, message) = wire::kill(&daemon.url, &role, name).unwrap();
        assert_eq!(code, wire::OK, "{message}");
    }
    wait_for("every task to end", Duration::from_secs(60), || {
        wire::tasks(&daemon.url).unwrap().iter().all(|task| !task.is_active()).then_some(())
    });
    wait_for("every process to be gone", Duration::from_secs(20), || orphans(&daemon).is_empty().then_some(()));
    println!(
        "{} jobs created, {} kills answered, {} outcomes unknown",
        next,
        ledger.killed.len(),
        ledger.unknown.len()
    );
}

/// Processes of tasks of this daemon: the sleeps whose working directory lies in its state.
fn orphans(daemon: &Daemon) -> Vec<i32> {
    let is_sleep =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
    support::processes_of(&daemon.state).into_iter().filter(is_sleep).collect()
}
