//! Figures about levels of service, computed from a frozen view (spec scheduler 5.1): how long tasks wait until they are assigned, starting
//! and running, how long jobs have been up, and how much of the time the platform kept them up. Pure functions; whoever publishes the
//! figures calls them every interval, away from the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{InstanceId, JobKey, TaskConfig, TaskStatus};

use crate::task::{Task, TaskEvent};
use crate::view::View;

/// A kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricCategory {
    /// Percentiles of how long the running instances of a job have been up.
    JobUptimes,
    /// Share of the time in which nothing of the platform's kept instances down.
    PlatformUptime,
    /// Median times until tasks are assigned, starting and running.
    Medians,
}

impl MetricCategory {
    /// Every category.
    pub const ALL: [Self; 3] = [Self::JobUptimes, Self::PlatformUptime, Self::Medians];

    /// Name in the operator's flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::JobUptimes => "JOB_UPTIMES",
            Self::PlatformUptime => "PLATFORM_UPTIME",
            Self::Medians => "MEDIANS",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// Which figures are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSettings {
    /// Of production jobs.
    pub production: BTreeSet<MetricCategory>,
    /// Of all others.
    pub non_production: BTreeSet<MetricCategory>,
}

impl Default for MetricSettings {
    /// Everything of production jobs, nothing of others.
    fn default() -> Self {
        Self { production: MetricCategory::ALL.into(), non_production: BTreeSet::new() }
    }
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// Milliseconds or seconds, as the name says.
    Whole(i64),
    /// A percentage.
    Percent(f64),
}

/// Percentiles of uptime that are published.
pub const UPTIME_PERCENTILES: [f64; 5] = [50.0, 75.0, 90.0, 95.0, 99.0];

/// All figures by name, over the `window_ms` before `now_ms`, both in ms, the latter since the epoch.
pub fn metrics(view: &View, settings: &MetricSettings, now_ms: i64, window_ms: i64) -> BTreeMap<String, MetricValue> {
    let mut found = BTreeMap::new();
    let window = Window { start_ms: now_ms.saturating_sub(window_ms), end_ms: now_ms };
    for (wanted, production, suffix) in
        [(&settings.production, true, ""), (&settings.non_production, false, "_nonprod")]
    {
        if wanted.is_empty() {
            continue;
        }
        let mut groups = Groups::default();
        for job in view.jobs() {
            let of_kind = |task: &&Arc<Task>| is_of(&task.config, production);
            let tasks: Vec<&Arc<Task>> = view.tasks_of(job).filter(of_kind).collect();
            if !tasks.is_empty() {
                groups.add_job(job, &tasks, wanted, window);
            }
        }
        groups.publish(wanted, suffix, &mut found);
    }
    found
}

/// How long the running instances of a job have been up: the value in seconds that `percentile` percent of them meet or exceed; 0 when
/// none runs.
pub fn job_uptime_secs(view: &View, job: &JobKey, percentile: f64, now_ms: i64) -> i64 {
    let mut uptimes = uptimes_ms(view.tasks_of(job), now_ms);
    percentile_of(&mut uptimes, percentile) / 1000
}

fn is_of(config: &TaskConfig, production: bool) -> bool {
    config.is_service && config.production.unwrap_or(false) == production
}

/// The time that is looked at, `end_ms` excluded.
#[derive(Clone, Copy, Debug)]
struct Window {
    start_ms: i64,
    end_ms: i64,
}

impl Window {
    fn contains(&self, stamp_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&stamp_ms)
    }
}

/// What medians are taken of: names of the statuses in the order of [`MEDIAN_NAMES`].
const MEDIAN_STATUSES: [TaskStatus; 3] = [TaskStatus::Assigned, TaskStatus::Starting, TaskStatus::Running];
const MEDIAN_NAMES: [&str; 3] = ["mtta_ms", "mtts_ms", "mttr_ms"];

/// What was gathered of one group: a job, the cluster, or tasks of one size.
#[derive(Debug, Default)]
struct Gathered {
    waits_ms: [Vec<i64>; 3],
    up_ms: i64,
    total_ms: i64,
}

impl Gathered {
    fn uptime_percent(&self) -> f64 {
        if self.total_ms == 0 { 100.0 } else { self.up_ms as f64 * 100.0 / self.total_ms as f64 }
    }
}

/// What was gathered so far, by the prefix of its names.
#[derive(Debug, Default)]
struct Groups {
    jobs: BTreeMap<String, (Gathered, Vec<i64>)>,
    cluster: Gathered,
    sizes: BTreeMap<String, Gathered>,
}

impl Groups {
    fn add_job(&mut self, job: &JobKey, tasks: &[&Arc<Task>], wanted: &BTreeSet<MetricCategory>, window: Window) {
        let (gathered, uptimes) = self.jobs.entry(format!("sla_{job}_")).or_default();
        if wanted.contains(&MetricCategory::JobUptimes) {
            *uptimes = uptimes_ms(tasks.iter().copied(), window.end_ms);
        }
        if wanted.contains(&MetricCategory::PlatformUptime) {
            for (up_ms, total_ms) in platform_ms(tasks, window) {
                gathered.up_ms += up_ms;
                gathered.total_ms += total_ms;
                self.cluster.up_ms += up_ms;
                self.cluster.total_ms += total_ms;
            }
        }
        if wanted.contains(&MetricCategory::Medians) {
            for task in tasks.iter().filter(|task| task.status.is_active()) {
                let sizes = sizes_of(&task.config).map(|name| {
                    if !self.sizes.contains_key(name.as_str()) {
                        self.sizes.insert(name.clone(), Gathered::default());
                    }
                    name
                });
                for (at, status) in MEDIAN_STATUSES.into_iter().enumerate() {
                    let Some(wait_ms) = wait_ms(&task.events, status, window) else { continue };
                    gathered.waits_ms[at].push(wait_ms);
                    self.cluster.waits_ms[at].push(wait_ms);
                    for name in &sizes {
                        if let Some(size) = self.sizes.get_mut(name) {
                            size.waits_ms[at].push(wait_ms);
                        }
                    }
                }
            }
        }
    }

    fn publish(mut self, wanted: &BTreeSet<MetricCategory>, suffix: &str, found: &mut BTreeMap<String, MetricValue>) {
        let mut put = |prefix: &str, name: &str, value| {
            found.insert(normalised(prefix, name, suffix), value);
        };
        for (prefix, (gathered, uptimes)) in &mut self.jobs {
            if wanted.contains(&MetricCategory::JobUptimes) {
                for percentile in UPTIME_PERCENTILES {
                    let value = percentile_of(uptimes, percentile) / 1000;
                    put(prefix, &format!("job_uptime_{percentile:.2}_sec"), MetricValue::Whole(value));
                }
            }
            if wanted.contains(&MetricCategory::PlatformUptime) {
                put(prefix, "platform_uptime_percent", MetricValue::Percent(gathered.uptime_percent()));
            }
        }
        if wanted.contains(&MetricCategory::PlatformUptime) {
            let percent = self.cluster.uptime_percent();
            put("sla_cluster_", "platform_uptime_percent", MetricValue::Percent(percent));
        }
        if wanted.contains(&MetricCategory::Medians) {
            let jobs = self.jobs.iter_mut().map(|(prefix, (gathered, _))| (prefix.as_str(), gathered));
            let sizes = self.sizes.iter_mut().map(|(prefix, gathered)| (prefix.as_str(), gathered));
            for (prefix, gathered) in jobs.chain(sizes).chain([("sla_cluster_", &mut self.cluster)]) {
                for (name, waits) in MEDIAN_NAMES.into_iter().zip(&mut gathered.waits_ms) {
                    put(prefix, name, MetricValue::Whole(percentile_of(waits, 50.0)));
                }
            }
        }
    }
}

/// Characters that names of statistics cannot have become `_`.
fn normalised(prefix: &str, name: &str, suffix: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    format!("{prefix}{name}{suffix}").chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// Names of the sizes of tasks, each with the amounts of CPU in thousandths, memory and disk in MB up to which it goes.
const SIZES: [(&str, [i64; 3]); 5] = [
    ("small", [1000, 1024, 4096]),
    ("medium", [4000, 8192, 16_384]),
    ("large", [8000, 16_384, 32_768]),
    ("xlarge", [16_000, 32_768, 65_536]),
    ("xxlarge", [i64::MAX; 3]),
];

/// Prefixes of the groups by size that a task belongs to.
fn sizes_of(config: &TaskConfig) -> [String; 3] {
    let resources = &config.resources;
    let amounts = [("cpu", resources.cpu.0), ("ram", resources.ram_mb), ("disk", resources.disk_mb)];
    let mut kind = 0;
    amounts.map(|(name, amount)| {
        let size = SIZES.iter().find(|(_, bounds)| amount <= bounds[kind]).map_or("xxlarge", |(size, _)| size);
        kind += 1;
        format!("sla_{name}_{size}_")
    })
}

/// The value that `percentile` percent of the list meet or exceed, interpolated between its neighbours; 0 for an empty list. Sorts it.
fn percentile_of(values: &mut [i64], percentile: f64) -> i64 {
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else { return 0 };
    let at = (100.0 - percentile) / 100.0 * last as f64;
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let part = at - below as f64;
    let (low, high) = (values[below] as f64, values[above] as f64);
    (low + (high - low) * part).floor() as i64
}

fn uptimes_ms<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>, now_ms: i64) -> Vec<i64> {
    let running = tasks.filter(|task| task.status == TaskStatus::Running);
    running.map(|task| now_ms.saturating_sub(task.last_event_ms()).max(0)).collect()
}

/// How long a task was PENDING before the first time in the window that it came to `status`.
fn wait_ms(events: &[TaskEvent], status: TaskStatus, window: Window) -> Option<i64> {
    let at = events.iter().position(|event| event.status == status && window.contains(event.timestamp_ms))?;
    let pending = events[..at].iter().rev().find(|event| event.status == TaskStatus::Pending)?;
    Some(events[at].timestamp_ms.saturating_sub(pending.timestamp_ms))
}

/// What an instance is, as far as the platform is responsible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interval {
    Up,
    Down,
    /// Not wanted, or down for reasons of its own.
    Removed,
}

/// What follows an event.
fn next_interval(present: Interval, event: TaskStatus) -> Interval {
    match event {
        TaskStatus::Lost | TaskStatus::Draining | TaskStatus::Preempting => Interval::Down,
        TaskStatus::Pending | TaskStatus::Assigned | TaskStatus::Starting => match present {
            Interval::Down => Interval::Down,
            Interval::Up | Interval::Removed => Interval::Removed,
        },
        TaskStatus::Throttled
        | TaskStatus::Finished
        | TaskStatus::Restarting
        | TaskStatus::Failed
        | TaskStatus::Killing => Interval::Removed,
        TaskStatus::Running | TaskStatus::Partitioned => Interval::Up,
        TaskStatus::Killed if present == Interval::Up => Interval::Down,
        TaskStatus::Killed | TaskStatus::Init => present,
    }
}

/// For each instance how long it was up in the window, and how long it should have been.
fn platform_ms(tasks: &[&Arc<Task>], window: Window) -> Vec<(i64, i64)> {
    let mut instances: BTreeMap<InstanceId, Vec<(i64, TaskStatus)>> = BTreeMap::new();
    for task in tasks {
        let events = instances.entry(task.instance).or_default();
        events.extend(task.events.iter().map(|event| (event.timestamp_ms, event.status)));
    }
    instances.into_values().map(|events| platform_of(events, window)).collect()
}

fn platform_of(mut events: Vec<(i64, TaskStatus)>, window: Window) -> (i64, i64) {
    // Stable: events of one task at one moment stay in order.
    events.sort_by_key(|(stamp_ms, _)| *stamp_ms);
    let (mut up_ms, mut down_ms) = (0, 0);
    let (mut present, mut since_ms) = (Interval::Removed, i64::MIN);
    let ends = events.into_iter().map(|(stamp_ms, status)| (stamp_ms, Some(status)));
    for (stamp_ms, status) in ends.chain([(i64::MAX, None)]) {
        let from_ms = since_ms.clamp(window.start_ms, window.end_ms);
        let length_ms = stamp_ms.clamp(window.start_ms, window.end_ms) - from_ms;
        match present {
            Interval::Up => up_ms += length_ms,
            Interval::Down => down_ms += length_ms,
            Interval::Removed => {}
        }
        if let Some(status) = status {
            present = next_interval(present, status);
        }
        since_ms = stamp_ms;
    }
    (up_ms, up_ms + down_ms)
}

#[cfg(test)]
mod tests;
