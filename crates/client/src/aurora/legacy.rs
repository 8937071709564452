//! The one-word verbs of old clients (spec client-cli 5), as Aurora's tutorial uses them: they log what they do in the classic lines and exit
//! with 0 or 1. All but `create`, `update` and `killall` are spelled into today's verbs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::JobKey;
use thrift::{CreateJobArguments, JobUpdateStatus, KillTasksArguments, ResponseCode};

use super::arguments::{
    Common, CreateArguments, FileOptions, HookFile, InspectArguments, KillArguments, KillOptions, ListArguments,
    OpenArguments, RestartArguments, StatusArguments, UpdateActionArguments, UpdateStartArguments, WaitUntil,
};
use super::remote_arguments::{
    ClusterRole, DiffArguments, QuotaGetArguments, SshOptions, TaskRunArguments, TaskSshArguments,
};
use super::update::{Action, Started};
use super::{Context, cron, diff, inspect, job, kill, load, parse, quota, remote, restart, status, update, wait};
use crate::command::JsonOutput;
use crate::evaluation::EvaluationRequest;
use crate::exit::{Exit, Failure, Outcome};
use crate::hooks::{HookedCall, Hooks};
use crate::scheduler::{CallError, Reply, Scheduler, active_query_of, wire_key};
use crate::syntax::{Binding, ClusterJob, InstanceSpec, Instances, UpdateFilter, WildcardKey};

/// The one-word verbs.
const OLD_VERBS: [&str; 16] = [
    "create",
    "update",
    "cancel_update",
    "kill",
    "killall",
    "restart",
    "status",
    "list_jobs",
    "inspect",
    "diff",
    "open",
    "start_cron",
    "get_quota",
    "run",
    "ssh",
    "version",
];

/// Whether the words after the program's name begin with an old verb. `update` is one only when what follows is no verb of today's noun.
pub fn is_old_verb(words: &[&str]) -> bool {
    let Some(first) = words.first() else { return false };
    if *first == "update" {
        return match words.get(1) {
            None | Some(&"-h" | &"--help" | &"help") => false,
            Some(word) => word.starts_with('-') || word.contains('/'),
        };
    }
    OLD_VERBS.contains(first)
}

#[derive(Debug, Parser)]
#[command(name = "aurora", infer_long_args = true, disable_help_subcommand = true, max_term_width = 100)]
struct Old {
    #[command(subcommand)]
    verb: OldVerb,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum OldVerb {
    /// Create a job (today: job create)
    Create(OldCreate),
    /// Update a job and wait for the end (today: update start --wait)
    Update(OldUpdate),
    /// Stop the active update (today: update abort)
    CancelUpdate(OldKey),
    /// Kill instances (today: job kill)
    Kill(OldKill),
    /// Kill all instances at once (today: job killall --no-batching)
    Killall(OldKillall),
    /// Restart instances (today: job restart)
    Restart(OldRestart),
    /// Show the tasks of a job (today: job status)
    Status(OldKey),
    /// List the jobs of a role (today: job list)
    ListJobs(OldListJobs),
    /// Show what a job file says (today: job inspect)
    Inspect(OldInspect),
    /// Open a job's page (today: job open)
    Open(OldOpen),
    /// Print the version
    Version,
    /// Show what a job file changes about a job (today: job diff)
    Diff(OldDiff),
    /// Start a run of a cron job now (today: cron start)
    StartCron(OldKey),
    /// Show the quota of a role (today: quota get)
    GetQuota(OldQuota),
    /// Run a command beside each running instance (today: task run)
    Run(OldRun),
    /// Open a shell beside an instance (today: task ssh)
    Ssh(OldSsh),
}

#[derive(Args, Clone, Debug)]
struct OldFile {
    /// Give a template variable a value; may be repeated
    #[arg(short = 'E', value_name = "NAME=VALUE")]
    bindings: Vec<Binding>,
    /// The file is JSON
    #[arg(short, long)]
    json: bool,
}

impl OldFile {
    fn today(&self) -> FileOptions {
        FileOptions { bindings: self.bindings.clone(), read_json: self.json, format: None }
    }
}

#[derive(Args, Debug)]
struct OldCreate {
    /// Key of the job, or its bare name
    #[arg(value_name = "JOBKEY")]
    job: String,
    /// The job file
    path: PathBuf,
    #[command(flatten)]
    file: OldFile,
    /// Open the job's page in the browser
    #[arg(short, long = "open_browser", alias = "open-browser")]
    open_browser: bool,
    /// Cluster, where only the job's name is given
    #[arg(long)]
    cluster: Option<String>,
    /// Environment, where only the job's name is given
    #[arg(long)]
    env: Option<String>,
    /// Return when the job has come this far
    #[arg(long = "wait_until", alias = "wait-until", value_enum, default_value_t)]
    wait_until: WaitUntil,
    /// Run none of the file's hooks, for this reason
    #[arg(long = "disable_all_hooks_reason", alias = "disable-all-hooks-reason", value_name = "TEXT")]
    disable_all_hooks_reason: Option<String>,
}

#[derive(Args, Debug)]
struct OldUpdate {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// The job file
    path: PathBuf,
    #[command(flatten)]
    file: OldFile,
    /// Only these instances
    #[arg(long, value_name = "0-2,5", default_value = "")]
    shards: Instances,
    /// Accepted; has no effect
    #[arg(long = "updater_health_check_interval_seconds", default_value_t = 3)]
    _interval: u64,
    /// Accepted; has no effect
    #[arg(long)]
    _force: bool,
}

#[derive(Args, Debug)]
struct OldKey {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
}

#[derive(Args, Debug)]
struct OldKill {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// Job file whose hooks run
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    /// Which instances
    #[arg(long, value_name = "0-2,5")]
    shards: Instances,
    /// How many at a time
    #[arg(long = "batch_size", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Stop after this many failures
    #[arg(long = "max_total_failures", default_value_t = 1)]
    max_total_failures: u32,
}

#[derive(Args, Debug)]
struct OldKillall {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// Job file whose hooks run
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    /// Accepted; all instances are killed at once
    #[arg(long = "batch_size")]
    _batch_size: Option<u32>,
    /// Accepted; has no effect
    #[arg(long = "max_total_failures")]
    _max_total_failures: Option<u32>,
    /// Open the job's page in the browser
    #[arg(short, long = "open_browser", alias = "open-browser")]
    open_browser: bool,
}

#[derive(Args, Debug)]
struct OldRestart {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// Only these instances
    #[arg(long, value_name = "0-2,5", default_value = "")]
    shards: Instances,
    /// How many at a time
    #[arg(long = "batch_size", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// How often one instance may fail
    #[arg(long = "max_per_shard_failures", default_value_t = 0)]
    max_per_shard_failures: u32,
    /// How many instances may fail
    #[arg(long = "max_total_failures", default_value_t = 0)]
    max_total_failures: u32,
    /// Accepted; has no effect
    #[arg(long = "restart_threshold", default_value_t = 60)]
    _restart_threshold: u64,
    /// How long an instance must stay running, in seconds
    #[arg(long = "watch_secs", default_value_t = 30)]
    watch_secs: u64,
}

#[derive(Args, Debug)]
struct OldListJobs {
    /// Cluster and role
    #[arg(value_name = "CLUSTER/ROLE")]
    key: WildcardKey,
    /// Accepted; has no effect
    #[arg(long)]
    _pretty: bool,
    /// Show the schedules of cron jobs
    #[arg(short = 'c', long = "show-cron")]
    show_cron: bool,
}

#[derive(Args, Debug)]
struct OldInspect {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// The job file
    path: PathBuf,
    #[command(flatten)]
    file: OldFile,
    /// Print what would be sent to the scheduler
    #[arg(long)]
    raw: bool,
    /// Accepted; nothing else is asked anyway
    #[arg(long)]
    _local: bool,
}

#[derive(Args, Debug)]
struct OldDiff {
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// The job file
    path: PathBuf,
    #[command(flatten)]
    file: OldFile,
    /// Compare with the tasks of this job instead
    #[arg(long, value_name = "JOBKEY")]
    from: Option<ClusterJob>,
}

#[derive(Args, Debug)]
struct OldQuota {
    /// The role
    role: String,
    /// Its cluster
    #[arg(long)]
    cluster: String,
}

#[derive(Args, Debug)]
struct OldSshOptions {
    /// Who to be on the other machine [default: the role]
    #[arg(long)]
    user: Option<String>,
    /// Begin in the executor's directory instead of the task's sandbox within it
    #[arg(short = 'e', long = "executor_sandbox", alias = "executor-sandbox")]
    executor_sandbox: bool,
}

impl OldSshOptions {
    fn today(self) -> SshOptions {
        SshOptions { ssh_user: self.user, executor_sandbox: self.executor_sandbox, ..SshOptions::default() }
    }
}

#[derive(Args, Debug)]
struct OldRun {
    /// How many at a time
    #[arg(short = 't', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    #[command(flatten)]
    ssh: OldSshOptions,
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// What to run
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Args, Debug)]
struct OldSsh {
    /// Let a port of this machine lead to a named port of the task; may be repeated
    #[arg(short = 'L', value_name = "PORT:NAME")]
    tunnels: Vec<String>,
    #[command(flatten)]
    ssh: OldSshOptions,
    /// Key of the job
    #[arg(value_name = "JOBKEY")]
    key: ClusterJob,
    /// Number of the instance
    shard: u32,
    /// What to run instead of a shell
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Args, Debug)]
struct OldOpen {
    /// What to show
    #[arg(value_name = "CLUSTER[/ROLE[/ENV[/NAME]]]")]
    key: UpdateFilter,
}

/// Runs an old verb; whatever goes wrong is exit 1.
pub fn run(arguments: Vec<OsString>, context: &mut Context<'_>) -> Outcome {
    let old = match parse::<Old>(arguments, &mut context.console) {
        Ok(old) => old,
        // Help is no error; a wrong command line was exit 1 like everything else.
        Err(failure) if failure.exit == Exit::Ok => return Err(failure),
        Err(failure) => return Err(failure.with_exit(Exit::Failed)),
    };
    run_verb(old.verb, context).map_err(|failure| failure.with_exit(Exit::Failed))
}

fn run_verb(verb: OldVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        OldVerb::Create(arguments) => create(&arguments, context),
        OldVerb::Update(arguments) => update(&arguments, context),
        OldVerb::Killall(arguments) => killall(&arguments, context),
        OldVerb::CancelUpdate(OldKey { key }) => {
            let arguments = UpdateActionArguments { key, message: None, common: Common::default() };
            update::act(Action::Abort, &arguments, context)
        }
        OldVerb::Kill(arguments) => kill::kill(&kill_today(arguments), context),
        OldVerb::Restart(arguments) => restart::restart(&restart_today(arguments), context),
        OldVerb::Status(OldKey { key }) => {
            let JobKey { role, environment, name } = key.job;
            let key = WildcardKey { cluster: key.cluster, role, environment, name };
            let arguments =
                StatusArguments { key, write_json: false, output: JsonOutput::default(), common: Common::default() };
            status::status(&arguments, context)
        }
        OldVerb::ListJobs(arguments) => list_jobs(arguments, context),
        OldVerb::Inspect(arguments) => {
            let arguments = InspectArguments {
                file: arguments.file.today(),
                key: arguments.key,
                path: arguments.path,
                write_json: false,
                raw: arguments.raw,
                color: clap::ColorChoice::Auto,
                output: JsonOutput::default(),
                common: Common::default(),
            };
            inspect::inspect(&arguments, context)
        }
        OldVerb::Open(arguments) => {
            job::open(&OpenArguments { key: arguments.key, common: Common::default() }, context)
        }
        OldVerb::Version => {
            context.console.out(env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        OldVerb::Diff(arguments) => {
            let spec = InstanceSpec { key: arguments.key, instances: Instances::default() };
            let OldDiff { path, file, from, .. } = arguments;
            let (file, color, output) = (file.today(), clap::ColorChoice::Auto, JsonOutput::default());
            diff::diff(&DiffArguments { spec, path, from, file, color, output, common: Common::default() }, context)
        }
        OldVerb::StartCron(OldKey { key }) => cron::start_now(&key, &HookFile::default(), false, false, context),
        OldVerb::GetQuota(OldQuota { role, cluster }) => {
            let role = ClusterRole { cluster, role };
            quota::get(
                &QuotaGetArguments {
                    role,
                    write_json: false,
                    output: JsonOutput::default(),
                    common: Common::default(),
                },
                context,
            )
        }
        OldVerb::Run(old) => remote::run(&run_today(old), context),
        OldVerb::Ssh(old) => remote::ssh(&ssh_today(old)?, context),
    }
}

fn run_today(old: OldRun) -> TaskRunArguments {
    let spec = InstanceSpec { key: old.key, instances: Instances::default() };
    TaskRunArguments { spec, command: old.command.join(" "), threads: old.threads, ssh: old.ssh.today() }
}

fn ssh_today(old: OldSsh) -> Outcome<TaskSshArguments> {
    let instances = old.shard.to_string().parse().map_err(|why: String| Failure::new(Exit::Failed, why))?;
    let spec = InstanceSpec { key: old.key, instances };
    let command = Some(old.command.join(" ")).filter(|command| !command.is_empty());
    Ok(TaskSshArguments { spec, tunnels: old.tunnels, command, pid_file: None, ssh: old.ssh.today() })
}

fn list_jobs(old: OldListJobs, context: &mut Context<'_>) -> Outcome {
    if !old.show_cron {
        return job::list(
            &ListArguments { key: old.key, output: JsonOutput::default(), common: Common::default() },
            context,
        );
    }
    for key in job::expand(&old.key, context)? {
        let mut scheduler = context.scheduler(&key.cluster)?;
        let schedules = cron::schedules_of(&key.job.role, &mut scheduler, context)?;
        let schedule = schedules.into_iter().find(|(job, _)| *job == key.job);
        let text = key.to_string();
        context.console.out(schedule.map_or_else(|| text.clone(), |(_, schedule)| cron::line(&text, &schedule)));
    }
    Ok(())
}

fn kill_today(old: OldKill) -> KillArguments {
    KillArguments {
        spec: InstanceSpec { key: old.key, instances: old.shards },
        strict: false,
        options: KillOptions {
            batch_size: old.batch_size,
            max_total_failures: old.max_total_failures,
            no_batching: false,
            message: None,
            open_browser: false,
            hooks: HookFile { config: old.path, file: FileOptions::default() },
            common: Common::default(),
        },
    }
}

fn restart_today(old: OldRestart) -> RestartArguments {
    RestartArguments {
        spec: InstanceSpec { key: old.key, instances: old.shards },
        batch_size: old.batch_size,
        max_total_failures: i64::from(old.max_total_failures),
        max_per_instance_failures: old.max_per_shard_failures,
        watch_secs: old.watch_secs,
        healthcheck_interval_seconds: 3,
        strict: false,
        force: false,
        open_browser: false,
        hooks: HookFile::default(),
        common: Common::default(),
    }
}

/// Logs the scheduler's answer in the classic line; one that is not OK ends the verb.
fn log_response(
    answer: Result<Reply, CallError>,
    otherwise: impl FnOnce() -> String,
    context: &mut Context<'_>,
) -> Outcome {
    let (code, messages) = match answer {
        Ok(reply) => (ResponseCode::Ok, reply.messages),
        Err(CallError::Refused(refusal)) => (refusal.code, refusal.messages),
        Err(CallError::Failed(failure)) => return Err(failure),
    };
    let message = if messages.is_empty() { otherwise() } else { messages.join(", ") };
    context.console.info(format!("Response from scheduler: {} (message: {message})", code.name()));
    if code == ResponseCode::Ok { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

fn log_url(scheduler: &Scheduler<'_>, job: &JobKey, context: &mut Context<'_>) -> String {
    let url = scheduler.job_url(job);
    context.console.info(format!("Job url: {url}"));
    url
}

fn create(old: &OldCreate, context: &mut Context<'_>) -> Outcome {
    let key = find_key(old, context)?;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let arguments = CreateArguments {
        key: key.clone(),
        path: old.path.clone(),
        file: old.file.today(),
        wait_until: old.wait_until,
        open_browser: old.open_browser,
        common: Common::default(),
    };
    let loaded = load::load_job(&key, &arguments.path, &arguments.file, &mut scheduler, context)?;
    job::refuse_cron(&loaded.configuration, "aurora cron schedule")?;
    context.console.info(format!("Creating job {}", key.job.name));
    let call = CreateJobArguments { description: Some((&loaded.configuration).into()) };
    let mut hooks = match &old.disable_all_hooks_reason {
        None => load::hooks_of(&loaded, &arguments.path, &arguments.file, false, context)?,
        Some(reason) => {
            context.console.info(format!("No hooks of the file run: {reason}"));
            Hooks::default()
        }
    };
    let answer =
        hooks.around(&HookedCall::create_job(), context, |context| scheduler.call_quietly(call, &mut context.console));
    let count = loaded.configuration.instance_count;
    log_response(answer, || format!("{count} new tasks pending for job {}", key.job), context)?;
    let url = log_url(&scheduler, &key.job, context);
    context.open_page(arguments.open_browser, &url);
    wait::wait_until(&mut scheduler, &key.job, None, arguments.wait_until, context)
}

/// The key as written, or the only job of the file with that name (and cluster, and environment).
fn find_key(old: &OldCreate, context: &mut Context<'_>) -> Outcome<ClusterJob> {
    if old.job.contains('/') {
        return old.job.parse().map_err(|why: String| Failure::new(Exit::Failed, why));
    }
    let request = EvaluationRequest {
        path: old.path.clone(),
        bindings: old.file.bindings.clone(),
        is_json: old.file.json,
        ..EvaluationRequest::default()
    };
    let loading = |why: String| Failure::new(Exit::Failed, format!("Error loading configuration: {}", why.trim_end()));
    let evaluation = context.world.evaluate(&request).map_err(loading)?;
    let is_meant = |key: &ClusterJob| {
        key.job.name == old.job
            && old.cluster.as_ref().is_none_or(|cluster| *cluster == key.cluster)
            && old.env.as_ref().is_none_or(|environment| *environment == key.job.environment)
    };
    let keys = evaluation.keys.iter().filter_map(|key| key.parse().ok());
    let mut keys: Vec<ClusterJob> = keys.filter(is_meant).collect();
    match keys.len() {
        1 => Ok(keys.remove(0)),
        count => Err(loading(format!(
            "{} defines {count} jobs that fit '{}'; name one as CLUSTER/ROLE/ENV/NAME",
            old.path.display(),
            old.job
        ))),
    }
}

fn update(old: &OldUpdate, context: &mut Context<'_>) -> Outcome {
    let key = &old.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    let arguments = UpdateStartArguments {
        spec: InstanceSpec { key: key.clone(), instances: old.shards.clone() },
        path: old.path.clone(),
        file: old.file.today(),
        message: None,
        wait: true,
        healthcheck_interval_seconds: 3,
        strict: false,
        open_browser: false,
        common: Common::default(),
    };
    let (request, loaded) = update::build_request(&arguments, &mut scheduler, context)?;
    let mut hooks = load::hooks_of(&loaded, &arguments.path, &arguments.file, false, context)?;
    context.console.info(format!("Updating job: {}", key.job.name));
    let id = match update::send_start(&request, None, &mut hooks, &mut scheduler, context)? {
        Started::Update(id) => id,
        Started::NothingToDo(messages) => {
            let message = messages.join(", ");
            context.console.info(format!("Response from scheduler: OK (message: {message})"));
            return Ok(());
        }
    };
    context.console.info(format!("Response from scheduler: OK (message: update {id} started)"));
    let end = update::follow(&key.job, &id, &mut scheduler, context, |console, status| {
        console.info(format!("Current state {status}"));
    })?;
    log_url(&scheduler, &key.job, context);
    if end == JobUpdateStatus::RolledForward {
        context.console.info("Update completed successfully.");
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("The update ended as {end}. What happened: aurora update info {key} {id}")))
}

fn killall(old: &OldKillall, context: &mut Context<'_>) -> Outcome {
    let key = &old.key;
    let mut scheduler = context.scheduler(&key.cluster)?;
    context.console.info(format!("Killing tasks for job: {key}"));
    // Only a person who watches wants to know how many there were.
    let active = match context.console.shows_progress() {
        true => scheduler.tasks(active_query_of(&key.job), &mut context.console)?.len(),
        false => 0,
    };
    let call = KillTasksArguments { job: Some(wire_key(&key.job)), instances: None, message: None };
    let hook_file = HookFile { config: old.path.clone(), file: FileOptions::default() };
    let mut hooks = load::hooks_of_file(key, &hook_file, false, &mut scheduler, context)?;
    let answer = hooks.around(&HookedCall::kill_job(None, None), context, |context| {
        scheduler.call_quietly(call, &mut context.console)
    });
    log_response(answer, || "Tasks killed.".into(), context)?;
    let is_dead = kill::wait_for_death(&mut scheduler, &key.job, None, (0, active), context)?;
    let url = log_url(&scheduler, &key.job, context);
    context.open_page(old.open_browser, &url);
    if is_dead {
        Ok(())
    } else {
        let text = format!("Some tasks of {key} have not ended yet. Look with: aurora job status {key}");
        Err(Failure::new(Exit::Failed, text))
    }
}

#[cfg(test)]
mod tests {
    use super::is_old_verb;

    #[test]
    fn update_is_a_noun_and_an_old_verb() {
        assert!(is_old_verb(&["update", "c/r/e/n", "f.aurora"]));
        assert!(is_old_verb(&["update", "--shards", "0-2", "c/r/e/n", "f.aurora"]));
        assert!(is_old_verb(&["update", "-E", "a=b", "c/r/e/n", "f.aurora"]));
        for noun in [&["update"][..], &["update", "start", "c/r/e/n", "f"], &["update", "--help"], &["update", "strat"]]
        {
            assert!(!is_old_verb(noun), "{noun:?}");
        }
        assert!(is_old_verb(&["create"]) && is_old_verb(&["killall", "c/r/e/n"]));
        assert!(!is_old_verb(&["job", "create"]) && !is_old_verb(&[]));
    }
}
