//! What Aurora's operators and scripts read beside the API: the state as JSON, stored structs, the way to a running instance
//! (spec scheduler 7.1; docs/endpoints.md says which of Aurora's paths are kept). Everything is read from one frozen view.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::extract::{Path, Query, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use gateway::Gateway;
use model::validation::AdmissionRules;
use model::{JobKey, MaintenanceMode, TaskConfig, TaskId, TaskStatus};
use scheduler::view::OfferView;
use scheduler::{Task, View};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thrift::encode_plain;

use crate::admin::scheduled_task;

/// What these pages are drawn from. Cheap to clone.
#[derive(Clone)]
pub struct Inspection {
    /// The way to the latest view.
    pub gateway: Arc<Gateway>,
    /// Tiers.
    pub admission: Arc<AdmissionRules>,
    /// The scheduler's advertised host name, part of every task event.
    pub scheduler_host: Arc<str>,
}

/// The routes.
pub fn router(state: Inspection) -> Router {
    let proxied = "/mname/{role}/{environment}/{job}/{instance}";
    Router::new()
        .route("/leaderhealth", get(|| async { "This scheduler leads.\n" }))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .route("/offers", get(offers))
        .route("/pendingtasks", get(pending_tasks))
        .route("/quotas", get(quotas))
        .route("/maintenance", get(maintenance))
        .route("/cron", get(cron))
        .route("/tiers", get(tiers))
        .route("/state", get(placed))
        .route("/mname", get(mname_usage))
        .route("/mname/", get(mname_usage))
        .route(proxied, any(mname))
        .route(&format!("{proxied}/"), any(mname))
        .route(&format!("{proxied}/{{*path}}"), any(mname_below))
        .route("/structdump", get(dump_usage))
        .route("/structdump/", get(dump_usage))
        .route("/structdump/task", get(dump_usage))
        .route("/structdump/task/", get(dump_usage))
        .route("/structdump/task/{id}", get(dump_task))
        .route("/structdump/cron/{role}/{environment}/{job}", get(dump_cron))
        .with_state(state)
}

/// The state is of the moment.
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

fn answer(value: Value) -> Response {
    ([NO_STORE], Json(value)).into_response()
}

fn plainly(status: StatusCode, sentence: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{sentence}\n")).into_response()
}

// ---- what is offered and wanted ----

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// What is offered, as Mesos writes resources.
fn resources(offer: &OfferView) -> Vec<Value> {
    let room = &offer.resources;
    let mut resources = vec![
        scalar("cpus", room.cpu.0 as f64 / 1000.0),
        scalar("mem", room.ram_mb as f64),
        scalar("disk", room.disk_mb as f64),
    ];
    if room.gpus > 0 {
        resources.push(scalar("gpus", room.gpus as f64));
    }
    let ranges = offer.port_ranges.ranges();
    if !ranges.is_empty() {
        let ranges: Vec<Value> = ranges.iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
        resources.push(json!({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}}));
    }
    if offer.revocable_cpu.0 > 0 {
        let mut revocable = scalar("cpus", offer.revocable_cpu.0 as f64 / 1000.0);
        revocable["revocable"] = json!({});
        resources.push(revocable);
    }
    resources
}

/// `/offers`: every offer that is held now, in Mesos' fields; besides, since when, in ms since the epoch.
async fn offers(State(state): State<Inspection>) -> Response {
    let view = state.gateway.view();
    let shares = view.agents.iter().flat_map(|(id, agent)| agent.shares.iter().map(move |share| (id, agent, share)));
    let offers = shares.flat_map(|(id, agent, share)| {
        let attributes = view.hosts.get(&agent.host).into_iter().flat_map(|host| &host.attributes);
        let attributes = attributes.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let attributes: Vec<Value> =
            attributes.map(|(name, value)| json!({"name": name, "type": "TEXT", "text": {"value": value}})).collect();
        let framework = view.framework_id.as_deref().unwrap_or_default();
        share.offers.iter().map(move |offer| {
            let mut shown = json!({
                "id": {"value": offer.id},
                "framework_id": {"value": framework},
                "agent_id": {"value": id},
                "hostname": agent.host,
                "resources": resources(offer),
                "attributes": attributes,
                "executor_ids": [],
                "held_since_ms": offer.held_since_ms,
            });
            if let Some(role) = &share.role {
                shown["allocation_info"] = json!({"role": role});
            }
            if let Some(from_ms) = share.unavailable_from_ms {
                let nanoseconds = from_ms.saturating_mul(1_000_000);
                shown["unavailability"] = json!({"start": {"nanoseconds": nanoseconds}});
            }
            shown
        })
    });
    answer(offers.collect())
}

/// `/pendingtasks`: pending tasks by configuration, with what stands in their way.
async fn pending_tasks(State(state): State<Inspection>) -> Response {
    let view = state.gateway.view();
    // The same configuration is one shared copy.
    let mut groups: BTreeMap<(&JobKey, usize), Vec<&TaskId>> = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.status == TaskStatus::Pending) {
        groups.entry((&task.config.job, Arc::as_ptr(&task.config) as usize)).or_default().push(&task.id);
    }
    let waits: BTreeMap<usize, u64> =
        view.waiting_groups.values().map(|group| (Arc::as_ptr(&group.config) as usize, group.penalty_ms)).collect();
    let groups = groups.into_iter().map(|((job, config), ids)| {
        let reasons: BTreeSet<&str> = ids
            .iter()
            .filter_map(|id| view.pending_reasons.get(*id))
            .map(|reason| reason.nearest_fit.as_str())
            .filter(|reason| !reason.is_empty())
            .collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        json!({
            "name": job.to_string(),
            "taskIds": ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            "penaltyMs": waits.get(&config).copied().unwrap_or_default(),
            "reason": format!("[{}]", reasons.join(", ")),
        })
    });
    answer(groups.collect())
}

// ---- tables ----

/// What may follow `/quotas`.
#[derive(Debug, Default, Deserialize)]
struct OfRole {
    role: Option<String>,
}

/// `/quotas?role=`: quotas by role.
async fn quotas(State(state): State<Inspection>, Query(query): Query<OfRole>) -> Response {
    let view = state.gateway.view();
    let wanted = |role: &str| query.role.as_deref().is_none_or(|wanted| wanted == role);
    let quotas = view.quotas.iter().filter(|(role, _)| wanted(role)).map(|(role, quota)| {
        let amounts = json!({
            "cpu_cores": quota.cpu.0 as f64 / 1000.0,
            "ram_mb": quota.ram_mb,
            "disk_mb": quota.disk_mb,
        });
        (role.clone(), amounts)
    });
    answer(Value::Object(quotas.collect()))
}

/// `/maintenance`: hosts by mode; of those being drained, the tasks that are still there.
async fn maintenance(State(state): State<Inspection>) -> Response {
    let view = state.gateway.view();
    let in_mode = |mode: MaintenanceMode| {
        view.hosts.iter().filter(move |(_, host)| host.mode == mode).map(|(name, _)| name.as_str())
    };
    let mut draining: BTreeMap<&str, Vec<&str>> =
        in_mode(MaintenanceMode::Draining).map(|host| (host, Vec::new())).collect();
    if !draining.is_empty() {
        for task in view.tasks.values().filter(|task| task.status.is_assigned()) {
            let tasks = task.host.as_deref().and_then(|host| draining.get_mut(host.as_str()));
            tasks.into_iter().for_each(|tasks| tasks.push(task.id.as_str()));
        }
    }
    answer(json!({
        "DRAINED": in_mode(MaintenanceMode::Drained).collect::<Vec<_>>(),
        "SCHEDULED": in_mode(MaintenanceMode::Scheduled).collect::<Vec<_>>(),
        "DRAINING": draining,
    }))
}

/// `/cron`: cron jobs and their schedules.
async fn cron(State(state): State<Inspection>) -> Response {
    let view = state.gateway.view();
    let scheduled: BTreeMap<String, &str> = view
        .cron_jobs
        .iter()
        .map(|(key, job)| (key.to_string(), job.config.cron_schedule.as_deref().unwrap_or_default()))
        .collect();
    answer(json!({"scheduled": scheduled}))
}

/// `/tiers`: the tiers that jobs may name.
async fn tiers(State(state): State<Inspection>) -> Response {
    let tiers = &state.admission.tiers;
    let known: BTreeMap<&str, Value> = tiers
        .tiers
        .iter()
        .map(|(name, tier)| (name.as_str(), json!({"preemptible": tier.preemptible, "revocable": tier.revocable})))
        .collect();
    answer(json!({"default": tiers.default, "tiers": known}))
}

/// `/state`: the configurations of placed tasks, and which of them each agent has.
async fn placed(State(state): State<Inspection>) -> Response {
    let view = state.gateway.view();
    // Nearly all tasks share a few configurations: each is encoded once.
    let mut keys: BTreeMap<usize, String> = BTreeMap::new();
    let mut configs = Map::new();
    let mut agents: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.status.is_assigned()) {
        let key = keys.entry(Arc::as_ptr(&task.config) as usize).or_insert_with(|| {
            let key = config_key(&task.config);
            configs.insert(key.clone(), plain(&thrift::TaskConfig::from(&*task.config)));
            key
        });
        let agent = task.agent_id.as_deref().unwrap_or_default();
        agents.entry(agent.to_owned()).or_default().push(key.clone());
    }
    answer(json!({"taskConfigs": configs, "agents": agents}))
}

/// `role/env/job-<hash>`; the hash is the same for equal configurations of one process.
fn config_key(config: &TaskConfig) -> String {
    let mut hasher = DefaultHasher::new();
    format!("{config:?}").hash(&mut hasher);
    format!("{}-{:016x}", config.job, hasher.finish())
}

// ---- the way to an instance ----

const MNAME_USAGE: &str = "Write /mname/<role>/<environment>/<job>/<instance>[/path]: the way to a running instance.";

async fn mname_usage() -> Response {
    plainly(StatusCode::BAD_REQUEST, MNAME_USAGE)
}

/// Names of ports that lead to an instance, the first that it has.
const WEB_PORTS: [&str; 5] = ["health", "http", "HTTP", "web", "admin"];

type Instance = (String, String, String, String);

async fn mname(state: State<Inspection>, Path(instance): Path<Instance>, query: RawQuery) -> Response {
    to_instance(&state.0, instance, "", query.0)
}

async fn mname_below(
    state: State<Inspection>,
    Path((role, environment, job, instance, path)): Path<(String, String, String, String, String)>,
    query: RawQuery,
) -> Response {
    to_instance(&state.0, (role, environment, job, instance), &path, query.0)
}

fn to_instance(state: &Inspection, named: Instance, path: &str, query: Option<String>) -> Response {
    let (role, environment, job, instance) = named;
    let Ok(instance) = instance.parse::<u32>() else { return plainly(StatusCode::BAD_REQUEST, MNAME_USAGE) };
    let view = state.gateway.view();
    let running = |task: &&Arc<Task>| task.instance == instance && task.status == TaskStatus::Running;
    let Some(task) = view.tasks_of(&JobKey::new(role, environment, job)).find(running) else {
        return plainly(StatusCode::NOT_FOUND, "No such instance is running.");
    };
    let port = WEB_PORTS.iter().find_map(|name| task.ports.get(*name));
    let (Some(port), Some(host)) = (port, task.host.as_deref()) else {
        return plainly(StatusCode::NOT_FOUND, "The instance has no port named health, http, HTTP, web or admin.");
    };
    let mut location = format!("http://{host}:{port}/");
    for letter in path.bytes() {
        match letter {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b'+' | b',' => {
                location.push(letter.into());
            }
            other => write!(location, "%{other:02X}").expect("a string takes everything"),
        }
    }
    if let Some(query) = query {
        location.push('?');
        location.push_str(&query);
    }
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response()
}

// ---- stored structs ----

const DUMP_USAGE: &str = "Write /structdump/task/<task id> or /structdump/cron/<role>/<environment>/<job>.";

async fn dump_usage() -> Response {
    plainly(StatusCode::BAD_REQUEST, DUMP_USAGE)
}

fn plain<T: thrift::Write>(value: &T) -> Value {
    serde_json::from_slice(&encode_plain(value)).unwrap_or(Value::Null)
}

/// A page with a struct as JSON, for people to read and for scripts to cut out.
fn dump(title: &str, value: &Value) -> Response {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    let page = format!(
        "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>{0}</title></head>\n<body>\n<h1>{0}</h1>\n<pre>\n{1}\n</pre>\n\
         </body>\n</html>\n",
        escape(title),
        escape(&json)
    );
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), NO_STORE], page).into_response()
}

/// `/structdump/task/<id>`: a task as it is stored, in the words of the API.
async fn dump_task(State(state): State<Inspection>, Path(id): Path<String>) -> Response {
    let view: Arc<View> = state.gateway.view();
    match view.task(&TaskId(id.as_str().into())) {
        Some(task) => dump(&format!("Task {id}"), &plain(&scheduled_task(task, &state.scheduler_host))),
        None => plainly(StatusCode::NOT_FOUND, "There is no such task."),
    }
}

/// `/structdump/cron/<role>/<environment>/<job>`: a cron job as it is stored.
async fn dump_cron(
    State(state): State<Inspection>,
    Path((role, environment, job)): Path<(String, String, String)>,
) -> Response {
    let key = JobKey::new(role, environment, job);
    match state.gateway.view().cron_jobs.get(&key) {
        Some(job) => dump(&format!("Cron job {key}"), &plain(&thrift::JobConfiguration::from(&*job.config))),
        None => plainly(StatusCode::NOT_FOUND, "There is no such cron job."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use gateway::{Door, Lane, Policy};
    use model::{CpuMillis, Ports, Resources};
    use scheduler::Input;
    use scheduler::view::{AgentShare, AgentView, HostRecord, PendingReason, WaitingGroup};
    use tower::ServiceExt;

    use super::*;
    use crate::samples::{sample_task, view_of};

    struct NoDoor;

    impl Door for NoDoor {
        fn enter(&self, _: Lane, _: Input) -> bool {
            false
        }
    }

    fn view() -> View {
        let mut running = sample_task("a/prod/x", 0, TaskStatus::Running, Some("h1"));
        Arc::make_mut(&mut running).ports = BTreeMap::from([("http".to_owned(), 31_000), ("web".to_owned(), 1)]);
        let mut pending = sample_task("a/prod/y", 0, TaskStatus::Pending, None);
        Arc::make_mut(&mut pending).events[0].message = Some("<b>no & room</b>".into());
        let mut view = view_of([
            running,
            sample_task("a/prod/x", 1, TaskStatus::Running, Some("h2")),
            pending,
            sample_task("a/prod/z", 0, TaskStatus::Failed, Some("h1")),
        ]);
        let room = Resources { cpu: CpuMillis(1500), ram_mb: 64, disk_mb: 32, ports: 9, gpus: 0 };
        let offer = |id: &str, since_ms| OfferView {
            id: id.into(),
            held_since_ms: since_ms,
            resources: room,
            revocable_cpu: CpuMillis(250),
            port_ranges: Ports::from_ranges([(31_000, 31_003), (31_010, 31_014)]),
        };
        let share = |offers: Vec<OfferView>| AgentShare {
            role: Some("web".into()),
            is_offered: !offers.is_empty(),
            offers: offers.into_iter().map(Arc::new).collect(),
            ..AgentShare::default()
        };
        let agent =
            |free, offers| Arc::new(AgentView { host: "h1".into(), free, total: room, shares: vec![share(offers)] });
        view.agents.insert("agent-h1".into(), agent(room, vec![offer("o-1", 5), offer("o-2", 7)]));
        view.agents.insert("agent-full".into(), agent(Resources::ZERO, Vec::new()));
        let host = |mode| {
            let attributes = BTreeMap::from([("rack".to_owned(), vec!["r1".to_owned()])]);
            Arc::new(HostRecord { agent_id: "agent-h1".into(), attributes, mode })
        };
        view.hosts.insert("h1".into(), host(MaintenanceMode::Draining));
        view.hosts.insert("h3".into(), host(MaintenanceMode::Drained));
        view.hosts.insert("h4".into(), host(MaintenanceMode::Scheduled));
        view.quotas.insert("a".into(), room);
        view.quotas.insert("b".into(), Resources::ZERO);
        let reason = PendingReason { nearest_fit: "Insufficient: CPU".into(), ..PendingReason::default() };
        view.pending_reasons.insert(TaskId("a-prod-y-0".into()), Arc::new(reason));
        let config = view.tasks[&TaskId("a-prod-y-0".into())].config.clone();
        view.waiting_groups.insert(1, Arc::new(WaitingGroup { config, next_try_ms: 9, penalty_ms: 1000 }));
        view
    }

    async fn ask(uri: &str) -> (StatusCode, String, String) {
        let gateway = Arc::new(Gateway::new(Box::new(NoDoor), Policy::default()));
        gateway.publish(Arc::new(view()));
        let state = Inspection { gateway, admission: Arc::default(), scheduler_host: "scheduler.example".into() };
        let response = router(state).oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
        let location = response.headers().get(LOCATION).map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap(), location)
    }

    async fn json_of(uri: &str) -> Value {
        let (status, body, _) = ask(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}");
        serde_json::from_str(&body).unwrap()
    }

    #[tokio::test]
    async fn tables_are_those_of_aurora() {
        let amounts = json!({"cpu_cores": 1.5, "ram_mb": 64, "disk_mb": 32});
        assert_eq!(json_of("/quotas?role=a").await, json!({"a": amounts}));
        assert_eq!(json_of("/quotas").await.as_object().unwrap().len(), 2);
        assert_eq!(json_of("/quotas?role=nobody").await, json!({}));
        let expected = json!({"DRAINED": ["h3"], "SCHEDULED": ["h4"], "DRAINING": {"h1": ["a-prod-x-0"]}});
        assert_eq!(json_of("/maintenance").await, expected);
        assert_eq!(json_of("/cron").await, json!({"scheduled": {}}));
        let tiers = json_of("/tiers").await;
        assert_eq!(tiers["default"], "preemptible");
        assert_eq!(tiers["tiers"]["preferred"], json!({"preemptible": false, "revocable": false}));
    }

    #[tokio::test]
    async fn offers_pending_and_placed_tasks_are_listed() {
        let offers = json_of("/offers").await;
        assert_eq!(offers.as_array().unwrap().len(), 2);
        assert_eq!((&offers[1]["id"]["value"], &offers[1]["held_since_ms"]), (&json!("o-2"), &json!(7)));
        assert_eq!(offers[0]["allocation_info"]["role"], "web");
        let ranges = json!([{"begin": 31_000, "end": 31_003}, {"begin": 31_010, "end": 31_014}]);
        assert_eq!(offers[0]["resources"][3], json!({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}}));
        assert_eq!(
            (&offers[0]["resources"][4]["revocable"], offers[0]["resources"].as_array().unwrap().len()),
            (&json!({}), 5)
        );
        assert_eq!((&offers[0]["hostname"], &offers[0]["agent_id"]["value"]), (&json!("h1"), &json!("agent-h1")));
        assert_eq!(offers[0]["resources"][0], json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}}));
        assert_eq!(offers[0]["attributes"][0]["text"]["value"], "r1");
        let pending = json_of("/pendingtasks").await;
        let expected = json!([{"name": "a/prod/y", "taskIds": ["a-prod-y-0"], "penaltyMs": 1000, "reason": "[Insufficient: CPU]"}]);
        assert_eq!(pending, expected);
        let state = json_of("/state").await;
        let key = state["agents"]["agent-h1"][0].as_str().unwrap();
        assert!(key.starts_with("a/prod/x-"), "{key}");
        assert_eq!(state["taskConfigs"][key]["job"]["name"], "x");
        assert_eq!(state["agents"].as_object().unwrap().len(), 2, "the failed one is nowhere");
    }

    #[tokio::test]
    async fn a_stored_task_is_shown_as_json_within_a_page() {
        let (status, page, _) = ask("/structdump/task/a-prod-x-0").await;
        assert_eq!(status, StatusCode::OK);
        let json = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
        let task: Value = serde_json::from_str(json).unwrap();
        assert_eq!(task["assignedTask"]["taskId"], "a-prod-x-0");
        assert_eq!(task["taskEvents"][0]["scheduler"], "scheduler.example");
        let (_, page, _) = ask("/structdump/task/a-prod-y-0").await;
        assert!(page.contains("&lt;b&gt;no &amp; room&lt;/b&gt;") && !page.contains("<b>"), "{page}");
        assert_eq!(ask("/structdump/task/nobody").await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask("/structdump/cron/a/prod/x").await.0, StatusCode::NOT_FOUND);
        for usage in ["/structdump", "/structdump/", "/structdump/task", "/structdump/task/"] {
            let (status, text, _) = ask(usage).await;
            assert_eq!((status, text.trim_end()), (StatusCode::BAD_REQUEST, DUMP_USAGE), "{usage}");
        }
    }

    #[tokio::test]
    async fn a_running_instance_is_found_by_its_name() {
        for (uri, location) in [
            ("/mname/a/prod/x/0", "http://h1:31000/"),
            ("/mname/a/prod/x/0/", "http://h1:31000/"),
            ("/mname/a/prod/x/0/a/b?c=d&e", "http://h1:31000/a/b?c=d&e"),
            ("/mname/a/prod/x/0/a%0d%0aSet-Cookie:x", "http://h1:31000/a%0D%0ASet-Cookie:x"),
        ] {
            let (status, _, found) = ask(uri).await;
            assert_eq!((status, found.as_str()), (StatusCode::TEMPORARY_REDIRECT, location), "{uri}");
        }
        for missing in ["/mname/a/prod/x/1", "/mname/a/prod/x/7", "/mname/a/prod/z/0", "/mname/nobody/prod/x/0"] {
            assert_eq!(ask(missing).await.0, StatusCode::NOT_FOUND, "{missing}");
        }
        for usage in ["/mname", "/mname/a/prod/x/first", "/mname/a/prod/x/-1"] {
            assert_eq!(ask(usage).await.0, StatusCode::BAD_REQUEST, "{usage}");
        }
    }

    #[tokio::test]
    async fn health_and_version_are_text() {
        assert_eq!(ask("/leaderhealth").await.0, StatusCode::OK);
        assert_eq!(ask("/version").await.1.trim_end(), env!("CARGO_PKG_VERSION"));
    }
}
