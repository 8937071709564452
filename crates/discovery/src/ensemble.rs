//! The servers of a ZooKeeper, and what a path in it may look like. No connection.

use std::fmt;
use std::str::FromStr;

/// Port of a server that names none.
pub const DEFAULT_PORT: u16 = 2181;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_port(formatter, &self.host, self.port)
    }
}

/// Writes `host:port`, an IPv6 address in brackets.
pub(crate) fn write_host_port(formatter: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
}

/// The servers of one ZooKeeper, and the node below which everything happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensemble {
    servers: Vec<Server>,
    /// Empty, or a path that is put before every other.
    chroot: String,
}

/// Why a list of servers is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnsembleError {
    /// Nothing there.
    #[error("no ZooKeeper server is named: write host:port, several separated by commas")]
    Empty,
    /// Not a server.
    #[error("'{0}' is no ZooKeeper server: write host or host:port, several separated by commas")]
    Server(String),
    /// What follows the servers is no path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The root belongs to everybody.
    #[error("the root of ZooKeeper cannot be used: name a path below it, such as /mesos")]
    Root,
    /// Not a path.
    #[error(
        "'{0}' is no path in ZooKeeper: it must begin with '/', must not end with one, and each name between must be one"
    )]
    Malformed(String),
}

/// Refuses the root and whatever is no path.
pub fn check_path(path: &str) -> Result<(), PathError> {
    if path.is_empty() || path == "/" {
        return Err(PathError::Root);
    }
    let malformed = || PathError::Malformed(path.to_owned());
    let names = path.strip_prefix('/').ok_or_else(malformed)?;
    let good = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    if names.split('/').all(good) { Ok(()) } else { Err(malformed()) }
}

impl Ensemble {
    /// Reads `host:port,host:port`, where each port may be missing, and a path that may follow.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, EnsembleError> {
        let text = text.trim();
        let (servers, chroot) = match text.find('/') {
            Some(at) => (&text[..at], text[at..].trim_end_matches('/')),
            None => (text, ""),
        };
        if !chroot.is_empty() {
            check_path(chroot)?;
        }
        let servers = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(|server| parse_server(server, default_port))
            .collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(EnsembleError::Empty);
        }
        Ok(Self { servers, chroot: chroot.to_owned() })
    }

    /// Puts a path before every other.
    pub fn below(mut self, chroot: &str) -> Result<Self, PathError> {
        check_path(chroot)?;
        self.chroot.push_str(chroot);
        Ok(self)
    }

    /// The servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The servers as a client of ZooKeeper takes them.
    pub(crate) fn connect_string(&self) -> String {
        self.servers.iter().map(Server::to_string).collect::<Vec<_>>().join(",")
    }

    /// The whole path of a node.
    pub(crate) fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.chroot)
    }
}

impl FromStr for Ensemble {
    type Err = EnsembleError;

    fn from_str(text: &str) -> Result<Self, EnsembleError> {
        Self::parse(text, DEFAULT_PORT)
    }
}

impl fmt::Display for Ensemble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.connect_string(), self.chroot)
    }
}

fn parse_server(text: &str, default_port: u16) -> Result<Server, EnsembleError> {
    let bad = || EnsembleError::Server(text.to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?,
        None => default_port,
    };
    let odd = |letter: char| letter.is_whitespace() || letter.is_control() || matches!(letter, '@' | '/' | '[' | ']');
    if host.is_empty() || host.contains(odd) {
        return Err(bad());
    }
    Ok(Server { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_with_and_without_ports_and_a_path() {
        let ensemble = Ensemble::parse("zk1, zk2:2182,[::1]:3", 2181).unwrap();
        assert_eq!(ensemble.to_string(), "zk1:2181,zk2:2182,[::1]:3");
        assert_eq!(ensemble.servers().len(), 3);
        assert_eq!(Ensemble::parse("zk1,zk2", 4000).unwrap().to_string(), "zk1:4000,zk2:4000");
        let below: Ensemble = "a:1/x/y/".parse().unwrap();
        assert_eq!(below.absolute("/aurora"), "/x/y/aurora");
        assert_eq!(below.connect_string(), "a:1");
        assert_eq!("a:1".parse::<Ensemble>().unwrap().below("/c").unwrap().absolute("/d"), "/c/d");
    }

    #[test]
    fn what_is_no_server_is_named() {
        for bad in ["a:b", "a:0", "a:70000", "[::1", "[::1]x", ":2181", "a b:1", "u:p@h:1", "::1"] {
            let error = Ensemble::parse(bad, 2181).unwrap_err();
            assert_eq!(error, EnsembleError::Server(bad.to_owned()), "{bad}");
            assert!(error.to_string().contains("host:port"));
        }
        for empty in ["", " ", ",", "/x"] {
            assert_eq!(Ensemble::parse(empty, 2181), Err(EnsembleError::Empty), "{empty}");
        }
        assert!(matches!(Ensemble::parse("a:1/x//y", 2181), Err(EnsembleError::Path(_))));
    }

    #[test]
    fn paths() {
        assert_eq!(check_path("/a/b.c/d-1"), Ok(()));
        assert_eq!(check_path("/"), Err(PathError::Root));
        assert_eq!(check_path(""), Err(PathError::Root));
        for bad in ["a", "/a/", "//", "/a//b", "/a/../b", "/./a", "/a\u{0}"] {
            assert_eq!(check_path(bad), Err(PathError::Malformed(bad.to_owned())), "{bad}");
        }
    }
}
