//! The core as the loop sees it, watched by the judge, and spoiled where a bug is planted.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Call, Event};
use model::task::SlaPolicy;
use model::{TaskId, TaskStatus};
use node::storage::{Epoch, Position, Record, RestoreError, SnapshotRecords};
use node::{Core, Now, Step};
use scheduler::admin::AdminCommand;
use scheduler::command::{Command, Reply};
use scheduler::restore::LaterTasks;
use scheduler::{
    CoordinatorAnswer, Effect, Idempotency, Input, MaintenanceCommand, Output, Scheduler, Settings, Task, View, record,
};

use super::chance::Chance;
use super::mutation::Mutation;
use super::oracle::{Oracle, Seen};

/// What outlives one scheduler of a run.
pub(super) struct Watch {
    pub oracle: Oracle,
    /// Time of the run.
    pub now_ms: u64,
    /// Changes with everything that was decided.
    pub trace: DefaultHasher,
    /// Only for [`Mutation::AcknowledgedBeforeDurable`]: calls that leave at once.
    pub early: Vec<Call>,
    chance: Chance,
    verbose: bool,
}

impl Watch {
    pub fn new(oracle: Oracle, chance: Chance, verbose: bool) -> Self {
        Self { oracle, now_ms: 0, trace: DefaultHasher::new(), early: Vec::new(), chance, verbose }
    }
}

/// The core, watched.
pub(super) struct Observed {
    inner: Scheduler,
    view: View,
    started: bool,
    mutation: Option<Mutation>,
    /// Only for [`Mutation::DelaysOnWallClock`]: both clocks at the first step.
    first: Option<(u64, i64)>,
    watch: Rc<RefCell<Watch>>,
}

/// Only for [`Mutation::NotDeterministic`]: differs each time it is looked at.
static UNREPEATABLE: AtomicU64 = AtomicU64::new(1);

impl Observed {
    pub fn new(mut settings: Settings, mutation: Option<Mutation>, watch: Rc<RefCell<Watch>>) -> Self {
        if mutation == Some(Mutation::AffinityForgotten) {
            settings.enable_update_affinity = false;
        }
        Self { inner: Scheduler::new(settings), view: View::default(), started: false, mutation, first: None, watch }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// The planted bugs that spoil what goes in. `None` keeps the input away from the core.
    fn spoil_input(&self, input: Input, watch: &mut Watch) -> Option<Input> {
        let spoiled = |times| watch.chance.clone().per_mille(times);
        match (self.mutation, input) {
            (Some(Mutation::SpaceLowIgnored), Input::SpaceLow(true)) => None,
            (Some(Mutation::StatusIgnored), Input::Engine(Event::Status(status)))
                if status.token.is_some() && spoiled(30) =>
            {
                None
            }
            (Some(Mutation::AnsweredWithoutWork), Input::Command { command: Command::CreateJob(_), .. })
                if spoiled(200) =>
            {
                None
            }
            (Some(Mutation::OfferInflated), Input::Engine(Event::Offers(mut offers))) => {
                offers.iter_mut().for_each(|offer| offer.resources.cpu.0 += 1500);
                Some(Input::Engine(Event::Offers(offers)))
            }
            (Some(Mutation::LeaderNotTold), Input::Engine(Event::Registered { framework_id, .. })) => {
                Some(Input::Engine(Event::Registered { framework_id, master: None }))
            }
            (Some(Mutation::NotDeterministic), Input::Start { mut seed, epoch }) => {
                seed[0] ^= UNREPEATABLE.fetch_add(1, Ordering::Relaxed) as u8;
                Some(Input::Start { seed, epoch })
            }
            (
                Some(Mutation::SlaPolicyIgnored),
                Input::Command {
                    request,
                    principal,
                    command: Command::Maintenance(MaintenanceCommand::SlaDrain { hosts, timeout_secs, .. }),
                    idempotency,
                },
            ) => {
                let default_policy = SlaPolicy::Percentage { percentage_bits: 0, duration_secs: 0 };
                let command =
                    Command::Maintenance(MaintenanceCommand::SlaDrain { hosts, timeout_secs, default_policy });
                Some(Input::Command { request, principal, command, idempotency })
            }
            (
                Some(Mutation::CoordinatorOverruled),
                Input::CoordinatorAnswer { question, answer: CoordinatorAnswer::Refused },
            ) => Some(Input::CoordinatorAnswer { question, answer: CoordinatorAnswer::Allowed }),
            (
                Some(Mutation::RepetitionNotKnown),
                Input::Command { request, principal, command, idempotency: Some(named) },
            ) if spoiled(200) => {
                let key = format!("{}-{}", named.key, request.0).parse().expect("a key");
                let idempotency = Some(Idempotency { key, ..named });
                Some(Input::Command { request, principal, command, idempotency })
            }
            (Some(mutation), Input::Command { request, principal, command: Command::Admin(command), idempotency }) => {
                let command = Command::Admin(spoil_restore(mutation, command));
                Some(Input::Command { request, principal, command, idempotency })
            }
            (_, input) => Some(input),
        }
    }

    /// What stands in for the answer of a core that was not asked.
    fn pretend(input: &Input) -> Output {
        let effect = match input {
            Input::Engine(Event::Status(status)) => status.token.clone().map(|token| {
                let (task_id, agent_id) = (status.task_id.clone(), status.agent_id.clone());
                Effect::Engine(Call::Acknowledge { task_id, agent_id, token })
            }),
            Input::Command { request, .. } => Some(Effect::Reply { request: *request, reply: Reply::ok() }),
            _ => None,
        };
        Output { effects: effect.into_iter().collect(), ..Output::default() }
    }

    /// The planted bugs that spoil what comes out.
    fn spoil_output(&self, output: &mut Output, before: &View, watch: &mut Watch) {
        let Some(mutation) = self.mutation else { return };
        drop_records(mutation, &mut output.records, &mut watch.chance);
        spoil_calls(mutation, &mut output.effects, before, watch);
        repeat(mutation, &mut output.effects, &mut watch.chance);
    }
}

/// The planted bugs by which records never reach the journal.
fn drop_records(mutation: Mutation, records: &mut Vec<Record>, chance: &mut Chance) {
    let (is_meant, per_mille): (fn(&Record) -> bool, _) = match mutation {
        Mutation::TaskRecordDropped => (|record| record.table == record::TABLE_TASKS && record.value.is_some(), 20),
        Mutation::DeletionDropped => (|record| record.table == record::TABLE_TASKS && record.value.is_none(), 300),
        Mutation::CronRunRecordDropped => {
            (|record| record.table == record::TABLE_CRON_RUNS && record.value.is_some(), 300)
        }
        Mutation::UpdateProgressRecordDropped => (|record| record.table == record::TABLE_UPDATE_PROGRESS, 100),
        Mutation::AnswerRecordDropped => (|record| record.table == record::TABLE_ANSWERS, 100),
        Mutation::MaintenanceRecordDropped => (|record| record.table == record::TABLE_MAINTENANCE, 300),
        Mutation::ConfigRecordDropped => (|record| record.table == record::TABLE_CONFIGS, 300),
        _ => return,
    };
    records.retain(|record| !(is_meant(record) && chance.per_mille(per_mille)));
}

/// The planted bugs by which the engine is told something else, or nothing.
fn spoil_calls(mutation: Mutation, effects: &mut Vec<Effect>, before: &View, watch: &mut Watch) {
    let chance = &mut watch.chance;
    match mutation {
        Mutation::KillDropped => {
            effects.retain(|effect| !matches!(effect, Effect::Engine(Call::Kill { .. })));
        }
        Mutation::StrayTolerated => effects.retain(|effect| match effect {
            Effect::Engine(Call::Kill { task_id, .. }) => before.tasks.contains_key(task_id),
            _ => true,
        }),
        Mutation::AcknowledgedBeforeDurable => {
            let calls = effects.iter().filter_map(|effect| match effect {
                Effect::Engine(call @ Call::Acknowledge { .. }) => Some(call.clone()),
                _ => None,
            });
            watch.early.extend(calls);
        }
        Mutation::AcknowledgementDropped => {
            effects.retain(|effect| !matches!(effect, Effect::Engine(Call::Acknowledge { .. })));
        }
        Mutation::ReviveDropped => {
            effects.retain(|effect| !matches!(effect, Effect::Engine(Call::Revive)));
        }
        Mutation::GivenUpForgotten => {
            let is_lost = |id: &TaskId| before.tasks.get(id).is_some_and(|task| task.status == TaskStatus::Lost);
            effects.retain_mut(|effect| match effect {
                Effect::Engine(Call::Reconcile { tasks }) if !tasks.is_empty() => {
                    tasks.retain(|(id, _)| !is_lost(id));
                    !tasks.is_empty()
                }
                _ => true,
            });
        }
        Mutation::KillMisdirected => {
            for effect in effects.iter_mut() {
                if let Effect::Engine(Call::Kill { task_id, .. }) = effect
                    && chance.per_mille(50)
                    && let Some(other) = before.tasks.keys().nth(chance.below(before.tasks.len() as u64) as usize)
                {
                    *task_id = other.clone();
                }
            }
        }
        _ => {}
    }
}

/// The planted bugs by which something leaves twice.
fn repeat(mutation: Mutation, effects: &mut Vec<Effect>, chance: &mut Chance) {
    match mutation {
        Mutation::LaunchRepeated => {
            let again = effects
                .iter()
                .find(|effect| matches!(effect, Effect::Engine(Call::Accept { launches, .. }) if !launches.is_empty()));
            if let Some(again) = again.cloned()
                && chance.per_mille(50)
            {
                effects.push(again);
            }
        }
        Mutation::AnsweredTwice => {
            let again = effects.iter().find(|effect| matches!(effect, Effect::Reply { .. })).cloned();
            effects.extend(again.filter(|_| chance.per_mille(50)));
        }
        _ => {}
    }
}

fn spoil_restore(mutation: Mutation, command: AdminCommand) -> AdminCommand {
    match (mutation, command) {
        (Mutation::RestoreIncomplete, AdminCommand::Restore { staged, later }) => {
            let wanted = |task: &&Arc<Task>| task.status == TaskStatus::Running && task.config.is_service;
            let missing = staged.view().tasks.values().find(wanted).map(|task| task.id.clone());
            AdminCommand::Restore { staged: staged.without(missing.as_slice()), later }
        }
        (Mutation::RestoreKillsLater, AdminCommand::Restore { staged, .. }) => {
            AdminCommand::Restore { staged, later: LaterTasks::Kill }
        }
        (_, command) => command,
    }
}

impl Core for Observed {
    type Input = Input;
    type Effect = Effect;
    type View = View;

    fn apply(&mut self, record: Record) -> Result<(), RestoreError> {
        Core::apply(&mut self.inner, record)
    }

    fn step(&mut self, now: Now, input: Input) -> Step<Effect> {
        let watch = Rc::clone(&self.watch);
        let watch = &mut *watch.borrow_mut();
        let now_ms = watch.now_ms;
        let mut time = now;
        if self.is(Mutation::DelaysOnWallClock) {
            let (monotonic_ms, wall_ms) = *self.first.get_or_insert((now.monotonic_ms, now.wall_ms));
            time.monotonic_ms = monotonic_ms.saturating_add_signed(now.wall_ms - wall_ms);
        }
        if self.is(Mutation::CronEarly) {
            time.wall_ms += 5000;
        }
        watch.chance.bits();
        let before = if self.started { std::mem::take(&mut self.view) } else { Scheduler::freeze(&self.inner) };
        let mut output = match self.spoil_input(input.clone(), watch) {
            Some(input) => Scheduler::step(&mut self.inner, time, input),
            None => Self::pretend(&input),
        };
        self.spoil_output(&mut output, &before, watch);
        self.view = Scheduler::freeze(&self.inner);
        if let Input::SpaceLow(low) = &input {
            watch.oracle.space_low = *low;
        }
        let seen = Seen {
            before: &before,
            input: &input,
            after: &self.view,
            effects: &output.effects,
            more: output.more,
            now_ms,
            wall_ms: now.wall_ms,
        };
        if watch.verbose {
            eprintln!("{now_ms} {}", seen.describe());
        }
        watch.oracle.judge(&seen);
        self.started = true;
        output.effects.len().hash(&mut watch.trace);
        for record in &output.records {
            (record.table, &record.key, &record.value).hash(&mut watch.trace);
        }
        Step { records: output.records, effects: output.effects, more: output.more }
    }

    fn next_wake(&self) -> Option<u64> {
        if self.is(Mutation::TimerLost) { None } else { Scheduler::next_wake(&self.inner) }
    }

    fn freeze(&mut self, position: Position, now: Now) -> View {
        let view = Core::freeze(&mut self.inner, position, now);
        let mut watch = self.watch.borrow_mut();
        if self.started {
            watch.oracle.froze(position.0, view.clone());
        } else {
            let now_ms = watch.now_ms;
            watch.oracle.recovered(position.0, &view, now_ms);
        }
        view
    }

    fn records_of(view: &Arc<View>) -> SnapshotRecords {
        <Scheduler as Core>::records_of(view)
    }

    fn start(seed: [u8; 32], epoch: Epoch) -> Input {
        <Scheduler as Core>::start(seed, epoch)
    }

    fn tick() -> Input {
        <Scheduler as Core>::tick()
    }

    fn resume() -> Input {
        <Scheduler as Core>::resume()
    }

    fn space_low(low: bool) -> Input {
        <Scheduler as Core>::space_low(low)
    }
}
