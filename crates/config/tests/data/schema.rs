//! The published JSON Schema: kept, valid, and of one mind with what is accepted.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::common::{Files, request};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn validator() -> Validator {
    jsonschema::draft202012::new(&config::json_schema()).expect("the schema is one")
}

/// A YAML or TOML text as JSON, the way an editor sees it.
pub fn seen(name: &str, text: &str) -> Value {
    match name.rsplit('.').next() {
        Some("toml") => toml_seen(&toml::de::DeValue::Table(toml::de::DeTable::parse(text).unwrap().into_inner())),
        Some("json") => serde_json::from_str(text).unwrap(),
        _ => yaml_seen(text),
    }
}

fn toml_seen(value: &toml::de::DeValue<'_>) -> Value {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap()),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
        DeValue::Boolean(value) => json!(value),
        DeValue::Datetime(date) => json!(date.to_string()),
        DeValue::Array(items) => items.iter().map(|item| toml_seen(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(name, item)| (name.get_ref().to_string(), toml_seen(item.get_ref()))).collect()
        }
    }
}

/// YAML by the rules of its own core schema.
fn yaml_seen(text: &str) -> Value {
    use saphyr_parser::{Event, Parser, ScalarStyle};
    fn node(events: &mut Parser<'_, saphyr_parser::StrInput<'_>>, event: Event<'_>) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => {
                let number = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
                match (&*text, number) {
                    ("true", _) => json!(true),
                    ("false", _) => json!(false),
                    ("" | "~" | "null", _) => Value::Null,
                    (_, Ok(number)) => number,
                    (text, Err(_)) => json!(text),
                }
            }
            Event::Scalar(text, ..) => json!(text),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match events.next().unwrap().unwrap().0 {
                        Event::SequenceEnd => return Value::Array(items),
                        event => items.push(node(events, event)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = serde_json::Map::new();
                loop {
                    match events.next().unwrap().unwrap().0 {
                        Event::MappingEnd => return Value::Object(entries),
                        Event::Scalar(name, ..) => {
                            let event = events.next().unwrap().unwrap().0;
                            entries.insert(name.to_string(), node(events, event));
                        }
                        other => panic!("{other:?} is no name"),
                    }
                }
            }
            other => panic!("{other:?} is not expected here"),
        }
    }
    let mut events = Parser::new_from_str(text);
    loop {
        match events.next().unwrap().unwrap().0 {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => return node(&mut events, event),
        }
    }
}

#[test]
fn the_published_schema_is_the_one_that_is_made() {
    let path = root().join("docs/job-file.schema.json");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let made = format!("{:#}\n", config::json_schema());
    if kept != made {
        let now = std::env::temp_dir().join("job-file.schema.json");
        std::fs::write(&now, &made).unwrap();
        panic!("{} is not what `daybreak config schema` prints; that is in {}", path.display(), now.display());
    }
    assert!(jsonschema::meta::is_valid(&config::json_schema()));
}

#[test]
fn every_field_is_explained_and_has_its_default() {
    let schema = config::json_schema();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        for (field, property) in definition["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{field}");
        }
    }
    assert_eq!(schema["$defs"]["UpdateConfig"]["properties"]["watch_secs"]["default"], 45);
    assert_eq!(schema["$defs"]["Job"]["required"], json!(["role", "cluster", "environment", "task"]));
    assert_eq!(schema["$defs"]["Announcer"]["properties"]["portmap"]["default"], json!({"aurora": "{{primary_port}}"}));
}

#[test]
fn examples_pass_and_what_is_refused_fails() {
    let validator = validator();
    for name in ["hello.yaml", "hello.json", "hello.toml"] {
        let text = std::fs::read_to_string(root().join("examples").join(name)).unwrap();
        let seen = seen(name, &text);
        assert!(
            validator.is_valid(&seen),
            "{name}: {:?}",
            validator.iter_errors(&seen).map(|e| e.to_string()).collect::<Vec<_>>()
        );
    }
    let whole = || {
        json!({
            "cluster": "c", "role": "r", "environment": "devel", "name": "n",
            "task": {"processes": [{"name": "p", "cmdline": "x"}], "resources": {"cpu": 1, "ram": "1 MB", "disk": 1048576}},
        })
    };
    assert!(validator.is_valid(&whole()));
    assert!(
        validator.is_valid(&json!([whole(), whole()]))
            && validator.is_valid(&json!({"jobs": [whole()], "x-a": 1, "bind": {}}))
    );
    // Each with what is put where; refused by the schema and by the evaluation alike.
    for (pointer, name, value) in [
        ("", "clustre", json!("c")),
        ("", "cluster", json!(["c"])),
        ("", "role", json!(null)),
        ("", "instances", json!("many")),
        ("", "service", json!("yes")),
        ("", "constraints", json!(["a"])),
        ("", "container", json!({"imag": "x"})),
        ("", "container", json!("docker")),
        ("", "sla_policy", json!({"count": 1})),
        ("", "announce", json!({"portmap": {"a": {}}})),
        ("/task", "processes", json!({"name": "p"})),
        ("/task", "cpu", json!(1)),
        ("/task/processes/0", "cmdline", json!(null)),
        ("/task/processes/0", "max_failures", json!("once")),
        ("/task/resources", "ram", json!("16 megs")),
        ("/task/resources", "cpu", json!("much")),
        ("", "container", json!({"volumes": [{"container_path": "a", "host_path": "b", "mode": "ro"}]})),
        ("", "update_config", json!({"update_strategy": {"batch_sizes": 3}})),
    ] {
        let mut broken = whole();
        broken.pointer_mut(pointer).unwrap()[name] = value.clone();
        assert!(!validator.is_valid(&broken), "{pointer}/{name} = {value} passes the schema");
        let files = Files::new();
        let evaluated = config::evaluate(&request(&files.write("broken.json", &broken.to_string())));
        let sent = evaluated.and_then(|jobs| jobs.jobs[0].submission("me", &config::default_tiers()).map(drop));
        assert!(sent.is_err(), "{pointer}/{name} = {value} is accepted");
    }
}
