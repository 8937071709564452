//! The tasks found on disk, read again only when they changed. Everything is rebuilt from disk; the newest look wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use checkpoint::layout::{LOGS, RunDirectory};
use checkpoint::record::{ProcessRecord, ProcessState, TaskState};
use checkpoint::replay::RunState;
use checkpoint::thermos;
use serde_json::Value;

use crate::detect::{Place, Root, places};
use crate::sample::Samples;

/// A question for an unknown task looks at the disk again, but not more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A task as its files tell it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Id.
    pub id: String,
    /// Where it lies.
    pub place: Place,
    /// When its list entry changed last, in ms since the epoch.
    pub changed_ms: i64,
    /// What its records tell.
    pub state: RunState,
    /// The task as it is configured.
    pub configured: Value,
    /// Sandbox of its processes.
    pub sandbox: PathBuf,
    /// Folder of the logs of its processes.
    pub logs: PathBuf,
}

/// How the processes of a task stand (spec executor 4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessGroups {
    /// No run, or waiting, or lost.
    pub waiting: Vec<String>,
    /// Forked or running.
    pub running: Vec<String>,
    /// Ended well.
    pub success: Vec<String>,
    /// Ended badly.
    pub failed: Vec<String>,
    /// Killed.
    pub killed: Vec<String>,
}

impl Task {
    /// Reads the task at `place`; the reason when that is not possible.
    pub fn load(place: &Place) -> Result<Self, String> {
        let changed = place.changed().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed_ms = changed.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let place = place.clone();
        match &place {
            Place::Run(path) => {
                let run = RunDirectory::new(path);
                let state = RunState::load(&run.checkpoint()).map_err(|error| error.to_string())?;
                let header = state.header.as_ref().ok_or("it was only just begun")?;
                Ok(Self {
                    id: header.task_id.clone(),
                    configured: serde_json::from_slice(&header.task_json).unwrap_or(Value::Null),
                    sandbox: run.sandbox(),
                    logs: run.sandbox().join(LOGS),
                    state,
                    changed_ms,
                    place,
                })
            }
            Place::Thermos { root, task_id, .. } => {
                let task = thermos::load(root, task_id, &place.dated_by()).map_err(|error| error.to_string())?;
                let sandbox = task.state.header.as_ref().map(|header| PathBuf::from(&header.sandbox));
                Ok(Self {
                    id: task_id.clone(),
                    configured: serde_json::from_slice(&task.task_json).unwrap_or(Value::Null),
                    sandbox: sandbox.unwrap_or_default(),
                    logs: task.logs,
                    state: task.state,
                    changed_ms,
                    place,
                })
            }
        }
    }

    /// Whether it is not over.
    pub fn is_active(&self) -> bool {
        match &self.place {
            Place::Thermos { is_finished, .. } => !is_finished,
            Place::Run(_) => !self.state.is_over() && !self.state.task_state().is_some_and(TaskState::is_terminal),
        }
    }

    /// Its name in its configuration.
    pub fn name(&self) -> &str {
        self.configured.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whom its processes run as.
    pub fn user(&self) -> &str {
        self.state.header.as_ref().map_or("", |header| header.user.as_str())
    }

    /// Host name it was given.
    pub fn hostname(&self) -> &str {
        self.state.header.as_ref().map_or("", |header| header.hostname.as_str())
    }

    /// When it was launched, in ms since the epoch.
    pub fn launched_ms(&self) -> i64 {
        self.state.header.as_ref().map_or(0, |header| header.launch_time_ms)
    }

    /// Its ports.
    pub fn ports(&self) -> BTreeMap<String, u32> {
        self.state.header.as_ref().map(|header| header.ports.clone()).unwrap_or_default()
    }

    /// Name of the state it is in.
    pub fn state_name(&self) -> &'static str {
        self.state.task_state().map_or("ACTIVE", task_state_name)
    }

    /// When it came into that state, in ms since the epoch.
    pub fn state_ms(&self) -> i64 {
        self.state.task.last().map_or_else(|| self.launched_ms(), |record| record.timestamp_ms)
    }

    /// Names of its processes: in the order of the configuration, then others that the records know.
    pub fn process_names(&self) -> Vec<String> {
        let configured = self.configured.get("processes").and_then(Value::as_array);
        let mut names: Vec<String> = configured
            .into_iter()
            .flatten()
            .filter_map(|process| process.get("name").and_then(Value::as_str))
            .map(str::to_owned)
            .collect();
        let known: BTreeSet<&String> = names.iter().collect();
        let more: Vec<String> = self.state.processes.keys().filter(|name| !known.contains(name)).cloned().collect();
        names.extend(more);
        names
    }

    /// The runs of a process, oldest first.
    pub fn runs(&self, process: &str) -> &[ProcessRecord] {
        self.state.processes.get(process).map_or(&[], Vec::as_slice)
    }

    /// Run number `run` of a process; negative numbers count from the end.
    pub fn run(&self, process: &str, run: i64) -> Option<&ProcessRecord> {
        let runs = self.runs(process);
        if let Ok(back) = usize::try_from(run.unsigned_abs())
            && run < 0
        {
            return runs.len().checked_sub(back).map(|at| &runs[at]);
        }
        runs.iter().find(|record| i64::from(record.run) == run)
    }

    /// The command line of a process as it is configured.
    pub fn cmdline(&self, process: &str) -> &str {
        let configured = self.configured.get("processes").and_then(Value::as_array);
        let named = |candidate: &&Value| candidate.get("name").and_then(Value::as_str) == Some(process);
        configured
            .into_iter()
            .flatten()
            .find(named)
            .and_then(|process| process.get("cmdline").and_then(Value::as_str))
            .unwrap_or_default()
    }

    /// Its processes by how they stand.
    pub fn groups(&self) -> ProcessGroups {
        let mut groups = ProcessGroups::default();
        for name in self.process_names() {
            let group = match self.runs(&name).last().map(ProcessRecord::state) {
                None | Some(ProcessState::Waiting | ProcessState::Lost) => &mut groups.waiting,
                Some(ProcessState::Forked | ProcessState::Running) => &mut groups.running,
                Some(ProcessState::Success) => &mut groups.success,
                Some(ProcessState::Failed) => &mut groups.failed,
                Some(ProcessState::Killed) => &mut groups.killed,
            };
            group.push(name);
        }
        groups
    }
}

/// Name of a task's state as the model has it; the records number the states alike.
pub fn task_state_name(state: TaskState) -> &'static str {
    model::process::TaskState::from_number(state.into()).map_or("", model::process::TaskState::name)
}

/// Name of a process' state, likewise.
pub fn process_state_name(state: ProcessState) -> &'static str {
    model::process::ProcessState::from_number(state.into()).map_or("", model::process::ProcessState::name)
}

/// Which tasks of a list are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Active and finished ones.
    All,
    /// Active ones.
    Active,
    /// Finished ones.
    Finished,
}

impl Which {
    /// By its name in addresses.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "active" => Some(Self::Active),
            "finished" => Some(Self::Finished),
            _ => None,
        }
    }

    /// Its name in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Finished => "finished",
        }
    }

    fn takes(self, task: &Task) -> bool {
        match self {
            Self::All => true,
            Self::Active => task.is_active(),
            Self::Finished => !task.is_active(),
        }
    }
}

/// How a file looked when it was read: another length or time means that it has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
}

impl Look {
    fn at(place: &Place) -> Option<Self> {
        let metadata = fs::metadata(place.stream()).or_else(|_| fs::metadata(place.dated_by())).ok()?;
        Some(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}

#[derive(Clone, Debug)]
struct Known {
    look: Look,
    task: Arc<Task>,
}

/// The tasks of an agent.
#[derive(Debug)]
pub struct Store {
    roots: Vec<Root>,
    known: RwLock<BTreeMap<Place, Known>>,
    by_id: RwLock<BTreeMap<String, Place>>,
    looked: Mutex<Option<Instant>>,
    /// Places whose damage was already said.
    complained: Mutex<BTreeSet<Place>>,
    /// What the running ones use.
    pub samples: Samples,
    /// When this store was made.
    pub started: Instant,
}

impl Store {
    /// Of these directories; nothing is read before [`Store::refresh`].
    pub fn new(roots: Vec<Root>) -> Self {
        Self {
            roots,
            known: RwLock::default(),
            by_id: RwLock::default(),
            looked: Mutex::default(),
            complained: Mutex::default(),
            samples: Samples::default(),
            started: Instant::now(),
        }
    }

    /// Looks at the disk.
    pub fn refresh(&self) {
        let before = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut known = BTreeMap::new();
        let mut by_id = BTreeMap::new();
        for place in self.roots.iter().flat_map(places) {
            let Some(entry) = self.read(&place, before.get(&place)) else { continue };
            by_id.insert(entry.task.id.clone(), place.clone());
            known.insert(place, entry);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        *self.by_id.write().unwrap_or_else(PoisonError::into_inner) = by_id;
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn read(&self, place: &Place, before: Option<&Known>) -> Option<Known> {
        let look = Look::at(place)?;
        if let Some(before) = before
            && before.look == look
        {
            return Some(before.clone());
        }
        match Task::load(place) {
            Ok(task) => Some(Known { look, task: Arc::new(task) }),
            Err(reason) => {
                let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
                if complained.insert(place.clone()) {
                    eprintln!("{} cannot be shown: {reason}", place.stream().display());
                }
                None
            }
        }
    }

    /// The task of this id as it is now.
    pub fn task(&self, id: &str) -> Option<Arc<Task>> {
        if let Some(task) = self.current(id) {
            return Some(task);
        }
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return None;
        }
        self.refresh();
        self.current(id)
    }

    fn current(&self, id: &str) -> Option<Arc<Task>> {
        let listed = self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()?;
        let place = listed.clone().now();
        if place != listed {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&listed);
            self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), place.clone());
        }
        let before = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        let now = self.read(&place, before.as_ref())?;
        let task = Arc::clone(&now.task);
        if before.is_none_or(|before| before.look != now.look) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).insert(place, now);
        }
        Some(task)
    }

    /// Tasks of a kind, newest first.
    pub fn tasks(&self, which: Which) -> Vec<Arc<Task>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut tasks: Vec<Arc<Task>> =
            known.values().map(|known| Arc::clone(&known.task)).filter(|task| which.takes(task)).collect();
        tasks.sort_by(|a, b| b.changed_ms.cmp(&a.changed_ms).then_with(|| a.id.cmp(&b.id)));
        tasks
    }
}

/// `count` entries of a list from `offset`; a negative offset counts from the end (spec executor 4.5). Also where that begins.
pub fn page<T: Clone>(entries: &[T], offset: i64, count: usize) -> (usize, Vec<T>) {
    let length = entries.len();
    let begin = match usize::try_from(offset) {
        Ok(offset) => offset.min(length),
        Err(_) => {
            let back = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            length.saturating_sub(back)
        }
    };
    (begin, entries.iter().skip(begin).take(count).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_lists_begin_where_they_were_asked_to() {
        let entries = [0, 1, 2, 3, 4];
        assert_eq!(page(&entries, 0, 2), (0, vec![0, 1]));
        assert_eq!(page(&entries, 4, 2), (4, vec![4]));
        assert_eq!(page(&entries, 9, 2), (5, vec![]));
        assert_eq!(page(&entries, -2, 9), (3, vec![3, 4]));
        assert_eq!(page(&entries, -5, 1), (0, vec![0]));
        assert_eq!(page(&entries, -6, 1), (0, vec![0]));
    }

    #[test]
    fn kinds_of_tasks_are_named_as_in_addresses() {
        for which in [Which::All, Which::Active, Which::Finished] {
            assert_eq!(Which::parse(which.name()), Some(which));
        }
        assert_eq!(Which::parse("running"), None);
    }
}
