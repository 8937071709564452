//! Agents: the machines that tasks run on, and their maintenance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use model::Host;
use scheduler::command::Outcome as Effect;
use scheduler::view::AgentView;
use scheduler::{Command, MaintenanceCommand, Task, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::{Change, Nothing};
use super::problem::{ChangeRefused, LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{Named, Parameters};
use super::shapes::{HostMode, Resources, SlaRule};
use super::tasks::TaskSummary;
use super::{Rest, found};

/// Hosts of one request, at most.
const MAX_HOSTS: usize = 10_000;

/// A machine.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSummary {
    /// Its host name.
    #[schema(example = "agent-1.example")]
    host: String,
    /// Id of its agent, as far as one is known.
    agent_id: Option<String>,
    /// It offers room, or has tasks on what it offered.
    is_connected: bool,
    /// Whether it takes tasks.
    mode: HostMode,
    /// When all tasks go whatever policies say, in ms since the epoch, while it is drained by policies.
    #[schema(example = 1_800_000_000_000_i64)]
    drained_by_force_from_ms: Option<i64>,
    /// What jobs may ask for in constraints.
    #[schema(example = json!({"rack": ["r1"]}))]
    attributes: BTreeMap<String, Vec<String>>,
    /// What it offers now; null while it is not connected.
    free: Option<Resources>,
    /// That, and what tasks hold there; null while it is not connected.
    total: Option<Resources>,
    /// Tasks placed there that have not ended.
    #[schema(example = 2)]
    tasks: usize,
}

/// Machines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    /// In order of their hosts.
    agents: Vec<AgentSummary>,
}

/// A machine with its tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentDetail {
    /// As in a list.
    #[serde(flatten)]
    summary: AgentSummary,
    /// Tasks placed there that have not ended, in order of their ids.
    running: Vec<TaskSummary>,
}

fn summary(view: &View, host: &str, agent: Option<&AgentView>, agent_id: Option<&str>, tasks: usize) -> AgentSummary {
    let known = view.hosts.get(host);
    let id = agent_id.map(str::to_owned).or_else(|| known.map(|known| known.agent_id.clone()));
    AgentSummary {
        host: host.to_owned(),
        agent_id: id.filter(|id| !id.is_empty()),
        is_connected: agent.is_some(),
        mode: known.map(|known| known.mode).unwrap_or_default().into(),
        drained_by_force_from_ms: view.maintenance.get(host).map(|request| request.forced_from_ms()),
        attributes: known.map(|known| known.attributes.clone()).unwrap_or_default(),
        free: agent.map(|agent| (&agent.free).into()),
        total: agent.map(|agent| (&agent.total).into()),
        tasks,
    }
}

/// Agents by host.
fn by_host(view: &View) -> BTreeMap<&str, Option<(&str, &AgentView)>> {
    let mut agents: BTreeMap<&str, Option<(&str, &AgentView)>> = BTreeMap::new();
    agents.extend(view.hosts.keys().map(|host| (host.as_str(), None)));
    agents.extend(view.agents.iter().map(|(id, agent)| (agent.host.as_str(), Some((id.as_str(), &**agent)))));
    agents
}

fn is_on(task: &Task, host: &str) -> bool {
    task.status.is_assigned() && task.host.as_deref().is_some_and(|of_task| of_task == host)
}

/// Lists agents
///
/// Every machine that ever offered room, those that went away included.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    operation_id = "listAgents",
    tag = "agents",
    responses((status = 200, description = "The agents.", body = Agents), ReadingRefused)
)]
pub async fn list_agents(State(rest): State<Rest>, Parameters(Nothing {}): Parameters<Nothing>) -> Outcome {
    let list = |view: &View| {
        let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
        for task in view.tasks.values().filter(|task| task.status.is_assigned()) {
            if let Some(host) = task.host.as_deref() {
                *tasks.entry(host).or_default() += 1;
            }
        }
        let agents = by_host(view).into_iter().map(|(host, agent)| {
            let (id, agent) = agent.unzip();
            summary(view, host, agent, id, tasks.get(host).copied().unwrap_or(0))
        });
        found(&Agents { agents: agents.collect() })
    };
    rest.read(list).await
}

/// Tells of an agent
///
/// And of the tasks there.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{host}",
    operation_id = "getAgent",
    tag = "agents",
    params(("host" = String, Path, description = "Host name of the agent.", example = "agent-1.example")),
    responses((status = 200, description = "The agent.", body = AgentDetail), LookingRefused)
)]
pub async fn get_agent(
    State(rest): State<Rest>,
    Named(host): Named,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    let look = move |view: &View| {
        let Some(agent) = by_host(view).remove(host.as_str()) else {
            let shown: String = host.chars().take(255).collect();
            return Err(Problem::not_found(format!("There is no agent {shown}: GET /api/v1/agents lists them.")));
        };
        let tasks: Vec<&Arc<Task>> = view.tasks.values().filter(|task| is_on(task, &host)).collect();
        let (id, agent) = agent.unzip();
        found(&AgentDetail {
            summary: summary(view, &host, agent, id, tasks.len()),
            running: tasks.into_iter().map(|task| TaskSummary::new(view, task)).collect(),
        })
    };
    rest.read(look).await
}

/// What is to be done with hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = "drain")]
pub enum MaintenanceAction {
    /// Announces maintenance: they take tasks only where no other host can.
    Start,
    /// Moves all tasks away; only policies of the tasks' own are asked, and only once.
    Drain,
    /// Ends maintenance: they take tasks again.
    End,
    /// Moves all tasks away as policies allow: needs `policy` and `timeoutSecs`.
    SlaDrain,
}

/// What is to be done with which hosts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// What.
    action: MaintenanceAction,
    /// With which.
    #[schema(example = json!(["agent-1.example"]), min_items = 1, max_items = 10_000)]
    hosts: Vec<String>,
    /// For `slaDrain`: what holds for tasks without a policy of their own.
    #[serde(default)]
    policy: Option<SlaRule>,
    /// For `slaDrain`: after so many seconds the rest goes, whatever policies say.
    #[serde(default)]
    #[schema(example = 7200, minimum = 0)]
    timeout_secs: Option<i64>,
}

/// A host and whether it takes tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostStatus {
    /// Its name.
    #[schema(example = "agent-1.example")]
    host: String,
    /// Whether it takes tasks.
    mode: HostMode,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceAnswer {
    /// The known ones of the hosts.
    hosts: Vec<HostStatus>,
    /// The others: nothing was done with them.
    unknown_hosts: Vec<String>,
}

/// The longest time that a drain may take, in seconds.
const MAX_SECS: i64 = i32::MAX as i64;

fn check_policy(policy: &SlaRule, timeout_secs: i64) -> Outcome<()> {
    let is_time = |secs: i64| (0..=MAX_SECS).contains(&secs);
    let is_sensible = match policy {
        SlaRule::Percentage { percentage, duration_secs } => {
            (0.0..=100.0).contains(percentage) && is_time(*duration_secs)
        }
        SlaRule::Count { count, duration_secs } => *count >= 0 && is_time(*duration_secs),
        SlaRule::Coordinator { url, .. } => !url.trim().is_empty(),
    };
    match is_sensible && is_time(timeout_secs) {
        true => Ok(()),
        false => Err(Problem::invalid(format!(
            "Give percentages from 0 to 100, counts from 0 on, times from 0 to {MAX_SECS} seconds, and a coordinator's address."
        ))),
    }
}

fn command_of(request: &MaintenanceRequest) -> Outcome<MaintenanceCommand> {
    let hosts: Vec<Host> = request.hosts.clone();
    if hosts.is_empty() || hosts.len() > MAX_HOSTS {
        return Err(Problem::invalid(format!("Name 1 to {MAX_HOSTS} hosts.")));
    }
    let is_sla_drain = request.action == MaintenanceAction::SlaDrain;
    if !is_sla_drain && (request.policy.is_some() || request.timeout_secs.is_some()) {
        return Err(Problem::invalid("'policy' and 'timeoutSecs' belong to the action slaDrain only."));
    }
    Ok(match request.action {
        MaintenanceAction::Start => MaintenanceCommand::Start { hosts },
        MaintenanceAction::Drain => MaintenanceCommand::Drain { hosts },
        MaintenanceAction::End => MaintenanceCommand::End { hosts },
        MaintenanceAction::SlaDrain => {
            let (Some(policy), Some(timeout_secs)) = (&request.policy, request.timeout_secs) else {
                return Err(Problem::invalid("The action slaDrain needs 'policy' and 'timeoutSecs'."));
            };
            check_policy(policy, timeout_secs)?;
            MaintenanceCommand::SlaDrain { hosts, default_policy: policy.clone().into(), timeout_secs }
        }
    })
}

/// Begins or ends maintenance of hosts
///
/// For operators.
#[utoipa::path(
    post,
    path = "/api/v1/agents/maintenance",
    operation_id = "changeMaintenance",
    tag = "agents",
    request_body(content = MaintenanceRequest, description = "What is to be done with which hosts."),
    responses((status = 200, description = "What came of it.", body = MaintenanceAnswer), ChangeRefused)
)]
pub async fn change_maintenance(State(rest): State<Rest>, change: Change) -> Outcome {
    let request: MaintenanceRequest = change.json()?;
    let command = command_of(&request)?;
    let reply = change.submit(&rest, Command::Maintenance(command), |_| None).await?;
    let modes = match reply.outcome {
        Effect::Hosts(modes) => modes,
        _ => Vec::new(),
    };
    let known: BTreeSet<&str> = modes.iter().map(|(host, _)| host.as_str()).collect();
    let unknown: BTreeSet<&str> =
        request.hosts.iter().map(String::as_str).filter(|host| !known.contains(host)).collect();
    found(&MaintenanceAnswer {
        unknown_hosts: unknown.into_iter().map(str::to_owned).collect(),
        hosts: modes.iter().map(|(host, mode)| HostStatus { host: host.clone(), mode: (*mode).into() }).collect(),
    })
}
