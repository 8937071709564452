//! One job on one scheduler: create it, tell what happens, print its output, stop it when asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thrift::{CreateJobArguments, GetPendingReasonArguments, KillTasksArguments, ResponseResult, ScheduledTask};

use super::Interrupts;
use super::machine::Machine;
use super::output::TaskOutput;
use super::private::PrivateCluster;
use super::watch::{Counts, Watch};
use crate::aurora::tasks::{id_of, newest_by_instance, status_of};
use crate::console::Console;
use crate::evaluation::LoadedJob;
use crate::exit::{Exit, Failure, Outcome};
use crate::files;
use crate::scheduler::{Scheduler, query_of, wire_key};

/// After this long in PENDING the reason is told.
const PENDING_PATIENCE_MS: i64 = 2000;
/// Between two looks: short while things happen, longer when nothing does.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long tasks may take to end after an interrupt, before they are left to the clean-up.
const KILL_PATIENCE: Duration = Duration::from_secs(60);
/// How many failed instances show the end of their stderr, and how much of it.
const FAILURES_SHOWN: usize = 3;
const STDERR_LINES: usize = 10;

/// A job being run.
pub struct Session<'a> {
    scheduler: Scheduler<'a>,
    job: &'a LoadedJob,
    machine: Option<Machine>,
    interrupts: Interrupts,
    watch: Watch,
    outputs: BTreeMap<String, TaskOutput>,
    /// Tasks whose output is printed to the end, with the number of its lines.
    done: BTreeMap<String, usize>,
    reasons_told: BTreeSet<String>,
    /// Said after success.
    next_step: Option<String>,
}

impl<'a> Session<'a> {
    /// Not started yet. The machine is known when it is the only one.
    pub fn new(scheduler: Scheduler<'a>, job: &'a LoadedJob, machine: Option<Machine>, interrupts: Interrupts) -> Self {
        let instances = usize::try_from(job.configuration.instance_count).unwrap_or(0);
        let watch = Watch::new(&job.key.job.name, instances, machine.map(|machine| machine.text()));
        Self {
            scheduler,
            job,
            machine,
            interrupts,
            watch,
            outputs: BTreeMap::new(),
            done: BTreeMap::new(),
            reasons_told: BTreeSet::new(),
            next_step: None,
        }
    }

    /// What the user may do after success.
    pub fn with_next_step(self, next_step: Option<String>) -> Self {
        Self { next_step, ..self }
    }

    /// Creates the job and follows it to its end.
    pub fn run(mut self, console: &mut Console, mut private: Option<&mut PrivateCluster>) -> Outcome {
        let created = self.create(console);
        let outcome = created.and_then(|()| self.follow(console));
        match (outcome, private.as_mut().and_then(|private| private.obituary())) {
            // With the daemon gone, whatever the client says about connections is beside the point.
            (Err(_), Some(obituary)) if self.interrupts.count() == 0 => {
                Err(Failure::new(Exit::CommandFailure, obituary))
            }
            (outcome, _) => outcome,
        }
    }

    fn create(&mut self, console: &mut Console) -> Outcome {
        if self.interrupts.count() > 0 {
            return Err(Failure::silent(Exit::Interrupted));
        }
        let call = CreateJobArguments { description: Some((&self.job.configuration).into()) };
        self.scheduler
            .call_quietly(call, console)
            .map(|_| ())
            .map_err(|error| error.failure("The scheduler refuses the job:", Exit::InvalidConfiguration))?;
        console.err(format!("Page: {}", self.scheduler.job_url(&self.job.key.job)));
        Ok(())
    }

    fn follow(&mut self, console: &mut Console) -> Outcome {
        let mut pause = SHORTEST_PAUSE;
        loop {
            if self.interrupts.count() > 0 {
                return self.stop(console);
            }
            let tasks = self.scheduler.tasks(query_of(&self.job.key.job), console)?;
            let has_news = self.tell(&tasks, console);
            self.explain_waiting(&tasks, console);
            if !tasks.is_empty() && Counts::of(&tasks).open() == 0 && self.is_told(&tasks) {
                return self.conclude(&tasks, console);
            }
            pause = if has_news { SHORTEST_PAUSE } else { (pause * 3 / 2).min(LONGEST_PAUSE) };
            std::thread::sleep(pause);
        }
    }

    fn is_told(&self, tasks: &[ScheduledTask]) -> bool {
        tasks.iter().all(|task| !self.watch.is_end_untold(task))
    }

    /// Prints what is new; true when anything was.
    fn tell(&mut self, tasks: &[ScheduledTask], console: &mut Console) -> bool {
        let now_ms = now_ms();
        let mut sorted: Vec<&ScheduledTask> = tasks.iter().collect();
        sorted.sort_by_key(|task| task.task_events.first().map(|event| event.timestamp));
        let mut has_news = false;
        for task in sorted {
            let id = id_of(task);
            if self.done.contains_key(id) {
                continue;
            }
            if let Some(line) = self.watch.steps(task, now_ms) {
                console.err(line);
                has_news = true;
            }
            let has_ended = self.watch.is_end_untold(task);
            let label = self.watch.label(task);
            let output = self.outputs.entry(id.to_owned()).or_default();
            // Until it is placed there is nothing to read.
            let was_placed = task.assigned_task.as_ref().is_some_and(|assigned| assigned.slave_id.is_some());
            let is_drained = !was_placed || output.read(&mut self.scheduler, id, &label, console);
            has_news |= !is_drained;
            if has_ended && is_drained {
                output.finish(&label, console);
                let files = std::mem::take(&mut output.files);
                let lines = output.lines;
                self.outputs.remove(id);
                self.done.insert(id.to_owned(), lines);
                if let Some(line) = self.watch.end(task, &files) {
                    console.err(line);
                }
                has_news = true;
            }
        }
        if let Some(line) = self.watch.count(tasks, now_ms) {
            console.err(line);
        }
        has_news
    }

    /// Says why tasks have been waiting for more than a moment, once per reason.
    fn explain_waiting(&mut self, tasks: &[ScheduledTask], console: &mut Console) {
        let now_ms = now_ms();
        let waiting = self.watch.waiting(tasks, now_ms, PENDING_PATIENCE_MS);
        let Some(first) = tasks.iter().find(|task| waiting.contains(id_of(task))) else { return };
        let Some(reason) = self.reason_of(id_of(first), console) else { return };
        if self.reasons_told.insert(reason.clone()) {
            console.err(self.watch.pending(first, waiting.len() - 1, &reason, now_ms));
        }
    }

    fn reason_of(&mut self, task_id: &str, console: &mut Console) -> Option<String> {
        if let Some(shortfall) = self.machine.and_then(|machine| machine.shortfall(&self.job.configuration)) {
            return Some(shortfall);
        }
        let call = GetPendingReasonArguments { query: Some(query_of(&self.job.key.job)) };
        let reply = self.scheduler.call_quietly(call, console).ok()?;
        let Some(ResponseResult::GetPendingReason(result)) = reply.result else { return None };
        let reason = result.reasons.iter().find(|reason| reason.task_id == task_id)?;
        Some(match reason.reason.trim() {
            "" => "no machine has offered room yet".into(),
            reason => reason.to_owned(),
        })
    }

    /// Kills the job and waits for its end; a second interrupt waits no longer.
    fn stop(&mut self, console: &mut Console) -> Outcome {
        console.err(format!("Interrupted: killing {} (again to stop at once)", self.job.key.job));
        let message = Some("daybreak run was interrupted".to_owned());
        let call = KillTasksArguments { job: Some(wire_key(&self.job.key.job)), instances: None, message };
        let deadline = std::time::Instant::now() + KILL_PATIENCE;
        let interrupted = Err(Failure::silent(Exit::Interrupted));
        if let Err(error) = self.scheduler.call_quietly(call, console) {
            console.err(error.failure("The job could not be killed:", Exit::Interrupted).text);
            return interrupted;
        }
        while self.interrupts.count() < 2 && std::time::Instant::now() < deadline {
            let Ok(tasks) = self.scheduler.tasks(query_of(&self.job.key.job), console) else { break };
            self.tell(&tasks, console);
            if Counts::of(&tasks).open() == 0 && self.is_told(&tasks) {
                break;
            }
            std::thread::sleep(SHORTEST_PAUSE);
        }
        interrupted
    }

    fn conclude(&mut self, tasks: &[ScheduledTask], console: &mut Console) -> Outcome {
        let counts = Counts::of(tasks);
        let newest = newest_by_instance(tasks);
        let unsuccessful = newest.values().filter(|task| status_of(task) == thrift::ScheduleStatus::Failed);
        for task in unsuccessful.take(FAILURES_SHOWN) {
            self.show_failure(task, console);
        }
        let total = newest.len();
        let summary = match (counts.failed, counts.killed) {
            (0, 0) => format!("{} of {total} finished.", counts.finished),
            (failed, 0) => format!("{} of {total} finished, {failed} failed.", counts.finished),
            (0, killed) => format!("{} of {total} finished, {killed} killed.", counts.finished),
            (failed, killed) => format!("{} of {total} finished, {failed} failed, {killed} killed.", counts.finished),
        };
        if counts.finished == total {
            let next_step = self.next_step.as_ref().map_or_else(String::new, |next| format!(" {next}"));
            console.err(format!("{summary}{next_step}"));
            return Ok(());
        }
        console.err(summary);
        Err(Failure::silent(Exit::Failed))
    }

    fn show_failure(&mut self, task: &ScheduledTask, console: &mut Console) {
        // What stands just above need not be said twice.
        let is_in_sight = self.done.get(id_of(task)).is_some_and(|lines| *lines <= STDERR_LINES);
        if self.watch.is_detailed() && is_in_sight {
            return;
        }
        let Some(failed) = files::failed_process(&mut self.scheduler, id_of(task), STDERR_LINES) else { return };
        if failed.stderr.is_empty() {
            return;
        }
        let label = self.watch.label(task);
        let ending = if files::verdict(task).is_some() { "was killed" } else { &failed.ending };
        console.err(format!("{label}: process '{}' {ending}; the last lines of its stderr:", failed.process));
        for line in &failed.stderr {
            console.err(format!("    {line}"));
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
