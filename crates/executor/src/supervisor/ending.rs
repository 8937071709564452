//! Ending a task: asking, insisting, and leaving nothing alive (spec executor 1.5, 1.11, 2.5, 2.7).

use checkpoint::record::{StatusReason, StatusState};
use model::process::{Forced, TaskState};

use super::Surroundings;
use super::stopping::WATCHERS_MS_MAX;
use super::task::{RunningTask, Verdict};
use crate::launcher::log;
use crate::log::detail;
use crate::system::procfs;
use crate::system::wait::{self, Look};

/// Pause between attempts to kill what is left, milliseconds. The end of a child wakes the supervisor earlier.
const ATTEMPT_PAUSE_MS: u64 = 50;
/// After this long the run is completed although something is left: only the kernel can hold a killed process, milliseconds.
const STUCK_MS_MAX: u64 = 30_000;
const MIB: u64 = 1 << 20;

/// A task that has only to die.
#[derive(Debug)]
pub(super) struct Ending {
    outcome: TaskState,
    began_ms: u64,
    pub(super) next_attempt_ms: u64,
    left_nothing: bool,
    /// Whether the control group was used to kill.
    killed_group: bool,
}

impl RunningTask {
    /// The task ends at once, for a reason that is not its processes' end.
    pub(super) fn fail(&mut self, verdict: Verdict) {
        if self.verdict.is_none() && self.ending.is_none() {
            detail(|| format!("the task is killed: {}", verdict.message));
            self.verdict = Some(verdict);
            self.forced.get_or_insert(Forced::Killed);
            self.deadline_ms = Some(0);
            self.stopping = None;
            self.stop_watchers();
        }
    }

    /// The kernel has killed something of the task for want of memory.
    pub(super) fn on_memory_exceeded(&mut self, surroundings: &Surroundings, _now_ms: u64) {
        let limit = surroundings.memory_limit_bytes;
        let requested = if self.memory_requested_bytes() > 0 { self.memory_requested_bytes() } else { limit };
        let used = surroundings.group.memory_peak_bytes().unwrap_or(limit);
        let with_overhead = if limit > requested {
            format!(" ({} MB with the executor's overhead)", limit / MIB)
        } else {
            String::new()
        };
        self.fail(Verdict {
            state: StatusState::Failed,
            reason: StatusReason::MemoryLimit,
            message: format!(
                "Memory limit exceeded: Requested {} MB{with_overhead}, Used {} MB.",
                requested / MIB,
                used.div_ceil(MIB)
            ),
        });
    }

    pub(super) fn on_disk_exceeded(&mut self, used_bytes: u64) {
        self.fail(Verdict {
            state: StatusState::Failed,
            reason: StatusReason::DiskLimit,
            message: format!(
                "Disk limit exceeded.  Reserved {} bytes vs used {used_bytes} bytes.",
                self.disk_limit_bytes()
            ),
        });
    }

    /// Goes to the next stage.
    pub(super) fn enter(&mut self, next: TaskState, surroundings: &Surroundings, now_ms: u64) {
        match next {
            TaskState::Cleaning => {
                self.stop_watchers();
                self.record_stage(next);
                if self.deadline_ms.is_none() {
                    let wait_secs = self.work.as_ref().map_or(0, |work| work.task.finalization_wait_secs);
                    self.deadline_ms = Some(now_ms + u64::try_from(wait_secs).unwrap_or(0).saturating_mul(1000));
                }
                if self.deadline_ms.is_some_and(|deadline| now_ms < deadline) {
                    self.ask_to_end();
                }
            }
            TaskState::Finalizing | TaskState::Active => self.record_stage(next),
            TaskState::Success | TaskState::Failed | TaskState::Killed | TaskState::Lost => {
                self.ending = Some(Ending {
                    outcome: next,
                    began_ms: now_ms,
                    next_attempt_ms: now_ms,
                    left_nothing: true,
                    killed_group: false,
                });
            }
        }
        let _ = surroundings;
    }

    /// SIGTERM to the shells of the processes, and to whatever has daemonised itself and was passed on to this process.
    fn ask_to_end(&self) {
        // Most tasks end with nothing left; then there is nobody to ask.
        if wait::peek_any() == Look::NoChildren {
            return;
        }
        // Children of this process are those, and no others but helpers of watchers: the shells and the strays.
        let helpers = self.watch.processes();
        for pid in procfs::own_children().into_iter().filter(|pid| !helpers.contains(pid)) {
            detail(|| format!("SIGTERM to {pid}"));
            wait::signal(pid, libc::SIGTERM);
        }
    }

    /// Kills what is left and completes the checkpoint once nothing is. True when that is done.
    pub(super) fn end(&mut self, surroundings: &Surroundings, now_ms: u64) -> bool {
        self.on_children(now_ms);
        // Containers are removed when nothing else is left.
        let alive = !self.sweeping.is_running() && wait::peek_any() != Look::NoChildren;
        let Some(ending) = &mut self.ending else { return false };
        if self.stage.is_terminal() {
            return true;
        }
        let outcome = ending.outcome;
        let spares_helpers = now_ms < ending.began_ms + WATCHERS_MS_MAX;
        if alive {
            if now_ms < ending.began_ms + STUCK_MS_MAX {
                if now_ms >= ending.next_attempt_ms {
                    if ending.next_attempt_ms == ending.began_ms {
                        detail(|| "SIGKILL to what is left of the task".to_owned());
                    }
                    ending.next_attempt_ms = now_ms + ATTEMPT_PAUSE_MS;
                    let first = !ending.killed_group;
                    let spared = if spares_helpers { self.watch.processes() } else { Vec::new() };
                    ending.killed_group |= kill_everything(surroundings, first, &spared);
                }
                return false;
            }
            ending.left_nothing = false;
            log(&format!("{}: something of it cannot be killed", self.launch.task_id));
        }
        if !self.watch.is_stopped() && now_ms < ending.began_ms + WATCHERS_MS_MAX {
            ending.next_attempt_ms = now_ms + ATTEMPT_PAUSE_MS;
            return false;
        }
        if !self.is_swept(surroundings, now_ms) {
            return false;
        }
        self.pump();
        self.record_stage(outcome);
        let Verdict { state, reason, message } = self.verdict_of(outcome);
        self.record_status(state, reason, message);
        true
    }

    /// Whether the task's control group was killed and must be made anew.
    pub(super) fn killed_group(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.killed_group)
    }

    pub(super) fn left_nothing(&self) -> bool {
        self.ending.as_ref().is_none_or(|ending| ending.left_nothing)
    }

    /// What is told about the end (spec executor 2.5).
    fn verdict_of(&mut self, outcome: TaskState) -> Verdict {
        if let Some(verdict) = self.verdict.take() {
            // No process decided it.
            self.last_return_code = None;
            return verdict;
        }
        let plain =
            |state, message: &str| Verdict { state, reason: StatusReason::Unspecified, message: message.to_owned() };
        match outcome {
            TaskState::Success => plain(StatusState::Finished, "Task finished."),
            TaskState::Killed if !self.kill_message.is_empty() => plain(StatusState::Killed, &self.kill_message),
            TaskState::Killed => plain(StatusState::Killed, "Instructed to kill task."),
            TaskState::Failed => match self.failure.take() {
                Some((process, return_code, what)) => {
                    self.last_return_code = return_code;
                    plain(StatusState::Failed, &format!("Task failed: process {process} {what}."))
                }
                None => plain(StatusState::Failed, "Task failed."),
            },
            _ => plain(StatusState::Lost, "Task lost."),
        }
    }
}

/// One attempt to kill every process of the task, however it daemonised: all descendants of this process are of the task. The control
/// group does it at once; when that has not been enough, or there is none, they are looked for. `spared` are no processes of the task.
/// Returns whether the group was used.
fn kill_everything(surroundings: &Surroundings, first: bool, spared: &[i32]) -> bool {
    let killed_group = surroundings.group.kill_task();
    if killed_group && first {
        return true;
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // Stopped first, so that none can start another while the rest is being killed.
    let mut descendants = procfs::descendants(&[own]);
    descendants.retain(|pid| !spared.contains(pid));
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for pid in &descendants {
            wait::signal(*pid, signal);
        }
    }
    killed_group
}
