//! The connection between scheduler and engine: what it carries, how it breaks, and who leads at its other end.

use engine::{Call, Event, StatusUpdate};

use super::{Reach, World};
use crate::cluster::coverage::Fault;
use crate::cluster::schedule::Happening;

impl World {
    /// What the scheduler released goes on its way; calls never overtake each other.
    pub(in super::super) fn send_calls(&mut self, epoch: u64, calls: Vec<Call>) {
        let earliest = self.schedule.now_ms + self.chance.between(0, 15);
        self.calls_until_ms = self.calls_until_ms.max(earliest);
        let delay = self.calls_until_ms - self.schedule.now_ms;
        self.schedule.after(delay, Happening::Calls { epoch, calls });
    }

    /// The scheduler died: what it had sent may not have left its machine. Gives the number of messages lost.
    pub(in super::super) fn scheduler_died(&mut self) -> usize {
        let keep_calls = self.chance.per_mille(500);
        let lost = self.schedule.retain(|happening| match happening {
            Happening::Calls { .. } => keep_calls,
            Happening::Reconnected => false,
            _ => true,
        });
        self.break_connection();
        self.suppressed = false;
        lost
    }

    pub(super) fn break_connection(&mut self) {
        self.connected = false;
        self.connection += 1;
        self.offers.clear();
    }

    /// The connection breaks; the scheduler notices.
    pub(in super::super) fn disconnect(&mut self) {
        if !self.connected {
            return;
        }
        self.coverage.fault(Fault::Disconnected);
        self.break_connection();
        if !self.calm && self.chance.per_mille(400) {
            self.elect();
        }
        self.schedule.retain(|happening| !matches!(happening, Happening::Calls { .. }));
        self.schedule.after(1, Happening::Event { connection: self.connection, event: Event::Disconnected });
        let delay = self.chance.between(10, 20_000);
        self.schedule.after(delay, Happening::Reconnected);
    }

    /// The engine has a new leader, which knows no agent: they come back to it one by one.
    pub(super) fn elect(&mut self) {
        if self.master == 0 || self.grace_ms < 2000 {
            return;
        }
        self.coverage.fault(Fault::LeaderElected);
        self.master += 1;
        self.elected = true;
        for at in 0..self.agents.len() {
            self.agents[at].known = false;
            let delay = self.chance.between(100, self.grace_ms * 9 / 10);
            self.schedule.after(delay, Happening::AgentKnown { agent: at, master: self.master });
        }
    }

    /// The leader that was elected since this was asked last.
    pub(in super::super) fn take_election(&mut self) -> Option<String> {
        std::mem::take(&mut self.elected).then(|| self.leader()).flatten()
    }

    /// Name of the engine's leader; `None` for an engine that has none.
    fn leader(&self) -> Option<String> {
        (self.master > 0).then(|| format!("master-{}", self.master))
    }

    /// An agent has come back to the leader of that number.
    pub(in super::super) fn agent_known(&mut self, at: usize, master: u32) {
        if master == self.master {
            self.agents[at].known = true;
            self.agents[at].freed_ms = self.schedule.now_ms;
        }
    }

    /// Whether an agent can be heard of.
    pub(super) fn is_heard(&self, agent: usize) -> bool {
        self.agents[agent].reach == Reach::Up && self.agents[agent].known
    }

    /// An agent is asked back, sooner or later.
    pub(in super::super) fn ask_back(&mut self) {
        let up: Vec<usize> = (0..self.agents.len()).filter(|at| self.is_heard(*at)).collect();
        let Some(agent) = self.chance.pick(&up).copied().filter(|_| self.connected) else { return };
        self.coverage.fault(Fault::AgentAskedBack);
        let id = format!("inverse-{}", self.name());
        let unavailable_from_ms = self.wall_ms() + self.chance.between(0, 900_000) as i64;
        let (agent_id, host) = match self.chance.below(2) {
            0 => (Some(self.agents[agent].id.clone()), None),
            _ => (None, Some(self.agents[agent].host.clone())),
        };
        self.deliver(1, Event::InverseOffer { id, agent_id, host, unavailable_from_ms });
    }

    /// Another scheduler subscribed in this one's place.
    pub(in super::super) fn depose(&mut self) {
        if self.connected {
            self.coverage.fault(Fault::Deposed);
            self.deliver(1, Event::Deposed { reason: "Framework failed over".into() });
        }
    }

    /// The connection stands: the scheduler is registered, and hears everything that it has not acknowledged.
    pub(in super::super) fn reconnected(&mut self) {
        self.connected = true;
        self.connection += 1;
        // An engine may remember that nobody wanted offers, or not.
        self.suppressed &= self.calm || self.chance.per_mille(500);
        let master = self.leader();
        self.deliver(1, Event::Registered { framework_id: Some("framework-1".into()), master });
        self.round();
    }

    pub(super) fn deliver(&mut self, delay_ms: u64, event: Event) {
        self.schedule.after(delay_ms, Happening::Event { connection: self.connection, event });
    }

    /// An event arrives; `None` when its connection is gone.
    pub(in super::super) fn arrives(&mut self, connection: u64, event: Event) -> Option<Event> {
        if connection == self.connection {
            return Some(event);
        }
        if matches!(event, Event::Status(_)) {
            self.coverage.fault(Fault::StatusLost);
        }
        None
    }

    pub(super) fn send_status(&mut self, status: StatusUpdate) {
        if !self.connected {
            return;
        }
        if self.happens(self.rates.lost, Fault::StatusLost) {
            return;
        }
        if self.happens(self.rates.doubled, Fault::StatusDoubled) {
            let delay = self.chance.between(1, 3000);
            self.deliver(delay, Event::Status(status.clone()));
        }
        let late = self.happens(self.rates.late, Fault::StatusLate);
        let delay = if late { self.chance.between(1000, 60_000) } else { self.chance.between(1, 5) };
        self.deliver(delay, Event::Status(status));
    }
}
