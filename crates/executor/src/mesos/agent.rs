//! The connections to the agent (spec mesos 3.10): one thread keeps the subscription and hands on its events, another sends updates until
//! they are taken. Both only move messages; what they mean is decided in [`super::run`].

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesos::recordio::Decoder;
use mesos::v1::executor::call::{self, Update};
use mesos::v1::executor::{Call, Event};
use mesos::v1::{ExecutorId, FrameworkId};
use mesos::{EXECUTOR_PATH, PROTOBUF};
use prost::Message;
use rustix::event::EventfdFlags;

use super::book::Book;
use super::options::Environment;
use crate::http::{Connection, Request, Stream, exchange};
use crate::launcher::log;

/// How long an executor without a subscription tries to get its first one: an agent waits a minute for it.
const FIRST_SUBSCRIPTION: Duration = Duration::from_secs(60);
/// Time for one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Pause before an update that was not taken is sent again.
const RESEND: Duration = Duration::from_millis(500);
/// Largest event.
const EVENT_BYTES_MAX: u64 = 256 << 20;

/// What happened at the agent's side.
#[derive(Debug)]
pub(super) enum FromAgent {
    /// An event of the stream.
    Event(Box<Event>),
    /// The stream ended; another subscription is tried.
    Disconnected,
    /// No other subscription is tried any more.
    GaveUp(String),
}

/// The agent.
#[derive(Debug)]
pub(super) struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    environment: Environment,
    inbox: Mutex<VecDeque<FromAgent>>,
    /// Readable when something is in the inbox.
    wake: OwnedFd,
    book: Mutex<Book>,
    outbox: Mutex<VecDeque<Update>>,
    outgoing: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Starts the threads.
    pub(super) fn connect(environment: Environment) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            environment,
            inbox: Mutex::default(),
            wake: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            book: Mutex::default(),
            outbox: Mutex::default(),
            outgoing: Condvar::new(),
        });
        let (subscriber, sender) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new().name("subscription".into()).spawn(move || subscriber.keep_subscription())?;
        std::thread::Builder::new().name("updates".into()).spawn(move || sender.send_updates())?;
        Ok(Self { shared })
    }

    /// What happened since the last call.
    pub(super) fn receive(&self) -> Vec<FromAgent> {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut counter);
        lock(&self.shared.inbox).drain(..).collect()
    }

    /// The book of what is not stored yet.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.shared.book)
    }

    /// Notes an update and sends it.
    pub(super) fn update(&self, update: Update) {
        self.book().add_update(update.clone());
        lock(&self.shared.outbox).push_back(update);
        self.shared.outgoing.notify_one();
    }
}

impl AsFd for Agent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

impl Shared {
    fn tell(&self, what: FromAgent) {
        lock(&self.inbox).push_back(what);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn call(&self, kind: call::Type) -> Call {
        Call {
            executor_id: ExecutorId { value: self.environment.executor_id.clone() },
            framework_id: FrameworkId { value: self.environment.framework_id.clone() },
            r#type: Some(kind as i32),
            ..Call::default()
        }
    }

    fn connection(&self) -> io::Result<Connection> {
        let deadline = Instant::now() + REQUEST;
        let stream = match &self.environment.domain_socket {
            Some(path) => Stream::connect_unix(path, deadline)?,
            None => {
                let endpoint = &self.environment.endpoint;
                let parts = endpoint.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let (host, port) = parts.ok_or_else(|| io::Error::other(format!("{endpoint} is no host:port")))?;
                Stream::connect(host, port, deadline)?
            }
        };
        Ok(Connection::new(stream))
    }

    fn post(
        &self,
        connection: &mut Connection,
        call: &Call,
        read: impl FnOnce(u16, &mut dyn BodyOf) -> io::Result<()>,
    ) -> io::Result<()> {
        let token = self.environment.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", PROTOBUF), ("Accept", PROTOBUF)];
        headers.extend(token.as_deref().map(|token| ("Authorization", token)));
        let body = call.encode_to_vec();
        let request = Request {
            method: "POST",
            host: &self.environment.endpoint,
            target: EXECUTOR_PATH,
            headers: &headers,
            body: &body,
            keep: true,
        };
        let (head, mut body) = exchange(connection, &request)?;
        read(head.code, &mut body)
    }

    fn keep_subscription(&self) {
        let mut without_since = Instant::now();
        let mut subscribed_once = false;
        // The same reason is said once, not with each attempt.
        let mut said = String::new();
        loop {
            let mut subscribed = false;
            let ended = self.subscribe_once(&mut subscribed);
            if subscribed {
                subscribed_once = true;
                without_since = Instant::now();
                log(&format!("the agent's stream ended{}", told(&ended)));
                said.clear();
                self.tell(FromAgent::Disconnected);
                if !self.environment.checkpoint {
                    return self.tell(FromAgent::GaveUp("the agent is gone and checkpointing is off".into()));
                }
            } else {
                let reason = told(&ended);
                if reason != said {
                    log(&format!("not subscribed yet{reason}"));
                    said = reason;
                }
            }
            let patience = if subscribed_once { self.environment.recovery_timeout } else { FIRST_SUBSCRIPTION };
            if without_since.elapsed() >= patience {
                let seconds = patience.as_secs();
                return self.tell(FromAgent::GaveUp(format!("no agent for {seconds} seconds")));
            }
            std::thread::sleep(random_part(self.environment.backoff_max).max(Duration::from_millis(20)));
        }
    }

    /// Subscribes and hands on events until the stream ends.
    fn subscribe_once(&self, subscribed: &mut bool) -> io::Result<()> {
        let mut connection = self.connection()?;
        let call = Call { subscribe: Some(lock(&self.book).subscribe()), ..self.call(call::Type::Subscribe) };
        self.post(&mut connection, &call, |code, body| {
            if code != 200 {
                return Err(refused(code, body));
            }
            *subscribed = true;
            // From here on the agent speaks when it has something to say; its end shows as the end of the connection.
            body.keep_open()?;
            let mut decoder = Decoder::new(EVENT_BYTES_MAX);
            let mut buffer = vec![0; 16 << 10];
            loop {
                while let Some(record) = decoder.next_record().map_err(io::Error::other)? {
                    self.tell(FromAgent::Event(Box::new(Event::decode(record).map_err(io::Error::other)?)));
                }
                match body.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => decoder.extend(&buffer[..count]),
                }
            }
        })
    }

    /// Sends updates in their order, each until it is taken or stored. While there is no subscription the agent refuses them; the next
    /// subscription tells them too.
    fn send_updates(&self) {
        let mut kept: Option<Connection> = None;
        loop {
            let update = {
                let mut outbox = lock(&self.outbox);
                loop {
                    match outbox.pop_front() {
                        Some(update) => break update,
                        None => outbox = self.outgoing.wait(outbox).unwrap_or_else(PoisonError::into_inner),
                    }
                }
            };
            let uuid = update.status.uuid.clone().unwrap_or_default();
            let call = Call { update: Some(update), ..self.call(call::Type::Update) };
            let mut said = String::new();
            while lock(&self.book).waits_for(&uuid) {
                match self.send(&mut kept, &call) {
                    Ok(()) => break,
                    Err(error) => {
                        kept = None;
                        let reason = error.to_string();
                        if reason != said {
                            log(&format!("an update was not taken yet: {reason}"));
                            said = reason;
                        }
                        std::thread::sleep(RESEND);
                    }
                }
            }
        }
    }

    fn send(&self, kept: &mut Option<Connection>, call: &Call) -> io::Result<()> {
        // A connection that was kept may have been closed meanwhile; that says nothing about the agent.
        if let Some(mut connection) = kept.take()
            && connection.get_mut().set_deadline(Some(Instant::now() + REQUEST)).is_ok()
            && let Ok(()) = self.send_over(&mut connection, call)
        {
            *kept = Some(connection);
            return Ok(());
        }
        let mut connection = self.connection()?;
        self.send_over(&mut connection, call)?;
        *kept = Some(connection);
        Ok(())
    }

    fn send_over(&self, connection: &mut Connection, call: &Call) -> io::Result<()> {
        self.post(connection, call, |code, body| {
            if !(200..300).contains(&code) {
                return Err(refused(code, body));
            }
            body.read_to_end(&mut Vec::new()).map(|_| ())
        })
    }
}

/// The body of an answer as [`Shared::post`] hands it on.
trait BodyOf: Read {
    /// No deadline any more.
    fn keep_open(&mut self) -> io::Result<()>;
}

impl BodyOf for crate::http::Body<'_> {
    fn keep_open(&mut self) -> io::Result<()> {
        let stream = self.connection().get_mut();
        stream.keep_alive();
        stream.set_deadline(None)
    }
}

fn refused(code: u16, body: &mut dyn BodyOf) -> io::Error {
    let mut text = Vec::new();
    let _ = body.take(500).read_to_end(&mut text);
    io::Error::other(format!("the agent answers {code}: {}", String::from_utf8_lossy(&text).trim()))
}

fn told(result: &io::Result<()>) -> String {
    result.as_ref().err().map_or_else(String::new, |error| format!(": {error}"))
}

/// A random time up to `most`, so that the executors of an agent do not all come at once.
fn random_part(most: Duration) -> Duration {
    let [first, second, ..] = super::run::random_uuid();
    most.mul_f64(f64::from(u16::from_ne_bytes([first, second])) / f64::from(u16::MAX))
}
