//! What a role uses, by the four classes of consumption (spec scheduler 2.11).

use std::collections::BTreeSet;

use model::constraint::DEDICATED;
use model::update::{InstanceConfig, from_ranges};
use model::{ResourceType, Resources, TaskConfig};
use scheduler::View;
use thrift::{GetQuotaResult, ResourceAggregate, ResponseResult};

use crate::answer::{Answer, MethodResult, Refusal};

/// Consumption by class: production or not, dedicated or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Consumption {
    shared: [Resources; 2],
    dedicated: [Resources; 2],
}

impl Consumption {
    fn class(&mut self, config: &TaskConfig) -> &mut Resources {
        let production = usize::from(config.production.unwrap_or(false));
        let side = if config.constraint(DEDICATED).is_some() { &mut self.dedicated } else { &mut self.shared };
        &mut side[production]
    }

    fn of(configs: &[InstanceConfig]) -> Self {
        let mut sum = Consumption::default();
        for config in configs {
            let count = from_ranges(&config.instances).len() as i64;
            *sum.class(&config.task) += config.task.resources.times(count);
        }
        sum
    }

    fn classes(&self) -> [Resources; 4] {
        [self.shared[0], self.shared[1], self.dedicated[0], self.dedicated[1]]
    }

    fn add(&mut self, classes: [Resources; 4]) {
        self.shared[0] += classes[0];
        self.shared[1] += classes[1];
        self.dedicated[0] += classes[2];
        self.dedicated[1] += classes[3];
    }
}

/// The larger amount of each kind.
fn larger(one: &Resources, other: &Resources) -> Resources {
    let pick = |kind| one.amount(kind).max(other.amount(kind));
    Resources {
        cpu: model::CpuMillis(pick(ResourceType::Cpus)),
        ram_mb: pick(ResourceType::RamMb),
        disk_mb: pick(ResourceType::DiskMb),
        ports: pick(ResourceType::Ports),
        gpus: pick(ResourceType::Gpus),
    }
}

fn consumption(view: &View, role: &str) -> Consumption {
    let mut sum = Consumption::default();
    let first = model::JobKey::new(role, "", "");
    let jobs = view.tasks_by_job.range(first..).map(|(job, _)| job).take_while(|job| job.role == role);
    let mut updating: std::collections::BTreeMap<&model::JobKey, BTreeSet<u32>> = std::collections::BTreeMap::new();
    for update in view.updates.values().filter(|update| update.key.job.role == role && update.status().is_active()) {
        let desired: Vec<InstanceConfig> = update.desired.iter().cloned().collect();
        let (before, after) = (Consumption::of(&update.initial).classes(), Consumption::of(&desired).classes());
        sum.add(std::array::from_fn(|class| larger(&before[class], &after[class])));
        let instances = updating.entry(&update.key.job).or_default();
        for config in update.initial.iter().chain(&update.desired) {
            instances.extend(from_ranges(&config.instances));
        }
    }
    for job in jobs.filter(|job| !view.cron_jobs.contains_key(*job)) {
        let in_update = updating.get(job);
        for task in view.tasks_of(job).filter(|task| task.status.is_active()) {
            if in_update.is_none_or(|instances| !instances.contains(&task.instance)) {
                *sum.class(&task.config) += task.config.resources;
            }
        }
    }
    // A cron job counts before it runs, and by its tasks if those hold more.
    let first = model::JobKey::new(role, "", "");
    for (key, job) in view.cron_jobs.range(first..).take_while(|(key, _)| key.role == role) {
        let active = view.tasks_of(key).filter(|task| task.status.is_active());
        let held = active.fold(Resources::ZERO, |total, task| total + task.config.resources);
        let wanted = job.config.task.resources.times(i64::from(job.instances()));
        *sum.class(&job.config.task) += larger(&held, &wanted);
    }
    sum
}

/// What the jobs of a role hold: neither production nor dedicated, production, dedicated, both.
pub(crate) fn consumption_by_class(view: &View, role: &str) -> [Resources; 4] {
    consumption(view, role).classes()
}

/// getQuota: the quota and all four classes, zeros where nothing is known.
pub fn quota(view: &View, role: Option<String>) -> MethodResult<Answer> {
    let role = role.filter(|role| !role.trim().is_empty()).ok_or_else(|| Refusal::error("The role is missing."))?;
    let used = consumption(view, &role);
    let aggregate = |resources: &Resources| Some(ResourceAggregate::from(resources));
    Ok(Answer::ok(ResponseResult::GetQuota(GetQuotaResult {
        quota: aggregate(&view.quotas.get(&role).copied().unwrap_or_default()),
        prod_shared_consumption: aggregate(&used.shared[1]),
        non_prod_shared_consumption: aggregate(&used.shared[0]),
        prod_dedicated_consumption: aggregate(&used.dedicated[1]),
        non_prod_dedicated_consumption: aggregate(&used.dedicated[0]),
    })))
}
