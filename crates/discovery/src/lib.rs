//! What is found and announced in ZooKeeper: the leading Mesos master, and sets of servers.
//!
//! - [`LeaderWatch`] follows the leader of a group of Mesos masters (spec mesos 4.1).
//! - [`Announcement`] keeps one member of a server set in place for as long as it lives (spec executor 2.10, thrift-api 1.6).
//! - [`ServerSetWatch`] follows the members of such a set; [`server_set::read`] looks once.
//!
//! Each handle runs a thread of its own that connects for ever with a bounded back-off: a ZooKeeper that is gone never ends anything
//! here, it only makes what is known older. A user needs no async runtime; one who has one can wait on the `tokio::sync::watch` channels.
//!
//! Not here: what a program does when a leader changes, who may be leader among schedulers, and the Mesos wire.

mod auth;
mod background;
mod ensemble;
mod link;
mod master_info;
pub mod member;
mod mesos_leader;
pub mod server_set;
#[cfg(feature = "testing")]
pub mod testing;
mod url;

use std::time::Duration;

pub use auth::{AccessRule, AuthFile, AuthFileError, Credential, Permissions};
pub use ensemble::{DEFAULT_PORT, Ensemble, EnsembleError, PathError, Server, check_path};
pub use master_info::{Leader, LeaderFormatError};
pub use member::{Endpoint, Member, MemberError, Status};
pub use mesos_leader::{Detection, LeaderWatch};
pub use server_set::{Announcement, AnnouncementState, ReadError, ServerSet, ServerSetWatch};
pub use url::{UrlError, ZookeeperUrl};

/// Which ZooKeeper, and how patiently.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its servers.
    pub ensemble: Ensemble,
    /// After this long without a sign of life the servers drop the session and everything that lives with it. The servers may grant
    /// another length.
    pub session_timeout: Duration,
    /// Longest wait between two attempts to connect.
    pub reconnect_delay_max: Duration,
    /// Who to be.
    pub credentials: Vec<Credential>,
}

impl Settings {
    /// Sessions of 10 s, as Mesos has them; attempts at most 10 s apart.
    pub fn new(ensemble: Ensemble) -> Self {
        Self {
            ensemble,
            session_timeout: Duration::from_secs(10),
            reconnect_delay_max: Duration::from_secs(10),
            credentials: Vec::new(),
        }
    }
}
