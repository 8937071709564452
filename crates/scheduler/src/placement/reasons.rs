//! Why a group is not placed: the nearest fit, as Aurora words it, and one plain sentence (spec scheduler 2.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ResourceType, Resources};

use super::filter::{LimitCounts, Query, Veto};
use super::groups::{Group, Turn};
use super::offers::{Agent, MaxEach};
use crate::core::Core;
use crate::view::PendingReason;

/// Beyond this many agents the reason is drawn from a sample, so that a failing group never costs more than this.
const MOST_AGENTS: usize = 1024;
/// In a cluster with at most so many agents and waiting groups, reasons follow the offers; in a larger one they are as old as
/// the group's back-off.
const FEW: usize = 64;
/// How old a reason may be before an offer makes it be worked out anew; one that knew of no agent at all is never too young.
const REASON_AGE_MS: u64 = 1000;
/// The same where there are many.
const REASON_AGE_OF_MANY_MS: u64 = 10_000;

impl Core {
    /// After new room was handed out: those who got nothing may have another reason now.
    pub(crate) fn explain_again(&mut self) {
        if self.book.slot_count() > FEW || self.groups.by_number.len() > FEW {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let stale = |group: &Group| {
            let known = group.reason.as_ref().is_some_and(|reason| !reason.nearest_fit.is_empty());
            group.turn != Turn::Ready && (!known || now_ms.saturating_sub(group.explained_ms) >= REASON_AGE_MS)
        };
        let groups = self.groups.by_number.iter().filter(|(_, group)| stale(group));
        let numbers: Vec<u64> = groups.map(|(number, _)| *number).collect();
        numbers.into_iter().for_each(|number| self.explain_group(number));
    }

    /// A group found no place: works out why, unless that was done a moment ago and many others wait.
    pub(crate) fn explain_if_old(&mut self, number: u64) {
        let many = self.groups.by_number.len() > FEW;
        let now_ms = self.now.monotonic_ms;
        let young =
            |group: &Group| group.reason.is_some() && now_ms.saturating_sub(group.explained_ms) < REASON_AGE_OF_MANY_MS;
        if !(many && self.groups.by_number.get(&number).is_some_and(young)) {
            self.explain_group(number);
        }
    }

    /// Works out why nothing (more) of a group can be placed, and shows it with each of its tasks.
    pub(crate) fn explain_group(&mut self, number: u64) {
        // Those that wait for one agent only have their reason already.
        let Some(group) = self.groups.by_number.get(&number).filter(|group| !group.queue.is_empty()) else { return };
        let query = self.query(&group.config, group.class);
        let counts = self.limit_counts(&group.config);
        let step = self.book.slot_count().div_ceil(MOST_AGENTS).max(1);
        let reason = match self.missing_executor(&group.config) {
            Some(name) => without_executor(name),
            None => explain(&query, &counts, self.book.agents().step_by(step).map(|(_, agent)| agent)),
        };
        self.book.examined += (self.book.slot_count() / step) as u64;
        let Some(group) = self.groups.by_number.get_mut(&number) else { return };
        group.explained_ms = self.now.monotonic_ms;
        if group.reason.as_deref() == Some(&reason) {
            return;
        }
        let reason = Arc::new(reason);
        group.reason = Some(reason.clone());
        let ids: Vec<_> = group.queue.values().cloned().collect();
        self.work += ids.len() / 16;
        for id in ids {
            self.store.view.pending_reasons.insert(id, reason.clone());
        }
    }
}

/// The operator took away what would start the task (spec executor 5.2).
pub(crate) fn without_executor(name: &str) -> PendingReason {
    PendingReason {
        nearest_fit: format!("Executor not configured: {name}"),
        sentence: format!("executor {name} is not configured on this cluster"),
        vetoes: BTreeMap::new(),
    }
}

/// The nearest fit among agents, how many refuse for each reason, and the sentence.
pub(crate) fn explain<'a>(
    query: &Query<'_>,
    counts: &LimitCounts,
    agents: impl Iterator<Item = &'a Agent>,
) -> PendingReason {
    let mut nearest: Option<Veto<'_>> = None;
    let mut kinds: BTreeMap<Veto<'_>, u32> = BTreeMap::new();
    let mut sight = Sight::default();
    for agent in agents {
        // What is left after the last placement counts, even while the agent offers nothing.
        let usable = agent.left(query.revocable);
        sight.agents += 1;
        let Some(veto) = query.veto(agent, &usable, counts) else { continue };
        *kinds.entry(veto.kind()).or_default() += 1;
        sight.see(agent, &usable, &veto);
        if nearest.as_ref().is_none_or(|nearest| veto.score() < nearest.score()) {
            nearest = Some(veto);
        }
    }
    let mut vetoes = BTreeMap::new();
    for (kind, count) in kinds {
        kind.texts().into_iter().for_each(|text| *vetoes.entry(text).or_default() += count);
    }
    let nearest_fit = nearest.as_ref().map(|veto| veto.texts().join(",")).unwrap_or_default();
    PendingReason { nearest_fit, sentence: sight.sentence(query, nearest.as_ref()), vetoes }
}

/// How many agents were seen, and what those have that satisfy all constraints.
#[derive(Default)]
struct Sight {
    agents: usize,
    largest: Resources,
    most_free: Resources,
}

impl Sight {
    fn see(&mut self, agent: &Agent, usable: &Resources, veto: &Veto<'_>) {
        if matches!(veto, Veto::Resources(_)) {
            self.largest = self.largest.max_each(&agent.total);
            self.most_free = self.most_free.max_each(usable);
        }
    }

    fn sentence(&self, query: &Query<'_>, nearest: Option<&Veto<'_>>) -> String {
        match nearest {
            None if self.agents == 0 => "no machine is connected".into(),
            None => "waits for a machine to offer its room again".into(),
            Some(Veto::Dedicated) => "every machine is dedicated to others".into(),
            Some(Veto::Maintenance { .. }) => "every machine that would do is going into maintenance".into(),
            Some(Veto::Constraint(name)) => format!("no machine satisfies the constraint {name}"),
            Some(Veto::Limit(name)) => format!("the limit on {name} is reached on every machine that would do"),
            Some(Veto::Resources(_)) => self.resource_sentence(query),
        }
    }

    fn resource_sentence(&self, query: &Query<'_>) -> String {
        let kind_texts = |have: &Resources, words: &str| -> Vec<String> {
            let short = ResourceType::ALL.into_iter().filter(|kind| query.demand.amount(*kind) > have.amount(*kind));
            short
                .map(|kind| {
                    // The executor's own share is left out where the task's alone is too much already.
                    let own = query.config.resources.amount(kind);
                    let all = query.demand.amount(kind);
                    let (need, with) =
                        if own > have.amount(kind) || own == all { (own, "") } else { (all, " with its executor") };
                    let (need, have) = (shown(kind, need), shown(kind, have.amount(kind)));
                    format!("needs {need}{with}, {words} {have}")
                })
                .collect()
        };
        let too_large = kind_texts(&self.largest, "the largest machine has");
        if !too_large.is_empty() {
            return too_large.join("; ");
        }
        let not_free = kind_texts(&self.most_free, "the most that is free on a machine is");
        if not_free.is_empty() {
            "no single machine has enough of everything free at once".into()
        } else {
            not_free.join("; ")
        }
    }
}

fn shown(kind: ResourceType, amount: i64) -> String {
    match kind {
        ResourceType::Cpus => format!("{} cpu", model::CpuMillis(amount)),
        ResourceType::RamMb => format!("{amount} MB of memory"),
        ResourceType::DiskMb => format!("{amount} MB of disk"),
        ResourceType::Ports => format!("{amount} ports"),
        ResourceType::Gpus => format!("{amount} gpu"),
    }
}
