//! What the parts of the engine share: the offers, the calls that wait, what is on its way to the master. All of it belongs to the one
//! thread; no borrow outlives a step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use engine::{AgentId, Call, Event, EventSink, Launch, Reason, StatusUpdate, TaskState};
use mesos::v1::FrameworkId;
use mesos::v1::scheduler::{self, call};
use model::TaskId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::directory::Directory;
use crate::offers::Book;
use crate::options::Options;
use crate::repetition::Telling;
use crate::statistics::Statistics;
use crate::tasks::Tasks;
use crate::worker::launches_of;

/// Events that are told together at most.
const OUTBOX_MAX: usize = 256;

/// Something to send to the master.
#[derive(Debug)]
pub(crate) enum Work {
    /// For the scheduler.
    Call(Call),
    /// Ends the framework and all its tasks; the answer says whether the master took it.
    Teardown(oneshot::Sender<bool>),
    /// Our own acknowledgement of an update that says nothing the scheduler could use.
    Raw(Box<scheduler::Call>),
}

/// A call on its way; its answer is awaited.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) kind: SentKind,
}

#[derive(Debug)]
pub(crate) enum SentKind {
    /// Tasks that do not start if the master refuses the call.
    Accept(Vec<TaskId>),
    Teardown(Option<oneshot::Sender<bool>>),
    Other(call::Type),
}

/// Where the engine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No subscription: calls cannot be sent.
    Apart,
    /// Subscribed.
    Subscribed,
    /// For good: another scheduler is in charge, or the framework is no more.
    Over,
}

pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) directory: Arc<Directory>,
    /// Events that are told together.
    outbox: RefCell<Vec<Event>>,
    pub(crate) book: RefCell<Book>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) standing: Cell<Standing>,
    /// Given by the first master; presented ever after.
    pub(crate) framework_id: RefCell<Option<String>>,
    /// Whether no offers are wanted; each subscription says so anew.
    pub(crate) suppressed: Cell<bool>,
    /// Calls that wait to be written, in order.
    pub(crate) backlog: RefCell<VecDeque<Work>>,
    /// Acknowledgements that wait to be written. They go first: an agent sends an update again that is not answered soon, and holds the
    /// task's next one back. No other call depends on their order.
    pub(crate) acknowledgements: RefCell<VecDeque<Work>>,
    /// Updates the scheduler is busy with.
    pub(crate) telling: RefCell<Telling>,
    pub(crate) has_work: Notify,
    /// Kills that came while nobody could take them.
    kills: RefCell<BTreeMap<TaskId, Option<AgentId>>>,
    pub(crate) in_flight: RefCell<VecDeque<Sent>>,
    /// Rung when an answer came.
    pub(crate) answered: Notify,
    /// Set once the scheduler is gone.
    pub(crate) is_deserted: Cell<bool>,
}

impl Core {
    pub(crate) fn new(
        options: Options,
        sink: Arc<dyn EventSink>,
        statistics: Arc<Statistics>,
        directory: Arc<Directory>,
        tasks: Tasks,
    ) -> Self {
        Self {
            options,
            sink,
            statistics,
            directory,
            outbox: RefCell::default(),
            book: RefCell::default(),
            tasks: RefCell::new(tasks),
            standing: Cell::new(Standing::Apart),
            framework_id: RefCell::default(),
            suppressed: Cell::new(false),
            backlog: RefCell::default(),
            acknowledgements: RefCell::default(),
            telling: RefCell::default(),
            has_work: Notify::new(),
            kills: RefCell::default(),
            in_flight: RefCell::default(),
            answered: Notify::new(),
            is_deserted: Cell::new(false),
        }
    }

    /// Tells the scheduler; waits while its inbox is full.
    pub(crate) fn tell(&self, event: Event) {
        self.tell_soon(event);
        self.flush();
    }

    /// Tells the scheduler with what comes after it, at the latest at the next [`Core::flush`].
    pub(crate) fn tell_soon(&self, event: Event) {
        self.outbox.borrow_mut().push(event);
        if self.outbox.borrow().len() >= OUTBOX_MAX {
            self.flush();
        }
    }

    /// Hands over what was kept to be told together.
    pub(crate) fn flush(&self) {
        let events = self.outbox.take();
        if !events.is_empty() && !self.sink.send_all(events) {
            self.is_deserted.set(true);
        }
    }

    /// The id for calls.
    pub(crate) fn id(&self) -> Option<FrameworkId> {
        self.framework_id.borrow().as_deref().map(FrameworkId::from)
    }

    /// Takes work, to be sent or, without a subscription, to be answered at once.
    pub(crate) fn put(&self, work: Work) {
        match self.standing.get() {
            Standing::Subscribed => {
                let queue = match work {
                    Work::Call(Call::Acknowledge { .. }) | Work::Raw(_) => &self.acknowledgements,
                    _ => &self.backlog,
                };
                queue.borrow_mut().push_back(work);
                self.has_work.notify_one();
            }
            Standing::Apart => self.without_master(work),
            Standing::Over => {
                Statistics::add(&self.statistics.mesos_calls_dropped, 1);
                match work {
                    Work::Teardown(answer) => drop(answer.send(false)),
                    Work::Call(call) => self.settled(launches_of(&call)),
                    Work::Raw(_) => {}
                }
            }
        }
    }

    /// The next work to be sent.
    pub(crate) fn next_work(&self) -> Option<Work> {
        let urgent = self.acknowledgements.borrow_mut().pop_front();
        urgent.or_else(|| self.backlog.borrow_mut().pop_front())
    }

    /// So many launches wait no longer: the master has them, or nobody ever will.
    pub(crate) fn settled(&self, launches: usize) {
        Statistics::subtract(&self.statistics.mesos_launches_waiting, launches);
    }

    /// Nobody takes calls. Tasks are answered, because their offers are void; kills are kept; wishes about offers are remembered; what
    /// is left is asked again by whoever needs it, once there is a master.
    fn without_master(&self, work: Work) {
        match work {
            Work::Call(Call::Accept { launches, .. }) => {
                self.settled(launches.len());
                for launch in &launches {
                    self.lose(launch, Reason::InvalidOffer, "The master was lost before the task could be sent to it.");
                }
            }
            Work::Call(Call::Kill { task_id, agent_id }) => {
                self.kills.borrow_mut().insert(task_id, agent_id);
            }
            Work::Call(Call::Suppress) => self.suppressed.set(true),
            Work::Call(Call::Revive) => self.suppressed.set(false),
            Work::Teardown(answer) => {
                let _ = answer.send(false);
            }
            Work::Call(_) | Work::Raw(_) => Statistics::add(&self.statistics.mesos_calls_dropped, 1),
        }
    }

    /// Answers a launch that never reached a master.
    pub(crate) fn lose(&self, launch: &Launch, reason: Reason, message: &str) {
        if reason == Reason::InvalidOffer {
            Statistics::add(&self.statistics.mesos_launches_void, 1);
        }
        self.lose_task(&launch.task_id, reason, message);
    }

    pub(crate) fn lose_task(&self, task_id: &TaskId, reason: Reason, message: &str) {
        self.tell(Event::Status(StatusUpdate {
            task_id: task_id.clone(),
            state: TaskState::Lost,
            reason: Some(reason),
            message: Some(message.to_owned()),
            timestamp_ms: None,
            agent_id: None,
            token: None,
        }));
    }

    /// The subscription stands. Kills that waited go first.
    pub(crate) fn subscribed(&self, framework_id: String, master: Option<String>) {
        self.directory.set_framework_id(&framework_id);
        self.framework_id.replace(Some(framework_id.clone()));
        self.book.borrow_mut().clear();
        self.standing.set(Standing::Subscribed);
        Statistics::set(&self.statistics.mesos_registered, 1);
        Statistics::add(&self.statistics.mesos_subscriptions, 1);
        for (task_id, agent_id) in self.kills.take() {
            self.put(Work::Call(Call::Kill { task_id, agent_id }));
        }
        self.tell(Event::Registered { framework_id: Some(framework_id), master });
    }

    /// The subscription is over: offers are void, what waits is answered. What was on its way may or may not have arrived; the scheduler
    /// asks after the next subscription.
    pub(crate) fn apart(&self) {
        self.flush();
        let was = self.standing.replace(Standing::Apart);
        self.book.borrow_mut().clear();
        Statistics::set(&self.statistics.mesos_registered, 0);
        Statistics::set(&self.statistics.mesos_offers_outstanding, 0);
        for sent in self.in_flight.take() {
            match sent.kind {
                SentKind::Teardown(Some(answer)) => drop(answer.send(false)),
                SentKind::Accept(tasks) => self.settled(tasks.len()),
                SentKind::Teardown(None) | SentKind::Other(_) => {}
            }
        }
        self.telling.borrow_mut().clear();
        if was == Standing::Subscribed {
            Statistics::add(&self.statistics.mesos_disconnects, 1);
            self.tell(Event::Disconnected);
        }
        for work in self.acknowledgements.take().into_iter().chain(self.backlog.take()) {
            self.without_master(work);
        }
        self.tasks.borrow_mut().tidy();
    }

    /// Nothing is done any more, and the scheduler is told why.
    pub(crate) fn over(&self, reason: String) {
        self.apart();
        self.standing.set(Standing::Over);
        self.tell(Event::Deposed { reason });
    }
}
