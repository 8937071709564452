//! What a task must satisfy before it may run: the same at submission, in the executor and in a runner (spec executor 1.3).

use std::collections::BTreeMap;

use super::payload::Late;
use super::plan::{PlanError, TaskPlan};
use super::ports::{self, PortError};
use super::schema::{Logger, LoggerMode, Payload, RotatePolicy, Task};

/// Longest name of a process, in bytes: it names a folder.
pub const PROCESS_NAME_BYTES_MAX: usize = 255;

/// Why a task may not run; the message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No processes.
    #[error("the task has no processes: give it at least one")]
    NoProcesses,
    /// A name that cannot be a folder's.
    #[error(
        "process name '{0}' is invalid: it must have 1 to 255 bytes, contain no '/' and no NUL, and not begin with '.'"
    )]
    ProcessName(String),
    /// A command line that cannot be given to a program.
    #[error("the command line of process '{0}' contains a NUL character")]
    CommandLine(String),
    /// Rotation that never keeps anything.
    #[error("process '{0}' rotates its logs: log_size and backups must be greater than 0")]
    Rotation(String),
    /// A number that makes no sense when negative.
    #[error("{0} must not be negative")]
    Negative(String),
    /// The order of the processes.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Ports.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Checks a task as it is submitted or about to run; gives its plans.
pub fn check_task(task: &Task) -> Result<TaskPlan, Invalid> {
    if task.processes.is_empty() {
        return Err(Invalid::NoProcesses);
    }
    for process in &task.processes {
        let name = &process.name;
        if name.is_empty() || name.len() > PROCESS_NAME_BYTES_MAX || name.starts_with('.') || name.contains(['/', '\0'])
        {
            return Err(Invalid::ProcessName(name.clone()));
        }
        if process.cmdline.contains('\0') {
            return Err(Invalid::CommandLine(name.clone()));
        }
        if let Some(Logger { mode: LoggerMode::Rotate, rotate, .. }) = process.logger {
            let policy = rotate.unwrap_or_else(RotatePolicy::default);
            if policy.log_size_bytes <= 0 || policy.backups <= 0 {
                return Err(Invalid::Rotation(name.clone()));
            }
        }
        for (what, number) in [("max_failures", process.max_failures), ("min_duration", process.min_duration_secs)] {
            if number < 0 {
                return Err(Invalid::Negative(format!("{what} of process '{name}'")));
            }
        }
    }
    for (what, number) in [
        ("max_failures", task.max_failures),
        ("max_concurrency", task.max_concurrency),
        ("finalization_wait", task.finalization_wait_secs),
    ] {
        if number < 0 {
            return Err(Invalid::Negative(format!("{what} of the task")));
        }
    }
    Ok(TaskPlan::new(task)?)
}

/// Checks a payload as it is submitted, before anything is filled in.
pub fn check_payload(payload: &Late<Payload>) -> Result<(), Invalid> {
    check_task(&payload.shape().task)?;
    let health = &payload.shape().health_check_config;
    for (what, number) in [
        ("initial_interval_secs", health.initial_interval_secs),
        ("interval_secs", health.interval_secs),
        ("timeout_secs", health.timeout_secs),
        ("max_consecutive_failures", health.max_consecutive_failures as f64),
        ("min_consecutive_successes", health.min_consecutive_successes as f64),
    ] {
        if number < 0.0 {
            return Err(Invalid::Negative(format!("{what} of the health check")));
        }
    }
    if let Some(announce) = &payload.shape().announce {
        ports::resolve(&announce.portmap, &BTreeMap::new())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::schema::{Announcer, LoggerDestination, OrderConstraint, Process};

    fn task(configure: impl FnOnce(&mut Task)) -> Result<(), Invalid> {
        let mut task = Task::new("t", vec![Process::new("a", "true"), Process::new("b", "true")]);
        configure(&mut task);
        check_task(&task).map(drop)
    }

    #[test]
    fn names_that_are_no_file_names_are_rejected() {
        for bad in ["", ".", "..", ".hidden", "/", "a/b", "/a", "a\0", &"x".repeat(256)] {
            let error = task(|task| task.processes[0].name = bad.into());
            assert_eq!(error, Err(Invalid::ProcessName(bad.into())), "{bad:?}");
        }
        for good in ["a.b", "a b", "-", "ü", "{{mesos.instance}}", &"x".repeat(255)] {
            assert_eq!(task(|task| task.processes[0].name = good.into()), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn each_other_rule_is_checked() {
        assert_eq!(task(|task| task.processes.clear()), Err(Invalid::NoProcesses));
        assert_eq!(task(|task| task.processes[1].cmdline = "a\0b".into()), Err(Invalid::CommandLine("b".into())));
        let rotate = |log_size_bytes, backups| {
            task(|task| {
                let rotate = Some(RotatePolicy { log_size_bytes, backups });
                let (destination, mode) = (LoggerDestination::File, LoggerMode::Rotate);
                task.processes[0].logger = Some(Logger { destination, mode, rotate });
            })
        };
        assert_eq!(rotate(0, 5), Err(Invalid::Rotation("a".into())));
        assert_eq!(rotate(5, 0), Err(Invalid::Rotation("a".into())));
        assert_eq!(rotate(1, 1), Ok(()));
        assert_eq!(
            task(|task| task.processes[0].max_failures = -1).unwrap_err().to_string(),
            "max_failures of process 'a' must not be negative"
        );
        assert!(task(|task| task.processes[0].min_duration_secs = -1).is_err());
        assert!(task(|task| task.max_failures = -1).is_err());
        assert!(task(|task| task.max_concurrency = -1).is_err());
        assert!(task(|task| task.finalization_wait_secs = -1).is_err());
        assert_eq!(
            task(|task| task.processes[1].name = "a".into()),
            Err(Invalid::Plan(PlanError::DuplicateName("a".into())))
        );
        let cycle = task(|task| task.constraints = vec![OrderConstraint::new(["a", "b", "a"])]);
        assert!(matches!(cycle, Err(Invalid::Plan(PlanError::Cycle(_)))));
    }

    #[test]
    fn a_payload_with_a_cycle_among_its_ports_or_a_negative_check_is_rejected() {
        let payload = |more: &str| {
            let text = format!(r#"{{"task": {{"processes": [{{"name": "a", "cmdline": "b"}}]}} {more}}}"#);
            check_payload(&Late::parse(&text).unwrap())
        };
        assert_eq!(payload(""), Ok(()));
        assert!(matches!(
            payload(r#", "announce": {"portmap": {"a": "b", "b": "a"}}"#),
            Err(Invalid::Port(PortError::Cycle(_)))
        ));
        assert_eq!(
            payload(r#", "health_check_config": {"interval_secs": -1}"#).unwrap_err().to_string(),
            "interval_secs of the health check must not be negative"
        );
        assert_eq!(Announcer::default().portmap.len(), 1);
    }
}
