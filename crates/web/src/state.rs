//! What the pages are drawn from: handed in, never looked up. No scheduling state is kept here.

use std::path::PathBuf;
use std::sync::Arc;

use engine::files::{FilesError, TaskFiles};
use futures::future::BoxFuture;
use model::JobConfiguration;
use scheduler::{Command, Principal, Reply, Transition, View};
use tokio::sync::broadcast;

/// Gives the latest frozen view; must not block.
pub type ViewSource = Arc<dyn Fn() -> Arc<View> + Send + Sync>;
/// Gives a new receiver of all transitions from now on.
pub type TransitionSource = Arc<dyn Fn() -> broadcast::Receiver<Arc<Transition>> + Send + Sync>;
/// Hands a command to the gateway and waits for its reply.
pub type Submit = Arc<dyn Fn(Principal, Command) -> BoxFuture<'static, Reply> + Send + Sync>;
/// Makes the job behind the "Run a sample job" button.
pub type SampleJob = Arc<dyn Fn() -> JobConfiguration + Send + Sync>;

/// Everything the pages need. Cheap to clone.
#[derive(Clone)]
pub struct WebState {
    /// Where the frozen view comes from.
    pub view: ViewSource,
    /// Where changes are announced.
    pub follow: TransitionSource,
    /// Where commands go.
    pub submit: Submit,
    /// Processes, logs and sandboxes of tasks. Its calls block on disk and run on the blocking pool.
    pub files: Arc<dyn TaskFiles>,
    /// Name of the engine for people, as in "disconnected from Mesos".
    pub engine: Arc<str>,
    /// Name of the cluster, shown and used in commands to paste.
    pub cluster: Arc<str>,
    /// The running executable, for commands to paste.
    pub executable: Arc<PathBuf>,
    /// The sample job; each call may give the same job key.
    pub sample_job: SampleJob,
    /// The present time in ms since the epoch, for ages and countdowns.
    pub clock: fn() -> i64,
}

impl WebState {
    /// The present time in ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Runs a reading of task files on the blocking pool.
    pub(crate) async fn read_files<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn TaskFiles) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || read(files.as_ref())).await {
            Ok(result) => result,
            Err(failure) => Err(FilesError::Io("files of the task".into(), std::io::Error::other(failure))),
        }
    }
}

/// The wall clock, for [`WebState::clock`].
pub fn wall_clock_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
