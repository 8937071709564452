//! What whoever runs the processes of executors tells the cluster about them.

use std::sync::Arc;

use mesos::v1::TaskState;

use super::agent::wire::ProcessPlan;
use super::agent::{Key, Phase};
use super::cluster::Cluster;

impl Cluster {
    fn at_agent(&mut self, index: usize, tell: impl FnOnce(&mut super::agent::Agent)) {
        tell(self.agent_mut(index));
        self.drain_agent(index);
        let now_ms = self.now_ms();
        self.advance(now_ms);
    }

    fn runs(&self, index: usize, key: &Key, container: &str) -> bool {
        let agent = &self.agents()[index];
        let same = agent.executors.get(key).is_some_and(|executor| *executor.container == *container);
        same && !matches!(agent.phase, Phase::Down | Phase::Gone)
    }

    /// What starting an executor's process needs.
    pub(super) fn process_plan(&self, index: usize, key: &Key) -> Option<ProcessPlan> {
        self.agents()[index].plan_of(key)
    }

    /// It runs.
    pub(super) fn process_started(&mut self, index: usize, key: &Key, container: &Arc<str>, pid: u32) {
        if !self.runs(index, key, container) {
            return;
        }
        let command = self.agents()[index].executors[key].info.is_none();
        self.at_agent(index, |agent| {
            agent.spawned(key, pid);
            if command {
                agent.command_update(key, TaskState::Starting, None);
                agent.command_update(key, TaskState::Running, None);
            }
        });
    }

    /// It could not be started.
    pub(super) fn process_failed(&mut self, index: usize, key: &Key, container: &Arc<str>, message: &str) {
        if self.runs(index, key, container) {
            self.at_agent(index, |agent| agent.spawn_failed(key, message));
        }
    }

    /// It ended with this raw wait status.
    pub(super) fn process_exited(&mut self, index: usize, key: &Key, container: &Arc<str>, status: i32) {
        if !self.runs(index, key, container) {
            return;
        }
        let executor = &self.agents()[index].executors[key];
        let killed = executor.tasks.get(&key.1).is_some_and(|task| task.killed);
        let command = executor.info.is_none();
        self.at_agent(index, |agent| {
            if command {
                let (state, message) = match status {
                    _ if killed => (TaskState::Killed, format!("Command terminated, wait status {status}")),
                    0 => (TaskState::Finished, "Command exited with status 0".into()),
                    status => (TaskState::Failed, describe(status)),
                };
                agent.command_update(key, state, Some(message));
            }
            agent.executor_exited(key, status);
        });
    }
}

fn describe(status: i32) -> String {
    match status & 0x7f {
        0 => format!("Command exited with status {}", status >> 8),
        signal => format!("Command terminated with signal {signal}"),
    }
}
