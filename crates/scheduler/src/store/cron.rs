//! The tables of cron jobs and of their runs.

use std::sync::Arc;

use model::JobKey;

use super::{Store, decode};
use crate::cron::{CronJob, CronRun};
use crate::record::cron::{
    CronJobMessage, CronRunMessage, cron_job_message, cron_job_of, cron_run_message, cron_run_of, job_key_bytes,
    job_key_of, run_key_bytes, run_key_of,
};
use crate::record::{self, Record, RecordError, table_name};
use crate::view::View;

fn job_record(job: &CronJob) -> Record {
    let (scheduled_ms, scheduled_after) = (job.scheduled_ms, job.scheduled_after);
    let message = CronJobMessage { scheduled_ms, scheduled_after, ..cron_job_message(&job.config) };
    Record::put(record::TABLE_CRON_JOBS, job_key_bytes(job.key()), &message)
}

fn run_record(key: &JobKey, run: &CronRun) -> Record {
    Record::put(record::TABLE_CRON_RUNS, run_key_bytes(key, run.number), &cron_run_message(run))
}

/// Both tables of a frozen view.
pub(super) fn records(view: &View) -> impl Iterator<Item = Record> + Send + use<> {
    view.cron_jobs.clone().into_iter().flat_map(|(key, job)| {
        let runs: Vec<Record> = job.runs.iter().map(|run| run_record(&key, run)).collect();
        std::iter::once(job_record(&job)).chain(runs)
    })
}

fn insert_run(runs: &mut Vec<CronRun>, run: CronRun) {
    match runs.binary_search_by_key(&run.number, |known| known.number) {
        Ok(at) => runs[at] = run,
        Err(at) => runs.insert(at, run),
    }
}

impl Store {
    /// Puts a cron job, new or with another configuration; runs of it that are known stay.
    pub(crate) fn put_cron_job(&mut self, job: CronJob) {
        self.other_records.push(job_record(&job));
        self.place_cron_job(job);
    }

    fn place_cron_job(&mut self, mut job: CronJob) {
        let key = job.key().clone();
        if let Some(known) = self.view.cron_jobs.get(&key) {
            job.runs.clone_from(&known.runs);
            job.next_run_ms = known.next_run_ms;
        }
        self.view.cron_jobs.insert(key, Arc::new(job));
    }

    /// Puts a run of a cron job, new or changed.
    pub(crate) fn put_cron_run(&mut self, key: &JobKey, run: CronRun) {
        let Some(job) = self.view.cron_jobs.get_mut(key) else { return };
        self.other_records.push(run_record(key, &run));
        insert_run(&mut Arc::make_mut(job).runs, run);
    }

    /// Deletes a run of a cron job.
    pub(crate) fn remove_cron_run(&mut self, key: &JobKey, number: u64) {
        let Some(job) = self.view.cron_jobs.get_mut(key) else { return };
        Arc::make_mut(job).runs.retain(|run| run.number != number);
        self.other_records.push(Record::delete(record::TABLE_CRON_RUNS, run_key_bytes(key, number)));
    }

    /// Deletes a cron job with its runs.
    pub(crate) fn remove_cron_job(&mut self, key: &JobKey) -> Option<Arc<CronJob>> {
        let job = self.view.cron_jobs.remove(key)?;
        let runs = job.runs.iter().map(|run| Record::delete(record::TABLE_CRON_RUNS, run_key_bytes(key, run.number)));
        self.other_records.extend(runs);
        self.other_records.push(Record::delete(record::TABLE_CRON_JOBS, job_key_bytes(key)));
        Some(job)
    }

    /// When a job runs next. Derived, so there is no record of it.
    pub(crate) fn set_cron_next(&mut self, key: &JobKey, next_run_ms: Option<i64>) {
        if let Some(job) = self.view.cron_jobs.get_mut(key) {
            Arc::make_mut(job).next_run_ms = next_run_ms;
        }
    }

    /// Applies a stored record of one of the two tables.
    pub(super) fn apply_cron(&mut self, record: &Record) -> Result<(), RecordError> {
        let table = table_name(record.table).ok_or(RecordError::UnknownTable(record.table))?;
        let malformed_key = || RecordError::MalformedKey { table, length: record.key.len() };
        let malformed = |reason: String| RecordError::MalformedValue { table, reason };
        let value = record.value.as_deref();
        if record.table == record::TABLE_CRON_JOBS {
            let key = job_key_of(&record.key).ok_or_else(malformed_key)?;
            let message = decode::<CronJobMessage>(value).map_err(malformed)?;
            self.apply_cron_job(key, message).map_err(malformed)
        } else {
            let (key, number) = run_key_of(&record.key).ok_or_else(malformed_key)?;
            let message = decode::<CronRunMessage>(value).map_err(malformed)?;
            let run = message.map(|message| cron_run_of(number, message)).transpose().map_err(malformed)?;
            self.apply_cron_run(key, number, run);
            Ok(())
        }
    }

    fn apply_cron_job(&mut self, key: JobKey, message: Option<CronJobMessage>) -> Result<(), String> {
        let Some(message) = message else {
            // What its runs are, their own records say.
            if let Some(job) = self.view.cron_jobs.remove(&key) {
                self.early.cron_runs.entry(key).or_default().extend(job.runs.iter().cloned());
            }
            return Ok(());
        };
        let (scheduled_ms, scheduled_after) = (message.scheduled_ms, message.scheduled_after);
        let config = cron_job_of(message)?;
        if config.key != key {
            return Err(format!("the cron job of {key} holds the configuration of {}", config.key));
        }
        self.place_cron_job(CronJob { scheduled_after, ..CronJob::new(Arc::new(config), scheduled_ms) });
        for run in self.early.cron_runs.remove(&key).unwrap_or_default() {
            self.apply_cron_run(key.clone(), run.number, Some(run));
        }
        Ok(())
    }

    fn apply_cron_run(&mut self, key: JobKey, number: u64, run: Option<CronRun>) {
        let runs = match self.view.cron_jobs.get_mut(&key) {
            Some(job) => &mut Arc::make_mut(job).runs,
            None => self.early.cron_runs.entry(key).or_default(),
        };
        match run {
            Some(run) => insert_run(runs, run),
            None => runs.retain(|run| run.number != number),
        }
    }

    /// Runs whose job is not there.
    pub(super) fn dangling_cron_runs(&self) -> impl Iterator<Item = String> + '_ {
        self.early.cron_runs.iter().filter(|(_, runs)| !runs.is_empty()).map(|(key, runs)| {
            format!("{} runs of cron job {key}, which is not in the journal, are left out.", runs.len())
        })
    }
}
