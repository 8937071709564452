//! The helper that keeps one task announced in ZooKeeper: a process of its own, started by the supervisor only for tasks that announce
//! themselves, so that all others stay as small as they are (spec executor 2.10).
//!
//! It reads one line of JSON, [`Order`], from standard input and announces until that input ends: when the supervisor wants it to, or is
//! gone. On standard output it says in lines how it fares, [`News`]. What follows for the task is not decided here.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use discovery::{Announcement, AnnouncementState, AuthFile, Endpoint, Member, Settings, Status};
use serde::{Deserialize, Serialize};

/// First argument with which a program is told to be the helper; the task's id follows, for people who look at processes.
pub const ARGUMENT: &str = "__announcer";
/// How long the node's removal may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(4);
/// Longest pause between attempts to reach ZooKeeper: many tasks may wait for it at once.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(30);

/// What is to be announced, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Servers.
    pub(crate) ensemble: String,
    /// Path of the set.
    pub(crate) path: String,
    /// Host of all endpoints.
    pub(crate) host: String,
    /// Port of the main endpoint; 0 for none.
    pub(crate) port: u16,
    /// All ports by name.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Instance id.
    pub(crate) instance: u32,
    /// File with identities and access rules.
    pub(crate) auth_file: Option<String>,
    /// Length of a session, milliseconds.
    pub(crate) session_timeout_ms: u64,
}

impl Order {
    fn member(&self) -> Member {
        let endpoint = |port: u16| Endpoint::new(&self.host, port);
        Member {
            service_endpoint: endpoint(self.port),
            additional_endpoints: self.ports.iter().map(|(name, port)| (name.clone(), endpoint(*port))).collect(),
            status: Status::Alive,
            shard: Some(i64::from(self.instance)),
        }
    }
}

/// What the helper says, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A connection stands for the first time.
    Connected,
    /// The member is announced, by this node.
    Joined(String),
    /// The member is not announced any more.
    Missing,
    /// Something is in the way; it is tried again.
    Problem(String),
    /// It cannot be done at all.
    Fatal(String),
}

impl News {
    fn line(&self) -> String {
        let line = match self {
            Self::Connected => "connected".to_owned(),
            Self::Joined(node) => format!("joined {node}"),
            Self::Missing => "missing".to_owned(),
            Self::Problem(why) => format!("problem {why}"),
            Self::Fatal(why) => format!("fatal {why}"),
        };
        format!("{}\n", line.replace('\n', " "))
    }

    /// Reads a line; unknown words are none.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "connected" => Some(Self::Connected),
            "joined" => Some(Self::Joined(rest.to_owned())),
            "missing" => Some(Self::Missing),
            "problem" => Some(Self::Problem(rest.to_owned())),
            "fatal" => Some(Self::Fatal(rest.to_owned())),
            _ => None,
        }
    }
}

/// A broken pipe means that nobody listens any more; then the input ends too.
fn say(news: &News) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(news.line().as_bytes()).and_then(|()| output.flush());
}

/// Runs the helper.
pub(crate) fn main() -> ExitCode {
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    let order = match input.read_line(&mut line) {
        Ok(_) => serde_json::from_str::<Order>(&line).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let announcement = match order.and_then(|order| announce(&order)) {
        Ok(announcement) => announcement,
        Err(why) => {
            say(&News::Fatal(why));
            return ExitCode::FAILURE;
        }
    };
    // Nothing more is said to this process: only the end counts.
    let mut rest = [0_u8; 64];
    while !matches!(input.read(&mut rest), Ok(0)) {}
    announcement.leave(LEAVE_LIMIT);
    ExitCode::SUCCESS
}

fn announce(order: &Order) -> Result<Announcement, String> {
    let auth = match &order.auth_file {
        Some(path) => AuthFile::load(Path::new(path)).map_err(|error| error.to_string())?,
        None => AuthFile::default(),
    };
    let mut settings = Settings::new(order.ensemble.parse().map_err(|error| format!("{error}"))?);
    settings.credentials = auth.credentials;
    settings.reconnect_delay_max = RECONNECT_DELAY_MAX;
    if order.session_timeout_ms > 0 {
        settings.session_timeout = Duration::from_millis(order.session_timeout_ms);
    }
    let mut teller = Teller::default();
    let on_change = move |state: &AnnouncementState| teller.tell(state);
    Announcement::start_telling(settings, &order.path, &order.member(), &auth.rules, on_change)
        .map_err(|error| format!("the announcer cannot start: {error}"))
}

/// Says what is new, once.
#[derive(Default)]
struct Teller {
    was_connected: bool,
    node: Option<String>,
    problem: Option<String>,
}

impl Teller {
    fn tell(&mut self, state: &AnnouncementState) {
        if state.was_connected && !self.was_connected {
            self.was_connected = true;
            say(&News::Connected);
        }
        if state.problem != self.problem {
            self.problem.clone_from(&state.problem);
            if let Some(problem) = &state.problem {
                say(&News::Problem(problem.clone()));
            }
        }
        if state.node != self.node {
            self.node.clone_from(&state.node);
            say(&state.node.clone().map_or(News::Missing, News::Joined));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_pass_as_lines() {
        for news in [
            News::Connected,
            News::Joined("/a/member_0000000000".into()),
            News::Missing,
            News::Problem("no ZooKeeper server answers at h:1".into()),
            News::Fatal("bad".into()),
        ] {
            assert_eq!(News::parse(news.line().trim_end_matches('\n')), Some(news));
        }
        assert_eq!(News::Problem("two\nlines".into()).line(), "problem two lines\n");
        assert_eq!(News::parse("hello"), None);
    }

    #[test]
    fn a_member_has_all_ports_and_its_instance() {
        let order = Order {
            ensemble: "h:1".into(),
            path: "/a".into(),
            host: "h".into(),
            port: 0,
            ports: [("http".to_owned(), 80)].into(),
            instance: 7,
            auth_file: None,
            session_timeout_ms: 0,
        };
        let member = order.member();
        assert_eq!((member.service_endpoint.port, member.shard), (0, Some(7)));
        assert_eq!(member.additional_endpoints["http"], Endpoint::new("h", 80));
        let line = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
    }
}
