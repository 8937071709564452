//! Where the output of a process goes: files, the supervisor's own output, both or nowhere; files may be rotated (spec executor 1.8).
//!
//! Everything below a sandbox is opened with the rights of the task's user and without following links at the end of a path: the
//! user's processes may put anything there at any time.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use checkpoint::layout::{LOGS, OutputStream};
use checkpoint::protocol::LoggerDefaults;
use model::process::schema::{Logger, LoggerDestination, LoggerMode, RotatePolicy};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::system::identity::acting_as;
use crate::system::spawn::Identity;

/// Most bytes taken from a pipe at once (spec executor 1.8).
const READ_BYTES: usize = 64 << 10;

/// Where output goes that says nothing about it (spec executor 1.8).
pub(super) fn default_logger(told: Option<&LoggerDefaults>) -> Logger {
    let Some(told) = told else { return Logger::default() };
    let named = |names: &[(&str, LoggerDestination)]| {
        names.iter().find(|(name, _)| *name == told.destination).map(|(_, value)| *value)
    };
    let usual = RotatePolicy::default();
    let or = |told: u64, usual: i64| if told == 0 { usual } else { i64::try_from(told).unwrap_or(i64::MAX) };
    Logger {
        destination: named(&LoggerDestination::NAMES).unwrap_or(LoggerDestination::File),
        mode: LoggerMode::NAMES
            .iter()
            .find(|(name, _)| *name == told.mode)
            .map_or(LoggerMode::Standard, |(_, value)| *value),
        rotate: Some(RotatePolicy {
            log_size_bytes: or(told.rotate_bytes, usual.log_size_bytes),
            backups: or(told.rotate_backups, usual.backups),
        }),
    }
}

/// One stream of one run: what the process writes to, and what the supervisor has to do about it.
#[derive(Debug)]
pub(super) struct Output {
    /// What the child gets.
    pub(super) child_end: OwnedFd,
    /// What the supervisor reads and passes on; `None` when the child writes to the file itself.
    pub(super) pump: Option<Pump>,
}

/// Passes on what a process writes.
#[derive(Debug)]
pub(super) struct Pump {
    source: OwnedFd,
    file: Option<LogFile>,
    console: Option<OutputStream>,
}

/// A log that may be rotated.
#[derive(Debug)]
struct LogFile {
    file: File,
    directory: OwnedFd,
    name: &'static str,
    size_bytes: u64,
    rotation: Option<Rotation>,
    owner: Option<Identity>,
}

#[derive(Clone, Copy, Debug)]
struct Rotation {
    size_bytes: u64,
    backups: u64,
}

/// Opens both streams of run `run` of `process`. `sandbox` is the sandbox's directory, `owner` the user to act as (when root). Where the
/// sandbox is `shared`, what others have written there stays.
pub(super) fn open_outputs(
    sandbox: BorrowedFd<'_>,
    process: &str,
    run: u32,
    logger: Logger,
    owner: Option<&Identity>,
    shared: bool,
) -> io::Result<[Output; 2]> {
    let files = matches!(logger.destination, LoggerDestination::File | LoggerDestination::Both);
    let console = matches!(logger.destination, LoggerDestination::Console | LoggerDestination::Both);
    let rotation = match logger.mode {
        LoggerMode::Standard => None,
        LoggerMode::Rotate => {
            let policy = logger.rotate.unwrap_or_default();
            Some(Rotation {
                size_bytes: u64::try_from(policy.log_size_bytes).unwrap_or(0).max(1),
                backups: u64::try_from(policy.backups).unwrap_or(0).max(1),
            })
        }
    };
    let directory = if files { Some(acting_as(owner, || log_directory(sandbox, process, run))?) } else { None };
    let open = |stream: OutputStream| -> io::Result<Output> {
        let file = match &directory {
            Some(directory) => Some(acting_as(owner, || {
                let open = if shared { continue_log } else { create_log };
                open(directory.as_fd(), stream.file_name())
            })?),
            None => None,
        };
        if !console && rotation.is_none() {
            let child_end = match file {
                Some(file) => file.into(),
                None => rustix::fs::open(c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?,
            };
            return Ok(Output { child_end, pump: None });
        }
        let (source, child_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&source, true)?;
        let file = match (file, &directory) {
            (Some(file), Some(directory)) => Some(LogFile {
                file,
                directory: directory.try_clone()?,
                name: stream.file_name(),
                size_bytes: 0,
                rotation,
                owner: owner.cloned(),
            }),
            _ => None,
        };
        Ok(Output { child_end, pump: Some(Pump { source, file, console: console.then_some(stream) }) })
    };
    Ok([open(OutputStream::Stdout)?, open(OutputStream::Stderr)?])
}

/// The folder of a run's logs, made if need be.
fn log_directory(sandbox: BorrowedFd<'_>, process: &str, run: u32) -> io::Result<OwnedFd> {
    let logs = enter(sandbox, LOGS)?;
    let process = enter(logs.as_fd(), process)?;
    Ok(enter(process.as_fd(), &run.to_string())?)
}

fn enter(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    // Folders that are made here as a rule; only that of all logs is there before.
    if name == LOGS
        && let Ok(found) = open()
    {
        return Ok(found);
    }
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(error) => Err(error),
    }
}

fn create_log(directory: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    match rustix::fs::openat(directory, name, flags, mode) {
        Ok(file) => Ok(file.into()),
        Err(Errno::EXIST) => {
            // Not ours: every run has a number of its own. Whatever it is must go.
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            Ok(rustix::fs::openat(directory, name, flags, mode)?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A log that may be there already.
fn continue_log(directory: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    // Something else than a file must not keep this process waiting.
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(File::from) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        // A pipe has another answer when nobody reads from it.
        Ok(_) | Err(Errno::NXIO) => create_log(directory, name),
        Err(error) => Err(error.into()),
    }
}

impl Pump {
    /// Passes on what is there; false once nothing more will come.
    pub(super) fn pass_on(&mut self) -> bool {
        let mut buffer = vec![0_u8; READ_BYTES];
        // A bounded number of rounds: a process that never stops writing must not keep the supervisor from its other work.
        for _ in 0..16 {
            match rustix::io::read(&self.source, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    if let Some(stream) = self.console {
                        let _ = match stream {
                            OutputStream::Stdout => io::stdout().write_all(&buffer[..count]),
                            OutputStream::Stderr => io::stderr().write_all(&buffer[..count]),
                        };
                    }
                    if let Some(file) = &mut self.file {
                        // A full disk loses output; it must not stop the process that writes.
                        let _ = file.append(&buffer[..count]);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl LogFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size_bytes += bytes.len() as u64;
        match self.rotation {
            Some(rotation) if self.size_bytes >= rotation.size_bytes => self.rotate(rotation.backups),
            _ => Ok(()),
        }
    }

    /// `.1` is the newest backup; the oldest one goes.
    fn rotate(&mut self, backups: u64) -> io::Result<()> {
        let directory = self.directory.as_fd();
        let name = self.name;
        let owner = self.owner.clone();
        self.file = acting_as(owner.as_ref(), || {
            let numbered = |number: u64| CString::new(format!("{name}.{number}")).expect("no NUL in a log's name");
            match rustix::fs::unlinkat(directory, numbered(backups), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            for number in (1..backups).rev() {
                match rustix::fs::renameat(directory, numbered(number), directory, numbered(number + 1)) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(io::Error::from(error)),
                }
            }
            rustix::fs::renameat(directory, name, directory, numbered(1))?;
            create_log(directory, name)
        })?;
        self.size_bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_keeps_the_newest_backups_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = File::open(folder.path()).unwrap();
        let logger = Logger {
            destination: LoggerDestination::File,
            mode: LoggerMode::Rotate,
            rotate: Some(RotatePolicy { log_size_bytes: 70, backups: 2 }),
        };
        let [output, _] = open_outputs(sandbox.as_fd(), "p", 0, logger, None, false).unwrap();
        let mut pump = output.pump.unwrap();
        let mut child = File::from(output.child_end);
        for number in 0..40 {
            writeln!(child, "line {number:04}").unwrap();
            assert!(pump.pass_on());
        }
        drop(child);
        assert!(!pump.pass_on());
        let logs = folder.path().join(".logs/p/0");
        let lines = |name: &str| std::fs::read_to_string(logs.join(name)).unwrap().lines().count();
        assert_eq!((lines("stdout.2"), lines("stdout.1"), lines("stdout")), (7, 7, 5));
        assert!(std::fs::read_to_string(logs.join("stdout")).unwrap().ends_with("line 0039\n"));
        assert!(!logs.join("stdout.3").exists());
        assert_eq!(std::fs::read(logs.join("stderr")).unwrap(), b"");
    }

    #[test]
    fn in_a_shared_sandbox_logs_go_on_where_they_are_files() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = File::open(folder.path()).unwrap();
        let logs = folder.path().join(".logs/p/0");
        for round in 1..3 {
            let [stdout, stderr] = open_outputs(sandbox.as_fd(), "p", 0, Logger::default(), None, true).unwrap();
            writeln!(File::from(stdout.child_end), "{round}").unwrap();
            writeln!(File::from(stderr.child_end), "{round}").unwrap();
            std::fs::remove_file(logs.join("stderr")).unwrap();
            make_fifo(&logs.join("stderr"));
        }
        assert_eq!(std::fs::read_to_string(logs.join("stdout")).unwrap(), "1\n2\n");
        std::fs::remove_file(logs.join("stdout")).unwrap();
        std::os::unix::fs::symlink("/dev/null", logs.join("stdout")).unwrap();
        assert!(open_outputs(sandbox.as_fd(), "p", 0, Logger::default(), None, true).is_err());
    }

    fn make_fifo(path: &std::path::Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_link_in_the_place_of_a_log_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".logs")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".logs/p")).unwrap();
        let sandbox = File::open(folder.path()).unwrap();
        assert!(open_outputs(sandbox.as_fd(), "p", 0, Logger::default(), None, false).is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
