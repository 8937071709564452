//! What engines say, and what follows (spec scheduler 1.9, 2.2, 6.5).

use std::sync::Arc;

use engine::{Call, Event, Reason, StatusUpdate, TaskState};
use model::TaskStatus;

use crate::core::Core;
use crate::input::Effect;
use crate::scheduler::Scheduler;
use crate::tasks::table::State;

impl Scheduler {
    /// An event of the engine.
    pub(crate) fn engine_event(&mut self, event: Event) {
        let core = &mut self.core;
        match event {
            Event::Registered { framework_id, master: _ } => self.registered(framework_id),
            Event::Deposed { reason } => core.deposed(reason),
            Event::Disconnected => {
                core.store.view.registered = false;
                core.gauge("framework_registered", 0);
                core.count("scheduler_framework_disconnects", 1);
                core.reconcile_after = None;
                core.clear_offers();
            }
            Event::Offers(offers) => {
                for offer in &offers {
                    core.work += 1;
                    core.add_offer(offer);
                }
            }
            Event::Rescinded(offer) => core.rescind_offer(&offer),
            Event::InverseOffer { id, .. } => core.call(Call::AcceptInverseOffers { offers: vec![id] }),
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
    fn registered(&mut self, framework_id: Option<String>) {
        let core = &mut self.core;
        if core.store.view.registered {
            core.count("scheduler_framework_reregisters", 1);
        }
        if let Some(id) = framework_id {
            core.store.set_framework_id(id);
        }
        core.store.view.registered = true;
        core.gauge("framework_registered", 1);
        core.clear_offers();
        core.call(Call::Revive);
        core.begin_reconciliation();
    }

    /// A task changed, says the engine. Acknowledged in any case: what is said of it is either recorded or of no use.
    fn status(&mut self, update: StatusUpdate) {
        let core = &mut self.core;
        core.count("scheduler_status_update", 1);
        if update.reason == Some(Reason::InvalidOffer) {
            core.count("offer_accept_races", 1);
        }
        let to = task_status(update.state);
        let message = status_message(&update);
        core.reporting_agent.clone_from(&update.agent_id);
        let result = core.transition(&update.task_id, None, State::Stored(to), message);
        core.reporting_agent = None;
        let reason = update.reason.map_or("NONE", Reason::name);
        core.count(&format!("status_update_{reason}_{}", result.name()), 1);
        if let Some(token) = update.token {
            let (task_id, agent_id) = (update.task_id, update.agent_id);
            core.call(Call::Acknowledge { task_id, agent_id, token });
        }
    }
}

impl Core {
    /// Another scheduler took this one's place. Nothing is decided any more, and nothing that was decided is undone: the next
    /// scheduler reads the same journal or has its own.
    fn deposed(&mut self, reason: String) {
        self.store.view.registered = false;
        self.gauge("framework_registered", 0);
        self.reconcile_after = None;
        self.clear_offers();
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
        (Some(message), _) if !message.is_empty() => Some(message.as_str().into()),
        (_, Some(Reason::MemoryLimit)) => Some("Task used more memory than requested.".into()),
        (_, Some(Reason::DiskLimit)) => Some("Task used more disk than requested.".into()),
        _ => None,
    }
}
