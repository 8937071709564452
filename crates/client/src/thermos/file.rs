//! The task of a file (spec executor 4.6), and `thermos inspect`, which shows it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::{Bound, TaskFile};
use crate::console::Console;
use crate::evaluation::{LoadedTask, evaluate_task};
use crate::exit::{Exit, Failure, Outcome};

/// Resources of a task made of a command line (spec executor 4.6).
const SIMPLE_RAM_BYTES: u64 = 256 << 20;

/// Loads the task that the arguments mean. Whether its ports are bound is not looked at.
pub fn load(file: &TaskFile) -> Outcome<LoadedTask> {
    let [path] = file.paths.as_slice() else {
        return Err(Failure::new(Exit::Usage, "Should specify precisely one config"));
    };
    evaluate(path, file.json, &file.bound, file.task.as_deref())
}

/// A task of one process.
pub fn of_command(name: &str, command: &[String], bound: &Bound) -> Outcome<LoadedTask> {
    let task = json!({
        "name": name,
        "processes": [{ "name": name, "cmdline": command.join(" ") }],
        "resources": { "cpu": 1, "ram": SIMPLE_RAM_BYTES, "disk": 0 },
    });
    let failed = |error: std::io::Error| Failure::new(Exit::CommandFailure, format!("a temporary file: {error}"));
    let file = tempfile::NamedTempFile::new().map_err(failed)?;
    std::fs::write(file.path(), task.to_string()).map_err(failed)?;
    evaluate(file.path(), true, bound, None).map_err(|failure| {
        // The file is nothing the user knows.
        let text = failure.text.replace(&file.path().display().to_string(), "the command line");
        Failure { text, ..failure }
    })
}

fn evaluate(path: &Path, is_json: bool, bound: &Bound, task: Option<&str>) -> Outcome<LoadedTask> {
    evaluate_task(path, is_json, &bound.environment, task)
        .map_err(|why| Failure::new(Exit::InvalidConfiguration, why.trim_end()))
}

/// The ports a task was given, by name; an error when it refers to one that it was not given.
pub fn ports(task: &LoadedTask, bound: &Bound) -> Outcome<BTreeMap<String, u32>> {
    let given: BTreeMap<String, u32> =
        bound.ports.iter().map(|port| (port.name.clone(), u32::from(port.number))).collect();
    let missing: Vec<&str> = task.ports.iter().map(String::as_str).filter(|name| !given.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(given);
    }
    let text = format!(
        "ERROR!  Unbound ports: {}\nGive each a number with -P, as in -P {}:8080",
        missing.join(" "),
        missing.first().unwrap_or(&"http")
    );
    Err(Failure::new(Exit::InvalidParameter, text))
}

/// `thermos inspect FILE`.
pub fn inspect(file: &TaskFile, console: &mut Console) -> Outcome {
    let task = load(file)?;
    let given: BTreeMap<&str, u16> = file.bound.ports.iter().map(|port| (port.name.as_str(), port.number)).collect();
    console.out(pretty(&with_ports(&task.raw, &given)));
    Ok(())
}

/// The task with the ports that are known in their places.
fn with_ports(value: &Value, given: &BTreeMap<&str, u16>) -> Value {
    match value {
        Value::String(text) => {
            let put = |text: String, (name, number): (&&str, &u16)| {
                text.replace(&format!("{{{{thermos.ports[{name}]}}}}"), &number.to_string())
            };
            Value::String(given.iter().fold(text.clone(), put))
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| with_ports(item, given)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), with_ports(value, given))).collect())
        }
        other => other.clone(),
    }
}

/// JSON, four blanks deep.
fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}
