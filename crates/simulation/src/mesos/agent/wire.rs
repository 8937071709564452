//! The executor API of an agent: what it answers to an executor's calls, and the events it sends (spec mesos 3.10).

use std::sync::Arc;

use bytes::Bytes;
use mesos::v1::executor::{Call, Event, call, event};
use mesos::v1::{
    AgentId, AgentInfo, ContainerId, KillPolicy, TaskGroupInfo, TaskInfo, TaskState, TaskStatus,
    task_status::{Reason, Source},
};

use super::super::messages::{Format, to_wire};
use super::super::protocol::ToMaster;
use super::{Agent, Effect, ExecutorState, Key, Phase};

/// What is wrong with a call.
pub(in super::super) type Refused = (u16, String);

fn refused<T>(status: u16, text: impl Into<String>) -> Result<T, Refused> {
    Err((status, text.into()))
}

/// The form of a call, before anything is looked up.
pub(in super::super) fn validate(call: &Call) -> Result<call::Type, Refused> {
    let kind = call.r#type.map_or(Ok(call::Type::Unknown), call::Type::try_from).unwrap_or(call::Type::Unknown);
    if call.executor_id.value.is_empty() || call.framework_id.value.is_empty() {
        return refused(
            400,
            "Failed to validate executor::Call: Expecting 'executor_id' and 'framework_id' to be present",
        );
    }
    let present = match kind {
        call::Type::Subscribe => call.subscribe.is_some(),
        call::Type::Update => call.update.is_some(),
        call::Type::Message => call.message.is_some(),
        call::Type::Heartbeat => true,
        call::Type::Unknown => {
            return refused(400, "Failed to validate executor::Call: Expecting 'type' to be present");
        }
    };
    if !present {
        return refused(
            400,
            format!("Failed to validate executor::Call: Expecting the body of {} to be present", kind.name()),
        );
    }
    if kind == call::Type::Update
        && let Some(update) = &call.update
    {
        validate_status(&update.status, &call.executor_id.value).map_err(|text| (400, text.to_owned()))?;
    }
    Ok(kind)
}

/// Whether these are the 16 bytes of a UUID that names one of the versions 1 to 5; a real Mesos refuses others.
pub(in crate::mesos) fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 16 && (1..=5).contains(&(bytes[6] >> 4))
}

fn validate_status(status: &TaskStatus, executor: &str) -> Result<(), &'static str> {
    if !status.uuid.as_deref().is_some_and(is_uuid) {
        return Err("Failed to validate executor::Call: Not a valid UUID");
    }
    if status.source != Some(Source::Executor as i32) {
        return Err("Failed to validate executor::Call: Received Call from executor with invalid 'source'");
    }
    if status.state == TaskState::Staging as i32 {
        return Err("Failed to validate executor::Call: Received TASK_STAGING");
    }
    if status.executor_id.as_ref().is_some_and(|id| id.value != executor) {
        return Err("Failed to validate executor::Call: 'executor_id' of the status differs from the call's");
    }
    Ok(())
}

impl Agent {
    /// A call whose form is good. SUBSCRIBE answers 200 and `stream` carries events from then on.
    pub fn executor_call(&mut self, kind: call::Type, call: Call, stream: u64) -> Result<u16, Refused> {
        if kind == call::Type::Heartbeat {
            return Ok(202);
        }
        if kind != call::Type::Subscribe && self.phase != Phase::Up {
            return refused(503, "Agent has not finished recovery");
        }
        let framework: Arc<str> = Arc::from(call.framework_id.value.as_str());
        let key: Key = (framework, Arc::from(call.executor_id.value.as_str()));
        if !self.frameworks.contains_key(&key.0) {
            return refused(400, "Framework cannot be found");
        }
        let Some(executor) = self.executors.get_mut(&key) else { return refused(400, "Executor cannot be found") };
        if kind == call::Type::Subscribe {
            self.subscribed(&key, call.subscribe.unwrap_or_default(), stream);
            return Ok(200);
        }
        if executor.state == ExecutorState::Registering {
            return refused(403, "Executor is not subscribed");
        }
        match (call.update, call.message) {
            (Some(update), _) if kind == call::Type::Update => self.executor_update(&key, update.status),
            (_, Some(message)) => {
                let (framework, executor) = key;
                let data = message.data;
                self.out.push(Effect::Master(ToMaster::Message { framework, executor, data }));
            }
            _ => {}
        }
        Ok(202)
    }

    /// An update of a process: stored, then acknowledged to it, whatever the scheduler does.
    fn executor_update(&mut self, key: &Key, status: TaskStatus) {
        let (task_id, uuid) = (status.task_id.clone(), status.uuid.clone().unwrap_or_default());
        let task: Arc<str> = Arc::from(task_id.value.as_str());
        // The same update again, after a reconnection: it is stored already.
        let stored = self
            .executors
            .get(key)
            .and_then(|executor| executor.tasks.get(&task))
            .is_some_and(|known| known.updates.iter().any(|update| update.uuid.as_deref() == Some(&uuid[..])));
        if !stored {
            self.store_update(key, &task, status);
        }
        if let Some(stream) = self.executors.get(key).and_then(|executor| executor.stream) {
            let acknowledged = Some(event::Acknowledged { task_id, uuid });
            let kind = Some(event::Type::Acknowledged as i32);
            self.out.push(Effect::Event {
                stream,
                event: Box::new(Event { r#type: kind, acknowledged, ..Event::default() }),
            });
        }
    }

    fn subscribed(&mut self, key: &Key, subscribe: call::Subscribe, stream: u64) {
        let agent_info = self.agent_info();
        let Some(executor) = self.executors.get_mut(key) else { return };
        if let Some(old) = executor.stream.replace(stream) {
            self.out.push(Effect::Close { stream: old });
        }
        let undelivered = executor.queued.is_empty() && executor.tasks.values().all(|task| task.state.is_terminal());
        let over = matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated);
        if over || (undelivered && !executor.delivered) {
            let event = Event { r#type: Some(event::Type::Shutdown as i32), ..Event::default() };
            self.out.push(Effect::Event { stream, event: Box::new(event) });
            if over {
                executor.stream = None;
                self.out.push(Effect::Close { stream });
            }
            return;
        }
        executor.state = ExecutorState::Running;
        executor.is_back = true;
        let subscribed = event::Subscribed {
            executor_info: executor.info.as_deref().cloned().unwrap_or_default(),
            framework_info: (*executor.framework).clone(),
            agent_info,
            container_id: Some(ContainerId { value: executor.container.to_string(), parent: None }),
        };
        let kind = Some(event::Type::Subscribed as i32);
        let event = Event { r#type: kind, subscribed: Some(subscribed), ..Event::default() };
        self.out.push(Effect::Event { stream, event: Box::new(event) });
        let queued = std::mem::take(&mut executor.queued);
        let listed: Vec<String> = subscribe.unacknowledged_tasks.into_iter().map(|task| task.task_id.value).collect();
        for update in subscribe.unacknowledged_updates {
            self.executor_update(key, update.status);
        }
        // What this agent gave to the executor before it was restarted, and the executor never got.
        let Some(executor) = self.executors.get(key) else { return };
        let unheard = executor.tasks.iter().filter(|(id, task)| {
            let waits = queued.iter().any(|(waiting, _)| waiting == *id);
            task.state == TaskState::Staging && !waits && !listed.iter().any(|known| **known == ***id)
        });
        let unheard: Vec<Arc<str>> = unheard.map(|(id, _)| Arc::clone(id)).collect();
        let dropped = self.or_lost(&key.0, TaskState::Dropped);
        for task in unheard {
            let message = "Task was in flight while the agent restarted";
            self.own_update(&key.0, &task, dropped, Reason::AgentRestarted, message);
        }
        self.deliver(key, queued);
    }

    fn agent_info(&self) -> AgentInfo {
        let format = Format { refined: true, multi_role: false };
        AgentInfo {
            hostname: self.description.hostname.clone(),
            resources: to_wire(&self.description.resources, format, None),
            attributes: self.description.attributes.clone(),
            id: self.id.as_deref().map(AgentId::from),
            port: Some(i32::from(self.description.port)),
            domain: None,
        }
    }

    /// LAUNCH events, one for each task; tasks of a group together.
    pub(super) fn deliver(&mut self, key: &Key, tasks: Vec<(Arc<str>, Arc<TaskInfo>)>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let Some(stream) = executor.stream else {
            // Between two subscriptions: the next one gets them.
            executor.queued.extend(tasks);
            return;
        };
        executor.delivered |= !tasks.is_empty();
        let group = executor
            .info
            .as_ref()
            .is_some_and(|info| info.r#type == Some(mesos::v1::executor_info::Type::Default as i32));
        if group && !tasks.is_empty() {
            let tasks = tasks.iter().map(|(_, info)| (**info).clone()).collect();
            let launch_group = Some(event::LaunchGroup { task_group: TaskGroupInfo { tasks } });
            let kind = Some(event::Type::LaunchGroup as i32);
            self.out.push(Effect::Event {
                stream,
                event: Box::new(Event { r#type: kind, launch_group, ..Event::default() }),
            });
            return;
        }
        for (_, info) in tasks {
            let launch = Some(event::Launch { task: (*info).clone() });
            let kind = Some(event::Type::Launch as i32);
            self.out
                .push(Effect::Event { stream, event: Box::new(Event { r#type: kind, launch, ..Event::default() }) });
        }
    }

    pub(super) fn deliver_kill(&mut self, key: &Key, task: &Arc<str>, policy: Option<KillPolicy>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if let Some(known) = executor.tasks.get_mut(task) {
            known.killed = true;
        }
        if executor.info.is_none() {
            return self.out.push(Effect::Terminate { key: key.clone() });
        }
        let Some(stream) = executor.stream else { return };
        let kill = Some(event::Kill { task_id: (&**task).into(), kill_policy: policy });
        let kind = Some(event::Type::Kill as i32);
        self.out.push(Effect::Event { stream, event: Box::new(Event { r#type: kind, kill, ..Event::default() }) });
    }

    /// The connection of an executor broke. It may come back; its exit is seen elsewhere.
    pub fn executor_stream_broke(&mut self, stream: u64) {
        for executor in self.executors.values_mut() {
            if executor.stream == Some(stream) {
                executor.stream = None;
            }
        }
    }

    /// What is known of an executor's process, for whoever starts it.
    pub fn plan_of(&self, key: &Key) -> Option<ProcessPlan> {
        let executor = self.executors.get(key)?;
        let task = executor.queued.first().map(|(_, info)| Arc::clone(info));
        Some(ProcessPlan {
            executor: executor.info.clone(),
            task,
            container: Arc::clone(&executor.container),
            checkpoint: executor.framework.checkpoint.unwrap_or_default(),
            agent_id: self.id.clone().unwrap_or_default(),
            ip: self.description.ip.clone(),
            port: self.description.port,
        })
    }

    /// The process of an executor runs.
    pub fn spawned(&mut self, key: &Key, pid: u32) {
        if let Some(executor) = self.executors.get_mut(key) {
            executor.pid = Some(pid);
        }
    }

    /// It could not be started.
    pub fn spawn_failed(&mut self, key: &Key, message: &str) {
        self.fail_all(key, TaskState::Failed, Reason::ContainerLaunchFailed, message);
        self.executor_exited(key, -1);
    }

    /// A command task's process, which the agent itself looks after.
    pub fn command_update(&mut self, key: &Key, state: TaskState, message: Option<String>) {
        let task = Arc::clone(&key.1);
        if let Some(executor) = self.executors.get_mut(key)
            && executor.state == ExecutorState::Registering
        {
            executor.state = ExecutorState::Running;
            executor.is_back = true;
            executor.delivered = true;
            executor.queued.clear();
        }
        let status = TaskStatus {
            task_id: (&*task).into(),
            state: state as i32,
            message,
            uuid: Some(Bytes::copy_from_slice(&self.uuid())),
            source: Some(Source::Executor as i32),
            ..TaskStatus::default()
        };
        self.store_update(key, &task, status);
    }
}

/// What starting an executor's process needs.
#[derive(Clone, Debug)]
pub(in super::super) struct ProcessPlan {
    /// `None` for a task that is a command.
    pub executor: Option<Arc<mesos::v1::ExecutorInfo>>,
    /// The first task.
    pub task: Option<Arc<TaskInfo>>,
    pub container: Arc<str>,
    pub checkpoint: bool,
    pub agent_id: Arc<str>,
    pub ip: String,
    pub port: u16,
}
