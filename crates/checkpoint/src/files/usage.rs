//! What a task uses: processor and memory from the control groups its checkpoint names, of both versions; the disk by looking. What
//! cannot be told is absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::files::Usage;
use model::TaskId;

use super::beneath::Root;
use crate::disk::{self, DiskScan};
use crate::layout::RunDirectory;

/// Tasks whose last sample is kept.
const TASKS_MAX: usize = 10_000;
/// Samples nearer than this say nothing about the processor; the older one is kept.
const INTERVAL_MS_MIN: u128 = 100;
/// How long a measured sandbox is not measured again.
const DISK_FRESH: Duration = Duration::from_secs(5);
/// How long a sandbox that was too large to be measured here is left to its supervisor.
const DISK_LARGE: Duration = Duration::from_secs(60);
/// Files that are looked at for one reader at most, and in one step.
const DISK_ENTRIES_MAX: usize = 5_000;
const DISK_STEP_ENTRIES: usize = 250;
/// How long one reader waits for a measurement at most; a cold disk is slow.
const DISK_TIME_MAX: Duration = Duration::from_millis(20);

/// Samples tasks; the processor's use is the average since the sample before.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    last: Mutex<BTreeMap<TaskId, Sample>>,
    sandboxes: Mutex<BTreeMap<TaskId, Measured>>,
}

/// What came of measuring a sandbox for a reader.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    /// Absent when it was too large.
    bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    cpu_us: u64,
    /// The average that was computed when this sample was taken.
    cores: Option<f64>,
}

impl Sampler {
    /// What the groups and the sandbox of the run use now.
    pub fn sample(&self, task: &TaskId, groups: &[String], run: &RunDirectory) -> Usage {
        let number = |names: &[&str]| read_number(groups, names);
        let cpu_us = groups.iter().find_map(|group| cpu_us(Path::new(group)));
        Usage {
            cpu_cores: cpu_us.and_then(|cpu_us| self.cores(task, cpu_us)),
            ram_bytes: number(&["memory.current", "memory.usage_in_bytes"]),
            ram_peak_bytes: number(&["memory.peak", "memory.max_usage_in_bytes"]),
            disk_bytes: self.disk_bytes(task, run),
        }
    }

    /// The task is over: its groups may serve another one by now.
    pub fn forget(&self, task: &TaskId) -> Usage {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        Usage::default()
    }

    /// A small sandbox is measured for the reader; of a large one the supervisor's last figure is told.
    fn disk_bytes(&self, task: &TaskId, run: &RunDirectory) -> Option<u64> {
        let known = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).get(task).copied();
        let fresh =
            known.filter(|known| known.at.elapsed() < if known.bytes.is_some() { DISK_FRESH } else { DISK_LARGE });
        let bytes = match fresh {
            Some(measured) => measured.bytes,
            None => {
                let bytes = measure(run, DISK_ENTRIES_MAX, DISK_TIME_MAX);
                let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
                if sandboxes.len() >= TASKS_MAX && known.is_none() {
                    sandboxes.clear();
                }
                sandboxes.insert(task.clone(), Measured { at: Instant::now(), bytes });
                bytes
            }
        };
        bytes.or_else(|| disk::handed_over(run))
    }

    fn cores(&self, task: &TaskId, cpu_us: u64) -> Option<f64> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.get(task).copied();
        if let Some(before) = before
            && (now - before.at).as_millis() < INTERVAL_MS_MIN
        {
            return before.cores;
        }
        let cores = before.filter(|before| before.cpu_us <= cpu_us).map(|before| {
            let elapsed_us = (now - before.at).as_micros() as f64;
            (cpu_us - before.cpu_us) as f64 / elapsed_us
        });
        if last.len() >= TASKS_MAX && before.is_none() {
            last.clear();
        }
        last.insert(task.clone(), Sample { at: now, cpu_us, cores });
        cores
    }
}

/// Bytes of the sandbox, unless that takes longer or more files than allowed.
fn measure(run: &RunDirectory, entries_max: usize, time_max: Duration) -> Option<u64> {
    let until = Instant::now() + time_max;
    let sandbox = Root::open(&run.sandbox()).ok()?.open_directory("").ok()?;
    let mut scan = DiskScan::begin(sandbox)?;
    for _ in 0..entries_max.div_ceil(DISK_STEP_ENTRIES) {
        if let Some(bytes) = scan.step(DISK_STEP_ENTRIES) {
            return Some(bytes);
        }
        if Instant::now() > until {
            break;
        }
    }
    None
}

fn read_number(groups: &[String], names: &[&str]) -> Option<u64> {
    let files = groups.iter().flat_map(|group| names.iter().map(move |name| Path::new(group).join(name)));
    files.into_iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// Processor time of a group: `cpu.stat` in version 2, `cpuacct.usage` (nanoseconds) in version 1.
fn cpu_us(group: &Path) -> Option<u64> {
    if let Ok(text) = fs::read_to_string(group.join("cpu.stat"))
        && let Some(number) = text.lines().find_map(|line| line.strip_prefix("usage_usec "))
    {
        return number.trim().parse().ok();
    }
    let text = fs::read_to_string(group.join("cpuacct.usage")).ok()?;
    text.trim().parse::<u64>().ok().map(|ns| ns / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let group = |name: &str, files: &[(&str, &str)]| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            for (file, text) in files {
                fs::write(path.join(file), text).unwrap();
            }
            path.to_str().unwrap().to_owned()
        };
        let unified = group(
            "v2",
            &[("memory.current", "4096\n"), ("memory.peak", "8192\n"), ("cpu.stat", "usage_usec 5000\nuser_usec 1\n")],
        );
        let sampler = Sampler::default();
        let run = RunDirectory::new(folder.path().join("run"));
        let usage = sampler.sample(&"t".into(), &[unified], &run);
        assert_eq!((usage.ram_bytes, usage.ram_peak_bytes, usage.cpu_cores), (Some(4096), Some(8192), None));
        let memory = group("v1-memory", &[("memory.usage_in_bytes", "1"), ("memory.max_usage_in_bytes", "2")]);
        let processor = group("v1-cpu", &[("cpuacct.usage", "7000000")]);
        let usage = sampler.sample(&"u".into(), &[memory, processor.clone()], &run);
        assert_eq!((usage.ram_bytes, usage.ram_peak_bytes), (Some(1), Some(2)));
        assert_eq!(cpu_us(Path::new(&processor)), Some(7000));
        assert_eq!(sampler.sample(&"v".into(), &[], &run), Usage::default());
    }

    #[test]
    fn the_average_is_that_since_the_sample_before() {
        let sampler = Sampler::default();
        let task: TaskId = "t".into();
        assert_eq!(sampler.cores(&task, 1_000_000), None);
        let second_ago = Instant::now() - std::time::Duration::from_secs(1);
        sampler.last.lock().unwrap().get_mut(&task).unwrap().at = second_ago;
        let cores = sampler.cores(&task, 1_500_000).unwrap();
        assert!((0.3..=0.5).contains(&cores), "{cores}");
        assert_eq!(sampler.cores(&task, 9_000_000), Some(cores), "too soon for another");
        sampler.forget(&task);
        assert_eq!(sampler.cores(&task, 1), None);
    }

    #[test]
    fn a_small_sandbox_is_measured_and_of_a_large_one_the_supervisor_tells() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(folder.path());
        let sampler = Sampler::default();
        let disk_bytes = |task: &str| sampler.disk_bytes(&task.into(), &run);
        assert_eq!(disk_bytes("without-sandbox"), None);
        fs::create_dir(run.sandbox()).unwrap();
        fs::write(run.sandbox().join("data"), vec![1; 100_000]).unwrap();
        disk::hand_over(&run, 5).unwrap();
        let measured = disk_bytes("small").unwrap();
        assert!((100_000..120_000).contains(&measured), "{measured}");
        fs::remove_file(run.sandbox().join("data")).unwrap();
        assert_eq!(disk_bytes("small"), Some(measured), "just measured");
        for number in 0..=DISK_STEP_ENTRIES {
            fs::write(run.sandbox().join(number.to_string()), "").unwrap();
        }
        assert_eq!(measure(&run, DISK_STEP_ENTRIES, DISK_TIME_MAX), None, "more files than allowed");
        assert_eq!(measure(&run, DISK_ENTRIES_MAX, Duration::ZERO), None, "more time than allowed");
        let too_large = Measured { at: Instant::now(), bytes: None };
        sampler.sandboxes.lock().unwrap().insert("large".into(), too_large);
        assert_eq!(disk_bytes("large"), Some(5));
    }
}
