//! What this machine has to offer, and reading what the operator wants it to offer instead. Not who uses it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::{CpuMillis, Ports, Resources};

/// Memory that stays with the machine, MB, or half of it if that is less.
const HEADROOM_RAM_MB: i64 = 1024;
/// Disk that stays with the machine, MB, or half of what is free if that is less.
const HEADROOM_DISK_MB: i64 = 5 * 1024;
/// Ports that are offered unless others are named (those of Mesos agents).
const PORTS: (u16, u16) = (31_000, 32_000);

/// Everything one agent has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Amounts; `ports` is the count of `ports`.
    pub resources: Resources,
    /// Port numbers.
    pub ports: Ports,
}

/// Text of the operator that cannot be used; the message is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not `name:value`.
    #[error("{0:?} should be a name, a colon and a value, as in cpus:4;mem:2048;disk:10000;ports:[31000-32000]")]
    Form(String),
    /// Not a resource.
    #[error("there is no resource {0:?}; the resources are cpus, mem (MB), disk (MB), gpus and ports")]
    Resource(String),
    /// Not an amount.
    #[error("{0:?} is not an amount for {1}")]
    Amount(String, &'static str),
    /// Not a part of an agent's description.
    #[error(
        "{0:?} describes no agent: write words such as hostname=NAME attributes=zone:west resources=cpus:4;mem:2048, each once"
    )]
    Identity(String),
    /// Two agents of one machine cannot both have a port.
    #[error("port {0} is offered by two agents: they are one machine, so give each its own ports")]
    SharedPort(u16),
}

/// The real capacity of the machine less what it needs for itself. Disk is that of the file system of `directory`.
pub fn real_capacity(directory: &Path) -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as i64);
    let ram_mb = memory_bytes().unwrap_or(1 << 30) / (1 << 20);
    let disk_mb = free_disk_bytes(directory).unwrap_or(0) / (1 << 20);
    let ram_mb = i64::try_from(ram_mb).unwrap_or(i64::MAX);
    let disk_mb = i64::try_from(disk_mb).unwrap_or(i64::MAX);
    let ports = Ports::from_ranges([PORTS]);
    Capacity {
        resources: Resources {
            cpu: CpuMillis(cores * 1000),
            ram_mb: ram_mb - HEADROOM_RAM_MB.min(ram_mb / 2),
            disk_mb: disk_mb - HEADROOM_DISK_MB.min(disk_mb / 2),
            ports: ports.count(),
            gpus: 0,
        },
        ports,
    }
}

/// Memory of the machine, or of the control group that confines this process if that is less.
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total_kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).min();
    Some((total_kib * 1024).min(limit.unwrap_or(u64::MAX)))
}

/// Free bytes of the file system of `directory` that anyone may use.
pub fn free_disk_bytes(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail * status.f_frsize)
}

/// Reads `cpus:4;mem:2048;disk:10000;gpus:0;ports:[31000-31999,33000-33010]`; what is not named stays as in `base`.
pub fn parse_resources(text: &str, base: Capacity) -> Result<Capacity, SettingError> {
    let mut capacity = base;
    for (name, value) in pairs(text)? {
        let whole = |what: &'static str| -> Result<i64, SettingError> {
            let amount: f64 = value.parse().map_err(|_| SettingError::Amount(value.to_owned(), what))?;
            if amount.is_finite() && amount >= 0.0 {
                Ok(amount as i64)
            } else {
                Err(SettingError::Amount(value.to_owned(), what))
            }
        };
        match name {
            "cpus" | "cpu" => {
                let cores: f64 = value.parse().map_err(|_| SettingError::Amount(value.to_owned(), "cpus"))?;
                if !(cores.is_finite() && cores >= 0.0) {
                    return Err(SettingError::Amount(value.to_owned(), "cpus"));
                }
                capacity.resources.cpu = CpuMillis::from_cores(cores);
            }
            "mem" | "ram" => capacity.resources.ram_mb = whole("mem")?,
            "disk" => capacity.resources.disk_mb = whole("disk")?,
            "gpus" => capacity.resources.gpus = whole("gpus")?,
            "ports" => {
                capacity.ports = parse_ports(value)?;
                capacity.resources.ports = capacity.ports.count();
            }
            _ => return Err(SettingError::Resource(name.to_owned())),
        }
    }
    Ok(capacity)
}

fn parse_ports(text: &str) -> Result<Ports, SettingError> {
    let wrong = || SettingError::Amount(text.to_owned(), "ports");
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
    let mut ranges = Vec::new();
    for range in inside.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first == 0 || first > last {
            return Err(wrong());
        }
        ranges.push((first, last));
    }
    Ok(Ports::from_ranges(ranges))
}

/// Reads `rack:a;zone:b`; a name may come several times.
pub fn parse_attributes(text: &str) -> Result<BTreeMap<String, Vec<String>>, SettingError> {
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs(text)? {
        attributes.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    Ok(attributes)
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, SettingError> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim(), value.trim()))
            }
            _ => Err(SettingError::Form(part.to_owned())),
        })
        .collect()
}

/// The part of `capacity` that agent number `index` of `count` has: all live on one machine and share it, ports included.
pub fn share(capacity: &Capacity, index: u32, count: u32) -> Capacity {
    if count <= 1 {
        return capacity.clone();
    }
    let part = |amount: i64| amount / i64::from(count);
    let (index, count) = (u64::from(index), u64::from(count));
    let total = u64::try_from(capacity.ports.count()).unwrap_or(0);
    let numbers = (total * index / count..total * (index + 1) / count)
        .filter_map(|position| capacity.ports.nth(u32::try_from(position).ok()?))
        .map(|port| (port, port));
    let ports = Ports::from_ranges(numbers.collect::<Vec<_>>());
    Capacity {
        resources: Resources {
            cpu: CpuMillis(part(capacity.resources.cpu.0)),
            ram_mb: part(capacity.resources.ram_mb),
            disk_mb: part(capacity.resources.disk_mb),
            ports: ports.count(),
            gpus: part(capacity.resources.gpus),
        },
        ports,
    }
}

/// Ports on which something listens now: they are not offered. Empty when that cannot be found out.
pub fn listening_ports() -> Vec<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1).filter_map(listening_port)).collect()
}

fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace();
    let address = fields.nth(1)?;
    // Third field after the address: 0A is LISTEN.
    let state = fields.nth(1)?;
    (state == "0A").then(|| u16::from_str_radix(address.rsplit(':').next()?, 16).ok())?
}

/// Whether more threads want to run at this moment than there are processors. False where the kernel does not say.
pub(crate) fn is_busy() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    runnable(&text).is_some_and(|runnable| runnable > processors)
}

/// The number of threads that run or want to, the reader among them.
fn runnable(loadavg: &str) -> Option<usize> {
    loadavg.split_ascii_whitespace().nth(3)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Capacity {
        let ports = Ports::from_ranges([(31_000, 31_009)]);
        let resources = Resources { cpu: CpuMillis(4000), ram_mb: 8000, disk_mb: 1000, ports: 10, gpus: 0 };
        Capacity { resources, ports }
    }

    #[test]
    fn what_is_named_replaces_what_the_machine_has() {
        let capacity = parse_resources("cpus:0.5; mem:1000;ports:[100-101, 105]", base()).unwrap();
        assert_eq!(capacity.resources.cpu, CpuMillis(500));
        assert_eq!((capacity.resources.ram_mb, capacity.resources.disk_mb), (1000, 1000));
        assert_eq!(capacity.ports.ranges(), &[(100, 101), (105, 105)]);
        assert_eq!(capacity.resources.ports, 3);
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        for (text, part) in [
            ("cpus", "should be a name"),
            ("cpus:", "should be a name"),
            ("cpus:-1", "not an amount for cpus"),
            ("cpus:nan", "not an amount for cpus"),
            ("mem:much", "not an amount for mem"),
            ("wheels:4", "no resource \"wheels\""),
            ("ports:31000", "not an amount for ports"),
            ("ports:[5-3]", "not an amount for ports"),
            ("ports:[0-70000]", "not an amount for ports"),
        ] {
            let error = parse_resources(text, base()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn attributes_may_have_several_values() {
        let attributes = parse_attributes("rack:a;zone:x;zone:y").unwrap();
        assert_eq!(attributes["rack"], ["a"]);
        assert_eq!(attributes["zone"], ["x", "y"]);
        assert!(parse_attributes("rack").is_err());
    }

    #[test]
    fn agents_on_one_machine_share_it_without_overlap() {
        let shares: Vec<Capacity> = (0..3).map(|index| share(&base(), index, 3)).collect();
        let ports: Vec<u16> = shares
            .iter()
            .flat_map(|part| (0..).map_while(|position| part.ports.nth(position)).collect::<Vec<_>>())
            .collect();
        assert_eq!(ports, (31_000..=31_009).collect::<Vec<_>>());
        assert!(shares.iter().all(|part| part.resources.cpu == CpuMillis(1333)));
    }

    #[test]
    fn the_machine_keeps_something_for_itself() {
        let capacity = real_capacity(Path::new("/"));
        let total_mb = (memory_bytes().unwrap() >> 20) as i64;
        assert!(capacity.resources.ram_mb > 0 && capacity.resources.ram_mb < total_mb);
        assert!(capacity.resources.cpu.0 >= 1000);
    }

    #[test]
    fn a_listening_port_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening_ports().contains(&listener.local_addr().unwrap().port()));
    }

    #[test]
    fn threads_that_want_to_run_are_counted() {
        assert_eq!(runnable("0.52 0.58 0.59 3/467 12345\n"), Some(3));
        assert_eq!(runnable("nonsense"), None);
    }
}
