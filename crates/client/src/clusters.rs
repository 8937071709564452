//! Which clusters exist and where their schedulers are (spec client-cli 3.1). Not the connection itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exit::{Exit, Failure, Outcome};

/// Name of the cluster that is the daemon on this machine when no file says otherwise.
pub const LOCAL_CLUSTER: &str = "devcluster";
/// Where that daemon listens unless told otherwise.
pub const LOCAL_URL: &str = "http://127.0.0.1:8081";

/// A cluster and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Name.
    pub name: String,
    /// Base address of the scheduler without a final slash, e.g. `http://127.0.0.1:8081`.
    pub url: String,
    /// Base address for links shown to people.
    pub display_url: String,
    /// Whether it is the built-in one: then nobody waits for a daemon that was never started.
    pub is_local_default: bool,
}

impl Cluster {
    /// A cluster of that name at that address.
    pub fn at(name: impl Into<String>, url: impl Into<String>) -> Self {
        let url = normalise(&url.into());
        Self { name: name.into(), display_url: url.clone(), url, is_local_default: false }
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
        let value: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        let entries: Vec<&Value> = match &value {
            Value::Array(entries) => entries.iter().collect(),
            Value::Object(entries) => entries.values().collect(),
            _ => return Err(bad("it must hold a list of clusters".into())),
        };
        for entry in entries {
            if let Some(name) = entry.get("name").and_then(Value::as_str) {
                self.entries.insert(name.to_owned(), read_entry(name, entry));
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
        match self.entries.get(name) {
            Some(Entry::Reachable(cluster)) => Ok(cluster.clone()),
            Some(Entry::Unusable(why)) => {
                Err(Failure::new(Exit::InvalidConfiguration, format!("Cluster {name} cannot be reached: {why}")))
            }
            None if name == LOCAL_CLUSTER => Ok(Cluster::local()),
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

fn read_entry(name: &str, entry: &Value) -> Entry {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("scheduler_uri"), text("zk")) {
        // With both, the classic client asks ZooKeeper; the address is right too as long as it is the leader's, and a scheduler
        // that does not lead redirects.
        (Some(url), _) => {
            let mut cluster = Cluster::at(name, url);
            if let Some(proxy) = text("proxy_url") {
                cluster.display_url = normalise(proxy);
            }
            Entry::Reachable(cluster)
        }
        (None, Some(_)) => Entry::Unusable(
            "its entry in clusters.json has only `zk`, and this version cannot look up a leader in ZooKeeper; add `scheduler_uri`".into(),
        ),
        (None, None) => Entry::Unusable("its entry in clusters.json has no `scheduler_uri`".into()),
    }
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
    fn broken_files_are_errors_and_zookeeper_says_so() {
        let failure = Clusters::default().add_file(Path::new("/x/clusters.json"), "[{").unwrap_err();
        assert!(failure.text.starts_with("/x/clusters.json is not usable:"), "{}", failure.text);
        assert!(Clusters::default().add_file(Path::new("x"), "3").is_err());
        let failure = clusters(r#"[{"name": "z", "zk": "zk1"}]"#).get("z").unwrap_err();
        assert!(failure.text.contains("scheduler_uri"), "{}", failure.text);
    }
}
