//! Being a member: the node is made, looked after, made again when it or the session is gone, and taken away at the end.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zookeeper_client as zk;

use crate::Settings;
use crate::auth::AccessRule;
use crate::background::{Background, Stop};
use crate::link::{Answer, Link, Session, Turn, reason};
use crate::member::{MEMBER_PREFIX, Member};

/// How long a node's removal and the session's end may take when the handle leaves.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// Least time between two joins, so that somebody who deletes the node again and again is no reason for haste.
const JOIN_INTERVAL: Duration = Duration::from_millis(200);

/// How an announcement fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncementState {
    /// The node's whole path, e.g. `/aurora/scheduler/member_0000000003`; unset while there is none as far as is known here.
    pub node: Option<String>,
    /// Whether a connection to ZooKeeper stands.
    pub is_connected: bool,
    /// Whether one has ever stood.
    pub was_connected: bool,
    /// Since when the member is missing; unset while it is announced.
    pub missing_since: Option<Instant>,
    /// How many times a node was made.
    pub joins: u64,
    /// What is in the way, in a sentence.
    pub problem: Option<String>,
}

impl AnnouncementState {
    /// For how long the member has been missing; nothing while it is announced.
    pub fn missing_for(&self) -> Duration {
        self.missing_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// What is announced, and where.
#[derive(Clone, Debug)]
struct Notice {
    /// Whole path of the set.
    path: String,
    data: Vec<u8>,
    rules: Vec<zk::Acl>,
}

/// One member of a server set for as long as this lives. Dropped, it is taken back in the background.
#[derive(Debug)]
pub struct Announcement {
    background: Background,
    state: watch::Receiver<AnnouncementState>,
}

impl Announcement {
    /// Starts to announce a member of the set at `path`. The rules hold for every node that is made, the set's own included; none means
    /// that everybody may do everything.
    pub fn start(settings: Settings, path: &str, member: &Member, rules: &[AccessRule]) -> io::Result<Self> {
        Self::start_telling(settings, path, member, rules, |_| {})
    }

    /// As [`Self::start`], and calls a function after every change, from the announcement's own thread. It must not block.
    pub fn start_telling(
        settings: Settings,
        path: &str,
        member: &Member,
        rules: &[AccessRule],
        mut on_change: impl FnMut(&AnnouncementState) + Send + 'static,
    ) -> io::Result<Self> {
        let first = AnnouncementState {
            node: None,
            is_connected: false,
            was_connected: false,
            missing_since: Some(Instant::now()),
            joins: 0,
            problem: None,
        };
        let (sender, state) = watch::channel(first);
        let open = AccessRule::open();
        let rules = if rules.is_empty() { &open } else { rules };
        let notice = Notice {
            path: settings.ensemble.absolute(path),
            data: member.to_json(),
            rules: rules.iter().map(AccessRule::to_acl).collect(),
        };
        let mut changes = state.clone();
        let background = Background::start("announcer", move |stop| async move {
            let telling = async {
                while changes.changed().await.is_ok() {
                    let state = changes.borrow_and_update().clone();
                    on_change(&state);
                }
            };
            // The sender goes with the first, and with it the second ends.
            tokio::join!(run(settings, notice, sender, stop), telling);
        })?;
        Ok(Self { background, state })
    }

    /// How it fares now.
    pub fn state(&self) -> AnnouncementState {
        self.state.borrow().clone()
    }

    /// How it fares, as it changes.
    pub fn states(&self) -> watch::Receiver<AnnouncementState> {
        self.state.clone()
    }

    /// Takes the member back and waits until it is gone, at most this long. Returns whether it is: else ZooKeeper removes the node when
    /// the session times out.
    pub fn leave(mut self, limit: Duration) -> bool {
        self.background.stop(limit) && self.state.borrow().node.is_none()
    }
}

async fn run(settings: Settings, notice: Notice, state: watch::Sender<AnnouncementState>, mut stop: Stop) {
    let mut link = Link::new(&settings);
    let mut member = Membership { notice, state, node: None, stale: None, is_doubtful: false };
    loop {
        let connected = tokio::select! {
            connected = link.connect(|problem| member.tell(|state| state.problem = Some(problem))) => connected,
            () = stop.wait() => return member.tell(|state| state.node = None),
        };
        member.on_connected(connected.is_resumed);
        let mut session = Session::new(&connected.client);
        let ended = tokio::select! {
            error = member.hold(&mut session) => Some(error),
            () = stop.wait() => None,
        };
        drop(session);
        let Some(error) = ended else { return member.leave(connected.client).await };
        member.on_lost(&error);
        link.lost(connected.client, &error);
    }
}

/// A member's node through sessions.
struct Membership {
    notice: Notice,
    state: watch::Sender<AnnouncementState>,
    /// Whole path of the node made last, while it may be there.
    node: Option<String>,
    /// A node of a session that is gone, which its servers may still show for a while.
    stale: Option<String>,
    /// Whether this session may have a node that is not known here.
    is_doubtful: bool,
}

impl Membership {
    fn tell(&self, change: impl FnOnce(&mut AnnouncementState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    fn on_connected(&mut self, is_resumed: bool) {
        // A resumed session has its node still, or one that was being made when the connection broke.
        self.is_doubtful = is_resumed;
        if !is_resumed {
            self.stale = self.node.take();
        }
        self.tell(|state| {
            state.is_connected = true;
            state.was_connected = true;
            state.problem = None;
        });
    }

    /// The session is over as far as this side knows.
    fn on_lost(&mut self, error: &zk::Error) {
        let problem = format!("the session with ZooKeeper ended: {}", reason(error));
        self.tell(|state| {
            state.is_connected = false;
            state.node = None;
            state.missing_since.get_or_insert_with(Instant::now);
            state.problem = Some(problem);
        });
    }

    /// Keeps the node in place until the session ends; returns why it did.
    async fn hold(&mut self, session: &mut Session<'_>) -> zk::Error {
        let state = self.state.clone();
        let path = self.notice.path.clone();
        let tell = |turn| {
            state.send_if_modified(|state| {
                let before = state.clone();
                match turn {
                    Turn::Connected => {
                        state.is_connected = true;
                        state.problem = None;
                    }
                    Turn::Disconnected => {
                        state.is_connected = false;
                        state.problem = Some("the connection to ZooKeeper broke".into());
                    }
                    Turn::Refused(why) => {
                        state.problem = Some(format!("ZooKeeper does not take a member of {path}: {why}"));
                    }
                }
                *state != before
            });
        };
        let result = session.follow(tell, async |client| self.look_after(client).await).await;
        drop(state);
        result
    }

    /// Makes the node if it is not there, and leaves a watch on it.
    async fn look_after(&mut self, client: &zk::Client) -> Answer<zk::OneshotWatcher> {
        loop {
            if self.is_doubtful {
                self.node = self.find_own(client).await?;
                self.is_doubtful = false;
            }
            if let Some(node) = &self.node {
                let (stat, watcher) = client.check_and_watch_stat(node).await?;
                if stat.is_some_and(|stat| stat.ephemeral_owner == client.session_id().0) {
                    let node = node.clone();
                    self.tell(|state| {
                        state.node = Some(node);
                        state.missing_since = None;
                    });
                    return Ok(watcher);
                }
                self.node = None;
                self.tell(|state| {
                    state.node = None;
                    state.missing_since.get_or_insert_with(Instant::now);
                });
                tokio::time::sleep(JOIN_INTERVAL).await;
            }
            self.join(client).await?;
        }
    }

    async fn join(&mut self, client: &zk::Client) -> Answer<()> {
        let path = &self.notice.path;
        if client.check_stat(path).await?.is_none() {
            client.mkdir(path, &zk::CreateMode::Persistent.with_acls(zk::Acls::new(&self.notice.rules))).await?;
        }
        if let Some(stale) = self.stale.take() {
            remove_stale(client, &stale, &self.notice.data).await?;
        }
        let prefix = format!("{path}/{MEMBER_PREFIX}");
        // Until an answer says otherwise: the node may be made although the answer never comes.
        self.is_doubtful = true;
        let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::new(&self.notice.rules));
        let made = client.create(&prefix, &self.notice.data, &options).await;
        self.is_doubtful = matches!(made, Err(zk::Error::ConnectionLoss));
        let (_, sequence) = match made {
            // Somebody removed the set itself: the next look makes it again.
            Err(zk::Error::NoNode) => return Ok(()),
            made => made?,
        };
        self.node = Some(format!("{prefix}{sequence}"));
        self.tell(|state| state.joins += 1);
        Ok(())
    }

    /// The node that this session has made, if any.
    async fn find_own(&self, client: &zk::Client) -> Answer<Option<String>> {
        let path = &self.notice.path;
        let children = match client.list_children(path).await {
            Err(zk::Error::NoNode) => return Ok(None),
            children => children?,
        };
        for child in children.iter().filter(|child| child.starts_with(MEMBER_PREFIX)) {
            let node = format!("{path}/{child}");
            let stat = client.check_stat(&node).await?;
            if stat.is_some_and(|stat| stat.ephemeral_owner == client.session_id().0) {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// Takes the node away and ends the session.
    async fn leave(&mut self, client: zk::Client) {
        let gone = async {
            if self.is_doubtful
                && let Ok(found) = self.find_own(&client).await
            {
                self.node = found;
            }
            match &self.node {
                Some(node) => matches!(client.delete(node, None).await, Ok(()) | Err(zk::Error::NoNode)),
                None => true,
            }
        };
        let is_gone = tokio::time::timeout(LEAVE_LIMIT, gone).await.unwrap_or(false);
        let mut states = client.state_watcher();
        drop(client);
        // The session's end takes what is left with it.
        let closed = async { while states.changed().await != zk::SessionState::Closed {} };
        let is_closed = tokio::time::timeout(LEAVE_LIMIT, closed).await.is_ok();
        self.tell(|state| {
            state.is_connected = false;
            state.missing_since.get_or_insert_with(Instant::now);
            if is_gone || is_closed {
                state.node = None;
            }
        });
    }
}

/// Removes a node of an earlier session of ours, so that nobody finds the member twice.
async fn remove_stale(client: &zk::Client, node: &str, data: &[u8]) -> Answer<()> {
    match client.get_data(node).await {
        Ok((held, stat)) if held == data && stat.ephemeral_owner != client.session_id().0 => {
            match client.delete(node, Some(stat.version)).await {
                // Gone, somebody else's by now, or not ours to touch: it ends with its session.
                Ok(()) | Err(zk::Error::NoNode | zk::Error::BadVersion | zk::Error::NoAuth) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Ok(_) | Err(zk::Error::NoNode | zk::Error::NoAuth) => Ok(()),
        Err(error) => Err(error),
    }
}
