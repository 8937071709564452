//! Configurations for reading: a table of what is in force, the processes, and the text the executor gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::container::{Container, Image};
use model::task::SlaPolicy;
use model::{TaskConfig, TaskConstraint};
use serde_json::Value;

use crate::words;

/// A process as the configuration declares it.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// Name.
    pub name: String,
    /// Command line.
    pub cmdline: String,
    /// Settings that differ from the defaults.
    pub settings: String,
}

/// A configuration and the instances that have it.
#[derive(Clone, Debug)]
pub struct ConfigurationBox {
    /// `instances 0–4`; empty when it is of no instance in particular.
    pub instances: String,
    /// Names and values.
    pub rows: Vec<(&'static str, String)>,
    /// Processes, as far as the executor's text names them.
    pub processes: Vec<ProcessRow>,
    /// Everything, as JSON.
    pub json: String,
    /// Where it can be had as a job file; empty when it cannot.
    pub file: String,
}

fn constraint(constraint: &model::Constraint) -> String {
    match &constraint.constraint {
        TaskConstraint::Limit { limit } => {
            format!("{}: at most {} per value", constraint.name, words::plural(*limit as u64, "instance", "instances"))
        }
        TaskConstraint::Value { negated, values } => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            format!("{} {} {}", constraint.name, if *negated { "is not" } else { "is" }, values.join(" or "))
        }
    }
}

fn container(container: &Container) -> Option<String> {
    match container {
        Container::Mesos { image: None, volumes } if volumes.is_empty() => None,
        Container::Mesos { image: None, volumes } => Some(words::plural(volumes.len() as u64, "volume", "volumes")),
        Container::Mesos { image: Some(Image::Docker { name, tag }), .. } => Some(format!("image {name}:{tag}")),
        Container::Mesos { image: Some(Image::Appc { name, image_id }), .. } => Some(format!("AppC {name} {image_id}")),
        Container::Docker { image, .. } => Some(format!("Docker {image}")),
    }
}

fn sla(policy: &SlaPolicy) -> String {
    match policy {
        SlaPolicy::Percentage { percentage_bits, duration_secs } => {
            format!("{} % running for {duration_secs} s", f64::from_bits(*percentage_bits))
        }
        SlaPolicy::Count { count, duration_secs } => format!("{count} running for {duration_secs} s"),
        SlaPolicy::Coordinator { coordinator_url, .. } => format!("asks {coordinator_url}"),
    }
}

fn rows(config: &TaskConfig) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        (
            "Kind",
            if config.is_service { "service: restarted whenever it ends" } else { "batch: runs to its end" }.into(),
        ),
        ("Resources", words::resources(&config.resources)),
        ("Tier", config.tier.clone().unwrap_or_else(|| "the cluster's default".into())),
    ];
    let mut add = |name, value: String| {
        if !value.is_empty() {
            rows.push((name, value));
        }
    };
    if !config.is_service {
        let failures = match config.max_task_failures {
            -1 => "without limit".into(),
            0 | 1 => "none: the first failure is final".into(),
            count => format!("fails for good at failure {count}"),
        };
        add("Failures allowed", failures);
    }
    add("Owner", config.owner.clone());
    if config.priority != 0 {
        add("Priority", config.priority.to_string());
    }
    add("Ports", config.requested_ports.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    add("Constraints", config.constraints.iter().map(constraint).collect::<Vec<_>>().join("; "));
    add("Container", container(&config.container).unwrap_or_default());
    add("Contact", config.contact_email.clone().unwrap_or_default());
    add("SLA", config.sla_policy.as_ref().map(sla).unwrap_or_default());
    if let Some(policy) = &config.partition_policy {
        let delay = policy.delay_secs.unwrap_or(0);
        add("On partition", if policy.reschedule { format!("replaced after {delay} s") } else { "kept".into() });
    }
    let metadata = config.metadata.iter().map(|entry| format!("{}={}", entry.key, entry.value));
    add("Metadata", metadata.collect::<Vec<_>>().join(", "));
    add("Executor", config.executor_config.as_ref().map(|executor| executor.name.clone()).unwrap_or_default());
    rows
}

fn process(value: &Value) -> Option<ProcessRow> {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool) == Some(true);
    let mut settings: Vec<String> =
        ["daemon", "ephemeral", "final"].into_iter().filter(|name| flag(name)).map(str::to_owned).collect();
    match value.get("max_failures").and_then(Value::as_i64) {
        None | Some(1) => {}
        Some(0) => settings.push("retried for ever".into()),
        Some(runs) => settings.push(format!("up to {runs} runs")),
    }
    Some(ProcessRow {
        name: value.get("name")?.as_str()?.to_owned(),
        cmdline: value.get("cmdline").and_then(Value::as_str).unwrap_or_default().trim().to_owned(),
        settings: settings.join(", "),
    })
}

/// A configuration for reading.
pub fn describe(config: &TaskConfig, instances: String) -> ConfigurationBox {
    let data = executor_data(config);
    let listed = data.as_ref().and_then(|data| data.pointer("/task/processes").or_else(|| data.get("processes")));
    let processes = listed.and_then(Value::as_array).into_iter().flatten().filter_map(process).collect();
    ConfigurationBox {
        instances,
        rows: rows(config),
        processes,
        json: serde_json::to_string_pretty(&whole(config)).unwrap_or_default(),
        file: String::new(),
    }
}

/// A value of two configurations that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, e.g. `resources.ram_mb` or `processes.main.cmdline`.
    pub place: String,
    /// Before; empty when it was not there.
    pub before: String,
    /// After; empty when it is not there any more.
    pub after: String,
}

/// All values of a configuration by their place. Entries of lists go by their name where they have one.
fn leaves(place: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let inner = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| leaves(&inner(name), value, found)),
        Value::Array(entries) => entries.iter().enumerate().for_each(|(index, value)| {
            let name = value.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
            leaves(&inner(&name), value, found);
        }),
        Value::Null => {}
        Value::String(text) => {
            found.insert(place.to_owned(), text.clone());
        }
        other => {
            found.insert(place.to_owned(), other.to_string());
        }
    }
}

/// What differs between two configurations, in order of place.
pub fn changes(before: &TaskConfig, after: &TaskConfig) -> Vec<Change> {
    let [mut old, mut new] = [before, after].map(|config| {
        let mut found = BTreeMap::new();
        leaves("", &whole(config), &mut found);
        found
    });
    old.retain(|place, value| match new.get(place) {
        Some(same) if same == value => {
            new.remove(place);
            false
        }
        _ => true,
    });
    let places: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let short = |place: &str| place.replace("executor_config.data.task.", "").replace("executor_config.data.", "");
    let change = |place: String| Change {
        before: old.get(&place).cloned().unwrap_or_default(),
        after: new.get(&place).cloned().unwrap_or_default(),
        place: short(&place),
    };
    places.into_iter().map(change).collect()
}

/// The configuration as a job file that the client takes with `--read-json`, for so many instances.
///
/// The executor's text is the job without instances (spec config-dsl 4.3); `None` when another executor's text is none.
pub fn job_file(config: &TaskConfig, instances: usize) -> Option<String> {
    let mut job = executor_data(config).filter(|data| data.get("task").is_some())?;
    job.as_object_mut()?.insert("instances".into(), instances.into());
    serde_json::to_string_pretty(&job).ok()
}

/// Everything as JSON; the executor's text, JSON inside JSON, is shown as what it is.
fn whole(config: &TaskConfig) -> Value {
    let mut whole = serde_json::to_value(config).unwrap_or_default();
    if let (Some(data), Some(place)) = (executor_data(config), whole.pointer_mut("/executor_config/data")) {
        *place = data;
    }
    // Cores are what people write; thousandths are ours.
    if let Some(place) = whole.pointer_mut("/resources/cpu") {
        *place = config.resources.cpu.cores().into();
    }
    whole
}

fn executor_data(config: &TaskConfig) -> Option<Value> {
    serde_json::from_str(&config.executor_config.as_ref()?.data).ok()
}

/// Configurations that differ, each with the instances that have it, in order of the first instance.
pub fn distinct<'a>(tasks: impl Iterator<Item = (u32, &'a Arc<TaskConfig>)>) -> Vec<(Arc<TaskConfig>, Vec<u32>)> {
    let mut groups: Vec<(Arc<TaskConfig>, Vec<u32>)> = Vec::new();
    for (instance, config) in tasks {
        // Configurations are shared by all tasks that have them, so the address mostly decides.
        let known = groups.iter().position(|(known, _)| Arc::ptr_eq(known, config));
        match known.or_else(|| groups.iter().position(|(known, _)| known == config)) {
            Some(index) => groups[index].1.push(instance),
            None => groups.push((config.clone(), vec![instance])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use model::JobKey;

    use super::*;

    #[test]
    fn processes_come_from_the_executors_text() {
        let data =
            r#"{"task": {"processes": [{"name": "a", "cmdline": "echo <hi>", "max_failures": 3, "daemon": true}]}}"#;
        let described = describe(&TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 8, data), String::new());
        assert_eq!(described.processes[0].settings, "daemon, up to 3 runs");
        assert!(described.json.contains("\"cmdline\": \"echo <hi>\""), "{}", described.json);
    }

    #[test]
    fn changes_name_their_place_and_both_values() {
        let data = |cmdline| format!(r#"{{"task": {{"processes": [{{"name": "main", "cmdline": "{cmdline}"}}]}}}}"#);
        let key = JobKey::new("r", "devel", "j");
        let before = TaskConfig::new(key.clone(), 1.0, 1, 8, data("run v1"));
        let after = TaskConfig::new(key, 1.5, 2, 8, data("run v2"));
        let found: Vec<_> = changes(&before, &after).into_iter().map(|c| (c.place, c.before, c.after)).collect();
        let expected = [
            ("processes.main.cmdline", "run v1", "run v2"),
            ("resources.cpu", "1.0", "1.5"),
            ("resources.ram_mb", "1", "2"),
        ];
        assert_eq!(found, expected.map(|(place, old, new)| (place.into(), old.into(), new.into())));
        assert_eq!(changes(&before, &before), []);
    }

    #[test]
    fn a_job_file_has_its_instances_again() {
        let config = TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 8, r#"{"name": "j", "task": {}}"#);
        let file: Value = serde_json::from_str(&job_file(&config, 3).unwrap()).unwrap();
        assert_eq!((file["name"].as_str(), file["instances"].as_u64()), (Some("j"), Some(3)));
        let foreign = TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 8, "text");
        assert_eq!(job_file(&foreign, 3), None);
    }

    #[test]
    fn a_foreign_executors_text_is_left_alone() {
        let described =
            describe(&TaskConfig::new(JobKey::new("r", "devel", "j"), 1.0, 1, 8, "not json"), String::new());
        assert!(described.processes.is_empty() && described.json.contains("not json"));
    }

    #[test]
    fn equal_configurations_are_shown_once() {
        let config = |cpu| Arc::new(TaskConfig::new(JobKey::new("r", "devel", "j"), cpu, 1, 8, "{}"));
        let (one, same, other) = (config(1.0), config(1.0), config(2.0));
        let groups = distinct([(0, &one), (1, &other), (2, &same)].into_iter());
        assert_eq!(groups.iter().map(|(_, ids)| ids.clone()).collect::<Vec<_>>(), [vec![0, 2], vec![1]]);
    }
}
