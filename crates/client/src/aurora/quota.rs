//! `quota get` (spec client-cli 2.17).

use thrift::{GetQuotaArguments, Resource, ResourceAggregate, ResponseResult, encode_plain};

use super::Context;
use super::remote_arguments::QuotaGetArguments;
use crate::exit::{Exit, Outcome};
use crate::scheduler::missing_result;

/// `quota get CLUSTER/ROLE`.
pub fn get(arguments: &QuotaGetArguments, context: &mut Context<'_>) -> Outcome {
    let role = &arguments.role;
    let mut scheduler = context.scheduler(&role.cluster)?;
    let reply = scheduler
        .call(GetQuotaArguments { owner_role: Some(role.role.clone()) }, &mut context.console)
        .map_err(|error| error.failure(&format!("Error retrieving quota for role {}", role.role), Exit::ApiError))?;
    let Some(ResponseResult::GetQuota(result)) = reply.result else { return Err(missing_result("getQuota")) };
    if arguments.write_json || context.console.is_json() {
        context.console.out(String::from_utf8_lossy(&encode_plain(&result)));
        return Ok(());
    }
    let blocks = [
        ("Allocated", &result.quota),
        ("Production shared pool resources consumed", &result.prod_shared_consumption),
        ("Production dedicated pool resources consumed", &result.prod_dedicated_consumption),
        ("Non-production shared pool resources consumed", &result.non_prod_shared_consumption),
        ("Non-production dedicated pool resources consumed", &result.non_prod_dedicated_consumption),
    ];
    for (title, aggregate) in blocks {
        let Some(aggregate) = aggregate else { continue };
        context.console.out(format!("{title}:"));
        lines(aggregate).iter().for_each(|line| context.console.out(line));
    }
    Ok(())
}

fn lines(aggregate: &ResourceAggregate) -> Vec<String> {
    let pick = |wanted: &dyn Fn(&Resource) -> Option<String>| aggregate.resources.iter().find_map(wanted);
    let cpu = pick(&|resource| match resource {
        Resource::NumCpus(cores) => Some(format!("  CPU: {cores:?} core(s)")),
        _ => None,
    });
    let ram = pick(&|resource| match resource {
        Resource::RamMb(mb) => Some(format!("  RAM: {mb} MB")),
        _ => None,
    });
    let disk = pick(&|resource| match resource {
        Resource::DiskMb(mb) => Some(format!("  Disk: {mb} MB")),
        _ => None,
    });
    [cpu, ram, disk].into_iter().flatten().collect()
}
