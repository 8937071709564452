//! The way of updates: stored, sent one at a time for each task, sent again until the scheduler's acknowledgement comes (spec mesos 3.5).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use mesos::v1::{
    AgentId, ContainerId, ContainerStatus, ExecutorId, NetworkInfo, TaskId, TaskState, TaskStatus, network_info,
    task_status::{Reason, Source},
};

use super::super::protocol::{ToMaster, Uuid};
use super::super::resources::Resources;
use super::{Agent, AgentTask, Effect, ExecutorState, Key, Phase, Timer};

impl Agent {
    /// An update of a script.
    pub(super) fn scripted_update(&mut self, key: &Key, task: &Arc<str>, state: TaskState, message: Option<String>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if !matches!(self.phase, Phase::Up | Phase::Recovering) || !executor.is_back {
            executor.held.push((Arc::clone(task), state, message));
            return;
        }
        let status = TaskStatus {
            task_id: TaskId::from(&**task),
            state: state as i32,
            message,
            uuid: Some(Bytes::copy_from_slice(&self.uuid())),
            source: Some(Source::Executor as i32),
            ..TaskStatus::default()
        };
        self.store_update(key, task, status);
    }

    /// An update made by the agent itself.
    pub(super) fn own_update(
        &mut self,
        framework: &Arc<str>,
        task: &Arc<str>,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        let status = TaskStatus {
            task_id: TaskId::from(&**task),
            state: state as i32,
            message: Some(message.to_owned()),
            uuid: Some(Bytes::copy_from_slice(&self.uuid())),
            source: Some(Source::Agent as i32),
            reason: Some(reason as i32),
            ..TaskStatus::default()
        };
        match self.tasks.get(&(Arc::clone(framework), Arc::clone(task))).cloned() {
            Some(executor) => {
                self.store_update(&(Arc::clone(framework), executor), task, status);
            }
            None => self.orphan_update(framework, task, status),
        }
    }

    /// Stores an update and sends it if it is the task's turn. False if it says nothing new: after a terminal one, or of a task that the
    /// executor was never given.
    pub(super) fn store_update(&mut self, key: &Key, task: &Arc<str>, mut status: TaskStatus) -> bool {
        let by_executor = status.source == Some(Source::Executor as i32);
        let draining = self.draining;
        let gone = self.or_lost(&key.0, TaskState::GoneByOperator) == TaskState::GoneByOperator;
        let agent_id = self.id.as_deref().map(AgentId::from);
        let (wall_s, now_ms, interval_ms) = (self.wall_s(), self.now_ms, self.settings.update_retry_ms);
        let ip = self.description.ip.clone();
        let Some(executor) = self.executors.get_mut(key) else { return false };
        let queued = executor.queued.iter().any(|(id, _)| id == task);
        let Some(known) = executor.tasks.get_mut(task) else { return false };
        let Ok(mut state) = TaskState::try_from(status.state) else { return false };
        if known.state.is_terminal() || (queued && by_executor && !state.is_terminal()) {
            return false;
        }
        if draining.is_some() && matches!(state, TaskState::Killed | TaskState::Killing) {
            status.reason = Some(Reason::AgentDraining as i32);
            if draining == Some(true) && gone && state == TaskState::Killed {
                state = TaskState::GoneByOperator;
                status.state = state as i32;
            }
        }
        status.agent_id = agent_id;
        status.timestamp.get_or_insert(wall_s);
        if executor.info.is_some() {
            status.executor_id = Some(ExecutorId::from(&*key.1));
        }
        if by_executor {
            status.container_status = Some(container_status(&executor.container, &ip, executor.pid));
        }
        known.state = state;
        known.healthy = status.healthy.or(known.healthy);
        known.info = None;
        known.updates.push_back(Box::new(status));
        let first = known.updates.len() == 1;
        if first {
            known.interval_ms = interval_ms;
            known.retry_at_ms = now_ms;
        }
        let id = (Arc::clone(&key.0), Arc::clone(task));
        if state == TaskState::Running {
            self.out.push(Effect::Began { task: Arc::clone(task) });
        }
        if state.is_terminal() {
            self.out.push(Effect::Ended { task: Arc::clone(task), state });
        }
        if first {
            self.unacknowledged.insert(id.clone());
            self.forward(&id);
        }
        true
    }

    /// An update of a task that has no executor here.
    fn orphan_update(&mut self, framework: &Arc<str>, task: &Arc<str>, mut status: TaskStatus) {
        status.agent_id = self.id.as_deref().map(AgentId::from);
        status.timestamp.get_or_insert(self.wall_s());
        let id = (Arc::clone(framework), Arc::clone(task));
        let state = TaskState::try_from(status.state).unwrap_or(TaskState::Lost);
        let orphan = AgentTask {
            name: Arc::from(""),
            resources: Arc::new(Resources::default()),
            role: Arc::from("*"),
            state,
            healthy: None,
            info: None,
            script: None,
            updates: VecDeque::from([Box::new(status)]),
            retry_at_ms: self.now_ms,
            interval_ms: self.settings.update_retry_ms,
            killed: false,
        };
        self.orphans.insert(id.clone(), orphan);
        self.unacknowledged.insert(id.clone());
        self.forward(&id);
    }

    fn task_mut(&mut self, id: &(Arc<str>, Arc<str>)) -> Option<&mut AgentTask> {
        match self.tasks.get(id) {
            Some(executor) => {
                let executor = self.executors.get_mut(&(Arc::clone(&id.0), Arc::clone(executor)))?;
                executor.tasks.get_mut(&id.1).map(AsMut::as_mut)
            }
            None => self.orphans.get_mut(id),
        }
    }

    /// Sends the first waiting update of a task and plans the next try.
    fn forward(&mut self, id: &(Arc<str>, Arc<str>)) {
        let (now_ms, max_ms) = (self.now_ms, self.settings.update_retry_max_ms);
        let Some(task) = self.task_mut(id) else { return };
        let Some(status) = task.updates.front().cloned() else { return };
        task.retry_at_ms = now_ms.saturating_add(task.interval_ms);
        task.interval_ms = (task.interval_ms * 2).min(max_ms);
        let (latest, wake_ms) = (task.state, task.retry_at_ms);
        let message = ToMaster::Update { framework: Arc::clone(&id.0), status, latest };
        self.out.push(Effect::Master(message));
        if self.retry_wake_ms.is_none_or(|planned| planned > wake_ms) {
            self.retry_wake_ms = Some(wake_ms);
            self.out.push(Effect::Timer { at_ms: wake_ms, timer: Timer::Retry });
        }
    }

    pub(super) fn retry_due(&mut self) {
        if self.retry_wake_ms.is_none_or(|planned| planned > self.now_ms) {
            return;
        }
        self.retry_wake_ms = None;
        if self.phase != Phase::Up {
            return;
        }
        let now_ms = self.now_ms;
        let waiting: Vec<_> = self.unacknowledged.iter().cloned().collect();
        let mut next_ms = u64::MAX;
        for id in waiting {
            let Some(at_ms) = self.task_mut(&id).map(|task| task.retry_at_ms) else { continue };
            if at_ms <= now_ms {
                self.forward(&id);
            } else {
                next_ms = next_ms.min(at_ms);
            }
        }
        if next_ms < self.retry_wake_ms.unwrap_or(u64::MAX) {
            self.retry_wake_ms = Some(next_ms);
            self.out.push(Effect::Timer { at_ms: next_ms, timer: Timer::Retry });
        }
    }

    /// After (re-)registration every waiting update goes out at once.
    pub(super) fn resend_all(&mut self) {
        let agent_id = self.id.as_deref().map(AgentId::from);
        let interval_ms = self.settings.update_retry_ms;
        let waiting: Vec<_> = self.unacknowledged.iter().cloned().collect();
        for id in waiting {
            if let Some(task) = self.task_mut(&id) {
                task.interval_ms = interval_ms;
                for status in task.updates.iter_mut().filter(|status| status.agent_id.is_none()) {
                    status.agent_id.clone_from(&agent_id);
                }
            }
            self.forward(&id);
        }
    }

    /// The scheduler has an update: the next one's turn, or the end of the task's record.
    pub(super) fn acknowledged(&mut self, id: &(Arc<str>, Arc<str>), uuid: &Uuid) {
        let (now_ms, interval_ms) = (self.now_ms, self.settings.update_retry_ms);
        let Some(task) = self.task_mut(id) else { return };
        if task.updates.front().and_then(|status| status.uuid.as_deref()) != Some(&uuid[..]) {
            return;
        }
        let Some(done) = task.updates.pop_front() else { return };
        task.interval_ms = interval_ms;
        task.retry_at_ms = now_ms;
        if !task.updates.is_empty() {
            return self.forward(id);
        }
        // Most tasks say nothing for a long time: no room is kept for more.
        task.updates = VecDeque::new();
        self.unacknowledged.remove(id);
        if !TaskState::try_from(done.state).is_ok_and(TaskState::is_terminal) {
            return;
        }
        self.orphans.remove(id);
        let Some(executor_id) = self.tasks.remove(id) else { return };
        let key = (Arc::clone(&id.0), executor_id);
        let Some(executor) = self.executors.get_mut(&key) else { return };
        executor.tasks.remove(&id.1);
        if executor.tasks.is_empty() && executor.state == ExecutorState::Terminated {
            self.executors.remove(&key);
            self.forget_idle_framework(&key.0);
        }
    }

    pub(super) fn forget_idle_framework(&mut self, framework: &Arc<str>) {
        if !self.executors.keys().any(|(owner, _)| owner == framework) {
            self.frameworks.remove(framework);
        }
    }
}

fn container_status(container: &str, ip: &str, pid: Option<u32>) -> ContainerStatus {
    let address = network_info::IpAddress { ip_address: Some(ip.to_owned()), ..network_info::IpAddress::default() };
    ContainerStatus {
        network_infos: vec![NetworkInfo { ip_addresses: vec![address], ..NetworkInfo::default() }],
        executor_pid: pid,
        container_id: Some(ContainerId { value: container.to_owned(), parent: None }),
        ..ContainerStatus::default()
    }
}
