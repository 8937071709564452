//! The update controller: starts updates, follows the tasks of those that are rolling, records what happens to instances and
//! ends them. It changes tasks only by asking `tasks` to create or to kill.

mod control;
mod start;
pub(crate) mod status;
mod strategy;
mod updater;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::{InstanceUpdateEvent, Update, UpdateAction, UpdateEvent, UpdateStatus};
use model::{InstanceId, JobKey, TaskStatus, UpdateKey};

use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::tasks::reschedule::Origin;
use crate::tasks::table::State;
use crate::timers::Timer;
use updater::{Found, Standing, Step, Updater};

/// What the controller remembers beyond the table of updates. Nothing of it is durable.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    /// The active update of each job.
    active: BTreeMap<JobKey, Active>,
}

/// An active update.
#[derive(Debug)]
struct Active {
    key: UpdateKey,
    /// Present while it is rolling.
    updater: Option<Updater>,
    /// Actions recorded, each once per instance in an update's life.
    recorded: BTreeSet<(InstanceId, UpdateAction)>,
    /// Instances whose batch has begun, for updates that pause after each batch; `None` before the first.
    begun: Option<BTreeSet<InstanceId>>,
    /// When the last pulse came, on the monotonic clock, whose origin may be later than that; `None` when none did.
    last_pulse_ms: Option<i64>,
}

impl Active {
    fn new(update: &Update) -> Self {
        let recorded = update.instance_events.iter().map(|event| (event.instance, event.action)).collect();
        Self { key: update.key.clone(), updater: None, recorded, begun: None, last_pulse_ms: None }
    }
}

/// How long an update lives on without a pulse; `None` when it needs none.
fn pulse_timeout_ms(update: &Update) -> Option<i64> {
    update.settings.block_if_no_pulses_after_ms.filter(|ms| *ms > 0).map(i64::from)
}

impl Scheduler {
    /// Lets updates see what happened to their tasks.
    pub(crate) fn follow_changes(&mut self) {
        while let Some(change) = self.core.changes.pop_front() {
            let Some(active) = self.updates.active.get(&change.job) else { continue };
            if !active.updater.as_ref().is_some_and(|updater| updater.is_working_on(change.instance)) {
                continue;
            }
            let key = active.key.clone();
            let task = self.core.store.view.tasks.get(&change.task_id);
            match (change.status, task) {
                (Some(status), Some(task)) if task.status == status => {
                    let task = task.clone();
                    self.evaluate(&key, Some((change.instance, Some(task))));
                }
                (None, _) => self.evaluate(&key, Some((change.instance, None))),
                // The task has moved on since; a later change says so.
                _ => {}
            }
        }
    }

    /// A watched instance may have run for long enough.
    pub(crate) fn watch_ended(&mut self, key: &UpdateKey, instance: InstanceId) {
        if let Some(active) = self.updates.active.get_mut(&key.job).filter(|active| active.key == *key) {
            if let Some(updater) = &mut active.updater {
                updater.timers.remove(&instance);
            }
            let task = self.core.active_task(&key.job, instance).cloned();
            self.evaluate(key, Some((instance, task)));
        }
    }

    /// After a restart: updates that were rolling go on from what the tasks are now (spec scheduler 3.10).
    pub(crate) fn resume_updates(&mut self) {
        let updates: Vec<Arc<Update>> =
            self.core.store.view.updates.values().filter(|update| update.status().is_active()).cloned().collect();
        for update in updates {
            let mut active = Active::new(&update);
            let status = update.status();
            if !status::awaits_pulse(status) {
                let age_ms = self.core.now.wall_ms.saturating_sub(update.last_modified_ms()).max(0);
                active.last_pulse_ms = Some((self.core.now.monotonic_ms as i64).saturating_sub(age_ms));
            }
            if status == UpdateStatus::RollingForward {
                active.begun = Some(update.instance_events.iter().map(|event| event.instance).collect())
                    .filter(|begun: &BTreeSet<InstanceId>| !begun.is_empty());
            }
            if status::is_rolling(status) {
                active.updater = Some(Updater::new(&update));
            }
            self.updates.active.insert(update.key.job.clone(), active);
            self.core.followed.insert(update.key.job.clone());
            self.evaluate(&update.key, None);
        }
    }

    /// One evaluation: records, then changes to tasks, then perhaps the end.
    fn evaluate(&mut self, key: &UpdateKey, changed: Option<(InstanceId, Option<Arc<Task>>)>) {
        // Only these are taken out: a copy held while events are added would make each addition copy the whole history.
        let Some(update) = self.core.store.view.updates.get(key) else { return };
        let (status, blocked) = (update.status(), self.is_blocked(update));
        let (pauses_itself, rolls_back) =
            (strategy::pauses_itself(&update.settings.strategy), update.settings.rollback_on_failure);
        if !status::is_rolling(status) {
            return;
        }
        if blocked {
            let message = Some("Pulses from the coordinator have stopped.".to_owned());
            self.change_update(key, status::awaiting_pulse(status), None, message);
            return;
        }
        let Some(active) = self.updates.active.get_mut(&key.job) else { return };
        let Some(updater) = &mut active.updater else { return };
        let (mut found, standing) = updater.evaluate(&self.core, changed);
        self.core.work += found.len();
        if self.core.space_low {
            found.retain(|found| {
                let is_held = updater.grows_state(found);
                if is_held {
                    updater.held.insert(found.instance);
                }
                !is_held
            });
        }
        let may_pause = status == UpdateStatus::RollingForward && pauses_itself && !self.core.space_low;
        let pauses = may_pause && active.begins_batch(&found);
        if pauses {
            found.retain(|found| matches!(found.step, Step::Succeeded | Step::Failed));
        }
        self.record_found(key, &found);
        if pauses {
            let message = Some("Update auto paused".to_owned());
            self.change_update(key, UpdateStatus::RollForwardPaused, None, message);
            return;
        }
        match standing {
            Standing::Working => found.into_iter().for_each(|found| self.act(key, found)),
            Standing::Succeeded if status::is_forward(status) => {
                self.change_update(key, UpdateStatus::RolledForward, None, None);
            }
            Standing::Succeeded => self.change_update(key, UpdateStatus::RolledBack, None, None),
            Standing::Failed(instance) => {
                let back = status::is_forward(status) && rolls_back;
                let to = if back { UpdateStatus::RollingBack } else { UpdateStatus::Failed };
                let message = format!("Latest failure: instance {instance} exited.");
                self.change_update(key, to, None, Some(message));
            }
        }
    }

    /// The journal has room again: what was held back is done now, and further instances are taken.
    pub(crate) fn updates_go_on(&mut self) {
        let keys: Vec<UpdateKey> = self.updates.active.values().map(|active| active.key.clone()).collect();
        for key in keys {
            let updater = self.updates.active.get_mut(&key.job).and_then(|active| active.updater.as_mut());
            let held = updater.map(|updater| std::mem::take(&mut updater.held)).unwrap_or_default();
            for instance in held {
                let task = self.core.active_task(&key.job, instance).cloned();
                self.evaluate(&key, Some((instance, task)));
            }
            self.evaluate(&key, None);
        }
    }

    fn record_found(&mut self, key: &UpdateKey, found: &[Found]) {
        for Found { instance, step, taken_now } in found {
            let Some(active) = self.updates.active.get_mut(&key.job) else { return };
            let Some(updater) = &active.updater else { return };
            let action = updater.action(step);
            let mut events = active.recorded.range((*instance, UpdateAction::ALL[0])..);
            let untouched = *taken_now && events.next().is_none_or(|(recorded, _)| recorded != instance);
            // What needed nothing is not worth an event.
            if (*step == Step::Succeeded && untouched) || !active.recorded.insert((*instance, action)) {
                continue;
            }
            let timestamp_ms = self.stamp_of(key);
            let event = InstanceUpdateEvent { instance: *instance, timestamp_ms, action, message: None };
            self.core.store.add_instance_event(key, event);
            self.core.count(&format!("update_instance_transition_{}", action.name()), 1);
        }
    }

    /// Now, but not before the latest event of the update.
    fn stamp_of(&self, key: &UpdateKey) -> i64 {
        let last_ms = self.core.store.view.updates.get(key).map_or(0, |update| update.last_modified_ms());
        self.core.now.wall_ms.max(last_ms)
    }

    fn act(&mut self, key: &UpdateKey, found: Found) {
        let instance = found.instance;
        match found.step {
            Step::Add(config) => {
                if self.core.active_task(&key.job, instance).is_none() {
                    let config = self.core.store.intern(Arc::unwrap_or_clone(config));
                    if let Err(collision) = self.core.create_task(&config, instance, Origin::New) {
                        self.core.notice(format!("Update {} adds nothing: {collision}.", key.id));
                    }
                }
            }
            Step::Kill(id) => {
                let message = format!("Killed for job update {}", key.id);
                self.core.transition(&id, None, State::Stored(TaskStatus::Killing), Some(message.into()));
            }
            Step::Watch(left_ms) => {
                let timer = self.core.arm_after(left_ms, Timer::Watch(key.clone(), instance));
                let updater = self.updates.active.get_mut(&key.job).and_then(|active| active.updater.as_mut());
                let old = match updater {
                    Some(updater) => updater.timers.insert(instance, timer),
                    None => Some(timer),
                };
                if let Some(old) = old {
                    self.core.timers.cancel(old);
                }
            }
            Step::Wait | Step::Succeeded | Step::Failed => {}
        }
    }

    /// Moves an update to another state, and lets go of or takes up its work. The caller has checked that it is legal.
    fn change_update(&mut self, key: &UpdateKey, to: UpdateStatus, user: Option<String>, message: Option<String>) {
        let event = UpdateEvent { status: to, timestamp_ms: self.stamp_of(key), user, message };
        self.core.store.add_update_event(key, event);
        self.core.count(&format!("update_transition_{to}"), 1);
        self.take_up(key);
    }

    /// Drops the work in memory; a rolling update gets a fresh start and is evaluated at once.
    fn take_up(&mut self, key: &UpdateKey) {
        let Some(update) = self.core.store.view.updates.get(key).cloned() else { return };
        self.core.followed.insert(key.job.clone());
        let active = self.updates.active.entry(key.job.clone()).or_insert_with(|| Active::new(&update));
        if let Some(updater) = active.updater.take() {
            updater.timers.into_values().for_each(|timer| self.core.timers.cancel(timer));
        }
        if !update.status().is_active() {
            self.updates.active.remove(&key.job);
            self.core.followed.remove(&key.job);
        } else if status::is_rolling(update.status()) {
            active.updater = Some(Updater::new(&update));
            self.evaluate(key, None);
        }
    }

    /// Whether a coordinated update has gone without a pulse for too long.
    fn is_blocked(&self, update: &Update) -> bool {
        let Some(timeout_ms) = pulse_timeout_ms(update) else { return false };
        let last_ms = self.updates.active.get(&update.key.job).and_then(|active| active.last_pulse_ms);
        last_ms.is_none_or(|last_ms| (self.core.now.monotonic_ms as i64).saturating_sub(last_ms) >= timeout_ms)
    }
}

impl Active {
    /// Whether the evaluation begins a batch after an earlier one (spec scheduler 3.4).
    fn begins_batch(&mut self, found: &[Found]) -> bool {
        let first = self.begun.is_none();
        let begun = self.begun.get_or_insert_default();
        let before = begun.len();
        begun.extend(found.iter().map(|found| found.instance));
        !first && begun.len() > before
    }
}
