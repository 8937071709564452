//! `task run`, `task ssh`, `task scp` (spec client-cli 2.19): ssh to where tasks run, into their sandboxes.

use std::collections::BTreeSet;

use model::JobKey;
use thrift::{GetTasksStatusArguments, LIVE_STATES, ResponseResult, ScheduledTask, Set, TaskQuery};

use super::Context;
use super::remote_arguments::{SshOptions, TaskRunArguments, TaskScpArguments, TaskSshArguments};
use super::tasks::{id_of, instance_of};
use crate::admin::operations::quoted;
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::{Scheduler, missing_result, query_of};
use crate::syntax::{InstanceSpec, Instances, TaskInstance};

fn wrong<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(Exit::InvalidParameter, why))
}

/// The running tasks that are meant, by instance.
fn live_tasks(
    spec: &InstanceSpec,
    scheduler: &mut Scheduler<'_>,
    context: &mut Context<'_>,
) -> Outcome<Vec<ScheduledTask>> {
    let instances = spec.instances.named().map(|ids| Set(ids.iter().map(|id| *id as i32).collect()));
    let query =
        TaskQuery { statuses: Some(Set(LIVE_STATES.to_vec())), instance_ids: instances, ..query_of(&spec.key.job) };
    let reply = scheduler
        .call(GetTasksStatusArguments { query: Some(query) }, &mut context.console)
        .map_err(|error| error.failure("Could not read the job's tasks:", Exit::Failed))?;
    let Some(ResponseResult::ScheduleStatus(result)) = reply.result else {
        return Err(missing_result("getTasksStatus"));
    };
    let mut tasks = result.tasks;
    tasks.sort_by_key(instance_of);
    Ok(tasks)
}

fn host_of(task: &ScheduledTask) -> Outcome<&str> {
    let host = task.assigned_task.as_ref().and_then(|assigned| assigned.slave_host.as_deref());
    host.map_or_else(|| wrong(format!("Task {} is on no host.", id_of(task))), Ok)
}

fn user_of<'a>(options: &'a SshOptions, job: &'a JobKey) -> &'a str {
    options.ssh_user.as_deref().unwrap_or(&job.role)
}

fn words(options: Option<&str>, name: &str) -> Outcome<Vec<String>> {
    match options.map(shlex::split) {
        None => Ok(Vec::new()),
        Some(Some(words)) => Ok(words),
        Some(None) => wrong(format!("{name} cannot be taken apart: a quotation mark has no second one.")),
    }
}

/// Where a sandbox is on its machine, fit for a shell there: by the layout of Mesos agents where the cluster's definition says so, else
/// as the daemon says.
fn sandbox(
    cluster: &str,
    task: &ScheduledTask,
    of_executor: bool,
    scheduler: &mut Scheduler<'_>,
    context: &Context<'_>,
) -> Outcome<String> {
    let id = id_of(task);
    let definition = context.clusters.definition(cluster).unwrap_or_default();
    let text = |key: &str| definition.get(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    if let (Some(root), Some(run)) = (text("slave_root"), text("slave_run_directory")) {
        // The other shell fills in the stars.
        let directory = format!("{root}/slaves/*/frameworks/*/executors/thermos-{id}/runs/{run}");
        return Ok(if of_executor { directory } else { format!("{directory}/sandbox") });
    }
    let unknown = |why: String| {
        let cure = format!("Define slave_root and slave_run_directory of cluster {cluster} in clusters.json.");
        Failure::new(Exit::InvalidConfiguration, format!("Where the sandbox of {id} is, is not known: {why}. {cure}"))
    };
    let page = scheduler.get(&format!("/files/{id}")).map_err(|error| unknown(error.to_string()))?;
    let answer: serde_json::Value = match page.status {
        200 => serde_json::from_slice(&page.body).unwrap_or_default(),
        _ => return Err(unknown(String::from_utf8_lossy(&page.body).trim_end().to_owned())),
    };
    let path = answer.get("sandbox").and_then(serde_json::Value::as_str).filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| unknown("the daemon does not say".into()))?;
    let path = match path.strip_suffix("/sandbox") {
        Some(above) if of_executor => above,
        _ => path,
    };
    Ok(quoted(path))
}

/// Puts what is known of a task into a command.
fn filled_in(command: &str, task: &ScheduledTask) -> Outcome<String> {
    let mut text = command
        .replace("{{mesos.instance}}", &instance_of(task).to_string())
        .replace("{{thermos.task_id}}", id_of(task));
    let ports = task.assigned_task.as_ref().map(|assigned| assigned.assigned_ports.clone()).unwrap_or_default();
    for (name, port) in &ports {
        text = text.replace(&format!("{{{{thermos.ports[{name}]}}}}"), &port.to_string());
    }
    match text.find("{{thermos.ports[") {
        Some(at) => wrong(format!("Task {} has no such port: {}", id_of(task), &text[at..])),
        None => Ok(text),
    }
}

/// The exit code of ssh when it is not the command's.
const SSH_FAILED: i32 = 255;

/// `task run JOB[/INSTANCES] COMMAND`.
pub fn run(arguments: &TaskRunArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.spec.key;
    let mut scheduler = context.scheduler(&key.cluster).map_err(|failure| failure.with_exit(Exit::Failed))?;
    let tasks = live_tasks(&arguments.spec, &mut scheduler, context)?;
    let options = words(arguments.ssh.ssh_options.as_deref(), "--ssh-options")?;
    let (mut commands, mut hosts) = (Vec::new(), Vec::new());
    for task in &tasks {
        let host = host_of(task)?;
        let sandbox = sandbox(&key.cluster, task, arguments.ssh.executor_sandbox, &mut scheduler, context)?;
        let mut command = vec!["ssh".to_owned(), "-n".into(), "-q".into()];
        command.extend(options.iter().cloned());
        command.push(format!("{}@{host}", user_of(&arguments.ssh, &key.job)));
        command.push(format!("cd {sandbox};{}", filled_in(&arguments.command, task)?));
        commands.push(command);
        hosts.push(host.to_owned());
    }
    if commands.is_empty() {
        context.console.info(format!("No task of {key} is running; the command ran nowhere."));
    }
    let console = &mut context.console;
    let codes = context.world.run_all(&commands, arguments.threads as usize, &mut |number, line| {
        console.out(format!("{}:  {line}", hosts[number]));
    });
    // Asked to be quiet, ssh keeps even this to itself.
    let away: BTreeSet<&String> =
        hosts.iter().zip(codes).filter(|(_, code)| *code == SSH_FAILED).map(|(host, _)| host).collect();
    for host in away {
        let user = user_of(&arguments.ssh, &key.job);
        context.console.warning(format!("ssh could not reach {host}; see why with: ssh {user}@{host}"));
    }
    Ok(())
}

/// `task ssh JOB[/INSTANCES]`.
pub fn ssh(arguments: &TaskSshArguments, context: &mut Context<'_>) -> Outcome {
    let key = &arguments.spec.key;
    if arguments.command.is_some() && arguments.spec.instances == Instances::All {
        return wrong("--command needs an instance: write CLUSTER/ROLE/ENV/NAME/INSTANCE.");
    }
    let mut scheduler = context.scheduler(&key.cluster)?;
    let tasks = live_tasks(&arguments.spec, &mut scheduler, context)?;
    let Some(task) = tasks.first() else {
        return wrong(format!("No task of {key} is running that ssh could go to."));
    };
    let host = host_of(task)?;
    let sandbox = sandbox(&key.cluster, task, arguments.ssh.executor_sandbox, &mut scheduler, context)?;
    let mut command = vec!["-t".to_owned()];
    command.extend(words(arguments.ssh.ssh_options.as_deref(), "--ssh-options")?);
    for tunnel in &arguments.tunnels {
        command.extend(["-L".to_owned(), forwarding(tunnel, task, host)?]);
    }
    command.push(format!("{}@{host}", user_of(&arguments.ssh, &key.job)));
    command.push(format!("cd {sandbox};{}", arguments.command.as_deref().unwrap_or("bash")));
    let pid_file = arguments.pid_file.clone();
    let ended = context.world.attend("ssh", &command, &mut |pid| match &pid_file {
        Some(path) => std::fs::write(path, pid.to_string()).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    });
    as_exit(ended)
}

/// `local:host:remote` of `PORT:NAME`.
fn forwarding(tunnel: &str, task: &ScheduledTask, host: &str) -> Outcome<String> {
    let Some((port, name)) = tunnel.split_once(':') else {
        return wrong(format!(
            "'{tunnel}' is no tunnel: write PORT:NAME, a port here and the name of a port of the task."
        ));
    };
    let Ok(port) = port.parse::<u16>() else { return wrong(format!("'{port}' in '{tunnel}' is no port.")) };
    let ports = task.assigned_task.as_ref().map(|assigned| &assigned.assigned_ports);
    match ports.and_then(|ports| ports.get(name)) {
        Some(remote) => Ok(format!("{port}:{host}:{remote}")),
        None => {
            let known: Vec<&str> = ports.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            wrong(format!("Task {} has no port named {name}. It has: {}", id_of(task), known.join(", ")))
        }
    }
}

/// The child's exit code becomes the command's.
fn as_exit(ended: Result<i32, String>) -> Outcome {
    match ended {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::silent(Exit::Child(u8::try_from(code).unwrap_or(1)))),
        Err(why) => Err(Failure::new(Exit::CommandFailure, why)),
    }
}

/// `task scp SOURCE... TARGET`.
pub fn scp(arguments: &TaskScpArguments, context: &mut Context<'_>) -> Outcome {
    let mut command = words(arguments.scp_options.as_deref(), "--scp-options")?;
    for file in &arguments.files {
        command.push(located(file, arguments.executor_sandbox, context)?);
    }
    as_exit(context.world.attend("scp", &command, &mut |_| Ok(())))
}

/// A file as scp names it. What is not in a sandbox stays as it is.
fn located(file: &str, of_executor: bool, context: &mut Context<'_>) -> Outcome<String> {
    let Some((task, path)) = file.split_once(':') else { return Ok(file.to_owned()) };
    let Ok(TaskInstance { key, instance }) = task.parse::<TaskInstance>() else { return Ok(file.to_owned()) };
    if path.starts_with('~') {
        return wrong(format!("'{file}': ~ means nothing in a sandbox; write a path within it, or one from the root."));
    }
    let spec = InstanceSpec { key: key.clone(), instances: Instances::These([instance].into()) };
    let mut scheduler = context.scheduler(&key.cluster)?;
    let tasks = live_tasks(&spec, &mut scheduler, context)?;
    let Some(task) = tasks.first() else { return wrong(format!("Instance {instance} of {key} is not running.")) };
    let host = host_of(task)?;
    let path = match path {
        path if path.starts_with('/') => path.to_owned(),
        "" => sandbox(&key.cluster, task, of_executor, &mut scheduler, context)?,
        path => format!("{}/{path}", sandbox(&key.cluster, task, of_executor, &mut scheduler, context)?),
    };
    Ok(format!("{}@{host}:{path}", key.job.role))
}
