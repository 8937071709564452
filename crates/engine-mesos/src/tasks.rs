//! Descriptions of tasks for Mesos (spec executor 5.5 to 5.8): what a launch becomes once its resources are cut.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use engine::Launch;
use mesos::json::Json;
use mesos::v1::container_info::{self, DockerInfo, MesosInfo, docker_info};
use mesos::v1::{
    self, CommandInfo, ContainerInfo, ExecutorInfo, Label, Labels, TaskInfo, command_info, discovery_info,
};
use mesos::v1::{Volume, image, volume};
use model::container::{Container, Image, VolumeMode};
use model::executor::Executor;
use model::{Resources, TaskConfig};
use serde_json::json;

use crate::cut::Cut;
use crate::options::CommandTask;

/// Configurations whose encoded form is kept: tasks of one come together, so few are enough.
const PREPARED_MAX: usize = 256;
/// Where the agent mounts the image of a task (spec executor 3.3).
const IMAGE_PATH: &str = "taskfs";
/// Type of a struct and end of fields in Thrift's binary protocol.
const THRIFT_STRUCT: u8 = 12;
const THRIFT_STOP: u8 = 0;
/// Number of the field `task` of `AssignedTask`.
const ASSIGNED_TASK_CONFIG: i16 = 4;

/// Why the description of an executor cannot be given to Mesos.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("executor {name}: {why}")]
pub struct ExecutorError {
    /// Which.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// An executor that jobs may name.
#[derive(Clone, Debug)]
struct Known {
    prefix: String,
    /// Without ids and resources, and with the volumes' mounts apart.
    info: ExecutorInfo,
    mounts: Vec<Volume>,
    /// It changes to the user of a job's Docker parameters by itself.
    changes_user: bool,
}

/// What all tasks of one configuration share.
#[derive(Debug)]
struct Prepared {
    /// Keeps the address by which it is found from meaning another configuration.
    config: Arc<TaskConfig>,
    name: String,
    source: String,
    labels: Option<Labels>,
    /// The configuration in Thrift's binary protocol.
    wire: Vec<u8>,
    start: Start,
}

/// Who runs the task.
#[derive(Debug)]
enum Start {
    Executor { prefix: String, info: Box<ExecutorInfo> },
    Container { container: Option<Box<ContainerInfo>>, command: Box<CommandInfo>, name_prefix: Option<String> },
}

/// Where a task goes.
pub(crate) struct Target<'a> {
    pub(crate) agent_id: &'a str,
    pub(crate) host: &'a str,
}

/// Makes descriptions; remembers what configurations have in common.
#[derive(Debug)]
pub(crate) struct Tasks {
    executors: BTreeMap<String, Known>,
    commands: BTreeMap<String, CommandTask>,
    prepared: HashMap<usize, Prepared>,
    /// Where tasks announce themselves, if they are to.
    discovery_location: Option<String>,
}

impl Tasks {
    pub(crate) fn new(executors: &[Executor], discovery_location: Option<String>) -> Result<Self, ExecutorError> {
        let known = executors.iter().map(|executor| Ok((executor.name.clone(), Known::new(executor)?)));
        Ok(Self {
            executors: known.collect::<Result<_, _>>()?,
            commands: BTreeMap::new(),
            prepared: HashMap::new(),
            discovery_location,
        })
    }

    /// Executors that change to the user of a job's Docker parameters by themselves.
    pub(crate) fn with_root_in_docker(mut self, names: &[String]) -> Self {
        self.executors.iter_mut().for_each(|(name, known)| known.changes_user = names.contains(name));
        self
    }

    /// Commands that configurations may name in the place of an executor.
    pub(crate) fn with_commands(mut self, commands: &[CommandTask]) -> Self {
        self.commands = commands.iter().map(|command| (command.name.clone(), command.clone())).collect();
        self
    }

    /// The description of one task. Errors are for people and say why the task cannot be started as it is.
    pub(crate) fn describe(&mut self, launch: &Launch, target: &Target<'_>, cut: Cut) -> Result<TaskInfo, String> {
        let discovery = self.discovery_location.as_deref().map(|location| discovery(launch, location));
        let prepared = self.prepared(&launch.config)?;
        let task_id = launch.task_id.to_string();
        let mut task = TaskInfo {
            name: prepared.name.clone(),
            task_id: task_id.as_str().into(),
            agent_id: target.agent_id.into(),
            resources: cut.task,
            labels: prepared.labels.clone(),
            discovery,
            ..Default::default()
        };
        match &prepared.start {
            Start::Executor { prefix, info } => {
                let source = format!("{}.{}", prepared.source, launch.instance);
                task.data = Some(assigned_task(launch, target, &prepared.wire));
                task.executor = Some(ExecutorInfo {
                    executor_id: format!("{prefix}{task_id}").into(),
                    resources: cut.executor,
                    labels: Some(with_label(info.labels.clone(), "source", &source)),
                    source: Some(source),
                    ..(**info).clone()
                });
            }
            Start::Container { container, command, name_prefix } => {
                // There is no executor to have a share of its own.
                task.resources.extend(cut.executor);
                if let Some(prefix) = name_prefix {
                    task.name = format!("{prefix}{task_id}");
                }
                task.container = container.as_deref().cloned();
                task.command = Some((**command).clone());
            }
        }
        Ok(task)
    }

    fn prepared(&mut self, config: &Arc<TaskConfig>) -> Result<&Prepared, String> {
        let address = Arc::as_ptr(config) as usize;
        if !self.prepared.contains_key(&address) {
            if self.prepared.len() >= PREPARED_MAX {
                self.prepared.clear();
            }
            let prepared = self.prepare(config)?;
            self.prepared.insert(address, prepared);
        }
        self.prepared.get(&address).ok_or_else(|| "the configuration is not there".to_owned())
    }

    fn prepare(&self, config: &Arc<TaskConfig>) -> Result<Prepared, String> {
        let uris: Vec<command_info::Uri> = config.mesos_fetcher_uris.iter().map(job_uri).collect();
        let named_command = config.executor_config.as_ref().and_then(|executor| self.commands.get(&executor.name));
        let start = match (&config.executor_config, named_command) {
            (_, Some(command)) => command_start(command, uris),
            (Some(executor), None) => {
                let known = self
                    .executors
                    .get(&executor.name)
                    .ok_or_else(|| format!("Configuration for executor '{}' doesn't exist.", executor.name))?;
                let mut info = known.info.clone();
                if let Some(mut container) = container(&config.container, &known.mounts) {
                    if known.changes_user {
                        start_as_root(&mut container);
                    }
                    info.container = Some(container);
                }
                info.command.get_or_insert_default().uris.extend(uris);
                Start::Executor { prefix: known.prefix.clone(), info: Box::new(info) }
            }
            (None, None) => {
                let Container::Docker { .. } = config.container else {
                    return Err("A task without an executor needs a Docker container.".to_owned());
                };
                let container = container(&config.container, &[]).ok_or("The container has no description.")?;
                let command = CommandInfo { shell: Some(false), uris, ..Default::default() };
                Start::Container { container: Some(Box::new(container)), command: Box::new(command), name_prefix: None }
            }
        };
        let job = &config.job;
        Ok(Prepared {
            name: format!("{}/{}/{}", job.role, job.environment, job.name),
            source: format!("{}.{}.{}", job.role, job.environment, job.name),
            labels: labels(config),
            wire: thrift::encode_value(thrift::Protocol::Binary, &thrift::TaskConfig::from(&**config)),
            start,
            config: Arc::clone(config),
        })
    }

    /// Forgets configurations nobody else holds any more.
    pub(crate) fn tidy(&mut self) {
        self.prepared.retain(|_, prepared| Arc::strong_count(&prepared.config) > 1);
    }
}

impl Known {
    fn new(executor: &Executor) -> Result<Self, ExecutorError> {
        let error = |why: String| ExecutorError { name: executor.name.clone(), why };
        let mut value = executor.info.clone();
        let object = value.as_object_mut().ok_or_else(|| error("its description is no JSON object".to_owned()))?;
        object.insert("executor_id".to_owned(), json!({"value": "placeholder"}));
        let info = ExecutorInfo::read_json(&value).map_err(|reason| error(reason.to_string()))?;
        if info.command.is_none() {
            return Err(error("it has no command: Mesos would not know what to start".to_owned()));
        }
        let mounts = executor.volume_mounts.iter().map(host_volume).collect();
        let info = ExecutorInfo { resources: Vec::new(), ..info };
        Ok(Self { prefix: executor.task_prefix.clone(), info, mounts, changes_user: false })
    }
}

/// What the executor takes: all that was placed, less the task's own.
pub(crate) fn executor_share(launch: &Launch) -> Resources {
    let rest = launch.resources - launch.config.resources;
    Resources {
        cpu: model::CpuMillis(rest.cpu.0.max(0)),
        ram_mb: rest.ram_mb.max(0),
        disk_mb: rest.disk_mb.max(0),
        ports: 0,
        gpus: rest.gpus.max(0),
    }
}

/// The task's own part of what was placed.
pub(crate) fn task_share(launch: &Launch) -> Resources {
    launch.resources - executor_share(launch)
}

/// What Mesos runs by itself.
fn command_start(command: &CommandTask, uris: Vec<command_info::Uri>) -> Start {
    let container = command.image.as_ref().map(|image| {
        Box::new(ContainerInfo {
            r#type: container_info::Type::Docker as i32,
            docker: Some(DockerInfo {
                image: image.clone(),
                network: Some(docker_info::Network::Bridge as i32),
                force_pull_image: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        })
    });
    let line = CommandInfo { shell: Some(true), value: Some(command.command.clone()), uris, ..Default::default() };
    Start::Container { container, command: Box::new(line), name_prefix: Some(command.task_name_prefix.clone()) }
}

/// The text for the executor: an `AssignedTask` in Thrift's binary protocol. The configuration, which is most of it, is spliced in as it
/// was encoded once; fields may come in any order.
fn assigned_task(launch: &Launch, target: &Target<'_>, config: &[u8]) -> Bytes {
    let assigned = thrift::AssignedTask {
        task_id: launch.task_id.to_string(),
        slave_id: Some(target.agent_id.to_owned()),
        slave_host: Some(target.host.to_owned()),
        task: None,
        assigned_ports: launch.ports.iter().map(|(name, port)| (name.clone(), i32::from(*port))).collect(),
        instance_id: thrift::convert::instance_to_wire(launch.instance),
    };
    let mut data = thrift::encode_value(thrift::Protocol::Binary, &assigned);
    data.reserve_exact(config.len() + 3);
    data.pop();
    data.push(THRIFT_STRUCT);
    data.extend_from_slice(&ASSIGNED_TASK_CONFIG.to_be_bytes());
    data.extend_from_slice(config);
    data.push(THRIFT_STOP);
    data.into()
}

fn with_label(labels: Option<Labels>, key: &str, value: &str) -> Labels {
    let mut labels = labels.unwrap_or_default();
    labels.labels.push(Label { key: key.to_owned(), value: Some(value.to_owned()) });
    labels
}

fn labels(config: &TaskConfig) -> Option<Labels> {
    let label = |key: String, value: &str| Label { key, value: Some(value.to_owned()) };
    let tier = config.tier.iter().map(|tier| label("org.apache.aurora.tier".to_owned(), tier));
    let metadata = config.metadata.iter();
    let metadata = metadata.map(|it| label(format!("org.apache.aurora.metadata.{}", it.key), &it.value));
    let labels: Vec<Label> = tier.chain(metadata).collect();
    (!labels.is_empty()).then_some(Labels { labels })
}

fn discovery(launch: &Launch, location: &str) -> v1::DiscoveryInfo {
    let job = &launch.config.job;
    let port = |(name, number): (&String, &u16)| v1::Port {
        number: u32::from(*number),
        name: Some(name.clone()),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    };
    v1::DiscoveryInfo {
        visibility: discovery_info::Visibility::Cluster as i32,
        name: Some(format!("{}.{}.{}", job.name, job.environment, job.role)),
        environment: Some(job.environment.clone()),
        location: Some(location.to_owned()),
        ports: Some(v1::Ports { ports: launch.ports.iter().map(port).collect() }),
        ..Default::default()
    }
}

/// A job's own files are never made executable (spec executor 5.5).
fn job_uri(uri: &model::container::FetcherUri) -> command_info::Uri {
    command_info::Uri {
        value: uri.value.clone(),
        executable: Some(false),
        extract: uri.extract,
        cache: uri.cache,
        output_file: uri.output_file.clone(),
    }
}

fn host_volume(volume: &model::container::Volume) -> Volume {
    let mode = match volume.mode {
        VolumeMode::Rw => volume::Mode::Rw,
        VolumeMode::Ro => volume::Mode::Ro,
    };
    Volume {
        container_path: volume.container_path.clone(),
        host_path: Some(volume.host_path.clone()),
        mode: mode as i32,
        ..Default::default()
    }
}

/// The container a task asks for; none where the executor's own description decides.
fn container(container: &Container, mounts: &[Volume]) -> Option<ContainerInfo> {
    match container {
        Container::Mesos { image: None, .. } => None,
        Container::Mesos { image: Some(image), volumes } => {
            let volumes = mounts.iter().cloned().chain(volumes.iter().map(host_volume)).chain([image_volume(image)]);
            Some(ContainerInfo {
                r#type: container_info::Type::Mesos as i32,
                mesos: Some(MesosInfo::default()),
                volumes: volumes.collect(),
                ..Default::default()
            })
        }
        Container::Docker { image, parameters } => {
            let parameter = |(key, value): &(String, String)| v1::Parameter { key: key.clone(), value: value.clone() };
            Some(ContainerInfo {
                r#type: container_info::Type::Docker as i32,
                docker: Some(DockerInfo {
                    image: image.clone(),
                    parameters: parameters.iter().map(parameter).collect(),
                    ..Default::default()
                }),
                volumes: mounts.to_vec(),
                ..Default::default()
            })
        }
    }
}

/// Has Docker start the executor as root in place of the user that the parameters name: that one may not execute what the agent has
/// fetched. The executor finds the user in the task. Without such a parameter the image decides, and nothing is changed.
fn start_as_root(container: &mut ContainerInfo) {
    let Some(docker) = &mut container.docker else { return };
    let named = docker.parameters.len();
    docker.parameters.retain(|parameter| parameter.key != "user");
    if docker.parameters.len() < named {
        docker.parameters.push(v1::Parameter { key: "user".to_owned(), value: "0".to_owned() });
    }
}

/// The task's image, which the agent provides below the executor's own file system.
fn image_volume(task_image: &Image) -> Volume {
    let described = match task_image {
        Image::Docker { name, tag } => v1::Image {
            r#type: image::Type::Docker as i32,
            docker: Some(image::Docker { name: format!("{name}:{tag}"), ..Default::default() }),
            ..Default::default()
        },
        Image::Appc { name, image_id } => v1::Image {
            r#type: image::Type::Appc as i32,
            appc: Some(image::Appc { name: name.clone(), id: Some(image_id.clone()), labels: None }),
            ..Default::default()
        },
    };
    Volume {
        container_path: IMAGE_PATH.to_owned(),
        mode: volume::Mode::Ro as i32,
        image: Some(described),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
