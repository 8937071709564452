//! Where the leading scheduler of a cluster is, when only ZooKeeper knows (spec client-cli 3.1, thrift-api 1.6). Not which clusters there
//! are, and not the calls to the scheduler.

use std::fmt;
use std::time::Duration;

use discovery::{Ensemble, Member, Settings, server_set};

/// How long the leader is looked for.
const LIMIT: Duration = Duration::from_secs(10);

/// Where schedulers announce themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Servers of the ZooKeeper.
    pub ensemble: Ensemble,
    /// Path of the set of schedulers, which has the leader alone as its member.
    pub path: String,
}

impl fmt::Display for Announced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "zk://{}{}", self.ensemble, self.path)
    }
}

/// Base address of the leading scheduler. An error is a sentence for the user.
pub fn find(announced: &Announced) -> Result<String, String> {
    let settings =
        Settings { reconnect_delay_max: Duration::from_secs(1), ..Settings::new(announced.ensemble.clone()) };
    let members = server_set::read_members(&settings, &announced.path, LIMIT).map_err(|error| error.to_string())?;
    // A scheduler that died is shown until its session times out, before the one that came after it: the newest is right.
    let Some((node, member)) = members.last() else { return Err(format!("no scheduler is announced at {announced}")) };
    url_of(member).ok_or_else(|| {
        format!(
            "the scheduler announced as {node} at {announced} names no address for clients: its additionalEndpoints have neither https \
             nor http"
        )
    })
}

/// The address for clients: `https` before `http`.
fn url_of(member: &Member) -> Option<String> {
    ["https", "http"].into_iter().find_map(|scheme| {
        let endpoint = member.additional_endpoints.get(scheme)?;
        let is_bare_ipv6 = endpoint.host.contains(':') && !endpoint.host.starts_with('[');
        let host = if is_bare_ipv6 { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
        Some(format!("{scheme}://{host}:{}", endpoint.port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> Member {
        Member::parse("member_0000000000", text.as_bytes()).unwrap()
    }

    #[test]
    fn https_before_http_and_nothing_else() {
        let both = r#"{"serviceEndpoint":{"host":"s","port":1},"additionalEndpoints":{"http":{"host":"h","port":2},"https":{"host":"t","port":3}}}"#;
        assert_eq!(url_of(&member(both)).as_deref(), Some("https://t:3"));
        let one = r#"{"serviceEndpoint":{"host":"s","port":1},"additionalEndpoints":{"http":{"host":"::1","port":2}}}"#;
        assert_eq!(url_of(&member(one)).as_deref(), Some("http://[::1]:2"));
        let none =
            r#"{"serviceEndpoint":{"host":"s","port":1},"additionalEndpoints":{"thrift":{"host":"h","port":2}}}"#;
        assert_eq!(url_of(&member(none)), None);
    }
}
