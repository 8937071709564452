//! Maintenance modes of hosts (spec scheduler 5.4). Not who may change them: that is the scheduler's.

use std::fmt;

/// Maintenance mode of a host; the number is its id on Aurora's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum MaintenanceMode {
    /// Takes tasks.
    #[default]
    None = 1,
    /// Maintenance is announced: takes tasks where no other host can.
    Scheduled = 2,
    /// Its tasks are being moved away; takes none.
    Draining = 3,
    /// No task is left; takes none.
    Drained = 4,
}

impl MaintenanceMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::None, Self::Scheduled, Self::Draining, Self::Drained];

    /// Whether tasks may be placed there.
    pub fn takes_tasks(self) -> bool {
        matches!(self, Self::None | Self::Scheduled)
    }

    /// Upper-case name as shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Scheduled => "SCHEDULED",
            Self::Draining => "DRAINING",
            Self::Drained => "DRAINED",
        }
    }

    /// From its id on the wire.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| *mode as i32 == id)
    }
}

impl fmt::Display for MaintenanceMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_two_modes_take_tasks() {
        for mode in MaintenanceMode::ALL {
            assert_eq!(MaintenanceMode::from_id(mode as i32), Some(mode));
        }
        assert_eq!((MaintenanceMode::from_id(0), MaintenanceMode::from_id(5)), (None, None));
        let taking: Vec<_> = MaintenanceMode::ALL.into_iter().filter(|mode| mode.takes_tasks()).collect();
        assert_eq!(taking, [MaintenanceMode::None, MaintenanceMode::Scheduled]);
    }
}
