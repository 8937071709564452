//! The tasks' own output: each log is read from where the last reading ended and printed by whole lines, each with its instance before it.
//! stdout goes to stdout and stderr to stderr.

use std::collections::BTreeMap;

use crate::console::Console;
use crate::files::{self, TaskFiles};
use crate::scheduler::Scheduler;

/// How much is read at once.
const PIECE_BYTES: u64 = 256 << 10;
/// A line longer than this is printed in pieces.
const LINE_LIMIT_BYTES: usize = 64 << 10;

/// Where the reading of one log stands.
#[derive(Debug, Default)]
struct Position {
    offset: u64,
    identity: Option<String>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

/// The logs of one task.
#[derive(Debug, Default)]
pub struct TaskOutput {
    positions: BTreeMap<(String, u32, &'static str), Position>,
    /// The latest processes and runs.
    pub files: TaskFiles,
    /// How many lines were printed.
    pub lines: usize,
}

impl TaskOutput {
    /// Prints what came since the last time; true when nothing was left to read.
    pub fn read(&mut self, scheduler: &mut Scheduler<'_>, task_id: &str, label: &str, console: &mut Console) -> bool {
        let Some(files) = files::processes(scheduler, task_id) else { return true };
        self.files = files;
        let runs: Vec<(String, u32)> = self
            .files
            .processes
            .iter()
            .flat_map(|process| process.runs.iter().map(|run| (process.name.clone(), run.run)))
            .collect();
        let is_single = self.files.processes.len() == 1;
        let mut drained = true;
        for (process, run) in runs {
            let label = if is_single { format!("{label} | ") } else { format!("{label} {process} | ") };
            for stream in ["stdout", "stderr"] {
                let position = self.positions.entry((process.clone(), run, stream)).or_default();
                let (is_drained, lines) =
                    position.advance(scheduler, task_id, (&process, run, stream), &label, console);
                drained &= is_drained;
                self.lines += lines;
            }
        }
        drained
    }

    /// Prints lines that never ended.
    pub fn finish(&mut self, label: &str, console: &mut Console) {
        let is_single = self.files.processes.len() == 1;
        for ((process, _, stream), position) in &mut self.positions {
            if !position.partial.is_empty() {
                let label = if is_single { format!("{label} | ") } else { format!("{label} {process} | ") };
                let line = std::mem::take(&mut position.partial);
                print_line(stream, &label, &line, console);
                self.lines += 1;
            }
        }
    }
}

impl Position {
    /// Reads one piece; whether it was the last one for now, and how many lines it gave.
    fn advance(
        &mut self,
        scheduler: &mut Scheduler<'_>,
        task_id: &str,
        (process, run, stream): (&str, u32, &'static str),
        label: &str,
        console: &mut Console,
    ) -> (bool, usize) {
        let offset = self.offset as i64;
        let Some(page) = files::log(scheduler, task_id, process, run, stream, offset, PIECE_BYTES) else {
            return (true, 0);
        };
        if self.identity.is_some() && page.identity != self.identity {
            // The log was rotated: the name means a new file, which is read from its beginning.
            *self = Self { identity: page.identity, partial: std::mem::take(&mut self.partial), offset: 0 };
            return (false, 0);
        }
        self.identity = page.identity;
        self.offset += page.body.len() as u64;
        let lines = self.print(stream, &page.body, label, console);
        (page.body.is_empty() || page.size_bytes.is_some_and(|size| self.offset >= size), lines)
    }

    fn print(&mut self, stream: &str, bytes: &[u8], label: &str, console: &mut Console) -> usize {
        let mut lines = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(line);
            if self.partial.ends_with(b"\n") || self.partial.len() > LINE_LIMIT_BYTES {
                let line = std::mem::take(&mut self.partial);
                print_line(stream, label, line.strip_suffix(b"\n").unwrap_or(&line), console);
                lines += 1;
            }
        }
        lines
    }
}

fn print_line(stream: &str, label: &str, line: &[u8], console: &mut Console) {
    let mut bytes = Vec::with_capacity(label.len() + line.len() + 1);
    bytes.extend_from_slice(label.as_bytes());
    bytes.extend_from_slice(line);
    bytes.push(b'\n');
    if stream == "stdout" { console.out_bytes(&bytes) } else { console.err_bytes(&bytes) }
}
