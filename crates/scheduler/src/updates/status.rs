//! The update state machine as one table, and what users may ask of it (spec scheduler 3.1). Data only.

use model::update::UpdateStatus::{self, *};

use crate::command::UpdateControl;

/// Whether an update may go from one state to another. Staying where it is is no transition.
pub(crate) fn is_legal(from: UpdateStatus, to: UpdateStatus) -> bool {
    match from {
        RollingForward => matches!(
            to,
            RollingBack | RollForwardPaused | RollForwardAwaitingPulse | RolledForward | Aborted | Failed | Error
        ),
        RollingBack => matches!(to, RollBackPaused | RollBackAwaitingPulse | RolledBack | Aborted | Failed | Error),
        RollForwardPaused => {
            matches!(to, RollingForward | RollForwardAwaitingPulse | RollingBack | Aborted | Error)
        }
        RollBackPaused => matches!(to, RollingBack | RollBackAwaitingPulse | Aborted | Error),
        RollForwardAwaitingPulse => matches!(to, RollingForward | RollForwardPaused | RollingBack | Aborted | Error),
        RollBackAwaitingPulse => matches!(to, RollingBack | RollBackPaused | Aborted | Error),
        RolledForward | RolledBack | Aborted | Error | Failed => false,
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

/// The state in which an active update works, waits or rests, in the direction it has.
pub(crate) fn rolling(status: UpdateStatus) -> UpdateStatus {
    if is_forward(status) { RollingForward } else { RollingBack }
}

/// See [`rolling`].
pub(crate) fn awaiting_pulse(status: UpdateStatus) -> UpdateStatus {
    if is_forward(status) { RollForwardAwaitingPulse } else { RollBackAwaitingPulse }
}

/// See [`rolling`].
pub(crate) fn paused(status: UpdateStatus) -> UpdateStatus {
    if is_forward(status) { RollForwardPaused } else { RollBackPaused }
}

/// Where a user's wish leads: the state to go to, the present one when it is fulfilled already, `None` when it cannot be had.
/// `blocked` says that the update is coordinated and its last pulse too long ago.
pub(crate) fn controlled(from: UpdateStatus, action: UpdateControl, blocked: bool) -> Option<UpdateStatus> {
    let to = match action {
        UpdateControl::Pause if from.is_active() => paused(from),
        UpdateControl::Pause => return None,
        UpdateControl::Resume if !from.is_active() => return None,
        UpdateControl::Resume => {
            let to = if blocked { awaiting_pulse(from) } else { rolling(from) };
            // Only a paused update resumes; one that waits for a pulse is woken by a pulse.
            return (from == to || from == paused(from)).then_some(to);
        }
        UpdateControl::Abort => Aborted,
        UpdateControl::Rollback => RollingBack,
    };
    (from == to || is_legal(from, to)).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGAL: [(UpdateStatus, &[UpdateStatus]); 11] = [
        (
            RollingForward,
            &[RollingBack, RollForwardPaused, RollForwardAwaitingPulse, RolledForward, Aborted, Failed, Error],
        ),
        (RollingBack, &[RollBackPaused, RollBackAwaitingPulse, RolledBack, Aborted, Failed, Error]),
        (RollForwardPaused, &[RollingForward, RollForwardAwaitingPulse, RollingBack, Aborted, Error]),
        (RollBackPaused, &[RollingBack, RollBackAwaitingPulse, Aborted, Error]),
        (RollForwardAwaitingPulse, &[RollingForward, RollForwardPaused, RollingBack, Aborted, Error]),
        (RollBackAwaitingPulse, &[RollingBack, RollBackPaused, Aborted, Error]),
        (RolledForward, &[]),
        (RolledBack, &[]),
        (Aborted, &[]),
        (Error, &[]),
        (Failed, &[]),
    ];

    #[test]
    fn every_pair_is_that_of_the_reference() {
        for (from, legal) in LEGAL {
            for to in UpdateStatus::ALL {
                assert_eq!(is_legal(from, to), legal.contains(&to), "{from} to {to}");
            }
        }
    }

    /// Per state: pause, resume, resume while blocked, abort, rollback. `-` refused, `=` nothing to do, else the new state.
    const WISHES: &str = "
        ROLLING_FORWARD             ROLL_FORWARD_PAUSED =                -                           ABORTED ROLLING_BACK
        ROLLING_BACK                ROLL_BACK_PAUSED    =                -                           ABORTED =
        ROLL_FORWARD_PAUSED         =                   ROLLING_FORWARD  ROLL_FORWARD_AWAITING_PULSE ABORTED ROLLING_BACK
        ROLL_BACK_PAUSED            =                   ROLLING_BACK     ROLL_BACK_AWAITING_PULSE    ABORTED ROLLING_BACK
        ROLL_FORWARD_AWAITING_PULSE ROLL_FORWARD_PAUSED -                =                           ABORTED ROLLING_BACK
        ROLL_BACK_AWAITING_PULSE    ROLL_BACK_PAUSED    -                =                           ABORTED ROLLING_BACK
        ROLLED_FORWARD              -                   -                -                           -       -
        ROLLED_BACK                 -                   -                -                           -       -
        ABORTED                     -                   -                -                           =       -
        ERROR                       -                   -                -                           -       -
        FAILED                      -                   -                -                           -       -
    ";

    #[test]
    fn every_wish_leads_where_the_reference_says() {
        let named = |name: &str| UpdateStatus::ALL.into_iter().find(|status| status.name() == name).unwrap();
        let mut lines = 0;
        for line in WISHES.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let from = named(words[0]);
            use UpdateControl::*;
            let wishes = [(Pause, false), (Resume, false), (Resume, true), (Abort, false), (Rollback, false)];
            for ((action, blocked), expected) in wishes.into_iter().zip(&words[1..]) {
                let expected = match *expected {
                    "-" => None,
                    "=" => Some(from),
                    name => Some(named(name)),
                };
                assert_eq!(controlled(from, action, blocked), expected, "{from} {action:?} blocked {blocked}");
            }
            lines += 1;
        }
        assert_eq!(lines, UpdateStatus::ALL.len());
    }
}
