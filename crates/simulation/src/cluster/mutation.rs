//! Bugs planted between the core and the rest, to show that the checks would find them. None of them is in the core itself: each
//! spoils what goes into it, what comes out of it, or what the disk says.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// What was decided is released before it is durable.
    ReleasedBeforeDurable,
    /// Statuses are acknowledged before they are durable.
    AcknowledgedBeforeDurable,
    /// Now and then the record of a task is not written.
    TaskRecordDropped,
    /// Now and then a deletion is not written.
    DeletionDropped,
    /// Now and then a configuration is not written.
    ConfigRecordDropped,
    /// A snapshot leaves tasks out.
    SnapshotIncomplete,
    /// Kills are not passed on.
    KillDropped,
    /// Now and then a kill hits another task.
    KillMisdirected,
    /// Now and then a launch is repeated under the same name.
    LaunchRepeated,
    /// Offers look bigger than they are.
    OfferInflated,
    /// Acknowledgements are not passed on.
    AcknowledgementDropped,
    /// Now and then a status is acknowledged and not looked at.
    StatusIgnored,
    /// The core is not woken when it asked to be.
    TimerLost,
    /// A create is answered with success, and nothing was done.
    AnsweredWithoutWork,
    /// A command is answered twice.
    AnsweredTwice,
    /// The core is not told that the disk is full.
    SpaceLowIgnored,
    /// The end of its epoch does not stop a scheduler.
    EpochEndIgnored,
    /// Corrective kills are not passed on.
    StrayTolerated,
    /// Delays run on the wall clock.
    DelaysOnWallClock,
    /// The core is not told who leads the engine.
    LeaderNotTold,
    /// The engine is never told that offers are wanted again.
    ReviveDropped,
    /// Now and then the record of a cron run is not written.
    CronRunRecordDropped,
    /// Now and then it is not written how far an instance of an update is.
    UpdateProgressRecordDropped,
    /// Now and then an answer that is to be kept under a key is not written.
    AnswerRecordDropped,
    /// Now and then a repetition is taken for a new request.
    RepetitionNotKnown,
    /// Now and then the wish to drain a host is not written.
    MaintenanceRecordDropped,
    /// Drains are passed on without the policy that they were asked for with.
    SlaPolicyIgnored,
    /// A coordinator's no is passed on as a yes.
    CoordinatorOverruled,
    /// Instances that an update replaces go anywhere.
    AffinityForgotten,
    /// A backup is restored without one of its tasks.
    RestoreIncomplete,
    /// A restoration kills what it was asked to keep.
    RestoreKillsLater,
    /// The core is told a wall clock that is five seconds ahead.
    CronEarly,
    /// Nobody is asked about tasks that were given up.
    GivenUpForgotten,
    /// Now and then the next number drawn depends on something else than the seed.
    NotDeterministic,
}

impl Mutation {
    /// Every bug.
    pub const ALL: [Self; 34] = [
        Self::ReleasedBeforeDurable,
        Self::AcknowledgedBeforeDurable,
        Self::TaskRecordDropped,
        Self::DeletionDropped,
        Self::ConfigRecordDropped,
        Self::SnapshotIncomplete,
        Self::KillDropped,
        Self::KillMisdirected,
        Self::LaunchRepeated,
        Self::OfferInflated,
        Self::AcknowledgementDropped,
        Self::StatusIgnored,
        Self::TimerLost,
        Self::AnsweredWithoutWork,
        Self::AnsweredTwice,
        Self::SpaceLowIgnored,
        Self::EpochEndIgnored,
        Self::StrayTolerated,
        Self::DelaysOnWallClock,
        Self::LeaderNotTold,
        Self::ReviveDropped,
        Self::CronRunRecordDropped,
        Self::UpdateProgressRecordDropped,
        Self::AnswerRecordDropped,
        Self::RepetitionNotKnown,
        Self::MaintenanceRecordDropped,
        Self::SlaPolicyIgnored,
        Self::CoordinatorOverruled,
        Self::AffinityForgotten,
        Self::RestoreIncomplete,
        Self::RestoreKillsLater,
        Self::CronEarly,
        Self::GivenUpForgotten,
        Self::NotDeterministic,
    ];
}
