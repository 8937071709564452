//! Where masters are: `host:port` lists, and the forms in which one master points to another (spec mesos 1.4, 4.2).

use std::fmt;

/// The port of masters that name none.
pub const DEFAULT_PORT: u16 = 5050;

/// A master's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Master {
    /// Whether it is spoken to with TLS.
    pub tls: bool,
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Why a list of masters is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing in it.
    #[error(
        "no Mesos master is named: give host:port, a comma-separated list of them, or zk://host:port,host:port/path"
    )]
    Empty,
    /// Not an address.
    #[error("{0:?} is no address of a Mesos master: write host:port, http://host:port or https://host:port")]
    Malformed(String),
}

impl Master {
    /// Reads `[http[s]://]host[:port][/]`; IPv6 addresses in brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(malformed()),
            None => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(malformed)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(malformed)?) })
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| malformed()))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || port == 0 || !host.chars().all(plain) {
            return Err(malformed());
        }
        Ok(Self { tls, host: host.to_owned(), port })
    }

    /// Reads a comma-separated list; one without a scheme has that of `tls`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let masters: Vec<Self> = parts.map(Self::parse).collect::<Result<_, _>>()?;
        if masters.is_empty() { Err(AddressError::Empty) } else { Ok(masters) }
    }

    /// The master a redirect of this one leads to: `//host:port/path`, `http://host:port/path` or bare `host:port`.
    pub fn redirected(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let (scheme, rest) = match location.split_once("//") {
            Some((scheme @ ("" | "http:" | "https:"), rest)) => (scheme, rest),
            // A path on this master is no other master.
            _ if location.starts_with('/') => return None,
            _ => ("", location),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let master = Self::parse(authority).ok()?;
        let tls = if scheme.is_empty() { self.tls } else { scheme == "https:" };
        Some(Self { tls, ..master })
    }
}

impl fmt::Display for Master {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(host: &str, port: u16) -> Master {
        Master { tls: false, host: host.into(), port }
    }

    #[test]
    fn lists_are_read() {
        let list = Master::parse_list(" 10.4.1.10:5050, m2 ,[::1]:5051,https://m3:443/").unwrap();
        let tls = Master { tls: true, ..master("m3", 443) };
        assert_eq!(list, [master("10.4.1.10", 5050), master("m2", 5050), master("::1", 5051), tls]);
        assert_eq!(list[2].to_string(), "[::1]:5051");
        assert_eq!(Master::parse_list(" ,"), Err(AddressError::Empty));
        for bad in ["m:0", "m:99999", "ftp://m:1", "m:1/path", ":5050", "[::1", "[::1]5050", "m m:1", "a@b:1"] {
            assert_eq!(Master::parse_list(bad), Err(AddressError::Malformed(bad.into())), "{bad}");
        }
    }

    #[test]
    fn redirects_are_followed_in_every_form() {
        let from = master("m1", 5050);
        for location in [
            "//m2:5051/api/v1/scheduler?x=1",
            "http://m2:5051/api/v1/scheduler",
            "http://m2:5051",
            "m2:5051",
            " m2:5051/master ",
        ] {
            assert_eq!(from.redirected(location), Some(master("m2", 5051)), "{location}");
        }
        assert_eq!(from.redirected("//m2/x"), Some(master("m2", 5050)));
        let secure = Master { tls: true, ..from.clone() };
        assert!(secure.redirected("//m2:5051/").unwrap().tls, "the scheme stays");
        assert!(!secure.redirected("http://m2:5051/").unwrap().tls);
        assert!(from.redirected("https://m2:5051/").unwrap().tls);
        for none in ["/api/v1/scheduler", "", "//", "ftp://m2:1/", "//:5050/"] {
            assert_eq!(from.redirected(none), None, "{none}");
        }
    }
}
