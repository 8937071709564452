//! What is promised where there is never enough room: drains beside an update beside lost hosts take no more than may go, and preemption
//! has no cycles, comes to rest, and exceeds no quota.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::dice::Dice;
use common::updates::*;
use common::*;
use engine::{Event, TaskState};
use model::task::SlaPolicy;
use model::update::{InstanceConfig, InstanceRange, UpdateSettings, UpdateStrategy, from_ranges};
use model::{Constraint, CpuMillis, InstanceId, JobKey, Resources, TaskConfig, TaskConstraint, TaskId, TaskStatus};
use scheduler::{Command, Input, MaintenanceCommand, ReplyCode, Settings, View};

// ---- drains ----

/// What is done to the job of six instances on four hosts.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Drain(&'static str),
    Update,
    Lose(&'static str),
    Restart,
}

/// A job that must not lose too many instances, and all that happens to it.
struct Siege {
    world: World,
    dice: Dice,
    seed: u64,
    policy: SlaPolicy,
    /// As many instances are up, as far as it is the scheduler's choice.
    promised: usize,
    blows: Vec<Blow>,
    lost: BTreeSet<&'static str>,
}

fn versioned(policy: &SlaPolicy, number: i32) -> TaskConfig {
    TaskConfig { sla_policy: Some(policy.clone()), ..version(number) }
}

impl Siege {
    fn new(seed: u64) -> Self {
        let (policy, promised) = if seed.is_multiple_of(2) {
            (SlaPolicy::Count { count: 4, duration_secs: 0 }, 4)
        } else {
            (SlaPolicy::Percentage { percentage_bits: 80.0_f64.to_bits(), duration_secs: 0 }, 5)
        };
        let mut core = Settings {
            sla_aware_kill_retry_min_delay: Duration::from_secs(5),
            flapping_task_threshold: Duration::ZERO,
            host_maintenance_polling_interval: Duration::from_secs(7),
            ..settings()
        };
        core.admission.sla_aware_kill_non_prod = true;
        core.admission.min_required_instances_for_sla_check = 1;
        let mut world = World::with(core);
        world.create(versioned(&policy, 1), 6);
        for agent in ["a", "b", "c", "d"] {
            world.offer(agent, room(if agent < "c" { 2.0 } else { 1.0 }));
        }
        for task in world.active(&job("web")) {
            world.status(&task.id, TaskState::Running);
        }
        world.advance(1000);
        let mut dice = Dice(seed);
        let mut blows = vec![Blow::Drain("a"), Blow::Drain("b"), Blow::Update, Blow::Lose("c"), Blow::Restart];
        dice.shuffle(&mut blows);
        let siege = Self { world, dice, seed, policy, promised, blows, lost: BTreeSet::new() };
        assert_eq!(siege.up(), 6);
        siege
    }

    fn up(&self) -> usize {
        self.world.active(&job("web")).iter().filter(|task| task.status == TaskStatus::Running).count()
    }

    /// Does one thing, after which the scheduler may have moved no task of its own accord below what was promised.
    fn careful(&mut self, act: impl FnOnce(&mut World)) {
        let known = self.world.transitions.len();
        let before = self.up();
        act(&mut self.world);
        let changes = &self.world.transitions[known..];
        let moves = changes.iter().any(|change| {
            let update = change.reason.as_deref().is_some_and(|reason| reason.starts_with("Killed for job update"));
            let is_move = change.to == Some(TaskStatus::Draining) || change.to == Some(TaskStatus::Killing) && update;
            is_move && change.from == Some(TaskStatus::Running)
        });
        let (seed, now, promised) = (self.seed, self.up(), self.promised);
        assert!(!moves || now >= promised, "seed {seed}: {before} were up, {now} are, of {promised}: {changes:?}");
    }

    fn blow(&mut self) {
        match self.blows.pop() {
            Some(Blow::Drain(agent)) => self.careful(|world| {
                let hosts = vec![format!("{agent}.example")];
                let default_policy = SlaPolicy::Count { count: 0, duration_secs: 0 };
                let drain = MaintenanceCommand::SlaDrain { hosts, default_policy, timeout_secs: 1_000_000 };
                world.command(Command::Maintenance(drain));
            }),
            Some(Blow::Update) => {
                let strategy = UpdateStrategy::Batch { group_size: 6, autopause_after_batch: false };
                let settings = UpdateSettings { sla_aware: true, strategy, ..quick(6) };
                let request = request(versioned(&self.policy, 2), 6, settings);
                self.careful(|world| drop(started(world, request)));
            }
            Some(Blow::Lose(agent)) => {
                self.lost.insert(agent);
                self.careful(|world| world.engine(Event::AgentLost(agent.into())));
            }
            Some(Blow::Restart) => self.careful(|world| world.restart(1000, 2)),
            None => {}
        }
    }

    /// What the engine has to say about a task; what was on a lost host is told one by one, at any time.
    fn news(&self, task: &scheduler::Task) -> Option<TaskState> {
        let agent = task.agent_id.as_deref()?;
        match task.status {
            _ if self.lost.contains(agent) => Some(TaskState::Lost),
            TaskStatus::Assigned => Some(TaskState::Running),
            TaskStatus::Killing | TaskStatus::Draining => Some(TaskState::Killed),
            _ => None,
        }
    }

    fn one_thing(&mut self) {
        match self.dice.roll(12) {
            0 => self.blow(),
            1..=7 => {
                let at = self.dice.roll(6) as usize;
                let Some(task) = self.world.active(&job("web")).get(at).cloned() else { return };
                if let Some(state) = self.news(&task) {
                    self.careful(|world| world.status(&task.id, state));
                }
            }
            8 | 9 => self.careful(|world| drop(world.offer("d", room(8.0)))),
            _ => {
                // One wake at a time, so that each is looked at.
                let end = self.world.now.monotonic_ms + 3000;
                while let Some(wake) = self.world.scheduler.next_wake().filter(|wake| *wake <= end) {
                    let forward = wake.saturating_sub(self.world.now.monotonic_ms);
                    self.world.advance(forward);
                    self.careful(|world| drop(world.step(Input::Tick)));
                }
                let forward = end - self.world.now.monotonic_ms;
                self.world.advance(forward);
            }
        }
    }

    /// Everybody does his part until nothing is left to do.
    fn come_to_rest(&mut self) {
        for _ in 0..400 {
            self.careful(|world| drop(world.offer("d", room(8.0))));
            for task in self.world.active(&job("web")) {
                if let Some(state) = self.news(&task) {
                    self.careful(|world| world.status(&task.id, state));
                }
            }
            self.world.pass(1000);
        }
    }
}

#[test]
fn two_drains_an_update_and_a_lost_host_in_any_order_never_take_more_than_may_go() {
    let (mut moved, mut whole) = (0, 0);
    let sieges = if cfg!(debug_assertions) { 30 } else { 400 };
    for seed in 0..sieges {
        let mut siege = Siege::new(seed);
        (0..400).for_each(|_| siege.one_thing());
        siege.come_to_rest();
        let world = &siege.world;
        moved += world.transitions.iter().filter(|change| change.to == Some(TaskStatus::Draining)).count();
        assert_eq!(siege.up(), 6, "seed {seed}");
        if siege.blows.is_empty() {
            // All of it was done in the end.
            whole += 1;
            assert!(world.active(&job("web")).iter().all(|task| task.agent_id.as_deref() == Some("d")), "seed {seed}");
            assert!(versions(world).iter().all(|(_, version)| *version == 2), "seed {seed}");
        }
    }
    assert!(moved as u64 > sieges && whole > sieges / 2, "{moved} tasks were moved, {whole} sieges came to their end");
}

// ---- preemption ----

/// Shared production tasks of a role, counted by the rule of the reference: what updates are about at their larger side.
fn consumption(view: &View, role: &str) -> i64 {
    let is_production = |config: &TaskConfig| config.production == Some(true);
    let mut total = 0;
    let mut updating: BTreeMap<&JobKey, BTreeSet<InstanceId>> = BTreeMap::new();
    for update in view.updates.values().filter(|update| update.status().is_active() && update.key.job.role == role) {
        let instances = |ranges: &[InstanceRange]| from_ranges(ranges);
        let size = |entry: &InstanceConfig| {
            if is_production(&entry.task) {
                entry.task.resources.cpu.0 * instances(&entry.instances).len() as i64
            } else {
                0
            }
        };
        let initial: i64 = update.initial.iter().map(size).sum();
        total += initial.max(update.desired.iter().map(size).sum());
        let about = update.initial.iter().chain(&update.desired).flat_map(|entry| instances(&entry.instances));
        updating.entry(&update.key.job).or_default().extend(about);
    }
    let counted = view.tasks.values().filter(|task| task.status.is_active() && task.config.job.role == role);
    let outside =
        counted.filter(|task| !updating.get(&task.config.job).is_some_and(|about| about.contains(&task.instance)));
    total + outside.filter(|task| is_production(&task.config)).map(|task| task.config.resources.cpu.0).sum::<i64>()
}

fn check_quota(world: &World, seed: u64) {
    let view = world.view();
    for role in ["one", "two"] {
        let quota = view.quotas.get(role).map_or(0, |quota| quota.cpu.0);
        let held = consumption(&view, role);
        assert!(held <= quota, "seed {seed}: {role} holds {held} of {quota}");
    }
}

/// What each task that ever was asks for.
type Configs = BTreeMap<TaskId, Arc<TaskConfig>>;

/// Who evicted whom since a number of changes: configurations as they were.
fn evictions(world: &World, since: usize, known: &Configs) -> Vec<(TaskConfig, TaskConfig)> {
    let evicted = world.transitions[since..].iter().filter(|change| change.to == Some(TaskStatus::Preempting));
    let pair = |change: &scheduler::Transition| {
        let by = change.reason.as_deref()?.strip_prefix("Preempting in favor of ")?;
        let (by, victim) = (known.get(&TaskId::from(by.to_owned()))?, known.get(&change.task_id)?);
        Some((TaskConfig::clone(by), TaskConfig::clone(victim)))
    };
    evicted.filter_map(pair).collect()
}

/// Three agents, and two roles that want more than there is.
struct Storm {
    world: World,
    dice: Dice,
    seed: u64,
    known: Configs,
    refused: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let core = Settings {
            preemption_delay: Duration::from_secs(5),
            preemption_slot_search_interval: Duration::from_secs(5),
            flapping_task_threshold: Duration::ZERO,
            history_max_per_job_threshold: 3,
            history_min_retention_threshold: Duration::from_secs(10),
            ..settings()
        };
        Self { world: World::with(core), dice: Dice(seed), seed, known: Configs::new(), refused: 0 }
    }

    fn check(&self) {
        check_quota(&self.world, self.seed);
    }

    /// The engine offers what is free on each agent, and does what it was asked for.
    fn engine(&mut self) {
        let view = self.world.view();
        self.known.extend(view.tasks.values().map(|task| (task.id.clone(), task.config.clone())));
        for agent in ["a", "b", "c"] {
            let view = self.world.view();
            let on_it = |task: &&Arc<scheduler::Task>| task.agent_id.as_deref() == Some(agent);
            let here = view.tasks.values().filter(|task| task.status.is_assigned()).filter(on_it);
            let held: i64 = here.map(|task| task.config.resources.cpu.0).sum();
            self.world.offer(agent, Resources { cpu: CpuMillis(4000 - held), ..room(4.0) });
            self.check();
        }
        let tasks: Vec<_> = self.world.view().tasks.values().filter(|task| task.status.is_active()).cloned().collect();
        for task in tasks {
            let state = match task.status {
                TaskStatus::Assigned => TaskState::Running,
                TaskStatus::Killing | TaskStatus::Preempting | TaskStatus::Restarting => TaskState::Killed,
                _ => continue,
            };
            self.world.status(&task.id, state);
            self.check();
        }
    }

    fn one_wish(&mut self) {
        let dice = &mut self.dice;
        let role = ["one", "two"][dice.roll(2) as usize];
        let key = JobKey::new(role, "devel", format!("job-{}", dice.roll(4)));
        let mut task = TaskConfig::new(key.clone(), 0.5 * (1 + dice.roll(4)) as f64, 64, 64, "{}");
        task.is_service = true;
        task.priority = dice.roll(4) as i32;
        task.tier = Some(["preferred", "preemptible"][dice.roll(2) as usize].into());
        let instances = 1 + dice.roll(4) as i32;
        let reply = match dice.roll(8) {
            0 => {
                let cpu = CpuMillis(dice.roll(12_000) as i64);
                let quota = Resources { cpu, ram_mb: 1 << 20, disk_mb: 1 << 20, ..Resources::ZERO };
                self.world.command(Command::SetQuota { role: role.into(), quota })
            }
            1 => self.world.kill(&key, &[]),
            2 => self.world.command(Command::AddInstances { job: key, template: 0, count: instances }),
            3 | 4 => {
                let settings = UpdateSettings { rollback_on_failure: dice.roll(2) == 0, ..quick(2) };
                start(&mut self.world, request(task, instances, settings))
            }
            _ => self.world.create(task, instances),
        };
        self.refused += u64::from(reply.messages.iter().any(|message| message.contains("quota")));
        self.check();
    }

    fn pass(&mut self, ms: u64) {
        self.world.pass(ms);
        self.check();
    }
}

/// Whether the one may evict the other, by the rule of the reference.
fn is_above(by: &TaskConfig, victim: &TaskConfig) -> bool {
    let production = |config: &TaskConfig| config.tier.as_deref() == Some("preferred");
    match (production(by), production(victim)) {
        (true, false) => true,
        (false, true) => false,
        _ => by.job.role == victim.job.role && by.priority > victim.priority,
    }
}

#[test]
fn a_storm_of_preemption_has_no_cycles_comes_to_rest_and_never_exceeds_a_quota() {
    let (mut evicted, mut refused) = (0, 0);
    let storms = if cfg!(debug_assertions) { 4 } else { 40 };
    for seed in 0..storms {
        let mut storm = Storm::new(seed);
        for _ in 0..60 {
            storm.one_wish();
            storm.engine();
            let ms = storm.dice.roll(10_000);
            storm.pass(ms);
        }
        // Nobody asks for anything more: it comes to rest, because nobody ever evicts whom it was evicted by.
        for _ in 0..80 {
            storm.engine();
            storm.pass(5000);
        }
        for (by, victim) in evictions(&storm.world, 0, &storm.known) {
            assert!(is_above(&by, &victim), "seed {seed}: {by:?} evicted {victim:?}");
            evicted += 1;
        }
        let since = storm.world.transitions.len();
        for _ in 0..80 {
            storm.engine();
            storm.pass(5000);
        }
        assert_eq!(evictions(&storm.world, since, &storm.known), [], "seed {seed}: it never comes to rest");
        refused += storm.refused;
    }
    assert!(evicted > 5 * storms && refused > storms, "{evicted} were evicted, {refused} refused");
}

fn of_tier(name: &str, tier: &str, cores: f64) -> TaskConfig {
    let mut task = TaskConfig { tier: Some(tier.into()), ..service(name) };
    task.resources.cpu = CpuMillis::from_cores(cores);
    task
}

fn grant(world: &mut World, role: &str, cores: f64) {
    let quota = Resources { ports: 0, ..room(cores) };
    assert_eq!(world.command(Command::SetQuota { role: role.into(), quota }).code, ReplyCode::Ok);
}

fn is_placed(world: &World, name: &str) -> bool {
    world.active(&job(name)).iter().all(|task| task.status.is_assigned())
}

#[test]
fn nobody_is_evicted_who_leaves_anyway_or_whose_going_makes_no_room() {
    for case in ["runs", "is killed", "its agent is gone", "its CPU is revocable", "nobody could start the other"] {
        let mut world = World::new();
        grant(&mut world, "www-data", 64.0);
        let mut offer = world.make_offer("a", room(2.0));
        let tier = if case == "its CPU is revocable" { "revocable" } else { "preemptible" };
        if tier == "revocable" {
            (offer.revocable_cpu, offer.resources.cpu) = (CpuMillis(2000), CpuMillis(500));
        }
        world.engine(Event::Offers(vec![offer]));
        world.create(of_tier("victim", tier, 2.0), 1);
        let victim = world.active_one(&job("victim"), 0).id.clone();
        world.status(&victim, TaskState::Running);
        assert_eq!(world.task(&victim).status, TaskStatus::Running, "{case}");
        assert_eq!(world.create(of_tier("production", "preferred", 2.0), 1).code, ReplyCode::Ok);
        match case {
            "is killed" => drop(world.kill(&job("victim"), &[])),
            "its agent is gone" => world.engine(Event::AgentLost("a".into())),
            "nobody could start the other" => {
                // The operator has taken the executor out of the configuration since.
                world.settings.admission.executors.clear();
                world.restart(0, 2);
            }
            _ => {}
        }
        world.pass(250_000);
        let evictions = world.transitions.iter().filter(|change| change.to == Some(TaskStatus::Preempting)).count();
        let counted = world.view().counters.get("preemptor_tasks_preempted_non_prod").copied().unwrap_or(0);
        let expected = usize::from(case == "runs");
        assert_eq!((evictions, counted as usize), (expected, expected), "{case}");
    }
}

#[test]
fn what_is_left_of_a_reservation_goes_to_those_who_wait_at_once() {
    let mut world = World::new();
    grant(&mut world, "www-data", 64.0);
    world.offer("a", room(8.0));
    world.create(of_tier("victim", "preemptible", 8.0), 1);
    let victim = world.active_one(&job("victim"), 0).id.clone();
    world.status(&victim, TaskState::Running);
    world.create(of_tier("production", "preferred", 8.0), 1);
    world.create(batch("waiting"), 1);
    world.pass(250_000);
    world.status(&victim, TaskState::Killed);
    // Less than what was made room for comes back: the group that it is kept for cannot use it.
    world.offer("a", room(7.0));
    let is_kept = |world: &World| world.view().agents["a"].shares.iter().any(|share| share.is_reserved);
    assert!(is_kept(&world) && !is_placed(&world, "waiting"));
    while is_kept(&world) {
        assert!(!is_placed(&world, "waiting"));
        world.pass(100);
    }
    assert!(is_placed(&world, "waiting"), "it waits, and nothing is kept any more");
}

#[test]
fn quota_counts_each_instance_of_an_update_once_and_only_what_is_of_the_role_and_needs_any() {
    let mut world = World::new();
    grant(&mut world, "www-data", 3.0);
    grant(&mut world, "other", 9.0);
    let of_other = |mut task: TaskConfig| {
        task.job.role = "other".into();
        task
    };
    let update = |world: &mut World, task: TaskConfig, count: i32| {
        start(world, request(TaskConfig { priority: 2, ..task }, count, quick(1))).code
    };
    // Two cores are updated to two cores, in this role; nine in the other.
    assert_eq!(world.create(of_tier("web", "preferred", 1.0), 2).code, ReplyCode::Ok);
    assert_eq!(update(&mut world, of_tier("web", "preferred", 1.0), 2), ReplyCode::Ok);
    assert_eq!(world.create(of_other(of_tier("web", "preferred", 3.0)), 3).code, ReplyCode::Ok);
    assert_eq!(update(&mut world, of_other(of_tier("web", "preferred", 3.0)), 3), ReplyCode::Ok);
    // What has agents of its own needs no quota.
    let mut dedicated = of_tier("dedicated", "preferred", 50.0);
    let values = ["www-data/any".to_owned()].into();
    let constraint = TaskConstraint::Value { negated: false, values };
    dedicated.constraints.insert(Constraint { name: "dedicated".into(), constraint });
    assert_eq!(world.create(dedicated, 1).code, ReplyCode::Ok);
    // The third core is free, and no fourth one is.
    assert_eq!(world.create(of_tier("third", "preferred", 1.0), 1).code, ReplyCode::Ok);
    assert_eq!(world.create(of_tier("fourth", "preferred", 1.0), 1).code, ReplyCode::InvalidRequest);
    // The larger side of an update is the larger side of what needs quota.
    world.kill(&job("third"), &[]);
    assert_eq!(world.create(of_tier("cheap", "preemptible", 10.0), 1).code, ReplyCode::Ok);
    assert_eq!(update(&mut world, of_tier("cheap", "preferred", 1.1), 1), ReplyCode::InvalidRequest);
    assert_eq!(update(&mut world, of_tier("cheap", "preferred", 1.0), 1), ReplyCode::Ok);
}
