//! What a task uses, from the control groups its checkpoint names. Both versions of control groups; what they do not tell is absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use engine::files::Usage;
use model::TaskId;

/// Tasks whose last sample is kept.
const TASKS_MAX: usize = 10_000;
/// Samples nearer than this say nothing about the processor; the older one is kept.
const INTERVAL_MS_MIN: u128 = 500;

/// Samples tasks; the processor's use is the average since the sample before.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    last: Mutex<BTreeMap<TaskId, Sample>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    cpu_us: u64,
    /// The average that was computed when this sample was taken.
    cores: Option<f64>,
}

impl Sampler {
    /// What the groups use now.
    pub fn sample(&self, task: &TaskId, groups: &[String]) -> Usage {
        let number = |names: &[&str]| read_number(groups, names);
        let cpu_us = groups.iter().find_map(|group| cpu_us(Path::new(group)));
        Usage {
            cpu_cores: cpu_us.and_then(|cpu_us| self.cores(task, cpu_us)),
            ram_bytes: number(&["memory.current", "memory.usage_in_bytes"]),
            ram_peak_bytes: number(&["memory.peak", "memory.max_usage_in_bytes"]),
            disk_bytes: None,
        }
    }

    /// The task is over: its groups may serve another one by now.
    pub fn forget(&self, task: &TaskId) -> Usage {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        Usage::default()
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
        let usage = sampler.sample(&"t".into(), &[unified]);
        assert_eq!((usage.ram_bytes, usage.ram_peak_bytes, usage.cpu_cores), (Some(4096), Some(8192), None));
        let memory = group("v1-memory", &[("memory.usage_in_bytes", "1"), ("memory.max_usage_in_bytes", "2")]);
        let processor = group("v1-cpu", &[("cpuacct.usage", "7000000")]);
        let usage = sampler.sample(&"u".into(), &[memory, processor.clone()]);
        assert_eq!((usage.ram_bytes, usage.ram_peak_bytes), (Some(1), Some(2)));
        assert_eq!(cpu_us(Path::new(&processor)), Some(7000));
        assert_eq!(sampler.sample(&"v".into(), &[]), Usage::default());
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
}
