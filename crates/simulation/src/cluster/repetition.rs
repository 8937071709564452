//! Users who give their requests keys, hear no answer and ask again; and the judge of what comes of it: one effect, and the answer that
//! was lost (reliability case T4).
//!
//! The judge remembers by itself what was carried out and what users were told. What a crash took away must be carried out by the
//! repetition; what was told, or was carried out in the same life, never again.

use std::collections::{BTreeMap, BTreeSet};

use model::{MaintenanceMode, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::{Command, MaintenanceCommand, Outcome, Reply, ReplyCode};
use scheduler::idempotency::AnswerKey;
use scheduler::{Effect, Idempotency, Input, RequestId, View};

use super::chance::Chance;
use super::oracle::Seen;
use super::words::{job_of, name_of};

/// A request that has a key.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub command: Command,
    pub idempotency: Idempotency,
}

/// Users who ask again.
pub(super) struct Users {
    chance: Chance,
    count: u64,
}

impl Users {
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed ^ 0x7e57_a6a1), count: 0 }
    }

    /// The key that a request gets, if any, and when it is sent again, if it is. Restorations are not: who restores looks first.
    pub fn key(&mut self, command: &Command) -> Option<Idempotency> {
        if matches!(command, Command::Admin(AdminCommand::Restore { .. })) || !self.chance.per_mille(400) {
            return None;
        }
        self.count += 1;
        let fingerprint = u128::from(self.count).to_be_bytes();
        Some(Idempotency { key: format!("key-{}", self.count).parse().expect("a key"), fingerprint })
    }

    /// When a request is sent again, in ms from now: while it is on its way, or much later.
    pub fn patience_ms(&mut self) -> Option<u64> {
        match self.chance.below(4) {
            0 => Some(self.chance.between(0, 20)),
            1 => Some(self.chance.between(20, 20_000)),
            _ => None,
        }
    }

    /// Now and then a key is used for something else.
    pub fn repeated(&mut self, keyed: &Keyed) -> Idempotency {
        let mut idempotency = keyed.idempotency.clone();
        if self.chance.per_mille(50) {
            idempotency.fingerprint[0] = 1;
        }
        idempotency
    }
}

/// Remembers what was carried out under which key.
#[derive(Default)]
pub(super) struct RepetitionJudge {
    /// Answers by key, of whatever life.
    carried: BTreeMap<String, Reply>,
    /// Keys of what was carried out in this life.
    in_this_life: BTreeSet<String>,
    /// Keys of what users were told.
    told: BTreeSet<String>,
    /// Keys of what will be told.
    answering: BTreeMap<RequestId, String>,
    pub violations: Vec<String>,
    /// What was met.
    pub met: BTreeMap<&'static str, u64>,
}

impl RepetitionJudge {
    /// The scheduler died; answers that had not left are lost.
    pub fn died(&mut self) {
        self.in_this_life.clear();
        self.answering.clear();
    }

    /// An answer has left.
    pub fn replied(&mut self, request: RequestId) {
        self.told.extend(self.answering.remove(&request));
    }

    /// Judges a step. Whether its input was a repetition, so that nothing was to come of it.
    pub fn is_repetition(&mut self, seen: &Seen<'_>) -> bool {
        let Input::Command { request, command, idempotency: Some(idempotency), principal } = seen.input else {
            return false;
        };
        let answer = |effect: &Effect| match effect {
            Effect::Reply { request: other, reply } if other == request => Some(reply.clone()),
            _ => None,
        };
        let Some(reply) = seen.effects.iter().find_map(answer) else { return false };
        let name = idempotency.key.to_string();
        let key = AnswerKey { principal: principal.name.as_str().into(), key: idempotency.key.clone() };
        let Some(kept) = seen.before.answers.get(&key) else {
            self.judge_first(*request, name, reply, seen.after.answers.contains_key(&key));
            return false;
        };
        if let Some(what) = done_again(command, seen.before, seen.after) {
            self.violations.push(format!("{} under {name} was repeated, and {what}", name_of(command)));
        }
        if kept.fingerprint != idempotency.fingerprint {
            if (reply.code, &reply.outcome) != (ReplyCode::InvalidRequest, &Outcome::KeyOfAnother) {
                self.violations.push(format!("the key {name} was used for something else and answered {reply:?}"));
            }
            *self.met.entry("key of another").or_default() += 1;
            return true;
        }
        match self.carried.get(&name) {
            None => self.violations.push(format!("an answer is kept under {name} for what was never carried out")),
            Some(first) if is_same(first, &reply) => *self.met.entry("repeated Ok").or_default() += 1,
            Some(first) => self.violations.push(format!("under {name} the answer was {first:?} and is {reply:?}")),
        }
        if !self.in_this_life.contains(&name) {
            *self.met.entry("repeated to another life").or_default() += 1;
        }
        self.answering.insert(*request, name);
        true
    }

    fn judge_first(&mut self, request: RequestId, name: String, reply: Reply, is_kept: bool) {
        if self.told.contains(&name) || self.in_this_life.contains(&name) {
            self.violations.push(format!("what was carried out under {name} is not remembered: {reply:?}"));
        }
        if is_kept != (reply.code == ReplyCode::Ok) {
            self.violations.push(format!("the answer under {name} is kept: {is_kept}, and is {reply:?}"));
        }
        if reply.code == ReplyCode::Ok {
            self.carried.insert(name.clone(), reply);
            self.in_this_life.insert(name.clone());
            self.answering.insert(request, name);
        }
    }
}

/// The same answer; an update is told as it is by now.
fn is_same(first: &Reply, second: &Reply) -> bool {
    let outcomes = match (&first.outcome, &second.outcome) {
        (Outcome::Update(first), Outcome::Update(second)) => first.key == second.key,
        // Its history is bounded.
        (Outcome::Update(_), Outcome::None) => return second.code == ReplyCode::InvalidRequest,
        (first, second) => first == second,
    };
    outcomes && (first.code, &first.messages) == (second.code, &second.messages)
}

/// What shows that a command was carried out in a step in which it must not be. Whatever else the step did, of timers and updates, is not
/// meant.
fn done_again(command: &Command, before: &View, after: &View) -> Option<String> {
    match command {
        Command::CreateJob(_) | Command::AddInstances { .. } => {
            let job = job_of(command)?;
            let updating = before.active_update(job).is_some() || after.active_update(job).is_some();
            let is_new = |task: &&std::sync::Arc<scheduler::Task>| {
                !before.tasks.contains_key(&task.id) && task.ancestor.is_none()
            };
            let new = after.tasks_of(job).find(is_new).filter(|_| !updating && !before.cron_jobs.contains_key(job))?;
            Some(format!("{} is new", new.id))
        }
        Command::KillTasks { job, .. } => marked(before, after, job, TaskStatus::Killing, "Killed by"),
        Command::RestartTasks { job, .. } => marked(before, after, job, TaskStatus::Restarting, "Restarted by"),
        Command::StartUpdate { request, .. } => {
            let mut updates = after.updates_of(&request.task.job).into_iter();
            let new = updates.find(|update| !before.updates.contains_key(&update.key))?;
            Some(format!("update {} is new", new.key.id))
        }
        Command::PulseUpdate { key } => {
            let pulsed = after.update_pulses.get(key)?;
            (before.update_pulses.get(key) != Some(pulsed)).then(|| "the update had another pulse".to_owned())
        }
        Command::ScheduleCronJob(job) | Command::ReplaceCronTemplate(job) => {
            let now = after.cron_jobs.get(&job.key)?;
            let then = before.cron_jobs.get(&job.key).map(|then| (&then.config, then.scheduled_ms));
            (then != Some((&now.config, now.scheduled_ms))).then(|| "the job was scheduled anew".to_owned())
        }
        Command::DescheduleCronJob { job } => {
            let is_gone = before.cron_jobs.contains_key(job) && !after.cron_jobs.contains_key(job);
            is_gone.then(|| "the job is not scheduled any more".to_owned())
        }
        Command::StartCronJob { job } => {
            let runs = |view: &View| -> BTreeSet<u64> {
                let runs = view.cron_jobs.get(job).into_iter().flat_map(|job| &job.runs);
                runs.filter(|run| run.user.is_some()).map(|run| run.number).collect()
            };
            let new = runs(after).difference(&runs(before)).next().copied()?;
            Some(format!("run {new} was asked for"))
        }
        Command::SetQuota { .. } => (before.quotas != after.quotas).then(|| "a quota changed".to_owned()),
        Command::Maintenance(command) => maintained(command, before, after),
        // An update that was paused or goes on shows nothing of who wanted it.
        Command::ControlUpdate { .. } | Command::Admin(_) => None,
    }
}

/// A task that got an event of this kind by a user in this step.
fn marked(before: &View, after: &View, job: &model::JobKey, status: TaskStatus, by: &str) -> Option<String> {
    let marks = |task: &scheduler::Task| {
        let is_mark = |message: &str| message.starts_with(by);
        task.events
            .iter()
            .filter(|event| event.status == status && event.message.as_deref().is_some_and(is_mark))
            .count()
    };
    let is_marked = |task: &&std::sync::Arc<scheduler::Task>| {
        marks(task) > before.tasks.get(&task.id).map_or(0, |then| marks(then))
    };
    after.tasks_of(job).find(is_marked).map(|task| format!("{} was {status}", task.id))
}

/// A host that went where only a command leads.
fn maintained(command: &MaintenanceCommand, before: &View, after: &View) -> Option<String> {
    let by_command = match command {
        MaintenanceCommand::Start { .. } => MaintenanceMode::Scheduled,
        MaintenanceCommand::Drain { .. } | MaintenanceCommand::SlaDrain { .. } => MaintenanceMode::Draining,
        MaintenanceCommand::End { .. } => MaintenanceMode::None,
    };
    let mode = |view: &View, host: &String| view.hosts.get(host).map_or(MaintenanceMode::None, |record| record.mode);
    let moved = |host: &&String| mode(after, host) == by_command && mode(before, host) != by_command;
    command.hosts().iter().find(moved).map(|host| format!("{host} is {by_command:?}"))
}
