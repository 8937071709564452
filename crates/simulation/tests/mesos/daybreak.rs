//! A scheduler as the daemon has it, without its doors: the loop, a journal on disk and the Mesos engine, at the time of a simulation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::{Call, Engine, Event, EventSink};
use engine_mesos::{MesosEngine, Options};
use journal::Journal;
use model::executor::{ThermosSettings, thermos};
use model::{CronCollisionPolicy, JobConfiguration, JobKey, Resources, TaskConfig, TaskStatus};
use node::inbox::{Lane, Limits, Sender, inbox};
use node::storage::{Epoch, Group, Position, Progress, Recovered, Restore, SnapshotRecords, Storage, StorageError};
use node::{Clock, Node, Now, Outlet, Parts, Turn};
use scheduler::{
    Command, Effect, Input, Principal, Reply, ReplyCode, RequestId, Scheduler, Settings, Transition, View,
};
use simulation::clock::Dice;
use simulation::mesos::server::Time;

/// Rung when the loop has something to do.
#[derive(Clone, Default)]
struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }

    fn wait(&self, limit: Duration) {
        let mut rung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung {
            rung = self.0.1.wait_timeout(rung, limit).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}

/// The simulation's clock, or a plain one.
#[derive(Clone)]
pub enum LoopClock {
    Simulated(Arc<Time>, i64),
    #[allow(dead_code)]
    Real(Instant),
}

impl Clock for LoopClock {
    fn now(&mut self) -> Now {
        match self {
            Self::Simulated(time, epoch_ms) => {
                let monotonic_ms = time.now_ms();
                Now { wall_ms: *epoch_ms + monotonic_ms as i64, monotonic_ms }
            }
            Self::Real(started) => {
                let monotonic_ms = started.elapsed().as_millis() as u64;
                Now { wall_ms: 1_700_000_000_000 + monotonic_ms as i64, monotonic_ms }
            }
        }
    }
}

/// A journal whose durable mark can be held back, as a disk that takes its time would.
pub struct Gated {
    journal: Journal,
    closed: Arc<AtomicBool>,
    seen: Position,
}

impl Storage for Gated {
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError> {
        self.journal.recover(restore)
    }

    fn append(&mut self, group: Group) -> Result<(), StorageError> {
        self.journal.append(group)
    }

    fn progress(&mut self) -> Result<Progress, StorageError> {
        let progress = self.journal.progress()?;
        if !self.closed.load(Ordering::SeqCst) {
            self.seen = progress.durable;
        }
        Ok(Progress { durable: self.seen.min(progress.durable), ..progress })
    }

    fn start_snapshot(&mut self, at: Position, epoch: Epoch, records: SnapshotRecords) -> Result<(), StorageError> {
        self.journal.start_snapshot(at, epoch, records)
    }
}

/// What the loop tells.
#[derive(Default)]
pub struct Told {
    view: Mutex<Arc<View>>,
    replies: Mutex<BTreeMap<u64, Reply>>,
    pub transitions: Mutex<Vec<Transition>>,
    pub deposed: OnceLock<String>,
    /// Calls to the engine by kind.
    pub calls: Mutex<BTreeMap<&'static str, u64>>,
    keeps: bool,
}

struct Out {
    told: Arc<Told>,
    engine: Arc<Mutex<MesosEngine>>,
}

impl Outlet<Scheduler> for Out {
    fn publish(&mut self, view: Arc<View>) {
        *self.told.view.lock().unwrap() = view;
    }

    fn release(&mut self, epoch: Epoch, effects: Vec<Effect>) {
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { request, reply } => {
                    self.told.replies.lock().unwrap().insert(request.0, reply);
                }
                Effect::Engine(call) => calls.push(call),
                Effect::Transition(transition) if self.told.keeps => {
                    self.told.transitions.lock().unwrap().push(transition);
                }
                Effect::Transition(_) | Effect::Notice(_) | Effect::AskCoordinator(_) => {}
                Effect::Stop { reason } => drop(self.told.deposed.set(reason)),
            }
        }
        if calls.is_empty() {
            return;
        }
        let mut counted = self.told.calls.lock().unwrap();
        for call in &calls {
            *counted.entry(kind(call)).or_default() += 1;
        }
        drop(counted);
        self.engine.lock().unwrap().call(epoch.0, calls);
    }

    fn is_congested(&self) -> bool {
        self.engine.lock().unwrap().is_congested()
    }
}

fn kind(call: &Call) -> &'static str {
    match call {
        Call::Accept { .. } => "accept",
        Call::Decline { .. } => "decline",
        Call::Kill { .. } => "kill",
        Call::Acknowledge { .. } => "acknowledge",
        Call::Reconcile { .. } => "reconcile",
        Call::Revive => "revive",
        Call::Suppress => "suppress",
        Call::AcceptInverseOffers { .. } => "accept inverse offers",
    }
}

struct Sink(Sender<Input>);

impl EventSink for Sink {
    fn send(&self, event: Event) -> bool {
        self.0.send(Lane::Engine, Input::Engine(event)).is_ok()
    }

    fn send_all(&self, events: Vec<Event>) -> bool {
        self.0.send_all(Lane::Engine, events.into_iter().map(Input::Engine))
    }
}

/// One life of a scheduler.
pub struct Daybreak {
    sender: Sender<Input>,
    waker: Waker,
    pub told: Arc<Told>,
    stopping: Arc<AtomicBool>,
    gate: Arc<AtomicBool>,
    requests: AtomicU64,
    thread: Option<JoinHandle<()>>,
    #[allow(dead_code)]
    pub loop_cpu: Arc<Mutex<Duration>>,
}

/// The engine's settings against these masters.
pub fn options(masters: &str) -> Options {
    let overhead = Resources { cpu: model::CpuMillis(10), ram_mb: 16, ..Resources::ZERO };
    let settings = ThermosSettings { path: "/opt/daybreak-executor".into(), overhead, ..ThermosSettings::default() };
    let timing = engine_mesos::Timing {
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..engine_mesos::Timing::default()
    };
    Options {
        masters: masters.to_owned(),
        executors: vec![thermos(&settings).expect("a path")],
        timing,
        ..Options::default()
    }
}

impl Daybreak {
    /// Starts on the state in `directory`. With `keeps`, transitions are remembered.
    pub fn start(directory: &Path, options: Options, settings: Settings, clock: LoopClock, keeps: bool) -> Self {
        let waker = Waker::default();
        let bell = waker.clone();
        let journal = Journal::open(directory, journal::Options::default(), Arc::new(move || bell.ring()));
        let gate = Arc::new(AtomicBool::new(false));
        let storage = Gated { journal: journal.expect("a journal"), closed: Arc::clone(&gate), seen: Position::NONE };
        let bell = waker.clone();
        let (sender, inbox) = inbox(Limits::default(), Arc::new(move || bell.ring()));
        let inbox = inbox.weighing(Input::work);
        let engine = MesosEngine::start(options, Arc::new(Sink(sender.clone()))).expect("settings are good");
        let engine = Arc::new(Mutex::new(engine));
        let told = Arc::new(Told { keeps, ..Told::default() });
        let parts = Parts {
            core: Scheduler::new(settings),
            storage,
            clock: clock.clone(),
            outlet: Out { told: Arc::clone(&told), engine: Arc::clone(&engine) },
            inbox,
            settings: node::Settings::default(),
        };
        // Every life draws names of its own, as one with the system's generator does.
        static LIVES: AtomicU64 = AtomicU64::new(0);
        let seed = u64::from(std::process::id()) << 32 | LIVES.fetch_add(1, Ordering::SeqCst);
        let stopping = Arc::new(AtomicBool::new(false));
        let loop_cpu = Arc::new(Mutex::new(Duration::ZERO));
        let thread = {
            let (waker, told, stopping, loop_cpu) =
                (waker.clone(), Arc::clone(&told), Arc::clone(&stopping), Arc::clone(&loop_cpu));
            // The loop is made where it runs, as the engine's thread must not outlive it by much.
            std::thread::Builder::new().name("loop".into()).spawn(move || {
                let (mut node, _) = Node::recover(parts, &mut Dice::new(seed)).expect("the state is good");
                let framework = told.view.lock().unwrap().framework_id.as_deref().map(str::to_owned);
                engine.lock().unwrap().begin(framework);
                let mut clock = clock;
                while !stopping.load(Ordering::SeqCst) && told.deposed.get().is_none() {
                    let limit = match node.turn().expect("the disk is good") {
                        Turn::Again => continue,
                        Turn::WaitUntil(None) => Duration::from_millis(5),
                        Turn::WaitUntil(Some(wake_ms)) => {
                            let ahead_ms = wake_ms.saturating_sub(clock.now().monotonic_ms);
                            Duration::from_millis(ahead_ms).min(Duration::from_millis(5))
                        }
                    };
                    waker.wait(limit);
                    *loop_cpu.lock().unwrap() = thread_cpu();
                }
            })
        };
        let thread = Some(thread.expect("a thread"));
        Self { sender, waker, told, stopping, gate, requests: AtomicU64::new(1), thread, loop_cpu }
    }

    /// Nothing becomes durable any more, as far as the loop can see; or it does again.
    pub fn hold_disk(&self, held: bool) {
        self.gate.store(held, Ordering::SeqCst);
        self.waker.ring();
    }

    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.told.view.lock().unwrap())
    }

    pub fn ring(&self) {
        self.waker.ring();
    }

    /// Hands a command over and waits for its answer.
    pub fn command(&self, command: Command) -> Reply {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let input = Input::command(RequestId(number), Principal::unsecure(), command);
        self.sender.send(Lane::Normal, input).expect("the loop runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(reply) = self.told.replies.lock().unwrap().remove(&number) {
                return reply;
            }
            assert!(Instant::now() < deadline, "no answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn create(&self, config: TaskConfig, instances: i32) {
        let job = JobConfiguration {
            key: config.job.clone(),
            owner: None,
            cron_schedule: None,
            cron_collision_policy: CronCollisionPolicy::default(),
            task: config,
            instance_count: instances,
        };
        let reply = self.command(Command::CreateJob(Box::new(job)));
        assert_eq!(reply.code, ReplyCode::Ok, "{reply:?}");
    }

    pub fn kill_job(&self, job: &JobKey) {
        let command = Command::KillTasks { job: job.clone(), instances: Default::default(), message: None };
        let reply = self.command(command);
        assert_eq!(reply.code, ReplyCode::Ok, "{reply:?}");
    }

    pub fn count(&self, status: TaskStatus) -> u64 {
        self.view().count_by_status().get(&status).copied().unwrap_or_default()
    }

    /// Waits until something is true of the state; false if it is not in time.
    pub fn reaches(&self, within: Duration, mut holds: impl FnMut(&View) -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            if holds(&self.view()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for this many tasks in a status.
    #[track_caller]
    pub fn wait_for(&self, status: TaskStatus, count: u64) {
        let met = self.reaches(Duration::from_secs(20), |view| {
            view.count_by_status().get(&status).copied().unwrap_or_default() == count
        });
        assert!(met, "not {count} {status} but {:?}", self.view().count_by_status());
    }

    /// Its life ends without any farewell.
    pub fn crash(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.waker.ring();
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || std::thread::panicking(), "the loop panicked");
        }
    }
}

impl Drop for Daybreak {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processor time of this thread.
pub fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default())
}

/// A service of `www-data/prod`.
pub fn service(name: &str) -> TaskConfig {
    let mut config = TaskConfig::new(JobKey::new("www-data", "prod", name), 0.1, 16, 16, "{}");
    config.is_service = true;
    config
}

/// A batch job of `www-data/prod`.
pub fn batch(name: &str) -> TaskConfig {
    TaskConfig { is_service: false, ..service(name) }
}
