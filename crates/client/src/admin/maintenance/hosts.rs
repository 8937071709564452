//! The commands that change or show the mode of hosts.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use thrift::{
    DrainHostsArguments, EndMaintenanceArguments, HostStatus, Hosts, MaintenanceMode, MaintenanceStatusArguments,
    PercentageSlaPolicy, ResponseResult, SlaDrainHostsArguments, SlaPolicy, StartMaintenanceArguments,
};

use super::arguments::{
    Grouping, HostArguments, HostDrainArguments, HostOptions, HostStatusArguments, SlaHostDrainArguments,
};
use super::domain::Domain;
use crate::admin::call::call;
use crate::aurora::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::{Scheduler, missing_result};

/// Between two looks at hosts that are being drained.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long hosts that are being drained together are waited for.
const POLL_LIMIT: Duration = Duration::from_secs(300);
/// What `host_drain` asks of jobs unless overridden: the share that stays up, and for how long it has been.
const DEFAULT_PERCENTAGE: f64 = 95.0;
const DEFAULT_DURATION: Duration = Duration::from_secs(30 * 60);
/// Jobs with fewer instances are not looked at by `host_drain`.
const MIN_JOB_INSTANCES: usize = 20;

/// A mode as it is shown.
fn name(mode: Option<MaintenanceMode>) -> &'static str {
    mode.map_or("UNKNOWN", |mode| model::MaintenanceMode::from(mode).name())
}

/// The hosts meant, each once, in the order given.
pub fn chosen(options: &HostOptions) -> Outcome<Vec<String>> {
    let names = match (&options.hosts, &options.filename) {
        (Some(hosts), _) => hosts.clone(),
        (None, Some(file)) => lines(file)?,
        (None, None) => Vec::new(),
    };
    let hosts = cleaned(names);
    if hosts.is_empty() {
        return Err(Failure::new(Exit::Failed, "No hosts are named: use --hosts HOST,HOST or --filename FILE."));
    }
    Ok(hosts)
}

/// The lines of a file of hosts; empty ones and comments are passed over.
pub fn lines(file: &Path) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be read: {error}", file.display())))?;
    Ok(text.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect())
}

/// Names without blanks around them, each once.
pub fn cleaned(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn wire(hosts: &[String]) -> Option<Hosts> {
    Some(Hosts { host_names: hosts.iter().cloned().collect() })
}

fn statuses(scheduler: &mut Scheduler<'_>, hosts: &[String], context: &mut Context<'_>) -> Outcome<Vec<HostStatus>> {
    let reply = call(scheduler, MaintenanceStatusArguments { hosts: wire(hosts) }, context)?;
    match reply.result {
        Some(ResponseResult::MaintenanceStatus(result)) => {
            let mut statuses: Vec<HostStatus> = result.statuses.into_iter().collect();
            statuses.sort_by(|a, b| a.host.cmp(&b.host));
            Ok(statuses)
        }
        _ => Err(missing_result("maintenanceStatus")),
    }
}

/// Says which hosts the scheduler has never heard of: it passes them over in silence.
fn warn_of_unknown(hosts: &[String], statuses: &[HostStatus], context: &mut Context<'_>) {
    let known: BTreeSet<&str> = statuses.iter().map(|status| status.host.as_str()).collect();
    for host in hosts.iter().filter(|host| !known.contains(host.as_str())) {
        context.console.warning(format!("The scheduler does not know host {host}"));
    }
}

/// `host_deactivate`.
pub fn deactivate(arguments: &HostArguments, context: &mut Context<'_>) -> Outcome {
    let hosts = chosen(&arguments.hosts)?;
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let reply = call(&mut scheduler, StartMaintenanceArguments { hosts: wire(&hosts) }, context)?;
    if let Some(ResponseResult::StartMaintenance(result)) = reply.result {
        warn_of_unknown(&hosts, &result.statuses.0, context);
    }
    Ok(())
}

/// `host_activate`.
pub fn activate(arguments: &HostArguments, context: &mut Context<'_>) -> Outcome {
    let hosts = chosen(&arguments.hosts)?;
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let before = statuses(&mut scheduler, &hosts, context)?;
    for status in before.iter().filter(|status| status.mode == Some(MaintenanceMode::Draining)) {
        context.console.warning(format!("{} was still being drained", status.host));
    }
    call(&mut scheduler, EndMaintenanceArguments { hosts: wire(&hosts) }, context)?;
    warn_of_unknown(&hosts, &before, context);
    Ok(())
}

/// `host_status`. The lines of hosts come last: scripts read the last one.
pub fn status(arguments: &HostStatusArguments, context: &mut Context<'_>) -> Outcome {
    let hosts = chosen(&arguments.hosts)?;
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let statuses = statuses(&mut scheduler, &hosts, context)?;
    warn_of_unknown(&hosts, &statuses, context);
    if context.console.is_json() {
        let row = |status: &HostStatus| json!({ "host": status.host, "mode": name(status.mode) });
        context.console.out_json(&statuses.iter().map(row).collect());
        return Ok(());
    }
    for status in &statuses {
        // The command's result, whatever is logged.
        context.console.err(format!(" INFO] {} is in state: {}", status.host, name(status.mode)));
    }
    Ok(())
}

/// `sla_host_drain`.
pub fn sla_drain(arguments: &SlaHostDrainArguments, context: &mut Context<'_>) -> Outcome {
    let hosts = chosen(&arguments.hosts)?;
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let policy = PercentageSlaPolicy {
        percentage: arguments.default_percentage,
        duration_secs: seconds(arguments.default_duration),
    };
    let drain = SlaDrainHostsArguments {
        hosts: wire(&hosts),
        default_sla_policy: Some(SlaPolicy::Percentage(policy)),
        timeout_secs: seconds(arguments.force_drain_timeout),
    };
    let reply = call(&mut scheduler, drain, context)?;
    if let Some(ResponseResult::DrainHosts(result)) = reply.result {
        warn_of_unknown(&hosts, &result.statuses.0, context);
    }
    Ok(())
}

/// `host_drain`: announces, then drains group after group those hosts whose loss no job would feel too much.
pub fn drain(arguments: &HostDrainArguments, context: &mut Context<'_>) -> Outcome {
    // The classic command prints it first, set or not, and scripts count lines.
    context.console.out(arguments.override_percentage.map_or_else(|| "None".to_owned(), |percent| percent.to_string()));
    let hosts = chosen(&arguments.hosts)?;
    if let Some(reason) = &arguments.override_reason {
        context.console.info(format!(
            "Default SLA values (percentage: {DEFAULT_PERCENTAGE} %, duration: 30m) are overridden: {reason}"
        ));
    }
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    call(&mut scheduler, StartMaintenanceArguments { hosts: wire(&hosts) }, context)?;
    let groups: Vec<Vec<String>> = match arguments.grouping {
        Grouping::ByHost => hosts.into_iter().map(|host| vec![host]).collect(),
        Grouping::None => vec![hosts],
    };
    let mut left = BTreeSet::new();
    for group in groups {
        let unsafe_hosts = unsafe_hosts(&mut scheduler, &group, arguments, context)?;
        if !unsafe_hosts.is_empty() {
            let list = join(&unsafe_hosts);
            context.console.warning(format!("These hosts did not pass the SLA check and are not drained: {list}"));
        }
        let drainable: Vec<String> = group.into_iter().filter(|host| !unsafe_hosts.contains(host)).collect();
        left.extend(unsafe_hosts);
        if drainable.is_empty() {
            continue;
        }
        let late = drain_group(&mut scheduler, &drainable, context)?;
        for host in drainable.iter().filter(|host| !late.contains(*host)) {
            if let Some(script) = &arguments.post_drain_script {
                context.console.info(format!("Running {} {host}", script.display()));
                if let Err(why) = context.world.run_program(script, &[host]) {
                    context.console.warning(format!("The post drain script failed: {why}"));
                }
            }
        }
        left.extend(late);
    }
    report(&left, arguments.unsafe_hosts_file.as_deref(), context)
}

fn join(hosts: &BTreeSet<String>) -> String {
    hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Hosts of a group that cannot all go without bringing some job below what is asked.
fn unsafe_hosts(
    scheduler: &mut Scheduler<'_>,
    group: &[String],
    arguments: &HostDrainArguments,
    context: &mut Context<'_>,
) -> Outcome<BTreeSet<String>> {
    let percentage = arguments.override_percentage.unwrap_or(DEFAULT_PERCENTAGE);
    let duration = arguments.override_duration.unwrap_or(DEFAULT_DURATION);
    let domain = Domain::read(scheduler, Some(group), MIN_JOB_INSTANCES, context)?;
    let probed = domain.probe(&[group.to_vec()], percentage, duration);
    Ok(probed.into_iter().filter(|probe| !probe.is_safe).map(|probe| probe.host).collect())
}

/// Drains hosts and waits; returns those that were not drained in time.
fn drain_group(
    scheduler: &mut Scheduler<'_>,
    hosts: &[String],
    context: &mut Context<'_>,
) -> Outcome<BTreeSet<String>> {
    context.console.info(format!("Draining {}", hosts.join(", ")));
    call(scheduler, DrainHostsArguments { hosts: wire(hosts) }, context)?;
    let started = context.world.elapsed();
    let mut left: BTreeSet<String> = hosts.iter().cloned().collect();
    loop {
        context.world.pause(POLL_INTERVAL);
        let asked: Vec<String> = left.iter().cloned().collect();
        let statuses = statuses(scheduler, &asked, context)?;
        // A host that the scheduler does not know is never drained.
        for status in statuses.iter().filter(|status| status.mode == Some(MaintenanceMode::Drained)) {
            left.remove(&status.host);
        }
        context.console.progress("drained", (hosts.len() - left.len()) as u64, hosts.len() as u64);
        if left.is_empty() {
            context.console.end_progress();
            return Ok(left);
        }
        if context.world.elapsed().saturating_sub(started) >= POLL_LIMIT {
            context.console.end_progress();
            context.console.warning(format!("These hosts were not drained in time: {}", join(&left)));
            return Ok(left);
        }
        if !context.console.shows_progress() {
            context.console.info(format!("Waiting for hosts to be drained: {}", join(&left)));
        }
    }
}

/// Names the hosts that could not be drained.
fn report(left: &BTreeSet<String>, file: Option<&Path>, context: &mut Context<'_>) -> Outcome {
    if left.is_empty() {
        return Ok(());
    }
    context.console.info("These hosts did not pass the SLA check or were not drained in time:");
    let list = left.iter().map(|host| format!("{host}\n")).collect::<String>();
    context.console.out(list.trim_end());
    match file {
        Some(file) => std::fs::write(file, list)
            .map_err(|error| Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))),
        None => Ok(()),
    }
}
