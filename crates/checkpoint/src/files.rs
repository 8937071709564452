//! Processes, logs and sandbox files of tasks, read from an engine's directory: the [`TaskFiles`] of what runs on this machine.
//!
//! Reading only. What is in a sandbox was made by a task's user, who may be hostile: nothing there is followed out of the sandbox,
//! nothing is waited for, and no answer grows with what lies there ([`beneath`], [`range`]).

pub mod beneath;
pub mod range;
mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use engine::files::{
    FileEntry, FileRange, FilesError, ProcessInfo, ProcessRun, ProcessState, Stream, TaskFiles, TaskInfo,
};
use model::TaskId;
use model::process::{Late, LateValues, Process, Task};
use rustix::fs::{AtFlags, Dir, FileType};

use crate::layout::{EngineDirectory, LOGS, RunDirectory, is_safe_segment};
use crate::record::{Header, ProcessRecord};
use crate::replay::RunState;
use crate::stream::ReadError;

use beneath::Root;
pub use range::{LINES_BYTES_MAX, READ_BYTES_MAX, last_lines};
use usage::Sampler;

/// Most entries of one directory that are listed.
pub const LIST_ENTRIES_MAX: usize = 20_000;

/// Reads the tasks of all agents of an engine directory.
#[derive(Debug)]
pub struct DiskFiles {
    engine: EngineDirectory,
    sampler: Sampler,
}

impl DiskFiles {
    /// Of this engine directory.
    pub fn new(engine: EngineDirectory) -> Self {
        Self { engine, sampler: Sampler::default() }
    }

    /// The run directory of a task, on whichever agent of this machine it is.
    pub fn find(&self, task: &TaskId) -> Result<RunDirectory, FilesError> {
        let missing = || FilesError::NotFound(format!("task {task}"));
        if !is_safe_segment(task.as_str()) {
            return Err(missing());
        }
        let agents = match fs::read_dir(self.engine.agents()) {
            Ok(agents) => agents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(FilesError::Io("the engine's directory".into(), error)),
        };
        for agent in agents {
            let agent = agent.map_err(|error| FilesError::Io("the engine's directory".into(), error))?;
            let run = RunDirectory::new(agent.path().join("tasks").join(task.as_str()));
            if run.root().is_dir() {
                return Ok(run);
            }
        }
        Err(missing())
    }

    fn sandbox(&self, task: &TaskId) -> Result<Root, FilesError> {
        let run = self.find(task)?;
        Root::open(&run.sandbox()).map_err(|error| error.named(&format!("the sandbox of task {task}")))
    }
}

impl TaskFiles for DiskFiles {
    fn task(&self, task: &TaskId) -> Result<TaskInfo, FilesError> {
        let run = self.find(task)?;
        let state = load(&run.checkpoint()).map_err(|error| match error {
            ReadError::Io(error) => FilesError::Io(format!("the checkpoint of task {task}"), error),
            damaged => FilesError::Io(
                format!("the checkpoint of task {task}"),
                io::Error::new(io::ErrorKind::InvalidData, damaged.to_string()),
            ),
        })?;
        let usage = match &state.header {
            Some(header) if !state.is_over() => self.sampler.sample(task, &header.cgroups, &run),
            _ => self.sampler.forget(task),
        };
        Ok(TaskInfo {
            task_id: task.clone(),
            user: state.header.as_ref().map(|header| header.user.clone()).filter(|user| !user.is_empty()),
            sandbox: run.sandbox().to_string_lossy().into_owned(),
            processes: processes(&state),
            usage,
        })
    }

    fn log(
        &self,
        task: &TaskId,
        process: &str,
        run: u32,
        stream: Stream,
        offset: i64,
        limit_bytes: usize,
    ) -> Result<FileRange, FilesError> {
        let shown = format!("{} of run {run} of process '{process}' of task {task}", stream.name());
        if !is_safe_segment(process) {
            return Err(FilesError::NotFound(shown));
        }
        let path = format!("{LOGS}/{process}/{run}/{}", stream.name());
        let file = self.sandbox(task)?.open_file(&path).map_err(|error| error.named(&shown))?;
        range::read(&file, offset, limit_bytes).map_err(|error| FilesError::Io(shown, error))
    }

    fn list(&self, task: &TaskId, directory: &str) -> Result<Vec<FileEntry>, FilesError> {
        let shown = if directory.is_empty() { "the sandbox" } else { directory };
        let opened = self.sandbox(task)?.open_directory(directory).map_err(|error| error.named(shown))?;
        list(&opened, shown)
    }

    fn read(&self, task: &TaskId, path: &str, offset: i64, limit_bytes: usize) -> Result<FileRange, FilesError> {
        let file = self.sandbox(task)?.open_file(path).map_err(|error| error.named(path))?;
        range::read(&file, offset, limit_bytes).map_err(|error| FilesError::Io(path.to_owned(), error))
    }
}

/// A run that was just begun has no checkpoint yet.
fn load(checkpoint: &Path) -> Result<RunState, ReadError> {
    match RunState::load(checkpoint) {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(RunState::default()),
        other => other,
    }
}

/// The processes the task declares, in that order, with their runs; then any that only the records know.
pub fn processes(state: &RunState) -> Vec<ProcessInfo> {
    let declared = state.header.as_ref().map(declared).unwrap_or_default();
    let mut rest = state.processes.clone();
    let mut infos: Vec<ProcessInfo> = declared
        .into_iter()
        .map(|process| {
            let flags = [(process.daemon, "daemon"), (process.ephemeral, "ephemeral"), (process.is_final, "final")];
            ProcessInfo {
                runs: rest.remove(&process.name).unwrap_or_default().iter().map(process_run).collect(),
                name: process.name,
                cmdline: process.cmdline,
                flags: flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect(),
            }
        })
        .collect();
    infos.extend(rest.into_iter().map(|(name, runs)| ProcessInfo {
        name,
        cmdline: String::new(),
        flags: Vec::new(),
        runs: runs.iter().map(process_run).collect(),
    }));
    infos
}

/// Processes of the task in the header, templates filled in; as they were written when that fails, none when it is no task.
fn declared(header: &Header) -> Vec<Process> {
    let Ok(text) = std::str::from_utf8(&header.task_json) else { return Vec::new() };
    let Ok(task) = Late::<Task>::parse(text) else { return Vec::new() };
    let values = LateValues {
        instance: header.instance,
        hostname: header.hostname.clone(),
        task_id: header.task_id.clone(),
        user: header.user.clone(),
        ports: header.ports.clone(),
    };
    task.fill(&values).unwrap_or_else(|_| task.shape().clone()).processes
}

fn process_run(record: &ProcessRecord) -> ProcessRun {
    ProcessRun {
        run: record.run,
        // A state of a later version is shown as one that has not begun.
        state: ProcessState::from_number(record.state).unwrap_or(ProcessState::Waiting),
        pid: record.pid,
        started_ms: record.start_time_ms,
        stopped_ms: record.stop_time_ms,
        return_code: record.return_code,
    }
}

/// Entries of an open directory, sorted by name. Names that are no text are shown as nearly as text can; `shown` is what errors call it.
pub fn list(directory: impl AsFd, shown: &str) -> Result<Vec<FileEntry>, FilesError> {
    let failed = |error: rustix::io::Errno| FilesError::Io(shown.to_owned(), error.into());
    let mut owners = BTreeMap::new();
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory.as_fd()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() == LIST_ENTRIES_MAX {
            return Err(FilesError::Refused(shown.to_owned(), "it has more entries than are listed (20,000)"));
        }
        let stat = match rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(failed(error)),
        };
        entries.push(FileEntry {
            name: name.to_string_lossy().into_owned(),
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => 'd',
                FileType::RegularFile => 'f',
                FileType::Symlink => 'l',
                _ => 'o',
            },
            mode: stat.st_mode & 0o7777,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ms: stat.st_mtime.saturating_mul(1000).saturating_add(stat.st_mtime_nsec as i64 / 1_000_000),
            owner: owners.entry(stat.st_uid).or_insert_with(|| user_name(stat.st_uid)).clone(),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn user_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests;
