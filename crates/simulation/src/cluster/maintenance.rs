//! Maintenance in a run: what operators ask of hosts, how coordinators answer, and a judge of what becomes of it. The judge counts for
//! itself what every SLA policy needs, from what is stored before and after a step, and never asks the program.

use std::collections::BTreeMap;

use engine::Event;
use imbl::ordmap::DiffItem;
use model::task::SlaPolicy;
use model::{JobKey, MaintenanceMode, TaskConfig, TaskId, TaskStatus};
use scheduler::command::{Command, ReplyCode};
use scheduler::{CoordinatorAnswer, CoordinatorQuestion, Effect, Input, MaintenanceCommand, Task, View};

use super::chance::Chance;
use super::oracle::Seen;

/// The longest that a drain waits for policies.
const LONGEST_TIMEOUT_SECS: u64 = 60;

// ---- users ----

/// A policy that a job may have.
fn policy(chance: &mut Chance) -> SlaPolicy {
    let duration_secs = *chance.pick(&[0, 0, 5, 20]).expect("there are some");
    match chance.below(3) {
        0 => SlaPolicy::Count { count: chance.below(3) as i64, duration_secs },
        1 => {
            let percentage = *chance.pick(&[10.0_f64, 34.0, 50.0, 60.0]).expect("there are some");
            SlaPolicy::Percentage { percentage_bits: percentage.to_bits(), duration_secs }
        }
        _ => {
            let status_key = String::new();
            SlaPolicy::Coordinator { coordinator_url: format!("http://coordinator-{}/", chance.below(2)), status_key }
        }
    }
}

/// Some jobs have a policy.
pub(super) fn maybe_policy(task: &mut TaskConfig, chance: &mut Chance) {
    if chance.per_mille(200) {
        task.sla_policy = Some(policy(chance));
    }
}

/// The next thing that operators ask of hosts, seeing this.
pub(super) fn next_command(view: &View, chance: &mut Chance) -> Command {
    let mut hosts: Vec<String> = view.hosts.keys().filter(|_| chance.per_mille(400)).cloned().collect();
    if chance.per_mille(100) {
        hosts.push("unknown".into());
    }
    Command::Maintenance(match chance.below(10) {
        0 => MaintenanceCommand::Start { hosts },
        1..=2 => MaintenanceCommand::Drain { hosts },
        3..=6 => MaintenanceCommand::SlaDrain {
            hosts,
            default_policy: policy(chance),
            timeout_secs: chance.below(LONGEST_TIMEOUT_SECS) as i64,
        },
        _ => MaintenanceCommand::End { hosts: view.hosts.keys().cloned().collect() },
    })
}

/// What a coordinator answers, and after what time; `None` when it never does.
pub(super) fn answer(chance: &mut Chance) -> Option<(u64, CoordinatorAnswer)> {
    let answer = match chance.below(20) {
        0 => return None,
        1 => CoordinatorAnswer::Error("no connection".into()),
        2 => CoordinatorAnswer::UserError("HTTP 500".into()),
        3..=8 => CoordinatorAnswer::Refused,
        _ => CoordinatorAnswer::Allowed,
    };
    Some((chance.between(1, 6000), answer))
}

// ---- the judge ----

/// A host that is to be drained.
struct Drain {
    default_policy: SlaPolicy,
    timeout_secs: i64,
    created_ms: i64,
    /// From when policies need not be heeded, in time of the run.
    forced_from_ms: u64,
}

/// Knows which hosts are to be drained, and by which rules.
#[derive(Default)]
pub(super) struct MaintenanceJudge {
    drains: BTreeMap<String, Drain>,
    /// Questions under way by address: number, task, and since when.
    asked: BTreeMap<String, (u64, TaskId, u64)>,
    /// A question that is this old may have been given up.
    patience_ms: u64,
    /// What was met.
    pub met: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

/// A task that is moved in a step.
#[derive(Clone, Copy)]
struct Moved<'a> {
    task: &'a Task,
    host: &'a str,
}

impl MaintenanceJudge {
    /// A judge who knows how long a coordinator may take.
    pub fn new(patience_ms: u64) -> Self {
        Self { patience_ms, ..Self::default() }
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// The next scheduler has read its journal.
    pub fn recovered(&mut self, view: &View) {
        self.asked.clear();
        self.drains.clear();
        for (host, request) in &view.maintenance {
            let drain = Drain {
                default_policy: request.default_policy.clone(),
                timeout_secs: request.timeout_secs,
                created_ms: request.created_ms,
                forced_from_ms: 0,
            };
            self.drains.insert(host.clone(), drain);
        }
    }

    /// Judges one step.
    pub fn judge(&mut self, seen: &Seen<'_>) {
        match seen.input {
            Input::Start { .. } => self.started(seen),
            // What a backup brings is no change of now.
            _ if super::restore::restored(seen).is_some() => {
                self.recovered(seen.after);
                return self.started(seen);
            }
            Input::Command { command: Command::Maintenance(command), .. } if was_accepted(seen) => {
                self.commanded(command, seen);
            }
            _ => {}
        }
        self.judge_tasks(seen);
        self.judge_modes(seen);
        self.judge_questions(seen);
    }

    /// What of each time-out is left is known by the wall clock alone.
    fn started(&mut self, seen: &Seen<'_>) {
        for drain in self.drains.values_mut() {
            let timeout_ms = drain.timeout_secs.max(0) * 1000;
            let left_ms = (drain.created_ms + timeout_ms - seen.wall_ms).clamp(0, timeout_ms);
            drain.forced_from_ms = seen.now_ms + left_ms as u64;
        }
    }

    fn commanded(&mut self, command: &MaintenanceCommand, seen: &Seen<'_>) {
        let known = command.hosts().iter().filter(|host| seen.before.hosts.contains_key(*host));
        for host in known {
            let (default_policy, timeout_secs) = match command {
                MaintenanceCommand::Start { .. } | MaintenanceCommand::End { .. } => {
                    self.drains.remove(host);
                    continue;
                }
                MaintenanceCommand::Drain { .. } => {
                    (SlaPolicy::Percentage { percentage_bits: 0.0_f64.to_bits(), duration_secs: 0 }, 0)
                }
                MaintenanceCommand::SlaDrain { default_policy, timeout_secs, .. } => {
                    (default_policy.clone(), *timeout_secs)
                }
            };
            let forced_from_ms = seen.now_ms + timeout_secs.max(0) as u64 * 1000;
            let drain = Drain { default_policy, timeout_secs, created_ms: seen.wall_ms, forced_from_ms };
            self.drains.insert(host.clone(), drain);
        }
    }

    /// Modes change by commands, and when the last task of a draining host is gone.
    fn judge_modes(&mut self, seen: &Seen<'_>) {
        let named: &[String] = match seen.input {
            Input::Command { command: Command::Maintenance(command), .. } => command.hosts(),
            _ => &[],
        };
        for item in seen.before.hosts.diff(&seen.after.hosts) {
            let (host, old, new) = match item {
                DiffItem::Add(host, new) => (host, MaintenanceMode::None, new.mode),
                DiffItem::Update { old: (host, old), new: (_, new) } => (host, old.mode, new.mode),
                DiffItem::Remove(host, _) => {
                    self.violations.push(format!("{host} was forgotten"));
                    continue;
                }
            };
            if old == new {
                continue;
            }
            self.meet(new.name());
            let emptied = (old, new) == (MaintenanceMode::Draining, MaintenanceMode::Drained);
            if !emptied && !named.contains(host) {
                self.violations.push(format!("{host} went from {old} to {new}, and nobody asked"));
            }
            if new != MaintenanceMode::Draining {
                self.drains.remove(host);
            }
        }
        for (host, record) in &seen.after.hosts {
            let is_empty = || {
                let on_host = |task: &&std::sync::Arc<Task>| task.host.as_deref() == Some(host);
                !seen.after.tasks.values().filter(on_host).any(|task| task.status.is_assigned())
            };
            let wrong = match record.mode {
                MaintenanceMode::Draining => !seen.more && is_empty(),
                MaintenanceMode::Drained => !is_empty(),
                MaintenanceMode::None | MaintenanceMode::Scheduled => false,
            };
            // Modes of an old journal are not looked at before the start.
            if wrong && !matches!(seen.input, Input::Start { .. }) {
                self.violations.push(format!("{host} is {}, and whether it is empty says otherwise", record.mode));
            }
        }
    }

    /// Nothing is placed on a host that is being drained, and nothing moves from it against its policy.
    fn judge_tasks(&mut self, seen: &Seen<'_>) {
        let mut moved: BTreeMap<&JobKey, Vec<Moved<'_>>> = BTreeMap::new();
        for item in seen.before.tasks.diff(&seen.after.tasks) {
            let DiffItem::Update { old: (_, old), new: (_, new) } = item else { continue };
            let Some(host) = new.host.as_deref() else { continue };
            let mode = seen.after.hosts.get(host).map(|record| record.mode).unwrap_or_default();
            if !old.status.is_assigned() && new.status.is_assigned() && !mode.takes_tasks() {
                self.violations.push(format!("{} was placed on {host}, which is {mode}", new.id));
            }
            let was_moved = |status: TaskStatus| new.events.iter().filter(|event| event.status == status).count();
            let before = old.events.iter().filter(|event| event.status == TaskStatus::Draining).count();
            if was_moved(TaskStatus::Draining) > before {
                moved.entry(&new.config.job).or_default().push(Moved { task: old, host });
            }
        }
        for (job, moved) in moved {
            self.judge_moved(job, &moved, seen);
        }
    }

    fn judge_moved(&mut self, job: &JobKey, moved: &[Moved<'_>], seen: &Seen<'_>) {
        let mut weakest: Option<(i64, i64, &Moved<'_>)> = None;
        let drains = &self.drains;
        let is_forced = |one: &Moved<'_>| drains.get(one.host).is_some_and(|drain| seen.now_ms > drain.forced_from_ms);
        let asked_back = matches!(seen.input, Input::Engine(Event::InverseOffer { .. }));
        // Those whose time was over, and those without a policy whose machine goes, may have been moved after the ones that were asked
        // about, and counted as up until then.
        let (forced, moved): (Vec<Moved<'_>>, Vec<Moved<'_>>) = moved.iter().copied().partition(is_forced);
        let is_asked = |one: &Moved<'_>| !asked_back || one.task.config.sla_policy.is_some();
        let moved: Vec<Moved<'_>> = moved.into_iter().filter(is_asked).collect();
        forced.iter().for_each(|_| self.meet("forced"));
        for one in &moved {
            let (id, host) = (&one.task.id, one.host);
            let own = one.task.config.sla_policy.as_ref();
            let drain = self.drains.get(host);
            let policy = match (own, drain) {
                (Some(own), _) => own,
                (None, Some(drain)) => &drain.default_policy,
                (None, None) => {
                    self.violations.push(format!("{id} was moved from {host}, which nobody drains"));
                    continue;
                }
            };
            let Some(duration_secs) = duration_secs(policy) else {
                let yes = matches!(seen.input, Input::CoordinatorAnswer { question, answer: CoordinatorAnswer::Allowed }
                    if self.asked.values().any(|(asked, task, _)| asked == question && task == id));
                if !yes {
                    self.violations.push(format!("{id} was moved, and its coordinator did not say so"));
                }
                self.meet("allowed");
                continue;
            };
            let (running, active) = standing(job, &moved, duration_secs, seen);
            let short = required(policy, active) - running;
            if weakest.is_none_or(|(known, ..)| short < known) {
                weakest = Some((short, running, one));
            }
        }
        // Those of the same step were asked about one after another, each when the ones before were gone already.
        if let Some((short, running, one)) = weakest {
            self.meet("sla");
            if short > 0 {
                self.violations.push(format!(
                    "{} was moved, and {running} instances of {job} are up, which are {short} too few for {:?}",
                    one.task.id, one.task.config.sla_policy
                ));
            }
        }
    }

    /// No coordinator has two questions at a time.
    fn judge_questions(&mut self, seen: &Seen<'_>) {
        if let Input::CoordinatorAnswer { question, .. } = seen.input {
            self.asked.retain(|_, (id, ..)| id != question);
        }
        let (now_ms, patience_ms) = (seen.now_ms, self.patience_ms);
        self.asked.retain(|_, (_, _, since_ms)| now_ms < *since_ms + patience_ms);
        let questions = seen.effects.iter().filter_map(|effect| match effect {
            Effect::AskCoordinator(question) => Some(question),
            _ => None,
        });
        for question in questions.map(|question| CoordinatorQuestion::clone(question)) {
            self.meet("asked");
            let asked = (question.id, question.task.id.clone(), now_ms);
            if let Some((id, ..)) = self.asked.insert(question.url.clone(), asked) {
                self.violations.push(format!("{} has two questions at a time: {id} and {}", question.url, question.id));
            }
        }
    }
}

fn was_accepted(seen: &Seen<'_>) -> bool {
    seen.effects.iter().any(|effect| matches!(effect, Effect::Reply { reply, .. } if reply.code == ReplyCode::Ok))
}

fn duration_secs(policy: &SlaPolicy) -> Option<i64> {
    match policy {
        SlaPolicy::Percentage { duration_secs, .. } | SlaPolicy::Count { duration_secs, .. } => Some(*duration_secs),
        SlaPolicy::Coordinator { .. } => None,
    }
}

/// How many instances are up for long enough when those are gone, and how many there are.
fn standing(job: &JobKey, moved: &[Moved<'_>], duration_secs: i64, seen: &Seen<'_>) -> (i64, i64) {
    let is_up = |task: &Task| {
        let since = task.events.iter().rev().find(|event| event.status == TaskStatus::Running);
        let long = since.is_some_and(|event| seen.wall_ms - event.timestamp_ms > duration_secs * 1000);
        task.status == TaskStatus::Running && long
    };
    let stays = |task: &&std::sync::Arc<Task>| moved.iter().all(|one| one.task.id != task.id);
    // One that came up or went down by itself in this step was counted by whoever looked before that.
    let up = |view: &View| -> Vec<TaskId> {
        view.tasks_of(job).filter(stays).filter(|task| is_up(task)).map(|task| task.id.clone()).collect()
    };
    let mut running = up(seen.before);
    running.extend(up(seen.after));
    running.sort_unstable();
    running.dedup();
    let active = |view: &View| view.tasks_of(job).filter(|task| task.status.is_active()).count() as i64;
    (running.len() as i64, active(seen.before).min(active(seen.after)))
}

/// How many others a policy wants of so many active instances: never more than all but one (spec scheduler 5.3).
fn required(policy: &SlaPolicy, active: i64) -> i64 {
    match policy {
        SlaPolicy::Count { count, .. } => (*count).min(active - 1),
        SlaPolicy::Percentage { percentage_bits, .. } => {
            // The percentages of these users are whole numbers.
            let percentage = f64::from_bits(*percentage_bits) as i64;
            let may_be_down = (100 - percentage) * active / 100;
            let share = (percentage * active + 99) / 100;
            if may_be_down < 1 { active - 1 } else { share }
        }
        SlaPolicy::Coordinator { .. } => 0,
    }
}
