//! The durable schema: what a step writes and a restart reads. Absolute keyed puts and deletes, no deltas, so that replay is
//! idempotent, a snapshot may be fuzzy, and the journal can compact by key without knowing meaning.
//!
//! Values are field-numbered protobuf (`schema`), read and written by `convert`. A table this program does not know is an
//! error that names it; an unknown field of a known table is passed over.

pub(crate) mod answers;
pub(crate) mod convert;
pub(crate) mod cron;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

/// Table of task configurations: one record per distinct one, referred to by number.
pub const TABLE_CONFIGS: u32 = 1;
/// Table of tasks.
pub const TABLE_TASKS: u32 = 2;
/// Table of updates, without their events.
pub const TABLE_UPDATES: u32 = 3;
/// Table of changes of the state of updates.
pub const TABLE_UPDATE_EVENTS: u32 = 4;
/// Table of what happened to the instances of updates.
pub const TABLE_INSTANCE_EVENTS: u32 = 5;
/// Table of hosts and their attributes.
pub const TABLE_HOSTS: u32 = 6;
/// Table of quotas by role.
pub const TABLE_QUOTAS: u32 = 7;
/// Table of the scheduler's own identity: framework id and epoch.
pub const TABLE_IDENTITY: u32 = 8;

/// Table of wishes to drain hosts.
pub const TABLE_MAINTENANCE: u32 = 11;

/// Table of how far the instances of active updates are.
pub const TABLE_UPDATE_PROGRESS: u32 = 13;
/// Table of the latest pulses of active updates.
pub const TABLE_UPDATE_PULSES: u32 = 14;

/// Table of answers that are kept under the keys of clients.
pub const TABLE_ANSWERS: u32 = 15;

/// Table of cron jobs.
pub const TABLE_CRON_JOBS: u32 = 9;
/// Table of the runs of cron jobs.
pub const TABLE_CRON_RUNS: u32 = 10;

/// Name of a table, for people.
pub fn table_name(table: u32) -> Option<&'static str> {
    Some(match table {
        TABLE_CONFIGS => "configs",
        TABLE_TASKS => "tasks",
        TABLE_UPDATES => "updates",
        TABLE_UPDATE_EVENTS => "update_events",
        TABLE_INSTANCE_EVENTS => "instance_events",
        TABLE_HOSTS => "hosts",
        TABLE_QUOTAS => "quotas",
        TABLE_IDENTITY => "identity",
        TABLE_CRON_JOBS => "cron_jobs",
        TABLE_CRON_RUNS => "cron_runs",
        TABLE_MAINTENANCE => "maintenance",
        TABLE_UPDATE_PROGRESS => "update_progress",
        TABLE_UPDATE_PULSES => "update_pulses",
        TABLE_ANSWERS => "answers",
        _ => return None,
    })
}

/// One put or delete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Which table; see [`crate::record`]'s constants.
    pub table: u32,
    /// Key within the table.
    pub key: Vec<u8>,
    /// The new value, field-numbered protobuf; `None` deletes.
    pub value: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn put(table: u32, key: Vec<u8>, message: &impl prost::Message) -> Self {
        Self { table, key, value: Some(message.encode_to_vec()) }
    }

    /// Roughly how many bytes the record takes in a journal.
    pub fn size_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + 12
    }

    pub(crate) fn delete(table: u32, key: Vec<u8>) -> Self {
        Self { table, key, value: None }
    }
}

/// Why a stored record cannot be taken into the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("record of table {0}, which this version does not know: use the version that wrote it, or a later one")]
    UnknownTable(u32),
    /// The key does not have the form its table asks for.
    #[error("record of table {table} with a malformed key of {length} bytes: the journal is damaged")]
    MalformedKey {
        /// Name of the table.
        table: &'static str,
        /// Length of the key.
        length: usize,
    },
    /// The value cannot be read.
    #[error("record of table {table}: {reason}: the journal is damaged, or was written by a later version")]
    MalformedValue {
        /// Name of the table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}
