//! The scheduler as the core of the loop: a translation of names, nothing else.

use std::sync::Arc;

use scheduler::{Effect, Input, Scheduler, View};

use crate::ports::{Core, Now, Step};
use crate::storage::{Epoch, Position, Record, RestoreError, SnapshotRecords};

impl Core for Scheduler {
    type Input = Input;
    type Effect = Effect;
    type View = View;

    fn apply(&mut self, record: Record) -> Result<(), RestoreError> {
        let table = record.table;
        Scheduler::apply(self, &record).map_err(|error| RestoreError { table, reason: error.to_string() })
    }

    fn step(&mut self, now: Now, input: Input) -> Step<Effect> {
        let output = Scheduler::step(self, now, input);
        Step { records: output.records, effects: output.effects, more: output.more }
    }

    fn next_wake(&self) -> Option<u64> {
        Scheduler::next_wake(self)
    }

    fn freeze(&mut self, position: Position, now: Now) -> View {
        View { position: position.0, frozen_ms: now.wall_ms, ..Scheduler::freeze(self) }
    }

    fn records_of(view: &Arc<View>) -> SnapshotRecords {
        Box::new(Scheduler::records(view))
    }

    fn start(seed: [u8; 32], epoch: Epoch) -> Input {
        Input::Start { seed, epoch: epoch.0 }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn resume() -> Input {
        Input::Resume
    }

    fn space_low(low: bool) -> Input {
        Input::SpaceLow(low)
    }
}
