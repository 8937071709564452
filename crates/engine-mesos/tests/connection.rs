//! How the engine finds a master, keeps to it, notices that it is gone, and comes back.

mod common;

use std::time::Duration;

use common::*;
use engine::{Call, Engine, Event, Reason, TaskState};
use engine_mesos::{Options, Timing};
use mesos::recordio;
use mesos::v1::scheduler::call;
use model::TaskId;
use prost::Message;

fn task(id: &str) -> TaskId {
    TaskId(id.into())
}

/// The message of the end for good.
fn deposed(heard: &Heard) -> String {
    match heard.until(|event| matches!(event, Event::Deposed { .. })) {
        Event::Deposed { reason } => reason,
        _ => unreachable!("only the end was wanted"),
    }
}

#[test]
fn redirects_are_followed_in_every_form_with_the_body() {
    for form in ["//{}/api/v1/scheduler", "http://{}/api/v1/scheduler", "{}"] {
        let (follower, leader) = (Port::open(), Port::open());
        let (engine, heard) = engine(&follower.address());
        engine.begin(Some("f-7".into()));
        let mut connection = follower.accept();
        let asked = connection.request();
        let location = form.replace("{}", &leader.address());
        connection.respond("307 Temporary Redirect", &[("Location", &location)], b"");
        let subscription = leader.subscribe("f-7");
        assert_eq!(subscription.request.call, asked.call, "the same call, by POST");
        assert_eq!(subscription.request.header("host"), Some(leader.address().as_str()));
        heard.registered();
    }
}

#[test]
fn masters_that_do_not_lead_are_passed_over() {
    let (starting, electing, recovering, leader) = (Port::open(), Port::open(), Port::open(), Port::open());
    let refusing = Port::open().address();
    let list = [refusing, starting.address(), electing.address(), recovering.address(), leader.address()].join(",");
    let (engine, heard) = engine(&list);
    engine.begin(None);
    for (port, status, body) in [
        (&starting, "404 Not Found", ""),
        (&electing, "503 Service Unavailable", "No leader elected"),
        (&recovering, "307 Temporary Redirect", ""),
    ] {
        let mut connection = port.accept();
        connection.request();
        connection.respond(status, &[], body.as_bytes());
    }
    leader.subscribe("f-1");
    heard.registered();
}

#[test]
fn masters_that_point_at_each_other_do_not_catch_the_engine() {
    let (one, two) = (Port::open(), Port::open());
    let (engine, heard) = engine(&one.address());
    engine.begin(None);
    // One says two, two says one, over and over.
    for _ in 0..3 {
        for (port, other) in [(&one, &two), (&two, &one)] {
            let mut connection = port.accept();
            connection.request();
            connection.respond("307 Temporary Redirect", &[("Location", &format!("//{}/", other.address()))], b"");
        }
    }
    one.subscribe("f-1");
    heard.registered();
}

#[test]
fn a_stream_cut_within_a_record_is_taken_up_again() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0)]));
    heard.next();
    engine.call(1, vec![Call::Suppress]);
    subscription.call();
    let mut record = Vec::new();
    recordio::encode(&offers(vec![offer("O2", "S2", "*", 4.0)]).encode_to_vec(), &mut record);
    subscription.stream.chunk(&record[..record.len() / 2]);
    drop(subscription);
    assert_eq!(heard.next(), Event::Disconnected, "half an offer is none");

    // Nothing can be sent, but nothing is forgotten.
    let accept = Call::Accept { offers: vec!["O1".into()], launches: vec![launch("t1", 1.0)] };
    engine.call(1, vec![accept, Call::Kill { task_id: task("t0"), agent_id: Some("S1".into()) }]);
    let lost = heard.status();
    assert_eq!((lost.task_id, lost.state, lost.reason), (task("t1"), TaskState::Lost, Some(Reason::InvalidOffer)));

    let mut again = port.subscribe("f-1");
    let call = &again.request.call;
    let subscribe = call.subscribe.clone().unwrap();
    assert_eq!(call.framework_id, Some("f-1".into()));
    assert_eq!(subscribe.framework_info.id, Some("f-1".into()), "both ids, and equal");
    assert_eq!(subscribe.suppressed_roles, ["*"], "left out it would mean that offers are wanted");
    heard.registered();
    assert_eq!(again.call().kill.unwrap().task_id.value, "t0");
    // The old offer is void although nobody took it back.
    engine.call(1, vec![Call::Accept { offers: vec!["O1".into()], launches: vec![launch("t2", 1.0)] }, Call::Revive]);
    assert_eq!(heard.status().task_id, task("t2"));
    assert!(again.call().revive.is_some());
}

#[test]
fn a_first_subscription_that_breaks_at_once_leaves_no_framework_behind() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut stream = port.accept();
    stream.request();
    let number = port.number();
    // The second connection cannot be made.
    drop(port);
    stream.begin_stream("s");
    stream.event(&subscribed("f-1", 15.0));
    assert!(stream.is_closed());
    let again = Port::open_at(number).subscribe("f-1");
    assert_eq!(again.request.call.framework_id, Some("f-1".into()), "not as a second framework");
    heard.registered();
}

#[test]
fn a_broken_frame_ends_the_subscription_and_nothing_else() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    for nonsense in [&b"12x\n"[..], b"99999999999999999999\n", b"3\n\xff\xff\xff", b"HTTP/1.1 200 OK\r\n"] {
        let mut subscription = port.subscribe("f-1");
        heard.registered();
        subscription.stream.chunk(nonsense);
        assert_eq!(heard.next(), Event::Disconnected);
        assert!(subscription.calls.is_closed());
    }
    port.subscribe("f-1");
    heard.registered();
}

#[test]
fn another_scheduler_with_our_id_ends_us_for_good() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(Some("f-1".into()));
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    subscription.stream.event(&error("Framework failed over"));
    assert_eq!(heard.next(), Event::Disconnected);
    let reason = deposed(&heard);
    assert!(reason.contains("Framework failed over") && reason.contains("another scheduler"), "{reason}");
    engine.call(1, vec![Call::Accept { offers: Vec::new(), launches: vec![launch("t", 1.0)] }, Call::Revive]);
    assert!(port.accept_within(QUIET).is_none(), "it does not come back");
    heard.nothing();
}

#[test]
fn refused_calls_do_not_hide_that_another_scheduler_is_in_charge() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(Some("f-1".into()));
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(1, vec![Call::Revive]);
    subscription.calls.request();
    subscription.calls.respond("400 Bad Request", &[], b"The stream ID included in this request didn't match");
    std::thread::sleep(Duration::from_millis(200));
    subscription.stream.event(&error("Framework failed over"));
    assert!(deposed(&heard).contains("another scheduler"));
    assert!(port.accept_within(QUIET).is_none(), "coming back would depose the other one");
}

#[test]
fn a_removed_framework_is_never_registered_anew_in_silence() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(Some("f-1".into()));
    let mut stream = port.accept();
    stream.request();
    // A refused subscription is answered well, and then refused.
    stream.begin_stream("s");
    stream.event(&error("Framework has been removed"));
    let reason = deposed(&heard);
    assert!(reason.contains("framework f-1") && reason.contains("does not register as a new framework"), "{reason}");
    assert!(port.accept_within(QUIET).is_none());

    let port = Port::open();
    let (engine, heard) = common::engine(&port.address());
    engine.begin(Some("f-1".into()));
    let mut stream = port.accept();
    stream.request();
    stream.begin_stream("s");
    stream.event(&subscribed("f-2", 15.0));
    assert!(deposed(&heard).contains("f-2"), "another id means that the old one is forgotten");
}

#[test]
fn other_refusals_are_tried_again() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut stream = port.accept();
    stream.request();
    stream.begin_stream("s");
    stream.event(&error("Not authorized to use role 'web'"));
    for status in ["401 Unauthorized", "403 Forbidden", "400 Bad Request", "500 Internal Server Error"] {
        let mut connection = port.accept();
        connection.request();
        connection.respond(status, &[], b"no");
    }
    // An answer in another encoding, or none at all.
    let mut connection = port.accept();
    connection.request();
    connection.respond("200 OK", &[("Content-Type", "application/json")], b"9\n{\"a\":\"b\"}");
    drop(port.accept());
    port.subscribe("f-1");
    heard.registered();
}

#[test]
fn a_master_that_forgot_us_is_subscribed_at_again() {
    for (status, text) in [
        ("403 Forbidden", "Framework is not subscribed"),
        ("400 Bad Request", "Framework cannot be found"),
        (
            "400 Bad Request",
            "The stream ID 'x' included in this request didn't match the stream ID currently associated",
        ),
        ("503 Service Unavailable", "No leader elected"),
    ] {
        let port = Port::open();
        let (mut engine, heard) = engine(&port.address());
        engine.begin(None);
        let mut subscription = port.subscribe("f-1");
        heard.registered();
        subscription.stream.event(&offers(vec![offer("O1", "S1", "*", 4.0)]));
        heard.next();
        engine.call(1, vec![Call::Accept { offers: vec!["O1".into()], launches: vec![launch("t", 1.0)] }]);
        subscription.calls.request();
        subscription.calls.respond(status, &[], text.as_bytes());
        let lost = heard.status();
        assert_eq!((lost.task_id, lost.state), (task("t"), TaskState::Lost), "it was refused, so it did not start");
        assert_eq!(heard.next(), Event::Disconnected);
        port.subscribe("f-1");
        heard.registered();
    }
}

#[test]
fn a_call_that_is_wrong_does_not_end_the_subscription() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(1, vec![Call::Suppress, Call::Revive]);
    subscription.calls.request();
    subscription.calls.respond("400 Bad Request", &[], b"Failed to validate scheduler::Call: no");
    assert_eq!(subscription.call().r#type, Some(call::Type::Revive as i32));
    heard.nothing();
    assert!(engine.statistics().snapshot().contains(&("mesos_calls_refused", 1)));
}

#[test]
fn silence_is_noticed_and_heartbeats_prevent_it() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe_with("f-1", 0.05);
    heard.registered();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        subscription.stream.event(&heartbeat());
    }
    assert!(engine.statistics().snapshot().contains(&("mesos_missed_heartbeats", 0)));
    assert_eq!(heard.next(), Event::Disconnected, "the connection stands, but nothing comes");
    assert!(engine.statistics().snapshot().contains(&("mesos_missed_heartbeats", 1)));
    port.subscribe("f-1");
    heard.registered();
}

#[test]
fn a_master_that_does_not_answer_is_left() {
    let port = Port::open();
    let short = Duration::from_millis(300);
    let timing = Timing { subscribe_timeout: short, call_timeout: short, ..options("x").timing };
    let (mut engine, heard) = engine_with(Options { timing, ..options(&port.address()) }, 100);
    engine.begin(None);
    let mut mute = port.accept();
    mute.request();
    // It never says a word; the next attempt is another connection.
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(1, vec![Call::Revive]);
    subscription.calls.request();
    assert_eq!(heard.next(), Event::Disconnected);
}

#[test]
fn an_idle_connection_for_calls_may_be_closed() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(1, vec![Call::Revive]);
    subscription.call();
    drop(std::mem::replace(
        &mut subscription.calls,
        Connection { io: Box::new(std::io::Cursor::new(Vec::new())), buffer: Vec::new() },
    ));
    heard.nothing();
    engine.call(1, vec![Call::Suppress]);
    subscription.calls = port.accept();
    assert!(subscription.call().suppress.is_some());
    heard.nothing();
}

#[test]
fn a_connection_for_calls_lost_with_a_call_on_its_way_is_a_lost_subscription() {
    let port = Port::open();
    let (mut engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    engine.call(1, vec![Call::Revive]);
    subscription.calls.request();
    let Subscription { mut stream, calls, .. } = subscription;
    drop(calls);
    assert_eq!(heard.next(), Event::Disconnected, "nobody knows whether it arrived");
    assert!(stream.is_closed());
}

#[test]
fn a_framework_can_be_torn_down() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    let control = engine.control();
    assert!(!control.teardown(Duration::from_secs(5)), "there is nothing to tear down yet");
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    let asked = std::thread::spawn(move || control.teardown(LIMIT));
    assert_eq!(subscription.call().r#type, Some(call::Type::Teardown as i32));
    assert!(asked.join().unwrap());
    assert_eq!(heard.next(), Event::Disconnected);
    assert!(port.accept_within(QUIET).is_none(), "it does not come back");
}

#[test]
fn a_fault_inside_is_told() {
    /// Fails at the first event.
    struct Faulty(std::sync::Mutex<std::sync::mpsc::Sender<Event>>, std::sync::atomic::AtomicBool);
    impl engine::EventSink for Faulty {
        fn send(&self, event: Event) -> bool {
            assert!(self.1.swap(true, std::sync::atomic::Ordering::Relaxed), "a fault made for a test");
            self.0.lock().unwrap().send(event).is_ok()
        }
    }
    let port = Port::open();
    let (sender, receiver) = std::sync::mpsc::channel();
    let sink = std::sync::Arc::new(Faulty(sender.into(), false.into()));
    let engine = engine_mesos::MesosEngine::start(options(&port.address()), sink).unwrap();
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    let Event::Deposed { reason } = receiver.recv_timeout(LIMIT).unwrap() else { panic!("the end is told") };
    assert!(reason.contains("a fault inside"), "{reason}");
    assert!(subscription.stream.is_closed());
}

#[test]
fn dropping_the_engine_closes_the_subscription() {
    let port = Port::open();
    let (engine, heard) = engine(&port.address());
    engine.begin(None);
    let mut subscription = port.subscribe("f-1");
    heard.registered();
    drop(engine);
    assert!(subscription.stream.is_closed() && subscription.calls.is_closed());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refusal = |options: Options| {
        let (sender, _receiver) = std::sync::mpsc::sync_channel::<Event>(1);
        struct Deaf(std::sync::Mutex<std::sync::mpsc::SyncSender<Event>>);
        impl engine::EventSink for Deaf {
            fn send(&self, event: Event) -> bool {
                self.0.lock().unwrap().try_send(event).is_ok()
            }
        }
        let sink = std::sync::Arc::new(Deaf(std::sync::Mutex::new(sender)));
        engine_mesos::MesosEngine::start(options, sink).expect_err("must be refused").to_string()
    };
    assert!(refusal(options("")).contains("no Mesos master is named"));
    assert!(refusal(options("m:x")).contains("\"m:x\""));
    assert!(refusal(options("zk://m:2181")).contains("ZooKeeper"));
    let mut bad = options("m");
    bad.framework.roles = vec!["a b".into()];
    assert!(refusal(bad).contains("white space"));
    let mut bad = options("https://m");
    bad.tls.ca_file = Some("/no/such/file.pem".into());
    assert!(refusal(bad).contains("/no/such/file.pem"));
}
