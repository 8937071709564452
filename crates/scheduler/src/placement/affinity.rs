//! Update affinity: an instance that an update replaces goes back to the agent where it ran, if it needs no more than before (spec
//! scheduler 2.3, 2.10). From the kill on the agent is kept for it: the instance waits for that agent only, and nobody else gets what
//! the agent offers. That ends when the instance is placed, after the hold time, with the update, and when the agent is lost or goes
//! into maintenance. Nothing of it is durable: after a restart instances take the best place.
//!
//! An agent on which room was made by preemption is the preemptor's: it is not kept for instances of updates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{InstanceId, JobKey, ResourceType, TaskConfig, TaskId, TaskStatus};

use super::filter::{LimitCounts, Query, Veto};
use super::groups::Class;
use crate::core::{Core, ms};
use crate::task::Task;
use crate::timers::{Timer, TimerKey};
use crate::view::PendingReason;

type InstanceKey = (JobKey, InstanceId);

/// Agents kept for instances.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    kept: BTreeMap<InstanceKey, Kept>,
    by_agent: BTreeMap<String, BTreeSet<InstanceKey>>,
}

#[derive(Debug)]
struct Kept {
    agent_id: String,
    timer: TimerKey,
}

impl Affinity {
    /// Whether an agent is kept for some instance.
    pub(crate) fn keeps(&self, agent_id: &str) -> bool {
        self.by_agent.contains_key(agent_id)
    }

    /// The agent kept for an instance.
    pub(crate) fn agent_for(&self, job: &JobKey, instance: InstanceId) -> Option<&str> {
        if self.kept.is_empty() {
            return None;
        }
        self.kept.get(&(job.clone(), instance)).map(|kept| kept.agent_id.as_str())
    }

    /// Every instance that an agent is kept for, and the agent.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&JobKey, InstanceId, &str)> {
        self.kept.iter().map(|((job, instance), kept)| (job, *instance, kept.agent_id.as_str()))
    }
}

/// Whether a task of the one configuration may take the place of one of the other: it takes no more of anything, and wants the same
/// of its agent. What executors take does not count.
fn fits_in_place(new: &TaskConfig, old: &TaskConfig) -> bool {
    let no_more = |kind| new.resources.amount(kind) <= old.resources.amount(kind);
    ResourceType::ALL.into_iter().all(no_more) && new.constraints == old.constraints
}

/// Whether an update that replaces a task of the one configuration in that status by the other keeps its agent, where it keeps any.
pub(crate) fn is_kept_for(old: &TaskConfig, status: TaskStatus, new: &TaskConfig) -> bool {
    let runs =
        matches!(status, TaskStatus::Assigned | TaskStatus::Starting | TaskStatus::Running | TaskStatus::Restarting);
    runs && fits_in_place(new, old)
}

impl Core {
    /// An update has just asked for the kill of this task (as it was before), to put another configuration in its place.
    pub(crate) fn keep_agent_for_update(&mut self, before: &Task, new: &TaskConfig) {
        let is_killed = self.store.view.tasks.get(&before.id).is_some_and(|task| task.status == TaskStatus::Killing);
        let is_kept = self.settings.enable_update_affinity && is_kept_for(&before.config, before.status, new);
        if !is_kept || !is_killed {
            return;
        }
        let slot = self.active_mut(before).and_then(|active| active.slot);
        let Some(agent) = slot.and_then(|slot| self.book.agent(slot)) else { return };
        if agent.gone || !agent.mode.takes_tasks() || agent.reserved_for.is_some() {
            return;
        }
        let agent_id = agent.id.clone();
        let (job, instance) = (before.config.job.clone(), before.instance);
        self.end_affinity(&job, instance);
        let hold_ms = ms(self.settings.update_affinity_reservation_hold_time);
        let timer = self.arm_after(hold_ms, Timer::Affinity(job.clone(), instance));
        self.affinity.by_agent.entry(agent_id.clone()).or_default().insert((job.clone(), instance));
        self.affinity.kept.insert((job, instance), Kept { agent_id, timer });
        self.count("update_affinity_agents_kept", 1);
    }

    /// No agent is kept for an instance any more: it was placed, it waited for long enough, or there is no reason left.
    pub(crate) fn end_affinity(&mut self, job: &JobKey, instance: InstanceId) {
        if self.affinity.kept.is_empty() {
            return;
        }
        let key = (job.clone(), instance);
        let Some(Kept { agent_id, timer }) = self.affinity.kept.remove(&key) else { return };
        self.timers.cancel(timer);
        if let Some(instances) = self.affinity.by_agent.get_mut(&agent_id) {
            instances.remove(&key);
            if instances.is_empty() {
                self.affinity.by_agent.remove(&agent_id);
            }
        }
        for slot in self.book.slots_of(&agent_id).to_vec() {
            if self.book.agent(slot).is_some_and(super::offers::Agent::is_offered) {
                self.book.fresh.push(slot);
            }
        }
        if let Some(task) = self.active_task(job, instance).filter(|task| task.status == TaskStatus::Pending).cloned() {
            self.seek_any_agent(&task);
        }
    }

    /// An instance waited for its agent for as long as that is kept.
    pub(crate) fn affinity_expired(&mut self, job: &JobKey, instance: InstanceId) {
        self.count("update_affinity_expired", 1);
        self.end_affinity(job, instance);
    }

    /// An agent is gone, or takes no tasks: nobody waits for it.
    pub(crate) fn end_affinity_on(&mut self, agent_id: &str) {
        for (job, instance) in self.affinity.by_agent.get(agent_id).cloned().into_iter().flatten() {
            self.end_affinity(&job, instance);
        }
    }

    /// The update of a job has ended.
    pub(crate) fn end_affinity_of(&mut self, job: &JobKey) {
        let kept = self.affinity.kept.range((job.clone(), 0)..).take_while(|((of, _), _)| of == job);
        let instances: Vec<InstanceId> = kept.map(|((_, instance), _)| *instance).collect();
        instances.into_iter().for_each(|instance| self.end_affinity(job, instance));
    }

    /// An agent takes no tasks by its mode, or will be taken away soon.
    pub(crate) fn end_affinity_if_leaving(&mut self, slot: usize) {
        let until_ms = self.now.wall_ms.saturating_add(ms(self.settings.unavailability_threshold) as i64);
        let leaving = |agent: &&super::offers::Agent| {
            !agent.mode.takes_tasks() || agent.unavailable_from_ms.is_some_and(|from_ms| from_ms < until_ms)
        };
        let agent = self.book.agent(slot).filter(|agent| self.affinity.keeps(&agent.id));
        if let Some(agent_id) = agent.filter(leaving).map(|agent| agent.id.clone()) {
            self.end_affinity_on(&agent_id);
        }
    }

    /// A pending task that waited for its agent may go anywhere.
    fn seek_any_agent(&mut self, task: &Task) {
        let number = self.store.config_number(&task.config);
        let Some(place) = self.active_mut(task).and_then(|active| active.queue_number) else { return };
        let Some(group) = self.groups.by_number.get_mut(&number) else { return };
        let Some(id) = group.homing.remove(&place) else { return };
        group.queue.insert(place, id.clone());
        match group.reason.clone() {
            Some(reason) => drop(self.store.view.pending_reasons.insert(id, reason)),
            None => drop(self.store.view.pending_reasons.remove(&id)),
        }
        self.wake_group(number);
    }

    /// Agents have just offered room: groups with tasks that waited for these have their turn.
    pub(crate) fn wake_homing(&mut self, fresh: &[usize]) {
        if self.affinity.kept.is_empty() {
            return;
        }
        let agents: BTreeSet<&str> =
            fresh.iter().filter_map(|slot| Some(self.book.agent(*slot)?.id.as_str())).collect();
        let waiting = agents.into_iter().filter_map(|id| self.affinity.by_agent.get(id)).flatten();
        let tasks: Vec<Arc<TaskConfig>> = waiting
            .filter_map(|(job, instance)| self.active_task(job, *instance))
            .filter(|task| task.status == TaskStatus::Pending)
            .map(|task| task.config.clone())
            .collect();
        for config in tasks {
            let number = self.store.config_number(&config);
            self.wake_group(number);
        }
    }

    /// Places those tasks of a group that wait for one agent only, as far as it has room for them. Returns how many; at most `turn`.
    pub(crate) fn place_homing(
        &mut self,
        number: u64,
        (query, class): (&Query<'_>, Class),
        counts: &mut LimitCounts,
        turn: usize,
    ) -> usize {
        let Some(group) = self.groups.by_number.get(&number).filter(|group| !group.homing.is_empty()) else { return 0 };
        let config = group.config.clone();
        let mut by_agent: BTreeMap<String, Vec<TaskId>> = BTreeMap::new();
        for id in group.homing.values().take(turn) {
            let Some(task) = self.store.view.tasks.get(id) else { continue };
            if let Some(agent_id) = self.affinity.agent_for(&task.config.job, task.instance) {
                by_agent.entry(agent_id.into()).or_default().push(id.clone());
            }
        }
        let mut placed = 0;
        for (agent_id, mut waiting) in by_agent {
            for slot in self.book.slots_of(&agent_id).to_vec() {
                let Some(agent) = self.book.agent(slot) else { continue };
                let usable = agent.usable(class.revocable);
                self.book.examined += 1;
                let Some(agent) = self.book.agent(slot).filter(|agent| agent.is_offered()) else { continue };
                if let Some(veto) = query.veto(agent, &usable, counts) {
                    if matches!(veto, Veto::Maintenance { .. }) {
                        self.end_affinity_on(&agent_id);
                        break;
                    }
                    continue;
                }
                let room = query.limit_room(&agent.attributes, counts).min(waiting.len() as u64);
                let attributes = agent.attributes.clone();
                let ids: Vec<TaskId> = waiting.drain(..usable.fits(&class.demand, room) as usize).collect();
                let launched = self.launch(slot, number, &config, class, ids);
                counts.add(&attributes, launched as i64);
                self.count("update_affinity_returned", launched as i64);
                placed += launched;
            }
        }
        placed
    }

    /// Why a task that waits for its agent is pending.
    pub(crate) fn homing_reason(&self, agent_id: &str) -> PendingReason {
        let agent = self.book.slots_of(agent_id).first().and_then(|slot| self.book.agent(*slot));
        let host = agent.map_or(agent_id, |agent| agent.host.as_str());
        PendingReason {
            nearest_fit: String::new(),
            sentence: format!("goes back to {host}, where it ran before its update, as soon as that offers its room"),
            vetoes: BTreeMap::new(),
        }
    }
}
