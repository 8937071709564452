//! The update state machine as one table: what each cause does to an update in each state (spec scheduler 3.1, 3.5, 3.7). Data
//! only; the controller carries it out, and nothing else changes an update's state.

use model::update::UpdateStatus::{self, *};

use crate::command::UpdateControl;

/// Why an update may change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A user pauses it.
    Pause,
    /// A user lets it go on. `blocked`: it is coordinated and its last pulse too long ago.
    Resume { blocked: bool },
    /// A user ends it where it is.
    Abort,
    /// A user turns it round.
    Rollback,
    /// Its coordinator gives a sign of life.
    Pulse,
    /// Its coordinator gave none for too long.
    PulsesStopped,
    /// The next batch of an update that pauses after each would begin.
    BatchBegins,
    /// Every instance is done.
    Succeeded,
    /// Too many instances failed.
    Failed { rolls_back: bool },
    /// What is stored of it makes no sense.
    Broken,
}

impl From<(UpdateControl, bool)> for Cause {
    fn from((action, blocked): (UpdateControl, bool)) -> Self {
        match action {
            UpdateControl::Pause => Self::Pause,
            UpdateControl::Resume => Self::Resume { blocked },
            UpdateControl::Abort => Self::Abort,
            UpdateControl::Rollback => Self::Rollback,
        }
    }
}

/// What the table says of a state and a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// It is as wanted already: nothing is recorded.
    Same,
    /// It goes to that state.
    To(UpdateStatus),
    /// Refused: nothing changes.
    Illegal,
}

/// The table.
pub(crate) fn cell(from: UpdateStatus, cause: Cause) -> Cell {
    use Cell::{Illegal, Same, To};
    match (cause, from) {
        // An update that was aborted stays so, however often it is asked for.
        (Cause::Abort, Aborted) => Same,
        (_, RolledForward | RolledBack | Aborted | Error | Failed) => Illegal,

        (Cause::Abort, _) => To(Aborted),
        (Cause::Broken, _) => To(Error),

        (Cause::Pause, RollForwardPaused | RollBackPaused) => Same,
        (Cause::Pause, RollingForward | RollForwardAwaitingPulse) => To(RollForwardPaused),
        (Cause::Pause, RollingBack | RollBackAwaitingPulse) => To(RollBackPaused),

        (Cause::Resume { blocked: false }, RollForwardPaused) => To(RollingForward),
        (Cause::Resume { blocked: false }, RollBackPaused) => To(RollingBack),
        (Cause::Resume { blocked: false }, RollingForward | RollingBack) => Same,
        // Only a pulse wakes what waits for one.
        (Cause::Resume { blocked: false }, RollForwardAwaitingPulse | RollBackAwaitingPulse) => Illegal,
        // It may not roll yet: it is put where a pulse finds it.
        (Cause::Resume { blocked: true }, RollForwardPaused) => To(RollForwardAwaitingPulse),
        (Cause::Resume { blocked: true }, RollBackPaused) => To(RollBackAwaitingPulse),
        (Cause::Resume { blocked: true }, RollForwardAwaitingPulse | RollBackAwaitingPulse) => Same,
        (Cause::Resume { blocked: true }, RollingForward | RollingBack) => Illegal,

        (Cause::Rollback, RollingBack) => Same,
        (Cause::Rollback, _) => To(RollingBack),

        (Cause::Pulse, RollForwardAwaitingPulse) => To(RollingForward),
        (Cause::Pulse, RollBackAwaitingPulse) => To(RollingBack),
        (Cause::Pulse, _) => Same,

        (Cause::PulsesStopped, RollingForward) => To(RollForwardAwaitingPulse),
        (Cause::PulsesStopped, RollingBack) => To(RollBackAwaitingPulse),
        (Cause::BatchBegins, RollingForward) => To(RollForwardPaused),
        (Cause::Succeeded, RollingForward) => To(RolledForward),
        (Cause::Succeeded, RollingBack) => To(RolledBack),
        (Cause::Failed { rolls_back: true }, RollingForward) => To(RollingBack),
        (Cause::Failed { .. }, RollingForward | RollingBack) => To(Failed),
        // Only an update that rolls is evaluated.
        (Cause::PulsesStopped | Cause::BatchBegins | Cause::Succeeded | Cause::Failed { .. }, _) => Illegal,
    }
}

/// Which way an update works.
pub(crate) fn is_forward(status: UpdateStatus) -> bool {
    matches!(status, RollingForward | RollForwardPaused | RollForwardAwaitingPulse)
}

/// Whether instances are being worked on.
pub(crate) fn is_rolling(status: UpdateStatus) -> bool {
    matches!(status, RollingForward | RollingBack)
}

/// Whether a pulse is waited for.
pub(crate) fn awaits_pulse(status: UpdateStatus) -> bool {
    matches!(status, RollForwardAwaitingPulse | RollBackAwaitingPulse)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CAUSES: [(&str, Cause); 12] = [
        ("pause", Cause::Pause),
        ("resume", Cause::Resume { blocked: false }),
        ("resume-blocked", Cause::Resume { blocked: true }),
        ("abort", Cause::Abort),
        ("rollback", Cause::Rollback),
        ("pulse", Cause::Pulse),
        ("pulses-stopped", Cause::PulsesStopped),
        ("batch-begins", Cause::BatchBegins),
        ("succeeded", Cause::Succeeded),
        ("failed-rolls-back", Cause::Failed { rolls_back: true }),
        ("failed-stays", Cause::Failed { rolls_back: false }),
        ("broken", Cause::Broken),
    ];

    /// Short names of the states, as in the table below.
    const NAMES: [(&str, UpdateStatus); 11] = [
        ("FWD", RollingForward),
        ("BACK", RollingBack),
        ("FWD_PAUSED", RollForwardPaused),
        ("BACK_PAUSED", RollBackPaused),
        ("FWD_PULSE", RollForwardAwaitingPulse),
        ("BACK_PULSE", RollBackAwaitingPulse),
        ("DONE_FWD", RolledForward),
        ("DONE_BACK", RolledBack),
        ("ABORTED", Aborted),
        ("ERROR", Error),
        ("FAILED", Failed),
    ];

    /// The table as typed from the reference, a line per state and a column per cause: `.` refused, `=` nothing to do, else the
    /// new state.
    const EXPECTED: &str = "
                    pause       resume resume-blocked abort   rollback pulse pulses-stopped batch-begins succeeded failed-rolls-back failed-stays broken
        FWD         FWD_PAUSED  =      .              ABORTED BACK     =     FWD_PULSE      FWD_PAUSED   DONE_FWD  BACK              FAILED       ERROR
        BACK        BACK_PAUSED =      .              ABORTED =        =     BACK_PULSE     .            DONE_BACK FAILED            FAILED       ERROR
        FWD_PAUSED  =           FWD    FWD_PULSE      ABORTED BACK     =     .              .            .         .                 .            ERROR
        BACK_PAUSED =           BACK   BACK_PULSE     ABORTED BACK     =     .              .            .         .                 .            ERROR
        FWD_PULSE   FWD_PAUSED  .      =              ABORTED BACK     FWD   .              .            .         .                 .            ERROR
        BACK_PULSE  BACK_PAUSED .      =              ABORTED BACK     BACK  .              .            .         .                 .            ERROR
        DONE_FWD    .           .      .              .       .        .     .              .            .         .                 .            .
        DONE_BACK   .           .      .              .       .        .     .              .            .         .                 .            .
        ABORTED     .           .      .              =       .        .     .              .            .         .                 .            .
        ERROR       .           .      .              .       .        .     .              .            .         .                 .            .
        FAILED      .           .      .              .       .        .     .              .            .         .                 .            .
    ";

    fn named(name: &str) -> UpdateStatus {
        NAMES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is no state")).1
    }

    #[test]
    fn every_cell_is_that_of_the_reference() {
        let mut lines = EXPECTED.lines().filter(|line| !line.trim().is_empty());
        let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(columns, CAUSES.map(|(name, _)| name));
        let mut cells = 0;
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words.len(), 1 + CAUSES.len(), "{line}");
            let from = named(words[0]);
            for ((name, cause), expected) in CAUSES.into_iter().zip(&words[1..]) {
                let expected = match *expected {
                    "." => Cell::Illegal,
                    "=" => Cell::Same,
                    to => Cell::To(named(to)),
                };
                assert_eq!(cell(from, cause), expected, "{from}, {name}");
                cells += 1;
            }
        }
        assert_eq!(cells, UpdateStatus::ALL.len() * CAUSES.len());
    }

    /// What may follow what, typed from the reference.
    const LEGAL: [(UpdateStatus, &[UpdateStatus]); 6] = [
        (
            RollingForward,
            &[RollingBack, RollForwardPaused, RollForwardAwaitingPulse, RolledForward, Aborted, Failed, Error],
        ),
        (RollingBack, &[RollBackPaused, RollBackAwaitingPulse, RolledBack, Aborted, Failed, Error]),
        (RollForwardPaused, &[RollingForward, RollForwardAwaitingPulse, RollingBack, Aborted, Error]),
        (RollBackPaused, &[RollingBack, RollBackAwaitingPulse, Aborted, Error]),
        (RollForwardAwaitingPulse, &[RollingForward, RollForwardPaused, RollingBack, Aborted, Error]),
        (RollBackAwaitingPulse, &[RollingBack, RollBackPaused, Aborted, Error]),
    ];

    #[test]
    fn causes_lead_to_every_state_that_may_follow_and_to_no_other() {
        let mut reached: BTreeSet<(UpdateStatus, UpdateStatus)> = BTreeSet::new();
        for from in UpdateStatus::ALL {
            for (_, cause) in CAUSES {
                if let Cell::To(to) = cell(from, cause) {
                    assert_ne!(from, to, "staying is no transition");
                    reached.insert((from, to));
                }
            }
        }
        let legal = LEGAL.iter().flat_map(|(from, all)| all.iter().map(move |to| (*from, *to)));
        assert_eq!(reached, legal.collect());
    }
}
