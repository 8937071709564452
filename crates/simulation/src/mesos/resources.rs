//! Resources as Mesos counts them: scalars in thousandths, inclusive ranges, sets; kept apart by reservation and revocability (spec
//! mesos 3.3). Shared resources, persistent volumes and resource providers are not part of the simulation.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Cores.
    Cpus,
    /// Memory in MB.
    Mem,
    /// Disk in MB.
    Disk,
    /// Whole GPUs.
    Gpus,
    /// Ports.
    Ports,
    /// Anything else an operator names.
    Other(Box<str>),
}

impl Name {
    /// From its text.
    pub fn new(text: &str) -> Self {
        match text {
            "cpus" => Self::Cpus,
            "mem" => Self::Mem,
            "disk" => Self::Disk,
            "gpus" => Self::Gpus,
            "ports" => Self::Ports,
            other => Self::Other(other.into()),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
            Self::Ports => "ports",
            Self::Other(name) => name,
        }
    }
}

/// One reservation of a stack of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// For this role and the roles below it.
    pub role: String,
    /// Made at run time rather than by the agent's flags.
    pub dynamic: bool,
    /// Who made it.
    pub principal: Option<String>,
    /// Labels, in order.
    pub labels: Vec<(String, Option<String>)>,
}

/// What must agree for two quantities to be added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Name.
    pub name: Name,
    /// Reservations, outermost first; none for resources that anybody may have.
    pub reservations: Option<Arc<[Reservation]>>,
    /// Whether it may be taken back at any time.
    pub revocable: bool,
}

impl Kind {
    /// Unreserved and not revocable.
    pub fn plain(name: Name) -> Self {
        Self { name, reservations: None, revocable: false }
    }

    /// The role it is reserved for.
    pub fn role(&self) -> Option<&str> {
        self.reservations.as_deref()?.last().map(|reservation| reservation.role.as_str())
    }

    /// Whether it can be offered to this role: unreserved, or reserved for it or a role above it (spec mesos 3.2).
    pub fn is_offerable_to(&self, role: &str) -> bool {
        self.role().is_none_or(|reserved| {
            role == reserved || role.strip_prefix(reserved).is_some_and(|below| below.starts_with('/'))
        })
    }
}

/// How much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Thousandths.
    Scalar(i64),
    /// Inclusive ranges, ascending, apart by at least one number.
    Ranges(Vec<(u64, u64)>),
    /// Names.
    Set(BTreeSet<String>),
}

impl Quantity {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(milli) => *milli == 0,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(want)) => have >= want,
            (Self::Ranges(have), Self::Ranges(want)) => {
                want.iter().all(|(begin, end)| have.iter().any(|(first, last)| first <= begin && end <= last))
            }
            (Self::Set(have), Self::Set(want)) => want.is_subset(have),
            _ => false,
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(more)) => *have += more,
            (Self::Ranges(have), Self::Ranges(more)) => {
                have.extend(more);
                *have = coalesced(std::mem::take(have));
            }
            (Self::Set(have), Self::Set(more)) => have.extend(more.iter().cloned()),
            _ => {}
        }
    }

    fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(less)) => *have -= less,
            (Self::Ranges(have), Self::Ranges(less)) => {
                for (begin, end) in less {
                    cut(have, *begin, *end);
                }
            }
            (Self::Set(have), Self::Set(less)) => have.retain(|item| !less.contains(item)),
            _ => {}
        }
    }
}

/// Ranges in order, with those that touch or overlap joined.
pub fn coalesced(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (begin, end) in ranges {
        match joined.last_mut() {
            Some((_, last)) if begin <= last.saturating_add(1) => *last = (*last).max(end),
            _ => joined.push((begin, end)),
        }
    }
    joined
}

fn cut(ranges: &mut Vec<(u64, u64)>, begin: u64, end: u64) {
    let mut at = 0;
    while at < ranges.len() {
        let (first, last) = ranges[at];
        if last < begin || first > end {
            at += 1;
            continue;
        }
        ranges.remove(at);
        if last > end {
            ranges.insert(at, (end + 1, last));
        }
        if first < begin {
            ranges.insert(at, (first, begin - 1));
            at += 1;
        }
    }
}

/// A multiset of resources. No entry is empty; entries are in the order of their kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(Vec<(Kind, Quantity)>);

impl Resources {
    /// One scalar of a plain kind, in thousandths.
    pub fn scalar(name: Name, milli: i64) -> Self {
        let mut resources = Self::default();
        resources.insert(Kind::plain(name), &Quantity::Scalar(milli));
        resources
    }

    /// From an agent's flag, as in `cpus:4;mem(web):1024;ports:[31000-31999,32500-32500];cpus{revocable}:2`.
    ///
    /// # Panics
    /// On text that is not of this form: it is written in tests.
    pub fn parse(text: &str) -> Self {
        let mut resources = Self::default();
        for entry in text.split(';').filter(|entry| !entry.is_empty()) {
            let (left, value) = entry.split_once(':').expect("name:value");
            let revocable = left.ends_with("{revocable}");
            let left = left.trim_end_matches("{revocable}");
            let (name, role) = match left.split_once('(') {
                Some((name, role)) => (name, Some(role.trim_end_matches(')'))),
                None => (left, None),
            };
            let reservations = role.filter(|role| *role != "*").map(|role| {
                let role = role.to_owned();
                Arc::from([Reservation { role, dynamic: false, principal: None, labels: Vec::new() }])
            });
            let kind = Kind { name: Name::new(name), reservations, revocable };
            let quantity = match value.strip_prefix('[') {
                Some(ranges) => Quantity::Ranges(coalesced(
                    ranges
                        .trim_end_matches(']')
                        .split(',')
                        .map(|range| {
                            let (begin, end) = range.split_once('-').expect("begin-end");
                            (begin.trim().parse().expect("a number"), end.trim().parse().expect("a number"))
                        })
                        .collect(),
                )),
                None => Quantity::Scalar((value.parse::<f64>().expect("a number") * 1000.0).round() as i64),
            };
            resources.insert(kind, &quantity);
        }
        resources
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Kind, &Quantity)> {
        self.0.iter().map(|(kind, quantity)| (kind, quantity))
    }

    fn find(&self, kind: &Kind) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(kind))
    }

    /// Adds a quantity of a kind; nothing happens for nothing.
    pub fn insert(&mut self, kind: Kind, quantity: &Quantity) {
        if quantity.is_empty() {
            return;
        }
        match self.find(&kind) {
            Ok(at) => self.0[at].1.add(quantity),
            Err(at) => self.0.insert(at, (kind, quantity.clone())),
        }
    }

    /// Adds.
    pub fn add(&mut self, other: &Self) {
        for (kind, quantity) in &other.0 {
            match self.find(kind) {
                Ok(at) => self.0[at].1.add(quantity),
                Err(at) => self.0.insert(at, (kind.clone(), quantity.clone())),
            }
        }
        self.0.retain(|(_, quantity)| !quantity.is_empty());
    }

    /// Takes away. What is not there goes below nothing for scalars, so that coming back restores it: an agent that returns with its
    /// tasks may be over-committed for a while (spec mesos 3.7).
    pub fn subtract(&mut self, other: &Self) {
        for (kind, quantity) in &other.0 {
            match (self.find(kind), quantity) {
                (Ok(at), _) => self.0[at].1.subtract(quantity),
                (Err(at), Quantity::Scalar(milli)) => {
                    self.0.insert(at, (kind.clone(), Quantity::Scalar(-milli)));
                }
                (Err(_), _) => {}
            }
        }
        self.0.retain(|(_, quantity)| !quantity.is_empty());
    }

    /// Whether all of the other is in it, each kind for itself.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(kind, wanted)| match self.find(kind) {
            Ok(at) => self.0[at].1.contains(wanted),
            Err(_) => matches!(wanted, Quantity::Scalar(milli) if *milli <= 0),
        })
    }

    /// What is above nothing and satisfies a condition.
    pub fn filtered(&self, keep: impl Fn(&Kind) -> bool) -> Self {
        let positive = |quantity: &Quantity| !matches!(quantity, Quantity::Scalar(milli) if *milli < 0);
        Self(self.0.iter().filter(|(kind, quantity)| keep(kind) && positive(quantity)).cloned().collect())
    }

    /// Sum of a scalar over all kinds, in thousandths.
    pub fn total_milli(&self, name: &Name) -> i64 {
        let scalars = self.0.iter().filter(|(kind, _)| kind.name == *name);
        scalars.map(|(_, quantity)| if let Quantity::Scalar(milli) = quantity { *milli } else { 0 }).sum()
    }

    /// Whether any entry has this name.
    pub fn has(&self, name: &Name) -> bool {
        self.0.iter().any(|(kind, _)| kind.name == *name)
    }

    /// Whether the ports of both overlap.
    pub fn shares_ports_with(&self, other: &Self) -> bool {
        let ports = |resources: &Self| -> Vec<(u64, u64)> {
            let ranges = resources.0.iter().filter_map(|(kind, quantity)| match quantity {
                Quantity::Ranges(ranges) if kind.name == Name::Ports => Some(ranges.clone()),
                _ => None,
            });
            ranges.flatten().collect()
        };
        let others = ports(other);
        ports(self).iter().any(|(begin, end)| others.iter().any(|(first, last)| begin <= last && first <= end))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, quantity)) in self.0.iter().enumerate() {
            let revocable = if kind.revocable { "{REV}" } else { "" };
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{}({}){revocable}:", kind.name.as_str(), kind.role().unwrap_or("*"))?;
            match quantity {
                Quantity::Scalar(milli) => write!(f, "{}", *milli as f64 / 1000.0)?,
                Quantity::Ranges(ranges) => {
                    let ranges: Vec<_> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
                    write!(f, "[{}]", ranges.join(", "))?;
                }
                Quantity::Set(items) => write!(f, "{items:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_are_cut_in_the_middle() {
        let mut all = Resources::parse("ports:[10-19,20-30,40-50]");
        all.subtract(&Resources::parse("ports:[12-13,30-45]"));
        assert_eq!(all, Resources::parse("ports:[10-11,14-29,46-50]"));
        all.add(&Resources::parse("ports:[12-13,30-30,40-45]"));
        assert_eq!(all, Resources::parse("ports:[10-30,40-50]"));
        assert!(all.contains(&Resources::parse("ports:[15-25]")));
        assert!(!all.contains(&Resources::parse("ports:[30-40]")));
    }

    #[test]
    fn kinds_are_apart_and_reservations_reach_the_roles_below() {
        let agent = Resources::parse("cpus:2;cpus(web):4;cpus{revocable}:8;mem:100");
        assert!(!agent.contains(&Resources::parse("cpus:3")), "reserved and revocable ones do not help");
        assert!(agent.contains(&Resources::parse("cpus:2;cpus(web):4")));
        let web = agent.filtered(|kind| kind.is_offerable_to("web/front"));
        assert_eq!(web.total_milli(&Name::Cpus), 14_000);
        assert_eq!(agent.filtered(|kind| kind.is_offerable_to("website")).total_milli(&Name::Cpus), 10_000);
    }

    #[test]
    fn taking_too_much_is_remembered_and_not_offered() {
        let mut agent = Resources::parse("cpus:2;mem:100");
        agent.subtract(&Resources::parse("cpus:3;mem:100;disk:1"));
        assert!(agent.filtered(|_| true).is_empty());
        agent.add(&Resources::parse("cpus:3;mem:100;disk:1"));
        assert_eq!(agent, Resources::parse("cpus:2;mem:100"));
    }
}
