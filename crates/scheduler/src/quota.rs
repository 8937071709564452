//! Quota: what production tasks of a role may ask for in all (spec scheduler 2.11). Only shared production tasks count;
//! executor overhead, ports and GPUs do not.

use model::constraint::DEDICATED;
use model::update::{InstanceConfig, Update, from_ranges};
use model::{InstanceId, JobConfiguration, JobKey, ResourceType, Resources, TaskConfig};

use crate::admission::Tables;
use crate::core::Core;
use crate::placement::offers::MaxEach;
use crate::view::View;

/// The kinds of resource that quota is about.
const KINDS: [ResourceType; 3] = [ResourceType::Cpus, ResourceType::RamMb, ResourceType::DiskMb];

/// Whether a task counts against quota.
pub(crate) fn counts(config: &TaskConfig) -> bool {
    config.production == Some(true) && config.constraint(DEDICATED).is_none()
}

fn instances_of(update: &Update) -> std::collections::BTreeSet<InstanceId> {
    let configs = update.initial.iter().chain(&update.desired);
    configs.flat_map(|config| from_ranges(&config.instances)).collect()
}

fn update_demand(update: &Update) -> Resources {
    let sum = |config: &InstanceConfig| {
        let instances = from_ranges(&config.instances).len() as i64;
        if counts(&config.task) { config.task.resources.times(instances) } else { Resources::ZERO }
    };
    let initial = update.initial.iter().map(sum).fold(Resources::ZERO, |total, part| total + part);
    initial.max_each(&update.desired.as_ref().map_or(Resources::ZERO, sum))
}

/// What the shared production tasks of a role hold, updates under way (and the one asked for) counted at their larger side.
pub(crate) fn production_consumption(state: &impl Tables, role: &str, requested: Option<&Update>) -> Resources {
    let view = state.view();
    let first = JobKey::new(role, "", "");
    let of_role = |job: &JobKey| job.role == role;
    let updates: Vec<&Update> = view
        .updates
        .values()
        .map(AsRef::as_ref)
        .filter(|update| of_role(&update.key.job) && update.status().is_active())
        .chain(requested)
        .collect();
    let mut total = updates.iter().fold(Resources::ZERO, |total, update| total + update_demand(update));
    for job in state.jobs_of(role) {
        if view.cron_jobs.contains_key(job) {
            continue;
        }
        let updating: std::collections::BTreeSet<InstanceId> =
            updates.iter().filter(|update| update.key.job == *job).flat_map(|update| instances_of(update)).collect();
        for task in state.active(job) {
            if counts(&task.config) && !updating.contains(&task.instance) {
                total += task.config.resources;
            }
        }
    }
    for (_, job) in view.cron_jobs.range(first..).take_while(|(job, _)| of_role(job)) {
        if counts(&job.config.task) {
            total += cron_demand(state, &job.config);
        }
    }
    Resources { ports: 0, gpus: 0, ..total }
}

/// What a cron job may hold: its configuration or, if that is more, its active tasks.
fn cron_demand(state: &impl Tables, config: &JobConfiguration) -> Resources {
    let held = state.active(&config.key).fold(Resources::ZERO, |total, task| total + task.config.resources);
    held.max_each(&config.task.resources.times(i64::from(config.instance_count)))
}

/// What the role would hold with a cron job, new or in place of the one that is there; `None` when that needs no quota. One for
/// dedicated hosts needs none, as everywhere else (in Aurora it does).
pub(crate) fn needed_for_cron(state: &impl Tables, job: &JobConfiguration) -> Option<Resources> {
    if !counts(&job.task) {
        return None;
    }
    let size = |config: &JobConfiguration| config.task.resources.times(i64::from(config.instance_count));
    let mut needed = production_consumption(state, &job.key.role, None) + size(job);
    if let Some(known) = state.view().cron_jobs.get(&job.key).filter(|known| counts(&known.config.task)) {
        needed -= size(&known.config);
    }
    Some(needed)
}

/// What the role would hold with `count` more tasks of that configuration; `None` when those need no quota.
pub(crate) fn needed_for_tasks(state: &impl Tables, config: &TaskConfig, count: i64) -> Option<Resources> {
    counts(config).then(|| production_consumption(state, &config.job.role, None) + config.resources.times(count))
}

/// What the role would hold while an update is under way; `None` when that needs no quota.
pub(crate) fn needed_for_update(state: &impl Tables, update: &Update) -> Option<Resources> {
    let is_counted = update.desired.as_ref().is_some_and(|desired| counts(&desired.task));
    is_counted.then(|| production_consumption(state, &update.key.job.role, Some(update)))
}

/// Whether a role may hold that much; the error is for the user.
pub(crate) fn within_quota(state: &impl Tables, role: &str, needed: Option<Resources>) -> Result<(), String> {
    let Some(needed) = needed else { return Ok(()) };
    let quota = state.view().quotas.get(role).copied().unwrap_or_default();
    let short: Vec<String> = KINDS
        .into_iter()
        .filter_map(|kind| {
            let missing = needed.amount(kind) - quota.amount(kind);
            let shown = if kind == ResourceType::Cpus { missing as f64 / 1000.0 } else { missing as f64 };
            (missing > 0).then(|| format!("{} quota exceeded by {shown:.2} {}", kind.name(), kind.unit()))
        })
        .collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(format!(
        "Insufficient resource quota of role {role} for production tasks: {}. Ask an operator to raise the quota \
         (aurora_admin set_quota), or use a tier that needs none, such as preemptible.",
        short.join("; ")
    ))
}

impl View {
    /// What the shared production tasks of a role hold, of its quota (spec scheduler 2.11): tasks, updates under way at their larger side,
    /// and cron jobs before they run. Looks at every task of the role.
    pub fn production_consumption(&self, role: &str) -> Resources {
        production_consumption(self, role, None)
    }
}

impl Core {
    /// What the shared production tasks of a role hold.
    pub(crate) fn production_consumption(&self, role: &str) -> Resources {
        production_consumption(self, role, None)
    }

    /// Whether `count` more tasks of that configuration are within the quota of their role.
    pub(crate) fn check_quota(&self, config: &TaskConfig, count: i64) -> Result<(), String> {
        within_quota(self, &config.job.role, needed_for_tasks(self, config, count))
    }
}
