//! `sla_probe_hosts` and `sla_list_safe_domain`: what draining hosts would do to jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::JobKey;
use serde_json::{Value, json};

use super::arguments::{self, Grouping, ListSafeDomainArguments, ProbeHostsArguments};
use super::domain::{Domain, Limit, Probe};
use super::hosts::{chosen, cleaned, lines};
use crate::aurora::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::syntax::ClusterJob;

fn groups(hosts: Vec<String>, grouping: Grouping) -> Vec<Vec<String>> {
    match grouping {
        Grouping::ByHost => hosts.into_iter().map(|host| vec![host]).collect(),
        Grouping::None => vec![hosts],
    }
}

/// `sla_probe_hosts`.
pub fn probe(arguments: &ProbeHostsArguments, context: &mut Context<'_>) -> Outcome {
    let hosts = chosen(&arguments.hosts)?;
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let min = arguments.min_job_instance_count as usize;
    let domain = Domain::read(&mut scheduler, Some(&hosts), min, context)?;
    let probes = domain.probe(&groups(hosts, arguments.grouping), arguments.percentage, arguments.duration);
    if context.console.is_json() {
        let row = |probe: &Probe| {
            json!({
                "host": probe.host,
                "job": format!("{}/{}", arguments.cluster, probe.job),
                "percentage": probe.percentage,
                "safe": probe.is_safe,
                "safe_in_seconds": probe.safe_in_secs,
            })
        };
        context.console.out_json(&probes.iter().map(row).collect());
        return Ok(());
    }
    for probe in probes {
        let wait = probe.safe_in_secs.map_or_else(|| "n/a".to_owned(), |seconds| seconds.to_string());
        let safe = if probe.is_safe { "True" } else { "False" };
        context.console.out(format!(
            "{}\t{}/{}\t{:.2}\t{safe}\t{wait}",
            probe.host, arguments.cluster, probe.job, probe.percentage
        ));
    }
    Ok(())
}

/// `sla_list_safe_domain`.
pub fn list_safe_domain(arguments: &ListSafeDomainArguments, context: &mut Context<'_>) -> Outcome {
    let included = given(arguments.include_hosts.as_ref(), arguments.include_file.as_deref())?;
    let excluded: BTreeSet<String> = given(arguments.exclude_hosts.as_ref(), arguments.exclude_file.as_deref())?
        .unwrap_or_default()
        .into_iter()
        .collect();
    let limits = match &arguments.override_file {
        Some(file) => overrides(file, &arguments.cluster)?,
        None => BTreeMap::new(),
    };
    let default = Limit { percentage: arguments.percentage, duration: arguments.duration };
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let min = arguments.min_job_instance_count as usize;
    let domain = Domain::read(&mut scheduler, included.as_deref(), min, context)?;
    let mut hosts: Vec<String> = domain.hosts().into_iter().filter(|host| !excluded.contains(host)).collect();
    if let Some(included) = &included {
        hosts.retain(|host| included.contains(host));
    }
    let mut documents: Vec<Value> = Vec::new();
    for group in groups(hosts, arguments.grouping) {
        let probes = domain.probe_group(&group, |job| limits.get(job).copied().unwrap_or(default));
        if !probes.iter().all(|probe| probe.is_safe) {
            continue;
        }
        if context.console.is_json() {
            documents.extend(group.iter().map(|host| {
                let here = probes.iter().filter(|probe| probe.host == *host);
                let jobs = here.map(|probe| {
                    let limit = limits.get(&probe.job).copied().unwrap_or(default);
                    json!({
                        "job": format!("{}/{}", arguments.cluster, probe.job),
                        "percentage": probe.percentage,
                        "duration_seconds": limit.duration.as_secs(),
                    })
                });
                json!({ "host": host, "jobs": jobs.collect::<Vec<Value>>() })
            }));
        } else if arguments.list_jobs {
            for probe in probes {
                let limit = limits.get(&probe.job).copied().unwrap_or(default);
                let (host, job, percentage) = (probe.host, probe.job, probe.percentage);
                let seconds = limit.duration.as_secs();
                context.console.out(format!("{host}\t{}/{job}\t{percentage:.2}\t{seconds}", arguments.cluster));
            }
        } else {
            group.iter().for_each(|host| context.console.out(host));
        }
    }
    if context.console.is_json() {
        context.console.out_json(&documents.into());
    }
    Ok(())
}

fn given(hosts: Option<&Vec<String>>, file: Option<&Path>) -> Outcome<Option<Vec<String>>> {
    Ok(match (hosts, file) {
        (Some(hosts), _) => Some(cleaned(hosts.clone())),
        (None, Some(file)) => Some(cleaned(lines(file)?)),
        (None, None) => None,
    })
}

/// Lines of job, percentage and duration.
fn overrides(file: &Path, cluster: &str) -> Outcome<BTreeMap<JobKey, Limit>> {
    let mut limits = BTreeMap::new();
    for line in cleaned(lines(file)?) {
        let bad = |why: String| Failure::new(Exit::Failed, format!("{}: '{line}': {why}", file.display()));
        let words: Vec<&str> = line.split_whitespace().collect();
        let [key, percentage, duration] = words.as_slice() else {
            return Err(bad("write CLUSTER/ROLE/ENV/NAME PERCENTAGE DURATION".into()));
        };
        let key: ClusterJob = key.parse().map_err(bad)?;
        if key.cluster != cluster {
            return Err(bad(format!("the job is not of cluster {cluster}")));
        }
        let percentage = arguments::percentage(percentage).map_err(bad)?;
        let duration = arguments::duration(duration).map_err(bad)?;
        limits.insert(key.job, Limit { percentage, duration });
    }
    Ok(limits)
}
