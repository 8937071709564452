//! What Docker is asked for: a container's settings from what the task needs and from the job's parameters, which are options of
//! Docker's command line (spec executor 3.2).

use serde_json::{Map, Value, json};

use super::{Container, SANDBOX_INSIDE, TASK_LABEL};

/// What runs in a container for processes until it is removed: a shell that waits for words that never come.
const WAITING: [&str; 3] = ["/bin/bash", "-c", "while read -r _; do :; done; while sleep 3600; do :; done"];

/// How the container is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Processes are started in it.
    Processes,
    /// It does what its image says.
    Alone,
}

/// The part of a request that a setting stands in.
#[derive(Clone, Copy)]
enum Part {
    /// The container's own settings.
    Config,
    /// What the machine gives it.
    Host,
}

/// How the value of an option becomes a setting.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// One more of a list.
    List,
    Number {
        factor: f64,
    },
    Bytes,
    Flag,
}

/// Options that are one setting each: their names, and where what they say stands.
const PLAIN: [(&[&str], Part, &str, Form); 36] = [
    (&["add-host"], Part::Host, "ExtraHosts", Form::List),
    (&["cap-add"], Part::Host, "CapAdd", Form::List),
    (&["cap-drop"], Part::Host, "CapDrop", Form::List),
    (&["cpu-shares", "c"], Part::Host, "CpuShares", Form::Number { factor: 1.0 }),
    (&["cpus"], Part::Host, "NanoCpus", Form::Number { factor: 1e9 }),
    (&["cpuset-cpus"], Part::Host, "CpusetCpus", Form::Text),
    (&["cpuset-mems"], Part::Host, "CpusetMems", Form::Text),
    (&["dns"], Part::Host, "Dns", Form::List),
    (&["dns-search"], Part::Host, "DnsSearch", Form::List),
    (&["dns-option", "dns-opt"], Part::Host, "DnsOptions", Form::List),
    (&["domainname"], Part::Config, "Domainname", Form::Text),
    (&["group-add"], Part::Host, "GroupAdd", Form::List),
    (&["hostname", "h"], Part::Config, "Hostname", Form::Text),
    (&["init"], Part::Host, "Init", Form::Flag),
    (&["ipc"], Part::Host, "IpcMode", Form::Text),
    (&["isolation"], Part::Host, "Isolation", Form::Text),
    (&["mac-address"], Part::Config, "MacAddress", Form::Text),
    (&["memory", "m"], Part::Host, "Memory", Form::Bytes),
    (&["memory-reservation"], Part::Host, "MemoryReservation", Form::Bytes),
    (&["memory-swap"], Part::Host, "MemorySwap", Form::Bytes),
    (&["network", "net"], Part::Host, "NetworkMode", Form::Text),
    (&["oom-score-adj"], Part::Host, "OomScoreAdj", Form::Number { factor: 1.0 }),
    (&["pid"], Part::Host, "PidMode", Form::Text),
    (&["pids-limit"], Part::Host, "PidsLimit", Form::Number { factor: 1.0 }),
    (&["privileged"], Part::Host, "Privileged", Form::Flag),
    (&["read-only"], Part::Host, "ReadonlyRootfs", Form::Flag),
    (&["runtime"], Part::Host, "Runtime", Form::Text),
    (&["security-opt"], Part::Host, "SecurityOpt", Form::List),
    (&["shm-size"], Part::Host, "ShmSize", Form::Bytes),
    (&["stop-signal"], Part::Config, "StopSignal", Form::Text),
    (&["user", "u"], Part::Config, "User", Form::Text),
    (&["userns"], Part::Host, "UsernsMode", Form::Text),
    (&["uts"], Part::Host, "UTSMode", Form::Text),
    (&["volume-driver"], Part::Host, "VolumeDriver", Form::Text),
    (&["volumes-from"], Part::Host, "VolumesFrom", Form::List),
    (&["workdir", "w"], Part::Config, "WorkingDir", Form::Text),
];

/// The body of a request for a container.
pub(super) fn body(container: &Container, purpose: Purpose) -> Result<Value, String> {
    let mut settings = Settings { config: Map::new(), host: Map::new(), purpose };
    settings.needs(container);
    for (name, value) in &container.parameters {
        settings.parameter(name.trim_start_matches('-'), value)?;
    }
    settings.limits(container);
    let Settings { mut config, host, .. } = settings;
    config.insert("HostConfig".into(), Value::Object(host));
    Ok(Value::Object(config))
}

struct Settings {
    config: Map<String, Value>,
    host: Map<String, Value>,
    purpose: Purpose,
}

impl Settings {
    /// What every task needs.
    fn needs(&mut self, container: &Container) {
        let mut labels: Map<String, Value> =
            container.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        labels.insert(TASK_LABEL.into(), container.task_id.as_str().into());
        self.config.insert("Image".into(), container.image.as_str().into());
        self.config.insert("Labels".into(), Value::Object(labels));
        let environment = [format!("MESOS_SANDBOX={SANDBOX_INSIDE}"), format!("MESOS_TASK_ID={}", container.task_id)];
        self.config.insert("Env".into(), environment.to_vec().into());
        // The ports that the task was given are ports of the machine.
        self.host.insert("NetworkMode".into(), "host".into());
        let sandbox = format!("{}:{SANDBOX_INSIDE}", container.run().sandbox().display());
        self.host.insert("Binds".into(), vec![sandbox].into());
        if self.purpose == Purpose::Processes {
            self.config.insert("Entrypoint".into(), WAITING.to_vec().into());
            self.config.insert("Cmd".into(), Value::Array(Vec::new()));
            self.config.insert("OpenStdin".into(), true.into());
            self.config.insert("WorkingDir".into(), SANDBOX_INSIDE.into());
        }
        if container.gpus > 0 {
            let request = json!({ "Driver": "", "Count": container.gpus, "Capabilities": [["gpu"]] });
            self.host.insert("DeviceRequests".into(), vec![request].into());
        }
    }

    /// What the task asked for bounds what a parameter may say.
    fn limits(&mut self, container: &Container) {
        if container.memory_bytes > 0 {
            let asked = self.host.get("Memory").and_then(Value::as_u64).filter(|bytes| *bytes > 0);
            let bytes = asked.map_or(container.memory_bytes, |asked| asked.min(container.memory_bytes));
            self.host.insert("Memory".into(), bytes.into());
            // The same bound with swap: none is used, so that a task's speed does not depend on the machine's mood.
            self.host.entry("MemorySwap").or_insert_with(|| bytes.into());
        }
        if container.cpu_milli > 0 {
            let shares = (container.cpu_milli * 1024 / 1000).max(2);
            self.host.entry("CpuShares").or_insert_with(|| shares.into());
            if container.cpu_quota {
                let nanoseconds = container.cpu_milli * 1_000_000;
                let asked = self.host.get("NanoCpus").and_then(Value::as_u64).unwrap_or(nanoseconds);
                self.host.insert("NanoCpus".into(), asked.min(nanoseconds).into());
            }
        }
    }

    fn push(into: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
        if let Some(list) = into.entry(key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut() {
            list.push(value.into());
        }
    }

    fn insert(into: &mut Map<String, Value>, table: &str, key: &str, value: impl Into<Value>) {
        if let Some(table) = into.entry(table).or_insert_with(|| Value::Object(Map::new())).as_object_mut() {
            table.insert(key.to_owned(), value.into());
        }
    }

    /// One option of the command line.
    fn parameter(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some((_, part, key, form)) = PLAIN.iter().find(|(names, ..)| names.contains(&name)) {
            return self.plain(name, value, *part, key, *form);
        }
        let wrong = |what: &str| Err(format!("Docker parameter {name}={value}: {what}"));
        let (config, host) = (&mut self.config, &mut self.host);
        match name {
            "device" => Self::push(host, "Devices", device(value)),
            "entrypoint" if self.purpose == Purpose::Processes => {
                return wrong("a task with processes runs these and no entry point; leave it out");
            }
            "entrypoint" => drop(config.insert("Entrypoint".into(), vec![value].into())),
            "env" | "e" if value.contains('=') => Self::push(config, "Env", value),
            "env" | "e" => return wrong("write NAME=VALUE; there is no environment that a value could be taken from"),
            "expose" => Self::insert(config, "ExposedPorts", &port_of(value), json!({})),
            "label" | "l" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                if key == TASK_LABEL {
                    return wrong("this label says whose container it is");
                }
                Self::insert(config, "Labels", key, value);
            }
            "log-driver" => Self::insert(host, "LogConfig", "Type", value),
            "log-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                let log = host.entry("LogConfig").or_insert_with(|| json!({}));
                if let Some(log) = log.as_object_mut() {
                    Self::insert(log, "Config", key, value);
                }
            }
            "publish" | "p" => return self.publish(name, value),
            // Containers are removed by whoever started them.
            "rm" => {}
            "sysctl" => match value.split_once('=') {
                Some((key, value)) => Self::insert(host, "Sysctls", key, value),
                None => return wrong("write KEY=VALUE"),
            },
            "tmpfs" => {
                let (path, options) = value.split_once(':').unwrap_or((value, ""));
                Self::insert(host, "Tmpfs", path, options);
            }
            "ulimit" => match ulimit(value) {
                Some(limit) => Self::push(host, "Ulimits", limit),
                None => return wrong("write NAME=SOFT or NAME=SOFT:HARD"),
            },
            "volume" | "v" if value.starts_with('/') && !value.contains(':') => {
                Self::insert(config, "Volumes", value, json!({}));
            }
            "volume" | "v" => Self::push(host, "Binds", value),
            _ => {
                return wrong(
                    "this option is not known to Daybreak's own engine, or it would take the container out of its hands; leave it out",
                );
            }
        }
        Ok(())
    }

    /// An option that is one setting.
    fn plain(&mut self, name: &str, value: &str, part: Part, key: &str, form: Form) -> Result<(), String> {
        let wrong = |what: &str| format!("Docker parameter {name}={value}: {what}");
        let setting: Value = match form {
            Form::Text | Form::List => value.into(),
            Form::Number { factor } => {
                let number: f64 = value.trim().parse().map_err(|_| wrong("this is no number"))?;
                ((number * factor) as i64).into()
            }
            Form::Bytes => bytes_of(value).ok_or_else(|| wrong("write a number with b, k, m or g behind it"))?.into(),
            Form::Flag => match value.trim().to_ascii_lowercase().as_str() {
                "" | "true" | "1" => true.into(),
                "false" | "0" => false.into(),
                _ => return Err(wrong("it is true or false")),
            },
        };
        let into = match part {
            Part::Config => &mut self.config,
            Part::Host => &mut self.host,
        };
        match form {
            Form::List => Self::push(into, key, setting),
            _ => drop(into.insert(key.to_owned(), setting)),
        }
        Ok(())
    }

    /// `[address:][host port:]container port[/protocol]`
    fn publish(&mut self, name: &str, value: &str) -> Result<(), String> {
        let parts: Vec<&str> = value.rsplitn(3, ':').collect();
        let inside = port_of(parts[0]);
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        let outside = parts.get(1).copied().unwrap_or_default();
        if !is_port(inside.split('/').next().unwrap_or_default()) || !(outside.is_empty() || is_port(outside)) {
            return Err(format!("Docker parameter {name}={value}: write one HOST:CONTAINER for each port"));
        }
        let binding = json!({ "HostIp": parts.get(2).copied().unwrap_or_default(), "HostPort": outside });
        Self::insert(&mut self.config, "ExposedPorts", &inside, json!({}));
        let ports = self.host.entry("PortBindings").or_insert_with(|| json!({}));
        if let Some(ports) = ports.as_object_mut() {
            Self::push(ports, &inside, binding);
        }
        Ok(())
    }
}

/// `path[:path inside[:rights]]`
fn device(text: &str) -> Value {
    let mut parts = text.split(':');
    let from = parts.next().unwrap_or_default();
    let inside = parts.next().unwrap_or(from);
    let rights = parts.next().unwrap_or("rwm");
    json!({ "PathOnHost": from, "PathInContainer": inside, "CgroupPermissions": rights })
}

/// `name=soft[:hard]`
fn ulimit(text: &str) -> Option<Value> {
    let (name, bounds) = text.split_once('=')?;
    let (soft, hard) = bounds.split_once(':').unwrap_or((bounds, bounds));
    Some(json!({ "Name": name, "Soft": soft.parse::<i64>().ok()?, "Hard": hard.parse::<i64>().ok()? }))
}

/// A port with its protocol.
fn port_of(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("{text}/tcp") }
}

/// `512m` and the like in bytes; -1 means no limit.
fn bytes_of(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k') => (&text[..at], 10),
        (at, 'm') => (&text[..at], 20),
        (at, 'g') => (&text[..at], 30),
        (at, 't') => (&text[..at], 40),
        _ => (text, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(parameters: &[(&str, &str)], purpose: Purpose) -> Result<Value, String> {
        let container = Container {
            task_id: "t".into(),
            image: "i:1".into(),
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            run_directory: "/r".into(),
            memory_bytes: 64 << 20,
            cpu_milli: 500,
            ..Container::default()
        };
        body(&container, purpose)
    }

    #[test]
    fn a_task_gets_its_sandbox_the_machines_network_and_its_limits() {
        let body = made(&[], Purpose::Processes).unwrap();
        assert_eq!(body["HostConfig"]["Binds"], json!(["/r/sandbox:/mnt/mesos/sandbox"]));
        assert_eq!(body["HostConfig"]["NetworkMode"], "host");
        assert_eq!((&body["HostConfig"]["Memory"], &body["HostConfig"]["CpuShares"]), (&json!(64 << 20), &json!(512)));
        assert_eq!((&body["Labels"]["taskId"], &body["Entrypoint"][0]), (&json!("t"), &json!("/bin/bash")));
        assert!(made(&[], Purpose::Alone).unwrap().get("Entrypoint").is_none(), "its image says what it does");
    }

    #[test]
    fn options_of_the_command_line_are_settings() {
        let body = made(
            &[
                ("volume", "/a:/b:ro"),
                ("v", "/data"),
                ("env", "A=b=c"),
                ("label", "team=web"),
                ("net", "bridge"),
                ("publish", "127.0.0.1:8080:80"),
                ("p", "53:53/udp"),
                ("hostname", "h"),
                ("user", "1000:1000"),
                ("workdir", "/w"),
                ("cap-add", "NET_ADMIN"),
                ("cpus", "1.5"),
                ("ulimit", "nofile=10:20"),
                ("privileged", "false"),
                ("tmpfs", "/t:size=1m"),
                ("--entrypoint", "/bin/x"),
            ],
            Purpose::Alone,
        )
        .unwrap();
        let host = &body["HostConfig"];
        assert_eq!(host["Binds"][1], "/a:/b:ro");
        assert_eq!(body["Volumes"], json!({"/data": {}}));
        assert_eq!(body["Env"][2], "A=b=c");
        assert_eq!((&body["Labels"]["team"], &host["NetworkMode"]), (&json!("web"), &json!("bridge")));
        assert_eq!(host["PortBindings"]["80/tcp"], json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}]));
        assert_eq!(host["PortBindings"]["53/udp"], json!([{"HostIp": "", "HostPort": "53"}]));
        assert_eq!(
            (&body["Hostname"], &body["User"], &body["WorkingDir"]),
            (&json!("h"), &json!("1000:1000"), &json!("/w"))
        );
        assert_eq!((&host["CapAdd"], &host["NanoCpus"]), (&json!(["NET_ADMIN"]), &json!(1_500_000_000)));
        assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Soft": 10, "Hard": 20}]));
        assert_eq!((&host["Privileged"], &host["Tmpfs"]["/t"]), (&json!(false), &json!("size=1m")));
        assert_eq!(body["Entrypoint"], json!(["/bin/x"]));
    }

    #[test]
    fn no_parameter_raises_what_the_task_asked_for() {
        let memory = |value: &str| made(&[("memory", value)], Purpose::Alone).unwrap()["HostConfig"]["Memory"].clone();
        assert_eq!((memory("16m"), memory("1g"), memory("-1")), (json!(16 << 20), json!(64 << 20), json!(64 << 20)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (name, value) in [
            ("name", "x"),
            ("detach", "true"),
            ("restart", "always"),
            ("cgroup-parent", "/"),
            ("env", "HOME"),
            ("label", "taskId=other"),
            ("memory", "much"),
            ("publish", "1-9:1-9"),
            ("privileged", "perhaps"),
        ] {
            let why = made(&[(name, value)], Purpose::Alone).unwrap_err();
            assert!(why.contains(&format!("{name}={value}")), "{why}");
        }
        assert!(made(&[("entrypoint", "/x")], Purpose::Processes).unwrap_err().contains("leave it out"));
    }

    #[test]
    fn gpus_are_asked_for_as_devices() {
        let container = Container { gpus: 2, ..Container::default() };
        let body = body(&container, Purpose::Processes).unwrap();
        assert_eq!(
            body["HostConfig"]["DeviceRequests"],
            json!([{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}])
        );
    }
}
