//! Completing the checkpoint of a run whose supervisor is dead. Exit codes are recorded when someone saw them, and never invented.

use std::collections::BTreeMap;
use std::time::Duration;

use checkpoint::layout::{EngineDirectory, RunDirectory};
use checkpoint::record::{ProcessRecord, ProcessState, StatusReason, StatusRecord, StatusState, TaskRecord, TaskState};
use checkpoint::replay::RunState;
use checkpoint::stream::{ReadError, Writer};
use model::process::{End, Late, LateValues, Task, TaskPlan};
use rustix::fs::{Mode, OFlags};

use crate::docker::{self, Leftovers, Order};
use crate::launcher::log;
use crate::system::cgroup;
use crate::system::procfs::{self, START_TICKS_TOLERANCE};
use crate::system::wait::{self, Exit};
use crate::system::{monotonic_ms, wall_ms};

/// How long a Docker daemon that does not answer is waited for, seconds.
const SWEEP_PATIENCE_SECS: u64 = 20;

/// How long what a dead supervisor left may take to be gone once it was killed, milliseconds.
const LEFT_PATIENCE_MS: u64 = 5_000;
const LEFT_PAUSE: Duration = Duration::from_millis(5);

/// The ends of processes that the launcher saw after the death of their supervisor.
#[derive(Debug)]
pub struct Endings {
    exits: BTreeMap<i32, Exit>,
    /// Whether the supervisor was a child of the launcher, so that its children were passed on.
    seen: bool,
}

impl Endings {
    /// None so far. `seen` says whether ends can be seen at all.
    pub fn new(seen: bool) -> Self {
        Self { exits: BTreeMap::new(), seen }
    }

    /// A process has ended. SIGKILL tells nothing: it is what strays get.
    pub fn add(&mut self, exit: Exit) {
        if self.seen && exit.return_code != -libc::SIGKILL {
            self.exits.entry(exit.pid).or_insert(exit);
        }
    }
}

/// Completes the checkpoint in `run_directory` after its supervisor died and everything of it was killed. A run that is over stays as it is.
pub fn complete(run_directory: &str, endings: &Endings) {
    let run = RunDirectory::new(run_directory);
    match RunState::load(&run.checkpoint()) {
        Ok(state) if state.is_over() || state.header.is_none() => {}
        Ok(state) => {
            let reason = StatusReason::SupervisorTerminated;
            if let Err(error) =
                write_end(&run, &state, &endings.exits, reason, "the task's supervisor ended unexpectedly")
            {
                log(&format!("{run_directory}: cannot be completed: {error}"));
            }
        }
        // The supervisor died before it wrote anything: the engine sees that by itself.
        Err(error) => log(&format!("{run_directory}: {error}")),
    }
}

/// Kills what is left of a run that nobody looks after, and completes its checkpoint.
pub fn complete_abandoned(run_directory: &str, state: &RunState, same_boot: bool) {
    let run = RunDirectory::new(run_directory);
    let Some(header) = &state.header else { return };
    if same_boot {
        kill_left(state);
        cgroup::remove_paths(&header.cgroups);
    }
    let (reason, why) = if same_boot {
        (StatusReason::SupervisorTerminated, "the task's supervisor and the launcher ended unexpectedly")
    } else {
        (StatusReason::AgentRestarted, "the machine was booted anew while the task ran")
    };
    if let Err(error) = write_end(&run, state, &BTreeMap::new(), reason, why) {
        log(&format!("{run_directory}: cannot be completed: {error}"));
    }
}

/// Kills what is left of the processes of a run whose supervisor is dead, and records their ends, so that another supervisor can go on
/// with it (spec executor 1.13).
pub fn settle(run_directory: &str, state: &RunState, same_boot: bool) -> Result<(), String> {
    let why = if same_boot { "the task's supervisor ended unexpectedly" } else { "the machine was booted anew" };
    if same_boot {
        kill_left(state);
        if let Some(header) = &state.header {
            cgroup::remove_paths(&header.cgroups);
        }
        let alive =
            |run: &ProcessRecord| run.pid.zip(run.start_ticks).is_some_and(|(pid, ticks)| procfs::is_alive(pid, ticks));
        let deadline_ms = monotonic_ms() + LEFT_PATIENCE_MS;
        while state.live_runs().any(alive) {
            if monotonic_ms() > deadline_ms {
                return Err("processes of it cannot be killed".to_owned());
            }
            std::thread::sleep(LEFT_PAUSE);
        }
    }
    let mut writer = Writer::open(&RunDirectory::new(run_directory).checkpoint()).map_err(|error| error.to_string())?;
    let now_ms = wall_ms();
    state.live_runs().for_each(|live| writer.push(ended_record(live, None, now_ms, why)));
    writer.commit().map_err(|error| error.to_string())
}

/// Kills what the checkpoint in `run_directory` knows of.
pub fn kill_recorded(run_directory: &str) {
    if let Ok(state) = RunState::load(&RunDirectory::new(run_directory).checkpoint())
        && !state.is_over()
    {
        kill_left(&state);
    }
}

/// Starts a helper that removes the containers that the run in `run_directory` may have left; its pid. `None` when there can be none.
pub(crate) fn sweep(run_directory: &str) -> Option<i32> {
    let state = RunState::load(&RunDirectory::new(run_directory).checkpoint()).ok()?;
    let header = state.header?;
    start_sweeper(&Order::Sweep(Leftovers {
        docker_host: header.docker_host?,
        task_id: header.task_id,
        project: String::new(),
        patience_secs: SWEEP_PATIENCE_SECS,
    }))
}

/// Starts a helper that removes the containers of tasks of an engine directory that are over; its pid.
pub(crate) fn sweep_all(docker_host: &str, directory: &EngineDirectory) -> Option<i32> {
    let directory = directory.root().display().to_string();
    start_sweeper(&Order::SweepAll { docker_host: docker_host.to_owned(), directory })
}

fn start_sweeper(order: &Order) -> Option<i32> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
    docker::start(order, std::io::stderr(), null).map_err(|why| log(&format!("containers are not removed: {why}"))).ok()
}

fn kill_left(state: &RunState) {
    let Some(header) = &state.header else { return };
    cgroup::kill_paths(&header.cgroups);
    // Every run is a session of its own. As long as the session has a member its number is not given to anyone else, and a member
    // is never older than the session.
    let sessions: BTreeMap<i32, u64> =
        state.processes.values().flatten().filter_map(|run| Some((run.pid?, run.start_ticks?))).collect();
    let home = format!("HOME={}", header.sandbox).into_bytes();
    let oldest = sessions.values().min().copied().unwrap_or(u64::MAX);
    let mut doomed = Vec::new();
    for (pid, stat) in &procfs::all() {
        let in_session = sessions.get(&stat.session).is_some_and(|started| {
            let leader = procfs::stat(stat.session);
            let recycled = leader.is_some_and(|leader| leader.start_ticks.abs_diff(*started) > START_TICKS_TOLERANCE);
            !recycled && stat.start_ticks + START_TICKS_TOLERANCE >= *started
        });
        // What has left its session still has the home that no other process has, unless it has taken another on purpose.
        if in_session
            || (!header.shares_sandbox
                && stat.start_ticks + START_TICKS_TOLERANCE >= oldest
                && procfs::has_variable(*pid, &home))
        {
            doomed.push(*pid);
        }
    }
    doomed.extend(procfs::descendants(&doomed));
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for pid in &doomed {
            wait::signal(*pid, signal);
        }
    }
}

/// Records the ends of the processes and of the task.
fn write_end(
    run: &RunDirectory,
    state: &RunState,
    exits: &BTreeMap<i32, Exit>,
    reason: StatusReason,
    why: &str,
) -> Result<(), ReadError> {
    let mut writer = Writer::open(&run.checkpoint())?;
    let now_ms = wall_ms();
    let mut ends = Vec::new();
    for live in state.live_runs() {
        let exit = live.pid.and_then(|pid| exits.get(&pid));
        let record = ended_record(live, exit, now_ms, why);
        writer.push(record.clone());
        ends.push(record);
    }
    let unknown = ends.iter().any(|record| record.return_code.is_none());
    let outcome = if unknown { None } else { outcome(state, &ends) };
    let return_code = ends.iter().rev().find_map(|record| record.return_code);
    let (task, status, message) = match outcome {
        Some(true) => (TaskState::Success, StatusState::Finished, "Task finished.".to_owned()),
        Some(false) => {
            let failed = ends.iter().find(|record| record.state() == ProcessState::Failed);
            let what = failed.map_or_else(
                || "Task failed.".to_owned(),
                |record| {
                    let status = record.return_code.unwrap_or_default();
                    format!("Task failed: process {} exited with status {status}.", record.process)
                },
            );
            (TaskState::Failed, StatusState::Failed, what)
        }
        None => {
            let code = if unknown { "; exit code unknown" } else { "" };
            (TaskState::Lost, StatusState::Lost, format!("Task lost: {why}{code}."))
        }
    };
    let decider_pid = rustix::process::getpid().as_raw_nonzero().get();
    writer.push(TaskRecord { state: task.into(), timestamp_ms: now_ms, decider_pid });
    let sequence = state.statuses.last().map_or(0, |last| last.sequence + 1);
    let reason = if outcome.is_some() { StatusReason::Unspecified } else { reason };
    writer.push(StatusRecord {
        sequence,
        state: status.into(),
        message,
        timestamp_ms: now_ms,
        reason: reason.into(),
        return_code,
    });
    writer.commit()?;
    Ok(())
}

fn ended_record(live: &ProcessRecord, exit: Option<&Exit>, now_ms: i64, why: &str) -> ProcessRecord {
    let base = ProcessRecord {
        sequence: live.sequence + 1,
        process: live.process.clone(),
        run: live.run,
        stop_time_ms: Some(now_ms),
        ..ProcessRecord::default()
    };
    match exit {
        Some(exit) => ProcessRecord {
            state: model::process::ProcessState::of_return_code(exit.return_code) as i32,
            return_code: Some(exit.return_code),
            user_time_us: Some(exit.user_time_us),
            system_time_us: Some(exit.system_time_us),
            resident_bytes_max: Some(exit.resident_bytes_max),
            ..base
        },
        None => ProcessRecord {
            state: ProcessState::Lost.into(),
            reason: Some(format!("{why}; exit code unknown")),
            ..base
        },
    }
}

/// Whether the task has ended, and if so whether well, given the last ends. `None` when something was still to be done.
fn outcome(state: &RunState, ends: &[ProcessRecord]) -> Option<bool> {
    let header = state.header.as_ref()?;
    if state.task_state() != Some(TaskState::Active) {
        return None;
    }
    let values = LateValues {
        instance: header.instance,
        hostname: header.hostname.clone(),
        task_id: header.task_id.clone(),
        user: header.user.clone(),
        ports: header.ports.clone(),
    };
    let text = std::str::from_utf8(&header.task_json).ok()?;
    let task = Late::<Task>::parse(text).ok()?.fill(&values).ok()?;
    let mut plan = TaskPlan::new(&task).ok()?;
    let past = state.processes.values().flatten().filter(|run| run.state().is_terminal());
    for run in past.chain(ends) {
        let index = task.processes.iter().position(|process| process.name == run.process)?;
        let end = match run.state() {
            ProcessState::Success => End::Success,
            ProcessState::Failed => End::Failed,
            ProcessState::Killed => End::Killed,
            _ => End::Lost,
        };
        plan.of(index).ended(index, end, 0);
    }
    let over = plan.regular.is_complete() || !plan.is_healthy();
    // Final processes that were not run are missing: the task did not end as it should have.
    (over && plan.finalizing.is_complete()).then(|| plan.is_healthy())
}
