//! What passes between scheduler and master while a subscription stands.

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use engine::{Call, Engine, Event, Reason, TaskState};
use engine_mesos::{Credentials, Framework, MesosEngine, Options};
use mesos::v1::scheduler::{self, call, event};
use mesos::v1::{self, offer as v1_offer};
use model::TaskId;

fn task(id: &str) -> TaskId {
    TaskId(id.into())
}

#[test]
fn the_first_subscription_is_that_of_a_new_framework() {
    let port = Port::open();
    let credentials = Credentials { principal: "p".into(), secret: "s".into() };
    let framework =
        Framework { roles: vec!["web".into()], webui_url: Some("http://d:8081".into()), ..Default::default() };
    let (engine, heard) =
        engine_with(Options { credentials: Some(credentials), framework, ..options(&port.address()) }, 100);
    assert!(port.accept_within(QUIET).is_none(), "nothing is sent before the state is recovered");
    engine.begin(None);
    let subscription = port.subscribe("f-1");
    let request = &subscription.request;
    assert!(request.head.starts_with("POST /api/v1/scheduler HTTP/1.1\r\n"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(request.header("accept"), Some("application/x-protobuf"));
    assert_eq!(request.header("authorization"), Some("Basic cDpz"));
    assert_eq!(request.header("mesos-stream-id"), None);
    assert_eq!(request.call.framework_id, None);
    let info = request.call.subscribe.clone().unwrap().framework_info;
    assert_eq!((info.id, info.role.as_deref(), info.principal.as_deref()), (None, Some("web"), Some("p")));
    let (id, master) = (Some("f-1".to_owned()), Some("master-1".to_owned()));
    assert_eq!(heard.next(), Event::Registered { framework_id: id.clone(), master });
    assert_eq!(engine.directory().framework_id(), id);
    assert_eq!(engine.directory().leader(), Some(port.address()));
    assert!(engine.statistics().snapshot().contains(&("mesos_registered", 1)));
}

#[test]
fn a_task_runs_and_is_acknowledged() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0)]));
    let Event::Offers(told) = heard.next() else { panic!("offers") };
    assert_eq!((told[0].id.as_str(), told[0].resources.cpu.0, told[0].host.as_str()), ("O1", 4000, "host-of-S1"));

    let launches = vec![launch("t1", 1.0), launch("t2", 0.5)];
    engine.call(1, vec![Call::Accept { offers: vec!["O1".into()], launches }]);
    let call = subscription.call();
    assert_eq!(call.framework_id, Some("f-1".into()));
    let accept = call.accept.clone().unwrap();
    assert_eq!(accept.offer_ids, ["O1".into()]);
    assert_eq!(accept.operations.len(), 1);
    assert_eq!(tasks_of(&call), ["t1", "t2"]);
    let info = &accept.operations[0].launch.as_ref().unwrap().task_infos[0];
    assert_eq!(info.agent_id.value, "S1");
    assert_eq!(info.resources[0].scalar.unwrap().value, 1.0);
    assert_eq!(info.executor.as_ref().unwrap().resources[0].scalar.unwrap().value, 0.25);

    let status = |state: v1::TaskState, uuid: Option<&'static [u8]>| v1::TaskStatus {
        task_id: "t1".into(),
        state: state as i32,
        agent_id: Some("S1".into()),
        uuid: uuid.map(Bytes::from_static),
        ..Default::default()
    };
    for _ in 0..2 {
        // The same update may come again; each time it is acknowledged.
        subscription.stream.event(&update(status(v1::TaskState::Running, Some(&[9; 16]))));
        let running = heard.status();
        assert_eq!((running.state, running.agent_id.as_deref()), (TaskState::Running, Some("S1")));
        let token = running.token.expect("it is to be acknowledged");
        engine.call(1, vec![Call::Acknowledge { task_id: task("t1"), agent_id: None, token }]);
        let acknowledge = subscription.call().acknowledge.unwrap();
        assert_eq!((acknowledge.agent_id.value.as_str(), acknowledge.task_id.value.as_str()), ("S1", "t1"));
        assert_eq!(acknowledge.uuid, Bytes::from_static(&[9; 16]));
    }
    subscription.stream.event(&update(status(v1::TaskState::Error, None)));
    let error = heard.status();
    assert_eq!(
        (error.state, error.token),
        (TaskState::Lost, None),
        "what the master says by itself is not acknowledged"
    );
}

#[test]
fn calls_do_not_wait_for_answers_and_keep_their_order() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    let kill = |number: usize| Call::Kill { task_id: task(&format!("t{number}")), agent_id: Some("S1".into()) };
    engine.call(1, (0..500).map(kill).collect());
    for number in 0..500 {
        let call = subscription.calls.request().call;
        assert_eq!(call.kill.unwrap().task_id.value, format!("t{number}"));
    }
    for _ in 0..500 {
        subscription.calls.respond("202 Accepted", &[], b"");
    }
    engine.call(1, vec![kill(500)]);
    assert_eq!(subscription.call().kill.unwrap().task_id.value, "t500");
    heard.nothing();
}

fn running(task: &str, uuid: &'static [u8]) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: task.into(),
        state: v1::TaskState::Running as i32,
        agent_id: Some("S1".into()),
        uuid: Some(Bytes::from_static(uuid)),
        ..Default::default()
    }
}

#[test]
fn acknowledgements_go_before_other_calls_that_wait() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&update(running("t1", &[9; 16])));
    let token = heard.status().token.unwrap();
    let kill = Call::Kill { task_id: task("t2"), agent_id: None };
    engine.call(1, vec![kill, Call::Acknowledge { task_id: task("t1"), agent_id: None, token }]);
    assert!(subscription.call().acknowledge.is_some());
    assert!(subscription.call().kill.is_some());
}

#[test]
fn an_update_that_is_sent_again_before_it_is_answered_is_told_once() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    for _ in 0..3 {
        subscription.stream.event(&update(running("t1", &[9; 16])));
    }
    subscription.stream.event(&update(running("t2", &[8; 16])));
    let token = heard.status().token.unwrap();
    assert_eq!(heard.status().task_id, task("t2"));
    heard.nothing();
    assert!(engine.statistics().snapshot().contains(&("mesos_status_updates_repeated", 2)));
    engine.call(1, vec![Call::Acknowledge { task_id: task("t1"), agent_id: None, token }]);
    assert!(subscription.call().acknowledge.is_some());
    // The answer did not arrive: the agent says it once more, and gets another.
    subscription.stream.event(&update(running("t1", &[9; 16])));
    assert_eq!(heard.status().task_id, task("t1"));
    // Nor would one that was under way when the subscription ended.
    drop(subscription);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&update(running("t1", &[9; 16])));
    assert_eq!(heard.status().task_id, task("t1"));
}

#[test]
fn a_master_that_does_not_keep_up_is_told_to_the_scheduler() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    let large = |id: &str, agent: &str| {
        let mut offer = offer(id, agent, "*", 4000.0);
        for amount in offer.resources.iter_mut().filter_map(|resource| resource.scalar.as_mut()) {
            amount.value = 1e6;
        }
        offer
    };
    subscription.stream.event(&offers(vec![large("O1", "S1"), large("O2", "S2")]));
    heard.next();
    assert!(!engine.is_congested());
    let accept = |offer: &str, first: usize| Call::Accept {
        offers: vec![offer.into()],
        launches: (first..first + 3000).map(|number| launch(&format!("t{number}"), 0.01)).collect(),
    };
    engine.call(1, vec![accept("O1", 0)]);
    assert!(!engine.is_congested());
    engine.call(1, vec![accept("O2", 3000)]);
    assert!(engine.is_congested());
    // Taken one after the other; none is answered yet.
    for _ in 0..2 {
        assert!(subscription.calls.request().call.accept.is_some());
    }
    assert!(engine.is_congested());
    subscription.calls.respond("202 Accepted", &[], b"");
    let waits = |engine: &MesosEngine| engine.statistics().mesos_launches_waiting.load(Ordering::Relaxed);
    let becomes = |engine: &MesosEngine, wanted: i64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while waits(engine) != wanted {
            assert!(Instant::now() < deadline, "{} instead of {wanted} wait", waits(engine));
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    becomes(&engine, 3000);
    assert!(!engine.is_congested());
    drop(subscription);
    becomes(&engine, 0);
    // Without a master every launch is answered at once.
    engine.call(1, vec![accept("O3", 6000)]);
    becomes(&engine, 0);
}

#[test]
fn offers_of_different_roles_and_agents_never_share_a_call() {
    let port = Port::open();
    let framework = Framework { roles: vec!["web".into(), "batch".into()], ..Default::default() };
    let (mut engine, heard) = engine_with(Options { framework, ..options(&port.address()) }, 100);
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    let info = subscription.request.call.subscribe.clone().unwrap().framework_info;
    assert_eq!((info.role, info.roles), (None, vec!["web".to_owned(), "batch".to_owned()]));
    heard.registered();
    subscription.stream.event(&offers(vec![
        offer("O1", "S1", "web", 1.0),
        offer("O2", "S1", "batch", 1.0),
        offer("O3", "S1", "web", 1.0),
        offer("O4", "S2", "web", 1.0),
    ]));
    heard.next();
    let launches = vec![launch("two-of-web", 1.5), launch("one-of-batch", 0.5), launch("too-much", 5.0)];
    let all = ["O1", "O2", "O3", "O4", "unknown"].map(String::from).to_vec();
    engine.call(1, vec![Call::Accept { offers: all, launches }]);
    let mut accepts = Vec::new();
    for _ in 0..3 {
        let call = subscription.call();
        let accept = call.accept.clone().unwrap();
        let ids: Vec<String> = accept.offer_ids.iter().map(|id| id.value.clone()).collect();
        accepts.push((ids, tasks_of(&call)));
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(accepts[0], (names(&["O1", "O3"]), names(&["two-of-web"])));
    assert_eq!(accepts[1], (names(&["O2"]), names(&["one-of-batch"])));
    assert_eq!(accepts[2], (names(&["O4"]), names(&[])), "what is not used is given back");
    let lost = heard.status();
    assert_eq!(
        (lost.task_id, lost.state, lost.reason),
        (task("too-much"), TaskState::Lost, Some(Reason::InvalidOffer))
    );
}

#[test]
fn an_offer_that_was_taken_back_is_not_used() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0), offer("O2", "S2", "*", 4.0)]));
    heard.next();
    subscription.stream.event(&scheduler::Event {
        r#type: Some(event::Type::Rescind as i32),
        rescind: Some(event::Rescind { offer_id: "O1".into() }),
        ..Default::default()
    });
    assert_eq!(heard.next(), Event::Rescinded("O1".into()));
    subscription.stream.event(&scheduler::Event {
        r#type: Some(event::Type::Failure as i32),
        failure: Some(event::Failure { agent_id: Some("S2".into()), ..Default::default() }),
        ..Default::default()
    });
    assert_eq!(heard.next(), Event::AgentLost("S2".into()));
    let accept = |offer: &str, id: &str| Call::Accept { offers: vec![offer.into()], launches: vec![launch(id, 1.0)] };
    engine.call(1, vec![accept("O1", "t1"), accept("O2", "t2"), Call::Suppress]);
    for _ in 0..2 {
        assert_eq!(heard.status().reason, Some(Reason::InvalidOffer));
    }
    assert_eq!(subscription.call().r#type, Some(call::Type::Suppress as i32), "no ACCEPT was sent");
}

#[test]
fn every_other_call_has_its_form() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0), offer("O2", "S1", "*", 4.0)]));
    heard.next();
    let ids = ["O1", "O2", "unknown"].map(String::from).to_vec();
    let tasks = (0..2500).map(|number| (task(&format!("t{number}")), Some("S1".to_owned()))).collect();
    engine.call(
        1,
        vec![
            Call::Decline { offers: ids, refuse_ms: 2500 },
            Call::Kill { task_id: task("t"), agent_id: Some("S1".into()) },
            Call::Reconcile { tasks: Vec::new() },
            Call::Reconcile { tasks },
            Call::AcceptInverseOffers { offers: vec!["I1".into()] },
            Call::Revive,
        ],
    );
    let decline = subscription.call().decline.unwrap();
    assert_eq!(decline.offer_ids, ["O1".into(), "O2".into()]);
    assert_eq!(decline.filters.unwrap().refuse_seconds, Some(2.5));
    assert_eq!(subscription.call().kill.unwrap().agent_id, Some("S1".into()));
    assert_eq!(subscription.call().reconcile.unwrap().tasks, []);
    let sizes: Vec<usize> = (0..3).map(|_| subscription.call().reconcile.unwrap().tasks.len()).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    assert_eq!(subscription.call().accept_inverse_offers.unwrap().inverse_offer_ids, ["I1".into()]);
    assert!(subscription.call().revive.is_some());
}

#[test]
fn a_term_that_is_over_gives_no_orders() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(2, vec![Call::Suppress]);
    engine.call(1, vec![Call::Kill { task_id: task("t"), agent_id: None }]);
    engine.call(2, vec![Call::Revive]);
    assert_eq!(subscription.call().r#type, Some(call::Type::Suppress as i32));
    assert_eq!(subscription.call().r#type, Some(call::Type::Revive as i32));
}

#[test]
fn inverse_offers_and_maintenance_are_told() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    let address = v1::Address { hostname: Some("h".into()), ip: Some("10.0.0.1".into()), port: 5051 };
    let url = v1::Url { scheme: "http".into(), address, ..Default::default() };
    let away = v1::Unavailability { start: v1::TimeInfo { nanoseconds: 5_000_000_000 }, duration: None };
    let known = v1::Offer { url: Some(url), unavailability: Some(away), ..offer("O1", "S1", "*", 1.0) };
    subscription.stream.event(&offers(vec![known]));
    let Event::Offers(told) = heard.next() else { panic!("offers") };
    assert_eq!(told[0].unavailable_from_ms, Some(5000));
    assert_eq!(engine.directory().agent("S1").unwrap().port, 5051);
    let inverse =
        v1::InverseOffer { id: "I1".into(), agent_id: Some("S1".into()), unavailability: away, ..Default::default() };
    subscription.stream.event(&scheduler::Event {
        r#type: Some(event::Type::InverseOffers as i32),
        inverse_offers: Some(event::InverseOffers { inverse_offers: vec![inverse] }),
        ..Default::default()
    });
    let expected = Event::InverseOffer {
        id: "I1".into(),
        agent_id: Some("S1".into()),
        host: Some("host-of-S1".into()),
        unavailable_from_ms: 5000,
    };
    assert_eq!(heard.next(), expected);
}

#[test]
fn what_is_of_the_future_is_passed_over() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&scheduler::Event { r#type: Some(99), ..Default::default() });
    subscription.stream.event(&scheduler::Event { r#type: Some(0), ..Default::default() });
    let status = v1::TaskStatus {
        task_id: "t".into(),
        state: 99,
        agent_id: Some("S1".into()),
        uuid: Some(Bytes::from_static(&[3; 16])),
        ..Default::default()
    };
    subscription.stream.event(&update(status));
    // Unacknowledged it would hold up every later one of the task.
    assert_eq!(subscription.call().acknowledge.unwrap().uuid, Bytes::from_static(&[3; 16]));
    heard.nothing();
    assert!(engine.statistics().snapshot().contains(&("mesos_unknown_events", 3)));
}

#[test]
fn a_flood_of_offers_is_told_in_parts_and_does_not_hold_up_calls() {
    let port = Port::open();
    let (mut engine, heard) = engine_with(options(&port.address()), 2);
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    let many = (0..10_000).map(|number| offer(&format!("O{number}"), &format!("S{number}"), "*", 4.0));
    subscription.stream.event(&offers(many.collect()));
    let mut told = 0;
    while told < 10_000 {
        let Event::Offers(part) = heard.next() else { panic!("offers") };
        assert!(part.len() <= 1000);
        told += part.len();
    }
    assert!(engine.statistics().snapshot().contains(&("mesos_offers_outstanding", 10_000)));
    engine.call(1, vec![Call::Accept { offers: vec!["O9999".into()], launches: vec![launch("t", 1.0)] }]);
    assert_eq!(tasks_of(&subscription.call()), ["t"]);
}

#[test]
fn a_full_inbox_is_no_missed_heartbeat() {
    let port = Port::open();
    let (engine, heard) = engine_with(options(&port.address()), 1);
    engine.begin(None);
    // Dead after a quarter of a second without a word.
    let mut subscription = port.subscribe_with("f-1", 0.05);
    heard.registered();
    let until = Instant::now() + Duration::from_millis(1200);
    let mut sent = 0;
    while Instant::now() < until {
        subscription.stream.event(&offers(vec![offer(&format!("O{sent}"), "S1", "*", 1.0)]));
        subscription.stream.event(&heartbeat());
        sent += 1;
        std::thread::sleep(Duration::from_millis(40));
    }
    // Nothing was taken out of the inbox meanwhile, so the engine stood still; all of it is there, and nothing else.
    for number in 0..sent {
        let Event::Offers(part) = heard.next() else { panic!("offers") };
        assert_eq!(part[0].id, format!("O{number}"));
    }
    assert!(engine.statistics().snapshot().contains(&("mesos_missed_heartbeats", 0)));
}

#[test]
fn a_launch_that_cannot_be_described_says_why() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0)]));
    heard.next();
    let mut unknown = launch("t1", 1.0);
    let mut config = (*unknown.config).clone();
    config.executor_config.as_mut().unwrap().name = "no-such-executor".into();
    unknown.config = config.into();
    engine.call(1, vec![Call::Accept { offers: vec!["O1".into()], launches: vec![unknown, launch("t2", 1.0)] }]);
    let lost = heard.status();
    assert_eq!((lost.task_id, lost.reason), (task("t1"), Some(Reason::LaunchFailed)));
    assert!(lost.message.unwrap().contains("no-such-executor"));
    let call = subscription.call();
    assert_eq!(tasks_of(&call), ["t2"]);
    let kind = call.accept.unwrap().operations[0].r#type;
    assert_eq!(kind, Some(v1_offer::operation::Type::Launch as i32));
}
