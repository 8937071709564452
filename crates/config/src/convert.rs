//! From an evaluated job to the words of the scheduler, with every check that needs no scheduler (spec config-dsl 4, 5.2, 5.3).

use std::collections::{BTreeMap, BTreeSet};

use model::constraint::{Constraint, DEDICATED, TaskConstraint};
use model::container::{Container, Image, Volume, VolumeMode};
use model::job::{CronCollisionPolicy, JobConfiguration};
use model::key::{JobKey, is_identifier};
use model::process::{Late, Payload, check_payload, ports};
use model::resource::{CpuMillis, Resources};
use model::task::{ExecutorConfig, Metadata, PartitionPolicy, SlaPolicy, TaskConfig};
use model::tier::Tiers;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{ConfigError, ErrorKind};
use crate::job::{Content, Job, Unbound};
use crate::payload::{self, Insertions};
use crate::place;
use crate::schema::{AURORA_EXECUTOR_NAME, MEBIBYTE};
use crate::settings::UpdateShape;
use crate::suggest::listed;

/// The tiers a file is checked against when no scheduler is asked: those that every cluster has unless its operator changes them.
pub fn default_tiers() -> Tiers {
    Tiers::default()
}

/// A job ready to be submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The cluster it is for.
    pub cluster: String,
    /// The job in the scheduler's words.
    pub job: JobConfiguration,
    /// All set fields and defaults of the job as JSON with tier and production filled in: what `job inspect --write-json` shows.
    pub raw: Value,
    /// What the user should know although it stops nothing, each a sentence.
    pub warnings: Vec<String>,
    /// The job asks for its hooks to be run.
    pub enable_hooks: bool,
}

/// The parts of a job's JSON that are read here. Only a job that passed its check is read, so shapes are certain.
#[derive(Deserialize)]
struct JobShape {
    name: String,
    role: String,
    contact: Option<String>,
    cluster: String,
    environment: String,
    instances: i64,
    task: TaskShape,
    announce: Option<AnnouncerShape>,
    tier: Option<String>,
    cron_schedule: Option<String>,
    cron_collision_policy: String,
    update_config: UpdateShape,
    #[serde(default)]
    constraints: BTreeMap<String, String>,
    metadata: Vec<MetadataShape>,
    service: bool,
    max_task_failures: i64,
    production: bool,
    priority: i64,
    health_check_config: HealthShape,
    executor_config: ExecutorShape,
    enable_hooks: bool,
    partition_policy: Option<PartitionShape>,
    sla_policy: Option<SlaShape>,
    container: Option<ContainerShape>,
}

#[derive(Deserialize)]
struct TaskShape {
    #[serde(default)]
    processes: Vec<Value>,
    resources: Option<ResourcesShape>,
}

#[derive(Deserialize)]
struct ResourcesShape {
    cpu: f64,
    ram: i64,
    disk: i64,
    gpu: i64,
}

#[derive(Deserialize)]
struct AnnouncerShape {
    primary_port: String,
    #[serde(default)]
    portmap: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct MetadataShape {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct HealthShape {
    initial_interval_secs: f64,
    interval_secs: f64,
    max_consecutive_failures: i64,
    min_consecutive_successes: i64,
}

#[derive(Deserialize)]
struct ExecutorShape {
    name: String,
    data: String,
}

impl ExecutorShape {
    /// Whether the executor runs what the task says; another one has data of its own, and what it runs is its own affair.
    fn runs_processes(&self) -> bool {
        self.name == AURORA_EXECUTOR_NAME
    }
}

#[derive(Deserialize)]
struct PartitionShape {
    reschedule: bool,
    delay_secs: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SlaShape {
    Coordinator { coordinator_url: String, status_key: String },
    Count { count: i64, duration_secs: i64 },
    Percentage { percentage: f64, duration_secs: i64 },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ContainerShape {
    Mesos { image: Option<ImageShape>, volumes: Vec<VolumeShape> },
    Docker { image: String, parameters: Vec<ParameterShape> },
    Wrapped { docker: Box<ContainerShape> },
    Empty {},
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ImageShape {
    Docker { name: String, tag: String },
    Appc { name: String, image_id: String },
}

#[derive(Deserialize)]
struct VolumeShape {
    container_path: String,
    host_path: String,
    mode: String,
}

#[derive(Deserialize)]
struct ParameterShape {
    name: String,
    value: String,
}

impl Job {
    /// The job in the scheduler's words, or what is wrong with it. `owner` is the user who submits it; `tiers` are those of the
    /// cluster, or [`default_tiers`].
    pub fn submission(&self, owner: &str, tiers: &Tiers) -> Result<Submission, ConfigError> {
        let (content, shape) = self.checked()?;
        let mut warnings = self.warnings.clone();
        let (tier, production) = tier_and_production(&shape, tiers, &mut warnings);
        let raw = with_tier(&content.raw, tier.as_deref(), production);
        let key = job_key(&shape).map_err(|(field, why)| self.invalid_field("", field, why))?;
        let payload = executor_payload(&raw);
        let ports = self.check_task(&shape, &payload, &mut warnings)?;
        let task = TaskConfig {
            job: key.clone(),
            owner: owner.to_owned(),
            is_service: shape.service,
            priority: self.int32("priority", shape.priority)?,
            max_task_failures: self.int32("max_task_failures", shape.max_task_failures)?,
            production: Some(production),
            tier,
            resources: resources(&shape, ports.len())
                .map_err(|(field, why)| self.invalid_field("task.resources", field, why))?,
            requested_ports: ports,
            constraints: constraints(&shape.constraints).map_err(|why| self.invalid_field("", "constraints", why))?,
            task_links: BTreeMap::new(),
            contact_email: shape.contact,
            executor_config: Some(executor_config(shape.executor_config, &payload, &content.insertions)),
            metadata: shape.metadata.into_iter().map(|m| Metadata { key: m.key, value: m.value }).collect(),
            container: container(shape.container).map_err(|why| self.invalid_field("", "container", why))?,
            mesos_fetcher_uris: BTreeSet::new(),
            partition_policy: shape
                .partition_policy
                .map(|policy| PartitionPolicy { reschedule: policy.reschedule, delay_secs: Some(policy.delay_secs) }),
            sla_policy: shape.sla_policy.map(sla_policy),
        };
        let job = JobConfiguration {
            key,
            owner: Some(owner.to_owned()),
            cron_schedule: shape.cron_schedule,
            cron_collision_policy: cron_policy(&shape.cron_collision_policy)
                .map_err(|why| self.invalid_field("", "cron_collision_policy", why))?,
            task,
            instance_count: self.int32("instances", shape.instances)?,
        };
        Ok(Submission { cluster: shape.cluster, job, raw, warnings, enable_hooks: shape.enable_hooks })
    }

    /// The content and its shape, once the job is known to be complete, resolved and sensible.
    fn checked(&self) -> Result<(&Content, JobShape), ConfigError> {
        let Some(content) = &self.content else {
            let reason = format!("the job {} was not asked for when its file was evaluated", self.key());
            return Err(ConfigError::new(ErrorKind::Internal, reason));
        };
        if let Some(why) = &content.broken {
            return Err(self.invalid(why.clone()));
        }
        if let Some((why, place)) = &content.failed_check {
            let mut error = self.failed_check(why, content);
            if !content.advice.is_empty() {
                error.help.clone_from(&content.advice);
            }
            return Err(match place {
                Some(place) => error.at(place.clone()),
                None => error,
            });
        }
        self.check_unbound(&content.unbound, content.is_data)?;
        let shape: JobShape = serde_json::from_value(content.raw.clone())
            .map_err(|error| ConfigError::new(ErrorKind::Internal, format!("the job {}: {error}", self.key())))?;
        check_numbers(&shape).map_err(|(part, field, why)| self.invalid_field(part, field, why))?;
        Ok((content, shape))
    }

    /// The update part of the job's content; for [`crate::settings`].
    pub(crate) fn update_shape(&self) -> Result<UpdateShape, ConfigError> {
        self.checked().map(|(_, shape)| shape.update_config)
    }

    /// A failure of this job that a field of one of its parts is to blame for.
    pub(crate) fn invalid_field(&self, part: &str, field: &str, why: impl Into<String>) -> ConfigError {
        let error = self.invalid(why);
        match self.content.as_ref().and_then(|content| place::of_field(&content.parts, part, field)) {
            Some(place) => error.at(place),
            None => error,
        }
    }

    /// A failure of the job's task, from the words in which the executor would refuse it.
    fn invalid_task(&self, payload: &Value, why: &str) -> ConfigError {
        // The way to a field stands in front of the words.
        if let Some((part, field)) = why.split(": ").next().and_then(|way| way.rsplit_once('.'))
            && part.starts_with("task")
        {
            return self.invalid_field(part, field, why);
        }
        let quoted = why.split('\'').nth(1).unwrap_or_default();
        let processes = payload["task"]["processes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let number = processes.iter().position(|process| process["name"] == quoted);
        let reason = format!("its task is invalid: {why}");
        match number {
            _ if why.contains("portmap") => self.invalid_field("announce", "portmap", reason),
            Some(number) if why.starts_with("process name") => {
                self.invalid_field(&format!("task.processes[{number}]"), "name", reason)
            }
            _ => self.invalid_field("task", "constraints", reason),
        }
    }

    /// A failure of this job.
    pub(crate) fn invalid(&self, why: impl Into<String>) -> ConfigError {
        let reason = format!("the job {} is invalid: {}", self.key(), why.into());
        let error = ConfigError::new(ErrorKind::Invalid, reason);
        match self.content.as_ref().and_then(|content| content.place.clone()) {
            Some(place) => error.at(place),
            None => error.in_file(&self.file),
        }
    }

    fn int32(&self, what: &str, value: i64) -> Result<i32, ConfigError> {
        i32::try_from(value)
            .map_err(|_| self.invalid_field("", what, format!("{what} is {value}, which is beyond {}", i32::MAX)))
    }

    fn failed_check(&self, why: &str, content: &Content) -> ConfigError {
        let mut error = self.invalid(why);
        if let Some((structure, field)) = required_field(why) {
            let structure = if structure == "MesosJob" { "Job" } else { structure };
            error = error.help(format!("set {field} of the {structure}, as in {structure}({field} = ...)"));
        } else if let Some(reference) = content.unbound.first().filter(|_| why.contains("{{")) {
            error = error.help(bind_advice(&reference.address, content.is_data));
        }
        error
    }

    fn check_unbound(&self, unbound: &[Unbound], is_data: bool) -> Result<(), ConfigError> {
        let unexpected: Vec<&Unbound> = unbound.iter().filter(|reference| !is_late(&reference.address)).collect();
        let Some(first) = unexpected.first() else { return Ok(()) };
        let addresses: Vec<&str> = unexpected.iter().map(|reference| reference.address.as_str()).collect();
        let late = "{{mesos.instance}}, {{mesos.hostname}}, {{thermos.task_id}} and {{thermos.ports[name]}}";
        let error = self
            .invalid(format!("unexpected unbound references: {}", listed(&addresses)))
            .help(bind_advice(&first.address, is_data))
            .help(format!("only {late} are filled in when the task runs"));
        Err(match &first.place {
            Some(place) => error.at(place.clone()),
            None => error,
        })
    }

    /// What concerns the task as a whole: processes, their order, ports. Gives the names of the ports to ask for.
    fn check_task(
        &self,
        shape: &JobShape,
        payload: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<BTreeSet<String>, ConfigError> {
        let late = Late::<Payload>::from_value(payload.clone())
            .map_err(|error| self.invalid_task(payload, &error.to_string()))?;
        if shape.executor_config.runs_processes() {
            check_payload(&late).map_err(|error| self.invalid_task(payload, &error.to_string()))?;
        }
        let requested = ports::requested(&late).map_err(|error| self.invalid_task(payload, &error.to_string()))?;
        let Some(announce) = &shape.announce else { return Ok(requested) };
        let fixed: Vec<&String> =
            announce.portmap.iter().filter(|(_, port)| is_number(port)).map(|(name, _)| name).collect();
        if !fixed.is_empty() && !shape.constraints.contains_key(DEDICATED) {
            let names: Vec<_> = fixed.iter().map(|name| name.as_str()).collect();
            let why = format!("fixed port numbers in the portmap ({}) need dedicated hosts", names.join(", "));
            return Err(self
                .invalid_field("announce", "portmap", why)
                .help("add constraints = {'dedicated': 'role/name'}, or map to a port name"));
        }
        if !requested.contains(&announce.primary_port) && !announce.portmap.contains_key(&announce.primary_port) {
            warnings.push(format!(
                "announcer specified primary port as '{}' but no such port is requested or mapped",
                announce.primary_port
            ));
        }
        Ok(requested)
    }
}

fn bind_advice(reference: &str, is_data: bool) -> String {
    let how = if is_data { "under 'bind'" } else { "with .bind()" };
    format!("give {{{{{reference}}}}} a value {how} in the file, or with --bind {reference}=VALUE")
}

/// May the reference be left to the running task?
fn is_late(reference: &str) -> bool {
    matches!(reference, "mesos.instance" | "mesos.hostname" | "thermos.task_id")
        || reference.starts_with("thermos.ports")
}

/// The struct and field of a check text that ends in `Struct[field] is required.`
fn required_field(why: &str) -> Option<(&str, &str)> {
    let last = why.strip_suffix("] is required.")?.rsplit(": ").next()?;
    last.split_once('[')
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok()
}

fn job_key(shape: &JobShape) -> Result<JobKey, (&'static str, String)> {
    for (what, text) in [("role", &shape.role), ("environment", &shape.environment), ("name", &shape.name)] {
        if !is_identifier(text) {
            return Err((what, format!("invalid {what} '{text}': use 1 to 255 letters, digits, '_', '-' and '.'")));
        }
    }
    Ok(JobKey::new(&shape.role, &shape.environment, &shape.name))
}

/// Checks the numbers of a job; gives the part and the field that are wrong, and why.
fn check_numbers(shape: &JobShape) -> Result<(), (&'static str, &'static str, String)> {
    if shape.task.processes.is_empty() && shape.executor_config.runs_processes() {
        return Err(("task", "processes", "its task has no processes".to_owned()));
    }
    if shape.instances < 1 {
        let why = format!("instances is {}; a job has at least one", shape.instances);
        return Err(("", "instances", why));
    }
    let (update, health) = ("update_config", "health_check_config");
    let failures = shape.update_config.max_total_failures;
    if failures >= shape.instances {
        let why = format!(
            "max_total_failures ({failures}) in update_config must be less than the number of instances ({})",
            shape.instances
        );
        return Err((update, "max_total_failures", why));
    }
    let two_percent = shape.instances / 50;
    if shape.constraints.contains_key(DEDICATED) && failures < two_percent {
        let why = format!(
            "max_total_failures in update_config of a dedicated job must be at least 2% of its instances ({two_percent}), \
             not {failures}"
        );
        return Err((update, "max_total_failures", why));
    }
    let checked = &shape.health_check_config;
    for (part, field, value) in [
        (update, "watch_secs", shape.update_config.watch_secs as f64),
        (health, "max_consecutive_failures", checked.max_consecutive_failures as f64),
        (health, "min_consecutive_successes", checked.min_consecutive_successes as f64),
        (health, "initial_interval_secs", checked.initial_interval_secs),
        (health, "interval_secs", checked.interval_secs),
    ] {
        if value < 0.0 {
            return Err((part, field, format!("{field} in {part} must not be negative, but is {value}")));
        }
    }
    Ok(())
}

/// The resources asked for, whole mebibytes of memory and disk.
fn resources(shape: &JobShape, ports: usize) -> Result<Resources, (&'static str, String)> {
    let Some(asked) = &shape.task.resources else {
        let why = "its task does not set resources; add resources = Resources(cpu=..., ram=..., disk=...)";
        return Err(("", why.to_owned()));
    };
    let cpu = CpuMillis::from_cores(asked.cpu);
    if asked.cpu.is_nan() || cpu.0 <= 0 {
        let why = format!("cpu must be at least 0.001 cores, not {}", crate::object::float_text(asked.cpu));
        return Err(("cpu", why));
    }
    for (what, bytes) in [("ram", asked.ram), ("disk", asked.disk)] {
        if bytes < MEBIBYTE {
            let why =
                format!("{what} must be at least 1 MB ({MEBIBYTE} bytes), not {bytes} bytes; write {what} = 64*MB");
            return Err((what, why));
        }
    }
    if asked.gpu < 0 {
        return Err(("gpu", format!("gpu must not be negative, but is {}", asked.gpu)));
    }
    Ok(Resources {
        cpu,
        ram_mb: asked.ram / MEBIBYTE,
        disk_mb: asked.disk / MEBIBYTE,
        ports: ports as i64,
        gpus: asked.gpu,
    })
}

/// Tier and production complete each other (spec config-dsl 4.5).
fn tier_and_production(shape: &JobShape, tiers: &Tiers, warnings: &mut Vec<String>) -> (Option<String>, bool) {
    match &shape.tier {
        Some(name) => {
            let production = tiers.get(name).map_or(shape.production, |tier| !tier.preemptible);
            (Some(name.clone()), production)
        }
        None => {
            if shape.production {
                warnings.push("the field production is deprecated; set tier = 'preferred' instead".to_owned());
            }
            let fitting = tiers.tiers.iter().find(|(_, tier)| !tier.revocable && tier.preemptible != shape.production);
            let name = fitting.map_or_else(|| tiers.default.clone(), |(name, _)| name.clone());
            (Some(name), shape.production)
        }
    }
}

fn with_tier(raw: &Value, tier: Option<&str>, production: bool) -> Value {
    let mut fields: BTreeMap<String, Value> = match raw {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        _ => BTreeMap::new(),
    };
    if let Some(tier) = tier {
        fields.insert("tier".to_owned(), Value::String(tier.to_owned()));
    }
    fields.insert("production".to_owned(), Value::Bool(production));
    Value::Object(fields.into_iter().collect())
}

/// What the executor gets: the job without the parts whose change must not make instances differ.
fn executor_payload(raw: &Value) -> Value {
    let Value::Object(fields) = raw else { return raw.clone() };
    let kept = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "update_config" | "instances"));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

fn executor_config(shape: ExecutorShape, payload: &Value, insertions: &Insertions) -> ExecutorConfig {
    let data = if shape.runs_processes() { payload::text(payload, insertions) } else { shape.data };
    ExecutorConfig { name: shape.name, data }
}

/// Placement constraints from their texts: `limit:N`, or values with commas between and perhaps `!` in front
/// (spec config-dsl 4.4).
fn constraints(texts: &BTreeMap<String, String>) -> Result<BTreeSet<Constraint>, String> {
    texts
        .iter()
        .map(|(name, text)| {
            let constraint = if let Some(limit) = text.strip_prefix("limit:") {
                let limit = limit.trim().parse().map_err(|_| {
                    format!(
                        "the constraint {name} = '{text}' is no limit: write limit: and a whole number, as in 'limit:1'"
                    )
                })?;
                TaskConstraint::Limit { limit }
            } else {
                let (negated, values) = match text.strip_prefix('!') {
                    Some(values) => (true, values),
                    None => (false, text.as_str()),
                };
                TaskConstraint::Value { negated, values: values.split(',').map(str::to_owned).collect() }
            };
            Ok(Constraint { name: name.clone(), constraint })
        })
        .collect()
}

fn cron_policy(text: &str) -> Result<CronCollisionPolicy, String> {
    match text.to_ascii_uppercase().as_str() {
        "KILL_EXISTING" => Ok(CronCollisionPolicy::KillExisting),
        "CANCEL_NEW" => Ok(CronCollisionPolicy::CancelNew),
        "RUN_OVERLAP" => Ok(CronCollisionPolicy::RunOverlap),
        _ => Err(format!("invalid cron_collision_policy '{text}': use KILL_EXISTING or CANCEL_NEW")),
    }
}

fn container(shape: Option<ContainerShape>) -> Result<Container, String> {
    match shape {
        None => Ok(Container::default()),
        Some(ContainerShape::Docker { image, parameters }) => Ok(Container::Docker {
            image,
            parameters: parameters.into_iter().map(|parameter| (parameter.name, parameter.value)).collect(),
        }),
        Some(ContainerShape::Wrapped { docker }) => container(Some(*docker)),
        Some(ContainerShape::Mesos { image, volumes }) => {
            let image = image.map(|image| match image {
                ImageShape::Docker { name, tag } => Image::Docker { name, tag },
                ImageShape::Appc { name, image_id } => Image::Appc { name, image_id },
            });
            let volumes = volumes.into_iter().map(|volume| Volume {
                container_path: volume.container_path,
                host_path: volume.host_path,
                mode: if volume.mode == "RW" { VolumeMode::Rw } else { VolumeMode::Ro },
            });
            Ok(Container::Mesos { image, volumes: volumes.collect() })
        }
        Some(ContainerShape::Empty {}) => {
            Err("its container is empty; write container = Docker(image = ...) or leave it out".to_owned())
        }
    }
}

fn sla_policy(shape: SlaShape) -> SlaPolicy {
    match shape {
        SlaShape::Coordinator { coordinator_url, status_key } => SlaPolicy::Coordinator { coordinator_url, status_key },
        SlaShape::Count { count, duration_secs } => SlaPolicy::Count { count, duration_secs },
        SlaShape::Percentage { percentage, duration_secs } => {
            SlaPolicy::Percentage { percentage_bits: percentage.to_bits(), duration_secs }
        }
    }
}
