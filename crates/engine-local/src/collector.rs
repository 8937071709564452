//! Removes what ended tasks leave behind: by age, by count, and when the disk fills up. A thread of its own, for removing takes time.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

/// How often age and free space are looked at while tasks keep ending.
const INTERVAL: Duration = Duration::from_secs(60);
/// When no task has ended for this long it is quiet: a good time to remove things. Removing beside many starts makes these slow.
const QUIET: Duration = Duration::from_secs(5);
/// How many times the stated count may be there until it is quiet.
const BUSY_FACTOR: usize = 4;

/// What may stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub(crate) age: Duration,
    pub(crate) count: usize,
    /// Share of the file system that should be free, in percent.
    pub(crate) free_percent: u8,
}

/// The engine's end of the collector. The thread ends with it.
#[derive(Debug)]
pub(crate) struct Collector {
    ended: Sender<Vec<PathBuf>>,
}

impl Collector {
    /// Starts the thread. `ended` are run directories of tasks that ended before, `root` a path on their file system.
    pub(crate) fn start(
        root: PathBuf,
        retention: Retention,
        mut ended: Vec<(SystemTime, PathBuf)>,
    ) -> std::io::Result<Self> {
        ended.sort();
        let (sender, receiver) = channel();
        std::thread::Builder::new().name("collector".to_owned()).spawn(move || {
            run(&root, retention, ended.into(), &receiver);
        })?;
        Ok(Self { ended: sender })
    }

    /// More tasks have ended, and their ends are stored elsewhere.
    pub(crate) fn add(&self, run_directories: Vec<PathBuf>) {
        // Without a collector nothing is removed; it ends only with the engine.
        let _ = self.ended.send(run_directories);
    }
}

fn run(
    root: &Path,
    retention: Retention,
    mut kept: VecDeque<(SystemTime, PathBuf)>,
    receiver: &Receiver<Vec<PathBuf>>,
) {
    let busy = Retention { count: retention.count.saturating_mul(BUSY_FACTOR), ..retention };
    let mut looked = Instant::now();
    loop {
        let limits = match receiver.recv_timeout(QUIET) {
            Ok(paths) => {
                let now = SystemTime::now();
                kept.extend(paths.into_iter().map(|path| (now, path)));
                busy
            }
            Err(RecvTimeoutError::Timeout) => retention,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if kept.len() > limits.count || limits.count == retention.count || looked.elapsed() >= INTERVAL {
            looked = Instant::now();
            collect(root, limits, &mut kept, SystemTime::now(), || free_percent(root));
        }
    }
}

/// Removes the oldest until nothing is too old, too many or in the way. Free space is asked for again after each.
fn collect(
    root: &Path,
    retention: Retention,
    kept: &mut VecDeque<(SystemTime, PathBuf)>,
    now: SystemTime,
    mut free_percent: impl FnMut() -> Option<u8>,
) {
    let before = kept.len();
    while let Some((ended, _)) = kept.front() {
        let too_old = now.duration_since(*ended).is_ok_and(|age| age > retention.age);
        let too_many = kept.len() > retention.count;
        let too_full = free_percent().is_some_and(|free| free < retention.free_percent);
        if !(too_old || too_many || too_full) {
            break;
        }
        remove_oldest(kept);
    }
    if kept.len() < before {
        tracing::debug!("{} sandboxes of ended tasks were removed from {}", before - kept.len(), root.display());
    }
}

fn remove_oldest(kept: &mut VecDeque<(SystemTime, PathBuf)>) {
    let Some((_, path)) = kept.pop_front() else { return };
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

fn free_percent(root: &Path) -> Option<u8> {
    let status = rustix::fs::statvfs(root).ok()?;
    u8::try_from(u128::from(status.f_bavail) * 100 / u128::from(status.f_blocks.max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(root: &Path) -> VecDeque<(SystemTime, PathBuf)> {
        (0..4_u64)
            .map(|number| {
                let path = root.join(number.to_string());
                fs::create_dir_all(path.join("sandbox/deep")).unwrap();
                (SystemTime::UNIX_EPOCH + Duration::from_secs(number * 100), path)
            })
            .collect()
    }

    fn left(root: &Path) -> usize {
        fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn the_oldest_go_by_age_count_and_space() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(301);
        let retention = Retention { age: Duration::from_secs(250), count: 10, free_percent: 10 };
        let mut list = kept(root.path());
        collect(root.path(), retention, &mut list, now, || Some(50));
        assert_eq!((list.len(), left(root.path())), (3, 3), "one was too old");
        collect(root.path(), Retention { count: 2, ..retention }, &mut list, now, || Some(50));
        assert_eq!(left(root.path()), 2);
        let mut free = [5, 12].into_iter();
        collect(root.path(), retention, &mut list, now, || free.next());
        assert_eq!(left(root.path()), 1, "until there is room again");
        assert!(root.path().join("3").exists(), "the newest stays longest");
    }
}
