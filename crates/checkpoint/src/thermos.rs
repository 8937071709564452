//! Checkpoints that the original Thermos runner wrote (spec executor 1.9 and 1.10), told in our own records, so that everything behind
//! knows one form only.

use std::fs;
use std::path::{Path, PathBuf};

use thrift::thermos::{RunnerCheckpoint, RunnerHeader, RunnerProcessStatus, RunnerTaskStatus};
use thrift::{Limits, Protocol, decode_value};

use crate::record::{FRAME_BYTES_MAX, Header, ProcessRecord, ProcessState, TaskRecord};
use crate::replay::RunState;

/// Why a stream cannot be read. One that ends within a frame is no error.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A record is damaged.
    #[error("damaged record at byte {offset}: {what}")]
    Damaged {
        /// Where its frame begins.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Every whole record of a stream of `u32` lengths (big endian) and structs in Thrift's binary protocol.
pub fn records(bytes: &[u8]) -> Result<Vec<RunnerCheckpoint>, StreamError> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 4) {
        let damaged = |what: String| StreamError::Damaged { offset: at, what };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(damaged("the length is absurd".into()));
        }
        // The writer is at it, or died at it.
        let Some(payload) = bytes.get(at + 4..at + 4 + length) else { break };
        let record: RunnerCheckpoint = decode_value(Protocol::Binary, payload, Limits::REQUEST)
            .map_err(|error| damaged(format!("the payload is no record: {error}")))?;
        let members = [record.runner_header.is_some(), record.process_status.is_some(), record.task_status.is_some()];
        if members.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err(damaged("a record has one member, this one has none or several".into()));
        }
        records.push(record);
        at += 4 + length;
    }
    Ok(records)
}

/// A task of a Thermos root.
#[derive(Clone, Debug, Default)]
pub struct ThermosTask {
    /// What the records tell.
    pub state: RunState,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// The task as JSON; empty when it cannot be read.
    pub task_json: Vec<u8>,
}

/// Reads the task `task_id` of `root`; `task_file` holds its JSON.
pub fn load(root: &Path, task_id: &str, task_file: &Path) -> Result<ThermosTask, StreamError> {
    let stream = root.join("checkpoints").join(task_id).join("runner");
    let records = match fs::read(stream) {
        Ok(bytes) => records(&bytes)?,
        // Listed, but its runner has not begun.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let task_json = fs::read(task_file).unwrap_or_default();
    let mut task = replay(records, &task_json);
    if task.logs.as_os_str().is_empty() {
        task.logs = root.join("logs").join(task_id);
    }
    Ok(task)
}

/// What records add up to. Without a header, or with one of an old version, the folder of the logs is empty.
pub fn replay(records: Vec<RunnerCheckpoint>, task_json: &[u8]) -> ThermosTask {
    let mut task = ThermosTask { task_json: task_json.to_vec(), ..ThermosTask::default() };
    let mut replay = Replay::default();
    for record in records {
        if let Some(header) = record.runner_header {
            if let Some(logs) = &header.log_dir {
                task.logs = PathBuf::from(logs);
            }
            replay.state.apply(own_header(header, task_json).into());
        } else if let Some(status) = record.process_status {
            replay.process(status);
        } else if let Some(status) = record.task_status {
            replay.task(&status);
        }
    }
    task.state = replay.state;
    task
}

fn own_header(header: RunnerHeader, task_json: &[u8]) -> Header {
    Header {
        task_id: header.task_id,
        launch_time_ms: header.launch_time_ms,
        sandbox: header.sandbox.unwrap_or_default(),
        hostname: header.hostname.unwrap_or_default(),
        user: header.user.unwrap_or_default(),
        uid: header.uid.and_then(|uid| u32::try_from(uid).ok()),
        ports: header
            .ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, port)| Some((name, u32::try_from(port).ok()?)))
            .collect(),
        task_json: task_json.to_vec(),
        ..Header::default()
    }
}

/// Thermos does not number runs: a process that waits again has begun the next one.
#[derive(Default)]
struct Replay {
    state: RunState,
}

impl Replay {
    fn process(&mut self, status: RunnerProcessStatus) {
        let runs = self.state.processes.get(&status.process);
        let last = runs.and_then(|runs| runs.last());
        // Numbers of records go up by one; anything else was told before (a runner that took over repeats).
        let Ok(sequence) = u64::try_from(status.seq) else { return };
        if last.is_some_and(|last| sequence <= last.sequence) {
            return;
        }
        let run = match last {
            Some(last) if last.state().is_terminal() => last.run + 1,
            Some(last) => last.run,
            None => 0,
        };
        let ms = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1000.0).round() as i64);
        let known = ProcessState::try_from(status.state).unwrap_or(ProcessState::Waiting);
        self.state.apply(
            ProcessRecord {
                sequence,
                process: status.process,
                run,
                state: known.into(),
                fork_time_ms: ms(status.fork_time),
                start_time_ms: ms(status.start_time),
                stop_time_ms: ms(status.stop_time),
                pid: status.pid,
                return_code: status.return_code,
                ..ProcessRecord::default()
            }
            .into(),
        );
    }

    fn task(&mut self, status: &RunnerTaskStatus) {
        self.state.apply(
            TaskRecord {
                state: status.state,
                timestamp_ms: status.timestamp_ms,
                decider_pid: status.runner_pid.unwrap_or_default(),
            }
            .into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use thrift::encode_value;

    use super::*;

    fn frame(record: &RunnerCheckpoint) -> Vec<u8> {
        let payload = encode_value(Protocol::Binary, record);
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(payload);
        frame
    }

    fn process(seq: i64, state: i32) -> RunnerCheckpoint {
        let process_status = RunnerProcessStatus {
            seq,
            process: "p".into(),
            state,
            start_time: (state == 2).then_some(1.5),
            stop_time: (state > 2).then_some(2.25),
            return_code: (state == 5).then_some(1),
            ..RunnerProcessStatus::default()
        };
        RunnerCheckpoint { process_status: Some(process_status), ..RunnerCheckpoint::default() }
    }

    fn task(state: i32) -> RunnerCheckpoint {
        let task_status = RunnerTaskStatus { state, timestamp_ms: 7, ..RunnerTaskStatus::default() };
        RunnerCheckpoint { task_status: Some(task_status), ..RunnerCheckpoint::default() }
    }

    fn header() -> RunnerCheckpoint {
        let runner_header = RunnerHeader {
            task_id: "t".into(),
            launch_time_ms: 5,
            sandbox: Some("/s".into()),
            log_dir: Some("/l".into()),
            user: Some("nobody".into()),
            ports: Some([("http".to_owned(), 80)].into()),
            ..RunnerHeader::default()
        };
        RunnerCheckpoint { runner_header: Some(runner_header), ..RunnerCheckpoint::default() }
    }

    #[test]
    fn a_stream_of_the_original_is_told_in_our_records() {
        let folder = tempfile::tempdir().unwrap();
        let stream = folder.path().join("checkpoints/t/runner");
        fs::create_dir_all(stream.parent().unwrap()).unwrap();
        let mut bytes: Vec<u8> = [
            task(0),
            header(),
            process(0, 0),
            process(1, 1),
            process(2, 2),
            process(3, 5),
            process(3, 5),
            process(4, 0),
            process(5, 1),
            process(6, 2),
            process(7, 3),
            task(5),
            task(1),
        ]
        .iter()
        .flat_map(frame)
        .collect();
        bytes.extend([0, 0, 0, 9, 1]);
        fs::write(&stream, bytes).unwrap();
        let task_file = folder.path().join("task");
        fs::write(&task_file, r#"{"name": "hello"}"#).unwrap();
        let task = load(folder.path(), "t", &task_file).unwrap();
        let runs = &task.state.processes["p"];
        assert_eq!(runs.len(), 2);
        assert_eq!(
            (runs[0].state(), runs[0].return_code, runs[0].start_time_ms),
            (ProcessState::Failed, Some(1), Some(1500))
        );
        assert_eq!((runs[1].state(), runs[1].run, runs[1].stop_time_ms), (ProcessState::Success, 1, Some(2250)));
        assert_eq!(task.logs, Path::new("/l"));
        let header = task.state.header.unwrap();
        assert_eq!((header.user.as_str(), header.ports["http"], header.launch_time_ms), ("nobody", 80, 5));
        assert_eq!(task.state.task.len(), 3);
    }

    #[test]
    fn damage_is_named_with_its_place_and_a_torn_end_is_none() {
        let good = frame(&task(0));
        let mut torn = good.clone();
        torn.extend(&good[..good.len() - 1]);
        assert_eq!(records(&torn).unwrap().len(), 1);
        assert_eq!(records(&[0, 0]).unwrap().len(), 0);
        let mut absurd = good.clone();
        absurd.extend([0xff; 8]);
        let error = records(&absurd).unwrap_err().to_string();
        assert!(error.contains(&format!("byte {}", good.len())), "{error}");
        let empty = frame(&RunnerCheckpoint::default());
        assert!(records(&empty).unwrap_err().to_string().contains("one member"));
        let mut garbage = 6_u32.to_be_bytes().to_vec();
        garbage.extend(b"\x0c\x00\x01\x0b\x00\x01");
        assert!(matches!(records(&garbage), Err(StreamError::Damaged { offset: 0, .. })));
    }

    #[test]
    fn a_task_whose_runner_has_not_begun_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let task = load(folder.path(), "t", &folder.path().join("task")).unwrap();
        assert!(task.state.header.is_none() && task.state.task.is_empty());
        assert_eq!(task.logs, folder.path().join("logs/t"));
    }
}
