//! What this machine has, in words. For a private cluster, whose only agent it is.

use model::JobConfiguration;

/// Capacity of this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Cores this process may use.
    pub cpus: usize,
    /// Memory; 0 when unknown.
    pub ram_bytes: u64,
}

impl Machine {
    /// Asks the system.
    pub fn measure() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self { cpus, ram_bytes: total_bytes(&meminfo) }
    }

    /// `this machine (8 cpu, 15.5 GiB)`.
    pub fn text(&self) -> String {
        let gibibytes = self.ram_bytes as f64 / f64::from(1 << 30);
        format!("this machine ({} cpu, {gibibytes:.1} GiB)", self.cpus)
    }

    /// What a task asks for beyond what the machine has, e.g. `needs 1000 cpu, this machine has 8`.
    pub fn shortfall(&self, job: &JobConfiguration) -> Option<String> {
        let need = &job.task.resources;
        let has_mb = (self.ram_bytes >> 20) as i64;
        if need.cpu.cores() > self.cpus as f64 {
            return Some(format!("needs {} cpu, this machine has {}", need.cpu, self.cpus));
        }
        if self.ram_bytes > 0 && need.ram_mb > has_mb {
            return Some(format!("needs {} MB of memory, this machine has {has_mb}", need.ram_mb));
        }
        None
    }
}

fn total_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hello_file_as;

    #[test]
    fn capacity_is_told_in_words() {
        let machine = Machine { cpus: 8, ram_bytes: total_bytes("MemFree: 1 kB\nMemTotal:       16252928 kB\n") };
        assert_eq!(machine.text(), "this machine (8 cpu, 15.5 GiB)");
        assert_eq!(total_bytes("nothing"), 0);
    }

    #[test]
    fn what_can_never_fit_is_named() {
        let machine = Machine { cpus: 8, ram_bytes: 1 << 30 };
        let shortfall =
            |change: fn(&mut JobConfiguration)| machine.shortfall(&hello_file_as(change).job.unwrap().configuration);
        assert_eq!(shortfall(|_| {}), None);
        let absurd = shortfall(|job| job.task.resources.cpu = model::CpuMillis::from_cores(1000.0));
        assert_eq!(absurd.as_deref(), Some("needs 1000 cpu, this machine has 8"));
        let greedy = shortfall(|job| job.task.resources.ram_mb = 2048);
        assert_eq!(greedy.as_deref(), Some("needs 2048 MB of memory, this machine has 1024"));
    }
}
