//! A Mesos cluster as engine of the daemon: the engine's settings from the operator's options, and the executor that agents fetch.

use std::net::SocketAddr;
use std::sync::Arc;

use engine::EventSink;
use engine_mesos::{Credentials, Framework, MesosEngine, MesosFiles, Placed, Tls};
use gateway::Gateway;
use model::TaskId;
use model::executor::Executor;
use model::task::AURORA_EXECUTOR_NAME;

use crate::daemon::{DaemonError, VERSION};
use crate::engines::{Control, Started};
use crate::executor_file::ExecutorFile;
use crate::mesos_options::MesosOptions;
use crate::options::{Options, OptionsError};

/// Starts the engine; it connects when it is told to begin.
pub(crate) fn start(
    options: &Options,
    mesos: &MesosOptions,
    address: SocketAddr,
    sink: Arc<dyn EventSink>,
    gateway: &Arc<Gateway>,
) -> Result<Started, DaemonError> {
    let url = format!("http://{}:{}", options.advertised_host(), address.port());
    let (path, served) = match &mesos.executor.path {
        Some(path) => (path.clone(), None),
        None => {
            let file = ExecutorFile::find(&options.executable, VERSION)?;
            let path = format!("{url}{}", file.address());
            let (shown, bytes) = (file.path.display(), file.size_bytes());
            tracing::info!("agents fetch the executor, {shown} of {bytes} bytes, from {path}");
            (path, Some(file))
        }
    };
    let executors = mesos.executors(&path, served.is_some()).map_err(OptionsError::from)?;
    let overheads: Vec<_> = executors.iter().map(|executor| (executor.name.clone(), executor.overhead)).collect();
    let is_ours = |executor: &&Executor| {
        let fetches = |command: &model::executor::Command| command.uris.iter().any(|uri| uri.value == path);
        served.is_some() && executor.name == AURORA_EXECUTOR_NAME && executor.command.as_ref().is_some_and(fetches)
    };
    let executors_that_change_user = executors.iter().filter(is_ours).map(|executor| executor.name.clone()).collect();
    let settings = engine_mesos::Options { executors_that_change_user, ..settings(options, mesos, executors, &url)? };
    let (credentials, tls) = (settings.credentials.clone(), settings.tls.clone());
    let engine = MesosEngine::start(settings, sink)?;
    let view = Arc::clone(gateway);
    let locate = Arc::new(move |task: &TaskId| locate(&view, task));
    let files = MesosFiles::new(engine.directory(), locate, &tls, credentials.as_ref())
        .map_err(engine_mesos::StartError::from)?;
    let statistics = engine.statistics();
    let gauges = move || statistics.snapshot().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Started {
        files: Arc::new(files),
        control: Control::Mesos(engine.control()),
        engine: Box::new(engine),
        settings: scheduler::Settings {
            forget_framework: mesos.forget_framework.clone(),
            several_roles: mesos.roles.len() > 1,
            ..mesos.offers.settings(&options.core, options.jobs.admission(&options.core.admission, &overheads))
        },
        routes: served.map_or_else(axum::Router::new, |file| file.router()),
        gauges: Box::new(gauges),
        name: "Mesos",
    })
}

fn settings(
    options: &Options,
    mesos: &MesosOptions,
    executors: Vec<Executor>,
    url: &str,
) -> Result<engine_mesos::Options, DaemonError> {
    let by_hand = mesos.secret().map_err(OptionsError::from)?;
    let by_hand = by_hand.map(|(principal, secret)| Credentials { principal, secret });
    let credentials = match &mesos.authentication_file {
        Some(path) => Some(Credentials::load(path)?),
        None => by_hand,
    };
    Ok(engine_mesos::Options {
        masters: mesos.master.clone(),
        framework: Framework {
            user: mesos.executor_user.clone(),
            name: mesos.framework_name.clone(),
            roles: mesos.roles.clone(),
            failover_timeout: mesos.failover_timeout,
            hostname: Some(options.advertised_host()),
            webui_url: Some(format!("{url}/scheduler")),
            partition_aware: mesos.partition_aware,
            revocable: mesos.receive_revocable_resources,
            gpus: options.jobs.allow_gpu_resource,
            ..Framework::default()
        },
        credentials,
        announce_principal: mesos.announce_principal,
        tls: Tls { enabled: mesos.tls, ca_file: mesos.ca_file.clone(), certificate: mesos.certificate.clone() },
        executors,
        discovery_location: mesos.populate_discovery_info.then(|| options.cluster.clone()),
        ..engine_mesos::Options::default()
    })
}

/// Where a task was placed, as the latest durable state has it.
fn locate(gateway: &Gateway, task: &TaskId) -> Option<Placed> {
    let view = gateway.view();
    let task = view.task(task)?;
    Some(Placed {
        agent_id: task.agent_id.as_deref()?.to_owned(),
        host: task.host.as_deref()?.clone(),
        config: Arc::clone(&task.config),
    })
}
