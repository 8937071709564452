//! One turn of a group: agents that fit are found in the index, filled with as many tasks as fit, and their offers accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Call, Launch, Offer};
use model::{Ports, Resources, TaskConfig, TaskId};

use super::filter::{LimitCounts, Query};
use super::groups::{Class, Turn};
use super::offers::MaxEach;
use crate::core::{Core, ms};
use crate::random::Random;
use crate::settings::SecondOffer;
use crate::task::Task;
use crate::tasks::transition::Assignment;
use crate::timers::Timer;
use crate::view::HostRecord;

/// Tasks a group may place before the next group has its turn.
const TURN: usize = 256;
/// More offers of one agent than this are given back, to return as one.
const MOST_OFFERS: usize = 32;
/// When more agents than this offer room at once, blocked groups look at the whole index instead of at each of these.
const MANY_FRESH: usize = 64;
/// Blocked groups of one class tried on fresh room before the next class has its turn.
const TRIES_PER_CLASS: usize = 256;

/// Where a group looks for room.
enum Candidates<'a> {
    /// Everywhere, by the index.
    All,
    /// At these slots only.
    Only(&'a [usize]),
}

impl Core {
    /// The question a group asks of agents.
    pub(crate) fn query<'a>(&self, config: &'a TaskConfig, class: Class) -> Query<'a> {
        Query {
            config,
            demand: class.demand,
            revocable: class.revocable,
            unavailable_until_ms: self.now.wall_ms.saturating_add(ms(self.settings.unavailability_threshold) as i64),
        }
    }

    /// How many of the job's tasks are where, as far as its limits ask.
    pub(crate) fn limit_counts(&self, config: &TaskConfig) -> LimitCounts {
        let placed = self.jobs.get(&config.job).into_iter().flat_map(|index| &index.placed);
        let counted = placed.filter_map(|(slot, count)| Some((&self.book.agent(*slot)?.attributes, i64::from(*count))));
        LimitCounts::new(config, counted)
    }

    // ---- offers ----

    /// Takes in an offer.
    pub(crate) fn add_offer(&mut self, offer: &Offer) {
        self.count("scheduler_resource_offers", 1);
        if self.book.is_held(&offer.id) {
            // Told twice: its room is there once.
            return;
        }
        // The engine does not know of maintenance modes: what was set stays (spec scheduler 5.6).
        let mode = self.mode_of(&offer.host);
        let record = HostRecord { agent_id: offer.agent_id.clone(), attributes: offer.attributes.clone(), mode };
        self.store.put_host(&offer.host, record);
        let (slot, changed) =
            self.book.ensure(&offer.agent_id, offer.role.as_ref(), &offer.host, Some(&offer.attributes));
        if changed {
            self.groups.forget_slot(slot);
        }
        self.book.set_mode(slot, mode);
        let hold_ms = ms(self.settings.min_offer_hold_time);
        let jitter_ms = self.random.below(ms(self.settings.offer_hold_jitter_window));
        // One held for ever has a timer that is never reached: an offer without a timer would be one more case everywhere.
        let hold_ms = if self.settings.hold_offers_forever { u64::MAX } else { hold_ms.saturating_add(jitter_ms) };
        let timer = self.arm_after(hold_ms, Timer::Offer(offer.id.clone()));
        let supersedes = self.settings.second_offer == SecondOffer::Supersedes;
        let dropped = self.book.hold(slot, offer, self.now.wall_ms, timer, supersedes);
        dropped.into_iter().for_each(|offer| self.timers.cancel(offer.timer));
        if self.book.agent(slot).is_some_and(|agent| agent.offers.len() > MOST_OFFERS) {
            // Given back for a moment, they return as one.
            let offers = self.drop_offers(slot);
            self.call(Call::Decline { offers, refuse_ms: 0 });
        }
        self.end_affinity_if_leaving(slot);
        self.publish_agent(slot);
    }

    /// Takes an agent's offers out of the book and forgets their timers. Returns their names.
    pub(crate) fn drop_offers(&mut self, slot: usize) -> Vec<String> {
        let offers = self.book.consume(slot);
        offers.iter().for_each(|offer| self.timers.cancel(offer.timer));
        offers.into_iter().map(|offer| offer.id).collect()
    }

    /// Gives back everything that is held, in one call.
    pub(crate) fn give_back_all_offers(&mut self) {
        let held: Vec<String> =
            self.book.agents().flat_map(|(_, agent)| agent.offers.iter().map(|offer| offer.id.clone())).collect();
        let mut offers = Vec::with_capacity(held.len());
        for id in held {
            if let Some((slot, held)) = self.book.withdraw(&id) {
                self.timers.cancel(held.timer);
                self.publish_agent(slot);
                offers.push(held.id);
            }
        }
        if !offers.is_empty() {
            self.book.gave_back = true;
            let refuse_ms = ms(self.settings.offer_filter_duration) as i64;
            self.call(Call::Decline { offers, refuse_ms });
        }
    }

    /// An offer is void.
    pub(crate) fn rescind_offer(&mut self, offer: &str) {
        if let Some((slot, held)) = self.book.withdraw(offer) {
            self.count("offers_rescinded", 1);
            self.timers.cancel(held.timer);
            self.publish_agent(slot);
        }
    }

    /// An unused offer was held for long enough and goes back.
    pub(crate) fn give_back_offer(&mut self, offer: &str) {
        if let Some((slot, held)) = self.book.withdraw(offer) {
            self.timers.cancel(held.timer);
            self.book.gave_back = true;
            let refuse_ms = ms(self.settings.offer_filter_duration) as i64;
            self.call(Call::Decline { offers: vec![held.id], refuse_ms });
            self.publish_agent(slot);
        }
    }

    /// All offers are void: the connection is new or gone.
    pub(crate) fn clear_offers(&mut self) {
        self.book.clear_offers().into_iter().for_each(|timer| self.timers.cancel(timer));
        let slots: Vec<usize> = self.book.agents().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.forget_free(slot));
    }

    fn forget_free(&mut self, slot: usize) {
        if let Some(agent) = self.book.agent_mut(slot) {
            (agent.free, agent.revocable_cpu, agent.ports) = Default::default();
        }
        self.book.refresh(slot);
        self.publish_agent(slot);
    }

    /// An agent is gone for good; its tasks' own statuses follow.
    pub(crate) fn lose_agent(&mut self, agent_id: &str) {
        self.count("slaves_lost", 1);
        let slots = self.book.slots_of(agent_id).to_vec();
        self.end_affinity_on(agent_id);
        for slot in slots {
            self.drop_offers(slot);
            if let Some(number) = self.book.agent(slot).and_then(|agent| agent.reserved_for) {
                self.end_reservation(number);
            }
            if self.book.remove(slot) {
                self.groups.forget_slot(slot);
            } else {
                if let Some(agent) = self.book.agent_mut(slot) {
                    agent.gone = true;
                }
                self.forget_free(slot);
                self.ask_about_agent(slot);
            }
        }
        self.store.view.agents.remove(agent_id);
    }

    /// Shows an agent to readers.
    pub(crate) fn publish_agent(&mut self, slot: usize) {
        if let Some(agent) = self.book.agent(slot) {
            let id = agent.id.clone();
            let view = self.book.view_of(&id);
            self.store.view.agents.insert(id, Arc::new(view));
        }
    }

    // ---- placed tasks ----

    /// The slot of the agent that a task was placed on before this process began, made anew.
    pub(crate) fn slot_of_placed(&mut self, task: &Task) -> Option<usize> {
        let (agent_id, host) = (task.agent_id.as_ref()?, task.host.as_ref()?);
        let attributes = self.store.view.hosts.get(host.as_ref()).map(|record| record.attributes.clone());
        let slot = match self.store.view.offer_roles.get(&task.id).cloned() {
            Some(role) => self.book.ensure(agent_id, Some(&role), host, attributes.as_ref()).0,
            // It belongs to whichever role is known there, or offers first.
            None => {
                let known = self.book.slots_of(agent_id).first().copied();
                known.unwrap_or_else(|| self.book.ensure(agent_id, None, host, attributes.as_ref()).0)
            }
        };
        self.book.set_mode(slot, self.mode_of(host));
        Some(slot)
    }

    /// A task holds room on its agent from now on.
    pub(crate) fn occupy(&mut self, task: &Task, slot: usize) {
        let demand = self.demand(&task.config);
        let preemptible = self.tier_of(&task.config).is_some_and(|tier| tier.preemptible);
        self.book.place(slot, &task.id, demand, preemptible);
        if let Some(active) = self.active_mut(task) {
            active.slot = Some(slot);
            self.job_index(&task.config.job).add_placed(slot);
        }
    }

    /// A task holds room no longer.
    pub(crate) fn vacate(&mut self, task: &Task) {
        let Some(slot) = self.active_mut(task).and_then(|active| active.slot.take()) else { return };
        let demand = self.demand(&task.config);
        let preemptible = self.tier_of(&task.config).is_some_and(|tier| tier.preemptible);
        self.book.unplace(slot, &task.id, demand, preemptible);
        self.vacated(slot, task);
        if let Some(index) = self.jobs.get_mut(&task.config.job) {
            index.remove_placed(slot);
        }
        if self.book.agent(slot).is_some_and(|agent| agent.gone) && self.book.remove(slot) {
            // Bans of the slot are void for whoever gets it next.
            self.groups.forget_slot(slot);
        }
    }

    // ---- turns ----

    /// Gives groups their turns: first blocked ones on the room that has just appeared, then those that are ready. False when
    /// the step's work is used up before.
    pub(crate) fn place_groups(&mut self) -> bool {
        if !self.serve_fresh() {
            return false;
        }
        while let Some(number) = self.groups.ready.pop_front() {
            if !self.may_work() {
                self.groups.ready.push_front(number);
                return false;
            }
            self.take_turn(number);
        }
        true
    }

    fn take_turn(&mut self, number: u64) {
        let Some(group) = self.groups.by_number.get(&number) else { return };
        if group.turn != Turn::Ready {
            return;
        }
        let wanted = group.len().min(TURN);
        self.count("schedule_attempts_fired", wanted as i64);
        let placed = self.place_group(number, &Candidates::All);
        let Some(group) = self.groups.by_number.get_mut(&number) else { return };
        if placed > 0 {
            group.penalty_ms = 0;
        }
        if placed == wanted {
            self.groups.ready.push_back(number);
            return;
        }
        self.count("schedule_attempts_no_match", (wanted - placed) as i64);
        self.explain_if_old(number);
        self.block_group(number);
        // Room that was given back unused may be just what is missing.
        if std::mem::take(&mut self.book.gave_back) {
            self.call(Call::Revive);
        }
        self.join_roles_for(number, None);
    }

    /// Blocked groups look at the agents that have just offered room.
    fn serve_fresh(&mut self) -> bool {
        let mut fresh = std::mem::take(&mut self.book.fresh);
        self.wake_homing(&fresh);
        if fresh.is_empty() || self.groups.blocked.is_empty() {
            return true;
        }
        fresh.sort_unstable();
        fresh.dedup();
        if fresh.len() > MANY_FRESH {
            self.wake_for(&fresh);
            return true;
        }
        let (mut later, mut classes): (Vec<Class>, Vec<Class>) =
            self.groups.blocked.keys().partition(|class| Some(**class) <= self.groups.last_class);
        classes.append(&mut later);
        for class in classes {
            if !self.may_work() {
                // Looked at again from the start, room that nobody can take would be looked at for ever: each group has one turn.
                self.wake_for(&fresh);
                return false;
            }
            if self.serve_class(class, &fresh) {
                self.groups.last_class = Some(class);
            }
        }
        self.join_roles_on(&fresh);
        self.explain_again();
        true
    }

    /// Much room at once: every blocked group that asks for no more than some of it has queues for its turn.
    fn wake_for(&mut self, fresh: &[usize]) {
        let most = |revocable| {
            let usable = fresh.iter().filter_map(|slot| Some(self.book.agent(*slot)?.usable(revocable)));
            usable.fold(Resources::ZERO, |most, usable| most.max_each(&usable))
        };
        let (ordinary, revocable) = (most(false), most(true));
        let fits = |class: &Class| if class.revocable { &revocable } else { &ordinary }.contains(&class.demand);
        let blocked = self.groups.blocked.iter().filter(|(class, _)| fits(class));
        let numbers: Vec<u64> = blocked.flat_map(|(_, groups)| groups.values().copied()).collect();
        numbers.into_iter().for_each(|number| self.wake_group(number));
    }

    /// True when a group of the class was tried.
    fn serve_class(&mut self, class: Class, fresh: &[usize]) -> bool {
        let fits = |core: &Self| {
            let room = |slot: &usize| {
                let agent = core.book.agent(*slot)?;
                agent.is_offered().then(|| agent.usable(class.revocable).contains(&class.demand))
            };
            fresh.iter().any(|slot| room(slot) == Some(true))
        };
        if !fits(self) {
            return false;
        }
        let numbers: Vec<u64> =
            self.groups.blocked.get(&class).into_iter().flat_map(|groups| groups.values().copied()).collect();
        for number in numbers.into_iter().take(TRIES_PER_CLASS) {
            let placed = self.place_group(number, &Candidates::Only(fresh));
            self.work += 1;
            self.groups.rotate(number);
            if placed > 0 && !fits(self) {
                break;
            }
        }
        true
    }

    /// Places as many tasks of a group as there is room for, at most a turn's worth. Returns how many.
    fn place_group(&mut self, number: u64, candidates: &Candidates<'_>) -> usize {
        let Some(group) = self.groups.by_number.get(&number) else { return 0 };
        let config = group.config.clone();
        if self.missing_executor(&config).is_some() {
            return 0;
        }
        let class = group.class;
        let mut counts = self.limit_counts(&config);
        let query = self.query(&config, class);
        let mut placed = self.place_homing(number, (&query, class), &mut counts, TURN);
        let waiting = self.groups.by_number.get(&number).map_or(0, |group| group.queue.len());
        let turn = (placed + waiting).min(TURN);
        let few = query.few_candidates(&self.book);
        let listed: Option<&[usize]> = match (candidates, &few) {
            (Candidates::Only(slots), _) => Some(slots),
            (Candidates::All, few) => few.as_deref(),
        };
        for choice in self.book.choices(class.demand.gpus > 0) {
            if placed == turn {
                break;
            }
            placed += self.fill(number, (&query, class), &mut counts, (listed, *choice), turn - placed);
        }
        placed
    }

    /// Places at most `turn` tasks of a group on agents of one choice.
    fn fill(
        &mut self,
        number: u64,
        (query, class): (&Query<'_>, Class),
        counts: &mut LimitCounts,
        (listed, choice): (Option<&[usize]>, u128),
        turn: usize,
    ) -> usize {
        let mut placed = 0;
        let Some(wanted) = query.wanted(&self.book, counts) else { return 0 };
        let mut wanted = wanted.among(choice);
        let mut walk = Walk::new(listed, self.book.slot_count(), &mut self.random);
        while placed < turn {
            let Some(slot) = walk.next(self, listed, &wanted) else { break };
            let Some(group) = self.groups.by_number.get_mut(&number) else { break };
            let config = group.config.clone();
            if group.is_banned(slot) {
                continue;
            }
            let Some(agent) = self.book.agent(slot) else { continue };
            if agent.reserved_for.is_some_and(|holder| holder != number) || self.affinity.keeps(&agent.id) {
                continue;
            }
            let usable = agent.usable(class.revocable);
            let veto = query.veto(agent, &usable, counts);
            self.book.examined += 1;
            if let Some(veto) = veto {
                if veto.is_lasting() {
                    group.ban(slot);
                }
                let kind = if veto.is_dynamic() { "scheduling_veto_dynamic" } else { "scheduling_veto_static" };
                self.count(kind, 1);
                continue;
            }
            let Some(agent) = self.book.agent(slot) else { continue };
            let room = query.limit_room(&agent.attributes, counts).min((turn - placed) as u64);
            let fitting = usable.fits(&class.demand, room) as usize;
            let attributes = (!config.constraints.is_empty()).then(|| agent.attributes.clone());
            let ids = group.queue.values().take(fitting).cloned().collect();
            let launched = self.launch(slot, number, &config, class, ids);
            placed += launched;
            if let Some(attributes) = attributes {
                counts.add(&attributes, launched as i64);
                let Some(now_wanted) = query.wanted(&self.book, counts) else { break };
                wanted = now_wanted.among(choice);
            }
        }
        placed
    }

    /// Assigns these tasks of a group to an agent and accepts its offers for them.
    pub(crate) fn launch(
        &mut self,
        slot: usize,
        number: u64,
        config: &Arc<TaskConfig>,
        class: Class,
        ids: Vec<TaskId>,
    ) -> usize {
        let Some(agent) = self.book.agent_mut(slot) else { return 0 };
        let (agent_id, host) = (agent.id.clone(), agent.host.clone());
        let mut free_ports = std::mem::take(&mut agent.ports);
        let was_reserved = agent.reserved_for == Some(number);
        let offers = self.drop_offers(slot);
        let (shared_agent, shared_host) = (self.store.shared_agent(&agent_id), self.store.shared_host(&host));
        let mut launches = Vec::with_capacity(ids.len());
        let mut taken = Resources::ZERO;
        for id in ids {
            let ports = draw_ports(&mut free_ports, config, &mut self.random);
            let (agent_id, host) = (shared_agent.clone(), shared_host.clone());
            let Some(task) = self.assign(&id, Assignment { slot, agent_id, host, ports: ports.clone() }) else {
                continue;
            };
            self.end_affinity(&config.job, task.instance);
            taken += class.demand;
            launches.push(Launch {
                instance: task.instance,
                config: config.clone(),
                resources: class.demand,
                revocable: class.revocable,
                ports,
                assigned_ms: task.last_event_ms(),
                task_id: id,
            });
        }
        if let Some(agent) = self.book.agent_mut(slot) {
            if class.revocable {
                agent.revocable_cpu.0 -= taken.cpu.0;
                taken.cpu.0 = 0;
            }
            agent.free -= taken;
        }
        self.publish_agent(slot);
        if was_reserved {
            self.end_reservation(number);
        }
        let launched = launches.len();
        self.call(Call::Accept { offers, launches });
        launched
    }
}

/// A walk over candidates: all of them from a random one on, or the listed ones in order.
struct Walk {
    next: usize,
    end: usize,
    wrap: Option<usize>,
}

impl Walk {
    fn new(listed: Option<&[usize]>, slots: usize, random: &mut Random) -> Self {
        match listed {
            Some(list) => Self { next: 0, end: list.len(), wrap: None },
            None => {
                let start = random.below(slots as u64) as usize;
                Self { next: start, end: slots, wrap: (start > 0).then_some(start) }
            }
        }
    }

    fn next(&mut self, core: &mut Core, listed: Option<&[usize]>, wanted: &super::index::Wanted) -> Option<usize> {
        if let Some(list) = listed {
            while self.next < self.end {
                let slot = list[self.next];
                self.next += 1;
                if core.book.may_serve(slot, wanted) {
                    return Some(slot);
                }
            }
            return None;
        }
        loop {
            if let Some(slot) = core.book.find(self.next, self.end, wanted) {
                self.next = slot + 1;
                return Some(slot);
            }
            (self.next, self.end) = (0, self.wrap.take()?);
        }
    }
}

/// One port per name, drawn at random from those that are free (spec scheduler 2.6).
fn draw_ports(free: &mut Ports, config: &TaskConfig, random: &mut Random) -> BTreeMap<String, u16> {
    let mut drawn = BTreeMap::new();
    for name in &config.requested_ports {
        let at = random.below(free.count().max(0) as u64) as u32;
        if let Some(port) = free.nth(at) {
            free.remove(port);
            drawn.insert(name.clone(), port);
        }
    }
    drawn
}
