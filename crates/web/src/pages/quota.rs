//! The box about a role's quota on its page.

use model::{ResourceType, Resources};
use scheduler::View;

use super::scheduler::ResourceBar;
use crate::state::WebState;
use crate::words;

/// What the production tasks of a role hold, of what they may ask for, as it is counted when more are asked for (spec scheduler 2.11).
pub struct QuotaBox {
    /// One for each resource that quotas are about.
    pub bars: Vec<ResourceBar>,
    /// One sentence for those who wonder.
    pub sentence: String,
    /// How an operator raises it.
    pub command: String,
}

/// Nothing where the role has no quota and no production tasks.
pub fn of_role(state: &WebState, view: &View, role: &str) -> Option<QuotaBox> {
    let held = view.production_consumption(role);
    let quota = view.quotas.get(role).copied();
    if quota.is_none() && held == Resources::ZERO {
        return None;
    }
    let quota = quota.unwrap_or_default();
    let bar = |name, kind: ResourceType, words: String| ResourceBar {
        name,
        bar: words::meter(held.amount(kind) as f64, quota.amount(kind) as f64),
        words,
    };
    let bars = vec![
        bar("cpu", ResourceType::Cpus, format!("{} of {}", held.cpu, quota.cpu)),
        bar("memory", ResourceType::RamMb, words::part_of_megabytes(held.ram_mb, quota.ram_mb)),
        bar("disk", ResourceType::DiskMb, words::part_of_megabytes(held.disk_mb, quota.disk_mb)),
    ];
    let program = words::shell(&state.executable.to_string_lossy());
    Some(QuotaBox {
        bars,
        sentence: match quota == Resources::ZERO {
            true => "This role has no quota: new production tasks are refused. Tasks of other tiers need none.".into(),
            false => "What its production tasks hold, of what they may ask for: an update under way counts at its larger side, a cron job \
                      before it runs. Tasks of other tiers and on dedicated machines need none."
                .into(),
        },
        command: format!("{program} admin increase_quota {} {role} 1.0 1GB 1GB", state.cluster),
    })
}
