//! A master that does what a test writes down, byte by byte, and a scheduler that only listens.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Event, EventSink, Launch, StatusUpdate};
use engine_mesos::{MesosEngine, Options, Timing};
use mesos::recordio;
use mesos::v1::scheduler::{self, Call, call, event};
use mesos::v1::{self, Resource, value};
use model::executor::{ThermosSettings, thermos};
use model::{CpuMillis, JobKey, Resources, TaskConfig, TaskId};
use prost::Message;

/// Nothing in these tests takes longer.
pub const LIMIT: Duration = Duration::from_secs(20);
/// What does not happen within this time does not happen.
pub const QUIET: Duration = Duration::from_millis(400);

/// A connection that can be read and written.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A master's port.
pub struct Port {
    listener: TcpListener,
}

impl Port {
    pub fn open() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn open_at(number: u16) -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", number)).unwrap() }
    }

    pub fn number(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number())
    }

    /// The next connection.
    pub fn accept(&self) -> Connection {
        self.accept_within(LIMIT).expect("the engine connects")
    }

    pub fn accept_tcp(&self, limit: Duration) -> Option<TcpStream> {
        self.listener.set_nonblocking(true).unwrap();
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                return Some(stream);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    pub fn accept_within(&self, limit: Duration) -> Option<Connection> {
        Some(Connection { io: Box::new(self.accept_tcp(limit)?), buffer: Vec::new() })
    }

    /// Takes a subscription as a leading master does.
    pub fn subscribe(&self, framework_id: &str) -> Subscription {
        self.subscribe_with(framework_id, 15.0)
    }

    pub fn subscribe_with(&self, framework_id: &str, heartbeat_seconds: f64) -> Subscription {
        let mut stream = self.accept();
        let request = stream.request();
        assert_eq!(request.call.r#type, Some(call::Type::Subscribe as i32));
        let stream_id = format!("stream-of-{}", self.number());
        stream.begin_stream(&stream_id);
        stream.event(&subscribed(framework_id, heartbeat_seconds));
        stream.event(&heartbeat());
        let calls = self.accept();
        Subscription { request, stream, calls, stream_id }
    }
}

/// A subscription that stands.
pub struct Subscription {
    pub request: Request,
    pub stream: Connection,
    pub calls: Connection,
    pub stream_id: String,
}

impl Subscription {
    /// The next call, which is answered with 202.
    pub fn call(&mut self) -> Call {
        let request = self.calls.request();
        assert_eq!(request.header("mesos-stream-id"), Some(self.stream_id.as_str()));
        self.calls.respond("202 Accepted", &[], b"");
        request.call
    }

    /// The next call of a kind; others are answered and passed over.
    pub fn call_of(&mut self, kind: call::Type) -> Call {
        loop {
            let call = self.call();
            if call.r#type == Some(kind as i32) {
                return call;
            }
        }
    }
}

/// One request.
#[derive(Debug)]
pub struct Request {
    pub head: String,
    pub call: Call,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// The master's side of a connection.
pub struct Connection {
    pub io: Box<dyn Wire>,
    pub buffer: Vec<u8>,
}

impl Connection {
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16384];
        let length = self.io.read(&mut piece).expect("the engine writes in time");
        self.buffer.extend_from_slice(&piece[..length]);
        length > 0
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "the engine closed the connection");
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut request = Request { head, call: Call::default() };
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        while self.buffer.len() < end + length {
            assert!(self.fill());
        }
        request.call = Call::decode(&self.buffer[end..end + length]).unwrap();
        self.buffer.drain(..end + length);
        request
    }

    /// Whether the engine closed it, within [`LIMIT`].
    pub fn is_closed(&mut self) -> bool {
        let mut piece = [0; 1024];
        loop {
            match self.io.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    pub fn respond(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.raw(&[text.as_bytes(), body].concat());
    }

    pub fn begin_stream(&mut self, stream_id: &str) {
        let text = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf\r\nMesos-Stream-Id: {stream_id}\r\n\r\n"
        );
        self.raw(text.as_bytes());
    }

    pub fn event(&mut self, event: &scheduler::Event) {
        let mut record = Vec::new();
        recordio::encode(&event.encode_to_vec(), &mut record);
        self.chunk(&record);
    }

    pub fn chunk(&mut self, bytes: &[u8]) {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.raw(&framed);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).unwrap();
        self.io.flush().unwrap();
    }
}

pub fn subscribed(framework_id: &str, heartbeat_seconds: f64) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(event::Type::Subscribed as i32),
        subscribed: Some(event::Subscribed {
            framework_id: framework_id.into(),
            heartbeat_interval_seconds: Some(heartbeat_seconds),
            master_info: Some(v1::MasterInfo { id: "master-1".into(), ..Default::default() }),
        }),
        ..Default::default()
    }
}

pub fn heartbeat() -> scheduler::Event {
    scheduler::Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() }
}

pub fn error(message: &str) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(event::Type::Error as i32),
        error: Some(event::Error { message: message.to_owned() }),
        ..Default::default()
    }
}

pub fn update(status: v1::TaskStatus) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(event::Type::Update as i32),
        update: Some(event::Update { status }),
        ..Default::default()
    }
}

pub fn offers(offers: Vec<v1::Offer>) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(event::Type::Offers as i32),
        offers: Some(event::Offers { offers }),
        ..Default::default()
    }
}

fn scalar(name: &str, value: f64, role: &str) -> Resource {
    Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.into()) }),
        ..Default::default()
    }
}

pub fn offer(id: &str, agent: &str, role: &str, cpus: f64) -> v1::Offer {
    let ports = Resource {
        name: "ports".into(),
        r#type: value::Type::Ranges as i32,
        ranges: Some(value::Ranges { range: vec![value::Range { begin: 31_000, end: 31_999 }] }),
        ..Default::default()
    };
    v1::Offer {
        id: id.into(),
        framework_id: "f-1".into(),
        agent_id: agent.into(),
        hostname: format!("host-of-{agent}"),
        resources: vec![scalar("cpus", cpus, role), scalar("mem", 4096.0, role), scalar("disk", 9999.0, role), ports],
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.into()) }),
        ..Default::default()
    }
}

/// The scheduler's inbox: holds a number of events, and then makes the engine wait.
struct Inbox(Mutex<SyncSender<Event>>);

impl EventSink for Inbox {
    fn send(&self, event: Event) -> bool {
        let sender = self.0.lock().unwrap().clone();
        sender.send(event).is_ok()
    }
}

/// What the engine said.
pub struct Heard(Receiver<Event>);

impl Heard {
    pub fn next(&self) -> Event {
        self.0.recv_timeout(LIMIT).expect("the engine says something")
    }

    pub fn nothing(&self) {
        if let Ok(event) = self.0.recv_timeout(QUIET) {
            panic!("nothing was to be said, but: {event:?}");
        }
    }

    pub fn until(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next();
            if wanted(&event) {
                return event;
            }
        }
    }

    pub fn status(&self) -> StatusUpdate {
        match self.until(|event| matches!(event, Event::Status(_))) {
            Event::Status(update) => update,
            _ => unreachable!("only statuses were wanted"),
        }
    }

    pub fn registered(&self) {
        self.until(|event| matches!(event, Event::Registered { .. }));
    }
}

pub fn options(masters: &str) -> Options {
    let settings = ThermosSettings {
        path: "/opt/executor".into(),
        overhead: Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO },
        ..ThermosSettings::default()
    };
    let timing =
        Timing { backoff_min: Duration::from_millis(10), backoff_max: Duration::from_millis(100), ..Timing::default() };
    Options { masters: masters.into(), executors: vec![thermos(&settings).unwrap()], timing, ..Options::default() }
}

/// An engine whose events go into an inbox of `room` places.
pub fn engine_with(options: Options, room: usize) -> (MesosEngine, Heard) {
    let (sender, receiver) = sync_channel(room);
    let engine = MesosEngine::start(options, Arc::new(Inbox(Mutex::new(sender)))).unwrap();
    (engine, Heard(receiver))
}

pub fn engine(masters: &str) -> (MesosEngine, Heard) {
    engine_with(options(masters), 10_000)
}

pub fn launch(task: &str, cpus: f64) -> Launch {
    let config = TaskConfig::new(JobKey::new("www", "prod", "hello"), cpus, 64, 32, "{}");
    let config = Arc::new(config);
    Launch {
        task_id: TaskId(task.into()),
        instance: 0,
        resources: config.resources + Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO },
        config,
        revocable: false,
        ports: BTreeMap::new(),
        assigned_ms: 0,
    }
}

/// The ids of the tasks an ACCEPT starts.
pub fn tasks_of(call: &Call) -> Vec<String> {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    let launches = operations.filter_map(|operation| operation.launch.as_ref());
    launches.flat_map(|launch| &launch.task_infos).map(|task| task.task_id.value.clone()).collect()
}
