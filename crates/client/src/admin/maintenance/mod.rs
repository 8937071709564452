//! Commands about the maintenance of hosts.

pub mod arguments;

use crate::aurora::Context;
use crate::exit::{Exit, Failure, Outcome};
use arguments::{HostVerb, SafetyVerb};

/// Runs a command about the mode of hosts.
pub fn run(_verb: HostVerb, _context: &mut Context<'_>) -> Outcome {
    Err(Failure::new(Exit::Failed, "Host maintenance is not in this version of Daybreak."))
}

/// Runs a command about what a drain would do.
pub fn run_safety(_verb: SafetyVerb, _context: &mut Context<'_>) -> Outcome {
    Err(Failure::new(Exit::Failed, "Probing hosts is not in this version of Daybreak."))
}
