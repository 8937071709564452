//! Runs of tasks: finding supervisors for them, hearing how they go, and what happens when a supervisor ends.

use std::os::fd::OwnedFd;
use std::path::Path;

use checkpoint::channel::Channel;
use checkpoint::layout::RunDirectory;
use checkpoint::protocol::{
    Kill, Launch, LaunchRefused, SlotReady, SlotSpecification, SlotStatus, ToLauncherBody, ToSlot, ToSlotBody,
};
use checkpoint::record::{StatusReason, StatusState};
use checkpoint::replay::RunState;
use model::TaskId;

use super::{Worker, add_to_epoll, monotonic_ms, update_interest};
use crate::slots::SlotKey;
use crate::tasks::{Phase, Waiting};

/// How often a task is given to another supervisor because one ended before it began.
const ATTEMPTS_MAX: u32 = 3;
/// How long a supervisor may keep the first statuses of a task to itself while other tasks wait, milliseconds.
const STATUS_DELAY_MS: u64 = 25;

impl Worker {
    /// Gives a waiting task to an idle supervisor, or lets it wait for one.
    pub(super) fn place(&mut self, key: &SlotKey, task_id: &TaskId) {
        match self.slots.occupy(key, task_id) {
            Some(slot_id) => self.give(slot_id, task_id),
            None => self.slots.enqueue(key, task_id),
        }
    }

    /// Asks the launcher for the slots that tasks wait for.
    pub(super) fn order_slots(&mut self, now_ms: u64) {
        if self.connection.channel.is_none() {
            return;
        }
        for (key, missing) in self.slots.missing(now_ms, crate::machine::is_busy) {
            for _ in 0..missing {
                self.next_slot_id += 1;
                let slot_id = self.next_slot_id;
                self.slots.order(slot_id, key.clone());
                self.connection.send(ToLauncherBody::CreateSlot(SlotSpecification {
                    slot_id,
                    user: key.user.clone(),
                    memory_limit_bytes: key.memory_limit_bytes,
                    cpu_milli: key.cpu_milli,
                    tasks_max: self.options.tasks_per_slot,
                    idle_ms_max: u64::try_from(self.options.slot_idle.as_millis()).unwrap_or(u64::MAX),
                    cpu_quota: self.options.cpu_quota,
                }));
            }
        }
        if let Some(channel) = &self.connection.channel {
            update_interest(&self.epoll, channel, super::TOKEN_LAUNCHER);
        }
    }

    fn give(&mut self, slot_id: u64, task_id: &TaskId) {
        let Some(task) = self.tasks.by_id.get_mut(task_id) else { return };
        let Phase::Waiting(waiting) = std::mem::replace(&mut task.phase, Phase::Awaited) else { return };
        if !self.knows_containers && (waiting.launch.containers.is_some() || !waiting.launch.files.is_empty()) {
            let message = "The launcher of this machine's tasks is of an older version, which knows no containers and fetches no \
                           files. It is replaced once the daemon is stopped and no task runs.";
            self.slots.set_idle(slot_id);
            return self.end_without_run(task_id, StatusState::Failed, StatusReason::LaunchFailed, message.to_owned());
        }
        // While others wait, the machine has better to do than to say at once that a task runs that may be over in a moment.
        let status_delay_ms = if self.slots.has_waiting() { STATUS_DELAY_MS } else { 0 };
        let launch = Launch { status_delay_ms, ..waiting.launch.clone() };
        task.phase = Phase::Given(slot_id, waiting);
        let message = ToSlot { body: Some(ToSlotBody::Launch(launch)) };
        self.send_to_slot(slot_id, &message);
    }

    pub(super) fn send_kill(&mut self, slot_id: u64, task_id: &TaskId) {
        let grace_ms = u64::try_from(self.options.kill_grace.as_millis()).unwrap_or(u64::MAX);
        let kill = Kill { task_id: task_id.as_str().to_owned(), grace_ms, ..Kill::default() };
        self.send_to_slot(slot_id, &ToSlot { body: Some(ToSlotBody::Kill(kill)) });
    }

    fn send_to_slot(&mut self, slot_id: u64, message: &ToSlot) {
        if let Some(channel) = self.channels.get_mut(&slot_id) {
            channel.send(message, None);
            update_interest(&self.epoll, channel, slot_id);
        }
    }

    /// A slot exists and this engine may use it.
    pub(super) fn on_slot_ready(&mut self, ready: &SlotReady, descriptor: Option<OwnedFd>) {
        let (Some(specification), Some(descriptor)) = (&ready.specification, descriptor) else { return };
        let slot_id = specification.slot_id;
        if self.channels.contains_key(&slot_id) {
            // A new launcher has met a supervisor that this engine never lost: both ends keep the channel they have.
            return;
        }
        let channel = match Channel::new(descriptor).and_then(|channel| {
            add_to_epoll(&self.epoll, &channel, slot_id)?;
            Ok(channel)
        }) {
            Ok(channel) => channel,
            Err(error) => return tracing::error!("slot {slot_id} cannot be used: {error}"),
        };
        self.channels.insert(slot_id, channel);
        let task_id = task_of(&ready.run_directory);
        self.slots.add(slot_id, SlotKey::from(specification), task_id.clone());
        match task_id {
            Some(task_id) => self.on_adopted(slot_id, &task_id),
            None => {
                self.on_idle(slot_id);
            }
        }
    }

    /// The supervisor of a task is (again) within reach.
    fn on_adopted(&mut self, slot_id: u64, task_id: &TaskId) {
        let Some(task) = self.tasks.by_id.get_mut(task_id) else { return };
        if !matches!(task.phase, Phase::Over) {
            task.phase = Phase::Begun(slot_id);
        }
        let kill_wanted = task.kill_wanted;
        self.reread(task_id);
        if kill_wanted {
            self.send_kill(slot_id, task_id);
        }
    }

    pub(super) fn on_slot_failed(&mut self, slot_id: u64, reason: &str) {
        let Some(key) = self.slots.order_failed(slot_id) else { return };
        if let Some(task_id) = self.slots.next_waiting(&key) {
            let message = format!("Task could not be started: {reason}.");
            self.end_without_run(&task_id, StatusState::Failed, StatusReason::LaunchFailed, message);
        }
    }

    /// There has been no launcher for too long.
    pub(super) fn fail_waiting(&mut self) {
        let waiting = self.tasks.by_id.iter().filter_map(|(task_id, task)| match &task.phase {
            Phase::Waiting(waiting) => Some((task_id.clone(), waiting.key.clone())),
            _ => None,
        });
        for (task_id, key) in waiting.collect::<Vec<_>>() {
            self.slots.forget_waiting(&key, &task_id);
            let message = format!("Task could not be started: {}.", self.connection.last_error);
            self.end_without_run(&task_id, StatusState::Failed, StatusReason::LaunchFailed, message);
        }
    }

    /// A slot may run another task. Returns the key for which it does.
    pub(super) fn on_idle(&mut self, slot_id: u64) -> Option<SlotKey> {
        let key = self.slots.key(slot_id).cloned()?;
        self.slots.set_idle(slot_id);
        let task_id = self.slots.next_waiting(&key)?;
        let slot_id = self.slots.occupy(&key, &task_id)?;
        self.give(slot_id, &task_id);
        Some(key)
    }

    pub(super) fn on_status(&mut self, slot_id: u64, status: SlotStatus) {
        let task_id = TaskId(status.task_id.into());
        if let Some(task) = self.tasks.by_id.get_mut(&task_id)
            && matches!(task.phase, Phase::Given(..) | Phase::Awaited)
        {
            task.phase = Phase::Begun(slot_id);
        }
        for record in status.statuses {
            self.learn(&task_id, record);
        }
        if status.idle
            && let Some(key) = self.on_idle(slot_id)
        {
            self.slots.succeeded(&key, monotonic_ms());
        }
    }

    pub(super) fn on_refused(&mut self, slot_id: u64, refused: LaunchRefused) {
        let task_id = TaskId(refused.task_id.into());
        let Some(task) = self.tasks.by_id.get_mut(&task_id) else { return };
        if !matches!(task.phase, Phase::Given(given_to, _) if given_to == slot_id) {
            return;
        }
        let Phase::Given(_, waiting) = std::mem::replace(&mut task.phase, Phase::Awaited) else { return };
        if refused.already_started {
            self.reread(&task_id);
            self.on_idle(slot_id);
            return;
        }
        self.slots.retire(slot_id);
        self.try_again(&task_id, *waiting, &refused.reason);
    }

    fn try_again(&mut self, task_id: &TaskId, mut waiting: Waiting, reason: &str) {
        waiting.attempts += 1;
        let Some(task) = self.tasks.by_id.get_mut(task_id) else { return };
        if task.kill_wanted {
            let message = "Task killed before it was started.".to_owned();
            return self.end_without_run(task_id, StatusState::Killed, StatusReason::Unspecified, message);
        }
        if waiting.attempts >= ATTEMPTS_MAX {
            let message = format!("Task could not be started: {reason}.");
            return self.end_without_run(task_id, StatusState::Failed, StatusReason::LaunchFailed, message);
        }
        let key = waiting.key.clone();
        task.phase = Phase::Waiting(Box::new(waiting));
        self.place(&key, task_id);
    }

    /// A supervisor is gone, and if it ran a task the checkpoint is complete.
    pub(super) fn on_slot_ended(&mut self, slot_id: u64, run_directory: &str) {
        // Its last words may still be in the channel.
        self.on_slot(slot_id);
        self.channels.remove(&slot_id);
        let task_id = self.slots.remove(slot_id).or_else(|| task_of(run_directory));
        if let Some(task_id) = task_id {
            self.settle(&task_id);
        }
    }

    /// Finds out what became of a task whose supervisor is gone. The supervisor must be known to be dead.
    pub(super) fn settle(&mut self, task_id: &TaskId) {
        self.reread(task_id);
        let Some(task) = self.tasks.by_id.get_mut(task_id).filter(|task| !task.is_over()) else { return };
        let begun = self.directory.run(&self.agents[task.agent].id, task_id.as_str()).root().exists();
        match std::mem::replace(&mut task.phase, Phase::Awaited) {
            Phase::Given(_, waiting) if !begun => {
                self.try_again(task_id, *waiting, "its supervisor ended before it began");
            }
            Phase::Waiting(waiting) => task.phase = Phase::Waiting(waiting),
            _ => {
                let message = "Task lost: its supervisor ended while starting it.".to_owned();
                self.end_without_run(task_id, StatusState::Lost, StatusReason::SupervisorTerminated, message);
            }
        }
    }

    /// Takes in what the checkpoint of a task says.
    pub(super) fn reread(&mut self, task_id: &TaskId) {
        let Some(task) = self.tasks.by_id.get(task_id) else { return };
        let path = self.directory.run(&self.agents[task.agent].id, task_id.as_str()).checkpoint();
        // Without a readable checkpoint nothing is known; the caller decides what that means.
        let Ok(state) = RunState::load(&path) else { return };
        for status in state.statuses {
            self.learn(task_id, status);
        }
    }
}

/// The task whose run directory this is.
fn task_of(run_directory: &str) -> Option<TaskId> {
    let run = RunDirectory::new(run_directory);
    let name = Path::new(run.root()).file_name()?.to_str()?;
    (!name.is_empty()).then(|| TaskId(name.into()))
}
