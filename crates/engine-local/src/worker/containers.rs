//! What of a task is run how: by the built-in executor on the machine or in a Docker container, as a container alone, or as a project of
//! docker-compose (spec executor 3.2, 5.2, 5.5, 5.8, part 6). Values only; supervisors do it.

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::protocol::{ContainerKind, Containers, Parameter};
use engine::Launch;
use model::TaskConfig;
use model::container::Container;
use model::task::AURORA_EXECUTOR_NAME;

/// Label with the engine directory that containers belong to. The launcher knows it by the same name.
const ENGINE_LABEL: &str = "org.apache.aurora.engine";
/// Labels made of a job's metadata begin like this (spec executor 5.5).
const METADATA_LABEL: &str = "org.apache.aurora.metadata.";
const TIER_LABEL: &str = "org.apache.aurora.tier";
/// Name of the one process of a docker-compose project.
const COMPOSE_PROCESS: &str = "docker-compose";
const MIB: u64 = 1 << 20;

/// What a supervisor is told beside what every task has.
#[derive(Debug, Default)]
pub(super) struct Manner {
    /// The executor's payload.
    pub(super) payload: String,
    pub(super) containers: Option<Containers>,
    /// Request for the fetcher; empty for none.
    pub(super) files: String,
}

/// What is the same for all tasks of this engine.
pub(super) struct Machine<'a> {
    /// The engine directory.
    pub(super) directory: &'a Path,
    pub(super) docker_host: &'a str,
    pub(super) cpu_quota: bool,
}

/// How a task is run; otherwise why this engine cannot.
pub(super) fn manner(launch: &Launch, machine: &Machine<'_>) -> Result<Manner, String> {
    let config = &*launch.config;
    let files = files(config)?;
    let executor = config.executor_config.as_ref().map(|executor| (executor.name.as_str(), executor.data.as_str()));
    match (&config.container, executor) {
        (Container::Mesos { image: Some(_), .. }, _) => {
            Err("This machine's own engine has no Mesos containers with images: use a Docker container, \
                 Container(docker=Docker(image=...)), or run Daybreak on Mesos."
                .to_owned())
        }
        (Container::Mesos { .. }, Some((AURORA_EXECUTOR_NAME, data))) => {
            // GPUs are handed to containers; processes on the machine see all there are.
            Ok(Manner { payload: data.to_owned(), containers: None, files })
        }
        (Container::Mesos { .. }, Some((compose::EXECUTOR_NAME, _))) => project(launch, machine, files),
        (Container::Docker { .. }, Some((compose::EXECUTOR_NAME, _))) => {
            Err("A docker-compose project brings its own containers: leave the job's container out.".to_owned())
        }
        (Container::Docker { image, parameters }, Some((AURORA_EXECUTOR_NAME, data))) => {
            let containers = container(launch, machine, ContainerKind::Processes, image, parameters);
            Ok(Manner { payload: data.to_owned(), containers: Some(containers), files })
        }
        (Container::Docker { image, parameters }, None) => {
            let containers = container(launch, machine, ContainerKind::Alone, image, parameters);
            let payload = one_process(config, &config.job.name, &format!("docker run {image}"));
            Ok(Manner { payload, containers: Some(containers), files })
        }
        (_, Some((name, _))) => Err(format!(
            "Executor {name} is not available on this machine: its own engine has {AURORA_EXECUTOR_NAME} and {} only.",
            compose::EXECUTOR_NAME
        )),
        (_, None) => Err("The task has no executor configuration, so there is nothing to run.".to_owned()),
    }
}

fn files(config: &TaskConfig) -> Result<String, String> {
    if config.mesos_fetcher_uris.is_empty() {
        return Ok(String::new());
    }
    let items = config.mesos_fetcher_uris.iter().map(fetcher::Item::from).collect();
    serde_json::to_string(&fetcher::Request { items }).map_err(|error| error.to_string())
}

fn labels(launch: &Launch, machine: &Machine<'_>) -> BTreeMap<String, String> {
    let config = &*launch.config;
    let metadata = config.metadata.iter().map(|one| (format!("{METADATA_LABEL}{}", one.key), one.value.clone()));
    let tier = config.tier.iter().map(|tier| (TIER_LABEL.to_owned(), tier.clone()));
    let engine = (ENGINE_LABEL.to_owned(), machine.directory.display().to_string());
    metadata.chain(tier).chain([engine]).collect()
}

fn amount(mb: i64) -> u64 {
    u64::try_from(mb).unwrap_or(0) * MIB
}

fn cores(launch: &Launch) -> u64 {
    u64::try_from(launch.config.resources.cpu.0).unwrap_or(0)
}

fn container(
    launch: &Launch,
    machine: &Machine<'_>,
    kind: ContainerKind,
    image: &str,
    parameters: &[(String, String)],
) -> Containers {
    let parameter = |(name, value): &(String, String)| Parameter { name: name.clone(), value: value.clone() };
    Containers {
        kind: kind.into(),
        docker_host: machine.docker_host.to_owned(),
        image: image.to_owned(),
        parameters: parameters.iter().map(parameter).collect(),
        memory_bytes: amount(launch.config.resources.ram_mb),
        cpu_milli: cores(launch),
        cpu_quota: machine.cpu_quota,
        gpus: u32::try_from(launch.config.resources.gpus).unwrap_or(0),
        labels: labels(launch, machine),
        ..Containers::default()
    }
}

/// A project of docker-compose as a task with one process, which a supervisor starts by itself.
fn project(launch: &Launch, machine: &Machine<'_>, files: String) -> Result<Manner, String> {
    let task_id = launch.task_id.as_str().to_owned();
    let request = compose::Request {
        executor_id: format!("{}{task_id}", compose::TASK_PREFIX),
        labels: labels(launch, machine),
        ports: compose::ports_in_order(&launch.ports),
        memory_bytes: amount(launch.config.resources.ram_mb),
        cpu_millis: cores(launch),
        task_id: task_id.clone(),
        directory: String::new(),
    };
    let line = compose::shown(&request.files().map_err(|error| format!("{error}."))?);
    let containers = Containers {
        kind: ContainerKind::Compose.into(),
        docker_host: machine.docker_host.to_owned(),
        memory_bytes: request.memory_bytes,
        project: compose::project_name(&task_id),
        compose_request: serde_json::to_string(&request).map_err(|error| error.to_string())?,
        ..Containers::default()
    };
    let payload = one_process(&launch.config, COMPOSE_PROCESS, &line);
    Ok(Manner { payload, containers: Some(containers), files })
}

/// The payload of a task that has one process, which is shown as `line` and is not run as that. It has neither health checks nor a
/// lifecycle.
fn one_process(config: &TaskConfig, name: &str, line: &str) -> String {
    let resources = serde_json::json!({
        "cpu": config.resources.cpu.0 as f64 / 1000.0,
        "ram": amount(config.resources.ram_mb),
        "disk": amount(config.resources.disk_mb),
    });
    // Braces would ask for values that only a job's own command lines have.
    let line = line.replace("{{", "{ {");
    serde_json::json!({
        "task": { "name": name, "processes": [{ "name": name, "cmdline": line }], "resources": resources },
        "lifecycle": {},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::container::{FetcherUri, Image};
    use model::task::{ExecutorConfig, Metadata};
    use model::{JobKey, TaskId};

    use super::*;

    fn launch(change: impl FnOnce(&mut TaskConfig)) -> Launch {
        let mut config = TaskConfig::new(JobKey::new("www", "prod", "web"), 0.5, 64, 100, "{}");
        config.metadata.insert(Metadata { key: "fileName".into(), value: "a/docker-compose.yml".into() });
        change(&mut config);
        Launch {
            task_id: TaskId("www-prod-web-0-1".into()),
            instance: 0,
            resources: config.resources,
            config: Arc::new(config),
            revocable: false,
            ports: [("port.10".to_owned(), 3), ("port.9".to_owned(), 2), ("admin".to_owned(), 1)].into(),
            assigned_ms: 0,
        }
    }

    fn machine() -> Machine<'static> {
        Machine { directory: Path::new("/d/local"), docker_host: "unix:///s", cpu_quota: false }
    }

    fn named(name: &str) -> Option<ExecutorConfig> {
        Some(ExecutorConfig { name: name.into(), data: "{}".into() })
    }

    #[test]
    fn a_plain_task_stays_plain() {
        let manner = manner(&launch(|_| {}), &machine()).unwrap();
        assert_eq!((manner.payload.as_str(), manner.containers, manner.files.as_str()), ("{}", None, ""));
    }

    #[test]
    fn a_project_gets_labels_and_all_ports_in_order() {
        let manner =
            manner(&launch(|config| config.executor_config = named(compose::EXECUTOR_NAME)), &machine()).unwrap();
        let containers = manner.containers.unwrap();
        assert_eq!((containers.kind(), containers.docker_host.as_str()), (ContainerKind::Compose, "unix:///s"));
        let request: compose::Request = serde_json::from_str(&containers.compose_request).unwrap();
        assert_eq!(request.ports, [1, 2, 3]);
        assert_eq!(request.labels["org.apache.aurora.metadata.fileName"], "a/docker-compose.yml");
        assert_eq!((request.labels[ENGINE_LABEL].as_str(), request.memory_bytes), ("/d/local", 64 * MIB));
        assert_eq!(request.executor_id, "compose-www-prod-web-0-1");
        let without = launch(|config| {
            config.executor_config = named(compose::EXECUTOR_NAME);
            config.metadata.clear();
        });
        assert!(super::manner(&without, &machine()).unwrap_err().contains("fileName"));
    }

    #[test]
    fn a_docker_task_has_processes_or_is_alone() {
        let docker = |parameters: &[(String, String)]| Container::Docker {
            image: "i:1".into(),
            parameters: parameters.to_vec(),
        };
        let with =
            manner(&launch(|config| config.container = docker(&[("env".into(), "A=1".into())])), &machine()).unwrap();
        let containers = with.containers.unwrap();
        assert_eq!((containers.kind(), containers.image.as_str()), (ContainerKind::Processes, "i:1"));
        assert_eq!((containers.parameters.len(), containers.memory_bytes, containers.cpu_milli), (1, 64 * MIB, 500));
        let alone = launch(|config| {
            config.container = docker(&[]);
            config.executor_config = None;
        });
        let alone = manner(&alone, &machine()).unwrap();
        assert_eq!(alone.containers.unwrap().kind(), ContainerKind::Alone);
        assert!(alone.payload.contains(r#""name":"web""#), "its logs are those of a process named after the task");
    }

    #[test]
    fn what_this_engine_cannot_do_is_said_plainly() {
        let image = Image::Docker { name: "i".into(), tag: "1".into() };
        let refused = |change: &dyn Fn(&mut TaskConfig)| manner(&launch(change), &machine()).unwrap_err();
        let unified = refused(&|config| {
            config.container = Container::Mesos { image: Some(image.clone()), volumes: Vec::new() };
        });
        assert!(unified.contains("Docker(image=...)"), "{unified}");
        assert!(refused(&|config| config.executor_config = named("other")).contains("other"));
        assert!(refused(&|config| config.executor_config = None).contains("nothing to run"));
    }

    #[test]
    fn a_jobs_files_are_asked_for_and_never_executable() {
        let uri =
            FetcherUri { value: "http://h/a.tgz".into(), extract: Some(true), cache: Some(true), output_file: None };
        let manner = manner(&launch(|config| config.mesos_fetcher_uris = [uri].into()), &machine()).unwrap();
        let request: fetcher::Request = serde_json::from_str(&manner.files).unwrap();
        let [item] = request.items.as_slice() else { panic!("one file") };
        assert_eq!(
            (item.value.as_str(), item.extract, item.cache, item.executable),
            ("http://h/a.tgz", Some(true), true, false)
        );
    }
}
