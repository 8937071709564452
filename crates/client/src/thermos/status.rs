//! `thermos status`: the tasks of this machine.

use checkpoint::record::ProcessState;
use observer::store::{Store, Task, Which, process_state_name};
use serde_json::{Map, Value, json};

use super::arguments::{Only, StatusArguments};
use super::matching;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

pub fn run(arguments: &StatusArguments, store: &Store, console: &mut Console) -> Outcome {
    let kinds: &[(Which, &str)] = match arguments.only {
        Some(Only::Active) => &[(Which::Active, "Active tasks:")],
        Some(Only::Finished) => &[(Which::Finished, "Finished tasks:")],
        None => &[(Which::Active, "Active tasks:"), (Which::Finished, "Finished tasks:")],
    };
    if console.is_json() {
        let mut documents = Vec::new();
        for (which, _) in kinds {
            documents.extend(matching(store, *which, &arguments.expressions)?.iter().map(|task| document(task)));
        }
        console.out_json(&documents.into());
        return Ok(());
    }
    let mut found = false;
    for (which, heading) in kinds {
        let tasks = matching(store, *which, &arguments.expressions)?;
        if tasks.is_empty() {
            continue;
        }
        found = true;
        console.out(*heading);
        for task in &tasks {
            describe(task, arguments.verbosity, console);
        }
        console.out("");
    }
    if found { Ok(()) } else { Err(Failure::new(Exit::Failed, "No tasks found.")) }
}

/// A task as JSON; times in ms since the epoch.
fn document(task: &Task) -> Value {
    let processes = task.process_names().into_iter().map(|name| {
        let run = task.runs(&name).last();
        json!({
            "name": name,
            "run": run.map(|run| run.run),
            "pid": run.and_then(|run| run.pid),
            "state": run.map(|run| process_state_name(run.state())),
            "return_code": run.and_then(|run| run.return_code),
        })
    });
    json!({
        "task_id": task.id,
        "user": task.user(),
        "state": task.state_name(),
        "launched_ms": task.launched_ms(),
        "ports": task.ports().iter().map(|(name, port)| (name.to_string(), json!(port))).collect::<Map<String, Value>>(),
        "sandbox": task.sandbox.display().to_string(),
        "processes": processes.collect::<Vec<Value>>(),
    })
}

fn describe(task: &Task, verbosity: u8, console: &mut Console) {
    console.out(format!("  {:<55} [owner: {}]", task.id, or_unknown(task.user())));
    if verbosity >= 1 {
        console.out(format!("    state: {:<10} start: {}", task.state_name(), moment(task.launched_ms())));
    }
    if verbosity >= 2 {
        let ports: Vec<String> = task.ports().iter().map(|(name, port)| format!("{name} => {port}")).collect();
        console.out(format!("    user: {}  ports: {}", or_unknown(task.user()), or_none(&ports.join(", "))));
        console.out(format!("    sandbox: {}", task.sandbox.display()));
    }
    if verbosity >= 3 {
        console.out("    processes:");
        for name in task.process_names() {
            let Some(run) = task.runs(&name).last() else {
                console.out(format!("      - {name:<20} [not started]"));
                continue;
            };
            let mut line = format!(
                "      - {name:<20} run: {:<3} pid: {:<8} state: {}",
                run.run,
                run.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
                process_state_name(run.state())
            );
            if let Some(code) = run.return_code.filter(|_| run.state() != ProcessState::Running) {
                line.push_str(&format!("  exit: {code}"));
            }
            console.out(line);
        }
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "None" } else { text }
}

/// A moment in this machine's own time.
pub fn moment(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) if ms > 0 => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => "unknown".into(),
    }
}
