//! What the scheduler itself says of a plan or of a waiting task, by `/api/v1` (docs/explain.md). Only Daybreak has that; of other
//! schedulers nothing is known then, which is no error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::{Page, Scheduler, TransportError};

/// `POST /api/v1/plan`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Forecast {
    /// Why the change would be refused.
    pub refusal: Option<Refusal>,
    /// Quota.
    pub quota: Option<Quota>,
    /// Room.
    pub placement: Option<Placement>,
    /// Course of an update.
    pub update: Option<Course>,
}

/// How an update would go. Schedulers before this was told leave both out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Course {
    /// Instances in the groups and the order in which they are taken.
    pub groups: Option<Vec<Vec<u32>>>,
    /// It cannot take less.
    pub least_duration_ms: Option<i64>,
}

/// A refusal in the scheduler's words.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Refusal {
    /// Code, e.g. `INVALID_REQUEST`.
    pub code: String,
    /// Sentences.
    pub messages: Vec<String>,
}

/// CPU in cores, the rest in MB.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Memory.
    pub ram_mb: f64,
    /// Disk.
    pub disk_mb: f64,
}

/// Quota of a role.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Quota {
    /// Role.
    pub role: String,
    /// Whether tasks of this kind need any.
    pub is_needed: bool,
    /// What the role may hold.
    pub quota: Amounts,
    /// What it holds.
    pub held: Amounts,
    /// What it would hold.
    pub needed: Amounts,
}

/// Room for new tasks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    /// Tasks that would look for room.
    pub wanted: u64,
    /// Those that would find it now.
    pub fitting: u64,
    /// Whether all were tried.
    pub is_complete: bool,
    /// Whether the engine is connected.
    pub is_connected: bool,
    /// Hosts, and how many tasks each would take.
    pub hosts: BTreeMap<String, u64>,
    /// Why the rest finds none.
    pub obstacles: Option<Obstacles>,
}

/// What stands in the way.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Obstacles {
    /// Agents looked at.
    pub agents: u64,
    /// One sentence.
    pub sentence: String,
    /// Texts of the nearest fit.
    pub nearest_fit: String,
    /// By what makes agents refuse.
    pub reasons: Vec<Obstacle>,
    /// The agent that only lacks a little.
    pub nearest: Option<Nearest>,
    /// What is asked of attributes.
    pub constraints: Vec<ConstraintSeen>,
    /// Whether evicting others could help.
    pub preemption: Preemption,
}

/// Agents that refuse alike.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Obstacle {
    /// Texts.
    pub reasons: Vec<String>,
    /// How many.
    pub agents: u64,
    /// Some of their hosts.
    pub hosts: Vec<String>,
}

/// The nearest fit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Nearest {
    /// Host.
    pub host: String,
    /// What it lacks.
    pub lacks: Vec<Shortfall>,
}

/// What there is too little of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Shortfall {
    /// `cpus`, `ramMb`, `diskMb`, `ports` or `gpus`.
    pub kind: String,
    /// What a task takes there.
    pub needed: f64,
    /// What is free.
    pub free: f64,
    /// The difference.
    pub missing: f64,
}

/// A constraint and what agents have.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ConstraintSeen {
    /// Attribute.
    pub name: String,
    /// What is asked.
    pub wanted: String,
    /// Values, and how many agents have each.
    pub seen: BTreeMap<String, u64>,
    /// Agents without the attribute.
    pub without: u64,
}

/// Whether preemption could help.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Preemption {
    /// Whether it is on.
    pub enabled: bool,
    /// Whether it was looked at.
    pub looked_at: bool,
    /// How long a task must wait first.
    pub delay_ms: i64,
    /// Where room could be made.
    pub host: Option<String>,
    /// Tasks that would go.
    pub victims: Vec<String>,
}

/// `GET /api/v1/explain`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Knowledge {
    /// Whether the engine is connected.
    pub is_connected: bool,
    /// Since when it is not.
    pub disconnected_since_ms: Option<i64>,
    /// The journal is short of room.
    pub journal_space_low: bool,
    /// Pending tasks by configuration.
    pub pending: Vec<Waiting>,
    /// Throttled tasks.
    pub throttled: BTreeMap<String, Throttled>,
    /// A run shorter than this is a flap.
    pub flapping_threshold_ms: i64,
    /// Hosts in maintenance.
    pub hosts: BTreeMap<String, HostMode>,
    /// The cron job.
    pub cron: Option<Cron>,
    /// The active update.
    pub update: Option<UpdateProgress>,
}

/// A task that is held back.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Throttled {
    /// Until when.
    pub until_ms: i64,
    /// Runs in a row that ended too soon.
    pub flaps: u64,
}

/// Pending tasks that are alike.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// Ids.
    pub tasks: Vec<String>,
    /// What the scheduler said when it tried last.
    pub sentence: Option<String>,
    /// When they are tried again at the latest.
    pub next_try_ms: Option<i64>,
    /// The present wait between two tries.
    pub penalty_ms: i64,
    /// Other groups that wait.
    pub other_groups: u64,
    /// Hosts that would take one now.
    pub fitting_hosts: u64,
    /// What stands in the way.
    pub obstacles: Obstacles,
}

/// A host that is not in ordinary use.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct HostMode {
    /// Mode.
    pub mode: String,
    /// When the rest is moved away whatever policies say.
    pub forced_from_ms: Option<i64>,
}

/// A cron job.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Cron {
    /// Schedule.
    pub schedule: String,
    /// Whether the schedule can be read.
    pub is_readable: bool,
    /// Zone it is meant in.
    pub timezone: String,
    /// Collision policy.
    pub collision_policy: String,
    /// When it was scheduled.
    pub scheduled_ms: i64,
    /// The next time.
    pub next_run_ms: Option<i64>,
    /// Instances of a run.
    pub instances: u64,
    /// Runs, latest first.
    pub runs: Vec<CronRun>,
}

/// A run of a cron job.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct CronRun {
    /// Time of the schedule.
    pub nominal_ms: Option<i64>,
    /// When it was decided.
    pub recorded_ms: i64,
    /// Who asked for it.
    pub user: Option<String>,
    /// `STARTED`, `WAITING`, `CANCELLED`, `IGNORED` or `MISSED`.
    pub outcome: String,
    /// The same as a sentence.
    pub sentence: String,
}

/// How far an update is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateProgress {
    /// Id.
    pub id: String,
    /// Instances by stage: `idle`, `working`, `succeeded`, `failed`.
    pub stages: BTreeMap<String, Vec<u32>>,
    /// Failures by instance.
    pub failures: BTreeMap<String, u64>,
    /// The latest pulse.
    pub last_pulse_ms: Option<i64>,
}

/// Asks what a change would come to; `None` where the scheduler has no such judgement. Besides the parsed form the document itself.
pub fn forecast(scheduler: &mut Scheduler<'_>, method: &str, arguments: &Value) -> Outcome<Option<(Forecast, Value)>> {
    let question = serde_json::json!({ "method": method, "arguments": arguments }).to_string();
    let page = scheduler.ask("/api/v1/plan", Some(question.as_bytes()));
    let Some((status, document)) = answered(page)? else { return Ok(None) };
    match (status, serde_json::from_value(document.clone())) {
        (200, Ok(forecast)) => Ok(Some((forecast, document))),
        _ => Err(odd(status, &document)),
    }
}

/// Asks what is known of `query` (`job=...` or `task=...`); `None` where the scheduler has no such knowledge, or no such job.
pub fn knowledge(scheduler: &mut Scheduler<'_>, query: &str) -> Outcome<Option<(Knowledge, Value)>> {
    let Some((status, document)) = answered(scheduler.ask(&format!("/api/v1/explain?{query}"), None))? else {
        return Ok(None);
    };
    match (status, serde_json::from_value(document.clone())) {
        (200, Ok(knowledge)) => Ok(Some((knowledge, document))),
        (404, _) => Ok(None),
        _ => Err(odd(status, &document)),
    }
}

/// A document of the API, whatever its status; what is none comes from another scheduler.
fn answered(page: Result<Page, TransportError>) -> Outcome<Option<(u16, Value)>> {
    match page {
        Ok(page) => {
            let document = serde_json::from_slice::<Value>(&page.body).ok().filter(Value::is_object);
            Ok(document.map(|document| (page.status, document)))
        }
        Err(TransportError::Denied(why)) => Err(Failure::new(Exit::AuthError, why)),
        // The calls before this one were answered: it is only this that is not.
        Err(_) => Ok(None),
    }
}

fn odd(status: u16, document: &Value) -> Failure {
    let why = document["error"].as_str().map_or_else(|| format!("HTTP {status}"), str::to_owned);
    Failure::new(Exit::ApiError, format!("The scheduler could not judge this: {why}"))
}
