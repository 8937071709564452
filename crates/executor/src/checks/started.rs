//! A container that has started, or a project of them: the process that runs it says so by a file (spec executor 5.8, 6.5).

use std::os::fd::OwnedFd;

use checkpoint::layout::CONTAINER_STARTED;
use checkpoint::protocol::{ContainerKind, Containers};
use model::process::health::Opinion;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{Facts, Source, Tools};

/// How long containers may take to start, images and all, milliseconds (spec executor 6.3, `timeout`).
const START_MS_MAX: u64 = 500_000;
/// How often the file is looked for, milliseconds.
const LOOK_MS: u64 = 100;

/// The file as a watcher.
pub(crate) struct StartedSource {
    folder: OwnedFd,
    name: &'static str,
    is_there: bool,
    deadline_ms: Option<u64>,
    next_ms: u64,
    failed: bool,
}

impl StartedSource {
    /// The watcher of this task; `None` when its processes are its own.
    pub(crate) fn of(facts: &Facts<'_>) -> Result<Option<Self>, String> {
        let folder = |path: &str| {
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| format!("{path}: {error}"))
        };
        let (folder, name) = match facts.launch.containers.as_ref().map(Containers::kind) {
            Some(ContainerKind::Alone) => (folder(&facts.launch.run_directory)?, CONTAINER_STARTED),
            Some(ContainerKind::Compose) => {
                let sandbox = facts.sandbox.try_clone().map_err(|error| error.to_string())?;
                (sandbox, compose::RUNNING_MARKER)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { folder, name, is_there: false, deadline_ms: None, next_ms: 0, failed: false }))
    }
}

impl Source for StartedSource {
    fn opinion(&self) -> Option<Opinion> {
        if self.failed {
            return Some(Opinion::Failed(format!("No container has started within {} s.", START_MS_MAX / 1000)));
        }
        Some(match self.is_there {
            true => Opinion::Running("The container has started.".to_owned()),
            false => Opinion::Starting,
        })
    }

    fn work(&mut self, _tools: &Tools<'_>, now_ms: u64) {
        if self.is_there || self.failed || now_ms < self.next_ms {
            return;
        }
        let deadline_ms = *self.deadline_ms.get_or_insert(now_ms + START_MS_MAX);
        self.next_ms = now_ms + LOOK_MS;
        self.is_there = rustix::fs::statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        self.failed = !self.is_there && now_ms >= deadline_ms;
    }

    fn next_wake_ms(&self) -> Option<u64> {
        (!self.is_there && !self.failed).then_some(self.next_ms)
    }

    fn stop(&mut self) {}
}
