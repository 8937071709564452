//! Between the stored messages and the types of the core. Reading checks what the types cannot express.

use model::constraint::{Constraint, TaskConstraint};
use model::container::{Container, FetcherUri, Image, Volume, VolumeMode};
use model::task::{ExecutorConfig, Metadata, PartitionPolicy, SlaPolicy};
use model::update::{
    InstanceConfig, InstanceRange, InstanceUpdateEvent, Update, UpdateAction, UpdateEvent, UpdateSettings,
    UpdateStatus, UpdateStrategy,
};
use model::{CpuMillis, JobKey, MaintenanceMode, Resources, Role, TaskConfig, TaskStatus, UpdateKey};

use super::schema::*;
use crate::task::{SharedText, Task, TaskEvent};
use crate::updates::progress::{InstanceProgress, InstanceStage};
use crate::view::{HostRecord, MaintenanceRequest};

/// What is wrong with a value; the caller adds the table.
pub(crate) type Reason = String;

fn pair(key: &str, value: &str) -> PairMessage {
    PairMessage { key: key.into(), value: value.into() }
}

fn missing(what: &str) -> Reason {
    format!("{what} is missing")
}

pub(crate) fn resources_message(resources: &Resources) -> ResourcesMessage {
    ResourcesMessage {
        cpu_millis: resources.cpu.0,
        ram_mb: resources.ram_mb,
        disk_mb: resources.disk_mb,
        ports: resources.ports,
        gpus: resources.gpus,
    }
}

pub(crate) fn resources_of(message: &ResourcesMessage) -> Resources {
    Resources {
        cpu: CpuMillis(message.cpu_millis),
        ram_mb: message.ram_mb,
        disk_mb: message.disk_mb,
        ports: message.ports,
        gpus: message.gpus,
    }
}

fn constraint_message(constraint: &Constraint) -> ConstraintMessage {
    let name = constraint.name.clone();
    match &constraint.constraint {
        TaskConstraint::Limit { limit } => ConstraintMessage { name, limit: Some(*limit), ..Default::default() },
        TaskConstraint::Value { negated, values } => {
            ConstraintMessage { name, limit: None, negated: *negated, values: values.iter().cloned().collect() }
        }
    }
}

fn constraint_of(message: ConstraintMessage) -> Constraint {
    let constraint = match message.limit {
        Some(limit) => TaskConstraint::Limit { limit },
        None => TaskConstraint::Value { negated: message.negated, values: message.values.into_iter().collect() },
    };
    Constraint { name: message.name, constraint }
}

fn container_message(container: &Container) -> ContainerMessage {
    match container {
        Container::Docker { image, parameters } => ContainerMessage {
            docker_image: Some(image.clone()),
            docker_parameters: parameters.iter().map(|(key, value)| pair(key, value)).collect(),
            ..Default::default()
        },
        Container::Mesos { image, volumes } => {
            let mut message = ContainerMessage::default();
            match image {
                Some(Image::Docker { name, tag }) => message.image_docker = Some(pair(name, tag)),
                Some(Image::Appc { name, image_id }) => message.image_appc = Some(pair(name, image_id)),
                None => {}
            }
            message.volumes = volumes
                .iter()
                .map(|volume| VolumeMessage {
                    container_path: volume.container_path.clone(),
                    host_path: volume.host_path.clone(),
                    read_only: volume.mode == VolumeMode::Ro,
                })
                .collect();
            message
        }
    }
}

fn container_of(message: ContainerMessage) -> Container {
    if let Some(image) = message.docker_image {
        let parameters = message.docker_parameters.into_iter().map(|pair| (pair.key, pair.value)).collect();
        return Container::Docker { image, parameters };
    }
    let image = match (message.image_docker, message.image_appc) {
        (Some(image), _) => Some(Image::Docker { name: image.key, tag: image.value }),
        (None, Some(image)) => Some(Image::Appc { name: image.key, image_id: image.value }),
        (None, None) => None,
    };
    let volumes = message
        .volumes
        .into_iter()
        .map(|volume| Volume {
            container_path: volume.container_path,
            host_path: volume.host_path,
            mode: if volume.read_only { VolumeMode::Ro } else { VolumeMode::Rw },
        })
        .collect();
    Container::Mesos { image, volumes }
}

fn sla_message(policy: &SlaPolicy) -> SlaPolicyMessage {
    match policy {
        SlaPolicy::Percentage { percentage_bits, duration_secs } => SlaPolicyMessage {
            percentage_bits: Some(*percentage_bits),
            duration_secs: *duration_secs,
            ..Default::default()
        },
        SlaPolicy::Count { count, duration_secs } => {
            SlaPolicyMessage { count: Some(*count), duration_secs: *duration_secs, ..Default::default() }
        }
        SlaPolicy::Coordinator { coordinator_url, status_key } => {
            SlaPolicyMessage { coordinator: Some(pair(coordinator_url, status_key)), ..Default::default() }
        }
    }
}

fn sla_of(message: SlaPolicyMessage) -> Result<SlaPolicy, Reason> {
    let duration_secs = message.duration_secs;
    match (message.percentage_bits, message.count, message.coordinator) {
        (Some(percentage_bits), None, None) => Ok(SlaPolicy::Percentage { percentage_bits, duration_secs }),
        (None, Some(count), None) => Ok(SlaPolicy::Count { count, duration_secs }),
        (None, None, Some(pair)) => Ok(SlaPolicy::Coordinator { coordinator_url: pair.key, status_key: pair.value }),
        _ => Err("the SLA policy is of no known kind".into()),
    }
}

pub(crate) fn config_message(config: &TaskConfig) -> ConfigMessage {
    let job = &config.job;
    ConfigMessage {
        job: Some(JobKeyMessage {
            role: job.role.clone(),
            environment: job.environment.clone(),
            name: job.name.clone(),
        }),
        owner: config.owner.clone(),
        is_service: config.is_service,
        priority: config.priority,
        max_task_failures: config.max_task_failures,
        production: config.production,
        tier: config.tier.clone(),
        resources: Some(resources_message(&config.resources)),
        requested_ports: config.requested_ports.iter().cloned().collect(),
        constraints: config.constraints.iter().map(constraint_message).collect(),
        task_links: config.task_links.iter().map(|(key, value)| pair(key, value)).collect(),
        contact_email: config.contact_email.clone(),
        executor: config.executor_config.as_ref().map(|executor| pair(&executor.name, &executor.data)),
        metadata: config.metadata.iter().map(|entry| pair(&entry.key, &entry.value)).collect(),
        container: Some(container_message(&config.container)),
        fetcher_uris: config
            .mesos_fetcher_uris
            .iter()
            .map(|uri| FetcherUriMessage {
                value: uri.value.clone(),
                extract: uri.extract,
                cache: uri.cache,
                output_file: uri.output_file.clone(),
            })
            .collect(),
        partition_policy: config
            .partition_policy
            .map(|policy| PartitionPolicyMessage { reschedule: policy.reschedule, delay_secs: policy.delay_secs }),
        sla_policy: config.sla_policy.as_ref().map(sla_message),
    }
}

pub(crate) fn config_of(message: ConfigMessage) -> Result<TaskConfig, Reason> {
    let job = message.job.ok_or_else(|| missing("the job key"))?;
    let metadata = message.metadata.into_iter().map(|pair| Metadata { key: pair.key, value: pair.value }).collect();
    let uris = message.fetcher_uris.into_iter().map(|uri| FetcherUri {
        value: uri.value,
        extract: uri.extract,
        cache: uri.cache,
        output_file: uri.output_file,
    });
    Ok(TaskConfig {
        job: JobKey { role: job.role, environment: job.environment, name: job.name },
        owner: message.owner,
        is_service: message.is_service,
        priority: message.priority,
        max_task_failures: message.max_task_failures,
        production: message.production,
        tier: message.tier,
        resources: resources_of(&message.resources.unwrap_or_default()),
        requested_ports: message.requested_ports.into_iter().collect(),
        constraints: message.constraints.into_iter().map(constraint_of).collect(),
        task_links: message.task_links.into_iter().map(|pair| (pair.key, pair.value)).collect(),
        contact_email: message.contact_email,
        executor_config: message.executor.map(|pair| ExecutorConfig { name: pair.key, data: pair.value }),
        metadata,
        container: container_of(message.container.unwrap_or_default()),
        mesos_fetcher_uris: uris.collect(),
        partition_policy: message
            .partition_policy
            .map(|policy| PartitionPolicy { reschedule: policy.reschedule, delay_secs: policy.delay_secs }),
        sla_policy: message.sla_policy.map(sla_of).transpose()?,
    })
}

pub(crate) fn task_message(task: &Task, config: u64, offer_role: Option<&Role>) -> TaskMessage {
    TaskMessage {
        config,
        instance: task.instance,
        status: task.status as i32,
        failure_count: task.failure_count,
        times_partitioned: task.times_partitioned,
        ancestor: task.ancestor.as_ref().map(|id| id.as_str().to_owned()),
        events: task
            .events
            .iter()
            .map(|event| EventMessage {
                timestamp_ms: event.timestamp_ms,
                status: event.status as i32,
                message: event.message.as_deref().map(str::to_owned),
            })
            .collect(),
        agent_id: task.agent_id.as_deref().map(str::to_owned),
        host: task.host.as_deref().cloned(),
        ports: task.ports.iter().map(|(name, port)| PortMessage { name: name.clone(), port: (*port).into() }).collect(),
        offer_role: offer_role.cloned(),
    }
}

pub(crate) fn status_of(id: i32) -> Result<TaskStatus, Reason> {
    TaskStatus::from_id(id).ok_or_else(|| format!("task status {id} is unknown"))
}

pub(crate) fn task_events_of(
    messages: Vec<EventMessage>,
    mut shared: impl FnMut(&str) -> SharedText,
) -> Result<Vec<TaskEvent>, Reason> {
    let events: Vec<TaskEvent> = messages
        .into_iter()
        .map(|event| {
            let status = status_of(event.status)?;
            Ok(TaskEvent {
                timestamp_ms: event.timestamp_ms,
                status,
                message: event.message.as_deref().map(&mut shared),
            })
        })
        .collect::<Result<_, Reason>>()?;
    if events.is_empty() { Err(missing("the history")) } else { Ok(events) }
}

fn range_messages(ranges: &[InstanceRange]) -> Vec<RangeMessage> {
    ranges.iter().map(|range| RangeMessage { first: range.first, last: range.last }).collect()
}

fn ranges_of(messages: &[RangeMessage]) -> Vec<InstanceRange> {
    messages.iter().map(|range| InstanceRange { first: range.first, last: range.last }).collect()
}

fn settings_message(settings: &UpdateSettings) -> UpdateSettingsMessage {
    let (strategy, group_sizes, autopause_after_batch) = match &settings.strategy {
        UpdateStrategy::Queue { group_size } => (0, vec![*group_size], false),
        UpdateStrategy::Batch { group_size, autopause_after_batch } => (1, vec![*group_size], *autopause_after_batch),
        UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch } => {
            (2, group_sizes.clone(), *autopause_after_batch)
        }
    };
    UpdateSettingsMessage {
        strategy,
        group_sizes,
        autopause_after_batch,
        max_per_instance_failures: settings.max_per_instance_failures,
        max_failed_instances: settings.max_failed_instances,
        min_wait_in_running_ms: settings.min_wait_in_running_ms,
        rollback_on_failure: settings.rollback_on_failure,
        only_these_instances: range_messages(&settings.only_these_instances),
        block_if_no_pulses_after_ms: settings.block_if_no_pulses_after_ms,
        sla_aware: settings.sla_aware,
    }
}

fn settings_of(message: UpdateSettingsMessage) -> Result<UpdateSettings, Reason> {
    let autopause_after_batch = message.autopause_after_batch;
    let strategy = match (message.strategy, message.group_sizes.as_slice()) {
        (0, [group_size]) => UpdateStrategy::Queue { group_size: *group_size },
        (1, [group_size]) => UpdateStrategy::Batch { group_size: *group_size, autopause_after_batch },
        (2, sizes) => UpdateStrategy::VariableBatch { group_sizes: sizes.to_vec(), autopause_after_batch },
        (strategy, _) => return Err(format!("update strategy {strategy} is unknown")),
    };
    Ok(UpdateSettings {
        strategy,
        max_per_instance_failures: message.max_per_instance_failures,
        max_failed_instances: message.max_failed_instances,
        min_wait_in_running_ms: message.min_wait_in_running_ms,
        rollback_on_failure: message.rollback_on_failure,
        only_these_instances: ranges_of(&message.only_these_instances),
        block_if_no_pulses_after_ms: message.block_if_no_pulses_after_ms,
        sla_aware: message.sla_aware,
    })
}

fn instance_config_message(config: &InstanceConfig) -> InstanceConfigMessage {
    InstanceConfigMessage { task: Some(config_message(&config.task)), instances: range_messages(&config.instances) }
}

fn instance_config_of(message: InstanceConfigMessage) -> Result<InstanceConfig, Reason> {
    let task = config_of(message.task.ok_or_else(|| missing("the configuration"))?)?;
    Ok(InstanceConfig { task, instances: ranges_of(&message.instances) })
}

pub(crate) fn update_message(update: &Update) -> UpdateMessage {
    UpdateMessage {
        user: update.user.clone(),
        settings: Some(settings_message(&update.settings)),
        metadata: update.metadata.iter().map(|entry| pair(&entry.key, &entry.value)).collect(),
        initial: update.initial.iter().map(instance_config_message).collect(),
        desired: update.desired.as_ref().map(instance_config_message),
    }
}

/// The update without its events.
pub(crate) fn update_of(key: UpdateKey, message: UpdateMessage) -> Result<Update, Reason> {
    Ok(Update {
        key,
        user: message.user,
        settings: settings_of(message.settings.ok_or_else(|| missing("the settings"))?)?,
        metadata: message.metadata.into_iter().map(|pair| Metadata { key: pair.key, value: pair.value }).collect(),
        initial: message.initial.into_iter().map(instance_config_of).collect::<Result<_, _>>()?,
        desired: message.desired.map(instance_config_of).transpose()?,
        events: Vec::new(),
        instance_events: Vec::new(),
    })
}

pub(crate) fn update_event_message(event: &UpdateEvent) -> UpdateEventMessage {
    UpdateEventMessage {
        status: event.status as i32,
        timestamp_ms: event.timestamp_ms,
        user: event.user.clone(),
        message: event.message.clone(),
    }
}

pub(crate) fn update_event_of(message: UpdateEventMessage) -> Result<UpdateEvent, Reason> {
    let status =
        UpdateStatus::from_id(message.status).ok_or_else(|| format!("update status {} is unknown", message.status))?;
    Ok(UpdateEvent { status, timestamp_ms: message.timestamp_ms, user: message.user, message: message.message })
}

pub(crate) fn instance_event_message(event: &InstanceUpdateEvent) -> InstanceEventMessage {
    InstanceEventMessage {
        instance: event.instance,
        action: event.action as i32,
        timestamp_ms: event.timestamp_ms,
        message: event.message.clone(),
    }
}

pub(crate) fn instance_event_of(message: InstanceEventMessage) -> Result<InstanceUpdateEvent, Reason> {
    let action =
        UpdateAction::from_id(message.action).ok_or_else(|| format!("update action {} is unknown", message.action))?;
    Ok(InstanceUpdateEvent {
        instance: message.instance,
        timestamp_ms: message.timestamp_ms,
        action,
        message: message.message,
    })
}

pub(crate) fn progress_message(progress: &InstanceProgress) -> ProgressMessage {
    let InstanceProgress { stage, failures, begun } = *progress;
    ProgressMessage { stage: stage as i32, failures, begun }
}

pub(crate) fn progress_of(message: ProgressMessage) -> Result<InstanceProgress, Reason> {
    let stage =
        InstanceStage::from_id(message.stage).ok_or_else(|| format!("update stage {} is unknown", message.stage))?;
    Ok(InstanceProgress { stage, failures: message.failures, begun: message.begun })
}

pub(crate) fn host_message(host: &HostRecord) -> HostMessage {
    HostMessage {
        agent_id: host.agent_id.clone(),
        attributes: host
            .attributes
            .iter()
            .map(|(name, values)| AttributeMessage { name: name.clone(), values: values.clone() })
            .collect(),
        mode: if host.mode == MaintenanceMode::None { 0 } else { host.mode as i32 },
    }
}

pub(crate) fn host_of(message: HostMessage) -> Result<HostRecord, Reason> {
    let mode = match message.mode {
        0 => MaintenanceMode::None,
        id => MaintenanceMode::from_id(id).ok_or_else(|| format!("maintenance mode {id} is unknown"))?,
    };
    let attributes = message.attributes.into_iter().map(|attribute| (attribute.name, attribute.values)).collect();
    Ok(HostRecord { agent_id: message.agent_id, attributes, mode })
}

pub(crate) fn maintenance_message(request: &MaintenanceRequest) -> MaintenanceMessage {
    MaintenanceMessage {
        default_policy: Some(sla_message(&request.default_policy)),
        timeout_secs: request.timeout_secs,
        created_ms: request.created_ms,
    }
}

pub(crate) fn maintenance_of(message: MaintenanceMessage) -> Result<MaintenanceRequest, Reason> {
    Ok(MaintenanceRequest {
        default_policy: sla_of(message.default_policy.ok_or_else(|| missing("the default policy"))?)?,
        timeout_secs: message.timeout_secs,
        created_ms: message.created_ms,
    })
}

/// Key of an update's record; identifiers hold no zero byte, so keys of different updates differ and none begins another.
pub(crate) fn update_key_bytes(key: &UpdateKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [&key.job.role, &key.job.environment, &key.job.name, &key.id] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Key of an event's record.
pub(crate) fn event_key_bytes(key: &UpdateKey, number: usize) -> Vec<u8> {
    let mut bytes = update_key_bytes(key);
    bytes.extend_from_slice(&(number as u32).to_be_bytes());
    bytes
}

/// Reads the key of an update's record.
pub(crate) fn update_key_of(bytes: &[u8]) -> Option<UpdateKey> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
    let mut parts = text.split('\0').map(str::to_owned);
    let (role, environment, name, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(UpdateKey { job: JobKey { role, environment, name }, id })
}

/// Reads the key of an event's record.
pub(crate) fn event_key_of(bytes: &[u8]) -> Option<(UpdateKey, usize)> {
    let (key, number) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    Some((update_key_of(key)?, u32::from_be_bytes(number.try_into().ok()?) as usize))
}
