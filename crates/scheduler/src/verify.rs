//! The invariants of everything derived, in one place: indexes, groups, offers and timers against the tables. For tests and
//! simulations; it walks the whole state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{JobKey, Resources, TaskId, TaskStatus};

use crate::core::Core;
use crate::placement::groups::Turn;
use crate::scheduler::Scheduler;

/// What is wrong, in one sentence.
type Checked = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Scheduler {
    /// Compares all derived state with the tables. Holds after every step of a scheduler that was started.
    pub fn verify(&self) -> Result<(), String> {
        if !self.core.started {
            return Ok(());
        }
        self.core.verify_jobs()?;
        self.core.verify_groups()?;
        self.core.verify_agents()?;
        self.core.verify_affinity()?;
        self.core.verify_given_up()?;
        self.core.verify_maintenance()?;
        self.core.verify_answers()?;
        self.verify_updates()?;
        self.verify_cron()?;
        self.core.store.verify()
    }
}

impl Core {
    fn verify_jobs(&self) -> Checked {
        let mut listed: BTreeSet<&TaskId> = BTreeSet::new();
        for (job, index) in &self.jobs {
            ensure(!index.is_empty(), || format!("job {job} is indexed and has no task"))?;
            for (instance, active) in &index.active {
                let task = self.store.view.tasks.get(&active.id);
                let right = task.is_some_and(|task| {
                    task.status.is_active() && task.instance == *instance && task.config.job == *job
                });
                ensure(right, || format!("{} is indexed as active instance {instance} of {job}", active.id))?;
                let status = task.map_or(TaskStatus::Lost, |task| task.status);
                let timers = match status {
                    TaskStatus::Killing => 2..=2,
                    TaskStatus::Throttled => 1..=1,
                    TaskStatus::Partitioned => 0..=1,
                    TaskStatus::Starting => 1..=1,
                    status if status.is_transient() => 1..=1,
                    _ => 0..=0,
                };
                // Timers that fired stay listed until the status changes.
                ensure(active.timers.len() >= *timers.start(), || format!("{status} {} waits for nothing", active.id))?;
                ensure(*timers.end() > 0 || active.timers.is_empty(), || {
                    format!("{status} {} has {} timers", active.id, active.timers.len())
                })?;
                ensure(active.slot.is_some() == status.is_assigned(), || {
                    format!("{status} {} is placed in slot {:?}", active.id, active.slot)
                })?;
                listed.insert(&active.id);
            }
            for ended in &index.ended {
                ensure(ended.0.status.is_terminal(), || format!("{} is indexed as ended", ended.0.id))?;
                listed.insert(&ended.0.id);
            }
            ensure(index.ended.is_empty() || index.prune.is_some(), || format!("history of {job} is never pruned"))?;
        }
        ensure(listed.len() == self.store.view.tasks.len(), || {
            format!("{} tasks are indexed and {} stored", listed.len(), self.store.view.tasks.len())
        })
    }

    fn verify_groups(&self) -> Checked {
        let mut queued = BTreeSet::new();
        let mut blocked = 0;
        for (number, group) in &self.groups.by_number {
            ensure(group.len() > 0, || format!("group {number} is empty"))?;
            for (id, homing) in
                group.queue.values().map(|id| (id, false)).chain(group.homing.values().map(|id| (id, true)))
            {
                let task = self.store.view.tasks.get(id);
                let kept = task.and_then(|task| self.affinity.agent_for(&task.config.job, task.instance));
                ensure(kept.is_some() == homing, || format!("{id} waits for {kept:?} and does not know"))?;
                let pending = self.store.view.tasks.get(id).is_some_and(|task| task.status == TaskStatus::Pending);
                ensure(pending && queued.insert(id), || format!("{id} waits in group {number} and should not"))?;
            }
            match group.turn {
                Turn::Ready => {
                    ensure(self.groups.ready.contains(number), || format!("group {number} never has a turn"))?
                }
                Turn::Blocked { place, .. } => {
                    blocked += 1;
                    let listed = self.groups.blocked.get(&group.class).and_then(|groups| groups.get(&place));
                    ensure(listed == Some(number), || format!("blocked group {number} is not listed"))?;
                    let shown = self.store.view.waiting_groups.get(number);
                    ensure(shown.is_some_and(|shown| Arc::ptr_eq(&shown.config, &group.config)), || {
                        format!("blocked group {number} is not shown")
                    })?;
                }
            }
            if let Some((slot, _)) = group.reserved {
                let holder = self.book.agent(slot).and_then(|agent| agent.reserved_for);
                ensure(holder == Some(*number), || format!("slot {slot} is not kept for group {number}"))?;
            }
        }
        let listed: usize = self.groups.blocked.values().map(BTreeMap::len).sum();
        ensure(listed == blocked, || format!("{listed} groups are listed as blocked, {blocked} are"))?;
        let (known, shown) = (&self.settings.admission, &self.store.view.settings.admission);
        ensure(known.executors == shown.executors, || "readers see other settings than there are".to_owned())?;
        let shown = self.store.view.waiting_groups.len();
        ensure(shown == blocked, || format!("{shown} groups are shown as waiting, {blocked} are"))?;
        let pending = self.store.view.tasks.values().filter(|task| task.status == TaskStatus::Pending).count();
        ensure(pending == queued.len(), || format!("{pending} tasks are pending, {} wait in groups", queued.len()))
    }

    fn verify_affinity(&self) -> Checked {
        for (job, instance, agent_id) in self.affinity.all() {
            let what = || format!("{agent_id} is kept for instance {instance} of {job}");
            ensure(self.settings.enable_update_affinity, || format!("{}, and nobody asked for that", what()))?;
            ensure(self.affinity.keeps(agent_id), || format!("{}, and is not listed", what()))?;
            ensure(self.store.view.active_update(job).is_some(), || format!("{}, without an update", what()))?;
            let agents: Vec<_> =
                self.book.slots_of(agent_id).iter().filter_map(|slot| self.book.agent(*slot)).collect();
            let serves = agents.iter().all(|agent| !agent.gone && agent.mode.takes_tasks()) && !agents.is_empty();
            ensure(serves, || format!("{}, and takes no tasks", what()))?;
        }
        Ok(())
    }

    fn verify_agents(&self) -> Checked {
        let mut placed: BTreeMap<(&JobKey, usize), u32> = BTreeMap::new();
        for (slot, agent) in self.book.agents() {
            let mut held = Resources::ZERO;
            for id in &agent.placed {
                let task = self.store.view.tasks.get(id).filter(|task| task.status.is_assigned());
                let Some(task) = task else { return Err(format!("{id} holds room on {} and is not placed", agent.id)) };
                ensure(task.agent_id.as_deref() == Some(agent.id.as_str()), || format!("{id} is not on {}", agent.id))?;
                held += self.demand(&task.config);
                *placed.entry((&task.config.job, slot)).or_default() += 1;
            }
            ensure(held == agent.placed_resources, || format!("tasks on {} hold {held:?}", agent.id))?;
            if let Some(number) = agent.reserved_for {
                let group = self.groups.by_number.get(&number).and_then(|group| group.reserved);
                ensure(group.is_some_and(|(reserved, _)| reserved == slot), || {
                    format!("{} is kept for group {number}, which does not know", agent.id)
                })?;
            }
        }
        let indexed = self
            .jobs
            .iter()
            .flat_map(|(job, index)| index.placed.iter().map(move |(slot, count)| ((job, *slot), *count)));
        ensure(indexed.collect::<BTreeMap<_, _>>() == placed, || {
            "jobs and agents disagree on who is where".to_owned()
        })?;
        let offers: usize = self.book.agents().map(|(_, agent)| agent.offers.len()).sum();
        ensure(offers == self.book.held_offers(), || {
            format!("{offers} offers are held, {} listed", self.book.held_offers())
        })
    }
}
