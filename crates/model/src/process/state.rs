//! The states of one run of a process and of a task, and which may follow which (spec executor 1.4, 1.5). Tables and pure decisions.

/// State of one run of a process; the number is its id in Thermos checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum ProcessState {
    /// Chosen to run.
    Waiting = 0,
    /// About to be started.
    Forked = 1,
    /// Started.
    Running = 2,
    /// Ended with exit status 0.
    Success = 3,
    /// Ended by a signal or by the runner.
    Killed = 4,
    /// Ended with another exit status, or could not be started.
    Failed = 5,
    /// Nobody knows how it ended.
    Lost = 6,
}

impl ProcessState {
    /// Every state, by number.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Forked, Self::Running, Self::Success, Self::Killed, Self::Failed, Self::Lost];

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Killed | Self::Failed | Self::Lost)
    }

    /// States that may follow; a terminal state is followed by the next run.
    pub fn successors(self) -> &'static [Self] {
        match self {
            Self::Waiting => &[Self::Forked, Self::Failed],
            Self::Forked => &[Self::Running, Self::Killed, Self::Lost],
            Self::Running => &[Self::Success, Self::Killed, Self::Failed, Self::Lost],
            Self::Success | Self::Killed | Self::Failed | Self::Lost => &[Self::Waiting],
        }
    }

    /// Whether `next` may follow `current`, the state of the newest run (`None` before the first).
    pub fn may_follow(current: Option<Self>, next: Self) -> bool {
        match current {
            None => next == Self::Waiting,
            Some(current) => current.successors().contains(&next),
        }
    }

    /// How a run ended whose process gave this code: exit status, or minus the number of the signal that ended it.
    pub fn of_return_code(return_code: i32) -> Self {
        match return_code {
            0 => Self::Success,
            1.. => Self::Failed,
            _ => Self::Killed,
        }
    }

    /// From its number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// Upper-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Forked => "FORKED",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Killed => "KILLED",
            Self::Failed => "FAILED",
            Self::Lost => "LOST",
        }
    }
}

/// State of a task; the number is its id in Thermos checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum TaskState {
    /// Regular processes run.
    Active = 0,
    /// Ended well.
    Success = 1,
    /// Ended badly.
    Failed = 2,
    /// Ended on request.
    Killed = 3,
    /// Given up.
    Lost = 4,
    /// What is left of the regular processes is asked to end.
    Cleaning = 5,
    /// Final processes run.
    Finalizing = 6,
}

/// A task's end on request, whatever its processes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forced {
    /// Someone wants it gone.
    Killed,
    /// Someone gave it up.
    Lost,
}

/// What decides whether a task leaves its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageFacts {
    /// The regular plan is complete.
    pub regular_complete: bool,
    /// The regular plan is healthy.
    pub regular_healthy: bool,
    /// The final plan is complete.
    pub final_complete: bool,
    /// The final plan is deadlocked.
    pub final_deadlocked: bool,
    /// A process of the task is alive.
    pub any_alive: bool,
    /// The time for ending is over.
    pub deadline_reached: bool,
    /// An end was asked for.
    pub forced: Option<Forced>,
}

impl StageFacts {
    /// The state in which the task will end: what was asked for, else what the regular processes did. Final ones never matter.
    pub fn outcome(&self) -> TaskState {
        match self.forced {
            Some(Forced::Killed) => TaskState::Killed,
            Some(Forced::Lost) => TaskState::Lost,
            None if self.regular_healthy => TaskState::Success,
            None => TaskState::Failed,
        }
    }
}

impl TaskState {
    /// Every state, by number.
    pub const ALL: [Self; 7] =
        [Self::Active, Self::Success, Self::Failed, Self::Killed, Self::Lost, Self::Cleaning, Self::Finalizing];

    /// Whether the task is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Killed | Self::Lost)
    }

    /// States that may be recorded after this one. A state that is not terminal is recorded again when another runner takes control
    /// (spec executor 1.13); only someone who ends the task from outside goes from `Active` to a terminal state.
    pub fn successors(self) -> &'static [Self] {
        match self {
            Self::Active => &[Self::Active, Self::Cleaning, Self::Killed, Self::Lost],
            Self::Cleaning => {
                &[Self::Cleaning, Self::Finalizing, Self::Success, Self::Failed, Self::Killed, Self::Lost]
            }
            Self::Finalizing => &[Self::Finalizing, Self::Success, Self::Failed, Self::Killed, Self::Lost],
            Self::Success | Self::Failed | Self::Killed | Self::Lost => &[],
        }
    }

    /// Whether `next` may be recorded after `current` (`None` before the first record).
    pub fn may_follow(current: Option<Self>, next: Self) -> bool {
        match current {
            None => next == Self::Active,
            Some(current) => current.successors().contains(&next),
        }
    }

    /// The state the task goes to now, or `None` to stay (spec executor 1.5).
    pub fn next(self, facts: &StageFacts) -> Option<Self> {
        match self {
            Self::Active => {
                let leaves = facts.regular_complete || !facts.regular_healthy || facts.forced.is_some();
                leaves.then_some(Self::Cleaning)
            }
            Self::Cleaning if facts.deadline_reached => Some(facts.outcome()),
            Self::Cleaning => (!facts.any_alive).then_some(Self::Finalizing),
            Self::Finalizing => {
                let leaves = facts.final_complete || facts.final_deadlocked || facts.deadline_reached;
                leaves.then(|| facts.outcome())
            }
            Self::Success | Self::Failed | Self::Killed | Self::Lost => None,
        }
    }

    /// From its number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// Upper-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
            Self::Lost => "LOST",
            Self::Cleaning => "CLEANING",
            Self::Finalizing => "FINALIZING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: from (first the state before any run); columns: to, in the order of their numbers. Typed from the table of the spec.
    #[test]
    fn every_cell_of_the_process_table() {
        #[rustfmt::skip]
        let table = [
            //               WAITING FORKED RUNNING SUCCESS KILLED FAILED LOST
            (None,           "x      -      -       -       -      -      -"),
            (Some("WAITING"),"-      x      -       -       -      x      -"),
            (Some("FORKED"), "-      -      x       -       x      -      x"),
            (Some("RUNNING"),"-      -      -       x       x      x      x"),
            (Some("SUCCESS"),"x      -      -       -       -      -      -"),
            (Some("KILLED"), "x      -      -       -       -      -      -"),
            (Some("FAILED"), "x      -      -       -       -      -      -"),
            (Some("LOST"),   "x      -      -       -       -      -      -"),
        ];
        for (from, row) in table {
            let from =
                from.map(|name| ProcessState::ALL.into_iter().find(|state| state.name() == name).expect("a state"));
            for (to, cell) in ProcessState::ALL.into_iter().zip(row.split_whitespace()) {
                assert_eq!(ProcessState::may_follow(from, to), cell == "x", "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn every_cell_of_the_task_table() {
        #[rustfmt::skip]
        let table = [
            //                  ACTIVE SUCCESS FAILED KILLED LOST CLEANING FINALIZING
            (None,              "x     -       -      -      -    -        -"),
            (Some("ACTIVE"),    "x     -       -      x      x    x        -"),
            (Some("SUCCESS"),   "-     -       -      -      -    -        -"),
            (Some("FAILED"),    "-     -       -      -      -    -        -"),
            (Some("KILLED"),    "-     -       -      -      -    -        -"),
            (Some("LOST"),      "-     -       -      -      -    -        -"),
            (Some("CLEANING"),  "-     x       x      x      x    x        x"),
            (Some("FINALIZING"),"-     x       x      x      x    -        x"),
        ];
        for (from, row) in table {
            let from = from.map(|name| TaskState::ALL.into_iter().find(|state| state.name() == name).expect("a state"));
            for (to, cell) in TaskState::ALL.into_iter().zip(row.split_whitespace()) {
                assert_eq!(TaskState::may_follow(from, to), cell == "x", "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn whatever_the_facts_a_task_only_goes_where_the_table_allows() {
        for state in TaskState::ALL {
            for bits in 0..64 {
                let bit = |number: u32| bits & (1 << number) != 0;
                for forced in [None, Some(Forced::Killed), Some(Forced::Lost)] {
                    let facts = StageFacts {
                        regular_complete: bit(0),
                        regular_healthy: bit(1),
                        final_complete: bit(2),
                        final_deadlocked: bit(3),
                        any_alive: bit(4),
                        deadline_reached: bit(5),
                        forced,
                    };
                    let Some(next) = state.next(&facts) else { continue };
                    assert!(TaskState::may_follow(Some(state), next), "{state:?} -> {next:?} by {facts:?}");
                    assert_ne!(state, next);
                    if next.is_terminal() {
                        assert_eq!(next, facts.outcome());
                    }
                }
            }
        }
    }

    #[test]
    fn a_task_leaves_each_stage_for_the_reasons_of_the_spec() {
        let quiet = StageFacts { regular_healthy: true, any_alive: true, ..StageFacts::default() };
        for state in TaskState::ALL {
            assert_eq!(state.next(&quiet), None, "{state:?}");
        }
        assert_eq!(TaskState::Active.next(&StageFacts { regular_complete: true, ..quiet }), Some(TaskState::Cleaning));
        assert_eq!(TaskState::Active.next(&StageFacts { regular_healthy: false, ..quiet }), Some(TaskState::Cleaning));
        let killed = StageFacts { forced: Some(Forced::Killed), ..quiet };
        assert_eq!(TaskState::Active.next(&killed), Some(TaskState::Cleaning));
        assert_eq!(TaskState::Cleaning.next(&StageFacts { any_alive: false, ..quiet }), Some(TaskState::Finalizing));
        // Past the deadline there is no time left for final processes.
        assert_eq!(
            TaskState::Cleaning.next(&StageFacts { any_alive: false, deadline_reached: true, ..killed }),
            Some(TaskState::Killed)
        );
        assert_eq!(
            TaskState::Finalizing.next(&StageFacts { final_deadlocked: true, regular_healthy: false, ..quiet }),
            Some(TaskState::Failed)
        );
        assert_eq!(TaskState::Finalizing.next(&StageFacts { final_complete: true, ..quiet }), Some(TaskState::Success));
        let lost = StageFacts { forced: Some(Forced::Lost), deadline_reached: true, ..quiet };
        assert_eq!(TaskState::Finalizing.next(&lost), Some(TaskState::Lost));
    }

    #[test]
    fn numbers_are_those_of_thermos_and_codes_are_classified() {
        for state in ProcessState::ALL {
            assert_eq!(ProcessState::from_number(state as i32), Some(state));
        }
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_number(state as i32), Some(state));
        }
        assert_eq!(ProcessState::from_number(7), None);
        assert_eq!(TaskState::from_number(-1), None);
        assert_eq!(ProcessState::of_return_code(0), ProcessState::Success);
        assert_eq!(ProcessState::of_return_code(137), ProcessState::Failed);
        assert_eq!(ProcessState::of_return_code(-9), ProcessState::Killed);
    }
}
