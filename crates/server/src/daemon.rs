//! The daemon put together: state directory, journal, loop, engine, pages and sockets; and its orderly end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway::{Authorizer, Everyone, Gateway, Policy};
use journal::{Journal, JournalError};
use node::inbox::Sender;
use node::storage::StorageError;
use node::{Entropy, Node, Parts};
use scheduler::{Input, Scheduler};
use security::Realm;
use tokio::sync::Notify;

use crate::backups::Backups;
use crate::coordinator::CoordinatorClient;
use crate::endpoint::{self, Endpoint};
use crate::engines;
use crate::guard::Guard;
use crate::host::{self, LoopDoor, LoopOutlet, LoopSink, SnapshotDesk, SystemClock, SystemEntropy, Waker};
use crate::http::{self, ListenError};
use crate::job_files::ConfigJobFiles;
use crate::leader::Leadership;
use crate::logging::{self, LevelError};
use crate::mesos_options::EngineOptions;
use crate::options::{Options, OptionsError, system_hostname};
use crate::outgoing::Trust;
use crate::process_figures::ProcessFigures;
use crate::quit;
use crate::sample;
use crate::security::Gate;
use crate::sla_figures::SlaFigures;
use crate::webhook::Webhook;
use crate::zookeeper::Announcer;

/// Version in the endpoint file and the log.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long the start waits for the launcher to say what it cannot enforce.
const NOTICE_LIMIT: Duration = Duration::from_secs(5);
/// How long an ephemeral daemon waits for its tasks to be gone.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(20);

/// Why a daemon does not start, or ends before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Bad options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Bad log level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The file with the tiers.
    #[error(transparent)]
    TierConfig(#[from] crate::service_levels::TierConfigError),
    /// No socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The state directory cannot be made or written.
    #[error("the state directory {0} cannot be used: {1}. Choose another with --state-dir")]
    StateDirectory(String, #[source] std::io::Error),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be read, or failed while running.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The engine cannot start.
    #[error(transparent)]
    Engine(#[from] engine_local::StartError),
    /// The engine for Mesos cannot start.
    #[error(transparent)]
    Mesos(#[from] engine_mesos::StartError),
    /// Nothing that agents could fetch.
    #[error(transparent)]
    ExecutorFile(#[from] crate::executor_file::ExecutorFileError),
    /// The file that says who the framework is.
    #[error(transparent)]
    Credentials(#[from] engine_mesos::CredentialsError),
    /// Tasks run, and who started them is not known: registering anew would orphan them all.
    #[error(
        "{placed} tasks in {directory} are running or may be, and no framework id is stored with them: they were not started on Mesos, or \
         the id was lost. Registering as a new framework would start them a second time. Start with the engine that runs them (--engine \
         local) and kill them first, or use another --state-dir"
    )]
    NoFrameworkId {
        /// How many.
        placed: usize,
        /// Where.
        directory: String,
    },
    /// Tasks run on Mesos, and this engine would give them up.
    #[error(
        "{placed} tasks in {directory} run on Mesos under framework {framework_id}: this machine's engine would give them up and start \
         them a second time. Start with --engine mesos, or use another --state-dir"
    )]
    OfMesos {
        /// How many.
        placed: usize,
        /// Whose.
        framework_id: String,
        /// Where.
        directory: String,
    },
    /// The system refused something basic.
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// The engine takes nothing from this scheduler any more: another one took its place, or the engine ended it.
    #[error("this scheduler is not in charge any more: {0}")]
    Deposed(String),
    /// The loop's thread ended by a panic.
    #[error("the scheduler's loop ended by a fault of its own; see above. The next start goes on from the journal")]
    Fault,
}

/// Runs a daemon until SIGTERM or SIGINT. Tasks go on running after it.
pub fn main(options: &Options) -> ExitCode {
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), DaemonError> {
    options.check()?;
    if options.detached {
        // Already a leader means already apart.
        let _ = nix::unistd::setsid();
    }
    logging::start(options.log_format, &options.log_level)?;
    let waker = Waker::default();
    let Claimed { listener, address, journal } = claim(options, &waker)?;
    let (sender, inbox) = host::inbox(&waker);
    tell_ignored(options);
    let realm = options.security.realm(SystemEntropy.seed()).map_err(OptionsError::from)?;
    let trust = options.trust().map_err(OptionsError::from)?;
    let webhook = start_webhook(options, &trust)?;
    let gateway = open_gateway(options, realm.as_ref(), sender.clone());
    let engines::Started { engine, control, files, mut settings, routes: engine_routes, gauges, name: engine_name } =
        engines::start(options, address, Arc::new(LoopSink(sender.clone())), &gateway)?;
    options.service_levels.apply(&mut settings)?;
    let admission = settings.admission.clone();
    let timeout = settings.sla_coordinator_timeout;
    let coordinators = CoordinatorClient::new(&options.cluster, &options.advertised_host(), timeout, trust, sender);
    let clock = SystemClock::default();
    let deposed = Arc::new(OnceLock::new());
    let outlet = LoopOutlet {
        gateway: Arc::clone(&gateway),
        coordinators,
        webhook: webhook.clone(),
        engine,
        deposed: Arc::clone(&deposed),
    };
    let (core, settings) = (Scheduler::new(settings), node::Settings::default());
    let node = recover(options, Parts { core, storage: journal, clock: clock.clone(), outlet, inbox, settings })?;
    let view = gateway.view();
    engines::check_state(options, &view)?;
    let snapshots = Arc::new(SnapshotDesk::default());
    let backups =
        Backups::new(&options.backups, &options.state_dir, Arc::clone(&gateway), Arc::clone(&snapshots), waker.clone());
    let backups = Arc::new(backups);
    let quit = Arc::new(Notify::new());
    let (turning, loop_ended) = Turning::start(node, clock, waker, &gateway, snapshots, deposed)?;
    control.begin(engines::framework_id(options, &view));
    let announcer = Announcer::new(options.announce.clone());
    let figures = SlaFigures::start(options.service_levels.figures.clone(), Arc::clone(&gateway))
        .map_err(|error| DaemonError::System("starting a thread", error))?;
    let leadership = Leadership::start(options.announce.as_ref(), &options.advertised_host(), address.port())
        .map_err(|error| DaemonError::System("following the announcements", error))?;
    let pages = Pages {
        files,
        admission,
        engine_name,
        gauges,
        announcer: announcer.clone(),
        figures,
        backups: Arc::clone(&backups),
        quit: Arc::clone(&quit),
        realm,
        webhook,
        leadership,
    };
    let routes = routes(options, &gateway, pages, engine_routes);
    let backing_up = backups.start().map_err(|error| DaemonError::System("starting a thread", error))?;
    let ends = Ends { loop_ended, quit };
    let served = serve(options, listener, address, routes, control.notice(NOTICE_LIMIT), ends, &announcer);
    if options.ephemeral && !control.shut_down(SHUT_DOWN_LIMIT) {
        tracing::warn!("some processes of this cluster did not end in time");
    }
    wind_down(turning, &backups, backing_up)?;
    served
}

/// What no other daemon may have at the same time.
struct Claimed {
    listener: std::net::TcpListener,
    address: SocketAddr,
    journal: Journal,
}

fn claim(options: &Options, waker: &Waker) -> Result<Claimed, DaemonError> {
    // The socket first: a port in use must not touch the state.
    let listener = http::listen(options.listen)?;
    let address = listener.local_addr().map_err(|error| DaemonError::System("reading the address", error))?;
    make_state_directory(&options.state_dir)?;
    let bell = waker.clone();
    let journal =
        Journal::open(&options.state_dir.join("journal"), journal::Options::default(), Arc::new(move || bell.ring()))?;
    Ok(Claimed { listener, address, journal })
}

/// Ends the threads in order. That another scheduler took this one's place is an error here at the latest.
fn wind_down(turning: Turning, backups: &Backups, backing_up: std::thread::JoinHandle<()>) -> Result<(), DaemonError> {
    backups.stop();
    let deposed = turning.end()?;
    backing_up.join().map_err(|_| DaemonError::Fault)?;
    deposed.map_or(Ok(()), |reason| Err(DaemonError::Deposed(reason)))
}

/// The door to the loop, and who may pass.
fn open_gateway(options: &Options, realm: Option<&Arc<Realm>>, sender: Sender<Input>) -> Arc<Gateway> {
    // A daemon that is not root cannot start anything as root here; what agents of a cluster can is not known.
    let harmless = matches!(options.engine, EngineOptions::Local) && !nix::unistd::geteuid().is_root();
    let policy = Policy { allow_root_role: options.allow_root_role || harmless };
    let authorizer: Arc<dyn Authorizer> = match realm {
        Some(realm) => realm.clone(),
        None => Arc::new(Everyone),
    };
    Arc::new(Gateway::new(Box::new(LoopDoor(sender)), policy).with_authorizer(authorizer))
}

/// The daemon's loop.
type LoopNode = Node<Scheduler, Journal, SystemClock, LoopOutlet>;

/// The loop with the state that the journal holds.
fn recover(
    options: &Options,
    parts: Parts<Scheduler, Journal, SystemClock, LoopOutlet>,
) -> Result<LoopNode, StorageError> {
    let (node, recovered) = Node::recover(parts, &mut SystemEntropy)?;
    tracing::info!(
        position = recovered.position.0,
        epoch = node.epoch().0,
        records = recovered.records,
        "recovered the state in {}",
        options.state_dir.display()
    );
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    Ok(node)
}

/// The thread that turns the loop.
struct Turning {
    thread: std::thread::JoinHandle<Result<Journal, StorageError>>,
    waker: Waker,
    stopping: Arc<AtomicBool>,
    deposed: Arc<OnceLock<String>>,
}

impl Turning {
    /// Starts it. The receiver hears when the loop has ended, by itself or not.
    fn start(
        node: LoopNode,
        clock: SystemClock,
        waker: Waker,
        gateway: &Arc<Gateway>,
        snapshots: Arc<SnapshotDesk>,
        deposed: Arc<OnceLock<String>>,
    ) -> Result<(Self, tokio::sync::oneshot::Receiver<()>), DaemonError> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (ended, loop_ended) = tokio::sync::oneshot::channel();
        let (bell, told, gone) = (waker.clone(), Arc::clone(&stopping), Arc::clone(&deposed));
        let gateway = Arc::clone(gateway);
        let turn = move || {
            let stop = || told.load(Ordering::Relaxed) || gone.get().is_some();
            let result = host::run(node, clock, &bell, &stop, &snapshots);
            gateway.close();
            // The receiver is gone when the daemon is stopping anyway.
            let _ = ended.send(());
            result
        };
        let thread = std::thread::Builder::new().name("loop".into()).spawn(turn);
        let thread = thread.map_err(|error| DaemonError::System("starting a thread", error))?;
        Ok((Self { thread, waker, stopping, deposed }, loop_ended))
    }

    /// Ends the loop and closes the journal. Where another scheduler took this one's place, what is known of it.
    fn end(self) -> Result<Option<String>, DaemonError> {
        self.stopping.store(true, Ordering::Relaxed);
        self.waker.ring();
        let storage = self.thread.join().map_err(|_| DaemonError::Fault)??;
        storage.close()?;
        Ok(self.deposed.get().cloned())
    }
}

/// One line for each option that a foreign command line had and that means nothing here, once.
fn tell_ignored(options: &Options) {
    for flag in &options.ignored_flags {
        tracing::info!("ignored: {flag}");
    }
    if options.allow_unauthenticated && !options.security.basic && !options.listen.ip().is_loopback() {
        tracing::warn!(
            "{} is open to the network and nothing authenticates callers: anyone who reaches it can run commands on the agents. Make them \
             say who they are: -http_authentication_mechanism=BASIC",
            options.listen
        );
    }
}

fn start_webhook(options: &Options, trust: &Trust) -> Result<Webhook, DaemonError> {
    match options.webhook_settings().map_err(OptionsError::from)? {
        Some(settings) => Webhook::start(&settings, &options.advertised_host(), trust)
            .map_err(|error| DaemonError::System("starting a thread", error)),
        None => Ok(Webhook::default()),
    }
}

/// Makes the directory so that the users of tasks can pass through it to their sandboxes.
fn make_state_directory(path: &Path) -> Result<(), DaemonError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| DaemonError::StateDirectory(path.display().to_string(), error))
}

/// What the routes need to know of the engine.
struct Pages {
    files: Arc<dyn engine::files::TaskFiles>,
    admission: model::validation::AdmissionRules,
    engine_name: &'static str,
    gauges: Box<dyn Fn() -> Vec<(String, i64)> + Send + Sync>,
    figures: SlaFigures,
    announcer: Announcer,
    realm: Option<Arc<Realm>>,
    leadership: Option<Leadership>,
    webhook: Webhook,
    /// Made hourly and on demand.
    backups: Arc<Backups>,
    /// Ends the daemon in order.
    quit: Arc<Notify>,
}

/// Every route of the daemon behind the guard.
fn routes(options: &Options, gateway: &Arc<Gateway>, pages: Pages, engine_routes: axum::Router) -> axum::Router {
    let Pages { files, admission, engine_name, gauges, announcer, figures, backups, quit, realm, webhook, leadership } =
        pages;
    let users = realm.clone();
    let security = move || users.as_ref().map(|users| users.statistics()).unwrap_or_default();
    let host = options.advertised_host();
    let numbers = Arc::clone(&backups);
    let process = ProcessFigures::default();
    let state = api::ApiState::new(
        Arc::clone(gateway),
        api::ApiSettings {
            cluster_name: options.cluster.clone(),
            scheduler_host: host.clone(),
            admission,
            stats_url_prefix: options.viz_job_url_prefix.clone(),
            enable_cors_for: options.enable_cors_for.clone(),
            gauges: api::Gauges::new(move || {
                [announcer.gauges(), gauges(), webhook.gauges(), security(), numbers.gauges()].concat()
            })
            .and(move || figures.numbers())
            .and(move || process.numbers()),
            ..api::ApiSettings::default()
        },
    );
    let state = state.with_operations(backups).with_job_files(Arc::new(ConfigJobFiles::default()));
    let api = api::router(state);
    let web = web::router(web_state(options, gateway, Arc::clone(&files), engine_name));
    let exits = quit::router(Arc::clone(gateway), quit, quit::abort);
    let guard = Guard::new([host, system_hostname()]).with_friend(options.enable_cors_for.as_deref());
    let gate = realm.map(Gate::new);
    http::guarded(
        api.merge(api::files::router(files)).merge(web).merge(engine_routes).merge(exits),
        leadership,
        gate,
        guard,
    )
}

/// What the pages are drawn from.
fn web_state(
    options: &Options,
    gateway: &Arc<Gateway>,
    files: Arc<dyn engine::files::TaskFiles>,
    engine_name: &'static str,
) -> web::WebState {
    let (view, follow, submit) = (Arc::clone(gateway), Arc::clone(gateway), Arc::clone(gateway));
    let cluster = options.cluster.clone();
    let sample_role = sample_role(options);
    web::WebState {
        view: Arc::new(move || view.view()),
        follow: Arc::new(move || follow.follow()),
        submit: Arc::new(move |principal, command| {
            let gateway = Arc::clone(&submit);
            Box::pin(async move { gateway.submit(principal, command).await })
        }),
        files,
        engine: engine_name.into(),
        cluster: cluster.as_str().into(),
        executable: Arc::new(options.executable.clone()),
        sample_job: Arc::new(move || sample::job(&sample_role, &cluster)),
        clock: host::wall_clock_ms,
    }
}

/// Whom the sample job runs as: the daemon's own user, or an ordinary one when that is root, or when it runs on other machines.
fn sample_role(options: &Options) -> model::Role {
    use nix::unistd::{User, geteuid};
    if matches!(options.engine, EngineOptions::Mesos(_)) {
        return "nobody".into();
    }
    let own = User::from_uid(geteuid()).ok().flatten().map_or_else(|| "nobody".into(), |user| user.name);
    if geteuid().is_root() { "nobody".into() } else { own }
}

/// What ends the daemon beside signals.
struct Ends {
    /// The loop's thread is gone.
    loop_ended: tokio::sync::oneshot::Receiver<()>,
    /// An operator asked over HTTP.
    quit: Arc<Notify>,
}

/// Serves until a signal, an operator's word or the end of the loop.
fn serve(
    options: &Options,
    listener: std::net::TcpListener,
    address: SocketAddr,
    routes: axum::Router,
    notice: Option<String>,
    ends: Ends,
    announcer: &Announcer,
) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| DaemonError::System("starting threads", error))?;
    let url = format!("http://{}", SocketAddrUrl(options, address));
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| DaemonError::System("listening for signals", error))?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(http::serve(listener, routes, async {
            let _ = stopped.await;
        }));
        let endpoint = Endpoint { url: url.clone(), pid: std::process::id(), version: VERSION.into(), notice };
        endpoint::write(&options.state_dir, &endpoint)
            .map_err(|error| DaemonError::StateDirectory(options.state_dir.display().to_string(), error))?;
        tracing::info!("serving {url}/scheduler");
        announcer
            .start(&options.advertised_host(), address.port())
            .map_err(|error| DaemonError::System("starting to announce", error))?;
        tokio::select! {
            name = signals.any() => tracing::info!("{name}: stopping; tasks go on running"),
            () = end_of_input(), if options.ephemeral => tracing::info!("whoever started this cluster is gone: stopping"),
            () = ends.quit.notified() => tracing::info!("asked over HTTP: stopping; tasks go on running"),
            _ = ends.loop_ended => tracing::error!("the loop ended"),
        }
        endpoint::remove(&options.state_dir);
        // Nobody may be sent here any more before the door closes.
        tokio::task::block_in_place(|| announcer.withdraw());
        let _ = stop.send(());
        match serving.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DaemonError::System("serving", error)),
            Err(_) => Err(DaemonError::Fault),
        }
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Completes when standard input is closed: the process that held it is gone.
async fn end_of_input() {
    let (gone, waiting) = tokio::sync::oneshot::channel();
    // Reading blocks, and the thread ends with the process at the latest.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = waiting.await;
}

/// The signals that end a daemon.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Prints the host and port others should use.
struct SocketAddrUrl<'a>(&'a Options, SocketAddr);

impl std::fmt::Display for SocketAddrUrl<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.0.advertised_host(), self.1.port())
    }
}
