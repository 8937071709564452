//! Timers as a queue inside the core, on monotonic time. The shell asks when to wake and sends `Tick`; nothing here waits.

use std::collections::BTreeMap;

use model::{Host, InstanceId, JobKey, TaskId, TaskStatus, UpdateKey};

/// Names an armed timer; ordered by deadline, then by the order of arming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    deadline_ms: u64,
    sequence: u64,
}

/// What happens when a timer fires.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Timer {
    /// A task stayed in a passing status for too long (spec scheduler 1.7).
    Transient(TaskId, TaskStatus),
    /// Nothing was heard of a task for long.
    Silent(TaskId, TaskStatus),
    /// Tasks that were given up are asked about.
    AskGivenUp,
    /// A task is still being killed; carries the wait before this one.
    KillRetry(TaskId, u64),
    /// A flapping task may be placed now.
    Throttle(TaskId),
    /// A task was out of reach for as long as its policy allows.
    Partition(TaskId),
    /// A group that found no place tries again.
    Group(u64),
    /// An unused offer goes back.
    Offer(String),
    /// Room is looked for by preemption.
    SlotSearch,
    /// An agent is kept no longer for the group of this number, which preempted on it.
    Reservation(u64),
    /// An agent is kept no longer for this instance, which an update replaced.
    Affinity(JobKey, InstanceId),
    /// The oldest terminal task of a job may be old enough to be forgotten.
    PruneJob(JobKey),
    /// Ended updates may be old enough to be forgotten.
    PruneUpdates,
    /// An instance may have run for long enough to count as updated.
    Watch(UpdateKey, InstanceId),
    /// A task may be killed by an SLA-aware update, if its policy allows it by now.
    SlaKill(UpdateKey, InstanceId),
    /// A time of a cron schedule may have come.
    Cron,
    /// Every placed task is asked about.
    Reconcile,
    /// The engine is asked for every task it knows.
    ReconcileImplicit,
    /// The next batch of tasks may be asked about.
    ReconcileNext,
    /// A new leader had the time to learn of all tasks.
    MasterGrace,
    /// Hosts that are being drained are looked at again.
    MaintenancePoll,
    /// What is left on a host that is being drained goes, whatever the policies say.
    DrainDeadline(Host),
    /// Tasks of a job that could not be moved may be by now.
    DrainRecheck(JobKey),
    /// The host of this scheduler has not said what a coordinator answered to that question.
    CoordinatorSilence(u64),
    /// Answers may have been kept for long enough.
    ForgetAnswers,
    /// Nothing has been pending for long enough to want no more offers.
    Idle,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<TimerKey, Timer>,
    next_sequence: u64,
}

impl Timers {
    /// Arms a timer; the key cancels it.
    pub(crate) fn arm(&mut self, deadline_ms: u64, timer: Timer) -> TimerKey {
        let key = TimerKey { deadline_ms, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.queue.insert(key, timer);
        key
    }

    /// Forgets a timer; one that has fired already is no error.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        let entry = self.queue.first_entry()?;
        (entry.key().deadline_ms <= now_ms).then(|| entry.remove())
    }

    /// When the next one is due.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(key, _)| key.deadline_ms)
    }

    /// How many are armed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_deadline_and_a_cancelled_one_never() {
        let mut timers = Timers::default();
        timers.arm(20, Timer::Group(2));
        let cancelled = timers.arm(10, Timer::Group(0));
        timers.arm(10, Timer::Group(1));
        timers.cancel(cancelled);
        assert_eq!(timers.next_deadline_ms(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(20), Some(Timer::Group(1)));
        assert_eq!(timers.pop_due(20), Some(Timer::Group(2)));
        assert_eq!((timers.pop_due(u64::MAX), timers.len()), (None, 0));
    }
}
