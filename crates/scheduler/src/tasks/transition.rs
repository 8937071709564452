//! Carries out the transition table: the only place where a task's status changes.

use std::sync::Arc;

use engine::Call;
use model::{Host, InstanceId, JobKey, TaskConfig, TaskId, TaskStatus};

use super::index::{Active, Ended};
use super::reschedule::Origin;
use super::table::{Cell, Effects, Replacement, State, cell};
use crate::core::{Core, TaskChange, ms};
use crate::input::{Effect, Transition};
use crate::task::{Task, TaskEvent};
use crate::timers::Timer;

/// What came of asking for a transition (spec scheduler 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionResult {
    /// The task is there already.
    Noop,
    /// Done.
    Success,
    /// Not allowed; nothing happened.
    Illegal,
    /// Not allowed; the task was killed.
    IllegalWithSideEffects,
    /// The task is not in the status it was expected in.
    InvalidCasState,
}

impl TransitionResult {
    /// Upper-case name, as in counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "NOOP",
            Self::Success => "SUCCESS",
            Self::Illegal => "ILLEGAL",
            Self::IllegalWithSideEffects => "ILLEGAL_WITH_SIDE_EFFECTS",
            Self::InvalidCasState => "INVALID_CAS_STATE",
        }
    }
}

/// Where a task was placed.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) slot: usize,
    pub(crate) agent_id: Arc<str>,
    pub(crate) host: Arc<Host>,
    pub(crate) ports: std::collections::BTreeMap<String, u16>,
}

/// What changes in a task beside its status.
#[derive(Debug, Default)]
struct Change {
    assignment: Option<Assignment>,
    count_failure: bool,
}

impl Change {
    fn apply(self, task: &mut Task) {
        if let Some(assignment) = self.assignment {
            task.agent_id = Some(assignment.agent_id);
            task.host = Some(assignment.host);
            task.ports = assignment.ports;
        }
        if self.count_failure {
            task.failure_count += 1;
        }
    }
}

/// The instance has an active task already (spec scheduler 1.10).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {1} of {0} has an active task already")]
pub(crate) struct InstanceCollision(pub(crate) JobKey, pub(crate) InstanceId);

/// Ends of tasks that are counted for each job (spec scheduler 7.6).
const COUNTED_PER_JOB: [TaskStatus; 2] = [TaskStatus::Lost, TaskStatus::Failed];

fn per_job(status: TaskStatus, job: &JobKey) -> String {
    format!("tasks_{status}_{job}")
}

/// Message of LOST when a user's action met a task out of reach.
const LOST_BY_ACTION: &str = "Action performed on partitioned task, marking as LOST.";

impl Core {
    /// Creates a task of an instance and lets it enter PENDING or, with a penalty, THROTTLED.
    pub(crate) fn create_task(
        &mut self,
        config: &Arc<TaskConfig>,
        instance: InstanceId,
        origin: Origin,
    ) -> Result<TaskId, InstanceCollision> {
        let job = &config.job;
        if self.jobs.get(job).is_some_and(|index| index.active.contains_key(&instance)) {
            return Err(InstanceCollision(job.clone(), instance));
        }
        let id = TaskId::generate(job, instance, self.random.next_u128());
        let (ancestor, failure_count, penalty_ms) = match &origin {
            Origin::New => (None, 0, 0),
            Origin::Replaces { ancestor, failure_count, penalty_ms } => {
                (Some(ancestor.clone()), *failure_count, *penalty_ms)
            }
        };
        let message = origin.message();
        self.store.put_task(Task {
            id: id.clone(),
            instance,
            config: config.clone(),
            status: TaskStatus::Init,
            failure_count,
            times_partitioned: 0,
            ancestor,
            events: Vec::with_capacity(4),
            agent_id: None,
            host: None,
            ports: Default::default(),
        });
        self.count_status(TaskStatus::Init, 1);
        let active = Active { penalty_ms, ..Active::new(id.clone()) };
        self.job_index(job).active.insert(instance, active);
        let first = if penalty_ms > 0 { TaskStatus::Throttled } else { TaskStatus::Pending };
        self.transition(&id, Some(TaskStatus::Init), State::Stored(first), message);
        Ok(id)
    }

    /// Places a PENDING task: PENDING to ASSIGNED, with where and on which ports. Returns it as it is then.
    pub(crate) fn assign(&mut self, id: &TaskId, assignment: Assignment) -> Option<Arc<Task>> {
        let task = self.store.view.tasks.get(id)?;
        if task.status != TaskStatus::Pending {
            return None;
        }
        self.work += 1;
        self.save(id, TaskStatus::Assigned, None, Change { assignment: Some(assignment), ..Change::default() })
    }

    /// Asks for a transition. With `expected` the task must be stored in that status.
    pub(crate) fn transition(
        &mut self,
        id: &TaskId,
        expected: Option<TaskStatus>,
        to: State,
        message: Option<Arc<str>>,
    ) -> TransitionResult {
        let task = self.store.view.tasks.get(id);
        let from = task.map_or(State::Deleted, |task| State::Stored(task.status));
        if expected.is_some_and(|expected| from != State::Stored(expected)) {
            return TransitionResult::InvalidCasState;
        }
        match cell(from, to) {
            Cell::Noop => TransitionResult::Noop,
            Cell::Illegal => {
                self.count("scheduler_illegal_task_state_transitions", 1);
                TransitionResult::Illegal
            }
            Cell::Corrective => {
                self.count("scheduler_illegal_task_state_transitions", 1);
                self.kill(id);
                TransitionResult::IllegalWithSideEffects
            }
            Cell::Legal(effects) => {
                let replaced = task.is_some_and(|task| is_replaced(task, effects.replacement));
                self.carry_out(id, to, effects, replaced, message);
                TransitionResult::Success
            }
        }
    }

    /// The effects of a legal transition, in the order in which they must happen (spec scheduler 1.2). The failure is counted
    /// together with the new status: nobody sees what is between.
    fn carry_out(&mut self, id: &TaskId, to: State, effects: Effects, replaced: bool, message: Option<Arc<str>>) {
        self.work += 1;
        if let (true, State::Stored(status)) = (effects.save, to) {
            let change = Change { count_failure: effects.count_failure, ..Change::default() };
            self.save(id, status, message.clone(), change);
        }
        if replaced {
            self.reschedule(id);
        }
        if effects.then_lost {
            self.transition(id, None, State::Stored(TaskStatus::Lost), Some(LOST_BY_ACTION.into()));
        }
        if effects.kill {
            self.kill(id);
        }
        if effects.delete {
            self.delete(id, message);
        }
    }

    /// Asks the engine to kill a task, known or not.
    pub(crate) fn kill(&mut self, id: &TaskId) {
        let stored = self.store.view.tasks.get(id);
        let agent_id = match stored {
            Some(task) => task.agent_id.as_deref().map(str::to_owned),
            None => self.reporting_agent.clone(),
        };
        self.call(Call::Kill { task_id: id.clone(), agent_id });
    }

    /// Stores the new status with its event, and brings all that is derived from it in line.
    fn save(
        &mut self,
        id: &TaskId,
        status: TaskStatus,
        message: Option<Arc<str>>,
        change: Change,
    ) -> Option<Arc<Task>> {
        let now_ms = self.now.wall_ms;
        let message = message.map(|text| self.store.shared_message(&text));
        let mut from = TaskStatus::Init;
        let slot = change.assignment.as_ref().map(|assignment| assignment.slot);
        let task = self.store.change_task(id, |task| {
            from = task.status;
            change.apply(task);
            if status == TaskStatus::Partitioned {
                task.times_partitioned += 1;
                compact_partitions(&mut task.events);
            }
            // The first stamp has nothing before it; a clock before the epoch is taken as it is.
            let timestamp_ms = task.events.last().map_or(now_ms, |last| now_ms.max(last.timestamp_ms));
            task.events.push(TaskEvent { timestamp_ms, status, message: message.clone() });
            task.status = status;
            if status.is_terminal() {
                task.events.shrink_to_fit();
            }
        })?;
        let job = &task.config.job;
        self.count_status(from, -1);
        self.count_status(status, 1);
        self.effects.push(Effect::Transition(Transition {
            job: job.clone(),
            instance: task.instance,
            task_id: id.clone(),
            from: (from != TaskStatus::Init).then_some(from),
            to: Some(status),
            reason: message.as_deref().map(str::to_owned),
            timestamp_ms: task.last_event_ms(),
        }));
        self.leave(&task, from, status);
        if let Some(slot) = slot {
            self.occupy(&task, slot);
            let role = self.book.agent(slot).and_then(|agent| agent.role.clone());
            if let Some(role) = role.filter(|_| self.settings.several_roles) {
                self.store.put_offer_role(id, role);
            }
            let leader = self.reconciliation.leader();
            if let Some(active) = self.active_mut(&task) {
                active.leader = leader;
            }
        }
        self.enter(&task, status);
        self.follow(&task, Some(status));
        Some(task)
    }

    /// Tells the layer above of a change, if it looks at the job.
    fn follow(&mut self, task: &Task, status: Option<TaskStatus>) {
        let job = &task.config.job;
        let has_ended = status.is_none_or(TaskStatus::is_terminal);
        if has_ended && self.awaited.contains(job) && self.jobs.get(job).is_none_or(|index| index.active.is_empty()) {
            self.emptied.insert(job.clone());
        }
        if self.followed.contains(job) {
            let (job, instance, task_id) = (job.clone(), task.instance, task.id.clone());
            self.changes.push_back(TaskChange { job, instance, task_id, status });
        }
    }

    /// Undoes what hung on the status before.
    fn leave(&mut self, task: &Arc<Task>, from: TaskStatus, to: TaskStatus) {
        self.cancel_timers(task);
        match from {
            TaskStatus::Pending => self.leave_group(task),
            TaskStatus::Throttled => drop(self.store.view.throttled_until_ms.remove(&task.id)),
            _ => {}
        }
        if from.is_assigned() && !to.is_assigned() {
            self.vacate(task);
        }
    }

    /// Sets up what hangs on the status now.
    pub(crate) fn enter(&mut self, task: &Arc<Task>, status: TaskStatus) {
        match status {
            TaskStatus::Pending => self.join_group(task),
            TaskStatus::Throttled => self.arm_throttle(task),
            TaskStatus::Partitioned => self.arm_partition(task),
            TaskStatus::Running => self.came_up(task),
            TaskStatus::Starting => self.arm_silent(task),
            _ if status.is_transient() => self.arm_transient(task),
            _ => {}
        }
        if status == TaskStatus::Killing {
            self.arm_kill_retry(task, 0);
            self.await_end(task);
        }
        if status.is_terminal() {
            self.count_ended(task);
            let index = self.job_index(&task.config.job);
            index.active.remove(&task.instance);
            index.ended.insert(Ended(task.clone()));
            // Not now: with no history kept the task would be gone before it is replaced.
            self.ended_jobs.insert(task.config.job.clone());
        }
        if status == TaskStatus::Lost {
            self.give_up(task);
        } else if status.is_terminal() {
            self.lay_to_rest(task);
        }
    }

    fn count_ended(&mut self, task: &Task) {
        if COUNTED_PER_JOB.contains(&task.status) {
            self.count(&per_job(task.status, &task.config.job), 1);
        }
    }

    /// Removes a task from the store, whatever its status.
    pub(crate) fn delete(&mut self, id: &TaskId, message: Option<Arc<str>>) {
        let Some(task) = self.store.remove_task(id) else { return };
        self.work += 1;
        self.count_status(task.status, -1);
        self.lay_to_rest(&task);
        let job = &task.config.job;
        if task.status.is_terminal() {
            if let Some(index) = self.jobs.get_mut(job) {
                index.ended.remove(&Ended(task.clone()));
            }
        } else {
            self.cancel_timers(&task);
            match task.status {
                TaskStatus::Pending => self.leave_group(&task),
                TaskStatus::Throttled => drop(self.store.view.throttled_until_ms.remove(id)),
                status if status.is_assigned() => self.vacate(&task),
                _ => {}
            }
            if let Some(index) = self.jobs.get_mut(job) {
                index.active.remove(&task.instance);
            }
            self.follow(&task, None);
        }
        if let Some(index) = self.jobs.get_mut(job)
            && index.is_empty()
        {
            if let Some(timer) = index.prune {
                self.timers.cancel(timer);
            }
            self.jobs.remove(job);
            self.forget_coordinator_counters(job);
            // Counters of jobs go with the jobs: there may be a new one every second.
            for status in COUNTED_PER_JOB {
                self.store.view.counters.remove(per_job(status, job).as_str());
            }
        }
        self.effects.push(Effect::Transition(Transition {
            job: job.clone(),
            instance: task.instance,
            task_id: id.clone(),
            from: Some(task.status),
            to: None,
            reason: message.as_deref().map(str::to_owned),
            timestamp_ms: self.now.wall_ms.max(task.last_event_ms()),
        }));
    }

    /// Entry of an active task in the index of its job.
    pub(crate) fn active_mut(&mut self, task: &Task) -> Option<&mut Active> {
        let active = self.jobs.get_mut(&task.config.job)?.active.get_mut(&task.instance)?;
        (active.id == task.id).then_some(active)
    }

    fn cancel_timers(&mut self, task: &Task) {
        let timers = self.active_mut(task).map(|active| std::mem::take(&mut active.timers)).unwrap_or_default();
        timers.into_iter().for_each(|timer| self.timers.cancel(timer));
    }

    fn arm_task_timer(&mut self, task: &Task, delay_ms: u64, timer: Timer) {
        let key = self.arm_after(delay_ms, timer);
        match self.active_mut(task) {
            Some(active) => active.timers.push(key),
            None => self.timers.cancel(key),
        }
    }

    fn arm_throttle(&mut self, task: &Task) {
        let known_ms = self.active_mut(task).map_or(0, |active| std::mem::take(&mut active.penalty_ms));
        // After a restart the penalty is drawn anew.
        let penalty_ms = if known_ms > 0 { known_ms } else { self.penalty_ms(task.ancestor.clone()) };
        let until_ms = task.last_event_ms().saturating_add(penalty_ms as i64);
        self.store.view.throttled_until_ms.insert(task.id.clone(), until_ms);
        let delay_ms = self.remaining_ms(task.last_event_ms(), penalty_ms);
        self.arm_task_timer(task, delay_ms, Timer::Throttle(task.id.clone()));
    }

    fn arm_transient(&mut self, task: &Task) {
        if self.silence_ms(task.status).is_some() {
            return self.arm_silent(task);
        }
        let delay_ms = ms(self.settings.transient_task_state_timeout);
        self.arm_task_timer(task, delay_ms, Timer::Transient(task.id.clone(), task.status));
    }

    fn arm_silent(&mut self, task: &Task) {
        if let Some(delay_ms) = self.silence_ms(task.status) {
            self.arm_task_timer(task, delay_ms, Timer::Silent(task.id.clone(), task.status));
        }
    }

    fn arm_kill_retry(&mut self, task: &Task, last_ms: u64) {
        let initial = ms(self.settings.initial_task_kill_retry_interval);
        let max = ms(self.settings.transient_task_state_timeout);
        let delay_ms = crate::random::backoff_ms(&mut self.random, last_ms, initial, max);
        self.arm_task_timer(task, delay_ms, Timer::KillRetry(task.id.clone(), delay_ms));
    }

    fn arm_partition(&mut self, task: &Task) {
        let delay_secs = match task.config.partition_policy {
            None => 0,
            Some(policy) if policy.reschedule => policy.delay_secs.unwrap_or(0).max(0),
            Some(_) => return,
        };
        let delay_ms = self.remaining_ms(task.last_event_ms(), (delay_secs as u64).saturating_mul(1000));
        self.arm_task_timer(task, delay_ms, Timer::Partition(task.id.clone()));
    }

    // ---- timers that fired ----

    /// Nothing was heard of a task for long: it is asked about. After that its time goes on; one that is starting may take as long as
    /// it likes.
    pub(crate) fn silent_for_long(&mut self, id: &TaskId, status: TaskStatus) {
        let Some(task) = self.ask_about_silent(id, status) else { return };
        // The one that fired is not kept.
        self.cancel_timers(&task);
        let whole_ms = ms(self.settings.transient_task_state_timeout);
        match self.silence_ms(status).filter(|_| status.is_transient()) {
            Some(passed_ms) => {
                let left_ms = whole_ms.saturating_sub(passed_ms);
                self.arm_task_timer(&task, left_ms, Timer::Transient(id.clone(), status));
            }
            None => self.arm_task_timer(&task, whole_ms.max(1), Timer::Silent(id.clone(), status)),
        }
    }

    /// A task stayed in a passing status for too long (spec scheduler 1.7).
    pub(crate) fn transient_timed_out(&mut self, id: &TaskId, status: TaskStatus) {
        if let Some(wait_ms) = self.doubt_ms(id) {
            let Some(task) = self.store.view.tasks.get(id).filter(|task| task.status == status).cloned() else {
                return;
            };
            self.arm_task_timer(&task, wait_ms, Timer::Transient(id.clone(), status));
            return;
        }
        let lost = State::Stored(TaskStatus::Lost);
        if self.transition(id, Some(status), lost, Some("Task timed out".into())) == TransitionResult::Success {
            self.count("timed_out_tasks", 1);
        }
    }

    /// A task is still being killed: asks again.
    pub(crate) fn retry_kill(&mut self, id: &TaskId, last_ms: u64) {
        let Some(task) = self.store.view.tasks.get(id).filter(|task| task.status == TaskStatus::Killing) else {
            return;
        };
        let task = task.clone();
        self.count("task_kill_retries", 1);
        self.kill(id);
        self.arm_kill_retry(&task, last_ms);
    }

    /// The penalty of a flapping task is over.
    pub(crate) fn end_throttle(&mut self, id: &TaskId) {
        self.transition(id, Some(TaskStatus::Throttled), State::Stored(TaskStatus::Pending), None);
    }

    /// A task was out of reach for as long as its policy allows (spec scheduler 1.6).
    pub(crate) fn end_partition(&mut self, id: &TaskId) {
        let message = Some("Task partitioned for too long.".into());
        self.transition(id, Some(TaskStatus::Partitioned), State::Stored(TaskStatus::Lost), message);
    }
}

/// Whether a task that leaves its status is to be replaced; asked before the failure is counted.
fn is_replaced(task: &Task, replacement: Replacement) -> bool {
    match replacement {
        Replacement::Never => false,
        Replacement::Always => true,
        Replacement::IfService => task.config.is_service,
        Replacement::IfFailuresAllow => {
            let max = task.config.max_task_failures;
            task.config.is_service || max == -1 || task.failure_count < max.saturating_sub(1)
        }
        Replacement::UnlessKilling => task.events.iter().all(|event| event.status != TaskStatus::Killing),
    }
}

/// Drops the last two events of a history that ends X, PARTITIONED, X, so that an agent that comes and goes does not grow
/// the record (spec scheduler 1.6).
fn compact_partitions(events: &mut Vec<TaskEvent>) {
    if let [.., before, partitioned, after] = events.as_slice()
        && partitioned.status == TaskStatus::Partitioned
        && before.status == after.status
    {
        events.truncate(events.len() - 2);
    }
}
