//! What the restoration of a large backup costs: reading it (beside the loop), and the one step in which it becomes the state, while
//! which nothing else is decided. Readers go on from the view before it.
//!
//! `cargo bench -p scheduler --bench restore`; the number of tasks may be given as an argument.

mod common;

use std::time::Duration;

use common::{Spent, boundless, command, creation, now, started, status, step};
use engine::{Event, Offer, TaskState};
use model::{CpuMillis, JobKey, Ports, Resources, TaskConfig};
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::{AdminCommand, Command, Effect, Input, Output, Principal, RequestId, Scheduler};

const PER_JOB: usize = 1000;

fn offer(agent: usize) -> Offer {
    Offer {
        id: format!("offer-{agent}"),
        agent_id: format!("agent-{agent}"),
        host: format!("agent-{agent}.example"),
        resources: Resources { cpu: CpuMillis(100_000_000), ram_mb: 1 << 40, disk_mb: 1 << 40, ..Resources::ZERO },
        revocable_cpu: CpuMillis(0),
        port_ranges: Ports::default(),
        attributes: [("host".to_owned(), vec![format!("agent-{agent}")])].into(),
        unreserved: Resources::ZERO,
        role: None,
        unavailable_from_ms: None,
    }
}

/// Running tasks, a thousand to a job.
fn grow(scheduler: &mut Scheduler, jobs: std::ops::Range<usize>) {
    for number in jobs {
        let key = JobKey::new("www-data", "prod", format!("some-service-{number}"));
        let task = TaskConfig { is_service: true, ..TaskConfig::new(key, 0.1, 16, 16, "x".repeat(2000)) };
        command(scheduler, creation(task, PER_JOB));
        for agent in 0..10 {
            step(scheduler, Input::Engine(Event::Offers(vec![offer(number % 1000 * 10 + agent)])));
        }
    }
    let pending = |task: &scheduler::Task| !matches!(task.status, model::TaskStatus::Running);
    let view = scheduler.freeze();
    for task in view.tasks.values().filter(|task| pending(task)) {
        status(scheduler, &task.id, TaskState::Running);
    }
}

fn stage(scheduler: &Scheduler) -> Staged {
    let view = scheduler.freeze();
    let began = Spent::so_far();
    let mut staging = Staging::default();
    Scheduler::records(&view).for_each(|record| staging.apply(&record).expect("own records"));
    let staged = staging.finish().expect("a whole state");
    println!("a backup of {} tasks is staged, beside the loop, in {:.2?}", view.tasks.len(), began.elapsed());
    staged
}

fn restore(scheduler: &mut Scheduler, staged: &Staged, what: &str) {
    let command = Command::Admin(AdminCommand::Restore { staged: staged.clone(), later: LaterTasks::Keep });
    let input = Input::command(RequestId(1), Principal::unsecure(), command);
    let began = Spent::so_far();
    let mut output: Output = scheduler.step(now(), input);
    let first = began.elapsed();
    let bytes: usize = output.records.iter().filter_map(|record| Some(record.value.as_ref()?.len())).sum();
    let records = output.records.len();
    assert!(output.effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })));
    let (mut steps, mut longest) = (0, Duration::ZERO);
    while output.more {
        let began = Spent::so_far();
        output = scheduler.step(now(), Input::Resume);
        longest = longest.max(began.elapsed());
        steps += 1;
    }
    println!(
        "{what}: one step of {first:.2?} with {records} records of {bytes} bytes; then {steps} steps, the longest {longest:.2?}"
    );
}

fn main() {
    let tasks: usize = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(1_000_000);
    let jobs = tasks / PER_JOB;
    let mut scheduler = started(boundless(), 3);
    grow(&mut scheduler, 0..jobs * 9 / 10);
    let staged = stage(&scheduler);
    restore(&mut scheduler, &staged, "nothing has changed since");
    grow(&mut scheduler, jobs * 9 / 10..jobs);
    let view = scheduler.freeze();
    for task in view.tasks.values().step_by(20) {
        status(&mut scheduler, &task.id, TaskState::Failed);
    }
    println!("{} tasks now", scheduler.freeze().tasks.len());
    restore(&mut scheduler, &staged, "a tenth came later, and one in twenty has ended since");
}
