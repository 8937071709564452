//! What a Mesos master says of itself in ZooKeeper, in its three forms (spec mesos 4.1). No connection.

use std::fmt;
use std::net::Ipv4Addr;

use prost::Message;
use serde::Deserialize;

use crate::ensemble::write_host_port;

/// A leading Mesos master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Name of the node that says so, e.g. `json.info_0000000042`.
    pub node: String,
    /// Address to connect to, mostly an IP address.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// The name it goes by, which need not resolve here.
    pub hostname: Option<String>,
    /// Identity of the master's process.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

impl Leader {
    /// `host:port` to connect to, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        struct Address<'a>(&'a Leader);
        impl fmt::Display for Address<'_> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_host_port(formatter, &self.0.host, self.0.port)
            }
        }
        Address(self).to_string()
    }
}

/// Why a node's content is no master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node {node} does not describe a Mesos master: {why}")]
pub struct LeaderFormatError {
    /// Which node.
    pub node: String,
    /// What is wrong.
    pub why: String,
}

/// How a node says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Binary,
    Pid,
}

/// The masters among the children of a group, by sequence: the first one leads. Labels do not matter for the order.
pub(crate) fn contenders(children: &[String]) -> Vec<&str> {
    let mut found: Vec<(i64, &str)> =
        children.iter().filter_map(|name| form(name).map(|(_, sequence)| (sequence, name.as_str()))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// How a node of this name says it, and its place in the order; none for nodes that are no masters.
fn form(name: &str) -> Option<(Form, i64)> {
    let (form, digits) = if let Some(digits) = name.strip_prefix("json.info_") {
        (Form::Json, digits)
    } else if let Some(digits) = name.strip_prefix("info_") {
        (Form::Binary, digits)
    } else {
        (Form::Pid, name)
    };
    // ZooKeeper's counter turns negative after 2^31 nodes.
    let is_number = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).map(|sequence| (form, sequence))
}

/// Reads the content of a master's node.
pub(crate) fn parse(node: &str, data: &[u8]) -> Result<Leader, LeaderFormatError> {
    let parsed = match form(node).map(|(form, _)| form) {
        Some(Form::Json) => from_json(data),
        Some(Form::Binary) => from_protobuf(data),
        Some(Form::Pid) => from_pid_text(data),
        None => Err("its name is none of a master's".into()),
    };
    match parsed {
        Ok(leader) => Ok(Leader { node: node.to_owned(), ..leader }),
        Err(why) => Err(LeaderFormatError { node: node.to_owned(), why }),
    }
}

/// The fields of a MasterInfo that say where it is (spec mesos 2.3).
#[derive(Clone, PartialEq, Message)]
struct MasterInfo {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint32, tag = "2")]
    ip: u32,
    #[prost(uint32, optional, tag = "3")]
    port: Option<u32>,
    #[prost(string, optional, tag = "4")]
    pid: Option<String>,
    #[prost(string, optional, tag = "5")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "6")]
    version: Option<String>,
    #[prost(message, optional, tag = "7")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(string, optional, tag = "1")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "2")]
    ip: Option<String>,
    #[prost(int32, optional, tag = "3")]
    port: Option<i32>,
}

#[derive(Deserialize)]
struct JsonMasterInfo {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    ip: Option<u32>,
    #[serde(default)]
    port: Option<u32>,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    address: Option<JsonAddress>,
}

#[derive(Deserialize)]
struct JsonAddress {
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    port: Option<i32>,
}

/// Port of a master that names none.
const DEFAULT_PORT: u32 = 5050;

fn from_json(data: &[u8]) -> Result<Leader, String> {
    let info: JsonMasterInfo = serde_json::from_slice(data).map_err(|error| error.to_string())?;
    from_info(MasterInfo {
        id: info.id.unwrap_or_default(),
        ip: info.ip.unwrap_or_default(),
        port: info.port,
        pid: info.pid,
        hostname: info.hostname,
        version: info.version,
        address: info.address.map(|it| Address { hostname: it.hostname, ip: it.ip, port: it.port }),
    })
}

fn from_protobuf(data: &[u8]) -> Result<Leader, String> {
    from_info(MasterInfo::decode(data).map_err(|error| error.to_string())?)
}

/// The address says it best; then the integer, then the name, then the pid.
fn from_info(info: MasterInfo) -> Result<Leader, String> {
    let address = info.address.unwrap_or_default();
    let hostname = address.hostname.or(info.hostname).filter(|name| !name.is_empty());
    let legacy_ip = (info.ip != 0).then(|| Ipv4Addr::from(info.ip.to_le_bytes()).to_string());
    let from_pid = info.pid.as_deref().and_then(|pid| parse_pid(pid).ok());
    let host = address.ip.filter(|ip| !ip.is_empty()).or(legacy_ip).or_else(|| hostname.clone());
    let port = address.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let (host, port) = match (host, port, from_pid) {
        (Some(host), Some(port), _) => (host, port),
        (None, _, Some(pid)) => pid,
        (Some(host), None, pid) => match (info.port, pid) {
            (None, Some((_, port))) => (host, port),
            (port, _) => (host, u16::try_from(port.unwrap_or(DEFAULT_PORT)).map_err(|error| error.to_string())?),
        },
        (None, _, None) => return Err("it names no address".into()),
    };
    Ok(Leader {
        node: String::new(),
        host,
        port,
        hostname,
        id: Some(info.id).filter(|id| !id.is_empty()),
        version: info.version.filter(|version| !version.is_empty()),
    })
}

fn from_pid_text(data: &[u8]) -> Result<Leader, String> {
    let text = std::str::from_utf8(data).map_err(|error| error.to_string())?;
    let (host, port) = parse_pid(text.trim())?;
    Ok(Leader { node: String::new(), host, port, hostname: None, id: None, version: None })
}

/// `master@1.2.3.4:5050`.
fn parse_pid(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("'{text}' is not of the form master@host:port");
    let (_, address) = text.split_once('@').ok_or_else(bad)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| bad())?;
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_smallest_sequence_leads_whatever_the_label() {
        let children =
            names(&["json.info_0000000012", "log_replicas", "info_0000000009", "0000000010", "info_", "x_1"]);
        assert_eq!(contenders(&children), ["info_0000000009", "0000000010", "json.info_0000000012"]);
        assert!(contenders(&names(&["log_replicas", "json.info_a", "json.info_+1", "info_1_2", ""])).is_empty());
        assert_eq!(contenders(&names(&["info_0000000001", "info_-2147483648"]))[0], "info_-2147483648");
    }

    #[test]
    fn json() {
        let text = br#"{"address":{"hostname":"m1","ip":"10.0.0.5","port":5051},"capabilities":[{"type":"QUOTA_V2"}],
            "hostname":"m1","id":"abc","ip":83886090,"pid":"master@10.0.0.5:5050","port":5050,"version":"1.11.0"}"#;
        let leader = parse("json.info_0000000042", text).unwrap();
        assert_eq!((leader.host.as_str(), leader.port, leader.address()), ("10.0.0.5", 5051, "10.0.0.5:5051".into()));
        assert_eq!((leader.node.as_str(), leader.hostname.as_deref()), ("json.info_0000000042", Some("m1")));
        assert_eq!((leader.id.as_deref(), leader.version.as_deref()), (Some("abc"), Some("1.11.0")));
        // Without the address: the integer is the address in network order as a little-endian machine reads it.
        let old = parse("json.info_1", br#"{"id":"a","ip":83886090,"port":5052}"#).unwrap();
        assert_eq!(old.address(), "10.0.0.5:5052");
        assert_eq!(parse("json.info_1", br#"{"id":"a","ip":83886090}"#).unwrap().port, 5050);
        assert_eq!(parse("json.info_1", br#"{"pid":"master@[::1]:7"}"#).unwrap().address(), "[::1]:7");
    }

    #[test]
    fn protobuf_and_pid() {
        let info = MasterInfo {
            id: "abc".into(),
            ip: u32::from_le_bytes([10, 0, 0, 6]),
            port: Some(5053),
            hostname: Some("m2".into()),
            ..MasterInfo::default()
        };
        let leader = parse("info_0000000003", &info.encode_to_vec()).unwrap();
        assert_eq!((leader.address().as_str(), leader.hostname.as_deref()), ("10.0.0.6:5053", Some("m2")));
        // Bytes written by hand: id "x", ip 127.0.0.1, port 5050, pid.
        let bytes =
            [b"\x0a\x01x\x10\xff\x80\x80\x08\x18\xba\x27\x22".as_slice(), b"\x15", b"master@127.0.0.1:5050"].concat();
        assert_eq!(parse("info_1", &bytes).unwrap().address(), "127.0.0.1:5050");
        assert_eq!(parse("0000000007", b"master@1.2.3.4:5050\n").unwrap().address(), "1.2.3.4:5050");
    }

    #[test]
    fn what_is_no_master_names_its_node() {
        for (node, data) in [
            ("json.info_1", b"{".as_slice()),
            ("json.info_1", b"{}"),
            ("json.info_1", br#"{"ip":1,"port":70000}"#),
            ("info_1", b"\xff\xff"),
            ("info_1", b""),
            ("1", b"1.2.3.4:5050"),
            ("1", b"master@:5050"),
            ("1", b"\xff"),
            ("log_replicas", b"{}"),
        ] {
            let error = parse(node, data).unwrap_err().to_string();
            assert!(error.contains(node), "{error}");
        }
    }
}
