//! The daemon's own announcement in ZooKeeper, so that clients find the leading scheduler there (spec thrift-api 1.6). A ZooKeeper that
//! is gone never stops the daemon: it is told in the log and among the statistics. Not who leads: one daemon does so far.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use discovery::{
    AccessRule, Announcement, AnnouncementState, AuthFile, AuthFileError, Credential, Endpoint, Ensemble, Member,
    Settings,
};

/// How long the end of the daemon waits for its node to go.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(4);

/// Where the scheduler announces itself.
#[derive(Clone, Debug)]
pub struct AnnounceOptions {
    /// Servers, and the path before every other.
    pub ensemble: Ensemble,
    /// Path of the set that has the leader as its only member.
    pub path: String,
    /// Name of the endpoint that clients look for.
    pub endpoint_name: String,
    /// How long ZooKeeper shows a scheduler that is gone.
    pub session_timeout: Duration,
    /// With it nobody else may change the nodes.
    pub credential: Option<Credential>,
}

/// Where tasks are announced.
#[derive(Clone, Debug)]
pub struct TaskAnnounceOptions {
    /// Servers.
    pub ensemble: Ensemble,
    /// Path below which each job has its set.
    pub root: String,
    /// Whether jobs may choose another path.
    pub allow_custom_path: bool,
    /// Host that is announced instead of the agent's.
    pub hostname: Option<String>,
    /// File with credentials and access rules.
    pub auth_file: Option<PathBuf>,
}

impl TaskAnnounceOptions {
    /// Refuses a file that would fail every task later.
    pub fn check(&self) -> Result<(), AuthFileError> {
        self.auth_file.as_deref().map_or(Ok(()), |path| AuthFile::load(path).map(drop))
    }

    /// As this machine's engine takes it.
    pub(crate) fn for_engine(&self) -> engine_local::Announcing {
        engine_local::Announcing {
            ensemble: self.ensemble.to_string(),
            root: self.root.clone(),
            allow_custom_path: self.allow_custom_path,
            hostname: self.hostname.clone(),
            // Helpers of tasks have another working directory.
            auth_file: self.auth_file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            session_timeout: Duration::from_secs(10),
        }
    }
}

/// The announcement of this daemon, once it is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcer {
    options: Option<AnnounceOptions>,
    announcement: Arc<Mutex<Option<Announcement>>>,
}

impl Announcer {
    pub(crate) fn new(options: Option<AnnounceOptions>) -> Self {
        Self { options, announcement: Arc::default() }
    }

    /// Starts to announce that clients are served at this address; does nothing where that was not asked for.
    pub(crate) fn start(&self, host: &str, port: u16) -> io::Result<()> {
        let Some(options) = &self.options else { return Ok(()) };
        let settings = Settings {
            session_timeout: options.session_timeout,
            credentials: options.credential.iter().cloned().collect(),
            ..Settings::new(options.ensemble.clone())
        };
        let endpoint = Endpoint::new(host.trim_matches(['[', ']']), port);
        let member = Member::alive(endpoint.clone(), [(options.endpoint_name.clone(), endpoint)].into());
        let rules = if options.credential.is_some() { AccessRule::read_all_creator_all() } else { Vec::new() };
        if is_loopback(host) && !options.ensemble.servers().iter().all(|server| is_loopback(&server.host)) {
            tracing::warn!(
                "{host} is announced in ZooKeeper at {}: clients on other machines cannot reach that. Set --listen and --hostname",
                options.ensemble
            );
        }
        let mut teller = Teller { path: options.path.clone(), ..Teller::default() };
        let on_change = move |state: &AnnouncementState| teller.tell(state);
        let announcement = Announcement::start_telling(settings, &options.path, &member, &rules, on_change)?;
        *self.announcement.lock().unwrap_or_else(PoisonError::into_inner) = Some(announcement);
        Ok(())
    }

    /// Takes the announcement back. Blocks for a moment.
    pub(crate) fn withdraw(&self) {
        let announcement = self.announcement.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(announcement) = announcement
            && !announcement.leave(WITHDRAW_LIMIT)
        {
            tracing::warn!("ZooKeeper shows this scheduler until its session times out: it cannot be reached now");
        }
    }

    /// How it fares, among the statistics.
    pub(crate) fn gauges(&self) -> Vec<(String, i64)> {
        if self.options.is_none() {
            return Vec::new();
        }
        let state = self.announcement.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Announcement::state);
        let is = |yes: fn(&AnnouncementState) -> bool| i64::from(state.as_ref().is_some_and(yes));
        let missing = state.as_ref().map_or(Duration::ZERO, AnnouncementState::missing_for);
        let joins = state.as_ref().map_or(0, |state| state.joins);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        vec![
            ("zookeeper_announced".into(), is(|state| state.missing_since.is_none())),
            ("zookeeper_announcements".into(), signed(joins)),
            ("zookeeper_connected".into(), is(|state| state.is_connected)),
            ("zookeeper_unannounced_secs".into(), signed(missing.as_secs())),
        ]
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Logs what is new, once.
#[derive(Default)]
struct Teller {
    path: String,
    node: Option<String>,
    problem: Option<String>,
}

impl Teller {
    fn tell(&mut self, state: &AnnouncementState) {
        if state.problem != self.problem {
            self.problem.clone_from(&state.problem);
            match &state.problem {
                Some(problem) => tracing::warn!("announcing at {}: {problem}; it is tried again", self.path),
                None => tracing::info!("connected to ZooKeeper"),
            }
        }
        if state.node != self.node {
            self.node.clone_from(&state.node);
            match &state.node {
                Some(node) => tracing::info!("announced in ZooKeeper as {node}"),
                None => tracing::info!("not announced in ZooKeeper any more"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use discovery::server_set;
    use discovery::testing::{Zookeeper, eventually};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn gauge(announcer: &Announcer, name: &str) -> i64 {
        announcer.gauges().into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap()
    }

    #[test]
    fn a_daemon_is_announced_survives_the_loss_of_zookeeper_and_withdraws() {
        let mut server = Zookeeper::start();
        let options = AnnounceOptions {
            ensemble: server.address().parse().unwrap(),
            path: "/aurora/scheduler".into(),
            endpoint_name: "http".into(),
            session_timeout: Duration::from_secs(2),
            credential: Some(Credential::digest("aurora", "secret")),
        };
        let announcer = Announcer::new(Some(options));
        assert_eq!(gauge(&announcer, "zookeeper_announced"), 0);
        announcer.start("[::1]", 8081).unwrap();
        eventually("the announcement", SOON, || gauge(&announcer, "zookeeper_announced") == 1);
        let client = server.client();
        let text = r#"{"serviceEndpoint":{"host":"::1","port":8081},"additionalEndpoints":{"http":{"host":"::1","port":8081}},"status":"ALIVE"}"#;
        assert_eq!(client.data("/aurora/scheduler/member_0000000000").unwrap(), text.as_bytes());
        assert!(!client.delete("/aurora/scheduler/member_0000000000"), "nobody else may");
        drop(client);

        server.stop();
        eventually("the loss", SOON, || gauge(&announcer, "zookeeper_connected") == 0);
        eventually("that it counts", SOON, || gauge(&announcer, "zookeeper_unannounced_secs") >= 1);
        server.start_again();
        eventually("the announcement", SOON, || gauge(&announcer, "zookeeper_announced") == 1);
        assert_eq!(server_set::read(&server.settings(), "/aurora/scheduler", SOON).unwrap().len(), 1);
        announcer.withdraw();
        assert_eq!(server_set::read(&server.settings(), "/aurora/scheduler", SOON).unwrap(), []);
        assert_eq!(gauge(&announcer, "zookeeper_announced"), 0);
    }

    #[test]
    fn without_being_asked_nothing_is_announced_or_counted() {
        let announcer = Announcer::default();
        announcer.start("h", 1).unwrap();
        assert_eq!(announcer.gauges(), []);
        announcer.withdraw();
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        assert!(is_loopback("127.0.0.1") && is_loopback("[::1]") && is_loopback("localhost"));
        assert!(!is_loopback("10.0.0.1") && !is_loopback("example.org"));
    }
}
