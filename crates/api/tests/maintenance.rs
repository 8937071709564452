//! Maintenance through the wire, with the real core behind it and a played engine: the order of events of Aurora's own end-to-end test.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use engine::{Event, Offer, StatusUpdate, TaskState};
use gateway::{Door, Gateway, Lane, Policy};
use model::{CpuMillis, JobKey, MaintenanceMode as Mode, Ports, Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::{Effect, Input, Now, Scheduler, Settings};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Steps the core for every command; everything is durable at once, and every kill is obeyed at once.
struct Played {
    core: Mutex<(Scheduler, u64)>,
    gateway: Arc<OnceLock<Weak<Gateway>>>,
}

impl Played {
    fn step(&self, input: Input) {
        let mut next = vec![input];
        while let Some(input) = next.pop() {
            let mut guard = self.core.lock().unwrap();
            let (core, ms) = &mut *guard;
            *ms += 10;
            let output = core.step(Now { wall_ms: 1_800_000_000_000 + *ms as i64, monotonic_ms: *ms }, input);
            let gateway = self.gateway.get().and_then(Weak::upgrade).expect("the gateway lives");
            gateway.publish(Arc::new(core.freeze()));
            for effect in output.effects {
                match effect {
                    Effect::Reply { request, reply } => gateway.deliver(request, reply),
                    Effect::Engine(engine::Call::Kill { task_id, .. }) => next.push(status(task_id, TaskState::Killed)),
                    _ => {}
                }
            }
            if output.more {
                next.insert(0, Input::Resume);
            }
        }
    }
}

struct SharedDoor(Arc<Played>);

impl Door for SharedDoor {
    fn enter(&self, _: Lane, input: Input) -> bool {
        self.0.step(input);
        true
    }
}

fn status(task_id: TaskId, state: TaskState) -> Input {
    let (reason, message, timestamp_ms, agent_id, token) = (None, None, None, None, None);
    Input::Engine(Event::Status(StatusUpdate { task_id, state, reason, message, timestamp_ms, agent_id, token }))
}

fn offer(id: &str, host: &str) -> Input {
    Input::Engine(Event::Offers(vec![Offer {
        id: id.into(),
        agent_id: format!("agent-{host}"),
        host: host.into(),
        resources: Resources { cpu: CpuMillis(1500), ram_mb: 4096, disk_mb: 4096, ports: 0, gpus: 0 },
        port_ranges: Ports::default(),
        ..Offer::default()
    }]))
}

struct House {
    played: Arc<Played>,
    gateway: Arc<Gateway>,
    router: Router,
}

impl House {
    fn new() -> Self {
        let own = Arc::new(OnceLock::new());
        let mut settings = Settings::default();
        settings.admission.min_required_instances_for_sla_check = 1;
        settings.admission.sla_aware_kill_non_prod = true;
        let played = Played { core: Mutex::new((Scheduler::new(settings), 0)), gateway: own.clone() };
        let played = Arc::new(played);
        let gateway = Arc::new(Gateway::new(Box::new(SharedDoor(played.clone())), Policy::default()));
        own.set(Arc::downgrade(&gateway)).expect("set once");
        played.step(Input::Start { seed: [7; 32], epoch: 1 });
        played.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
        let router = router(ApiState::new(Arc::clone(&gateway), ApiSettings::default()));
        House { played, gateway, router }
    }

    /// A call in plain JSON.
    async fn call(&self, method: &str, arguments: Value) -> Value {
        let request = Request::post(format!("/apibeta/{method}")).header("content-type", "application/json");
        let request = request.body(Body::from(arguments.to_string())).unwrap();
        let body = self.router.clone().oneshot(request).await.unwrap().into_body();
        serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap()
    }

    /// The modes in the answer to a call about both hosts.
    async fn modes(&self, method: &str, result: &str, more: Value) -> Vec<(String, String)> {
        let mut arguments = json!({"hosts": {"hostNames": ["a", "IMAGINARY_HOST", "b"]}});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.call(method, arguments).await;
        assert_eq!(answer["responseCode"], "OK", "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let statuses = answer["result"][result]["statuses"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let mut modes: Vec<_> = statuses.iter().map(|status| (text(&status["host"]), text(&status["mode"]))).collect();
        modes.sort();
        modes
    }

    fn count(&self, status: TaskStatus) -> usize {
        self.gateway.view().tasks.values().filter(|task| task.status == status).count()
    }

    fn mode(&self, host: &str) -> Mode {
        self.gateway.view().hosts[host].mode
    }
}

fn both(mode: &str) -> Vec<(String, String)> {
    ["a", "b"].map(|host| (host.to_owned(), mode.to_owned())).to_vec()
}

#[tokio::test]
async fn hosts_are_announced_drained_within_the_policy_drained_by_force_and_used_again() {
    let house = House::new();
    let key = JobKey::new("www-data", "prod", "web");
    let mut config = TaskConfig { is_service: true, ..TaskConfig::new(key.clone(), 1.0, 64, 64, "{}") };
    config.sla_policy = Some(model::task::SlaPolicy::Count { count: 1, duration_secs: 0 });
    let job = scheduler::Command::CreateJob(Box::new(model::JobConfiguration {
        key,
        owner: None,
        cron_schedule: None,
        cron_collision_policy: model::CronCollisionPolicy::default(),
        task: config,
        instance_count: 2,
    }));
    let created = house.gateway.submit(scheduler::Principal::unsecure(), job).await;
    assert_eq!(created.code, scheduler::ReplyCode::Ok, "{created:?}");
    house.played.step(offer("1", "a"));
    house.played.step(offer("2", "b"));
    let placed: Vec<TaskId> = house.gateway.view().tasks.keys().cloned().collect();
    placed.into_iter().for_each(|id| house.played.step(status(id, TaskState::Running)));
    assert_eq!(house.count(TaskStatus::Running), 2);

    let announced = house.modes("startMaintenance", "startMaintenanceResult", json!({})).await;
    assert_eq!(announced, both("SCHEDULED"));
    let policy = json!({"percentageSlaPolicy": {"percentage": 95.0, "durationSecs": 1800}});
    let drain = |secs: i64| json!({"defaultSlaPolicy": policy, "timeoutSecs": secs});
    assert_eq!(house.modes("slaDrainHosts", "drainHostsResult", drain(3600)).await, both("DRAINING"));
    assert_eq!((house.count(TaskStatus::Running), house.count(TaskStatus::Pending)), (1, 1), "one must stay up");
    let mut modes = [house.mode("a"), house.mode("b")];
    modes.sort();
    assert_eq!(modes, [Mode::Draining, Mode::Drained]);

    house.modes("slaDrainHosts", "drainHostsResult", drain(0)).await;
    house.played.step(Input::Tick);
    assert_eq!((house.count(TaskStatus::Running), house.count(TaskStatus::Pending)), (0, 2), "its time is up");
    assert_eq!(house.modes("maintenanceStatus", "maintenanceStatusResult", json!({})).await, both("DRAINED"));
    assert_eq!(house.modes("drainHosts", "drainHostsResult", json!({})).await, both("DRAINED"), "nothing to move");
    house.played.step(offer("3", "a"));
    assert_eq!(house.count(TaskStatus::Assigned), 0, "nothing comes to a host in maintenance");
    assert_eq!(house.modes("endMaintenance", "endMaintenanceResult", json!({})).await, both("NONE"));
    assert_eq!(house.count(TaskStatus::Assigned), 1, "the offer that was held is used");
}
