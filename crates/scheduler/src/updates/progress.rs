//! How far each instance of an update is. Durable, so that a restart neither loses progress nor forgets failures; forgotten when
//! the update pauses, waits for a pulse or turns round, because it then looks at every instance again (spec scheduler 3.1).

/// Where an instance is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum InstanceStage {
    /// Not taken yet.
    #[default]
    Idle = 0,
    /// Taken and not done.
    Working = 1,
    /// As it should be.
    Succeeded = 2,
    /// Failed more often than it may.
    Failed = 3,
}

impl InstanceStage {
    /// Every stage, by its number in the journal.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Working, Self::Succeeded, Self::Failed];

    /// From its number in the journal.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as i32 == id)
    }
}

/// How far an instance of an active update is; what is not stored is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceProgress {
    /// Where it is.
    pub stage: InstanceStage,
    /// How often its new task ended since the update began to roll.
    pub failures: i32,
    /// Its batch has begun: an update that pauses before each batch does not pause for it again.
    pub begun: bool,
}
