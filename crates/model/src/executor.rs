//! Executors of a cluster: what starts one, what it needs beside its task, and the file in which an operator describes custom
//! ones (spec executor 5.3, 5.4). Data and reading of text only; engines start them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container::{Volume, VolumeMode};
use crate::resource::{CpuMillis, Resources};
use crate::task::AURORA_EXECUTOR_NAME;

/// Put before the task id to name the executor of a Thermos-style task.
pub const THERMOS_TASK_PREFIX: &str = "thermos-";

/// One executor that jobs may name.
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// Name by which jobs choose it.
    pub name: String,
    /// Put before the task id to make the id of the executor of that task.
    pub task_prefix: String,
    /// What it takes on an agent on top of its task.
    pub overhead: Resources,
    /// Host paths made visible in the containers of its tasks.
    pub volume_mounts: Vec<Volume>,
    /// What starts it.
    pub command: Option<Command>,
    /// All of it as a Mesos v1 ExecutorInfo in JSON, with the names of that API, without `executor_id`.
    pub info: Value,
}

/// What starts an executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// A line for the shell, or the path of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether `value` is a line for `/bin/sh -c`; unset means true.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "boolean")]
    pub shell: Option<bool>,
    /// Arguments of a program, its own name first; a shell line has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Files fetched before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<Uri>,
    /// User it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

/// A file for the fetcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uri {
    /// Address.
    pub value: String,
    /// Made executable after fetching.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "boolean")]
    pub executable: Option<bool>,
    /// Unpacked after fetching.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "boolean")]
    pub extract: Option<bool>,
    /// Kept in the agent's cache.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "boolean")]
    pub cache: Option<bool>,
    /// Name to store it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
}

/// Environment of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// In order.
    #[serde(default)]
    pub variables: Vec<Variable>,
}

/// One variable of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Why the description of executors is refused; the text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorError {
    /// Not JSON, or not of the right shape.
    #[error("{0}. It must be a list of entries with the keys executor and task_prefix, and perhaps volume_mounts")]
    Malformed(String),
    /// No name, so no job could choose it.
    #[error("entry {0} has no executor.name: give it the name by which jobs are to choose it")]
    Nameless(usize),
    /// Two of one name.
    #[error("two entries are named {0}: names must differ")]
    Twice(String),
    /// A path that ends in a slash names no file.
    #[error("executor path '{0}' names no file: it must not end in '/'")]
    NoFile(String),
    /// Not `host:container:mode`.
    #[error("'{0}' is no mount: write host_path:container_path:ro or host_path:container_path:rw")]
    Mount(String),
    /// Not `name=value`.
    #[error("'{0}' is no Docker parameter: write name=value")]
    DockerParameter(String),
}

/// An entry of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    executor: Info,
    task_prefix: String,
    #[serde(default)]
    volume_mounts: Vec<Mount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mount {
    host_path: String,
    container_path: String,
    mode: MountMode,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum MountMode {
    Ro,
    Rw,
}

/// A Mesos v1 ExecutorInfo. What is only passed on is kept as it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing)]
    #[allow(dead_code)] // Accepted, and given anew for each task.
    executor_id: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discovery: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shutdown_grace_period: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    #[serde(default = "scalar_type", rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scalar: Option<Scalar>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalar {
    value: f64,
}

fn scalar_type() -> String {
    "SCALAR".into()
}

/// A JSON boolean, or the same as text: published files have `"shell": "true"`.
fn boolean<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(other) => Err(serde::de::Error::custom(format!("{other} is neither true nor false"))),
    }
}

fn overhead_of(resources: &[Resource]) -> Resources {
    let amount = |name: &str| -> f64 {
        let of_name = resources.iter().filter(|resource| resource.name == name);
        of_name.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
    };
    // Parts of a MB count as one: less than asked for would let the executor starve.
    let whole = |amount: f64| amount.ceil() as i64;
    Resources {
        cpu: CpuMillis::from_cores(amount("cpus")),
        ram_mb: whole(amount("mem")),
        disk_mb: whole(amount("disk")),
        ports: 0,
        gpus: whole(amount("gpus")),
    }
}

/// Reads the file of custom executors (spec executor 5.3). An entry may have the name of the built-in executor: it takes its
/// place.
pub fn parse_custom(text: &str) -> Result<Vec<Executor>, ExecutorError> {
    let entries: Vec<Entry> =
        serde_json::from_str(text).map_err(|error| ExecutorError::Malformed(error.to_string()))?;
    let mut names = BTreeSet::new();
    let mut executors = Vec::new();
    for (number, entry) in entries.into_iter().enumerate() {
        let info = entry.executor;
        let name = info.name.clone().filter(|name| !name.is_empty()).ok_or(ExecutorError::Nameless(number + 1))?;
        if !names.insert(name.clone()) {
            return Err(ExecutorError::Twice(name));
        }
        let overhead = overhead_of(&info.resources);
        if [overhead.cpu.0, overhead.ram_mb, overhead.disk_mb, overhead.gpus].iter().any(|amount| *amount < 0) {
            return Err(ExecutorError::Malformed(format!("executor {name} asks for less than nothing")));
        }
        let command = info.command.clone();
        executors.push(Executor {
            name,
            task_prefix: entry.task_prefix,
            overhead,
            volume_mounts: entry.volume_mounts.into_iter().map(Volume::from).collect(),
            command,
            info: serde_json::to_value(&info).map_err(|error| ExecutorError::Malformed(error.to_string()))?,
        });
    }
    Ok(executors)
}

impl From<Mount> for Volume {
    fn from(mount: Mount) -> Self {
        let mode = match mount.mode {
            MountMode::Ro => VolumeMode::Ro,
            MountMode::Rw => VolumeMode::Rw,
        };
        Volume { container_path: mount.container_path, host_path: mount.host_path, mode }
    }
}

/// How the executor of Thermos-style tasks is fetched and called (spec executor 5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThermosSettings {
    /// Path or address of the executor; its last part is run from the sandbox.
    pub path: String,
    /// Whether agents may keep the executor in their cache: the address must change with the content then.
    pub cache: bool,
    /// More files to fetch.
    pub resources: Vec<String>,
    /// Appended to the command line as they are.
    pub flags: Option<String>,
    /// Whether HOME is the sandbox.
    pub home_in_sandbox: bool,
    /// What the executor takes on top of its task.
    pub overhead: Resources,
    /// Mounts of every container.
    pub global_container_mounts: Vec<Volume>,
}

/// The built-in executor as started by flags.
pub fn thermos(settings: &ThermosSettings) -> Result<Executor, ExecutorError> {
    let file = settings.path.rsplit('/').next().unwrap_or_default();
    if file.is_empty() {
        return Err(ExecutorError::NoFile(settings.path.clone()));
    }
    let home = if settings.home_in_sandbox { "HOME=${MESOS_SANDBOX=.} " } else { "" };
    let flags = settings.flags.as_deref().unwrap_or_default();
    let line = format!("{home}${{MESOS_SANDBOX=.}}/{file} {flags}");
    let uri = |(value, cache): (&String, bool)| Uri {
        value: value.clone(),
        executable: Some(true),
        cache: cache.then_some(true),
        ..Uri::default()
    };
    let files =
        std::iter::once((&settings.path, settings.cache)).chain(settings.resources.iter().map(|file| (file, false)));
    let command = Command {
        value: Some(line.trim().into()),
        shell: Some(true),
        uris: files.map(uri).collect(),
        ..Command::default()
    };
    let overhead = &settings.overhead;
    let amounts = [
        ("cpus", overhead.cpu.cores()),
        ("mem", overhead.ram_mb as f64),
        ("disk", overhead.disk_mb as f64),
        ("gpus", overhead.gpus as f64),
    ];
    let resources: Vec<Value> = amounts
        .into_iter()
        .filter(|(_, amount)| *amount > 0.0)
        .map(|(name, amount)| serde_json::json!({"name": name, "type": "SCALAR", "scalar": {"value": amount}}))
        .collect();
    let info = serde_json::json!({"name": AURORA_EXECUTOR_NAME, "command": command, "resources": resources});
    Ok(Executor {
        name: AURORA_EXECUTOR_NAME.into(),
        task_prefix: THERMOS_TASK_PREFIX.into(),
        overhead: settings.overhead,
        volume_mounts: settings.global_container_mounts.clone(),
        command: Some(command),
        info,
    })
}

/// Reads `host:container:mode[,…]`; the mode is `ro` or `rw` and, as some documents have it, may be left out for `rw`.
pub fn parse_mounts(text: &str) -> Result<Vec<Volume>, ExecutorError> {
    list(text).map(|mount| parse_mount(mount).ok_or_else(|| ExecutorError::Mount(mount.into()))).collect()
}

fn parse_mount(mount: &str) -> Option<Volume> {
    let (host_path, container_path, mode) = match mount.split(':').collect::<Vec<_>>().as_slice() {
        [host, container] => (*host, *container, VolumeMode::Rw),
        [host, container, mode] if mode.eq_ignore_ascii_case("rw") => (*host, *container, VolumeMode::Rw),
        [host, container, mode] if mode.eq_ignore_ascii_case("ro") => (*host, *container, VolumeMode::Ro),
        _ => return None,
    };
    let named = !host_path.is_empty() && !container_path.is_empty();
    named.then(|| Volume { container_path: container_path.into(), host_path: host_path.into(), mode })
}

/// Reads `name=value[,…]`; a name may occur several times.
pub fn parse_docker_parameters(text: &str) -> Result<Vec<(String, String)>, ExecutorError> {
    let parse = |parameter: &str| {
        let (name, value) = parameter.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    list(text)
        .map(|parameter| parse(parameter).ok_or_else(|| ExecutorError::DockerParameter(parameter.into())))
        .collect()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSE: &str = r#"[ { "executor": {
            "command": { "value": "java -jar compose.jar", "shell": "true",
                "uris": [ { "cache": false, "executable": true, "extract": "false", "value": "https://example.org/compose.jar" } ] },
            "name": "docker-compose-executor", "resources": [] },
          "task_prefix": "compose-" } ]"#;

    #[test]
    fn the_documented_file_is_read() {
        let executors = parse_custom(COMPOSE).unwrap();
        let [compose] = executors.as_slice() else { panic!("one entry") };
        assert_eq!((compose.name.as_str(), compose.task_prefix.as_str()), ("docker-compose-executor", "compose-"));
        assert_eq!(compose.overhead, Resources::ZERO);
        let command = compose.command.as_ref().unwrap();
        assert_eq!(command.shell, Some(true));
        assert_eq!(command.uris[0].extract, Some(false));
        // What is passed on has real booleans.
        assert_eq!(compose.info["command"]["shell"], Value::Bool(true));
        assert_eq!(compose.info["command"]["uris"][0]["executable"], Value::Bool(true));
        assert_eq!(compose.info["name"], "docker-compose-executor");
    }

    #[test]
    fn overhead_and_mounts_are_read() {
        let text = r#"[{"executor": {"name": "x", "executor_id": {"value": "any"}, "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "scalar": {"value": 31.5}}, {"name": "gpus", "scalar": {"value": 1}}]},
            "task_prefix": "x-", "volume_mounts": [{"host_path": "/a", "container_path": "/b", "mode": "RO"}]}]"#;
        let executor = parse_custom(text).unwrap().remove(0);
        let expected = Resources { cpu: CpuMillis(100), ram_mb: 32, gpus: 1, ..Resources::ZERO };
        assert_eq!(executor.overhead, expected);
        let mount = Volume { container_path: "/b".into(), host_path: "/a".into(), mode: VolumeMode::Ro };
        assert_eq!(executor.volume_mounts, [mount]);
        assert!(executor.info.get("executor_id").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let refusal = |text: &str| parse_custom(text).expect_err("must be refused").to_string();
        assert!(refusal("{").contains("list of entries"));
        assert!(refusal(r#"[{"executor": {"name": "x"}}]"#).contains("task_prefix"));
        assert!(refusal(r#"[{"task_prefix": "x"}]"#).contains("executor"));
        assert!(refusal(r#"[{"executor": {"name": "x", "wings": 2}, "task_prefix": "x"}]"#).contains("wings"));
        assert!(
            refusal(r#"[{"executor": {"name": "x", "command": {"shell": "yes"}}, "task_prefix": "x"}]"#)
                .contains("yes")
        );
        assert!(refusal(r#"[{"executor": {}, "task_prefix": "x"}]"#).contains("entry 1 has no executor.name"));
        let twice =
            r#"[{"executor": {"name": "x"}, "task_prefix": "a"}, {"executor": {"name": "x"}, "task_prefix": "b"}]"#;
        assert!(refusal(twice).contains("two entries are named x"));
    }

    #[test]
    fn the_built_in_executor_is_called_as_flags_say() {
        let settings = ThermosSettings {
            path: "/usr/share/aurora/bin/thermos_executor.pex".into(),
            resources: vec!["/etc/docker.cfg".into()],
            flags: Some("--announcer-ensemble zk:2181".into()),
            overhead: Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO },
            ..ThermosSettings::default()
        };
        let executor = thermos(&settings).unwrap();
        let command = executor.command.unwrap();
        assert_eq!(
            command.value.as_deref(),
            Some("${MESOS_SANDBOX=.}/thermos_executor.pex --announcer-ensemble zk:2181")
        );
        assert!(command.uris.iter().all(|uri| uri.executable == Some(true) && uri.cache.is_none()));
        assert_eq!(command.uris.len(), 2);
        assert_eq!(executor.info["resources"][0]["scalar"]["value"], 0.25);
        let home = thermos(&ThermosSettings { home_in_sandbox: true, flags: None, ..settings.clone() }).unwrap();
        let line = home.command.unwrap().value;
        assert_eq!(line.as_deref(), Some("HOME=${MESOS_SANDBOX=.} ${MESOS_SANDBOX=.}/thermos_executor.pex"));
        assert!(thermos(&ThermosSettings { path: "/usr/share/".into(), ..settings }).is_err());
    }

    #[test]
    fn mounts_and_docker_parameters() {
        let mounts = parse_mounts("/a:/b:ro, /c:/d:RW,/e:/f").unwrap();
        let modes: Vec<VolumeMode> = mounts.iter().map(|mount| mount.mode).collect();
        assert_eq!(modes, [VolumeMode::Ro, VolumeMode::Rw, VolumeMode::Rw]);
        for bad in ["/a", "/a:/b:rx", "/a:/b:ro:z", ":/b:ro"] {
            assert_eq!(parse_mounts(bad), Err(ExecutorError::Mount(bad.into())));
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let parameters = parse_docker_parameters("label=a=b,label=c").unwrap();
        assert_eq!(parameters, [pair("label", "a=b"), pair("label", "c")]);
        assert!(parse_docker_parameters("label").is_err());
    }
}
