//! Loading a job file for a verb (spec client-cli 2, config-dsl 2.5), and `config list`.

use std::collections::BTreeMap;
use std::path::Path;

use model::tier::{Tier, Tiers};
use thrift::{GetTierConfigResult, GetTierConfigsArguments, ResponseResult};

use super::arguments::{ConfigListArguments, FileOptions, HookFile};
use super::{Context, inspect};
use crate::evaluation::{EvaluatedFile, Evaluation, EvaluationRequest, LoadedJob, Wanted};
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::Hooks;
use crate::scheduler::Scheduler;
use crate::syntax::ClusterJob;

/// Loads the job `key` of a file with the cluster's tiers. A file that cannot be loaded is told before a scheduler that does not answer.
pub fn load_job(
    key: &ClusterJob,
    path: &Path,
    file: &FileOptions,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<LoadedJob> {
    let tiers = fetch_tiers(scheduler, context);
    let known = tiers.as_ref().map_or_else(|_| Tiers::default(), Clone::clone);
    let job = load_with_tiers(key, path, file, known, context)?;
    tiers?;
    Ok(job)
}

/// A job file whose jobs are loaded one by one.
pub struct WholeFile<'a> {
    path: &'a Path,
    options: &'a FileOptions,
    evaluated: Box<dyn EvaluatedFile>,
    /// Keys of its jobs in their order; at least one.
    pub keys: Vec<ClusterJob>,
}

impl<'a> WholeFile<'a> {
    /// Evaluates a file.
    pub fn evaluate(path: &'a Path, options: &'a FileOptions, context: &Context<'_>) -> Outcome<Self> {
        let request = EvaluationRequest {
            path: path.to_owned(),
            bindings: options.bindings.clone(),
            is_json: options.read_json,
            format: options.format,
            wanted: Wanted::Keys,
            ..EvaluationRequest::default()
        };
        let evaluated = context.world.evaluate_file(&request).map_err(cannot_load)?;
        let keys = evaluated.load(&request).map_err(cannot_load)?.keys;
        if keys.is_empty() {
            return Err(cannot_load(format!("{} defines no jobs", path.display())));
        }
        let keys = keys.iter().map(|key| key.parse().map_err(cannot_load)).collect::<Outcome<_>>()?;
        Ok(Self { path, options, evaluated, keys })
    }

    /// Loads one of its jobs with the cluster's tiers.
    pub fn load(
        &self,
        key: &ClusterJob,
        scheduler: &mut Scheduler<'_>,
        context: &mut Context<'_>,
    ) -> Outcome<LoadedJob> {
        let tiers = fetch_tiers(scheduler, context)?;
        let request = request_for(key, self.path, self.options, tiers, context);
        wanted_job(key, self.path, self.evaluated.load(&request), context)
    }
}

/// Loads the job `key` of a file without asking anybody: the built-in tiers apply.
pub fn load_offline(
    key: &ClusterJob,
    path: &Path,
    file: &FileOptions,
    context: &mut Context<'_>,
) -> Outcome<LoadedJob> {
    load_with_tiers(key, path, file, Tiers::default(), context)
}

/// The hooks that are to run around calls about a job that was loaded from that file.
pub fn hooks_of(
    job: &LoadedJob,
    path: &Path,
    file: &FileOptions,
    verbose: bool,
    context: &mut Context<'_>,
) -> Outcome<Hooks> {
    if !job.has_hooks {
        return Ok(Hooks::default());
    }
    let request = request_for(&job.key, path, file, Tiers::default(), context);
    let started = context.world.start_hooks(&request, &inspect::wire_form(job), verbose);
    started.map(Hooks::at).map_err(|why| Failure::new(Exit::InvalidConfiguration, why))
}

/// The hooks of the file that was named for its hooks only, if one was (spec client-cli 1.4).
pub fn hooks_of_file(
    key: &ClusterJob,
    named: &HookFile,
    verbose: bool,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Hooks> {
    let Some(path) = &named.config else { return Ok(Hooks::default()) };
    let job = load_job(key, path, &named.file, scheduler, context)?;
    hooks_of(&job, path, &named.file, verbose, context)
}

fn request_for(
    key: &ClusterJob,
    path: &Path,
    file: &FileOptions,
    tiers: Tiers,
    context: &Context<'_>,
) -> EvaluationRequest {
    EvaluationRequest {
        path: path.to_owned(),
        bindings: file.bindings.clone(),
        is_json: file.read_json,
        format: file.format,
        wanted: Wanted::Job(key.clone()),
        docker_registry: context.clusters.get(&key.cluster).ok().and_then(|cluster| cluster.docker_registry),
        tiers,
    }
}

fn load_with_tiers(
    key: &ClusterJob,
    path: &Path,
    file: &FileOptions,
    tiers: Tiers,
    context: &mut Context<'_>,
) -> Outcome<LoadedJob> {
    let request = request_for(key, path, file, tiers, context);
    wanted_job(key, path, context.world.evaluate(&request), context)
}

/// The job that was asked for, with the warnings told.
fn wanted_job(
    key: &ClusterJob,
    path: &Path,
    evaluation: Result<Evaluation, String>,
    context: &mut Context<'_>,
) -> Outcome<LoadedJob> {
    let evaluation = evaluation.map_err(cannot_load)?;
    for warning in &evaluation.warnings {
        context.console.warning(warning);
    }
    evaluation.job.ok_or_else(|| cannot_load(format!("{} defines no job {key}", path.display())))
}

fn cannot_load(why: String) -> Failure {
    Failure::new(Exit::InvalidConfiguration, format!("Error loading configuration: {}", why.trim_end()))
}

fn fetch_tiers(scheduler: &mut Scheduler<'_>, context: &mut Context<'_>) -> Outcome<Tiers> {
    let reply = scheduler
        .call(GetTierConfigsArguments {}, &mut context.console)
        .map_err(|error| error.failure("Could not read the cluster's tiers:", Exit::InvalidConfiguration))?;
    match reply.result {
        Some(ResponseResult::GetTierConfig(result)) => Ok(tiers_of(&result)),
        _ => Ok(Tiers::default()),
    }
}

fn tiers_of(result: &GetTierConfigResult) -> Tiers {
    let tiers: BTreeMap<String, Tier> = result
        .tiers
        .iter()
        .map(|tier| {
            let is = |setting: &str| tier.settings.get(setting).is_some_and(|value| value == "true");
            (tier.name.clone(), Tier { preemptible: is("preemptible"), revocable: is("revocable") })
        })
        .collect();
    Tiers { default: result.default_tier_name.clone(), tiers }
}

/// `config list FILE`.
pub fn list(arguments: &ConfigListArguments, context: &mut Context<'_>) -> Outcome {
    let request = EvaluationRequest {
        path: arguments.path.clone(),
        bindings: arguments.file.bindings.clone(),
        is_json: arguments.file.read_json,
        format: arguments.file.format,
        ..EvaluationRequest::default()
    };
    let evaluation = context.world.evaluate(&request).map_err(|why| {
        Failure::new(Exit::CommandFailure, format!("Error loading configuration file: {}", why.trim_end()))
    })?;
    for warning in &evaluation.warnings {
        context.console.warning(warning);
    }
    if context.console.is_json() {
        context.console.out_json(&evaluation.keys.into());
    } else {
        context.console.out(format!("jobs=[{}]", evaluation.keys.join(", ")));
    }
    Ok(())
}
