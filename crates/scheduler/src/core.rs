//! What tasks and placement share: the tables, what is derived from them, and what the present step has produced so far. The
//! update controller sits above and never reaches into it except through its methods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::Call;
use model::{InstanceId, JobKey, Resources, TaskConfig, TaskId, TaskStatus};

use crate::idempotency::Forgetting;
use crate::input::{Effect, Now};
use crate::maintenance::Draining;
use crate::placement::affinity::Affinity;
use crate::placement::groups::Groups;
use crate::placement::offers::OfferBook;
use crate::random::Random;
use crate::reconciliation::Reconciliation;
use crate::settings::Settings;
use crate::sla::coordinator::Coordinators;
use crate::store::Store;
use crate::tasks::index::JobIndex;
use crate::timers::{Timer, TimerKey, Timers};

/// A change of a task, for whoever sits above (the update controller).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskChange {
    pub(crate) job: JobKey,
    pub(crate) instance: InstanceId,
    pub(crate) task_id: TaskId,
    /// `None` for a task deleted before it ended.
    pub(crate) status: Option<TaskStatus>,
}

/// Tables, derived state and the step under way.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) now: Now,
    pub(crate) random: Random,
    pub(crate) store: Store,
    pub(crate) jobs: BTreeMap<JobKey, JobIndex>,
    pub(crate) timers: Timers,
    pub(crate) book: OfferBook,
    pub(crate) groups: Groups,
    pub(crate) affinity: Affinity,
    /// Jobs of which a task ended in this step: their history may have become too long.
    pub(crate) ended_jobs: BTreeSet<JobKey>,
    /// Jobs whose changes the layer above wants to see.
    pub(crate) followed: BTreeSet<JobKey>,
    /// Changes of their tasks it has not yet seen, oldest first.
    pub(crate) changes: VecDeque<TaskChange>,
    /// Jobs of which cron wants to know when no task is active any more.
    pub(crate) awaited: BTreeSet<JobKey>,
    /// Those of them of which the last active task has ended.
    pub(crate) emptied: BTreeSet<JobKey>,
    pub(crate) effects: Vec<Effect>,
    /// Agent of the status that is being looked at: where to kill a task that is not stored.
    pub(crate) reporting_agent: Option<String>,
    pub(crate) space_low: bool,
    pub(crate) started: bool,
    /// Another scheduler took this one's place: nothing is decided any more.
    pub(crate) deposed: bool,
    /// Work done in this step, in tasks touched.
    pub(crate) work: usize,
    pub(crate) reconciliation: Reconciliation,
    /// The engine was told that no offers are wanted.
    pub(crate) suppressed: bool,
    /// Says so, when nothing has been pending for long enough.
    pub(crate) idle: Option<TimerKey>,
    pub(crate) forgetting: Forgetting,
    pub(crate) draining: Draining,
    pub(crate) coordinators: Coordinators,
    status_counts: [i64; TaskStatus::ALL.len()],
    published_counts: [i64; TaskStatus::ALL.len()],
    published_offers: i64,
}

/// Names of the gauges of stored tasks, in the order of [`TaskStatus::ALL`]. Nobody ever sees a task in INIT.
const STATUS_GAUGES: [&str; TaskStatus::ALL.len()] = [
    "task_store_INIT",
    "task_store_THROTTLED",
    "task_store_PENDING",
    "task_store_ASSIGNED",
    "task_store_STARTING",
    "task_store_RUNNING",
    "task_store_PREEMPTING",
    "task_store_RESTARTING",
    "task_store_DRAINING",
    "task_store_KILLING",
    "task_store_PARTITIONED",
    "task_store_FINISHED",
    "task_store_FAILED",
    "task_store_KILLED",
    "task_store_LOST",
];

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut store = Store::default();
        store.view.settings = Arc::new(settings.clone());
        Self {
            settings,
            now: Now::default(),
            random: Random::new([0; 32]),
            store,
            jobs: BTreeMap::new(),
            timers: Timers::default(),
            book: OfferBook::default(),
            groups: Groups::default(),
            affinity: Affinity::default(),
            ended_jobs: Default::default(),
            followed: BTreeSet::new(),
            changes: VecDeque::new(),
            awaited: BTreeSet::new(),
            emptied: BTreeSet::new(),
            effects: Vec::new(),
            reporting_agent: None,
            space_low: false,
            started: false,
            deposed: false,
            work: 0,
            reconciliation: Reconciliation::default(),
            suppressed: false,
            idle: None,
            forgetting: Forgetting::default(),
            draining: Draining::default(),
            coordinators: Coordinators::default(),
            status_counts: [0; TaskStatus::ALL.len()],
            published_counts: [0; TaskStatus::ALL.len()],
            published_offers: 0,
        }
    }

    /// Whether this step may go on, or has to leave the rest to the next.
    pub(crate) fn may_work(&self) -> bool {
        self.work < self.settings.max_step_work.max(1)
    }

    /// Asks the engine, once the records are durable.
    pub(crate) fn call(&mut self, call: Call) {
        self.effects.push(Effect::Engine(call));
    }

    /// Tells the operator.
    pub(crate) fn notice(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Notice(text.into()));
    }

    /// Arms a timer that fires after a delay.
    pub(crate) fn arm_after(&mut self, delay_ms: u64, timer: Timer) -> TimerKey {
        self.timers.arm(self.now.monotonic_ms.saturating_add(delay_ms), timer)
    }

    /// How much of a delay that began at a wall stamp is left: between nothing and all of it, however the wall clock jumped.
    pub(crate) fn remaining_ms(&self, since_wall_ms: i64, delay_ms: u64) -> u64 {
        let passed = self.now.wall_ms.saturating_sub(since_wall_ms).max(0) as u64;
        delay_ms.saturating_sub(passed)
    }

    /// Adds to a counter (spec scheduler 7.6).
    pub(crate) fn count(&mut self, name: &str, by: i64) {
        let counters = &mut self.store.view.counters;
        match counters.get_mut(name) {
            Some(value) => *value += by,
            None => drop(counters.insert(name.into(), by)),
        }
    }

    /// Sets a gauge.
    pub(crate) fn gauge(&mut self, name: &str, value: i64) {
        let counters = &mut self.store.view.counters;
        match counters.get_mut(name) {
            Some(known) => *known = value,
            None => drop(counters.insert(name.into(), value)),
        }
    }

    /// Keeps the number of stored tasks per status.
    pub(crate) fn count_status(&mut self, status: TaskStatus, by: i64) {
        let at = TaskStatus::ALL.iter().position(|known| *known == status).expect("a known status");
        self.status_counts[at] += by;
    }

    /// Writes the gauges that are kept aside because they change with every task.
    pub(crate) fn publish_gauges(&mut self) {
        for (at, name) in STATUS_GAUGES.iter().enumerate() {
            if self.status_counts[at] != self.published_counts[at] {
                self.published_counts[at] = self.status_counts[at];
                self.gauge(name, self.status_counts[at]);
            }
        }
        let held = self.book.held_offers() as i64;
        if held != self.published_offers {
            self.published_offers = held;
            self.gauge("outstanding_offers", held);
        }
    }

    /// The index of a job, made if it is new.
    pub(crate) fn job_index(&mut self, job: &JobKey) -> &mut JobIndex {
        if !self.jobs.contains_key(job) {
            self.jobs.insert(job.clone(), JobIndex::default());
        }
        self.jobs.get_mut(job).expect("made above")
    }

    /// The active task of an instance.
    pub(crate) fn active_task(&self, job: &JobKey, instance: InstanceId) -> Option<&Arc<crate::task::Task>> {
        let active = self.jobs.get(job)?.active.get(&instance)?;
        self.store.view.tasks.get(&active.id)
    }

    /// What a task of that configuration takes from an agent: its own resources and its executor's (spec scheduler 2.6). An
    /// executor that is not configured any more counts as nothing.
    pub(crate) fn demand(&self, config: &TaskConfig) -> Resources {
        self.settings.demand(config)
    }

    /// The executor a configuration names and the operator has not configured: nothing can start such a task.
    pub(crate) fn missing_executor<'a>(&self, config: &'a TaskConfig) -> Option<&'a str> {
        self.settings.missing_executor(config)
    }
}

/// A duration of the settings in whole ms.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
