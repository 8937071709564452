//! One run: a scheduler, its disk, its engine and its users, from a seed until everything has come to rest.

use std::cell::{Cell as SharedCell, RefCell};
use std::collections::VecDeque;
use std::hash::Hasher;
use std::rc::Rc;
use std::sync::Arc;

use engine::{Call, TaskState};
use model::{MaintenanceMode, TaskId, TaskStatus};
use node::inbox::{Lane, Limits, Sender, inbox};
use node::storage::{Epoch, StorageError};
use node::{Clock, Entropy, Node, Now, Outlet, Parts, Turn};
use scheduler::command::Command;
use scheduler::{
    Effect, Idempotency, Input, MaintenanceCommand, Principal, RequestId, Scheduler, Settings, Task, View,
};

use super::chance::Chance;
use super::coverage::{Coverage, Fault};
use super::disk::{Disk, Failure};
use super::maintenance;
use super::mutation::Mutation;
use super::observed::{Observed, Watch};
use super::oracle::Oracle;
use super::repetition::{Keyed, Users};
use super::restore::Backups;
use super::schedule::Happening;
use super::settings::{node_settings, rates, settings};
use super::workload;
use super::world::World;

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Inputs before everything is repaired and has to come to rest.
    pub inputs: u64,
    /// A bug to plant.
    pub mutation: Option<Mutation>,
    /// Each step is written to standard error.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { inputs: 1000, mutation: None, verbose: false }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What must not be; the run ends with the first.
    pub violations: Vec<String>,
    /// What was met.
    pub coverage: Coverage,
    /// A number that differs when anything was decided differently.
    pub trace: u64,
    /// The time that passed in the run.
    pub simulated_ms: u64,
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Report {
    let mut simulation = Simulation::new(seed, options);
    simulation.storm(options.inputs);
    simulation.rest();
    simulation.report()
}

/// Turns after which a loop that never wants to wait counts as caught in a circle.
const TURNS_MAX: u32 = 20_000;
/// At rest, what has not moved for so long will not move any more.
const PATIENCE_MS: i64 = 150_000;
/// Steps of time after which a run counts as caught in a circle.
const ADVANCES_MAX: u64 = 1_000_000;

struct SharedClock(Rc<SharedCell<Now>>);

impl Clock for SharedClock {
    fn now(&mut self) -> Now {
        self.0.get()
    }
}

struct Seeds([u8; 32]);

impl Entropy for Seeds {
    fn seed(&mut self) -> [u8; 32] {
        self.0
    }
}

enum Released {
    View(Arc<View>),
    Effects(Epoch, Vec<Effect>),
}

#[derive(Clone, Default)]
struct Tray(Rc<RefCell<VecDeque<Released>>>);

impl Outlet<Observed> for Tray {
    fn publish(&mut self, view: Arc<View>) {
        self.0.borrow_mut().push_back(Released::View(view));
    }

    fn release(&mut self, epoch: Epoch, effects: Vec<Effect>) {
        self.0.borrow_mut().push_back(Released::Effects(epoch, effects));
    }
}

type SimulatedNode = Node<Observed, Disk, SharedClock, Tray>;

struct Simulation {
    world: World,
    disk: Disk,
    watch: Rc<RefCell<Watch>>,
    clock: Rc<SharedCell<Now>>,
    tray: Tray,
    node: Option<SimulatedNode>,
    sender: Sender<Input>,
    settings: Settings,
    node_settings: node::Settings,
    mutation: Option<Mutation>,
    /// When the node wants its next turn, in time of the run.
    wake_ms: Option<u64>,
    /// Number of the present scheduler.
    life: u64,
    /// Monotonic time at the begin of the run, different for each life.
    monotonic_origin_ms: u64,
    view: Arc<View>,
    next_request: u64,
    slow_until_ms: u64,
    sync_planned: u64,
    advances: u64,
    /// The scheduler was told that another one took its place, and said that it stops.
    deposed: bool,
    backups: Backups,
    users: Users,
}

impl Simulation {
    fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let settings = settings(&mut chance);
        let node_settings = node_settings(&mut chance);
        let agent_count = chance.between(1, 5) as usize;
        let grace_ms = settings.master_failover_grace.as_millis() as u64;
        let oracle = Oracle::new(&settings);
        let watch = Rc::new(RefCell::new(Watch::new(oracle, Chance::new(seed ^ 0x5eed), options.verbose)));
        let old_journal = chance.per_mille(120);
        let mut world = World::new(chance, agent_count);
        world.rates = rates(&mut world.chance);
        world.grace_ms = grace_ms;
        let disk = Disk::new(options.mutation);
        if old_journal {
            preload(&mut world, &disk);
        }
        let (sender, _) = inbox(Limits::default(), Arc::new(|| {}));
        let mut simulation = Self {
            world,
            disk,
            watch,
            clock: Rc::default(),
            tray: Tray::default(),
            node: None,
            sender,
            settings,
            node_settings,
            mutation: options.mutation,
            wake_ms: None,
            life: 0,
            monotonic_origin_ms: 0,
            view: Arc::default(),
            next_request: 0,
            slow_until_ms: 0,
            sync_planned: 0,
            advances: 0,
            deposed: false,
            backups: Backups::default(),
            users: Users::new(seed),
        };
        simulation.start();
        simulation.world.schedule.after(10, Happening::Round);
        simulation.world.schedule.after(20, Happening::Trouble);
        simulation.submit(workload::first_quota());
        simulation.world.schedule.after(30, Happening::Command);
        simulation
    }

    /// Commands and faults, until the scheduler has taken that many inputs.
    fn storm(&mut self, inputs: u64) {
        while self.is_sound() && self.watch.borrow().oracle.coverage.inputs < inputs {
            self.advance();
        }
    }

    /// Everything is repaired; then nothing may be left over.
    fn rest(&mut self) {
        if !self.is_sound() {
            return;
        }
        self.world.heal();
        self.disk.set_low(false);
        self.slow_until_ms = 0;
        self.world
            .schedule
            .retain(|happening| !matches!(happening, Happening::Command | Happening::Again(_) | Happening::Trouble));
        self.find_surplus();
        let third_ms = self.settings.transient_task_state_timeout.as_millis() as u64 + 120_000;
        for third in 0..3 {
            if third == 1 {
                self.end_maintenance();
            }
            // A new connection is what makes a scheduler ask about everything.
            self.world.disconnect();
            let until = self.world.schedule.now_ms + third_ms;
            while self.is_sound() && self.world.schedule.now_ms < until {
                self.advance();
            }
            let alive: Vec<TaskId> = self.world.alive().cloned().collect();
            alive.iter().for_each(|task| self.world.tell_truth(task));
        }
        let until = self.world.schedule.now_ms + 30_000;
        while self.is_sound() && self.world.schedule.now_ms < until {
            self.advance();
        }
        if self.is_sound() {
            self.judge_rest();
        }
    }

    /// Agents are back, whatever was said of them in between. What they still run of tasks that were given up is found without a new
    /// connection, and without waiting for the schedule.
    fn find_surplus(&mut self) {
        let wait_ms = self.settings.silent_task_question_delay.as_millis() as u64;
        // The longest wait between two questions, its batches, and the time that a kill takes.
        let patience_ms = 17 * wait_ms + 60_000;
        let began_ms = self.world.wall_ms();
        let until = self.world.schedule.now_ms + patience_ms;
        while self.is_sound() && self.world.schedule.now_ms < until {
            self.advance();
        }
        let given_up = |id: &&TaskId| {
            let task = self.view.tasks.get(*id);
            task.is_some_and(|task| task.status == TaskStatus::Lost && task.last_event_ms() < began_ms)
        };
        let surplus: Vec<TaskId> = self.world.alive().filter(given_up).cloned().collect();
        for id in surplus {
            self.world.violation(format!("{id} was given up, and still runs {patience_ms} ms after its agent is back"));
        }
    }

    /// By now every drain has ended, by the word of its policies or by that of its time-out; hosts are used again.
    fn end_maintenance(&mut self) {
        let draining = |record: &scheduler::view::HostRecord| record.mode == MaintenanceMode::Draining;
        let view = Arc::clone(&self.view);
        for (host, _) in view.hosts.iter().filter(|(_, record)| draining(record)) {
            self.world.violation(format!("{host} is still being drained"));
        }
        let hosts = view.hosts.keys().cloned().collect();
        self.submit(Command::Maintenance(MaintenanceCommand::End { hosts }));
    }

    fn report(self) -> Report {
        let watch = self.watch.borrow();
        let mut coverage = self.world.coverage.clone();
        coverage.add(&watch.oracle.coverage);
        let violations = watch.oracle.violations.iter().chain(&self.world.violations).cloned().collect();
        Report { violations, coverage, trace: watch.trace.finish(), simulated_ms: self.world.schedule.now_ms }
    }

    fn is_sound(&self) -> bool {
        self.world.violations.is_empty() && self.watch.borrow().oracle.violations.is_empty()
    }

    // ---- time ----

    /// The next thing happens.
    fn advance(&mut self) {
        self.advances += 1;
        if self.advances > ADVANCES_MAX {
            let now_ms = self.world.schedule.now_ms;
            self.world.violation(format!("{ADVANCES_MAX} things have happened, and it is only {now_ms} ms"));
            return;
        }
        let next = self.world.schedule.next_ms();
        match self.wake_ms {
            Some(wake) if next.is_none_or(|next| wake < next) => {
                self.world.schedule.now_ms = self.world.schedule.now_ms.max(wake);
                self.wake_ms = None;
            }
            _ => {
                if let Some(happening) = self.world.schedule.pop() {
                    self.happen(happening);
                }
            }
        }
        self.set_clock();
        if let Some(leader) = self.world.take_election() {
            let now_ms = self.world.schedule.now_ms;
            self.watch.borrow_mut().oracle.elected(leader, &self.view, now_ms);
        }
        self.turn();
        if self.deposed {
            // Whoever keeps daemons running starts it again.
            self.crash();
        }
    }

    fn set_clock(&mut self) {
        let now_ms = self.world.schedule.now_ms;
        let wall_ms = self.world.wall_ms();
        self.clock.set(Now { wall_ms, monotonic_ms: self.monotonic_origin_ms + now_ms });
        self.watch.borrow_mut().now_ms = now_ms;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Calls { epoch, calls } => self.world.calls(epoch, calls),
            Happening::Event { connection, event } => {
                if let Some(event) = self.world.arrives(connection, event) {
                    self.send(Lane::Engine, Input::Engine(event));
                }
            }
            Happening::Task { task, step } => self.world.step(&task, step),
            Happening::Round => {
                self.world.round();
                self.world.forget_ended();
                let delay = if self.world.calm { 15_000 } else { self.world.chance.between(500, 3000) };
                self.world.schedule.after(delay, Happening::Round);
            }
            Happening::Truth { task } if self.world.calm && !self.world.connected => {
                self.world.schedule.after(1000, Happening::Truth { task });
            }
            Happening::Truth { task } => self.world.tell_truth(&task),
            Happening::Reconnected => self.world.reconnected(),
            Happening::AgentBack { agent } => self.world.agent_back(agent),
            Happening::AgentKnown { agent, master } => self.world.agent_known(agent, master),
            Happening::Synced { position, life } => {
                if life == self.life {
                    self.disk.sync(position);
                }
            }
            Happening::DiskRoom => self.disk.set_low(false),
            Happening::SnapshotDone { life } => {
                if life == self.life {
                    self.disk.finish_snapshot();
                }
            }
            Happening::Coordinator { question, answer, life } => {
                if life == self.life {
                    self.send(Lane::Engine, Input::CoordinatorAnswer { question, answer });
                }
            }
            Happening::Command => {
                let restore = self.backups.next_command(&self.view, &mut self.world.chance);
                let command = restore.unwrap_or_else(|| workload::next_command(&self.view, &mut self.world.chance));
                self.submit(command);
                let delay = self.world.chance.between(50, 4000);
                self.world.schedule.after(delay, Happening::Command);
            }
            Happening::Again(keyed) => {
                let idempotency = self.users.repeated(&keyed);
                self.submit_once(keyed.command.clone(), Some(idempotency));
                self.maybe_ask_again(*keyed);
            }
            Happening::Trouble => {
                self.trouble();
                let delay = self.world.chance.between(200, 8000);
                self.world.schedule.after(delay, Happening::Trouble);
            }
        }
    }

    fn submit(&mut self, command: Command) {
        let idempotency = self.users.key(&command);
        if let Some(idempotency) = idempotency.clone() {
            self.maybe_ask_again(Keyed { command: command.clone(), idempotency });
        }
        self.submit_once(command, idempotency);
    }

    fn maybe_ask_again(&mut self, keyed: Keyed) {
        if let Some(delay) = self.users.patience_ms() {
            self.world.schedule.after(delay, Happening::Again(Box::new(keyed)));
        }
    }

    fn submit_once(&mut self, command: Command, idempotency: Option<Idempotency>) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.watch.borrow_mut().oracle.open.insert(request, command.clone());
        let principal = Principal::unsecure();
        self.send(Lane::Normal, Input::Command { request, principal, command, idempotency });
    }

    fn send(&self, lane: Lane, input: Input) {
        // A full lane gives the input back; it counts as never sent.
        drop(self.sender.try_send(lane, input));
    }

    // ---- the scheduler ----

    /// A scheduler starts on what the disk has.
    fn start(&mut self) {
        self.life += 1;
        self.deposed = false;
        self.monotonic_origin_ms = self.world.chance.below(1 << 40);
        self.set_clock();
        self.tray.0.borrow_mut().clear();
        let (sender, inbox) = inbox(Limits::default(), Arc::new(|| {}));
        self.sender = sender;
        let parts = Parts {
            core: Observed::new(self.settings.clone(), self.mutation, Rc::clone(&self.watch)),
            storage: self.disk.clone(),
            clock: SharedClock(Rc::clone(&self.clock)),
            outlet: self.tray.clone(),
            inbox,
            settings: self.node_settings,
        };
        let mut seeds = Seeds(self.world.chance.seed());
        match Node::recover(parts, &mut seeds) {
            Ok((node, _)) => self.node = Some(node),
            Err(error) => self.world.violation(format!("the journal cannot be read: {error}")),
        }
        self.wake_ms = None;
        self.sync_planned = self.disk.durable();
        if self.life > 1 && self.disk.has_snapshot() {
            self.world.coverage.fault(Fault::RecoveredFromSnapshot);
        }
        let delay = self.world.chance.between(1, 3000);
        self.world.schedule.after(delay, Happening::Reconnected);
        self.plan_sync();
    }

    /// The scheduler dies at once, and another one starts.
    fn crash(&mut self) {
        self.node = None;
        let wreck = self.disk.crash(&mut self.world.chance);
        let calls_lost = self.world.scheduler_died();
        let fault = match (wreck.groups_lost, wreck.groups_kept) {
            (0, 0) => Fault::CrashIdle,
            (0, _) => Fault::CrashKeepsGroups,
            _ => Fault::CrashLosesGroups,
        };
        self.world.coverage.fault(fault);
        if calls_lost > 0 {
            self.world.coverage.fault(Fault::CrashLosesCalls);
        }
        if wreck.snapshot_lost {
            self.world.coverage.fault(Fault::CrashInSnapshot);
        }
        self.watch.borrow_mut().oracle.died(wreck.end);
        if self.world.chance.per_mille(100) {
            // Nobody started it for a while.
            self.world.coverage.fault(Fault::DownForLong);
            self.watch.borrow_mut().oracle.unprotect();
            self.world.wall_offset_ms += self.world.chance.between(60_000, 600_000) as i64;
        }
        self.start();
    }

    /// Lets the node work until it has nothing left to do.
    fn turn(&mut self) {
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > TURNS_MAX {
                self.world.violation(format!("{TURNS_MAX} turns and no time has passed"));
                return;
            }
            let Some(node) = &mut self.node else { return };
            let turn = node.turn();
            self.drain();
            self.plan_sync();
            match turn {
                Ok(Turn::Again) => {}
                Ok(Turn::WaitUntil(wake)) => {
                    self.wake_ms = wake.map(|wake| wake.saturating_sub(self.monotonic_origin_ms));
                    // One that waits for its disk need not look at the clock.
                    if self.disk.durable() == self.disk.appended() {
                        let (now_ms, wall_ms) = (self.world.schedule.now_ms, self.world.wall_ms());
                        self.watch.borrow_mut().oracle.judge_sleep(now_ms, wall_ms);
                    }
                    break;
                }
                Err(StorageError::EpochEnded { .. }) => {
                    self.world.coverage.fault(Fault::EpochEnded);
                    self.crash();
                    return;
                }
                Err(StorageError::Failed(_)) => {
                    self.world.coverage.fault(Fault::DiskFailed);
                    self.crash();
                    return;
                }
            }
            if !self.is_sound() {
                return;
            }
        }
        if self.disk.is_snapshot_running() && self.world.chance.per_mille(50) {
            let delay = self.world.chance.between(1, 4000);
            self.world.schedule.after(delay, Happening::SnapshotDone { life: self.life });
        }
    }

    /// What was handed to the disk will be on it in a while.
    fn plan_sync(&mut self) {
        let appended = self.disk.appended();
        if appended <= self.sync_planned {
            return;
        }
        self.sync_planned = appended;
        let slow = self.world.schedule.now_ms < self.slow_until_ms;
        let delay = if slow { self.world.chance.between(200, 4000) } else { self.world.chance.between(0, 6) };
        self.world.schedule.after(delay, Happening::Synced { position: appended, life: self.life });
    }

    /// What was released goes where it belongs, and is judged on its way.
    fn drain(&mut self) {
        let early = std::mem::take(&mut self.watch.borrow_mut().early);
        if !early.is_empty() {
            let epoch = self.node.as_ref().map_or(0, |node| node.epoch().0);
            self.release_calls(epoch, early);
        }
        loop {
            let next = self.tray.0.borrow_mut().pop_front();
            match next {
                None => return,
                Some(Released::View(view)) => {
                    if view.position > self.disk.durable() {
                        let text =
                            format!("state {} was shown, and only {} is durable", view.position, self.disk.durable());
                        self.world.violation(text);
                    }
                    self.watch.borrow_mut().oracle.published = view.position;
                    self.view = view;
                }
                Some(Released::Effects(epoch, effects)) => self.release(epoch.0, effects),
            }
        }
    }

    fn release(&mut self, epoch: u64, effects: Vec<Effect>) {
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { request, .. } => self.watch.borrow_mut().oracle.replied(request),
                Effect::Engine(call) => calls.push(call),
                Effect::Stop { .. } => self.deposed = true,
                Effect::AskCoordinator(question) => {
                    if let Some((delay, answer)) = maintenance::answer(&mut self.world.chance) {
                        let (question, life) = (question.id, self.life);
                        self.world.schedule.after(delay, Happening::Coordinator { question, answer, life });
                    }
                }
                Effect::Transition(_) | Effect::Notice(_) => {}
            }
        }
        self.release_calls(epoch, calls);
    }

    fn release_calls(&mut self, epoch: u64, calls: Vec<Call>) {
        for call in &calls {
            self.judge_call(call);
        }
        if !calls.is_empty() {
            self.world.send_calls(epoch, calls);
        }
    }

    /// A call that leaves must agree with what is durable.
    fn judge_call(&mut self, call: &Call) {
        match call {
            Call::Accept { launches, .. } => {
                for launch in launches {
                    self.watch.borrow_mut().oracle.judge_launch(&launch.task_id, &self.view);
                }
            }
            Call::Kill { task_id, .. } => {
                self.watch.borrow_mut().oracle.judge_kill(task_id, &self.view, "killed at the engine");
            }
            Call::Acknowledge { task_id, token, .. } => {
                use TaskStatus::{Assigned, Killing, Preempting, Restarting, Running, Starting};
                let ended = self.world.state_of_token(task_id, token).is_some_and(TaskState::is_terminal);
                if let Some(task) = self.view.tasks.get(task_id)
                    && ended
                    // It is asked about, and the engine's answer says that it is gone.
                    && !self.watch.borrow().oracle.was_brought_back(task_id)
                    && matches!(task.status, Assigned | Starting | Running | Killing | Preempting | Restarting)
                {
                    self.world.violation(format!(
                        "the end of {task_id} is acknowledged, and it is recorded as {}",
                        task.status
                    ));
                }
            }
            _ => {}
        }
    }

    // ---- trouble ----

    fn trouble(&mut self) {
        match self.world.chance.below(100) {
            0..=13 => self.crash(),
            14..=16 => self.disk.fail(Failure::Broken),
            17..=19 => self.disk.fail(Failure::EpochEnded),
            20..=24 => {
                self.world.coverage.fault(Fault::DiskSlow);
                self.slow_until_ms = self.world.schedule.now_ms + self.world.chance.between(500, 15_000);
            }
            25..=29 if !self.disk.is_low() => {
                self.world.coverage.fault(Fault::DiskFull);
                self.disk.set_low(true);
                let delay = self.world.chance.between(2000, 30_000);
                self.world.schedule.after(delay, Happening::DiskRoom);
            }
            30..=34 => self.world.disconnect(),
            35..=44 => self.world.agent_trouble(),
            45..=54 => self.world.rescind(),
            55..=64 => self.world.stray(),
            65..=68 => self.jump_clock(),
            69..=71 => self.world.ask_back(),
            72 if self.world.chance.per_mille(400) => self.world.depose(),
            _ => {
                let tasks: Vec<&TaskId> = self.view.tasks.keys().collect();
                // What comes from an old journal does not last: it goes first; and often what waits out a penalty, which is as rare.
                let find = |status| tasks.iter().find(|task| self.view.tasks[**task].status == status);
                let throttled = find(TaskStatus::Throttled).filter(|_| self.world.chance.per_mille(500));
                let passing = find(TaskStatus::Draining).or(throttled);
                if let Some(task) = passing.or(self.world.chance.pick(&tasks)).map(|task| (*task).clone())
                    && self.world.rates.wrong > 0
                {
                    self.world.wrong_status(task);
                }
            }
        }
    }

    fn jump_clock(&mut self) {
        let by = self.world.chance.between(1000, 3_600_000) as i64;
        let is_ahead = self.world.chance.per_mille(500);
        self.world.coverage.fault(if is_ahead { Fault::ClockAhead } else { Fault::ClockBack });
        self.world.wall_offset_ms += if is_ahead { by } else { -by };
        self.watch.borrow_mut().oracle.clock_was_set(self.world.schedule.now_ms, is_ahead);
    }

    // ---- the end ----

    /// After everything was repaired and some time has passed, the scheduler and the engine must agree on everything.
    fn judge_rest(&mut self) {
        let view = Arc::clone(&self.view);
        let mut wrong = Vec::new();
        for task in view.tasks.values().filter(|task| task.status.is_active()) {
            let state = self.world.state_of(&task.id);
            let agrees = match task.status {
                // Nothing leads back from a RUNNING that was told wrongly.
                TaskStatus::Running if self.world.rates.wrong > 0 => state.is_some(),
                TaskStatus::Running => state == Some(TaskState::Running),
                TaskStatus::Starting => state == Some(TaskState::Starting),
                TaskStatus::Pending | TaskStatus::Throttled => state.is_none(),
                _ => false,
            };
            // What began just now may be on its way.
            let is_fresh = self.world.wall_ms() - task.last_event_ms() < 40_000 || self.world.is_telling(&task.id);
            if !agrees && !is_fresh {
                wrong.push(format!("{} is {}, and at the engine it is {state:?}", task.id, task.status));
            }
        }
        wrong.extend(self.starving(&view));
        wrong.extend(self.stuck_updates(&view));
        for id in self.world.alive() {
            let is_fresh = |task: &Task| self.world.wall_ms() - task.last_event_ms() < 40_000;
            if !view.tasks.get(id).is_some_and(|task| task.status.is_active() || is_fresh(task)) {
                let status = view.tasks.get(id).map(|task| task.status);
                wrong.push(format!("{id} runs at the engine, and is {status:?}"));
            }
        }
        wrong.extend(self.world.unacknowledged(25_000).map(|id| format!("a status of {id} was never acknowledged")));
        for (job, wanted) in &self.watch.borrow().oracle.wanted {
            let Some(wanted) = wanted else { continue };
            let active: std::collections::BTreeSet<_> =
                view.tasks_of(job).filter(|task| task.status.is_active()).map(|task| task.instance).collect();
            if active != *wanted {
                wrong.push(format!("{job} should have the instances {wanted:?} and has {active:?}"));
            }
        }
        let open = self.watch.borrow().oracle.open.len();
        if open > 0 {
            wrong.push(format!("{open} commands were never answered"));
        }
        self.world.violations.extend(wrong);
    }
}

impl Simulation {
    /// Pending tasks that have waited for long, although a machine has room for them.
    fn starving(&self, view: &View) -> Vec<String> {
        let now_ms = self.world.wall_ms();
        let waiting = view.tasks.values().filter(|task| {
            let long = now_ms - task.last_event_ms() > PATIENCE_MS;
            long && task.status == TaskStatus::Pending && task.config.constraints.is_empty()
        });
        waiting
            .filter_map(|task| {
                let name = &task.config.executor_config.as_ref()?.name;
                let need = task.config.resources + *self.settings.admission.executors.get(name)?;
                let host = self.world.host_with_room(&need, PATIENCE_MS as u64)?;
                let reason = view.pending_reasons.get(&task.id).map(|reason| reason.sentence.as_str());
                let text = format!("{} is pending because {reason:?}, and {host} has room for {need:?}", task.id);
                Some(text)
            })
            .collect()
    }

    /// Updates that do not move, although every instance has its place.
    fn stuck_updates(&self, view: &View) -> Vec<String> {
        use model::update::UpdateStatus::{RollingBack, RollingForward};
        let now_ms = self.world.wall_ms();
        let moving = view.updates.values().filter(|update| matches!(update.status(), RollingForward | RollingBack));
        // A run of a batch task that ended is not replaced, and a rollback to it waits: as in Aurora, somebody must abort it.
        let moving = moving.filter(|update| update.initial.iter().all(|entry| entry.task.is_service));
        let still = moving.filter(|update| now_ms - update.last_modified_ms() > PATIENCE_MS);
        let stuck = still.filter(|update| {
            view.tasks_of(&update.key.job)
                .filter(|task| task.status.is_active())
                .all(|task| task.status == TaskStatus::Running && now_ms - task.last_event_ms() > PATIENCE_MS)
        });
        stuck.map(|update| format!("update {} of {} is {}", update.key.id, update.key.job, update.status())).collect()
    }
}

fn preload(world: &mut World, disk: &Disk) {
    world.coverage.fault(Fault::OldJournal);
    let wall_ms = world.wall_ms();
    let mut chance = world.chance.clone();
    let view = workload::old_state(&mut chance, wall_ms, |at| {
        let (id, host) = world.agent(at);
        (id.to_owned(), host.to_owned())
    });
    world.chance = chance;
    disk.preload(Scheduler::records(&view).collect());
    for (number, task) in view.tasks.values().enumerate() {
        if task.agent_id.is_some() && !task.status.is_terminal() && world.chance.per_mille(700) {
            let agent = number % world.agent_count();
            world.adopt(task.id.clone(), agent);
        }
    }
}
