//! A task as `job status --write-json` prints it (spec client-cli 2.2): the wire's names, statuses by name, `isService` and `production` as
//! JSON booleans, every other enum and boolean as a number, no executor configuration.

use serde_json::{Map, Value, json};
use thrift::{
    AssignedTask, Constraint, Container, Image, MesosFetcherUri, Metadata, PartitionPolicy, Resource, ScheduledTask,
    SlaPolicy, TaskConfig, TaskConstraint, Volume,
};

/// An object of the entries that have a value.
fn object(entries: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let entries = entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(entries.collect::<Map<String, Value>>())
}

fn some(value: impl Into<Value>) -> Option<Value> {
    Some(value.into())
}

fn list<T>(items: &[T], convert: fn(&T) -> Value) -> Option<Value> {
    Some(Value::Array(items.iter().map(convert).collect()))
}

fn number(flag: bool) -> Value {
    Value::from(i32::from(flag))
}

/// A task.
pub fn task_json(task: &ScheduledTask) -> Value {
    let events = task.task_events.iter().map(|event| {
        object([
            ("timestamp", some(event.timestamp)),
            ("status", event.status.map(|status| status.name().into())),
            ("message", event.message.clone().map(Value::from)),
            ("scheduler", event.scheduler.clone().map(Value::from)),
        ])
    });
    object([
        ("assignedTask", task.assigned_task.as_ref().map(assigned_json)),
        ("status", task.status.map(|status| status.name().into())),
        ("failureCount", some(task.failure_count)),
        ("taskEvents", Some(Value::Array(events.collect()))),
        ("ancestorId", task.ancestor_id.clone().map(Value::from)),
        ("timesPartitioned", some(task.times_partitioned)),
    ])
}

fn assigned_json(assigned: &AssignedTask) -> Value {
    object([
        ("taskId", some(assigned.task_id.clone())),
        ("slaveId", assigned.slave_id.clone().map(Value::from)),
        ("slaveHost", assigned.slave_host.clone().map(Value::from)),
        ("task", assigned.task.as_ref().map(config_json)),
        ("assignedPorts", Some(json!(assigned.assigned_ports))),
        ("instanceId", some(assigned.instance_id)),
    ])
}

/// A configuration, without its executor's.
pub fn config_json(config: &TaskConfig) -> Value {
    let job = config.job.as_ref();
    object([
        ("job", job.map(|job| json!({ "role": job.role, "environment": job.environment, "name": job.name }))),
        ("owner", config.owner.as_ref().map(|owner| json!({ "user": owner.user }))),
        ("isService", some(config.is_service)),
        ("priority", some(config.priority)),
        ("maxTaskFailures", some(config.max_task_failures)),
        ("production", config.production.map(Value::from)),
        ("tier", config.tier.clone().map(Value::from)),
        ("resources", list(&config.resources, resource_json)),
        ("constraints", list(&config.constraints, constraint_json)),
        ("container", config.container.as_ref().map(container_json)),
        ("metadata", config.metadata.as_deref().and_then(|pairs| list(pairs, metadata_json))),
        ("taskLinks", config.task_links.as_ref().map(|links| json!(links))),
        ("contactEmail", config.contact_email.clone().map(Value::from)),
        ("mesosFetcherUris", config.mesos_fetcher_uris.as_deref().and_then(|uris| list(uris, uri_json))),
        ("partitionPolicy", config.partition_policy.as_ref().map(partition_json)),
        ("slaPolicy", config.sla_policy.as_ref().map(sla_json)),
    ])
}

fn resource_json(resource: &Resource) -> Value {
    match resource {
        Resource::NumCpus(cores) => json!({ "numCpus": cores }),
        Resource::RamMb(megabytes) => json!({ "ramMb": megabytes }),
        Resource::DiskMb(megabytes) => json!({ "diskMb": megabytes }),
        Resource::NamedPort(name) => json!({ "namedPort": name }),
        Resource::NumGpus(count) => json!({ "numGpus": count }),
    }
}

fn constraint_json(constraint: &Constraint) -> Value {
    let condition = constraint.constraint.as_ref().map(|condition| match condition {
        TaskConstraint::Value(value) => {
            json!({ "value": { "negated": number(value.negated), "values": value.values.to_vec() } })
        }
        TaskConstraint::Limit(limit) => json!({ "limit": { "limit": limit.limit } }),
    });
    object([("name", some(constraint.name.clone())), ("constraint", condition)])
}

fn container_json(container: &Container) -> Value {
    match container {
        Container::Mesos(mesos) => json!({ "mesos": object([
            ("image", mesos.image.as_ref().map(|image| match image {
                Image::Docker(docker) => json!({ "docker": { "name": docker.name, "tag": docker.tag } }),
                Image::Appc(appc) => json!({ "appc": { "name": appc.name, "imageId": appc.image_id } }),
            })),
            ("volumes", mesos.volumes.as_deref().and_then(|volumes| list(volumes, volume_json))),
        ]) }),
        Container::Docker(docker) => json!({ "docker": object([
            ("image", some(docker.image.clone())),
            ("parameters", docker.parameters.as_ref().map(|parameters| {
                parameters.iter().map(|pair| json!({ "name": pair.name, "value": pair.value })).collect()
            })),
        ]) }),
    }
}

fn volume_json(volume: &Volume) -> Value {
    object([
        ("containerPath", some(volume.container_path.clone())),
        ("hostPath", some(volume.host_path.clone())),
        ("mode", volume.mode.map(|mode| (mode as i32).into())),
    ])
}

fn metadata_json(pair: &Metadata) -> Value {
    json!({ "key": pair.key, "value": pair.value })
}

fn uri_json(uri: &MesosFetcherUri) -> Value {
    object([
        ("value", some(uri.value.clone())),
        ("extract", uri.extract.map(number)),
        ("cache", uri.cache.map(number)),
        ("outputFile", uri.output_file.clone().map(Value::from)),
    ])
}

fn partition_json(policy: &PartitionPolicy) -> Value {
    object([("reschedule", Some(number(policy.reschedule))), ("delaySecs", policy.delay_secs.map(Value::from))])
}

fn sla_json(policy: &SlaPolicy) -> Value {
    match policy {
        SlaPolicy::Percentage(policy) => json!({ "percentageSlaPolicy": {
            "percentage": policy.percentage, "durationSecs": policy.duration_secs } }),
        SlaPolicy::Count(policy) => {
            json!({ "countSlaPolicy": { "count": policy.count, "durationSecs": policy.duration_secs } })
        }
        SlaPolicy::Coordinator(policy) => json!({ "coordinatorSlaPolicy": {
            "coordinatorUrl": policy.coordinator_url, "statusKey": policy.status_key } }),
    }
}
