//! The judge: looks at every step of the core from outside (state before, input, state after, what it asks for) and at what a crash
//! leaves, and says what must not be. It knows the rules from [`super::expected`], never from the program.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Call, Event, Reason, StatusUpdate, TaskState};
use imbl::ordmap::DiffItem;
use model::{InstanceId, JobKey, TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::{Command, Reply, ReplyCode};
use scheduler::{Effect, Input, RequestId, Settings, Task, View};

use super::affinity::AffinityJudge;
use super::coverage::Coverage;
use super::cron::{self, CronJudge};
use super::expected::{Cell, Replaced, Table, Verdict, reported};
use super::maintenance::MaintenanceJudge;
use super::repetition::RepetitionJudge;
use super::restore::{Restored, restored};
use super::words::{describe_difference, job_of, kept_events, name_of, short};

/// One step, seen from outside.
pub(super) struct Seen<'a> {
    pub before: &'a View,
    pub input: &'a Input,
    pub after: &'a View,
    pub effects: &'a [Effect],
    pub more: bool,
    /// Time of the run, which never jumps.
    pub now_ms: u64,
    /// What the wall clock really shows.
    pub wall_ms: i64,
}

impl Seen<'_> {
    /// The step in a few lines, for people.
    pub fn describe(&self) -> String {
        let mut text = short(self.input);
        for effect in self.effects {
            text.push_str("\n    ");
            text.push_str(&match effect {
                Effect::Transition(change) => {
                    let name = |status: Option<TaskStatus>| status.map_or("-", TaskStatus::name);
                    format!("{}: {} to {} {:?}", change.task_id, name(change.from), name(change.to), change.reason)
                }
                Effect::Engine(Call::Accept { offers, launches }) => {
                    let names: Vec<&str> = launches.iter().map(|launch| launch.task_id.as_str()).collect();
                    format!("accept {offers:?}: {names:?}")
                }
                other => format!("{other:?}"),
            });
        }
        if self.more {
            text.push_str("\n    and more");
        }
        text
    }
}

/// A task that changed in a step.
struct Change<'a> {
    id: &'a TaskId,
    old: Option<&'a Task>,
    new: Option<&'a Task>,
    /// Statuses it went through.
    path: Vec<TaskStatus>,
}

/// The judge of one run.
#[derive(Default)]
pub(super) struct Oracle {
    table: Table,
    pub coverage: Coverage,
    pub violations: Vec<String>,
    cron: CronJudge,
    maintenance: MaintenanceJudge,
    affinity: AffinityJudge,
    repetitions: RepetitionJudge,
    /// Transient statuses time out after this.
    transient_timeout_ms: u64,
    /// The disk said that it is full.
    pub space_low: bool,
    /// How long a new leader of the engine is not believed.
    grace_ms: u64,
    /// The leader that the scheduler was told of last, and until when its word may be doubted.
    leader: Option<String>,
    doubt_until_ms: u64,
    /// Tasks that were placed when the present leader was elected, and until when they may not be given up on its word.
    placed_before: BTreeSet<TaskId>,
    protected_until_ms: u64,
    /// The same of a leader that was elected and has not been met, with its name: what is still on its way, be it a greeting, was
    /// said by the one before.
    next_leader: Option<(String, BTreeSet<TaskId>, u64)>,
    /// Tasks that were placed and are not since a backup was restored.
    displaced: BTreeSet<TaskId>,
    /// Tasks that a backup brought back: what the engine said of them meanwhile is not known any more.
    brought_back: BTreeSet<TaskId>,
    /// Another scheduler took this one's place.
    deposed: bool,
    active: BTreeMap<(JobKey, InstanceId), TaskId>,
    /// Tasks in statuses that time out, and since when.
    transient: BTreeMap<TaskId, (TaskStatus, u64)>,
    /// Commands that wait for their answer.
    pub open: BTreeMap<RequestId, Command>,
    answered: BTreeSet<RequestId>,
    /// The state after each group.
    frozen: BTreeMap<u64, View>,
    /// The step before left work over.
    cut: bool,
    /// The newest state that anybody was shown.
    pub published: u64,
    /// Instances that a service must have, as far as its commands say; `None` when an update or a crash makes it unsure.
    pub wanted: BTreeMap<JobKey, Option<BTreeSet<InstanceId>>>,
}

impl Oracle {
    /// A judge who knows how the scheduler is set.
    pub fn new(settings: &Settings) -> Self {
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        Self {
            transient_timeout_ms: ms(settings.transient_task_state_timeout),
            grace_ms: ms(settings.master_failover_grace),
            maintenance: MaintenanceJudge::new(2 * ms(settings.sla_coordinator_timeout)),
            affinity: AffinityJudge::new(settings),
            ..Self::default()
        }
    }

    fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// The engine has a new leader, of this name.
    pub fn elected(&mut self, leader: String, view: &View, now_ms: u64) {
        let placed = view.tasks.values().filter(|task| task.status.is_assigned());
        self.next_leader = Some((leader, placed.map(|task| task.id.clone()).collect(), now_ms + self.grace_ms));
    }

    /// The scheduler waits for something: what it was to be woken for has not come yet.
    pub fn judge_sleep(&mut self, now_ms: u64, wall_ms: i64) {
        self.cron.judge_sleep(now_ms, wall_ms);
        self.violations.append(&mut self.cron.violations);
    }

    /// Whether a backup brought the task back.
    pub fn was_brought_back(&self, id: &TaskId) -> bool {
        self.brought_back.contains(id)
    }

    /// The wall clock was set, and no longer tells how long a leader has been there.
    pub fn clock_was_set(&mut self, now_ms: u64, is_ahead: bool) {
        self.cron.clock_was_set(now_ms);
        if is_ahead {
            self.unprotect();
        }
    }

    /// Nothing says any more how long the leader has been there.
    pub fn unprotect(&mut self) {
        self.next_leader = None;
        self.protected_until_ms = 0;
    }

    // ---- lives ----

    /// The state after a group.
    pub fn froze(&mut self, position: u64, view: View) {
        self.frozen.insert(position, view);
        while self.frozen.len() > 1200 {
            self.frozen.pop_first();
        }
    }

    /// The scheduler died, and this was its last group that is left: what it had not answered has an unknown outcome.
    pub fn died(&mut self, last_group: u64) {
        drop(self.frozen.split_off(&(last_group + 1)));
        let open: Vec<Command> = std::mem::take(&mut self.open).into_values().collect();
        for command in open {
            if let Some(job) = job_of(&command) {
                self.wanted.insert(job.clone(), None);
            } else if matches!(command, Command::Admin(AdminCommand::Restore { .. })) {
                // It is about every job.
                self.wanted.values_mut().for_each(|wanted| *wanted = None);
            }
        }
        self.repetitions.died();
        self.space_low = false;
        self.deposed = false;
    }

    /// The next scheduler has read its journal: it must know exactly what the last one knew after the group it goes on from.
    pub fn recovered(&mut self, position: u64, view: &View, now_ms: u64) {
        if position < self.published {
            self.violation(format!("state {} was shown, and the disk has only {position}", self.published));
        }
        if let Some((at, known)) = self.frozen.range(..=position).next_back() {
            let at = *at;
            let differs = describe_difference(known, view);
            if let Some(difference) = differs {
                self.violation(format!(
                    "recovered at {position}, which differs from what was known at {at}: {difference}"
                ));
            }
        }
        self.frozen.clear();
        self.frozen.insert(position, view.clone());
        self.published = self.published.max(position);
        self.cron.recovered(view);
        self.maintenance.recovered(view);
        self.affinity.forget();
        self.active.clear();
        self.transient.clear();
        for task in view.tasks.values() {
            self.note_status(task, now_ms);
        }
        self.sure_of(view);
    }

    /// What the recovered state holds, a command that was never answered may still have done.
    fn sure_of(&mut self, view: &View) {
        let jobs: Vec<JobKey> = self.wanted.keys().cloned().collect();
        for job in jobs {
            if view.active_update(&job).is_some() {
                self.wanted.insert(job, None);
            }
        }
    }

    fn note_status(&mut self, task: &Task, now_ms: u64) {
        let key = (task.config.job.clone(), task.instance);
        if task.status.is_active() {
            match self.active.get(&key) {
                Some(other) if *other != task.id => {
                    let text = format!("instance {} of {} is active twice: {other} and {}", key.1, key.0, task.id);
                    self.violation(text);
                }
                _ => drop(self.active.insert(key, task.id.clone())),
            }
        }
        if task.status.is_transient() {
            self.transient.insert(task.id.clone(), (task.status, now_ms));
        }
    }

    // ---- steps ----

    /// Judges one step.
    pub fn judge(&mut self, seen: &Seen<'_>) {
        self.coverage.inputs += 1;
        if self.deposed {
            return self.judge_deposed(seen);
        }
        let is_repetition = self.repetitions.is_repetition(seen);
        self.violations.append(&mut self.repetitions.violations);
        for (what, count) in std::mem::take(&mut self.repetitions.met) {
            *self.coverage.replies.entry(what.to_owned()).or_default() += count;
        }
        // Nothing was asked for: what happened in the step happened by itself.
        let input = if is_repetition { &Input::Tick } else { seen.input };
        self.judge_step(&Seen { input, ..*seen });
    }

    fn judge_step(&mut self, seen: &Seen<'_>) {
        self.judge_timers(seen.now_ms);
        if let Some(restored) = restored(seen) {
            return self.judge_restored(&restored, seen);
        }
        let items: Vec<DiffItem<'_, '_, TaskId, std::sync::Arc<Task>>> =
            seen.before.tasks.diff(&seen.after.tasks).collect();
        let changes: Vec<Change<'_>> = items.iter().map(|item| self.change(item)).collect();
        for change in &changes {
            self.judge_path(change, seen);
            self.judge_replacement(change, &changes, seen);
        }
        self.judge_growth(&changes, seen);
        let may_run = !self.space_low && !matches!(seen.input, Input::Engine(Event::Deposed { .. }));
        self.ask_other_judges(seen, may_run);
        self.follow(&changes, seen.now_ms);
        self.judge_kills(seen);
        // A step may fall idle and find work at the same moment: what it says last counts.
        let about_offers = |effect: &&Effect| matches!(effect, Effect::Engine(Call::Suppress | Call::Revive));
        if let Some(Effect::Engine(Call::Suppress)) = seen.effects.iter().rfind(about_offers) {
            self.judge_silence(seen.after);
        }
        if let Input::Engine(Event::Registered { master: Some(master), .. }) = seen.input
            && let Some((_, placed, until_ms)) = self.next_leader.take_if(|(leader, ..)| leader == master)
        {
            (self.placed_before, self.protected_until_ms) = (placed, until_ms);
        }
        match seen.input {
            Input::Engine(Event::Status(status)) => self.judge_status(status, &changes, seen),
            // How much of the leader's time is left is known to the wall clock only, which may have jumped.
            Input::Start { .. } => self.doubt_until_ms = seen.now_ms + self.grace_ms,
            // What a crash lost of it, the next scheduler meets anew.
            Input::Engine(Event::Registered { master: Some(master), .. })
                if self.leader.as_ref() != Some(master) || seen.before.master.as_deref() != Some(master) =>
            {
                self.leader = Some(master.clone());
                self.doubt_until_ms = seen.now_ms + self.grace_ms;
            }
            Input::Engine(Event::InverseOffer { id, .. }) => {
                let accepted = Effect::Engine(Call::AcceptInverseOffers { offers: vec![id.clone()] });
                if !seen.effects.contains(&accepted) {
                    self.violation(format!("inverse offer {id} was not accepted"));
                }
            }
            Input::Engine(Event::Deposed { .. }) => {
                self.deposed = true;
                if !seen.effects.iter().any(|effect| matches!(effect, Effect::Stop { .. })) {
                    self.violation("a deposed scheduler does not stop");
                }
            }
            Input::Command { request, command, .. } => self.judge_command(*request, command, &changes, seen),
            _ => {}
        }
        self.cut = seen.more;
        for (_, update) in seen.after.updates.iter().filter(|_| matches!(seen.input, Input::Tick)) {
            *self.coverage.updates.entry(update.status().name()).or_default() += 1;
        }
    }

    fn ask_other_judges(&mut self, seen: &Seen<'_>, may_run: bool) {
        self.cron.judge(seen, may_run);
        self.violations.append(&mut self.cron.violations);
        for (outcome, count) in std::mem::take(&mut self.cron.met) {
            *self.coverage.replies.entry(format!("cron {outcome}")).or_default() += count;
        }
        self.maintenance.judge(seen);
        self.violations.append(&mut self.maintenance.violations);
        for (what, count) in std::mem::take(&mut self.maintenance.met) {
            *self.coverage.replies.entry(format!("maintenance {what}")).or_default() += count;
        }
        self.affinity.judge(seen);
        self.violations.append(&mut self.affinity.violations);
        for (what, count) in std::mem::take(&mut self.affinity.met) {
            *self.coverage.replies.entry(format!("affinity {what}")).or_default() += count;
        }
    }

    /// A backup became the state: it is as good as a new life, except for what was promised of tasks.
    fn judge_restored(&mut self, restored: &Restored<'_>, seen: &Seen<'_>) {
        if self.space_low {
            self.violation("a backup was restored although the disk is full");
        }
        let wrong = restored.judge(seen);
        self.violations.extend(wrong);
        let has_agent = |view: &View, id: &TaskId| view.tasks.get(id).is_some_and(|task| task.agent_id.is_some());
        let lost = seen.before.tasks.keys().filter(|id| has_agent(seen.before, id) && !has_agent(seen.after, id));
        self.displaced.extend(lost.cloned());
        let back = seen.after.tasks.keys().filter(|id| !seen.before.tasks.contains_key(*id));
        self.brought_back.extend(back.cloned());
        *self.coverage.replies.entry("recover Ok".to_owned()).or_default() += 1;
        self.affinity.forget();
        self.ask_other_judges(seen, true);
        self.judge_kills(seen);
        self.active.clear();
        self.transient.clear();
        for task in seen.after.tasks.values() {
            self.note_status(task, seen.now_ms);
        }
        let jobs: BTreeSet<JobKey> = self.wanted.keys().chain(seen.after.tasks_by_job.keys()).cloned().collect();
        for job in jobs {
            let mut active = seen.after.tasks_of(&job).filter(|task| task.status.is_active()).peekable();
            let disturbed = restored.is_disturbed(&job, seen) || active.peek().is_none();
            let lasts = |task: &Task| task.config.is_service && task.status != TaskStatus::Killing;
            let wanted: Option<BTreeSet<InstanceId>> =
                active.map(|task| lasts(task).then_some(task.instance)).collect();
            self.wanted.insert(job, wanted.filter(|_| !disturbed));
        }
        self.doubt_until_ms = seen.now_ms + self.grace_ms;
        self.cut = seen.more;
    }

    fn judge_kills(&mut self, seen: &Seen<'_>) {
        for effect in seen.effects {
            if let Effect::Engine(Call::Kill { task_id, .. }) = effect {
                self.judge_kill(task_id, seen.after, "killed");
            }
        }
    }

    /// One that was replaced changes nothing and asks for nothing; it only refuses.
    fn judge_deposed(&mut self, seen: &Seen<'_>) {
        let acts = seen.effects.iter().any(|effect| !matches!(effect, Effect::Reply { .. }));
        if acts || seen.before.tasks != seen.after.tasks || seen.before.updates != seen.after.updates {
            self.violation(format!("a deposed scheduler goes on: {}", seen.describe()));
        }
        if let Input::Command { request, command, .. } = seen.input {
            self.judge_command(*request, command, &[], seen);
        }
    }

    fn change<'a>(&mut self, item: &DiffItem<'a, 'a, TaskId, std::sync::Arc<Task>>) -> Change<'a> {
        let (id, old, new): (&TaskId, Option<&Task>, Option<&Task>) = match item {
            DiffItem::Add(id, new) => (id, None, Some(new)),
            DiffItem::Update { old: (id, old), new: (_, new) } => (id, Some(old), Some(new)),
            DiffItem::Remove(id, old) => (id, Some(old), None),
        };
        let mut path = Vec::new();
        if let Some(new) = new {
            let known = old.map_or(0, |old| kept_events(old, new).unwrap_or(usize::MAX));
            if known == usize::MAX {
                self.violation(format!(
                    "the history of {id} was rewritten: {:?} to {:?}",
                    old.map(|old| &old.events),
                    new.events
                ));
            }
            path.extend(new.events.iter().skip(known).map(|event| event.status));
            if new.events.last().map(|event| event.status) != Some(new.status) {
                self.violation(format!("{id} is {} and its last event says otherwise: {:?}", new.status, new.events));
            }
            if new.events.windows(2).any(|pair| pair[0].timestamp_ms > pair[1].timestamp_ms) {
                self.violation(format!("the stamps of {id} go back: {:?}", new.events));
            }
        }
        Change { id, old, new, path }
    }

    /// Every hop must be in the table.
    fn judge_path(&mut self, change: &Change<'_>, seen: &Seen<'_>) {
        let Change { id, old, new, path } = change;
        let mut at = old.map_or(TaskStatus::Init, |old| old.status);
        for to in path {
            let cell = Cell::new(at, *to);
            match self.table.verdict(cell) {
                Verdict::Legal { deleted: false, .. } => self.coverage.cell(cell),
                _ => self.violation(format!("{id} went from {cell}, by {:?}", short(seen.input))),
            }
            at = *to;
        }
        if let (Some(old), Some(new)) = (old, new)
            && path.is_empty()
        {
            self.violation(format!("{id} changed without an event: {old:?} to {new:?}"));
        }
        if new.is_none() {
            let gone = Cell { from: Some(at), to: None };
            let unstarted = Cell::new(at, TaskStatus::Killing);
            if matches!(self.table.verdict(unstarted), Verdict::Legal { deleted: true, .. }) {
                self.coverage.cell(unstarted);
            } else if self.table.allows(gone) && at != TaskStatus::Killing {
                self.coverage.cell(gone);
            } else {
                self.violation(format!("{id} vanished while {at}, by {:?}", short(seen.input)));
            }
        }
    }

    /// Whether a run that ended is replaced, and by what.
    fn judge_replacement(&mut self, change: &Change<'_>, changes: &[Change<'_>], seen: &Seen<'_>) {
        let Some(new) = change.new.filter(|new| new.status.is_terminal() && !change.path.is_empty()) else { return };
        let mut at = change.old.map_or(TaskStatus::Init, |old| old.status);
        let failures_before = change.old.map_or(0, |old| old.failure_count);
        let (mut expected, mut failures) = (false, failures_before);
        for to in &change.path {
            if let Verdict::Legal { replaced, .. } = self.table.verdict(Cell::new(at, *to)) {
                let max = new.config.max_task_failures;
                expected |= match replaced {
                    Replaced::Never => false,
                    Replaced::Always => true,
                    Replaced::Service => new.config.is_service,
                    Replaced::Failure => new.config.is_service || max == -1 || failures < max.saturating_sub(1),
                    Replaced::UnlessKilling => new.events.iter().all(|event| event.status != TaskStatus::Killing),
                };
                failures += i32::from(replaced == Replaced::Failure);
            }
            at = *to;
        }
        if new.failure_count != failures {
            self.violation(format!("{} has {} failures and should have {failures}", change.id, new.failure_count));
        }
        let children: Vec<&Task> = changes
            .iter()
            .filter(|other| other.old.is_none())
            .filter_map(|other| other.new)
            .filter(|task| task.ancestor.as_ref() == Some(change.id))
            .collect();
        let updating =
            seen.after.active_update(&new.config.job).is_some() || seen.before.active_update(&new.config.job).is_some();
        let updating = updating || cron::is_cron(seen, &new.config.job);
        match (expected, children.as_slice()) {
            (true, [child]) => {
                if child.instance != new.instance || child.config != new.config || child.failure_count != failures {
                    self.violation(format!("{} was replaced by another thing: {child:?}", change.id));
                }
            }
            (false, []) => {}
            // The update may have taken the replacement away in the same step.
            (true, []) if updating => {}
            (expected, children) => {
                let text = format!(
                    "{} ended {:?} by {:?}, replacement expected: {expected}, found: {}",
                    change.id,
                    change.path,
                    short(seen.input),
                    children.len()
                );
                self.violation(text);
            }
        }
    }

    /// While the disk is full only runs that ended are followed by others; with room, what updates held back is done.
    fn judge_growth(&mut self, changes: &[Change<'_>], seen: &Seen<'_>) {
        let mut created = changes.iter().filter(|change| change.old.is_none()).filter_map(|change| change.new);
        let Some(task) = created.find(|task| task.ancestor.is_none()) else { return };
        if self.space_low {
            self.violation(format!("{} was created although the disk is full, by {:?}", task.id, short(seen.input)));
        }
        if matches!(seen.input, Input::SpaceLow(false)) && seen.before.active_update(&task.config.job).is_some() {
            *self.coverage.replies.entry("update goes on with room".to_owned()).or_default() += 1;
        }
    }

    /// Keeps who is active, and since when a status lasts that must not last.
    fn follow(&mut self, changes: &[Change<'_>], now_ms: u64) {
        for change in changes {
            let Some(task) = change.new.or(change.old) else { continue };
            let key = (task.config.job.clone(), task.instance);
            if change.new.is_none_or(|new| !new.status.is_active()) && self.active.get(&key) == Some(change.id) {
                self.active.remove(&key);
            }
            self.transient.remove(change.id);
        }
        for new in changes.iter().filter_map(|change| change.new) {
            self.note_status(new, now_ms);
        }
    }

    /// Only what should not run may be killed.
    pub fn judge_kill(&mut self, id: &TaskId, view: &View, how: &str) {
        use TaskStatus::{Assigned, Pending, Running, Starting, Throttled};
        if let Some(task) = view.tasks.get(id)
            && matches!(task.status, Pending | Throttled | Assigned | Starting | Running)
        {
            self.violation(format!("{id} is {how}, and is {}", task.status));
        }
    }

    /// What is launched must be recorded as placed. A restoration may have become durable with the launch, before that left: then the
    /// kill that the restoration asks for follows it.
    pub fn judge_launch(&mut self, id: &TaskId, view: &View) {
        let is_placed = view.tasks.get(id).is_some_and(|task| task.agent_id.is_some());
        if !is_placed && !self.displaced.contains(id) {
            self.violation(format!("{id} is launched, and not recorded as placed"));
        }
    }

    /// Only one with nothing to place wants no offers.
    fn judge_silence(&mut self, view: &View) {
        *self.coverage.replies.entry("offers suppressed".to_owned()).or_default() += 1;
        if let Some(task) = view.tasks.values().find(|task| task.status == TaskStatus::Pending) {
            self.violation(format!("no offers are wanted, and {} is pending", task.id));
        }
    }

    /// The outcome of a status of the engine, cell by cell.
    fn judge_status(&mut self, status: &StatusUpdate, changes: &[Change<'_>], seen: &Seen<'_>) {
        let id = &status.task_id;
        let before = seen.before.tasks.get(id).map(|task| task.status);
        let to = reported(status.state);
        let cell = Cell { from: before, to: Some(to) };
        self.coverage.cell(cell);
        let path: &[TaskStatus] = changes.iter().find(|change| change.id == id).map_or(&[], |change| &change.path);
        let killed = seen
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Engine(Call::Kill { task_id, .. }) if task_id == id));
        let followed = path.first() == Some(&to);
        let gives_up = status.reason == Some(Reason::Reconciliation)
            && matches!(status.state, TaskState::Lost | TaskState::Unreachable);
        if gives_up && followed && seen.now_ms < self.protected_until_ms && self.placed_before.contains(id) {
            self.violation(format!("{id} was given up on the word of a leader that is new: {cell}"));
        }
        let placed = before.is_some_and(TaskStatus::is_assigned);
        if gives_up && placed && !followed && self.leader.is_some() && seen.now_ms <= self.doubt_until_ms {
            *self.coverage.replies.entry("answer doubted".to_owned()).or_default() += 1;
            return;
        }
        let wrong = match self.table.verdict(cell) {
            Verdict::Noop | Verdict::Illegal if followed => Some("was followed"),
            Verdict::Noop | Verdict::Illegal if killed && before.is_none() => Some("was answered with a kill"),
            Verdict::Noop | Verdict::Illegal => None,
            Verdict::Corrective if followed => Some("was followed"),
            Verdict::Corrective if !killed => Some("was not answered with a kill"),
            Verdict::Corrective => None,
            Verdict::Legal { .. } if !followed => Some("was not followed"),
            Verdict::Legal { killed: true, .. } if !killed => Some("was not answered with a kill"),
            Verdict::Legal { lost: true, .. } if path.get(1) != Some(&TaskStatus::Lost) => Some("did not lead to LOST"),
            Verdict::Legal { .. } => None,
        };
        if let Some(wrong) = wrong {
            self.violation(format!("status {cell} of {id} {wrong}; it went {path:?}, killed: {killed}"));
        }
        let Some(token) = &status.token else { return };
        let acknowledged = seen.effects.iter().filter(
            |effect| matches!(effect, Effect::Engine(Call::Acknowledge { token: other, .. }) if other == token),
        );
        match acknowledged.count() {
            1 => {}
            count => self.violation(format!("status {cell} of {id} was acknowledged {count} times")),
        }
    }

    /// What a command and its answer say must agree with what was done.
    fn judge_command(&mut self, request: RequestId, command: &Command, changes: &[Change<'_>], seen: &Seen<'_>) {
        let reply = seen.effects.iter().find_map(|effect| match effect {
            Effect::Reply { request: other, reply } if *other == request => Some(reply),
            _ => None,
        });
        let Some(reply) = reply else {
            if !seen.more {
                self.violation(format!("{} was not answered", name_of(command)));
            }
            return;
        };
        *self.coverage.replies.entry(format!("{} {:?}", name_of(command), reply.code)).or_default() += 1;
        if reply.code != ReplyCode::Ok {
            // What an update or a step that was cut goes on with has nothing to do with the command.
            let updating = |view: &View| job_of(command).is_some_and(|job| view.active_update(job).is_some());
            let by_cron = job_of(command).is_some_and(|job| cron::is_cron(seen, job));
            if !self.cut && !by_cron && !updating(seen.before) && !updating(seen.after) {
                self.judge_refused(command, reply, changes);
            }
            return;
        }
        self.judge_growth_asked(command);
        match command {
            Command::CreateJob(job) => {
                let found = seen.after.tasks_of(&job.key).filter(|task| task.status.is_active()).count();
                if found != job.instance_count as usize {
                    self.violation(format!(
                        "{} was created with {} instances and has {found}",
                        job.key, job.instance_count
                    ));
                }
                let instances = (0..job.instance_count as InstanceId).collect();
                self.wanted.insert(job.key.clone(), job.task.is_service.then_some(instances));
            }
            Command::AddInstances { job, count, .. } => {
                let created = changes.iter().filter(|change| change.old.is_none()).filter_map(|change| change.new);
                let new: Vec<&Task> =
                    created.filter(|task| task.config.job == *job && task.ancestor.is_none()).collect();
                let added: BTreeSet<InstanceId> = new.iter().map(|task| task.instance).collect();
                // Batch tasks may end at any time.
                if new.iter().any(|task| !task.config.is_service) {
                    self.wanted.insert(job.clone(), None);
                }
                if added.len() != *count as usize {
                    self.violation(format!("{count} instances were to be added to {job}, and {} were", added.len()));
                }
                if let Some(Some(wanted)) = self.wanted.get_mut(job) {
                    wanted.extend(added);
                }
            }
            Command::KillTasks { job, instances, .. } => self.judge_killed(job, instances, seen),
            Command::RestartTasks { job, instances } => {
                self.judge_asked(job, instances, TaskStatus::Restarting, changes, seen);
            }
            Command::StartUpdate { request, .. } => drop(self.wanted.insert(request.task.job.clone(), None)),
            Command::ControlUpdate { key, .. } => drop(self.wanted.insert(key.job.clone(), None)),
            // What becomes of cron jobs, their own judge looks at.
            Command::ScheduleCronJob(job) | Command::ReplaceCronTemplate(job) => drop(self.wanted.remove(&job.key)),
            Command::DescheduleCronJob { .. } | Command::StartCronJob { .. } => {}
            Command::PulseUpdate { .. } | Command::SetQuota { .. } | Command::Admin(_) | Command::Maintenance(_) => {}
        }
    }

    fn judge_growth_asked(&mut self, command: &Command) {
        let grows = matches!(
            command,
            Command::CreateJob(_)
                | Command::AddInstances { .. }
                | Command::StartUpdate { .. }
                | Command::RestartTasks { .. }
                | Command::ScheduleCronJob(_)
                | Command::ReplaceCronTemplate(_)
                | Command::StartCronJob { .. }
        );
        if self.space_low && grows {
            self.violation(format!("{} was accepted although the disk is full", name_of(command)));
        }
    }

    fn judge_refused(&mut self, command: &Command, reply: &Reply, changes: &[Change<'_>]) {
        if reply.messages.is_empty() {
            self.violation(format!("{} was refused without a word", name_of(command)));
        }
        let Some(job) = job_of(command) else { return };
        for change in changes {
            let task = change.new.or(change.old).expect("one of them is there");
            let asked = change.old.is_none()
                || change.path.iter().any(|to| matches!(to, TaskStatus::Killing | TaskStatus::Restarting));
            if task.config.job == *job && asked && task.ancestor.is_none() {
                self.violation(format!("{} was refused ({reply:?}) and changed {}", name_of(command), change.id));
            }
        }
    }

    fn judge_killed(&mut self, job: &JobKey, instances: &BTreeSet<InstanceId>, seen: &Seen<'_>) {
        let left = seen.after.tasks_of(job).find(|task| {
            let named = instances.is_empty() || instances.contains(&task.instance);
            // A run of a cron job may begin in the same step.
            seen.before.tasks.contains_key(&task.id)
                && named
                && task.status.is_active()
                && task.status != TaskStatus::Killing
        });
        if let Some(left) = left.filter(|_| !seen.more) {
            self.violation(format!("{job} was killed, and {} is {}", left.id, left.status));
        }
        for task in seen.before.tasks_of(job).filter(|task| task.status.is_active()) {
            if instances.is_empty() || instances.contains(&task.instance) {
                self.coverage.cell(Cell::new(task.status, TaskStatus::Killing));
            }
        }
        if cron::is_cron(seen, job) {
            return;
        }
        if instances.is_empty() {
            self.wanted.insert(job.clone(), Some(BTreeSet::new()));
        } else if let Some(Some(wanted)) = self.wanted.get_mut(job) {
            wanted.retain(|instance| !instances.contains(instance));
        }
    }

    /// Users asked for a status of active tasks: what must happen to each, says the table.
    fn judge_asked(
        &mut self,
        job: &JobKey,
        instances: &BTreeSet<InstanceId>,
        to: TaskStatus,
        changes: &[Change<'_>],
        seen: &Seen<'_>,
    ) {
        for task in seen.before.tasks_of(job) {
            if !task.status.is_active() || !instances.contains(&task.instance) {
                continue;
            }
            let cell = Cell::new(task.status, to);
            self.coverage.cell(cell);
            let path: &[TaskStatus] =
                changes.iter().find(|change| *change.id == task.id).map_or(&[], |change| &change.path);
            let followed = path.first() == Some(&to);
            if followed != self.table.allows(cell) {
                self.violation(format!("{} was asked for {cell} and went {path:?}", task.id));
            }
            let killed = seen
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Engine(Call::Kill { task_id, .. }) if *task_id == task.id));
            if matches!(self.table.verdict(cell), Verdict::Legal { killed: true, .. }) && !killed {
                self.violation(format!("{} went from {cell} and was not killed", task.id));
            }
        }
    }

    /// Nothing stays for too long where it must not stay. Asked before each step: one that ends it late does not excuse that.
    fn judge_timers(&mut self, now_ms: u64) {
        // A slow disk may hold the loop up; nothing else may.
        let end = |since: u64| (since + self.transient_timeout_ms).max(self.doubt_until_ms) + 10_000;
        let late = self.transient.iter().find(|(_, (_, since))| now_ms > end(*since));
        if let Some((id, (status, since))) = late {
            let text =
                format!("{id} is {status} for {} ms, and the limit is {}", now_ms - since, self.transient_timeout_ms);
            self.transient.clear();
            self.violation(text);
        }
    }

    // ---- what left ----

    /// A reply left.
    pub fn replied(&mut self, request: RequestId) {
        if !self.answered.insert(request) {
            self.violation(format!("request {} was answered twice", request.0));
        }
        self.open.remove(&request);
        self.repetitions.replied(request);
    }
}
