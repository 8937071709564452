//! A [`Cluster`] behind HTTP on loopback, at a clock that may run faster than the real one.
//!
//! One thread drives the cluster, a few more carry connections. Requests take the lock of the cluster for as long as they are answered;
//! events are written by each connection on its own, so a slow reader slows nobody else.

mod endpoints;
mod events;
mod files;
mod processes;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};

use super::cluster::{Cluster, Output};
use super::protocol::AgentDescription;
use super::resources::Resources;
use super::settings::Settings;
use events::Item;
pub use events::StreamFaults;

/// How an agent of a simulation is described; its address is the simulation's.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// Host name.
    pub hostname: String,
    /// As in `--resources`.
    pub resources: String,
    /// As in `--attributes`.
    pub attributes: String,
}

impl AgentSpec {
    /// An agent of this name and with these resources.
    pub fn new(hostname: impl Into<String>, resources: impl Into<String>) -> Self {
        Self { hostname: hostname.into(), resources: resources.into(), attributes: String::new() }
    }

    /// With these attributes.
    pub fn attributes(self, attributes: impl Into<String>) -> Self {
        Self { attributes: attributes.into(), ..self }
    }

    /// The whole description of an agent at an address.
    pub fn describe(&self, ip: &str, port: u16) -> AgentDescription {
        AgentDescription {
            hostname: self.hostname.clone(),
            ip: ip.to_owned(),
            port,
            resources: Resources::parse(&self.resources),
            attributes: super::attributes(&self.attributes),
            domain: None,
        }
    }
}

/// The cluster and what goes with it under one lock.
struct Inner {
    cluster: Cluster,
    streams: HashMap<u64, mpsc::UnboundedSender<Item>>,
    time: Arc<Time>,
}

/// Simulated time as it passes. Anyone may read it; it can only be moved ahead.
#[derive(Debug)]
pub struct Time {
    started: Instant,
    scale: f64,
    skipped_ms: AtomicU64,
}

impl Time {
    /// Simulated ms since the start.
    pub fn now_ms(&self) -> u64 {
        (self.started.elapsed().as_secs_f64() * 1000.0 * self.scale) as u64 + self.skipped_ms.load(Ordering::SeqCst)
    }

    /// How many simulated ms pass in one real one.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }
}

/// What connections, the driver and tests share.
struct Shared {
    inner: Mutex<Inner>,
    wake: Notify,
    faults: Arc<StreamFaults>,
    /// Counts, for each master, how often all of its connections were cut.
    master_cuts: Vec<watch::Sender<u64>>,
    agent_cuts: Mutex<HashMap<usize, watch::Sender<u64>>>,
    processes: processes::Processes,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the cluster at the present time, and carries what comes out.
    fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let now_ms = inner.now_ms();
        inner.cluster.advance(now_ms);
        let result = work(&mut inner);
        self.carry(&mut inner);
        drop(inner);
        self.wake.notify_one();
        result
    }

    fn carry(self: &Arc<Self>, inner: &mut Inner) {
        for output in inner.cluster.take_output() {
            match output {
                Output::Event { stream, event } => inner.send(stream, Item::Event(event)),
                Output::ExecutorEvent { stream, event } => inner.send(stream, Item::Executor(event)),
                Output::Close { stream } => {
                    inner.send(stream, Item::End);
                    inner.streams.remove(&stream);
                }
                Output::MasterDied { master } => self.master_cuts[master].send_modify(|cuts| *cuts += 1),
                Output::Spawn { agent, key } => self.spawn(inner, agent, &key),
                Output::Terminate { agent, key } => processes::Processes::terminate(self, agent, &key),
                Output::Destroy { agent, key } => self.processes.destroy(agent, &key),
            }
        }
    }
}

impl Inner {
    fn send(&mut self, stream: u64, item: Item) {
        if let Some(sender) = self.streams.get(&stream)
            && sender.send(item).is_err()
        {
            self.streams.remove(&stream);
        }
    }
}

/// A running simulation. Dropping it ends it and everything it started.
pub struct Simulation {
    shared: Arc<Shared>,
    masters: Vec<SocketAddr>,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("masters", &self.masters).finish()
    }
}

impl Simulation {
    /// Starts masters on free ports of 127.0.0.1. Simulated time passes `scale` times as fast as real time. Sandboxes of executors that
    /// are processes lie below `work_dir`.
    pub fn start(settings: Settings, scale: f64, work_dir: Option<PathBuf>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut cluster = Cluster::new(settings);
        let count = cluster.settings().masters.max(1);
        let mut listeners = Vec::with_capacity(count);
        let mut masters = Vec::with_capacity(count);
        for index in 0..count {
            let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
            let address = listener.local_addr()?;
            cluster.set_master_address(index, "127.0.0.1", address.port());
            masters.push(address);
            listeners.push(listener);
        }
        let time = Arc::new(Time { started: Instant::now(), scale, skipped_ms: AtomicU64::new(0) });
        let inner = Inner { cluster, streams: HashMap::new(), time };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            wake: Notify::new(),
            faults: Arc::default(),
            master_cuts: (0..count).map(|_| watch::Sender::new(0)).collect(),
            agent_cuts: Mutex::default(),
            processes: processes::Processes::new(work_dir),
        });
        for (index, listener) in listeners.into_iter().enumerate() {
            runtime.spawn(endpoints::serve_master(Arc::clone(&shared), index, listener));
        }
        runtime.spawn(drive(Arc::clone(&shared)));
        Ok(Self { shared, masters, runtime: Some(runtime) })
    }

    /// The clock, for whoever is to live in the same time.
    pub fn time(&self) -> Arc<Time> {
        Arc::clone(&self.shared.lock().time)
    }

    /// Addresses of the masters.
    pub fn masters(&self) -> &[SocketAddr] {
        &self.masters
    }

    /// All of them as a list for `--mesos-master`.
    pub fn master_list(&self) -> String {
        let addresses: Vec<String> = self.masters.iter().map(SocketAddr::to_string).collect();
        addresses.join(",")
    }

    /// Does something with the cluster at the present time.
    pub fn with<R>(&self, work: impl FnOnce(&mut Cluster) -> R) -> R {
        self.shared.with(|inner| work(&mut inner.cluster))
    }

    /// Lets simulated time jump ahead; everything that falls due happens in its order.
    pub fn skip(&self, ms: u64) {
        self.shared.with(|inner| {
            inner.time.skipped_ms.fetch_add(ms, Ordering::SeqCst);
            let now_ms = inner.now_ms();
            inner.cluster.advance(now_ms);
        });
    }

    /// What goes wrong with event streams.
    pub fn stream_faults(&self) -> &StreamFaults {
        &self.shared.faults
    }

    /// Every connection of a master breaks; its process lives on.
    pub fn cut_connections(&self, master: usize) {
        self.shared.master_cuts[master].send_modify(|cuts| *cuts += 1);
    }

    /// Streams go on that were stalled, or look at faults that were just set.
    pub fn nudge(&self) {
        self.shared.with(|inner| {
            let streams: Vec<u64> = inner.streams.keys().copied().collect();
            streams.into_iter().for_each(|stream| inner.send(stream, Item::Nudge));
        });
    }

    /// Adds agents that are records without sockets; they register at once.
    pub fn add_agents(&self, specs: impl IntoIterator<Item = AgentSpec>) -> Vec<usize> {
        self.with(|cluster| specs.into_iter().map(|spec| cluster.add_agent(spec.describe("127.0.0.1", 5051))).collect())
    }

    /// Adds an agent whose executors are processes, with HTTP endpoints of its own. The answers are its index and address.
    pub fn add_process_agent(&self, spec: &AgentSpec) -> io::Result<(usize, SocketAddr)> {
        let runtime = self.runtime.as_ref().ok_or_else(|| io::Error::other("the simulation ended"))?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let description = spec.describe("127.0.0.1", address.port());
        let index = self.with(|cluster| cluster.add_process_agent(description));
        let cuts = watch::Sender::new(0);
        self.shared.agent_cuts.lock().unwrap_or_else(PoisonError::into_inner).insert(index, cuts);
        runtime.spawn(endpoints::serve_agent(Arc::clone(&self.shared), index, listener));
        Ok((index, address))
    }

    /// The process of an agent dies, and its connections with it.
    pub fn crash_agent(&self, index: usize) {
        self.with(|cluster| cluster.crash_agent(index));
        if let Some(cuts) = self.shared.agent_cuts.lock().unwrap_or_else(PoisonError::into_inner).get(&index) {
            cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    /// Waits until something is true of the cluster; false if it is not within this real time.
    pub fn wait_until(&self, within: Duration, mut holds: impl FnMut(&mut Cluster) -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            if self.with(&mut holds) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The sandbox of an executor's newest run, if it is a process.
    pub fn sandbox(&self, agent: usize, framework: &str, executor: &str) -> Option<PathBuf> {
        self.shared.processes.sandbox(agent, &(Arc::from(framework), Arc::from(executor)))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.shared.processes.destroy_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Wakes the cluster when something is due.
async fn drive(shared: Arc<Shared>) {
    loop {
        let wait = {
            let mut inner = shared.lock();
            let now_ms = inner.now_ms();
            inner.cluster.advance(now_ms);
            shared.carry(&mut inner);
            let due_ms = inner.cluster.next_wake();
            due_ms.map(|due_ms| {
                let ahead_ms = due_ms.saturating_sub(inner.now_ms()) as f64 / inner.time.scale;
                Duration::from_secs_f64((ahead_ms / 1000.0).clamp(0.0005, 3600.0))
            })
        };
        let wait = wait.unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.wake.notified() => {}
        }
    }
}
