//! `aurora job inspect` of the tutorial's file as its user runs it: a whole process, with the child that evaluates the file. Budget:
//! 150 ms. `cargo bench -p daybreak --bench inspect [RUNS]`.
//!
//! Beside it the same binary doing less, so that one sees where the time goes: starting and parsing the command line, and inspecting
//! the same job written as JSON, which needs the child process but no Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const DAYBREAK: &str = env!("CARGO_BIN_EXE_daybreak");
const BUDGET_MS: f64 = 150.0;
const RUNS: usize = 100;

fn main() {
    let runs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(RUNS);
    let home = tempfile::tempdir().unwrap();
    let file = "examples/tutorial/hello_world.aurora";
    let listed = aurora(home.path(), &["config", "list", file]).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let key = text.split(['[', ']', ',', ' ', '\n']).find(|word| word.starts_with("devcluster/"));
    let key = key.unwrap_or_else(|| panic!("no job key in: {text}{}", String::from_utf8_lossy(&listed.stderr)));
    let json = as_json(home.path(), key, file);

    let started = measure(runs, || aurora(home.path(), &["--help"]));
    let without_python = measure(runs, || aurora(home.path(), &["job", "inspect", "--read-json", key, path(&json)]));
    let whole = measure(runs, || aurora(home.path(), &["job", "inspect", key, file]));
    println!("{runs} runs each, one after the other         median      p99   processor time");
    for (name, measured) in [
        ("start and command line", &started),
        ("the job as JSON, without Python", &without_python),
        ("the tutorial's file", &whole),
    ] {
        let Measured { median_ms, p99_ms, cpu_ms } = measured;
        println!("  {name:<36} {median_ms:8.1} ms {p99_ms:8.1} ms {cpu_ms:8.1} ms");
    }
    let share = |ms: f64| 100.0 * ms / whole.median_ms;
    println!(
        "share of phases: start {:.0} %, child process and job {:.0} %, Python {:.0} %",
        share(started.median_ms),
        share(without_python.median_ms - started.median_ms),
        share(whole.median_ms - without_python.median_ms)
    );
    let verdict = if whole.median_ms <= BUDGET_MS { "kept" } else { "missed" };
    println!("budget of {BUDGET_MS} ms for the whole: {verdict} by the median");
}

/// What runs of one command took.
struct Measured {
    median_ms: f64,
    p99_ms: f64,
    /// Of the process and its children, on the average.
    cpu_ms: f64,
}

fn measure(runs: usize, command: impl Fn() -> Command) -> Measured {
    let run = || {
        let started = Instant::now();
        let output = command().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        started.elapsed().as_secs_f64() * 1e3
    };
    // The first one reads the program from the disk.
    run();
    let before = children_cpu_ms();
    let mut times_ms: Vec<f64> = (0..runs).map(|_| run()).collect();
    let cpu_ms = (children_cpu_ms() - before) / runs as f64;
    times_ms.sort_by(f64::total_cmp);
    let at = |share: f64| times_ms[((runs - 1) as f64 * share) as usize];
    Measured { median_ms: at(0.5), p99_ms: at(0.99), cpu_ms }
}

/// The client, from the root of the repository, without the settings of whoever runs this.
fn aurora(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(DAYBREAK);
    command.arg("aurora").args(arguments).env("HOME", home).env("AURORA_CONFIG_ROOT", home);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).stdin(Stdio::null());
    command
}

/// The job in a file without Python.
fn as_json(home: &Path, key: &str, file: &str) -> PathBuf {
    let output = aurora(home, &["job", "inspect", "--write-json", key, file]).output().unwrap();
    let job: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
    let path = home.join("job.json");
    std::fs::write(&path, job.to_string()).unwrap();
    path
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// Processor time of all children that were waited for, theirs included.
fn children_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let field = |n: usize| fields.split_whitespace().nth(n - 3).unwrap().parse::<f64>().unwrap();
    (field(16) + field(17)) * 10.0
}
