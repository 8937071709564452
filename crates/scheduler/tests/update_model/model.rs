//! Job updates a second time: written from the reference alone (spec scheduler 3), as plainly as it goes. Slow, and without any
//! of the product's types but the names of states and actions.
//!
//! Where the product is meant to differ from the reference, so does the model, and says so: counts survive a restart, a queue
//! is filled up at once, nothing is paused before a batch that does not exist, and a batch task that ended for good is not
//! waited for.

mod policy;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::update::{UpdateAction, UpdateStatus};

pub type Instance = u32;

macro_rules! planted {
    ($($name:ident),* $(,)?) => {
        /// A wrong rule, put in to see whether the comparison finds it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Planted {
            Nothing,
            $($name),*
        }

        impl Planted {
            /// Every one but nothing.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

planted! {
    CountsForgottenAtRestart,
    CountsKeptOverPause,
    RollbackInForwardOrder,
    RemovalsFirst,
    WatchOneShort,
    FailureLimitInclusive,
    FailedInstancesLimitInclusive,
    NoPulseAtStart,
    PulseKeepsPaused,
    PauseBeforeFirstBatch,
    NoopIsRecorded,
    BatchDoesNotWait,
    SizesNotMirrored,
    KilledForGoodIsWaitedFor,
    ScopeIgnored,
    AbortRollsBack,
    SlaIgnored,
    SlaCountsThePresentTask,
    SlaRetriesStopAfterOne,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    Pending,
    Assigned,
    Running,
    Partitioned,
    Killing,
    Ended,
    Deleted,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub instance: Instance,
    pub version: i32,
    pub state: TaskState,
    /// When it came to that state.
    pub since: i64,
    /// Its history holds KILLING.
    pub was_killing: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    Queue(i32),
    Batch(i32, bool),
    Variable(Vec<i32>, bool),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub strategy: Strategy,
    pub max_per_instance_failures: i32,
    pub max_failed_instances: i32,
    pub min_wait: i64,
    pub rollback_on_failure: bool,
    /// Instances from the first to the second, inclusive.
    pub scope: Option<(Instance, Instance)>,
    pub pulse: i64,
    pub sla_aware: bool,
}

/// Versions from this one on have an SLA policy: so many others must have been running for longer than so many ms. The jobs of this
/// test are large enough for it from two instances on.
pub const FIRST_WITH_POLICY: i32 = 2;
pub const POLICY_COUNT: i64 = 1;
pub const POLICY_DURATION_MS: i64 = 3_000;
pub const POLICY_MIN_INSTANCES: usize = 2;
/// Between two looks at the policy.
pub const SLA_RETRY_MS: i64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Idle,
    Working,
    Succeeded,
    Failed,
}

/// What is forgotten whenever the update stops rolling.
#[derive(Clone, Debug, Default)]
struct Rolling {
    stages: BTreeMap<Instance, Stage>,
    failures: BTreeMap<Instance, i32>,
    /// Deadline, order of arming, instance, whether it is about a kill that waits for its policy.
    timers: BTreeSet<(i64, u64, Instance, bool)>,
    /// Kills that wait for their policy, by instance.
    tries: BTreeMap<Instance, usize>,
    latest_failed: Option<Instance>,
}

#[derive(Clone, Debug)]
pub struct Update {
    pub settings: Settings,
    /// Configuration before; instances without one are absent.
    pub initial: BTreeMap<Instance, i32>,
    /// Configuration wanted.
    pub desired: BTreeMap<Instance, i32>,
    /// State, time, message where the reference gives it.
    pub events: Vec<(UpdateStatus, i64, Option<String>)>,
    /// Instance, action, time.
    pub instance_events: Vec<(Instance, UpdateAction, i64)>,
    rolling: Option<Rolling>,
    seen: Option<BTreeSet<Instance>>,
    last_pulse: Option<i64>,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    Invalid,
    Updating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pause,
    Resume,
    Abort,
    Rollback,
}

/// What an instance needs.
enum Need {
    Add(i32),
    Kill(usize),
    KillWithinSla(usize),
    Watch(i64),
    Wait,
    Success,
    Failure,
}

pub struct Model {
    pub now: i64,
    pub planted: Planted,
    /// Version 0 is a batch task, not a service.
    pub first_is_batch: bool,
    pub tasks: Vec<Task>,
    pub updates: Vec<Update>,
    /// Changes not yet looked at: task, and the state it came to.
    changes: VecDeque<(usize, TaskState)>,
    armed: u64,
}

impl Update {
    pub fn status(&self) -> UpdateStatus {
        self.events.last().expect("an update begins with an event").0
    }

    fn is_forward(&self) -> bool {
        use UpdateStatus::*;
        matches!(self.status(), RollingForward | RollForwardPaused | RollForwardAwaitingPulse)
    }

    fn is_rolling(&self) -> bool {
        matches!(self.status(), UpdateStatus::RollingForward | UpdateStatus::RollingBack)
    }

    /// What an instance should run in the present direction.
    fn wanted(&self, instance: Instance) -> Option<i32> {
        let side = if self.is_forward() { &self.desired } else { &self.initial };
        side.get(&instance).copied()
    }

    /// Created first, then changed, then removed, ascending; backwards when rolling back.
    fn order(&self, planted: Planted) -> Vec<Instance> {
        let created = self.desired.keys().filter(|id| !self.initial.contains_key(id));
        let changed = self.desired.keys().filter(|id| self.initial.contains_key(id));
        let removed = self.initial.keys().filter(|id| !self.desired.contains_key(id));
        let mut order: Vec<Instance> = if planted == Planted::RemovalsFirst {
            removed.chain(created).chain(changed).copied().collect()
        } else {
            created.chain(changed).chain(removed).copied().collect()
        };
        if !self.is_forward() && planted != Planted::RollbackInForwardOrder {
            order.reverse();
        }
        order
    }

    fn pauses_itself(&self) -> bool {
        matches!(self.settings.strategy, Strategy::Batch(_, true) | Strategy::Variable(_, true))
    }
}

impl Model {
    pub fn new(now: i64, first_is_batch: bool, planted: Planted) -> Self {
        Self { now, planted, first_is_batch, tasks: vec![], updates: vec![], changes: VecDeque::new(), armed: 0 }
    }

    // ---- tasks, as far as updates notice ----

    pub fn active_task(&self, instance: Instance) -> Option<usize> {
        self.tasks
            .iter()
            .rposition(|task| task.instance == instance && !matches!(task.state, TaskState::Ended | TaskState::Deleted))
    }

    /// Instance, version and state of every active task.
    pub fn active(&self) -> BTreeMap<Instance, (i32, TaskState)> {
        let active = |task: &&Task| !matches!(task.state, TaskState::Ended | TaskState::Deleted);
        self.tasks.iter().filter(active).map(|task| (task.instance, (task.version, task.state))).collect()
    }

    fn set(&mut self, task: usize, state: TaskState) {
        let task_state = &mut self.tasks[task];
        (task_state.state, task_state.since) = (state, self.now);
        task_state.was_killing |= state == TaskState::Killing;
        self.changes.push_back((task, state));
    }

    fn create(&mut self, instance: Instance, version: i32) {
        if self.active_task(instance).is_none() {
            let state = TaskState::Pending;
            self.tasks.push(Task { instance, version, state, since: self.now, was_killing: false });
            self.changes.push_back((self.tasks.len() - 1, state));
        }
    }

    fn kill(&mut self, task: usize) {
        match self.tasks[task].state {
            TaskState::Pending => self.set(task, TaskState::Deleted),
            TaskState::Assigned | TaskState::Running => self.set(task, TaskState::Killing),
            TaskState::Partitioned => {
                self.set(task, TaskState::Killing);
                self.set(task, TaskState::Ended);
            }
            TaskState::Killing | TaskState::Ended | TaskState::Deleted => {}
        }
    }

    /// A run ended by itself; `always`: it is replaced even when it is no service.
    fn end(&mut self, task: usize, always: bool) {
        let Task { instance, version, state, .. } = self.tasks[task];
        self.set(task, TaskState::Ended);
        let is_service = !(self.first_is_batch && version == 0);
        if state != TaskState::Killing && (is_service || always) {
            self.create(instance, version);
        }
    }

    // ---- what happens to both ----

    pub fn create_job(&mut self, version: i32, count: Instance) {
        (0..count).for_each(|instance| self.create(instance, version));
        self.changes.clear();
    }

    pub fn offers(&mut self) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].state == TaskState::Pending {
                self.set(task, TaskState::Assigned);
            }
        }
        self.follow();
    }

    pub fn engine_says(&mut self, instance: Instance, state: TaskState, always_replaced: bool) {
        let task = self.active_task(instance).expect("only active tasks are spoken of");
        if state == TaskState::Ended {
            self.end(task, always_replaced)
        } else {
            self.set(task, state)
        }
        self.follow();
    }

    pub fn kill_tasks(&mut self, wanted: Option<Instance>) -> Answer {
        if self.active_update().is_some() {
            return Answer::Updating;
        }
        let active: Vec<Instance> =
            self.active().into_keys().filter(|id| wanted.is_none_or(|one| one == *id)).collect();
        for instance in active {
            let task = self.active_task(instance).expect("active");
            self.kill(task);
        }
        self.changes.clear();
        Answer::Ok
    }

    pub fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        loop {
            let rolling = self.active_update().and_then(|at| self.updates[at].rolling.as_mut());
            let Some((deadline, _, instance, is_sla)) = rolling.and_then(|rolling| {
                let first = *rolling.timers.first().filter(|(deadline, ..)| *deadline <= end)?;
                rolling.timers.remove(&first);
                Some(first)
            }) else {
                break;
            };
            self.now = self.now.max(deadline);
            if is_sla {
                self.try_sla_kill(instance);
            } else {
                self.evaluate(Some((instance, self.active_task(instance))));
            }
            // A question that falls due at once waits behind what was due before it.
            self.follow_changes();
        }
        self.now = end;
    }

    /// The process ends and another begins: what was known of instances still is, timers are derived anew.
    pub fn restart(&mut self, down_ms: i64) {
        self.now += down_ms;
        let Some(at) = self.active_update() else { return };
        let Some(rolling) = &mut self.updates[at].rolling else { return };
        rolling.timers.clear();
        rolling.tries.clear();
        rolling.latest_failed = None;
        if self.planted == Planted::CountsForgottenAtRestart {
            rolling.failures.clear();
        }
        let working = |stage: &Stage| *stage == Stage::Working;
        let known: Vec<Instance> =
            rolling.stages.iter().filter(|(_, stage)| working(stage)).map(|(instance, _)| *instance).collect();
        for instance in known {
            self.evaluate(Some((instance, self.active_task(instance))));
        }
        self.evaluate(None);
        self.follow();
    }

    // ---- requests ----

    pub fn active_update(&self) -> Option<usize> {
        let last = self.updates.len().checked_sub(1)?;
        use UpdateStatus::*;
        (!matches!(self.updates[last].status(), RolledForward | RolledBack | Aborted | Failed | Error)).then_some(last)
    }

    /// The answer, and whether a new update stands in it.
    pub fn start(&mut self, version: i32, count: Instance, settings: Settings) -> (Answer, bool) {
        let refused = (Answer::Invalid, false);
        if self.first_is_batch && version == 0 {
            return refused;
        }
        let sizes = match &settings.strategy {
            Strategy::Queue(size) | Strategy::Batch(size, _) => vec![*size],
            Strategy::Variable(sizes, _) => sizes.clone(),
        };
        if sizes.iter().any(|size| *size <= 0) || sizes.iter().sum::<i32>() <= 0 {
            return refused;
        }
        let has_policy = version >= FIRST_WITH_POLICY;
        if settings.sla_aware && !has_policy || has_policy && i64::from(count) - POLICY_COUNT < 1 {
            return refused;
        }
        let current: BTreeMap<Instance, i32> =
            self.active().into_iter().map(|(id, (version, _))| (id, version)).collect();
        let proposed: BTreeMap<Instance, i32> = (0..count).map(|id| (id, version)).collect();
        let scope = settings.scope.filter(|_| self.planted != Planted::ScopeIgnored);
        let in_scope = |id: &Instance| scope.is_none_or(|(first, last)| (first..=last).contains(id));
        let changes = |id: &Instance| in_scope(id) && current.get(id) != proposed.get(id);
        let initial: BTreeMap<_, _> = current.clone().into_iter().filter(|(id, _)| changes(id)).collect();
        let desired: BTreeMap<_, _> = proposed.clone().into_iter().filter(|(id, _)| changes(id)).collect();
        if let Some((first, last)) = scope
            && (first..=last).any(|id| !current.contains_key(&id) && !proposed.contains_key(&id))
        {
            return refused;
        }
        if initial.is_empty() && desired.is_empty() {
            return (Answer::Ok, false);
        }
        if count == 0 || self.active_update().is_some() {
            return refused;
        }
        let coordinated = settings.pulse > 0 && self.planted != Planted::NoPulseAtStart;
        let first = if coordinated { UpdateStatus::RollForwardAwaitingPulse } else { UpdateStatus::RollingForward };
        self.updates.push(Update {
            settings,
            initial,
            desired,
            events: vec![(first, self.now, None)],
            instance_events: vec![],
            rolling: None,
            seen: None,
            last_pulse: (self.planted == Planted::NoPulseAtStart).then_some(self.now),
        });
        self.enter();
        self.follow();
        (Answer::Ok, true)
    }

    pub fn control(&mut self, at: usize, action: Action) -> Answer {
        use UpdateStatus::*;
        let blocked = self.is_blocked(at);
        let from = self.updates[at].status();
        let (rolling, paused, awaiting) = if self.updates[at].is_forward() {
            (RollingForward, RollForwardPaused, RollForwardAwaitingPulse)
        } else {
            (RollingBack, RollBackPaused, RollBackAwaitingPulse)
        };
        if matches!(from, RolledForward | RolledBack | Aborted | Failed | Error) {
            // What is aborted already may be aborted again.
            return if from == Aborted && action == Action::Abort { Answer::Ok } else { Answer::Invalid };
        }
        let to = match action {
            Action::Pause => paused,
            Action::Resume => {
                let to = if blocked { awaiting } else { rolling };
                if from != paused && from != to {
                    return Answer::Invalid;
                }
                to
            }
            Action::Abort if self.planted == Planted::AbortRollsBack => RollingBack,
            Action::Abort => Aborted,
            Action::Rollback => RollingBack,
        };
        if from != to {
            self.move_to(at, to, None);
        }
        self.follow();
        Answer::Ok
    }

    /// Whether the update still wants pulses.
    pub fn pulse(&mut self, at: usize) -> bool {
        if self.active_update() != Some(at) || self.updates[at].settings.pulse <= 0 {
            return false;
        }
        self.updates[at].last_pulse = Some(self.now);
        use UpdateStatus::*;
        match self.updates[at].status() {
            RollForwardAwaitingPulse => self.move_to(at, RollingForward, None),
            RollBackAwaitingPulse => self.move_to(at, RollingBack, None),
            RollForwardPaused if self.planted == Planted::PulseKeepsPaused => self.move_to(at, RollingForward, None),
            _ => {}
        }
        self.follow();
        true
    }

    // ---- the update itself ----

    fn is_blocked(&self, at: usize) -> bool {
        let update = &self.updates[at];
        update.settings.pulse > 0
            && update.last_pulse.is_none_or(|last_pulse| self.now - last_pulse >= update.settings.pulse)
    }

    fn move_to(&mut self, at: usize, to: UpdateStatus, message: Option<String>) {
        self.updates[at].events.push((to, self.now, message));
        self.enter();
    }

    /// Whatever was known of instances is forgotten; one that rolls begins anew.
    fn enter(&mut self) {
        let planted = self.planted;
        let update = self.updates.last_mut().expect("an update");
        let before = update.rolling.take();
        if update.is_rolling() {
            let stages = update.order(planted).into_iter().map(|id| (id, Stage::Idle)).collect();
            let mut rolling = Rolling { stages, ..Rolling::default() };
            if planted == Planted::CountsKeptOverPause {
                rolling.failures = before.map(|before| before.failures).unwrap_or_default();
            }
            update.rolling = Some(rolling);
            self.evaluate(None);
        } else if planted == Planted::CountsKeptOverPause {
            update.rolling = before.map(|before| Rolling { failures: before.failures, ..Rolling::default() });
        }
    }

    /// What follows from changes; then, with everybody back who is to be, policies are asked.
    fn follow(&mut self) {
        loop {
            self.follow_changes();
            let now = self.now;
            let rolling = self.active_update().and_then(|at| self.updates[at].rolling.as_mut());
            let due = |(deadline, _, _, is_sla): &&(i64, u64, Instance, bool)| *is_sla && *deadline <= now;
            let Some((first, rolling)) = rolling.and_then(|rolling| Some((*rolling.timers.iter().find(due)?, rolling)))
            else {
                return;
            };
            rolling.timers.remove(&first);
            self.try_sla_kill(first.2);
        }
    }

    /// Looks at changes in the order in which they happened; one that is out of date is passed over.
    fn follow_changes(&mut self) {
        while let Some((task, state)) = self.changes.pop_front() {
            if self.tasks[task].state != state {
                continue;
            }
            let instance = self.tasks[task].instance;
            let Some(at) = self.active_update() else { continue };
            let update = &self.updates[at];
            if update.initial.contains_key(&instance) || update.desired.contains_key(&instance) {
                let actual = (state != TaskState::Deleted).then_some(task);
                self.evaluate(Some((instance, actual)));
            }
        }
    }

    fn evaluate(&mut self, changed: Option<(Instance, Option<usize>)>) {
        let Some(at) = self.active_update().filter(|at| self.updates[*at].is_rolling()) else { return };
        if self.is_blocked(at) {
            let to = if self.updates[at].is_forward() {
                UpdateStatus::RollForwardAwaitingPulse
            } else {
                UpdateStatus::RollBackAwaitingPulse
            };
            self.move_to(at, to, None);
            return;
        }
        // Instance, what it needs, whether it was idle.
        let mut results: Vec<(Instance, Need, bool)> = Vec::new();
        if let Some((instance, actual)) = changed
            && self.stage(at, instance) == Some(Stage::Working)
        {
            results.push((instance, self.assess(at, instance, actual), false));
        }
        while !self.has_failed(at) {
            let group = self.next_group(at);
            if group.is_empty() {
                break;
            }
            for instance in group {
                self.set_stage(at, instance, Stage::Working);
                let actual = self.active_task(instance);
                results.push((instance, self.assess(at, instance, actual), true));
            }
        }
        let is_done = |stage: &Stage| matches!(stage, Stage::Succeeded | Stage::Failed);
        let all_done = self.updates[at].rolling.as_ref().is_some_and(|rolling| rolling.stages.values().all(is_done));
        let failed = self.has_failed(at);
        if self.batch_begins(at, &results) && !all_done && !failed {
            for (instance, need, was_idle) in &results {
                if matches!(need, Need::Success | Need::Failure) {
                    self.record(at, *instance, need, *was_idle);
                }
            }
            self.move_to(at, UpdateStatus::RollForwardPaused, Some("Update auto paused".into()));
            return;
        }
        for (instance, need, was_idle) in &results {
            self.record(at, *instance, need, *was_idle);
        }
        let forward = self.updates[at].is_forward();
        if failed {
            let rolls_back = forward && self.updates[at].settings.rollback_on_failure;
            let to = if rolls_back { UpdateStatus::RollingBack } else { UpdateStatus::Failed };
            let latest = self.updates[at].rolling.as_ref().and_then(|rolling| rolling.latest_failed);
            let latest = latest.expect("something failed");
            self.move_to(at, to, Some(format!("Latest failure: instance {latest} exited.")));
        } else if all_done {
            let to = if forward { UpdateStatus::RolledForward } else { UpdateStatus::RolledBack };
            self.move_to(at, to, None);
        } else {
            results.into_iter().for_each(|(instance, need, _)| self.act(at, instance, need));
        }
    }

    fn stage(&self, at: usize, instance: Instance) -> Option<Stage> {
        self.updates[at].rolling.as_ref()?.stages.get(&instance).copied()
    }

    fn set_stage(&mut self, at: usize, instance: Instance, stage: Stage) {
        let rolling = self.updates[at].rolling.as_mut().expect("rolling");
        rolling.stages.insert(instance, stage);
    }

    fn has_failed(&self, at: usize) -> bool {
        let update = &self.updates[at];
        let stages = update.rolling.iter().flat_map(|rolling| rolling.stages.values());
        let failed = stages.filter(|stage| **stage == Stage::Failed).count() as i32;
        if self.planted == Planted::FailedInstancesLimitInclusive {
            return failed > 0 && failed >= update.settings.max_failed_instances;
        }
        failed > update.settings.max_failed_instances
    }

    fn next_group(&self, at: usize) -> Vec<Instance> {
        let update = &self.updates[at];
        let in_stage = |wanted: Stage| {
            update.order(self.planted).into_iter().filter(move |id| self.stage(at, *id) == Some(wanted))
        };
        let idle: Vec<Instance> = in_stage(Stage::Idle).collect();
        let active = in_stage(Stage::Working).count();
        let total = update.order(self.planted).len();
        let waits = active > 0 && self.planted != Planted::BatchDoesNotWait;
        let size = match &update.settings.strategy {
            Strategy::Queue(size) => (*size as usize).saturating_sub(active),
            Strategy::Batch(..) | Strategy::Variable(..) if waits => 0,
            Strategy::Batch(size, _) => *size as usize,
            Strategy::Variable(sizes, _) if update.is_forward() || self.planted == Planted::SizesNotMirrored => {
                let modified = total - idle.len();
                let mut sum = 0;
                let first = sizes.iter().find(|size| {
                    sum += **size as usize;
                    sum > modified
                });
                *first.unwrap_or(&sizes[sizes.len() - 1]) as usize
            }
            Strategy::Variable(sizes, _) => undo_size(sizes, idle.len()),
        };
        idle.into_iter().take(size).collect()
    }

    /// The table of spec scheduler 3.5.
    fn assess(&mut self, at: usize, instance: Instance, actual: Option<usize>) -> Need {
        let wanted = self.updates[at].wanted(instance);
        let killed_for_good = |task: &Task| task.was_killing && task.state != TaskState::Killing;
        let ended_for_good = |task: &Task| {
            task.state == TaskState::Ended && Some(task.version) != wanted && self.active_task(instance).is_none()
        };
        let actual = actual.filter(|at| {
            let task = &self.tasks[*at];
            (!killed_for_good(task) || self.planted == Planted::KilledForGoodIsWaitedFor) && !ended_for_good(task)
        });
        let need = match (wanted, actual) {
            (Some(version), None) => Need::Add(version),
            (None, None) => Need::Success,
            (Some(version), Some(task)) if self.tasks[task].version == version => {
                self.assess_wanted(at, instance, task)
            }
            (_, Some(task)) => match self.tasks[task].state {
                TaskState::Ended | TaskState::Killing => Need::Wait,
                _ if self.waits_for_policy(at, wanted) => Need::KillWithinSla(task),
                _ => Need::Kill(task),
            },
        };
        match need {
            Need::Success => self.set_stage(at, instance, Stage::Succeeded),
            Need::Failure => {
                self.set_stage(at, instance, Stage::Failed);
                self.updates[at].rolling.as_mut().expect("rolling").latest_failed = Some(instance);
            }
            _ => {}
        }
        need
    }

    fn assess_wanted(&mut self, at: usize, instance: Instance, task: usize) -> Need {
        let (state, since) = (self.tasks[task].state, self.tasks[task].since);
        let settings = self.updates[at].settings.clone();
        match state {
            TaskState::Running => {
                let short = if self.planted == Planted::WatchOneShort { 1 } else { 0 };
                let until = since + settings.min_wait - short;
                if self.now >= until { Need::Success } else { Need::Watch(until) }
            }
            TaskState::Ended => {
                let rolling = self.updates[at].rolling.as_mut().expect("rolling");
                let failures = rolling.failures.entry(instance).or_default();
                *failures += 1;
                let allowed = settings.max_per_instance_failures;
                let too_many = if self.planted == Planted::FailureLimitInclusive {
                    *failures >= allowed.max(1)
                } else {
                    *failures > allowed
                };
                let followed = self.active_task(instance).is_some();
                match (too_many, followed) {
                    (true, _) => Need::Failure,
                    (false, true) => Need::Wait,
                    (false, false) => Need::Add(self.tasks[task].version),
                }
            }
            _ => Need::Wait,
        }
    }

    /// Whether instances never seen before are among the results, after a first evaluation that brought some.
    fn batch_begins(&mut self, at: usize, results: &[(Instance, Need, bool)]) -> bool {
        let planted = self.planted;
        let update = &mut self.updates[at];
        if !update.pauses_itself() || update.status() != UpdateStatus::RollingForward {
            return false;
        }
        let first = update.seen.is_none() && planted != Planted::PauseBeforeFirstBatch;
        let seen = update.seen.get_or_insert_default();
        let unseen: Vec<Instance> = results.iter().map(|(id, ..)| *id).filter(|id| !seen.contains(id)).collect();
        seen.extend(unseen.iter());
        !first && !unseen.is_empty()
    }

    fn record(&mut self, at: usize, instance: Instance, need: &Need, was_idle: bool) {
        let now = self.now;
        let forward = self.updates[at].is_forward();
        let update = &mut self.updates[at];
        let touched = update.instance_events.iter().any(|(id, ..)| *id == instance);
        if was_idle && matches!(need, Need::Success) && !touched && self.planted != Planted::NoopIsRecorded {
            return;
        }
        use UpdateAction::*;
        let mut actions = Vec::new();
        if was_idle {
            actions.push(if forward { InstanceUpdating } else { InstanceRollingBack });
        }
        match need {
            Need::Success => actions.push(if forward { InstanceUpdated } else { InstanceRolledBack }),
            Need::Failure => actions.push(if forward { InstanceUpdateFailed } else { InstanceRollbackFailed }),
            _ => {}
        }
        for action in actions {
            if !update.instance_events.iter().any(|(id, known, _)| (*id, *known) == (instance, action)) {
                update.instance_events.push((instance, action, now));
            }
        }
    }

    fn act(&mut self, at: usize, instance: Instance, need: Need) {
        match need {
            Need::Add(version) => self.create(instance, version),
            Need::Kill(task) => self.kill(task),
            Need::KillWithinSla(task) => {
                let Some(rolling) = &mut self.updates[at].rolling else { return };
                if rolling.tries.insert(instance, task) != Some(task) {
                    rolling.timers.retain(|(_, _, other, is_sla)| *other != instance || !is_sla);
                    // What runs nowhere goes at once.
                    match self.tasks[task].state {
                        TaskState::Pending => self.try_sla_kill(instance),
                        _ => self.arm(at, self.now, instance, true),
                    }
                }
            }
            Need::Watch(until) => {
                self.arm(at, until, instance, false);
            }
            Need::Wait | Need::Success | Need::Failure => {}
        }
    }

    fn arm(&mut self, at: usize, until: i64, instance: Instance, is_sla: bool) {
        self.armed += 1;
        if let Some(rolling) = &mut self.updates[at].rolling {
            rolling.timers.retain(|(_, _, other, kind)| (*other, *kind) != (instance, is_sla));
            rolling.timers.insert((until, self.armed, instance, is_sla));
        }
    }
}

/// Batches are undone in the sizes in which they were done.
fn undo_size(sizes: &[i32], idle: usize) -> usize {
    let mut remaining = idle;
    for size in sizes.iter().map(|size| *size as usize) {
        if remaining <= size {
            return remaining;
        }
        remaining -= size;
    }
    let last = sizes[sizes.len() - 1] as usize;
    match remaining % last {
        0 => last,
        rest => rest,
    }
}
