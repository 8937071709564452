//! The whole state as records, or one table of it: for snapshots, backups and their restoration.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::update::Update;
use model::{InstanceId, TaskId, UpdateKey};

use super::{Store, address, answers, config_record, cron, identity_message, task_record};
use crate::record::schema::PulseMessage;
use crate::record::{self, Record, convert};
use crate::task::Task;
use crate::updates::progress::InstanceProgress;
use crate::view::View;

/// Everything durable of a frozen view, in an order that can be replayed. Needs no scheduler and works in any thread: what it
/// reads are copies of the view's tables, which cost nothing.
pub fn records(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
    let numbers: BTreeMap<usize, u64> =
        view.configs.iter().map(|(number, config)| (address(config), *number)).collect();
    let offer_roles = view.offer_roles.clone();
    let tasks = view
        .tasks
        .clone()
        .into_iter()
        .map(move |(id, task)| task_record(&task, numbers[&address(&task.config)], offer_roles.get(&id)));
    identity_and_configs(view).chain(tasks).chain(whole_tables(view)).chain(answers::records(view))
}

/// Who the scheduler is, and the configurations.
pub(crate) fn identity_and_configs(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
    let identity = Record::put(record::TABLE_IDENTITY, Vec::new(), &identity_message(view));
    let configs = view.configs.clone().into_iter().map(|(number, config)| config_record(number, &config));
    std::iter::once(identity).chain(configs)
}

/// Every other table, tasks and kept answers excepted.
pub(crate) fn whole_tables(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
    let updates = view.updates.clone().into_iter().flat_map(|(key, update)| update_records(&key, &update));
    let progress = view.update_progress.clone().into_iter().flat_map(|(key, progress)| {
        let record = move |(instance, value): (InstanceId, InstanceProgress)| {
            let bytes = convert::event_key_bytes(&key, instance as usize);
            Record::put(record::TABLE_UPDATE_PROGRESS, bytes, &convert::progress_message(&value))
        };
        progress.into_iter().map(record)
    });
    let pulses = view.update_pulses.clone().into_iter().map(|(key, timestamp_ms)| {
        Record::put(record::TABLE_UPDATE_PULSES, convert::update_key_bytes(&key), &PulseMessage { timestamp_ms })
    });
    let updates = updates.chain(progress).chain(pulses);
    let hosts = view.hosts.clone().into_iter().map(|(host, value)| {
        Record::put(record::TABLE_HOSTS, host.as_bytes().to_vec(), &convert::host_message(&value))
    });
    let quotas = view.quotas.clone().into_iter().map(|(role, quota)| {
        Record::put(record::TABLE_QUOTAS, role.as_bytes().to_vec(), &convert::resources_message(&quota))
    });
    let maintenance = view.maintenance.clone().into_iter().map(|(host, request)| {
        Record::put(record::TABLE_MAINTENANCE, host.as_bytes().to_vec(), &convert::maintenance_message(&request))
    });
    let rest = hosts.chain(quotas).chain(maintenance).chain(cron::records(view));
    updates.chain(rest)
}

/// The record by which a task is forgotten.
pub(crate) fn task_deletion(id: &TaskId) -> Record {
    Record::delete(record::TABLE_TASKS, id.as_str().as_bytes().to_vec())
}

impl Store {
    /// Takes a task in whose record somebody else sees to.
    pub(crate) fn restore_task(&mut self, task: Arc<Task>) {
        self.place_task(task);
    }

    /// The number of a task's configuration.
    pub(crate) fn number_of(&self, id: &TaskId) -> Option<u64> {
        self.view.tasks.get(id).map(|task| self.config_number(&task.config))
    }

    /// The record of a task as it is.
    pub(crate) fn record_of(&self, id: &TaskId) -> Option<Record> {
        let task = self.view.tasks.get(id)?;
        Some(task_record(task, self.config_number(&task.config), self.view.offer_roles.get(id)))
    }
}

fn update_records(key: &UpdateKey, update: &Update) -> Vec<Record> {
    let bytes = convert::update_key_bytes(key);
    let update_record = Record::put(record::TABLE_UPDATES, bytes, &convert::update_message(update));
    let events = update.events.iter().enumerate().map(|(number, event)| {
        let bytes = convert::event_key_bytes(key, number);
        Record::put(record::TABLE_UPDATE_EVENTS, bytes, &convert::update_event_message(event))
    });
    let instance_events = update.instance_events.iter().enumerate().map(|(number, event)| {
        let bytes = convert::event_key_bytes(key, number);
        Record::put(record::TABLE_INSTANCE_EVENTS, bytes, &convert::instance_event_message(event))
    });
    std::iter::once(update_record).chain(events).chain(instance_events).collect()
}
