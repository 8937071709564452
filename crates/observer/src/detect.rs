//! Finding tasks on a disk (spec executor 4.2): a Mesos agent's run directories, with checkpoints of ours or of Thermos in them; the run
//! directories of an embedded engine; and plain Thermos roots. Names only: what lies there is read by [`crate::store`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use checkpoint::layout::{CHECKPOINT, EngineDirectory, RunDirectory};

/// A directory in which tasks are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Work directory of a Mesos agent.
    Mesos(PathBuf),
    /// Directory of an embedded engine.
    Engine(PathBuf),
    /// Checkpoint root of Thermos.
    Thermos(PathBuf),
}

impl Root {
    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Mesos(path) | Self::Engine(path) | Self::Thermos(path) => path,
        }
    }
}

/// Where one task lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A run directory with our checkpoint in it.
    Run(PathBuf),
    /// A Thermos checkpoint root, and the task's id in it.
    Thermos {
        /// The root.
        root: PathBuf,
        /// Id of the task.
        task_id: String,
        /// Whether it is listed as finished.
        is_finished: bool,
    },
}

impl Place {
    /// The file that grows while the task goes on.
    pub fn stream(&self) -> PathBuf {
        match self {
            Self::Run(run) => run.join(CHECKPOINT),
            Self::Thermos { root, task_id, .. } => root.join("checkpoints").join(task_id).join("runner"),
        }
    }

    /// The same task where it lies now: one that was listed as active may be listed as finished since.
    pub fn now(self) -> Self {
        match self {
            Self::Thermos { root, task_id, is_finished: false } => {
                let is_finished = root.join("tasks").join("finished").join(&task_id).exists();
                Self::Thermos { root, task_id, is_finished }
            }
            other => other,
        }
    }

    /// The file whose change dates the task in lists.
    pub fn dated_by(&self) -> PathBuf {
        match self {
            Self::Run(run) => run.join(CHECKPOINT),
            Self::Thermos { root, task_id, is_finished } => {
                root.join("tasks").join(if *is_finished { "finished" } else { "active" }).join(task_id)
            }
        }
    }

    /// When that file changed last.
    pub fn changed(&self) -> Option<SystemTime> {
        fs::metadata(self.dated_by()).ok()?.modified().ok()
    }
}

/// Every task below `root`. What cannot be read is passed over: agents collect directories at any moment.
pub fn places(root: &Root) -> Vec<Place> {
    let mut found = Vec::new();
    match root {
        Root::Mesos(work_dir) => {
            for agent in directories(&work_dir.join("slaves")) {
                for framework in directories(&agent.join("frameworks")) {
                    for executor in directories(&framework.join("executors")) {
                        for run in directories(&executor.join("runs")) {
                            in_run_directory(run, &mut found);
                        }
                    }
                }
            }
        }
        Root::Engine(engine) => {
            let engine = EngineDirectory::new(engine);
            for agent in directories(&engine.agents()) {
                for run in directories(&agent.join("tasks")) {
                    in_run_directory(run, &mut found);
                }
            }
        }
        Root::Thermos(path) => in_thermos_root(path, &mut found),
    }
    found
}

fn in_run_directory(run: PathBuf, found: &mut Vec<Place>) {
    if RunDirectory::new(&run).checkpoint().is_file() {
        found.push(Place::Run(run));
        return;
    }
    let checkpoints = run.join("checkpoints");
    if fs::symlink_metadata(&checkpoints).is_ok_and(|metadata| metadata.is_dir()) {
        in_thermos_root(&checkpoints, found);
    }
}

/// A task listed as finished is finished, even while it is still listed as active.
fn in_thermos_root(root: &Path, found: &mut Vec<Place>) {
    let begin = found.len();
    for (folder, is_finished) in [("finished", true), ("active", false)] {
        let Ok(entries) = fs::read_dir(root.join("tasks").join(folder)) else { continue };
        for entry in entries.flatten() {
            let Ok(task_id) = entry.file_name().into_string() else { continue };
            let known = |place: &Place| matches!(place, Place::Thermos { task_id: other, .. } if *other == task_id);
            if entry.file_type().is_ok_and(|kind| kind.is_file()) && !found[begin..].iter().any(known) {
                found.push(Place::Thermos { root: root.to_owned(), task_id, is_finished });
            }
        }
    }
}

/// Directories in `path`, sorted; links (such as `latest`) are not followed.
fn directories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn runs_of_either_kind_are_found_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("slaves/s/frameworks/f/executors/e/runs");
        file(&runs.join("ours/checkpoint"));
        file(&runs.join("theirs/checkpoints/tasks/active/t1"));
        file(&runs.join("theirs/checkpoints/tasks/finished/t1"));
        file(&runs.join("theirs/checkpoints/tasks/active/t2"));
        fs::create_dir_all(runs.join("empty")).unwrap();
        std::os::unix::fs::symlink(runs.join("ours"), runs.join("latest")).unwrap();
        let found = places(&Root::Mesos(folder.path().to_owned()));
        let theirs = runs.join("theirs/checkpoints");
        assert_eq!(
            found,
            [
                Place::Run(runs.join("ours")),
                Place::Thermos { root: theirs.clone(), task_id: "t1".into(), is_finished: true },
                Place::Thermos { root: theirs.clone(), task_id: "t2".into(), is_finished: false },
            ]
        );
        assert_eq!(found[1].dated_by(), theirs.join("tasks/finished/t1"));
        assert_eq!(found[2].stream(), theirs.join("checkpoints/t2/runner"));
    }

    #[test]
    fn an_engine_of_ours_and_a_missing_root() {
        let folder = tempfile::tempdir().unwrap();
        file(&folder.path().join("agents/one/tasks/t/checkpoint"));
        assert_eq!(
            places(&Root::Engine(folder.path().to_owned())),
            [Place::Run(folder.path().join("agents/one/tasks/t"))]
        );
        assert!(places(&Root::Thermos(folder.path().join("nothing"))).is_empty());
    }
}
