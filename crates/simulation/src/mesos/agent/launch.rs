//! Launches and kills as they reach an agent (spec mesos 3.9, 3.10).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mesos::v1::{ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo, TaskState, task_status::Reason};

use super::super::master::framework_id;
use super::super::protocol::LaunchedTask;
use super::super::script::Script;
use super::{Agent, AgentTask, Effect, Executor, ExecutorState, Key, Timer};

impl Agent {
    pub(super) fn launch(
        &mut self,
        framework: &Arc<FrameworkInfo>,
        executor: Option<Arc<ExecutorInfo>>,
        tasks: Vec<LaunchedTask>,
        scripts: &dyn Fn(&TaskInfo, usize) -> Script,
    ) {
        let framework_id: Arc<str> = Arc::from(framework_id(framework));
        self.frameworks.insert(Arc::clone(&framework_id), Arc::clone(framework));
        let dropped = self.or_lost(&framework_id, TaskState::Dropped);
        for launched in tasks {
            let executor_id = match &executor {
                Some(info) => Arc::from(info.executor_id.value.as_str()),
                None => Arc::clone(&launched.id),
            };
            let key: Key = (Arc::clone(&framework_id), executor_id);
            if self.draining.is_some() {
                let message = "Agent is draining";
                self.own_update(&framework_id, &launched.id, dropped, Reason::AgentDraining, message);
                continue;
            }
            let state = self.executors.get(&key).map(|executor| executor.state);
            if matches!(state, Some(ExecutorState::Terminating | ExecutorState::Terminated)) {
                let message = "Executor is terminating or terminated";
                self.own_update(&framework_id, &launched.id, dropped, Reason::ExecutorTerminated, message);
                continue;
            }
            if self.tasks.contains_key(&(Arc::clone(&framework_id), Arc::clone(&launched.id))) {
                // The same launch twice: a name is started once.
                continue;
            }
            self.add_task(&key, launched, &executor, framework, scripts);
        }
    }

    fn add_task(
        &mut self,
        key: &Key,
        launched: LaunchedTask,
        executor: &Option<Arc<ExecutorInfo>>,
        framework: &Arc<FrameworkInfo>,
        scripts: &dyn Fn(&TaskInfo, usize) -> Script,
    ) {
        let is_process = self.runs_processes;
        let new = !self.executors.contains_key(key);
        if new {
            let container: Arc<str> = self.text_uuid().into();
            let created = Executor {
                info: executor.clone(),
                framework: Arc::clone(framework),
                state: ExecutorState::Registering,
                container,
                queued: Vec::new(),
                tasks: BTreeMap::new(),
                stream: None,
                is_process,
                pid: None,
                held: Vec::new(),
                silent: false,
                is_back: false,
                delivered: false,
                messages: Vec::new(),
            };
            self.executors.insert(key.clone(), Box::new(created));
        }
        let LaunchedTask { info, id, resources } = launched;
        self.tasks.insert((Arc::clone(&key.0), Arc::clone(&id)), Arc::clone(&key.1));
        let script = (!is_process).then(|| Box::new(scripts(&info, self.index)));
        let task = AgentTask {
            name: Arc::from(info.name.as_str()),
            resources,
            role: role_of(&info),
            state: TaskState::Staging,
            healthy: None,
            info: is_process.then(|| Arc::clone(&info)),
            script,
            updates: VecDeque::new(),
            retry_at_ms: 0,
            interval_ms: 0,
            killed: false,
        };
        let executor = self.executors.get_mut(key).expect("it was put there");
        executor.tasks.insert(Arc::clone(&id), Box::new(task));
        match (is_process, executor.state) {
            (true, ExecutorState::Running) => self.deliver(key, vec![(id, info)]),
            (true, _) => {
                executor.queued.push((id, info));
                if new {
                    let container = Arc::clone(&executor.container);
                    let timer = Timer::ExecutorRegistration { key: key.clone(), container };
                    self.timer(self.settings.executor_registration_timeout_ms, timer);
                    self.out.push(Effect::Spawn { key: key.clone() });
                }
            }
            (false, _) => {
                executor.state = ExecutorState::Running;
                executor.is_back = true;
                executor.delivered = true;
                self.begin_script(key, &id);
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        framework: &Arc<str>,
        task: &Arc<str>,
        policy: Option<KillPolicy>,
        reason: Option<Reason>,
    ) {
        let id = (Arc::clone(framework), Arc::clone(task));
        let Some(executor_id) = self.tasks.get(&id).cloned() else {
            if !self.orphans.contains_key(&id) {
                let state = self.or_lost(framework, TaskState::Dropped);
                self.own_update(framework, task, state, Reason::ExecutorTerminated, "Cannot find executor");
            }
            return;
        };
        let key = (Arc::clone(framework), executor_id);
        let Some(executor) = self.executors.get_mut(&key) else { return };
        let Some(known) = executor.tasks.get_mut(task) else { return };
        if known.state.is_terminal() {
            return;
        }
        match executor.state {
            ExecutorState::Terminating | ExecutorState::Terminated => {}
            ExecutorState::Registering => {
                let reason = reason.unwrap_or(Reason::TaskKilledDuringLaunch);
                executor.queued.retain(|(queued, _)| queued != task);
                let empty = executor.queued.is_empty() && !executor.delivered;
                self.own_update(framework, task, TaskState::Killed, reason, "Killed before delivery to the executor");
                if empty {
                    self.shutdown_executor(&key);
                }
            }
            ExecutorState::Running if executor.is_process => self.deliver_kill(&key, task, policy),
            ExecutorState::Running => self.kill_script(&key, task),
        }
    }

    /// The master asks for tasks that this agent does not have: they never arrived, or died with it.
    pub(super) fn answer_for_unknown(&mut self, framework: &Arc<str>, tasks: Vec<Arc<str>>) {
        for task in tasks {
            let id = (Arc::clone(framework), Arc::clone(&task));
            if self.tasks.contains_key(&id) || self.orphans.contains_key(&id) {
                continue;
            }
            let state = self.or_lost(framework, TaskState::Dropped);
            self.own_update(framework, &task, state, Reason::Reconciliation, "Task is unknown to the agent");
        }
    }
}

fn role_of(info: &TaskInfo) -> Arc<str> {
    let mut roles = info.resources.iter().filter_map(|resource| resource.allocation_info.as_ref()?.role.as_deref());
    Arc::from(roles.next().unwrap_or("*"))
}
