//! The body of an event stream: RecordIO, in chunks of any size, and cut, stalled or halved on demand.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use mesos::v1::{executor, scheduler};
use tokio::sync::mpsc;

use super::super::wire::Encoding;
use super::Shared;
use crate::cluster::chance::Chance;

/// One step of a stream.
#[derive(Debug)]
pub(super) enum Item {
    Event(Box<scheduler::Event>),
    Executor(Box<executor::Event>),
    End,
    Nudge,
}

/// What goes wrong with event streams; all may be changed at any time.
#[derive(Debug, Default)]
pub struct StreamFaults {
    stalled: AtomicBool,
    cut_in_record: AtomicBool,
    half_record: AtomicBool,
    split: AtomicBool,
    /// Seed of the sizes of pieces.
    seed: AtomicU64,
}

impl StreamFaults {
    /// Nothing is written any more, and nothing closed; or it goes on. Tell [`super::Simulation::nudge`] afterwards.
    pub fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::SeqCst);
    }

    /// The next record is written by half, then the connection breaks.
    pub fn cut_in_next_record(&self) {
        self.cut_in_record.store(true, Ordering::SeqCst);
    }

    /// The next record is written by half, then nothing more comes, and nothing is closed.
    pub fn halve_next_record(&self) {
        self.half_record.store(true, Ordering::SeqCst);
    }

    /// Records are cut into chunks at any byte, and joined to others.
    pub fn split_records(&self, seed: u64) {
        self.seed.store(seed, Ordering::SeqCst);
        self.split.store(true, Ordering::SeqCst);
    }
}

/// Records that wait are put together up to about this size.
const CHUNK_BYTES: usize = 256 << 10;

/// How long a half record has to reach the socket before the connection breaks.
const LEAVING: Duration = Duration::from_millis(20);

/// The body.
pub(super) struct EventStream {
    shared: Arc<Shared>,
    stream: u64,
    encoding: Encoding,
    items: mpsc::UnboundedReceiver<Item>,
    waiting: BytesMut,
    chance: Chance,
    /// For streams of schedulers only.
    faulty: bool,
    ended: bool,
    /// The connection is to break once `waiting` is written.
    breaks: bool,
    /// Gives what was written the time to leave before the connection breaks.
    leaving: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Nothing more is ever written once `waiting` is.
    mute: bool,
}

impl EventStream {
    pub fn new(
        shared: Arc<Shared>,
        stream: u64,
        encoding: Encoding,
        items: mpsc::UnboundedReceiver<Item>,
        faulty: bool,
    ) -> Self {
        let chance = Chance::new(shared.faults.seed.load(Ordering::SeqCst) ^ stream);
        Self {
            shared,
            stream,
            encoding,
            items,
            waiting: BytesMut::new(),
            chance,
            faulty,
            ended: false,
            breaks: false,
            leaving: None,
            mute: false,
        }
    }

    fn push(&mut self, record: &[u8]) {
        let mut framed = Vec::with_capacity(record.len() + 20);
        mesos::recordio::encode(record, &mut framed);
        let faults = &self.shared.faults;
        if self.faulty && faults.cut_in_record.swap(false, Ordering::SeqCst) {
            framed.truncate(framed.len() / 2 + 1);
            self.breaks = true;
        } else if self.faulty && faults.half_record.swap(false, Ordering::SeqCst) {
            framed.truncate(framed.len() / 2 + 1);
            self.mute = true;
        }
        self.waiting.extend_from_slice(&framed);
    }

    /// Takes what waits.
    fn gather(&mut self, context: &mut Context<'_>) {
        // A stalled stream takes everything, so that it always waits for the next item and a nudge wakes it.
        let stalled = self.is_stalled();
        while !self.ended && !self.breaks && !self.mute && (stalled || self.waiting.len() < CHUNK_BYTES) {
            match self.items.poll_recv(context) {
                Poll::Ready(Some(Item::Event(event))) => {
                    let record = self.encoding.write(&*event);
                    self.push(&record);
                }
                Poll::Ready(Some(Item::Executor(event))) => {
                    let record = self.encoding.write(&*event);
                    self.push(&record);
                }
                Poll::Ready(Some(Item::End) | None) => self.ended = true,
                Poll::Ready(Some(Item::Nudge)) => {}
                Poll::Pending => return,
            }
        }
    }

    fn is_stalled(&self) -> bool {
        self.faulty && self.shared.faults.stalled.load(Ordering::SeqCst)
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        this.gather(context);
        if this.is_stalled() {
            // Ends are not shown either: a stalled connection is not closed.
            return Poll::Pending;
        }
        if !this.waiting.is_empty() {
            let split = this.faulty && this.shared.faults.split.load(Ordering::SeqCst);
            let whole = this.waiting.len();
            let length = if split { this.chance.between(1, whole.min(1 + (whole / 2)) as u64) as usize } else { whole };
            return Poll::Ready(Some(Ok(Frame::data(this.waiting.split_to(length).freeze()))));
        }
        if this.breaks {
            let leaving = this.leaving.get_or_insert_with(|| Box::pin(tokio::time::sleep(LEAVING)));
            if leaving.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("cut on demand"))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let stream = self.stream;
        self.shared.with(|inner| {
            if inner.streams.remove(&stream).is_some() {
                inner.cluster.stream_broke(stream);
            }
        });
    }
}

/// No error of the bodies of ordinary answers.
pub(super) fn never(error: Infallible) -> io::Error {
    match error {}
}
