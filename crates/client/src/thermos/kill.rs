//! `thermos kill`: ends tasks of this machine. Whoever runs a task is asked to end it, and records the end itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checkpoint::record::Header;
use observer::detect::Place;
use observer::store::{Store, Task, Which};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::arguments::KillArguments;
use super::{matching, runner};
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

/// A runner gives processes 60 s to end (spec executor 1.11); then it kills them.
const END_LIMIT: Duration = Duration::from_secs(90);
const LOOK_PAUSE: Duration = Duration::from_millis(100);

pub fn run(arguments: &KillArguments, store: &Store, console: &mut Console) -> Outcome {
    let tasks = matching(store, Which::Active, &arguments.expressions)?;
    if tasks.is_empty() {
        console.out("No active tasks matched.");
        return Ok(());
    }
    let mut failures = Vec::new();
    for task in &tasks {
        match end(task, store) {
            Ok(()) => console.out(format!("Killing {}...done.", task.id)),
            Err(why) => failures.push(format!("{} was not killed: {why}", task.id)),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(Exit::CommandFailure, failures.join("\n"))) }
}

/// The root of Thermos that the task lies below.
fn root(task: &Task) -> Option<&Path> {
    match &task.place {
        Place::Thermos { root, .. } => Some(root),
        Place::Run(_) => None,
    }
}

/// Whoever runs the task: the supervisor of the header, or the runner that recorded the last state.
fn supervisor(task: &Task, own_header: Option<&Header>) -> Result<(Pid, Option<u64>), String> {
    let header = own_header.or(task.state.header.as_ref()).filter(|header| header.supervisor_pid > 0);
    let (pid, start_ticks) = match header {
        Some(header) => (header.supervisor_pid, Some(header.supervisor_start_ticks)),
        None => (task.state.task.last().map_or(0, |record| record.decider_pid), None),
    };
    Pid::from_raw(pid).filter(|_| pid > 1).map(|pid| (pid, start_ticks)).ok_or_else(|| "its runner is not known".into())
}

fn end(task: &Task, store: &Store) -> Result<(), String> {
    let own_header = root(task).and_then(|root| runner::own_header(root, &task.id));
    let (pid, start_ticks) = supervisor(task, own_header.as_ref())?;
    // The descriptor means this process for good; what it is can be checked in peace.
    let process = pidfd_open(pid, PidfdFlags::empty()).ok().filter(|_| match start_ticks {
        Some(expected) => started(pid) == Some(expected),
        None => is_runner(pid),
    });
    let Some(process) = process else {
        return match root(task).filter(|_| own_header.is_some()) {
            Some(root) => end_abandoned(root, &task.id),
            None => Err("whoever ran it is gone; the scheduler will report it as lost".to_owned()),
        };
    };
    pidfd_send_signal(&process, Signal::USR1).map_err(|error| format!("its runner cannot be told: {error}"))?;
    let begun = Instant::now();
    while begun.elapsed() < END_LIMIT {
        match store.task(&task.id) {
            Some(now) if now.is_active() => std::thread::sleep(LOOK_PAUSE),
            _ => return Ok(()),
        }
    }
    Err("it did not end in time".into())
}

/// There is no scheduler to tell, so what is left of the task is ended from here (spec executor 1.13).
fn end_abandoned(root: &Path, task_id: &str) -> Result<(), String> {
    match runner::complete(root, task_id) {
        Ok(true) => Ok(()),
        Ok(false) => Err("whoever ran it is gone, and its record cannot be completed".to_owned()),
        Err(error) => Err(format!("whoever ran it is gone, and its record cannot be completed: {error}")),
    }
}

/// Start time of a process in ticks since boot; `None` when it has ended, whether or not somebody has taken note of that.
fn started(pid: Pid) -> Option<u64> {
    let path = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let text = std::fs::read_to_string(path).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// The original left no start time behind; its runner names itself on its command line.
fn is_runner(pid: Pid) -> bool {
    let text = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&text).contains("thermos")
}
