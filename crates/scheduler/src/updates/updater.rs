//! The evaluation of one update: what each instance needs next, which instances are taken next, whether it is done (spec
//! scheduler 3.4 to 3.6). Memory only, made anew on resume and restart; it reads tasks and never changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::{Update, UpdateAction, UpdateSettings, from_ranges};
use model::{InstanceId, JobKey, TaskConfig, TaskId, TaskStatus};

use super::status;
use super::strategy::{Progress, next_group_size};
use crate::core::Core;
use crate::task::Task;
use crate::timers::TimerKey;

/// What is to be done for an instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A task with this configuration is to be created.
    Add(Arc<TaskConfig>),
    /// The task is to be killed.
    Kill(TaskId),
    /// The instance is to be looked at again after so many ms.
    Watch(u64),
    /// It is to be looked at when its task changes.
    Wait,
    /// It is as it should be.
    Succeeded,
    /// It failed more often than it may.
    Failed,
}

/// What an evaluation found for one instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) instance: InstanceId,
    pub(crate) step: Step,
    /// It was taken in this evaluation.
    pub(crate) taken_now: bool,
}

/// How the update as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not done.
    Working,
    /// Every instance is done, and not too many failed.
    Succeeded,
    /// Too many instances failed; one of them.
    Failed(InstanceId),
}

/// One direction of one update, under way.
#[derive(Debug)]
pub(crate) struct Updater {
    job: JobKey,
    forward: bool,
    settings: UpdateSettings,
    /// What each instance should run; `None` for those that should not be.
    targets: BTreeMap<InstanceId, Option<Arc<TaskConfig>>>,
    /// Instances not taken yet, the next one last.
    idle: Vec<InstanceId>,
    working: BTreeSet<InstanceId>,
    failed: BTreeSet<InstanceId>,
    failures: BTreeMap<InstanceId, i32>,
    /// When a run that is being watched will have lasted long enough: the run, the stamp of its RUNNING, monotonic ms.
    watched: BTreeMap<InstanceId, (TaskId, i64, u64)>,
    /// Armed timers of watched instances.
    pub(crate) timers: BTreeMap<InstanceId, TimerKey>,
    /// Instances whose next step waits until the journal has room.
    pub(crate) held: BTreeSet<InstanceId>,
}

impl Updater {
    /// For an update that is rolling. Instances to create come first, then those to change, then those to remove; a rollback
    /// takes the reverse of that order.
    pub(crate) fn new(update: &Update) -> Self {
        let forward = status::is_forward(update.status());
        let mut initial = BTreeMap::new();
        for entry in &update.initial {
            let config = Arc::new(entry.task.clone());
            initial.extend(from_ranges(&entry.instances).into_iter().map(|instance| (instance, config.clone())));
        }
        let mut desired = BTreeMap::new();
        if let Some(entry) = &update.desired {
            let config = Arc::new(entry.task.clone());
            desired.extend(from_ranges(&entry.instances).into_iter().map(|instance| (instance, config.clone())));
        }
        let all: BTreeSet<InstanceId> = initial.keys().chain(desired.keys()).copied().collect();
        let rank = |instance: &InstanceId| match (initial.contains_key(instance), desired.contains_key(instance)) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        let mut order: Vec<InstanceId> = all.iter().copied().collect();
        order.sort_by_key(|instance| (rank(instance), *instance));
        if forward {
            order.reverse();
        }
        let side = if forward { &desired } else { &initial };
        Self {
            job: update.key.job.clone(),
            forward,
            settings: update.settings.clone(),
            targets: all.iter().map(|instance| (*instance, side.get(instance).cloned())).collect(),
            idle: order,
            working: BTreeSet::new(),
            failed: BTreeSet::new(),
            failures: BTreeMap::new(),
            watched: BTreeMap::new(),
            timers: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Whether changes of that instance matter now.
    pub(crate) fn is_working_on(&self, instance: InstanceId) -> bool {
        self.working.contains(&instance)
    }

    /// Looks at an instance that changed, if there is one, takes further instances, and says how things stand. None is taken while
    /// the journal is short of room.
    pub(crate) fn evaluate(
        &mut self,
        core: &Core,
        changed: Option<(InstanceId, Option<Arc<Task>>)>,
    ) -> (Vec<Found>, Standing) {
        let mut found = Vec::new();
        if let Some((instance, actual)) = changed.filter(|(instance, _)| self.working.contains(instance)) {
            found.push(self.look(core, instance, actual, false));
        }
        while !core.space_low && self.standing() == Standing::Working {
            let progress = Progress {
                total: self.targets.len(),
                idle: self.idle.len(),
                in_flight: self.working.len(),
                forward: self.forward,
            };
            let size = next_group_size(&self.settings.strategy, progress);
            if size == 0 {
                break;
            }
            let group = self.idle.split_off(self.idle.len() - size);
            for instance in group.into_iter().rev() {
                self.working.insert(instance);
                let actual = core.active_task(&self.job, instance).cloned();
                found.push(self.look(core, instance, actual, true));
            }
        }
        (found, self.standing())
    }

    fn standing(&self) -> Standing {
        let limit = usize::try_from(self.settings.max_failed_instances).unwrap_or(0);
        match self.failed.iter().next_back() {
            Some(instance) if self.failed.len() > limit => Standing::Failed(*instance),
            _ if self.idle.is_empty() && self.working.is_empty() => Standing::Succeeded,
            _ => Standing::Working,
        }
    }

    fn look(&mut self, core: &Core, instance: InstanceId, actual: Option<Arc<Task>>, taken_now: bool) -> Found {
        let step = self.step_for(core, instance, actual);
        match step {
            Step::Succeeded => drop(self.working.remove(&instance)),
            Step::Failed => {
                self.working.remove(&instance);
                self.failed.insert(instance);
            }
            _ => {}
        }
        Found { instance, step, taken_now }
    }

    /// The table of spec scheduler 3.5.
    fn step_for(&mut self, core: &Core, instance: InstanceId, actual: Option<Arc<Task>>) -> Step {
        let desired = self.targets.get(&instance).cloned().flatten();
        let actual = actual.filter(|task| !was_killed_for_good(task));
        match (desired, actual) {
            (Some(config), None) => Step::Add(config),
            (None, None) => Step::Succeeded,
            (None, Some(task)) if task.status.is_terminal() => Step::Succeeded,
            (None, Some(task)) => kill_or_wait(&task),
            (Some(config), Some(task)) if config == task.config => self.step_for_desired(core, instance, &task),
            (Some(_), Some(task)) if task.status.is_terminal() => Step::Wait,
            (Some(_), Some(task)) => kill_or_wait(&task),
        }
    }

    fn step_for_desired(&mut self, core: &Core, instance: InstanceId, task: &Task) -> Step {
        if task.status == TaskStatus::Running {
            let now_ms = core.now.monotonic_ms;
            let stamp_ms = task.last_event_ms();
            let wait_ms = u64::try_from(self.settings.min_wait_in_running_ms).unwrap_or(0);
            let known = self.watched.get(&instance).filter(|(id, stamp, _)| *id == task.id && *stamp == stamp_ms);
            let until_ms = match known {
                Some((_, _, until_ms)) => *until_ms,
                None => {
                    let until_ms = now_ms.saturating_add(core.remaining_ms(stamp_ms, wait_ms));
                    self.watched.insert(instance, (task.id.clone(), stamp_ms, until_ms));
                    until_ms
                }
            };
            return match until_ms.saturating_sub(now_ms) {
                0 => Step::Succeeded,
                left_ms => Step::Watch(left_ms),
            };
        }
        if !task.status.is_terminal() {
            return Step::Wait;
        }
        let failures = self.failures.entry(instance).or_default();
        *failures += 1;
        if *failures > self.settings.max_per_instance_failures { Step::Failed } else { Step::Wait }
    }

    /// Whether the step makes the state grow: a new task, or the end of one that is to be followed by a new one.
    pub(crate) fn grows_state(&self, found: &Found) -> bool {
        match found.step {
            Step::Add(_) => true,
            Step::Kill(_) => self.targets.get(&found.instance).is_some_and(Option::is_some),
            _ => false,
        }
    }

    /// The action to record for an instance that is worked on.
    pub(crate) fn action(&self, step: &Step) -> UpdateAction {
        match (step, self.forward) {
            (Step::Succeeded, true) => UpdateAction::InstanceUpdated,
            (Step::Succeeded, false) => UpdateAction::InstanceRolledBack,
            (Step::Failed, true) => UpdateAction::InstanceUpdateFailed,
            (Step::Failed, false) => UpdateAction::InstanceRollbackFailed,
            (_, true) => UpdateAction::InstanceUpdating,
            (_, false) => UpdateAction::InstanceRollingBack,
        }
    }
}

fn kill_or_wait(task: &Task) -> Step {
    if task.status == TaskStatus::Killing { Step::Wait } else { Step::Kill(task.id.clone()) }
}

/// Ended by a kill that allows no replacement: as good as absent.
fn was_killed_for_good(task: &Task) -> bool {
    task.status != TaskStatus::Killing && task.events.iter().any(|event| event.status == TaskStatus::Killing)
}
