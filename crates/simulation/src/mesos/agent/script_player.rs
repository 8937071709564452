//! Executors that are scripts: what the task says, and when.

use std::sync::Arc;

use mesos::v1::TaskState;

use super::super::script::{End, OnKill, Script};
use super::{Agent, ExecutorState, Key, Phase, Step, Timer};

impl Agent {
    fn script(&self, key: &Key, task: &str) -> Option<&Script> {
        let task = self.executors.get(key)?.tasks.get(task)?;
        if task.state.is_terminal() { None } else { task.script.as_deref() }
    }

    fn plan(&mut self, key: &Key, task: &Arc<str>, after_ms: u64, what: Step) {
        if after_ms == 0 {
            return self.step(key, task, what);
        }
        self.timer(after_ms, Timer::Step { key: key.clone(), task: Arc::clone(task), what });
    }

    pub(super) fn begin_script(&mut self, key: &Key, task: &Arc<str>) {
        let Some(script) = self.script(key, task) else { return };
        match (script.starting_ms, script.running_ms) {
            (Some(after_ms), _) => self.plan(key, task, after_ms, Step::Starting),
            (None, Some(after_ms)) => self.plan(key, task, after_ms, Step::Running),
            (None, None) => {}
        }
    }

    pub(super) fn step(&mut self, key: &Key, task: &Arc<str>, what: Step) {
        let alive = self.phase != Phase::Gone
            && self
                .executors
                .get(key)
                .is_some_and(|executor| executor.state == ExecutorState::Running && !executor.silent);
        let Some(script) = self.script(key, task).filter(|_| alive) else { return };
        let (running_ms, run_ms, end) = (script.running_ms, script.run_ms, script.end.clone());
        let said = |agent: &Self, state| {
            agent.executors[key].held.iter().any(|(held, held_state, _)| held == task && *held_state == state)
        };
        if [TaskState::Finished, TaskState::Failed, TaskState::Killed].into_iter().any(|state| said(self, state)) {
            return;
        }
        match what {
            Step::Starting => {
                self.scripted_update(key, task, TaskState::Starting, None);
                if let Some(after_ms) = running_ms {
                    self.plan(key, task, after_ms, Step::Running);
                }
            }
            Step::Running => {
                self.scripted_update(key, task, TaskState::Running, None);
                if let Some(after_ms) = run_ms {
                    self.plan(key, task, after_ms, Step::End);
                }
            }
            Step::End => match end {
                End::Finished => self.finish(key, task, TaskState::Finished, None),
                End::Failed(message) => self.finish(key, task, TaskState::Failed, Some(message)),
                End::ExecutorExits(status) => self.executor_exited(key, status),
            },
            Step::Killed => self.finish(key, task, TaskState::Killed, None),
            Step::FinishedByKill => self.finish(key, task, TaskState::Finished, None),
        }
    }

    fn finish(&mut self, key: &Key, task: &Arc<str>, state: TaskState, message: Option<String>) {
        let exits = self.script(key, task).is_some_and(|script| script.executor_exits);
        self.scripted_update(key, task, state, message);
        let Some(executor) = self.executors.get(key) else { return };
        let idle = executor.tasks.values().all(|task| task.state.is_terminal()) && executor.held.is_empty();
        if exits && idle && executor.state == ExecutorState::Running {
            self.executor_exited(key, 0);
        }
    }

    pub(super) fn kill_script(&mut self, key: &Key, task: &Arc<str>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let Some(known) = executor.tasks.get_mut(task) else { return };
        let Some(on_kill) = known.script.as_ref().map(|script| script.on_kill) else { return };
        if std::mem::replace(&mut known.killed, true) && on_kill != OnKill::Ignored {
            return;
        }
        match on_kill {
            OnKill::Killed(after_ms) => self.plan(key, task, after_ms, Step::Killed),
            OnKill::KillingThenKilled(after_ms) => {
                self.scripted_update(key, task, TaskState::Killing, None);
                self.plan(key, task, after_ms, Step::Killed);
            }
            OnKill::Finishes(after_ms) => self.plan(key, task, after_ms, Step::FinishedByKill),
            OnKill::Ignored => {}
        }
    }

    /// A script is told to shut down: it kills its tasks and exits, unless it ignores kills.
    pub(super) fn shutdown_script(&mut self, key: &Key) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let live = executor.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        let live: Vec<(Arc<str>, bool)> = live
            .map(|(id, task)| {
                let ignores = task.script.as_ref().is_some_and(|script| script.on_kill == OnKill::Ignored);
                (Arc::clone(id), ignores)
            })
            .collect();
        if live.iter().any(|(_, ignores)| *ignores) {
            return;
        }
        for (task, _) in live {
            self.scripted_update(key, &task, TaskState::Killed, Some("Executor was shut down".into()));
        }
        self.executor_exited(key, 0);
    }
}
