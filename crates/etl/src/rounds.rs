//! When copies of the command are started: a state machine without IO. Events of the engine, ticks and the time come in; calls for the engine
//! and lines for the log go out.
//!
//! Each tick begins a round: as many copies as are missing to N may be started in it, and no more, however soon they end. When all of them are
//! started, offers are not wanted until the next round.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{AgentId, Call, Event, Launch, Offer, StatusUpdate, TaskState};
use model::{Resources, TaskConfig, TaskId};

/// How long an offer that was too small stays away, while a round is not complete.
const SMALL_OFFER_REFUSE_MS: i64 = 5_000;

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Always printed.
    Info(String),
    /// Printed on request.
    Debug(String),
}

/// What follows from an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For the engine, in this order.
    pub calls: Vec<Call>,
    /// For the log, in this order.
    pub lines: Vec<Line>,
    /// Set when the program cannot or shall not go on; the reason.
    pub end: Option<String>,
}

/// A copy that was started and has not ended.
#[derive(Clone, Debug)]
struct Copy {
    agent_id: AgentId,
    started_ms: i64,
    is_running: bool,
}

/// The rounds.
#[derive(Debug)]
pub struct Rounds {
    config: Arc<TaskConfig>,
    tasks_max: u32,
    wait_ms: i64,
    exit_on_failure: bool,
    copies: BTreeMap<TaskId, Copy>,
    /// Copies that may still be started in this round.
    missing: u32,
    next_tick_ms: i64,
    last_id_ns: u128,
    is_suppressed: bool,
    /// Copies that ended well, and otherwise.
    finished: u64,
    failed: u64,
}

impl Rounds {
    /// The first round begins at once.
    pub fn new(config: Arc<TaskConfig>, tasks_max: u32, wait_ms: i64, exit_on_failure: bool, now_ms: i64) -> Self {
        Self {
            config,
            tasks_max,
            wait_ms,
            exit_on_failure,
            copies: BTreeMap::new(),
            missing: tasks_max,
            next_tick_ms: now_ms + wait_ms,
            last_id_ns: 0,
            is_suppressed: false,
            finished: 0,
            failed: 0,
        }
    }

    /// When [`Rounds::tick`] is due, in ms since the epoch.
    pub fn next_tick_ms(&self) -> i64 {
        self.next_tick_ms
    }

    /// Copies that were started and have not ended.
    pub fn live(&self) -> usize {
        self.copies.len()
    }

    /// Copies that ended well, and those that did not.
    pub fn ended(&self) -> (u64, u64) {
        (self.finished, self.failed)
    }

    /// Begins the next round if it is time.
    pub fn tick(&mut self, now_ms: i64) -> Output {
        let mut output = Output::default();
        if now_ms < self.next_tick_ms {
            return output;
        }
        // The ticks stay where they are, however late one is seen; those that passed meanwhile are one.
        let passed = (now_ms - self.next_tick_ms) / self.wait_ms + 1;
        self.next_tick_ms += passed * self.wait_ms;
        self.missing = self.tasks_max.saturating_sub(u32::try_from(self.copies.len()).unwrap_or(u32::MAX));
        output.lines.push(Line::Debug(format!("scheduler accept new work: {} missing", self.missing)));
        if self.missing > 0 && self.is_suppressed {
            self.is_suppressed = false;
            output.calls.push(Call::Revive);
        }
        // Whatever was started before the last round should have been heard of; what was lost on the way is asked for.
        let old = self.copies.iter().filter(|(_, copy)| now_ms - copy.started_ms >= self.wait_ms);
        let tasks: Vec<_> = old.map(|(id, copy)| (id.clone(), Some(copy.agent_id.clone()))).collect();
        if !tasks.is_empty() {
            output.calls.push(Call::Reconcile { tasks });
        }
        output
    }

    /// Takes an event of the engine.
    pub fn event(&mut self, event: Event, now_ms: i64) -> Output {
        let mut output = Output::default();
        match event {
            Event::Registered { framework_id, .. } => {
                let id = framework_id.unwrap_or_default();
                output.lines.push(Line::Info(format!("Subscribed: FrameworkID:  {id}")));
                let tasks: Vec<_> =
                    self.copies.iter().map(|(id, copy)| (id.clone(), Some(copy.agent_id.clone()))).collect();
                if !tasks.is_empty() {
                    output.calls.push(Call::Reconcile { tasks });
                }
            }
            Event::Disconnected => {
                output
                    .lines
                    .push(Line::Info("Disconnected from the master; tasks go on, a new one is looked for".into()));
            }
            Event::Offers(offers) => {
                output.lines.push(Line::Debug(format!("Received {} offers", offers.len())));
                for offer in offers {
                    self.offer(&offer, now_ms, &mut output);
                }
            }
            Event::Status(update) => self.status(update, &mut output),
            Event::AgentLost(agent) => output.lines.push(Line::Info(format!("Agent {agent} failed"))),
            Event::Deposed { reason } => output.end = Some(reason),
            Event::InverseOffer { id, .. } => output.calls.push(Call::AcceptInverseOffers { offers: vec![id] }),
            Event::Rescinded(_) => output.lines.push(Line::Debug("Received rescind offers".into())),
            // Of a framework of ours that is no more: nothing here knows what it was for.
            Event::Stray { task_id, detail } => {
                output.lines.push(Line::Info(format!("Task with ID {task_id} is not known here: {detail}")));
            }
        }
        output
    }

    fn offer(&mut self, offer: &Offer, now_ms: i64, output: &mut Output) {
        output.lines.push(Line::Debug(format!("Processing offer {}", offer.id)));
        let needed = self.config.resources;
        let mut free = offer.resources;
        let mut launches = Vec::new();
        while self.missing > 0 && holds(&free, &needed) {
            free -= needed;
            self.missing -= 1;
            let task_id = self.next_id(now_ms);
            let copy = Copy { agent_id: offer.agent_id.clone(), started_ms: now_ms, is_running: false };
            output.lines.push(Line::Debug(format!("Preparing task with id {task_id} for launch")));
            self.copies.insert(task_id.clone(), copy);
            launches.push(Launch {
                task_id,
                instance: 0,
                config: Arc::clone(&self.config),
                resources: needed,
                revocable: false,
                ports: BTreeMap::new(),
                assigned_ms: now_ms,
            });
        }
        let offers = vec![offer.id.clone()];
        if launches.is_empty() {
            let refuse_ms = if self.missing > 0 { SMALL_OFFER_REFUSE_MS } else { self.next_tick_ms - now_ms };
            output.calls.push(Call::Decline { offers, refuse_ms: refuse_ms.max(0) });
        } else {
            output.calls.push(Call::Accept { offers, launches });
        }
        if self.missing == 0 && !self.is_suppressed {
            self.is_suppressed = true;
            output.calls.push(Call::Suppress);
        }
    }

    /// Nanoseconds since the epoch, as the original named tasks; never the same twice.
    fn next_id(&mut self, now_ms: i64) -> TaskId {
        let now_ns = u128::try_from(now_ms).unwrap_or_default() * 1_000_000;
        self.last_id_ns = now_ns.max(self.last_id_ns + 1);
        TaskId(self.last_id_ns.to_string().into())
    }

    fn status(&mut self, update: StatusUpdate, output: &mut Output) {
        let StatusUpdate { task_id, state, message, agent_id, token, .. } = update;
        if let Some(token) = token {
            // Nothing is kept beyond this process, so there is nothing to wait for.
            output.calls.push(Call::Acknowledge { task_id: task_id.clone(), agent_id: agent_id.clone(), token });
        }
        let Some(copy) = self.copies.get_mut(&task_id) else {
            if !state.is_terminal() && state != TaskState::Unreachable {
                output
                    .lines
                    .push(Line::Info(format!("Task with ID {task_id} came back after it was given up; it is killed")));
                output.calls.push(Call::Kill { task_id, agent_id });
            }
            return;
        };
        match state {
            TaskState::Starting | TaskState::Unreachable => {}
            TaskState::Running => {
                if !copy.is_running {
                    copy.is_running = true;
                    output.lines.push(Line::Info(format!("Task with ID {task_id} in state RUNNING")));
                }
            }
            TaskState::Finished => {
                self.copies.remove(&task_id);
                self.finished += 1;
                output.lines.push(Line::Info(format!("Finished task:  {task_id}")));
            }
            TaskState::Failed | TaskState::Killed | TaskState::Lost => {
                self.copies.remove(&task_id);
                self.failed += 1;
                let state = format!("{state:?}").to_uppercase();
                let message = message.filter(|text| !text.is_empty()).unwrap_or_else(|| "no message".into());
                let line =
                    format!("Task with ID {task_id} in state {state}: {message} ({} failed so far)", self.failed);
                if self.exit_on_failure {
                    output.end = Some("Exiting because a task failed".into());
                }
                output.lines.push(Line::Info(line));
            }
        }
    }
}

fn holds(free: &Resources, needed: &Resources) -> bool {
    free.cpu >= needed.cpu && free.ram_mb >= needed.ram_mb && free.disk_mb >= needed.disk_mb
}

#[cfg(test)]
mod tests {
    use engine::StatusToken;
    use model::{CpuMillis, JobKey};

    use super::*;

    const WAIT_MS: i64 = 60_000;

    fn rounds(tasks_max: u32) -> Rounds {
        let key = JobKey::new("root", "etl", "rounds");
        let config = Arc::new(TaskConfig::new(key, 0.1, 64, 0, ""));
        Rounds::new(config, tasks_max, WAIT_MS, false, 0)
    }

    fn offer(id: &str, cpu: i64, ram_mb: i64) -> Offer {
        let resources = Resources { cpu: CpuMillis(cpu), ram_mb, ..Resources::ZERO };
        Offer { id: id.into(), agent_id: format!("agent-{id}"), resources, ..Offer::default() }
    }

    fn launched(output: &Output) -> Vec<TaskId> {
        let accepted = output.calls.iter().filter_map(|call| match call {
            Call::Accept { launches, .. } => Some(launches.iter().map(|launch| launch.task_id.clone())),
            _ => None,
        });
        accepted.flatten().collect()
    }

    fn status(task_id: &TaskId, state: TaskState) -> Event {
        Event::Status(StatusUpdate {
            task_id: task_id.clone(),
            state,
            reason: None,
            message: None,
            timestamp_ms: None,
            agent_id: Some("a".into()),
            token: Some(StatusToken(vec![1])),
        })
    }

    fn infos(output: &Output) -> Vec<&str> {
        let texts = output.lines.iter().filter_map(|line| match line {
            Line::Info(text) => Some(text.as_str()),
            Line::Debug(_) => None,
        });
        texts.collect()
    }

    #[test]
    fn a_round_starts_what_is_missing_and_then_wants_no_offers() {
        let mut rounds = rounds(3);
        let output =
            rounds.event(Event::Offers(vec![offer("1", 250, 1000), offer("2", 1000, 1000), offer("3", 1000, 1000)]), 5);
        let ids = launched(&output);
        assert_eq!(ids.len(), 3, "two on the first agent, one on the second");
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert!(output.calls.contains(&Call::Suppress));
        assert!(output.calls.contains(&Call::Decline { offers: vec!["3".into()], refuse_ms: WAIT_MS - 5 }));
    }

    #[test]
    fn ended_copies_are_replaced_with_the_next_tick_and_not_before() {
        let mut rounds = rounds(2);
        let ids = launched(&rounds.event(Event::Offers(vec![offer("1", 1000, 1000)]), 0));
        let output = rounds.event(status(&ids[0], TaskState::Running), 1);
        assert_eq!(infos(&output), [format!("Task with ID {} in state RUNNING", ids[0])]);
        assert!(matches!(output.calls[0], Call::Acknowledge { .. }));
        assert!(infos(&rounds.event(status(&ids[0], TaskState::Running), 1)).is_empty(), "told twice, said once");
        let output = rounds.event(status(&ids[0], TaskState::Finished), 2);
        assert_eq!(infos(&output), [format!("Finished task:  {}", ids[0])]);
        assert!(launched(&rounds.event(Event::Offers(vec![offer("2", 1000, 1000)]), 3)).is_empty());
        assert_eq!(rounds.tick(WAIT_MS - 1), Output::default());
        let output = rounds.tick(WAIT_MS);
        assert!(output.calls.contains(&Call::Revive));
        assert!(matches!(&output.calls[1], Call::Reconcile { tasks } if tasks.len() == 1), "{output:?}");
        assert_eq!(launched(&rounds.event(Event::Offers(vec![offer("4", 1000, 1000)]), WAIT_MS + 1)).len(), 1);
        assert_eq!(rounds.live(), 2);
    }

    #[test]
    fn a_command_that_fails_at_once_is_started_n_times_a_round() {
        let mut rounds = rounds(2);
        let mut started = 0;
        for step in 0..100 {
            let ids = launched(&rounds.event(Event::Offers(vec![offer("x", 100, 100)]), step));
            started += ids.len();
            for id in ids {
                let output = rounds.event(status(&id, TaskState::Failed), step);
                assert!(output.end.is_none());
            }
        }
        assert_eq!((started, rounds.ended()), (2, (0, 2)));
    }

    #[test]
    fn a_failure_ends_the_program_only_on_request() {
        let mut rounds = Rounds { exit_on_failure: true, ..rounds(1) };
        let ids = launched(&rounds.event(Event::Offers(vec![offer("1", 1000, 1000)]), 0));
        let output = rounds.event(status(&ids[0], TaskState::Lost), 1);
        assert_eq!(output.end.as_deref(), Some("Exiting because a task failed"));
        assert!(infos(&output)[0].ends_with("in state LOST: no message (1 failed so far)"), "{output:?}");
    }

    #[test]
    fn a_small_offer_is_given_back_for_a_moment_only() {
        let mut rounds = rounds(1);
        let output = rounds.event(Event::Offers(vec![offer("1", 50, 1000)]), 0);
        assert_eq!(output.calls, [Call::Decline { offers: vec!["1".into()], refuse_ms: 5_000 }]);
        assert_eq!(launched(&rounds.event(Event::Offers(vec![offer("2", 100, 64)]), 1)).len(), 1);
    }

    #[test]
    fn after_a_leader_change_the_living_are_asked_for_and_nothing_is_started_twice() {
        let mut rounds = rounds(2);
        let ids = launched(&rounds.event(Event::Offers(vec![offer("1", 1000, 1000)]), 0));
        rounds.event(Event::Disconnected, 1);
        let output = rounds.event(Event::Registered { framework_id: Some("f-1".into()), master: None }, 2);
        assert_eq!(infos(&output), ["Subscribed: FrameworkID:  f-1"]);
        assert!(matches!(&output.calls[..], [Call::Reconcile { tasks }] if tasks.len() == 2));
        assert!(launched(&rounds.event(Event::Offers(vec![offer("2", 1000, 1000)]), 3)).is_empty());
        rounds.event(status(&ids[0], TaskState::Lost), 4);
        let output = rounds.event(status(&ids[0], TaskState::Running), 5);
        assert!(matches!(output.calls.last(), Some(Call::Kill { .. })), "given up, and back: {output:?}");
    }

    #[test]
    fn ticks_that_were_slept_through_are_one() {
        let mut rounds = rounds(1);
        rounds.tick(WAIT_MS * 5 + 7);
        assert_eq!(rounds.next_tick_ms(), WAIT_MS * 6);
    }

    #[test]
    fn a_program_that_was_replaced_ends_and_says_why() {
        let output = rounds(1).event(Event::Deposed { reason: "another one".into() }, 0);
        assert_eq!(output.end.as_deref(), Some("another one"));
    }
}
