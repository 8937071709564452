//! The master's events in the scheduler's words (spec mesos 1.7).

use bytes::Bytes;
use engine::Event;
use mesos::v1::scheduler::{self, event};
use mesos::v1::{self, TaskStatus};
use prost::Message;
use tokio::time::Instant;

use crate::core::{Core, Work};
use crate::offers::start_ms;
use crate::session::End;
use crate::statistics::Statistics;
use crate::status::{Told, tell};

/// Offers told in one event, so that a flood of them leaves room for other inputs in between.
const OFFERS_PER_EVENT: usize = 1000;

/// Reads a record of the stream.
pub(crate) fn read(record: Bytes) -> Result<scheduler::Event, End> {
    scheduler::Event::decode(record).map_err(|error| End::Broken(format!("a record is no event: {error}")))
}

impl Core {
    /// Handles an event of a subscription that stands. `Some` ends it.
    pub(crate) fn event(&self, event: scheduler::Event) -> Option<End> {
        use event::Type;
        Statistics::add(&self.statistics.mesos_events, 1);
        let number = event.r#type.unwrap_or_default();
        match Type::try_from(number) {
            Ok(Type::Heartbeat | Type::Subscribed) => {}
            Ok(Type::Offers) => self.offers(event.offers.unwrap_or_default().offers),
            Ok(Type::Rescind) => {
                let id = event.rescind?.offer_id.value;
                Statistics::add(&self.statistics.mesos_offers_rescinded, 1);
                self.book.borrow_mut().take(&id);
                self.count_outstanding();
                self.tell(Event::Rescinded(id));
            }
            Ok(Type::Update) => self.update(event.update?.status),
            Ok(Type::Failure) => self.failure(event.failure?),
            Ok(Type::InverseOffers) => {
                for offer in event.inverse_offers.unwrap_or_default().inverse_offers {
                    self.inverse_offer(offer);
                }
            }
            Ok(Type::Error) => return Some(End::of_error(event.error.unwrap_or_default().message)),
            // Executors of ours send no messages, and no operation of ours has an id. An inverse offer that is void needs no answer.
            Ok(Type::Message | Type::UpdateOperationStatus | Type::RescindInverseOffer) => {}
            Ok(Type::Unknown) | Err(_) => {
                Statistics::add(&self.statistics.mesos_unknown_events, 1);
                tracing::debug!(number, "the master sent an event this program does not know");
            }
        }
        None
    }

    fn offers(&self, mut offers: Vec<v1::Offer>) {
        Statistics::add(&self.statistics.mesos_offers, offers.len());
        self.directory.learn(&offers);
        while !offers.is_empty() {
            let rest = offers.split_off(offers.len().min(OFFERS_PER_EVENT));
            let told = {
                let mut book = self.book.borrow_mut();
                offers.into_iter().map(|offer| book.add(offer)).collect()
            };
            self.count_outstanding();
            self.tell(Event::Offers(told));
            offers = rest;
        }
    }

    fn update(&self, status: TaskStatus) {
        Statistics::add(&self.statistics.mesos_status_updates, 1);
        let task_id = model::TaskId(status.task_id.value.as_str().into());
        match tell(status) {
            Told::Update(update) => {
                if let Some(token) = &update.token
                    && !self.telling.borrow_mut().begin(&task_id, token, Instant::now())
                {
                    Statistics::add(&self.statistics.mesos_status_updates_repeated, 1);
                    return;
                }
                self.tell_soon(Event::Status(update));
            }
            Told::Nothing { unknown_state, token } => {
                if let Some(number) = unknown_state {
                    Statistics::add(&self.statistics.mesos_unknown_events, 1);
                    tracing::warn!(%task_id, number, "a task is in a state this program does not know; it is passed over");
                }
                if let Some(call) = token.and_then(|token| self.acknowledgement(&task_id, &token)) {
                    self.put(Work::Raw(Box::new(call)));
                }
            }
        }
    }

    fn failure(&self, failure: event::Failure) {
        let agent_id = failure.agent_id.map(|agent| agent.value);
        match (agent_id, failure.executor_id) {
            (Some(agent_id), None) => {
                Statistics::add(&self.statistics.mesos_agents_lost, 1);
                tracing::info!(agent_id, "the master gave up an agent");
                self.book.borrow_mut().lose_agent(&agent_id);
                self.count_outstanding();
                self.tell(Event::AgentLost(agent_id));
            }
            // The statuses of its tasks come by themselves.
            (agent_id, Some(executor)) => {
                let status = failure.status.unwrap_or_default();
                if status != 0 {
                    Statistics::add(&self.statistics.mesos_executors_failed, 1);
                    tracing::info!(?agent_id, executor = executor.value, status, "an executor ended");
                }
            }
            (None, None) => {}
        }
    }

    fn inverse_offer(&self, offer: v1::InverseOffer) {
        Statistics::add(&self.statistics.mesos_inverse_offers, 1);
        let agent_id = offer.agent_id.map(|agent| agent.value);
        let known = agent_id.as_deref().and_then(|id| self.directory.agent(id)).map(|agent| agent.hostname);
        let host = known.or_else(|| offer.url.and_then(|url| url.address.hostname));
        self.tell(Event::InverseOffer {
            id: offer.id.value,
            agent_id,
            host,
            unavailable_from_ms: start_ms(&offer.unavailability),
        });
    }
}
