//! Placement against its budget: 100,000 tasks a second for big groups, and at most 64 agents examined per placed task in 99
//! of 100 cases, with 10,000 agents that are empty, half full or 95 % full. Counts matter more than times.
//!
//! `cargo bench -p scheduler --bench placement`

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Spent, creation, now, started};
use engine::{Call, Event, Offer};
use model::{Constraint, CpuMillis, JobKey, Ports, Resources, TaskConfig, TaskConstraint};
use scheduler::{Effect, Input, Output, Principal, RequestId, Scheduler, Settings};

const AGENTS: usize = 10_000;

fn main() {
    for percent_full in [0, 50, 95] {
        big_groups(percent_full);
        distinct_groups(percent_full);
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn scheduler(max_step_work: usize) -> Scheduler {
    let mut settings = Settings { max_step_work, enable_preemptor: false, ..Settings::default() };
    settings.admission.max_tasks_per_job = i32::MAX;
    started(settings, 1)
}

/// Agents of 32 cores and 128 GiB in 40 racks, one in 20 dedicated, all with that share of their room taken.
fn offers(percent_full: u64, dice: &mut Dice) -> Vec<Offer> {
    let offer = |agent: usize| {
        // Full agents are not all equally full.
        let free = if percent_full == 0 { 100 } else { dice.roll(2 * (100 - percent_full) + 1).min(100) } as i64;
        let mut attributes = BTreeMap::from([
            ("host".to_owned(), vec![format!("host-{agent}")]),
            ("rack".to_owned(), vec![format!("rack-{}", agent % 40)]),
            ("disk".to_owned(), vec![if agent.is_multiple_of(3) { "ssd" } else { "hdd" }.to_owned()]),
        ]);
        if agent % 20 == 7 {
            attributes.insert("dedicated".into(), vec!["role/special".into()]);
        }
        Offer {
            id: format!("offer-{agent}"),
            agent_id: format!("agent-{agent}"),
            host: format!("host-{agent}"),
            resources: Resources {
                cpu: CpuMillis(320 * free),
                ram_mb: 1311 * free,
                disk_mb: 10_000 * free,
                ports: 10 * free,
                gpus: 0,
            },
            revocable_cpu: CpuMillis(0),
            port_ranges: Ports::from_ranges([(31_000, 31_000 + 10 * free as u16)]),
            attributes,
            unreserved: Resources::ZERO,
            role: None,
            unavailable_from_ms: None,
        }
    };
    (0..AGENTS).map(offer).collect()
}

fn create(task: TaskConfig, instance_count: i32) -> Input {
    Input::command(RequestId(0), Principal::unsecure(), creation(task, instance_count as usize))
}

fn launched(output: &Output) -> usize {
    let launches = output.effects.iter().map(|effect| match effect {
        Effect::Engine(Call::Accept { launches, .. }) => launches.len(),
        _ => 0,
    });
    launches.sum()
}

/// Jobs of 10,000 tasks each that already wait when the offers come: what is timed is placing them, with the transitions and
/// the records that this takes.
fn big_groups(percent_full: u64) {
    let mut dice = Dice(percent_full + 1);
    let offers = offers(percent_full, &mut dice);
    let mut scheduler = scheduler(4096);
    for number in 0..10 {
        let task = TaskConfig::new(JobKey::new("role", "devel", format!("big-{number}")), 0.25, 64, 64, "{}");
        let mut more = scheduler.step(now(), create(task, 10_000)).more;
        while more {
            more = scheduler.step(now(), Input::Resume).more;
        }
    }
    scheduler.step(now(), Input::Engine(Event::Registered { framework_id: None, master: None }));
    let before = scheduler.placement_work();
    let mut placed = 0;
    let mut records = 0;
    let intake = Spent::so_far();
    // The offers alone use up the work of a step: placement begins with the next one.
    let output = scheduler.step(now(), Input::Engine(Event::Offers(offers)));
    assert_eq!((launched(&output), output.more), (0, true));
    let intake = intake.elapsed();
    let start = Spent::so_far();
    loop {
        let output = scheduler.step(now(), Input::Resume);
        placed += launched(&output);
        records += output.records.len();
        if !output.more {
            break;
        }
    }
    let took = start.elapsed();
    let after = scheduler.placement_work();
    println!(
        "big groups, {percent_full:>2} % full: {placed} placed in {took:.2?}: {:.0} tasks/s (10,000 offers taken in before in {intake:.2?}), \
         {:.1} agents examined and {:.1} index nodes visited per task, {records} records",
        placed as f64 / took.as_secs_f64(),
        (after.agents_examined - before.agents_examined) as f64 / placed.max(1) as f64,
        (after.nodes_visited - before.nodes_visited) as f64 / placed.max(1) as f64,
    );
}

fn mixed_task(number: usize, dice: &mut Dice) -> TaskConfig {
    let job = JobKey::new("role", "devel", format!("job-{number}"));
    let cpu = [0.1, 0.5, 1.0, 2.0, 4.0][dice.roll(5) as usize];
    let mut task = TaskConfig::new(job, cpu, 128 << dice.roll(6), 64, "{}");
    let value = |name: &str, values: BTreeSet<String>, negated| Constraint {
        name: name.into(),
        constraint: TaskConstraint::Value { negated, values },
    };
    let limit = |name: &str, limit| Constraint { name: name.into(), constraint: TaskConstraint::Limit { limit } };
    match dice.roll(10) {
        0 => drop(task.constraints.insert(value("rack", [format!("rack-{}", dice.roll(40))].into(), false))),
        1 => drop(task.constraints.insert(value("disk", ["ssd".to_owned()].into(), false))),
        2 => drop(task.constraints.insert(value("disk", ["hdd".to_owned()].into(), true))),
        3 => drop(task.constraints.insert(limit("host", 1))),
        4 => drop(task.constraints.insert(limit("rack", 2))),
        5 => drop(task.constraints.insert(value("host", [format!("host-{}", dice.roll(10_000))].into(), false))),
        6 => drop(task.constraints.insert(value("dedicated", ["role/special".to_owned()].into(), false))),
        _ => {}
    }
    if dice.roll(4) == 0 {
        task.requested_ports = ["http".to_owned()].into();
    }
    // Some can never be placed.
    match dice.roll(40) {
        0 => task.resources.cpu = CpuMillis(1_000_000),
        1 => drop(task.constraints.insert(value("zone", ["nowhere".to_owned()].into(), false))),
        _ => {}
    }
    task
}

/// 10,000 jobs of one to four tasks, each of its own kind. Every step gives one group its turn, so that the agents examined
/// can be told per group.
fn distinct_groups(percent_full: u64) {
    let mut dice = Dice(percent_full + 77);
    let offers = offers(percent_full, &mut dice);
    let mut scheduler = scheduler(1);
    let mut more = scheduler.step(now(), Input::Engine(Event::Offers(offers))).more;
    while more {
        more = scheduler.step(now(), Input::Resume).more;
    }
    let mut examined_per_task: Vec<u64> = Vec::new();
    let (mut placed, mut wanted, mut failing) = (0, 0, Duration::ZERO);
    let start_work = scheduler.placement_work();
    let start = Spent::so_far();
    for number in 0..10_000 {
        let count = 1 + dice.roll(4) as i32;
        wanted += count as usize;
        let task = mixed_task(number, &mut dice);
        let before = scheduler.placement_work();
        let began = Spent::so_far();
        let mut here = 0;
        let mut input = create(task, count);
        loop {
            let output = scheduler.step(now(), std::mem::replace(&mut input, Input::Resume));
            here += launched(&output);
            if !output.more {
                break;
            }
        }
        placed += here;
        let examined = scheduler.placement_work().agents_examined - before.agents_examined;
        if here == count as usize {
            examined_per_task.extend(std::iter::repeat_n(examined / here as u64, here));
        } else {
            failing += began.elapsed();
        }
    }
    let took = start.elapsed();
    let nodes = scheduler.placement_work().nodes_visited - start_work.nodes_visited;
    examined_per_task.sort_unstable();
    let at =
        |share: f64| examined_per_task.get((examined_per_task.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!(
        "10,000 distinct groups, {percent_full:>2} % full: {placed} of {wanted} placed in {took:.2?} ({failing:.2?} of it on \
         groups that did not fit whole): agents examined per placed task: median {}, p99 {}, most {}; {:.0} index nodes",
        at(0.5),
        at(0.99),
        examined_per_task.last().copied().unwrap_or(0),
        nodes as f64 / placed.max(1) as f64,
    );
}
