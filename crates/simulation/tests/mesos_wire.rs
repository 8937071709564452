//! The simulated Mesos over plain sockets: status codes in their order, framing, and faults of connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mesos::json::Json;
use mesos::recordio::Decoder;
use mesos::v1::scheduler::{Call, Event, call, event};
use mesos::v1::{FrameworkInfo, executor as executor_api};
use prost::Message;
use simulation::mesos::Settings;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::wire::{Reply, Request};

fn subscribe(name: &str) -> Call {
    let framework_info =
        FrameworkInfo { user: "u".into(), name: name.into(), failover_timeout: Some(60.0), ..FrameworkInfo::default() };
    Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info, ..call::Subscribe::default() }),
        ..Call::default()
    }
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
    socket: TcpStream,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends a request and reads the head of the answer and whatever came with it.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> Response {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(socket, "{head}Host: {address}\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    socket.write_all(body).unwrap();
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        let read = socket.read(&mut piece).unwrap();
        received.extend_from_slice(&piece[..read]);
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        assert!(read > 0, "closed without an answer");
    };
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Response { status, head, body: received[end + 4..].to_vec(), socket }
}

const POST: &str = "POST /api/v1/scheduler HTTP/1.1\r\n";
const PROTOBUF: &str =
    "POST /api/v1/scheduler HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\n";
const JSON: &str =
    "POST /master/api/v1/scheduler HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n";

/// Takes the chunks apart; stops at the end of the stream or when nothing comes.
struct Events {
    response: Response,
    raw: Vec<u8>,
    decoder: Decoder,
    broken: bool,
}

impl Events {
    fn new(mut response: Response) -> Self {
        let raw = std::mem::take(&mut response.body);
        Self { response, raw, decoder: Decoder::new(64 << 20), broken: false }
    }

    /// The next record; `None` when the stream ended, in good order or not.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(record) = self.decoder.next_record().unwrap() {
                return Some(record.to_vec());
            }
            if let Some(at) = self.raw.iter().take(20).position(|byte| *byte == b'\r') {
                let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..at]).unwrap(), 16).unwrap();
                if length == 0 {
                    return None;
                }
                if self.raw.len() >= at + 2 + length + 2 {
                    self.decoder.extend(&self.raw[at + 2..at + 2 + length]);
                    self.raw.drain(..at + 2 + length + 2);
                    continue;
                }
            }
            let mut piece = vec![0; 1 << 20];
            match self.response.socket.read(&mut piece) {
                Ok(read) if read > 0 => self.raw.extend_from_slice(&piece[..read]),
                _ => {
                    self.broken = true;
                    return None;
                }
            }
        }
    }

    fn event(&mut self) -> Option<Event> {
        self.next().map(|record| Event::decode(&record[..]).unwrap())
    }
}

fn simulation() -> Simulation {
    let simulation = Simulation::start(Settings { masters: 3, ..Settings::default() }, 1.0, None).unwrap();
    simulation.add_agents((0..3).map(|index| AgentSpec::new(format!("a{index}"), "cpus:4;mem:1024")));
    simulation
}

#[test]
fn status_codes_come_in_the_order_of_the_checks() {
    let simulation = simulation();
    let leader = simulation.masters()[0];
    let status = |head: &str, body: &[u8]| send(leader, head, body).status;
    let good = subscribe("one").encode_to_vec();
    let other = send(simulation.masters()[1], PROTOBUF, &good);
    assert_eq!((other.status, other.header("location")), (307, Some(&*format!("//{leader}/api/v1/scheduler"))));
    let get = send(leader, "GET /api/v1/scheduler HTTP/1.1\r\n", b"");
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(status(POST, &good), 400, "no content type");
    let charset = "POST /api/v1/scheduler HTTP/1.1\r\nContent-Type: application/json; charset=utf-8\r\n";
    assert_eq!(status(charset, b"{}"), 415);
    assert_eq!(status(PROTOBUF, b"\xff\xff"), 400, "no message");
    assert_eq!(status(JSON, b"{\"type\": 3}"), 400, "a number for a constant");
    assert_eq!(status(PROTOBUF, &Call::default().encode_to_vec()), 400, "no type");
    let html = "POST /api/v1/scheduler HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nAccept: text/html\r\n";
    assert_eq!(status(html, &good), 406);
    let with_stream = format!("{PROTOBUF}Mesos-Stream-Id: 1\r\n");
    assert_eq!(status(&with_stream, &good), 400);
    let call =
        |id: &str| Call { framework_id: Some(id.into()), r#type: Some(call::Type::Revive as i32), ..Call::default() };
    assert_eq!(status(PROTOBUF, &call("nobody").encode_to_vec()), 400, "framework cannot be found");
    let mut events = Events::new(send(leader, PROTOBUF, &good));
    assert_eq!(events.response.status, 200);
    assert_eq!(events.response.header("content-type"), Some("application/x-protobuf"));
    let stream_id = events.response.header("mesos-stream-id").unwrap().to_owned();
    assert_eq!(stream_id.len(), 36);
    let id = events.event().unwrap().subscribed.unwrap().framework_id.value;
    assert_eq!(status(PROTOBUF, &call(&id).encode_to_vec()), 400, "no stream id");
    assert_eq!(status(&format!("{PROTOBUF}Mesos-Stream-Id: other\r\n"), &call(&id).encode_to_vec()), 400);
    let named = format!("{PROTOBUF}Mesos-Stream-Id: {stream_id}\r\n");
    assert_eq!(status(&named, &call(&id).encode_to_vec()), 202);
    let unknown = Call { r#type: Some(99), ..call(&id) };
    assert_eq!(status(&named, &unknown.encode_to_vec()), 501);
    drop(events);
    let gone = simulation.wait_until(Duration::from_secs(5), |cluster| cluster.frameworks().iter().all(|(_, on)| !on));
    assert!(gone, "the master notices a broken stream");
    assert_eq!(status(&named, &call(&id).encode_to_vec()), 403, "not subscribed");
    simulation.with(|cluster| cluster.refuse_requests(503, 1));
    assert_eq!(status(PROTOBUF, &good), 503);
}

#[test]
fn a_master_without_the_right_secret_says_401_before_anything_else() {
    let credentials = Some(vec![("daybreak".to_owned(), "secret".to_owned())]);
    let simulation = Simulation::start(Settings { credentials, ..Settings::default() }, 1.0, None).unwrap();
    let refused = send(simulation.masters()[0], "GET /api/v1/scheduler HTTP/1.1\r\n", b"");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"mesos-master-scheduler\""));
    let named = format!("{PROTOBUF}Authorization: Basic ZGF5YnJlYWs6c2VjcmV0\r\n");
    let accepted = send(simulation.masters()[0], &named, &subscribe("one").encode_to_vec());
    assert_eq!(accepted.status, 200);
}

#[test]
fn json_calls_get_json_events() {
    let simulation = simulation();
    let body = subscribe("one").to_json_text();
    let mut events = Events::new(send(simulation.masters()[0], JSON, body.as_bytes()));
    assert_eq!(events.response.header("content-type"), Some("application/json"));
    let text = String::from_utf8(events.next().unwrap()).unwrap();
    assert!(text.contains("\"SUBSCRIBED\"") && text.contains("\"heartbeat_interval_seconds\":15.0"), "{text}");
    let heartbeat = String::from_utf8(events.next().unwrap()).unwrap();
    assert!(heartbeat.contains("HEARTBEAT"));
    let offers = Event::from_json_text(&String::from_utf8(events.next().unwrap()).unwrap()).unwrap();
    assert_eq!(offers.offers.unwrap().offers.len(), 3);
}

#[test]
fn records_may_be_split_anywhere_and_are_the_same() {
    let simulation = simulation();
    simulation.stream_faults().split_records(11);
    let mut events = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("one").encode_to_vec()));
    let kinds: Vec<i32> = (0..3).map(|_| events.event().unwrap().r#type.unwrap()).collect();
    assert_eq!(kinds, [event::Type::Subscribed, event::Type::Heartbeat, event::Type::Offers].map(|kind| kind as i32));
}

#[test]
fn streams_are_cut_within_a_record_and_end_in_order_on_teardown() {
    let simulation = simulation();
    simulation.stream_faults().cut_in_next_record();
    let mut events = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("one").encode_to_vec()));
    assert!(events.event().is_none() && events.broken);
    let mut events = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("two").encode_to_vec()));
    let id = events.event().unwrap().subscribed.unwrap().framework_id.value;
    simulation.with(|cluster| cluster.teardown(&id));
    while events.event().is_some() {}
    assert!(!events.broken, "the last chunk comes");
}

#[test]
fn a_dead_master_answers_nobody_and_a_stalled_stream_is_not_closed() {
    let simulation = simulation();
    let mut events = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("one").encode_to_vec()));
    for _ in 0..3 {
        events.event().unwrap();
    }
    simulation.stream_faults().stall(true);
    simulation.skip(60_000);
    events.response.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(events.event().is_none(), "heartbeats are held back");
    simulation.stream_faults().stall(false);
    simulation.nudge();
    events.response.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    events.broken = false;
    assert_eq!(events.event().unwrap().r#type, Some(event::Type::Heartbeat as i32));
    simulation.with(|cluster| cluster.kill_leader());
    while events.event().is_some() {}
    assert!(events.broken);
    let mut socket = TcpStream::connect(simulation.masters()[0]).unwrap();
    let _ = socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_else() {
    let settings = Settings { allocation_interval_ms: 10, ..Settings::default() };
    let simulation = Simulation::start(settings, 1.0, None).unwrap();
    simulation.add_agents((0..2_000).map(|index| AgentSpec::new(format!("a{index}"), "cpus:4;mem:1024")));
    let mut lazy = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("lazy").encode_to_vec()));
    // Far more than sockets hold: every agent is offered, taken back, and offered again.
    for _ in 0..20 {
        simulation.with(|cluster| cluster.rescind_all());
        simulation.skip(20);
    }
    let mut brisk = Events::new(send(simulation.masters()[0], PROTOBUF, &subscribe("brisk").encode_to_vec()));
    assert!(brisk.event().unwrap().subscribed.is_some());
    simulation.add_agents([AgentSpec::new("more", "cpus:4;mem:1024")]);
    assert!(brisk.event().is_some());
    // Nothing of it is lost to the lazy one.
    let mut rescinded = 0;
    while rescinded < 20 * 2_000 {
        rescinded += usize::from(lazy.event().expect("the stream lives").rescind.is_some());
    }
}

#[test]
fn executors_are_answered_by_the_codes_of_their_api() {
    let simulation = Simulation::start(Settings::default(), 1.0, None).unwrap();
    let (agent, address) = simulation.add_process_agent(&AgentSpec::new("a0", "cpus:4;mem:1024")).unwrap();
    let head = "POST /api/v1/executor HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n";
    let call = |kind: executor_api::call::Type| executor_api::Call {
        executor_id: "e".into(),
        framework_id: "f".into(),
        r#type: Some(kind as i32),
        ..executor_api::Call::default()
    };
    let status = |call: &executor_api::Call| send(address, head, &call.encode_to_vec()).status;
    assert_eq!(status(&call(executor_api::call::Type::Heartbeat)), 202, "ids are not even looked at");
    assert_eq!(status(&call(executor_api::call::Type::Subscribe)), 400, "a body is missing");
    let full = executor_api::Call { subscribe: Some(Default::default()), ..call(executor_api::call::Type::Subscribe) };
    assert_eq!(status(&full), 400, "nobody knows this framework");
    simulation.with(|cluster| {
        let mut update = call(executor_api::call::Type::Update);
        let status = mesos::v1::TaskStatus { uuid: Some(vec![0; 36].into()), ..Default::default() };
        update.update = Some(executor_api::call::Update { status });
        let request = Request {
            method: "POST".into(),
            content_type: Some(mesos::PROTOBUF.into()),
            body: update.encode_to_vec().into(),
            ..Request::default()
        };
        let Reply::Plain { status, text, .. } = cluster.executor_request(agent, &request) else { panic!("a stream") };
        assert_eq!(status, 400);
        assert!(text.contains("UUID"), "{text}");
    });
}
