//! `/scheduler`: the machines' room and the roles; for a first visitor, how to begin.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use model::TaskStatus;
use scheduler::view::AgentView;
use scheduler::{Command, Principal, ReplyCode, View};

use super::role::{self, Wanted};
use crate::link;
use crate::live::Scope;
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::tally::{self, Paging};
use crate::words::{self, Markup};

/// Roles on one page.
const ROLES_PER_PAGE: usize = 200;
/// With more machines than this only their sum is shown.
const MACHINES_SHOWN: usize = 4;

/// One resource of a machine: name, bar, words.
pub struct ResourceBar {
    /// Name.
    pub name: &'static str,
    /// Drawing.
    pub bar: Markup,
    /// `2 of 8`.
    pub words: String,
}

/// A machine, or all of them together.
pub struct Machine {
    /// Name.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Resources.
    pub bars: Vec<ResourceBar>,
}

/// Used and total of each resource of a machine.
pub fn bars(agent: &AgentView) -> Vec<ResourceBar> {
    let used = agent.total - agent.free;
    let bar = |name, used: i64, total: i64, words: String| ResourceBar {
        name,
        bar: words::meter(used as f64, total as f64),
        words,
    };
    let mut bars = vec![
        bar("cpu", used.cpu.0, agent.total.cpu.0, format!("{} of {}", used.cpu, agent.total.cpu)),
        bar("memory", used.ram_mb, agent.total.ram_mb, words::part_of_megabytes(used.ram_mb, agent.total.ram_mb)),
        bar("disk", used.disk_mb, agent.total.disk_mb, words::part_of_megabytes(used.disk_mb, agent.total.disk_mb)),
    ];
    if agent.total.gpus > 0 {
        bars.push(bar("gpu", used.gpus, agent.total.gpus, format!("{} of {}", used.gpus, agent.total.gpus)));
    }
    bars
}

fn machines(view: &View) -> Vec<Machine> {
    if view.agents.len() <= MACHINES_SHOWN {
        let machine = |agent: &AgentView| Machine {
            name: agent.host.clone(),
            href: format!("/agents?host={}", link::part(&agent.host)),
            bars: bars(agent),
        };
        return view.agents.values().map(|agent| machine(agent)).collect();
    }
    let mut sum = AgentView::default();
    for agent in view.agents.values() {
        sum.free += agent.free;
        sum.total += agent.total;
    }
    let name = words::plural(view.agents.len() as u64, "machine", "machines");
    vec![Machine { name, href: "/agents".into(), bars: bars(&sum) }]
}

struct RoleRow {
    name: String,
    href: String,
    jobs: String,
    badges: Vec<Markup>,
    bar: Markup,
    changed: Markup,
}

#[derive(Template)]
#[template(path = "scheduler.html")]
struct Page {
    machines: Vec<Machine>,
    roles: Vec<RoleRow>,
    summary: String,
    pending: Option<String>,
    paging: Paging,
    tutorial: String,
    create: String,
    sample: String,
}

/// `/scheduler`; with `?q=…` the jobs found.
pub async fn show(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    if !wanted.q.trim().is_empty() {
        return role::search(&state, &headers, &wanted);
    }
    let view = (state.view)();
    let now_ms = state.now_ms();
    let roles = tally::roles(&view);
    let paging = Paging::new(roles.len(), ROLES_PER_PAGE, wanted.page, |page| format!("/scheduler?page={page}"));
    let jobs = roles.values().map(|role| role.jobs).sum();
    let waiting: u64 = roles.values().map(|role| role.tally.of(TaskStatus::Pending)).sum();
    let rows = roles.iter().skip(paging.first).take(paging.end - paging.first).map(|(name, role)| RoleRow {
        name: name.clone(),
        href: link::role(name),
        jobs: format!("{}, {} active", words::plural(role.jobs, "job", "jobs"), words::grouped(role.active_jobs)),
        badges: role.tally.badges(),
        bar: role.tally.bar(),
        changed: words::ago(role.changed_ms, now_ms),
    });
    let sample = (state.sample_job)().key;
    let executable = words::shell(&state.executable.to_string_lossy());
    let page = Page {
        machines: machines(&view),
        roles: rows.collect(),
        summary: format!(
            "{} with {}",
            words::plural(roles.len() as u64, "role", "roles"),
            words::plural(jobs, "job", "jobs")
        ),
        pending: (waiting > 0).then(|| format!("why {} pending", words::plural(waiting, "task is", "tasks are"))),
        paging,
        tutorial: format!("{executable} tutorial ~/hello"),
        create: format!("{} job create {}/{} FILE.aurora", super::aurora(&state), state.cluster, sample),
        sample: sample.to_string(),
    };
    let frame = Frame {
        title: "Jobs".into(),
        section: "jobs",
        crumbs: Vec::new(),
        live: Scope::all().address(&view),
        wide: false,
    };
    page::show(&state, &headers, &frame, &page)
}

/// `POST /sample-job`: asks for the sample job and leads to its page. Pressing twice leads to the one that runs.
pub async fn run_sample(
    State(state): State<WebState>,
    principal: Option<Extension<Principal>>,
    headers: HeaderMap,
) -> Response {
    let job = (state.sample_job)();
    let key = job.key.clone();
    let is_active = (state.view)().tasks_of(&key).any(|task| task.status.is_active());
    if !is_active {
        let principal = principal.map_or_else(Principal::unsecure, |Extension(principal)| principal);
        let reply = (state.submit)(principal, Command::CreateJob(Box::new(job))).await;
        if reply.code != ReplyCode::Ok {
            let problem = Problem {
                heading: "The sample job was not accepted".into(),
                reason: reply.messages.join(" "),
                suggestions: vec![Crumb { text: "All roles".into(), href: "/scheduler".into() }],
                crumbs: Frame::here(Frame::of_job(&key)),
                ..Problem::default()
            };
            let status = match reply.code {
                ReplyCode::ErrorTransient => StatusCode::SERVICE_UNAVAILABLE,
                ReplyCode::Error => StatusCode::INTERNAL_SERVER_ERROR,
                ReplyCode::AuthFailed => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            return problem.answer(status, &state, &headers);
        }
    }
    Redirect::to(&link::job(&key)).into_response()
}
