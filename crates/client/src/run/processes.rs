//! Finding and ending the processes of a private cluster: its daemon, launcher, supervisors and tasks, even those that were orphaned by a
//! `kill -9`. A process belongs to the cluster when its environment names the cluster's directory, or when one of its ancestors does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Variables that hold the directory only because somebody stands in it; a user's shell there must live.
const STANDING_THERE: [&[u8]; 3] = [b"PWD", b"OLDPWD", b"_"];
/// How often the search is repeated: a process may fork while it is looked for.
const ROUNDS: usize = 50;
const ROUND_PAUSE: Duration = Duration::from_millis(20);

/// What `/proc` says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    is_marked: bool,
}

/// Kills every process of the cluster in `directory` and returns how many there were; false in the second place when some would not go.
///
/// They are stopped first: a stopped parent neither forks nor dies, so its children are still found as its children.
pub fn kill_all(directory: &Path) -> (usize, bool) {
    let mut members = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = find(directory);
        if found.is_subset(&members) {
            break;
        }
        for pid in found.difference(&members) {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGSTOP);
        }
        members.extend(found);
    }
    for _ in 0..ROUNDS {
        let found = find(directory);
        if found.is_empty() {
            return (members.len(), true);
        }
        for pid in &found {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        members.extend(found);
        std::thread::sleep(ROUND_PAUSE);
    }
    (members.len(), false)
}

/// Pids of the cluster's processes, without this one and its ancestors.
pub fn find(directory: &Path) -> BTreeSet<i32> {
    let processes = read_all(directory.as_os_str().as_bytes());
    let mut own = BTreeSet::new();
    let mut pid = std::process::id() as i32;
    while pid > 0 && own.insert(pid) {
        pid = processes.get(&pid).map_or(0, |process| process.parent);
    }
    belonging(&processes).difference(&own).copied().collect()
}

/// Marked processes and all their descendants.
fn belonging(processes: &BTreeMap<i32, Process>) -> BTreeSet<i32> {
    let mut members: BTreeSet<i32> =
        processes.iter().filter(|(_, process)| process.is_marked).map(|(pid, _)| *pid).collect();
    loop {
        let children: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| members.contains(&process.parent) && !members.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            return members;
        }
        members.extend(children);
    }
}

fn read_all(directory: &[u8]) -> BTreeMap<i32, Process> {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let path = entry.path();
        let Some((parent, is_zombie)) = std::fs::read(path.join("stat")).ok().and_then(|stat| parent_of(&stat)) else {
            continue;
        };
        if is_zombie {
            continue;
        }
        // Unreadable means another user's: not ours.
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        processes.insert(pid, Process { parent, is_marked: names_directory(&environment, directory) });
    }
    processes
}

/// Parent and whether the process is dead already, from `/proc/<pid>/stat`. The name may hold blanks and brackets, so count from its end.
fn parent_of(stat: &[u8]) -> Option<(i32, bool)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    Some((fields.next()?.parse().ok()?, matches!(state, "Z" | "X")))
}

/// Whether a variable's value is the directory or lies beneath it.
fn names_directory(environment: &[u8], directory: &[u8]) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { return false };
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        if STANDING_THERE.contains(&name) {
            return false;
        }
        let Some(rest) = value.strip_prefix(directory) else { return false };
        rest.is_empty() || rest.starts_with(b"/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent_of(b"12 (sh) S 7 12 12 0 -1"), Some((7, false)));
        assert_eq!(parent_of(b"12 (a) b) c) Z 9 1"), Some((9, true)));
        assert_eq!(parent_of(b"nonsense"), None);
    }

    #[test]
    fn standing_in_the_directory_is_not_belonging() {
        let directory = b"/tmp/run/x".as_slice();
        assert!(names_directory(b"A=1\0HOME=/tmp/run/x/sandbox\0", directory));
        assert!(names_directory(b"DAYBREAK_RUN_DIRECTORY=/tmp/run/x\0", directory));
        assert!(!names_directory(b"PWD=/tmp/run/x/sandbox\0OLDPWD=/tmp/run/x\0", directory));
        assert!(!names_directory(b"HOME=/tmp/run/xy\0", directory));
        assert!(!names_directory(b"", directory));
    }

    #[test]
    fn orphans_and_their_children_are_killed_and_bystanders_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("60").env("PWD", directory.path()).spawn().unwrap();
        // The first child wipes its environment: it is known only by its parent, who is killed as well.
        let script = "env -i sleep 61 & sleep 62 & wait";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .env("DAYBREAK_RUN_DIRECTORY", directory.path())
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while find(directory.path()).len() < 3 {
            assert!(std::time::Instant::now() < deadline, "{:?}", find(directory.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let (count, all_gone) = kill_all(directory.path());
        assert!(count >= 3 && all_gone, "{count}");
        shell.wait().unwrap();
        assert!(find(directory.path()).is_empty());
        assert!(bystander.try_wait().unwrap().is_none(), "the bystander lives");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
