//! Being connected to a ZooKeeper: for ever, with a bounded back-off, taking a session up again where it can be. Not what is read or
//! written there.

use std::time::{Duration, Instant};

use zookeeper_client as zk;

use crate::Settings;

/// First wait after a failed attempt.
const DELAY_MIN: Duration = Duration::from_millis(200);
/// One attempt of so many asks for a new session instead of the lost one: a server that has forgotten more than the session, e.g. one
/// restored from an old copy, takes it up never and does not say so.
const FRESH_ATTEMPT_EACH: u32 = 5;
/// Between two attempts at something that ZooKeeper refuses, e.g. for lack of rights (spec executor 2.10).
pub(crate) const REFUSED_DELAY: Duration = Duration::from_secs(15);
/// Before an operation is repeated whose connection broke while another stands already.
const BROKEN_DELAY: Duration = Duration::from_millis(50);

/// What ZooKeeper answers.
pub(crate) type Answer<T> = Result<T, zk::Error>;

/// A connection and how it came about.
pub(crate) struct Connected {
    pub(crate) client: zk::Client,
    /// Whether the session is the one that was lost, with its nodes.
    pub(crate) is_resumed: bool,
}

/// The way to a ZooKeeper.
pub(crate) struct Link<'a> {
    settings: &'a Settings,
    previous: Option<zk::SessionInfo>,
    failures: u32,
}

impl<'a> Link<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, previous: None, failures: 0 }
    }

    /// Connects, however long it takes; each failure is told in a sentence.
    pub(crate) async fn connect(&mut self, mut failed: impl FnMut(String)) -> Connected {
        loop {
            match self.attempt().await {
                Ok(connected) => {
                    self.failures = 0;
                    self.previous = None;
                    return connected;
                }
                Err(zk::Error::SessionExpired) if self.previous.is_some() => self.previous = None,
                Err(error) => {
                    failed(self.explain(&error));
                    self.failures += 1;
                    tokio::time::sleep(self.delay()).await;
                }
            }
        }
    }

    /// The session ended as far as this side knows; the servers may know it still.
    pub(crate) fn lost(&mut self, client: zk::Client, error: &zk::Error) {
        let may_live = !matches!(error, zk::Error::AuthFailed) && !client.session().is_readonly();
        self.previous = may_live.then(|| client.into_session());
    }

    async fn attempt(&self) -> Answer<Connected> {
        let mut connector = zk::Client::connector()
            .with_session_timeout(self.settings.session_timeout)
            .with_fail_eagerly()
            // The oldest words for making a node, which every server understands.
            .with_server_version(3, 4, 0);
        for credential in &self.settings.credentials {
            connector = connector.with_auth(&credential.scheme, credential.secret.as_bytes());
        }
        let previous = self.previous.as_ref().filter(|_| !(self.failures + 1).is_multiple_of(FRESH_ATTEMPT_EACH));
        if let Some(previous) = previous {
            connector = connector.with_session(previous.clone());
        }
        let client = connector.connect(&self.settings.ensemble.connect_string()).await?;
        Ok(Connected { client, is_resumed: previous.is_some() })
    }

    fn explain(&self, error: &zk::Error) -> String {
        let ensemble = &self.settings.ensemble;
        match error {
            zk::Error::NoHosts | zk::Error::Timeout | zk::Error::ConnectionLoss => {
                format!("no ZooKeeper server answers at {ensemble}")
            }
            error => format!("ZooKeeper at {ensemble} cannot be used: {}", reason(error)),
        }
    }

    /// Doubles up to the limit; between half of it and all of it, so that a crowd comes back one by one.
    fn delay(&self) -> Duration {
        let full = DELAY_MIN.saturating_mul(1 << self.failures.min(16)).min(self.settings.reconnect_delay_max);
        full.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// An error in words for people.
pub(crate) fn reason(error: &zk::Error) -> String {
    match error {
        zk::Error::AuthFailed => "it refuses the credentials".into(),
        zk::Error::NoAuth => "the credentials do not permit it (see the ACL of the node)".into(),
        zk::Error::InvalidAcl => "it refuses the access rules".into(),
        error => error.to_string(),
    }
}

/// Whether an error ends the session.
pub(crate) fn ends_session(error: &zk::Error) -> bool {
    matches!(
        error,
        zk::Error::SessionExpired | zk::Error::SessionMoved | zk::Error::AuthFailed | zk::Error::ClientClosed
    )
}

/// What a session's state says to those who use it.
pub(crate) fn state_error(state: zk::SessionState) -> Option<zk::Error> {
    match state {
        zk::SessionState::Expired => Some(zk::Error::SessionExpired),
        zk::SessionState::AuthFailed => Some(zk::Error::AuthFailed),
        zk::SessionState::Closed => Some(zk::Error::ClientClosed),
        _ => None,
    }
}

/// How a session is seen by its user.
pub(crate) struct Session<'a> {
    pub(crate) client: &'a zk::Client,
    states: zk::StateWatcher,
}

/// What a turn of a loop over a session tells.
pub(crate) enum Turn {
    /// Connected, all is known.
    Connected,
    /// The connection broke; the session may go on.
    Disconnected,
    /// ZooKeeper refuses, with a sentence.
    Refused(String),
}

impl<'a> Session<'a> {
    pub(crate) fn new(client: &'a zk::Client) -> Self {
        Self { client, states: client.state_watcher() }
    }

    /// Repeats `look`, which reads and leaves a watch, each time its watch fires, until the session ends; returns why it did.
    pub(crate) async fn follow(
        &mut self,
        mut tell: impl FnMut(Turn),
        mut look: impl AsyncFnMut(&zk::Client) -> Answer<zk::OneshotWatcher>,
    ) -> zk::Error {
        loop {
            match look(self.client).await {
                Ok(watcher) => {
                    tell(Turn::Connected);
                    if let Err(error) = self.wait_for(watcher, &mut tell).await {
                        return error;
                    }
                }
                Err(error) if ends_session(&error) => return error,
                Err(zk::Error::ConnectionLoss) => {
                    tell(Turn::Disconnected);
                    if let Err(error) = self.reconnected().await {
                        return error;
                    }
                }
                Err(error) => {
                    tell(Turn::Refused(reason(&error)));
                    if let Err(error) = self.pause(REFUSED_DELAY).await {
                        return error;
                    }
                }
            }
        }
    }

    /// Waits for a watch, telling of the connection meanwhile.
    async fn wait_for(&mut self, watcher: zk::OneshotWatcher, tell: &mut impl FnMut(Turn)) -> Answer<()> {
        let changed = watcher.changed();
        let mut changed = std::pin::pin!(changed);
        loop {
            tokio::select! {
                event = &mut changed => {
                    return match (event.event_type, state_error(event.session_state)) {
                        (zk::EventType::Session, Some(error)) => Err(error),
                        _ => Ok(()),
                    };
                }
                state = self.states.changed() => match state_error(state) {
                    Some(error) => return Err(error),
                    None if state == zk::SessionState::Disconnected => tell(Turn::Disconnected),
                    None => tell(Turn::Connected),
                },
            }
        }
    }

    /// Waits until the connection stands again, or the session ends.
    async fn reconnected(&mut self) -> Answer<()> {
        tokio::time::sleep(BROKEN_DELAY).await;
        let mut state = self.states.state();
        loop {
            match state_error(state) {
                Some(error) => return Err(error),
                None if state != zk::SessionState::Disconnected => return Ok(()),
                None => state = self.states.changed().await,
            }
        }
    }

    /// Waits this long, or until the session ends.
    pub(crate) async fn pause(&mut self, delay: Duration) -> Answer<()> {
        let until = Instant::now() + delay;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.states.changed()).await {
                Err(_) => return Ok(()),
                Ok(state) => {
                    if let Some(error) = state_error(state) {
                        return Err(error);
                    }
                }
            }
        }
    }
}
