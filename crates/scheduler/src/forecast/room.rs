//! The agents of a view as the filter of placement knows them, and tasks put there in thought.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Constraint, Host, Resources, TaskConfig, TaskConstraint, Tier};

use super::MOST_LOOKS;
use super::obstacles::{Obstacles, PreemptionHelp};
use crate::admission::Tables;
use crate::core::ms;
use crate::placement::affinity::is_kept_for;
use crate::placement::filter::{LimitCounts, Query};
use crate::placement::offers::{Agent, MaxEach};
use crate::placement::preemption::{could_make_room, victims};
use crate::task::Task;
use crate::view::{AgentShare, View};

/// Above this many stored tasks nobody looks whether preemption could help: there is no way from an agent to its tasks in a view.
const MOST_TASKS_FOR_PREEMPTION: usize = 1_000_000;
/// Agents whose tasks are looked at one by one, as in a search of the scheduler's.
const MOST_CANDIDATES: usize = 64;

/// What is free where, for one configuration.
pub(super) struct Rooms<'a> {
    pub(super) view: &'a View,
    pub(super) query: Query<'a>,
    pub(super) counts: LimitCounts,
    /// One for each agent and role. What is free counts whether it is offered at this moment or not.
    pub(super) agents: Vec<Agent>,
    /// Kept for others.
    pub(super) reserved: Vec<bool>,
    tier: Option<Tier>,
    looks: usize,
    was_cut: bool,
    /// Slots that may have room; all others are known to have none.
    open: BTreeSet<usize>,
    /// Slots of agents that are kept for instances of the update.
    kept: BTreeSet<usize>,
    /// Tasks of an update that found no room so far.
    waiting: u32,
    /// Slots of each agent, one for each role.
    slots: BTreeMap<String, Vec<usize>>,
    /// Slots by the attributes that limits speak of: where a task leaves, those of the same value may have room again.
    alike: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    taken: BTreeMap<Host, u32>,
}

/// What is free there. An agent that offers nothing at the moment, because it was just used or because nothing is wanted, has what its
/// tasks leave.
fn free_of(share: &AgentShare) -> Resources {
    if share.is_offered { share.free } else { share.free.max_each(&(share.total - share.placed)) }
}

/// Instances of an update that are taken together.
#[derive(Default)]
pub(super) struct Group<'t> {
    /// So many are new.
    pub(super) added: u32,
    /// Tasks that others of the new configuration replace.
    pub(super) changed: Vec<&'t Task>,
    /// Tasks that nothing follows.
    pub(super) removed: Vec<&'t Task>,
}

impl<'a> Rooms<'a> {
    pub(super) fn new(view: &'a View, now_ms: i64, config: &'a TaskConfig) -> Self {
        let settings = &view.settings;
        let mut agents = Vec::new();
        let mut reserved = Vec::new();
        for (id, known) in &view.agents {
            let host = view.hosts.get(&known.host);
            for share in &known.shares {
                reserved.push(share.is_reserved);
                let mut agent = Agent::default();
                agent.id.clone_from(id);
                agent.role.clone_from(&share.role);
                agent.host.clone_from(&known.host);
                agent.attributes = host.map(|host| host.attributes.clone()).unwrap_or_default();
                agent.free = free_of(share);
                agent.revocable_cpu = share.revocable_cpu;
                agent.unavailable_from_ms = share.unavailable_from_ms;
                agent.mode = host.map(|host| host.mode).unwrap_or_default();
                agent.placed_resources = share.placed;
                agent.total = share.total;
                agents.push(agent);
            }
        }
        let placed = view.active(&config.job).filter_map(|task| Some((view.hosts.get(task.host.as_deref()?)?, 1)));
        let counts = LimitCounts::new(config, placed.map(|(host, count)| (&host.attributes, count)));
        let tier = settings.tier_of(config);
        let threshold_ms = ms(settings.unavailability_threshold) as i64;
        let query = Query {
            config,
            demand: settings.demand(config),
            revocable: tier.is_some_and(|tier| tier.revocable),
            unavailable_until_ms: now_ms.saturating_add(threshold_ms),
        };
        let open = (0..agents.len()).filter(|slot| !reserved[*slot]).collect();
        let mut slots: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (slot, agent) in agents.iter().enumerate() {
            slots.entry(agent.id.clone()).or_default().push(slot);
        }
        let alike = alike(config, &agents);
        Self {
            view,
            query,
            counts,
            agents,
            reserved,
            tier,
            looks: 0,
            was_cut: false,
            open,
            kept: BTreeSet::new(),
            waiting: 0,
            slots,
            alike,
            taken: BTreeMap::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.was_cut
    }

    pub(super) fn into_taken(self) -> BTreeMap<Host, u32> {
        self.taken
    }

    /// Whether tasks of this configuration can be started at all.
    pub(super) fn missing_executor(&self) -> Option<&'a str> {
        self.view.settings.missing_executor(self.query.config)
    }

    /// Puts up to `count` tasks on one agent; how many. An agent that takes fewer is not asked again before its room grows.
    fn put(&mut self, slot: usize, count: u64) -> u64 {
        self.looks += 1;
        let agent = &self.agents[slot];
        let usable = agent.left(self.query.revocable);
        let placed = if self.reserved[slot] || self.query.veto(agent, &usable, &self.counts).is_some() {
            0
        } else {
            let room = self.query.limit_room(&agent.attributes, &self.counts).min(count);
            usable.fits(&self.query.demand, room)
        };
        if placed < count {
            self.open.remove(&slot);
        }
        if placed > 0 {
            self.counts.add(&agent.attributes, placed as i64);
            *self.taken.entry(agent.host.clone()).or_default() += placed as u32;
            self.change_room(slot, self.query.demand, self.query.revocable, -(placed as i64));
        }
        placed
    }

    fn change_room(&mut self, slot: usize, demand: Resources, revocable: bool, times: i64) {
        let mut amount = demand.times(times);
        let agent = &mut self.agents[slot];
        if revocable {
            agent.revocable_cpu.0 += amount.cpu.0;
            amount.cpu.0 = 0;
        }
        agent.free += amount;
    }

    /// Puts tasks wherever there is room; how many of them.
    pub(super) fn fill(&mut self, count: u32) -> u32 {
        if self.missing_executor().is_some() {
            return 0;
        }
        let (mut left, mut from) = (u64::from(count), 0);
        while left > 0
            && let Some(slot) = self.open.range(from..).next().copied()
        {
            from = slot + 1;
            if self.kept.contains(&slot) {
                continue;
            }
            if self.looks >= MOST_LOOKS {
                self.was_cut = true;
                break;
            }
            left -= self.put(slot, left);
        }
        count - left as u32
    }

    /// A group of an update is taken: the old tasks leave, and the new ones look for room, as do those that found none before. How many
    /// find some. What goes back to its own agent has it for itself until it is there (see [`crate::placement::affinity`]).
    pub(super) fn change(&mut self, group: &Group<'_>) -> u32 {
        if self.missing_executor().is_some() {
            return 0;
        }
        let homes: Vec<Option<&str>> = group.changed.iter().map(|old| self.home_of(old)).collect();
        let kept = homes.iter().flatten().filter_map(|home| self.slots.get(*home)).flatten();
        self.kept = kept.copied().collect();
        // What is added looks for room while the old tasks are still there.
        let began_waiting = self.waiting;
        let mut wanted = self.waiting + group.added;
        let mut fitting = self.fill(wanted);
        wanted -= fitting;
        group.changed.iter().for_each(|old| self.give_back(old));
        if began_waiting == 0 {
            // An update that waits does not come to its later groups, and what is removed is in the last ones.
            group.removed.iter().for_each(|old| self.give_back(old));
        }
        for home in homes {
            let slots = home.and_then(|home| self.slots.get(home)).cloned().unwrap_or_default();
            match slots.into_iter().any(|slot| self.put(slot, 1) == 1) {
                true => fitting += 1,
                false => wanted += 1,
            }
        }
        self.kept.clear();
        let elsewhere = self.fill(wanted);
        self.waiting = wanted - elsewhere;
        fitting + elsewhere
    }

    /// The agent that is kept for what takes the place of a task.
    fn home_of<'t>(&self, old: &'t Task) -> Option<&'t str> {
        let settings = &self.view.settings;
        let may_stay = settings.enable_update_affinity && is_kept_for(&old.config, old.status, self.query.config);
        let slot = self.slot_of(old).filter(|slot| may_stay && !self.reserved[*slot])?;
        old.agent_id.as_deref().filter(|_| self.agents[slot].mode.takes_tasks())
    }

    /// Where a task is.
    fn slot_of(&self, task: &Task) -> Option<usize> {
        let slots = self.slots.get(task.agent_id.as_deref()?)?;
        let role = self.view.offer_roles.get(&task.id);
        let of_role = |slot: &&usize| role.is_none() || self.agents[**slot].role.as_ref() == role;
        slots.iter().find(of_role).or(slots.first()).copied()
    }

    fn give_back(&mut self, old: &Task) {
        let known = old.host.as_deref().and_then(|host| self.view.hosts.get(host));
        if let Some(known) = known {
            self.counts.add(&known.attributes, -1);
            // Others of the same rack may serve now.
            for (name, slots) in &self.alike {
                let values = known.attributes.get(name).into_iter().flatten();
                let alike = values.filter_map(|value| slots.get(value)).flatten();
                self.open.extend(alike.filter(|slot| !self.reserved[**slot]));
            }
        }
        let Some(slot) = self.slot_of(old) else { return };
        let settings = &self.view.settings;
        let revocable = settings.tier_of(&old.config).is_some_and(|tier| tier.revocable);
        self.change_room(slot, settings.demand(&old.config), revocable, 1);
        if !self.reserved[slot] {
            self.open.insert(slot);
        }
    }

    /// Hosts on which one would fit now.
    pub(super) fn fitting_hosts(&self) -> u32 {
        if self.missing_executor().is_some() {
            return 0;
        }
        let fits = |(slot, agent): (usize, &'_ Agent)| {
            let fits = self.query.veto(agent, &agent.left(self.query.revocable), &self.counts).is_none();
            (fits && !self.reserved[slot]).then(|| agent.host.clone())
        };
        self.agents.iter().enumerate().filter_map(fits).collect::<BTreeSet<Host>>().len() as u32
    }

    /// Why there is no room (any more).
    pub(super) fn obstacles(&self) -> Obstacles {
        let mut obstacles = Obstacles::of(self);
        obstacles.preemption = self.preemption();
        obstacles
    }

    /// Whether the search of the preemptor would find tasks to evict (spec scheduler 2.8).
    fn preemption(&self) -> PreemptionHelp {
        let settings = &self.view.settings;
        let mut help = PreemptionHelp {
            is_enabled: settings.enable_preemptor,
            delay_ms: ms(settings.preemption_delay),
            ..PreemptionHelp::default()
        };
        let Some(tier) = self.tier.filter(|_| help.is_enabled && self.missing_executor().is_none()) else {
            return help;
        };
        if self.view.tasks.len() > MOST_TASKS_FOR_PREEMPTION {
            return help;
        }
        help.was_looked_at = true;
        let agents = self.with_placed();
        let role = &self.query.config.job.role;
        let of_role: BTreeSet<&str> = (self.view.jobs_of(role))
            .flat_map(|job| self.view.active(job))
            .filter_map(|task| task.agent_id.as_deref())
            .collect();
        let candidates = agents.iter().zip(&self.reserved).filter(|(agent, reserved)| {
            let asked = (&self.query, tier);
            let usable = agent.left(false);
            !**reserved
                && !agent.placed.is_empty()
                && could_make_room(agent, &usable, asked, of_role.contains(&*agent.id))
        });
        for (agent, _) in candidates.take(MOST_CANDIDATES) {
            let room = (agent, agent.left(false));
            let found = victims(settings, &self.view.tasks, room, (&self.query, tier), &self.counts);
            if let Some(tasks) = found {
                help.host = Some(agent.host.clone());
                help.victims = tasks;
                break;
            }
        }
        help
    }

    /// The agents with the tasks that are placed there.
    fn with_placed(&self) -> Vec<Agent> {
        let settings = &self.view.settings;
        let mut agents = self.agents.clone();
        let slots: BTreeMap<(String, Option<String>), usize> =
            agents.iter().enumerate().map(|(slot, agent)| ((agent.id.clone(), agent.role.clone()), slot)).collect();
        let first: BTreeMap<String, usize> =
            agents.iter().enumerate().rev().map(|(slot, agent)| (agent.id.clone(), slot)).collect();
        let placed = self.view.tasks.values().filter(|task| task.status.is_active());
        let mut by_slot: BTreeMap<usize, Vec<&Arc<Task>>> = BTreeMap::new();
        for task in placed {
            let Some(agent) = task.agent_id.as_deref() else { continue };
            let role = self.view.offer_roles.get(&task.id).cloned();
            let slot = slots.get(&(agent.to_owned(), role)).or_else(|| first.get(agent));
            if let Some(slot) = slot {
                by_slot.entry(*slot).or_default().push(task);
            }
        }
        for (slot, tasks) in by_slot {
            let agent = &mut agents[slot];
            for task in tasks {
                let demand = settings.demand(&task.config);
                if settings.tier_of(&task.config).is_some_and(|tier| tier.preemptible) {
                    agent.preemptible += demand;
                }
                agent.placed.insert(task.id.clone());
            }
        }
        agents
    }
}

/// Slots by the values of the attributes that the limits of a configuration speak of.
fn alike(config: &TaskConfig, agents: &[Agent]) -> BTreeMap<String, BTreeMap<String, Vec<usize>>> {
    let is_limit = |constraint: &&Constraint| matches!(constraint.constraint, TaskConstraint::Limit { .. });
    let mut alike: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
    for constraint in config.constraints.iter().filter(is_limit) {
        let slots = alike.entry(constraint.name.clone()).or_default();
        for (slot, agent) in agents.iter().enumerate() {
            for value in agent.attributes.get(&constraint.name).into_iter().flatten() {
                slots.entry(value.clone()).or_default().push(slot);
            }
        }
    }
    alike
}
