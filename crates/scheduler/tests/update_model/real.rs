//! The product, driven by hand: a scheduler with a journal in memory, an engine that does as it is told, and comparison with the
//! model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::model::task::SlaPolicy;
use ::model::update::{InstanceRange, UpdateAction, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy};
use ::model::{CpuMillis, JobConfiguration, JobKey, Ports, Resources, TaskConfig, TaskId, TaskStatus, UpdateKey};
use engine::{Event, Offer, StatusToken, StatusUpdate};
use scheduler::command::{Outcome, UpdateControl};
use scheduler::{Command, Effect, Input, Now, Principal, Record, Reply, ReplyCode, RequestId, Scheduler};

use crate::Ending;
use crate::model::{
    Action, Answer, FIRST_WITH_POLICY, Model, POLICY_COUNT, POLICY_DURATION_MS, POLICY_MIN_INSTANCES, SLA_RETRY_MS,
    Settings, Strategy, TaskState,
};

pub struct Real {
    scheduler: Scheduler,
    settings: scheduler::Settings,
    journal: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    now: Now,
    epoch: u64,
    next_offer: u64,
    first_is_batch: bool,
    /// In order of their start.
    pub updates: Vec<UpdateKey>,
    /// An invariant that did not hold.
    broken: Option<String>,
    /// Events and instance events compared so far, by update.
    compared: Vec<(usize, usize)>,
}

fn job() -> JobKey {
    JobKey::new("www-data", "devel", "web")
}

/// Nothing happens but what the sequence says.
fn quiet() -> scheduler::Settings {
    let never = Duration::from_secs(1_000_000_000);
    let mut settings = scheduler::Settings {
        flapping_task_threshold: Duration::ZERO,
        transient_task_state_timeout: never,
        initial_task_kill_retry_interval: never,
        enable_preemptor: false,
        history_prune_threshold: never,
        history_max_per_job_threshold: 1_000,
        job_update_history_pruning_interval: never,
        hold_offers_forever: true,
        sla_aware_kill_retry_min_delay: Duration::from_millis(SLA_RETRY_MS as u64),
        sla_aware_kill_retry_max_delay: Duration::from_millis(SLA_RETRY_MS as u64),
        reconciliation_explicit_interval: None,
        reconciliation_implicit_interval: None,
        ..scheduler::Settings::default()
    };
    settings.admission.sla_aware_kill_non_prod = true;
    settings.admission.min_required_instances_for_sla_check = POLICY_MIN_INSTANCES as i32;
    settings.admission.executors.insert(::model::task::AURORA_EXECUTOR_NAME.into(), Resources::ZERO);
    settings
}

impl Real {
    pub fn new(first_is_batch: bool) -> Self {
        let settings = quiet();
        let mut real = Self {
            scheduler: Scheduler::new(settings.clone()),
            settings,
            journal: BTreeMap::new(),
            now: Now { wall_ms: 1_600_000_000_000, monotonic_ms: 1_000 },
            epoch: 1,
            next_offer: 0,
            first_is_batch,
            updates: Vec::new(),
            broken: None,
            compared: Vec::new(),
        };
        real.begin();
        real
    }

    pub fn now(&self) -> i64 {
        self.now.wall_ms
    }

    fn begin(&mut self) {
        self.step(Input::Start { seed: [self.epoch as u8; 32], epoch: self.epoch });
        self.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
    }

    fn step(&mut self, input: Input) -> Option<Reply> {
        let mut reply = None;
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let output = self.scheduler.step(self.now, input);
            next = output.more.then_some(Input::Resume);
            for record in output.records {
                match record.value {
                    Some(value) => drop(self.journal.insert((record.table, record.key), value)),
                    None => drop(self.journal.remove(&(record.table, record.key))),
                }
            }
            for effect in output.effects {
                if let Effect::Reply { reply: given, .. } = effect {
                    reply = Some(given);
                }
            }
        }
        if cfg!(debug_assertions) {
            self.broken = self.broken.take().or(self.scheduler.verify().err());
        }
        reply
    }

    fn command(&mut self, command: Command) -> Reply {
        let principal = Principal { name: "jane".into() };
        self.step(Input::command(RequestId(1), principal, command)).expect("every command is answered")
    }

    fn config(&self, version: i32) -> TaskConfig {
        let policy = SlaPolicy::Count { count: POLICY_COUNT, duration_secs: POLICY_DURATION_MS / 1000 };
        TaskConfig {
            sla_policy: (version >= FIRST_WITH_POLICY).then_some(policy),
            priority: version,
            is_service: !(self.first_is_batch && version == 0),
            // Out of reach until the engine says otherwise.
            partition_policy: Some(::model::task::PartitionPolicy { reschedule: false, delay_secs: None }),
            ..TaskConfig::new(job(), 1.0, 128, 64, "{}")
        }
    }

    pub fn create_job(&mut self, version: i32, count: u32) {
        let task = self.config(version);
        let reply = self.command(Command::CreateJob(Box::new(JobConfiguration {
            key: job(),
            owner: None,
            cron_schedule: None,
            cron_collision_policy: Default::default(),
            task,
            instance_count: count as i32,
        })));
        assert_eq!(reply.code, ReplyCode::Ok, "{:?}", reply.messages);
    }

    fn active(&self) -> BTreeMap<u32, (TaskId, i32, TaskState)> {
        let view = self.scheduler.freeze();
        let active = view.tasks_of(&job()).filter(|task| task.status.is_active());
        active
            .map(|task| {
                let state = match task.status {
                    TaskStatus::Pending => TaskState::Pending,
                    TaskStatus::Assigned => TaskState::Assigned,
                    TaskStatus::Running => TaskState::Running,
                    TaskStatus::Partitioned => TaskState::Partitioned,
                    TaskStatus::Killing => TaskState::Killing,
                    other => panic!("{other} is not for this test"),
                };
                (task.instance, (task.id.clone(), task.config.priority, state))
            })
            .collect()
    }

    /// Agents with room for everything come and go, so that tasks find a place when the sequence says so and at no other time.
    pub fn offers(&mut self) {
        for _ in 0..16 {
            if self.active().values().all(|(_, _, state)| *state != TaskState::Pending) {
                return;
            }
            self.offer();
        }
    }

    fn offer(&mut self) {
        self.next_offer += 1;
        let id = format!("offer-{}", self.next_offer);
        self.step(Input::Engine(Event::Offers(vec![Offer {
            id: id.clone(),
            agent_id: "agent".into(),
            host: "agent.example".into(),
            resources: Resources { cpu: CpuMillis(1 << 40), ram_mb: 1 << 40, disk_mb: 1 << 40, ports: 0, gpus: 0 },
            revocable_cpu: CpuMillis(0),
            port_ranges: Ports::from_ranges([]),
            attributes: BTreeMap::new(),
            unreserved: Resources::ZERO,
            role: None,
            unavailable_from_ms: None,
        }])));
        self.step(Input::Engine(Event::Rescinded(id)));
    }

    pub fn engine_says(&mut self, instance: u32, state: TaskState, how: Ending) {
        let id = self.active()[&instance].0.clone();
        let state = match (state, how) {
            (TaskState::Running, _) => engine::TaskState::Running,
            (TaskState::Partitioned, _) => engine::TaskState::Unreachable,
            (_, Ending::Finished) => engine::TaskState::Finished,
            (_, Ending::Failed) => engine::TaskState::Failed,
            (_, Ending::Killed) => engine::TaskState::Killed,
            (_, Ending::Lost) => engine::TaskState::Lost,
        };
        self.step(Input::Engine(Event::Status(StatusUpdate {
            task_id: id,
            state,
            reason: None,
            message: None,
            timestamp_ms: None,
            agent_id: None,
            token: Some(StatusToken(vec![1])),
        })));
    }

    pub fn kill_tasks(&mut self, instance: Option<u32>) -> Answer {
        let command = Command::KillTasks { job: job(), instances: instance.into_iter().collect(), message: None };
        answer(&self.command(command))
    }

    pub fn start(&mut self, version: i32, count: u32, settings: &Settings) -> (Answer, Option<UpdateKey>) {
        let strategy = match &settings.strategy {
            Strategy::Queue(size) => UpdateStrategy::Queue { group_size: *size },
            Strategy::Batch(size, pauses) => {
                UpdateStrategy::Batch { group_size: *size, autopause_after_batch: *pauses }
            }
            Strategy::Variable(sizes, pauses) => {
                UpdateStrategy::VariableBatch { group_sizes: sizes.clone(), autopause_after_batch: *pauses }
            }
        };
        let scope = settings.scope.map(|(first, last)| InstanceRange { first, last });
        let request = UpdateRequest {
            task: self.config(version),
            instance_count: count as i32,
            settings: UpdateSettings {
                strategy,
                max_per_instance_failures: settings.max_per_instance_failures,
                max_failed_instances: settings.max_failed_instances,
                min_wait_in_running_ms: settings.min_wait as i32,
                rollback_on_failure: settings.rollback_on_failure,
                only_these_instances: scope.into_iter().collect(),
                block_if_no_pulses_after_ms: (settings.pulse > 0).then_some(settings.pulse as i32),
                sla_aware: settings.sla_aware,
            },
            metadata: BTreeSet::new(),
        };
        let reply = self.command(Command::StartUpdate { request: Box::new(request), message: None });
        let key = match &reply.outcome {
            Outcome::Update(update) => Some(update.key.clone()),
            _ => None,
        };
        (answer(&reply), key)
    }

    pub fn control(&mut self, at: usize, action: Action) -> Answer {
        let action = match action {
            Action::Pause => UpdateControl::Pause,
            Action::Resume => UpdateControl::Resume,
            Action::Abort => UpdateControl::Abort,
            Action::Rollback => UpdateControl::Rollback,
        };
        let key = self.updates[at].clone();
        answer(&self.command(Command::ControlUpdate { key, action, message: None }))
    }

    pub fn pulse(&mut self, at: usize) -> bool {
        let key = self.updates[at].clone();
        matches!(self.command(Command::PulseUpdate { key }).outcome, Outcome::Pulse { active: true })
    }

    pub fn pass(&mut self, ms: i64) {
        let end = self.now.monotonic_ms + ms as u64;
        while let Some(wake) = self.scheduler.next_wake().filter(|wake| *wake <= end) {
            let forward = wake.saturating_sub(self.now.monotonic_ms);
            self.forward(forward);
            self.step(Input::Tick);
        }
        self.forward(end - self.now.monotonic_ms);
    }

    fn forward(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms as i64;
    }

    /// A new process reads the journal; its monotonic clock begins anew.
    pub fn restart(&mut self, down_ms: i64) {
        self.scheduler = Scheduler::new(self.settings.clone());
        for ((table, key), value) in &self.journal {
            let record = Record { table: *table, key: key.clone(), value: Some(value.clone()) };
            self.scheduler.apply(&record).expect("own records");
        }
        self.epoch += 1;
        self.now = Now { wall_ms: self.now.wall_ms + down_ms, monotonic_ms: 7 };
        self.begin();
    }

    pub fn counts_failures(&self) -> bool {
        let view = self.scheduler.freeze();
        view.update_progress.values().flat_map(|progress| progress.values()).any(|known| known.failures > 0)
    }

    /// Tasks, states and events, the events that came since the last look.
    pub fn compare(&mut self, model: &Model) -> Result<(), String> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let active: BTreeMap<u32, (i32, TaskState)> =
            self.active().into_iter().map(|(instance, (_, version, state))| (instance, (version, state))).collect();
        if active != model.active() {
            return Err(format!("tasks are {active:?}, expected {:?}", model.active()));
        }
        if self.now.wall_ms != model.now {
            return Err("the clocks differ: the test is wrong".into());
        }
        let view = self.scheduler.freeze();
        self.compared.resize(self.updates.len(), (0, 0));
        for ((key, expected), (events_seen, instances_seen)) in
            self.updates.iter().zip(&model.updates).zip(&mut self.compared)
        {
            let update = &view.updates[key];
            let events: Vec<(UpdateStatus, i64)> =
                update.events[*events_seen..].iter().map(|event| (event.status, event.timestamp_ms)).collect();
            let wanted: Vec<(UpdateStatus, i64)> =
                expected.events[*events_seen..].iter().map(|(status, at, _)| (*status, *at)).collect();
            if events != wanted {
                return Err(format!("states are {events:?}, expected {wanted:?}"));
            }
            for (event, (_, _, message)) in update.events.iter().zip(&expected.events).skip(*events_seen) {
                if message.is_some() && event.message != *message {
                    return Err(format!("the message is {:?}, expected {message:?}", event.message));
                }
            }
            let instances: Vec<(u32, UpdateAction, i64)> = update.instance_events[*instances_seen..]
                .iter()
                .map(|event| (event.instance, event.action, event.timestamp_ms))
                .collect();
            if instances != expected.instance_events[*instances_seen..] {
                let wanted = &expected.instance_events[*instances_seen..];
                return Err(format!("instance events are {instances:?}, expected {wanted:?}"));
            }
            (*events_seen, *instances_seen) = (update.events.len(), update.instance_events.len());
        }
        if view.updates.len() != model.updates.len() {
            return Err(format!("{} updates are stored, expected {}", view.updates.len(), model.updates.len()));
        }
        Ok(())
    }
}

fn answer(reply: &Reply) -> Answer {
    match reply.code {
        ReplyCode::Ok => Answer::Ok,
        ReplyCode::InvalidRequest => Answer::Invalid,
        ReplyCode::JobUpdatingError => Answer::Updating,
        other => panic!("{other:?}: {:?}", reply.messages),
    }
}
