//! Maintenance modes of hosts as one table: which change leads where (spec scheduler 5.4). Data only; [`super`] carries it out.

use model::MaintenanceMode;

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModeChange {
    /// Maintenance is announced.
    Announce,
    /// It is to be drained.
    Drain,
    /// Its last task has ended, or it has none.
    Emptied,
    /// Maintenance is over.
    End,
}

impl ModeChange {
    /// Every change.
    pub const ALL: [Self; 4] = [Self::Announce, Self::Drain, Self::Emptied, Self::End];
}

/// The mode that follows; `None` when the change means nothing in that mode, and nothing happens.
pub fn mode_after(mode: MaintenanceMode, change: ModeChange) -> Option<MaintenanceMode> {
    use MaintenanceMode::{Drained, Draining, None as InUse, Scheduled};
    match (change, mode) {
        (ModeChange::Announce, InUse | Scheduled | Draining | Drained) => Some(Scheduled),
        (ModeChange::Drain, InUse | Scheduled | Draining | Drained) => Some(Draining),
        (ModeChange::Emptied, Draining | Drained) => Some(Drained),
        // A host that runs out of tasks while it takes new ones is just idle.
        (ModeChange::Emptied, InUse | Scheduled) => None,
        (ModeChange::End, InUse | Scheduled | Draining | Drained) => Some(InUse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_that_of_the_reference() {
        use MaintenanceMode::{Drained, Draining, None as InUse, Scheduled};
        let expected = [
            (ModeChange::Announce, [Some(Scheduled); 4]),
            (ModeChange::Drain, [Some(Draining); 4]),
            (ModeChange::Emptied, [None, None, Some(Drained), Some(Drained)]),
            (ModeChange::End, [Some(InUse); 4]),
        ];
        for (change, row) in expected {
            let found = MaintenanceMode::ALL.map(|mode| mode_after(mode, change));
            assert_eq!(found, row, "{change:?}");
        }
        assert_eq!(ModeChange::ALL.len(), expected.len());
    }
}
