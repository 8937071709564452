//! `/updates` and `…/update/<id>`: updates of jobs, how far they are, what happened.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::update::{InstanceUpdateEvent, Update, UpdateStatus, UpdateStrategy, from_ranges};
use model::{InstanceId, JobKey, UpdateKey};
use scheduler::View;
use serde::Deserialize;

use super::configuration::{self, Change, ConfigurationBox};
use super::task_row::EventRow;
use super::update_instances::{self, Shown, Standing};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::tally::Paging;
use crate::words::{self, Markup};

/// Updates on one page.
const UPDATES_PER_PAGE: usize = 100;
/// Instances drawn in the grid of an update.
const INSTANCES_SHOWN: usize = 1_000;
/// Differing values listed.
const CHANGES_SHOWN: usize = 60;
/// Instance events listed.
const EVENTS_SHOWN: usize = 200;

/// An update as a row.
pub struct UpdateRow {
    /// Its page.
    pub href: String,
    /// First characters of its id.
    pub short_id: String,
    /// Job, as text and address.
    pub job: String,
    /// Page of the job.
    pub job_href: String,
    /// State.
    pub badge: Markup,
    /// `3 of 5 instances`.
    pub progress: String,
    /// Drawing of it.
    pub bar: Markup,
    /// Who.
    pub user: String,
    /// When it began.
    pub started: Markup,
    /// How long it took, or takes.
    pub lasted: String,
    /// What the last event said.
    pub message: String,
}

/// An update as a row.
pub fn row(view: &View, update: &Update, now_ms: i64) -> UpdateRow {
    let standings = update_instances::standings(view, update);
    let done = standings.values().filter(|standing| standing.done).count() as u64;
    let total = standings.len() as u64;
    let end = if update.status().is_active() { now_ms } else { update.last_modified_ms() };
    UpdateRow {
        href: link::update(&update.key.job, &update.key.id),
        short_id: update.key.id.chars().take(8).collect(),
        job: update.key.job.to_string(),
        job_href: link::job(&update.key.job),
        badge: words::update_look(update.status()).badge(),
        progress: format!("{} of {}", words::grouped(done), words::plural(total, "instance", "instances")),
        bar: words::progress(done as f64, total as f64, update.status() == UpdateStatus::RolledForward),
        user: update.user.clone(),
        started: words::ago(update.created_ms(), now_ms),
        lasted: words::exact(end - update.created_ms()),
        message: update.events.last().and_then(|event| event.message.clone()).unwrap_or_default(),
    }
}

/// Said of a rolling update while the journal is short of room.
const WAITS_FOR_ROOM: &str =
    "Waiting: the disk of the scheduler's journal is nearly full. The update goes on once there is room.";

/// What an update waits for, as a sentence and, where a user can end the wait, the command that does.
#[derive(Default)]
struct Wait {
    sentence: String,
    command: String,
}

fn wait(view: &View, update: &Update, state: &WebState) -> Wait {
    use UpdateStatus::{
        RollBackAwaitingPulse, RollBackPaused, RollForwardAwaitingPulse, RollForwardPaused, RollingBack, RollingForward,
    };
    let key = &update.key;
    match update.status() {
        RollingForward | RollingBack if view.space_low => Wait { sentence: WAITS_FOR_ROOM.into(), ..Wait::default() },
        RollForwardPaused | RollBackPaused => Wait {
            sentence: "Paused: tasks stay as they are. It goes on with".into(),
            command: format!("{} update resume {}/{}", super::aurora(state), state.cluster, key.job),
        },
        RollForwardAwaitingPulse | RollBackAwaitingPulse => {
            let last = match view.update_pulses.get(key) {
                Some(last_ms) => {
                    format!("the last one came {} ago", words::exact(state.now_ms().saturating_sub(*last_ms).max(0)))
                }
                None => "none has come yet".into(),
            };
            Wait { sentence: format!("Waiting for a pulse of its coordinator: {last}."), ..Wait::default() }
        }
        _ => Wait::default(),
    }
}

struct Cell {
    instance: InstanceId,
    href: String,
    shown: Shown,
}

/// What an update changes for some instances.
struct ChangeBox {
    instances: String,
    changes: Vec<Change>,
    more: String,
}

/// Differences of every replaced configuration to the new one.
fn change_boxes(update: &Update) -> Vec<ChangeBox> {
    let Some(desired) = &update.desired else { return Vec::new() };
    let wanted = from_ranges(&desired.instances);
    // Those of instances that are removed change into nothing.
    let is_changed = |initial: &&model::update::InstanceConfig| {
        from_ranges(&initial.instances).iter().any(|instance| wanted.contains(instance))
    };
    let describe = |initial: &model::update::InstanceConfig| {
        let mut changes = configuration::changes(&initial.task, &desired.task);
        let more = changes.len().saturating_sub(CHANGES_SHOWN);
        changes.truncate(CHANGES_SHOWN);
        ChangeBox {
            instances: format!(
                "Instances {}",
                words::ranges(from_ranges(&initial.instances).intersection(&wanted).copied())
            ),
            changes,
            more: if more > 0 { format!("and {} more", words::grouped(more as u64)) } else { String::new() },
        }
    };
    update.initial.iter().filter(is_changed).map(describe).collect()
}

struct InstanceEventRow {
    at: Markup,
    instance: InstanceId,
    href: String,
    name: &'static str,
    tone: &'static str,
    message: String,
}

#[derive(Template)]
#[template(path = "update.html")]
struct Page {
    key: JobKey,
    id: String,
    row: UpdateRow,
    /// Why it goes no further at the moment.
    wait: Wait,
    /// Which instances it adds, changes and removes.
    scope: String,
    settings: Vec<(&'static str, String)>,
    /// The client's own.
    metadata: Vec<(String, String)>,
    cells: Vec<Cell>,
    more_cells: String,
    events: Vec<EventRow>,
    instance_events: Vec<InstanceEventRow>,
    more_events: String,
    changes: Vec<ChangeBox>,
    before: Vec<ConfigurationBox>,
    after: Option<ConfigurationBox>,
}

fn settings(update: &Update) -> Vec<(&'static str, String)> {
    let settings = &update.settings;
    let strategy = match &settings.strategy {
        UpdateStrategy::Queue { group_size } => format!("{group_size} at a time"),
        UpdateStrategy::Batch { group_size, autopause_after_batch } => {
            format!("batches of {group_size}{}", if *autopause_after_batch { ", pausing after each" } else { "" })
        }
        UpdateStrategy::VariableBatch { group_sizes, autopause_after_batch } => {
            let sizes: Vec<String> = group_sizes.iter().map(i32::to_string).collect();
            let pause = if *autopause_after_batch { ", pausing after each" } else { "" };
            format!("batches of {}{pause}", sizes.join(", "))
        }
    };
    let mut rows = vec![
        ("Strategy", strategy),
        ("Watched", format!("{} in RUNNING", words::exact(settings.min_wait_in_running_ms.into()))),
        (
            "Tolerates",
            format!(
                "{} per instance, {}",
                words::plural(settings.max_per_instance_failures.max(0) as u64, "failure", "failures"),
                words::plural(settings.max_failed_instances.max(0) as u64, "failed instance", "failed instances")
            ),
        ),
        ("On failure", if settings.rollback_on_failure { "rolls back" } else { "stops" }.into()),
    ];
    if !settings.only_these_instances.is_empty() {
        rows.push(("Only instances", words::ranges(from_ranges(&settings.only_these_instances))));
    }
    if let Some(ms) = settings.block_if_no_pulses_after_ms.filter(|ms| *ms > 0) {
        rows.push(("Pulse", format!("waits when none came for {}", words::exact(ms.into()))));
    }
    if settings.sla_aware {
        rows.push(("Kills", "only as the SLA policy allows".into()));
    }
    rows
}

fn events(update: &Update) -> Vec<EventRow> {
    let ends = update.events.iter().skip(1).map(|event| Some(event.timestamp_ms)).chain([None]);
    let mut rows: Vec<EventRow> = update
        .events
        .iter()
        .zip(ends)
        .map(|(event, end)| EventRow {
            at: words::moment(event.timestamp_ms),
            badge: words::update_look(event.status).badge(),
            lasted: end.map(|end| words::exact(end - event.timestamp_ms)).unwrap_or_default(),
            message: match (&event.user, &event.message) {
                (Some(user), Some(message)) => format!("{message} ({user})"),
                (Some(user), None) => format!("by {user}"),
                (None, message) => message.clone().unwrap_or_default(),
            },
        })
        .collect();
    rows.reverse();
    rows
}

fn instance_event(key: &JobKey, event: &InstanceUpdateEvent) -> InstanceEventRow {
    InstanceEventRow {
        at: words::moment(event.timestamp_ms),
        instance: event.instance,
        href: format!("{}/{}", link::job(key), event.instance),
        name: event.action.name(),
        tone: update_instances::action_words(Some(event.action)).1,
        message: event.message.clone().unwrap_or_default(),
    }
}

/// `…/update/<id>`.
pub async fn show(
    State(state): State<WebState>,
    Path((role, environment, job, id)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let key = JobKey::new(role, environment, job);
    let view = (state.view)();
    let Some(update) = view.updates.get(&UpdateKey { job: key.clone(), id: id.clone() }) else {
        return Problem {
            heading: "No such update".into(),
            reason: format!("{key} has no update {id}. The job's page lists those that are kept."),
            suggestions: vec![
                Crumb { text: key.to_string(), href: link::job(&key) },
                Crumb { text: "All updates".into(), href: "/updates".into() },
            ],
            crumbs: Frame::of_job(&key),
            ..Problem::default()
        }
        .answer(StatusCode::NOT_FOUND, &state, &headers);
    };
    let standings = update_instances::standings(&view, update);
    let more_cells = standings.len().saturating_sub(INSTANCES_SHOWN);
    let more_events = update.instance_events.len().saturating_sub(EVENTS_SHOWN);
    let cell = |(instance, standing): (&InstanceId, &Standing<'_>)| {
        let href = format!("{}/{instance}", link::job(&key));
        Cell { instance: *instance, href, shown: standing.shown(update.status()) }
    };
    let describe = |config: &model::update::InstanceConfig| {
        let label = format!("Instances {}", words::ranges(from_ranges(&config.instances)));
        configuration::describe(&config.task, label)
    };
    let mut crumbs = Frame::of_job(&key);
    crumbs.push(Crumb { text: "update".into(), href: String::new() });
    let frame = Frame {
        title: format!("Update of {}", key.name),
        section: "updates",
        crumbs,
        live: Scope::job(&key).address(&view),
        wide: false,
    };
    let more =
        |count: usize| if count > 0 { format!("and {} more", words::grouped(count as u64)) } else { String::new() };
    let page = Page {
        wait: wait(&view, update, &state),
        scope: update_instances::scope(update),
        row: row(&view, update, state.now_ms()),
        settings: settings(update),
        metadata: update.metadata.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
        cells: standings.iter().take(INSTANCES_SHOWN).map(cell).collect(),
        more_cells: more(more_cells),
        events: events(update),
        instance_events: update
            .instance_events
            .iter()
            .rev()
            .take(EVENTS_SHOWN)
            .map(|event| instance_event(&key, event))
            .collect(),
        more_events: more(more_events),
        changes: change_boxes(update),
        before: update.initial.iter().map(describe).collect(),
        after: update.desired.as_ref().map(describe),
        id,
        key: key.clone(),
    };
    page::show(&state, &headers, &frame, &page)
}

#[derive(Template)]
#[template(path = "updates.html")]
struct ListPage {
    active: Vec<UpdateRow>,
    ended: Vec<UpdateRow>,
    paging: Paging,
    command: String,
}

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    page: usize,
}

/// `/updates`: those under way, then the ended ones, newest first.
pub async fn list(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let (mut active, mut ended): (Vec<_>, Vec<_>) =
        view.updates.values().partition(|update| update.status().is_active());
    active.sort_by_key(|update| std::cmp::Reverse(update.created_ms()));
    active.truncate(UPDATES_PER_PAGE);
    ended.sort_by_key(|update| std::cmp::Reverse(update.last_modified_ms()));
    let paging = Paging::new(ended.len(), UPDATES_PER_PAGE, wanted.page, |page| format!("/updates?page={page}"));
    let page = ListPage {
        active: active.iter().map(|update| row(&view, update, now_ms)).collect(),
        ended: ended[paging.first..paging.end].iter().map(|update| row(&view, update, now_ms)).collect(),
        paging,
        command: format!("{} update start {}/ROLE/ENVIRONMENT/JOB FILE.aurora", super::aurora(&state), state.cluster),
    };
    let frame = Frame {
        title: "Updates".into(),
        section: "updates",
        crumbs: Vec::new(),
        live: Scope::all().address(&view),
        wide: false,
    };
    page::show(&state, &headers, &frame, &page)
}
