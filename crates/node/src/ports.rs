//! The remaining ports of the loop: time, chance, the core it drives, and where released effects go.

use std::sync::Arc;

pub use scheduler::Now;

use crate::storage::{Epoch, Position, Record, RestoreError, SnapshotRecords};

/// Tells the time.
pub trait Clock {
    /// Now.
    fn now(&mut self) -> Now;
}

/// Gives chance.
pub trait Entropy {
    /// A seed that nobody can foresee; drawn once per reign.
    fn seed(&mut self) -> [u8; 32];
}

/// What one step asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<E> {
    /// To be made durable in one group, in order.
    pub records: Vec<Record>,
    /// To be released once they are, in order.
    pub effects: Vec<E>,
    /// The step reached its bound of work and wants to go on: [`Core::resume`] follows soon.
    pub more: bool,
}

/// The state machine that the loop drives. Deterministic: the same calls with the same arguments give the same results.
pub trait Core {
    /// What happens to it.
    type Input;
    /// What it asks for.
    type Effect;
    /// Its frozen state.
    type View;

    /// Takes a stored record, before the first step.
    fn apply(&mut self, record: Record) -> Result<(), RestoreError>;
    /// Takes one input.
    fn step(&mut self, now: Now, input: Self::Input) -> Step<Self::Effect>;
    /// The monotonic time in ms at which it wants [`Core::tick`].
    fn next_wake(&self) -> Option<u64>;
    /// Its state now, in a time that does not depend on its size. `position` is the group that holds the last change.
    fn freeze(&mut self, position: Position, now: Now) -> Self::View;
    /// The records from which a view's durable part can be restored.
    fn records_of(view: &Arc<Self::View>) -> SnapshotRecords;

    /// The first input of a reign, after all records were applied.
    fn start(seed: [u8; 32], epoch: Epoch) -> Self::Input;
    /// The input that says that [`Core::next_wake`] has come.
    fn tick() -> Self::Input;
    /// The input with which a step that was cut goes on.
    fn resume() -> Self::Input;
    /// The input that says whether what grows the state must be refused.
    fn space_low(low: bool) -> Self::Input;
}

/// Where things go once they are durable. Called from the loop; must not wait for anyone.
pub trait Outlet<C: Core> {
    /// A newer durable state, handed over just before the effects that belong to it.
    fn publish(&mut self, view: Arc<C::View>);
    /// Effects, in order. `epoch` is the reign that decided them: engines refuse those of an older one.
    fn release(&mut self, epoch: Epoch, effects: Vec<C::Effect>);
    /// Whether much of what was released still waits to be sent on. Steps that were cut go on later then.
    fn is_congested(&self) -> bool {
        false
    }
}
