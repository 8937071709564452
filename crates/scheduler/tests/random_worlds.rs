//! Random inputs: whatever users, engine, clock and crashes do, the invariants hold (the harness checks them after every step),
//! equal inputs give equal outputs, and the journal leads to the same state from any prefix.
//!
//! `SCHEDULER_WORLDS=1000 cargo test -p scheduler --test random_worlds` tries more worlds than usual.

mod common;

use common::dice::Dice;
use common::*;
use engine::{Event, Reason, TaskState};
use model::task::PartitionPolicy;
use model::update::{UpdateRequest, UpdateSettings, UpdateStrategy};
use model::{CpuMillis, Resources, TaskConfig, TaskConstraint, TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::UpdateControl;
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::settings::SecondOffer;
use scheduler::{Command, Input, Now, Record, ReplyCode, Scheduler, Settings, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn tight() -> Settings {
    let mut settings = Settings {
        flapping_task_threshold: Duration::from_secs(20),
        transient_task_state_timeout: Duration::from_secs(60),
        preemption_delay: Duration::from_secs(30),
        preemption_slot_search_interval: Duration::from_secs(20),
        history_max_per_job_threshold: 3,
        history_min_retention_threshold: Duration::from_secs(60),
        history_prune_threshold: Duration::from_secs(600),
        suppress_idle_after: Some(Duration::from_secs(5)),
        reconciliation_initial_delay: Duration::from_secs(10),
        reconciliation_explicit_interval: Some(Duration::from_secs(40)),
        reconciliation_implicit_interval: Some(Duration::from_secs(40)),
        reconciliation_schedule_spread: Duration::from_secs(20),
        reconciliation_explicit_batch_size: 2,
        reconciliation_explicit_batch_interval: Duration::from_secs(1),
        master_failover_grace: Duration::from_secs(30),
        max_step_work: 16,
        enable_update_affinity: true,
        update_affinity_reservation_hold_time: Duration::from_secs(30),
        ..settings()
    };
    settings.admission.max_tasks_per_job = 12;
    settings
}

fn random_task(dice: &mut Dice) -> TaskConfig {
    let name = ["one", "two", "three"][dice.roll(3) as usize];
    let mut task = TaskConfig::new(job(name), 0.5 + dice.roll(4) as f64, 64, 64, "{}");
    task.is_service = dice.roll(3) > 0;
    task.priority = dice.roll(3) as i32;
    task.max_task_failures = dice.roll(4) as i32 - 1;
    task.tier = Some(["preferred", "preemptible", "preemptible"][dice.roll(3) as usize].into());
    if dice.roll(3) == 0 {
        task.requested_ports = ["http".to_owned()].into();
    }
    if dice.roll(3) == 0 {
        let constraint = TaskConstraint::Limit { limit: 1 + dice.roll(2) as i32 };
        task.constraints.insert(model::Constraint { name: "host".into(), constraint });
    }
    if dice.roll(2) == 0 {
        let delay_secs = Some(dice.roll(40) as i64);
        task.partition_policy = Some(PartitionPolicy { reschedule: dice.roll(3) > 0, delay_secs });
    }
    task
}

fn random_command(world: &World, dice: &mut Dice) -> Command {
    let name = ["one", "two", "three"][dice.roll(3) as usize];
    let instances = (0..dice.roll(3)).map(|_| dice.roll(6) as u32).collect();
    match dice.roll(9) {
        0..=2 => {
            let task = random_task(dice);
            Command::CreateJob(Box::new(model::JobConfiguration {
                key: task.job.clone(),
                owner: None,
                cron_schedule: None,
                cron_collision_policy: Default::default(),
                task,
                instance_count: 1 + dice.roll(6) as i32,
            }))
        }
        3 => Command::KillTasks { job: job(name), instances, message: None },
        4 => Command::RestartTasks { job: job(name), instances },
        5 => Command::AddInstances { job: job(name), template: dice.roll(4) as u32, count: 1 + dice.roll(3) as i32 },
        6 | 7 => {
            let strategy = match dice.roll(3) {
                0 => UpdateStrategy::Queue { group_size: 1 + dice.roll(3) as i32 },
                1 => UpdateStrategy::Batch { group_size: 2, autopause_after_batch: dice.roll(2) == 0 },
                _ => {
                    UpdateStrategy::VariableBatch { group_sizes: vec![1, 2], autopause_after_batch: dice.roll(2) == 0 }
                }
            };
            let settings = UpdateSettings {
                strategy,
                max_failed_instances: dice.roll(2) as i32,
                max_per_instance_failures: dice.roll(2) as i32,
                min_wait_in_running_ms: dice.roll(20_000) as i32,
                rollback_on_failure: dice.roll(2) == 0,
                block_if_no_pulses_after_ms: (dice.roll(4) == 0).then_some(30_000),
                ..UpdateSettings::default()
            };
            let task = TaskConfig { is_service: true, ..random_task(dice) };
            let instance_count = dice.roll(6) as i32;
            let request = UpdateRequest { task, instance_count, settings, metadata: Default::default() };
            Command::StartUpdate { request: Box::new(request), message: None }
        }
        _ => {
            let keys: Vec<_> = world.view().updates.keys().cloned().collect();
            let Some(key) = dice.pick(&keys).cloned() else {
                let quota = Resources { cpu: CpuMillis(20_000), ram_mb: 2000, disk_mb: 2000, ..Resources::ZERO };
                return Command::SetQuota { role: "www-data".into(), quota };
            };
            let action = [UpdateControl::Pause, UpdateControl::Resume, UpdateControl::Abort, UpdateControl::Rollback];
            match dice.roll(6) {
                at @ 0..=3 => Command::ControlUpdate { key, action: action[at as usize], message: None },
                _ => Command::PulseUpdate { key },
            }
        }
    }
}

/// What an engine could say, true or not.
fn random_status(world: &mut World, dice: &mut Dice) {
    let view = world.view();
    let placed: Vec<TaskId> =
        view.tasks.values().filter(|task| task.status.is_assigned()).map(|task| task.id.clone()).collect();
    let all: Vec<TaskId> = view.tasks.keys().cloned().collect();
    let launched: Vec<TaskId> = world.launched.keys().cloned().collect();
    let id = match dice.roll(12) {
        0 => "nobody".into(),
        1 => dice.pick(&launched).cloned().unwrap_or("nobody".into()),
        2 => dice.pick(&all).cloned().unwrap_or("nobody".into()),
        _ => dice.pick(&placed).cloned().unwrap_or("nobody".into()),
    };
    let killing = view.task(&id).is_some_and(|task| task.status.is_transient() && task.status != TaskStatus::Assigned);
    let state = if killing && dice.roll(2) == 0 {
        TaskState::Killed
    } else {
        [
            TaskState::Starting,
            TaskState::Running,
            TaskState::Running,
            TaskState::Running,
            TaskState::Finished,
            TaskState::Failed,
            TaskState::Killed,
            TaskState::Lost,
            TaskState::Unreachable,
        ][dice.roll(9) as usize]
    };
    world.status_because(&id, state, (dice.roll(5) == 0).then_some(Reason::Reconciliation), None);
}

fn random_step(world: &mut World, dice: &mut Dice, epoch: &mut u64) {
    match dice.roll(30) {
        0..=6 => {
            let command = random_command(world, dice);
            world.command(command);
        }
        7..=17 => random_status(world, dice),
        18..=22 => {
            let agent = format!("a{}", dice.roll(4));
            let resources =
                Resources { cpu: CpuMillis(dice.roll(8000) as i64), ram_mb: 1000, disk_mb: 1000, ..Resources::ZERO };
            let mut offer = world.make_offer(&agent, resources);
            offer.attributes.insert("rack".into(), vec![format!("r{}", dice.roll(2))]);
            if world.settings.second_offer == SecondOffer::Adds {
                offer.role = [None, Some("web".into()), Some("batch".into())][dice.roll(3) as usize].clone();
                offer.unreserved = [Resources::ZERO, offer.resources][dice.roll(2) as usize];
            }
            world.engine(Event::Offers(vec![offer]));
        }
        23 => {
            let held: Vec<String> = world.outstanding.keys().cloned().collect();
            if let Some(offer) = dice.pick(&held) {
                world.engine(Event::Rescinded(offer.clone()));
            }
        }
        24 => {
            let event = match dice.roll(5) {
                0 => Event::Disconnected,
                1 => Event::AgentLost(format!("a{}", dice.roll(4))),
                2 => Event::InverseOffer {
                    id: "i".into(),
                    agent_id: Some(format!("a{}", dice.roll(4))),
                    host: None,
                    unavailable_from_ms: world.now.wall_ms + dice.roll(600_000) as i64,
                },
                _ => {
                    let master = (dice.roll(3) > 0).then(|| format!("m{}", dice.roll(2)));
                    Event::Registered { framework_id: Some("f".into()), master }
                }
            };
            world.engine(event);
        }
        25 => drop(world.step(Input::SpaceLow(dice.roll(3) == 0))),
        26 if dice.roll(4) == 0 => {
            *epoch += 1;
            let down_ms = dice.roll(100_000) as i64 - 20_000;
            world.restart(down_ms, *epoch);
        }
        27 => world.now.wall_ms += dice.roll(20_000) as i64 - 10_000,
        _ => world.pass(dice.roll(30_000)),
    }
}

#[test]
fn invariants_hold_whatever_happens() {
    let mut seen: BTreeMap<TaskStatus, usize> = BTreeMap::new();
    let mut ended_updates = 0;
    let worlds = std::env::var("SCHEDULER_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 0..worlds {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let second_offer = if seed % 2 == 0 { SecondOffer::Adds } else { SecondOffer::Supersedes };
        let mut world = World::with(Settings { second_offer, ..tight() });
        let mut epoch = 1;
        for _ in 0..400 {
            random_step(&mut world, &mut dice, &mut epoch);
        }
        for transition in &world.transitions {
            if let Some(to) = transition.to {
                *seen.entry(to).or_default() += 1;
            }
        }
        ended_updates += world.view().updates.values().filter(|update| !update.status().is_active()).count();
    }
    for status in TaskStatus::ALL.into_iter().filter(|status| *status != TaskStatus::Init) {
        assert!(seen.contains_key(&status), "no task ever was {status}: the worlds are too tame");
    }
    assert!(ended_updates > 20, "hardly an update ended: {ended_updates}");
}

fn back_up(world: &World) -> Staged {
    let mut staging = Staging::default();
    Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    staging.finish().unwrap()
}

/// A restoration measures delays anew, by the wall clock, as a restart does; the timer that ran until then knew nothing of that clock
/// having been set forward.
fn is_partitioned_for_too_long(world: &World, task: &Task) -> bool {
    let policy = task.config.partition_policy.filter(|policy| policy.reschedule);
    let delay_ms = policy.and_then(|policy| policy.delay_secs).map(|secs| secs * 1000);
    let passed_ms = world.now.wall_ms - task.last_event_ms();
    task.status == TaskStatus::Partitioned && delay_ms.is_some_and(|delay_ms| passed_ms >= delay_ms)
}

/// Restores a backup and checks what was promised of tasks. The harness checks the rest: that the journal holds the state, that no
/// instance is active twice, that nothing is launched twice, that all that is derived fits.
fn restore(world: &mut World, staged: &Staged, later: LaterTasks) {
    let before = world.view();
    world.take_calls();
    let command = AdminCommand::Restore { staged: staged.clone(), later };
    let reply = world.command(Command::Admin(command));
    if world.view().space_low || reply.code != ReplyCode::Ok {
        assert_eq!(before.tasks, world.view().tasks, "a refusal changes nothing: {reply:?}");
        return;
    }
    let after = world.view();
    let killed = world.take_kills();
    // An update that ran then goes on at once, and does with the tasks of its job what updates do.
    let updating = |task: &Task| staged.view().active_update(&task.config.job).is_some();
    for (id, task) in before.tasks.iter().filter(|(_, task)| task.status.is_active() && !updating(task)) {
        let then = staged.view().tasks.get(id);
        let now = after.tasks.get(id).map(|task| task.status);
        let is_dying = task.status == TaskStatus::Killing;
        if then.is_some_and(|then| then.status.is_active()) && is_partitioned_for_too_long(world, task) {
            assert_eq!(now, Some(TaskStatus::Lost), "{id} was out of reach for too long");
            continue;
        }
        match then {
            Some(then) if then.status.is_active() && !is_dying => {
                assert!(now.is_some_and(TaskStatus::is_active), "{id} was {} and is {now:?}", task.status);
                assert!(!killed.contains(id), "{id} was {} and is killed", task.status);
            }
            None if later == LaterTasks::Keep => {
                assert!(now.is_some_and(TaskStatus::is_active), "{id} came later and is {now:?}");
                assert!(is_dying || !killed.contains(id), "{id} came later and is killed");
            }
            None => {
                assert_eq!(now, None, "{id} came later and was to go");
                assert_eq!(killed.contains(id), task.status.is_assigned(), "{id} was {}", task.status);
            }
            _ => {}
        }
    }
    // Whatever was wanted then is there again, as far as it has not done its work since.
    let wanted = |task: &&Arc<Task>| task.status.is_active() && task.config.is_service && !updating(task);
    for task in staged.view().tasks.values().filter(wanted) {
        let (key, instance) = (&task.config.job, task.instance);
        let there = after.tasks_of(key).any(|task| task.status.is_active() && task.instance == instance);
        assert!(there || task.status == TaskStatus::Killing, "nothing is active as instance {instance} of {key}");
    }
}

#[test]
fn backups_are_restored_into_whatever_has_become_of_their_worlds() {
    let (mut restored, mut thinned) = (0, 0);
    let worlds = std::env::var("SCHEDULER_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 300..300 + worlds {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let mut world = World::with(tight());
        let mut epoch = 1;
        let mut backups: Vec<Staged> = Vec::new();
        for _ in 0..300 {
            match dice.roll(20) {
                0 => backups.push(back_up(&world)),
                1 => {
                    let Some(mut staged) = dice.pick(&backups).cloned() else { continue };
                    if dice.roll(4) == 0 {
                        let ids: Vec<TaskId> = staged.view().tasks.keys().cloned().collect();
                        staged = staged.without(&dice.pick(&ids).cloned().into_iter().collect::<Vec<_>>());
                        thinned += 1;
                    }
                    let later = if dice.roll(2) == 0 { LaterTasks::Keep } else { LaterTasks::Kill };
                    restore(&mut world, &staged, later);
                    restored += 1;
                    if dice.roll(3) == 0 {
                        epoch += 1;
                        world.restart(1000, epoch);
                    }
                }
                _ => random_step(&mut world, &mut dice, &mut epoch),
            }
        }
    }
    assert!(restored > 200 && thinned > 20, "too tame: {restored} restored, {thinned} thinned out");
}

/// The same history told twice gives the same outputs, bit for bit.
#[test]
fn equal_inputs_give_equal_outputs() {
    for seed in 100..110 {
        let tell = || {
            let mut dice = Dice(seed);
            let mut world = World::with(tight());
            let mut epoch = 1;
            for _ in 0..200 {
                random_step(&mut world, &mut dice, &mut epoch);
            }
            (world.journal, world.calls, world.transitions, world.notices)
        };
        assert_eq!(tell(), tell(), "seed {seed}");
    }
}

/// A snapshot of any moment with all later records replayed over it, and all records from the first on, and the latter half
/// of them twice, lead to the state as it is.
#[test]
fn replay_from_any_moment_leads_to_the_present() {
    for seed in 200..215 {
        let mut dice = Dice(seed);
        let mut scheduler = Scheduler::new(tight());
        let mut world = World::with(tight());
        let mut groups: Vec<Vec<Record>> = Vec::new();
        let mut snapshots = Vec::new();
        for _ in 0..150 {
            let before = world.journal.clone();
            snapshots.push(world.view());
            random_step(&mut world, &mut dice, &mut 1);
            groups.push(difference(&before, &world.journal));
        }
        let present = world.view();
        let at = dice.roll(groups.len() as u64) as usize;
        let from = dice.roll(at as u64 + 1) as usize;
        for record in Scheduler::records(&snapshots[at]) {
            scheduler.apply(&record).unwrap();
        }
        for record in groups[from..].iter().flatten() {
            scheduler.apply(record).unwrap();
        }
        let replayed = scheduler.freeze();
        assert_eq!(replayed.tasks, present.tasks, "seed {seed}, snapshot {at}, replay from {from}");
        assert_eq!(replayed.tasks_by_job, present.tasks_by_job);
        assert_eq!(replayed.updates, present.updates);
        assert_eq!(replayed.hosts, present.hosts);
        assert_eq!(replayed.quotas, present.quotas);
        assert_eq!((replayed.master, replayed.master_since_ms), (present.master, present.master_since_ms));
        assert_eq!(replayed.configs, present.configs);
        let output = scheduler.step(Now::default(), Input::Start { seed: [0; 32], epoch: 99 });
        let notices = output.effects.iter().filter(|effect| matches!(effect, scheduler::Effect::Notice(_))).count();
        assert_eq!(notices, 0, "seed {seed}: {:?}", output.effects);
    }
}

/// What a journal that compacts by key keeps of the step between two states: configurations first, deletions last.
fn difference(before: &Journal, after: &Journal) -> Vec<Record> {
    let put = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let put = put.map(|((table, key), value)| Record { table: *table, key: key.clone(), value: Some(value.clone()) });
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    put.chain(gone.map(|(table, key)| Record { table: *table, key: key.clone(), value: None })).collect()
}
