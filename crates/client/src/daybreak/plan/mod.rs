//! `daybreak plan`: what a create, an update or a schedule would do, instance by instance, and what the scheduler would say of it.
//!
//! The difference comes from calls that every Aurora knows (populateJobConfig, getJobUpdateDiff, getJobs); quota, room, refusals and the
//! groups of an update from the scheduler's own forecast ([`super::judgement`]), where it has one. Nothing is changed.

pub mod arguments;
mod difference;
mod rollout;
mod text;

use std::collections::BTreeSet;

use model::JobConfiguration;
use model::update::{UpdateRequest, UpdateSettings, to_ranges};
use serde::Serialize;
use serde_json::{Value, json};
use thrift::{
    ConfigGroup, GetJobUpdateDiffArguments, GetJobsArguments, PopulateJobConfigArguments, ResponseResult, TaskConfig,
    encode_plain,
};

use super::judgement::{self, Forecast};
use super::telling::ranges;
use crate::aurora::{Context, load};
use crate::evaluation::LoadedJob;
use crate::exit::{Exit, Failure, Outcome};
use crate::paint::Paint;
use crate::scheduler::{CallError, Scheduler, missing_result, model_key};
use crate::syntax::ClusterJob;
use arguments::PlanArguments;
use difference::Field;
use rollout::Rollout;

pub(super) use text::obstacle_lines;

/// What would be done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Create,
    /// It runs, and something about it differs.
    Update,
    /// A cron job that is new.
    Schedule,
    /// A cron job whose configuration is replaced.
    Reschedule,
    /// Everything is as it should be.
    Nothing,
}

impl Action {
    /// The method of the API that does it.
    fn method(self) -> &'static str {
        match self {
            Self::Create => "createJob",
            Self::Update | Self::Nothing => "startJobUpdate",
            Self::Schedule | Self::Reschedule => "scheduleCronJob",
        }
    }
}

/// Instances that change from one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    instances: Vec<u32>,
    fields: Vec<Field>,
}

/// What would become of each instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Difference {
    add: Vec<u32>,
    change: Vec<Change>,
    remove: Vec<u32>,
    keep: Vec<u32>,
    /// Of a cron job: what of its template differs.
    template: Vec<Field>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.add.is_empty() && self.change.is_empty() && self.remove.is_empty() && self.template.is_empty()
    }

    fn changed(&self) -> Vec<u32> {
        let instances: BTreeSet<u32> = self.change.iter().flat_map(|change| change.instances.iter().copied()).collect();
        instances.into_iter().collect()
    }
}

/// The plan of one job.
#[derive(Debug)]
struct Plan {
    key: ClusterJob,
    action: Action,
    /// `None` where even that is unknown, because the scheduler refuses the configuration.
    difference: Option<Difference>,
    rollout: Option<Rollout>,
    /// What the scheduler says, where it has a judgement; in its own words, too.
    forecast: Option<(Forecast, Value)>,
    /// Why the scheduler would refuse.
    refusal: Option<String>,
    /// What would do it.
    command: String,
}

/// `daybreak plan FILE [KEY]`.
pub fn plan(arguments: &PlanArguments, context: &mut Context<'_>) -> Outcome {
    if arguments.output.json {
        context.console.be_json();
    }
    let plans = match &arguments.key {
        Some(key) => {
            let (path, file) = (&arguments.path, &arguments.file);
            vec![plan_job(
                key,
                |scheduler, context| load::load_job(key, path, file, scheduler, context),
                arguments,
                context,
            )?]
        }
        None => plan_every_job(arguments, context)?,
    };
    if arguments.output.json {
        let jobs: Vec<Value> = plans.iter().map(|plan| plan.json(arguments)).collect();
        context.console.out_json(&json!({ "jobs": jobs }));
    } else {
        let paint = Paint::new(context.console.has_colour(arguments.color));
        for (number, plan) in plans.iter().enumerate() {
            if number > 0 {
                context.console.out("");
            }
            text::lines(plan, &arguments.path, paint).iter().for_each(|line| context.console.out(line));
        }
    }
    let would_change = plans.iter().any(|plan| plan.action != Action::Nothing);
    if plans.iter().any(|plan| plan.refusal.is_some()) {
        Err(Failure::silent(Exit::CommandFailure))
    } else if arguments.detailed_exitcode && would_change {
        Err(Failure::silent(Exit::Failed))
    } else {
        Ok(())
    }
}

/// Plans of all jobs of the file, which is evaluated once.
fn plan_every_job(arguments: &PlanArguments, context: &mut Context<'_>) -> Outcome<Vec<Plan>> {
    let file = load::WholeFile::evaluate(&arguments.path, &arguments.file, context)?;
    let mut plans = Vec::new();
    for key in &file.keys {
        plans.push(plan_job(key, |scheduler, context| file.load(key, scheduler, context), arguments, context)?);
    }
    Ok(plans)
}

fn plan_job(
    key: &ClusterJob,
    load: impl FnOnce(&mut Scheduler<'_>, &mut Context<'_>) -> Outcome<LoadedJob>,
    arguments: &PlanArguments,
    context: &mut Context<'_>,
) -> Outcome<Plan> {
    let mut scheduler = context.scheduler(&key.cluster)?;
    let loaded = load(&mut scheduler, context)?;
    let job = &loaded.configuration;
    let mut settings = loaded.update.clone().unwrap_or_default();
    if let Some(ids) = arguments.instances.as_ref().and_then(|instances| instances.named()) {
        settings.only_these_instances = to_ranges(ids.iter().copied());
    }
    let difference = match populated(job, &mut scheduler, context)? {
        Err(refusal) => Err(refusal),
        Ok(wanted) if job.cron_schedule.is_some() => of_cron(job, &wanted, &mut scheduler, context)?,
        Ok(wanted) => of_instances(job, &wanted, &settings, &mut scheduler, context)?,
    };
    let action = action_of(job, difference.as_ref().ok(), arguments.instances.is_some());
    let asked = asked_of(action, job, &settings);
    let forecast = match action {
        Action::Nothing => None,
        _ => judgement::forecast(&mut scheduler, action.method(), &asked)?,
    };
    let said = forecast.as_ref().and_then(|(forecast, _)| forecast.refusal.as_ref());
    let refusal = said.map(|refusal| refusal.messages.join(" ")).or_else(|| difference.as_ref().err().cloned());
    // What the file says of updates matters only where one is meant.
    let refusal = refusal.or_else(|| loaded.update.clone().err().filter(|_| action == Action::Update));
    let difference = difference.ok();
    let course = forecast.as_ref().and_then(|(forecast, _)| forecast.update.as_ref());
    let is_update_known = action == Action::Update && difference.is_some();
    let rollout = is_update_known.then(|| Rollout::new(&settings, course));
    let command = command_of(action, &loaded, arguments);
    Ok(Plan { key: key.clone(), action, difference, rollout, forecast, refusal, command })
}

fn action_of(job: &JobConfiguration, difference: Option<&Difference>, is_scoped: bool) -> Action {
    match difference {
        Some(difference) if difference.is_empty() => Action::Nothing,
        Some(difference) if job.cron_schedule.is_some() => {
            if difference.keep.is_empty() && difference.template.iter().all(|field| field.from.is_none()) {
                Action::Schedule
            } else {
                Action::Reschedule
            }
        }
        None if job.cron_schedule.is_some() => Action::Schedule,
        None => Action::Create,
        Some(difference) => {
            let runs = !(difference.change.is_empty() && difference.remove.is_empty() && difference.keep.is_empty());
            // A batch job that runs is neither updated nor created again: the scheduler says which it is.
            if (runs && job.task.is_service) || is_scoped { Action::Update } else { Action::Create }
        }
    }
}

/// The arguments of the method that would do it.
fn asked_of(action: Action, job: &JobConfiguration, settings: &UpdateSettings) -> Value {
    let plain = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
    match action {
        Action::Update | Action::Nothing => {
            json!({ "request": plain(encode_plain(&thrift::JobUpdateRequest::from(&request_of(job, settings)))) })
        }
        Action::Create | Action::Schedule | Action::Reschedule => {
            json!({ "description": plain(encode_plain(&thrift::JobConfiguration::from(job))) })
        }
    }
}

fn request_of(job: &JobConfiguration, settings: &UpdateSettings) -> UpdateRequest {
    UpdateRequest {
        task: job.task.clone(),
        instance_count: job.instance_count,
        settings: settings.clone(),
        metadata: Default::default(),
    }
}

/// The command that would do it.
fn command_of(action: Action, loaded: &LoadedJob, arguments: &PlanArguments) -> String {
    let mut words = match action {
        Action::Create => vec!["aurora", "job", "create"],
        Action::Update | Action::Nothing => vec!["aurora", "update", "start"],
        Action::Schedule | Action::Reschedule => vec!["aurora", "cron", "schedule"],
    }
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    let scope = arguments.instances.as_ref().and_then(|instances| instances.named());
    words.push(match scope {
        Some(ids) if action == Action::Update => format!("{}/{}", loaded.key, ranges(ids.iter().copied())),
        _ => loaded.key.to_string(),
    });
    words.push(arguments.path.display().to_string());
    for binding in &arguments.file.bindings {
        words.push("--bind".to_owned());
        words.push(format!("{}={}", binding.name, binding.value));
    }
    if arguments.file.read_json {
        words.push("--read-json".to_owned());
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word for a shell, in quotes only where it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=,:@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

/// What is known, or the scheduler's refusal to say.
type Told<T> = Result<T, String>;

/// A refusal as something to tell; anything else ends the command.
fn told<T>(result: Result<T, CallError>) -> Outcome<Told<T>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(CallError::Refused(refusal)) => Ok(Err(refusal.reason())),
        Err(CallError::Failed(failure)) => Err(failure),
    }
}

/// The configuration as the scheduler would store it.
fn populated(
    job: &JobConfiguration,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Told<TaskConfig>> {
    let call = PopulateJobConfigArguments { description: Some(job.into()) };
    Ok(match told(scheduler.call(call, &mut context.console))? {
        Err(refusal) => Err(refusal),
        Ok(reply) => match reply.result {
            Some(ResponseResult::PopulateJob(result)) => Ok(result.task_config.unwrap_or_default()),
            _ => return Err(missing_result("populateJobConfig")),
        },
    })
}

fn instances_of(groups: &[ConfigGroup]) -> Vec<u32> {
    let ranges = groups.iter().flat_map(|group| group.instances.iter());
    let ids: BTreeSet<u32> =
        ranges.flat_map(|range| range.first..=range.last).filter_map(|instance| u32::try_from(instance).ok()).collect();
    ids.into_iter().collect()
}

/// The difference between what runs and what is wanted, as an update would see it.
fn of_instances(
    job: &JobConfiguration,
    wanted: &TaskConfig,
    settings: &UpdateSettings,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Told<Difference>> {
    let call = GetJobUpdateDiffArguments { request: Some((&request_of(job, settings)).into()) };
    let reply = match told(scheduler.call(call, &mut context.console))? {
        Ok(reply) => reply,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(ResponseResult::GetJobUpdateDiff(result)) = reply.result else {
        return Err(missing_result("getJobUpdateDiff"));
    };
    let mut change: Vec<Change> = result
        .update
        .iter()
        .map(|group| Change {
            instances: instances_of(std::slice::from_ref(group)),
            fields: difference::fields(group.config.as_ref().unwrap_or(&TaskConfig::default()), wanted),
        })
        .collect();
    change.sort_by_key(|change| change.instances.first().copied());
    Ok(Ok(Difference {
        add: instances_of(&result.add),
        change,
        remove: instances_of(&result.remove),
        keep: instances_of(&result.unchanged),
        template: Vec::new(),
    }))
}

/// The difference between a cron job as it is scheduled and as it would be. Its tasks go on as they are.
fn of_cron(
    job: &JobConfiguration,
    wanted: &TaskConfig,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Told<Difference>> {
    let call = GetJobsArguments { owner_role: Some(job.key.role.clone()) };
    let reply = match told(scheduler.call(call, &mut context.console))? {
        Ok(reply) => reply,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(ResponseResult::GetJobs(result)) = reply.result else { return Err(missing_result("getJobs")) };
    let is_it = |known: &&thrift::JobConfiguration| model_key(known.key.as_ref()) == job.key;
    let known = result.configs.iter().find(is_it).filter(|known| known.cron_schedule.is_some());
    let wire = thrift::JobConfiguration::from(job);
    let mut template = Vec::new();
    let of_job = |job: &thrift::JobConfiguration| {
        let policy = job.cron_collision_policy.map(|policy| policy.name().to_owned());
        [
            ("cron_schedule", job.cron_schedule.clone()),
            ("cron_collision_policy", policy),
            ("instances", Some(job.instance_count.to_string())),
        ]
    };
    let old = known.map(|known| of_job(known).map(|(_, value)| value)).unwrap_or_default();
    for ((name, to), from) in of_job(&wire).into_iter().zip(old) {
        if from != to {
            template.push(Field { name: name.to_owned(), from, to });
        }
    }
    if let Some(config) = known.and_then(|known| known.task_config.as_ref()) {
        template.extend(difference::fields(config, wanted));
    }
    Ok(Ok(Difference { template, ..Difference::default() }))
}

impl Plan {
    /// The documented shape (docs/explain.md).
    fn json(&self, arguments: &PlanArguments) -> Value {
        let texts = |ids: &[u32]| ranges(ids.iter().copied());
        let instances = self.difference.as_ref().map(|difference| {
            let change: Vec<Value> = difference
                .change
                .iter()
                .map(|change| json!({ "instances": texts(&change.instances), "fields": change.fields }))
                .collect();
            json!({
                "add": texts(&difference.add),
                "change": change,
                "remove": texts(&difference.remove),
                "keep": texts(&difference.keep),
                "template": difference.template,
            })
        });
        let document = self.forecast.as_ref().map(|(_, document)| document.clone());
        let part = |name: &str| document.as_ref().map_or(Value::Null, |document| document[name].clone());
        json!({
            "job": self.key.to_string(),
            "file": arguments.path.display().to_string(),
            "action": self.action,
            "instances": instances,
            "rollout": self.rollout,
            "refusal": self.refusal,
            "quota": part("quota"),
            "placement": part("placement"),
            "isForecastKnown": self.forecast.is_some() || self.action == Action::Nothing,
            "command": self.command,
        })
    }
}

#[cfg(test)]
mod tests;
