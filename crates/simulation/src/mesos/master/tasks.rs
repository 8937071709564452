//! Updates on their way to schedulers, acknowledgements on their way back, reconciliation, kills (spec mesos 3.5, 3.6, 3.9).

use std::sync::Arc;

use mesos::v1::scheduler::{Event, call, event};
use mesos::v1::{AgentId, ExecutorId, TaskState, TaskStatus, TimeInfo, task_status::Reason};

use super::super::protocol::{ToAgent, Uuid};
use super::super::settings::Settings;
use super::Master;
use super::framework::Task;

impl Master {
    /// An agent forwards an update.
    pub fn update(&mut self, agent: &Arc<str>, framework: &Arc<str>, status: TaskStatus, latest: TaskState) {
        if !self.agents.contains_key(agent) {
            return;
        }
        let Some(known) = self.frameworks.get_mut(framework) else { return };
        if let Some(task) = known.tasks.get_mut(status.task_id.value.as_str()).filter(|task| task.agent == *agent) {
            task.told = TaskState::try_from(status.state).ok();
            task.uuid = status.uuid.as_deref().and_then(|uuid| Uuid::try_from(uuid).ok());
            if status.healthy.is_some() {
                task.healthy = status.healthy;
            }
            if !task.state.is_terminal() {
                task.state = latest;
            }
            if task.state.is_terminal() && !task.freed {
                task.freed = true;
                let (role, resources) = (Arc::clone(&task.role), Arc::clone(&task.resources));
                self.give_back(agent, &resources);
                self.allocated(framework, &role, &resources, -1);
            }
        }
        self.tell_update(framework, status);
    }

    pub(super) fn acknowledge(&mut self, framework: &Arc<str>, acknowledge: &call::Acknowledge) {
        let agent: &str = &acknowledge.agent_id.value;
        let id: &str = &acknowledge.task_id.value;
        let connected = self.agents.get(agent).is_some_and(|agent| agent.connected);
        let uuid = Uuid::try_from(&acknowledge.uuid[..]);
        let (true, Ok(uuid)) = (connected, uuid) else {
            self.counters.acknowledgements_dropped += 1;
            return;
        };
        let task = self.frameworks.get(framework).and_then(|known| known.tasks.get_key_value(id));
        let mut key: Arc<str> = Arc::from(id);
        if let Some((known_id, task)) = task.filter(|(_, task)| *task.agent == *agent) {
            key = Arc::clone(known_id);
            let Some(forwarded) = task.uuid else {
                self.counters.acknowledgements_dropped += 1;
                return;
            };
            if forwarded == uuid && task.told.is_some_and(TaskState::is_terminal) {
                self.forget(framework, &key);
            }
        }
        self.counters.acknowledged += 1;
        self.send_agent(agent, ToAgent::Acknowledge { framework: Arc::clone(framework), task: key, uuid });
    }

    /// A task leaves the books.
    pub(super) fn forget(&mut self, framework: &Arc<str>, id: &Arc<str>) -> Option<Task> {
        let task = self.frameworks.get_mut(framework)?.tasks.remove(id)?;
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            agent.tasks.remove(&(Arc::clone(framework), Arc::clone(id)));
        }
        if !task.freed {
            self.give_back(&task.agent, &task.resources);
            self.allocated(framework, &task.role, &task.resources, -1);
        }
        Some(task)
    }

    pub(super) fn reconcile(&mut self, framework: &Arc<str>, reconcile: &call::Reconcile) {
        if reconcile.tasks.is_empty() {
            self.counters.implicit_reconciles += 1;
            let known = &self.frameworks[framework];
            let mut ids: Vec<Arc<str>> = known.tasks.keys().cloned().collect();
            ids.sort();
            for id in ids {
                let status = self.known_status(framework, &id);
                self.tell_update(framework, status);
            }
            return;
        }
        self.counters.explicit_reconciles += 1;
        for task in &reconcile.tasks {
            let agent = task.agent_id.as_ref().map(|agent| agent.value.as_str());
            self.reconcile_one(framework, &task.task_id.value, agent);
        }
    }

    /// The six cases of spec mesos 3.6, silence among them.
    fn reconcile_one(&mut self, framework: &Arc<str>, id: &str, agent: Option<&str>) {
        let known = &self.frameworks[framework];
        if known.tasks.contains_key(id) {
            let status = self.known_status(framework, id);
            return self.tell_update(framework, status);
        }
        let unreachable_agent = known.unreachable.get(id).map(|task| Arc::clone(&task.agent));
        let agent = agent.or(unreachable_agent.as_deref());
        let recovering = match agent {
            Some(agent) => self.recovered.contains(agent),
            None => !self.recovered.is_empty(),
        };
        let unreachable_ms = agent.and_then(|agent| self.registry.unreachable.get(agent)).copied();
        let (state, message) = match agent {
            Some(agent) if self.agents.contains_key(agent) => {
                (TaskState::Gone, "Reconciliation: Task is unknown to the agent")
            }
            Some(_) if unreachable_ms.is_some() => (TaskState::Unreachable, "Reconciliation: Task is unreachable"),
            Some(agent) if self.registry.gone.contains(agent) => {
                (TaskState::GoneByOperator, "Reconciliation: Task is gone")
            }
            _ if recovering && !self.settings.answers_lost_while_recovering => {
                self.counters.reconcile_silences += 1;
                return;
            }
            _ => (TaskState::Unknown, "Reconciliation: Task is unknown"),
        };
        let state = known.or_lost(state);
        let mut status = self.own_status(id, agent, state, Reason::Reconciliation, message);
        status.unreachable_time =
            unreachable_ms.map(|unreachable_ms| TimeInfo { nanoseconds: unreachable_ms * 1_000_000 });
        self.tell_update(framework, status);
    }

    fn known_status(&self, framework: &str, id: &str) -> TaskStatus {
        let task = &self.frameworks[framework].tasks[id];
        let state = task.told.unwrap_or(task.state);
        let message = "Reconciliation: Latest task state";
        let mut status = self.own_status(id, Some(&task.agent), state, Reason::Reconciliation, message);
        status.executor_id = task.executor.as_deref().map(ExecutorId::from);
        status.healthy = task.healthy;
        status
    }

    pub(super) fn kill(&mut self, framework: &Arc<str>, kill: &call::Kill) {
        self.counters.kills += 1;
        let id = kill.task_id.value.as_str();
        let agent = kill.agent_id.as_ref().map(|agent| agent.value.as_str());
        let known = self.frameworks.get_mut(framework).expect("it called");
        let Some((key, task)) = known.tasks.get_key_value(id) else {
            return self.reconcile_one(framework, id, agent);
        };
        let (key, on) = (Arc::clone(key), Arc::clone(&task.agent));
        if agent.is_some_and(|agent| *agent != *on) {
            return;
        }
        if !self.agents.get(&on).is_some_and(|agent| agent.connected) {
            if let Some(task) = known.tasks.get_mut(&key) {
                task.kill_waits = true;
            }
            return;
        }
        let message = ToAgent::Kill { framework: Arc::clone(framework), task: key, policy: kill.kill_policy };
        self.send_agent(&on, message);
    }

    pub(super) fn shutdown_executor(&mut self, framework: &Arc<str>, shutdown: &call::Shutdown) {
        let executor = Arc::from(shutdown.executor_id.value.as_str());
        let message = ToAgent::ShutdownExecutor { framework: Arc::clone(framework), executor };
        self.send_agent(&shutdown.agent_id.value, message);
    }

    pub(super) fn message_to_executor(&mut self, framework: &Arc<str>, message: call::Message) {
        let executor = Arc::from(message.executor_id.value.as_str());
        let to_agent = ToAgent::Message { framework: Arc::clone(framework), executor, data: message.data };
        self.send_agent(&message.agent_id.value, to_agent);
    }

    /// Bytes from an executor.
    pub fn message_from_executor(&mut self, agent: &str, framework: &str, executor: &str, data: bytes::Bytes) {
        let message = Some(event::Message { agent_id: AgentId::from(agent), executor_id: executor.into(), data });
        self.tell(framework, Event { r#type: Some(event::Type::Message as i32), message, ..Event::default() });
    }

    /// An executor ended: what it held comes back, and custom ones are told of.
    pub fn executor_exited(&mut self, agent: &Arc<str>, framework: &Arc<str>, executor: &Arc<str>, status: i32) {
        let Some(record) = self.agents.get_mut(agent) else { return };
        let key = (Arc::clone(framework), Arc::clone(executor));
        let Some(gone) = record.executors.remove(&key) else { return };
        record.free.add(&gone.resources);
        self.allocated(framework, &gone.role, &gone.resources, -1);
        self.tell_failure(framework, agent, Some((executor, status)));
    }

    /// A task goes where its agent went: out of sight.
    pub(super) fn keep_unreachable(&mut self, framework: &Arc<str>, id: Arc<str>, task: Task) {
        let bound = Settings::clone(&self.settings).unreachable_tasks;
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        framework.unreachable.insert(Arc::clone(&id), task);
        framework.unreachable_order.push_back(id);
        while framework.unreachable_order.len() > bound {
            if let Some(oldest) = framework.unreachable_order.pop_front() {
                framework.unreachable.remove(&oldest);
            }
        }
    }
}
