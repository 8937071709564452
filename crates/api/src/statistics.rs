//! Statistics: `/vars` and `/vars.json` under Aurora's names (spec scheduler 7.6), `/metrics` in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scheduler::View;
use thrift::{Method, ResponseCode};

use crate::consumption::Consumption;

/// A statistic's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count, an amount, a time.
    Whole(i64),
    /// A share.
    Real(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Number::Whole(value) => value as f64,
            Number::Real(value) => value,
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::Whole(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(value) => fmt::Display::fmt(value, formatter),
            // With its point, so that it is always seen to be no whole number.
            Number::Real(value) => fmt::Debug::fmt(value, formatter),
        }
    }
}

impl From<Number> for serde_json::Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(value) => value.into(),
            Number::Real(value) => value.into(),
        }
    }
}

type ReadNumbers = dyn Fn() -> Vec<(String, Number)> + Send + Sync;

/// Numbers that others keep, by name, asked for each time the statistics are read. Must not block.
#[derive(Clone)]
pub struct Gauges(Arc<ReadNumbers>);

impl Gauges {
    /// Whole numbers that this function tells.
    pub fn new(read: impl Fn() -> Vec<(String, i64)> + Send + Sync + 'static) -> Self {
        Gauges(Arc::new(move || read().into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// These, and the numbers that another function tells.
    pub fn and(self, more: impl Fn() -> Vec<(String, Number)> + Send + Sync + 'static) -> Self {
        Gauges(Arc::new(move || [(self.0)(), more()].concat()))
    }
}

impl Default for Gauges {
    fn default() -> Self {
        Gauges::new(Vec::new)
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gauges")
    }
}

/// Counts of the calls this endpoint answered.
#[derive(Debug)]
pub struct CallStatistics {
    gauges: Gauges,
    consumption: Consumption,
    started: Instant,
    calls: Vec<Counter>,
    responses: Vec<AtomicU64>,
    unreadable: AtomicU64,
}

#[derive(Debug, Default)]
struct Counter {
    events: AtomicU64,
    nanos: AtomicU64,
}

impl Default for CallStatistics {
    fn default() -> Self {
        CallStatistics {
            gauges: Gauges::default(),
            consumption: Consumption::default(),
            started: Instant::now(),
            calls: Method::ALL.iter().map(|_| Counter::default()).collect(),
            responses: ResponseCode::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            unreadable: AtomicU64::new(0),
        }
    }
}

impl CallStatistics {
    /// Statistics that show these numbers too.
    pub fn with_gauges(gauges: Gauges) -> Self {
        CallStatistics { gauges, ..CallStatistics::default() }
    }

    /// A call was answered after `elapsed`.
    pub fn answered(&self, method: Method, code: ResponseCode, elapsed: Duration) {
        let counter = &self.calls[method as usize];
        counter.events.fetch_add(1, Ordering::Relaxed);
        counter.nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.responses[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request could not be read.
    pub fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    fn called(&self) -> impl Iterator<Item = (Method, u64, u64)> {
        Method::ALL.iter().zip(&self.calls).filter_map(|(method, counter)| {
            let events = counter.events.load(Ordering::Relaxed);
            (events > 0).then(|| (*method, events, counter.nanos.load(Ordering::Relaxed)))
        })
    }

    fn answered_with(&self) -> impl Iterator<Item = (ResponseCode, u64)> {
        ResponseCode::ALL
            .iter()
            .map(|code| (*code, self.responses[*code as usize].load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

/// Every statistic by name.
pub fn variables(view: &View, calls: &CallStatistics) -> BTreeMap<String, Number> {
    let signed = |number: u64| Number::Whole(i64::try_from(number).unwrap_or(i64::MAX));
    let mut variables: BTreeMap<String, Number> =
        view.counters.iter().map(|(name, value)| (name.to_string(), Number::Whole(*value))).collect();
    variables.extend((calls.gauges.0)());
    variables.extend(calls.consumption.numbers(view));
    // The scheduler keeps these; it has not yet when nothing was stepped since the start.
    if !view.counters.keys().any(|name| name.starts_with("task_store_")) {
        let stored = view.count_by_status();
        variables.extend(stored.iter().map(|(status, count)| (format!("task_store_{status}"), signed(*count))));
    }
    for status in model::TaskStatus::ALL {
        variables.entry(format!("task_store_{status}")).or_insert(Number::Whole(0));
    }
    variables.insert("framework_registered".to_owned(), i64::from(view.registered).into());
    variables.insert("scheduler_lifecycle_ACTIVE".to_owned(), Number::Whole(1));
    variables.insert("jvm_uptime_secs".to_owned(), signed(calls.started.elapsed().as_secs()));
    variables.insert("http_500_responses_events".to_owned(), signed(calls.unreadable.load(Ordering::Relaxed)));
    for (method, events, nanos) in calls.called() {
        let name = method.name();
        variables.insert(format!("scheduler_thrift_{name}_events"), signed(events));
        variables.insert(format!("scheduler_thrift_{name}_nanos_total"), signed(nanos));
        variables.insert(format!("scheduler_thrift_{name}_nanos_per_event"), signed(nanos / events));
    }
    for (code, count) in calls.answered_with() {
        variables.insert(format!("scheduler_thrift_response_{code}"), signed(count));
    }
    variables
}

/// `/vars`: one `name value` per line, sorted.
pub fn vars_text(view: &View, calls: &CallStatistics) -> String {
    variables(view, calls).into_iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

/// `/vars.json`: one flat object.
pub fn vars_json(view: &View, calls: &CallStatistics, pretty: bool) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        variables(view, calls).into_iter().map(|(name, value)| (name, value.into())).collect();
    let object = serde_json::Value::Object(object);
    if pretty { format!("{object:#}\n") } else { object.to_string() }
}

/// `/metrics`: Prometheus' text format, version 0.0.4.
pub fn metrics(view: &View, calls: &CallStatistics) -> String {
    let mut text = String::new();
    family(&mut text, "daybreak_up_seconds", "gauge", "Seconds since this scheduler started.");
    sample(&mut text, "daybreak_up_seconds", &[], calls.started.elapsed().as_secs_f64());
    family(&mut text, "daybreak_engine_connected", "gauge", "1 while an engine offers machines.");
    sample(&mut text, "daybreak_engine_connected", &[], f64::from(u8::from(view.registered)));
    family(&mut text, "daybreak_view_position", "counter", "Number of the durable group that readers see.");
    sample(&mut text, "daybreak_view_position", &[], view.position as f64);
    family(&mut text, "daybreak_tasks", "gauge", "Stored tasks by status.");
    let stored = view.count_by_status();
    for status in model::TaskStatus::ALL {
        let count = stored.get(&status).copied().unwrap_or(0);
        sample(&mut text, "daybreak_tasks", &[("status", status.name())], count as f64);
    }
    family(&mut text, "daybreak_jobs", "gauge", "Jobs with a stored task.");
    sample(&mut text, "daybreak_jobs", &[], view.tasks_by_job.len() as f64);
    family(&mut text, "daybreak_agents", "gauge", "Connected agents.");
    sample(&mut text, "daybreak_agents", &[], view.agents.len() as f64);
    family(&mut text, "daybreak_thrift_calls_total", "counter", "Answered calls by method.");
    for (method, events, _) in calls.called() {
        sample(&mut text, "daybreak_thrift_calls_total", &[("method", method.name())], events as f64);
    }
    family(&mut text, "daybreak_thrift_call_seconds_total", "counter", "Time spent on answered calls by method.");
    for (method, _, nanos) in calls.called() {
        sample(&mut text, "daybreak_thrift_call_seconds_total", &[("method", method.name())], nanos as f64 / 1e9);
    }
    family(&mut text, "daybreak_thrift_responses_total", "counter", "Answered calls by response code.");
    for (code, count) in calls.answered_with() {
        sample(&mut text, "daybreak_thrift_responses_total", &[("code", code.name())], count as f64);
    }
    family(&mut text, "daybreak_counter", "untyped", "The scheduler's own counters, by the names of /vars.");
    for (name, value) in &view.counters {
        sample(&mut text, "daybreak_counter", &[("name", name)], *value as f64);
    }
    family(&mut text, "daybreak_gauge", "gauge", "Numbers of the daemon's other parts, by the names of /vars.");
    for (name, value) in (calls.gauges.0)() {
        sample(&mut text, "daybreak_gauge", &[("name", &name)], value.as_f64());
    }
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    if !labels.is_empty() {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{label}=\"{value}\"")
            })
            .collect();
        let _ = write!(text, "{{{}}}", labels.join(","));
    }
    let _ = writeln!(text, " {value}");
}

#[cfg(test)]
mod tests {
    use model::TaskStatus;

    use super::*;
    use crate::samples::{sample_task, view_of};

    #[test]
    fn every_status_and_every_answered_call_is_counted() {
        let mut view = view_of([
            sample_task("r/prod/j", 0, TaskStatus::Running, Some("h")),
            sample_task("r/prod/j", 1, TaskStatus::Running, Some("h")),
            sample_task("r/prod/j", 2, TaskStatus::Lost, Some("h")),
        ]);
        view.counters.insert("odd\"name".into(), 9);
        let calls = CallStatistics::with_gauges(
            Gauges::new(|| vec![("other_part".to_owned(), 7)])
                .and(|| vec![("share_percent".to_owned(), Number::Real(100.0))]),
        );
        calls.answered(Method::GetJobs, ResponseCode::Ok, Duration::from_millis(4));
        calls.answered(Method::GetJobs, ResponseCode::InvalidRequest, Duration::from_millis(2));

        let text = vars_text(&view, &calls);
        for line in [
            "task_store_RUNNING 2\n",
            "task_store_LOST 1\n",
            "task_store_PENDING 0\n",
            "framework_registered 1\n",
            "scheduler_thrift_getJobs_events 2\n",
            "scheduler_thrift_getJobs_nanos_per_event 3000000\n",
            "scheduler_thrift_response_OK 1\n",
            "scheduler_thrift_response_INVALID_REQUEST 1\n",
            "odd\"name 9\n",
            "other_part 7\n",
            "share_percent 100.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.is_sorted());
        assert!(!text.contains("getQuota"));

        for pretty in [true, false] {
            let json: serde_json::Value = serde_json::from_str(&vars_json(&view, &calls, pretty)).unwrap();
            assert_eq!(json["task_store_RUNNING"], 2);
        }

        let metrics = metrics(&view, &calls);
        for line in [
            "daybreak_tasks{status=\"RUNNING\"} 2\n",
            "daybreak_thrift_calls_total{method=\"getJobs\"} 2\n",
            "daybreak_thrift_call_seconds_total{method=\"getJobs\"} 0.006\n",
            "daybreak_counter{name=\"odd\\\"name\"} 9\n",
            "daybreak_gauge{name=\"other_part\"} 7\n",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
    }
}
