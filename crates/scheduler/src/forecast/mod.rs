//! What would be: the scheduler's own judgement about a frozen [`View`], for people who plan a change or wonder why a task waits.
//!
//! Pure functions. They change nothing, need no scheduler and run in any thread, so that no question ever holds up the loop. What is
//! judged is judged by the very code that decides: admission and quota by [`crate::admission`], agents by the filter and the
//! preemption of [`crate::placement`], the course of an update by the controller of [`crate::updates`]. Their work is bounded by the
//! agents and the tasks of the view ([`MOST_LOOKS`]).
//!
//! Not here: promises. Between a forecast and the change itself others may take the room.

mod obstacles;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::update::{InstanceConfig, Update, from_ranges};
use model::{Host, InstanceId, JobConfiguration, Resources, TaskConfig, TaskStatus};

use crate::admission::{self, Tables};
use crate::command::{Command, Reply, ReplyCode};
use crate::core::ms;
use crate::input::Principal;
use crate::quota;
use crate::task::Task;
use crate::tasks::reschedule::flapped;
use crate::updates;
use crate::view::{PendingReason, View};

pub use obstacles::{ConstraintSeen, Nearest, Obstacle, Obstacles, PreemptionHelp, Shortfall};
use room::{Group, Rooms};

/// Agents that are looked at for one forecast, counted anew for each instance; what is beyond stays unknown.
pub const MOST_LOOKS: usize = 4_000_000;

/// What a change would come to.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// Why the change would be refused: the first check that says no.
    pub refusal: Option<Reply>,
    /// What it needs of its role's quota.
    pub quota: Option<QuotaForecast>,
    /// Where its new tasks would find room; absent when nothing would be created at once.
    pub placement: Option<PlacementForecast>,
    /// How the update would go; absent when there is nothing to update, and when it is refused before that is known.
    pub update: Option<UpdateForecast>,
}

/// The course of an update that nothing goes wrong with.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateForecast {
    /// What it replaces, and by what; without id and events.
    pub update: Update,
    /// Its instances in the groups and in the order in which they are taken: those added first, then those changed, then those
    /// removed. With a queue the next instance begins as soon as one is done, so that groups overlap.
    pub groups: Vec<Vec<InstanceId>>,
    /// It cannot take less, in ms: new tasks are watched group by group. Starting, stopping, pauses and pulses come on top.
    pub least_duration_ms: i64,
}

/// Quota, as the check sees it (spec scheduler 2.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaForecast {
    /// Whose quota.
    pub role: String,
    /// Whether tasks of this kind need quota at all.
    pub is_needed: bool,
    /// What the role may hold.
    pub quota: Resources,
    /// What its production tasks hold now.
    pub held: Resources,
    /// What they would hold.
    pub needed: Resources,
}

/// Room for new tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementForecast {
    /// Tasks that would look for room.
    pub wanted: u32,
    /// Those that would find it now. In an update each group gives back its own room first.
    pub fitting: u32,
    /// Whether all of them were tried; otherwise the look was cut off.
    pub is_complete: bool,
    /// Hosts that would take them, and how many each.
    pub hosts: BTreeMap<Host, u32>,
    /// Why the rest finds none.
    pub obstacles: Option<Obstacles>,
    /// Whether the engine is connected: without it nothing starts.
    pub is_connected: bool,
}

/// What a command would come to; `None` for one whose outcome is not forecast.
pub fn forecast(view: &View, now_ms: i64, principal: &Principal, command: &Command) -> Option<Forecast> {
    let mut forecast = match command {
        Command::CreateJob(job) => create(view, now_ms, job),
        Command::StartUpdate { request, .. } => {
            let mut forecast = match admission::propose_update(view, principal, (**request).clone()) {
                Err(refusal) => Forecast { refusal: Some(refusal), ..Forecast::default() },
                Ok(None) => Forecast::default(),
                Ok(Some(update)) => {
                    let refusal = admission::check_update(view, &update, request.instance_count).err();
                    Forecast { refusal, ..update_of(view, now_ms, update) }
                }
            };
            if forecast.quota.is_none() {
                forecast.quota = admitted(view, &request.task, request.instance_count)
                    .map(|task| quota_of(view, &task, quota::needed_for_tasks(view, &task, 0)));
            }
            forecast
        }
        Command::ScheduleCronJob(job) | Command::ReplaceCronTemplate(job) => {
            let must_exist = matches!(command, Command::ReplaceCronTemplate(_));
            let checked = admission::check_cron(view, (**job).clone(), must_exist);
            let mut forecast = Forecast { refusal: checked.err(), ..Forecast::default() };
            if let Some(task) = admitted(view, &job.task, job.instance_count) {
                let job = JobConfiguration { task, ..(**job).clone() };
                forecast.quota = Some(quota_of(view, &job.task, quota::needed_for_cron(view, &job)));
                forecast.placement = Some(new_tasks(view, now_ms, &job.task, job.instance_count));
            }
            forecast
        }
        _ => return None,
    };
    if view.space_low && forecast.refusal.is_none() {
        let message = "The journal is short of room: nothing new is accepted until there is space on its disk.";
        forecast.refusal = Some(Reply::refused(ReplyCode::ErrorTransient, message));
    }
    Some(forecast)
}

/// A configuration as it would be stored, where it would be.
fn admitted(view: &View, task: &TaskConfig, count: i32) -> Option<TaskConfig> {
    model::validation::admit_task(task.clone(), count, &view.settings.admission).ok()
}

fn quota_of(view: &View, task: &TaskConfig, needed: Option<Resources>) -> QuotaForecast {
    let role = task.job.role.clone();
    let held = quota::production_consumption(view, &role, None);
    let quota = view.quotas.get(&role).copied().unwrap_or_default();
    QuotaForecast { role, is_needed: needed.is_some(), quota, held, needed: needed.unwrap_or(held) }
}

fn create(view: &View, now_ms: i64, job: &JobConfiguration) -> Forecast {
    let mut forecast = Forecast { refusal: admission::check_create(view, job.clone()).err(), ..Forecast::default() };
    // What stands in the way is one thing; how it would stand with quota and room is told all the same.
    if let Some(task) = admitted(view, &job.task, job.instance_count) {
        let needed = quota::needed_for_tasks(view, &task, i64::from(job.instance_count));
        forecast.quota = Some(quota_of(view, &task, needed));
        forecast.placement = Some(new_tasks(view, now_ms, &task, job.instance_count));
    }
    forecast
}

fn new_tasks(view: &View, now_ms: i64, task: &TaskConfig, count: i32) -> PlacementForecast {
    let count = count.clamp(0, view.settings.admission.max_tasks_per_job.max(0)) as u32;
    let mut rooms = Rooms::new(view, now_ms, task);
    let fitting = rooms.fill(count);
    placement_of(rooms, count, fitting)
}

fn placement_of(rooms: Rooms<'_>, wanted: u32, fitting: u32) -> PlacementForecast {
    let obstacles = (fitting < wanted).then(|| rooms.obstacles());
    PlacementForecast {
        wanted,
        fitting,
        is_complete: rooms.is_complete(),
        is_connected: rooms.view.registered,
        obstacles,
        hosts: rooms.into_taken(),
    }
}

fn update_of(view: &View, now_ms: i64, update: Update) -> Forecast {
    let mut forecast = Forecast::default();
    // What could not be carried out admission refuses.
    let groups = updates::foretell_groups(&update).ok();
    if let Some(desired) = &update.desired {
        let needed = quota::needed_for_update(view, &update);
        forecast.quota = Some(quota_of(view, &desired.task, needed));
        let at_once = || vec![from_ranges(&desired.instances).into_iter().collect()];
        let groups = groups.clone().unwrap_or_else(at_once);
        forecast.placement = Some(groups_placed(view, now_ms, desired, &groups));
    }
    forecast.update = groups.map(|groups| course_of(update, groups));
    forecast
}

/// Room for the instances of an update, group by group: each finds what the groups before left, and what its own instances give back.
fn groups_placed(view: &View, now_ms: i64, desired: &InstanceConfig, groups: &[Vec<InstanceId>]) -> PlacementForecast {
    let task = &desired.task;
    let wanted = from_ranges(&desired.instances);
    let running: BTreeMap<InstanceId, &Arc<Task>> = view.active(&task.job).map(|task| (task.instance, task)).collect();
    let mut rooms = Rooms::new(view, now_ms, task);
    let mut fitting = 0;
    for instances in groups {
        let mut group = Group::default();
        for instance in instances {
            match running.get(instance) {
                None => group.added += u32::from(wanted.contains(instance)),
                Some(old) if wanted.contains(instance) => group.changed.push(old),
                Some(old) => group.removed.push(old),
            }
        }
        fitting += rooms.change(&group);
    }
    placement_of(rooms, wanted.len() as u32, fitting)
}

fn course_of(update: Update, groups: Vec<Vec<InstanceId>>) -> UpdateForecast {
    let desired = update.desired.as_ref().map(|desired| from_ranges(&desired.instances)).unwrap_or_default();
    let watched = groups.iter().filter(|group| group.iter().any(|instance| desired.contains(instance)));
    let least_duration_ms = i64::from(update.settings.min_wait_in_running_ms) * watched.count() as i64;
    UpdateForecast { update, groups, least_duration_ms }
}

/// Why a pending task waits, looked at anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// What the scheduler found when it tried last.
    pub reason: Option<Arc<PendingReason>>,
    /// Pending tasks of the same configuration, this one included.
    pub alike: u32,
    /// When they are tried again if no agent offers room before, in ms since the epoch; absent when their turn is now.
    pub next_try_ms: Option<i64>,
    /// How long the present wait between two tries is, in ms.
    pub penalty_ms: u64,
    /// Other groups of pending tasks that wait as well.
    pub other_groups: u32,
    /// Hosts on which one would fit at this moment.
    pub fitting_hosts: u32,
    /// What stands in the way.
    pub obstacles: Obstacles,
    /// Whether the engine is connected.
    pub is_connected: bool,
}

/// Why a task waits; `None` when it is not PENDING.
pub fn waiting(view: &View, now_ms: i64, task: &Task) -> Option<Waiting> {
    if task.status != TaskStatus::Pending {
        return None;
    }
    let rooms = Rooms::new(view, now_ms, &task.config);
    let own = view.waiting_groups.values().find(|group| group.config == task.config);
    let same = |other: &&Arc<Task>| other.status == TaskStatus::Pending && other.config == task.config;
    Some(Waiting {
        reason: view.pending_reasons.get(&task.id).cloned(),
        alike: view.tasks_of(&task.config.job).filter(same).count() as u32,
        next_try_ms: own.map(|group| group.next_try_ms),
        penalty_ms: own.map_or(0, |group| group.penalty_ms),
        other_groups: view.waiting_groups.len().saturating_sub(usize::from(own.is_some())) as u32,
        fitting_hosts: rooms.fitting_hosts(),
        obstacles: rooms.obstacles(),
        is_connected: view.registered,
    })
}

/// How many runs in a row before a task ended too soon (spec scheduler 1.5); those that are forgotten do not count.
pub fn flaps(view: &View, task: &Task) -> u32 {
    let threshold_ms = ms(view.settings.flapping_task_threshold);
    let before = |task: &Arc<Task>| view.tasks.get(task.ancestor.as_ref()?).cloned();
    let first = task.ancestor.as_ref().and_then(|id| view.tasks.get(id).cloned());
    std::iter::successors(first, before).take_while(|run| flapped(run, threshold_ms)).count() as u32
}
