//! Updates of jobs as they are: lists, and one with what it does, how far it is and what happened.

use std::collections::BTreeMap;

use axum::extract::State;
use model::JobKey;
use model::update::{Update, UpdateAction, UpdateSettings, UpdateStatus, UpdateStrategy, from_ranges};
use scheduler::{InstanceStage, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::Nothing;
use super::jobs::{is_there, no_such_job};
use super::problem::{LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{JobAddress, JobPath, Parameters, UpdateAddress, UpdatePath, words};
use super::shapes::{ConfigurationGroup, InstanceRange, Metadata, of_ranges};
use super::tasks::limit_of;
use super::{Rest, found};

/// What updates may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "ROLLING_FORWARD")]
pub enum UpdateState {
    /// Replaces instances.
    RollingForward,
    /// Brings back what was before.
    RollingBack,
    /// Stands still on its way forward.
    RollForwardPaused,
    /// Stands still on its way back.
    RollBackPaused,
    /// Ended: everything is as it should be.
    RolledForward,
    /// Ended: everything is as it was.
    RolledBack,
    /// Ended by a user where it was.
    Aborted,
    /// Ended by a fault inside.
    Error,
    /// Ended: it could not go back either.
    Failed,
    /// Waits for a pulse on its way forward.
    RollForwardAwaitingPulse,
    /// Waits for a pulse on its way back.
    RollBackAwaitingPulse,
}

impl From<UpdateStatus> for UpdateState {
    fn from(status: UpdateStatus) -> Self {
        match status {
            UpdateStatus::RollingForward => Self::RollingForward,
            UpdateStatus::RollingBack => Self::RollingBack,
            UpdateStatus::RollForwardPaused => Self::RollForwardPaused,
            UpdateStatus::RollBackPaused => Self::RollBackPaused,
            UpdateStatus::RolledForward => Self::RolledForward,
            UpdateStatus::RolledBack => Self::RolledBack,
            UpdateStatus::Aborted => Self::Aborted,
            UpdateStatus::Error => Self::Error,
            UpdateStatus::Failed => Self::Failed,
            UpdateStatus::RollForwardAwaitingPulse => Self::RollForwardAwaitingPulse,
            UpdateStatus::RollBackAwaitingPulse => Self::RollBackAwaitingPulse,
        }
    }
}

/// The update of a job that is active.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveUpdate {
    /// Its id.
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: String,
    /// Present state.
    status: UpdateState,
}

impl From<&Update> for ActiveUpdate {
    fn from(update: &Update) -> Self {
        Self { id: update.key.id.clone(), status: update.status().into() }
    }
}

/// An update in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSummary {
    /// Key of its job.
    #[schema(example = "www-data/prod/hello")]
    job: String,
    /// Its id.
    #[schema(example = "6c1f9a52-4f4f-4d3b-9d0c-2f1d4c3b2a10")]
    id: String,
    /// Present state.
    status: UpdateState,
    /// It has not ended.
    is_active: bool,
    /// Who started it.
    #[schema(example = "alice")]
    user: String,
    /// When it was started, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    created_ms: i64,
    /// When something happened to it last, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    last_modified_ms: i64,
}

impl From<&Update> for UpdateSummary {
    fn from(update: &Update) -> Self {
        Self {
            job: update.key.job.to_string(),
            id: update.key.id.clone(),
            status: update.status().into(),
            is_active: update.status().is_active(),
            user: update.user.clone(),
            created_ms: update.created_ms(),
            last_modified_ms: update.last_modified_ms(),
        }
    }
}

/// Updates, and how many there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Updates {
    /// The latest changed first.
    updates: Vec<UpdateSummary>,
    /// How many fit, told or not.
    #[schema(example = 1)]
    total: usize,
    /// So many of them come before.
    #[schema(example = 0)]
    offset: usize,
}

/// In which order instances are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "QUEUE")]
pub enum StrategyKind {
    /// So many at a time.
    Queue,
    /// So many, and the next when all of them are done.
    Batch,
    /// As `BATCH`, with sizes of their own.
    VariableBatch,
}

/// How an update goes about it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// In which order.
    strategy: StrategyKind,
    /// Instances at a time; the last one holds for the rest.
    #[schema(example = json!([1]))]
    group_sizes: Vec<i32>,
    /// It pauses after each group.
    autopause_after_batch: bool,
    /// So often an instance may fail before it counts as failed.
    #[schema(example = 0)]
    max_per_instance_failures: i32,
    /// So many instances may fail before the update does.
    #[schema(example = 0)]
    max_failed_instances: i32,
    /// So long an instance must run before it counts as updated, in ms.
    #[schema(example = 45_000)]
    min_wait_in_running_ms: i32,
    /// It goes back when it fails.
    rollback_on_failure: bool,
    /// Only these instances; all where it is empty.
    only_these_instances: Vec<InstanceRange>,
    /// It waits when no pulse came for so long, in ms.
    block_if_no_pulses_after_ms: Option<i32>,
    /// It asks the policies of the tasks before it kills them.
    sla_aware: bool,
}

impl From<&UpdateSettings> for Settings {
    fn from(settings: &UpdateSettings) -> Self {
        let (strategy, group_sizes, autopause_after_batch) = match &settings.strategy {
            UpdateStrategy::Queue { group_size } => (StrategyKind::Queue, vec![*group_size], false),
            UpdateStrategy::Batch { group_size, autopause_after_batch } => {
                (StrategyKind::Batch, vec![*group_size], *autopause_after_batch)
            }
            UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch } => {
                (StrategyKind::VariableBatch, group_sizes.clone(), *autopause_after_batch)
            }
        };
        Self {
            strategy,
            group_sizes,
            autopause_after_batch,
            max_per_instance_failures: settings.max_per_instance_failures,
            max_failed_instances: settings.max_failed_instances,
            min_wait_in_running_ms: settings.min_wait_in_running_ms,
            rollback_on_failure: settings.rollback_on_failure,
            only_these_instances: of_ranges(&settings.only_these_instances),
            block_if_no_pulses_after_ms: settings.block_if_no_pulses_after_ms,
            sla_aware: settings.sla_aware,
        }
    }
}

/// Where an instance is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "WORKING")]
pub enum Stage {
    /// Not taken yet.
    Idle,
    /// Taken and not done.
    Working,
    /// As it should be.
    Succeeded,
    /// Failed more often than it may.
    Failed,
}

/// How far an instance is.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceProgress {
    /// Its number.
    #[schema(example = 0)]
    instance: u32,
    /// Where it is.
    stage: Stage,
    /// How often its new task ended since the update began to roll; null where that is not known any more.
    #[schema(example = 0)]
    failures: Option<i32>,
}

/// Something that happened to an update.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateEvent {
    /// When, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    timestamp_ms: i64,
    /// The state that it entered.
    status: UpdateState,
    /// Who did it.
    user: Option<String>,
    /// Why.
    message: Option<String>,
}

/// What an update does with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(example = "INSTANCE_UPDATED")]
#[allow(clippy::enum_variant_names, reason = "they are the names of the Thrift API")]
pub enum InstanceAction {
    /// It is as it should be.
    InstanceUpdated,
    /// It is as it was.
    InstanceRolledBack,
    /// It is being replaced.
    InstanceUpdating,
    /// It is being brought back.
    InstanceRollingBack,
    /// Its new task failed too often.
    InstanceUpdateFailed,
    /// Its old task failed too often.
    InstanceRollbackFailed,
}

impl From<UpdateAction> for InstanceAction {
    fn from(action: UpdateAction) -> Self {
        match action {
            UpdateAction::InstanceUpdated => Self::InstanceUpdated,
            UpdateAction::InstanceRolledBack => Self::InstanceRolledBack,
            UpdateAction::InstanceUpdating => Self::InstanceUpdating,
            UpdateAction::InstanceRollingBack => Self::InstanceRollingBack,
            UpdateAction::InstanceUpdateFailed => Self::InstanceUpdateFailed,
            UpdateAction::InstanceRollbackFailed => Self::InstanceRollbackFailed,
        }
    }
}

/// Something that happened to an instance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceEvent {
    /// Its number.
    #[schema(example = 0)]
    instance: u32,
    /// When, in ms since the epoch.
    #[schema(example = 1_800_000_000_000_i64)]
    timestamp_ms: i64,
    /// What.
    action: InstanceAction,
    /// Why.
    message: Option<String>,
}

/// An update.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateDetail {
    /// As in a list.
    #[serde(flatten)]
    summary: UpdateSummary,
    /// How it goes about it.
    settings: Settings,
    /// What its client noted about it.
    metadata: Vec<Metadata>,
    /// What was there before, by configuration.
    initial: Vec<ConfigurationGroup>,
    /// What will be there; null where only instances are taken away.
    desired: Option<ConfigurationGroup>,
    /// How far each of its instances is.
    instances: Vec<InstanceProgress>,
    /// When its latest pulse came, in ms since the epoch.
    last_pulse_ms: Option<i64>,
    /// What happened to it, oldest first.
    events: Vec<UpdateEvent>,
    /// What happened to its instances, oldest first.
    instance_events: Vec<InstanceEvent>,
}

fn progress(view: &View, update: &Update) -> Vec<InstanceProgress> {
    let mut stages: BTreeMap<u32, (Stage, Option<i32>)> = BTreeMap::new();
    let is_active = update.status().is_active();
    for group in update.initial.iter().chain(&update.desired) {
        let unknown = (Stage::Idle, is_active.then_some(0));
        stages.extend(from_ranges(&group.instances).into_iter().map(|instance| (instance, unknown)));
    }
    if is_active {
        for (instance, known) in view.update_progress.get(&update.key).into_iter().flatten() {
            let stage = match known.stage {
                InstanceStage::Idle => Stage::Idle,
                InstanceStage::Working => Stage::Working,
                InstanceStage::Succeeded => Stage::Succeeded,
                InstanceStage::Failed => Stage::Failed,
            };
            stages.insert(*instance, (stage, Some(known.failures)));
        }
    } else {
        for event in &update.instance_events {
            let stage = match event.action {
                UpdateAction::InstanceUpdated | UpdateAction::InstanceRolledBack => Stage::Succeeded,
                UpdateAction::InstanceUpdating | UpdateAction::InstanceRollingBack => Stage::Working,
                UpdateAction::InstanceUpdateFailed | UpdateAction::InstanceRollbackFailed => Stage::Failed,
            };
            stages.insert(event.instance, (stage, None));
        }
    }
    stages.into_iter().map(|(instance, (stage, failures))| InstanceProgress { instance, stage, failures }).collect()
}

fn group_of(config: &model::update::InstanceConfig) -> ConfigurationGroup {
    ConfigurationGroup { instances: of_ranges(&config.instances), configuration: (&config.task).into() }
}

fn detail(view: &View, update: &Update) -> UpdateDetail {
    let event = |event: &model::update::UpdateEvent| UpdateEvent {
        timestamp_ms: event.timestamp_ms,
        status: event.status.into(),
        user: event.user.clone(),
        message: event.message.clone(),
    };
    let instance_event = |event: &model::update::InstanceUpdateEvent| InstanceEvent {
        instance: event.instance,
        timestamp_ms: event.timestamp_ms,
        action: event.action.into(),
        message: event.message.clone(),
    };
    UpdateDetail {
        summary: update.into(),
        settings: (&update.settings).into(),
        metadata: update.metadata.iter().map(Metadata::from).collect(),
        initial: update.initial.iter().map(group_of).collect(),
        desired: update.desired.as_ref().map(group_of),
        instances: progress(view, update),
        last_pulse_ms: view.update_pulses.get(&update.key).copied(),
        events: update.events.iter().map(event).collect(),
        instance_events: update.instance_events.iter().map(instance_event).collect(),
    }
}

/// Which updates.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UpdateFilter {
    /// Of jobs of this role only.
    #[serde(default)]
    #[param(example = "www-data")]
    role: Option<String>,
    /// Of this job only: `role/environment/name`.
    #[serde(default)]
    #[param(example = "www-data/prod/hello", pattern = r"^[A-Za-z0-9_.-]{1,255}(/[A-Za-z0-9_.-]{1,255}){2}$")]
    job: Option<String>,
    /// In these states only, with commas between.
    #[serde(default)]
    #[param(value_type = Option<Vec<UpdateState>>, style = Form, explode = false)]
    status: Option<String>,
    /// So many at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 10_000, default = 1000)]
    limit: Option<usize>,
    /// After so many others.
    #[serde(default)]
    #[param(default = 0)]
    offset: Option<usize>,
}

fn status_named(name: &str) -> Option<UpdateStatus> {
    UpdateStatus::ALL.into_iter().find(|status| status.name() == name)
}

/// Lists updates
///
/// Active ones and those that have ended, for as long as they are kept.
#[utoipa::path(
    get,
    path = "/api/v1/updates",
    operation_id = "listUpdates",
    tag = "updates",
    params(UpdateFilter),
    responses((status = 200, description = "The updates, the latest changed first.", body = Updates), ReadingRefused)
)]
pub async fn list_updates(State(rest): State<Rest>, Parameters(filter): Parameters<UpdateFilter>) -> Outcome {
    let names = UpdateStatus::ALL.map(UpdateStatus::name);
    let statuses = words(filter.status.as_deref(), "state of updates", &names, status_named)?;
    let limit = limit_of(filter.limit)?;
    let job: Option<JobKey> = match &filter.job {
        Some(text) => Some(text.parse().map_err(|_| {
            let shown: String = text.chars().take(160).collect();
            Problem::invalid(format!("'{shown}' is no job: write role/environment/name."))
        })?),
        None => None,
    };
    let list = move |view: &View| {
        let fits = |update: &&std::sync::Arc<Update>| {
            filter.role.as_ref().is_none_or(|role| *role == update.key.job.role)
                && job.as_ref().is_none_or(|job| *job == update.key.job)
                && (statuses.is_empty() || statuses.contains(&update.status()))
        };
        let mut fitting: Vec<&std::sync::Arc<Update>> = match &job {
            Some(job) => view.updates_of(job).into_iter().filter(fits).collect(),
            None => view.updates.values().filter(fits).collect(),
        };
        fitting.sort_by_key(|update| std::cmp::Reverse(update.last_modified_ms()));
        let offset = filter.offset.unwrap_or(0);
        let told = fitting.iter().skip(offset).take(limit);
        found(&Updates { updates: told.map(|update| (&***update).into()).collect(), total: fitting.len(), offset })
    };
    rest.read(list).await
}

/// Lists the updates of a job
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates",
    operation_id = "listUpdatesOfJob",
    tag = "updates",
    params(JobAddress),
    responses((status = 200, description = "The updates, the latest changed first.", body = Updates), LookingRefused)
)]
pub async fn list_updates_of_job(
    State(rest): State<Rest>,
    JobPath(job): JobPath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let view = rest.gateway.view();
    let updates = view.updates_of(&job);
    if updates.is_empty() && !is_there(&view, &job) {
        return Err(no_such_job(&job));
    }
    let told: Vec<UpdateSummary> = updates.into_iter().map(|update| (&**update).into()).collect();
    found(&Updates { total: told.len(), updates: told, offset: 0 })
}

/// Tells of an update
///
/// What it does, how far it is, what happened.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{role}/{environment}/{name}/updates/{id}",
    operation_id = "getUpdate",
    tag = "updates",
    params(UpdateAddress),
    responses((status = 200, description = "The update.", body = UpdateDetail), LookingRefused)
)]
pub async fn get_update(
    State(rest): State<Rest>,
    UpdatePath(key): UpdatePath,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let view = rest.gateway.view();
    match view.updates.get(&key) {
        Some(update) => found(&detail(&view, update)),
        None => Err(no_such_update(&key)),
    }
}

/// That there is no such update.
pub fn no_such_update(key: &model::UpdateKey) -> Box<Problem> {
    let shown: String = key.id.chars().take(80).collect();
    let job = &key.job;
    Problem::not_found(format!("There is no update {shown} of {job}: GET /api/v1/jobs/{job}/updates lists them."))
}
