//! What is seen of a task that runs in the foreground: its processes' comings and goings, from its checkpoint, and what they print, from
//! their logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checkpoint::files::beneath::Root;
use checkpoint::layout::{LOGS, OutputStream, is_safe_segment};
use checkpoint::protocol::LaunchRefused;
use checkpoint::record::{Entry, ProcessRecord, ProcessState, StatusRecord, StatusState, TaskState};
use checkpoint::replay::RunState;
use checkpoint::stream::Reader;
use observer::store::{process_state_name, task_state_name};
use serde_json::Value;
use signal_hook::iterator::Signals;

use super::runner::Runner;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the start of a task may take.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Time for processes to end after the signal that kills them, milliseconds (spec executor 1.11).
const GRACE_MS: u64 = 60_000;
/// How much of a log is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// A task that is watched.
pub struct Followed {
    task_id: String,
    tells: bool,
    begun: Instant,
    reader: Option<Reader<File>>,
    state: RunState,
    kills: u32,
}

impl Followed {
    /// One that is about to start. `tells`: of its processes.
    pub fn new(task_id: &str, tells: bool) -> Self {
        let begun = Instant::now();
        Self { task_id: task_id.to_owned(), tells, begun, reader: None, state: RunState::default(), kills: 0 }
    }

    /// Waits until the task runs; an error when it cannot.
    pub fn until_started(&mut self, runner: &mut Runner) -> Outcome {
        while self.begun.elapsed() < START_PATIENCE {
            if let Some(refused) = runner.wait(PAUSE) {
                return Err(self.refused(&refused));
            }
            let ended = runner.ended();
            self.read(runner.checkpoint(), &mut Console::to(Box::new(std::io::sink()), Box::new(std::io::sink())))?;
            if self.state.was_running() {
                return Ok(());
            }
            if ended.is_some() || self.state.is_over() {
                return self.outcome();
            }
        }
        Err(Failure::new(Exit::Timeout, format!("Task {} has not started in time.", self.task_id)))
    }

    /// Shows the task until it is over. Signals kill it.
    pub fn follow_to_end(
        &mut self,
        runner: &mut Runner,
        mut output: Output,
        signals: &mut Signals,
        console: &mut Console,
    ) -> Outcome {
        loop {
            if let Some(refused) = runner.wait(PAUSE) {
                return Err(self.refused(&refused));
            }
            if signals.pending().next().is_some() {
                self.kill(runner, console);
            }
            // Asked before the reading: what was written until the end is read for sure.
            let ended = runner.ended();
            self.read(runner.checkpoint(), console)?;
            output.pass_on(&self.state, console);
            if ended.is_some() {
                break;
            }
        }
        output.finish(console);
        let outcome = self.outcome();
        if self.tells && outcome.is_ok() {
            console.err(format!("Task {}: SUCCESS", self.task_id));
        }
        outcome
    }

    fn kill(&mut self, runner: &mut Runner, console: &mut Console) {
        self.kills += 1;
        if self.kills == 1 {
            console.err(format!("Killing task {}; once more kills it at once.", self.task_id));
            runner.kill(GRACE_MS);
        } else {
            runner.kill(0);
        }
    }

    fn refused(&self, refused: &LaunchRefused) -> Failure {
        let id = &self.task_id;
        if refused.already_started {
            let text = format!(
                "A task {id} was run here before and cannot be resumed: {}. Choose another --task_id, or another --root.",
                refused.reason
            );
            return Failure::new(Exit::InvalidParameter, text);
        }
        Failure::new(Exit::CommandFailure, format!("Task {id} cannot be run: {}", refused.reason))
    }

    /// Takes in what was recorded since the last time.
    fn read(&mut self, checkpoint: &Path, console: &mut Console) -> Outcome {
        let failed =
            |why: String| Failure::new(Exit::CommandFailure, format!("{} cannot be read: {why}", checkpoint.display()));
        if self.reader.is_none() {
            match Reader::open(checkpoint) {
                Ok(reader) => self.reader = Some(reader),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        while let Some(record) = self
            .reader
            .as_mut()
            .map(Reader::next_record)
            .transpose()
            .map_err(|error| failed(error.to_string()))?
            .flatten()
        {
            match &record.entry {
                Some(Entry::Process(process)) if self.tells => self.tell_process(process, console),
                _ => {}
            }
            self.state.apply(record);
        }
        Ok(())
    }

    fn tell_process(&self, record: &ProcessRecord, console: &mut Console) {
        let what = match record.state() {
            ProcessState::Waiting | ProcessState::Forked => return,
            ProcessState::Running => format!("runs, pid {}{}", record.pid.unwrap_or_default(), nth(record.run)),
            ProcessState::Failed => match (record.return_code, &record.reason) {
                (Some(code), _) => format!("failed with exit status {code}"),
                (None, Some(reason)) => format!("failed: {reason}"),
                (None, None) => "failed".into(),
            },
            ProcessState::Killed => match record.return_code {
                Some(code) if code < 0 => format!("was killed by signal {}", -code),
                _ => "was killed".into(),
            },
            ended => process_state_name(ended).to_lowercase(),
        };
        self.tell(&record.process, &what, console);
    }

    fn tell(&self, who: &str, what: &str, console: &mut Console) {
        console.err(format!("{:>7.2}s {who}: {what}", self.begun.elapsed().as_secs_f64()));
    }

    /// How the task ended.
    fn outcome(&self) -> Outcome {
        let state = self.state.task_state();
        if state == Some(TaskState::Success) {
            return Ok(());
        }
        let exit = if self.kills > 0 { Exit::Interrupted } else { Exit::Failed };
        let status = self.state.last_status();
        let shown = match status.map(StatusRecord::state) {
            // It could not be begun, so there was nothing but to end it.
            Some(StatusState::Failed) => task_state_name(TaskState::Failed),
            _ => state.filter(|state| state.is_terminal()).map_or("LOST", task_state_name),
        };
        let message = status.map_or("", |status| status.message.as_str());
        Err(Failure::new(exit, format!("Task {}: {shown}. {message}", self.task_id).trim_end()))
    }
}

fn nth(run: u32) -> String {
    if run == 0 { String::new() } else { format!(", run {run}") }
}

/// What the processes of a task print.
pub struct Output {
    folder: PathBuf,
    /// Whether each line says whose it is.
    is_labelled: bool,
    /// Processes whose output goes elsewhere.
    silent: BTreeSet<String>,
    /// Sizes of logs that were there before.
    before: BTreeMap<PathBuf, u64>,
    logs: BTreeMap<(String, u32, OutputStream), Log>,
}

#[derive(Default)]
struct Log {
    file: Option<File>,
    partial: Vec<u8>,
}

impl Output {
    /// Of a task that is about to run in this sandbox.
    pub fn new(sandbox: &Path, task: &Value) -> Self {
        let folder = sandbox.join(LOGS);
        let processes: Vec<&Value> = task.get("processes").and_then(Value::as_array).into_iter().flatten().collect();
        let name = |process: &Value| process.get("name").and_then(Value::as_str).map(str::to_owned);
        let goes_elsewhere = |process: &Value| {
            let logger = process.get("logger").and_then(|logger| logger.get("destination")).and_then(Value::as_str);
            matches!(logger, Some("console" | "both" | "none"))
        };
        let silent = processes.iter().filter(|process| goes_elsewhere(process)).filter_map(|process| name(process));
        let mut before = BTreeMap::new();
        for process in processes.iter().filter_map(|process| name(process)) {
            for run in std::fs::read_dir(folder.join(&process)).into_iter().flatten().flatten() {
                for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                    let path = run.path().join(stream.file_name());
                    if let Ok(metadata) = std::fs::symlink_metadata(&path) {
                        before.insert(path, metadata.len());
                    }
                }
            }
        }
        let is_labelled = processes.len() > 1;
        Self { silent: silent.collect(), folder, is_labelled, before, logs: BTreeMap::new() }
    }

    /// Shows what was printed since the last time.
    pub fn pass_on(&mut self, state: &RunState, console: &mut Console) {
        for (process, runs) in &state.processes {
            if self.silent.contains(process) || !is_safe_segment(process) {
                continue;
            }
            for run in runs.iter().map(|run| run.run) {
                for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                    self.pass_on_log(process, run, stream, console);
                }
            }
        }
    }

    fn pass_on_log(&mut self, process: &str, run: u32, stream: OutputStream, console: &mut Console) {
        let shown = format!("{process}/{run}/{}", stream.file_name());
        let open = || Root::open(&self.folder).ok()?.open_file(&shown).ok();
        let key = (process.to_owned(), run, stream);
        if !self.logs.contains_key(&key) {
            let Some(mut file) = open() else { return };
            let begin = self.before.get(&self.folder.join(&shown)).copied().unwrap_or(0);
            let _ = file.seek(SeekFrom::Start(begin));
            self.logs.insert(key.clone(), Log { file: Some(file), partial: Vec::new() });
        }
        let Some(log) = self.logs.get_mut(&key) else { return };
        let label = if self.is_labelled { format!("{process} | ") } else { String::new() };
        log.pass_on(stream, &label, console);
        // Set aside because it was long: its name means a new file now.
        let inode = |file: &File| file.metadata().ok().map(|metadata| metadata.ino());
        if let Some(now) = open()
            && log.file.as_ref().and_then(inode) != inode(&now)
        {
            log.pass_on(stream, &label, console);
            log.file = Some(now);
            log.pass_on(stream, &label, console);
        }
    }

    /// Shows the beginnings of lines that never ended.
    pub fn finish(&mut self, console: &mut Console) {
        for ((process, _, stream), log) in &mut self.logs {
            if !log.partial.is_empty() {
                let line = std::mem::take(&mut log.partial);
                print(*stream, &[format!("{process} | ").as_bytes(), &line, b"\n"].concat(), console);
            }
        }
    }
}

impl Log {
    fn pass_on(&mut self, stream: OutputStream, label: &str, console: &mut Console) {
        let Some(file) = &mut self.file else { return };
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = file.read(&mut piece) {
            if label.is_empty() {
                print(stream, &piece[..count], console);
                continue;
            }
            for part in piece[..count].split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(part);
                if self.partial.ends_with(b"\n") || self.partial.len() > PIECE_BYTES {
                    let line = std::mem::take(&mut self.partial);
                    let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
                    print(stream, &[label.as_bytes(), &line, end].concat(), console);
                }
            }
        }
    }
}

fn print(stream: OutputStream, bytes: &[u8], console: &mut Console) {
    match stream {
        OutputStream::Stdout => console.out_bytes(bytes),
        OutputStream::Stderr => console.err_bytes(bytes),
    }
}
