//! The checkpoint of a run again, in the form of Thermos and below a root of Thermos (spec executor 1.9, 1.10), so that observers and tools of the original find the task. Written by following our own checkpoint, which stays the truth: an error here
//! is logged once and changes nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use checkpoint::record::{Entry, Header, ProcessRecord, Record, TaskRecord};
use checkpoint::stream::Reader;
use model::process::{Late, LateValues, Task};
use rustix::fs::inotify;
use thrift::thermos::{RunnerCheckpoint, RunnerHeader, RunnerProcessStatus, RunnerTaskStatus};
use thrift::{Protocol, encode_value};

use crate::launcher::log;

/// What follows our checkpoint.
#[derive(Debug)]
pub(crate) struct Mirror {
    root: PathBuf,
    checkpoint: PathBuf,
    task_id: String,
    reader: Option<Reader>,
    /// Readable when our checkpoint has grown.
    changes: Option<OwnedFd>,
    stream: Option<File>,
    /// Written after the first state of the task.
    header: Option<Header>,
    failed: bool,
}

impl Mirror {
    /// Of the run in this directory of a Mesos agent; the root lies in it.
    pub(crate) fn of_run(run_directory: &Path, task_id: &str) -> Self {
        Self::new(run_directory.join("checkpoints"), run_directory, task_id)
    }

    /// Of the run in this directory, below that root.
    pub(crate) fn new(root: PathBuf, run_directory: &Path, task_id: &str) -> Self {
        Self {
            root,
            checkpoint: run_directory.join(checkpoint::layout::CHECKPOINT),
            task_id: task_id.to_owned(),
            reader: None,
            changes: None,
            stream: None,
            header: None,
            failed: false,
        }
    }

    /// Readable when there may be something to follow; `None` while there is no checkpoint yet.
    pub(crate) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(AsFd::as_fd)
    }

    /// Writes what has been added to our checkpoint since the last call.
    pub(crate) fn follow(&mut self) {
        if !self.failed
            && let Err(error) = self.try_follow()
        {
            self.failed = true;
            self.changes = None;
            log(&format!("{}: no checkpoint for Thermos any more: {error}", self.task_id));
        }
    }

    fn try_follow(&mut self) -> io::Result<()> {
        if self.reader.is_none() {
            match Reader::open(&self.checkpoint) {
                Ok(reader) => self.reader = Some(reader),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.changes.is_none() {
            // A user has only so many of these; without one the checkpoint is looked at now and then.
            self.changes = watch(&self.checkpoint).ok();
        }
        // What is noted from here on is read from here on.
        let mut notes = [0; 4096];
        while self.changes.as_ref().is_some_and(|changes| rustix::io::read(changes, &mut notes).is_ok()) {}
        while let Some(record) = self.next_record()? {
            match record.entry {
                // Another one is that of a supervisor that has taken the run up again.
                Some(Entry::Header(header)) if self.stream.is_none() => self.begin(header)?,
                Some(Entry::Process(process)) => {
                    let status = Some(process_status(&process));
                    self.write(&RunnerCheckpoint { process_status: status, ..RunnerCheckpoint::default() })?;
                }
                Some(Entry::Task(task)) => self.task(&task)?,
                Some(Entry::Header(_) | Entry::Status(_)) | None => {}
            }
        }
        Ok(())
    }

    fn next_record(&mut self) -> io::Result<Option<Record>> {
        match &mut self.reader {
            Some(reader) => reader.next_record().map_err(io::Error::other),
            None => Ok(None),
        }
    }

    fn tasks(&self, folder: &str) -> PathBuf {
        self.root.join("tasks").join(folder).join(&self.task_id)
    }

    fn begin(&mut self, header: Header) -> io::Result<()> {
        let streams = checkpoint::layout::below_thermos_root(&self.root, &self.task_id);
        fs::create_dir_all(&streams)?;
        for folder in ["active", "finished"] {
            fs::create_dir_all(self.root.join("tasks").join(folder))?;
        }
        self.stream = Some(OpenOptions::new().create(true).write(true).truncate(true).open(streams.join("runner"))?);
        fs::write(self.tasks("active"), task_json(&header))?;
        self.header = Some(header);
        Ok(())
    }

    fn task(&mut self, task: &TaskRecord) -> io::Result<()> {
        let status = RunnerTaskStatus {
            state: task.state,
            timestamp_ms: task.timestamp_ms,
            runner_pid: Some(task.decider_pid),
            runner_uid: i32::try_from(rustix::process::getuid().as_raw()).ok(),
        };
        self.write(&RunnerCheckpoint { task_status: Some(status), ..RunnerCheckpoint::default() })?;
        if let Some(header) = self.header.take() {
            let header = runner_header(header);
            self.write(&RunnerCheckpoint { runner_header: Some(header), ..RunnerCheckpoint::default() })?;
        }
        if task.state().is_terminal() {
            fs::rename(self.tasks("active"), self.tasks("finished"))?;
        }
        Ok(())
    }

    /// A frame: the length, big-endian, and the record.
    fn write(&mut self, record: &RunnerCheckpoint) -> io::Result<()> {
        let bytes = encode_value(Protocol::Binary, record);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let frame = [&length.to_be_bytes()[..], &bytes].concat();
        match &mut self.stream {
            Some(stream) => stream.write_all(&frame),
            None => Ok(()),
        }
    }
}

fn watch(path: &Path) -> io::Result<OwnedFd> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
    Ok(changes)
}

/// The task as the original hands it to its runner: with its templates filled in.
fn task_json(header: &Header) -> Vec<u8> {
    let values = LateValues {
        instance: header.instance,
        hostname: header.hostname.clone(),
        task_id: header.task_id.clone(),
        user: header.user.clone(),
        ports: header.ports.clone(),
    };
    let text = String::from_utf8_lossy(&header.task_json);
    let filled = Late::<Task>::parse(&text).and_then(|task| task.fill(&values)).ok();
    filled.and_then(|task| serde_json::to_vec(&task).ok()).unwrap_or_else(|| header.task_json.clone())
}

fn runner_header(header: Header) -> RunnerHeader {
    RunnerHeader {
        log_dir: Some(format!("{}/{}", header.sandbox, checkpoint::layout::LOGS)),
        task_id: header.task_id,
        launch_time_ms: header.launch_time_ms,
        sandbox: Some(header.sandbox),
        hostname: Some(header.hostname),
        user: Some(header.user),
        uid: header.uid.and_then(|uid| i32::try_from(uid).ok()),
        ports: Some(header.ports.into_iter().map(|(name, port)| (name, i64::from(port))).collect()),
    }
}

fn process_status(record: &ProcessRecord) -> RunnerProcessStatus {
    let secs = |ms: Option<i64>| ms.map(|ms| ms as f64 / 1000.0);
    RunnerProcessStatus {
        seq: i64::try_from(record.sequence).unwrap_or(i64::MAX),
        process: record.process.clone(),
        state: record.state,
        // A run's shell leads its session here; there is no coordinator beside it.
        coordinator_pid: record.pid,
        fork_time: secs(record.fork_time_ms),
        start_time: secs(record.start_time_ms),
        pid: record.pid,
        stop_time: secs(record.stop_time_ms),
        return_code: record.return_code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::record::{ProcessState, TaskState};
    use checkpoint::stream::Writer;
    use thrift::{Limits, decode_value};

    fn frames(path: &Path) -> Vec<RunnerCheckpoint> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<4>() {
            let (frame, tail) = tail.split_at(u32::from_be_bytes(*head) as usize);
            found.push(decode_value(Protocol::Binary, frame, Limits::REQUEST).unwrap());
            rest = tail;
        }
        found
    }

    #[test]
    fn a_run_is_followed_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut mirror = Mirror::of_run(folder.path(), "t");
        mirror.follow();
        let mut writer = Writer::create(&folder.path().join("checkpoint")).unwrap();
        writer.push(Header {
            task_id: "t".into(),
            sandbox: "/s".into(),
            user: "u".into(),
            uid: Some(7),
            instance: 4,
            ports: [("http".to_owned(), 80)].into(),
            task_json: br#"{"processes": [{"name": "p", "cmdline": "echo {{mesos.instance}}"}]}"#.to_vec(),
            ..Header::default()
        });
        writer.push(TaskRecord { state: TaskState::Active.into(), timestamp_ms: 5, decider_pid: 9 });
        writer.commit().unwrap();
        mirror.follow();
        assert!(mirror.changes().is_some());
        let root = folder.path().join("checkpoints");
        let active = fs::read_to_string(root.join("tasks/active/t")).unwrap();
        assert!(active.contains("echo 4"), "{active}");
        writer.push(ProcessRecord {
            sequence: 2,
            process: "p".into(),
            state: ProcessState::Failed.into(),
            stop_time_ms: Some(1_500),
            return_code: Some(3),
            ..ProcessRecord::default()
        });
        writer.push(TaskRecord { state: TaskState::Failed.into(), timestamp_ms: 6, decider_pid: 9 });
        writer.commit().unwrap();
        mirror.follow();
        mirror.follow();
        assert!(!root.join("tasks/active/t").exists() && root.join("tasks/finished/t").exists());
        let frames = frames(&root.join("checkpoints/t/runner"));
        assert_eq!(frames.len(), 4);
        assert_eq!(frames[0].task_status.as_ref().unwrap().state, 0);
        let header = frames[1].runner_header.as_ref().unwrap();
        assert_eq!((header.log_dir.as_deref(), header.uid), (Some("/s/.logs"), Some(7)));
        let process = frames[2].process_status.as_ref().unwrap();
        assert_eq!((process.seq, process.state, process.stop_time, process.return_code), (2, 5, Some(1.5), Some(3)));
        assert_eq!(frames[3].task_status.as_ref().unwrap().state, 2);
    }
}
