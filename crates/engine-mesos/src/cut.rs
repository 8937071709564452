//! Cuts what tasks need out of offered resources: exactly, in thousandths, entry by entry, so that each piece keeps the reservation,
//! disk and allocation it came from (spec mesos 3.3). Reserved entries are used first (spec executor 5.6). Persistent volumes, disks of
//! their own, shared resources and those of providers are left alone.

use std::collections::BTreeSet;

use mesos::v1::{Resource, value};
use model::{CpuMillis, Ports, Resources};

/// Names of resources.
pub(crate) const CPUS: &str = "cpus";
pub(crate) const MEM: &str = "mem";
pub(crate) const DISK: &str = "disk";
pub(crate) const GPUS: &str = "gpus";
pub(crate) const PORTS: &str = "ports";

/// More than any machine has; sums of such stay countable.
const THOUSANDTHS_MAX: f64 = 1e15;

/// Mesos compares scalars in thousandths. What is no number is nothing.
pub(crate) fn thousandths(scalar: f64) -> i64 {
    (scalar * 1000.0).round().clamp(-THOUSANDTHS_MAX, THOUSANDTHS_MAX) as i64
}

/// Whether tasks may be given this entry at all.
fn is_usable(resource: &Resource) -> bool {
    resource.shared.is_none() && resource.provider_id.is_none() && resource.disk.is_none()
}

/// Whether the entry is set aside for a role.
pub(crate) fn is_reserved(resource: &Resource) -> bool {
    let for_a_role = resource.role.as_deref().is_some_and(|role| role != "*");
    for_a_role || resource.reservation.is_some() || !resource.reservations.is_empty()
}

/// One entry and what is left of it.
#[derive(Clone, Debug)]
struct Entry {
    /// The resource without its amount.
    template: Resource,
    left: Amount,
}

#[derive(Clone, Debug)]
enum Amount {
    Thousandths(i64),
    Ports(Ports),
}

impl Entry {
    fn new(resource: &Resource) -> Option<Self> {
        let left = match (value::Type::try_from(resource.r#type), &resource.scalar, &resource.ranges) {
            (Ok(value::Type::Scalar), Some(scalar), _) => Amount::Thousandths(thousandths(scalar.value)),
            (Ok(value::Type::Ranges), _, Some(ranges)) if resource.name == PORTS => Amount::Ports(ports(ranges)),
            // Sets, other ranges and kinds of the future are nothing that tasks can ask for.
            _ => return None,
        };
        let template = Resource { scalar: None, ranges: None, set: None, ..resource.clone() };
        Some(Self { template, left })
    }

    fn scalar(&self, name: &str, revocable: bool) -> i64 {
        match self.left {
            Amount::Thousandths(left) if self.is(name, revocable) => left.max(0),
            _ => 0,
        }
    }

    fn is(&self, name: &str, revocable: bool) -> bool {
        self.template.name == name && self.template.revocable.is_some() == revocable
    }

    fn with_scalar(&self, thousandths: i64) -> Resource {
        let scalar = Some(value::Scalar { value: thousandths as f64 / 1000.0 });
        Resource { scalar, ..self.template.clone() }
    }
}

fn ports(ranges: &value::Ranges) -> Ports {
    let narrow = |port: u64| u16::try_from(port).unwrap_or(u16::MAX);
    let within = ranges.range.iter().filter(|range| range.begin <= u64::from(u16::MAX) && range.begin <= range.end);
    Ports::from_ranges(within.map(|range| (narrow(range.begin), narrow(range.end))))
}

/// What a task and its executor take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want<'a> {
    pub(crate) task: Resources,
    pub(crate) executor: Resources,
    pub(crate) ports: Vec<&'a u16>,
    pub(crate) revocable: bool,
}

/// The resource entries for a task and for its executor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cut {
    pub(crate) task: Vec<Resource>,
    pub(crate) executor: Vec<Resource>,
}

/// What is left of some offers of one agent and role.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    entries: Vec<Entry>,
}

impl Pool {
    pub(crate) fn new<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let usable = resources.into_iter().filter(|resource| is_usable(resource));
        let mut entries: Vec<Entry> = usable.filter_map(Entry::new).collect();
        entries.sort_by_key(|entry| !is_reserved(&entry.template));
        Self { entries }
    }

    fn scalar(&self, name: &str, revocable: bool) -> i64 {
        self.entries.iter().map(|entry| entry.scalar(name, revocable)).sum()
    }

    /// What there is for tasks: everything but revocable CPU, that, and the ports.
    pub(crate) fn total(&self) -> (Resources, CpuMillis, Ports) {
        let ranges = self.entries.iter().filter_map(|entry| match &entry.left {
            Amount::Ports(ports) => Some(ports.ranges()),
            Amount::Thousandths(_) => None,
        });
        let ports = Ports::from_ranges(ranges.flatten().copied());
        let whole = |name| self.scalar(name, false) / 1000;
        let resources = Resources {
            cpu: CpuMillis(self.scalar(CPUS, false)),
            ram_mb: whole(MEM),
            disk_mb: whole(DISK),
            ports: ports.count(),
            gpus: whole(GPUS),
        };
        (resources, CpuMillis(self.scalar(CPUS, true)), ports)
    }

    /// Takes everything that is wanted, or nothing.
    pub(crate) fn cut(&mut self, want: &Want<'_>) -> Option<Cut> {
        let ports: BTreeSet<u16> = want.ports.iter().copied().copied().collect();
        let amounts = |share: &Resources| {
            [
                (CPUS, want.revocable, share.cpu.0),
                (MEM, false, share.ram_mb.saturating_mul(1000)),
                (DISK, false, share.disk_mb.saturating_mul(1000)),
                (GPUS, false, share.gpus.saturating_mul(1000)),
            ]
        };
        let all = amounts(&(want.task + want.executor));
        let fits = all.iter().all(|(name, revocable, amount)| self.scalar(name, *revocable) >= *amount);
        if !fits || !ports.iter().all(|port| self.port_entry(*port).is_some()) {
            return None;
        }
        let mut cut = Cut::default();
        for (name, revocable, amount) in amounts(&want.task) {
            self.take(name, revocable, amount, &mut cut.task);
        }
        self.take_ports(&ports, &mut cut.task);
        for (name, revocable, amount) in amounts(&want.executor) {
            self.take(name, revocable, amount, &mut cut.executor);
        }
        Some(cut)
    }

    fn take(&mut self, name: &str, revocable: bool, mut amount: i64, into: &mut Vec<Resource>) {
        for entry in &mut self.entries {
            let piece = entry.scalar(name, revocable).min(amount);
            if piece <= 0 {
                continue;
            }
            amount -= piece;
            if let Amount::Thousandths(left) = &mut entry.left {
                *left -= piece;
            }
            put_scalar(entry, piece, into);
        }
    }

    fn port_entry(&self, port: u16) -> Option<usize> {
        self.entries.iter().position(|entry| match &entry.left {
            Amount::Ports(ports) => entry.is(PORTS, false) && ports.contains(port),
            Amount::Thousandths(_) => false,
        })
    }

    fn take_ports(&mut self, ports: &BTreeSet<u16>, into: &mut Vec<Resource>) {
        let mut taken: Vec<(usize, Vec<(u16, u16)>)> = Vec::new();
        for &port in ports {
            let Some(at) = self.port_entry(port) else { continue };
            if let Amount::Ports(left) = &mut self.entries[at].left {
                left.remove(port);
            }
            match taken.iter_mut().find(|(of, _)| *of == at) {
                Some((_, ranges)) => ranges.push((port, port)),
                None => taken.push((at, vec![(port, port)])),
            }
        }
        for (at, ranges) in taken {
            let ranges = Ports::from_ranges(ranges);
            let range = |&(begin, end): &(u16, u16)| value::Range { begin: begin.into(), end: end.into() };
            let ranges = value::Ranges { range: ranges.ranges().iter().map(range).collect() };
            into.push(Resource { ranges: Some(ranges), ..self.entries[at].template.clone() });
        }
    }
}

/// Adds a piece of an entry; pieces of equal entries (of two offers) become one.
fn put_scalar(entry: &Entry, piece: i64, into: &mut Vec<Resource>) {
    for known in into.iter_mut() {
        if known.name != entry.template.name {
            continue;
        }
        let scalar = known.scalar.take();
        if *known == entry.template {
            let before = scalar.map_or(0, |scalar| thousandths(scalar.value));
            *known = entry.with_scalar(before + piece);
            return;
        }
        known.scalar = scalar;
    }
    into.push(entry.with_scalar(piece));
}

#[cfg(test)]
mod tests {
    use mesos::v1::resource::{self, ReservationInfo, reservation_info};
    use proptest::prelude::*;

    use super::*;

    fn scalar(name: &str, value: f64) -> Resource {
        Resource {
            name: name.into(),
            r#type: value::Type::Scalar as i32,
            scalar: Some(value::Scalar { value }),
            allocation_info: Some(resource::AllocationInfo { role: Some("web".into()) }),
            ..Default::default()
        }
    }

    fn reserved(resource: Resource) -> Resource {
        let reservation = ReservationInfo {
            role: Some("web".into()),
            r#type: Some(reservation_info::Type::Static as i32),
            ..Default::default()
        };
        Resource { reservations: vec![reservation], ..resource }
    }

    fn revocable(resource: Resource) -> Resource {
        Resource { revocable: Some(Default::default()), ..resource }
    }

    fn ranges(name: &str, ranges: &[(u64, u64)]) -> Resource {
        let range = ranges.iter().map(|&(begin, end)| value::Range { begin, end }).collect();
        Resource {
            name: name.into(),
            r#type: value::Type::Ranges as i32,
            ranges: Some(value::Ranges { range }),
            ..Default::default()
        }
    }

    fn amounts(cpu: i64, ram_mb: i64) -> Resources {
        Resources { cpu: CpuMillis(cpu), ram_mb, ..Resources::ZERO }
    }

    #[test]
    fn reserved_entries_go_first_and_keep_what_they_are() {
        let offer = [scalar(CPUS, 4.0), reserved(scalar(CPUS, 1.0)), reserved(scalar(MEM, 100.0)), scalar(MEM, 50.5)];
        let mut pool = Pool::new(&offer);
        assert_eq!(pool.total().0, amounts(5000, 150));
        let want = Want { task: amounts(700, 90), executor: amounts(600, 20), ..Default::default() };
        let cut = pool.cut(&want).unwrap();
        assert_eq!(cut.task, [reserved(scalar(CPUS, 0.7)), reserved(scalar(MEM, 90.0))]);
        let executor = [reserved(scalar(CPUS, 0.3)), scalar(CPUS, 0.3), reserved(scalar(MEM, 10.0)), scalar(MEM, 10.0)];
        assert_eq!(cut.executor, executor);
        assert_eq!(pool.total().0, amounts(3700, 40));
    }

    #[test]
    fn pieces_of_two_offers_become_one_entry() {
        let mut pool = Pool::new(&[scalar(CPUS, 0.1), scalar(CPUS, 0.2), scalar(CPUS, 0.4)]);
        let cut = pool.cut(&Want { task: amounts(300, 0), ..Default::default() }).unwrap();
        assert_eq!(cut.task, [scalar(CPUS, 0.3)], "0.1 + 0.2 is exactly 0.3");
        assert!(pool.cut(&Want { task: amounts(401, 0), ..Default::default() }).is_none());
        assert_eq!(pool.total().0, amounts(400, 0), "what does not fit takes nothing");
    }

    #[test]
    fn revocable_cpu_is_apart() {
        let mut pool = Pool::new(&[scalar(CPUS, 1.0), revocable(scalar(CPUS, 8.0)), scalar(MEM, 10.0)]);
        let (resources, revocable_cpu, _) = pool.total();
        assert_eq!((resources, revocable_cpu), (amounts(1000, 10), CpuMillis(8000)));
        assert!(pool.cut(&Want { task: amounts(2000, 5), ..Default::default() }).is_none());
        let want = Want { task: amounts(2000, 5), executor: amounts(10, 0), revocable: true, ..Default::default() };
        let cut = pool.cut(&want).unwrap();
        assert_eq!(cut.task, [revocable(scalar(CPUS, 2.0)), scalar(MEM, 5.0)]);
        assert_eq!(cut.executor, [revocable(scalar(CPUS, 0.01))]);
    }

    #[test]
    fn ports_come_as_ranges_of_their_entries() {
        let offer =
            [ranges(PORTS, &[(31000, 31002), (31005, 31005)]), reserved(ranges(PORTS, &[(80, 81), (70_000, 80_000)]))];
        let mut pool = Pool::new(&offer);
        let (resources, _, ports) = pool.total();
        assert_eq!((resources.ports, ports.ranges()), (6, &[(80, 81), (31000, 31002), (31005, 31005)][..]));
        let want = Want { ports: vec![&31001, &80, &31002, &31005, &31001], ..Default::default() };
        let cut = pool.cut(&want).unwrap();
        assert_eq!(cut.task, [reserved(ranges(PORTS, &[(80, 80)])), ranges(PORTS, &[(31001, 31002), (31005, 31005)])]);
        assert!(pool.cut(&Want { ports: vec![&31001], ..Default::default() }).is_none(), "a port is given once");
    }

    #[test]
    fn volumes_mounts_and_shared_resources_are_left_alone() {
        let disk = |info: resource::DiskInfo| Resource { disk: Some(Box::new(info)), ..scalar(DISK, 100.0) };
        let volume = resource::disk_info::Persistence { id: "v".into(), principal: None };
        let mount = resource::disk_info::Source {
            r#type: resource::disk_info::source::Type::Mount as i32,
            ..Default::default()
        };
        let offer = [
            scalar(DISK, 7.0),
            disk(resource::DiskInfo { persistence: Some(volume), ..Default::default() }),
            disk(resource::DiskInfo { source: Some(mount), ..Default::default() }),
            Resource { shared: Some(Default::default()), ..scalar(DISK, 100.0) },
            Resource { provider_id: Some("p".into()), ..scalar(DISK, 100.0) },
            Resource { r#type: 99, ..scalar(CPUS, 1.0) },
            scalar(GPUS, 2.0),
        ];
        let (resources, _, _) = Pool::new(&offer).total();
        assert_eq!(resources, Resources { disk_mb: 7, gpus: 2, ..Resources::ZERO });
    }

    fn hostile() -> impl Strategy<Value = Resource> {
        let name = prop_oneof![Just(CPUS), Just(MEM), Just(PORTS), Just("x")];
        let ranges = prop::collection::vec((any::<u64>(), any::<u64>()), 0..4);
        (name, any::<i32>(), 0..4i32, any::<bool>(), any::<u64>(), ranges).prop_map(
            |(name, far, near, is_near, bits, ranges)| Resource {
                name: name.into(),
                r#type: if is_near { near } else { far },
                scalar: Some(value::Scalar { value: f64::from_bits(bits) }),
                ranges: Some(value::Ranges {
                    range: ranges.into_iter().map(|(begin, end)| value::Range { begin, end }).collect(),
                }),
                ..Default::default()
            },
        )
    }

    proptest! {
        #[test]
        fn hostile_offers_give_no_more_than_they_hold(
            offer in prop::collection::vec(hostile(), 0..8),
            cpu in 0i64..1_000_000,
            port in any::<u16>(),
        ) {
            let mut pool = Pool::new(&offer);
            let (before, _, ports) = pool.total();
            prop_assert!(before.cpu.0 >= 0 && before.ram_mb >= 0 && before.ports == ports.count());
            let want = Want { task: amounts(cpu, 0), ports: vec![&port], ..Default::default() };
            let fits = cpu <= before.cpu.0 && ports.contains(port);
            prop_assert_eq!(pool.cut(&want).is_some(), fits);
            let left = pool.total().0.cpu.0;
            prop_assert_eq!(left, if fits { before.cpu.0 - cpu } else { before.cpu.0 });
        }

        #[test]
        fn nothing_is_lost_and_nothing_made(
            offered in prop::collection::vec((0i64..5000, any::<bool>()), 1..6),
            wanted in prop::collection::vec((0i64..2000, 0i64..500), 1..12),
        ) {
            let resources: Vec<Resource> = offered.iter().map(|(millis, is_reserved)| {
                let entry = scalar(CPUS, *millis as f64 / 1000.0);
                if *is_reserved { reserved(entry) } else { entry }
            }).collect();
            let mut pool = Pool::new(&resources);
            let mut left = pool.total().0.cpu.0;
            prop_assert_eq!(left, offered.iter().map(|(millis, _)| millis).sum::<i64>());
            for (task, executor) in wanted {
                let want = Want { task: amounts(task, 0), executor: amounts(executor, 0), ..Default::default() };
                let cut = pool.cut(&want);
                prop_assert_eq!(cut.is_some(), task + executor <= left);
                if let Some(cut) = cut {
                    let sum = |share: &[Resource]| share.iter().map(|it| thousandths(it.scalar.unwrap().value)).sum::<i64>();
                    prop_assert_eq!((sum(&cut.task), sum(&cut.executor)), (task, executor));
                    left -= task + executor;
                }
                prop_assert_eq!(pool.total().0.cpu.0, left);
            }
        }
    }
}
