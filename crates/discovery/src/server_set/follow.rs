//! Reading who is member: once, or all the time.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zookeeper_client as zk;

use crate::Settings;
use crate::background::{Background, Stop, runtime};
use crate::link::{Answer, Link, Session, Turn, reason};
use crate::member::{MEMBER_PREFIX, Member};

/// What is known of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSet {
    /// Members by the names of their nodes. Nodes that describe no member are left out.
    pub members: BTreeMap<String, Member>,
    /// Since when this has not been confirmed; unset while it is.
    pub unknown_since: Option<Instant>,
    /// What is in the way, in a sentence.
    pub problem: Option<String>,
}

/// Follows a set until it is dropped.
#[derive(Debug)]
pub struct ServerSetWatch {
    background: Background,
    set: watch::Receiver<ServerSet>,
}

impl ServerSetWatch {
    /// Starts to follow the set at `path`.
    pub fn start(settings: Settings, path: &str) -> io::Result<Self> {
        let unknown = ServerSet { unknown_since: Some(Instant::now()), ..ServerSet::default() };
        let (sender, set) = watch::channel(unknown);
        let path = settings.ensemble.absolute(path);
        let background =
            Background::start("server-set", move |stop| async move { run(settings, path, sender, stop).await })?;
        Ok(Self { background, set })
    }

    /// What is known now.
    pub fn set(&self) -> ServerSet {
        self.set.borrow().clone()
    }

    /// What is known, as it changes.
    pub fn sets(&self) -> watch::Receiver<ServerSet> {
        self.set.clone()
    }

    /// Ends it and waits for its thread, at most this long.
    pub fn stop(mut self, limit: Duration) -> bool {
        self.background.stop(limit)
    }
}

async fn run(settings: Settings, path: String, set: watch::Sender<ServerSet>, mut stop: Stop) {
    let change = |change: &dyn Fn(&mut ServerSet)| {
        set.send_if_modified(|set| {
            let before = set.clone();
            change(set);
            *set != before
        });
    };
    let unknown = |problem: String| {
        change(&|set| {
            set.unknown_since.get_or_insert_with(Instant::now);
            set.problem = Some(problem.clone());
        });
    };
    let mut link = Link::new(&settings);
    let following = async {
        loop {
            let connected = link.connect(unknown).await;
            let mut session = Session::new(&connected.client);
            let mut known = Known::default();
            let tell = |turn| match turn {
                Turn::Connected => change(&|set| {
                    set.unknown_since = None;
                    set.problem = None;
                }),
                Turn::Disconnected => unknown("the connection to ZooKeeper broke".into()),
                Turn::Refused(why) => unknown(format!("ZooKeeper does not show {path}: {why}")),
            };
            let look = async |client: &zk::Client| {
                let watcher = known.look(client, &path).await?;
                change(&|set| set.members.clone_from(&known.members));
                Ok(watcher)
            };
            let error = session.follow(tell, look).await;
            drop(session);
            unknown(format!("the session with ZooKeeper ended: {}", reason(&error)));
            link.lost(connected.client, &error);
        }
    };
    tokio::select! {
        () = following => {}
        () = stop.wait() => {}
    }
}

/// The members read so far: a member's node never changes, so each is read once.
#[derive(Default)]
struct Known {
    /// When the set's node was made, as ZooKeeper counts: names may come again in another node of the same path.
    made: i64,
    members: BTreeMap<String, Member>,
    /// Nodes that describe no member.
    strange: BTreeMap<String, String>,
}

impl Known {
    /// Reads what is new, forgets what is gone, and leaves a watch for the next change.
    async fn look(&mut self, client: &zk::Client, path: &str) -> Answer<zk::OneshotWatcher> {
        loop {
            let (children, stat, watcher) = match client.get_and_watch_children(path).await {
                Ok(listed) => listed,
                Err(zk::Error::NoNode) => match client.check_and_watch_stat(path).await? {
                    (None, watcher) => {
                        *self = Self::default();
                        return Ok(watcher);
                    }
                    // Made meanwhile.
                    (Some(_), _) => continue,
                },
                Err(error) => return Err(error),
            };
            if self.made != stat.czxid {
                *self = Self { made: stat.czxid, ..Self::default() };
            }
            self.members.retain(|name, _| children.contains(name));
            self.strange.retain(|name, _| children.contains(name));
            for name in children.into_iter().filter(|name| name.starts_with(MEMBER_PREFIX)) {
                if !self.members.contains_key(&name) && !self.strange.contains_key(&name) {
                    self.read(client, path, name).await?;
                }
            }
            return Ok(watcher);
        }
    }

    async fn read(&mut self, client: &zk::Client, path: &str, name: String) -> Answer<()> {
        match client.get_data(&format!("{path}/{name}")).await {
            Ok((data, _)) => {
                match Member::parse(&name, &data) {
                    Ok(member) => drop(self.members.insert(name, member)),
                    Err(error) => {
                        tracing::warn!("{error}");
                        drop(self.strange.insert(name, error.to_string()));
                    }
                }
                Ok(())
            }
            // Gone meanwhile: the watch tells.
            Err(zk::Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Why a set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer in time.
    #[error("{problem} (waited {} s)", limit.as_secs())]
    Unreachable {
        /// What was in the way.
        problem: String,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer, but a no.
    #[error("ZooKeeper at {ensemble} does not show {path}: {why}")]
    Refused {
        /// Which ZooKeeper.
        ensemble: String,
        /// Which set.
        path: String,
        /// What it said.
        why: String,
    },
    /// There is no such set.
    #[error("ZooKeeper at {ensemble} has no node {path}: nobody has announced there yet, or the path is wrong")]
    Absent {
        /// Which ZooKeeper.
        ensemble: String,
        /// Which set.
        path: String,
    },
    /// There is a set, and nobody in it.
    #[error("ZooKeeper at {ensemble} has no member at {path}: nobody announces there now")]
    Empty {
        /// Which ZooKeeper.
        ensemble: String,
        /// Which set.
        path: String,
    },
    /// A member that cannot be understood, and no other.
    #[error("ZooKeeper at {ensemble} has only unreadable members at {path}: {why}")]
    Strange {
        /// Which ZooKeeper.
        ensemble: String,
        /// Which set.
        path: String,
        /// What is wrong with one.
        why: String,
    },
    /// The system refused something basic.
    #[error("starting to read ZooKeeper: {0}")]
    System(#[from] io::Error),
}

/// Reads the members of the set at `path` once, waiting at most this long. An empty set is no error.
pub fn read(settings: &Settings, path: &str, limit: Duration) -> Result<Vec<(String, Member)>, ReadError> {
    runtime()?.block_on(async {
        let mut problem = format!("no ZooKeeper server answers at {}", settings.ensemble);
        match tokio::time::timeout(limit, read_now(settings, path, &mut problem)).await {
            Ok(read) => read,
            Err(_) => Err(ReadError::Unreachable { problem, limit }),
        }
    })
}

/// How often an empty set is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// As [`read`], but a set without members is looked at again until it has one or the time is over; then the error says what was seen.
pub fn read_members(settings: &Settings, path: &str, limit: Duration) -> Result<Vec<(String, Member)>, ReadError> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seen = match read(settings, path, left.max(LOOK_INTERVAL)) {
            Ok(members) if members.is_empty() => {
                ReadError::Empty { ensemble: settings.ensemble.to_string(), path: path.to_owned() }
            }
            Err(error @ (ReadError::Absent { .. } | ReadError::Strange { .. })) => error,
            read => return read,
        };
        if Instant::now() + LOOK_INTERVAL >= deadline {
            return Err(seen);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

async fn read_now(settings: &Settings, path: &str, problem: &mut String) -> Result<Vec<(String, Member)>, ReadError> {
    let whole_path = settings.ensemble.absolute(path);
    let mut link = Link::new(settings);
    loop {
        let client = link.connect(|text| *problem = text).await.client;
        let mut known = Known::default();
        let error = match known.look(&client, &whole_path).await {
            Ok(_) if known.made == 0 => {
                return Err(ReadError::Absent { ensemble: settings.ensemble.to_string(), path: path.to_owned() });
            }
            Ok(_) => return known.into_members(settings, path),
            Err(error) => error,
        };
        match error {
            zk::Error::ConnectionLoss | zk::Error::SessionExpired | zk::Error::Timeout => {
                *problem = format!("the connection to ZooKeeper at {} broke", settings.ensemble);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            error => {
                let (ensemble, path) = (settings.ensemble.to_string(), path.to_owned());
                return Err(ReadError::Refused { ensemble, path, why: reason(&error) });
            }
        }
    }
}

impl Known {
    fn into_members(self, settings: &Settings, path: &str) -> Result<Vec<(String, Member)>, ReadError> {
        match self.strange.into_values().next() {
            Some(why) if self.members.is_empty() => {
                Err(ReadError::Strange { ensemble: settings.ensemble.to_string(), path: path.to_owned(), why })
            }
            _ => Ok(self.members.into_iter().collect()),
        }
    }
}
