//! Tasks of which nothing is heard, and tasks that were given up without the engine's last word (spec mesos 3.6, 3.7).
//!
//! **Silence.** A launch, a kill, or what followed it may be lost on its way. So a task that stays in a passing status, or never gets
//! from STARTING to RUNNING, is asked about long before its time is over: if the engine has never heard of it, it is replaced then.
//!
//! **Given up.** A task that is LOST may run all the same: on an agent out of reach, or because the order to kill it was lost. Its
//! replacement runs as well. When its agent is heard of again, at each new connection, when a new leader's time to learn is over, and
//! now and then in between, such tasks are asked about; one that runs is killed. The engine's last word ends it. One that is being
//! killed is killed again when its agent is heard of again: the order may have found it out of reach.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use engine::{AgentId, Call, Reason, StatusUpdate, TaskState};
use model::{TaskId, TaskStatus};

use crate::core::{Core, ms};
use crate::task::Task;
use crate::timers::{Timer, TimerKey};

/// The wait between two questions about tasks given up doubles up to this many times the first one.
const WAIT_GROWTH_MAX: u64 = 16;

/// What is to be asked, and about what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silence {
    /// To be asked about in the next batch, besides those of the walk.
    soon: VecDeque<TaskId>,
    given_up: BTreeMap<Arc<str>, GivenUp>,
    /// The last batch was one of these: the walk over all tasks goes next, if there is one.
    pub(crate) had_turn: bool,
    /// Asks about all given up.
    timer: Option<TimerKey>,
    wait_ms: u64,
}

impl Silence {
    /// Whether nobody is to be asked about soon.
    pub(crate) fn is_empty(&self) -> bool {
        self.soon.is_empty()
    }
}

/// What an agent may still run and should not.
#[derive(Clone, Debug, Default)]
struct GivenUp {
    /// LOST, or being killed.
    tasks: BTreeSet<TaskId>,
    /// When its tasks were asked about because it was heard of.
    asked_ms: Option<u64>,
}

impl Core {
    /// How long a task may be silent in its present status before it is asked about; `None` where silence means nothing, or where the
    /// end of its time comes first.
    pub(crate) fn silence_ms(&self, status: TaskStatus) -> Option<u64> {
        let wait_ms = ms(self.settings.silent_task_question_delay).max(1);
        match status {
            TaskStatus::Starting => Some(wait_ms),
            // Its kill is repeated anyway.
            TaskStatus::Killing => None,
            _ if status.is_transient() => (wait_ms < ms(self.settings.transient_task_state_timeout)).then_some(wait_ms),
            _ => None,
        }
    }

    /// Nothing was heard of a task for long: it is asked about. Whether it is still in that status.
    pub(crate) fn ask_about_silent(&mut self, id: &TaskId, status: TaskStatus) -> Option<Arc<Task>> {
        let task = self.store.view.tasks.get(id).filter(|task| task.status == status).cloned()?;
        if self.store.view.registered {
            self.count("silent_tasks_asked", 1);
            self.reconciliation.silence.soon.push_back(id.clone());
        }
        Some(task)
    }

    /// A task ended without anybody having seen it end.
    pub(crate) fn give_up(&mut self, task: &Task) {
        let Some(agent) = task.agent_id.clone() else { return };
        self.reconciliation.silence.given_up.entry(agent).or_default().tasks.insert(task.id.clone());
        self.reconciliation.silence.wait_ms = 0;
        self.arm_given_up();
    }

    /// A task is being killed, and may be out of reach.
    pub(crate) fn await_end(&mut self, task: &Task) {
        let Some(agent) = task.agent_id.clone() else { return };
        let now_ms = self.now.monotonic_ms;
        let of_agent = self.reconciliation.silence.given_up.entry(agent).or_default();
        of_agent.tasks.insert(task.id.clone());
        // Offers that come while it is killed are no sign of a return.
        of_agent.asked_ms = Some(now_ms);
    }

    /// A task is given up no longer: it is known to have ended, or forgotten.
    pub(crate) fn lay_to_rest(&mut self, task: &Task) {
        let Some(agent) = task.agent_id.as_ref() else { return };
        let given_up = &mut self.reconciliation.silence.given_up;
        if let Some(of_agent) = given_up.get_mut(agent) {
            of_agent.tasks.remove(&task.id);
            if of_agent.tasks.is_empty() {
                given_up.remove(agent);
            }
        }
    }

    /// Whether an answer says nothing new: that a task which has ended here is out of reach.
    pub(crate) fn is_old_news(&self, update: &StatusUpdate) -> bool {
        let task = self.store.view.tasks.get(&update.task_id);
        update.reason == Some(Reason::Reconciliation)
            && update.token.is_none()
            && update.state == TaskState::Unreachable
            && task.is_some_and(|task| task.status.is_terminal())
    }

    /// Looks whether the engine has said its last word about a task: that it ended, and not only that its agent is gone, which may
    /// come back. What a new leader answers is no last word either, nor is what comes soon after a task was given up: it may have been
    /// said before that.
    pub(crate) fn note_last_word(&mut self, update: &StatusUpdate) {
        let is_answer = update.reason == Some(Reason::Reconciliation) && update.token.is_none();
        let guesses = is_answer && (self.is_leader_new() || self.ended_lately(&update.task_id));
        if !update.state.is_terminal() || update.reason == Some(Reason::AgentRemoved) || guesses {
            return;
        }
        let task = self.store.view.tasks.get(&update.task_id);
        if let Some(task) = task.filter(|task| task.status.is_terminal()).cloned() {
            self.lay_to_rest(&task);
        }
    }

    /// Whether a task ended not longer ago than messages may take.
    fn ended_lately(&self, id: &TaskId) -> bool {
        let whole_ms = ms(self.settings.transient_task_state_timeout);
        self.store.view.tasks.get(id).is_some_and(|task| self.remaining_ms(task.last_event_ms(), whole_ms) > 0)
    }

    fn arm_given_up(&mut self) {
        let first_ms = ms(self.settings.silent_task_question_delay).max(1);
        let silence = &mut self.reconciliation.silence;
        if silence.wait_ms == 0
            && let Some(timer) = silence.timer.take()
        {
            self.timers.cancel(timer);
        }
        if silence.timer.is_some() || silence.given_up.is_empty() {
            return;
        }
        let next_ms = silence.wait_ms.saturating_mul(2).clamp(first_ms, first_ms.saturating_mul(WAIT_GROWTH_MAX));
        silence.wait_ms = next_ms;
        let timer = self.arm_after(next_ms, Timer::AskGivenUp);
        self.reconciliation.silence.timer = Some(timer);
    }

    /// It is time to ask about all that were given up.
    pub(crate) fn ask_given_up_on_schedule(&mut self) {
        self.reconciliation.silence.timer = None;
        if self.store.view.registered {
            self.ask_about_given_up();
        }
        self.arm_given_up();
    }

    /// All that were given up are asked about. Those being killed have a rhythm of their own.
    pub(crate) fn ask_about_given_up(&mut self) {
        let silence = &mut self.reconciliation.silence;
        let tasks = &self.store.view.tasks;
        let is_lost = |id: &&TaskId| tasks.get(*id).is_some_and(|task| task.status == TaskStatus::Lost);
        let lost = silence.given_up.values().flat_map(|of_agent| of_agent.tasks.iter().filter(is_lost).cloned());
        silence.soon.extend(lost);
    }

    /// An agent is heard of: what was given up on it is asked about, and what is being killed is killed again, unless that was done
    /// just before.
    pub(crate) fn agent_is_heard(&mut self, agent: &str) {
        let Some(of_agent) = self.reconciliation.silence.given_up.get_mut(agent) else { return };
        let wait_ms = ms(self.settings.silent_task_question_delay);
        let now_ms = self.now.monotonic_ms;
        if of_agent.asked_ms.is_some_and(|asked_ms| now_ms < asked_ms.saturating_add(wait_ms)) {
            return;
        }
        of_agent.asked_ms = Some(now_ms);
        let tasks = &self.store.view.tasks;
        let is_killing = |id: &TaskId| tasks.get(id).is_some_and(|task| task.status == TaskStatus::Killing);
        let (killing, lost): (Vec<TaskId>, Vec<TaskId>) = of_agent.tasks.iter().cloned().partition(is_killing);
        self.reconciliation.silence.soon.extend(lost);
        killing.iter().for_each(|id| self.kill(id));
    }

    /// A new connection, or none: what was asked is not answered any more. All is asked anew.
    pub(crate) fn silence_at_connection(&mut self) {
        let silence = &mut self.reconciliation.silence;
        silence.soon.clear();
        silence.wait_ms = 0;
        silence.given_up.values_mut().for_each(|of_agent| of_agent.asked_ms = None);
        self.arm_given_up();
    }

    /// What is given up is LOST or being killed, and stored. For tests and simulations.
    pub(crate) fn verify_given_up(&self) -> Result<(), String> {
        let given_up = self.reconciliation.silence.given_up.iter();
        for (agent, id) in given_up.flat_map(|(agent, of_agent)| of_agent.tasks.iter().map(move |id| (agent, id))) {
            let task = self.store.view.tasks.get(id);
            let placed = |task: &&Arc<Task>| task.agent_id.as_ref() == Some(agent);
            let status = task.filter(placed).map(|task| task.status);
            if !matches!(status, Some(TaskStatus::Lost | TaskStatus::Killing)) {
                return Err(format!("{id} counts as given up on {agent}, and is {status:?} there"));
            }
        }
        let killing = self.store.view.tasks.values().filter(|task| task.status == TaskStatus::Killing);
        for task in killing {
            let Some(agent) = &task.agent_id else { continue };
            let of_agent = self.reconciliation.silence.given_up.get(agent);
            if !of_agent.is_some_and(|of_agent| of_agent.tasks.contains(&task.id)) {
                return Err(format!("{} is being killed, and its agent's return would not be noticed", task.id));
            }
        }
        Ok(())
    }

    /// Asks about the next of those that are not left to the walk; by turns with it, so that neither waits for a long queue of the
    /// other. `None` when there are none or it is not their turn, else whether the batch was full.
    pub(crate) fn ask_soon(&mut self, size: usize) -> Option<bool> {
        let silence = &self.reconciliation.silence;
        if silence.soon.is_empty() || (silence.had_turn && self.reconciliation.is_walking()) {
            return None;
        }
        self.reconciliation.silence.had_turn = true;
        let mut asked: Vec<(TaskId, Option<AgentId>)> = Vec::new();
        while asked.len() < size
            && let Some(id) = self.reconciliation.silence.soon.pop_front()
        {
            self.work += 1;
            // It may have ended, or been forgotten, meanwhile.
            let task = self.store.view.tasks.get(&id);
            if let Some(task) = task.filter(|task| task.status.is_assigned() || task.status == TaskStatus::Lost) {
                asked.push((id, task.agent_id.as_deref().map(str::to_owned)));
            }
        }
        let full = asked.len() == size;
        if !asked.is_empty() {
            self.call(Call::Reconcile { tasks: asked });
        }
        Some(full)
    }
}
