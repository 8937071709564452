//! The observer's JSON (spec executor 4.5). Shapes and names are those of the original.

use checkpoint::record::{ProcessRecord, ProcessState};
use serde_json::{Map, Value, json};

use crate::sample::Sample;
use crate::store::{Store, Task, Which, page, process_state_name};

/// Rows of a list unless another number is asked for.
pub const ROWS_DEFAULT: usize = 20;

/// `{active, finished, all}`.
pub fn counts(store: &Store) -> Value {
    let (active, all) = (store.tasks(Which::Active).len(), store.tasks(Which::All).len());
    json!({"active": active, "finished": all - active, "all": all})
}

/// A piece of a list of tasks.
pub fn list(store: &Store, which: Which, offset: i64, count: usize) -> Value {
    let tasks = store.tasks(which);
    let (begin, shown) = page(&tasks, offset, count);
    json!({
        "tasks": shown.iter().map(|task| row(store, task)).collect::<Vec<_>>(),
        "type": which.name(),
        "offset": begin,
        "num": shown.len(),
        "task_count": tasks.len(),
    })
}

fn row(store: &Store, task: &Task) -> Value {
    let mut row = json!({
        "task_id": task.id,
        "name": task.name(),
        "role": task.user(),
        "launch_timestamp": task.launched_ms() / 1000,
        "state": task.state_name(),
        "state_timestamp": task.state_ms() / 1000,
        "ports": task.ports(),
    });
    if let Some(row) = row.as_object_mut() {
        row.extend(consumption(store, task));
    }
    row
}

/// The sample fields of a task.
fn consumption(store: &Store, task: &Task) -> Map<String, Value> {
    let mut fields = sample_fields(&store.samples.task(task));
    fields.insert("disk".into(), store.samples.disk_bytes(task).into());
    fields
}

fn sample_fields(sample: &Sample) -> Map<String, Value> {
    let fields = json!({
        "cpu": sample.cpu,
        "ram": sample.rss,
        "user": sample.user,
        "system": sample.system,
        "rss": sample.rss,
        "vms": sample.vms,
        "nice": sample.nice,
        "status": sample.status,
        "threads": sample.threads,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Everything about one task.
pub fn task(store: &Store, task: &Task) -> Value {
    let groups = task.groups();
    json!({
        "task_id": task.id,
        "name": task.name(),
        "user": task.user(),
        "launch_timestamp": task.launched_ms() / 1000,
        "state": task.state_name(),
        "state_timestamp": task.state_ms() / 1000,
        "ports": task.ports(),
        "resource_consumption": consumption(store, task),
        "processes": {
            "waiting": groups.waiting,
            "running": groups.running,
            "success": groups.success,
            "failed": groups.failed,
            "killed": groups.killed,
        },
        "task": task.configured,
    })
}

/// `{id: task}` for those ids that are known.
pub fn tasks<'a>(store: &Store, ids: impl IntoIterator<Item = &'a str>) -> Value {
    let known = ids.into_iter().filter_map(|id| store.task(id));
    Value::Object(known.map(|found| (found.id.clone(), task(store, &found))).collect())
}

/// One run of a process; an empty object when there is none.
pub fn process(store: &Store, task: &Task, process: &str, run: i64) -> Value {
    let Some(record) = task.run(process, run) else { return json!({}) };
    let mut object = json!({
        "process_name": process,
        "process_run": record.run,
        "state": process_state_name(record.state()),
    });
    let Some(fields) = object.as_object_mut() else { return object };
    for (name, known) in [("start_time", record.start_time_ms), ("stop_time", record.stop_time_ms)] {
        if let Some(ms) = known {
            fields.insert(name.into(), json!(ms as f64 / 1000.0));
        }
    }
    if let Some(code) = record.return_code.filter(|code| *code != 0) {
        fields.insert("return_code".into(), code.into());
    }
    if let Some(sample) = used(store, task, process, record) {
        fields.insert("used".into(), Value::Object(sample_fields(&sample)));
    }
    object
}

fn used(store: &Store, task: &Task, process: &str, record: &ProcessRecord) -> Option<Sample> {
    let is_latest = task.runs(process).last().is_some_and(|last| last.run == record.run);
    if is_latest && record.state() == ProcessState::Running { store.samples.process(task, process) } else { None }
}

/// `{id: {process: process object}}`.
pub fn processes<'a>(store: &Store, ids: impl IntoIterator<Item = &'a str>) -> Value {
    let known = ids.into_iter().filter_map(|id| store.task(id));
    let of_task = |task: &Task| {
        let named = task.process_names().into_iter().map(|name| {
            let object = process(store, task, &name, -1);
            (name, object)
        });
        Value::Object(named.collect())
    };
    Value::Object(known.map(|task| (task.id.clone(), of_task(&task))).collect())
}
