//! From what the agent delivers to what a supervisor runs (spec executor 2.2, 2.4, 2.11).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use checkpoint::protocol::{Announcing, ContainerKind, Containers, Launch};
use mesos::v1::{KillPolicy, TaskInfo};
use thrift::{AssignedTask, Container, DockerContainer, JobKey, Limits, Protocol, Resource, decode_value};

use super::options::{AnnouncerOptions, Options};
use crate::supervisor::CONTAINER_USER;
use crate::system::user;

/// How often a sandbox is measured, milliseconds (spec executor 2.7).
const DISK_INTERVAL_MS: u64 = 60_000;
/// Time for processes to end when nobody says another, milliseconds (spec executor 2.8).
const GRACE_MS: u64 = 60_000;
const MIB: u64 = 1 << 20;

/// What agents tell their executors in the environment: nothing of an image's.
const AGENTS_VARIABLES: [&str; 2] = ["MESOS_", "LIBPROCESS_"];

/// Name of the one process of a docker-compose project.
const PROJECT_PROCESS: &str = "docker-compose";

/// Said when the data of a task is not what it should be.
pub(super) const NOT_UNDERSTOOD: &str = "Could not deserialize task.";

/// A task as it is to be run.
#[derive(Debug, PartialEq)]
pub(super) struct Assignment {
    /// Its run directory is not filled in yet.
    pub(super) launch: Launch,
    pub(super) grace_ms: u64,
    /// Whether this process itself runs in the task's container.
    pub(super) in_docker: bool,
    /// Whether the processes run in an image that lies in the run directory.
    pub(super) in_image: bool,
}

/// Reads what is to be done. The error is the message of the failure.
pub(super) fn assignment(info: &TaskInfo, options: &Options, variables: Vec<String>) -> Result<Assignment, String> {
    let data = info.data.as_deref().unwrap_or_default();
    let assigned: AssignedTask =
        decode_value(Protocol::Binary, data, Limits::REQUEST).map_err(|_| NOT_UNDERSTOOD.to_owned())?;
    let config = assigned.task.ok_or_else(|| NOT_UNDERSTOOD.to_owned())?;
    let in_docker = matches!(config.container, Some(Container::Docker(_)));
    let in_image = matches!(&config.container, Some(Container::Mesos(container)) if container.image.is_some());
    let executor =
        config.executor_config.ok_or("The task has no executor configuration, so there is nothing to run.")?;
    let announcing = announcing(&options.announcer, config.job.as_ref());
    let role = config.job.map(|job| job.role).or_else(|| config.owner.map(|owner| owner.user)).unwrap_or_default();
    let user = match (&options.execute_as_user, &config.container) {
        (Some(user), _) => user.clone(),
        (None, Some(Container::Docker(docker))) => container_user(docker),
        (None, _) if options.keep_user => String::new(),
        (None, _) => role,
    };
    let amount = |pick: fn(&Resource) -> Option<i64>| {
        config.resources.iter().filter_map(pick).map(|amount| u64::try_from(amount).unwrap_or(0)).sum::<u64>() * MIB
    };
    let ports: BTreeMap<String, u32> = assigned
        .assigned_ports
        .iter()
        .filter_map(|(name, port)| Some((name.clone(), u32::try_from(*port).ok()?)))
        .collect();
    let of_image = |text: &String| !AGENTS_VARIABLES.iter().any(|prefix| text.starts_with(prefix));
    let environment = match (options.preserve_environment, in_docker) {
        (true, _) => variables,
        // Those of the image and of Docker's parameters: processes find what others in the container would.
        (false, true) => variables.into_iter().filter(of_image).collect(),
        (false, false) => Vec::new(),
    };
    let launch = Launch {
        task_id: info.task_id.value.clone(),
        agent_id: info.agent_id.value.clone(),
        hostname: assigned.slave_host.unwrap_or_default(),
        instance: u32::try_from(assigned.instance_id).unwrap_or(0),
        ports,
        payload: executor.data.unwrap_or_default().into_bytes(),
        memory_bytes: amount(|resource| match resource {
            Resource::RamMb(mb) => Some(*mb),
            _ => None,
        }),
        disk_bytes: amount(|resource| match resource {
            Resource::DiskMb(mb) => Some(*mb),
            _ => None,
        }),
        role: user,
        disk_interval_ms: DISK_INTERVAL_MS,
        health_checks_keep_user: options.health_checks_keep_user,
        stop_timeout_ms: milliseconds(options.stop_timeout),
        run_directory_exists: true,
        environment,
        logger: Some(options.logger.clone()),
        announcing,
        ..Launch::default()
    };
    let launch = if executor.name == compose::EXECUTOR_NAME { project(launch, info)? } else { launch };
    let grace_ms = grace_of(info.kill_policy.as_ref()).unwrap_or(GRACE_MS);
    Ok(Assignment { launch, grace_ms, in_docker, in_image })
}

/// Who runs the processes in a Docker container. The scheduler has Docker start this process as root, so that it can be executed where
/// the agent has put it, and the user that the job's parameters name (the last of them, as for Docker) is left for the processes; a
/// container that was started as that user keeps it.
fn container_user(docker: &DockerContainer) -> String {
    let named = docker.parameters.iter().flatten().rfind(|parameter| parameter.name == "user");
    named.map_or_else(String::new, |parameter| format!("{CONTAINER_USER}{}", parameter.value))
}

/// Where a task of the job is announced, if the executor was told of an ensemble (spec executor 2.10).
fn announcing(options: &AnnouncerOptions, job: Option<&JobKey>) -> Option<Announcing> {
    let ensemble = options.ensemble.clone()?;
    let JobKey { role, environment, name } = job.cloned().unwrap_or_default();
    Some(Announcing {
        ensemble,
        path: format!("{}/{role}/{environment}/{name}", options.serverset_path.trim_end_matches('/')),
        allow_custom_path: options.allow_custom_path,
        hostname: options.hostname.clone().unwrap_or_default(),
        auth_file: options.auth_file.as_deref().map_or_else(String::new, |path| path.display().to_string()),
        session_timeout_ms: 0,
    })
}

/// A project of docker-compose as a task with one process (spec executor 6.5). It runs as this process' own user, who has a right to
/// Docker, in the run directory, where the agent has put the task's files.
fn project(launch: Launch, info: &TaskInfo) -> Result<Launch, String> {
    let cpu: f64 = info
        .resources
        .iter()
        .filter(|resource| resource.name == "cpus")
        .filter_map(|it| it.scalar)
        .map(|it| it.value)
        .sum();
    let labels = info.labels.iter().flat_map(|labels| &labels.labels);
    let ports =
        launch.ports.iter().filter_map(|(name, port)| Some((name.clone(), u16::try_from(*port).ok()?))).collect();
    let request = compose::Request {
        task_id: launch.task_id.clone(),
        executor_id: format!("{}{}", compose::TASK_PREFIX, launch.task_id),
        labels: labels.map(|label| (label.key.clone(), label.value.clone().unwrap_or_default())).collect(),
        ports: compose::ports_in_order(&ports),
        // Seen from the sandbox, which lies in the run directory.
        directory: "..".into(),
        memory_bytes: launch.memory_bytes,
        cpu_millis: (cpu.max(0.0) * 1000.0).round() as u64,
    };
    let line = compose::shown(&request.files().map_err(|error| format!("{error}."))?).replace("{{", "{ {");
    let payload = serde_json::json!({
        "task": {
            "name": PROJECT_PROCESS,
            "processes": [{ "name": PROJECT_PROCESS, "cmdline": line }],
            "resources": { "cpu": cpu, "ram": launch.memory_bytes, "disk": launch.disk_bytes },
        },
        "lifecycle": {},
    });
    let containers = Containers {
        kind: ContainerKind::Compose.into(),
        docker_host: std::env::var("DOCKER_HOST").unwrap_or_default(),
        memory_bytes: launch.memory_bytes,
        project: compose::project_name(&launch.task_id),
        compose_request: serde_json::to_string(&request).map_err(|error| error.to_string())?,
        ..Containers::default()
    };
    Ok(Launch {
        role: String::new(),
        payload: payload.to_string().into_bytes(),
        containers: Some(containers),
        ..launch
    })
}

/// The grace period that a policy states, milliseconds.
pub(super) fn grace_of(policy: Option<&KillPolicy>) -> Option<u64> {
    let nanoseconds = policy?.grace_period?.nanoseconds;
    Some(u64::try_from(nanoseconds).unwrap_or(0) / 1_000_000)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the run directory fit for the task; returns where it is for this process. In a container the agent's path does not exist yet and
/// leads to the mounted directory; elsewhere the task's user is let in, who does not own it.
pub(super) fn prepare_directory(
    directory: &Path,
    sandbox: &Path,
    in_docker: bool,
    role: &str,
) -> Result<PathBuf, String> {
    let failed = |path: &Path, error: io::Error| format!("Failed to initialize sandbox: {}: {error}", path.display());
    if in_docker {
        if !directory.exists() {
            let parent = directory.parent().unwrap_or(directory);
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            std::os::unix::fs::symlink(sandbox, directory).map_err(|error| failed(directory, error))?;
        }
        fs::set_permissions(sandbox, fs::Permissions::from_mode(0o755)).map_err(|error| failed(sandbox, error))?;
        return Ok(directory.to_owned());
    }
    if crate::system::is_root()
        && !role.is_empty()
        // An unknown user is the supervisor's to report.
        && let Ok(Some(user)) = user::by_name(role)
    {
        let mode = fs::metadata(directory).map_err(|error| failed(directory, error))?.permissions().mode() & 0o7777;
        std::os::unix::fs::chown(directory, None, Some(user.identity.gid)).map_err(|error| failed(directory, error))?;
        let mode = fs::Permissions::from_mode(mode | 0o050);
        fs::set_permissions(directory, mode).map_err(|error| failed(directory, error))?;
    }
    Ok(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::v1::{DurationInfo, TaskId};
    use thrift::{DockerImage, DockerParameter, ExecutorConfig, Image, MesosContainer, TaskConfig, encode_value};

    fn config() -> TaskConfig {
        TaskConfig {
            job: Some(JobKey { role: "www".into(), environment: "prod".into(), name: "j".into() }),
            resources: [Resource::RamMb(64), Resource::DiskMb(3), Resource::NumCpus(1.0)].into_iter().collect(),
            executor_config: Some(ExecutorConfig { name: "AuroraExecutor".into(), data: Some("{}".into()) }),
            ..TaskConfig::default()
        }
    }

    fn info(config: Option<TaskConfig>) -> TaskInfo {
        let assigned = AssignedTask {
            task_id: "other".into(),
            slave_host: Some("host".into()),
            task: config,
            assigned_ports: [("http".to_owned(), 31_000)].into(),
            instance_id: 3,
            ..AssignedTask::default()
        };
        TaskInfo {
            task_id: TaskId { value: "t".into() },
            data: Some(encode_value(Protocol::Binary, &assigned).into()),
            ..TaskInfo::default()
        }
    }

    fn read(config: TaskConfig, options: &Options) -> Result<Assignment, String> {
        assignment(&info(Some(config)), options, vec!["A=b".into()])
    }

    #[test]
    fn a_task_is_read_and_runs_as_its_role() {
        let read = read(config(), &Options::default()).unwrap();
        let launch = &read.launch;
        assert_eq!((launch.task_id.as_str(), launch.hostname.as_str(), launch.instance), ("t", "host", 3));
        assert_eq!((launch.memory_bytes, launch.disk_bytes), (64 << 20, 3 << 20));
        assert_eq!((launch.payload.as_slice(), launch.role.as_str()), (&b"{}"[..], "www"));
        assert_eq!(launch.ports, [("http".to_owned(), 31_000)].into());
        assert_eq!((read.grace_ms, launch.stop_timeout_ms, read.in_docker), (60_000, 120_000, false));
        assert!(launch.run_directory_exists && launch.environment.is_empty());
    }

    #[test]
    fn a_task_is_announced_below_the_root_where_there_is_an_ensemble() {
        assert_eq!(read(config(), &Options::default()).unwrap().launch.announcing, None);
        let mut options = Options::default();
        options.announcer.ensemble = Some("zk:1".into());
        options.announcer.serverset_path = "/root/".into();
        let announcing = read(config(), &options).unwrap().launch.announcing.unwrap();
        assert_eq!((announcing.ensemble.as_str(), announcing.path.as_str()), ("zk:1", "/root/www/prod/j"));
    }

    #[test]
    fn flags_and_containers_decide_the_user() {
        let docker = TaskConfig {
            container: Some(Container::Docker(DockerContainer { image: "i".into(), parameters: None })),
            ..config()
        };
        let keep = Options { keep_user: true, preserve_environment: true, ..Options::default() };
        let other = Options { execute_as_user: Some("u".into()), ..Options::default() };
        let role = |config: TaskConfig, options: &Options| read(config, options).unwrap().launch.role;
        assert_eq!(role(docker.clone(), &Options::default()), "");
        assert_eq!(role(config(), &keep), "");
        assert_eq!(role(config(), &other), "u");
        assert!(read(docker, &keep).unwrap().in_docker);
        let parameter = |value: &str| DockerParameter { name: "user".into(), value: value.into() };
        let parameters = Some(vec![parameter("first"), parameter("app:staff")]);
        let of_parameters = TaskConfig {
            container: Some(Container::Docker(DockerContainer { image: "i".into(), parameters })),
            ..config()
        };
        assert_eq!(role(of_parameters.clone(), &Options::default()), "container:app:staff");
        assert_eq!(role(of_parameters, &keep), "container:app:staff");
    }

    #[test]
    fn processes_in_a_container_have_its_variables() {
        let docker = TaskConfig {
            container: Some(Container::Docker(DockerContainer { image: "i".into(), parameters: None })),
            ..config()
        };
        let keep = Options { preserve_environment: true, ..Options::default() };
        let environment = |config: TaskConfig, options: &Options| {
            let variables = vec!["A=b".into(), "MESOS_TASK_ID=t".into(), "LIBPROCESS_IP=127.0.0.1".into()];
            assignment(&info(Some(config)), options, variables).unwrap().launch.environment
        };
        assert!(environment(config(), &Options::default()).is_empty());
        assert_eq!(environment(docker.clone(), &Options::default()), ["A=b"]);
        assert_eq!(environment(docker, &keep).len(), 3);
        assert_eq!(environment(config(), &keep).len(), 3);
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_a_reason() {
        let image = MesosContainer {
            image: Some(Image::Docker(DockerImage { name: "n".into(), tag: "t".into() })),
            volumes: None,
        };
        let options = Options::default();
        assert_eq!(assignment(&TaskInfo::default(), &options, vec![]), Err(NOT_UNDERSTOOD.into()));
        assert_eq!(assignment(&info(None), &options, vec![]), Err(NOT_UNDERSTOOD.into()));
        assert!(read(TaskConfig { container: Some(Container::Mesos(image)), ..config() }, &options).unwrap().in_image);
        assert!(read(TaskConfig { executor_config: None, ..config() }, &options).is_err());
    }

    #[test]
    fn a_policy_states_its_grace() {
        let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds: 1_500_000_000 }) };
        assert_eq!(grace_of(Some(&policy)), Some(1_500));
        assert_eq!(grace_of(Some(&KillPolicy::default())), None);
        assert_eq!(grace_of(None), None);
    }

    #[test]
    fn in_a_container_the_agents_path_leads_to_the_mounted_directory() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = folder.path().join("mounted");
        fs::create_dir(&sandbox).unwrap();
        let directory = folder.path().join("slaves/a/runs/r");
        for _ in 0..2 {
            assert_eq!(prepare_directory(&directory, &sandbox, true, "x").unwrap(), directory);
        }
        fs::write(directory.join("f"), "").unwrap();
        assert!(sandbox.join("f").exists());
        assert_eq!(fs::metadata(&sandbox).unwrap().permissions().mode() & 0o777, 0o755);
        let error = prepare_directory(Path::new("/proc/none/x"), &sandbox, true, "x").unwrap_err();
        assert!(error.starts_with("Failed to initialize sandbox: /proc/none"), "{error}");
    }
}
