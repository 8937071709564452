//! What the operator asked for, checked. Not where it was asked: the command line belongs to the client.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::backups::BackupOptions;
use crate::mesos_options::{EngineOptions, JobOptions, MesosOptionsError};
use crate::outgoing::{Trust, TrustError};
use crate::security::{SecurityError, SecurityOptions};
use crate::service_levels::ServiceLevelOptions;
use crate::webhook::{WebhookError, WebhookSettings};
use crate::zookeeper::{AnnounceOptions, TaskAnnounceOptions};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything durable lives.
    pub state_dir: PathBuf,
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Name under which others reach this machine; the system's own when unset.
    pub hostname: Option<String>,
    /// Cluster name, the first part of job keys.
    pub cluster: String,
    /// Which engine runs tasks.
    pub engine: EngineOptions,
    /// What jobs may ask for.
    pub jobs: JobOptions,
    /// Levels of service and maintenance.
    pub service_levels: ServiceLevelOptions,
    /// Numbers of the scheduler and rules for jobs, before what the engine and the other options say.
    pub core: scheduler::Settings,
    /// How callers say who they are.
    pub security: SecurityOptions,
    /// The origin whose web pages may use the API.
    pub enable_cors_for: Option<String>,
    /// Prefix of links to statistics, for clients that show them.
    pub viz_job_url_prefix: String,
    /// File that says who is told of every change of a task.
    pub webhook: Option<PathBuf>,
    /// Authorities that are trusted beside the system's when coordinators and the webhook are called over HTTPS.
    pub https_ca_file: Option<PathBuf>,
    /// Options of Aurora's scheduler that mean nothing here, with the reason; told once.
    pub ignored_flags: Vec<String>,
    /// Where the daemon announces itself in ZooKeeper; nowhere when unset.
    pub announce: Option<AnnounceOptions>,
    /// Where tasks of this machine's engine are announced that ask for it; nowhere when unset.
    pub announce_tasks: Option<TaskAnnounceOptions>,
    /// Capacity of an agent instead of the machine's, e.g. `cpus:4;mem:2048;disk:10000;ports:[31000-32000]`.
    pub resources: Option<String>,
    /// Attributes of the agent, e.g. `rack:a;host:one`.
    pub attributes: Option<String>,
    /// How many agents this machine plays.
    pub agents: u32,
    /// Agents with names, attributes and sizes of their own, instead of alike ones (see [`engine_local::Identity`]).
    pub identities: Vec<String>,
    /// Tasks of this machine never get more cpu than they asked for, idle cpus or not.
    pub cpu_quota: bool,
    /// Backups of the state.
    pub backups: BackupOptions,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,scheduler=debug`.
    pub log_level: String,
    /// Whether jobs of role root are accepted.
    pub allow_root_role: bool,
    /// Listen beyond loopback although nothing authenticates callers.
    pub allow_unauthenticated: bool,
    /// End when standard input ends, and leave no task and no process behind.
    pub ephemeral: bool,
    /// Leave the terminal's session, so that closing it does not end the daemon.
    pub detached: bool,
    /// The program that is executed as launcher of tasks: this one.
    pub executable: PathBuf,
}

impl Default for Options {
    /// One machine, reachable from itself only, as `daybreak up` without any option.
    fn default() -> Self {
        Options {
            state_dir: "daybreak".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            hostname: None,
            cluster: "devcluster".into(),
            engine: EngineOptions::Local,
            jobs: JobOptions::default(),
            service_levels: ServiceLevelOptions::default(),
            core: scheduler::Settings::default(),
            security: SecurityOptions::default(),
            enable_cors_for: None,
            viz_job_url_prefix: String::new(),
            webhook: None,
            https_ca_file: None,
            ignored_flags: Vec::new(),
            announce: None,
            announce_tasks: None,
            resources: None,
            attributes: None,
            agents: 1,
            identities: Vec::new(),
            cpu_quota: false,
            backups: BackupOptions::default(),
            log_format: LogFormat::Text,
            log_level: "info".into(),
            allow_root_role: false,
            allow_unauthenticated: false,
            ephemeral: false,
            detached: false,
            executable: "daybreak".into(),
        }
    }
}

/// Why options are refused.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// About Mesos.
    #[error(transparent)]
    Mesos(#[from] MesosOptionsError),
    /// About security.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// About the webhook.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// About whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Not something that can stand in a header.
    #[error("--enable-cors-for '{0}' is no origin: write for example https://dashboard.example.org")]
    Origin(String),
    /// About announcing tasks.
    #[error("--announcer-zookeeper-auth-config: {0}")]
    AuthFile(#[from] discovery::AuthFileError),
    /// Anyone on the network could start processes here.
    #[error(
        "refusing to listen on {0}: nothing authenticates callers, so anyone who reaches it could run commands on this machine. \
         Listen on 127.0.0.1 (the default), make callers say who they are (--http-authentication-mechanism BASIC), or pass \
         --allow-unauthenticated if the network is trusted"
    )]
    Exposed(SocketAddr),
    /// Not an identifier.
    #[error("'{0}' cannot be a cluster name: use letters, digits, '_', '-' and '.'")]
    ClusterName(String),
    /// Meant for the embedded engine.
    #[error("{0} is about this machine's own engine; on Mesos the agents decide that for themselves: {1}")]
    OnlyHere(&'static str, &'static str),
    /// None, or too many.
    #[error("--agents {0} is out of range: use 1 to 1000")]
    Agents(u32),
}

impl Options {
    /// Refuses what would be unsafe or meaningless.
    pub fn check(&self) -> Result<(), OptionsError> {
        if !self.listen.ip().is_loopback() && !self.allow_unauthenticated && !self.security.basic {
            return Err(OptionsError::Exposed(self.listen));
        }
        if !model::key::is_identifier(&self.cluster) {
            return Err(OptionsError::ClusterName(self.cluster.clone()));
        }
        if !(1..=1000).contains(&self.agents) {
            return Err(OptionsError::Agents(self.agents));
        }
        if self.security.basic && self.security.ini.is_none() {
            return Err(SecurityError::NoFile.into());
        }
        if let Some(origin) = &self.enable_cors_for
            && axum::http::HeaderValue::from_str(origin).is_err()
        {
            return Err(OptionsError::Origin(origin.clone()));
        }
        self.webhook_settings()?;
        self.trust()?;
        if let EngineOptions::Mesos(mesos) = &self.engine {
            self.check_nothing_is_for_this_machine()?;
            mesos.check(self.listen.ip(), self.hostname.as_deref())?;
        }
        if let Some(announce_tasks) = &self.announce_tasks {
            announce_tasks.check()?;
        }
        Ok(())
    }

    /// What only the embedded engine heeds must not be given for a cluster, where it would be passed over.
    fn check_nothing_is_for_this_machine(&self) -> Result<(), OptionsError> {
        let given = [
            (self.resources.is_some(), "--resources", "start them with --resources"),
            (self.attributes.is_some(), "--attributes", "start them with --attributes"),
            (self.agents != 1, "--agents", "start as many as you want"),
            (!self.identities.is_empty(), "--agent", "start them with --hostname, --attributes and --resources"),
            (self.cpu_quota, "--cpu-quota", "start them with --cgroups_enable_cfs"),
        ];
        match given.into_iter().find(|(given, ..)| *given) {
            Some((_, option, instead)) => Err(OptionsError::OnlyHere(option, instead)),
            None => Ok(()),
        }
    }

    /// What the file of the webhook says; nothing where there is none.
    pub fn webhook_settings(&self) -> Result<Option<WebhookSettings>, WebhookError> {
        self.webhook.as_deref().map(WebhookSettings::load).transpose()
    }

    /// Whom to believe when programs of the operator are called over HTTPS.
    pub fn trust(&self) -> Result<Trust, TrustError> {
        Trust::load(self.https_ca_file.as_deref())
    }

    /// The host name others use: as given, else the address when it says more than "this machine", else the system's.
    pub fn advertised_host(&self) -> String {
        if let Some(name) = &self.hostname {
            return name.clone();
        }
        match self.listen.ip() {
            ip if ip.is_loopback() => ip.to_string(),
            ip if ip.is_unspecified() => system_hostname(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }
    }
}

/// The machine's own name, `localhost` when it has none.
pub fn system_hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &str) -> Options {
        Options { listen: listen.parse().unwrap(), ..Options::default() }
    }

    #[test]
    fn listening_beyond_loopback_must_be_forced() {
        assert!(options("127.0.0.1:8081").check().is_ok());
        assert!(options("[::1]:8081").check().is_ok());
        let exposed = options("0.0.0.0:8081");
        assert!(matches!(exposed.check(), Err(OptionsError::Exposed(address)) if address == exposed.listen));
        let security = SecurityOptions { basic: true, ini: Some("users.ini".into()) };
        assert!(Options { security, ..exposed.clone() }.check().is_ok());
        let nobody = Options { security: SecurityOptions { basic: true, ini: None }, ..exposed.clone() };
        assert!(nobody.check().unwrap_err().to_string().contains("--shiro-ini-path"));
        assert!(Options { allow_unauthenticated: true, ..exposed }.check().is_ok());
    }

    #[test]
    fn nonsense_is_named() {
        let bad = Options { cluster: "a b".into(), ..options("127.0.0.1:0") };
        assert!(bad.check().unwrap_err().to_string().contains("a b"));
        assert!(matches!(Options { agents: 0, ..options("127.0.0.1:0") }.check(), Err(OptionsError::Agents(0))));
        let nowhere = EngineOptions::Mesos(Box::default());
        let error = Options { engine: nowhere, ..options("127.0.0.1:0") }.check().unwrap_err().to_string();
        assert!(error.contains("--mesos-master"), "{error}");
    }

    #[test]
    fn what_only_this_machine_heeds_is_not_passed_over_on_a_cluster() {
        let cluster = || Options { engine: EngineOptions::Mesos(Box::default()), ..options("127.0.0.1:0") };
        for (refused, expected) in [
            (Options { cpu_quota: true, ..cluster() }, "--cgroups_enable_cfs"),
            (Options { agents: 2, ..cluster() }, "--agents"),
            (Options { resources: Some("cpus:1".into()), ..cluster() }, "--resources"),
            (Options { attributes: Some("rack:a".into()), ..cluster() }, "--attributes"),
        ] {
            let error = refused.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(Options { engine: EngineOptions::Local, ..refused }.check().is_ok());
        }
    }
}
