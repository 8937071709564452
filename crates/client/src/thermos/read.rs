//! `thermos read`: what a checkpoint holds, ours or one of the original runner.

use std::fs;

use checkpoint::record::{Entry, MAGIC, Record};
use checkpoint::replay::RunState;
use checkpoint::stream::{Reader, read_all};
use checkpoint::thermos;
use observer::store::{process_state_name, task_state_name};
use serde_json::{Map, Value, json};

use super::arguments::ReadArguments;
use super::status::moment;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

pub fn run(arguments: &ReadArguments, console: &mut Console) -> Outcome {
    let path = arguments.path.display();
    let failed = |why: String| Failure::new(Exit::CommandFailure, format!("{path} cannot be read: {why}"));
    let bytes = fs::read(&arguments.path).map_err(|error| failed(error.to_string()))?;
    let is_ours = bytes.starts_with(&MAGIC[..MAGIC.len() - 1]);
    if is_ours && arguments.simple {
        let mut reader = Reader::open(&arguments.path).map_err(|error| failed(error.to_string()))?;
        while let Some(record) = reader.next_record().map_err(|error| failed(error.to_string()))? {
            console.out(line(&record));
        }
        return Ok(());
    }
    if is_ours {
        let mut state = RunState::default();
        read_all(&arguments.path)
            .map_err(|error| failed(error.to_string()))?
            .into_iter()
            .for_each(|record| state.apply(record));
        show(&state, console);
        return Ok(());
    }
    let records = thermos::records(&bytes).map_err(|error| failed(error.to_string()))?;
    if arguments.simple {
        for record in records {
            console.out(format!("{record:?}"));
        }
    } else {
        show(&thermos::replay(records, &[]).state, console);
    }
    Ok(())
}

fn line(record: &Record) -> String {
    match &record.entry {
        Some(Entry::Header(header)) => format!("{header:?}"),
        Some(Entry::Process(process)) => format!("{process:?}"),
        Some(Entry::Task(task)) => format!("{task:?}"),
        Some(Entry::Status(status)) => format!("{status:?}"),
        None => "a record of a newer version".into(),
    }
}

/// What a checkpoint adds up to, as JSON; times in ms since the epoch.
fn document(state: &RunState) -> Value {
    let header = state.header.as_ref().map(|header| {
        json!({
            "task_id": header.task_id,
            "launched_ms": header.launch_time_ms,
            "sandbox": header.sandbox,
            "hostname": header.hostname,
            "user": header.user,
            "ports": header.ports.iter().map(|(name, port)| (name.to_string(), json!(port))).collect::<Map<String, Value>>(),
        })
    });
    let states = state
        .task
        .iter()
        .map(|record| json!({ "state": task_state_name(record.state()), "timestamp_ms": record.timestamp_ms }));
    let processes = state.processes.iter().map(|(name, runs)| {
        let runs = runs.iter().map(|run| {
            json!({
                "run": run.run,
                "state": process_state_name(run.state()),
                "pid": run.pid,
                "return_code": run.return_code,
                "start_time_ms": run.start_time_ms,
            })
        });
        json!({ "name": name, "runs": runs.collect::<Vec<Value>>() })
    });
    json!({
        "header": header,
        "states": states.collect::<Vec<Value>>(),
        "processes": processes.collect::<Vec<Value>>(),
    })
}

fn show(state: &RunState, console: &mut Console) {
    if console.is_json() {
        console.out_json(&document(state));
        return;
    }
    match &state.header {
        Some(header) => {
            console.out("Recovered Task Header:");
            console.out(format!("  id:       {}", header.task_id));
            console.out(format!("  launched: {}", moment(header.launch_time_ms)));
            console.out(format!("  sandbox:  {}", header.sandbox));
            console.out(format!("  hostname: {}", header.hostname));
            console.out(format!("  user:     {}", header.user));
            for (name, port) in &header.ports {
                console.out(format!("  port:     {name} => {port}"));
            }
        }
        None => console.out("Recovered Task Header: none yet"),
    }
    console.out("Recovered Task States:");
    for record in &state.task {
        console.out(format!("  {} at {}", task_state_name(record.state()), moment(record.timestamp_ms)));
    }
    console.out("Recovered Processes:");
    for (name, runs) in &state.processes {
        console.out(format!("  {name}   runs: {}", runs.len()));
        for run in runs.iter().rev() {
            let code = run.return_code.map(|code| format!(" exit: {code}")).unwrap_or_default();
            let times = format!("start: {}", run.start_time_ms.map_or_else(|| "-".into(), moment));
            console.out(format!("    {}: {:<8}{code} {times}", run.run, process_state_name(run.state())));
        }
    }
}
