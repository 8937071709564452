//! `/agents`: machines, their room and what runs on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::MaintenanceMode;
use scheduler::{Task, View};
use serde::Deserialize;

use super::maintenance::{self, MaintenanceBox};
use super::scheduler::{ResourceBar, bars};
use super::task_row::{self, TaskRow};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::tally::{Paging, Tally};
use crate::words::{self, Markup};

/// Machines on one page.
const AGENTS_PER_PAGE: usize = 60;
/// Tasks listed of one machine among others, and of one alone.
const TASKS_SHOWN: usize = 6;
const TASKS_SHOWN_ALONE: usize = 200;

struct AgentBox {
    host: String,
    href: String,
    id: String,
    is_connected: bool,
    maintenance: Option<MaintenanceBox>,
    attributes: Vec<(String, String)>,
    bars: Vec<ResourceBar>,
    badges: Vec<Markup>,
    tasks: Vec<(String, TaskRow)>,
    more: String,
}

#[derive(Template)]
#[template(path = "agents.html")]
struct Page {
    heading: String,
    summary: String,
    agents: Vec<AgentBox>,
    paging: Paging,
    is_alone: bool,
}

/// Which machines.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    page: usize,
    #[serde(default)]
    host: String,
}

/// Hosts to show: connected agents by name, and hosts known from before where tasks still are.
fn hosts(view: &View, on_host: &BTreeMap<&str, Vec<&Arc<Task>>>) -> BTreeMap<String, Option<String>> {
    let known = on_host.keys().map(|host| ((*host).to_owned(), None));
    let connected = view.agents.iter().map(|(id, agent)| (agent.host.clone(), Some(id.clone())));
    // One that is in maintenance may well be switched off; it is not forgotten.
    let maintained = view.hosts.iter().filter(|(_, record)| record.mode != MaintenanceMode::None);
    let maintained = maintained.map(|(host, _)| (host.clone(), None));
    known.chain(maintained).chain(connected).collect()
}

fn agent_box(
    state: &WebState,
    view: &View,
    host: String,
    id: Option<String>,
    tasks: &[&Arc<Task>],
    is_alone: bool,
    now_ms: i64,
) -> AgentBox {
    let mut tally = Tally::default();
    for task in tasks {
        tally.add(task.status);
    }
    let shown = if is_alone { TASKS_SHOWN_ALONE } else { TASKS_SHOWN };
    let more = tasks.len().saturating_sub(shown);
    let record = view.hosts.get(&host);
    AgentBox {
        href: format!("/agents?host={}", link::part(&host)),
        is_connected: id.is_some(),
        maintenance: maintenance::of_host(state, view, &host, tasks, now_ms),
        attributes: record
            .map(|record| record.attributes.iter().map(|(name, values)| (name.clone(), values.join(", "))).collect())
            .unwrap_or_default(),
        bars: id.as_ref().and_then(|id| view.agents.get(id)).map(|agent| bars(agent)).unwrap_or_default(),
        badges: tally.badges(),
        tasks: tasks
            .iter()
            .take(shown)
            .map(|task| (format!("{}/{}", task.config.job, task.instance), task_row::row(view, task, now_ms)))
            .collect(),
        more: if more > 0 { format!("and {} more", words::grouped(more as u64)) } else { String::new() },
        id: id.or_else(|| record.map(|record| record.agent_id.clone())).unwrap_or_default(),
        host,
    }
}

/// `/agents`.
pub async fn show(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let is_alone = !wanted.host.is_empty();
    let mut on_host: BTreeMap<&str, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.status.is_assigned()) {
        if let Some(host) = task.host.as_deref().filter(|host| !is_alone || **host == wanted.host) {
            on_host.entry(host).or_default().push(task);
        }
    }
    let mut hosts = hosts(&view, &on_host);
    let count = hosts.len();
    if is_alone {
        hosts.retain(|host, _| *host == wanted.host);
        if hosts.is_empty() && view.hosts.contains_key(&wanted.host) {
            hosts.insert(wanted.host.clone(), None);
        }
        if hosts.is_empty() {
            return Problem {
                heading: format!("No machine {}", wanted.host),
                reason: "No machine of that name has offered room since this scheduler was set up.".into(),
                suggestions: vec![Crumb { text: "All machines".into(), href: "/agents".into() }],
                ..Problem::default()
            }
            .answer(StatusCode::NOT_FOUND, &state, &headers);
        }
    }
    let paging = Paging::new(hosts.len(), AGENTS_PER_PAGE, wanted.page, |page| format!("/agents?page={page}"));
    let agents = hosts
        .into_iter()
        .skip(paging.first)
        .take(paging.end - paging.first)
        .map(|(host, id)| {
            let tasks = on_host.get(host.as_str()).map(Vec::as_slice).unwrap_or_default();
            agent_box(&state, &view, host, id, tasks, is_alone, now_ms)
        })
        .collect();
    let crumbs = if is_alone {
        vec![
            Crumb { text: "agents".into(), href: "/agents".into() },
            Crumb { text: wanted.host.clone(), href: String::new() },
        ]
    } else {
        Vec::new()
    };
    let frame =
        Frame { title: "Agents".into(), section: "agents", crumbs, live: Scope::all().address(&view), wide: false };
    let page = Page {
        heading: if is_alone { wanted.host } else { "Agents".into() },
        summary: words::plural(count as u64, "machine", "machines"),
        agents,
        paging,
        is_alone,
    };
    page::show(&state, &headers, &frame, &page)
}
