//! The update controller: starts updates, follows the tasks of those that are rolling, records what happens to instances and
//! ends them. It changes tasks only by asking `tasks` to create or to kill.

mod control;
pub(crate) mod progress;
mod sla_kill;
mod start;
pub(crate) mod status;
mod strategy;
mod updater;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::{InstanceUpdateEvent, Update, UpdateAction, UpdateEvent, UpdateStatus};
use model::{InstanceId, JobKey, TaskStatus, UpdateKey};

use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::tasks::reschedule::Origin;
use crate::tasks::table::State;
use crate::timers::Timer;
use progress::InstanceProgress;
use status::{Cause, Cell};
pub(crate) use updater::foretell_groups;
use updater::{Found, Standing, Step, Updater};

/// What the controller remembers beyond the stored tables; a restart builds it anew from them.
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
    /// Instances whose batch has begun, for updates that pause before each batch but the first; `None` before that.
    begun: Option<BTreeSet<InstanceId>>,
    /// When the last pulse came, on the monotonic clock, whose origin may be later than that; `None` when none did.
    last_pulse_ms: Option<i64>,
}

impl Active {
    fn new(update: &Update) -> Self {
        let recorded = update.instance_events.iter().map(|event| (event.instance, event.action)).collect();
        Self { key: update.key.clone(), updater: None, recorded, begun: None, last_pulse_ms: None }
    }

    /// Whether anything was recorded of an instance.
    fn has_touched(&self, instance: InstanceId) -> bool {
        let mut events = self.recorded.range((instance, UpdateAction::ALL[0])..);
        events.next().is_some_and(|(recorded, _)| *recorded == instance)
    }

    /// Whether the evaluation begins a batch after an earlier one (spec scheduler 3.4).
    fn begins_batch(&mut self, found: &[Found]) -> bool {
        let first = self.begun.is_none();
        let begun = self.begun.get_or_insert_default();
        let before = begun.len();
        begun.extend(found.iter().map(|found| found.instance));
        !first && begun.len() > before
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
            if !active.updater.as_ref().is_some_and(|updater| updater.contains(change.instance)) {
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
            self.look_again(key, instance);
        }
    }

    /// Evaluates with what is known of an instance now.
    fn look_again(&mut self, key: &UpdateKey, instance: InstanceId) {
        let task = self.core.active_task(&key.job, instance).cloned();
        self.evaluate(key, Some((instance, task)));
    }

    /// After a restart: updates that were rolling go on from where they were (spec scheduler 3.10).
    pub(crate) fn resume_updates(&mut self) {
        self.core.store.forget_strays_of_updates();
        let updates: Vec<Arc<Update>> =
            self.core.store.view.updates.values().filter(|update| update.status().is_active()).cloned().collect();
        for update in updates {
            let mut active = Active::new(&update);
            active.last_pulse_ms = self.last_pulse_ms(&update);
            active.begun = self.batches_begun(&update);
            self.core.followed.insert(update.key.job.clone());
            if status::is_rolling(update.status()) {
                match Updater::new(&update, self.core.store.view.update_progress.get(&update.key)) {
                    Ok(updater) => active.updater = Some(updater),
                    Err(why) => {
                        self.updates.active.insert(update.key.job.clone(), active);
                        self.core.count("job_update_recovery_errors", 1);
                        self.break_off(&update.key, &why);
                        continue;
                    }
                }
            }
            let working = active.updater.as_ref().map(|updater| updater.working().clone()).unwrap_or_default();
            self.updates.active.insert(update.key.job.clone(), active);
            // What hung on these, timers and kills that wait, was in memory only.
            working.into_iter().for_each(|instance| self.look_again(&update.key, instance));
            self.evaluate(&update.key, None);
        }
    }

    /// The last pulse of an update on the monotonic clock of this process. One that waits for a pulse has had none that counts, however
    /// the wall clock was set since.
    fn last_pulse_ms(&self, update: &Update) -> Option<i64> {
        if status::awaits_pulse(update.status()) {
            return None;
        }
        let last_ms = *self.core.store.view.update_pulses.get(&update.key)?;
        let age_ms = self.core.now.wall_ms.saturating_sub(last_ms).max(0);
        Some((self.core.now.monotonic_ms as i64).saturating_sub(age_ms))
    }

    /// Instances whose batch had begun before a restart.
    fn batches_begun(&self, update: &Update) -> Option<BTreeSet<InstanceId>> {
        let progress = self.core.store.view.update_progress.get(&update.key)?;
        let begun: BTreeSet<InstanceId> = progress.iter().filter(|(_, known)| known.begun).map(|(id, _)| *id).collect();
        Some(begun).filter(|begun| !begun.is_empty())
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
            self.change_update(key, Cause::PulsesStopped, None, message);
            return;
        }
        let Some(active) = self.updates.active.get_mut(&key.job) else { return };
        let Some(updater) = &mut active.updater else { return };
        let (mut found, standing) = updater.evaluate(&self.core, changed);
        self.core.work += found.len();
        let looks_at_batches = status == UpdateStatus::RollingForward && pauses_itself && !self.core.space_low;
        // When everything is done there is no batch left to pause before.
        let pauses = looks_at_batches && active.begins_batch(&found) && standing == Standing::Working;
        // Of what is held back as well: the look may have counted a failure, and no later look counts it again.
        self.store_progress(key, &found, pauses);
        self.hold_back(key, &mut found);
        if pauses {
            found.retain(|found| matches!(found.step, Step::Succeeded | Step::Failed));
        }
        self.record_found(key, &found);
        if pauses {
            let message = Some("Update auto paused".to_owned());
            self.change_update(key, Cause::BatchBegins, None, message);
            return;
        }
        match standing {
            Standing::Working => found.into_iter().for_each(|found| self.act(key, found)),
            Standing::Succeeded => self.change_update(key, Cause::Succeeded, None, None),
            Standing::Failed(instance) => {
                let message = format!("Latest failure: instance {instance} exited.");
                self.change_update(key, Cause::Failed { rolls_back }, None, Some(message));
            }
        }
    }

    /// While the journal is short of room, takes out what would make the state grow, to be looked at again later.
    fn hold_back(&mut self, key: &UpdateKey, found: &mut Vec<Found>) {
        if !self.core.space_low {
            return;
        }
        let Some(active) = self.updates.active.get_mut(&key.job) else { return };
        let Some(updater) = &mut active.updater else { return };
        found.retain(|found| {
            let is_held = updater.grows_state(found);
            if is_held {
                updater.held.insert(found.instance);
            }
            !is_held
        });
    }

    /// The journal has room again: what was held back is done now, and further instances are taken.
    pub(crate) fn updates_go_on(&mut self) {
        let keys: Vec<UpdateKey> = self.updates.active.values().map(|active| active.key.clone()).collect();
        for key in keys {
            let updater = self.updates.active.get_mut(&key.job).and_then(|active| active.updater.as_mut());
            let held = updater.map(|updater| std::mem::take(&mut updater.held)).unwrap_or_default();
            held.into_iter().for_each(|instance| self.look_again(&key, instance));
            self.evaluate(&key, None);
        }
    }

    /// Makes durable how far the instances are that an evaluation looked at.
    fn store_progress(&mut self, key: &UpdateKey, found: &[Found], pauses: bool) {
        let Some(active) = self.updates.active.get(&key.job) else { return };
        let Some(updater) = &active.updater else { return };
        for Found { instance, .. } in found {
            let begun = active.begun.as_ref().is_some_and(|begun| begun.contains(instance));
            // A pause forgets all but that.
            let (stage, failures) = if pauses { Default::default() } else { updater.progress_of(*instance) };
            self.core.store.put_progress(key, *instance, InstanceProgress { stage, failures, begun });
        }
    }

    fn record_found(&mut self, key: &UpdateKey, found: &[Found]) {
        for found in found {
            let Some(active) = self.updates.active.get(&key.job) else { return };
            let Some(updater) = &active.updater else { return };
            for action in updater.actions(found, active.has_touched(found.instance)) {
                let checks = matches!(found.step, Step::KillWithinSla(_)) && found.taken_now;
                self.record_once(key, found.instance, action, checks.then_some(sla_kill::CHECKING));
            }
        }
    }

    /// Records an action of an instance unless it is recorded already.
    fn record_once(&mut self, key: &UpdateKey, instance: InstanceId, action: UpdateAction, message: Option<&str>) {
        let active = self.updates.active.get_mut(&key.job);
        if active.is_some_and(|active| active.recorded.insert((instance, action))) {
            self.record(key, instance, action, message);
        }
    }

    fn record(&mut self, key: &UpdateKey, instance: InstanceId, action: UpdateAction, message: Option<&str>) {
        let timestamp_ms = self.stamp_of(key);
        let message = message.map(str::to_owned);
        self.core.store.add_instance_event(key, InstanceUpdateEvent { instance, timestamp_ms, action, message });
        self.core.count(&format!("update_instance_transition_{}", action.name()), 1);
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
            Step::Kill(id) => self.kill_for_update(key, instance, &id),
            Step::KillWithinSla(id) => self.begin_sla_kill(key, instance, id),
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

    fn kill_for_update(&mut self, key: &UpdateKey, instance: InstanceId, id: &model::TaskId) {
        let message = format!("Killed for job update {}", key.id);
        let before = self.core.store.view.tasks.get(id).cloned();
        let updater = self.updates.active.get(&key.job).and_then(|active| active.updater.as_ref());
        let target = updater.and_then(|updater| updater.target(instance)).cloned();
        self.core.transition(id, None, State::Stored(TaskStatus::Killing), Some(message.into()));
        if let (Some(before), Some(target)) = (before, target) {
            self.core.keep_agent_for_update(&before, &target);
        }
    }

    /// Moves an update as the table says; what the table refuses is refused.
    fn change_update(&mut self, key: &UpdateKey, cause: Cause, user: Option<String>, message: Option<String>) {
        let Some(from) = self.core.store.view.updates.get(key).map(|update| update.status()) else { return };
        let to = match status::cell(from, cause) {
            Cell::To(to) => to,
            Cell::Same => return,
            Cell::Illegal => {
                self.core.notice(format!("Update {} is {from} and stays so: {cause:?} is not for it.", key.id));
                return;
            }
        };
        let event = UpdateEvent { status: to, timestamp_ms: self.stamp_of(key), user, message };
        self.core.store.add_update_event(key, event);
        self.core.count(&format!("update_transition_{to}"), 1);
        self.take_up(key);
    }

    /// What is stored of an update makes no sense: it ends, and tasks are left as they are.
    fn break_off(&mut self, key: &UpdateKey, why: &str) {
        let message = format!("Internal scheduler error: the update cannot go on, {why}.");
        self.change_update(key, Cause::Broken, None, Some(message));
    }

    /// Forgets how far the update was; one that rolls gets a fresh start and is evaluated at once.
    fn take_up(&mut self, key: &UpdateKey) {
        let Some(update) = self.core.store.view.updates.get(key).cloned() else { return };
        let is_active = update.status().is_active();
        self.core.store.forget_progress(key, is_active);
        self.core.followed.insert(key.job.clone());
        let active = self.updates.active.entry(key.job.clone()).or_insert_with(|| Active::new(&update));
        if let Some(updater) = active.updater.take() {
            let tries = updater.sla_tries.into_values().filter_map(|sla_try| sla_try.timer);
            updater.timers.into_values().chain(tries).for_each(|timer| self.core.timers.cancel(timer));
        }
        if !is_active {
            self.updates.active.remove(&key.job);
            self.core.followed.remove(&key.job);
            self.core.store.forget_pulse(key);
            self.core.end_affinity_of(&key.job);
        } else if status::is_rolling(update.status()) {
            match Updater::new(&update, None) {
                Ok(updater) => {
                    active.updater = Some(updater);
                    drop(update);
                    self.evaluate(key, None);
                }
                Err(why) => self.break_off(key, &why),
            }
        }
    }

    /// Whether a coordinated update has gone without a pulse for too long.
    fn is_blocked(&self, update: &Update) -> bool {
        let Some(timeout_ms) = pulse_timeout_ms(update) else { return false };
        let last_ms = self.updates.active.get(&update.key.job).and_then(|active| active.last_pulse_ms);
        last_ms.is_none_or(|last_ms| (self.core.now.monotonic_ms as i64).saturating_sub(last_ms) >= timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use model::update::{InstanceConfig, InstanceRange, UpdateSettings, UpdateStrategy};
    use model::{InstanceId, JobKey, TaskConfig};

    use super::*;
    use crate::input::{Input, Now};
    use crate::settings::Settings;

    fn stored(strategy: UpdateStrategy, status: UpdateStatus) -> Update {
        let job = JobKey::new("www-data", "devel", "web");
        let range = |first: InstanceId, last| vec![InstanceRange { first, last }];
        let event = |status| UpdateEvent { status, timestamp_ms: 1, user: None, message: None };
        Update {
            key: UpdateKey { job: job.clone(), id: "u".into() },
            user: "jane".into(),
            settings: UpdateSettings { strategy, ..UpdateSettings::default() },
            metadata: Default::default(),
            initial: vec![],
            desired: Some(InstanceConfig { task: TaskConfig::new(job, 1.0, 1, 1, "{}"), instances: range(0, 1) }),
            events: vec![event(UpdateStatus::RollingForward), event(status)],
            instance_events: vec![],
        }
    }

    fn recovered(update: Update) -> Scheduler {
        let mut scheduler = Scheduler::new(Settings::default());
        scheduler.core.store.put_update(update);
        scheduler.step(Now { wall_ms: 5, monotonic_ms: 5 }, Input::Start { seed: [1; 32], epoch: 1 });
        scheduler.verify().unwrap();
        scheduler
    }

    #[test]
    fn an_update_that_makes_no_sense_ends_with_an_error_and_touches_nothing() {
        let broken = UpdateStrategy::Batch { group_size: 0, autopause_after_batch: false };
        let scheduler = recovered(stored(broken.clone(), UpdateStatus::RollingForward));
        let view = scheduler.freeze();
        let update = view.updates.values().next().unwrap();
        assert_eq!(update.status(), UpdateStatus::Error);
        assert!(update.events.last().unwrap().message.as_deref().unwrap().starts_with("Internal scheduler error"));
        assert_eq!((view.counters["job_update_recovery_errors"], view.tasks.len()), (1, 0));
        // A resting one breaks when it is to roll.
        let mut scheduler = recovered(stored(broken, UpdateStatus::RollForwardPaused));
        let key = scheduler.freeze().updates.keys().next().unwrap().clone();
        scheduler.change_update(&key, Cause::Resume { blocked: false }, None, None);
        assert_eq!(scheduler.freeze().updates[&key].status(), UpdateStatus::Error);
        scheduler.verify().unwrap();
        // One that makes sense goes on.
        let scheduler = recovered(stored(UpdateStrategy::Queue { group_size: 1 }, UpdateStatus::RollingForward));
        assert_eq!(scheduler.freeze().tasks.len(), 1);
    }

    #[test]
    fn what_the_table_refuses_changes_nothing() {
        let mut scheduler = recovered(stored(UpdateStrategy::Queue { group_size: 1 }, UpdateStatus::RollForwardPaused));
        let key = scheduler.freeze().updates.keys().next().unwrap().clone();
        let before = scheduler.freeze().updates[&key].clone();
        for cause in [Cause::Succeeded, Cause::BatchBegins, Cause::PulsesStopped, Cause::Failed { rolls_back: true }] {
            scheduler.change_update(&key, cause, None, None);
            assert_eq!(scheduler.freeze().updates[&key], before, "{cause:?}");
        }
    }
}
