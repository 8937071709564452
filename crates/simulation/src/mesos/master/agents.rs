//! Agents as their master sees them: registration, lost connections, partitions, removal, return (spec mesos 3.7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesos::v1::{TaskState, TimeInfo, task_status::Reason};

use super::super::messages::from_wire;
use super::super::protocol::{Registration, ReportedTask, ToAgent};
use super::framework::Task;
use super::{AgentRecord, Effect, ExecutorRecord, Framework, Master, Timer, framework_id};

impl Master {
    /// An agent registers, for the first time or again. `index` is where messages for it go.
    pub fn register(&mut self, index: usize, registration: Registration) {
        let description = &registration.description;
        let banned = registration.agent_id.as_ref().is_some_and(|id| self.registry.gone.contains(id));
        if banned || self.is_down(&description.hostname, &description.ip) {
            self.out.push(Effect::Agent { index, message: ToAgent::Shutdown });
            return;
        }
        let id = match &registration.agent_id {
            Some(id) => Arc::clone(id),
            None => {
                let id: Arc<str> = format!("{}-S{}", self.id, self.next_agent).into();
                self.next_agent += 1;
                id
            }
        };
        let known = self.agents.contains_key(&id);
        let was_unreachable = self.registry.unreachable.remove(&id).is_some();
        self.recovered.remove(&id);
        self.registry.admitted.insert(Arc::clone(&id), (index, Arc::clone(description)));
        if !known {
            let machine = (description.hostname.to_lowercase(), description.ip.clone());
            let record = AgentRecord {
                index,
                id: Arc::clone(&id),
                description: Arc::clone(description),
                free: description.resources.clone(),
                offers: BTreeSet::new(),
                inverse_offers: BTreeSet::new(),
                tasks: BTreeSet::new(),
                executors: BTreeMap::new(),
                connected: true,
                disconnected_ms: 0,
                deactivated: false,
                unavailability: self.registry.machines.get(&machine).map(|(unavailability, _)| *unavailability),
            };
            self.agents.insert(Arc::clone(&id), record);
        }
        let record = self.agents.get_mut(&id).expect("it is there");
        record.connected = true;
        record.index = index;
        if record.description.attributes != description.attributes {
            for framework in self.frameworks.values_mut() {
                framework.filters.retain(|(_, agent), _| *agent != id);
            }
        }
        let record = self.agents.get_mut(&id).expect("it is there");
        record.description = Arc::clone(description);
        self.out.push(Effect::Agent { index, message: ToAgent::Registered { agent_id: Arc::clone(&id) } });
        self.take_over(&id, registration, was_unreachable);
        self.pending.agents.insert(id);
    }

    /// Puts the agent's account and the master's together.
    fn take_over(&mut self, id: &Arc<str>, registration: Registration, was_unreachable: bool) {
        for info in registration.frameworks {
            let framework: Arc<str> = Arc::from(framework_id(&info));
            if self.is_completed(&framework) {
                self.send_agent(id, ToAgent::ShutdownFramework { framework });
            } else {
                // Known from its tasks only; its scheduler is not here yet.
                self.frameworks.entry(framework).or_insert_with(|| Framework::new((*info).clone()));
            }
        }
        let mut running = BTreeSet::new();
        for executor in registration.executors {
            let key = (Arc::clone(&executor.framework), Arc::from(executor.info.executor_id.value.as_str()));
            running.insert(key.clone());
            if !self.frameworks.contains_key(&key.0) || self.agents[id].executors.contains_key(&key) {
                continue;
            }
            let role = allocation_role(&executor.info.resources);
            let resources = from_wire(&executor.info.resources, &role).unwrap_or_default();
            self.allocated(&key.0, &role, &resources, 1);
            let agent = self.agents.get_mut(id).expect("it registered");
            agent.free.subtract(&resources);
            agent.executors.insert(key, ExecutorRecord { info: executor.info, resources, role });
        }
        let gone: Vec<_> = self.agents[id].executors.keys().filter(|key| !running.contains(*key)).cloned().collect();
        let mut reported = BTreeSet::new();
        for task in registration.tasks {
            reported.insert((Arc::clone(&task.framework), Arc::clone(&task.id)));
            self.take_over_task(id, task, was_unreachable);
        }
        self.ask_for_missing(id, &reported);
        // Executors of launches that are still on their way stay.
        for key in gone {
            let needed = self.agents[id].tasks.iter().any(|(framework, task)| {
                let task = self.frameworks.get(framework).and_then(|framework| framework.tasks.get(task));
                *framework == key.0 && task.is_some_and(|task| task.executor.as_ref() == Some(&key.1))
            });
            if !needed {
                self.executor_exited(id, &key.0, &key.1, -1);
            }
        }
    }

    fn take_over_task(&mut self, id: &Arc<str>, reported: ReportedTask, was_unreachable: bool) {
        let Some(framework) = self.frameworks.get_mut(&reported.framework) else { return };
        let mut kill_waits = false;
        if let Some(known) = framework.tasks.get_mut(&reported.id) {
            known.healthy = reported.healthy.or(known.healthy);
            kill_waits = std::mem::take(&mut known.kill_waits);
            if !known.state.is_terminal() {
                known.state = reported.state;
            }
            if known.state.is_terminal() && !known.freed {
                known.freed = true;
                let (role, resources) = (Arc::clone(&known.role), Arc::clone(&known.resources));
                self.give_back(id, &resources);
                self.allocated(&reported.framework, &role, &resources, -1);
            }
        } else {
            if framework.unreachable.remove(&reported.id).is_some() {
                framework.unreachable_order.retain(|kept| *kept != reported.id);
            }
            let freed = reported.state.is_terminal();
            let task = Task {
                agent: Arc::clone(id),
                name: reported.name,
                executor: reported.executor,
                role: Arc::clone(&reported.role),
                resources: Arc::clone(&reported.resources),
                state: reported.state,
                told: None,
                uuid: None,
                healthy: reported.healthy,
                freed,
                kill_waits: false,
            };
            framework.tasks.insert(Arc::clone(&reported.id), task);
            let agent = self.agents.get_mut(id).expect("it registered");
            agent.tasks.insert((Arc::clone(&reported.framework), Arc::clone(&reported.id)));
            if !freed {
                agent.free.subtract(&reported.resources);
                self.allocated(&reported.framework, &reported.role, &reported.resources, 1);
            }
        }
        if was_unreachable {
            let message = "Unreachable agent re-reregistered";
            let mut status =
                self.own_status(&reported.id, Some(id), reported.state, Reason::AgentReregistered, message);
            status.executor_id = self.frameworks[&reported.framework].tasks[&reported.id]
                .executor
                .as_deref()
                .map(mesos::v1::ExecutorId::from);
            status.healthy = reported.healthy;
            self.tell_update(&reported.framework, status);
        }
        if kill_waits {
            let message = ToAgent::Kill { framework: reported.framework, task: reported.id, policy: None };
            self.send_agent(id, message);
        }
    }

    /// Tasks that the master has and the agent does not: it must say what became of them.
    fn ask_for_missing(&mut self, id: &Arc<str>, reported: &BTreeSet<(Arc<str>, Arc<str>)>) {
        let mut missing: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        for (framework, task) in self.agents[id].tasks.difference(reported) {
            let known = self.frameworks.get(framework).and_then(|framework| framework.tasks.get(task));
            if known.is_some_and(|task| !task.state.is_terminal()) {
                missing.entry(Arc::clone(framework)).or_default().push(Arc::clone(task));
            }
        }
        for (framework, tasks) in missing {
            self.send_agent(id, ToAgent::Reconcile { framework, tasks });
        }
    }

    /// The connection to an agent broke.
    pub fn agent_disconnected(&mut self, id: &Arc<str>) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.connected) else { return };
        agent.connected = false;
        agent.disconnected_ms = self.now_ms;
        let timer = Timer::AgentReregister { agent: Arc::clone(id), since: self.now_ms };
        let at_ms = self.now_ms + self.settings.agent_reregister_timeout_ms;
        self.out.push(Effect::Timer { at_ms, timer });
        self.rescind_offers_of_agent(id);
        // Tasks of frameworks without checkpoints die with the agent's process.
        let tasks: Vec<_> = self.agents[id].tasks.iter().cloned().collect();
        let mut executors = BTreeSet::new();
        for (framework, task_id) in tasks {
            let known = &self.frameworks[&framework];
            if known.info.checkpoint.unwrap_or_default() {
                continue;
            }
            let live = known.tasks.get(&task_id).is_some_and(|task| !task.state.is_terminal());
            executors.extend(
                known
                    .tasks
                    .get(&task_id)
                    .and_then(|task| task.executor.clone())
                    .map(|executor| (Arc::clone(&framework), executor)),
            );
            self.forget(&framework, &task_id);
            if live {
                let message = "Agent disconnected, and the framework has no checkpoints";
                let status = self.own_status(&task_id, Some(id), TaskState::Lost, Reason::AgentDisconnected, message);
                self.tell_update(&framework, status);
            }
        }
        for (framework, executor) in executors {
            self.executor_exited(id, &framework, &executor, -1);
        }
    }

    /// An agent did not answer pings, or did not come back: its tasks are out of sight.
    pub fn mark_unreachable(&mut self, id: &Arc<str>) {
        if !self.agents.contains_key(id) {
            return;
        }
        let wall_ms = self.wall_ms();
        self.registry.unreachable.insert(Arc::clone(id), wall_ms);
        self.registry.admitted.remove(id);
        self.remove_agent(id, Some(TaskState::Unreachable), Reason::AgentRemoved, "Agent is unreachable");
    }

    /// Takes an agent off the books. Tasks get `state`, or LOST where the framework does not know it; `None` means LOST for all.
    pub(super) fn remove_agent(&mut self, id: &Arc<str>, state: Option<TaskState>, reason: Reason, message: &str) {
        self.rescind_offers_of_agent(id);
        let Some(agent) = self.agents.remove(id) else { return };
        self.pending.agents.remove(id);
        if state.is_none() {
            self.registry.admitted.remove(id);
        }
        let mut owners: BTreeSet<Arc<str>> = BTreeSet::new();
        for (framework_id, task_id) in agent.tasks {
            owners.insert(Arc::clone(&framework_id));
            let Some(framework) = self.frameworks.get_mut(&framework_id) else { continue };
            let Some(mut task) = framework.tasks.remove(&task_id) else { continue };
            let told = state.map_or(TaskState::Lost, |state| framework.or_lost(state));
            if !task.freed {
                task.freed = true;
                let resources = Arc::clone(&task.resources);
                self.allocated(&framework_id, &task.role, &resources, -1);
            }
            if task.state.is_terminal() {
                continue;
            }
            let mut status = self.own_status(&task_id, Some(id), told, reason, message);
            status.executor_id = task.executor.as_deref().map(mesos::v1::ExecutorId::from);
            if state == Some(TaskState::Unreachable) {
                status.unreachable_time = Some(TimeInfo { nanoseconds: self.wall_ms() * 1_000_000 });
                self.keep_unreachable(&framework_id, task_id, task);
            }
            self.tell_update(&framework_id, status);
        }
        for ((framework, _), executor) in &agent.executors {
            self.allocated(framework, &executor.role, &executor.resources, -1);
        }
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|(_, agent), _| agent != id);
            framework.inverse_filters.remove(id);
        }
        self.tell_agent_failed(id);
    }

    /// FAILURE goes to every framework: each may have had something to do with the agent.
    fn tell_agent_failed(&mut self, id: &str) {
        let frameworks: Vec<Arc<str>> = self.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.tell_failure(&framework, id, None);
        }
    }

    /// The agents of the registry that never came back after the election. Nobody knows what ran there.
    pub(super) fn give_up_recovered_agents(&mut self) {
        let wall_ms = self.wall_ms();
        for id in std::mem::take(&mut self.recovered) {
            self.registry.admitted.remove(&id);
            self.registry.unreachable.insert(Arc::clone(&id), wall_ms);
            self.tell_agent_failed(&id);
        }
    }

    /// The agent says goodbye: even partition-aware frameworks are told LOST.
    pub fn unregister(&mut self, id: &Arc<str>) {
        self.remove_agent(id, None, Reason::AgentRemoved, "Agent was removed: it unregistered");
    }
}

/// The role that resources of a launch were offered for.
fn allocation_role(resources: &[mesos::v1::Resource]) -> Arc<str> {
    let roles = resources.iter().filter_map(|resource| resource.allocation_info.as_ref()?.role.as_deref());
    Arc::from(roles.into_iter().next().unwrap_or("*"))
}
