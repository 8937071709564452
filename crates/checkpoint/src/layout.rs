//! Where things lie on an agent's disk. Paths only: nothing here opens or creates a file.
//!
//! ```text
//! <engine directory>/                 EngineDirectory
//!   launcher.sock                     where the launcher listens
//!   launcher.lock                     locked by the living launcher
//!   launcher.log                      what the launcher and its supervisors have to say
//!   epoch                             the highest epoch an engine has used, decimal
//!   acknowledged                      ids of the tasks whose end is stored elsewhere, one a line
//!   containers                        there once a task has had containers; the value of DOCKER_HOST then
//!   agents/<agent>/tasks/<task>/      RunDirectory: created exclusively, which is the start token of a task
//!     checkpoint                      the records of the run (mode 0600)
//!     disk_usage                      bytes the sandbox took when it was last measured, decimal
//!     container_started               there once the task's container has started
//!     out_of_memory                   there once Docker has killed something of the task for want of memory
//!     sandbox/                        working directory and HOME of the processes (mode 0700, owned by their user)
//!       .logs/<process>/<run>/stdout  and stderr; rotated ones are stdout.1 (newest) and up
//! ```
//!
//! Under Mesos the agent makes the run directory (`MESOS_DIRECTORY`); inside it the same names hold.

use std::path::{Path, PathBuf};

/// Folder of the processes' output, inside a sandbox (spec executor 1.8).
pub const LOGS: &str = ".logs";
/// File that bash sources before each command line, inside a sandbox (spec executor 1.7).
pub const PROFILE: &str = ".thermos_profile";
/// Name of the sandbox inside a run directory (spec executor 1.9).
pub const SANDBOX: &str = "sandbox";
/// Name of the record stream inside a run directory.
pub const CHECKPOINT: &str = "checkpoint";
/// File with the last measured size of the sandbox, inside a run directory.
pub const DISK_USAGE: &str = "disk_usage";

/// File that says that a task's container has started, inside a run directory.
pub const CONTAINER_STARTED: &str = "container_started";
/// File that says that Docker has killed something of the task for want of memory, inside a run directory.
pub const OUT_OF_MEMORY: &str = "out_of_memory";

/// The two output streams of a process that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// The file name of the current (not rotated) log.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Directory of an embedded engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineDirectory {
    root: PathBuf,
}

impl EngineDirectory {
    /// The engine directory at `root`, which should be absolute: processes change their working directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The launcher's socket. Unix sockets have names of at most 107 bytes; see [`crate::protocol`].
    pub fn launcher_socket(&self) -> PathBuf {
        self.root.join("launcher.sock")
    }

    /// The file the living launcher holds a lock on; it contains its pid.
    pub fn launcher_lock(&self) -> PathBuf {
        self.root.join("launcher.lock")
    }

    /// What the launcher and its supervisors have to say.
    pub fn launcher_log(&self) -> PathBuf {
        self.root.join("launcher.log")
    }

    /// The highest epoch an engine has used here.
    pub fn epoch(&self) -> PathBuf {
        self.root.join("epoch")
    }

    /// Ids of tasks whose terminal status was acknowledged.
    pub fn acknowledged(&self) -> PathBuf {
        self.root.join("acknowledged")
    }

    /// Where it is noted that tasks of this directory may have containers, with the value of `DOCKER_HOST`.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Folder that holds one folder for each agent identity.
    pub fn agents(&self) -> PathBuf {
        self.root.join("agents")
    }

    /// Folder of the run directories of one agent.
    pub fn tasks(&self, agent_id: &str) -> PathBuf {
        self.agents().join(agent_id).join("tasks")
    }

    /// The run directory of one task.
    pub fn run(&self, agent_id: &str, task_id: &str) -> RunDirectory {
        RunDirectory::new(self.tasks(agent_id).join(task_id))
    }
}

/// The directory of one run of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// The run directory at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record stream.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join(CHECKPOINT)
    }

    /// The last measured size of the sandbox; absent until it was measured (see [`crate::disk`]).
    pub fn disk_usage(&self) -> PathBuf {
        self.root.join(DISK_USAGE)
    }

    /// The sandbox: working directory and HOME of the processes.
    pub fn sandbox(&self) -> PathBuf {
        self.root.join(SANDBOX)
    }

    /// Folder of all output: `<process>/<run>/stdout` below it.
    pub fn logs(&self) -> PathBuf {
        self.sandbox().join(LOGS)
    }

    /// Folder of the output of one run of one process; runs count from 0.
    pub fn process_logs(&self, process: &str, run: u32) -> PathBuf {
        self.logs().join(process).join(run.to_string())
    }

    /// The current log of one stream of one run of one process.
    pub fn log(&self, process: &str, run: u32, stream: OutputStream) -> PathBuf {
        self.process_logs(process, run).join(stream.file_name())
    }

    /// The profile that bash sources when it exists.
    pub fn profile(&self) -> PathBuf {
        self.sandbox().join(PROFILE)
    }
}

/// Folder of a task's own files below a checkpoint root of Thermos (spec executor 1.9); for a task that our runner runs, its run
/// directory.
pub fn below_thermos_root(root: &Path, task_id: &str) -> PathBuf {
    root.join("checkpoints").join(task_id)
}

/// First argument with which this program is told to be the runner of one task. Its standard input is the socket of whoever wants that.
pub const RUNNER_ARGUMENT: &str = "__thermos-runner";

/// Whether `name` may be used as one path segment of this layout: not empty, at most 255 bytes, no `/`, no NUL, and not
/// starting with `.` (which also keeps out `.` and `..`).
pub fn is_safe_segment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.bytes().any(|byte| byte == b'/' || byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_run_follow_the_documented_tree() {
        let run = EngineDirectory::new("/var/lib/daybreak/local").run("agent-0", "t1");
        assert_eq!(run.root(), Path::new("/var/lib/daybreak/local/agents/agent-0/tasks/t1"));
        assert_eq!(
            run.log("hello", 2, OutputStream::Stderr),
            Path::new("/var/lib/daybreak/local/agents/agent-0/tasks/t1/sandbox/.logs/hello/2/stderr")
        );
        assert_eq!(run.checkpoint(), run.root().join("checkpoint"));
    }

    #[test]
    fn segments_that_leave_the_tree_are_unsafe() {
        for bad in ["", ".", "..", ".hidden", "a/b", "/", "a\0b", &"x".repeat(256)] {
            assert!(!is_safe_segment(bad), "{bad:?}");
        }
        for good in ["a", "www-data-prod-hello-0-uuid", "a b", "é"] {
            assert!(is_safe_segment(good), "{good:?}");
        }
    }
}
