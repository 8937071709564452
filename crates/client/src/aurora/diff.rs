//! `job diff` (spec client-cli 2.5): what an update by a job file would change.

use std::io::Write;
use std::path::Path;

use model::JobConfiguration;
use model::update::{UpdateRequest, UpdateSettings, to_ranges};
use serde_json::{Value, json};
use thrift::{
    ConfigGroup, GetJobUpdateDiffArguments, GetJobUpdateDiffResult, GetTasksStatusArguments,
    PopulateJobConfigArguments, Range, ResponseResult, TaskConfig, encode_plain,
};

use super::Context;
use super::changes::{Change, changes};
use super::load;
use super::remote_arguments::DiffArguments;
use super::tasks::instance_of;
use crate::exit::{Exit, Failure, Outcome};
use crate::paint::{Mark, Paint};
use crate::scheduler::{Scheduler, active_query_of, missing_result};
use crate::syntax::ClusterJob;

/// `job diff JOB[/INSTANCES] FILE`.
pub fn diff(arguments: &DiffArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.spec.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let loaded = load::load_job(key, &arguments.path, &arguments.file, &mut scheduler, context)?;
    let job = loaded.configuration;
    let local = populate(&job, &mut scheduler, context)?;
    match &arguments.from {
        Some(from) if from.cluster != key.cluster => {
            let mut other = context.scheduler(&from.cluster)?;
            diff_with_tasks(from, arguments, &job, &local, &mut other, context)
        }
        Some(from) => diff_with_tasks(from, arguments, &job, &local, &mut scheduler, context),
        None if job.cron_schedule.is_some() => diff_with_tasks(key, arguments, &job, &local, &mut scheduler, context),
        None => diff_as_update(arguments, &job, &local, &mut scheduler, context),
    }
}

/// The configuration as the scheduler would store it.
fn populate(job: &JobConfiguration, scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) -> Outcome<TaskConfig> {
    let call = PopulateJobConfigArguments { description: Some(job.into()) };
    let reply = scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure("Error loading configuration", Exit::InvalidConfiguration))?;
    match reply.result {
        Some(ResponseResult::PopulateJob(result)) => Ok(result.task_config.unwrap_or_default()),
        _ => Err(missing_result("populateJobConfig")),
    }
}

fn diff_as_update(
    arguments: &DiffArguments,
    job: &JobConfiguration,
    local: &TaskConfig,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome {
    let mut settings = UpdateSettings::default();
    if let Some(ids) = arguments.spec.instances.named() {
        settings.only_these_instances = to_ranges(ids.iter().copied());
    }
    let request = UpdateRequest {
        task: job.task.clone(),
        instance_count: job.instance_count,
        settings,
        metadata: Default::default(),
    };
    let call = GetJobUpdateDiffArguments { request: Some((&request).into()) };
    let reply = scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure("Error getting the difference:", Exit::ApiError))?;
    let Some(ResponseResult::GetJobUpdateDiff(result)) = reply.result else {
        return Err(missing_result("getJobUpdateDiff"));
    };
    if context.console.is_json() {
        context.console.out_json(&update_json(&arguments.spec.key, &result, local));
        return Ok(());
    }
    context.console.out("This job update will:");
    for (what, groups) in [("add", &result.add), ("remove", &result.remove)] {
        if !groups.is_empty() {
            context.console.out(format!("{what} instances: {}", ranges(groups)));
        }
    }
    for group in result.update.iter() {
        context.console.out(format!("update instances: {}", ranges(std::slice::from_ref(group))));
        context.console.out("with diff:");
        let remote = group.config.clone().unwrap_or_default();
        match form(arguments, context) {
            Form::Program => compare(&shown(&remote), &shown(local), context)?,
            Form::Fields(paint) => print_changes(&document(&remote), &document(local), paint, context),
        }
    }
    if !result.unchanged.is_empty() {
        context.console.out(format!("not change instances: {}", ranges(&result.unchanged)));
    }
    Ok(())
}

/// `[0-2], [5]`.
fn ranges(groups: &[ConfigGroup]) -> String {
    let mut all: Vec<Range> = groups.iter().flat_map(|group| group.instances.iter().cloned()).collect();
    all.sort_by_key(|range| range.first);
    let shown = all.iter().map(|range| match range.first == range.last {
        true => format!("[{}]", range.first),
        false => format!("[{}-{}]", range.first, range.last),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Cron jobs, and jobs that are compared with another one: instance by instance with the active tasks.
fn diff_with_tasks(
    from: &ClusterJob,
    arguments: &DiffArguments,
    job: &JobConfiguration,
    local: &TaskConfig,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome {
    let call = GetTasksStatusArguments { query: Some(active_query_of(&from.job)) };
    let reply = scheduler
        .call(call, &mut context.console)
        .map_err(|error| error.failure("Could not read the job's tasks:", Exit::InvalidParameter))?;
    let Some(ResponseResult::ScheduleStatus(result)) = reply.result else {
        return Err(missing_result("getTasksStatus"));
    };
    let mut tasks = result.tasks;
    tasks.retain(|task| u32::try_from(instance_of(task)).is_ok_and(|id| arguments.spec.instances.contains(id)));
    tasks.sort_by_key(instance_of);
    let remote: Vec<(i32, &TaskConfig)> = tasks
        .iter()
        .filter_map(|task| Some((instance_of(task), task.assigned_task.as_ref()?.task.as_ref()?)))
        .collect();
    let wanted: Vec<(i32, &TaskConfig)> = (0..job.instance_count)
        .filter(|id| arguments.spec.instances.contains(*id as u32))
        .map(|id| (id, local))
        .collect();
    if context.console.is_json() {
        context.console.out_json(&instances_json(from, &remote, &wanted));
        return Ok(());
    }
    match form(arguments, context) {
        Form::Program => compare(&instances_text(&remote), &instances_text(&wanted), context),
        Form::Fields(paint) => {
            print_instances(&remote, &wanted, paint, context);
            Ok(())
        }
    }
}

/// How differences are shown.
enum Form {
    /// By the user's diff program, over whole configurations: what scripts read, and who chose a program gets.
    Program,
    /// Only the fields that differ, by us: what a person reads.
    Fields(Paint),
}

fn form(arguments: &DiffArguments, context: &Context<'_>) -> Form {
    let has_viewer = std::env::var("DIFF_VIEWER").is_ok_and(|viewer| !viewer.trim().is_empty());
    let is_for_people = context.console.out_is_terminal() || arguments.color == clap::ColorChoice::Always;
    if has_viewer || !is_for_people {
        Form::Program
    } else {
        Form::Fields(Paint::new(context.console.has_colour(arguments.color)))
    }
}

fn print_changes(before: &Value, after: &Value, paint: Paint, context: &mut Context<'_>) {
    for change in changes(before, after) {
        change.lines(paint).iter().for_each(|line| context.console.out(line));
    }
}

/// Instance by instance; those that differ alike are shown together.
fn print_instances(
    remote: &[(i32, &TaskConfig)],
    wanted: &[(i32, &TaskConfig)],
    paint: Paint,
    context: &mut Context<'_>,
) {
    let ids = |them: &[(i32, &TaskConfig)], others: &[(i32, &TaskConfig)]| -> Vec<i32> {
        them.iter().map(|(id, _)| *id).filter(|id| !others.iter().any(|(other, _)| other == id)).collect()
    };
    let mut same = true;
    for (word, mark, ids) in
        [("- instances", Mark::Removed, ids(remote, wanted)), ("+ instances", Mark::Added, ids(wanted, remote))]
    {
        if !ids.is_empty() {
            same = false;
            context.console.out(paint.mark(mark, &format!("{word} {}", super::wait::list_text(&ids))));
        }
    }
    let mut groups: Vec<(Vec<Change>, Vec<i32>)> = Vec::new();
    for (id, config, local) in pairs(remote, wanted) {
        let found = changes(&document(config), &document(local));
        match groups.iter_mut().find(|(known, _)| *known == found) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((found, vec![id])),
        }
    }
    for (found, ids) in groups.iter().filter(|(found, _)| !found.is_empty()) {
        same = false;
        let heading = format!("instances {}:", super::wait::list_text(ids));
        context.console.out(paint.mark(Mark::Heading, &heading));
        found.iter().flat_map(|change| change.lines(paint)).for_each(|line| context.console.out(line));
    }
    if same {
        context.console.out("No instance differs.");
    }
}

/// Instances on both sides.
fn pairs<'a>(
    remote: &'a [(i32, &'a TaskConfig)],
    wanted: &'a [(i32, &'a TaskConfig)],
) -> impl Iterator<Item = (i32, &'a TaskConfig, &'a TaskConfig)> {
    remote.iter().filter_map(move |(id, config)| {
        let (_, local) = wanted.iter().find(|(other, _)| other == id)?;
        Some((*id, *config, *local))
    })
}

/// `{"job", "add", "remove", "update", "unchanged"}`: ranges of instances, and for those to be updated what changes.
fn update_json(key: &ClusterJob, result: &GetJobUpdateDiffResult, local: &TaskConfig) -> Value {
    let ranges = |groups: &[ConfigGroup]| -> Value {
        let mut all: Vec<&Range> = groups.iter().flat_map(|group| group.instances.iter()).collect();
        all.sort_by_key(|range| range.first);
        all.into_iter().map(|range| json!({ "first": range.first, "last": range.last })).collect()
    };
    let update = result.update.iter().map(|group| {
        let remote = document(&group.config.clone().unwrap_or_default());
        let changes: Vec<Value> = changes(&remote, &document(local)).iter().map(Change::json).collect();
        json!({ "instances": ranges(std::slice::from_ref(group)), "changes": changes })
    });
    json!({
        "job": key.to_string(),
        "add": ranges(&result.add),
        "remove": ranges(&result.remove),
        "update": update.collect::<Vec<Value>>(),
        "unchanged": ranges(&result.unchanged),
    })
}

/// `{"job", "add", "remove", "instances"}`: numbers of instances, and for those on both sides what differs.
fn instances_json(from: &ClusterJob, remote: &[(i32, &TaskConfig)], wanted: &[(i32, &TaskConfig)]) -> Value {
    let only = |them: &[(i32, &TaskConfig)], others: &[(i32, &TaskConfig)]| -> Value {
        them.iter().map(|(id, _)| *id).filter(|id| !others.iter().any(|(other, _)| other == id)).collect()
    };
    let both = pairs(remote, wanted).map(|(id, config, local)| {
        let changes: Vec<Value> = changes(&document(config), &document(local)).iter().map(Change::json).collect();
        json!({ "instance": id, "changes": changes })
    });
    json!({
        "job": from.to_string(),
        "add": only(wanted, remote),
        "remove": only(remote, wanted),
        "instances": both.collect::<Vec<Value>>(),
    })
}

fn instances_text(instances: &[(i32, &TaskConfig)]) -> String {
    instances.iter().map(|(id, config)| instance(*id, config)).collect()
}

fn instance(id: i32, config: &TaskConfig) -> String {
    format!("instance {id}:\n{}", shown(config))
}

/// A configuration for people: sorted and indented.
fn shown(config: &TaskConfig) -> String {
    format!("{:#}\n", document(config))
}

/// A configuration, sorted, the executor's document taken apart.
fn document(config: &TaskConfig) -> Value {
    let mut value: Value = serde_json::from_slice(&encode_plain(config)).unwrap_or_default();
    if let Some(data) = value.pointer_mut("/executorConfig/data")
        && let Some(document) = data.as_str().and_then(|text| serde_json::from_str(text).ok())
    {
        *data = document;
    }
    sort(&mut value);
    value
}

/// Sets have no order on the wire; the same sets shall look the same.
fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                sort(field);
                let is_set =
                    matches!(name.as_str(), "constraints" | "resources" | "metadata" | "mesosFetcherUris" | "values");
                if let (true, Value::Array(members)) = (is_set, field) {
                    members.sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(sort),
        _ => {}
    }
}

/// Lets the user's diff program show both texts, the cluster's first.
fn compare(remote: &str, local: &str, context: &mut Context<'_>) -> Outcome {
    let failed = |why: String| Failure::new(Exit::CommandFailure, why);
    let write = |text: &str| -> std::io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix("aurora-diff-").suffix(".json").tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        Ok(file)
    };
    let files = write(remote).and_then(|remote| Ok((remote, write(local)?)));
    let (remote, local) = files.map_err(|error| failed(format!("Temporary files cannot be written: {error}")))?;
    let viewer = std::env::var("DIFF_VIEWER").ok().filter(|viewer| !viewer.trim().is_empty());
    let viewer = viewer.unwrap_or_else(|| "diff".to_owned());
    let words = shlex::split(&viewer).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| failed(format!("DIFF_VIEWER is no command: {viewer}")))?;
    let named = |path: &Path| path.display().to_string();
    let mut arguments = words[1..].to_vec();
    arguments.extend([named(remote.path()), named(local.path())]);
    match context.world.attend(&words[0], &arguments, &mut |_| Ok(())) {
        Ok(0 | 1) => Ok(()),
        Ok(code) => Err(failed(format!("{viewer} ended with exit status {code}."))),
        Err(why) => Err(failed(why)),
    }
}
