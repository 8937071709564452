//! What a task costs the engine's thread: its launch written, three statuses read, three acknowledgements written, over a real socket with a
//! master that does nothing but answer. CPU is the engine thread's alone, from the kernel's account.
//!
//! `cargo bench -p engine-mesos [-- TASKS]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use engine::{Call, Engine, Event, Launch};
use mesos::recordio;
use mesos::v1;
use mesos::v1::scheduler::call;
use model::{JobKey, TaskConfig, TaskId};
use prost::Message;

/// Tasks in one ACCEPT.
const TASKS_PER_OFFER: usize = 10;
/// Offers in one event.
const OFFERS_PER_EVENT: usize = 1000;
/// A payload of the usual size.
const PAYLOAD_BYTES: usize = 3000;

/// CPU time of the engine's thread so far.
fn engine_cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads can be listed");
    for thread in threads.flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        if read("comm").trim() == "engine-mesos" {
            let nanoseconds = read("schedstat").split(' ').next().and_then(|text| text.parse().ok());
            return Duration::from_nanos(nanoseconds.expect("the kernel counts"));
        }
    }
    panic!("the engine has a thread");
}

/// The master: offers, and for every launch three statuses. Returns when all are acknowledged.
fn master(mut subscription: Subscription, tasks: usize) {
    let offers_wanted = tasks.div_ceil(TASKS_PER_OFFER);
    let mut stream = subscription.stream;
    let offered = std::thread::spawn(move || {
        let mut made = 0;
        while made < offers_wanted {
            let count = OFFERS_PER_EVENT.min(offers_wanted - made);
            let many =
                (made..made + count).map(|number| offer(&format!("O{number}"), &format!("S{number}"), "*", 64.0));
            stream.event(&offers(many.collect()));
            made += count;
        }
        stream
    });
    let mut stream = offered.join().expect("the offers are made");
    let (mut acknowledged, mut uuid) = (0, 0_u128);
    while acknowledged < 3 * tasks {
        let call = subscription.calls.request().call;
        subscription.calls.raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        match call.r#type {
            Some(kind) if kind == call::Type::Acknowledge as i32 => acknowledged += 1,
            Some(kind) if kind == call::Type::Accept as i32 => {
                let mut chunk = Vec::new();
                for id in tasks_of(&call) {
                    for state in [v1::TaskState::Starting, v1::TaskState::Running, v1::TaskState::Finished] {
                        uuid += 1;
                        let status = v1::TaskStatus {
                            task_id: id.as_str().into(),
                            state: state as i32,
                            message: Some("Task is as it should be.".into()),
                            agent_id: Some("S1".into()),
                            executor_id: Some(format!("thermos-{id}").into()),
                            timestamp: Some(1.5e9),
                            uuid: Some(Bytes::copy_from_slice(&uuid.to_be_bytes())),
                            ..Default::default()
                        };
                        recordio::encode(&update(status).encode_to_vec(), &mut chunk);
                    }
                }
                stream.chunk(&chunk);
            }
            _ => {}
        }
    }
}

fn main() {
    let tasks = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(50_000);
    let port = Port::open();
    let (mut engine, heard) = engine_with(options(&port.address()), 10_000);
    engine.begin(None);
    let subscription = port.subscribe("f-1");
    heard.registered();
    let config = Arc::new(TaskConfig::new(JobKey::new("www", "prod", "hello"), 0.5, 64, 32, "x".repeat(PAYLOAD_BYTES)));
    let master = std::thread::spawn(move || master(subscription, tasks));
    let (cpu_before, began) = (engine_cpu(), Instant::now());
    let (mut launched, mut told) = (0, 0);
    while told < 3 * tasks {
        match heard.next() {
            Event::Offers(offers) => {
                let accept = |offer: engine::Offer| {
                    let count = TASKS_PER_OFFER.min(tasks - launched);
                    let launches = (launched..launched + count).map(|number| Launch {
                        task_id: TaskId(format!("www-prod-hello-{number}-01234567-89ab-cdef").into()),
                        config: Arc::clone(&config),
                        ..launch("", 0.5)
                    });
                    launched += count;
                    Call::Accept { offers: vec![offer.id], launches: launches.collect() }
                };
                let calls = offers.into_iter().map(accept).collect();
                engine.call(1, calls);
            }
            Event::Status(update) => {
                told += 1;
                let token = update.token.expect("it is to be acknowledged");
                engine.call(1, vec![Call::Acknowledge { task_id: update.task_id, agent_id: update.agent_id, token }]);
            }
            other => panic!("{other:?}"),
        }
    }
    master.join().expect("the master has seen everything");
    let (cpu, wall) = (engine_cpu() - cpu_before, began.elapsed());
    let per_task = |time: Duration| time.as_secs_f64() * 1e6 / tasks as f64;
    let mut out = std::io::stdout().lock();
    let lines = [
        format!("{tasks} tasks, {PAYLOAD_BYTES} bytes of data each, {TASKS_PER_OFFER} per ACCEPT"),
        format!("engine thread: {:.1} us of CPU per task", per_task(cpu)),
        format!("wall: {:.1} us per task, {:.0} tasks/s", per_task(wall), tasks as f64 / wall.as_secs_f64()),
    ];
    for line in lines {
        writeln!(out, "{line}").expect("somebody reads");
    }
}
