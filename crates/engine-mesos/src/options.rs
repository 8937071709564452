//! Settings of the engine, and the framework's description made of them (spec mesos 1.5, scheduler 6.4).

use std::path::PathBuf;
use std::time::Duration;

use mesos::v1::framework_info::{Capability, capability};
use mesos::v1::{FrameworkId, FrameworkInfo};
use model::executor::Executor;

use crate::credentials::Credentials;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Masters: `host:port,host:port`, or where they register: `zk://[user:password@]host:port,…/path`, or `file://` naming a file that
    /// holds such an address.
    pub masters: String,
    /// Who the framework is.
    pub framework: Framework,
    /// How it proves that, where masters ask.
    pub credentials: Option<Credentials>,
    /// Whether the principal is part of the framework's description, as reservations need it.
    pub announce_principal: bool,
    /// How masters are spoken to with TLS.
    pub tls: Tls,
    /// Executors that jobs may name.
    pub executors: Vec<Executor>,
    /// Names of those that change to the user whom a job's Docker parameters name by themselves, so that Docker starts them as root: others
    /// could not execute what agents fetch.
    pub executors_that_change_user: Vec<String>,
    /// Commands that tasks may name in the place of an executor; the agent's own executor runs them.
    pub commands: Vec<CommandTask>,
    /// Where tasks announce themselves for discovery (the cluster's name); none where they are not to.
    pub discovery_location: Option<String>,
    /// How long what an accepted offer leaves over is not offered again.
    pub accept_refuse: Duration,
    /// How patient the engine is.
    pub timing: Timing,
}

/// A command that Mesos runs by itself, with no executor of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandTask {
    /// Name by which a task's configuration chooses it, in the place of an executor's.
    pub name: String,
    /// A line for the shell.
    pub command: String,
    /// Docker image to run it in, with a network of its own; fetched anew each time. Without one it runs on the agent itself.
    pub image: Option<String>,
    /// Tasks are named for people by this and their id.
    pub task_name_prefix: String,
}

/// Who the framework is. What a master remembers of `user` and `checkpoint` cannot be changed later.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Agents run executors as this user.
    pub user: String,
    /// Name for people.
    pub name: String,
    /// Roles to take offers for; none is `*`.
    pub roles: Vec<String>,
    /// Registers with a list of roles even for one or none.
    pub multi_role: bool,
    /// How long masters keep tasks without a scheduler before they kill them all.
    pub failover_timeout: Duration,
    /// Whether tasks outlive a restart of their agent.
    pub checkpoint: bool,
    /// Host of the scheduler, for people.
    pub hostname: Option<String>,
    /// Pages of the scheduler, for people.
    pub webui_url: Option<String>,
    /// Whether lost agents are told apart from lost tasks.
    pub partition_aware: bool,
    /// Whether resources that may be taken back are wanted.
    pub revocable: bool,
    /// Whether agents with GPUs are wanted; without it they are not offered at all.
    pub gpus: bool,
    /// Whether agents of other regions are wanted.
    pub region_aware: bool,
}

/// How masters are spoken to with TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Speak TLS to masters whose address does not say `http://`.
    pub enabled: bool,
    /// Certificates to trust (PEM); the system's where none is given.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key (PEM), for masters that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How patient the engine is. The defaults are the advice of Mesos (spec mesos 1.8).
#[derive(Clone, Debug)]
pub struct Timing {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For a master to take a subscription; shorter than for calls, so that one that hangs is left for one that leads.
    pub subscribe_timeout: Duration,
    /// For a call to be answered.
    pub call_timeout: Duration,
    /// Heartbeats that may be missed.
    pub missed_heartbeats: u32,
    /// Shortest wait between attempts.
    pub backoff_min: Duration,
    /// Longest wait between attempts.
    pub backoff_max: Duration,
    /// After this long without a sign of life ZooKeeper drops our session.
    pub zookeeper_session_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            subscribe_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(75),
            missed_heartbeats: mesos::MISSED_HEARTBEATS,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(15),
            zookeeper_session_timeout: Duration::from_secs(15),
        }
    }
}

impl Default for Framework {
    fn default() -> Self {
        Self {
            user: "root".to_owned(),
            name: "Aurora".to_owned(),
            roles: Vec::new(),
            multi_role: false,
            failover_timeout: Duration::from_secs(7 * 24 * 3600),
            checkpoint: true,
            hostname: None,
            webui_url: None,
            partition_aware: true,
            revocable: false,
            gpus: false,
            region_aware: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            masters: String::new(),
            framework: Framework::default(),
            credentials: None,
            announce_principal: true,
            tls: Tls::default(),
            executors: Vec::new(),
            executors_that_change_user: Vec::new(),
            commands: Vec::new(),
            discovery_location: None,
            accept_refuse: Duration::ZERO,
            timing: Timing::default(),
        }
    }
}

impl Framework {
    /// A framework has a list of roles, or one role in a field of its own; never both (spec mesos 1.5).
    fn has_role_list(&self) -> bool {
        self.multi_role || self.roles.len() > 1
    }

    /// All roles by name, for calls that list them.
    pub(crate) fn all_roles(&self) -> Vec<String> {
        if self.roles.is_empty() && !self.has_role_list() { vec!["*".to_owned()] } else { self.roles.clone() }
    }

    /// Why this cannot be registered, for the operator.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.user.is_empty() || self.name.is_empty() {
            return Err("the framework needs a user and a name".to_owned());
        }
        let limit_secs = i64::MAX as f64 / 1e9;
        if self.failover_timeout.as_secs_f64() > limit_secs {
            return Err("the failover timeout is longer than Mesos can count (292 years)".to_owned());
        }
        for (at, role) in self.roles.iter().enumerate() {
            check_role(role)?;
            if self.roles[..at].contains(role) {
                return Err(format!("role {role} is given twice"));
            }
        }
        Ok(())
    }
}

/// The rules of spec mesos 3.2.
fn check_role(role: &str) -> Result<(), String> {
    if role == "*" {
        return Ok(());
    }
    let refuse = |why: &str| Err(format!("{role:?} is no role of Mesos: {why}"));
    for part in role.split('/') {
        match part {
            "" => return refuse("it must not be empty, begin or end with '/', or hold '//'"),
            "." | ".." | "*" => return refuse("no part of it may be '.', '..' or '*'"),
            part if part.starts_with('-') => return refuse("no part of it may begin with '-'"),
            part if part.chars().any(|c| c.is_whitespace() || c == '\u{8}') => {
                return refuse("it must not hold white space");
            }
            _ => {}
        }
    }
    Ok(())
}

impl Options {
    /// What the framework says of itself.
    pub(crate) fn framework_info(&self, id: Option<&str>) -> FrameworkInfo {
        use capability::Type;
        let framework = &self.framework;
        let has_list = framework.has_role_list();
        let capabilities = [
            // Offers then show refined reservations, and always in one format.
            (Type::ReservationRefinement, true),
            (Type::PartitionAware, framework.partition_aware),
            (Type::MultiRole, has_list),
            (Type::RevocableResources, framework.revocable),
            (Type::GpuResources, framework.gpus),
            (Type::RegionAware, framework.region_aware),
        ];
        let wanted = capabilities.into_iter().filter(|(_, wanted)| *wanted);
        let principal = self.credentials.as_ref().filter(|_| self.announce_principal);
        FrameworkInfo {
            user: framework.user.clone(),
            name: framework.name.clone(),
            id: id.map(FrameworkId::from),
            failover_timeout: Some(framework.failover_timeout.as_secs_f64()),
            checkpoint: Some(framework.checkpoint),
            role: if has_list { None } else { framework.roles.first().cloned() },
            roles: if has_list { framework.roles.clone() } else { Vec::new() },
            hostname: framework.hostname.clone(),
            principal: principal.map(|credentials| credentials.principal.clone()),
            webui_url: framework.webui_url.clone(),
            capabilities: wanted.map(|(kind, _)| Capability { r#type: Some(kind as i32) }).collect(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(info: &FrameworkInfo) -> Vec<i32> {
        info.capabilities.iter().filter_map(|capability| capability.r#type).collect()
    }

    #[test]
    fn one_role_has_its_own_field_and_several_are_a_list() {
        let mut options = Options::default();
        let info = options.framework_info(None);
        assert_eq!((info.role, info.roles.len(), info.id), (None, 0, None));
        assert_eq!((info.failover_timeout, info.checkpoint), (Some(604_800.0), Some(true)));
        assert_eq!(options.framework.all_roles(), ["*"]);
        options.framework.roles = vec!["web".into()];
        let info = options.framework_info(Some("f-1"));
        assert_eq!((info.role.as_deref(), info.roles.len()), (Some("web"), 0));
        assert_eq!(info.id.as_ref().map(|id| id.value.as_str()), Some("f-1"));
        assert_eq!(kinds(&info), [7, 5]);
        options.framework.roles.push("batch".into());
        let info = options.framework_info(None);
        assert_eq!((info.role, info.roles.len()), (None, 2));
        options.framework = Framework { roles: vec!["web".into()], multi_role: true, gpus: true, ..options.framework };
        options.framework.revocable = true;
        let info = options.framework_info(None);
        assert_eq!((info.role.as_deref(), info.roles.as_slice()), (None, &["web".to_owned()][..]));
        assert_eq!(kinds(&info), [7, 5, 6, 1, 3]);
    }

    #[test]
    fn the_principal_is_announced_only_where_it_is_to_be() {
        let credentials = Credentials { principal: "p".into(), secret: "s".into() };
        let mut options = Options { credentials: Some(credentials), ..Options::default() };
        assert_eq!(options.framework_info(None).principal.as_deref(), Some("p"));
        options.announce_principal = false;
        assert_eq!(options.framework_info(None).principal, None);
    }

    #[test]
    fn what_masters_would_refuse_is_refused_here() {
        let check = |change: &dyn Fn(&mut Framework)| {
            let mut framework = Framework::default();
            change(&mut framework);
            framework.check()
        };
        assert_eq!(check(&|_| {}), Ok(()));
        assert_eq!(check(&|it| it.roles = vec!["a/b".into(), "*".into(), "x-y".into()]), Ok(()));
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "a/*", "-a", "a b"] {
            assert!(check(&|it| it.roles = vec![bad.into()]).is_err(), "{bad}");
        }
        assert!(check(&|it| it.roles = vec!["a".into(), "a".into()]).is_err());
        assert!(check(&|it| it.user = String::new()).is_err());
        assert!(check(&|it| it.failover_timeout = Duration::from_secs(1 << 40)).is_err());
    }
}
