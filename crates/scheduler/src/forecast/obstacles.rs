//! Why agents refuse, counted and with amounts: what people are told of a task that finds no room. The refusals are the filter's; its
//! sentence is the one shown everywhere else.

use std::collections::{BTreeMap, BTreeSet};

use model::{Host, ResourceType, TaskConstraint, TaskId};

use super::room::Rooms;
use crate::placement::filter::Veto;
use crate::placement::reasons::{explain, without_executor};

/// Hosts named for each reason; the others are counted.
const MOST_HOSTS: usize = 5;
/// Values named for each constraint.
const MOST_VALUES: usize = 12;

/// What stands in the way of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Obstacles {
    /// Agents looked at.
    pub agents: u32,
    /// One plain sentence.
    pub sentence: String,
    /// The texts of the nearest fit, as Aurora has them (spec scheduler 2.4).
    pub nearest_fit: String,
    /// Agents by what makes them refuse, most first.
    pub reasons: Vec<Obstacle>,
    /// The agent that is nearest to fitting, when it only lacks resources.
    pub nearest: Option<Nearest>,
    /// What the configuration asks of attributes, and what agents have.
    pub constraints: Vec<ConstraintSeen>,
    /// Whether evicting others could help.
    pub preemption: PreemptionHelp,
}

/// Agents that refuse for the same reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Obstacle {
    /// The texts of the filter (spec scheduler 2.4), e.g. `Insufficient: CPU`.
    pub texts: Vec<String>,
    /// How many agents.
    pub agents: u32,
    /// Some of their hosts.
    pub hosts: Vec<Host>,
}

/// An agent and what it lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// Host.
    pub host: Host,
    /// What it lacks.
    pub lacks: Vec<Shortfall>,
}

/// What an agent has too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Kind.
    pub kind: ResourceType,
    /// What a task takes, its executor included; CPU in thousandths of a core.
    pub needed: i64,
    /// What is free there, in the same unit.
    pub free: i64,
}

/// A constraint of the configuration, and the values that agents have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConstraintSeen {
    /// Attribute.
    pub name: String,
    /// What is asked, e.g. `one of r1, r2`, `none of r3`, `at most 2 for each value`.
    pub wanted: String,
    /// Values of the attribute, and how many agents have each.
    pub seen: BTreeMap<String, u32>,
    /// Agents without the attribute.
    pub without: u32,
}

/// Whether preemption could help.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreemptionHelp {
    /// Whether it is on.
    pub is_enabled: bool,
    /// How long a task must be pending before it may evict others, in ms.
    pub delay_ms: u64,
    /// Whether it was looked at; not in a view of very many tasks.
    pub was_looked_at: bool,
    /// Where room could be made.
    pub host: Option<Host>,
    /// The tasks that would go.
    pub victims: Vec<TaskId>,
}

impl Obstacles {
    /// What the agents say.
    pub(super) fn of(rooms: &Rooms<'_>) -> Self {
        let query = &rooms.query;
        let reason = match rooms.missing_executor() {
            Some(name) => without_executor(name),
            None => explain(query, &rooms.counts, rooms.agents.iter()),
        };
        let mut groups: BTreeMap<Vec<String>, (u32, BTreeSet<Host>)> = BTreeMap::new();
        let mut nearest: Option<(i64, Nearest)> = None;
        for (agent, reserved) in rooms.agents.iter().zip(&rooms.reserved) {
            let usable = agent.left(query.revocable);
            let veto = query.veto(agent, &usable, &rooms.counts);
            let texts = match &veto {
                Some(veto) => veto.texts(),
                None if *reserved => vec!["Kept for a task that made room there by preemption".to_owned()],
                None => continue,
            };
            let (agents, hosts) = groups.entry(texts).or_default();
            *agents += 1;
            if hosts.len() < MOST_HOSTS {
                hosts.insert(agent.host.clone());
            }
            if let Some(veto @ Veto::Resources(missing)) = &veto
                && nearest.as_ref().is_none_or(|(score, _)| veto.score() < *score)
            {
                let short = ResourceType::ALL.into_iter().zip(missing).filter(|(_, missing)| **missing > 0);
                let lacks = short.map(|(kind, _)| Shortfall {
                    kind,
                    needed: query.demand.amount(kind),
                    free: usable.amount(kind),
                });
                nearest = Some((veto.score(), Nearest { host: agent.host.clone(), lacks: lacks.collect() }));
            }
        }
        let mut reasons: Vec<Obstacle> = groups
            .into_iter()
            .map(|(texts, (agents, hosts))| Obstacle { texts, agents, hosts: hosts.into_iter().collect() })
            .collect();
        reasons.sort_by(|one, other| other.agents.cmp(&one.agents).then_with(|| one.texts.cmp(&other.texts)));
        Self {
            agents: rooms.agents.len() as u32,
            sentence: reason.sentence,
            nearest_fit: reason.nearest_fit,
            reasons,
            nearest: nearest.map(|(_, nearest)| nearest),
            constraints: constraints(rooms),
            preemption: PreemptionHelp::default(),
        }
    }
}

fn constraints(rooms: &Rooms<'_>) -> Vec<ConstraintSeen> {
    let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let seen_of = |name: &str, wanted: String| {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let mut without = 0;
        for agent in &rooms.agents {
            match agent.attributes.get(name).filter(|values| !values.is_empty()) {
                None => without += 1,
                Some(values) => values.iter().for_each(|value| *seen.entry(value.clone()).or_default() += 1),
            }
        }
        if seen.len() > MOST_VALUES {
            let mut by_count: Vec<(String, u32)> = seen.into_iter().collect();
            by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            by_count.truncate(MOST_VALUES);
            seen = by_count.into_iter().collect();
        }
        ConstraintSeen { name: name.to_owned(), wanted, seen, without }
    };
    let of_config = rooms.query.config.constraints.iter();
    of_config
        .map(|constraint| {
            let wanted = match &constraint.constraint {
                TaskConstraint::Value { negated: false, values } if values.len() == 1 => list(values),
                TaskConstraint::Value { negated: false, values } => format!("one of {}", list(values)),
                TaskConstraint::Value { negated: true, values } => format!("none of {}", list(values)),
                TaskConstraint::Limit { limit } => format!("at most {limit} for each value"),
            };
            seen_of(&constraint.name, wanted)
        })
        .collect()
}
