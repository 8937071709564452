//! The planner: which process may run now (spec executor 1.6, health and deadlock 1.5). Pure and deterministic; time is an argument,
//! in milliseconds of any clock that never goes back.
//!
//! A task has two independent plans, one for its regular and one for its final processes. Processes are named by their index in
//! [`Task::processes`].

use std::collections::{BTreeMap, BTreeSet};

use super::schema::Task;

/// Runs of one process after which it counts as failed, under the executor (spec executor 1.6).
pub const RUN_LIMIT: u32 = 100;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Exit status 0.
    Success,
    /// Another exit status, or it could not be started.
    Failed,
    /// Ended by a signal: no failure.
    Killed,
    /// Nobody knows how: no failure.
    Lost,
}

/// Why the order of a task's processes makes no sense; the message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two processes have one name.
    #[error("two processes are named '{0}': give each process of a task its own name")]
    DuplicateName(String),
    /// An order constraint without names.
    #[error("invalid process dependencies: an order constraint names no process")]
    EmptyOrder,
    /// An order constraint names processes of both plans.
    #[error("invalid process dependencies: one order may not name both final and other processes, as '{0}' and '{1}'")]
    MixedPlans(String, String),
    /// An order constraint names processes that exist and one that does not.
    #[error(
        "invalid process dependencies: the order that names '{known}' also names '{unknown}', which is no process of the task"
    )]
    UnknownName {
        /// One that exists.
        known: String,
        /// The one that does not.
        unknown: String,
    },
    /// Something waits for a process that never finishes.
    #[error("process '{0}' may not depend on '{1}', which is a daemon and never finishes")]
    DependsOnDaemon(String, String),
    /// Something that counts waits for something that does not.
    #[error("process '{0}' may not depend on '{1}', which is ephemeral, unless it is ephemeral too")]
    DependsOnEphemeral(String, String),
    /// Processes wait for each other.
    #[error("the order of processes has a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Neither running nor done; may have run before.
    Idle,
    Running,
    Finished,
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    /// Index in [`Task::processes`].
    index: usize,
    daemon: bool,
    ephemeral: bool,
    failures_max: i64,
    min_duration_ms: i64,
    /// Positions of the members that must finish first.
    waits_for: Vec<usize>,
    standing: Standing,
    failures: u32,
    runs: u32,
    ended_ms: Option<i64>,
}

/// One plan: the regular or the final processes of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    members: Vec<Member>,
    concurrency_max: usize,
    run_limit: u32,
}

/// Both plans of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPlan {
    /// The regular processes; they decide how the task ends.
    pub regular: Plan,
    /// The processes that run after them.
    pub finalizing: Plan,
    failures_max: i64,
}

impl TaskPlan {
    /// The plans of `task` as the executor runs it: [`RUN_LIMIT`] runs of each process. Fails when the order makes no sense.
    pub fn new(task: &Task) -> Result<Self, PlanError> {
        Self::with_run_limit(task, RUN_LIMIT)
    }

    /// The plans of `task` with another limit of runs; `u32::MAX` is none.
    pub fn with_run_limit(task: &Task, run_limit: u32) -> Result<Self, PlanError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = task.processes.iter().find(|process| !names.insert(process.name.as_str())) {
            return Err(PlanError::DuplicateName(twice.name.clone()));
        }
        Ok(Self {
            regular: Plan::new(task, false, run_limit)?,
            finalizing: Plan::new(task, true, run_limit)?,
            failures_max: task.max_failures,
        })
    }

    /// Whether the task, were it to end now, has succeeded so far: its regular plan is not deadlocked and fewer processes failed for
    /// good than the task allows.
    pub fn is_healthy(&self) -> bool {
        !self.regular.is_deadlocked()
            && (self.failures_max == 0 || (self.regular.failed_count() as i64) < self.failures_max)
    }

    /// The plan that process `index` belongs to.
    pub fn of(&mut self, index: usize) -> &mut Plan {
        if self.regular.members.iter().any(|member| member.index == index) {
            &mut self.regular
        } else {
            &mut self.finalizing
        }
    }
}

impl Plan {
    fn new(task: &Task, finals: bool, run_limit: u32) -> Result<Self, PlanError> {
        let mut members: Vec<Member> = Vec::new();
        let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, process) in task.processes.iter().enumerate() {
            if process.is_final != finals {
                continue;
            }
            positions.insert(&process.name, members.len());
            members.push(Member {
                index,
                daemon: process.daemon,
                ephemeral: process.ephemeral,
                failures_max: process.max_failures,
                min_duration_ms: process.min_duration_secs.max(0).saturating_mul(1000),
                waits_for: Vec::new(),
                standing: Standing::Idle,
                failures: 0,
                runs: 0,
                ended_ms: None,
            });
        }
        for constraint in &task.constraints {
            add_order(task, &constraint.order, &positions, &mut members)?;
        }
        check_cycles(task, &members)?;
        let concurrency_max = match usize::try_from(task.max_concurrency) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        };
        Ok(Self { members, concurrency_max, run_limit })
    }

    /// Processes to start now, in the order of their declaration: never more than the task's `max_concurrency` leaves room for.
    pub fn runnable(&self, now_ms: i64) -> Vec<usize> {
        let ready = self.members.iter().filter(|member| self.is_eligible(member) && member.ready_ms() <= now_ms);
        ready.take(self.room()).map(|member| member.index).collect()
    }

    /// Time until [`Self::runnable`] names a process if no run ends before: 0 when it does now, `None` when only the end of a run can
    /// change that.
    pub fn wait_ms(&self, now_ms: i64) -> Option<i64> {
        if self.room() == 0 {
            return None;
        }
        let eligible = self.members.iter().filter(|member| self.is_eligible(member));
        eligible.map(|member| member.ready_ms().saturating_sub(now_ms).max(0)).min()
    }

    /// Process `index` was started. Ignored for one that is running or over.
    pub fn started(&mut self, index: usize) {
        if let Some(member) = self.member(index)
            && member.standing == Standing::Idle
        {
            member.standing = Standing::Running;
        }
    }

    /// The run of process `index` ended at `now_ms`. Counts whether or not its start was told; ignored for a process that is over.
    pub fn ended(&mut self, index: usize, end: End, now_ms: i64) {
        let run_limit = self.run_limit;
        let Some(member) = self.member(index) else { return };
        if matches!(member.standing, Standing::Finished | Standing::Failed) {
            return;
        }
        member.ended_ms = Some(now_ms);
        member.runs = member.runs.saturating_add(1);
        if end == End::Failed {
            member.failures = member.failures.saturating_add(1);
        }
        let failed_for_good =
            end == End::Failed && member.failures_max != 0 && i64::from(member.failures) >= member.failures_max;
        let finished = (end == End::Success && !member.daemon) || (failed_for_good && member.ephemeral);
        member.standing = if finished {
            Standing::Finished
        } else if failed_for_good || member.runs >= run_limit {
            Standing::Failed
        } else {
            Standing::Idle
        };
    }

    /// Whether nothing that counts is left to do: every process is finished, failed or ephemeral.
    pub fn is_complete(&self) -> bool {
        self.members
            .iter()
            .all(|member| member.ephemeral || matches!(member.standing, Standing::Finished | Standing::Failed))
    }

    /// Whether nothing runs, nothing can ever run again, and the plan is not complete: a process failed that another waits for.
    pub fn is_deadlocked(&self) -> bool {
        !self.is_complete()
            && !self.members.iter().any(|member| member.standing == Standing::Running || self.is_eligible(member))
    }

    /// Indices of the processes that were started and have not ended.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.with_standing(Standing::Running)
    }

    /// Indices of the processes that are done well, or ephemeral and done.
    pub fn finished(&self) -> impl Iterator<Item = usize> {
        self.with_standing(Standing::Finished)
    }

    /// Indices of the processes that failed for good.
    pub fn failed(&self) -> impl Iterator<Item = usize> {
        self.with_standing(Standing::Failed)
    }

    /// Number of processes that failed for good.
    pub fn failed_count(&self) -> usize {
        self.failed().count()
    }

    /// Indices of all processes of the plan.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|member| member.index)
    }

    fn with_standing(&self, standing: Standing) -> impl Iterator<Item = usize> {
        self.members.iter().filter(move |member| member.standing == standing).map(|member| member.index)
    }

    fn room(&self) -> usize {
        self.concurrency_max.saturating_sub(self.running().count())
    }

    /// Idle, and everything it waits for is finished.
    fn is_eligible(&self, member: &Member) -> bool {
        member.standing == Standing::Idle
            && member.waits_for.iter().all(|position| self.members[*position].standing == Standing::Finished)
    }

    fn member(&mut self, index: usize) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.index == index)
    }
}

impl Member {
    /// When its `min_duration` is over; the first run may start at once.
    fn ready_ms(&self) -> i64 {
        self.ended_ms.map_or(i64::MIN, |ended| ended.saturating_add(self.min_duration_ms))
    }
}

/// Adds the dependencies of one order constraint, unless all its names are outside the plan.
fn add_order(
    task: &Task,
    order: &[String],
    positions: &BTreeMap<&str, usize>,
    members: &mut [Member],
) -> Result<(), PlanError> {
    if order.is_empty() {
        return Err(PlanError::EmptyOrder);
    }
    let Some(known) = order.iter().find(|name| positions.contains_key(name.as_str())) else { return Ok(()) };
    if let Some(other) = order.iter().find(|name| !positions.contains_key(name.as_str())) {
        return Err(if task.processes.iter().any(|process| process.name == *other) {
            PlanError::MixedPlans(known.clone(), other.clone())
        } else {
            PlanError::UnknownName { known: known.clone(), unknown: other.clone() }
        });
    }
    for pair in order.windows(2) {
        let (before, after) = (positions[pair[0].as_str()], positions[pair[1].as_str()]);
        if members[before].daemon {
            return Err(PlanError::DependsOnDaemon(pair[1].clone(), pair[0].clone()));
        }
        if members[before].ephemeral && !members[after].ephemeral {
            return Err(PlanError::DependsOnEphemeral(pair[1].clone(), pair[0].clone()));
        }
        if !members[after].waits_for.contains(&before) {
            members[after].waits_for.push(before);
        }
    }
    Ok(())
}

/// Takes away what waits for nothing that is left, until nothing changes; what stays is in a cycle or behind one.
fn check_cycles(task: &Task, members: &[Member]) -> Result<(), PlanError> {
    let mut waits: Vec<usize> = members.iter().map(|member| member.waits_for.len()).collect();
    let mut followers = vec![Vec::new(); members.len()];
    for (position, member) in members.iter().enumerate() {
        for before in &member.waits_for {
            followers[*before].push(position);
        }
    }
    let mut free: Vec<usize> = (0..members.len()).filter(|position| waits[*position] == 0).collect();
    while let Some(position) = free.pop() {
        for follower in &followers[position] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                free.push(*follower);
            }
        }
    }
    let Some(stuck) = waits.iter().position(|waits| *waits > 0) else { return Ok(()) };
    // Walking backwards from a stuck process must come round to one seen before.
    let mut path = vec![stuck];
    loop {
        let at = path[path.len() - 1];
        let before = members[at].waits_for.iter().copied().find(|before| waits[*before] > 0);
        let before = before.expect("a process that is stuck waits for another one that is");
        if let Some(begin) = path.iter().position(|seen| *seen == before) {
            let cycle = path[begin..].iter().rev().chain(path[path.len() - 1..].iter());
            let names = cycle.map(|position| task.processes[members[*position].index].name.clone());
            return Err(PlanError::Cycle(names.collect()));
        }
        path.push(before);
    }
}

#[cfg(test)]
mod tests;
