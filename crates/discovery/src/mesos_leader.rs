//! Which Mesos master leads, followed through changes and through losses of ZooKeeper (spec mesos 4.1).
//!
//! Losing ZooKeeper makes nobody leader and takes nobody's leadership: what was known last stays, and [`Detection::unknown_since`] says
//! since when it has not been confirmed. A user who talks to that master goes on doing so for as long as the master answers.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zookeeper_client as zk;

use crate::Settings;
use crate::background::{Background, Stop};
use crate::link::{Answer, Link, Session, Turn, reason};
use crate::master_info::{Leader, contenders, parse};

/// What is known of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The leader; none when the masters have none, or nothing is known yet.
    pub leader: Option<Leader>,
    /// Since when this has not been confirmed; unset while it is.
    pub unknown_since: Option<Instant>,
    /// What is in the way, in a sentence.
    pub problem: Option<String>,
}

/// Follows the leader until it is dropped.
#[derive(Debug)]
pub struct LeaderWatch {
    background: Background,
    detection: watch::Receiver<Detection>,
    leader: watch::Receiver<Option<Leader>>,
}

impl LeaderWatch {
    /// Starts to follow the masters registered below `path`.
    pub fn start(settings: Settings, path: &str) -> io::Result<Self> {
        let unknown = Detection { leader: None, unknown_since: Some(Instant::now()), problem: None };
        let (detections, detection) = watch::channel(unknown);
        let (leaders, leader) = watch::channel(None);
        let path = settings.ensemble.absolute(path);
        let teller = Teller { detections, leaders };
        let background =
            Background::start("leader-watch", move |stop| async move { run(settings, path, teller, stop).await })?;
        Ok(Self { background, detection, leader })
    }

    /// The leader as it changes. Its first value is none until the first look.
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }

    /// All that is known, as it changes.
    pub fn detections(&self) -> watch::Receiver<Detection> {
        self.detection.clone()
    }

    /// What is known now.
    pub fn detection(&self) -> Detection {
        self.detection.borrow().clone()
    }

    /// Ends it and waits for its thread, at most this long.
    pub fn stop(mut self, limit: Duration) -> bool {
        self.background.stop(limit)
    }
}

/// Tells both channels, each only of changes.
struct Teller {
    detections: watch::Sender<Detection>,
    leaders: watch::Sender<Option<Leader>>,
}

impl Teller {
    fn known(&self, leader: Option<Leader>, problem: Option<String>) {
        self.leaders.send_if_modified(|known| replace(known, leader.clone()));
        let detection = Detection { leader, unknown_since: None, problem };
        self.detections.send_if_modified(|known| replace(known, detection));
    }

    fn confirmed(&self) {
        self.detections.send_if_modified(|known| known.unknown_since.take().is_some());
    }

    fn unknown(&self, problem: Option<String>) {
        self.detections.send_if_modified(|known| {
            let since = known.unknown_since.unwrap_or_else(Instant::now);
            let leader = known.leader.clone();
            replace(known, Detection { leader, unknown_since: Some(since), problem })
        });
    }
}

fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

async fn run(settings: Settings, path: String, teller: Teller, mut stop: Stop) {
    let mut link = Link::new(&settings);
    let following = async {
        loop {
            let connected = link.connect(|problem| teller.unknown(Some(problem))).await;
            let mut session = Session::new(&connected.client);
            let tell = |turn| match turn {
                Turn::Connected => teller.confirmed(),
                Turn::Disconnected => teller.unknown(Some("the connection to ZooKeeper broke".into())),
                Turn::Refused(why) => teller.unknown(Some(format!("ZooKeeper does not show {path}: {why}"))),
            };
            let error = session.follow(tell, async |client| look(client, &path, &teller).await).await;
            drop(session);
            teller.unknown(Some(format!("the session with ZooKeeper ended: {}", reason(&error))));
            link.lost(connected.client, &error);
        }
    };
    tokio::select! {
        () = following => {}
        () = stop.wait() => {}
    }
}

/// Reads who leads, and leaves a watch for the next change.
async fn look(client: &zk::Client, path: &str, teller: &Teller) -> Answer<zk::OneshotWatcher> {
    loop {
        let (children, watcher) = match client.list_and_watch_children(path).await {
            Ok(listed) => listed,
            Err(zk::Error::NoNode) => match client.check_and_watch_stat(path).await? {
                (None, watcher) => {
                    teller.known(None, Some(format!("no master has registered: there is no node {path}")));
                    return Ok(watcher);
                }
                // Made meanwhile.
                (Some(_), _) => continue,
            },
            Err(error) => return Err(error),
        };
        let Some(first) = contenders(&children).first().copied() else {
            teller.known(None, Some(format!("no master is registered below {path}")));
            return Ok(watcher);
        };
        match client.get_data(&format!("{path}/{first}")).await {
            Ok((data, _)) => {
                match parse(first, &data) {
                    Ok(leader) => teller.known(Some(leader), None),
                    Err(error) => teller.known(None, Some(error.to_string())),
                }
                return Ok(watcher);
            }
            // It vanished between the two looks: look again.
            Err(zk::Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
}
