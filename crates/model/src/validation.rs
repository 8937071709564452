//! Admission: what a submitted configuration must satisfy, and what is filled in (spec scheduler 9.2, 9.3). Pure functions;
//! checks that need the stored state (existing jobs, quota) are the scheduler's.

use std::collections::{BTreeMap, BTreeSet};

use crate::constraint::{DEDICATED, TaskConstraint};
use crate::container::{Container, ContainerType};
pub use crate::environment::EnvironmentPattern;
use crate::job::JobConfiguration;
use crate::key::is_identifier;
use crate::resource::{CpuMillis, Resources};
use crate::task::{AURORA_EXECUTOR_NAME, SlaPolicy, TaskConfig};
use crate::tier::Tiers;

/// What the executor of Thermos-style tasks takes on top of its task, where nothing else is said (spec executor 5.1).
pub const THERMOS_OVERHEAD: Resources = Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO };

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct AdmissionRules {
    /// Tiers of the cluster.
    pub tiers: Tiers,
    /// Executors that may be named, and what each takes on top of its task (spec scheduler 2.6).
    pub executors: BTreeMap<String, Resources>,
    /// Environments that jobs may be in.
    pub allowed_job_environments: EnvironmentPattern,
    /// Most instances of a job.
    pub max_tasks_per_job: i32,
    /// Whether tasks may ask for GPUs.
    pub allow_gpu_resource: bool,
    /// Whether tasks may list fetcher URIs.
    pub enable_mesos_fetcher: bool,
    /// Whether Mesos containers may mount volumes.
    pub allow_container_volumes: bool,
    /// Kinds of container that are allowed.
    pub allowed_container_types: BTreeSet<ContainerType>,
    /// Whether jobs may pass Docker parameters.
    pub allow_docker_parameters: bool,
    /// Filled in where a Docker container gives no parameters, as name and value.
    pub default_docker_parameters: Vec<(String, String)>,
    /// Whether Docker tasks need an executor.
    pub require_docker_use_executor: bool,
    /// SLA policies on tiers that are not production too.
    pub sla_aware_kill_non_prod: bool,
    /// Fewest instances for count and percentage policies.
    pub min_required_instances_for_sla_check: i32,
    /// Longest duration of a policy, in seconds.
    pub max_sla_duration_secs: i64,
}

impl Default for AdmissionRules {
    fn default() -> Self {
        Self {
            tiers: Tiers::default(),
            executors: [(AURORA_EXECUTOR_NAME.to_owned(), THERMOS_OVERHEAD)].into(),
            allowed_job_environments: EnvironmentPattern::default(),
            max_tasks_per_job: 4000,
            allow_gpu_resource: false,
            enable_mesos_fetcher: false,
            allow_container_volumes: false,
            allowed_container_types: [ContainerType::Mesos].into(),
            allow_docker_parameters: false,
            default_docker_parameters: Vec::new(),
            require_docker_use_executor: true,
            sla_aware_kill_non_prod: false,
            min_required_instances_for_sla_check: 20,
            max_sla_duration_secs: 7200,
        }
    }
}

/// Why a configuration is refused; the text is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(message.into()))
}

/// Checks and populates a job (spec scheduler 9.2). The order of the checks is part of the interface.
pub fn admit_job(mut job: JobConfiguration, rules: &AdmissionRules) -> Result<JobConfiguration, Refused> {
    if job.instance_count <= 0 {
        return refuse(format!("Instance count must be positive, not {}.", job.instance_count));
    }
    if !job.key.is_valid() {
        return refuse(format!("Job key {} is invalid: use letters, digits, '_', '-' and '.'.", job.key));
    }
    let environments = &rules.allowed_job_environments;
    if !environments.allows(&job.key.environment) {
        return refuse(format!("Environment {} is not allowed: {}.", job.key.environment, environments.advice()));
    }
    if let Some(owner) = &job.owner
        && !is_identifier(owner)
    {
        return refuse(format!("Job user '{owner}' contains illegal characters."));
    }
    job.task = admit_task(job.task, job.instance_count, rules)?;
    // Aurora authorises one key and creates under the other (spec scheduler 7.5, Q-FIX).
    if job.task.job != job.key {
        return refuse(format!("Job key {} and the key in its task configuration, {}, differ.", job.key, job.task.job));
    }
    if job.cron_schedule.as_deref().is_some_and(|schedule| !schedule.is_empty()) && job.task.is_service {
        return refuse("A service task may not be run on a cron schedule.");
    }
    Ok(job)
}

/// Checks and populates a task configuration (spec scheduler 9.3, thrift-api 3.2).
pub fn admit_task(mut task: TaskConfig, instance_count: i32, rules: &AdmissionRules) -> Result<TaskConfig, Refused> {
    let tier_name = task.tier.clone().unwrap_or_else(|| rules.tiers.default.clone());
    if !is_identifier(&tier_name) {
        return refuse(format!("Tier '{tier_name}' contains illegal characters."));
    }
    let Some(tier) = rules.tiers.get(&tier_name) else {
        let known: Vec<&str> = rules.tiers.tiers.keys().map(String::as_str).collect();
        return refuse(format!("Tier '{tier_name}' is unknown; this cluster has: {}.", known.join(", ")));
    };
    if !task.job.is_valid() {
        return refuse(format!("Job key {} in the task configuration is invalid.", task.job));
    }
    check_executor(&task, rules)?;
    check_dedicated(&task)?;
    check_container(&task, rules)?;
    check_resources(&task, rules)?;
    if !task.mesos_fetcher_uris.is_empty() && !rules.enable_mesos_fetcher {
        return refuse("Mesos Fetcher for individual jobs is disabled in this cluster.");
    }
    if let Container::Mesos { volumes, .. } = &task.container
        && !volumes.is_empty()
        && !rules.allow_container_volumes
    {
        return refuse("This scheduler is configured to disallow container volumes.");
    }
    check_sla(&task, instance_count, tier.is_production(), &tier_name, rules)?;
    if let Container::Docker { parameters, .. } = &mut task.container
        && parameters.is_empty()
    {
        parameters.clone_from(&rules.default_docker_parameters);
    }
    task.tier = Some(tier_name);
    task.production = Some(tier.is_production());
    task.resources.ports = task.requested_ports.len() as i64;
    if task.task_links.is_empty() {
        for port in ["health", "http"] {
            if task.requested_ports.contains(port) {
                task.task_links.insert(port.into(), format!("http://%host%:%port:{port}%"));
            }
        }
    }
    Ok(task)
}

/// The texts are Aurora's (spec executor 5.2): clients show and compare them.
fn check_executor(task: &TaskConfig, rules: &AdmissionRules) -> Result<(), Refused> {
    match (&task.executor_config, &task.container) {
        (None, Container::Docker { .. }) => Ok(()),
        (None, Container::Mesos { .. }) => refuse("Configuration may not be null."),
        (Some(executor), _) if executor.name.is_empty() => refuse("Executor name may not be left unset."),
        (Some(executor), _) if !rules.executors.contains_key(&executor.name) => {
            refuse(format!("Configuration for executor '{}' doesn't exist.", executor.name))
        }
        _ => Ok(()),
    }
}

fn check_dedicated(task: &TaskConfig) -> Result<(), Refused> {
    let Some(constraint) = task.constraint(DEDICATED) else { return Ok(()) };
    let TaskConstraint::Value { values, .. } = &constraint.constraint else {
        return refuse("A dedicated constraint must be of value type.");
    };
    let mut values = values.iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let role = value.split('/').next().unwrap_or_default();
            if role == "*" || role == task.job.role {
                Ok(())
            } else {
                refuse(format!("Only {role} may use hosts dedicated to that role."))
            }
        }
        _ => refuse("A dedicated constraint must have exactly one value."),
    }
}

fn check_container(task: &TaskConfig, rules: &AdmissionRules) -> Result<(), Refused> {
    if let Container::Docker { image, parameters } = &task.container {
        if image.is_empty() {
            return refuse("A container must specify an image.");
        }
        if !parameters.is_empty() && !rules.allow_docker_parameters {
            return refuse("This scheduler is configured to disallow Docker parameters.");
        }
        if task.executor_config.is_none() && rules.require_docker_use_executor {
            return refuse("This scheduler is configured to require an executor for Docker-based tasks.");
        }
    }
    let kind = task.container.kind();
    if !rules.allowed_container_types.contains(&kind) {
        return refuse(format!("This scheduler is not configured to allow the container type {}", kind.name()));
    }
    Ok(())
}

fn check_resources(task: &TaskConfig, rules: &AdmissionRules) -> Result<(), Refused> {
    let resources = &task.resources;
    for (name, amount) in [("num_cpus", resources.cpu.0), ("ram_mb", resources.ram_mb), ("disk_mb", resources.disk_mb)]
    {
        if amount <= 0 {
            return refuse(format!("{name} must be greater than 0.0"));
        }
    }
    if resources.gpus != 0 && !rules.allow_gpu_resource {
        return refuse("GPU resource support is disabled in this cluster.");
    }
    if resources.gpus < 0 {
        return refuse("gpus must not be negative");
    }
    Ok(())
}

fn check_sla(
    task: &TaskConfig,
    instance_count: i32,
    production: bool,
    tier_name: &str,
    rules: &AdmissionRules,
) -> Result<(), Refused> {
    let Some(policy) = &task.sla_policy else { return Ok(()) };
    if !production && !rules.sla_aware_kill_non_prod {
        return refuse(format!("Tier '{tier_name}' does not support SLA policies."));
    }
    let (allowed_down, duration_secs) = match policy {
        SlaPolicy::Coordinator { .. } => return Ok(()),
        SlaPolicy::Count { count, duration_secs } => ((i64::from(instance_count) - count) as f64, *duration_secs),
        SlaPolicy::Percentage { percentage_bits, duration_secs } => {
            let percentage = f64::from_bits(*percentage_bits);
            (f64::from(instance_count) - f64::from(instance_count) * percentage / 100.0, *duration_secs)
        }
    };
    if instance_count < rules.min_required_instances_for_sla_check {
        return refuse(format!(
            "An SLA policy needs at least {} instances; the job has {instance_count}.",
            rules.min_required_instances_for_sla_check
        ));
    }
    // Not-a-number fails here too: it allows nothing.
    if allowed_down.is_nan() || allowed_down < 1.0 {
        return refuse("The SLA policy would never allow an instance to be killed.");
    }
    if duration_secs > rules.max_sla_duration_secs {
        return refuse(format!(
            "SLA duration {duration_secs} s exceeds the cluster's maximum of {} s.",
            rules.max_sla_duration_secs
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraint::Constraint;
    use crate::container::{FetcherUri, Volume, VolumeMode};
    use crate::job::CronCollisionPolicy;
    use crate::key::JobKey;

    fn job() -> JobConfiguration {
        let key = JobKey::new("www-data", "devel", "hello");
        JobConfiguration {
            key: key.clone(),
            owner: Some("www-data".into()),
            cron_schedule: None,
            cron_collision_policy: CronCollisionPolicy::KillExisting,
            task: TaskConfig::new(key, 1.0, 1, 8, "{}"),
            instance_count: 1,
        }
    }

    fn refusal(change: impl FnOnce(&mut JobConfiguration)) -> String {
        let mut job = job();
        change(&mut job);
        admit_job(job, &AdmissionRules::default()).expect_err("must be refused").0
    }

    #[test]
    fn admission_fills_tier_production_and_links() {
        let mut job = job();
        job.task.requested_ports = ["http".to_owned(), "aux".to_owned()].into();
        let admitted = admit_job(job, &AdmissionRules::default()).unwrap();
        assert_eq!(admitted.task.tier.as_deref(), Some("preemptible"));
        assert_eq!(admitted.task.production, Some(false));
        assert_eq!(admitted.task.resources.ports, 2);
        assert_eq!(admitted.task.task_links["http"], "http://%host%:%port:http%");
        assert_eq!(admitted.task.task_links.len(), 1);
    }

    #[test]
    fn each_rule_refuses_with_a_reason() {
        assert!(refusal(|job| job.instance_count = 0).contains("Instance count"));
        assert!(refusal(|job| job.key.name = "a b".into()).contains("invalid"));
        assert!(refusal(|job| job.key.environment = "production".into()).contains("production"));
        assert!(refusal(|job| job.owner = Some(String::new())).contains("illegal"));
        assert!(refusal(|job| job.task.tier = Some("gold".into())).contains("preferred"));
        assert!(refusal(|job| job.task.resources.cpu.0 = 0).contains("num_cpus must be greater than 0.0"));
        assert!(refusal(|job| job.task.resources.ram_mb = -1).contains("ram_mb"));
        assert!(refusal(|job| job.task.resources.disk_mb = 0).contains("disk_mb"));
        assert!(refusal(|job| job.task.resources.gpus = 1).contains("GPU"));
        assert!(refusal(|job| job.task.job.name = "other".into()).contains("differ"));
        assert!(
            refusal(|job| {
                job.cron_schedule = Some("* * * * *".into());
                job.task.is_service = true;
            })
            .contains("cron")
        );
    }

    /// A change of the job and of the rules, and what is said of it.
    fn said(
        change: impl FnOnce(&mut TaskConfig),
        allow: impl FnOnce(&mut AdmissionRules),
    ) -> Result<TaskConfig, String> {
        let (mut job, mut rules) = (job(), AdmissionRules::default());
        change(&mut job.task);
        allow(&mut rules);
        admit_job(job, &rules).map(|job| job.task).map_err(|refused| refused.0)
    }

    fn docker(task: &mut TaskConfig, image: &str, parameters: &[(&str, &str)]) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        task.container = Container::Docker { image: image.into(), parameters };
    }

    fn allow_docker(rules: &mut AdmissionRules) {
        rules.allowed_container_types.insert(ContainerType::Docker);
    }

    #[test]
    fn executors_are_refused_in_the_words_of_the_reference() {
        let executor = |name: &str| {
            let name = name.to_owned();
            said(|task| task.executor_config.as_mut().unwrap().name = name, |_| {})
        };
        assert_eq!(said(|task| task.executor_config = None, |_| {}), Err("Configuration may not be null.".into()));
        assert_eq!(executor(""), Err("Executor name may not be left unset.".into()));
        assert_eq!(executor("x"), Err("Configuration for executor 'x' doesn't exist.".into()));
        assert!(executor(AURORA_EXECUTOR_NAME).is_ok());
        let known = said(
            |task| task.executor_config.as_mut().unwrap().name = "x".into(),
            |rules| {
                rules.executors.insert("x".into(), Resources::ZERO);
            },
        );
        assert!(known.is_ok());
    }

    #[test]
    fn containers_are_refused_in_the_words_of_the_reference() {
        let plain = |task: &mut TaskConfig| docker(task, "busybox", &[]);
        assert_eq!(
            said(plain, |_| {}),
            Err("This scheduler is not configured to allow the container type DOCKER".into())
        );
        assert!(said(plain, allow_docker).is_ok());
        assert_eq!(
            said(|_| {}, |rules| rules.allowed_container_types = [ContainerType::Docker].into()),
            Err("This scheduler is not configured to allow the container type MESOS".into())
        );
        assert_eq!(said(|task| docker(task, "", &[]), allow_docker), Err("A container must specify an image.".into()));
        let parameters = |task: &mut TaskConfig| docker(task, "busybox", &[("label", "a=b")]);
        assert_eq!(
            said(parameters, allow_docker),
            Err("This scheduler is configured to disallow Docker parameters.".into())
        );
        let allowed = said(parameters, |rules| {
            allow_docker(rules);
            rules.allow_docker_parameters = true;
        });
        assert!(allowed.is_ok());
        let alone = |task: &mut TaskConfig| {
            plain(task);
            task.executor_config = None;
        };
        assert_eq!(
            said(alone, allow_docker),
            Err("This scheduler is configured to require an executor for Docker-based tasks.".into())
        );
        let allowed = said(alone, |rules| {
            allow_docker(rules);
            rules.require_docker_use_executor = false;
        });
        assert!(allowed.is_ok());
    }

    #[test]
    fn default_docker_parameters_are_filled_in_where_a_job_gives_none() {
        let rules = |rules: &mut AdmissionRules| {
            allow_docker(rules);
            rules.allow_docker_parameters = true;
            rules.default_docker_parameters = vec![("network".into(), "host".into())];
        };
        let parameters = |task: TaskConfig| match task.container {
            Container::Docker { parameters, .. } => parameters,
            Container::Mesos { .. } => panic!("a Docker container"),
        };
        let filled = parameters(said(|task| docker(task, "busybox", &[]), rules).unwrap());
        assert_eq!(filled, [("network".to_owned(), "host".to_owned())]);
        let own = parameters(said(|task| docker(task, "busybox", &[("label", "x")]), rules).unwrap());
        assert_eq!(own, [("label".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn what_is_switched_off_is_refused_in_the_words_of_the_reference() {
        let uris = |task: &mut TaskConfig| {
            let uri = FetcherUri { value: "http://x".into(), extract: None, cache: None, output_file: None };
            task.mesos_fetcher_uris.insert(uri);
        };
        assert_eq!(said(uris, |_| {}), Err("Mesos Fetcher for individual jobs is disabled in this cluster.".into()));
        assert!(said(uris, |rules| rules.enable_mesos_fetcher = true).is_ok());
        let volumes = |task: &mut TaskConfig| {
            let volume = Volume { container_path: "/a".into(), host_path: "/b".into(), mode: VolumeMode::Ro };
            task.container = Container::Mesos { image: None, volumes: vec![volume] };
        };
        assert_eq!(said(volumes, |_| {}), Err("This scheduler is configured to disallow container volumes.".into()));
        assert!(said(volumes, |rules| rules.allow_container_volumes = true).is_ok());
        let gpus = |task: &mut TaskConfig| task.resources.gpus = 1;
        assert_eq!(said(gpus, |_| {}), Err("GPU resource support is disabled in this cluster.".into()));
        assert!(said(gpus, |rules| rules.allow_gpu_resource = true).is_ok());
        assert!(said(|task| task.resources.gpus = -1, |rules| rules.allow_gpu_resource = true).is_err());
    }

    #[test]
    fn dedicated_belongs_to_the_role() {
        let constraint = |values: &[&str]| Constraint {
            name: DEDICATED.into(),
            constraint: TaskConstraint::Value {
                negated: false,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            },
        };
        let with = |constraint: Constraint| {
            let mut job = job();
            job.task.constraints.insert(constraint);
            admit_job(job, &AdmissionRules::default())
        };
        assert!(with(constraint(&["www-data/web"])).is_ok());
        assert!(with(constraint(&["*/web"])).is_ok());
        assert!(with(constraint(&["other/web"])).is_err());
        assert!(with(constraint(&["www-data/a", "www-data/b"])).is_err());
        let limit = Constraint { name: DEDICATED.into(), constraint: TaskConstraint::Limit { limit: 1 } };
        assert!(with(limit).is_err());
    }
}
