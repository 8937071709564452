//! What `/proc` says about processes.

use std::fs;
use std::io;

/// What is needed of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter: `R`, `S`, `Z` and so on.
    pub state: u8,
    /// Parent.
    pub parent: i32,
    /// Session.
    pub session: i32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

/// The status of `pid`; `None` when there is no such process.
pub fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command is in parentheses and may contain anything, spaces and parentheses too.
    let after = &text[text.iter().rposition(|byte| *byte == b')')? + 1..];
    let fields: Vec<&str> = std::str::from_utf8(after).ok()?.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// How far a recorded start time may be from the real one, in clock ticks: records are made from the clock right after the start.
pub const START_TICKS_TOLERANCE: u64 = 3;

/// Whether `pid` is the process that started at `start_ticks` and has not ended (a zombie has).
pub fn is_alive(pid: i32, start_ticks: u64) -> bool {
    pid > 0
        && stat(pid).is_some_and(|stat| {
            !matches!(stat.state, b'Z' | b'X') && stat.start_ticks.abs_diff(start_ticks) <= START_TICKS_TOLERANCE
        })
}

/// Every process: pid and status.
pub fn all() -> Vec<(i32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Whether the process was started with exactly this environment variable, `NAME=value`. False where that cannot be seen.
pub fn has_variable(pid: i32, variable: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable))
}

/// Direct children of a (single-threaded) process that is this one.
pub fn own_children() -> Vec<i32> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(text) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // The kernel was built without that file.
        Err(_) => all().into_iter().filter(|(_, stat)| stat.parent == own).map(|(pid, _)| pid).collect(),
    }
}

/// All descendants of `roots` (which are left out), parents before children.
pub fn descendants(roots: &[i32]) -> Vec<i32> {
    let processes = all();
    let mut found: Vec<i32> = Vec::new();
    let mut next = roots.to_vec();
    while let Some(parent) = next.pop() {
        for (pid, stat) in &processes {
            if stat.parent == parent && !found.contains(pid) && !roots.contains(pid) {
                found.push(*pid);
                next.push(*pid);
            }
        }
    }
    found
}

/// Name of this boot of the machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Start time of this process in clock ticks since boot.
pub fn own_start_ticks() -> u64 {
    stat(rustix::process::getpid().as_raw_nonzero().get()).map_or(0, |stat| stat.start_ticks)
}

/// Protects this process from the OOM killer, or exposes it: -1000 never, 1000 first. Lowering takes rights; without them nothing changes.
pub fn set_oom_score(score: i32) -> bool {
    fs::write("/proc/self/oom_score_adj", score.to_string()).is_ok()
}
