//! What the operator said about running on Mesos, checked, and what follows from it for jobs. Not the engine itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::container::{ContainerType, Volume};
use model::executor::{self, Executor, ExecutorError, ThermosSettings};
use model::task::AURORA_EXECUTOR_NAME;
use model::validation::{AdmissionRules, THERMOS_OVERHEAD};
use model::{CpuMillis, Resources};

/// Which engine runs tasks.
#[derive(Clone, Debug, Default)]
pub enum EngineOptions {
    /// This machine's own.
    #[default]
    Local,
    /// A Mesos cluster.
    Mesos(Box<MesosOptions>),
}

/// What jobs may ask for (spec executor 5.1). Aurora's defaults: nothing that an operator has not allowed.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Whether jobs may list files for the fetcher.
    pub enable_mesos_fetcher: bool,
    /// Kinds of container that are allowed.
    pub allowed_container_types: Vec<ContainerType>,
    /// Whether jobs may pass Docker parameters.
    pub allow_docker_parameters: bool,
    /// Filled in where a Docker container gives none.
    pub default_docker_parameters: Vec<(String, String)>,
    /// Whether Docker tasks need an executor.
    pub require_docker_use_executor: bool,
    /// Whether jobs may mount volumes.
    pub allow_container_volumes: bool,
    /// Whether jobs may ask for GPUs.
    pub allow_gpu_resource: bool,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            enable_mesos_fetcher: false,
            allowed_container_types: vec![ContainerType::Mesos],
            allow_docker_parameters: false,
            default_docker_parameters: Vec::new(),
            require_docker_use_executor: true,
            allow_container_volumes: false,
            allow_gpu_resource: false,
        }
    }
}

impl JobOptions {
    /// The rules for jobs, with these executors to be named; what is not said here is as in `base`.
    pub fn admission(&self, base: &AdmissionRules, executors: &[(String, Resources)]) -> AdmissionRules {
        AdmissionRules {
            executors: executors.iter().cloned().collect(),
            allow_gpu_resource: self.allow_gpu_resource,
            enable_mesos_fetcher: self.enable_mesos_fetcher,
            allow_container_volumes: self.allow_container_volumes,
            allowed_container_types: self.allowed_container_types.iter().copied().collect(),
            allow_docker_parameters: self.allow_docker_parameters,
            default_docker_parameters: self.default_docker_parameters.clone(),
            require_docker_use_executor: self.require_docker_use_executor,
            ..base.clone()
        }
    }
}

/// How offers are held and tasks asked about (spec scheduler 2.2, 6.5).
#[derive(Clone, Debug)]
pub struct OfferOptions {
    /// Unused offers go back after this.
    pub min_offer_hold_time: Duration,
    /// Up to this much later, at random.
    pub offer_hold_jitter_window: Duration,
    /// Unused offers are kept.
    pub hold_offers_forever: bool,
    /// How long what went back stays away.
    pub offer_filter_duration: Duration,
    /// Agents get no new tasks from this long before their maintenance.
    pub unavailability_threshold: Duration,
    /// No offers are wanted once nothing has been pending for this long.
    pub suppress_idle_after: Duration,
    /// First reconciliation on schedule.
    pub reconciliation_initial_delay: Duration,
    /// Between explicit ones.
    pub reconciliation_explicit_interval: Duration,
    /// Between implicit ones.
    pub reconciliation_implicit_interval: Duration,
    /// The first implicit one comes this much after the first explicit one.
    pub reconciliation_schedule_spread: Duration,
    /// Tasks in one question.
    pub reconciliation_explicit_batch_size: usize,
    /// Pause between questions.
    pub reconciliation_explicit_batch_interval: Duration,
    /// How long a new master is not believed that a task is gone.
    pub master_failover_grace: Duration,
}

impl Default for OfferOptions {
    fn default() -> Self {
        let settings = scheduler::Settings::default();
        let hour = Duration::from_secs(3600);
        Self {
            min_offer_hold_time: settings.min_offer_hold_time,
            offer_hold_jitter_window: settings.offer_hold_jitter_window,
            hold_offers_forever: settings.hold_offers_forever,
            offer_filter_duration: settings.offer_filter_duration,
            unavailability_threshold: settings.unavailability_threshold,
            suppress_idle_after: Duration::from_secs(30),
            reconciliation_initial_delay: settings.reconciliation_initial_delay,
            reconciliation_explicit_interval: settings.reconciliation_explicit_interval.unwrap_or(hour),
            reconciliation_implicit_interval: settings.reconciliation_implicit_interval.unwrap_or(hour),
            reconciliation_schedule_spread: settings.reconciliation_schedule_spread,
            reconciliation_explicit_batch_size: settings.reconciliation_explicit_batch_size,
            reconciliation_explicit_batch_interval: settings.reconciliation_explicit_batch_interval,
            master_failover_grace: settings.master_failover_grace,
        }
    }
}

impl OfferOptions {
    /// Settings of the core that follow; what is not said here is as in `base`.
    pub fn settings(&self, base: &scheduler::Settings, admission: AdmissionRules) -> scheduler::Settings {
        scheduler::Settings {
            admission,
            min_offer_hold_time: self.min_offer_hold_time,
            offer_hold_jitter_window: self.offer_hold_jitter_window,
            hold_offers_forever: self.hold_offers_forever,
            offer_filter_duration: self.offer_filter_duration,
            unavailability_threshold: self.unavailability_threshold,
            suppress_idle_after: Some(self.suppress_idle_after),
            reconciliation_initial_delay: self.reconciliation_initial_delay,
            reconciliation_explicit_interval: Some(self.reconciliation_explicit_interval),
            reconciliation_implicit_interval: Some(self.reconciliation_implicit_interval),
            reconciliation_schedule_spread: self.reconciliation_schedule_spread,
            reconciliation_explicit_batch_size: self.reconciliation_explicit_batch_size,
            reconciliation_explicit_batch_interval: self.reconciliation_explicit_batch_interval,
            master_failover_grace: self.master_failover_grace,
            ..base.clone()
        }
    }
}

/// How the built-in executor gets to the agents and what it costs there.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Where agents fetch it from; unset means from this daemon.
    pub path: Option<String>,
    /// More files for its sandbox.
    pub resources: Vec<String>,
    /// Appended to its command line.
    pub flags: Option<String>,
    /// Whether its HOME is the sandbox.
    pub home_in_sandbox: bool,
    /// Processors it takes on top of its task.
    pub cpu: CpuMillis,
    /// Memory it takes on top of its task, in MB.
    pub ram_mb: i64,
    /// Mounts of every container.
    pub global_container_mounts: Vec<Volume>,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            path: None,
            resources: Vec::new(),
            flags: None,
            home_in_sandbox: false,
            cpu: THERMOS_OVERHEAD.cpu,
            ram_mb: THERMOS_OVERHEAD.ram_mb,
            global_container_mounts: Vec::new(),
        }
    }
}

/// Settings of a daemon on Mesos.
#[derive(Clone, Debug)]
pub struct MesosOptions {
    /// `host:port[,…]` or `zk://…`.
    pub master: String,
    /// Name for people.
    pub framework_name: String,
    /// Roles to take offers for.
    pub roles: Vec<String>,
    /// Name at the master.
    pub principal: Option<String>,
    /// File that holds its secret and nothing else.
    pub secret_file: Option<PathBuf>,
    /// Aurora's file with both.
    pub authentication_file: Option<PathBuf>,
    /// Whether the principal is part of the framework's description.
    pub announce_principal: bool,
    /// How long Mesos keeps tasks without a scheduler.
    pub failover_timeout: Duration,
    /// The framework that this state belongs to and that Mesos has removed, with all its tasks: forgotten at the start.
    pub forget_framework: Option<String>,
    /// User that agents run executors as.
    pub executor_user: String,
    /// Whether a partition is told apart from a loss.
    pub partition_aware: bool,
    /// Whether revocable resources are wanted.
    pub receive_revocable_resources: bool,
    /// Whether tasks describe themselves for discovery.
    pub populate_discovery_info: bool,
    /// Speak TLS to masters.
    pub tls: bool,
    /// Certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The built-in executor.
    pub executor: ExecutorOptions,
    /// File that describes custom executors.
    pub custom_executor_config: Option<PathBuf>,
    /// Offers and reconciliation.
    pub offers: OfferOptions,
}

impl Default for MesosOptions {
    fn default() -> Self {
        Self {
            master: String::new(),
            framework_name: "Daybreak".into(),
            roles: Vec::new(),
            principal: None,
            secret_file: None,
            authentication_file: None,
            announce_principal: true,
            failover_timeout: Duration::from_secs(7 * 24 * 3600),
            forget_framework: None,
            executor_user: "root".into(),
            partition_aware: true,
            receive_revocable_resources: false,
            populate_discovery_info: false,
            tls: false,
            ca_file: None,
            certificate: None,
            executor: ExecutorOptions::default(),
            custom_executor_config: None,
            offers: OfferOptions::default(),
        }
    }
}

/// Why options about Mesos are refused.
#[derive(Debug, thiserror::Error)]
pub enum MesosOptionsError {
    /// Nobody to register with.
    #[error("--engine mesos needs --mesos-master: host:port, a comma-separated list of them, or zk://host:port/path")]
    NoMaster,
    /// Agents could not fetch the executor from us.
    #[error(
        "agents fetch the executor from this daemon, and Mesos' pages lead to it: {0} is no address that they can reach. Listen on one \
         with --listen ADDRESS:PORT, and name this machine with --hostname NAME"
    )]
    Unreachable(String),
    /// Two ways to say who we are.
    #[error("--framework-authentication-file and --principal with --secret-file say the same: give one of them")]
    TwoIdentities,
    /// One without the other.
    #[error("--principal and --secret-file belong together: give both")]
    HalfIdentity,
    /// A file that was named cannot be read.
    #[error("{option} {path} cannot be read: {source}")]
    File {
        /// The option that names it.
        option: &'static str,
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Executors that only agents of Mesos can start.
    #[error(
        "--custom-executor-config {path} describes {names}, a program that an agent of Mesos starts, and there are none here: this machine's \
         engine runs jobs of {AURORA_EXECUTOR_NAME} and {} by itself. Add --mesos-master, or leave --custom-executor-config away",
        compose::EXECUTOR_NAME
    )]
    ExecutorsHere {
        /// The file.
        path: String,
        /// What it describes beside what is built in.
        names: String,
    },
    /// What it says about executors is wrong.
    #[error("{0}: {1}")]
    Executors(String, #[source] ExecutorError),
}

impl MesosOptions {
    /// Refuses what cannot work. `listen` and `hostname` are the daemon's.
    pub fn check(&self, listen: IpAddr, hostname: Option<&str>) -> Result<(), MesosOptionsError> {
        if self.master.trim().is_empty() {
            return Err(MesosOptionsError::NoMaster);
        }
        match (&self.principal, &self.secret_file, &self.authentication_file) {
            (None, None, _) | (Some(_), Some(_), None) => {}
            (_, _, Some(_)) => return Err(MesosOptionsError::TwoIdentities),
            _ => return Err(MesosOptionsError::HalfIdentity),
        }
        let unreachable = if listen.is_loopback() {
            Some(listen.to_string())
        } else {
            (listen.is_unspecified() && hostname.is_none()).then(|| format!("{listen} without --hostname"))
        };
        match unreachable.filter(|_| !self.masters_are_local()) {
            Some(address) => Err(MesosOptionsError::Unreachable(address)),
            None => Ok(()),
        }
    }

    /// Whether every master (or ZooKeeper server) is on this machine: then agents are taken to be as well.
    fn masters_are_local(&self) -> bool {
        let text = self.master.trim();
        let text = text.strip_prefix("zk://").map_or(text, |rest| rest.split('/').next().unwrap_or_default());
        let text = text.rsplit_once('@').map_or(text, |(_, hosts)| hosts);
        let mut hosts = text.split(',').map(|part| {
            let part = part.trim();
            let part = part.split_once("://").map_or(part, |(_, rest)| rest).trim_end_matches('/');
            match part.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => part.rsplit_once(':').map_or(part, |(host, _)| host),
            }
        });
        hosts.all(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
    }

    /// Executors that jobs may name: the built-in one, fetched from `path`, and those of the operator's file. One of that file
    /// may take the place of the built-in one.
    pub fn executors(&self, path: &str, cache: bool) -> Result<Vec<Executor>, MesosOptionsError> {
        let options = &self.executor;
        let overhead = Resources { cpu: options.cpu, ram_mb: options.ram_mb, ..Resources::ZERO };
        let settings = ThermosSettings {
            path: path.into(),
            cache,
            resources: options.resources.clone(),
            flags: options.flags.clone(),
            home_in_sandbox: options.home_in_sandbox,
            overhead,
            global_container_mounts: options.global_container_mounts.clone(),
        };
        let built_in = executor::thermos(&settings)
            .map_err(|error| MesosOptionsError::Executors("--executor-path".into(), error))?;
        let mut executors = self.custom_executors()?;
        if !executors.iter().any(|executor| executor.name == compose::EXECUTOR_NAME) {
            executors.insert(0, project_executor(&built_in));
        }
        if executors.iter().any(|executor| executor.name == AURORA_EXECUTOR_NAME) {
            tracing::warn!(
                "the file of custom executors has one named {AURORA_EXECUTOR_NAME}: it replaces the built-in one"
            );
        } else {
            executors.insert(0, built_in);
        }
        Ok(executors)
    }

    fn custom_executors(&self) -> Result<Vec<Executor>, MesosOptionsError> {
        let Some(path) = &self.custom_executor_config else { return Ok(Vec::new()) };
        let text = read(path, "--custom-executor-config")?;
        let named = format!("--custom-executor-config {}", path.display());
        executor::parse_custom(&text).map_err(|error| MesosOptionsError::Executors(named, error))
    }

    /// The secret of the principal, without the line's end.
    pub fn secret(&self) -> Result<Option<(String, String)>, MesosOptionsError> {
        let (Some(principal), Some(path)) = (&self.principal, &self.secret_file) else { return Ok(None) };
        let secret = read(path, "--secret-file")?;
        Ok(Some((principal.clone(), secret.trim_end_matches(['\n', '\r']).to_owned())))
    }
}

/// Refuses a file of custom executors that this machine's engine has no use for: it starts no programs of executors, and runs by itself
/// only what its own two run.
pub fn check_custom_executors_here(path: &Path) -> Result<(), MesosOptionsError> {
    let options = MesosOptions { custom_executor_config: Some(path.to_owned()), ..MesosOptions::default() };
    let names: Vec<String> = options.custom_executors()?.into_iter().map(|executor| executor.name).collect();
    let foreign: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != compose::EXECUTOR_NAME).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(MesosOptionsError::ExecutorsHere { path: path.display().to_string(), names: foreign.join(", ") })
}

/// The same program, for jobs that are docker-compose projects.
fn project_executor(built_in: &Executor) -> Executor {
    let mut executor = built_in.clone();
    executor.name = compose::EXECUTOR_NAME.to_owned();
    executor.task_prefix = compose::TASK_PREFIX.to_owned();
    if let Some(info) = executor.info.as_object_mut() {
        info.insert("name".to_owned(), compose::EXECUTOR_NAME.into());
    }
    executor
}

fn read(path: &Path, option: &'static str) -> Result<String, MesosOptionsError> {
    let shown = || path.display().to_string();
    std::fs::read_to_string(path).map_err(|source| MesosOptionsError::File { option, path: shown(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(master: &str) -> MesosOptions {
        MesosOptions { master: master.into(), ..MesosOptions::default() }
    }

    fn check(master: &str, listen: &str, hostname: Option<&str>) -> Result<(), String> {
        on(master).check(listen.parse().unwrap(), hostname).map_err(|error| error.to_string())
    }

    #[test]
    fn agents_must_be_able_to_reach_us() {
        for (listen, hostname) in [("127.0.0.1", None), ("::1", Some("node1")), ("0.0.0.0", None)] {
            let error = check("10.4.1.10:5050", listen, hostname).unwrap_err();
            assert!(error.contains("--listen") && error.contains("--hostname"), "{error}");
            assert!(check("zk://10.4.1.10:2181,localhost:2181/mesos", listen, hostname).is_err());
        }
        for (listen, hostname) in [("10.0.0.1", None), ("0.0.0.0", Some("node1.example")), ("::", Some("node1"))] {
            assert_eq!(check("10.4.1.10:5050", listen, hostname), Ok(()));
        }
        for master in [
            "127.0.0.1:5050",
            "localhost:5050,127.0.0.2:5051",
            "http://localhost:5050/",
            "[::1]:5050",
            "zk://localhost:2181/mesos",
            "zk://user:password@127.0.0.1:2181,[::1]:2181/mesos",
        ] {
            assert_eq!(check(master, "127.0.0.1", None), Ok(()), "{master}");
        }
    }

    #[test]
    fn executors_for_agents_are_refused_where_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("executors.json");
        let check = |names: &[&str]| {
            let entry = |name: &&str| {
                serde_json::json!({
                    "executor": {"name": name, "command": {"value": "x"}, "resources": []}, "task_prefix": "x-"
                })
            };
            let entries: Vec<serde_json::Value> = names.iter().map(entry).collect();
            std::fs::write(&path, serde_json::to_string(&entries).unwrap()).unwrap();
            check_custom_executors_here(&path).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["docker-compose-executor"]), Ok(()));
        let why = check(&["docker-compose-executor", "mine"]).unwrap_err();
        assert!(why.contains("describes mine,") && why.contains("Add --mesos-master"), "{why}");
        std::fs::write(&path, "no").unwrap();
        assert!(check_custom_executors_here(&path).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let loopback = "127.0.0.1".parse().unwrap();
        let refusal = |options: MesosOptions| options.check(loopback, None).unwrap_err().to_string();
        assert!(refusal(on(" ")).contains("--mesos-master"));
        let principal = Some("p".to_owned());
        let half = MesosOptions { principal: principal.clone(), ..on("localhost:5050") };
        assert!(refusal(half.clone()).contains("belong together"));
        let two = MesosOptions { secret_file: Some("s".into()), authentication_file: Some("a".into()), ..half };
        assert!(refusal(two).contains("give one of them"));
    }

    #[test]
    fn executors_are_the_built_in_one_and_those_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("executors.json");
        let options = MesosOptions { custom_executor_config: Some(path.clone()), ..on("localhost:5050") };
        let missing = options.executors("http://x/daybreak-executor", true).unwrap_err().to_string();
        assert!(missing.contains("--custom-executor-config") && missing.contains("executors.json"), "{missing}");
        std::fs::write(&path, r#"[{"executor": {"name": "compose", "resources": []}, "task_prefix": "compose-"}]"#)
            .unwrap();
        let names = |options: &MesosOptions| -> Vec<String> {
            let executors = options.executors("http://x/daybreak-executor", true).unwrap();
            executors.into_iter().map(|executor| executor.name).collect()
        };
        assert_eq!(names(&options), ["AuroraExecutor", "docker-compose-executor", "compose"]);
        std::fs::write(&path, r#"[{"executor": {"name": "docker-compose-executor"}, "task_prefix": "own-"}]"#).unwrap();
        assert_eq!(names(&options), ["AuroraExecutor", "docker-compose-executor"], "the file's own one");
        std::fs::write(&path, r#"[{"executor": {"name": "AuroraExecutor"}, "task_prefix": "own-"}]"#).unwrap();
        assert_eq!(names(&options), ["docker-compose-executor", "AuroraExecutor"]);
        std::fs::write(&path, "nonsense").unwrap();
        let malformed = options.executors("http://x/daybreak-executor", true).unwrap_err().to_string();
        assert!(malformed.contains("executors.json"), "{malformed}");
        let bad = on("localhost:5050").executors("http://x/", true).unwrap_err().to_string();
        assert!(bad.contains("--executor-path"), "{bad}");
    }

    #[test]
    fn a_secret_has_no_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, " s3cret \n").unwrap();
        let options = MesosOptions { principal: Some("p".into()), secret_file: Some(path), ..on("localhost:5050") };
        assert_eq!(options.secret().unwrap(), Some(("p".into(), " s3cret ".into())));
    }

    #[test]
    fn what_operators_allow_reaches_the_rules() {
        let options = JobOptions {
            enable_mesos_fetcher: true,
            allow_gpu_resource: true,
            allowed_container_types: vec![ContainerType::Docker],
            ..JobOptions::default()
        };
        let rules = options.admission(&AdmissionRules::default(), &[("x".into(), Resources::ZERO)]);
        assert!(rules.enable_mesos_fetcher && rules.allow_gpu_resource && !rules.allow_docker_parameters);
        assert_eq!(rules.executors.keys().collect::<Vec<_>>(), ["x"]);
        assert_eq!(rules.allowed_container_types, [ContainerType::Docker].into());
        let settings = OfferOptions { hold_offers_forever: true, ..OfferOptions::default() }
            .settings(&scheduler::Settings::default(), rules);
        assert!(settings.hold_offers_forever && settings.suppress_idle_after.is_some());
    }
}
