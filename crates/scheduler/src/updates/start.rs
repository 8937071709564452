//! startJobUpdate: what was checked becomes an update, and takes its first step (spec scheduler 3.2).

use model::key::format_uuid;
use model::update::{UpdateEvent, UpdateRequest, UpdateStatus};

use super::{Active, pulse_timeout_ms};
use crate::admission;
use crate::command::{Outcome, Reply, ReplyCode};
use crate::commands::{Checked, refuse};
use crate::input::Principal;
use crate::scheduler::Scheduler;

/// Longest message of an update event, in characters (spec thrift-api 3.5).
const MAX_MESSAGE_CHARS: usize = 1024;

pub(super) fn check_message(message: Option<&String>) -> Checked<()> {
    match message {
        Some(message) if message.chars().count() > MAX_MESSAGE_CHARS => {
            refuse(ReplyCode::Error, format!("The message is longer than {MAX_MESSAGE_CHARS} characters: shorten it."))
        }
        _ => Ok(()),
    }
}

impl Scheduler {
    /// Starts an update.
    pub(crate) fn start_update(
        &mut self,
        principal: &Principal,
        request: UpdateRequest,
        message: Option<String>,
    ) -> Checked<Reply> {
        check_message(message.as_ref())?;
        let job = request.task.job.clone();
        let count = request.instance_count;
        let Some(mut update) = admission::propose_update(&self.core, principal, request)? else {
            let message = format!("Job {job} is as the update wants it already: nothing to do.");
            return Ok(Reply { messages: vec![message], ..Reply::ok() });
        };
        admission::check_update(&self.core, &update, count)?;
        update.key.id = format_uuid(self.core.random.next_u128());
        let coordinated = pulse_timeout_ms(&update).is_some();
        let status = if coordinated { UpdateStatus::RollForwardAwaitingPulse } else { UpdateStatus::RollingForward };
        let timestamp_ms = self.core.now.wall_ms;
        update.events.push(UpdateEvent { status, timestamp_ms, user: Some(principal.name.clone()), message });
        let key = update.key.clone();
        self.core.count(&format!("update_transition_{}", update.status()), 1);
        let answer = update.clone();
        self.updates.active.insert(job, Active::new(&update));
        self.core.store.put_update(update);
        self.take_up(&key);
        Ok(Reply { outcome: Outcome::Update(Box::new(answer)), ..Reply::ok() })
    }
}
