//! Placement, rule by rule: what fits where, why not, constraints, ports, tiers, offers, back-off, preemption.

mod common;

use common::*;
use engine::{Call, Event, Launch, Offer, TaskState};
use model::constraint::Constraint;
use model::{CpuMillis, Resources, TaskConfig, TaskConstraint, TaskStatus};
use scheduler::settings::SecondOffer;
use scheduler::{ReplyCode, Settings};
use std::collections::{BTreeMap, BTreeSet};

fn value(name: &str, values: &[&str], negated: bool) -> Constraint {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Constraint { name: name.into(), constraint: TaskConstraint::Value { negated, values } }
}

fn limit(name: &str, limit: i32) -> Constraint {
    Constraint { name: name.into(), constraint: TaskConstraint::Limit { limit } }
}

fn constrained(name: &str, constraints: impl IntoIterator<Item = Constraint>) -> TaskConfig {
    TaskConfig { constraints: constraints.into_iter().collect(), ..batch(name) }
}

fn with(mut offer: Offer, attributes: &[(&str, &str)]) -> Offer {
    for (name, value) in attributes {
        offer.attributes.entry((*name).into()).or_default().push((*value).into());
    }
    offer
}

fn offer_with(world: &mut World, agent: &str, cores: f64, attributes: &[(&str, &str)]) {
    let offer = world.make_offer(agent, room(cores));
    world.engine(Event::Offers(vec![with(offer, attributes)]));
}

fn launches(world: &mut World) -> Vec<Launch> {
    let accepts = world.take_calls().into_iter().filter_map(|call| match call {
        Call::Accept { launches, .. } => Some(launches),
        _ => None,
    });
    accepts.flatten().collect()
}

fn hosts(world: &World, name: &str) -> Vec<String> {
    let mut hosts: Vec<String> =
        world.active(&job(name)).iter().filter_map(|task| task.agent_id.as_deref().map(str::to_owned)).collect();
    hosts.sort();
    hosts
}

fn reason(world: &World, name: &str) -> (String, String) {
    let view = world.view();
    let task = world.active(&job(name)).into_iter().find(|task| task.status == TaskStatus::Pending).unwrap();
    let reason = &view.pending_reasons[&task.id];
    (reason.nearest_fit.clone(), reason.sentence.clone())
}

#[test]
fn an_agent_takes_exactly_as_many_tasks_as_fit() {
    let mut world = World::new();
    world.create(TaskConfig::new(job("tenth"), 0.1, 1, 1, "{}"), 25);
    world.offer("a", Resources { cpu: CpuMillis(2000), ram_mb: 1000, disk_mb: 1000, ..Resources::ZERO });
    assert_eq!(launches(&mut world).len(), 20, "twenty tenths are two cores, exactly");
    assert_eq!(reason(&world, "tenth").0, "Insufficient: CPU");
    world.offer("b", Resources { cpu: CpuMillis(2000), ram_mb: 3, disk_mb: 1000, ..Resources::ZERO });
    assert_eq!(launches(&mut world).len(), 3);
}

#[test]
fn each_executor_takes_its_own_share() {
    let shares = [("AuroraExecutor", 250, 128), ("custom", 500, 64)];
    let mut rules = settings();
    for (name, cpu_millis, ram_mb) in shares {
        let overhead = Resources { cpu: CpuMillis(cpu_millis), ram_mb, ..Resources::ZERO };
        rules.admission.executors.insert(name.into(), overhead);
    }
    rules.admission.allowed_container_types.insert(model::container::ContainerType::Docker);
    rules.admission.require_docker_use_executor = false;
    let mut world = World::with(rules.clone());
    for (name, _, _) in shares {
        let mut task = batch(name);
        task.executor_config.as_mut().unwrap().name = name.into();
        world.offer(name, room(4.0));
        world.create(task, 1);
        let launch = launches(&mut world).remove(0);
        assert_eq!(launch.resources, launch.config.resources + rules.admission.executors[name]);
    }
    // A Docker container alone needs no executor, and nothing for one.
    let container = model::container::Container::Docker { image: "busybox".into(), parameters: Vec::new() };
    world.offer("c", room(4.0));
    world.create(TaskConfig { container, executor_config: None, ..batch("alone") }, 1);
    let launch = launches(&mut world).remove(0);
    assert_eq!(launch.resources, launch.config.resources);
}

#[test]
fn what_an_executor_takes_counts_in_preemption() {
    let mut rules = settings();
    let overhead = Resources { cpu: CpuMillis(500), ..Resources::ZERO };
    rules.admission.executors.insert("AuroraExecutor".into(), overhead);
    let mut world = World::with(rules);
    let victim = world.run_one(TaskConfig::new(job("victim"), 1.5, 1, 1, "{}"));
    world.offer("home", room(0.0));
    let production = |name: &str, cores: f64| TaskConfig {
        tier: Some("preferred".into()),
        production: Some(true),
        ..TaskConfig::new(job(name), cores, 1, 1, "{}")
    };
    let quota = Resources { cpu: CpuMillis(9000), ram_mb: 99, disk_mb: 99, ..Resources::ZERO };
    world.command(scheduler::Command::SetQuota { role: "www-data".into(), quota });
    // Two cores are what the victim and its executor hold; 1.6 and an executor are more.
    world.create(production("large", 1.6), 1);
    world.pass(600_000);
    assert_eq!(world.task(&victim).status, TaskStatus::Running);
    world.create(production("fitting", 1.5), 1);
    world.pass(600_000);
    assert_ne!(world.task(&victim).status, TaskStatus::Running);
}

#[test]
fn a_task_whose_executor_left_the_configuration_waits_and_says_so() {
    let mut rules = settings();
    rules.admission.executors.insert("custom".into(), Resources::ZERO);
    let mut world = World::with(rules);
    let mut task = batch("theirs");
    task.executor_config.as_mut().unwrap().name = "custom".into();
    world.create(task, 1);
    world.settings.admission.executors.remove("custom");
    world.restart(1000, 2);
    world.offer("a", room(4.0));
    world.pass(60_000);
    assert!(launches(&mut world).is_empty());
    let expected =
        ("Executor not configured: custom".to_owned(), "executor custom is not configured on this cluster".to_owned());
    assert_eq!(reason(&world, "theirs"), expected);
    // It preempts nobody either, and goes on once the executor is back.
    world.settings.admission.executors.insert("custom".into(), Resources::ZERO);
    world.restart(1000, 3);
    world.offer("a", room(4.0));
    assert_eq!(launches(&mut world).len(), 1);
}

#[test]
fn gpus_are_taken_whole() {
    let mut rules = settings();
    rules.admission.allow_gpu_resource = true;
    let mut world = World::with(rules);
    let mut task = batch("gpu");
    task.resources.gpus = 2;
    world.create(task, 3);
    world.offer("none", room(8.0));
    assert!(launches(&mut world).is_empty());
    assert_eq!(
        reason(&world, "gpu"),
        ("Insufficient: GPU".into(), "needs 2 gpu, the largest machine has 0 gpu".into())
    );
    world.offer("some", Resources { gpus: 5, ..room(8.0) });
    let launched = launches(&mut world);
    assert_eq!(launched.len(), 2, "five gpus serve two tasks of two");
    assert!(launched.iter().all(|launch| launch.resources.gpus == 2));
}

#[test]
fn tasks_without_gpus_leave_machines_that_have_some_to_those_that_want_them() {
    let mut rules = settings();
    rules.admission.allow_gpu_resource = true;
    let mut world = World::with(rules);
    for number in 0..6 {
        let gpus = if number % 2 == 0 { 1 } else { 0 };
        world.offer(&format!("a{number}"), Resources { gpus, ..room(4.0) });
    }
    world.create(batch("plain"), 12);
    let agents = |world: &World, name: &str| {
        let tasks = world.active(&job(name)).into_iter();
        tasks.filter_map(|task| task.agent_id.as_deref().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    assert_eq!(agents(&world, "plain"), ["a1", "a3", "a5"].map(str::to_owned).into(), "as long as there is room");
    let mut training = batch("training");
    training.resources.gpus = 1;
    world.create(training, 3);
    assert_eq!(agents(&world, "training"), ["a0", "a2", "a4"].map(str::to_owned).into());
    for number in [0, 2, 4] {
        world.offer(&format!("a{number}"), room(3.0));
    }
    world.create(batch("more"), 3);
    assert_eq!(agents(&world, "more").len(), 1, "rather there than nowhere");
}

#[test]
fn reasons_name_what_is_missing_and_how_much_there_is() {
    let mut world = World::new();
    world.create(TaskConfig::new(job("huge"), 1000.0, 1, 1, "{}"), 1);
    assert_eq!(reason(&world, "huge"), (String::new(), "no machine is connected".into()));
    world.offer("a", room(8.0));
    world.pass(3000);
    let expected = ("Insufficient: CPU".to_owned(), "needs 1000 cpu, the largest machine has 8 cpu".to_owned());
    assert_eq!(reason(&world, "huge"), expected);
    world.create(TaskConfig::new(job("wide"), 99.0, 1_000_000, 1, "{}"), 1);
    assert_eq!(reason(&world, "wide").0, "Insufficient: CPU,Insufficient: RAM");
    world.create(batch("fill"), 6);
    world.offer("a", room(2.0));
    world.create(TaskConfig::new(job("busy"), 4.0, 1, 1, "{}"), 1);
    assert_eq!(reason(&world, "busy").1, "needs 4 cpu, the most that is free on a machine is 2 cpu");
    let view = world.view();
    assert_eq!(view.agents["a"].free.cpu, CpuMillis(2000));
    assert_eq!(view.agents["a"].total.cpu, CpuMillis(8000), "what is free and what is taken");
}

#[test]
fn value_constraints_hold_negated_or_not() {
    let mut world = World::new();
    world.create(constrained("in", [value("rack", &["r2", "r3"], false)]), 1);
    world.create(constrained("out", [value("rack", &["r1"], true)]), 1);
    offer_with(&mut world, "a", 4.0, &[("rack", "r1")]);
    assert_eq!(launches(&mut world).len(), 0);
    assert_eq!(reason(&world, "in").0, "Constraint not satisfied: rack");
    assert_eq!(reason(&world, "in").1, "no machine satisfies the constraint rack");
    offer_with(&mut world, "b", 4.0, &[]);
    assert_eq!(hosts(&world, "out"), ["b"], "a host without the attribute satisfies a negated constraint only");
    offer_with(&mut world, "c", 4.0, &[("rack", "r1"), ("rack", "r3")]);
    assert_eq!(hosts(&world, "in"), ["c"], "one value of several is enough");
}

#[test]
fn what_a_group_remembers_of_an_agent_ends_with_its_attributes() {
    let mut world = World::new();
    world.create(constrained("out", [value("rack", &["r1"], true)]), 1);
    offer_with(&mut world, "a", 4.0, &[("rack", "r1")]);
    offer_with(&mut world, "a", 4.0, &[("rack", "r1")]);
    assert!(hosts(&world, "out").is_empty());
    offer_with(&mut world, "a", 4.0, &[("rack", "r2")]);
    assert_eq!(hosts(&world, "out"), ["a"]);
    // The same for an agent that takes the place of one that is gone.
    world.create(constrained("next", [value("rack", &["r1"], true)]), 1);
    offer_with(&mut world, "b", 4.0, &[("rack", "r1")]);
    world.engine(Event::AgentLost("b".into()));
    offer_with(&mut world, "c", 4.0, &[("rack", "r3")]);
    assert_eq!(hosts(&world, "next"), ["c"]);
}

#[test]
fn limits_count_the_whole_job_and_each_choice_at_once() {
    let mut world = World::new();
    world.create(constrained("spread", [limit("rack", 2)]), 7);
    let mut offers = Vec::new();
    for agent in 0..6 {
        let rack = if agent < 3 { "r1" } else { "r2" };
        let offer = world.make_offer(&format!("a{agent}"), room(16.0));
        offers.push(with(offer, &[("rack", rack)]));
    }
    world.engine(Event::Offers(offers));
    let mut by_rack: BTreeMap<bool, usize> = BTreeMap::new();
    for host in hosts(&world, "spread") {
        *by_rack.entry(host.as_str() < "a3").or_default() += 1;
    }
    assert_eq!(by_rack.into_iter().collect::<Vec<_>>(), [(false, 2), (true, 2)]);
    assert_eq!(reason(&world, "spread").0, "Limit not satisfied: rack");
    assert_eq!(reason(&world, "spread").1, "the limit on rack is reached on every machine that would do");
    // A second configuration of the same job, as in an update, is counted with the first.
    let view = world.view();
    let placed = view.tasks_of(&job("spread")).filter(|task| task.status == TaskStatus::Assigned).count();
    assert_eq!(placed, 4);
    let done = world.active(&job("spread")).into_iter().find(|task| task.agent_id.as_deref() < Some("a3")).unwrap();
    world.status(&done.id, TaskState::Finished);
    offer_with(&mut world, "a1", 16.0, &[("rack", "r1")]);
    assert_eq!(hosts(&world, "spread").len(), 4, "one ended, one more may start");
}

#[test]
fn a_limit_of_one_per_host_uses_many_hosts_and_one_of_zero_none() {
    let mut world = World::new();
    world.create(constrained("wide", [limit("host", 1)]), 5);
    world.create(constrained("never", [limit("host", 0)]), 1);
    let offers = (0..4).map(|agent| world.make_offer(&format!("a{agent}"), room(16.0))).collect();
    world.engine(Event::Offers(offers));
    assert_eq!(hosts(&world, "wide"), ["a0", "a1", "a2", "a3"]);
    world.create(constrained("lacking", [limit("zone", 3)]), 1);
    assert_eq!(hosts(&world, "lacking").len() + hosts(&world, "never").len(), 0);
}

#[test]
fn dedicated_hosts_take_only_those_they_are_dedicated_to() {
    let mut world = World::new();
    world.create(batch("plain"), 1);
    offer_with(&mut world, "d", 4.0, &[("dedicated", "www-data/web")]);
    assert_eq!(reason(&world, "plain").0, "Host is dedicated");
    world.create(constrained("chosen", [value("dedicated", &["www-data/web"], false)]), 1);
    assert_eq!(hosts(&world, "chosen"), ["d"]);
    offer_with(&mut world, "e", 4.0, &[]);
    world.create(constrained("other", [value("dedicated", &["www-data/db"], false)]), 1);
    assert!(hosts(&world, "other").is_empty());
    assert_eq!(hosts(&world, "plain"), ["e"]);
}

#[test]
fn ports_are_drawn_from_the_offer_and_never_twice() {
    let mut world = World::new();
    let ports = ["http", "admin"].map(str::to_owned).into();
    world.create(TaskConfig { requested_ports: ports, ..batch("net") }, 60);
    world.offer("a", room(64.0));
    let launches = launches(&mut world);
    assert_eq!(launches.len(), 50, "a hundred ports are fifty pairs");
    let drawn: Vec<u16> = launches.iter().flat_map(|launch| launch.ports.values().copied()).collect();
    assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!(drawn.iter().all(|port| (31_000..=31_099).contains(port)));
    assert!(!drawn.is_sorted(), "drawn, not counted up");
    assert_eq!(launches[0].ports, world.task(&launches[0].task_id).ports);
    assert_eq!(reason(&world, "net").0, "Insufficient: ports");
}

#[test]
fn a_revocable_task_takes_revocable_cpu_and_ordinary_memory() {
    let mut world = World::new();
    world.create(TaskConfig { tier: Some("revocable".into()), ..batch("cheap") }, 3);
    world.offer("a", room(64.0));
    assert!(hosts(&world, "cheap").is_empty());
    let mut offer = world.make_offer("b", room(0.5));
    offer.revocable_cpu = CpuMillis(2000);
    world.engine(Event::Offers(vec![offer]));
    let launches = launches(&mut world);
    assert_eq!(launches.len(), 2);
    assert!(launches.iter().all(|launch| launch.revocable));
}

#[test]
fn a_second_offer_of_an_agent_supersedes_or_is_added_as_the_engine_does() {
    let big = || TaskConfig::new(job("big"), 6.0, 1, 1, "{}");
    let mut world = World::new();
    world.offer("a", room(4.0));
    world.offer("a", room(4.0));
    world.create(big(), 1);
    assert!(hosts(&world, "big").is_empty());
    let mut world = World::with(Settings { second_offer: SecondOffer::Adds, ..settings() });
    world.offer("a", room(4.0));
    world.offer("a", room(4.0));
    world.take_calls();
    world.create(big(), 1);
    let calls = world.take_calls();
    assert!(matches!(&calls[..], [Call::Accept { offers, .. }] if offers.len() == 2), "{calls:?}");
}

#[test]
fn one_void_offer_of_several_takes_only_its_own_room_away_and_too_many_are_merged() {
    let mut world = World::with(Settings { second_offer: SecondOffer::Adds, ..settings() });
    world.offer("a", room(4.0));
    let void = world.offer("a", room(3.0));
    world.engine(Event::Rescinded(void));
    world.take_calls();
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    world.create(TaskConfig::new(job("small"), 4.0, 1, 1, "{}"), 1);
    assert!(hosts(&world, "big").is_empty());
    assert_eq!(hosts(&world, "small"), ["a"]);
    world.take_calls();
    for _ in 0..33 {
        world.offer("b", room(0.1));
    }
    let calls = world.take_calls();
    assert!(matches!(&calls[..], [Call::Decline { offers, refuse_ms: 0 }] if offers.len() == 33), "{calls:?}");
}

#[test]
fn an_offer_told_twice_is_held_once_and_a_bound_of_no_work_at_all_still_gets_on() {
    let mut world = World::with(Settings { second_offer: SecondOffer::Adds, max_step_work: 0, ..settings() });
    let offer = world.make_offer("a", room(4.0));
    world.engine(Event::Offers(vec![offer.clone(), offer]));
    world.create(TaskConfig::new(job("big"), 6.0, 1, 1, "{}"), 1);
    assert!(hosts(&world, "big").is_empty());
    world.create(batch("small"), 4);
    assert_eq!(hosts(&world, "small").len(), 4);
}

#[test]
fn void_offers_are_not_used() {
    let mut world = World::new();
    let offer = world.offer("a", room(4.0));
    world.engine(Event::Rescinded(offer));
    world.offer("b", room(4.0));
    world.engine(Event::Disconnected);
    world.create(batch("b"), 1);
    assert!(hosts(&world, "b").is_empty());
    world.engine(Event::Registered { framework_id: None, master: None });
    world.offer("c", room(4.0));
    world.engine(Event::AgentLost("c".into()));
    assert_eq!(hosts(&world, "b"), ["c"], "placed before the agent was lost");
    assert!(!world.view().agents.contains_key("c"));
}

#[test]
fn unused_offers_go_back_and_are_asked_for_again_when_somebody_needs_them() {
    let mut world = World::new();
    let offer = world.offer("a", room(4.0));
    world.take_calls();
    world.pass(360_000);
    assert_eq!(world.take_calls(), [Call::Decline { offers: vec![offer], refuse_ms: 5000 }]);
    world.create(batch("b"), 1);
    assert_eq!(world.take_calls(), [Call::Revive]);
    world.offer("a", room(4.0));
    assert_eq!(hosts(&world, "b"), ["a"]);
}

#[test]
fn a_group_without_a_place_waits_longer_each_time_but_takes_new_room_at_once() {
    let mut world = World::new();
    world.create(TaskConfig::new(job("big"), 8.0, 1, 1, "{}"), 1);
    world.offer("a", room(4.0));
    let attempts = |world: &World| world.view().counters["schedule_attempts_fired"];
    let first = attempts(&world);
    world.pass(999);
    assert_eq!(attempts(&world), first, "the first wait really is a second at least");
    world.pass(1_002);
    assert_eq!(attempts(&world), first + 1);
    let before = attempts(&world);
    world.pass(3_600_000);
    assert!((60..=75).contains(&(attempts(&world) - before)), "a minute at most: {}", attempts(&world) - before);
    world.offer("b", room(8.0));
    assert_eq!(hosts(&world, "big"), ["b"]);
}

#[test]
fn groups_share_scarce_room_in_turn() {
    let mut world = World::new();
    for name in ["one", "two", "three"] {
        world.create(batch(name), 20);
    }
    for _ in 0..12 {
        world.offer("a", room(1.0));
    }
    let placed = ["one", "two", "three"].map(|name| hosts(&world, name).len());
    assert_eq!(placed, [4, 4, 4]);
}

#[test]
fn a_host_that_goes_away_soon_gets_no_new_tasks() {
    let mut world = World::new();
    let mut offer = world.make_offer("a", room(4.0));
    offer.unavailable_from_ms = Some(world.now.wall_ms + 359_000);
    world.engine(Event::Offers(vec![offer]));
    world.create(batch("b"), 1);
    assert_eq!(reason(&world, "b").0, "Host draining for maintenance");
    let mut offer = world.make_offer("b", room(4.0));
    offer.unavailable_from_ms = Some(world.now.wall_ms + 1_000_000);
    world.engine(Event::Offers(vec![offer]));
    assert_eq!(hosts(&world, "b"), ["b"]);
}

#[test]
fn the_work_of_a_step_is_bounded_and_goes_on_until_all_is_placed() {
    let mut world = World::with(Settings { max_step_work: 100, ..settings() });
    let offers = (0..30).map(|agent| world.make_offer(&format!("a{agent}"), room(64.0))).collect();
    world.engine(Event::Offers(offers));
    assert_eq!(world.create(batch("many"), 1500).code, ReplyCode::Ok);
    assert_eq!(hosts(&world, "many").len(), 1500);
}

// ---- preemption ----

fn tier(name: &str, tier: &str, cores: f64, priority: i32) -> TaskConfig {
    TaskConfig { tier: Some(tier.into()), priority, ..TaskConfig::new(job(name), cores, 64, 64, "{}") }
}

fn grant(world: &mut World) {
    let quota = Resources { cpu: CpuMillis(1_000_000), ram_mb: 1_000_000, disk_mb: 1_000_000, ..Resources::ZERO };
    let reply = world.command(scheduler::Command::SetQuota { role: "www-data".into(), quota });
    assert_eq!(reply.code, ReplyCode::Ok);
}

/// An agent of 8 cores, full of running victims of the given sizes.
fn full(world: &mut World, victims: &[TaskConfig]) {
    world.offer("a", room(8.0));
    for (at, victim) in victims.iter().enumerate() {
        let free = 8.0 - victims[..at].iter().map(|task| task.resources.cpu.cores()).sum::<f64>();
        world.offer("a", room(free));
        assert_eq!(world.create(victim.clone(), 1).code, ReplyCode::Ok);
        let id = world.active_one(&victim.job, 0).id.clone();
        world.status(&id, TaskState::Running);
    }
}

fn preempted(world: &World) -> Vec<String> {
    let view = world.view();
    let mut names: Vec<String> = view
        .tasks
        .values()
        .filter(|task| task.status == TaskStatus::Preempting)
        .map(|task| task.config.job.name.clone())
        .collect();
    names.sort();
    names
}

#[test]
fn a_production_task_evicts_the_fewest_largest_preemptible_ones_after_three_minutes() {
    let mut world = World::new();
    grant(&mut world);
    full(
        &mut world,
        &[
            tier("small", "preemptible", 2.0, 0),
            tier("large", "preemptible", 5.0, 9),
            tier("tiny", "preemptible", 1.0, 0),
        ],
    );
    world.take_calls();
    world.create(tier("prod", "preferred", 4.0, 0), 1);
    world.pass(175_000);
    assert!(preempted(&world).is_empty());
    world.pass(65_000);
    assert_eq!(preempted(&world), ["large"]);
    let pending = world.active_one(&job("prod"), 0);
    let victim = world.active_one(&job("large"), 0);
    let message = format!("Preempting in favor of {}", pending.id);
    assert_eq!(victim.events.last().unwrap().message.as_deref(), Some(message.as_str()));
    assert!(world.take_kills().contains(&victim.id));
    // The room is kept for the group that made it: the victim's replacement must not take it back.
    world.status(&victim.id, TaskState::Killed);
    world.create(tier("greedy", "preemptible", 1.0, 0), 1);
    world.offer("a", room(5.0));
    assert_eq!(hosts(&world, "prod"), ["a"]);
    assert!(hosts(&world, "greedy").is_empty());
    assert_eq!(world.active_one(&job("large"), 0).status, TaskStatus::Pending);
    world.offer("a", room(1.0));
    assert_eq!(hosts(&world, "greedy"), ["a"], "once used, the agent is free for all again");
}

#[test]
fn who_may_evict_whom() {
    let other_role = |mut task: TaskConfig| {
        task.job.role = "other".into();
        task
    };
    let cases = [
        (tier("p", "preferred", 8.0, 0), tier("v", "preemptible", 8.0, 99), true),
        (tier("p", "preferred", 8.0, 0), other_role(tier("v", "preemptible", 8.0, 99)), true),
        (tier("p", "preferred", 8.0, 5), tier("v", "preferred", 8.0, 4), true),
        (tier("p", "preferred", 8.0, 5), tier("v", "preferred", 8.0, 5), false),
        (tier("p", "preemptible", 8.0, 5), tier("v", "preemptible", 8.0, 4), true),
        (tier("p", "preemptible", 8.0, 5), other_role(tier("v", "preemptible", 8.0, 4)), false),
        (tier("p", "preemptible", 8.0, 99), tier("v", "preferred", 8.0, 0), false),
    ];
    for (pending, victim, allowed) in cases {
        let mut world = World::new();
        grant(&mut world);
        full(&mut world, std::slice::from_ref(&victim));
        world.create(pending.clone(), 1);
        world.pass(300_000);
        assert_eq!(!preempted(&world).is_empty(), allowed, "{pending:?} over {victim:?}");
    }
}

#[test]
fn a_reservation_that_is_not_used_ends() {
    let mut world = World::new();
    grant(&mut world);
    full(&mut world, &[tier("v", "preemptible", 8.0, 0)]);
    world.create(tier("p", "preferred", 8.0, 0), 1);
    world.pass(250_000);
    let victim = world.active_one(&job("v"), 0).id.clone();
    assert_eq!(preempted(&world), ["v"]);
    world.status(&victim, TaskState::Killed);
    world.offer("a", room(7.0));
    assert!(hosts(&world, "v").is_empty() && hosts(&world, "p").is_empty());
    world.create(batch("waiting"), 1);
    assert!(hosts(&world, "waiting").is_empty());
    world.pass(180_000);
    assert_eq!(hosts(&world, "waiting"), ["a"]);
}

#[test]
fn without_the_preemptor_nobody_is_evicted() {
    let mut world = World::with(Settings { enable_preemptor: false, ..settings() });
    grant(&mut world);
    full(&mut world, &[tier("v", "preemptible", 8.0, 0)]);
    world.create(tier("p", "preferred", 8.0, 0), 1);
    world.pass(600_000);
    assert!(preempted(&world).is_empty());
}
