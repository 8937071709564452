//! `job inspect` (spec client-cli 2.4): what a file says about a job. Asks no scheduler; the built-in tiers apply.

use serde_json::{Map, Value, json};

use super::arguments::InspectArguments;
use super::status_json::config_json;
use super::{Context, load, status};
use crate::evaluation::LoadedJob;
use crate::exit::Outcome;
use crate::paint::Paint;

/// `job inspect JOBKEY FILE`.
pub fn inspect(arguments: &InspectArguments, context: &mut Context<'_>) -> Outcome {
    let job = load::load_offline(&arguments.key, &arguments.path, &arguments.file, context)?;
    if arguments.raw {
        context.console.out(status::pretty(&wire_form(&job)));
    } else if arguments.write_json || context.console.is_json() {
        context.console.out(status::pretty(&job.raw));
    } else {
        let paint = Paint::new(context.console.has_colour(arguments.color));
        context.console.out(paint.inspection(&text(&job.raw)));
    }
    Ok(())
}

/// What would be sent to the scheduler, under the wire's names.
pub fn wire_form(job: &LoadedJob) -> Value {
    let wire = thrift::JobConfiguration::from(&job.configuration);
    let task = wire.task_config.unwrap_or_default();
    let mut config = config_json(&task);
    if let (Value::Object(fields), Some(executor)) = (&mut config, &task.executor_config) {
        fields.insert("executorConfig".into(), json!({ "name": executor.name, "data": executor.data }));
    }
    let mut fields = Map::new();
    let key = &job.configuration.key;
    fields.insert("key".into(), json!({ "role": key.role, "environment": key.environment, "name": key.name }));
    if let Some(owner) = &job.configuration.owner {
        fields.insert("owner".into(), json!({ "user": owner }));
    }
    if let Some(schedule) = &job.configuration.cron_schedule {
        fields.insert("cronSchedule".into(), schedule.as_str().into());
        fields.insert("cronCollisionPolicy".into(), (job.configuration.cron_collision_policy as i32).into());
    }
    fields.insert("taskConfig".into(), config);
    fields.insert("instanceCount".into(), job.configuration.instance_count.into());
    Value::Object(fields)
}

/// A value as the text form shows it, between quotes.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        other => format!("'{other}'"),
    }
}

/// Python's spelling of a boolean.
fn boolean(value: Option<&Value>) -> &'static str {
    if value.and_then(Value::as_bool).unwrap_or(false) { "True" } else { "False" }
}

/// The text form of a job.
pub fn text(raw: &Value) -> String {
    let mut lines = vec!["Job level information".to_owned()];
    let mut field = |label: &str, name: &str| {
        if let Some(value) = raw.get(name).filter(|value| !value.is_null()) {
            lines.push(format!("  {label:<11} {}", quoted(value)));
        }
    };
    field("name:", "name");
    field("role:", "role");
    field("contact:", "contact");
    field("cluster:", "cluster");
    field("instances:", "instances");
    if let Some(schedule) = raw.get("cron_schedule").filter(|value| !value.is_null()) {
        lines.push("  cron:".into());
        lines.push(format!("    schedule: {}", quoted(schedule)));
        if let Some(policy) = raw.get("cron_collision_policy") {
            lines.push(format!("    policy:   {}", quoted(policy)));
        }
    }
    if let Some(constraints) = raw.get("constraints").and_then(Value::as_object).filter(|map| !map.is_empty()) {
        lines.push("  constraints:".into());
        lines.extend(constraints.iter().map(|(name, value)| format!("    '{name}': {}", quoted(value))));
    }
    if let Some(policy) = raw.get("partition_policy").and_then(Value::as_object) {
        lines.push("  partition_policy:".into());
        lines.push(format!("    reschedule: {}", boolean(policy.get("reschedule"))));
        if let Some(delay) = policy.get("delay_secs") {
            lines.push(format!("    delay_secs: {}", quoted(delay)));
        }
    }
    lines.push(format!("  service:    {}", boolean(raw.get("service"))));
    lines.push(format!("  production: {}", boolean(raw.get("production"))));
    lines.push(String::new());
    if let Some(task) = raw.get("task") {
        task_text(task, &mut lines);
    }
    lines.join("\n")
}

fn task_text(task: &Value, lines: &mut Vec<String>) {
    lines.push("Task level information".into());
    if let Some(name) = task.get("name") {
        lines.push(format!("  name: {}", quoted(name)));
    }
    let orders: Vec<String> = task
        .get("constraints")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|constraint| constraint.get("order")?.as_array())
        .filter(|order| order.len() > 1)
        .map(|order| order.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" < "))
        .collect();
    if !orders.is_empty() {
        lines.push("  constraints:".into());
        lines.extend(orders.iter().map(|order| format!("    {order}")));
    }
    lines.push(String::new());
    for process in task.get("processes").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("Process {}:", process.get("name").map_or_else(String::new, quoted)));
        for flag in ["daemon", "ephemeral", "final"] {
            if process.get(flag).and_then(Value::as_bool).unwrap_or(false) {
                lines.push(format!("  {flag}"));
            }
        }
        lines.push("  cmdline:".into());
        let command = process.get("cmdline").and_then(Value::as_str).unwrap_or_default();
        lines.extend(command.lines().map(|line| format!("    {line}")));
        lines.push(String::new());
    }
}
