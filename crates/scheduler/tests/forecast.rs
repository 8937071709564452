//! A forecast says what then happens: the same refusals word for word, the same number of tasks placed. It changes nothing.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use engine::{Event, TaskState};
use model::constraint::Constraint;
use model::update::{UpdateRequest, UpdateSettings, UpdateStrategy};
use model::{
    CpuMillis, CronCollisionPolicy, Host, JobConfiguration, ResourceType, Resources, TaskConfig, TaskConstraint,
    TaskStatus,
};
use scheduler::forecast::{Forecast, PlacementForecast, Shortfall, forecast, waiting};
use scheduler::{Command, MaintenanceCommand, Principal, ReplyCode, Settings};

fn limit(name: &str, limit: i32) -> Constraint {
    Constraint { name: name.into(), constraint: TaskConstraint::Limit { limit } }
}

fn value(name: &str, value: &str) -> Constraint {
    let values = BTreeSet::from([value.to_owned()]);
    Constraint { name: name.into(), constraint: TaskConstraint::Value { negated: false, values } }
}

fn creation(task: TaskConfig, instance_count: i32) -> Command {
    Command::CreateJob(Box::new(JobConfiguration {
        key: task.job.clone(),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task,
        instance_count,
    }))
}

fn scheduling(task: TaskConfig, instance_count: i32, schedule: &str) -> Command {
    let Command::CreateJob(mut job) = creation(task, instance_count) else { unreachable!("made above") };
    job.cron_schedule = Some(schedule.into());
    Command::ScheduleCronJob(job)
}

fn update(task: TaskConfig, instance_count: i32) -> Command {
    let settings = UpdateSettings::default();
    let request = UpdateRequest { task, instance_count, settings, metadata: Default::default() };
    Command::StartUpdate { request: Box::new(request), message: None }
}

fn ask(world: &World, command: &Command) -> Forecast {
    let before = format!("{:?}", world.view());
    let principal = Principal { name: "jane".into() };
    let forecast = forecast(&world.view(), world.now.wall_ms, &principal, command).expect("it is forecast");
    assert_eq!(before, format!("{:?}", world.view()), "a question changed something");
    forecast
}

fn placement(world: &World, command: &Command) -> PlacementForecast {
    ask(world, command).placement.expect("tasks would be created")
}

fn placed(world: &World, name: &str) -> u32 {
    world.active(&job(name)).iter().filter(|task| task.status.is_assigned()).count() as u32
}

fn offer_with(world: &mut World, agent: &str, resources: Resources, rack: &str) {
    let mut offer = world.make_offer(agent, resources);
    offer.attributes.insert("rack".into(), vec![rack.to_owned()]);
    world.engine(Event::Offers(vec![offer]));
}

/// A generator without surprises.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Random clusters and jobs: as many tasks are placed at once as was said, on hosts that were named as often.
#[test]
fn as_many_tasks_are_placed_as_was_forecast() {
    let (mut some_fit, mut some_wait) = (0, 0);
    for seed in 0..60 {
        let mut numbers = Numbers(seed);
        let mut world = World::new();
        let mut racks = Vec::new();
        for agent in 0..1 + numbers.below(6) {
            let resources = Resources {
                cpu: CpuMillis(numbers.below(6000) as i64),
                ram_mb: numbers.below(1500) as i64 + 1,
                ..room(0.0)
            };
            let (agent, rack) = (format!("a{agent}"), format!("r{}", numbers.below(3)));
            offer_with(&mut world, &agent, resources, &rack);
            racks.push((agent, rack));
        }
        for (round, name) in ["one", "two", "three"].into_iter().enumerate() {
            let cores = (numbers.below(20) + 1) as f64 / 10.0;
            let mut task = TaskConfig::new(job(name), cores, numbers.below(400) as i64 + 1, 1, "{}");
            match numbers.below(4) {
                0 => drop(task.constraints.insert(limit("rack", 1 + numbers.below(3) as i32))),
                1 => drop(task.constraints.insert(value("rack", "r1"))),
                _ => {}
            }
            let count = 1 + numbers.below(12) as i32;
            let said = placement(&world, &creation(task.clone(), count));
            assert_eq!(world.create(task, count).code, ReplyCode::Ok);
            let came = placed(&world, name);
            assert_eq!(said.fitting, came, "seed {seed}, round {round}: {said:?}");
            assert_eq!(said.hosts.values().sum::<u32>(), came);
            assert_eq!(said.obstacles.is_some(), came < count as u32);
            some_fit += came;
            some_wait += count as u32 - came;
            if let Some(pending) = world.active(&job(name)).iter().find(|task| task.status == TaskStatus::Pending) {
                let now = waiting(&world.view(), world.now.wall_ms, pending).expect("it is pending");
                let said = said.obstacles.expect("not all fit");
                assert_eq!(now.obstacles.nearest_fit, said.nearest_fit, "seed {seed}, round {round}");
                assert_eq!(now.obstacles.sentence, now.reason.expect("a reason is known").sentence);
                assert_eq!((now.fitting_hosts, now.alike), (0, count as u32 - came));
            }
            // What is left of an agent is offered anew, as engines do.
            for (agent, rack) in &racks {
                let left = world.view().agents[agent].free;
                offer_with(&mut world, agent, left, rack);
            }
        }
    }
    assert!(some_fit > 100 && some_wait > 100, "{some_fit} fit, {some_wait} wait: nothing was compared");
}

/// Agents of random size, each in a rack, for as long as a test.
struct Cluster {
    world: World,
    numbers: Numbers,
    agents: Vec<(String, String, Resources)>,
}

impl Cluster {
    fn new(seed: u64, settings: Settings) -> Self {
        let mut numbers = Numbers(seed);
        let agents = (0..1 + numbers.below(6)).map(|agent| {
            let cpu = CpuMillis(500 + numbers.below(6000) as i64);
            let size = Resources { cpu, ram_mb: numbers.below(1500) as i64 + 200, ..room(0.0) };
            (format!("a{agent}"), format!("r{}", numbers.below(3)), size)
        });
        let agents = agents.collect();
        let mut cluster = Self { world: World::with(settings), numbers, agents };
        cluster.offer();
        cluster
    }

    /// Each agent offers what its tasks leave of it.
    fn offer(&mut self) {
        for (agent, rack, size) in self.agents.clone() {
            let view = self.world.view();
            let here = view.tasks.values().filter(|task| task.status.is_assigned());
            let held = here.filter(|task| task.agent_id.as_deref() == Some(&*agent)).map(|task| task.config.resources);
            let left = held.fold(size, |left, held| left - held);
            offer_with(&mut self.world, &agent, left, &rack);
        }
    }

    fn task(&mut self, name: &str, versions: i32) -> TaskConfig {
        let cores = (self.numbers.below(20) + 1) as f64 / 10.0;
        let mut task = TaskConfig::new(job(name), cores, self.numbers.below(400) as i64 + 1, 1, "{}");
        (task.is_service, task.priority) = (true, versions);
        match self.numbers.below(4) {
            0 => drop(task.constraints.insert(limit("rack", 1 + self.numbers.below(3) as i32))),
            1 => drop(task.constraints.insert(value("rack", "r1"))),
            _ => {}
        }
        task
    }

    /// A job with as many instances as find room, of those that are wished for.
    fn fill(&mut self, task: &TaskConfig, wish: u64) -> u32 {
        let fitting = placement(&self.world, &creation(task.clone(), wish as i32)).fitting;
        if fitting > 0 {
            assert_eq!(self.world.create(task.clone(), fitting as i32).code, ReplyCode::Ok);
        }
        self.offer();
        fitting
    }

    /// Everybody does what he is asked for.
    fn settle(&mut self) {
        for _ in 0..4 {
            for task in self.world.active(&job("web")) {
                match task.status {
                    TaskStatus::Assigned => self.world.status(&task.id, TaskState::Running),
                    TaskStatus::Killing => self.world.status(&task.id, TaskState::Killed),
                    _ => {}
                }
            }
            self.offer();
        }
    }

    /// How many tasks of a version are on each host.
    fn hosts(&self, version: i32) -> BTreeMap<Host, u32> {
        let mut hosts = BTreeMap::new();
        let placed = self.world.active(&job("web")).into_iter().filter(|task| task.status == TaskStatus::Running);
        for task in placed.filter(|task| task.config.priority == version) {
            *hosts.entry(task.host.as_deref().cloned().expect("it is placed")).or_default() += 1;
        }
        hosts
    }
}

/// Random clusters, and updates that take all instances at once: as many tasks are placed as was said, whether agents are kept for
/// the instances that change or not; and where they are, what goes back is where it was said to be.
#[test]
fn as_many_tasks_of_an_update_are_placed_as_was_forecast() {
    let (mut went_back, mut moved, mut waited) = (0, 0, 0);
    for seed in 0..200 {
        let is_affine = seed % 2 == 0;
        let flapping_task_threshold = std::time::Duration::ZERO;
        let settings = Settings { enable_update_affinity: is_affine, flapping_task_threshold, ..settings() };
        let mut cluster = Cluster::new(seed, settings);
        let (other, old, mut new) = (cluster.task("other", 1), cluster.task("web", 1), cluster.task("web", 2));
        let (others, wish) = (cluster.numbers.below(4), 1 + cluster.numbers.below(12));
        cluster.fill(&other, others);
        let count = cluster.fill(&old, wish) as i32;
        if count == 0 {
            continue;
        }
        cluster.settle();
        if cluster.numbers.below(3) > 0 {
            // No more of anything, and the same wishes.
            let half = Resources { cpu: CpuMillis(old.resources.cpu.0 / 2), ..old.resources };
            let resources = if cluster.numbers.below(2) == 0 { half } else { old.resources };
            new = TaskConfig { priority: 2, resources, ..old.clone() };
        }
        let count_after = (count + cluster.numbers.below(5) as i32 - 2).max(1);
        let strategy = UpdateStrategy::Batch { group_size: 100, autopause_after_batch: false };
        let settings = UpdateSettings { strategy, min_wait_in_running_ms: 10_000_000, ..UpdateSettings::default() };
        let request =
            UpdateRequest { task: new.clone(), instance_count: count_after, settings, metadata: Default::default() };
        let command = Command::StartUpdate { request: Box::new(request), message: None };
        let said = placement(&cluster.world, &command);
        let before = cluster.hosts(1);
        assert_eq!(cluster.world.command(command).code, ReplyCode::Ok);
        cluster.settle();
        // Nobody waits for an agent for longer than that.
        cluster.world.pass(200_000);
        cluster.settle();
        let came = cluster.hosts(2);
        assert_eq!(said.fitting, came.values().sum::<u32>(), "seed {seed}: {said:?}, {came:?}");
        let goes_back = is_affine && new.constraints == old.constraints && old.resources.contains(&new.resources);
        if goes_back && count_after == count {
            assert_eq!((&said.hosts, &came), (&before, &before), "seed {seed}");
            went_back += count;
        } else if before != came {
            moved += 1;
        }
        waited += said.wanted - said.fitting;
    }
    assert!(went_back > 50 && moved > 20 && waited > 50, "{went_back} went back, {moved} moved, {waited} wait");
}

/// What is added beside instances that change may not take the room on their agents that is left until they are back there.
#[test]
fn agents_are_kept_for_instances_that_change_and_for_nobody_else_meanwhile() {
    let settings = Settings { enable_update_affinity: true, ..settings() };
    let mut world = World::with(settings);
    world.offer("a", room(2.0));
    world.create(TaskConfig { priority: 1, ..service("web") }, 1);
    let id = world.active_one(&job("web"), 0).id.clone();
    world.status(&id, TaskState::Running);
    world.offer("a", room(1.0));
    world.offer("z", room(1.0));
    let strategy = UpdateStrategy::Batch { group_size: 2, autopause_after_batch: false };
    let new = |cores: f64| {
        let mut task = TaskConfig { priority: 2, ..service("web") };
        task.resources.cpu = CpuMillis::from_cores(cores);
        let settings = UpdateSettings { strategy: strategy.clone(), ..UpdateSettings::default() };
        let request = UpdateRequest { task, instance_count: 2, settings, metadata: Default::default() };
        Command::StartUpdate { request: Box::new(request), message: None }
    };
    let hosts = |said: PlacementForecast| said.hosts.into_iter().collect::<Vec<_>>();
    let (a, z): (Host, Host) = ("a.example".into(), "z.example".into());
    assert_eq!(hosts(placement(&world, &new(1.0))), [(a.clone(), 1), (z.clone(), 1)]);
    // One that needs more than before finds its agent kept for nobody.
    assert_eq!(hosts(placement(&world, &new(1.1))), [(a.clone(), 1)]);
    assert_eq!(world.command(new(1.0)).code, ReplyCode::Ok);
    world.status(&id, TaskState::Killed);
    world.offer("a", room(2.0));
    let came: Vec<_> = world.active(&job("web")).iter().map(|task| task.host.as_deref().cloned()).collect();
    assert_eq!(came, [Some(a), Some(z)]);
}

/// Where a limit stood in the way, a task that leaves one agent makes room on the others of its rack.
#[test]
fn what_leaves_a_rack_makes_room_on_all_its_agents() {
    let mut world = World::new();
    let config = |cores: f64, priority: i32| {
        let mut task = TaskConfig { priority, ..service("web") };
        task.resources.cpu = CpuMillis::from_cores(cores);
        task.constraints.insert(limit("rack", 1));
        task
    };
    offer_with(&mut world, "a", room(1.0), "r1");
    world.create(config(1.0, 1), 1);
    offer_with(&mut world, "b", room(2.0), "r1");
    let strategy = UpdateStrategy::Batch { group_size: 2, autopause_after_batch: false };
    let settings = UpdateSettings { strategy, ..UpdateSettings::default() };
    let request = UpdateRequest { task: config(1.5, 2), instance_count: 2, settings, metadata: Default::default() };
    let said = placement(&world, &Command::StartUpdate { request: Box::new(request), message: None });
    assert_eq!(said.hosts.into_iter().collect::<Vec<_>>(), [("b.example".into(), 1)]);
}

/// Every refusal of the table comes word for word from the command itself.
#[test]
fn what_would_be_refused_is_refused_in_the_same_words() {
    let mut world = World::new();
    world.offer("a", room(64.0));
    world.create(batch("batch"), 1);
    world.create(service("web"), 2);
    world.create(service("moving"), 2);
    assert_eq!(world.command(scheduling(batch("nightly"), 1, "0 0 * * *")).code, ReplyCode::Ok);
    let moved = TaskConfig { priority: 1, ..service("moving") };
    assert_eq!(world.command(update(moved.clone(), 2)).code, ReplyCode::Ok);
    let production = |name: &str| TaskConfig { tier: Some("preferred".into()), ..service(name) };
    let too_small = |mut task: TaskConfig| {
        task.resources.cpu.0 = 0;
        task
    };
    let commands = [
        creation(batch("batch"), 1),
        creation(batch("nightly"), 1),
        creation(batch("new"), 0),
        creation(batch("new"), 4001),
        creation(too_small(batch("new")), 1),
        creation(TaskConfig { tier: Some("gold".into()), ..batch("new") }, 1),
        creation(production("new"), 3),
        creation(moved.clone(), 1),
        update(batch("batch"), 1),
        update(service("nightly"), 1),
        update(TaskConfig { priority: 2, ..moved.clone() }, 2),
        update(production("web"), 2),
        update(service("web"), 0),
        update(too_small(service("web")), 2),
        scheduling(batch("batch"), 1, "0 0 * * *"),
        scheduling(batch("weekly"), 1, "every week"),
        scheduling(TaskConfig { tier: Some("preferred".into()), ..batch("weekly") }, 1, "0 0 * * 0"),
        scheduling(service("weekly"), 1, "0 0 * * 0"),
    ];
    for command in commands {
        let said = ask(&world, &command).refusal.unwrap_or_else(|| panic!("not refused: {command:?}"));
        assert_eq!(said, world.command(command));
    }
    // What is not refused is not forecast to be.
    for command in [creation(batch("new"), 1), update(TaskConfig { priority: 1, ..service("web") }, 3)] {
        assert_eq!(ask(&world, &command).refusal, None);
        assert_eq!(world.command(command).code, ReplyCode::Ok);
    }
    assert_eq!(ask(&world, &update(service("new-by-update"), 1)).refusal, None);
}

#[test]
fn quota_is_told_with_what_is_held_and_what_would_be() {
    let mut world = World::new();
    let quota = Resources { cpu: CpuMillis(2500), ram_mb: 1000, disk_mb: 1000, ..Resources::ZERO };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    let production = |name: &str| TaskConfig { tier: Some("preferred".into()), ..service(name) };
    assert_eq!(world.create(production("web"), 1).code, ReplyCode::Ok);
    let said = ask(&world, &creation(production("new"), 2));
    let refusal = said.refusal.expect("three cores are more than two and a half");
    assert!(refusal.messages[0].contains("CPU quota exceeded by 0.50 core(s)"), "{refusal:?}");
    let told = said.quota.expect("quota is told");
    assert!(told.is_needed);
    assert_eq!((told.quota.cpu.0, told.held.cpu.0, told.needed.cpu.0), (2500, 1000, 3000));
    let told = ask(&world, &creation(batch("free"), 200)).quota.expect("quota is told");
    assert!(!told.is_needed);
    let same = ask(&world, &update(production("web"), 1));
    assert!(same.refusal.is_none() && same.update.is_none(), "nothing to do");
}

/// Each instance that changes gives back its own room, so that a full cluster can be updated, but not grown.
#[test]
fn an_update_finds_the_room_its_own_instances_give_back() {
    let mut world = World::new();
    world.offer("a", room(2.0));
    world.create(service("web"), 2);
    let same_size = TaskConfig { priority: 1, ..service("web") };
    let said = placement(&world, &update(same_size.clone(), 2));
    assert_eq!((said.wanted, said.fitting), (2, 2));
    let said = placement(&world, &update(same_size, 3));
    assert_eq!((said.wanted, said.fitting), (3, 2));
    let mut larger = service("web");
    larger.resources.cpu = CpuMillis(1500);
    let said = placement(&world, &update(larger, 2));
    assert_eq!((said.wanted, said.fitting), (2, 1), "of two cores one task of one and a half");
    let obstacles = said.obstacles.expect("one waits");
    let lacks = vec![Shortfall { kind: ResourceType::Cpus, needed: 1500, free: 500 }];
    assert_eq!(obstacles.nearest.expect("an agent is near").lacks, lacks);
}

#[test]
fn agents_are_counted_by_what_makes_them_refuse() {
    let mut world = World::new();
    offer_with(&mut world, "small", room(0.5), "r1");
    offer_with(&mut world, "elsewhere", room(8.0), "r2");
    offer_with(&mut world, "leaving", room(8.0), "r1");
    let hosts = vec!["leaving.example".to_owned()];
    world.command(Command::Maintenance(MaintenanceCommand::Drain { hosts }));
    let mut task = batch("picky");
    task.constraints.insert(value("rack", "r1"));
    let said = placement(&world, &creation(task.clone(), 1)).obstacles.expect("it does not fit");
    let reasons: Vec<(Vec<String>, u32, Vec<String>)> =
        said.reasons.iter().map(|reason| (reason.texts.clone(), reason.agents, reason.hosts.clone())).collect();
    let reason = |text: &str, host: &str| (vec![text.to_owned()], 1, vec![host.to_owned()]);
    assert_eq!(
        reasons,
        [
            reason("Constraint not satisfied: rack", "elsewhere.example"),
            reason("Host drained for maintenance", "leaving.example"),
            reason("Insufficient: CPU", "small.example"),
        ]
    );
    assert_eq!(said.constraints[0].wanted, "r1");
    assert_eq!(said.constraints[0].seen, [("r1".to_owned(), 2), ("r2".to_owned(), 1)].into());
    // The same once it waits.
    world.create(task, 1);
    let pending = world.active_one(&job("picky"), 0);
    let now = waiting(&world.view(), world.now.wall_ms, &pending).expect("it is pending");
    assert_eq!(now.obstacles.reasons, said.reasons);
    let next_ms = now.next_try_ms.expect("it waits for its turn");
    assert!(next_ms > world.now.wall_ms && next_ms <= world.now.wall_ms + 60_000, "{next_ms}");
    world.offer("large", room(1.0));
    assert_eq!(world.view().waiting_groups.len(), 1, "the new agent is in no rack");
    offer_with(&mut world, "right", room(1.0), "r1");
    assert_eq!(placed(&world, "picky"), 1);
    assert!(world.view().waiting_groups.is_empty());
    assert_eq!(waiting(&world.view(), world.now.wall_ms, &world.active_one(&job("picky"), 0)), None);
}

#[test]
fn tasks_that_would_have_to_go_are_named() {
    let mut world = World::new();
    let quota = Resources { cpu: CpuMillis(64_000), ram_mb: 100_000, disk_mb: 100_000, ..Resources::ZERO };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    world.offer("a", room(2.0));
    world.create(service("cheap"), 2);
    let first = creation(TaskConfig { tier: Some("preferred".into()), ..service("dear") }, 1);
    let help = placement(&world, &first).obstacles.expect("the agent is full").preemption;
    assert!(help.is_enabled && help.was_looked_at);
    assert_eq!((help.host.as_deref(), help.victims.len()), (Some("a.example"), 1));
    assert_eq!(world.task(&help.victims[0]).config.job, job("cheap"));
    let second = creation(service("as-cheap"), 1);
    let help = placement(&world, &second).obstacles.expect("the agent is full").preemption;
    assert_eq!((help.host, help.victims.len()), (None, 0));
}

#[test]
fn without_agents_or_engine_that_is_what_is_said() {
    let mut world = World::new();
    let said = placement(&world, &creation(batch("new"), 2));
    assert_eq!((said.fitting, said.is_connected, said.is_complete), (0, true, true));
    assert_eq!(said.obstacles.expect("nothing fits").sentence, "no machine is connected");
    world.engine(Event::Disconnected);
    assert!(!placement(&world, &creation(batch("new"), 2)).is_connected);
    let principal = Principal { name: "jane".into() };
    let kill = Command::DescheduleCronJob { job: job("new") };
    assert!(forecast(&world.view(), world.now.wall_ms, &principal, &kill).is_none());
}

/// What an update that is refused for want of quota would need is told with what there is.
#[test]
fn a_refused_update_is_told_with_the_quota_it_lacks() {
    let mut world = World::new();
    world.offer("a", room(64.0));
    world.create(service("web"), 2);
    let said = ask(&world, &update(TaskConfig { tier: Some("preferred".into()), ..service("web") }, 3));
    assert!(said.refusal.is_some_and(|refusal| refusal.messages[0].contains("CPU quota exceeded by 3.00")));
    let told = said.quota.expect("quota is told");
    assert_eq!((told.is_needed, told.quota.cpu.0, told.held.cpu.0, told.needed.cpu.0), (true, 0, 0, 3000));
    assert_eq!(said.placement.map(|placement| placement.fitting), Some(3));
}
