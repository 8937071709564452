//! `set_quota` and `increase_quota`.

use thrift::{GetQuotaArguments, Resource, ResourceAggregate, ResponseResult, Set, SetQuotaArguments};

use super::arguments::QuotaArguments;
use super::respond;
use crate::aurora::Context;
use crate::exit::{Exit, Outcome};
use crate::scheduler::{Scheduler, missing_result};

/// Cores, MB of memory, MB of disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Quota {
    cores: f64,
    ram_mb: i64,
    disk_mb: i64,
}

impl From<&QuotaArguments> for Quota {
    fn from(arguments: &QuotaArguments) -> Self {
        Quota { cores: arguments.cpu, ram_mb: arguments.ram, disk_mb: arguments.disk }
    }
}

impl From<&ResourceAggregate> for Quota {
    fn from(aggregate: &ResourceAggregate) -> Self {
        let mut quota = Quota::default();
        for resource in aggregate.resources.iter() {
            match resource {
                Resource::NumCpus(cores) => quota.cores = *cores,
                Resource::RamMb(mb) => quota.ram_mb = *mb,
                Resource::DiskMb(mb) => quota.disk_mb = *mb,
                _ => {}
            }
        }
        quota
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Quota { cores, ram_mb, disk_mb } = self;
        write!(formatter, "CPU {cores:?} core(s), RAM {ram_mb} MB, disk {disk_mb} MB")
    }
}

/// `set_quota CLUSTER ROLE CPU RAM DISK`.
pub fn set(arguments: &QuotaArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    put(&mut scheduler, &arguments.role, Quota::from(arguments), context)
}

/// `increase_quota CLUSTER ROLE CPU RAM DISK`.
pub fn increase(arguments: &QuotaArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let call = GetQuotaArguments { owner_role: Some(arguments.role.clone()) };
    let reply = scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure("The quota could not be read:", Exit::Failed))?;
    let Some(ResponseResult::GetQuota(result)) = reply.result else { return Err(missing_result("getQuota")) };
    let present = result.quota.as_ref().map(Quota::from).unwrap_or_default();
    let more = Quota::from(arguments);
    let sum = Quota {
        cores: present.cores + more.cores,
        ram_mb: present.ram_mb.saturating_add(more.ram_mb),
        disk_mb: present.disk_mb.saturating_add(more.disk_mb),
    };
    context.console.info(format!("Current quota of {}: {present}", arguments.role));
    context.console.info(format!("Setting quota of {}: {sum}", arguments.role));
    put(&mut scheduler, &arguments.role, sum, context)
}

fn put(scheduler: &mut Scheduler<'_>, role: &str, quota: Quota, context: &mut Context<'_>) -> Outcome {
    let resources =
        vec![Resource::NumCpus(quota.cores), Resource::RamMb(quota.ram_mb), Resource::DiskMb(quota.disk_mb)];
    let call = SetQuotaArguments {
        owner_role: Some(role.to_owned()),
        quota: Some(ResourceAggregate { resources: Set(resources) }),
    };
    respond(scheduler, call, context).map(drop)
}
