//! The rounds in which the tasks of draining hosts are asked about and moved. Memory only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{Host, JobKey, MaintenanceMode, TaskId, TaskStatus};

use super::table::ModeChange;
use super::{Core, DRAINING_MESSAGE};
use crate::sla::coordinator::Purpose;
use crate::sla::policy::Verdict;
use crate::task::Task;
use crate::tasks::table::State;
use crate::tasks::transition::TransitionResult;
use crate::timers::{Timer, TimerKey};

/// Tasks of a job whose drain was refused are not asked about again sooner than this after one of its instances came up.
const SOONEST_RECHECK_MS: u64 = 1000;

/// Hosts being drained, and what is to be asked.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    pub(super) hosts: BTreeMap<Host, Drain>,
    /// To be asked about in this round.
    queue: VecDeque<(Host, TaskId)>,
    /// Refused ones by job; may name tasks that have ended.
    refused: BTreeMap<JobKey, BTreeSet<(Host, TaskId)>>,
    /// When those of a job are asked about again, on the monotonic clock, and the timer that says so.
    rechecks: BTreeMap<JobKey, (u64, TimerKey)>,
    pub(super) poll: Option<TimerKey>,
}

/// A host being drained.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Its time is up: policies are not asked any more.
    forced: bool,
    /// Says so.
    deadline: Option<TimerKey>,
}

impl Core {
    /// A host is to be drained, or its request was replaced. What is on it is not asked about before the next round begins.
    pub(super) fn begin_draining(&mut self, host: &Host) {
        let drain = self.draining.hosts.remove(host).unwrap_or_default();
        if let Some(timer) = drain.deadline {
            self.timers.cancel(timer);
        }
        let mut drain = Drain::default();
        if let Some(request) = self.store.view.maintenance.get(host) {
            let timeout_ms = u64::try_from(request.timeout_secs).unwrap_or(0).saturating_mul(1000);
            // Strictly later than the request: the first round asks, whatever the time-out.
            let delay_ms = self.remaining_ms(request.created_ms, timeout_ms).saturating_add(1);
            drain.deadline = Some(self.arm_after(delay_ms, Timer::DrainDeadline(host.clone())));
        }
        self.draining.hosts.insert(host.clone(), drain);
        self.arm_maintenance_poll();
    }

    /// A host is drained, or is not to be drained any more.
    pub(super) fn stop_draining(&mut self, host: &Host) {
        let Some(drain) = self.draining.hosts.remove(host) else { return };
        if let Some(timer) = drain.deadline {
            self.timers.cancel(timer);
        }
        for task in
            self.placed_on(host).iter().filter_map(|id| self.store.view.tasks.get(id).cloned()).collect::<Vec<_>>()
        {
            self.forget_countdown(&task);
        }
        self.store.set_maintenance(host, None);
        if self.draining.hosts.is_empty() {
            let Draining { rechecks, poll, .. } = std::mem::take(&mut self.draining);
            let timers = rechecks.into_values().map(|(_, timer)| timer).chain(poll);
            timers.for_each(|timer| self.timers.cancel(timer));
        }
    }

    /// The request's time is up: the rest goes, whatever the policies say.
    pub(crate) fn drain_deadline(&mut self, host: &Host) {
        let Some(drain) = self.draining.hosts.get_mut(host) else { return };
        drain.deadline = None;
        drain.forced = true;
        self.queue_host(host);
    }

    /// Time for another round.
    pub(crate) fn poll_maintenance(&mut self) {
        self.draining.poll = None;
        let hosts: Vec<Host> = self.draining.hosts.keys().cloned().collect();
        self.draining.queue.clear();
        for host in hosts {
            self.queue_host(&host);
        }
        self.arm_maintenance_poll();
    }

    /// Every task of a host is to be asked about, in an order that favours none.
    pub(super) fn queue_host(&mut self, host: &Host) {
        let mut ids = self.placed_on(host);
        for at in (1..ids.len()).rev() {
            ids.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        self.work += 1;
        self.draining.queue.extend(ids.into_iter().map(|id| (host.clone(), id)));
        if !self.has_placed(host) {
            self.change_mode(host, ModeChange::Emptied);
        }
    }

    /// Whether anybody is moved now. Who cannot be reached cannot be killed, and what is known of the others may be old; and for the
    /// replacements there must be room in the journal.
    pub(crate) fn may_move(&self) -> bool {
        self.store.view.registered && !self.space_low
    }

    /// Goes on with the round. False when the step's work is used up before.
    pub(crate) fn drain_some(&mut self) -> bool {
        if !self.may_move() {
            return true;
        }
        while let Some((host, id)) = self.draining.queue.pop_front() {
            if !self.may_work() {
                self.draining.queue.push_front((host, id));
                return false;
            }
            self.try_drain(&host, &id);
        }
        true
    }

    /// The engine is gone: what is known of tasks grows old, so the next round begins anew.
    pub(crate) fn pause_draining(&mut self) {
        self.draining.queue.clear();
    }

    /// Whether a task is on a host that is being drained, and nobody has ended it yet.
    pub(crate) fn is_to_be_drained(&self, host: &Host, id: &TaskId) -> bool {
        self.mode_of(host) == MaintenanceMode::Draining && self.is_movable(host, id)
    }

    /// Whether a task is on a host, and nobody has ended it yet.
    pub(crate) fn is_movable(&self, host: &Host, id: &TaskId) -> bool {
        let Some(task) = self.store.view.tasks.get(id) else { return false };
        let movable = matches!(
            task.status,
            TaskStatus::Assigned | TaskStatus::Starting | TaskStatus::Running | TaskStatus::Partitioned
        );
        let active = self.jobs.get(&task.config.job).and_then(|index| index.active.get(&task.instance));
        let slot = active.filter(|active| active.id == *id).and_then(|active| active.slot);
        movable && slot.and_then(|slot| self.book.agent(slot)).is_some_and(|agent| agent.host == *host)
    }

    fn try_drain(&mut self, host: &Host, id: &TaskId) {
        if !self.is_to_be_drained(host, id) {
            return;
        }
        let Some(task) = self.store.view.tasks.get(id).cloned() else { return };
        let Some(request) = self.store.view.maintenance.get(host).cloned() else {
            self.count("missing_maintenance_request", 1);
            return;
        };
        let countdown_ms = request.forced_from_ms().saturating_sub(self.now.wall_ms);
        self.gauge(&countdown_name(&task), countdown_ms);
        if self.draining.hosts.get(host).is_some_and(|drain| drain.forced) {
            self.drain_task(id);
            return;
        }
        let policy = task.config.sla_policy.as_ref().unwrap_or(&request.default_policy);
        self.work += self.sla_work(&task);
        match self.sla_verdict(&task, policy) {
            Verdict::Allowed => self.drain_task(id),
            Verdict::Refused { changes_after_ms } => {
                let job = &task.config.job;
                self.draining.refused.entry(job.clone()).or_default().insert((host.clone(), id.clone()));
                if let Some(after_ms) = changes_after_ms {
                    self.arm_recheck(job, after_ms);
                }
            }
            Verdict::Ask => self.ask_coordinator(&task, policy, Purpose::Drain(host.clone())),
        }
    }

    /// Moves a task away: it is killed, and its replacement finds another host.
    pub(crate) fn drain_task(&mut self, id: &TaskId) {
        let draining = State::Stored(TaskStatus::Draining);
        if self.transition(id, None, draining, Some(DRAINING_MESSAGE.into())) == TransitionResult::Success {
            self.count("maintenance_tasks_drained", 1);
        }
    }

    /// An instance of a job came up: those of its tasks that had to stay may go now, or once it has run for long enough.
    pub(crate) fn came_up(&mut self, task: &Task) {
        if self.draining.refused.contains_key(&task.config.job) {
            let job = task.config.job.clone();
            self.arm_recheck(&job, SOONEST_RECHECK_MS);
        }
    }

    fn arm_recheck(&mut self, job: &JobKey, after_ms: u64) {
        let due_ms = self.now.monotonic_ms.saturating_add(after_ms.max(SOONEST_RECHECK_MS));
        if let Some((armed_ms, timer)) = self.draining.rechecks.get(job).copied() {
            if armed_ms <= due_ms {
                return;
            }
            self.timers.cancel(timer);
        }
        let timer = self.timers.arm(due_ms, Timer::DrainRecheck(job.clone()));
        self.draining.rechecks.insert(job.clone(), (due_ms, timer));
    }

    /// Those of a job's tasks that had to stay are asked about again.
    pub(crate) fn recheck_job(&mut self, job: &JobKey) {
        self.draining.rechecks.remove(job);
        if let Some(refused) = self.draining.refused.remove(job) {
            self.draining.queue.extend(refused);
        }
    }

    /// The countdown of a task that is gone, or stays, is of no interest.
    pub(super) fn forget_countdown(&mut self, task: &Task) {
        self.store.view.counters.remove(countdown_name(task).as_str());
    }

    /// Agents are asked back by the engine, and their time is near: their tasks move as their own policies allow. The engine asks again
    /// and again, so nothing needs to be remembered, and no mode changes (spec scheduler 5.5).
    pub(crate) fn drain_for_engine(&mut self, placed: Vec<TaskId>) {
        for id in placed {
            let Some(task) = self.store.view.tasks.get(&id).cloned() else { continue };
            let Some(host) = task.host.clone().filter(|host| self.is_movable(host, &id)) else { continue };
            self.work += self.sla_work(&task);
            match task.config.sla_policy.as_ref().map(|policy| (policy, self.sla_verdict(&task, policy))) {
                None | Some((_, Verdict::Allowed)) => self.drain_task(&id),
                Some((policy, Verdict::Ask)) => self.ask_coordinator(&task, policy, Purpose::Leave(host.to_string())),
                Some((_, Verdict::Refused { .. })) => {}
            }
        }
    }

    /// Whether what is remembered of hosts is what the tables say. For tests and simulations.
    pub(crate) fn verify_maintenance(&self) -> Result<(), String> {
        let draining = |record: &crate::view::HostRecord| record.mode == MaintenanceMode::Draining;
        let stored: Vec<&Host> =
            self.store.view.hosts.iter().filter(|(_, record)| draining(record)).map(|(host, _)| host).collect();
        let listed: Vec<&Host> = self.draining.hosts.keys().collect();
        if stored != listed {
            return Err(format!("hosts {stored:?} are DRAINING and {listed:?} are being drained"));
        }
        if let Some(host) = self.store.view.maintenance.keys().find(|host| !self.draining.hosts.contains_key(*host)) {
            return Err(format!("{host} has a request and is not DRAINING"));
        }
        if !self.draining.hosts.is_empty() && self.draining.poll.is_none() {
            return Err("hosts are being drained and nobody looks at them again".into());
        }
        for (slot, agent) in self.book.agents() {
            if agent.mode != self.mode_of(&agent.host) {
                return Err(format!("slot {slot} on {} is in mode {}", agent.host, agent.mode));
            }
        }
        Ok(())
    }
}

fn countdown_name(task: &Task) -> String {
    format!("maintenance_countdown_ms_{}/{}", task.config.job, task.instance)
}
