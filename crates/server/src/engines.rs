//! The engines as the daemon sees them: started by options, handed to the loop, asked a few things from outside. Each engine's own
//! details are its crate's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::files::TaskFiles;
use engine::{Engine, EventSink};
use gateway::Gateway;
use scheduler::View;

use crate::daemon::DaemonError;
use crate::mesos_options::EngineOptions;
use crate::options::{Options, system_hostname};
use crate::zookeeper::TaskAnnounceOptions;

/// How often sandboxes are measured against the disk their tasks asked for.
const DISK_INTERVAL: Duration = Duration::from_secs(15);

/// An engine that was started and has not yet been told to begin.
pub(crate) struct Started {
    /// For the loop.
    pub(crate) engine: Box<dyn Engine + Send>,
    /// What the loop asks of it; the daemon's other threads have their own way in.
    pub(crate) control: Control,
    /// Processes, logs and sandboxes.
    pub(crate) files: Arc<dyn TaskFiles>,
    /// Settings of the core that suit it.
    pub(crate) settings: scheduler::Settings,
    /// Routes of the daemon that it needs.
    pub(crate) routes: axum::Router,
    /// Its own statistics, by name.
    pub(crate) gauges: Box<dyn Fn() -> Vec<(String, i64)> + Send + Sync>,
    /// Its name for people.
    pub(crate) name: &'static str,
}

/// What the daemon asks of an engine beside the loop's calls.
pub(crate) enum Control {
    /// This machine's own.
    Local(engine_local::Control),
    /// A Mesos cluster.
    Mesos(engine_mesos::Control),
}

impl Control {
    /// The state is recovered: the engine may connect, with the id it was once given.
    pub(crate) fn begin(&self, framework_id: Option<String>) {
        match self {
            // It needed nothing to begin.
            Self::Local(_) => {}
            Self::Mesos(control) => control.begin(framework_id),
        }
    }

    /// What a user should know of this machine, at most this long after the start.
    pub(crate) fn notice(&self, limit: Duration) -> Option<String> {
        match self {
            Self::Local(control) => control.notice(limit),
            Self::Mesos(_) => None,
        }
    }

    /// Ends everything that an ephemeral daemon started; false when something did not end in time. On Mesos that is the whole
    /// framework.
    pub(crate) fn shut_down(&self, limit: Duration) -> bool {
        match self {
            Self::Local(control) => control.shut_down(limit),
            Self::Mesos(control) => control.teardown(limit),
        }
    }
}

/// Starts the engine that the options name. `address` is where the daemon really listens.
pub(crate) fn start(
    options: &Options,
    address: SocketAddr,
    sink: Arc<dyn EventSink>,
    gateway: &Arc<Gateway>,
) -> Result<Started, DaemonError> {
    match &options.engine {
        EngineOptions::Local => start_local(options, sink),
        EngineOptions::Mesos(mesos) => crate::mesos::start(options, mesos, address, sink, gateway),
    }
}

fn start_local(options: &Options, sink: Arc<dyn EventSink>) -> Result<Started, DaemonError> {
    let identities = options.identities.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    let settings = engine_local::Options {
        state_dir: options.state_dir.clone(),
        executable: options.executable.clone(),
        hostname: options.hostname.clone().unwrap_or_else(system_hostname),
        resources: options.resources.clone(),
        attributes: options.attributes.clone(),
        agents: options.agents,
        identities: identities.map_err(engine_local::StartError::from)?,
        cpu_quota: options.cpu_quota,
        disk_interval: DISK_INTERVAL,
        announcing: options.announce_tasks.as_ref().map(TaskAnnounceOptions::for_engine),
        ..engine_local::Options::default()
    };
    let engine = engine_local::LocalEngine::start(settings, sink)?;
    let executors = engine.executors();
    let settings = scheduler::Settings {
        admission: options.jobs.admission(&options.core.admission, &executors),
        // The engine never takes an offer back: what becomes free meanwhile is another offer.
        second_offer: scheduler::settings::SecondOffer::Adds,
        // It reports strays by itself, and asking within one process costs nothing that a pause would save.
        reconciliation_implicit_interval: None,
        reconciliation_explicit_batch_interval: Duration::ZERO,
        ..options.core.clone()
    };
    Ok(Started {
        files: engine.files(),
        control: Control::Local(engine.control()),
        engine: Box::new(engine),
        settings,
        routes: axum::Router::new(),
        gauges: Box::new(Vec::new),
        name: "this machine's engine",
    })
}

/// The id to connect with: the stored one, unless the operator says that it is no more.
pub(crate) fn framework_id(options: &Options, view: &View) -> Option<String> {
    let forgotten = match &options.engine {
        EngineOptions::Mesos(mesos) => mesos.forget_framework.as_deref(),
        EngineOptions::Local => None,
    };
    view.framework_id.as_deref().filter(|id| Some(*id) != forgotten).map(str::to_owned)
}

/// Refuses a state whose running tasks belong to another engine: they would be given up, and started a second time.
pub(crate) fn check_state(options: &Options, view: &View) -> Result<(), DaemonError> {
    let placed = view.tasks.values().filter(|task| task.status.is_assigned()).count();
    if placed == 0 {
        return Ok(());
    }
    let directory = || options.state_dir.display().to_string();
    match (&options.engine, &view.framework_id) {
        (EngineOptions::Mesos(_), None) => Err(DaemonError::NoFrameworkId { placed, directory: directory() }),
        (EngineOptions::Local, Some(id)) => {
            Err(DaemonError::OfMesos { placed, framework_id: id.to_string(), directory: directory() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{JobKey, TaskConfig, TaskStatus};
    use scheduler::Task;

    use super::*;
    use crate::mesos_options::MesosOptions;

    fn options(engine: EngineOptions) -> Options {
        Options { state_dir: "/state".into(), engine, ..Options::default() }
    }

    fn view(status: TaskStatus, framework_id: Option<&str>) -> View {
        let mut view = View { framework_id: framework_id.map(Into::into), ..View::default() };
        let task = Task {
            id: "t".into(),
            instance: 0,
            config: Arc::new(TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 1, "{}")),
            status,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events: Vec::new(),
            agent_id: Some("a".into()),
            host: None,
            ports: BTreeMap::new(),
        };
        view.tasks.insert(task.id.clone(), Arc::new(task));
        view
    }

    #[test]
    fn only_the_framework_that_is_named_is_forgotten() {
        let forgetting = |id: &str| {
            let mesos = MesosOptions { forget_framework: Some(id.into()), ..MesosOptions::default() };
            framework_id(&options(EngineOptions::Mesos(Box::new(mesos))), &view(TaskStatus::Running, Some("f-1")))
        };
        assert_eq!(forgetting("f-1"), None);
        assert_eq!(forgetting("f-0").as_deref(), Some("f-1"));
    }

    #[test]
    fn tasks_of_another_engine_are_never_started_a_second_time() {
        let mesos = || options(EngineOptions::Mesos(Box::default()));
        let local = || options(EngineOptions::Local);
        for status in [TaskStatus::Assigned, TaskStatus::Running, TaskStatus::Partitioned, TaskStatus::Killing] {
            let lost = check_state(&mesos(), &view(status, None)).unwrap_err().to_string();
            assert!(lost.contains("no framework id") && lost.contains("/state"), "{lost}");
            let foreign = check_state(&local(), &view(status, Some("f-1"))).unwrap_err().to_string();
            assert!(foreign.contains("f-1") && foreign.contains("--engine mesos"), "{foreign}");
            assert!(check_state(&mesos(), &view(status, Some("f-1"))).is_ok());
            assert!(check_state(&local(), &view(status, None)).is_ok());
        }
        for status in [TaskStatus::Pending, TaskStatus::Finished] {
            assert!(check_state(&mesos(), &view(status, None)).is_ok());
            assert!(check_state(&local(), &view(status, Some("f-1"))).is_ok());
        }
    }
}
