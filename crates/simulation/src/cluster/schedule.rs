//! What will happen, in order of time; equal times keep the order in which they were planned.

use std::collections::BTreeMap;

use engine::{Call, Event};
use model::TaskId;
use scheduler::CoordinatorAnswer;

use super::repetition::Keyed;
use super::world::Step;

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// Calls reach the engine.
    Calls { epoch: u64, calls: Vec<Call> },
    /// An event reaches the scheduler, if the connection it was sent on still stands.
    Event { connection: u64, event: Event },
    /// A task does its next step.
    Task { task: TaskId, step: Step },
    /// The engine says again what was not acknowledged, and offers what is free.
    Round,
    /// The engine tells how a task it told a wrong thing about really is.
    Truth { task: TaskId },
    /// The connection stands again.
    Reconnected,
    /// The agent of that number can be reached again, or a new one takes its place.
    AgentBack { agent: usize },
    /// The agent of that number has come back to the leader of that number.
    AgentKnown { agent: usize, master: u32 },
    /// The disk has synced up to that group.
    Synced { position: u64, life: u64 },
    /// The disk has room again.
    DiskRoom,
    /// A snapshot is complete.
    SnapshotDone { life: u64 },
    /// A coordinator answers a question of the scheduler of that life.
    Coordinator { question: u64, answer: CoordinatorAnswer, life: u64 },
    /// Users ask for something.
    Command,
    /// A user has heard nothing, and asks again.
    Again(Box<Keyed>),
    /// Something goes wrong.
    Trouble,
}

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// Milliseconds since the begin of the run.
    pub now_ms: u64,
}

impl Schedule {
    /// Plans something after a delay.
    pub fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sequence), happening);
    }

    /// When the next thing happens.
    pub fn next_ms(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next thing; time goes on to it.
    pub fn pop(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.queue.pop_first()?;
        self.now_ms = self.now_ms.max(at);
        Some(happening)
    }

    /// Forgets what does not pass; gives the number forgotten.
    pub fn retain(&mut self, keep: impl Fn(&Happening) -> bool) -> usize {
        let before = self.queue.len();
        self.queue.retain(|_, happening| keep(happening));
        before - self.queue.len()
    }
}
