//! What watches a task while its processes run, and may say that it is not running yet, that it is, or that it must end (spec executor
//! 2.5): its health checks and its announcer. Each watcher is a [`Source`] that the supervisor's loop drives; none of them may block.
//!
//! Not here: what happens to a task that must end; that is the supervisor's.

mod announced;
mod background;
mod health;
mod http_probe;
mod shell_probe;
mod started;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use checkpoint::protocol::Launch;
use model::process::Payload;
use model::process::health::{ASSUMED_HEALTHY, Opinion, combine};

use crate::supervisor::Surroundings;
use crate::system::spawn::Identity;
use crate::system::wait::Exit;

pub(crate) use background::Background;
pub(crate) use http_probe::{ask_to_end, signaler_timeout};

/// Port that is probed and asked by HTTP unless another one is named (spec executor 2.6).
pub(crate) const HEALTH_PORT: &str = "health";

/// A watcher of one task. Made when the task starts, before its processes; driven until the task is to end.
pub(crate) trait Source {
    /// What it holds of the task now; `None` when it has no opinion. Must be cheap: it is asked after every event.
    fn opinion(&self) -> Option<Opinion>;

    /// Does what is due. Called after every event of the supervisor; must not block.
    fn work(&mut self, tools: &Tools<'_>, now_ms: u64);

    /// When [`Source::work`] should be called at the latest, monotonic milliseconds.
    fn next_wake_ms(&self) -> Option<u64>;

    /// Descriptors whose readability asks for [`Source::work`].
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// A child of the supervisor has ended, and is a zombie still. Returns whether it was this watcher's, which then lets it go.
    fn on_exit(&mut self, _exit: &Exit, _now_ms: u64) -> bool {
        false
    }

    /// The task is to end: gives up what the watcher has taken on. Called once at most, and nothing but [`Source::is_stopped`] after it.
    fn stop(&mut self);

    /// Whether nothing of the watcher is left. Processes of the task are asked to end only then, or after a bounded wait.
    fn is_stopped(&self) -> bool {
        true
    }

    /// A process of the watcher's own, which is not the task's: the task's end leaves it the time to end by itself.
    fn process(&self) -> Option<i32> {
        None
    }

    /// A line for the log about what the watcher has done.
    fn summary(&self) -> Option<String> {
        None
    }
}

/// What a watcher may need of the supervisor.
pub(crate) struct Tools<'a> {
    pub(crate) surroundings: &'a Surroundings,
    /// User of the task's processes, when that is another one than the supervisor's.
    pub(crate) owner: Option<&'a Identity>,
}

/// What a watcher may know of its task.
pub(crate) struct Facts<'a> {
    pub(crate) launch: &'a Launch,
    /// The payload with its templates filled in.
    pub(crate) payload: &'a Payload,
    /// Assigned ports and those of the announcer's map (spec executor 2.9).
    pub(crate) ports: &'a BTreeMap<String, u32>,
    pub(crate) sandbox: &'a OwnedFd,
    /// Environment of the task's processes, without a profile.
    pub(crate) environment: &'a [CString],
}

/// The watchers that a task needs, in the order in which they are heard. Most tasks need none.
pub(crate) fn sources(facts: &Facts<'_>) -> Result<Vec<Box<dyn Source>>, String> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(started) = started::StartedSource::of(facts)? {
        // Nothing else is known of what goes on in containers that do what their images say.
        return Ok(vec![Box::new(started)]);
    }
    if let Some(health) = health::HealthSource::of(facts)? {
        sources.push(Box::new(health));
    }
    if let Some(announced) = announced::AnnouncedSource::of(facts)? {
        sources.push(Box::new(announced));
    }
    Ok(sources)
}

/// The watchers of a task together.
#[derive(Default)]
pub(crate) struct Watch {
    sources: Vec<Box<dyn Source>>,
    /// Once one was against the task nobody is asked again (spec executor 2.5).
    failed: Option<String>,
    stopping: bool,
}

impl Watch {
    pub(crate) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        Self { sources, failed: None, stopping: false }
    }

    /// Whether there is anybody who watches.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Does what is due and returns what follows for the task; `None` once the watchers were told to stop.
    pub(crate) fn work(&mut self, tools: &Tools<'_>, now_ms: u64) -> Option<Opinion> {
        if self.stopping {
            return None;
        }
        if let Some(message) = &self.failed {
            return Some(Opinion::Failed(message.clone()));
        }
        for source in &mut self.sources {
            source.work(tools, now_ms);
        }
        let opinion = combine(self.sources.iter().map(|source| source.opinion()));
        if let Some(Opinion::Failed(message)) = &opinion {
            self.failed = Some(message.clone());
        }
        // Watchers without an opinion, such as the announcer, leave the task as it is without any.
        Some(opinion.unwrap_or_else(|| Opinion::Running(ASSUMED_HEALTHY.to_owned())))
    }

    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        if self.stopping {
            return None;
        }
        self.sources.iter().filter_map(|source| source.next_wake_ms()).min()
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().flat_map(|source| source.descriptors())
    }

    pub(crate) fn on_exit(&mut self, exit: &Exit, now_ms: u64) -> bool {
        self.sources.iter_mut().any(|source| source.on_exit(exit, now_ms))
    }

    /// Processes that are the watchers' and not the task's.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.sources.iter().filter_map(|source| source.process()).collect()
    }

    /// Stops all watchers, once; returns what they have to say about their work.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        if self.stopping {
            return Vec::new();
        }
        self.stopping = true;
        self.sources
            .iter_mut()
            .filter_map(|source| {
                source.stop();
                source.summary()
            })
            .collect()
    }

    /// Whether all watchers have stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.sources.iter().all(|source| source.is_stopped())
    }
}
