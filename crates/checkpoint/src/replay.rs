//! The state of a run as its records tell it. Pure: reading the file is [`crate::stream`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::record::{
    Entry, Header, ProcessRecord, ProcessState, Record, StatusRecord, StatusState, TaskRecord, TaskState,
};
use crate::stream::{ReadError, read_all};

/// Everything known about a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    /// What the run is; absent while the first record is not written.
    pub header: Option<Header>,
    /// The states of the task, oldest first.
    pub task: Vec<TaskRecord>,
    /// The runs of each process by name, the newest last. Each is the merge of its records: what a later one does not say stays.
    pub processes: BTreeMap<String, Vec<ProcessRecord>>,
    /// The statuses, oldest first.
    pub statuses: Vec<StatusRecord>,
}

impl RunState {
    /// Reads the checkpoint at `path` and applies its records.
    pub fn load(path: &Path) -> Result<Self, ReadError> {
        let mut state = Self::default();
        for record in read_all(path)? {
            state.apply(record);
        }
        Ok(state)
    }

    /// Applies one record. Repeated and out-of-date records change nothing.
    pub fn apply(&mut self, record: Record) {
        match record.entry {
            Some(Entry::Header(header)) => match &mut self.header {
                // A run that was taken up again: it is what it was, under another supervisor.
                Some(known) => {
                    known.boot_id = header.boot_id;
                    known.supervisor_pid = header.supervisor_pid;
                    known.supervisor_start_ticks = header.supervisor_start_ticks;
                    known.cgroups = header.cgroups;
                }
                none => *none = Some(header),
            },
            Some(Entry::Process(process)) => self.apply_process(process),
            Some(Entry::Task(task)) if !self.task.last().is_some_and(|last| last.state().is_terminal()) => {
                self.task.push(task);
            }
            Some(Entry::Status(status))
                if self
                    .statuses
                    .last()
                    .is_none_or(|last| last.sequence < status.sequence && !last.state().is_terminal()) =>
            {
                self.statuses.push(status);
            }
            Some(Entry::Task(_) | Entry::Status(_)) | None => {}
        }
    }

    fn apply_process(&mut self, record: ProcessRecord) {
        let runs = self.processes.entry(record.process.clone()).or_default();
        match runs.last_mut() {
            Some(last) if last.run == record.run => {
                if record.sequence > last.sequence && !last.state().is_terminal() {
                    merge(last, record);
                }
            }
            Some(last) if last.run > record.run => {}
            _ => runs.push(record),
        }
    }

    /// The state of the task now; `None` when nothing was recorded yet.
    pub fn task_state(&self) -> Option<TaskState> {
        self.task.last().map(TaskRecord::state)
    }

    /// The newest status; `None` when nothing was told yet.
    pub fn last_status(&self) -> Option<&StatusRecord> {
        self.statuses.last()
    }

    /// Whether the run is over and its last status is the terminal one.
    pub fn is_over(&self) -> bool {
        self.last_status().is_some_and(|status| status.state().is_terminal())
    }

    /// Runs of processes that are not over: chosen, about to start or started.
    pub fn live_runs(&self) -> impl Iterator<Item = &ProcessRecord> {
        self.processes.values().filter_map(|runs| runs.last()).filter(|run| !run.state().is_terminal())
    }

    /// Whether the scheduler was told that the task runs.
    pub fn was_running(&self) -> bool {
        self.statuses.iter().any(|status| status.state() == StatusState::Running)
    }
}

fn merge(run: &mut ProcessRecord, newer: ProcessRecord) {
    run.sequence = newer.sequence;
    run.state = newer.state;
    run.fork_time_ms = newer.fork_time_ms.or(run.fork_time_ms);
    run.start_time_ms = newer.start_time_ms.or(run.start_time_ms);
    run.stop_time_ms = newer.stop_time_ms.or(run.stop_time_ms);
    run.pid = newer.pid.or(run.pid);
    run.start_ticks = newer.start_ticks.or(run.start_ticks);
    run.return_code = newer.return_code.or(run.return_code);
    run.reason = newer.reason.or(run.reason.take());
    run.user_time_us = newer.user_time_us.or(run.user_time_us);
    run.system_time_us = newer.system_time_us.or(run.system_time_us);
    run.resident_bytes_max = newer.resident_bytes_max.or(run.resident_bytes_max);
}

/// Whether a run of a process in state `from` may go to `to` (spec executor 1.4).
pub fn is_legal_transition(from: Option<ProcessState>, to: ProcessState) -> bool {
    use ProcessState::{Failed, Forked, Killed, Lost, Running, Success, Waiting};
    matches!(
        (from, to),
        (None, Waiting)
            | (Some(Success | Failed | Killed | Lost), Waiting)
            | (Some(Waiting), Forked | Failed)
            | (Some(Forked), Running | Lost | Killed | Failed)
            | (Some(Running), Success | Failed | Killed | Lost)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(sequence: u64, run: u32, state: ProcessState) -> ProcessRecord {
        ProcessRecord { sequence, process: "p".into(), run, state: state.into(), ..ProcessRecord::default() }
    }

    #[test]
    fn records_of_a_run_merge_and_a_new_run_is_added() {
        let mut state = RunState::default();
        state.apply(ProcessRecord { fork_time_ms: Some(1), ..process(0, 0, ProcessState::Forked) }.into());
        state.apply(ProcessRecord { pid: Some(42), ..process(1, 0, ProcessState::Running) }.into());
        state.apply(ProcessRecord { return_code: Some(3), ..process(2, 0, ProcessState::Failed) }.into());
        state.apply(process(3, 1, ProcessState::Waiting).into());
        let runs = &state.processes["p"];
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].fork_time_ms, runs[0].pid, runs[0].return_code), (Some(1), Some(42), Some(3)));
        assert_eq!(runs[1].state(), ProcessState::Waiting);
        assert_eq!(state.live_runs().count(), 1);
    }

    #[test]
    fn repeated_late_and_post_terminal_records_change_nothing() {
        let mut state = RunState::default();
        state.apply(process(5, 0, ProcessState::Success).into());
        state.apply(TaskRecord { state: TaskState::Success.into(), ..TaskRecord::default() }.into());
        state
            .apply(StatusRecord { sequence: 2, state: StatusState::Finished.into(), ..StatusRecord::default() }.into());
        let before = state.clone();
        state.apply(process(4, 0, ProcessState::Running).into());
        state.apply(process(6, 0, ProcessState::Failed).into());
        state.apply(TaskRecord { state: TaskState::Lost.into(), ..TaskRecord::default() }.into());
        state.apply(StatusRecord { sequence: 3, state: StatusState::Lost.into(), ..StatusRecord::default() }.into());
        assert_eq!(state, before);
        assert!(state.is_over());
    }

    #[test]
    fn the_table_of_process_transitions_has_exactly_the_cells_of_the_specification() {
        use ProcessState::{Failed, Forked, Killed, Lost, Running, Success, Waiting};
        let all = [Waiting, Forked, Running, Success, Killed, Failed, Lost];
        let legal: Vec<(Option<ProcessState>, ProcessState)> = vec![
            (None, Waiting),
            (Some(Success), Waiting),
            (Some(Failed), Waiting),
            (Some(Killed), Waiting),
            (Some(Lost), Waiting),
            (Some(Waiting), Forked),
            (Some(Waiting), Failed),
            (Some(Forked), Running),
            (Some(Forked), Lost),
            (Some(Forked), Killed),
            (Some(Forked), Failed),
            (Some(Running), Success),
            (Some(Running), Failed),
            (Some(Running), Killed),
            (Some(Running), Lost),
        ];
        for from in std::iter::once(None).chain(all.map(Some)) {
            for to in all {
                assert_eq!(is_legal_transition(from, to), legal.contains(&(from, to)), "{from:?} -> {to:?}");
            }
        }
    }
}
