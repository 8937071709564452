//! A member of a server set, as JSON (spec thrift-api 1.6, executor 2.10). No connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What every member's node is named, before its ten digits.
pub const MEMBER_PREFIX: &str = "member_";

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port; 0 where there is none.
    pub port: u16,
}

impl Endpoint {
    /// That port of that host.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

/// How a member says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Not serving.
    Dead,
    /// Not yet.
    Starting,
    /// Serving.
    #[default]
    Alive,
    /// Not for long.
    Stopping,
    /// No more.
    Stopped,
    /// Serving badly.
    Warning,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its main endpoint.
    #[serde(rename = "serviceEndpoint")]
    pub service_endpoint: Endpoint,
    /// Others by name.
    #[serde(rename = "additionalEndpoints", default)]
    pub additional_endpoints: BTreeMap<String, Endpoint>,
    /// How it is; members that do not say are alive.
    #[serde(default)]
    pub status: Status,
    /// Instance id, where the set is a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<i64>,
}

/// Why a node's content is no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node {node} does not describe a member: {why}")]
pub struct MemberError {
    /// Which node.
    pub node: String,
    /// What is wrong.
    pub why: String,
}

impl Member {
    /// A member that is alive.
    pub fn alive(service_endpoint: Endpoint, additional_endpoints: BTreeMap<String, Endpoint>) -> Self {
        Self { service_endpoint, additional_endpoints, status: Status::Alive, shard: None }
    }

    /// As JSON, in the order other writers have.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a node's content. Only the main endpoint is asked for, and keys that are not known are ignored.
    pub fn parse(node: &str, data: &[u8]) -> Result<Self, MemberError> {
        serde_json::from_slice(data).map_err(|error| MemberError { node: node.to_owned(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_that_aurora_writes() {
        let additional = [("http".to_owned(), Endpoint::new("h", 8081))].into();
        let member = Member::alive(Endpoint::new("h", 8081), additional);
        let text = r#"{"serviceEndpoint":{"host":"h","port":8081},"additionalEndpoints":{"http":{"host":"h","port":8081}},"status":"ALIVE"}"#;
        assert_eq!(String::from_utf8(member.to_json()).unwrap(), text);
        assert_eq!(Member::parse("member_1", text.as_bytes()).unwrap(), member);
        let shard = Member { shard: Some(3), ..member };
        assert!(String::from_utf8(shard.to_json()).unwrap().ends_with(r#""status":"ALIVE","shard":3}"#));
        assert_eq!(Member::parse("member_1", &shard.to_json()).unwrap(), shard);
    }

    #[test]
    fn readers_are_lenient_but_not_blind() {
        let member = Member::parse("m", br#"{"serviceEndpoint":{"host":"h","port":1,"x":2},"more":[]}"#).unwrap();
        assert_eq!((member.status, member.additional_endpoints.len(), member.shard), (Status::Alive, 0, None));
        let odd = Member::parse("m", br#"{"serviceEndpoint":{"host":"h","port":1},"status":"HAPPY"}"#).unwrap();
        assert_eq!(odd.status, Status::Unknown);
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"serviceEndpoint":{"host":"h"}}"#,
            br#"{"serviceEndpoint":{"host":"h","port":-1}}"#,
        ] {
            assert_eq!(Member::parse("member_9", bad).unwrap_err().node, "member_9");
        }
    }
}
