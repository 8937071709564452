//! The judge of update affinity: counts for itself which agents are kept for which instances, from what is stored, said and asked in
//! each step, and sees that nobody else gets them and that nobody who waits for one goes elsewhere. Where more than one thing
//! happens in a step, or the reason is not to be seen from outside, it gives the scheduler the benefit of the doubt.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Call, Event};
use model::update::{Update, UpdateStatus, from_ranges};
use model::{InstanceId, JobKey, ResourceType, TaskConfig, TaskStatus, UpdateKey};
use scheduler::{Effect, Input, Settings, Transition, View};

use super::oracle::Seen;

/// An agent kept for an instance.
struct Kept {
    agent: String,
    host: String,
    update: UpdateKey,
    until_ms: u64,
}

/// Knows which agents are kept.
#[derive(Default)]
pub(super) struct AffinityJudge {
    hold_ms: Option<u64>,
    preemption_ms: u64,
    kept: BTreeMap<(JobKey, InstanceId), Kept>,
    /// Instances for which an agent may be kept or not.
    unsure: BTreeSet<(JobKey, InstanceId)>,
    /// Agents that are gone and have not offered anything since.
    lost: BTreeSet<String>,
    /// Until when an agent may be kept for somebody who preempted there.
    preempted: BTreeMap<String, u64>,
    /// What was met.
    pub met: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

impl AffinityJudge {
    /// A judge who knows how long agents are kept.
    pub fn new(settings: &Settings) -> Self {
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        let hold_ms = settings.enable_update_affinity.then(|| ms(settings.update_affinity_reservation_hold_time));
        Self { hold_ms, preemption_ms: ms(settings.offer_reservation_duration), ..Self::default() }
    }

    /// Nothing of it outlives a scheduler, or the state that it knew.
    pub fn forget(&mut self) {
        self.kept.clear();
        self.unsure.clear();
        self.preempted.clear();
        self.lost.clear();
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Judges one step.
    pub fn judge(&mut self, seen: &Seen<'_>) {
        let Some(hold_ms) = self.hold_ms else { return };
        self.end(seen);
        for effect in seen.effects {
            match effect {
                Effect::Transition(change) => self.changed(change, hold_ms, seen),
                Effect::Engine(Call::Accept { launches, .. }) => {
                    for launch in launches {
                        self.launched(&launch.task_id, (launch.config.job.clone(), launch.instance), seen);
                    }
                }
                _ => {}
            }
        }
    }

    /// What ends in this step, or may.
    fn end(&mut self, seen: &Seen<'_>) {
        match seen.input {
            Input::Engine(Event::AgentLost(agent)) => {
                self.lost.insert(agent.clone());
                self.kept.retain(|_, kept| kept.agent != *agent);
            }
            Input::Engine(Event::Offers(offers)) => {
                for offer in offers {
                    self.lost.remove(&offer.agent_id);
                    if offer.unavailable_from_ms.is_some() {
                        let (ending, kept) = std::mem::take(&mut self.kept)
                            .into_iter()
                            .partition(|(_, kept)| kept.agent == offer.agent_id);
                        self.kept = kept;
                        self.unsure.extend(BTreeMap::into_keys(ending));
                    }
                }
            }
            Input::Engine(Event::InverseOffer { .. }) => {
                self.unsure.extend(std::mem::take(&mut self.kept).into_keys());
            }
            _ => {}
        }
        let over: Vec<_> =
            self.kept.iter().filter(|(_, kept)| seen.now_ms >= kept.until_ms).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.kept.remove(&key);
            let waits =
                seen.before.tasks_of(&key.0).any(|task| task.instance == key.1 && task.status == TaskStatus::Pending);
            self.meet(if waits { "expired" } else { "unused" });
        }
        self.kept.retain(|(job, _), kept| {
            let goes_on = seen.after.active_update(job).is_some_and(|update| update.key == kept.update);
            goes_on && takes_tasks(seen.after, &kept.host)
        });
        self.preempted.retain(|_, until_ms| seen.now_ms <= *until_ms);
    }

    fn changed(&mut self, change: &Transition, hold_ms: u64, seen: &Seen<'_>) {
        let Some(task) = seen.after.tasks.get(&change.task_id) else { return };
        let (Some(agent), Some(host)) = (task.agent_id.as_deref(), task.host.as_deref()) else { return };
        if change.to == Some(TaskStatus::Preempting) {
            self.preempted.insert(agent.to_owned(), seen.now_ms + self.preemption_ms);
        }
        let from = matches!(
            change.from,
            Some(TaskStatus::Assigned | TaskStatus::Starting | TaskStatus::Running | TaskStatus::Restarting)
        );
        let by_update = change.reason.as_deref().is_some_and(|reason| reason.starts_with("Killed for job update "));
        if change.to != Some(TaskStatus::Killing) || !from || !by_update {
            return;
        }
        let key = (change.job.clone(), change.instance);
        // Whatever was kept for it is not any more; what is now, may not be to be seen.
        self.kept.remove(&key);
        self.unsure.insert(key.clone());
        let Some(update) = seen.after.active_update(&change.job) else { return };
        let now = (update.key.clone(), is_forward(update));
        // An update that began in this step has had one direction only.
        let turned = direction(seen.before, &change.job).is_some_and(|before| before != now);
        if turned || self.lost.contains(agent) || self.preempted.contains_key(agent) {
            return;
        }
        self.unsure.remove(&key);
        if !takes_tasks(seen.after, host) || !target(update, change.instance).is_some_and(|new| fits(new, &task.config))
        {
            return;
        }
        self.meet("kept");
        let until_ms = seen.now_ms + hold_ms;
        let kept = Kept { agent: agent.to_owned(), host: host.to_owned(), update: update.key.clone(), until_ms };
        self.kept.insert(key, kept);
    }

    fn launched(&mut self, id: &model::TaskId, key: (JobKey, InstanceId), seen: &Seen<'_>) {
        let agent = seen.after.tasks.get(id).and_then(|task| task.agent_id.as_deref()).unwrap_or("nowhere");
        if let Some(own) = self.kept.remove(&key) {
            if own.agent != agent {
                self.violations.push(format!("{id} went to {agent}, and {} is kept for it", own.agent));
            }
            self.meet("returned");
        } else if self.unsure.remove(&key) {
            // Perhaps it went back, perhaps it goes anywhere.
        } else if let Some(((job, instance), _)) = self.kept.iter().find(|(_, kept)| kept.agent == agent) {
            self.violations.push(format!("{id} went to {agent}, which is kept for instance {instance} of {job}"));
        }
    }
}

fn takes_tasks(view: &View, host: &str) -> bool {
    view.hosts.get(host).is_none_or(|record| record.mode.takes_tasks())
}

fn is_forward(update: &Update) -> bool {
    !matches!(
        update.status(),
        UpdateStatus::RollingBack | UpdateStatus::RollBackPaused | UpdateStatus::RollBackAwaitingPulse
    )
}

fn direction(view: &View, job: &JobKey) -> Option<(UpdateKey, bool)> {
    let update = view.active_update(job)?;
    Some((update.key.clone(), is_forward(update)))
}

/// What an instance is to run next.
fn target(update: &Update, instance: InstanceId) -> Option<&TaskConfig> {
    let side = if is_forward(update) { update.desired.as_slice() } else { &update.initial };
    let entry = side.iter().find(|entry| from_ranges(&entry.instances).contains(&instance))?;
    Some(&entry.task)
}

fn fits(new: &TaskConfig, old: &TaskConfig) -> bool {
    ResourceType::ALL.into_iter().all(|kind| new.resources.amount(kind) <= old.resources.amount(kind))
        && new.constraints == old.constraints
}
