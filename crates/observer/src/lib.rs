//! What the Thermos observer showed: the tasks on an agent's disk, their processes, logs and sandboxes, as pages and as JSON (spec executor
//! part 4). Everything is rebuilt from disk; nothing is ever written, and no task is touched.
//!
//! - [`detect`]: where tasks lie under a Mesos agent's work directory, an embedded engine's and a Thermos root.
//! - [`store`]: the tasks found, read again only when they changed.
//! - [`sample`]: processor, memory and disk of running tasks.
//! - [`logs`]: pieces of logs and sandbox files.
//! - [`json`], [`pages`], [`http`]: what is served.

pub mod detect;
pub mod http;
pub mod json;
pub mod logs;
pub mod pages;
pub mod sample;
pub mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What an observer is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Directories in which tasks are looked for.
    pub roots: Vec<detect::Root>,
    /// How often they are looked for.
    pub polling_interval: Duration,
    /// How often processes are measured; `None` measures nothing, not the disk either.
    pub process_interval: Option<Duration>,
    /// How often sandboxes are measured.
    pub disk_interval: Duration,
}

impl Options {
    /// The defaults of the original: port 1338 on every address, the agent's usual work directory (spec executor 4.1).
    pub fn new(roots: Vec<detect::Root>) -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 1338)),
            roots,
            polling_interval: Duration::from_secs(5),
            process_interval: Some(Duration::from_secs(20)),
            disk_interval: Duration::from_secs(60),
        }
    }
}

/// Why an observer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}. Is an observer running already? Choose another port with --port")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The system refused something basic.
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// There is nowhere to look.
    #[error(
        "none of the directories {0} exists. Name the agent's work directory with --mesos-root, or the state directory of a \
         daemon with --state-dir"
    )]
    NoRoot(String),
}

/// Serves until the process is ended. `ready` is told the address once it is listened on.
pub fn run(options: Options, ready: impl FnOnce(SocketAddr)) -> Result<(), StartError> {
    if !options.roots.iter().any(|root| root.path().is_dir()) {
        let named: Vec<String> = options.roots.iter().map(|root| root.path().display().to_string()).collect();
        return Err(StartError::NoRoot(named.join(", ")));
    }
    let listener =
        std::net::TcpListener::bind(options.listen).map_err(|error| StartError::Listen(options.listen, error))?;
    listener.set_nonblocking(true).map_err(|error| StartError::System("preparing the socket", error))?;
    let address = listener.local_addr().map_err(|error| StartError::System("reading the address", error))?;
    let observer = Arc::new(store::Store::new(options.roots.clone()));
    observer.refresh();
    sample::start(&observer, &options).map_err(|error| StartError::System("starting a thread", error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| StartError::System("starting threads", error))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| StartError::System("preparing the socket", error))?;
        ready(address);
        axum::serve(listener, http::router(observer)).await.map_err(|error| StartError::System("serving", error))
    })
}

/// The agent's usual work directory (spec executor 4.1).
pub fn default_mesos_root() -> PathBuf {
    PathBuf::from("/var/lib/mesos")
}
