//! The scheduler in its loop on this journal, over disks that fill up and lose power: what was answered is there once.
//! A failing random case prints its seed; `SEED=n cargo test -p journal` runs it.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use engine::{Call, Event, Offer, StatusToken, StatusUpdate, TaskState};
use journal::Journal;
use model::{
    CpuMillis, CronCollisionPolicy, JobConfiguration, JobKey, Ports, Resources, TaskConfig, TaskId, TaskStatus,
};
use node::inbox::{Lane, Limits, Sender, inbox};
use node::storage::{Epoch, StorageError};
use node::{Clock, Entropy, Node, Now, Outlet, Parts, Settings};
use scheduler::admin::AdminCommand;
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::{Command, Effect, Input, Principal, Reply, ReplyCode, RequestId, Scheduler, View};
use support::{Bell, FaultDisk, Plan, Random, directory, small};

#[derive(Clone, Default)]
struct Hands(Rc<RefCell<u64>>);

impl Clock for Hands {
    fn now(&mut self) -> Now {
        let ms = *self.0.borrow();
        Now { wall_ms: 1_600_000_000_000 + ms as i64, monotonic_ms: ms }
    }
}

struct Seed(Random);

impl Entropy for Seed {
    fn seed(&mut self) -> [u8; 32] {
        [self.0.next() as u8; 32]
    }
}

#[derive(Default)]
struct Released {
    view: Arc<View>,
    replies: BTreeMap<RequestId, Reply>,
    launched: Vec<TaskId>,
    /// Of every launch and answer: was it in the published view already?
    early: Vec<String>,
}

#[derive(Clone, Default)]
struct Witness(Rc<RefCell<Released>>);

impl Outlet<Scheduler> for Witness {
    fn publish(&mut self, view: Arc<View>) {
        self.0.borrow_mut().view = view;
    }

    fn release(&mut self, _: Epoch, effects: Vec<Effect>) {
        let released = &mut *self.0.borrow_mut();
        for effect in effects {
            match effect {
                Effect::Reply { request, reply } => drop(released.replies.insert(request, reply)),
                Effect::Engine(Call::Accept { launches, .. }) => {
                    for launch in launches {
                        if released.view.task(&launch.task_id).is_none() {
                            released.early.push(launch.task_id.to_string());
                        }
                        released.launched.push(launch.task_id);
                    }
                }
                _ => {}
            }
        }
    }
}

/// One life of a scheduler on a disk.
struct Life {
    node: Node<Scheduler, Journal, Hands, Witness>,
    sender: Sender<Input>,
    witness: Witness,
    bell: Bell,
    requests: u64,
}

/// Settings under which tasks take what they ask for.
fn without_overhead() -> scheduler::Settings {
    let mut settings = scheduler::Settings::default();
    settings.admission.executors.insert(model::task::AURORA_EXECUTOR_NAME.into(), Resources::ZERO);
    settings
}

impl Life {
    fn begin(disk: &FaultDisk) -> Result<Life, StorageError> {
        let bell = Bell::default();
        let journal = Journal::open_on(Arc::new(disk.clone()), &directory(), small(), bell.ringer())?;
        let (sender, inbox) = inbox(Limits::default(), Arc::new(|| {}));
        let witness = Witness::default();
        let parts = Parts {
            core: Scheduler::new(without_overhead()),
            storage: journal,
            clock: Hands::default(),
            outlet: witness.clone(),
            inbox,
            settings: Settings { snapshot_bytes: 6000, ..Settings::default() },
        };
        let (node, _) = Node::recover(parts, &mut Seed(Random(5)))?;
        let mut life = Life { node, sender, witness, bell, requests: 0 };
        life.send(Input::Engine(Event::Registered { framework_id: None, master: None }));
        Ok(life)
    }

    fn send(&mut self, input: Input) {
        assert!(self.sender.try_send(Lane::Normal, input).is_ok(), "room in an idle lane");
    }

    /// Sends a command; its reply comes later.
    fn ask(&mut self, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.send(Input::command(request, Principal::unsecure(), command));
        request
    }

    fn reply(&self, request: RequestId) -> Option<Reply> {
        self.witness.0.borrow().replies.get(&request).cloned()
    }

    /// Turns until a reply is there.
    fn answer(&mut self, command: Command) -> Result<Reply, StorageError> {
        let request = self.ask(command);
        loop {
            self.node.turn()?;
            match self.reply(request) {
                Some(reply) => return Ok(reply),
                None => self.bell.wait(),
            }
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.witness.0.borrow().view)
    }

    fn offer(&mut self, number: u64) {
        self.send(Input::Engine(Event::Offers(vec![Offer {
            id: format!("offer-{number}"),
            agent_id: "agent".to_owned(),
            host: "agent.example".to_owned(),
            resources: Resources { cpu: CpuMillis(3_000), ram_mb: 4096, disk_mb: 4096, ports: 100, gpus: 0 },
            revocable_cpu: CpuMillis(0),
            port_ranges: Ports::from_ranges([(31_000, 31_099)]),
            attributes: BTreeMap::from([("host".to_owned(), vec!["agent".to_owned()])]),
            unreserved: Resources::ZERO,
            role: None,
            unavailable_from_ms: None,
        }])));
    }

    fn status(&mut self, task_id: &TaskId, state: TaskState) {
        self.send(Input::Engine(Event::Status(StatusUpdate {
            task_id: task_id.clone(),
            state,
            reason: None,
            message: None,
            timestamp_ms: None,
            agent_id: None,
            token: Some(StatusToken(vec![1])),
        })));
    }
}

fn small_task(job: &str) -> TaskConfig {
    TaskConfig::new(JobKey::new("www-data", "devel", job), 1.0, 128, 128, "{}")
}

fn create(job: &str, instances: i32) -> Command {
    let task = small_task(job);
    Command::CreateJob(Box::new(JobConfiguration {
        key: task.job.clone(),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task,
        instance_count: instances,
    }))
}

fn kill(job: &str) -> Command {
    Command::KillTasks { job: JobKey::new("www-data", "devel", job), instances: Default::default(), message: None }
}

fn statuses(view: &View, job: &str) -> Vec<TaskStatus> {
    view.tasks_of(&JobKey::new("www-data", "devel", job)).map(|task| task.status).collect()
}

fn segments(disk: &FaultDisk) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

#[test]
fn on_a_full_disk_creates_are_refused_kills_and_reads_go_on_and_space_brings_all_back() {
    let disk = FaultDisk::default();
    let mut life = Life::begin(&disk).expect("a new state");
    for job in ["one", "two", "three"] {
        assert_eq!(life.answer(create(job, 1)).expect("works").code, ReplyCode::Ok);
    }
    while segments(&disk).len() < 3 {
        life.bell.wait();
    }
    disk.set_plan(Plan { room_bytes: Some(disk.used_bytes()), ..Plan::default() });
    let mut accepted = 0;
    let refused = loop {
        let reply = life.answer(create(&format!("more-{accepted}"), 1)).expect("no failure");
        if reply.code != ReplyCode::Ok {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 200, "a full disk refuses in the end");
    };
    assert_eq!(refused.code, ReplyCode::ErrorTransient);
    assert!(refused.messages[0].contains("short of room"), "{refused:?}");
    assert_eq!(statuses(&life.view(), &format!("more-{accepted}")), [], "a refusal changes nothing");
    assert_eq!(life.answer(kill("one")).expect("works").code, ReplyCode::Ok);
    assert_eq!(statuses(&life.view(), "two"), [TaskStatus::Pending], "reading works");
    assert!(statuses(&life.view(), "one").iter().all(|status| !status.is_active()), "the kill was carried out");
    disk.set_plan(Plan::default());
    let mut tries = 0;
    while life.answer(create("later", 2)).expect("works").code != ReplyCode::Ok {
        tries += 1;
        assert!(tries < 1000, "space came back unnoticed");
        life.bell.wait();
    }
    let before: Vec<TaskId> = life.view().tasks.keys().cloned().collect();
    life.node.into_storage().close().expect("closes");
    let again = Life::begin(&disk).expect("opens");
    assert_eq!(again.view().tasks.keys().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn whatever_was_answered_or_launched_is_there_after_a_power_loss_anywhere() {
    let one = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let (mut launches, mut answered_lives) = (0, 0);
    for seed in one.map_or(0..40, |seed: u64| seed..seed + 1) {
        let mut random = Random(seed);
        let mut disk = FaultDisk::default();
        let mut created: BTreeMap<String, bool> = BTreeMap::new();
        for life_number in 0..4 {
            disk.set_plan(Plan::default());
            let mut life = Life::begin(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            check_after_start(seed, &life.view(), &created);
            disk.set_plan(Plan { power_off_at: Some(1 + random.below(120)), ..Plan::default() });
            one_life(&mut life, life_number, &mut random, &mut created);
            let released = life.witness.0.borrow();
            assert_eq!(released.early, Vec::<String>::new(), "seed {seed}: launched before it could be read");
            let launched = released.launched.clone();
            launches += launched.len();
            answered_lives += usize::from(!created.is_empty());
            drop(released);
            drop(life);
            disk = if random.below(3) == 0 { disk.after_kill() } else { disk.after_power_loss(&mut random) };
            let copy = disk.copy();
            let after = Life::begin(&copy).unwrap_or_else(|error| panic!("seed {seed}: {error}")).view();
            for task in launched {
                assert!(after.task(&task).is_some(), "seed {seed}: {task} was launched and is unknown");
            }
        }
    }
    assert!(one.is_some() || launches > 100 && answered_lives > 80, "too tame: {launches}, {answered_lives}");
}

/// Creates, kills, offers and statuses by chance, until the power goes or enough was done.
fn one_life(life: &mut Life, life_number: u64, random: &mut Random, created: &mut BTreeMap<String, bool>) {
    let mut asked: Vec<(RequestId, String, bool)> = Vec::new();
    for number in 0..40 {
        match random.below(5) {
            0 | 1 => {
                let name = format!("job-{life_number}-{number}");
                let request = life.ask(create(&name, 1 + random.below(3) as i32));
                asked.push((request, name, true));
            }
            2 if !created.is_empty() => {
                let name = created.keys().nth(random.below(created.len() as u64) as usize).expect("in range").clone();
                let request = life.ask(kill(&name));
                asked.push((request, name, false));
            }
            3 => life.offer(life_number * 1000 + number),
            _ => {
                let launched = life.witness.0.borrow().launched.clone();
                if let Some(task) = launched.last() {
                    life.status(task, TaskState::Running);
                }
            }
        }
        let mut down = false;
        for _ in 0..1 + random.below(4) {
            down |= life.node.turn().is_err();
            life.bell.wait();
        }
        asked.retain(|(request, name, is_create)| match life.reply(*request) {
            Some(reply) if reply.code == ReplyCode::Ok => {
                created.insert(name.clone(), *is_create);
                false
            }
            Some(_) => false,
            None => true,
        });
        if down {
            break;
        }
    }
    // What was asked and not answered may have happened or not: it is no longer spoken of.
    for (_, name, _) in asked {
        created.remove(&name);
    }
}

/// Every job whose creation was answered is there; every job whose kill was answered has nothing active that is not dying.
fn check_after_start(seed: u64, view: &View, created: &BTreeMap<String, bool>) {
    for (name, is_alive) in created {
        let statuses = statuses(view, name);
        if *is_alive {
            assert!(!statuses.is_empty(), "seed {seed}: {name} was created and is gone");
        } else {
            let dying = |status: &TaskStatus| !status.is_active() || *status == TaskStatus::Killing;
            assert!(statuses.iter().all(dying), "seed {seed}: {name} was killed and is {statuses:?}");
        }
    }
}

fn staged(view: &View) -> Staged {
    let mut staging = Staging::default();
    Scheduler::records(view).for_each(|record| staging.apply(&record).expect("own records"));
    staging.finish().expect("a whole state")
}

/// Jobs by the number of their active tasks, and quotas: what tells the state before a restoration from the one after it.
fn outline(view: &View) -> (BTreeMap<String, usize>, Vec<String>) {
    let mut jobs = BTreeMap::new();
    for task in view.tasks.values().filter(|task| task.status.is_active()) {
        *jobs.entry(task.config.job.to_string()).or_default() += 1;
    }
    (jobs, view.quotas.keys().cloned().collect())
}

#[test]
fn a_restoration_that_the_power_interrupts_at_any_step_happened_as_a_whole_or_not_at_all() {
    let disk = FaultDisk::default();
    let mut life = Life::begin(&disk).expect("a new state");
    let quota = |role: &str| Command::SetQuota { role: role.into(), quota: Resources::ZERO };
    for job in ["one", "two", "three"] {
        assert_eq!(life.answer(create(job, 40)).expect("works").code, ReplyCode::Ok);
    }
    life.answer(quota("early")).expect("works");
    let staged = staged(&life.view());
    let wanted = outline(&life.view());
    life.answer(kill("one")).expect("works");
    life.answer(create("four", 40)).expect("works");
    life.answer(quota("late")).expect("works");
    let before = outline(&life.view());
    assert_ne!(before, wanted);
    life.node.into_storage().close().expect("closes");
    let (mut old, mut new, mut answered) = (0, 0, 0);
    for power_off_at in 1..200 {
        let copy = disk.copy();
        let mut life = Life::begin(&copy).expect("opens");
        life.answer(kill("nothing")).expect("works");
        copy.set_plan(Plan { power_off_at: Some(power_off_at), ..Plan::default() });
        let restore = AdminCommand::Restore { staged: staged.clone(), later: LaterTasks::Kill };
        let reply = life.answer(Command::Admin(restore));
        drop(life);
        let after = copy.after_power_loss(&mut Random(power_off_at));
        let found = outline(&Life::begin(&after).expect("opens").view());
        match &reply {
            Ok(reply) => {
                assert_eq!(reply.code, ReplyCode::Ok, "{:?}", reply.messages);
                assert_eq!(found, wanted, "power off at {power_off_at}: what was answered is gone");
                answered += 1;
            }
            Err(_) => assert!(found == wanted || found == before, "power off at {power_off_at}: {found:?}"),
        }
        old += usize::from(found == before);
        new += usize::from(found == wanted);
        if answered > 2 {
            break;
        }
    }
    assert!(old > 0 && new > 0 && answered > 2, "too tame: {old} old, {new} new, {answered} answered");
}
