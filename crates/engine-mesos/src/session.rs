//! One subscription from its first byte to its end: the stream of events, and beside it the connection for calls.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use engine::Reason;
use mesos::recordio::Decoder;
use mesos::v1::scheduler::{Call, call, event};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::time::timeout;

use crate::address::Master;
use crate::core::{Core, SentKind};
use crate::events;
use crate::http::{self, Head, Io, Reader, RequestHead};
use crate::statistics::Statistics;

/// The longest record: room for the offers of a very large cluster in one event.
const RECORD_BYTES_MAX: u64 = 256 << 20;
/// What is said of a refusal at most.
const TEXT_BYTES_MAX: usize = 2 << 10;
/// Calls that may be on their way at once.
const IN_FLIGHT_MAX: usize = 1024;
/// Calls are written together up to this size.
const WRITE_BYTES: usize = 256 << 10;
/// How often the oldest call on its way is looked at, at least.
const CALL_CHECK: Duration = Duration::from_secs(5);
/// How long the answer to a teardown may come after the end of the stream.
const TEARDOWN_ANSWER: Duration = Duration::from_secs(2);
/// How long the stream's last words are waited for once calls are refused.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Heartbeats of masters that do not say how often they send them (spec mesos 1.8).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After a wait that was too long by our own clock, what had arrived meanwhile is still looked for: we may have been stopped ourselves.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How an attempt or a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The master knows another one that leads.
    Redirect(String),
    /// This master does not lead, or not yet.
    NotLeading(String),
    /// Something broke on the way.
    Broken(String),
    /// Nothing was heard for too long.
    Silent,
    /// Another master leads.
    Replaced,
    /// The master refuses us; somebody has to change something.
    Refused(String),
    /// Another scheduler subscribed with our id.
    Deposed(String),
    /// The master ended the framework and all its tasks.
    Removed(String),
    /// The framework was torn down on our own wish.
    TornDown,
}

impl End {
    /// What an ERROR event means (spec mesos 1.5).
    pub(crate) fn of_error(message: String) -> Self {
        let words = message.to_ascii_lowercase();
        if words.contains("failed over") {
            Self::Deposed(message)
        } else if words.contains("removed") || words.contains("torn down") {
            Self::Removed(message)
        } else {
            Self::Refused(message)
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A subscription that stands, with its two connections.
pub(crate) struct Session {
    stream: Reader<ReadHalf<Box<dyn Io>>>,
    decoder: Decoder,
    /// Not used, but closing it would end the stream.
    _stream_write: tokio::io::WriteHalf<Box<dyn Io>>,
    calls: Box<dyn Io>,
    head: RequestHead,
    patience: Duration,
    pub(crate) framework_id: String,
    pub(crate) master_id: Option<String>,
}

/// What is needed to talk to masters.
pub(crate) struct Wire {
    pub(crate) tls: std::sync::Arc<rustls::ClientConfig>,
    pub(crate) authorization: Option<String>,
}

impl Core {
    /// Subscribes at a master, up to the first event and the second connection.
    pub(crate) async fn subscribe(&self, wire: &Wire, master: &Master) -> Result<Session, End> {
        let timing = &self.options.timing;
        let io = http::connect(master, &wire.tls, timing.connect_timeout).await?;
        let (read, mut write) = tokio::io::split(io);
        let mut request = Vec::new();
        RequestHead::new(master, wire.authorization.as_deref(), None).write(&self.subscribe_call(), &mut request);
        let mut stream = Reader::new(read);
        let asked = async {
            write.write_all(&request).await?;
            write.flush().await?;
            let head = stream.head().await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if head.status != 200 {
                let text = stream.text(TEXT_BYTES_MAX).await.unwrap_or_default();
                return Err(refusal(&head, text));
            }
            Ok(head)
        };
        let head = timeout(timing.subscribe_timeout, asked)
            .await
            .map_err(|_| End::Broken("it does not answer".to_owned()))??;
        if head.header("content-type") != Some(mesos::PROTOBUF) {
            let kind = head.header("content-type").unwrap_or("nothing");
            return Err(End::Broken(format!("it answers in {kind} instead of {}", mesos::PROTOBUF)));
        }
        let mut decoder = Decoder::new(RECORD_BYTES_MAX);
        let first = next_record(&mut stream, &mut decoder, timing.subscribe_timeout).await?;
        let subscribed = match events::read(first)? {
            event if event.r#type == Some(event::Type::Subscribed as i32) => event.subscribed.unwrap_or_default(),
            event if event.r#type == Some(event::Type::Error as i32) => {
                return Err(End::of_error(event.error.unwrap_or_default().message));
            }
            event => return Err(End::Broken(format!("its first event is of type {:?}", event.r#type))),
        };
        let framework_id = subscribed.framework_id.value;
        if let Some(known) = self.framework_id.borrow().as_ref().filter(|known| **known != framework_id) {
            return Err(End::Removed(format!("it answers to framework {known} with the new framework {framework_id}")));
        }
        // From here on there is a framework: whatever breaks now, it is the one to come back as.
        self.framework_id.replace(Some(framework_id.clone()));
        let calls = http::connect(master, &wire.tls, timing.connect_timeout).await?;
        let heartbeat = subscribed.heartbeat_interval_seconds.filter(|seconds| *seconds > 0.0 && *seconds < 1e6);
        let heartbeat = heartbeat.map_or(HEARTBEAT, Duration::from_secs_f64);
        let stream_id = head.header(mesos::STREAM_ID);
        Ok(Session {
            stream,
            decoder,
            _stream_write: write,
            calls,
            head: RequestHead::new(master, wire.authorization.as_deref(), stream_id),
            patience: heartbeat * timing.missed_heartbeats.max(1),
            framework_id,
            master_id: subscribed.master_info.map(|master| master.id),
        })
    }

    fn subscribe_call(&self) -> Call {
        let id = self.framework_id.borrow();
        let suppressed_roles = if self.suppressed.get() { self.options.framework.all_roles() } else { Vec::new() };
        let framework_info = self.options.framework_info(id.as_deref());
        Call {
            framework_id: framework_info.id.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info, suppressed_roles, offer_constraints: None }),
            ..Default::default()
        }
    }

    /// Serves a subscription until it ends.
    pub(crate) async fn serve(&self, wire: &Wire, master: &Master, session: Session) -> End {
        let Session { mut stream, mut decoder, _stream_write, calls, head, patience, .. } = session;
        let events = async {
            loop {
                while let Some(record) = decoder.next_record().map_err(|error| End::Broken(error.to_string()))? {
                    if let Some(end) = events::read(record).map(|event| self.event(event))? {
                        return Err::<(), End>(end);
                    }
                    if self.is_deserted.get() {
                        return Err(End::TornDown);
                    }
                }
                self.flush();
                // Calls go out between the pieces of a flood.
                tokio::task::yield_now().await;
                let piece = patient_piece(&mut stream, patience).await?;
                Statistics::add(&self.statistics.mesos_event_bytes, piece.len());
                decoder.extend(&piece);
            }
        };
        let calls = self.calls(wire, master, calls, &head);
        tokio::pin!(events, calls);
        tokio::select! {
            end = &mut events => {
                // A master that takes a teardown closes the stream, perhaps before its answer has come.
                let is_tearing_down =
                    self.in_flight.borrow().iter().any(|sent| matches!(sent.kind, SentKind::Teardown(_)));
                if is_tearing_down && let Ok(end) = timeout(TEARDOWN_ANSWER, &mut calls).await {
                    return end;
                }
                end.err().unwrap_or(End::Silent)
            }
            end = &mut calls => match end {
                // A master that gave our place to another scheduler refuses our calls, and says why on the stream: to come back before
                // that is read would take the place from the other one.
                End::Broken(_) | End::Refused(_) => match timeout(LAST_WORD, &mut events).await {
                    Ok(Err(last @ (End::Deposed(_) | End::Removed(_)))) => last,
                    _ => end,
                },
                end => end,
            },
        }
    }

    /// Writes calls and reads their answers. A connection the master closed while nothing was on its way is made anew.
    async fn calls(&self, wire: &Wire, master: &Master, io: Box<dyn Io>, head: &RequestHead) -> End {
        let mut connected = Some(io);
        loop {
            let io = match connected.take() {
                Some(io) => io,
                None => {
                    while self.backlog.borrow().is_empty() && self.acknowledgements.borrow().is_empty() {
                        self.has_work.notified().await;
                    }
                    match http::connect(master, &wire.tls, self.options.timing.connect_timeout).await {
                        Ok(io) => io,
                        Err(error) => return error.into(),
                    }
                }
            };
            let (read, mut write) = tokio::io::split(io);
            let mut reader = Reader::new(read);
            let end = tokio::select! {
                end = self.read_answers(&mut reader) => end,
                end = self.write_calls(&mut write, head) => end.map(|never| match never {}).map_err(End::from),
            };
            match end {
                Err(end) => return end,
                Ok(()) if !self.in_flight.borrow().is_empty() => {
                    return End::Broken("the connection for calls was closed".to_owned());
                }
                Ok(()) => {}
            }
        }
    }

    async fn write_calls(
        &self,
        io: &mut (impl AsyncWrite + Unpin),
        head: &RequestHead,
    ) -> io::Result<std::convert::Infallible> {
        let mut wire = Vec::new();
        loop {
            let is_full = self.in_flight.borrow().len() >= IN_FLIGHT_MAX;
            let work = if is_full { None } else { self.next_work() };
            if let Some(work) = work {
                self.translate(work, &mut |call, kind| {
                    head.write(&call, &mut wire);
                    self.sent(kind);
                });
                if wire.len() < WRITE_BYTES {
                    continue;
                }
            }
            if wire.is_empty() {
                if is_full {
                    self.answered.notified().await
                } else {
                    self.has_work.notified().await
                }
                continue;
            }
            io.write_all(&wire).await?;
            io.flush().await?;
            wire.clear();
            wire.shrink_to(4 * WRITE_BYTES);
        }
    }

    /// `Ok` when the master closed the connection.
    async fn read_answers(&self, reader: &mut Reader<impl AsyncRead + Unpin>) -> Result<(), End> {
        let mut was_late = false;
        loop {
            let limit = self.options.timing.call_timeout;
            let Ok(head) = timeout(CALL_CHECK.min(limit / 2), reader.head()).await else {
                let is_late = self.in_flight.borrow().front().is_some_and(|sent| sent.at.elapsed() > limit);
                // Twice in a row: the first time may be due to our own stall.
                if is_late && was_late {
                    return Err(End::Broken("it does not answer a call".to_owned()));
                }
                was_late = is_late;
                continue;
            };
            was_late = false;
            let Some(head) = head? else { return Ok(()) };
            let text = timeout(limit, reader.text(TEXT_BYTES_MAX))
                .await
                .map_err(|_| End::Broken("it does not finish an answer".to_owned()))??;
            let Some(sent) = self.in_flight.borrow_mut().pop_front() else {
                return Err(End::Broken("it answers what was not asked".to_owned()));
            };
            self.answered.notify_one();
            if let SentKind::Accept(tasks) = &sent.kind {
                self.settled(tasks.len());
            }
            if let Some(end) = self.answer(&head, text, sent.kind) {
                return Err(end);
            }
            if !head.keeps_open() {
                return Ok(());
            }
        }
    }

    /// What follows from an answer to a call (spec mesos 1.4).
    fn answer(&self, head: &Head, text: String, kind: SentKind) -> Option<End> {
        if matches!(head.status, 200..=299) {
            return match kind {
                SentKind::Teardown(answer) => {
                    let _ = answer.map(|answer| answer.send(true));
                    Some(End::TornDown)
                }
                _ => None,
            };
        }
        Statistics::add(&self.statistics.mesos_calls_refused, 1);
        // The call itself is wrong; the subscription stands.
        let is_own_fault = match head.status {
            400 => ["Failed to validate", "Failed to parse", "validat"].iter().any(|words| text.contains(words)),
            406 | 413 | 415 | 501 => true,
            _ => false,
        };
        let name = match &kind {
            SentKind::Accept(_) => "ACCEPT",
            SentKind::Teardown(_) => "TEARDOWN",
            SentKind::Other(kind) => kind.name(),
        };
        let status = head.status;
        match kind {
            // Of an error within the master, or of something between, nobody knows what it did before.
            SentKind::Accept(tasks) if matches!(status, 300..=499 | 501 | 503) => {
                let message = format!("The master refused to start the task ({status}): {text}");
                let reason = if is_own_fault { Reason::LaunchFailed } else { Reason::InvalidOffer };
                for task_id in &tasks {
                    self.lose_task(task_id, reason, &message);
                }
            }
            SentKind::Accept(_) => {}
            SentKind::Teardown(answer) => {
                let _ = answer.map(|answer| answer.send(false));
            }
            SentKind::Other(_) => {}
        }
        if is_own_fault {
            tracing::error!(status, text, "the master refuses a call of type {name}");
            return None;
        }
        Some(refusal(head, text))
    }
}

/// What an answer other than a good one means for the subscription.
fn refusal(head: &Head, text: String) -> End {
    match head.status {
        307 | 308 => match head.header("location") {
            Some(location) => End::Redirect(location.to_owned()),
            None => End::NotLeading("it redirects to nowhere".to_owned()),
        },
        404 => End::NotLeading("it does not serve the scheduler API yet".to_owned()),
        503 => End::NotLeading(text),
        401 => End::Refused("it wants other credentials (401)".to_owned()),
        // The master does not know the subscription: subscribing anew is the cure.
        400 | 403 if text.contains("cannot be found") || text.contains("subscribed") || text.contains("stream") => {
            End::Broken(format!("it does not know this subscription: {text}"))
        }
        status @ (400..=499) => End::Refused(format!("it answers {status}: {text}")),
        status => End::Broken(format!("it answers {status}: {text}")),
    }
}

/// The next piece of the stream. Only time spent waiting counts, never time in which we did something else.
async fn patient_piece(reader: &mut Reader<impl AsyncRead + Unpin>, patience: Duration) -> Result<Bytes, End> {
    let ended = || End::Broken("it closed the stream of events".to_owned());
    let piece = match timeout(patience, reader.piece()).await {
        Ok(piece) => piece,
        Err(_) => timeout(LAST_LOOK.min(patience), reader.piece()).await.map_err(|_| End::Silent)?,
    };
    piece?.ok_or_else(ended)
}

async fn next_record(
    stream: &mut Reader<impl AsyncRead + Unpin>,
    decoder: &mut Decoder,
    patience: Duration,
) -> Result<Bytes, End> {
    loop {
        match decoder.next_record() {
            Ok(Some(record)) => return Ok(record),
            Ok(None) => decoder.extend(&patient_piece(stream, patience).await?),
            Err(error) => return Err(End::Broken(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_master_are_told_apart() {
        let end = |message: &str| End::of_error(message.to_owned());
        assert!(matches!(end("Framework failed over"), End::Deposed(_)));
        assert!(matches!(end("Framework has been removed"), End::Removed(_)));
        assert!(matches!(end("Not authorized to use role 'x'"), End::Refused(_)));
    }
}
