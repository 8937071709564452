//! Memory per stored task and kept answer, time to recover and time to freeze, against their budgets: 1 KiB per active and 512 bytes per ended
//! task, 5 s for a million tasks, 1 ms.
//!
//! `cargo bench -p scheduler --bench memory`; the number of tasks may be given as an argument.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Spent, boundless, command, creation, now, started, status, step};
use engine::{Event, Offer, TaskState};
use model::{CpuMillis, JobKey, Ports, Resources, TaskConfig, TaskId};
use scheduler::{Command, Idempotency, Input, Principal, Record, RequestId, Scheduler};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; only a counter is kept beside it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
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

const PER_JOB: usize = 1000;

fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn main() {
    let tasks: usize = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(200_000);
    let start_bytes = live_bytes();
    let began = Spent::so_far();
    let mut scheduler = with_running_tasks(tasks);
    let took = began.elapsed();
    let ids: Vec<TaskId> = scheduler.freeze().tasks.keys().cloned().collect();
    let names = ids.capacity() * size_of::<TaskId>();
    let active = (live_bytes() - start_bytes - names) / ids.len();
    let each = took / ids.len() as u32;
    println!("{} running tasks: {active} bytes per active task; {each:.1?} each from create to RUNNING", ids.len());
    recover(&scheduler);
    let half = ids.len() / 2;
    for id in &ids[..half] {
        status(&mut scheduler, id, TaskState::Finished);
    }
    let finished = (live_bytes() - start_bytes - names - active * (ids.len() - half)) / half;
    println!("{half} finished tasks: {finished} bytes per finished task");
    ids[half..].iter().for_each(|id| kill(&mut scheduler, id));
    let count = ids.len();
    drop(ids);
    let ended = (live_bytes() - start_bytes) / count;
    println!("{count} ended tasks, half of them killed: {ended} bytes per ended task");
    keep_answers();
}

/// What it costs to remember changes by the keys of clients, as many as may be.
fn keep_answers() {
    let mut scheduler = started(boundless(), 3);
    let most = boundless().max_idempotency_keys;
    let start_bytes = live_bytes();
    let began = Spent::so_far();
    for number in 0..most {
        let quota = Resources { cpu: CpuMillis(number as i64), ..Resources::ZERO };
        let key = format!("{number:08x}-2222-4333-8444-555555555555").parse().expect("a key");
        let idempotency = Some(Idempotency { key, fingerprint: [number as u8; 16] });
        let command = Command::SetQuota { role: "www-data".into(), quota };
        let (request, principal) = (RequestId(0), Principal::unsecure());
        step(&mut scheduler, Input::Command { request, principal, command, idempotency });
    }
    let (took, bytes) = (began.elapsed(), live_bytes() - start_bytes);
    println!("{most} kept answers: {} bytes and {:.1?} each, the change included", bytes / most, took / most as u32);
}

/// A scheduler with that many tasks, all of them running.
fn with_running_tasks(tasks: usize) -> Scheduler {
    let mut scheduler = started(boundless(), 3);
    for number in 0..tasks / PER_JOB {
        let key = JobKey::new("www-data", "prod", format!("some-service-{number}"));
        let task = TaskConfig::new(key, 0.1, 16, 16, "x".repeat(2000));
        command(&mut scheduler, creation(task, PER_JOB));
        for agent in 0..PER_JOB / 100 {
            step(&mut scheduler, Input::Engine(Event::Offers(vec![offer(agent)])));
        }
    }
    let ids: Vec<TaskId> = scheduler.freeze().tasks.keys().cloned().collect();
    for id in &ids {
        status(&mut scheduler, id, TaskState::Starting);
        status(&mut scheduler, id, TaskState::Running);
    }
    scheduler
}

/// What a restart costs.
fn recover(scheduler: &Scheduler) {
    // Too short for the counter of processor time.
    let freezing = std::time::Instant::now();
    let view = scheduler.freeze();
    println!("freeze: {:?}", freezing.elapsed());
    let stored: Vec<Record> = Scheduler::records(&view).collect();
    let bytes: usize = stored.iter().map(|record| record.key.len() + record.value.as_ref().map_or(0, Vec::len)).sum();
    let tasks = view.tasks.len();
    let began = Spent::so_far();
    let mut recovered = Scheduler::new(boundless());
    stored.iter().for_each(|record| recovered.apply(record).expect("own records"));
    let applied = began.elapsed();
    recovered.step(now(), Input::Start { seed: [4; 32], epoch: 2 });
    let each = bytes / tasks;
    let took = began.elapsed();
    println!("recovery of {tasks} tasks: {took:.2?} (replay {applied:.2?}), {each} bytes of records per task");
}

fn kill(scheduler: &mut Scheduler, id: &TaskId) {
    let task = scheduler.freeze().task(id).expect("running").clone();
    let (job, instances) = (task.config.job.clone(), [task.instance].into());
    drop(task);
    command(scheduler, Command::KillTasks { job, instances, message: None });
    status(scheduler, id, TaskState::Killed);
}

fn offer(number: usize) -> Offer {
    let cores = Resources { cpu: CpuMillis(35_000), ram_mb: 14_400, disk_mb: 1_000_000, ports: 0, gpus: 0 };
    Offer {
        id: format!("offer-{number}"),
        agent_id: format!("a1b2c3d4-agent-S{number}"),
        host: format!("host-{number}.example.com"),
        resources: cores,
        revocable_cpu: CpuMillis(0),
        port_ranges: Ports::default(),
        attributes: Default::default(),
        unreserved: Resources::ZERO,
        role: None,
        unavailable_from_ms: None,
    }
}
