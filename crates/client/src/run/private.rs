//! A private, temporary cluster: a directory with a lock, a daemon of its own, and nothing left behind. The lock belongs to the running
//! command; a directory whose lock is free was left by a command that was killed, and is removed together with its processes.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::{groups, processes};
use crate::daybreak::daemon::{self, Daemon, DaemonOptions};
use crate::exit::{Exit, Failure, Outcome};
use crate::world;

/// How long the daemon may take to end its tasks and itself when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running private cluster. Dropping it ends every process of it and removes its directory.
pub struct PrivateCluster {
    directory: PathBuf,
    _lock: File,
    daemon: Option<Daemon>,
}

impl PrivateCluster {
    /// Starts one named `cluster`, after removing what earlier commands left.
    pub fn start(program: &Path, cluster: &str) -> Outcome<Self> {
        let (directory, lock) = claim_directory()?;
        let mut private = Self { directory, _lock: lock, daemon: None };
        let started = daemon::start(&DaemonOptions {
            program,
            state_directory: &private.directory.join("state"),
            log: private.directory.join("daemon.log"),
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            cluster,
            // Whoever starts a cluster for himself alone may run in it what he could run anyway.
            allow_root_role: true,
            ephemeral: Some(&private.directory),
        });
        private.daemon = Some(started?);
        Ok(private)
    }

    /// What the daemon said about itself.
    pub fn endpoint(&self) -> Option<&daemon::Endpoint> {
        self.daemon.as_ref().map(|daemon| &daemon.endpoint)
    }

    /// Why the daemon is gone, with its last words; none while it runs.
    pub fn obituary(&mut self) -> Option<String> {
        let status = self.daemon.as_mut()?.child.try_wait().ok()??;
        let tail = daemon::log_tail(&self.directory.join("daemon.log"));
        Some(format!("The private cluster's daemon ended ({status}). Its last lines:\n{tail}"))
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        let groups = groups::of_cluster(&self.directory);
        if let Some(mut daemon) = self.daemon.take() {
            // The end of its standard input and the signal say the same: end the tasks, then yourself.
            drop(daemon.child.stdin.take());
            let _ = kill(Pid::from_raw(daemon.child.id() as i32), Signal::SIGTERM);
            let asked = Instant::now();
            while asked.elapsed() < STOP_LIMIT && matches!(daemon.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
        remove_cluster(&self.directory, groups);
        // Fails, as it should, while another cluster lives there.
        if let Some(base) = self.directory.parent() {
            let _ = std::fs::remove_dir(base);
        }
    }
}

/// Ends every process of the cluster in a directory and removes the directory, and control groups: those known already and those of the
/// processes found.
pub fn remove_cluster(directory: &Path, mut groups: BTreeSet<PathBuf>) {
    groups.extend(groups::of_cluster(directory));
    processes::kill_all(directory);
    remove_directory(directory);
    groups::remove(&groups);
}

/// A new directory with its lock, after removing what earlier commands left.
fn claim_directory() -> Outcome<(PathBuf, File)> {
    let mut attempts = 0;
    loop {
        let base = base_directory()?;
        remove_stale(&base);
        match make_directory(&base) {
            Ok(claimed) => return Ok(claimed),
            // The last cluster of another command has just taken the common directory with it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && attempts < 10 => attempts += 1,
            Err(error) => return Err(cannot(&base, &error)),
        }
    }
}

fn cannot(what: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::CommandFailure,
        format!(
            "Cannot make room for a private cluster: {}: {error}. Set TMPDIR to a directory of yours.",
            what.display()
        ),
    )
}

/// Root's tasks run as other users, who must be able to reach their sandboxes; names inside are unguessable either way.
fn directory_mode() -> u32 {
    if Uid::effective().is_root() { 0o711 } else { 0o700 }
}

/// `<temporary directory>/daybreak-run-<uid>`, made if missing. Refused when it is somebody else's, who could plant things in it.
fn base_directory() -> Outcome<PathBuf> {
    let uid = Uid::effective();
    let base = std::env::temp_dir().join(format!("daybreak-run-{uid}"));
    match DirBuilder::new().mode(directory_mode()).create(&base) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(&base, &error)),
    }
    let metadata = std::fs::symlink_metadata(&base).map_err(|error| cannot(&base, &error))?;
    let is_safe = metadata.is_dir() && metadata.uid() == uid.as_raw() && metadata.mode() & 0o022 == 0;
    if !is_safe {
        let error = std::io::Error::other("it is not a directory that only you can write to");
        return Err(cannot(&base, &error));
    }
    // Links resolved, so that it is written as the kernel writes it in the environment of tasks.
    base.canonicalize().map_err(|error| cannot(&base, &error))
}

fn make_directory(base: &Path) -> std::io::Result<(PathBuf, File)> {
    let directory = base.join(format!("{:016x}", world::random_u128() as u64));
    // Locked before it has its final name: nobody may take it for a stale one in between.
    let nascent = base.join(format!(".{:016x}", world::random_u128() as u64));
    DirBuilder::new().mode(directory_mode()).create(&nascent)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(nascent.join("lock"))?;
    lock.try_lock().map_err(std::io::Error::from)?;
    std::fs::rename(&nascent, &directory)?;
    Ok((directory, lock))
}

/// Removes every directory whose lock is free, with its processes; returns how many there were.
fn remove_stale(base: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let directory = entry.path();
        let lock = OpenOptions::new().write(true).open(directory.join("lock"));
        let is_stale = match &lock {
            Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            // Without a lock file it is one being made, or the rest of one being removed.
            Err(_) => is_old(&directory),
        };
        if is_stale {
            remove_cluster(&directory, BTreeSet::new());
            count += 1;
        }
    }
    count
}

fn is_old(directory: &Path) -> bool {
    let age = std::fs::symlink_metadata(directory).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age > Duration::from_secs(60))
}

/// Removes a tree; a process that is just dying may still write into it, so not only once.
fn remove_directory(directory: &Path) {
    for _ in 0..20 {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(25));
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_killed_command_left_is_removed_with_its_processes() {
        let base = tempfile::tempdir().unwrap();
        let (kept, _lock) = make_directory(base.path()).unwrap();
        let (stale, lock) = make_directory(base.path()).unwrap();
        drop(lock);
        std::fs::create_dir_all(stale.join("state/deep")).unwrap();
        let mut orphan = Command::new("sleep").arg("60").env(daemon::RUN_DIRECTORY_VARIABLE, &stale).spawn().unwrap();
        let mut alive = Command::new("sleep").arg("60").env(daemon::RUN_DIRECTORY_VARIABLE, &kept).spawn().unwrap();

        assert_eq!(remove_stale(base.path()), 1);
        assert!(!stale.exists() && kept.exists());
        assert!(!orphan.wait().unwrap().success(), "the orphan was killed");
        assert!(alive.try_wait().unwrap().is_none(), "a running cluster is left alone");
        alive.kill().unwrap();
        alive.wait().unwrap();
    }

    #[test]
    fn a_directory_without_a_lock_is_given_time() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("fresh")).unwrap();
        assert_eq!(remove_stale(base.path()), 0);
        assert!(base.path().join("fresh").exists());
    }
}
