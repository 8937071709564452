//! Job and task configurations.

use model::container::{
    Container as ModelContainer, FetcherUri, Image as ModelImage, Volume as ModelVolume, VolumeMode,
};
use model::task::{PartitionPolicy as ModelPartitionPolicy, SlaPolicy as ModelSlaPolicy};
use model::{CpuMillis, Resources};

use super::{ConversionError, Result, refuse, required};
use crate::schema::{
    AppcImage, Constraint, Container, CoordinatorSlaPolicy, CountSlaPolicy, DockerContainer, DockerImage,
    DockerParameter, ExecutorConfig, Identity, Image, JobConfiguration, JobKey, LimitConstraint, MesosContainer,
    MesosFetcherUri, Metadata, Mode, PartitionPolicy, PercentageSlaPolicy, Resource, ResourceAggregate, SlaPolicy,
    TaskConfig, TaskConstraint, ValueConstraint, Volume,
};
use crate::wire::Set;

impl From<JobKey> for model::JobKey {
    fn from(key: JobKey) -> Self {
        model::JobKey { role: key.role, environment: key.environment, name: key.name }
    }
}

impl From<&model::JobKey> for JobKey {
    fn from(key: &model::JobKey) -> Self {
        JobKey { role: key.role.clone(), environment: key.environment.clone(), name: key.name.clone() }
    }
}

impl From<Metadata> for model::Metadata {
    fn from(metadata: Metadata) -> Self {
        model::Metadata { key: metadata.key, value: metadata.value }
    }
}

impl From<&model::Metadata> for Metadata {
    fn from(metadata: &model::Metadata) -> Self {
        Metadata { key: metadata.key.clone(), value: metadata.value.clone() }
    }
}

impl TryFrom<Constraint> for model::Constraint {
    type Error = ConversionError;

    fn try_from(constraint: Constraint) -> Result<Self> {
        let condition = required(constraint.constraint, &format!("The condition of constraint '{}'", constraint.name))?;
        Ok(model::Constraint {
            name: constraint.name,
            constraint: match condition {
                TaskConstraint::Value(value) => {
                    model::TaskConstraint::Value { negated: value.negated, values: value.values.into_iter().collect() }
                }
                TaskConstraint::Limit(limit) => model::TaskConstraint::Limit { limit: limit.limit },
            },
        })
    }
}

impl From<&model::Constraint> for Constraint {
    fn from(constraint: &model::Constraint) -> Self {
        Constraint {
            name: constraint.name.clone(),
            constraint: Some(match &constraint.constraint {
                model::TaskConstraint::Value { negated, values } => TaskConstraint::Value(ValueConstraint {
                    negated: *negated,
                    values: values.iter().cloned().collect(),
                }),
                model::TaskConstraint::Limit { limit } => TaskConstraint::Limit(LimitConstraint { limit: *limit }),
            }),
        }
    }
}

impl TryFrom<Container> for ModelContainer {
    type Error = ConversionError;

    fn try_from(container: Container) -> Result<Self> {
        Ok(match container {
            Container::Mesos(mesos) => ModelContainer::Mesos {
                image: mesos.image.map(ModelImage::from),
                volumes: mesos
                    .volumes
                    .unwrap_or_default()
                    .into_iter()
                    .map(ModelVolume::try_from)
                    .collect::<Result<_>>()?,
            },
            Container::Docker(docker) => ModelContainer::Docker {
                image: docker.image,
                parameters: docker
                    .parameters
                    .unwrap_or_default()
                    .into_iter()
                    .map(|parameter| (parameter.name, parameter.value))
                    .collect(),
            },
        })
    }
}

impl From<&ModelContainer> for Container {
    fn from(container: &ModelContainer) -> Self {
        match container {
            ModelContainer::Mesos { image, volumes } => Container::Mesos(MesosContainer {
                image: image.as_ref().map(Image::from),
                volumes: some_unless_empty(volumes.iter().map(Volume::from).collect()),
            }),
            ModelContainer::Docker { image, parameters } => {
                let parameters = parameters
                    .iter()
                    .map(|(name, value)| DockerParameter { name: name.clone(), value: value.clone() })
                    .collect();
                Container::Docker(DockerContainer { image: image.clone(), parameters: Some(parameters) })
            }
        }
    }
}

impl From<Image> for ModelImage {
    fn from(image: Image) -> Self {
        match image {
            Image::Docker(docker) => ModelImage::Docker { name: docker.name, tag: docker.tag },
            Image::Appc(appc) => ModelImage::Appc { name: appc.name, image_id: appc.image_id },
        }
    }
}

impl From<&ModelImage> for Image {
    fn from(image: &ModelImage) -> Self {
        match image {
            ModelImage::Docker { name, tag } => Image::Docker(DockerImage { name: name.clone(), tag: tag.clone() }),
            ModelImage::Appc { name, image_id } => {
                Image::Appc(AppcImage { name: name.clone(), image_id: image_id.clone() })
            }
        }
    }
}

impl TryFrom<Volume> for ModelVolume {
    type Error = ConversionError;

    fn try_from(volume: Volume) -> Result<Self> {
        let mode = match required(volume.mode, &format!("The mode (RW or RO) of volume '{}'", volume.container_path))? {
            Mode::Rw => VolumeMode::Rw,
            Mode::Ro => VolumeMode::Ro,
        };
        Ok(ModelVolume { container_path: volume.container_path, host_path: volume.host_path, mode })
    }
}

impl From<&ModelVolume> for Volume {
    fn from(volume: &ModelVolume) -> Self {
        Volume {
            container_path: volume.container_path.clone(),
            host_path: volume.host_path.clone(),
            mode: Some(match volume.mode {
                VolumeMode::Rw => Mode::Rw,
                VolumeMode::Ro => Mode::Ro,
            }),
        }
    }
}

impl From<SlaPolicy> for ModelSlaPolicy {
    fn from(policy: SlaPolicy) -> Self {
        match policy {
            SlaPolicy::Percentage(policy) => ModelSlaPolicy::Percentage {
                percentage_bits: policy.percentage.to_bits(),
                duration_secs: policy.duration_secs,
            },
            SlaPolicy::Count(policy) => {
                ModelSlaPolicy::Count { count: policy.count, duration_secs: policy.duration_secs }
            }
            SlaPolicy::Coordinator(policy) => {
                ModelSlaPolicy::Coordinator { coordinator_url: policy.coordinator_url, status_key: policy.status_key }
            }
        }
    }
}

impl From<&ModelSlaPolicy> for SlaPolicy {
    fn from(policy: &ModelSlaPolicy) -> Self {
        match policy {
            ModelSlaPolicy::Percentage { percentage_bits, duration_secs } => {
                SlaPolicy::Percentage(PercentageSlaPolicy {
                    percentage: f64::from_bits(*percentage_bits),
                    duration_secs: *duration_secs,
                })
            }
            ModelSlaPolicy::Count { count, duration_secs } => {
                SlaPolicy::Count(CountSlaPolicy { count: *count, duration_secs: *duration_secs })
            }
            ModelSlaPolicy::Coordinator { coordinator_url, status_key } => {
                SlaPolicy::Coordinator(CoordinatorSlaPolicy {
                    coordinator_url: coordinator_url.clone(),
                    status_key: status_key.clone(),
                })
            }
        }
    }
}

/// The amounts of a set of resources and the names of the ports in it. Each amount may be given once.
fn resources_from_wire(set: Set<Resource>) -> Result<(Resources, std::collections::BTreeSet<String>)> {
    let mut given = Resources::ZERO;
    let mut seen = [false; 4];
    let mut ports = std::collections::BTreeSet::new();
    for resource in set {
        let (kind, name) = match resource {
            Resource::NumCpus(cores) if !cores.is_finite() => return refuse("numCpus must be a number."),
            Resource::NumCpus(cores) => {
                given.cpu = CpuMillis::from_cores(cores);
                (0, "numCpus")
            }
            Resource::RamMb(amount) => {
                given.ram_mb = amount;
                (1, "ramMb")
            }
            Resource::DiskMb(amount) => {
                given.disk_mb = amount;
                (2, "diskMb")
            }
            Resource::NumGpus(amount) => {
                given.gpus = amount;
                (3, "numGpus")
            }
            Resource::NamedPort(port) => {
                ports.insert(port);
                continue;
            }
        };
        if std::mem::replace(&mut seen[kind], true) {
            return refuse(format!("Resource {name} is given more than once."));
        }
    }
    given.ports = ports.len() as i64;
    Ok((given, ports))
}

impl From<&Resources> for ResourceAggregate {
    /// Always exactly cpu, ram and disk (spec thrift-api 3.3, getQuota).
    fn from(resources: &Resources) -> Self {
        ResourceAggregate {
            resources: Set(vec![
                Resource::NumCpus(resources.cpu.cores()),
                Resource::RamMb(resources.ram_mb),
                Resource::DiskMb(resources.disk_mb),
            ]),
        }
    }
}

impl TryFrom<ResourceAggregate> for Resources {
    type Error = ConversionError;

    /// Exactly cpu, ram and disk, as a quota is given (spec thrift-api 3.6, setQuota).
    fn try_from(aggregate: ResourceAggregate) -> Result<Self> {
        let given = aggregate.resources.len();
        let others =
            aggregate.resources.iter().any(|kind| matches!(kind, Resource::NumGpus(_) | Resource::NamedPort(_)));
        let (resources, _) = resources_from_wire(aggregate.resources)?;
        if given == 3 && !others {
            return Ok(resources);
        }
        refuse("A quota names exactly numCpus, ramMb and diskMb, each once.")
    }
}

fn resources_to_wire(config: &model::TaskConfig) -> Set<Resource> {
    let amounts = &config.resources;
    let mut set = ResourceAggregate::from(amounts).resources.0;
    if amounts.gpus != 0 {
        set.push(Resource::NumGpus(amounts.gpus));
    }
    set.extend(config.requested_ports.iter().cloned().map(Resource::NamedPort));
    Set(set)
}

/// Optional containers without content are left out.
fn some_unless_empty<T>(elements: Vec<T>) -> Option<Vec<T>> {
    if elements.is_empty() { None } else { Some(elements) }
}

impl TryFrom<TaskConfig> for model::TaskConfig {
    type Error = ConversionError;

    fn try_from(config: TaskConfig) -> Result<Self> {
        let (resources, requested_ports) = resources_from_wire(config.resources)?;
        Ok(model::TaskConfig {
            job: required(config.job, "The job key in the task configuration")?.into(),
            owner: config.owner.unwrap_or_default().user,
            is_service: config.is_service,
            priority: config.priority,
            max_task_failures: config.max_task_failures,
            production: config.production,
            tier: config.tier,
            resources,
            requested_ports,
            constraints: config.constraints.into_iter().map(model::Constraint::try_from).collect::<Result<_>>()?,
            task_links: config.task_links.unwrap_or_default(),
            contact_email: config.contact_email,
            executor_config: config
                .executor_config
                .map(|executor| model::ExecutorConfig { name: executor.name, data: executor.data.unwrap_or_default() }),
            metadata: config.metadata.unwrap_or_default().into_iter().map(model::Metadata::from).collect(),
            container: config.container.map(ModelContainer::try_from).transpose()?.unwrap_or_default(),
            mesos_fetcher_uris: config
                .mesos_fetcher_uris
                .unwrap_or_default()
                .into_iter()
                .map(|uri| FetcherUri {
                    value: uri.value,
                    extract: uri.extract,
                    cache: uri.cache,
                    output_file: uri.output_file,
                })
                .collect(),
            partition_policy: config
                .partition_policy
                .map(|policy| ModelPartitionPolicy { reschedule: policy.reschedule, delay_secs: policy.delay_secs }),
            sla_policy: config.sla_policy.map(ModelSlaPolicy::from),
        })
    }
}

impl From<&model::TaskConfig> for TaskConfig {
    fn from(config: &model::TaskConfig) -> Self {
        let uris: Vec<MesosFetcherUri> = config
            .mesos_fetcher_uris
            .iter()
            .map(|uri| MesosFetcherUri {
                value: uri.value.clone(),
                extract: uri.extract,
                cache: uri.cache,
                output_file: uri.output_file.clone(),
            })
            .collect();
        TaskConfig {
            is_service: config.is_service,
            priority: config.priority,
            max_task_failures: config.max_task_failures,
            owner: Some(Identity { user: config.owner.clone() }),
            production: config.production,
            constraints: config.constraints.iter().map(Constraint::from).collect(),
            task_links: Some(config.task_links.clone()),
            contact_email: config.contact_email.clone(),
            executor_config: config
                .executor_config
                .as_ref()
                .map(|executor| ExecutorConfig { name: executor.name.clone(), data: Some(executor.data.clone()) }),
            metadata: Some(config.metadata.iter().map(Metadata::from).collect()),
            job: Some(JobKey::from(&config.job)),
            container: Some(Container::from(&config.container)),
            tier: config.tier.clone(),
            resources: resources_to_wire(config),
            mesos_fetcher_uris: some_unless_empty(uris).map(Set),
            partition_policy: config
                .partition_policy
                .map(|policy| PartitionPolicy { reschedule: policy.reschedule, delay_secs: policy.delay_secs }),
            sla_policy: config.sla_policy.as_ref().map(SlaPolicy::from),
        }
    }
}

impl TryFrom<JobConfiguration> for model::JobConfiguration {
    type Error = ConversionError;

    fn try_from(job: JobConfiguration) -> Result<Self> {
        let task = required(job.task_config, "The task configuration")?;
        Ok(model::JobConfiguration {
            key: required(job.key, "The job key")?.into(),
            owner: job.owner.map(|owner| owner.user),
            cron_schedule: job.cron_schedule,
            cron_collision_policy: job.cron_collision_policy.map(Into::into).unwrap_or_default(),
            task: task.try_into()?,
            instance_count: job.instance_count,
        })
    }
}

impl From<&model::JobConfiguration> for JobConfiguration {
    fn from(job: &model::JobConfiguration) -> Self {
        JobConfiguration {
            cron_schedule: job.cron_schedule.clone(),
            cron_collision_policy: Some(job.cron_collision_policy.into()),
            task_config: Some(TaskConfig::from(&job.task)),
            owner: job.owner.as_ref().map(|user| Identity { user: user.clone() }),
            instance_count: job.instance_count,
            key: Some(JobKey::from(&job.key)),
        }
    }
}
