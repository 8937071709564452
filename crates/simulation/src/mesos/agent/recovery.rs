//! An agent's process dies and comes back (spec mesos 3.10, 3.11).

use std::sync::Arc;

use mesos::v1::{TaskState, task_status::Reason};

use super::{Agent, Effect, ExecutorState, Key, Phase, Timer};

impl Agent {
    /// Its process dies. Executors of frameworks with checkpoints live on; the others exit with it.
    pub fn crash(&mut self) {
        if !matches!(self.phase, Phase::Up | Phase::Recovering) {
            return;
        }
        self.phase = Phase::Down;
        self.registered = false;
        self.down_since_ms = self.now_ms;
        let keys: Vec<Key> = self.executors.keys().cloned().collect();
        for key in keys {
            let Some(executor) = self.executors.get_mut(&key) else { continue };
            executor.is_back = false;
            if let Some(stream) = executor.stream.take() {
                self.out.push(Effect::Close { stream });
            }
            // Launches that were not delivered are nowhere but in its memory.
            for (task, _) in std::mem::take(&mut executor.queued) {
                executor.tasks.remove(&task);
                self.tasks.remove(&(Arc::clone(&key.0), task));
            }
            if !executor.framework.checkpoint.unwrap_or_default() {
                self.drop_executor(&key);
            }
        }
        if self.frameworks.values().all(|framework| !framework.checkpoint.unwrap_or_default()) {
            self.orphans.clear();
            self.unacknowledged.clear();
        }
    }

    /// An executor that ends with its agent, unseen.
    fn drop_executor(&mut self, key: &Key) {
        let Some(executor) = self.executors.remove(key) else { return };
        if executor.is_process && executor.state != ExecutorState::Terminated {
            self.out.push(Effect::Destroy { key: key.clone() });
        }
        for (id, task) in executor.tasks {
            self.tasks.remove(&(Arc::clone(&key.0), Arc::clone(&id)));
            self.unacknowledged.remove(&(Arc::clone(&key.0), Arc::clone(&id)));
            if !task.state.is_terminal() {
                self.out.push(Effect::Ended { task: id, state: TaskState::Killed });
            }
        }
    }

    /// It is started again, with what it wrote down: it waits for its executors before it registers.
    pub fn restart(&mut self) {
        if self.phase != Phase::Down {
            return;
        }
        self.phase = Phase::Recovering;
        self.generation += 1;
        let timeout_ms = self.settings.executor_reregistration_timeout_ms;
        let away_ms = self.now_ms - self.down_since_ms;
        let gave_up = away_ms > self.settings.agent_recovery_timeout_ms;
        self.timer(timeout_ms, Timer::Recovered { generation: self.generation });
        let scripted =
            self.executors.iter().filter(|(_, executor)| !executor.is_process && !executor.silent && !gave_up);
        let keys: Vec<Key> = scripted.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.script_is_back(&key);
        }
    }

    /// A script subscribes again and says what it said to nobody.
    fn script_is_back(&mut self, key: &Key) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.state == ExecutorState::Terminated {
            return;
        }
        executor.is_back = true;
        let held = std::mem::take(&mut executor.held);
        for (task, state, message) in held {
            self.scripted_update(key, &task, state, message);
        }
        let Some(executor) = self.executors.get(key) else { return };
        let exits =
            executor.tasks.values().any(|task| task.script.as_ref().is_some_and(|script| script.executor_exits));
        let idle = executor.tasks.values().all(|task| task.state.is_terminal());
        if exits && idle && executor.state == ExecutorState::Running {
            self.executor_exited(key, 0);
        }
    }

    /// The time for executors is over: the silent ones are destroyed, then it registers.
    pub(super) fn recovered(&mut self) {
        self.phase = Phase::Up;
        let keys: Vec<Key> = self.executors.keys().cloned().collect();
        for key in keys {
            let Some(executor) = self.executors.get(&key) else { continue };
            if executor.is_back || executor.state == ExecutorState::Terminated {
                continue;
            }
            let state = self.or_lost(&key.0, TaskState::Gone);
            let message = "Executor did not reregister within the timeout";
            self.fail_all(&key, state, Reason::ExecutorReregistrationTimeout, message);
            let is_process = self.executors.get(&key).is_some_and(|executor| executor.is_process);
            if is_process {
                self.out.push(Effect::Destroy { key: key.clone() });
            }
            self.executor_exited(&key, 9);
        }
        self.timer(0, Timer::Register);
    }

    /// The machine is gone and another comes in its place: nothing of the old one is left, its id neither.
    pub fn replace(&mut self) {
        self.destroy_everything();
        self.id = None;
        self.frameworks.clear();
        self.registered = false;
        self.draining = None;
        self.phase = Phase::Up;
        self.generation += 1;
        self.timer(0, Timer::Register);
    }

    /// An executor does not come back when its agent does.
    pub fn silence_executors(&mut self) {
        for executor in self.executors.values_mut() {
            executor.silent = true;
        }
    }
}
