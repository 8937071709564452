//! What the scheduler asks for.

use std::collections::BTreeMap;

use checkpoint::protocol;
use checkpoint::record::{StatusReason, StatusRecord, StatusState};
use engine::{AgentId, Call, Event, Launch, OfferId, Reason, StatusToken, StatusUpdate, TaskState};
use model::{JobKey, TaskId};
use prost::Message;

use super::containers::{Machine, manner};
use super::{Worker, monotonic_ms, wall_ms};
use crate::Announcing;
use crate::agents::Holding;
use crate::lock;
use crate::slots::SlotKey;
use crate::tasks::{EngineData, Phase, Task, Waiting, state_of, update};

const MIB: u64 = 1 << 20;

impl Worker {
    /// Takes all calls that wait. Those of a lower epoch than one that was seen are refused.
    pub(super) fn take_calls(&mut self) {
        loop {
            let next = lock(&self.bell.calls).pop_front();
            let Some((epoch, calls)) = next else { return };
            if epoch < self.scheduler_epoch {
                tracing::warn!("calls of epoch {epoch} are refused: epoch {} is here", self.scheduler_epoch);
                continue;
            }
            self.scheduler_epoch = epoch;
            for call in calls {
                self.take_call(call);
            }
        }
    }

    fn take_call(&mut self, call: Call) {
        match call {
            Call::Accept { offers, launches } => self.accept(&offers, launches),
            Call::Decline { offers, refuse_ms } => self.decline(&offers, refuse_ms),
            Call::Kill { task_id, agent_id } => self.kill(&task_id, agent_id),
            Call::Acknowledge { task_id, token, .. } => self.acknowledge(&task_id, &token),
            Call::Reconcile { tasks } => self.reconcile(tasks),
            Call::Revive => {
                self.suppressed = false;
                self.agents.iter_mut().for_each(crate::agents::Agent::revive);
            }
            Call::Suppress => self.suppressed = true,
            // This machine asks nothing back.
            Call::AcceptInverseOffers { .. } => {}
        }
    }

    fn decline(&mut self, offers: &[OfferId], refuse_ms: i64) {
        let until_ms = monotonic_ms() + u64::try_from(refuse_ms).unwrap_or(0);
        for agent in &mut self.agents {
            let mut any = false;
            for offer in offers {
                any |= agent.take_offer(offer);
            }
            if any {
                agent.refuse_until(until_ms);
            }
        }
    }

    fn accept(&mut self, offers: &[OfferId], launches: Vec<Launch>) {
        let index = self.agents.iter().position(|agent| offers.iter().any(|offer| agent.has_offer(offer)));
        // All or nothing: a launch counted on the sum of the offers.
        let valid = index.is_some_and(|index| offers.iter().all(|offer| self.agents[index].has_offer(offer)));
        if let Some(agent) = index.map(|index| &mut self.agents[index]) {
            for offer in offers {
                agent.take_offer(offer);
            }
            agent.revive();
        }
        for launch in launches {
            if self.tasks.by_id.contains_key(&launch.task_id) {
                // Asked for before: a name is started once.
                continue;
            }
            match index.filter(|_| valid) {
                Some(index) => self.launch(index, launch),
                None => {
                    self.answer_lost(&launch.task_id, Reason::InvalidOffer, "The offer was not valid any more.", None)
                }
            }
        }
    }

    fn launch(&mut self, index: usize, launch: Launch) {
        let holding = Holding::of(&launch);
        if !self.agents[index].hold(&holding) {
            let agent_id = Some(self.agents[index].id.clone());
            let message = "The offers that were accepted do not hold what the task needs.";
            return self.answer_lost(&launch.task_id, Reason::InvalidOffer, message, agent_id);
        }
        let task_id = launch.task_id.clone();
        let mut task = Task::new(index, Phase::Over, Some(holding.clone()));
        match self.prepare(index, &launch, &holding) {
            Ok(waiting) => {
                let key = waiting.key.clone();
                task.phase = Phase::Waiting(Box::new(waiting));
                self.tasks.by_id.insert(task_id.clone(), task);
                self.place(&key, &task_id);
            }
            Err(message) => {
                self.tasks.by_id.insert(task_id.clone(), task);
                self.end_without_run(&task_id, StatusState::Failed, StatusReason::LaunchFailed, message);
            }
        }
    }

    /// What is sent to a supervisor. An error is the reason why this engine cannot run such a task.
    fn prepare(&self, index: usize, launch: &Launch, holding: &Holding) -> Result<Waiting, String> {
        let config = &*launch.config;
        let machine = Machine {
            directory: self.directory.root(),
            docker_host: &self.options.docker_host,
            cpu_quota: self.options.cpu_quota,
        };
        let manner = manner(launch, &machine)?;
        if manner.containers.is_some() {
            self.note_containers()?;
        }
        let agent = &self.agents[index];
        let run = self.directory.run(&agent.id, launch.task_id.as_str());
        if !checkpoint::layout::is_safe_segment(launch.task_id.as_str()) {
            return Err(format!("task id {:?} cannot be a file name", launch.task_id.as_str()));
        }
        let mib = |amount: i64| u64::try_from(amount).unwrap_or(0) * MIB;
        let key = SlotKey {
            user: if self.root { config.job.role.clone() } else { String::new() },
            memory_limit_bytes: mib(launch.resources.ram_mb),
            cpu_milli: u64::try_from(launch.resources.cpu.0).unwrap_or(0),
        };
        let ports: BTreeMap<String, u32> =
            launch.ports.iter().map(|(name, port)| (name.clone(), u32::from(*port))).collect();
        let launch = protocol::Launch {
            task_id: launch.task_id.as_str().to_owned(),
            agent_id: agent.id.clone(),
            run_directory: run.root().to_string_lossy().into_owned(),
            hostname: agent.hostname.clone(),
            instance: launch.instance,
            ports,
            payload: manner.payload.into_bytes(),
            files: manner.files,
            containers: manner.containers,
            engine_data: EngineData::from(holding).encode_to_vec(),
            memory_bytes: mib(config.resources.ram_mb),
            disk_bytes: mib(config.resources.disk_mb),
            role: config.job.role.clone(),
            disk_interval_ms: u64::try_from(self.options.disk_interval.as_millis()).unwrap_or(u64::MAX),
            announcing: self.options.announcing.as_ref().map(|announcing| announcing_of(announcing, &config.job)),
            ..protocol::Launch::default()
        };
        Ok(Waiting { launch, key, attempts: 0 })
    }

    /// Leaves word for the next launcher that tasks of this directory may have left containers. Without such tasks it never asks Docker.
    fn note_containers(&self) -> Result<(), String> {
        let path = self.directory.containers();
        if std::fs::read_to_string(&path).is_ok_and(|known| known == self.options.docker_host) {
            return Ok(());
        }
        std::fs::write(&path, &self.options.docker_host).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn kill(&mut self, task_id: &TaskId, agent_id: Option<AgentId>) {
        let Some(task) = self.tasks.by_id.get_mut(task_id) else {
            // Ended and forgotten, or never here. What the disk says of it is the truth.
            let update = self
                .remembered(task_id)
                .unwrap_or_else(|| lost(task_id, Reason::Reconciliation, "Task unknown to the agent.", agent_id));
            return self.tell(Event::Status(update));
        };
        match &task.phase {
            Phase::Waiting(waiting) => {
                let key = waiting.key.clone();
                self.slots.forget_waiting(&key, task_id);
                let message = "Task killed before it was started.".to_owned();
                self.end_without_run(task_id, StatusState::Killed, StatusReason::Unspecified, message);
            }
            Phase::Given(slot_id, _) | Phase::Begun(slot_id) => {
                let slot_id = *slot_id;
                task.kill_wanted = true;
                self.send_kill(slot_id, task_id);
            }
            Phase::Awaited => task.kill_wanted = true,
            Phase::Over => {
                let agent_id = self.agents[task.agent].id.clone();
                if let Some(status) = task.last().cloned() {
                    self.tell(Event::Status(update(task_id, &agent_id, &status)));
                }
            }
        }
    }

    fn acknowledge(&mut self, task_id: &TaskId, token: &StatusToken) {
        let Some(task) = self.tasks.by_id.get_mut(task_id) else { return };
        if !task.acknowledge(token) {
            return;
        }
        let agent_id = self.agents[task.agent].id.clone();
        self.tasks.by_id.remove(task_id);
        self.acknowledged.extend_from_slice(task_id.as_str().as_bytes());
        self.acknowledged.push(b'\n');
        self.ended.push(self.directory.run(&agent_id, task_id.as_str()).root().to_owned());
    }

    fn reconcile(&mut self, tasks: Vec<(TaskId, Option<AgentId>)>) {
        let asked = if tasks.is_empty() {
            self.tasks.by_id.keys().map(|task_id| (task_id.clone(), None)).collect()
        } else {
            tasks
        };
        for (task_id, agent_id) in asked {
            let update = match self.tasks.by_id.get(&task_id) {
                Some(task) => StatusUpdate {
                    task_id: task_id.clone(),
                    state: task.last().map_or(TaskState::Starting, |last| state_of(last.state())),
                    reason: Some(Reason::Reconciliation),
                    message: task.last().map(|last| last.message.clone()).filter(|message| !message.is_empty()),
                    timestamp_ms: task.last().map(|last| last.timestamp_ms),
                    agent_id: Some(self.agents[task.agent].id.clone()),
                    token: None,
                },
                None => self
                    .remembered(&task_id)
                    .unwrap_or_else(|| lost(&task_id, Reason::Reconciliation, "Task unknown to the agent.", agent_id)),
            };
            self.tell(Event::Status(update));
        }
    }

    /// The end of a task that was acknowledged and forgotten, as its checkpoint tells it.
    fn remembered(&self, task_id: &TaskId) -> Option<StatusUpdate> {
        if !checkpoint::layout::is_safe_segment(task_id.as_str()) {
            return None;
        }
        self.agents.iter().find_map(|agent| {
            let path = self.directory.run(&agent.id, task_id.as_str()).checkpoint();
            let state = checkpoint::replay::RunState::load(&path).ok()?;
            let last = state.last_status().filter(|last| last.state().is_terminal())?;
            Some(StatusUpdate { reason: Some(Reason::Reconciliation), token: None, ..update(task_id, &agent.id, last) })
        })
    }

    /// Ends a task for which no run exists and none will.
    pub(super) fn end_without_run(
        &mut self,
        task_id: &TaskId,
        state: StatusState,
        reason: StatusReason,
        message: String,
    ) {
        let status = Task::own_status(state, reason, message, wall_ms());
        self.learn(task_id, status);
    }

    /// Takes in a status of a task and tells it, if it is new.
    pub(super) fn learn(&mut self, task_id: &TaskId, status: StatusRecord) {
        let Some(task) = self.tasks.by_id.get_mut(task_id) else { return };
        if !task.learn(status.clone(), monotonic_ms()) {
            return;
        }
        let agent = &mut self.agents[task.agent];
        if status.state().is_terminal() {
            task.phase = Phase::Over;
            if let Some(holding) = task.holding.take() {
                agent.release(&holding);
            }
        }
        let update = update(task_id, &agent.id, &status);
        self.tell(Event::Status(update));
    }

    pub(super) fn resend(&mut self, now_ms: u64) {
        let interval_ms = u64::try_from(self.options.resend_interval.as_millis()).unwrap_or(u64::MAX);
        let Some(told_before_ms) = now_ms.checked_sub(interval_ms) else { return };
        let mut again = Vec::new();
        for (task_id, task) in &mut self.tasks.by_id {
            if task.waits_for_acknowledgement() {
                let agent_id = &self.agents[task.agent].id;
                let overdue = task.overdue(told_before_ms, now_ms);
                again.extend(overdue.iter().map(|status| update(task_id, agent_id, status)));
            }
        }
        for update in again {
            self.tell(Event::Status(update));
        }
    }

    fn answer_lost(&mut self, task_id: &TaskId, reason: Reason, message: &str, agent_id: Option<AgentId>) {
        let update = lost(task_id, reason, message, agent_id);
        self.tell(Event::Status(update));
    }
}

/// A status of a task that this engine does not have; there is nothing to be acknowledged.
fn lost(task_id: &TaskId, reason: Reason, message: &str, agent_id: Option<AgentId>) -> StatusUpdate {
    StatusUpdate {
        task_id: task_id.clone(),
        state: TaskState::Lost,
        reason: Some(reason),
        message: Some(message.to_owned()),
        timestamp_ms: Some(wall_ms()),
        agent_id,
        token: None,
    }
}

/// Where a task of this job is announced if it asks for it (spec executor 2.10).
fn announcing_of(announcing: &Announcing, job: &JobKey) -> protocol::Announcing {
    protocol::Announcing {
        ensemble: announcing.ensemble.clone(),
        path: format!("{}/{}/{}/{}", announcing.root.trim_end_matches('/'), job.role, job.environment, job.name),
        allow_custom_path: announcing.allow_custom_path,
        hostname: announcing.hostname.clone().unwrap_or_default(),
        auth_file: announcing.auth_file.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        session_timeout_ms: u64::try_from(announcing.session_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}
