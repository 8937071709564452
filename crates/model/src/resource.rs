//! Amounts of machine resources, exact: CPU in thousandths of a core, memory and disk in whole MB. Not who holds them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// CPU in thousandths of a core. Exact, so that sums never drift (Mesos keeps three decimals too).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CpuMillis(pub i64);

impl CpuMillis {
    /// From cores as written in a configuration, rounded to the nearest thousandth. Not-a-number gives 0, the rest saturates.
    pub fn from_cores(cores: f64) -> Self {
        Self((cores * 1000.0).round() as i64)
    }

    /// In cores.
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.cores())
    }
}

/// The kinds of resource a task can ask for (spec scheduler 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceType {
    /// Cores.
    Cpus,
    /// Memory in MB.
    RamMb,
    /// Disk in MB.
    DiskMb,
    /// Number of ports.
    Ports,
    /// Whole graphics processors.
    Gpus,
}

impl ResourceType {
    /// Every kind, in the order in which they are compared and shown.
    pub const ALL: [Self; 5] = [Self::Cpus, Self::RamMb, Self::DiskMb, Self::Ports, Self::Gpus];

    /// Name in texts for people (spec scheduler 2.6).
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpus => "CPU",
            Self::RamMb => "RAM",
            Self::DiskMb => "disk",
            Self::Ports => "ports",
            Self::Gpus => "GPU",
        }
    }

    /// Unit in texts for people (spec scheduler 2.6).
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpus | Self::Gpus => "core(s)",
            Self::RamMb | Self::DiskMb => "MB",
            Self::Ports => "count",
        }
    }

    /// Range by which a shortfall is scaled into a veto score, in the resource's own whole unit (spec scheduler 2.4).
    pub fn veto_range(self) -> i64 {
        match self {
            Self::Cpus => 16,
            Self::RamMb => 24_576,
            Self::DiskMb => 460_800,
            Self::Ports => 1_000,
            Self::Gpus => 4,
        }
    }
}

/// A vector of amounts. `ports` is a count; the numbers themselves are [`Ports`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: CpuMillis,
    /// Memory in MB.
    pub ram_mb: i64,
    /// Disk in MB.
    pub disk_mb: i64,
    /// Number of ports.
    pub ports: i64,
    /// Whole graphics processors.
    pub gpus: i64,
}

impl Resources {
    /// Nothing at all.
    pub const ZERO: Self = Self { cpu: CpuMillis(0), ram_mb: 0, disk_mb: 0, ports: 0, gpus: 0 };

    /// The amount of one kind; CPU in thousandths.
    pub fn amount(&self, kind: ResourceType) -> i64 {
        match kind {
            ResourceType::Cpus => self.cpu.0,
            ResourceType::RamMb => self.ram_mb,
            ResourceType::DiskMb => self.disk_mb,
            ResourceType::Ports => self.ports,
            ResourceType::Gpus => self.gpus,
        }
    }

    /// Whether every amount of `other` fits into this one.
    pub fn contains(&self, other: &Self) -> bool {
        ResourceType::ALL.iter().all(|kind| self.amount(*kind) >= other.amount(*kind))
    }

    /// How many times `unit` fits, at most `limit`. A zero amount in `unit` never limits.
    pub fn fits(&self, unit: &Self, limit: u64) -> u64 {
        ResourceType::ALL.iter().fold(limit, |count, kind| match unit.amount(*kind) {
            need if need <= 0 => count,
            need => count.min((self.amount(*kind).max(0) / need) as u64),
        })
    }

    /// The same amounts `count` times.
    pub fn times(&self, count: i64) -> Self {
        Self {
            cpu: CpuMillis(self.cpu.0.saturating_mul(count)),
            ram_mb: self.ram_mb.saturating_mul(count),
            disk_mb: self.disk_mb.saturating_mul(count),
            ports: self.ports.saturating_mul(count),
            gpus: self.gpus.saturating_mul(count),
        }
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: CpuMillis(self.cpu.0.saturating_add(other.cpu.0)),
            ram_mb: self.ram_mb.saturating_add(other.ram_mb),
            disk_mb: self.disk_mb.saturating_add(other.disk_mb),
            ports: self.ports.saturating_add(other.ports),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

impl Sub for Resources {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other.times(-1)
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Resources {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// A set of port numbers as sorted, disjoint, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ports(Vec<(u16, u16)>);

impl Ports {
    /// From inclusive ranges in any order; empty or reversed ranges are dropped, touching ones joined.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<(u16, u16)> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match joined.last_mut() {
                Some(previous) if u32::from(first) <= u32::from(previous.1) + 1 => previous.1 = previous.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many ports there are.
    pub fn count(&self) -> i64 {
        self.0.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum()
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// The port at position `index` of the ascending enumeration.
    pub fn nth(&self, index: u32) -> Option<u16> {
        let mut left = index;
        for (first, last) in &self.0 {
            let size = u32::from(*last) - u32::from(*first) + 1;
            if left < size {
                return Some(first + left as u16);
            }
            left -= size;
        }
        None
    }

    /// Takes `port` out of the set; false when it was not in it.
    pub fn remove(&mut self, port: u16) -> bool {
        let Some(at) = self.0.iter().position(|(first, last)| (*first..=*last).contains(&port)) else { return false };
        let (first, last) = self.0.remove(at);
        if port < last {
            self.0.insert(at, (port + 1, last));
        }
        if first < port {
            self.0.insert(at, (first, port - 1));
        }
        true
    }

    /// Puts `port` into the set.
    pub fn insert(&mut self, port: u16) {
        let ranges = std::mem::take(&mut self.0);
        *self = Self::from_ranges(ranges.into_iter().chain([(port, port)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_exact_to_a_thousandth() {
        let tenth = CpuMillis::from_cores(0.1);
        let sum = (0..10).fold(Resources::ZERO, |sum, _| sum + Resources { cpu: tenth, ..Resources::ZERO });
        assert_eq!(sum.cpu, CpuMillis::from_cores(1.0));
        assert_eq!(CpuMillis::from_cores(f64::NAN), CpuMillis(0));
        assert_eq!(CpuMillis::from_cores(1e300), CpuMillis(i64::MAX));
    }

    #[test]
    fn fits_counts_the_scarcest_kind() {
        let host = Resources { cpu: CpuMillis(4000), ram_mb: 1000, disk_mb: 1000, ports: 2, gpus: 0 };
        let task = Resources { cpu: CpuMillis(500), ram_mb: 300, disk_mb: 1, ports: 0, gpus: 0 };
        assert_eq!(host.fits(&task, 100), 3);
        assert_eq!(host.fits(&Resources { ports: 1, ..task }, 100), 2);
        assert_eq!(host.fits(&Resources { gpus: 1, ..task }, 100), 0);
        assert_eq!(host.fits(&task, 2), 2);
    }

    #[test]
    fn ports_split_and_join() {
        let mut ports = Ports::from_ranges([(10, 12), (13, 15), (1, 1), (9, 3)]);
        assert_eq!(ports.ranges(), &[(1, 1), (10, 15)]);
        assert_eq!(ports.count(), 7);
        assert_eq!(ports.nth(0), Some(1));
        assert_eq!(ports.nth(6), Some(15));
        assert_eq!(ports.nth(7), None);
        assert!(ports.remove(12) && !ports.remove(12));
        assert_eq!(ports.ranges(), &[(1, 1), (10, 11), (13, 15)]);
        ports.insert(12);
        assert_eq!(ports.ranges(), &[(1, 1), (10, 15)]);
        assert!(Ports::from_ranges([(0, u16::MAX)]).contains(u16::MAX));
    }
}
