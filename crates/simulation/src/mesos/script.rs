//! What a simulated task does, and when.

/// How a task ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It says TASK_FINISHED.
    Finished,
    /// It says TASK_FAILED with this message.
    Failed(String),
    /// Its executor exits with this raw wait status, and the task with it: the agent says TASK_FAILED.
    ExecutorExits(i32),
}

/// What a task does when it is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnKill {
    /// It says TASK_KILLED after this many ms.
    Killed(u64),
    /// It says TASK_KILLING at once and TASK_KILLED after this many ms.
    KillingThenKilled(u64),
    /// It ends by itself, successfully, after this many ms.
    Finishes(u64),
    /// It goes on.
    Ignored,
}

/// The life of one task in a simulated executor. Times are simulated ms, each after the step before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Until it says TASK_STARTING; it never does for `None`.
    pub starting_ms: Option<u64>,
    /// Until it says TASK_RUNNING; for `None` it hangs before that.
    pub running_ms: Option<u64>,
    /// Until it ends; for `None` it runs until it is killed.
    pub run_ms: Option<u64>,
    /// How it ends.
    pub end: End,
    /// What it does when it is to be killed.
    pub on_kill: OnKill,
    /// Whether its executor exits once its last task ended and the agent has stored that.
    pub executor_exits: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            starting_ms: Some(0),
            running_ms: Some(0),
            run_ms: None,
            end: End::Finished,
            on_kill: OnKill::Killed(0),
            executor_exits: true,
        }
    }
}

impl Script {
    /// Runs until killed.
    pub fn service() -> Self {
        Self::default()
    }

    /// Runs for this long and finishes.
    pub fn batch(run_ms: u64) -> Self {
        Self { run_ms: Some(run_ms), ..Self::default() }
    }

    /// Runs for this long and fails.
    pub fn failing(run_ms: u64) -> Self {
        Self { run_ms: Some(run_ms), end: End::Failed("exit status 1".into()), ..Self::default() }
    }

    /// Never says a word.
    pub fn hanging() -> Self {
        Self { starting_ms: None, running_ms: None, ..Self::default() }
    }
}
