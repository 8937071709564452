//! The restoration of a backup (spec scheduler 6.3). A backup is what [`Scheduler::records`] gave of an earlier view. It is
//! staged beside the state, where it can be looked at and thinned out, and committed in one step: one group of records, so that a
//! crash leaves the state before or the state after.
//!
//! What was durable of the earlier moment becomes the state again. What happened since is not denied, as far as tasks are
//! concerned:
//!
//! - A task of the backup that is still active is adopted as it is now; it goes on running.
//! - One that was active then and has ended since stays in the history, and a new task takes its place. A batch task that has
//!   finished since is done, and is not run again.
//! - One that was not placed yet gets a new id: under the old one it may have run meanwhile, and an id is used once.
//! - One that nothing is known of now is taken over as the backup has it, and the engine is asked what became of it.
//! - Tasks created after the backup are kept, or killed and forgotten, as the operator asks ([`LaterTasks`]). One that is kept
//!   keeps its instance.
//!
//! One step takes as long as it takes: some five seconds of a processor for a million tasks, for which commands and statuses wait.
//! Readers go on from the view before it.
//!
//! Who the scheduler is (epoch, framework id, the engine's leader) is never restored on-line: the engine knows better.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{InstanceId, JobKey, TaskConfig, TaskId, TaskStatus};

use crate::command::{Outcome, Reply, ReplyCode};
use crate::commands::{Checked, refuse};
use crate::input::{Effect, Principal, Transition};
use crate::record::{self, Record, RecordError};
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::store::{self, Store};
use crate::task::Task;
use crate::tasks::reschedule::Origin;
use crate::tasks::table::State;
use crate::view::View;

/// What becomes of active tasks that were created after the backup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LaterTasks {
    /// They stay, with what is stored of them.
    #[default]
    Keep,
    /// They are killed and forgotten, as in Aurora.
    Kill,
}

/// A backup that was read and not yet committed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Staged(Arc<View>);

impl PartialEq for Staged {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Takes the records of a backup, one after the other.
#[derive(Debug, Default)]
pub struct Staging(Store);

impl Staging {
    /// Takes a record.
    pub fn apply(&mut self, record: &Record) -> Result<(), RecordError> {
        self.0.apply(record)
    }

    /// All records were taken. Fails, with what is missing, when the backup refers to what it does not hold.
    pub fn finish(self) -> Result<Staged, String> {
        match self.0.dangling().into_iter().next() {
            Some(sentence) => Err(sentence),
            None => Ok(Staged(Arc::new(self.0.view))),
        }
    }
}

impl Staged {
    /// The state that was staged, for questions.
    pub fn view(&self) -> &Arc<View> {
        &self.0
    }

    /// The same without these tasks.
    pub fn without(&self, tasks: &[TaskId]) -> Staged {
        let mut view = View::clone(&self.0);
        for id in tasks {
            let Some(task) = view.tasks.remove(id) else { continue };
            if let Some(ids) = view.tasks_by_job.get_mut(&task.config.job) {
                ids.remove(id);
                if ids.is_empty() {
                    view.tasks_by_job.remove(&task.config.job);
                }
            }
        }
        Staged(Arc::new(view))
    }
}

/// What a restoration does with tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Active then and now.
    pub adopted: Vec<TaskId>,
    /// Active then and unknown now: the engine is asked.
    pub asked: Vec<TaskId>,
    /// Active then and ended or never placed since: created anew.
    pub created_anew: Vec<TaskId>,
    /// Created after the backup and kept, ended ones excepted.
    pub later_kept: Vec<TaskId>,
    /// Created after the backup, killed and forgotten.
    pub later_killed: Vec<TaskId>,
}

/// How many ids a sentence of a report names.
const NAMED: usize = 20;

impl RestoreReport {
    /// For people, one sentence for each kind of task there is.
    pub fn sentences(&self) -> Vec<String> {
        let kinds: [(&[TaskId], &str); 5] = [
            (&self.adopted, "still run and were adopted"),
            (&self.asked, "are not known of now; the engine is asked about them"),
            (&self.created_anew, "ended or were never placed; new ones take their place"),
            (&self.later_kept, "were created after the backup and are kept"),
            (&self.later_killed, "were created after the backup and are killed"),
        ];
        let named = |ids: &[TaskId]| {
            let names: Vec<&str> = ids.iter().take(NAMED).map(TaskId::as_str).collect();
            let more = if ids.len() > NAMED { ", ..." } else { "" };
            format!("{}{more}", names.join(", "))
        };
        let present = kinds.into_iter().filter(|(ids, _)| !ids.is_empty());
        present.map(|(ids, what)| format!("{} tasks {what}: {}.", ids.len(), named(ids))).collect()
    }
}

/// What is to become the state: the tasks, and which of them need more than being stored.
#[derive(Debug, Default)]
struct Composition {
    tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Brought to an end if they have not come to it, then created anew: by what the backup has of them.
    anew: Vec<Arc<Task>>,
    /// Removed from the state; those that were placed are killed.
    dropped: Vec<Arc<Task>>,
    report: RestoreReport,
}

type Slot = (JobKey, InstanceId);

fn slot(task: &Task) -> Slot {
    (task.config.job.clone(), task.instance)
}

/// What becomes of a task of the backup.
enum Fate {
    Keep(Arc<Task>),
    Adopt(Arc<Task>),
    Ask,
    /// With what is kept as history, if anything.
    Anew(Option<Arc<Task>>),
}

fn fate(then: &Arc<Task>, now: Option<&Arc<Task>>) -> Fate {
    if then.status.is_terminal() {
        return Fate::Keep(then.clone());
    }
    match now {
        Some(now) if now.status.is_terminal() => {
            let done = now.status == TaskStatus::Finished && !now.config.is_service;
            // Somebody wanted it to end, and it has.
            let done = done || then.status == TaskStatus::Killing;
            if done { Fate::Keep(now.clone()) } else { Fate::Anew(Some(now.clone())) }
        }
        // It is on its way out, and the backup wants it to run.
        Some(now) if now.status == TaskStatus::Killing && then.status != TaskStatus::Killing => {
            Fate::Anew(Some(now.clone()))
        }
        Some(now) => Fate::Adopt(now.clone()),
        None if then.status.is_assigned() => Fate::Ask,
        None => Fate::Anew(None),
    }
}

fn compose(present: &View, staged: &View, later: LaterTasks) -> Composition {
    let mut composed = Composition::default();
    let later_tasks = || present.tasks.values().filter(|task| !staged.tasks.contains_key(&task.id));
    let held: BTreeSet<Slot> = match later {
        LaterTasks::Keep => later_tasks().filter(|task| task.status.is_active()).map(|task| slot(task)).collect(),
        LaterTasks::Kill => BTreeSet::new(),
    };
    for (id, then) in &staged.tasks {
        let now = present.tasks.get(id);
        let is_held = held.contains(&slot(then));
        match fate(then, now) {
            Fate::Keep(task) => drop(composed.tasks.insert(id.clone(), task)),
            Fate::Adopt(task) => {
                composed.report.adopted.push(id.clone());
                composed.tasks.insert(id.clone(), task);
            }
            Fate::Ask if !is_held => {
                composed.report.asked.push(id.clone());
                composed.tasks.insert(id.clone(), then.clone());
            }
            Fate::Anew(history) => {
                composed.tasks.extend(history.map(|task| (id.clone(), task)));
                if !is_held {
                    composed.report.created_anew.push(id.clone());
                    composed.anew.push(then.clone());
                }
            }
            // A later task does what it was for.
            Fate::Ask => {}
        }
    }
    for task in later_tasks() {
        match later {
            LaterTasks::Keep => {
                composed.tasks.insert(task.id.clone(), task.clone());
                if task.status.is_active() {
                    composed.report.later_kept.push(task.id.clone());
                }
            }
            LaterTasks::Kill => {
                composed.dropped.push(task.clone());
                if task.status.is_active() {
                    composed.report.later_killed.push(task.id.clone());
                }
            }
        }
    }
    composed
}

/// The store of the composed state. A number of a configuration means one thing for ever, so the present numbers are kept where
/// the configurations are the same, and all others get new ones.
fn build(present: &Store, staged: &View, tasks: &BTreeMap<TaskId, Arc<Task>>) -> Result<Store, RecordError> {
    let mut target = Store::after(present);
    // Thousands of tasks share one configuration.
    let mut known: BTreeMap<usize, Arc<TaskConfig>> = BTreeMap::new();
    for task in tasks.values() {
        let intern = || target.intern_as(present, TaskConfig::clone(&task.config));
        let config = known.entry(Arc::as_ptr(&task.config).addr()).or_insert_with(intern).clone();
        let is_shared = Arc::ptr_eq(&config, &task.config);
        target.restore_task(if is_shared { task.clone() } else { Arc::new(Task { config, ..Task::clone(task) }) });
        let role = present.view.offer_roles.get(&task.id).or_else(|| staged.offer_roles.get(&task.id));
        if let Some(role) = role {
            target.view.offer_roles.insert(task.id.clone(), role.clone());
        }
    }
    for record in store::whole_tables(staged) {
        target.apply(&record)?;
    }
    // The records come from the comparison below.
    drop(target.take_records());
    Ok(target)
}

/// The records of the tables that are composed one by one, tasks excepted, in order.
fn keyed(view: &View) -> BTreeMap<(u32, Vec<u8>), Vec<u8>> {
    let composed = store::identity_and_configs(view);
    composed.map(|record| ((record.table, record.key), record.value.unwrap_or_default())).collect()
}

/// The records of tasks that differ, and of those that are gone. Most of a large state is as it was: tasks in `tasks` that are those of
/// the present state need no look at all.
fn task_difference(from: &Store, to: &Store, tasks: &BTreeMap<TaskId, Arc<Task>>) -> (Vec<Record>, Vec<Record>) {
    let mut changed = Vec::new();
    for (id, composed) in tasks {
        let is_present = from.view.tasks.get(id).is_some_and(|old| Arc::ptr_eq(old, composed));
        if is_present && from.number_of(id) == to.number_of(id) {
            continue;
        }
        changed.extend(to.record_of(id).filter(|new| from.record_of(id).as_ref() != Some(new)));
    }
    let gone = from.view.tasks.keys().filter(|id| !tasks.contains_key(*id));
    (changed, gone.map(store::task_deletion).collect())
}

/// The records that turn one state into the other, in an order that can be replayed: configurations before the tasks that use
/// them, and out only after those are gone. Tables that are replaced as a whole are emptied first, in the order in which they
/// were filled: a deleted update takes its events along, and theirs follow.
fn difference(present: &Store, target: &Store, tasks: &BTreeMap<TaskId, Arc<Task>>) -> Vec<Record> {
    let (from, to) = (&present.view, &target.view);
    let (old, new) = (keyed(from), keyed(to));
    let (changed_tasks, gone_tasks) = task_difference(present, target, tasks);
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let put = |((table, key), value): (&(u32, Vec<u8>), &Vec<u8>)| Record {
        table: *table,
        key: key.clone(),
        value: Some(value.clone()),
    };
    let gone = |table: u32| {
        let keys = old.keys().filter(move |key| key.0 == table).filter(|key| !new.contains_key(*key));
        keys.map(|(table, key)| Record { table: *table, key: key.clone(), value: None })
    };
    let emptied = store::whole_tables(from).map(|record| Record { value: None, ..record });
    // Tables of configurations and tasks are in that order by number.
    let mut records: Vec<Record> = changed.map(put).collect();
    records.extend(changed_tasks);
    records.extend(gone_tasks);
    records.extend(gone(record::TABLE_CONFIGS));
    records.extend(emptied);
    records.extend(store::whole_tables(to));
    records
}

impl Scheduler {
    /// The input that makes a backup the state.
    pub(crate) fn restore(&mut self, principal: &Principal, staged: &Staged, later: LaterTasks) -> Checked<Reply> {
        let (present, staged) = (&self.core.store.view, staged.view());
        if let (Some(then), Some(now)) = (&staged.framework_id, &present.framework_id)
            && then != now
        {
            let sentence = format!(
                "The backup is of framework {then} and this scheduler is framework {now}: tasks of the other cannot be reached \
                 from here. Stop the daemon and use daybreak journal restore, which takes up the framework of the backup."
            );
            return refuse(ReplyCode::Error, sentence);
        }
        let composed = compose(present, staged, later);
        let target = build(&self.core.store, staged, &composed.tasks)
            .or_else(|error| refuse(ReplyCode::Error, format!("The backup cannot be restored: {error}.")))?;
        let records = difference(&self.core.store, &target, &composed.tasks);
        self.begin_again(target, records);
        self.cron_restored();
        self.core.maintenance_restored();
        for task in &composed.dropped {
            self.forget_later(task);
        }
        let message: Arc<str> = format!("A backup was restored by {}.", principal.name).into();
        for task in &composed.anew {
            self.create_anew(task, &message);
        }
        self.core.count("scheduler_restored_backups", 1);
        let messages = composed.report.sentences();
        self.core.notice(format!("{} restored a backup. {}", principal.name, messages.join(" ")));
        let restored = u32::try_from(composed.tasks.len()).unwrap_or(u32::MAX);
        Ok(Reply { messages, outcome: Outcome::Tasks(restored), ..Reply::ok() })
    }

    /// Everything derived is built anew over other tables, as after a restart of the process; the connection to the engine stays.
    fn begin_again(&mut self, target: Store, records: Vec<Record>) {
        let settings = Settings { forget_framework: None, ..self.core.settings.clone() };
        let mut seed = [0; 32];
        for word in seed.chunks_exact_mut(8) {
            word.copy_from_slice(&self.core.random.next_u64().to_le_bytes());
        }
        let epoch = self.core.store.view.epoch;
        let old = std::mem::replace(self, Scheduler::new(settings));
        let core = &mut self.core;
        core.now = old.core.now;
        core.store = target;
        core.store.view.counters = lasting_counters(&old.core.store.view);
        core.space_low = old.core.space_low;
        core.store.view.space_low = old.core.space_low;
        core.effects = old.core.effects;
        core.store.write_first(records);
        self.start(seed, epoch);
        let offers: Vec<String> = held_offers(&old.core.book);
        if !offers.is_empty() {
            self.core.call(engine::Call::Decline { offers, refuse_ms: 0 });
        }
        if old.core.store.view.registered {
            let view = &self.core.store.view;
            let (framework_id, master) = (view.framework_id.as_deref(), view.master.as_deref());
            let (framework_id, master) = (framework_id.map(str::to_owned), master.map(str::to_owned));
            self.engine_event(engine::Event::Registered { framework_id, master });
        } else {
            self.core.store.view.disconnected_since_ms = old.core.store.view.disconnected_since_ms;
        }
    }

    fn forget_later(&mut self, task: &Task) {
        let core = &mut self.core;
        core.effects.push(Effect::Transition(Transition {
            job: task.config.job.clone(),
            instance: task.instance,
            task_id: task.id.clone(),
            from: Some(task.status),
            to: None,
            reason: Some("Created after the backup that was restored.".into()),
            timestamp_ms: core.now.wall_ms.max(task.last_event_ms()),
        }));
        if task.status.is_assigned() {
            let agent_id = task.agent_id.as_deref().map(str::to_owned);
            core.call(engine::Call::Kill { task_id: task.id.clone(), agent_id });
        }
    }

    fn create_anew(&mut self, then: &Task, message: &Arc<str>) {
        let core = &mut self.core;
        let lost = State::Stored(TaskStatus::Lost);
        if core.store.view.tasks.get(&then.id).is_some_and(|task| task.status.is_active()) {
            core.transition(&then.id, None, lost, Some(message.clone()));
            core.kill(&then.id);
        }
        let known = core.store.view.tasks.contains_key(&then.id);
        let origin = match known {
            true => Origin::Replaces { ancestor: then.id.clone(), failure_count: then.failure_count, penalty_ms: 0 },
            false => Origin::New,
        };
        let config = core.store.intern(TaskConfig::clone(&then.config));
        if let Err(collision) = core.create_task(&config, then.instance, origin) {
            core.notice(format!("Task {} of the backup is not created anew: {collision}.", then.id));
        }
    }
}

/// Counters go on; gauges of what is stored begin anew.
fn lasting_counters(view: &View) -> imbl::OrdMap<Arc<str>, i64> {
    let of_state = |name: &str| name.starts_with("task_store_") || name == "outstanding_offers";
    view.counters.iter().filter(|(name, _)| !of_state(name)).map(|(name, value)| (name.clone(), *value)).collect()
}

fn held_offers(book: &crate::placement::offers::OfferBook) -> Vec<String> {
    book.agents().flat_map(|(_, agent)| &agent.offers).map(|offer| offer.id.clone()).collect()
}
