//! What is consumed and what quotas allow, as statistics under Aurora's names (spec scheduler 7.6). Computed from a view when asked for,
//! at most once a minute: it looks at every task.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Resources;
use model::constraint::DEDICATED;
use scheduler::View;

use crate::statistics::Number;

/// How long numbers are told again before they are computed anew.
const FRESH: Duration = Duration::from_secs(60);

/// Numbers and when they were computed.
#[derive(Debug, Default)]
pub struct Consumption(Mutex<Option<(Instant, Numbers)>>);

type Numbers = BTreeMap<String, Number>;

impl Consumption {
    /// The numbers, perhaps a minute old.
    pub fn numbers(&self, view: &View) -> Numbers {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((computed, numbers)) if computed.elapsed() < FRESH => numbers.clone(),
            _ => known.insert((Instant::now(), compute(view))).1.clone(),
        }
    }
}

fn put(numbers: &mut Numbers, name: &str, amount: &Resources) {
    numbers.insert(format!("{name}_cpu_cores"), Number::Real(amount.cpu.0 as f64 / 1000.0));
    numbers.insert(format!("{name}_ram_mb"), Number::Whole(amount.ram_mb));
    numbers.insert(format!("{name}_disk_mb"), Number::Whole(amount.disk_mb));
}

/// A task counts in the class of its pool, as in Aurora's page of utilization, and in the total.
fn compute(view: &View) -> Numbers {
    let (mut total, mut dedicated, mut quota, mut free_pool) =
        (Resources::ZERO, Resources::ZERO, Resources::ZERO, Resources::ZERO);
    for task in view.tasks.values().filter(|task| task.status.is_active()) {
        let config = &task.config;
        total += config.resources;
        if config.constraint(DEDICATED).is_some() {
            dedicated += config.resources;
        } else if config.production == Some(true) {
            quota += config.resources;
        } else {
            free_pool += config.resources;
        }
    }
    let mut numbers = Numbers::new();
    for (class, amount) in [
        ("total_consumed", total),
        ("dedicated_consumed", dedicated),
        ("quota_consumed", quota),
        ("free_pool_consumed", free_pool),
    ] {
        put(&mut numbers, &format!("resources_{class}"), &amount);
    }
    let allocated = view.quotas.values().fold(Resources::ZERO, |sum, quota| sum + *quota);
    put(&mut numbers, "resources_allocated_quota", &allocated);
    for (role, quota) in &view.quotas {
        put(&mut numbers, &format!("quota_per_role_{role}"), quota);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::constraint::{Constraint, TaskConstraint};
    use model::{CpuMillis, TaskStatus};

    use super::*;
    use crate::samples::{sample_task, view_of};

    #[test]
    fn tasks_count_in_the_class_of_their_pool() {
        let task = |job: &str, status, production, is_dedicated| {
            let mut task = sample_task(job, 0, status, Some("h"));
            let config = Arc::make_mut(&mut Arc::make_mut(&mut task).config);
            config.production = Some(production);
            if is_dedicated {
                let constraint = TaskConstraint::Value { negated: false, values: ["*/x".to_owned()].into() };
                config.constraints = [Constraint { name: DEDICATED.into(), constraint }].into_iter().collect();
            }
            task
        };
        let mut view = view_of([
            task("a/prod/quota", TaskStatus::Running, true, false),
            task("a/prod/pending", TaskStatus::Pending, false, false),
            task("a/prod/own", TaskStatus::Running, true, true),
            task("a/prod/over", TaskStatus::Finished, true, false),
        ]);
        view.quotas.insert("a".into(), Resources { cpu: CpuMillis(2500), ram_mb: 7, ..Resources::ZERO });
        view.quotas.insert("b".into(), Resources { cpu: CpuMillis(500), ..Resources::ZERO });
        let consumption = Consumption::default();
        let numbers = consumption.numbers(&view);
        for (name, cores) in [
            ("resources_total_consumed_cpu_cores", 1.5),
            ("resources_quota_consumed_cpu_cores", 0.5),
            ("resources_free_pool_consumed_cpu_cores", 0.5),
            ("resources_dedicated_consumed_cpu_cores", 0.5),
            ("resources_allocated_quota_cpu_cores", 3.0),
            ("quota_per_role_a_cpu_cores", 2.5),
        ] {
            assert_eq!(numbers[name], Number::Real(cores), "{name}");
        }
        assert_eq!(numbers["resources_total_consumed_ram_mb"], Number::Whole(48));
        assert_eq!(numbers["quota_per_role_a_ram_mb"], Number::Whole(7));
        // Told again without another look.
        assert_eq!(consumption.numbers(&View::default()), numbers);
    }
}
