//! Asking a task to end before its processes are signalled: first whoever watches it lets go, then its HTTP lifecycle is gone through
//! (spec executor 2.8). Meanwhile its processes run on, but nothing new is started. Signals and what follows are [`super::ending`].

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use checkpoint::record::{StatusReason, StatusState};
use model::process::{Forced, Payload, TaskState};

use super::helper::Preparing;
use super::task::{RunningTask, Verdict};
use crate::checks::{Background, ask_to_end, signaler_timeout};
use crate::launcher::log;
use crate::log::detail;

/// Time for processes to end after SIGTERM when nobody says another, milliseconds (spec executor 1.11).
const GRACE_MS: u64 = 60_000;
/// Bound on everything that is done to end a task, unless the launch says another, milliseconds (spec executor 2.1).
const STOP_MS_MAX: u64 = 120_000;
/// How long the end waits for watchers to let go, milliseconds.
pub(super) const WATCHERS_MS_MAX: u64 = 5_000;
/// Pause between looks at watchers that let go, milliseconds.
const WATCHERS_PAUSE_MS: u64 = 50;
/// What a request may take longer than its own time before it is given up, milliseconds.
const SLACK_MS: u64 = 500;

/// One request of the lifecycle and the wait after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    port: u32,
    endpoint: String,
    wait_ms: u64,
}

/// The requests that a task is to get; none when its port is not mapped.
pub(super) fn lifecycle(payload: &Payload, ports: &std::collections::BTreeMap<String, u32>) -> Vec<Step> {
    let Some(http) = &payload.lifecycle.http else { return Vec::new() };
    let Some(port) = ports.get(&http.port) else { return Vec::new() };
    let step = |endpoint: &str, wait_secs: i64| Step {
        port: *port,
        endpoint: endpoint.to_owned(),
        wait_ms: u64::try_from(wait_secs).unwrap_or(0).saturating_mul(1000),
    };
    vec![
        step(&http.graceful_shutdown_endpoint, http.graceful_shutdown_wait_secs),
        step(&http.shutdown_endpoint, http.shutdown_wait_secs),
    ]
}

/// A task that is being asked.
pub(super) struct Stopping {
    began_ms: u64,
    grace_ms: u64,
    steps: VecDeque<Step>,
    phase: Phase,
}

enum Phase {
    /// Watchers let go.
    Watchers,
    /// An answer is waited for, until a time; what is waited after it.
    Asking { answer: Background<Result<u16, String>>, until_ms: u64, wait_ms: u64 },
    /// The task has been asked and may end by itself until then.
    Waiting { until_ms: u64 },
}

impl Stopping {
    fn next_wake_ms(&self, now_ms: u64) -> u64 {
        match &self.phase {
            Phase::Watchers => now_ms + WATCHERS_PAUSE_MS,
            Phase::Asking { until_ms, .. } | Phase::Waiting { until_ms } => *until_ms,
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Asking { answer, .. } => Some(answer.as_fd()),
            _ => None,
        }
    }
}

impl RunningTask {
    /// Everything that is done to end the task takes no longer than this, milliseconds; 0 changes nothing.
    pub(super) fn bound_stop(&mut self, stop_ms_max: u64) {
        if stop_ms_max > 0 {
            self.launch.stop_timeout_ms = self.stop_ms_max().min(stop_ms_max);
        }
    }

    /// Someone wants the task to end; its processes have `grace_ms` after they were signalled. A second request only shortens the time.
    pub(super) fn kill(&mut self, grace_ms: u64, message: &str, now_ms: u64) {
        if let Some(stopping) = &mut self.stopping {
            stopping.grace_ms = stopping.grace_ms.min(grace_ms);
            if grace_ms == 0 {
                self.signal(now_ms);
            }
            return;
        }
        if self.forced.is_some() {
            let deadline_ms = now_ms + grace_ms;
            self.deadline_ms = Some(self.deadline_ms.map_or(deadline_ms, |known| known.min(deadline_ms)));
            return;
        }
        message.clone_into(&mut self.kill_message);
        detail(|| format!("told to end the task; its processes have {grace_ms} ms after the signal. {message}"));
        self.begin_stopping(grace_ms, now_ms);
    }

    /// A watcher is against the task.
    pub(super) fn on_unhealthy(&mut self, message: String, now_ms: u64) {
        if self.verdict.is_none() && self.forced.is_none() && self.stopping.is_none() {
            log(&format!("{}: {message}", self.task_id()));
            self.verdict = Some(Verdict { state: StatusState::Failed, reason: StatusReason::Unspecified, message });
            self.begin_stopping(GRACE_MS, now_ms);
        }
    }

    fn begin_stopping(&mut self, grace_ms: u64, now_ms: u64) {
        self.stopping = Some(Stopping {
            began_ms: now_ms,
            grace_ms,
            steps: std::mem::take(&mut self.lifecycle).into(),
            phase: Phase::Watchers,
        });
        self.stop_watchers();
        if self.stage != TaskState::Active || grace_ms == 0 {
            self.signal(now_ms);
        } else {
            self.escalate(now_ms);
        }
    }

    /// The last step: the stages of ending take over, with a bound on them all.
    fn signal(&mut self, now_ms: u64) {
        let Some(stopping) = self.stopping.take() else { return };
        let bound_ms = stopping.began_ms + self.stop_ms_max();
        self.forced.get_or_insert(Forced::Killed);
        self.deadline_ms = Some((now_ms + stopping.grace_ms).min(bound_ms));
    }

    fn stop_ms_max(&self) -> u64 {
        match self.launch.stop_timeout_ms {
            0 => STOP_MS_MAX,
            told => told,
        }
    }

    pub(super) fn stop_watchers(&mut self) {
        for line in self.watch.stop() {
            log(&format!("{}: {line}", self.task_id()));
        }
    }

    /// Goes on with asking, as far as it can now.
    pub(super) fn escalate(&mut self, now_ms: u64) {
        loop {
            let bound_ms = self.stop_ms_max();
            let nothing_lives = self.live.is_empty();
            let Some(stopping) = &mut self.stopping else { return };
            let over = nothing_lives || now_ms >= stopping.began_ms + bound_ms;
            let watchers_wait = matches!(stopping.phase, Phase::Watchers)
                && !self.watch.is_stopped()
                && now_ms < stopping.began_ms + WATCHERS_MS_MAX;
            if over && !watchers_wait {
                return self.signal(now_ms);
            }
            match &stopping.phase {
                Phase::Watchers if watchers_wait => return,
                Phase::Watchers => {}
                Phase::Asking { answer, until_ms, wait_ms } => match answer.take() {
                    Some(Ok(_)) => {
                        stopping.phase = Phase::Waiting { until_ms: now_ms + wait_ms };
                        continue;
                    }
                    Some(Err(reason)) => log(&format!("{}: {reason}", self.launch.task_id)),
                    None if now_ms < *until_ms => return,
                    None => {}
                },
                Phase::Waiting { until_ms } if now_ms < *until_ms => return,
                Phase::Waiting { .. } => {}
            }
            let Some(step) = stopping.steps.pop_front() else { return self.signal(now_ms) };
            let timeout = signaler_timeout();
            let until_ms = now_ms + u64::try_from(timeout.as_millis()).unwrap_or(STOP_MS_MAX) + SLACK_MS;
            let Step { port, endpoint, wait_ms } = step;
            detail(|| format!("asks the task to end: POST {endpoint} on port {port}"));
            match Background::start("lifecycle", move || ask_to_end(port, &endpoint, timeout)) {
                Ok(answer) => stopping.phase = Phase::Asking { answer, until_ms, wait_ms },
                // Not handled: the next step at once.
                Err(error) => {
                    log(&format!("{}: it cannot be asked to end: {error}", self.launch.task_id));
                    stopping.phase = Phase::Waiting { until_ms: now_ms };
                }
            }
        }
    }

    pub(super) fn stopping_wake_ms(&self, now_ms: u64) -> Option<u64> {
        self.stopping
            .as_ref()
            .map(|stopping| stopping.next_wake_ms(now_ms).min(stopping.began_ms + self.stop_ms_max()).max(now_ms))
    }

    /// Descriptors of watchers and requests.
    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let helpers = self.preparing.as_ref().and_then(Preparing::descriptor);
        let asked = self.stopping.as_ref().and_then(Stopping::descriptor);
        self.watch.descriptors().chain(asked).chain(helpers).chain(self.sweeping.descriptor())
    }
}
