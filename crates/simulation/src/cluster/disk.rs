//! A disk that takes time, fails, runs full, and loses what was not synced when the scheduler dies. It outlives the scheduler.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use node::storage::{
    Epoch, Group, Position, Progress, Record, Recovered, Restore, SnapshotRecords, Space, Storage, StorageError,
};

use super::chance::Chance;
use super::mutation::Mutation;

/// How the disk fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// With an error of the system.
    Broken,
    /// Because another scheduler took over.
    EpochEnded,
}

#[derive(Default)]
struct State {
    /// Groups after the snapshot, oldest first.
    groups: Vec<Group>,
    appended: Position,
    durable: Position,
    epoch: Epoch,
    snapshot: Option<(Position, Epoch, Vec<Record>)>,
    writing: Option<(Position, Epoch, SnapshotRecords)>,
    snapshot_bytes: u64,
    bytes: u64,
    low: bool,
    failure: Option<Failure>,
}

/// The disk; clones are the same disk.
#[derive(Clone)]
pub(super) struct Disk {
    state: Rc<RefCell<State>>,
    mutation: Option<Mutation>,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wreck {
    pub groups_lost: u64,
    pub groups_kept: u64,
    pub snapshot_lost: bool,
    /// The last group of this scheduler that is left.
    pub end: u64,
}

impl Disk {
    pub fn new(mutation: Option<Mutation>) -> Self {
        Self { state: Rc::default(), mutation }
    }

    /// A journal that somebody else wrote.
    pub fn preload(&self, records: Vec<Record>) {
        let mut state = self.state.borrow_mut();
        state.snapshot = Some((Position(1), Epoch(1), records));
        (state.appended, state.durable, state.epoch) = (Position(1), Position(1), Epoch(1));
    }

    /// The newest group that was handed over.
    pub fn appended(&self) -> u64 {
        self.state.borrow().appended.0
    }

    /// The newest group that survives a crash for certain.
    pub fn durable(&self) -> u64 {
        self.state.borrow().durable.0
    }

    /// Everything up to this group is on the disk now.
    pub fn sync(&self, position: u64) {
        let mut state = self.state.borrow_mut();
        if state.failure.is_none() {
            state.durable = state.durable.max(Position(position));
        }
    }

    pub fn set_low(&self, low: bool) {
        self.state.borrow_mut().low = low;
    }

    pub fn is_low(&self) -> bool {
        self.state.borrow().low
    }

    pub fn fail(&self, failure: Failure) {
        self.state.borrow_mut().failure = Some(failure);
    }

    /// Whether a snapshot waits to be completed.
    pub fn is_snapshot_running(&self) -> bool {
        self.state.borrow().writing.is_some()
    }

    /// Completes the snapshot; the groups it covers go.
    pub fn finish_snapshot(&self) {
        let mut state = self.state.borrow_mut();
        let Some((position, epoch, records)) = state.writing.take() else { return };
        let mut records: Vec<Record> = records.collect();
        if self.mutation == Some(Mutation::SnapshotIncomplete) {
            let mut number = 0;
            records.retain(|record| {
                number += 1;
                record.table != scheduler::record::TABLE_TASKS || number % 4 != 0
            });
        }
        state.snapshot_bytes = records.iter().map(|record| record.size_bytes() as u64).sum();
        state.groups.retain(|group| group.position > position);
        state.bytes =
            state.groups.iter().flat_map(|group| &group.records).map(|record| record.size_bytes() as u64).sum();
        state.snapshot = Some((position, epoch, records));
    }

    pub fn has_snapshot(&self) -> bool {
        self.state.borrow().snapshot.is_some()
    }

    /// The scheduler died: of the groups that were not synced, a first part of any length may have reached the disk.
    pub fn crash(&self, chance: &mut Chance) -> Wreck {
        let mut state = self.state.borrow_mut();
        let unsynced = state.appended.0 - state.durable.0;
        let kept = if state.failure == Some(Failure::EpochEnded) { 0 } else { chance.below(unsynced + 1) };
        let end = Position(state.durable.0 + kept);
        state.groups.retain(|group| group.position <= end);
        (state.appended, state.durable) = (end, end);
        if state.failure == Some(Failure::EpochEnded) {
            // The other scheduler began its reign, and is gone again.
            let other = Group { epoch: state.epoch.next(), position: end.next(), records: Vec::new() };
            (state.epoch, state.appended, state.durable) = (other.epoch, other.position, other.position);
            state.groups.push(other);
        }
        let snapshot_lost = state.writing.take().is_some();
        state.failure = None;
        Wreck { groups_lost: unsynced - kept, groups_kept: kept, snapshot_lost, end: end.0 }
    }

    fn error(&self, state: &State) -> Option<StorageError> {
        match state.failure? {
            Failure::EpochEnded if self.mutation == Some(Mutation::EpochEndIgnored) => None,
            Failure::EpochEnded => Some(StorageError::EpochEnded { epoch: state.epoch, committed: state.durable }),
            Failure::Broken => Some(StorageError::failed(io::Error::other("the simulated disk broke"))),
        }
    }
}

impl Storage for Disk {
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError> {
        let state = self.state.borrow();
        let mut recovered = Recovered::default();
        if let Some((position, epoch, records)) = &state.snapshot {
            (recovered.position, recovered.epoch) = (*position, *epoch);
            for record in records {
                restore.restore(record.clone()).map_err(StorageError::failed)?;
                recovered.records += 1;
            }
        }
        for group in &state.groups {
            (recovered.position, recovered.epoch) = (group.position, group.epoch);
            for record in &group.records {
                restore.restore(record.clone()).map_err(StorageError::failed)?;
                recovered.records += 1;
            }
        }
        Ok(recovered)
    }

    fn append(&mut self, group: Group) -> Result<(), StorageError> {
        let mut state = self.state.borrow_mut();
        if let Some(error) = self.error(&state) {
            return Err(error);
        }
        assert_eq!(group.position, state.appended.next(), "groups come one after the other");
        state.appended = group.position;
        state.epoch = group.epoch;
        state.bytes += group.records.iter().map(|record| record.size_bytes() as u64).sum::<u64>();
        state.groups.push(group);
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, StorageError> {
        let state = self.state.borrow();
        if let Some(error) = self.error(&state) {
            return Err(error);
        }
        let lies = matches!(self.mutation, Some(Mutation::ReleasedBeforeDurable))
            || (self.mutation == Some(Mutation::EpochEndIgnored) && state.failure.is_some());
        Ok(Progress {
            durable: if lies { state.appended } else { state.durable },
            space: if state.low { Space::Low { reason: "no space left on device".into() } } else { Space::Enough },
            bytes_since_snapshot: state.bytes,
            snapshot_bytes: state.snapshot_bytes,
            snapshot_running: state.writing.is_some(),
            snapshot_failure: None,
        })
    }

    fn start_snapshot(
        &mut self,
        position: Position,
        epoch: Epoch,
        records: SnapshotRecords,
    ) -> Result<(), StorageError> {
        let mut state = self.state.borrow_mut();
        if state.writing.is_none() {
            state.writing = Some((position, epoch, records));
        }
        Ok(())
    }
}
