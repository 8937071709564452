//! The engine that runs tasks on an Apache Mesos cluster: a framework over the v1 HTTP scheduler API, in protobuf.
//!
//! It translates the scheduler's calls and the master's events, keeps the subscription alive, and decides nothing: when to reconcile,
//! suppress, revive, kill, hold or decline is the scheduler's to say. Knows no jobs, updates or cron.
//!
//! - `address`, `masters`, `backoff`: which master to try next, and when.
//! - `http`, `tls`: connections, requests, responses.
//! - `session`, `worker`: one subscription, and the thread that makes one after the other.
//! - `calls`, `events`, `status`: the translation; `offers`, `cut`, `tasks`: what becomes of an offer.
//! - [`Directory`]: what readers of sandboxes need to know; [`MesosFiles`] is that reader.
//!
//! One thread does all of it; [`engine::Engine::call`] only puts calls into its queue. The scheduler's inbox may make that thread wait: the
//! stream is then not read, the master's data waits in the socket, and no heartbeat counts as missed, because only waiting for the socket
//! is timed.

mod address;
mod backoff;
mod calls;
mod core;
mod credentials;
mod cut;
mod directory;
mod events;
mod files;
mod http;
mod masters;
mod offers;
mod options;
mod repetition;
mod session;
mod statistics;
mod status;
mod tasks;
mod tls;
mod worker;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use ::engine::{Call, Engine, EventSink};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

pub use address::{AddressError, Master};
pub use credentials::{Credentials, CredentialsError};
pub use directory::{AgentAddress, Directory};
pub use files::{Locate, MesosFiles, Placed};
pub use options::{CommandTask, Framework, Options, Timing, Tls};
pub use statistics::Statistics;
pub use tasks::ExecutorError;
pub use tls::TlsError;

use crate::core::Core;
use masters::Masters;
use session::Wire;
use tasks::Tasks;
use worker::Command;

/// Launches that may wait before the scheduler is asked to hold back: enough for the master never to be idle, and few enough for the
/// updates that they bring to be taken before agents send them again.
const LAUNCHES_WAITING_MAX: i64 = 4096;

/// Why the engine does not start; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The masters' addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The address of ZooKeeper.
    #[error(transparent)]
    Zookeeper(#[from] discovery::UrlError),
    /// The framework's description.
    #[error("this framework cannot be registered: {0}")]
    Framework(String),
    /// An executor's description.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// Certificates.
    #[error("TLS to Mesos masters: {0}")]
    Tls(#[from] TlsError),
    /// The system gives no thread.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
}

/// The engine. Dropping it closes the subscription; tasks go on, and masters wait for the failover timeout.
#[derive(Debug)]
pub struct MesosEngine {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
    statistics: Arc<Statistics>,
    directory: Arc<Directory>,
}

/// What can be asked of a running engine from anywhere.
#[derive(Clone, Debug)]
pub struct Control {
    commands: UnboundedSender<Command>,
}

impl MesosEngine {
    /// Checks the settings and starts the engine's thread, which waits for [`MesosEngine::begin`]. Events go to `sink`.
    pub fn start(options: Options, sink: Arc<dyn EventSink>) -> Result<Self, StartError> {
        options.framework.check().map_err(StartError::Framework)?;
        let tasks =
            Tasks::new(&options.executors, options.discovery_location.clone())?.with_commands(&options.commands);
        let tasks = tasks.with_root_in_docker(&options.executors_that_change_user);
        let masters = Masters::start(&options)?;
        let wire = Wire {
            tls: tls::client_config(&options.tls, options.tls.enabled || masters.use_tls())?,
            authorization: options.credentials.as_ref().map(Credentials::basic),
        };
        let statistics = Arc::new(Statistics::default());
        let directory = Arc::new(Directory::new(&options.executors));
        let (commands, receiver) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let parts = (Arc::clone(&statistics), Arc::clone(&directory));
        let thread = std::thread::Builder::new()
            .name("engine-mesos".to_owned())
            .spawn(move || {
                let told = Arc::clone(&sink);
                let work = AssertUnwindSafe(|| {
                    let core = Core::new(options, sink, parts.0, parts.1, tasks);
                    runtime.block_on(worker::run(core, wire, masters, receiver));
                });
                // A scheduler whose engine died in silence would wait for ever.
                if catch_unwind(work).is_err() {
                    let reason =
                        "a fault inside the Mesos engine ended it; tasks go on, and a new start takes them up again";
                    told.send(::engine::Event::Deposed { reason: reason.to_owned() });
                }
                // A name that is still being resolved must not hold up the end.
                runtime.shutdown_background();
            })
            .map_err(StartError::Thread)?;
        Ok(Self { commands, thread: Some(thread), statistics, directory })
    }

    /// Begins to subscribe: with the id that an earlier [`engine::Event::Registered`] gave, once the state is recovered, or as a new
    /// framework. Later calls do nothing.
    pub fn begin(&self, framework_id: Option<String>) {
        let _ = self.commands.send(Command::Begin(framework_id));
    }

    /// Counters and gauges.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// What readers of sandboxes need to know.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { commands: self.commands.clone() }
    }
}

impl Control {
    /// As [`MesosEngine::begin`], for those who have given the engine away.
    pub fn begin(&self, framework_id: Option<String>) {
        let _ = self.commands.send(Command::Begin(framework_id));
    }

    /// Ends the framework: Mesos kills all its tasks and never takes its id again. False when the master did not take the wish in time,
    /// or there is no subscription; nothing has happened then as far as is known. Waits; not for async code.
    pub fn teardown(&self, limit: Duration) -> bool {
        let (answer, mut answered) = oneshot::channel();
        if self.commands.send(Command::Teardown(answer)).is_err() {
            return false;
        }
        let deadline = std::time::Instant::now() + limit;
        loop {
            match answered.try_recv() {
                Ok(taken) => return taken,
                Err(oneshot::error::TryRecvError::Closed) => return false,
                Err(oneshot::error::TryRecvError::Empty) if std::time::Instant::now() >= deadline => return false,
                Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Engine for MesosEngine {
    fn call(&mut self, epoch: u64, calls: Vec<Call>) {
        Statistics::add(&self.statistics.mesos_launches_waiting, calls.iter().map(worker::launches_of).sum());
        // The thread ends before this only if nobody listens to it any more.
        let _ = self.commands.send(Command::Calls(epoch, calls));
    }

    fn is_congested(&self) -> bool {
        self.statistics.mesos_launches_waiting.load(Ordering::Relaxed) >= LAUNCHES_WAITING_MAX
    }
}

impl Drop for MesosEngine {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        // It may be waiting for an inbox that nobody empties any more: it is not waited for.
        drop(self.thread.take());
    }
}
