//! The filter: whether an agent may take a task, and if not, why (spec scheduler 2.4, 2.5). Checks run from the strongest to
//! the weakest and stop at the first kind that refuses; only missing resources can be several at once.

use std::collections::BTreeMap;

use model::constraint::DEDICATED;
use model::{MaintenanceMode, ResourceType, Resources, TaskConfig, TaskConstraint};

use super::index::{UNDEDICATED, Wanted, value_bit};
use super::offers::{Agent, Attributes, OfferBook};

/// Why an agent is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Veto<'a> {
    /// The host is kept for others.
    Dedicated,
    /// The host goes away.
    Maintenance {
        /// Nothing runs there any more.
        drained: bool,
    },
    /// A value constraint fails, or the host lacks the attribute a limit speaks of.
    Constraint(&'a str),
    /// A limit is reached.
    Limit(&'a str),
    /// What is missing of each kind, in the order of [`ResourceType::ALL`]; CPU in thousandths.
    Resources([i64; 5]),
}

impl Veto<'_> {
    /// Whether it holds for as long as the agent's attributes stay what they are.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Dedicated | Self::Constraint(_))
    }

    /// Group of the veto in counters: resources are static, because an offer never changes.
    pub(crate) fn is_dynamic(&self) -> bool {
        matches!(self, Self::Limit(_))
    }

    /// How far the agent is from fitting (spec scheduler 2.4).
    pub(crate) fn score(&self) -> i64 {
        match self {
            Self::Dedicated => 1_000_000,
            Self::Maintenance { .. } => 100_000,
            Self::Constraint(_) | Self::Limit(_) => 10_000,
            Self::Resources(missing) => {
                ResourceType::ALL.into_iter().zip(missing).map(|(kind, missing)| resource_score(kind, *missing)).sum()
            }
        }
    }

    /// The veto without amounts: those alike have the same texts.
    pub(crate) fn kind(&self) -> Self {
        match self {
            Self::Resources(missing) => Self::Resources(missing.map(i64::signum)),
            other => other.clone(),
        }
    }

    /// The texts of the reasons.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Dedicated => vec!["Host is dedicated".into()],
            Self::Maintenance { drained: false } => vec!["Host draining for maintenance".into()],
            Self::Maintenance { drained: true } => vec!["Host drained for maintenance".into()],
            Self::Constraint(name) => vec![format!("Constraint not satisfied: {name}")],
            Self::Limit(name) => vec![format!("Limit not satisfied: {name}")],
            Self::Resources(missing) => ResourceType::ALL
                .into_iter()
                .zip(missing)
                .filter(|(_, missing)| **missing > 0)
                .map(|(kind, _)| format!("Insufficient: {}", kind.name()))
                .collect(),
        }
    }
}

fn resource_score(kind: ResourceType, missing: i64) -> i64 {
    let thousandths = if kind == ResourceType::Cpus { missing } else { missing.saturating_mul(1000) };
    (thousandths / kind.veto_range()).clamp(0, 1000)
}

/// How many of the job's placed tasks are on hosts with each value of the attributes that its limits speak of.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitCounts(BTreeMap<String, BTreeMap<String, i64>>);

impl LimitCounts {
    /// Counts the placed tasks of a job, given with the attributes of their agents.
    pub(crate) fn new<'a>(config: &TaskConfig, placed: impl Iterator<Item = (&'a Attributes, i64)>) -> Self {
        let mut counts = Self::default();
        for (name, _) in limits(config) {
            counts.0.insert(name.into(), BTreeMap::new());
        }
        if !counts.0.is_empty() {
            placed.for_each(|(attributes, count)| counts.add(attributes, count));
        }
        counts
    }

    /// Counts tasks placed on a host with these attributes; negative when they are to leave.
    pub(crate) fn add(&mut self, attributes: &Attributes, by: i64) {
        for (name, counts) in &mut self.0 {
            for value in attributes.get(name).into_iter().flatten() {
                *counts.entry(value.clone()).or_default() += by;
            }
        }
    }

    fn count(&self, name: &str, value: &str) -> i64 {
        self.0.get(name).and_then(|counts| counts.get(value)).copied().unwrap_or(0)
    }
}

fn limits(config: &TaskConfig) -> impl Iterator<Item = (&str, i64)> {
    config.constraints.iter().filter_map(|constraint| match constraint.constraint {
        TaskConstraint::Limit { limit } => Some((constraint.name.as_str(), i64::from(limit))),
        TaskConstraint::Value { .. } => None,
    })
}

/// What is asked of agents: one group's configuration and demand.
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) config: &'a TaskConfig,
    pub(crate) demand: Resources,
    pub(crate) revocable: bool,
    /// Now, later by the time a host is left alone before it goes away.
    pub(crate) unavailable_until_ms: i64,
}

impl<'a> Query<'a> {
    /// Why the agent is refused, `None` when it fits. `usable` is what counts as free there.
    pub(crate) fn veto(&self, agent: &Agent, usable: &Resources, counts: &LimitCounts) -> Option<Veto<'a>> {
        if agent.attributes.contains_key(DEDICATED) && self.config.constraint(DEDICATED).is_none() {
            return Some(Veto::Dedicated);
        }
        if !agent.mode.takes_tasks() {
            return Some(Veto::Maintenance { drained: agent.mode == MaintenanceMode::Drained });
        }
        if agent.unavailable_from_ms.is_some_and(|from_ms| from_ms < self.unavailable_until_ms) {
            return Some(Veto::Maintenance { drained: false });
        }
        self.constraint_veto(&agent.attributes, counts).or_else(|| self.resource_veto(usable))
    }

    fn constraint_veto(&self, attributes: &Attributes, counts: &LimitCounts) -> Option<Veto<'a>> {
        for constraint in &self.config.constraints {
            let TaskConstraint::Value { negated, values } = &constraint.constraint else { continue };
            let matches = attributes.get(&constraint.name).is_some_and(|have| have.iter().any(|v| values.contains(v)));
            if matches == *negated {
                return Some(Veto::Constraint(&constraint.name));
            }
        }
        for (name, limit) in limits(self.config) {
            let Some(values) = attributes.get(name).filter(|values| !values.is_empty()) else {
                return Some(Veto::Constraint(name));
            };
            if values.iter().any(|value| counts.count(name, value) >= limit) {
                return Some(Veto::Limit(name));
            }
        }
        None
    }

    fn resource_veto(&self, usable: &Resources) -> Option<Veto<'a>> {
        let missing = ResourceType::ALL.map(|kind| (self.demand.amount(kind) - usable.amount(kind)).max(0));
        (missing != [0; 5]).then_some(Veto::Resources(missing))
    }

    /// How many tasks the limits allow on that agent, beyond the one that was just checked.
    pub(crate) fn limit_room(&self, attributes: &Attributes, counts: &LimitCounts) -> u64 {
        limits(self.config)
            .flat_map(|(name, limit)| {
                let values = attributes.get(name).into_iter().flatten();
                values.map(move |value| (limit - counts.count(name, value)).max(0) as u64)
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    /// What to look for in the index; `None` when no agent can satisfy the constraints now.
    pub(crate) fn wanted(&self, book: &OfferBook, counts: &LimitCounts) -> Option<Wanted> {
        const MOST_VALUES: usize = 128;
        let mut masks = Vec::new();
        if self.config.constraint(DEDICATED).is_none() {
            masks.push(UNDEDICATED);
        }
        for constraint in &self.config.constraints {
            let name = &constraint.name;
            let mask: u128 = match &constraint.constraint {
                TaskConstraint::Value { negated: true, .. } => continue,
                TaskConstraint::Value { values, .. } => values
                    .iter()
                    .filter(|value| book.with_value(name, value).is_some())
                    .fold(0, |mask, value| mask | value_bit(name, value)),
                TaskConstraint::Limit { .. } if book.values_of(name).nth(MOST_VALUES).is_some() => continue,
                TaskConstraint::Limit { limit } => book
                    .values_of(name)
                    .filter(|value| counts.count(name, value) < i64::from(*limit))
                    .fold(0, |mask, value| mask | value_bit(name, value)),
            };
            if mask == 0 {
                return None;
            }
            masks.push(mask);
        }
        Some(Wanted::new(&self.demand, self.revocable, masks))
    }

    /// The few agents that alone can satisfy a value constraint, when they are few.
    pub(crate) fn few_candidates(&self, book: &OfferBook) -> Option<Vec<usize>> {
        const FEW: usize = 16;
        for constraint in &self.config.constraints {
            let TaskConstraint::Value { negated: false, values } = &constraint.constraint else { continue };
            let lists = values.iter().filter_map(|value| book.with_value(&constraint.name, value));
            let slots: Vec<usize> = lists.flatten().copied().take(FEW + 1).collect();
            if slots.len() <= FEW {
                return Some(slots);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CpuMillis, JobKey};

    fn missing(cpu_millis: i64, ram_mb: i64, disk_mb: i64, ports: i64, gpus: i64) -> Veto<'static> {
        Veto::Resources([cpu_millis, ram_mb, disk_mb, ports, gpus])
    }

    #[test]
    fn scores_are_those_of_the_reference() {
        assert_eq!(Veto::Dedicated.score(), 1_000_000);
        assert_eq!(Veto::Maintenance { drained: false }.score(), 100_000);
        assert_eq!(Veto::Constraint("rack").score(), 10_000);
        assert_eq!(Veto::Limit("rack").score(), 10_000);
        assert_eq!(missing(1000, 0, 0, 0, 0).score(), 62, "1000 * 1 / 16");
        assert_eq!(missing(0, 24_576, 0, 0, 0).score(), 1000);
        assert_eq!(missing(0, 0, 460_800, 0, 0).score(), 1000);
        assert_eq!(missing(0, 0, 0, 1, 0).score(), 1);
        assert_eq!(missing(0, 0, 0, 0, 1).score(), 250);
        assert_eq!(missing(900_000, 0, 0, 0, 9).score(), 2000, "each kind counts up to 1000");
        assert_eq!(missing(i64::MAX, i64::MAX, 0, 0, 0).score(), 2000);
    }

    #[test]
    fn texts_are_those_of_the_reference() {
        assert_eq!(Veto::Dedicated.texts(), ["Host is dedicated"]);
        assert_eq!(Veto::Maintenance { drained: false }.texts(), ["Host draining for maintenance"]);
        assert_eq!(Veto::Maintenance { drained: true }.texts(), ["Host drained for maintenance"]);
        assert_eq!(Veto::Constraint("rack").texts(), ["Constraint not satisfied: rack"]);
        assert_eq!(Veto::Limit("host").texts(), ["Limit not satisfied: host"]);
        let all = ["CPU", "RAM", "disk", "ports", "GPU"].map(|name| format!("Insufficient: {name}"));
        assert_eq!(missing(1, 1, 1, 1, 1).texts(), all);
    }

    /// The first kind of veto wins, from the strongest on; only resources can be several.
    #[test]
    fn the_strongest_veto_is_the_one_that_is_told() {
        let value = |negated| TaskConstraint::Value { negated, values: ["r1".to_owned()].into() };
        let constraint = |name: &str, constraint| model::Constraint { name: name.into(), constraint };
        let mut config = TaskConfig::new(JobKey::new("r", "e", "j"), 2.0, 2, 2, "");
        // By name the limit comes first; value constraints are looked at first all the same.
        config.constraints =
            [constraint("a", TaskConstraint::Limit { limit: 1 }), constraint("rack", value(false))].into();
        let query = Query { config: &config, demand: config.resources, revocable: false, unavailable_until_ms: 1000 };
        let attributes = |pairs: &[(&str, &str)]| -> Attributes {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
        };
        let mut counts = LimitCounts::new(&config, std::iter::empty());
        counts.add(&attributes(&[("a", "full")]), 1);
        let poor = Resources { cpu: CpuMillis(1999), ram_mb: 1, disk_mb: 2, ..Resources::ZERO };
        let mut agent = Agent::default();
        agent.attributes = attributes(&[("dedicated", "x/y"), ("rack", "r2")]);
        agent.unavailable_from_ms = Some(999);
        let veto = |agent: &Agent| query.veto(agent, &poor, &counts);
        assert_eq!(veto(&agent), Some(Veto::Dedicated));
        agent.attributes.remove("dedicated");
        assert_eq!(veto(&agent), Some(Veto::Maintenance { drained: false }));
        agent.mode = MaintenanceMode::Drained;
        assert_eq!(veto(&agent), Some(Veto::Maintenance { drained: true }));
        agent.mode = MaintenanceMode::Scheduled;
        agent.unavailable_from_ms = Some(1000);
        assert_eq!(veto(&agent), Some(Veto::Constraint("rack")));
        agent.attributes = attributes(&[("rack", "r1")]);
        assert_eq!(veto(&agent), Some(Veto::Constraint("a")), "a limit on an attribute the host lacks");
        agent.attributes = attributes(&[("rack", "r1"), ("a", "full")]);
        assert_eq!(veto(&agent), Some(Veto::Limit("a")));
        agent.attributes = attributes(&[("rack", "r1"), ("a", "empty")]);
        assert_eq!(veto(&agent), Some(missing(1, 1, 0, 0, 0)));
        let rich = config.resources;
        assert_eq!(query.veto(&agent, &rich, &counts), None);
    }
}
