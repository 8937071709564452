//! Commands about the maintenance of hosts (spec client-cli 4).

pub mod arguments;
pub mod domain;
mod hosts;
mod safety;

#[cfg(test)]
mod tests;

use crate::aurora::Context;
use crate::exit::Outcome;
use arguments::{HostVerb, SafetyVerb};

/// Runs a command about the mode of hosts.
pub fn run(verb: HostVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        HostVerb::HostDeactivate(arguments) => hosts::deactivate(&arguments, context),
        HostVerb::HostActivate(arguments) => hosts::activate(&arguments, context),
        HostVerb::HostDrain(arguments) => hosts::drain(&arguments, context),
        HostVerb::SlaHostDrain(arguments) => hosts::sla_drain(&arguments, context),
        HostVerb::HostStatus(arguments) => hosts::status(&arguments, context),
    }
}

/// Runs a command about what a drain would do.
pub fn run_safety(verb: SafetyVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        SafetyVerb::SlaListSafeDomain(arguments) => safety::list_safe_domain(&arguments, context),
        SafetyVerb::SlaProbeHosts(arguments) => safety::probe(&arguments, context),
    }
}
