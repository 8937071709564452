//! What the daemon's pages say about a task's processes and logs. Schedulers that are not Daybreak have no such pages; then nothing is known.

use serde::Deserialize;

use thrift::ScheduledTask;

use crate::scheduler::{Page, Scheduler};

/// How much of the end of a log is read to find its last lines.
const TAIL_BYTES: u64 = 16 << 10;

/// `GET /files/<task id>`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct TaskFiles {
    /// User its processes run as.
    #[serde(default)]
    pub user: Option<String>,
    /// Processes in declaration order.
    #[serde(default)]
    pub processes: Vec<Process>,
}

/// A process of a task.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Process {
    /// Name.
    pub name: String,
    /// Runs, oldest first.
    #[serde(default)]
    pub runs: Vec<Run>,
}

/// A run of a process.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Run {
    /// Number, from 0.
    pub run: u32,
    /// State, e.g. `FAILED`.
    #[serde(default)]
    pub state: String,
    /// Exit status; -n for signal n.
    #[serde(default, alias = "returnCode")]
    pub return_code: Option<i32>,
}

/// A process that made its task fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedProcess {
    /// Name.
    pub process: String,
    /// How it ended, e.g. `exited with 1`.
    pub ending: String,
    /// Last lines of its stderr, oldest first.
    pub stderr: Vec<String>,
}

/// Processes and runs of a task, if the daemon knows.
pub fn processes(scheduler: &mut Scheduler<'_>, task_id: &str) -> Option<TaskFiles> {
    let page = scheduler.get(&format!("/files/{}", encode(task_id))).ok()?;
    if page.status != 200 {
        return None;
    }
    serde_json::from_slice(&page.body).ok()
}

/// A piece of a log from `offset`; a negative offset counts from the end.
pub fn log(
    scheduler: &mut Scheduler<'_>,
    task_id: &str,
    process: &str,
    run: u32,
    stream: &str,
    offset: i64,
    limit_bytes: u64,
) -> Option<Page> {
    let (task_id, process) = (encode(task_id), encode(process));
    let path = format!("/files/{task_id}/{process}/{run}/{stream}?offset={offset}&limit={limit_bytes}");
    scheduler.get(&path).ok().filter(|page| page.status == 200)
}

/// The process to blame for a failed task, with the last `count` lines of its stderr.
pub fn failed_process(scheduler: &mut Scheduler<'_>, task_id: &str, count: usize) -> Option<FailedProcess> {
    let files = processes(scheduler, task_id)?;
    let (process, run) = files.processes.iter().find_map(|process| {
        let run = process.runs.last()?;
        (run.state == "FAILED" || run.return_code.is_some_and(|code| code != 0)).then_some((process, run))
    })?;
    let tail = log(scheduler, task_id, &process.name, run.run, "stderr", -(TAIL_BYTES as i64), TAIL_BYTES);
    let stderr = tail.map(|page| last_lines(&page.body, count)).unwrap_or_default();
    Some(FailedProcess { process: process.name.clone(), ending: ending(run.return_code), stderr })
}

/// What ended a failed task when its processes did not: a health check, a limit, a sandbox that could not be made. How they ended then says
/// nothing, for they were killed.
pub fn verdict(task: &ScheduledTask) -> Option<&str> {
    let message = task.task_events.last()?.message.as_deref()?;
    (!message.is_empty() && !message.starts_with("Task failed")).then_some(message)
}

/// An exit status in words.
pub fn ending(return_code: Option<i32>) -> String {
    match return_code {
        Some(code) if code < 0 => format!("was ended by signal {}", -code),
        Some(code) => format!("exited with {code}"),
        None => "ended in an unknown way".into(),
    }
}

/// The last lines of a piece of text; bytes that are no text are replaced, other control characters dropped.
pub fn last_lines(bytes: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| printable(line)).collect()
}

/// Without control characters, which could move the reader's cursor.
pub fn printable(line: &str) -> String {
    line.chars().filter(|c| *c == '\t' || !c.is_control()).collect()
}

/// Percent-encodes a part of a path.
pub fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_a_path() {
        assert_eq!(encode("www-data-devel-a_b-0-1f"), "www-data-devel-a_b-0-1f");
        assert_eq!(encode("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }

    #[test]
    fn last_lines_are_safe_to_print() {
        assert_eq!(last_lines(b"one\ntwo\nthree\n", 2), ["two", "three"]);
        assert_eq!(last_lines(b"\x1b[2Jred\xff\n", 5), ["[2Jred\u{fffd}"]);
        assert!(last_lines(b"", 5).is_empty());
    }

    #[test]
    fn endings_are_words() {
        assert_eq!(ending(Some(1)), "exited with 1");
        assert_eq!(ending(Some(-9)), "was ended by signal 9");
        assert_eq!(ending(None), "ended in an unknown way");
    }
}
