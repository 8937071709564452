//! Which clusters exist and where their schedulers are (spec client-cli 3.1). Not the connection itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exit::{Exit, Failure, Outcome};
use crate::leader::Announced;

/// Name of the cluster that is the daemon on this machine when no file says otherwise.
pub const LOCAL_CLUSTER: &str = "devcluster";
/// Where that daemon listens unless told otherwise.
pub const LOCAL_URL: &str = "http://127.0.0.1:8081";

/// A cluster and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Name.
    pub name: String,
    /// Base address of the scheduler without a final slash, e.g. `http://127.0.0.1:8081`; until the leader was found in ZooKeeper, the
    /// place there.
    pub url: String,
    /// Base address for links shown to people.
    pub display_url: String,
    /// Where the leader is found, when its address is not fixed.
    pub announced: Option<Announced>,
    /// Registry in which the images of its jobs are looked for; unset for the usual one.
    pub docker_registry: Option<String>,
    /// File with the authorities, in PEM, by which its scheduler is known over https; those of this machine when unset.
    pub ca_file: Option<PathBuf>,
    /// Whether it is the built-in one: then nobody waits for a daemon that was never started.
    pub is_local_default: bool,
    /// The scheduler there is to answer itself even if another one leads.
    pub bypass_leader_redirect: bool,
}

impl Cluster {
    /// A cluster of that name at that address.
    pub fn at(name: impl Into<String>, url: impl Into<String>) -> Self {
        let url = normalise(&url.into());
        Self {
            name: name.into(),
            display_url: url.clone(),
            url,
            announced: None,
            docker_registry: None,
            ca_file: None,
            is_local_default: false,
            bypass_leader_redirect: false,
        }
    }

    /// A cluster of that name whose leader is found in ZooKeeper.
    pub fn announced(name: impl Into<String>, announced: Announced) -> Self {
        let url = announced.to_string();
        Self { announced: Some(announced), display_url: url.clone(), url, ..Self::at(name, "") }
    }

    /// The leader is at that address now. Links go there too, unless the cluster has an address for them.
    pub fn move_to(&mut self, url: &str) {
        let url = normalise(url);
        if self.display_url == self.url {
            self.display_url.clone_from(&url);
        }
        self.url = url;
    }

    fn local() -> Self {
        Self { is_local_default: true, ..Self::at(LOCAL_CLUSTER, LOCAL_URL) }
    }
}

/// What one entry of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Reachable(Cluster),
    /// Defined, but not usable, with the reason.
    Unusable(String),
}

/// All clusters known to this user.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    entries: BTreeMap<String, Entry>,
    /// What the files say, word for word.
    definitions: BTreeMap<String, serde_json::Map<String, Value>>,
    bypass_leader_redirect: bool,
}

impl Clusters {
    /// Reads `$AURORA_CONFIG_ROOT/clusters.json` (default `/etc/aurora`) and then `~/.aurora/clusters.json`; later definitions replace
    /// earlier ones. Missing files are fine, unreadable ones are not.
    pub fn load() -> Outcome<Self> {
        let system = std::env::var_os("AURORA_CONFIG_ROOT").map_or_else(|| PathBuf::from("/etc/aurora"), PathBuf::from);
        let mut files = vec![system.join("clusters.json")];
        if let Some(home) = std::env::var_os("HOME") {
            files.push(PathBuf::from(home).join(".aurora/clusters.json"));
        }
        let mut clusters = Self::default();
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => clusters.add_file(&file, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Failure::new(
                        Exit::InvalidConfiguration,
                        format!("Cannot read {}: {error}", file.display()),
                    ));
                }
            }
        }
        Ok(clusters)
    }

    /// Adds the definitions of one file.
    pub fn add_file(&mut self, path: &Path, text: &str) -> Outcome {
        let bad =
            |why: String| Failure::new(Exit::InvalidConfiguration, format!("{} is not usable: {why}", path.display()));
        let value: Value = serde_json::from_str(text).map_err(|error| bad(format!("it is not JSON ({error})")))?;
        let entries: Vec<&Value> = match &value {
            Value::Array(entries) => entries.iter().collect(),
            Value::Object(entries) => entries.values().collect(),
            _ => return Err(bad("it must hold a list of clusters".into())),
        };
        for entry in entries {
            if let Some(name) = entry.get("name").and_then(Value::as_str) {
                self.entries.insert(name.to_owned(), read_entry(name, entry, path.parent()));
                self.definitions.insert(name.to_owned(), entry.as_object().cloned().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Adds a cluster at a known address.
    pub fn add(&mut self, cluster: Cluster) {
        self.entries.insert(cluster.name.clone(), Entry::Reachable(cluster));
    }

    /// The cluster of that name; `devcluster` is the daemon on this machine unless a file defines it.
    pub fn get(&self, name: &str) -> Outcome<Cluster> {
        let bypass_leader_redirect = self.bypass_leader_redirect;
        match self.entries.get(name) {
            Some(Entry::Reachable(cluster)) => Ok(Cluster { bypass_leader_redirect, ..cluster.clone() }),
            Some(Entry::Unusable(why)) => {
                Err(Failure::new(Exit::InvalidConfiguration, format!("Cluster {name} cannot be reached: {why}")))
            }
            None if name == LOCAL_CLUSTER => Ok(Cluster { bypass_leader_redirect, ..Cluster::local() }),
            None => Err(Failure::new(
                Exit::InvalidConfiguration,
                format!(
                    "Unknown cluster: {name}. Known: {}. Define it in ~/.aurora/clusters.json, for example \
                     [{{\"name\": \"{name}\", \"scheduler_uri\": \"http://HOST:8081\"}}]",
                    self.names().join(", ")
                ),
            )),
        }
    }

    /// Whatever scheduler is reached answers itself, even if another one leads.
    pub fn bypass_leader_redirect(&mut self) {
        self.bypass_leader_redirect = true;
    }

    /// What the files say of a cluster, keys that nobody here knows included; of one that no file defines, what is built in.
    pub fn definition(&self, name: &str) -> Outcome<serde_json::Map<String, Value>> {
        if let Some(definition) = self.definitions.get(name) {
            return Ok(definition.clone());
        }
        let cluster = self.get(name)?;
        let text = |value: &str| Value::String(value.to_owned());
        Ok([("name".to_owned(), text(&cluster.name)), ("scheduler_uri".to_owned(), text(&cluster.url))]
            .into_iter()
            .collect())
    }

    /// Names of all clusters, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.entries.keys().map(String::as_str).collect();
        if !names.contains(&LOCAL_CLUSTER) {
            names.push(LOCAL_CLUSTER);
            names.sort_unstable();
        }
        names
    }
}

/// A relative file is looked for beside clusters.json, in `directory`.
fn read_entry(name: &str, entry: &Value, directory: Option<&Path>) -> Entry {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    // With both, ZooKeeper knows better: an address is right only for as long as the leader is there.
    let found = match (text("zk"), text("scheduler_uri")) {
        (Some(servers), _) => read_announced(servers, entry).map(|announced| Cluster::announced(name, announced)),
        (None, Some(url)) => Ok(Cluster::at(name, url)),
        (None, None) => Err("its entry in clusters.json has neither `scheduler_uri` nor `zk`".into()),
    };
    match found {
        Ok(mut cluster) => {
            if let Some(proxy) = text("proxy_url") {
                cluster.display_url = normalise(proxy);
            }
            cluster.docker_registry = text("docker_registry").map(str::to_owned);
            cluster.ca_file = text("ca_file").map(|file| directory.unwrap_or(Path::new("")).join(file));
            Entry::Reachable(cluster)
        }
        Err(why) => Entry::Unusable(why),
    }
}

/// `zk`, hosts that mostly name no port; `zk_port`; `scheduler_zk_path`.
fn read_announced(servers: &str, entry: &Value) -> Result<Announced, String> {
    let wrong = |what: String| format!("its entry in clusters.json is wrong: {what}");
    let port = match entry.get("zk_port") {
        None | Some(Value::Null) => discovery::DEFAULT_PORT,
        Some(Value::String(text)) => text.trim().parse().map_err(|_| wrong(format!("zk_port {text:?} is no port")))?,
        Some(port) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| wrong(format!("zk_port {port} is no port")))?,
    };
    let ensemble = discovery::Ensemble::parse(servers, port).map_err(|error| wrong(format!("zk: {error}")))?;
    let path = entry.get("scheduler_zk_path").and_then(Value::as_str).filter(|path| !path.is_empty());
    let path = path.ok_or("its entry in clusters.json has `zk` but no `scheduler_zk_path`: add the path under which its schedulers announce themselves, mostly /aurora/scheduler")?;
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    discovery::check_path(path).map_err(|error| wrong(format!("scheduler_zk_path: {error}")))?;
    Ok(Announced { ensemble, path: path.to_owned() })
}

/// With a scheme, without a final slash.
fn normalise(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(text: &str) -> Clusters {
        let mut clusters = Clusters::default();
        clusters.add_file(Path::new("clusters.json"), text).unwrap();
        clusters
    }

    #[test]
    fn without_a_file_devcluster_is_this_machine() {
        let cluster = Clusters::default().get("devcluster").unwrap();
        assert_eq!(cluster.url, "http://127.0.0.1:8081");
        assert!(cluster.is_local_default);
    }

    #[test]
    fn a_file_replaces_the_built_in_and_later_files_replace_earlier_ones() {
        let mut clusters = clusters(r#"[{"name": "devcluster", "scheduler_uri": "http://a:1/"}, {"no_name": 1}]"#);
        assert_eq!(clusters.get("devcluster").unwrap().url, "http://a:1");
        clusters
            .add_file(
                Path::new("b"),
                r#"{"x": {"name": "devcluster", "scheduler_uri": "b:2", "proxy_url": "https://p/"}}"#,
            )
            .unwrap();
        let cluster = clusters.get("devcluster").unwrap();
        assert_eq!((cluster.url.as_str(), cluster.display_url.as_str()), ("http://b:2", "https://p"));
        assert!(!cluster.is_local_default);
    }

    #[test]
    fn an_unknown_cluster_lists_the_known_ones_with_exit_3() {
        let failure = clusters(r#"[{"name": "c1", "scheduler_uri": "http://a:1"}]"#).get("c2").unwrap_err();
        assert_eq!(failure.exit, Exit::InvalidConfiguration);
        assert!(failure.text.contains("Unknown cluster: c2. Known: c1, devcluster."), "{}", failure.text);
    }

    #[test]
    fn broken_files_are_errors() {
        let failure = Clusters::default().add_file(Path::new("/x/clusters.json"), "[{").unwrap_err();
        assert!(failure.text.starts_with("/x/clusters.json is not usable:"), "{}", failure.text);
        assert!(Clusters::default().add_file(Path::new("x"), "3").is_err());
    }

    #[test]
    fn zookeeper_wins_over_an_address_and_says_what_is_missing() {
        let clusters = clusters(
            r#"[{"name": "z", "zk": "zk1,zk2:2182", "zk_port": 4000, "scheduler_zk_path": "/aurora/scheduler/", "scheduler_uri": "h:1",
                 "proxy_url": "https://p/"},
                {"name": "plain", "zk": "zk1", "scheduler_zk_path": "/a"},
                {"name": "nopath", "zk": "zk1"}, {"name": "port", "zk": "zk1", "zk_port": 0.5, "scheduler_zk_path": "/a"},
                {"name": "servers", "zk": "a b", "scheduler_zk_path": "/a"}, {"name": "root", "zk": "a", "scheduler_zk_path": "/"},
                {"name": "none"}]"#,
        );
        let mut cluster = clusters.get("z").unwrap();
        assert_eq!(cluster.url, "zk://zk1:4000,zk2:2182/aurora/scheduler");
        cluster.move_to("http://leader:8081/");
        assert_eq!((cluster.url.as_str(), cluster.display_url.as_str()), ("http://leader:8081", "https://p"));
        let mut plain = clusters.get("plain").unwrap();
        assert_eq!(plain.announced.as_ref().unwrap().to_string(), "zk://zk1:2181/a");
        for url in ["http://one:1", "http://two:2"] {
            plain.move_to(url);
            assert_eq!((plain.url.as_str(), plain.display_url.as_str()), (url, url));
        }
        for (name, says) in [
            ("nopath", "scheduler_zk_path"),
            ("port", "zk_port 0.5 is no port"),
            ("servers", "'a b' is no ZooKeeper server"),
            ("root", "scheduler_zk_path: the root"),
            ("none", "neither `scheduler_uri` nor `zk`"),
        ] {
            let failure = clusters.get(name).unwrap_err();
            assert_eq!(failure.exit, Exit::InvalidConfiguration);
            assert!(failure.text.contains(says), "{}", failure.text);
        }
    }
}
