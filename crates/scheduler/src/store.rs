//! The durable tables and the records that make them so. What is derived from them (indexes, groups, offers, timers) is not
//! here, and no rule is: this module only keeps tables and records in step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::update::{InstanceUpdateEvent, Update, UpdateEvent};
use model::{Host, InstanceId, JobKey, Resources, Role, TaskConfig, TaskId, UpdateKey};
use prost::Message;

use crate::cron::CronRun;
use crate::idempotency::AnswerKey;
use crate::record::schema::{
    ConfigMessage, HostMessage, IdentityMessage, InstanceEventMessage, MaintenanceMessage, ProgressMessage,
    PulseMessage, ResourcesMessage, TaskMessage, UpdateEventMessage, UpdateMessage,
};
use crate::record::{self, Record, RecordError, convert, table_name};
use crate::task::{SharedText, Task};
use crate::updates::progress::InstanceProgress;
use crate::view::{HostRecord, MaintenanceRequest, View};

mod answers;
mod cron;
mod dump;

pub(crate) use dump::{identity_and_configs, records, task_deletion, whole_tables};

/// Numbers of a new epoch begin at its value shifted by this, so that no number is ever given twice.
const CONFIG_NUMBERS_PER_EPOCH_BITS: u32 = 32;

/// The tables, and what of them changed in this step.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// The tables; frozen by cloning.
    pub(crate) view: View,
    /// Address of an interned configuration to its number. Only looked up, never walked: addresses have no stable order.
    config_numbers: BTreeMap<usize, u64>,
    config_by_content: BTreeMap<Arc<TaskConfig>, u64>,
    config_uses: BTreeMap<u64, u64>,
    next_config: u64,
    new_configs: BTreeSet<u64>,
    unused_configs: BTreeSet<u64>,
    /// May name a task several times.
    changed_tasks: Vec<TaskId>,
    other_records: Vec<Record>,
    /// To be written before everything else of this step: what makes the tables what they are.
    first_records: Vec<Record>,
    hosts: BTreeMap<Host, Arc<Host>>,
    agents: BTreeSet<Arc<str>>,
    /// Messages of the latest events: many are alike.
    messages: VecDeque<SharedText>,
    /// Kept answers, the oldest first.
    answers_by_number: BTreeMap<u64, AnswerKey>,
    early: Early,
}

/// Records that were replayed before what they refer to. In a journal replayed over a snapshot that is no fault: what they
/// refer to was deleted later, and so were they.
#[derive(Debug, Default)]
struct Early {
    tasks: BTreeMap<TaskId, TaskMessage>,
    cron_runs: BTreeMap<JobKey, Vec<CronRun>>,
    update_events: BTreeMap<(UpdateKey, usize), UpdateEvent>,
    instance_events: BTreeMap<(UpdateKey, usize), InstanceUpdateEvent>,
}

fn address(config: &Arc<TaskConfig>) -> usize {
    Arc::as_ptr(config) as usize
}

impl Store {
    // ---- configurations ----

    /// The one shared copy of a configuration. It is stored once a task uses it.
    pub(crate) fn intern(&mut self, config: TaskConfig) -> Arc<TaskConfig> {
        if let Some((shared, _)) = self.config_by_content.get_key_value(&config) {
            return shared.clone();
        }
        let shared = Arc::new(config);
        let number = self.next_config;
        self.next_config += 1;
        self.add_config(number, shared.clone());
        self.new_configs.insert(number);
        self.unused_configs.insert(number);
        shared
    }

    /// The number of an interned configuration.
    pub(crate) fn config_number(&self, config: &Arc<TaskConfig>) -> u64 {
        *self.config_numbers.get(&address(config)).expect("every task's configuration is interned")
    }

    /// An empty store that gives no number a second time which this one gave, and belongs to the same scheduler; what was answered
    /// stays answered.
    pub(crate) fn after(present: &Store) -> Store {
        let (now, mut store) = (&present.view, Store { next_config: present.next_config, ..Store::default() });
        (store.view.framework_id, store.view.epoch) = (now.framework_id.clone(), now.epoch);
        (store.view.master, store.view.master_since_ms) = (now.master.clone(), now.master_since_ms);
        store.view.settings = now.settings.clone();
        store.take_answers_of(present);
        store
    }

    /// The same as [`Self::intern`], under the number that the configuration has in another store, if it has one there.
    pub(crate) fn intern_as(&mut self, other: &Store, config: TaskConfig) -> Arc<TaskConfig> {
        match other.config_by_content.get(&config) {
            Some(number)
                if !self.view.configs.contains_key(number) && !self.config_by_content.contains_key(&config) =>
            {
                let shared = other.view.configs.get(number).cloned().unwrap_or_else(|| Arc::new(config));
                self.add_config(*number, shared.clone());
                self.unused_configs.insert(*number);
                shared
            }
            _ => self.intern(config),
        }
    }

    /// These records come before all others of this step.
    pub(crate) fn write_first(&mut self, records: Vec<Record>) {
        self.first_records = records;
    }

    fn add_config(&mut self, number: u64, config: Arc<TaskConfig>) {
        self.config_numbers.insert(address(&config), number);
        self.config_by_content.insert(config.clone(), number);
        self.view.configs.insert(number, config);
        self.next_config = self.next_config.max(number + 1);
    }

    fn drop_config(&mut self, number: u64) {
        if let Some(config) = self.view.configs.remove(&number) {
            self.config_numbers.remove(&address(&config));
            if self.config_by_content.get(&config) == Some(&number) {
                self.config_by_content.remove(&config);
            }
        }
        self.config_uses.remove(&number);
    }

    fn use_config(&mut self, number: u64) {
        *self.config_uses.entry(number).or_default() += 1;
        self.unused_configs.remove(&number);
    }

    fn release_config(&mut self, number: u64) {
        if let Some(uses) = self.config_uses.get_mut(&number) {
            *uses -= 1;
            if *uses == 0 {
                self.config_uses.remove(&number);
                self.unused_configs.insert(number);
            }
        }
    }

    // ---- tasks ----

    /// Shared copy of a host name.
    pub(crate) fn shared_host(&mut self, host: &str) -> Arc<Host> {
        if let Some(shared) = self.hosts.get(host) {
            return shared.clone();
        }
        let shared = Arc::new(host.to_owned());
        self.hosts.insert(host.to_owned(), shared.clone());
        shared
    }

    /// Shared copy of an agent id.
    pub(crate) fn shared_agent(&mut self, agent: &str) -> Arc<str> {
        if let Some(shared) = self.agents.get(agent) {
            return shared.clone();
        }
        let shared: Arc<str> = agent.into();
        self.agents.insert(shared.clone());
        shared
    }

    /// Shared copy of an event's message.
    pub(crate) fn shared_message(&mut self, message: &str) -> SharedText {
        const REMEMBERED: usize = 8;
        if let Some(shared) = self.messages.iter().find(|known| ***known == *message) {
            return shared.clone();
        }
        let shared = SharedText::from(message);
        self.messages.truncate(REMEMBERED - 1);
        self.messages.push_front(shared.clone());
        shared
    }

    /// Puts a task, new or changed as a whole.
    pub(crate) fn put_task(&mut self, task: Task) {
        self.changed_tasks.push(task.id.clone());
        self.place_task(Arc::new(task));
    }

    fn place_task(&mut self, task: Arc<Task>) {
        let number = self.config_number(&task.config);
        self.use_config(number);
        let job = &task.config.job;
        match self.view.tasks_by_job.get_mut(job) {
            Some(ids) => drop(ids.insert(task.id.clone())),
            None => drop(self.view.tasks_by_job.insert(job.clone(), OrdSet::unit(task.id.clone()))),
        }
        let old = self.view.tasks.insert(task.id.clone(), task);
        if let Some(number) = old.and_then(|old| self.config_numbers.get(&address(&old.config)).copied()) {
            self.release_config(number);
        }
    }

    /// Changes a stored task and returns it as it is then. Its configuration must stay the same.
    pub(crate) fn change_task(&mut self, id: &TaskId, change: impl FnOnce(&mut Task)) -> Option<Arc<Task>> {
        let task = self.view.tasks.get_mut(id)?;
        change(Arc::make_mut(task));
        self.changed_tasks.push(id.clone());
        Some(task.clone())
    }

    /// Remembers whose offer a task took.
    pub(crate) fn put_offer_role(&mut self, id: &TaskId, role: Role) {
        self.changed_tasks.push(id.clone());
        self.view.offer_roles.insert(id.clone(), role);
    }

    /// Deletes a task.
    pub(crate) fn remove_task(&mut self, id: &TaskId) -> Option<Arc<Task>> {
        let task = self.displace_task(id)?;
        self.changed_tasks.push(id.clone());
        Some(task)
    }

    fn displace_task(&mut self, id: &TaskId) -> Option<Arc<Task>> {
        let task = self.view.tasks.remove(id)?;
        self.view.offer_roles.remove(id);
        let job = &task.config.job;
        if let Some(ids) = self.view.tasks_by_job.get_mut(job) {
            ids.remove(id);
            if ids.is_empty() {
                self.view.tasks_by_job.remove(job);
            }
        }
        if let Some(number) = self.config_numbers.get(&address(&task.config)).copied() {
            self.release_config(number);
        }
        Some(task)
    }

    // ---- updates ----

    /// Puts a new update with its events.
    pub(crate) fn put_update(&mut self, update: Update) {
        let key = update.key.clone();
        let bytes = convert::update_key_bytes(&key);
        self.other_records.push(Record::put(record::TABLE_UPDATES, bytes, &convert::update_message(&update)));
        let (events, instance_events) = (update.events.clone(), update.instance_events.clone());
        let bare = Update { events: Vec::new(), instance_events: Vec::new(), ..update };
        self.view.updates.insert(key.clone(), Arc::new(bare));
        events.into_iter().for_each(|event| self.add_update_event(&key, event));
        instance_events.into_iter().for_each(|event| self.add_instance_event(&key, event));
    }

    /// Appends a change of an update's state.
    pub(crate) fn add_update_event(&mut self, key: &UpdateKey, event: UpdateEvent) {
        let Some(update) = self.view.updates.get_mut(key) else { return };
        let bytes = convert::event_key_bytes(key, update.events.len());
        let record = Record::put(record::TABLE_UPDATE_EVENTS, bytes, &convert::update_event_message(&event));
        Arc::make_mut(update).events.push(event);
        self.other_records.push(record);
    }

    /// Appends something that happened to an instance.
    pub(crate) fn add_instance_event(&mut self, key: &UpdateKey, event: InstanceUpdateEvent) {
        let Some(update) = self.view.updates.get_mut(key) else { return };
        let bytes = convert::event_key_bytes(key, update.instance_events.len());
        let record = Record::put(record::TABLE_INSTANCE_EVENTS, bytes, &convert::instance_event_message(&event));
        Arc::make_mut(update).instance_events.push(event);
        self.other_records.push(record);
    }

    /// Deletes an update and its events.
    pub(crate) fn remove_update(&mut self, key: &UpdateKey) {
        let Some(update) = self.view.updates.remove(key) else { return };
        let delete =
            |table, count| (0..count).map(move |number| Record::delete(table, convert::event_key_bytes(key, number)));
        self.other_records.extend(delete(record::TABLE_UPDATE_EVENTS, update.events.len()));
        self.other_records.extend(delete(record::TABLE_INSTANCE_EVENTS, update.instance_events.len()));
        self.other_records.push(Record::delete(record::TABLE_UPDATES, convert::update_key_bytes(key)));
        self.forget_progress(key, false);
        self.forget_pulse(key);
    }

    /// Sets how far an instance of an update is, if that is news.
    pub(crate) fn put_progress(&mut self, key: &UpdateKey, instance: InstanceId, value: InstanceProgress) {
        let known = self.view.update_progress.get(key).and_then(|progress| progress.get(&instance));
        if known.copied().unwrap_or_default() == value {
            return;
        }
        let bytes = convert::event_key_bytes(key, instance as usize);
        if value == InstanceProgress::default() {
            self.other_records.push(Record::delete(record::TABLE_UPDATE_PROGRESS, bytes));
        } else {
            let message = convert::progress_message(&value);
            self.other_records.push(Record::put(record::TABLE_UPDATE_PROGRESS, bytes, &message));
        }
        self.set_progress(key, instance, Some(value).filter(|value| *value != InstanceProgress::default()));
    }

    fn set_progress(&mut self, key: &UpdateKey, instance: InstanceId, value: Option<InstanceProgress>) {
        let Some(value) = value else {
            if let Some(progress) = self.view.update_progress.get_mut(key) {
                progress.remove(&instance);
                if progress.is_empty() {
                    self.view.update_progress.remove(key);
                }
            }
            return;
        };
        match self.view.update_progress.get_mut(key) {
            Some(progress) => drop(progress.insert(instance, value)),
            None => drop(self.view.update_progress.insert(key.clone(), OrdMap::unit(instance, value))),
        }
    }

    /// Forgets how far the instances of an update are, except, when wanted, which of its batches have begun.
    pub(crate) fn forget_progress(&mut self, key: &UpdateKey, keep_begun: bool) {
        for (instance, known) in self.view.update_progress.get(key).cloned().into_iter().flatten() {
            let begun = keep_begun && known.begun;
            self.put_progress(key, instance, InstanceProgress { begun, ..InstanceProgress::default() });
        }
    }

    /// Remembers when the latest pulse of an update came.
    pub(crate) fn put_pulse(&mut self, key: &UpdateKey, timestamp_ms: i64) {
        let bytes = convert::update_key_bytes(key);
        self.other_records.push(Record::put(record::TABLE_UPDATE_PULSES, bytes, &PulseMessage { timestamp_ms }));
        self.view.update_pulses.insert(key.clone(), timestamp_ms);
    }

    /// Forgets the pulses of an update.
    pub(crate) fn forget_pulse(&mut self, key: &UpdateKey) {
        if self.view.update_pulses.remove(key).is_some() {
            let bytes = convert::update_key_bytes(key);
            self.other_records.push(Record::delete(record::TABLE_UPDATE_PULSES, bytes));
        }
    }

    /// Forgets progress and pulses that belong to no active update: a journal or backup that holds some is not sound.
    pub(crate) fn forget_strays_of_updates(&mut self) {
        let view = &self.view;
        let is_stray = |key: &&UpdateKey| view.updates.get(*key).is_none_or(|update| !update.status().is_active());
        let strays: BTreeSet<UpdateKey> =
            view.update_progress.keys().chain(view.update_pulses.keys()).filter(is_stray).cloned().collect();
        for key in strays {
            self.forget_progress(&key, false);
            self.forget_pulse(&key);
        }
    }

    // ---- the rest ----

    /// Remembers a host, if that is news.
    pub(crate) fn put_host(&mut self, host: &Host, value: HostRecord) {
        if self.view.hosts.get(host).is_some_and(|known| **known == value) {
            return;
        }
        let key = host.as_bytes().to_vec();
        self.other_records.push(Record::put(record::TABLE_HOSTS, key, &convert::host_message(&value)));
        self.view.hosts.insert(host.clone(), Arc::new(value));
    }

    /// Remembers the wish to drain a host; `None` forgets it.
    pub(crate) fn set_maintenance(&mut self, host: &Host, request: Option<MaintenanceRequest>) {
        let key = host.as_bytes().to_vec();
        match request {
            Some(request) => {
                let message = convert::maintenance_message(&request);
                self.other_records.push(Record::put(record::TABLE_MAINTENANCE, key, &message));
                self.view.maintenance.insert(host.clone(), Arc::new(request));
            }
            None if self.view.maintenance.remove(host).is_some() => {
                self.other_records.push(Record::delete(record::TABLE_MAINTENANCE, key));
            }
            None => {}
        }
    }

    /// Sets the quota of a role.
    pub(crate) fn put_quota(&mut self, role: &Role, quota: Resources) {
        let key = role.as_bytes().to_vec();
        self.other_records.push(Record::put(record::TABLE_QUOTAS, key, &convert::resources_message(&quota)));
        self.view.quotas.insert(role.clone(), quota);
    }

    /// Begins an epoch: configuration numbers given from now on were never given before.
    pub(crate) fn begin_epoch(&mut self, epoch: u64) {
        self.view.epoch = epoch;
        self.next_config = self.next_config.max(epoch << CONFIG_NUMBERS_PER_EPOCH_BITS).max(1);
        self.put_identity();
    }

    /// Remembers the id the engine gave.
    pub(crate) fn set_framework_id(&mut self, id: String) {
        if self.view.framework_id.as_deref() != Some(id.as_str()) {
            self.view.framework_id = Some(id.into());
            self.put_identity();
        }
    }

    /// Forgets the id the engine gave, and its leader.
    pub(crate) fn forget_framework(&mut self) {
        (self.view.framework_id, self.view.master, self.view.master_since_ms) = (None, None, 0);
        self.put_identity();
    }

    /// Remembers the engine's leader and when it was first seen.
    pub(crate) fn set_master(&mut self, master: String, since_ms: i64) {
        (self.view.master, self.view.master_since_ms) = (Some(master.into()), since_ms);
        self.put_identity();
    }

    fn put_identity(&mut self) {
        let message = identity_message(&self.view);
        self.other_records.push(Record::put(record::TABLE_IDENTITY, Vec::new(), &message));
    }

    /// Takes the records of what changed since the last call: configurations before the tasks that use them, deletions of
    /// configurations last.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.first_records);
        let mut deleted = Vec::new();
        for number in std::mem::take(&mut self.unused_configs) {
            if !self.new_configs.remove(&number) {
                deleted.push(Record::delete(record::TABLE_CONFIGS, number.to_be_bytes().to_vec()));
            }
            self.drop_config(number);
        }
        for number in std::mem::take(&mut self.new_configs) {
            records.push(config_record(number, &self.view.configs[&number]));
        }
        let mut changed = std::mem::take(&mut self.changed_tasks);
        changed.sort_unstable();
        changed.dedup();
        for id in changed {
            records.push(match self.view.tasks.get(&id) {
                Some(task) => task_record(task, self.config_number(&task.config), self.view.offer_roles.get(&id)),
                None => Record::delete(record::TABLE_TASKS, id.as_str().as_bytes().to_vec()),
            });
        }
        records.append(&mut self.other_records);
        records.append(&mut deleted);
        records
    }

    // ---- replay ----

    /// Applies a stored record. Applying it again, or after later ones of the same key were applied and are applied again,
    /// changes nothing in the end.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), RecordError> {
        let table = table_name(record.table).ok_or(RecordError::UnknownTable(record.table))?;
        let malformed_key = || RecordError::MalformedKey { table, length: record.key.len() };
        let malformed = |reason: String| RecordError::MalformedValue { table, reason };
        let text = || std::str::from_utf8(&record.key).map(str::to_owned).map_err(|_| malformed_key());
        let value = record.value.as_deref();
        match record.table {
            record::TABLE_CONFIGS => {
                let number = u64::from_be_bytes(record.key.as_slice().try_into().map_err(|_| malformed_key())?);
                self.apply_config(number, value).map_err(malformed)
            }
            record::TABLE_TASKS => self.apply_task(TaskId(text()?.into()), value).map_err(malformed),
            record::TABLE_UPDATES => {
                let key = convert::update_key_of(&record.key).ok_or_else(malformed_key)?;
                self.apply_update(key, value).map_err(malformed)
            }
            record::TABLE_UPDATE_EVENTS | record::TABLE_INSTANCE_EVENTS => {
                let key = convert::event_key_of(&record.key).ok_or_else(malformed_key)?;
                self.apply_event(record.table == record::TABLE_UPDATE_EVENTS, key, value).map_err(malformed)
            }
            record::TABLE_UPDATE_PROGRESS => {
                let (key, instance) = convert::event_key_of(&record.key).ok_or_else(malformed_key)?;
                let message = decode::<ProgressMessage>(value).map_err(malformed)?;
                let value = message.map(convert::progress_of).transpose().map_err(malformed)?;
                self.set_progress(&key, instance as InstanceId, value);
                Ok(())
            }
            record::TABLE_UPDATE_PULSES => {
                let key = convert::update_key_of(&record.key).ok_or_else(malformed_key)?;
                match decode::<PulseMessage>(value).map_err(malformed)? {
                    Some(message) => drop(self.view.update_pulses.insert(key, message.timestamp_ms)),
                    None => drop(self.view.update_pulses.remove(&key)),
                }
                Ok(())
            }
            record::TABLE_CRON_JOBS | record::TABLE_CRON_RUNS => self.apply_cron(record),
            record::TABLE_ANSWERS => {
                self.apply_answer(&record.key, value).ok_or_else(malformed_key)?.map_err(malformed)
            }
            record::TABLE_HOSTS => self.apply_host(text()?, value).map_err(malformed),
            record::TABLE_MAINTENANCE => self.apply_maintenance(text()?, value).map_err(malformed),
            record::TABLE_QUOTAS => {
                let role = text()?;
                match decode::<ResourcesMessage>(value).map_err(malformed)? {
                    Some(message) => drop(self.view.quotas.insert(role, convert::resources_of(&message))),
                    None => drop(self.view.quotas.remove(&role)),
                }
                Ok(())
            }
            _ => {
                let message = decode::<IdentityMessage>(value).map_err(malformed)?.unwrap_or_default();
                self.view.framework_id = message.framework_id.map(Arc::from);
                self.view.epoch = message.epoch;
                self.view.master = message.master.map(Arc::from);
                self.view.master_since_ms = message.master_since_ms;
                Ok(())
            }
        }
    }

    fn apply_host(&mut self, host: Host, value: Option<&[u8]>) -> Result<(), String> {
        match decode::<HostMessage>(value)? {
            Some(message) => drop(self.view.hosts.insert(host, Arc::new(convert::host_of(message)?))),
            None => drop(self.view.hosts.remove(&host)),
        }
        Ok(())
    }

    fn apply_maintenance(&mut self, host: Host, value: Option<&[u8]>) -> Result<(), String> {
        match decode::<MaintenanceMessage>(value)? {
            Some(message) => drop(self.view.maintenance.insert(host, Arc::new(convert::maintenance_of(message)?))),
            None => drop(self.view.maintenance.remove(&host)),
        }
        Ok(())
    }

    fn apply_config(&mut self, number: u64, value: Option<&[u8]>) -> Result<(), String> {
        let Some(message) = decode::<ConfigMessage>(value)? else {
            self.drop_config(number);
            return Ok(());
        };
        if self.view.configs.contains_key(&number) {
            // A number names one configuration for ever.
            return Ok(());
        }
        self.add_config(number, Arc::new(convert::config_of(message)?));
        let waiting: Vec<TaskId> =
            self.early.tasks.iter().filter(|(_, task)| task.config == number).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            let task = self.early.tasks.remove(&id).expect("just found");
            self.replay_task(id, task)?;
        }
        Ok(())
    }

    fn apply_task(&mut self, id: TaskId, value: Option<&[u8]>) -> Result<(), String> {
        self.early.tasks.remove(&id);
        match decode::<TaskMessage>(value)? {
            Some(message) => self.replay_task(id, message),
            None => {
                self.displace_task(&id);
                Ok(())
            }
        }
    }

    fn replay_task(&mut self, id: TaskId, message: TaskMessage) -> Result<(), String> {
        let Some(config) = self.view.configs.get(&message.config).cloned() else {
            self.displace_task(&id);
            self.early.tasks.insert(id, message);
            return Ok(());
        };
        let ports = message
            .ports
            .into_iter()
            .map(|entry| {
                let port = u16::try_from(entry.port).map_err(|_| format!("port {} is out of range", entry.port))?;
                Ok((entry.name, port))
            })
            .collect::<Result<_, String>>()?;
        let events = convert::task_events_of(message.events, |text| self.shared_message(text))?;
        match message.offer_role {
            Some(role) => drop(self.view.offer_roles.insert(id.clone(), role)),
            None => drop(self.view.offer_roles.remove(&id)),
        }
        let task = Task {
            id,
            instance: message.instance,
            config,
            status: convert::status_of(message.status)?,
            failure_count: message.failure_count,
            times_partitioned: message.times_partitioned,
            ancestor: message.ancestor.map(TaskId::from),
            events,
            agent_id: message.agent_id.map(|agent| self.shared_agent(&agent)),
            host: message.host.map(|host| self.shared_host(&host)),
            ports,
        };
        self.place_task(Arc::new(task));
        Ok(())
    }

    fn apply_update(&mut self, key: UpdateKey, value: Option<&[u8]>) -> Result<(), String> {
        let Some(message) = decode::<UpdateMessage>(value)? else {
            self.view.updates.remove(&key);
            return Ok(());
        };
        let mut update = convert::update_of(key.clone(), message)?;
        if let Some(known) = self.view.updates.get(&key) {
            update.events.clone_from(&known.events);
            update.instance_events.clone_from(&known.instance_events);
        }
        self.view.updates.insert(key.clone(), Arc::new(update));
        self.adopt_early_events(&key);
        Ok(())
    }

    fn apply_event(
        &mut self,
        of_update: bool,
        (key, number): (UpdateKey, usize),
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        if of_update {
            let event = decode::<UpdateEventMessage>(value)?.map(convert::update_event_of).transpose()?;
            set_early(&mut self.early.update_events, (key.clone(), number), event);
        } else {
            let event = decode::<InstanceEventMessage>(value)?.map(convert::instance_event_of).transpose()?;
            set_early(&mut self.early.instance_events, (key.clone(), number), event);
        }
        self.adopt_early_events(&key);
        Ok(())
    }

    /// Moves events that wait for their update, or for the event before them, to where they belong.
    fn adopt_early_events(&mut self, key: &UpdateKey) {
        let Some(update) = self.view.updates.get_mut(key) else { return };
        let update = Arc::make_mut(update);
        adopt(&mut self.early.update_events, key, &mut update.events);
        adopt(&mut self.early.instance_events, key, &mut update.instance_events);
    }

    /// Configurations are those of the stored tasks, each known by its number. For tests and simulations.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let mut uses: BTreeMap<u64, u64> = BTreeMap::new();
        for task in self.view.tasks.values() {
            let Some(number) = self.config_numbers.get(&address(&task.config)) else {
                return Err(format!("the configuration of {} has no number", task.id));
            };
            *uses.entry(*number).or_default() += 1;
        }
        if uses == self.config_uses && uses.keys().eq(self.view.configs.keys()) {
            Ok(())
        } else {
            Err(format!("configurations are used {uses:?} times and counted {:?}", self.config_uses))
        }
    }

    /// What was replayed and refers to what is not there, one sentence each. Empty after the recovery of a sound journal.
    pub(crate) fn dangling(&self) -> Vec<String> {
        let tasks = self.early.tasks.iter().map(|(id, task)| {
            format!(
                "Task {id} refers to configuration {}, which is not in the journal; the task is left out.",
                task.config
            )
        });
        let updates = self.early.update_events.keys().chain(self.early.instance_events.keys()).map(|(key, number)| {
            format!("Event {number} of update {} of {} has no update in the journal; it is left out.", key.id, key.job)
        });
        let without = self.view.updates.values().filter(|update| update.events.is_empty()).map(|update| {
            format!("Update {} of {} has no event in the journal; it counts as failed.", update.key.id, update.key.job)
        });
        tasks.chain(updates).chain(without).chain(self.dangling_cron_runs()).collect()
    }
}

fn decode<M: Message + Default>(value: Option<&[u8]>) -> Result<Option<M>, String> {
    value.map(M::decode).transpose().map_err(|error| error.to_string())
}

fn set_early<E>(early: &mut BTreeMap<(UpdateKey, usize), E>, key: (UpdateKey, usize), event: Option<E>) {
    match event {
        Some(event) => drop(early.insert(key, event)),
        None => drop(early.remove(&key)),
    }
}

fn adopt<E>(early: &mut BTreeMap<(UpdateKey, usize), E>, key: &UpdateKey, events: &mut Vec<E>) {
    if early.is_empty() {
        return;
    }
    let numbers: Vec<usize> =
        early.range((key.clone(), 0)..=(key.clone(), usize::MAX)).map(|((_, number), _)| *number).collect();
    for number in numbers {
        if number > events.len() {
            break;
        }
        let event = early.remove(&(key.clone(), number)).expect("just found");
        if number == events.len() {
            events.push(event);
        } else {
            events[number] = event;
        }
    }
}

fn identity_message(view: &View) -> IdentityMessage {
    IdentityMessage {
        framework_id: view.framework_id.as_deref().map(str::to_owned),
        epoch: view.epoch,
        master: view.master.as_deref().map(str::to_owned),
        master_since_ms: view.master_since_ms,
    }
}

fn config_record(number: u64, config: &TaskConfig) -> Record {
    Record::put(record::TABLE_CONFIGS, number.to_be_bytes().to_vec(), &convert::config_message(config))
}

fn task_record(task: &Task, config: u64, offer_role: Option<&Role>) -> Record {
    let key = task.id.as_str().as_bytes().to_vec();
    Record::put(record::TABLE_TASKS, key, &convert::task_message(task, config, offer_role))
}
