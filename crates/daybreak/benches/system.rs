//! The whole system on a real disk: no-op batch tasks beside `xargs` in the same minute, and the way from submission to a running
//! process on an idle machine. `cargo bench -p daybreak --bench system [TASKS]`.
//!
//! Reports ratios and CPU per part; absolute times on a busy machine mean little.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Daemon, login, wait_for, wire};

/// Instances a job may have.
const MAX_INSTANCES: usize = 4000;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2000usize);
    let peer = xargs(count);
    let (ours, cpu) = noop(count);
    println!(
        "no-op tasks           xargs -P2 -n1 bash -c true: {peer:8.0}/s   daybreak: {ours:8.0}/s   ratio {:.2}",
        ours / peer
    );
    for (part, seconds) in cpu {
        println!("  cpu of {part:<12} {:8.0} us per task", seconds * 1e6 / count as f64);
    }
    latency(200);
}

/// No-op processes per second by xargs.
fn xargs(count: usize) -> f64 {
    let started = Instant::now();
    let script = format!("seq {count} | xargs -P2 -n1 bash -c true");
    let status = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).status().expect("xargs runs");
    assert!(status.success());
    count as f64 / started.elapsed().as_secs_f64()
}

/// No-op tasks per second through create, journal, engine, executor and back, and the CPU seconds of each part.
fn noop(count: usize) -> (f64, Vec<(String, f64)>) {
    let daemon = Daemon::start_in(bench_directory(), &["--allow-root-role", "--log-level", "warn"]);
    let before = cpu_by_part(&daemon);
    let started = Instant::now();
    let mut left = count;
    let mut jobs = 0;
    while left > 0 {
        let instances = left.min(MAX_INSTANCES);
        let job = wire::job(&login(), &format!("noop-{jobs}"), instances as i64, false, "true");
        let answer = wire::create(&daemon.url, job).unwrap();
        assert_eq!(answer.0, wire::OK, "{}", answer.1);
        left -= instances;
        jobs += 1;
    }
    wait_for("all tasks to finish", Duration::from_secs(600), || {
        // Counters are cheap to read; asking for all tasks would be part of the load.
        let (_, vars) = daemon.get("/vars");
        let value = |name: &str| {
            let line = vars.lines().find(|line| line.split(' ').next() == Some(name));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).unwrap_or(0)
        };
        let (finished, failed) = (value("task_store_FINISHED"), value("task_store_FAILED") + value("task_store_LOST"));
        assert_eq!(failed, 0, "no task may fail");
        (finished >= count).then_some(())
    });
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let after = cpu_by_part(&daemon);
    let cpu = after.into_iter().map(|(part, seconds)| {
        let earlier = before.iter().find(|(name, _)| *name == part).map_or(0.0, |(_, seconds)| *seconds);
        (part, seconds - earlier)
    });
    (rate, cpu.collect())
}

/// A directory on the disk that holds the build, not in memory.
fn bench_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("daybreak-bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// CPU seconds of the daemon, its launcher, the supervisors and the tasks that have ended, which the supervisors have waited for. The
/// kernel gives the last in hundredths of a second for each supervisor, the others exactly.
fn cpu_by_part(daemon: &Daemon) -> Vec<(String, f64)> {
    let ticks = 100.0;
    let mut parts: Vec<(String, f64)> = Vec::new();
    for pid in support::processes_of(&daemon.state) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let field =
            |n: usize| fields.split_whitespace().nth(n - 3).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
        let name = match pid {
            _ if pid == daemon.pid() => "daemon",
            _ if field(4) as i32 == daemon.pid() => "launcher",
            _ => "supervisors",
        };
        for (part, seconds) in [(name, own_cpu(pid)), ("tasks", (field(16) + field(17)) / ticks)] {
            match parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, sum)) => *sum += seconds,
                None => parts.push((part.to_owned(), seconds)),
            }
        }
    }
    parts
}

/// CPU seconds of the living threads of a process.
fn own_cpu(pid: i32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// From the moment a submission is sent to the moment its process started, on an idle machine.
fn latency(count: usize) {
    let daemon = Daemon::start_in(bench_directory(), &["--allow-root-role", "--log-level", "warn"]);
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_secs_f64() * 1e3
    };
    let mut delays_ms = Vec::new();
    for round in 0..count {
        let name = format!("latency-{round}");
        // The process itself says when it began.
        let job = wire::job(&login(), &name, 1, false, "date +%s%N > started");
        let sent_ms = clock();
        wire::create(&daemon.url, job).unwrap();
        let task = wait_for("the task", Duration::from_secs(20), || {
            let tasks = wire::tasks(&daemon.url).unwrap();
            tasks.into_iter().find(|task| task.job == name && !task.is_active())
        });
        let (_, body) = daemon.get(&format!("/files/{}", task.id));
        let sandbox = serde_json::from_str::<serde_json::Value>(&body).unwrap()["sandbox"].as_str().unwrap().to_owned();
        let text = std::fs::read_to_string(format!("{sandbox}/started")).unwrap();
        delays_ms.push(text.trim().parse::<f64>().unwrap() / 1e6 - sent_ms);
    }
    delays_ms.sort_by(f64::total_cmp);
    let at = |share: f64| delays_ms[((count - 1) as f64 * share) as usize];
    println!("submit to running     median {:.1} ms   p99 {:.1} ms   ({count} jobs, one at a time)", at(0.5), at(0.99));
}
