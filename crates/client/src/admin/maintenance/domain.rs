//! What of each job would be left if hosts went down, computed here from what runs (spec client-cli 4): production jobs that are large
//! enough, with all their instances, and the hosts these are on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::JobKey;
use thrift::{ScheduledTask, TaskQuery};

use crate::aurora::Context;
use crate::aurora::uptimes::{self, Uptimes};
use crate::exit::Outcome;
use crate::scheduler::{Scheduler, model_key, wire_key};

/// Jobs and where they run.
pub struct Domain {
    jobs: BTreeMap<JobKey, Vec<ScheduledTask>>,
    now_ms: i64,
}

/// What would become of a job if a group of hosts went down; listed for each of the hosts that it is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The host.
    pub host: String,
    /// The job.
    pub job: JobKey,
    /// Share of its instances that would be left and up for long enough.
    pub percentage: f64,
    /// Whether that is enough.
    pub is_safe: bool,
    /// After so many seconds it will be, if nothing else happens; `None` when time alone does not help.
    pub safe_in_secs: Option<u64>,
}

/// What is asked of a job instead of what is asked of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Share that must be left.
    pub percentage: f64,
    /// How long it must have been up.
    pub duration: Duration,
}

impl Domain {
    /// Reads what runs: everything, or the jobs that are on some hosts.
    pub fn read(
        scheduler: &mut Scheduler<'_>,
        hosts: Option<&[String]>,
        min_job_instances: usize,
        context: &mut Context<'_>,
    ) -> Outcome<Self> {
        let mut query = live();
        if let Some(hosts) = hosts {
            let on_hosts = TaskQuery { slave_hosts: Some(hosts.iter().cloned().collect()), ..live() };
            let jobs: BTreeSet<JobKey> =
                scheduler.tasks(on_hosts, &mut context.console)?.iter().filter_map(job_of).collect();
            if jobs.is_empty() {
                return Ok(Self { jobs: BTreeMap::new(), now_ms: 0 });
            }
            query.job_keys = Some(jobs.iter().map(wire_key).collect());
        }
        let tasks = scheduler.tasks(query, &mut context.console)?;
        Ok(Self::new(tasks, min_job_instances, context.world.wall_clock_ms()))
    }

    /// Of these tasks.
    pub fn new(tasks: Vec<ScheduledTask>, min_job_instances: usize, now_ms: i64) -> Self {
        let mut jobs: BTreeMap<JobKey, Vec<ScheduledTask>> = BTreeMap::new();
        for task in tasks.into_iter().filter(is_production) {
            if let Some(job) = job_of(&task) {
                jobs.entry(job).or_default().push(task);
            }
        }
        jobs.retain(|_, tasks| tasks.len() >= min_job_instances);
        Self { jobs, now_ms }
    }

    /// All hosts that a job of the domain is on.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.jobs.values().flatten().filter_map(host_of).map(str::to_owned).collect()
    }

    /// What each group of hosts would do to each job on it.
    pub fn probe(&self, groups: &[Vec<String>], percentage: f64, duration: Duration) -> Vec<Probe> {
        let limit = Limit { percentage, duration };
        groups.iter().flat_map(|group| self.probe_group(group, |_| limit)).collect()
    }

    /// The same for one group, where jobs may have limits of their own.
    pub fn probe_group(&self, group: &[String], limit_of: impl Fn(&JobKey) -> Limit) -> Vec<Probe> {
        let down: BTreeSet<&str> = group.iter().map(String::as_str).collect();
        let mut probes = Vec::new();
        for (job, tasks) in &self.jobs {
            let is_down = |task: &&ScheduledTask| host_of(task).is_some_and(|host| down.contains(host));
            let hosts: BTreeSet<&str> = tasks.iter().filter(is_down).filter_map(host_of).collect();
            if hosts.is_empty() {
                continue;
            }
            let limit = limit_of(job);
            let left = Uptimes::of(tasks.iter().filter(|task| !is_down(task)), self.now_ms);
            let percentage = left.up_percent(limit.duration, tasks.len());
            let is_safe = percentage >= limit.percentage;
            let wait = left.wait(limit.percentage, limit.duration, tasks.len());
            let safe_in_secs = if is_safe { Some(0) } else { wait.map(|wait| wait.as_secs()) };
            let probe = |host: &str| Probe { host: host.into(), job: job.clone(), percentage, is_safe, safe_in_secs };
            probes.extend(hosts.into_iter().map(probe));
        }
        probes.sort_by(|a, b| a.host.cmp(&b.host).then_with(|| a.job.cmp(&b.job)));
        probes
    }
}

fn live() -> TaskQuery {
    TaskQuery { statuses: Some(thrift::LIVE_STATES.iter().copied().collect()), ..TaskQuery::default() }
}

fn is_production(task: &ScheduledTask) -> bool {
    uptimes::config_of(task).is_some_and(|config| config.production == Some(true))
}

fn job_of(task: &ScheduledTask) -> Option<JobKey> {
    uptimes::config_of(task)?.job.as_ref().map(|key| model_key(Some(key)))
}

fn host_of(task: &ScheduledTask) -> Option<&str> {
    task.assigned_task.as_ref()?.slave_host.as_deref()
}
