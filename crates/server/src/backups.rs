//! Backups of the state: every hour and on demand, from a frozen view, by a thread of their own; and the one that is staged for
//! recovery (spec scheduler 6.3). What restoring means is the scheduler's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use api::Operations;
use api::operations::Failure;
use gateway::Gateway;
use journal::backup::{self, Moment};
use journal::disk::RealDisk;
use model::TaskId;
use node::storage::{Epoch, Position, Record, RestoreError};
use scheduler::Scheduler;
use scheduler::restore::{Staged, Staging};

use crate::host::{SnapshotDesk, Waker, wall_clock_ms};

/// Where backups go, how often they are made, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupOptions {
    /// Their directory; `backups` in the state directory when unset.
    pub directory: Option<PathBuf>,
    /// Between two of them.
    pub interval: Duration,
    /// The oldest go beyond this number; at least one stays.
    pub keep: usize,
}

impl Default for BackupOptions {
    /// Aurora's numbers.
    fn default() -> Self {
        Self { directory: None, interval: Duration::from_secs(3600), keep: 48 }
    }
}

impl BackupOptions {
    /// The directory that is meant, below this state directory.
    pub fn directory_in(&self, state_dir: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| state_dir.join("backups"))
    }
}

/// Makes backups, keeps the staged one, asks for snapshots.
pub struct Backups {
    directory: PathBuf,
    keep: usize,
    interval: Duration,
    gateway: Arc<Gateway>,
    snapshots: Arc<SnapshotDesk>,
    waker: Waker,
    /// Held while one is written: two never write at once.
    writing: Mutex<()>,
    staged: Mutex<Option<(String, Staged)>>,
    succeeded: AtomicI64,
    failed: AtomicI64,
    stopping: (Mutex<bool>, Condvar),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `yyyy-MM-dd-HH-mm` in UTC.
fn stamp(wall_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%d-%H-%M").to_string()
}

impl Backups {
    /// Nothing is made before it is asked for, or [`Self::start`] was called.
    pub fn new(
        options: &BackupOptions,
        state_dir: &Path,
        gateway: Arc<Gateway>,
        snapshots: Arc<SnapshotDesk>,
        waker: Waker,
    ) -> Self {
        Self {
            directory: options.directory_in(state_dir),
            keep: options.keep,
            interval: options.interval,
            gateway,
            snapshots,
            waker,
            writing: Mutex::default(),
            staged: Mutex::default(),
            succeeded: AtomicI64::new(0),
            failed: AtomicI64::new(0),
            stopping: Default::default(),
        }
    }

    /// Makes one each time the interval since the newest has passed, until [`Self::stop`].
    pub fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let backups = Arc::clone(self);
        std::thread::Builder::new().name("backups".into()).spawn(move || {
            let mut wait = backups.interval.saturating_sub(backups.age_of_newest());
            while !backups.stops_within(wait) {
                // The error is logged and counted where it happens.
                let _ = backups.back_up();
                wait = backups.interval;
            }
        })
    }

    /// Ends the thread; one that is being written is finished first.
    pub fn stop(&self) {
        *lock(&self.stopping.0) = true;
        self.stopping.1.notify_all();
    }

    fn stops_within(&self, wait: Duration) -> bool {
        let stopping = lock(&self.stopping.0);
        let limit = wait.max(Duration::from_millis(1));
        let waited = self.stopping.1.wait_timeout_while(stopping, limit, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn age_of_newest(&self) -> Duration {
        let newest =
            backup::list_backups(&RealDisk, &self.directory).ok().and_then(|names| names.into_iter().next_back());
        let modified = newest.and_then(|name| std::fs::metadata(self.directory.join(name)).ok()?.modified().ok());
        modified.and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
    }

    fn write(&self) -> Result<String, Failure> {
        let _writing = lock(&self.writing);
        let view = self.gateway.view();
        let moment = Moment { position: Position(view.position), epoch: Epoch(view.epoch) };
        let mut records = Scheduler::records(&view);
        let written = backup::write_backup(&RealDisk, &self.directory, &stamp(wall_clock_ms()), moment, &mut records);
        let written = written.map_err(|error| error.to_string())?;
        tracing::info!(
            records = written.records,
            bytes = written.bytes,
            "wrote backup {} to {}",
            written.name,
            self.directory.display()
        );
        match backup::prune_backups(&RealDisk, &self.directory, self.keep) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!("removed the oldest backups: {}", removed.join(", ")),
            Err(error) => tracing::warn!(%error, "old backups stay"),
        }
        Ok(written.name)
    }

    /// Numbers for the statistics, under Aurora's names.
    pub fn gauges(&self) -> Vec<(String, i64)> {
        vec![
            ("scheduler_backup_success".into(), self.succeeded.load(Ordering::Relaxed)),
            ("scheduler_backup_failed".into(), self.failed.load(Ordering::Relaxed)),
        ]
    }
}

/// Reads a backup.
pub fn read(path: &Path) -> Result<(Moment, Staged), String> {
    let mut staging = Staging::default();
    let mut take = |record: Record| {
        staging.apply(&record).map_err(|error| RestoreError { table: record.table, reason: error.to_string() })
    };
    let moment = backup::read_backup(&RealDisk, path, &mut take).map_err(|error| error.to_string())?;
    Ok((moment, staging.finish()?))
}

const NOTHING_STAGED: &str = "No backup is staged: stage one first (aurora_admin scheduler_stage_recovery).";

impl Operations for Backups {
    fn back_up(&self) -> Result<String, Failure> {
        let written = self.write();
        match &written {
            Ok(_) => self.succeeded.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tracing::error!("a backup could not be written: {error}");
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        written
    }

    fn backups(&self) -> Result<Vec<String>, Failure> {
        backup::list_backups(&RealDisk, &self.directory).map_err(|error| error.to_string())
    }

    fn stage(&self, name: &str) -> Result<(), Failure> {
        let mut staged = lock(&self.staged);
        if let Some((other, _)) = &*staged {
            return Err(format!("Backup {other} is staged already: commit it or unload it first."));
        }
        if !backup::is_backup_name(name) || !self.backups()?.iter().any(|known| known == name) {
            return Err(format!("There is no backup of that name in {}.", self.directory.display()));
        }
        let (_, read) = read(&self.directory.join(name))?;
        tracing::info!("staged backup {name} with {} tasks", read.view().tasks.len());
        *staged = Some((name.to_owned(), read));
        Ok(())
    }

    fn staged(&self) -> Result<Staged, Failure> {
        lock(&self.staged).as_ref().map(|(_, staged)| staged.clone()).ok_or_else(|| NOTHING_STAGED.to_owned())
    }

    fn remove_staged(&self, tasks: &[TaskId]) -> Result<(), Failure> {
        let mut staged = lock(&self.staged);
        let (_, backup) = staged.as_mut().ok_or_else(|| NOTHING_STAGED.to_owned())?;
        *backup = backup.without(tasks);
        Ok(())
    }

    fn unload(&self) {
        *lock(&self.staged) = None;
    }

    fn snapshot(&self) -> Result<(), Failure> {
        let answer = self.snapshots.ask();
        self.waker.ring();
        answer.blocking_recv().unwrap_or_else(|_| Err("The scheduler stopped before the snapshot was written.".into()))
    }
}

#[cfg(test)]
mod tests {
    use gateway::Policy;
    use model::{JobKey, TaskConfig};
    use scheduler::{Input, View};

    use super::*;
    use crate::test_support::NoDoor;

    fn state(tasks: u32) -> View {
        let mut scheduler = Scheduler::new(scheduler::Settings::default());
        let now = scheduler::Now { wall_ms: 1_700_000_000_000, monotonic_ms: 1 };
        scheduler.step(now, Input::Start { seed: [1; 32], epoch: 3 });
        let task = TaskConfig::new(JobKey::new("www", "prod", "web"), 1.0, 1, 1, "{}");
        let job = model::JobConfiguration {
            key: task.job.clone(),
            owner: None,
            cron_schedule: None,
            cron_collision_policy: Default::default(),
            instance_count: tasks as i32,
            task,
        };
        let command = scheduler::Command::CreateJob(Box::new(job));
        let principal = scheduler::Principal::unsecure();
        scheduler.step(now, Input::command(scheduler::RequestId(1), principal, command));
        View { position: 9, ..scheduler.freeze() }
    }

    fn backups(directory: &Path, keep: usize, interval: Duration) -> Arc<Backups> {
        let gateway = Arc::new(Gateway::new(Box::new(NoDoor), Policy::default()));
        gateway.publish(Arc::new(state(3)));
        let options = BackupOptions { keep, interval, ..BackupOptions::default() };
        Arc::new(Backups::new(&options, directory, gateway, Arc::default(), Waker::default()))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn stamps_are_those_of_aurora() {
        assert_eq!(stamp(1_770_091_500_000), "2026-02-03-04-05");
        assert_eq!(stamp(0), "1970-01-01-00-00");
    }

    #[test]
    fn a_backup_is_written_kept_to_a_number_and_staged_whole() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 2, HOUR);
        let names: Vec<String> = (0..3).map(|_| backups.back_up().unwrap()).collect();
        assert_eq!(backups.backups().unwrap(), names[1..]);
        assert!(backups.staged().is_err() && backups.remove_staged(&[]).is_err());
        assert!(backups.stage(&names[0]).unwrap_err().contains("no backup"), "the oldest is gone");
        assert!(backups.stage("../backups/x").unwrap_err().contains("no backup"));
        backups.stage(&names[2]).unwrap();
        assert!(backups.stage(&names[1]).unwrap_err().contains("staged already"));
        let staged = backups.staged().unwrap();
        assert_eq!(staged.view().tasks, backups.gateway.view().tasks);
        let ids: Vec<TaskId> = staged.view().tasks.keys().take(2).cloned().collect();
        backups.remove_staged(&ids).unwrap();
        assert_eq!(backups.staged().unwrap().view().tasks.len(), 1);
        backups.unload();
        backups.stage(&names[1]).unwrap();
        assert_eq!(backups.gauges()[0], ("scheduler_backup_success".into(), 3));
    }

    #[test]
    fn a_damaged_backup_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 2, HOUR);
        let name = backups.back_up().unwrap();
        let path = directory.path().join("backups").join(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(backups.stage(&name).unwrap_err().contains("damaged"));
        assert!(backups.staged().is_err());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_counted_and_told() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("backups"), "a file").unwrap();
        let backups = backups(directory.path(), 2, HOUR);
        assert!(backups.back_up().is_err());
        assert_eq!(backups.gauges()[1], ("scheduler_backup_failed".into(), 1));
    }

    #[test]
    fn one_is_made_each_time_the_interval_has_passed_until_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 9, Duration::from_millis(5));
        let thread = backups.start().unwrap();
        while backups.gauges()[0].1 < 3 {
            std::thread::yield_now();
        }
        backups.stop();
        thread.join().unwrap();
        assert!(backups.backups().unwrap().len() >= 3);
    }
}
