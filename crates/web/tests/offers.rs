//! Offers and quotas on the pages.

#[path = "fixture/mod.rs"]
mod fixture;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fixture::{Builder, NOW_MS, machine};
use model::constraint::{Constraint, DEDICATED, TaskConstraint};
use model::{CpuMillis, JobKey, Ports, Resources, TaskConfig, TaskStatus};
use scheduler::View;
use scheduler::view::{AgentShare, AgentView, OfferView};
use tower::ServiceExt;

/// What a reader of a page sees, without tags.
async fn seen(view: View, path: &str) -> String {
    let files = Builder::new(NOW_MS).files;
    let router = web::router(fixture::harness(view, files, || NOW_MS).state.clone());
    let request = Request::get(path).header("host", "localhost:8081").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let bytes = axum::body::to_bytes(response.into_body(), 32 << 20).await.unwrap();
    let html = String::from_utf8_lossy(&bytes).into_owned();
    let mut text = String::new();
    for piece in html.split('<') {
        text.push(' ');
        text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn offer(id: &str, secs: i64, revocable: i64) -> Arc<OfferView> {
    Arc::new(OfferView {
        id: id.into(),
        held_since_ms: NOW_MS - secs * 1000,
        resources: machine(2.0, 1024, 4096),
        revocable_cpu: CpuMillis(revocable),
        port_ranges: Ports::from_ranges([(31_000, 31_004), (31_009, 31_009)]),
    })
}

#[tokio::test]
async fn offers_are_listed_with_machine_role_room_and_age() {
    let mut builder = Builder::new(NOW_MS);
    assert!(seen(builder.view.clone(), "/agent-offers").await.contains("No machine has offered room yet."));
    builder.agent("worker-9", machine(4.0, 1024, 1024), Resources::ZERO);
    let taken = seen(builder.view.clone(), "/agent-offers").await;
    assert!(taken.contains("0 offers held, of 0 machines") && taken.contains("Nothing is on offer"), "{taken}");
    let share = |role: &str, offers, is_reserved, unavailable_from_ms| AgentShare {
        role: Some(role.into()),
        is_offered: true,
        offers,
        is_reserved,
        unavailable_from_ms,
        ..AgentShare::default()
    };
    let shares = vec![
        share("web", vec![offer("o-1", 30, 0), offer("o-2", 7_200, 500)], true, None),
        share("batch", vec![offer("o-3", 1, 0)], false, Some(NOW_MS + 3_600_000)),
    ];
    let agent = AgentView { host: "worker-1".into(), shares, ..AgentView::default() };
    builder.view.agents.insert("a-1".into(), Arc::new(agent));
    let listed = seen(builder.view.clone(), "/agent-offers").await;
    assert!(listed.contains("3 offers held, of 1 machine "), "{listed}");
    let at = |what: &str| listed.find(what).unwrap_or_else(|| panic!("no {what} in {listed}"));
    assert!([at("o-3"), at("o-1"), at("o-2")].is_sorted(), "by machine, role and name: {listed}");
    let between = |from: &str, to: &str| listed[at(from)..at(to)].to_owned();
    assert!(between("o-3", "o-1").contains("batch 2 cpu, 1 GB memory, 4 GB disk ports"), "{listed}");
    assert!(between("o-3", "o-1").contains("goes away for maintenance in 1 h"), "{listed}");
    assert!(between("o-1", "o-2").contains("ports 31000\u{2013}31004, 31009"), "{listed}");
    assert!(between("o-1", "o-2").contains("kept for tasks that had others evicted there 30 s ago"), "{listed}");
    assert!(listed[at("o-2")..].contains("0.5 more cpu that may be taken back"), "{listed}");
    assert!(listed[at("o-2")..].contains("2 h ago"), "{listed}");
    let agents = seen(builder.view, "/agents").await;
    assert!(agents.contains("2 machines \u{b7} offers"), "{agents}");
}

fn production(key: &JobKey, cpu: f64) -> TaskConfig {
    let mut config = fixture::config(key, cpu, 100, 10, &[]);
    config.tier = Some("preferred".into());
    config.production = Some(true);
    config
}

/// The bar of the processors in the box about a quota.
async fn cpu(builder: &Builder) -> String {
    let seen = seen(builder.view.clone(), "/scheduler/web").await;
    let from = seen.find("Quota cpu ").unwrap_or_else(|| panic!("{seen}"));
    seen[from + 10..].split(" memory").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_quota_counts_updates_at_their_larger_side_and_cron_jobs_before_they_run() {
    let mut builder = Builder::new(NOW_MS);
    builder.view.quotas.insert("web".into(), machine(20.0, 4096, 4096));
    let service = JobKey::new("web", "prod", "service");
    let old = Arc::new(production(&service, 1.0));
    for instance in 0..2 {
        builder.running(&old, instance, "h", 100);
    }
    assert_eq!(cpu(&builder).await, "2 of 20");
    // Those need none.
    let mut own = production(&JobKey::new("web", "prod", "own"), 3.0);
    let constraint = TaskConstraint::Value { negated: false, values: ["web/x".to_owned()].into() };
    own.constraints = [Constraint { name: DEDICATED.into(), constraint }].into_iter().collect();
    builder.running(&Arc::new(own), 0, "h", 100);
    builder.running(&Arc::new(fixture::config(&JobKey::new("web", "prod", "cheap"), 5.0, 1, 1, &[])), 0, "h", 100);
    builder.task(&old, 7, None, &[(9, TaskStatus::Failed, "")]);
    assert_eq!(cpu(&builder).await, "2 of 20");
    // From two instances of one core to three of two, of which none runs yet.
    let mut scheduler = scheduler::Scheduler::new(scheduler::Settings::default());
    let now = scheduler::Now { wall_ms: NOW_MS, monotonic_ms: 1 };
    scheduler.step(now, scheduler::Input::Start { seed: [1; 32], epoch: 1 });
    let principal = scheduler::Principal::unsecure();
    let mut ask = |command| {
        let request = scheduler::RequestId(1);
        let output = scheduler.step(now, scheduler::Input::command(request, principal.clone(), command));
        let reply = output.effects.into_iter().find_map(|effect| match effect {
            scheduler::Effect::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        assert_eq!(reply.map(|reply| reply.code), Some(scheduler::ReplyCode::Ok));
        scheduler.freeze()
    };
    ask(scheduler::Command::SetQuota { role: "web".into(), quota: machine(20.0, 4096, 4096) });
    let job = |key: &JobKey, cpu, instance_count, cron_schedule: Option<&str>| model::JobConfiguration {
        key: key.clone(),
        owner: None,
        cron_schedule: cron_schedule.map(str::to_owned),
        cron_collision_policy: Default::default(),
        instance_count,
        task: TaskConfig { executor_config: old.executor_config.clone(), ..production(key, cpu) },
    };
    ask(scheduler::Command::CreateJob(Box::new(job(&service, 1.0, 2, None))));
    let task = TaskConfig { is_service: true, ..job(&service, 2.0, 3, None).task };
    let request = model::update::UpdateRequest {
        task,
        instance_count: 3,
        settings: Default::default(),
        metadata: Default::default(),
    };
    let update = scheduler::Command::StartUpdate { request: Box::new(request), message: None };
    builder.view = ask(update);
    assert_eq!(cpu(&builder).await, "6 of 20");
    let nightly = JobKey::new("web", "prod", "nightly");
    builder.view = ask(scheduler::Command::ScheduleCronJob(Box::new(job(&nightly, 4.0, 2, Some("0 3 * * *")))));
    assert_eq!(cpu(&builder).await, "14 of 20");
}
