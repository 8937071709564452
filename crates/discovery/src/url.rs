//! `zk://` addresses of a group of Mesos masters (spec mesos 4.1). No connection.

use crate::Settings;
use crate::auth::Credential;
use crate::ensemble::{DEFAULT_PORT, Ensemble, EnsembleError, PathError, check_path};

/// `zk://[user:password@]host:port,host:port/path`.
#[derive(Clone, Debug)]
pub struct ZookeeperUrl {
    /// Servers.
    pub ensemble: Ensemble,
    /// Who to be, for the scheme `digest`.
    pub credential: Option<Credential>,
    /// The node below which the masters register.
    pub path: String,
}

/// Why an address is refused.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Another kind of address.
    #[error(
        "'{0}' is no ZooKeeper address: write zk://host:port,host:port/path, or file:///path/of/a/file that holds one"
    )]
    Scheme(String),
    /// The servers are wrong.
    #[error("the ZooKeeper address {address} is wrong: {source}")]
    Ensemble {
        /// Without its password.
        address: String,
        /// What is wrong.
        source: EnsembleError,
    },
    /// The path is missing or wrong.
    #[error("the ZooKeeper address {address} is wrong: {source}")]
    Path {
        /// Without its password.
        address: String,
        /// What is wrong.
        source: PathError,
    },
    /// Credentials without a password.
    #[error("the ZooKeeper address {0} names a user without a password: write zk://user:password@host:port/path")]
    Credentials(String),
    /// The file with the address.
    #[error("the file {path} with the ZooKeeper address cannot be read: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl ZookeeperUrl {
    /// Whether this is an address for this module: `zk://` or `file://`.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("zk://") || text.starts_with("file://")
    }

    /// Reads an address; `file://` names a file that holds one, so that a password need not be on a command line.
    pub fn load(text: &str) -> Result<Self, UrlError> {
        let Some(path) = text.strip_prefix("file://") else { return Self::parse(text) };
        let held = std::fs::read_to_string(path).map_err(|source| UrlError::File { path: path.to_owned(), source })?;
        Self::parse(held.trim())
    }

    /// Reads a `zk://` address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("zk://").ok_or_else(|| UrlError::Scheme(without_password(text)))?;
        // A password may hold anything; a path with '@' is possible too, but not before the first '/' after the last server.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) if !credentials.contains('/') || rest.contains('/') => (Some(credentials), rest),
            _ => (None, rest),
        };
        let address = || match credentials {
            Some(_) => format!("zk://***@{rest}"),
            None => format!("zk://{rest}"),
        };
        let credential = match credentials {
            Some(pair) => {
                let (user, password) = pair.split_once(':').ok_or_else(|| UrlError::Credentials(address()))?;
                if user.is_empty() || password.is_empty() {
                    return Err(UrlError::Credentials(address()));
                }
                Some(Credential::digest(user, password))
            }
            None => None,
        };
        let (servers, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = path.trim_end_matches('/');
        let ensemble = Ensemble::parse(servers, DEFAULT_PORT)
            .map_err(|source| UrlError::Ensemble { address: address(), source })?;
        check_path(path).map_err(|source| UrlError::Path { address: address(), source })?;
        Ok(Self { ensemble, credential, path: path.to_owned() })
    }

    /// Settings to connect with.
    pub fn settings(&self) -> Settings {
        Settings { credentials: self.credential.iter().cloned().collect(), ..Settings::new(self.ensemble.clone()) }
    }
}

impl std::fmt::Display for ZookeeperUrl {
    /// Without the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = if self.credential.is_some() { "***@" } else { "" };
        write!(formatter, "zk://{user}{}{}", self.ensemble, self.path)
    }
}

fn without_password(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("***@{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_address() {
        let url = ZookeeperUrl::parse("zk://me:se:cr@et@10.0.0.1:2181,zk2/mesos/one/").unwrap();
        assert_eq!(url.ensemble.to_string(), "10.0.0.1:2181,zk2:2181");
        assert_eq!(url.path, "/mesos/one");
        assert_eq!(url.credential, Some(Credential::digest("me", "se:cr@et")));
        assert_eq!(url.to_string(), "zk://***@10.0.0.1:2181,zk2:2181/mesos/one");
        assert!(!format!("{url:?}").contains("cr@et"), "{url:?}");
        assert_eq!(url.settings().credentials.len(), 1);
        let plain = ZookeeperUrl::load("zk://h:1/mesos").unwrap();
        assert_eq!((plain.credential, plain.path.as_str()), (None, "/mesos"));
    }

    #[test]
    fn errors_say_what_to_write_and_keep_the_password() {
        for (bad, says) in [
            ("h:1/mesos", "zk://host:port"),
            ("http://u:secret@h:1/mesos", "zk://host:port"),
            ("zk://h:1", "name a path below it"),
            ("zk://h:1/", "name a path below it"),
            ("zk:///mesos", "no ZooKeeper server"),
            ("zk://h:x/mesos", "'h:x' is no ZooKeeper server"),
            ("zk://u:secret@h:1/a//b", "is no path"),
            ("zk://u@h:1/mesos", "user:password"),
            ("zk://u:@h:1/mesos", "user:password"),
            ("file:///no/such/file", "/no/such/file"),
        ] {
            let error = ZookeeperUrl::load(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_file_holds_an_address() {
        let file = std::env::temp_dir().join(format!("discovery-url-{}", std::process::id()));
        std::fs::write(&file, "zk://u:p@h:1/mesos\n").unwrap();
        let url = ZookeeperUrl::load(&format!("file://{}", file.display())).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!((url.path.as_str(), url.credential.is_some()), ("/mesos", true));
        assert!(ZookeeperUrl::is_one("file:///x") && ZookeeperUrl::is_one("zk://x") && !ZookeeperUrl::is_one("h:1"));
    }
}
