//! What differs between two configurations, field by field, under names that job files have.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use thrift::{TaskConfig, encode_plain};

/// A field that differs. A field that is not there is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Name, e.g. `processes[web].cmdline`.
    pub name: String,
    /// What runs.
    pub from: Option<String>,
    /// What the file says.
    pub to: Option<String>,
}

/// The fields that differ, by name.
pub fn fields(from: &TaskConfig, to: &TaskConfig) -> Vec<Field> {
    let (from, to) = (flat(from), flat(to));
    let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    // Whether a task is for production follows from its tier.
    let tier_differs = from.get("tier") != to.get("tier");
    let differing =
        names.into_iter().filter(|name| from.get(*name) != to.get(*name) && !(tier_differs && *name == "production"));
    differing
        .map(|name| Field { name: name.clone(), from: from.get(name).cloned(), to: to.get(name).cloned() })
        .collect()
}

/// Every field of a configuration with its value as text.
fn flat(config: &TaskConfig) -> BTreeMap<String, String> {
    let mut value: Value = serde_json::from_slice(&encode_plain(config)).unwrap_or_default();
    let data = value.pointer("/executorConfig/data").and_then(Value::as_str).map(str::to_owned);
    let document: Option<Value> = data.and_then(|data| serde_json::from_str(&data).ok()).filter(Value::is_object);
    let mut fields = BTreeMap::new();
    if let Some(document) = document {
        // The executor's document repeats what the scheduler knows by names of its own.
        for (name, part) in document.as_object().into_iter().flatten() {
            if name == "task" {
                for (name, part) in part.as_object().into_iter().flatten().filter(|(name, _)| *name != "resources") {
                    add(name, part, &mut fields);
                }
            } else if !REPEATED.contains(&name.as_str()) {
                add(name, part, &mut fields);
            }
        }
        if let Some(executor) = value.pointer_mut("/executorConfig").and_then(Value::as_object_mut) {
            executor.remove("data");
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        match (name.as_str(), part) {
            ("resources", Value::Array(resources)) => resources.iter().for_each(|one| add_resource(one, &mut fields)),
            ("constraints", Value::Array(constraints)) => {
                for constraint in constraints {
                    let of = constraint["name"].as_str().unwrap_or_default();
                    fields.insert(format!("constraints[{of}]"), constraint_text(&constraint["constraint"]));
                }
            }
            ("isService", part) => add("service", part, &mut fields),
            (name, part) => add(name, part, &mut fields),
        }
    }
    fields
}

/// Parts of the executor's document that are fields of the configuration as well.
const REPEATED: [&str; 12] = [
    "cluster",
    "role",
    "environment",
    "name",
    "instances",
    "constraints",
    "service",
    "priority",
    "production",
    "tier",
    "max_task_failures",
    "contact",
];

fn add_resource(resource: &Value, fields: &mut BTreeMap<String, String>) {
    for (kind, amount) in resource.as_object().into_iter().flatten() {
        let (name, unit) = match kind.as_str() {
            "numCpus" => ("cpu", ""),
            "ramMb" => ("ram", " MB"),
            "diskMb" => ("disk", " MB"),
            "numGpus" => ("gpu", ""),
            "namedPort" => {
                fields.insert(format!("ports[{}]", amount.as_str().unwrap_or_default()), "requested".to_owned());
                continue;
            }
            other => (other, ""),
        };
        let shown = amount.as_f64().map_or_else(|| amount.to_string(), super::super::telling::number);
        fields.insert(name.to_owned(), format!("{shown}{unit}"));
    }
}

/// As job files write them: `r1,r2`, `!r1`, `limit:2`.
fn constraint_text(constraint: &Value) -> String {
    if let Some(limit) = constraint.pointer("/limit/limit") {
        return format!("limit:{limit}");
    }
    let mut values: Vec<&str> = constraint
        .pointer("/value/values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    values.sort_unstable();
    let negated = constraint.pointer("/value/negated").is_some_and(|negated| matches!(negated, Value::Bool(true)));
    format!("{}{}", if negated { "!" } else { "" }, values.join(","))
}

/// Adds a value and what lies in it. Members of lists that have names are known by them; lists of plain values are one value.
fn add(name: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(parts) => parts.iter().for_each(|(part, value)| add(&format!("{name}.{part}"), value, fields)),
        Value::Array(members) if members.iter().any(Value::is_object) => {
            for (at, member) in members.iter().enumerate() {
                let key = member["name"].as_str().or_else(|| member["key"].as_str());
                let key = key.map_or_else(|| at.to_string(), str::to_owned);
                add(&format!("{name}[{key}]"), member, fields);
            }
        }
        Value::Array(members) => {
            let mut texts: Vec<String> = members.iter().map(text).collect();
            // Sets have no order on the wire.
            if name == "metadata" || name == "values" {
                texts.sort();
            }
            if !texts.is_empty() {
                fields.insert(name.to_owned(), format!("[{}]", texts.join(", ")));
            }
        }
        plain => drop(fields.insert(name.to_owned(), text(plain))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use model::TaskConfig as Model;
    use model::{JobKey, TaskConstraint};

    use super::*;

    fn config(change: impl FnOnce(&mut Model)) -> TaskConfig {
        let data = r#"{"name":"web","cluster":"c","task":{"name":"t","resources":{"cpu":0.5},
            "processes":[{"name":"web","cmdline":"sleep 1"},{"name":"log","cmdline":"tail"}]},
            "health_check_config":{"interval_secs":10.0}}"#;
        let mut config = Model::new(JobKey::new("r", "devel", "web"), 0.5, 16, 32, data);
        change(&mut config);
        TaskConfig::from(&config)
    }

    fn said(change: impl FnOnce(&mut Model)) -> Vec<(String, Option<String>, Option<String>)> {
        fields(&config(|_| {}), &config(change)).into_iter().map(|it| (it.name, it.from, it.to)).collect()
    }

    fn field(name: &str, from: &str, to: &str) -> (String, Option<String>, Option<String>) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (name.to_owned(), some(from), some(to))
    }

    #[test]
    fn equal_configurations_differ_in_nothing() {
        assert_eq!(said(|_| {}), []);
    }

    #[test]
    fn only_what_differs_is_named_and_named_as_in_a_job_file() {
        let command = said(|config| {
            let executor = config.executor_config.as_mut().unwrap();
            executor.data = executor.data.replace("sleep 1", "sleep 2").replace("10.0", "20.0");
        });
        assert_eq!(
            command,
            [
                field("health_check_config.interval_secs", "10.0", "20.0"),
                field("processes[web].cmdline", "sleep 1", "sleep 2")
            ]
        );
        let amounts = said(|config| {
            config.resources.cpu.0 = 1250;
            config.resources.ram_mb = 64;
            config.requested_ports.insert("http".into());
            config.priority = 5;
        });
        let expected = [
            field("cpu", "0.5", "1.25"),
            field("ports[http]", "", "requested"),
            field("priority", "0", "5"),
            field("ram", "16 MB", "64 MB"),
        ];
        assert_eq!(amounts, expected);
        let constraint = said(|config| {
            for (name, constraint) in [
                ("rack", TaskConstraint::Value { negated: true, values: ["r2".to_owned(), "r1".to_owned()].into() }),
                ("host", TaskConstraint::Limit { limit: 2 }),
            ] {
                config.constraints.insert(model::Constraint { name: name.into(), constraint });
            }
        });
        assert_eq!(constraint, [field("constraints[host]", "", "limit:2"), field("constraints[rack]", "", "!r1,r2")]);
    }
}
