//! The ends of executors: shutdown with grace, exits, missed deadlines (spec mesos 3.9, 3.10).

use std::sync::Arc;

use mesos::v1::executor::{Event, event};
use mesos::v1::{TaskState, task_status::Reason};

use super::super::protocol::ToMaster;
use super::{Agent, Effect, ExecutorState, Key, Timer};

impl Agent {
    /// SHUTDOWN, and after the grace period the end of the container.
    pub(super) fn shutdown_executor(&mut self, key: &Key) {
        let default_ms = self.settings.executor_shutdown_grace_ms;
        let Some(executor) = self.executors.get_mut(key) else { return };
        if matches!(executor.state, ExecutorState::Terminating | ExecutorState::Terminated) {
            return;
        }
        executor.state = ExecutorState::Terminating;
        let grace = executor.info.as_ref().and_then(|info| info.shutdown_grace_period.as_ref());
        let grace_ms = grace.map_or(default_ms, |grace| (grace.nanoseconds / 1_000_000) as u64);
        let timer = Timer::ExecutorGrace { key: key.clone(), container: Arc::clone(&executor.container) };
        let is_process = executor.is_process;
        if let Some(stream) = executor.stream {
            let event = Event { r#type: Some(event::Type::Shutdown as i32), ..Event::default() };
            self.out.push(Effect::Event { stream, event: Box::new(event) });
        }
        self.timer(grace_ms, timer);
        if !is_process {
            self.shutdown_script(key);
        }
    }

    pub(super) fn grace_over(&mut self, key: &Key, container: &Arc<str>) {
        let over = self
            .executors
            .get(key)
            .is_some_and(|executor| executor.container == *container && executor.state == ExecutorState::Terminating);
        if over {
            self.destroy(key);
        }
    }

    /// Destroys a container; its exit follows.
    fn destroy(&mut self, key: &Key) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.is_process {
            executor.state = ExecutorState::Terminating;
            self.out.push(Effect::Destroy { key: key.clone() });
        } else {
            self.executor_exited(key, 9);
        }
    }

    pub(super) fn registration_timed_out(&mut self, key: &Key, container: &Arc<str>) {
        let Some(executor) = self.executors.get(key) else { return };
        if executor.container != *container || executor.state != ExecutorState::Registering {
            return;
        }
        let message = "Executor did not register within the timeout";
        self.fail_all(key, TaskState::Failed, Reason::ExecutorRegistrationTimeout, message);
        self.destroy(key);
    }

    /// Ends every live task of an executor in the agent's name.
    pub(super) fn fail_all(&mut self, key: &Key, state: TaskState, reason: Reason, message: &str) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.queued.clear();
        let live = executor.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        let live: Vec<Arc<str>> = live.map(|(id, _)| Arc::clone(id)).collect();
        for task in live {
            self.own_update(&key.0, &task, state, reason, message);
        }
    }

    /// The executor's process or script is over, with this raw wait status.
    pub fn executor_exited(&mut self, key: &Key, status: i32) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.state == ExecutorState::Terminated {
            return;
        }
        executor.state = ExecutorState::Terminated;
        if let Some(stream) = executor.stream.take() {
            self.out.push(Effect::Close { stream });
        }
        let custom = executor.info.is_some();
        self.fail_all(key, TaskState::Failed, Reason::ExecutorTerminated, "Executor terminated");
        if custom {
            let (framework, executor) = key.clone();
            self.out.push(Effect::Master(ToMaster::ExecutorExited { framework, executor, status }));
        }
        if self.executors.get(key).is_some_and(|executor| executor.tasks.is_empty()) {
            self.executors.remove(key);
            self.forget_idle_framework(&key.0);
        }
    }

    /// The framework is over: everything of it ends, and nobody is told.
    pub(super) fn shutdown_framework(&mut self, framework: &Arc<str>) {
        let keys: Vec<Key> = self.executors.keys().filter(|(owner, _)| owner == framework).cloned().collect();
        for key in keys {
            let Some(executor) = self.executors.get(&key) else { continue };
            if executor.is_process && executor.state != ExecutorState::Terminated {
                self.shutdown_executor(&key);
                continue;
            }
            let Some(executor) = self.executors.remove(&key) else { continue };
            for (id, task) in executor.tasks {
                self.tasks.remove(&(Arc::clone(framework), Arc::clone(&id)));
                self.unacknowledged.remove(&(Arc::clone(framework), Arc::clone(&id)));
                if !task.state.is_terminal() {
                    self.out.push(Effect::Ended { task: id, state: TaskState::Killed });
                }
            }
        }
        self.orphans.retain(|(owner, _), _| owner != framework);
        self.unacknowledged.retain(|(owner, _)| owner != framework);
        self.forget_idle_framework(framework);
    }

    /// Bytes for an executor: dropped unless it runs.
    pub(super) fn message(&mut self, key: &Key, data: bytes::Bytes) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.state != ExecutorState::Running {
            return;
        }
        match executor.stream {
            Some(stream) => {
                let message = Some(event::Message { data });
                let event = Event { r#type: Some(event::Type::Message as i32), message, ..Event::default() };
                self.out.push(Effect::Event { stream, event: Box::new(event) });
            }
            None => executor.messages.push(data),
        }
    }
}
