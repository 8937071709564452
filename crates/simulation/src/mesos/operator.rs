//! What operators do to a cluster: maintenance, drains, removal, teardown (spec mesos 3.8, 5).

use std::sync::Arc;

use mesos::v1::{DurationInfo, TimeInfo, Unavailability};

use super::cluster::Cluster;
use super::master::Master;

impl Cluster {
    fn operate(&mut self, operation: impl FnOnce(&mut Master)) {
        if let Some(master) = self.master() {
            operation(master);
        }
        let now_ms = self.now_ms();
        self.advance(now_ms);
    }

    fn of_agent(&mut self, index: usize, operation: impl FnOnce(&mut Master, &Arc<str>)) {
        let id = self.agent_id(index).map(Arc::from);
        self.operate(|master| {
            if let Some(id) = id {
                operation(master, &id);
            }
        });
    }

    fn machine_of(&self, index: usize) -> (String, String) {
        let description = &self.agents()[index].description;
        (description.hostname.clone(), description.ip.clone())
    }

    /// Every offer that is out is rescinded.
    pub fn rescind_all(&mut self) {
        self.operate(Master::rescind_all);
    }

    /// The machine of an agent is to be away from this simulated time on, for so long or for ever.
    pub fn schedule_maintenance(&mut self, index: usize, start_ms: u64, duration_ms: Option<u64>) {
        let (hostname, ip) = self.machine_of(index);
        let nanoseconds = |ms: i64| ms * 1_000_000;
        let start = TimeInfo { nanoseconds: nanoseconds(self.settings().epoch_ms + start_ms as i64) };
        let duration = duration_ms.map(|ms| DurationInfo { nanoseconds: nanoseconds(ms as i64) });
        self.operate(|master| master.schedule_maintenance(&hostname, &ip, Some(Unavailability { start, duration })));
    }

    /// It stays after all.
    pub fn cancel_maintenance(&mut self, index: usize) {
        let (hostname, ip) = self.machine_of(index);
        self.operate(|master| master.schedule_maintenance(&hostname, &ip, None));
    }

    /// A scheduled machine goes down.
    pub fn machine_down(&mut self, index: usize) {
        let (hostname, ip) = self.machine_of(index);
        self.operate(|master| master.machine_down(&hostname, &ip));
    }

    /// It comes up again.
    pub fn machine_up(&mut self, index: usize) {
        let (hostname, ip) = self.machine_of(index);
        self.operate(|master| master.machine_up(&hostname, &ip));
    }

    /// An agent is marked gone.
    pub fn mark_agent_gone(&mut self, index: usize) {
        self.of_agent(index, |master, id| master.mark_gone(id));
    }

    /// An agent is drained.
    pub fn drain_agent_by_operator(&mut self, index: usize, max_grace_ms: Option<u64>, mark_gone: bool) {
        self.of_agent(index, |master, id| master.drain(id, max_grace_ms, mark_gone));
    }

    /// A drained agent is used again.
    pub fn reactivate_agent(&mut self, index: usize) {
        self.of_agent(index, |master, id| master.reactivate(id));
    }

    /// A framework is removed.
    pub fn teardown(&mut self, framework: &str) {
        self.operate(|master| master.remove_framework(&Arc::from(framework)));
    }

    /// Ids of the frameworks that the leader knows, and whether they are subscribed.
    pub fn frameworks(&mut self) -> Vec<(String, bool)> {
        let Some(master) = self.master() else { return Vec::new() };
        master.frameworks.values().map(|framework| (framework.id.to_string(), framework.stream().is_some())).collect()
    }

    /// What a framework says of itself.
    pub fn framework_info(&mut self, framework: &str) -> Option<mesos::v1::FrameworkInfo> {
        Some((*self.master()?.frameworks.get(framework)?.info).clone())
    }

    /// Names of the tasks that the leader has in its books, those with unacknowledged ends among them.
    pub fn known_tasks(&mut self) -> Vec<(String, String, mesos::v1::TaskState)> {
        let Some(master) = self.master() else { return Vec::new() };
        let tasks = master.frameworks.values().flat_map(|framework| framework.tasks.iter());
        let mut known: Vec<_> = tasks.map(|(id, task)| (id.to_string(), task.name.to_string(), task.state)).collect();
        known.sort();
        known
    }
}
