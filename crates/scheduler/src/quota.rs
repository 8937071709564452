//! Quota: what production tasks of a role may ask for in all (spec scheduler 2.11). Only shared production tasks count;
//! executor overhead, ports and GPUs do not.

use model::constraint::DEDICATED;
use model::update::{InstanceConfig, Update, from_ranges};
use model::{InstanceId, JobConfiguration, JobKey, ResourceType, Resources, TaskConfig};

use crate::core::Core;
use crate::placement::offers::MaxEach;

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

impl Core {
    /// What the shared production tasks of a role hold, updates under way (and the one asked for) counted at their larger
    /// side.
    pub(crate) fn production_consumption(&self, role: &str, requested: Option<&Update>) -> Resources {
        let first = JobKey::new(role, "", "");
        let of_role = |job: &JobKey| job.role == role;
        let updates: Vec<&Update> = self
            .store
            .view
            .updates
            .values()
            .map(AsRef::as_ref)
            .filter(|update| of_role(&update.key.job) && update.status().is_active())
            .chain(requested)
            .collect();
        let mut total = updates.iter().fold(Resources::ZERO, |total, update| total + update_demand(update));
        for (job, index) in self.jobs.range(first..).take_while(|(job, _)| of_role(job)) {
            if self.store.view.cron_jobs.contains_key(job) {
                continue;
            }
            let updating: std::collections::BTreeSet<InstanceId> = updates
                .iter()
                .filter(|update| update.key.job == *job)
                .flat_map(|update| instances_of(update))
                .collect();
            for (instance, active) in &index.active {
                let task = self.store.view.tasks.get(&active.id).filter(|task| counts(&task.config));
                if let Some(task) = task.filter(|_| !updating.contains(instance)) {
                    total += task.config.resources;
                }
            }
        }
        for (_, job) in self.store.view.cron_jobs.range(JobKey::new(role, "", "")..).take_while(|(job, _)| of_role(job))
        {
            if counts(&job.config.task) {
                total += self.cron_demand(&job.config);
            }
        }
        Resources { ports: 0, gpus: 0, ..total }
    }

    /// What a cron job may hold: its configuration or, if that is more, its active tasks.
    fn cron_demand(&self, config: &JobConfiguration) -> Resources {
        let active = self.jobs.get(&config.key).into_iter().flat_map(|index| index.active.values());
        let tasks = active.filter_map(|active| self.store.view.tasks.get(&active.id));
        let held = tasks.fold(Resources::ZERO, |total, task| total + task.config.resources);
        held.max_each(&config.task.resources.times(i64::from(config.instance_count)))
    }

    /// Whether a cron job, new or in place of the one that is there, is within the quota of its role. One for dedicated hosts
    /// needs none, as everywhere else (in Aurora it does).
    pub(crate) fn check_cron_quota(&self, job: &JobConfiguration) -> Result<(), String> {
        if !counts(&job.task) {
            return Ok(());
        }
        let size = |config: &JobConfiguration| config.task.resources.times(i64::from(config.instance_count));
        let mut needed = self.production_consumption(&job.key.role, None) + size(job);
        if let Some(known) = self.store.view.cron_jobs.get(&job.key).filter(|known| counts(&known.config.task)) {
            needed -= size(&known.config);
        }
        self.within_quota(&job.key.role, &needed)
    }

    /// Whether `count` more tasks of that configuration are within the quota of their role.
    pub(crate) fn check_quota(&self, config: &TaskConfig, count: i64) -> Result<(), String> {
        if !counts(config) {
            return Ok(());
        }
        let needed = self.production_consumption(&config.job.role, None) + config.resources.times(count);
        self.within_quota(&config.job.role, &needed)
    }

    /// Whether an update is within the quota of its role.
    pub(crate) fn check_update_quota(&self, update: &Update) -> Result<(), String> {
        if !update.desired.as_ref().is_some_and(|desired| counts(&desired.task)) {
            return Ok(());
        }
        let role = &update.key.job.role;
        self.within_quota(role, &self.production_consumption(role, Some(update)))
    }

    fn within_quota(&self, role: &str, needed: &Resources) -> Result<(), String> {
        let quota = self.store.view.quotas.get(role).copied().unwrap_or_default();
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
}
