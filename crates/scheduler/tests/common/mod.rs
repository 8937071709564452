//! A scheduler under test with a clock, a hand-driven engine and a model of the journal. After every step the journal's content
//! must equal everything durable of the state, and the invariants of the state must hold.

#![allow(dead_code, missing_docs)] // Each test file uses its part.

pub mod dice;
pub mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::{Call, Event, Launch, Offer, Reason, StatusToken, StatusUpdate, TaskState};
use model::{
    CpuMillis, CronCollisionPolicy, InstanceId, JobConfiguration, JobKey, Ports, Resources, TaskConfig, TaskId,
    TaskStatus,
};
use scheduler::settings::SecondOffer;
use scheduler::{
    Command, CoordinatorQuestion, Effect, Idempotency, Input, Now, Output, Principal, Record, Reply, RequestId,
    Scheduler, Settings, Task, Transition, View,
};

pub type Journal = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

pub fn write(journal: &mut Journal, record: &Record) {
    let key = (record.table, record.key.clone());
    match &record.value {
        Some(value) => drop(journal.insert(key, value.clone())),
        None => drop(journal.remove(&key)),
    }
}

pub struct World {
    pub scheduler: Scheduler,
    pub settings: Settings,
    pub now: Now,
    pub journal: Journal,
    pub calls: Vec<Call>,
    pub transitions: Vec<Transition>,
    pub notices: Vec<String>,
    /// Questions to coordinators that nobody has answered.
    pub questions: Vec<CoordinatorQuestion>,
    /// Why the process was asked to end.
    pub stopped: Option<String>,
    /// Launches by task, and how often each was launched.
    pub launched: BTreeMap<TaskId, (Launch, String)>,
    /// Offers made and neither used, given back nor void.
    pub outstanding: BTreeMap<String, Offer>,
    /// Every configuration ever written, by its number.
    configs: BTreeMap<Vec<u8>, Vec<u8>>,
    next_offer: u64,
    next_request: u64,
}

pub fn settings() -> Settings {
    // Tests set the room of an agent by offering it again.
    let second_offer = SecondOffer::Supersedes;
    let mut settings = Settings {
        second_offer,
        // Tests that are about these say so.
        reconciliation_implicit_interval: None,
        reconciliation_explicit_batch_interval: Duration::ZERO,
        ..Settings::default()
    };
    // So that amounts in tests are what tasks ask for.
    settings.admission.executors.insert(model::task::AURORA_EXECUTOR_NAME.into(), Resources::ZERO);
    settings
}

impl World {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(settings.clone()),
            settings,
            now: Now { wall_ms: 1_600_000_000_000, monotonic_ms: 5_000 },
            journal: Journal::new(),
            calls: Vec::new(),
            transitions: Vec::new(),
            notices: Vec::new(),
            questions: Vec::new(),
            stopped: None,
            launched: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            configs: BTreeMap::new(),
            next_offer: 0,
            next_request: 0,
        };
        world.step(Input::Start { seed: [42; 32], epoch: 1 });
        world.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
        world.calls.clear();
        world
    }

    /// One input, and the rest of its work.
    pub fn step(&mut self, input: Input) -> Option<Reply> {
        match &input {
            Input::Engine(Event::Offers(offers)) => {
                for offer in offers {
                    if self.settings.second_offer == SecondOffer::Supersedes {
                        self.outstanding.retain(|_, held| held.agent_id != offer.agent_id);
                    }
                    self.outstanding.insert(offer.id.clone(), offer.clone());
                }
            }
            Input::Engine(Event::Rescinded(offer)) => drop(self.outstanding.remove(offer)),
            Input::Engine(Event::Registered { .. } | Event::Disconnected) => self.outstanding.clear(),
            Input::Engine(Event::AgentLost(agent)) => self.outstanding.retain(|_, held| held.agent_id != *agent),
            _ => {}
        }
        let mut reply = None;
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let output = self.scheduler.step(self.now, input);
            if output.more {
                next = Some(Input::Resume);
            }
            reply = self.release(output).or(reply);
            self.check();
        }
        reply
    }

    fn release(&mut self, output: Output) -> Option<Reply> {
        for record in &output.records {
            write(&mut self.journal, record);
            if let (scheduler::record::TABLE_CONFIGS, Some(value)) = (record.table, &record.value) {
                let before = self.configs.insert(record.key.clone(), value.clone());
                assert!(before.is_none_or(|before| before == *value), "a number was given to two configurations");
            }
        }
        let mut answer = None;
        for effect in output.effects {
            match effect {
                Effect::Reply { request, reply } => {
                    assert_eq!(request, RequestId(self.next_request), "an answer to another question");
                    answer = Some(reply);
                }
                Effect::Engine(call) => {
                    if let Call::Decline { offers, .. } = &call {
                        offers.iter().for_each(|offer| drop(self.outstanding.remove(offer)));
                    }
                    if let Call::Accept { offers, launches } = &call {
                        assert!(!offers.is_empty() && !launches.is_empty(), "an empty Accept");
                        self.check_accept(offers, launches);
                        for launch in launches {
                            let before =
                                self.launched.insert(launch.task_id.clone(), (launch.clone(), offers[0].clone()));
                            assert!(before.is_none(), "{} was launched twice", launch.task_id);
                        }
                    }
                    self.calls.push(call);
                }
                Effect::Transition(transition) => self.transitions.push(transition),
                Effect::Notice(notice) => self.notices.push(notice),
                Effect::AskCoordinator(question) => self.questions.push(*question),
                Effect::Stop { reason } => self.stopped = Some(reason),
            }
        }
        answer
    }

    /// What is launched must fit into the accepted offers, ports included.
    fn check_accept(&mut self, offers: &[String], launches: &[Launch]) {
        let offers: Vec<Offer> = offers
            .iter()
            .map(|id| self.outstanding.remove(id).unwrap_or_else(|| panic!("offer {id} is void")))
            .collect();
        let agents: BTreeSet<&str> = offers.iter().map(|offer| offer.agent_id.as_str()).collect();
        assert_eq!(agents.len(), 1, "an Accept over several agents");
        let roles: BTreeSet<_> = offers.iter().map(|offer| &offer.role).collect();
        assert_eq!(roles.len(), 1, "an Accept over several roles");
        let mut free = Resources::ZERO;
        let mut revocable_cpu = 0;
        for offer in &offers {
            free += offer.resources;
            revocable_cpu += offer.revocable_cpu.0;
        }
        let mut ports = BTreeSet::new();
        for launch in launches {
            if launch.revocable {
                revocable_cpu -= launch.resources.cpu.0;
                free -= Resources { cpu: CpuMillis(0), ..launch.resources };
            } else {
                free -= launch.resources;
            }
            for port in launch.ports.values() {
                assert!(offers.iter().any(|offer| offer.port_ranges.contains(*port)), "port {port} was not offered");
                assert!(ports.insert(*port), "port {port} is given twice");
            }
            assert_eq!(
                launch.ports.keys().collect::<Vec<_>>(),
                launch.config.requested_ports.iter().collect::<Vec<_>>()
            );
        }
        assert!(free.contains(&Resources::ZERO) && revocable_cpu >= 0, "more launched than offered: {free:?}");
    }

    /// What must hold after every step.
    pub fn check(&self) {
        self.scheduler.verify().unwrap();
        let view = self.scheduler.freeze();
        let mut durable = Journal::new();
        Scheduler::records(&view).for_each(|record| write(&mut durable, &record));
        assert_eq!(durable, self.journal, "the journal does not hold the state");
        let mut active: BTreeSet<(&JobKey, InstanceId)> = BTreeSet::new();
        for task in view.tasks.values() {
            assert_eq!(task.events.last().map(|event| event.status), Some(task.status));
            assert!(task.events.is_sorted_by_key(|event| event.timestamp_ms), "stamps go backwards: {:?}", task.events);
            if task.status.is_active() {
                assert!(
                    active.insert((&task.config.job, task.instance)),
                    "two active tasks of {}/{}",
                    task.config.job,
                    task.instance
                );
            }
            if task.status.is_assigned() {
                assert!(task.agent_id.is_some() && task.host.is_some(), "{} is nowhere", task.id);
                assert!(self.launched.contains_key(&task.id), "{} was never launched", task.id);
            }
            assert_eq!(view.throttled_until_ms.contains_key(&task.id), task.status == TaskStatus::Throttled);
        }
        for id in view.pending_reasons.keys() {
            assert_eq!(view.tasks[id].status, TaskStatus::Pending);
        }
        for group in view.waiting_groups.values() {
            let mut tasks = view.tasks_of(&group.config.job);
            assert!(tasks.any(|task| task.status == TaskStatus::Pending && task.config == group.config));
        }
        for (status, count) in view.count_by_status() {
            assert_eq!(view.counters[format!("task_store_{status}").as_str()], count as i64, "{status}");
        }
        let ids: BTreeSet<&TaskId> = view.tasks_by_job.values().flatten().collect();
        assert_eq!(ids, view.tasks.keys().collect());
    }

    /// A new process: what the journal holds is replayed, time went on by `down_ms`, the monotonic clock begins anew.
    pub fn restart(&mut self, down_ms: i64, epoch: u64) {
        let mut scheduler = Scheduler::new(self.settings.clone());
        for ((table, key), value) in &self.journal {
            let record = Record { table: *table, key: key.clone(), value: Some(value.clone()) };
            scheduler.apply(&record).expect("own records");
        }
        self.scheduler = scheduler;
        self.outstanding.clear();
        self.now = Now { wall_ms: self.now.wall_ms + down_ms, monotonic_ms: 77 };
        self.step(Input::Start { seed: [epoch as u8; 32], epoch });
        self.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
    }

    /// Lets time pass, waking the scheduler whenever it wants to be woken.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic_ms + ms;
        while let Some(wake) = self.scheduler.next_wake().filter(|wake| *wake <= end) {
            let forward = wake.saturating_sub(self.now.monotonic_ms);
            self.advance(forward);
            self.step(Input::Tick);
        }
        let forward = end - self.now.monotonic_ms;
        self.advance(forward);
    }

    pub fn advance(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += ms as i64;
    }

    // ---- users ----

    pub fn command(&mut self, command: Command) -> Reply {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let principal = Principal { name: "jane".into() };
        self.step(Input::command(request, principal, command)).expect("every command is answered")
    }

    /// A command of that user under that key. What is asked is known by its `Debug` form.
    pub fn command_once(&mut self, user: &str, key: &str, command: Command) -> Reply {
        let mut fingerprint = [0; 16];
        for (at, byte) in format!("{command:?}").bytes().enumerate() {
            let slot: &mut u8 = &mut fingerprint[at % 16];
            *slot = slot.wrapping_mul(31).wrapping_add(byte);
        }
        let idempotency = Some(Idempotency { key: key.parse().unwrap(), fingerprint });
        self.next_request += 1;
        let (request, principal) = (RequestId(self.next_request), Principal { name: user.into() });
        let input = Input::Command { request, principal, command, idempotency };
        self.step(input).expect("every command is answered")
    }

    pub fn create(&mut self, task: TaskConfig, instances: i32) -> Reply {
        self.command(Command::CreateJob(Box::new(JobConfiguration {
            key: task.job.clone(),
            owner: None,
            cron_schedule: None,
            cron_collision_policy: CronCollisionPolicy::default(),
            task,
            instance_count: instances,
        })))
    }

    pub fn kill(&mut self, job: &JobKey, instances: &[InstanceId]) -> Reply {
        let instances = instances.iter().copied().collect();
        self.command(Command::KillTasks { job: job.clone(), instances, message: None })
    }

    // ---- the engine ----

    pub fn engine(&mut self, event: Event) {
        self.step(Input::Engine(event));
    }

    pub fn offer(&mut self, agent: &str, resources: Resources) -> String {
        let offer = self.make_offer(agent, resources);
        let id = offer.id.clone();
        self.engine(Event::Offers(vec![offer]));
        id
    }

    pub fn make_offer(&mut self, agent: &str, resources: Resources) -> Offer {
        self.next_offer += 1;
        Offer {
            id: format!("offer-{}", self.next_offer),
            agent_id: agent.into(),
            host: format!("{agent}.example"),
            resources: Resources { ports: 100, ..resources },
            revocable_cpu: CpuMillis(0),
            port_ranges: Ports::from_ranges([(31_000, 31_099)]),
            attributes: BTreeMap::from([("host".into(), vec![agent.to_owned()])]),
            unreserved: Resources::ZERO,
            role: None,
            unavailable_from_ms: None,
        }
    }

    pub fn status(&mut self, id: &TaskId, state: TaskState) {
        self.status_because(id, state, None, None);
    }

    pub fn status_because(&mut self, id: &TaskId, state: TaskState, reason: Option<Reason>, message: Option<&str>) {
        self.engine(Event::Status(StatusUpdate {
            task_id: id.clone(),
            state,
            reason,
            message: message.map(str::to_owned),
            timestamp_ms: None,
            agent_id: None,
            token: Some(StatusToken(vec![1])),
        }));
    }

    // ---- looking ----

    pub fn view(&self) -> View {
        self.scheduler.freeze()
    }

    pub fn task(&self, id: &TaskId) -> Arc<Task> {
        self.view().tasks.get(id).cloned().unwrap_or_else(|| panic!("no task {id}"))
    }

    /// Active tasks of a job by instance.
    pub fn active(&self, job: &JobKey) -> Vec<Arc<Task>> {
        let mut tasks: Vec<_> = self.view().tasks_of(job).filter(|task| task.status.is_active()).cloned().collect();
        tasks.sort_by_key(|task| task.instance);
        tasks
    }

    pub fn active_one(&self, job: &JobKey, instance: InstanceId) -> Arc<Task> {
        self.active(job).into_iter().find(|task| task.instance == instance).expect("an active task")
    }

    pub fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    /// Ids of the tasks that the engine was asked to kill since the last look.
    pub fn take_kills(&mut self) -> Vec<TaskId> {
        let kills = self.take_calls().into_iter().filter_map(|call| match call {
            Call::Kill { task_id, .. } => Some(task_id),
            _ => None,
        });
        kills.collect()
    }

    /// Creates a one-instance job and brings its task to RUNNING on a fresh agent.
    pub fn run_one(&mut self, task: TaskConfig) -> TaskId {
        let job = task.job.clone();
        assert_eq!(self.create(task, 1).code, scheduler::ReplyCode::Ok);
        self.offer("home", room(64.0));
        let id = self.active_one(&job, 0).id.clone();
        self.status(&id, TaskState::Starting);
        self.status(&id, TaskState::Running);
        assert_eq!(self.task(&id).status, TaskStatus::Running);
        id
    }
}

pub fn job(name: &str) -> JobKey {
    JobKey::new("www-data", "devel", name)
}

pub fn batch(name: &str) -> TaskConfig {
    TaskConfig::new(job(name), 1.0, 128, 64, "{}")
}

pub fn service(name: &str) -> TaskConfig {
    TaskConfig { is_service: true, ..batch(name) }
}

/// Room on an agent: that many cores, and much of the rest.
pub fn room(cores: f64) -> Resources {
    Resources { cpu: CpuMillis::from_cores(cores), ram_mb: 65_536, disk_mb: 1_000_000, ports: 0, gpus: 0 }
}
