//! What goes wrong between masters and agents, by rule. A rule says which messages it meets, how often, and what happens to them.

use crate::cluster::chance::Chance;

/// What a message between master and agent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A task to be started, master to agent.
    Launch,
    /// A task to be killed, master to agent.
    Kill,
    /// A scheduler's acknowledgement of an update, master to agent.
    Acknowledgement,
    /// A task's status, agent to master.
    Update,
    /// An executor's end, agent to master.
    ExecutorExited,
    /// Bytes between scheduler and executor, either way.
    Message,
    /// Anything that keeps the two in step: registration, shutdown, what a framework is.
    Control,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Lost,
    /// It comes later by this many ms.
    Late(u64),
    /// It comes twice, the second time later by this many ms.
    Twice(u64),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Messages about this.
    pub topic: Topic,
    /// From and to this agent, or every agent.
    pub agent: Option<usize>,
    /// This many times in a thousand.
    pub per_mille: u64,
    /// Not more often than this; `None` for no bound.
    pub times: Option<u64>,
    /// What happens then.
    pub fate: Fate,
}

impl Rule {
    /// Meets every message about this topic.
    pub fn always(topic: Topic, fate: Fate) -> Self {
        Self { topic, agent: None, per_mille: 1000, times: None, fate }
    }

    /// Meets the next messages about this topic, this many.
    pub fn next(topic: Topic, times: u64, fate: Fate) -> Self {
        Self { times: Some(times), ..Self::always(topic, fate) }
    }

    /// Meets this many in a thousand.
    pub fn sometimes(topic: Topic, per_mille: u64, fate: Fate) -> Self {
        Self { per_mille, ..Self::always(topic, fate) }
    }

    /// Only for this agent.
    pub fn on(self, agent: usize) -> Self {
        Self { agent: Some(agent), ..self }
    }
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    /// How many messages met a rule.
    pub met: u64,
}

impl Faults {
    /// Adds a rule; earlier ones come first.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// What happens to a message; `None` when it arrives as it should.
    pub(super) fn fate(&mut self, topic: Topic, agent: usize, chance: &mut Chance) -> Option<Fate> {
        if self.rules.is_empty() {
            return None;
        }
        let at = self.rules.iter().position(|rule| {
            rule.topic == topic && rule.agent.is_none_or(|only| only == agent) && chance.per_mille(rule.per_mille)
        })?;
        let fate = self.rules[at].fate;
        self.met += 1;
        if let Some(times) = &mut self.rules[at].times {
            *times -= 1;
            if *times == 0 {
                self.rules.remove(at);
            }
        }
        Some(fate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_ends_after_its_times_and_meets_its_agent_only() {
        let (mut faults, mut chance) = (Faults::default(), Chance::new(1));
        faults.add(Rule::next(Topic::Update, 2, Fate::Lost).on(3));
        assert_eq!(faults.fate(Topic::Update, 1, &mut chance), None);
        assert_eq!(faults.fate(Topic::Launch, 3, &mut chance), None);
        assert_eq!(faults.fate(Topic::Update, 3, &mut chance), Some(Fate::Lost));
        assert_eq!(faults.fate(Topic::Update, 3, &mut chance), Some(Fate::Lost));
        assert_eq!(faults.fate(Topic::Update, 3, &mut chance), None);
        assert_eq!(faults.met, 2);
    }
}
