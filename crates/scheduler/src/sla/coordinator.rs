//! Coordinators: services of the users' own that decide whether a task may be ended (spec scheduler 5.3). The question leaves as an effect,
//! the host asks over HTTP, the answer comes back as an input. Nothing of it is durable: after a restart whoever wants something asks anew.
//!
//! One question at a time to each coordinator, and only so many to all of them: a coordinator that counts must see the effect of its yes
//! before it is asked again. What had to wait is asked when the coordinator is free, once; a refusal stands until the caller's next round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::task::SlaPolicy;
use model::{Host, InstanceId, TaskId, UpdateKey};

use crate::core::{Core, ms};
use crate::input::Effect;
use crate::scheduler::Scheduler;
use crate::task::Task;
use crate::timers::{Timer, TimerKey};

/// Key of a coordinator's answer where the policy names none.
const DEFAULT_STATUS_KEY: &str = "drain";

/// A question to a coordinator: `POST url?task=<cluster>/<role>/<env>/<name>/<instance>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorQuestion {
    /// Pairs the answer with it; unique per process.
    pub id: u64,
    /// Where.
    pub url: String,
    /// The key of the answer's JSON object whose boolean decides.
    pub status_key: String,
    /// The task that is to be ended.
    pub task: Arc<Task>,
    /// Further entries of the question's body.
    pub parameters: BTreeMap<String, String>,
}

/// What a coordinator said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorAnswer {
    /// The task may be ended.
    Allowed,
    /// It may not, now.
    Refused,
    /// It was answered with another status than 200.
    UserError(String),
    /// There was no answer, or none that could be read.
    Error(String),
}

/// What is done when a coordinator says yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The task moves away from its host, which is being drained.
    Drain(Host),
    /// The task moves away from its host, which the engine asks back.
    Leave(Host),
    /// An update replaces the instance.
    Update(UpdateKey, InstanceId),
}

/// What is known of coordinators. Memory only.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    /// By address.
    asked: BTreeMap<String, Asked>,
    /// Who waits for a coordinator that is being asked, by address.
    waiting: BTreeMap<String, VecDeque<(TaskId, SlaPolicy, Purpose)>>,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    id: u64,
    task: TaskId,
    purpose: Purpose,
    /// Gives up on it, should the host never answer.
    timer: TimerKey,
}

impl Core {
    /// Asks the coordinator that the policy names. One that is being asked already is asked again when it has answered; the same task
    /// waits there only once.
    pub(crate) fn ask_coordinator(&mut self, task: &Arc<Task>, policy: &SlaPolicy, purpose: Purpose) {
        let SlaPolicy::Coordinator { coordinator_url: url, status_key } = policy else { return };
        let asked = &self.coordinators.asked;
        if asked.get(url).is_some_and(|asked| asked.task == task.id) {
            return;
        }
        if asked.contains_key(url) || asked.len() >= self.settings.max_parallel_coordinated_maintenance.max(1) {
            self.count_for_task("sla_coordinator_lock_starvation", task);
            let waiting = self.coordinators.waiting.entry(url.clone()).or_default();
            if waiting.iter().all(|(id, _, _)| *id != task.id) {
                waiting.push_back((task.id.clone(), policy.clone(), purpose));
            }
            return;
        }
        self.count("sla_coordinator_attempts", 1);
        // Drawn, so that an answer to a question of before a restoration is not taken for one of after it.
        let id = self.random.next_u64();
        // The host has its own time-out; this one is for a host that forgot.
        let timer =
            self.arm_after(ms(self.settings.sla_coordinator_timeout).saturating_mul(2), Timer::CoordinatorSilence(id));
        let parameters = self.coordinator_parameters(&purpose);
        let status_key = if status_key.is_empty() { DEFAULT_STATUS_KEY.to_owned() } else { status_key.clone() };
        self.coordinators.asked.insert(url.clone(), Asked { id, task: task.id.clone(), purpose, timer });
        let question = CoordinatorQuestion { id, url: url.clone(), status_key, task: task.clone(), parameters };
        self.effects.push(Effect::AskCoordinator(Box::new(question)));
    }

    /// Maintenance tells how long it will go on asking; updates add nothing.
    fn coordinator_parameters(&self, purpose: &Purpose) -> BTreeMap<String, String> {
        let Purpose::Drain(host) = purpose else { return BTreeMap::new() };
        let request = self.store.view.maintenance.get(host);
        let left_ms = request.map(|request| request.forced_from_ms().saturating_sub(self.now.wall_ms));
        left_ms.map(|left_ms| ("forceMaintenanceCountdownMs".to_owned(), left_ms.to_string())).into_iter().collect()
    }

    /// Takes the question of that number off, if it is still under way.
    fn end_question(&mut self, id: u64) -> Option<(String, TaskId, Purpose)> {
        let url = self.coordinators.asked.iter().find(|(_, asked)| asked.id == id)?.0.clone();
        let asked = self.coordinators.asked.remove(&url)?;
        self.timers.cancel(asked.timer);
        Some((url, asked.task, asked.purpose))
    }

    /// Adds to a counter and to the one of the task's own.
    fn count_for_task(&mut self, name: &str, task: &Task) {
        self.count(name, 1);
        self.count(&format!("{name}_{}/{}", task.config.job, task.instance), 1);
    }

    /// Counters of tasks go with their job.
    pub(crate) fn forget_coordinator_counters(&mut self, job: &model::JobKey) {
        for name in ["sla_coordinator_errors", "sla_coordinator_user_errors", "sla_coordinator_lock_starvation"] {
            let prefix = format!("{name}_{job}/");
            let counters = self.store.view.counters.range(Arc::<str>::from(prefix.as_str())..);
            let of_job: Vec<Arc<str>> =
                counters.map(|(name, _)| name.clone()).take_while(|name| name.starts_with(&prefix)).collect();
            for name in of_job {
                self.store.view.counters.remove(name.as_ref());
            }
        }
    }
}

impl Scheduler {
    /// A coordinator answered, or did not. Late answers to questions that were given up mean nothing.
    pub(crate) fn coordinator_answered(&mut self, id: u64, answer: CoordinatorAnswer) {
        let Some((url, task_id, purpose)) = self.core.end_question(id) else { return };
        let task = self.core.store.view.tasks.get(&task_id).cloned();
        match (&answer, &task) {
            (CoordinatorAnswer::Allowed, _) => self.core.count("sla_coordinator_success", 1),
            (CoordinatorAnswer::UserError(_), Some(task)) => {
                self.core.count_for_task("sla_coordinator_user_errors", task);
            }
            (CoordinatorAnswer::Error(_), Some(task)) => self.core.count_for_task("sla_coordinator_errors", task),
            _ => {}
        }
        if let (CoordinatorAnswer::UserError(why) | CoordinatorAnswer::Error(why), Some(task)) = (&answer, &task) {
            let (job, instance) = (&task.config.job, task.instance);
            self.core.notice(format!(
                "The coordinator {url} did not say whether {job}/{instance} may be ended: {why}. It is asked again later."
            ));
        }
        // Nobody else is asked there before what was allowed has happened.
        let allowed = answer == CoordinatorAnswer::Allowed;
        match purpose {
            Purpose::Drain(_) | Purpose::Leave(_) if !allowed || !self.core.may_move() => {}
            Purpose::Drain(host) if self.core.drain_asks(&host, &task_id, &url) => self.core.drain_task(&task_id),
            Purpose::Leave(host) if self.core.is_movable(&host, &task_id) => self.core.drain_task(&task_id),
            Purpose::Drain(_) | Purpose::Leave(_) => {}
            // After a refusal the update's next try asks again.
            Purpose::Update(key, instance) if allowed => self.sla_kill_allowed(&key, instance, &task_id),
            Purpose::Update(..) => {}
        }
        self.ask_next(&url);
    }

    /// The host of this scheduler never said what a coordinator answered.
    pub(crate) fn coordinator_silent(&mut self, id: u64) {
        self.coordinator_answered(id, CoordinatorAnswer::Error("it was asked and nothing came back".into()));
    }

    /// A coordinator is free: asks for those who had to wait, those of the same coordinator first.
    fn ask_next(&mut self, url: &str) {
        let core = &mut self.core;
        if !core.may_move() {
            // A yes would be of no use; who still wants something asks in its next round.
            core.coordinators.waiting.clear();
            return;
        }
        let addresses: Vec<String> = std::iter::once(url.to_owned())
            .chain(core.coordinators.waiting.keys().filter(|other| *other != url).cloned())
            .collect();
        for address in addresses {
            if core.coordinators.asked.contains_key(&address) {
                continue;
            }
            while let Some((task_id, policy, purpose)) =
                core.coordinators.waiting.get_mut(&address).and_then(VecDeque::pop_front)
            {
                if !core.purpose_stands(&task_id, &purpose, &address) {
                    continue;
                }
                let Some(task) = core.store.view.tasks.get(&task_id).cloned() else { continue };
                core.ask_coordinator(&task, &policy, purpose);
                break;
            }
            if core.coordinators.waiting.get(&address).is_some_and(VecDeque::is_empty) {
                core.coordinators.waiting.remove(&address);
            }
            if core.coordinators.asked.len() >= core.settings.max_parallel_coordinated_maintenance.max(1) {
                return;
            }
        }
    }
}

impl Core {
    /// Whether a drain still leaves a task to that coordinator: meanwhile the host may have been drained anew, under another policy.
    fn drain_asks(&self, host: &Host, id: &TaskId, url: &str) -> bool {
        let own = self.store.view.tasks.get(id).and_then(|task| task.config.sla_policy.as_ref());
        let request = self.store.view.maintenance.get(host);
        let policy = own.or_else(|| request.map(|request| &request.default_policy));
        let asks = matches!(policy, Some(SlaPolicy::Coordinator { coordinator_url, .. }) if coordinator_url == url);
        asks && self.is_to_be_drained(host, id)
    }

    /// Whether what was to be done still is.
    fn purpose_stands(&self, task: &TaskId, purpose: &Purpose, url: &str) -> bool {
        match purpose {
            Purpose::Drain(host) => self.drain_asks(host, task, url),
            Purpose::Leave(host) => self.is_movable(host, task),
            Purpose::Update(key, _) => {
                self.store.view.updates.get(key).is_some_and(|update| update.status().is_active())
            }
        }
    }
}
