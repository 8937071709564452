//! What one question to the forecast costs whoever asks: the thread that answers is no other's, but a person waits for it.
//!
//! 10,000 agents with 100,000 tasks, six of ten agents full. An update of 1,000 instances, one by one and all at once, and a create of
//! 10,000, without limits, one on each host, so many on each rack, and one that finds too little room, so that is told why. The
//! memory is what one question takes at its peak, beside the state.
//!
//! `cargo bench -p scheduler --bench forecast`; the number of agents may be given as an argument.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Spent, command, creation, now, started, step};
use engine::{Event, Offer};
use model::update::{UpdateRequest, UpdateSettings, UpdateStrategy};
use model::{Constraint, CpuMillis, JobKey, Ports, Resources, TaskConfig, TaskConstraint};
use scheduler::forecast::forecast;
use scheduler::{Command, Input, Principal, Settings, View};

/// Tasks for each agent.
const TASKS_PER_AGENT: usize = 10;
const CORES_PER_AGENT: i64 = 32;
const RACKS: usize = 40;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; only counters are kept beside it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn offer(agent: usize) -> Offer {
    Offer {
        id: format!("offer-{agent}"),
        agent_id: format!("agent-{agent}"),
        host: format!("host-{agent}"),
        resources: Resources {
            cpu: CpuMillis(CORES_PER_AGENT * 1000),
            ram_mb: 131_072,
            disk_mb: 1_000_000,
            ports: 1000,
            gpus: 0,
        },
        revocable_cpu: CpuMillis(0),
        port_ranges: Ports::from_ranges([(31_000, 31_999)]),
        attributes: BTreeMap::from([
            ("host".to_owned(), vec![format!("host-{agent}")]),
            ("rack".to_owned(), vec![format!("rack-{}", agent % RACKS)]),
        ]),
        unreserved: Resources::ZERO,
        role: None,
        unavailable_from_ms: None,
    }
}

fn limit(name: &str, limit: i32) -> Constraint {
    Constraint { name: name.into(), constraint: TaskConstraint::Limit { limit } }
}

fn task(name: &str, cores: f64, constraint: Option<Constraint>) -> TaskConfig {
    let mut task = TaskConfig::new(JobKey::new("www-data", "prod", name), cores, 512, 64, "{}");
    task.is_service = true;
    task.constraints.extend(constraint);
    task
}

fn update(task: TaskConfig, instance_count: usize, group_size: i32) -> Command {
    let task = TaskConfig { priority: 1, ..task };
    let strategy = UpdateStrategy::Batch { group_size, autopause_after_batch: false };
    let settings = UpdateSettings { strategy, ..UpdateSettings::default() };
    let request = UpdateRequest { task, instance_count: instance_count as i32, settings, metadata: Default::default() };
    Command::StartUpdate { request: Box::new(request), message: None }
}

/// The jobs that are updated, each of a tenth of the agents' number of instances, and others that fill up the rest.
fn updated(name: &str) -> TaskConfig {
    let constraint = match name {
        "each-host" => Some(limit("host", 1)),
        "each-rack" => Some(limit("rack", 30)),
        _ => None,
    };
    task(name, 2.0, constraint)
}

const UPDATED: [&str; 3] = ["plain", "each-host", "each-rack"];

fn cluster(agents: usize) -> View {
    let mut settings = Settings { enable_update_affinity: true, ..Settings::default() };
    settings.admission.max_tasks_per_job = i32::MAX;
    let mut scheduler = started(settings, 1);
    step(&mut scheduler, Input::Engine(Event::Offers((0..agents).map(offer).collect())));
    let mut ask = |asked| command(&mut scheduler, asked);
    UPDATED.into_iter().for_each(|name| ask(creation(updated(name), agents / 10)));
    let others = agents * TASKS_PER_AGENT - agents / 10 * UPDATED.len();
    (0..100).for_each(|number| ask(creation(task(&format!("other-{number}"), 2.0, None), others / 100)));
    scheduler.freeze()
}

fn question(view: &View, what: &str, command: &Command) {
    let live = LIVE.load(Ordering::Relaxed);
    PEAK.store(live, Ordering::Relaxed);
    let began = Spent::so_far();
    let answer = forecast(view, now().wall_ms, &Principal::unsecure(), command).expect("it is forecast");
    let (took, peak) = (began.elapsed(), PEAK.load(Ordering::Relaxed) - live);
    assert!(answer.refusal.is_none(), "{:?}", answer.refusal);
    let placement = answer.placement.expect("tasks would be created");
    assert!(placement.is_complete, "it was cut off");
    println!("{what}: {took:.1?}, {:.1} MB; {} of {} fit", peak as f64 / 1e6, placement.fitting, placement.wanted);
}

fn main() {
    let agents: usize = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(10_000);
    let view = cluster(agents);
    let placed = view.tasks.values().filter(|task| task.status.is_assigned()).count();
    println!("{} agents, {placed} tasks placed of {}", view.agents.len(), view.tasks.len());
    for name in UPDATED {
        let instances = agents / 10;
        question(&view, &format!("update of {instances} one by one, {name}"), &update(updated(name), instances, 1));
        let at_once = update(updated(name), instances, instances as i32);
        question(&view, &format!("update of {instances} at once, {name}"), &at_once);
    }
    let many = agents;
    question(&view, &format!("create of {many}"), &creation(task("new", 2.0, None), many));
    question(
        &view,
        &format!("create of {many}, one on each host"),
        &creation(task("new", 2.0, Some(limit("host", 1))), many),
    );
    let racks = Some(limit("rack", 100));
    question(&view, &format!("create of {many}, some on each rack"), &creation(task("new", 2.0, racks), many));
    question(&view, &format!("create of {many} too large for most"), &creation(task("new", 20.0, None), many));
}
