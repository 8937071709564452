//! Tiers: named pairs of "may be preempted" and "runs on revocable resources" (spec scheduler 2.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// May be evicted for production tasks.
    pub preemptible: bool,
    /// Uses revocable resources.
    pub revocable: bool,
}

impl Tier {
    /// Neither preemptible nor revocable.
    pub fn is_production(self) -> bool {
        !self.preemptible && !self.revocable
    }
}

/// The tiers of a cluster and the name of the one used when a job names none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiers {
    /// Name of the default; exists in `tiers`.
    pub default: String,
    /// By name.
    pub tiers: BTreeMap<String, Tier>,
}

impl Tiers {
    /// The tier of that name.
    pub fn get(&self, name: &str) -> Option<Tier> {
        self.tiers.get(name).copied()
    }
}

impl Default for Tiers {
    /// The built-in tiers: preferred, preemptible (default) and revocable.
    fn default() -> Self {
        let tier = |preemptible, revocable| Tier { preemptible, revocable };
        let tiers =
            [("preferred", tier(false, false)), ("preemptible", tier(true, false)), ("revocable", tier(true, true))];
        Self {
            default: "preemptible".into(),
            tiers: tiers.into_iter().map(|(name, tier)| (name.into(), tier)).collect(),
        }
    }
}
