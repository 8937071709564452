//! What users ask for in a run: jobs of several kinds, created, killed, restarted, enlarged, updated, and asked for wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::update::{UpdateRequest, UpdateSettings, UpdateStrategy};
use model::{
    Constraint, CpuMillis, InstanceId, JobConfiguration, JobKey, Resources, TaskConfig, TaskConstraint, TaskId,
    TaskStatus, UpdateKey,
};
use model::{CronCollisionPolicy, task::PartitionPolicy};
use scheduler::command::{Command, UpdateControl};
use scheduler::{Task, TaskEvent, View};

use super::chance::Chance;

/// Jobs that a run knows.
const JOBS: u64 = 6;

fn job_key(number: u64) -> JobKey {
    JobKey::new("www", "prod", format!("job-{number}"))
}

/// The job that an old journal has.
fn old_job() -> JobKey {
    JobKey::new("www", "prod", "old")
}

pub(super) fn task_config(job: JobKey, chance: &mut Chance) -> TaskConfig {
    let mut task =
        TaskConfig::new(job, 0.1 * chance.between(1, 12) as f64, 32 * chance.between(1, 16) as i64, 64, "{}");
    task.is_service = chance.per_mille(500);
    task.priority = chance.below(3) as i32;
    task.max_task_failures = *chance.pick(&[-1, 0, 1, 2, 4]).expect("there are some");
    task.tier = Some(if chance.per_mille(300) { "preferred" } else { "preemptible" }.into());
    task.requested_ports = (0..chance.below(3)).map(|port| format!("port{port}")).collect();
    task.partition_policy = match chance.below(3) {
        0 => None,
        1 => Some(PartitionPolicy { reschedule: true, delay_secs: Some(chance.below(40) as i64) }),
        _ => Some(PartitionPolicy { reschedule: false, delay_secs: None }),
    };
    if chance.per_mille(150) {
        let constraint = TaskConstraint::Limit { limit: chance.between(1, 3) as i32 };
        task.constraints.insert(Constraint { name: "host".into(), constraint });
    }
    super::maintenance::maybe_policy(&mut task, chance);
    task
}

/// The next thing that users ask for, seeing this.
pub(super) fn next_command(view: &View, chance: &mut Chance) -> Command {
    if chance.per_mille(80) {
        return super::maintenance::next_command(view, chance);
    }
    if chance.per_mille(90) {
        return super::cron::next_command(view, chance);
    }
    let old = old_job();
    let has_draining = view.tasks_of(&old).any(|task| task.status == TaskStatus::Draining);
    let job = if has_draining && chance.per_mille(500) { old } else { job_key(chance.below(JOBS)) };
    let active: BTreeSet<InstanceId> =
        view.tasks_of(&job).filter(|task| task.status.is_active()).map(|task| task.instance).collect();
    let updating = view.active_update(&job).map(|update| update.key.clone());
    match chance.below(100) {
        0..=4 => wrong_command(chance, job),
        5..=7 => set_quota(chance),
        8..=19 if updating.is_some() => control(chance, updating.expect("just seen")),
        20..=24 if updating.is_some() => Command::PulseUpdate { key: updating.expect("just seen") },
        _ if active.is_empty() => create(job, chance),
        8..=24 => Command::StartUpdate { request: Box::new(update(view, job, chance)), message: None },
        25..=34 => Command::AddInstances {
            job,
            template: *active.first().expect("there are some"),
            count: chance.between(1, 2) as i32,
        },
        35..=59 => Command::RestartTasks { job, instances: some_of(&active, chance) },
        60..=79 => Command::KillTasks { job, instances: some_of(&active, chance), message: Some("enough".into()) },
        80..=89 => Command::KillTasks { job, instances: BTreeSet::new(), message: None },
        _ => create(job, chance),
    }
}

fn create(job: JobKey, chance: &mut Chance) -> Command {
    let task = task_config(job.clone(), chance);
    Command::CreateJob(Box::new(JobConfiguration {
        key: job,
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::KillExisting,
        task,
        instance_count: chance.between(1, 5) as i32,
    }))
}

fn update(view: &View, job: JobKey, chance: &mut Chance) -> UpdateRequest {
    let group_size = chance.between(1, 3) as i32;
    let strategy = match chance.below(3) {
        0 => UpdateStrategy::Queue { group_size },
        1 => UpdateStrategy::Batch { group_size, autopause_after_batch: chance.per_mille(300) },
        _ => UpdateStrategy::VariableBatch { group_sizes: vec![1, group_size], autopause_after_batch: false },
    };
    let mut task = task_config(job.clone(), chance);
    task.is_service = true;
    // Often an update asks for nothing more than what is there.
    if chance.per_mille(500)
        && let Some(old) = view.tasks_of(&job).find(|task| task.status.is_active())
    {
        task.resources = old.config.resources;
        task.constraints.clone_from(&old.config.constraints);
        task.requested_ports.clone_from(&old.config.requested_ports);
    }
    let sla_aware = task.sla_policy.is_some() && chance.per_mille(500);
    UpdateRequest {
        task,
        instance_count: chance.between(1, 5) as i32,
        settings: UpdateSettings {
            strategy,
            max_per_instance_failures: chance.below(3) as i32,
            max_failed_instances: chance.below(2) as i32,
            min_wait_in_running_ms: chance.below(8000) as i32,
            rollback_on_failure: chance.per_mille(600),
            block_if_no_pulses_after_ms: chance.per_mille(250).then_some(5000),
            sla_aware,
            ..UpdateSettings::default()
        },
        metadata: BTreeSet::new(),
    }
}

fn control(chance: &mut Chance, key: UpdateKey) -> Command {
    let actions = [
        UpdateControl::Pause,
        UpdateControl::Resume,
        UpdateControl::Resume,
        UpdateControl::Abort,
        UpdateControl::Rollback,
    ];
    let action = *chance.pick(&actions).expect("there are some");
    Command::ControlUpdate { key, action, message: None }
}

fn set_quota(chance: &mut Chance) -> Command {
    let cpu = CpuMillis(1000 * chance.between(0, 20) as i64);
    Command::SetQuota {
        role: "www".into(),
        quota: Resources { cpu, ram_mb: 16_000, disk_mb: 100_000, ports: 0, gpus: 0 },
    }
}

/// The quota that a run begins with.
pub(super) fn first_quota() -> Command {
    let quota = Resources { cpu: CpuMillis(20_000), ram_mb: 16_000, disk_mb: 100_000, ports: 0, gpus: 0 };
    Command::SetQuota { role: "www".into(), quota }
}

/// Something that must be refused, or do nothing.
fn wrong_command(chance: &mut Chance, job: JobKey) -> Command {
    let unknown = JobKey::new("www", "prod", "unknown");
    match chance.below(8) {
        0 => Command::KillTasks { job: unknown, instances: BTreeSet::new(), message: None },
        1 => Command::RestartTasks { job: unknown, instances: [0].into() },
        2 => Command::AddInstances { job: unknown, template: 0, count: 1 },
        3 => Command::AddInstances { job, template: 0, count: -1 },
        4 => Command::RestartTasks { job, instances: BTreeSet::new() },
        5 => Command::PulseUpdate { key: UpdateKey { job, id: "unknown".into() } },
        6 => Command::ControlUpdate {
            key: UpdateKey { job, id: "unknown".into() },
            action: UpdateControl::Pause,
            message: None,
        },
        _ => {
            let Command::CreateJob(mut create) = create(job, chance) else { unreachable!("it creates") };
            create.task.resources.ram_mb = 0;
            Command::CreateJob(create)
        }
    }
}

pub(super) fn some_of(active: &BTreeSet<InstanceId>, chance: &mut Chance) -> BTreeSet<InstanceId> {
    let mut some: BTreeSet<InstanceId> = active.iter().copied().filter(|_| chance.per_mille(500)).collect();
    if some.is_empty() {
        some.extend(active.first());
    }
    some
}

/// The state of a scheduler that knew more than this one: a task in every status, each an instance of one job.
pub(super) fn old_state(chance: &mut Chance, wall_ms: i64, agent: impl Fn(usize) -> (String, String)) -> View {
    let mut view = View::default();
    let job = old_job();
    let mut config = task_config(job.clone(), chance);
    config.is_service = true;
    config.production = Some(false);
    config.tier = Some("preemptible".into());
    config.requested_ports.clear();
    config.constraints.clear();
    config.sla_policy = None;
    let config = Arc::new(config);
    view.configs.insert(1, config.clone());
    // DRAINING does not last, and seldom meets all that may be told of it.
    let more = [TaskStatus::Draining; 4];
    let statuses = TaskStatus::ALL.into_iter().filter(|status| *status != TaskStatus::Init).chain(more);
    for (number, status) in statuses.enumerate() {
        let id = TaskId::from(format!("old-{number}-{status}"));
        let mut task = Task {
            id: id.clone(),
            instance: number as InstanceId,
            config: config.clone(),
            status,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events: history(status, wall_ms),
            agent_id: None,
            host: None,
            ports: BTreeMap::new(),
        };
        if task.events.iter().any(|event| event.status == TaskStatus::Assigned) {
            let (id, host) = agent(number);
            (task.agent_id, task.host) = (Some(id.into()), Some(Arc::new(host)));
        }
        view.tasks_by_job.entry(job.clone()).or_default().insert(id.clone());
        view.tasks.insert(id, Arc::new(task));
    }
    view
}

/// How a task came to be in a status.
fn history(status: TaskStatus, wall_ms: i64) -> Vec<TaskEvent> {
    use TaskStatus::{
        Assigned, Draining, Failed, Finished, Init, Killed, Killing, Lost, Partitioned, Pending, Preempting,
        Restarting, Running, Starting, Throttled,
    };
    let path = match status {
        Init | Pending => vec![Pending],
        Throttled => vec![Throttled],
        Assigned => vec![Pending, Assigned],
        Starting => vec![Pending, Assigned, Starting],
        Running => vec![Pending, Assigned, Running],
        Killed => vec![Pending, Assigned, Running, Killing, Killed],
        Preempting | Restarting | Draining | Killing | Partitioned | Finished | Failed | Lost => {
            vec![Pending, Assigned, Running, status]
        }
    };
    let begin_ms = wall_ms - 1000 * path.len() as i64;
    let events = path.iter().enumerate();
    events
        .map(|(at, status)| TaskEvent { timestamp_ms: begin_ms + 1000 * at as i64, status: *status, message: None })
        .collect()
}
