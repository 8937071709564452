//! What happens to a job's tasks, told in lines: one per task and step, or a count per second when there are many. Decides what to say;
//! asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use thrift::{ScheduleStatus, ScheduledTask};

use crate::aurora::tasks::{id_of, instance_of, newest_by_instance, status_of};
use crate::files::{TaskFiles, verdict};

/// Beyond this many instances, steps are counted and only failures are told one by one.
const FEW_INSTANCES: usize = 10;
/// ASSIGNED waits this long for the next step, so that both stand in one line.
const ASSIGNED_PAUSE_MS: i64 = 250;
/// Between two counts.
const COUNT_INTERVAL_MS: i64 = 1000;

/// What has been told of one task.
#[derive(Debug, Default)]
struct Told {
    events: usize,
    status: Option<ScheduleStatus>,
}

/// The teller.
#[derive(Debug)]
pub struct Watch {
    name: String,
    instances: usize,
    /// Stands for the only machine of a private cluster.
    machine: Option<String>,
    told: BTreeMap<String, Told>,
    start_ms: Option<i64>,
    last_count: Option<(i64, Counts)>,
}

/// How many instances are in which kind of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not placed yet.
    pub pending: usize,
    /// Placed, not ended.
    pub running: usize,
    /// FINISHED.
    pub finished: usize,
    /// FAILED, LOST.
    pub failed: usize,
    /// KILLED.
    pub killed: usize,
}

impl Counts {
    /// Of the newest task of each instance.
    pub fn of(tasks: &[ScheduledTask]) -> Self {
        let mut counts = Self::default();
        for task in newest_by_instance(tasks).values() {
            match status_of(task) {
                ScheduleStatus::Init | ScheduleStatus::Pending | ScheduleStatus::Throttled => counts.pending += 1,
                ScheduleStatus::Finished => counts.finished += 1,
                ScheduleStatus::Failed | ScheduleStatus::Lost => counts.failed += 1,
                ScheduleStatus::Killed => counts.killed += 1,
                _ => counts.running += 1,
            }
        }
        counts
    }

    /// How many have not ended.
    pub fn open(&self) -> usize {
        self.pending + self.running
    }

    fn text(&self, total: usize) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.pending, "pending"),
            (self.running, "running"),
            (self.finished, "finished"),
            (self.failed, "failed"),
            (self.killed, "killed"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        format!("{} of {total}", parts.join(", "))
    }
}

impl Watch {
    /// For a job of that name with so many instances.
    pub fn new(name: &str, instances: usize, machine: Option<String>) -> Self {
        Self { name: name.into(), instances, machine, told: BTreeMap::new(), start_ms: None, last_count: None }
    }

    /// Whether every step is told.
    pub fn is_detailed(&self) -> bool {
        self.instances <= FEW_INSTANCES
    }

    /// `hello/0`.
    pub fn label(&self, task: &ScheduledTask) -> String {
        format!("{}/{}", self.name, instance_of(task))
    }

    /// The steps of a task that are new and not its end. `now_ms` is the scheduler's time, or ours.
    pub fn steps(&mut self, task: &ScheduledTask, now_ms: i64) -> Option<String> {
        self.note_start(task);
        if !self.is_detailed() {
            return None;
        }
        let start_ms = self.start_ms.unwrap_or(now_ms);
        let told = self.told.entry(id_of(task).to_owned()).or_default();
        let fresh: Vec<_> = task.task_events.iter().skip(told.events).collect();
        let mut steps = Vec::new();
        let mut taken = told.events;
        let mut latest = told.status;
        for event in fresh {
            let status = event.status.unwrap_or(ScheduleStatus::Init);
            if thrift::TERMINAL_STATES.contains(&status) {
                break;
            }
            taken += 1;
            if matches!(status, ScheduleStatus::Init | ScheduleStatus::Starting) {
                continue;
            }
            let previous = latest.replace(status);
            if previous.is_none() && status == ScheduleStatus::Pending {
                continue;
            }
            steps.push((event.timestamp, previous.unwrap_or(ScheduleStatus::Init), status, event.message.as_deref()));
        }
        let has_ended = thrift::TERMINAL_STATES.contains(&status_of(task));
        if let [(time, _, ScheduleStatus::Assigned, _)] = steps.as_slice()
            && !has_ended
            && now_ms - time < ASSIGNED_PAUSE_MS
        {
            return None;
        }
        told.events = taken;
        told.status = latest;
        let label = format!("{}/{}", self.name, instance_of(task));
        let mut line = String::new();
        for (time, previous, status, message) in steps {
            let seconds = seconds_between(start_ms, time);
            if line.is_empty() {
                line = format!("{seconds:>6.2}s {label} ");
                if previous != ScheduleStatus::Init {
                    line.push_str(&format!("{previous} -> "));
                }
                line.push_str(status.name());
            } else {
                line.push_str(&format!("   {seconds:.2}s {status}"));
            }
            line.push_str(&self.remark(task, status, message));
        }
        (!line.is_empty()).then_some(line)
    }

    fn remark(&self, task: &ScheduledTask, status: ScheduleStatus, message: Option<&str>) -> String {
        match status {
            ScheduleStatus::Assigned => {
                let host = task.assigned_task.as_ref().and_then(|assigned| assigned.slave_host.as_deref());
                match (&self.machine, host) {
                    (Some(machine), _) => format!(" {machine}"),
                    (None, Some(host)) => format!(" {host}"),
                    (None, None) => String::new(),
                }
            }
            ScheduleStatus::Throttled => match message.and_then(penalty_secs) {
                Some(seconds) => format!(": it keeps ending at once, so the next try waits {seconds} s"),
                None => ": it keeps ending at once, so the next try waits".into(),
            },
            ScheduleStatus::Running | ScheduleStatus::Pending => String::new(),
            _ => message
                .filter(|text| !text.is_empty())
                .map_or_else(String::new, |text| format!(" ({})", one_line(text))),
        }
    }

    fn note_start(&mut self, task: &ScheduledTask) {
        if let Some(first) = task.task_events.iter().map(|event| event.timestamp).min() {
            self.start_ms = Some(self.start_ms.map_or(first, |start| start.min(first)));
        }
    }

    /// Whether the end of this task still has to be told.
    pub fn is_end_untold(&self, task: &ScheduledTask) -> bool {
        let is_told = self
            .told
            .get(id_of(task))
            .and_then(|told| told.status)
            .is_some_and(|status| thrift::TERMINAL_STATES.contains(&status));
        thrift::TERMINAL_STATES.contains(&status_of(task)) && !is_told
    }

    /// The end of a task, once its output is complete; with many instances only ends that are no success.
    pub fn end(&mut self, task: &ScheduledTask, files: &TaskFiles) -> Option<String> {
        self.note_start(task);
        let status = status_of(task);
        self.told.insert(id_of(task).to_owned(), Told { events: task.task_events.len(), status: Some(status) });
        if !self.is_detailed() && matches!(status, ScheduleStatus::Finished | ScheduleStatus::Killed) {
            return None;
        }
        let time = task.task_events.last().map_or(0, |event| event.timestamp);
        let seconds = seconds_between(self.start_ms.unwrap_or(time), time);
        Some(format!("{seconds:>6.2}s {} {status}{}", self.label(task), ending(task, files)))
    }

    /// A count, at most one per second and only when it changed; none when every step is told anyway.
    pub fn count(&mut self, tasks: &[ScheduledTask], now_ms: i64) -> Option<String> {
        if self.is_detailed() || tasks.is_empty() {
            return None;
        }
        let counts = Counts::of(tasks);
        let is_due = self.last_count.is_none_or(|(time, last)| now_ms - time >= COUNT_INTERVAL_MS && last != counts);
        if !is_due || counts.open() == 0 {
            return None;
        }
        self.last_count = Some((now_ms, counts));
        let seconds = seconds_between(self.start_ms.unwrap_or(now_ms), now_ms);
        Some(format!("{seconds:>6.2}s {}: {}", self.name, counts.text(self.instances)))
    }

    /// Ids of tasks that are still waiting for a machine `since_ms` after they began to.
    pub fn waiting(&self, tasks: &[ScheduledTask], now_ms: i64, since_ms: i64) -> BTreeSet<String> {
        tasks
            .iter()
            .filter(|task| status_of(task) == ScheduleStatus::Pending)
            .filter(|task| task.task_events.last().is_some_and(|event| now_ms - event.timestamp >= since_ms))
            .map(|task| id_of(task).to_owned())
            .collect()
    }

    /// Why a task waits.
    pub fn pending(&self, task: &ScheduledTask, others: usize, reason: &str, now_ms: i64) -> String {
        let seconds = seconds_between(self.start_ms.unwrap_or(now_ms), now_ms);
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        format!("{seconds:>6.2}s {}{more} PENDING: {reason}", self.label(task))
    }
}

/// The penalty in the scheduler's words, `... penalized for 72316 ms for flapping`, in seconds.
fn penalty_secs(message: &str) -> Option<u64> {
    let milliseconds: u64 = message.split_once("penalized for ")?.1.split(' ').next()?.parse().ok()?;
    Some(milliseconds.div_ceil(1000))
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

fn seconds_between(start_ms: i64, time_ms: i64) -> f64 {
    (time_ms - start_ms).max(0) as f64 / 1000.0
}

/// ` (exit 0)`, ` (fetch: exit 3)`, or the executor's words when no exit code says it.
fn ending(task: &ScheduledTask, files: &TaskFiles) -> String {
    let message = task.task_events.last().and_then(|event| event.message.as_deref()).filter(|text| !text.is_empty());
    let last_runs = || files.processes.iter().filter_map(|process| Some((process, process.runs.last()?)));
    match status_of(task) {
        ScheduleStatus::Finished => " (exit 0)".into(),
        ScheduleStatus::Failed if verdict(task).is_none() => {
            let failed = last_runs().find(|(_, run)| run.return_code.is_some_and(|code| code != 0));
            match (failed, message) {
                (Some((process, run)), _) => {
                    let code = run.return_code.unwrap_or_default();
                    let code = if code < 0 { format!("signal {}", -code) } else { format!("exit {code}") };
                    if files.processes.len() == 1 {
                        format!(" ({code})")
                    } else {
                        format!(" ({}: {code})", process.name)
                    }
                }
                (None, Some(text)) => format!(": {}", one_line(text)),
                (None, None) => String::new(),
            }
        }
        _ => message.map_or_else(String::new, |text| format!(": {}", one_line(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Process, Run};
    use crate::testing::{hello_key, task_of};
    use thrift::ScheduleStatus as S;

    type Event = (i64, S, Option<&'static str>);

    fn task(instance: i32, id: &str, events: &[Event]) -> ScheduledTask {
        task_of(&hello_key().job, instance, id, events)
    }

    fn exited(code: i32) -> TaskFiles {
        let run = Run { run: 0, state: "X".into(), return_code: Some(code) };
        TaskFiles { user: None, processes: vec![Process { name: "hello".into(), runs: vec![run] }] }
    }

    fn private() -> Watch {
        Watch::new("hello", 1, Some("this machine (8 cpu, 15.5 GiB)".into()))
    }

    const START: i64 = 1_000_000;

    #[test]
    fn one_line_up_to_running_and_one_for_the_end() {
        let mut watch = private();
        let events = [
            (START, S::Pending, None),
            (START + 10, S::Assigned, None),
            (START + 20, S::Starting, None),
            (START + 30, S::Running, None),
            (START + 50, S::Finished, None),
        ];
        let steps = watch.steps(&task(0, "t", &events[..4]), START + 40).unwrap();
        assert_eq!(steps, "  0.01s hello/0 PENDING -> ASSIGNED this machine (8 cpu, 15.5 GiB)   0.03s RUNNING");
        let ended = task(0, "t", &events);
        assert_eq!(watch.steps(&ended, START + 60), None);
        assert!(watch.is_end_untold(&ended));
        assert_eq!(watch.end(&ended, &exited(0)).unwrap(), "  0.05s hello/0 FINISHED (exit 0)");
        assert!(!watch.is_end_untold(&ended));
    }

    #[test]
    fn assigned_waits_a_moment_for_running() {
        let mut watch = private();
        let assigned = task(0, "t", &[(START, S::Pending, None), (START + 10, S::Assigned, None)]);
        assert_eq!(watch.steps(&assigned, START + 20), None);
        let late = watch.steps(&assigned, START + 300).unwrap();
        assert_eq!(late, "  0.01s hello/0 PENDING -> ASSIGNED this machine (8 cpu, 15.5 GiB)");
        let events = [(START, S::Pending, None), (START + 10, S::Assigned, None), (START + 900, S::Running, None)];
        assert_eq!(watch.steps(&task(0, "t", &events), START + 950).unwrap(), "  0.90s hello/0 ASSIGNED -> RUNNING");
    }

    #[test]
    fn a_task_that_ends_at_once_still_shows_its_steps_first() {
        let mut watch = private();
        let events =
            [(START, S::Pending, None), (START + 10, S::Assigned, None), (START + 12, S::Failed, Some("no such user"))];
        let ended = task(0, "t", &events);
        assert!(watch.steps(&ended, START + 13).unwrap().contains("ASSIGNED this machine"));
        assert_eq!(watch.end(&ended, &TaskFiles::default()).unwrap(), "  0.01s hello/0 FAILED: no such user");
    }

    #[test]
    fn endings_name_the_exit_code_or_the_limit() {
        let failed = |message| task(0, "t", &[(START, S::Pending, None), (START + 100, S::Failed, message)]);
        let end = |message, files: &TaskFiles| private().end(&failed(message), files).unwrap();
        assert_eq!(end(Some("Task failed."), &exited(3)), "  0.10s hello/0 FAILED (exit 3)");
        assert_eq!(end(None, &exited(-9)), "  0.10s hello/0 FAILED (signal 9)");
        let limit = "Memory limit exceeded: Requested 1 MB, Used 9 MB.";
        assert_eq!(end(Some(limit), &exited(-9)), format!("  0.10s hello/0 FAILED: {limit}"));
        let unhealthy = "Failed health check! Response code differs from expected response (expected 200, got 503)";
        assert_eq!(end(Some(unhealthy), &exited(-15)), format!("  0.10s hello/0 FAILED: {unhealthy}"));
        let mut two = exited(0);
        two.processes.push(Process { name: "fetch".into(), ..exited(7).processes[0].clone() });
        assert_eq!(end(None, &two), "  0.10s hello/0 FAILED (fetch: exit 7)");
    }

    #[test]
    fn a_throttled_task_says_why_it_waits() {
        let mut watch = private();
        let message = Some("Rescheduled, penalized for 72316 ms for flapping");
        let line = watch.steps(&task(0, "t2", &[(START, S::Throttled, message)]), START).unwrap();
        assert_eq!(line, "  0.00s hello/0 THROTTLED: it keeps ending at once, so the next try waits 73 s");
    }

    #[test]
    fn many_instances_are_counted_and_only_failures_told() {
        let mut watch = Watch::new("many", 100, None);
        let tasks: Vec<ScheduledTask> = (0..100)
            .map(|instance| {
                let status = match instance {
                    0..60 => S::Finished,
                    60..90 => S::Running,
                    90..98 => S::Pending,
                    _ => S::Failed,
                };
                task(instance, &format!("t{instance}"), &[(START, S::Pending, None), (START + 10, status, None)])
            })
            .collect();
        assert!(tasks.iter().all(|task| watch.steps(task, START + 20).is_none()));
        let count = watch.count(&tasks, START + 20).unwrap();
        assert_eq!(count, "  0.02s many: 8 pending, 30 running, 60 finished, 2 failed of 100");
        assert_eq!(watch.count(&tasks, START + 1500), None, "nothing changed");
        assert_eq!(watch.end(&tasks[0], &exited(0)), None);
        assert_eq!(watch.end(&tasks[99], &exited(1)).unwrap(), "  0.01s many/99 FAILED (exit 1)");
    }

    #[test]
    fn waiting_tasks_are_found_after_their_time() {
        let watch = private();
        let tasks = vec![task(0, "t", &[(START, S::Pending, None)]), task(1, "u", &[(START, S::Running, None)])];
        assert!(watch.waiting(&tasks, START + 1999, 2000).is_empty());
        assert_eq!(watch.waiting(&tasks, START + 2000, 2000).into_iter().collect::<Vec<_>>(), ["t"]);
        let line = watch.pending(&tasks[0], 99, "needs 1000 cpu, this machine has 8", START + 2000);
        assert!(line.ends_with("hello/0 and 99 more PENDING: needs 1000 cpu, this machine has 8"), "{line}");
    }
}
