//! What engines say, and what follows (spec scheduler 1.9, 2.2, 6.5).

use std::sync::Arc;

use engine::{Call, Event, OfferId, Reason, StatusUpdate, TaskState};
use model::{Host, TaskId, TaskStatus};

use crate::core::{Core, ms};
use crate::input::Effect;
use crate::placement::offers::Agent;
use crate::scheduler::Scheduler;
use crate::tasks::table::State;

impl Scheduler {
    /// An event of the engine.
    pub(crate) fn engine_event(&mut self, event: Event) {
        let core = &mut self.core;
        match event {
            Event::Registered { framework_id, master } => self.registered(framework_id, master),
            Event::Deposed { reason } => core.deposed(reason),
            Event::Disconnected => {
                core.count("scheduler_framework_disconnects", 1);
                core.lose_connection();
            }
            Event::Offers(offers) => {
                for offer in &offers {
                    core.work += 1;
                    core.agent_is_heard(&offer.agent_id);
                    core.add_offer(offer);
                }
            }
            Event::Rescinded(offer) => core.rescind_offer(&offer),
            Event::InverseOffer { id, agent_id, host, unavailable_from_ms } => {
                core.inverse_offer(id, agent_id.as_deref(), host.as_ref(), unavailable_from_ms);
            }
            Event::Status(update) => self.status(update),
            Event::AgentLost(agent) => core.lose_agent(&agent),
            Event::Stray { task_id, detail } => {
                if core.store.view.tasks.contains_key(&task_id) {
                    core.notice(format!("Task {task_id} was found on disk and is known: {detail}"));
                } else {
                    core.notice(format!(
                        "Task {task_id} is on disk, but nobody asked for it: {detail}. It is left alone; end it by hand \
                         if it should not run."
                    ));
                }
            }
        }
    }

    /// Connected: what was offered before is void, and every placed task is asked about at once.
    fn registered(&mut self, framework_id: Option<String>, master: Option<String>) {
        let core = &mut self.core;
        if core.store.view.registered {
            core.count("scheduler_framework_reregisters", 1);
        }
        if let Some(id) = framework_id {
            core.store.set_framework_id(id);
        }
        core.meet_leader(master);
        core.store.view.registered = true;
        core.store.view.disconnected_since_ms = None;
        core.gauge("framework_registered", 1);
        core.clear_offers();
        core.want_offers_again();
        core.reconcile_at_connection();
    }

    /// A task changed, says the engine. Acknowledged in any case: what is said of it is either recorded or of no use.
    fn status(&mut self, update: StatusUpdate) {
        let core = &mut self.core;
        core.count("scheduler_status_update", 1);
        if update.reason == Some(Reason::InvalidOffer) {
            core.count("offer_accept_races", 1);
        }
        if core.is_doubtful(&update) {
            core.count("reconciliation_answers_doubted", 1);
            return;
        }
        if core.is_old_news(&update) {
            return;
        }
        let to = task_status(update.state);
        let message = status_message(&update);
        if matches!(to, TaskStatus::Starting | TaskStatus::Running) {
            core.report_unknown(&update);
        }
        core.reporting_agent.clone_from(&update.agent_id);
        let result = core.transition(&update.task_id, None, State::Stored(to), message);
        core.reporting_agent = None;
        core.note_last_word(&update);
        let reason = update.reason.map_or("NONE", Reason::name);
        core.count(&format!("status_update_{reason}_{}", result.name()), 1);
        if let Some(token) = update.token {
            let (task_id, agent_id) = (update.task_id, update.agent_id);
            core.call(Call::Acknowledge { task_id, agent_id, token });
        }
    }
}

impl Core {
    /// The connection is gone: offers are void, and nobody answers.
    fn lose_connection(&mut self) {
        self.store.view.registered = false;
        self.store.view.disconnected_since_ms.get_or_insert(self.now.wall_ms);
        self.gauge("framework_registered", 0);
        self.stop_reconciliation();
        self.pause_draining();
        self.clear_offers();
    }

    /// A task that nobody knows here runs; it is killed (spec scheduler 1.3), and the operator hears of it.
    fn report_unknown(&mut self, update: &StatusUpdate) {
        if self.store.view.tasks.contains_key(&update.task_id) {
            return;
        }
        self.count("unknown_tasks_killed", 1);
        let agent = update.agent_id.as_deref().unwrap_or("an unnamed agent");
        self.notice(format!("Task {} runs on {agent} and is not known here: it is killed.", update.task_id));
    }

    /// Agents are asked back: agreed, and once their time is near their tasks move elsewhere (spec scheduler 5.5). The engine
    /// asks again and again, so nothing needs to be remembered.
    fn inverse_offer(&mut self, id: OfferId, agent_id: Option<&str>, host: Option<&Host>, from_ms: i64) {
        self.count("scheduler_inverse_offers", 1);
        self.call(Call::AcceptInverseOffers { offers: vec![id] });
        let until_ms = self.now.wall_ms.saturating_add(ms(self.settings.unavailability_threshold) as i64);
        if from_ms >= until_ms {
            return;
        }
        let asked = |agent: &Agent| match agent_id {
            Some(id) => agent.id == id,
            None => host.is_some_and(|host| agent.host == *host),
        };
        let agents: Vec<&Agent> = self.book.agents().map(|(_, agent)| agent).filter(|agent| asked(agent)).collect();
        let placed: Vec<TaskId> = agents.iter().flat_map(|agent| agent.placed.iter().cloned()).collect();
        let ids: Vec<String> = agents.into_iter().map(|agent| agent.id.clone()).collect();
        ids.iter().for_each(|id| self.end_affinity_on(id));
        self.drain_for_engine(placed);
    }

    /// Another scheduler took this one's place. Nothing is decided any more, and nothing that was decided is undone: the next
    /// scheduler reads the same journal or has its own.
    fn deposed(&mut self, reason: String) {
        self.lose_connection();
        self.deposed = true;
        self.effects.push(Effect::Stop { reason });
    }
}

/// The status that a state of the engine stands for (spec scheduler 1.1).
fn task_status(state: TaskState) -> TaskStatus {
    match state {
        TaskState::Starting => TaskStatus::Starting,
        TaskState::Running => TaskStatus::Running,
        TaskState::Finished => TaskStatus::Finished,
        TaskState::Failed => TaskStatus::Failed,
        TaskState::Killed => TaskStatus::Killed,
        TaskState::Lost => TaskStatus::Lost,
        TaskState::Unreachable => TaskStatus::Partitioned,
    }
}

/// Message of the event: the engine's, or a sentence of our own where only the reason is known (spec scheduler 1.8).
fn status_message(update: &StatusUpdate) -> Option<Arc<str>> {
    match (&update.message, update.reason) {
        // What Mesos says then is of no use to people.
        (_, Some(Reason::ExecutorUnregistered)) => None,
        (Some(message), _) if !message.is_empty() => Some(message.as_str().into()),
        (_, Some(Reason::MemoryLimit)) => Some("Task used more memory than requested.".into()),
        (_, Some(Reason::DiskLimit)) => Some("Task used more disk than requested.".into()),
        _ => None,
    }
}
