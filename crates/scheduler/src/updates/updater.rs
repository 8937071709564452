//! The evaluation of one update: what each instance needs next, which instances are taken next, whether it is done (spec
//! scheduler 3.4 to 3.6). Made anew whenever the update begins to roll, and after a restart from what is stored of it. It reads
//! tasks and never changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use model::update::{InstanceConfig, Update, UpdateAction, UpdateSettings, from_ranges};
use model::{InstanceId, JobKey, TaskConfig, TaskId, TaskStatus};

use super::progress::{InstanceProgress, InstanceStage};
use super::sla_kill::SlaTry;
use super::status;
use super::strategy::{Progress, group_sizes, next_group_size};
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
    /// The task is to be killed as soon as the job's SLA policy allows.
    KillWithinSla(TaskId),
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
    /// Too many instances failed; the latest of them.
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
    succeeded: BTreeSet<InstanceId>,
    failed: BTreeSet<InstanceId>,
    latest_failed: Option<InstanceId>,
    failures: BTreeMap<InstanceId, i32>,
    /// When a run that is being watched will have lasted long enough: the run, the stamp of its RUNNING, monotonic ms.
    watched: BTreeMap<InstanceId, (TaskId, i64, u64)>,
    /// Armed timers of watched instances.
    pub(crate) timers: BTreeMap<InstanceId, TimerKey>,
    /// Kills that wait until the SLA policy allows them.
    pub(crate) sla_tries: BTreeMap<InstanceId, SlaTry>,
    /// Instances whose next step waits until the journal has room.
    pub(crate) held: BTreeSet<InstanceId>,
}

impl Updater {
    /// For an update that is rolling, from what is known of its instances. The error says why the update cannot be carried out.
    pub(crate) fn new(
        update: &Update,
        progress: Option<&OrdMap<InstanceId, InstanceProgress>>,
    ) -> Result<Self, String> {
        let mut updater = Self::heading(update, status::is_forward(update.status()))?;
        updater.restore(progress);
        Ok(updater)
    }

    /// At its beginning. Those to create come first, then those to change, then those to remove; a rollback takes the reverse of
    /// that order.
    fn heading(update: &Update, forward: bool) -> Result<Self, String> {
        let sizes = group_sizes(&update.settings.strategy);
        if sizes.is_empty() || sizes.iter().any(|size| *size <= 0) {
            return Err(format!("its groups have the sizes {sizes:?}"));
        }
        let initial = spread(&update.initial);
        let desired = spread(update.desired.as_slice());
        let mut order: Vec<InstanceId> = initial.keys().chain(desired.keys()).copied().collect();
        if order.is_empty() {
            return Err("it names no instance".into());
        }
        let rank = |instance: &InstanceId| match (initial.contains_key(instance), desired.contains_key(instance)) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        order.sort_by_key(|instance| (rank(instance), *instance));
        order.dedup();
        if forward {
            order.reverse();
        }
        let side = if forward { &desired } else { &initial };
        Ok(Self {
            job: update.key.job.clone(),
            forward,
            settings: update.settings.clone(),
            targets: order.iter().map(|instance| (*instance, side.get(instance).cloned())).collect(),
            idle: order,
            working: BTreeSet::new(),
            succeeded: BTreeSet::new(),
            failed: BTreeSet::new(),
            latest_failed: None,
            failures: BTreeMap::new(),
            watched: BTreeMap::new(),
            timers: BTreeMap::new(),
            sla_tries: BTreeMap::new(),
            held: BTreeSet::new(),
        })
    }

    fn restore(&mut self, progress: Option<&OrdMap<InstanceId, InstanceProgress>>) {
        for (instance, known) in progress.into_iter().flatten() {
            if !self.targets.contains_key(instance) {
                continue;
            }
            if known.failures > 0 {
                self.failures.insert(*instance, known.failures);
            }
            match known.stage {
                InstanceStage::Idle => continue,
                InstanceStage::Working => self.working.insert(*instance),
                InstanceStage::Succeeded => self.succeeded.insert(*instance),
                InstanceStage::Failed => self.failed.insert(*instance),
            };
        }
        let (working, succeeded, failed) = (&self.working, &self.succeeded, &self.failed);
        self.idle.retain(|id| !working.contains(id) && !succeeded.contains(id) && !failed.contains(id));
    }

    /// Whether the update is about that instance: what happens to it leads to an evaluation.
    pub(crate) fn contains(&self, instance: InstanceId) -> bool {
        self.targets.contains_key(&instance)
    }

    /// Instances taken and not done.
    pub(crate) fn working(&self) -> &BTreeSet<InstanceId> {
        &self.working
    }

    /// What an instance should run.
    pub(crate) fn target(&self, instance: InstanceId) -> Option<&Arc<TaskConfig>> {
        self.targets.get(&instance)?.as_ref()
    }

    /// How far an instance is, to be stored.
    pub(crate) fn progress_of(&self, instance: InstanceId) -> (InstanceStage, i32) {
        let stage = if self.working.contains(&instance) {
            InstanceStage::Working
        } else if self.succeeded.contains(&instance) {
            InstanceStage::Succeeded
        } else if self.failed.contains(&instance) {
            InstanceStage::Failed
        } else {
            InstanceStage::Idle
        };
        (stage, self.failures.get(&instance).copied().unwrap_or(0))
    }

    /// How far every instance is.
    pub(crate) fn all_progress(&self) -> impl Iterator<Item = (InstanceId, (InstanceStage, i32))> {
        self.targets.keys().map(|instance| (*instance, self.progress_of(*instance)))
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
            let Some(group) = self.take_group() else { break };
            for instance in group {
                let actual = core.active_task(&self.job, instance).cloned();
                found.push(self.look(core, instance, actual, true));
            }
        }
        (found, self.standing())
    }

    /// Takes what the strategy takes now of the instances that are left; `None` when that is nothing.
    fn take_group(&mut self) -> Option<Vec<InstanceId>> {
        let progress = Progress {
            total: self.targets.len(),
            idle: self.idle.len(),
            in_flight: self.working.len(),
            forward: self.forward,
        };
        let size = next_group_size(&self.settings.strategy, progress);
        let mut group = self.idle.split_off(self.idle.len() - size);
        group.reverse();
        self.working.extend(&group);
        (!group.is_empty()).then_some(group)
    }

    fn standing(&self) -> Standing {
        let limit = usize::try_from(self.settings.max_failed_instances).unwrap_or(0);
        match self.latest_failed.or(self.failed.last().copied()) {
            Some(instance) if self.failed.len() > limit => Standing::Failed(instance),
            _ if self.idle.is_empty() && self.working.is_empty() => Standing::Succeeded,
            _ => Standing::Working,
        }
    }

    fn look(&mut self, core: &Core, instance: InstanceId, actual: Option<Arc<Task>>, taken_now: bool) -> Found {
        let step = self.step_for(core, instance, actual);
        match step {
            Step::Succeeded => {
                self.working.remove(&instance);
                self.succeeded.insert(instance);
            }
            Step::Failed => {
                self.working.remove(&instance);
                self.failed.insert(instance);
                self.latest_failed = Some(instance);
            }
            _ => {}
        }
        Found { instance, step, taken_now }
    }

    /// The table of spec scheduler 3.5.
    fn step_for(&mut self, core: &Core, instance: InstanceId, actual: Option<Arc<Task>>) -> Step {
        let desired = self.targets.get(&instance).cloned().flatten();
        // A run of another configuration that ended is waited for only if something follows it: a batch task may have been the
        // last of its instance.
        let is_followed = || core.active_task(&self.job, instance).is_some();
        let counts = |task: &Arc<Task>| {
            let is_desired = desired.as_ref().is_some_and(|config| *config == task.config);
            !was_killed_for_good(task) && (!task.status.is_terminal() || is_desired || is_followed())
        };
        match (&desired, actual.filter(counts)) {
            (Some(config), None) => Step::Add(config.clone()),
            (None, None) => Step::Succeeded,
            (Some(config), Some(task)) if *config == task.config => self.step_for_desired(core, instance, &task),
            (_, Some(task)) if task.status.is_terminal() || task.status == TaskStatus::Killing => Step::Wait,
            (Some(config), Some(task)) if self.settings.sla_aware && config.sla_policy.is_some() => {
                Step::KillWithinSla(task.id.clone())
            }
            (_, Some(task)) => Step::Kill(task.id.clone()),
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
        if *failures > self.settings.max_per_instance_failures {
            Step::Failed
        } else if core.active_task(&self.job, instance).is_some() {
            Step::Wait
        } else {
            // A rollback to a batch task: nothing else would start it again.
            Step::Add(task.config.clone())
        }
    }

    /// Whether the step makes the state grow: a new task, or the end of one that is to be followed by a new one.
    pub(crate) fn grows_state(&self, found: &Found) -> bool {
        match found.step {
            Step::Add(_) => true,
            Step::Kill(_) | Step::KillWithinSla(_) => self.targets.get(&found.instance).is_some_and(Option::is_some),
            _ => false,
        }
    }

    /// What of a finding is to be recorded, in order. `touched`: something was recorded of the instance before. What was right
    /// from the first look on is not worth an event (spec scheduler 3.5).
    pub(crate) fn actions(&self, found: &Found, touched: bool) -> Vec<UpdateAction> {
        let (working, succeeded, failed) = if self.forward {
            (UpdateAction::InstanceUpdating, UpdateAction::InstanceUpdated, UpdateAction::InstanceUpdateFailed)
        } else {
            (UpdateAction::InstanceRollingBack, UpdateAction::InstanceRolledBack, UpdateAction::InstanceRollbackFailed)
        };
        let mut actions = Vec::new();
        if found.taken_now && (touched || found.step != Step::Succeeded) {
            actions.push(working);
        }
        match found.step {
            Step::Succeeded if touched || !found.taken_now => actions.push(succeeded),
            Step::Failed => actions.push(failed),
            _ => {}
        }
        actions
    }

    /// The action of an instance that is worked on.
    pub(crate) fn working_action(&self) -> UpdateAction {
        if self.forward { UpdateAction::InstanceUpdating } else { UpdateAction::InstanceRollingBack }
    }
}

/// The groups in which an update that begins now takes its instances, when all of a group are done before others are taken. The
/// error says why it cannot be carried out.
pub(crate) fn foretell_groups(update: &Update) -> Result<Vec<Vec<InstanceId>>, String> {
    let mut updater = Updater::heading(update, true)?;
    let mut groups = Vec::new();
    while let Some(group) = updater.take_group() {
        updater.succeeded.append(&mut updater.working);
        groups.push(group);
    }
    Ok(groups)
}

/// The configuration of each instance.
fn spread(configs: &[InstanceConfig]) -> BTreeMap<InstanceId, Arc<TaskConfig>> {
    let mut spread = BTreeMap::new();
    for entry in configs {
        let config = Arc::new(entry.task.clone());
        spread.extend(from_ranges(&entry.instances).into_iter().map(|instance| (instance, config.clone())));
    }
    spread
}

/// Ended by a kill that allows no replacement: as good as absent.
fn was_killed_for_good(task: &Task) -> bool {
    task.status != TaskStatus::Killing && task.events.iter().any(|event| event.status == TaskStatus::Killing)
}
