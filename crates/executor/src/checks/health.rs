//! The health checks of a task: when to probe, how, and what its account says (spec executor 2.6). The account itself is
//! [`model::process::health`].

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use model::process::health::{self, Health, Opinion, ProbeResult};
use model::process::schema::{HealthChecker, HttpHealthChecker};
use rustix::fs::{AtFlags, FileType};

use super::http_probe::{self, failed_to_signal};
use super::shell_probe::{ShellCommand, ShellProbe};
use super::{Background, Facts, HEALTH_PORT, Source, Tools};
use crate::log::detail;
use crate::system::identity::acting_as;
use crate::system::spawn::Identity;
use crate::system::wait::Exit;

/// While this file lies in the sandbox nothing is probed, and every probe counts as a success.
const SNOOZE_FILE: &str = ".healthchecksnooze";
/// What a probing thread may take longer than its own time before it is given up, milliseconds.
const SLACK_MS: u64 = 500;
const TIMED_OUT: &str = "Health check timed out.";

/// How the task is probed.
#[derive(Debug)]
enum Probe {
    Http { port: u32, checker: HttpHealthChecker },
    Shell(ShellCommand),
}

/// What goes on.
enum Phase {
    /// The next probe is at this time, monotonic milliseconds.
    Waiting(u64),
    /// An answer is waited for.
    Http { answer: Background<ProbeResult>, began_ms: u64 },
    /// A command runs.
    Shell { probe: ShellProbe, began_ms: u64 },
    /// No more.
    Ended,
}

/// The numbers that the original calls `health_checker.*`.
#[derive(Clone, Copy, Debug, Default)]
struct Metrics {
    checks: u64,
    snoozed: u64,
    total_latency_ms: u64,
}

/// Health checks as a watcher.
pub(super) struct HealthSource {
    probe: Probe,
    health: Health,
    interval_ms: u64,
    timeout_ms: u64,
    sandbox: OwnedFd,
    phase: Phase,
    metrics: Metrics,
    last_failed: Option<bool>,
}

impl HealthSource {
    /// The checks of this task; `None` when it has none. A command wins over a port.
    pub(super) fn of(facts: &Facts<'_>) -> Result<Option<Self>, String> {
        let config = &facts.payload.health_check_config;
        let probe = match &config.health_checker {
            HealthChecker::Shell(shell) => Probe::Shell(ShellCommand {
                text: shell.shell_command.clone(),
                environment: facts.environment.to_vec(),
                directory: CString::new(facts.launch.run_directory.as_str()).map_err(|error| error.to_string())?,
                as_owner: !facts.launch.health_checks_keep_user,
                image: facts.launch.image.clone(),
            }),
            HealthChecker::Http(checker) => match facts.ports.get(HEALTH_PORT) {
                Some(port) => Probe::Http { port: *port, checker: checker.clone() },
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            probe,
            health: Health::new(config),
            interval_ms: health::interval_ms(config),
            timeout_ms: health::timeout_ms(config),
            sandbox: facts.sandbox.try_clone().map_err(|error| error.to_string())?,
            phase: Phase::Waiting(0),
            metrics: Metrics::default(),
            last_failed: None,
        }))
    }

    fn is_snoozed(&self, owner: Option<&Identity>) -> bool {
        acting_as(owner, || rustix::fs::statat(&self.sandbox, SNOOZE_FILE, AtFlags::empty()))
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile)
    }

    fn begin(&mut self, tools: &Tools<'_>, now_ms: u64) {
        if !self.health.may_probe() {
            self.phase = Phase::Ended;
            return;
        }
        self.metrics.checks += 1;
        if self.is_snoozed(tools.owner) {
            self.metrics.snoozed += 1;
            return self.account(Ok(()), now_ms, now_ms);
        }
        let begun = match &self.probe {
            Probe::Shell(command) => {
                ShellProbe::start(command, tools).map(|probe| Phase::Shell { probe, began_ms: now_ms })
            }
            Probe::Http { port, checker } => {
                let (port, checker) = (*port, checker.clone());
                let timeout = Duration::from_millis(self.timeout_ms);
                Background::start("health", move || http_probe::probe(port, &checker, timeout))
                    .map(|answer| Phase::Http { answer, began_ms: now_ms })
                    .map_err(|error| format!("Internal health check error: {error}"))
            }
        };
        match begun {
            Ok(phase) => self.phase = phase,
            Err(reason) => self.account(Err(reason), now_ms, now_ms),
        }
    }

    fn account(&mut self, result: ProbeResult, began_ms: u64, now_ms: u64) {
        self.metrics.total_latency_ms += now_ms.saturating_sub(began_ms);
        // Each failure is told, of successes the first after one.
        match &result {
            Err(reason) => detail(|| format!("health check {} failed: {reason}", self.metrics.checks)),
            Ok(()) if self.last_failed != Some(false) => {
                detail(|| format!("health check {} succeeded", self.metrics.checks));
            }
            Ok(()) => {}
        }
        self.last_failed = Some(result.is_err());
        self.health.account(result);
        let over = matches!(self.health.opinion(), Opinion::Failed(_));
        self.phase = if over { Phase::Ended } else { Phase::Waiting(now_ms + self.interval_ms) };
    }

    fn kill_probe(&mut self) {
        if let Phase::Shell { probe, .. } = std::mem::replace(&mut self.phase, Phase::Ended) {
            probe.kill();
        }
    }
}

impl Source for HealthSource {
    fn opinion(&self) -> Option<Opinion> {
        Some(self.health.opinion())
    }

    fn work(&mut self, tools: &Tools<'_>, now_ms: u64) {
        match &mut self.phase {
            Phase::Waiting(next_ms) => {
                if now_ms >= *next_ms {
                    self.begin(tools, now_ms);
                }
            }
            Phase::Http { answer, began_ms } => {
                let began_ms = *began_ms;
                if let Some(result) = answer.take() {
                    self.account(result, began_ms, now_ms);
                } else if now_ms >= began_ms + self.timeout_ms + SLACK_MS
                    && let Probe::Http { port, checker } = &self.probe
                {
                    let url = http_probe::url_of(*port, &checker.endpoint);
                    self.account(Err(failed_to_signal(&url, &"timed out")), began_ms, now_ms);
                }
            }
            Phase::Shell { probe, began_ms } => {
                let began_ms = *began_ms;
                probe.drain();
                if now_ms >= began_ms + self.timeout_ms {
                    self.kill_probe();
                    self.account(Err(TIMED_OUT.to_owned()), began_ms, now_ms);
                }
            }
            Phase::Ended => {}
        }
    }

    fn next_wake_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Waiting(next_ms) => Some(*next_ms),
            Phase::Http { began_ms, .. } => Some(began_ms + self.timeout_ms + SLACK_MS),
            Phase::Shell { began_ms, .. } => Some(began_ms + self.timeout_ms),
            Phase::Ended => None,
        }
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Http { answer, .. } => vec![answer.as_fd()],
            Phase::Shell { probe, .. } if !probe.is_drained() => vec![probe.output()],
            _ => Vec::new(),
        }
    }

    fn on_exit(&mut self, exit: &Exit, now_ms: u64) -> bool {
        if !matches!(&self.phase, Phase::Shell { probe, .. } if probe.pid() == exit.pid) {
            return false;
        }
        let text = match &self.probe {
            Probe::Shell(command) => command.text.clone(),
            Probe::Http { .. } => String::new(),
        };
        if let Phase::Shell { probe, began_ms } = std::mem::replace(&mut self.phase, Phase::Ended) {
            let result = probe.ended(exit, &text);
            self.account(result, began_ms, now_ms);
        }
        true
    }

    fn stop(&mut self) {
        self.kill_probe();
    }

    fn summary(&self) -> Option<String> {
        let Metrics { checks, snoozed, total_latency_ms } = self.metrics;
        Some(format!(
            "health_checker: checks {checks}, snoozed {snoozed}, consecutive_failures {}, total_latency_secs {}.{:03}",
            self.health.consecutive_failures(),
            total_latency_ms / 1000,
            total_latency_ms % 1000
        ))
    }
}
