//! Calls of admin commands: every answer is logged, and one that is not OK ends the command (spec client-cli 4).

use thrift::Call;

use crate::aurora::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::{CallError, Reply, Scheduler};

/// Calls a method and logs what the scheduler says to it.
pub fn call(scheduler: &mut Scheduler<'_>, call: impl Into<Call>, context: &mut Context<'_>) -> Outcome<Reply> {
    match scheduler.call_quietly(call, &mut context.console) {
        Ok(reply) => {
            context.console.info(format!("Response from scheduler: OK (message: {})", reply.messages.join(", ")));
            Ok(reply)
        }
        Err(CallError::Refused(refusal)) => {
            let (code, message) = (refusal.code.name(), refusal.messages.join(", "));
            // Told even by a quiet command: it is what went wrong.
            let text = format!("Response from scheduler: {code} (message: {message})");
            if context.console.is_json() {
                return Err(Failure::new(Exit::Failed, text));
            }
            context.console.err(format!(" INFO] {text}"));
            Err(Failure::silent(Exit::Failed))
        }
        Err(CallError::Failed(failure)) => Err(failure),
    }
}
