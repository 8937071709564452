//! The embedded engine: plays the agent for tasks on this machine. Knows no jobs, updates or cron.
//!
//! - [`machine`]: what the machine has.
//! - `identity`: which agents this machine plays.
//! - `agents`: what is offered and used.
//! - `tasks`: what is known of each task, and which statuses wait for their acknowledgement.
//! - `slots`: supervisors and the tasks that wait for one.
//! - `worker`: the thread that brings these together with the launcher.
//! - `collector`: removes old sandboxes.
//!
//! Processes are started by the launcher, which is another program (or this one under another name); see the crate `executor`. The
//! engine never links it.

mod agents;
mod collector;
mod connection;
mod identity;
pub mod machine;
mod slots;
mod tasks;
mod worker;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use checkpoint::files::DiskFiles;
use checkpoint::layout::{EngineDirectory, is_safe_segment};
use checkpoint::protocol::SOCKET_PATH_BYTES_MAX;
use engine::files::TaskFiles;
use engine::{Call, Engine, EventSink};
use model::task::AURORA_EXECUTOR_NAME;
use model::{CpuMillis, Resources};

use agents::Agent;
pub use identity::Identity;
use identity::{Described, Machine};
use machine::SettingError;
use worker::{Bell, Worker};

/// Settings of the embedded engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the daemon; the engine keeps what it has in `local` below it.
    pub state_dir: PathBuf,
    /// Program that can be the launcher.
    pub executable: PathBuf,
    /// Host name of the agent; with several agents a number is added.
    pub hostname: String,
    /// What the machine offers instead of its real capacity (see [`machine::parse_resources`]).
    pub resources: Option<String>,
    /// Attributes of the agents (see [`machine::parse_attributes`]).
    pub attributes: Option<String>,
    /// How many agents this machine plays; they share it.
    pub agents: u32,
    /// Agents with names, attributes and sizes of their own; then `agents` is not looked at.
    pub identities: Vec<Identity>,
    /// Memory added to every task for the executor, MB.
    pub executor_overhead_ram_mb: i64,
    /// How long the processes of a killed task may take to end by themselves.
    pub kill_grace: Duration,
    /// How often sandboxes are measured.
    pub disk_interval: Duration,
    /// Tasks a supervisor runs before it is replaced; 0 for no limit.
    pub tasks_per_slot: u32,
    /// How long a supervisor waits for a next task.
    pub slot_idle: Duration,
    /// Whether a task may not use more than its cores even when others are idle.
    pub cpu_quota: bool,
    /// Sandboxes of ended tasks go after this time.
    pub retention_age: Duration,
    /// Sandboxes of ended tasks that are kept at most.
    pub retention_count: usize,
    /// Sandboxes of ended tasks go, oldest first, while the file system has less than this share free, in percent.
    pub retention_free_percent: u8,
    /// How long a status waits for its acknowledgement before it is sent again.
    pub resend_interval: Duration,
    /// How tasks that ask for it are announced in ZooKeeper; none is where this is unset.
    pub announcing: Option<Announcing>,
    /// Where Docker listens, as `DOCKER_HOST` has it: `unix:///...`; empty for the usual socket.
    pub docker_host: String,
}

/// Where and how tasks are announced (spec executor 2.1, 2.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcing {
    /// Servers of the ZooKeeper, `host:port,host:port`.
    pub ensemble: String,
    /// Path below which jobs have their sets, e.g. `/aurora`; empty for the root.
    pub root: String,
    /// Whether a job may name another path.
    pub allow_custom_path: bool,
    /// Host name in what is announced; the agent's when unset.
    pub hostname: Option<String>,
    /// File with identities and access rules.
    pub auth_file: Option<PathBuf>,
    /// How long ZooKeeper keeps the announcement of a machine that is gone.
    pub session_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("."),
            executable: PathBuf::from("daybreak"),
            hostname: "localhost".to_owned(),
            resources: None,
            attributes: None,
            agents: 1,
            identities: Vec::new(),
            executor_overhead_ram_mb: 128,
            // The bound of Thermos (spec executor 1.11).
            kill_grace: Duration::from_secs(60),
            disk_interval: Duration::from_secs(60),
            tasks_per_slot: 1000,
            slot_idle: Duration::from_secs(10),
            cpu_quota: false,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_count: 10_000,
            retention_free_percent: 10,
            resend_interval: Duration::from_secs(10),
            announcing: None,
            docker_host: std::env::var("DOCKER_HOST").unwrap_or_default(),
        }
    }
}

/// Why the engine does not start; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error("--resources, --attributes or --agent: {0}")]
    Setting(#[from] SettingError),
    /// A host name that cannot be used.
    #[error("host name {0:?} cannot be used: it must be a plain name")]
    Hostname(String),
    /// Users of tasks could not reach their sandboxes.
    #[error(
        "the users that tasks run as cannot enter {folder} (mode {mode:o}), so no task could reach its sandbox in {directory}: choose \
         another state directory, or let others pass with: chmod o+x {folder}"
    )]
    NotEnterable {
        /// The folder in the way.
        folder: String,
        /// Its permissions.
        mode: u32,
        /// Where sandboxes are to be.
        directory: String,
    },
    /// A Unix socket must fit into a short name.
    #[error("the state directory's path is too long for a socket: {0} has more than {SOCKET_PATH_BYTES_MAX} bytes")]
    PathTooLong(String),
    /// The file system said no.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
}

/// The embedded engine. Dropping it stops its thread; tasks, supervisors and launcher go on.
pub struct LocalEngine {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
    directory: EngineDirectory,
    overhead: Resources,
}

/// What can be asked of a running engine from anywhere.
#[derive(Clone)]
pub struct Control {
    bell: Arc<Bell>,
}

impl LocalEngine {
    /// Checks the settings, makes the directories and starts the engine's thread, which adopts what an earlier engine left and then
    /// says [`engine::Event::Registered`].
    pub fn start(options: Options, sink: Arc<dyn EventSink>) -> Result<Self, StartError> {
        let own_names = options.identities.iter().filter_map(|identity| identity.hostname.as_ref());
        if let Some(name) = std::iter::once(&options.hostname).chain(own_names).find(|name| !is_safe_segment(name)) {
            return Err(StartError::Hostname(name.clone()));
        }
        let directory = make_directory(&options)?;
        let epoch = next_epoch(&directory)?;
        let agents = make_agents(&options, &directory, epoch)?;
        for agent in &agents {
            let tasks = directory.tasks(&agent.id);
            make_folder(&tasks)?;
            spread_on_disk(&tasks);
        }
        if rustix::process::geteuid().is_root() {
            check_enterable(&directory.agents())?;
        }
        protect_from_oom_killer();
        let open_files_soft = raise_open_files();
        let overhead = Resources { cpu: CpuMillis(0), ram_mb: options.executor_overhead_ram_mb, ..Resources::ZERO };
        let bell = Arc::new(Bell::new().map_err(|error| StartError::Io("making an event counter".to_owned(), error))?);
        let worker = Worker::new(options, directory.clone(), agents, epoch, Arc::clone(&bell), sink, open_files_soft)
            .map_err(|error| StartError::Io("preparing to wait for events".to_owned(), error))?;
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StartError::Io("starting a thread".to_owned(), error))?;
        Ok(Self { bell, thread: Some(thread), directory, overhead })
    }

    /// What every task needs on top of what it asks for.
    pub fn executor_overhead(&self) -> Resources {
        self.overhead
    }

    /// The executors that tasks may name, and what each takes on top of its task.
    pub fn executors(&self) -> Vec<(String, Resources)> {
        [AURORA_EXECUTOR_NAME, compose::EXECUTOR_NAME].map(|name| (name.to_owned(), self.overhead)).to_vec()
    }

    /// Processes, logs and sandboxes of the tasks that ran here.
    pub fn files(&self) -> Arc<dyn TaskFiles> {
        Arc::new(DiskFiles::new(self.directory.clone()))
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        Control { bell: Arc::clone(&self.bell) }
    }
}

impl Engine for LocalEngine {
    fn call(&mut self, epoch: u64, calls: Vec<Call>) {
        self.bell.put(epoch, calls);
    }
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        self.bell.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Control {
    /// What limits are not enforced on this machine, in a sentence. Waits for the launcher to say so, at most `limit`.
    pub fn notice(&self, limit: Duration) -> Option<String> {
        self.bell.notice(limit)
    }

    /// Kills every task at once and ends launcher and engine; returns when that is done, or after `limit`. Returns whether it is.
    /// For a cluster that was only borrowed.
    pub fn shut_down(&self, limit: Duration) -> bool {
        self.bell.shut_down(limit)
    }
}

/// Calls that wait for the engine's thread.
pub(crate) type CallQueue = Mutex<VecDeque<(u64, Vec<Call>)>>;

/// Locks even when a thread died with the lock: the data is a queue or a flag and always whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_directory(options: &Options) -> Result<EngineDirectory, StartError> {
    let root = options.state_dir.join("local");
    make_folder(&root)?;
    let root = fs::canonicalize(&root).map_err(|error| StartError::Io(root.display().to_string(), error))?;
    let directory = EngineDirectory::new(root);
    let socket = directory.launcher_socket();
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(StartError::PathTooLong(socket.display().to_string()));
    }
    make_folder(&directory.agents())?;
    Ok(directory)
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| StartError::Io(format!("cannot make {}", path.display()), error))
}

/// Has the file system put each run directory into a part of its own, as it does with the homes of users. On ext4 an inode that was
/// freed within the last minutes is passed over one by one, so many short tasks beside the removal of old ones would otherwise search
/// for inodes most of their time. Other file systems do not know the wish; then nothing changes.
fn spread_on_disk(folder: &Path) {
    let Ok(folder) = fs::File::open(folder) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&folder) {
        let _ = rustix::fs::ioctl_setflags(&folder, flags | rustix::fs::IFlags::TOPDIR);
    }
}

/// A task's user enters its sandbox by its absolute path, so others must be able to pass every folder on the way.
fn check_enterable(path: &Path) -> Result<(), StartError> {
    for folder in path.ancestors() {
        let mode = fs::metadata(folder).map_err(|error| StartError::Io(folder.display().to_string(), error))?.mode();
        if mode & 0o001 == 0 {
            return Err(StartError::NotEnterable {
                folder: folder.display().to_string(),
                mode: mode & 0o7777,
                directory: path.display().to_string(),
            });
        }
    }
    Ok(())
}

/// The next epoch; stored by the launcher once it has accepted it.
fn next_epoch(directory: &EngineDirectory) -> Result<u64, StartError> {
    match fs::read_to_string(directory.epoch()) {
        Ok(text) => Ok(text.trim().parse::<u64>().unwrap_or(0) + 1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(error) => Err(StartError::Io(directory.epoch().display().to_string(), error)),
    }
}

fn make_agents(options: &Options, directory: &EngineDirectory, epoch: u64) -> Result<Vec<Agent>, StartError> {
    let mut capacity = machine::real_capacity(directory.root());
    if let Some(text) = &options.resources {
        capacity = machine::parse_resources(text, capacity)?;
    }
    let taken = machine::listening_ports();
    for port in &taken {
        if capacity.ports.remove(*port) {
            tracing::info!("port {port} is in use and is not offered");
        }
    }
    capacity.resources.ports = capacity.ports.count();
    let attributes = machine::parse_attributes(options.attributes.as_deref().unwrap_or_default())?;
    let machine = Machine { hostname: &options.hostname, attributes: &attributes, capacity: &capacity, taken: &taken };
    let described = identity::describe(&machine, &options.identities, options.agents)?;
    let agents = described.into_iter().enumerate();
    Ok(agents
        .map(|(index, Described { hostname, attributes, capacity })| {
            Agent::new(format!("agent-{index}"), hostname, attributes, capacity, epoch)
        })
        .collect())
}

/// The daemon holds the state of the cluster; a task that needs memory must not take it down. Only root may ask for that.
fn protect_from_oom_killer() {
    let _ = fs::write("/proc/self/oom_score_adj", "-900");
}

/// There is a descriptor for each supervisor. Returns the limit that was there before: tasks get it back.
fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).ok().and(limit.current)
}
