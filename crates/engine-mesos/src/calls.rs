//! The scheduler's calls in the words of the wire (spec mesos 1.6).

use std::time::Duration;

use engine::{Call, Launch, OfferId, Reason};
use mesos::v1::scheduler::{self, call};
use mesos::v1::{self, Filters, offer};
use model::TaskId;
use tokio::time::Instant;

use crate::core::{Core, Sent, SentKind, Work};
use crate::cut::{Pool, Want};
use crate::offers::Held;
use crate::statistics::Statistics;
use crate::status::read_token;
use crate::tasks::{Target, executor_share, task_share};

/// Tasks asked after in one call: each brings an event back (spec scheduler 6.5).
const RECONCILE_TASKS: usize = 1000;

/// Where calls of the wire go.
pub(crate) type Emit<'a> = dyn FnMut(scheduler::Call, SentKind) + 'a;

/// Accepted offers of one agent and role: only such may share a call.
struct Batch {
    ids: Vec<v1::OfferId>,
    first: Held,
    pool: Pool,
    tasks: Vec<v1::TaskInfo>,
    task_ids: Vec<TaskId>,
}

fn seconds(duration: Duration) -> Option<Filters> {
    Some(Filters { refuse_seconds: Some(duration.as_secs_f64()) })
}

impl Core {
    /// Notes that a call goes out.
    pub(crate) fn sent(&self, kind: SentKind) {
        Statistics::add(&self.statistics.mesos_calls, 1);
        self.in_flight.borrow_mut().push_back(Sent { at: Instant::now(), kind });
    }

    /// Translates one piece of work into any number of calls.
    pub(crate) fn translate(&self, work: Work, emit: &mut Emit<'_>) {
        match work {
            Work::Raw(call) => {
                let kind = call::Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(call::Type::Unknown);
                emit(*call, SentKind::Other(kind));
            }
            Work::Teardown(answer) => emit(self.of_type(call::Type::Teardown), SentKind::Teardown(Some(answer))),
            Work::Call(call) => self.translate_call(call, emit),
        }
    }

    fn of_type(&self, kind: call::Type) -> scheduler::Call {
        scheduler::Call { framework_id: self.id(), r#type: Some(kind as i32), ..Default::default() }
    }

    fn translate_call(&self, call: Call, emit: &mut Emit<'_>) {
        match call {
            Call::Accept { offers, launches } => self.accept(offers, launches, emit),
            Call::Decline { offers, refuse_ms } => {
                let refuse = Duration::from_millis(u64::try_from(refuse_ms).unwrap_or_default());
                self.decline(offers, refuse, emit);
            }
            Call::AcceptInverseOffers { offers } => {
                let accept = call::AcceptInverseOffers {
                    inverse_offer_ids: offers.into_iter().map(Into::into).collect(),
                    filters: None,
                };
                let kind = call::Type::AcceptInverseOffers;
                emit(
                    scheduler::Call { accept_inverse_offers: Some(accept), ..self.of_type(kind) },
                    SentKind::Other(kind),
                );
            }
            Call::Kill { task_id, agent_id } => {
                let kill = call::Kill {
                    task_id: task_id.to_string().into(),
                    agent_id: agent_id.map(Into::into),
                    kill_policy: None,
                };
                let kind = call::Type::Kill;
                emit(scheduler::Call { kill: Some(kill), ..self.of_type(kind) }, SentKind::Other(kind));
            }
            Call::Acknowledge { task_id, token, .. } => {
                self.telling.borrow_mut().end(&token);
                if let Some(call) = self.acknowledgement(&task_id, &token) {
                    emit(call, SentKind::Other(call::Type::Acknowledge));
                }
            }
            Call::Reconcile { tasks } => self.reconcile(&tasks, emit),
            Call::Revive => {
                self.suppressed.set(false);
                let kind = call::Type::Revive;
                emit(
                    scheduler::Call { revive: Some(call::Revive::default()), ..self.of_type(kind) },
                    SentKind::Other(kind),
                );
            }
            Call::Suppress => {
                self.suppressed.set(true);
                let kind = call::Type::Suppress;
                emit(
                    scheduler::Call { suppress: Some(call::Suppress::default()), ..self.of_type(kind) },
                    SentKind::Other(kind),
                );
            }
        }
    }

    /// The acknowledgement a token asks for; none for a token that is not ours.
    pub(crate) fn acknowledgement(&self, task_id: &TaskId, token: &engine::StatusToken) -> Option<scheduler::Call> {
        let (uuid, agent_id) = read_token(token)?;
        let acknowledge = call::Acknowledge { agent_id: agent_id.into(), task_id: task_id.to_string().into(), uuid };
        Some(scheduler::Call { acknowledge: Some(acknowledge), ..self.of_type(call::Type::Acknowledge) })
    }

    fn reconcile(&self, tasks: &[(TaskId, Option<engine::AgentId>)], emit: &mut Emit<'_>) {
        let kind = call::Type::Reconcile;
        let mut ask = |tasks| {
            let reconcile = call::Reconcile { tasks };
            emit(scheduler::Call { reconcile: Some(reconcile), ..self.of_type(kind) }, SentKind::Other(kind));
        };
        if tasks.is_empty() {
            ask(Vec::new());
        }
        for slice in tasks.chunks(RECONCILE_TASKS) {
            let task = |(task_id, agent_id): &(TaskId, Option<engine::AgentId>)| call::reconcile::Task {
                task_id: task_id.to_string().into(),
                agent_id: agent_id.as_deref().map(Into::into),
            };
            ask(slice.iter().map(task).collect());
        }
    }

    fn decline(&self, offers: Vec<OfferId>, refuse: Duration, emit: &mut Emit<'_>) {
        let offer_ids: Vec<v1::OfferId> = {
            let mut book = self.book.borrow_mut();
            let known = offers.into_iter().filter(|id| book.take(id).is_some());
            known.map(Into::into).collect()
        };
        self.count_outstanding();
        if offer_ids.is_empty() {
            return;
        }
        let decline = call::Decline { offer_ids, filters: seconds(refuse) };
        let kind = call::Type::Decline;
        emit(scheduler::Call { decline: Some(decline), ..self.of_type(kind) }, SentKind::Other(kind));
    }

    pub(crate) fn count_outstanding(&self) {
        Statistics::set(&self.statistics.mesos_offers_outstanding, self.book.borrow().len());
    }

    /// Offers of one agent and role share a call. An offer that is void must not: it would spoil the whole call.
    fn batches(&self, offers: &[OfferId]) -> Vec<Batch> {
        let mut groups: Vec<(Held, Vec<v1::OfferId>)> = Vec::new();
        let mut book = self.book.borrow_mut();
        for id in offers {
            let Some(held) = book.take(id) else { continue };
            let fits =
                |(first, _): &&mut (Held, Vec<v1::OfferId>)| first.agent_id == held.agent_id && first.role == held.role;
            match groups.iter_mut().find(fits) {
                Some((first, ids)) => {
                    first.resources.extend(held.resources);
                    ids.push(id.as_str().into());
                }
                None => groups.push((held, vec![id.as_str().into()])),
            }
        }
        let batch = |(first, ids): (Held, Vec<v1::OfferId>)| {
            let pool = Pool::new(&first.resources);
            Batch { ids, first, pool, tasks: Vec::new(), task_ids: Vec::new() }
        };
        groups.into_iter().map(batch).collect()
    }

    fn accept(&self, offers: Vec<OfferId>, launches: Vec<Launch>, emit: &mut Emit<'_>) {
        let mut batches = self.batches(&offers);
        self.count_outstanding();
        for launch in &launches {
            if let Err((reason, message)) = self.put_launch(launch, &mut batches) {
                self.settled(1);
                self.lose(launch, reason, &message);
            }
        }
        for batch in batches {
            Statistics::add(&self.statistics.mesos_tasks_launched, batch.tasks.len());
            let operation = offer::Operation {
                r#type: Some(offer::operation::Type::Launch as i32),
                launch: Some(offer::operation::Launch { task_infos: batch.tasks }),
                ..Default::default()
            };
            // Without tasks it is the same as declining.
            let operations = if batch.task_ids.is_empty() { Vec::new() } else { vec![operation] };
            let accept =
                call::Accept { offer_ids: batch.ids, operations, filters: seconds(self.options.accept_refuse) };
            let call = scheduler::Call { accept: Some(accept), ..self.of_type(call::Type::Accept) };
            emit(call, SentKind::Accept(batch.task_ids));
        }
    }

    /// Puts a task into the first batch that has room for it.
    fn put_launch(&self, launch: &Launch, batches: &mut [Batch]) -> Result<(), (Reason, String)> {
        let want = Want {
            task: task_share(launch),
            executor: executor_share(launch),
            ports: launch.ports.values().collect(),
            revocable: launch.revocable,
        };
        for batch in batches {
            let Some(cut) = batch.pool.cut(&want) else { continue };
            let target = Target { agent_id: &batch.first.agent_id, host: &batch.first.host };
            let described = self.tasks.borrow_mut().describe(launch, &target, cut);
            batch.tasks.push(described.map_err(|why| (Reason::LaunchFailed, why))?);
            batch.task_ids.push(launch.task_id.clone());
            return Ok(());
        }
        Err((Reason::InvalidOffer, "The offer was not valid any more.".to_owned()))
    }
}
