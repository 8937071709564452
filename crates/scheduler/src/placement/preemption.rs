//! Preemption: room for tasks that wait for long, at the expense of tasks they may evict (spec scheduler 2.8, 2.9). The search
//! and the eviction are one act here, so a slot that was found cannot go stale.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use model::{CpuMillis, JobKey, ResourceType, Resources, TaskConfig, TaskId, TaskStatus, Tier};

use super::filter::{LimitCounts, Query};
use super::offers::Agent;
use crate::core::{Core, ms};
use crate::settings::Settings;
use crate::task::Task;
use crate::tasks::table::State;
use crate::timers::Timer;

/// Agents passed over by their sums alone count as one unit of work per this many.
const AGENTS_PER_WORK: usize = 64;
/// Agents whose tasks are looked at one by one for a group in one search.
const MOST_CANDIDATES: usize = 64;

/// Whether a pending task may evict a placed one (spec scheduler 2.8). A strict order: who may evict can never be evicted by
/// whom it evicts, so evictions have no cycles.
pub(crate) fn may_preempt(pending: (&TaskConfig, Tier), placed: (&TaskConfig, Tier)) -> bool {
    let ((pending, pending_tier), (placed, placed_tier)) = (pending, placed);
    match (pending_tier.preemptible, placed_tier.preemptible) {
        (false, true) => true,
        (true, false) => false,
        _ => pending.job.role == placed.job.role && pending.priority > placed.priority,
    }
}

impl Core {
    /// Arranges the next search, while there is anybody to search for.
    pub(crate) fn arm_slot_search(&mut self) {
        if self.settings.enable_preemptor && !self.groups.search_armed {
            self.groups.search_armed = true;
            self.arm_after(ms(self.settings.preemption_slot_search_interval), Timer::SlotSearch);
        }
    }

    /// Time to search: every group that waits is looked at once.
    pub(crate) fn begin_slot_search(&mut self) {
        self.groups.search_armed = false;
        if self.groups.by_number.is_empty() {
            return;
        }
        self.arm_slot_search();
        self.groups.to_search = self.groups.by_number.keys().copied().collect();
    }

    /// Goes on with the search. False when the step's work is used up before.
    pub(crate) fn search_slots(&mut self) -> bool {
        while let Some(number) = self.groups.to_search.pop_front() {
            if !self.may_work() {
                self.groups.to_search.push_front(number);
                return false;
            }
            self.preempt_for(number);
        }
        true
    }

    /// Makes room for the first task of a group that has waited for long enough.
    fn preempt_for(&mut self, number: u64) {
        let Some(group) = self.groups.by_number.get(&number).filter(|group| group.reserved.is_none()) else { return };
        let delay_ms = ms(self.settings.preemption_delay);
        let waits = |id: &TaskId| {
            let task = self.store.view.tasks.get(id)?;
            (self.remaining_ms(task.last_event_ms(), delay_ms) == 0).then(|| id.clone())
        };
        let Some(task_id) = group.queue.values().next().and_then(waits) else { return };
        let (config, class) = (group.config.clone(), group.class);
        if self.missing_executor(&config).is_some() {
            return;
        }
        let Some(tier) = self.tier_of(&config) else { return };
        let kind = if tier.preemptible { "non_prod" } else { "prod" };
        self.count(&format!("preemptor_slot_search_attempts_for_{kind}"), 1);
        let counts = self.limit_counts(&config);
        let query = self.query(&config, class);
        self.work += 1 + self.book.slot_count() / AGENTS_PER_WORK;
        let candidates = self.preemption_candidates(number, &query, tier);
        self.work += candidates.len();
        let found = candidates
            .into_iter()
            .filter_map(|slot| Some((slot, self.book.agent(slot)?)))
            .map(|(slot, agent)| {
                let room = (agent, agent.usable(false));
                (slot, victims(&self.settings, &self.store.view.tasks, room, (&query, tier), &counts))
            })
            .find(|(_, victims)| victims.is_some());
        let Some((slot, Some(victims))) = found else {
            self.count(&format!("preemptor_slot_search_failed_for_{kind}"), 1);
            return;
        };
        self.count(&format!("preemptor_slot_search_successful_for_{kind}"), 1);
        self.reserve(number, slot);
        let message: Arc<str> = format!("Preempting in favor of {task_id}").into();
        for victim in victims {
            let name = match self.store.view.tasks.get(&victim).and_then(|task| self.tier_of(&task.config)) {
                Some(tier) if !tier.preemptible => "preemptor_tasks_preempted_prod",
                _ => "preemptor_tasks_preempted_non_prod",
            };
            self.count(name, 1);
            self.transition(&victim, None, State::Stored(TaskStatus::Preempting), Some(message.clone()));
        }
    }

    /// Agents on which there could be enough to evict, by sums alone: for a production task what all preemptible tasks hold
    /// there, for any task what all tasks hold where some are of its role.
    fn preemption_candidates(&self, number: u64, query: &Query<'_>, tier: Tier) -> Vec<usize> {
        let role = &query.config.job.role;
        let jobs = self.jobs.range(JobKey::new(role.as_str(), "", "")..).take_while(|(job, _)| job.role == *role);
        let of_role: BTreeSet<usize> = jobs.flat_map(|(_, index)| index.placed.keys().copied()).collect();
        let group = self.groups.by_number.get(&number);
        let may_do = |slot: usize, agent: &Agent| {
            if agent.gone
                || agent.reserved_for.is_some()
                || self.affinity.keeps(&agent.id)
                || group.is_some_and(|group| group.is_banned(slot))
            {
                return false;
            }
            could_make_room(agent, &agent.usable(false), (query, tier), of_role.contains(&slot))
        };
        let agents = self.book.agents().filter(|(slot, agent)| !agent.placed.is_empty() && may_do(*slot, agent));
        agents.map(|(slot, _)| slot).take(MOST_CANDIDATES).collect()
    }

    /// Keeps an agent for a group.
    fn reserve(&mut self, number: u64, slot: usize) {
        let Some(agent) = self.book.agent_mut(slot) else { return };
        agent.reserved_for = Some(number);
        let key = self.arm_after(ms(self.settings.offer_reservation_duration), Timer::Reservation(number));
        if let Some(group) = self.groups.by_number.get_mut(&number) {
            group.reserved = Some((slot, key));
        }
        self.publish_agent(slot);
    }

    /// The agent kept for a group is free for all again: the group used it, gave up, or had its time.
    pub(crate) fn end_reservation(&mut self, number: u64) {
        let reserved = self.groups.by_number.get_mut(&number).and_then(|group| group.reserved.take());
        let Some((slot, timer)) = reserved else { return };
        self.timers.cancel(timer);
        if let Some(agent) = self.book.agent_mut(slot)
            && agent.reserved_for == Some(number)
        {
            agent.reserved_for = None;
            if agent.is_offered() {
                self.book.fresh.push(slot);
            }
        }
        self.publish_agent(slot);
    }
}

/// Whether there could be enough to evict on an agent, by sums alone. `usable` is what counts as free there.
pub(crate) fn could_make_room(
    agent: &Agent,
    usable: &Resources,
    (query, tier): (&Query<'_>, Tier),
    has_tasks_of_role: bool,
) -> bool {
    let usable = *usable;
    (!tier.preemptible && (usable + agent.preemptible).contains(&query.demand))
        || (has_tasks_of_role && (usable + agent.placed_resources).contains(&query.demand))
}

/// The fewest tasks, largest first, whose room together with what counts as free lets the query pass on an agent. `None` when
/// there are none, or when nobody needs to go.
pub(crate) fn victims(
    settings: &Settings,
    tasks: &OrdMap<TaskId, Arc<Task>>,
    (agent, mut room): (&Agent, Resources),
    (query, tier): (&Query<'_>, Tier),
    counts: &LimitCounts,
) -> Option<Vec<TaskId>> {
    let mut eligible: Vec<(Resources, &Arc<Task>)> = agent
        .placed
        .iter()
        .filter_map(|id| tasks.get(id))
        .filter(|task| matches!(task.status, TaskStatus::Assigned | TaskStatus::Starting | TaskStatus::Running))
        .filter_map(|task| {
            let victim_tier = settings.tier_of(&task.config)?;
            may_preempt((query.config, tier), (&task.config, victim_tier)).then(|| {
                let held = settings.demand(&task.config);
                // Revocable CPU is given back by squeezing, not by leaving: it frees nothing.
                let freed = if victim_tier.revocable { Resources { cpu: CpuMillis(0), ..held } } else { held };
                (freed, task)
            })
        })
        .collect();
    let order = |freed: &Resources| ResourceType::ALL.map(|kind| freed.amount(kind));
    eligible.sort_by(|(one, a), (other, b)| order(other).cmp(&order(one)).then_with(|| a.id.cmp(&b.id)));
    let mut victims = Vec::new();
    for (freed, task) in eligible {
        room += freed;
        victims.push(task.id.clone());
        if query.veto(agent, &room, counts).is_none() {
            return Some(victims);
        }
    }
    None
}
