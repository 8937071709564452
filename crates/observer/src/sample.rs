//! What running tasks use (spec executor 4.3): their processes' trees from `/proc`, and the size of their sandboxes. Measured in the
//! background; nothing here waits for anybody.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkpoint::disk::DiskScan;
use checkpoint::record::{ProcessRecord, ProcessState};

use crate::Options;
use crate::store::{Store, Task, Which};

/// Files of a sandbox looked at between two breaths.
const SCAN_STEP: usize = 2_000;
/// A breath.
const SCAN_PAUSE: Duration = Duration::from_millis(2);

/// What a process and everything it started use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Cores, averaged since the sample before; 0 in the first one.
    pub cpu: f64,
    /// Resident bytes.
    pub rss: u64,
    /// Virtual bytes.
    pub vms: u64,
    /// Seconds of processor time in user mode.
    pub user: f64,
    /// Seconds of processor time in kernel mode.
    pub system: f64,
    /// Threads.
    pub threads: u64,
    /// Niceness of the process itself.
    pub nice: i64,
    /// State of the process itself in a word; empty for none.
    pub status: &'static str,
}

impl Sample {
    /// Adds another one to this.
    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.rss += other.rss;
        self.vms += other.vms;
        self.user += other.user;
        self.system += other.system;
        self.threads += other.threads;
        self.nice = other.nice;
        self.status = other.status;
    }
}

/// One line of `/proc/<pid>/stat`.
#[derive(Clone, Debug, PartialEq)]
struct Stat {
    parent: i32,
    status: &'static str,
    user: f64,
    system: f64,
    nice: i64,
    threads: u64,
    start_ticks: u64,
    vms: u64,
    rss: u64,
}

/// Ticks in a second and bytes in a page, of this machine.
#[derive(Clone, Copy, Debug)]
struct Units {
    ticks: f64,
    page_bytes: u64,
}

impl Units {
    fn of_this_machine() -> Self {
        Self { ticks: rustix::param::clock_ticks_per_second() as f64, page_bytes: rustix::param::page_size() as u64 }
    }
}

fn parse_stat(text: &str, units: Units) -> Option<Stat> {
    // The name in parentheses may itself hold parentheses and spaces.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        status: match *fields.first()? {
            "R" => "running",
            "S" => "sleeping",
            "D" => "disk-sleep",
            "T" => "stopped",
            "t" => "tracing-stop",
            "Z" => "zombie",
            "X" | "x" => "dead",
            _ => "idle",
        },
        parent: fields.get(1)?.parse().ok()?,
        user: number(11)? as f64 / units.ticks,
        system: number(12)? as f64 / units.ticks,
        nice: fields.get(16)?.parse().ok()?,
        threads: number(17)?,
        start_ticks: number(19)?,
        vms: number(20)?,
        rss: number(21)? * units.page_bytes,
    })
}

/// The machine's processes at one moment.
#[derive(Debug, Default)]
struct Machine {
    processes: BTreeMap<i32, Stat>,
    children: BTreeMap<i32, Vec<i32>>,
}

impl Machine {
    fn look() -> Self {
        let units = Units::of_this_machine();
        let mut machine = Self::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            let Some(stat) = stat.and_then(|text| parse_stat(&text, units)) else { continue };
            machine.children.entry(stat.parent).or_default().push(pid);
            machine.processes.insert(pid, stat);
        }
        machine
    }

    /// The process of a run and everything below it; nothing when the number means another process by now.
    fn tree(&self, run: &ProcessRecord) -> Vec<i32> {
        let Some(pid) = run.pid else { return Vec::new() };
        let Some(root) = self.processes.get(&pid) else { return Vec::new() };
        if run.start_ticks.is_some_and(|ticks| ticks != root.start_ticks) {
            return Vec::new();
        }
        let mut tree = vec![pid];
        let mut at = 0;
        while at < tree.len() {
            tree.extend(self.children.get(&tree[at]).into_iter().flatten());
            at += 1;
        }
        tree
    }
}

/// A sample of a task, and what is needed for the rate of the next one.
#[derive(Clone, Debug)]
struct TaskSample {
    at: Instant,
    processes: BTreeMap<String, Sample>,
    /// Processor seconds by pid.
    seconds: BTreeMap<i32, f64>,
}

/// The last samples of all running tasks.
#[derive(Debug, Default)]
pub struct Samples {
    tasks: Mutex<BTreeMap<String, TaskSample>>,
    disk_bytes: Mutex<BTreeMap<String, u64>>,
}

impl Samples {
    /// The sample of a process of a task; taken now when there was none.
    pub fn process(&self, task: &Task, process: &str) -> Option<Sample> {
        if task.runs(process).last().is_none_or(|run| run.state() != ProcessState::Running) {
            return None;
        }
        self.take_once(task);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(&task.id).and_then(|sample| sample.processes.get(process)).cloned()
    }

    /// The sum over the running processes of a task: zeros when none runs.
    pub fn task(&self, task: &Task) -> Sample {
        let mut sum = Sample::default();
        if !task.is_active() {
            return sum;
        }
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in tasks.get(&task.id).into_iter().flat_map(|sample| sample.processes.values()) {
            sum.add(sample);
        }
        sum
    }

    /// Size of a task's sandbox when it was last measured; 0 before and after its life.
    pub fn disk_bytes(&self, task: &Task) -> u64 {
        let disk = self.disk_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        disk.get(&task.id).copied().unwrap_or_default()
    }

    fn take_once(&self, task: &Task) {
        let is_known = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task.id);
        if !is_known {
            self.take(std::slice::from_ref(task), false);
        }
    }

    /// Measures the processes of `tasks`; with `only_these`, forgets all others.
    fn take<T: std::borrow::Borrow<Task>>(&self, tasks: &[T], only_these: bool) {
        let machine = Machine::look();
        let now = Instant::now();
        let mut known = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = if only_these { BTreeMap::new() } else { known.clone() };
        for task in tasks {
            let task = task.borrow();
            next.insert(task.id.clone(), measure(task, &machine, known.get(&task.id), now));
        }
        *known = next;
    }

    fn set_disk(&self, sizes: BTreeMap<String, u64>) {
        *self.disk_bytes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }
}

fn measure(task: &Task, machine: &Machine, before: Option<&TaskSample>, now: Instant) -> TaskSample {
    let mut sample = TaskSample { at: now, processes: BTreeMap::new(), seconds: BTreeMap::new() };
    for run in task.state.live_runs().filter(|run| run.state() == ProcessState::Running) {
        let mut sum = Sample::default();
        let mut used = 0.0;
        for pid in machine.tree(run) {
            let stat = &machine.processes[&pid];
            let seconds = stat.user + stat.system;
            // What a process used that was not there before counts from zero.
            used += seconds - before.and_then(|before| before.seconds.get(&pid)).copied().unwrap_or_default();
            sample.seconds.insert(pid, seconds);
            let is_first = sum.status.is_empty();
            sum.rss += stat.rss;
            sum.vms += stat.vms;
            sum.user += stat.user;
            sum.system += stat.system;
            sum.threads += stat.threads;
            if is_first {
                (sum.nice, sum.status) = (stat.nice, stat.status);
            }
        }
        let elapsed = before.map_or(0.0, |before| (now - before.at).as_secs_f64());
        sum.cpu = if elapsed > 0.0 { (used / elapsed).max(0.0) } else { 0.0 };
        sample.processes.insert(run.process.clone(), sum);
    }
    sample
}

/// Starts the threads that look at the disk and measure.
pub fn start(store: &Arc<Store>, options: &Options) -> std::io::Result<()> {
    let polling = (Arc::clone(store), options.polling_interval);
    std::thread::Builder::new().name("looking".into()).spawn(move || {
        loop {
            std::thread::sleep(polling.1);
            polling.0.refresh();
        }
    })?;
    let Some(process_interval) = options.process_interval else { return Ok(()) };
    let sampling = Arc::clone(store);
    std::thread::Builder::new().name("sampling".into()).spawn(move || {
        loop {
            sampling.samples.take(&sampling.tasks(Which::Active), true);
            std::thread::sleep(process_interval);
        }
    })?;
    let (scanning, disk_interval) = (Arc::clone(store), options.disk_interval);
    std::thread::Builder::new().name("measuring".into()).spawn(move || {
        loop {
            let running = scanning.tasks(Which::Active);
            let sizes = running.iter().filter_map(|task| Some((task.id.clone(), size(task)?)));
            scanning.samples.set_disk(sizes.collect());
            std::thread::sleep(disk_interval);
        }
    })?;
    Ok(())
}

/// Bytes that a task's sandbox takes.
fn size(task: &Task) -> Option<u64> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let sandbox = rustix::fs::open(&task.sandbox, flags, Mode::empty()).ok()?;
    let mut scan = DiskScan::begin(sandbox)?;
    loop {
        if let Some(bytes) = scan.step(SCAN_STEP) {
            return Some(bytes);
        }
        std::thread::sleep(SCAN_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name_of_the_process() {
        let line =
            "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 5 3 0 1234 8192 2 18446744073709551615";
        let stat = parse_stat(line, Units { ticks: 100.0, page_bytes: 4096 }).unwrap();
        assert_eq!((stat.parent, stat.status, stat.nice, stat.threads), (7, "sleeping", 5, 3));
        assert_eq!((stat.user, stat.system, stat.start_ticks), (2.5, 0.5, 1234));
        assert_eq!((stat.vms, stat.rss), (8192, 8192));
        assert!(parse_stat("42 (cut", Units { ticks: 100.0, page_bytes: 4096 }).is_none());
    }

    #[test]
    fn a_recycled_pid_is_nobody_of_ours() {
        let machine = Machine::look();
        let own = i32::try_from(std::process::id()).unwrap();
        let ticks = machine.processes[&own].start_ticks;
        let run = |start_ticks| ProcessRecord { pid: Some(own), start_ticks, ..ProcessRecord::default() };
        assert!(machine.tree(&run(Some(ticks))).contains(&own));
        assert!(machine.tree(&run(None)).contains(&own));
        assert!(machine.tree(&run(Some(ticks + 1))).is_empty());
    }
}
