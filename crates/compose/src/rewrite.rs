//! Rewriting of compose files (spec executor 6.2), so that several tasks of one job can run on one machine: names get the task's id, published
//! ports become allocated ones, labels say whose containers they are. Text in, text out; nothing is read or started here.
//!
//! What the original could not read is read too: labels as a list, `depends_on` as a map, links with an alias, ports with an address, a
//! protocol, in their long form or as plain numbers.

use yaml_serde::{Mapping, Value};

/// Longest name of a service or container (a host name).
const NAME_LENGTH_MAX: usize = 63;

/// What is put into the files.
#[derive(Clone, Debug, Default)]
pub struct Marks<'a> {
    /// Id of the task.
    pub task_id: &'a str,
    /// Labels for every container.
    pub labels: Vec<(String, String)>,
    /// Limits for every container where the task cannot be limited as a whole.
    pub limits: Limits,
}

/// How containers are kept within what the task asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Limits {
    /// Not at all.
    #[default]
    None,
    /// As part of this control group.
    Parent(String),
    /// Each container on its own.
    Each {
        /// Memory in bytes; 0 for no limit.
        memory_bytes: u64,
        /// Cores in thousandths; 0 for no limit.
        cpu_millis: u64,
    },
}

/// Why a file cannot be rewritten.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// No YAML.
    #[error("it is no YAML: {0}")]
    Syntax(String),
    /// No services.
    #[error("it has no services")]
    NoServices,
    /// Something in a service is not what compose expects.
    #[error("service '{service}': {what}")]
    Service {
        /// Which.
        service: String,
        /// What is wrong.
        what: String,
    },
    /// More published ports than allocated ones.
    #[error("service '{service}' publishes more ports than the job asks for: add ports to the job, it has {allocated}")]
    Ports {
        /// Where they ran out.
        service: String,
        /// How many there are.
        allocated: usize,
    },
}

/// `name` made unique for the task: `name-<task id>`, at most 63 characters long. Of a longer one the end of the task's id, which differs
/// between tasks, and a checksum of the whole stay.
pub fn unique(name: &str, task_id: &str) -> String {
    let whole = format!("{name}-{task_id}");
    if whole.chars().count() <= NAME_LENGTH_MAX {
        return whole;
    }
    let checksum = format!("{:08x}", crc32fast::hash(whole.as_bytes()));
    let tail: String = task_id.chars().skip(task_id.chars().count().saturating_sub(36)).collect();
    let room = NAME_LENGTH_MAX - checksum.len() - tail.chars().count() - 2;
    let head: String = name.chars().take(room).collect();
    format!("{head}-{checksum}-{tail}")
}

/// The rewritten text of one compose file. `ports` gives allocated ports to published ones and is used on by the next file.
pub fn rewrite(text: &str, marks: &Marks<'_>, ports: &mut Ports) -> Result<String, RewriteError> {
    let mut file: Value = yaml_serde::from_str(text).map_err(|error| RewriteError::Syntax(error.to_string()))?;
    // Anchors and merge keys are compose's own business, but names behind them are ours.
    file.apply_merge().map_err(|error| RewriteError::Syntax(error.to_string()))?;
    let services = file.get_mut("services").and_then(Value::as_mapping_mut).ok_or(RewriteError::NoServices)?;
    if services.is_empty() {
        return Err(RewriteError::NoServices);
    }
    let mut rewritten = Mapping::new();
    for (name, service) in std::mem::take(services) {
        let name = scalar(&name).ok_or(RewriteError::NoServices)?;
        let mut service = match service {
            Value::Mapping(service) => service,
            Value::Null => Mapping::new(),
            _ => return Err(RewriteError::Service { service: name, what: "it is no mapping".into() }),
        };
        Service { name: &name, fields: &mut service, marks }.rewrite(ports)?;
        rewritten.insert(unique(&name, marks.task_id).into(), Value::Mapping(service));
    }
    *services = rewritten;
    yaml_serde::to_string(&file).map_err(|error| RewriteError::Syntax(error.to_string()))
}

/// Allocated ports that were not given out yet.
#[derive(Clone, Debug)]
pub struct Ports {
    allocated: usize,
    left: std::collections::VecDeque<u16>,
}

impl Ports {
    /// All of these.
    pub fn new(ports: &[u16]) -> Self {
        Self { allocated: ports.len(), left: ports.iter().copied().collect() }
    }

    fn next(&mut self, service: &str) -> Result<u16, RewriteError> {
        self.left
            .pop_front()
            .ok_or_else(|| RewriteError::Ports { service: service.to_owned(), allocated: self.allocated })
    }
}

/// A number or text as text; YAML 1.1 readers take `22:22` for a number, ours does not.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

struct Service<'a> {
    name: &'a str,
    fields: &'a mut Mapping,
    marks: &'a Marks<'a>,
}

impl Service<'_> {
    fn rewrite(&mut self, ports: &mut Ports) -> Result<(), RewriteError> {
        let task_id = self.marks.task_id;
        if let Some(container) = self.fields.get("container_name") {
            let name = scalar(container).ok_or_else(|| self.wrong("container_name is no text"))?;
            self.fields.insert("container_name".into(), unique(&name, task_id).into());
        }
        for field in ["network_mode", "ipc", "pid"] {
            let of_service =
                self.fields.get(field).and_then(Value::as_str).and_then(|mode| mode.strip_prefix("service:"));
            if let Some(other) = of_service {
                let mode = format!("service:{}", unique(other, task_id));
                self.fields.insert(field.into(), mode.into());
            }
        }
        self.names("links", |link| match link.split_once(':') {
            Some((service, alias)) => format!("{}:{alias}", unique(service, task_id)),
            None => format!("{}:{link}", unique(link, task_id)),
        })?;
        self.names("depends_on", |service| unique(service, task_id))?;
        self.names("volumes_from", |source| match source.split_once(':') {
            // Another container, which is not ours to name.
            Some(("container", _)) => source.to_owned(),
            Some((service, mode)) => format!("{}:{mode}", unique(service, task_id)),
            None => unique(source, task_id),
        })?;
        self.extends()?;
        self.ports(ports)?;
        self.keep_name_within_networks()?;
        self.labels()?;
        self.limit();
        Ok(())
    }

    fn wrong(&self, what: impl Into<String>) -> RewriteError {
        RewriteError::Service { service: self.name.to_owned(), what: what.into() }
    }

    /// Renames what a list, or the keys of a map, name.
    fn names(&mut self, field: &str, rename: impl Fn(&str) -> String) -> Result<(), RewriteError> {
        let renamed = match self.fields.get(field) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Sequence(entries)) => {
                let names: Option<Vec<String>> = entries.iter().map(scalar).collect();
                let names = names.ok_or_else(|| self.wrong(format!("{field} holds something that is no name")))?;
                Value::Sequence(names.iter().map(|name| rename(name).into()).collect())
            }
            Some(Value::Mapping(entries)) => {
                let mut renamed = Mapping::new();
                for (name, value) in entries {
                    let name =
                        scalar(name).ok_or_else(|| self.wrong(format!("{field} holds something that is no name")))?;
                    renamed.insert(rename(&name).into(), value.clone());
                }
                Value::Mapping(renamed)
            }
            Some(_) => return Err(self.wrong(format!("{field} is neither a list nor a map"))),
        };
        self.fields.insert(field.into(), renamed);
        Ok(())
    }

    /// `extends` of a service of the same file; one of another file keeps its name, because that file is not rewritten.
    fn extends(&mut self) -> Result<(), RewriteError> {
        let task_id = self.marks.task_id;
        match self.fields.get_mut("extends") {
            Some(Value::String(service)) => *service = unique(service, task_id),
            Some(Value::Mapping(extends)) if !extends.contains_key("file") => {
                let service = extends.get("service").and_then(scalar);
                if let Some(service) = service {
                    extends.insert("service".into(), unique(&service, task_id).into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn ports(&mut self, ports: &mut Ports) -> Result<(), RewriteError> {
        let entries = match self.fields.get("ports") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Sequence(entries)) => entries.clone(),
            Some(_) => return Err(self.wrong("ports is no list")),
        };
        let mut rewritten = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Value::Mapping(mut long) => {
                    long.remove("host_ip");
                    long.insert("published".into(), u64::from(ports.next(self.name)?).into());
                    rewritten.push(Value::Mapping(long));
                }
                short => {
                    let text = scalar(&short).ok_or_else(|| self.wrong("a port is neither text nor a map"))?;
                    // The container's port is the last part, whatever address and host port stand before it.
                    let container = text.rsplit(':').next().unwrap_or_default();
                    if container.is_empty() || container.contains('-') {
                        return Err(self.wrong(format!("port '{text}': write one entry for each port")));
                    }
                    rewritten.push(format!("{}:{container}", ports.next(self.name)?).into());
                }
            }
        }
        self.fields.insert("ports".into(), Value::Sequence(rewritten));
        Ok(())
    }

    /// Services find each other by the names their authors gave them: those stay as aliases in the project's own network.
    fn keep_name_within_networks(&mut self) -> Result<(), RewriteError> {
        if self.fields.contains_key("network_mode") {
            return Ok(());
        }
        let mut networks = match self.fields.remove("networks") {
            None | Some(Value::Null) => Mapping::from_iter([("default".into(), Value::Null)]),
            Some(Value::Mapping(networks)) => networks,
            Some(Value::Sequence(names)) => names.into_iter().map(|name| (name, Value::Null)).collect(),
            Some(_) => return Err(self.wrong("networks is neither a list nor a map")),
        };
        for (_, network) in &mut networks {
            let settings = match network {
                Value::Mapping(settings) => settings,
                other => {
                    *other = Value::Mapping(Mapping::new());
                    other.as_mapping_mut().ok_or(RewriteError::NoServices)?
                }
            };
            let mut aliases = settings.get("aliases").and_then(Value::as_sequence).cloned().unwrap_or_default();
            if !aliases.iter().any(|alias| alias.as_str() == Some(self.name)) {
                aliases.push(self.name.into());
            }
            settings.insert("aliases".into(), Value::Sequence(aliases));
        }
        self.fields.insert("networks".into(), Value::Mapping(networks));
        Ok(())
    }

    fn labels(&mut self) -> Result<(), RewriteError> {
        let mut labels = Mapping::new();
        match self.fields.get("labels") {
            None | Some(Value::Null) => {}
            Some(Value::Mapping(given)) => labels = given.clone(),
            Some(Value::Sequence(given)) => {
                for label in given {
                    let text = scalar(label).ok_or_else(|| self.wrong("a label is no text"))?;
                    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                    labels.insert(key.into(), value.into());
                }
            }
            Some(_) => return Err(self.wrong("labels is neither a list nor a map")),
        }
        for (key, value) in &self.marks.labels {
            // Compose fills in `$NAME`; what is a dollar in a label stays one.
            labels.insert(key.as_str().into(), value.replace('$', "$$").into());
        }
        self.fields.insert("labels".into(), Value::Mapping(labels));
        Ok(())
    }

    fn limit(&mut self) {
        match &self.marks.limits {
            Limits::None => {}
            Limits::Parent(group) => {
                self.fields.insert("cgroup_parent".into(), group.as_str().into());
            }
            Limits::Each { memory_bytes, cpu_millis } => {
                // What the file itself says may be less, and is then right.
                if *memory_bytes > 0 && !self.fields.contains_key("mem_limit") {
                    self.fields.insert("mem_limit".into(), (*memory_bytes).into());
                }
                if *cpu_millis > 0 && !self.fields.contains_key("cpus") {
                    self.fields.insert("cpus".into(), (*cpu_millis as f64 / 1000.0).into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
