//! Jobs on a simulated Mesos over the HTTP wire, journal on disk: processor time of the scheduler per task from creation to RUNNING, the
//! rate, memory per task, and the simulator's share apart. The simulator is a process of its own: this program, run a second time.
//!
//! `cargo bench -p simulation --bench mesos`. `AGENTS`, `JOBS` and `TASKS` (per job) set the size; the whole is 10,000 agents, 1,000 jobs
//! of 1,000 tasks each, and a tenth of the jobs unless said otherwise.

#[path = "../tests/mesos/daybreak.rs"]
#[allow(dead_code)]
mod daybreak;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daybreak::{Daybreak, LoopClock, options};
use model::{JobKey, TaskConfig};
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Script, Settings};

fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Processor time of a process and its threads, and what it holds in memory.
fn usage(pid: &str) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb =
        resident.and_then(|text| text.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
    (Duration::from_millis((ticks(11) + ticks(12)) * 10), resident_kb.unwrap_or_default() << 10)
}

/// The simulator: says its address, and lives until its input ends.
fn simulate(agents: usize) {
    let settings = Settings { history: false, ..Settings::default() };
    let simulation = Simulation::start(settings, 1.0, None).expect("loopback");
    simulation.with(|cluster| cluster.set_scripts(|_, _| Script::service()));
    let spec = |index: usize| {
        AgentSpec::new(format!("agent-{index}"), "cpus:64;mem:262144;disk:1048576;ports:[31000-32000]")
            .attributes(format!("host:agent-{index};rack:r{}", index % 40))
    };
    simulation.add_agents((0..agents).map(spec));
    println!("{}", simulation.master_list());
    let mut line = String::new();
    let mut input = BufReader::new(std::io::stdin());
    while input.read_line(&mut line).is_ok_and(|read| read > 0) {
        let counters = simulation.with(|cluster| cluster.counters());
        println!("{counters:?}");
        line.clear();
    }
}

/// One of the counters as they are printed.
fn count(counters: &str, name: &str) -> u64 {
    let value = counters.split(&format!(" {name}: ")).nth(1).unwrap_or_default();
    value.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn main() {
    let agents = size("AGENTS", 10_000);
    if std::env::var_os("SIMULATE").is_some() {
        return simulate(agents);
    }
    let (jobs, tasks) = (size("JOBS", 100), size("TASKS", 1_000));
    let total = (jobs * tasks) as u64;
    let mut simulator = Command::new(std::env::current_exe().expect("a path"))
        .env("SIMULATE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut output = BufReader::new(simulator.stdout.take().expect("piped"));
    let mut masters = String::new();
    output.read_line(&mut masters).expect("an address");
    let directory =
        tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").into()))
            .expect("a disk");
    let mut settings = scheduler::Settings::default();
    settings.admission.max_tasks_per_job = i32::MAX;
    let clock = LoopClock::Real(Instant::now());
    let daybreak = Daybreak::start(directory.path(), options(masters.trim()), settings, clock, false);
    assert!(
        daybreak.reaches(Duration::from_secs(60), |view| view.agents.len() == agents),
        "not all agents were offered"
    );
    let simulator_pid = simulator.id().to_string();
    let (cpu_before, memory_before) = usage("self");
    let loop_before = *daybreak.loop_cpu.lock().unwrap();
    let (simulator_before, simulator_memory) = usage(&simulator_pid);
    let began = Instant::now();
    for job in 0..jobs {
        let key = JobKey::new("www-data", "prod", format!("job-{job}"));
        let mut config = TaskConfig::new(key, 0.1, 64, 64, format!("{{\"padding\": \"{}\"}}", "x".repeat(1_000)));
        config.is_service = true;
        daybreak.create(config, tasks as i32);
    }
    let created = began.elapsed();
    // The gauge: to count a million tasks ten times a second would be the greater part of the work that is measured.
    let running = |view: &scheduler::View| view.counters.get("task_store_RUNNING").copied().unwrap_or_default() as u64;
    let mut patience = Instant::now();
    let mut last = 0;
    loop {
        let now = running(&daybreak.view());
        if now == total {
            break;
        }
        if now != last {
            (last, patience) = (now, Instant::now());
        }
        assert!(patience.elapsed() < Duration::from_secs(120), "{:?}", daybreak.view().count_by_status());
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = began.elapsed();
    // The work is done when every update is acknowledged.
    let mut input = simulator.stdin.take().expect("piped");
    let mut counters = String::new();
    while counters.is_empty() || count(&counters, "acknowledged") < count(&counters, "updates_with_uuid") {
        assert!(began.elapsed() < took + Duration::from_secs(120), "not acknowledged: {counters}");
        std::thread::sleep(Duration::from_millis(20));
        counters.clear();
        writeln!(input).expect("it listens");
        output.read_line(&mut counters).expect("counters");
    }
    let all = began.elapsed();
    let (cpu_after, memory_after) = usage("self");
    let loop_after = *daybreak.loop_cpu.lock().unwrap();
    let (simulator_after, simulator_memory_after) = usage(&simulator_pid);
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / total as f64;
    println!(
        "{agents} agents, {jobs} jobs of {tasks} tasks: created after {created:.2?}, all {total} RUNNING after {took:.2?}, the last \
         update acknowledged after {all:.2?}"
    );
    println!("rate {:.0} tasks/s", total as f64 / took.as_secs_f64());
    println!(
        "scheduler: {:.1} us of processor per task, {:.1} of them in the loop; {} bytes of memory per task",
        each(cpu_after - cpu_before),
        each(loop_after - loop_before),
        memory_after.saturating_sub(memory_before) / total,
    );
    println!(
        "simulator: {:.1} us of processor per task; {} bytes of memory per task",
        each(simulator_after - simulator_before),
        simulator_memory_after.saturating_sub(simulator_memory) / total,
    );
    print!("wire: {counters}");
    println!("calls of the scheduler: {:?}", daybreak.told.calls.lock().unwrap());
    drop(input);
    drop(daybreak);
    let _ = simulator.wait();
}
