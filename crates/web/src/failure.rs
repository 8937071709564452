//! What a failed task left behind: which process ended how, and the last lines of its output, for the row itself.

use engine::files::{FilesError, ProcessInfo, ProcessRun, ProcessState, Stream, TaskFiles};
use model::TaskId;

use crate::ansi::{self, Style};
use crate::words::{self, Markup};

/// Lines shown.
const TAIL_LINES: usize = 50;
/// Longest last line shown, in bytes.
const LAST_LINE_BYTES: usize = 300;
/// Bytes read for them.
const TAIL_BYTES: usize = 16 * 1024;

/// How a task's process failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Process.
    pub process: String,
    /// Its last run, from 0.
    pub run: u32,
    /// `exit 1`, `killed by SIGKILL (9)`, or its state when no one knows.
    pub how: String,
    /// Which stream `tail` is of.
    pub stream: Stream,
    /// Last lines, colours and all; empty when nothing was written.
    pub tail: Markup,
    /// The last line that is not empty, the one that mostly says what went wrong.
    pub last_line: Markup,
    /// Whether there is more than `tail`.
    pub is_cut: bool,
}

/// The process to blame: the first whose last run failed, else one that was killed or lost.
fn culprit(processes: &[ProcessInfo]) -> Option<(&ProcessInfo, &ProcessRun)> {
    let ended = |state: ProcessState| {
        processes
            .iter()
            .find_map(|process| process.runs.last().filter(|run| run.state == state).map(|run| (process, run)))
    };
    ended(ProcessState::Failed).or_else(|| ended(ProcessState::Killed)).or_else(|| ended(ProcessState::Lost))
}

/// Looks for the failed process of a task and reads the end of what it said. Blocks on disk.
pub fn find(files: &dyn TaskFiles, task: &TaskId) -> Result<Option<Failure>, FilesError> {
    let info = files.task(task)?;
    let Some((process, run)) = culprit(&info.processes) else { return Ok(None) };
    let how = match (run.return_code, run.state) {
        (Some(code), _) => words::exit(code),
        (None, ProcessState::Lost) => "exit code unknown".into(),
        (None, state) => state.name().to_lowercase(),
    };
    let mut failure = Failure {
        process: process.name.clone(),
        run: run.run,
        how,
        stream: Stream::Stderr,
        tail: Markup::default(),
        last_line: Markup::default(),
        is_cut: false,
    };
    // A program that says nothing on stderr usually said it on stdout.
    for stream in [Stream::Stderr, Stream::Stdout] {
        let Ok(range) = files.log(task, &process.name, run.run, stream, -(TAIL_BYTES as i64), TAIL_BYTES) else {
            continue;
        };
        if range.data.is_empty() {
            continue;
        }
        let (tail, is_cut) = last_lines(&range.data, range.offset > 0);
        failure = Failure { stream, tail, is_cut, last_line: last_line(&range.data), ..failure };
        break;
    }
    Ok(Some(failure))
}

fn last_line(data: &[u8]) -> Markup {
    let mut lines = data.rsplit(|byte| *byte == b'\n');
    let line = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    Markup(ansi::line(&line[..line.len().min(LAST_LINE_BYTES)], &mut Style::default()))
}

fn last_lines(data: &[u8], begins_inside: bool) -> (Markup, bool) {
    let text = data.strip_suffix(b"\n").unwrap_or(data);
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if begins_inside && lines.len() > 1 {
        lines.remove(0);
    }
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    let mut style = Style::default();
    let shown: Vec<String> = lines[skipped..].iter().map(|line| ansi::line(line, &mut style)).collect();
    (Markup(shown.join("\n")), begins_inside || skipped > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, states: &[ProcessState]) -> ProcessInfo {
        let runs = states.iter().enumerate().map(|(run, state)| ProcessRun {
            run: run as u32,
            state: *state,
            pid: None,
            started_ms: None,
            stopped_ms: None,
            return_code: None,
        });
        ProcessInfo { name: name.into(), cmdline: String::new(), flags: Vec::new(), runs: runs.collect() }
    }

    #[test]
    fn the_failed_process_is_blamed_before_those_killed_with_it() {
        let processes = [
            process("log", &[ProcessState::Killed]),
            process("fetch", &[ProcessState::Failed, ProcessState::Success]),
            process("main", &[ProcessState::Success, ProcessState::Failed]),
        ];
        let (blamed, run) = culprit(&processes).unwrap();
        assert_eq!((blamed.name.as_str(), run.run), ("main", 1));
        assert!(culprit(&processes[1..2]).is_none());
    }

    #[test]
    fn the_tail_is_cut_by_lines_and_escaped() {
        let many: String = (0..60).map(|number| format!("line {number}\n")).collect();
        let (tail, is_cut) = last_lines(many.as_bytes(), false);
        assert!(is_cut && tail.0.starts_with("line 10\n") && tail.0.ends_with("line 59"));
        assert_eq!(last_lines(b"half\n<i>", true), (Markup("&lt;i&gt;".into()), true));
        assert_eq!(last_line(b"one\ntwo <b>\n \n\n"), Markup("two &lt;b&gt;".into()));
        assert_eq!(last_line(b""), Markup::default());
    }
}
