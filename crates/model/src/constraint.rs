//! Placement constraints (spec scheduler 2.5). The evaluation against hosts is the scheduler's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Name of the attribute and constraint that reserve a host for a job.
pub const DEDICATED: &str = "dedicated";

/// One constraint: the name of a host attribute and what it must satisfy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Constraint {
    /// Attribute name.
    pub name: String,
    /// The condition.
    pub constraint: TaskConstraint,
}

/// The two kinds of condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskConstraint {
    /// The host's values must (not) intersect `values`.
    Value {
        /// Turns the condition around; then a host without the attribute satisfies it.
        negated: bool,
        /// Alternatives.
        values: BTreeSet<String>,
    },
    /// Fewer than `limit` tasks of the job on hosts with each of the host's values.
    Limit {
        /// The bound; 0 never matches.
        limit: i32,
    },
}
